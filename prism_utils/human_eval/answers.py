"""The table in a file that a rater sent back, whatever mail programs and spreadsheets did to it.

Undone is what touches no answer: another separator or encoding, cleared rows and columns, lines
quoted once more, text around the table. Left out on purpose: what the cells say (`collect`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError
from .checks import kind, short
from .simulation import DIMENSIONS

COLUMNS = ("study", "rater_id", "number", "code", "skipped", "seconds", *DIMENSIONS)

_SEPARATORS = ",;\t"
_READ = (".csv", ".tsv", ".txt")
_OWN = (".html", ".json", ".parquet")  # what the commands write: no answers, and no mistake
_LONGEST = 20_000  # characters of one answer; the form allows a reason of 200
_LARGEST = 10_000_000  # bytes of one file; a rater's table has thousands

Rows = list[tuple[int, dict[str, str]]]  # line number, cells by column


class Refused(Exception):
    """Why a file is not taken."""


# ---------------------------------------------------------------- files


def files_in(folder: Path) -> list[Path]:
    """What may hold answers in a folder, by name; `InputError` where there is nothing."""
    try:
        found = sorted(path for path in folder.iterdir() if not _passed_over(path))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error
    if not found:
        raise InputError(f"{folder}: no .csv or .txt file in this folder")
    return found


def _passed_over(path: Path) -> bool:
    """Whether a file is of the system, of a program that has another one open, or our own."""
    name = path.name.lower()
    hidden = name.startswith((".", "~$")) or name in ("desktop.ini", "thumbs.db")
    return hidden or (path.suffix.lower() in _OWN and path.is_file())


def read_text(path: Path, *, found: bool = False) -> str:
    """Text as browsers, mail programs and spreadsheets save it; raises `Refused`.

    `found` in a folder, not named by anybody: then a file of another kind is not even opened.
    """
    if kind(path) == "folder":
        raise Refused("a folder; name it on the command line to have it read")
    if found and path.suffix.lower() not in _READ:
        raise Refused(f"{path.suffix or 'a file without suffix'}: {_SAVE_AS}")
    try:
        if kind(path) != "file" or path.stat().st_size > _LARGEST:
            raise Refused(f"no file, or one of more than {_LARGEST:,} bytes")
        raw = path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot be read ({error.strerror})") from error
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    even, odd = raw[::2].count(0), raw[1::2].count(0)
    if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")) or 0 < max(even, odd) < len(raw) // 4:
        raise Refused(f"no text, whatever its name says; {_SAVE_AS}")
    if even or odd:  # UTF-16 without its mark
        return raw.decode("utf-16-le" if odd > even else "utf-16-be", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


_SAVE_AS = (
    f"answers are {', '.join(_READ)}; open it, save the table as CSV and put that in its place"
)


# ---------------------------------------------------------------- the table in a text


def rows_of(text: str, repairs: list[str]) -> Rows:
    """The table that a text holds; what had to be undone goes to `repairs`; raises `Refused`."""
    lines = [re.sub(r"^[> \ufeff\xa0]+", "", line) for line in re.split(r"\r\n|\r|\n", text)]
    start, separator, names = _header(lines)
    if separator != ",":
        repairs.append("saved by a spreadsheet with another separator")
    if start:
        repairs.append(f"the table starts at line {start + 1}; what stands above it is left out")
    notes = {f"column {short(name)} is left out": None for name in names if name not in COLUMNS}
    notes.pop("column '' is left out", None)

    def fits(cells: list[str]) -> bool:
        return len(cells) >= len(names) and not any(cells[len(names) :])

    rows: Rows = []
    blank, at = 0, start + 1
    while at < len(lines):
        first, record = at + 1, lines[at]
        at += 1
        while record.count('"') % 2 and at < len(lines) and len(record) < _LONGEST:
            record += "\n" + lines[at]  # a line break within a cell
            at += 1
        if not record.strip(_SEPARATORS + '" '):
            blank = blank or first
            continue
        too_long = len(record) >= _LONGEST
        cells, saved_twice = ([], False) if too_long else _cells(record, separator, fits)
        if not fits(cells):
            if blank:
                notes[f"what follows the blank line {blank} is left out"] = None
                break
            if not cells:
                raise Refused(f"line {first}: too long for an answer, or quotes that do not fit")
            raise Refused(f"line {first}: {len(cells)} cells, the table has {len(names)}")
        if saved_twice:
            notes["saved by a spreadsheet in one column: lines quoted once more are read"] = None
        row = dict(zip(names, cells, strict=False))
        if not any(row[name] for name in COLUMNS):  # cleared, but for a column of somebody's own
            blank = blank or first
        elif all(row[name] == name for name in COLUMNS):
            notes["the line of columns comes twice"] = None
        elif any(cell for name, cell in zip(names, cells, strict=False) if not name):
            raise Refused(f"line {first}: a cell stands in a column without a name")
        else:
            rows.append((first, row))
    repairs += notes
    if not rows:
        raise Refused("the table has no answers")
    return rows


def _header(lines: list[str]) -> tuple[int, str, list[str]]:
    """Where the table starts, what separates its cells, and its columns; raises `Refused`."""
    for start, line in enumerate(lines):
        if len(line) >= _LONGEST or not all(name in line for name in COLUMNS):
            continue
        for separator in _SEPARATORS:
            names = _cells(line, separator, lambda cells: {*COLUMNS} <= {*cells})[0]
            while names and not names[-1]:  # empty columns at the right
                names.pop()
            if {*COLUMNS} <= {*names}:
                if twice := [name for name in COLUMNS if names.count(name) > 1]:
                    raise Refused(f"line {start + 1}: two columns are called {twice[0]}")
                return start, separator, names
    raise Refused(f"no line with the columns {', '.join(COLUMNS)}")


def _cells(
    record: str, separator: str, fits: Callable[[list[str]], bool]
) -> tuple[list[str], bool]:
    """A record's cells, each on one line; and whether it was opened in other columns and saved.

    Such a record is a cell that holds the line, or cells that hold its pieces, quoted once more;
    it is taken for one where its cells do not fit, and what was within does.
    """
    others = _SEPARATORS.replace(separator, "")
    record = record.rstrip(others + " ")
    for outer in ("", *_SEPARATORS):
        line = outer.join(_split(record, outer)) if outer else record
        cells = [" ".join(cell.split()) for cell in _split(line.rstrip(others), separator)]
        if fits(cells):
            return cells, bool(outer)
    return [" ".join(cell.split()) for cell in _split(record, separator)], False


def _split(record: str, separator: str) -> list[str]:
    """The cells of one record; none where it is no CSV."""
    try:
        return next(csv.reader([record], delimiter=separator, strict=True), [])
    except csv.Error:
        return []
