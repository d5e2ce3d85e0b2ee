"""Chapter 9's experiments: what the user's vector does, and what marked evidence does.

Each question of `QUESTIONS` changes one factor of `BASE`; a point is one training, measured with
each user's own vector, with another user's and with none. Left out on purpose: how a point is
trained (`trial`), and everything that the chapter asks of a run's own student.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from .. import rankers, students
from ..corpora import Corpus, embedded
from ..decoding import Explainer
from ..errors import InputError, nearest
from ..metrics.grounding import Grounding
from ..metrics.overlap import rouge
from ..records import as_rows
from ..sequences import make_samples
from ..statistics import bootstrap_means, compare
from ..students.inputs import StudentSettings, UserTable
from ..students.training import Recipe
from ..students.user_rows import UNKNOWN_USER
from ..tables import check
from ..teachers.grammar import GrammarTeacher
from . import trial as trials

# Few users with many samples each, and a teacher that always leans on their voice: the strongest
# dose of what a vector could learn. A fifth of the users are never seen in training.
BASE: dict[str, Any] = {
    "films": 80,
    "users": 80,
    "interactions_per_user": 45.0,
    "n_train": 2400,
    "test_samples": 250,
    "steps": 1500,
    "voice_strength": 1.0,
    "unknown_users": 0.2,
    "student_history": 5,
    "decodings": ["greedy"],
}
_CUT: dict[str, Any] = {"teacher_history": 50}
# question -> what each of its points changes; a point that two questions share is trained once.
QUESTIONS: dict[str, list[dict[str, Any]]] = {
    "vector": [{}, *({"vector": v} for v in ("none", "shared", "frozen"))],
    "placement": [{}, {"placement": "user_token"}, {"scale": "1/sqrt(d)"}],
    "user_dropout": [{}, {"user_dropout": 0.1}, {"user_dropout": 0.3}],
    "voice_strength": [
        *({"voice_strength": v} for v in (0.0, 0.25, 0.5)), {},
        {"voice_strength": 0.0, "vector": "none"}, {"vector": "none"},
    ],
    "history": [
        *(_CUT | {"student_history": h} for h in (5, 10, 20, 50)),
        *(_CUT | {"student_history": h, "vector": "none"} for h in (5, 50)),
    ],
}  # fmt: skip
# What fits minutes, and seconds: fewer points of the same questions, and smaller ones.
SIZES: dict[str, dict[str, Any]] = {
    "full": {},
    "quick": {"films": 60, "users": 60, "interactions_per_user": 30.0, "n_train": 1200,
              "test_samples": 120, "steps": 800},
    "tiny": {"films": 30, "users": 20, "interactions_per_user": 12.0, "n_train": 100,
             "test_samples": 15, "steps": 8, "size": "0.1M"},
}  # fmt: skip
# What the points with evidence take over from these; nobody errs there, and no user is unknown.
_KEPT = ("films", "users", "interactions_per_user", "n_train", "test_samples", "steps", "size")
_SHOWN = 10  # history items that their students are shown
_LIVE: dict[str, list[dict[str, Any]]] = {
    "vector": [{}, {"vector": "none"}],
    "voice_strength": [{"voice_strength": 0.0}, {}],
}
METRICS = ("voice", "rougeL", "cites_history", "foreign_title", "wrong_attribute", "grounded")


def questions(grid: str) -> dict[str, list[dict[str, Any]]]:
    """The questions that a grid ("tiny", "quick" or "full") asks, with what each point changes."""
    if grid not in SIZES:
        raise InputError(f"grid {grid!r} is unknown: {nearest(grid, SIZES)}")
    return QUESTIONS if grid == "full" else _LIVE


def points(grid: str, seeds: int = 1) -> list[dict[str, Any]]:
    """The points of a grid for `measure`, each for `seeds` seeds; none twice.

    Those of `questions` are one training each, those with `evidence` (one a seed) two.
    """
    found = []
    size = SIZES.get(grid, {})
    for seed in range(seeds):
        for changes in [c for asked in questions(grid).values() for c in asked]:
            if (point := BASE | size | changes | {"seed": seed}) not in found:
                found.append(point)
        found.append(evidence_size(grid) | {"seed": seed, "evidence": True})
    return found


def label(changes: dict[str, Any]) -> str:
    """How a point is called: what it changes of `BASE`, its size apart.

    >>> label({"vector": "none", "voice_strength": 0.0, "films": 60}), label({})
    ('vector=none, voice_strength=0.0', 'base')
    """
    said = ("vector", "user_table", "user_rank", "user_init", "placement", "scale", "user_dropout",
            "voice_strength", "teacher_history", "student_history")  # fmt: skip
    base = {"teacher_history": 0} | trials.BASE | BASE
    changed = [k for k in said if changes.get(k, base[k]) != base[k]]
    return ", ".join(f"{k}={changes[k]}" for k in changed) or "base"


def measure(point: dict[str, Any]) -> list[dict[str, Any]]:
    """Train a student at a point of `experiments` and ask it with three vectors for each user.

    Rows: seed, setting (`label` of the point), users ("known" or "unknown" to training), system,
    metric, value, low and high (users resampled), n. System "teacher" is the teacher's own answer
    to the held-out samples; "own" the student with every user's own vector, "shuffled" with that
    of another known user, "zero" with none, "own - shuffled" and "own - zero" differences on the
    same samples. Metrics: `METRICS`, and once, with system "training", valid_loss (nats a token).
    Unknown users have no vector of their own: their "own" is the zero vector. With `untrained` they
    are also asked with a row as random initialisation leaves it, N(0, init_std) ("random").

    A point with `evidence` has setting "evidence": two students that are shown ten history items,
    one with the two most influential marked; the ranker is EASE, the teacher is shown the evidence
    alone, as if it were the history, and makes no errors. Systems "teacher", "marked",
    "unmarked", "marked - unmarked" and "chance" (a title of the history at random); metrics as
    `evidence_scores` gives them, on the held-out samples.
    """
    if point.get("evidence"):
        return _measure_evidence({k: v for k, v in point.items() if k != "evidence"})
    point = dict(point)
    untrained = point.pop("untrained", False)
    trial = trials.build(point)
    test, explainer = trial.test, trial.explainer
    told = {"teacher": test, "own": trial.explain(test)}
    if trial.point["vector"] not in ("none", "shared"):
        for name, users in other_vectors(explainer.users, point["seed"]).items():
            explainer.users = users
            told[name] = trial.explain(test)
    if untrained:
        give_random_rows(explainer, sorted(set(test["user_id"])), seed=point["seed"])
        told["random"] = trial.explain(test)
    texts = pd.concat([text.assign(system=name) for name, text in told.items()], ignore_index=True)
    grounding = Grounding(trial.items, trial.teacher.noun)
    table = scores(texts, test, grounding, trial.teacher.voice)
    known = set(test.loc[test["user_id"].isin(trial.train["user_id"]), "sample_id"])
    rows = []
    for group, of in {"known": known, "unknown": set(test["sample_id"]) - known}.items():
        part = table[table["sample_id"].isin(of)]
        if group == "unknown":
            part = part[part["system"].isin(["teacher", "own", "random"])]
        else:
            part = part[part["system"] != "random"]
        if not len(part):
            continue
        rows.append(bootstrap_means(part, test, seed=point["seed"]).assign(users=group))
        others = ("shuffled", "zero", "random")
        pairs = [("own", other) for other in others if other in set(part["system"])]
        if pairs:
            apart = compare(part, test, pairs, resamples=2000, seed=point["seed"])
            apart["system"] = apart["system_a"] + " - " + apart["system_b"]
            rows.append(apart.rename(columns={"difference": "value"}).assign(users=group))
    rows.append(pd.DataFrame([{"users": "known", "system": "training", "metric": "valid_loss",
                               "value": trial.valid_loss, "n": len(trial.pool)}]))  # fmt: skip
    return _rows(pd.concat(rows), point)


def other_vectors(users: UserTable, seed: int = 0) -> dict[str, UserTable]:
    """Tables that give each user the vector of another ("shuffled"), or none ("zero").

    >>> tables = other_vectors(UserTable(["ann", "bob"]))
    >>> [tables[name].rows(["ann", "bob"]).tolist() for name in tables]
    [[2, 1], [0, 0]]
    """
    order = np.random.default_rng(seed).permutation(len(users))
    others = np.empty(len(users), dtype=object)
    others[order] = users.index[np.roll(order, 1)]
    return {"shuffled": UserTable(others), "zero": UserTable([])}


def give_random_rows(explainer: Explainer, user_ids: Iterable[str], seed: int = 0) -> None:
    """Give an explainer known users of these alone, with rows as initialisation draws them."""
    model, users = explainer.model, UserTable(user_ids)
    table = model.model.encoder.user_embeddings
    torch.manual_seed(seed)
    rows = torch.randn(len(users) + 1, table.embedding_dim) * model.config.init_std
    rows[UNKNOWN_USER] = 0
    model.model.encoder.user_embeddings = torch.nn.Embedding.from_pretrained(rows)
    model.config.num_users = len(users)
    explainer.users = users


def scores(
    texts: pd.DataFrame,
    samples: pd.DataFrame,
    grounding: Grounding,
    voice: Callable[[str], str] | None = None,
) -> pd.DataFrame:
    """Scores of `METRICS` (tables.scores); rougeL is against the texts of the system "teacher".

    voice: user_id -> the kind of attribute that explanations to this user lean on; the metric
    voice is 1 where a text has an attribute of this kind. Without `voice` or without texts of the
    teacher their metrics are left out.
    """
    found = [grounding.score(texts, samples)]
    golden = texts["system"] == "teacher"
    if golden.any():
        found.append(rouge(texts[~golden], texts[golden]))
    if voice:
        owner = texts["sample_id"].map(samples.set_index("sample_id")["user_id"])
        mentions = grounding.mentions(texts["text"])
        said = set(zip(mentions["text"], mentions["kind"], strict=True))
        leaning = [float((row, voice(user)) in said) for row, user in enumerate(owner)]
        found.append(texts[["sample_id", "system"]].assign(metric="voice", value=leaning))
    table = pd.concat(found, ignore_index=True)
    return table[table["metric"].isin(METRICS)].reset_index(drop=True)


def _rows(table: pd.DataFrame, point: dict[str, Any]) -> list[dict[str, Any]]:
    columns = ["users", "system", "metric", "value", "low", "high", "n"]
    said = {"seed": point["seed"], "setting": label(point)}
    return [said | row for row in as_rows(table.reindex(columns=columns))]


def evidence_size(grid: str) -> dict[str, Any]:
    """What a grid's points with evidence take over from its other points: their size."""
    return {k: v for k, v in (BASE | SIZES.get(grid, {})).items() if k in _KEPT}


