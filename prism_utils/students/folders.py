"""Files of a model's folder, read so that whatever is wrong with one of them is one sentence.

Left out: what the files mean, which `inputs`, `decoding` and the students know. Nothing here loads
pickled weights or runs code that a folder brings along.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from .. import files
from ..errors import InputError

Settings = TypeVar("Settings")
WEIGHTS = "model.safetensors"
SYSTEM = "system.json"  # beside a system that `students.fit` made: what it is, and its files' seals
_AGAIN = "copy or save the folder again"
# The types that fields of settings have, by their annotations: in words, and whether a value fits.
_TYPES: dict[str, tuple[str, Any]] = {
    "str": ("text", lambda v: isinstance(v, str)),
    "bool": ("true or false", lambda v: isinstance(v, bool)),
    "int": ("a whole number", lambda v: type(v) is int),
    "float": ("a number", lambda v: type(v) in (int, float) and math.isfinite(v)),
    "int | None": ("a whole number or null", lambda v: v is None or type(v) is int),
    "list[int]": (
        "a list of whole numbers",
        lambda v: isinstance(v, list) and all(type(one) is int for one in v),
    ),
}


def unreadable(path: Path, kind: str, error: object = "", advice: str = _AGAIN) -> InputError:
    """The error for a file that is missing or not what its name says; kind: "JSON", for instance.

    A file that Git LFS has left in the place of the real one is told from other damage.
    """
    if not path.exists():
        return InputError(f"{path}: no such file; {advice}")
    try:
        with path.open("rb") as file:
            if file.read(64).startswith(b"version https://git-lfs"):
                return InputError(f"{path}: a Git LFS pointer, not the file; run git lfs pull")
    except OSError as reason:  # a folder in its place, or no permission
        error = reason.strerror
    return InputError(f"{path}: not readable as {kind} ({in_short(error)}); {advice}")


def in_short(error: object) -> str:
    """What a library says of an error, in one line and at most 160 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:159] + "…"


