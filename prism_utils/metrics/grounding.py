"""Grounding: does an explanation stay with what history, item and catalogue support?

A checker of titles and attribute values in text, measured against the grammar teacher's labels
(`labelled_quality`) and on sentences labelled by hand (`hand_labelled_quality`). Left out on
purpose: paraphrase ("the shark film"), facts that no items table holds, and titles unknown to the
catalogue (unless a quoted one is given as a source; `names` finds others). So it under-reports the
errors of free writers; it is a lower bound, not a judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..errors import InputError
from ..tables import check
from ..wording import plural
from .inputs import check_least, check_texts, read_labels, samples_of
from .mentions import _TOKEN, Matcher, Mention, _lower, title_key
from .roles import PEOPLE
from .shortened import keeps_capitals
from .spelling import Spelled, spell

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
LABELLED_NEW = Path(__file__).with_name("labelled_new.jsonl")

_RELATION = re.compile(
    r"\b(?P<copula>(?:is|was|are|were|been)\s+(?:\w+\s+)?)?"
    r"(?:based (?:up)?on|influenced by|inspired by|adapted from"
    r"|(?:a |the )?(?:remake|sequel|prequel) (?:of|to))\s+(?P<quote>(?:\"|'(?!\d))\s*)?",
    re.I,
)
_RELATION_STEMS = ("ased", "nflu", "nspi", "dapt", "make", "quel", "ASED", "NFLU")
_QUOTED = re.compile(r"[^\"'.!?]*[\"']?")  # what a quotation holds, to its end
# What stands between a title and words that describe this title: "Alien, a horror film".
_APPOSITION = re.compile(
    r"[\"',]*\s*,?\s*\(?(?:an?|the|which|that|where|whose|is|was|has|had|made|makes|gave|offered"
    r"|stars|starred|starring|features|featured|directed|written|with|by|from|of)\s|[\"']*\s\($",
    re.I,
)
# What stands between a person and a title that the person is said to belong to: "Tom Hanks in Big".
_BELONGS = re.compile(
    r"(?:'s? [\w-]+|,? (?:(?:is |was )?the )?(?:directors?|stars?|makers?|leads?|actor|actress))?"
    r"(?!.*\b(?:vein|style|spirit|manner|tradition|line|way)\b)"
    r"(?:\s[\w-]+){0,4}?\s(?:in|from|of|behind|directed|directs|made|helmed)\s[\"']?"
)
_WITHIN = re.compile(r"\s(?:of|in)\s[\"']?")
_OF_WHOM = ("of", "as", "behind", "with")
# Before another title: the item is said to share a person with it.
_SAME_PERSON = re.compile(
    r"\b(?:from|by|has|have|with|shares?) (?:the |its |their )?(?:same )?"
    r"(?P<role>director|star|lead|lead actor|cast|author)s? (?:of|as|behind|with)\s[\"']?$",
    re.I,
)


class Read(NamedTuple):
    """What a text says of an item, in one spelling: mentions, and what history and facts know.

    item: key of its title. facts: its (kind, value) pairs, None where no catalogue holds it. past:
    the history. titles: keys that are named as titles; seen: those of the history. strange: place
    of each value that the item lacks -> key of another title that it is said of, or "". unshared:
    start, end, kind and value of each person that the item is said to share with a title and does
    not. relations: start, end and title, if it is one, of each source or model that the text names.
    """

    spelled: Spelled
    found: list[Mention]
    item: str
    facts: set[tuple[str, str]] | None
    past: set[str]
    titles: set[str]
    seen: set[str]
    strange: dict[int, str]
    unshared: list[tuple[int, int, str, str]]
    relations: list[tuple[int, int, Mention | None]]


class Grounding(Matcher):
    """A matcher of a catalogue that scores what a text's mentions support.

    `noun`: what an item is called. Built of a whole catalogue; build it once and score many tables.
    """

    def __init__(self, items: pd.DataFrame, noun: str = "film") -> None:
        super().__init__(items)
        if not isinstance(noun, str) or not noun.strip():
            raise InputError(f"noun must be a word such as 'film', found {noun!r}")
        nouns = {noun, plural(noun), "film", "films", "movie", "movies"}
        self._noun = re.compile(
            rf"\s*(?:{'|'.join(map(re.escape, sorted(nouns)))})?\s*,?\s*[\"']?", re.I
        )

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
          (nan). A right person in the wrong role (a director as an actor) is a wrong value.
        - unsupported_relation: "based on", "influenced by" and the like, before a catalogue title
          or a quotation; the tables hold no such relations. A history title counts only after a
          form of "be", because "based on Alien, ..." may speak of the recommendation.
        - grounded: the text names a history title or an attribute that the item shares with a
          film of its history.
        - groundings: how many different such titles and attributes it names, 0 and up.

        `workers` processes share the explanations; more than one pays off from some thousands on.
        Raises `InputError` when an explanation has no sample.
        """
        check_least(1, workers=workers)
        about = samples_of(explanations, samples)
        columns = explanations["text"], about["item_id"], about["history"]
        asked = list(zip(*columns, strict=True))
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
        read = self.read(text, item_id, history)
        item, titles, seen, facts = read.item, read.titles, read.seen, read.facts
        named = item in titles or (
            item_id not in self._titles and f" {item} " in f" {title_key(read.spelled.text)} "
        )
        wrong, shared = float("nan"), set[tuple[str, str]]()
        if facts is not None:
            wrong = float("" in read.strange.values() or bool(read.unshared))
            others = read.past - {item_id}
            for true in {
                m.values & facts for m in read.found if m.values and m.title not in titles
            }:
                both = [v for v in sorted(true) if not self._holders[v].isdisjoint(others)]
                shared.update(both[:1])  # a name that directs and acts is one attribute
        groundings = len(seen) + len(shared)
        return (
            float(named),
            float(bool(titles - seen - {item})),
            float(bool(seen)),
            wrong,
            float(bool(read.relations)),
            float(groundings > 0),
            float(groundings),
        )

    def read(self, text: str, item_id: str, history: Sequence[str]) -> Read:
        """What a text says of an item: the one reading that scores and receipts are made of."""
        facts = self._facts.get(item_id)
        item = self._key.get(item_id) or title_key(item_id)
        past = set(history)
        spelled = spell(text)
        found = self.find(spelled, past | {item_id})
        # Titles that no catalogue holds, as they were asked for; an item's in whatever case.
        free: dict[str, str] = {}
        if unknown := past.difference(self._titles):
            free = {title_key(name): name for name in unknown}
            free = {key: name for key, name in free.items() if key not in self._ids and key != item}
        if free or item not in self._ids:
            found = _with_free(spelled, found, free, item if item not in self._ids else "")
        # A word that can be a title or a true attribute of the item is read as the attribute.
        titles = {m.title for m in found if m.title and not (facts and m.values & facts)}
        titles |= {m.title for m in found if m.title == item}
        seen = {t for t in titles if t != item and (t in free or not self._ids[t].isdisjoint(past))}
        strange: dict[int, str] = {}
        if facts is not None:
            for place, m in enumerate(found):
                if m.values and not m.title and not m.values & facts:
                    strange[place] = self._said_of(spelled.text, found, place, item)
        unshared = [] if facts is None else self._unshared(spelled.text, found, item, facts)
        relations = _relations(spelled.text, found, seen)
        return Read(
            spelled, found, item, facts, past, titles, seen, strange, unshared, relations
        )  # fmt: skip

    def _unshared(
        self, text: str, found: list[Mention], item: str, facts: Set[tuple[str, str]]
    ) -> list[tuple[int, int, str, str]]:
        """Where a text says "from the director of" a title that has another: who that is."""
        told = []
        for title in found:
            before = text[max(title.start - 40, 0) : title.start]
            if title.title in ("", item) or not before.rstrip(" \"'").endswith(_OF_WHOM):
                continue
            if said := _SAME_PERSON.search(before):
                role = said["role"].lower()
                kind = role if role in ("director", "author") else "actor"
                ids = self._ids.get(title.title, ())
                known = [self._facts.get(other, set()) for other in ids]
                theirs = {value for of_one in known for value in of_one if value[0] == kind}
                if theirs and not theirs & facts:
                    start = title.start - len(before) + said.start()
                    told.append((start, start + len(said[0].rstrip(" \"'")), *min(theirs)))
        return told

    def _said_of(self, text: str, found: list[Mention], place: int, item: str) -> str:
        """Key of the title other than the item's that the value at `place` describes, or ""."""
        value = found[place]
        if place + 1 < len(found) and found[place + 1].title not in ("", item):
            between = text[value.end : found[place + 1].start]
            person = any(kind in PEOPLE for kind, _ in value.values)
            belongs = _BELONGS if person else _WITHIN
            if self._noun.fullmatch(between) or belongs.fullmatch(between):
                return found[place + 1].title
        for other in reversed(found[:place]):
            if other.title:
                between = text[other.end : value.start]
                opening = _APPOSITION.match(between)
                if (
                    other.title != item
                    and opening is not None
                    and not re.search(r"[,;:.!?)]", between[opening.end() :])
                ):
                    return other.title
                return ""
        return ""


