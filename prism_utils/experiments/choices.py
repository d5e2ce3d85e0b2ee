"""Chapter 9's choices: items that rankers put first or last, how they are explained, how they rank.

Left out on purpose: ranking (`rankers`), and what is asked of the student beside (`own_student`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..metrics.overlap import rouge, rouge_pairs
from ..rankers import held_out_scores, make_ranker
from ..runs import escaped
from .own_student import NAMES, OwnStudent

FIRST, SECOND, LAST = "ranker's first", "ranker's second", "ranker's last"
RANDOM, LOWEST = "random", "rated lowest"
METRICS = ("names_item", "cites_history", "grounded", "foreign_title", "wrong_attribute", "rougeL")
MOST = 50  # history items of a sample


def in_time(interactions: pd.DataFrame) -> pd.DataFrame:
    """Interactions in the order of time, as they stand where a time is missing."""
    if "timestamp" in interactions and interactions["timestamp"].notna().all():
        return interactions.sort_values("timestamp", kind="stable")
    return interactions


def sequences(interactions: pd.DataFrame, least: int = 5) -> pd.Series:
    """user_id -> items in the order of time, of users with at least `least`."""
    found = in_time(interactions).groupby("user_id", sort=True)["item_id"].agg(list)
    return found[found.str.len() >= least]


def unfit(
    ranker: Any, interactions: pd.DataFrame, items: pd.DataFrame, *, users: int, seed: int
) -> pd.DataFrame:
    """Samples of `users` (0: all) users, each with items that fit and items that do not.

    `split` says how the item was chosen: put first, second or last by the fitted ranker, drawn
    from what the user has not seen, and, where there are ratings, rated lowest. The history is the
    same for all, without the last of these. Users who have seen nearly all are left out.
    """
    rng = np.random.default_rng(seed)
    known = sequences(interactions)
    drawn = sorted(rng.permutation(known.index)[: users or None])
    ranked = ranker.recommend(drawn, len(items)).groupby("user_id")["item_id"].agg(list)
    ranked = ranked[ranked.str.len() >= 3]
    if not len(ranked):
        raise InputError(
            "interactions: no user has five items and three more to rank; give more interactions "
            "or a larger catalogue"
        )
    ordered = in_time(interactions)
    rated = "rating" in ordered and ordered["rating"].notna().any()
    if rated:
        ordered = ordered.sort_values("rating", kind="stable")
    lowest = ordered.groupby("user_id")["item_id"].first()
    rows = []
    for user, order in ranked.items():
        drawn_item = order[rng.integers(len(order))]
        choices = {FIRST: order[0], SECOND: order[1], RANDOM: drawn_item, LAST: order[-1]}
        if rated:
            choices[LOWEST] = lowest[user]
        history = [item for item in known[user] if item != lowest[user]][-MOST:]
        rows += [(f"{user} {name}", user, history, item, name) for name, item in choices.items()]
    return pd.DataFrame(rows, columns=["sample_id", "user_id", "history", "item_id", "split"])


def scores(own: OwnStudent, samples: pd.DataFrame, told: pd.DataFrame) -> pd.DataFrame:
    """`METRICS` of what `own.both` told, with user_id and `choice`, how the item was chosen.

    rougeL is the student's to the teacher's answer about the same items.
    """
    found = [own.grounding.score(told, samples)]
    if own.oracle:
        answers = dict(list(told.groupby("system")))
        found.append(rouge(answers["student"], answers["teacher"]))
    table = pd.concat(found)
    table = table[table["metric"].isin(METRICS)].reset_index(drop=True)
    return _owned(table, samples)


def _owned(table: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    known = samples.set_index("sample_id")
    choice = table["sample_id"].map(known["split"])
    return table.assign(choice=choice, user_id=table["sample_id"].map(known["user_id"]))


def means(own: OwnStudent, scores: pd.DataFrame) -> pd.DataFrame:
    """Means of scores with a `choice`, choice by choice."""
    parts = [
        own.means(part, part.drop_duplicates("sample_id")).assign(choice=name)
        for name, part in scores.groupby("choice", sort=False)
    ]
    return pd.concat(parts, ignore_index=True)


def without_titles(told: pd.DataFrame, samples: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """told with user_id, choice and `body`, the text without the recommended item's title."""
    title = items.set_index("item_id")["title"]
    titles = told["sample_id"].map(samples.set_index("sample_id")["item_id"]).map(title)
    bodies = [text.replace(t, "…") for text, t in zip(told["text"], titles, strict=True)]
    return _owned(told.assign(body=bodies), samples)


def alike(plain: pd.DataFrame) -> pd.DataFrame:
    """Scores of `without_titles`: words, and alike, the ROUGE-L of a body to that of `FIRST`.

    The latter is between explanations by the same system for the same user.
    """
    columns = ["sample_id", "system", "user_id", "choice"]
    first = plain[plain["choice"] == FIRST].set_index(["system", "user_id"])["body"]
    others = plain[plain["choice"] != FIRST].reset_index(drop=True)
    beside = first.loc[list(zip(others["system"], others["user_id"], strict=True))].tolist()
    likeness = rouge_pairs(others["body"].tolist(), beside)["rougeL"].to_numpy()
    words = plain["text"].str.split().str.len().astype(float)
    parts = [
        others[columns].assign(metric="alike", value=likeness),
        plain[columns].assign(metric="words", value=words),
    ]
    return pd.concat(parts, ignore_index=True)


