"""Agreement between raters: Fleiss' kappa (paper section 5.5 and Appendix A.4).

Kappa treats the steps of a scale as unordered names: a 4 against a 5 counts as much as a 1
against a 5. Ordinal coefficients and intervals are left out here on purpose: the paper reports
neither. The arithmetic is statsmodels'; what is added is what to do with degenerate tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from statsmodels.stats import inter_rater

from ..errors import InputError
from ..tables import check

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


def fleiss_kappa(counts: npt.ArrayLike | pd.DataFrame) -> float:
    """Fleiss' kappa of a table of counts: subjects x categories, how many raters chose which.

    1 is perfect agreement, 0 what chance alone would give. When all ratings fall into one
    category chance agreement is perfect too and kappa is 0/0: the answer is nan. Raises
    `InputError` for a table that is empty, negative, has one rater, or a varying number of them.

    >>> round(fleiss_kappa(WORKED_EXAMPLE), 3)
    0.21
    >>> fleiss_kappa([[3, 0], [3, 0]])
    nan
    """
    table = np.asarray(counts)
    if table.ndim != 2 or 0 in table.shape:
        raise InputError(f"counts: need a table of subjects x categories, got shape {table.shape}")
    if not np.issubdtype(table.dtype, np.number) or (table < 0).any() or (table % 1 != 0).any():
        raise InputError("counts: need whole numbers of raters, none negative")
    raters = table.sum(axis=1)
    if (raters != raters[0]).any():
        row = int((raters != raters[0]).argmax())
        raise InputError(
            f"counts: row {row + 1} has {int(raters[row])} raters, row 1 has {int(raters[0])}; "
            "Fleiss' kappa needs the same number for every subject"
        )
    if raters[0] < 2:
        raise InputError(f"counts: {int(raters[0])} rater(s); agreement needs at least two")
    if (table.sum(axis=0) > 0).sum() == 1:
        return float("nan")
    return float(inter_rater.fleiss_kappa(table, method="fleiss"))


def within_one(counts: npt.ArrayLike | pd.DataFrame) -> float:
    """Share of pairs of raters, over all subjects, whose ratings differ by one category at most.

    `counts` as for `fleiss_kappa`, its columns in the order of the scale.

    >>> within_one([[1, 1, 0], [1, 0, 1]])
    0.5
    """
    table = np.asarray(counts, dtype=float)
    pairs = (table * (table - 1) / 2).sum() + (table[:, :-1] * table[:, 1:]).sum()
    raters = table.sum(axis=1)
    return float(pairs / (raters * (raters - 1) / 2).sum())


def counts_table(ratings: pd.DataFrame, categories: Sequence[int] = LIKERT) -> pd.DataFrame:
    """Count the raters of each rated thing by category, for one study and dimension.

    Index (sample_id, system), one column per category. Raises `InputError` for a rating that is
    no category, and for more than one study or dimension: kappa must not mix them.
    """
    check(ratings, "ratings")
    for column in ("study", "dimension"):
        found = sorted(ratings[column].unique())
        if len(found) > 1:
            raise InputError(
                f"ratings: several values of '{column}' ({', '.join(found)}); keep one"
            )
    strange = ~ratings["rating"].isin(list(categories)).to_numpy(dtype=bool)
    if strange.any():
        row = int(strange.argmax())
        raise InputError(
            f"ratings: row {row + 1}: rating {ratings['rating'].iloc[row]} is none of "
            f"{', '.join(map(str, categories))}"
        )
    counts = pd.crosstab([ratings["sample_id"], ratings["system"]], ratings["rating"].astype(int))
    return counts.reindex(columns=pd.Index(categories, name="rating"), fill_value=0)


def landis_koch(kappa: float) -> str:
    """The customary word for a kappa (Landis and Koch 1977); "undefined" for nan.

    >>> landis_koch(0.21), landis_koch(0.61), landis_koch(-0.1)
    ('fair', 'substantial', 'poor')
    """
    if np.isnan(kappa):
        return "undefined"
    if kappa < 0:
        return "poor"
    # The published bands are given to two decimals: 0.00-0.20 slight, 0.21-0.40 fair, ...
    bands = ("slight", "fair", "moderate", "substantial", "almost perfect")
    return bands[int(np.searchsorted([0.20, 0.40, 0.60, 0.80], round(kappa, 2), side="left"))]


def agreement(ratings: pd.DataFrame, categories: Sequence[int] = LIKERT) -> pd.DataFrame:
    """Kappa of each study and dimension: study, dimension, subjects, raters, kappa, band."""
    check(ratings, "ratings")
    records = []
    for (study, dimension), group in ratings.groupby(["study", "dimension"]):
        counts = counts_table(group, categories)
        kappa = fleiss_kappa(counts)
        records.append((study, dimension, len(counts), int(counts.iloc[0].sum()), kappa))
    frame = pd.DataFrame(records, columns=["study", "dimension", "subjects", "raters", "kappa"])
    return frame.assign(band=[landis_koch(k) for k in frame["kappa"]])
