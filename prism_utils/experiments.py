"""One controlled training: a labelled teacher, a small student, and what became of the errors.

A point is a few factors changed against `BASE`; `measure` builds corpus and teacher, trains the
student and returns rates. `predicted` says what the rates would be if the student had learnt the
teacher's conditional distribution exactly. Left out on purpose: pretrained students, real text.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import gammaln

from .corpora import embedded
from .decoding import Explainer
from .errors import InputError, nearest
from .finetuning import Recipe, encode, finetune
from .metrics.grounding import Grounding
from .metrics.overlap import rouge_pairs
from .prompts import render_prompts
from .sequences import make_samples
from .students.inputs import StudentSettings, UserTable
from .students.prism import from_scratch
from .students.vocabulary import student_tokenizer
from .teachers.grammar import GrammarTeacher

# Width, layers on either side, heads, peak learning rate. Named by what is trained apart from the
# user table, which grows with users times width and says nothing about capacity for language.
SIZES: dict[str, tuple[int, int, int, float]] = {
    "0.1M": (40, 1, 4, 6e-3),
    "0.5M": (112, 1, 4, 3e-3),
    "2M": (176, 2, 4, 1.5e-3),
    "10M": (336, 3, 8, 7e-4),
}
VECTORS = ("full", "none", "shuffled", "shared", "frozen")
DECODINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beam4": {"num_beams": 4},
    **{
        f"sample@{t}": {"do_sample": True, "top_k": 0, "temperature": t}
        for t in (0.5, 0.7, 1.0, 1.3)
    },
}
BASE: dict[str, Any] = {
    "films": 50,
    "users": 400,
    "interactions_per_user": 24.0,
    "error_rate": 0.3,
    "error_kinds": ["title"],
    "systematic": False,
    "voice_strength": 0.5,
    "n_train": 6000,
    "size": "0.5M",
    "steps": 1200,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "user_dropout": 0.0,
    "placement": "every_token",
    "scale": "1",
    "vector": "full",
    "student_history": 4,
    "unknown_users": 0.0,
    "seed": 0,
    "test_samples": 300,
    "decodings": list(DECODINGS),
}
_ANSWERS = 2000  # of the teacher to one sample, to know its distribution
_ASKED = 32  # samples that are asked so


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a point is made of once its student is trained.

    train, test: samples with the teacher's answer (`text`, `error`, `error_text`); test holds
    `test_samples` of users that training knows and, with `unknown_users`, as many of others.
    pool: all held-out samples of known users. valid_loss: on them, nats a token, at the end.
    """

    point: dict[str, Any]
    items: pd.DataFrame
    teacher: GrammarTeacher
    train: pd.DataFrame
    test: pd.DataFrame
    pool: pd.DataFrame
    explainer: Explainer
    valid_loss: float

    def explain(self, samples: pd.DataFrame, decoding: str = "greedy") -> pd.DataFrame:
        """The student's explanations; draws follow the point's seed."""
        torch.manual_seed(self.point["seed"])
        if self.point["vector"] == "shared":
            samples = samples.assign(user_id="everybody")
        return self.explainer.explain(samples, **DECODINGS[decoding])


def complete(point: dict[str, Any]) -> dict[str, Any]:
    """`BASE` with the point's own values; `InputError` for an unknown factor or a wrong value."""
    for name, value in point.items():
        if name not in BASE:
            raise InputError(f"factor {name!r} is unknown: {nearest(name, BASE)}")
        wanted = type(BASE[name])
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise InputError(f"{name} must be of type {wanted.__name__}, found {value!r}")
    full = BASE | point
    for name, choices, values in (
        ("size", SIZES, [full["size"]]),
        ("vector", VECTORS, [full["vector"]]),
        ("decodings", DECODINGS, full["decodings"]),
    ):
        for value in values:
            if value not in choices:
                raise InputError(f"{name}: {value!r} is unknown: {nearest(str(value), choices)}")
    if not 0 <= full["unknown_users"] < 1:
        raise InputError(f"unknown_users must lie in [0, 1), found {full['unknown_users']}")
    return full


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
    """A small grid, for minutes: a smaller corpus, fewer decodings, the main factors only."""
    small = {
        "films": 30,
        "users": 150,
        "interactions_per_user": 20.0,
        "n_train": 2000,
        "steps": 500,
        "student_history": 3,
        "decodings": ["greedy", "sample@1.0"],
    }
    changes: list[dict[str, Any]] = [
        {},
        {"error_rate": 0.0},
        {"error_rate": 0.6},
        {"systematic": True},
        {"systematic": True, "error_rate": 0.6},
        {"size": "0.1M"},
    ]
    return _points([small | change for change in changes], seeds)


def _points(changes: list[dict[str, Any]], seeds: int) -> list[dict[str, Any]]:
    """Each change with each seed; changes that come to the same point are listed once."""
    once = {json.dumps(complete(change), sort_keys=True): change for change in reversed(changes)}
    said = [{k: v for k, v in once[key].items() if v != BASE[k]} for key in reversed(once)]
    return [change | {"seed": seed} for seed in range(seeds) for change in said]


