"""The files that people bring: CSV, JSON lines or Parquet, as columns, each row with its place.

`read_file` is the one door; what a column means is for `columns` and `tables`. Left out on purpose:
guessing, and repair, since only its owner knows what a wrong row was meant to be.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import InputError
from .columns import Column, is_list
from .delimited import (
    BLOCK,
    HALF,
    beginning,
    check_text,
    place,
    read_delimited,
    refuse_foreign,
    refuse_undecoded,
    text_rows,
)

_INDEX = re.compile(r"__index_level_\d+__")  # what pandas calls an index without a name
_HALF_SPELT = re.compile(rb"\\u[dD][89a-fA-F]")


class File(NamedTuple):
    """What a file holds: `columns` by name, each of `size` rows.

    `header` is where the names of the columns stand; row n, from 0, stands `at`(n).
    """

    header: str
    columns: dict[str, Column]
    size: int
    at: Callable[[int], str]

    def column(self, name: str) -> Column:
        """A column that must be there."""
        if name not in self.columns:
            have = ", ".join(self.columns) or "none"
            raise InputError(f"{self.header}: column '{name}' is missing (columns: {have})")
        return self.columns[name]


def read_file(path: str | Path) -> File:
    """The columns of a CSV, JSON lines (.jsonl, .ndjson, .json) or Parquet file.

    In CSV every column is text and an empty cell is null; columns without a name are dropped
    where they hold nothing or pandas' row numbers. JSON lines count blank lines, but have no row
    there. Of Parquet an index that pandas has kept is a column if it has a name.
    Raises `InputError` with the file and, where there is one, the line or row.
    """
    path = Path(path)
    readers = {".csv": _csv, ".parquet": _parquet}
    readers |= dict.fromkeys((".jsonl", ".ndjson", ".json"), _jsonl)
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: give a file whose name ends in .csv, .jsonl or .parquet")
    if path.suffix.lower() == ".parquet":
        beginning(path)
    else:
        refuse_foreign(path)
    return readers[path.suffix.lower()](path)


def _file(
    header: str, named: Iterable[tuple[str, Any]], size: int, at: Callable[[int], str]
) -> File:
    """Columns under their names, without blanks around these; each name must stand once."""
    columns: dict[str, Column] = {}
    for name, values in named:
        name = " ".join(name.split())
        if not name or name in columns:
            said = f"{name!r} stands twice" if name else "one has none"
            raise InputError(f"{header}: every column needs a name of its own, {said}")
        columns[name] = Column(name, values, at)
    return File(header, columns, size, at)


# Parquet


def _parquet(path: Path) -> File:
    def at(row: int) -> str:
        return f"{path}: row {row + 1}"

    with parquet_errors(path), pa.OSFile(str(path)) as source:
        table = pq.ParquetFile(source).read()
        table.validate()
    columns = [*_pandas_range(table, at), *parquet_columns(table, at)]
    return _file(str(path), ((c.name, c.values) for c in columns), table.num_rows, at)


def _pandas_range(table: pa.Table, at: Callable[[int], str]) -> list[Column]:
    """An index of pandas that has a name and counts, which only the metadata tell of."""
    try:
        index = (table.schema.pandas_metadata or {})["index_columns"]
        spans = [i for i in index if isinstance(i, dict) and i["kind"] == "range" and i["name"]]
        ranges = [(i["name"], range(i["start"], i["stop"], i["step"])) for i in spans]
    except (ValueError, KeyError, TypeError):  # not of pandas, or damaged
        return []
    return [Column(name, pa.array(r), at) for name, r in ranges if len(r) == table.num_rows]


def parquet_columns(table: pa.Table, at: Callable[[int], str]) -> list[Column]:
    """The columns of a table from Parquet in plain types, without an index that has no name."""
    return [
        Column(name, plain(column, name, at), at)
        for name, column in zip(table.column_names, table.columns, strict=True)
        if not _INDEX.fullmatch(name)
    ]


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """What Arrow says of a damaged Parquet file, as an `InputError`."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable Parquet file ({said}); write it again") from error


