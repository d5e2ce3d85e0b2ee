"""Grounding: does an explanation stay with what history, item and catalogue support?

An exact-match checker of titles and attribute values in text, measured against the grammar
teacher's labels (`labelled_quality`). Left out on purpose: paraphrase ("the shark film"), facts
that no items table holds, and titles unknown to the catalogue (unless a quoted one is given as a
source). So it under-reports the errors of free writers; it is a lower bound, not a judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import ahocorasick
import numpy as np
import pandas as pd

from ..errors import InputError
from ..tables import check
from ..wording import attributes, plural, surfaces

METRICS = (
    "names_item",
    "foreign_title",
    "cites_history",
    "wrong_attribute",
    "unsupported_relation",
)

# Kinds whose values are names of people: written with their capitals. Others match in any case.
_NAMES = ("director", "actor", "author")
# Kinds with a closed vocabulary; all others (theme, category, ...) are free words such as "good".
_CLOSED = (*_NAMES, "genre", "decade")
# Titles that are also function words open sentences far more often than they name a film.
_FUNCTION_WORDS = frozenset(
    "a after all before go he her him his how i if in it its me my no now of on once or she so "
    "that the their them then they this to up us we what when where who why with you your".split()
)
_HISTORY = re.compile(
    r"(?:your|viewing|watch|watching|reading|user's|users?|their|my|own)\s+$", re.I
)
_RELATION = re.compile(
    r"\b(?P<copula>(?:is|was|are|were|been)\s+(?:\w+\s+)?)?"
    r"(?:based (?:up)?on|influenced by|inspired by|adapted from"
    r"|(?:a |the )?(?:remake|sequel|prequel) (?:of|to))\s+(?P<quote>[\"“”‘']\s*)?",
    re.I,
)
_OPENS_SENTENCE = re.compile(r"(?:^|[.!?:]\s+)[\"“”‘']?$")
# What stands between a title and words that describe this title: "Alien, a horror film".
_APPOSITION = re.compile(
    r"\s*,?\s*\(?(?:an?|the|which (?:is|was|has|stars)|that (?:is|was|has|stars)|is|was|has|stars"
    r"|starring|directed|written|with|by)\s",
    re.I,
)


class Mention(NamedTuple):
    """Characters start:end of a text; `titles` and `values` are what they can be."""

    start: int
    end: int
    title: str  # normalised title, "" if no catalogue title is written so
    values: frozenset[tuple[str, str]]  # (kind, value), empty if no attribute is written so


def normalise(text: str) -> str:
    """Lower case and plain apostrophes, of the same length as `text` (offsets stay valid).

    >>> normalise("It’s İZMİR"), len(normalise("İ"))
    ("it's İzmİr", 1)
    """
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters lower to two characters
        lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    return lowered.replace("’", "'").replace("‘", "'")


class Grounding:
    """Finds titles and attribute values of a catalogue in texts, and scores what they support.

    Matches are whole words, leftmost-longest, so a title inside a longer title or a person's name
    does not count. A title's capitals must be capitals in the text ("Heat" is not "heat"); a
    leading article may be small ("the Matrix"). Titles that are function words ("It") do not
    count at the start of a sentence, unless the film is the recommended one or in the history.
    One-word values of an open kind (a tag such as "good") count only where the text presents them
    as such: "about heists", "with heists as a theme", "whose themes include heists".

    >>> items = pd.DataFrame({"item_id": ["1", "2"], "title": ["Alien", "Aliens"],
    ...                       "genre": [["Horror"], ["Action"]]})
    >>> found = Grounding(items).mentions(["Like Aliens, this horror film is no alien to you."])
    >>> found[["start", "end", "kind", "value"]].values.tolist()
    [[5, 11, 'title', 'Aliens'], [18, 24, 'genre', 'Horror']]
    """

    def __init__(self, items: pd.DataFrame, noun: str = "film") -> None:
        check(items, "items")
        self._titles: dict[str, str] = dict(zip(items["item_id"], items["title"], strict=True))
        self._facts: dict[str, set[tuple[str, str]]] = {item: set() for item in self._titles}
        # normalised form -> its written titles, its values, and the values' written forms
        forms: dict[str, tuple[set[str], dict[tuple[str, str], str]]] = {}
        for title in self._titles.values():
            if title.strip():
                forms.setdefault(normalise(title), (set(), {}))[0].add(title)
        for kind, column in attributes(items).items():
            for item, values in zip(self._titles, column, strict=True):
                self._facts[item].update((kind, value) for value in values)
            for value in {value for values in column for value in values}:
                for form in surfaces(kind, value) + ((value[2:],) if kind == "decade" else ()):
                    forms.setdefault(normalise(form), (set(), {}))[1][kind, value] = form
        self._written = {key: titles for key, (titles, _) in forms.items() if titles}
        self._automaton = ahocorasick.Automaton()
        for key, payload in forms.items():
            self._automaton.add_word(key, (len(key), key, *payload))
        if forms:
            self._automaton.make_automaton()
        nouns = {noun, plural(noun), "film", "films", "movie", "movies"}
        self._noun = re.compile(rf"\s*(?:{'|'.join(map(re.escape, sorted(nouns)))})?\s*,?\s*", re.I)

    def mentions(self, texts: Iterable[str]) -> pd.DataFrame:
        """What stands where: text (its number), start, end, kind, value as the catalogue has it.

        kind is "title" or a kind of attribute; words that can be several things have several rows.
        """
        found = [
            (number, m.start, m.end, kind, value)
            for number, text in enumerate(texts)
            for m in self._find(text, frozenset())
            for kind, value in (
                *(("title", title) for title in sorted(self._written.get(m.title, ()))),
                *sorted(m.values),
            )
        ]
        return pd.DataFrame(found, columns=["text", "start", "end", "kind", "value"])

    def _find(self, text: str, expected: frozenset[str] | set[str]) -> list[Mention]:
        """Mentions in order. `expected`: normalised titles that are read as titles anywhere."""
        if not len(self._automaton):
            return []
        # All matches, then leftmost-longest among those that pass. `iter_long` would choose before
        # boundaries and capitals are checked, and a failed long match would hide a good short one.
        candidates = sorted(
            self._accepted(text, expected), key=lambda mention: (mention.start, -mention.end)
        )
        found: list[Mention] = []
        for mention in candidates:
            if not found or mention.start >= found[-1].end:
                found.append(mention)
        return found

    def _accepted(self, text: str, expected: frozenset[str] | set[str]) -> Iterator[Mention]:
        lowered = normalise(text)
        for last, (length, key, titles, values) in self._automaton.iter(lowered):
            start, end = last + 1 - length, last + 1
            if not _whole_words(lowered, start, end):
                continue
            written = text[start:end]
            title = key if any(_keeps_capitals(written, t) for t in titles) else ""
            if title in _FUNCTION_WORDS and title not in expected:
                if _OPENS_SENTENCE.search(text[:start]) and not text[:start].endswith(('"', "”")):
                    title = ""
            meant = frozenset(
                pair
                for pair, form in values.items()
                if (pair[0] not in _NAMES or _keeps_capitals(written, form))
                and (pair[0] in _CLOSED or not key.isalpha() or _marked(pair[0], text, start, end))
            )
            if key == "history" and _HISTORY.search(text[:start]):
                meant = frozenset()  # "your viewing history" is no genre
            if title or meant:
                yield Mention(start, end, title, meant)

    def score(self, explanations: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
        """Scores 0 or 1 of every explanation, one row for each metric of `METRICS`.

        - names_item: the recommended item's title stands in the text.
        - foreign_title: a catalogue title stands there that is neither the item's nor in the
          (whole) history: the headline measure of hallucination.
        - cites_history: at least one history title stands there.
        - wrong_attribute: a value of the catalogue's vocabulary stands there that the item lacks,
          outside of titles. Exempt are values said of another title: right after it, up to the
          next comma or stop ("Alien, a horror film"), or right before it ("the comedy Airplane!").
          A value said of both ("a taste for comedies") is a claim about the item. What the
          catalogue does not list, the item lacks; an item not in the catalogue is not judged
          (nan). Not seen: a right person in the wrong role (a director as an actor).
        - unsupported_relation: "based on", "influenced by" and the like, before a catalogue title
          or a quotation; the tables hold no such relations. A history title counts only after a
          form of "be", because "based on Alien, ..." may speak of the recommendation.

        Raises `InputError` when an explanation has no sample.
        """
        check(explanations, "explanations")
        check(samples, "samples")
        known = samples.set_index("sample_id")
        rows = known.index.get_indexer(explanations["sample_id"])
        if (rows < 0).any():
            lost = explanations["sample_id"].to_numpy()[rows < 0]
            raise InputError(
                f"samples: {len(lost)} of {len(explanations)} explanations have no sample, first "
                f"{lost[0]!r}; give the samples that were explained"
            )
        item_ids, histories = list(known["item_id"]), list(known["history"])
        values = np.array(
            [
                self._score_one(text, item_ids[row], histories[row])
                for text, row in zip(explanations["text"], rows, strict=True)
            ],
            dtype=float,
        ).reshape(-1, len(METRICS))
        wide = explanations[["sample_id", "system"]].reset_index(drop=True)
        wide = wide.join(pd.DataFrame(values, columns=list(METRICS)))
        return wide.melt(["sample_id", "system"], var_name="metric", value_name="value")

    def _score_one(self, text: str, item_id: str, history: Sequence[str]) -> tuple[float, ...]:
        item = normalise(self._titles.get(item_id, item_id))
        seen = {normalise(self._titles.get(past, past)) for past in history} - {item}
        facts = self._facts.get(item_id)
        found = self._find(text, seen | {item})
        # A word that can be a title or a true attribute of the item is read as the attribute.
        titles = {m.title for m in found if m.title and not (facts and m.values & facts)}
        titles |= {m.title for m in found if m.title == item}
        named = item in titles or (item_id not in self._titles and item in normalise(text))
        wrong = float("nan")
        if facts is not None:
            wrong = float(
                any(
                    m.values and not m.title and not m.values & facts
                    and not self._said_of_another(text, found, place, item)
                    for place, m in enumerate(found)
                )
            )  # fmt: skip
        return (
            float(named),
            float(bool(titles - seen - {item})),
            float(bool(titles & seen)),
            wrong,
            float(_relates(text, found, seen)),
        )

    def _said_of_another(self, text: str, found: list[Mention], place: int, item: str) -> bool:
        """Whether the value at `place` describes a title other than the item's."""
        value = found[place]
        if place + 1 < len(found) and found[place + 1].title not in ("", item):
            if self._noun.fullmatch(text[value.end : found[place + 1].start]):
                return True
        for other in reversed(found[:place]):
            if other.title:
                between = text[other.end : value.start]
                opening = _APPOSITION.match(between)
                return (
                    other.title != item
                    and opening is not None
                    and not re.search(r"[,;:.!?)]", between[opening.end() :])
                )
        return False


