"""Simulated raters: a stated model that stands in for people until a study has been held.

    rating(i, j) = clip(round(q_i + b_j + t_js + e_ij), 1, 5)

q_i is the quality of explanation i on a dimension, b_j ~ N(0, bias) how lenient rater j is, t_js ~
N(0, taste) how much j likes system s, e_ij ~ N(0, noise). Left out on purpose: fatigue, order
effects, learning. Such ratings rehearse statistics; they carry study = "simulated".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from ..errors import InputError
from ..tables import check
from .checks import deviations, floats, generator, real, share, short, whole
from .coefficients import numbers
from .likert import crossed_from_squares

DIMENSIONS = ("faithfulness", "personalization", "persuasiveness")
_MOST_RATINGS = 50_000_000  # at once: what memory holds

Array = npt.NDArray[np.float64]


def simulate_ratings(
    subjects: pd.DataFrame,
    *,
    raters: int = 30,
    dimensions: Sequence[str] = DIMENSIONS,
    spread: float = 1.0,
    bias: float = 0.3,
    taste: float = 0.0,
    noise: float = 0.5,
    seed: int = 0,
) -> pd.DataFrame:
    """Ratings (study, rater_id, sample_id, system, dimension, rating) of all raters for all rows.

    `subjects` has the columns sample_id and system, and may give a mean quality (points of the
    scale; 3 without it) in a column named after a dimension, else in `quality`; q ~ N(quality,
    spread) is drawn for each row and dimension. `spread`, `bias`, `taste` and `noise` are standard
    deviations in points. The draws do not depend on them: the same seed gives the same people,
    only noisier.
    """
    deviations(spread=spread, bias=bias, taste=taste, noise=noise)
    check(subjects.assign(text=""), "explanations", source="subjects")
    if isinstance(dimensions, str) or not len(dimensions) or len({*dimensions}) < len(dimensions):
        raise InputError(f"dimensions: give a list of names, each once, not {short(dimensions)}")
    shape = (len(subjects), whole("raters", raters), len(dimensions))
    whole("subjects x raters x dimensions", int(np.prod(shape, dtype=float)), most=_MOST_RATINGS)
    rng = generator(seed)
    usual = subjects["quality"] if "quality" in subjects.columns else pd.Series(3.0, subjects.index)
    mean = numbers(
        pd.concat([subjects.get(name, usual) for name in dimensions], axis=1),
        "subjects",
        "rows x qualities",
    )
    if np.isnan(mean).any():
        raise InputError(
            f"subjects: row {int(np.isnan(mean).any(axis=1).argmax()) + 1} has no quality"
        )
    quality = mean[:, None, :] + spread * rng.standard_normal((shape[0], 1, shape[2]))
    lenience = bias * rng.standard_normal((1, raters, 1))
    latent = quality + lenience + noise * rng.standard_normal(shape)
    system, names = pd.factorize(subjects["system"], sort=True)
    latent += taste * rng.standard_normal((len(names), raters, shape[2]))[system]
    ratings = _on_scale(latent).astype(int)
    row, rater, dimension = (index.ravel() for index in np.indices(shape))
    return pd.DataFrame(
        {
            "study": "simulated",
            "rater_id": np.array([f"r{j + 1:02d}" for j in range(raters)])[rater],
            "sample_id": subjects["sample_id"].to_numpy()[row],
            "system": subjects["system"].to_numpy()[row],
            "dimension": np.array(list(dimensions))[dimension],
            "rating": ratings.ravel(),
        }
    )


def _on_scale(latent: Array) -> Array:
    return np.clip(np.floor(latent + 0.5), 1, 5)


def quality_from_grounding(scores: pd.DataFrame) -> pd.DataFrame:
    """A mean quality for `simulate_ratings` from grounding scores: sample_id, system, DIMENSIONS.

    Faithfulness is 4.5, less one point for each kind of error that the metric sees (foreign title,
    wrong attribute, unsupported relation); personalization is 2, more by 1.5 where a title of the
    history is named and by 0.5 for each of up to two things that ground it; persuasiveness is the
    mean of the two. Invented numbers: they tie simulated ratings to the texts, no more.
    """
    check(scores, "scores")
    wide = scores.pivot(index=["sample_id", "system"], columns="metric", values="value")
    errors = ["foreign_title", "wrong_attribute", "unsupported_relation"]
    for metric in (*errors, "cites_history", "groundings"):
        if metric not in wide.columns:
            raise InputError(f"scores: metric '{metric}' is missing; give the grounding scores")
    faithful = 4.5 - wide[errors].sum(axis=1)
    personal = 2 + 1.5 * wide["cites_history"] + 0.5 * wide["groundings"].clip(upper=2)
    means = (faithful, personal, (faithful + personal) / 2)
    return pd.DataFrame(dict(zip(DIMENSIONS, means, strict=True))).reset_index()


# ---------------------------------------------------------------- agreement without drawing


def expected_agreement(
    quality: npt.ArrayLike, noise: float, weights: npt.ArrayLike | None = None
) -> dict[str, float]:
    """Agreement of endless raters: exact_share, kappa (Fleiss'), alpha (ordinal), mean, sd.

    Explanations have the latent `quality` values with `weights` (equal by default), raters the
    standard deviation `noise`; ratings are rounded and clipped to 1..5. Nothing is drawn: the
    probabilities of the steps are exact for the values given.

    >>> round(expected_agreement([1, 5], 0.1)["kappa"], 3)
    1.0
    """
    deviations(noise=noise)
    q = floats("quality", quality).ravel()
    equal = np.full(len(q), 1 / max(len(q), 1))
    weight = floats("weights", equal if weights is None else weights)
    fits = bool(len(q)) and weight.shape == q.shape
    if not fits or (weight < 0).any() or not 0 < weight.sum() < np.inf:
        raise InputError("quality: need one value or more, and one weight for each, none negative")
    chances = _step_chances(q, noise)
    share = weight / weight.sum() @ chances
    met = np.einsum("i,ic,ik->ck", weight / weight.sum(), chances, chances)
    rank = np.cumsum(share) - share / 2
    distance = (rank[:, None] - rank) ** 2
    chance = (share**2).sum()
    if 1 - chance < 1e-12:
        raise InputError("quality: all ratings are the same, so agreement beyond chance is 0/0")
    exact = np.trace(met)
    mean = share @ np.arange(1, 6)
    return {
        "exact_share": float(exact),
        "kappa": float((exact - chance) / (1 - chance)),
        "alpha": float(1 - (met * distance).sum() / (share @ distance @ share)),
        "mean": float(mean),
        "sd": float(np.sqrt(share @ (np.arange(1, 6) - mean) ** 2)),
    }


def _step_chances(quality: Array, noise: float) -> Array:
    """Chance of each step 1..5 given the quality: (qualities, 5)."""
    edges = np.array([-np.inf, 1.5, 2.5, 3.5, 4.5, np.inf])
    below = stats.norm.cdf((edges - quality[:, None]) / max(noise, 1e-9))
    return np.diff(below, axis=1)


def normal_quality(mean: float, sd: float, points: int = 201) -> Array:
    """`points` equally likely values of a normal distribution: a `quality` without drawing."""
    deviations(sd=sd)
    ranks = (np.arange(whole("points", points, most=_MOST_RATINGS)) + 0.5) / points
    return real("mean", mean) + sd * stats.norm.ppf(ranks)


def latent_normal(mean: float, sd: float) -> tuple[float, float]:
    """Mean and deviation of the normal that, rounded and clipped to 1..5, has `mean` and `sd`.

    >>> tuple(round(v, 2) for v in latent_normal(3, 1))
    (3.0, 0.99)
    """
    steps = np.arange(1, 6)

    def misses(latent: Array) -> Array:
        share = _step_chances(latent[:1], float(np.exp(latent[1])))[0]
        found = share @ steps
        return np.array([found - mean, np.sqrt(share @ (steps - found) ** 2) - sd])

    if not 1 < real("mean", mean) < 5 or not real("sd", sd) > 0:
        raise InputError(
            f"mean {mean}, sd {sd}: need a mean within 1 to 5 and a positive deviation"
        )
    answer = optimize.root(misses, [mean, np.log(sd)])
    if not answer.success or np.abs(misses(answer.x)).max() > 1e-6 or answer.x[1] > 10:
        raise InputError(f"mean {mean}, sd {sd}: no rounded normal on 1 to 5 has them")
    return float(answer.x[0]), float(np.exp(answer.x[1]))


# ---------------------------------------------------------------- error rates of tests


def null_rejections(
    *,
    raters: int = 30,
    samples: int = 20,
    trials: int = 2000,
    lenience: float = 0.3,
    difficulty: float = 0.5,
    rater_slope: float = 0.2,
    sample_slope: float = 0.3,
    noise: float = 0.6,
    alpha: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """How often a test finds a difference between two systems that are equally good.

    Everybody rates both systems on every sample: round(3 + sample + rater + slopes + noise) on
    1..5, all normal; a slope is what one system gains on one sample, or with one rater. Over
    endless samples and raters the systems are equal, so a test at level `alpha` should reject in
    `alpha` of the trials. Columns: analysis, raters, samples, rejected, low, high (Clopper and
    Pearson), trials. "crossed effects on differences" is what `likert.compare_systems` reports,
    fitted here by the analysis of variance, which is the same on complete data.
    """
    deviations(lenience=lenience, difficulty=difficulty, rater_slope=rater_slope,
                sample_slope=sample_slope, noise=noise)  # fmt: skip
    share("alpha", alpha)
    for name, value, least in (
        ("raters", raters, 3),
        ("samples", samples, 3),
        ("trials", trials, 1),
    ):
        whole(name, value, least)
    whole("raters x samples", raters * samples, most=_MOST_RATINGS // 10)
    rng = generator(seed)
    found: dict[str, list[Array]] = {}
    block = max(1, 2_000_000 // (raters * samples))
    for start in range(0, trials, block):
        size = (min(block, trials - start), samples, raters, 2)
        n, s, r, _ = size
        latent = 3 + noise * rng.standard_normal(size)
        latent += difficulty * rng.standard_normal((n, s, 1, 1))
        latent += lenience * rng.standard_normal((n, 1, r, 1))
        latent += sample_slope * rng.standard_normal((n, s, 1, 2))
        latent += rater_slope * rng.standard_normal((n, 1, r, 2))
        for analysis, p in _p_values(_on_scale(latent)).items():
            found.setdefault(analysis, []).append(p)
    rows = []
    for analysis, parts in found.items():
        rejected = int((np.concatenate(parts) < alpha).sum())
        low, high = proportion_confint(rejected, trials, method="beta")
        rows.append((analysis, raters, samples, rejected / trials, float(low), float(high), trials))
    columns = ["analysis", "raters", "samples", "rejected", "low", "high", "trials"]
    return pd.DataFrame(rows, columns=columns)


def _p_values(ratings: Array) -> dict[str, Array]:
    """p of every analysis, from (trials, samples, raters, 2) complete ratings."""
    trials, s, r, _ = ratings.shape
    d = ratings[..., 0] - ratings[..., 1]
    flat = d.reshape(trials, -1)
    mean = flat.mean(axis=1)
    per_rater, per_sample = d.mean(axis=1), d.mean(axis=2)

    def of_means(values: Array) -> Array:
        deviation = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
        return _two_sided(mean, deviation, values.shape[1] - 1)

    # Random intercepts alone: what is left after system, sample and rater is taken for chance.
    whole = ratings - ratings.mean(axis=(1, 2, 3), keepdims=True)
    squares = (whole**2).sum(axis=(1, 2, 3)) - d[0].size / 2 * mean**2
    squares -= 2 * r * (whole.mean(axis=(2, 3)) ** 2).sum(axis=1)
    squares -= 2 * s * (whole.mean(axis=(1, 3)) ** 2).sum(axis=1)
    df = 2 * s * r - s - r
    intercepts = _two_sided(mean, np.sqrt(2 * np.maximum(squares, 0) / df / (s * r)), df)
    by_sample, by_rater = r * per_sample.var(axis=1, ddof=1), s * per_rater.var(axis=1, ddof=1)
    rest = flat.var(axis=1, ddof=1) * (s * r - 1) - by_sample * (s - 1) - by_rater * (r - 1)
    rest /= (s - 1) * (r - 1)
    error, crossed_df = crossed_from_squares(by_sample, by_rater, rest, s, r)
    return {
        "paired t-test, pooled": of_means(flat),
        "crossed random intercepts": intercepts,
        "t-test over raters": of_means(per_rater),
        "t-test over samples": of_means(per_sample),
        "crossed effects on differences": _two_sided(mean, error, crossed_df),
    }


def _two_sided(mean: Array, error: Array, df: npt.ArrayLike) -> Array:
    """p of Student's t; no difference without any error is no evidence (p = 1)."""
    t = np.abs(mean) / np.where(error > 0, error, 1)
    p = 2 * stats.t.sf(t, df)
    return np.where(error > 0, p, np.where(mean == 0, 1.0, 0.0))
