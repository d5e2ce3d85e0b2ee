"""Intervals and tests for scores: users are resampled, because one user's texts resemble another's.

A user's explanations share tastes, history and often a trained vector, so resampling sentences
would count the same evidence many times. Left out on purpose: models of raters and parametric
tests; a mean over explanations and its users is all that is known of a metric here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from .errors import InputError, nearest
from .tables import check

_CELLS_AT_A_TIME = 4_000_000  # of a matrix resamples x users: 32 MB


def user_ids(sample_ids: Iterable[str], users: pd.DataFrame | pd.Series) -> np.ndarray:
    """The user of each sample; `users` is a samples table or a series sample_id -> user_id.

    Raises `InputError` for a sample that `users` does not hold or holds twice, and for one
    without a user.
    """
    if isinstance(users, pd.DataFrame):
        for column in ("sample_id", "user_id"):
            if column not in users.columns:
                have = ", ".join(map(str, users.columns)) or "none"
                raise InputError(f"users: column '{column}' is missing (columns: {have})")
        users = users.set_index("sample_id")["user_id"]
    for wrong, said in (
        (users.index.duplicated(), "has this sample twice"),
        (users.index.isna(), "has a sample without an id"),
        (users.isna().to_numpy(), "has a sample without a user"),
    ):
        if wrong.any():
            row = int(wrong.argmax())
            raise InputError(
                f"users: row {row + 1} {said} ({users.index[row]!r}); give one row and one user "
                "for each sample"
            )
    codes, distinct = pd.factorize(pd.Series(sample_ids, dtype=object))
    rows = users.index.get_indexer(distinct)
    if (rows < 0).any():
        lost = distinct[int((rows < 0).argmax())]
        raise InputError(f"users: sample {lost!r} has none; give the samples that were scored")
    return users.to_numpy(dtype=object)[rows][codes]


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed must be a whole number of at least 0, found {seed!r}")
    return int(seed)


def bootstrap_totals(
    sums: npt.ArrayLike, *, resamples: int = 2000, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Column totals over users drawn with replacement: (users, k) -> (resamples, k).

    Whatever is a function of totals gets its bootstrap so: a mean is a sum over a count, corpus
    BLEU a function of n-gram counts. The same seed and number of users draw the same users.
    """
    rng = np.random.default_rng(_seed(seed))

    def weights(rows: int, users: int) -> np.ndarray:
        drawn = rng.integers(users, size=(rows, users)) + users * np.arange(rows)[:, None]
        return np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users)

    return _weighted(sums, weights, resamples)


