"""Chapter 3b's systems: fitted one after the other on the same data and budget, and timed.

Left out on purpose: what a system is (`students`), and what its texts are worth (`metrics`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import students
from ..errors import InputError, nearest
from ..students.inputs import StudentSettings
from ..students.training import Recipe
from ..teachers import make_teacher

#: What is put beside the student where a profile names nothing else.
SYSTEMS: dict[str, dict[str, Any]] = {
    "prism-facts": {
        "kind": "prism",
        "from_student": True,
        "settings": {"facts": "all"},
        "recipe": {"steps": 1200},
    },
    "prism-no-user": {"kind": "prism", "placement": "none"},
    "att2seq": {"kind": "att2seq", "recipe": {"learning_rate": 3e-3}},
    "pepler": {"kind": "pepler"},
    "nearest": {"kind": "nearest"},
    "frame": {"kind": "frame"},
    "facts-template": {"kind": "facts-template"},
}
_TOLD = ["sample_id", "system", "text"]


def with_ratings(samples: pd.DataFrame, interactions: pd.DataFrame) -> pd.DataFrame:
    """Samples with the user's `rating` of the item, where interactions have ratings."""
    if "rating" not in interactions.columns:
        return samples
    keys = ["user_id", "item_id"]
    rated = interactions[[*keys, "rating"]].drop_duplicates(keys)
    return samples.merge(rated, on=keys, how="left")


def fit_all(
    systems: Mapping[str, Mapping[str, Any]],
    train: pd.DataFrame,
    valid: pd.DataFrame,
    test: pd.DataFrame,
    folder: Path,
    *,
    student: Path,
    seeds: Sequence[int],
    items: pd.DataFrame,
    settings: StudentSettings,
    recipe: Mapping[str, Any],
    student_options: Mapping[str, Any],
    ratings: bool,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Fit each system and let it explain `test`: what was made, curves of training, explanations.

    systems: name -> kind, its options, its own recipe and settings; `from_student`: training goes
    on from chapter 3's student, saved in `student`. Of a further seed systems are called
    `name@seed`, the student comes along and the floors, which draw nothing, stay out.
    ratings: whether Att2Seq reads them; PEPLER's heads learn from training ratings in any case,
    and a rating at test time is a choice.
    """
    made, curves, told = [], [], []
    for number, seed in enumerate(seeds):
        wanted = {"prism": {"kind": "prism"}, **systems} if number else systems
        for name, entry in wanted.items():
            options = dict(entry)
            kind, own = options.pop("kind"), options.pop("recipe", {})
            changed = options.pop("settings", {})
            if options.pop("from_student", False):
                options["init_from"] = str(folder / f"prism@{seed}" if number else student)
            fields = [field.name for field in dataclasses.fields(settings)]
            for field in changed:
                if field not in fields:
                    hint = nearest(str(field), fields)
                    raise InputError(f"{name}: setting {field!r} is unknown: {hint}")
            if number and kind in students.FLOORS:
                continue
            if kind == "prism":
                options = {**student_options, **options}
            rated = kind == "pepler" or (kind == "att2seq" and ratings)
            given = [
                frame if rated else frame.drop(columns="rating", errors="ignore")
                for frame in (train, valid, test)
            ]
            called = f"{name}@{seed}" if number else name
            started = time.perf_counter()
            system = students.fit(
                kind, given[0], given[1], folder / called, items=items,
                settings=dataclasses.replace(settings, **changed),
                recipe=Recipe(**{**recipe, **own, "seed": seed}), name=called, **options,
            )  # fmt: skip
            trained = time.perf_counter()
            told.append(system.explain(given[2])[_TOLD])
            model, curve = getattr(system, "model", None), system.curve
            if curve is not None:
                curves.append(curve.assign(system=called))
            made.append(
                {
                    "system": called,
                    "kind": kind,
                    "parameters": model and sum(p.numel() for p in model.parameters()),
                    "validation loss": None if curve is None else curve["valid_loss"].min(),
                    "training (s)": trained - started,
                    "explaining (s)": time.perf_counter() - trained,
                }
            )
    return pd.DataFrame(made), pd.concat(curves), pd.concat(told, ignore_index=True)


def zero_shot(
    models: Mapping[str, Mapping[str, Any]], test: pd.DataFrame, items: pd.DataFrame, noun: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hugging Face models that were never tuned: what was made, and their explanations.

    models: name -> the options of the teacher "huggingface".
    """
    made, told = [], [pd.DataFrame(columns=_TOLD)]
    for name, options in models.items():
        started = time.perf_counter()
        model = make_teacher("huggingface", items, noun, **options)
        told.append(model.explain(test)[["sample_id", "text"]].assign(system=name))
        seconds = time.perf_counter() - started
        made.append({"system": name, "kind": "zero-shot", "explaining (s)": seconds})
    return pd.DataFrame(made), pd.concat(told, ignore_index=True)
