"""Keep the README's figure: what chapter 3 of a run shows of teacher and student.

    .venv/bin/python tools/readme_figure.py runs/quick

It is the picture of the chapter's executed copy, so that README and book never differ.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]


def main(run: str) -> None:
    notebook = nbformat.read(Path(run) / "notebooks" / "03_finetuning.ipynb", as_version=4)
    pictures = [
        output["data"]["image/png"]
        for cell in notebook.cells
        if cell.cell_type == "code" and "grounding_bars" in cell.source
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    if len(pictures) != 1:
        sys.exit(f"{run}: chapter 3's figure is not there: run make book first")
    target = ROOT / "book" / "_static" / "grounding.png"
    target.write_bytes(base64.b64decode(pictures[0]))
    print(target.relative_to(ROOT))


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["runs/quick"])
