"""Diversity against counts made the long way, with and without each group."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import sacrebleu

from prism_utils.errors import InputError
from prism_utils.metrics.diversity import METRICS, diversity, find_features, fmr
from prism_utils.metrics.mentions import Matcher
from prism_utils.tables import check

ITEMS = pd.DataFrame(
    [
        ("f", "Back to the Future", 1985, ["Sci-Fi", "Comedy"], ["Robert Zemeckis"]),
        ("a", "Alien", 1979, ["Horror", "Sci-Fi"], ["Ridley Scott"]),
        ("t", "The Thing", 1982, ["Horror"], ["John Carpenter"]),
        ("w", "War", 2007, ["Action", "War"], ["Philip G. Atwell"]),
        ("u", "Unexplained", 2001, ["Western"], ["Nobody Known"]),
    ],
    columns=["item_id", "title", "year", "genre", "director"],
)
PARTS = [
    "Alien is a horror film.", "You will like the comedy.", "By Ridley Scott!", "Science fiction",
    "from the 1980s", "It  grips", "a war film", "Robert Zemeckis", "", "and  and",
]  # fmt: skip


def tables(count, seed=0, systems=("one", "two")):
    """Samples over four items and random texts for them, with many repeated ones."""
    rng = np.random.default_rng(seed)
    ids = [f"s{n}" for n in range(count)]
    samples = pd.DataFrame({
        "sample_id": ids, "user_id": [f"u{n % 5}" for n in range(count)], "history": [[]] * count,
        "item_id": rng.choice(["f", "a", "t", "w"], count), "split": "test",
    })  # fmt: skip
    told = pd.concat([
        pd.DataFrame({
            "sample_id": ids, "system": system,
            "text": [" ".join(rng.choice(PARTS, rng.integers(1, 4))) for _ in ids],
        }).iloc[rng.permutation(count)]
        for system in systems
    ])  # fmt: skip
    return told, samples


def by_hand(told, vocabulary):
    """The counted metrics of one system, from their definitions."""
    texts = [" ".join(text.split()) for text in told["text"]]
    words = [text.lower().replace("!", " ").replace(".", " ").split() for text in texts]
    grams = [
        [w for ws in words for w in ws],
        [p for ws in words for p in zip(ws, ws[1:], strict=False)],
    ]
    found = Matcher(ITEMS).mentions(texts)
    found = found[found["kind"] != "title"]
    features = [set(found["value"][found["text"] == n].str.lower()) for n in range(len(texts))]
    shared = [len(a & b) for a, b in combinations(features, 2)]
    return {
        "usr": len(set(texts)) / len(texts),
        "distinct1": len(set(grams[0])) / len(grams[0]),
        "distinct2": len(set(grams[1])) / len(grams[1]),
        "div": sum(shared) / len(shared),
        "fcr": len(set().union(*features) & vocabulary) / len(vocabulary),
    }


VOCABULARY = {
    "sci-fi", "comedy", "robert zemeckis", "1980s", "horror", "ridley scott", "1970s",
    "john carpenter", "action", "war", "philip g. atwell", "2000s",
}  # fmt: skip


def test_set_metrics_are_what_counting_by_hand_gives_whole_and_without_each_user():
    told, samples = tables(40)
    users = told["sample_id"].map(samples.set_index("sample_id")["user_id"])
    groups = pd.factorize(users, sort=True)[0]
    table = diversity(told, samples, ITEMS, groups=groups)
    assert table["metric"].tolist() == [*METRICS, *METRICS]
    rows = table.set_index(["system", "metric"])
    for system in ("one", "two"):
        own = (told["system"] == system).to_numpy()
        for metric, value in by_hand(told[own], VOCABULARY).items():
            assert rows.loc[(system, metric), "value"] == pytest.approx(value), metric
        for group in range(5):
            rest = by_hand(told[own & (groups != group)], VOCABULARY)
            for metric, value in rest.items():
                left_out = rows.loc[(system, metric), "left_out"]
                assert len(left_out) == 5
                assert left_out[group] == pytest.approx(value), (metric, group)


def test_self_bleu_is_sacrebleus_mean_over_a_seeded_sample():
    told, samples = tables(12, systems=("one",))
    groups = np.arange(12) % 3
    table = diversity(told, samples, ITEMS, groups=groups, self_bleu_sample=100)
    row = table.set_index("metric").loc["self_bleu"]
    texts = [" ".join(text.split()) for text in told["text"]]
    each = [
        sacrebleu.sentence_bleu(text, texts[:n] + texts[n + 1 :]).score / 100
        for n, text in enumerate(texts)
    ]
    assert row["value"] == pytest.approx(np.mean(each))
    assert row["left_out"][1] == pytest.approx(np.mean(np.array(each)[groups != 1]))


def test_self_bleu_draws_the_same_samples_for_every_system():
    told, samples = tables(30, systems=("one",))
    twin = told.iloc[::-1].assign(system="twin")  # the same texts in another order
    both = pd.concat([told, twin])
    options = dict(self_bleu_sample=5)
    values = diversity(both, samples, ITEMS, seed=3, **options).set_index(["metric", "system"])
    one, two = values.loc["self_bleu", "value"]
    assert one == pytest.approx(two)
    others = diversity(both, samples, ITEMS, seed=4, **options).set_index(["metric", "system"])
    assert others.loc[("self_bleu", "one"), "value"] != pytest.approx(one)
    without = diversity(told, samples, ITEMS, self_bleu_sample=0)
    assert without["metric"].tolist() == list(METRICS[:-1])
    assert "left_out" not in without.columns


def test_one_repeated_sentence_and_all_different_ones():
    told, samples = tables(4, systems=("same",))
    same = told.assign(text="A horror film by Ridley Scott")
    different = told.assign(system="different", text=["horror", "comedy", "1980s", "Ridley Scott"])
    table = diversity(pd.concat([same, different]), samples, ITEMS)
    values = table.set_index(["system", "metric"])["value"]
    assert values["same", "usr"] == 0.25 and values["different", "usr"] == 1
    assert values["same", "div"] == 2 and values["different", "div"] == 0
    assert values["same", "self_bleu"] == pytest.approx(1)


def test_too_few_texts_have_no_diversity():
    told, samples = tables(1, systems=("one",))
    bare = ITEMS[["item_id", "title"]]
    table = diversity(told.assign(text=""), samples, bare, groups=np.zeros(1, int))
    values = table.set_index("metric")
    assert values.loc["usr", "value"] == 1
    assert values["value"].drop("usr").isna().all()
    assert all(np.isnan(left).all() and len(left) == 1 for left in values["left_out"])
    assert diversity(told.head(0), samples, ITEMS).empty


def test_fmr_asks_for_a_feature_of_the_item():
    told = pd.DataFrame({
        "sample_id": ["s0", "s1", "s2", "s3", "s4"], "system": "one",
        "text": ["By Ridley Scott", "A comedy", "War is a film", "a war film", "anything"],
    })  # fmt: skip
    samples = pd.DataFrame({
        "sample_id": told["sample_id"], "user_id": "u", "history": [["t"]] * 5,
        "item_id": ["a", "a", "w", "w", "elsewhere"], "split": "test",
    })  # fmt: skip
    scores = fmr(told.iloc[::-1], samples, ITEMS)
    check(scores, "scores")
    values = scores.set_index("sample_id")["value"]
    # a title that is also a genre may be read as either
    assert values[["s0", "s1", "s3"]].tolist() == [1, 0, 1]
    assert np.isnan(values["s4"])  # nothing is known of an item outside the catalogue


def test_features_found_once_serve_both():
    told, samples = tables(20)
    features = find_features(told, ITEMS, matcher=Matcher(ITEMS))
    assert not features.duplicated().any() and "alien" not in set(features["feature"])
    pd.testing.assert_frame_equal(
        fmr(told, samples, ITEMS), fmr(told, samples, ITEMS, features=features)
    )
    pd.testing.assert_frame_equal(
        diversity(told, samples, ITEMS), diversity(told, samples, ITEMS, features=features)
    )


def test_what_does_not_fit_is_refused():
    told, samples = tables(3)
    with pytest.raises(InputError, match="samples: 2 of 6 explanations have none, first row"):
        diversity(told, samples.iloc[1:], ITEMS)
    with pytest.raises(InputError, match="3 for 6 explanations"):
        diversity(told, samples, ITEMS, groups=np.zeros(3, int))
    with pytest.raises(InputError, match="self_bleu_sample must be 0, or 2 or more, found 1"):
        diversity(told, samples, ITEMS, self_bleu_sample=1)
