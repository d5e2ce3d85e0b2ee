"""Invented names: films and people in a text that neither catalogue nor input knows.

Looked for where a sentence names a film ("you watched ...", in quotes) or a person ("directed by
..."), so that capitals of other kinds (a month, a city, a hero) are left alone. Left out on
purpose: names that the catalogue lacks and the world has; whether a known name fits (`grounding`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from .grounding import Grounding
from .inputs import check_texts, samples_of
from .mentions import Mention, title_key
from .roles import role
from .spelling import Spelled, spell

METRIC = "invented_name"

# Capitals that name neither a film nor a person.
_ORDINARY = frozenset(
    "i january february march april may june july august september october november december "
    "monday tuesday wednesday thursday friday saturday sunday christmas halloween easter "
    "thanksgiving valentine african american arab asian australian austrian belgian black "
    "brazilian british bollywood canadian chinese christian cuban czech danish dutch egyptian "
    "english european finnish french german greek hebrew hindi hong kong hungarian icelandic "
    "indian iranian iraqi irish israeli italian japanese jewish korean latin mexican muslim "
    "native nordic norwegian persian polish portuguese roman russian scandinavian scottish "
    "soviet spanish swedish swiss thai turkish ukrainian vietnamese welsh western eastern "
    "southern northern america africa antarctica argentina asia atlantic australia austria "
    "baghdad berlin boston brazil britain broadway brooklyn california canada caribbean chicago "
    "china cuba denmark dublin egypt england europe florida france germany greece harlem hawaii "
    "hollywood houston india iran iraq ireland israel italy japan kenya korea london los "
    "angeles manhattan mars mexico miami montenegro moscow new york orleans norway pacific "
    "paris philadelphia poland rome russia san francisco scotland seattle south north spain "
    "sweden sydney texas tokyo tv dvd imax cgi usa us uk u.s. u.k. fbi cia nasa oscar oscars "
    "academy award awards emmy golden globe palme netflix disney pixar dreamworks hbo bbc "
    "marvel dc warner universal paramount imdb rotten tomatoes world war ii vietnam cold earth "
    "god moon sun bible internet renaissance victorian edwardian gothic nazi nazis sci-fi part "
    "episode chapter volume vol mr mrs ms dr sir lady king queen prince princess oz gotham".split()
)
_WORD = r"(?:(?:Mr|Mrs|Ms|Dr|St)\.|[A-ZÀ-ÖØ-Þ](?:[\w'-]|(?<=\b[A-Z])\.|\.(?=\w))*)"
_LINK = (
    r"(?:of the|in the|on the|to the|of|the|in|on|a|an|to|for|de|del|di|la|von|van|with|from|at)"
)
_CAPITALS = re.compile(rf"{_WORD}(?:(?:\s|:\s)(?:{_LINK}\s)?(?:{_WORD}|\d+\b))*")
_QUOTED = re.compile(
    r"(?<!\w)(?P<mark>[\"'])(?P<name>[A-Z0-9][^\"\n]{1,60}?)[,.!?]?(?P=mark)(?!\w)"
)
_SMALL = frozenset("a an and at by de for from in la of on or the to vs von van with".split())
# Before a film. One word alone must follow one of the strong ones.
_STRONG = re.compile(
    r"\b(?:watch(?:ed|ing)|s(?:aw|een)|enjoyed|liked|loved|rated|films?|movies?|called|titled"
    r"|entitled|(?:remake|prequel|sequel) (?:of|to)|(?:based|influenced|inspired|adapted)"
    r" (?:up)?(?:on|by|from)|similar to|reminiscent of|you (?:enjoy|like|love)|fans? of)"
    r"[,:]?\s(?:both\s)?$",
    re.I,
)
_WEAK = re.compile(
    r"\b(?:like|unlike|after|try|such as|including|than|beside|recommends?|recommended|suggests?"
    r"|suggested|picked|recalls?|vein of|spirit of|know|have|line from|next to|given|since)\s$",
    re.I,
)
# "dishes such as ..." gives examples of other things than films.
_EXAMPLE = re.compile(
    r"\b(?!(?:films?|movies?|titles?|classics|hits|comedies|dramas|thrillers|westerns|musicals|books?"
    r"|novels?|shows|series|favou?rites|stories|is|was|as)\b)[a-z]\w*s,?\s"
    r"(?:like|such as|including)\s$"
)
_OPENS = re.compile(r"(?:^|[.!?:;]\s+|\n)[\"']?$")
_SUBJECT = re.compile(
    r"\s(?:is|was|has|stars|features|takes|shares|tells|follows|offers|should|could|will|would|may"
    r"|might|comes|came|dates|directed|starred|wrote)\b"
)
_NAMED_BY = re.compile(r"\b(?:directed by|director|helmed by|made by)\s$", re.I)
_LISTED = re.compile(r"(?:,?\s(?:and|or|&)\s|,\s)$")
# Words that open sentences and phrases; where one stands first, the name begins behind it.
_OPENING = re.compile(
    r"(?:Because|Since|Like|Unlike|After|If|When|As|Both|You|Your|We|They|He|She|It|In|On|At|With"
    r"|For|From|And|But|Or|So|Also|Having|Judging|Among|Coming|Our|This|That|These|Those|Then|By"
    r"|There|Here|Now|Next|Try|Watch|See|Pick|Let|Put|More|Given|Fans?|Director|Actor|Actress|Star"
    r"|Starring|Directed|Films?|Movies?|Other|Another|Not|No|Yes|Well|Just|While|Though|Although"
    r"|Despite|Even|Once|Until|Before|Where|Why|How|What|Who)(?:\s|$)"
)


class Name(NamedTuple):
    """Letters start:end of a text that name a film ("title") or a person (a kind of `PEOPLE`)."""

    start: int
    end: int
    kind: str


class Names:
    """Finds invented names in texts about the items of a catalogue.

    >>> items = pd.DataFrame({"item_id": ["1"], "title": ["Jaws"], "director": ["Ann Lorne"]})
    >>> names = Names(Grounding(items))
    >>> names.find('Like "The Sweener", Jaws was directed by John Marlow.', known=[])
    [Name(start=6, end=17, kind='title'), Name(start=41, end=52, kind='director')]
    """

    def __init__(self, grounding: Grounding) -> None:
        self._matcher = grounding
        self._kinds = {kind for kind, _ in grounding.values}
        titles = grounding.titles.values()
        keys = {title_key(name) for name in (*titles, *(value for _, value in grounding.values))}
        self._known = f" {' | '.join(sorted(keys))} "
        self._compact = {_compact(key) for key in keys}

    def find(self, text: str, known: Iterable[str]) -> list[Name]:
        """Invented names in order; `known`: ids or titles of the item and its history."""
        check_texts([text])
        spelled, known = spell(text), set(known)
        found = self._matcher.find(spelled, known)
        titles = [self._matcher.titles.get(item, item) for item in known]
        names: list[Name] = []
        for name in self._named(spelled, found):
            written = spelled.text[name.start : name.end]
            if not self._is_known(written, titles):
                start, end = spelled.span(name.start, name.end)
                names.append(Name(start, end, name.kind))
        return names

    def _named(self, spelled: Spelled, found: Sequence[Mention]) -> Iterator[Name]:
        """Places where a film or a person is named that no mention covers."""
        text = spelled.text
        if text.isupper():
            return
        masked = list(text)
        for mention in found:
            masked[mention.start : mention.end] = "\0" * (mention.end - mention.start)
        rest = "".join(masked)
        taken: list[Name] = []
        for match in _QUOTED.finditer(rest):
            words = match["name"].split()
            if len(words) < 9 and all(
                w[0].isupper() or w in _SMALL or w[0].isdigit() for w in words
            ):
                taken.append(Name(*match.span("name"), "title"))
        for match in _CAPITALS.finditer(rest):
            start, end = match.span()
            while opening := _OPENING.match(rest, start, end):
                start = opening.end()
            while end > start and text[start:end].endswith(("'s", "'", ".", ":", "-")):
                end -= 2 if text[start:end].endswith("'s") else 1
            if start >= end or any(start < t.end and end > t.start for t in taken):
                continue
            if kind := self._slot(text, start, end, found, taken):
                taken.append(Name(start, end, kind))
        yield from sorted(taken)

    def _slot(
        self, text: str, start: int, end: int, found: Sequence[Mention], taken: Sequence[Name]
    ) -> str:
        """What the capitals at start:end name where they stand: "title", a person's kind or ""."""
        before, after = text[max(start - 80, 0) : start], text[end : end + 60]
        words = text[start:end].split()
        several = len(words) > 1 and sum(w[0].isupper() for w in words) > 1
        listed = _LISTED.search(before)
        if listed:  # what it is listed with
            last = start - len(listed[0])
            for name in taken:
                if name.end == last:
                    return name.kind
            for mention in found:
                if mention.end == last:
                    people = [kind for kind, _ in mention.values if kind in ("director", "actor")]
                    if mention.title or people:
                        return "title" if mention.title else people[0]
        kind = role(before, after, "")
        if kind and (several or (kind == "director" and _NAMED_BY.search(before))):
            return kind if kind in self._kinds else ""
        weak = several and _WEAK.search(before) and not _EXAMPLE.search(before)
        if weak or _STRONG.search(before):
            return "title"
        opens = _OPENS.search(before) is not None
        return "title" if opens and several and _SUBJECT.match(after) else ""

    def _is_known(self, written: str, titles: Iterable[str]) -> bool:
        """Whether catalogue, input or everyday language know a name."""
        key = title_key(written)
        bare = re.sub(r"^(?:the|a|an) ", "", key)
        if not bare or f" {bare} " in self._known or _compact(key) in self._compact:
            return True
        words = [w for w in re.split(r"[\s-]+", written.lower()) if w not in _SMALL]
        if all(word.strip(".,'") in _ORDINARY or word.isdigit() for word in words):
            return True
        if self._matcher.mentions([written, written.lower()]).shape[0]:
            return True  # a genre, a theme, a short title
        own = map(title_key, titles)
        return any(
            f" {bare} " in f" {title} " or difflib.SequenceMatcher(None, key, title).ratio() > 0.85
            for title in own
        )

    def score(self, explanations: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
        """Scores "invented_name", one row each: 1 where a text holds an invented name, else 0.

        Raises `InputError` when an explanation has no sample.
        """
        about = samples_of(explanations, samples)
        check_texts(explanations["text"], "explanations: column 'text'")
        columns = explanations["text"], about["item_id"], about["history"]
        called = [
            float(bool(self.find(text, [item, *history])))
            for text, item, history in zip(*columns, strict=True)
        ]
        table = explanations[["sample_id", "system"]].reset_index(drop=True)
        return table.assign(metric=METRIC, value=called)


def _compact(text: str) -> str:
    return re.sub(r"\W", "", text)