def _weighted(
    sums: npt.ArrayLike, weights: Callable[[int, int], np.ndarray], resamples: int
) -> npt.NDArray[np.float64]:
    """weights(rows, users) @ sums for `resamples` rows of weights, a block of rows at a time."""
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, found {resamples}")
    matrix = np.asarray(sums, dtype=float)
    users, totals = len(matrix), np.empty((resamples, matrix.shape[1]))
    block = max(1, _CELLS_AT_A_TIME // max(users, 1))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        totals[start : start + rows] = weights(rows, users).astype(float) @ matrix
    return totals


def interval(replicates: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The middle `level` of each column of replicates (percentile bootstrap): (low, high).

    Replicates without a value (nan) are left out; a column of nothing else gets nan.
    """
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, found {level}")
    bounds = np.full((2, replicates.shape[1]), np.nan)
    some = ~np.isnan(replicates).all(axis=0)
    tail = (1 - level) / 2
    bounds[:, some] = np.nanquantile(replicates[:, some], [tail, 1 - tail], axis=0)
    return bounds[0], bounds[1]


def _user_sums(
    values: np.ndarray, columns: np.ndarray, users: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of values, each (users, columns); missing values count for nothing."""
    known = ~np.isnan(values)
    cell = (users * shape[1] + columns)[known]
    size = shape[0] * shape[1]
    return (
        np.bincount(cell, values[known], size).reshape(shape),
        np.bincount(cell, minlength=size).reshape(shape).astype(float),
    )


def bootstrap_means(
    scores: pd.DataFrame,
    users: pd.DataFrame | pd.Series,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Mean of every system and metric over explanations, with its interval; users are resampled.

    `users`: a samples table or a series sample_id -> user_id. Columns: system, metric, value,
    low, high (percentile bootstrap, Efron 1979), n (explanations with a value), users. Missing
    values are left out. Systems with the same users are resampled alike.

    >>> scores = pd.DataFrame({"sample_id": list("abc"), "system": "x", "metric": "m",
    ...                        "value": [0.0, 0.0, 3.0]})
    >>> bootstrap_means(scores, pd.Series(["u", "u", "v"], index=list("abc")))
      system metric  value  low  high  n  users
    0      x      m    1.0  0.0   3.0  3      2
    """
    check(scores, "scores")
    owner, values = user_ids(scores["sample_id"], users), scores["value"].to_numpy(dtype=float)
    parts = []
    for system, rows in scores.groupby("system", sort=False).indices.items():
        metric, metrics = pd.factorize(scores["metric"].iloc[rows])
        user, names = pd.factorize(owner[rows], sort=True)
        sums, counts = _user_sums(values[rows], metric, user, (len(names), len(metrics)))
        totals = bootstrap_totals(np.hstack([sums, counts]), resamples=resamples, seed=seed)
        with np.errstate(invalid="ignore"):  # no value at all: 0 / 0
            means = totals[:, : len(metrics)] / totals[:, len(metrics) :]
            value = sums.sum(axis=0) / counts.sum(axis=0)
        low, high = interval(means, level)
        part = {"value": value, "low": low, "high": high, "n": counts.sum(axis=0).astype(int)}
        part["users"] = (counts > 0).sum(axis=0)
        parts.append(pd.DataFrame({"system": system, "metric": metrics, **part}))
    columns = ["system", "metric", "value", "low", "high", "n", "users"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def user_groups(users: Sequence[str] | np.ndarray, groups: int = 20, seed: int = 0) -> np.ndarray:
    """A group 0, 1, ... for each row, all rows of a user in one, users dealt out at random.

    There are `groups` groups of nearly as many users, or as many as users where those are fewer.
    """
    if groups < 1:
        raise InputError(f"groups must be at least 1, found {groups!r}")
    codes, names = pd.factorize(np.asarray(users, dtype=object), sort=True)
    return np.random.default_rng(_seed(seed)).permutation(len(names))[codes] % groups


def jackknife(
    values: npt.ArrayLike, left_out: npt.ArrayLike, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of statistics of a whole set of texts, from leaving each group of users out.

    `values` (k,) are the statistics on all texts, `left_out` (k, groups) on all but one group.
    A bootstrap would not do: it draws texts twice, and a share of distinct texts, a coverage or a
    self-similarity changes with repeated texts whatever the system is. Leaving out repeats
    nothing. Student's t around `values` with the delete-a-group error (Shao and Tu 1995); with
    fewer than two groups there is no interval (nan). Returns (low, high).

    >>> low, high = jackknife([2.0], [[1.5, 2.0, 2.5]])
    >>> low.round(2), high.round(2)
    (array([-0.48]), array([4.48]))
    """
    value, without = np.asarray(values, dtype=float), np.asarray(left_out, dtype=float)
    without = without.reshape(len(value), -1)
    groups = without.shape[1]
    if groups < 2:
        return np.full(len(value), np.nan), np.full(len(value), np.nan)
    spread = ((without - without.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    half = stats.t.ppf((1 + level) / 2, groups - 1) * np.sqrt((groups - 1) / groups * spread)
    return value - half, value + half


def compare(
    scores: pd.DataFrame,
    users: pd.DataFrame | pd.Series,
    pairs: Iterable[tuple[str, str]] | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Paired differences of systems on the samples that both explain; every pair by default.

    Columns: metric, system_a, system_b, difference (mean of a - b), low, high (users resampled),
    p (two-sided sign flips of whole users: where the systems are alike, whose text is whose is a
    coin's toss a user; smallest p 1 / (resamples + 1), Phipson and Smyth 2010), p_holm (Holm 1979
    over all rows of the answer), n (samples). Only metrics that both systems have.
    Raises `InputError` for an unknown system and for a pair without a common sample.
    """
    check(scores, "scores")
    systems = list(pd.unique(scores["system"]))
    chosen = list(combinations(systems, 2) if pairs is None else pairs)
    for name in (name for pair in chosen for name in pair):
        if name not in systems:
            raise InputError(f"pairs: system {name!r} has no scores; {nearest(name, systems)}")
    owner = pd.Series(user_ids(scores["sample_id"], users), index=scores.index, name="user")
    keys = [owner, scores["sample_id"], scores["metric"]]
    by_system = {
        system: scores["value"]
        .iloc[rows]
        .set_axis(pd.MultiIndex.from_arrays([key.iloc[rows] for key in keys]))
        for system, rows in scores.groupby("system", sort=False).indices.items()
        if any(system in pair for pair in chosen)
    }
    parts = []
    for a, b in chosen:
        joined = pd.concat([by_system[a], by_system[b]], axis=1, join="inner", keys=["a", "b"])
        difference = (joined["a"] - joined["b"]).dropna()
        if not len(difference):
            raise InputError(f"pairs: {a!r} and {b!r} have no scored sample in common")
        user, names = pd.factorize(difference.index.get_level_values(0), sort=True)
        metric, metrics = pd.factorize(difference.index.get_level_values(2))
        sums, counts = _user_sums(
            difference.to_numpy(dtype=float), metric, user, (len(names), len(metrics))
        )
        n = counts.sum(axis=0)
        totals = bootstrap_totals(np.hstack([sums, counts]), resamples=resamples, seed=seed)
        with np.errstate(invalid="ignore"):  # a metric whose users a resample missed
            low, high = interval(totals[:, : len(n)] / totals[:, len(n) :], level)
        frame = {"metric": metrics, "system_a": a, "system_b": b, "difference": sums.sum(0) / n}
        frame |= {"low": low, "high": high, "p": _sign_flips(sums, resamples, seed)}
        parts.append(pd.DataFrame({**frame, "n": n.astype(int)}))
    columns = ["metric", "system_a", "system_b", "difference", "low", "high", "p", "p_holm", "n"]
    if not parts:
        return pd.DataFrame(columns=columns)
    answer = pd.concat(parts, ignore_index=True)
    answer["p_holm"] = multipletests(answer["p"], method="holm")[1]
    return answer[columns]


def _sign_flips(sums: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Two-sided p of each column's total of per-user sums (users, k) under random signs of users.

    As scipy.stats.permutation_test of type "samples", but all columns and resamples are one matrix
    product, so that tables of many systems and metrics can afford the resamples that Holm needs.
    """
    rng = np.random.default_rng(seed)
    flipped = _weighted(sums, lambda rows, users: rng.integers(2, size=(rows, users)) * 2 - 1,
                        resamples)  # fmt: skip
    total = np.abs(sums.sum(axis=0))
    rounding = 1e-9 * np.abs(sums).sum(axis=0)  # equal totals added in another order are equal
    return (1 + (np.abs(flipped) >= total - rounding).sum(axis=0)) / (resamples + 1)


def seed_spread(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds: system, metric, mean, sd, seeds.

    `table` has system, metric and value; further seeds of "prism" are systems "prism@1", ...
    Systems with one seed have no spread and are left out.

    >>> seed_spread(pd.DataFrame({"system": ["a", "a@1", "b"], "metric": "m", "value": [1, 3, 5]}))
      system metric  mean        sd  seeds
    0      a      m   2.0  1.414214      2
    """
    if len(table) and not pd.api.types.is_numeric_dtype(table["value"]):
        raise InputError(f"row 1: 'value' must be a number, found {table['value'].iloc[0]!r}")
    named = table.assign(system=table["system"].str.partition("@")[0])
    grouped = named.groupby(["system", "metric"], sort=False)["value"]
    spread = grouped.agg(mean="mean", sd="std", seeds="count").reset_index()
    return spread[spread["seeds"] > 1].reset_index(drop=True)
