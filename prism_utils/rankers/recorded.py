"""What another system recommended, from its file of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import InputError
from ..tables import check, read_placed
from ..tables.columns import shown
from .base import COLUMNS, ids, whole


class Recorded:
    """What another system recommended; `from_file` reads it. `fit` learns what to leave out."""

    name = "recorded"

    def __init__(self, ranks: pd.DataFrame) -> None:
        self.ranks = ranks
        self.seen = pd.MultiIndex.from_arrays([[], []])

    def fit(self, interactions: pd.DataFrame) -> Recorded:
        """Keep the interactions, so that no user is recommended an item of theirs."""
        check(interactions, "interactions")
        self.seen = pd.MultiIndex.from_frame(interactions[["user_id", "item_id"]])
        return self

    def recommend(self, user_ids: Sequence[str], k: int = 10) -> pd.DataFrame:
        """The k unseen items of best rank, as the file has them; a user not there gets none."""
        users, k = pd.Series(ids("user_ids", user_ids), dtype=object), whole("k", k)
        asked = pd.DataFrame({"user_id": users, "asked": range(len(users))})
        there = asked.merge(self.ranks, on="user_id")
        there = there[~pd.MultiIndex.from_frame(there[["user_id", "item_id"]]).isin(self.seen)]
        place = there.groupby("asked", sort=False).cumcount() + 1
        return there.assign(rank=place)[place <= k][COLUMNS].reset_index(drop=True)


def from_file(path: str | Path) -> Recorded:
    """A ranker from another system's table of ranks: Parquet, CSV or JSON lines, by its ending.

    Columns user_id, item_id, rank (a whole number, 1 is best, no two alike for a user) and, if it
    is there, score; without one the score is 1 / rank. Ids are text as it stands, or whole numbers.
    The file does not change with `fit`: to evaluate it, its system must not have seen what is held
    out. Raises `InputError` with file and row for anything else.
    """
    table, file = read_placed(path, "ranks")
    check(table, "ranks", file.header, file.at)
    if not len(table):
        raise InputError(f"{path}: holds no ranks")
    rank = table["rank"].astype(float)
    score = table["score"].astype(float) if "score" in table else 1 / rank
    for wrong, said in (
        (~(rank.between(1, 2**53) & (rank % 1 == 0)), "rank must be a whole number from 1 on"),
        (score.isna(), "score must be a number"),
        (table.duplicated(["user_id", "item_id"]), "this user has this item twice"),
        (table.assign(rank=rank).duplicated(["user_id", "rank"]), "this user has this rank twice"),
    ):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            found = ", ".join(f"{c} {shown(v)}" for c, v in table.iloc[row].items() if c in COLUMNS)
            raise InputError(f"{file.at(row)}: {said}, found {found}")
    ranks = table[["user_id", "item_id"]].assign(rank=rank.astype(int), score=score)
    return Recorded(ranks.sort_values("rank", kind="stable", ignore_index=True))
