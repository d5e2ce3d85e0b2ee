"""Score a file of explanations: python -m prism_utils.metrics --explanations texts.jsonl ...

Prints the table of `suite.evaluate` and writes the scores. Left out on purpose: renaming columns
and repairing rows; what does not fit is named with its file and row, since only its owner knows
what a wrong row was meant to be.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from ..errors import InputError, run_cli
from ..files import check_writable
from ..tables import check, given_placed, write_table
from ..tables import read_given as read
from .suite import LOWER_IS_BETTER, evaluate


def _within(
    values: pd.Series, at: Callable[[int], str], others: pd.Series, place: str, what: str
) -> None:
    """Raise `InputError` for the first of `values`, row n standing `at`(n), not among `others`."""
    lost = ~values.isin(others).to_numpy()
    if lost.any():
        row = int(lost.argmax())
        raise InputError(
            f"{at(row)}: {what} {values.iloc[row]!r} is not in {place} "
            f"({lost.sum()} of {len(lost)} rows)"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see `python -m prism_utils.metrics --help`."""
    parser = argparse.ArgumentParser(prog="python -m prism_utils.metrics", description=__doc__)
    for name, holds in {
        "explanations": "sample_id, text, optionally system: .csv, .jsonl or .parquet",
        "samples": "sample_id, user_id, history, item_id: .csv, .jsonl or .parquet",
        "items": "item_id, title, year, attributes: .csv, .jsonl or .parquet",
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

    texts = Path(args.explanations)
    if not texts.name:
        raise InputError(f"--explanations {texts}: is a folder; give a file")
    out = Path(args.out or texts.with_suffix(".scores.parquet"))
    inputs = [args.explanations, args.samples, args.items, args.references]
    if out.suffix != ".parquet" or out.is_dir():
        raise InputError(f"--out {out}: give a file whose name ends in .parquet")
    if out.resolve() in [Path(path).resolve() for path in inputs if path]:
        raise InputError(f"--out {out}: this is one of the files to read; give another name")
    check_writable(out)
    if args.resamples < 1:
        raise InputError(f"--resamples {args.resamples}: must be at least 1")
    if args.bertscore and not args.references:
        raise InputError("--bertscore compares with references: give --references as well")

    told, told_file = given_placed(args.explanations, "explanations")
    samples, samples_file = given_placed(args.samples, "samples")
    items = read(args.items, "items")
    explained, about = told["sample_id"], samples["item_id"]
    _within(explained, told_file.at, samples["sample_id"], args.samples, "sample")
    _within(about, samples_file.at, items["item_id"], args.items, "item")
    references = semantic = None
    if args.references:
        references, file = given_placed(args.references, "explanations")
        references["system"] = "references"  # one for a sample, not several
        check(references, "explanations", at=file.at)
        _within(explained, told_file.at, references["sample_id"], args.references, "sample")
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
