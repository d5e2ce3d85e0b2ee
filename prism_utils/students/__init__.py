"""Students and floors: systems that learn to explain from a teacher's explanations.

`fit` and `load` are the one door to all of them: same data, same recipe, same budget of examples.
Left out: the models, one file each, which are imported only when asked for.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..checkpoints import UNREAD
from ..errors import InputError, nearest
from ..files import check_writable, fingerprint, read_json, write_json
from ..tables import check
from .checks import check_name
from .folders import SYSTEM, check_seals
from .inputs import StudentSettings
from .saved import read_curve
from .system import Job, System

if TYPE_CHECKING:
    from .training import Recipe

_PLACES = {
    "prism": "prism_fit",
    "att2seq": "att2seq",
    "pepler": "pepler",
    "nearest": "floors.NearestFloor",
    "frame": "floors.FrameFloor",
    "facts-template": "facts_floor.FactsFloor",
}
KINDS = tuple(_PLACES)
FLOORS = ("nearest", "frame", "facts-template")  # nothing trains, and nothing differs by seed


def _place(kind: str) -> Any:
    """What fits and loads this kind; modules import torch, so only when asked for."""
    module, _, name = _PLACES[kind].partition(".")
    place = import_module(f".{module}", __name__)
    return getattr(place, name) if name else place


def fit(
    kind: str,
    train: pd.DataFrame,
    valid: pd.DataFrame,
    out_dir: Path | str,
    *,
    items: pd.DataFrame,
    settings: StudentSettings,
    recipe: Recipe,
    name: str | None = None,
    progress: bool = False,
    **options: Any,
) -> System:
    """Fit a system of this kind and save it in `out_dir`, where `load` finds it.

    train, valid: samples joined with the teacher's `text`; a column `rating` is used by the
    systems that take one, an `input_text` by Prism. recipe: training's budget, and the seed of
    everything random. name: the system's, by default its kind's. options: the kind's own, see
    `prism_utils.students.att2seq.fit` and its like; `placement="none"` is Prism without user.

    Interrupted, the same call continues at the last checkpoint; finished, it gives back what lies
    in `out_dir` (unless data, options, package or `init_from` have changed). Raises `InputError`
    for an unknown kind or option, a value of the wrong type and a missing column.
    """
    if kind not in KINDS:
        raise InputError(f"student {kind!r} is unknown: {nearest(kind, KINDS)}")
    fitter = _place(kind).fit
    _check_options(kind, fitter, options)
    name = name or _default_name(kind, options)
    check_name(name)
    train, valid = (
        _checked(frame, source) for frame, source in ((train, "train"), (valid, "valid"))
    )
    check(items, "items", source="items")
    folder = Path(out_dir)
    digest = _digest(kind, train, valid, items, settings, recipe, options)
    if (folder / SYSTEM).exists():
        try:
            if _made(folder).get("digest") == digest:
                system = load(folder)
                system.name = name
                return system
        except InputError as error:
            print(f"{error}; here it is fitted again", file=sys.stderr)
    check_writable(folder / SYSTEM)
    before = _stamps(folder)
    system = fitter(Job(train, valid, folder, items, settings, recipe, name, progress), **options)
    if kind == "prism":
        from ..decoding import Explainer

        model, tokenizer, users, curve = system
        system = Explainer(model, tokenizer, users, settings, items, name=name, progress=progress)
        system.curve = curve
    written = [file for file, stamp in _stamps(folder).items() if before.get(file) != stamp]
    seals = {file: fingerprint(folder / file) for file in written if file not in _CARD}
    made = {"kind": kind, "name": name, "digest": digest, "files": seals}
    write_json(made, folder / SYSTEM, sealed=True)
    return system


_CARD = ("card.json", "README.md")  # written again when a system's scores are known


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """What tells that a file was written anew, by its name."""
    stats = {path.name: path.stat() for path in sorted(folder.iterdir()) if path.is_file()}
    return {file: (stat.st_ino, stat.st_mtime_ns) for file, stat in stats.items()}


def load(folder: Path | str) -> System:
    """The system that `fit` saved, or the Prism that `training.finetune` saved.

    Raises `InputError` for a folder without one, and for a file that is missing, strange, or not
    as `fit` left it.
    """
    folder = Path(folder)
    made = _made(folder)
    kind, name = made["kind"], made["name"]
    if kind == "prism":
        from ..decoding import Explainer

        system: Any = Explainer.load(folder, name=name)
    else:
        check_seals(folder)
        system = _place(kind).load(folder, name=name)
    system.curve = read_curve(folder)
    return system


def _made(folder: Path) -> dict[str, Any]:
    """Kind, name and digest of what is saved in a folder."""
    path = folder / SYSTEM
    if path.exists():
        made = read_json(path, "delete it and fit again")
        if made.get("kind") not in KINDS or not isinstance(made.get("name"), str):
            raise InputError(f"{path}: names no system; delete it and fit again")
        return made
    exported = (folder / "export.json").exists()
    if (folder / "student.json").exists():
        if exported or read_json(folder / "config.json").get("model_type") == "prism":
            return {"kind": "prism", "name": "prism"}
    raise InputError(f"{folder}: no system is saved here; students.fit makes one")


def _default_name(kind: str, options: dict[str, Any]) -> str:
    if kind == "prism" and options.get("placement") == "none":
        return "prism-no-user"
    if kind == "pepler" and options.get("head", "none") != "none":
        return f"pepler-{options['head']}"
    return kind


def _checked(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    if "split" not in frame.columns:
        frame = frame.assign(split=source)
    if "text" not in frame.columns:
        raise InputError(f"{source}: column 'text' is missing: join the teacher's explanations")
    return check(frame, "samples", source=source)


def _check_options(kind: str, fitter: Callable[..., Any], options: dict[str, Any]) -> None:
    own = dict(list(inspect.signature(fitter).parameters.items())[1:])  # the first is the job
    for name, value in options.items():
        if name not in own:
            hint = nearest(name, own) if own else "it has none"
            raise InputError(f"student {kind!r} has no option {name!r}: {hint}")
        default = own[name].default
        wanted = float if default is None else type(default)
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise InputError(
                f"student {kind!r}: {name} must be of type {wanted.__name__}, found {value!r}"
            )


def _digest(
    kind: str,
    train: pd.DataFrame,
    valid: pd.DataFrame,
    items: pd.DataFrame,
    settings: StudentSettings,
    recipe: Recipe,
    options: dict[str, Any],
) -> str:
    """What determines a fitted system: the data, all options, this package's code."""
    said = {"kind": kind, "settings": dataclasses.asdict(settings), "options": options}
    said["recipe"] = dataclasses.asdict(recipe)
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    used = [
        "sample_id",
        "user_id",
        "history",
        "item_id",
        "text",
        "rating",
        "input_text",
        "evidence",
    ]
    for frame, columns in ((train, used), (valid, used), (items, list(items.columns))):
        for column in frame.columns.intersection(columns):
            digest.update(f"{column}\x1f".join(frame[column].map(_flat)).encode())
    for path in sorted(Path(__file__).resolve().parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    start = options.get("init_from")
    if start and Path(start).is_dir():  # what it holds now: it may be replaced at its place
        digest.update(fingerprint(start, UNREAD).encode())
    return digest.hexdigest()


def _flat(value: Any) -> str:
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return str(value)
    return "\x1e".join(map(str, value))
