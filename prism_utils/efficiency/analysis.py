"""What a record says: measured against the hardware's floors, and one model against another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from . import roofline
from .grids import cell_of
from .roofline import BYTES, Peak


def against_floors(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a cell of a record: `roofline.floors`, operations, bytes, and the measured point.

    Further keys: first_s, rest_s (measured, None where the backend does not say), times_floor (the
    measured time over the floor), operations_per_s and operations_per_byte. Cells of onnx backends
    are left out: they may draft several tokens a step, and hold smaller weights.
    """
    shapes = {row["model"]: roofline.Shape(**row["work"]) for row in record["models"]}
    rows = []
    for row in record["cells"]:
        if row["backend"].startswith("onnx"):
            continue
        cell, peak = cell_of(row), Peak(**record["peaks"][row["dtype"]])
        work = roofline.steps(shapes[cell.model], *cell.setting, BYTES[cell.dtype])
        floors = roofline.floors(work, peak)
        operations, moved = sum(s.operations for s in work), sum(s.bytes for s in work)
        rows.append(
            {
                **asdict(cell),
                **floors,
                "measured_s": row["median_s"],
                "first_s": row["first_s"],
                "rest_s": None if row["first_s"] is None else row["median_s"] - row["first_s"],
                "times_floor": row["median_s"] / floors["floor_s"],
                "operations": operations,
                "bytes": moved,
                "operations_per_s": operations / row["median_s"],
                "operations_per_byte": operations / moved,
            }
        )
    return rows


def ratios(cells: Iterable[Mapping[str, Any]], slow: str, fast: str) -> list[dict[str, Any]]:
    """How many times as long `slow` takes as `fast`, one row a setting that both have.

    Keys: batch_size, input_tokens, output_tokens, dtype, value (of medians), low and high (p5 over
    p95 and the reverse). Only transformers' `generate`, and the same precision on both sides.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in cells:
        if row["backend"] == "generate":
            found.setdefault((*cell_of(row).setting, row["dtype"]), {})[row["model"]] = row
    return [
        {
            **dict(zip(("batch_size", "input_tokens", "output_tokens", "dtype"), key, strict=True)),
            "value": both[slow]["median_s"] / both[fast]["median_s"],
            "low": both[slow]["p5_s"] / both[fast]["p95_s"],
            "high": both[slow]["p95_s"] / both[fast]["p5_s"],
        }
        for key, both in sorted(found.items())
        if slow in both and fast in both
    ]
