"""A sweep: one function over many sets of parameters, in parallel, and never twice the same.

Every finished point is a file, so an interrupted sweep resumes and a longer one only adds to it.
Its processes end with the one that started them, however that ends. Left out on purpose: what a
point means (`mechanism`, `controls`), several machines, and any search over parameters; the points
are a list that somebody wrote down.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from ..errors import InputError
from ..files import make_folder, read_json, write_json
from ..runs import cores, end_with_parent, forget_launcher

Point = dict[str, Any]
Rows = list[dict[str, Any]]

# These rooms only show or order results: a change in them makes no computed point stale.
_SHOW = {"claims", "plots", "study"}
# One thread a process: the processes share the cores, and threads of each would fight over them.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def run(
    function: Callable[[Point], Rows],
    points: Sequence[Point],
    out: Path | str,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """The rows that `function` returns for every point, in the order of the points.

    function: importable by name (spawned processes import it), one point -> rows that JSON can
    hold. points: dictionaries that JSON can hold; equal ones are computed once. out: a folder that
    receives one file a point, named by function, point and the package's code, written whole or
    not at all and sealed; what lies there is not computed again, unless it is damaged, which is
    said. workers: processes, by default one for each core at hand; each has one thread.

    A point that fails does not stop the others: after them, `InputError` (if the points or the
    machine were at fault) or RuntimeError names the first of them, and the same call computes only
    those. An interruption ends the processes at once; finished points are kept.
    """
    if not points:
        raise InputError("points: the list is empty; give at least one set of parameters")
    if workers is not None and workers < 1:
        raise InputError(f"workers must be 1 or more, found {workers}")
    folder = make_folder(out)
    name = f"{function.__module__}.{function.__qualname__}"
    code = _code()
    paths = [folder / _file(name, number, point, code) for number, point in enumerate(points)]
    todo = {path: point for path, point in zip(paths, points, strict=True) if not _whole(path)}
    workers = min(workers or cores(), max(len(todo), 1))
    failed: list[tuple[Point, BaseException]] = []
    hidden = {} if progress else {"disable": True}  # else as TQDM_DISABLE says
    with (
        processes(workers) as submit,
        tqdm(
            total=len(set(paths)), initial=len(set(paths)) - len(todo), unit="point", **hidden
        ) as bar,
    ):
        jobs = {submit(_compute, function, name, todo[p], p): p for p in todo}
        for job in as_completed(jobs):
            error = job.exception()
            if error is not None:
                failed.append((todo[jobs[job]], error))
            bar.update()
    if failed:
        said = "; ".join(f"{json.dumps(p, sort_keys=True)}: {e or type(e)}" for p, e in failed[:5])
        if any(isinstance(error, BrokenProcessPool) for _, error in failed):
            said += " (a process was killed, most often for want of memory: give fewer workers)"
        theirs = (InputError, BrokenProcessPool)
        kind = InputError if all(isinstance(e, theirs) for _, e in failed) else RuntimeError
        raise kind(
            f"{len(failed)} of {len(points)} points failed, the others are kept: {said}"
        ) from failed[0][1]
    return pd.DataFrame([row for path in paths for row in read_json(path)["rows"]])


@contextmanager
def processes(workers: int) -> Iterator[Callable[..., Future[Any]]]:
    """A way to submit functions to processes of one thread each, which end where this block does.

    An error or an interruption in the block ends them at once; so does the end of this process.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start) as pool:

        def submit(*call: Any) -> Future[Any]:
            with _inherited():  # processes start as functions are submitted
                return pool.submit(*call)

        try:
            yield submit
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            raise


@contextmanager
def _inherited() -> Iterator[None]:
    """What processes that start meanwhile inherit: one thread, and no ear for Ctrl-C.

    That is this process's to hear; each of them would show the stack of what it was doing.
    """
    before = {key: os.environ.get(key) for key in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)  # raises what came meanwhile


def _start() -> None:
    """What a process does before its first point."""
    end_with_parent()
    forget_launcher()


def _compute(function: Callable[[Point], Rows], name: str, point: Point, path: Path) -> None:
    start = time.perf_counter()
    rows = function(point)
    facts = {"function": name, "point": point, "seconds": time.perf_counter() - start}
    write_json(facts | {"rows": rows}, path, sealed=True)


def _whole(path: Path) -> bool:
    """Whether a point's file is there as it was written; it is said where it is not."""
    try:
        return "rows" in read_json(path, "computed again")
    except InputError as error:
        if path.is_dir():
            raise
        tqdm.write(str(error), file=sys.stderr)
        return False


def _file(name: str, number: int, point: Point, code: str) -> str:
    try:
        said = json.dumps([name, point, code], sort_keys=True)
    except TypeError as error:
        raise InputError(f"points: number {number + 1} holds what JSON cannot: {error}") from error
    return hashlib.sha256(said.encode()).hexdigest()[:24] + ".json"


def _code() -> str:
    """A digest of this package's files, but for those that only show results."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.is_file()):
        name = path.relative_to(package)
        if not (_SHOW | {"__pycache__", "_study"}) & set(name.parts):
            digest.update(name.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
