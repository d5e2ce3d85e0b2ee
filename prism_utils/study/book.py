"""The book of one run: a staged copy of `book/` and the executed notebooks, built to HTML.

What the front page and the findings state is generated here from `claims`, `findings`, `run.json`.
Left out on purpose: executing anything. Pages need no network: MathJax and the Colab badge are
local files, and an unchanged staged copy is not built again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import yaml

from .. import claims
from ..claims import findings, paper
from ..claims.verdicts import VERDICTS
from ..errors import InputError
from ..runs import Run, escaped, project_root
from .profile import read_text, read_yaml
from .steps import ledger, read_copy

COLAB_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"


def chapters(toc: Any, have: set[str]) -> Any:
    """A table of contents without the files that are not in `have`.

    >>> chapters({"root": "a", "chapters": [{"file": "b"}, {"file": "c"}]}, {"a", "c"})
    {'root': 'a', 'chapters': [{'file': 'c'}]}
    """
    if isinstance(toc, dict):
        return {key: chapters(value, have) for key, value in toc.items()}
    if isinstance(toc, list):
        named = [e.get("file") if isinstance(e, dict) else None for e in toc]
        kept = [e for e, name in zip(toc, named, strict=True) if name is None or str(name) in have]
        return [chapters(entry, have) for entry in kept]
    return toc


def page(source: Path, last: dict[str, Any]) -> nbformat.NotebookNode:
    """An executed notebook as the book shows it: no stderr, badge from a local file."""
    notebook = read_copy(source, last)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace(COLAB_BADGE, "../book/_static/colab.svg")
        elif cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return notebook


def labels(notebook: nbformat.NotebookNode) -> set[str]:
    """The MyST labels, `(name)=` on a line of its own, that a page's prose sets."""
    prose = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    return set(re.findall(r"(?m)^\(([\w-]+)\)=\s*$", "\n".join(prose)))


def _reference(text: str, target: str) -> str:
    """A link to a label; what would end a role's text, or a table's cell, is left out of it."""
    return f"{{ref}}`{re.sub('[`<>|]', ' ', text)} <{target}>`"


def claims_table(judged: pd.DataFrame, known: set[str]) -> str:
    """`claims.judge`'s frame as a Markdown table; a verdict links to its evidence.

    `known`: the labels of this book. Evidence in a chapter that it lacks is linked to the claim's
    own entry, and without that page to nothing.
    """
    counts = {v: int(judged["verdict"].str.startswith(v).sum()) for v in VERDICTS}
    told = "; ".join(f"{v.partition(':')[0]} {count}" for v, count in counts.items() if count)
    reasons = any(label.startswith("claim-") for label in known)
    told += ". The reason for each: [claims, one by one](claims.md)" if reasons else ""
    lines = [f"{len(judged)} claims: {told}.", ""]
    lines += ["::::{div} full-width", ":::{table}", ":widths: 30 15 30 25", ""]
    lines += ["| the paper claims that | printed | measured, on | verdict |", "|---|---|---|---|"]
    group = ""
    for row in judged.to_dict("records"):
        claim = paper.CLAIMS[row["name"]]
        part = "text" if not claim.place.startswith("abstract") else "abstract"
        part = "loose ends of the print" if claim.loose_end else part
        if part != group:
            lines.append(f"| **{part}** | | | |")
            group = part
        targets = (row["evidence"].partition("#")[2], f"claim-{claim.name}")
        target = next((t for t in targets if t in known), None)
        verdict = _reference(row["verdict"], target) if target else escaped(row["verdict"])
        first, more, _ = row["published"].partition("; ")
        measured = f"{escaped(row['measured'])} (*{escaped(row['on'])}*)" if row["measured"] else ""
        cells = (escaped(row["claim"]), escaped(first) + (" …" if more else ""), measured, verdict)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ":::", "::::"]) + "\n"


