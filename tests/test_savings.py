"""What saving costs in quality is read off records: fewer explanations, cheaper user tables."""

from __future__ import annotations

import pandas as pd
import pytest

from prism_utils import experiments
from prism_utils.experiments import savings


def grid(rates):
    """A record of chapter 8's grid: two seeds, rates by number of explanations."""
    rows = [
        {
            "n_train": n,
            "seed": seed,
            "decoding": decoding,
            "metric": "foreign_title",
            "value": value,
        }
        for seed in range(2)
        for n, rate in rates.items()
        for decoding, value in (("teacher", 0.3), ("greedy", rate + seed / 100), ("beam4", 0.9))
    ]
    base = experiments.BASE | {"n_train": next(iter(rates))}
    return {
        "provenance": {"parameters": {"base": base}},
        "tables": {"mechanism": experiments.records(pd.DataFrame(rows))},
    }


def test_fewer_explanations_are_a_curve_and_a_slope():
    means, said = savings.fewer_explanations(grid({1000: 0.2, 2000: 0.1}))
    assert means["level"].tolist() == ["1,000", "2,000"] and set(means["group"]) == {"greedy"}
    assert means["value"].tolist() == pytest.approx([0.205, 0.105])
    assert set(means["teacher"]) == {0.3}
    assert said == {
        "greedy": "-10.0 points of errors for every doubling [-10.0, -10.0]",
    }


def row(setting, system, value, users="known", metric="voice"):
    at = {"setting": setting, "system": system, "users": users, "metric": metric}
    return at | {"value": value, "low": value - 0.1, "high": value + 0.1}


RECORD = {
    "provenance": {
        "date": "2030-01-02T03:04:05", "commit": "abc", "device": {"cpu": "a CPU"},
        "versions": {"torch": "9"},
        "parameters": {
            "points": 6, "seeds": 2,
            "base": {"users": 80, "unknown_users": 0.25, "n_train": 2400, "steps": 1500},
        },
    },
    "tables": {
        "user_table": [
            row("base", "own", 0.5),
            row("user_table=sparse", "own", 0.4),
            row("user_table=sparse", "zero", 0.2),
            row("user_table=sparse", "own", 0.9, users="unknown"),
            row("user_table=sparse", "own", 0.9, metric="length"),
            row("user_table=sparse", "own - base", -0.05),
            row("user_table=sparse, user_rank=8", "own - base", -0.25),
        ]
    },
}  # fmt: skip


def test_user_tables_are_shown_by_name_for_the_asked_users_and_vectors():
    scores = savings.scores(RECORD, "known", {"own": "own vector"}, ["voice"])
    assert scores["system"].tolist() == ["dense, full width", "sparse, full width"]
    assert scores["value"].tolist() == [0.5, 0.4] and set(scores["vector"]) == {"own vector"}
    assert "80 simulated users, 25% of them without" in savings.made(RECORD)


def test_differences_are_told_with_intervals_and_how_many_are_clear():
    assert savings.differences(RECORD, "known", "own - base", ["voice"]) == {
        "sparse, full width": "voice -5.0 [-15.0, +5.0]",
        "sparse, rank 8": "voice -25.0 [-35.0, -15.0]",
        "Intervals that exclude 0": "1 of these 2; by chance one in twenty would.",
    }
