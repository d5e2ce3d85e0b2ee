"""What no student can be made of, said by name before anything is made: sizes, shares, names.

Left out: what `inputs` checks of settings, and files, which `folders` reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import InputError, nearest
from .inputs import whole


def check_choices(**asked: tuple[str, Iterable[str]]) -> None:
    """Raise `InputError` for a value that is none of its choices: name=(value, choices)."""
    for name, (value, choices) in asked.items():
        if value not in choices:
            raise InputError(f"{name}: {value!r} is unknown; {nearest(str(value), choices)}")


def check_number(name: str, value: Any, within: str) -> None:
    """Raise `InputError` unless `value` is a number within an interval.

    >>> check_number("warmup", 2.0, "[0, 1]")
    Traceback (most recent call last):
    prism_utils.errors.InputError: warmup: 2.0 is not in [0, 1]
    """
    low, high = map(float, within[1:-1].split(","))
    outside = {low} if within[0] == "(" else set()
    outside |= {high} if within[-1] == ")" else set()
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise InputError(f"{name}: {value!r} is no number; take one in {within}")
    if not low <= value <= high or value in outside:
        raise InputError(f"{name}: {value!r} is not in {within}")


def check_sizes(d_model: int, *, heads: int = 1, dropout: float = 0.0, **sizes: int) -> None:
    """Raise `InputError` for a width, number of heads or other size that no model can have."""
    for name, size in {"d_model": d_model, "heads": heads, **sizes}.items():
        whole(name, size, 1)
    if d_model % heads:
        raise InputError(f"d_model: {d_model} cannot be divided by heads={heads}")
    check_number("dropout", dropout, "[0, 1)")


def check_counts(num_users: int, num_items: int, ratings: Iterable[float | None] = ()) -> None:
    """Raise `InputError` for what no table of users or items, and no rating, can be."""
    whole("num_users", num_users, 0)
    whole("num_items", num_items, 0)
    for rating in ratings:
        check_number("rating", 0 if rating is None else rating, "(-inf, inf)")


def check_name(name: Any) -> None:
    """Raise `InputError` for a system's name that no folder can have: a path, for instance."""
    plain = isinstance(name, str) and name.strip(" .")
    if not plain or re.search(r"[/\\\x00-\x1f\ud800-\udfff]", name):
        raise InputError(f"name: {name!r} cannot name a system and its folder; take a plain word")
