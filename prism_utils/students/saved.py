"""A trained student's folder: weights, tokenizer, settings, learning curve and its model card.

Left out: how each kind reads its folder again, which is its `load`.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from ..files import read_json, write_json, write_text
from . import folders
from .checks import check_choices, check_number
from .folders import SYSTEM, check_weights, in_short, read_config, unreadable
from .inputs import StudentSettings, whole

CURVE = "learning_curve.parquet"
LAST = "student.json"  # without it a folder is no student
_STALE = (LAST, SYSTEM, "export.json", "items.parquet", "model*.safetensors*")


def withdraw(folder: Path) -> None:
    """What lies in `folder` is no student any more: it is about to be made anew."""
    for name in (LAST, SYSTEM):
        (folder / name).unlink(missing_ok=True)
    for path in folder.glob(".*.partial"):  # of a process that was killed
        path.unlink(missing_ok=True)


def save(
    folder: Path,
    model: Any,
    tokenizer: Any,
    users: Any,
    settings: StudentSettings,
    curve: pd.DataFrame,
    recipe: Any,
    facts: dict[str, Any],
    items: pd.DataFrame | None = None,
) -> None:
    """Save a trained student of any kind, whole or not at all, and begin its model card anew.

    users: a `UserTable`, or another table that has `save`. curve: its learning curve. facts: for
    the card, beside parameters, loss, settings and recipe. items: the catalogue, if it needs one.
    """
    partial = folder / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for part in (model, tokenizer):
        part.save_pretrained(partial)
    for part in (users, settings):
        part.save(partial)
    if items is None:  # a student without a catalogue, and not one that lost it
        items = pd.DataFrame({"item_id": [], "title": []}, dtype="object")
    items.to_parquet(partial / "items.parquet", index=False)
    curve.to_parquet(partial / CURVE, index=False)
    known = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "best validation loss, nats a token": round(float(curve["valid_loss"].min()), 4),
        **dataclasses.asdict(settings),
        **dataclasses.asdict(recipe),
    }
    write_card(partial, {**facts, **known})
    for pattern in _STALE:
        for path in folder.glob(pattern):
            path.unlink()
    for path in sorted(partial.iterdir(), key=lambda path: path.name == LAST):
        path.replace(folder / path.name)
    partial.rmdir()


def load_model(folder: Path, model_class: Any) -> Any:
    """The model that was saved, in float32; `InputError` unless it is there whole."""
    import torch

    path, kind = folder / "config.json", model_class.config_class.model_type
    stated = read_config(folder, kind)
    try:
        config = model_class.config_class.from_dict(stated)
        with torch.device("meta"):  # sizes alone
            empty = model_class(config)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            check_number(name, whole(name, getattr(config, name), 0), f"[0, {config.vocab_size})")
    except Exception as error:  # each library's own, for a value of another kind or range
        raise InputError(f"{path}: describes no {kind} ({in_short(error)})") from error
    weights = check_weights(folder, empty)
    rules = folder / "generation_config.json"
    said = folders.read_json(rules) if rules.exists() else {}
    for name in (name for name in said if name.endswith("_token_id") and said[name] is not None):
        for value in said[name] if isinstance(said[name], list) else [said[name]]:
            check_number(f"{rules}: {name}", value, f"[0, {config.vocab_size})")
    try:
        model = model_class.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
    except Exception as error:  # of a value in generation_config.json, for instance
        raise InputError(f"{folder}: could not be loaded ({in_short(error)})") from error
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise InputError(f"{weights}: {name} is not finite; train the student again")
    return model


def read_curve(folder: Path) -> pd.DataFrame | None:
    """The learning curve, None where nothing was trained."""
    path = folder / CURVE
    if not path.exists():
        return None
    try:
        return pd.read_parquet(path, columns=["step", "train_loss", "valid_loss"])
    except Exception as error:  # pyarrow raises several unrelated types for a broken file
        raise unreadable(path, "Parquet", error) from error


_ABOUT = {
    "prism": "BART with a vector of the user added to its encoder's input embeddings "
    "(arXiv 2511.16543)",
    "att2seq": "a recurrent decoder that starts from, and attends over, vectors of user and item "
    "(Dong et al. 2017)",
    "pepler": "GPT-2 prompted by a vector of the user and one of the item (Li et al. 2023)",
}


def write_card(folder: Path | str, facts: dict[str, Any]) -> None:
    """Add facts (name -> value), scores for instance, to the model card beside the weights.

    `card.json` keeps them, `README.md` shows them; a fact given again is replaced. The fact "kind"
    says which student it is; without it the card is Prism's.
    """
    path = Path(folder) / "card.json"
    facts = {**read_json(path), **facts}
    kind = facts.get("kind", "prism")
    check_choices(**{f"{path}: kind": (kind, _ABOUT)})
    write_json(facts, path)
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    if kind == "prism":
        usage = (
            "from prism_utils.decoding import Explainer\n\n"
            'explainer = Explainer.load("path/to/this/folder")\n'
            'print(explainer.explain(history=["…"], item="…", user_id="…").text)\n'
        )
    else:
        usage = (
            "from prism_utils import students\n\n"
            'system = students.load("path/to/this/folder")\n'
            "print(system.explain(samples))\n"
        )
    write_text(
        "---\nlibrary_name: transformers\nlicense: apache-2.0\ntags: [explainable-recommendation]\n"
        f"---\n\n# {kind.capitalize()} student\n\nExplains a recommendation; {_ABOUT[kind]}. "
        "It was trained on a teacher's explanations and repeats their limits: check what it says "
        f"about items before people read it.\n\n```python\n{usage}```\n\n"
        f"| fact | value |\n|---|---|\n{rows}\n",
        path.parent / "README.md",
    )
