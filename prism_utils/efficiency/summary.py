"""What chapters show of measured cells and records: tables with units in their heads, sentences.

A record is what `run_grid` makes; "this run" beside records is the grid that a chapter has just
measured. Sentences are plain text: who shows them escapes them. Imported by name, since it needs
pandas. Left out on purpose: measuring, and drawing (`plots`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..files import read_json
from ..runs import device as machine
from . import roofline
from .analysis import against_floors, ratios
from .grids import REFERENCE

Records = Mapping[str, Mapping[str, Any]]
LENGTHS = ["input_tokens", "output_tokens"]
#: Column of a table of a run -> its head in a chapter, with the unit.
HEADS = {
    "batch_size": "batch", "input_tokens": "input (tokens)", "output_tokens": "output (tokens)",
    "median_s": "median (s)", "p5_s": "5th percentile (s)", "p95_s": "95th percentile (s)",
    "first_s": "first token (s)", "explanations_per_s": "explanations a second",
    "peak_operations_per_s": "operations a second", "peak_bytes_per_s": "bytes a second",
    "explanations_per_day": "explanations a day", "latency_ms": "95th percentile (ms)",
    "money_per_day": "money a day", "money_per_million": "money a million",
    "ready_s": "loaded after (s)", "answered_s": "first explanation after (s)",
    "peak, MiB": "peak (MiB)",
}  # fmt: skip


def headed(frame: pd.DataFrame, columns: Sequence[str] = ()) -> pd.DataFrame:
    """The frame, or these columns of it, under the heads of a chapter."""
    return frame[list(columns or frame.columns)].rename(columns=HEADS)


def load(folder: Path, pattern: str) -> dict[str, dict[str, Any]]:
    """The records in `folder` by name: of "grid-*.json", "grid-gpu.json" is "gpu"."""
    before = pattern.partition("*")[0]
    return {p.stem.removeprefix(before): read_json(p) for p in sorted(folder.glob(pattern))}


def where(device: str) -> str:
    """The GPU's name, or the processor's with the number of its cores."""
    here = machine()
    gpu = here.get("gpu") if device == "cuda" else None
    return str(gpu or f"{here['cores']} cores of {here['cpu']}")


def described(records: Records) -> dict[str, str]:
    """What each record was made on, in a sentence; and that there is none of a GPU, if so."""
    said = {}
    for name, record in records.items():
        versions = ", ".join(f"{what} {version}" for what, version in record["versions"].items())
        reasons = Counter(row["reason"] for row in record["left_out"]).most_common()
        out = "; ".join(f"{count} left out: {why}" for why, count in reasons)
        said[name] = (
            f"{record['device']}; wait policy {record['wait_policy'] or 'not set'}; {versions}; "
            f"commit {record['commit']}, {record['date'][:10]}; {len(record['cells'])} cells of "
            f"{', '.join(row['model'] for row in record['models'])}. {out}"
        )
    if not any(record["gpu"] for record in records.values()):
        said["A GPU"] = "has no record yet: what follows has none of the paper's teacher."
    return said


def shown_lengths(timings: pd.DataFrame) -> dict[str, int]:
    """Input and output tokens that a chapter shows: `REFERENCE`'s if timed, else the first."""
    timed = list(timings[LENGTHS].itertuples(index=False, name=None))
    shown = REFERENCE[1:] if REFERENCE[1:] in timed else timed[0]
    return dict(zip(LENGTHS, map(int, shown), strict=True))


def grid_table(timings: pd.DataFrame) -> pd.DataFrame:
    """Lengths, batch and times of a grid's cells, under heads with units."""
    columns = ["model", "batch_size", *LENGTHS, "median_s", "p5_s", "p95_s", "first_s"]
    return headed(timings, [*columns, "explanations_per_s", "rounds"])


def at_lengths(cells: pd.DataFrame, lengths: Mapping[str, int]) -> pd.DataFrame:
    """The cells with these numbers of input and output tokens."""
    return cells[(cells[LENGTHS] == pd.Series(lengths)).all(axis=1)]


