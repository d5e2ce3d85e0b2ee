"""BERTScore and log-likelihood on tiny models: no network, no GPU."""

from __future__ import annotations

import bert_score
import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2TokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from prism_utils.errors import InputError
from prism_utils.metrics import bertscore
from prism_utils.metrics.bertscore import BertScore
from prism_utils.metrics.likelihood import LikelihoodScore
from prism_utils.tables import check

TEXTS = ["You will like Alien, a horror film.", "Alien is frightening", "A comedy for you", "x"]


def explanations(texts, system="prism"):
    ids = [f"s{i}" for i in range(len(texts))]
    return pd.DataFrame({"sample_id": ids, "system": system, "text": texts})


@pytest.fixture(scope="module")
def vocabulary():
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(TEXTS * 3, vocab_size=320, special_tokens=special)
    return tokenizer


# --- BERTScore -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def roberta(tmp_path_factory, vocabulary):
    """A folder with a tiny RoBERTa whose tokenizer does not say how long a text may be."""
    folder = tmp_path_factory.mktemp("encoders") / "tiny-roberta"
    folder.mkdir()
    vocabulary.save_model(str(folder))
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=320, hidden_size=32, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=42,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("idf", [False, True])
def test_bertscore_equals_the_package(idf):
    """The offline encoder; pairs repeated, out of order, and split over several batches."""
    references = [TEXTS[i] for i in (0, 1, 2, 3, 0, 1)]
    candidates = [TEXTS[i] for i in (1, 1, 0, 2, 1, 3)]
    scorer = BertScore(batch_size=2, idf=idf, device="cpu")
    for _ in range(2):  # again, from kept vectors
        values = scorer.score_pairs(references, candidates)
        expected = bert_score.score(
            candidates, references, model_type=bertscore._minilm(), num_layers=6, idf=idf,
            nthreads=0, device="cpu",
        )  # fmt: skip
        assert values == pytest.approx(torch.stack(expected, dim=1).numpy(), abs=1e-5)
    assert values[1] == pytest.approx(1, abs=1e-5)
    wanted = "BERTScore with all-MiniLM-L6-v2, layer 6"
    assert scorer.name == wanted + (", idf" if idf else "") + ", not rescaled"


def test_empty_texts_score_zero(roberta):
    scorer = BertScore(str(roberta), device="cpu")
    values = scorer.score_pairs(["a film", "", " \n", ""], ["", "a film", "x", ""])
    assert values.tolist() == [[0, 0, 0]] * 4
    mixed = scorer.score_pairs(["", "Alien"], ["a film", "Alien"])
    assert mixed[0].tolist() == [0, 0, 0] and mixed[1] == pytest.approx(1, abs=1e-5)
    assert scorer.score_pairs([], []).shape == (0, 3)


def test_a_pair_does_not_depend_on_the_other_pairs_of_its_batch():
    """Short texts are unlike: a padded place with similarity 0 would be the nearest word."""
    references = ["a\nb", "?", "x 7", "a much longer reference than the others are", "zz"]
    candidates = [
        "it's fine",
        "the cat",
        "\u200b",
        "and a long candidate beside the others",
        "qq x",
    ]
    scorer = BertScore(batch_size=5, device="cpu")
    together = scorer.score_pairs(references, candidates)
    package = bert_score.BERTScorer(bertscore._minilm(), num_layers=6, device="cpu")
    for pair, values in zip(zip(references, candidates, strict=True), together, strict=True):
        alone = scorer.score_pairs(pair[:1], pair[1:])
        assert values == pytest.approx(alone[0], abs=1e-5)
        expected = package.score([pair[1]], [pair[0]])
        assert values == pytest.approx(torch.cat(expected).numpy(), abs=1e-5)


def test_where_no_word_weighs_anything_the_score_is_0():
    assert BertScore(idf=True, device="cpu").score_pairs(["a film"], ["a film"]).tolist() == [
        [0] * 3
    ]


def test_bertscore_table(roberta):
    golden = explanations(TEXTS, "teacher")
    scores = BertScore(str(roberta), device="cpu").score(explanations(TEXTS).iloc[::-1], golden)
    check(scores, "scores")
    assert set(scores["metric"]) == set(bertscore.METRICS)
    assert scores["value"].to_numpy() == pytest.approx(1, abs=1e-5)
    with pytest.raises(InputError, match="1 references and 2 candidates"):
        BertScore(str(roberta)).score_pairs(["a"], ["a", "b"])


def test_a_tokenizer_that_gives_no_limit_gets_the_models(roberta):
    long = BertScore(str(roberta), device="cpu").score_pairs(["film " * 300], ["film " * 200])
    assert long[0] == pytest.approx(1, abs=1e-4)


def test_a_first_word_is_one_like_any_other(roberta):
    """transformers 5 no longer hears bert-score's wish for a leading space."""
    tokens = BertScore(str(roberta), device="cpu")._tokenizer.tokenize("Alien")
    assert tokens[0].startswith("Ġ")


