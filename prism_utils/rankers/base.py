"""What every ranker keeps to, and what those share that score all items for a user."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import sparse

from ..errors import InputError
from ..tables import check

_USERS_AT_A_TIME = 1024  # of a dense matrix users x items
COLUMNS = ["user_id", "item_id", "rank", "score"]


class Ranker(Protocol):
    """Whatever recommends: `fit` returns the ranker itself, `recommend` a table.

    `recommend(user_ids, k)` has the columns user_id, item_id, rank (1 is best) and score (higher is
    better, on a scale of the ranker's own): at most k rows a user, nothing that the user has
    interacted with.
    """

    name: str

    def fit(self, interactions: pd.DataFrame) -> Any: ...

    def recommend(self, user_ids: Sequence[str], k: int = 10) -> pd.DataFrame: ...


class MatrixRanker(ABC):
    """A ranker that scores every item for a user; its kinds differ in `_learn` and `_scores`."""

    name = ""

    def fit(self, interactions: pd.DataFrame) -> MatrixRanker:
        """Learn from interactions (user_id, item_id; a repeated pair counts once)."""
        check(interactions, "interactions")
        if not len(interactions):
            raise InputError("table 'interactions' has no rows, so there is nothing to rank by")
        pairs = interactions[["user_id", "item_id"]].drop_duplicates()
        user, users = pd.factorize(pairs["user_id"])
        # The most popular item first, so that items of equal score are ranked by popularity.
        self.users, self.items = pd.Index(users), pairs["item_id"].value_counts().index
        where = (user, self.items.get_indexer(pairs["item_id"]))
        shape = (len(self.users), len(self.items))
        self.seen = sparse.csr_matrix((np.ones(len(pairs)), where), shape=shape)
        self._learn()
        return self

    def recommend(self, user_ids: Sequence[str], k: int = 10) -> pd.DataFrame:
        """The k unseen items of highest score (see `Ranker`); `InputError` for an unknown user."""
        if k < 1:
            raise InputError(f"k must be at least 1, found {k}")
        users = np.asarray(user_ids, dtype=object)
        rows = self._known(self.users, users, "user")
        parts = [pd.DataFrame(columns=COLUMNS)] if not len(rows) else []
        for start in range(0, len(rows), _USERS_AT_A_TIME):
            block = rows[start : start + _USERS_AT_A_TIME]
            scores = np.asarray(self._scores(block), dtype=float)
            scores[self.seen[block].nonzero()] = -np.inf
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            ranked = {
                "user_id": np.repeat(users[start : start + len(block)], best.shape[1]),
                "item_id": self.items.to_numpy(dtype=object)[best.ravel()],
                "rank": np.tile(np.arange(1, best.shape[1] + 1), len(block)),
                "score": np.take_along_axis(scores, best, axis=1).ravel(),
            }
            parts.append(pd.DataFrame(ranked)[np.isfinite(ranked["score"])])
        return pd.concat(parts, ignore_index=True)

    def evidence(
        self, user_id: str, item_id: str, k: int = 3, *, history: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """The at most k history items that moved the ranker most towards the item.

        Columns item_id and weight, the item's contribution to the score, largest first; only what
        speaks for the item. `history` is by default all that the user has interacted with; items
        that the ranker never saw, and the recommended one, count for nothing. Raises `InputError`
        for a ranker that cannot tell, and for a user or item that it never saw.
        """
        target = int(self._known(self.items, [item_id], "item")[0])
        if history is None:
            past = self.seen[self._known(self.users, [user_id], "user")[0]].indices
        else:
            past = self.items.get_indexer(pd.Index(history, dtype=object))
        past = np.unique(past[(past >= 0) & (past != target)])
        weight = np.asarray(self._influence(past, target), dtype=float)
        best = np.argsort(-weight, kind="stable")[:k]
        best = best[weight[best] > 0]
        return pd.DataFrame({"item_id": self.items[past[best]], "weight": weight[best]})

    def _known(self, index: pd.Index, names: Sequence[str] | np.ndarray, what: str) -> np.ndarray:
        rows = index.get_indexer(pd.Index(names, dtype=object))
        if (rows < 0).any():
            lost = names[int((rows < 0).argmax())]
            raise InputError(f"{what} {lost!r} has no interactions that {self.name} was fitted on")
        return rows

    @abstractmethod
    def _learn(self) -> None:
        """Learn from `seen`, a matrix of 0 and 1 (users, items)."""

    @abstractmethod
    def _scores(self, rows: np.ndarray) -> np.ndarray:
        """Scores (rows, items) for the users in these rows of `seen`."""

    def _influence(self, past: np.ndarray, target: int) -> np.ndarray:
        """What each item of `past` contributes to the score of `target`."""
        raise InputError(
            f"ranker {self.name!r} cannot tell which history items moved it; choose ease, item_cf "
            "or als"
        )


def with_evidence(ranker: Any, samples: pd.DataFrame, k: int = 3) -> pd.DataFrame:
    """The samples with a column `evidence`: of each history the items that moved the ranker most.

    A list of at most k item_ids, most influential first; see `evidence` of the rankers.
    """
    check(samples, "samples")
    columns = (samples[c] for c in ("user_id", "item_id", "history"))
    found = [
        ranker.evidence(user, item, k, history=history)["item_id"].tolist()
        for user, item, history in zip(*columns, strict=True)
    ]
    return samples.assign(evidence=pd.Series(found, index=samples.index, dtype=object))
