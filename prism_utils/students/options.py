"""Options of transformers' `generate` that an `explain` takes, checked before any work is done.

Only what shapes a text: one text comes back for each request. Left out: where an option goes, which
each system knows, and whatever else `generate` has, which a system's model still does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import InputError, nearest
from .folders import in_short
from .inputs import whole

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
        value = value.tolist() if isinstance(value, np.generic) else value
        if name in ("num_return_sequences", "streamer") or name.startswith(("output_", "return_")):
            raise InputError(
                f"explain: {name} changes what comes back; leave it out, one text answers a request"
            )
        if name not in OPTIONS:
            raise InputError(f"explain: option {name!r} is unknown: {nearest(name, OPTIONS)}")
        if name in _CALLED:
            each = value if isinstance(value, list) else [value]
            if name.startswith("prefix") == isinstance(value, list) or not all(map(callable, each)):
                wanted = "a function" if name.startswith("prefix") else "a list of functions"
                raise InputError(f"explain: {name} must be {wanted}, found {value!r}")
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
    """What transformers raises for a value that only it can judge becomes an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        names = [name for name in given if name not in ("max_new_tokens", "min_new_tokens")]
        if not names or set(names) & set(_CALLED):  # a bug, here or in what was passed
            raise
        asked = ", ".join(names)
        raise InputError(f"explain: {asked}: generate cannot ({in_short(error)})") from error
