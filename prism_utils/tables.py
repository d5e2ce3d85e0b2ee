"""The six tables that every room of the house reads and writes.

One schema for every system and data set; a function that takes a table calls `check` once, at its
door. Left out on purpose: joins, caching and any knowledge of models. Tables are pandas frames in
memory and Parquet on disk; all ids are strings.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from .errors import InputError

# column -> (kind, required). Kinds: id (non-null str), str, number, list (list of str).
SCHEMAS: dict[str, dict[str, tuple[str, bool]]] = {
    "interactions": {
        "user_id": ("id", True),
        "item_id": ("id", True),
        "rating": ("number", False),
        "timestamp": ("number", False),
    },
    "items": {
        "item_id": ("id", True),
        "title": ("id", True),
        "year": ("number", False),
    },
    "samples": {
        "sample_id": ("id", True),
        "user_id": ("id", True),
        "history": ("list", True),
        "item_id": ("id", True),
        "split": ("id", True),
    },
    "explanations": {
        "sample_id": ("id", True),
        "system": ("id", True),
        "text": ("str", True),
    },
    "scores": {
        "sample_id": ("id", True),
        "system": ("id", True),
        "metric": ("id", True),
        "value": ("number", True),
    },
    "ratings": {
        "study": ("id", True),
        "rater_id": ("id", True),
        "sample_id": ("id", True),
        "system": ("id", True),
        "dimension": ("id", True),
        "rating": ("number", True),
    },
}

# What may stand in a table only once.
KEYS: dict[str, list[str]] = {
    "items": ["item_id"],
    "samples": ["sample_id"],
    "explanations": ["sample_id", "system"],
    "scores": ["sample_id", "system", "metric"],
    "ratings": ["study", "rater_id", "sample_id", "system", "dimension"],
}


def check(frame: pd.DataFrame, table: str, source: str = "") -> pd.DataFrame:
    """Return `frame` if it fits the schema of `table`, else raise `InputError`.

    Checks that required columns are there, that ids are non-null strings, that numbers are
    numeric, that list columns hold lists, and that keys are unique. The error names `source`
    (a file, or the table's own name), the column and the first offending row, counted from 1.
    Columns beyond the schema are allowed: sources know more than the schema asks.
    """
    where = source or f"table '{table}'"
    for column, (kind, required) in SCHEMAS[table].items():
        if column not in frame.columns:
            if required:
                have = ", ".join(map(str, frame.columns)) or "none"
                raise InputError(f"{where}: column '{column}' is missing (columns: {have})")
            continue
        values = frame[column]
        if kind in ("id", "str") and len(values):
            if isinstance(values.dtype, pd.StringDtype):  # holds text or nothing
                wrong = values.isna().to_numpy()
            else:
                wrong = ~values.map(lambda v: isinstance(v, str)).to_numpy(dtype=bool)
            if wrong.any():
                row = int(wrong.argmax())
                raise InputError(
                    f"{where}: row {row + 1}: '{column}' must be text, "
                    f"found {values.iloc[row]!r} ({type(values.iloc[row]).__name__})"
                )
        elif (
            kind == "number" and not pd.api.types.is_numeric_dtype(values) and values.notna().any()
        ):
            row = int(pd.to_numeric(values, errors="coerce").isna().to_numpy().argmax())
            raise InputError(
                f"{where}: row {row + 1}: '{column}' must be a number, found {values.iloc[row]!r}"
            )
        elif kind == "list" and len(values):
            wrong = values.map(lambda v: isinstance(v, str) or not hasattr(v, "__len__"))
            if wrong.any():
                row = int(wrong.to_numpy(dtype=bool).argmax())
                raise InputError(
                    f"{where}: row {row + 1}: '{column}' must be a list, found {values.iloc[row]!r}"
                )
    key = KEYS.get(table)
    if key:
        twice = frame.duplicated(key).to_numpy()
        if twice.any():
            row = int(twice.argmax())
            shown = ", ".join(f"{k} {frame[k].iloc[row]!r}" for k in key)
            raise InputError(f"{where}: row {row + 1}: duplicate {shown}")
    return frame


def attribute_columns(items: pd.DataFrame) -> list[str]:
    """The list columns of an items table: its kinds of attribute, in column order.

    >>> items = pd.DataFrame({"item_id": ["1"], "title": ["Jaws"], "genre": [["Thriller"]]})
    >>> attribute_columns(items)
    ['genre']
    """

    def holds_lists(values: pd.Series) -> bool:
        present = values.dropna()
        return bool(len(present)) and not isinstance(present.iloc[0], str | int | float)

    known = SCHEMAS["items"]
    return [str(c) for c in items.columns if c not in known and holds_lists(items[c])]


def write_table(frame: pd.DataFrame, path: Path | str, table: str) -> Path:
    """Check `frame` and write it as Parquet, atomically (a reader never sees half a file)."""
    path = Path(path)
    check(frame, table, source=str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    frame.to_parquet(partial, index=False)
    partial.replace(path)
    return path


def read_table(path: Path | str, table: str) -> pd.DataFrame:
    """Read a Parquet table and check it; lists come back as Python lists."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises several unrelated types for a broken file
        raise InputError(f"{path}: not a readable Parquet file ({error})") from error
    for column in frame.columns:
        first = frame[column].dropna().head(1)
        if len(first) and hasattr(first.iloc[0], "tolist") and not isinstance(first.iloc[0], str):
            if getattr(first.iloc[0], "ndim", 0) == 1:
                frame[column] = frame[column].map(
                    lambda v: v.tolist() if hasattr(v, "tolist") else v
                )
    return check(frame, table, source=str(path))


# What a spreadsheet takes for a formula (Japanese ones the wide signs too), but for plain numbers.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"\s*[+-]?[\d.,]+(?:[eE][+-]?\d+)?\s*")


def defused(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` for a CSV that people open: an apostrophe before what a spreadsheet would run.

    Titles, texts and ids come from data, and a spreadsheet runs a cell that begins like a formula
    as soon as the file is opened. Names of columns are defused too; numbers stay as they are.

    >>> defused(pd.DataFrame({"title": ["=HYPERLINK(A1)", "Jaws", "-5"]}))["title"].tolist()
    ["'=HYPERLINK(A1)", 'Jaws', '-5']
    """

    def plain(value: Any) -> Any:
        if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
            return "'" + value
        return value

    made = frame.rename(columns=plain)
    for position, dtype in enumerate(made.dtypes):
        if not pd.api.types.is_numeric_dtype(dtype):
            made.isetitem(position, made.iloc[:, position].map(plain))
    return made
