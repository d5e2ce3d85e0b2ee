"""A run's folder: its tables, its provenance, and numbers glued into the book.

A run is `runs/<profile>/` with `tables/*.parquet`, checkpoints, executed notebooks and `run.json`.
Left out on purpose: executing notebooks (`study` does) and any knowledge of models. Paths are kept
relative, so that executed notebooks and book pages never show where on a machine they were made.
"""

from __future__ import annotations

import html
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from . import __version__
from .errors import InputError
from .tables import SCHEMAS, read_table, write_table

# The libraries whose version can change a result; also part of a step's key in `study`.
LIBRARIES = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy", "pandas",
             "scipy", "statsmodels", "scikit-learn", "duckdb", "rouge-score", "sacrebleu",
             "bert-score")  # fmt: skip


def project_root() -> Path:
    """The nearest folder, from the working directory upwards, that holds `profiles/`; else here."""
    here = Path.cwd().resolve()
    return next((d for d in (here, *here.parents) if (d / "profiles").is_dir()), here)


def home() -> Path:
    """The folder of `notebooks/` and `profiles/`: this checkout, else those inside the package."""
    package = Path(__file__).resolve().parent
    for folder in (project_root(), package.parent, package / "_study"):
        if (folder / "profiles").is_dir() and (folder / "notebooks").is_dir():
            return folder
    raise InputError("no notebooks/ and profiles/ found: run this inside a clone of the repository")


def write_text(text: str, path: Path) -> None:
    """Write a text file atomically: a reader sees the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_json(value: Any, path: Path) -> None:
    """Write JSON atomically: an interrupted run leaves the old file, never half a new one."""
    write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing file is an empty one, a broken file an `InputError`."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not readable JSON ({error}): delete it") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a JSON object: delete it")
    return value


@dataclass(frozen=True)
class Run:
    """One run's folder. `path` is relative to the working directory.

    >>> run = Run.open("runs/quick")
    >>> run.tables.name
    'tables'
    """

    path: Path

    @classmethod
    def open(cls, run_dir: str | Path) -> Run:
        """The run at `run_dir`; a relative one counts from the project root (`project_root`)."""
        absolute = (project_root() / run_dir).resolve()
        if absolute.exists() and not absolute.is_dir():
            raise InputError(f"run_dir '{run_dir}' is a file; give a folder such as runs/quick")
        return cls(Path(os.path.relpath(absolute, Path.cwd().resolve())))

    @property
    def tables(self) -> Path:
        """The folder of this run's Parquet tables."""
        return self.path / "tables"

    def table(self, name: str) -> Path:
        """Where the table `name` is kept."""
        return self.tables / f"{name}.parquet"

    def read(self, name: str) -> pd.DataFrame:
        """Read a table; one with a schema in `tables` is checked against it."""
        path = self.table(name)
        if name in SCHEMAS:
            return read_table(path, name)
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        return pd.read_parquet(path)

    def write(self, name: str, frame: pd.DataFrame) -> Path:
        """Write a table atomically; one with a schema in `tables` is checked against it first."""
        path = self.table(name)
        if name in SCHEMAS:
            return write_table(frame, path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        frame.to_parquet(partial, index=False)
        partial.replace(path)
        return path

    def add(self, name: str, frame: pd.DataFrame) -> Path:
        """Put systems' rows into a table that has a `system` column, in the place of older ones.

        So a notebook that is run again replaces its own systems' rows and no others.
        """
        if self.table(name).is_file():
            there = self.read(name)
            others = there[~there["system"].isin(frame["system"].unique())]
            frame = pd.concat([others, frame], ignore_index=True) if len(others) else frame
        return self.write(name, frame)

    def require(self, name: str, made_by: str) -> pd.DataFrame:
        """Read a table that the notebook `made_by` makes; the error says to run that one first."""
        self.require_path(name, made_by)
        return self.read(name)

    def require_path(self, name: str, made_by: str) -> Path:
        """As `require`, for a table that is too large to be read whole: where it is kept."""
        if not self.table(name).is_file():
            raise InputError(
                f"{self.table(name)} is missing: run notebook {made_by} first "
                f"(make book PROFILE={self.path.resolve().name} runs all of them in order)"
            )
        return self.table(name)

    @property
    def facts(self) -> dict[str, Any]:
        """What is known about this run: the content of `run.json`."""
        return read_json(self.path / "run.json")

    def record(self, **facts: Any) -> None:
        """Merge facts (JSON values) into `run.json`; a key given again is replaced."""
        write_json(self.facts | facts, self.path / "run.json")


def glue(name: str, value: float | int | str) -> None:
    """Show a number or a word to the book: prose cites it as {glue:text}`name:.3f`.

    Writes myst-nb's output format (a display under a `papermill.record` type) without importing
    myst-nb. NumPy scalars become plain Python numbers, since formatted citations need those.
    """
    from IPython.display import display

    plain = value if isinstance(value, str | int) else float(value)
    prefix = "application/papermill.record/"
    display(  # type: ignore[no-untyped-call]
        {f"{prefix}text/plain": repr(plain)},
        raw=True,
        metadata={"scrapbook": {"name": name, "mime_prefix": prefix}},
    )


def escaped(text: object) -> str:
    """Text from data as a chapter's Markdown shows it to the letter: no HTML, no Markdown.

    >>> escaped("<b> *x*")
    '&lt;b&gt; \\\\*x\\\\*'
    """
    words = " ".join(html.escape(str(text), quote=False).split())
    return re.sub(r"([\\`*_{}\[\]#|$~^])", r"\\\1", words)


def library_versions() -> dict[str, str]:
    """Versions of Python, of this package and of the installed `LIBRARIES`."""
    versions = {"python": platform.python_version(), "prism-utils": __version__}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def commit(folder: Path) -> str | None:
    """`git describe` of `folder` with a `-dirty` mark; None outside a repository with commits."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=folder, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def cores() -> int:
    """How many cores this process may use; Linux alone knows what containers and taskset leave."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device() -> dict[str, Any]:
    """The machine: processor, cores this process may use, memory in GiB, GPU if there is one."""
    facts: dict[str, Any] = {"cpu": _cpu_name(), "cores": cores()}
    if "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        facts["memory_gib"] = round(memory / 2**30, 1)
    import torch  # here: takes seconds, and only provenance needs it

    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def _cpu_name() -> str:
    """The processor's full name, where `platform.processor()` is empty or generic."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.strip() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def provenance(folder: Path) -> dict[str, Any]:
    """Who, when and on what: commit of `folder`, UTC date, device, versions."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(folder),
        "device": device(),
        "versions": library_versions(),
    }
