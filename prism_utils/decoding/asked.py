"""What programs ask of an explainer, taken as they send it and checked before any work is done.

Histories come as lists, tuples, arrays, Series or cells of a Parquet table; ids and titles are
text. Left out: what they mean, which the explainer looks up, and the cutting of what is too long.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

import pandas as pd

from .. import tables
from ..errors import InputError, nearest

KEYS = ("history", "item", "user_id", "evidence")


@dataclasses.dataclass(frozen=True)
class Asked:
    """Requests, one entry each; name: what a request is called in an error."""

    histories: list[list[str]]
    items: list[str]
    users: list[str]
    evidence: list[list[str]] | None
    input_texts: Iterable[Any] | None
    name: Callable[[int], str]


def of_requests(requests: Any) -> Asked:
    """From dicts with `item` and, if it is known, history, user_id and evidence."""
    if isinstance(requests, str | bytes | Mapping) or not isinstance(requests, Iterable):
        raise InputError(
            "explain: takes a samples table or a list of dicts with 'item', "
            f"found {type(requests).__name__}; explain(item=…) asks for a single one"
        )
    histories, items, users, evidence = [], [], [], []
    for number, request in enumerate(requests, start=1):
        where = f"request {number}"
        if not isinstance(request, Mapping):
            raise InputError(f"{where}: must be a dict, found {type(request).__name__}")
        for key in request:
            if key not in KEYS:
                raise InputError(f"{where}: unknown key {key!r}: {nearest(str(key), KEYS)}")
        item, user = _plain(request.get("item")), _plain(request.get("user_id"))
        if _missing(item):
            raise InputError(f"{where}: 'item' is missing: an id or a title")
        if not (_missing(user) or isinstance(user, str)):
            raise InputError(f"{where}: 'user_id' must be text, found {user!r}")
        items.append(_text(item, f"{where}: 'item'"))
        users.append(user if isinstance(user, str) else "")
        histories.append(_texts(request.get("history"), f"{where}: 'history'"))
        evidence.append(_texts(request.get("evidence"), f"{where}: 'evidence'"))
    return Asked(histories, items, users, evidence, None, lambda row: f"request {row + 1}")


def of_samples(samples: pd.DataFrame) -> Asked:
    """From a samples table."""
    tables.check(samples, "samples")

    def lists(column: str) -> list[list[str]] | None:
        if column not in samples.columns:
            return None
        where = "samples: row {}: '{}'"
        return [_texts(v, where.format(n, column)) for n, v in enumerate(samples[column], start=1)]

    ids = samples["sample_id"]
    return Asked(
        lists("history") or [],
        [_text(v, f"samples: row {n}: 'item_id'") for n, v in enumerate(samples["item_id"], 1)],
        samples["user_id"].tolist(),
        lists("evidence"),
        samples["input_text"] if "input_text" in samples.columns else None,
        lambda row: f"sample {ids.iloc[row]!r}",
    )


def _plain(value: Any) -> Any:
    """What NumPy, pandas, Arrow and others hold, as Python's own text, number or list.

    >>> import numpy as np
    >>> _plain(np.array(["f1", "f2"]))
    ['f1', 'f2']
    """
    if type(value) in (str, list):
        return value
    for way in ("tolist", "as_py", "to_pylist", "to_list"):
        if hasattr(value, way):
            return getattr(value, way)()
    return value


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _text(value: Any, where: str) -> str:
    value = _plain(value)
    if not isinstance(value, str):
        raise InputError(f"{where} must be text, an id or a title, found {value!r}")
    if not value or value.isspace():
        raise InputError(f"{where} is blank; name an id or a title")
    return value


def _texts(values: Any, where: str) -> list[str]:
    values = _plain(values)
    if _missing(values):
        return []
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        found = type(values).__name__
        raise InputError(f"{where} must be a list of ids or titles, found {found}")
    texts = list(values)
    if all(type(text) is str and text and not text.isspace() for text in texts):
        return texts
    return [_text(text, f"{where}: entry {n}") for n, text in enumerate(texts, start=1)]
