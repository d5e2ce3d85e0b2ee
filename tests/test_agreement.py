"""Agreement against published values, other code, brute force; degenerate ratings."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.metrics.agreement import AnnotationTask
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.stats.inter_rater import cohens_kappa

from prism_utils.errors import InputError
from prism_utils.human_eval.agreement import (
    FOUR_CODERS,
    WORKED_EXAMPLE,
    agreement,
    checked,
    counts_table,
    rating_matrix,
    worked_examples,
)
from prism_utils.human_eval.coefficients import (
    MIN_COMMON,
    fleiss_kappa,
    icc2,
    krippendorff_alpha,
    landis_koch,
    pair_kappas,
    shrout_fleiss,
    variance_components,
    within_one,
)
from prism_utils.human_eval.simulation import simulate_ratings

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
    with pytest.raises(InputError, match="several values of 'dimension'"):
        rating_matrix(ratings)
    one = ratings[ratings["dimension"] == "faithfulness"].assign(rating=7)
    with pytest.raises(InputError, match="row 1: rating 7 is none of 1, 2, 3, 4, 5"):
        counts_table(one)
    with pytest.raises(InputError, match="column 'rating' is missing"):
        agreement(ratings.drop(columns="rating"))
    with pytest.raises(InputError, match="the table is empty"):
        checked(ratings.head(0))
    two = pd.concat([ratings, ratings.assign(study="another")])
    with pytest.raises(InputError, match=r"several values of 'study' \(another, simulated\)"):
        checked(two)


def test_every_published_example_comes_out():
    """Fleiss 0.210; Krippendorff .743 .815 .849; Shrout and Fleiss .166 .290 .715 .443 .620 .909"""
    examples = worked_examples()
    assert len(examples) == 10
    assert (examples["published"] - examples["here"]).abs().max() < 5e-4


@pytest.mark.parametrize("level", ["nominal", "interval", "ordinal"])
@given(seed=st.integers(0, 10_000), raters=st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_alpha_equals_pairs_taken_one_by_one(level, seed, raters):
    """Brute force over pairs of ratings, some missing; nominal and interval by nltk as well."""
    rng = np.random.default_rng(seed)
    y = rng.integers(1, 6, (7, raters)).astype(float)
    y[rng.random(y.shape) < 0.2] = np.nan
    units = [row[~np.isnan(row)] for row in y if (~np.isnan(row)).sum() > 1]
    if not units or len(set(np.concatenate(units))) == 1:
        with pytest.raises(InputError):
            krippendorff_alpha(y, level)
        return
    every = np.concatenate(units)

    def distance(a, b):
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return (a - b) ** 2
        low, high = min(a, b), max(a, b)
        between = ((every >= low) & (every <= high)).sum()
        return (between - ((every == a).sum() + (every == b).sum()) / 2) ** 2 if a != b else 0

    def disagreement(values):
        return sum(distance(a, b) for a in values for b in values)

    observed = sum(disagreement(unit) / (len(unit) - 1) for unit in units) / len(every)
    expected = disagreement(every) / (len(every) * (len(every) - 1))
    alpha = krippendorff_alpha(y, level)
    assert alpha == pytest.approx(1 - observed / expected)
    if level != "ordinal":
        data = [(f"c{j}", f"u{i}", v) for i, unit in enumerate(units) for j, v in enumerate(unit)]
        assert alpha == pytest.approx(AnnotationTask(data, distance=distance).alpha())


def test_alpha_says_what_it_cannot_do():
    with pytest.raises(InputError, match="did you mean 'ordinal'"):
        krippendorff_alpha(FOUR_CODERS, "ordina")
    with pytest.raises(InputError, match="every rating is 4, so alpha is 0/0"):
        krippendorff_alpha([[4, 4], [4, 4]])
    with pytest.raises(InputError, match="no subject has two ratings"):
        krippendorff_alpha([[4, np.nan], [np.nan, 2]])
    with pytest.raises(InputError, match="subjects x raters"):
        krippendorff_alpha([])


@given(st.integers(2, 8), st.integers(2, 6), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_icc_on_complete_ratings_is_shrout_and_fleiss(subjects, raters, seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(subjects, raters)) + 20 * np.arange(subjects)[:, None]
    known = shrout_fleiss(y)
    between = known["ICC(2,k)"]
    assert icc2(y) == pytest.approx(between, rel=1e-6, abs=1e-9)
    assert icc2(y + 1e4, single=True) == pytest.approx(known["ICC(2,1)"], rel=1e-4, abs=1e-6)


def crossed(seed=3, subjects=40, raters=12, drop=0.5):
    rng = np.random.default_rng(seed)
    y = rng.normal(0, 1.0, (subjects, 1)) + rng.normal(0, 0.6, (1, raters))
    y = y + rng.normal(0, 0.8, (subjects, raters))
    y[rng.random(y.shape) < drop] = np.nan
    return y


def test_variance_components_on_incomplete_blocks():
    """Near REML's on the same half-empty table, and near the truth on a large one."""
    y = crossed()
    subject, rater = np.nonzero(~np.isnan(y))
    frame = pd.DataFrame({"y": y[subject, rater], "subject": subject, "rater": rater})
    model = MixedLM.from_formula(
        "y ~ 1", frame, groups=np.ones(len(frame)),
        vc_formula={"rater": "0 + C(rater)", "subject": "0 + C(subject)"},
    )  # fmt: skip
    fit = model.fit(method=["powell"])
    found = variance_components(y)
    assert list(found) == ["subject", "rater", "rest"]
    assert found["rater"] == pytest.approx(fit.vcomp[0], rel=0.1)
    assert found["subject"] == pytest.approx(fit.vcomp[1], rel=0.1)
    assert found["rest"] == pytest.approx(fit.scale, rel=0.1)
    large = variance_components(crossed(subjects=3000, raters=60, drop=0.8))
    assert large["subject"] == pytest.approx(1.0, rel=0.1)
    assert large["rater"] == pytest.approx(0.36, rel=0.4)
    assert large["rest"] == pytest.approx(0.64, rel=0.05)


