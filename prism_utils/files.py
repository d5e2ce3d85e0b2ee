"""Files that a run writes and reads again: whole or not at all, sealed, claimed, told by content.

A seal is a checksum inside the file itself, so that a bit that flipped later is seen. Left out on
purpose: what stands in the files, and what is done about a damaged one; callers know that.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .errors import InputError, one_line, refusal

_SEAL = "prism-sha256:"
_OPEN = _SEAL + "0" * 64  # what stands where the checksum goes, while it is computed
_BLOCK = 2**24


@contextlib.contextmanager
def refusing(path: Path | str) -> Iterator[None]:
    """What the machine refuses within (a full disk, a folder there) is an `InputError` on `path`.

    >>> with refusing("there.json"):
    ...     raise OSError(errno.EROFS, "Read-only file system")
    Traceback (most recent call last):
    prism_utils.errors.InputError: there.json: the file system is read-only: give a place that ...
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        said = refusal(error, path)
        if said is None:
            raise
        raise InputError(said) from error


def make_folder(path: Path | str) -> Path:
    """The folder `path`, made where it is missing; InputError where it cannot be made."""
    with refusing(path):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


@contextlib.contextmanager
def whole(path: Path | str, *, sync: bool = True) -> Iterator[Path]:
    """Where to write what is to stand at `path`: it gets there at the end, whole or not at all.

    An error, an interruption and a kill leave what was there before. No two writers meet, since
    each writes to a file of its own. sync: even if the machine goes down. Raises InputError for
    what the machine refuses.
    """
    path = Path(path)
    partial = _partial(path)
    with refusing(path):
        _refuse_special(path)
        make_folder(path.parent)
        try:
            yield partial
            if sync:
                with partial.open("rb+") as file:
                    os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise


def check_writable(path: Path | str) -> None:
    """Raise InputError where `whole` would: what cannot be written is said before the work."""
    path = Path(path)
    partial = _partial(path)
    with refusing(path):
        _refuse_special(path)
        make_folder(path.parent)
        partial.touch()
        partial.unlink()


def _partial(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(8)}.partial")


def _refuse_special(path: Path) -> None:
    """A folder or a device is not replaced by a file."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "", str(path))
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a device, and a file is wanted: give another name")


def seal_fits(data: bytes) -> bool | None:
    """Whether a file's content is what was sealed; None if it has no seal."""
    start = data.rfind(_SEAL.encode()) + len(_SEAL)
    if start < len(_SEAL):
        return None
    return _checksum(data, start) == data[start : start + 64]


def _checksum(data: bytes, start: int) -> bytes:
    """The checksum that belongs at `start`, 64 hexadecimal digits, which count as zeros."""
    digest = hashlib.sha256(memoryview(data)[:start])
    digest.update(b"0" * 64)
    digest.update(memoryview(data)[start + 64 :])
    return digest.hexdigest().encode()


def _seal(path: Path) -> None:
    """Put the checksum where `_OPEN` stands in a file."""
    data = path.read_bytes()
    start = data.rfind(_OPEN.encode()) + len(_SEAL)
    with path.open("rb+") as file:
        file.seek(start)
        file.write(_checksum(data, start))