def evidence_samples(
    at: dict[str, Any], ranker: str = "ease"
) -> tuple[Corpus, pd.DataFrame, pd.DataFrame]:
    """Corpus, training and held-out samples with `evidence` and `text`, for a complete point.

    Histories are the last ten items, evidence the two of these that moved the ranker most; the
    teacher is shown the evidence alone and makes no errors.
    """
    seed = at["seed"]
    corpus = embedded.load(
        films=at["films"],
        users=at["users"],
        interactions_per_user=at["interactions_per_user"],
        seed=seed,
    )
    samples = make_samples(corpus.interactions, max_history=_SHOWN, seed=seed)
    fitted = rankers.make_ranker(ranker).fit(corpus.interactions)
    samples = rankers.with_evidence(fitted, samples, k=2)
    samples = samples[(samples["evidence"].str.len() > 0) & (samples["history"].str.len() > 2)]
    teacher = GrammarTeacher(corpus.items, error_rate=0.0, voice_strength=0.0, seed=seed)
    golden = teacher.explain(samples.assign(history=samples["evidence"]))
    samples = samples.merge(golden[["sample_id", "text"]], on="sample_id")
    train, test = (samples[samples["split"] == split] for split in ("train", "test"))
    train = train.sample(min(at["n_train"], len(train)), random_state=seed)
    return corpus, train, test.sample(min(at["test_samples"], len(test)), random_state=seed)


