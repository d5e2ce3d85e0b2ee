"""Greedy decoding of a forced length, timed: same inputs, backends and models taking turns.

Left out on purpose: tokenisation, and the quality of what random weights write."""

from __future__ import annotations

import importlib
import importlib.util
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from . import devices
from .models import make_inputs


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
        return importlib.import_module(f"prism_utils.decoding.{module}")
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
