"""What another system recommended, from its file of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError
from ..tables import check
from .base import COLUMNS


class Recorded:
    """What another system recommended; `from_file` reads it. `fit` learns what to leave out."""

    name = "recorded"

    def __init__(self, ranks: pd.DataFrame) -> None:
        self.ranks = ranks

    def fit(self, interactions: pd.DataFrame) -> Recorded:
        """Keep the interactions, so that no user is recommended an item of theirs."""
        check(interactions, "interactions")
        self.seen = pd.MultiIndex.from_frame(interactions[["user_id", "item_id"]])
        return self

    def recommend(self, user_ids: Sequence[str], k: int = 10) -> pd.DataFrame:
        """The k unseen items of best rank, as the file has them; a user not there gets none."""
        if k < 1:
            raise InputError(f"k must be at least 1, found {k}")
        wanted = pd.DataFrame({"user_id": np.asarray(user_ids, dtype=object)})
        there = wanted.merge(self.ranks, on="user_id")
        there = there[~pd.MultiIndex.from_frame(there[["user_id", "item_id"]]).isin(self.seen)]
        place = there.groupby("user_id", sort=False).cumcount() + 1
        return there.assign(rank=place)[place <= k][COLUMNS].reset_index(drop=True)


def from_file(path: str | Path) -> Recorded:
    """A ranker from another system's table of ranks: Parquet, CSV or JSON lines, by its ending.

    Columns user_id, item_id, rank (a whole number, 1 is best, no two alike for a user) and, if it
    is there, score; without one the score is 1 / rank. The file does not change with `fit`: to
    evaluate it, its system must not have seen what is held out. Raises `InputError` with file and
    row for anything else.
    """
    path = Path(path)
    readers = {".parquet": pd.read_parquet, ".csv": _read_csv, ".jsonl": _read_jsonl}
    if path.suffix not in readers:
        raise InputError(f"{path}: ends in {path.suffix!r}; give a .parquet, .csv or .jsonl file")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        table = readers[path.suffix](path)
    except Exception as error:  # readers raise many unrelated types for a broken file
        raise InputError(f"{path}: not readable as {path.suffix[1:]} ({error})") from error
    check(table, "interactions", source=str(path))
    if "rank" not in table.columns:
        raise InputError(f"{path}: column 'rank' is missing (columns: {', '.join(table.columns)})")
    rank = pd.to_numeric(table["rank"], errors="coerce")
    score = pd.to_numeric(table["score"], errors="coerce") if "score" in table else 1 / rank
    for wrong, said in (
        ((rank.isna() | (rank < 1) | (rank % 1 != 0)), "rank must be a whole number from 1 on"),
        (score.isna(), "score must be a number"),
        (table.duplicated(["user_id", "item_id"]), "this user has this item twice"),
        (table.duplicated(["user_id", "rank"]), "this user has this rank twice"),
    ):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            found = ", ".join(f"{c} {table[c].iloc[row]!r}" for c in COLUMNS if c in table)
            raise InputError(f"{path}: row {row + 1}: {said}, found {found}")
    ranks = table[["user_id", "item_id"]].assign(rank=rank.astype(int), score=score)
    return Recorded(ranks.sort_values("rank", kind="stable", ignore_index=True))


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"user_id": str, "item_id": str})


def _read_jsonl(path: Path) -> pd.DataFrame:
    return pd.read_json(path, lines=True, dtype={"user_id": str, "item_id": str})
