"""The study on toy notebooks: order, names and types, what reruns, what a failure leaves."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from prism_utils import study
from prism_utils.errors import InputError
from prism_utils.files import read_json
from prism_utils.runs import Run
from prism_utils.study import book
from prism_utils.study.__main__ import main

NAMES = ["01_preprocessing", "02_distillation", "05_rouge_pitfall", "06_agreement"]
CODE = """
import sys
from prism_utils.runs import Run, glue
print("noi" + "se", file=sys.stderr)
run = Run.open(run_dir)
run.tables.mkdir(parents=True, exist_ok=True)
(run.tables / "{name}.txt").write_text(str(size))
glue("size", size)
"""
PARAMETERS = """
size: int = 10  # @param {type:"integer"}  at least 1: users
options: dict = {}  # @param {type:"raw"}  the teacher's own
rate: float = 0.3  # @param {type:"number"}  0 to 1: share
split: str = "random"  # @param {type:"string"}  random or temporal
fast: bool = False  # @param {type:"boolean"}  quickly
width: int = 8  # @param {type:"integer"}  multiples of 4: width
seed = 0
sizes: list = [1, 8]  # @param {type:"raw"}  at least 1: of batches
device: str = "cpu"  # @param ["cpu", "cuda"]  where
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, make_notebook, book_sources) -> Path:
    """A project of four toy notebooks that has been run once at its profile `toy`."""
    project = tmp_path_factory.mktemp("toy")
    for name in NAMES:
        parameters = PARAMETERS + ('data: str = ""  # @param' if name == NAMES[0] else "")
        make_notebook(
            project / "notebooks" / f"{name}.ipynb", CODE.format(name=name), name, parameters
        )
    (project / "profiles").mkdir()
    lines = "".join(f"  {name}: {{}}\n" for name in NAMES)
    (project / "profiles" / "toy.yml").write_text(f"description: Toys\nnotebooks:\n{lines}")
    book_sources(project)
    before = Path.cwd()
    os.chdir(project)
    try:
        study.run("toy")
    finally:
        os.chdir(before)
    return project


