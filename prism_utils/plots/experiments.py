"""Figures of chapters 8 and 9: rates along a factor, errors of teacher and student."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .look import COLORS, HATCHES, INK, LABELS, MARKERS, spread, subplots


def factor_curves(table: pd.DataFrame, x: str, by: str) -> Figure:
    """Metrics along a factor: columns metric, value, low, high, `x` (in its order) and `by`.

    A panel for each metric, one line for each value of `by`, intervals as bars.
    """
    metrics, places, groups = (list(table[c].unique()) for c in ("metric", x, by))
    names = LABELS | {"rougeL": "ROUGE-L", "voice": "says the user's\nkind of attribute"}
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


_ERRORS = {"title": "a foreign title", "attribute": "a wrong attribute", "relation": "a relation"}
_WAYS = {False: "any one", True: "the same for an item"}


def error_curves(table: pd.DataFrame) -> Figure:
    """The student's errors against the teacher's: a panel for each kind and way of erring.

    Columns error_kinds, systematic, error_rate, decoding, what (teacher, student, predicted),
    value, low, high. Dashed, in its decoding's colour: what was predicted. Dotted: the diagonal.
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
                x, y["value"], yerr=spread(y), color=COLORS[i % 4], marker=MARKERS[i % 4], ms=4,
                mec=INK, mew=0.4, capsize=2, lw=1.2, label=decoding,
            )  # fmt: skip
            if "predicted" in of:
                axes.plot(
                    x.reindex(of["predicted"].index), of["predicted"]["value"], marker="",
                    color=COLORS[i % 4], ls=(0, (3, 2)), lw=1.2,
                )  # fmt: skip
        axes.plot(
            [0, 1], [0, 1], color=INK, ls=(0, (1, 2)), lw=0.8, marker="",
            label="the teacher's own rate",
        )  # fmt: skip
        axes.plot([], [], color=INK, ls=(0, (3, 2)), lw=1.2, marker="", label="predicted")
        named = f"teacher's error rate\n({_ERRORS[kind]}, {_WAYS[bool(systematic)]})"
        axes.set(xlim=(-0.02, 0.9), ylim=(-0.03, 1.03), xlabel=named)
    for axes in panels[:, 0]:
        axes.set_ylabel("student's error rate")
    for axes in panels.flat[len(ways) :]:
        axes.remove()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    return figure


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
                yerr=spread(drawn), color=COLORS[i % 4], marker=MARKERS[i % 4], ms=4, mec=INK,
                mew=0.4, capsize=2, lw=1.2, label=group,
            )  # fmt: skip
        if "teacher" in here:
            axes.axhline(
                here["teacher"].mean(),
                color=INK,
                ls=(0, (1, 2)),
                lw=0.8,
                label="the teacher's rate",
            )
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
    figure, panels = subplots(columns=len(ways), width=min(7.2, 0.8 + 3.2 * len(ways)))
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
