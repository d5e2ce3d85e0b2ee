"""Explanations that somebody already has, as a teacher: a file, looked up by key.

Also turns such a file into samples, for sources that publish profiles in the place of histories
(XRec's Yelp file), and holds samples out. Left out: guessing what a column means, filling gaps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError, nearest
from ..prompts import well_formed
from ..tables import check
from ..tables.reading import File, read_file


def _keys(file: File) -> tuple[list[str], list[tuple[str, ...]]]:
    """The columns by which a file's records are looked up, and each record's key."""
    columns = ["sample_id"] if "sample_id" in file.columns else ["user_id", "item_id"]
    keys = (file.column(name).ids().to_pylist() for name in columns)
    return columns, list(zip(*keys, strict=True))


def _sample_ids(file: File) -> list[str]:
    """What the samples of a file are called; two pairs of ids must not get one name."""
    columns, keys = _keys(file)
    pairs: dict[str, tuple[str, ...]] = {}
    for row, key in enumerate(keys):
        earlier = pairs.setdefault("-".join(key), key)
        if earlier != key:
            shown = " and ".join(f"{c} {k!r}" for c, k in zip(columns, key, strict=True))
            raise InputError(
                f"{file.at(row)}: {shown} would be called {'-'.join(key)!r}, as another pair of "
                "user_id and item_id is already; give the records a sample_id"
            )
    return ["-".join(key) for key in keys]


class RecordedTeacher:
    """Give out recorded explanations.

    Parameters
    ----------
    path : JSON lines, Parquet or CSV, by its ending. Each record has a `sample_id`, or else a
        `user_id` and an `item_id`, and its text.
    text_column : the column of the text.
    name : the system's name in the explanations table.

    Raises InputError, with the line or row, for a malformed record, a missing column, a text that
    is none, a key that stands twice; and for a sample without a recorded explanation.
    """

    def __init__(
        self, path: str | Path, *, text_column: str = "explanation", name: str = "recorded"
    ) -> None:
        if not name.strip() or well_formed(name) != name:
            raise InputError(f"name {name!r} cannot name a system; take a plain word")
        self.name = name
        self.path = Path(path)
        file = read_file(path)
        self._columns, keys = _keys(file)
        texts = file.column(text_column).texts().to_pylist()
        self._texts: dict[tuple[str, ...], str] = {}
        for row, (key, text) in enumerate(zip(keys, texts, strict=True)):
            if key in self._texts:
                raise InputError(f"{file.at(row)}: a second explanation for {', '.join(key)}")
            self._texts[key] = text
        # by content: a file that is corrected at its place is another teacher
        told = "\x1f".join(chain(*keys, texts)).encode()
        self.description: dict[str, Any] = {
            "teacher": "recorded",
            "name": name,
            "file": self.path.name,
            "text_column": text_column,
            "explanations": len(self._texts),
            "content": hashlib.blake2b(told, digest_size=8).hexdigest(),
        }

    def explain(self, samples: pd.DataFrame) -> pd.DataFrame:
        """The recorded explanations of samples, in their order: sample_id, system, text."""
        check(samples, "samples")
        columns = self._columns
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
    file = read_file(path)
    if not file.size:
        raise InputError(f"{path}: holds no records")
    ids = {name: file.column(name).ids().to_pylist() for name in ("user_id", "item_id")}
    inputs = (file.column(name).texts().to_pylist() for name in input_columns)
    samples = pd.DataFrame(
        {
            "sample_id": _sample_ids(file),
            "user_id": ids["user_id"],
            "history": [[] for _ in range(file.size)],
            "item_id": ids["item_id"],
            "split": split,
            "input_text": [" ".join(parts) for parts in zip(*inputs, strict=True)],
        }
    )
    _refuse_second(samples["sample_id"], file)
    items = samples[["item_id"]].assign(title=samples["item_id"])
    if "title" in file.columns:
        given = file.column("title").texts(nullable=True).to_pandas()
        items["title"] = given.fillna(items["title"])
    check(items.assign(item_id=samples["sample_id"]), "items", at=file.at)  # for blank titles
    other = items["title"] != items.groupby("item_id")["title"].transform("first")
    if other.any():
        row = int(other.to_numpy().argmax())
        item, title = items.iloc[row]
        raise InputError(f"{file.at(row)}: item {item!r} is {title!r} here and not so before")
    return samples, items.drop_duplicates("item_id", ignore_index=True)


def _refuse_second(sample_ids: pd.Series, file: File) -> None:
    twice = sample_ids.duplicated()
    if twice.any():
        row = int(twice.to_numpy().argmax())
        at = file.at(int(sample_ids.index[row]))
        raise InputError(f"{at}: a second record for {sample_ids.iloc[row]}")


def read_texts(path: str | Path, column: str, system: str) -> pd.DataFrame:
    """The explanations that a file holds in `column`: sample_id, system, text.

    A record without the column is left out: XRec's file has predictions for a part of its pairs.
    A sample is called as in `read_samples`, or by its place, counted from 1, where the records
    have no ids. Raises InputError with the line or row of a malformed record or a repeated sample,
    and for a column that no record has.
    """
    file = read_file(path)
    known = file.columns.get(column)
    texts = known.texts(nullable=True).to_pandas() if known else pd.Series([None] * file.size)
    texts = texts.dropna()
    if not len(texts):
        others = [name for name in file.columns if name != column]
        hint = nearest(column, others) if others else "it has no other"
        raise InputError(f"{path}: no record has column {column!r}; {hint}")
    if {"sample_id", "user_id", "item_id"} & set(file.columns):
        names = pd.Series(_sample_ids(file))
    else:
        names = pd.Series([str(number) for number in range(1, file.size + 1)])
    names = names[texts.index]
    _refuse_second(names, file)
    return pd.DataFrame({"sample_id": names.tolist(), "system": system, "text": texts.tolist()})


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
    if seed < 0:
        raise InputError(f"seed must be 0 or more, found {seed}")
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
