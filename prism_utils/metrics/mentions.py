"""Finding mentions: which titles and attribute values of a catalogue stand where in a text?

Words only: a title or its short forms, a value or the words that stand for it. Left out on purpose:
paraphrase ("the shark film"), what the catalogue does not know (`names`), and what a mention says
of an item (`grounding` judges that).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from typing import NamedTuple

import ahocorasick
import pandas as pd

from ..tables import check
from ..wording import attributes, heard, readings
from . import numbers, roles
from .inputs import check_texts
from .numbers import LIKED, NAMED, QUOTES
from .roles import PEOPLE
from .shortened import keeps_capitals, names_without_accents, short_titles, unique_surnames
from .spelling import Spelled, spell, tied_words

# Names of people are written with their capitals, other kinds match in any case. These kinds have
# a closed vocabulary; all others (theme, category, ...) are free words such as "good".
_CLOSED = (*PEOPLE, "genre", "decade")

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
_TIED = frozenset("mid early late era directed led starring made helmed".split())

# "the Star Wars saga" is no one film; "the Moon" is no title, but "the Moon remake" may be.
_SERIES = re.compile(r"[\"']?\s(?:saga|series|franchise|trilogy|films|movies|universe|fan)\b")
_BARE_NOUN = re.compile(r"\bthe\s$")
_AS_TITLE = re.compile(r"\s(?:film|movie|remake|original|sequel|prequel|soundtrack)\b")


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
    short: tuple[str, ...] = ()  # keys of the titles that it is a short form of


class _Form(NamedTuple):
    """What one key can be, with the ways in which this is written."""

    titles: set[str]
    values: dict[tuple[str, str], str]  # (kind, value) -> as written
    short: dict[str, str]  # key of a title -> its short form as written


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

    A title may be shortened where no other title is ("Anchorman"; `shortened`), a value said in
    other words ("sci-fi", "the eighties", "released in 1985"; `wording.heard`), a person named by
    the last name if no one else has it. A person counts in the role that the text gives: "directed
    by Tom Hanks" is the value Tom Hanks of the kind director, in the catalogue or not. What is
    denied ("not a horror film") or the time of a story ("set in the 1920s") is no mention.

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
        self._forms: dict[str, _Form] = {}
        for item, title in self._titles.items():
            self._form(self._key[item]).titles.add(title)
        self._holders: dict[tuple[str, str], set[str]] = {}
        kinds = attributes(items)
        for kind, column in kinds.items():
            for item, values in zip(self._titles, column, strict=True):
                for value in values:
                    self._facts[item].add((kind, value))
                    self._holders.setdefault((kind, value), set()).add(item)
        self._add_values()
        self._add_short_titles()
        self._roles = PEOPLE & kinds.keys()
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

    @property
    def titles(self) -> dict[str, str]:
        """item id -> title."""
        return self._titles

    @property
    def values(self) -> Set[tuple[str, str]]:
        """(kind, value) of all attributes of the catalogue."""
        return self._holders.keys()

    def _form(self, key: str) -> _Form:
        return self._forms.setdefault(key, _Form(set(), {}, {}))

    def _add_values(self) -> None:
        people = {value for kind, value in self._holders if kind in PEOPLE}
        last = {name: surname for surname, name in unique_surnames(people).items()}
        for kind, value in self._holders:
            forms = set(heard(kind, value))
            if kind in PEOPLE:
                forms |= names_without_accents(value) | {last.get(value, value)}
            for form in sorted(forms - {value}):
                if key := title_key(form):
                    self._form(key).values.setdefault((kind, value), form)
            self._form(title_key(value)).values[kind, value] = value
        for key, long in self._forms.items():  # a "family film" may be one of the genre "family"
            if long.values and (short := self._forms.get(key.rpartition(" ")[0])):
                for pair, form in short.values.items():
                    if pair[0] in _CLOSED and pair[0] not in PEOPLE:
                        long.values.setdefault(pair, form)

    def _add_short_titles(self) -> None:
        for title in dict.fromkeys(self._titles.values()):
            full = title_key(title)
            for short in sorted(short_titles(title)):
                key = title_key(short)
                form = self._form(key)
                if key not in _OPENERS and not form.titles and not form.values:
                    form.short.setdefault(full, short)

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
                *self._titles_of(m.title),
                *sorted(m.values),
            )
        ]
        return pd.DataFrame(found, columns=["text", "start", "end", "kind", "value"])

    def _titles_of(self, key: str) -> list[tuple[str, str]]:
        return [("title", title) for title in sorted(self._forms[key].titles)] if key else []

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
            ties = tied_words(lowered, start, end) if tied else []
            if ties and not all(word in _TIED or self._is_genre(word) for word in ties):
                continue
            written = text[start:end]
            known = self._read.get((written, key)) or self._reading(written, key)
            title, meant, open_, short = known
            if ties:  # "horror-comedy", "mid-90s", "Spielberg-directed"
                title, short = "", ()
            if title and not self._meant(spelled, start, end, title, expected):
                title = ""
            if short and not title:
                title = self._full(spelled, start, end, short, expected)
            if meant or open_:
                meant = self._said(text, start, end, meant, open_)
            if key == "history" and _HISTORY.search(text[:start]):
                meant = frozenset()  # "your viewing history" is no genre
            if title or meant:
                candidates.append(Mention(start, end, title, meant))
        # Leftmost-longest among those that pass. `iter_long` would choose before boundaries and
        # capitals are checked, and a failed long match would hide a good short one.
        candidates.sort(key=lambda mention: (mention.start, -mention.end))
        found: list[Mention] = []
        for n, mention in enumerate(candidates):
            if found and mention.start < found[-1].end:
                continue
            after = candidates[n + 1] if n + 1 < len(candidates) else mention
            if mention.title or not (after.title and after.start < mention.end < after.end):
                found.append(mention)  # "for children", but not in "for Children of Men"
        if self._numbers and any(mention.title in self._numbers for mention in found):
            found = [self._titled(spelled, found, n, expected) for n in range(len(found))]
            found = [mention for mention in found if mention.title or mention.values]
        return self._in_roles(text, found) if self._roles else found

    def _is_genre(self, word: str) -> bool:
        form = self._forms.get(word)
        return form is not None and any(kind == "genre" for kind, _ in form.values)

    def _said(
        self,
        text: str,
        start: int,
        end: int,
        plain: frozenset[tuple[str, str]],
        open_: frozenset[tuple[str, str]],
    ) -> frozenset[tuple[str, str]]:
        """Which values the words at start:end claim where they stand."""
        before, after = text[max(start - 60, 0) : start], text[end : end + 60]
        if open_:
            year, name = text[start:end].isdigit(), roles.one_name(before, after)
            plain |= {
                (kind, value)
                for kind, value in open_
                if (kind == "decade" and year and roles.released(before, after))
                or (kind in PEOPLE and name)
                or (
                    kind not in _CLOSED
                    and roles.presented(kind, value, text[start:end], before, after)
                )
            }
        if plain and roles.denied(before, after):
            return frozenset()
        if any(kind == "decade" for kind, _ in plain) and roles.no_release(before):
            return frozenset(pair for pair in plain if pair[0] != "decade")
        return plain

    def _in_roles(self, text: str, found: list[Mention]) -> list[Mention]:
        """Mentions of people in the roles that the text gives them, a second one behind the first.

        Who is joined to others ("starring A and B", "A and B star") has their role.
        """
        people = [
            n for n, m in enumerate(found)
            if m.values and not m.title and any(kind in PEOPLE for kind, _ in m.values)
        ]  # fmt: skip
        if not people:
            return found
        given: dict[int, str] = {}
        for step in (1, -1):
            for n in people[::step]:
                start, end = found[n].start, found[n].end
                before, after = text[max(start - 80, 0) : start], text[end : end + 60]
                pair = sorted((n, n - step))
                next_to = given.get(n - step, "")
                if next_to:
                    between = text[found[pair[0]].end : found[pair[1]].start]
                    next_to = next_to if roles.joined(between) else ""
                given[n] = given.get(n) or roles.role(before, after, next_to)
        placed: list[Mention] = []
        for n, mention in enumerate(found):
            placed.append(mention)
            names = {value for kind, value in mention.values if kind in PEOPLE}
            if n in given and given[n] in self._roles:
                placed[-1] = mention._replace(values=frozenset((given[n], v) for v in names))
            if n in given:
                start, end = mention.start, mention.end
                more = roles.second_role(text[max(start - 40, 0) : start], text[end : end + 60])
                if more in self._roles and more != given[n]:
                    values = frozenset((more, name) for name in names)
                    placed.append(mention._replace(values=values))
        return placed

    def _meant(self, spelled: Spelled, start: int, end: int, key: str, expected: Set[str]) -> bool:
        """Whether the words at start:end, written as the title of `key`, are meant as it."""
        text = spelled.text
        if key not in _OPENERS and not key.isalpha():
            return not self._of_series(text, end, key, expected)
        if key in _OPENERS and _CONTRACTION.match(text, end):
            return False
        if text[:start].endswith(QUOTES) or spelled.stressed(start, end):
            return True
        known = not self._ids[key].isdisjoint(expected)
        if key in _OPENERS:
            return text[start].isupper() and (known or not _OPENS_SENTENCE.search(text[:start]))
        bare = _BARE_NOUN.search(text[max(start - 5, 0) : start])
        return known or not bare or _AS_TITLE.match(text, end) is not None

    def _of_series(self, text: str, end: int, key: str, expected: Set[str]) -> bool:
        """Whether a title stands there for a series of which another film is expected."""
        return bool(
            _SERIES.match(text, end)
            and self._ids[key].isdisjoint(expected)
            and any(self._key.get(item, "").startswith(key + " ") for item in expected)
        )

    def _full(
        self, spelled: Spelled, start: int, end: int, short: tuple[str, ...], expected: Set[str]
    ) -> str:
        """Key of the title that is written short at start:end, "" if that is open.

        Where several are, it is the one that is expected, or any if another one is. A single word
        must be expected, or quoted, or said to be a title, and not open a sentence.
        """
        known = [key for key in short if not self._ids[key].isdisjoint(expected)]
        if not known and len(short) > 1 and not expected:
            return ""
        text = spelled.text
        if text[start:end].isalpha() and not text[:start].endswith(QUOTES):
            before = text[max(start - 40, 0) : start]
            if not spelled.stressed(start, end) and not (
                known and not _OPENS_SENTENCE.search(before)
                or LIKED.search(before) or NAMED.search(before)
            ):  # fmt: skip
                return ""
        return known[0] if known else short[0]

    def _titled(
        self, spelled: Spelled, found: list[Mention], place: int, expected: Set[str]
    ) -> Mention:
        """The mention at `place`; no title if it is a number that is not meant as one."""
        mention = found[place]
        if mention.title not in self._numbers:
            return mention
        near = [m for m in found[max(place - 1, 0) : place + 2] if m.title not in self._numbers]
        known = not self._ids[mention.title].isdisjoint(expected)
        others = [(m.start, m.end) for m in near if m.title]
        if numbers.is_title(spelled, mention.start, mention.end, others, known):
            return mention
        return mention._replace(title="")

    def _reading(self, written: str, key: str) -> Reading:
        """What `written`, a spelling of `key`, can be, whatever stands around it."""
        titles, values, short = self._forms[key]
        fits = {
            pair: form
            for pair, form in values.items()
            if pair[0] not in PEOPLE or keeps_capitals(written, spell(form).text)
        }
        as_title = written in titles or any(keeps_capitals(written, spell(t).text) for t in titles)
        if as_title:  # "Love Story" is this film and no word for a romance
            fits = {pair: form for pair, form in fits.items() if form in readings(*pair)}
        plain = {pair for pair, form in fits.items() if _plain(key, *pair, form)}
        # "gangster" is a genre and, if the text presents it or not, the theme that is called so
        plain |= {pair for pair, form in fits.items() if plain and form != pair[1]}
        self._read[written, key] = reading = Reading(
            key if as_title else "",
            frozenset(plain),
            frozenset(fits.keys() - plain),
            tuple(k for k, form in short.items() if keeps_capitals(written, form)),
        )
        return reading


def _plain(key: str, kind: str, value: str, form: str) -> bool:
    """Whether a value written as `form` counts wherever it stands."""
    if kind in PEOPLE:
        return " " in form or form == value
    return not key.isdigit() if kind == "decade" else kind in _CLOSED or not key.isalnum()


def _code(number: int) -> str:
    """A word's number as three letters, each from an alphabet of its own.

    No match can then begin or end inside a word, and no node of the automaton, which looks its
    children up one by one, has as many of them as there are words.
    """
    return chr(0x200 + (number >> 14)) + chr(0x80 + (number >> 7 & 127)) + chr(0x100 + number % 128)
