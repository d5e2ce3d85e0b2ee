"""What a user table does to a student's texts: sparse, low-rank and zero rows beside the dense one.

    python -m prism_utils.experiments.user_table --out book/records/user_table.json

Left out: what a table costs in time and memory (`efficiency.training_cost`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import run_cli
from . import commands, controls, sweeps

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
    return commands.record({"user_table": table}, facts)


def main(arguments: Sequence[str] | None = None) -> None:
    asked = commands.parser("user_table", __doc__)
    commands.add_grid(asked, controls.SIZES, "user_table")
    commands.keep(asked, measure, arguments)


if __name__ == "__main__":
    run_cli(main)
