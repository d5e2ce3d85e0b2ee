"""Reading delimited files: the whole at C++ speed, a bad row by its line number.

`read_delimited` lets Arrow parse; only when it fails, or finds an empty field, does a slow pass
in Python look for the first offending line. Left out on purpose: guessing of delimiters,
encodings and types.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from ..errors import InputError


def folder_of(path: str | Path, wants: str) -> Path:
    """`path` as a folder that exists; the error says what it is wanted for."""
    path = Path(path)
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "no such folder"
        raise InputError(f"{path}: {what}; give the folder that holds {wants}")
    return path


def text_rows(path: Path, delimiter: str, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each row that is not blank; only commas come with CSV quoting."""
    quoted = delimiter == ","
    with path.open(encoding=encoding, errors="replace", newline="" if quoted else None) as lines:
        if not quoted:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line.rstrip("\n").split(delimiter)
            return
        reader = csv.reader(lines)
        try:
            for fields in reader:
                if fields:
                    yield reader.line_num, fields
        except csv.Error as error:
            raise InputError(f"{path}: line {reader.line_num}: not CSV ({error})") from error


def read_delimited(
    path: Path,
    columns: Mapping[str, pa.DataType],
    *,
    nullable: Collection[str] = (),
    header: bool = True,
    others: bool = False,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
) -> pa.Table:
    """Read `columns` (name -> type) of a file; an empty field is null and must be `nullable`.

    With a `header`, nullable columns may be absent, and `others` takes every further column as
    text; without one, `columns` are the fields in order. The delimiter may be two equal
    characters. `InputError` names the file and the line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    names = list(columns)
    if header:
        line, names = next(text_rows(path, delimiter, encoding), (1, []))
        for column in columns:
            if column not in names and column not in nullable:
                raise InputError(
                    f"{path}: line {line}: column '{column}' is missing "
                    f"(columns: {', '.join(names) or 'none'})"
                )
        if len(set(names)) < len(names) or "" in names:
            raise InputError(f"{path}: line {line}: every column needs a name of its own")
    wanted = [name for name in names if name in columns or others]
    nullable = {*nullable, *(name for name in wanted if name not in columns)}
    types: dict[str, pa.DataType] = {name: columns.get(name, pa.string()) for name in wanted}
    # Arrow splits at one character: "::" makes empty fields between the real ones
    parsed = [name for n in names for name in (n, f":{n}")][:-1] if len(delimiter) == 2 else names
    gaps = {name: pa.null() for name in parsed if name not in names}
    try:
        table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(
                column_names=parsed,
                skip_rows_after_names=int(header),
                encoding="utf8" if encoding == "utf-8-sig" else encoding,
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=delimiter[0],
                quote_char='"' if delimiter == "," else False,
                newlines_in_values=delimiter == ",",
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=types | gaps,
                include_columns=[*wanted, *gaps],
                null_values=[""],
                strings_can_be_null=True,
            ),
        ).select(wanted)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        problem = _first_problem(path, names, types, nullable, header, delimiter, encoding)
        raise InputError(f"{path}: {problem or error}") from error
    if any(table[name].null_count for name in wanted if name not in nullable):
        problem = _first_problem(path, names, types, nullable, header, delimiter, encoding)
        raise InputError(f"{path}: {problem}")
    return table


def _first_problem(
    path: Path,
    names: list[str],
    types: Mapping[str, pa.DataType],
    nullable: Collection[str],
    header: bool,
    delimiter: str,
    encoding: str,
) -> str | None:
    """What is wrong with the first malformed row, with its line number."""
    for line, fields in islice(text_rows(path, delimiter, encoding), int(header), None):
        if len(fields) != len(names):
            listed = ", ".join(names)
            return f"line {line}: {len(names)} fields expected ({listed}), found {len(fields)}"
        for name, value in zip(names, fields, strict=True):
            kind = types.get(name)
            if "\ufffd" in value:
                return f"line {line}: '{name}' is not {encoding.removesuffix('-sig')} text"
            if kind is None or (value and pa.types.is_string(kind)):
                continue
            if not value:
                if name in nullable:
                    continue
                return f"line {line}: '{name}' is empty"
            number, wanted = (
                (int, "a whole number") if pa.types.is_integer(kind) else (float, "a number")
            )
            try:
                number(value)
            except ValueError:
                return f"line {line}: '{name}' must be {wanted}, found {value!r}"
    return None


def check_references(
    interactions: pd.DataFrame,
    items: pd.DataFrame,
    interactions_at: Callable[[int], str],
    items_at: Callable[[int], str],
) -> None:
    """Raise `InputError` for an item that stands twice, or is interacted with and stands nowhere.

    `interactions_at` and `items_at` say where row n (from 0) stands: the file and the line.
    """
    twice = items["item_id"].duplicated().to_numpy()
    if twice.any():
        row = int(twice.argmax())
        raise InputError(f"{items_at(row)}: duplicate item {items['item_id'].iloc[row]!r}")
    unknown = ~interactions["item_id"].isin(items["item_id"]).to_numpy()
    if unknown.any():
        row = int(unknown.argmax())
        raise InputError(
            f"{interactions_at(row)}: item {interactions['item_id'].iloc[row]!r} is not among the "
            "items; add it there or remove the row"
        )


def place(
    path: Path, header: bool = True, delimiter: str = ",", encoding: str = "utf-8-sig"
) -> Callable[[int], str]:
    """For `check_references`: row n of a delimited file as "file: line m"."""

    def at(row: int) -> str:
        line, _ = next(islice(text_rows(path, delimiter, encoding), row + header, None))
        return f"{path}: line {line}"

    return at
