"""The notebooks themselves at tiny sizes: run, built, rerun, and on a hosted machine."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from prism_utils.files import read_json
from prism_utils.human_eval.design import Study
from prism_utils.human_eval.simulation import DIMENSIONS
from prism_utils.runs import Run

ROOT = Path(__file__).resolve().parents[1]
NAMES = [p.stem for p in sorted((ROOT / "notebooks").glob("*.ipynb"))]


def command(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Run a command; its output is the message of a failure."""
    done = subprocess.run(arguments, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def study(*arguments: str, cwd: Path = ROOT) -> str:
    return command(sys.executable, "-m", "prism_utils.study", *arguments, cwd=cwd).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a clone holds, to run and edit without touching this checkout."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("notebooks", "profiles", "book"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("_config.yml", "_toc.yml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def tiny(project: Path) -> Path:
    """The whole study at profile `tiny`, with its book: the run's folder."""
    study("book", "--profile", "tiny", cwd=project)
    return project / "runs" / "tiny"


def test_every_chapter_ran_and_left_its_tables(tiny: Path) -> None:
    assert list(read_json(tiny / "steps.json")) == NAMES
    run = Run.open(tiny)
    samples, explanations = run.read("samples"), run.read("explanations")
    assert set(samples["split"]) == {"train", "test"}
    assert set(explanations["sample_id"]) <= set(samples["sample_id"])
    assert explanations["system"].nunique() >= 2  # the teacher and a student
    assert run.facts["profile"] == "tiny"
    assert run.facts["versions"]["torch"]


@pytest.mark.parametrize("name", NAMES)
def test_executed_chapter_is_fit_for_print(tiny: Path, name: str) -> None:
    notebook = nbformat.read(tiny / "notebooks" / f"{name}.ipynb", as_version=4)
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    shown = [o for o in outputs if o.get("name") != "stderr"]
    kinds = {kind for o in shown for kind in o.get("data", {})}
    assert "image/png" in kinds or "image/svg+xml" in kinds, "no figure"
    assert "application/vnd.jupyter.widget-view+json" not in kinds, "a widget freezes in print"
    text = json.dumps(shown)
    for place in {str(tiny.parents[1]), str(ROOT), str(Path.home()), sys.prefix}:
        assert len(place) < 4 or place not in text, f"{name} shows {place}"


def test_pages_load_nothing_from_a_network(tiny: Path) -> None:
    html = tiny / "book" / "_build" / "html"
    pages = list(html.rglob("*.html"))
    assert len(pages) > len(NAMES)
    loads = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(?:https?:)?//[^\"]*\"")
    links = re.compile(r"<link\b[^>]*\bhref=\"(?:https?:)?//[^\"]*\"")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        found = loads.findall(text) + [t for t in links.findall(text) if "canonical" not in t]
        assert not found, f"{page.relative_to(html)}: {found[0]}"
    sheets = [
        p for p in html.rglob("*.css") if re.search(r"url\(['\"]?(https?:)?//", p.read_text())
    ]
    assert not sheets
    assert any("mathjax/tex-chtml-full.js" in p.read_text(encoding="utf-8") for p in pages)


def test_front_page_states_the_run(tiny: Path) -> None:
    front = (tiny / "book" / "_build" / "html" / "book" / "intro.html").read_text(encoding="utf-8")
    facts = Run.open(tiny).facts
    for fact in (facts["date"], facts["device"]["cpu"], facts["versions"]["transformers"]):
        assert fact in front
    for name in NAMES:
        assert f"notebooks/{name}.html" in front


def test_glued_numbers_reach_the_pages(tiny: Path) -> None:
    cited = 0
    for name in NAMES:
        notebook = nbformat.read(tiny / "notebooks" / f"{name}.ipynb", as_version=4)
        prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
        cited += len(re.findall(r"\{glue:", prose))
        assert "{glue:" in prose, f"{name} cites no number of the run"
    assert cited >= len(NAMES)


def test_nothing_reruns_and_prose_is_merged(tiny: Path, project: Path) -> None:
    again = study("book", "--profile", "tiny", cwd=project)
    assert again.count("unchanged") == len(NAMES) + 1
    source = project / "notebooks" / "05_rouge_pitfall.ipynb"
    notebook = nbformat.read(source, as_version=4)
    notebook.cells[-1].source += "\n\nOne more remark."
    nbformat.write(notebook, source)
    edited = study("book", "--profile", "tiny", cwd=project)
    assert "done in" not in edited and "prose updated" in edited
    page = tiny / "book" / "_build" / "html" / "notebooks" / "05_rouge_pitfall.html"
    assert "One more remark." in page.read_text(encoding="utf-8")


def readme(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", text)


@pytest.mark.parametrize(
    "line",
    [li for block in readme("sh") for li in block.splitlines() if li.startswith(".venv/bin/")],
)
def test_readme_command_runs(tiny: Path, project: Path, line: str) -> None:
    """At profile tiny; make's own targets are run by .ci/run and checked in test_house."""
    line = line.replace("runs/quick", "runs/tiny").replace("--profile quick", "--profile tiny")
    told = Run.open(tiny).read("explanations")
    held_out = told[told["sample_id"].isin(told.loc[told["system"] == "prism", "sample_id"])]
    for name, system in (("texts", "prism"), ("golden", "grammar")):
        texts = held_out.loc[held_out["system"] == system, ["sample_id", "text"]]
        texts.to_json(project / f"{name}.jsonl", orient="records", lines=True)
    if "human_eval collect" in line:  # what the raters of the lines before would have sent back
        study = Study.load(project / "study" / "key.json")
        (project / "study" / "answers").mkdir()
        for rater_id in study.raters:
            answers = study.of(rater_id)[["rater_id", "number", "code"]]
            answers = answers.assign(
                study=study.name, skipped="", seconds=1, **dict.fromkeys(DIMENSIONS, 3)
            )
            answers.to_csv(project / "study" / "answers" / f"{rater_id}.csv", index=False)
    program, *arguments = shlex.split(line)
    modules = {"papermill": ["-m", "papermill"], "accelerate": ["-m", "accelerate.commands.launch"]}
    module = modules.get(Path(program).name, [])
    if arguments[0] == "launch":
        arguments = arguments[1:]
    command(sys.executable, *module, *arguments, cwd=project)


@pytest.mark.parametrize("block", readme("python"))
def test_readme_python_runs(tiny: Path, project: Path, block: str) -> None:
    command(sys.executable, "-c", block.replace("runs/quick", "runs/tiny"), cwd=project)
