"""Prompts: the paper's faithfulness-constrained template, rendered under a token budget.

`faithful` is section 4.2's template with the domain's noun in the place of "movie"; `compact` is a
short form for students trained from scratch. Left out on purpose: tokenizers (a caller passes a
counting function) and chat formats, which belong to whoever runs the model.
"""

from __future__ import annotations

from collections.abc import Callable

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

    def write(
        self,
        samples: pd.DataFrame,
        *,
        max_history: int = 50,
        mark_evidence: bool = False,
        count_tokens: Callable[[list[str]], list[int]] | None = None,
        max_tokens: int | None = None,
    ) -> pd.DataFrame:
        """As `render_prompts`; the samples table is not checked again."""
        if max_history < 0:
            raise InputError(f"max_history must be 0 or more, found {max_history}")
        if (count_tokens is None) != (max_tokens is None):
            raise InputError("max_tokens and count_tokens go together: give both or neither")
        titles = self._titles
        goals = [titles.get(i, i) for i in samples["item_id"]]
        units: list[list[str]] = []
        joins: list[str] = []
        reasons: list[str] = []
        texts = samples["input_text"] if "input_text" in samples.columns else [None] * len(samples)
        if mark_evidence and "evidence" not in samples.columns:
            raise InputError(
                "samples: column 'evidence' is missing and is to be marked; "
                "prism_utils.rankers.with_evidence adds it"
            )
        marked = samples["evidence"] if mark_evidence else [()] * len(samples)
        for history, text, evidence in zip(samples["history"], texts, marked, strict=True):
            shown = history[max(len(history) - max_history, 0) :]
            moved = self._separator.join(titles.get(i, i) for i in evidence if i in shown)
            reasons.append(self._evidence.format(evidence=moved) if moved else "")
            if isinstance(text, str):
                units.append(text.split())
                joins.append(" ")
            else:
                units.append([titles.get(i, i) for i in shown])
                joins.append(self._separator)

        def prompt(row: int, keep: int) -> str:
            past = joins[row].join(units[row][len(units[row]) - keep :])
            return f"{self._head}{past}{reasons[row]}{self._middle}{goals[row]}{self._tail}"

        kept = [len(unit) for unit in units]
        prompts = [prompt(row, keep) for row, keep in enumerate(kept)]
        if count_tokens is not None and max_tokens is not None and prompts:
            lengths = count_tokens(prompts)
            over = [row for row, length in enumerate(lengths) if length > max_tokens]
            low = dict.fromkeys(
                over, 0
            )  # most units known to fit, by bisection, all rows at a time
            high = {row: kept[row] for row in over}  # fewest known not to fit
            if over:
                for row, length in zip(
                    over, count_tokens([prompt(r, 0) for r in over]), strict=True
                ):
                    if length > max_tokens:
                        name = samples["sample_id"].iloc[row]
                        raise InputError(
                            f"max_tokens={max_tokens} is too small: the prompt of sample "
                            f"{name!r} takes {length} tokens without history"
                        )
            while open_rows := [row for row in over if high[row] - low[row] > 1]:
                half = {row: (low[row] + high[row]) // 2 for row in open_rows}
                counts = count_tokens([prompt(row, half[row]) for row in open_rows])
                for row, length in zip(open_rows, counts, strict=True):
                    (low if length <= max_tokens else high)[row] = half[row]
            for row in over:
                prompts[row], kept[row] = prompt(row, low[row]), low[row]
        return pd.DataFrame(
            {
                "sample_id": samples["sample_id"].to_numpy(),
                "prompt": prompts,
                "shown": kept,
                "dropped": [len(unit) - keep for unit, keep in zip(units, kept, strict=True)],
            }
        )