def write_text(text: str, path: Path | str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(value: Any, path: Path | str, *, sealed: bool = False) -> None:
    """Write JSON as `whole` does; sealed: an object with a checksum, as its last key `seal`."""
    text = json.dumps(value | {"seal": _OPEN} if sealed else value, indent=1, ensure_ascii=False)
    with whole(path) as partial:
        # Half an emoji, which UTF-8 has no place for, as JSON's own escape.
        partial.write_bytes((text + "\n").encode("utf-8", "backslashreplace"))
        if sealed:
            _seal(partial)


def is_pointer(data: bytes | str) -> bool:
    """Whether a file begins as the note that Git LFS leaves where the file itself was not got."""
    return data[:23] in (b"version https://git-lfs", "version https://git-lfs")


def parse_json(data: bytes | str, where: str, todo: str = "mend it") -> Any:
    """A JSON value; InputError says `where` it stands, what is wrong, and what is `todo`.

    Refused beside what is no JSON: what is nested too deep, and an object with one key twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(made := dict(pairs)) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"{where}: the key {twice!r} stands twice in one object: {todo}")
        return made

    if is_pointer(data):
        raise InputError(f"{where} is a pointer of Git LFS, not the file: run git lfs pull")
    try:
        return json.loads(data, object_pairs_hook=once)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{where} is not readable JSON ({one_line(error)}): {todo}") from error
    except RecursionError as error:
        raise InputError(f"{where}: JSON that is nested too deep: {todo}") from error


def read_json(path: Path | str, todo: str = "delete it") -> dict[str, Any]:
    """A JSON object from a file; a missing file is an empty one.

    Raises InputError, which ends in what is `todo`, for a file that cannot be read, is no JSON
    object, or no longer fits its seal.
    """
    path = Path(path)
    with refusing(path):
        if not path.exists():
            return {}
        data = path.read_bytes()
    value = parse_json(data, str(path), todo)
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a JSON object: {todo}")
    fits = seal_fits(data)
    if fits is False or (value.pop("seal", None) is not None and fits is None):
        raise InputError(f"{path} was changed or damaged since it was written: {todo}")
    return value


def write_parquet(frame: Any, path: Path | str, metadata: Mapping[str, str] | None = None) -> Path:
    """Write a pandas frame as Parquet, without its index, as `whole` does, and seal it.

    metadata: text that travels in the file's schema. Raises InputError for half an emoji in a text,
    and for what the machine refuses.
    """
    import pyarrow as pa  # here: most of who needs this module writes no table
    import pyarrow.parquet as pq

    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except UnicodeEncodeError as error:
        raise InputError(
            f"{path}: a text, {error.object[:40]!r} …, holds {error.object[error.start]!r}, half a "
            "character, which no file takes: mend it where it comes from"
        ) from error
    more = {**(metadata or {}), "seal": _OPEN}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **more})
    with whole(path, sync=False) as partial:  # the seal tells what a machine that goes down leaves
        pq.write_table(table, partial)
        _seal(partial)
    return Path(path)


def check_parquet(path: Path | str, todo: str) -> None:
    """Raise InputError, which ends in what is `todo`, for a table that no longer fits its seal."""
    with refusing(path):
        if seal_fits(Path(path).read_bytes()) is False:
            raise InputError(f"{path} was changed or damaged since it was written: {todo}")


def fingerprint(path: Path | str, ignore: tuple[str, ...] = ()) -> str:
    """SHA-256 of a file's content, or of the names and contents of all files in a folder.

    Hidden files do not count, nor those whose names end in one of `ignore`. All is read each time,
    in blocks, on all cores: half a second to a second a gigabyte. Raises InputError for what
    cannot be read, or is not there.
    """
    path = Path(path)
    with refusing(path):
        files = [path]
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.is_file() and not p.name.endswith(ignore))
            files = sorted(p for p in inside if not _hidden(p.relative_to(path)))
        sizes = [file.stat().st_size for file in files]
        sized = zip(files, sizes, strict=True)
        blocks = [(file, at) for file, size in sized for at in range(0, size, _BLOCK)]
        names = [file.relative_to(path).as_posix() for file in files]
        digest = hashlib.sha256(json.dumps([names, sizes]).encode())
        with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
            for part in pool.map(_block, blocks):
                digest.update(part)
    return digest.hexdigest()


def _block(place: tuple[Path, int]) -> bytes:
    with place[0].open("rb", buffering=0) as file:
        file.seek(place[1])
        return hashlib.sha256(file.read(_BLOCK)).digest()


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def file_name(name: str) -> str:
    """`name` as a name in a folder, whatever it holds: never a path, never another name's.

    Plain names (small letters, digits, and inside them . _ -) stay; the others keep what is plain
    in them and get a digest, since some file systems do not tell capitals from small letters.

    >>> file_name("prism-2.0"), file_name("../../x")
    ('prism-2.0', 'x-9cdf6a50')
    """
    if re.fullmatch(r"[a-z0-9](?:[a-z0-9._-]{0,78}[a-z0-9])?", name):
        return name
    kept = re.sub(r"[^A-Za-z0-9]+", "-", name)[:60].strip("-")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{kept}-{digest}" if kept else digest


@contextlib.contextmanager
def claimed(path: Path | str, part: int = 0, *, wait: bool = False) -> Iterator[bool]:
    """Claim a part of what the file `path` stands for: True, or False while another process has it.

    The file is made, and stays, empty. A claim ends with its owner, even by a kill. wait: until it
    is free. Where the file system knows no locks everybody is told True, and so are threads of one
    process: what is guarded must bear two owners. Raises InputError where no file can be made.
    """
    with contextlib.ExitStack() as stack:
        with refusing(path):
            file = stack.enter_context(Path(path).open("a"))
            mine = _lock(file.fileno(), part, wait)
        yield mine


def _lock(file: int, part: int, wait: bool) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, part)
    except (
        BlockingIOError,
        PermissionError,
    ):  # systems differ in what they call a lock that is taken
        return False
    except OSError:  # no locks here
        pass
    return True
