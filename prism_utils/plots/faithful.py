"""The figure of chapter 10 on what moved a ranker: who cites it, against chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .look import COLORS, INK, MARKERS, spread, subplots

# Systems of `experiments.faithful`, from the top, and how they are called.
_SYSTEMS = {
    "random-title": "a title at random",
    "facts-template": "template of facts",
    "unmarked": "student, not told",
    "marked": "student, told what moved",
}
_INPUTS = {"none": "titles alone", "all": "titles and facts"}
_FLOORS = ("random-title", "facts-template")  # they read no student's input


def cited_movers(table: pd.DataFrame) -> Figure:
    """Share that cites what moved the ranker: a panel for each ranker, systems down.

    Columns ranker, facts (the students' input), system, metric, value, low, high. Drawn is the
    metric cites_mover, one marker for each input of a student; dashed beside it is chance, the
    metric of that name: what the same texts would reach had items at random moved the ranker.
    """
    rankers, inputs = list(table["ranker"].unique()), list(table["facts"].unique())
    systems = [name for name in _SYSTEMS if name in set(table["system"])]
    figure, panels = subplots(len(rankers), height=0.9 + 0.45 * len(systems), width=7.2)
    for axes, ranker in zip(panels, rankers, strict=True):
        for i, facts in enumerate(inputs):
            here = table[(table["ranker"] == ranker) & (table["facts"] == facts)]
            if i:
                here = here[~here["system"].isin(_FLOORS)]
            drawn, chance = (
                here[here["metric"] == name].set_index("system").reindex(systems)
                for name in ("cites_mover", "chance")
            )
            place = np.arange(len(systems)) + (i - (len(inputs) - 1) / 2) * 0.36
            place[[name in _FLOORS for name in systems]] = np.flatnonzero(
                [name in _FLOORS for name in systems]
            )
            axes.errorbar(
                drawn["value"], place, xerr=spread(drawn), fmt=MARKERS[i % 4], ms=5,
                color=COLORS[i % 4], mec=INK, mew=0.4, capsize=2, lw=1,
                label=f"cites a mover, input: {_INPUTS.get(facts, facts)}",
            )  # fmt: skip
            axes.vlines(
                chance["value"], place - 0.17, place + 0.17, color=INK, lw=1.2, ls=(0, (2, 1)),
                label="" if i else "by chance (items at random had moved it)",
            )  # fmt: skip
        axes.set_yticks(range(len(systems)), [_SYSTEMS[name] for name in systems])
        axes.set(xlim=(-0.03, 1.03), xlabel=f"share of texts, ranker {ranker}")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        if axes is not panels[0]:
            axes.tick_params(labelleft=False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=7)
    return figure