def evidence_texts(
    at: dict[str, Any],
    corpus: Corpus,
    train: pd.DataFrame,
    test: pd.DataFrame,
    *,
    facts: str = "none",
    max_input_tokens: int = 160,
) -> pd.DataFrame:
    """Texts about held-out samples: "teacher", and students "marked" and "unmarked".

    The students differ in whether their input marks the evidence (`StudentSettings`).
    """
    width, layers, heads, rate = trials.SIZES[at["size"]]
    told = [test[["sample_id", "text"]].assign(system="teacher")]
    for marked in (True, False):
        settings = StudentSettings(
            "compact", corpus.noun, _SHOWN, max_input_tokens, 64, marked, facts
        )
        with tempfile.TemporaryDirectory() as folder:
            student = students.fit(
                "prism",
                train,
                test,
                folder,
                items=corpus.items,
                settings=settings,
                recipe=Recipe(
                    at["steps"], rate, eval_every=at["steps"], patience=0, seed=at["seed"]
                ),
                name="marked" if marked else "unmarked",
                d_model=width,
                layers=layers,
                heads=heads,
            )
        told.append(student.explain(test)[["sample_id", "system", "text"]])
    return pd.concat(told, ignore_index=True)


def marked_apart(found: pd.DataFrame, test: pd.DataFrame, seed: int) -> pd.DataFrame:
    """What marked evidence changes on the same samples, by metric: system "marked - unmarked"."""
    apart = compare(found, test, [("marked", "unmarked")], resamples=2000, seed=seed)
    return apart.rename(columns={"difference": "value"}).assign(system="marked - unmarked")


