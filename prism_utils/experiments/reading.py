"""What chapter 8's trainings say: tables and sentences, made from the numbers alone.

Every function takes the rows of trainings or what `analysis` makes of them; `at` is the point that
they vary around. Left out on purpose: drawing (`plots`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .analysis import against_teacher, along, amount, filled, filtering, from_records, over_seeds
from .analysis import slopes as slopes_along
from .mechanism import grid
from .trial import FACTORS

ERRING = ["error_kinds", "systematic", "error_rate"]
DRAWN = ["greedy", "beam4", "sample@0.7", "sample@1.0"]
GROUPS = ["greedy", "beam4", "sample@1.0"]
#: What a larger, longer or looser training changes, one at a time.
CHANGED = ["size", "n_train", "steps", "dropout", "label_smoothing"]
WAYS = {True: "systematic", False: "idiosyncratic"}
MEMORY = {
    "mass_error": "probability of the wrong title",
    "repeats_error": "greedy text repeats the error",
}


def sources(
    live: pd.DataFrame, made: dict[str, Any], record: Mapping[str, Any]
) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, Any]]]:
    """Rows and provenance of "This run" and, where there is one, of "The record"."""
    tables, origin = {"This run": filled(live)}, {"This run": made}
    if record:
        tables["The record"] = filled(from_records(record["tables"]["mechanism"]))
        origin["The record"] = record["provenance"]
    return tables, origin


def describe(made: dict[str, Any]) -> str:
    """What a table was made of and on, in a sentence; made: its provenance."""
    given, device = made["parameters"], made["device"]
    base = given["base"]
    planned = len(grid(given["grid"]))
    return (
        f"{given['points']} of {planned} trainings (grid {given['grid']}) around a student of "
        f"size {base['size']}, {base['steps']:,} steps on {base['n_train']:,} explanations of "
        f"{base['films']} films, {base['student_history']} of the history shown; "
        f"{made['date'][:10]}, commit {made['commit']}, {device.get('gpu') or device['cpu']}, "
        f"torch {made['versions']['torch']}, transformers {made['versions']['transformers']}."
    )


def erring(table: pd.DataFrame, at: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Where the teacher's errors vary: `against_teacher`, and the means over seeds to be drawn."""
    found = along(filtering(table), *ERRING, centre=at)
    drawn = found[found["decoding"].isin(DRAWN)]
    values = ["teacher", "student", "predicted"]
    return against_teacher(found), over_seeds(drawn, [*ERRING, "decoding"], values)


def side_by_side(gaps: pd.DataFrame) -> pd.DataFrame:
    """Decodings across: the student's rate, the predicted one in brackets, and the reading."""
    table = gaps[gaps["decoding"].isin(DRAWN)].copy()
    predicted = table["predicted"].map("({:.0%}) ".format).where(table["predicted"].notna(), "")
    table["said"] = table["student"].map("{:.0%} ".format) + predicted + table["reading"]
    rows = table.drop_duplicates(ERRING)
    order = pd.MultiIndex.from_frame(rows[ERRING])
    wide = table.pivot(index=ERRING, columns="decoding", values="said")
    wide = wide.loc[order, table["decoding"].unique()]
    ways, rates = rows["systematic"].map(WAYS), rows["teacher"].map("{:.0%}".format)
    wide.index = pd.MultiIndex.from_arrays(
        [rows["error_kinds"], ways, rates], names=["kind", "errors", "teacher"]
    )
    return wide.rename_axis(columns=None)


def conclude(gaps: pd.DataFrame) -> str:
    """A line for each kind of error and decoding: how often it filters, how far theory is off."""
    lines = []
    for at, curve in gaps[gaps["error_rate"] > 0].groupby(
        ["error_kinds", "systematic", "decoding"], sort=False
    ):
        kind, systematic, decoding = at
        counts = curve["reading"].value_counts()
        off = (curve["student"] - curve["predicted"]).abs().mean()
        theory = "" if np.isnan(off) else f" Mean distance from theory: {100 * off:.0f} points."
        lines.append(
            f"- {WAYS[bool(systematic)]} {kind} errors, {decoding}: filters at "
            f"{counts.get('filters', 0)}, amplifies at {counts.get('amplifies', 0)} of "
            f"{len(curve)} rates.{theory}"
        )
    return "\n".join(lines)


def levels(
    found: pd.DataFrame, at: dict[str, Any], values: Sequence[str], group: Sequence[str] = ()
) -> pd.DataFrame:
    """Means over seeds along every factor of `CHANGED` that varies, as `plots.factor_levels` draws.

    Columns: factor, level (text, in order), group's, what (one of `values`), value, low, high.
    """
    parts = []
    for factor in CHANGED:
        here = along(found, factor, centre=at)
        if factor != CHANGED[0] and here[factor].nunique() < 2:
            continue
        here = here.iloc[here[factor].map(amount).argsort(kind="stable")]
        means = over_seeds(here, [factor, *group], values)
        parts.append(means.assign(factor=factor, level=means[factor].map("{}".format)))
    return pd.concat(parts, ignore_index=True)


def capacity(table: pd.DataFrame, at: dict[str, Any]) -> pd.DataFrame:
    """The student's error rate along `CHANGED`, with the teacher's; group is the decoding."""
    found = filtering(table)
    drawn = levels(found[found["decoding"].isin(GROUPS)], at, ["student"], ["decoding"])
    return drawn.assign(teacher=along(found, centre=at)["teacher"].mean(), group=drawn["decoding"])