def same_time(trained: Sequence[float], drawn: Sequence[float]) -> str:
    """Whether newly drawn weights take another time than trained ones, from seconds of rounds."""
    rounds = min(len(trained), len(drawn))
    by_round = np.array(drawn[:rounds]) / np.array(trained[:rounds])
    low, middle, high = np.quantile(by_round, [0.05, 0.5, 0.95])
    return (
        f"Random over trained, {rounds} rounds: median {middle:.3f}, 5th to 95th percentile "
        f"{low:.3f} to {high:.3f}. "
    ) + (
        "Here the two differ by more than the rounds do, which the shapes do not explain."
        if low > 1 or high < 1
        else "Equal time, 1, lies within: no difference is shown."
    )


def duel(record: Mapping[str, Any], papers: bool = True) -> tuple[str, str]:
    """The slow and the fast model whose ratio is shown.

    The paper's where they were measured (its student only with `papers`), else the largest and the
    smallest.
    """
    sizes = {row["model"]: row["parameters"] for row in record["models"]}
    slow = "flan-t5-xxl" if "flan-t5-xxl" in sizes else max(sizes, key=lambda m: sizes[m])
    fast = min(sizes, key=lambda m: sizes[m])
    return slow, "bart-base" if papers and "bart-base" in sizes else fast


def speed_ratios(sources: Records, published: float) -> tuple[pd.DataFrame, dict[str, str]]:
    """`ratios` of every source's `duel`, with a column source; and what they say of `published`."""
    parts, said = [], {}
    for name, record in sources.items():
        slow, fast = duel(record, papers=name != "this run")
        rows = pd.DataFrame(ratios(record["cells"], slow, fast))
        if slow == fast or rows.empty:
            continue
        parts.append(rows.assign(source=name))
        at = "batch " + rows["batch_size"].astype(str) + ", " + rows["input_tokens"].astype(str)
        at += " in, " + rows["output_tokens"].astype(str) + " out"
        least, most = (
            f"{rows['value'][row]:.1f} ({at[row]})"
            for row in (rows["value"].idxmin(), rows["value"].idxmax())
        )
        holds = (at + ", " + rows["dtype"])[rows["low"].le(published) & rows["high"].ge(published)]
        said[name] = (
            f"{slow} over {fast}, {least} to {most} over {len(rows)} settings. {published} lies "
            f"between low and high in {len(holds)} of them"
            + (f": {'; '.join(holds)}." if len(holds) else ".")
        )
    return pd.concat(parts, ignore_index=True), said


def memory_parts(records: Records) -> pd.DataFrame:
    """Peak memory of records' cells at `REFERENCE`'s lengths in MiB, in parts, and energy."""
    parts = ("weight", "cache", "activation", "peak")
    rows = [
        {"record": name, "model": cell["model"], "dtype": cell["dtype"]}
        | {"batch": cell["batch_size"]}
        | {f"{part} (MiB)": cell[f"{part}_bytes"] / 2**20 for part in parts}
        | {"energy of an explanation (J)": cell["joules"]}
        for name, record in records.items()
        for cell in record["cells"]
        if "peak_bytes" in cell and tuple(cell[length] for length in LENGTHS) == REFERENCE[1:]
    ]
    return pd.DataFrame(rows)


