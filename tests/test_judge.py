"""Judgement from 0 to 100 by a local server: what is asked, kept, refused and never shown."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from prism_utils.errors import InputError
from prism_utils.metrics.judge import Judge, _number
from prism_utils.tables import check


def explanations(texts, system="prism"):
    ids = [f"s{i}" for i in range(len(texts))]
    return pd.DataFrame({"sample_id": ids, "system": system, "text": texts})


class Server:
    """An endpoint that gives the replies it was told to, and keeps what it was asked."""

    def __init__(self):
        self.replies = []  # (status, content, or bytes as the whole body); the last one stays
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
                data = content if isinstance(content, bytes) else json.dumps(choice).encode()
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


@pytest.mark.parametrize("malformed", ["I cannot judge.", "8 out of 10", "120", "0.85", b"{", ""])
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


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        *(("85", 85), ("**Score:** 85/100.", 85), ("85%", 85), ("85 out of 100", 85), ("1", 1)),
        *(('{"score": 85}', 85), ("so 90?</think>85", 85), ("85.5", 85.5), ("0.85/100", 0.85)),
        *((text, math.nan) for text in ("0.85", ".85", "1.0", "0.0", "0,85", "8.5/10", "85/10")),
        *((text, math.nan) for text in ("-5", "−5", "1e2", "NaN", "inf", "101", "1,000", "")),
        *(
            (text, math.nan)
            for text in ("between 80 and 90", "80-90", "80–90", "85?", ">85", "~85")
        ),
    ],
)
def test_only_a_number_from_0_to_100_is_a_judgement(answer, value):
    assert _number(answer) == pytest.approx(value, nan_ok=True)


def test_the_key_is_sent_and_stays_out_of_cache_answers_and_messages(
    server, judge, monkeypatch, tmp_path
):
    server.replies = [(200, "You sent Bearer sesame-9.")]
    with pytest.raises(InputError, match="variable JUDGE_KEY is not set"):
        judge(api_key_env="JUDGE_KEY")
    for wrong in ("ses ame", "sésame"):
        monkeypatch.setenv("JUDGE_KEY", wrong)
        with pytest.raises(InputError, match="JUDGE_KEY holds no key") as told:
            judge(api_key_env="JUDGE_KEY")
        assert wrong not in str(told.value)
    monkeypatch.setenv("JUDGE_KEY", "sesame-9\n")  # as a file's content comes
    asking = judge(api_key_env="JUDGE_KEY", retries=0)
    assert np.isnan(asking.score_pairs(["a"], ["b"])).all()
    assert server.headers[0]["Authorization"] == "Bearer sesame-9"
    stored = b"".join(path.read_bytes() for path in (tmp_path / "deep").iterdir())
    assert b"oracle" in stored and b"sesame" not in stored
    server.replies = [(401, "no such key: sesame-9")]
    with pytest.raises(InputError, match=r"answered 401 .*no such key: \*\*\*"):
        asking.score_pairs(["a"], ["c"])
    server.stop()
    with pytest.raises(InputError, match="gave no answer") as told:
        asking.score_pairs(["a"], ["d"])
    assert "sesame" not in "".join(traceback.format_exception(told.value))


def test_an_address_with_a_secret_is_refused_and_not_shown(tmp_path):
    for address in (
        "http://me:sesame@host/v1",
        "https://host/v1?key=sesame",
        "ftp://me:se/same@host",
    ):
        with pytest.raises(InputError, match="endpoint must") as told:
            Judge(address, "oracle", cache=tmp_path / "c")
        assert "sesame" not in str(told.value).replace("/", "")


@pytest.mark.parametrize(
    "body", [b"<html>log in", b'{"choices": []}', b"[" * 100_000, b'{"choices": "no"}', b"\xff\xfe"]
)
def test_an_endpoint_of_another_kind_is_named_and_not_remembered(server, judge, body):
    server.replies = [(200, body)]
    with pytest.raises(InputError, match="answers, but not as an OpenAI-compatible one does"):
        judge().score_pairs(["a"], ["b"])
    assert len(server.bodies) == 2
    server.replies = [(200, "60")]
    assert judge().score_pairs(["a"], ["b"]).tolist() == [60]


def test_a_cache_that_cannot_be_kept_is_said_before_anything_is_asked(server, judge, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE answers (word TEXT)")
    other.close()
    for cache in ("folder", "file/below", "other"):
        with pytest.raises(InputError, match=f"{cache}: not a cache of answers, or it cannot be"):
            judge(cache=tmp_path / cache).score_pairs(["a"], ["b"])
    assert not server.bodies


def test_a_kept_answer_that_is_no_text_is_asked_again(server, judge, tmp_path):
    server.replies = [(200, "60")]
    judge().score_pairs(["a"], ["b"])
    with contextlib.closing(sqlite3.connect(tmp_path / "deep" / "answers.sqlite")) as cache, cache:
        cache.execute("UPDATE answers SET answer = NULL")
    assert judge().score_pairs(["a"], ["b"]).tolist() == [60]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"timeout": 0}, "timeout must be seconds, above 0"),
        ({"timeout": float("nan")}, "timeout must be seconds"),
        ({"timeout": 1e12}, "timeout must be seconds"),
        ({"timeout": "60"}, "timeout must be seconds"),
        ({"seed": -1}, "seed must be 0 or more, found -1"),
        ({"seed": 0.5}, "seed must be a whole number, found 0.5"),
        ({"retries": -1}, "retries must be 0 or more, found -1"),
        ({"workers": 0}, "workers must be 1 or more, found 0"),
        ({"workers": 2.5}, "workers must be a whole number"),
        ({"cache": ""}, "cache must be a name, found ''"),
        ({"cache": None}, "cache must be a name, found None"),
        ({"prompt_version": 1}, "prompt_version 1 is unknown"),
    ],
)
def test_parameters_of_a_judge_that_make_no_sense_are_named(judge, wrong, message):
    with pytest.raises(InputError, match=message):
        judge(**wrong)


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
