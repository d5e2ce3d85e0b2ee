"""Distillation: a teacher over all samples, in shards, on one process or many (equation 4).

A shard is a Parquet file that appears whole or not at all, so a killed run continues where it was
and loses at most the shards in the making. Processes, whoever started them, share the shards of one
folder by claiming them. Left out on purpose: batching (the teacher's business), retries, and any
merging of different plans in one folder.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from .errors import InputError, run_cli
from .files import (
    check_writable,
    claimed,
    file_name,
    make_folder,
    read_json,
    refusing,
    seal_fits,
    write_json,
    write_parquet,
)
from .tables import check, read_table
from .teachers import Explainer, make_teacher

_ROWS = 10_000  # of samples, made text at a time


def _fingerprint(samples: pd.DataFrame) -> str:
    """A digest of all that a teacher is given, independent of library versions."""
    digest = hashlib.sha256(json.dumps([str(column) for column in samples.columns]).encode())
    for column in samples.columns:
        for start in range(0, len(samples), _ROWS):
            values = samples[column].iloc[start : start + _ROWS].tolist()
            digest.update(json.dumps(values, default=_plain).encode())
    return digest.hexdigest()[:32]


def _plain(value: Any) -> Any:
    """What JSON cannot hold: arrays as lists, the rest as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _plan(teacher: Explainer, samples: pd.DataFrame, shard_size: int) -> dict[str, Any]:
    """What determines the explanations, as JSON gives it back."""
    plan = {
        "samples": _fingerprint(samples),
        "count": len(samples),
        "shard_size": shard_size,
        "system": teacher.name,
        **getattr(teacher, "description", {}),
    }
    kept: dict[str, Any] = json.loads(json.dumps(plan, sort_keys=True, default=str))
    return kept


def _digest(plan: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:32]


def plan_folder(
    root: str | Path, teacher: Explainer, samples: pd.DataFrame, *, shard_size: int = 1000
) -> Path:
    """A folder under `root` of this plan's own: another plan never meets its shards."""
    digest = _digest(_plan(teacher, samples, shard_size))
    return Path(root) / f"{file_name(teacher.name)}-{digest[:12]}"


def _keep_plan(folder: Path, plan: dict[str, Any]) -> None:
    """Write the plan, or make sure that the one which is there is the same."""
    path = folder / "plan.json"
    todo = "it is damaged; delete it, and the same command keeps the shards that fit"
    with claimed(folder / ".claims", wait=True):
        there = read_json(path, todo)
        if not there:
            write_json(plan, path, sealed=True)
        elif there != plan:
            names = sorted({*plan, *there})
            differ = ", ".join(n for n in names if there.get(n) != plan.get(n))
            raise InputError(
                f"{folder} holds explanations of another plan (different: {differ}); delete this "
                "folder or choose another one"
            )


def _read(path: Path, plan: str, sample_ids: list[str] | None = None) -> tuple[Any, str]:
    """A table that this plan wrote, or None and what is wrong: nothing if it is not there."""
    with refusing(path):
        if not path.exists():
            return None, ""
        data = path.read_bytes()
    if not seal_fits(data):  # before it is parsed, for which it may be anything
        return None, "damaged"
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except (OSError, ValueError, pa.ArrowException):
        return None, "damaged"
    if (table.schema.metadata or {}).get(b"plan") != plan.encode():
        return None, "of another plan"
    if sample_ids is not None and table.column("sample_id").to_pylist() != sample_ids:
        return None, "of other samples"
    return table, ""


def _place() -> tuple[int, int]:
    """Which of how many processes this is, as a launcher says; the first of one if none does.

    No more than an order of work hangs on it, so what was left over from elsewhere does no harm.
    """
    numbers = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE")]
    if not all(number.isdecimal() and len(number) < 9 for number in numbers):
        return 0, 1
    rank, processes = map(int, numbers)
    return (rank, processes) if rank < processes else (0, 1)


