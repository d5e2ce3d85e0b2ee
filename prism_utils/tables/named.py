"""Items by what people call them: an id, or a title in whatever case and composition."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import pandas as pd


class Named:
    """The items of a catalogue by id and by title. An id wins, then a title as it is written.

    >>> named = Named(pd.DataFrame({"item_id": ["1", "2", "3"], "title": ["Alien", "Up", "Up"]}))
    >>> named.id_of("1"), named.id_of(" alien"), named.id_of("Up"), named.id_of("Heat")
    ('1', '1', None, None)
    >>> "Up" in named, "Heat" in named
    (True, False)
    """

    def __init__(self, items: pd.DataFrame) -> None:
        ids, titles = items["item_id"].tolist(), items["title"].tolist()
        self._written = _alone(titles, ids) | dict(zip(ids, ids, strict=True))
        self._alike = _alone(map(_plain, titles), ids)

    def __contains__(self, name: str) -> bool:
        return name in self._written or _plain(name) in self._alike

    def id_of(self, name: str) -> str | None:
        """The one item of this name; None if there is none, or more than one."""
        return self._written[name] if name in self._written else self._alike.get(_plain(name))


def _plain(title: str) -> str:
    """A title as people may also write it: composed or not, in another case, with blanks around."""
    return unicodedata.normalize("NFC", title).casefold().strip()


def _alone(titles: Iterable[str], ids: Iterable[str]) -> dict[str, str | None]:
    """The id of each title; None for a title that several items have."""
    found: dict[str, str | None] = {}
    for title, item in zip(titles, ids, strict=True):
        found[title] = None if title in found else item
    return found
