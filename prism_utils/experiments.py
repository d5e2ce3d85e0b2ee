"""One controlled training: a labelled teacher, a small student, and what became of the errors.

A point is a few factors changed against `BASE`; `measure` builds corpus and teacher, trains the
student and returns rates. `predicted` says what the rates would be if the student had learnt the
teacher's conditional distribution exactly. Left out on purpose: pretrained students, real text.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.special import gammaln

from .corpora import embedded
from .decoding import Explainer
from .errors import InputError, nearest
from .metrics.grounding import Grounding
from .metrics.overlap import rouge_pairs
from .prompts import render_prompts
from .sequences import make_samples
from .students.inputs import StudentSettings, UserTable
from .students.prism import USER_INITS, USER_TABLES, from_scratch
from .students.training import Recipe, encode, finetune
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
    "user_table": "dense",
    "user_rank": 0,
    "user_init": "normal",
    "student_history": 4,
    "teacher_history": 0,  # 0: as many items as the student is shown
    "unknown_users": 0.0,
    "seed": 0,
    "test_samples": 300,
    "decodings": list(DECODINGS),
    "asked_samples": 32,  # on which the teacher's distribution is taken, and answers to each
    "answers": 2000,
}
# How a point is measured; all else in `BASE` is a factor.
MEASURING = ("seed", "test_samples", "decodings", "asked_samples", "answers")
FACTORS = tuple(name for name in BASE if name not in MEASURING)
# What an error of the teacher is counted by, in its texts and the student's.
RATE = {
    "title": "foreign_title",
    "attribute": "wrong_attribute",
    "relation": "unsupported_relation",
}


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a point is made of once its student is trained.

    train, test: samples with the teacher's answer (`text`, `error`, `error_text`); test holds
    `test_samples` of users that training draws from and, with `unknown_users`, as many of others.
    pool: all held-out samples of such users. valid_loss: on them, nats a token, at the end.
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
        ("user_table", USER_TABLES, [full["user_table"]]),
        ("user_init", USER_INITS, [full["user_init"]]),
        ("decodings", DECODINGS, full["decodings"]),
    ):
        for value in values:
            if value not in choices:
                raise InputError(f"{name}: {value!r} is unknown: {nearest(str(value), choices)}")
    if full["vector"] == "frozen" and full["user_table"] == "sparse":
        raise InputError("vector 'frozen' needs the user_table 'dense', which trains nothing of it")
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


def build(point: dict[str, Any]) -> Trial:
    """Corpus, teacher and a trained student for a point; all chance follows the point's seed."""
    at = complete(point)
    seed, history = at["seed"], at["teacher_history"] or at["student_history"]
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
    longest = max(history, at["student_history"])
    samples = make_samples(corpus.interactions, max_history=longest, seed=seed)
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
        user_rank=at["user_rank"],
        user_table=at["user_table"],
        user_init=at["user_init"],
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


