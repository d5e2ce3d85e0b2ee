"""Chapter 7b's comparison on real text: XRec's published explanations, floors, a small Prism.

Left out on purpose: reading recorded texts (`teachers.recorded`), and counting what neither
profile says (`real_text`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rouge_score.rouge_scorer import RougeScorer
from sklearn.feature_extraction.text import TfidfVectorizer

from .. import students
from ..errors import InputError
from ..metrics.bertscore import BertScore
from ..metrics.diversity import diversity
from ..metrics.overlap import bleu, rouge
from ..metrics.suite import central_text, shuffled
from ..statistics import bootstrap_means, compare
from ..students.inputs import StudentSettings
from ..students.training import Recipe
from ..teachers.recorded import hold_out, read_samples, read_texts

FILES = ("explanations.jsonl", "predictions.jsonl", "interactions_trn.csv.gz")
# how pairs are held out -> what is drawn, and where the student gets its user's vector
SPLITS = {"by user": ("user", "none"), "at random": ("sample", "every_token")}
FIRST, CENTRAL = "one sentence: the first prediction", "one sentence: the most central"
NEAREST, ONE, HIDDEN = "nearest", "one sentence", "prism, user hidden"
KNOWN = {True: "in the training graph", False: "not in it"}
VARIETY = {
    "usr": "unique sentences (share)",
    "distinct1": "distinct words (share)",
    "distinct2": "distinct word pairs (share)",
    "self_bleu": "self-BLEU (0 to 1)",
}
# what a reader is told that the metrics are, in the order of the tables
SHOWN = {
    "rougeL": "ROUGE-L F1, rouge-score",
    "rougeL_stemmed": "the same, stemmed",
    "rougeL_whitespace": "ROUGE-L F1, lower-cased, split at spaces",
    "rougeL_shuffled": "floor: ROUGE-L, references shuffled",
    "rougeL_lift": "lift: ROUGE-L above its shuffled floor",
    "rouge1": "ROUGE-1 F1",
    "rouge2": "ROUGE-2 F1",
    "bleu1": "BLEU-1",
    "bleu4": "BLEU-4",
    "bertscore_f1": "BERTScore F1",
    "bertscore_f1_shuffled": "floor: BERTScore F1, references shuffled",
    "bertscore_f1_lift": "lift: BERTScore F1 above its shuffled floor",
}
TESTED = ("rougeL", "rougeL_lift", "bertscore_f1")
PAIRS = [("prism", "xrec"), ("prism", NEAREST), ("prism", ONE), ("xrec", NEAREST), ("xrec", ONE)]


@dataclass(frozen=True)
class Data:
    """XRec's Yelp files. Every frame of texts has sample_id, system and text.

    samples, items: the pairs of user and business. golden: their golden explanations. xrec: XRec's
    of a part of them. references, published: golden explanations and predictions of the file that
    names neither user nor item. in_graph: sample_id -> whether XRec's filter was trained on it.
    """

    samples: pd.DataFrame
    items: pd.DataFrame
    golden: pd.DataFrame
    xrec: pd.DataFrame
    references: pd.DataFrame
    published: pd.DataFrame
    in_graph: pd.Series

    def facts(self) -> dict[str, int]:
        """How many pairs, users and items there are, and how many of the pairs are which."""
        return {
            "pairs": len(self.samples),
            "users": int(self.samples["user_id"].nunique()),
            "items": len(self.items),
            "explained by XRec": len(self.xrec),
            "pairs in the training graph": int(self.in_graph.sum()),
        }


def read(folder: Path | str) -> Data:
    """Read XRec's Yelp files; raises `InputError` for one that is missing or malformed."""
    profiles, predictions, graph = paths = [Path(folder) / name for name in FILES]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such file; give the folder that holds XRec's Yelp files")
    samples, items = read_samples(profiles)
    try:
        edges = pd.read_csv(graph, dtype=str, usecols=["user", "item"])
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{graph}: no readable CSV file of user and item ({error})") from error
    return Data(
        samples,
        items,
        golden=read_texts(profiles, "explanation", "gpt-3.5"),
        xrec=read_texts(profiles, "xrec_prediction", "xrec"),
        references=read_texts(predictions, "reference", "gpt-3.5"),
        published=read_texts(predictions, "xrec_prediction", "xrec"),
        in_graph=samples.set_index("sample_id").index.to_series().isin(
            edges["user"] + "-" + edges["item"]
        ),
    )  # fmt: skip


class _AtSpaces:
    """Words as a third reading of ROUGE-L takes them."""

    tokenize = staticmethod(lambda text: text.lower().split())


