"""From interactions to samples: histories, splits, Table 1 and an audit of leakage.

A user's interactions are put in order once; every history is then a window of that sequence, so
offsets into one array stand for all histories until they are written. Left out on purpose:
filters of users or items, negative sampling and padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from .errors import InputError, nearest
from .tables import SCHEMAS, Ordered, check, in_order, times

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


def _open(path: str | Path) -> pq.ParquetFile:
    """A samples file with its histories left dictionary-encoded."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; write_samples makes it")
    try:
        schema = pq.read_metadata(path).schema
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a readable Parquet file ({error})") from error
    columns = [schema.column(n).path for n in range(len(schema))]
    missing = set(SCHEMAS["samples"]) - {column.split(".")[0] for column in columns}
    if missing:
        raise InputError(f"{path}: column '{min(missing)}' is missing; this is no samples table")
    histories = [column for column in columns if column.startswith("history.")]
    return pq.ParquetFile(path, read_dictionary=histories)


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
    with _open(path) as file:
        rows = np.arange(file.metadata.num_rows)
        if split is not None:
            splits = file.read(columns=["split"])["split"]
            rows = np.flatnonzero(pc.equal(splits, split).to_numpy())
            if not len(rows):
                known = pc.unique(splits).to_pylist()
                raise InputError(f"{path}: no split {split!r}: {nearest(split, known)}")
        if sample_ids is not None:
            wanted = pc.is_in(
                file.read(columns=["sample_id"])["sample_id"],
                pa.array(list(sample_ids), pa.string()),
            )
            rows = rows[wanted.to_numpy()[rows]]
        if limit is not None and limit < len(rows):
            rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
        parts, begin = [], 0
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            here = rows[np.searchsorted(rows, begin) : np.searchsorted(rows, end)]
            if len(here):
                parts.append(_to_frame(file.read_row_group(group).take(here - begin)))
            begin = end
        frame = pd.concat(parts, ignore_index=True) if parts else _to_frame(file.read())
    return check(frame, "samples", source=str(path))


def history_lengths(path: str | Path) -> np.ndarray:
    """Length of each sample's history in a samples file, int64 (samples,)."""
    with _open(path) as file:
        parts = [
            pc.list_value_length(file.read_row_group(group, columns=["history"])["history"])
            for group in range(file.num_row_groups)
        ]
    return np.concatenate([part.to_numpy().astype(np.int64) for part in parts])


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
        with _open(samples) as file:
            splits = file.read(columns=["split"])["split"].to_pandas()
    per_user = interactions["user_id"].value_counts()
    rows = {
        "users": len(per_user),
        "items": len(items),
        "train sequences": int((splits == "train").sum()),
        "test sequences": int((splits == "test").sum()),
        "interactions": len(interactions),
        "items with interactions": interactions["item_id"].nunique(),
        "fewest interactions of a user": int(per_user.min()) if len(per_user) else 0,
        "most interactions of a user": int(per_user.max()) if len(per_user) else 0,
    }
    return pd.DataFrame({"statistic": list(rows), "value": list(rows.values())})


def _history_ends(samples: pd.DataFrame | str | Path) -> pd.DataFrame:
    """The samples with, in place of each history, its `length`, `oldest` and `newest` item."""
    columns = ["sample_id", "user_id", "item_id", "split"]
    if isinstance(samples, pd.DataFrame):
        histories = check(samples, "samples")["history"]
        return samples[columns].assign(
            length=np.array([len(h) for h in histories], dtype=np.int64),
            oldest=[h[0] if len(h) else None for h in histories],
            newest=[h[-1] if len(h) else None for h in histories],
        )
    parts = []
    with _open(samples) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=[*columns, "history"])
            history = table["history"].combine_chunks()
            length = history.value_lengths().to_numpy()
            begin = history.offsets.to_numpy()[:-1]
            items = history.values
            if not pa.types.is_dictionary(items.type):  # not a file of write_samples
                items = items.cast(pa.string()).dictionary_encode()
            # one entry more, null, stands for the ends of an empty history
            ids = np.array([*items.dictionary.to_pylist(), None], dtype=object)
            code = np.append(items.indices.to_numpy(), len(ids) - 1)
            oldest = np.where(length > 0, begin, len(code) - 1)
            newest = np.where(length > 0, begin + length - 1, len(code) - 1)
            parts.append(
                table.select(columns)
                .to_pandas()
                .assign(length=length, oldest=ids[code[oldest]], newest=ids[code[newest]])
            )
    return pd.concat(parts, ignore_index=True)


