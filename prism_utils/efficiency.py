"""Latency, throughput, memory and energy of explaining, cell by cell (paper section 5.6, Table 2).

Needs torch and transformers alone, so that it runs on a bare GPU machine. Weights are random: time
and memory of a forced output length do not depend on their values. Left out on purpose:
tokenisation and quality. `python -m prism_utils.efficiency` writes a record.
"""

from __future__ import annotations

import os

if __name__ == "__main__":  # before torch is loaded: threads that spin slow down their neighbours
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import gc
import importlib
import importlib.util
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import BartConfig, LlamaConfig, StoppingCriteria, StoppingCriteriaList, T5Config

from . import devices, roofline
from .devices import DTYPES
from .roofline import BYTES, Peak

GIB = 2**30


def _bart(layers: int, d: int, heads: int, vocabulary: int, positions: int) -> BartConfig:
    sides: dict[str, Any] = {
        f"{side}_{what}": value
        for side in ("encoder", "decoder")
        for what, value in (("layers", layers), ("attention_heads", heads), ("ffn_dim", 4 * d))
    }
    return BartConfig(vocab_size=vocabulary, d_model=d, max_position_embeddings=positions, **sides)


def _t5(layers: int, d: int, heads: int, ff: int) -> T5Config:
    general: dict[str, Any] = {"tie_word_embeddings": False, "decoder_start_token_id": 0}
    return T5Config(
        vocab_size=32128, d_model=d, d_kv=64, d_ff=ff, num_layers=layers, num_heads=heads,
        feed_forward_proj="gated-gelu", **general,
    )  # fmt: skip


def _llama(layers: int, d: int, heads: int, kv_heads: int, ff: int, vocabulary: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary, hidden_size=d, intermediate_size=ff, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=8192,
        pad_token_id=0,
    )  # fmt: skip


#: Name -> configuration. "quick-student" has the layers that the quick profile trains, and BART's
#: number of positions, so that it can read the longest inputs of the grid.
CONFIGURATIONS: dict[str, Callable[[], Any]] = {
    "quick-student": lambda: _bart(2, 128, 4, 1500, 1024),
    "bart-base": lambda: _bart(6, 768, 12, 50265, 1024),
    "bart-large": lambda: _bart(12, 1024, 16, 50265, 1024),
    "flan-t5-small": lambda: _t5(8, 512, 6, 1024),
    "flan-t5-base": lambda: _t5(12, 768, 12, 2048),
    "flan-t5-large": lambda: _t5(24, 1024, 16, 2816),
    "flan-t5-xl": lambda: _t5(24, 2048, 32, 5120),
    "flan-t5-xxl": lambda: _t5(24, 4096, 64, 10240),
    "llama-3-8b": lambda: _llama(32, 4096, 32, 8, 14336, 128256),
}
_CLASSES = {
    "bart": "BartForConditionalGeneration",
    "t5": "T5ForConditionalGeneration",
    "llama": "LlamaForCausalLM",
}


# ---------------------------------------------------------------- cells and grids


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
_LENGTHS = ((128, 256, 512), (20, 40, 80))


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
        cells = crossed(full, batches, *_LENGTHS, dtype=dtype)
        cells += axes(others, batches, *_LENGTHS, dtype=dtype)
        cells += axes(["bart-base"], batches, *_LENGTHS, dtype=other)
    for backend in backends:
        if backend != "generate":
            cells += axes(["bart-base"], batches, *_LENGTHS, dtype=dtype, backend=backend)
    if "generate" not in backends:
        cells = [cell for cell in cells if cell.backend != "generate"]
    return sorted(cells, key=lambda c: (c.setting != REFERENCE, c.setting))


# ---------------------------------------------------------------- time


def _model_class(spec: str, imports: Sequence[str]) -> tuple[Any, Any]:
    """(class, configuration) of a name in CONFIGURATIONS or of a checkpoint folder."""
    if spec in CONFIGURATIONS:
        config = CONFIGURATIONS[spec]()
        return getattr(transformers, _CLASSES[config.model_type]), config
    folder = Path(spec)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"model {spec!r} is neither a folder with a config.json nor one of: "
            + ", ".join(CONFIGURATIONS)
        )
    stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = (stated.get("architectures") or ["none"])[0]
    for module in (*map(importlib.import_module, imports), transformers):
        if hasattr(module, name):
            cls = getattr(module, name)
            return cls, cls.config_class.from_pretrained(folder)
    raise ValueError(
        f"{folder}: no class {name!r} in transformers; --import the module that has it"
    )


