"""Means, tests and the metric beside raters; simulated raters and what tests are worth on them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prism_utils.errors import InputError
from prism_utils.human_eval.coefficients import krippendorff_alpha
from prism_utils.human_eval.likert import (
    agreement_with_scores,
    compare_systems,
    crossed_effects,
    crossed_from_squares,
    describe,
)
from prism_utils.human_eval.simulation import (
    DIMENSIONS,
    expected_agreement,
    latent_normal,
    normal_quality,
    null_rejections,
    quality_from_grounding,
    simulate_ratings,
)
from prism_utils.tables import check

SUBJECTS = pd.DataFrame(
    {"sample_id": np.repeat([f"s{i:02d}" for i in range(15)], 2), "system": ["prism", "other"] * 15}
)


def rated(**options):
    options = {"raters": 8, "dimensions": ["faithfulness"], "taste": 0.3, "seed": 1} | options
    return simulate_ratings(SUBJECTS, **options)


# ---------------------------------------------------------------- describe


def test_means_and_shares():
    ratings = rated(dimensions=DIMENSIONS)
    table = describe(ratings)
    assert len(table) == 6 and not table.isna().any(axis=None)
    row = table[(table["system"] == "prism") & (table["dimension"] == "faithfulness")].iloc[0]
    given_ = ratings[(ratings["system"] == "prism") & (ratings["dimension"] == "faithfulness")]
    assert row["mean"] == pytest.approx(given_["rating"].mean())
    assert row["median"] == given_["rating"].median()
    assert row["sd"] == pytest.approx(given_["rating"].std())
    assert [row["n"], row["raters"], row["samples"]] == [120, 8, 15]
    assert row["4"] == pytest.approx((given_["rating"] == 4).mean())
    assert np.allclose(table[["1", "2", "3", "4", "5"]].sum(axis=1), 1)
    assert describe(ratings.head(1))["sd"].tolist() == [0.0]
    with pytest.raises(InputError, match="row 2: rating 6 is none of"):
        describe(ratings.assign(rating=[5, 6] + [1] * (len(ratings) - 2)))


def test_half_points_are_described_by_their_steps_or_refused():
    half = rated().assign(rating=rated()["rating"] / 2)
    table = describe(half, np.arange(0.5, 3, 0.5))
    assert list(table.columns[-5:]) == ["0.5", "1", "1.5", "2", "2.5"]
    assert np.allclose(table[["0.5", "1", "1.5", "2", "2.5"]].sum(axis=1), 1)
    for refused in (describe, compare_systems):
        with pytest.raises(InputError, match=r"rating \d\.5 is none of"):
            refused(half)


# ---------------------------------------------------------------- tests


def test_the_papers_test_and_wilcoxon_are_scipys():
    ratings = rated()
    (row,) = compare_systems(ratings, [("prism", "other")]).to_dict("records")
    wide = ratings.pivot(index=["rater_id", "sample_id"], columns="system", values="rating")
    a, b = wide["prism"], wide["other"]
    assert row["p_t"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    low, high = stats.ttest_rel(a, b).confidence_interval()
    assert (row["t_low"], row["t_high"]) == pytest.approx((low, high))
    assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon(a, b, method="approx").pvalue)
    assert row["d_z"] == pytest.approx((a - b).mean() / (a - b).std())
    pluses, minuses = (
        sum(stats.rankdata(abs(d := (a - b)[a != b]))[sign * d.to_numpy() > 0]) for sign in (1, -1)
    )
    assert row["rank_biserial"] == pytest.approx((pluses - minuses) / (pluses + minuses))
    assert (row["raters"], row["samples"], row["n"]) == (8, 15, 120)
    assert row["low"] < row["t_low"] and row["high"] > row["t_high"]


def test_direction_default_pairs_and_holm():
    three = pd.concat([SUBJECTS, SUBJECTS[SUBJECTS["system"] == "other"].assign(system="third")])
    three["quality"] = three["system"].map({"prism": 4.5, "other": 2.0, "third": 2.0})
    ratings = simulate_ratings(three, raters=6, spread=0.2, seed=2)
    table = compare_systems(ratings)
    assert len(table) == 9
    assert set(zip(table["system_a"], table["system_b"], strict=True)) == {
        ("other", "prism"), ("other", "third"), ("prism", "third"),
    }  # fmt: skip
    best = table[table["system_b"] == "prism"]
    assert (best["difference"] < -1).all() and (best["p_holm"] < 0.01).all()
    order = table.sort_values("p").reset_index(drop=True)
    holm = np.minimum(np.maximum.accumulate(order["p"] * np.arange(9, 0, -1)), 1)
    assert np.allclose(order["p_holm"], holm)
    assert not table.isna().any(axis=None)


@pytest.mark.parametrize(("sample", "rater"), [(0.5, 0.3), (0.6, 0.0), (0.0, 0.5), (0.0, 0.0)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_analysis_of_variance_is_reml_on_complete_differences(sample, rater, seed):
    """What the simulation rests on, at the boundary too."""
    rng, s, r = np.random.default_rng(seed), 9, 7
    d = 0.2 + sample * rng.normal(size=(s, 1)) + rater * rng.normal(size=(1, r))
    d = d + 0.7 * rng.normal(size=(s, r))
    index = pd.MultiIndex.from_product([range(s), range(r)], names=["sample_id", "rater_id"])
    mixed = crossed_effects(pd.Series(d.ravel(), index))
    by_sample, by_rater = r * d.mean(axis=1).var(ddof=1), s * d.mean(axis=0).var(ddof=1)
    rest = ((d - d.mean(axis=0) - d.mean(axis=1, keepdims=True) + d.mean()) ** 2).sum()
    error, df = crossed_from_squares(
        np.array([by_sample]), np.array([by_rater]), np.array([rest / (s - 1) / (r - 1)]), s, r
    )
    assert mixed["mean"] == pytest.approx(d.mean(), abs=1e-6)
    assert error[0] == pytest.approx(mixed["error"], rel=2e-3)
    assert df[0] == pytest.approx(mixed["df"], rel=0.02)


def test_degenerate_differences_have_an_answer():
    ratings = rated()
    same = ratings.assign(rating=4)
    (row,) = compare_systems(same).to_dict("records")
    assert (row["difference"], row["p"], row["p_t"], row["p_wilcoxon"]) == (0, 1, 1, 1)
    assert (row["d_z"], row["rank_biserial"], row["low"], row["high"]) == (0, 0, 0, 0)
    always = ratings.assign(rating=ratings["system"].map({"prism": 5, "other": 3}))
    (row,) = compare_systems(always).to_dict("records")
    assert row["p"] == row["p_t"] == 0 and row["low"] == row["high"] == -2
    for part in (ratings["rater_id"] == "r01", ratings["sample_id"] == "s03"):
        table = compare_systems(ratings[part])
        assert not table.isna().any(axis=None)
        assert table["p"].item() == pytest.approx(table["p_t"].item())  # nothing to tell apart
    holes = compare_systems(ratings.sample(frac=0.7, random_state=0))
    assert not holes.isna().any(axis=None) and holes["n"].item() < 120
    with pytest.raises(InputError, match="no rater rated two systems on the same sample"):
        compare_systems(ratings[ratings["system"] == "prism"])
    with pytest.raises(InputError, match="'prisn' has no ratings; did you mean 'prism'"):
        compare_systems(ratings, [("prisn", "other")])
    apart = ratings[(ratings["rater_id"] == "r01") == (ratings["system"] == "prism")]
    with pytest.raises(InputError, match="give every rater both systems"):
        compare_systems(apart, [("prism", "other")])


def test_narrow_numbers_do_not_wrap():
    ratings = rated(raters=3)
    plain = compare_systems(ratings)
    pd.testing.assert_frame_equal(compare_systems(ratings.astype({"rating": "uint8"})), plain)
    twice = compare_systems(ratings, [("other", "prism"), ("other", "prism")])
    assert len(twice) == 1 and twice["p_holm"].item() == twice["p"].item()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda r: compare_systems(r, level=2), "level must lie between 0 and 1"),
        (lambda r: compare_systems(r, [("prism", "prism")]), "give two systems"),
        (lambda r: compare_systems(r, [("prism",)]), "give two systems"),
        (lambda r: compare_systems(r, [(1, 2)]), "system 1 has no ratings"),
        (lambda r: agreement_with_scores(r, scored(1.0), ["error_free"], seed=-1), "seed"),
        (lambda r: agreement_with_scores(r, scored(1.0), ["error_free"], resamples=0), "resamples"),
        (lambda r: agreement_with_scores(r, scored(1.0).head(0), ["error_free"]), "is empty"),
        (lambda r: crossed_effects(pd.Series([1.0, 2.0])), "index levels"),
        (lambda r: crossed_effects(r.set_index(["rater_id", "sample_id"])["rating"] * np.nan),
         "finite"),
    ],
)  # fmt: skip
def test_comparisons_refuse_what_they_cannot_compare(call, says):
    with pytest.raises(InputError, match=says):
        call(rated())


# ---------------------------------------------------------------- people and the metric


def scored(value):
    return SUBJECTS.assign(metric="error_free", value=value)


def test_raters_who_see_what_the_metric_sees():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, len(SUBJECTS))
    subjects = SUBJECTS.assign(quality=2 + 2.0 * truth)
    ratings = simulate_ratings(subjects, raters=6, spread=0.3, dimensions=["faithfulness"])
    found = agreement_with_scores(ratings, scored(truth.astype(float)), ["error_free"])
    (row,) = found.table.to_dict("records")
    means = ratings.groupby(["sample_id", "system"])["rating"].mean()
    series = scored(truth).set_index(["sample_id", "system"])["value"]
    assert row["rho"] == pytest.approx(stats.spearmanr(means, series.loc[means.index]).statistic)
    assert row["within"] > 0.6 and row["p"] < 0.01 and row["p_holm"] == row["p"]
    assert row["low"] < row["rho"] < row["high"] and row["within_low"] > 0.3
    assert (row["n"], row["samples"]) == (30, 15)


def test_better_systems_alone_are_no_agreement():
    """Ratings and metric both prefer prism, and know nothing of single explanations."""
    better = (SUBJECTS["system"] == "prism").astype(float)
    ratings = simulate_ratings(SUBJECTS.assign(quality=2 + 2 * better), spread=0.3, seed=3)
    noise = np.random.default_rng(4).normal(0, 0.1, len(SUBJECTS))
    table = agreement_with_scores(ratings, scored(better + noise), ["error_free"]).table
    assert (table["rho"] > 0.5).all()
    assert (table["within"].abs() < 0.5).all() and (table["p_holm"] > 0.05).all()


def test_a_metric_without_variation_is_a_sentence():
    found = agreement_with_scores(rated(), scored(1.0), ["error_free"])
    assert found.table.empty and "does not vary" in found.remarks[0]
    assert "p_holm" in found.table
    foreign = scored(1.0).assign(sample_id=[f"x{i}" for i in range(30)])
    assert agreement_with_scores(rated(), foreign, ["error_free"]).remarks
    with pytest.raises(InputError, match="did you mean 'error_free'"):
        agreement_with_scores(rated(), scored(1.0), ["eror_free"])


# ---------------------------------------------------------------- simulated raters


def test_simulated_ratings_fit_the_schema_and_repeat():
    ratings = simulate_ratings(SUBJECTS, raters=4, seed=3)
    check(ratings, "ratings")
    assert len(ratings) == 30 * 4 * 3
    assert ratings["rating"].between(1, 5).all()
    assert set(ratings["study"]) == {"simulated"}
    pd.testing.assert_frame_equal(ratings, simulate_ratings(SUBJECTS, raters=4, seed=3))
    assert not ratings.equals(simulate_ratings(SUBJECTS, raters=4, seed=4))


def test_quality_moves_the_ratings():
    good = simulate_ratings(SUBJECTS.assign(quality=4.5))
    assert good["rating"].mean() > simulate_ratings(SUBJECTS)["rating"].mean()
    one = simulate_ratings(SUBJECTS.assign(quality=2, faithfulness=5), spread=0, noise=0, bias=0)
    assert one.groupby("dimension")["rating"].unique().map(list).to_dict() == {
        "faithfulness": [5], "personalization": [2], "persuasiveness": [2],
    }  # fmt: skip


def test_taste_is_a_raters_for_a_system():
    ratings = rated(spread=0, bias=0, noise=0, taste=1.0)
    spread = ratings.groupby(["rater_id", "system"])["rating"].nunique()
    assert (spread == 1).all() and ratings["rating"].nunique() > 1


def test_quality_follows_the_grounding_scores():
    metrics = ["foreign_title", "wrong_attribute", "unsupported_relation", "cites_history",
               "groundings"]  # fmt: skip
    values = {"a": [0, 0, 0, 1, 5], "b": [1, 1, 0, 0, 0]}
    scores = pd.DataFrame(
        {"sample_id": s, "system": "x", "metric": m, "value": float(v)}
        for s, given_ in values.items()
        for m, v in zip(metrics, given_, strict=True)
    )
    quality = quality_from_grounding(scores).set_index("sample_id")
    assert quality["faithfulness"].to_dict() == {"a": 4.5, "b": 2.5}
    assert quality["personalization"].to_dict() == {"a": 4.5, "b": 2.0}
    assert quality["persuasiveness"].to_dict() == {"a": 4.5, "b": 2.25}
    with pytest.raises(InputError, match="'groundings' is missing"):
        quality_from_grounding(scores[scores["metric"] != "groundings"])


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"noise": -1.0}, "noise"),
        ({"bias": float("nan")}, "bias"),
        ({"taste": -0.1}, "taste"),
        ({"raters": 0}, "raters"),
        ({"raters": 2.5}, "raters must be a whole number"),
        ({"raters": 10**12}, "subjects x raters x dimensions must be between"),
        ({"noise": float("inf")}, "noise"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"dimensions": "faithfulness"}, "dimensions"),
        ({"dimensions": ["a", "a"]}, "dimensions"),
    ],
)
def test_simulation_refuses_impossible_parameters(parameters, says):
    with pytest.raises(InputError, match=says):
        simulate_ratings(SUBJECTS, **parameters)
    with pytest.raises(InputError, match="'system' is missing"):
        simulate_ratings(SUBJECTS[["sample_id"]])


def test_simulation_refuses_subjects_that_are_none():
    for quality, says in (
        (np.nan, "row 1 has no quality"),
        (np.inf, "finite"),
        ("good", "numbers"),
    ):
        with pytest.raises(InputError, match=says):
            simulate_ratings(SUBJECTS.assign(quality=quality))
    with pytest.raises(InputError, match="row 31: duplicate"):
        simulate_ratings(pd.concat([SUBJECTS, SUBJECTS]))
    with pytest.raises(InputError, match="'sample_id' must be text"):
        simulate_ratings(SUBJECTS.assign(sample_id=1))


def test_expected_agreement_is_what_many_raters_show():
    rng = np.random.default_rng(0)
    quality = rng.uniform(1, 5, 400)
    ratings = np.clip(np.rint(quality[:, None] + 0.5 * rng.standard_normal((400, 60))), 1, 5)
    found = expected_agreement(quality, 0.5)
    assert found["alpha"] == pytest.approx(krippendorff_alpha(ratings), abs=0.01)
    assert found["kappa"] == pytest.approx(krippendorff_alpha(ratings, "nominal"), abs=0.01)
    assert found["mean"] == pytest.approx(ratings.mean(), abs=0.02)
    assert found["sd"] == pytest.approx(ratings.std(), abs=0.02)


def test_kappa_of_small_noise_depends_on_the_spread_of_quality():
    """Noise of 0.3 points: .58 where quality is uniform, .42 around Table 3's 4.12."""
    assert expected_agreement(np.linspace(1, 5, 2001), 0.3)["kappa"] == pytest.approx(
        0.58, abs=5e-3
    )
    printed = normal_quality(*latent_normal(4.12, 0.57))
    assert expected_agreement(printed, 0.3)["kappa"] == pytest.approx(0.42, abs=5e-3)


