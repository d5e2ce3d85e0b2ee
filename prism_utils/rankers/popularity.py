"""The most popular items for everybody."""

from __future__ import annotations

import numpy as np

from .base import MatrixRanker


class Popularity(MatrixRanker):
    """Everybody gets what most users have interacted with. The floor."""

    name = "popularity"

    def _learn(self) -> None:
        self.counts = np.asarray(self.seen.sum(axis=0))

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        return np.repeat(self.counts, len(rows), axis=0)
