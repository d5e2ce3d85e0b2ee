"""Latency, throughput, memory and size of encoder-decoders (paper section 5.6, Table 2).

Needs torch and transformers alone, so that this file runs on a bare GPU machine. Weights are
random: time and memory of a forced output length do not depend on their values. Left out on
purpose: tokenisation, quality, quantisation and serving engines.

    python -m prism_utils.efficiency --models quick-student flan-t5-base --out record.json
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import transformers
from transformers import BartConfig, T5Config

GIB = 2**30
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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


#: Name -> configuration. "quick-student" has the shape that the quick profile trains.
CONFIGURATIONS: dict[str, Callable[[], Any]] = {
    "quick-student": lambda: _bart(2, 128, 4, 1500, 194),
    "bart-base": lambda: _bart(6, 768, 12, 50265, 1024),
    "flan-t5-small": lambda: _t5(8, 512, 6, 1024),
    "flan-t5-base": lambda: _t5(12, 768, 12, 2048),
    "flan-t5-large": lambda: _t5(24, 1024, 16, 2816),
    "flan-t5-xl": lambda: _t5(24, 2048, 32, 5120),
    "flan-t5-xxl": lambda: _t5(24, 4096, 64, 10240),
}


class Timer:
    """Seconds that a `with` block took; reading it while the block runs is an error.

    >>> with Timer() as timer:
    ...     pass
    >>> timer.seconds >= 0
    True
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self._device = torch.device(device)
        self._seconds: float | None = None

    def __enter__(self) -> Timer:
        self._seconds = None
        self._wait()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wait()
        self._seconds = time.perf_counter() - self._start

    def _wait(self) -> None:
        """Kernels run behind Python's back: wait for them before looking at the clock."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @property
    def seconds(self) -> float:
        if self._seconds is None:
            raise RuntimeError("the timer has not finished: read it after its with block")
        return self._seconds


def _model_class(spec: str, imports: Sequence[str]) -> tuple[Any, Any]:
    """(class, configuration) of a name in CONFIGURATIONS or of a checkpoint folder."""
    if spec in CONFIGURATIONS:
        config = CONFIGURATIONS[spec]()
        bart = isinstance(config, BartConfig)
        return getattr(transformers, f"{'Bart' if bart else 'T5'}ForConditionalGeneration"), config
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


def parameter_count(spec: str | Any, *, tied: bool | None = None) -> int:
    """Number of parameters; `spec` is a name in `CONFIGURATIONS`, a folder or a model.

    Built on the meta device: nothing is allocated. `tied` says whether the output layer shares
    the input embedding's matrix (None: as transformers builds it). Buffers do not count.

    >>> f"{parameter_count('bart-base') / 1e6:.1f}M"
    '139.4M'
    """
    model: Any = spec
    if isinstance(spec, str):
        cls, config = _model_class(spec, ())
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


@torch.inference_mode()
def generate(model: Any, inputs: torch.Tensor, output_tokens: int) -> torch.Tensor:
    """Greedy decoding of exactly `output_tokens` new tokens (batch, 1 + output_tokens)."""
    ids = inputs.to(model.device)
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        min_new_tokens=output_tokens,
        max_new_tokens=output_tokens,
        num_beams=1,
        do_sample=False,
    )
    if output.shape[1] != output_tokens + 1:  # one start token
        raise RuntimeError(f"asked for {output_tokens} tokens, got {output.shape[1] - 1}")
    return output


def measure(
    models: Mapping[str, Any],
    *,
    input_tokens: int = 64,
    output_tokens: int = 32,
    batch_size: int = 1,
    repeats: int = 10,
    warmup: int = 1,
    max_seconds: float = float("inf"),
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Time generation: same inputs, same forced output length, order shuffled in every round.

    Interleaving spreads a slow minute of the machine over all models alike. After `max_seconds`
    no further round begins. One record a model: seconds of each repeat, their median, p5 and p95
    (of a batch), explanations and tokens a second.
    """
    for name, value in {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "batch_size": batch_size,
        "repeats": repeats,
    }.items():
        if value < 1:
            raise ValueError(f"{name}: must be at least 1, got {value}")
    inputs = make_inputs(models, input_tokens=input_tokens, batch_size=batch_size, seed=seed)
    for model in models.values():
        for _ in range(warmup):
            generate(model, inputs, output_tokens)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    order, rng = list(models), random.Random(seed)
    start = time.perf_counter()
    for _ in range(repeats):
        if seconds[order[0]] and time.perf_counter() - start > max_seconds:
            break
        rng.shuffle(order)
        for name in order:
            with Timer(models[name].device) as timer:
                generate(models[name], inputs, output_tokens)
            seconds[name].append(timer.seconds)
    return [
        {
            "model": name,
            "batch_size": batch_size,
            "median_s": statistics.median(times),
            "p5_s": _quantile(times, 0.05),
            "p95_s": _quantile(times, 0.95),
            "explanations_per_s": batch_size / statistics.median(times),
            "tokens_per_s": batch_size * output_tokens / statistics.median(times),
            "seconds": times,
        }
        for name, times in seconds.items()
    ]


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