@given(st.floats(2, 4.3), st.floats(0.55, 1.0))
@settings(max_examples=30, deadline=None)
def test_a_latent_normal_has_the_printed_mean_and_deviation(mean, sd):
    centre, deviation = latent_normal(mean, sd)
    found = expected_agreement([centre], deviation)
    assert found["mean"] == pytest.approx(mean, abs=1e-5)
    assert found["sd"] == pytest.approx(sd, abs=1e-5)


def test_impossible_printed_cells_and_qualities_are_refused():
    for mean, sd in ((5.5, 1), (3, 0), (4.9, 1.9)):
        with pytest.raises(InputError, match="mean"):
            latent_normal(mean, sd)
    with pytest.raises(InputError, match="one weight for each"):
        expected_agreement([1, 2], 0.3, [1])
    with pytest.raises(InputError, match="0/0"):
        expected_agreement([3, 3], 0)
    for call, says in (
        (lambda: expected_agreement([np.nan, 2], 0.3), "quality must be finite"),
        (lambda: expected_agreement([1, 2], 0.3, [-1, 2]), "none negative"),
        (lambda: expected_agreement(["good"], 0.3), "quality must be numbers"),
        (lambda: normal_quality(3, 1, 0), "points must be"),
        (lambda: normal_quality(np.nan, 1), "mean must be a number"),
        (lambda: latent_normal(3, 2.0), "no rounded normal"),
        (lambda: null_rejections(alpha=2), "alpha must lie between 0 and 1"),
        (lambda: null_rejections(seed=-1), "seed must be at least 0"),
        (lambda: null_rejections(raters=10**5, samples=10**5), "raters x samples"),
    ):
        with pytest.raises(InputError, match=says):
            call()


