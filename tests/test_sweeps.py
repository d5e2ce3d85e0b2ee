from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from prism_utils.errors import InputError
from prism_utils.experiments import sweeps


def square(point: dict) -> list[dict]:
    """Leaves a mark for every call, and fails where it is told to."""
    marks = Path(point["marks"])
    (marks / f"{point['x']}-{len(list(marks.iterdir()))}").touch()
    if (marks.parent / f"die-{point['x']}").exists():
        os._exit(1)
    if (marks.parent / f"fail-{point['x']}").exists():
        raise ZeroDivisionError("no square today")
    if point["x"] < 0:
        raise InputError(f"x is negative: {point['x']}")
    threads = os.environ.get("OMP_NUM_THREADS")
    return [{"x": point["x"], "square": point["x"] ** 2, "threads": threads, "pid": os.getpid()}]


@pytest.fixture
def point(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    return lambda x: {"x": x, "marks": str(marks)}


def calls(point) -> list[str]:
    return sorted(p.name.split("-")[0] for p in Path(point(0)["marks"]).iterdir())


def test_a_sweep_goes_on_where_it_failed(tmp_path, point, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    out = tmp_path / "out"
    (tmp_path / "fail-2").touch()
    points = [point(3), point(2), point(1), point(3)]
    with pytest.raises(RuntimeError, match=r'1 of 4 points failed.*"x": 2.*no square today'):
        sweeps.run(square, points, out, workers=1, progress=False)
    assert calls(point) == ["1", "2", "3"]  # the others were computed, equal ones once
    assert len(list(out.glob("*.json"))) == 2

    (tmp_path / "fail-2").unlink()
    # What a killed process leaves of a file is no result.
    (out / "half.json.partial").write_text('{"rows": [')
    table = sweeps.run(square, points, out, workers=2, progress=False)
    assert calls(point) == ["1", "2", "2", "3"]
    assert table["square"].tolist() == [9, 4, 1, 9]
    assert set(table["threads"]) == {"1"} and "OMP_NUM_THREADS" not in os.environ
    assert os.getpid() not in set(table["pid"])

    again = sweeps.run(square, points[:1], out, workers=1, progress=False)
    assert calls(point) == ["1", "2", "2", "3"] and again["square"].tolist() == [9]
    facts = json.loads(next(out.glob("*.json")).read_text())
    assert facts["function"].endswith("test_sweeps.square") and facts["seconds"] >= 0


def test_a_killed_process_loses_no_finished_point(tmp_path, point):
    points = [point(1), point(2)]
    (tmp_path / "die-2").touch()
    with pytest.raises(RuntimeError, match=r'1 of 2 points failed.*"x": 2'):
        sweeps.run(square, points, tmp_path / "out", workers=1, progress=False)
    (tmp_path / "die-2").unlink()
    table = sweeps.run(square, points, tmp_path / "out", workers=1, progress=False)
    assert table["square"].tolist() == [1, 4] and calls(point) == ["1", "2", "2"]


def test_points_are_told_apart(tmp_path, point, monkeypatch):
    named = {sweeps._file("f", 0, p, "code") for p in ({"x": 1}, {"x": 2}, {"x": 1, "y": 1})}
    assert len(named) == 3
    assert sweeps._file("f", 0, {"x": 1, "y": 2}, "code") == sweeps._file(
        "f", 5, {"y": 2, "x": 1}, "code"
    )
    others = {sweeps._file("g", 0, {"x": 1}, "code"), sweeps._file("f", 0, {"x": 1}, "new")}
    assert len(others | named) == 5


def test_bad_points(tmp_path, point):
    with pytest.raises(InputError, match="the list is empty"):
        sweeps.run(square, [], tmp_path)
    with pytest.raises(InputError, match="number 2 holds what JSON cannot"):
        sweeps.run(square, [point(1), {"x": Path()}], tmp_path)
    with pytest.raises(InputError, match=r"1 of 1 points failed.*x is negative: -1"):
        sweeps.run(square, [point(-1)], tmp_path, workers=1, progress=False)
