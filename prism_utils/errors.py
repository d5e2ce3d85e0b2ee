"""Errors that a user can act on, and how a command shows them.

An `InputError` is one clear sentence that names the file, row or parameter and says what to do.
Commands print it without a traceback and exit with status 2; so they do with what the machine
refuses (a full disk, a folder in a file's place, want of memory). Notebooks and library code see an
ordinary exception. Bugs are left to raise whatever they raise.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

INTERRUPTED = "interrupted; what was finished is kept, the same command continues"

# What an operating system refuses, and what to do then.
_ROOM = "make room and do the same again"
_PLACE = "give another place"
_REFUSED: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", _ROOM),
    errno.EDQUOT: ("the disk's quota is used up", _ROOM),
    errno.EFBIG: ("the file would be larger than is allowed here", "raise the limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "give a place that can be written"),
    errno.EACCES: ("permission is denied", "change its permissions, or " + _PLACE),
    errno.EPERM: ("this is not permitted", "change its permissions, or " + _PLACE),
    errno.EISDIR: ("it is a folder, and a file is wanted", "remove it, or give another name"),
    errno.ENOTDIR: ("a part of this path is a file, and a folder is wanted", _PLACE),
    errno.EEXIST: ("it is there already, and is no folder", "remove it, or give another name"),
    errno.ENOTEMPTY: ("the folder is not empty", "remove it, or give another name"),
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.ENAMETOOLONG: ("the name is too long", "give a shorter one"),
    errno.ELOOP: ("its links point at each other", "check the path"),
    errno.ENODEV: ("there is no such device", _PLACE),
    errno.ENXIO: ("there is no such device", _PLACE),
    errno.EINVAL: ("this is not possible there", _PLACE),
    errno.EIO: ("the disk cannot be read or written", "check the disk, or " + _PLACE),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.ENOMEM: ("there is not enough memory", "ask for less at once"),
}
# Libraries put the same refusals into exceptions of their own, with the system's words.
_IN_WORDS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class InputError(ValueError):
    """The caller's input is at fault; the message says where and what to do."""


def nearest(name: object, choices: Iterable[object]) -> str:
    """A hint for an unknown name: the nearest right one, or the list of all.

    >>> nearest("qick", ["quick", "yelp"])
    "did you mean 'quick'?"
    >>> nearest("zzz", ["quick", "yelp"])
    'choose one of: quick, yelp'
    """
    known = sorted({str(choice) for choice in choices} - {str(name)})
    if not known:
        return "there is no other"
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean {close[0]!r}?" if close else "choose one of: " + ", ".join(known)


def refusal(error: BaseException, path: object = None) -> str | None:
    """What the machine refused, as a sentence; None for any other error.

    path: what is named where the error names nothing, or a file on its way (`files.whole`).

    >>> refusal(OSError(errno.ENOSPC, "No space left on device", "a.json"))
    'a.json: the disk is full: make room and do the same again'
    """
    torchs_own = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    if isinstance(error, MemoryError) or torchs_own:
        return "there is not enough memory: ask for less at once (smaller batches, shorter texts)"
    if isinstance(error, OSError) and error.errno:
        named = error.filename2 or error.filename
        if path and (named is None or str(named).endswith(".partial")):
            named = path
        strange = (str(error.strerror or os.strerror(error.errno)), "see to it and try again")
        what, do = _REFUSED.get(error.errno, strange)
        return f"{named}: {what}: {do}" if isinstance(named, str | os.PathLike) else f"{what}: {do}"
    for code in _IN_WORDS:
        if os.strerror(code) in str(error):
            what, do = _REFUSED[code]
            return f"{path}: {what}: {do}" if path else f"{what}: {do}"
    return None


def one_line(error: BaseException) -> str:
    """An exception's message without its line breaks; its type's name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _end(*_: Any) -> None:
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(130)


def loading() -> None:
    """Until `run_cli`, Ctrl-C ends the process with a line: loading libraries takes seconds."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored: nohup
        signal.signal(signal.SIGINT, _end)


def run_cli(main: Callable[[], int | None]) -> NoReturn:
    """Run a command's `main` and exit: 2 with one sentence for bad input or what the machine
    refuses, 130 when interrupted, 141 without a word where nobody reads the output any more.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal of another encoding shows what it can
            stream.reconfigure(errors="backslashreplace")
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    said = ""
    try:
        try:
            code = main() or 0
        except SystemExit as ended:  # --help, or arguments that argparse refuses
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            said = ended.code if isinstance(ended.code, str) else ""
        if sys.stdout is not None:  # closed from the start: >&-
            sys.stdout.flush()
    except InputError as error:
        code, said = 2, f"error: {one_line(error)}"
    except KeyboardInterrupt:
        code, said = 130, INTERRUPTED
    except BrokenPipeError:
        code = 141
    except Exception as error:
        sentence = refusal(error)
        if str(error) == "Query interrupted":  # how DuckDB passes Ctrl-C on
            code, said = 130, INTERRUPTED
        elif sentence is None:
            raise
        else:
            code, said = 2, f"error: {sentence}"
    _leave(code, said)


def _leave(code: int, said: str) -> NoReturn:
    """Say the last sentence and exit; what cannot be written any more goes nowhere, silently."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left to be told
    for stream, text in ((sys.stdout, ""), (sys.stderr, said)):
        try:
            print(text, end="\n" if text else "", file=stream, flush=True)
        except (OSError, ValueError):  # Python would try once more at its end, and say so
            with (
                contextlib.suppress(AttributeError, OSError, ValueError),
                Path(os.devnull).open("w") as nowhere,
            ):
                os.dup2(nowhere.fileno(), stream.fileno())
    sys.exit(code)
