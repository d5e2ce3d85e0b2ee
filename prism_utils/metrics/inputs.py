"""What metrics are given (tables, pairs of texts, numbers), and the table of scores they return.

Left out on purpose: any metric.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from ..errors import InputError
from ..tables import check

_HALF = re.compile("[\ud800-\udfff]")  # as of an emoji that was cut: no tokenizer takes it
_MOST = 1_000_000  # resamples: more would be a slip


class ReferenceMetric(Protocol):
    """Scores explanations against references, as `bertscore.BertScore` does."""

    def score(self, explanations: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
        """A scores table with one row for each explanation and metric."""


def of_each(
    explanations: pd.DataFrame, table: pd.DataFrame, name: str, advice: str
) -> pd.DataFrame:
    """The row of `table`, one a sample, for each explanation's sample.

    Raises `InputError`, with the row, for a sample that stands twice in `table` (called `name`)
    and for an explanation whose sample is not there; `advice` says what to do then.
    """
    check(explanations, "explanations")
    twice = table["sample_id"].duplicated().to_numpy()
    if twice.any():
        row = int(twice.argmax())
        sample = table["sample_id"].iloc[row]
        raise InputError(f"{name}: row {row + 1}: a second one for sample {sample!r}; keep one")
    rows = pd.Index(table["sample_id"]).get_indexer(explanations["sample_id"])
    lost = rows < 0
    if lost.any():
        row = int(lost.argmax())
        raise InputError(
            f"{name}: {lost.sum()} of {len(lost)} explanations have none, first row {row + 1}, "
            f"sample {explanations['sample_id'].iloc[row]!r}; {advice}"
        )
    return table.iloc[rows].reset_index(drop=True)


def samples_of(explanations: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """The sample of each explanation; `InputError` for an explanation that has none."""
    check(samples, "samples")
    return of_each(explanations, samples, "samples", "give the samples that were explained")


def golden_texts(explanations: pd.DataFrame, references: pd.DataFrame) -> list[str]:
    """The reference of each explanation, joined by sample_id.

    Raises `InputError` when a sample has several references or an explanation none.
    """
    check(references, "explanations", source="references")
    advice = "drop them or complete the references"
    return of_each(explanations, references, "references", advice)["text"].tolist()


def check_texts(texts: Iterable[str], name: str = "texts") -> None:
    """Raise `InputError` for the first of `texts` that is none, or ends within a character."""
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{name}: row {row + 1} must be text, found {text!r}")
        if not text.isascii() and _HALF.search(text):
            raise InputError(f"{name}: row {row + 1} holds half a character; write it whole")


def check_pairs(first: Sequence[str], second: Sequence[str], name: str = "references") -> None:
    """Raise `InputError` where texts do not pair up or are none; `name`: what the first are."""
    if len(first) != len(second):
        raise InputError(f"{len(first)} {name} and {len(second)} candidates do not pair up")
    check_texts(first, name)
    check_texts(second, "candidates")


def long_scores(explanations: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """The scores table of `values`: a column for each metric, a row for each explanation."""
    wide = explanations[["sample_id", "system"]].reset_index(drop=True).join(values)
    return wide.melt(["sample_id", "system"], var_name="metric", value_name="value")


def check_least(least: int, **values: int) -> None:
    """Raise `InputError` for the first of `values` that is no whole number or less than `least`."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise InputError(f"{name} must be a whole number, found {value!r}")
        if value < least:
            raise InputError(f"{name} must be {least} or more, found {value}")


def check_draws(resamples: int = 1, seed: int = 0) -> None:
    """Raise `InputError` for a number of resamples or a seed that nothing can be drawn with."""
    check_least(1, resamples=resamples)
    check_least(0, seed=seed)
    if resamples > _MOST:
        raise InputError(f"resamples must be at most {_MOST:,}, found {resamples}")


def read_labels(path: Path | str, columns: Sequence[str], flags: Sequence[str]) -> pd.DataFrame:
    """Labels made by hand, from JSON lines with `columns` and `flags`, which are 0 or 1.

    Raises `InputError` with the row of a record that is not whole.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").rstrip("\n").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no file of labels that can be read ({error})") from error
    records = []
    for row, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not record.keys() >= {*columns, *flags}:
            wanted = ", ".join([*columns, *flags])
            raise InputError(f"{path}: row {row}: must be a JSON object with {wanted}")
        for flag in flags:
            if record[flag] not in (0, 1):
                raise InputError(f"{path}: row {row}: '{flag}' must be 0 or 1")
        records.append(record)
    return pd.DataFrame(records)
