"""What all figures share: colours, hatches and markers, axes, grouped bars."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# From dark to light, so that they stay apart in grey; hatches and markers tell them apart again.
COLORS = ("#17375e", "#d1603d", "#8ab6a9", "#e3cf8e")
HATCHES = ("", "///", "...", "xx")
MARKERS = ("o", "s", "^", "D")
INK = "#333333"
LABELS = {
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


def subplots(
    columns: int = 1, height: float = 3.2, width: float = 6.4
) -> tuple[Figure, list[Axes]]:
    figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False)
    plt.close(figure)  # the notebook shows what a cell returns; open figures would show twice
    return figure, list(axes[0])


def grouped_bars(
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


def spread(drawn: pd.DataFrame) -> np.ndarray:
    """Lengths below and above the value for `errorbar`; none where there is no interval."""
    ends = [drawn["value"] - drawn["low"], drawn["high"] - drawn["value"]]
    return np.maximum(np.nan_to_num(np.array(ends, dtype=float)), 0)


def curves(
    table: pd.DataFrame,
    across: str,
    by: str,
    xlabel: str,
    ylabel: str,
    threshold: float | None = None,
) -> Figure:
    """Lines of `value` (0..1) over `across`, one for each `by`; a dotted line at `threshold`."""
    figure, (axes,) = subplots()
    for i, (name, rows) in enumerate(table.groupby(by, sort=False)):
        axes.plot(
            rows[across], rows["value"], ("-", "--", ":", "-.")[i % 4], color=COLORS[i % 3],
            marker=MARKERS[i % 4], ms=4, label=str(name),
        )  # fmt: skip
    if threshold is not None:
        axes.axhline(threshold, color=INK, lw=0.8, ls=(0, (1, 2)), label="threshold")
        axes.annotate(
            f"{threshold:g}", (1, threshold), (3, 0), va="center", fontsize=8,
            xycoords=("axes fraction", "data"), textcoords="offset points",
        )  # fmt: skip
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(min(0, table["value"].min()), 1.03))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)
    return figure
