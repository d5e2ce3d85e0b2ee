"""What there is to judge by: a run's tables and facts, and records; and how a number is written.

Left out on purpose: any judgement (`judges`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..records import read_record
from ..runs import Run
from .verdicts import (
    Part,
    is_verdict,
)

COLUMNS = ("name", "claim", "place", "published", "measured", "on", "verdict", "why", "evidence")


@dataclass(frozen=True)
class Finding:
    """What became of a claim; `published` empty: the claim's own printed value."""

    verdict: str
    why: str
    measured: str = ""
    on: str = ""
    published: str = ""

    def __post_init__(self) -> None:
        if not is_verdict(self.verdict):
            raise ValueError(f"{self.verdict!r} is not a verdict of the fixed list")


class Missing(Exception):
    """The run has no such table yet: the chapter that makes it, and what the paper prints."""

    def __init__(self, chapter: str, published: str = "") -> None:
        super().__init__(chapter)
        self.chapter, self.published = chapter, published


class Evidence:
    """A run's tables and facts, and the records of measurements made elsewhere."""

    def __init__(self, run: Run, records: Path) -> None:
        self.run = run
        self.facts = run.facts
        self.folder = records
        folders = (records, run.path / "records")
        # A run's own record replaces the book's of the same name.
        paths = {p.stem: p for folder in folders for p in sorted(folder.glob("*.json"))}
        self.records = {name: read_record(path) for name, path in sorted(paths.items())}
        self._read: dict[str, pd.DataFrame] = {}

    def table(self, name: str, made_by: str, published: str = "") -> pd.DataFrame:
        if name not in self._read:
            if not self.run.table(name).is_file():
                raise Missing(made_by, published)
            self._read[name] = self.run.read(name)
        return self._read[name]

    def larger(self, name: str, by: str) -> dict[str, Any]:
        """Of the run's own record and the book's, the one with more of its parameter `by`."""
        paths = [folder / f"{name}.json" for folder in (self.folder, self.run.path / "records")]
        found = [read_record(path) for path in paths if path.is_file()]
        return max(found, key=lambda r: r["provenance"]["parameters"][by], default={})

    def parameter(self, notebook: str, name: str) -> Any:
        return self.facts.get("parameters", {}).get(notebook, {}).get(name)

    @property
    def teacher(self) -> str:
        return str(self.facts.get("teacher", "grammar"))

    @property
    def corpus(self) -> str:
        release = (self.parameter("01_preprocessing", "corpus_options") or {}).get("release")
        return str(release or self.facts.get("corpus", "no corpus"))

    @property
    def setting(self) -> str:
        """Whose texts these are: the paper's models on the paper's data, others, or simulated."""
        if self.corpus in ("embedded", "no corpus") or self.teacher.startswith("grammar"):
            return "simulated"
        student = str(self.parameter("03_finetuning", "init_from") or "")
        papers = self.teacher == "flan-t5-xxl" and student.endswith("bart-base")
        return "paper" if papers and self.corpus in ("ml-1m", "yelp") else "other"

    @property
    def on(self) -> str:
        device = self.facts.get("device", {})
        machine = device.get("gpu") or device.get("cpu", "unknown machine")
        return f"{self.facts.get('profile', 'a run')}: {self.corpus}, {self.teacher}, {machine}"

    @property
    def caveat(self) -> str:
        """What the run's texts are, for the reason behind a verdict."""
        if self.setting == "simulated":
            voice = self.facts.get("teacher_options", {}).get("voice_strength")
            voices = f" and voices (strength {voice})" if voice is not None else ""
            return f"The teacher is a grammar; its errors{voices} are simulated."
        if self.setting == "other":
            return f"The run's models or data are not the paper's ({self.teacher}, {self.corpus})."
        return "The run has the paper's models and data; what the paper leaves open is our choice."


def number(value: float | None, unit: str = "") -> str:
    """A number as a reader writes it.

    >>> number(140e6), number(24.2, "times"), number(None)
    ('140M', '24.2 times', '')
    """
    if value is None:
        return ""
    for size, letter in ((1e9, "B"), (1e6, "M")):
        if value >= size and value % (size / 10) == 0:
            return f"{value / size:,.12g}{letter} {unit}".strip()
    return f"{value:,.12g} {unit}".strip()


def shown(parts: Sequence[Part], digits: int = 3) -> str:
    return "; ".join(
        f"{p.label} {p.value:+.{digits}f} [{p.low:+.{digits}f}, {p.high:+.{digits}f}]"
        for p in parts
    )


def least(parts: Sequence[Part], digits: int = 3) -> str:
    """One or two parts as they are; of more, the one that decides."""
    if len(parts) < 3:
        return shown(parts, digits)
    return f"least of {len(parts)}: {shown([min(parts, key=lambda p: p.low)], digits)}"


PRINT = "the printed numbers"
