"""What another system recommended, from its file of ranks."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError
from ..tables import check
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
    path = Path(path)
    table = _read(path)
    if "rank" not in table.columns:
        raise InputError(f"{path}: column 'rank' is missing (columns: {', '.join(table.columns)})")
    rank = _numbers(table["rank"])
    score = _numbers(table["score"]) if "score" in table else 1 / rank
    for wrong, said in (
        (~(rank.between(1, 2**53) & (rank % 1 == 0)), "rank must be a whole number from 1 on"),
        (~np.isfinite(score), "score must be a number"),
        (table.duplicated(["user_id", "item_id"]), "this user has this item twice"),
        (table.assign(rank=rank).duplicated(["user_id", "rank"]), "this user has this rank twice"),
    ):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            found = ", ".join(f"{c} {v!r}" for c, v in table.iloc[row].items() if c in COLUMNS)
            raise InputError(f"{path}: row {row + 1}: {said}, found {found}")
    ranks = table[["user_id", "item_id"]].assign(rank=rank.astype(int), score=score)
    return Recorded(ranks.sort_values("rank", kind="stable", ignore_index=True))


def _read(path: Path) -> pd.DataFrame:
    """The table of a file, its ids as text, none of them blank."""
    ending = path.suffix.lower()
    readers = {".parquet": pd.read_parquet, ".csv": _read_csv, ".jsonl": _read_jsonl}
    if ending not in readers:
        raise InputError(f"{path}: ends in {path.suffix!r}; give a .parquet, .csv or .jsonl file")
    if not path.is_file():
        found = "is a folder; give a file" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {found}")
    try:
        table = readers[ending](path)
    except InputError:
        raise
    except Exception as error:  # readers raise many unrelated types for a broken file
        said = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as {ending[1:]} ({said}); save it anew") from error
    table = table.drop(columns=["rating", "timestamp"], errors="ignore")  # they are not looked at
    for column in ("user_id", "item_id"):
        if column in table and not isinstance(table[column].dtype, pd.StringDtype):
            table[column] = table[column].map(lambda v: str(v) if type(v) is int else v)
    check(table, "interactions", source=str(path))
    if not len(table):
        raise InputError(f"{path}: holds no ranks")
    for column in ("user_id", "item_id"):
        blank = table[column].str.strip().eq("").to_numpy()
        if blank.any():
            raise InputError(f"{path}: row {blank.argmax() + 1}: {column!r} is empty; fill it in")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns of rows that are longer than the header
        return pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)


def _read_jsonl(path: Path) -> pd.DataFrame:
    records = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                if line.strip():
                    records.append(json.loads(line))
                if "\\u" in line:  # may be half an emoji, as in texts that were cut
                    json.dumps(records[-1], ensure_ascii=False).encode()
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}: row {number}: not valid JSON ({error})") from error
    return pd.DataFrame(records, dtype=object)


def _numbers(values: pd.Series) -> pd.Series:
    """Floats; nan for what is no number, as truth values, times and lists are not."""
    if values.dtype == object:
        numeric = str | int | float | Decimal
        values = values.map(
            lambda v: v if isinstance(v, numeric) and not isinstance(v, bool) else None
        )
    elif values.dtype == bool or not (
        pd.api.types.is_numeric_dtype(values) or isinstance(values.dtype, pd.StringDtype)
    ):
        values = values.map(lambda _: None)
    return pd.to_numeric(values, errors="coerce").astype(float)