def weight_bytes(model: Any) -> int:
    """Bytes of the parameters, shared ones once."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def _peak_here(spec: str, settings: Mapping[str, Any], imports: Sequence[str]) -> dict[str, int]:
    """Bytes that `spec` and one generation take at their peak, in this process."""
    device = str(settings["device"])
    # What libraries load and keep on first use belongs to no model.
    generate(build("quick-student", device=device), torch.full((1, 4), 10), 2)
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    before = _memory(device)
    model = build(
        spec, device=device, dtype=settings["dtype"], seed=settings["seed"], imports=imports
    )
    gc.collect()
    _reset_peak(device)  # what building took for a moment is not the memory of inference
    inputs = make_inputs(
        {spec: model}, input_tokens=settings["input_tokens"], batch_size=settings["batch_size"]
    )
    generate(model, inputs, settings["output_tokens"])
    weights = weight_bytes(model)
    # A process reuses what it had freed, so the growth for a tiny model can be less than its size.
    return {
        "peak_bytes": max(_memory(device, peak=True) - before, weights),
        "weight_bytes": weights,
    }


def _memory(device: str, peak: bool = False) -> int:
    """Bytes in use now or at the peak: of torch's allocator on a GPU, else of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
    status = Path("/proc/self/status")
    if status.is_file():  # not getrusage: on Linux its peak includes that of the parent process
        label = "VmHWM:" if peak else "VmRSS:"
        line = next(x for x in status.read_text().splitlines() if x.startswith(label))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes, never goes down


def _reset_peak(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: building counts too
        pass


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
    """Peak bytes of a model that explains one batch, and bytes of its weights.

    GPU: what torch's allocator held at most. CPU: by how much the resident size of a fresh process
    grew, libraries not counted; where the system cannot reset a peak, building the model counts.
    """
    settings = {
        "device": device, "dtype": dtype, "input_tokens": input_tokens,
        "output_tokens": output_tokens, "batch_size": batch_size, "seed": seed,
    }  # fmt: skip
    if device.startswith("cuda"):
        return _peak_here(spec, settings, imports)
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


def environment(device: str = "cpu") -> dict[str, Any]:
    """Date, commit, device, threads and versions: what a record needs to be believed."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        commit = done.stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        commit = None
    cuda = device.startswith("cuda")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "device": torch.cuda.get_device_name() if cuda else platform.machine() + " CPU",
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        },
    }


def benchmark(
    specs: Sequence[str],
    *,
    device: str = "cpu",
    dtype: str = "float32",
    input_tokens: int = 64,
    output_tokens: int = 32,
    batch_sizes: Sequence[int] = (1, 8),
    repeats: int = 10,
    warmup: int = 2,
    seed: int = 0,
    imports: Sequence[str] = (),
) -> dict[str, Any]:
    """A whole record: environment, settings, sizes, peak memory (batch of one) and timings."""
    memory = {
        spec: peak_memory(
            spec, device=device, dtype=dtype, input_tokens=input_tokens,
            output_tokens=output_tokens, seed=seed, imports=imports,
        )
        for spec in specs
    }  # fmt: skip
    models = {
        spec: build(spec, device=device, dtype=dtype, seed=seed, imports=imports) for spec in specs
    }
    timings = [
        timing
        for batch_size in batch_sizes
        for timing in measure(
            models, input_tokens=input_tokens, output_tokens=output_tokens, repeats=repeats,
            batch_size=batch_size, warmup=warmup, seed=seed,
        )
    ]  # fmt: skip
    return {
        "kind": "efficiency",
        **environment(device),
        "settings": {
            "dtype": dtype, "input_tokens": input_tokens, "output_tokens": output_tokens,
            "batch_sizes": list(batch_sizes), "repeats": repeats, "warmup": warmup, "seed": seed,
            "decoding": "greedy, forced length", "weights": "random", "order": "interleaved",
        },
        "models": [
            {
                "model": spec,
                "parameters_tied": parameter_count(model, tied=True),
                "parameters_untied": parameter_count(model, tied=False),
                "shape": {
                    key: getattr(model.config, key)
                    for key in ("vocab_size", "d_model", "encoder_layers", "num_layers")
                    if hasattr(model.config, key)
                },
                **memory[spec],
            }
            for spec, model in models.items()
        ],
        "timings": timings,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m prism_utils.efficiency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", nargs="+", default=["quick-student", "bart-base"],
                        help="checkpoint folders or: " + ", ".join(CONFIGURATIONS))  # fmt: skip
    parser.add_argument("--out", type=Path, help="where the JSON record goes (default: stdout)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--input-tokens", type=int, default=64)
    parser.add_argument("--output-tokens", type=int, default=32)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--import", dest="imports", nargs="*", default=[],
                        help="modules that hold the model classes of folders")  # fmt: skip
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    given = vars(parser.parse_args(arguments))
    out, specs, peak_of, settings = (given.pop(k) for k in ("out", "models", "peak_of", "settings"))
    if peak_of:
        print(json.dumps(_peak_here(peak_of, settings, given["imports"])))
        return 0
    try:
        record = benchmark(specs, **given)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = json.dumps(record, indent=1)
    if out is None:
        print(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
