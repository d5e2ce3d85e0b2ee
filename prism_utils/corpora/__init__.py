"""Sources of interactions and items, one file each, behind one `load`.

Left out on purpose: caching and sampling. A source's module is imported only when it is asked
for, so that a run on the embedded films needs nothing of the others.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from pathlib import Path
from types import UnionType
from typing import Any

from ..errors import InputError, nearest
from .base import Corpus

__all__ = ["SOURCES", "Corpus", "load"]

SOURCES = ("custom", "embedded", "movielens", "yelp")


def load(name: str, path: str | Path | None = None, **parameters: Any) -> Corpus:
    """Load the corpus `name` (one of `SOURCES`) from the folder `path`.

    `parameters` are those of the source's own `load`; their names and types are checked here,
    so that a misspelt parameter in a profile is an `InputError` and not a silent default.

    >>> load("movielnes")
    Traceback (most recent call last):
        ...
    prism_utils.errors.InputError: unknown corpus 'movielnes': did you mean 'movielens'?
    """
    if name not in SOURCES:
        raise InputError(f"unknown corpus {name!r}: {nearest(name, SOURCES)}")
    source = importlib.import_module(f".{name}", __name__).load
    hints = typing.get_type_hints(source)
    known = [key for key in inspect.signature(source).parameters if key != "path"]
    for key, value in parameters.items():
        if key not in known:
            raise InputError(f"corpus '{name}' has no parameter {key!r}: {nearest(key, known)}")
        if typing.get_origin(hints[key]) is typing.Literal:
            choices = typing.get_args(hints[key])
            if value not in choices:
                hint = nearest(str(value), choices)
                raise InputError(f"corpus '{name}': unknown {key} {value!r}: {hint}")
        elif not _fits(value, hints[key]):
            union = typing.get_args(hints[key])  # "int | None" has no name of its own
            wanted = str(hints[key]) if union else hints[key].__name__
            raise InputError(
                f"corpus '{name}': parameter '{key}' must be {wanted}, "
                f"found {value!r} ({type(value).__name__})"
            )
    corpus: Corpus = source(path, **parameters)
    return corpus


def _fits(value: object, hint: Any) -> bool:
    """Whether `value` is of the annotated type; an int is a float, a bool is not a number."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float)
    return isinstance(value, origin or hint)
