"""Rows of trainings made into tables: rates along a factor, over seeds, against the teacher.

Left out on purpose: training anything, and drawing (`plots`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .mechanism import RATE
from .trial import BASE, DECODINGS, FACTORS, complete


def filtering(table: pd.DataFrame) -> pd.DataFrame:
    """The teacher's errors beside the student's: one row for each point, seed and decoding.

    table: rows of `measure`. Columns: all `FACTORS` (as `BASE` has them where a row says nothing),
    seed, decoding, teacher and student (rates of the kind of error that the point is about, on the
    same samples), predicted (nan where there is none). Points with several kinds are left out. A
    teacher without errors is the same whatever the kind of errors that it does not make: such
    points stand once for every kind and for both values of systematic. Sorted by these, by rate
    and by decoding.
    """
    table = filled(table)
    at = [*FACTORS, "seed"]
    found = []
    for kind, metric in RATE.items():
        here = table["error_kinds"] == kind
        if not here.any():
            continue
        clean = table["error_rate"] == 0
        rates = table[(here | clean) & table["metric"].isin([metric, f"predicted_{metric}"])]
        rates = rates.assign(error_kinds=kind)
        ways = table.loc[here & ~clean, "systematic"].unique()
        copies = [rates[rates["error_rate"] == 0].assign(systematic=way) for way in ways]
        rates = pd.concat([rates[rates["error_rate"] > 0], *copies])
        wide = rates.pivot_table(index=[*at, "decoding"], columns="metric", values="value")
        wide = wide.reindex(columns=[metric, f"predicted_{metric}"])
        wide = wide.set_axis(["student", "predicted"], axis=1).reset_index()
        teacher = wide[wide["decoding"] == "teacher"].set_index(at)["student"].rename("teacher")
        # No student's error is predicted of a teacher that makes none.
        wide.loc[
            (wide["error_rate"] == 0) & ~wide["decoding"].str.contains("beam"), "predicted"
        ] = 0.0
        wide["place"] = wide["decoding"].map({name: n for n, name in enumerate(DECODINGS)})
        wide = wide[wide["decoding"] != "teacher"].join(teacher, on=at)
        found.append(wide.sort_values(["systematic", "error_rate", *FACTORS, "seed", "place"]))
    columns = [*at, "decoding", "teacher", "student", "predicted"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def filled(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `measure` with a column for every factor; what a row does not say is `BASE`'s."""
    base = {k: "+".join(v) if isinstance(v, list) else v for k, v in BASE.items() if k in FACTORS}
    table = table.reindex(columns=[*FACTORS, *table.columns.difference(FACTORS, sort=False)])
    columns = {
        name: pd.Series([v if pd.isna(has) else has for has in table[name]], table.index, type(v))
        for name, v in base.items()
    }
    return table.assign(**columns)


def along(table: pd.DataFrame, *factors: str, centre: dict[str, Any] | None = None) -> pd.DataFrame:
    """Rows where all factors but these are as at `centre`, a point: `BASE` where it is silent.

    A grid's centre is its first point; a record keeps it as `parameters["base"]`.
    """
    at = {name: value for name, value in complete(centre or {}).items() if name in FACTORS}
    at = {k: "+".join(v) if isinstance(v, list) else v for k, v in at.items() if k not in factors}
    return table[(table[list(at)] == pd.Series(at)).all(axis=1)]