def parameter_count(
    spec: str | Any, *, tied: bool | None = None, imports: Sequence[str] = ()
) -> int:
    """Number of parameters; `spec` is a name in `CONFIGURATIONS`, a folder or a model.

    Built on the meta device: nothing is allocated. `tied` says whether the output layer shares
    the input embedding's matrix (None: as transformers builds it). Buffers do not count.

    >>> f"{parameter_count('bart-base') / 1e6:.1f}M"
    '139.4M'
    """
    model: Any = spec
    if isinstance(spec, str):
        cls, config = _model_class(spec, imports)
        with torch.device("meta"):
            model = cls(config)
    head = model.get_output_embeddings().weight
    shared = model.get_input_embeddings().weight
    total = sum(p.numel() for p in model.parameters())  # a shared matrix counts once
    is_tied = head is shared
    if tied is None or tied == is_tied:
        return int(total)
    return int(total - head.numel() if tied else total + head.numel())


def user_table_parameters(users: int, d_model: int = 768) -> int:
    """Size of the user table of equation 5: one row a user and one for the unknown (section 4.4).

    >>> user_table_parameters(6040)
    4639488
    """
    return (users + 1) * d_model


def build(
    spec: str,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    seed: int = 0,
    imports: Sequence[str] = (),
) -> Any:
    """A model with random weights for evaluation; a folder gives its shape, not its weights."""
    cls, config = _model_class(spec, imports)
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(DTYPES[dtype])
    try:
        with torch.device(device):
            model = cls(config)
    finally:
        torch.set_default_dtype(before)
    return model.eval()


def make_inputs(
    models: Mapping[str, Any], *, input_tokens: int, batch_size: int = 1, seed: int = 0
) -> torch.Tensor:
    """Token ids (batch, input_tokens) that every model knows, no special ones; on the CPU."""
    smallest = min(model.config.vocab_size for model in models.values())
    generator = torch.Generator().manual_seed(seed)
    low = min(10, smallest - 1)  # the first ids are the special ones
    return torch.randint(low, smallest, (batch_size, input_tokens), generator=generator)


