"""Tables of `controls.summary` as chapter 9 draws them: what a user's vector adds, and where.

Left out on purpose: training and measuring (`controls`), and drawing (`plots`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from .controls import BASE, label
from .trial import BASE as TRIAL

Changes = dict[str, Any]
STRENGTHS = (0.0, 0.25, 0.5, 1.0)


def by_vector(table: pd.DataFrame, changes: Iterable[Changes], factor: str) -> pd.DataFrame:
    """Rows of the points that `changes` are, for known users, in the order of `factor`.

    Adds the column `factor` and `vector`: own, shuffled or zero (the student was asked with), or
    "trained without", or teacher.
    """
    lines = []
    for change in changes:
        chosen = table[(table["setting"] == label(change)) & (table["users"] == "known")]
        chosen = chosen[~chosen["system"].str.contains(" - ") & (chosen["system"] != "training")]
        without = change.get("vector", "full") == "none"
        chosen = chosen[chosen["system"] == "own"] if without else chosen
        vector = chosen["system"].replace({"own": "trained without" if without else "own"})
        lines.append(chosen.assign(**{factor: (TRIAL | BASE | change)[factor], "vector": vector}))
    return pd.concat(lines, ignore_index=True).sort_values(factor, kind="stable", ignore_index=True)


def by_strength(table: pd.DataFrame, changes: Iterable[Changes]) -> pd.DataFrame:
    """`by_vector` along the strength of the voice; with students trained without, where it is 1."""
    found = by_vector(table, changes, "voice_strength")
    if not found["vector"].eq("trained without").any():
        without = by_vector(table, [{"vector": "none"}], "voice_strength")
        found = pd.concat([found, without], ignore_index=True)
    return found[found["vector"] != "zero"]


def effect(table: pd.DataFrame, setting: str, metric: str) -> pd.DataFrame:
    """The row of "own - shuffled" of a setting, known users; none where the grid has no such."""
    row = table[(table["setting"] == setting) & (table["system"] == "own - shuffled")]
    return row[(row["metric"] == metric) & (row["users"] == "known")].head(1)


def learnt(table: pd.DataFrame) -> pd.DataFrame:
    """Per voice_strength what a vector brings: columns with, without, value, low, high.

    with and without: validation loss (nats a token) of students with a vector and trained without.
    value: share of explanations with the user's own kind of attribute, with the own vector less
    with another user's. nan where the grid has no such point.
    """
    loss = table[table["metric"] == "valid_loss"].set_index("setting")["value"]
    rows = []
    for strength in STRENGTHS:
        settings = [label({"voice_strength": strength, "vector": v}) for v in ("full", "none")]
        row = {"voice_strength": strength, "metric": "voice"}
        row |= {"with": loss.get(settings[0]), "without": loss.get(settings[1])}
        voice = effect(table, settings[0], "voice")[["value", "low", "high"]].to_dict("records")
        rows.append(row | (voice[0] if voice else dict.fromkeys(("value", "low", "high"))))
    numbers = ["with", "without", "value", "low", "high"]
    return (
        pd.DataFrame(rows).astype(dict.fromkeys(numbers, float)).dropna(subset=numbers, how="all")
    )


def settings_of(
    table: pd.DataFrame, changes: Iterable[Changes], users: Sequence[str] = ("known",)
) -> pd.DataFrame:
    """The student's rows for each change; its setting as system, and in `vector` what it had."""
    parts = []
    for change in changes:
        name = label(change)
        chosen = table[(table["setting"] == name) & table["users"].isin(users)]
        chosen = chosen[chosen["system"].isin(["own", "shuffled", "zero"])]
        parts.append(chosen.assign(vector=chosen["system"], system=name))
    return pd.concat(parts, ignore_index=True)


def by_dropout(table: pd.DataFrame, changes: Iterable[Changes]) -> pd.DataFrame:
    """`settings_of` along user_dropout; `users` says whom training knew, and with which vector."""
    parts = [
        settings_of(table, [change], ("known", "unknown")).assign(
            user_dropout=change.get("user_dropout", 0.0)
        )
        for change in changes
    ]
    found = pd.concat(parts, ignore_index=True)
    found = found[found["vector"] != "shuffled"]
    told = found["users"] + ", " + found["vector"].replace({"own": "own vector"})
    names = {"unknown, own vector": "never seen", "known, zero": "known, no vector"}
    return found.assign(users=told.replace(names))


def by_history(
    table: pd.DataFrame, changes: Iterable[Changes]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`by_vector` along student_history, own vector and trained without; and what it is worth.

    The latter: rows of "own - shuffled" in ROUGE-L, with student_history, where a vector is.
    """
    found = by_vector(table, changes, "student_history")
    worth = [
        effect(table, label(change), "rougeL").assign(student_history=change["student_history"])
        for change in changes
        if change["student_history"] in (5, 50)
    ]
    kept = found["vector"].isin(["own", "trained without"])
    return found[kept], pd.concat(worth, ignore_index=True)


def evidence(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the students that were trained with marked evidence and without."""
    return table[(table["setting"] == "evidence") & ~table["system"].str.contains(" - ")]
