from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prism_utils import experiments
from prism_utils.errors import InputError
from prism_utils.experiments import controls, user_table
from prism_utils.metrics.grounding import Grounding
from prism_utils.students.inputs import UserTable

TINY = controls.BASE | controls.SIZES["tiny"] | {"seed": 0, "steps": 2}
ITEMS = pd.DataFrame(
    {
        "item_id": ["1", "2", "3", "4"],
        "title": ["Jaws", "Alien", "Airplane!", "The Thing"],
        "year": [1975, 1979, 1980, 1982],
        "genre": [["Thriller"], ["Horror"], ["Comedy"], ["Horror"]],
        "director": [["Steven Spielberg"], ["Ridley Scott"], ["Jim Abrahams"], ["John Carpenter"]],
    }
)


@pytest.mark.parametrize("grid", controls.SIZES)
def test_points_are_valid_once_each_and_each_has_its_own_label(grid):
    points = controls.points(grid, 2)
    trainings = [point for point in points if not point.get("evidence")]
    for point in points:
        experiments.complete({k: v for k, v in point.items() if k != "evidence"})
    first = [controls.label(point) for point in trainings if point["seed"] == 0]
    assert len(set(first)) == len(first) == len(trainings) // 2
    wanted = {controls.label(c) for asked in controls.questions(grid).values() for c in asked}
    assert set(first) == wanted and "base" in wanted
    assert sum(bool(point.get("evidence")) for point in points) == 2


def test_the_full_grid_is_affordable_and_asks_what_the_chapter_shows():
    points = controls.points("full", 3)
    assert sum(2 if point.get("evidence") else 1 for point in points) <= 60
    strengths = {p.get("voice_strength") for p in points if not p.get("evidence")}
    assert strengths == {0.0, 0.25, 0.5, 1.0}
    assert {p.get("student_history") for p in points if p.get("teacher_history")} == {5, 10, 20, 50}


def test_an_unknown_grid_is_refused():
    with pytest.raises(InputError, match="grid 'quik' is unknown: did you mean 'quick'"):
        controls.points("quik")


def test_a_point_is_measured_with_every_vector():
    rows = pd.DataFrame(controls.measure(TINY))
    assert set(rows["setting"]) == {"base"} and set(rows["seed"]) == {0}
    systems = rows.groupby("users")["system"].agg(set).to_dict()
    assert systems["unknown"] == {"teacher", "own"}
    assert systems["known"] == systems["unknown"] | {
        "shuffled", "zero", "own - shuffled", "own - zero", "training",
    }  # fmt: skip
    own = rows[(rows["users"] == "known") & (rows["system"] == "own")]
    assert set(own["metric"]) == set(controls.METRICS)
    assert (own["low"] <= own["value"]).all() and (own["value"] <= own["high"]).all()
    assert set(own["n"]) == {TINY["test_samples"]}
    means = rows[rows["users"] == "known"].set_index(["system", "metric"])["value"]
    for metric in controls.METRICS:
        apart = means["own", metric] - means["shuffled", metric]
        assert means["own - shuffled", metric] == pytest.approx(apart)
    loss = rows[rows["metric"] == "valid_loss"].iloc[0]
    assert loss["system"] == "training" and loss["value"] > 0


def test_without_a_vector_there_is_none_to_exchange():
    rows = pd.DataFrame(controls.measure(TINY | {"vector": "none", "voice_strength": 0.0}))
    assert set(rows["setting"]) == {"vector=none, voice_strength=0.0"}
    assert set(rows["system"]) == {"teacher", "own", "training"}


def test_points_of_the_user_table_differ_in_nothing_else():
    points = user_table.points("tiny", 2)
    for point in points:
        experiments.complete({k: v for k, v in point.items() if k != "untrained"})
    labels = [controls.label(point) for point in points if point["seed"] == 1]
    assert labels == [
        "base",
        "user_table=sparse",
        "user_table=sparse, user_init=zero",
        "user_table=sparse, user_rank=8",
        "user_table=sparse, user_rank=32",
    ]


@pytest.mark.parametrize("number", [0, 3])
def test_users_without_training_are_asked_with_zero_and_with_random_rows(number, monkeypatch):
    seen, give = [], controls.give_random_rows
    monkeypatch.setattr(
        controls, "give_random_rows",
        lambda explainer, *args, **seed: (seen.append(explainer), give(explainer, *args, **seed)),
    )  # fmt: skip
    point = user_table.points("tiny")[number] | {"steps": 2}
    rows = pd.DataFrame(controls.measure(point))
    systems = rows.groupby("users")["system"].agg(set).to_dict()
    assert systems["unknown"] == {"teacher", "own", "random", "own - random"}
    assert "random" not in systems["known"] and "shuffled" in systems["known"]
    (explainer,) = seen
    vectors = explainer.model.user_vectors()
    assert len(vectors) == len(explainer.users) + 1 and vectors[0].abs().max() == 0
    assert vectors[1:].abs().min(dim=1).values.min() > 0
    if number == 0:
        assert float(vectors[1:].std()) == pytest.approx(explainer.model.config.init_std, rel=0.1)


