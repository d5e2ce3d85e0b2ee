"""What metrics are given and cannot work with: one sentence that names the place."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from prism_utils.errors import InputError
from prism_utils.metrics import diversity, inputs, overlap, personalization, pitfall, speed, suite
from prism_utils.metrics.grounding import Grounding, hand_labelled, labelled_quality
from prism_utils.metrics.mentions import Matcher
from prism_utils.metrics.statements import scores as stated

N = 12
ITEMS = pd.DataFrame(
    {"item_id": [f"i{n}" for n in range(6)], "title": ["Alien", "Heat", "Jaws", "It", "Up", "Big"]}
)
SAMPLES = pd.DataFrame(
    {
        "sample_id": [f"s{n}" for n in range(N)],
        "user_id": [f"u{n % 4}" for n in range(N)],
        "history": [[f"i{n % 3}"] for n in range(N)],
        "item_id": [f"i{3 + n % 3}" for n in range(N)],
        "split": "test",
    }
)
TEXTS = [f"As you liked Alien, {ITEMS['title'][3 + n % 3]} is film {n}." for n in range(N)]
TOLD = pd.DataFrame({"sample_id": SAMPLES["sample_id"], "system": "a", "text": TEXTS})
NONE = TOLD.head(0)
GOLDEN = TOLD.assign(system="gold", text=[text.replace("film", "a film") for text in TEXTS])
USERS = SAMPLES["user_id"].tolist()
VOICES = ["v", "w"] * (N // 2)
ERRORS = pd.Series(["", "title"] * (N // 2), index=SAMPLES["sample_id"])
GROUNDING = Grounding(ITEMS)
ROUGE = pd.concat(
    overlap.rouge(TOLD.assign(system=name, text=text), GOLDEN)
    for name, text in (("a", "x"), ("b", TEXTS))
)  # fmt: skip

# Calls that draw at random, each with its own options.
DRAWING = {
    "evaluate": lambda **o: suite.evaluate(TOLD, SAMPLES, ITEMS, GOLDEN, **o),
    "text_change": lambda **o: personalization.text_change(TOLD, TOLD, SAMPLES, **o),
    "voice_probe": lambda **o: personalization.voice_probe(TEXTS, VOICES, USERS, folds=2, **o),
    "auc": lambda **o: pitfall.auc(ROUGE, ERRORS, SAMPLES, **o),
    "ranking": lambda **o: pitfall.ranking(ROUGE, SAMPLES, "rougeL", **o),
}
SEEDED = {
    "swap": lambda **o: personalization.swap(SAMPLES, "user", **o),
    "shuffled": lambda **o: suite.shuffled(TOLD, **o),
    "constant": lambda **o: suite.constant(GOLDEN, **o),
    "diversity": lambda **o: diversity.diversity(TOLD, SAMPLES, ITEMS, **o),
    "swap_titles": lambda **o: pitfall.swap_titles(TOLD, SAMPLES, ITEMS, GROUNDING, **o),
    "enlarge": lambda **o: speed.enlarge(ITEMS, **o),
    "random_samples": lambda **o: speed.random_samples(ITEMS, 3, **o),
}


@pytest.mark.parametrize("name", [*DRAWING, *SEEDED])
@pytest.mark.parametrize("seed", [-1, 0.5, "1", None])
def test_a_seed_is_a_whole_number_from_0(name, seed):
    with pytest.raises(InputError, match="^seed must be "):
        (DRAWING | SEEDED)[name](seed=seed)


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("resamples", [0, -1, 1.5, "5", None, 2**70])
def test_resamples_are_a_whole_number_from_1(name, resamples):
    with pytest.raises(InputError, match="^resamples must be "):
        DRAWING[name](resamples=resamples)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: suite.evaluate(NONE, SAMPLES, ITEMS), "explanations: there are none to score"),
        (lambda: suite.constant(NONE), "texts: there are none"),
        (lambda: suite.central_text([None]), "texts: row 1 must be text, found None"),
        (lambda: pitfall.truth_scores(NONE, SAMPLES, GROUNDING), "explanations: there are none"),
        (lambda: pitfall.reference_scores({}), "comparisons: there are no explanations"),
        (lambda: pitfall.reference_scores({"x": (NONE, GOLDEN)}), "comparisons: there are no"),
        (lambda: pitfall.reference_scores({"x": (TOLD, TOLD.drop(columns="text"))}),
         "references of 'x': column 'text' is missing"),
        (lambda: pitfall.swap_titles(TOLD, SAMPLES.head(1), ITEMS, GROUNDING),
         "samples: 11 of 12 explanations have none, first row 2, sample 's1'"),
        (lambda: pitfall.auc(ROUGE, pd.concat([ERRORS, ERRORS]), SAMPLES), "'s0' has two labels"),
        (lambda: pitfall.auc(ROUGE, ERRORS.replace("title", None), SAMPLES), "'s1' has no label"),
        (lambda: pitfall.preferences(ROUGE, "a", "a"), "'a' is compared with itself"),
        (lambda: pitfall.preferences(ROUGE, "a", None), "system None has none"),
        (lambda: personalization.swap(SAMPLES, None), "swap: unknown None"),
        (lambda: personalization.voice_probe([None] * N, VOICES, USERS), "texts: row 1 must be"),
        (lambda: personalization.voice_probe(TEXTS, [None] * N, USERS), "voices: row 1 must be"),
        (lambda: personalization.voice_probe(TEXTS, VOICES, USERS[:3]), "12 texts, but 12 voices"),
        (lambda: personalization.voice_probe(TEXTS, VOICES, USERS, folds=1), "folds must be 2 or"),
        (lambda: diversity.diversity(TOLD, SAMPLES, ITEMS, self_bleu_sample=1.5),
         "self_bleu_sample must be a whole number"),
        (lambda: diversity.diversity(TOLD, SAMPLES, ITEMS, groups=np.array([None] * N)),
         "groups must be whole numbers"),
        (lambda: overlap.rouge_pairs(["a"], [None]), "candidates: row 1 must be text, found None"),
        (lambda: overlap.bleu_pairs([float("nan")], ["a"]), "references: row 1 must be text"),
        (lambda: Matcher(ITEMS).mentions(["a", None]), "texts: row 2 must be text, found None"),
        (lambda: Grounding(ITEMS, noun=""), "noun must be a word"),
        (lambda: labelled_quality(TOLD.assign(error=None), GROUNDING.score(TOLD, SAMPLES)),
         "column 'error': row 1 must be text"),
    ],
)  # fmt: skip
def test_what_a_metric_cannot_work_with_is_one_sentence(call, message):
    with pytest.raises(InputError, match=message) as told:
        call()
    assert "\n" not in str(told.value)


def test_profiles_are_one_text_for_each_sample():
    one = pd.Series("Fans of noodles.", index=SAMPLES["sample_id"])
    for wrong, message in (
        (pd.concat([one, one]), "items: sample 's0' has two profiles"),
        (one.where(one.index != "s3"), "items: sample 's3' has no profile"),
    ):
        with pytest.raises(InputError, match=message):
            stated(TOLD, wrong, one, lambda texts: np.zeros((len(texts), 2)))
    assert stated(NONE, one, one, lambda texts: np.zeros((len(texts), 2))).empty


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "labels.jsonl: no file of labels that can be read"),
        (b"\xff\xfe", "labels.jsonl: no file of labels that can be read"),
        (b"{", "row 1: must be a JSON object with sample_id, category"),
        (b"[" * 100_000, "row 1: must be a JSON object"),
        (b"[1]", "row 1: must be a JSON object"),
        (b'{"sample_id": "x"}', "row 1: must be a JSON object"),
    ],
)
def test_a_file_of_labels_that_is_not_whole_is_named(tmp_path, content, message):
    path = tmp_path / "labels.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        hand_labelled(path)


def test_a_label_is_0_or_1_and_a_line_may_hold_any_character(tmp_path):
    path = tmp_path / "labels.jsonl"
    rows = [{"text": "a\u2028b", "flag": 1}, {"text": "c", "flag": 2}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match="row 2: 'flag' must be 0 or 1"):
        inputs.read_labels(path, ["text"], ["flag"])
    path.write_text(lines[0] + "\n", encoding="utf-8")
    assert inputs.read_labels(path, ["text"], ["flag"])["text"].tolist() == ["a\u2028b"]
