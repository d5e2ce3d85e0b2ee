"""Chapter 10's experiments: a student that is told what the catalogue knows, against the paper's.

    python -m prism_utils.experiments.facts --out book/records/facts.json

One point trains one student on a profile's own corpus and teacher and measures what its held-out
explanations say falsely. Left out: receipts and what they cost (`decoding.audit`).
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pandas as pd

from .. import corpora, students
from ..errors import InputError, nearest
from ..metrics.grounding import Grounding
from ..metrics.overlap import rouge
from ..prompts import FACTS
from ..sequences import make_samples
from ..statistics import bootstrap_means
from ..students.inputs import StudentSettings
from ..students.training import Recipe
from ..tables import attribute_columns, attribute_lists
from ..teachers import make_teacher

# What profile `quick` has; a point changes some of it.
BASE: dict[str, Any] = {
    "corpus": {"films": 400, "users": 1000, "interactions_per_user": 40, "seed": 1},
    "teacher": {"max_history": 5, "error_rate": 0.3, "voice_strength": 0.5},
    "facts": "none",
    "noise": 0.0,  # share of the catalogue's values, as the student is told them, that are wrong
    "steps": 2500,
    "learning_rate": 1e-3,
    "student_history": 5,
    "max_input_tokens": 192,
    "vocab_size": 1000,
    "asked": "test",  # or "valid": settings are chosen there
    "asked_samples": 1000,
    "seed": 0,
}
FALSE = ("foreign_title", "wrong_attribute", "unsupported_relation")


def noisy(items: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """The catalogue with this share of its attribute values exchanged for others of their kind."""
    rng = np.random.default_rng(seed)
    items = items.copy()
    for kind in attribute_columns(items):
        lists = attribute_lists(items[kind])
        known = sorted({value for values in lists for value in values})
        items[kind] = [
            [known[rng.integers(len(known))] if rng.random() < share else v for v in values]
            for values in lists
        ]
    return items


def measure(point: dict[str, Any]) -> list[dict[str, Any]]:
    """Train a student at a point and score its explanations of samples that it never saw.

    Rows: the point's own factors, system ("student" or "teacher"), metric, value, low and high
    (users resampled), n. Metrics: those of `metrics.grounding`, false (any of `FALSE` or itself),
    itself (the item's title stands there twice), rougeL, valid_loss (once) and cut (prompts that
    lost titles or facts).
    """
    for name in point:
        if name not in BASE:
            raise InputError(f"factor {name!r} is unknown: {nearest(name, BASE)}")
    at = BASE | point
    if at["facts"] not in FACTS:
        raise InputError(f"facts {at['facts']!r} is unknown: {nearest(str(at['facts']), FACTS)}")
    corpus = corpora.load("embedded", None, **at["corpus"])
    told = noisy(corpus.items, at["noise"], at["seed"])
    teacher = make_teacher("grammar", corpus.items, corpus.noun, **at["teacher"])
    samples = make_samples(corpus.interactions, seed=0)
    samples["text"] = teacher.explain(samples)["text"].to_numpy()
    test = samples[samples["split"] == "test"]
    train = samples[samples["split"] == "train"]
    valid = train.sample(min(2000, len(train) // 5), random_state=at["seed"])
    train = train.drop(valid.index)
    settings = StudentSettings(
        template="compact",
        noun=corpus.noun,
        max_history=at["student_history"],
        max_input_tokens=at["max_input_tokens"],
        max_new_tokens=96,
        facts=at["facts"],
    )
    recipe = Recipe(
        at["steps"], learning_rate=at["learning_rate"], eval_every=500, patience=0, seed=at["seed"]
    )
    with tempfile.TemporaryDirectory() as folder:
        student = students.fit(
            "prism", train, valid.head(400), folder, items=told, settings=settings, recipe=recipe,
            name="student", vocab_size=at["vocab_size"],
        )  # fmt: skip
        asked = test if at["asked"] == "test" else valid.tail(len(valid) - 400)
        asked = asked.sample(min(at["asked_samples"], len(asked)), random_state=0)
        own = student.explain(asked)
    curve = student.curve
    assert curve is not None
    texts = pd.concat([own[["sample_id", "system", "text"]],
                       asked[["sample_id", "text"]].assign(system="teacher")])  # fmt: skip
    scores = _scores(texts, asked, Grounding(corpus.items, corpus.noun), corpus.items)
    rows = bootstrap_means(scores, asked, resamples=2000, seed=0).to_dict("records")
    loss = float(curve["valid_loss"].min())
    rows.append({"system": "training", "metric": "valid_loss", "value": loss, "n": len(valid)})
    return [{**point, **row} for row in rows]


def _scores(
    texts: pd.DataFrame, samples: pd.DataFrame, grounding: Grounding, items: pd.DataFrame
) -> pd.DataFrame:
    scores = grounding.score(texts, samples)
    titles = samples.set_index("sample_id")["item_id"].map(items.set_index("item_id")["title"])
    found = grounding.mentions(texts["text"].tolist()).query("kind == 'title'")
    asked = texts["sample_id"].map(titles).to_numpy()
    counts = found[found["value"].to_numpy() == asked[found["text"]]]["text"].value_counts()
    itself = counts.reindex(range(len(texts)), fill_value=0).gt(1).to_numpy()
    keys = texts[["sample_id", "system"]].reset_index(drop=True)
    itself = keys.assign(metric="itself", value=itself.astype(float))
    parts = scores[scores["metric"].isin(FALSE)]
    anything = pd.concat([parts, itself]).groupby(["sample_id", "system"])["value"].max()
    anything = anything.reset_index().assign(metric="false")
    golden = texts[texts["system"] == "teacher"]
    own = texts[texts["system"] == "student"]
    overlap = rouge(own, golden)
    overlap = overlap[overlap["metric"] == "rougeL"]
    return pd.concat([scores, itself, anything, overlap], ignore_index=True)
