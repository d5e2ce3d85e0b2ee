"""Statements that no profile supports: the matcher, its labels, its correction, its record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prism_utils.errors import InputError
from prism_utils.experiments.real_text import (
    LABELS,
    SYSTEMS,
    calibrated,
    corrected,
    digest,
    labelled_texts,
    labels,
    main,
    measure,
    quality,
    tuning,
)
from prism_utils.metrics import statements
from prism_utils.metrics.statements import KINDS, THRESHOLD, Claims, called, phrases, scores
from prism_utils.teachers.recorded import read_samples, read_texts

ITEM = "Blue Door Fans of wood-fired pizza and attentive service would enjoy Blue Door in Tucson."
USER = "This user is likely to enjoy businesses with live music, craft beer and a cozy atmosphere."
ITEMS, USERS = pd.Series({"s": ITEM}), pd.Series({"s": USER})


@pytest.fixture(scope="module")
def claims() -> Claims:
    return Claims()


def call(claims: Claims, text: str) -> pd.Series:
    told = pd.DataFrame({"sample_id": ["s"], "system": "x", "text": [text]})
    return called(claims.find(told, ITEMS, USERS)).iloc[0]


# -- The matcher ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "The user would enjoy Blue Door for its delicious wood-fired pizzas and craft beers.",
        "You would enjoy this business, making it a great place to dine with friends.",
        "The user would enjoy the friendly staff and the intimate ambiance.",  # other words
        "You would enjoy it for its brewery.",  # near craft beer, without a word of it
        "",
    ],
)
def test_what_a_profile_says_is_supported(claims, text):
    found = call(claims, text)
    assert found[[*KINDS, "any"]].tolist() == [0, 0, 0, 0]
    assert found["words"] == 0


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("The user would enjoy Blue Door for its rooftop swimming pool.", ["attribute"]),
        ("You would enjoy it for dishes like mango lassi.", ["attribute", "entity"]),
        ("The user would enjoy the pizza, which Gwendolyn brings.", ["attribute", "entity"]),
        ("You would enjoy the pizza. They appreciate attentive service.", ["preference"]),
        ("The user enjoyed the pizza and plans to return.", ["preference"]),
    ],
)
def test_what_neither_profile_says_is_not(claims, text, kinds):
    found = call(claims, text)
    assert [kind for kind in KINDS if found[kind]] == kinds
    assert found["any"] == 1


def test_a_taste_needs_the_users_own_profile(claims):
    """Live music is the user's taste; the service stands in the business's profile alone."""
    assert call(claims, "Pizza. The user appreciates live music.")["preference"] == 0
    assert call(claims, "Pizza. The user appreciates attentive service.")["preference"] == 1


def test_share_counts_content_words():
    """Without any likeness of vectors: two of four content words are in a profile."""
    told = pd.DataFrame({"sample_id": ["s"], "system": "x", "text": ["pizza, waterslides."]})
    told.loc[1] = ["s", "y", "craft beer and rooftop waterslides"]

    def apart(texts):
        return np.zeros((len(texts), 2))

    found = scores(told, ITEMS, USERS, apart).set_index(["system", "metric"])["value"]
    assert found["x", "unsupported_share"] == found["y", "unsupported_share"] == 0.5
    assert found["x", "unsupported"] == found["y", "unsupported"] == 1


def test_each_word_stands_for_one_thing():
    stems = [{statements._stem(w) for w in words.split()} for words in statements._SAME]
    assert sum(map(len, stems)) == len(set().union(*stems))
    listed = {word for words in statements._SAME for word in words.split()}
    assert not listed & statements._PLAIN


def test_phrases_end_at_stop_words_and_punctuation():
    assert phrases("Chef's tacos, salsa and a rooftop bar – $5 beer!") == [
        (0, ("chef", "tacos")),
        (14, ("salsa",)),
        (26, ("rooftop", "bar")),
        (40, ("$5", "beer")),
    ]


def test_a_sample_without_a_profile_is_named(claims):
    told = pd.DataFrame({"sample_id": ["t"], "system": "x", "text": ["Pizza."]})
    with pytest.raises(InputError, match="items: sample 't' has no profile"):
        claims.find(told, ITEMS, USERS)


# -- The correction ------------------------------------------------------------------------------


def test_correction_recovers_the_true_share():
    """Half are true; the matcher finds 9 of 10 and calls 3 of 10 of the others: it says 0.6."""
    true = np.repeat([True, False], 500)
    call = np.concatenate([np.arange(500) % 10 < 9, np.arange(500) % 10 < 3])
    value, low, high = corrected(call.astype(int), np.arange(1000), true, call)
    assert np.mean(call) == 0.6
    assert value == pytest.approx(0.5)
    assert 0.4 < low < 0.5 < high < 0.6


def test_a_matcher_without_skill_corrects_nothing():
    true = np.array([True, True, False, False])
    call = np.array([True, False, True, False])
    value, low, high = corrected(call.astype(int), np.arange(4), true, call)
    assert np.isnan(value)
    assert (low, high) == (0, 1)


def test_calibration_learns_from_what_was_called_and_what_was_not():
    """Of the called 3 in 4 are true, of the others 1 in 4; of a thousand, 800 are called."""
    call = np.repeat([True, False], 200)
    true = np.arange(400) % 4 < np.where(call, 3, 1)
    made = (np.arange(1000) < 800).astype(int)
    value, low, high = calibrated(made, np.arange(1000), true, call)
    assert value == pytest.approx(0.8 * 0.75 + 0.2 * 0.25)
    assert 0.55 < low < value < high < 0.75


def test_calibration_leaves_open_what_no_label_shows():
    """All labelled were called: of the fifth that was not, nothing is known."""
    made = (np.arange(1000) < 800).astype(int)
    yes = np.ones(50, dtype=bool)
    value, low, high = calibrated(made, np.arange(1000), yes, yes)
    assert np.isnan(value)
    assert low == pytest.approx(0.8, abs=0.05)
    assert high == 1


def test_quality_counts_by_kind_and_system():
    known = pd.DataFrame(
        {"sample_id": list("abcd"), "system": ["golden", "golden", "xrec", "xrec"]}
    )
    known = known.assign(attribute=[1, 0, 1, 0], entity=0, preference=0, any=[1, 0, 1, 0])
    calls = known.assign(attribute=[1, 1, 0, 0], any=[1, 1, 0, 0], words=0.0)
    found = quality(known, calls).set_index(["kind", "system"])
    columns = ["precision", "recall", "specificity", "labelled", "called", "hits", "n"]
    assert found.loc[("attribute", "all"), columns].tolist() == [0.5, 0.5, 0.5, 2, 2, 1, 4]
    assert found.loc[("any", "golden"), ["precision", "recall"]].tolist() == [0.5, 1.0]
    assert np.isnan(found.loc[("entity", "all"), "recall"])


# -- The labels ----------------------------------------------------------------------------------


def test_labels_are_whole_and_hold_no_text():
    table = labels()
    counts = table.groupby(["part", "system"]).size()
    assert counts["check"].to_dict() == {"golden": 50, "xrec": 50}
    assert not table["row"].duplicated().any()  # the tuning rows are others than those checked on
    assert table[list(KINDS)].isin([0, 1]).all(axis=None)
    assert table["digest"].str.fullmatch("[0-9a-f]{12}").all()
    known = {"part", "row", "sample_id", "system", "digest", *KINDS}
    lines = LABELS.read_text(encoding="utf-8").splitlines()
    assert all(set(json.loads(line)) == known for line in lines)


def test_labels_belong_to_the_published_texts(shared_data):
    path = shared_data / "xrec-yelp" / "explanations.jsonl"
    told = pd.concat([read_texts(path, c, s) for s, c in SYSTEMS.items()])
    table = labels()
    texts = labelled_texts(told, table)
    assert texts["text"].map(digest).tolist() == table["digest"].tolist()
    samples, _ = read_samples(path)
    assert samples["sample_id"].iloc[table["row"] - 1].tolist() == table["sample_id"].tolist()
    with pytest.raises(InputError, match="is not the one that was labelled .160 of 160."):
        labelled_texts(told.assign(text="other"), table)


def test_the_threshold_is_the_best_on_the_tuning_labels(shared_data, claims):
    path = shared_data / "xrec-yelp" / "explanations.jsonl"
    table = labels().query("part == 'tuning'")
    told = pd.concat([read_texts(path, c, s) for s, c in SYSTEMS.items()])
    items, users = (
        read_samples(path, input_columns=c)[0].set_index("sample_id")["input_text"]
        for c in (("title", "item_profile"), ("user_profile",))
    )
    found = tuning(table, claims.find(labelled_texts(told, table), items, users))
    assert found.set_index("threshold")["youden"].idxmax() == THRESHOLD


# -- The record ----------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path) -> tuple[Path, Path]:
    """A folder as XRec publishes it, and labels of it: every third golden text is unsupported."""
    records, known = [], []
    for n in range(12):
        claim = "a rooftop swimming pool" if n % 3 == 0 else "tasty tacos"
        record = {"user_id": str(n // 2), "item_id": f"i{n}", "title": f"Place {n}"}
        record |= {
            "user_profile": "This user is likely to enjoy tacos and friendly service.",
            "item_profile": f"Fans of {('tacos', 'noodles')[n % 2]} would enjoy it.",
            "explanation": f"The user would enjoy the business because of {claim}.",
            "xrec_prediction": "You would enjoy the business for its tacos.",
        }
        records.append(record)
        for system, column in SYSTEMS.items():
            false = int(system == "golden" and n % 3 == 0)
            label = {"part": ("check", "tuning")[n >= 6], "row": n + 1, "system": system}
            label |= {"sample_id": f"{n // 2}-i{n}", "digest": digest(record[column])}
            known.append(label | {"attribute": false, "entity": 0, "preference": 0})
    paths = tmp_path / "xrec", tmp_path / "labels.jsonl"
    paths[0].mkdir()
    for path, lines in zip(
        (paths[0] / "explanations.jsonl", paths[1]), (records, known), strict=True
    ):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return paths


def test_the_command_writes_the_record(made, tmp_path, capsys):
    folder, known = made
    out = tmp_path / "out" / "record.json"
    main(["--xrec-yelp", str(folder), "--labels", str(known), "--out", str(out)])
    record = json.loads(out.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert record["provenance"]["parameters"]["threshold"] == THRESHOLD
    rates = pd.DataFrame(record["tables"]["rates"]).set_index(["system", "kind", "what"])
    for what in ("measured", "corrected", "calibrated", "labelled"):
        assert rates.loc[("golden", "attribute", what), "value"] == pytest.approx(1 / 3)
        assert rates.loc[("xrec", "any", what), "value"] == 0
    assert rates.loc[("golden", "any", "measured"), "n"] == 12
    matcher = pd.DataFrame(record["tables"]["matcher"]).set_index(["kind", "system"])
    assert matcher.loc[("any", "all"), ["precision", "recall", "n"]].tolist() == [1, 1, 12]
    assert "swimming" not in out.read_text(encoding="utf-8")
    assert "measured" in capsys.readouterr().out


def test_the_shipped_record_is_of_this_matcher():
    path = Path(__file__).resolve().parents[1] / "book" / "records" / "real_errors.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["provenance"]["parameters"]["threshold"] == THRESHOLD
    rates, matcher = (pd.DataFrame(record["tables"][name]) for name in ("rates", "matcher"))
    assert set(rates["system"]) == set(SYSTEMS)
    assert rates[["low", "high"]].stack().between(0, 1).all()
    assert (rates["low"] <= rates["high"]).all()
    table = labels().query("part == 'check'")
    labelled = matcher.set_index(["kind", "system"])["labelled"]
    assert labelled["any", "all"] == table["any"].sum()


def test_texts_that_were_not_labelled_are_refused(made):
    with pytest.raises(InputError, match="labels: the golden explanation of sample"):
        measure(made[0], encode=lambda texts: np.zeros((len(texts), 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--xrec-yelp", "nowhere"], "nowhere: holds no explanations.jsonl"),
        (["--out", "record.txt"], "--out record.txt: give a file whose name ends in .json"),
        (["--resamples", "0"], "resamples must be 1 or more, found 0"),
        (["--seed", "-1"], "seed must be 0 or more, found -1"),
        (["--out", f"{__file__}/x.json"], "x.json: cannot be written"),
        (["--labels", "nowhere"], "nowhere: no file of labels that can be read"),
    ],
)
def test_wrong_arguments_are_named(made, tmp_path, change, message):
    good = ["--xrec-yelp", str(made[0]), "--out", str(tmp_path / "record.json")]
    with pytest.raises(InputError, match=message):
        main([*good, *change])


def test_a_wrong_folder_is_one_sentence_and_status_2(tmp_path):
    command = [
        sys.executable,
        "-m",
        "prism_utils.experiments.real_text",
        "--xrec-yelp",
        str(tmp_path),
    ]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "x.json")], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "holds no explanations.jsonl" in done.stderr
