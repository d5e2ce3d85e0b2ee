"""Chapter 7's questions to a run's own systems: swaps, voices, seeds, and what the suite costs.

Left out on purpose: the metrics (`metrics.suite`) and the tests (`statistics`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from .. import statistics, students
from ..corpora import embedded
from ..metrics.personalization import swap, text_change, voice_probe
from ..metrics.suite import Evaluation, evaluate
from ..sequences import make_samples
from ..teachers import make_teacher


def ask_again(
    samples: pd.DataFrame, items: pd.DataFrame, noun: str, options: Mapping[str, Any]
) -> pd.DataFrame:
    """A second answer of the run's grammar (its `options`) to each sample, system "again"."""
    oracle = make_teacher("grammar", items, noun, **options)
    told = oracle.explain(samples.assign(sample_id=samples["sample_id"] + " again"))
    return told.assign(sample_id=samples["sample_id"].to_numpy(), system="again")


def joined(
    result: Evaluation,
    extra: list[pd.DataFrame],
    teacher: str,
    samples: pd.DataFrame,
    **settings: Any,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The suite's table and scores with further metrics' scores, as one table and one of scores.

    The teacher measured against its own texts is left out of both. settings: resamples and seed.
    """
    own = result.table["system"].eq(teacher) & result.table["lift"].notna()
    means = [statistics.bootstrap_means(scores, samples, **settings) for scores in extra]
    table = pd.concat([result.table[~own], *means], ignore_index=True)
    scores = pd.concat([result.scores, *extra], ignore_index=True)
    kept = table[["system", "metric"]].drop_duplicates()
    return table, scores.merge(kept, on=["system", "metric"])


def systems_of(folder: Path) -> dict[str, Path]:
    """The run's student and its systems, by name; further seeds of a system stay out."""
    others = {p.name: p for p in sorted((folder / "systems").glob("*")) if "@" not in p.name}
    return {"prism": folder / "student"} | others


def swaps(
    folders: Mapping[str, Path],
    samples: pd.DataFrame,
    drawn: pd.DataFrame,
    told: pd.DataFrame,
    **settings: Any,
) -> pd.DataFrame:
    """How each system's texts of the samples `drawn` change with another user, history or item.

    told: what they said before. Columns of `personalization.text_change`, and swapped.
    """
    changes = []
    for name, folder in folders.items():
        system = students.load(folder)
        system.name = name
        before = told[(told["system"] == name) & told["sample_id"].isin(drawn["sample_id"])]
        for what in ("user", "history", "item"):
            swapped = swap(samples, what, settings["seed"]).loc[drawn.index]
            after = system.explain(swapped)[["sample_id", "system", "text"]]
            change = text_change(before, after, drawn, **settings)
            changes.append(change.assign(swapped=what))
    return pd.concat(changes, ignore_index=True)


def hear_voices(
    told: pd.DataFrame, samples: pd.DataFrame, voice_of: Any, **settings: Any
) -> pd.DataFrame:
    """How well a classifier guesses a user's voice from each system's texts; empty without voices.

    voice_of: user id -> voice. Voices that one user alone has are left out: there must be one user
    to learn from and one to test. Columns of `personalization.voice_probe`, and system.
    """
    users = samples.set_index("sample_id")["user_id"]
    voices = users.map(voice_of)
    voices = voices[users.groupby(voices).transform("nunique") > 1]
    if voices.nunique() < 2:
        return pd.DataFrame()
    told = told[told["sample_id"].isin(voices.index) & ~told["system"].str.contains("@")]
    probes = []
    for name, texts in told.groupby("system", sort=False):
        ids = texts["sample_id"]
        probe = voice_probe(
            texts["text"].tolist(), voices[ids].tolist(), users[ids].tolist(), **settings
        )
        probes.append(probe.assign(system=name))
    return pd.concat(probes).set_index("system").reset_index()


def time_suite(texts: int) -> tuple[int, float]:
    """How many generated explanations the suite scored, and the seconds that it took, once."""
    per_user = 51
    large = embedded.load(users=max(texts // (per_user - 1), 2), interactions_per_user=per_user)
    many = make_samples(large.interactions).head(texts)
    golden, other = (
        make_teacher("grammar", large.items, max_history=5, seed=seed).explain(many)
        for seed in (0, 7)
    )
    started = time.perf_counter()
    evaluate(other.assign(system="other"), many, large.items, golden)
    return len(many), time.perf_counter() - started