def over_seeds(table: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Mean and 95% interval (Student's t over seeds) of columns: by, what, value, low, high, seeds.

    One seed gives no interval (nan).
    """
    long = table.melt([*by], list(values), var_name="what").dropna(subset=["value"])
    groups = long.groupby([*by, "what"], sort=False)["value"]
    found = groups.agg(value="mean", sd="std", seeds="count").reset_index()
    half = stats.t.ppf(0.975, (found["seeds"] - 1).clip(lower=1)) * found["sd"]
    half /= np.sqrt(found["seeds"])
    return found.assign(low=found["value"] - half, high=found["value"] + half).drop(columns="sd")


def slopes(table: pd.DataFrame, factor: str, value: str = "student") -> pd.DataFrame:
    """How a rate changes with a factor: a line through each seed's points, then over seeds.

    table: rows of `filtering` along one factor. Columns: factor, decoding, value, low, high (per
    doubling of size, n_train and steps, per 0.1 of the shares), seeds.
    """
    place = table[factor].map(amount)
    place = np.log2(place) if factor in ("size", "n_train", "steps") else place * 10
    lines = [
        {"decoding": decoding, "slope": np.polyfit(place[rows.index], rows[value], 1)[0]}
        for (decoding, _), rows in table.groupby(["decoding", "seed"], sort=False)
        if place[rows.index].nunique() > 1
    ]
    if not lines:
        return pd.DataFrame(columns=["factor", "decoding", "value", "low", "high", "seeds"])
    found = over_seeds(pd.DataFrame(lines), ["decoding"], ["slope"]).drop(columns="what")
    found.insert(0, "factor", factor)
    return found[["factor", "decoding", "value", "low", "high", "seeds"]]


def amount(value: Any) -> float:
    """A factor's value as a number; a size counts its parameters.

    >>> amount("0.5M"), amount(0.1)
    (500000.0, 0.1)
    """
    return float(value[:-1]) * 1e6 if isinstance(value, str) else float(value)


def against_teacher(found: pd.DataFrame) -> pd.DataFrame:
    """Where the student errs less, where more than its teacher: `filtering` over seeds.

    One row for each kind, systematic, error_rate and decoding: teacher, student, predicted, and
    difference (student less teacher, seed by seed) with low and high; reading is "filters" or
    "amplifies" where the interval excludes 0, else "neither". A clean teacher has no reading.
    """
    by = ["error_kinds", "systematic", "error_rate", "decoding"]
    means = found.groupby(by, sort=False)[["teacher", "student", "predicted"]].mean()
    gaps = over_seeds(
        found.assign(difference=found["student"] - found["teacher"]), by, ["difference"]
    )
    gaps = gaps.rename(columns={"value": "difference"}).drop(columns="what")
    gaps["reading"] = np.select(
        [gaps["error_rate"] == 0, gaps["high"] < 0, gaps["low"] > 0],
        ["", "filters", "amplifies"],
        "neither",
    )
    return gaps.join(means, on=by)[[*by, *means.columns, *gaps.columns[len(by) :]]]


def crossings(gaps: pd.DataFrame) -> pd.DataFrame:
    """Where the student's curve crosses the diagonal, on straight lines between the points.

    gaps: `against_teacher`. Columns: error_kinds, systematic, decoding, crosses (the teacher's
    rates there as text, "nowhere" if none), lowest and highest (of the differences).
    """
    rows = []
    by = ["error_kinds", "systematic", "decoding"]
    for at, curve in gaps[gaps["error_rate"] > 0].groupby(by, sort=False):
        curve = curve.sort_values("teacher")
        x, y = curve["teacher"].to_numpy(), curve["difference"].to_numpy()
        turn = np.flatnonzero(np.sign(y[:-1]) * np.sign(y[1:]) < 0)
        places = x[turn] - y[turn] * (x[turn + 1] - x[turn]) / (y[turn + 1] - y[turn])
        said = ", ".join(f"{place:.0%}" for place in places) or "nowhere"
        rows.append((*at, said, y.min(), y.max()))
    return pd.DataFrame(rows, columns=[*by, "crosses", "lowest", "highest"])


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """What chapter 8 shows of the rows of `measure`, in brief: one dictionary for each training.

    It has the factors that differ from `BASE`, the seed, and each value under "DECODING METRIC".
    `from_records` gives the rows back, without n.
    """
    shown = table["metric"].str.contains("_train|_test|predicted_|mass_|_foreign|foreign_title$")
    shown |= table["metric"] == "wrong_attribute"
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in table[shown].to_dict("records"):
        at = {k: row[k] for k in (*FACTORS, "seed") if k in row and not pd.isna(row[k])}
        training = found.setdefault(tuple(at.items()), at)
        training[f"{row['decoding']} {row['metric']}"] = round(row["value"], 5)
    return list(found.values())


def from_records(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows that `records` was made of: factors, seed, decoding, metric, value."""
    long = []
    for row in rows:
        at = {name: value for name, value in row.items() if name in (*FACTORS, "seed")}
        for name in row.keys() - at.keys():
            decoding, _, metric = name.partition(" ")
            long.append(at | {"decoding": decoding, "metric": metric, "value": row[name]})
    return pd.DataFrame(long)
