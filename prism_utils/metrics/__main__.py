"""Score a file of explanations: python -m prism_utils.metrics --explanations texts.jsonl ...

Prints the table of `suite.evaluate` and writes the scores. Left out on purpose: renaming columns
and repairing rows; what does not fit is named with its file and row, since only its owner knows
what a wrong row was meant to be.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from ..corpora.reading import read_delimited
from ..errors import InputError, run_cli
from ..tables import SCHEMAS, check, write_table
from .suite import LOWER_IS_BETTER, evaluate


def read(path: str | Path, table: str) -> pd.DataFrame:
    """A table of `tables.SCHEMAS` from JSON lines (.jsonl), Parquet or, for items, CSV.

    Whole numbers as ids become text. In CSV every column but item_id, title and year is a kind of
    attribute, its values separated by `|`. Explanations without `system` are called by the file's
    name; samples need no `split`. Raises `InputError` with the file and the row (in CSV the line).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".parquet":
        frame = _read_parquet(path)
    elif path.suffix == ".jsonl":
        frame = _read_jsonl(path)
    elif path.suffix == ".csv" and table == "items":
        frame = _read_items_csv(path)
    else:
        wanted = ".jsonl, .parquet or .csv" if table == "items" else ".jsonl or .parquet"
        raise InputError(f"{path}: give {table} as a file whose name ends in {wanted}")
    if not len(frame):
        raise InputError(f"{path}: holds no rows")
    if table == "explanations" and "system" not in frame.columns:
        frame["system"] = path.stem
    if table == "samples" and "split" not in frame.columns:
        frame["split"] = "test"
    for column in frame.columns.intersection(list(SCHEMAS[table])):
        if SCHEMAS[table][column][0] in ("id", "list"):
            frame[column] = frame[column].map(_id)
    return check(frame, table, source=str(path))


def _id(value: Any) -> Any:
    """Ids as text, alone or in a list; what is neither is left for `check` to refuse."""
    if hasattr(value, "__iter__") and not isinstance(value, str):
        return [_id(part) for part in value]
    whole = pd.api.types.is_integer(value) and not isinstance(value, bool)
    return str(value) if whole else value


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except Exception as error:  # pyarrow raises several unrelated types for a broken file
        raise InputError(f"{path}: not a readable Parquet file ({error})") from error


def _read_jsonl(path: Path) -> pd.DataFrame:
    records = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except ValueError as error:
                problem = f"not valid JSON ({error})" if line.strip() else "is blank; remove it"
                raise InputError(f"{path}: row {number}: {problem}") from error
            if not isinstance(record, dict):
                found = type(record).__name__
                raise InputError(f"{path}: row {number}: must be a JSON object, found {found}")
            # before pandas sees them: beside a missing one, whole numbers would become floats
            records.append({name: _id(value) if name.endswith("_id") else value
                            for name, value in record.items()})  # fmt: skip
    return pd.DataFrame(records)


def _read_items_csv(path: Path) -> pd.DataFrame:
    columns = {"item_id": pa.string(), "title": pa.string(), "year": pa.float64()}
    frame = read_delimited(path, columns, nullable=("year",), others=True).to_pandas()
    for kind in frame.columns.difference(list(columns)):
        cells = frame[kind].fillna("").str.split("|")
        frame[kind] = cells.map(lambda parts: [part.strip() for part in parts if part.strip()])
    return frame


