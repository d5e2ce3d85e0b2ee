"""Prompts: the paper's faithfulness-constrained template, rendered under a token budget.

`faithful` is section 4.2's template with the domain's noun in the place of "movie"; `compact` is a
short form for students trained from scratch. Left out on purpose: tokenizers (a caller passes a
counting function) and chat formats, which belong to whoever runs the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import pandas as pd

from .errors import InputError, nearest
from .tables import attribute_columns, check
from .wording import verbs

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


def render_prompts(
    samples: pd.DataFrame,
    items: pd.DataFrame,
    *,
    template: str = "faithful",
    noun: str = "film",
    max_history: int = 50,
    mark_evidence: bool = False,
    count_tokens: Callable[[list[str]], list[int]] | None = None,
    max_tokens: int | None = None,
) -> pd.DataFrame:
    """One prompt for each sample (section 4.2): columns sample_id, prompt, shown, dropped.

    The last `max_history` items of a history are shown, oldest first. An id that `items` does not
    hold is used as text, so titles may stand in the place of ids. A sample with an `input_text`
    shows this text in place of its history. With `count_tokens` (texts -> their lengths) and
    `max_tokens` the oldest titles go, one by one, until the prompt fits: `shown` counts the titles
    (of an `input_text`: the words) that stayed and `dropped` those that the budget removed.
    `mark_evidence` names the shown history items in a sample's `evidence` once more, after all.

    Raises InputError for an unknown template, a sample without its columns (`evidence` where it is
    to be marked), and a prompt that is over the budget even without any history.

    >>> items = pd.DataFrame({"item_id": ["1", "2"], "title": ["Jaws", "Alien"]})
    >>> samples = pd.DataFrame({"sample_id": ["s"], "user_id": ["u"], "history": [["1", "Heat"]],
    ...                         "item_id": ["2"], "split": ["test"]})
    >>> render_prompts(samples, items, template="compact").prompt[0]
    'history: Jaws | Heat ; explain: Alien'
    """
    check(samples, "samples")
    return PromptWriter(items, template=template, noun=noun).write(
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


class PromptWriter:
    """`render_prompts` for one catalogue, which is read once: made for many small requests."""

    def __init__(
        self, items: pd.DataFrame, *, template: str = "faithful", noun: str = "film"
    ) -> None:
        """Raises InputError for an unknown template."""
        if template not in TEMPLATES:
            raise InputError(f"template {template!r} is unknown: {nearest(template, TEMPLATES)}")
        check(items, "items")
        self._titles = dict(zip(items["item_id"], items["title"], strict=True))
        kinds = [] if noun in ("film", "movie") else attribute_columns(items)
        features = ", ".join(kinds) or "genre, director, actors, theme"
        frame = TEMPLATES[template].replace("{features}", features)
        frame = frame.replace("{noun}", noun).replace("{activity}", verbs(noun)[3])
        self._head, rest = frame.split("{history}")
        self._middle, self._tail = rest.split("{item}")
        self._separator, self._evidence = _SEPARATORS[template], _EVIDENCE[template]

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
        titles = self._titles
        goals = [titles.get(i, i) for i in items]
        units: list[list[str]] = []
        joins: list[str] = []
        reasons: list[str] = []
        texts = [None] * len(histories) if input_texts is None else input_texts
        marked = evidence if mark_evidence and evidence is not None else [()] * len(histories)
        for history, text, movers in zip(histories, texts, marked, strict=True):
            shown = history[max(len(history) - max_history, 0) :]
            moved = self._separator.join(titles.get(i, i) for i in movers if i in list(shown))
            reasons.append(self._evidence.format(evidence=moved) if moved else "")
            if isinstance(text, str):
                units.append(text.split())
                joins.append(" ")
            else:
                units.append([titles.get(i, i) for i in shown])
                joins.append(self._separator)

        def prompt(row: int, keep: int, goal: str) -> str:
            past = joins[row].join(units[row][len(units[row]) - keep :])
            return well_formed(f"{self._head}{past}{reasons[row]}{self._middle}{goal}{self._tail}")

        def fits(asked: Iterable[tuple[int, int, str]]) -> list[bool]:
            return [n <= most for n in count([prompt(*one) for one in asked])]

        kept = [len(unit) for unit in units]
        prompts = [prompt(row, keep, goals[row]) for row, keep in enumerate(kept)]
        cut = [False] * len(prompts)
        if count_tokens is not None and max_tokens is not None and prompts:
            count, most = count_tokens, max_tokens
            over = [row for row, length in enumerate(count(prompts)) if length > most]
            keeps = _largest(
                {row: kept[row] - 1 for row in over},
                lambda sizes: fits((row, keep, goals[row]) for row, keep in sizes.items()),
            )
            long = [row for row in over if keeps[row] < 0]  # even without any history
            if cut_titles:
                for row in long:
                    reasons[row] = ""
                left = _largest(
                    {row: len(goals[row]) for row in long},
                    lambda sizes: fits((row, 0, goals[row][:size]) for row, size in sizes.items()),
                )
                for row in (row for row in long if left[row] > 0):
                    keeps[row], cut[row] = 0, left[row] < len(goals[row])
                    goals[row] = goals[row][: left[row]]
            for row in over:
                if keeps[row] < 0:
                    raise InputError(
                        f"max_tokens={most} is too small: the prompt of {name(row)} takes "
                        f"{count([prompt(row, 0, goals[row])])[0]} tokens without history; "
                        "allow more tokens, or shorten the item's title"
                    )
                kept[row] = keeps[row]
                prompts[row] = prompt(row, keeps[row], goals[row])
        dropped = [len(unit) - keep for unit, keep in zip(units, kept, strict=True)]
        return Prompts(prompts, kept, dropped, cut)


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
