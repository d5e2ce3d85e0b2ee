"""Tables of ratings, and how well raters agree in them, with intervals.

Intervals resample samples, whose explanations resemble each other. Left out on purpose: the
coefficients themselves (`coefficients`), models of raters and tests between systems (`likert`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..errors import InputError
from ..statistics import bootstrap_totals, interval
from ..tables import check
from .checks import floats, resampling, short
from .coefficients import (
    COEFFICIENTS,
    fleiss_kappa,
    krippendorff_alpha,
    landis_koch,
    paired,
    shrout_fleiss,
    usual_number,
)

LIKERT = (1, 2, 3, 4, 5)

#: The textbook example (Fleiss 1971): 10 subjects x 5 categories, 14 raters; kappa is 0.210.
WORKED_EXAMPLE = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)

#: Krippendorff's four coders of twelve units, nan where one did not code (Krippendorff 2011).
FOUR_CODERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, np.nan, np.nan, np.nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, np.nan, 3],
        [np.nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, np.nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, np.nan],
    ]
).T

#: Six subjects by four judges (Shrout and Fleiss 1979).
SIX_BY_FOUR = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)


class Agreement(NamedTuple):
    """What `agreement` found: a table of numbers, and a sentence for each that does not exist."""

    table: pd.DataFrame
    remarks: list[str]


def checked(
    ratings: pd.DataFrame, categories: Sequence[int] = LIKERT, one: Sequence[str] = ("study",)
) -> pd.DataFrame:
    """`ratings`, as floats, if on the scale and of one value of each of `one`; else `InputError`.

    A scale of half points is `categories` of half points: 1, 1.5, 2, ...
    """
    check(ratings, "ratings")
    steps = list(categories)
    if not len(floats("categories", steps)) or len({*steps}) < len(steps):
        raise InputError(f"categories: give the steps of the scale, each once, not {short(steps)}")
    if not len(ratings):
        raise InputError("ratings: the table is empty")
    for column in one:
        found = sorted(ratings[column].unique())
        if len(found) > 1:
            raise InputError(
                f"ratings: several values of '{column}' ({', '.join(found[:9])}); keep one"
            )
    strange = ~ratings["rating"].isin(steps).to_numpy(dtype=bool)
    if strange.any() or pd.api.types.is_bool_dtype(ratings["rating"]):
        row = int(strange.argmax())
        raise InputError(
            f"ratings: row {row + 1}: rating {ratings['rating'].iloc[row]} is none of "
            f"{', '.join(map(str, steps))}"
        )
    return ratings.assign(rating=ratings["rating"].astype(float))  # small integers would wrap


def counts_table(ratings: pd.DataFrame, categories: Sequence[int] = LIKERT) -> pd.DataFrame:
    """Count the raters of each rated thing by category, for one study and dimension.

    Index (sample_id, system), one column per category. Raises `InputError` for a rating that is
    no category, and for more than one study or dimension: kappa must not mix them.
    """
    ratings = checked(ratings, categories, ("study", "dimension"))
    counts = pd.crosstab([ratings["sample_id"], ratings["system"]], ratings["rating"])
    return counts.reindex(columns=pd.Index(categories, name="rating"), fill_value=0)


def rating_matrix(ratings: pd.DataFrame, categories: Sequence[int] = LIKERT) -> pd.DataFrame:
    """Rated things (sample_id, system) x raters, nan where nobody rated; one study and dimension.

    The shape that `krippendorff_alpha`, `icc2` and `pair_kappas` take.
    """
    return checked(ratings, categories, ("study", "dimension")).pivot(
        index=["sample_id", "system"], columns="rater_id", values="rating"
    )


def worked_examples() -> pd.DataFrame:
    """Published examples and what is found here: example, coefficient, published, here."""
    rows = [("Fleiss, 10 x 14", "Fleiss' kappa", 0.210, fleiss_kappa(WORKED_EXAMPLE))]
    for level, published in (("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)):
        alpha = krippendorff_alpha(FOUR_CODERS, level)
        rows.append(("Krippendorff, four coders", f"alpha, {level}", published, alpha))
    printed = (0.166, 0.290, 0.715, 0.443, 0.620, 0.909)
    for published, (name, icc) in zip(printed, shrout_fleiss(SIX_BY_FOUR).items(), strict=True):
        rows.append(("Shrout and Fleiss, 6 x 4", name, published, icc))
    return pd.DataFrame(rows, columns=["example", "coefficient", "published", "here"])


def agreement(
    ratings: pd.DataFrame,
    categories: Sequence[int] = LIKERT,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Agreement:
    """Agreement in each study and dimension: what the paper reports, and what knows the order.

    Table: study, dimension, coefficient, value, low, high, reads, subjects, raters. Coefficients:
    "Fleiss' kappa" (`reads`: the band of Landis and Koch), "weighted kappa" (quadratic, mean over
    pairs of raters), "alpha" (Krippendorff's, ordinal), "ICC(2,1)" and "ICC(2,k)". The interval is
    a percentile bootstrap over samples: all systems' explanations of a sample are drawn together.
    What is not defined is not in the table but is a sentence of `remarks`.
    """
    check(ratings, "ratings")
    resampling(resamples, seed, level)
    rows, remarks = [], []
    for (study, dimension), group in ratings.groupby(["study", "dimension"], sort=True):
        wide = rating_matrix(group, categories)
        try:
            matrix = paired(wide, "agreement beyond chance")
        except InputError as error:
            remarks.append(f"{dimension}: {str(error).removeprefix('ratings: ')}.")
            continue
        usual, even = usual_number(matrix)
        if not even.all():
            remarks.append(
                f"{dimension}: Fleiss' kappa is of the {even.sum()} of {len(even)} explanations "
                f"that have {usual} ratings; it needs equally many, the other coefficients do not."
            )
        kept = wide.index[wide.notna().sum(axis=1) > 1]
        samples, names = pd.factorize(kept.get_level_values("sample_id"))
        for name, sums_of, value_of, why in COEFFICIENTS:
            sums = sums_of(matrix)
            totals = np.zeros((len(names), sums.shape[1]))
            np.add.at(totals, samples, sums)
            drawn = bootstrap_totals(totals, resamples=resamples, seed=seed)
            low, high = interval(value_of(drawn, matrix)[:, None], level)
            found = np.concatenate([value_of(sums.sum(axis=0)[None], matrix), low, high])
            if np.isnan(found).any():
                remarks.append(f"{dimension}: {name} is not defined: {why.format(usual=usual)}.")
                continue
            reads = landis_koch(found[0]) if name == "Fleiss' kappa" else ""
            rows.append((study, dimension, name, *map(float, found), reads, *matrix.shape))
    columns = ["study", "dimension", "coefficient", "value", "low", "high", "reads", "subjects",
               "raters"]  # fmt: skip
    return Agreement(pd.DataFrame(rows, columns=columns), remarks)
