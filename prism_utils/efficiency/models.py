"""Models by name, with random weights: time and memory do not depend on their values.

Left out on purpose: checkpoints' weights, of a folder only the shape is taken, and tokenisation."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import BartConfig, LlamaConfig, T5Config

from .devices import DTYPES

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
CLASSES = {
    "bart": "BartForConditionalGeneration",
    "t5": "T5ForConditionalGeneration",
    "llama": "LlamaForCausalLM",
}


def model_class(spec: str, imports: Sequence[str]) -> tuple[Any, Any]:
    """(class, configuration) of a name in CONFIGURATIONS or of a checkpoint folder."""
    if spec in CONFIGURATIONS:
        config = CONFIGURATIONS[spec]()
        return getattr(transformers, CLASSES[config.model_type]), config
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
        cls, config = model_class(spec, imports)
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
    cls, config = model_class(spec, imports)
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