def floors(sources: Records) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`against_floors` of every source, and their devices' peaks, both with a column source.

    Columns of the peaks: source, dtype, peak_operations_per_s, peak_bytes_per_s, "peaks are".
    """
    rows = [pd.DataFrame(against_floors(r)).assign(source=name) for name, r in sources.items()]
    peaks = [
        (name, kind, peak["operations_per_s"], peak["bytes_per_s"], peak["source"])
        for name, record in sources.items()
        for kind, peak in record["peaks"].items()
    ]
    columns = ["source", "dtype", "peak_operations_per_s", "peak_bytes_per_s", "peaks are"]
    return pd.concat(rows, ignore_index=True), pd.DataFrame(peaks, columns=columns)


def floor_table(found: pd.DataFrame, lengths: Mapping[str, int]) -> pd.DataFrame:
    """Floors and measured times at these lengths and `REFERENCE`'s, smallest and largest batch.

    found: rows of `floors`.
    """
    chosen = found[
        found.index.isin(at_lengths(found, lengths).index)
        | found.index.isin(at_lengths(found, dict(zip(LENGTHS, REFERENCE[1:], strict=True))).index)
    ]
    batches = chosen.groupby("source")["batch_size"]
    ends = chosen["batch_size"].isin([])
    for end in ("min", "max"):
        ends |= chosen["batch_size"] == batches.transform(end)
    chosen = chosen[ends]
    rest = chosen[["rest_compute_s", "rest_memory_s"]]
    bound = rest.idxmax(axis=1).map({"rest_compute_s": "operations", "rest_memory_s": "bytes"})
    first = chosen[["first_compute_s", "first_memory_s"]].max(axis=1)
    at = ["source", "model", "backend", "dtype", "batch_size", *LENGTHS]
    return headed(chosen, at).assign(
        **{
            "first token, floor (ms)": 1000 * first,
            "first token (ms)": 1000 * chosen["first_s"].astype(float),
            "rest, floor (ms)": 1000 * rest.max(axis=1),
            "rest (ms)": 1000 * chosen["rest_s"].astype(float),
            "rest is bound by": bound,
            "times the floor": chosen["times_floor"],
        }
    )


def below_floor(found: pd.DataFrame) -> dict[str, str]:
    """For each source with cells below their floor, how many, and why that may be."""
    return {
        str(name): (
            f"in {len(rows)} cells ({', '.join(rows['model'].unique())}) less time was measured "
            "than the floor allows: the peaks were measured in a slower moment, or the weights "
            "stayed in the processor's cache."
        )
        for name, rows in found[found["times_floor"] < 1].groupby("source", sort=False)
    }


def backend_speeds(
    rows: Iterable[Mapping[str, Any]], records: Records, model: str, lengths: Mapping[str, int]
) -> pd.DataFrame:
    """One model's backends at these lengths: rows of `measure` ("this run") and of records.

    rows: their `model` is the backend. Of a record, cells in float32, or bfloat16 on a GPU.
    Columns: source, backend, batch_size, median_s, p5_s, p95_s, and how many times as fast as
    transformers' `generate`: value, low, high (p5 of one over p95 of the other and the reverse).
    """
    columns = ["source", "backend", "batch_size", "median_s", "p5_s", "p95_s"]
    parts = [pd.DataFrame(rows).rename(columns={"model": "backend"}).assign(source="this run")]
    for name, record in records.items():
        cells = at_lengths(pd.DataFrame(record["cells"]), lengths)
        kind = "bfloat16" if record["gpu"] else "float32"
        kept = cells["model"].eq(model) & cells["dtype"].eq(kind)
        parts.append(cells[kept].assign(source=name))
    found = pd.concat([part[columns] for part in parts], ignore_index=True)
    plain = found[found["backend"] == "generate"].set_index(["source", "batch_size"])
    base = plain.loc[pd.MultiIndex.from_frame(found[["source", "batch_size"]])].reset_index()
    return found.assign(
        value=base["median_s"] / found["median_s"],
        low=base["p5_s"] / found["p95_s"],
        high=base["p95_s"] / found["p5_s"],
    )


def backend_table(speeds: pd.DataFrame) -> pd.DataFrame:
    """Rows of `backend_speeds` as a chapter shows them, times in ms."""
    table = headed(speeds, ["source", "batch_size", "backend"])
    table["median (ms)"] = 1000 * speeds["median_s"]
    return table.assign(
        **{"times as fast": speeds["value"]}, low=speeds["low"], high=speeds["high"]
    )


def starts_table(begun: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What `decoding.start` found of each explainer, a row each.

    Columns: explainer, ready_s, answered_s, imported (of torch and transformers), "peak, MiB".
    """
    rows = [
        {"explainer": name, "ready_s": found["ready_s"], "answered_s": found["answered_s"]}
        | {"imported": ", ".join(found["imported"]) or "neither"}
        | {"peak, MiB": found["peak_bytes"] / 2**20}
        for name, found in begun.items()
    ]
    return pd.DataFrame(rows)


