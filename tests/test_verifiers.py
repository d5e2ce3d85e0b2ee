"""Verifiers of claims, and what is found of each on labelled claims."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPT2TokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaTokenizerFast,
)

from prism_utils.corpora import embedded
from prism_utils.errors import InputError
from prism_utils.experiments import verifying
from prism_utils.experiments.verifying import grammar_pairs, labelled_pairs
from prism_utils.metrics import cross_encoder
from prism_utils.metrics.likelihood import LikelihoodScore
from prism_utils.metrics.verifiers import (
    HuggingFaceVerifier,
    MatcherVerifier,
    Premises,
    verifier_quality,
)

ITEMS = embedded.read_catalogue(embedded.CATALOGUE)
FILMS = pd.DataFrame(
    [
        ("1", "Tin Moon", ["Comedy"], ["Ann Lorne"], ["Bo Vance"]),
        ("2", "Owl Man", ["Horror", "Comedy"], ["Bo Vance"], ["Di Quist"]),
        ("3", "Grey Ferry", ["War"], ["Ed Groot"], ["Flo Marsh"]),
    ],
    columns=["item_id", "title", "genre", "director", "actor"],
)


class Fixed:
    """A verifier that answers what it was given."""

    def __init__(self, name, answers):
        self.name, self._answers = name, np.asarray(answers, dtype=float)

    def probabilities(self, premises, claims):
        return self._answers


def pairs(supported):
    count = len(supported)
    return pd.DataFrame({"premise": ["p"] * count, "claim": ["c"] * count, "supported": supported})


# --- the matcher -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "probability"),
    [
        ("Like Owl Man, Tin Moon is a comedy.", 1),
        ("Tin Moon is a horror film.", 0),
        ("Tin Moon is like Grey Ferry.", 0),
        ("Tin Moon stars Ann Lorne.", 0),
        ("Tin Moon stars Kay Hollow.", 0),  # nobody knows her
        ("Tin Moon is based on Grey Ferry.", 0),
        ("A treat for you.", 0.5),
    ],
)
def test_the_matcher_refutes_bears_out_or_cannot_tell(claim, probability):
    premise = Premises(FILMS).write("1", ["2", "Nobody's Film"])
    assert MatcherVerifier(FILMS).probabilities([premise], [claim]).tolist() == [probability]


def test_the_matcher_reads_the_premise_that_it_is_given():
    claim = "Like Grey Ferry, Tin Moon is fun."
    written = [Premises(FILMS).write("1", history) for history in (["3"], ["2"])]
    assert MatcherVerifier(FILMS).probabilities(written, [claim] * 2).tolist() == [1, 0]
    outside = Premises(FILMS).write("Dune", ["3"])
    assert MatcherVerifier(FILMS).probabilities([outside], ["Dune suits you."]).tolist() == [1]
    assert len(MatcherVerifier(FILMS).probabilities([], [])) == 0
    with pytest.raises(InputError, match="premises: row 1 is not written by Premises"):
        MatcherVerifier(FILMS).probabilities(["Tin Moon is a comedy"], [claim])
    with pytest.raises(InputError, match="2 premises and 1 candidates do not pair up"):
        MatcherVerifier(FILMS).probabilities(written, [claim])


# --- the cross-encoder -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """A head trained on few claims, all about the first 25 films."""
    torch.set_num_threads(1)
    known = grammar_pairs(ITEMS.head(25), 240, history=1, seed=1)
    columns = (known[column].tolist() for column in ("premise", "claim", "supported"))
    return cross_encoder.train(*columns, epochs=12)


def test_a_trained_head_beats_chance_on_another_wording(trained):
    held_out = grammar_pairs(ITEMS.head(25), 150, history=1, wording="second", seed=2)
    found = verifier_quality([trained], held_out).iloc[0]
    assert found["used"] and found["auc"] > 0.6
    assert found["n"] == 150 and 0 < found["called"] < 150


def test_what_the_head_says_does_not_depend_on_the_other_pairs(trained):
    held_out = grammar_pairs(ITEMS.head(25), 20, history=1, wording="second", seed=3)
    asked = held_out["premise"].tolist(), held_out["claim"].tolist()
    together = trained.probabilities(*asked)
    alone = [trained.probabilities([p], [c])[0] for p, c in zip(*asked, strict=True)]
    assert together == pytest.approx(alone, abs=1e-5)
    assert ((together > 0) & (together < 1)).all()
    assert np.isfinite(trained.probabilities(["Recommended: X", ""], ["", "Fine."])).all()


def test_the_same_seed_trains_the_same_head():
    known = grammar_pairs(FILMS, 12, history=1)
    columns = [known[column].tolist() for column in ("premise", "claim", "supported")]
    asked = columns[:2]
    first, again = (cross_encoder.train(*columns, epochs=1).probabilities(*asked) for _ in "ab")
    other = cross_encoder.train(*columns, epochs=1, seed=1).probabilities(*asked)
    assert first.tolist() == again.tolist() and first.tolist() != other.tolist()
    with pytest.raises(InputError, match="supported must be 0 or 1"):
        cross_encoder.train(*asked, [1] * 12)


# --- Hugging Face ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        ["Tin Moon is a comedy. Yes No"] * 3, vocab_size=300, special_tokens=special
    )
    folder = tmp_path_factory.mktemp("words")
    tokenizer.save_model(str(folder))
    return str(folder / "vocab.json"), str(folder / "merges.txt")


def classifier(folder, words, labels):
    """A tiny classifier whose labels are as probable as their numbers say, whatever it reads."""
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=66, id2label=dict(enumerate(labels)),
        label2id={label: n for n, label in enumerate(labels)}, num_labels=len(labels),
    )  # fmt: skip
    model = RobertaForSequenceClassification(config)
    torch.nn.init.zeros_(model.classifier.out_proj.weight)
    shares = torch.arange(1, len(labels) + 1, dtype=torch.float)
    model.classifier.out_proj.bias.data = torch.log(shares)
    model.save_pretrained(folder)
    RobertaTokenizerFast(*words).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("labels", "probability"),
    [
        (["entailment", "neutral", "contradiction"], 1 / 6),
        (["CONTRADICTION", "NEUTRAL", "ENTAILMENT"], 3 / 6),
        (["not_entailment", "entailment"], 2 / 3),
        (["refutes", "SUPPORTS"], 2 / 3),
    ],
)
def test_the_label_of_entailment_is_found_by_its_name(tmp_path, words, labels, probability):
    verifier = HuggingFaceVerifier(classifier(tmp_path / "nli", words, labels), device="cpu")
    premises = ["Tin Moon is a comedy. " * 40, "Tin Moon", "Tin Moon is a comedy."]
    found = verifier.probabilities(premises, ["Tin Moon is a comedy."] * 3)
    assert found == pytest.approx([probability] * 3)
    assert verifier.name == "nli"


def test_a_classifier_without_entailment_is_refused(tmp_path, words):
    folder = classifier(tmp_path / "mood", words, ["POSITIVE", "NEGATIVE"])
    with pytest.raises(InputError, match="'mood' has the labels POSITIVE, NEGATIVE: a verifier"):
        HuggingFaceVerifier(folder)
    with pytest.raises(InputError, match="could not be loaded"):
        HuggingFaceVerifier(str(tmp_path / "nowhere"))


def test_a_causal_model_is_asked_for_yes_or_no(tmp_path, words):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=300, n_positions=400, n_embd=16, n_layer=1, n_head=2,
                        bos_token_id=0, eos_token_id=2)  # fmt: skip
    folder = str(tmp_path / "causal")
    GPT2LMHeadModel(config).save_pretrained(folder)
    GPT2TokenizerFast(*words, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    verifier = HuggingFaceVerifier(folder, device="cpu", batch_size=1)
    premise = Premises(FILMS).write("1", ["2"])
    found = verifier.probabilities([premise, premise * 9], ["It is a comedy.", "It is a war film."])
    assert ((found > 0) & (found < 1)).all()
    item, past = premise.split("\n")
    prompt = (
        f"{past}\n{item}\nClaim: It is a comedy.\n"
        "Do these facts support this claim? Answer with yes or no.\nAnswer:"
    )
    yes, no = LikelihoodScore(folder, device="cpu").score_pairs([prompt] * 2, ["Yes", "No"])
    assert found[0] == pytest.approx(np.exp(yes) / (np.exp(yes) + np.exp(no)))


# --- quality ---------------------------------------------------------------------------------


def test_quality_is_that_of_unsupported_claims():
    table = pairs([1, 1, 1, 0, 0, 0])
    found = verifier_quality([Fixed("v", [0.9, 0.8, 0.4, 0.4, 0.1, 0.7])], table, resamples=500)
    row = found.iloc[0]
    assert (row["n"], row["unsupported"], row["called"]) == (6, 3, 3)
    # of nine pairs of a supported and an unsupported claim, seven and a half are in order
    assert row["auc"] == pytest.approx(7.5 / 9)
    assert (row["precision"], row["recall"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    for metric in ("auc", "precision", "recall"):
        assert 0 <= row[f"{metric}_low"] <= row[metric] <= row[f"{metric}_high"] <= 1
    again = verifier_quality([Fixed("v", [0.9, 0.8, 0.4, 0.4, 0.1, 0.7])], table, resamples=500)
    pd.testing.assert_frame_equal(found, again)


def test_a_verifier_whose_interval_includes_chance_is_shown_and_not_used():
    rng = np.random.default_rng(0)
    true = np.arange(200) % 2
    verifiers = [
        Fixed("good", 0.5 * true + 0.5 * rng.random(200)),
        Fixed("chance", rng.random(200)),
        Fixed("constant", np.full(200, 0.7)),
        Fixed("upside down", 1 - 0.5 * true),
    ]
    table = verifier_quality(verifiers, pairs(true), resamples=500).set_index("verifier")
    assert table["used"].to_dict() == {
        "good": True, "chance": False, "constant": False, "upside down": False,
    }  # fmt: skip
    assert table.loc["constant", "auc"] == 0.5 and np.isnan(table.loc["constant", "precision"])
    assert table.loc["constant", "called"] == table.loc["constant", "recall"] == 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pairs([1, 0]).drop(columns="claim"), "column 'claim' is missing"),
        (pairs([1, 1]), "both must be there"),
        (pairs([1, 2]), "'supported' must be 0 or 1"),
        (pairs([]), "both must be there"),
    ],
)
def test_pairs_that_tell_nothing_are_refused(table, message):
    with pytest.raises(InputError, match=message):
        verifier_quality([Fixed("v", [0.1] * len(table))], table)


def test_the_matcher_is_good_on_both_kinds_of_labels():
    held_out = grammar_pairs(ITEMS, 200, wording="second")
    for table, least in ((held_out, 0.99), (labelled_pairs(ITEMS), 0.9)):
        assert set(table["supported"]) == {0, 1}
        row = verifier_quality([MatcherVerifier(ITEMS)], table, resamples=200).iloc[0]
        assert row["used"] and row["auc"] > least


def test_a_record_of_verifiers_has_each_set_of_claims(monkeypatch):
    whole = verifying.labelled_pairs
    monkeypatch.setattr(verifying, "labelled_pairs", lambda *given: whole(*given).head(30))
    record = verifying.measure(pairs=20, epochs=1, held_out=20)
    table = pd.DataFrame(record["tables"]["verifiers"])
    assert table["n"].tolist() == [20, 20, 30, 30, 30, 30]
    unseen = table.query("claims == 'labelled by hand, unseen' and verifier == 'matcher'")
    assert unseen["auc"].item() > 0.8 and unseen["used"].item()
