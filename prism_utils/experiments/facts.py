"""Chapter 10's experiments: a student that is told what the catalogue knows, against the paper's.

    python -m prism_utils.experiments.facts --out book/records/facts.json

The paper's student is trained on titles, and from it one student for each point, told different
facts for the same further steps, on `quick`'s corpus and teacher. Left out: receipts and what they
cost (`decoding.audit`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import corpora, students
from ..decoding import Explainer
from ..errors import InputError, nearest, run_cli
from ..metrics.overlap import rouge
from ..metrics.receipts import Auditor
from ..prompts import FACTS, render_prompts
from ..sequences import make_samples
from ..statistics import bootstrap_means
from ..students.facts_floor import FactsTemplate
from ..students.inputs import StudentSettings, token_counter
from ..students.training import Recipe
from ..tables import attribute_columns, attribute_lists
from ..teachers import make_teacher
from . import commands, controls, sweeps
from .guarantee import claim_scores

# What profile `quick` has; a point changes some of it.
BASE: dict[str, Any] = {
    "corpus": {"films": 400, "users": 1000, "interactions_per_user": 40, "seed": 1},
    "teacher": {"max_history": 5, "error_rate": 0.3, "voice_strength": 0.5},
    "start": "",  # folder of the student that training goes on from; empty: from scratch
    "facts": "none",
    "noise": 0.0,  # share of the catalogue's values, as the student is told them, that are wrong
    "filtered": False,  # whether teacher's texts that the audit refuses are left out
    "steps": 2500,
    "learning_rate": 1e-3,
    "student_history": 5,
    "max_input_tokens": 192,
    "vocab_size": 1000,
    "asked": "test",  # or "valid": settings are chosen there
    "asked_samples": 1000,
    "seed": 0,
}
START = "the paper's"  # setting of the student that all others go on from
MORE_STEPS = 1500  # of each of these
#: What is trained from it for each seed: every kind of facts, told from a catalogue a tenth of
#: whose values are wrong, and without the teacher's texts that the audit refuses.
POINTS: list[dict[str, Any]] = [
    *({"facts": facts} for facts in FACTS),
    {"facts": "all", "noise": 0.1},
    {"facts": "all", "filtered": True},
]
_SMALL: dict[str, Any] = {
    "corpus": {"films": 40, "users": 30, "interactions_per_user": 12, "seed": 1},
    "steps": 6,
    "asked_samples": 20,
}
SIZES: dict[str, dict[str, Any]] = {"full": {}, "tiny": _SMALL}


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


def measure(point: dict[str, Any], folder: Path | str = "") -> list[dict[str, Any]]:
    """Train a student at a point and score its explanations of samples that it never saw.

    folder: where it is saved; empty: nowhere. Rows: seed, setting (`label`), users ("known"),
    system ("student", "teacher" or the floor "facts-template"), metric, value, low and high (users
    resampled), n. Metrics: those of `metrics.grounding`; false (the text has a claim that the audit
    does not support), and by reason (`receipts.REASONS`); rougeL against the teacher's text; with
    system "training" valid_loss (nats a token), input_tokens (mean length of a prompt) and dropped
    (share of prompts that lost a title or fact).
    """
    for name in point:
        if name not in BASE:
            raise InputError(f"factor {name!r} is unknown: {nearest(name, BASE)}")
    at = BASE | point
    settings = StudentSettings(
        template="compact",
        max_history=at["student_history"],
        max_input_tokens=at["max_input_tokens"],
        max_new_tokens=96,
        facts=at["facts"],
    )
    corpus = corpora.load("embedded", None, **at["corpus"])
    auditor = Auditor(corpus.items, corpus.noun)
    told = noisy(corpus.items, at["noise"], at["seed"])
    teacher = make_teacher("grammar", corpus.items, corpus.noun, **at["teacher"])
    samples = make_samples(corpus.interactions, seed=0)
    samples["text"] = teacher.explain(samples)["text"].to_numpy()
    test, train = (samples[samples["split"] == split] for split in ("test", "train"))
    valid = train.sample(min(2000, len(train) // 5), random_state=at["seed"])
    train = train.drop(valid.index)
    if at["filtered"]:
        of_each = zip(train["text"], train["history"], train["item_id"], strict=True)
        train = train[[audit.supported for audit in auditor.audit_all(of_each)]]
    recipe = Recipe(
        at["steps"],
        learning_rate=at["learning_rate"],
        eval_every=min(500, at["steps"]),
        patience=0,
        seed=at["seed"],
    )
    with tempfile.TemporaryDirectory() as place:
        student = students.fit(
            "prism", train, valid.head(400), folder or place, items=told, settings=settings,
            recipe=recipe, name="student", vocab_size=at["vocab_size"], init_from=at["start"],
        )  # fmt: skip
        assert isinstance(student, Explainer)
        asked = test if at["asked"] == "test" else valid.tail(len(valid) - 400)
        asked = asked.sample(min(at["asked_samples"], len(asked)), random_state=0)
        own = student.explain(asked)
    template = FactsTemplate(auditor, corpus.items, corpus.noun)
    about = zip(asked["history"], asked["item_id"], strict=True)
    floor = asked[["sample_id"]].assign(
        system="facts-template", text=[template.tell(*one).text for one in about]
    )
    golden = asked[["sample_id", "text"]].assign(system="teacher")
    texts = pd.concat([frame[["sample_id", "system", "text"]] for frame in (own, floor, golden)])
    overlap = rouge(texts[texts["system"] != "teacher"], golden)
    parts = [auditor.score(texts, asked), claim_scores(texts, asked, auditor)]
    scores = pd.concat([*parts, overlap[overlap["metric"] == "rougeL"]])
    rows = bootstrap_means(scores, asked, resamples=2000, seed=0).to_dict("records")
    count = token_counter(student.tokenizer, student.backend.config)
    written = render_prompts(
        asked, told, template="compact", max_history=at["student_history"], facts=at["facts"],
        count_tokens=count, max_tokens=at["max_input_tokens"],
    )  # fmt: skip
    assert student.curve is not None
    for metric, value in (
        ("valid_loss", student.curve["valid_loss"].min()),
        ("input_tokens", np.mean(count(list(written["prompt"])))),
        ("dropped", (written[["dropped", "facts_dropped"]].sum(axis=1) > 0).mean()),
    ):
        row = {"system": "training", "metric": metric, "value": float(value), "n": len(asked)}
        rows.append(row | {"low": None, "high": None})
    of = {"seed": at["seed"], "setting": label(point), "users": "known"}
    return [row | of for row in rows]


def train_start(point: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of `measure` for the paper's student, which is kept in the point's `folder`."""
    point = dict(point)
    return measure(point, point.pop("folder"))