def leakage(samples: pd.DataFrame | str | Path, interactions: pd.DataFrame) -> pd.DataFrame:
    """What training sees of the test set, for any assignment of the samples to train and test.

    `samples` (a frame or a file) are those of `make_samples` or `write_samples` on these
    `interactions`; their `split` may have been reassigned by any rule, and rows may have been
    dropped. An interaction is *visible in training* if it is the target of a training sample or
    stands in the history of one. Interactions of one user are *later* by timestamp, ties by order
    of the file. One row per question, columns question, count, total and share (count / total):

    - `test pairs among training targets`: distinct (user, item) pairs of test samples that are
      also a training target; only repeated interactions can be;
    - `test pairs in training histories`: the same, in the history of a training sample of theirs;
    - `test pairs visible in training`: either of the two;
    - `test samples with later interactions in training`: a later interaction of the same user is
      visible in training, so that training knows what the user did after the test;
    - `test users with later interactions in training`: users with at least one such sample;
    - `later interactions of test users in training`: of all interactions that follow a user's
      first test sample, those that are visible in training.
    """
    ordered = in_order(interactions)
    rows, length, is_test = _locate(samples, ordered)
    # histories are windows, so a running sum of +1 at each start and -1 at each end covers them
    train_rows, train_length = rows[~is_test], length[~is_test]
    edges = np.zeros(len(ordered.user) + 1, dtype=np.int64)
    np.add.at(edges, train_rows - train_length, 1)
    np.add.at(edges, train_rows, -1)
    in_history = np.cumsum(edges[:-1]) > 0
    is_target = np.zeros(len(ordered.user), dtype=bool)
    is_target[train_rows] = True

    pair = ordered.user.astype(np.int64) * len(ordered.items) + ordered.item
    test_rows = rows[is_test]
    test_pairs = np.unique(pair[test_rows])
    as_target = np.isin(test_pairs, pair[is_target])
    as_history = np.isin(test_pairs, pair[in_history])

    # a user's latest visible interaction: a history ends before its target, so a training target
    last_seen = np.full(len(ordered.users), -1)
    np.maximum.at(last_seen, ordered.user[train_rows], train_rows)
    first_test = np.full(len(ordered.users), len(ordered.user))
    np.minimum.at(first_test, ordered.user[test_rows], test_rows)
    leaking = test_rows < last_seen[ordered.user[test_rows]]
    later = np.arange(len(ordered.user)) > first_test[ordered.user]

    answers = {
        "test pairs among training targets": (as_target.sum(), len(test_pairs)),
        "test pairs in training histories": (as_history.sum(), len(test_pairs)),
        "test pairs visible in training": ((as_target | as_history).sum(), len(test_pairs)),
        "test samples with later interactions in training": (leaking.sum(), len(test_rows)),
        "test users with later interactions in training": (
            len(np.unique(ordered.user[test_rows[leaking]])),
            len(np.unique(ordered.user[test_rows])),
        ),
        "later interactions of test users in training": (
            (later & (is_target | in_history)).sum(),
            later.sum(),
        ),
    }
    table = [(name, int(count), int(total)) for name, (count, total) in answers.items()]
    frame = pd.DataFrame(table, columns=["question", "count", "total"])
    frame["share"] = frame["count"] / frame["total"].where(frame["total"] > 0)
    return frame


def history_overlap(samples: pd.DataFrame | str | Path) -> pd.DataFrame:
    """How much of each test history one training history holds: columns sample_id, overlap.

    `samples` is a frame or a file, its split "train" or "test". overlap = max over training samples
    of |test ∩ training| / |test|, over the distinct items of the two histories, in 0..1 and exact;
    order is not looked at. 0 where there is no training sample or the history is empty. Rows: the
    test samples, in their order. A history of one or two items is easily held by chance: read the
    overlap beside the length.

    >>> table = pd.DataFrame({"sample_id": ["u:1", "u:2", "v:2"], "user_id": ["u", "u", "v"],
    ...     "history": [["a"], ["a", "b"], ["b", "c"]], "item_id": ["b", "c", "d"],
    ...     "split": ["train", "test", "train"]})
    >>> history_overlap(table)
      sample_id  overlap
    0       u:2      0.5
    """
    ids, users, is_test, histories = _histories(samples)
    own = pd.factorize(users)[0]
    train_rows, test_rows = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    train_rows = train_rows[np.argsort(own[train_rows], kind="stable")]
    train, test = histories[train_rows], histories[test_rows]
    holders = train.T.tocsr()  # row of an item: the training histories that hold it
    frequency, typical = np.diff(holders.indptr), train.nnz / max(len(train_rows), 1)
    first, last = (
        np.searchsorted(own[train_rows], own[test_rows], side=side) for side in ("left", "right")
    )
    wanted = np.zeros(train.shape[1], dtype=bool)
    best = np.zeros(len(test_rows), dtype=np.int64)
    for n, (begin, end) in enumerate(pairwise(test.indptr)):
        items = test.indices[begin:end]
        items = items[np.argsort(frequency[items])]
        wanted[items] = True
        # The user's own training histories are the likeliest. To hold more than they do, another
        # must hold one of the `len(items) - best` rarest items, so mostly few are looked at.
        best[n] = _most_held(wanted, train[first[n] : last[n]])
        rare = items[: len(items) - best[n]]
        if frequency[rare].sum() * typical < frequency[items].sum():
            best[n] = max(best[n], _most_held(wanted, train[np.unique(holders[rare].indices)]))
        elif len(rare):
            best[n] = np.bincount(holders[items].indices, minlength=1).max()
        wanted[items] = False
    overlap = best / np.maximum(np.diff(test.indptr), 1)
    return pd.DataFrame({"sample_id": ids[test_rows], "overlap": overlap})


