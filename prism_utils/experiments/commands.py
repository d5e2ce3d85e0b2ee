"""The command line of an experiment whose result is a record: what it is asked, and where it goes.

Left out on purpose: what is measured, and records of a run (`records.write_record`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..files import check_writable, write_json
from ..records import as_rows
from ..runs import project_root, provenance


def parser(program: str, doc: str | None) -> argparse.ArgumentParser:
    """Of `python -m prism_utils.experiments.<program>`, with what its module says of itself."""
    return argparse.ArgumentParser(
        prog=f"python -m prism_utils.experiments.{program}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_grid(to: argparse.ArgumentParser, grids: Iterable[str], work: str) -> None:
    """What every sweep is asked: --grid, --seeds, --workers, --work."""
    to.add_argument("--grid", choices=tuple(grids), default="full")
    to.add_argument("--seeds", type=int, default=3, help="of every point")
    to.add_argument("--workers", type=int, help="points measured at once (default: cores)")
    to.add_argument("--work", type=Path, default=Path("runs") / work,
                    help="where finished points' rows are kept")  # fmt: skip


def keep(
    asked: argparse.ArgumentParser,
    measure: Callable[..., dict[str, Any]],
    arguments: Sequence[str] | None,
) -> None:
    """Parse, measure, print the record's tables, and write it where --out says.

    That it can be written is said before anything is measured.
    """
    asked.add_argument("--out", type=Path, help="where the JSON record goes")
    given = vars(asked.parse_args(arguments))
    out = given.pop("out")
    if out is not None:
        check_writable(out)
    record = measure(**given)
    print(json.dumps(record["tables"]))
    if out is not None:
        write_json(record, out)


def record(tables: Mapping[str, pd.DataFrame], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A record: these tables, numbers to five decimals, and how and where they were made."""
    return {
        "provenance": provenance(project_root()) | {"parameters": dict(parameters)},
        "tables": {name: as_rows(table.round(5)) for name, table in tables.items()},
    }
