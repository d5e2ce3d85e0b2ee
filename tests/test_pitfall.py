"""Experiments on texts whose truth is known: areas, minimal pairs, orders of systems."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import roc_auc_score

from prism_utils import corpora
from prism_utils.errors import InputError
from prism_utils.metrics import pitfall
from prism_utils.metrics.grounding import Grounding
from prism_utils.metrics.overlap import rouge
from prism_utils.teachers.grammar import GrammarTeacher


def draw_scores(n: int, seed: int = 0) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """One system's scores of `n` samples with many ties, labels, and users of a few samples."""
    rng = np.random.default_rng(seed)
    ids = [f"s{number}" for number in range(n)]
    errors = pd.Series(rng.choice(["", "", "title", "relation"], n), index=ids)
    value = rng.integers(0, 8, n) + 2.0 * errors.eq("").to_numpy()
    scores = pd.DataFrame({"sample_id": ids, "system": "x", "metric": "m", "value": value})
    return scores, errors, pd.Series(rng.choice(list("abcdefgh"), n), index=ids)


def test_area_equals_scikit_learn_by_kind_of_error() -> None:
    scores, errors, users = draw_scores(200)
    found = pitfall.auc(scores, errors, users, resamples=50).set_index("error")
    assert list(found.index) == ["any", "relation", "title"]
    for kind in found.index:
        kept = errors.eq("") | (errors.eq(kind) if kind != "any" else True)
        values = scores.set_index("sample_id")["value"][kept]
        assert found.loc[kind, "value"] == pytest.approx(roc_auc_score(errors[kept] == "", values))
        assert found.loc[kind, "n"] == kept.sum()
        assert found.loc[kind, "unfaithful"] == (errors[kept] != "").sum()
        assert found.loc[kind, "low"] < found.loc[kind, "value"] < found.loc[kind, "high"]


def test_a_resample_weighs_all_texts_of_a_user_alike() -> None:
    scores, errors, users = draw_scores(120, seed=1)
    owners, names = pd.factorize(users, sort=True)
    weights = np.random.default_rng(2).integers(0, 4, (20, len(names))).astype(float)
    faithful, values = errors.eq("").to_numpy(), scores["value"].to_numpy()
    ours = pitfall._auc(values, faithful, owners, weights)
    theirs = [roc_auc_score(faithful, values, sample_weight=w[owners]) for w in weights]
    np.testing.assert_allclose(ours, theirs)


def test_area_of_one_sided_and_missing_values() -> None:
    scores, errors, users = draw_scores(30)
    blind = pitfall.auc(scores.assign(value=1.0), errors, users, resamples=20)
    assert (blind[["value", "low", "high"]] == 0.5).all(axis=None)
    none = pitfall.auc(scores, errors.where(errors.eq(""), ""), users, resamples=20)
    assert none["error"].tolist() == ["any"] and none["value"].isna().all()
    assert none["low"].isna().all()
    only = scores.assign(value=scores["value"].where(errors.eq("").to_numpy()))
    holes = pitfall.auc(only, errors, users, resamples=20)
    assert holes["n"].tolist() == [(errors == "").sum()] and holes["unfaithful"].tolist() == [0]
    with pytest.raises(InputError, match="errors: sample 's3' has no label"):
        pitfall.auc(scores, errors.drop("s3"), users)


def test_two_users_make_a_wider_interval_than_many() -> None:
    scores, errors, _ = draw_scores(200, seed=3)
    few, many = (
        pitfall.auc(scores, errors, pd.Series([f"u{i % n}" for i in range(200)], errors.index))
        for n in (5, 200)
    )
    assert few["users"].eq(5).all() and many["users"].iloc[0] == 200
    again = pitfall.auc(scores, errors, pd.Series([f"u{i % 5}" for i in range(200)], errors.index))
    pd.testing.assert_frame_equal(few, again)


@pytest.fixture(scope="module")
def world() -> tuple[pd.DataFrame, pd.DataFrame, Grounding]:
    items = corpora.load("embedded", users=10).items
    rng, ids = np.random.default_rng(0), items["item_id"].to_numpy()
    rows = [
        (f"s{n}", f"u{n % 20}", list(map(str, c[1:])), str(c[0]), "test")
        for n, c in enumerate(rng.choice(ids, 5, replace=False) for _ in range(200))
    ]
    samples = pd.DataFrame(rows, columns=["sample_id", "user_id", "history", "item_id", "split"])
    return items, samples, Grounding(items)


def test_one_swapped_title_makes_a_text_false_and_hardly_moves_rouge(world) -> None:
    items, samples, grounding = world
    golden = GrammarTeacher(items, error_rate=0).explain(samples)
    false = pitfall.swap_titles(golden, samples, items, grounding, seed=1)
    assert false["sample_id"].tolist() == golden["sample_id"].tolist()  # each cites a title
    pd.testing.assert_frame_equal(
        false, pitfall.swap_titles(golden, samples, items, grounding, seed=1)
    )
    truth = pitfall.truth_scores(false, samples, grounding).groupby("metric")["value"].mean()
    assert truth["no_foreign_title"] == 0 and truth["error_free"] == 0
    assert truth["no_unsupported_relation"] == 1 and truth["names_item"] == 1

    second = GrammarTeacher(items, error_rate=0, wording="second").explain(samples)
    variants = pd.concat([false.assign(system="false"), second.assign(system="true")])
    scores = pitfall.reference_scores({"pairs": (variants, golden)})["pairs"]
    means = scores.groupby(["metric", "system"])["value"].mean().unstack()
    assert (means["false"] > means["true"]).all()  # every metric of overlap prefers the lie
    prefers = pitfall.preferences(scores, "true", "false")
    assert set(prefers["system"]) == {"true over false"} and prefers["value"].mean() < 0.05
    truths = pitfall.truth_scores(variants, samples, grounding)
    best = pitfall.preferences(truths, "true", "false").groupby("metric")["value"].mean()
    assert best["error_free"] == 1 and best["names_item"] == 0.5
    with pytest.raises(InputError, match="system 'flase' has none: did you mean 'false'?"):
        pitfall.preferences(scores, "true", "flase")


