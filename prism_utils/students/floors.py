"""Two honest floors: what costs no learning at all, and every trained system must beat.

`nearest` repeats the golden explanation of the most similar training sample; `frame` fills the most
frequent sentence frame in. Both know train and the catalogue, as the students do. Left out: any
weighting of items, any choice among sentences by quality.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from ..errors import InputError
from ..files import check_parquet, read_json, write_json, write_parquet
from ..metrics.grounding import Grounding
from ..tables import read_table
from ..wording import article, attributes, readings
from .inputs import UserTable, whole
from .saved import withdraw
from .system import BaseSystem, Job

_AGAIN = "fit it again"
_CELLS = 20_000_000  # similarities held in memory at a time
_MOSTLY = 0.5  # share of a frame's uses: whose a value is in more of them, whose it must be


def _shown(history: Sequence[str], count: int) -> list[str]:
    """The last `count` items, as every student is shown them."""
    return list(history[max(len(history) - count, 0) :])


class NearestFloor(BaseSystem):
    """The golden explanation of the nearest training sample.

    Nearest is first a sample of the same item, then the most similar history: the cosine of the
    shown history items as sets. An item that training never explained is compared with all
    samples. Of equally near ones the first in `train` is taken: its order breaks ties.
    """

    def __init__(self, train: pd.DataFrame, *, max_history: int, name: str) -> None:
        self.train, self.max_history, self.name = train, max_history, name
        shown = {item for history in train["history"] for item in _shown(history, max_history)}
        self._items = UserTable(sorted(shown))
        self._vectors = self._encode(train["history"])
        self._of_item = train.reset_index(drop=True).groupby("item_id").indices

    def _encode(self, histories: Iterable[Sequence[str]]) -> sparse.csr_array:
        """Unit vectors (samples, items) of the shown histories as sets."""
        sets = [sorted(set(_shown(history, self.max_history))) for history in histories]
        sizes = np.array([len(one) for one in sets], dtype=np.int64)
        columns = self._items.rows([item for one in sets for item in one]) - 1
        rows = np.repeat(np.arange(len(sets)), sizes)
        values = np.repeat(np.maximum(sizes, 1) ** -0.5, sizes)
        known = columns >= 0  # an item that no training history shows is like none of them
        shape = (len(sets), len(self._items))
        return sparse.csr_array((values[known], (rows[known], columns[known])), shape=shape)

    def _tell(self, samples: pd.DataFrame) -> dict[str, Any]:
        """Texts; nearest_id, the training sample; similarity: of histories, plus 1 for the item."""
        vectors = self._encode(samples["history"])
        chosen = np.zeros(len(samples), dtype=np.int64)
        similarity = np.zeros(len(samples))
        everything = np.arange(len(self.train))
        for item, asked in samples.reset_index(drop=True).groupby("item_id").indices.items():
            rows = self._of_item.get(item, everything)
            candidates = self._vectors[rows].T.tocsc()
            step = max(_CELLS // len(rows), 1)
            for start in range(0, len(asked), step):
                block = asked[start : start + step]
                # rounded: the order of a sum must not break a tie
                cosines = (vectors[block] @ candidates).toarray().round(9)
                best = cosines.argmax(axis=1)
                chosen[block] = rows[best]
                similarity[block] = cosines.max(axis=1) + (item in self._of_item)
        found = self.train.iloc[chosen]
        return {
            "text": found["text"].to_numpy(),
            "nearest_id": found["sample_id"].to_numpy(),
            "similarity": similarity,
        }

    @classmethod
    def fit(cls, job: Job) -> NearestFloor:
        """Keep train, in an order drawn with the recipe's seed; see `students.fit`."""
        _need(job.train)
        drawn = job.train.sample(frac=1.0, random_state=job.recipe.seed).reset_index(drop=True)
        floor = cls(drawn, max_history=job.settings.max_history, name=job.name)
        withdraw(job.folder)
        floor.save(job.folder)
        return floor

    def save(self, folder: Path) -> None:
        columns = ["sample_id", "user_id", "history", "item_id", "split", "text"]
        write_parquet(self.train[columns], folder / "train.parquet")
        write_json({"max_history": self.max_history}, folder / "nearest.json", sealed=True)

    @classmethod
    def load(cls, folder: Path, *, name: str) -> NearestFloor:
        shown, _ = _facts(folder / "nearest.json")
        check_parquet(folder / "train.parquet", _AGAIN)
        train = read_table(folder / "train.parquet", "samples")
        if "text" not in train.columns or train.empty:
            raise InputError(f"{folder / 'train.parquet'}: holds no texts; {_AGAIN}")
        return cls(train, max_history=shown, name=name)