def read_json(path: Path, advice: str = _AGAIN) -> dict[str, Any]:
    """The JSON object in a file; `InputError` if it is missing, cut or holds something else."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, "JSON", error, advice) from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: must hold a JSON object, found {in_short(value)}; {advice}")
    return value


def read_settings(kind: type[Settings], path: Path, advice: str = _AGAIN) -> Settings:
    """A dataclass from a JSON object; `InputError` names the file and the key at fault."""
    values = read_json(path, advice)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in fields:
            raise InputError(
                f"{path}: unknown key {name!r}; update prism-utils if a newer version wrote it"
            )
        words, fits = _TYPES[str(fields[name].type)]
        if not fits(value):
            raise InputError(f"{path}: {name} must be {words}, found {in_short(value)}")
    for name, field in fields.items():
        if name not in values and field.default is dataclasses.MISSING:
            raise InputError(f"{path}: key {name!r} is missing; {advice}")
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_ids(path: Path, column: str) -> pd.Index:
    """A column of ids from a Parquet file; `InputError` if one is null, no text or there twice."""
    try:
        if path.is_dir():
            raise OSError("a folder")
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises several unrelated types for a broken file
        raise unreadable(path, "Parquet", error) from error
    if column not in frame.columns:
        frame = frame.reset_index()
    if column not in frame.columns:
        have = ", ".join(map(str, frame.columns.drop("index", errors="ignore"))) or "none"
        raise InputError(f"{path}: column {column!r} is missing (columns: {have}); {_AGAIN}")
    ids = pd.Index(frame[column], dtype="object")
    if pd.api.types.infer_dtype(ids, skipna=False) not in ("string", "empty"):
        row = next(n for n, value in enumerate(ids) if not isinstance(value, str))
        raise InputError(f"{path}: row {row + 1}: {column} must be text, found {ids[row]!r}")
    if not ids.is_unique:
        row = int(ids.duplicated().argmax())
        raise InputError(f"{path}: row {row + 1}: {column} {ids[row]!r} stands there twice")
    return ids


def check_seals(folder: Path) -> None:
    """Raise `InputError` for a file that is not as `students.fit` left it, by `SYSTEM`, if any.

    Files that are gone are left to whoever reads them. Takes half a second to a second a gigabyte.
    """
    path = folder / SYSTEM
    seals = files.read_json(path, "delete it and fit again").get("files", {})
    if not isinstance(seals, dict):
        raise InputError(f"{path}: files must map names to checksums; delete it and fit again")
    for file, seal in seals.items():
        if (folder / file).is_file() and files.fingerprint(folder / file) != seal:
            raise InputError(
                f"{folder / file}: changed or damaged since the student was fitted; copy the whole "
                f"folder again, or delete {path} and fit again"
            )


def read_config(folder: Path, kind: str) -> dict[str, Any]:
    """config.json of a student of this kind ("prism", for instance), as it stands there."""
    path = folder / "config.json"
    config = read_json(path)
    if "auto_map" in config:
        raise _own_code(path)
    if "quantization_config" in config:
        raise InputError(
            f"{path}: quantization_config asks for quantised weights, which are not read; "
            "save the folder with the weights as they were trained"
        )
    if config.get("model_type") != kind:
        found = in_short(repr(config.get("model_type")))
        raise InputError(f"{path}: model_type is {found}, not {kind!r}; name a folder of that kind")
    return config


def _own_code(path: Path) -> InputError:
    return InputError(
        f"{path}: names code of its own (auto_map), which is never run (trust_remote_code=False); "
        "remove that key if the folder works without"
    )


def weight_shapes(folder: Path) -> tuple[Path, dict[str, tuple[int, ...]]]:
    """Where a folder's weights are, whole or in shards, and the shape of each by its name.

    Reads headers alone; safetensors only. Raises `InputError` for weights that are missing, cut,
    pickled or something else.
    """
    from safetensors import safe_open

    whole, index = folder / WEIGHTS, folder / f"{WEIGHTS}.index.json"
    source, files = whole, [whole]
    if not whole.exists() and index.exists():
        shards = read_json(index).get("weight_map")
        names = set(shards.values()) if isinstance(shards, dict) else set()
        if not names or not all(isinstance(n, str) and Path(n).name == n for n in names):
            raise InputError(f"{index}: weight_map must name files of this folder; {_AGAIN}")
        source, files = index, [folder / name for name in sorted(names)]
    elif not whole.exists() and (pickled := sorted(folder.glob("*.bin"))):
        raise InputError(
            f"{pickled[0]}: pickled weights are not loaded; save them as {WEIGHTS} instead"
        )
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        try:
            with safe_open(path, framework="numpy") as held:
                weights = {name: held.get_slice(name) for name in held.keys()}
                shapes |= {name: tuple(weight.get_shape()) for name, weight in weights.items()}
                kinds = {name: weight.get_dtype() for name, weight in weights.items()}
        except Exception as error:  # safetensors' own, and whatever opening a file raises
            raise unreadable(path, "safetensors", error) from error
        for name, kind in kinds.items():
            if kind not in ("F64", "F32", "F16", "BF16"):
                raise InputError(f"{path}: {name} is {kind}; only floating-point weights are read")
    return source, shapes


def check_weights(folder: Path, model: Any) -> Path:
    """Where the weights are; `InputError` unless they are those of `model` (a torch module).

    A weight that has several names (tied embeddings) need stand there under one of them.
    """
    source, found = weight_shapes(folder)
    model.tie_weights()  # not every version of transformers does so where there are no numbers
    wanted = model.state_dict(keep_vars=True)
    there = {id(wanted[name]) for name in found if name in wanted}
    for name, weight in wanted.items():
        shape = tuple(weight.shape)
        if name not in found and id(weight) not in there:
            raise InputError(f"{source}: has no {name}, which config.json asks for; {_AGAIN}")
        if found.get(name, shape) != shape:
            raise InputError(
                f"{source}: {name} has the shape {found[name]}, by config.json it has {shape}; "
                "both must come from the same training"
            )
    for name in found:
        if name not in wanted:
            raise InputError(f"{source}: has {name}, which config.json knows nothing of; {_AGAIN}")
    return source


def load_tokenizer(folder: Path, config: Any) -> Any:
    """transformers' tokenizer of a folder; config: of the weights that it belongs to."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():  # without it transformers makes up an empty tokenizer
        raise unreadable(path, "a tokenizer")
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        if (folder / name).exists() and "auto_map" in read_json(folder / name):
            raise _own_code(folder / name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=config, trust_remote_code=False, local_files_only=True
        )
        known = tokenizer("a", add_special_tokens=False)["input_ids"]
    except Exception as error:  # whatever reading a damaged file raises
        try:
            Tokenizer.from_file(str(path))
        except Exception as own:
            raise unreadable(path, "a tokenizer", own) from error
        raise unreadable(folder / "tokenizer_config.json", "a tokenizer's", error) from error
    if not known:
        raise unreadable(path, "a tokenizer", "it knows no letters")
    check_vocabulary(path, len(tokenizer), config.vocab_size)
    return tokenizer


def check_vocabulary(path: Path, tokens: int, vocabulary: int) -> None:
    """Raise `InputError` if a tokenizer has more tokens than its student has embeddings."""
    if tokens > vocabulary:
        raise InputError(
            f"{path}: {tokens} tokens, but the weights have {vocabulary}; "
            "both must come from the same training"
        )
