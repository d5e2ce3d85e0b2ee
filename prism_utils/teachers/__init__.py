"""Teachers: who writes the golden explanations that a student learns from (section 4.2).

Any object with a name and `explain(samples)` is an explainer, teachers and students alike. Left
out on purpose: teachers behind a network service, and any registry beyond the table below.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from ..errors import InputError, nearest


@runtime_checkable
class Explainer(Protocol):
    """Whatever explains samples.

    `explain` takes a samples table and returns an explanations table: the same samples, each
    once, `system` being `name`, and whatever more is known about a text (seconds, tokens, error).
    An optional attribute `description`, a dictionary that JSON can hold, says what determines the
    texts, files by their content (`files.fingerprint`); distillation uses it to tell one plan from
    another. An optional method `ready(samples)` raises InputError for samples that `explain` would
    refuse; distillation asks it before the work begins.
    """

    name: str

    def explain(self, samples: pd.DataFrame) -> pd.DataFrame: ...


_TEACHERS = {
    "grammar": "GrammarTeacher",
    "huggingface": "HuggingFaceTeacher",  # its module imports torch and transformers
    "recorded": "RecordedTeacher",
}


def make_teacher(
    kind: str, items: pd.DataFrame, noun: str = "film", /, **parameters: Any
) -> Explainer:
    """A teacher by name: "grammar", "huggingface" or "recorded", with its own parameters.

    Raises InputError for an unknown teacher or parameter (with the nearest right one), a missing
    parameter and a value of the wrong type.

    >>> items = pd.DataFrame({"item_id": ["1"], "title": ["Jaws"]})
    >>> make_teacher("grammar", items, error_rate=0.1).name
    'grammar'
    """
    if kind not in _TEACHERS:
        raise InputError(f"teacher {kind!r} is unknown: {nearest(kind, _TEACHERS)}")
    if not isinstance(noun, str) or not noun.strip():
        raise InputError(f"noun must be a word, such as film, found {noun!r}")
    teacher = getattr(import_module(f".{kind}", __name__), _TEACHERS[kind])
    known = dict(inspect.signature(teacher).parameters)
    given = {name: value for name, value in {"items": items, "noun": noun}.items() if name in known}
    own = {name: parameter for name, parameter in known.items() if name not in ("items", "noun")}
    for name, value in parameters.items():
        if name not in own:
            raise InputError(f"teacher {kind!r} has no parameter {name!r}: {nearest(name, own)}")
        problem = _misfit(own[name], value)
        if problem:
            raise InputError(f"teacher {kind!r}: {name} must be {problem}, found {value!r}")
    for name, parameter in own.items():
        if parameter.default is inspect.Parameter.empty and name not in parameters:
            raise InputError(f"teacher {kind!r} needs the parameter {name!r}")
    return teacher(**given, **parameters)


def _misfit(parameter: inspect.Parameter, value: Any) -> str:
    """What a parameter must be, if this value is not that."""
    default = parameter.default
    if default is None or default is inspect.Parameter.empty:  # all of them are texts
        right = isinstance(value, str | Path) or (value is None and default is None)
        return "" if right else "text (a number that is meant as text needs quotes)"
    wanted = type(default)
    number = wanted is float and isinstance(value, int) and not isinstance(value, bool)
    both = wanted is tuple and isinstance(value, list)
    return "" if type(value) is wanted or number or both else f"of type {wanted.__name__}"
