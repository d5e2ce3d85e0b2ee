"""Finding mentions: which titles and attribute values of a catalogue stand where in a text?

Exact words only. Left out on purpose: paraphrase ("the shark film"), shortened titles, titles
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
from .inputs import check_texts
from .spelling import Spelled, spell

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
_LETTER = re.compile(r"[^\W\d]")
_HISTORY = re.compile(
    r"(?:your|viewing|watch|watching|reading|user's|users?|their|my|own)\s+$", re.I
)
_OPENS_SENTENCE = re.compile(r"(?:^|[.!?:]\s+)[\"']?$")
_QUOTES = ('"', "'")
_TIES = ("-", "‿")

# A title such as "300" or "1984" is a number first. Counts, ranks, durations and parts of numbers:
_COUNTED = re.compile(
    r"(?:\d[.,:/—-]|\b(?:between|from)\s\d+\s(?:and|to)\s|[$€£¥#+±<>=~]\s?|\b(?:top|no\.?|number"
    r"|part|chapter|season|episode|volume|vol\.|page|room|ranks?|ranked|rated|scores?|scored|aged?)\s)$",
    re.I,
)
_COUNTS = re.compile(
    r"\s?%|[.,:/—-]\d|\s(?:out\s)?of\b|\s?(?:per\s?cent|min|mins|minutes?|hours?|hrs?|seconds?"
    r"|years?|months?|weeks?|days?|nights?|times|films|movies|shows|books|games|titles|pages?"
    r"|stars?(?!\s[A-Z])|points?|people|users|viewers|reviews?|ratings?|votes|others?|more|best"
    r"|different|similar|hundred|thousand|million|billion|dollars|euros|km|miles|[ap]\.?m)\b",
)
_DETERMINED = re.compile(
    r"\b(?:the|these|those|all|my|your|our|their|his|her|its|every|another|any|some|first|last|next"
    r"|other|than|least|most|over|under|nearly|almost|roughly|exactly|only|just|about|around)\s$",
    re.I,
)
_YEAR = re.compile(r"1[89]\d\d|20\d\d")
_DATED = re.compile(
    r"(?:[(\[]|\b(?:in|since|from|of|by|until|till|circa|during|early|late|mid|spring|summer|autumn"
    r"|fall|winter|year|\d\d?|january|february|march|april|may|june|july|august|[a-z]+ber)\s)$",
    re.I,
)
# What says that it is a title: a year behind it, a noun or a verb before it.
_OF_YEAR = re.compile(r"\s*\((?:1[89]|20)\d\d\b")
_NAMED = re.compile(
    r"\b(?:films?|movies?|books?|novels?|shows?|series|games?|songs?|albums?|places?|restaurants?"
    r"|business|titles?|titled|called|entitled|named)[,:]?\s$",
    re.I,
)
_LIKED = re.compile(
    r"\b(?:enjoy(?:s|ed|ing)?|lik(?:es?|ed|ing)|lov(?:es?|ed|ing)|watch(?:es|ed|ing)?|saw|seen"
    r"|reads?|unlike|after|try|prefers?|preferred|recommends?|recommended|suggests?|beside|next to"
    r"|judging by|(?:different|away|break|line) from|fans? of|vein of|similar to|reminiscent of"
    r"|(?:remake|prequel|sequel) (?:of|to)|(?:based|influenced|inspired|adapted) (?:on|by|from))"
    r"\s$",
    re.I,
)
_GOES_ON = re.compile(
    r"\s*(?:$|[.,;:!?)\"'—]|(?:and|or|but|as|is|are|was|were|has|have|had|with|which|that|who|because"
    r"|since|so|for|to|from|in|on|at|by|if|then|when|while|will|would|could|may|might|can|should"
    r"|also|both|you|it|we|this|too|shares?)\b)"
)
_LISTED = re.compile(r",?\s(?:and|or|&)\s|,\s")


class Mention(NamedTuple):
    """Letters start:end of a text in one spelling; `title` and `values` are what they can be."""

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
    """A text in one spelling and in lower case.

    >>> normalise("It’s **İZMİR**")
    "it's İzmİr"
    """
    return _lower(spell(text).text)


def _lower(text: str) -> str:
    """Lower case of the same length as `text`: offsets stay valid."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters lower to two characters
        lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    return lowered


def title_key(text: str) -> str:
    """The normalised words and marks of a title or value, one blank between any two."""
    return " ".join(_TOKEN.findall(normalise(text))).replace("—", "-")


