"""Models of others that a metric asks: loading them, and what a caption calls them.

Left out on purpose: any model of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..errors import InputError


def load_checkpoint(model: str, load: Any, **options: Any) -> Any:
    """`load(model)`, with one sentence for a model that is not there."""
    try:
        return load(model, **options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"model {model!r} could not be loaded, neither as a local folder nor from the hub: "
            f"{reason}"
        ) from error


def known_as(model: str) -> str:
    """The name of a model or the last part of a folder: no caption shows where it lies."""
    return Path(model).resolve().name if Path(model).is_dir() else model


def pick_device(device: str | None) -> str:
    return device or ("cuda" if torch.cuda.is_available() else "cpu")
