"""Explanations that somebody already has, as a teacher: JSON lines or Parquet, looked up by key.

Also turns such a file into samples, for sources that publish profiles in the place of histories
(XRec's Yelp file), and holds samples out. Left out: guessing what a column means, filling gaps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError, nearest
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
            "content": hashlib.sha256(json.dumps(list(self._texts.items())).encode()).hexdigest(),
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


def read_texts(path: str | Path, column: str, system: str) -> pd.DataFrame:
    """The explanations that a file holds in `column`: sample_id, system, text.

    A record without the column is left out: XRec's file has predictions for a part of its pairs.
    A sample is called as in `read_samples`, or by its place, counted from 1, where a record has no
    ids. Raises InputError with the line or row of a malformed record or a repeated sample, and for
    a column that no record has.
    """
    texts: dict[str, str] = {}
    columns: dict[str, None] = {}
    for number, (where, record) in enumerate(_records(Path(path)), start=1):
        columns.update(dict.fromkeys(record))
        value = record.get(column)
        if value is None or (isinstance(value, float) and np.isnan(value)):
            continue  # Parquet has an empty cell where JSON has no key
        named = "sample_id" in record or "user_id" in record or "item_id" in record
        sample = "-".join(_key(where, record)) if named else str(number)
        if sample in texts:
            raise InputError(f"{where}: a second record for {sample}")
        texts[sample] = _text(where, record, column)
    if not texts:
        raise InputError(f"{path}: no record has column {column!r}; {nearest(column, columns)}")
    return pd.DataFrame({"sample_id": list(texts), "system": system, "text": list(texts.values())})


def hold_out(
    samples: pd.DataFrame, eligible: Sequence[str], size: int, *, by: str, seed: int = 0
) -> pd.DataFrame:
    """`samples` with `split` "test" for about `size` of the `eligible` sample ids, else "train".

    by="sample" draws `size` samples. by="user" draws users, as many as it takes to reach `size`
    eligible samples, and holds out all of theirs; what else these users have is dropped, so that
    no user of the test split is in training. Raises InputError for an unknown `by`, an eligible id
    that is no sample, and a `size` that leaves nothing to test or to train on.

    >>> samples = pd.DataFrame({"sample_id": list("abcd"), "user_id": list("uuvw"),
    ...                         "history": [[]] * 4, "item_id": list("ijij"), "split": "test"})
    >>> held = hold_out(samples, ["a"], 1, by="user")
    >>> dict(zip(held["sample_id"], held["split"]))
    {'a': 'test', 'c': 'train', 'd': 'train'}
    """
    if by not in ("user", "sample"):
        raise InputError(f"by: {by!r} is unknown; {nearest(by, ('user', 'sample'))}")
    check(samples, "samples")
    unknown = set(eligible) - set(samples["sample_id"])
    if unknown:
        raise InputError(f"eligible: {sorted(unknown)[0]!r} is no sample_id of the samples")
    may = samples["sample_id"].isin(eligible).to_numpy()
    if not 0 < size <= may.sum():
        raise InputError(f"size must be in 1..{may.sum()}, the eligible samples; found {size}")
    rng = np.random.default_rng(seed)
    if by == "sample":
        places = rng.choice(np.flatnonzero(may), size, replace=False)
        drawn = np.isin(np.arange(len(samples)), places)
        made = samples.assign(split=np.where(drawn, "test", "train"))
    else:
        counts = samples.loc[may, "user_id"].value_counts(sort=False).sort_index()
        counts = counts.iloc[rng.permutation(len(counts))]
        users = counts.index[: int((counts.cumsum() < size).sum()) + 1]
        theirs = samples["user_id"].isin(users).to_numpy()
        made = samples.assign(split=np.where(theirs, "test", "train"))[may | ~theirs]
    if not (made["split"] == "train").any():
        raise InputError(f"size={size} by {by} leaves no sample to train on: hold out fewer")
    return made.reset_index(drop=True)
