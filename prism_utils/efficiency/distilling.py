"""What distilling costs: a teacher's rate by how its prompts are batched (the offline stage)."""

from __future__ import annotations

import importlib
import importlib.util
import random
import tempfile
from collections.abc import Sequence
from typing import Any

import torch

from . import devices
from .models import CLASSES, make_inputs, model_class
from .timing import generate


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
    _, config = model_class(name, ())
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
        config.architectures = [CLASSES[config.model_type]]
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
