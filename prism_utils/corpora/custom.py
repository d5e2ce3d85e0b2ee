"""Bring your own data: a folder with `interactions` and `items`, as CSV, JSON lines or Parquet.

Left out on purpose: renaming of columns, dates in words and any cleaning. What does not fit is
an error that names the line, because only its owner knows what a wrong row was meant to be.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ..errors import InputError
from ..tables import SCHEMAS, check, read_placed
from .base import Corpus, check_corpus, folder_of, unique_titles

ENDINGS = (".csv", ".jsonl", ".parquet")
WANTS = "interactions.csv (or .jsonl, .parquet) and items.csv (or .jsonl, .parquet)"


def load(path: str | Path | None = None, *, noun: str = "item") -> Corpus:
    """Load `interactions` and `items` from the folder `path`; `noun` is what an item is ("book").

    Interactions have user_id, item_id and, where known, rating and timestamp (a number, for
    instance seconds since 1970; without it the order of the file is the order in time). Items
    have item_id, title and, where known, year. Every further column of items is a kind of
    attribute, named in the singular (author, genre), its values separated by `|`; in JSON lines
    and Parquet, the same or lists. Ids are text: "007" stays "007". A title that an earlier item
    has gets its year or a number, since texts call items by their titles; the note says so.
    Raises `InputError` for a missing file or column, a malformed row, an item that stands twice
    or an interaction with an item that is not there.
    """
    if path is None:
        raise InputError(f"corpus 'custom' needs a path: the folder that holds {WANTS}")
    if not noun.strip():
        raise InputError("corpus 'custom': noun is empty; say what an item is, for instance 'book'")
    folder = folder_of(path, WANTS)
    interactions, interactions_at = _read(folder, "interactions")
    items, items_at = _read(folder, "items")
    check_corpus(interactions, items, interactions_at, items_at)
    years = items["year"].tolist() if "year" in items else [None] * len(items)
    titles = unique_titles(items["title"].tolist(), years)
    told_apart = int((items["title"] != titles).sum())
    users = interactions["user_id"].nunique()
    note = f"{len(interactions):,} interactions of {users:,} users; {len(items):,} items ({noun})"
    if told_apart:
        note += f"; titles that several items have: {told_apart:,} got a year or a number"
    return Corpus("custom", interactions, items.assign(title=titles), noun, note)


def _read(folder: Path, table: str) -> tuple[pd.DataFrame, Callable[[int], str]]:
    """One table, and where its row n stands."""
    present = [f"{table}{ending}" for ending in ENDINGS if (folder / f"{table}{ending}").exists()]
    if len(present) != 1:
        problem = f"both {' and '.join(present)} are here" if present else f"no {table}.csv"
        raise InputError(f"{folder}: {problem}; expected {WANTS}")
    path = folder / present[0]
    frame, file = read_placed(path, table)
    check(frame, table, file.header, file.at)
    if not len(frame):
        raise InputError(f"{path}: holds no rows")
    if table == "interactions":
        frame = frame[frame.columns.intersection(list(SCHEMAS[table]), sort=False)]
    return frame, file.at