def plain(column: pa.ChunkedArray, name: str, at: Callable[[int], str]) -> pa.Array:
    """A column of Parquet in a plain type: text, numbers, lists of these, whoever wrote it.

    Categories are decoded, but for those inside of lists, and bytes are read as UTF-8. `InputError`
    for text that is not UTF-8.
    """
    wanted = _plain_type(column.type)
    try:
        made = column
        if column.type != wanted:
            try:
                made = column.cast(wanted)
            except pa.ArrowNotImplementedError:
                made = pa.chunked_array([pa.array(column.to_pylist(), wanted)])
        made.validate(full=True)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        row = next(row for row, value in enumerate(column) if not _decodes(value))
        raise InputError(f"{at(row)}: '{name}' is not UTF-8 text; write it as UTF-8") from error
    if pa.types.is_string(wanted) and made.nbytes > BLOCK:
        made = made.cast(pa.large_string())
    whole = made.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _decodes(value: pa.Scalar) -> bool:
    try:
        value.cast(_plain_type(value.type)).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        return False
    return True


def _plain_type(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if types.is_binary(kind) or types.is_fixed_size_binary(kind) or _is_view(kind):
        return pa.string()
    if types.is_large_binary(kind):
        return pa.large_string()
    if is_list(kind) and (
        types.is_dictionary(kind.value_type) or _plain_type(kind.value_type) == kind.value_type
    ):
        return kind
    if is_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    return kind


def _is_view(kind: pa.DataType) -> bool:
    return any(getattr(pa.types, f"is_{name}_view", bool)(kind) for name in ("string", "binary"))


# JSON lines


def _jsonl(path: Path) -> File:
    records: list[dict[str, Any]] = []
    numbers: list[int] = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                records.append(json_record(f"{path}: row {number}", line))
                numbers.append(number)
    names = dict.fromkeys(name for record in records for name in record)
    named = [(name, _typed([record.get(name) for record in records])) for name in names]
    return _file(str(path), named, len(records), lambda row: f"{path}: row {numbers[row]}")


def json_record(where: str, line: bytes) -> dict[str, Any]:
    """One line of JSON lines, an object; `InputError` says what else it is."""
    try:
        record = _DECODER.decode(line.decode("utf-8-sig").strip())
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: is not UTF-8 text; save the file as UTF-8") from error
    except RecursionError as error:
        raise InputError(f"{where}: is nested too deep; give one flat object a line") from error
    except json.JSONDecodeError as error:
        said = f"{error.msg}, character {error.pos + 1}"
        raise InputError(f"{where}: not valid JSON ({said}); give one object a line") from error
    except ValueError as error:  # a name twice, or a number of thousands of digits
        said = str(error).partition(";")[0]
        raise InputError(f"{where}: not valid JSON ({said}); give one object a line") from error
    if not isinstance(record, dict):
        found = type(record).__name__
        raise InputError(f"{where}: must be a JSON object, found {found}; give one object a line")
    if _HALF_SPELT.search(line):
        for name, value in record.items():
            if HALF.search(json.dumps({name: value}, ensure_ascii=False)):
                raise InputError(
                    f"{where}: {ascii(name)} holds half a character (a lone surrogate), as texts "
                    "have that were cut inside an emoji; remove it"
                )
    return record


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"the name {names.most_common(1)[0][0]!r} stands twice")
    return record


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _typed(values: list[Any]) -> pa.Array | list[Any]:
    """Values of one type as Arrow's, at its speed; mixed ones stay a list."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError):
        return values


# CSV


def _csv(path: Path) -> File:
    check_text(path)
    line, names = next(text_rows(path), (1, []))
    names, header = [" ".join(name.split()) for name in names], f"{path}: line {line}"
    refuse_undecoded(header, ((f"column {n}", name) for n, name in enumerate(names, 1)), "utf-8")
    if len(names) == 1 and re.search("[;\t]", names[0]):
        raise InputError(f"{header}: its columns are not separated by commas; save it so")
    if not any(names):
        return File(header, {}, 0, lambda row: header)
    unique = [name or f"\0{n}" for n, name in enumerate(names)]
    at = place(path, header=True)
    if len(set(unique)) < len(unique):
        _file(header, ((name, None) for name in unique), 0, at)  # raises
    table = read_delimited(path, unique, header=line)
    columns = {}
    for number, (name, column) in enumerate(zip(names, table.columns, strict=True)):
        array = column.combine_chunks()
        if name:
            columns[name] = Column(name, array, at, spelt=True)
        elif array.null_count < len(array) and not (number == 0 and _counts(array)):
            raise InputError(f"{header}: column {number + 1} has values but no name; give it one")
    return File(header, columns, table.num_rows, at)


def _counts(array: pa.Array) -> bool:
    """Whether texts are the row numbers that pandas writes before a table."""
    return bool(pc.all(pc.match_substring_regex(array, r"^\d+$"), skip_nulls=False).as_py())