@pytest.fixture
def project(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `base` to change at will, and the working directory."""
    copy = tmp_path / "toy"
    shutil.copytree(base, copy)
    monkeypatch.chdir(copy)
    return copy


def edit(notebook: str, old: str, new: str) -> None:
    path = Path("notebooks") / f"{notebook}.ipynb"
    content = nbformat.read(path, as_version=4)
    for cell in content.cells:
        cell.source = cell.source.replace(old, new)
    nbformat.write(content, path)


def ran(capsys: pytest.CaptureFixture[str], **options) -> list[str]:
    """Run the profile again; the names of the notebooks that were really run."""
    capsys.readouterr()
    study.run("toy", **options)
    lines = capsys.readouterr().out.splitlines()
    return [line.split()[1] for line in lines if "done in" in line]


def test_nothing_reruns_when_nothing_changed(project, capsys) -> None:
    assert ran(capsys) == []
    assert json.loads(Path("runs/toy/run.json").read_text())["seeds"]["06_agreement"] == 0


def test_executed_copies_hold_values_and_no_absolute_path(project) -> None:
    copy = Path("runs/toy/notebooks/01_preprocessing.ipynb").read_text()
    assert 'run_dir = \\"runs/toy\\"' in copy
    assert str(project.parent) not in copy
    assert Path("runs/toy/tables/01_preprocessing.txt").read_text() == "10"


def test_a_changed_chapter_reruns_alone_and_a_changed_source_its_dependents(
    project, capsys
) -> None:
    edit("05_rouge_pitfall", "str(size)", "str(size + 1)")
    assert ran(capsys) == ["05_rouge_pitfall"]
    assert ran(capsys, settings=["02_distillation.size=4"]) == NAMES[1:]
    assert Path("runs/toy/tables/02_distillation.txt").read_text() == "4"


def test_edited_prose_is_merged_without_a_run(project, capsys) -> None:
    edit("05_rouge_pitfall", "The recap.", "A better recap.")
    assert ran(capsys) == []
    copy = nbformat.read("runs/toy/notebooks/05_rouge_pitfall.ipynb", as_version=4)
    assert copy.cells[-1].source == "A better recap."
    assert any(cell.get("outputs") for cell in copy.cells)
    tags = [cell.metadata.get("tags") for cell in copy.cells]
    assert tags.index(["injected-parameters"]) == tags.index(["parameters"]) + 1


def test_a_lost_table_is_made_again_with_what_follows(project, capsys) -> None:
    Path("runs/toy/tables/02_distillation.txt").unlink()
    assert ran(capsys) == NAMES[1:]


def test_a_chapter_that_shows_records_reruns_when_one_comes(project, capsys) -> None:
    """Named whole, or as a family."""
    edit("05_rouge_pitfall", "str(size)", 'str(size) or "efficiency-*.json"')
    edit("06_agreement", "str(size)", 'str(size) or "splits.json"')
    ran(capsys)
    records = Path("book/records")
    records.mkdir(parents=True, exist_ok=True)
    (records / "efficiency-some-gpu.json").write_text("{}")
    assert ran(capsys) == ["05_rouge_pitfall"]
    (records / "splits.json").write_text("{}")
    assert ran(capsys) == ["06_agreement"]


def test_only_runs_the_named_notebook(project, capsys) -> None:
    assert ran(capsys, only=["06_agreement"]) == ["06_agreement"]
    assert ran(capsys) == []


def test_data_folder_is_a_parameter_and_part_of_the_key(project, capsys) -> None:
    folder = project / "mine"
    folder.mkdir()
    (folder / "ratings.csv").write_text("a")
    assert ran(capsys, data=str(folder)) == NAMES
    facts = Run.open("runs/toy").facts
    assert facts["parameters"]["01_preprocessing"]["data"] == "mine"
    assert ran(capsys, data="mine") == []
    (folder / "ratings.csv").write_text("ab")
    assert ran(capsys, data="mine") == NAMES


def test_a_file_that_a_parameter_names_is_part_of_the_key_by_its_content(project, capsys) -> None:
    """Anywhere in it, wherever the file lies; the same content under a new date is the same."""
    told = project.parent / "told.jsonl"
    told.write_text("wrong")
    settings = [f"05_rouge_pitfall.options={{path: {told}, noun: book}}"]
    assert ran(capsys, settings=settings) == ["05_rouge_pitfall"]
    os.utime(told, (1, 1))
    Path("book/more.txt").write_text("a noun is no folder")
    assert ran(capsys, settings=settings) == []
    stat = told.stat()
    told.write_text("right")
    os.utime(told, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert ran(capsys, settings=settings) == ["05_rouge_pitfall"]


def test_what_a_shell_has_left_over_reaches_no_notebook(project, capsys, monkeypatch) -> None:
    """A plotting backend, ranks of a launcher, and a kernel called python3 that is gone."""
    spec = project.parent / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/nowhere/python"], "display_name": "x", "language": "x"}))
    for name, value in {
        "MPLBACKEND": "Agg", "WORLD_SIZE": "2", "JUPYTER_PATH": str(project.parent)
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    edit("06_agreement", "str(size)", "' '.join(map(str, __import__('os').environ))")
    assert ran(capsys) == ["06_agreement"]
    seen = Path("runs/toy/tables/06_agreement.txt").read_text().split()
    assert "WORLD_SIZE" not in seen and os.environ["JUPYTER_PATH"] == str(project.parent)
    figures = "import matplotlib.pyplot as plt; plt.plot([1]); plt.show(); str(size)"
    edit("06_agreement", "glue(", f"{figures}\nglue(")
    assert ran(capsys) == ["06_agreement"]
    assert "image/png" in Path("runs/toy/notebooks/06_agreement.ipynb").read_text()


def test_a_damaged_copy_is_made_again_and_a_damaged_ledger_named(project, capsys) -> None:
    copy = Path("runs/toy/notebooks/06_agreement.ipynb")
    whole = nbformat.read(copy, as_version=4)
    fewer = nbformat.from_dict(whole | {"cells": whole.cells[:2]})  # of the code that ran
    other = nbformat.writes(whole).replace("noise", "noisy")
    for damage in ("\xff", nbformat.writes(fewer), other):
        copy.write_text(damage, encoding="latin-1")
        assert ran(capsys) == ["06_agreement"], damage
    edit("06_agreement", "The recap.", "Another recap.")
    assert ran(capsys) == ran(capsys) == []
    Path("runs/toy/steps.json").write_text('{"06_agreement": 3}')
    with pytest.raises(InputError, match="runs/toy/steps.json: damaged: delete it"):
        study.run("toy")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 0", "%matplotlib inline", "parameters cell, line 7: not plain Python"),
        ("seed = 0", "seed = 2 * 3", "line 7: 'seed' is no literal: derive values in the next"),
    ],
)
def test_a_parameters_cell_that_cannot_be_read_is_named(project, old, new, message) -> None:
    edit("06_agreement", old, new)
    with pytest.raises(InputError, match=f"06_agreement.ipynb: .*{message}"):
        study.run("toy")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\xff", '{"cells": 3}'])
def test_a_notebook_that_is_none_is_named(project, content) -> None:
    Path("notebooks/06_agreement.ipynb").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match="06_agreement.ipynb: no"):
        study.run("toy")


def test_a_clone_may_lie_below_a_folder_called_build(project, tmp_path, monkeypatch) -> None:
    below = tmp_path / "_build" / "toy"
    shutil.copytree(project, below)
    monkeypatch.chdir(below)
    assert "book/intro.md" in book.contents(Run.open("runs/toy"), below)


def test_a_failure_says_where_and_keeps_the_rest(project, capsys) -> None:
    imports = "from prism_utils.errors import InputError"
    failing = 'raise InputError("ratings.csv: line 3: no rating")'
    edit("05_rouge_pitfall", "run = Run", f"{imports}\n{failing}\nrun = Run")
    edit("06_agreement", "str(size)", "str(1 / 0)")
    with pytest.raises(InputError) as caught:
        study.run("toy")
    assert str(caught.value) == (
        "notebook 05_rouge_pitfall stopped at In [3]: ratings.csv: line 3: no rating "
        "(the executed copy is runs/toy/notebooks/05_rouge_pitfall.ipynb)"
    )
    assert "no rating" in Path("runs/toy/notebooks/05_rouge_pitfall.ipynb").read_text()
    assert set(NAMES) - set(read_json("runs/toy/steps.json")) == {"05_rouge_pitfall"}
    with pytest.raises(InputError, match="05_rouge_pitfall did not finish: make book PROFILE=toy"):
        book.build(Run.open("runs/toy"))
    edit("05_rouge_pitfall", failing, "")
    with pytest.raises(InputError, match=r"06_agreement stopped at In \[3\]: ZeroDivisionError: "):
        study.run("toy")
    edit("06_agreement", "1 / 0", "1")
    assert ran(capsys) == ["06_agreement"]


def test_a_dead_kernel_is_one_sentence(project) -> None:
    edit("06_agreement", "glue(", "import os; os._exit(1)\nglue(")
    with pytest.raises(InputError, match="the kernel of notebook 06_agreement died"):
        study.run("toy")


def test_an_interrupted_run_continues(project, capsys) -> None:
    edit("02_distillation", "run = Run", "import time; time.sleep(60)\nrun = Run")
    command = [sys.executable, "-m", "prism_utils.study", "run", "--profile", "toy"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background may have handed down that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert "unchanged" in process.stdout.readline()
    copy = Path("runs/toy/notebooks/02_distillation.ipynb")
    while process.poll() is None and "time.sleep" not in copy.read_text():
        pass
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("interrupted; what was finished is kept")
    edit("02_distillation", "time.sleep(60)", "time.sleep(0)")
    assert ran(capsys) == NAMES[1:]


def test_two_runs_of_one_profile_do_not_collide(project) -> None:
    with Path("runs/toy/.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"runs/toy is in use by process \d+"):
            study.run("toy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "toyy"}, "unknown profile 'toyy': did you mean 'toy'?"),
        ({"only": ["06_agrement"]}, "--only 06_agrement: unknown notebook: did you mean"),
        ({"settings": ["6.size=1"]}, "--set 6.size=1: unknown notebook: choose one of"),
        ({"settings": ["06_agreement.sise=1"]}, "no parameter 'sise': did you mean 'size'?"),
        ({"settings": ["06_agreement.size=1.5"]}, "'size' must be int, found 1.5 (float)"),
        ({"settings": ["06_agreement.size=true"]}, "'size' must be int, found True (bool)"),
        ({"settings": ["06_agreement.rate=lots"]}, "'rate' must be float, found 'lots' (str)"),
        ({"settings": ["06_agreement.fast=1"]}, "'fast' must be bool, found 1 (int)"),
        ({"settings": ["06_agreement.seed=a"]}, "'seed' must be int, found 'a' (str)"),
        ({"settings": ["06_agreement.rate=[1"]}, "06_agreement.rate=[1, line 1: not valid YAML"),
        ({"settings": ["06_agreement.size=0"]}, "'size' must be at least 1, found 0"),
        ({"settings": ["06_agreement.rate=1.5"]}, "'rate' must lie between 0 and 1, found 1.5"),
        ({"settings": ["06_agreement.rate=.nan"]}, "'rate' must lie between 0 and 1, found nan"),
        ({"settings": ["06_agreement.width=33"]}, "'width' must be a multiple of 4, found 33"),
        ({"settings": ["06_agreement.width=-4"]}, "'width' must be a multiple of 4, found -4"),
        (
            {"settings": ["06_agreement.sizes=[8, 0]"]},
            "'sizes' must hold numbers that each",
        ),
        ({"settings": ["06_agreement.device=cdua"]}, "'device' 'cdua' is unknown: did you mean"),
        ({"settings": ["06_agreement.size=" + 400 * "9"]}, "'size' must lie between -2**63 and"),
        (
            {"settings": ["06_agreement.size={[a]: 1}"]},
            "06_agreement.size={[a]: 1}, line 1: not valid YAML",
        ),
        ({"settings": ["06_agreement.fast=!!bool maybe"]}, "not valid YAML"),
        ({"settings": ["06_agreement.seed=*a"]}, "write out what *stands* for"),
        (
            {"settings": ["06_agreement.run_dir=x"]},
            "run_dir is where the run lies: give --runs-dir",
        ),
        ({"settings": ["size"]}, "--set size: write it as 03_finetuning.steps=10"),
        ({"data": "nowhere"}, "--data nowhere: no such file or folder"),
    ],
)
def test_bad_input_stops_before_anything_runs(project, options, message, capsys) -> None:
    with pytest.raises(InputError) as caught:
        study.run(**{"profile": "toy"} | options)
    assert message in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notebooks: [", "profiles/bad.yml, line 1: not valid YAML"),
        ("description: x", "profiles/bad.yml: needs 'notebooks:'"),
        ("notebooks: {}\noflline: true", "unknown key 'oflline': did you mean 'offline'?"),
        ("notebooks: {}\noffline: maybe", "'offline' must be bool, found 'maybe'"),
        ("notebooks: {1_prep: {}}", "profiles/bad.yml: unknown notebook '1_prep'"),
        ("notebooks: {06_agreement: 3}", "'06_agreement' must map parameters to values"),
        ("notebooks: {06_agreement: {rat: 1}}", "has no parameter 'rat': did you mean 'rate'?"),
        ("notebooks: {06_agreement: {size: x}}", "'size' must be int, found 'x' (str)"),
        ("notebooks: {06_agreement: {size: -3}}", "'size' must be at least 1, found -3"),
        (
            "notebooks: {}\nnotebooks: {}",
            "bad.yml, line 2: not valid YAML ('notebooks' stands there",
        ),
        ("a: &a [x, x]\nnotebooks: {b: [*a, *a]}", "line 2: not valid YAML (write out what"),
        ("notebooks: " + 2000 * "[", "profiles/bad.yml: not valid YAML"),
        ("notebooks: {}\ndescription: 2001-99-99", "bad.yml: not valid YAML (month must be in"),
        ("notebooks: {06_agreement: {run_dir: x}}", "run_dir is where the run lies"),
        ("notebooks: !!python/object/apply:os.getcwd []", "bad.yml, line 1: not valid YAML"),
    ],
)
def test_a_bad_profile_is_named_with_its_fault(project, text, message) -> None:
    Path("profiles/bad.yml").write_text(text)
    with pytest.raises(InputError) as caught:
        study.run("bad")
    assert message in str(caught.value)


def test_values_take_the_type_of_their_parameter(project) -> None:
    settings = ["06_agreement.rate=1e-4", "06_agreement.split=10", "06_agreement.fast=true"]
    steps, _ = study.plan("toy", "runs/toy", settings=settings)
    assert steps[-1].values == {
        "rate": 0.0001,
        "split": "10",
        "fast": True,
        "run_dir": "runs/toy",
    }


def test_command_line_prints_one_sentence(project) -> None:
    command = [sys.executable, "-m", "prism_utils.study", "run", "--profile", "quik"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        "error: unknown profile 'quik': choose one of: toy\n",
    )


def test_prepare_runs_what_a_notebook_needs_and_no_more(project, capsys) -> None:
    shutil.copy("profiles/toy.yml", "profiles/quick.yml")
    study.prepare("05_rouge_pitfall", "runs/other")
    executed = sorted(p.stem for p in Path("runs/other/notebooks").iterdir())
    assert executed == ["01_preprocessing", "02_distillation"]
    capsys.readouterr()
    study.prepare("05_rouge_pitfall", "runs/other")
    assert "done in" not in capsys.readouterr().out
    with pytest.raises(InputError, match="unknown notebook '05_rouge': did you mean"):
        study.prepare("05_rouge")


def test_list_shows_profiles_and_parameters(project, capsys) -> None:
    main(["list"])
    out = capsys.readouterr().out
    assert "toy: Toys" in out
    assert "  rate: float = 0.3" in out


def test_the_book_of_a_run(project, capsys) -> None:
    run = Run.open("runs/toy")
    index = book.build(run)
    assert "built in" in capsys.readouterr().out
    page = (index.parent / "notebooks" / "05_rouge_pitfall.html").read_text()
    assert "noise" not in page
    front = (index.parent / "book" / "intro.html").read_text()
    assert "Toys" in front and "06_agreement.html" in front and "04_efficiency" not in front
    book.build(run)
    assert "unchanged" in capsys.readouterr().out

    edit("05_rouge_pitfall", "The recap.", "See {ref}`nowhere`.")
    study.run("toy")
    for _ in range(2):  # a second build must not take the failed one's pages for good
        with pytest.raises(InputError, match=r"did not build: 1 warnings, all in runs/toy/book"):
            book.build(run)
    assert "nowhere" in capsys.readouterr().out


def test_a_book_needs_a_clone_and_a_run(project) -> None:
    with pytest.raises(InputError, match="holds no executed notebooks: make book PROFILE=none"):
        book.build(Run.open("runs/none"))
    Path("_toc.yml").unlink()
    with pytest.raises(InputError, match="no _toc.yml here"):
        book.build(Run.open("runs/toy"))
