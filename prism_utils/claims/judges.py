"""Every claim of `paper.CLAIMS` beside what a run measured, with a verdict from a fixed list.

Each claim has one function, in a file by its subject, that finds its interval in the run's tables,
in a record, or in the printed numbers themselves; `verdicts` says what an interval is worth. Left
out on purpose: any measuring of texts (the chapters do) and any opinion that no computation shows.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..runs import Run, project_root
from . import data, efficiency, mechanism, paper, people, printed, quality  # noqa: F401
from .evidence import COLUMNS, Evidence, Finding, Missing, number
from .register import JUDGES, Judge
from .verdicts import (
    untestable,
)


def judge(run: Run, records: Path | None = None) -> pd.DataFrame:
    """All claims of `paper.CLAIMS` in their order: `COLUMNS`, one row a claim.

    `on` says profile, corpus, teacher and device, or the record; `evidence` is `chapter#label`.
    Works on a partial run: what is missing names its chapter. `records` is the folder of JSON
    records (default: `book/records` of the project).
    """
    evidence = Evidence(run, records or project_root() / "book" / "records")
    rows = []
    for claim in paper.CLAIMS.values():
        where, function = JUDGES[claim.name]
        try:
            found = function(evidence)
        except Missing as missing:
            found = Finding(
                untestable(f"run chapter {missing.chapter.partition('_')[0].lstrip('0')} first"),
                f"The claim is judged by a table that notebook {missing.chapter} makes.",
                published=missing.published,
            )
        published = found.published or number(claim.value, claim.unit)
        rows.append(
            (claim.name, claim.text, claim.place, published, found.measured, found.on,
             found.verdict, found.why, where)
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def computation(name: str) -> Judge:
    """The function that judges the claim `name` (the book prints its source)."""
    return JUDGES[name][1]
