"""Fixtures that several rooms share: real data, and toy projects for the tests of the study."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]

# Read when torch is loaded: spinning threads make the suite many times slower beside other work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Kernels and subprocesses started in another folder find the package of this checkout.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: PRISM_SHARED_DATA, or shared/data beside the checkout."""
    given = os.environ.get("PRISM_SHARED_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data is not here: set PRISM_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def save_student() -> Callable[..., Path]:
    """`save_student(folder, items, settings, …)` saves an untrained student as `finetune` does.

    Its users' vectors are large, so that its texts differ by user.
    """

    def save(
        folder: Path,
        items: pd.DataFrame,
        settings: Any,
        *,
        whole_titles: bool = False,
        **model: Any,
    ) -> Path:
        import torch

        from prism_utils.students.inputs import UserTable
        from prism_utils.students.prism import from_scratch
        from prism_utils.students.vocabulary import train_tokenizer

        titles = items["title"].tolist()
        text = "history: {} ; explain: {} You liked it, so here is more of the same."
        tokenizer = train_tokenizer(
            [text.format(a, b) for a in titles for b in titles],
            whole_titles=titles if whole_titles else (),
        )
        shape = {"d_model": 32, "layers": 1, "heads": 2, "max_positions": 40}
        student = from_scratch(tokenizer, 2, **shape | model)
        with torch.no_grad():
            student.model.encoder.user_embeddings.weight[1:].normal_(0, 3)
        student.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        UserTable(["ann", "bob"]).save(folder)
        settings.save(folder)
        items.to_parquet(folder / "items.parquet", index=False)
        return folder

    return save


MakeNotebook = Callable[..., Path]


@pytest.fixture(scope="session")
def make_notebook() -> MakeNotebook:
    """`make_notebook(path, code, title=…, parameters=…)` writes a source notebook."""

    def make(path: Path, code: str, title: str = "A chapter", parameters: str = "") -> Path:
        cell = nbformat.v4
        lines = f'{parameters}\nrun_dir: str = "runs/quick"  # @param {{type:"string"}}  a folder'
        badge = "https://colab.research.google.com/assets/colab-badge.svg"
        notebook = cell.new_notebook(
            cells=[
                cell.new_markdown_cell(f"# {title}\n\nWhat is asked here?\n\n![Open]({badge})"),
                cell.new_code_cell(lines.strip(), metadata={"tags": ["parameters"]}),
                cell.new_code_cell(code),
                cell.new_markdown_cell("The recap."),
            ],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        for number, each in enumerate(notebook.cells):
            each["id"] = f"cell-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        return path

    return make


@pytest.fixture(scope="session")
def book_sources() -> Callable[[Path], None]:
    """Copies the book's own sources (configuration, front page, static files) to a project."""

    def copy(project: Path) -> None:
        for name in ("_config.yml", "_toc.yml"):
            shutil.copy(ROOT / name, project / name)
        shutil.copytree(ROOT / "book", project / "book")

    return copy


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of an installed Chromium; without one the tests skip, but in CI they fail."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None or importlib.util.find_spec("playwright") is None:
        missing = "Chromium (Debian: apt install chromium) or the package playwright is not here"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found
