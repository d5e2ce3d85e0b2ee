"""Prompts: the paper's faithfulness-constrained template, rendered under a token budget.

`faithful` is section 4.2's template with the domain's noun in the place of "movie"; `compact` is a
short form for students trained from scratch. `facts` adds, in brackets, what the catalogue knows of
the item and what it shares with the history: evidence as section 7 asks for. Left out on purpose:
tokenizers (a caller passes a counting function) and chat formats, which belong to whoever runs the
model.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import pandas as pd

from .errors import InputError, nearest
from .tables import Named, attribute_columns, check
from .wording import attributes, surfaces, verbs

TEMPLATES: dict[str, str] = {
    "faithful": (
        "Generate a short, personalized, and persuasive explanation for the following "
        "recommendation.\n"
        "Context:\n"
        "- User's {noun} {activity} history: {history}\n"
        "- Recommended {noun}: {item}\n"
        "Task: Explain WHY this is a good recommendation based on the user's history.\n"
        "- Be specific: Link features of the recommended {noun} (e.g., {features}) to patterns "
        "in the history.\n"
        "- Be natural: Sound like a genuine recommendation from a friend.\n"
        "- Be concise: Ideally one or two sentences.\n"
        "- Start the explanation directly.\n"
        "Explanation:"
    ),
    "compact": "history: {history} ; explain: {item}",
}
_SEPARATORS = {"faithful": ", ", "compact": " | "}
# After the history, where the items of it that moved the ranker are marked. Naming them once more
# is learnt by a small student in a few hundred steps, a sign beside their titles was not.
_EVIDENCE = {
    "faithful": "\n- What in this history led to the recommendation: {evidence}",
    "compact": " ; because of: {evidence}",
}

# Which facts stand beside the titles: none (the paper); what each shown history item shares with
# the recommended one; what the recommended one has; both.
FACTS = ("none", "shared", "item", "all")


def render_prompts(
    samples: pd.DataFrame,
    items: pd.DataFrame,
    *,
    template: str = "faithful",
    noun: str = "film",
    max_history: int = 50,
    mark_evidence: bool = False,
    facts: str = "none",
    count_tokens: Callable[[list[str]], list[int]] | None = None,
    max_tokens: int | None = None,
) -> pd.DataFrame:
    """One prompt for each sample (section 4.2): sample_id, prompt, shown, dropped, facts_dropped.

    The last `max_history` items of a history are shown, oldest first. An id that `items` does not
    hold is used as text, so titles may stand in the place of ids. A sample with an `input_text`
    shows this text in place of its history. With `count_tokens` (texts -> their lengths) and
    `max_tokens` the oldest titles go, one by one, until the prompt fits: `shown` counts the titles
    (of an `input_text`: the words) that stayed and `dropped` those that the budget removed.
    `mark_evidence` names the shown history items in a sample's `evidence` once more, after all.
    `facts` (one of `FACTS`) adds attributes of `items` in brackets: to each history title and each
    marked one those that it shares with the recommended item, to this one its own. Where a budget
    is too small even without history, facts go, the last first; `facts_dropped` counts them. What
    the catalogue knows nothing of reads as it does without facts.

    Raises InputError for an unknown template or `facts`, a sample without its columns (`evidence`
    where it is to be marked), and a prompt that is over the budget even without any history.

    >>> items = pd.DataFrame({"item_id": ["1", "2"], "title": ["Jaws", "Alien"]})
    >>> samples = pd.DataFrame({"sample_id": ["s"], "user_id": ["u"], "history": [["1", "Heat"]],
    ...                         "item_id": ["2"], "split": ["test"]})
    >>> render_prompts(samples, items, template="compact").prompt[0]
    'history: Jaws | Heat ; explain: Alien'
    >>> items["genre"] = [["Thriller", "Horror"], ["Horror"]]
    >>> render_prompts(samples, items, template="compact", facts="all").prompt[0]
    'history: Jaws (genre horror) | Heat ; explain: Alien (genre horror)'
    """
    check(samples, "samples")
    return PromptWriter(items, template=template, noun=noun, facts=facts).write(
        samples,
        max_history=max_history,
        mark_evidence=mark_evidence,
        count_tokens=count_tokens,
        max_tokens=max_tokens,
    )


@dataclasses.dataclass(frozen=True)
class Prompts:
    """Prompts in the order asked, and of each what the token budget left of history and item."""

    texts: list[str]
    shown: list[int]
    dropped: list[int]
    cut: list[bool]  # whether the item's title was cut
    facts_dropped: list[int]  # attributes of item and marked evidence that did not fit


class PromptWriter:
    """`render_prompts` for one catalogue, which is read once: made for many small requests."""

    def __init__(
        self,
        items: pd.DataFrame,
        *,
        template: str = "faithful",
        noun: str = "film",
        facts: str = "none",
    ) -> None:
        """Raises InputError for an unknown template or facts."""
        for what, given, known in (("template", template, TEMPLATES), ("facts", facts, FACTS)):
            if given not in tuple(known):
                raise InputError(f"{what} {given!r} is unknown: {nearest(str(given), known)}")
        check(items, "items")
        self._titles = dict(zip(items["item_id"], items["title"], strict=True))
        self._named = Named(items)
        kinds = [] if noun in ("film", "movie") else attribute_columns(items)
        features = ", ".join(kinds) or "genre, director, actors, theme"
        words = {"features": features, "noun": noun, "activity": verbs(noun)[3]}

        def worded(part: str) -> str:  # all at once: a noun or a kind may look like a place itself
            return re.sub(r"\{(\w+)\}", lambda place: words[place[1]], part)

        head, rest = TEMPLATES[template].split("{history}")
        self._head, self._middle, self._tail = map(worded, (head, *rest.split("{item}")))
        self._separator, self._evidence = _SEPARATORS[template], _EVIDENCE[template]
        self._tells_item, self._tells_shared = facts in ("item", "all"), facts in ("shared", "all")
        self._facts = _facts(items) if facts != "none" else {}

    def knows(self, name: str) -> bool:
        """Whether the catalogue has this id, or this title in whatever case and composition."""
        return name in self._named

    def write(self, samples: pd.DataFrame, **asked: Any) -> pd.DataFrame:
        """As `render_prompts`; the samples table is not checked again."""
        written = self.compose(
            samples["history"],
            samples["item_id"],
            input_texts=samples.get("input_text"),
            evidence=samples.get("evidence"),
            name=lambda row: f"sample {samples['sample_id'].iloc[row]!r}",
            **asked,
        )
        return pd.DataFrame(
            {
                "sample_id": samples["sample_id"].to_numpy(),
                "prompt": written.texts,
                "shown": written.shown,
                "dropped": written.dropped,
                "facts_dropped": written.facts_dropped,
            }
        )

    def compose(
        self,
        histories: Collection[Sequence[str]],
        items: Iterable[str],
        *,
        input_texts: Iterable[Any] | None = None,
        evidence: Iterable[Iterable[str]] | None = None,
        max_history: int = 50,
        mark_evidence: bool = False,
        count_tokens: Callable[[list[str]], list[int]] | None = None,
        max_tokens: int | None = None,
        cut_titles: bool = False,
        name: Callable[[int], str] = "sample {}".format,
    ) -> Prompts:
        """A prompt for each history and item (ids or titles), as `render_prompts` words it.

        evidence: of each, what `mark_evidence` marks. cut_titles: where a title is too long for the
        budget its end goes, and what is marked, instead of an error that says `name(row)`.
        """
        if max_history < 0:
            raise InputError(f"max_history must be 0 or more, found {max_history}")
        if (count_tokens is None) != (max_tokens is None):
            raise InputError("max_tokens and count_tokens go together: give both or neither")
        if mark_evidence and evidence is None:
            raise InputError(
                "samples: column 'evidence' is missing and is to be marked; "
                "prism_utils.rankers.with_evidence adds it"
            )
        texts = [None] * len(histories) if input_texts is None else input_texts
        marked = evidence if mark_evidence and evidence is not None else [()] * len(histories)
        rows = [
            self._row(history[max(len(history) - max_history, 0) :], item, text, movers)
            for history, item, text, movers in zip(histories, items, texts, marked, strict=True)
        ]
        prompts = [self._text(row) for row in rows]
        if count_tokens is not None and max_tokens is not None and prompts:
            count, most = count_tokens, max_tokens

            def shrink(limits: dict[int, int], part: str) -> list[int]:
                """Give each row the largest size of a part that fits; the rows that none fits."""

                def fits(sizes: dict[int, int]) -> list[bool]:
                    asked = [self._text(rows[n].sized(part, size)) for n, size in sizes.items()]
                    return [length <= most for length in count(asked)]

                sizes = _largest(limits, fits)
                for n, size in sizes.items():
                    rows[n] = rows[n].sized(part, max(size, 0))
                return [n for n, size in sizes.items() if size < 0]

            over = [n for n, length in enumerate(count(prompts)) if length > most]
            # The oldest titles go first, then facts, then what is marked and the title's end.
            long = shrink({n: rows[n].keep - 1 for n in over}, "keep")
            long = shrink({n: rows[n].facts for n in long}, "facts")
            if cut_titles:
                for n in long:
                    rows[n] = dataclasses.replace(rows[n], movers=[])
                shrink({n: len(rows[n].goal) for n in long}, "letters")
                long = [n for n in long if not rows[n].letters]
            for n in long:
                bare = rows[n].sized("letters", len(rows[n].goal))
                raise InputError(
                    f"max_tokens={most} is too small: the prompt of {name(n)} takes "
                    f"{count([self._text(bare)])[0]} tokens without history; "
                    "allow more tokens, or shorten the item's title"
                )
            for n in over:
                prompts[n] = self._text(rows[n])
        return Prompts(
            prompts,
            shown=[row.keep for row in rows],
            dropped=[len(row.units) - row.keep for row in rows],
            cut=[row.letters < len(row.goal) for row in rows],
            facts_dropped=[row.known - row.facts for row in rows],
        )

    def _row(self, shown: Sequence[str], item: str, text: Any, movers: Iterable[str]) -> _Row:
        title, goal_id = self._titles.get, self._named.id_of(item)
        own = self._facts.get(goal_id, ())
        common = set(own) if self._tells_shared else set()

        def shared(past: str) -> list[Fact]:
            if not common or (past_id := self._named.id_of(past)) == goal_id:
                return []
            return [fact for fact in self._facts.get(past_id, ()) if fact in common]

        marked = [(title(i, i), shared(i)) for i in movers if i in list(shown)]
        goal_facts = list(own) if self._tells_item else []
        if isinstance(text, str):
            units, join = text.split(), " "
        else:
            units, join = [title(i, i) + _bracketed(shared(i)) for i in shown], self._separator
        goal, known = title(item, item), len(goal_facts) + sum(len(f) for _, f in marked)
        return _Row(units, join, goal, goal_facts, marked, known, len(units), known, len(goal))

    def _text(self, row: _Row) -> str:
        past = row.join.join(row.units[len(row.units) - row.keep :])
        goal = row.goal[: row.letters] + _bracketed(row.goal_facts[: row.facts])
        left, movers = row.facts - len(row.goal_facts), []
        for title, facts in row.movers:
            movers.append(title + _bracketed(facts[: max(left, 0)]))
            left -= len(facts)
        why = self._evidence.format(evidence=self._separator.join(movers)) if movers else ""
        return well_formed(f"{self._head}{past}{why}{self._middle}{goal}{self._tail}")


Fact = tuple[str, str]  # kind of attribute, value as it is written


@dataclasses.dataclass(frozen=True)
class _Row:
    """What one prompt is made of, and how much of each part stays in it."""

    units: list[str]  # of the history, the oldest first
    join: str
    goal: str  # the item's title
    goal_facts: list[Fact]
    movers: list[tuple[str, list[Fact]]]  # marked titles, and what they share with the item
    known: int  # facts of item and marked titles
    keep: int  # units that stay, the last ones
    facts: int  # facts that stay, the first ones
    letters: int  # of the item's title

    def sized(self, part: str, size: int) -> _Row:
        change: dict[str, Any] = {part: size}
        return dataclasses.replace(self, **change)


def _facts(items: pd.DataFrame) -> dict[str | None, tuple[Fact, ...]]:
    """What a catalogue knows of each item, by its id."""
    facts: list[list[Fact]] = [[] for _ in range(len(items))]
    for kind, column in attributes(items).items():
        for own, values in zip(facts, column, strict=True):
            own += [(kind, surfaces(kind, value)[0]) for value in values]
    return dict(zip(items["item_id"], map(tuple, facts), strict=True))


def _bracketed(facts: Sequence[Fact]) -> str:
    """Facts as they follow a title.

    >>> _bracketed([("genre", "crime"), ("genre", "drama"), ("director", "Michael Mann")])
    ' (genre crime, drama; director Michael Mann)'
    """
    kinds: dict[str, list[str]] = {}
    for kind, value in facts:
        kinds.setdefault(kind, []).append(value)
    said = "; ".join(f"{kind} {', '.join(values)}" for kind, values in kinds.items())
    return f" ({said})" if said else ""


def _largest(
    limits: dict[int, int], fits: Callable[[dict[int, int]], list[bool]]
) -> dict[int, int]:
    """For each row the largest size up to its limit that fits, -1 if not even 0 does.

    By bisection, all rows at a time; fits: sizes by row -> whether each does.
    """
    low = dict.fromkeys(limits, -1)  # the largest known to fit
    high = {row: limit + 1 for row, limit in limits.items()}  # the smallest known not to
    while half := {row: (low[row] + high[row]) // 2 for row in low if high[row] - low[row] > 1}:
        for row, fitting in zip(half, fits(half), strict=True):
            (low if fitting else high)[row] = half[row]
    return low


def well_formed(text: str) -> str:
    """The text with U+FFFD in the place of half an emoji (a lone surrogate), which nothing encodes.

    >>> well_formed("Heat \\ud83d!") == "Heat \\ufffd!"
    True
    """
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
