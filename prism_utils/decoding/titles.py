"""`titles="shown"`: texts that name no catalogue title but the item's and those of the history.

A text is written freely, then read by `metrics.grounding`, as the metric foreign_title reads it:
"Aliens", "Alienation" and an everyday "it" are no "Alien" and no "It". Only one that names a
foreign title is written again, with tokens forbidden from this title on (`_Rules`). So a text that
names none is, token for token, what `titles="any"` writes, on every backend, and costs one
reading. Left out: what no catalogue holds, misspelt or shortened titles, and what a text says of a
title.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence, Set
from itertools import accumulate, count

import numpy as np

from ..metrics.receipts import Auditor
from ..metrics.spelling import spell
from ..students.inputs import Reader
from .asked import Asked

_TRIES = 16  # times that a text is written again before it is cut short


class ShownTitles:
    """A catalogue's titles as texts and as tokens; made once, and never changed by a request.

    A title that is one token (of students trained from scratch, most are) is forbidden as a whole;
    of one in pieces the piece that began it, and if that does not help all that begin titles.
    """

    def __init__(self, auditor: Auditor, reader: Reader) -> None:
        """auditor: of the catalogue; reader: of the student's tokens."""
        self._auditor = auditor
        spelt = [text.lstrip() for text in reader.batch_decode([[i] for i in range(len(reader))])]
        self._tokens: dict[str, list[int]] = {}  # a text without blanks before it -> its tokens
        for token, text in enumerate(spelt):
            self._tokens.setdefault(text, []).append(token)
        titles = sorted(set(auditor.titles.values()))
        self._whole, self._begin = np.zeros((2, len(spelt)), bool)
        for text, tokens in self._tokens.items():
            place = bisect_left(titles, text)
            after = titles[place] if place < len(titles) else ""
            # A small letter begins titles too rarely to be forbidden to all words.
            if after.startswith(text) and (text[:1].isupper() or text[:1].isdigit()):
                self._begin[tokens] = True
            # Two letters are the beginning of other words more often than a title.
            if len(text) > 2 and after == text and self._anywhere(text):
                self._whole[tokens] = True

    def _anywhere(self, title: str) -> bool:
        """Whether these words are a title wherever they stand, unlike "It" and "300"."""
        plain = " " in title and any(letter.isalpha() for letter in title)
        return plain or any(m.title for m in self._auditor.find(spell(f"{title} is here.")))

    def place(self, text: str, item: str, past: Sequence[str]) -> int | None:
        """Where in a text the first title begins that is neither the item's nor of `past`.

        item, past: ids or titles. None: no such title stands there.
        """
        known = self._auditor.id_of
        read = self._auditor.read(text, known(item), [*map(known, past)])
        if foreign := read.titles - read.seen - {read.item}:
            for found in read.found:
                # What can be a title or a true attribute of the item is read as the attribute.
                if found.title in foreign and not (read.facts and found.values & read.facts):
                    return read.spelled.span(found.start, found.end)[0]
        return None

    def rules(self, shown: Set[str]) -> _Rules:
        """Of a request that shows these ids and titles: what begins them is not forbidden."""
        whole, begin = self._whole.copy(), self._begin.copy()
        for name in shown:
            title = self._auditor.titles.get(self._auditor.id_of(name), name)
            for start in accumulate(title):
                if needed := self._tokens.get(start):
                    whole[needed] = begin[needed] = False
        return _Rules(whole, begin)

    def write(
        self,
        write: Callable[..., list[list[int]]],
        decode: Callable[[list[list[int]]], list[str]],
        requests: Sequence[int],
        asked: Asked,
    ) -> tuple[list[list[int]], list[str]]:
        """Tokens and text of each of these `requests`, as `write` gives them, no title foreign.

        write(requests, forbid=…): their tokens; `forbid` as the backends take it. A text that names
        a foreign title whatever is forbidden ends before it: no request is left without an answer.
        """
        rows = list(range(len(requests)))  # whose texts are new
        shown = [(asked.items[n], asked.histories[n]) for n in requests]
        tokens = write(requests)
        texts = decode(tokens)
        rules: dict[int, _Rules] = {}
        for tried in count():
            places = {}
            for row in rows:
                text, (item, past) = texts[row].lstrip(), shown[row]
                start = self.place(text.rstrip(), item, past)
                if start is not None:
                    start += len(texts[row]) - len(text)
                    places[row] = _token_at(tokens[row], start, decode)
                    if row not in rules:
                        rules[row] = self.rules({item, *past})
            if not places:
                break
            rows = list(places)
            if tried < _TRIES:
                for row, place in places.items():
                    rules[row].add(tokens[row], place)
                after = [rules[row].after for row in rows]
                new = write(
                    [requests[row] for row in rows],
                    forbid=lambda n, written, after=after: after[n](written),
                )
            else:
                new = [tokens[row][:place] for row, place in places.items()]
            for row, one, text in zip(rows, new, decode(new), strict=True):
                tokens[row], texts[row] = one, text
        return tokens, texts


def _token_at(tokens: list[int], start: int, decode: Callable[[list[list[int]]], list[str]]) -> int:
    """The number of the token that holds letter `start` of the text."""
    texts = decode([tokens[: n + 1] for n in range(len(tokens))])
    return next((n for n, text in enumerate(texts) if len(text) > start), len(tokens) - 1)


class _Rules:
    """What one text may not go on with: after the tokens where it went wrong, and later."""

    def __init__(self, whole: np.ndarray, begin: np.ndarray) -> None:
        """(tokens,) truth values: what foreign titles are, as whole tokens, and begin with."""
        self._whole, self._begin = whole, begin
        self._later = np.flatnonzero(whole)
        self._after: dict[tuple[int, ...], np.ndarray] = {}  # written -> truth values
        self._from: int | None = None
        self._tried = 0

    def add(self, tokens: list[int], place: int) -> None:
        """The token at `place` begins a foreign title."""
        before = tuple(tokens[:place])
        known = self._after.get(before)
        self._after[before] = self._whole.copy() if known is None else known | self._begin
        self._after[before][tokens[place]] = True
        self._from = place if self._from is None else min(place, self._from)
        self._tried += 1
        if self._tried == _TRIES // 2:  # a student bent on titles: none may begin from here on
            self._later = np.flatnonzero(self._whole | self._begin)

    def after(self, written: Sequence[int]) -> np.ndarray:
        """Forbidden tokens (any number,) after those written."""
        here = self._after.get(tuple(written))
        if here is not None:
            return np.flatnonzero(here)
        late = self._from is not None and len(written) >= self._from
        return self._later if late else self._later[:0]
