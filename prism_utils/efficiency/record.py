"""A grid measured cell by cell into a JSON record, which an interrupted run continues.

Models take turns within a setting where they fit in memory together. Left out on purpose: what a
chapter draws from a record (`analysis`)."""

from __future__ import annotations

import gc
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..files import make_folder, write_json
from . import devices, roofline
from .devices import DTYPES
from .grids import REFERENCE, Cell, cell_of
from .memory import peak_here, peak_memory
from .models import GIB, build, make_inputs, model_class, parameter_count
from .roofline import BYTES, Peak
from .timing import BACKENDS, backed, generate, measure


def record_path(folder: Path, device: str = "cpu") -> Path:
    """`efficiency-<device>.json` in `folder`."""
    return (
        folder / f"efficiency-{re.sub('[^a-z0-9]+', '-', devices.device_name(device).lower())}.json"
    )


def facts(name: str, model: Any) -> dict[str, Any]:
    """Parameters and shape of a model: its row in a record's `models`."""
    config = model.config
    dimensions = ("model_type", "vocab_size", "d_model", "hidden_size", "encoder_layers",
                  "decoder_layers", "num_layers", "num_decoder_layers", "num_hidden_layers",
                  "encoder_attention_heads", "num_heads", "num_attention_heads",
                  "num_key_value_heads", "d_kv", "encoder_ffn_dim", "d_ff",
                  "intermediate_size")  # fmt: skip
    tied, untied = (parameter_count(model, tied=t) for t in (True, False))
    here = parameter_count(model)
    return {
        "model": name,
        "parameters": here,
        "parameters_tied": tied,
        "parameters_untied": untied,
        "configuration": {key: getattr(config, key) for key in dimensions if hasattr(config, key)},
        "work": asdict(roofline.shape_of(config, tied=here == tied)),
    }


