"""Overlap metrics against the packages they equal, and the ROUGE over sets against its formula."""

import numpy as np
import pandas as pd
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from prism_utils.errors import InputError
from prism_utils.metrics import overlap
from prism_utils.tables import check

WORDS = [
    "the",
    "film",
    "Films,",
    "is",
    "sci-fi",
    "It’s",
    "3.5",
    "1985-",
    "—",
    "(é)",
    "the.",
    "&amp;",
]
sentences = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=20)
lines = st.lists(sentences, max_size=3).map("\n".join)
pairs = st.lists(st.tuples(lines, lines), max_size=5)


def explanations(texts, system="prism"):
    ids = [f"s{i}" for i in range(len(texts))]
    return pd.DataFrame({"sample_id": ids, "system": system, "text": texts})


@given(pairs, st.booleans())
@settings(max_examples=100, deadline=None)
def test_rouge_of_several_lines_equals_rouge_score(pairs, stemmer):
    scorer = RougeScorer(list(overlap.METRICS), use_stemmer=stemmer)
    bulk = overlap.rouge_pairs([r for r, _ in pairs], [c for _, c in pairs], stemmer=stemmer)
    for (reference, candidate), row in zip(pairs, bulk.to_dict("records"), strict=True):
        assert row == {k: v.fmeasure for k, v in scorer.score(reference, candidate).items()}


def test_lsum_differs_from_l_where_lines_are_in_another_order():
    row = overlap.rouge_pairs(["a b\nc d"], ["c d\na b"]).iloc[0]
    assert (row["rougeL"], row["rougeLsum"]) == (0.5, 1)


@given(pairs)
@settings(max_examples=150, deadline=None)
def test_bleu_equals_sacrebleu_for_corpora_and_sentences(pairs):
    references, candidates = [r for r, _ in pairs], [c for _, c in pairs]
    statistics = overlap.bleu_pairs(references, candidates)
    assert statistics.shape == (len(pairs), len(overlap.BLEU_STATISTICS))
    for order in range(1, 5):
        bleu = sacrebleu.BLEU(max_ngram_order=order)
        if pairs:
            expected = bleu.corpus_score(candidates, [references]).score / 100
            value = overlap.corpus_bleu(statistics.sum(axis=0), order)
            assert value == pytest.approx(expected, abs=1e-12)
        bleu = sacrebleu.BLEU(max_ngram_order=order, effective_order=True)
        single = overlap.corpus_bleu(statistics, order, effective_order=True)
        for (reference, candidate), value in zip(pairs, single, strict=True):
            expected = bleu.sentence_score(candidate, [reference]).score / 100
            assert value == pytest.approx(expected, abs=1e-12)


def test_bleu_tables_and_a_bootstrap_over_them():
    golden = explanations(["the cat sat on the mat", "a dog ran"], "teacher")
    told = explanations(["the cat sat on a mat", "a dog sat down"])
    scores = overlap.bleu(told, golden)
    check(scores, "scores")
    assert set(scores["metric"]) == {"bleu1", "bleu4"}
    rows = overlap.bleu_statistics(told, golden)
    assert list(rows.columns) == ["sample_id", "system", *overlap.BLEU_STATISTICS]
    sums = np.array([[2, 0], [1, 1], [0, 2]]) @ rows[list(overlap.BLEU_STATISTICS)].to_numpy()
    drawn = [[0, 0], [0, 1], [1, 1]]
    for value, draw in zip(overlap.corpus_bleu(sums), drawn, strict=True):
        texts, refs = (frame["text"].iloc[draw].tolist() for frame in (told, golden))
        assert value == pytest.approx(sacrebleu.corpus_bleu(texts, [refs]).score / 100)


def test_corpus_bleu_refuses_what_it_cannot_compute():
    with pytest.raises(InputError, match="order must be 1, 2, 3 or 4, found 5"):
        overlap.corpus_bleu(np.zeros(10), 5)
    with pytest.raises(InputError, match="10 columns"):
        overlap.corpus_bleu(np.zeros((2, 9)))
    assert overlap.corpus_bleu(np.zeros((2, 3, 10))).tolist() == [[0, 0, 0], [0, 0, 0]]


def set_f1(reference, candidate, n):
    """ROUGE-N over sets, from its definition."""
    grams = [
        {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}
        for words in (reference.lower().split(), candidate.lower().split())
    ]
    common = len(grams[0] & grams[1])
    return 2 * common / (len(grams[0]) + len(grams[1])) if common else 0


@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_set_rouge_follows_its_definition(pairs):
    references, candidates = [r for r, _ in pairs], [c for _, c in pairs]
    values = overlap.set_rouge_pairs(references, candidates)
    for n in (1, 2):
        expected = [set_f1(r, c, n) for r, c in pairs]
        assert values[f"set_rouge{n}"].tolist() == pytest.approx(expected)
    swapped = overlap.set_rouge_pairs(candidates, references)
    assert values["set_rougeL"].tolist() == pytest.approx(swapped["set_rougeL"].tolist())


def test_the_two_rouges_disagree():
    """Repetition is free in the one, punctuation a mismatch; a long candidate costs it more."""
    reference = ["Alien, a horror film"]
    repeated = overlap.set_rouge_pairs(reference, ["Alien, a horror film film film film"])
    assert repeated["set_rouge1"].iloc[0] == 1
    assert overlap.rouge_pairs(reference, ["Alien, a horror film film film film"])["rouge1"].iloc[
        0
    ] == pytest.approx(8 / 11)
    bare = overlap.set_rouge_pairs(reference, ["alien a horror film"])
    assert bare["set_rouge1"].iloc[0] == pytest.approx(0.75)
    precision, recall = 1 / 4, 1
    beta = precision / recall
    expected = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    assert overlap.set_rouge_pairs(["a"], ["a b c d"])["set_rougeL"].iloc[0] == pytest.approx(
        expected
    )


def test_set_rouge_joins_by_sample():
    golden = explanations(["a b", "c d"], "teacher")
    scores = overlap.set_rouge(explanations(["a b", "x"]).iloc[::-1], golden)
    check(scores, "scores")
    values = scores.set_index(["sample_id", "metric"])["value"]
    assert values["s0", "set_rougeL"] == 1 and values["s1", "set_rouge1"] == 0


def test_what_does_not_pair_up_is_refused():
    with pytest.raises(InputError, match="2 references and 1 candidates"):
        overlap.rouge_pairs(["a", "b"], ["a"])
    with pytest.raises(InputError, match="1 of 1 explanations have none"):
        overlap.bleu(explanations(["a"]), explanations([], "teacher"))


def test_xrec_published_predictions_score_what_others_measured(shared_data):
    """ROUGE-L F1 of XRec's 3,000 predictions, computed independently with rouge-score."""
    rows = pd.read_json(shared_data / "xrec-yelp" / "predictions.jsonl", lines=True)
    values = overlap.rouge_pairs(rows["reference"].tolist(), rows["xrec_prediction"].tolist())
    assert len(rows) == 3000
    assert values["rougeL"].mean() == pytest.approx(0.2793, abs=5e-5)