def filtering(table: pd.DataFrame) -> pd.DataFrame:
    """The teacher's errors beside the student's: one row for each point, seed and decoding.

    table: rows of `measure`. Columns: all `FACTORS` (as `BASE` has them where a row says nothing),
    seed, decoding, teacher and student (rates of the kind of error that the point is about, on the
    same samples), predicted (nan where there is none). Points with several kinds are left out. A
    teacher without errors is the same whatever the kind of errors that it does not make: such
    points stand once for every kind and for both values of systematic. Sorted by these, by rate
    and by decoding.
    """
    table = filled(table)
    at = [*FACTORS, "seed"]
    found = []
    for kind, metric in RATE.items():
        here = table["error_kinds"] == kind
        if not here.any():
            continue
        clean = table["error_rate"] == 0
        rates = table[(here | clean) & table["metric"].isin([metric, f"predicted_{metric}"])]
        rates = rates.assign(error_kinds=kind)
        ways = table.loc[here & ~clean, "systematic"].unique()
        copies = [rates[rates["error_rate"] == 0].assign(systematic=way) for way in ways]
        rates = pd.concat([rates[rates["error_rate"] > 0], *copies])
        wide = rates.pivot_table(index=[*at, "decoding"], columns="metric", values="value")
        wide = wide.reindex(columns=[metric, f"predicted_{metric}"])
        wide = wide.set_axis(["student", "predicted"], axis=1).reset_index()
        teacher = wide[wide["decoding"] == "teacher"].set_index(at)["student"].rename("teacher")
        # No student's error is predicted of a teacher that makes none.
        wide.loc[
            (wide["error_rate"] == 0) & ~wide["decoding"].str.contains("beam"), "predicted"
        ] = 0.0
        wide["place"] = wide["decoding"].map({name: n for n, name in enumerate(DECODINGS)})
        wide = wide[wide["decoding"] != "teacher"].join(teacher, on=at)
        found.append(wide.sort_values(["systematic", "error_rate", *FACTORS, "seed", "place"]))
    columns = [*at, "decoding", "teacher", "student", "predicted"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def filled(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `measure` with a column for every factor; what a row does not say is `BASE`'s."""
    base = {k: "+".join(v) if isinstance(v, list) else v for k, v in BASE.items() if k in FACTORS}
    table = table.reindex(columns=[*FACTORS, *table.columns.difference(FACTORS, sort=False)])
    columns = {
        name: pd.Series([v if pd.isna(has) else has for has in table[name]], table.index, type(v))
        for name, v in base.items()
    }
    return table.assign(**columns)


def along(table: pd.DataFrame, *factors: str, centre: dict[str, Any] | None = None) -> pd.DataFrame:
    """Rows where all factors but these are as at `centre`, a point: `BASE` where it is silent.

    A grid's centre is its first point; a record keeps it as `parameters["base"]`.
    """
    at = {name: value for name, value in complete(centre or {}).items() if name in FACTORS}
    at = {k: "+".join(v) if isinstance(v, list) else v for k, v in at.items() if k not in factors}
    return table[(table[list(at)] == pd.Series(at)).all(axis=1)]


def over_seeds(table: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Mean and 95% interval (Student's t over seeds) of columns: by, what, value, low, high, seeds.

    One seed gives no interval (nan).
    """
    long = table.melt([*by], list(values), var_name="what").dropna(subset=["value"])
    groups = long.groupby([*by, "what"], sort=False)["value"]
    found = groups.agg(value="mean", sd="std", seeds="count").reset_index()
    half = stats.t.ppf(0.975, (found["seeds"] - 1).clip(lower=1)) * found["sd"]
    half /= np.sqrt(found["seeds"])
    return found.assign(low=found["value"] - half, high=found["value"] + half).drop(columns="sd")


def slopes(table: pd.DataFrame, factor: str, value: str = "student") -> pd.DataFrame:
    """How a rate changes with a factor: a line through each seed's points, then over seeds.

    table: rows of `filtering` along one factor. Columns: factor, decoding, value, low, high (per
    doubling of size, n_train and steps, per 0.1 of the shares), seeds.
    """
    place = table[factor].map(amount)
    place = np.log2(place) if factor in ("size", "n_train", "steps") else place * 10
    lines = [
        {"decoding": decoding, "slope": np.polyfit(place[rows.index], rows[value], 1)[0]}
        for (decoding, _), rows in table.groupby(["decoding", "seed"], sort=False)
        if place[rows.index].nunique() > 1
    ]
    if not lines:
        return pd.DataFrame(columns=["factor", "decoding", "value", "low", "high", "seeds"])
    found = over_seeds(pd.DataFrame(lines), ["decoding"], ["slope"]).drop(columns="what")
    found.insert(0, "factor", factor)
    return found[["factor", "decoding", "value", "low", "high", "seeds"]]


def amount(value: Any) -> float:
    """A factor's value as a number; a size counts its parameters.

    >>> amount("0.5M"), amount(0.1)
    (500000.0, 0.1)
    """
    return float(value[:-1]) * 1e6 if isinstance(value, str) else float(value)


def against_teacher(found: pd.DataFrame) -> pd.DataFrame:
    """Where the student errs less, where more than its teacher: `filtering` over seeds.

    One row for each kind, systematic, error_rate and decoding: teacher, student, predicted, and
    difference (student less teacher, seed by seed) with low and high; reading is "filters" or
    "amplifies" where the interval excludes 0, else "neither". A clean teacher has no reading.
    """
    by = ["error_kinds", "systematic", "error_rate", "decoding"]
    means = found.groupby(by, sort=False)[["teacher", "student", "predicted"]].mean()
    gaps = over_seeds(
        found.assign(difference=found["student"] - found["teacher"]), by, ["difference"]
    )
    gaps = gaps.rename(columns={"value": "difference"}).drop(columns="what")
    gaps["reading"] = np.select(
        [gaps["error_rate"] == 0, gaps["high"] < 0, gaps["low"] > 0],
        ["", "filters", "amplifies"],
        "neither",
    )
    return gaps.join(means, on=by)[[*by, *means.columns, *gaps.columns[len(by) :]]]


def crossings(gaps: pd.DataFrame) -> pd.DataFrame:
    """Where the student's curve crosses the diagonal, on straight lines between the points.

    gaps: `against_teacher`. Columns: error_kinds, systematic, decoding, crosses (the teacher's
    rates there as text, "nowhere" if none), lowest and highest (of the differences).
    """
    rows = []
    by = ["error_kinds", "systematic", "decoding"]
    for at, curve in gaps[gaps["error_rate"] > 0].groupby(by, sort=False):
        curve = curve.sort_values("teacher")
        x, y = curve["teacher"].to_numpy(), curve["difference"].to_numpy()
        turn = np.flatnonzero(np.sign(y[:-1]) * np.sign(y[1:]) < 0)
        places = x[turn] - y[turn] * (x[turn + 1] - x[turn]) / (y[turn + 1] - y[turn])
        said = ", ".join(f"{place:.0%}" for place in places) or "nowhere"
        rows.append((*at, said, y.min(), y.max()))
    return pd.DataFrame(rows, columns=[*by, "crosses", "lowest", "highest"])


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """What chapter 8 shows of the rows of `measure`, in brief: one dictionary for each training.

    It has the factors that differ from `BASE`, the seed, and each value under "DECODING METRIC".
    `from_records` gives the rows back, without n.
    """
    shown = table["metric"].str.contains("_train|_test|predicted_|mass_|_foreign|foreign_title$")
    shown |= table["metric"] == "wrong_attribute"
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in table[shown].to_dict("records"):
        at = {k: row[k] for k in (*FACTORS, "seed") if k in row and not pd.isna(row[k])}
        training = found.setdefault(tuple(at.items()), at)
        training[f"{row['decoding']} {row['metric']}"] = round(row["value"], 5)
    return list(found.values())


def from_records(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows that `records` was made of: factors, seed, decoding, metric, value."""
    long = []
    for row in rows:
        at = {name: value for name, value in row.items() if name in (*FACTORS, "seed")}
        for name in row.keys() - at.keys():
            decoding, _, metric = name.partition(" ")
            long.append(at | {"decoding": decoding, "metric": metric, "value": row[name]})
    return pd.DataFrame(long)