def distill(
    teacher: Explainer,
    samples: pd.DataFrame,
    out_dir: str | Path,
    *,
    shard_size: int = 1000,
    progress: bool = True,
) -> pd.DataFrame:
    """Explain all samples with `teacher` and return the explanations, in the samples' order.

    `out_dir` gets `plan.json` (what was asked for), `shard-00000.parquet` and so on (each
    `shard_size` samples) and in the end `explanations.parquet`. Called again with the same
    arguments, whether after success, an interruption or a kill, it does only what is missing; a
    shard that is damaged or foreign is done again, and that is said.

    Processes that do the same at once, on one machine or on several that share the folder, claim
    shards and divide them up; all wait for each other and return the whole. Under `accelerate
    launch --multi_gpu` (on CPUs too: `--cpu` would start one process) process p of n begins with
    the shards p, p + n, ...

    Raises InputError for a folder that holds another plan or cannot be written, for an empty or
    malformed samples table, and for samples that the teacher cannot explain (where it has a method
    `ready`, before the work begins); ValueError for a teacher that does not answer each sample
    exactly once.
    """
    check(samples, "samples")
    if samples.empty:
        raise InputError("samples: the table is empty, there is nothing to explain")
    if isinstance(shard_size, bool) or not isinstance(shard_size, int) or shard_size < 1:
        raise InputError(f"shard_size must be 1 or more, found {shard_size}")
    folder = make_folder(out_dir)
    check_writable(folder / "explanations.parquet")
    plan = _plan(teacher, samples, shard_size)
    plan_id = _digest(plan)
    _keep_plan(folder, plan)
    began = time.time()
    ids: list[str] = samples["sample_id"].tolist()
    parts = [slice(start, start + shard_size) for start in range(0, len(ids), shard_size)]
    paths = [folder / f"shard-{number:05d}.parquet" for number in range(len(parts))]
    rank, processes = _place()
    mine = range(rank, len(parts), processes)
    # The others' after one's own, from their end: it is reached last by those whose they are.
    order = [*mine, *sorted(set(range(len(parts))) - set(mine), reverse=True)]
    bar = tqdm(
        total=len(ids),
        desc=f"{teacher.name}: explaining"
        + (f" ({rank + 1} of {processes} processes)" if processes > 1 else ""),
        unit=" samples",
        disable=not progress or rank != 0,
    )
    with bar:
        left = []
        for number in order:
            table, problem = _read(paths[number], plan_id, ids[parts[number]])
            if problem:
                bar.write(f"{paths[number]} is {problem}: done again", file=sys.stderr)
            if table is None:
                left.append(number)
            else:
                bar.update(len(table))
        bar.initial = bar.n  # rate and time left are those of the work that is left
        if left and hasattr(teacher, "ready"):
            teacher.ready(samples)
        while left:
            elsewhere = []
            for number in left:
                with claimed(folder / ".claims", 1 + number) as ours:
                    if not ours:
                        elsewhere.append(number)
                        continue
                    wanted = ids[parts[number]]
                    if _read(paths[number], plan_id, wanted)[0] is None:
                        told = _explain(teacher, samples.iloc[parts[number]], wanted)
                        write_parquet(told, paths[number], {"plan": plan_id})
                bar.update(len(wanted))
            if len(elsewhere) == len(left):
                time.sleep(0.2)
            left = elsewhere
    return _collect(folder, plan_id, paths, [ids[part] for part in parts], began)


def _explain(teacher: Explainer, part: pd.DataFrame, wanted: list[str]) -> pd.DataFrame:
    """A shard's explanations, in the order that is wanted."""
    told = teacher.explain(part)
    check(told, "explanations", source=f"explanations of {teacher.name}")
    if told["sample_id"].tolist() != wanted:
        if sorted(told["sample_id"]) != sorted(wanted):
            raise ValueError(f"{teacher.name} did not answer each sample exactly once")
        told = told.set_index("sample_id").loc[wanted].reset_index()
    return told


def _collect(
    folder: Path, plan_id: str, paths: list[Path], wanted: list[list[str]], began: float
) -> pd.DataFrame:
    """All shards as one table, which is written unless what is there is made of these shards."""
    tables = []
    for path, ids in zip(paths, wanted, strict=True):
        table = _read(path, plan_id, ids)[0]
        if table is None:
            raise InputError(f"{path}: changed while distillation ran; start it again")
        tables.append(table.to_pandas())
    explanations = pd.concat(tables, ignore_index=True)
    for column in explanations.columns:  # Parquet gives lists back as arrays
        if hasattr(explanations[column].iloc[0], "tolist") and explanations[column].dtype == object:
            explanations[column] = [value.tolist() for value in explanations[column]]
    target = folder / "explanations.parquet"
    with refusing(target):
        newest = max(path.stat().st_mtime_ns for path in paths)
        older = not target.is_file() or target.stat().st_mtime_ns < newest
    if older or _read(target, plan_id)[0] is None:
        check(explanations, "explanations", source=str(target))
        write_parquet(explanations, target, {"plan": plan_id})
    for partial in folder.glob(".*.partial"):  # of processes that were killed
        with suppress(OSError):  # another process may do the same
            if partial.stat().st_mtime < began:
                partial.unlink(missing_ok=True)
    return explanations


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse `key=value` pairs; values are Python literals, anything else is text.

    >>> _settings(["error_rate=0.1", "model=google/flan-t5-xxl"])
    {'error_rate': 0.1, 'model': 'google/flan-t5-xxl'}
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--set {pair!r} must have the form key=value")
        if key in settings:
            raise InputError(f"--set {key}: it is given twice; give it once")
        try:
            settings[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[key] = value
        except (MemoryError, RecursionError, TypeError) as error:
            raise InputError(f"--set {key}: its value is no literal that can be read") from error
    return settings


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m prism_utils.distillation",
        description="Let a teacher explain all samples; run it again to continue.",
        epilog="Several processes: accelerate launch --multi_gpu --num_processes 2 "
        "-m prism_utils.distillation ... (the same flag on a machine without GPUs)",
    )
    parser.add_argument("--samples", required=True, help="samples table (Parquet)")
    parser.add_argument("--items", required=True, help="items table (Parquet)")
    parser.add_argument("--teacher", required=True, help="grammar, huggingface or recorded")
    parser.add_argument("--out", required=True, help="folder for shards and explanations")
    parser.add_argument("--noun", default="film", help="what an item is called (default: film)")
    parser.add_argument("--shard-size", type=int, default=1000, help="samples per shard")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter of the teacher, e.g. --set error_rate=0.1; may be repeated",
    )
    options = parser.parse_args(arguments)
    settings = _settings(options.set)
    if not options.out:
        raise InputError("--out is empty: give a folder")
    samples = read_table(options.samples, "samples")
    items = read_table(options.items, "items")
    teacher = make_teacher(options.teacher, items, options.noun, **settings)
    explanations = distill(teacher, samples, options.out, shard_size=options.shard_size)
    if _place()[0] == 0:
        print(f"{len(explanations)} explanations in {Path(options.out) / 'explanations.parquet'}")


if __name__ == "__main__":
    run_cli(main)
