"""From interactions to samples: histories, splits, Table 1 and an audit of leakage.

Left out on purpose: filters of users or items, negative sampling and padding.
"""

from ..tables import in_order as _order  # noqa: F401  what rankers imports
from .leakage import history_overlap, leakage
from .samples import (
    SPLITS,
    dataset_statistics,
    history_lengths,
    make_samples,
    read_samples,
    write_samples,
)

__all__ = [
    "SPLITS",
    "dataset_statistics",
    "history_lengths",
    "history_overlap",
    "leakage",
    "make_samples",
    "read_samples",
    "write_samples",
]
