"""Means, tests and effect sizes of ratings on a scale of five (paper, A.5), and what they miss.

Raters and samples are both drawn from many, so a difference between two systems is uncertain by
both; the pooled paired t-test of the paper knows neither. Left out on purpose: an ordinal mixed
model, since statsmodels' ordinal models have no random effects and no other kept library fits one
without a sampler.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.stats.multitest import multipletests
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from ..errors import InputError, nearest
from ..statistics import bootstrap_totals, interval
from ..tables import check
from .agreement import LIKERT, Agreement, checked
from .checks import floats, resampling, share, short

Array = npt.NDArray[np.float64]


def describe(ratings: pd.DataFrame, categories: Sequence[int] = LIKERT) -> pd.DataFrame:
    """Each dimension and system of a study: mean, median, sd and the share of every step.

    Columns: dimension, system, n, raters, samples, mean, median, sd (n - 1; 0 for one rating) as in
    the paper's A.5, then one column a step, named "1" to "5" (0..1).

    >>> ratings = pd.DataFrame({"study": "s", "rater_id": ["a", "b"], "sample_id": "1",
    ...                         "system": "x", "dimension": "d", "rating": [4, 5]})
    >>> describe(ratings)[["mean", "median", "sd", "4", "5"]].round(3)
       mean  median     sd    4    5
    0   4.5     4.5  0.707  0.5  0.5
    """
    ratings = checked(ratings, categories)
    grouped = ratings.groupby(["dimension", "system"])
    table = grouped.agg(
        n=("rating", "size"), raters=("rater_id", "nunique"), samples=("sample_id", "nunique"),
        mean=("rating", "mean"), median=("rating", "median"), sd=("rating", "std"),
    ).fillna({"sd": 0.0})  # fmt: skip
    for step in categories:
        table[f"{step:g}"] = grouped["rating"].agg(
            lambda given, step=step: float((given == step).mean())
        )
    return table.reset_index()


# ---------------------------------------------------------------- tests


def compare_systems(
    ratings: pd.DataFrame,
    pairs: Iterable[tuple[str, str]] | None = None,
    categories: Sequence[int] = LIKERT,
    *,
    level: float = 0.95,
) -> pd.DataFrame:
    """Differences a - b in each dimension of a study, tested as the paper does and as one should.

    What is compared is one rater's two ratings of the same sample. Columns: dimension, system_a,
    system_b, difference, n, raters, samples, then

    - t_low, t_high, p_t: the paired t-test over all differences (A.5), which takes 30 raters of
      one sample for 30 independent findings; p_wilcoxon: the signed rank test over the same;
    - low, high, df, p: difference = mean + rater + sample + rest, the last three random
      (statsmodels MixedLM, REML): random slopes of system, crossed (Barr et al. 2013); Student's t
      with Satterthwaite's degrees of freedom; p_holm over all rows of the answer (Holm 1979);
    - d_z: mean by standard deviation of the differences; rank_biserial: share of the signed ranks
      in favour of a, less the share in favour of b; both 0 where nothing differs;
    - var_rater, var_sample, var_rest: the mixed model's variances.

    By default every pair of systems that some rater saw on the same sample. Raises `InputError` for
    an unknown system and for an asked pair with fewer than two such differences.
    """
    ratings, level = checked(ratings, categories), share("level", level)
    systems = sorted(ratings["system"].unique())
    asked = None if pairs is None else list(dict.fromkeys(map(tuple, pairs)))
    for pair in asked or []:
        for name in pair:
            if name not in systems:
                hint = nearest(str(name), systems)
                raise InputError(f"pairs: system {short(name)} has no ratings; {hint}")
        if len(pair) != 2 or pair[0] == pair[1]:
            raise InputError(f"pairs: {short(pair)}: give two systems")
    every = [(a, b) for i, a in enumerate(systems) for b in systems[i + 1 :]]
    rows = []
    for dimension, group in ratings.groupby("dimension"):
        wide = group.pivot(index=["rater_id", "sample_id"], columns="system", values="rating")
        for a, b in every if asked is None else asked:
            present = {a, b} <= set(wide.columns)
            difference = (wide[a] - wide[b]).dropna() if present else pd.Series(dtype=float)
            if len(difference) >= 2:
                row = {"dimension": dimension, "system_a": a, "system_b": b}
                rows.append(row | _tests(difference.astype(float), level))
            elif asked is not None:
                raise InputError(
                    f"pairs: {dimension}: fewer than two raters' ratings of {a!r} and {b!r} on the "
                    "same sample; give every rater both systems of a sample"
                )
    if not rows:
        raise InputError("ratings: no rater rated two systems on the same sample twice or more")
    return _with_holm(pd.DataFrame(rows))


def _with_holm(table: pd.DataFrame) -> pd.DataFrame:
    """`table` with p_holm after p, corrected over all rows (Holm 1979)."""
    holm = multipletests(table["p"], method="holm")[1] if len(table) else []
    table.insert(table.columns.get_loc("p") + 1, "p_holm", holm)
    return table


def _tests(difference: pd.Series, level: float) -> dict[str, Any]:
    values = difference.to_numpy()
    n, mean, sd = len(values), values.mean(), values.std(ddof=1)
    varies = sd > 1e-12
    reach = sd / np.sqrt(n) * stats.t.ppf((1 + level) / 2, n - 1)
    certain = 0.0 if mean else 1.0  # p where every difference is the same
    ranks = stats.rankdata(np.abs(values[values != 0]))
    signed = (ranks * np.sign(values[values != 0])).sum() / max(ranks.sum(), 1)
    mixed = crossed_effects(difference)
    half = mixed["error"] * stats.t.ppf((1 + level) / 2, mixed["df"])
    t = abs(mixed["mean"]) / mixed["error"] if mixed["error"] > 0 else np.nan
    return {
        "difference": float(mean),
        "n": n,
        "raters": difference.index.get_level_values("rater_id").nunique(),
        "samples": difference.index.get_level_values("sample_id").nunique(),
        "t_low": float(mean - reach),
        "t_high": float(mean + reach),
        "p_t": float(2 * stats.t.sf(abs(mean) / sd * np.sqrt(n), n - 1)) if varies else certain,
        "p_wilcoxon": float(stats.wilcoxon(values, method="approx").pvalue) if len(ranks) else 1.0,
        "low": mixed["mean"] - half,
        "high": mixed["mean"] + half,
        "df": mixed["df"],
        "p": float(2 * stats.t.sf(t, mixed["df"])) if np.isfinite(t) else certain,
        "d_z": float(mean / sd) if varies else 0.0,
        "rank_biserial": float(signed),
        **{name: mixed[name] for name in ("var_rater", "var_sample", "var_rest")},
    }


def crossed_effects(difference: pd.Series) -> dict[str, float]:
    """difference = mean + rater + sample + rest, by REML: mean, error, df and three variances.

    `difference` has the index levels rater_id and sample_id, a row for each rater and sample. With
    one rater, one sample, or one row for each of either, its effect is not told from the rest.
    """
    values = floats("difference", difference)
    if len(values) < 2 or not {"rater_id", "sample_id"} <= {*difference.index.names}:
        raise InputError("difference: need two rows with the index levels rater_id and sample_id")
    sides = {side: pd.factorize(difference.index.get_level_values(f"{side}_id"))[0]
             for side in ("rater", "sample")}  # fmt: skip
    n = len(values)
    levels = {side: int(codes.max()) + 1 for side, codes in sides.items()}
    random = [side for side in sides if 1 < levels[side] < n]
    variance = dict.fromkeys(("rater", "sample"), 0.0)
    mean, error, rest = values.mean(), values.std(ddof=1) / np.sqrt(n), values.var(ddof=1)
    if random and rest > 1e-12:
        frame = pd.DataFrame({"difference": values, **sides})
        model = MixedLM.from_formula(
            "difference ~ 1", frame, groups=np.ones(n),
            vc_formula={side: f"0 + C({side})" for side in random},
        )  # fmt: skip
        with warnings.catch_warnings():  # a variance of zero is an answer here, not a failure
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            fit = model.fit(reml=True, method=["powell"])  # the gradient methods stop short at zero
        mean, error, rest = fit.params["Intercept"], fit.bse["Intercept"], fit.scale
        variance |= dict(zip(model.exog_vc.names, fit.vcomp, strict=True))
    of_mean = {  # variance of the mean due to each side, and its degrees of freedom
        side: (variance[side] * ((np.bincount(sides[side]) / n) ** 2).sum(), levels[side] - 1)
        for side in random
        if variance[side] > 1e-4 * rest
    }
    noise = rest / n
    spent = [((own + noise) ** 2) / df for own, df in of_mean.values()]
    if len(of_mean) == 2:
        spent.append(noise**2 / max(n - sum(levels.values()) + 1, 1))
    whole = noise + sum(own for own, _ in of_mean.values())
    df = whole**2 / sum(spent) if whole > 0 and spent else n - 1
    answer = {"mean": mean, "error": error, "df": df, "var_rest": rest}
    answer |= {f"var_{side}": value for side, value in variance.items()}
    return {name: float(value) for name, value in answer.items()}


def crossed_from_squares(
    by_sample: Array, by_rater: Array, rest: Array, samples: int, raters: int
) -> tuple[Array, Array]:
    """`crossed_effects` on complete differences: (error of the mean, df) from mean squares.

    A mean square below the rest's leaves no variance of its own and is pooled with the rest, as
    REML does. Vectorised over arrays of mean squares, for simulations.
    """
    sides = [(np.asarray(by_sample), samples - 1.0), (np.asarray(by_rater), raters - 1.0)]
    pool, pool_df = np.array(rest, dtype=float), np.full(np.shape(rest), sides[0][1] * sides[1][1])
    joined = [np.zeros(np.shape(rest), dtype=bool)] * 2
    for _ in range(2):  # one side in the pool may bring the other below it
        for i, (square, df) in enumerate(sides):
            now = ~joined[i] & (square <= pool)
            pool = np.where(now, (pool * pool_df + square * df) / (pool_df + df), pool)
            pool_df = np.where(now, pool_df + df, pool_df)
            joined[i] = joined[i] | now
    whole, spent = pool.copy(), np.zeros_like(pool)
    for taken, (square, df) in zip(joined, sides, strict=True):
        whole += np.where(taken, 0, square - pool)
        spent += np.where(taken, 0, square**2 / df)
    alone = joined[0] ^ joined[1]  # one side left: the mean square of that side is the whole
    spent = np.where(alone, spent, spent + pool**2 / pool_df)
    degrees = np.where(spent > 0, whole**2 / np.where(spent > 0, spent, 1), samples * raters - 1.0)
    return np.sqrt(whole / (samples * raters)), degrees


# ---------------------------------------------------------------- people and the metric


def agreement_with_scores(
    ratings: pd.DataFrame,
    scores: pd.DataFrame,
    metrics: Sequence[str],
    categories: Sequence[int] = LIKERT,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Agreement:
    """Do raters' means go with an automatic metric? Spearman's rho, explanation by explanation.

    Table: dimension, metric, rho, low, high over all explanations, within, within_low, within_high
    (system means taken from the ranks: better systems could score higher on both without any
    explanation being told from another of its system), p (two-sided, of `within`: samples' scores
    dealt out anew to other samples, all systems of a sample together), p_holm, n, samples. The
    intervals resample samples and keep the ranks. Remarks name what does not vary.
    """
    ratings = checked(ratings, categories)
    check(scores, "scores")
    resampling(resamples, seed, level)
    known = set(scores["metric"])
    if not known:
        raise InputError("scores: the table is empty")
    for metric in (metrics := list(dict.fromkeys(metrics))):
        if metric not in known:
            raise InputError(f"metrics: no scores of {metric!r}; {nearest(str(metric), known)}")
    rows: list[dict[str, Any]] = []
    remarks = []
    for dimension, group in ratings.groupby("dimension"):
        means = group.groupby(["sample_id", "system"])["rating"].mean()
        for metric in metrics:
            of_metric = scores[scores["metric"] == metric].set_index(["sample_id", "system"])
            both = pd.concat([means, of_metric["value"]], axis=1, join="inner").dropna()
            ranks = both.rank()
            inside = ranks - ranks.groupby(level="system").transform("mean")
            if not len(both) or (inside.abs().max() < 1e-9).any():
                remarks.append(
                    f"{dimension}, {metric}: one of the two does not vary within systems."
                )
                continue
            samples, names = pd.factorize(both.index.get_level_values("sample_id"))
            row: dict[str, Any] = {"dimension": dimension, "metric": metric}
            centred = ranks - ranks.mean()
            for prefix, frame in (("", centred), ("within_", inside)):
                x, y = frame.to_numpy(dtype=float).T
                sums = np.zeros((len(names), 3))
                np.add.at(sums, samples, np.column_stack([x * y, x * x, y * y]))
                drawn = _correlation(bootstrap_totals(sums, resamples=resamples, seed=seed))
                low, high = interval(drawn[:, None], level)
                row[prefix.rstrip("_") or "rho"] = float(_correlation(sums.sum(axis=0)[None])[0])
                row[f"{prefix}low"], row[f"{prefix}high"] = float(low[0]), float(high[0])
            grids = [inside[c].unstack("system").fillna(0).to_numpy() for c in inside.columns]
            row["p"] = _redealt(*grids, resamples=resamples, seed=seed)
            rows.append(row | {"n": len(both), "samples": len(names)})
    columns = ["dimension", "metric", "rho", "low", "high", "within", "within_low", "within_high",
               "p", "n", "samples"]  # fmt: skip
    return Agreement(_with_holm(pd.DataFrame(rows, columns=columns)), remarks)


def _correlation(sums: Array) -> Array:
    xy, xx, yy = sums.T
    scale = np.sqrt(xx * yy)
    return np.where(scale > 1e-12, xy / np.where(scale > 1e-12, scale, 1), np.nan)


def _redealt(ratings: Array, scores: Array, *, resamples: int, seed: int) -> float:
    """p of the sum of products of two grids samples x systems when scores' rows are permuted."""
    met = ratings @ scores.T  # how sample i's ratings go with sample k's scores
    rng, rows = np.random.default_rng(seed), np.arange(len(met))
    dealt = np.array([met[rows, rng.permutation(len(met))].sum() for _ in range(resamples)])
    total = abs(np.trace(met))
    return float((1 + (np.abs(dealt) >= total - 1e-9 * np.abs(met).sum()).sum()) / (resamples + 1))
