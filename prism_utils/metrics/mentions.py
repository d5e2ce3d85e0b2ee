"""Finding mentions: which titles and attribute values of a catalogue stand where in a text?

Exact spellings only. Left out on purpose: paraphrase ("the shark film"), shortened titles, titles
unknown to the catalogue, and what a mention says of an item (`grounding` judges that).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from typing import NamedTuple

import ahocorasick
import pandas as pd

from ..tables import check
from ..wording import attributes, readings

# Kinds whose values are names of people: written with their capitals. Others match in any case.
_NAMES = ("director", "actor", "author")
# Kinds with a closed vocabulary; all others (theme, category, ...) are free words such as "good".
_CLOSED = (*_NAMES, "genre", "decade")

# Words that open sentences far more often than they name a film: pronouns, determiners, numerals,
# prepositions, conjunctions, auxiliaries, and what a recommendation begins with.
_OPENERS = frozenset(
    "a about above after again all along also although always among an and another any are around "
    "as at because been before being below besides best better between beyond big both but by can "
    "close coming could despite do does doing down during each eight either even ever every few "
    "first five for four from get give given go going good great had hard has have having he her "
    "here hers him his how however i if in inside instead into is it its judging just keep last "
    "less let like little look looking many maybe me mine more most much my near never new next "
    "nine no nobody nor not nothing now of off old on once one only or other our ours out outside "
    "over own perhaps please same say see seen seven several she should similar since six so some "
    "something still such sure take ten than thanks that the their them then there these they "
    "think this those three through till to together tonight too try two under unlike until up "
    "upon us very want was watch watched watching we well were what when where whether which "
    "while who why will with within without yes yet you your yours".split()
)
_CONTRACTION = re.compile(r"'(?:s|d|m|ll|re|ve|t)\b")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_HISTORY = re.compile(
    r"(?:your|viewing|watch|watching|reading|user's|users?|their|my|own)\s+$", re.I
)
_OPENS_SENTENCE = re.compile(r"(?:^|[.!?:]\s+)[\"“”‘']?$")
_QUOTES = ('"', "“", "”", "‘", "'")


class Mention(NamedTuple):
    """Characters start:end of a text; `titles` and `values` are what they can be."""

    start: int
    end: int
    title: str  # key of a title, "" if no catalogue title is written so
    values: frozenset[tuple[str, str]]  # (kind, value), empty if no attribute is written so


class Reading(NamedTuple):
    """What a spelling can be: a title; values; values only where the text presents them as such."""

    title: str
    plain: frozenset[tuple[str, str]]
    open: frozenset[tuple[str, str]]


def normalise(text: str) -> str:
    """Lower case and plain apostrophes, of the same length as `text` (offsets stay valid).

    >>> normalise("It’s İZMİR"), len(normalise("İ"))
    ("it's İzmİr", 1)
    """
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters lower to two characters
        lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    return lowered.replace("’", "'").replace("‘", "'")


def title_key(text: str) -> str:
    """The normalised words and marks of a title or value, one blank between any two."""
    return " ".join(_TOKEN.findall(normalise(text)))


class Matcher:
    """Finds titles and attribute values of a catalogue in texts.

    Matches are whole words, leftmost-longest, so a title inside a longer title or a person's name
    does not count. A title's capitals must be capitals in the text ("Heat" is not "heat"); a
    leading article may be small ("the Matrix"). One-word titles that are everyday openings of a
    sentence ("It", "Up", "Seven") do not count there, where every word has a capital, unless they
    are quoted or the film is the recommended one or in the history; nor do their contractions
    ("It's"). One-word values of an open kind (a tag such as "good") count only where the text
    presents them as such: "about heists", "with heists as a theme", "whose themes include heists".

    >>> items = pd.DataFrame({"item_id": ["1", "2"], "title": ["Alien", "Aliens"],
    ...                       "genre": [["Horror"], ["Action"]]})
    >>> found = Matcher(items).mentions(["Like Aliens, this horror film is no alien to you."])
    >>> found[["start", "end", "kind", "value"]].values.tolist()
    [[5, 11, 'title', 'Aliens'], [18, 24, 'genre', 'Horror']]
    """

    def __init__(self, items: pd.DataFrame) -> None:
        check(items, "items")
        self._titles: dict[str, str] = dict(zip(items["item_id"], items["title"], strict=True))
        self._facts: dict[str, set[tuple[str, str]]] = {item: set() for item in self._titles}
        self._key = {item: title_key(title) for item, title in self._titles.items()}
        # key of a form -> its written titles, and (kind, value) -> written form
        self._forms: dict[str, tuple[set[str], dict[tuple[str, str], str]]] = {}
        for item, title in self._titles.items():
            self._forms.setdefault(self._key[item], (set(), {}))[0].add(title)
        self._holders: dict[tuple[str, str], set[str]] = {}
        for kind, column in attributes(items).items():
            for item, values in zip(self._titles, column, strict=True):
                for value in values:
                    self._facts[item].add((kind, value))
                    self._holders.setdefault((kind, value), set()).add(item)
            for value in {value for values in column for value in values}:
                for form in readings(kind, value):
                    self._forms.setdefault(title_key(form), (set(), {}))[1][kind, value] = form
        # The automaton reads words, not letters: "It" is then no match inside "with".
        self._codes: dict[str, str] = {}
        self._automaton = ahocorasick.Automaton()
        for key in self._forms:
            if words := key.split():
                codes = [self._codes.setdefault(w, _code(len(self._codes))) for w in words]
                self._automaton.add_word("".join(codes), (len(words), key))
        if len(self._automaton):
            self._automaton.make_automaton()
        # key of a title -> what may stand for it in a history: ids, and titles of unknown items
        self._ids: dict[str, set[str]] = {}
        for item, key in self._key.items():
            self._ids.setdefault(key, set()).update((item, self._titles[item]))
        self._read: dict[tuple[str, str], Reading] = {}  # what `_reading` has answered

    def mentions(self, texts: Iterable[str]) -> pd.DataFrame:
        """What stands where: text (its number), start, end, kind, value as the catalogue has it.

        kind is "title" or a kind of attribute; words that can be several things have several rows.
        """
        found = [
            (number, m.start, m.end, kind, value)
            for number, text in enumerate(texts)
            for m in self.find(text)
            for kind, value in (
                *(("title", title) for title in sorted(self._forms[m.title][0] if m.title else ())),
                *sorted(m.values),
            )
        ]
        return pd.DataFrame(found, columns=["text", "start", "end", "kind", "value"])

    def find(self, text: str, expected: Set[str] = frozenset()) -> list[Mention]:
        """Mentions in order. `expected`: ids of items whose titles are read as titles anywhere."""
        if not len(self._automaton):
            return []
        lowered = normalise(text)
        code = self._codes.get
        codes = "".join([code(word, "\0\0\0") for word in _TOKEN.findall(lowered)])
        spans = [match.span() for match in _TOKEN.finditer(lowered)]
        hyphens = "-" in lowered
        candidates: list[Mention] = []
        for last, (length, key) in self._automaton.iter(codes):
            final = last // 3
            start, end = spans[final - length + 1][0], spans[final][1]
            if hyphens and _hyphenated(lowered, start, end):
                continue
            written = text[start:end]
            title, meant, open_ = self._read.get((written, key)) or self._reading(written, key)
            if title in _OPENERS and not self._meant(text, lowered, start, end, expected):
                title = ""
            if open_:
                meant |= {pair for pair in open_ if _marked(pair[0], text, start, end)}
            if key == "history" and _HISTORY.search(text[:start]):
                meant = frozenset()  # "your viewing history" is no genre
            if title or meant:
                candidates.append(Mention(start, end, title, meant))
        # Leftmost-longest among those that pass. `iter_long` would choose before boundaries and
        # capitals are checked, and a failed long match would hide a good short one.
        candidates.sort(key=lambda mention: (mention.start, -mention.end))
        found: list[Mention] = []
        for mention in candidates:
            if not found or mention.start >= found[-1].end:
                found.append(mention)
        return found

    def _meant(self, text: str, lowered: str, start: int, end: int, expected: Set[str]) -> bool:
        """Whether text[start:end], a title that is an everyday word, is meant as one."""
        if _CONTRACTION.match(lowered, end):
            return False
        if text[:start].endswith(_QUOTES):
            return True
        if text[start].islower():
            return False
        opens = _OPENS_SENTENCE.search(text[:start])
        return not opens or not self._ids[lowered[start:end]].isdisjoint(expected)

    def _reading(self, written: str, key: str) -> Reading:
        """What `written`, a spelling of `key`, can be, whatever stands around it."""
        titles, values = self._forms[key]
        fits = {
            pair
            for pair, form in values.items()
            if pair[0] not in _NAMES or _keeps_capitals(written, form)
        }
        plain = {pair for pair in fits if pair[0] in _CLOSED or not key.isalpha()}
        as_title = written in titles or any(_keeps_capitals(written, t) for t in titles)
        title = key if as_title else ""
        self._read[written, key] = reading = Reading(
            title, frozenset(plain), frozenset(fits - plain)
        )
        return reading


def _code(number: int) -> str:
    """A word's number as three letters, each from an alphabet of its own.

    No match can then begin or end inside a word, and no node of the automaton, which looks its
    children up one by one, has as many of them as there are words.
    """
    return chr(0x200 + (number >> 14)) + chr(0x80 + (number >> 7 & 127)) + chr(0x100 + number % 128)


def _hyphenated(text: str, start: int, end: int) -> bool:
    """Whether a hyphen ties text[start:end] to another word: no title in "Alien-like"."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    return bool(
        (text[start].isalnum() and before[1:] == "-" and before[0].isalnum())
        or (text[end - 1].isalnum() and after[:1] == "-" and after[-1].isalnum())
    )


def _marked(kind: str, text: str, start: int, end: int) -> bool:
    """Whether the words around text[start:end] present it as a value of `kind`."""
    before, after = text[max(start - 40, 0) : start], text[end : end + 40]
    name = re.escape(kind)
    return bool(
        re.search(rf"(?:\b{name}s? (?:include|is|are|of)|listed under|about)\s+$", before, re.I)
        or re.match(rf"\s+(?:as (?:an?|its|their)|among (?:its|their)|{name})\b", after, re.I)
    )


def _keeps_capitals(written: str, title: str) -> bool:
    """Every capital of `title` is one in `written`; a leading article's need not be."""
    written, title = " ".join(written.split()), " ".join(title.split())
    if written == title:
        return True
    skip = re.match(r"(?:The|A|An) ", title)
    letters = zip(written.replace(" ", ""), title.replace(" ", ""), strict=True)
    pairs = list(letters)[1 if skip else 0 :]
    return all(w.isupper() for w, t in pairs if t.isupper()) and any(t.isupper() for _, t in pairs)
