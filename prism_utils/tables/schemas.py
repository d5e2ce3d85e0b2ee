"""What each table holds, and the check that a function makes at its door."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import InputError
from .columns import Column, first, first_blank, is_list, is_text, shown
from .delimited import HALF

# column -> (kind, required). Kinds: id and str (text), title (text, not blank), list (of ids),
# number (finite or missing), year and time (such numbers), score (any number).
SCHEMAS: dict[str, dict[str, tuple[str, bool]]] = {
    "interactions": {
        "user_id": ("id", True),
        "item_id": ("id", True),
        "rating": ("number", False),
        "timestamp": ("time", False),
    },
    "items": {
        "item_id": ("id", True),
        "title": ("title", True),
        "year": ("year", False),
    },
    "samples": {
        "sample_id": ("id", True),
        "user_id": ("id", True),
        "history": ("list", True),
        "item_id": ("id", True),
        "split": ("id", True),
        "evidence": ("list", False),
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
        "value": ("score", True),
    },
    "ratings": {
        "study": ("id", True),
        "rater_id": ("id", True),
        "sample_id": ("id", True),
        "system": ("id", True),
        "dimension": ("id", True),
        "rating": ("number", True),
    },
    "ranks": {
        "user_id": ("id", True),
        "item_id": ("id", True),
        "rank": ("number", True),
        "score": ("number", False),
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


def check(
    frame: pd.DataFrame, table: str, source: str = "", at: Callable[[int], str] | None = None
) -> pd.DataFrame:
    """Return `frame` if it fits the schema of `table`, else raise `InputError`.

    Checks that required columns are there, once each, that ids are text, that titles are not blank,
    that no text holds half a character, that numbers are numbers, that lists hold ids, and that
    keys are unique. The error names `source` (a file, or the table's own name), the column and
    the first offending row, counted from 1; `at` says where row n, from 0, stands instead.
    Columns beyond the schema are allowed: sources know more than the schema asks.
    """
    where = source or f"table '{table}'"
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{where} must be a DataFrame, found {type(frame).__name__}")
    if at is None:

        def at(row: int) -> str:
            return f"{where}: row {row + 1}"

    for column, (kind, required) in SCHEMAS[table].items():
        if column not in frame.columns:
            if required:
                have = ", ".join(map(str, frame.columns)) or "none"
                raise InputError(f"{where}: column '{column}' is missing (columns: {have})")
            continue
        values = frame[column]
        if isinstance(values, pd.DataFrame):
            raise InputError(f"{where}: column '{column}' stands {values.shape[1]} times")
        wrong = _wrong(values, kind) if len(values) else None
        if wrong is not None:
            row, wanted = wrong
            found = values.iloc[row]
            named = f" ({type(found).__name__})" if kind in ("id", "str", "title") else ""
            raise InputError(f"{at(row)}: '{column}' must be {wanted}, found {shown(found)}{named}")
    key = KEYS.get(table)
    if key:
        twice = first(frame.duplicated(key))
        if twice is not None:
            values = ", ".join(f"{k} {shown(frame[k].iloc[twice])}" for k in key)
            raise InputError(f"{at(twice)}: duplicate {values}")
    return frame


def _wrong(values: pd.Series, kind: str) -> tuple[int, str] | None:
    """The first row that is not of a kind, and what it must be; None where all are."""
    if kind in ("id", "str", "title"):
        return _wrong_text(values, blank=kind != "title")
    if kind == "list":
        return _wrong_list(values)
    if pd.api.types.is_numeric_dtype(values):
        finite = pd.api.types.is_integer_dtype(values) or kind == "score"
        row = None if finite else first(np.isinf(values.to_numpy(float, na_value=np.nan)))
    else:
        kinds = Number | None | type(pd.NA)
        row = first([not isinstance(v, kinds) or isinstance(v, bool) for v in values])
    return None if row is None else (row, "a number")


def _arrow(values: pd.Series) -> pa.Array | None:
    """A column as Arrow's, which is checked at its speed; None where it mixes types."""
    try:
        array = pa.array(values)
    except (pa.ArrowException, UnicodeEncodeError, TypeError, OverflowError):
        return None
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _wrong_text(values: pd.Series, *, blank: bool) -> tuple[int, str] | None:
    array = _arrow(values)
    if array is not None and is_text(array.type) and not array.null_count:
        row = None if blank else first_blank(array)
        return None if row is None else (row, "more than blanks")
    for row, value in enumerate(values):
        if not isinstance(value, str):
            return row, "text"
        if not blank and not value.strip():
            return row, "more than blanks"
        if HALF.search(value):
            return row, "text without half a character (a lone surrogate)"
    return None


def _wrong_list(values: pd.Series) -> tuple[int, str] | None:
    array = _arrow(values)
    if array is not None and is_list(array.type) and not array.null_count:
        flat = array.flatten()
        if not len(flat) or (is_text(flat.type) and not flat.null_count):
            return None
    for row, value in enumerate(values):
        if isinstance(value, str | dict) or not hasattr(value, "__len__"):
            return row, "a list"
        if not all(isinstance(part, str) and not HALF.search(part) for part in value):
            return row, "a list of ids, each text"
    return None


def attribute_columns(items: pd.DataFrame) -> list[str]:
    """The kinds of attribute of an items table: its columns of lists or text, in their order.

    >>> items = pd.DataFrame({"item_id": ["1"], "title": ["Jaws"], "genre": [["Thriller"]]})
    >>> attribute_columns(items)
    ['genre']
    """

    def holds_values(values: pd.Series) -> bool:
        if isinstance(values.dtype, pd.StringDtype):
            return True
        return bool(values.map(lambda v: isinstance(v, str) or hasattr(v, "__len__")).any())

    known = SCHEMAS["items"]
    return [str(c) for c in items.columns if c not in known and holds_values(items[c])]


def attribute_lists(values: pd.Series) -> pd.Series:
    """An attribute column as lists of values; text is split at `|`, as everywhere."""
    column = Column(str(values.name), values.tolist(), lambda row: f"items: row {row + 1}")
    return column.attributes().set_axis(values.index)
