"""Figures of chapters 3, 5 and 7: grounding, what metrics reward, scores with intervals."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .look import COLORS, INK, LABELS, MARKERS, grouped_bars, subplots


def grounding_bars(scores: pd.DataFrame) -> Figure:
    """Share of explanations by grounding metric: columns system, metric, value (0 or 1)."""
    table = scores.pivot_table(index="metric", columns="system", values="value", sort=False)
    table = table.reindex([name for name in LABELS if name in table.index])
    figure, (axes,) = subplots(height=3.4, width=7.2)
    grouped_bars(axes, 100 * table.rename(index=LABELS), form="{:.1f}%")
    axes.yaxis.set_major_formatter(PercentFormatter())
    axes.set(ylabel="share of explanations", ylim=(0, 112))
    return figure


def rouge_by_faithfulness(pairs: pd.DataFrame) -> Figure:
    """Cumulative distribution of ROUGE-L by group: columns group, rougeL (0..1)."""
    figure, (axes,) = subplots()
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
    figure, (axes,) = subplots(height=1 + 0.27 * len(metrics))
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
    figure, (axes,) = subplots(height=0.9 + 0.55 * len(wide))
    grouped_bars(axes, wide, form="{:.3f}", horizontal=True)
    axes.set_xlabel("ROUGE-L")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)
    return figure


def two_orders(table: pd.DataFrame, across: str, up: str) -> Figure:
    """Systems by two metrics: columns system, metric, value, low, high; intervals as crosses."""
    wide = table.pivot(index="system", columns="metric", values=["value", "low", "high"])
    figure, (axes,) = subplots(height=3.6)
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
    figure, (axes,) = subplots(height=0.8 + 0.7 * len(table))
    grouped_bars(axes, 100 * table.rename(lambda name: name.replace("_", " ")), form="{:.1f}%",
          horizontal=True)  # fmt: skip
    axes.xaxis.set_major_formatter(PercentFormatter())
    axes.set(xlabel="test histories held to 90% or more", xlim=(0, 115))
    return figure


def score_intervals(scores: pd.DataFrame, by: str) -> Figure:
    """Values with intervals: columns system, metric, value, low, high and `by`.

    A panel for each metric, systems down, one marker for each value of `by`.
    """
    metrics, systems, groups = (list(scores[c].unique()) for c in ("metric", "system", by))
    names = LABELS | {"rougeL": "ROUGE-L", "bleu4": "BLEU-4"}
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
            axes.axvline(0, color=INK, lw=0.8, ls=(0, (1, 2)), label="zero")
        axes.set_xlabel(names.get(metric, metric).replace("\n", " ").replace("_", " "))
        axes.set_yticks(range(len(systems)), systems)
        axes.grid(visible=False, axis="y")
    panels[0, 0].invert_yaxis()
    for axes in panels.flat[len(metrics) :]:
        axes.remove()
    named: dict[str, Any] = {}
    for axes in panels.flat[: len(metrics)]:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    shown = sorted(named, key=lambda label: label == "zero")  # last
    figure.legend(
        [named[label] for label in shown], shown, loc="outside upper center", ncols=len(shown),
        fontsize=8,
    )  # fmt: skip
    return figure
