"""Latency, throughput, memory and energy of explaining, cell by cell (paper section 5.6, Table 2).

Needs torch and transformers alone, so that it runs on a bare GPU machine. Weights are random: time
and memory of a forced output length do not depend on their values. Left out on purpose:
tokenisation and quality. `python -m prism_utils.efficiency` writes a record.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import run_cli
from ..files import check_writable
from . import devices
from .distilling import distillation, prompt_lengths, vllm_distillation
from .grids import LENGTHS, axes, grid
from .memory import peak_alone
from .models import CONFIGURATIONS, build, parameter_count
from .record import free, record_path, run_grid, save
from .roofline import BYTES
from .timing import BACKENDS, installed

#: Teachers whose distillation a grid times, and how many prompts.
_TEACHERS = {"paper": (("flan-t5-xxl", "llama-3-8b"), 256), "cpu": (("flan-t5-small",), 64)}


def _time_distillation(
    record: dict[str, Any], name: str, device: str, out: Path | None, say: Callable[[str], None]
) -> None:
    """Put the distillation rates of a grid's teachers into the record, those that are missing."""
    teachers, samples = _TEACHERS.get(name, ((), 0))
    dtype = "bfloat16" if device.startswith("cuda") else "float32"
    lengths = prompt_lengths(samples)
    there = {(row["model"], row["way"].split()[0]) for row in record["distillation"]}
    for teacher in teachers:
        if parameter_count(teacher) * BYTES[dtype] > devices.room(device):
            continue
        if (teacher, "one") not in there:
            say(f"distillation: {teacher}")
            model = build(teacher, device=device, dtype=dtype)
            record["distillation"] += distillation(teacher, model, lengths)
            del model
            free(device)
            save(record, out)
        if teacher == "llama-3-8b" and (teacher, "vLLM") not in there:
            record["distillation"] += vllm_distillation(teacher, lengths, dtype=dtype)
            save(record, out)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m prism_utils.efficiency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--grid", choices=["paper", "cpu", "small"],
                        help="which cells (default: paper on a GPU, else cpu)")  # fmt: skip
    parser.add_argument("--models", nargs="+", metavar="MODEL",
                        help="of the grid only these; a checkpoint's folder is measured along one "
                        "axis at a time. Known: " + ", ".join(CONFIGURATIONS))  # fmt: skip
    parser.add_argument("--backends", nargs="+", choices=list(BACKENDS),
                        help="default: all that this machine can time")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path(),
                        help="the record's file, or a folder for efficiency-<device>.json; "
                        "a record that is there is continued")  # fmt: skip
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=10, help="rounds of a cell at most")
    parser.add_argument("--least", type=int, default=3, help="rounds of a cell at least")
    parser.add_argument("--seconds", type=float, default=5.0,
                        help="after which a cell ends that had its least rounds")  # fmt: skip
    parser.add_argument("--longest", type=float, default=60.0,
                        help="a cell is left out if one generation takes more seconds")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--import", dest="imports", nargs="*", default=[],
                        help="modules that hold the model classes of folders")  # fmt: skip
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.peak_of:
        print(json.dumps(peak_alone(given.peak_of, given.settings, given.imports)))
        return 0
    name = given.grid or ("paper" if given.device.startswith("cuda") else "cpu")
    try:
        devices.check_device(given.device)
        out = given.out if given.out.suffix == ".json" else record_path(given.out, given.device)
        check_writable(out)
        cells = grid(name, given.backends or installed(given.device))
        if given.models:
            batches = sorted({cell.batch_size for cell in cells})
            known = {cell.model for cell in cells}
            others = [model for model in given.models if model not in known]
            cells = [cell for cell in cells if cell.model in given.models]
            cells += axes(others, batches, *LENGTHS)
        print(f"{len(cells)} cells of grid {name} -> {out}", flush=True)
        record = run_grid(
            cells, device=given.device, out=out, repeats=given.repeats, least=given.least,
            seconds=given.seconds, longest=given.longest, seed=given.seed, imports=given.imports,
            say=lambda line: print(line, flush=True),
        )  # fmt: skip
        if not given.models:
            _time_distillation(record, name, given.device, out, lambda s: print(s, flush=True))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(record['cells'])} cells measured, {len(record['left_out'])} left out")
    return 0


if __name__ == "__main__":
    run_cli(main)
