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
import torch
from transformers import logging

from .. import students
from ..errors import InputError, nearest
from ..runs import cores
from ..students.inputs import StudentSettings
from ..students.training import Recipe
from ..teachers import make_teacher
from .sweeps import processes

#: What is put beside the student where a profile names nothing else. Facts and steps of
#: `prism-facts` were compared on `quick`'s validation samples: "shared" says less that is false
#: than "all" for the same time.
SYSTEMS: dict[str, dict[str, Any]] = {
    "prism-facts": {
        "kind": "prism",
        "from_student": True,
        "settings": {"facts": "shared"},
        "recipe": {"steps": 1500},
    },
    "prism-no-user": {"kind": "prism", "placement": "none"},
    "att2seq": {"kind": "att2seq", "recipe": {"learning_rate": 3e-3}},
    "pepler": {"kind": "pepler"},
    "nearest": {"kind": "nearest"},
    "frame": {"kind": "frame"},
    "facts-template": {"kind": "facts-template"},
}
_TOLD = ["sample_id", "system", "text"]
_LONG = 500  # steps from which on a process of its own is worth its start


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
    jobs: list[dict[str, Any]] = []
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
            called = f"{name}@{seed}" if number else name
            options |= {"kind": kind, "name": called, "out_dir": folder / called, "items": items}
            options["settings"] = dataclasses.replace(settings, **changed)
            options["recipe"] = Recipe(**{**recipe, **own, "seed": seed})
            rated = kind == "pepler" or (kind == "att2seq" and ratings)
            for part, frame in (("train", train), ("valid", valid), ("test", test)):
                options[part] = frame if rated else frame.drop(columns="rating", errors="ignore")
            jobs.append(options)
    ahead = _fit_ahead(jobs)
    made, curves, told = [], [], []
    for job in jobs:
        asked, called = job.pop("test"), job["name"]
        started = time.perf_counter()
        system = students.fit(**job)
        trained = time.perf_counter()
        told.append(system.explain(asked)[_TOLD])
        model, curve = getattr(system, "model", None), system.curve
        if curve is not None:
            curves.append(curve.assign(system=called))
        made.append(
            {
                "system": called,
                "kind": job["kind"],
                "parameters": model and sum(p.numel() for p in model.parameters()),
                "validation loss": None if curve is None else curve["valid_loss"].min(),
                "training (s)": ahead.get(called, trained - started),
                "explaining (s)": time.perf_counter() - trained,
            }
        )
    return pd.DataFrame(made), pd.concat(curves), pd.concat(told, ignore_index=True)


def _fit_ahead(jobs: list[dict[str, Any]]) -> dict[str, float]:
    """Fit what takes long in processes beside each other, one a core; name -> seconds of each.

    Small students gain little from a second thread. Where there is a GPU they would share it, and
    nothing is fitted ahead; what goes on from another's weights waits for these.
    """
    if torch.cuda.is_available() or cores() < 2:
        return {}
    long = [job for job in jobs if job["recipe"].steps >= _LONG]
    long = [job for job in long if job["kind"] not in students.FLOORS]
    folders = {str(job["out_dir"]) for job in long}
    seconds: dict[str, float] = {}
    for later in (False, True):
        wave = [job for job in long if (job.get("init_from") in folders) == later]
        wave.sort(key=lambda job: job["kind"] != "prism")  # the longest first
        if wave:
            with processes(min(cores(), len(wave))) as submit:
                found = {job["name"]: submit(_timed_fit, job) for job in wave}
                seconds |= {name: each.result() for name, each in found.items()}
    return seconds


def _timed_fit(job: dict[str, Any]) -> float:
    logging.set_verbosity_error()  # its words would reach no chapter, but the terminal
    started = time.perf_counter()
    students.fit(**{name: value for name, value in job.items() if name != "test"})
    return time.perf_counter() - started


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
