"""Labelled claims for verifiers: the grammar teacher's errors, and sentences labelled by hand.

    python -m prism_utils.experiments.verifying --out book/records/verifiers.json

Training claims are told in the first wording, held-out ones in the second, of other samples. Left
out on purpose: verifiers (`metrics.verifiers`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..corpora import embedded
from ..errors import run_cli
from ..metrics.grounding import LABELLED, LABELLED_NEW, hand_labelled
from ..metrics.speed import random_samples
from ..metrics.verifiers import MatcherVerifier, Premises, Verifier, verifier_quality
from ..teachers.grammar import GrammarTeacher
from . import commands

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


def measure(*, pairs: int = 1500, epochs: int = 12, held_out: int = 600) -> dict[str, Any]:
    """A record: the matcher and a cross-encoder trained here, on claims that it was not trained on.

    pairs: training claims of the grammar teacher. Table verifiers: as `verifier_quality`, for each
    set of `claims`: the teacher's in its other wording, and both sets labelled by hand.
    """
    from ..metrics.cross_encoder import train

    items = embedded.read_catalogue(embedded.CATALOGUE)
    learnt = grammar_pairs(items, pairs, seed=1)
    started = time.perf_counter()
    columns = (learnt[name].tolist() for name in ("premise", "claim", "supported"))
    verifiers: list[Verifier] = [MatcherVerifier(items), train(*columns, epochs=epochs)]
    seconds = time.perf_counter() - started
    sets = {
        "the teacher's, other wording": grammar_pairs(items, held_out, wording="second", seed=2),
        "labelled by hand": labelled_pairs(items),
        "labelled by hand, unseen": labelled_pairs(items, LABELLED_NEW),
    }
    found = [verifier_quality(verifiers, of).assign(claims=name) for name, of in sets.items()]
    facts = {"pairs": pairs, "epochs": epochs, "held_out": held_out, "training_s": round(seconds)}
    return commands.record({"verifiers": pd.concat(found, ignore_index=True)}, facts)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = commands.parser("verifying", __doc__)
    asked.add_argument("--pairs", type=int, default=1500, help="claims to train on")
    asked.add_argument("--epochs", type=int, default=12)
    asked.add_argument("--held-out", type=int, default=600, help="claims in the other wording")
    commands.keep(asked, measure, arguments)


if __name__ == "__main__":
    run_cli(main)
