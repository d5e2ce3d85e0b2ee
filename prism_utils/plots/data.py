"""Figures of chapters 1, 2 and 7c: histories, texts, errors made on purpose, leakage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .look import COLORS, HATCHES, grouped_bars, subplots


def history_lengths(lengths: Sequence[int] | pd.Series | np.ndarray, max_history: int) -> Figure:
    """Histogram of history lengths (one number a sample), 1 to `max_history`."""
    figure, (axes,) = subplots()
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
    figure, (axes,) = subplots(height=0.8 + 0.7 * len(table))
    grouped_bars(axes, 100 * table, form="{:.0f}%", horizontal=True)
    axes.xaxis.set_major_formatter(PercentFormatter())
    axes.set(xlabel="share", xlim=(0, 115))
    return figure


def text_lengths(explanations: pd.DataFrame) -> Figure:
    """Histogram of words an explanation, one outline a system: columns system, text."""
    figure, (axes,) = subplots()
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
    figure, (axes,) = subplots(height=0.7 + 0.4 * len(shares))
    grouped_bars(axes, shares.to_frame(), form="{:.1f}%", horizontal=True)
    axes.xaxis.set_major_formatter(PercentFormatter())
    axes.set(xlabel="explanations", ylabel="labelled error")
    return figure
