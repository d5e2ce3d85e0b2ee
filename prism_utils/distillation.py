"""Distillation: a teacher over all samples, in shards, on one process or many (equation 4).

A shard is a Parquet file that appears whole or not at all, so a killed run continues where it was
and loses at most the shards in the making. Left out on purpose: batching (the teacher's business),
retries, and any merging of different plans in one folder.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from .errors import InputError, run_cli
from .tables import check, read_table, write_table
from .teachers import Explainer, make_teacher

_PLAN_KEY = b"plan"


def _fingerprint(samples: pd.DataFrame) -> str:
    """A digest of what a teacher may look at, independent of library versions."""
    digest = hashlib.blake2b(digest_size=16)
    columns = [c for c in ("sample_id", "user_id", "item_id", "input_text") if c in samples.columns]
    for column in columns:
        digest.update("\x1f".join([column, *map(str, samples[column])]).encode())
    digest.update("\x1f".join("\x1e".join(history) for history in samples["history"]).encode())
    return digest.hexdigest()


def _plan(teacher: Explainer, samples: pd.DataFrame, shard_size: int) -> dict[str, Any]:
    return {
        "samples": _fingerprint(samples),
        "count": len(samples),
        "shard_size": shard_size,
        "system": teacher.name,
        **getattr(teacher, "description", {}),
    }


def _digest(plan: dict[str, Any]) -> str:
    text = json.dumps(plan, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def plan_folder(
    root: str | Path, teacher: Explainer, samples: pd.DataFrame, *, shard_size: int = 1000
) -> Path:
    """A folder under `root` of this plan's own: another plan never meets its shards."""
    digest = _digest(_plan(teacher, samples, shard_size))
    return Path(root) / f"{teacher.name}-{digest[:12]}"


def _keep_plan(folder: Path, plan: dict[str, Any]) -> None:
    """Write the plan, or make sure that the one which is there is the same."""
    path = folder / "plan.json"
    text = json.dumps(plan, indent=1, sort_keys=True, default=str)
    if path.exists():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            there = {}
        wanted = json.loads(text)
        if there != wanted:
            names = sorted({*wanted, *there})
            differ = ", ".join(n for n in names if there.get(n) != wanted.get(n))
            raise InputError(
                f"{folder} holds explanations of another plan (different: {differ}); delete this "
                "folder or choose another one"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name("plan.json.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _read_shard(path: Path, plan: str, sample_ids: list[str]) -> pd.DataFrame | None:
    """A finished shard; None where it is missing, broken, of another plan or of other samples."""
    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return None
    metadata = table.schema.metadata or {}
    if metadata.get(_PLAN_KEY) != plan.encode() or "sample_id" not in table.column_names:
        return None
    return table.to_pandas() if table.column("sample_id").to_pylist() == sample_ids else None


def _write_shard(path: Path, plan: str, explanations: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(explanations, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _PLAN_KEY: plan})
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial)
    partial.replace(path)


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
    truncated or foreign shard is done again. Under `accelerate launch --multi_gpu` (on CPUs too:
    `--cpu` would start one process) process p of n does the shards p, p + n, ...; all wait for
    each other and return the whole.

    Raises InputError for a folder that holds another plan, and for an empty or malformed samples
    table; ValueError for a teacher that does not answer each sample exactly once.
    """
    check(samples, "samples")
    if samples.empty:
        raise InputError("samples: the table is empty, there is nothing to explain")
    if shard_size < 1:
        raise InputError(f"shard_size must be 1 or more, found {shard_size}")
    folder = Path(out_dir)
    state = None
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch
        from accelerate import PartialState

        # Without a GPU, several processes must be asked for by `cpu`, or each believes it is alone.
        # Shards of a large teacher take long: the slowest process must not time the others out.
        state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=30))
    rank, processes = (state.process_index, state.num_processes) if state else (0, 1)
    plan = _plan(teacher, samples, shard_size)
    if rank == 0:
        _keep_plan(folder, plan)
    if state:
        state.wait_for_everyone()
        _keep_plan(folder, plan)
    plan_id = _digest(plan)

    ids: list[str] = samples["sample_id"].tolist()
    starts = range(0, len(samples), shard_size)
    mine = range(rank, len(starts), processes)
    paths = [folder / f"shard-{number:05d}.parquet" for number in range(len(starts))]
    sizes = [len(ids[start : start + shard_size]) for start in starts]
    bar = tqdm(
        total=sum(sizes[number] for number in mine),
        desc=f"{teacher.name}: explaining" + (f" (1 of {processes} processes)" if state else ""),
        unit=" samples",
        disable=not progress or rank != 0,
    )
    with bar:
        open_shards = []
        for number in mine:
            wanted = ids[starts[number] : starts[number] + shard_size]
            if _read_shard(paths[number], plan_id, wanted) is None:
                open_shards.append(number)
            else:
                bar.update(sizes[number])
        bar.initial = bar.n  # rate and time left are those of the work that is left
        for number in open_shards:
            part = samples.iloc[starts[number] : starts[number] + shard_size]
            told = teacher.explain(part)
            check(told, "explanations", source=f"explanations of {teacher.name}")
            wanted = part["sample_id"].tolist()
            if told["sample_id"].tolist() != wanted:
                if sorted(told["sample_id"]) != sorted(wanted):
                    raise ValueError(f"{teacher.name} did not answer each sample exactly once")
                told = told.set_index("sample_id").loc[wanted].reset_index()
            _write_shard(paths[number], plan_id, told)
            bar.update(len(part))
    if state:
        state.wait_for_everyone()
    parts = []
    for start, path in zip(starts, paths, strict=True):
        part = _read_shard(path, plan_id, ids[start : start + shard_size])
        if part is None:
            raise InputError(f"{path}: changed while distillation ran; start it again")
        parts.append(part)
    explanations = pd.concat(parts, ignore_index=True)
    for column in explanations.columns:  # Parquet gives lists back as arrays
        if hasattr(explanations[column].iloc[0], "tolist") and explanations[column].dtype == object:
            explanations[column] = [value.tolist() for value in explanations[column]]
    if rank == 0:
        write_table(explanations, folder / "explanations.parquet", "explanations")
    if state:
        state.wait_for_everyone()
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
        try:
            settings[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[key] = value
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
    samples = read_table(options.samples, "samples")
    items = read_table(options.items, "items")
    teacher = make_teacher(options.teacher, items, options.noun, **settings)
    explanations = distill(teacher, samples, options.out, shard_size=options.shard_size)
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"{len(explanations)} explanations in {Path(options.out) / 'explanations.parquet'}")


if __name__ == "__main__":
    run_cli(main)