def claim_entries(judged: pd.DataFrame, known: set[str]) -> str:
    """Each claim with its place, its reason and, where the print alone decides, its computation."""
    entries = []
    for row in judged.map(str).to_dict("records"):
        chapter, _, target = row["evidence"].partition("#")
        name = row["name"]
        row = {key: escaped(value) for key, value in row.items()}
        entry = f"(claim-{name})=\n**{row['claim']}**\n: *{row['place']}.*"
        for said, key in (("Printed", "published"), ("Measured", "measured"), ("On", "on")):
            entry += f" {said}: {row[key]}." if row[key] else ""
        entry += f" Verdict: **{row['verdict']}**. {row['why']}"
        if target in known and chapter != claims.CLAIMS_PAGE:
            entry += f" Evidence: {_reference(chapter, target)}."
        if chapter == claims.CLAIMS_PAGE and row["measured"]:
            source = inspect.getsource(claims.computation(name)).strip()
            entry += f"\n\n:::{{dropdown}} The computation\n```python\n{source}\n```\n:::"
        entries.append(entry)
    return "\n\n".join(entries) + "\n"


def findings_list(found: list[findings.Finding], known: set[str]) -> str:
    """The findings as sections: question, answer, what it was run on, limits, evidence."""
    sections = []
    for each in found:
        question, answer, limits, on = map(
            escaped, (each.question, each.answer, each.limits, each.on)
        )
        text = f"## {question}\n{answer}\n\n*{on}.* {limits}"
        target = each.label if each.label in known else f"evidence-{each.label}"
        if target in known:
            text += f" Evidence: {_reference(each.chapter, target)}."
        sections.append(text)
    return "\n\n".join(sections) + "\n"


def run_table(facts: dict[str, Any], steps: dict[str, Any]) -> str:
    """What this run is, as a Markdown table, from `run.json` and `steps.json`."""
    device = facts.get("device", {})
    machine = f"{device.get('cpu', 'unknown processor')}, {device.get('cores', '?')} cores"
    if "memory_gib" in device:
        machine += f", {device['memory_gib']} GiB of memory"
    if "gpu" in device:
        machine += f", {device['gpu']}"
    seeds = sorted({str(seed) for seed in facts.get("seeds", {}).values()})
    minutes, seconds = divmod(round(sum(step["seconds"] for step in steps.values())), 60)
    rows = {
        "profile": f"{facts.get('profile', '?')}: {facts.get('description', '')}",
        "date": facts.get("date", "unknown"),
        "commit": facts.get("commit") or "none (not run from a repository)",
        "device": machine,
        "seeds": ", ".join(seeds) or "none",
        "time": f"{minutes} min {seconds} s for {len(steps)} notebooks",
        "versions": ", ".join(f"{k} {v}" for k, v in facts.get("versions", {}).items()),
    }
    lines = (f"| {name} | {escaped(value)} |" for name, value in rows.items())
    return "\n".join(["| | |", "|---|---|", *lines]) + "\n"


def chapter_list(pages: dict[str, nbformat.NotebookNode]) -> str:
    """Links to the chapters with the question that each opens with."""
    lines = []
    for name, notebook in pages.items():
        first = next((c.source for c in notebook.cells if c.cell_type == "markdown"), "")
        title, *rest = [p.strip() for p in first.split("\n\n") if p.strip()] or [name]
        question = next((p for p in rest if not p.startswith(("[!", "```", "#"))), "")
        text = " ".join(question.replace("**", "").split())
        asked = text[: text.find("?") + 1] or text
        lines.append(f"- [{title.lstrip('# ')}](../notebooks/{name}.ipynb). {asked}")
    return "\n".join(lines) + "\n"


