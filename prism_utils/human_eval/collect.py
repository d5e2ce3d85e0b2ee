"""What raters send back, checked against the key and turned into the ratings table.

Each file is taken, repaired or refused as a whole, and the report names why. Left out on purpose:
guessing. A rating of 6 or an edited code is never mended, since only the rater knows what was
meant; what mail programs and spreadsheets do to a file without touching an answer is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..errors import InputError
from ..tables import check
from .agreement import LIKERT
from .answers import Refused, Rows, files_in, read_text, rows_of
from .checks import kind, plain, printable, short
from .key import Study
from .simulation import DIMENSIONS

# What the form's `defuse` put before what a spreadsheet would run; taken away again.
_FORMULA = re.compile(r"(^|[,;]\s*)'('*[=+\-@＝＋－＠])")


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


@dataclass
class _File:
    source: str
    rater_id: str
    answers: dict[str, tuple]  # code -> ratings in the order of DIMENSIONS, or (reason,)
    seconds: dict[str, float]
    repairs: list[str]


def collect(paths: Iterable[str | Path], study: Study, *, partial: bool = False) -> Collected:
    """Read the files (or all .csv, .tsv and .txt of a folder) that raters sent back for `study`.

    A file that misses explanations is refused, unless `partial`: then what is there counts, and
    the report says what is missing. Of two files of one rater, one counts if they agree or one
    only continues the other; if they contradict each other, both are refused. What else lies in a
    folder, such as a spreadsheet or another folder, is refused by name; one bad file stops none.
    Raises `InputError` where a path is not there, or a folder holds nothing.
    """
    texts: dict[str, str] = {}
    refused: dict[str, str] = {}
    for path in map(Path, paths):
        found = kind(path) == "folder"
        if not kind(path):
            raise InputError(f"{path}: no such file")
        for file in files_in(path) if found else [path]:
            try:
                texts[printable(str(file))] = read_text(file, found=found)
            except Refused as refusal:
                refused[printable(str(file))] = str(refusal)
    return collect_texts(texts, study, partial=partial, refused=refused)


def collect_texts(
    texts: Mapping[str, str],
    study: Study,
    *,
    partial: bool = False,
    refused: Mapping[str, str] | None = None,
) -> Collected:
    """`collect` for texts at hand: where each is from -> what it says.

    `refused` (where from -> why) are what could not be read as text, for the report.
    """
    report = [(source, "", "refused", why) for source, why in (refused or {}).items()]
    taken: dict[str, _File] = {}
    contested: set[str] = set()
    for source, text in texts.items():
        rater_id = ""
        try:
            repairs: list[str] = []
            rows = rows_of(plain(text), repairs)
            rater_id = _rater(rows, study)
            file = _check(source, rater_id, rows, study, repairs, partial)
            _settle(file, taken, contested, report)
        except Refused as refusal:
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


def _rater(rows: Rows, study: Study) -> str:
    """Whose answers these are; raises `Refused` for a foreign study and unclear raters."""
    studies = sorted({row["study"] for _, row in rows})
    if studies != [study.name]:
        found = ", ".join(map(short, studies[:5]))
        raise Refused(f"of study {found}, not of '{study.name}'")
    raters = sorted({row["rater_id"] for _, row in rows})
    if len(raters) > 1:
        found = ", ".join(short(rater)[1:-1] for rater in raters[:5])
        raise Refused(f"answers of several raters ({found}); one file is one rater's")
    if raters[0] not in study.raters:
        raise Refused(f"rater {short(raters[0])} is none of study '{study.name}'")
    return raters[0]


def _check(
    source: str, rater_id: str, rows: Rows, study: Study, repairs: list[str], partial: bool
) -> _File:
    """One rater's rows against the key; raises `Refused`."""
    mine = study.of(rater_id).set_index("code")["number"]
    everyone = set(study.assignment["code"])
    answers: dict[str, tuple] = {}
    seconds: dict[str, float] = {}
    for line, row in rows:
        code = row["code"]
        if code not in mine.index:
            whose = "another rater's" if code in everyone else "none of this study's"
            raise Refused(f"line {line}: code {short(code)} is {whose}: it was edited")
        if _whole(row["number"]) != mine[code]:
            raise Refused(
                f"line {line}: code {code!r} belongs to number {mine[code]}, found "
                f"{short(row['number'])}: one of the two was edited"
            )
        answer = _answer(line, row, repairs)
        if answers.setdefault(code, answer) != answer:
            raise Refused(f"line {line}: a second, different answer for code {code!r}")
        if code in seconds:
            repairs.append(f"line {line}: repeats an earlier line; counted once")
        given = re.fullmatch(r"[0-9]{1,9}([.,][0-9]+)?", row["seconds"])
        seconds[code] = float(given[0].replace(",", ".")) if given else float("nan")
        if not given:
            found = short(row["seconds"])
            repairs.append(f"line {line}: seconds {found} is no number of seconds; left empty")
    missing = mine.index.difference(list(answers))
    if len(missing):
        numbers = ", ".join(str(n) for n in sorted(mine[missing])[:10])
        what = f"{len(missing)} of {len(mine)} explanations are missing (number {numbers}"
        what += ", …)" if len(missing) > 10 else ")"
        if not partial:
            raise Refused(f"{what}; ask for the rest, or take what is there (partial)")
        repairs.append(f"{what}; what is there counts")
    return _File(source, rater_id, answers, seconds, repairs)


def _answer(line: int, row: Mapping[str, str], repairs: list[str]) -> tuple:
    """Ratings in the order of DIMENSIONS, or (reason,) of a skip; raises `Refused`."""
    given = {dimension: row[dimension] for dimension in DIMENSIONS if row[dimension]}
    if row["skipped"]:
        if given:
            raise Refused(f"line {line}: both rated and skipped")
        return (_FORMULA.sub(r"\1\2", row["skipped"]),)
    ratings = []
    for dimension in DIMENSIONS:
        if dimension not in given:
            raise Refused(f"line {line}: no rating of {dimension}, and no reason for skipping")
        rating = _whole(given[dimension])
        if rating not in LIKERT:
            raise Refused(
                f"line {line}: {dimension} is {short(given[dimension])}, not a whole number from "
                f"{LIKERT[0]} to {LIKERT[-1]}"
            )
        if given[dimension] != str(rating):
            repairs.append(f"line {line}: {dimension} {given[dimension]} read as {rating}")
        ratings.append(rating)
    return tuple(ratings)


def _whole(cell: str) -> int | None:
    """The whole number in a cell, which a spreadsheet may have given decimals; None for another."""
    found = re.fullmatch(r"([0-9]{1,9})([.,]0+)?", cell)
    return int(found[1]) if found else None
