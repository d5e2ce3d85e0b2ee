"""What this room asks of parameters, names and files: each check is one sentence or nothing.

A rater's id becomes a file name and comes back through a spreadsheet, a key is edited by hand:
both are looked at where they come in. Left out on purpose: tables, which `tables.check` knows.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DEVICE = re.compile(r"(?i)con|prn|aux|nul|(com|lpt)\d")
_MONTH = (
    "(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|"
    "oct(ober)?|nov(ember)?|dec(ember)?)"
)
_CHANGED = re.compile(  # into another number, a date or a capital word
    rf"(?i)0\d+|\d{{12,}}|\d+e-?\d+|\d+-\d+(-\d+)?|\d+-?{_MONTH}(-?\d+)?|{_MONTH}-?\d+|true|false"
)
_NUMBERS = (int, float, np.integer, np.floating)
_MOST_POINTS = 1e6  # of a standard deviation or a difference; squares stay finite


# ---------------------------------------------------------------- numbers


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """`value` as an int if it is a whole number from `least` to `most`; else `InputError`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise InputError(f"{name} must be a whole number, found {short(value)}")
    if value < least or (most is not None and value > most):
        bound = f"at least {least}" if value < least else f"between {least} and {most:,}"
        raise InputError(f"{name} must be {bound}, found {short(value)}")
    return int(value)


def real(name: str, value: Any, least: float = -_MOST_POINTS, most: float = _MOST_POINTS) -> float:
    """`value` as a float if it is a number from `least` to `most`; else `InputError`."""
    if not isinstance(value, _NUMBERS) or not least <= value <= most:
        raise InputError(
            f"{name} must be a number from {least:g} to {most:g}, found {short(value)}"
        )
    return float(value)


def share(name: str, value: Any) -> float:
    """`value` as a float if it lies between 0 and 1, ends excluded; else `InputError`."""
    if not isinstance(value, _NUMBERS) or not 0 < value < 1:
        raise InputError(f"{name} must lie between 0 and 1, found {short(value)}")
    return float(value)


def floats(name: str, values: Any) -> npt.NDArray[np.float64]:
    """`values` as an array of numbers, each finite; else `InputError`."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers, found {short(values)}") from error
    if not np.isfinite(array).all():
        raise InputError(f"{name} must be finite numbers, found {short(values)}")
    return array


def deviations(**given: Any) -> None:
    """Raise `InputError` for a standard deviation, named by its parameter, that cannot be one."""
    for name, value in given.items():
        if not isinstance(value, _NUMBERS) or not 0 <= value <= _MOST_POINTS:
            raise InputError(f"{name}: a standard deviation cannot be {short(value)}")


def resampling(resamples: Any, seed: Any, level: Any) -> None:
    """Raise `InputError` for what no bootstrap or permutation test can be asked for."""
    whole("resamples", resamples)
    whole("seed", seed, 0)
    share("level", level)


def generator(seed: Any) -> np.random.Generator:
    """NumPy's generator of a seed of 0 or more; else `InputError`."""
    return np.random.default_rng(whole("seed", seed, 0))


# ---------------------------------------------------------------- texts and names


def short(value: Any) -> str:
    """`value` as it would stand in Python, cut to what fits into a sentence."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def plain(text: str) -> str:
    """`text` with U+FFFD for half a character (a lone surrogate), which no file can hold.

    >>> plain("cut in two: \\ud83d")
    'cut in two: \ufffd'
    """
    return (
        text
        if text.isascii()
        else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


def printable(text: str) -> str:
    """`text` with U+FFFD for what would steer a terminal or could not be written to one."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def check_name(what: str, value: Any) -> str:
    """`value` if it can name a file anywhere and comes back from a spreadsheet as it was."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InputError(
            f"{what} {short(value)}: use letters, digits, '-' and '_', 64 at most and a letter or "
            "digit first (it names files)"
        )
    if _DEVICE.fullmatch(value) or _CHANGED.fullmatch(value):
        keeps = "Windows keeps it" if _DEVICE.fullmatch(value) else "spreadsheets change it"
        raise InputError(f"{what} {value!r}: {keeps}; give another name (it names files)")
    return value


# ---------------------------------------------------------------- files


def kind(path: Path) -> str:
    """What a path leads to: "folder", "file", or "" for nothing or nothing that could be read."""
    with suppress(OSError):  # a name that is too long, for one
        return "folder" if path.is_dir() else "file" if path.is_file() else ""
    return ""


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in a file; `InputError` names it where it holds no `what`."""
    if kind(path) != "file":
        is_ = "a folder" if kind(path) else "no such file"
        raise InputError(f"{path}: {is_}; give {what}")
    try:
        content = json.loads(path.read_bytes())
        json.dumps(content, ensure_ascii=False).encode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise InputError(f"{path}: not {what} (nested too deep)") from error
    except ValueError as error:
        why = f"not JSON: {error}"
        if isinstance(error, UnicodeError):
            why = "not UTF-8, or half a character in it"
        raise InputError(f"{path}: not {what} ({why})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not {what} (no JSON object)")
    return content


def check_output(parameter: str, path: Path, *, folder: bool = False) -> Path:
    """`path` if a file, or files in a `folder`, can be written there; before the work starts."""
    try:
        if path.exists() and path.is_dir() != folder:
            is_, give = ("a file", "a folder") if folder else ("a folder", "a file")
            raise InputError(f"{parameter} {path}: is {is_}; give {give}")
        above = path if folder else path.parent
        while not above.exists() and above != above.parent:
            above = above.parent
    except OSError as error:
        raise InputError(f"{parameter} {path}: {error.strerror}") from error
    if not above.is_dir():
        raise InputError(f"{parameter} {path}: {above} is no folder; give another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{parameter} {path}: {above} may not be written; give another place")
    return path


def write_whole(path: Path, text: str) -> Path:
    """Write `text` as UTF-8 so that nobody meets half a file; `InputError` where that fails."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(plain(text), encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise unwritten(str(path), error) from error
    return path


def unwritten(where: str, error: OSError) -> InputError:
    """What to raise where writing failed."""
    why = os.strerror(error.errno) if error.errno else error
    return InputError(f"{where}: cannot be written ({why}); make room or give another place")