def _most_held(wanted: np.ndarray, histories: csr_matrix) -> int:
    """The most items of the mask `wanted` that one row of `histories` holds."""
    held = np.concatenate([[0], np.cumsum(wanted[histories.indices])])[histories.indptr]
    return int(np.diff(held).max(initial=0))


def _histories(
    samples: pd.DataFrame | str | Path,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, csr_matrix]:
    """sample_id, user_id, whether test, and the histories: a 0/1 matrix (samples, items)."""
    columns = ["sample_id", "user_id", "split", "history"]
    if isinstance(samples, pd.DataFrame):
        histories = pa.array(check(samples, "samples")["history"], pa.list_(pa.string()))
        parts = [(samples[columns[:3]], histories)]
    else:
        with _open(samples) as file:
            tables = [file.read_row_group(n, columns=columns) for n in range(file.num_row_groups)]
        parts = [
            (table.select(columns[:3]).to_pandas(), table["history"].combine_chunks())
            for table in tables
        ]
    code: dict[str, int] = {}
    items, lengths = [], []
    for _, histories in parts:
        entries = histories.flatten()
        if not pa.types.is_dictionary(entries.type):
            entries = entries.dictionary_encode()
        own = [code.setdefault(item, len(code)) for item in entries.dictionary.to_pylist()]
        items.append(np.array(own, dtype=np.int32)[entries.indices.to_numpy()])
        lengths.append(histories.value_lengths().to_numpy())
    frame = pd.concat([part for part, _ in parts], ignore_index=True)
    known = frame["split"].isin(["train", "test"]).to_numpy()
    if not known.all():
        wrong = int((~known).argmax())
        raise InputError(
            f"samples: row {wrong + 1}: split must be 'train' or 'test', "
            f"found {frame['split'].iloc[wrong]!r}"
        )
    codes = np.concatenate(items)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    matrix = csr_matrix(
        (np.ones(len(codes), dtype=bool), codes, starts), shape=(len(frame), len(code))
    )
    matrix.sum_duplicates()
    sample_id, user, split = (frame[column].to_numpy(object) for column in columns[:3])
    return sample_id, user, split == "test", matrix


def _locate(
    samples: pd.DataFrame | str | Path, ordered: Ordered
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each sample's row among the ordered interactions, its history's length, and if it is test.

    Checked, so that an audit of the wrong table fails: the user's interaction at the position in
    sample_id is the sample's item, and the history begins and ends where its window does.
    """
    ends = _history_ends(samples)
    ids = pa.array(ends["sample_id"], pa.string())
    place = pc.extract_regex(ids, r"(?s)^(?P<user>.*):(?P<position>\d+)$")
    position = pc.cast(pc.struct_field(place, "position"), pa.int64()).fill_null(0).to_numpy()
    user = pc.index_in(pa.array(ends["user_id"], pa.string()), value_set=ordered.users)
    user = user.fill_null(-1).to_numpy()
    length = ends["length"].to_numpy()
    fits = (position >= 1) & (user >= 0) & (length <= position)
    fits &= position < np.diff(ordered.starts)[user]
    rows = np.where(fits, ordered.starts[user] + position, 0)
    for column, row in (
        ("item_id", rows),
        ("oldest", np.where(fits, rows - length, 0)),
        ("newest", np.where(fits, rows - 1, 0)),
    ):
        code = pc.index_in(pa.array(ends[column], pa.string()), value_set=ordered.items)
        same = code.fill_null(-1).to_numpy() == ordered.item[row]
        fits &= same if column == "item_id" else same | (length == 0)
    if not fits.all():
        wrong = int((~fits).argmax())
        raise InputError(
            f"samples: row {wrong + 1}: sample {ends['sample_id'].iloc[wrong]!r} was not made from "
            "these interactions; give the interactions that make_samples was given"
        )
    known = ends["split"].isin(["train", "test"]).to_numpy()
    if not known.all():
        wrong = int((~known).argmax())
        raise InputError(
            f"samples: row {wrong + 1}: split must be 'train' or 'test', "
            f"found {ends['split'].iloc[wrong]!r}"
        )
    return rows, length, (ends["split"] == "test").to_numpy()
