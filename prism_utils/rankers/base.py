"""What every ranker keeps to, and what those share that score all items for a user."""

from __future__ import annotations

import math
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


def whole(name: str, value: Any, least: int = 1, most: float = math.inf) -> int:
    """`value` as an int if it is a whole number from `least` to `most`; else `InputError`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise InputError(f"{name} must be a whole number, found {value!r}")
    if not least <= value <= most:
        bound = f"at least {least}" if value < least else f"at most {most}"
        raise InputError(f"{name} must be {bound}, found {value}")
    return int(value)


def number(name: str, value: Any, *, or_zero: bool = False) -> float:
    """`value` as a float if it is finite and above 0 (`or_zero`: or 0); else `InputError`."""
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        raise InputError(f"{name} must be a number, found {value!r}")
    if not (0 < value < math.inf or (or_zero and value == 0)):
        bound = "0 or more" if or_zero else "above 0"
        raise InputError(f"{name} must be {bound} and finite, found {value}")
    return float(value)


def ids(name: str, values: Any) -> np.ndarray:
    """Ids as an array of objects; `InputError` for one id in place of a list, and for no text."""
    if isinstance(values, str | pd.DataFrame) or not np.iterable(values):
        raise InputError(f"{name} must be a list of ids, found {values!r}")
    listed = list(values)
    for value in listed:
        try:
            value.encode()
        except (AttributeError, UnicodeEncodeError):  # the second: half an emoji
            found = f"{ascii(value)} ({type(value).__name__})"
            raise InputError(f"{name} must hold ids, which are text, found {found}") from None
    return np.array([*map(str, listed)], dtype=object)


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
    users = items = pd.Index([])  # before `fit` nobody and nothing is known

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
        users, k = ids("user_ids", user_ids), whole("k", k)
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
        k = whole("k", k)
        target = int(self._known(self.items, ids("item_id", [item_id]), "item")[0])
        if history is None:
            past = self.seen[self._known(self.users, ids("user_id", [user_id]), "user")[0]].indices
        else:
            past = self.items.get_indexer(ids("history", history))
        past = np.unique(past[(past >= 0) & (past != target)])
        weight = np.asarray(self._influence(past, target), dtype=float)
        best = np.argsort(-weight, kind="stable")[:k]
        best = best[weight[best] > 0]
        return pd.DataFrame({"item_id": self.items[past[best]], "weight": weight[best]})

    def _known(self, index: pd.Index, names: np.ndarray, what: str) -> np.ndarray:
        rows = index.get_indexer(names)
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
        raise _untold(self.name)


def _untold(name: str) -> InputError:
    return InputError(
        f"ranker {name!r} cannot tell which history items moved it; choose ease, item_cf or als"
    )


def with_evidence(ranker: Any, samples: pd.DataFrame, k: int = 3) -> pd.DataFrame:
    """The samples with a column `evidence`: of each history the items that moved the ranker most.

    A list of at most k item_ids, most influential first; see `evidence` of the rankers.
    """
    check(samples, "samples")
    if not hasattr(ranker, "evidence"):
        raise _untold(ranker.name)
    columns = (samples[c] for c in ("user_id", "item_id", "history"))
    found = [
        ranker.evidence(user, item, k, history=history)["item_id"].tolist()
        for user, item, history in zip(*columns, strict=True)
    ]
    return samples.assign(evidence=pd.Series(found, index=samples.index, dtype=object))
