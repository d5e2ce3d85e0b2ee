"""Intervals and tests: users are the unit, and scipy's answers are the yardstick."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prism_utils import statistics
from prism_utils.errors import InputError
from prism_utils.statistics import (
    bootstrap_means,
    bootstrap_totals,
    compare,
    interval,
    jackknife,
    seed_spread,
    user_groups,
    user_ids,
)


def scores_of(values, system="a", metric="m", prefix="s"):
    """A scores table: one system and metric, samples s0, s1, ..."""
    ids = [f"{prefix}{n}" for n in range(len(values))]
    table = pd.DataFrame({"sample_id": ids, "system": system, "metric": metric})
    return table.assign(value=np.asarray(values, dtype=float))


def owners(users, prefix="s"):
    return pd.Series([f"u{u}" for u in users], index=[f"{prefix}{n}" for n in range(len(users))])


def bounds(frame):
    return frame[["low", "high"]].to_numpy()


def test_the_interval_of_one_text_a_user_is_the_textbooks():
    values = np.random.default_rng(1).normal(0.5, 0.2, 400)
    found = bootstrap_means(scores_of(values), owners(range(400)), resamples=4000).iloc[0]
    low, high = stats.norm.interval(0.95, values.mean(), stats.sem(values))
    assert found["value"] == pytest.approx(values.mean())
    assert [found["low"], found["high"]] == pytest.approx([low, high], abs=0.1 * (high - low))
    assert (found["n"], found["users"]) == (400, 400)


def test_a_users_texts_again_and_again_are_no_further_evidence():
    values = np.random.default_rng(1).random(30)
    once = bootstrap_means(scores_of(values), owners(range(30)))
    often = bootstrap_means(scores_of(np.repeat(values, 9)), owners(np.repeat(range(30), 9)))
    assert bounds(often) == pytest.approx(bounds(once))
    as_if_independent = bootstrap_means(scores_of(np.repeat(values, 9)), owners(range(270)))
    widths = [np.ptp(bounds(frame)) for frame in (often, as_if_independent)]
    assert widths[0] > 2 * widths[1]


def test_users_with_more_texts_weigh_more():
    found = bootstrap_means(scores_of([0, 0, 0, 1]), owners([0, 0, 0, 1]))
    assert found["value"].iloc[0] == 0.25
    assert bounds(found).tolist() == [[0, 1]]  # a resample may draw either user twice


def test_systems_with_the_same_users_are_resampled_alike_in_any_order():
    values = np.random.default_rng(2).random(60)
    table = pd.concat([scores_of(values), scores_of(values + 2, "b")])
    users = owners(np.arange(60) % 20)
    found = bootstrap_means(table, users)
    assert bounds(found)[1] == pytest.approx(bounds(found)[0] + 2)
    mixed = bootstrap_means(table.sample(frac=1, random_state=0), users)
    mixed = mixed.sort_values("system", ignore_index=True)
    pd.testing.assert_frame_equal(mixed, found)
    assert not np.allclose(bounds(bootstrap_means(table, users, seed=1)), bounds(found))


def test_missing_values_are_left_out_and_said():
    table = pd.concat([scores_of([1, np.nan, 3]), scores_of([np.nan] * 3, metric="none")])
    found = bootstrap_means(table, owners([0, 1, 2])).set_index("metric")
    assert found.loc["m", ["value", "n", "users"]].tolist() == [2, 2, 2]
    assert found.loc["m", ["low", "high"]].tolist() == [1, 3]
    assert found.loc["none", ["value", "low", "high"]].isna().all()
    assert found.loc["none", "n"] == 0
    assert bootstrap_means(table.head(0), owners([])).empty


def test_totals_do_not_depend_on_the_size_of_blocks(monkeypatch):
    sums = np.arange(12.0).reshape(6, 2)
    whole = bootstrap_totals(sums, resamples=50)
    monkeypatch.setattr(statistics, "_CELLS_AT_A_TIME", 20)
    assert (bootstrap_totals(sums, resamples=50) == whole).all()
    assert whole.shape == (50, 2)
    # six draws of rows (2i, 2i + 1): the second total is the first and six
    assert (whole[:, 1] - whole[:, 0] == 6).all() and (whole % 1 == 0).all()


@pytest.mark.parametrize(
    ("samples", "users", "message"),
    [
        (list("abca"), list("uvuv"), "users: row 4 has this sample twice .'a'."),
        (list("abc"), ["u", None, "v"], "users: row 2 has a sample without a user .'b'."),
        (["a", "b", None], list("uvw"), "users: row 3 has a sample without an id"),
    ],
)
def test_a_sample_has_one_user(samples, users, message):
    scores = pd.DataFrame({"sample_id": list("abc"), "system": "x", "metric": "m", "value": 1.0})
    table = pd.DataFrame({"sample_id": samples, "user_id": users})
    for given in (table, table.set_index("sample_id")["user_id"]):
        with pytest.raises(InputError, match=message):
            bootstrap_means(scores, given)
    with pytest.raises(InputError, match="users: column 'user_id' is missing"):
        bootstrap_means(scores, table[["sample_id"]])


def test_users_come_from_a_samples_table_or_a_series():
    samples = pd.DataFrame({"sample_id": ["a", "b"], "user_id": ["u", "v"]})
    assert user_ids(["b", "a", "b"], samples).tolist() == ["v", "u", "v"]
    with pytest.raises(InputError, match="sample 'c' has none"):
        user_ids(["a", "c"], samples)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"resamples": 0}, "resamples must be at least 1"), ({"level": 95}, "level must lie")],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        bootstrap_means(scores_of([1, 2]), owners([0, 1]), **options)


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(3).random(20)
    without = [np.delete(values, n).mean() for n in range(20)]
    low, high = jackknife([values.mean()], [without])
    expected = stats.t.interval(0.95, 19, values.mean(), stats.sem(values))
    assert [low[0], high[0]] == pytest.approx(expected)
    assert np.isnan(jackknife([1.0], [[1.0]])).all()


def test_a_bootstrap_would_shrink_a_share_of_distinct_texts():
    """Why set metrics get a jackknife: drawing texts twice makes them less distinct."""
    drawn = np.random.default_rng(0).integers(500, size=(200, 500))
    shares = np.array([len(set(row)) / 500 for row in drawn])[:, None]
    assert interval(shares)[1] < 0.7  # of texts that are all distinct
    low, high = jackknife([1.0], [[1.0] * 20])
    assert low[0] == high[0] == 1


def test_groups_hold_whole_users_and_nearly_as_many_each():
    users = np.repeat([f"u{n}" for n in range(47)], 3)
    groups = user_groups(users, 20)
    assert pd.Series(groups).groupby(users).nunique().eq(1).all()
    sizes = pd.Series(users).groupby(groups).nunique()
    assert sorted(sizes.index) == list(range(20)) and sizes.max() - sizes.min() <= 1
    assert sorted(set(user_groups(["x", "y", "x"]))) == [0, 1]


def pair(a, b, **options):
    return pd.concat([scores_of(a, "a", **options), scores_of(b, "b", **options)])


def test_a_comparison_agrees_with_scipys_permutation_test():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.12, 0.4, 90), np.zeros(90)
    users = np.arange(90) % 30
    found = compare(pair(a, b), owners(users)).iloc[0]
    sums = np.bincount(users, a - b)
    expected = stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=20_000, rng=0
    )
    assert found["p"] == pytest.approx(expected.pvalue, abs=0.01)
    assert 0.001 < found["p"] < 0.2
    assert found["difference"] == pytest.approx(a.mean())
    assert found["low"] < found["difference"] < found["high"]
    assert (found["system_a"], found["system_b"], found["n"]) == ("a", "b", 90)


def test_one_users_many_texts_prove_nothing():
    a = np.linspace(0.5, 1, 200)
    table = pair(a, np.zeros(200))
    assert compare(table, owners([0] * 200))["p"].iloc[0] == 1
    assert compare(table, owners(range(200)), resamples=999)["p"].iloc[0] == 1 / 1000


def test_equal_systems_do_not_differ():
    found = compare(pair([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]), owners(range(3))).iloc[0]
    assert found[["difference", "low", "high", "p", "p_holm"]].tolist() == [0, 0, 0, 1, 1]


def test_holm_counts_every_row():
    rng = np.random.default_rng(5)
    table = pd.concat(
        [scores_of(rng.random(80) + plus, name, metric)
         for name, plus in {"a": 0.1, "b": 0, "c": 0}.items() for metric in ("m", "n")]
    )  # fmt: skip
    found = compare(table, owners(range(80)))
    assert len(found) == 6
    smallest = found.sort_values("p").iloc[0]
    assert smallest["p_holm"] == pytest.approx(6 * smallest["p"])
    assert (found["p_holm"] >= found["p"]).all()
    fewer = compare(table, owners(range(80)), [("b", "a")])
    assert fewer[["system_a", "system_b"]].drop_duplicates().values.tolist() == [["b", "a"]]
    assert fewer["difference"].to_numpy() == pytest.approx(-found["difference"].head(2).to_numpy())
    assert compare(table, owners(range(80)), []).empty


def test_pairs_meet_on_common_samples_and_metrics():
    table = pd.concat([scores_of([1, 1, np.nan, 1], "a"), scores_of([0, 0, 0], "b")])
    table = pd.concat([table, scores_of([5, 5], "a", "only a")])
    found = compare(table, owners(range(4)))
    assert found[["metric", "n", "difference"]].values.tolist() == [["m", 2, 1]]


def test_pairs_that_cannot_be_compared_are_refused():
    table = pd.concat([scores_of([1], "prism"), scores_of([1], "att2seq", prefix="t")])
    users = pd.concat([owners([0]), owners([0], "t")])
    with pytest.raises(InputError, match="did you mean 'prism'"):
        compare(table, users, [("prysm", "att2seq")])
    with pytest.raises(InputError, match="no scored sample in common"):
        compare(table, users)


def test_spread_over_seeds():
    table = pd.DataFrame({"system": ["x", "y", "x@1", "x@2"], "metric": "m", "value": [1, 9, 2, 3]})
    assert seed_spread(table).values.tolist() == [["x", "m", 2, 1, 3]]
