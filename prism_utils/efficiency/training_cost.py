"""What a user table costs: time and memory of training against the number of users.

    python -m prism_utils.efficiency.training_cost --out book/records/training_cost.json

Left out: what a training costs apart from its users, what a table does to the texts
(`experiments.user_table`), and drawing (`plots`).
"""

from __future__ import annotations

import argparse
import functools
import gc
import multiprocessing
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..errors import run_cli
from ..files import check_writable, make_folder, write_json
from ..students.prism import PrismConfig, PrismForConditionalGeneration, give_users
from ..students.user_rows import RowAdamW, UserRows
from .devices import Timer, check_device, environment, memory, reset_peak
from .models import GIB, user_table_parameters

USERS = (6_040, 60_400, 604_000, 1_987_929)  # the first and the last are Table 1's
TABLES = ("none", "dense", "sparse", "low rank")
#: What a row measures -> its name with the unit.
MEASURES = {
    "step": "a step (ms)",
    "alone": "of it, the table (ms)",
    "peak": "peak memory (GiB)",
}


class Training:
    """A small student with a user table, its optimizer and a stream of users.

    table: "none" (no user table), "dense" (every row in every step), "sparse" (`UserRows`), "low
    rank" (`UserRows` of width `rank`, projected). The optimizer is what `training.train` takes.
    """

    def __init__(
        self,
        table: str,
        users: int,
        *,
        d_model: int = 768,
        rank: int = 32,
        batch_size: int = 32,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(0)
        sides: dict[str, Any] = {
            f"{side}_{what}": value
            for side in ("encoder", "decoder")
            for what, value in (("layers", 1), ("attention_heads", 4), ("ffn_dim", 64))
        }
        lazy = table in ("sparse", "low rank")
        config = PrismConfig(
            vocab_size=64,
            d_model=d_model,
            max_position_embeddings=8,
            num_users=0 if lazy else users,
            placement="none" if table == "none" else "every_token",
            user_rank=rank if table == "low rank" else 0,
            **sides,
        )
        model = PrismForConditionalGeneration(config)
        if lazy:
            give_users(model, users, user_table="sparse")
        self.model = model.train().to(torch.device(device))  # type: ignore[arg-type]
        self.rows = getattr(model.model.encoder, "user_embeddings", None)
        options: dict[str, Any] = {"lr": 1e-3, "weight_decay": 0.01, "fused": True}
        self.optimizer: torch.optim.Optimizer
        if isinstance(self.rows, UserRows):
            self.optimizer = RowAdamW(model.parameters(), table=self.rows, **options)
        else:
            self.optimizer = torch.optim.AdamW(model.parameters(), **options)
        self.generator = torch.Generator().manual_seed(1)
        self.users, self.device = users, device
        self.tokens = torch.randint(4, 64, (batch_size, 2), generator=self.generator).to(device)

    def step(self, alone: bool = False) -> None:
        """Forward, backward, clipping, update; `alone`: of the table and its projection only."""
        drawn = torch.randint(1, self.users + 1, (len(self.tokens),), generator=self.generator)
        drawn = drawn.to(self.device)
        if alone:
            loss = self.model.model.encoder.user_vectors(drawn).square().mean()
        else:
            loss = self.model(input_ids=self.tokens, labels=self.tokens, user_ids=drawn).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    @property
    def seen(self) -> int | None:
        """Users that have a row in a sparse table."""
        return self.rows.used - 1 if isinstance(self.rows, UserRows) else None


def dense_bytes(users: int, d_model: int = 768) -> int:
    """Bytes of a dense table in training: rows, gradient and AdamW's two moments, float32.

    >>> round(dense_bytes(1_987_929) / 2**30, 1)
    22.8
    """
    return 4 * 4 * user_table_parameters(users, d_model)


def measure(
    users: Sequence[int] = USERS,
    tables: Sequence[str] = TABLES,
    *,
    d_model: int = 768,
    rank: int = 32,
    batch_size: int = 32,
    seconds: float = 3.0,
    steps: int = 500,
    max_gib: float = 8.0,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """A record: settings, environment and a row for each table and number of users.

    The student around the table is fixed and small, so that the table is what differs; users are
    drawn uniformly, the worst case for rows that are made when first seen. A row has medians, p5
    and p95 of a student's step (step_s, step_p5_s, step_p95_s) and of the table's part alone
    (alone_s, ...), points taking turns in shuffled order, each for about `seconds`; peak_bytes, by
    how much a fresh process grew in `steps` steps; and seen, the users that had a row after these.
    Before it is timed a sparse table has had `steps` steps, so a small one has seen all its users,
    a large one meets new ones all the time. A dense table that needs more than `max_gib` is not
    built: its row says so under skipped. Raises ValueError for a number below 1.
    """
    check_device(device)
    given = {"d_model": d_model, "rank": rank, "batch_size": batch_size}
    for name, value in (given | {"steps": steps, "users": min(users)}).items():
        if value < 1:
            raise ValueError(f"{name}: must be at least 1, got {value}")
    if max(users) > 2**40:
        raise ValueError(f"users: must be at most 2**40, got {max(users)}")
    if not 0 < seconds < float("inf"):
        raise ValueError(f"seconds: must be a number above 0, got {seconds}")
    if seed < 0:
        raise ValueError(f"seed: must be at least 0, got {seed}")
    size: dict[str, Any] = given | {"device": device}
    rows: list[dict[str, Any]] = [
        {"table": table, "users": count}
        for table in tables
        for count in (users if table != "none" else users[:1])
    ]
    for row in rows:
        need = dense_bytes(row["users"], d_model) / GIB
        if row["table"] == "dense" and need > max_gib:
            row["skipped"] = f"needs {need:.1f} GiB"
    made = [row for row in rows if "skipped" not in row]
    points = [(row["table"], row["users"]) for row in made]
    peaks = peak_memory(points, steps=steps, **size)
    trainings = [Training(*point, **size) for point in points]
    for training in trainings:
        _warm(training, steps)
    times = _times(trainings, seconds, random.Random(seed))
    for row, peak, found in zip(made, peaks, times, strict=True):
        row |= peak
        for what, of in found.items():
            low, high = np.quantile(of, [0.05, 0.95])
            row |= {f"{what}_s": statistics.median(of), f"{what}_steps": len(of)}
            row |= {f"{what}_p5_s": float(low), f"{what}_p95_s": float(high)}
    settings = given | {"seconds": seconds, "steps": steps, "max_gib": max_gib, "seed": seed}
    return {"kind": "training cost", **environment(device), "settings": settings, "rows": rows}


def _warm(training: Training, steps: int) -> None:
    """Enough steps: a dense table's cost is that of any step once it has moments."""
    training.step()
    if training.rows is not None:
        for _ in range(steps if training.seen else 2):
            training.step(alone=True)


def _times(
    trainings: Sequence[Training], seconds: float, rng: random.Random
) -> list[dict[str, list[float]]]:
    """Seconds of steps for each training, whole and alone; a training out of time rests."""
    found: list[dict[str, list[float]]] = [
        {"step": []} if training.rows is None else {"step": [], "alone": []}
        for training in trainings
    ]
    running = [(number, what) for number, whats in enumerate(found) for what in whats]
    while running:
        rng.shuffle(running)
        for number, what in running:
            with Timer(trainings[number].device) as timer:
                trainings[number].step(alone=what == "alone")
            found[number][what].append(timer.seconds)
        running = [(n, w) for n, w in running if sum(found[n][w]) < seconds / 2]
    return found


def peak_memory(
    points: Sequence[tuple[str, int]], *, steps: int, **size: Any
) -> list[dict[str, int]]:
    """For each (table, users): the bytes by which training grows a fresh process, users seen.

    On a GPU the bytes are those of torch's allocator. size: as for `Training`.
    """
    # A fork server imports the libraries once; where there is none, every process does.
    way = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(way)
    context.set_forkserver_preload(["prism_utils.students.prism"])
    measured = functools.partial(_peak_here, steps=steps, **size)
    with ProcessPoolExecutor(2, mp_context=context, max_tasks_per_child=1) as pool:
        return list(pool.map(measured, points))


def _peak_here(
    point: tuple[str, int], *, steps: int, device: str = "cpu", **size: Any
) -> dict[str, int]:
    # What libraries load and keep on first use belongs to no table.
    Training("none", 1, d_model=8, device=device).step()
    gc.collect()
    before = memory(device)
    training = Training(*point, device=device, **size)
    gc.collect()
    reset_peak(device)  # what building took for a moment is not the memory of training
    _warm(training, steps)
    found = {"peak_bytes": memory(device, peak=True) - before}
    return found if training.seen is None else found | {"seen": training.seen}


def curves(record: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a record as `plots.training_cost` draws them, one for each measure.

    Columns: table, users, what (of `MEASURES`, in order), value, low, high (p5 and p95 of times).
    """
    found = []
    for kind, what in MEASURES.items():
        ends, scale = [f"{kind}_s", f"{kind}_p5_s", f"{kind}_p95_s"], 1000.0
        if kind == "peak":
            ends, scale = ["peak_bytes"] * 3, 1 / GIB
        for row in record["rows"]:
            if ends[0] in row:
                value, low, high = (scale * row[end] for end in ends)
                found.append((row["table"], row["users"], what, value, low, high))
    return pd.DataFrame(found, columns=["table", "users", "what", "value", "low", "high"])


def described(record: Mapping[str, Any]) -> dict[str, str]:
    """Where a record was made, and how each table's step and memory grow with users, in words."""
    at = record["settings"]
    said = {
        "made on": f"{record['date'][:10]}, commit {record['commit']}, {record['device']}, torch "
        f"{record['versions']['torch']}; width {at['d_model']}, rank {at['rank']}, batches of "
        f"{at['batch_size']}, memory after {at['steps']} steps"
    }
    for name, rows in pd.DataFrame(record["rows"]).groupby("table", sort=False):
        rows = rows.sort_values("users")
        done = rows.dropna(subset=["step_s"]).to_dict("records")
        if name == "none" or len(done) < 2:
            continue
        first, last = done[0], done[-1]
        text = (
            f"{1000 * first['step_s']:.1f} ms a step with {first['users']:,} users, "
            f"{1000 * last['step_s']:.1f} ms with {last['users']:,} "
            f"({last['step_s'] / first['step_s']:.2f} times; the table's part alone "
            f"{1000 * first['alone_s']:.2f} and {1000 * last['alone_s']:.2f} ms); memory "
            f"{first['peak_bytes'] / GIB:.2f} and {last['peak_bytes'] / GIB:.2f} GiB"
        )
        if pd.notna(last.get("seen")):
            text += f" for {first['seen']:,.0f} and {last['seen']:,.0f} users seen"
        left_out = rows[rows["step_s"].isna()]
        if len(left_out):
            skipped = zip(left_out["users"], left_out["skipped"], strict=True)
            text += ". Not built: " + ", ".join(f"{n:,} ({why})" for n, why in skipped)
        said[str(name)] = text + "."
    return said


def show(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of a record as a table of text."""
    lines = [f"{'table':>9} {'users':>10} {'step, ms (p5 to p95)':>24} {'alone, ms':>10} "
             f"{'peak, GiB':>10} {'seen':>8}"]  # fmt: skip
    for row in rows:
        line = f"{row['table']:>9} {row['users']:>10,} "
        if "skipped" in row:
            lines.append(line + f"skipped: {row['skipped']}")
            continue
        of = [1000 * row[name] for name in ("step_s", "step_p5_s", "step_p95_s")]
        step = "{:.2f} ({:.2f} to {:.2f})".format(*of)
        alone = f"{1000 * row['alone_s']:.2f}" if "alone_s" in row else ""
        line += f"{step:>24} {alone:>10} {row['peak_bytes'] / GIB:>10.3f} "
        lines.append(line + (f"{row['seen']:>8,}" if "seen" in row else ""))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m prism_utils.efficiency.training_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--users", type=int, nargs="+", default=list(USERS))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--d-model", type=int, default=768)
    parser.add_argument("--rank", type=int, default=32, help="width of the low-rank rows")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0, help="of timing for each point")
    parser.add_argument("--steps", type=int, default=500, help="before timing, and for memory")
    parser.add_argument("--max-gib", type=float, default=8.0, help="of a dense table")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the JSON record goes")
    given = vars(parser.parse_args(arguments))
    out = given.pop("out")
    try:
        if out is not None:
            check_writable(out)
        record = measure(**given)
    except ValueError as error:  # `InputError` is one
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(show(record["rows"]))
    if out is not None:
        write_json(record, make_folder(out.parent) / out.name)
    return 0


if __name__ == "__main__":
    run_cli(main)
