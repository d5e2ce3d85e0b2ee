"""Explanations that somebody already has, as a teacher: JSON lines or Parquet, looked up by key.

Also turns such a file into samples, for sources that publish profiles in the place of histories
(XRec's Yelp file). Left out on purpose: guessing what a column means, and filling gaps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from ..tables import check


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each record of a file with the place where it stands, for messages."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".parquet":
        try:
            rows = pd.read_parquet(path).to_dict("records")
        except Exception as error:  # pyarrow raises several unrelated types for a broken file
            raise InputError(f"{path}: not a readable Parquet file ({error})") from error
        for number, row in enumerate(rows, start=1):
            yield f"{path}: row {number}", {str(name): value for name, value in row.items()}
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}: line {number}"
            try:
                record = json.loads(line)
            except ValueError as error:
                raise InputError(f"{where}: not valid JSON ({error})") from error
            if not isinstance(record, dict):
                raise InputError(f"{where}: must be a JSON object, found {type(record).__name__}")
            yield where, record


def _text(where: str, record: dict[str, Any], column: str, *, is_id: bool = False) -> str:
    if column not in record:
        have = ", ".join(record) or "none"
        raise InputError(f"{where}: column {column!r} is missing (columns: {have})")
    value = record[column]
    if is_id and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: {column!r} must be text, found {value!r}")
    return value


def _key(where: str, record: dict[str, Any]) -> tuple[str, ...]:
    if "sample_id" in record:
        return (_text(where, record, "sample_id", is_id=True),)
    return tuple(_text(where, record, column, is_id=True) for column in ("user_id", "item_id"))


class RecordedTeacher:
    """Give out recorded explanations.

    Parameters
    ----------
    path : JSON lines, or Parquet where the name ends in `.parquet`. Each record has a `sample_id`,
        or else a `user_id` and an `item_id`, and its text.
    text_column : the column of the text.
    name : the system's name in the explanations table.

    Raises InputError, with the line or row, for a malformed record, a missing column, a text that
    is none, a key that stands twice; and for a sample without a recorded explanation.
    """

    def __init__(
        self, path: str | Path, *, text_column: str = "explanation", name: str = "recorded"
    ) -> None:
        self.name = name
        self.path = Path(path)
        self._texts: dict[tuple[str, ...], str] = {}
        for where, record in _records(self.path):
            key = _key(where, record)
            if key in self._texts:
                raise InputError(f"{where}: a second explanation for {', '.join(key)}")
            self._texts[key] = _text(where, record, text_column)
        self.description: dict[str, Any] = {
            "teacher": "recorded",
            "name": name,
            "file": self.path.name,
            "text_column": text_column,
            "explanations": len(self._texts),
        }

    def explain(self, samples: pd.DataFrame) -> pd.DataFrame:
        """The recorded explanations of samples, in their order: sample_id, system, text."""
        check(samples, "samples")
        by_sample = len(next(iter(self._texts), ("",))) == 1
        columns = ["sample_id"] if by_sample else ["user_id", "item_id"]
        keys = list(zip(*(samples[column] for column in columns), strict=True))
        missing = [key for key in keys if key not in self._texts]
        if missing:
            raise InputError(
                f"{self.path}: no explanation for {len(missing)} of {len(keys)} samples, "
                f"the first being {' '.join(columns)} {', '.join(missing[0])}"
            )
        return pd.DataFrame(
            {
                "sample_id": samples["sample_id"].to_numpy(),
                "system": self.name,
                "text": [self._texts[key] for key in keys],
            }
        )


def read_samples(
    path: str | Path,
    *,
    input_columns: Sequence[str] = ("user_profile", "item_profile"),
    split: str = "test",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Samples and items of a file of recorded explanations: (samples, items).

    Histories are empty; `input_text` joins the `input_columns` (for XRec the profiles of user and
    item). A record without `sample_id` is called "<user_id>-<item_id>"; an item without `title` is
    called by its id. Raises InputError with the line or row of a malformed or repeated record.
    """
    samples: dict[str, dict[str, Any]] = {}
    titles: dict[str, str] = {}
    for where, record in _records(Path(path)):
        user, item = (_text(where, record, c, is_id=True) for c in ("user_id", "item_id"))
        sample = _text(where, record, "sample_id", is_id=True) if "sample_id" in record else ""
        sample = sample or f"{user}-{item}"
        if sample in samples:
            raise InputError(f"{where}: a second record for {sample}")
        samples[sample] = {
            "sample_id": sample,
            "user_id": user,
            "history": [],
            "item_id": item,
            "split": split,
            "input_text": " ".join(_text(where, record, column) for column in input_columns),
        }
        titles.setdefault(item, _text(where, record, "title") if "title" in record else item)
    if not samples:
        raise InputError(f"{path}: holds no records")
    items = pd.DataFrame({"item_id": list(titles), "title": list(titles.values())})
    return pd.DataFrame(list(samples.values())), items
