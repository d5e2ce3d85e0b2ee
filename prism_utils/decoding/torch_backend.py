"""The reference backend: transformers' `generate`, on any device, with everything it can do.

What the fast backends write is held against what this one writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..students.prism import PrismForConditionalGeneration


class TorchBackend:
    """Greedy by default; any option of `generate` may be given."""

    name = "torch"

    def __init__(self, model: PrismForConditionalGeneration) -> None:
        self.model = model.eval()
        self.config = model.config

    @classmethod
    def load(cls, folder: Path, device: str | None = None, dtype: str = "float32") -> TorchBackend:
        """The student in `folder`, by default on a GPU if there is one."""
        model = PrismForConditionalGeneration.from_pretrained(folder)
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(model.to(target, getattr(torch, dtype)))  # type: ignore[arg-type]

    @torch.inference_mode()
    def generate(
        self, inputs: Sequence[Sequence[int]], users: np.ndarray, **options: Any
    ) -> list[list[int]]:
        """New tokens of each input, the end token included and the start token not.

        inputs: token ids, one list a sample. users: (batch,) rows of the user table.
        """
        config, device = self.model.config, self.model.device
        longest = max(map(len, inputs))
        ids = torch.full((len(inputs), longest), config.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(inputs):
            ids[row, : len(tokens)] = torch.as_tensor(tokens)
            mask[row, : len(tokens)] = 1
        output = self.model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            user_ids=torch.as_tensor(users, device=device),
            **{"num_beams": 1, "do_sample": False, **options},
        )
        ends = self.model.generation_config.eos_token_id
        stop = set(ends if isinstance(ends, list) else [ends])
        return [cut(row, stop) for row in output[:, 1:].tolist()]


def cut(tokens: list[int], stop: set[int]) -> list[int]:
    """Tokens up to the first end token, itself included.

    >>> cut([5, 2, 1, 1], {2})
    [5, 2]
    """
    end = next((i for i, token in enumerate(tokens) if token in stop), len(tokens) - 1)
    return tokens[: end + 1]