@dataclass(frozen=True)
class Scoring:
    """How texts are scored: orders of the references behind a shuffled floor, draws, seed."""

    shuffles: int = 5
    resamples: int = 2000
    seed: int = 0

    def scores(
        self, told: pd.DataFrame, golden: pd.DataFrame, encoder: BertScore | None = None
    ) -> pd.DataFrame:
        """Every reference metric of one system's texts, as `tables.scores`.

        Beside ROUGE and BLEU: rougeL_stemmed, rougeL_whitespace (split at spaces), and of rougeL
        and, with an encoder, bertscore_f1 the value against other pairs' references (_shuffled)
        and what is above it (_lift).
        """
        golden = golden.set_index("sample_id", drop=False).loc[told["sample_id"]]
        at_spaces = RougeScorer(["rougeL"], tokenizer=_AtSpaces())
        third = [
            at_spaces.score(*pair)["rougeL"].fmeasure
            for pair in zip(golden["text"], told["text"], strict=True)
        ]
        stemmed = rouge(told, golden, stemmer=True).query("metric == 'rougeL'")
        parts = [
            *self._with_lift(rouge, told, golden, "rougeL", self.shuffles),
            stemmed.assign(metric="rougeL_stemmed"),
            told[["sample_id", "system"]].assign(metric="rougeL_whitespace", value=third),
            bleu(told, golden),
        ]
        if encoder:
            parts += self._with_lift(encoder.score, told, golden, "bertscore_f1", 1)
        return pd.concat(parts, ignore_index=True)

    def _with_lift(
        self, measure: Any, told: pd.DataFrame, golden: pd.DataFrame, metric: str, orders: int
    ) -> list[pd.DataFrame]:
        def values(scores: pd.DataFrame) -> pd.Series:
            chosen = scores[scores["metric"] == metric]
            return chosen.set_index(["sample_id", "system"])["value"]

        own = measure(told, golden)
        others = [
            values(measure(shuffled(told, self.seed + order), golden)) for order in range(orders)
        ]
        floor = pd.concat(others).groupby(level=[0, 1]).mean()
        found = {"shuffled": floor, "lift": values(own) - floor}
        return [own] + [v.reset_index().assign(metric=f"{metric}_{k}") for k, v in found.items()]

    def means(self, scores: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
        """Means with intervals, as `statistics.bootstrap_means`."""
        return bootstrap_means(scores, samples, resamples=self.resamples, seed=self.seed)

    def variety(
        self, told: pd.DataFrame, samples: pd.DataFrame, items: pd.DataFrame
    ) -> pd.DataFrame:
        """`VARIETY` of each system: system, metric, value; businesses have no attributes."""
        none = pd.DataFrame({"row": [], "feature": []})
        found = diversity(told, samples, items, features=none, seed=self.seed)
        return found[found["metric"].isin(VARIETY)]


def published(data: Data, scoring: Scoring) -> dict[str, list[dict[str, Any]]]:
    """The published predictions and two sentences told to all: rows of means, and of variety.

    The central sentence is chosen among golden explanations of pairs that are not scored here.
    """
    told = data.published
    outside = data.golden[~data.golden["text"].isin(data.references["text"])]
    repeated = {
        FIRST: told["text"].iloc[0],
        CENTRAL: central_text(outside["text"].tolist(), scoring.seed),
    }
    systems = [told, *(told.assign(system=name, text=text) for name, text in repeated.items())]
    scores = pd.concat([scoring.scores(texts, data.references) for texts in systems])
    # The file names neither user nor item: each pair is its own user.
    pairs = told[["sample_id"]].assign(user_id=told["sample_id"], item_id="", split="test")
    pairs["history"] = [[] for _ in range(len(pairs))]
    return {
        "published": scoring.means(scores, pairs).to_dict("records"),
        "published_variety": scoring.variety(told, pairs, data.items).to_dict("records"),
    }


def leak(data: Data, scoring: Scoring) -> pd.DataFrame:
    """Means of XRec's explanations, its `system` being whether the pair is in its graph."""
    scores = scoring.scores(data.xrec, data.golden)
    group = scores["sample_id"].map(data.in_graph.map(KNOWN))
    return scoring.means(scores.assign(system=group), data.samples)


def divide(
    data: Data, held_out: int, valid_samples: int, seed: int = 0
) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """For each of `SPLITS` the held-out samples, and the others with text, split train or test.

    `held_out` of the pairs that XRec explained; of what is left `valid_samples` for validation.
    """
    divided = {}
    for name, (by, _) in SPLITS.items():
        made = hold_out(data.samples, data.xrec["sample_id"], held_out, by=by, seed=seed)
        train = made[made["split"] == "train"].merge(
            data.golden[["sample_id", "text"]], on="sample_id"
        )
        cut = hold_out(train, train["sample_id"], valid_samples, by=by, seed=seed)
        divided[name] = made[made["split"] == "test"], cut
    return divided


def split_rows(
    divided: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
) -> list[dict[str, str | int]]:
    """What each split of `divide` holds, counted."""
    rows = []
    for name, (test, cut) in divided.items():
        train = cut[cut["split"] == "train"]
        row: dict[str, str | int] = {
            "split": name,
            "user vector": SPLITS[name][1],
            "training pairs": len(train),
            "validation pairs": len(cut) - len(train),
            "held-out pairs": len(test),
            "held-out users": int(test["user_id"].nunique()),
        }
        for what in ("user", "item"):
            met = test[f"{what}_id"].isin(train[f"{what}_id"])
            row[f"held-out pairs of {what}s in training"] = int(met.sum())
        rows.append(row)
    return rows


@dataclass
class Training:
    """How students are trained on the splits of `divide`, below `folder`; each is trained once.

    max_input_tokens, max_new_tokens: budgets in tokens; steps: optimiser steps at most; seed: that
    of the student called "prism", another is called "prism@" and how far from it.
    """

    divided: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]
    items: pd.DataFrame
    folder: Path
    layers: int
    vocab_size: int
    max_input_tokens: int
    max_new_tokens: int
    steps: int
    dropout: float
    batch_size: int
    eval_every: int
    patience: int
    seed: int
    made: dict[tuple[Any, ...], Any] = field(default_factory=dict, init=False)

    def student(self, split: str, width: int, learning_rate: float, seed: int) -> Any:
        """The student of a split, width, learning rate and seed."""
        key = split, width, learning_rate, seed
        if key not in self.made:
            cut = self.divided[split][1]
            self.made[key] = students.fit(
                "prism",
                cut[cut["split"] == "train"],
                cut[cut["split"] == "test"],
                self.folder / f"{split}-{width}-{learning_rate}-{seed}".replace(" ", "-"),
                items=self.items,
                settings=StudentSettings(
                    "compact", "business", 0, self.max_input_tokens, self.max_new_tokens
                ),
                recipe=Recipe(
                    self.steps, learning_rate, self.batch_size, eval_every=self.eval_every,
                    patience=self.patience, seed=seed,
                ),
                name="prism" if seed == self.seed else f"prism@{seed - self.seed}",
                vocabulary="bytes",
                vocab_size=self.vocab_size,
                d_model=width,
                layers=self.layers,
                dropout=self.dropout,
                placement=SPLITS[split][1],
            )  # fmt: skip
        return self.made[key]

    def tried(self, trials: Iterable[tuple[int, float]]) -> list[dict[str, Any]]:
        """A row for each width and learning rate, trained on the split by user: its best step."""
        rows = []
        for width, learning_rate in trials:
            student = self.student("by user", width, learning_rate, self.seed)
            best = student.curve.loc[student.curve["valid_loss"].idxmin()]
            rows.append(
                {
                    "width": width,
                    "learning rate": learning_rate,
                    "parameters": student.model.num_parameters(),
                    "steps": int(best["step"]),
                    "validation loss": float(best["valid_loss"]),
                }
            )
        return rows


