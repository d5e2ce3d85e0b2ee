"""Explanations against what moved a ranker: cited titles, shared attributes, chance."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from prism_utils.errors import InputError
from prism_utils.experiments import controls, faithful, trial
from prism_utils.metrics.receipts import Auditor

ITEMS = pd.DataFrame(
    {
        "item_id": ["1", "2", "3", "4"],
        "title": ["Alien", "Heat", "Jaws", "Fargo"],
        "genre": [["Horror"], ["Crime"], ["Horror", "Drama"], ["Crime", "Drama"]],
    }
)
NONE = (np.nan,) * 4


def asked(evidence: list[str]) -> pd.DataFrame:
    sample = {"sample_id": "s", "user_id": "u", "history": ["1", "2", "4"], "item_id": "3"}
    return pd.DataFrame([sample | {"evidence": evidence}])


@pytest.mark.parametrize(
    ("text", "evidence", "values"),
    [
        ("You watched Alien, so try Jaws.", ["1"], (1, 1, 1, 1, 1 / 3)),
        ("You watched Alien, so try Jaws.", ["4"], (1, 0, 0, 0, 1 / 3)),
        ("You watched Alien, so try Jaws.", ["1", "4"], (1, 1, 1, 1, 2 / 3)),
        ("Jaws is a drama.", ["4"], (1, 1, 0, 1, 1 / 3)),  # what the item shares with the mover
        ("Jaws is a drama.", ["2"], (1, 0, 0, 0, 1 / 3)),
        ("You watched Heat, and Jaws is a drama.", ["4"], (1, 1, 0, 0, 2 / 3)),
        ("You watched Heat and Fargo, so try Jaws.", ["1", "4"], (1, 1, 1, 0, 1)),
        ("Jaws is a crime film.", ["2"], (0, *NONE)),  # false: no reason for the item
        ("Try Jaws.", ["2"], (0, *NONE)),
        ("You watched Alien, so try Jaws.", [], (1, *NONE)),  # nothing moved the ranker
    ],
)
def test_a_mover_is_cited_by_title_or_by_what_it_shares(text, evidence, values) -> None:
    texts = pd.DataFrame([{"sample_id": "s", "system": "x", "text": text}])
    found = faithful.scores(texts, asked(evidence), Auditor(ITEMS)).set_index("metric")["value"]
    wanted = *values, values[1] - values[4]  # beyond chance
    np.testing.assert_allclose([found[name] for name in faithful.METRICS], wanted, atol=1e-9)
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
    table = faithful.compare_rankers(
        ["ease", "item_cf"], none, samples, interactions, Auditor(ITEMS), ITEMS, shown=2
    )
    means = table.groupby(["ranker", "metric"])["value"].mean()
    for ranker in ("ease", "item_cf"):
        assert means[ranker, "cites_any"] == 1
        assert means[ranker, "names_mover"] == pytest.approx(0.5, abs=0.2)
        assert means[ranker, "chance"] == 0.5  # one of two
    again = faithful.random_titles(samples, ITEMS)
    assert again.equals(faithful.random_titles(samples, ITEMS))


def test_an_attribute_of_the_whole_history_cites_a_mover_by_chance() -> None:
    items = ITEMS.assign(genre=[["Horror"]] * 4)
    texts = pd.DataFrame([{"sample_id": "s", "system": "x", "text": "Jaws is a horror film."}])
    found = faithful.scores(texts, asked(["1"]), Auditor(items)).set_index("metric")["value"]
    assert found["cites_mover"] == found["chance"] == 1 and found["names_mover"] == 0
    again = asked(["1"]).assign(history=[["1", "2", "3"]])  # seen before: no reason for itself
    found = faithful.scores(texts.assign(text="Try Jaws."), again, Auditor(ITEMS))
    assert found.set_index("metric")["value"]["cites_any"] == 0


@pytest.mark.parametrize("ranker", faithful.RANKERS)
def test_students_and_floors_are_measured_against_a_ranker(ranker) -> None:
    (point,) = (
        p for p in faithful.points("tiny", 1) if p["ranker"] == ranker and p["facts"] == "all"
    )
    rows = pd.DataFrame(faithful.measure(point | {"steps": 2}))
    assert set(rows["setting"]) == {f"{ranker}, facts=all"} and set(rows["ranker"]) == {ranker}
    means = rows.set_index(["system", "metric"])["value"].astype(float)
    # The teacher was shown nothing but the movers; a title at random hits as chance has it.
    assert means["teacher", "cites_mover"] == means["teacher", "names_mover"] == 1
    assert means[faithful.RANDOM, "cites_any"] == 1
    assert 0 < means[faithful.RANDOM, "chance"] < means["facts-template", "chance"] <= 1
    assert {"marked", "unmarked", "marked - unmarked"} < set(rows["system"])
    table = faithful.summary(rows)
    assert len(table) == len(rows) and set(table["facts"]) == {"all"}
    known = rows[rows["low"].notna() & (rows["system"] != "marked - unmarked")]
    assert (known["low"] <= known["value"]).all() and (known["value"] <= known["high"]).all()


def test_points_ask_each_ranker_with_and_without_facts_in_the_size_of_their_grid() -> None:
    points = faithful.points("quick", 2)
    asked_of = {(p["ranker"], p["facts"], p["seed"]) for p in points}
    assert len(asked_of) == len(points) == 8
    for point in points:
        of_trial = {k: v for k, v in point.items() if k not in ("ranker", "facts")}
        assert trial.complete(of_trial)["films"] == controls.SIZES["quick"]["films"]
    with pytest.raises(InputError, match="grid 'quik' is unknown"):
        faithful.points("quik")
    with pytest.raises(InputError, match="facts must be one of none, all, found 'some'"):
        faithful.measure(points[0] | {"facts": "some"})


def test_a_record_holds_means_and_what_was_asked(monkeypatch, tmp_path) -> None:
    row = {"setting": "ease, facts=none", "ranker": "ease", "facts": "none", "users": "known"}
    row |= {"system": "marked", "metric": "cites_mover", "value": 0.25, "n": 8, "low": 0.1}
    rows = pd.DataFrame([row | {"high": 0.4, "seed": 0}, row | {"value": np.nan, "seed": 0}])
    rows.loc[1, ["metric", "low"]] = "names_mover", np.nan
    asked_for: list = []

    def run(function, points, work, workers):
        asked_for.extend([function, *points])
        return rows

    monkeypatch.setattr(faithful.sweeps, "run", run)
    out = tmp_path / "faithful.json"
    faithful.main(["--grid", "tiny", "--seeds", "2", "--work", str(tmp_path), "--out", str(out)])
    record = json.loads(out.read_text(encoding="utf-8"))
    assert asked_for == [faithful.measure, *faithful.points("tiny", 2)]
    assert record["provenance"]["parameters"]["points"] == 8
    cites, names = record["tables"]["faithful"]
    assert (cites["value"], cites["low"], cites["high"]) == (0.25, 0.1, 0.4)
    assert names["value"] is None and names["ranker"] == "ease" and names["facts"] == "none"
