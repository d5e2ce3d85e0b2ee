"""What the grammar teacher knows: titles, their attributes, and which of them look alike.

A claim is what a text is to say, before it is put into words. Values of all kinds are numbered, so
that sets of numbers stand for attributes. Left out on purpose: what a user would like to hear.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import chain
from random import Random
from typing import NamedTuple, TypeVar

import pandas as pd

from ..wording import attributes, surfaces

T = TypeVar("T")


class Claim(NamedTuple):
    """What is said of an item: a value, and titles of the history that share it or do not."""

    value: int  # the number of the attribute leaned on, -1 for none
    shared: bool  # whether the named titles are said to have it too
    named: list[str]  # titles of the history, as the text will have it
    cited: list[str]  # those of them that are true
    error: str = ""  # "title", "attribute", "relation", or none
    wrong: str = ""  # the foreign title of a wrong title or relation


class Facts:
    """The titles of an items table (`titles`), and the values of item row r (`has[r]`)."""

    def __init__(self, items: pd.DataFrame) -> None:
        # By id, so that draws do not depend on the order of rows.
        items = items.sort_values("item_id", ignore_index=True)
        self.titles: list[str] = items["title"].tolist()
        self.rows = {item: row for row, item in enumerate(items["item_id"])}
        columns = attributes(items)
        self.values: list[tuple[str, str]] = [
            (kind, value)
            for kind in sorted(columns)
            for value in sorted({value for row in columns[kind] for value in row})
        ]
        number = {pair: index for index, pair in enumerate(self.values)}
        self.by_kind: dict[str, list[int]] = {}
        for (kind, _), index in number.items():
            self.by_kind.setdefault(kind, []).append(index)
        self.kinds = list(self.by_kind)
        self.has = [
            frozenset({number[kind, value] for kind in self.kinds for value in columns[kind][row]})
            for row in range(len(self.titles))
        ]
        self._title_keys = [as_words(title) for title in self.titles]
        self._value_keys = [as_words(surfaces(*pair)[0]) for pair in self.values]

    def digest(self) -> str:
        """Tells one table of items from another."""
        facts = repr([self.titles, list(self.rows), self.values, self.has])
        return hashlib.blake2b(facts.encode(), digest_size=8).hexdigest()

    def seen(self, history: Sequence[str], item: int) -> dict[str, frozenset[int]]:
        """What can be cited: title -> values, each title once, never the item's own."""
        seen: dict[str, frozenset[int]] = {}
        for past in history:
            row = self.rows.get(past, -1)
            seen[past if row < 0 else self.titles[row]] = self.has[row] if row >= 0 else frozenset()
        seen.pop(self.titles[item], None)
        return seen

    def lacks(self, item: int) -> Callable[[int], bool]:
        """Whether a value cannot be taken for one of the item's, or for its title."""
        own = [self._value_keys[index] for index in self.has[item]] + [self._title_keys[item]]
        return lambda index: not _alike(self._value_keys[index], own)

    def foreign(self, rng: Random, item: int, history: Sequence[str]) -> int:
        """An item whose title cannot be taken for that of `item` or of anything in the history.

        One that shares a value with `item` is preferred, so that the text reads like any other;
        -1 where no title is foreign.
        """
        known = [
            self._title_keys[self.rows[past]] if past in self.rows else as_words(past)
            for past in history
        ]
        known.append(self._title_keys[item])
        size = len(self.titles)
        draws = [int(rng.random() * size) for _ in range(8)]
        foreign = -1
        # A few draws nearly always do; small catalogues are then searched from the last draw on.
        for tried, row in enumerate(chain(draws, range(draws[-1] + 1, size), range(draws[-1]))):
            if tried >= len(draws) and foreign >= 0:
                break
            if not _alike(self._title_keys[row], known):
                if self.has[row] & self.has[item]:
                    return row
                foreign = row if foreign < 0 else foreign
        return foreign


def pick(rng: Random, choices: Sequence[T]) -> T:
    """One of `choices`; plainer and faster than Random.choice, and the same on every version."""
    return choices[int(rng.random() * len(choices))]


def as_words(text: str) -> str:
    """Words in lower case between blanks, so that `in` compares whole words.

    >>> as_words("Star Wars: Episode IV"), as_words("$")
    (' star wars episode iv ', ' $ ')
    """
    words = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
    return f" {' '.join(words) or text} "


def _alike(key: str, others: Sequence[str]) -> bool:
    """Whether these words stand in any of the others, or any of them in these."""
    return any(key in other or other in key for other in others)
