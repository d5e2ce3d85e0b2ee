"""Chapter 7c's experiment: the same explained samples dealt to training and test in several ways.

Every split gives as many training samples, and every system has the same budget. Left out on
purpose: how a split is drawn (`sequences`) and what a system is (`students`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import statistics, students
from ..metrics.grounding import Grounding
from ..metrics.overlap import bleu, rouge
from ..records import made_on
from ..sequences import history_overlap, make_samples
from ..students.inputs import StudentSettings
from ..students.training import Recipe

FLOORS = ("neighbour", *students.FLOORS)
METRICS = ["rougeL", "bleu4", "names_item", "cites_history", "foreign_title", "wrong_attribute"]
#: What fits a run of minutes: the student and two floors.
SYSTEMS: dict[str, dict[str, Any]] = {
    name: {"kind": name} for name in ("prism", "nearest", "frame")
}


def deal(
    explained: pd.DataFrame,
    interactions: pd.DataFrame,
    splits: Sequence[str],
    *,
    test_fraction: float,
    max_train: int,
    max_test: int,
    seed: int,
) -> tuple[dict[str, pd.DataFrame], int]:
    """Samples with `text` under each split, and how many of them train: as many under every one.

    max_train, max_test: at most, 0 for as many as there are.
    """
    sides = {}
    for rule in splits:
        drawn = make_samples(
            interactions, max_history=1, split=rule, test_fraction=test_fraction, seed=seed
        )
        sides[rule] = explained["sample_id"].map(drawn.set_index("sample_id")["split"])
    n_train = int(min((side == "train").sum() for side in sides.values()))
    n_train = min(n_train, max_train or n_train)
    dealt = {}
    for rule, side in sides.items():
        samples = explained.assign(split=side)
        train, test = (samples[samples["split"] == name] for name in ("train", "test"))
        test = test.sample(min(max_test or len(test), len(test)), random_state=seed)
        train = train.sample(n_train, random_state=seed)
        dealt[rule] = pd.concat([train, test]).sort_index()
    return dealt, n_train


def overlaps(dealt: Mapping[str, pd.DataFrame], shown: int) -> pd.DataFrame:
    """How far one training history holds each test history, whole and its last `shown` items.

    Columns of `sequences.history_overlap`, split, history ("as kept" or "as shown to a student")
    and close: 90% or more of it.
    """
    found = []
    for rule, samples in dealt.items():
        last = samples.assign(history=samples["history"].map(lambda h: h[-shown:]))
        for what, histories in (("as kept", samples), ("as shown to a student", last)):
            found.append(history_overlap(histories).assign(split=rule, history=what))
    table = pd.concat(found, ignore_index=True)
    return table.assign(close=table["overlap"] >= 0.9)


def neighbours(test: pd.DataFrame, train: pd.DataFrame, instead: pd.DataFrame) -> pd.DataFrame:
    """Explanations by the same user's training sample that is nearest in the user's sequence.

    instead: the explanations of users without training samples.
    """

    def by_position(frame: pd.DataFrame) -> pd.DataFrame:
        position = frame["sample_id"].str.rpartition(":")[2].astype(int)
        return frame.assign(position=position).sort_values("position", kind="stable")

    found = pd.merge_asof(
        by_position(test),
        by_position(train)[["user_id", "position", "text"]],
        on="position",
        by="user_id",
        direction="nearest",
    )
    others = found["sample_id"].map(instead.set_index("sample_id")["text"])
    text = found["text"].fillna(others)
    return found[["sample_id"]].assign(system="neighbour", text=text)


def explain(
    samples: pd.DataFrame,
    systems: Mapping[str, Mapping[str, Any]],
    folder: Path,
    *,
    items: pd.DataFrame,
    settings: StudentSettings,
    recipe: Recipe,
    valid_samples: int,
    seeds: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train every system on one split's samples: its test samples, and what is said of them.

    systems: name -> kind, its options and its own recipe. folder: where they are kept, each at
    `folder-NAME-NUMBER`. A further seed of a system is `name@number`.
    """
    test = samples[samples["split"] == "test"].drop(columns="text")
    train = samples[samples["split"] == "train"]
    valid = train.sample(min(valid_samples, len(train) // 5), random_state=recipe.seed)
    train = train.drop(valid.index)
    told: list[pd.DataFrame] = []
    for name, entry in systems.items():
        options = dict(entry)
        kind, own = options.pop("kind"), options.pop("recipe", {})
        for number in range(seeds if kind not in FLOORS else 1):
            system = students.fit(
                kind,
                train,
                valid,
                folder.with_name(f"{folder.name}-{name}-{number}"),
                items=items,
                settings=settings,
                recipe=replace(replace(recipe, seed=recipe.seed + number), **own),
                name=f"{name}@{number}" if number else name,
                **options,
            )
            told.append(system.explain(test)[["sample_id", "system", "text"]])
            if kind == "nearest":
                told.append(neighbours(test, train, instead=told[-1]))
    return test, pd.concat(told, ignore_index=True)


def score(
    told: pd.DataFrame, golden: pd.DataFrame, test: pd.DataFrame, grounding: Grounding
) -> pd.DataFrame:
    """Scores of `METRICS`, with the user of each sample."""
    parts = [rouge(told, golden), bleu(told, golden), grounding.score(told, test)]
    scores = pd.concat(parts)
    scores = scores[scores["metric"].isin(METRICS)]
    return scores.merge(test[["sample_id", "user_id"]], on="sample_id")


def distinct(texts: pd.DataFrame) -> pd.DataFrame:
    """Share of different texts of each system under each split, the mean over its seeds."""
    counts = texts.groupby(["split", "system"], sort=False)["text"].agg(["nunique", "size"])
    found = (counts["nunique"] / counts["size"]).rename("distinct").reset_index()
    found["system"] = found["system"].str.partition("@")[0]
    return found.groupby(["split", "system"], sort=False, as_index=False)["distinct"].mean()


def distinct_table(variety: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """`distinct` with systems down and splits across, and the trained systems with few texts.

    Few: under 80% of the texts differ under some split.
    """
    wide = variety.pivot(index="system", columns="split", values="distinct")
    wide = wide.reindex(index=variety["system"].unique(), columns=variety["split"].unique())
    trained = wide.drop(index=list(FLOORS), errors="ignore")
    return wide.rename_axis(columns=None), list(trained.index[trained.min(axis=1) < 0.8])


def over_seeds(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The seeds of a system as one, explanation by explanation; and how far they are apart."""
    keys = ["split", "system", "metric", "sample_id", "user_id"]
    spread = []
    for rule, rows in scores.groupby("split", sort=False):
        means = rows.groupby(["system", "metric"], sort=False, as_index=False)["value"].mean()
        spread.append(statistics.seed_spread(means).assign(split=rule))
    one = scores.assign(system=scores["system"].str.partition("@")[0])
    one = one.groupby(keys, sort=False, as_index=False)["value"].mean()
    return one, pd.concat(spread, ignore_index=True)


def by_overlap(
    scores: pd.DataFrame, overlaps: pd.DataFrame, *, resamples: int, seed: int
) -> pd.DataFrame:
    """Mean scores of all test samples of a split, of those close to training, and of the rest.

    Columns: split, system, metric, group, value, low, high (95%, users resampled), n, users.
    """
    kept = overlaps[overlaps["history"] == "as kept"]
    close = kept.set_index(["split", "sample_id"])["close"]
    parts = []
    for rule, rows in scores.groupby("split", sort=False):
        near = rows["sample_id"].map(close[rule]).astype(bool)
        users = rows.drop_duplicates("sample_id")
        groups = {"all": rows, "overlap >= 90%": rows[near], "rest": rows[~near]}
        for group, chosen in groups.items():
            means = statistics.bootstrap_means(chosen, users, resamples=resamples, seed=seed)
            parts.append(means.assign(split=rule, group=group))
    columns = ["split", "system", "metric", "group", "value", "low", "high", "n", "users"]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)[columns]


def differences(
    scores: pd.DataFrame, splits: Sequence[str], floor: str | None, *, resamples: int, seed: int
) -> pd.DataFrame:
    """The score under the first split less that under each other, users of both resampled together.

    floor: the system whose own difference is taken off for `what` "beyond the floor". Columns:
    split, system, metric, value, low, high, what.
    """
    names = list(scores["system"].unique())
    columns = pd.MultiIndex.from_product([splits, names, METRICS])
    per_user = scores.pivot_table(
        index="user_id",
        columns=["split", "system", "metric"],
        values="value",
        aggfunc=["sum", "count"],
    ).fillna(0)
    both = np.hstack(
        [per_user[what].reindex(columns=columns, fill_value=0) for what in ("sum", "count")]
    )
    totals = statistics.bootstrap_totals(both, resamples=resamples, seed=seed)
    totals = np.vstack([both.sum(axis=0), totals])  # first what was measured, then the resamples
    with np.errstate(invalid="ignore"):  # a resample may miss every user of a small test split
        means = totals[:, : len(columns)] / totals[:, len(columns) :]
    means = means.reshape(-1, len(splits), len(names), len(METRICS))
    lost = means[:, :1] - means[:, 1:]
    cases = {"difference": lost}
    if floor:
        cases["beyond the floor"] = lost - lost[:, :, [names.index(floor)]]
    index = pd.MultiIndex.from_product([splits[1:], names, METRICS])
    found = []
    for what, values in cases.items():
        low, high = statistics.interval(values[1:].reshape(resamples, -1))
        part = pd.DataFrame({"value": values[0].ravel(), "low": low, "high": high}, index=index)
        part = part.rename_axis(["split", "system", "metric"]).reset_index().assign(what=what)
        found.append(part[(part["system"] != floor) | (what == "difference")])
    return pd.concat(found, ignore_index=True)


def describe(made: Mapping[str, Any]) -> str:
    """What a record of splits was made of and on; made: its provenance."""
    given = made["parameters"]
    return (
        f"Recorded on {made_on(made)}; profile {made['profile']}; {given['corpus']}; teacher "
        f"{given['teacher']}. {given['n_train']:,} training samples a split, at most "
        f"{given['steps']:,} steps of {given['batch_size']}, {given['seeds']} seed(s), at most "
        f"{given['max_test']:,} test samples a split."
    )
