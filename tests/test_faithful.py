"""Explanations against what moved a ranker: cited titles, shared attributes, chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from prism_utils.errors import InputError
from prism_utils.experiments import faithful
from prism_utils.metrics.receipts import Auditor

ITEMS = pd.DataFrame(
    {
        "item_id": ["1", "2", "3", "4"],
        "title": ["Alien", "Heat", "Jaws", "Fargo"],
        "genre": [["Horror"], ["Crime"], ["Horror", "Drama"], ["Crime", "Drama"]],
    }
)


def asked(evidence: list[str]) -> pd.DataFrame:
    sample = {"sample_id": "s", "user_id": "u", "history": ["1", "2", "4"], "item_id": "3"}
    return pd.DataFrame([sample | {"evidence": evidence}])


@pytest.mark.parametrize(
    ("text", "evidence", "values"),
    [
        ("You watched Alien, so try Jaws.", ["1"], (1, 1, 1)),
        ("You watched Alien, so try Jaws.", ["4"], (1, 0, 0)),
        ("Jaws is a drama.", ["4"], (1, 1, 0)),  # what the item shares with the mover
        ("Jaws is a drama.", ["2"], (1, 0, 0)),
        ("You watched Heat, and Jaws is a drama.", ["4"], (1, 1, 0)),
        ("Jaws is a crime film.", ["2"], (0, np.nan, np.nan)),  # false: no reason for the item
        ("Try Jaws.", ["2"], (0, np.nan, np.nan)),
    ],
)
def test_a_mover_is_cited_by_title_or_by_what_it_shares(text, evidence, values) -> None:
    texts = pd.DataFrame([{"sample_id": "s", "system": "x", "text": text}])
    found = faithful.scores(texts, asked(evidence), Auditor(ITEMS)).set_index("metric")["value"]
    np.testing.assert_equal([found[name] for name in faithful.METRICS], values)
    with pytest.raises(InputError, match="'evidence' is missing"):
        faithful.scores(texts, asked(evidence).drop(columns="evidence"), Auditor(ITEMS))


def test_a_title_at_random_names_one_of_the_shown_ones_and_a_mover_by_chance() -> None:
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", str(i)) for u in range(60) for i in rng.permutation(4)[:3] + 1]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id"])
    users = interactions["user_id"].unique()
    seen = interactions.groupby("user_id")["item_id"].agg(list)
    samples = pd.DataFrame(
        {
            "sample_id": users,
            "user_id": users,
            "history": [seen[user][:2] for user in users],
            "item_id": [seen[user][2] for user in users],
            "split": "test",
        }
    )
    none = pd.DataFrame({"sample_id": [], "system": [], "text": []}, dtype=object)
    table, about = faithful.compare_rankers(
        ["ease", "item_cf"], none, samples, interactions, Auditor(ITEMS), ITEMS, shown=2
    )
    assert about["evidence"].str.len().eq(1).all()
    means = table.groupby(["ranker", "metric"])["value"].mean()
    for ranker in ("ease", "item_cf"):
        assert means[ranker, "cites_any"] == 1
        assert means[ranker, "names_mover"] == pytest.approx(0.5, abs=0.2)
    again = faithful.random_titles(samples, ITEMS)
    assert again.equals(faithful.random_titles(samples, ITEMS))