def distinct(plain: pd.DataFrame) -> pd.DataFrame:
    """Share of different bodies of `without_titles`: choice, system, value, metric, n (users)."""
    bodies = plain.groupby(["choice", "system"], sort=False)["body"]
    share = bodies.agg(lambda body: body.nunique() / len(body)).rename("value").reset_index()
    return share.assign(metric="distinct", n=plain["user_id"].nunique())


def text_table(table: pd.DataFrame) -> pd.DataFrame:
    """Means of `alike` and `distinct` for a reader: system and choice down, choices in order."""
    heads = {
        "alike": "alike (ROUGE-L)", "distinct": "distinct (share)", "words": "words (mean)",
    }  # fmt: skip
    table = table[table["metric"].isin(heads)]
    wide = table.pivot(index=["system", "choice"], columns="metric", values="value")
    order = [c for c in (FIRST, SECOND, RANDOM, LAST, LOWEST) if c in set(table["choice"])]
    rows = [table["system"].drop_duplicates().sort_values(), order]
    wide = wide.reindex(pd.MultiIndex.from_product(rows, names=wide.index.names))
    return wide[list(heads)].rename(columns=heads).rename_axis(columns=None)


def paired(own: OwnStudent, scores: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """The student's differences within users, choice `a` less `b` (system "a - b"), by metric.

    Columns as of `OwnStudent.apart`; Holm's correction is over the metrics.
    """
    part = scores[(scores["system"] == "student") & scores["choice"].isin([a, b])]
    part = part.assign(sample_id=part["user_id"], system=part["choice"])
    owners = part.drop_duplicates("sample_id")[["sample_id", "user_id"]]
    return own.apart(part[["sample_id", "system", "metric", "value"]], owners, [(a, b)])


def against_first(own: OwnStudent, scores: pd.DataFrame, likeness: pd.DataFrame) -> pd.DataFrame:
    """Each choice less the ranker's first, by metric, system being the choice; of the student.

    The metric alike (of `alike`) is less that of the ranker's second.
    """
    parts = []
    for choice in (RANDOM, LAST, LOWEST):
        if choice in set(scores["choice"]):
            found = paired(own, likeness, choice, SECOND)
            found = pd.concat(
                [paired(own, scores, choice, FIRST), found[found["metric"] == "alike"]]
            )
            parts.append(found.assign(system=choice))
    return pd.concat(parts, ignore_index=True)


def available(names: Iterable[str]) -> dict[str, Any]:
    """The rankers of these names; one that cannot be had (its library is an extra) is printed.

    Raises `InputError` where none can.
    """
    made = {}
    for name in names:
        try:
            made[name] = make_ranker(name)
        except InputError as error:
            print(error)
    if not made:
        raise InputError("rankers_used: none of these rankers is at hand; name another, e.g. ease")
    return made


def ranking_scores(
    made: Mapping[str, Any], interactions: pd.DataFrame, k: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`rankers.held_out_scores` of all, at k, and the users (sample_id, user_id) they are of."""
    found = pd.concat([held_out_scores(ranker, interactions, k) for ranker in made.values()])
    owners = found.drop_duplicates("sample_id")
    return found, owners.assign(user_id=owners["sample_id"])


def firsts(
    made: Mapping[str, Any], interactions: pd.DataFrame, users: Iterable[str]
) -> pd.DataFrame:
    """Samples of what each ranker puts first for these users, `split` being its name."""
    known, users = sequences(interactions), list(users)
    parts = []
    for name, ranker in made.items():
        top = ranker.fit(interactions).recommend(users, 1)
        history = top["user_id"].map(known).str[-MOST:]
        parts.append(top.assign(split=name, history=history))
    picks = pd.concat(parts, ignore_index=True)
    picks["sample_id"] = picks["split"] + " " + picks["user_id"]
    return picks[["sample_id", "user_id", "history", "item_id", "split"]]


def ranker_table(rankings: pd.DataFrame, explained: pd.DataFrame) -> pd.DataFrame:
    """Means of rankings and of `scores` of what each ranker puts first, the ranker as system.

    Column what: "ranking", or whose explanations they are.
    """
    told = "explained by " + explained["system"]
    explained = explained.assign(what=told, system=explained["choice"]).drop(columns="choice")
    return pd.concat([rankings.assign(what="ranking"), explained], ignore_index=True)


def verdict(apart: pd.DataFrame, users: int) -> str:
    """What `paired` shows of two rankers' choices, in a sentence; `users`: how many were asked."""
    first, last = (escaped(apart[name].iloc[0]) for name in ("system_a", "system_b"))
    sure = ", ".join(NAMES[metric] for metric in apart.loc[apart["p_holm"] < 0.05, "metric"])
    said = f"The explanations of what {first} and {last} choose differ in: {sure}"
    if not sure:
        said = f"Between the explanations of what {first} and {last} choose no difference is shown"
    return f"{said} ({users} users; Holm's correction over the metrics, 5%)."