def test_icc_of_blocks_that_share_nothing_and_of_too_little():
    """Two groups of raters and subjects: solvable, equal to the mean of what each group knows."""
    y = crossed(subjects=20, raters=8, drop=0)
    y[:10, 4:] = np.nan
    y[10:, :4] = np.nan
    parts = [variance_components(y[:10, :4]), variance_components(y[10:, 4:])]
    rest = np.mean([part["rest"] for part in parts])
    assert variance_components(y)["rest"] == pytest.approx(rest)
    with pytest.raises(InputError, match="no subject has two ratings"):
        icc2([[1], [2]])
    with pytest.raises(InputError, match="cannot be told apart"):
        icc2([[3, 3], [3, 3]])
    with pytest.raises(InputError, match="differ too little"):
        shrout_fleiss([[3, 3], [3, 3]])
    with pytest.raises(InputError, match="none missing"):
        shrout_fleiss([[3, np.nan], [3, 3]])


def test_pairs_of_raters():
    rng = np.random.default_rng(0)
    a = rng.integers(1, 6, 40)
    b = np.clip(a + rng.integers(-1, 2, 40), 1, 5)
    chance = ((a[:, None] - b) ** 2).mean()
    wide = pd.DataFrame({"ann": a, "bob": b, "cy": np.nan, "dot": 3}, dtype=float)
    wide.loc[: MIN_COMMON - 2, "cy"] = 2.0
    pairs = pair_kappas(wide).set_index(["a", "b"])
    assert pairs.loc[("ann", "bob"), "kappa"] == pytest.approx(1 - ((a - b) ** 2).mean() / chance)
    assert pairs.loc[("ann", "bob"), "n"] == 40
    assert pairs.loc[("ann", "dot"), "kappa"] == pytest.approx(0)
    assert not any("cy" in pair for pair in pairs.index)  # too few in common
    linear = pair_kappas(wide[["ann", "bob"]], "linear")["kappa"].item()
    assert linear == pytest.approx(1 - np.abs(a - b).mean() / np.abs(a[:, None] - b).mean())
    assert pair_kappas(wide[["dot", "dot"]]).empty
    with pytest.raises(InputError, match="did you mean 'linear'"):
        pair_kappas(wide, "linera")


