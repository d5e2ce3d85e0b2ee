"""The Ranking Stage: objects with `fit(interactions)` and `recommend(user_ids, k)`, and their test.

Popularity and EASE are computed here, neighbours and factors come from the library `implicit` (the
extra `rankers`), a file of ranks from any other system. Ratings and times are not looked at: an
interaction is a sign of interest. Left out on purpose: tuning, side information and sampled tests.
"""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import sparse

from .errors import InputError, nearest
from .sequences import _order
from .statistics import bootstrap_means
from .tables import check

_USERS_AT_A_TIME = 1024  # of a dense matrix users x items
_MOST_ITEMS = 30_000  # EASE holds items x items numbers of 8 bytes: 7 GB
_COLUMNS = ["user_id", "item_id", "rank", "score"]


class Ranker(Protocol):
    """Whatever recommends: `fit` returns the ranker itself, `recommend` a table.

    `recommend(user_ids, k)` has the columns user_id, item_id, rank (1 is best) and score (higher is
    better, on a scale of the ranker's own): at most k rows a user, nothing that the user has
    interacted with.
    """

    name: str

    def fit(self, interactions: pd.DataFrame) -> Any: ...

    def recommend(self, user_ids: Sequence[str], k: int = 10) -> pd.DataFrame: ...


class _Matrix(ABC):
    """A ranker that scores every item for a user; its kinds differ in `_learn` and `_scores`."""

    name = ""

    def fit(self, interactions: pd.DataFrame) -> _Matrix:
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
        parts = [pd.DataFrame(columns=_COLUMNS)] if not len(rows) else []
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


class Popularity(_Matrix):
    """Everybody gets what most users have interacted with. The floor."""

    name = "popularity"

    def _learn(self) -> None:
        self.counts = np.asarray(self.seen.sum(axis=0))

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        return np.repeat(self.counts, len(rows), axis=0)


class Ease(_Matrix):
    """EASE: each item from all others by one ridge regression, in closed form (Steck 2019).

    B minimises |X - XB|^2 + l2 |B|^2 with diag(B) = 0, X the 0/1 matrix (users, items); a user's
    scores are x B. l2: strength of the penalty, above 0, in users.
    """

    name = "ease"

    def __init__(self, *, l2: float = 100.0) -> None:
        if not l2 > 0:
            raise InputError(f"l2 must be above 0, found {l2}")
        self.l2 = l2

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


class ItemCF(_Matrix):
    """Item-based collaborative filtering: cosine similarity to the user's items (implicit).

    neighbours: how many similar items each item keeps.
    """

    name = "item_cf"

    def __init__(self, *, neighbours: int = 50) -> None:
        # An item is its own nearest neighbour there, and takes one place.
        cosine = _implicit("nearest_neighbours").CosineRecommender
        self.build = partial(cosine, K=neighbours + 1, num_threads=1)

    def _learn(self) -> None:
        self.model = _fitted(self.build, self.seen)
        self.similarity = self.model.similarity.tocsc()

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        return (self.seen[rows] @ self.model.similarity).toarray()

    def _influence(self, past: np.ndarray, target: int) -> np.ndarray:
        return self.similarity[:, [target]].toarray()[past, 0]


class Als(_Matrix):
    """Matrix factorisation of implicit feedback by alternating least squares (Hu et al. 2008).

    factors: width. regularization: penalty. alpha: weight of an interaction against the absence of
    one. iterations: passes over the data. seed: of the first factors.
    """

    name = "als"

    def __init__(
        self,
        *,
        factors: int = 32,
        regularization: float = 0.1,
        alpha: float = 5.0,
        iterations: int = 15,
        seed: int = 0,
    ) -> None:
        self.build = partial(
            _implicit("cpu.als").AlternatingLeastSquares,
            factors=factors,
            regularization=regularization,
            alpha=alpha,
            iterations=iterations,
            random_state=seed,
            num_threads=1,
        )

    def _learn(self) -> None:
        self.model = _fitted(self.build, self.seen)

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        return self.model.user_factors[rows] @ self.model.item_factors.T

    def _influence(self, past: np.ndarray, target: int) -> np.ndarray:
        user = sparse.csr_matrix(
            (np.ones(len(past), np.float32), (np.zeros(len(past), int), past)),
            shape=(1, len(self.items)),
        )
        _, told, _ = self.model.explain(0, user, target, N=max(len(past), 1))
        return pd.Series(dict(told), dtype=float).reindex(past).to_numpy()