def build(point: dict[str, Any]) -> Trial:
    """Corpus, teacher and a trained student for a point; all chance follows the point's seed."""
    at = complete(point)
    seed, history = at["seed"], at["student_history"]
    corpus = embedded.load(
        films=at["films"],
        users=at["users"],
        interactions_per_user=at["interactions_per_user"],
        seed=seed,
    )
    teacher = GrammarTeacher(
        corpus.items,
        noun=corpus.noun,
        error_rate=at["error_rate"],
        error_kinds=at["error_kinds"],
        systematic=at["systematic"],
        voice_strength=at["voice_strength"],
        max_history=history,
        seed=seed,
    )
    samples = make_samples(corpus.interactions, max_history=history, seed=seed)
    golden = teacher.explain(samples)
    samples = samples.join(golden[["text", "error", "error_text"]])
    everybody = sorted(samples["user_id"].unique())
    rng = np.random.default_rng(seed)
    strangers = rng.permutation(everybody)[: round(at["unknown_users"] * len(everybody))]
    unknown = samples["user_id"].isin(strangers)
    held_out = samples["split"] == "test"
    train = _draw(samples[~held_out & ~unknown], at["n_train"], seed, "n_train")
    pool = samples[held_out & ~unknown]
    test = _draw(pool, at["test_samples"], seed, "test_samples")
    if len(strangers):
        others = _draw(samples[unknown], at["test_samples"], seed, "test_samples")
        test = pd.concat([test, others])
    explainer, loss = _train(at, train, pool, corpus.items, corpus.noun)
    return Trial(at, corpus.items, teacher, train, test, pool, explainer, loss)


def _draw(samples: pd.DataFrame, count: int, seed: int, factor: str) -> pd.DataFrame:
    if len(samples) < count:
        raise InputError(
            f"{factor}: {count} samples are asked for and {len(samples)} are there; ask for fewer, "
            "or raise users or interactions_per_user"
        )
    return samples.sample(count, random_state=seed)


def _train(
    at: dict[str, Any], train: pd.DataFrame, valid: pd.DataFrame, items: pd.DataFrame, noun: str
) -> tuple[Explainer, float]:
    settings = StudentSettings(
        template="compact",
        noun=noun,
        max_history=at["student_history"],
        max_input_tokens=24 + 8 * at["student_history"],
        max_new_tokens=64,
    )
    tokenizer = student_tokenizer(train, items, settings)
    users = UserTable(sorted(train["user_id"].unique()))
    if at["vector"] == "shared":
        users = UserTable(["everybody"])
    width, layers, heads, rate = SIZES[at["size"]]
    model = from_scratch(
        tokenizer,
        len(users),
        d_model=width,
        layers=layers,
        heads=heads,
        max_positions=max(settings.max_input_tokens, settings.max_new_tokens) + 2,
        dropout=at["dropout"],
        seed=at["seed"],
        placement="none" if at["vector"] == "none" else at["placement"],
        scale=at["scale"],
        user_dropout=at["user_dropout"],
    )
    if at["vector"] == "frozen":
        model.model.encoder.user_embeddings.weight.requires_grad_(False)

    # The last weights, not the best ones: early stopping would be a second cure for noise.
    recipe = Recipe(
        steps=at["steps"],
        learning_rate=rate,
        label_smoothing=at["label_smoothing"],
        eval_every=at["steps"],
        patience=0,
        seed=at["seed"],
    )
    with tempfile.TemporaryDirectory() as folder:
        curve = finetune(
            model,
            tokenizer,
            _prompted(at, train, items, noun),
            _prompted(at, valid, items, noun),
            users,
            folder,
            settings=settings,
            recipe=recipe,
            progress=False,
        )
    if at["vector"] == "shuffled":
        users = UserTable(np.random.default_rng(at["seed"]).permutation(users.index))
    explainer = Explainer(model, tokenizer, users, settings, items, name="student", batch_size=300)
    return explainer, float(curve["valid_loss"].iloc[-1])


def _prompted(
    at: dict[str, Any], samples: pd.DataFrame, items: pd.DataFrame, noun: str
) -> pd.DataFrame:
    """Samples as the student is told them, with `prompt`."""
    prompts = render_prompts(
        samples, items, template="compact", noun=noun, max_history=at["student_history"]
    )
    samples = samples.assign(prompt=prompts["prompt"].to_numpy())
    return samples.assign(user_id="everybody") if at["vector"] == "shared" else samples


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
    model = trial.explainer.model
    table = getattr(model.model.encoder, "user_embeddings", None)
    counted = sum(p.numel() for p in model.parameters()) - (
        0 if table is None else table.weight.numel()
    )
    rows += [
        ("training", "parameters", counted, 1),
        ("training", "valid_loss", trial.valid_loss, 1),
    ]
    said = {k: v for k, v in at.items() if v != BASE[k] and k not in ("seed", "decodings")}
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
    wide["any_error"] = wide[["foreign_title", "wrong_attribute", "unsupported_relation"]].max(
        axis=1
    )
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
    if not known.all():
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
                history[row, [token[i] for i in past if token.get(i, -1) >= 0]] = True
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
    frame = _prompted(trial.point, samples, trial.items, trial.teacher.noun)
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
    asked = trial.test.head(_ASKED)
    many = asked.loc[asked.index.repeat(_ANSWERS)].drop(columns=["text", "error", "error_text"])
    draw = np.tile(np.arange(_ANSWERS), len(asked)).astype(str)
    # Another sample id is another draw; item and user, and so systematic errors and voice, stay.
    many["sample_id"] = many["sample_id"].str.cat(draw, sep="#")
    answers = trial.teacher.explain(many)
    tokens = trial.explainer.tokenizer(answers["text"].tolist())["input_ids"]
    kinds = answers["error"].to_numpy()
    says = {"title": "foreign_title", "attribute": "wrong_attribute"}
    wrong = {
        says.get(kind, "unsupported_relation"): kinds == kind for kind in trial.point["error_kinds"]
    }
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
                predicted(tokens[start : start + _ANSWERS], errors[start : start + _ANSWERS],
                          temperature[decoding])
                for start in range(0, len(tokens), _ANSWERS)
            ]  # fmt: skip
            rows.append((decoding, f"predicted_{metric}", float(np.mean(shares)), len(shares)))
    return rows