def test_marked_evidence_is_measured_against_the_unmarked_and_chance():
    (point,) = (p for p in controls.points("tiny") if p.get("evidence"))
    rows = pd.DataFrame(controls.measure(point | {"steps": 2}))
    assert set(rows["setting"]) == {"evidence"}
    means = rows.set_index(["system", "metric"])["value"]
    # The teacher was shown nothing but the evidence, and made no errors.
    assert means["teacher", "cites_evidence"] == means["teacher", "only_evidence"] == 1
    assert 0 < means["chance", "cites_evidence"] < 1
    assert {"marked", "unmarked", "marked - unmarked"} < set(rows["system"])


def test_exchanged_vectors_are_another_users_or_none():
    users = UserTable([f"u{n}" for n in range(9)])
    names = list(users.index)
    for seed in range(20):
        tables = controls.other_vectors(users, seed)
        rows = tables["shuffled"].rows(names)
        assert sorted(rows) == list(range(1, 10)) and (rows != users.rows(names)).all()
        assert (tables["zero"].rows(names) == 0).all()
    again = controls.other_vectors(users, 3)["shuffled"].rows(names)
    assert (again == controls.other_vectors(users, 3)["shuffled"].rows(names)).all()


def sample(rows: list[tuple[str, str, list[str], str]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["sample_id", "user_id", "history", "item_id"])
    return frame.assign(split="test")


def told(**texts: list[str]) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame({"sample_id": [str(n) for n in range(len(rows))], "text": rows}).assign(
                system=system
            )
            for system, rows in texts.items()
        ],
        ignore_index=True,
    )


def test_voice_and_rouge_by_hand():
    samples = sample([("0", "u", ["2"], "4"), ("1", "v", ["1"], "2")])
    texts = told(
        teacher=["Like Alien, The Thing is a horror film.", "After Jaws, try Alien."],
        own=["The Thing was directed by John Carpenter.", "After Jaws, try Alien."],
    )
    voices = {"u": "genre", "v": "director"}
    table = controls.scores(texts, samples, Grounding(ITEMS), voices.__getitem__)
    value = table.set_index(["system", "sample_id", "metric"])["value"]
    assert value["teacher", "0", "voice"] == 1 and value["own", "0", "voice"] == 0
    assert value["teacher", "1", "voice"] == value["own", "1", "voice"] == 0
    assert value["own", "1", "rougeL"] == 1 and 0 < value["own", "0", "rougeL"] < 1
    assert not len(table[(table["system"] == "teacher") & (table["metric"] == "rougeL")])
    assert set(table["metric"]) == set(controls.METRICS)
    plain = controls.scores(texts[texts["system"] == "own"], samples, Grounding(ITEMS))
    assert set(plain["metric"]) == set(controls.METRICS) - {"voice", "rougeL"}


def test_grounding_against_the_evidence_by_hand():
    samples = sample([(str(n), "u", ["1", "2"], "4") for n in range(4)])
    samples["evidence"] = [["2"]] * 4
    texts = told(
        own=[
            "Like Alien, The Thing is a horror film.",
            "You liked Alien and Jaws, so try The Thing.",
            "You liked Jaws, so try The Thing.",
            "The Thing is like Airplane!",
        ]
    )
    table = controls.evidence_scores(texts, samples, ITEMS)
    wide = table.pivot(index="sample_id", columns="metric", values="value")
    assert wide["cites_history"].tolist() == [1, 1, 1, 0]
    assert wide["cites_evidence"].tolist() == [1, 1, 0, 0]
    assert wide["only_evidence"].tolist() == [1, 0, 0, 0]
    with pytest.raises(InputError, match="'evidence' is missing"):
        controls.evidence_scores(texts, samples.drop(columns="evidence"), ITEMS)


def test_intervals_are_over_seeds_where_there_are_several():
    values = [0.2, 0.3, 0.7]
    row = {"setting": "base", "users": "known", "system": "own", "metric": "voice"}
    many = [row | {"seed": s, "value": v, "low": 0.0, "high": 1.0, "n": 10}
            for s, v in enumerate(values)]  # fmt: skip
    one = [row | {"setting": "x", "seed": 0, "value": 0.4, "low": 0.3, "high": 0.6, "n": 10}]
    table = controls.summary(pd.DataFrame(many + one)).set_index("setting")
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    assert table.loc["base", ["value", "low", "high"]].tolist() == pytest.approx(
        [0.4, 0.4 - half, 0.4 + half]
    )
    assert table.loc["base", ["n", "seeds"]].tolist() == [30, 3]
    assert table.loc["x", ["value", "low", "high", "n", "seeds"]].tolist() == [0.4, 0.3, 0.6, 10, 1]


def test_settings_are_set_against_the_base_seed_by_seed():
    row = {"users": "known", "metric": "voice", "low": 0.0, "high": 1.0, "n": 5}
    values = {("base", 0): 0.5, ("base", 1): 0.1, ("x", 1): 0.4, ("x", 0): 0.6}
    rows = pd.DataFrame(
        row | {"setting": s, "seed": n, "system": "own", "value": v} for (s, n), v in values.items()
    )
    other = rows.assign(system="zero", value=9.0)
    apart = controls.against_base(pd.concat([rows, other], ignore_index=True))
    assert set(apart["setting"]) == {"x"} and set(apart["system"]) == {"own - base"}
    assert apart.set_index("seed")["value"].to_dict() == pytest.approx({1: 0.3, 0: 0.1})
    assert controls.summary(apart)["value"].tolist() == pytest.approx([0.2])
