"""Bring your own data: a folder with `interactions` and `items`, each as CSV or Parquet.

Left out on purpose: renaming of columns, dates in words and any cleaning. What does not fit is
an error that names the line, because only its owner knows what a wrong row was meant to be.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from ..tables import check
from .base import Corpus
from .reading import check_references, folder_of, place, read_delimited

WANTS = "interactions.csv (or .parquet) and items.csv (or .parquet)"
INTERACTIONS = {
    "user_id": pa.string(),
    "item_id": pa.string(),
    "rating": pa.float64(),
    "timestamp": pa.float64(),
}
ITEMS = {"item_id": pa.string(), "title": pa.string(), "year": pa.float64()}
OPTIONAL = ("rating", "timestamp", "year")


def load(path: str | Path | None = None, *, noun: str = "item") -> Corpus:
    """Load `interactions` and `items` from the folder `path`; `noun` is what an item is ("book").

    Interactions have user_id, item_id and, where known, rating and timestamp (a number, for
    instance seconds since 1970; without it the order of the file is the order in time). Items
    have item_id, title and, where known, year. Every further column of items is a kind of
    attribute, named in the singular (author, genre): in CSV, values separated by `|`; in Parquet,
    the same or lists. Ids are text: "007" stays "007".
    Raises `InputError` for a missing file or column, a malformed row, an item that stands twice
    or an interaction with an item that is not there.
    """
    if path is None:
        raise InputError(f"corpus 'custom' needs a path: the folder that holds {WANTS}")
    if not noun.strip():
        raise InputError("corpus 'custom': noun is empty; say what an item is, for instance 'book'")
    folder = folder_of(path, WANTS)
    interactions, interactions_at = _read(folder, "interactions", INTERACTIONS, others=False)
    items, items_at = _read(folder, "items", ITEMS, others=True)
    for column in items.columns.difference(list(ITEMS)):
        items[column] = [_values(value) for value in items[column]]
    if "year" in items:
        items["year"] = items["year"].astype("Float64").round().astype("Int64")
    check_references(interactions, items, interactions_at, items_at)
    users = interactions["user_id"].nunique()
    note = f"{len(interactions):,} interactions of {users:,} users; {len(items):,} items ({noun})"
    return Corpus("custom", interactions, items, noun, note)


def _read(
    folder: Path, table: str, columns: dict[str, pa.DataType], *, others: bool
) -> tuple[pd.DataFrame, Callable[[int], str]]:
    """One table, and where its row n stands."""
    files = [folder / f"{table}{suffix}" for suffix in (".csv", ".parquet")]
    present = [file for file in files if file.is_file()]
    if len(present) != 1:
        problem = f"both {table}.csv and {table}.parquet are here" if present else f"no {table}.csv"
        raise InputError(f"{folder}: {problem}; expected {WANTS}")
    path = present[0]
    if path.suffix == ".csv":
        data = read_delimited(path, columns, nullable=OPTIONAL, others=others)
        return data.to_pandas(), place(path)
    try:
        data = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a readable Parquet file ({error})") from error
    for name, kind in columns.items():
        if name in data.column_names:
            try:
                data = data.set_column(data.column_names.index(name), name, data[name].cast(kind))
            except pa.ArrowException as error:
                raise InputError(f"{path}: '{name}' must be {kind} ({error})") from error
    if not others:
        data = data.select([name for name in columns if name in data.column_names])
    return check(data.to_pandas(), table, source=str(path)), lambda row: f"{path}: row {row + 1}"


def _values(value: object) -> list[str]:
    """A cell of an attribute column as a list: text is split at `|`, nothing is no value."""
    if isinstance(value, str):
        return [part.strip() for part in value.split("|") if part.strip()]
    if hasattr(value, "__iter__"):
        return [str(part) for part in value]
    return [] if pd.isna(value) else [str(value)]
