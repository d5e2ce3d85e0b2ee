"""Receipts for what an explainer writes, and what it does where a claim has none.

Left out: how claims are found and judged, which is `metrics.receipts`, and how texts are decoded.
No torch is needed but for `retry`, which asks the reference for several candidates.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import InputError, nearest
from ..metrics.receipts import Audit, Auditor
from ..students.inputs import read_parts, whole
from ..students.options import judged
from .asked import Asked, of_requests

if TYPE_CHECKING:
    from ..students.facts_floor import FactsTemplate

CHOICES = ("keep", "retry", "floor")
CANDIDATES = 4  # beams, and so many texts, among which a retry looks


def audit(
    text: str,
    history: Sequence[str] | None,
    item: str,
    *,
    items: pd.DataFrame | Auditor,
    noun: str = "film",
) -> Audit:
    """Every claim of `text`, an explanation of `item` to whom `history` belongs.

    history, item: ids or titles, as `Explainer.explain` takes them. items: the catalogue, or an
    `Auditor` of it, which many texts should share. Raises `InputError` for what is no text.
    """
    auditor = items if isinstance(items, Auditor) else Auditor(items, noun)
    asked = of_requests([{"history": history, "item": item}])
    return auditor.audit(text, asked.histories[0], asked.items[0])


class Receipts:
    """The auditor of a catalogue and the floor that stands in for what it refuses."""

    def __init__(self, auditor: Auditor, items: pd.DataFrame, noun: str) -> None:
        self.auditor, self._items, self._noun = auditor, items, noun

    @cached_property
    def floor(self) -> FactsTemplate:
        from ..students.facts_floor import FactsTemplate  # the floors load scipy

        return FactsTemplate(self.auditor, self._items, self._noun)

    def check(
        self,
        answers: list[Any],
        asked: Asked,
        unsupported: str,
        candidates: Callable[[Sequence[int]], list[list[tuple[str, int]]]],
        count_tokens: Callable[[str], int],
    ) -> list[Any]:
        """Answers with their audits; those with an unsupported claim are kept or replaced.

        answers: `Explanation`s. candidates: numbers of answers -> texts and tokens of each, the
        likeliest first.
        """
        of_each = list(zip(asked.histories, asked.items, strict=True))
        told = zip((answer.text for answer in answers), of_each, strict=True)
        audits = self.auditor.audit_all((text, *about) for text, about in told)
        answers = [
            dataclasses.replace(answer, audit=audit)
            for answer, audit in zip(answers, audits, strict=True)
        ]
        refused = [n for n, audit in enumerate(audits) if not audit.supported]
        if unsupported == "keep" or not refused:
            return answers
        others: list[list[tuple[str, int]]] = [[] for _ in refused]
        if unsupported == "retry":
            others = candidates(refused)
        for number, texts in zip(refused, others, strict=True):
            made = self._retried(texts, *of_each[number])
            if made is None:
                text = self.floor.tell(*of_each[number]).text
                receipt = self.auditor.audit(text, *of_each[number])
                made = {"text": text, "tokens": count_tokens(text), "audit": receipt}
                made["fallback"] = "floor"
            answers[number] = dataclasses.replace(answers[number], **made)
        return answers

    def _retried(
        self, texts: list[tuple[str, int]], history: list[str], item: str
    ) -> dict[str, Any] | None:
        """The first text that names the item and claims nothing unsupported."""
        for text, tokens in texts:
            receipt = self.auditor.audit(text, history, item)
            named = any(claim.kind == "title" and claim.item for claim in receipt.claims)
            if named and receipt.supported:
                return {"text": text, "tokens": tokens, "audit": receipt, "fallback": "retry"}
        return None


def check_choice(unsupported: Any, backend: Any) -> None:
    """Raise `InputError` for a choice that is none, or that the backend cannot serve."""
    if unsupported not in CHOICES:
        hint = nearest(str(unsupported), CHOICES)
        raise InputError(f"explain: unsupported {unsupported!r} is unknown: {hint}")
    if unsupported == "retry" and getattr(backend, "reference", backend) is None:
        raise InputError(
            f"explain: unsupported='retry' needs several candidates, and the exported backend "
            f"{backend.name!r} writes one; take 'floor', or load the student that was exported"
        )


def candidates(
    backend: Any,
    tokenizer: Any,
    batch_size: int,
    inputs: Sequence[Sequence[int]],
    users: np.ndarray,
    given: Mapping[str, Any],
) -> list[list[tuple[str, int]]]:
    """Of each input the model's likeliest texts by beam search with their tokens, best first.

    Backends that decode greedily leave it to the reference.
    """
    found: list[list[tuple[str, int]]] = []
    beams = max(CANDIDATES, given.get("num_beams", 1))
    asked = {**given, "num_beams": beams, "returned": CANDIDATES}
    step = max(batch_size // beams, 1)
    for start in range(0, len(inputs), step):
        batch = slice(start, start + step)
        with judged(asked):
            output = backend.generate(inputs[batch], users[batch], **asked)
        texts = tokenizer.batch_decode(output, skip_special_tokens=True)
        pairs = [(text.strip(), len(tokens)) for text, tokens in zip(texts, output, strict=True)]
        found += [pairs[n : n + CANDIDATES] for n in range(0, len(pairs), CANDIDATES)]
    return found


def audit_speed(folder: Path | str, texts: int = 20_000, workers: int = 2) -> dict[str, float]:
    """Texts and claims that `workers` processes audit a second, on the catalogue of a student.

    The texts are the floor's, of random items and histories of ten; starting the processes counts.
    """
    settings, _, items = read_parts(Path(folder))
    if items.empty:
        raise InputError(f"{folder}: holds no items; train the student with a catalogue")
    auditor = Auditor(items, settings.noun)
    receipts, rng = Receipts(auditor, items, settings.noun), random.Random(0)
    ids = list(items["item_id"])
    asked = []
    for _ in range(whole("texts", texts, 1)):
        history, item = rng.choices(ids, k=10), rng.choice(ids)
        asked.append((receipts.floor.tell(history, item).text, history, item))
    started = time.perf_counter()
    audits = receipts.auditor.audit_all(asked, workers=workers)
    seconds = time.perf_counter() - started
    claims = sum(len(audit.claims) for audit in audits)
    return {"texts_per_s": texts / seconds, "claims_per_text": claims / texts}
