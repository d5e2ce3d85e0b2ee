"""Interactions in order: each user's from the oldest to the newest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import InputError
from .schemas import check


class Ordered(NamedTuple):
    """Interactions grouped by user (first appearance first), each user's oldest first.

    `user`, `item`: codes into `users`, `items` (Arrow string arrays); `position`: index within
    the user's sequence; `file_row`: row in the table as given. All of length M.
    """

    user: np.ndarray
    item: np.ndarray
    position: np.ndarray
    file_row: np.ndarray
    users: pa.Array
    items: pa.Array
    starts: np.ndarray  # first row of each user, and M at the end


def _codes(values: pd.Series) -> tuple[np.ndarray, pa.Array]:
    codes, distinct = pd.factorize(values)
    return codes, pa.array(distinct, pa.string())


def times(interactions: pd.DataFrame) -> np.ndarray:
    """Timestamps, or file order where there are none."""
    if "timestamp" not in interactions or interactions["timestamp"].isna().all():
        return np.arange(len(interactions))
    missing = interactions["timestamp"].isna().to_numpy()
    if missing.any():
        raise InputError(
            f"table 'interactions': row {missing.argmax() + 1}: 'timestamp' is missing while other "
            "rows have one; fill it in, or drop the column to use the order of the file"
        )
    times = interactions["timestamp"]
    # nullable columns would become objects; floats could not hold nanoseconds
    if pd.api.types.is_integer_dtype(times):
        return times.to_numpy(np.int64)
    seconds = times.to_numpy(np.float64)
    inexact = np.abs(seconds) >= 2**53
    if inexact.any():
        raise InputError(
            f"table 'interactions': row {inexact.argmax() + 1}: 'timestamp' is too large to be "
            f"exact, {seconds[inexact][0]}; give all times as whole numbers"
        )
    return seconds


def in_order(interactions: pd.DataFrame) -> Ordered:
    """The interactions of each user by timestamp, ties in the order of the file."""
    check(interactions, "interactions")
    if not len(interactions):
        raise InputError("table 'interactions' has no rows, so there are no sequences")
    user, users = _codes(interactions["user_id"])
    item, items = _codes(interactions["item_id"])
    rows = np.lexsort((times(interactions), user))  # stable: ties stay in file order
    starts = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(users)))])
    user = user[rows]
    return Ordered(
        user, item[rows], np.arange(len(rows)) - starts[user], rows, users, items, starts
    )
