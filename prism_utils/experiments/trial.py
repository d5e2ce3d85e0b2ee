"""One controlled training: a labelled teacher, a small student, and how the student explains.

A point is a few factors changed against `BASE`; `build` makes corpus and teacher and trains the
student. Left out on purpose: pretrained students, real text, and what is measured (`mechanism`)."""

from __future__ import annotations

import dataclasses
import tempfile
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..corpora import embedded
from ..decoding import Explainer
from ..errors import InputError, nearest
from ..prompts import render_prompts
from ..sequences import make_samples
from ..students.inputs import StudentSettings, UserTable
from ..students.prism import USER_INITS, USER_TABLES, from_scratch
from ..students.training import Recipe, finetune
from ..students.vocabulary import student_tokenizer
from ..teachers.grammar import GrammarTeacher

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
    train = draw(samples[~held_out & ~unknown], at["n_train"], seed, "n_train")
    pool = samples[held_out & ~unknown]
    test = draw(pool, at["test_samples"], seed, "test_samples")
    if len(strangers):
        others = draw(samples[unknown], at["test_samples"], seed, "test_samples")
        test = pd.concat([test, others])
    explainer, loss = _train(at, train, pool, corpus.items, corpus.noun)
    return Trial(at, corpus.items, teacher, train, test, pool, explainer, loss)


def draw(samples: pd.DataFrame, count: int, seed: int, factor: str) -> pd.DataFrame:
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
            prompted(at, train, items, noun),
            prompted(at, valid, items, noun),
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


def prompted(
    at: dict[str, Any], samples: pd.DataFrame, items: pd.DataFrame, noun: str
) -> pd.DataFrame:
    """Samples as the student is told them, with `prompt`."""
    prompts = render_prompts(
        samples, items, template="compact", noun=noun, max_history=at["student_history"]
    )
    samples = samples.assign(prompt=prompts["prompt"].to_numpy())
    return samples.assign(user_id="everybody") if at["vector"] == "shared" else samples