class _First(StoppingCriteria):
    """Notes when the first new token is there; stops nothing."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.seconds: float | None = None

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        if self.seconds is None:
            if input_ids.is_cuda:
                torch.cuda.synchronize(input_ids.device)
            self.seconds = time.perf_counter() - self.start
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@torch.inference_mode()
def generate(
    model: Any,
    inputs: torch.Tensor,
    output_tokens: int,
    *,
    mask: torch.Tensor | None = None,
    watch: StoppingCriteria | None = None,
) -> torch.Tensor:
    """Greedy decoding of exactly `output_tokens` new tokens: ids (batch, output_tokens).

    model: a transformers model, or a `Backed`. mask (batch, input_tokens): 0 where padding stands.
    watch: called after each token, by transformers models alone. Raises RuntimeError if the length
    is another.
    """
    if isinstance(model, Backed):
        new = torch.tensor(model.generate(inputs, output_tokens))
    else:
        ids = inputs.to(model.device)
        given = torch.ones_like(ids) if mask is None else mask.to(ids.device)
        output = model.generate(
            input_ids=ids,
            attention_mask=given,
            min_new_tokens=output_tokens,
            max_new_tokens=output_tokens,
            num_beams=1,
            do_sample=False,
            use_cache=True,  # a trained folder's configuration may say no: the trainer's setting
            stopping_criteria=StoppingCriteriaList([watch] if watch else []),
        )
        # What stands before the new tokens: the start token, or the whole prompt.
        new = output[:, 1 if model.config.is_encoder_decoder else ids.shape[1] :]
    if new.shape[1] != output_tokens:
        raise RuntimeError(f"asked for {output_tokens} tokens, got {new.shape[1]}")
    return new


class Backed:
    """A model that another backend than transformers' `generate` runs, as `measure` takes it.

    engine: what a function of `BACKENDS` made. users: everybody is unknown (row 0).
    """

    def __init__(self, config: Any, device: str, engine: Any) -> None:
        self.config, self.device, self.engine = config, torch.device(device), engine

    def generate(self, inputs: torch.Tensor, output_tokens: int) -> list[list[int]]:
        users = np.zeros(len(inputs), dtype=np.int64)
        new: list[list[int]] = self.engine.generate(
            inputs.tolist(), users, max_new_tokens=output_tokens, min_new_tokens=output_tokens
        )
        return new


def _decoding(module: str) -> Any:
    try:
        return importlib.import_module(f".decoding.{module}", __package__)
    except ImportError as error:
        raise ValueError(
            f"backends: prism_utils.decoding.{module} cannot be imported ({error}): install "
            "the whole package and what it needs, or leave the backend out"
        ) from error


def _onnx(precision: str) -> Callable[[Any], Any]:
    return lambda model: _decoding("export").from_model(model, precision)


#: Name -> function that makes an engine of a model: an object with `generate(inputs, users, *,
#: max_new_tokens, min_new_tokens)`, greedy, rows of ids in and rows of new ids out. A new way to
#: decode is one line here. None: transformers' `generate` itself.
BACKENDS: dict[str, Callable[[Any], Any] | None] = {
    "generate": None,
    "onnx": _onnx("float32"),
    "onnx-mixed": _onnx("mixed"),
    "onnx-int8": _onnx("int8"),
    "graph": lambda model: _decoding("graph_backend").GraphBackend(model),
}


def backed(model: Any, backend: str) -> Any:
    """`model` as `measure` takes it, decoded by a name in `BACKENDS`."""
    engine = BACKENDS[backend]
    return Backed(model.config, str(model.device), engine(model)) if engine else model


def installed(device: str) -> list[str]:
    """The backends that this machine can time: "generate", and what else is installed."""
    needs = {"graph": ["pandas"]} if device.startswith("cuda") else dict.fromkeys(
        ("onnx", "onnx-mixed", "onnx-int8"), ["pandas", "tokenizers", "onnx", "onnxruntime"]
    )  # fmt: skip
    found = [n for n, libraries in needs.items() if all(map(importlib.util.find_spec, libraries))]
    return ["generate", *found]


def _quantile(values: Sequence[float], q: float) -> float:
    """Linear interpolation between order statistics.

    >>> _quantile([1.0, 2.0, 3.0], 0.75)
    2.5
    """
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def measure(
    models: Mapping[str, Any],
    *,
    input_tokens: int = 64,
    output_tokens: int = 32,
    batch_size: int = 1,
    repeats: int = 10,
    least: int = 1,
    warmup: int = 1,
    max_seconds: float = float("inf"),
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Time generation: same inputs, same forced output length, order shuffled in every round.

    Interleaving spreads a slow minute of the machine over all models alike. A model that has had
    `least` rounds and `max_seconds` sits out the rest. One record a model: seconds of each repeat,
    their median, p5 and p95 (of a batch), explanations and tokens a second, and first_s, the median
    time to the first token (None where the backend does not say). Raises ValueError for a number
    below 1 and for inputs longer than a model reads.
    """
    for name, value in {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "batch_size": batch_size,
        "repeats": repeats,
    }.items():
        if value < 1:
            raise ValueError(f"{name}: must be at least 1, got {value}")
    for name, model in models.items():
        reads = getattr(model.config, "max_position_embeddings", None)
        if reads and max(input_tokens, output_tokens) > reads:
            raise ValueError(
                f"input_tokens, output_tokens: {name} has {reads} positions, fewer than asked for"
            )
    inputs = make_inputs(models, input_tokens=input_tokens, batch_size=batch_size, seed=seed)
    for model in models.values():
        for _ in range(warmup):  # the whole input, and as many tokens as reach a steady step
            whole = isinstance(model, Backed)
            generate(model, inputs, output_tokens if whole else min(output_tokens, 4))
    seconds: dict[str, list[float]] = {name: [] for name in models}
    firsts: dict[str, list[float]] = {name: [] for name in models}
    order, rng = list(models), random.Random(seed)
    for done in range(repeats):
        order = [n for n in order if done < least or sum(seconds[n]) < max_seconds]
        rng.shuffle(order)
        for name in order:
            with devices.Timer(models[name].device) as timer:
                watch = _First()
                generate(models[name], inputs, output_tokens, watch=watch)
            seconds[name].append(timer.seconds)
            if watch.seconds is not None:
                firsts[name].append(watch.seconds)
    return [
        {
            "model": name,
            "batch_size": batch_size,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "median_s": statistics.median(times),
            "p5_s": _quantile(times, 0.05),
            "p95_s": _quantile(times, 0.95),
            "first_s": statistics.median(firsts[name]) if firsts[name] else None,
            "explanations_per_s": batch_size / statistics.median(times),
            "tokens_per_s": batch_size * output_tokens / statistics.median(times),
            "seconds": times,
        }
        for name, times in seconds.items()
    ]