def distillation_speeds(rows: Sequence[Mapping[str, Any]], records: Records) -> pd.DataFrame:
    """Rows of `distillation` ("this run") and those of the records, with a column source."""
    told = {"this run": rows} | {name: record["distillation"] for name, record in records.items()}
    parts = [pd.DataFrame(part).assign(source=name) for name, part in told.items() if part]
    return pd.concat(parts, ignore_index=True)


def passed(same: pd.DataFrame) -> dict[str, str]:
    """Which backends write what `generate` writes, nearly: the rule, who passes, who does not.

    same: a row a backend, `generate` first; columns backend, "same text", "ROUGE-L" (against the
    text of `generate`), and rates of errors.
    """
    table = same.set_index("backend").drop(columns="same text")
    errors = table.drop(columns="ROUGE-L")
    worse = 100 * (errors.iloc[1:] - errors.iloc[0]).max(axis=1)
    likeness = table["ROUGE-L"].iloc[1:]
    keeps = (likeness >= 0.98) & (worse <= 1)
    lost = [
        f"{name} (ROUGE-L {likeness[name]:.3f}, errors {worse[name]:+.1f} points)"
        for name in keeps[~keeps].index
    ]
    said = {
        "A backend passes": "with a ROUGE-L of at least 0.98 against the text of generate, and no "
        "error rate more than one point higher",
        "Passed": "; ".join(keeps[keeps].index) or "none",
    }
    return said | ({"Not passed": "; ".join(lost)} if lost else {})


def fleets(
    sources: Records,
    lengths: Mapping[str, int],
    *,
    explanations_per_day: float,
    price_per_hour: float,
    gpu_price_per_hour: float,
    **limits: float,
) -> pd.DataFrame:
    """Machines and money (`roofline.fleet`) for a hundredth to a hundred times the traffic.

    One row for each source, model, dtype, backend and traffic, from the cells at `lengths` of
    "this run" and at `REFERENCE`'s of records. limits: latency_limit_ms and utilisation. Raises
    ValueError for a parameter out of range.
    """
    traffic = np.geomspace(explanations_per_day / 100, explanations_per_day * 100, 9)
    reference = dict(zip(LENGTHS, REFERENCE[1:], strict=True))
    rows = []
    for name, record in sources.items():
        here = at_lengths(
            pd.DataFrame(record["cells"]), lengths if name == "this run" else reference
        )
        price = gpu_price_per_hour if record["gpu"] else price_per_hour
        for (model, dtype, backend), group in here.groupby(
            ["model", "dtype", "backend"], sort=False
        ):
            cells: list[dict[str, Any]] = group.to_dict("records")  # type: ignore[assignment]
            for amount in traffic:
                answer = roofline.fleet(
                    cells, explanations_per_day=amount, price_per_hour=price, **limits
                )
                at = {"source": name, "model": model, "dtype": dtype, "backend": backend}
                rows.append(at | {"explanations_per_day": amount} | answer)
    return pd.DataFrame(rows)


def at_traffic(found: pd.DataFrame, explanations_per_day: float) -> pd.DataFrame:
    """The rows of `fleets` at the traffic that was asked about."""
    return found[np.isclose(found["explanations_per_day"], explanations_per_day)]


def fleet_lines(found: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """The rows of `fleets` by `generate` for these models as `plots.fleets` draws them."""
    drawn = found[found["model"].isin(models) & (found["backend"] == "generate")]
    labels = drawn[["model", "dtype", "source"]].agg(", ".join, axis=1)
    return drawn.assign(model=labels).astype({"money_per_day": float})
