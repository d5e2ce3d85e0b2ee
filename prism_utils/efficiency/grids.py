"""What to measure: a cell is a model at one batch and two lengths; grids are lists of cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One thing to measure: a model at one batch and two lengths, in one precision, one way.

    model: a name in `CONFIGURATIONS` or a checkpoint's folder. backend: a name in `BACKENDS`.
    """

    model: str
    batch_size: int
    input_tokens: int
    output_tokens: int
    dtype: str = "float32"
    backend: str = "generate"

    @property
    def setting(self) -> tuple[int, int, int]:
        return self.batch_size, self.input_tokens, self.output_tokens

    @property
    def variant(self) -> tuple[str, str, str]:
        return self.model, self.dtype, self.backend


#: Batch, input and output tokens from which one is varied at a time.
REFERENCE = (1, 256, 40)
LENGTHS = ((128, 256, 512), (20, 40, 80))


def crossed(
    models: Iterable[str],
    batches: Sequence[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
    **variant: str,
) -> list[Cell]:
    """All cells of these models; variant: `dtype` and `backend`."""
    return [
        Cell(model, b, i, o, **variant)
        for b in batches
        for i in inputs
        for o in outputs
        for model in models
    ]


def axes(
    models: Iterable[str],
    batches: Sequence[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
    **variant: str,
) -> list[Cell]:
    """The cells of `crossed` that differ from `REFERENCE` in one thing at most."""
    return [
        cell
        for cell in crossed(models, batches, inputs, outputs, **variant)
        if sum(a != b for a, b in zip(cell.setting, REFERENCE, strict=True)) <= 1
    ]


def grid(name: str, backends: Sequence[str] = ("generate",)) -> list[Cell]:
    """The cells of a grid, `REFERENCE` first.

    - "paper", for a GPU, bfloat16: all 36 cells of FLAN-T5-XXL and BART-Base, all other models one
      axis at a time; BART-Base also in float32.
    - "cpu", float32, batches up to 32: all 27 cells of BART-Base, the quick student and FLAN-T5 up
      to large one axis at a time; BART-Base also in bfloat16.
    - "small": two models, eight settings, a minute.

    backends: further ones than "generate" get BART-Base's cells one axis at a time. Raises
    ValueError for an unknown grid.
    """
    small = ["quick-student", "flan-t5-small", "flan-t5-base", "flan-t5-large"]
    batches: tuple[int, ...]
    if name == "paper":
        batches = (1, 8, 32, 128)
        dtype, other = "bfloat16", "float32"
        full, others = ["flan-t5-xxl", "bart-base"], [*small, "flan-t5-xl", "bart-large"]
        others.append("llama-3-8b")
    elif name == "cpu":
        batches = (1, 8, 32)
        dtype, other = "float32", "bfloat16"
        full, others = ["bart-base"], small
    elif name == "small":
        batches, dtype, other = (1, 8), "float32", ""
        full, others = [], []
    else:
        raise ValueError(f"grid {name!r} is unknown: take one of paper, cpu, small")
    if name == "small":
        cells = crossed(["quick-student", "bart-base"], batches, (64, 128), (20, 40))
    else:
        cells = crossed(full, batches, *LENGTHS, dtype=dtype)
        cells += axes(others, batches, *LENGTHS, dtype=dtype)
        cells += axes(["bart-base"], batches, *LENGTHS, dtype=other)
    for backend in backends:
        if backend != "generate":
            cells += axes(["bart-base"], batches, *LENGTHS, dtype=dtype, backend=backend)
    if "generate" not in backends:
        cells = [cell for cell in cells if cell.backend != "generate"]
    return sorted(cells, key=lambda c: (c.setting != REFERENCE, c.setting))


def cell_of(row: Mapping[str, Any]) -> Cell:
    return Cell(**{name: row[name] for name in Cell.__dataclass_fields__})
