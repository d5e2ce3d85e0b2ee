"""The floor that cannot invent: one sentence made of what item and history have in common.

It reads the catalogue and learns nothing. Left out on purpose: any weighting of items or
attributes, and any claim that the receipts of `metrics.receipts` would not support.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..errors import InputError
from ..files import check_parquet, write_json, write_parquet
from ..metrics.receipts import Auditor
from ..tables import read_table
from ..wording import attributes, listed, predicate, verbs
from .floors import _AGAIN, _facts, _shown
from .saved import withdraw
from .system import BaseSystem, Job

_KINDS = 3  # kinds of attribute in a sentence, at most: the catalogue's first
_VALUES = 2  # values of a kind


class Told(NamedTuple):
    """A sentence, the history item that it cites ("" for none) and how many values they share."""

    text: str
    cites: str
    shared: int


class FactsTemplate:
    """Sentences of facts from one catalogue; a text that its own audit refuses is not written."""

    def __init__(self, auditor: Auditor, items: pd.DataFrame, noun: str = "film") -> None:
        self._auditor, self._noun, self._past = auditor, noun, verbs(noun)[0]
        kinds = attributes(items)
        self._titles = dict(zip(items["item_id"], items["title"], strict=True))
        self._values = {
            item: [(kind, value) for kind, column in kinds.items() for value in column[row]]
            for row, item in enumerate(items["item_id"])
        }

    def tell(self, history: Sequence[str], item: str) -> Told:
        """One sentence for an item and a history, ids or titles as the auditor takes them.

        It cites the history item that shares most values with the item (of several the latest) and
        names what they share; where nothing is shared it names what the item has, and where the
        catalogue knows nothing its title.
        """
        for told in self._sentences(history, item):
            if self._auditor.audit(told.text, history, item).supported:
                return told
        return told

    def _sentences(self, history: Sequence[str], item: str) -> Iterator[Told]:
        """Sentences from the one that says most to the bare title."""
        item = self._auditor.id_of(item)
        title = self._titles.get(item, item)
        own = self._values.get(item, [])
        best: tuple[str, list[tuple[str, str]]] = "", []
        for past in map(self._auditor.id_of, reversed(history)):
            theirs = set(self._values.get(past, ()))
            common = [pair for pair in own if pair in theirs]
            if len(common) > len(best[1]) and self._titles[past] != title:
                best = past, common
        cites, common = best
        for kinds in range(_KINDS, 0, -1):
            if common:
                opening = f"Like {self._titles[cites]}, which you {self._past}, {title}"
                yield Told(f"{opening} {self._said(common, kinds)}", cites, len(common))
        for kinds in range(_KINDS, 0, -1):
            if own:
                yield Told(f"We suggest {title}: it {self._said(own, kinds)}", "", 0)
        yield Told(_ended(f"We suggest {title}"), "", 0)
        yield Told(title, "", 0)

    def _said(self, pairs: list[tuple[str, str]], most: int) -> str:
        """What has these values, in words: at most so many kinds."""
        kinds = list(dict.fromkeys(kind for kind, _ in pairs))[:most]
        of = {kind: [value for other, value in pairs if other == kind] for kind in kinds}
        said = listed([predicate(kind, of[kind][:_VALUES], self._noun) for kind in kinds])
        return _ended(said)


def _ended(sentence: str) -> str:
    """With a full stop, unless its last name brings one."""
    return sentence if sentence[-1] in ".!?" else f"{sentence}."


class FactsFloor(BaseSystem):
    """`FactsTemplate` as a system: it needs the catalogue and no training sample."""

    def __init__(self, items: pd.DataFrame, *, noun: str, max_history: int, name: str) -> None:
        self.items, self.noun, self.max_history, self.name = items, noun, max_history, name
        self._template = FactsTemplate(Auditor(items, noun), items, noun)

    def _tell(self, samples: pd.DataFrame) -> dict[str, Any]:
        """Texts; cites: the history item that is named, "" for none; shared: values in common."""
        asked = zip(samples["history"], samples["item_id"], strict=True)
        told = [self._template.tell(_shown(past, self.max_history), item) for past, item in asked]
        return {name: [getattr(one, name) for one in told] for name in Told._fields}

    @classmethod
    def fit(cls, job: Job) -> FactsFloor:
        """Keep the catalogue; see `students.fit`. Nothing in it is learnt or random."""
        settings = job.settings
        floor = cls(job.items, noun=settings.noun, max_history=settings.max_history, name=job.name)
        withdraw(job.folder)
        floor.save(job.folder)
        return floor

    def save(self, folder: Path) -> None:
        write_parquet(self.items, folder / "items.parquet")
        facts = {"max_history": self.max_history, "noun": self.noun}
        write_json(facts, folder / "facts.json", sealed=True)

    @classmethod
    def load(cls, folder: Path, *, name: str) -> FactsFloor:
        shown, facts = _facts(folder / "facts.json")
        noun = facts.get("noun")
        if not isinstance(noun, str) or not noun.strip():
            raise InputError(f"{folder / 'facts.json'}: names no noun; {_AGAIN}")
        check_parquet(folder / "items.parquet", _AGAIN)
        items = read_table(folder / "items.parquet", "items")
        return cls(items, noun=noun, max_history=shown, name=name)
