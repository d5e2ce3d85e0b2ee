"""Grounding: does an explanation stay with what history, item and catalogue support?

An exact-match checker of titles and attribute values in text, measured against the grammar
teacher's labels (`labelled_quality`) and on sentences labelled by hand (`hand_labelled_quality`).
Left out on purpose: paraphrase ("the shark film"), shortened titles, facts that no items table
holds, and titles unknown to the catalogue (unless a quoted one is given as a source). So it
under-reports the errors of free writers; it is a lower bound, not a judge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import ahocorasick
import numpy as np
import pandas as pd

from ..corpora.embedded import CATALOGUE, read_catalogue
from ..errors import InputError
from ..tables import check
from ..wording import attributes, plural, readings

METRICS = (
    "names_item",
    "foreign_title",
    "cites_history",
    "wrong_attribute",
    "unsupported_relation",
    "grounded",
    "groundings",
)
LABELS = METRICS[:-1]  # of the sentences labelled by hand
LABELLED = Path(__file__).with_name("labelled.jsonl")

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
_RELATION = re.compile(
    r"\b(?P<copula>(?:is|was|are|were|been)\s+(?:\w+\s+)?)?"
    r"(?:based (?:up)?on|influenced by|inspired by|adapted from"
    r"|(?:a |the )?(?:remake|sequel|prequel) (?:of|to))\s+(?P<quote>[\"“”‘']\s*)?",
    re.I,
)
_RELATION_STEMS = ("ased", "nflu", "nspi", "dapt", "make", "quel", "ASED", "NFLU")
_OPENS_SENTENCE = re.compile(r"(?:^|[.!?:]\s+)[\"“”‘']?$")
_QUOTES = ('"', "“", "”", "‘", "'")
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


def _key(text: str) -> str:
    """The normalised words and marks of a title or value, one blank between any two."""
    return " ".join(_TOKEN.findall(normalise(text)))


class Grounding:
    """Finds titles and attribute values of a catalogue in texts, and scores what they support.

    Matches are whole words, leftmost-longest, so a title inside a longer title or a person's name
    does not count. A title's capitals must be capitals in the text ("Heat" is not "heat"); a
    leading article may be small ("the Matrix"). One-word titles that are everyday openings of a
    sentence ("It", "Up", "Seven") do not count there, where every word has a capital, unless they
    are quoted or the film is the recommended one or in the history; nor do their contractions
    ("It's"). One-word values of an open kind (a tag such as "good") count only where the text
    presents them as such: "about heists", "with heists as a theme", "whose themes include heists".
    Building it reads the whole catalogue; build it once and score many tables with it.

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
        self._key = {item: _key(title) for item, title in self._titles.items()}
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
                    self._forms.setdefault(_key(form), (set(), {}))[1][kind, value] = form
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
        nouns = {noun, plural(noun), "film", "films", "movie", "movies"}
        self._noun = re.compile(rf"\s*(?:{'|'.join(map(re.escape, sorted(nouns)))})?\s*,?\s*", re.I)

    def mentions(self, texts: Iterable[str]) -> pd.DataFrame:
        """What stands where: text (its number), start, end, kind, value as the catalogue has it.

        kind is "title" or a kind of attribute; words that can be several things have several rows.
        """
        found = [
            (number, m.start, m.end, kind, value)
            for number, text in enumerate(texts)
            for m in self._find(text)
            for kind, value in (
                *(("title", title) for title in sorted(self._forms[m.title][0] if m.title else ())),
                *sorted(m.values),
            )
        ]
        return pd.DataFrame(found, columns=["text", "start", "end", "kind", "value"])

    def _find(self, text: str, expected: Set[str] = frozenset()) -> list[Mention]:
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

    def score(
        self, explanations: pd.DataFrame, samples: pd.DataFrame, *, workers: int = 1
    ) -> pd.DataFrame:
        """Scores of every explanation, one row for each metric of `METRICS`; 0 or 1 but the last.

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
        - grounded: the text names a history title or an attribute that the item shares with a
          film of its history.
        - groundings: how many different such titles and attributes it names, 0 and up.

        `workers` processes share the explanations; more than one pays off from some thousands on.
        Raises `InputError` when an explanation has no sample.
        """
        if workers < 1:
            raise InputError(f"workers must be 1 or more, found {workers}")
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
        item_ids, histories = known["item_id"].tolist(), known["history"].tolist()
        asked = [
            (text, item_ids[row], histories[row])
            for text, row in zip(explanations["text"].tolist(), rows, strict=True)
        ]
        if workers > 1 and asked:
            size = max(-(-len(asked) // (4 * workers)), 1)
            chunks = [asked[start : start + size] for start in range(0, len(asked), size)]
            with ProcessPoolExecutor(workers, initializer=_start, initargs=(self,)) as pool:
                values = np.concatenate(list(pool.map(_score_chunk, chunks)))
        else:
            values = self._score_all(asked)
        wide = explanations[["sample_id", "system"]].reset_index(drop=True)
        wide = wide.join(pd.DataFrame(values, columns=list(METRICS)))
        return wide.melt(["sample_id", "system"], var_name="metric", value_name="value")

    def _score_all(self, asked: Iterable[tuple[str, str, Sequence[str]]]) -> np.ndarray:
        rows = [self._score_one(*each) for each in asked]
        return np.array(rows, dtype=float).reshape(-1, len(METRICS))

    def _score_one(self, text: str, item_id: str, history: Sequence[str]) -> tuple[float, ...]:
        item = self._key.get(item_id) or _key(item_id)
        facts = self._facts.get(item_id)
        past = set(history)
        found = self._find(text, past | {item_id})
        # A word that can be a title or a true attribute of the item is read as the attribute.
        titles = {m.title for m in found if m.title and not (facts and m.values & facts)}
        titles |= {m.title for m in found if m.title == item}
        seen = {t for t in titles if t != item and not self._ids[t].isdisjoint(past)}
        named = item in titles or (
            item_id not in self._titles and normalise(item_id) in normalise(text)
        )
        wrong, shared = float("nan"), set[tuple[str, str]]()
        if facts is not None:
            others = past - {item_id}
            wrong = float(
                any(
                    m.values and not m.title and not m.values & facts
                    and not self._said_of_another(text, found, place, item)
                    for place, m in enumerate(found)
                )
            )  # fmt: skip
            for true in {m.values & facts for m in found if m.values and m.title not in titles}:
                both = [v for v in sorted(true) if not self._holders[v].isdisjoint(others)]
                shared.update(both[:1])  # a name that directs and acts is one attribute
        groundings = len(seen) + len(shared)
        return (
            float(named),
            float(bool(titles - seen - {item})),
            float(bool(seen)),
            wrong,
            float(_relates(text, found, seen)),
            float(groundings > 0),
            float(groundings),
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


_shared: list[Grounding] = []  # in a worker process: the matcher that it was started with


def _start(grounding: Grounding) -> None:
    _shared[:] = [grounding]


def _score_chunk(asked: list[tuple[str, str, Sequence[str]]]) -> np.ndarray:
    return _shared[0]._score_all(asked)


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


def _relates(text: str, found: list[Mention], seen: Set[str]) -> bool:
    """Whether the text calls something a source or a model of something."""
    if not any(word in text for word in _RELATION_STEMS):  # far cheaper than the search
        return False
    starts = {mention.start: mention.title for mention in found if mention.title}
    for match in _RELATION.finditer(text):
        title = starts.get(match.end())
        quoted = match["quote"] is not None and title is None
        if quoted or (title is not None and (title not in seen or match["copula"])):
            return True
    return False


def grounding_scores(
    explanations: pd.DataFrame,
    samples: pd.DataFrame,
    items: pd.DataFrame,
    *,
    noun: str = "film",
    workers: int = 1,
) -> pd.DataFrame:
    """Scores of `METRICS` for explanations (any systems) of samples; see `Grounding.score`."""
    return Grounding(items, noun).score(explanations, samples, workers=workers)


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
    return _with_quality(frame)


def hand_labelled(path: Path | str = LABELLED) -> pd.DataFrame:
    """Sentences about films of the embedded catalogue, with what a careful reader says of each.

    Columns: sample_id, category, text, item_id, history, the labels foreign_title,
    wrong_attribute, unsupported_relation, cites_history, names_item and grounded (0 or 1), and
    mentions (the films and attributes that the reader found, in the reader's words). The reader
    knows the films: a shortened, misspelt or described title is that film, a true relation ("the
    sequel to Alien") is supported, and a false role is a wrong attribute. One reader labelled
    all, before the metric was run on these sentences; no answer of it was changed afterwards.
    Those of category "student" are outputs of students and those of "the paper's tables" are
    printed there; the others were written to be hard, so no rate over all is that of a system.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return pd.DataFrame([json.loads(line) for line in lines])


def hand_labelled_quality(path: Path | str = LABELLED) -> pd.DataFrame:
    """Precision and recall of each metric on the sentences labelled by hand, by category.

    Columns: category ("all" first), metric, n (sentences), labelled, called, hits, precision,
    recall (nan where there is nothing to divide by).
    """
    rows = hand_labelled(path)
    samples = rows[["sample_id", "item_id", "history"]].assign(user_id="reader", split="test")
    texts = rows[["sample_id", "text"]].assign(system="hand")
    scores = grounding_scores(texts, samples, read_catalogue(CATALOGUE))
    called = scores.pivot(index="sample_id", columns="metric", values="value").eq(1)
    long = rows.melt(["sample_id", "category"], LABELS, var_name="metric", value_name="labelled")
    index = pd.MultiIndex.from_frame(long[["sample_id", "metric"]])
    long["called"] = called.stack().reindex(index).to_numpy(dtype=bool)
    long["labelled"] = long["labelled"].eq(1)
    long["hits"] = long["called"] & long["labelled"]
    long = pd.concat([long.assign(category="all"), long], ignore_index=True)
    groups = long.groupby(["category", "metric"], sort=False)
    table = groups[["labelled", "called", "hits"]].sum()
    table.insert(0, "n", groups.size())
    return _with_quality(table.reset_index())


def _with_quality(counts: pd.DataFrame) -> pd.DataFrame:
    return counts.assign(
        precision=counts["hits"] / counts["called"].replace(0, np.nan),
        recall=counts["hits"] / counts["labelled"].replace(0, np.nan),
    )
