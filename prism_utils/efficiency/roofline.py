"""What the hardware could do: operations and bytes of a generation, floors, machines and money.

Plain arithmetic on configurations and numbers; nothing is run or measured here. Left out on
purpose: whatever is small beside it (norms, biases, softmax, activations) and kernels' launches.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Shape:
    """What of an architecture decides its work. Weights are matrices' elements.

    encoder: met by each input token before decoding. cross: makes keys and values of the input,
    once (encoder-decoders). decoder: met by each new token, and, where there is no encoder, by the
    prompt. head: the output layer, once a new token. embeddings: rows are looked up, not read
    whole, unless they are the output layer too. encoder_width, decoder_width: layers times the
    width of the queries; attending from one token to another takes 4 operations of each.
    cache_width: layers times the width of keys and values together, elements a token.
    """

    encoder: int
    cross: int
    decoder: int
    head: int
    embeddings: int
    encoder_width: int
    decoder_width: int
    cache_width: int

    @property
    def decoder_only(self) -> bool:
        return not self.encoder


def shape_of(config: Any, *, tied: bool = True) -> Shape:
    """The shape of a BART, T5 or Llama configuration (also of subclasses, such as Prism's).

    tied: whether input embedding and output layer are one matrix, which changes `embeddings` only.
    A layer has four attention matrices (queries, keys, values, output; twice in an
    encoder-decoder's decoder) and a feed-forward part of two matrices, or three if gated. Raises
    ValueError for another architecture.
    """
    kind = config.model_type
    if kind in ("bart", "prism"):
        d = inner = config.d_model
        encoder_layers, layers = config.encoder_layers, config.decoder_layers
        encoder_ff, ff = 2 * d * config.encoder_ffn_dim, 2 * d * config.decoder_ffn_dim
    elif kind == "t5":
        d, inner = config.d_model, config.num_heads * config.d_kv
        encoder_layers, layers = config.num_layers, config.num_decoder_layers
        encoder_ff = ff = (3 if config.is_gated_act else 2) * d * config.d_ff
    elif kind == "llama":
        d = config.hidden_size
        head = config.head_dim or d // config.num_attention_heads
        inner, kv = config.num_attention_heads * head, config.num_key_value_heads * head
        layers, matrix = config.num_hidden_layers, config.vocab_size * d
        return Shape(
            encoder=0, cross=0, head=matrix, embeddings=0 if tied else matrix, encoder_width=0,
            decoder=layers * (2 * d * inner + 2 * d * kv + 3 * d * config.intermediate_size),
            decoder_width=layers * inner, cache_width=layers * 2 * kv,
        )  # fmt: skip
    else:
        raise ValueError(f"model_type {kind!r}: only bart, prism, t5 and llama are counted here")
    matrix = config.vocab_size * d
    return Shape(
        encoder=encoder_layers * (4 * d * inner + encoder_ff),
        cross=layers * 2 * d * inner,
        decoder=layers * (6 * d * inner + ff),  # without the cross attention's keys and values
        head=matrix,
        embeddings=0 if tied else matrix,
        encoder_width=encoder_layers * inner,
        decoder_width=layers * inner,
        cache_width=layers * 2 * inner,
    )


@dataclass(frozen=True)
class Step:
    """Operations (a multiplication and an addition are two) and bytes moved, at least."""

    operations: int
    bytes: int


def steps(shape: Shape, batch: int, inputs: int, outputs: int, value_bytes: int) -> list[Step]:
    """The work of each of `outputs` tokens; the first holds everything that comes before it.

    Operations: 2 for each weight that a token meets, 4 x width for each pair of tokens that attend
    (queries times keys, then values; over the whole square, as kernels without a mask compute it).
    The output layer sees one position a sequence. Bytes: each weight that is needed once a step,
    whatever the batch; keys and values, written once and read in every later step.

    >>> from transformers import BartConfig
    >>> len(steps(shape_of(BartConfig()), 1, 256, 40, 4))
    40
    """
    s = shape
    if s.decoder_only:
        tokens, pairs = inputs * s.decoder, 4 * s.decoder_width * inputs**2
        weights, written = s.decoder + s.head, inputs * s.cache_width
    else:
        tokens = inputs * (s.encoder + s.cross) + s.decoder
        pairs = 4 * (s.encoder_width * inputs**2 + s.decoder_width * (inputs + 1))
        weights = s.encoder + s.cross + s.decoder + s.head
        written = (inputs + 1) * s.cache_width
    work = [
        Step(
            batch * (2 * (tokens + s.head) + pairs),
            value_bytes * (weights + batch * written),
        )
    ]
    for new in range(2, outputs + 1):
        # What a new token attends to: itself and what was decoded before, and the input.
        seen = inputs + new - 1 if s.decoder_only else inputs + new
        work.append(
            Step(
                batch * (2 * (s.decoder + s.head) + 4 * s.decoder_width * seen),
                value_bytes * (s.decoder + s.head + batch * seen * s.cache_width),
            )
        )
    return work


def cache_bytes(shape: Shape, batch: int, inputs: int, outputs: int, value_bytes: int) -> int:
    """Bytes of keys and values when the last token is written, of self and cross attention.

    An encoder-decoder keeps the input's and one position for each decoding step; a decoder-only
    model keeps the prompt's and one for each step but the last.
    """
    positions = inputs + outputs - (1 if shape.decoder_only else 0)
    return batch * positions * shape.cache_width * value_bytes


@dataclass(frozen=True)
class Peak:
    """What a device can do at most: operations a second, bytes a second, and who says so."""

    operations_per_s: float
    bytes_per_s: float
    source: str


# NVIDIA's data sheets: words of the name as the driver gives it (the first that fit) -> operations
# a second, dense, in bfloat16 (T4: float16) and float32 (not TF32), and bytes a second.
_DATA_SHEETS: tuple[tuple[str, float, float, float], ...] = (
    ("H200", 989e12, 67e12, 4.8e12),
    ("H100 PCIe", 756e12, 51e12, 2.0e12),
    ("H100 NVL", 835e12, 60e12, 3.9e12),
    ("H100", 989e12, 67e12, 3.35e12),
    ("A100-SXM4-80GB", 312e12, 19.5e12, 2.039e12),
    ("A100 80GB PCIe", 312e12, 19.5e12, 1.935e12),
    ("A100", 312e12, 19.5e12, 1.555e12),
    ("L40S", 362e12, 91.6e12, 0.864e12),
    ("L4", 121e12, 30.3e12, 0.3e12),
    ("T4", 65e12, 8.1e12, 0.32e12),
)


def data_sheet(device: str, dtype: str) -> Peak | None:
    """The peak of a GPU by its name; None for a part of one (MIG) and for names unknown here.

    >>> data_sheet("NVIDIA H100 80GB HBM3", "bfloat16").bytes_per_s
    3350000000000.0
    """
    for name, half, single, bandwidth in _DATA_SHEETS:
        if re.search(rf"\b{name}\b", device) and "MIG" not in device:
            rate = single if dtype == "float32" else half
            return Peak(rate, bandwidth, f"NVIDIA's data sheet of the {name}")
    return None


def floors(work: Iterable[Step], peak: Peak) -> dict[str, float]:
    """Seconds that no program on this device can be below: of the first token and of the rest.

    A step takes at least its operations at the peak rate and at least its bytes at the peak
    bandwidth. Keys: first_compute_s, first_memory_s, rest_compute_s, rest_memory_s, floor_s (the
    larger of the two, summed over steps).
    """
    both = [
        (step.operations / peak.operations_per_s, step.bytes / peak.bytes_per_s) for step in work
    ]
    return {
        "first_compute_s": both[0][0],
        "first_memory_s": both[0][1],
        "rest_compute_s": sum(compute for compute, _ in both[1:]),
        "rest_memory_s": sum(memory for _, memory in both[1:]),
        "floor_s": sum(map(max, both)),
    }


def fleet(
    cells: Iterable[Mapping[str, Any]],
    *,
    explanations_per_day: float,
    latency_limit_ms: float,
    price_per_hour: float,
    utilisation: float = 0.7,
) -> dict[str, Any]:
    """Machines and money for a steady stream of explanations, from measured cells of one model.

    cells: `batch_size`, `median_s`, `p95_s` of a batch. The largest batch whose p95 is within
    the limit is used. Assumed: arrivals are steady over the day, a machine is kept busy for the
    share `utilisation` of its time, machines are rented by the hour all day, and the wait of a
    request for its batch is not counted. Keys: batch_size, latency_ms (p95), explanations_per_s
    (one machine at full use), machines, money_per_day, money_per_million; without a batch that is
    fast enough all are None. Raises ValueError for a parameter out of range.

    >>> cells = [{"batch_size": 8, "median_s": 0.5, "p95_s": 0.6}]
    >>> fleet(cells, explanations_per_day=2e6, latency_limit_ms=900, price_per_hour=2)["machines"]
    3
    """
    for name, value in {
        "explanations_per_day": explanations_per_day,
        "latency_limit_ms": latency_limit_ms,
    }.items():
        if not value > 0:
            raise ValueError(f"{name}: must be above 0, got {value}")
    if price_per_hour < 0:
        raise ValueError(f"price_per_hour: must not be negative, got {price_per_hour}")
    if not 0 < utilisation <= 1:
        raise ValueError(f"utilisation: must be above 0 and at most 1, got {utilisation}")
    keys = ("batch_size", "latency_ms", "explanations_per_s", "machines", "money_per_day",
            "money_per_million")  # fmt: skip
    fast = [cell for cell in cells if 1000 * cell["p95_s"] <= latency_limit_ms]
    if not fast:
        return dict.fromkeys(keys)
    cell = max(fast, key=lambda c: (c["batch_size"], -c["median_s"]))
    rate = cell["batch_size"] / cell["median_s"]
    machines = math.ceil(explanations_per_day / 86400 / (rate * utilisation))
    money = machines * 24 * price_per_hour
    values = (cell["batch_size"], 1000 * cell["p95_s"], rate, machines, money,
              1e6 * money / explanations_per_day)  # fmt: skip
    return dict(zip(keys, values, strict=True))
