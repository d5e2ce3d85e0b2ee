"""Fleiss' kappa against published values, degenerate tables, and the simulated raters."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prism_utils.errors import InputError
from prism_utils.human_eval.agreement import (
    WORKED_EXAMPLE,
    agreement,
    counts_table,
    fleiss_kappa,
    landis_koch,
    within_one,
)
from prism_utils.human_eval.simulation import simulate_ratings
from prism_utils.tables import check

SUBJECTS = pd.DataFrame({"sample_id": [f"s{i}" for i in range(60)], "system": "prism"})


def test_the_published_worked_example():
    """10 subjects, 14 raters, 5 categories: its margins and its kappa as published."""
    assert WORKED_EXAMPLE.shape == (10, 5)
    assert (WORKED_EXAMPLE.sum(axis=1) == 14).all()
    assert WORKED_EXAMPLE.sum(axis=0).tolist() == [20, 28, 39, 21, 32]
    observed = ((WORKED_EXAMPLE**2).sum(axis=1) - 14) / (14 * 13)
    assert observed.round(3).tolist() == [
        1.000, 0.253, 0.308, 0.440, 0.330, 0.462, 0.242, 0.176, 0.286, 0.286,
    ]  # fmt: skip
    assert fleiss_kappa(WORKED_EXAMPLE) == pytest.approx(0.210, abs=5e-4)
    assert landis_koch(fleiss_kappa(WORKED_EXAMPLE)) == "fair"


@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_kappa_equals_the_formula_of_appendix_a4(raters, categories, seed):
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(raters, np.full(categories, 1 / categories), size=8)
    chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    observed = (((counts**2).sum(axis=1) - raters) / (raters * (raters - 1))).mean()
    if chance < 1:
        assert fleiss_kappa(counts) == pytest.approx((observed - chance) / (1 - chance))


def test_perfect_agreement_is_one_and_one_category_is_undefined():
    assert fleiss_kappa([[3, 0], [0, 3]]) == 1
    assert math.isnan(fleiss_kappa([[3, 0], [3, 0]]))
    assert landis_koch(float("nan")) == "undefined"


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ([[1, 0], [0, 1]], "at least two"),
        ([[2, 1], [2, 2]], "row 2 has 4 raters, row 1 has 3"),
        ([[2, -1], [0, 1]], "none negative"),
        ([[1.5, 0.5]], "whole numbers"),
        ([], "subjects x categories"),
    ],
)
def test_degenerate_counts_are_refused(counts, says):
    with pytest.raises(InputError, match=says):
        fleiss_kappa(counts)


@pytest.mark.parametrize(
    ("kappa", "band"),
    [(-0.01, "poor"), (0, "slight"), (0.2, "slight"), (0.21, "fair"), (0.4, "fair"),
     (0.6, "moderate"), (0.61, "substantial"), (0.8, "substantial"), (0.81, "almost perfect"),
     (1, "almost perfect")],
)  # fmt: skip
def test_landis_koch_bands(kappa, band):
    assert landis_koch(kappa) == band


def test_counts_come_from_ratings():
    ratings = simulate_ratings(SUBJECTS, raters=5, seed=1)
    faith = ratings[ratings["dimension"] == "faithfulness"]
    counts = counts_table(faith)
    assert counts.shape == (60, 5)
    assert list(counts.columns) == [1, 2, 3, 4, 5]
    assert (counts.sum(axis=1) == 5).all()
    first = faith[faith["sample_id"] == "s0"]["rating"]
    assert counts.loc[("s0", "prism"), 4] == (first == 4).sum()


def test_mixed_dimensions_and_strange_ratings_are_refused():
    ratings = simulate_ratings(SUBJECTS.head(3), raters=2)
    with pytest.raises(InputError, match="several values of 'dimension'"):
        counts_table(ratings)
    one = ratings[ratings["dimension"] == "faithfulness"].assign(rating=7)
    with pytest.raises(InputError, match="row 1: rating 7 is none of 1, 2, 3, 4, 5"):
        counts_table(one)
    with pytest.raises(InputError, match="column 'rating' is missing"):
        agreement(ratings.drop(columns="rating"))


def test_a_rater_who_missed_a_subject_is_named():
    ratings = simulate_ratings(SUBJECTS.head(3), raters=3).iloc[1:]
    with pytest.raises(InputError, match="has 3 raters, row 1 has 2"):
        agreement(ratings)


def test_simulated_ratings_fit_the_schema_and_repeat():
    ratings = simulate_ratings(SUBJECTS, raters=4, seed=3)
    check(ratings, "ratings")
    assert len(ratings) == 60 * 4 * 3
    assert ratings["rating"].between(1, 5).all()
    assert set(ratings["study"]) == {"simulated"}
    pd.testing.assert_frame_equal(ratings, simulate_ratings(SUBJECTS, raters=4, seed=3))
    assert not ratings.equals(simulate_ratings(SUBJECTS, raters=4, seed=4))


def test_agreement_falls_with_noise_and_is_perfect_without_it():
    exact = agreement(simulate_ratings(SUBJECTS, raters=6, bias=0, noise=0))
    assert (exact["kappa"] == 1).all()
    assert set(exact["band"]) == {"almost perfect"}
    kappas = [
        agreement(simulate_ratings(SUBJECTS, raters=6, bias=0, noise=noise))["kappa"].mean()
        for noise in (0.2, 0.6, 1.5)
    ]
    assert kappas == sorted(kappas, reverse=True)


def test_pairs_within_one_point():
    assert within_one([[0, 2, 2], [4, 0, 0]]) == 1
    assert within_one([[2, 0, 2]]) == pytest.approx(2 / 6)
    ratings = simulate_ratings(SUBJECTS, raters=2, dimensions=["faithfulness"])
    wide = ratings.pivot(index="sample_id", columns="rater_id", values="rating")
    close = (wide["r01"] - wide["r02"]).abs() <= 1
    assert within_one(counts_table(ratings)) == pytest.approx(close.mean())


def test_quality_moves_the_ratings():
    better = SUBJECTS.assign(quality=4.5)
    assert simulate_ratings(better)["rating"].mean() > simulate_ratings(SUBJECTS)["rating"].mean()


@pytest.mark.parametrize(
    ("parameters", "says"),
    [({"noise": -1.0}, "noise"), ({"bias": float("nan")}, "bias"), ({"raters": 0}, "raters")],
)
def test_simulation_refuses_impossible_parameters(parameters, says):
    with pytest.raises(InputError, match=says):
        simulate_ratings(SUBJECTS, **parameters)
    with pytest.raises(InputError, match="'system' is missing"):
        simulate_ratings(SUBJECTS[["sample_id"]])
