"""Errors that a user can act on, and how a command shows them.

An `InputError` is one clear sentence that names the file, row or parameter and says what to do.
Commands print it without a traceback and exit with status 2; notebooks and library code see an
ordinary exception. Bugs are left to raise whatever they raise.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn


class InputError(ValueError):
    """The caller's input is at fault; the message says where and what to do."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest right one, or the list of all.

    >>> nearest("qick", ["quick", "yelp"])
    "did you mean 'quick'?"
    >>> nearest("zzz", ["quick", "yelp"])
    'choose one of: quick, yelp'
    """
    known = sorted(choices)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else "choose one of: " + ", ".join(known)


def run_cli(main: Callable[[], int | None]) -> NoReturn:
    """Run a command's `main` and exit: 2 with one sentence for bad input, 130 when interrupted."""
    try:
        code = main() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, the same command continues", file=sys.stderr)
        code = 130
    sys.exit(code)
