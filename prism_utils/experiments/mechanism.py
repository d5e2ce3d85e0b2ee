"""Chapter 8's experiments: what became of the teacher's errors in the student.

`measure` trains at a point and returns rates; `predicted` says what they would be if the student
had learnt the teacher's conditional distribution exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import gammaln

from ..errors import InputError, nearest
from ..metrics.grounding import Grounding
from ..metrics.overlap import rouge_pairs
from ..students.training import encode
from .trial import BASE, DECODINGS, FACTORS, SIZES, Trial, build, complete, prompted

# What an error of the teacher is counted by, in its texts and the student's.
RATE = {
    "title": "foreign_title",
    "attribute": "wrong_attribute",
    "relation": "unsupported_relation",
}


def mechanism_grid(seeds: int = 3) -> list[dict[str, Any]]:
    """The full grid of chapter 8: one factor at a time around `BASE`, every point `seeds` times."""
    rates = (0.15, 0.3, 0.5, 0.65, 0.8)
    changes: list[dict[str, Any]] = [{}, {"error_rate": 0.0}]
    changes += [{"error_rate": rate} for rate in rates]
    changes += [{"systematic": True, "error_rate": rate} for rate in rates]
    for systematic in (False, True):
        for rate in (0.3, 0.65):
            changes.append(
                {"error_kinds": ["attribute"], "systematic": systematic, "error_rate": rate}
            )
    changes += [{"size": size} for size in SIZES]
    changes += [{"size": size, "systematic": True, "error_rate": 0.5} for size in ("0.1M", "2M")]
    changes += [{"n_train": n} for n in (750, 1500, 3000)]
    changes += [{"steps": steps} for steps in (300, 600, 2400)]
    changes += [{"dropout": share} for share in (0.1, 0.3)]
    changes += [{"label_smoothing": share} for share in (0.1, 0.2)]
    return _points(changes, seeds)


def quick_grid(seeds: int = 3) -> list[dict[str, Any]]:
    """A small grid, for minutes: a smaller corpus, two decodings, the main factors only."""
    centre = {
        "films": 24,
        "users": 200,
        "interactions_per_user": 16.0,
        "n_train": 2500,
        "steps": 400,
        "student_history": 2,
        "test_samples": 200,
        "decodings": ["greedy", "sample@1.0"],
        "answers": 1000,
    }
    changes: list[dict[str, Any]] = [
        {},
        {"error_rate": 0.0},
        {"error_rate": 0.6},
        {"systematic": True},
        {"systematic": True, "error_rate": 0.6},
        {"size": "0.1M"},
    ]
    return _points([centre | change for change in changes], seeds)


def tiny_grid(seeds: int = 2) -> list[dict[str, Any]]:
    """The smallest grid that exercises every step; its students have learnt next to nothing."""
    centre = {
        "films": 20,
        "users": 40,
        "interactions_per_user": 12.0,
        "n_train": 200,
        "size": "0.1M",
        "steps": 10,
        "test_samples": 30,
        "decodings": ["greedy", "sample@1.0"],
        "asked_samples": 4,
        "answers": 50,
    }
    return _points([centre, centre | {"systematic": True}], seeds)


GRIDS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "tiny": tiny_grid,
    "quick": quick_grid,
    "full": mechanism_grid,
}


def grid(name: str) -> list[dict[str, Any]]:
    """The points of a grid in `GRIDS`."""
    if name not in GRIDS:
        raise InputError(f"grid {name!r} is unknown: {nearest(name, GRIDS)}")
    return GRIDS[name]()


def _points(changes: list[dict[str, Any]], seeds: int) -> list[dict[str, Any]]:
    """Every change with every seed, less what `BASE` says anyhow; equal points once."""
    once: list[dict[str, Any]] = []
    for change in changes:
        full = complete(change)
        point = {name: value for name, value in full.items() if value != BASE[name]}
        if point not in once:
            once.append(point)
    return [point | {"seed": seed} for seed in range(seeds) for point in once]


def measure(point: dict[str, Any]) -> list[dict[str, Any]]:
    """Train a student at a point and measure it: the rows of a sweep, in long format.

    A row has the factors in which the point differs from `BASE` (lists joined by "+"), seed,
    decoding, metric, value and n (what the value is a mean of). decoding is a name of
    `DECODINGS`; "teacher" for the teacher's own answers to the same held-out samples;
    "forced" where the golden explanation was given token by token; "training" for facts about it.

    - rates, on held-out samples: names_item, foreign_title, cites_history, wrong_attribute,
      unsupported_relation, grounded (`metrics.grounding`), any_error (one of the three false
      claims), voice (the text has an attribute of the user's own kind), rougeL, distinct; with
      `unknown_users` also "METRIC known" and "METRIC unknown", and METRIC is over both;
    - predicted_METRIC for the metric of each of `error_kinds`: see `predicted`;
    - repeats_error_train, repeats_error_test: of samples whose golden explanation holds an error,
      the share where the student's greedy text holds the same one;
    - mass_item, mass_history, mass_foreign: probability of the item's, the shown, all other titles
      where a golden text first names a title beside the item's; golden_foreign, argmax_foreign:
      share of these places where that title, or the student's likeliest token, is foreign;
      mass_error_train, mass_error_test: probability of the very title that is the text's error;
    - valid_loss (nats a token), parameters (without the user table).

    Raises `InputError` for an unknown factor or value, and where a point asks for more samples
    than its corpus has.
    """
    at = complete(point)
    trial = build(point)
    rows = _rates(trial) + _predictions(trial) + _repeats(trial) + _forced(trial)
    weights = trial.explainer.model.named_parameters()
    counted = sum(w.numel() for name, w in weights if "user_embeddings" not in name)
    rows.append(("training", "parameters", counted, 1))
    rows.append(("training", "valid_loss", trial.valid_loss, 1))
    said = {name: at[name] for name in FACTORS if at[name] != BASE[name]}
    said = {k: "+".join(v) if isinstance(v, list) else v for k, v in said.items()}
    names = ("decoding", "metric", "value", "n")
    return [said | {"seed": at["seed"]} | dict(zip(names, row, strict=True)) for row in rows]


Row = tuple[str, str, float, int]


def _rates(trial: Trial) -> list[Row]:
    """Rates of the teacher and of every decoding on the held-out samples."""
    at, test = trial.point, trial.test
    told = [test[["sample_id", "text"]].assign(system="teacher")]
    for decoding in at["decodings"]:
        told.append(trial.explain(test, decoding)[["sample_id", "text"]].assign(system=decoding))
    told = pd.concat(told, ignore_index=True)
    grounding = Grounding(trial.items, trial.teacher.noun)
    scores = grounding.score(told, test)
    wide = scores.pivot(index=["system", "sample_id"], columns="metric", values="value")
    wide = wide.drop(columns="groundings").reset_index()
    wide["any_error"] = wide[list(RATE.values())].max(axis=1)
    wide = wide.merge(told, on=["system", "sample_id"])
    wide["user_id"] = wide["sample_id"].map(test.set_index("sample_id")["user_id"])
    golden = wide["sample_id"].map(test.set_index("sample_id")["text"])
    wide["rougeL"] = rouge_pairs(golden.tolist(), wide["text"].tolist())["rougeL"].to_numpy()
    voices = {user: trial.teacher.voice(user) for user in wide["user_id"].unique()}
    mentions = grounding.mentions(wide["text"])
    said = set(zip(mentions["text"], mentions["kind"], strict=True))
    wide["voice"] = [
        float((number, voices[user]) in said) for number, user in enumerate(wide["user_id"])
    ]
    known = wide["user_id"].isin(set(trial.train["user_id"]))
    groups = {"": wide}
    if at["unknown_users"]:
        groups |= {" known": wide[known], " unknown": wide[~known]}
    metrics = [c for c in wide.columns if c not in ("system", "sample_id", "text", "user_id")]
    rows: list[Row] = []
    for name, group in groups.items():
        for system, part in group.groupby("system", sort=False):
            rows += [(system, m + name, float(part[m].mean()), len(part)) for m in metrics]
            rows.append((system, "distinct" + name, part["text"].nunique() / len(part), len(part)))
    return rows


def _repeats(trial: Trial) -> list[Row]:
    """How often a golden explanation's own error comes back, in training and held out."""
    rows: list[Row] = []
    for name, samples in (("train", trial.train), ("test", trial.pool)):
        wrong = samples[samples["error"] != ""].head(300)
        if not len(wrong):
            continue
        texts = trial.explain(wrong)["text"]
        back = [
            bool(re.search(rf"(?<!\w){re.escape(error)}(?!\w)", text))
            for error, text in zip(wrong["error_text"], texts, strict=True)
        ]
        rows.append(("greedy", f"repeats_error_{name}", float(np.mean(back)), len(back)))
    return rows


def _forced(trial: Trial) -> list[Row]:
    """Probability mass on titles where a golden text first names one beside the item's."""
    known, items = trial.explainer.tokenizer.get_vocab(), trial.items
    by_title = {title: known[title] for title in items["title"] if title in known}
    token = {i: by_title.get(t, -1) for i, t in zip(items["item_id"], items["title"], strict=True)}
    titles = np.array(sorted(by_title.values()))
    rows: list[Row] = []
    wrong = trial.train[trial.train["error"] == "title"].head(300)
    for name, samples in (("test", trial.test), ("train", wrong)):
        if not len(samples):
            continue
        labels, logits = _teacher_forced(trial, samples)
        item = samples["item_id"].map(token).to_numpy()
        named = np.isin(labels, titles) & (labels != item[:, None])
        place = named.argmax(axis=1)
        rank = np.arange(len(samples))[named.any(axis=1)]
        chosen = logits[rank, place[rank]].softmax(-1).numpy()
        golden, item = labels[rank, place[rank]], item[rank]
        wanted = samples["error_text"].map(lambda text: by_title.get(text, -1)).to_numpy()[rank]
        if name == "test":
            history = np.zeros(chosen.shape, dtype=bool)
            for row, past in enumerate(samples["history"].iloc[rank]):
                shown = past[-trial.point["student_history"] :]
                history[row, [token[i] for i in shown if token.get(i, -1) >= 0]] = True
            own = np.arange(chosen.shape[1]) == item[:, None]
            history &= ~own
            foreign = np.isin(np.arange(chosen.shape[1]), titles) & ~own & ~history
            for metric, mask in (("item", own), ("history", history), ("foreign", foreign)):
                mass = np.where(mask, chosen, 0).sum(axis=1)
                rows.append(("forced", f"mass_{metric}", float(mass.mean()), len(rank)))
            for metric, said in (("argmax", chosen.argmax(axis=1)), ("golden", golden)):
                share = foreign[np.arange(len(rank)), said].mean()
                rows.append(("forced", f"{metric}_foreign", float(share), len(rank)))
        first = np.flatnonzero(golden == wanted)
        if len(first):
            mass = chosen[first, wanted[first]]
            rows.append(("forced", f"mass_error_{name}", float(mass.mean()), len(first)))
    return rows


@torch.inference_mode()
def _teacher_forced(trial: Trial, samples: pd.DataFrame) -> tuple[np.ndarray, torch.Tensor]:
    """Golden tokens (samples, length) and the student's logits for each (…, vocabulary)."""
    explainer = trial.explainer
    model, tokenizer = explainer.model, explainer.tokenizer
    frame = prompted(trial.point, samples, trial.items, trial.teacher.noun)
    data = encode(frame, tokenizer, explainer.users, model, explainer.settings)
    inputs, labels = (
        tokenizer.pad({"input_ids": data[column]}, return_tensors="pt").to(model.device)
        for column in ("input_ids", "labels")
    )
    logits = model(
        **inputs,
        labels=labels["input_ids"],
        user_ids=torch.as_tensor(data["user_ids"], device=model.device),
    ).logits
    return labels["input_ids"].cpu().numpy(), logits.cpu()


def predicted(answers: Sequence[Sequence[int]], wrong: Sequence[bool], temperature: float) -> float:
    """Share of errors in what a perfect student of this teacher would say of one sample.

    answers: the teacher's own answers to the sample, many of them, as tokens with an end token;
    wrong: which hold an error. They span a tree of beginnings. temperature 0 follows the most
    frequent token at every fork (greedy decoding), 1 draws as the teacher does, T draws tokens
    with probability proportional to p ** (1 / T); T of 0.5 and more. Sums of powers of p are
    estimated from counts c by the falling factorial c! / (c - 1 / T)! in place of c ** (1 / T),
    or else rare tokens, each drawn once by chance, would weigh too much.

    >>> answers = [[1, 0], [1, 0], [1, 0], [2, 0], [3, 0]]
    >>> wrong = [False, False, False, True, True]
    >>> [round(predicted(answers, wrong, t), 2) for t in (0, 0.5, 1)]
    [0.0, 0.0, 0.4]
    """
    longest = max(map(len, answers))
    tokens = np.array([[*answer, *[-1] * (longest - len(answer))] for answer in answers])
    errors = np.asarray(wrong, dtype=float)

    def follow(rows: np.ndarray, place: int) -> float:
        share = errors[rows].mean()
        if temperature == 1 or share in (0.0, 1.0) or place == longest:
            return float(share)
        _, fork, counts = np.unique(tokens[rows, place], return_inverse=True, return_counts=True)
        if not temperature:
            return follow(rows[fork == counts.argmax()], place + 1)
        weights = np.exp(gammaln(counts + 1) - gammaln(counts + 1 - 1 / temperature))
        weights = weights if weights.any() else counts
        ways = [follow(rows[fork == way], place + 1) for way in range(len(counts))]
        return float(np.average(ways, weights=weights))

    return follow(np.arange(len(errors)), 0)


def _predictions(trial: Trial) -> list[Row]:
    """`predicted` for greedy and sampling, over some held-out samples."""
    times = trial.point["answers"]
    asked = trial.test.head(trial.point["asked_samples"])
    many = asked.loc[asked.index.repeat(times)].drop(columns=["text", "error", "error_text"])
    draw = np.tile(np.arange(times), len(asked)).astype(str)
    # Another sample id is another draw; item and user, and so systematic errors and voice, stay.
    many["sample_id"] = many["sample_id"].str.cat(draw, sep="#")
    answers = trial.teacher.explain(many)
    tokens = trial.explainer.tokenizer(answers["text"].tolist(), verbose=False)["input_ids"]
    kinds = answers["error"].to_numpy()
    wrong = {RATE[kind]: kinds == kind for kind in trial.point["error_kinds"]}
    temperature = {"greedy": 0.0} | {
        name: options["temperature"]
        for name, options in DECODINGS.items()
        if "temperature" in options
    }
    rows: list[Row] = []
    for decoding in trial.point["decodings"]:
        if decoding not in temperature:
            continue
        for metric, errors in wrong.items():
            shares = [
                predicted(tokens[start : start + times], errors[start : start + times],
                          temperature[decoding])
                for start in range(0, len(tokens), times)
            ]  # fmt: skip
            rows.append((decoding, f"predicted_{metric}", float(np.mean(shares)), len(shares)))
    return rows
