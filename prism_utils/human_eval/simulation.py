"""Simulated raters: a stated model that stands in for people until a study has been held.

    rating(i, j) = clip(round(q_i + b_j + e_ij), 1, 5)

q_i is the quality of explanation i on a dimension, b_j ~ N(0, bias) how lenient rater j is,
e_ij ~ N(0, noise). Left out on purpose: fatigue, order effects, learning. Such ratings rehearse
statistics; they say nothing about any explanation, and carry study = "simulated".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import InputError

DIMENSIONS = ("faithfulness", "personalization", "persuasiveness")


def simulate_ratings(
    subjects: pd.DataFrame,
    *,
    raters: int = 30,
    dimensions: Sequence[str] = DIMENSIONS,
    spread: float = 1.0,
    bias: float = 0.3,
    noise: float = 0.5,
    seed: int = 0,
) -> pd.DataFrame:
    """Ratings (study, rater_id, sample_id, system, dimension, rating) of all raters for all rows.

    `subjects` has the columns sample_id and system, and may give a mean `quality` (points of
    the scale; 3 without it); q ~ N(quality, spread) is drawn for each row and dimension. `spread`,
    `bias` and `noise` are standard deviations in points. The draws do not depend on the three
    deviations: the same seed gives the same people, only noisier.
    """
    for name, value in {"spread": spread, "bias": bias, "noise": noise}.items():
        if not value >= 0:
            raise InputError(f"{name}: a standard deviation cannot be {value}")
    if raters < 1:
        raise InputError(f"raters: need at least 1, got {raters}")
    for column in ("sample_id", "system"):
        if column not in subjects.columns:
            raise InputError(f"subjects: column '{column}' is missing")
    shape = (len(subjects), raters, len(dimensions))
    rng = np.random.default_rng(seed)
    mean = subjects["quality"].to_numpy(float) if "quality" in subjects.columns else 3.0
    quality = np.reshape(mean, (-1, 1, 1)) + spread * rng.standard_normal((shape[0], 1, shape[2]))
    lenience = bias * rng.standard_normal((1, raters, 1))
    latent = quality + lenience + noise * rng.standard_normal(shape)
    ratings = np.clip(np.floor(latent + 0.5), 1, 5).astype(int)
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
