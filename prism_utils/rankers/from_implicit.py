"""Neighbours and factors as the library `implicit` computes them (the extra `rankers`)."""

from __future__ import annotations

import warnings
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ..errors import InputError
from .base import MatrixRanker, number, whole

_MOST = 10**6  # neighbours, factors, passes: more is a slip, and memory ends before


class _Implicit(MatrixRanker):
    """A ranker whose `model` is one of the library's."""

    def _make(self, module: str, kind: str, **options: Any) -> None:
        for name, value in options.items():
            if name == "seed":
                whole(name, value, least=0, most=2**32 - 1)
            elif name in ("factors", "iterations", "neighbours"):
                whole(name, value, most=_MOST)
            else:
                number(name, value, or_zero=name == "regularization")
        try:
            build = getattr(import_module(f"implicit.{module}"), kind)
        except ImportError as error:
            raise InputError(
                "this ranker needs the library implicit: pip install 'prism-utils[rankers]'"
            ) from error
        if "neighbours" in options:  # an item is its own nearest one there, and takes one place
            options["K"] = options.pop("neighbours") + 1
        else:
            options["random_state"] = options.pop("seed")
        # With several threads BPR's would race, and give other factors each time.
        self.build = partial(build, num_threads=1, **options)

    def _learn(self) -> None:
        # It warns of threads in BLAS, and is slowed down by them; and of conversions of its own.
        with warnings.catch_warnings(), import_module("threadpoolctl").threadpool_limits(1, "blas"):
            warnings.simplefilter("ignore")
            self.model = self.build()
            self.model.fit(self.seen.astype(np.float32), show_progress=False)

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        return self.model.user_factors[rows] @ self.model.item_factors.T


class ItemCF(_Implicit):
    """Item-based collaborative filtering: cosine similarity to the user's items (implicit).

    neighbours: how many similar items each item keeps.
    """

    name = "item_cf"

    def __init__(self, *, neighbours: int = 50) -> None:
        self._make("nearest_neighbours", "CosineRecommender", neighbours=neighbours)

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        return (self.seen[rows] @ self.model.similarity).toarray()

    def _influence(self, past: np.ndarray, target: int) -> np.ndarray:
        return self.model.similarity[past][:, [target]].toarray()[:, 0]


class Als(_Implicit):
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
        options: dict[str, Any] = {"factors": factors, "iterations": iterations, "alpha": alpha}
        options |= {"regularization": regularization, "seed": seed}
        self._make("cpu.als", "AlternatingLeastSquares", **options)

    def _influence(self, past: np.ndarray, target: int) -> np.ndarray:
        user = sparse.csr_matrix(
            (np.ones(len(past), np.float32), (np.zeros(len(past), int), past)),
            shape=(1, len(self.items)),
        )
        _, told, _ = self.model.explain(0, user, target, N=max(len(past), 1))
        return pd.Series(dict(told), dtype=float).reindex(past).to_numpy()


class Bpr(_Implicit):
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
        options: dict[str, Any] = {"factors": factors, "iterations": iterations}
        options |= {"learning_rate": learning_rate, "regularization": regularization}
        self._make("cpu.bpr", "BayesianPersonalizedRanking", seed=seed, **options)
