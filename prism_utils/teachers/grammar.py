"""The embedded teacher: a grammar that explains from facts and errs on purpose, with labels.

It stands in for a large model wherever known truth matters more than eloquence: each explanation
says which attribute it leans on, which history titles it cites, and which error, if any, it holds.
What it knows is in `grammar_facts`, how it words it in `grammar_words`. Left out on purpose:
learning and relevance. It picks facts at random, as a fair witness would.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import pandas as pd

from ..errors import InputError, nearest
from ..tables import check
from .grammar_facts import Claim, Facts, pick
from .grammar_words import WORDINGS, Words

ERROR_KINDS = ("title", "attribute", "relation")


class _Asked(NamedTuple):
    """A sample: its source of chance, who asks about which row, and titles that can be cited."""

    rng: Random
    user_id: str
    item: int
    seen: dict[str, frozenset[int]]


class GrammarTeacher:
    """Explain samples from the facts of an items table, with labelled errors (section 4.2's role).

    An explanation names the recommended item by its title, one or two history titles where there
    are any, and one attribute. The attribute is one that item and history share; without one, an
    attribute of the item's own; without that, none. A faithful text names only titles of item and
    history, claims an attribute only of titles that have it, and claims nothing shared that is
    not. A text with an error holds exactly one false claim:

    - `title`: a title foreign to item and history, as if the user had seen it (where possible of
      something that shares an attribute with the item, so that the text looks like any other);
    - `attribute`: a value that the item lacks, where possible one that a history item has;
    - `relation`: the item "is based on" or "was influenced by" a foreign title (Table 4).

    With `systematic` errors the wrong title (the wrong attribute) is the same for the same item,
    unless a history makes it true; whether and which kind of error strikes stays random. A kind
    of error that a sample does not allow (no attribute columns, no foreign title left) gives way
    to another of `error_kinds`; where none is possible the text stays faithful. A wrong title
    never contains, nor is contained in, the title of the item or of any history film.

    Parameters
    ----------
    items : items table; its list columns and the decade of `year` are the kinds of attribute.
    noun : what an item is called in this domain.
    error_rate : probability of an error, 0 to 1.
    error_kinds : the kinds to draw from, with equal chances.
    systematic : whether an item always gets the same wrong title or attribute.
    voice_strength : probability that a user's own kind of attribute (`voice`) is leaned on where
        item and history share one of it; otherwise all shared kinds are equally likely, and the
        user's identity has no influence.
    max_history : how many of the last history items are looked at and cited.
    wording : "first" or "second", two sets of sentence frames with none in common. With the same
        seed both tell the same facts and the same errors, so one paraphrases the other.
    seed : with a sample's id, the only source of chance: order, batches and processes do not
        matter.

    >>> items = pd.DataFrame({"item_id": ["1", "2"], "title": ["Jaws", "Alien"],
    ...                       "genre": [["Horror"], ["Horror"]]})
    >>> samples = pd.DataFrame({"sample_id": ["s1"], "user_id": ["u"], "history": [["1"]],
    ...                         "item_id": ["2"], "split": ["test"]})
    >>> print(GrammarTeacher(items, error_rate=0).explain(samples).text[0])
    Jaws could be the start of a taste for horror films, and Alien carries it on.
    """

    name = "grammar"

    def __init__(
        self,
        items: pd.DataFrame,
        *,
        noun: str = "film",
        error_rate: float = 0.3,
        error_kinds: Sequence[str] = ERROR_KINDS,
        systematic: bool = False,
        voice_strength: float = 0.5,
        max_history: int = 50,
        wording: str = "first",
        seed: int = 0,
    ) -> None:
        for label, share in (("error_rate", error_rate), ("voice_strength", voice_strength)):
            if not 0 <= share <= 1:
                raise InputError(f"{label} must lie between 0 and 1, found {share}")
        if isinstance(error_kinds, str) or (error_rate > 0 and not error_kinds):
            raise InputError(f"error_kinds must be a list of kinds, found {error_kinds!r}")
        for kind in error_kinds:
            if kind not in ERROR_KINDS:
                raise InputError(f"error kind {kind!r} is unknown: {nearest(kind, ERROR_KINDS)}")
        for label, number in (("max_history", max_history), ("seed", seed)):
            if number < 0:
                raise InputError(f"{label} must be 0 or more, found {number}")
        if wording not in WORDINGS:
            raise InputError(f"wording {wording!r} is unknown: {nearest(wording, WORDINGS)}")
        check(items, "items")
        self.noun, self.seed = noun, seed
        self.error_rate, self.error_kinds = error_rate, tuple(error_kinds)
        self.systematic, self.voice_strength = systematic, voice_strength
        self.max_history = max_history
        self._facts = Facts(items)
        self._words = Words(self._facts, noun, wording)
        self.kinds = self._facts.kinds
        self.description: dict[str, Any] = {
            "teacher": self.name,
            "noun": noun,
            "error_rate": error_rate,
            "error_kinds": list(error_kinds),
            "systematic": systematic,
            "voice_strength": voice_strength,
            "max_history": max_history,
            "wording": wording,
            "seed": seed,
            "items": self._facts.digest(),
        }

    def _random(self, *label: str) -> Random:
        text = "\x1f".join((str(self.seed), *label))
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return Random(int.from_bytes(digest, "big"))

    def voice(self, user_id: str) -> str:
        """The kind of attribute that this user's explanations lean on; "" without attributes."""
        return pick(self._random("voice", user_id), self.kinds) if self.kinds else ""

    def explain(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Explanations of samples, in their order.

        Beside sample_id, system and text: error ("", "title", "attribute" or "relation"),
        error_text (the wrong title or attribute as written), kind (of the attribute leaned on,
        "" for none) and cites (the true history titles that the text names). History ids that the
        items table lacks count as titles without attributes. Raises InputError for a recommended
        item that it lacks.
        """
        check(samples, "samples")
        unknown = ~samples["item_id"].isin(self._facts.rows)
        if unknown.any():
            row = int(unknown.to_numpy().argmax())
            raise InputError(
                f"samples: row {row + 1}: item_id {samples['item_id'].iloc[row]!r} is not in the "
                "items table; the grammar teacher explains known items only"
            )
        columns = (samples[c] for c in ("sample_id", "user_id", "history", "item_id"))
        told = [self._explain_one(*sample) for sample in zip(*columns, strict=True)]
        frame = pd.DataFrame(told, columns=["text", "error", "error_text", "kind", "cites"])
        frame.insert(0, "sample_id", samples["sample_id"].to_numpy())
        frame.insert(1, "system", self.name)
        return frame

    def _explain_one(
        self, sample_id: str, user_id: str, history: Sequence[str], item_id: str
    ) -> tuple[str, str, str, str, list[str]]:
        rng, item = self._random("sample", sample_id), self._facts.rows[item_id]
        seen = self._facts.seen(history[max(len(history) - self.max_history, 0) :], item)
        asked, claim = _Asked(rng, user_id, item, seen), None
        if rng.random() < self.error_rate:
            first = int(rng.random() * len(self.error_kinds))
            for error in self.error_kinds[first:] + self.error_kinds[:first]:
                source = self._random(error, item_id) if self.systematic else rng
                if error == "attribute":
                    claim = self._wrong_attribute(asked, source)
                elif (row := self._facts.foreign(source, item, history)) >= 0:
                    claim = self._wrong_mention(asked, error, row)
                if claim:
                    break
        claim = claim or self._faithful(asked)
        text, written = self._words.tell(rng, item, claim)
        wrong = written if claim.error == "attribute" else claim.wrong
        kind = self._facts.values[claim.value][0] if claim.value >= 0 else ""
        return text, claim.error, wrong, kind, claim.cited

    def _faithful(self, asked: _Asked) -> Claim:
        """A value of the item, if it has any, and titles that share it, if there are any."""
        has = self._facts.has[asked.item]
        common = has & frozenset().union(*asked.seen.values())
        pool = sorted(common or has)
        value = self._lean(asked.rng, asked.user_id, pool) if pool else -1
        titles = [title for title, has in asked.seen.items() if not common or value in has]
        cited = _cite(asked.rng, titles)
        return Claim(value, bool(common), cited, cited)

    def _lean(self, rng: Random, user_id: str, pool: list[int]) -> int:
        """One value of `pool`: first its kind, by voice or evenly, then evenly within the kind."""
        values = self._facts.values
        kinds = sorted({values[index][0] for index in pool})
        kind = pick(rng, kinds)
        if rng.random() < self.voice_strength and (voice := self.voice(user_id)) in kinds:
            kind = voice
        return pick(rng, [index for index in pool if values[index][0] == kind])

    def _wrong_mention(self, asked: _Asked, error: str, row: int) -> Claim:
        """A claim that is true but for one mention of the title of `row`."""
        rng, wrong = asked.rng, self._facts.titles[row]
        if error == "relation":
            return self._faithful(asked)._replace(error=error, wrong=wrong)
        value, shared, *_ = self._faithful(asked._replace(seen={wrong: self._facts.has[row]}))
        alike = [title for title, has in asked.seen.items() if (value in has) == shared]
        cited = [pick(rng, alike)] if alike and rng.random() < 0.3 else []
        named = [wrong, *cited] if rng.random() < 0.5 else [*cited, wrong]
        return Claim(value, shared, named, cited, error, wrong)

    def _wrong_attribute(self, asked: _Asked, source: Random) -> Claim | None:
        """A claim that the item has a value that it lacks; None where the catalogue has no such."""
        lacks, by_kind = self._facts.lacks(asked.item), self._facts.by_kind
        if self.systematic:
            kinds = [kind for kind in self.kinds if any(map(lacks, by_kind[kind]))]
            pool = list(filter(lacks, by_kind[pick(source, kinds)])) if kinds else []
            value = pick(source, pool) if pool else -1
        else:
            pool = sorted(filter(lacks, frozenset().union(*asked.seen.values())))
            pool = pool or list(filter(lacks, range(len(self._facts.values))))
            value = self._lean(source, asked.user_id, pool) if pool else -1
        if value < 0:
            return None
        sharing = [title for title, has in asked.seen.items() if value in has]
        cited = _cite(asked.rng, sharing or list(asked.seen))
        return Claim(value, bool(sharing), cited, cited, "attribute")


def _cite(rng: Random, titles: list[str]) -> list[str]:
    """One or two of the titles, none where there are none."""
    cited = [pick(rng, titles)] if titles else []
    if len(titles) > 1 and rng.random() < 0.3:
        cited.append(pick(rng, [title for title in titles if title != cited[0]]))
    return cited
