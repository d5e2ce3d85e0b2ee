"""What a fast backend has to know of a student: sizes, special tokens, rules of greedy decoding.

Left out: whatever else `generation_config` can ask; `shape_of` refuses it by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import InputError

#: forbid(row of the batch, tokens written so far) -> ids of tokens that may not come next.
Forbid = Callable[[int, Sequence[int]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a student, its special tokens, and what its `generation_config` asks of greedy text.

    forced_first, forced_last: tokens that an explanation begins with, or ends with at its full
    length; no_repeat_ngram: n-grams of this length stand in a text only once (0: any number).
    """

    precision: str
    width: int
    encoder_layers: int
    encoder_heads: int
    decoder_layers: int
    decoder_heads: int
    embed_scale: float
    placement: str
    user_token_id: int | None
    pad: int
    start: int
    ends: list[int]
    forced_first: int | None = None
    forced_last: int | None = None
    no_repeat_ngram: int = 0

    def __post_init__(self) -> None:
        """Raises `InputError` for what no student can be."""
        for name in ("width", "encoder_layers", "encoder_heads", "decoder_layers", "decoder_heads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more, found {getattr(self, name)}")
        for name in ("encoder_heads", "decoder_heads"):
            if self.width % getattr(self, name):
                raise InputError(f"{name}={getattr(self, name)} does not divide width={self.width}")
        if self.placement not in ("every_token", "user_token", "none"):
            raise InputError(f"placement {self.placement!r} is unknown")
        if self.placement == "user_token" and self.user_token_id is None:
            raise InputError("placement 'user_token' needs user_token_id")
        if not self.ends:
            raise InputError("ends must name a token")

    def check_vocabulary(self, tokens: int) -> None:
        """Raise `InputError` for a special token that is none of so many."""
        ids = (self.pad, self.start, *self.ends, self.forced_first, self.forced_last)
        for number in (*ids, self.user_token_id):
            if number is not None and not 0 <= number < tokens:
                raise InputError(f"special token {number} is none of the {tokens} in the weights")


def check_lengths(longest: int, max_new_tokens: int, encoder: int, decoder: int) -> None:
    """Raise `InputError` for an input or a text of more tokens than encoder or decoder can take."""
    for what, wanted, most in (
        ("an input", longest, encoder),
        ("max_new_tokens", max_new_tokens, decoder),
    ):
        if wanted > most:
            raise InputError(f"{what} of {wanted} tokens: the student has {most} positions")


# What `generate` would heed and the fast loop does not know, with the value that means "off".
_UNKNOWN = {
    "repetition_penalty": 1.0, "encoder_repetition_penalty": 1.0, "bad_words_ids": None,
    "encoder_no_repeat_ngram_size": 0, "suppress_tokens": None, "begin_suppress_tokens": None,
    "sequence_bias": None, "guidance_scale": None, "exponential_decay_length_penalty": None,
    "min_length": 0, "watermarking_config": None,
}  # fmt: skip


def shape_of(model: Any, precision: str) -> Shape:
    """What the runtime has to know of a student; `InputError` names what it could not keep."""
    config, generation = model.config, model.generation_config
    for name, off in _UNKNOWN.items():
        value = getattr(generation, name, None)
        if value is not None and value != off:
            raise InputError(
                f"generation_config: {name}={value!r} is not known to the fast backend; "
                f"set it to {off!r} or use backend='torch'"
            )
    if config.activation_function != "gelu":
        raise InputError(f"config: activation_function {config.activation_function!r} is not gelu")
    ends = generation.eos_token_id
    start = generation.decoder_start_token_id
    forced = generation.forced_eos_token_id
    return Shape(
        precision=precision,
        width=config.d_model,
        encoder_layers=config.encoder_layers,
        encoder_heads=config.encoder_attention_heads,
        decoder_layers=config.decoder_layers,
        decoder_heads=config.decoder_attention_heads,
        embed_scale=config.d_model**0.5 if config.scale_embedding else 1.0,
        placement=getattr(config, "placement", "none"),
        user_token_id=getattr(config, "user_token_id", None),
        pad=config.pad_token_id,
        start=config.decoder_start_token_id if start is None else start,
        ends=ends if isinstance(ends, list) else [ends],
        forced_first=generation.forced_bos_token_id,
        forced_last=forced[0] if isinstance(forced, list) else forced,
        no_repeat_ngram=generation.no_repeat_ngram_size or 0,
    )