def test_tests_that_keep_their_promise_and_tests_that_do_not():
    """As in the issue's first trials: 30 raters, 20 samples, slopes that nobody reports."""
    table = null_rejections(sample_slope=0.2, rater_slope=0.1, noise=0.5, trials=1500)
    rate = table.set_index("analysis")["rejected"]
    assert 0.25 < rate["paired t-test, pooled"] < 0.45
    assert rate["crossed random intercepts"] > rate["paired t-test, pooled"]
    assert 0.03 < rate["crossed effects on differences"] < 0.075
    assert ((table["low"] < table["rejected"]) & (table["rejected"] < table["high"])).all()
    plain = null_rejections(sample_slope=0, rater_slope=0, trials=1500).set_index("analysis")
    assert (plain["rejected"] < 0.07).all()
    assert plain["rejected"]["paired t-test, pooled"] > 0.03


def test_null_rejections_repeat_in_blocks_and_refuse_too_little():
    small = {"raters": 4, "samples": 5, "trials": 50}
    pd.testing.assert_frame_equal(null_rejections(**small), null_rejections(**small))
    silent = null_rejections(**small, noise=0, rater_slope=0, sample_slope=0)
    assert (silent["rejected"] == 0).all()  # no difference at all is no evidence
    with pytest.raises(InputError, match="raters must be at least 3"):
        null_rejections(raters=2)
    with pytest.raises(InputError, match="noise"):
        null_rejections(noise=-1)
