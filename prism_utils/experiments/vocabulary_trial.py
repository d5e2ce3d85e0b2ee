"""Chapter 3's trial: does a student copy titles better that are one token each, or bytes?

Two students on the same samples, from whose texts some titles are withheld entirely.
"""

from __future__ import annotations

from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from ..decoding import Explainer
from ..metrics.grounding import Grounding
from ..students.inputs import StudentSettings, UserTable
from ..students.prism import from_scratch
from ..students.training import Probe, Recipe, finetune
from ..students.vocabulary import train_tokenizer


def withhold(
    train: pd.DataFrame,
    test: pd.DataFrame,
    items: pd.DataFrame,
    grounding: Grounding,
    *,
    titles: int,
    seed: int,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Items of `test` whose titles are withheld, and the training samples that name none."""
    chosen = np.random.default_rng(seed).permutation(test["item_id"].unique())[:titles]
    withheld = set(items.loc[items["item_id"].isin(chosen), "title"])
    named = grounding.mentions((train["prompt"] + " " + train["text"]).tolist())
    naming = named.loc[named["value"].isin(withheld), "text"]
    return chosen, train[~np.isin(np.arange(len(train)), naming)]


def compare(
    clean: pd.DataFrame,
    valid: pd.DataFrame,
    asked: Mapping[str, pd.DataFrame],
    items: pd.DataFrame,
    grounding: Grounding,
    users: UserTable,
    *,
    settings: StudentSettings,
    recipe: Recipe,
    vocab_size: int,
    model: Mapping[str, Any],
) -> pd.DataFrame:
    """How often each student names the recommended item while it learns.

    clean, valid: samples with prompt and text. asked: name -> samples of which a hundred are
    explained at every validation. model: options of `from_scratch`. Columns: those of
    `training.Probe`, one for each of `asked` (a share), and vocabulary.
    """
    trials = []
    for kind in ("whole_titles", "bytes"):
        tokenizer = train_tokenizer(
            [*clean["prompt"], *clean["text"]],
            vocab_size=vocab_size,
            whole_titles=items["title"] if kind == "whole_titles" else (),
            model_max_length=settings.max_input_tokens,
        )

        def naming(student: Any, tokenizer: Any = tokenizer) -> dict[str, float]:
            explainer = Explainer(student, tokenizer, users, settings, items)
            rates = {}
            for name, samples in asked.items():
                samples = samples.head(100)
                scores = grounding.score(explainer.explain(samples), samples)
                rates[name] = scores.loc[scores["metric"] == "names_item", "value"].mean()
            return rates

        probe = Probe(naming)
        with TemporaryDirectory() as folder:  # nothing of a trial is kept but its table
            finetune(
                from_scratch(tokenizer, len(users), **model), tokenizer, clean, valid,
                UserTable(users.index), folder, settings=settings, recipe=recipe,
                progress=False, callbacks=[probe],
            )  # fmt: skip
        trials.append(probe.table.assign(vocabulary=kind))
    return pd.concat(trials)


def say(trials: pd.DataFrame) -> str:
    """What the trial came to, in a sentence."""
    said = "; ".join(
        f"{str(kind).replace('_', ' ')}: {100 * row['seen in training']:.0f}% of items whose title "
        f"was seen, {100 * row['never seen']:.0f}% of withheld ones, after {row['seconds']:.0f} s"
        for kind, row in trials.groupby("vocabulary", sort=False).last().iterrows()
    )
    return f"At the end of the trial the recommended item is named by {said}."
