"""A run's folder: where it is, what its errors say, what is recorded and glued."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prism_utils.errors import InputError
from prism_utils.runs import Run, commit, device, glue, library_versions, project_root, read_json


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
    assert facts["cpu"] and facts["cores"] >= 1
    json.dumps(facts)
    assert {"python", "torch", "pandas"} <= set(library_versions())
    assert commit(tmp_path) is None