def test_layers_are_chosen_and_checked(roberta):
    last, first = (BertScore(str(roberta), num_layers=n, device="cpu") for n in (None, 1))
    assert "tiny-roberta, layer 3" in last.name and str(roberta) not in last.name
    assert first.score_pairs([TEXTS[0]], [TEXTS[2]]) != pytest.approx(
        last.score_pairs([TEXTS[0]], [TEXTS[2]])
    )
    for layers in (0, 4):
        with pytest.raises(InputError, match=f"from 1 to 3 for .* found {layers}"):
            BertScore(str(roberta), num_layers=layers)


def test_rescaling_is_never_silent(roberta, tmp_path):
    with pytest.raises(InputError, match="no baseline for .*give baseline_path"):
        BertScore(str(roberta), rescale=True)
    with pytest.raises(InputError, match="no baseline for 'minilm'"):
        BertScore(rescale=True)
    with pytest.raises(InputError, match="did you mean 'roberta-large'"):
        BertScore(str(roberta), rescale=True, baseline_path="roberta-larg")
    with pytest.raises(InputError, match="set rescale=True too"):
        BertScore(str(roberta), baseline_path="roberta-large")
    short = tmp_path / "short.tsv"
    short.write_text("LAYER,P,R,F\n0,0.1,0.1,0.1\n")
    with pytest.raises(InputError, match="no row for layer 3"):
        BertScore(str(roberta), rescale=True, baseline_path=short)

    plain = BertScore(str(roberta), device="cpu").score_pairs(TEXTS[:2], TEXTS[1:3])
    scorer = BertScore(str(roberta), rescale=True, baseline_path="roberta-large", device="cpu")
    baseline = pd.read_csv(bertscore._BASELINES / "roberta-large.tsv").iloc[3, 1:].to_numpy(float)
    expected = (plain - baseline) / (1 - baseline)
    assert scorer.score_pairs(TEXTS[:2], TEXTS[1:3]) == pytest.approx(expected, abs=1e-5)
    assert scorer.name.endswith(", rescaled")


@pytest.mark.parametrize("kind", [BertScore, LikelihoodScore])
def test_a_model_that_is_not_there(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="could not be loaded: it is no local folder"):
        kind(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="batch_size must be 1 or more, found 0"):
        kind(str(tmp_path), batch_size=0)


# --- log-likelihood --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory, vocabulary):
    """A folder with a tiny GPT-2 that reads 48 tokens."""
    folder = tmp_path_factory.mktemp("decoders") / "tiny-gpt2"
    folder.mkdir()
    vocabulary.save_model(str(folder))
    files = [str(folder / name) for name in ("vocab.json", "merges.txt")]
    GPT2TokenizerFast(*files, bos_token="<s>", eos_token="</s>", unk_token="<unk>").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=320, n_positions=48, n_embd=32, n_layer=2, n_head=2, bos_token_id=0,
        eos_token_id=2,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def one_by_one(folder, prompt, text):
    """Equation 9 from the model's probabilities, token after token."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    seen = [tokenizer.bos_token_id, *tokenizer(prompt)["input_ids"]]
    tokens, total = tokenizer(f" {text}")["input_ids"], 0.0
    for token in tokens:
        with torch.no_grad():
            logits = model(torch.tensor([seen])).logits[0, -1]
        total += float(torch.log_softmax(logits, dim=0)[token])
        seen.append(token)
    return total / len(tokens)


def test_log_likelihood_is_equation_9(gpt2):
    prompts = ["You like Alien:", "", "A horror film for you, like", "You"]
    texts = ["A comedy", "frightening", "x", "You will like a horror film."]
    scorer = LikelihoodScore(str(gpt2), batch_size=3, device="cpu")
    values = scorer.score_pairs(prompts, texts)
    expected = [one_by_one(gpt2, *pair) for pair in zip(prompts, texts, strict=True)]
    assert values == pytest.approx(expected, abs=1e-4)
    assert scorer.name == "mean log-likelihood under tiny-gpt2"


def test_long_prompts_lose_their_beginning_and_empty_texts_have_no_likelihood(gpt2):
    scorer = LikelihoodScore(str(gpt2), device="cpu")
    long = " ".join(["film"] * 60)
    values = scorer.score_pairs([long, "other " + long, "You"], ["Alien", "Alien", " "])
    assert values[0] == pytest.approx(values[1], abs=1e-5)
    assert np.isnan(values[2])
    with pytest.raises(InputError, match="text 1 takes .* tokens; the model reads 48"):
        scorer.score_pairs(["a"], [long])
    assert scorer.score_pairs([], []).shape == (0,)


def test_log_likelihood_table(gpt2):
    prompts = pd.DataFrame({"sample_id": ["s1", "s0"], "prompt": ["You like", "A film:"]})
    scorer = LikelihoodScore(str(gpt2), device="cpu")
    scores = scorer.score(explanations(["Alien", "x"]), prompts)
    check(scores, "scores")
    values = scores.set_index("sample_id")["value"]
    assert values["s0"] == pytest.approx(scorer.score_pairs(["A film:"], ["Alien"])[0])
    assert set(scores["metric"]) == {"gptscore_loglik"}
    with pytest.raises(InputError, match="1 of 2 explanations have none, first row 2, sample 's1'"):
        scorer.score(explanations(["Alien", "x"]), prompts.tail(1))
    with pytest.raises(InputError, match="did you mean 'float32'"):
        LikelihoodScore(str(gpt2), dtype="flot32")
