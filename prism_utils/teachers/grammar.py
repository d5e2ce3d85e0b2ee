"""The embedded teacher: a grammar that explains from facts and errs on purpose, with labels.

It stands in for a large model wherever known truth matters more than eloquence: each explanation
says which attribute it leans on, which history titles it cites, and which error, if any, it holds.
Left out on purpose: learning and relevance. It picks facts at random, as a fair witness would.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain
from random import Random
from typing import Any, TypeVar

import pandas as pd

from ..errors import InputError, nearest
from ..tables import check
from ..wording import article, attributes, plural, surfaces, verbs

T = TypeVar("T")
ERROR_KINDS = ("title", "attribute", "relation")

# How an attribute is said, by kind and role. {v} value, {g} a genre's noun phrase ("action film",
# "comedy"), {gs} its plural, {a} its article, {n} and {ns} the domain's noun, {an} its article.
#   np: what the item is          another: the same, in company     plural: things of this sort
#   vp: what the item does        also: the same, in company        both: what several do
_PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "genre": {
        "np": ("{a} {g}",),
        "another": ("another {g}", "one more {g}"),
        "plural": ("{gs}",),
        "vp": ("is {a} {g}", "is {a} {g} at heart"),
        "also": ("is also {a} {g}", "is {a} {g} too"),
        "both": ("are {gs}",),
    },
    "director": {
        "np": ("{an} {n} directed by {v}", "{an} {n} by director {v}"),
        "another": ("another {n} directed by {v}", "another {n} by director {v}"),
        "plural": ("{ns} directed by {v}", "{ns} by director {v}"),
        "vp": ("was directed by {v}", "has {v} as its director"),
        "also": ("was also directed by {v}", "comes from the same director, {v}"),
        "both": ("were directed by {v}", "have {v} as their director"),
    },
    "actor": {
        "np": ("{an} {n} starring {v}", "{an} {n} with {v} in the cast"),
        "another": ("another {n} starring {v}", "another {n} with {v} in the cast"),
        "plural": ("{ns} starring {v}", "{ns} with {v} in the cast"),
        "vp": ("stars {v}", "has {v} in the cast"),
        "also": ("also stars {v}", "has {v} in the cast as well"),
        "both": ("star {v}", "have {v} in the cast"),
    },
    # Themes may be nouns ("heists") or free tags ("funny"), so they are named, not declined.
    "theme": {
        "np": ("{an} {n} whose themes include {v}", "{an} {n} with {v} as a theme"),
        "another": ("another {n} whose themes include {v}", "another {n} with {v} as a theme"),
        "plural": ("{ns} whose themes include {v}", "{ns} with {v} as a theme"),
        "vp": ("has {v} among its themes", "takes {v} as a theme"),
        "also": ("also has {v} among its themes", "takes {v} as a theme too"),
        "both": ("have {v} among their themes", "share {v} as a theme"),
    },
    "category": {
        "np": ("{an} {n} listed under {v}", "{an} {n} in the {v} category"),
        "another": ("another {n} listed under {v}", "another {n} in the {v} category"),
        "plural": ("{ns} listed under {v}", "{ns} in the {v} category"),
        "vp": ("is listed under {v}", "belongs to the {v} category"),
        "also": ("is also listed under {v}", "belongs to the {v} category too"),
        "both": ("are listed under {v}", "belong to the {v} category"),
    },
    "author": {
        "np": ("{an} {n} by {v}", "{an} {n} written by {v}"),
        "another": ("another {n} by {v}", "another {n} written by {v}"),
        "plural": ("{ns} by {v}", "{ns} written by {v}"),
        "vp": ("was written by {v}", "comes from the pen of {v}"),
        "also": ("was also written by {v}", "comes from the same author, {v}"),
        "both": ("were written by {v}", "come from the pen of {v}"),
    },
    "decade": {
        "np": ("{an} {n} from the {v}", "{an} {n} that dates from the {v}"),
        "another": ("another {n} from the {v}", "one more {n} from the {v}"),
        "plural": ("{ns} from the {v}", "{ns} of the {v}"),
        "vp": ("dates from the {v}", "came out in the {v}"),
        "also": ("also dates from the {v}", "came out in the {v} too"),
        "both": ("date from the {v}", "came out in the {v}"),
    },
}
_ANY_KIND = {
    "np": ("{an} {n} with {v} as its {kind}", "{an} {n} whose {kind} is {v}"),
    "another": ("another {n} with {v} as its {kind}", "another {n} whose {kind} is {v}"),
    "plural": ("{ns} with {v} as their {kind}", "{ns} whose {kind} is {v}"),
    "vp": ("has {v} as its {kind}", "names {v} as its {kind}"),
    "also": ("also has {v} as its {kind}", "has {v} as its {kind} too"),
    "both": ("have {v} as their {kind}", "share {v} as their {kind}"),
}

# Frames name {i} the item, {h} one or two history titles, {w} a wrong title; {past}, {part} and
# {base} are forms of the domain's verb. No sentence opens with a word that is a title ("It").
_SHARED = (  # item and cited titles share the attribute
    "Because you {past} {h}, you may well enjoy {i}, {another}.",
    "Like {h}, which you {past}, {i} {vp}.",
    "You have {part} {h}, and {i} {also}.",
    "{h} could be the start of a taste for {plural}, and {i} carries it on.",
    "After {h}, a natural next choice for you is {i}, {another}.",
    "Coming after {h}, {i} should appeal to you as {another}.",
    "If you enjoyed {h}, then {i} is a good one to {base} next: {another}.",
    "Judging by {h}, you have an eye for {plural}, and {i} fits in well.",
    "{i} has this in common with {h} from your history: {all} {both}.",
    "We picked {i} for you because, like {h}, it {vp}.",
    "There is a clear line from {h} to {i}: {all} {both}.",
    "You already know {h}, so you will see what {i} offers: it {also}.",
    "Having {part} {h}, you could go on with {i}, which {also}.",
    "{i} {vp}, and so it sits well beside {h} in your history.",
    "Among the {ns} you {past} we find {h}, and {i} {also}.",
    "For more {plural} in the vein of {h}, {i} is easy to suggest.",
)
_OWN = (  # the item has the attribute, the cited titles do not
    "After {h}, {i} would make a change: {np}.",
    "You have {part} {h}, and {i} takes you somewhere else as {np}.",
    "For something different from {h}, you could turn to {i}, {np}.",
    "Your history includes {h}, and {i} adds {np} to it.",
    "{i} {vp}, which would be a fresh direction after {h}.",
    "Having {part} {h}, you might like a new direction: {i}, {np}.",
)
_PLAIN = (  # nothing is known about the item but its title
    "You have {part} {h}, and {i} could be a good {n} to {base} next.",
    "With {h} in your history, {i} may be worth a closer look.",
    "After {h}, you could go on with {i} and see how you like it.",
    "Since you {past} {h}, {i} may be {an} {n} to keep in mind.",
)
_ALONE = (  # no history
    "{i} {vp}, and it could be a good place to start.",
    "As a first choice you could go for {i}, {np}.",
    "A good first choice for you may be {i}, {np}.",
    "We suggest {i} to begin with, because it {vp}.",
)
_BARE = (  # neither history nor attributes
    "{i} could be a good {n} to {base} first.",
    "You could begin with {i} and see how you like it.",
)
_TAILS = (
    *("",) * 8,
    " Give it a try.",
    " Well worth your time.",
    " This could be your next favourite.",
    " You should feel at home with it.",
    " Hard to go wrong with this one.",
    " A good choice for a free evening.",
    " We think you will like it.",
    " Keep it near the top of your list.",
)
_RELATIONS = (
    "is based on {w}",
    "was based on {w}",
    "is loosely based on {w}",
    "was influenced by {w}",
    "is influenced by {w}",
    "was strongly influenced by {w}",
)
_RELATED = (  # a whole frame around the relation {rel}; the others get it as a second sentence
    "{i} {rel} and, like {h}, it {vp}.",
    "You have {part} {h}; {i} {also} and {rel}.",
    "Because you {past} {h}, you may enjoy {i}, which {vp} and {rel}.",
)
_RELATION_TAILS = (" The {n} {rel}.", " What is more, it {rel}.", " Besides, this {n} {rel}.")

# Two sets of frames. No frame of the second is one of the first, so that the same facts can be
# told twice in different words; the ways to say an attribute (`_PHRASES`) are common to both.
_WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "first": {
        "shared": _SHARED,
        "own": _OWN,
        "plain": _PLAIN,
        "alone": _ALONE,
        "bare": _BARE,
        "tails": _TAILS,
        "related": _RELATED,
    },
    "second": {
        "shared": (
            "One thing speaks for {i}: it {vp}, which holds for {h} as much.",
            "Our suggestion is {i}; this {n} {vp}, and the same is true of {h}.",
            "Those who look for {plural} tend to begin with {h} and arrive at {i}.",
            "Your collection of {plural} has {h} in it already; {i} belongs there.",
            "Whoever {past} {h} may well pick {i} now: {another}.",
            "Let {i} be your next pick: {another}, in good company with {h}.",
            "Put next to each other, {h} and {i} agree on one point: {all} {both}.",
            "{h} is yours already, and so {i} comes to mind: {all} {both}.",
            "Pick {i}, which {vp}; your choice of {h} points that way.",
            "More {plural} for you: first there was {h}, now there is {i}.",
        ),
        "own": (
            "Time for a break from {h}: {i} is {np}.",
            "Where {h} took you one way, {i} goes its own: {np}.",
            "We would put {i} next to {h} for contrast, since this {n} {vp}.",
            "This one breaks with {h}: {i} {vp}.",
            "A step away from {h} leads to {i}, {np}.",
        ),
        "plain": (
            "Our pick to follow {h} is {i}; see whether it suits you.",
            "Your choice of {h} led us to {i}, which may suit you.",
        ),
        "alone": (
            "Start with {i}: {np}.",
            "To open your list we propose {i}, which {vp}.",
            "Let {i} be your first pick, since it {vp}.",
        ),
        "bare": (
            "Start with {i} and judge for yourself.",
            "To open your list we propose {i}.",
        ),
        "tails": (
            *("",) * 4,
            " See for yourself.",
            " That is our tip for you.",
            " Tell us what you make of it.",
            " Enjoy!",
        ),
        "related": (
            "Pick {i}: this {n} {rel} and, in the manner of {h}, it {vp}.",
            "Our suggestion, since you {past} {h}, is {i}: it {vp} and {rel}.",
        ),
    },
}


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
        if max_history < 0:
            raise InputError(f"max_history must be 0 or more, found {max_history}")
        if wording not in _WORDINGS:
            raise InputError(f"wording {wording!r} is unknown: {nearest(wording, _WORDINGS)}")
        check(items, "items")
        self.noun, self.seed = noun, seed
        self._frames = _WORDINGS[wording]
        self.error_rate, self.error_kinds = error_rate, tuple(error_kinds)
        self.systematic, self.voice_strength = systematic, voice_strength
        self.max_history = max_history
        # By id, so that draws do not depend on the order of rows.
        items = items.sort_values("item_id", ignore_index=True)
        self._titles: list[str] = items["title"].tolist()
        self._keys = [_key(title) for title in self._titles]
        self._rows = {item: row for row, item in enumerate(items["item_id"])}
        self._read_attributes(attributes(items))
        past, part, base, _ = verbs(noun)
        self._words = {"n": noun, "ns": plural(noun), "an": article(noun)}
        self._words |= {"past": past, "part": part, "base": base}
        facts = repr([self._titles, list(self._rows), self._values, self._has])
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
            "items": hashlib.blake2b(facts.encode(), digest_size=8).hexdigest(),
        }

    def _read_attributes(self, columns: dict[str, list[list[str]]]) -> None:
        """Number all values of all kinds; `_has[row]` is the set of numbers of an item."""
        self.kinds = sorted(columns)
        self._values: list[tuple[str, str]] = [
            (kind, value)
            for kind in self.kinds
            for value in sorted({value for row in columns[kind] for value in row})
        ]
        number = {pair: index for index, pair in enumerate(self._values)}
        self._by_kind: dict[str, list[int]] = {kind: [] for kind in self.kinds}
        for index, (kind, _) in enumerate(self._values):
            self._by_kind[kind].append(index)
        self.kinds = [kind for kind in self.kinds if self._by_kind[kind]]
        sets: list[set[int]] = [set() for _ in self._titles]
        for kind in self.kinds:
            for row, values in enumerate(columns[kind]):
                sets[row].update(number[kind, value] for value in values)
        self._has = [frozenset(numbers) for numbers in sets]
        self._holders: list[list[int]] = [[] for _ in self._values]
        for row, numbers in enumerate(self._has):
            for index in numbers:
                self._holders[index].append(row)
        self._value_keys = [_key(surfaces(*pair)[0]) for pair in self._values]

    def _random(self, *label: str) -> Random:
        text = "\x1f".join((str(self.seed), *label))
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return Random(int.from_bytes(digest, "big"))

    def voice(self, user_id: str) -> str:
        """The kind of attribute that this user's explanations lean on; "" without attributes."""
        return _pick(self._random("voice", user_id), self.kinds) if self.kinds else ""

    def explain(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Explanations of samples, in their order.

        Beside sample_id, system and text: error ("", "title", "attribute" or "relation"),
        error_text (the wrong title or attribute as written), kind (of the attribute leaned on,
        "" for none) and cites (the true history titles that the text names). History ids that the
        items table lacks count as titles without attributes. Raises InputError for a recommended
        item that it lacks.
        """
        check(samples, "samples")
        unknown = ~samples["item_id"].isin(self._rows)
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
        rng = self._random("sample", sample_id)
        item = self._rows[item_id]
        # What can be cited: title -> attributes, each title once, never the item's own.
        seen: dict[str, frozenset[int]] = {}
        for past in history[max(len(history) - self.max_history, 0) :]:
            row = self._rows.get(past)
            seen[past if row is None else self._titles[row]] = (
                frozenset() if row is None else self._has[row]
            )
        seen.pop(self._titles[item], None)
        if rng.random() < self.error_rate:
            first = int(rng.random() * len(self.error_kinds))
            for error in self.error_kinds[first:] + self.error_kinds[:first]:
                source = self._random(error, item_id) if self.systematic else rng
                if error == "attribute":
                    told = self._wrong_attribute(rng, source, user_id, item, seen)
                else:
                    wrong = self._foreign_row(source, item, history)
                    told = self._wrong_mention(error, wrong, rng, user_id, item, seen)
                if told:
                    return told
        value, cited, shared = self._choose(rng, user_id, item, seen)
        text, _ = self._tell(rng, item, value, cited, shared)
        return text, "", "", self._values[value][0] if value >= 0 else "", cited

    def _choose(
        self, rng: Random, user_id: str, item: int, seen: dict[str, frozenset[int]]
    ) -> tuple[int, list[str], bool]:
        """A value of the item (-1: it has none), the titles to cite, and whether they share it."""
        has = self._has[item]
        common: set[int] = set()
        for values in seen.values():
            common |= has & values
        pool = sorted(common or has)
        if not pool:
            return -1, self._cite(rng, list(seen)), False
        value = self._lean(rng, user_id, pool)
        titles = [title for title, values in seen.items() if not common or value in values]
        return value, self._cite(rng, titles), bool(common)

    def _lean(self, rng: Random, user_id: str, pool: list[int]) -> int:
        """One value of `pool`: first its kind, by voice or evenly, then evenly within the kind."""
        kinds = sorted({self._values[index][0] for index in pool})
        kind = _pick(rng, kinds)
        if rng.random() < self.voice_strength and (voice := self.voice(user_id)) in kinds:
            kind = voice
        return _pick(rng, [index for index in pool if self._values[index][0] == kind])

    @staticmethod
    def _cite(rng: Random, titles: list[str]) -> list[str]:
        if not titles:
            return []
        first = _pick(rng, titles)
        if len(titles) > 1 and rng.random() < 0.3:
            return [first, _pick(rng, [title for title in titles if title != first])]
        return [first]

    def _foreign_row(self, rng: Random, item: int, history: Sequence[str]) -> int:
        """An item whose title cannot be taken for that of `item` or of anything in the history.

        One that shares an attribute with `item` is preferred, so that the text reads like any
        other; -1 where no title is foreign.
        """
        rows = (self._rows.get(past) for past in history)
        known = [
            _key(past) if row is None else self._keys[row]
            for past, row in zip(history, rows, strict=True)
        ]
        known.append(self._keys[item])
        size = len(self._titles)
        draws = [int(rng.random() * size) for _ in range(8)]
        foreign = -1
        # A few draws nearly always do; small catalogues are then searched from the last draw on.
        for tried, row in enumerate(chain(draws, range(draws[-1] + 1, size), range(draws[-1]))):
            if tried >= len(draws) and foreign >= 0:
                break
            key = self._keys[row]
            if not any(key in other or other in key for other in known):
                if self._has[row] & self._has[item]:
                    return row
                foreign = row if foreign < 0 else foreign
        return foreign

    def _wrong_mention(
        self,
        error: str,
        row: int,
        rng: Random,
        user_id: str,
        item: int,
        seen: dict[str, frozenset[int]],
    ) -> tuple[str, str, str, str, list[str]] | None:
        """A text that is faithful but for one mention of the title of `row`."""
        if row < 0:
            return None
        wrong = self._titles[row]
        if error == "relation":
            value, cited, shared = self._choose(rng, user_id, item, seen)
            text, _ = self._tell(rng, item, value, cited, shared, relation_to=wrong)
        else:
            value, _, shared = self._choose(rng, user_id, item, {wrong: self._has[row]})
            alike = [title for title, has in seen.items() if (value in has) == shared]
            cited = [_pick(rng, alike)] if alike and rng.random() < 0.3 else []
            named = [wrong, *cited] if rng.random() < 0.5 else [*cited, wrong]
            text, _ = self._tell(rng, item, value, named, shared)
        return text, error, wrong, self._values[value][0] if value >= 0 else "", cited

    def _wrong_attribute(
        self,
        rng: Random,
        source: Random,
        user_id: str,
        item: int,
        seen: dict[str, frozenset[int]],
    ) -> tuple[str, str, str, str, list[str]] | None:
        """A text that gives the item a value it lacks; None where the catalogue has no such."""
        own = [self._value_keys[index] for index in self._has[item]] + [self._keys[item]]

        def lacks(index: int) -> bool:
            key = self._value_keys[index]
            return not any(key in other or other in key for other in own)

        if self.systematic:
            kinds = [k for k in self.kinds if any(map(lacks, self._by_kind[k]))]
            pool = list(filter(lacks, self._by_kind[_pick(source, kinds)])) if kinds else []
            value = _pick(source, pool) if pool else -1
        else:
            pool = sorted(filter(lacks, frozenset().union(*seen.values())))
            pool = pool or [i for kind in self.kinds for i in self._by_kind[kind] if lacks(i)]
            value = self._lean(source, user_id, pool) if pool else -1
        if value < 0:
            return None
        sharing = [title for title, has in seen.items() if value in has]
        cited = self._cite(rng, sharing or list(seen))
        text, written = self._tell(rng, item, value, cited, bool(sharing))
        return text, "attribute", written, self._values[value][0], cited

    def _tell(
        self,
        rng: Random,
        item: int,
        value: int,
        named: list[str],
        shared: bool,
        relation_to: str = "",
    ) -> tuple[str, str]:
        """Word the facts: the text, and the attribute's value as written in it ("" for none)."""
        title = self._titles[item]
        if not named:
            sort = "alone" if value >= 0 else "bare"
        elif value < 0:
            sort = "plain"
        else:
            sort = "shared" if shared else "own"
        frame, tail = _pick(rng, self._frames[sort]), _pick(rng, self._frames["tails"])
        fill = dict(self._words, i=title, h=" and ".join(named), w=relation_to)
        fill["all"] = "both" if len(named) < 2 else "all three"
        if relation_to:
            tail = _pick(rng, _RELATION_TAILS)
            if shared and rng.random() < 0.5:
                frame, tail = _pick(rng, self._frames["related"]), ""
            fill["rel"] = _pick(rng, _RELATIONS).format_map(fill)
        written = ""
        if value >= 0:
            for role in _PHRASES["genre"]:
                if "{" + role + "}" in frame:
                    fill[role], written = self._phrase(rng, value, role)
        text = (frame + tail).format_map(fill)
        for name in (title, *named, relation_to, written):
            if name[-1:] in (".", "!", "?"):  # a name's own stop ends the sentence
                text = text.replace(name + ".", name)
        return text, written

    def _phrase(self, rng: Random, value: int, role: str) -> tuple[str, str]:
        """An attribute in one of its roles, and its value as written there."""
        kind, name = self._values[value]
        forms = surfaces(kind, name)
        noun, nouns = self._words["n"], self._words["ns"]
        one, many = forms[0], forms[-1]
        if len(forms) == 1 and not one.endswith((noun, nouns)):
            one, many = f"{one} {noun}", f"{many} {nouns}"
        fill = dict(self._words, v=name, g=one, gs=many, a=article(one), kind=kind)
        phrase = _pick(rng, _PHRASES.get(kind, _ANY_KIND)[role])
        return phrase.format_map(fill), forms[-1] if "{gs}" in phrase else forms[0]


def _pick(rng: Random, choices: Sequence[T]) -> T:
    """One of `choices`; plainer and faster than Random.choice, and the same on every version."""
    return choices[int(rng.random() * len(choices))]


def _key(text: str) -> str:
    """Words in lower case between blanks, so that `in` compares whole words.

    >>> _key("Star Wars: Episode IV"), _key("$")
    (' star wars episode iv ', ' $ ')
    """
    words = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
    return f" {' '.join(words) or text} "
