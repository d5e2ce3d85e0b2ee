"""Figures of chapter 6: ratings, agreement, power and false alarms."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .look import COLORS, INK, MARKERS, grouped_bars, subplots


def likert_bars(table: pd.DataFrame) -> Figure:
    """Diverging stacked bars of ratings: columns dimension, system, "1" to "5" (shares, 0..1).

    A panel a dimension; the middle of the middle step stands at zero.
    """
    steps = ["1", "2", "3", "4", "5"]
    colors = ("#a63d17", "#e8a98d", "#e6e6e6", "#8fa8c8", COLORS[0])
    hatches = ("///", "///", "", "", "")
    dimensions, systems = (list(dict.fromkeys(table[c])) for c in ("dimension", "system"))
    figure, panels = subplots(len(dimensions), height=1 + 0.26 * len(systems), width=7.2)
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
    figure, (axes,) = subplots(height=1 + 0.5 * len(wide))
    grouped_bars(axes, wide, form="{:.2f}", horizontal=True)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_xlabel("coefficient")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)
    return figure


def rejections(table: pd.DataFrame, alpha: float) -> Figure:
    """Error rates of tests, 0..1: columns analysis, setting, rejected, low, high."""
    analyses = list(dict.fromkeys(table["analysis"]))
    figure, (axes,) = subplots(height=1.3 + 0.36 * len(analyses), width=7.2)
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
