"""A sweep: one function over many sets of parameters, in parallel, and never twice the same.

Every finished point is a file, so an interrupted sweep resumes and a longer one only adds to it.
Left out on purpose: what a point means (`mechanism`, `controls`), several machines, and any search
over parameters; the points are a list that somebody wrote down.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from ..errors import InputError
from ..runs import Run, device, home, provenance, read_json, write_json

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
    receives one file a point, named by function, point and the package's code, and written whole
    or not at all; what lies there is not computed again. workers: processes, by default one for
    each core at hand; each has one thread.

    A point that fails does not stop the others: after them, `InputError` (if the points were at
    fault) or RuntimeError names the first of them, and the same call computes only those.
    """
    if not points:
        raise InputError("points: the list is empty; give at least one set of parameters")
    name = f"{function.__module__}.{function.__qualname__}"
    code = _code()
    paths = [Path(out) / _file(name, number, point, code) for number, point in enumerate(points)]
    todo = {path: point for path, point in zip(paths, points, strict=True) if not path.is_file()}
    workers = min(workers or device()["cores"], max(len(todo), 1))
    failed: list[tuple[Point, BaseException]] = []
    hidden = {} if progress else {"disable": True}  # else as TQDM_DISABLE says
    before = {key: os.environ.get(key) for key in _ENVIRONMENT}
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        tqdm(
            total=len(set(paths)), initial=len(set(paths)) - len(todo), unit="point", **hidden
        ) as bar,
    ):
        os.environ.update(_ENVIRONMENT)  # processes start as points are submitted, and inherit it
        try:
            jobs = {pool.submit(_compute, function, name, todo[path], path): path for path in todo}
        finally:
            for key, value in before.items():
                os.environ.pop(key) if value is None else os.environ.update({key: value})
        try:
            for job in as_completed(jobs):
                error = job.exception()
                if error is not None:
                    failed.append((todo[jobs[job]], error))
                bar.update()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)  # only what has begun is finished
            raise
    if failed:
        said = "; ".join(f"{json.dumps(p, sort_keys=True)}: {e or type(e)}" for p, e in failed[:5])
        kind = InputError if all(isinstance(e, InputError) for _, e in failed) else RuntimeError
        raise kind(
            f"{len(failed)} of {len(points)} points failed, the others are kept: {said}"
        ) from failed[0][1]
    return pd.DataFrame([row for path in paths for row in read_json(path)["rows"]])


def _compute(function: Callable[[Point], Rows], name: str, point: Point, path: Path) -> None:
    start = time.perf_counter()
    rows = function(point)
    facts = {"function": name, "point": point, "seconds": time.perf_counter() - start}
    write_json(facts | {"rows": rows}, path)


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


def as_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as a record's JSON holds them: None where a value is missing."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def write_record(
    run: Run, name: str, tables: Mapping[str, pd.DataFrame], parameters: Mapping[str, Any]
) -> None:
    """Write a run's tables as a record, `records/NAME.json`, with what they were made on."""
    made = {"profile": run.facts.get("profile", run.path.resolve().name), "parameters": parameters}
    record = {
        "provenance": provenance(home()) | made,
        "tables": {table: as_rows(frame) for table, frame in tables.items()},
    }
    write_json(record, run.path / "records" / f"{name}.json")