_shared: list[Grounding] = []  # in a worker process: the matcher that it was started with


def _start(grounding: Grounding) -> None:
    _shared[:] = [grounding]


def _score_chunk(asked: list[tuple[str, str, Sequence[str]]]) -> np.ndarray:
    return _shared[0]._score_all(asked)


def _relations(
    text: str, found: list[Mention], seen: Set[str]
) -> list[tuple[int, int, Mention | None]]:
    """Where the text calls something a source or a model of something, and which title it names."""
    if not any(word in text for word in _RELATION_STEMS):  # far cheaper than the search
        return []
    starts = {mention.start: mention for mention in found if mention.title}
    told: list[tuple[int, int, Mention | None]] = []
    for match in _RELATION.finditer(text):
        if told and match.start() < told[-1][1]:
            continue  # within a quotation
        named = starts.get(match.end())
        if named is None and match["quote"] is not None:
            quoted = _QUOTED.match(text, match.end())
            told.append((match.start(), quoted.end() if quoted else match.end(), None))
        elif named is not None and (named.title not in seen or match["copula"]):
            told.append((match.start(), named.end, named))
    return told


def _with_free(
    spelled: Spelled, found: list[Mention], free: Mapping[str, str], item: str
) -> list[Mention]:
    """`found` with titles that no catalogue holds: those of `free` by key, and the key `item`."""
    lowered = _lower(spelled.text)
    tokens = list(_TOKEN.finditer(lowered))
    line = f" {' '.join(token[0] for token in tokens)} ".replace("—", "-")
    for key in filter(None, (item, *free)):
        for match in re.finditer(rf" {re.escape(key)}(?= )", line):
            first = line.count(" ", 0, match.start())
            start, end = tokens[first].start(), tokens[first + key.count(" ")].end()
            written = spelled.text[start:end]
            if key != item and not keeps_capitals(written, spell(free[key]).text):
                continue
            across = [m for m in found if m.start < end and start < m.end]
            if all((start, -end) <= (m.start, -m.end) for m in across):  # leftmost-longest
                found = [m for m in found if m not in across]
                found.append(Mention(start, end, key, frozenset()))
    return sorted(found, key=lambda mention: mention.start)


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
    check_texts(explanations["error"], "explanations: column 'error'")
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

    `LABELLED_NEW` holds 300 further sentences, none of them a system's output, labelled by one
    reader, a language model, before the metric was run on them; written after the matcher's last
    change was begun, and not read by whoever made it. That reader also wrote them, and then read
    each again without its labels: none changed, 7 sentences that could be read in two ways were
    reworded. One more label, invented_name, marks a film or person that does not exist; such a
    name is in no vocabulary, so by itself it is neither a foreign title nor a wrong attribute.
    """
    columns = ("sample_id", "category", "text", "item_id", "history")
    return read_labels(path, columns, LABELS)


def hand_labelled_quality(items: pd.DataFrame, path: Path | str = LABELLED) -> pd.DataFrame:
    """Precision and recall of each metric on the sentences labelled by hand, by category.

    `items`: the embedded catalogue, of which the sentences speak. Columns: category ("all" first),
    metric, n (sentences), labelled, called, hits, precision, recall (nan where there is nothing to
    divide by).
    """
    rows = hand_labelled(path)
    samples = rows[["sample_id", "item_id", "history"]].assign(user_id="reader", split="test")
    texts = rows[["sample_id", "text"]].assign(system="hand")
    scores = grounding_scores(texts, samples, items)
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