def test_texts_without_a_history_title_cannot_be_swapped(world) -> None:
    items, samples, grounding = world
    plain = pd.DataFrame({"sample_id": ["s0", "s1"], "system": "x", "text": ["Enjoy it.", ""]})
    none = pitfall.swap_titles(plain, samples, items, grounding)
    assert none.empty and list(none.columns) == ["sample_id", "system", "text"]
    few = items[items["item_id"].isin([*samples["history"][0], samples["item_id"][0]])]
    told = GrammarTeacher(few, error_rate=0).explain(samples[:1])
    assert pitfall.swap_titles(told, samples, few, Grounding(few)).empty  # nothing is foreign


def test_comparisons_scored_together_equal_each_alone(world) -> None:
    items, samples, _ = world
    golden = GrammarTeacher(items).explain(samples)
    other = GrammarTeacher(items, seed=1).explain(samples)

    class Length:
        calls = 0

        def score(self, explanations: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
            self.calls += 1
            keys = explanations[["sample_id", "system"]]
            return keys.assign(metric="length", value=explanations["text"].str.len().astype(float))

    length = Length()
    comparisons = {"all": (other, golden), "few": (golden[:5].assign(system="b"), other)}
    scored = pitfall.reference_scores(comparisons, stemmer=True, semantic=length)
    assert length.calls == 1 and list(scored) == ["all", "few"]
    for name, (told, references) in comparisons.items():
        table = scored[name]
        assert set(table["metric"]) >= {"rougeL", "set_rougeL", "bleu1", "bleu4", "length"}
        assert "rougeLsum" not in set(table["metric"])
        alone = rouge(told, references, stemmer=True).query("metric == 'rougeL'")
        ours = table[table["metric"] == "rougeL"]
        assert ours["value"].tolist() == alone["value"].tolist()
        assert ours["sample_id"].tolist() == told["sample_id"].tolist()
    with pytest.raises(InputError, match="references"):
        pitfall.reference_scores({"all": (other, golden[:3])})


def test_orders_of_systems_and_their_agreement() -> None:
    rng = np.random.default_rng(0)
    ids = [f"s{n}" for n in range(300)]
    users = pd.Series([f"u{n % 60}" for n in range(300)], index=ids)
    means = {"a": (0.9, 0.1), "b": (0.6, 0.4), "c": (0.3, 0.35), "d": (0.1, 0.8)}
    scores = pd.concat(
        pd.DataFrame(
            {"sample_id": ids, "system": system, "metric": m, "value": rng.normal(mean, 0.1, 300)}
        )
        for system, pair in means.items()
        for m, mean in zip(("truth", "words"), pair, strict=True)
    )
    table, order = pitfall.ranking(scores, users, "truth", resamples=200)
    wide = table.pivot(index="system", columns="metric", values="rank")
    assert wide["truth"].tolist() == [1, 2, 3, 4] and wide["words"].tolist() == [4, 2, 3, 1]
    firm = table.set_index(["system", "metric"]).loc[("a", "truth")]
    assert firm["low"] < firm["value"] < firm["high"] and firm["rank_low"] == firm["rank_high"] == 1
    order = order.set_index("metric")
    assert order.loc["truth", ["value", "low", "high", "reversed"]].tolist() == [1, 1, 1, 0]
    assert order.loc["words", "value"] == pytest.approx(kendalltau([1, 2, 3, 4], [4, 2, 3, 1])[0])
    assert order.loc["words", "pairs"] == 6 and order.loc["words", "reversed"] == 5


def test_an_order_needs_two_systems_on_the_same_samples() -> None:
    scores, _, users = draw_scores(10)
    both = pd.concat([scores, scores.assign(system="y")], ignore_index=True)
    level, order = pitfall.ranking(both, users, "m", resamples=20)
    assert level["rank"].tolist() == [1.5, 1.5] and order["value"].tolist() == [0]
    with pytest.raises(InputError, match="two systems make an order, found x"):
        pitfall.ranking(scores, users, "m")
    with pytest.raises(InputError, match="truth: metric 'n' has no scores"):
        pitfall.ranking(both, users, "n")
    with pytest.raises(InputError, match="'y' lacks 'm' of some sample"):
        pitfall.ranking(both[:-1], users, "m")


def test_what_a_metric_is_trusted_for() -> None:
    assert pitfall.side(0.5, 0.5) == pitfall.side(float("nan"), float("nan")) == "unclear"
    every = {"title": "above", "attribute": "above"}
    assert pitfall.trusted_for(every, "above") == "truth"
    assert pitfall.trusted_for(every, "below") == "closeness to the reference's words"
    assert pitfall.trusted_for({"title": "below"}, "above") == "nothing that was asked here"
    assert pitfall.trusted_for({}, "unclear") == "nothing that was asked here"
