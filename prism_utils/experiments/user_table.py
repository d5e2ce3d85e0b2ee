"""What a user table does to a student's texts: sparse, low-rank and zero rows beside the dense one.

    python -m prism_utils.experiments.user_table --out book/records/user_table.json

Left out: what a table costs in time and memory (`efficiency.training_cost`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import run_cli
from ..files import write_json
from ..records import as_rows
from ..runs import project_root, provenance
from . import controls, sweeps

# The tables that a student may have for its users, the paper's first.
_TABLES: list[dict[str, Any]] = [
    {},
    {"user_table": "sparse"},
    {"user_table": "sparse", "user_init": "zero"},
    {"user_table": "sparse", "user_rank": 8},
    {"user_table": "sparse", "user_rank": 32},
]


def points(grid: str = "full", seeds: int = 3) -> list[dict[str, Any]]:
    """Points for `controls.measure` that differ in the user table alone, for `seeds` seeds.

    They ask a grid's question of their own: what a table costs that is cheaper to train, and what
    the rows of users without training data do.
    """
    size = controls.BASE | controls.SIZES[grid] | {"untrained": True}
    return [size | table | {"seed": seed} for seed in range(seeds) for table in _TABLES]


def measure(
    work: Path, *, grid: str = "full", seeds: int = 3, workers: int | None = None
) -> dict[str, Any]:
    """A record: students that differ in their user table alone, over seeds (`controls.summary`).

    System "own - base" is a table against the dense one, seed by seed. work: a folder for the
    points (`sweeps.run`): the same call resumes there.
    """
    asked = points(grid, seeds)
    measured = sweeps.run(controls.measure, asked, work, workers=workers)
    measured = pd.concat([measured, controls.against_base(measured)], ignore_index=True)
    table = controls.summary(measured)
    facts = {"grid": grid, "points": len(asked), "seeds": seeds, "base": asked[0]}
    rows = as_rows(table)
    return {
        "provenance": provenance(project_root()) | {"parameters": facts},
        "tables": {"user_table": [
            {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows
        ]},
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m prism_utils.experiments.user_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--grid", choices=tuple(controls.SIZES), default="full")
    parser.add_argument("--seeds", type=int, default=3, help="of every student")
    parser.add_argument("--workers", type=int, help="students trained at once (default: cores)")
    parser.add_argument("--work", type=Path, default=Path("runs/user_table"),
                        help="where finished students' rows are kept")  # fmt: skip
    parser.add_argument("--out", type=Path, help="where the JSON record goes")
    given = vars(parser.parse_args(arguments))
    out = given.pop("out")
    record = measure(**given)
    print(json.dumps(record["tables"]))
    if out is not None:
        write_json(record, out)


if __name__ == "__main__":
    run_cli(main)