class Slot(NamedTuple):
    """A gap in a frame: what stands there, and how it is written.

    kind: "item" or "history" for a title, else a kind of attribute. place: number among the
    frame's distinct titles or values of this kind. form: which of the value's surface forms.
    capital: the form begins with a capital that it has not by itself. article: "a" or "A" before
    it, or "".
    """

    kind: str
    place: int = 0
    form: int = 0
    capital: bool = False
    article: str = ""


class Frame(NamedTuple):
    """Text and gaps in order; needs: (kind, place) of a value -> whose value it must be;
    uses: training texts of this frame.

    Owners are "item", "history" (any shown item) and the numbers of the frame's history titles.
    """

    parts: tuple[str | Slot, ...]
    needs: dict[tuple[str, int], frozenset[str | int]]
    uses: int


class FrameFloor(BaseSystem):
    """The most frequent sentence frame of the training texts, filled in for each sample.

    A frame is an explanation whose titles and attribute values (found by the grounding matcher)
    are gaps. It is filled with what is true: the item's title, history titles (latest first), and
    values of the item that are also theirs whose they mostly were in training. Where the most
    frequent frame cannot be filled the next one is taken, and the bare title where none can.
    """

    def __init__(
        self, frames: list[Frame], items: pd.DataFrame, *, max_history: int, name: str
    ) -> None:
        self.frames, self.items, self.max_history, self.name = frames, items, max_history, name
        self._titles = dict(zip(items["item_id"], items["title"], strict=True))
        self._values = _values(items)

    def _tell(self, samples: pd.DataFrame) -> dict[str, Any]:
        """Texts; frame: the rank of the frame from 0, -1 for a title."""
        told = [
            next(
                (
                    (text, rank)
                    for rank, frame in enumerate(self.frames)
                    if (text := self._fill(frame, item, history)) is not None
                ),
                (self._titles.get(item, item), -1),
            )
            for item, history in zip(samples["item_id"], samples["history"], strict=True)
        ]
        return {"text": [text for text, _ in told], "frame": [rank for _, rank in told]}

    def _fill(self, frame: Frame, item: str, history: Sequence[str]) -> str | None:
        slots = [part for part in frame.parts if isinstance(part, Slot)]
        shown = list(dict.fromkeys(reversed(_shown(history, self.max_history))))
        shown = [past for past in shown if past != item]
        titles = len({slot.place for slot in slots if slot.kind == "history"})
        for cited in islice(permutations(shown, titles), 1000):
            chosen: dict[tuple[str, int], str] = {}
            for (kind, place), owners in frame.needs.items():
                forms = max(slot.form for slot in slots if slot[:2] == (kind, place))
                owned = [self._owned(kind, owner, item, cited, shown) for owner in owners]
                fitting = [
                    value
                    for value in owned[0]
                    if all(value in others for others in owned)
                    and value not in chosen.values()
                    and len(_forms(kind, value)) > forms
                ]
                if not fitting:
                    break
                chosen[kind, place] = fitting[0]
            else:
                return "".join(
                    part if isinstance(part, str) else self._write(part, item, cited, chosen)
                    for part in frame.parts
                )
        return None

    def _owned(
        self, kind: str, owner: str | int, item: str, cited: Sequence[str], shown: list[str]
    ) -> list[str]:
        if owner == "history":
            return [value for past in shown for value in self._values.get(past, {}).get(kind, [])]
        whose = cited[owner] if isinstance(owner, int) else item
        return self._values.get(whose, {}).get(kind, [])

    def _write(
        self, slot: Slot, item: str, cited: Sequence[str], chosen: dict[tuple[str, int], str]
    ) -> str:
        if slot.kind in ("item", "history"):
            film = item if slot.kind == "item" else cited[slot.place]
            return self._titles.get(film, film)
        text = _forms(slot.kind, chosen[slot.kind, slot.place])[slot.form]
        if slot.capital:
            text = text[0].upper() + text[1:]
        if slot.article:
            before = article(text)
            text = f"{before.capitalize() if slot.article == 'A' else before} {text}"
        return text

    @classmethod
    def fit(cls, job: Job) -> FrameFloor:
        """Find train's frames; see `students.fit`. Nothing in it is random."""
        _need(job.train)
        shown = job.settings.max_history
        frames = find_frames(job.train, job.items, noun=job.settings.noun, max_history=shown)
        floor = cls(frames, job.items, max_history=shown, name=job.name)
        withdraw(job.folder)
        floor.save(job.folder)
        return floor

    def save(self, folder: Path) -> None:
        frames = [
            {
                "parts": [part if isinstance(part, str) else list(part) for part in frame.parts],
                "needs": [[*key, sorted(map(str, owners))] for key, owners in frame.needs.items()],
                "uses": frame.uses,
            }
            for frame in self.frames
        ]
        facts = {"max_history": self.max_history, "frames": frames}
        write_json(facts, folder / "frames.json", sealed=True)
        write_parquet(self.items, folder / "items.parquet")

    @classmethod
    def load(cls, folder: Path, *, name: str) -> FrameFloor:
        shown, facts = _facts(folder / "frames.json")
        try:
            frames = [_frame(**frame) for frame in facts["frames"]]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{folder / 'frames.json'}: holds no frames; {_AGAIN}") from error
        check_parquet(folder / "items.parquet", _AGAIN)
        items = read_table(folder / "items.parquet", "items")
        return cls(frames, items, max_history=shown, name=name)