def halves(seed: int = 0, subjects: int = 40) -> pd.DataFrame:
    """Ratings of two people in half points from 0.5 to 5, mostly near each other."""
    rng = np.random.default_rng(seed)
    first = rng.integers(1, 11, subjects)
    second = np.clip(first + rng.integers(-2, 3, subjects), 1, 10)
    return pd.DataFrame({"ann": first / 2, "bob": second / 2})


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_kappa_of_half_points_is_that_of_the_doubled_ratings(weights):
    wide = halves()
    whole = (wide * 2).astype(int).to_numpy()
    table = np.zeros((11, 11))
    np.add.at(table, tuple(whole.T), 1)
    from_statsmodels = cohens_kappa(table, wt=weights, return_results=False)
    assert pair_kappas(wide, weights)["kappa"].item() == pytest.approx(from_statsmodels)
    uneven = wide.replace({5.0: 9.0})  # the distance of two steps, however far apart
    apart = np.abs(np.subtract.outer(*uneven.T.to_numpy())) ** (1 + (weights == "quadratic"))
    expected = 1 - np.trace(apart) / apart.mean() / len(uneven)
    assert pair_kappas(uneven, weights)["kappa"].item() == pytest.approx(expected)


def test_a_scale_of_half_points_is_counted_by_its_steps_or_refused():
    wide, steps = halves(), np.arange(0.5, 5.5, 0.5).tolist()
    long = (
        wide.rename_axis("sample_id")
        .reset_index()
        .melt(["sample_id"], var_name="rater_id", value_name="rating")
    )
    long = long.assign(
        study="s", system="x", dimension="d", sample_id=long["sample_id"].astype(str)
    )
    counts = counts_table(long, steps)
    assert counts.to_numpy().sum() == 80 and list(counts.columns) == steps
    doubled = agreement(long.assign(rating=long["rating"] * 2), range(1, 11), resamples=20).table
    found = agreement(long, steps, resamples=20).table
    assert np.allclose(found["value"], doubled["value"])
    for refused in (counts_table, rating_matrix, agreement):
        with pytest.raises(InputError, match=r"rating \d\.5 is none of 1, 2, 3, 4, 5"):
            refused(long[long["rating"] >= 1])
    for strange in ([], [1, 1, 2], [1, "two"], [1, np.nan]):
        with pytest.raises(InputError, match="categories"):
            counts_table(long, strange)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 6, 3.0000001, True, "4"])
def test_what_is_no_rating_is_refused_with_its_row(value):
    ratings = simulate_ratings(SUBJECTS.head(3), raters=2, dimensions=["faithfulness"])
    for refused in (agreement, counts_table, rating_matrix):
        with pytest.raises(InputError, match="row 1: "):
            refused(ratings.assign(rating=value))


def test_numbers_of_any_width_are_the_same_ratings():
    ratings = simulate_ratings(SUBJECTS, raters=3, dimensions=["faithfulness"])
    plain = agreement(ratings, resamples=20).table
    for kind in ("uint8", "int16", "float32", "Int64"):
        narrow = agreement(ratings.astype({"rating": kind}), resamples=20).table
        pd.testing.assert_frame_equal(narrow, plain)


MATRICES = {
    "text": [["a", "b"], ["b", "a"]],
    "infinite": [[1, np.inf], [2, 3]],
    "ragged": [[1, 2], [3]],
    "flat": [1, 2, 3],
    "cube": np.zeros((2, 2, 2)),
    "nothing": None,
    "beyond digits": [[1e300, 1], [2, 3]],
}


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
@pytest.mark.parametrize(
    "coefficient",
    [fleiss_kappa, within_one, krippendorff_alpha, shrout_fleiss, variance_components, icc2,
     pair_kappas],
)  # fmt: skip
def test_what_is_no_table_of_numbers_is_refused(coefficient, matrix):
    with pytest.raises(InputError, match="need a table of subjects x"):
        coefficient(matrix)


def test_coefficients_take_missing_values_of_any_kind_and_only_what_they_know():
    wide = pd.DataFrame({"a": [1, None, 3] * 4, "b": [1, 2, 2] * 4}, dtype="Int64")
    plain = wide.astype(float)
    assert krippendorff_alpha(wide) == krippendorff_alpha(plain)
    with pytest.raises(InputError, match="none negative"):
        within_one([[2, -1], [0, 1]])
    for kappa in (1.5, np.inf, "high"):
        with pytest.raises(InputError, match="kappa must be a number"):
            landis_koch(kappa)
    ratings = simulate_ratings(SUBJECTS.head(3), raters=2)
    for options in (
        {"seed": -1},
        {"seed": 1.5},
        {"resamples": 2.5},
        {"level": 2},
        {"level": np.nan},
    ):
        with pytest.raises(InputError, match=next(iter(options))):
            agreement(ratings, **options)


