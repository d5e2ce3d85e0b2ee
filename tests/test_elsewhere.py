"""The study on somebody's own files, and a chapter alone on a machine without the repository.

A file of its own, so that it runs beside `test_notebooks`, whose run it does not need.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml
from test_notebooks import ROOT, command, project, study

from prism_utils.runs import Run

__all__ = ["project"]  # a fixture


@pytest.fixture(scope="module")
def bookshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's own data: two CSV files about books, no times, no ratings, no years."""
    folder = tmp_path_factory.mktemp("bookshop")
    authors, genres = ("Ann Ames", "Bo Byrd", "Cy Cole"), ("Poetry", "Crime", "Travel", "Memoir")
    books = [f"b{n},The Book of {n},{authors[n % 3]},{genres[n % 4]}" for n in range(24)]
    (folder / "items.csv").write_text("\n".join(["item_id,title,author,genre", *books]))
    bought = [f"reader{u},b{(5 * u + 7 * n) % 24}" for u in range(15) for n in range(8)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id", *bought]))
    return folder


def test_the_study_runs_on_somebodys_own_files(bookshop: Path, project: Path) -> None:
    small = yaml.safe_load((ROOT / "profiles" / "tiny.yml").read_text())["notebooks"]
    for name in ("01_preprocessing", "02_distillation"):  # its own files, its own sizes
        del small[name]
    settings = [
        f"{name}.{key}={value if isinstance(value, str) else json.dumps(value)}"
        for name, values in small.items()
        for key, value in (
            values | {"comparison_steps": 0} if name == "03_finetuning" else values
        ).items()
    ]
    settings.append('01_preprocessing.corpus_options={"noun": "book"}')
    options = [word for setting in settings for word in ("--set", setting)]
    study("book", "--profile", "custom", "--data", str(bookshop), *options, cwd=project)
    run = Run.open(project / "runs" / "custom")
    assert run.facts["noun"] == "book" and set(run.read("items").columns) >= {"author", "genre"}
    texts = " ".join(run.read("explanations").query("system == 'grammar'")["text"])
    assert "by Ann Ames" in texts
    assert "The Book of 7" in texts and " read " in texts and "film" not in texts
    page = (run.path / "book/_build/html/notebooks/02_distillation.html").read_text()
    assert "User&#39;s book reading history" in page or "User's book reading history" in page
    assert str(bookshop) not in page


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Python that has every dependency but not this package, and the package's own wheel."""
    folder = tmp_path_factory.mktemp("hosted")
    build = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    command(sys.executable, "-m", *build, str(ROOT))
    venv.create(folder / "python", symlinks=True)
    scheme = sysconfig.get_path("purelib", vars={"base": str(folder / "python")})
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        ours = "prism_utils" in entry.name
        if not ours and entry.name != "__pycache__":
            (Path(scheme) / entry.name).symlink_to(entry)
    return folder / "python" / "bin" / "python", next(folder.glob("*.whl"))


def test_a_chapter_alone_on_a_hosted_machine(hosted: tuple[Path, Path], tmp_path: Path) -> None:
    """An empty folder, no clone: the set-up cell installs the package and runs predecessors."""
    python, wheel = hosted
    shutil.copy(ROOT / "notebooks" / "05_rouge_pitfall.ipynb", tmp_path / "chapter.ipynb")
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment = kept | {
        "COLAB_RELEASE_TAG": "test",
        "PRISM_PACKAGE": str(wheel),
        "PIP_NO_INDEX": "1",
    }
    options = ["-k", "python3", "-p", "run_dir", "runs/tiny", "--no-progress-bar"]
    command(
        str(python), "-m", "papermill", "chapter.ipynb", "out.ipynb", *options,
        cwd=tmp_path, env=environment,
    )  # fmt: skip
    made = sorted(p.stem for p in (tmp_path / "runs" / "tiny" / "notebooks").iterdir())
    assert made == ["01_preprocessing", "02_distillation", "03_finetuning", "03b_baselines"]
    code = "import prism_utils; print(prism_utils.__file__)"
    where = command(str(python), "-c", code, cwd=tmp_path, env=kept)
    assert where.stdout.startswith(str(python.parents[1]))
