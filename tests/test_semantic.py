"""BERTScore, log-likelihood and judgement on tiny models and a local server: no network, no GPU."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
from prism_utils.metrics.judge import Judge
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
    for pair, values in zip(zip(references, candidates, strict=True), together, strict=True):
        alone = scorer.score_pairs(pair[:1], pair[1:])
        assert values == pytest.approx(alone[0], abs=1e-5)
        expected = bert_score.score(
            [pair[1]], [pair[0]], model_type=bertscore._minilm(), num_layers=6, device="cpu"
        )
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


# --- judge -----------------------------------------------------------------------------------


class Server:
    """An endpoint that gives the replies it was told to, and keeps what it was asked."""

    def __init__(self):
        self.replies = []  # (status, content or None for a broken body); the last one stays
        self.bodies, self.headers = [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append({"path": self.path, **body})
                outer.headers.append(self.headers)
                many = len(outer.replies) > 1
                status, content = outer.replies.pop(0) if many else outer.replies[0]
                choice = {"choices": [{"message": {"content": content}}]}
                data = b"{broken" if content is None else json.dumps(choice).encode()
                if status != 200:
                    data = json.dumps({"error": {"message": content}}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=[0.01], daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def judge(server, tmp_path):
    def make(**options):
        options = {"cache": tmp_path / "deep" / "answers.sqlite", "retries": 1, **options}
        return Judge(server.address, "oracle", **options)

    return make


def test_a_second_run_is_free_and_offline(server, judge):
    server.replies = [(200, "85")]
    golden, told = explanations(["a {b}", "c"], "teacher"), explanations(["d {reference}", ""])
    scores = judge().score(told, golden)
    check(scores, "scores")
    assert scores["value"].tolist() == [85, 0]  # an empty text is not asked about
    assert set(scores["metric"]) == {"gptscore_judge"}
    (body,) = server.bodies
    assert body["path"] == "/v1/chat/completions" and body["model"] == "oracle"
    assert (body["temperature"], body["seed"]) == (0, 0)
    (message,) = body["messages"]
    assert "Reference: a {b}\n" in message["content"]
    assert message["content"].endswith("Candidate: d {reference}")

    server.stop()
    pd.testing.assert_frame_equal(judge().score(told, golden), scores)
    with pytest.raises(InputError, match="gave no answer .*: see that the server runs"):
        judge(retries=0).score(told, golden.assign(text="another question"))


def test_equal_pairs_are_asked_once_and_the_cache_tells_models_and_seeds_apart(server, judge):
    server.replies = [(200, "40")]
    assert judge().score_pairs(["a"] * 3, ["b"] * 3).tolist() == [40, 40, 40]
    assert len(server.bodies) == 1
    judge(seed=1).score_pairs(["a"], ["b"])
    judge(seed=None).score_pairs(["a"], ["b"])
    assert [body.get("seed") for body in server.bodies] == [0, 1, None]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, judge, status):
    server.replies = [(status, "busy"), (200, "70")]
    assert judge().score_pairs(["a"], ["b"]).tolist() == [70]
    assert len(server.bodies) == 2


def test_a_server_that_stays_busy_is_named_with_what_it_said(server, judge):
    server.replies = [(429, "slow down")]
    with pytest.raises(InputError, match="answered 429 for model 'oracle': .*slow down"):
        judge().score_pairs(["a"], ["b"])
    assert len(server.bodies) == 2


def test_answers_until_a_failure_are_kept(server, judge):
    server.replies = [(200, "10"), (401, "no credit")]
    asking = dict(references=["a", "a"], candidates=["b", "c"])
    with pytest.raises(InputError, match="answered 401"):
        judge(workers=1).score_pairs(**asking)
    server.replies = [(200, "20")]
    assert sorted(judge(workers=1).score_pairs(**asking)) == [10, 20]
    assert len(server.bodies) == 3


@pytest.mark.parametrize("malformed", ["I cannot judge that.", "8 out of 10", "120", None, ""])
def test_what_is_no_number_is_asked_again_with_another_seed(server, judge, malformed):
    server.replies = [(200, malformed), (200, "<think>90?</think>\n**Score:** 55/100")]
    assert judge().score_pairs(["a"], ["b"]).tolist() == [55]
    assert [body["seed"] for body in server.bodies] == [0, 1]


def test_a_refusal_is_no_score_and_is_remembered(server, judge):
    server.replies = [(200, "I would rather not.")]
    assert np.isnan(judge().score_pairs(["a"], ["b"])).all()
    assert len(server.bodies) == 2
    assert np.isnan(judge().score_pairs(["a"], ["b"])).all()
    assert len(server.bodies) == 2


def test_a_server_without_seeds_is_asked_without(server, judge):
    server.replies = [(400, "unknown field: seed"), (200, "30")]
    asking = judge(workers=1)
    assert asking.score_pairs(["a", "a"], ["b", "c"]).tolist() == [30, 30]
    assert ["seed" in body for body in server.bodies] == [True, False, False]


def test_the_key_is_sent_and_stays_out_of_the_cache(server, judge, monkeypatch, tmp_path):
    server.replies = [(200, "30")]
    with pytest.raises(InputError, match="variable JUDGE_KEY is not set"):
        judge(api_key_env="JUDGE_KEY")
    monkeypatch.setenv("JUDGE_KEY", "sesame")
    judge(api_key_env="JUDGE_KEY").score_pairs(["a"], ["b"])
    assert server.headers[0]["Authorization"] == "Bearer sesame"
    stored = b"".join(path.read_bytes() for path in (tmp_path / "deep").iterdir())
    assert b"oracle" in stored and b"sesame" not in stored


def test_what_a_judge_cannot_work_with(judge, tmp_path):
    with pytest.raises(InputError, match="prompt_version '2' is unknown: choose one of: 1"):
        judge(prompt_version="2")
    with pytest.raises(InputError, match="must begin with http"):
        Judge("localhost:8000", "oracle", cache=tmp_path / "c")
    with pytest.raises(InputError, match="1 references and 0 candidates"):
        judge().score_pairs(["a"], [])
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be taken for the head of one " * 20)
    with pytest.raises(InputError, match="notes.txt: not a cache of answers"):
        judge(cache=text).score_pairs(["a"], ["b"])
    assert text.read_text().startswith("not a database")
