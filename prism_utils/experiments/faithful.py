"""Faithful to whom? Whether explanations cite what moved the ranker, or only what is true.

    python -m prism_utils.experiments.faithful --out book/records/faithful.json

A ranker that knows its reasons (`rankers.with_evidence`) names the history items that moved it to
an item. One point trains two students, one of which is told these. Left out on purpose: whether a
claim is true (`guarantee`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import rankers
from ..errors import InputError, run_cli
from ..metrics.receipts import Auditor
from ..records import as_rows
from ..statistics import bootstrap_means
from ..students.facts_floor import FactsTemplate
from . import commands, controls, sweeps
from . import trial as trials

RANDOM = "random-title"
METRICS = {
    "cites_any": "cites the history",
    "cites_mover": "cites a mover, by title or attribute",
    "names_mover": "names a mover's title",
    "only_movers": "cites movers alone",
    "chance": "would cite a mover by chance",
    "beyond_chance": "cites a mover, less chance",
}
#: What is trained for each seed: two students a point. Budgets hold the longest input of each.
RANKERS = ("ease", "item_cf")
_TOKENS = {"none": 160, "all": 400}


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
    """Scores of explanations of samples with `evidence`, `METRICS`; 0 or 1 but the last two.

    - cites_any: a title of the history, or an attribute that the item shares with an item of it,
      is named. Whom a text cites: every history item of such a title or with such an attribute.
    - cites_mover: one of the evidence is among these.
    - names_mover: a title of the evidence is named.
    - only_movers: every such title and attribute is (also) one of the evidence's.
    - chance: how probable cites_mover is with this text if as many items of the history, drawn at
      random, had moved the ranker. An attribute that half of the history has hits easily.
    - beyond_chance: cites_mover less chance, from -1 to 1.

    All but the first are missing where cites_any is 0 and where nothing moved the ranker. The item
    itself is never one of its history. Raises `InputError` without `evidence`.
    """
    if "evidence" not in samples.columns:
        raise InputError("samples: column 'evidence' is missing; with_movers adds it")
    about = samples.set_index("sample_id")
    about = about.loc[texts["sample_id"]]
    asked = list(zip(texts["text"], about["history"], about["item_id"], strict=True))
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for audit, (_, history, item), evidence in zip(
        auditor.audit_all(asked), asked, about["evidence"], strict=True
    ):
        past = set(history) - {item}
        movers = past.intersection(evidence)
        titles = [past.intersection(c.history) for c in audit.claims if c.kind == "title"]
        values = [
            past.intersection(c.history) for c in audit.claims if c.kind != "title" and c.item
        ]
        cited = set[str]().union(*titles, *values)
        found["cites_any"].append(float(bool(cited)))
        others = math.comb(len(past - cited), len(movers)) / math.comb(len(past), len(movers))
        for name, value in (
            ("cites_mover", bool(cited & movers)),
            ("names_mover", any(ids & movers for ids in titles)),
            ("only_movers", all(ids & movers for ids in titles + values if ids)),
            ("chance", 1 - others),
            ("beyond_chance", bool(cited & movers) - (1 - others)),
        ):
            found[name].append(float(value) if cited and movers else np.nan)
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
) -> pd.DataFrame:
    """`scores` of texts and of the random floor for each ranker, which a column `ranker` names."""
    parts = []
    for name in names:
        asked = with_movers(name, samples, interactions, shown=shown)
        of_asked = texts[texts["sample_id"].isin(asked["sample_id"])]
        told = pd.concat([of_asked, random_titles(asked, items, seed)], ignore_index=True)
        parts.append(scores(told, asked, auditor).assign(ranker=name))
    return pd.concat(parts, ignore_index=True)


def points(grid: str = "full", seeds: int = 3) -> list[dict[str, Any]]:
    """Points for `measure`: each ranker, told no facts and all, for `seeds` seeds."""
    controls.questions(grid)  # knows the grids
    size = controls.evidence_size(grid)
    return [
        size | {"ranker": ranker, "facts": facts, "seed": seed}
        for seed in range(seeds)
        for ranker in RANKERS
        for facts in _TOKENS
    ]


def measure(point: dict[str, Any]) -> list[dict[str, Any]]:
    """Two students of a point, its teacher and two floors against what moved its ranker.

    A point as `points` gives them: factors of `trial`, ranker, and facts ("none" or "all"). Corpus,
    teacher and students as of the points with evidence of `controls`: of ten history items two
    moved the ranker most, the teacher cites these alone, and the student "marked" is told which
    they are. Rows: seed, setting, ranker, facts, users ("known"), system ("teacher", "marked",
    "unmarked", "marked - unmarked", the floors `RANDOM` and "facts-template"), metric (`METRICS`),
    value, low, high (users resampled), n (texts with a value).
    """
    point = dict(point)
    ranker, facts = point.pop("ranker", "ease"), point.pop("facts", "none")
    if facts not in _TOKENS:
        raise InputError(f"facts must be one of {', '.join(_TOKENS)}, found {facts!r}")
    at = trials.complete(point)
    corpus, train, test = controls.evidence_samples(at, ranker)
    texts = controls.evidence_texts(
        at, corpus, train, test, facts=facts, max_input_tokens=_TOKENS[facts]
    )
    auditor = Auditor(corpus.items, corpus.noun)
    template = FactsTemplate(auditor, corpus.items, corpus.noun)
    of_each = zip(test["history"], test["item_id"], strict=True)
    floor = [template.tell(*one).text for one in of_each]
    floors = [
        random_titles(test, corpus.items, at["seed"]),
        test[["sample_id"]].assign(system="facts-template", text=floor),
    ]
    found = scores(pd.concat([texts, *floors], ignore_index=True), test, auditor)
    apart = controls.marked_apart(found, test, at["seed"])
    table = pd.concat([bootstrap_means(found, test, seed=at["seed"]), apart])
    table = table[["system", "metric", "value", "low", "high", "n"]].assign(
        seed=at["seed"], setting=f"{ranker}, facts={facts}", ranker=ranker, facts=facts,
        users="known",
    )  # fmt: skip
    return as_rows(table)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means of `measure`'s rows over seeds, as `controls.summary`, with ranker and facts."""
    of = rows[["setting", "ranker", "facts"]].drop_duplicates()
    return controls.summary(rows).merge(of, on="setting")


def measure_all(
    work: Path, *, grid: str = "full", seeds: int = 3, workers: int | None = None
) -> dict[str, Any]:
    """A record: the `summary` of all `points`; work: a folder for them (`sweeps.run`)."""
    asked = points(grid, seeds)
    table = summary(sweeps.run(measure, asked, work, workers=workers))
    parameters = {"grid": grid, "points": len(asked), "seeds": seeds, "base": asked[0]}
    return commands.record({"faithful": table}, parameters)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = commands.parser("faithful", __doc__)
    commands.add_grid(asked, controls.SIZES, "faithful")
    commands.keep(asked, measure_all, arguments)


if __name__ == "__main__":
    run_cli(main)