def _open_record(path: Path | None, device: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The record at `path`, or a new one; ValueError for one that was made elsewhere."""
    new = {"kind": "efficiency", **devices.environment(device), "settings": settings, "peaks": {},
           "models": [], "cells": [], "left_out": [], "distillation": []}  # fmt: skip
    if path is None or not path.is_file():
        return new
    try:
        there: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error}): delete it") from error
    for key in ("kind", "device", "threads", "versions", "settings"):
        if there.get(key) != new[key]:
            raise ValueError(
                f"{path}: its {key} is {there.get(key)!r}, here it is {new[key]!r}: give another "
                "--out, or delete it"
            )
    return there


def save(record: Mapping[str, Any], path: Path | None) -> None:
    """Whole: an interrupted run leaves whole cells."""
    if path is not None:
        write_json(record, make_folder(path.parent) / path.name)


def run_grid(
    cells: Sequence[Cell],
    *,
    device: str = "cpu",
    out: Path | None = None,
    ready: Mapping[str, Any] | None = None,
    repeats: int = 10,
    least: int = 3,
    seconds: float = 10.0,
    longest: float = 60.0,
    seed: int = 0,
    imports: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure the cells that the record at `out` does not hold yet; the record.

    Models that fit in memory together take turns within a setting (batch and lengths); where not
    all fit, groups of them follow each other, and a cell's `beside` names those it took turns
    with. Up to `repeats` rounds; after `least` of them a model stops at `seconds`. Peak memory: of
    every cell on a GPU, on a CPU at REFERENCE's lengths, in a process of its own. Energy where the
    device reports it. Cells stay out, with a reason in `left_out`, if the model does not fit, if
    one generation is estimated to take more than `longest` seconds, and in bfloat16 on a CPU where
    REFERENCE shows no gain over float32. ready: models that exist already, by the cells' name.

    The record is written after every setting, whole. Raises ValueError for an unknown model or
    backend, and for a record of another device, version or setting.
    """
    ready = ready or {}
    settings = {
        "repeats": repeats, "least": least, "seconds": seconds, "longest": longest, "seed": seed,
        "warmup": 1, "decoding": "greedy, forced length", "weights": "random",
        "order": "interleaved", "attention": "transformers' default",
    }  # fmt: skip
    for cell in cells:
        if cell.backend not in BACKENDS:
            raise ValueError(f"backend {cell.backend!r} is none of: " + ", ".join(BACKENDS))
        if cell.dtype not in DTYPES:
            raise ValueError(f"dtype {cell.dtype!r} is none of: " + ", ".join(DTYPES))
    record = _open_record(out, device, settings)
    done = {cell_of(row) for row in [*record["cells"], *record["left_out"]]}
    missing = [cell for cell in dict.fromkeys(cells) if cell not in done]
    needs = _needs(missing, ready, imports)
    for dtype in dict.fromkeys(cell.dtype for cell in missing):
        if dtype not in record["peaks"]:
            record["peaks"][dtype] = asdict(devices.probe(device, dtype))
    room = devices.room(device)
    for here in _groups(needs, room):
        built: dict[tuple[str, str, str], Any] = {}
        for setting in dict.fromkeys(cell.setting for cell in here):
            models = {}
            for cell in (cell for cell in here if cell.setting == setting):
                why = _reason(cell, record, device)
                if needs[cell] > room:
                    why = f"needs {needs[cell] / GIB:.1f} GiB, there is room for {room / GIB:.1f}"
                if why:
                    record["left_out"].append({**asdict(cell), "reason": why})
                    continue
                if cell.variant not in built:
                    say(f"building {' '.join(cell.variant)}")
                    built[cell.variant] = _built(cell, record, device, ready, seed, imports)
                models[cell] = built[cell.variant]
            if models:
                say(f"batch, input, output {setting}: {len(models)} cells")
                _measure_cells(models, record, device, ready, imports)
            save(record, out)
        built.clear()
        free(device)
    save(record, out)
    return record


def _built(
    cell: Cell,
    record: dict[str, Any],
    device: str,
    ready: Mapping[str, Any],
    seed: int,
    imports: Sequence[str],
) -> Any:
    """The cell's model, in its backend; its facts go into the record."""
    model = ready.get(cell.model) or build(
        cell.model, device=device, dtype=cell.dtype, seed=seed, imports=imports
    )
    if cell.model not in {row["model"] for row in record["models"]}:
        record["models"].append(facts(cell.model, model))
    return backed(model, cell.backend)


def _needs(
    cells: Sequence[Cell], ready: Mapping[str, Any], imports: Sequence[str]
) -> dict[Cell, float]:
    """Bytes of weights and caches; another backend holds the weights twice while it is made."""
    known = {}
    for name in dict.fromkeys(cell.model for cell in cells):
        model = ready.get(name)
        config = model_class(name, imports)[1] if model is None else model.config
        count = parameter_count(name if model is None else model, imports=imports)
        known[name] = count, roofline.shape_of(config)
    return {
        cell: known[cell.model][0] * BYTES[cell.dtype] * (1 if cell.backend == "generate" else 2)
        + roofline.cache_bytes(known[cell.model][1], *cell.setting, BYTES[cell.dtype])
        for cell in cells
    }


def _groups(needs: Mapping[Cell, float], room: float) -> list[list[Cell]]:
    """Cells in groups whose models fit in `room` bytes together, with their largest caches.

    Models with most cells come first: so the pair whose ratio is asked over the whole grid shares
    a group wherever it can.
    """
    count = Counter(cell.variant for cell in needs)
    most: dict[tuple[str, str, str], float] = {}
    for cell, need in needs.items():
        most[cell.variant] = max(most.get(cell.variant, 0), need)
    groups: list[list[tuple[str, str, str]]] = []
    for variant in sorted(most, key=lambda v: (-count[v], -most[v])):
        for group in groups:
            if sum(most[v] for v in group) + most[variant] <= room:
                group.append(variant)
                break
        else:
            groups.append([variant])
    return [[cell for cell in needs if cell.variant in group] for group in groups]


def _reason(cell: Cell, record: Mapping[str, Any], device: str) -> str | None:
    """Why a cell stays out, from what the record holds already; None: it is to be measured."""
    measured = [(cell_of(row), row["median_s"]) for row in record["cells"]]
    reference = {known.variant: taken for known, taken in measured if known.setting == REFERENCE}
    half, single = (reference.get((cell.model, d, cell.backend)) for d in ("bfloat16", "float32"))
    if cell.dtype == "bfloat16" and not device.startswith("cuda") and half and single:
        if half > 0.95 * single:
            return f"bfloat16 takes {half / single:.2f} times as long as float32 on this CPU"
    alike = [(taken, known) for known, taken in measured if known.variant == cell.variant]
    if not alike:
        return None
    # As much longer than the slowest one measured so far as its floor is higher.
    slowest, known = max(alike, key=lambda pair: pair[0])
    work = next(row["work"] for row in record["models"] if row["model"] == cell.model)
    shape, peak = roofline.Shape(**work), Peak(**record["peaks"][cell.dtype])
    wanted, had = (
        roofline.floors(roofline.steps(shape, *c.setting, BYTES[c.dtype]), peak)["floor_s"]
        for c in (cell, known)
    )
    estimate, longest = slowest * wanted / had, record["settings"]["longest"]
    if estimate > longest:
        return f"one generation would take about {estimate:.0f} s, more than {longest:g} s"
    return None


def _measure_cells(
    models: Mapping[Cell, Any],
    record: dict[str, Any],
    device: str,
    ready: Mapping[str, Any],
    imports: Sequence[str],
) -> None:
    """Time, memory and energy of cells of one setting, put into the record."""
    given = record["settings"]
    batch, inputs, outputs = next(iter(models)).setting
    ids = {
        c: make_inputs({"": m}, input_tokens=inputs, batch_size=batch) for c, m in models.items()
    }
    try:
        memory: dict[Cell, dict[str, int]] = {}
        for cell, model in models.items():
            if device.startswith("cuda") and cell.backend == "generate":
                memory[cell] = peak_here(model, ids[cell], outputs)
        rows = measure(
            {" ".join(cell.variant): model for cell, model in models.items()},
            input_tokens=inputs, output_tokens=outputs, batch_size=batch,
            repeats=given["repeats"], least=given["least"], warmup=given["warmup"],
            max_seconds=given["seconds"], seed=given["seed"],
        )  # fmt: skip
    except torch.cuda.OutOfMemoryError:
        rows = []  # what the failed call held is let go with its traceback, after this block
    if not rows:
        free(device)
        if len(models) == 1:
            record["left_out"].append({**asdict(next(iter(models))), "reason": "out of memory"})
        for cell, model in models.items() if len(models) > 1 else ():
            _measure_cells({cell: model}, record, device, ready, imports)
        return
    for (cell, model), row in zip(models.items(), rows, strict=True):
        alone = cell.backend == "generate" and cell.model not in ready and cell not in memory
        if alone and (inputs, outputs) == REFERENCE[1:]:
            memory[cell] = peak_memory(
                cell.model, dtype=cell.dtype, input_tokens=inputs, output_tokens=outputs,
                batch_size=batch, seed=given["seed"], imports=imports,
            )  # fmt: skip
        energy = devices.joules(lambda m=model, i=ids[cell]: generate(m, i, outputs), device)  # type: ignore[misc]
        record["cells"].append(
            {
                **row,
                **asdict(cell),
                "rounds": len(row["seconds"]),
                **memory.get(cell, {}),
                "joules": None if energy is None else energy / batch,
                "beside": [" ".join(other.variant) for other in models if other != cell],
                "date": devices.now(),
                "commit": devices.environment(device)["commit"],
            }
        )


def free(device: str) -> None:
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
