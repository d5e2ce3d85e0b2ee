"""Figures of chapters 4, 4b and 4c: latency, sizes, floors, backends, machines, user tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from .look import COLORS, HATCHES, INK, MARKERS, grouped_bars, spread, subplots

_SHAPES = (*MARKERS, "v", "P", "X", "<", ">", "p", "*", "h")
_DASHES = ("-", "--", ":", "-.")


def _other(i: int) -> int:
    """Of four markers or dashes: with the colour `i % 4` it tells sixteen lines apart."""
    return (i + i // 4) % 4


def latency(timings: pd.DataFrame) -> Figure:
    """Median seconds with p5 to p95: columns model, batch_size, median_s, p5_s, p95_s."""
    sizes = sorted(timings["batch_size"].unique())
    models = list(timings["model"].unique())
    figure, (axes,) = subplots(height=0.9 + 0.45 * len(models))
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
    figure, (left, right) = subplots(2, height=0.9 + 0.5 * len(frame), width=7.2)
    grouped_bars(left, frame[["parameters"]] / 1e6, form="{:,.4g}M", horizontal=True)
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


def ratio_grid(table: pd.DataFrame, published: float) -> Figure:
    """How many times as long one model takes as another, over settings: a panel for each `source`.

    Columns source, batch_size, input_tokens, output_tokens, value, low, high. Dashed: `published`.
    """
    sources = list(table["source"].unique())
    figure, panels = subplots(len(sources), width=min(7.2, 3.4 + 2.4 * len(sources)))
    inputs, outputs = (sorted(table[c].unique()) for c in ("input_tokens", "output_tokens"))
    colors = COLORS if len(inputs) <= 4 else colormaps["viridis"](np.linspace(0, 0.9, len(inputs)))
    for axes, source in zip(panels, sources, strict=True):
        if axes is not panels[0]:
            axes.sharey(panels[0])
        here = table[table["source"] == source]
        batches = sorted(here["batch_size"].unique())
        lengths = here.groupby(["input_tokens", "output_tokens"])
        for i, ((length, new), drawn) in enumerate(lengths):
            shift = (i + 0.5) / len(lengths) - 0.5
            axes.errorbar(
                drawn["batch_size"].map(batches.index) + 0.7 * shift, drawn["value"],
                yerr=spread(drawn), fmt=_SHAPES[outputs.index(new)], ms=4, mec=INK, mew=0.4,
                color=colors[inputs.index(length)], capsize=2, lw=0.8,
            )  # fmt: skip
        axes.axhline(published, color=INK, ls=(0, (4, 2)), lw=1)
        axes.set_xticks(range(len(batches)), [str(b) for b in batches])
        axes.set(yscale="log", xlabel=f"batch\n({source})", xlim=(-0.5, len(batches) - 0.5))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=False, axis="x")
    panels[0].set_ylabel("times as long (logarithmic)")
    handles = [
        Line2D([], [], ls="", marker="s", ms=6, color=color, label=f"{length} in")
        for length, color in zip(inputs, colors, strict=False)
    ] + [
        Line2D([], [], ls="", marker=shape, ms=5, color="white", mec=INK, label=f"{new} out")
        for new, shape in zip(outputs, _SHAPES, strict=False)
    ] + [Line2D([], [], color=INK, ls=(0, (4, 2)), lw=1, label="the paper's")]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=8, fontsize=7)
    return figure


def rooflines(table: pd.DataFrame) -> Figure:
    """Operations a second over operations a byte, under the device's roof: a panel a `source`.

    Columns source, model, dtype, operations_per_byte, operations_per_s, and the device's peaks,
    peak_operations_per_s and peak_bytes_per_s. A roof has the name of its dtype.
    """
    sources, models = (list(table[column].unique()) for column in ("source", "model"))
    figure, panels = subplots(len(sources), height=3.6, width=min(7.2, 3.4 + 2.4 * len(sources)))
    for axes, source in zip(panels, sources, strict=True):
        here = table[table["source"] == source]
        at = here["operations_per_byte"]
        reach = np.geomspace(at.min() / 3, at.max() * 3, 50)  # a decade at least, for the ticks
        peaks = here[["dtype", "peak_operations_per_s", "peak_bytes_per_s"]].drop_duplicates()
        for kind, rate, width in peaks.itertuples(index=False):
            axes.plot(reach, np.minimum(rate, width * reach), color=INK, lw=1, marker="")
            axes.annotate(kind, (reach[-1], min(rate, width * reach[-1])), (0, 2), fontsize=7,
                          textcoords="offset points", ha="right", color=INK)  # fmt: skip
        for i, model in enumerate(models):
            drawn = here[here["model"] == model]
            axes.plot(
                drawn["operations_per_byte"], drawn["operations_per_s"], ls="", ms=5, mec=INK,
                mew=0.4, color=COLORS[i % 4], marker=MARKERS[_other(i)], label=model,
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel=f"operations a byte\n({source})")
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("operations a second")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def backend_speeds(table: pd.DataFrame) -> Figure:
    """How many times as fast as `generate` each backend is: a panel for each `source`.

    Columns source, backend, batch_size, value, low, high. Dashed: `generate` itself.
    """
    sources, backends = list(table["source"].unique()), list(table["backend"].unique())
    batches = sorted(table["batch_size"].unique())
    figure, panels = subplots(len(sources), 0.9 + 0.4 * len(backends), 7.2)
    for axes, source in zip(panels, sources, strict=True):
        for i, size in enumerate(batches):
            here = table[(table["source"] == source) & (table["batch_size"] == size)]
            place = np.array([backends.index(name) for name in here["backend"]], dtype=float)
            place += 0.2 * (i - (len(batches) - 1) / 2)
            axes.errorbar(
                here["value"], place, xerr=spread(here), fmt=MARKERS[i % 4], ms=4, mec=INK,
                mew=0.4, color=COLORS[i % 4], capsize=2, lw=0.8, label=f"batch of {size}",
            )  # fmt: skip
        axes.axvline(1, color=INK, ls=(0, (4, 2)), lw=1, label="generate")
        axes.set_yticks(range(len(backends)), backends if axes is panels[0] else [])
        if axes is not panels[0]:
            axes.sharex(panels[0])
        axes.set(ylim=(len(backends) - 0.5, -0.5), xlabel=f"times as fast\n({source})")
        axes.grid(visible=False, axis="y")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, fontsize=8)
    return figure


def rates(table: pd.DataFrame) -> Figure:
    """Explanations a second by way of batching: columns model, way, explanations_per_s."""
    wide = table.pivot_table(index="way", columns="model", values="explanations_per_s", sort=False)
    figure, (axes,) = subplots(height=0.9 + 0.5 * len(wide))
    grouped_bars(axes, wide, form="{:.3g}", horizontal=True)
    axes.set_xlabel("explanations a second")
    return figure


def fleets(table: pd.DataFrame) -> Figure:
    """Money a day over traffic, a line a model.

    Columns model, explanations_per_day, money_per_day (nan, where no machine will do: not drawn).
    """
    figure, (axes,) = subplots()
    table = table.dropna(subset="money_per_day")
    for i, (model, drawn) in enumerate(table.groupby("model", sort=False)):
        axes.plot(
            drawn["explanations_per_day"], drawn["money_per_day"], color=COLORS[i % 4],
            marker=MARKERS[_other(i)], ms=4, mec=INK, mew=0.4, ls=_DASHES[_other(i)],
            label=str(model),
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
    figure, axes = subplots(len(panels), height=2.9, width=7.2)
    for panel, what in zip(axes, panels, strict=True):
        here = table[table["what"] == what]
        for i, name in enumerate(lines):
            drawn = here[here["table"] == name].sort_values("users")
            panel.errorbar(
                drawn["users"], drawn["value"], yerr=spread(drawn), color=COLORS[i % 4],
                marker=MARKERS[i % 4], ms=5, mec=INK, mew=0.4, capsize=2, lw=1.2, label=name,
            )  # fmt: skip
        for value in here.loc[here["table"] == "none", "value"]:
            panel.axhline(value, color=INK, ls=(0, (1, 2)), lw=1, label="no user table")
        panel.set(xscale="log", yscale="log", xlabel="users", ylabel=what)
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.xaxis.set_minor_formatter(NullFormatter())
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    return figure
