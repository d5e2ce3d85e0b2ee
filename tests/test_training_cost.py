"""What a user table costs is measured for each table and number of users, and shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prism_utils.efficiency import training_cost
from prism_utils.experiments import controls, sweeps, user_table
from prism_utils.students.user_rows import UserRows

SMALL = dict(d_model=16, rank=4, batch_size=4, steps=6)


@pytest.fixture(scope="module")
def record():
    return training_cost.measure((20, 30_000), seconds=0.02, max_gib=0.001, **SMALL)


def test_every_table_has_a_row_for_each_number_of_users(record):
    said = [(row["table"], row["users"]) for row in record["rows"]]
    assert said == [("none", 20)] + [
        (table, users) for table in ("dense", "sparse", "low rank") for users in (20, 30_000)
    ]
    skipped = record["rows"][2]
    assert skipped == {"table": "dense", "users": 30_000, "skipped": "needs 0.0 GiB"}
    for row in record["rows"]:
        if row is skipped:
            continue
        for what in ("step", "alone") if row["table"] != "none" else ("step",):
            assert row[f"{what}_p5_s"] <= row[f"{what}_s"] <= row[f"{what}_p95_s"]
            assert row[f"{what}_steps"] >= 1
        assert row["peak_bytes"] >= 0
        assert ("seen" in row) == (row["table"] in ("sparse", "low rank"))
        assert row.get("seen", 1) <= min(row["users"], 4 * (1 + SMALL["steps"]))
    assert record["settings"]["d_model"] == 16 and record["versions"]["torch"]


def test_a_record_is_drawn_and_told_from_its_rows(record):
    curves = training_cost.curves(record)
    assert list(curves["what"].unique()) == list(training_cost.MEASURES.values())
    assert set(curves.loc[curves["what"] == "of it, the table (ms)", "table"]) == {
        "dense", "sparse", "low rank",
    }  # fmt: skip
    row = record["rows"][3]  # sparse, 20 users
    step = curves[(curves["table"] == "sparse") & (curves["users"] == 20)].iloc[0]
    assert step["value"] == 1000 * row["step_s"] and step["high"] == 1000 * row["step_p95_s"]
    peak = curves[(curves["table"] == "sparse") & (curves["what"] == "peak memory (GiB)")].iloc[0]
    assert peak["low"] == peak["value"] == row["peak_bytes"] / 2**30

    said = training_cost.described(record)
    assert list(said) == ["made on", "sparse", "low rank"]  # one size of dense has no growth
    assert "width 16, rank 4, batches of 4, memory after 6 steps" in said["made on"]
    assert said["sparse"].startswith(f"{1000 * row['step_s']:.1f} ms a step with 20 users, ")
    assert f" for {row['seen']} and " in said["sparse"] and "Not built" not in said["sparse"]
    left_out = {"table": "sparse", "users": 10**6, "skipped": "needs <b> GiB"}
    more = record | {"rows": [*record["rows"], left_out]}
    assert training_cost.described(more)["sparse"].endswith("Not built: 1,000,000 (needs <b> GiB).")


@pytest.mark.parametrize(("table", "width"), [("dense", 16), ("sparse", 16), ("low rank", 4)])
def test_a_step_trains_the_table_and_alone_nothing_else(table, width):
    training = training_cost.Training(table, 50, d_model=16, rank=4, batch_size=8)
    assert isinstance(training.rows, UserRows) == (table != "dense")
    before = {name: p.clone() for name, p in training.model.named_parameters()}
    training.step(alone=True)
    changed = {
        name
        for name, p in training.model.named_parameters()
        if not name.endswith("batch") and not p.equal(before[name])
    }
    assert all("user" in name for name in changed)
    training.step()
    assert not training.model.model.shared.weight.equal(before["model.shared.weight"])
    vectors = training.model.user_vectors()
    assert np.count_nonzero(vectors.abs().amax(1).numpy()) == (training.seen or 50)
    if training.seen:
        assert 8 <= training.seen <= 16 and training.rows.width == width


def test_the_command_shows_and_writes(record, tmp_path, capsys):
    text = training_cost.show(record["rows"])
    assert "30,000 skipped: needs 0.0 GiB" in text and len(text.splitlines()) == 8
    out = tmp_path / "deep" / "record.json"
    small = ["--users", "9", "--d-model", "8", "--batch-size", "2", "--steps", "2"]
    one = [*small, "--tables", "sparse", "--seconds", "0.01", "--out", str(out)]
    assert training_cost.main(one) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert row["table"] == "sparse" and row["users"] == 9 and row["peak_bytes"] > 0
    assert "sparse          9" in capsys.readouterr().out
    assert training_cost.main(["--users", "0", "--tables", "none"]) == 2
    assert "users: must be at least 1, got 0" in capsys.readouterr().err


def test_quality_is_a_record_of_students_that_differ_in_their_table(tmp_path, monkeypatch):
    def measured(function, points, out, *, workers):
        assert function is controls.measure and out == tmp_path
        row = {
            "users": "known",
            "system": "own",
            "metric": "voice",
            "low": 0.1,
            "high": 0.3,
            "n": 5,
        }
        return pd.DataFrame(
            row | {"setting": controls.label(p), "seed": p["seed"], "value": 0.2} for p in points
        )

    monkeypatch.setattr(sweeps, "run", measured)
    record = user_table.measure(tmp_path, grid="tiny", seeds=2)
    rows = record["tables"]["user_table"]
    assert [row["setting"] for row in rows][:2] == ["base", "user_table=sparse"]
    assert len(rows) == 5 + 4 and {row["seeds"] for row in rows} == {2}
    assert {row["value"] for row in rows if row["system"] == "own - base"} == {0}
    assert record["provenance"]["parameters"]["points"] == 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"d_model": 0}, "d_model: must be at least 1, got 0"),
        ({"rank": -1}, "rank: must be at least 1"),
        ({"batch_size": 0}, "batch_size: must be at least 1"),
        ({"steps": 0}, "steps: must be at least 1"),
        ({"users": (9, 2**40 + 1)}, "users: must be at most"),
        ({"seconds": 0.0}, "seconds: must be a number above 0, got 0.0"),
        ({"seconds": float("nan")}, "seconds: must be a number above 0, got nan"),
        ({"seed": -1}, "seed: must be at least 0, got -1"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not here"),
    ],
)
def test_bounds_are_checked_before_anything_is_built(options, says, monkeypatch):
    monkeypatch.setattr(training_cost, "peak_memory", None)
    with pytest.raises(ValueError, match=says):
        training_cost.measure(**options)


def test_a_record_that_cannot_be_written_is_said_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training_cost, "measure", None)
    for out, says in ((tmp_path, "it is a folder"), (Path(__file__) / "x.json", "is no folder")):
        assert training_cost.main(["--out", str(out)]) == 2
        assert says in capsys.readouterr().err