def _within(frame: pd.DataFrame, path: str, other: pd.Series, place: str, what: str) -> None:
    """Raise `InputError` for the first row of `frame` whose `other.name` is not among `other`."""
    lost = ~frame[other.name].isin(other).to_numpy()
    if lost.any():
        row = int(lost.argmax())
        raise InputError(
            f"{path}: row {row + 1}: {what} {frame[other.name].iloc[row]!r} is not in {place} "
            f"({lost.sum()} of {len(lost)} rows)"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see `python -m prism_utils.metrics --help`."""
    parser = argparse.ArgumentParser(prog="python -m prism_utils.metrics", description=__doc__)
    for name, holds in {
        "explanations": "sample_id, text, optionally system: .jsonl or .parquet",
        "samples": "sample_id, user_id, history, item_id: .jsonl or .parquet",
        "items": "item_id, title, year, attributes: .jsonl, .parquet or .csv",
    }.items():
        parser.add_argument(f"--{name}", required=True, metavar="FILE", help=holds)
    parser.add_argument("--references", metavar="FILE", help="one text for each explained sample")
    parser.add_argument(
        "--bertscore", metavar="MODEL", help='also BERTScore: "minilm", a folder or a hub id'
    )
    parser.add_argument("--out", metavar="FILE", help="default: <explanations>.scores.parquet")
    parser.add_argument("--noun", default="film", help="what an item is (default: film)")
    parser.add_argument("--stemmer", action="store_true", help="stem words for ROUGE")
    parser.add_argument("--resamples", type=int, default=2000, help="of users (default: 2000)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)

    out = Path(args.out or Path(args.explanations).with_suffix(".scores.parquet"))
    inputs = [args.explanations, args.samples, args.items, args.references]
    if out.suffix != ".parquet" or out.is_dir():
        raise InputError(f"--out {out}: give a file whose name ends in .parquet")
    if out.resolve() in [Path(path).resolve() for path in inputs if path]:
        raise InputError(f"--out {out}: this is one of the files to read; give another name")
    if args.resamples < 1:
        raise InputError(f"--resamples {args.resamples}: must be at least 1")
    if args.bertscore and not args.references:
        raise InputError("--bertscore compares with references: give --references as well")

    told = read(args.explanations, "explanations")
    samples, items = read(args.samples, "samples"), read(args.items, "items")
    _within(told, args.explanations, samples["sample_id"], args.samples, "sample")
    _within(samples, args.samples, items["item_id"], args.items, "item")
    references = semantic = None
    if args.references:
        references = read(args.references, "explanations").assign(system="references")
        check(references, "explanations", source=args.references)  # one for a sample, not several
        _within(told, args.explanations, references["sample_id"], args.references, "sample")
    if args.bertscore:
        from .bertscore import BertScore  # torch takes seconds to load

        semantic = BertScore(args.bertscore)
    result = evaluate(
        told, samples, items, references, noun=args.noun, semantic=semantic,
        stemmer=args.stemmer, resamples=args.resamples, seed=args.seed, progress=True,
    )  # fmt: skip
    write_table(result.scores, out, "scores")
    print(as_text(result.table))
    if references is None:
        print("no references: overlap, its floors and BERTScore are left out")
    elif semantic is not None:
        print(f"BERTScore: {semantic.name}")
    print(f"95% intervals, users resampled; scores of every explanation: {out}")


def as_text(table: pd.DataFrame) -> str:
    """The table of `evaluate` for a terminal; "*" marks metrics of which less is better.

    >>> row = {"system": "x", "metric": "div", "value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    >>> print(as_text(pd.DataFrame([row])))
    system  metric   value  95% interval  n
         x   *div  0.5000 0.4000..0.6000  9
    """

    def number(value: float) -> str:
        return "-" if pd.isna(value) else f"{value:.4f}"

    shown = table.dropna(axis="columns", how="all").copy()
    marked = shown["metric"].isin(LOWER_IS_BETTER).map({True: "*", False: ""})
    shown["metric"] = marked + shown["metric"]
    low, high = (table[side].map(number) for side in ("low", "high"))
    shown.insert(3, "95% interval", (low + ".." + high).replace("-..-", "-"))
    shown = shown.drop(columns=["low", "high"], errors="ignore")
    for column in shown.select_dtypes("number").columns.drop("n"):
        shown[column] = shown[column].map(number)
    return shown.to_string(index=False)


if __name__ == "__main__":
    run_cli(main)