def _measure_evidence(point: dict[str, Any]) -> list[dict[str, Any]]:
    at = trials.complete(point)
    corpus, train, test = evidence_samples(at)
    found = evidence_scores(evidence_texts(at, corpus, train, test), test, corpus.items)
    share = test["evidence"].str.len() / test["history"].str.len()
    chance = pd.DataFrame(
        {"sample_id": test["sample_id"], "system": "chance", "metric": "cites_evidence"}
    ).assign(value=share)
    apart = marked_apart(found, test, at["seed"])
    means = bootstrap_means(pd.concat([found, chance]), test, seed=at["seed"])
    rows = _rows(pd.concat([means, apart]).assign(users="known"), point)
    return [row | {"setting": "evidence"} for row in rows]


def evidence_scores(
    explanations: pd.DataFrame, samples: pd.DataFrame, items: pd.DataFrame, noun: str = "film"
) -> pd.DataFrame:
    """Scores (0 or 1) of explanations against a ranker's evidence, samples' column `evidence`.

    cites_history: a title of the history is named; cites_evidence: one of the evidence;
    only_evidence: one of the evidence and no other title of the history.
    """
    if "evidence" not in samples.columns:
        raise InputError("samples: column 'evidence' is missing; rankers.with_evidence adds it")
    check(samples, "samples")
    grounding = Grounding(items, noun)
    rest = [
        [i for i in history if i not in evidence]
        for history, evidence in zip(samples["history"], samples["evidence"], strict=True)
    ]
    named = {}
    for name, history in (
        ("cites_history", samples["history"]), ("cites_evidence", samples["evidence"]),
        ("rest", pd.Series(rest, samples.index)),
    ):  # fmt: skip
        found = grounding.score(explanations, samples.assign(history=history))
        chosen = found[found["metric"] == "cites_history"]
        named[name] = chosen.set_index(["sample_id", "system"])["value"]
    wide = pd.DataFrame(named)
    wide["only_evidence"] = wide["cites_evidence"] * (1 - wide["rest"])
    wide = wide.drop(columns="rest").reset_index()
    return wide.melt(["sample_id", "system"], var_name="metric", value_name="value")


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds: setting, users, system, metric, value, low, high, n, seeds.

    The interval is Student's t over seeds (corpus, teacher, weights and data order are others for
    each); of a single seed it is the one over users that its row has. n is that of all seeds.

    >>> rows = [{"setting": "base", "users": "known", "system": "own", "metric": "m", "seed": s,
    ...          "value": v, "low": 0.0, "high": 1.0, "n": 5} for s, v in enumerate((0.4, 0.6))]
    >>> summary(pd.DataFrame(rows))[["value", "low", "high", "n", "seeds"]].round(2).values
    array([[ 0.5 , -0.77,  1.77, 10.  ,  2.  ]])
    """
    keys = ["setting", "users", "system", "metric"]
    groups = rows.astype({"value": float, "low": float, "high": float}).groupby(keys, sort=False)
    table = groups.agg(
        value=("value", "mean"), low=("low", "mean"), high=("high", "mean"),
        sd=("value", "std"), n=("n", "sum"), seeds=("seed", "nunique"),
    ).reset_index()  # fmt: skip
    several = table["seeds"] > 1
    count = table.loc[several, "seeds"]
    half = stats.t.ppf(0.975, count - 1) * table.loc[several, "sd"] / np.sqrt(count)
    table.loc[several, "low"] = table.loc[several, "value"] - half
    table.loc[several, "high"] = table.loc[several, "value"] + half
    return table.drop(columns="sd")


def against_base(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `measure` less those of setting "base", same seed, users and metric: "own - base".

    They hold for one seed each and have no interval; `summary` gives one over seeds.
    """
    own = rows[rows["system"] == "own"]
    keys = ["seed", "users", "metric"]
    base = own[own["setting"] == "base"].set_index(keys)["value"]
    other = own[own["setting"] != "base"]
    value = other["value"] - base.reindex(pd.MultiIndex.from_frame(other[keys])).to_numpy()
    return other.assign(system="own - base", value=value, low=np.nan, high=np.nan)


def length_bins(lengths: Iterable[int], width: int = 5, most: int = 50) -> pd.Categorical:
    """Lengths of histories in the bins of the cold-start curve: 1-5, 6-10, ..., 46-50.

    >>> list(length_bins([1, 5, 6, 50]))
    ['1-5', '1-5', '6-10', '46-50']
    """
    edges = list(range(0, most + width, width))
    names = [f"{low + 1}-{low + width}" for low in edges[:-1]]
    return pd.cut(list(lengths), edges, labels=names)
