"""Samples made, written and read; the rows of Table 1.

A user's interactions are put in order once; every history is then a window of that sequence, so
offsets into one array stand for all histories until they are written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import InputError, nearest
from ..tables import SCHEMAS, Ordered, check, framed, in_order, times
from ..tables.reading import parquet_columns, parquet_errors

SPLITS = ("random", "temporal", "leave_last")
_ROWS_AT_A_TIME = 100_000  # one Parquet row group: 5 million history entries at most


def _is_test(
    interactions: pd.DataFrame, ordered: Ordered, split: str, test_fraction: float, seed: int
) -> np.ndarray:
    """Boolean mask over the ordered interactions: which samples (position > 0) are test."""
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: {nearest(split, SPLITS)}")
    number = isinstance(test_fraction, int | float) and not isinstance(test_fraction, bool)
    if not number or not 0 <= test_fraction < 1:
        raise InputError(f"test_fraction must be at least 0 and below 1, found {test_fraction!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be an integer of at least 0, found {seed!r}")
    test = np.zeros(len(ordered.user), dtype=bool)
    if split == "leave_last":
        last = ordered.starts[1:] - 1
        test[last[ordered.position[last] > 0]] = True
        return test
    samples = np.flatnonzero(ordered.position > 0)
    # exact decimal arithmetic: in floats 0.07 * 100 is above 7 and would round up to 8
    count = math.ceil(Fraction(str(test_fraction)) * len(samples))
    if split == "random":
        test[np.random.default_rng(seed).permutation(samples)[:count]] = True
    else:
        file_row = ordered.file_row[samples]
        by_time = np.lexsort((file_row, times(interactions)[file_row]))
        test[samples[by_time[len(samples) - count :]]] = True
    return test


def _sample_tables(
    interactions: pd.DataFrame, max_history: int, split: str, test_fraction: float, seed: int
) -> Iterator[pa.Table]:
    """The samples as Arrow tables of `_ROWS_AT_A_TIME` rows; strings are dictionary-encoded."""
    if isinstance(max_history, bool) or not isinstance(max_history, int) or max_history < 1:
        raise InputError(f"max_history must be an integer of at least 1, found {max_history!r}")
    ordered = in_order(interactions)
    is_test = _is_test(interactions, ordered, split, test_fraction, seed)
    samples = np.flatnonzero(ordered.position > 0)
    item = ordered.item.astype(np.int32)
    split_names = pa.array(["train", "test"])
    for begin in range(0, max(len(samples), 1), _ROWS_AT_A_TIME):
        rows = samples[begin : begin + _ROWS_AT_A_TIME]
        position = ordered.position[rows]
        length = np.minimum(position, max_history)
        offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int32)
        # entry j of a window that starts at row s is row s + j
        window = np.arange(offsets[-1]) + np.repeat(rows - length - offsets[:-1], length)
        user = pa.DictionaryArray.from_arrays(ordered.user[rows].astype(np.int32), ordered.users)
        names = user.dictionary_decode()
        numbers = pc.cast(pa.array(position), pa.string())
        history = pa.DictionaryArray.from_arrays(item[window], ordered.items)
        target = pa.DictionaryArray.from_arrays(item[rows], ordered.items)
        in_test = pa.DictionaryArray.from_arrays(is_test[rows].astype(np.int8), split_names)
        yield pa.table(
            {
                "sample_id": pc.binary_join_element_wise(names, numbers, ":"),
                "user_id": user,
                "history": pa.ListArray.from_arrays(pa.array(offsets), history),
                "item_id": target,
                "split": in_test,
            }
        )


def _to_frame(table: pa.Table) -> pd.DataFrame:
    """A samples table as pandas: text as text, histories as Python lists."""
    frame = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_list(column.type):
            frame[name] = pd.Series(column.to_pylist(), dtype=object)
        else:
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            frame[name] = column.to_pandas()
    return pd.DataFrame(frame)


def make_samples(
    interactions: pd.DataFrame,
    *,
    max_history: int = 50,
    split: str = "random",
    test_fraction: float = 0.1,
    seed: int = 0,
) -> pd.DataFrame:
    """One sample for each interaction but a user's first (section 4.1, Table 1).

    Returns sample_id (`user_id:position`, the position counted from 0 in the user's sequence),
    user_id, history (the at most `max_history` item ids before it, oldest first), item_id and
    split. A user's sequence is in order of timestamp, ties in order of the file; without
    timestamps it is the order of the file. Rows: users in order of first appearance, each
    user's samples oldest first. A repeated interaction counts each time.

    Of the N samples ceil(`test_fraction` * N) are test:

    - `random`: drawn without replacement with `seed` (probably the paper's choice);
    - `temporal`: the latest, over all users, ties in order of the file;
    - `leave_last`: every user's last sample whatever `test_fraction` says, so as many as there
      are users with two interactions; nothing of a test user's is then later than the test.

    >>> table = pd.DataFrame({"user_id": ["u"] * 3, "item_id": ["a", "b", "c"]})
    >>> make_samples(table, split="leave_last")[["sample_id", "history", "item_id", "split"]]
      sample_id history item_id  split
    0       u:1     [a]       b  train
    1       u:2  [a, b]       c   test
    """
    return _to_frame(
        pa.concat_tables(_sample_tables(interactions, max_history, split, test_fraction, seed))
    )


def write_samples(
    interactions: pd.DataFrame,
    path: str | Path,
    *,
    max_history: int = 50,
    split: str = "random",
    test_fraction: float = 0.1,
    seed: int = 0,
) -> Path:
    """Write the rows of `make_samples` to a Parquet file, for millions of them.

    Histories go from item codes straight into the file, one row group at a time: memory stays
    within a few hundred MB. The file appears under `path` only once it is whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    tables = _sample_tables(interactions, max_history, split, test_fraction, seed)
    first = next(tables)
    # store_schema=False: readers see plain strings, not this writer's dictionaries
    with pq.ParquetWriter(partial, first.schema, store_schema=False) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
    partial.replace(path)
    return path


@contextmanager
def open_samples(path: str | Path) -> Iterator[pq.ParquetFile]:
    """A samples file with its histories left dictionary-encoded."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; write_samples makes it")
    with parquet_errors(path):
        schema = pq.read_metadata(path).schema
        columns = [schema.column(n).path for n in range(len(schema))]
        wanted = {name for name, (_, required) in SCHEMAS["samples"].items() if required}
        missing = wanted - {column.split(".")[0] for column in columns}
        if missing:
            raise InputError(
                f"{path}: column '{min(missing)}' is missing; this is no samples table"
            )
        histories = [column for column in columns if column.startswith("history.")]
        with pq.ParquetFile(path, read_dictionary=histories) as file:
            yield file


def read_rows(path: str | Path, table: pa.Table, rows: np.ndarray) -> pd.DataFrame:
    """Rows of a samples file, which stand there at `rows`, as a frame of the schema's kinds."""
    columns = parquet_columns(table, lambda row: f"{path}: row {rows[row] + 1}")
    return framed(columns, "samples", table.num_rows)


def groups_of(file: pq.ParquetFile, columns: list[str]) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """The row groups of a file, and at which rows of it they stand."""
    begin = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=columns)
        yield table, begin + np.arange(table.num_rows)
        begin += table.num_rows


def histories_of(path: str | Path, table: pa.Table, rows: np.ndarray) -> pa.Array:
    """The histories of a table from a samples file, none of them missing, as an Arrow array."""
    (column,) = parquet_columns(
        table.select(["history"]), lambda row: f"{path}: row {rows[row] + 1}"
    )
    return column.arrow_lists()


def read_samples(
    path: str | Path,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    *,
    sample_ids: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Rows of a samples file: those of `split`, and of these `limit` drawn at random with `seed`.

    `sample_ids` keeps those rows only; ids that the file does not hold are passed over.

    Rows keep the order of the file. Only the drawn rows become Python lists, so a thousand
    samples out of millions take little memory. A `limit` above what there is gives all.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InputError(f"limit must be an integer of at least 1 or None, found {limit!r}")
    with open_samples(path) as file:
        rows = everything = np.arange(file.metadata.num_rows)
        if split is not None:
            if not len(rows):
                raise InputError(f"{path}: holds no samples: no user has two interactions")
            splits = read_rows(path, file.read(columns=["split"]), everything)["split"]
            rows = np.flatnonzero(splits == split)
            if not len(rows):
                raise InputError(f"{path}: no split {split!r}: {nearest(split, splits.unique())}")
        if sample_ids is not None:
            known = read_rows(path, file.read(columns=["sample_id"]), everything)["sample_id"]
            rows = rows[known.isin(list(sample_ids)).to_numpy()[rows]]
        if limit is not None and limit < len(rows):
            rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
        parts, begin = [], 0
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            here = rows[np.searchsorted(rows, begin) : np.searchsorted(rows, end)]
            if len(here):
                parts.append(read_rows(path, file.read_row_group(group).take(here - begin), here))
            begin = end
        frame = pd.concat(parts, ignore_index=True) if parts else read_rows(path, file.read(), rows)
    return check(frame, "samples", str(path), lambda row: f"{path}: row {rows[row] + 1}")


def history_lengths(path: str | Path) -> np.ndarray:
    """Length of each sample's history in a samples file, int64 (samples,)."""
    with open_samples(path) as file:
        parts = [
            histories_of(path, table, rows).value_lengths().to_numpy().astype(np.int64)
            for table, rows in groups_of(file, ["history"])
        ]
    return np.concatenate([np.empty(0, np.int64), *parts])


def dataset_statistics(
    interactions: pd.DataFrame, items: pd.DataFrame, samples: pd.DataFrame | str | Path
) -> pd.DataFrame:
    """The rows of Table 1 (users, items, train and test sequences), then what explains them.

    Columns: statistic, value (an integer). "items" is the size of the catalogue, as in the paper,
    "items with interactions" how many of them anybody touched. `samples` is a frame or a file.
    """
    check(interactions, "interactions")
    check(items, "items")
    if isinstance(samples, pd.DataFrame):
        splits = check(samples, "samples")["split"]
    else:
        with open_samples(samples) as file:
            rows = np.arange(file.metadata.num_rows)
            splits = read_rows(samples, file.read(columns=["split"]), rows)["split"]
    per_user = interactions["user_id"].value_counts()
    values = {
        "users": len(per_user),
        "items": len(items),
        "train sequences": int((splits == "train").sum()),
        "test sequences": int((splits == "test").sum()),
        "interactions": len(interactions),
        "items with interactions": interactions["item_id"].nunique(),
        "fewest interactions of a user": int(per_user.min()) if len(per_user) else 0,
        "most interactions of a user": int(per_user.max()) if len(per_user) else 0,
    }
    return pd.DataFrame({"statistic": list(values), "value": list(values.values())})
