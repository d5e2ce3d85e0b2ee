from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prism_utils.errors import INTERRUPTED, InputError
from prism_utils.experiments import sweeps
from prism_utils.files import claimed


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


def hold(point: dict) -> list[dict]:
    """Holds a claim for a minute, unless its process ends."""
    with claimed(Path(point["marks"]) / str(point["x"])):
        time.sleep(60)
    return []


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
    with pytest.raises(InputError, match=r'1 of 2 points failed.*"x": 2.*give fewer workers'):
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


def test_what_is_damaged_is_computed_again_and_said(tmp_path, point, capsys):
    out, points = tmp_path / "out", [point(1), point(2), point(3)]
    whole = sweeps.run(square, points, out, workers=1, progress=False)
    files = sorted(out.glob("*.json"))
    flipped = files[0].read_bytes().replace(b'"square": ', b'"square": 1')
    files[0].write_bytes(flipped)
    files[1].write_text('{"rows": [')
    capsys.readouterr()
    again = sweeps.run(square, points, out, workers=1, progress=False)
    said = capsys.readouterr().err.splitlines()
    assert [line.endswith(": computed again") for line in said] == [True, True]
    assert all(any(path.name in line for line in said) for path in files[:2])
    assert again["square"].tolist() == whole["square"].tolist() and len(calls(point)) == 5


def test_what_cannot_be_written_is_said_before_the_work(tmp_path, point):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="file"):
            sweeps.run(square, [point(1)], out, workers=1, progress=False)
    (tmp_path / "out" / sweeps._file(f"{__name__}.square", 0, point(1), sweeps._code())).mkdir(
        parents=True
    )
    with pytest.raises(InputError, match="it is a folder, and a file is wanted"):
        sweeps.run(square, [point(1)], tmp_path / "out", workers=1, progress=False)
    with pytest.raises(InputError, match="workers must be 1 or more"):
        sweeps.run(square, [point(1)], tmp_path / "out", workers=-1, progress=False)
    assert not calls(point)


PARENT = """
import os, sys
sys.path.insert(0, sys.argv[2])
if __name__ == "__main__":
    from test_sweeps import hold
    from prism_utils.experiments import sweeps
    from prism_utils.errors import run_cli

    points = [{"x": x, "marks": sys.argv[1]} for x in range(3)]
    run_cli(lambda: sweeps.run(hold, points, sys.argv[1] + "/out", workers=2, progress=False))
"""


def wait_for(true: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def free(folder: Path) -> list[str]:
    """Of the points that were begun, those that no process computes any more."""
    names = [p.name for p in folder.iterdir() if p.name.isdigit()]
    told = []
    for name in sorted(names):
        with claimed(folder / name) as ours:
            told += [name] * ours
    return told


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(tmp_path, how):
    (tmp_path / "parent.py").write_text(PARENT)
    words = [sys.executable, tmp_path / "parent.py", tmp_path, Path(__file__).parent]
    with subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # not ignored, as behind &
    ) as parent:
        try:
            begun = wait_for(lambda: (tmp_path / "1").exists() and not free(tmp_path))
            assert begun, parent.stderr.read()
            if how == signal.SIGINT:
                os.killpg(parent.pid, how)  # as Ctrl-C does: everybody hears it
            else:
                os.kill(parent.pid, how)
            assert wait_for(lambda: free(tmp_path) == ["0", "1"], 90)
            said = parent.stderr.read()  # ends when the last of them has closed it
            assert "Traceback (" not in said
            assert how == signal.SIGKILL or said == INTERRUPTED + "\n"
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
    assert parent.returncode == (130 if how == signal.SIGINT else -how)
