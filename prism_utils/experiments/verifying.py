"""Labelled claims for verifiers: the grammar teacher's errors, and sentences labelled by hand.

Training claims are told in the first wording, held-out ones in the second, of other samples. Left
out on purpose: verifiers (`metrics.verifiers`).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..metrics.grounding import LABELLED, hand_labelled
from ..metrics.speed import random_samples
from ..metrics.verifiers import Premises
from ..teachers.grammar import GrammarTeacher

ERRORS = ["foreign_title", "wrong_attribute", "unsupported_relation"]


def grammar_pairs(
    items: pd.DataFrame,
    count: int = 2000,
    *,
    wording: str = "first",
    history: int = 4,
    error_rate: float = 0.5,
    noun: str = "film",
    seed: int = 0,
) -> pd.DataFrame:
    """`count` claims of the grammar teacher about random samples of `items`, with their labels.

    Columns: premise, claim, supported (1 where the text holds no error), error (the teacher's
    kind, "" for none). Claims of `wording` "second" share no sentence frame with those of "first".
    """
    samples = random_samples(items, count, history, seed)
    told = GrammarTeacher(
        items, noun=noun, error_rate=error_rate, wording=wording, seed=seed
    ).explain(samples)
    return pd.DataFrame(
        {"premise": Premises(items).of(samples), "claim": told["text"],
         "supported": told["error"].eq("").astype(int), "error": told["error"]}
    )  # fmt: skip


def labelled_pairs(items: pd.DataFrame, path: Path | str = LABELLED) -> pd.DataFrame:
    """The sentences labelled by hand as pairs: premise, claim, supported, category.

    supported: the reader found no foreign title, wrong attribute or unsupported relation.
    """
    rows = hand_labelled(path)
    return pd.DataFrame(
        {"premise": Premises(items).of(rows), "claim": rows["text"],
         "supported": rows[ERRORS].eq(0).all(axis=1).astype(int), "category": rows["category"]}
    )  # fmt: skip