def _whole_words(text: str, start: int, end: int) -> bool:
    """No letter or digit touches text[start:end], not even across a hyphen."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    if text[start].isalnum() and before:
        if before[-1].isalnum() or (before[-1] == "-" and before[0].isalnum()):
            return False
    if text[end - 1].isalnum() and after:
        if after[0].isalnum() or (after[0] == "-" and after[-1].isalnum()):
            return False
    return True


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
    if written == title:
        return True
    skip = re.match(r"(?:The|A|An) ", title)
    pairs = list(zip(written, title, strict=True))[1 if skip else 0 :]
    return all(w.isupper() for w, t in pairs if t.isupper()) and any(t.isupper() for _, t in pairs)


def _relates(text: str, found: list[Mention], seen: set[str]) -> bool:
    """Whether the text calls something a source or a model of something."""
    starts = {mention.start: mention.title for mention in found if mention.title}
    for match in _RELATION.finditer(text):
        title = starts.get(match.end())
        quoted = match["quote"] is not None and title is None
        if quoted or (title is not None and (title not in seen or match["copula"])):
            return True
    return False


def grounding_scores(
    explanations: pd.DataFrame, samples: pd.DataFrame, items: pd.DataFrame, *, noun: str = "film"
) -> pd.DataFrame:
    """Scores of `METRICS` for explanations (any systems) of samples; see `Grounding.score`."""
    return Grounding(items, noun).score(explanations, samples)


def labelled_quality(explanations: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Precision and recall of the metric against explanations whose true `error` is known.

    `explanations` has a column error: "" or "title", "attribute", "relation" (the grammar
    teacher's). A title error is called where foreign_title fires without unsupported_relation
    (a false relation names a foreign title too); "any" is any of the three. Columns: error,
    labelled, called, hits, precision, recall (nan where there is nothing to divide by).
    """
    check(explanations, "explanations")
    if "error" not in explanations.columns:
        raise InputError("explanations: column 'error' is missing; only a labelled teacher has it")
    keys = ["sample_id", "system"]
    wide = scores.pivot(index=keys, columns="metric", values="value")
    joined = explanations[[*keys, "error"]].merge(wide, on=keys, how="left", validate="1:1")
    if joined["foreign_title"].isna().any():
        raise InputError("scores: some labelled explanations are not scored; score all of them")
    fired = joined[["foreign_title", "wrong_attribute", "unsupported_relation"]].eq(1)
    calls = {
        "title": fired["foreign_title"] & ~fired["unsupported_relation"],
        "attribute": fired["wrong_attribute"],
        "relation": fired["unsupported_relation"],
        "any": fired.any(axis=1),
    }
    records = []
    for kind, called in calls.items():
        labelled = joined["error"].ne("") if kind == "any" else joined["error"].eq(kind)
        hits = int((called & labelled).sum())
        records.append((kind, int(labelled.sum()), int(called.sum()), hits))
    frame = pd.DataFrame(records, columns=["error", "labelled", "called", "hits"])
    return frame.assign(
        precision=frame["hits"] / frame["called"].replace(0, np.nan),
        recall=frame["hits"] / frame["labelled"].replace(0, np.nan),
    )
