"""Swaps change one thing; changed texts are counted; a voice is told only where there is one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from prism_utils.errors import InputError
from prism_utils.metrics.personalization import SWAPS, swap, text_change, voice_probe

RNG = np.random.default_rng(0)
SAMPLES = pd.DataFrame(
    {
        "sample_id": [f"s{n}" for n in range(60)],
        "user_id": [f"u{n % 12}" for n in range(60)],
        "history": [[f"i{i}" for i in RNG.permutation(30)[: n % 5]] for n in range(60)],
        "item_id": [f"i{n}" for n in RNG.integers(30, 40, 60)],
        "split": "test",
    }
)


@pytest.mark.parametrize("what", list(SWAPS))
def test_a_swap_changes_one_column_only(what):
    swapped = swap(SAMPLES, what)
    kept = [column for column in SAMPLES.columns if column != SWAPS[what]]
    pd.testing.assert_frame_equal(swapped[kept], SAMPLES[kept])
    pd.testing.assert_frame_equal(swap(SAMPLES, what), swapped)
    assert not swap(SAMPLES, what, seed=1).equals(swapped)


def test_a_swap_takes_from_another_user_or_item():
    assert (swap(SAMPLES, "user")["user_id"] != SAMPLES["user_id"]).all()
    for old, new, past in zip(
        SAMPLES["item_id"], swap(SAMPLES, "item")["item_id"], SAMPLES["history"], strict=True
    ):
        assert new != old and new not in past
    marked = SAMPLES.assign(history=[[user] for user in SAMPLES["user_id"]])
    taken = swap(marked, "history")["history"].map(lambda history: history[0])
    assert (taken != SAMPLES["user_id"]).all()
    some = SAMPLES.assign(item_id=[f"i{n % 30}" for n in range(60)])  # now histories hold items
    for item, past in zip(some["item_id"], swap(some, "history")["history"], strict=True):
        assert item not in past


def test_swaps_that_cannot_be_made_are_refused():
    with pytest.raises(InputError, match="did you mean 'user'"):
        swap(SAMPLES, "users")
    with pytest.raises(InputError, match="no other user that fits was found for sample 's0'"):
        swap(SAMPLES.assign(user_id="u"), "user")
    with pytest.raises(InputError, match="no other item that fits"):
        swap(SAMPLES.assign(item_id="i"), "item")


def told(texts, system="x"):
    ids = SAMPLES["sample_id"].head(len(texts))
    return pd.DataFrame({"sample_id": ids, "system": system, "text": texts})


def test_change_counts_texts_and_how_far_they_moved():
    before = pd.concat([told(["a b", "c d", "", "e f"]), told(["a", "b", "c", "d"], "y")])
    after = pd.concat([told(["a b", "c x", "", "g h"]), told(["a", "b", "c", "d"], "y")])
    found = text_change(before, after.iloc[::-1], SAMPLES).set_index(["system", "metric"])
    assert found.loc[("x", "changed"), "value"] == 0.5
    assert found.loc[("x", "change"), "value"] == pytest.approx((0.5 + 1) / 4)
    assert found.loc[("x", "changed"), ["n", "users"]].tolist() == [4, 4]
    assert found.loc["y", ["value", "low", "high"]].eq(0).all(axis=None)
    low, high = found.loc[("x", "changed"), ["low", "high"]]
    assert 0 <= low < 0.5 < high <= 1


def test_every_text_needs_a_counterpart():
    with pytest.raises(InputError, match="after: no explanation of sample 's1' by 'x'"):
        text_change(told(["a", "b"]), told(["a"]), SAMPLES)
    with pytest.raises(InputError, match="before: no explanation of sample 's1'"):
        text_change(told(["a"]), told(["a", "b"]), SAMPLES)


def spoken(heard):
    """400 texts of 40 users with two voices, which the texts show where `heard`."""
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(40), 10)
    voices = np.where(users % 4 == 0, "director", "genre")
    words = {"director": "directed by the maker of", "genre": "another comedy like"}
    said = voices if heard else rng.choice(["director", "genre"], 400)
    texts = [f"Film {rng.integers(50)} is {words[voice]} film {rng.integers(50)}" for voice in said]
    return texts, voices, [f"u{user}" for user in users]


def test_a_voice_is_told_where_texts_show_it():
    shown, hidden = (voice_probe(*spoken(heard)).iloc[0] for heard in (True, False))
    assert shown["accuracy"] == 1
    assert hidden["low"] <= hidden["majority"] + 0.05 and hidden["accuracy"] < 0.85
    assert shown[["chance", "majority", "n", "users", "voices"]].tolist() == [0.5, 0.75, 400, 40, 2]


def test_a_user_never_stands_on_both_sides():
    """Each user has a word of their own and a voice drawn by lot: nothing is to be learnt."""
    rng = np.random.default_rng(2)
    users = np.repeat(np.arange(60), 6)
    voices = np.array(["p", "q"])[rng.integers(2, size=60)][users]
    found = voice_probe([f"word{u}" for u in users], voices, [f"u{u}" for u in users]).iloc[0]
    assert found["accuracy"] < 0.7
    assert found["low"] < found["accuracy"] < found["high"]


def test_probes_that_cannot_be_made_are_refused():
    with pytest.raises(InputError, match="nothing to tell apart"):
        voice_probe(["a", "b"], ["v", "v"], ["u", "w"])
    with pytest.raises(InputError, match="'w' has one user"):
        voice_probe(["a", "b", "c"], ["v", "v", "w"], ["1", "2", "3"])
    with pytest.raises(InputError, match="1 texts, but 2 voices"):
        voice_probe(["a"], ["v", "w"], ["1", "2"])


def test_texts_without_a_word_are_guessed_too():
    users = [f"u{n}" for n in range(8)]
    found = voice_probe([""] * 8, ["a", "b"] * 4, users, folds=2, resamples=50)
    assert found["accuracy"].iloc[0] <= 1 and found["n"].iloc[0] == 8
