"""What raters send back, checked against the key and turned into the ratings table.

Each file is taken, repaired or refused as a whole, and the report names why. Left out on purpose:
guessing. A rating of 6 or an edited code is never mended, since only the rater knows what was
meant; what mail programs and spreadsheets do to a file without touching an answer is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..errors import InputError
from ..tables import check
from .agreement import LIKERT
from .design import Study
from .simulation import DIMENSIONS

_FIXED = ("study", "rater_id", "number", "code", "skipped", "seconds")


@dataclass(frozen=True)
class Collected:
    """`ratings`: the table of that name, with number (place in the rater's order) and seconds.

    `skipped`: rater_id, sample_id, system, reason. `report`: file, rater_id, outcome ("taken",
    "repaired", "refused"), reason; one row for each thing to say. `waiting`: raters of whom
    nothing usable has come.
    """

    ratings: pd.DataFrame
    skipped: pd.DataFrame
    report: pd.DataFrame
    waiting: list[str]

    @property
    def refused(self) -> pd.DataFrame:
        """The rows of the report that need somebody's attention."""
        return self.report[self.report["outcome"] == "refused"]


class _Refused(Exception):
    """Why a file is not taken."""


@dataclass
class _File:
    source: str
    rater_id: str
    answers: dict[str, tuple]  # code -> ratings in the order of DIMENSIONS, or (reason,)
    seconds: dict[str, float]
    repairs: list[str]


def collect(paths: Iterable[str | Path], study: Study, *, partial: bool = False) -> Collected:
    """Read the files (or all .csv and .txt of a folder) that raters sent back for `study`.

    A file that misses explanations is refused, unless `partial`: then what is there counts, and
    the report says what is missing. Of two files of one rater, one counts if they agree or one
    only continues the other; if they contradict each other, both are refused.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix.lower() in (".csv", ".txt"))
            if not found:
                raise InputError(f"{path}: no .csv or .txt file in this folder")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"{path}: no such file")
    return collect_texts({str(path): _decode(path) for path in files}, study, partial=partial)


def _decode(path: Path) -> str:
    """Text as browsers, mail programs and spreadsheets save it."""
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def collect_texts(texts: Mapping[str, str], study: Study, *, partial: bool = False) -> Collected:
    """`collect` for texts at hand: where each is from -> what it says."""
    report: list[tuple[str, str, str, str]] = []
    taken: dict[str, _File] = {}
    contested: set[str] = set()
    for source, text in texts.items():
        rater_id = ""
        try:
            repairs: list[str] = []
            rows = _rows(text, repairs)
            rater_id = _rater(rows, study)
            file = _check(source, rater_id, rows, study, repairs, partial)
            _settle(file, taken, contested, report)
        except _Refused as refusal:
            report.append((source, rater_id, "refused", str(refusal)))
    for rater_id in contested:
        taken.pop(rater_id, None)
    ratings, skipped = [], []
    key = study.assignment.set_index("code")
    for file in taken.values():
        report += [(file.source, file.rater_id, "repaired", repair) for repair in file.repairs]
        if not file.repairs:
            report.append((file.source, file.rater_id, "taken", f"{len(file.answers)} answers"))
        for code, answer in file.answers.items():
            row = key.loc[code]
            place = (file.rater_id, row["sample_id"], row["system"])
            if len(answer) == 1:
                skipped.append((*place, answer[0]))
                continue
            ratings += [
                (study.name, *place, dimension, rating, int(row["number"]), file.seconds[code])
                for dimension, rating in zip(DIMENSIONS, answer, strict=True)
            ]
    columns = ["study", "rater_id", "sample_id", "system", "dimension", "rating"]
    frame = pd.DataFrame(ratings, columns=[*columns, "number", "seconds"])
    order = ["rater_id", "number", "dimension"]
    return Collected(
        check(frame.sort_values(order, ignore_index=True), "ratings"),
        pd.DataFrame(skipped, columns=["rater_id", "sample_id", "system", "reason"]),
        pd.DataFrame(report, columns=["file", "rater_id", "outcome", "reason"]).sort_values(
            ["rater_id", "file"], kind="stable", ignore_index=True
        ),
        [rater_id for rater_id in study.raters if rater_id not in taken],
    )


def _settle(
    file: _File,
    taken: dict[str, _File],
    contested: set[str],
    report: list[tuple[str, str, str, str]],
) -> None:
    """Put `file` among the taken ones, or settle it with the file of the same rater there."""
    other = taken.get(file.rater_id)
    if other is None:
        taken[file.rater_id] = file
        return
    more, less = (file, other) if len(file.answers) > len(other.answers) else (other, file)
    at_odds = [code for code, answer in less.answers.items() if more.answers.get(code) != answer]
    if at_odds:
        contested.add(file.rater_id)
        why = (
            f"{len(at_odds)} answers differ between two files of rater {file.rater_id}, "
            f"{other.source} and {file.source} (first: code {at_odds[0]}); "
            "ask the rater which one counts and remove the other"
        )
        report += [(each.source, each.rater_id, "refused", why) for each in (other, file)]
        return
    taken[file.rater_id] = more
    why = f"a second file of rater {file.rater_id} with no other answers; {more.source} counts"
    report.append((less.source, less.rater_id, "repaired", why))


_Rows = list[tuple[int, dict[str, str]]]  # line number, cells by column


def _rater(rows: _Rows, study: Study) -> str:
    """Whose answers these are; raises `_Refused` for a foreign study and unclear raters."""
    studies = sorted({row["study"] for _, row in rows})
    if studies != [study.name]:
        raise _Refused(f"of study {', '.join(map(repr, studies))}, not of '{study.name}'")
    raters = sorted({row["rater_id"] for _, row in rows})
    if len(raters) > 1:
        raise _Refused(f"answers of several raters ({', '.join(raters)}); one file is one rater's")
    if raters[0] not in study.raters:
        raise _Refused(f"rater {raters[0]!r} is none of study '{study.name}'")
    return raters[0]


def _check(
    source: str, rater_id: str, rows: _Rows, study: Study, repairs: list[str], partial: bool
) -> _File:
    """One rater's rows against the key; raises `_Refused`."""
    mine = study.of(rater_id).set_index("code")["number"]
    everyone = set(study.assignment["code"])
    answers: dict[str, tuple] = {}
    seconds: dict[str, float] = {}
    for line, row in rows:
        code = row["code"]
        if code not in mine.index:
            whose = "another rater's" if code in everyone else "none of this study's"
            raise _Refused(f"line {line}: code {code!r} is {whose}: it was edited")
        if row["number"] != str(mine[code]):
            raise _Refused(
                f"line {line}: code {code!r} belongs to number {mine[code]}, found "
                f"{row['number']!r}: one of the two was edited"
            )
        answer = _answer(line, row, repairs)
        if answers.setdefault(code, answer) != answer:
            raise _Refused(f"line {line}: a second, different answer for code {code!r}")
        if code in seconds:
            repairs.append(f"line {line}: repeats an earlier line; counted once")
        try:
            seconds[code] = float(row["seconds"])
        except ValueError:
            seconds[code] = float("nan")
            repairs.append(f"line {line}: seconds {row['seconds']!r} is no number; left empty")
    missing = mine.index.difference(list(answers))
    if len(missing):
        numbers = ", ".join(str(n) for n in sorted(mine[missing])[:10])
        what = f"{len(missing)} of {len(mine)} explanations are missing (number {numbers}"
        what += ", …)" if len(missing) > 10 else ")"
        if not partial:
            raise _Refused(f"{what}; ask for the rest, or take what is there (partial)")
        repairs.append(f"{what}; what is there counts")
    return _File(source, rater_id, answers, seconds, repairs)


def _rows(text: str, repairs: list[str]) -> _Rows:
    """The table that a text holds; raises `_Refused`."""
    lines = [re.sub(r"^[>\s]+", "", line) for line in text.lstrip("\ufeff").splitlines()]
    start, delimiter, names = _header(lines)
    if delimiter != ",":
        repairs.append("saved by a spreadsheet with another separator")
    if start:
        repairs.append(f"the table starts at line {start + 1}; what stands above it is left out")
    rows = []
    for number, line in enumerate(lines[start + 1 :], start=start + 2):
        if not line:
            if any(lines[number:]):
                repairs.append(f"what follows the blank line {number} is left out")
            break
        cells = next(csv.reader([line], delimiter=delimiter))
        if len(cells) != len(names):
            raise _Refused(f"line {number}: {len(cells)} cells, the table has {len(names)}")
        rows.append((number, {name: cell.strip() for name, cell in zip(names, cells, strict=True)}))
    if not rows:
        raise _Refused("the table has no answers")
    return rows


def _header(lines: list[str]) -> tuple[int, str, list[str]]:
    """Where the table starts, what separates its cells, and its columns; raises `_Refused`."""
    wanted = sorted([*_FIXED, *DIMENSIONS])
    for start, line in enumerate(lines):
        for delimiter in ",;\t":
            names = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
            if sorted(names) == wanted:
                return start, delimiter, names
    raise _Refused(f"no line with the columns {', '.join([*_FIXED, *DIMENSIONS])}")


def _answer(line: int, row: Mapping[str, str], repairs: list[str]) -> tuple:
    """Ratings in the order of DIMENSIONS, or (reason,) of a skip; raises `_Refused`."""
    given = {dimension: row[dimension] for dimension in DIMENSIONS if row[dimension]}
    if row["skipped"]:
        if given:
            raise _Refused(f"line {line}: both rated and skipped")
        return (row["skipped"],)
    ratings = []
    for dimension in DIMENSIONS:
        if dimension not in given:
            raise _Refused(f"line {line}: no rating of {dimension}, and no reason for skipping")
        as_whole = re.fullmatch(r"(\d+)([.,]0+)?", given[dimension])
        if not as_whole or int(as_whole[1]) not in LIKERT:
            raise _Refused(
                f"line {line}: {dimension} is {given[dimension]!r}, not a whole number from "
                f"{LIKERT[0]} to {LIKERT[-1]}"
            )
        if as_whole[2]:
            repairs.append(f"line {line}: {dimension} {given[dimension]} read as {as_whole[1]}")
        ratings.append(int(as_whole[1]))
    return tuple(ratings)
