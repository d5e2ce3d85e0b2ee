"""Faithful to whom? Whether explanations cite what moved the ranker, or only what is true.

A ranker that knows its reasons (`rankers.with_evidence`) names the history items that moved it to
an item. Left out on purpose: students that are told these (chapter 9 trains them), and whether a
claim is true (`guarantee`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .. import rankers
from ..errors import InputError
from ..metrics.receipts import Auditor

RANDOM = "random-title"
METRICS = {
    "cites_any": "cites the history",
    "cites_mover": "cites a mover, by title or attribute",
    "names_mover": "names a mover's title",
}


def with_movers(
    ranker: str,
    samples: pd.DataFrame,
    interactions: pd.DataFrame,
    *,
    shown: int,
    k: int = 1,
) -> pd.DataFrame:
    """Samples, their histories cut to the last `shown` items, with the `evidence` of a ranker.

    evidence: of these items the k that moved it most to the sample's item. The ranker learns from
    all interactions but those that the samples ask about.
    """
    asked = pd.MultiIndex.from_frame(samples[["user_id", "item_id"]])
    seen = pd.MultiIndex.from_frame(interactions[["user_id", "item_id"]])
    fitted = rankers.make_ranker(ranker).fit(interactions[~seen.isin(asked)])
    cut = samples.assign(history=[list(history)[-shown:] for history in samples["history"]])
    return rankers.with_evidence(fitted, cut[cut["history"].str.len() > 0], k)


def random_titles(samples: pd.DataFrame, items: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """A floor: explanations that name one title of the history, drawn at random, and the item."""
    rng = np.random.default_rng(seed)
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    texts = []
    for history, item in zip(samples["history"], samples["item_id"], strict=True):
        cited = history[int(rng.integers(len(history)))]
        texts.append(f"You know “{titles.get(cited, cited)}”, so try “{titles.get(item, item)}”.")
    return samples[["sample_id"]].assign(system=RANDOM, text=texts)


def scores(texts: pd.DataFrame, samples: pd.DataFrame, auditor: Auditor) -> pd.DataFrame:
    """Scores (0 or 1) of explanations of samples with `evidence`, `METRICS`.

    cites_any: a title of the history, or an attribute that the item shares with an item of it, is
    named. cites_mover: one of the evidence, or an attribute shared with one of the evidence.
    names_mover: a title of the evidence. The last two are missing where cites_any is 0.
    """
    if "evidence" not in samples.columns:
        raise InputError("samples: column 'evidence' is missing; with_movers adds it")
    about = samples.set_index("sample_id")
    about = about.loc[texts["sample_id"]]
    asked = zip(texts["text"], about["history"], about["item_id"], strict=True)
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for audit, movers in zip(auditor.audit_all(asked), about["evidence"], strict=True):
        titles: set[str] = set()
        values: set[str] = set()
        for claim in audit.claims:
            if claim.kind == "title":
                titles.update(claim.history)
            elif claim.item:
                values.update(claim.history)
        cited = titles | values
        found["cites_any"].append(float(bool(cited)))
        for name, by in (("cites_mover", cited), ("names_mover", titles)):
            found[name].append(float(not by.isdisjoint(movers)) if cited else np.nan)
    keys = texts[["sample_id", "system"]].reset_index(drop=True)
    return keys.assign(**found).melt(list(keys), var_name="metric")


def compare_rankers(
    names: Sequence[str],
    texts: pd.DataFrame,
    samples: pd.DataFrame,
    interactions: pd.DataFrame,
    auditor: Auditor,
    items: pd.DataFrame,
    *,
    shown: int,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`scores` of texts and of the random floor for each ranker: scores with `ranker`, samples."""
    parts, asked = [], samples
    for name in names:
        asked = with_movers(name, samples, interactions, shown=shown)
        of_asked = texts[texts["sample_id"].isin(asked["sample_id"])]
        told = pd.concat([of_asked, random_titles(asked, items, seed)], ignore_index=True)
        parts.append(scores(told, asked, auditor).assign(ranker=name))
    return pd.concat(parts, ignore_index=True), asked