def contents(run: Run, root: Path) -> dict[str, bytes]:
    """Every file of the staged copy: relative path -> bytes."""
    for needed in ("_config.yml", "_toc.yml", "book"):
        if not (root / needed).exists():
            raise InputError(
                f"no {needed} here: the book is built inside a clone of the repository"
            )
    executed = sorted((run.path / "notebooks").glob("*.ipynb"))
    if not executed:
        raise InputError(
            f"{run.path} holds no executed notebooks: "
            f"make book PROFILE={run.path.resolve().name} makes them"
        )
    steps = ledger(run)
    unfinished = sorted({path.stem for path in executed} - set(steps))
    if unfinished:
        raise InputError(
            f"{run.path}: {unfinished[0]} did not finish: "
            f"make book PROFILE={run.path.resolve().name} continues"
        )
    pages = {path.stem: page(path, steps[path.stem]) for path in executed}

    staged = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / "book").rglob("*"))
        if path.is_file() and "_build" not in path.relative_to(root).parts
    }
    staged |= {
        f"notebooks/{name}.ipynb": (nbformat.writes(node) + "\n").encode()
        for name, node in pages.items()
    }
    have = {str(Path(name).with_suffix("")) for name in staged}
    texts = {name: read_text(root / name, name) for name in ("_toc.yml", "_config.yml")}
    read = {name: read_yaml(text, name) for name, text in texts.items()}
    for name, value in read.items():
        if not isinstance(value, dict):
            raise InputError(f"{name}: must map names to values: take it from the repository")
    toc = read["_toc.yml"]
    listed = yaml.safe_dump(toc)
    judged = claims.judge(run, root / "book" / "records")
    found = findings.findings(run, root / "book" / "records")
    known = {
        label
        for name, node in pages.items()
        if f"notebooks/{name}\n" in listed
        for label in labels(node)
    }
    if "book/claims\n" in listed:
        known |= {f"claim-{name}" for name in judged["name"]}
    generated = {
        "_toc.yml": yaml.safe_dump(chapters(toc, have), sort_keys=False),
        "_config.yml": texts["_config.yml"],
        "book/_generated/claims.md": claims_table(judged, known),
        "book/_generated/claim_entries.md": claim_entries(judged, known),
        "book/_generated/findings.md": findings_list(found, known),
        "book/_generated/run.md": run_table(run.facts, steps),
        "book/_generated/chapters.md": chapter_list(pages),
    }
    return staged | {name: text.encode(errors="replace") for name, text in generated.items()}


def build(run: Run) -> Path:
    """Build the book of `run` (a warning is an error) and print where to open it."""
    if importlib.util.find_spec("jupyter_book") is None:
        raise InputError("jupyter-book is not installed: pip install 'prism-utils[book]'")
    staged = contents(run, project_root())
    digest = hashlib.sha256()
    for name, data in sorted(staged.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    built = digest.hexdigest().encode()
    folder = run.path / "book"
    index = folder / "_build" / "html" / "index.html"
    stamp = folder / "built.txt"
    if index.is_file() and stamp.is_file() and stamp.read_bytes() == built:
        print("book … unchanged")
    else:
        print("book … ", end="", flush=True)
        start = time.perf_counter()
        stamp.unlink(missing_ok=True)
        stage(staged, folder / "source")
        render(folder)
        stamp.write_bytes(built)
        print(f"built in {time.perf_counter() - start:.0f} s")
    print(f"open {index}  ({index.resolve().as_uri()})")
    return index


def stage(staged: dict[str, bytes], source: Path) -> None:
    """Make `source` hold exactly the staged files; unchanged ones keep their time of change."""
    for path in [p for p in source.rglob("*") if p.is_file()]:
        if path.relative_to(source).as_posix() not in staged:
            path.unlink()
    for name, data in staged.items():
        path = source / name
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def render(folder: Path) -> None:
    """Run jupyter-book over `folder/source`; its whole output is kept in `folder/build.log`."""
    program = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    options = ["-W", "-n", "--keep-going", "--path-output", "."]
    done = subprocess.run(
        [sys.executable, "-c", program, "build", "source", *options],
        cwd=folder, env=os.environ | {"NO_COLOR": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    log = folder / "build.log"
    log.write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        # A failed build leaves pages that the next one would take for good ones.
        shutil.rmtree(folder / "_build", ignore_errors=True)
        lines = done.stdout.splitlines()
        told = [line.replace(f"{folder.resolve()}/", "") for line in lines if "WARNING:" in line]
        print("failed", *told[:20], sep="\n")
        raise InputError(f"the book did not build: {len(told)} warnings, all in {log}")
