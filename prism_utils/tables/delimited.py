"""Text files in columns: read at Arrow's speed, and an offending row by its line.

Arrow parses; only when it fails does a slow pass in Python look for the first offending line. Left
out on purpose: guessing of delimiters and types; what a column holds, `columns` knows.
"""

from __future__ import annotations

import csv
import mmap
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from ..errors import InputError

# How files begin that are not what their name says.
_SIGNATURES = {
    b"PAR1": "a Parquet file; name it .parquet",
    b"PK\x03\x04": "a zip archive, as .xlsx is; unpack it, or save the table as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet of Excel; save the table as CSV",
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"BZh": "compressed with bzip2; unpack it",
    b"\xfd7zXZ": "compressed with xz; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it",
    b"\xff\xfe": "text in UTF-16; save it as UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as UTF-8",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with git lfs pull",
}
# Quotes of CSV: one that opens a cell closes it too. None stands behind a backslash, or behind a
# cell's first blanks.
_QUOTES = re.compile(
    rb'(?:\A(?:\xef\xbb\xbf)?|[,\r\n])"[^"]*(?:""[^"]*)*("(?=[,\r\n]|\Z))?|(?:[,\r\n][ \t]+|\\)"'
)
_LINE_END = re.compile(rb"\r\n?|\n")
HALF = re.compile(r"[\ud800-\udfff]")  # of a character: what is left of a cut emoji
BLOCK = 2**31 - 1  # the largest that Arrow parses or holds in one piece, in bytes

csv.field_size_limit(BLOCK)  # its own limit of 131,072 is less than people's cells


def refuse_foreign(path: Path) -> None:
    """Raise for a file that cannot be read, or that is something else than text in UTF-8."""
    start = beginning(path)
    for signature, what in _SIGNATURES.items():
        if start.startswith(signature):
            raise InputError(f"{path}: is {what}")


def beginning(path: Path) -> bytes:
    """The first bytes of a file that can be read; the error says why one cannot."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            return file.read(32)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); see to its permissions"
        ) from error


def text_rows(
    path: Path, delimiter: str = ",", encoding: str = "utf-8-sig"
) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, fields) of each row that is not blank.

    Only commas come with CSV's quoting. Bytes that are not of the encoding become surrogates.
    """
    quoted = delimiter == ","
    with path.open(
        encoding=encoding, errors="surrogateescape", newline="" if quoted else None
    ) as lines:
        if not quoted:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line.rstrip("\n").split(delimiter)
            return
        reader, begins = csv.reader(lines), 1
        try:
            for fields in reader:
                if fields:
                    yield begins, fields
                begins = reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"{path}: line {begins}: not CSV ({error})") from error


def read_delimited(
    path: Path, names: Sequence[str], *, header: int = 0, delimiter: str = ","
) -> pa.Table:
    """The fields of a file of UTF-8 text under these names, as text; an empty field is null.

    The delimiter may be two equal characters. `header` is the line of the names, if
    they stand in the file.
    `InputError` names the file and the line.
    """
    check_text(path, quoted=delimiter == ",")
    # Arrow splits at one character: "::" makes empty fields between the real ones
    parsed = [name for n in names for name in (n, f":{n}")][:-1] if len(delimiter) == 2 else names
    types = {name: pa.string() if name in names else pa.null() for name in parsed}

    def parse(block: int | None) -> pa.Table:
        return pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(
                column_names=parsed,
                skip_rows=max(header - 1, 0),
                skip_rows_after_names=int(header > 0),
                block_size=block,
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=delimiter[0],
                quote_char='"' if delimiter == "," else False,
                newlines_in_values=delimiter == ",",
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=types, null_values=[""], strings_can_be_null=True
            ),
        ).select(names)

    try:
        try:
            return parse(None)
        except pa.ArrowInvalid as error:
            if "straddl" not in str(error):  # a row that is longer than a block
                raise
            return parse(min(path.stat().st_size + 1, BLOCK))
    except pa.ArrowInvalid as error:
        _refuse_first(path, names, header > 0, delimiter)
        if next(islice(text_rows(path, delimiter), int(header > 0), None), None) is None:
            return pa.table({name: pa.array([], pa.string()) for name in names})
        raise InputError(f"{path}: not readable as text in columns ({error})") from error


def _refuse_first(path: Path, names: Sequence[str], header: bool, delimiter: str) -> None:
    """Raise for the first row that has too many fields or too few, or is not UTF-8."""
    for line, fields in islice(text_rows(path, delimiter), int(header), None):
        if len(fields) != len(names):
            listed = ", ".join(name for name in names if name[:1] != "\0")
            raise InputError(
                f"{path}: line {line}: {len(names)} fields expected ({listed}), found {len(fields)}"
            )
        refuse_undecoded(f"{path}: line {line}", zip(names, fields, strict=True), "utf-8")


def refuse_undecoded(where: str, named: Iterable[tuple[str, str]], encoding: str) -> None:
    """Raise for a field of `text_rows` that could not be decoded."""
    for name, value in named:
        if HALF.search(value):
            raise InputError(f"{where}: '{name}' is not {encoding} text; save the file as UTF-8")


def check_text(path: Path, quoted: bool = True) -> None:
    """Raise for a file that is no text and, if it is CSV, for quotes that do not open and close.

    Other programs read such quotes somehow, each its own way, and a table with a row too few or a
    mangled title is worse than none.
    """
    refuse_foreign(path)
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        nul = data.find(b"\0")
        if nul >= 0:
            line = _line(data[:nul])
            raise InputError(f"{path}: line {line}: holds a zero byte; save it as text in UTF-8")
        quoted = quoted and data.find(b'"') >= 0
    if quoted:
        text = path.read_bytes()
        for found in _QUOTES.finditer(text):
            if found[1] is None:
                line = _line(text[: text.index(b'"', found.start())])
                raise InputError(
                    f"{path}: line {line}: a quote that neither opens a cell nor closes it; CSV "
                    'writes a cell with quotes inside quotes, and each of its own twice ("")'
                )


def _line(before: bytes) -> int:
    return len(_LINE_END.findall(before)) + 1


def encoding_of(path: Path) -> str:
    """Of a text file: "utf-8-sig", or where it is no UTF-8 "cp1252", which Latin-1 is a part of.

    `InputError` for a file that is UTF-8 in some lines and not in others, or neither.
    """
    check_text(path, quoted=False)
    text = path.read_bytes()
    lines: dict[str, int] = {}
    for number, line in enumerate(_LINE_END.split(text), start=1):
        if not line.isascii():
            for encoding in ("utf-8-sig", "cp1252"):
                try:
                    line.decode(encoding)
                except UnicodeDecodeError:
                    continue
                lines.setdefault(encoding, number)
                break
            else:
                raise InputError(f"{path}: line {number}: is neither UTF-8 nor Latin-1 text")
    if len(lines) == 2:
        raise InputError(
            f"{path}: line {lines['cp1252']}: is not UTF-8 text, while line {lines['utf-8-sig']} "
            "is; save the file in one encoding"
        )
    return next(iter(lines), "utf-8-sig")


def place(
    path: Path, header: bool = False, delimiter: str = ",", encoding: str = "utf-8-sig"
) -> Callable[[int], str]:
    """Row n of a delimited file, from 0, as "file: line m"."""

    def at(row: int) -> str:
        line, _ = next(islice(text_rows(path, delimiter, encoding), row + header, None))
        return f"{path}: line {line}"

    return at