def test_the_table_of_all_coefficients():
    faith = simulate_ratings(SUBJECTS, raters=6, dimensions=["faithfulness"], seed=2)
    found = agreement(faith, resamples=200)
    table = found.table.set_index("coefficient")
    matrix = rating_matrix(faith)
    assert not found.remarks and not found.table.isna().any(axis=None)
    assert table.loc["Fleiss' kappa", "value"] == pytest.approx(fleiss_kappa(counts_table(faith)))
    assert table.loc["Fleiss' kappa", "reads"] == landis_koch(fleiss_kappa(counts_table(faith)))
    assert table.loc["alpha", "value"] == pytest.approx(krippendorff_alpha(matrix))
    assert table.loc["ICC(2,k)", "value"] == pytest.approx(shrout_fleiss(matrix)["ICC(2,k)"])
    assert table.loc["ICC(2,1)", "value"] == pytest.approx(shrout_fleiss(matrix)["ICC(2,1)"])
    assert table.loc["weighted kappa", "value"] == pytest.approx(pair_kappas(matrix).kappa.mean())
    assert (table["low"] < table["value"]).all() and (table["value"] < table["high"]).all()
    assert (table["subjects"] == 60).all() and (table["raters"] == 6).all()
    pd.testing.assert_frame_equal(found.table, agreement(faith, resamples=200).table)


def test_a_resample_draws_whole_samples():
    """Ten copies of each text under ten systems are no more evidence than one."""
    ratings = simulate_ratings(SUBJECTS, raters=5, dimensions=["faithfulness"])
    copies = pd.concat([ratings.assign(system=f"copy{i}") for i in range(10)])
    one, ten = (
        agreement(r, resamples=400).table.set_index("coefficient") for r in (ratings, copies)
    )
    width = (one["high"] - one["low"])["Fleiss' kappa"]
    assert (ten["high"] - ten["low"])["Fleiss' kappa"] == pytest.approx(width, rel=0.05)


def test_what_is_not_defined_is_a_sentence_and_never_nan():
    full = simulate_ratings(SUBJECTS.head(12), raters=4, dimensions=["faithfulness"])
    holes = agreement(full.iloc[1:], resamples=50)
    assert "of the 11 of 12 explanations that have 4 ratings" in holes.remarks[0]
    first = full.iloc[0]["sample_id"]
    even = fleiss_kappa(counts_table(full[full["sample_id"] != first]))
    assert holes.table.set_index("coefficient").loc["Fleiss' kappa", "value"] == pytest.approx(even)
    assert len(holes.table) == 5
    alone = agreement(full[full["rater_id"] == "r01"])
    assert alone.table.empty and "at least two raters" in alone.remarks[0]
    equal = agreement(full.assign(rating=4))
    assert equal.table.empty and "every rating is 4" in equal.remarks[0]
    few = agreement(full[full["sample_id"].isin(["s0", "s1"])], resamples=50)
    assert any("no two raters share" in remark for remark in few.remarks)
    agreed = full[full["sample_id"] != "s0"].assign(rating=4)
    odd = full[full["sample_id"] == "s0"].assign(rating=[1, 2, 3, 4]).head(3)
    almost = agreement(pd.concat([agreed, odd]), resamples=50)
    assert any("Fleiss' kappa is not defined: those with 4" in said for said in almost.remarks)
    with pytest.raises(InputError, match="resamples must be at least 1"):
        agreement(full, resamples=0)
    for found in (holes, alone, equal, few, almost):
        assert not found.table.isna().any(axis=None)


def kappas(ratings):
    table = agreement(ratings, resamples=20).table
    return table[table["coefficient"] == "Fleiss' kappa"]["value"]


def test_agreement_falls_with_noise_and_is_perfect_without_it():
    assert np.allclose(kappas(simulate_ratings(SUBJECTS, raters=6, bias=0, noise=0)), 1)
    found = [
        kappas(simulate_ratings(SUBJECTS, raters=6, bias=0, noise=noise)).mean()
        for noise in (0.2, 0.6, 1.5)
    ]
    assert found == sorted(found, reverse=True)


def test_pairs_within_one_point():
    assert within_one([[0, 2, 2], [4, 0, 0]]) == 1
    assert within_one([[2, 0, 2]]) == pytest.approx(2 / 6)
    ratings = simulate_ratings(SUBJECTS, raters=2, dimensions=["faithfulness"])
    wide = ratings.pivot(index="sample_id", columns="rater_id", values="rating")
    close = (wide["r01"] - wide["r02"]).abs() <= 1
    assert within_one(counts_table(ratings)) == pytest.approx(close.mean())
    with pytest.raises(InputError, match="at least two raters"):
        within_one([[1, 0]])
