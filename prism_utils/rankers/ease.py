"""EASE, the ranker that a regression gives in closed form."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .base import MatrixRanker, number

_MOST_ITEMS = 30_000  # items x items numbers of 8 bytes: 7 GB


class Ease(MatrixRanker):
    """EASE: each item from all others by one ridge regression, in closed form (Steck 2019).

    B minimises |X - XB|^2 + l2 |B|^2 with diag(B) = 0, X the 0/1 matrix (users, items); a user's
    scores are x B. l2: strength of the penalty, above 0, in users.
    """

    name = "ease"

    def __init__(self, *, l2: float = 100.0) -> None:
        self.l2 = number("l2", l2)

    def _learn(self) -> None:
        if len(self.items) > _MOST_ITEMS:
            raise InputError(
                f"ease needs a full matrix of items, and {len(self.items):,} are too many (at most "
                f"{_MOST_ITEMS:,}); choose als, or keep items with more interactions"
            )
        # Inverse of X'X + l2: where users are fewer than items, by way of the smaller XX' + l2.
        few = len(self.users) < len(self.items)
        gram = (self.seen @ self.seen.T if few else self.seen.T @ self.seen).toarray()
        gram[np.diag_indices_from(gram)] += self.l2
        if few:
            inverse = self.seen.T @ np.linalg.solve(gram, self.seen.toarray()) / -self.l2
            inverse[np.diag_indices_from(inverse)] += 1 / self.l2
        else:
            inverse = np.linalg.inv(gram)
        self.weights = inverse / -np.diag(inverse)
        np.fill_diagonal(self.weights, 0)

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        return self.seen[rows] @ self.weights

    def _influence(self, past: np.ndarray, target: int) -> np.ndarray:
        return self.weights[past, target]
