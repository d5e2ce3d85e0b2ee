"""Students and floors: systems that learn to explain from a teacher's explanations.

`fit` and `load` are the one door to all of them: same data, same recipe, same budget of examples.
Left out: the models, one file each, which are imported only when asked for.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from ..errors import InputError, nearest
from ..tables import check

if TYPE_CHECKING:
    from ..finetuning import Recipe
    from .inputs import StudentSettings

KINDS = ("prism", "att2seq", "pepler", "nearest", "frame")
_FILE = "system.json"


class System(Protocol):
    """A fitted system: an explainer with the curve of its training, None where nothing trains."""

    name: str
    curve: pd.DataFrame | None

    def explain(self, samples: pd.DataFrame) -> pd.DataFrame: ...


def _fitter(kind: str) -> Callable[..., Any]:
    """The function that fits this kind; modules import torch, so only when asked for."""
    if kind == "prism":
        return _fit_prism
    if kind in ("nearest", "frame"):
        return getattr(import_module(".floors", __name__), f"fit_{kind}")
    return import_module(f".{kind}", __name__).fit


_COMMON = ("train", "valid", "out_dir", "items", "settings", "recipe", "name", "progress")


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
    fitter = _fitter(kind)
    _check_options(kind, fitter, options)
    train, valid = (
        _checked(frame, source) for frame, source in ((train, "train"), (valid, "valid"))
    )
    name = name or _default_name(kind, options)
    folder = Path(out_dir)
    digest = _digest(kind, train, valid, items, settings, recipe, options)
    made = _read(folder)
    if made.get("digest") == digest and made.get("kind") == kind:
        system = load(folder)
        system.name = name
        return system
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).unlink(missing_ok=True)
    system = fitter(
        train,
        valid,
        folder,
        items=items,
        settings=settings,
        recipe=recipe,
        name=name,
        progress=progress,
        **options,
    )
    made = {"kind": kind, "name": name, "digest": digest}
    (folder / _FILE).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return system


def load(folder: Path | str) -> System:
    """The system that `fit` saved, or the Prism that `finetuning.finetune` saved."""
    folder = Path(folder)
    made = _read(folder)
    if not made and (folder / "student.json").is_file():
        made = {"kind": "prism", "name": "prism"}
    kind, name = made.get("kind", ""), made.get("name", "")
    system: Any
    if kind == "prism":
        from ..decoding import Explainer

        system = Explainer.load(folder, name=name)
    elif kind in ("att2seq", "pepler"):
        from .ids import IdExplainer

        model_class = {"att2seq": "Att2Seq", "pepler": "Pepler"}[kind]
        system = IdExplainer.load(
            folder, getattr(import_module(f".{kind}", __name__), model_class), name=name
        )
    elif kind in ("nearest", "frame"):
        floor = {"nearest": "NearestFloor", "frame": "FrameFloor"}[kind]
        system = getattr(import_module(".floors", __name__), floor).load(folder, name=name)
    else:
        raise InputError(f"{folder}: no system is saved here; students.fit makes one")
    curve = folder / "learning_curve.parquet"
    system.curve = pd.read_parquet(curve) if curve.is_file() else None
    return system


def _fit_prism(
    train: pd.DataFrame,
    valid: pd.DataFrame,
    out_dir: Path,
    *,
    items: pd.DataFrame,
    settings: StudentSettings,
    recipe: Recipe,
    name: str,
    progress: bool,
    init_from: str = "",
    vocabulary: str = "whole_titles",
    vocab_size: int = 1000,
    d_model: int = 128,
    layers: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
    placement: str = "every_token",
    scale: str = "1",
    user_dropout: float = 0.0,
    user_rank: int = 0,
    user_table: str = "dense",
    user_init: str = "normal",
) -> Any:
    """Train a Prism, as chapter 3 does: the same arguments give the same weights."""
    from ..decoding import Explainer
    from ..finetuning import finetune
    from ..prompts import render_prompts
    from .inputs import UserTable, token_counter
    from .prism import from_checkpoint, from_scratch
    from .vocabulary import student_tokenizer

    users = UserTable(sorted(train["user_id"].unique()))
    user_options: dict[str, Any] = {
        "placement": placement,
        "scale": scale,
        "user_dropout": user_dropout,
        "user_rank": user_rank,
        "user_table": user_table,
        "user_init": user_init,
    }
    if init_from:
        model, tokenizer = from_checkpoint(init_from, len(users), seed=recipe.seed, **user_options)
    else:
        tokenizer = student_tokenizer(
            train, items, settings, vocabulary=vocabulary, vocab_size=vocab_size
        )
        model = from_scratch(
            tokenizer,
            len(users),
            d_model=d_model,
            layers=layers,
            heads=heads,
            max_positions=max(settings.max_input_tokens, settings.max_new_tokens) + 2,
            dropout=dropout,
            seed=recipe.seed,
            **user_options,
        )

    def prompted(frame: pd.DataFrame) -> pd.DataFrame:
        prompts = render_prompts(
            frame,
            items,
            template=settings.template,
            noun=settings.noun,
            max_history=settings.max_history,
            mark_evidence=settings.mark_evidence,
            count_tokens=token_counter(tokenizer, model.config),
            max_tokens=settings.max_input_tokens,
        )
        return frame.assign(prompt=prompts["prompt"].to_numpy())

    curve = finetune(
        model,
        tokenizer,
        prompted(train),
        prompted(valid),
        users,
        out_dir,
        settings=settings,
        recipe=recipe,
        items=items,
        progress=progress,
    )
    explainer = Explainer(model, tokenizer, users, settings, items, name=name, progress=progress)
    explainer.curve = curve
    return explainer


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
    own = {n: p for n, p in inspect.signature(fitter).parameters.items() if n not in _COMMON}
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


def _read(folder: Path) -> dict[str, Any]:
    path = folder / _FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


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
    if start and Path(start).is_dir():
        for path in sorted(Path(start).iterdir()):
            digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def _flat(value: Any) -> str:
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return str(value)
    return "\x1e".join(map(str, value))
