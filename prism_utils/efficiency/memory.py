"""Peak memory of one generation, in parts: weights, keys and values, activations."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from . import devices, roofline
from .models import build, make_inputs, model_class
from .timing import generate


def weight_bytes(model: Any) -> int:
    """Bytes of the parameters, shared ones once."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def _split(model: Any, inputs: torch.Tensor, output_tokens: int, peak: int) -> dict[str, int]:
    """A peak in three parts: weights, keys and values (computed), and the rest, activations."""
    weights = weight_bytes(model)
    batch, tokens = inputs.shape
    caches = roofline.cache_bytes(
        roofline.shape_of(model.config), batch, tokens, output_tokens, model.dtype.itemsize
    )
    # A process reuses what it had freed, so the growth for a tiny model can be less than its size.
    peak = max(peak, weights + caches)
    return {
        "peak_bytes": peak,
        "weight_bytes": weights,
        "cache_bytes": caches,
        "activation_bytes": peak - weights - caches,
    }


def peak_here(
    model: Any, inputs: torch.Tensor, output_tokens: int, before: int | None = None
) -> dict[str, int]:
    """What one generation takes at its peak beyond `before` (default: now, less the weights)."""
    device = str(model.device)
    gc.collect()
    if before is None:
        before = devices.memory(device) - weight_bytes(model)
    devices.reset_peak(device)  # what building took for a moment is not the memory of inference
    generate(model, inputs, output_tokens)
    return _split(model, inputs, output_tokens, devices.memory(device, peak=True) - before)


def peak_alone(spec: str, settings: Mapping[str, Any], imports: Sequence[str]) -> dict[str, int]:
    """As `peak_here`, of a model that this process builds: what libraries take is not counted."""
    device = str(settings["device"])
    # What libraries load and keep on first use belongs to no model.
    generate(build("quick-student", device=device), torch.full((1, 4), 10), 2)
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    before = devices.memory(device)
    model = build(
        spec, device=device, dtype=settings["dtype"], seed=settings["seed"], imports=imports
    )
    inputs = make_inputs(
        {spec: model}, input_tokens=settings["input_tokens"], batch_size=settings["batch_size"]
    )
    return peak_here(model, inputs, settings["output_tokens"], before)


def peak_memory(
    spec: str,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    input_tokens: int = 64,
    output_tokens: int = 32,
    batch_size: int = 1,
    seed: int = 0,
    imports: Sequence[str] = (),
) -> dict[str, int]:
    """Peak bytes of a model that explains one batch: peak_, weight_, cache_, activation_bytes.

    GPU: what torch's allocator held at most. CPU: by how much the resident size of a fresh process
    grew, libraries not counted; where the system cannot reset a peak, building the model counts.
    Caches are keys and values of self and cross attention, computed from the configuration;
    activations are what remains.
    """
    settings = {
        "device": device, "dtype": dtype, "input_tokens": input_tokens,
        "output_tokens": output_tokens, "batch_size": batch_size, "seed": seed,
    }  # fmt: skip
    if device.startswith("cuda"):
        return peak_alone(spec, settings, imports)
    if not Path(spec).is_dir():
        model_class(spec, ())  # an unknown name fails here, not in the other process
    command = [sys.executable, "-m", "prism_utils.efficiency", "--peak-of", spec]
    command += ["--settings", json.dumps(settings), "--import", *imports]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {spec} failed:\n{done.stderr[-2000:]}")
    peak: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return peak


def peaks(
    specs: Mapping[str, str], *, device: str = "cpu", imports: Sequence[str] = (), **settings: Any
) -> list[dict[str, Any]]:
    """`peak_memory` of each model, with its name under "model"; on a CPU two processes at a time.

    specs: name -> a name in `CONFIGURATIONS`, or a checkpoint's folder, whose class is in one of
    `imports`. settings: as of `peak_memory`.
    """

    def measured(spec: str) -> dict[str, int]:
        own = imports if Path(spec).is_dir() else ()
        return peak_memory(spec, device=device, imports=own, **settings)

    # The largest model, mostly the last, begins first: so the others end beside it.
    with ThreadPoolExecutor(1 if device.startswith("cuda") else 2) as pool:
        found = list(pool.map(measured, reversed(list(specs.values()))))[::-1]
    return [{"model": name, **peak} for name, peak in zip(specs, found, strict=True)]
