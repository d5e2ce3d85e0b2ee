"""A model's folder as transformers saves it: what must lie there, said before a library reads it.

Only safetensors count as weights: other formats can hold code. Left out on purpose: which kinds of
model a caller takes, and names on the Hugging Face hub, whose files come whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import InputError, one_line
from .files import is_pointer, read_json, refusing

_WEIGHTS = "model.safetensors"
_INDEX = _WEIGHTS + ".index.json"
# What transformers reads beside the weights, all of them JSON objects.
_OBJECTS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", _INDEX,
)  # fmt: skip
# Weights that are never read here, notes and pictures: no part of what a folder's model says.
UNREAD = (".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".md", ".png")
_GET = "get it whole and try again"


def is_local(model: str) -> bool:
    """Whether a model is named by a path; a name on the hub has one slash at most.

    >>> [is_local(name) for name in ("google/flan-t5-xxl", "./student", "runs/quick/student")]
    [False, True, True]
    """
    return model.startswith((".", "/", "~")) or model.count("/") > 1 or Path(model).exists()


def check_folder(folder: Path | str) -> dict[str, Any]:
    """The configuration in a model's folder, if all files that belong there are there and whole.

    Looked at are the JSON files that transformers reads and the weights, `model.safetensors` or
    the shards of its index: none may be missing, cut, or a pointer of Git LFS. Raises InputError
    that names the folder or the file.
    """
    folder = Path(folder)
    with refusing(folder):
        if not folder.exists():
            raise InputError(f"{folder}: no such folder: check the path")
        if not folder.is_dir():
            raise InputError(f"{folder} is a file: give the folder that it lies in")
        if not (folder / "config.json").exists():
            raise InputError(
                f"{folder}: config.json is missing: give a folder as transformers saves it"
            )
    read = {name: read_json(folder / name, _GET) for name in _OBJECTS}
    for name in _weights(folder, read[_INDEX]):
        check_weights(folder / name)
    return read["config.json"]


def _weights(folder: Path, index: dict[str, Any]) -> list[str]:
    """The names of the weights' files."""
    if (folder / _WEIGHTS).exists():
        return [_WEIGHTS]
    if not index:
        others = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".h5"))
        has = f", only {others[0]}, a format that can hold code" if others else ""
        raise InputError(
            f"{folder}: {_WEIGHTS} is missing{has}: save the model with save_pretrained once more"
        )
    places = index.get("weight_map")
    names = set(places.values()) if isinstance(places, dict) else set()
    if not names or not all(isinstance(n, str) and Path(n).name == n for n in names):
        raise InputError(f"{folder / _INDEX}: weight_map must name files of this folder: {_GET}")
    return sorted(names)


def check_weights(path: Path) -> None:
    """Raise InputError unless `path` is a safetensors file that is as long as its header says."""
    from safetensors import (
        SafetensorError,
        safe_open,
    )  # here: most of who is asked needs no weights

    with refusing(path):
        with path.open("rb") as file:
            start = file.read(64)
    if is_pointer(start):
        raise InputError(f"{path} is a pointer of Git LFS, not the file: run git lfs pull")
    try:
        with safe_open(path, "np"):
            pass
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or cut ({one_line(error)}): {_GET}") from error