def label(point: dict[str, Any]) -> str:
    """How a point is called: what it changes of `BASE` that is no size.

    >>> label({"facts": "all", "noise": 0.1, "start": "x"}), label({"start": "x"}), label({})
    ('all, noise=0.1', 'none', "the paper's")
    """
    at = BASE | point
    told = at["facts"] if at["start"] or at["facts"] != "none" else START
    changes = [f"noise={at['noise']}"] * bool(at["noise"]) + ["filtered"] * at["filtered"]
    return ", ".join([told, *changes])


def measure_all(
    work: Path,
    *,
    grid: str = "full",
    points: Sequence[str] = (),
    seeds: int = 3,
    workers: int | None = None,
) -> dict[str, Any]:
    """A record: the paper's student and every point of `POINTS`, with means over seeds.

    work: a folder for the points (`sweeps.run`): the same call resumes there, and a call for more
    points or seeds adds to it. points: labels of those that are trained; empty: all.
    """
    if grid not in SIZES:
        raise InputError(f"grid {grid!r} is unknown: {nearest(grid, SIZES)}")
    known = {label(point | {"start": "x"}): point for point in POINTS}
    for name in points:
        if name not in known:
            raise InputError(f"point {name!r} is unknown: {nearest(name, known)}")
    size, folder = SIZES[grid], Path(work)
    more = {"steps": min(MORE_STEPS, (BASE | size)["steps"])}
    kept = {seed: str(folder / "starts" / str(seed)) for seed in range(seeds)}
    starts = [size | {"seed": seed, "folder": kept[seed]} for seed in kept]
    asked = [
        size | more | point | {"seed": seed, "start": kept[seed]}
        for seed in kept
        for name, point in known.items()
        if not points or name in points
    ]
    parts = [
        sweeps.run(function, points, folder, workers=workers)
        for function, points in ((train_start, starts), (measure, asked))
    ]
    table = controls.summary(pd.concat(parts, ignore_index=True))
    asked += starts
    facts: dict[str, Any] = {"grid": grid, "points": len(asked), "seeds": seeds}
    facts |= {"base": BASE | size, "more_steps": more["steps"]}
    return commands.record({"facts": table}, facts)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = commands.parser("facts", __doc__)
    commands.add_grid(asked, SIZES, "facts")
    asked.add_argument("--points", nargs="+", default=(), metavar="LABEL",
                       help='such as "shared" or "all, noise=0.1" (default: all)')  # fmt: skip
    commands.keep(asked, measure_all, arguments)


if __name__ == "__main__":
    run_cli(main)