class Bpr(_Matrix):
    """Matrix factorisation that learns to put seen before unseen items (Rendle et al. 2009).

    factors: width. learning_rate, regularization: of stochastic gradient descent. iterations:
    passes over the data. seed: of factors and draws.
    """

    name = "bpr"

    def __init__(
        self,
        *,
        factors: int = 32,
        learning_rate: float = 0.05,
        regularization: float = 0.01,
        iterations: int = 100,
        seed: int = 0,
    ) -> None:
        self.build = partial(
            _implicit("cpu.bpr").BayesianPersonalizedRanking,
            factors=factors,
            learning_rate=learning_rate,
            regularization=regularization,
            iterations=iterations,
            random_state=seed,
            num_threads=1,  # several would race, and give other factors each time
        )

    def _learn(self) -> None:
        self.model = _fitted(self.build, self.seen)

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        return self.model.user_factors[rows] @ self.model.item_factors.T


class Recorded:
    """What another system recommended; `from_file` reads it. `fit` learns what to leave out."""

    name = "recorded"

    def __init__(self, ranks: pd.DataFrame) -> None:
        self.ranks = ranks

    def fit(self, interactions: pd.DataFrame) -> Recorded:
        """Keep the interactions, so that no user is recommended an item of theirs."""
        check(interactions, "interactions")
        self.seen = pd.MultiIndex.from_frame(interactions[["user_id", "item_id"]])
        return self

    def recommend(self, user_ids: Sequence[str], k: int = 10) -> pd.DataFrame:
        """The k unseen items of best rank, as the file has them; a user not there gets none."""
        if k < 1:
            raise InputError(f"k must be at least 1, found {k}")
        wanted = pd.DataFrame({"user_id": np.asarray(user_ids, dtype=object)})
        there = wanted.merge(self.ranks, on="user_id")
        there = there[~pd.MultiIndex.from_frame(there[["user_id", "item_id"]]).isin(self.seen)]
        place = there.groupby("user_id", sort=False).cumcount() + 1
        return there.assign(rank=place)[place <= k][_COLUMNS].reset_index(drop=True)


def from_file(path: str | Path) -> Recorded:
    """A ranker from another system's table of ranks: Parquet, CSV or JSON lines, by its ending.

    Columns user_id, item_id, rank (a whole number, 1 is best, no two alike for a user) and, if it
    is there, score; without one the score is 1 / rank. The file does not change with `fit`: to
    evaluate it, its system must not have seen what is held out. Raises `InputError` with file and
    row for anything else.
    """
    path = Path(path)
    readers = {".parquet": pd.read_parquet, ".csv": _read_csv, ".jsonl": _read_jsonl}
    if path.suffix not in readers:
        raise InputError(f"{path}: ends in {path.suffix!r}; give a .parquet, .csv or .jsonl file")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        table = readers[path.suffix](path)
    except Exception as error:  # readers raise many unrelated types for a broken file
        raise InputError(f"{path}: not readable as {path.suffix[1:]} ({error})") from error
    check(table, "interactions", source=str(path))
    if "rank" not in table.columns:
        raise InputError(f"{path}: column 'rank' is missing (columns: {', '.join(table.columns)})")
    rank = pd.to_numeric(table["rank"], errors="coerce")
    score = pd.to_numeric(table["score"], errors="coerce") if "score" in table else 1 / rank
    for wrong, said in (
        ((rank.isna() | (rank < 1) | (rank % 1 != 0)), "rank must be a whole number from 1 on"),
        (score.isna(), "score must be a number"),
        (table.duplicated(["user_id", "item_id"]), "this user has this item twice"),
        (table.duplicated(["user_id", "rank"]), "this user has this rank twice"),
    ):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            found = ", ".join(f"{c} {table[c].iloc[row]!r}" for c in _COLUMNS if c in table)
            raise InputError(f"{path}: row {row + 1}: {said}, found {found}")
    ranks = table[["user_id", "item_id"]].assign(rank=rank.astype(int), score=score)
    return Recorded(ranks.sort_values("rank", kind="stable", ignore_index=True))


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"user_id": str, "item_id": str})


