"""A run's folder: where it is, what its errors say, what is recorded and glued."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prism_utils.errors import InputError
from prism_utils.files import read_json
from prism_utils.runs import (
    Run,
    commit,
    cores,
    device,
    forget_launcher,
    glue,
    library_versions,
    project_root,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


ITEMS = pd.DataFrame({"item_id": ["1", "2"], "title": ["Alien", "Heat"], "genre": [["Horror"], []]})


def test_run_dir_counts_from_the_project_root(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Run.open("runs/quick").path == Path("runs/quick")
    monkeypatch.chdir(project / "notebooks")
    assert project_root() == project.resolve()
    assert Run.open("runs/quick").path == Path("../runs/quick")
    assert not Run.open(project / "runs" / "quick").path.is_absolute()


def test_outside_a_project_run_dir_counts_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_root() == tmp_path.resolve()


def test_a_file_is_not_a_run(project: Path) -> None:
    (project / "runs").touch()
    with pytest.raises(InputError, match="'runs' is a file"):
        Run.open("runs")


def test_tables_come_back_as_written(project: Path) -> None:
    run = Run.open("runs/quick")
    run.write("items", ITEMS)
    assert run.read("items")["genre"].tolist() == [["Horror"], []]
    curve = pd.DataFrame({"step": [1, 2], "loss": [2.0, 1.5]})
    run.write("learning_curve", curve)
    pd.testing.assert_frame_equal(run.require("learning_curve", "03_finetuning"), curve)
    assert sorted(p.name for p in run.tables.iterdir()) == [
        "items.parquet",
        "learning_curve.parquet",
    ]


def test_a_table_that_does_not_fit_its_schema_is_not_written(project: Path) -> None:
    run = Run.open("runs/quick")
    with pytest.raises(InputError, match="duplicate item_id '1'"):
        run.write("items", ITEMS.assign(item_id="1"))
    assert not run.table("items").exists()


def test_require_names_the_notebook_to_run(project: Path) -> None:
    with pytest.raises(InputError) as caught:
        Run.open("runs/quick").require("samples", made_by="01_preprocessing")
    assert str(caught.value) == (
        "runs/quick/tables/samples.parquet is missing: run notebook 01_preprocessing first "
        "(make book PROFILE=quick runs all of them in order)"
    )
    with pytest.raises(InputError, match="learning_curve.parquet: no such file"):
        Run.open("runs/quick").read("learning_curve")


def test_facts_merge(project: Path) -> None:
    run = Run.open("runs/quick")
    assert run.facts == {}
    run.record(profile="quick", seed=0)
    run.record(seed=1)
    assert run.facts == {"profile": "quick", "seed": 1}


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_broken_json_says_what_to_delete(tmp_path: Path, content: str) -> None:
    path = tmp_path / "steps.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"steps\.json .*delete it"):
        read_json(path)


def test_what_was_changed_or_damaged_says_how_it_is_made_anew(project: Path) -> None:
    run = Run.open("runs/quick")
    curve = pd.DataFrame({"step": [1, 2], "loss": [2.0, 1.5]})
    for name, frame in (("items", ITEMS), ("learning_curve", curve)):
        path = run.write(name, frame)
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 2
        for damage in (bytes(data), bytes(data[:200]), b"", b"PAR1"):
            path.write_bytes(damage)
            with pytest.raises(InputError, match=rf"runs/quick/tables/{name}.parquet"):
                run.read(name)
        path.unlink()
        path.mkdir()
        with pytest.raises(InputError, match="it is a folder, and a file is wanted"):
            run.read(name)
    pd.DataFrame(index=[0, 1]).to_parquet(run.table("empty"))
    with pytest.raises(InputError, match="empty.parquet has no columns: delete it"):
        run.read("empty")

    run.record(noun="film")
    path = run.path / "run.json"
    for text in (path.read_text().replace("film", "book"), path.read_text()[:-20], "[]"):
        path.write_text(text)
        with pytest.raises(InputError, match="run.json .*: delete it and steps.json beside it"):
            _ = run.facts
    path.unlink()
    with pytest.raises(InputError, match="run.json does not say 'noun': delete it"):
        run.facts["noun"]
    assert run.facts.get("noun") is None


def test_a_full_disk_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = Run.open("runs/quick")
    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", full)
        with pytest.raises(InputError, match="items.parquet: the disk is full: make room"):
            run.write("items", ITEMS)
    assert list(run.tables.iterdir()) == []
    run.write("items", ITEMS)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "loop/x"])
def test_a_run_dir_that_is_no_path(project: Path, name: str) -> None:
    Path("loop").symlink_to("loop")
    with pytest.raises(InputError, match="run_dir .* is no path"):
        Run.open(name)


def test_what_a_launcher_left_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    left = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "x", "PMI_SIZE": "2"}
    for name, value in (left | {"RANKING": "kept"}).items():
        monkeypatch.setenv(name, value)
    forget_launcher()
    assert not set(left) & set(os.environ) and os.environ["RANKING"] == "kept"


CHILD = "import time; from prism_utils.runs import end_with_parent; end_with_parent(); "
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.DEVNULL)
time.sleep(60)
"""


def test_a_process_ends_with_its_parent() -> None:
    code = CHILD + "print('begun', flush=True); time.sleep(60)"
    words = [sys.executable, "-c", PARENT, code]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "begun\n"
        start = time.monotonic()
        parent.kill()
        assert parent.stdout.read() == ""  # ends when the child has closed it too
        assert time.monotonic() - start < 20


def test_glue_writes_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[dict, dict]] = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, raw, metadata: shown.append((data, metadata))
    )
    glue("kappa", np.float32(0.25))
    glue("count", 3)
    glue("noun", "film")
    texts = [data["application/papermill.record/text/plain"] for data, _ in shown]
    assert texts == ["0.25", "3", "'film'"]
    assert shown[0][1]["scrapbook"]["name"] == "kappa"


def test_provenance_can_be_kept(tmp_path: Path) -> None:
    facts = device()
    assert facts["cpu"] and facts["cores"] == cores() >= 1
    json.dumps(facts)
    assert {"python", "torch", "pandas"} <= set(library_versions())
    assert commit(tmp_path) is None


def test_cores_are_counted_where_nobody_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    assert cores() == (os.cpu_count() or 1)
