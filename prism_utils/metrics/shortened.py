"""Shorter and looser ways to write a title or a name, for the matcher of a catalogue.

"Anchorman", "The Two Towers", "Silence of the Lambs", "Rocky 2", "Amelie", "Scorsese". Left out on
purpose: misspelt and described titles, nicknames, and whether a text means one (`mentions`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from .spelling import spell

_ARTICLE = re.compile(r"(?:The|A|An) (?=\S)")
_PARTED = re.compile(r":\s+|\s[-—]\s|\s+or:\s+|,?\s\(?or\s(?=[A-Z(])|\s+\(")
_ADDED = re.compile(r"(?<=[^\s,]) (?:with|the) (?=[A-Z])")
_LINKS = frozenset(
    "a an and are as at be before behind beyond but by for from in into is like meet of off on or "
    "over the to under up upon vs with without".split()
)
_OWNED = re.compile(r"((?:[A-Z]\w+ )+[A-Z]\w+)'s [A-Z]")
_MARKS = re.compile(r"[!?.,:;'*]+")
# Parts that say which of a series it is, not which series.
_COUNT = re.compile(
    r"(?:(?:the )?(?:part|episode|chapter|vol\.?|volume|book|no\.?|number|season|series|movie|film"
    r"|beginning|final chapter|next generation|sequel|musical|motion picture|director's cut"
    r"|extended edition|special edition)\b ?)?(?:[\dIVX]*|one|two|three|four)\.?",
    re.I,
)
_ROMAN = {"II": "2", "III": "3", "IV": "4", "V": "5", "VI": "6", "VII": "7", "VIII": "8",
          "IX": "9"}  # fmt: skip
_ARABIC = {arabic: roman for roman, arabic in _ROMAN.items()}
_SPELT = {"2": "Two", "II": "Two", "3": "Three", "III": "Three", "4": "Four", "IV": "Four"}
_ORDINAL = re.compile(r"(?<=\S )(II|III|IV|V|VI|VII|VIII|IX|[2-9])(?=$|:| -)")
_PARTICLES = frozenset("da de del della der di du la le st van von".split())
_SUFFIX = re.compile(r",? (?:Jr|Sr)\.?$| [IV]+$")


def plain_letters(text: str) -> str:
    """`text` without its accents.

    >>> plain_letters("Amélie"), plain_letters("Renée Zellweger")
    ('Amelie', 'Renee Zellweger')
    """
    if text.isascii():
        return text
    letters = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", "".join(c for c in letters if not unicodedata.combining(c)))


def short_titles(title: str) -> set[str]:
    """Other ways to write a title: without subtitle, article, marks or accents, other numerals.

    >>> sorted(short_titles("Alien Rain: The Last Storm"))
    ['Alien Rain', 'Alien Rain The Last Storm', 'Last Storm', 'The Last Storm']
    >>> sorted(short_titles("Airplane!")), sorted(short_titles("Heat"))
    (['Airplane'], [])
    """
    title = spell(title).text
    parts = [part for part in _PARTED.split(title) if not _COUNT.fullmatch(part.strip())]
    forms = {title}
    if len(parts) > 1:
        forms |= {parts[0], parts[-1].strip("()")}
    if added := _ADDED.search(title):
        before = title[: added.start()]
        if before.count(" ") < 3 and before.split()[-1].lower() not in _LINKS:
            forms.add(before)
    if owned := _OWNED.match(title):
        forms.add(owned[1])
    for form in tuple(forms):
        if number := _ORDINAL.search(form):
            for other in (_ROMAN, _ARABIC, _SPELT):
                if there := other.get(number[1]):
                    forms.add(form[: number.start()] + there + form[number.end() :])
    forms |= {_ARTICLE.sub("", form, count=1) for form in forms if _ARTICLE.match(form)}
    forms |= {plain_letters(form) for form in forms}
    forms |= {" ".join(_MARKS.sub("", form).split()) for form in forms}
    return {form for form in forms if len(form) > 1 and re.search(r"[A-Z]", form)} - {title}


def surname(name: str) -> str:
    """The last name of a person with what belongs to it; "" where there is one name only.

    >>> surname("Robert De Niro"), surname("Robert Downey Jr."), surname("Banksy")
    ('De Niro', 'Downey', '')
    """
    words = _SUFFIX.sub("", name).split()
    last = len(words) - 1
    while last > 1 and words[last - 1].lower() in _PARTICLES:
        last -= 1
    return " ".join(words[last:]) if last > 0 and len(words[-1]) > 2 else ""


def names_without_accents(name: str) -> set[str]:
    """A person's name in other letters: no accents, no hyphens, no initial in the middle.

    >>> sorted(names_without_accents("Samuel L. Jackson"))
    ['Samuel Jackson']
    """
    forms = {plain_letters(name), name.replace("-", " "), re.sub(r"(?<=\w) [A-Z]\.(?= )", "", name)}
    return forms - {name}


def unique_surnames(names: Iterable[str]) -> dict[str, str]:
    """surname -> the only name of `names` that has it."""
    owners: dict[str, set[str]] = {}
    for name in names:
        if last := surname(name):
            owners.setdefault(last, set()).add(name)
    return {last: next(iter(whole)) for last, whole in owners.items() if len(whole) == 1}


def keeps_capitals(written: str, title: str) -> bool:
    """Every capital of `title` is one in `written`; a leading article's need not be."""
    written, title = (" ".join(text.split()).replace("—", "-") for text in (written, title))
    if written.replace(" ", "") == title.replace(" ", ""):
        return True
    skip = re.match(r"(?:The|A|An) ", title)
    letters = zip(written.replace(" ", ""), title.replace(" ", ""), strict=True)
    pairs = list(letters)[1 if skip else 0 :]
    return all(w.isupper() for w, t in pairs if t.isupper()) and any(t.isupper() for _, t in pairs)