def floors(told: pd.DataFrame, test: pd.DataFrame, train: pd.DataFrame, seed: int) -> pd.DataFrame:
    """What took no training, for the samples of `told`: `NEAREST` and `ONE`.

    `NEAREST` is the golden explanation of the training pair with the most similar input (TF-IDF,
    cosine), `ONE` the most central one of training.
    """
    words = TfidfVectorizer(sublinear_tf=True).fit(train["input_text"])
    asked = test.set_index("sample_id").loc[told["sample_id"], "input_text"]
    likeness = words.transform(asked) @ words.transform(train["input_text"]).T
    nearest = train["text"].to_numpy()[likeness.toarray().argmax(axis=1)]
    one = central_text(train["text"].tolist(), seed)
    return pd.concat([told.assign(system=NEAREST, text=nearest), told.assign(system=ONE, text=one)])


def beside(
    data: Data,
    training: Training,
    width: int,
    learning_rate: float,
    *,
    student_seeds: int,
    scoring: Scoring,
    encoder: BertScore | None = None,
) -> dict[str, pd.DataFrame]:
    """Prism, XRec and the floors on the held-out pairs of each split.

    Tables with a column split: scores (means with intervals), comparisons (of `PAIRS`, and of the
    user hidden, in `TESTED`), variety. BERTScore, which is slow, is of one seed of Prism.
    """
    options = {"resamples": scoring.resamples, "seed": scoring.seed}
    found: dict[str, list[pd.DataFrame]] = {"scores": [], "comparisons": [], "variety": []}
    for split, (test, cut) in training.divided.items():
        pairs, theirs = PAIRS, data.xrec[data.xrec["sample_id"].isin(test["sample_id"])]
        parts = [theirs]
        for seed in range(training.seed, training.seed + student_seeds):
            student = training.student(split, width, learning_rate, seed)
            parts.append(student.explain(test))
            if split == "at random" and seed == training.seed:
                unknown = student.explain(test.assign(user_id=""))
                parts.append(unknown.assign(system=HIDDEN))
                pairs = [*PAIRS, ("prism", HIDDEN)]
        train = cut[cut["split"] == "train"].reset_index(drop=True)
        parts.append(floors(theirs, test, train, training.seed))
        told = pd.concat(parts, ignore_index=True)
        scores = pd.concat(
            scoring.scores(
                texts, data.golden, encoder if name in {n for p in PAIRS for n in p} else None
            )
            for name, texts in told.groupby("system", sort=False)
        )
        tested = scores[scores["metric"].isin(TESTED)]
        for name, table in (
            ("scores", scoring.means(scores, test)),
            ("comparisons", compare(tested, test, pairs, **options)),
            ("variety", scoring.variety(told, test, data.items)),
        ):
            found[name].append(table.assign(split=split))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in found.items()}
