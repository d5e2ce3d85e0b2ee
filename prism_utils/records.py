"""Records: measurements made elsewhere, as JSON beside the book, and what each must hold.

A record is `provenance` (date, commit, device, parameters) and `tables` (lists of rows), or, of the
benchmarks that need no more than torch, the same facts at its top. A run's own records lie in its
folder; those of the book were made by a command or copied from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from .errors import InputError
from .files import read_json, write_json
from .runs import Run, home, provenance

# kind of record -> its lists of rows, and what every row needs
_ROWS: dict[str, dict[str, tuple[str, ...]]] = {
    "efficiency": {
        "cells": ("model", "batch_size", "input_tokens", "output_tokens", "dtype", "backend",
                  "median_s", "p5_s", "p95_s"),
        "models": ("model", "parameters", "work"),
        "left_out": ("model", "reason"),
        "distillation": ("model", "way", "explanations_per_s"),
    },
    "training cost": {"rows": ("table", "users")},
}  # fmt: skip


def read_record(path: Path) -> dict[str, Any]:
    """The record at `path`, an empty one where there is no file.

    Raises `InputError` that names the file and what is wrong with it.
    """
    record = read_json(path)
    if not record:
        return {}
    made = record.get("provenance", record)
    if not isinstance(made, dict):
        raise _damaged(path, "'provenance' is no mapping")
    for key, kind in {"date": str, "commit": str | None, "device": str | dict}.items():
        if not isinstance(made.get(key), kind):
            raise _damaged(path, f"'{key}' is missing or of another type")
    if "provenance" in record and not isinstance(made.get("parameters"), dict):
        raise _damaged(path, "'parameters' is missing or no mapping")
    tables = record.get("tables", {})
    needed: dict[str, tuple[str, ...]] = _ROWS.get(str(record.get("kind")), {})
    if not isinstance(tables, dict) or "provenance" in record and not tables:
        raise _damaged(path, "'tables' is missing or no mapping")
    for name, rows in {**tables, **{name: record.get(name) for name in needed}}.items():
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise _damaged(path, f"'{name}' is no list of rows")
        for number, row in enumerate(rows, start=1):
            missing = [key for key in needed.get(name, ()) if key not in row]
            if missing:
                raise _damaged(path, f"'{name}', row {number}: '{missing[0]}' is missing")
    return record


def recorded(name: str) -> dict[str, Any]:
    """The record that the book keeps under this name, an empty one where it keeps none."""
    return read_record(home() / "book" / "records" / f"{name}.json")


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path}: not a whole record: {what}: delete it, or make it again")


def as_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as a record keeps it: one dictionary a row, None where nothing stands."""
    rows: list[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return rows


def write_record(
    run: Run, name: str, tables: Mapping[str, Any], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Keep tables (frames, or rows) as a record of the run, with where they were made; the record.

    parameters: what a reader needs to know of how they were made.
    """
    profile = run.facts.get("profile", run.path.resolve().name)
    made = provenance(home()) | {"profile": profile, "parameters": parameters}
    rows = {k: as_rows(t) if isinstance(t, pd.DataFrame) else t for k, t in tables.items()}
    record = {"provenance": made, "tables": rows}
    write_json(record, run.path / "records" / f"{name}.json")
    return record


def made_on(made: Mapping[str, Any]) -> str:
    """Day, commit, machine and libraries of a record, in words; made: its provenance."""
    device, versions = made["device"], made.get("versions", {})
    machine = device if isinstance(device, str) else device.get("gpu") or device.get("cpu")
    libraries = [f"{n} {versions[n]}" for n in ("torch", "transformers") if n in versions]
    return ", ".join([made["date"][:10], f"commit {made['commit']}", f"on {machine}", *libraries])
