"""A ranker's test by leave-last-out: nDCG and recall of the last interaction of each user."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..statistics import bootstrap_means
from ..tables import in_order
from .base import Ranker, whole


def held_out_scores(ranker: Ranker, interactions: pd.DataFrame, k: int = 10) -> pd.DataFrame:
    """nDCG@k and recall@k of every user by leave-last-out: a scores table, sample_id the user's id.

    The last interaction by time of each user with two or more is held out (equal times: by order of
    the file, as in `sequences`), the ranker is fitted on the rest and asked for k items out of all.
    One item is right, so nDCG@k is 1 / log2(1 + its rank), recall@k is 1, where it is among them,
    and both are 0 elsewhere: an item that the rest lacks, or a repeated one, cannot be found.
    """
    whole("k", k)
    ordered = in_order(interactions)
    last = ordered.file_row[(ordered.starts[1:] - 1)[np.diff(ordered.starts) > 1]]
    held = interactions.iloc[np.sort(last)][["user_id", "item_id"]]
    rest = np.delete(np.arange(len(interactions)), last)
    told = ranker.fit(interactions.iloc[rest]).recommend(held["user_id"].tolist(), k)
    rank = held.merge(told, how="left", on=["user_id", "item_id"])["rank"]
    wide = pd.DataFrame(
        {
            "sample_id": held["user_id"].to_numpy(),
            "system": ranker.name,
            f"ndcg@{k}": (1 / np.log2(1 + rank.astype(float))).fillna(0.0),
            f"recall@{k}": rank.notna().astype(float),
        }
    )
    return wide.melt(["sample_id", "system"], var_name="metric", value_name="value")


def evaluate(
    ranker: Ranker, interactions: pd.DataFrame, k: int = 10, *, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Means of `held_out_scores` with 95% intervals: columns as `statistics.bootstrap_means`."""
    scores = held_out_scores(ranker, interactions, k)
    users = scores["sample_id"].unique()
    return bootstrap_means(scores, pd.Series(users, users), resamples=resamples, seed=seed)
