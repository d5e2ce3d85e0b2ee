"""Models of others that a metric asks: loading them, and what a caption calls them.

Left out on purpose: any model of ours, and checkpoints that would run code of their own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import transformers

from ..errors import InputError


def load_checkpoint(model: str, load: Any, **options: Any) -> Any:
    """`load(model)`, with one sentence for a model that is not there, not whole or another."""
    folder = Path(model)
    if folder.is_file():
        raise InputError(f"model {str(model)!r} is a file: give the folder that it lies in")
    local = folder.is_dir()
    if local and not any(folder.glob("*.safetensors")):
        raise InputError(
            f"model {str(model)!r}: its folder has no model.safetensors; save its weights so"
        )
    try:
        return load(model, **options)
    except Exception as error:  # as many types as there are libraries that read its files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        place = (
            "its folder needs config, weights and tokenizer, whole"
            if local
            else ("it is no local folder and not on the hub, or the hub cannot be reached")
        )
        raise InputError(f"model {str(model)!r} could not be loaded: {place} ({reason})") from error


def load_tokenizer(model: str, **options: Any) -> Any:
    """The tokenizer of a model; `InputError` where its files are not there."""
    load = transformers.AutoTokenizer.from_pretrained
    tokenizer = load_checkpoint(model, load, trust_remote_code=False, **options)
    known = tokenizer.decode(tokenizer.encode("A film"), skip_special_tokens=True)
    if not re.search(r"\w", known):  # where files are missing, the library makes an empty one
        raise InputError(
            f"model {str(model)!r} has no tokenizer: put its files (tokenizer.json or a "
            "vocabulary) beside the weights"
        )
    return tokenizer


def known_as(model: str | Path) -> str:
    """The name of a model or the last part of a folder: no caption shows where it lies."""
    if not isinstance(model, str | Path) or not str(model).strip():
        raise InputError(f"model must be a folder or a name on the hub, found {model!r}")
    return Path(model).resolve().name if Path(model).is_dir() else str(model)


def pick_device(device: str | None) -> str:
    """`device`, or for None a GPU if there is one; `InputError` for one that is not there."""
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} is not there; use 'cpu', or None") from error
    return chosen