def _read_jsonl(path: Path) -> pd.DataFrame:
    return pd.read_json(path, lines=True, dtype={"user_id": str, "item_id": str})


def _fitted(build: Callable[[], Any], seen: sparse.csr_matrix) -> Any:
    """A fitted model of implicit, which warns of threads in BLAS, and is slowed down by them."""
    with warnings.catch_warnings(), import_module("threadpoolctl").threadpool_limits(1, "blas"):
        warnings.simplefilter("ignore")  # it also warns of conversions of its own
        model = build()
        model.fit(seen.astype(np.float32), show_progress=False)
    return model


def _implicit(module: str) -> Any:
    try:
        return import_module(f"implicit.{module}")
    except ImportError as error:
        raise InputError(
            "this ranker needs the library implicit: pip install 'prism-utils[rankers]'"
        ) from error


RANKERS = {kind.name: kind for kind in (Popularity, ItemCF, Ease, Als, Bpr)}


def make_ranker(name: str, **options: Any) -> Any:
    """A ranker by name: popularity, item_cf, ease, als or bpr, with its own options.

    Raises `InputError` for an unknown name or option, with the nearest right one, and where the
    library that it needs is not installed.

    >>> seen = pd.DataFrame({"user_id": list("uuvw"), "item_id": list("abbb")})
    >>> make_ranker("popularity").fit(seen).recommend(["v"])
      user_id item_id  rank  score
    0       v       a     1    1.0
    """
    if name not in RANKERS:
        raise InputError(f"ranker {name!r} is unknown: {nearest(name, RANKERS)}")
    kind: Any = RANKERS[name]
    own = list(inspect.signature(kind).parameters) if options else []
    for option in options:
        if option not in own:
            hint = nearest(option, own) if own else "it has none"
            raise InputError(f"ranker {name!r} has no option {option!r}: {hint}")
    return kind(**options)


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


def held_out_scores(ranker: Ranker, interactions: pd.DataFrame, k: int = 10) -> pd.DataFrame:
    """nDCG@k and recall@k of every user by leave-last-out: a scores table, sample_id the user's id.

    The last interaction by time of each user with two or more is held out (equal times: by order of
    the file, as in `sequences`), the ranker is fitted on the rest and asked for k items out of all.
    One item is right, so nDCG@k is 1 / log2(1 + its rank), recall@k is 1, where it is among them,
    and both are 0 elsewhere: an item that the rest lacks, or a repeated one, cannot be found.
    """
    ordered = _order(interactions)
    last = ordered.file_row[(ordered.starts[1:] - 1)[np.diff(ordered.starts) > 1]]
    held = interactions.iloc[np.sort(last)][["user_id", "item_id"]]
    rest = np.delete(np.arange(len(interactions)), last)
    told = ranker.fit(interactions.iloc[rest]).recommend(held["user_id"].tolist(), k)
    rank = held.merge(told, how="left", on=["user_id", "item_id"])["rank"]
    wide = pd.DataFrame(
        {
            "sample_id": held["user_id"].to_numpy(),
            "system": ranker.name,
            f"ndcg@{k}": (1 / np.log2(1 + rank.astype(float))).fillna(0.0),
            f"recall@{k}": rank.notna().astype(float),
        }
    )
    return wide.melt(["sample_id", "system"], var_name="metric", value_name="value")


def evaluate(
    ranker: Ranker,
    interactions: pd.DataFrame,
    k: int = 10,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Means of `held_out_scores` with 95% intervals: columns as `statistics.bootstrap_means`."""
    scores = held_out_scores(ranker, interactions, k)
    owners = pd.Series(scores["sample_id"].unique())
    return bootstrap_means(
        scores, owners.set_axis(owners.to_numpy()), resamples=resamples, seed=seed
    )
