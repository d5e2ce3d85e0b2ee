"""The one door for tables: from a file, into a file, and into a CSV that people open."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from ..files import make_folder, whole
from .columns import Column, shown
from .reading import File, read_file
from .schemas import SCHEMAS, check


def write_table(frame: pd.DataFrame, path: Path | str, table: str) -> Path:
    """Check `frame` and write it as Parquet, atomically (a reader never sees half a file)."""
    path = Path(path)
    check(frame, table, source=str(path))
    make_folder(path.parent)
    try:
        with whole(path) as partial:
            frame.to_parquet(partial, index=False)
    except UnicodeEncodeError as error:  # in a column that the schema does not have
        raise InputError(
            f"{path}: a text holds half a character (a lone surrogate), {shown(error.object)}; "
            "remove it"
        ) from error
    return path


def read_table(path: Path | str, table: str) -> pd.DataFrame:
    """Read a table from CSV, JSON lines or Parquet, by the file's ending, and check it.

    Ids that are whole numbers become text, and text that is a number becomes one. Lists come back
    as Python lists; in text `|` stands between their values. Of items every column that the
    schema does not have is a kind of attribute. Raises `InputError` with the file and the row (in
    CSV the line).
    """
    frame, file = read_placed(path, table)
    return check(frame, table, file.header, file.at)


def read_placed(path: Path | str, table: str) -> tuple[pd.DataFrame, File]:
    """As `read_table`, not yet checked, and the file with its places: for further checks."""
    file = read_file(path)
    return framed(file.columns.values(), table, file.size), file


def framed(columns: Iterable[Column], table: str, size: int) -> pd.DataFrame:
    """Columns of a file as a frame of `size` rows, each of the kind that the schema wants."""
    schema = SCHEMAS[table]
    other = Column.attributes if table == "items" else Column.plain
    made = {c.name: (_AS[schema[c.name][0]] if c.name in schema else other)(c) for c in columns}
    return pd.DataFrame(made, index=range(size))


_AS: dict[str, Callable[[Column], pd.Series]] = {
    "id": lambda column: column.ids().to_pandas(),
    "title": lambda column: column.ids().to_pandas(),
    "str": lambda column: column.texts().to_pandas(),
    "list": Column.lists,
    "year": Column.years,
    "time": Column.times,
    "number": Column.as_numbers,
    "score": lambda column: column.as_numbers(endless=True),
}


def read_given(path: Path | str, table: str) -> pd.DataFrame:
    """As `read_table`, for a file that a user gives to a command; it must hold a row.

    Explanations without `system` are called by the file's name; samples need no `split`.
    """
    return given_placed(path, table)[0]


def given_placed(path: Path | str, table: str) -> tuple[pd.DataFrame, File]:
    """`read_given`, and the file with its places."""
    frame, file = read_placed(path, table)
    if not len(frame):
        raise InputError(f"{path}: holds no rows")
    if table == "explanations" and "system" not in frame.columns:
        frame["system"] = Path(path).stem
    if table == "samples" and "split" not in frame.columns:
        frame["split"] = "test"
    return check(frame, table, file.header, file.at), file


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
