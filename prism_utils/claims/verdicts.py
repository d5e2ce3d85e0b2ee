"""Verdicts: what an interval is worth for a published claim, from a fixed list of words.

Pure functions of numbers; `claims` finds the numbers. Left out on purpose: any threshold of ours. A
direction holds where its 95% interval leaves out zero, a size where the interval touches the
printed number, and only the paper's own models and data can reproduce or contradict the paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd
from statsmodels.stats.multitest import multipletests

from ..errors import InputError, nearest

REPRODUCED = "reproduced"
DIRECTION = "direction reproduced, size differs"
CONTRADICTED = "contradicted"
INCONCLUSIVE = "inconclusive: the interval covers both"
SIMULATION = "supported in simulation only"
INCONSISTENT = "internally inconsistent"
UNTESTABLE = "cannot be tested here: "

#: Every verdict is one of these; the last is completed by a reason.
VERDICTS = (
    REPRODUCED, DIRECTION, CONTRADICTED, INCONCLUSIVE, SIMULATION, INCONSISTENT, UNTESTABLE,
)  # fmt: skip

#: What a run's texts are: of the paper's own models and data, of others, or simulated.
SETTINGS = ("paper", "other", "simulated")


def untestable(why: str) -> str:
    """The verdict of a claim that nothing here can decide, with its reason."""
    return UNTESTABLE + why


def is_verdict(text: str) -> bool:
    """Whether `text` is a verdict of the fixed list."""
    return text in VERDICTS[:-1] or (text.startswith(UNTESTABLE) and len(text) > len(UNTESTABLE))


def judged(
    low: float,
    high: float,
    *,
    published: float | None = None,
    resolution: float = 0.0,
    null: float | None = 0.0,
) -> str:
    """Verdict of a measured interval [low, high] where the measurement tests the claim.

    `null` is where the claim's direction turns (0 for a difference, 1 for a ratio, None for a plain
    quantity); without a `published` value the claim is "above null". A published value counts as
    met where the interval touches it, half a unit of its last digit (`resolution`) either way.

    >>> judged(0.1, 0.3), judged(-0.1, 0.3), judged(2, 3, published=24, resolution=1, null=1)
    ('reproduced', 'inconclusive: the interval covers both', 'direction reproduced, size differs')
    """
    if math.isnan(low) or math.isnan(high):
        return untestable("the measured value is undefined")
    if low > high:
        raise InputError(f"interval: low {low} is above high {high}")
    if null is not None and low <= null <= high:
        return INCONCLUSIVE
    if published is None:
        if null is None:
            raise InputError("published, null: a claim needs a value or a direction")
        return REPRODUCED if low > null else CONTRADICTED
    half = resolution / 2 + 1e-9 * abs(published)  # printed decimals are not binary ones
    if low <= published + half and high >= published - half:
        return REPRODUCED
    same_side = null is not None and (published > null) == (low > null)
    return DIRECTION if same_side else CONTRADICTED


def in_setting(verdict: str, setting: str) -> str:
    """What a verdict is worth where models and data are the paper's, others, or simulated.

    Only the paper's own setting can reproduce or contradict it. Others can at most repeat a
    direction; a simulation supports, and neither refutes.

    >>> in_setting(REPRODUCED, "simulated"), in_setting(REPRODUCED, "other")
    ('supported in simulation only', 'direction reproduced, size differs')
    """
    if setting not in SETTINGS:
        raise InputError(f"setting {setting!r} is unknown: {nearest(setting, SETTINGS)}")
    if setting == "paper" or verdict not in (REPRODUCED, DIRECTION, CONTRADICTED):
        return verdict
    if verdict == CONTRADICTED:
        where = "a simulation shows" if setting == "simulated" else "other models or data show"
        return untestable(f"{where} the opposite")
    return SIMULATION if setting == "simulated" else DIRECTION


class Part(NamedTuple):
    """One measured difference in the direction of a claim (positive: as claimed)."""

    label: str
    value: float
    low: float
    high: float
    p: float = 0.0  # after Holm's correction


def weakest(parts: Sequence[Part]) -> tuple[float, float]:
    """The interval of a claim that all parts hold: that of the least of them.

    A part that Holm's correction leaves undecided (p >= 0.05) reaches to zero on both sides.

    >>> weakest([Part("a", 0.3, 0.2, 0.4), Part("b", 0.1, 0.05, 0.6)])
    (0.05, 0.4)
    """
    if not parts:
        raise InputError("parts: a claim needs at least one comparison")
    decided = [
        p if p.p < 0.05 else p._replace(low=min(p.low, 0), high=max(p.high, 0)) for p in parts
    ]
    return min(p.low for p in decided), min(p.high for p in decided)


def ordering(parts: Sequence[Part], missing: Sequence[str], setting: str) -> str:
    """Verdict of "all these differences are positive", given what was not measured.

    One part that goes the other way decides against the claim; for it, everything must be there.
    """
    verdict = in_setting(judged(*weakest(parts)), setting)
    if verdict == REPRODUCED and missing:
        return untestable(f"{', '.join(missing)} not measured, the rest agrees")
    return verdict


def human(parts: Sequence[Part], setting: str) -> str:
    """Verdict of a claim about people's ratings: without people's ratings there is none.

    `parts` are differences between ratings that people gave; proxies and simulated ratings have no
    way in.
    """
    if not parts:
        return untestable("nobody has rated this run's texts")
    return in_setting(judged(*weakest(parts)), setting)


def human_differences(
    ratings: pd.DataFrame, a: str, others: Iterable[str], dimensions: Iterable[str]
) -> list[Part]:
    """a minus others, dimension by dimension, from people's ratings of the same samples.

    Studies whose name begins with "simulated" do not count; of several, that with most ratings
    does. Intervals are those of crossed raters and samples (`human_eval.likert.compare_systems`),
    p is Holm-corrected over the answer; pairs with fewer than two raters are left out.
    """
    from ..human_eval.likert import compare_systems  # seconds to load; few runs hold such ratings

    wanted = [d.lower() for d in dimensions]
    real = ratings.assign(dimension=ratings["dimension"].str.lower())
    real = real[~real["study"].str.startswith("simulated") & real["dimension"].isin(wanted)]
    if real.empty:
        return []
    real = real[real["study"] == real["study"].value_counts().idxmax()]
    both = real.pivot_table(
        index=["dimension", "rater_id", "sample_id"], columns="system", values="rating"
    ).reset_index()
    tables = []
    for other in others:
        if not {a, other} <= set(both.columns):
            continue
        for dimension, rows in both.dropna(subset=[a, other]).groupby("dimension"):
            if rows["rater_id"].nunique() > 1:
                of_pair = real["dimension"].eq(dimension) & real["system"].isin([a, other])
                tables.append(compare_systems(real[of_pair], [(a, other)]))
    if not tables:
        return []
    table = pd.concat(tables, ignore_index=True)
    corrected = multipletests(table["p"], method="holm")[1]
    return [
        Part(f"{row.dimension} to {row.system_b}", row.difference, row.low, row.high, float(p))
        for row, p in zip(table.itertuples(), corrected, strict=True)
    ]