# ---------------------------------------------------------------- memory and energy


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


def _peak_here(
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


def _peak_alone(spec: str, settings: Mapping[str, Any], imports: Sequence[str]) -> dict[str, int]:
    """As `_peak_here`, of a model that this process builds: what libraries take is not counted."""
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
    return _peak_here(model, inputs, settings["output_tokens"], before)


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
        return _peak_alone(spec, settings, imports)
    if not Path(spec).is_dir():
        _model_class(spec, ())  # an unknown name fails here, not in the other process
    command = [sys.executable, "-m", "prism_utils.efficiency", "--peak-of", spec]
    command += ["--settings", json.dumps(settings), "--import", *imports]
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {spec} failed:\n{done.stderr[-2000:]}")
    peak: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return peak


# ---------------------------------------------------------------- records


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


def _save(record: Mapping[str, Any], path: Path | None) -> None:
    """Atomically: an interrupted run leaves whole cells."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _cell_of(row: Mapping[str, Any]) -> Cell:
    return Cell(**{name: row[name] for name in Cell.__dataclass_fields__})


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
    done = {_cell_of(row) for row in [*record["cells"], *record["left_out"]]}
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
            _save(record, out)
        built.clear()
        _free(device)
    _save(record, out)
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
        config = _model_class(name, imports)[1] if model is None else model.config
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
    measured = [(_cell_of(row), row["median_s"]) for row in record["cells"]]
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
                memory[cell] = _peak_here(model, ids[cell], outputs)
        rows = measure(
            {" ".join(cell.variant): model for cell, model in models.items()},
            input_tokens=inputs, output_tokens=outputs, batch_size=batch,
            repeats=given["repeats"], least=given["least"], warmup=given["warmup"],
            max_seconds=given["seconds"], seed=given["seed"],
        )  # fmt: skip
    except torch.cuda.OutOfMemoryError:
        rows = []  # what the failed call held is let go with its traceback, after this block
    if not rows:
        _free(device)
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


# ---------------------------------------------------------------- what distillation costs


def prompt_lengths(samples: int, seed: int = 0) -> list[int]:
    """Lengths of simulated prompts in tokens: triangular between 64 and 512, most at 256."""
    rng = random.Random(seed)
    return [round(rng.triangular(64, 512, 256)) for _ in range(samples)]


def distillation(
    name: str,
    model: Any,
    lengths: Sequence[int],
    *,
    output_tokens: int = 40,
    batch_size: int = 32,
    one_by_one: int = 32,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A teacher's explanations a second, by how its prompts are batched; random ids, forced length.

    lengths: of the prompts, in their given order. Ways: "one by one" (the first `one_by_one` of
    them), "batches, in given order" and "batches, by length", both padded to the longest of the
    batch. Batches of all ways are timed in shuffled order. One row a way: model, way, batch_size,
    output_tokens, explanations, seconds, explanations_per_s, padding (share of the input's tokens).
    Raises ValueError without prompts.
    """
    if not lengths:
        raise ValueError("lengths: there is no prompt")

    def split(order: Sequence[int], size: int) -> list[Sequence[int]]:
        return [order[i : i + size] for i in range(0, len(order), size)]

    ways = {
        "one by one": split(lengths[:one_by_one], 1),
        "batches, in given order": split(lengths, batch_size),
        "batches, by length": split(sorted(lengths, reverse=True), batch_size),
    }
    tasks = [(way, batch) for way, batches in ways.items() for batch in batches]
    random.Random(seed).shuffle(tasks)
    generate(model, make_inputs({name: model}, input_tokens=max(lengths), batch_size=1), 2)
    taken = dict.fromkeys(ways, 0.0)
    for way, batch in tasks:
        longest = max(batch)
        place = torch.arange(longest).expand(len(batch), -1)
        here = torch.tensor(batch).unsqueeze(1)
        # Encoder-decoders are padded behind, decoder-only models before the prompt.
        behind = place < here if model.config.is_encoder_decoder else place >= longest - here
        inputs = make_inputs({name: model}, input_tokens=longest, batch_size=len(batch), seed=seed)
        with devices.Timer(model.device) as timer:
            generate(model, inputs, output_tokens, mask=behind.long())
        taken[way] += timer.seconds
    rows = []
    for way, batches in ways.items():
        count, used = sum(map(len, batches)), sum(map(sum, batches))
        rows.append(
            {
                "model": name,
                "way": way,
                "batch_size": max(map(len, batches)),
                "output_tokens": output_tokens,
                "explanations": count,
                "seconds": taken[way],
                "explanations_per_s": count / taken[way],
                "padding": 1 - used / sum(max(batch) * len(batch) for batch in batches),
            }
        )
    return rows


def vllm_distillation(
    name: str, lengths: Sequence[int], *, dtype: str = "bfloat16", output_tokens: int = 40
) -> list[dict[str, Any]]:
    """As `distillation`, by vLLM with random weights, for decoder-only models; [] without vLLM."""
    if importlib.util.find_spec("vllm") is None:
        return []
    vllm: Any = importlib.import_module("vllm")
    _, config = _model_class(name, ())
    rng = random.Random(0)
    prompts = [
        {"prompt_token_ids": [rng.randrange(10, config.vocab_size) for _ in range(length)]}
        for length in lengths
    ]
    forced = vllm.SamplingParams(
        temperature=0, min_tokens=output_tokens, max_tokens=output_tokens, ignore_eos=True,
        detokenize=False,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        config.architectures = [_CLASSES[config.model_type]]
        config.save_pretrained(folder)
        engine = vllm.LLM(
            model=folder, load_format="dummy", skip_tokenizer_init=True, dtype=dtype,
            max_model_len=max(lengths) + output_tokens,
        )  # fmt: skip
        engine.generate(prompts[:1], forced)
        with devices.Timer() as timer:
            engine.generate(prompts, forced)
    return [
        {
            "model": name, "way": f"vLLM {vllm.__version__}", "batch_size": None,
            "output_tokens": output_tokens, "explanations": len(prompts),
            "seconds": timer.seconds, "explanations_per_s": len(prompts) / timer.seconds,
            "padding": 0.0,
        }
    ]  # fmt: skip


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
            _free(device)
            _save(record, out)
        if teacher == "llama-3-8b" and (teacher, "vLLM") not in there:
            record["distillation"] += vllm_distillation(teacher, lengths, dtype=dtype)
            _save(record, out)


def _free(device: str) -> None:
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


# ---------------------------------------------------------------- tables that a chapter draws


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
        cell, peak = _cell_of(row), Peak(**record["peaks"][row["dtype"]])
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
            found.setdefault((*_cell_of(row).setting, row["dtype"]), {})[row["model"]] = row
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


# ---------------------------------------------------------------- the program


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
        print(json.dumps(_peak_alone(given.peak_of, given.settings, given.imports)))
        return 0
    name = given.grid or ("paper" if given.device.startswith("cuda") else "cpu")
    try:
        out = given.out if given.out.suffix == ".json" else record_path(given.out, given.device)
        cells = grid(name, given.backends or installed(given.device))
        if given.models:
            batches = sorted({cell.batch_size for cell in cells})
            known = {cell.model for cell in cells}
            others = [model for model in given.models if model not in known]
            cells = [cell for cell in cells if cell.model in given.models]
            cells += axes(others, batches, *_LENGTHS)
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
    sys.exit(main())
