"""The reference backend: transformers' `generate`, on any device, with everything it can do.

What the fast backends write is held against what this one writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor

from ..errors import InputError
from ..students.folders import (
    check_weights,
    in_short,
    read_config,
    read_json,
    weight_shapes,
)
from ..students.inputs import whole
from ..students.prism import PrismConfig, PrismForConditionalGeneration
from .shape import Forbid, check_lengths

_PLAIN = {"return_dict_in_generate": False}  # whatever a generation_config says

_SIZES = ("vocab_size", "d_model", "max_position_embeddings", "encoder_layers", "decoder_layers",
          "encoder_attention_heads", "decoder_attention_heads", "encoder_ffn_dim",
          "decoder_ffn_dim")  # fmt: skip


class TorchBackend:
    """Greedy by default; any option of `generate` may be given."""

    name = "torch"

    def __init__(self, model: PrismForConditionalGeneration) -> None:
        self.model = model.eval()
        self.config = model.config
        self.known = getattr(self.config, "num_users", 0)  # users in its table
        self.positions = (self.config.max_position_embeddings,) * 2  # tokens in and out

    @classmethod
    def load(cls, folder: Path, device: str | None = None, dtype: str = "float32") -> TorchBackend:
        """The student in `folder`, by default on a GPU if there is one.

        Raises `InputError` for a device that is not there, and unless configuration and weights are
        there, whole and of one student.
        """
        target = _device(device)
        config, empty = _described(folder)
        weights = check_weights(folder, empty)
        model = PrismForConditionalGeneration.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            local_files_only=True,
        )
        for name, weight in model.named_parameters():
            if not torch.isfinite(weight).all():
                raise InputError(f"{weights}: {name} is not finite; train the student again")
        _check_tokens(folder, model)
        return cls(model.to(target))  # type: ignore[arg-type]

    @torch.inference_mode()
    def generate(
        self,
        inputs: Sequence[Sequence[int]],
        users: np.ndarray,
        *,
        max_new_tokens: int,
        returned: int = 1,
        forbid: Forbid | None = None,
        **options: Any,
    ) -> list[list[int]]:
        """New tokens of each input, the end token included and the start token not.

        inputs: token ids, one list a sample. users: (batch,) rows of the user table. returned:
        texts of each input, one after the other and the likeliest first; needs as many beams.
        forbid: what may not come next, unless nothing else can.
        """
        config, device = self.model.config, self.model.device
        longest = max(map(len, inputs))
        check_lengths(longest, max_new_tokens, *self.positions)
        ids = torch.full((len(inputs), longest), config.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(inputs):
            ids[row, : len(tokens)] = torch.as_tensor(tokens)
            mask[row, : len(tokens)] = 1
        if forbid is not None:
            own = _Forbidding(forbid, len(inputs))
            options["logits_processor"] = [*(options.get("logits_processor") or []), own]
        output = self.model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            user_ids=torch.as_tensor(users, device=device),
            max_new_tokens=max_new_tokens,
            **{"num_beams": 1, "do_sample": False, **options, **_PLAIN},
            num_return_sequences=returned,
        )
        ends = self.model.generation_config.eos_token_id
        stop = set(ends if isinstance(ends, list) else [ends])
        return [cut(row, stop) for row in output[:, 1:].tolist()]


class _Forbidding(LogitsProcessor):
    """Takes the scores of forbidden tokens away; a text may have several beams."""

    def __init__(self, forbid: Forbid, batch: int) -> None:
        self._forbid, self._batch = forbid, batch

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        scores, beams = scores.clone(), len(input_ids) // self._batch
        for row, written in enumerate(input_ids[:, 1:].tolist()):
            ids = torch.as_tensor(self._forbid(row // beams, written), device=scores.device)
            left = scores[row].index_fill(0, ids, -torch.inf)
            if torch.isfinite(left).any():
                scores[row] = left
        return scores


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
        torch.empty(0, device=device)
    except Exception as error:  # AssertionError, RuntimeError and others, as the device has it
        raise InputError(f"device {name!r} is not here ({in_short(error)}); take 'cpu'") from error
    return device


def _described(folder: Path) -> tuple[PrismConfig, PrismForConditionalGeneration]:
    """The configuration in a folder, and a student of its sizes without weights."""
    path, rules = folder / "config.json", folder / "generation_config.json"
    stated, generation = read_config(folder, "prism"), read_json(rules) if rules.exists() else {}
    _, weights = weight_shapes(folder)
    try:
        config = PrismConfig.from_dict(stated)
        for name in _SIZES:
            # Each layer has weights of its own: more layers than weights are no layers.
            if whole(name, getattr(config, name), 1) > len(weights) and name.endswith("_layers"):
                raise InputError(f"{name}={getattr(config, name)} is more than the weights have")
        GenerationConfig.from_dict(generation)
        with torch.device("meta"):
            return config, PrismForConditionalGeneration(config)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # each library's own, for a value of another kind or range
        raise InputError(f"{path}: describes no student ({in_short(error)})") from error


def _check_tokens(folder: Path, model: PrismForConditionalGeneration) -> None:
    """Raise `InputError` for special tokens that are missing or outside the vocabulary."""
    for file, holder, needed, others in (
        ("config", model.config, ("pad_token_id", "decoder_start_token_id"), ("user_token_id",)),
        (
            "generation_config",
            model.generation_config,
            ("eos_token_id",),
            ("decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id"),
        ),
    ):
        for name in (*needed, *others):
            value = getattr(holder, name, None)
            several = name in ("eos_token_id", "forced_eos_token_id") and isinstance(value, list)
            ids = value if several and value else [value]
            if name not in needed and value is None:
                continue
            if any(type(i) is not int or not 0 <= i < model.config.vocab_size for i in ids):
                raise InputError(
                    f"{folder / file}.json: {name} must be the number of one of the "
                    f"{model.config.vocab_size} tokens, found {in_short(value)}"
                )


def cut(tokens: list[int], stop: set[int]) -> list[int]:
    """Tokens up to the first end token, itself included.

    >>> cut([5, 2, 1, 1], {2})
    [5, 2]
    """
    end = next((i for i, token in enumerate(tokens) if token in stop), len(tokens) - 1)
    return tokens[: end + 1]