def _facts(path: Path) -> tuple[int, dict[str, Any]]:
    """History items shown, and all that a floor's JSON file says."""
    facts = read_json(path, _AGAIN)
    return whole(f"{path}: max_history", facts.get("max_history"), 0), facts


def _frame(parts: list[Any], needs: list[Any], uses: int) -> Frame:
    """A frame from JSON; raises what Python raises for what is none."""
    owners = {
        (kind, place): frozenset(int(o) if o.isdigit() else o for o in whose)
        for kind, place, whose in needs
    }
    slots = tuple(part if isinstance(part, str) else Slot(*part) for part in parts)
    return Frame(slots, owners, uses)


def _values(items: pd.DataFrame) -> dict[str, dict[str, list[str]]]:
    """item id -> kind of attribute -> values."""
    kinds = attributes(items)
    return {
        item: {kind: column[row] for kind, column in kinds.items()}
        for row, item in enumerate(items["item_id"])
    }


def _forms(kind: str, value: str) -> tuple[str, ...]:
    """Ways to write a value that the grounding matcher reads: "1980s" is "80s" too."""
    return readings(kind, value)


def find_frames(
    train: pd.DataFrame, items: pd.DataFrame, *, noun: str, max_history: int, limit: int = 1000
) -> list[Frame]:
    """The `limit` most frequent frames of train's texts, ties in the order of their words.

    A text that mentions a title or value which neither item nor shown history explains has none.
    """
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    values = _values(items)
    found: dict[int, dict[tuple[int, int], list[tuple[str, str]]]] = {}
    mentions = Grounding(items, noun).mentions(train["text"].tolist())
    for number, start, end, kind, value in mentions.itertuples(index=False):
        found.setdefault(number, {}).setdefault((start, end), []).append((kind, value))
    uses: Counter[tuple[str | Slot, ...]] = Counter()
    owned: dict[tuple[str | Slot, ...], Counter[tuple[tuple[str, int], str | int]]] = {}
    rows = zip(train["text"], train["item_id"], train["history"], strict=True)
    for number, (text, item, history) in enumerate(rows):
        shown = [past for past in _shown(history, max_history) if past != item]
        frame = _mask(text, found.get(number, {}), item, shown, titles, values)
        if frame is not None:
            parts, owners = frame
            uses[parts] += 1
            owned.setdefault(parts, Counter()).update(owners)
    ranked = sorted(uses, key=lambda parts: (-uses[parts], repr(parts)))[:limit]
    frames = []
    for parts in ranked:
        keys = dict.fromkeys(
            part[:2]
            for part in parts
            if isinstance(part, Slot) and part.kind not in ("item", "history")
        )
        # the item's in any case: in a frame that errors prefer it seldom is
        needs = {
            key: frozenset({"item"}).union(
                owner
                for (other, owner), count in owned[parts].items()
                if other == key and count > _MOSTLY * uses[parts]
            )
            for key in keys
        }
        frames.append(Frame(parts, needs, uses[parts]))
    return frames


