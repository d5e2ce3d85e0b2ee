"""One function a figure, each drawn from a saved table and readable in grey.

Every function takes a frame (its docstring names the columns) and returns a matplotlib Figure
without a title: the caption belongs to the text. Left out on purpose: computing anything that a
table should hold; at most a mean or a count over rows is taken here.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

# From dark to light, so that they stay apart in grey; hatches and markers tell them apart again.
COLORS = ("#17375e", "#d1603d", "#8ab6a9", "#e3cf8e")
HATCHES = ("", "///", "...", "xx")
MARKERS = ("o", "s", "^", "D")
INK = "#333333"

_LABELS = {
    "names_item": "names the\nrecommended item",
    "cites_history": "names a title\nof the history",
    "foreign_title": "names a\nforeign title",
    "wrong_attribute": "gives it a\nwrong attribute",
    "unsupported_relation": "claims an\nunsupported relation",
}


def style() -> None:
    """Set the look of all figures of the book; call once, before drawing."""
    plt.rcParams.update(
        {
            "figure.figsize": (6.4, 3.2),
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#dddddd",
            "grid.linewidth": 0.6,
            "xtick.color": INK,
            "ytick.color": INK,
            "legend.frameon": False,
            "hatch.linewidth": 0.5,
            "axes.prop_cycle": plt.cycler(color=COLORS) + plt.cycler(marker=MARKERS),
        }
    )


def _axes(columns: int = 1, height: float = 3.2, width: float = 6.4) -> tuple[Figure, list[Axes]]:
    figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False)
    plt.close(figure)  # the notebook shows what a cell returns; open figures would show twice
    return figure, list(axes[0])


def _bars(
    axes: Axes, table: pd.DataFrame, *, form: str | None = None, horizontal: bool = False
) -> None:
    """Grouped bars: one group for each row of `table`, one bar a column, values written on them."""
    place = np.arange(len(table))
    size = 0.8 / max(len(table.columns), 1)
    for i, column in enumerate(table.columns):
        draw = axes.barh if horizontal else axes.bar
        bars = draw(
            place + (i - (len(table.columns) - 1) / 2) * size, table[column], size * 0.94,
            color=COLORS[i % 4], hatch=HATCHES[i % 4], edgecolor="white", linewidth=0.5,
            label=str(column),
        )  # fmt: skip
        if form:
            labels = ["" if np.isnan(v) else form.format(v) for v in table[column]]
            axes.bar_label(bars, labels, padding=2, fontsize=8, color=INK)
    axes.grid(visible=False, axis="y" if horizontal else "x")
    names = [str(name) for name in table.index]
    if horizontal:
        axes.set_yticks(place, names)
        axes.invert_yaxis()
        axes.margins(x=0.16)
    else:
        axes.set_xticks(place, names)
        axes.margins(y=0.14)
    if len(table.columns) > 1:
        axes.legend(fontsize=8)


def history_lengths(lengths: Sequence[int] | pd.Series | np.ndarray, max_history: int) -> Figure:
    """Histogram of history lengths (one number a sample), 1 to `max_history`."""
    figure, (axes,) = _axes()
    counts = np.bincount(np.asarray(lengths, dtype=int), minlength=max_history + 1)
    axes.bar(np.arange(len(counts)), counts, 0.9, color=COLORS[0])
    axes.set(xlabel="items in the history", ylabel="samples")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="x")
    return figure


def leakage(audit: pd.DataFrame) -> Figure:
    """Bars of a leakage audit: columns split, question and share (0..1)."""
    table = audit.pivot(index="question", columns="split", values="share")
    table = table.loc[audit["question"].unique(), audit["split"].unique()]
    figure, (axes,) = _axes(height=0.8 + 0.7 * len(table))
    _bars(axes, 100 * table, form="{:.0f}%", horizontal=True)
    axes.xaxis.set_major_formatter(PercentFormatter())
    axes.set(xlabel="share", xlim=(0, 115))
    return figure


def text_lengths(explanations: pd.DataFrame) -> Figure:
    """Histogram of words an explanation, one outline a system: columns system, text."""
    figure, (axes,) = _axes()
    words = explanations["text"].str.split().str.len()
    bins = [n - 0.5 for n in range(words.min(), words.max() + 2)]
    for i, (system, group) in enumerate(words.groupby(explanations["system"])):
        axes.hist(
            group, bins, weights=np.full(len(group), 100 / len(group)), histtype="stepfilled",
            facecolor=COLORS[i % 4] + "40", edgecolor=COLORS[i % 4], hatch=HATCHES[i % 4],
            label=str(system),
        )  # fmt: skip
    axes.set(xlabel="words", ylabel="explanations")
    axes.yaxis.set_major_formatter(PercentFormatter())
    if explanations["system"].nunique() > 1:
        axes.legend()
    return figure


def error_kinds(explanations: pd.DataFrame) -> Figure:
    """How many explanations carry which labelled error: column error ("" for none)."""
    counts = explanations["error"].replace("", "none").value_counts()
    order = ["none", *sorted(counts.index.drop("none", errors="ignore"))]
    shares = 100 * counts.reindex(order, fill_value=0) / max(len(explanations), 1)
    figure, (axes,) = _axes(height=0.7 + 0.4 * len(shares))
    _bars(axes, shares.to_frame(), form="{:.1f}%", horizontal=True)
    axes.xaxis.set_major_formatter(PercentFormatter())
    axes.set(xlabel="explanations", ylabel="labelled error")
    return figure


def learning_curves(curve: pd.DataFrame) -> Figure:
    """Loss by optimiser step: columns step, train_loss, valid_loss (nats a token)."""
    figure, (axes,) = _axes()
    sides = (("train_loss", "training", "--"), ("valid_loss", "validation", "-"))
    for (column, label, line), color, marker in zip(sides, COLORS[1::-1], MARKERS, strict=False):
        drawn = curve.dropna(subset=[column])
        axes.plot(
            drawn["step"], drawn[column], line, color=color, marker=marker, ms=3.5, label=label
        )
    axes.set(xlabel="step", ylabel="cross-entropy (nats a token)")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def validation_curves(curves: pd.DataFrame) -> Figure:
    """Validation loss by step, one line a system: columns system, step, valid_loss."""
    figure, (axes,) = _axes()
    for i, (system, rows) in enumerate(curves.groupby("system", sort=False)):
        axes.plot(
            rows["step"], rows["valid_loss"], ("-", "--", ":", "-.")[i // 4 % 4],
            color=COLORS[i % 4], marker=MARKERS[i % 4], ms=3.5, label=str(system),
        )  # fmt: skip
    axes.set(xlabel="step", ylabel="cross-entropy (nats a token)")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return figure


def vocabulary_trial(trials: pd.DataFrame) -> Figure:
    """How often the item is named while training: columns vocabulary, seconds, two shares (0..1).

    The shares are `seen in training` and `never seen`, by whether the item's title was.
    """
    figure, panels = _axes(2, width=7.2, height=2.8)
    for axes, share in zip(panels, ("seen in training", "never seen"), strict=True):
        for i, (name, rows) in enumerate(trials.groupby("vocabulary", sort=False)):
            axes.plot(
                rows["seconds"], 100 * rows[share], ("-", "--", ":")[i % 3], color=COLORS[i % 4],
                marker=MARKERS[i % 4], ms=4, label=str(name).replace("_", " "),
            )  # fmt: skip
        axes.set(xlabel=f"seconds of training; title {share}", ylim=(-3, 103))
        axes.yaxis.set_major_formatter(PercentFormatter())
    panels[0].set_ylabel("names the recommended item")
    panels[0].legend(fontsize=8)
    return figure


def grounding_bars(scores: pd.DataFrame) -> Figure:
    """Share of explanations by grounding metric: columns system, metric, value (0 or 1)."""
    table = scores.pivot_table(index="metric", columns="system", values="value", sort=False)
    table = table.reindex([name for name in _LABELS if name in table.index])
    figure, (axes,) = _axes(height=3.4, width=7.2)
    _bars(axes, 100 * table.rename(index=_LABELS), form="{:.1f}%")
    axes.yaxis.set_major_formatter(PercentFormatter())
    axes.set(ylabel="share of explanations", ylim=(0, 112))
    return figure


def latency(timings: pd.DataFrame) -> Figure:
    """Median seconds with p5 to p95: columns model, batch_size, median_s, p5_s, p95_s."""
    sizes = sorted(timings["batch_size"].unique())
    models = list(timings["model"].unique())
    figure, (axes,) = _axes(height=0.9 + 0.45 * len(models))
    for i, size in enumerate(sizes):
        rows = timings[timings["batch_size"] == size].set_index("model").loc[models]
        place = np.arange(len(models)) + (i - (len(sizes) - 1) / 2) * 0.25
        spread = [rows["median_s"] - rows["p5_s"], rows["p95_s"] - rows["median_s"]]
        axes.errorbar(
            rows["median_s"], place, xerr=np.maximum(spread, 0), fmt=MARKERS[i % 4],
            color=COLORS[i % 4], capsize=3, label=f"batch of {size}",
        )  # fmt: skip
        for x, y in zip(rows["p95_s"], place, strict=True):
            value = rows["median_s"].iloc[int(np.round(y))]
            axes.annotate(f"{value:.3g} s", (x, y), (6, 0), textcoords="offset points",
                          va="center", fontsize=8, color=INK)  # fmt: skip
    axes.set_yticks(range(len(models)), models)
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.25)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("seconds a batch (logarithmic)")
    if len(sizes) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.18), ncols=len(sizes), fontsize=8)
    return figure


def sizes(models: pd.DataFrame) -> Figure:
    """Parameters and peak memory in its parts.

    Columns model, parameters, weight_bytes, cache_bytes, activation_bytes.
    """
    frame = models.set_index("model")
    figure, (left, right) = _axes(2, height=0.9 + 0.5 * len(frame), width=7.2)
    _bars(left, frame[["parameters"]] / 1e6, form="{:,.4g}M", horizontal=True)
    left.set_xlabel("parameters (millions)")
    place, reached = np.arange(len(frame)), np.zeros(len(frame))
    for i, part in enumerate(("weight", "cache", "activation")):
        width = frame[f"{part}_bytes"].to_numpy() / 2**20
        right.barh(
            place, width, 0.7, left=reached, color=COLORS[i], hatch=HATCHES[i],
            edgecolor="white", linewidth=0.5, label=f"{part}s",
        )  # fmt: skip
        reached = reached + width
    for y, total in zip(place, reached, strict=True):
        right.annotate(f"{total:,.0f}", (total, y), (4, 0), textcoords="offset points",
                       va="center", fontsize=8, color=INK)  # fmt: skip
    right.set_yticks(place, [""] * len(frame))
    right.invert_yaxis()
    right.margins(x=0.18)
    right.grid(visible=False, axis="y")
    right.set_xlabel("peak memory (MiB)")
    right.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, 1.25), ncols=3)
    return figure


def rouge_by_faithfulness(pairs: pd.DataFrame) -> Figure:
    """Cumulative distribution of ROUGE-L by group: columns group, rougeL (0..1)."""
    figure, (axes,) = _axes()
    lines = ("-", "--", ":", "-.")
    for i, (group, rows) in enumerate(pairs.groupby("group", sort=False)):
        values = np.sort(rows["rougeL"].to_numpy(float))
        share = np.arange(1, len(values) + 1) / len(values)
        axes.step(
            np.r_[0, values], np.r_[0, share] * 100, lines[i % 4], color=COLORS[i % 4],
            where="post", lw=1.8, marker="", label=f"{group} (n = {len(values):,})",
        )  # fmt: skip
        axes.plot(values.mean(), 3, MARKERS[i % 4], color=COLORS[i % 4], ms=6, clip_on=False)
    axes.set(
        xlabel="ROUGE-L (symbols: means)", ylabel="pairs at or below", xlim=(0, 1), ylim=(0, 101)
    )
    axes.yaxis.set_major_formatter(PercentFormatter())
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)
    return figure


def auc_by_metric(table: pd.DataFrame) -> Figure:
    """Areas under the curve with intervals: columns metric, references, value, low, high."""
    metrics = list(dict.fromkeys(table["metric"]))
    figure, (axes,) = _axes(height=1 + 0.27 * len(metrics))
    beside = table.groupby("metric")["value"]
    shift = (beside.cumcount() - (beside.transform("size") - 1) / 2) * 0.24
    for i, (name, rows) in enumerate(table.groupby("references", sort=False)):
        place = rows["metric"].map(metrics.index) + shift[rows.index]
        spread = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
        axes.errorbar(
            rows["value"], place, xerr=np.maximum(spread, 0), fmt=MARKERS[i % 4], ms=4,
            color=COLORS[i % 4], capsize=2, lw=1, label=str(name),
        )  # fmt: skip
    axes.axvline(0.5, color=INK, lw=0.8, ls=(0, (1, 2)))
    axes.set_yticks(range(len(metrics)), metrics)
    axes.invert_yaxis()
    axes.set(xlabel="area under the curve (0.5: blind to truth)", xlim=(-0.02, 1.02))
    axes.legend(title="references", loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8)
    return figure


def own_words(table: pd.DataFrame) -> Figure:
    """One metric against two sets of references: columns system, references, value (0..1)."""
    wide = table.pivot(index="system", columns="references", values="value")
    wide = wide.loc[table["system"].unique(), table["references"].unique()]
    figure, (axes,) = _axes(height=0.9 + 0.55 * len(wide))
    _bars(axes, wide, form="{:.3f}", horizontal=True)
    axes.set_xlabel("ROUGE-L")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)
    return figure


def two_orders(table: pd.DataFrame, across: str, up: str) -> Figure:
    """Systems by two metrics: columns system, metric, value, low, high; intervals as crosses."""
    wide = table.pivot(index="system", columns="metric", values=["value", "low", "high"])
    figure, (axes,) = _axes(height=3.6)
    for i, (system, row) in enumerate(wide.iterrows()):
        (x, y), spread = row["value"][[across, up]], row.loc[["low", "high"]]
        x_spread, y_spread = (
            np.abs(spread.xs(metric, level="metric") - mean).to_numpy(float)[:, None]
            for metric, mean in ((across, x), (up, y))
        )
        axes.errorbar(
            x, y, xerr=x_spread, yerr=y_spread, fmt=MARKERS[i % 4], color=COLORS[i // 4 % 3],
            capsize=2, ms=5,
        )  # fmt: skip
        axes.annotate(str(system), (x, y), (5, 5), textcoords="offset points", fontsize=8)
    axes.margins(x=0.18, y=0.12)
    names = {"rougeL": "ROUGE-L", "error_free": "share without an error seen"}
    axes.set(xlabel=names.get(across, across), ylabel=names.get(up, up))
    return figure


def overlap_shares(overlaps: pd.DataFrame) -> Figure:
    """Share of closely overlapping histories: columns split, history (what of it), share_90."""
    table = overlaps.pivot(index="split", columns="history", values="share_90")
    table = table.loc[overlaps["split"].unique(), overlaps["history"].unique()]
    figure, (axes,) = _axes(height=0.8 + 0.7 * len(table))
    _bars(axes, 100 * table.rename(lambda name: name.replace("_", " ")), form="{:.1f}%",
          horizontal=True)  # fmt: skip
    axes.xaxis.set_major_formatter(PercentFormatter())
    axes.set(xlabel="test histories held to 90% or more", xlim=(0, 115))
    return figure


def score_intervals(scores: pd.DataFrame, by: str) -> Figure:
    """Values with intervals: columns system, metric, value, low, high and `by`.

    A panel for each metric, systems down, one marker for each value of `by`.
    """
    metrics, systems, groups = (list(scores[c].unique()) for c in ("metric", "system", by))
    names = _LABELS | {"rougeL": "ROUGE-L", "bleu4": "BLEU-4"}
    rows = -(-len(metrics) // 3)
    height = rows * (0.9 + 0.1 * len(systems) * (len(groups) + 1))
    figure, panels = plt.subplots(
        rows, min(len(metrics), 3), figsize=(7.2, height), squeeze=False, sharey=True
    )
    plt.close(figure)
    for axes, metric in zip(panels.flat, metrics, strict=False):
        for i, group in enumerate(groups):
            chosen = scores[(scores["metric"] == metric) & (scores[by] == group)]
            drawn = chosen.set_index("system").reindex(systems)
            place = np.arange(len(systems)) + (i - (len(groups) - 1) / 2) * 0.22
            spread = [drawn["value"] - drawn["low"], drawn["high"] - drawn["value"]]
            axes.errorbar(
                drawn["value"], place, xerr=np.maximum(spread, 0), fmt=MARKERS[i % 4], ms=4,
                color=COLORS[i % 4], mec=INK, mew=0.4, capsize=2, lw=1,
                label=str(group).replace("_", " "),
            )  # fmt: skip
        if (scores.loc[scores["metric"] == metric, "low"] < 0).any():
            axes.axvline(0, color=INK, lw=0.8, ls=(0, (1, 2)))
        axes.set_xlabel(names.get(metric, metric).replace("\n", " ").replace("_", " "))
        axes.set_yticks(range(len(systems)), systems)
        axes.grid(visible=False, axis="y")
    panels[0, 0].invert_yaxis()
    for axes in panels.flat[len(metrics) :]:
        axes.remove()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(groups), fontsize=8)
    return figure


def factor_curves(table: pd.DataFrame, x: str, by: str) -> Figure:
    """Metrics along a factor: columns metric, value, low, high, `x` (in its order) and `by`.

    A panel for each metric, one line for each value of `by`, intervals as bars.
    """
    metrics, places, groups = (list(table[c].unique()) for c in ("metric", x, by))
    names = _LABELS | {"rougeL": "ROUGE-L", "voice": "says the user's\nkind of attribute"}
    rows = -(-len(metrics) // 3)
    figure, panels = plt.subplots(
        rows, min(len(metrics), 3), figsize=(7.2, 0.7 + 2.1 * rows), squeeze=False, sharex=True
    )
    plt.close(figure)
    for axes, metric in zip(panels.flat, metrics, strict=False):
        for i, group in enumerate(groups):
            chosen = table[(table["metric"] == metric) & (table[by] == group)]
            drawn = chosen.set_index(x).reindex(places)
            place = np.arange(len(places)) + (i - (len(groups) - 1) / 2) * 0.12
            spread = [drawn["value"] - drawn["low"], drawn["high"] - drawn["value"]]
            axes.errorbar(
                place, drawn["value"], yerr=np.maximum(spread, 0), fmt=MARKERS[i % 4], ms=4,
                ls=("-", "--", ":", "-.")[i % 4], color=COLORS[i % 4], mec=INK, mew=0.4,
                capsize=2, lw=1, label=str(group),
            )  # fmt: skip
        axes.set_ylabel(names.get(metric, metric.replace("_", " ")), fontsize=8)
        long = len(places) > 5
        axes.set_xticks(
            range(len(places)), [str(p) for p in places], rotation=60 if long else 0,
            fontsize=7 if long else 8,
        )  # fmt: skip
        axes.grid(visible=False, axis="x")
    for axes in panels[-1]:
        axes.set_xlabel(x.replace("_", " "))
    for axes in panels.flat[len(metrics) :]:
        axes.remove()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(groups), fontsize=8)
    return figure


def likert_bars(table: pd.DataFrame) -> Figure:
    """Diverging stacked bars of ratings: columns dimension, system, "1" to "5" (shares, 0..1).

    A panel a dimension; the middle of the middle step stands at zero.
    """
    steps = ["1", "2", "3", "4", "5"]
    colors = ("#a63d17", "#e8a98d", "#e6e6e6", "#8fa8c8", COLORS[0])
    hatches = ("///", "///", "", "", "")
    dimensions, systems = (list(dict.fromkeys(table[c])) for c in ("dimension", "system"))
    figure, panels = _axes(len(dimensions), height=1 + 0.26 * len(systems), width=7.2)
    for axes, dimension in zip(panels, dimensions, strict=True):
        shares = table[table["dimension"] == dimension].set_index("system")
        shares = 100 * shares.reindex(systems)[steps]
        left = -(shares["1"] + shares["2"] + shares["3"] / 2)
        for step, color, hatch in zip(steps, colors, hatches, strict=True):
            axes.barh(
                range(len(systems)), shares[step], 0.75, left=left, color=color, hatch=hatch,
                edgecolor="white", linewidth=0.5, label=step,
            )  # fmt: skip
            left = left + shares[step]
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_yticks(range(len(systems)), systems if axes is panels[0] else [])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(-105, 105)
        axes.set_xticks([-100, -50, 0, 50, 100], ["100%", "", "0", "", "100%"])
        axes.set_xlabel(str(dimension))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, fontsize=8)
    return figure


def coefficient_bars(table: pd.DataFrame) -> Figure:
    """Coefficients of agreement in several cases: columns case, coefficient, value."""
    wide = table.pivot(index="coefficient", columns="case", values="value")
    wide = wide.loc[table["coefficient"].unique(), table["case"].unique()]
    figure, (axes,) = _axes(height=1 + 0.5 * len(wide))
    _bars(axes, wide, form="{:.2f}", horizontal=True)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_xlabel("coefficient")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)
    return figure


def curves(
    table: pd.DataFrame,
    across: str,
    by: str,
    xlabel: str,
    ylabel: str,
    threshold: float | None = None,
) -> Figure:
    """Lines of `value` (0..1) over `across`, one for each `by`; a dotted line at `threshold`."""
    figure, (axes,) = _axes()
    for i, (name, rows) in enumerate(table.groupby(by, sort=False)):
        axes.plot(
            rows[across], rows["value"], ("-", "--", ":", "-.")[i % 4], color=COLORS[i % 3],
            marker=MARKERS[i % 4], ms=4, label=str(name),
        )  # fmt: skip
    if threshold is not None:
        axes.axhline(threshold, color=INK, lw=0.8, ls=(0, (1, 2)))
        axes.annotate(
            f"{threshold:g}", (1, threshold), (3, 0), va="center", fontsize=8,
            xycoords=("axes fraction", "data"), textcoords="offset points",
        )  # fmt: skip
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(min(0, table["value"].min()), 1.03))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)
    return figure


def rejections(table: pd.DataFrame, alpha: float) -> Figure:
    """Error rates of tests, 0..1: columns analysis, setting, rejected, low, high."""
    analyses = list(dict.fromkeys(table["analysis"]))
    figure, (axes,) = _axes(height=1.3 + 0.36 * len(analyses), width=7.2)
    settings = list(table.groupby("setting", sort=False))
    for i, (setting, rows) in enumerate(settings):
        place = rows["analysis"].map(analyses.index) + (i - (len(settings) - 1) / 2) * 0.2
        spread = [100 * (rows["rejected"] - rows["low"]), 100 * (rows["high"] - rows["rejected"])]
        axes.errorbar(
            100 * rows["rejected"], place, xerr=np.maximum(spread, 0), fmt=MARKERS[i % 4], ms=5,
            color=COLORS[i % 4], mec=INK, mew=0.4, capsize=2, lw=1, label=str(setting),
        )  # fmt: skip
    axes.axvline(100 * alpha, color=INK, lw=0.8, ls=(0, (1, 2)))
    axes.set_yticks(range(len(analyses)), analyses)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(PercentFormatter())
    axes.set_xlim(left=0)
    axes.set_xlabel(f"finds a difference that is not there (dotted: the {100 * alpha:g}% promised)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)
    return figure


_ERRORS = {"title": "a foreign title", "attribute": "a wrong attribute", "relation": "a relation"}
_WAYS = {False: "any one", True: "the same for an item"}


def error_curves(table: pd.DataFrame) -> Figure:
    """The student's errors against the teacher's: a panel for each kind and way of erring.

    Columns error_kinds, systematic, error_rate, decoding, what (teacher, student, predicted),
    value, low, high. Dashed and without markers: what was predicted. Dotted: the diagonal.
    """
    ways = list(table[["error_kinds", "systematic"]].drop_duplicates().itertuples(index=False))
    columns = min(len(ways), 2)
    rows = -(-len(ways) // 2)
    figure, panels = plt.subplots(
        rows, columns, figsize=(3.6 * columns, 0.4 + 3.1 * rows), squeeze=False, sharey=True
    )
    plt.close(figure)
    for axes, (kind, systematic) in zip(panels.flat, ways, strict=False):
        here = table[(table["error_kinds"] == kind) & (table["systematic"] == systematic)]
        for i, decoding in enumerate(table["decoding"].unique()):
            drawn = here[here["decoding"] == decoding].set_index("error_rate").sort_index()
            of = {what: drawn[drawn["what"] == what] for what in drawn["what"].unique()}
            x = of["teacher"]["value"].reindex(of["student"].index)
            y = of["student"]
            axes.errorbar(
                x, y["value"], yerr=_spread(y), color=COLORS[i % 4], marker=MARKERS[i % 4], ms=4,
                mec=INK, mew=0.4, capsize=2, lw=1.2, label=decoding,
            )  # fmt: skip
            if "predicted" in of:
                axes.plot(
                    x.reindex(of["predicted"].index), of["predicted"]["value"], marker="",
                    color=COLORS[i % 4], ls=(0, (3, 2)), lw=1.2,
                )  # fmt: skip
        axes.plot([0, 1], [0, 1], color=INK, ls=(0, (1, 2)), lw=0.8, marker="")
        named = f"teacher's error rate\n({_ERRORS[kind]}, {_WAYS[bool(systematic)]})"
        axes.set(xlim=(-0.02, 0.9), ylim=(-0.03, 1.03), xlabel=named)
    for axes in panels[:, 0]:
        axes.set_ylabel("student's error rate")
    for axes in panels.flat[len(ways) :]:
        axes.remove()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def _spread(drawn: pd.DataFrame) -> np.ndarray:
    """Lengths below and above the value for `errorbar`; none where there is no interval."""
    ends = [drawn["value"] - drawn["low"], drawn["high"] - drawn["value"]]
    return np.maximum(np.nan_to_num(np.array(ends, dtype=float)), 0)


def factor_levels(table: pd.DataFrame, what: str) -> Figure:
    """A rate, `what`, along several factors, each in a panel of its own.

    Columns factor, level (text, in order), group (one line each), value, low, high; and, where it
    is to be drawn, teacher (the teacher's rate, dotted).
    """
    factors, groups = list(table["factor"].unique()), list(table["group"].unique())
    figure, panels = plt.subplots(
        1, len(factors), figsize=(min(7.2, 1.2 + 1.9 * len(factors)), 2.7), squeeze=False,
        sharey=True,
    )  # fmt: skip
    plt.close(figure)
    for axes, factor in zip(panels[0], factors, strict=True):
        here = table[table["factor"] == factor]
        levels = list(here["level"].unique())
        for i, group in enumerate(groups):
            drawn = here[here["group"] == group].set_index("level").reindex(levels)
            axes.errorbar(
                np.arange(len(levels)) + 0.06 * (i - (len(groups) - 1) / 2), drawn["value"],
                yerr=_spread(drawn), color=COLORS[i % 4], marker=MARKERS[i % 4], ms=4, mec=INK,
                mew=0.4, capsize=2, lw=1.2, label=group,
            )  # fmt: skip
        if "teacher" in here:
            axes.axhline(here["teacher"].mean(), color=INK, ls=(0, (1, 2)), lw=0.8)
        axes.set_xticks(range(len(levels)), levels, fontsize=7)
        axes.set(xlabel=factor.replace("_", " "), ylim=(min(0, table["value"].min()), None))
        axes.margins(x=0.15)
        axes.grid(visible=False, axis="x")
    panels[0, 0].set_ylabel(what)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def title_mass(table: pd.DataFrame) -> Figure:
    """Where the probability goes when a title is due: a panel for each way of erring.

    Columns systematic, error_rate, what (history, item, foreign, other: stacked; golden_foreign:
    the share of golden texts that name a foreign title there, a diamond), value.
    """
    ways = list(table["systematic"].unique())
    figure, panels = _axes(columns=len(ways), width=min(7.2, 0.8 + 3.2 * len(ways)))
    for axes, systematic in zip(panels, ways, strict=True):
        here = table[table["systematic"] == systematic]
        wide = here.pivot(index="error_rate", columns="what", values="value").sort_index()
        place, bottom = np.arange(len(wide)), np.zeros(len(wide))
        for i, what in enumerate(("history", "foreign", "item", "other")):
            axes.bar(
                place, wide[what], 0.7, bottom=bottom, color=COLORS[i], hatch=HATCHES[i],
                edgecolor="white", linewidth=0.5, label=what,
            )  # fmt: skip
            bottom += wide[what].to_numpy()
            if what == "history":
                height = bottom + wide["golden_foreign"]
        axes.plot(
            place, height, "D", color="white", mec=INK, ms=5, ls="", label="teacher's foreign share"
        )
        axes.set_xticks(place, [f"{rate:.0%}" for rate in wide.index])
        named = f"teacher's error rate\n({_ERRORS['title']}, {_WAYS[bool(systematic)]})"
        axes.set(xlabel=named, ylim=(0, 1.02))
        axes.grid(visible=False, axis="x")
    panels[0].set_ylabel("probability")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, fontsize=8)
    return figure


def ratio_grid(table: pd.DataFrame, published: float) -> Figure:
    """How many times as long one model takes as another, over settings: a panel for each `source`.

    Columns source, batch_size, input_tokens, output_tokens, value, low, high. Dashed: `published`.
    """
    sources = list(table["source"].unique())
    figure, panels = _axes(len(sources), width=min(7.2, 3.4 + 2.4 * len(sources)))
    inputs, outputs = (sorted(table[c].unique()) for c in ("input_tokens", "output_tokens"))
    for axes, source in zip(panels, sources, strict=True):
        if axes is not panels[0]:
            axes.sharey(panels[0])
        here = table[table["source"] == source]
        batches = sorted(here["batch_size"].unique())
        for i, length in enumerate(inputs):
            for j, new in enumerate(outputs):
                drawn = here[(here["input_tokens"] == length) & (here["output_tokens"] == new)]
                shift = (i * len(outputs) + j + 0.5) / (len(inputs) * len(outputs)) - 0.5
                axes.errorbar(
                    drawn["batch_size"].map(batches.index) + 0.7 * shift, drawn["value"],
                    yerr=_spread(drawn), fmt=MARKERS[j % 4], ms=4, mec=INK, mew=0.4,
                    color=COLORS[i % 4], capsize=2, lw=0.8,
                )  # fmt: skip
        axes.axhline(published, color=INK, ls=(0, (4, 2)), lw=1)
        axes.set_xticks(range(len(batches)), [str(b) for b in batches])
        axes.set(yscale="log", xlabel=f"batch\n({source})")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=False, axis="x")
    panels[0].set_ylabel("times as long (logarithmic)")
    squares = [
        Line2D([], [], ls="", marker="s", ms=6, color=COLORS[i % 4], label=f"{length} in")
        for i, length in enumerate(inputs)
    ]
    shapes = [
        Line2D([], [], ls="", marker=MARKERS[j % 4], ms=5, color="white", mec=INK, label=f"{n} out")
        for j, n in enumerate(outputs)
    ]
    figure.legend(handles=squares + shapes, loc="outside upper center", ncols=8, fontsize=7)
    return figure


def rooflines(table: pd.DataFrame) -> Figure:
    """Operations a second over operations a byte, under the device's roof: a panel a `source`.

    Columns source, model, operations_per_byte, operations_per_s, and the device's peaks,
    peak_operations_per_s and peak_bytes_per_s.
    """
    sources, models = (list(table[column].unique()) for column in ("source", "model"))
    figure, panels = _axes(len(sources), height=3.6, width=min(7.2, 3.4 + 2.4 * len(sources)))
    for axes, source in zip(panels, sources, strict=True):
        here = table[table["source"] == source]
        at = here["operations_per_byte"]
        reach = np.geomspace(at.min() / 3, at.max() * 3, 50)  # a decade at least, for the ticks
        peaks = here[["peak_operations_per_s", "peak_bytes_per_s"]].drop_duplicates()
        for rate, width in peaks.to_numpy():
            axes.plot(reach, np.minimum(rate, width * reach), color=INK, lw=1, marker="")
        for i, model in enumerate(models):
            drawn = here[here["model"] == model]
            axes.plot(
                drawn["operations_per_byte"], drawn["operations_per_s"], ls="", ms=5, mec=INK,
                mew=0.4, color=COLORS[i % 4], marker=MARKERS[(i + i // 4) % 4], label=model,
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel=f"operations a byte\n({source})")
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("operations a second")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def rates(table: pd.DataFrame) -> Figure:
    """Explanations a second by way of batching: columns model, way, explanations_per_s."""
    wide = table.pivot_table(index="way", columns="model", values="explanations_per_s", sort=False)
    figure, (axes,) = _axes(height=0.9 + 0.5 * len(wide))
    _bars(axes, wide, form="{:.3g}", horizontal=True)
    axes.set_xlabel("explanations a second")
    return figure


def fleets(table: pd.DataFrame) -> Figure:
    """Money a day over traffic, a line a model.

    Columns model, explanations_per_day, money_per_day (nan, where no machine will do: not drawn).
    """
    figure, (axes,) = _axes()
    table = table.dropna(subset="money_per_day")
    for i, (model, drawn) in enumerate(table.groupby("model", sort=False)):
        axes.plot(
            drawn["explanations_per_day"], drawn["money_per_day"], color=COLORS[i % 4],
            marker=MARKERS[i % 4], ms=4, mec=INK, mew=0.4,
            ls=("-", "--", ":", "-.")[i % 4], label=str(model),
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="explanations a day", ylabel="money a day")
    axes.legend(fontsize=8)
    return figure


def training_cost(table: pd.DataFrame) -> Figure:
    """What user tables cost, both axes logarithmic: columns table, users, what, value, low, high.

    A panel for each `what`, one line a table; "none", without a table, is a dotted line.
    """
    panels = list(table["what"].unique())
    lines = [name for name in table["table"].unique() if name != "none"]
    figure, axes = _axes(len(panels), height=2.9, width=7.2)
    for panel, what in zip(axes, panels, strict=True):
        here = table[table["what"] == what]
        for i, name in enumerate(lines):
            drawn = here[here["table"] == name].sort_values("users")
            panel.errorbar(
                drawn["users"], drawn["value"], yerr=_spread(drawn), color=COLORS[i % 4],
                marker=MARKERS[i % 4], ms=5, mec=INK, mew=0.4, capsize=2, lw=1.2, label=name,
            )  # fmt: skip
        for value in here.loc[here["table"] == "none", "value"]:
            panel.axhline(value, color=INK, ls=(0, (1, 2)), lw=1, label="no user table")
        panel.set(xscale="log", yscale="log", xlabel="users", ylabel=what)
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    return figure