def slopes(table: pd.DataFrame, at: dict[str, Any]) -> pd.DataFrame:
    """`analysis.slopes` of all of `CHANGED` and decodings of `GROUPS`; empty where none varies."""
    found = filtering(table)
    parts = [slopes_along(along(found, name, centre=at), name) for name in CHANGED]
    parts = [part for part in parts if len(part)] or parts[:1]
    both = pd.concat(parts, ignore_index=True)
    return both[both["decoding"].isin(GROUPS)]


def verdict(row: Any) -> str:
    """What a slope's interval says of the paper's explanation."""
    if np.isnan(row["low"]):
        return "one seed: no interval"
    if row["low"] <= 0 <= row["high"]:
        return "no slope shown"
    return "more errors as it grows" if row["value"] > 0 else "fewer errors as it grows"


def memory(table: pd.DataFrame, at: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is remembered of training's errors: to be drawn, and training less held out.

    The first has group (training or held-out samples), the second what (a key of `MEMORY`), both
    the columns of `levels`.
    """
    names = [f"{metric}_{side}" for metric in MEMORY for side in ("train", "test")]
    index = [*FACTORS, "seed"]
    wide = along(table, *CHANGED, centre=at)
    wide = wide[wide["metric"].isin(names)]
    wide = wide.pivot_table(index=index, columns="metric", values="value").reset_index()
    wide = wide.reindex(columns=[*index, *names])
    sides = {"mass_error_train": "training samples", "mass_error_test": "held-out samples"}
    drawn = levels(wide, at, list(sides))
    for metric in MEMORY:
        wide[metric] = wide[f"{metric}_train"] - wide[f"{metric}_test"]
    return drawn.assign(group=drawn["what"].map(sides)), levels(wide, at, list(MEMORY))


def mass(table: pd.DataFrame, at: dict[str, Any]) -> pd.DataFrame:
    """Where the probability goes, means over seeds, and the share that is on no title (other)."""
    table = along(table, "systematic", "error_rate", centre=at)
    wide = table[table["decoding"] == "forced"].pivot_table(
        index=["systematic", "error_rate"], columns="metric", values="value"
    )
    wide = wide.rename(columns=lambda name: name.removeprefix("mass_"))
    wide["other"] = 1 - wide[["history", "item", "foreign"]].sum(axis=1)
    return wide.drop(columns=["error_train", "error_test"], errors="ignore").reset_index()


def compare_mass(wide: pd.DataFrame) -> str:
    """Whether the student has unlearnt the teacher's errors or only does not say them."""
    rows = wide[(wide["error_rate"] > 0) & ~wide["systematic"]]
    if rows.empty or rows["other"].mean() > 0.5:
        return "These students have not learnt to name a title here: nothing to compare."
    given, kept, top = (rows[c].mean() for c in ("golden_foreign", "foreign", "argmax_foreign"))
    text = (
        f"Where errors scatter, golden explanations name a foreign film in {given:.0%} of these "
        f"places, the student gives such films {kept:.0%} of its probability, and one of them is "
        f"its likeliest word in {top:.0%}. "
    )
    if kept <= given / 2:
        return text + "The model itself has left most of the errors out."
    if top <= given / 2:
        return text + "The errors are in the model; the choice of the likeliest word is the filter."
    return text + "The errors are in the model and in what it would say."


def recap(gaps: pd.DataFrame, slopes: pd.DataFrame) -> str:
    """The chapter's answers in lines: what each decoding repeats, what the student's size does."""
    title = gaps[(gaps["error_rate"] > 0) & (gaps["error_kinds"] == "title")]
    lines = []
    for systematic, way in ((False, "any wrong film"), (True, "always the same wrong film")):
        for decoding in ("greedy", "sample@1.0"):
            rows = title[title["systematic"].eq(systematic) & title["decoding"].eq(decoding)]
            if len(rows):
                mean = rows[["teacher", "student", "predicted"]].mean()
                lines.append(
                    f"- A teacher that names {way} in {mean['teacher']:.0%} of its explanations "
                    f"(mean over the rates tried): {decoding} decoding names one in "
                    f"{mean['student']:.0%}, predicted {mean['predicted']:.0%}."
                )
    size = slopes[slopes["factor"].eq("size") & slopes["decoding"].eq("greedy")]
    for _, row in size.iterrows():
        lines.append(
            f"- For every doubling of the student the greedy rate changes by {row['value']:+.1%}: "
            f"{verdict(row)}."
        )
    return "\n".join(lines)


def unsupported_shares(rates: pd.DataFrame) -> pd.DataFrame:
    """A record's `rates` with what was measured and of what down, systems across, as text.

    rates: columns what, kind (where known), system, value, low, high; the order is kept.
    """
    columns = [name for name in ("what", "kind") if name in rates]
    said = [f"{r.value:.0%} [{r.low:.0%}, {r.high:.0%}]" for r in rates.itertuples()]
    wide = rates.assign(share=said).pivot(index=columns, columns="system", values="share")
    order = rates[columns].drop_duplicates()
    order = order.sort_values(
        columns[0], key=lambda names: pd.Series(pd.factorize(names)[0], names.index), kind="stable"
    )
    return wide.fillna("–").reindex(pd.MultiIndex.from_frame(order)).rename_axis(columns=None)
