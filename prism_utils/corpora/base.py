"""What every corpus is once loaded, and what all sources share; each is read in its own file."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ..errors import InputError
from ..tables import check
from ..tables.columns import first_blank


@dataclass(frozen=True)
class Corpus:
    """Interactions and items of one source (schemas in `tables`).

    `noun` is what an item is called in prompts ("film"); `note` is one line for captions: what
    the corpus is and what in it is simulated.
    """

    name: str
    interactions: pd.DataFrame
    items: pd.DataFrame
    noun: str
    note: str


def folder_of(path: str | Path, wants: str) -> Path:
    """`path` as a folder that exists; the error says what it is wanted for."""
    path = Path(path)
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "no such folder"
        raise InputError(f"{path}: {what}; give the folder that holds {wants}")
    return path


def check_corpus(
    interactions: pd.DataFrame,
    items: pd.DataFrame,
    interactions_at: Callable[[int], str],
    items_at: Callable[[int], str],
) -> None:
    """Check both tables against their schemas, and that every item interacted with is there.

    No id may be blank. `interactions_at` and `items_at` say where row n (from 0) stands: the file
    and the line.
    """
    check(items, "items", at=items_at)
    check(interactions, "interactions", at=interactions_at)
    for frame, at in ((items, items_at), (interactions, interactions_at)):
        for name in frame.columns.intersection(["user_id", "item_id"]):
            blank = first_blank(pa.array(frame[name]))
            if blank is not None:
                raise InputError(f"{at(blank)}: '{name}' is blank; every row needs one")
    unknown = ~interactions["item_id"].isin(items["item_id"]).to_numpy()
    if unknown.any():
        row = int(unknown.argmax())
        raise InputError(
            f"{interactions_at(row)}: item {interactions['item_id'].iloc[row]!r} is not among the "
            "items; add it there or remove the row"
        )


# Signs that a keyboard, a writer and a model spell differently, and a reader does not tell apart.
_ALIKE = str.maketrans(dict.fromkeys("’‘ʼ`´", "'") | dict.fromkeys("‐‑‒–—―−", "-"))


def unique_titles(titles: Sequence[str], years: Sequence[int | None]) -> list[str]:
    """Make each title name one item: a later namesake gets its year, or failing that a number.

    Titles that are alike to the eye are namesakes, whatever their capitals and code points.

    >>> unique_titles(["Sabrina", "Sabrina", "Emma", "Emma"], [1954, 1995, 1996, 1996])
    ['Sabrina', 'Sabrina (1995)', 'Emma', 'Emma (1996)']
    """
    taken: set[str] = set()
    unique = []
    for title, year in zip(titles, years, strict=True):
        dated = title if year is None or pd.isna(year) else f"{title} ({year})"
        numbered = (f"{dated} ({number})" for number in count(2))
        for name in chain((title, dated), numbered):
            plain = name if name.isascii() else unicodedata.normalize("NFKC", name)
            seen = " ".join(plain.casefold().translate(_ALIKE).split())
            if seen not in taken:
                break
        taken.add(seen)
        unique.append(name)
    return unique
