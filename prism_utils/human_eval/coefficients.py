"""Coefficients of agreement: the paper's Fleiss' kappa (A.4), and what ordered steps deserve.

Kappa takes the steps of a scale for unordered names; Krippendorff's ordinal alpha, weighted kappa
and the intraclass correlation know their order. Left out on purpose: tables of ratings and
intervals (`agreement`), for which `COEFFICIENTS` gives each coefficient as a function of totals.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from statsmodels.stats import inter_rater

from ..errors import InputError, nearest
from .checks import real

Array = npt.NDArray[np.float64]

_MOST = 1e9  # a rating beyond it is none, and its square would lose digits


class Coefficient(NamedTuple):
    """A coefficient as a function of totals over subjects, so that a bootstrap can draw subjects.

    `sums`: ratings (subjects, raters) -> what adds up over subjects (subjects, k); `value`: totals
    of these (draws, k) and the ratings -> (draws,), nan where it is not defined, which `why` says.
    """

    name: str
    sums: Callable[[Array], Array]
    value: Callable[[Array, Array], Array]
    why: str = ""


def numbers(values: npt.ArrayLike | pd.DataFrame, what: str, shape: str) -> Array:
    """A table as floats, nan where missing; `InputError` for another shape, text and infinity."""
    try:
        flat = np.ndim(values) != 2
        table = np.zeros((0, 0)) if flat else pd.DataFrame(values).to_numpy(float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: need a table of {shape}, all of it numbers") from error
    if not table.size or (np.abs(table) > _MOST).any():
        raise InputError(f"{what}: need a table of {shape}, of finite numbers and not empty")
    return table


def paired(values: npt.ArrayLike | pd.DataFrame, varied: str = "") -> Array:
    """Subjects with two ratings or more x raters who gave one, nan where missing.

    Raises `InputError` where there is none, and where all ratings are the same but must vary for
    `varied`, the name of a coefficient.
    """
    matrix = numbers(values, "ratings", "subjects x raters")
    matrix = matrix[(~np.isnan(matrix)).sum(axis=1) > 1]  # one rating agrees with nothing
    if not len(matrix):
        raise InputError("ratings: no subject has two ratings; agreement needs at least two raters")
    if varied and len(_values(matrix)) == 1:
        raise InputError(
            f"ratings: every rating is {np.nanmin(matrix):g}, so {varied} is 0/0 and not defined"
        )
    return matrix[:, ~np.isnan(matrix).all(axis=0)]


def usual_number(matrix: Array) -> tuple[int, npt.NDArray[np.bool_]]:
    """How many ratings most subjects have, and which subjects have so many."""
    counts = (~np.isnan(matrix)).sum(axis=1)
    return (usual := int(np.bincount(counts).argmax())), counts == usual


# ---------------------------------------------------------------- Fleiss' kappa


def fleiss_kappa(counts: npt.ArrayLike | pd.DataFrame) -> float:
    """Fleiss' kappa of a table of counts: subjects x categories, how many raters chose which.

    1 is perfect agreement, 0 what chance alone would give (Fleiss 1971; paper, Appendix A.4). When
    all ratings fall into one category chance agreement is perfect too and kappa is 0/0: the answer
    is nan. Raises `InputError` for a table that is empty, negative, has one rater, or a varying
    number of them.

    >>> round(fleiss_kappa([[3, 0], [2, 1], [0, 3]]), 2), fleiss_kappa([[3, 0], [3, 0]])
    (0.55, nan)
    """
    table = _whole_counts(counts)
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


def _whole_counts(counts: npt.ArrayLike | pd.DataFrame) -> Array:
    table = numbers(counts, "counts", "subjects x categories")
    if (table < 0).any() or (table % 1 != 0).any():
        raise InputError("counts: need whole numbers of raters, none negative")
    return table


def within_one(counts: npt.ArrayLike | pd.DataFrame) -> float:
    """Share of pairs of raters, over all subjects, whose ratings differ by one category at most.

    `counts` as for `fleiss_kappa`, its columns in the order of the scale.

    >>> within_one([[1, 1, 0], [1, 0, 1]])
    0.5
    """
    table = _whole_counts(counts)
    pairs = (table * (table - 1) / 2).sum() + (table[:, :-1] * table[:, 1:]).sum()
    raters = table.sum(axis=1)
    total = (raters * (raters - 1) / 2).sum()
    if not total:
        raise InputError("counts: no subject has two ratings; agreement needs at least two raters")
    return float(pairs / total)


def landis_koch(kappa: float) -> str:
    """The customary word for a kappa (Landis and Koch 1977); "undefined" for nan.

    >>> landis_koch(0.21), landis_koch(0.61), landis_koch(-0.1)
    ('fair', 'substantial', 'poor')
    """
    if pd.isna(kappa):
        return "undefined"
    real("kappa", kappa, most=1 + 1e-9)
    if kappa < 0:
        return "poor"
    # The published bands are given to two decimals: 0.00-0.20 slight, 0.21-0.40 fair, ...
    bands = ("slight", "fair", "moderate", "substantial", "almost perfect")
    return bands[int(np.searchsorted([0.20, 0.40, 0.60, 0.80], round(kappa, 2), side="left"))]


def _category_counts(matrix: Array) -> Array:
    return np.stack([(matrix == c).sum(axis=1) for c in _values(matrix)], axis=1).astype(float)


def _values(matrix: Array) -> Array:
    return np.unique(matrix[~np.isnan(matrix)])


def _fleiss_sums(matrix: Array) -> Array:
    """Per subject: 1, share of agreeing pairs, ratings of each category; kappa is of their sums.

    0 for subjects with more or fewer ratings than most: kappa needs equally many.
    """
    counts = _category_counts(matrix)
    n = counts.sum(axis=1)
    agreeing = (counts**2).sum(axis=1) - n
    sums = np.column_stack([np.ones(len(n)), agreeing / (n * (n - 1)), counts])
    return sums * usual_number(matrix)[1][:, None]


def _fleiss(sums: Array, matrix: Array) -> Array:
    with np.errstate(invalid="ignore"):  # a resample without any subject: 0/0, no value
        observed = sums[:, 1] / sums[:, 0]
        shares = sums[:, 2:] / sums[:, 2:].sum(axis=1, keepdims=True)
    chance = (shares**2).sum(axis=1)
    # A resample of one category only: 1 - chance is a rounding error, and kappa has no value.
    room = np.where(1 - chance > 1e-12, 1 - chance, np.nan)
    return (observed - chance) / room


# ---------------------------------------------------------------- Krippendorff's alpha


def krippendorff_alpha(ratings: npt.ArrayLike | pd.DataFrame, level: str = "ordinal") -> float:
    """Krippendorff's alpha of subjects x raters, nan for missing ratings (Krippendorff 2004).

    `level`: "nominal", "ordinal" or "interval": how far apart two different values count.
    Subjects with one rating are left out. Raises `InputError` where no subject has two ratings,
    where every rating is the same, and for an unknown level.

    >>> krippendorff_alpha([[1, 1], [2, 2], [3, 3]])
    1.0
    >>> round(krippendorff_alpha([[1, 2], [2, 3], [5, 5]], "interval"), 3)
    0.881
    """
    matrix = paired(ratings, "alpha")
    return float(_alpha(_coincidences(matrix).sum(axis=0)[None], matrix, level)[0])


def _coincidences(matrix: Array) -> Array:
    """Per subject, how often value c met value k in a pair of ratings: (subjects, C * C)."""
    counts = _category_counts(matrix)
    n = counts.sum(axis=1)[:, None, None]
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(counts.shape[1])
    return (pairs / (n - 1)).reshape(len(matrix), -1)


def _alpha(sums: Array, matrix: Array, level: str = "ordinal") -> Array:
    values = _values(matrix)
    met = sums.reshape(len(sums), len(values), len(values))
    totals = met.sum(axis=2)
    if level == "nominal":
        distance = np.broadcast_to(1.0 - np.eye(len(values)), met.shape)
    elif level == "interval":
        distance = np.broadcast_to((values[:, None] - values) ** 2, met.shape)
    elif level == "ordinal":  # ratings between the two values, ends counted half
        rank = np.cumsum(totals, axis=1) - totals / 2
        distance = (rank[:, :, None] - rank[:, None, :]) ** 2
    else:
        hint = nearest(str(level), ("nominal", "ordinal", "interval"))
        raise InputError(f"level: {level!r}; {hint}")
    n = totals.sum(axis=1)
    expected = np.einsum("rc,rk,rck->r", totals, totals, distance) / (n - 1)
    expected = np.where(expected > 1e-12, expected, np.nan)
    return 1 - (met * distance).sum(axis=(1, 2)) / expected


# ---------------------------------------------------------------- intraclass correlation


def shrout_fleiss(ratings: npt.ArrayLike | pd.DataFrame) -> dict[str, float]:
    """The six intraclass correlations of complete subjects x raters (Shrout and Fleiss 1979).

    Keys "ICC(1,1)", "ICC(2,1)", "ICC(3,1)", "ICC(1,k)", "ICC(2,k)", "ICC(3,k)".

    >>> {k: round(v, 3) for k, v in shrout_fleiss([[1, 2], [2, 4], [3, 3]]).items()}["ICC(3,1)"]
    0.5
    """
    y = numbers(ratings, "ratings", "subjects x raters")
    if min(y.shape) < 2 or np.isnan(y).any():
        raise InputError("ratings: need at least two subjects and two raters, none missing")
    n, k = y.shape
    rows, columns = y.mean(axis=1), y.mean(axis=0)
    between = k * rows.var(ddof=1)
    judges = n * columns.var(ddof=1)
    within = y.var(axis=1, ddof=1).mean()
    error = (within * n * (k - 1) - judges * (k - 1)) / ((n - 1) * (k - 1))
    share = {
        "ICC(1,1)": (between - within, between + (k - 1) * within),
        "ICC(2,1)": (between - error, between + (k - 1) * error + k * (judges - error) / n),
        "ICC(3,1)": (between - error, between + (k - 1) * error),
        "ICC(1,k)": (between - within, between),
        "ICC(2,k)": (between - error, between + (judges - error) / n),
        "ICC(3,k)": (between - error, between),
    }
    if any(bottom <= 1e-12 for _, bottom in share.values()):
        raise InputError("ratings: subjects differ too little; an ICC is undefined")
    return {name: float(top / bottom) for name, (top, bottom) in share.items()}


def variance_components(ratings: npt.ArrayLike | pd.DataFrame) -> dict[str, float]:
    """Variances of subject, rater and the rest in subjects x raters; nan for missing ratings.

    The crossed model rating = mean + subject + rater + rest, its variances by fitting constants
    (Henderson 1953, method 3), which on complete data are those of the analysis of variance; an
    estimate may fall below zero there as here. Raises `InputError` where ratings are too few.
    """
    matrix = paired(ratings)
    found = _components(_crossed_sums(matrix).sum(axis=0)[None], matrix.shape[1])[0]
    return dict(zip(("subject", "rater", "rest"), map(float, found), strict=True))


def icc2(ratings: npt.ArrayLike | pd.DataFrame, *, single: bool = False) -> float:
    """ICC(2,k): reliability of the mean of a subject's ratings, raters being a sample of raters.

    From `variance_components`, so that blocks may be incomplete; k is the mean number of ratings a
    subject (or 1 with `single`). On complete data equal to Shrout and Fleiss (1979).
    """
    matrix = paired(ratings)
    value = _icc(_crossed_sums(matrix).sum(axis=0)[None], matrix, single)[0]
    if np.isnan(value):
        raise InputError(
            "ratings: subjects and raters cannot be told apart (too few raters or ratings that all "
            "agree); an intraclass correlation is undefined"
        )
    return float(value)


def _crossed_sums(matrix: Array) -> Array:
    """Per subject what the crossed model's sums of squares need; all of it adds up over subjects.

    Columns: subjects, ratings, sum of squares, sum of squared totals by n, then for b raters
    ratings (b), totals (b), deviations from the subject's mean (b), and the b x b matrix of the
    normal equations with subjects swept out.
    """
    there = ~np.isnan(matrix)
    y = np.where(there, matrix, 0.0)
    y = y - y.sum() / there.sum() * there  # the components do not depend on the mean; digits do
    n = there.sum(axis=1, keepdims=True)
    total = y.sum(axis=1, keepdims=True)
    swept = there[:, :, None] * np.eye(matrix.shape[1]) - there[:, :, None] * (
        there[:, None, :] / n[:, :, None]
    )
    return np.hstack(
        [np.ones_like(total), n, (y**2).sum(axis=1, keepdims=True), total**2 / n, there, y,
         y - total / n * there, swept.reshape(len(y), -1)]
    )  # fmt: skip


def _components(sums: Array, b: int) -> Array:
    """Variances of subject, rater, rest (…, 3) from totals of `_crossed_sums`; nan if unknown."""
    subjects, ratings, squares, by_subject = sums[:, :4].T
    per_rater, totals, deviations = (sums[:, 4 + i * b : 4 + (i + 1) * b] for i in range(3))
    swept = sums[:, 4 + 3 * b :].reshape(-1, b, b)
    raters = (per_rater > 0).sum(axis=1)
    # Disconnected blocks, which no rater or subject joins, lower the rank.
    weight, vectors = np.linalg.eigh(swept)
    real = weight > 1e-8 * np.maximum(weight[:, -1:], 1e-300)
    rank = real.sum(axis=1)
    along = np.einsum("rbk,rb->rk", vectors, deviations) ** 2
    of_raters = np.where(real, along / np.where(real, weight, 1), 0).sum(axis=1)
    by_rater = (totals**2 / np.maximum(per_rater, 1)).sum(axis=1)
    model = by_subject + of_raters
    rest_df = ratings - subjects - rank
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = np.where(rest_df > 0, (squares - model) / rest_df, np.nan)
        rater = (of_raters - rank * rest) / (ratings - subjects)
        subject_df = subjects + rank - raters
        subject = (model - by_rater - subject_df * rest) / (ratings - raters)
    return np.column_stack([subject, rater, rest])


def _icc(sums: Array, matrix: Array, single: bool = False) -> Array:
    subject, rater, rest = _components(sums, matrix.shape[1]).T
    k = 1.0 if single else sums[:, 1] / sums[:, 0]
    whole = subject + (rater + rest) / k
    return np.where(whole > 1e-12, subject / np.where(whole > 1e-12, whole, 1), np.nan)


# ---------------------------------------------------------------- pairs of raters

#: Pairs of raters who share fewer rated things say more about luck than about the raters.
MIN_COMMON = 10


def pair_kappas(ratings: npt.ArrayLike | pd.DataFrame, weights: str = "quadratic") -> pd.DataFrame:
    """Weighted kappa (Cohen 1968) of each pair of raters: a, b, n, kappa.

    `ratings`: subjects x raters, nan for missing; a and b are the names of columns, or their
    numbers. `weights`: "linear" or "quadratic" in the distance of two ratings, whatever the steps
    of the scale. Pairs that share fewer than `MIN_COMMON` subjects, or who gave one and the same
    rating throughout, are left out.
    """
    if weights not in ("linear", "quadratic"):
        raise InputError(f"weights: {weights!r}; {nearest(str(weights), ('linear', 'quadratic'))}")
    matrix, names = numbers(ratings, "ratings", "subjects x raters"), pd.DataFrame(ratings).columns
    steps = _values(matrix)
    codes = np.searchsorted(steps, matrix)
    apart = np.abs(steps[:, None] - steps) ** (1 if weights == "linear" else 2)
    rows = []
    for a, b in combinations(range(matrix.shape[1]), 2):
        both = ~np.isnan(matrix[:, [a, b]]).any(axis=1)
        x, y = codes[both, a], codes[both, b]
        if both.sum() < MIN_COMMON or (x == y[0]).all() and (y == y[0]).all():
            continue
        chance = np.bincount(x, minlength=len(steps)) / len(x)
        chance = chance @ apart @ np.bincount(y, minlength=len(steps))
        rows.append((names[a], names[b], len(x), float(1 - apart[x, y].sum() / chance)))
    return pd.DataFrame(rows, columns=["a", "b", "n", "kappa"])


def _pair_sums(matrix: Array) -> Array:
    """Per subject, for each pair with enough in common: 1, x, y, x², y², xy; 0 where missing."""
    there = ~np.isnan(matrix)
    common = there.T.astype(int) @ there
    pairs = [
        (a, b) for a, b in combinations(range(matrix.shape[1]), 2) if common[a, b] >= MIN_COMMON
    ]
    a, b = np.array(pairs, dtype=int).reshape(-1, 2).T
    both = there[:, a] & there[:, b]
    x, y = np.where(both, matrix[:, a], 0.0), np.where(both, matrix[:, b], 0.0)
    return np.hstack([both, x, y, x**2, y**2, x * y])


def _mean_pair_kappa(sums: Array, matrix: Array) -> Array:
    """Mean quadratic kappa of pairs from totals of `_pair_sums`; nan where no pair has a value."""
    n, x, y, xx, yy, xy = np.split(sums, 6, axis=1)
    n = np.maximum(n, 1)
    expected = xx / n + yy / n - 2 * (x / n) * (y / n)
    known = expected > 1e-12
    kappa = 1 - ((xx + yy - 2 * xy) / n) / np.where(known, expected, 1)
    some = known.sum(axis=1)
    return np.where(some > 0, (kappa * known).sum(axis=1) / np.maximum(some, 1), np.nan)


_UNTOLD = "subjects and raters cannot be told apart"

COEFFICIENTS = (
    Coefficient("Fleiss' kappa", _fleiss_sums, _fleiss,
                "those with {usual} ratings are all rated alike"),
    Coefficient("weighted kappa", _pair_sums, _mean_pair_kappa,
                f"no two raters share {MIN_COMMON} rated things that differ"),
    Coefficient("alpha", _coincidences, _alpha),
    Coefficient("ICC(2,1)", _crossed_sums, partial(_icc, single=True), _UNTOLD),
    Coefficient("ICC(2,k)", _crossed_sums, _icc, _UNTOLD),
)  # fmt: skip