def _mask(
    text: str,
    spans: Mapping[tuple[int, int], list[tuple[str, str]]],
    item: str,
    shown: Sequence[str],
    titles: Mapping[str, str],
    values: Mapping[str, Mapping[str, list[str]]],
) -> tuple[tuple[str | Slot, ...], set[tuple[tuple[str, int], str | int]]] | None:
    """A text's parts, and whose value each masked value is; None if something is unexplained."""
    past_titles = {titles.get(past, past): past for past in shown}
    cited: list[str] = []
    numbered: dict[tuple[str, str], int] = {}
    parts: list[str | Slot] = []
    end = 0
    for (start, stop), meanings in sorted(spans.items()):
        before, written = text[end:start], text[start:stop]
        named = [value for kind, value in meanings if kind == "title"]
        past = next((past_titles[title] for title in named if title in past_titles), None)
        if titles.get(item, item) in named:
            slot = Slot("item")
        elif past is not None:
            if past not in cited:
                cited.append(past)
            slot = Slot("history", cited.index(past))
        else:
            true = [
                (kind, value)
                for owner in (item, *shown)
                for kind, value in meanings
                if value in values.get(owner, {}).get(kind, ())
            ]
            if not true:
                return None
            kind, value = true[0]
            forms = [form.lower() for form in _forms(kind, value)]
            if written.lower() not in forms:
                return None
            form = forms.index(written.lower())
            same_kind = sum(other == kind for other, _ in numbered)
            place = numbered.setdefault((kind, value), same_kind)
            capital = written[0].isupper() and not _forms(kind, value)[form][0].isupper()
            leading = re.search(r"\b([Aa])n? $", before)
            if leading:
                before = before[: leading.start()]
            slot = Slot(kind, place, form, capital, leading[1] if leading else "")
        parts += [before, slot]
        end = stop
    parts.append(text[end:])
    owners: set[tuple[tuple[str, int], str | int]] = set()
    for (kind, value), place in numbered.items():
        mine: set[str | int] = {
            number
            for number, past in enumerate(cited)
            if value in values.get(past, {}).get(kind, ())
        }
        if value in values.get(item, {}).get(kind, ()):
            mine.add("item")
        if not mine:
            mine.add("history")
        owners |= {((kind, place), owner) for owner in mine}
    return tuple(part for part in parts if part != ""), owners


def _need(train: pd.DataFrame) -> None:
    if train.empty:
        raise InputError("train: no samples; a floor needs at least one explained sample")
