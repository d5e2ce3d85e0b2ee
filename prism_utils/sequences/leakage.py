"""What training sees of the test set: an exact audit, and how alike histories are.

Both read a samples file a row group at a time, so that millions of histories stay codes. Left out
on purpose: near misses such as the same items in another order.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from ..errors import InputError
from ..tables import Ordered, check, in_order
from .samples import groups_of, histories_of, open_samples, read_rows


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
    with open_samples(samples) as file:
        for table, rows in groups_of(file, [*columns, "history"]):
            history = histories_of(samples, table, rows)
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
            ends = {"oldest": ids[code[oldest]], "newest": ids[code[newest]]}
            frame = read_rows(samples, table.select(columns), rows)
            parts.append(frame.assign(length=length, **ends))
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
        with open_samples(samples) as file:
            parts = [
                (read_rows(samples, t.select(columns[:3]), rows), histories_of(samples, t, rows))
                for t, rows in groups_of(file, columns)
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
