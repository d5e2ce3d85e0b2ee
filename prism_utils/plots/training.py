"""Figures of chapters 3 and 3b: learning curves, and what a vocabulary costs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .look import COLORS, MARKERS, subplots


def learning_curves(curve: pd.DataFrame) -> Figure:
    """Loss by optimiser step: columns step, train_loss, valid_loss (nats a token)."""
    figure, (axes,) = subplots()
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
    figure, (axes,) = subplots()
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
    figure, panels = subplots(2, width=7.2, height=2.8)
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