class Matcher:
    """Finds titles and attribute values of a catalogue in texts, in whatever `spelling`.

    Matches are whole words, leftmost-longest, so a title inside a longer title or a person's name
    does not count. A title's capitals must be capitals in the text ("Heat" is not "heat"); a
    leading article may be small ("the Matrix"). One-word titles that are everyday openings of a
    sentence ("It", "Up", "Seven") do not count there, where every word has a capital, unless they
    are quoted or the film is the recommended one or in the history; nor do their contractions
    ("It's"). A title that is a number ("1984", "300") counts where it is the one meant: quoted or
    emphasised, with other titles, named as a film, or the recommended one or in the history; not
    where it is a year, count, rank or duration. One-word values of an open kind (a tag such as
    "good") count only where the text presents them as such: "about heists", "with heists as a
    theme", "whose themes include heists".

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
        if "-" in self._codes:  # a key has no other dash
            self._codes["—"] = self._codes["-"]
        # key of a title -> what may stand for it in a history: ids, and titles of unknown items
        self._ids: dict[str, set[str]] = {}
        for item, key in self._key.items():
            self._ids.setdefault(key, set()).update((item, self._titles[item]))
        self._numbers = {key for key in self._ids if not _LETTER.search(key)}
        self._read: dict[tuple[str, str], Reading] = {}  # what `_reading` has answered

    def mentions(self, texts: Iterable[str]) -> pd.DataFrame:
        """What stands where: text (its number), start, end, kind, value as the catalogue has it.

        kind is "title" or a kind of attribute; words that can be several things have several rows.
        """
        check_texts(texts := list(texts))
        found = [
            (number, *spelled.span(m.start, m.end), kind, value)
            for number, text in enumerate(texts)
            for spelled in (spell(text),)
            for m in self.find(spelled)
            for kind, value in (
                *(("title", title) for title in sorted(self._forms[m.title][0] if m.title else ())),
                *sorted(m.values),
            )
        ]
        return pd.DataFrame(found, columns=["text", "start", "end", "kind", "value"])

    def find(self, spelled: Spelled, expected: Set[str] = frozenset()) -> list[Mention]:
        """Mentions in order, placed in the one spelling of a text.

        `expected`: ids of items whose titles are read as titles anywhere.
        """
        if not len(self._automaton):
            return []
        text = spelled.text
        lowered = _lower(text)
        code = self._codes.get
        codes = "".join([code(word, "\0\0\0") for word in _TOKEN.findall(lowered)])
        spans = [match.span() for match in _TOKEN.finditer(lowered)]
        tied = "-" in lowered or "‿" in lowered
        candidates: list[Mention] = []
        for last, (length, key) in self._automaton.iter(codes):
            final = last // 3
            start, end = spans[final - length + 1][0], spans[final][1]
            if tied and _hyphenated(lowered, start, end):
                continue
            written = text[start:end]
            title, meant, open_ = self._read.get((written, key)) or self._reading(written, key)
            if title in _OPENERS and not self._meant(spelled, start, end, key, expected):
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
        if self._numbers and any(mention.title in self._numbers for mention in found):
            found = [self._titled(spelled, found, n, expected) for n in range(len(found))]
            found = [mention for mention in found if mention.title or mention.values]
        return found

    def _meant(self, spelled: Spelled, start: int, end: int, key: str, expected: Set[str]) -> bool:
        """Whether the words at start:end, a title that is an everyday word, are meant as one."""
        text = spelled.text
        if _CONTRACTION.match(text, end):
            return False
        if text[:start].endswith(_QUOTES) or spelled.stressed(start, end):
            return True
        if text[start].islower():
            return False
        opens = _OPENS_SENTENCE.search(text[:start])
        return not opens or not self._ids[key].isdisjoint(expected)

    def _titled(
        self, spelled: Spelled, found: list[Mention], place: int, expected: Set[str]
    ) -> Mention:
        """The mention at `place`; no title if it is a number that is not meant as one."""
        mention = found[place]
        start, end, title, _ = mention
        if title not in self._numbers:
            return mention
        text = spelled.text
        before, after = text[max(start - 40, 0) : start], text[end : end + 40]
        year = _YEAR.fullmatch(text[start:end])
        quoted = before.endswith(_QUOTES) and re.match(r"[.,;:!?]?[\"']", after)
        goes_on = _GOES_ON.match(after)
        if quoted or spelled.stressed(start, end):
            return mention
        if (
            _COUNTED.search(before)
            or _COUNTS.match(after)
            or (_DETERMINED.search(before) and not goes_on)
            or (year and _DATED.search(before))
        ):
            return mention._replace(title="")
        if not self._ids[title].isdisjoint(expected):
            return mention
        others = [m for m in found[max(place - 1, 0) : place + 2] if m.title not in self._numbers]
        between = (text[min(end, m.end) : max(start, m.start)] for m in others if m.title)
        listed = any(_LISTED.fullmatch(b) and not (year and "," in b) for b in between)
        liked = _LIKED.search(before) and not (year and before.lower().endswith("after "))
        named = _OF_YEAR.match(after) or _NAMED.search(before)
        if named or (goes_on and (listed or liked)):
            return mention
        return mention._replace(title="")

    def _reading(self, written: str, key: str) -> Reading:
        """What `written`, a spelling of `key`, can be, whatever stands around it."""
        titles, values = self._forms[key]
        fits = {
            pair
            for pair, form in values.items()
            if pair[0] not in _NAMES or _keeps_capitals(written, spell(form).text)
        }
        plain = {pair for pair in fits if pair[0] in _CLOSED or not key.isalnum()}
        as_title = written in titles or any(_keeps_capitals(written, spell(t).text) for t in titles)
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
        (text[start].isalnum() and before[1:] in _TIES and before[0].isalnum())
        or (text[end - 1].isalnum() and after[:1] in _TIES and after[-1].isalnum())
    )


def _marked(kind: str, text: str, start: int, end: int) -> bool:
    """Whether the words around text[start:end] present it as a value of `kind`."""
    before, after = text[max(start - 40, 0) : start], text[end : end + 40]
    name = re.escape(kind)
    return bool(
        re.search(
            rf"(?:\b{name}s? (?:include|is|are|of)|listed under|about)\s+[\"']?$", before, re.I
        )
        or re.match(rf"[\"']?\s+(?:as (?:an?|its|their)|among (?:its|their)|{name})\b", after, re.I)
    )


def _keeps_capitals(written: str, title: str) -> bool:
    """Every capital of `title` is one in `written`; a leading article's need not be."""
    written, title = (" ".join(text.split()).replace("—", "-") for text in (written, title))
    if written.replace(" ", "") == title.replace(" ", ""):
        return True
    skip = re.match(r"(?:The|A|An) ", title)
    letters = zip(written.replace(" ", ""), title.replace(" ", ""), strict=True)
    pairs = list(letters)[1 if skip else 0 :]
    return all(w.isupper() for w, t in pairs if t.isupper()) and any(t.isupper() for _, t in pairs)
