"""What programs ask of an explainer, taken as they send it and checked before any work is done.

Histories come as lists, tuples, arrays, Series or cells of a Parquet table; ids and titles are
text. Left out: what they mean, which the explainer looks up, and the cutting of what is too long.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import pandas as pd

from .. import tables
from ..errors import InputError, nearest
from ..students.folders import in_short
from ..students.inputs import whole

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


# Options of `generate` that shape a text: whole numbers with the least, other numbers with what
# they must be, switches, and what only transformers can judge.
_WHOLE = {
    "max_new_tokens": 1,
    "min_new_tokens": 0,
    "num_beams": 1,
    "top_k": 0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
}
_NUMBERS: dict[str, tuple[str, Callable[[float], bool]]] = {
    **dict.fromkeys(
        ("temperature", "repetition_penalty", "encoder_repetition_penalty"),
        ("above 0", lambda v: 0 < v < math.inf),
    ),
    **dict.fromkeys(("top_p", "typical_p"), ("above 0 and at most 1", lambda v: 0 < v <= 1)),
    **dict.fromkeys(
        ("min_p", "epsilon_cutoff", "eta_cutoff"), ("at least 0 and below 1", lambda v: 0 <= v < 1)
    ),
    "length_penalty": ("finite", math.isfinite),
}
_SWITCHES = ("do_sample", "renormalize_logits", "remove_invalid_values", "use_cache")
_JUDGED_ELSEWHERE = ("early_stopping", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens",
                     "sequence_bias", "exponential_decay_length_penalty", "forced_bos_token_id",
                     "forced_eos_token_id")  # fmt: skip
_CALLED = ("logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn")
OPTIONS = (*_WHOLE, *_NUMBERS, *_SWITCHES, *_JUDGED_ELSEWHERE, *_CALLED)


def options(given: Mapping[str, Any], max_new_tokens: int) -> dict[str, Any]:
    """What goes to a backend: the options given, or `max_new_tokens` alone.

    Raises `InputError` for an option that is unknown or changes what comes back, and for a value
    that makes no sense.
    """
    asked: dict[str, Any] = {"max_new_tokens": max_new_tokens}
    for name, value in given.items():
        value = _plain(value)
        if name in ("num_return_sequences", "streamer") or name.startswith(("output_", "return_")):
            raise InputError(
                f"explain: {name} changes what comes back; leave it out, one text answers a request"
            )
        if name not in OPTIONS:
            raise InputError(f"explain: option {name!r} is unknown: {nearest(name, OPTIONS)}")
        if name in _WHOLE:
            value = whole(f"explain: {name}", value, _WHOLE[name])
        elif name in _NUMBERS:
            words, fits = _NUMBERS[name]
            if isinstance(value, bool) or not isinstance(value, int | float) or not fits(value):
                raise InputError(f"explain: {name} must be a number {words}, found {value!r}")
        elif name in _SWITCHES and not isinstance(value, bool):
            raise InputError(f"explain: {name} must be True or False, found {value!r}")
        asked[name] = value
    if asked.get("min_new_tokens", 0) > asked["max_new_tokens"]:
        raise InputError(
            f"explain: min_new_tokens={asked['min_new_tokens']} is more than "
            f"max_new_tokens={asked['max_new_tokens']}"
        )
    return asked


@contextmanager
def judged(given: Mapping[str, Any]) -> Iterator[None]:
    """What is raised for an option that transformers alone can judge becomes an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        names = ", ".join(name for name in _JUDGED_ELSEWHERE if name in given)
        if not names:
            raise
        raise InputError(
            f"explain: {names}: generate takes no such value ({in_short(error)})"
        ) from error
