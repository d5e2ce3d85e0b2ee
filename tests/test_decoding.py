"""A trained student explains whatever it is asked, and says what it did not know."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from prism_utils.decoding import Explainer
from prism_utils.errors import InputError
from prism_utils.students.inputs import StudentSettings, UserTable
from prism_utils.students.prism import from_scratch
from prism_utils.students.vocabulary import train_tokenizer

ITEMS = pd.DataFrame(
    {
        "item_id": ["f1", "f2", "f3", "f4"],
        "title": ["Alien", "Heat", "Jaws", "Big"],
        "genre": [["Horror"], ["Crime"], ["Thriller"], ["Comedy"]],
    }
)
SETTINGS = StudentSettings(
    template="compact", max_history=3, max_input_tokens=36, max_new_tokens=10
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained student, saved as `finetune` saves one; large vectors, so that users differ."""
    path = tmp_path_factory.mktemp("student")
    titles = ITEMS["title"].tolist()
    text = "history: {} ; explain: {} You liked it, so here is more of the same."
    tokenizer = train_tokenizer([text.format(a, b) for a in titles for b in titles])
    model = from_scratch(tokenizer, 2, d_model=32, layers=1, heads=2, max_positions=40)
    with torch.no_grad():
        model.model.encoder.user_embeddings.weight[1:].normal_(0, 3)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    UserTable(["ann", "bob"]).save(path)
    SETTINGS.save(path)
    ITEMS.to_parquet(path / "items.parquet", index=False)
    return path


@pytest.fixture(scope="module")
def explainer(folder):
    return Explainer.load(folder, device="cpu", batch_size=2)


def test_ids_and_titles_are_the_same_request(explainer):
    by_id = explainer.explain(history=["f1", "f2"], item="f3", user_id="ann")
    by_title = explainer.explain(history=["Alien", "Heat"], item="Jaws", user_id="ann")
    assert by_id.text == by_title.text != ""
    assert by_id.item_known and by_title.item_known
    assert (by_id.shown, by_id.dropped, by_id.user_known) == (2, 0, True)
    assert 0 < by_id.tokens <= 11


def test_unknown_user_title_and_empty_history_are_answered_and_said(explainer):
    answer = explainer.explain(history=[], item="A Film Nobody Knows", user_id="zoe")
    assert answer.text and not answer.user_known and not answer.item_known
    assert answer.shown == 0
    assert explainer.explain(item="f3").text == explainer.explain(item="f3", user_id="zoe").text


def test_the_user_changes_the_explanation(explainer):
    texts = {
        explainer.explain(history=["f1"], item="f3", user_id=user).text
        for user in ("ann", "bob", "zoe")
    }
    assert len(texts) > 1


def test_a_batch_equals_its_requests_one_by_one(explainer):
    requests = [
        {"history": ["f1", "f2", "f4"], "item": "f3", "user_id": "ann"},
        {"history": [], "item": "f1"},
        {"history": ["f4"], "item": "f2", "user_id": "bob"},
    ]
    together = explainer.explain(requests)
    assert together == [explainer.explain(**request) for request in requests]
    assert explainer.explain([]) == []


def test_a_samples_table_gives_an_explanations_table(explainer):
    samples = pd.DataFrame(
        {
            "sample_id": ["a", "b"],
            "user_id": ["ann", "zoe"],
            "history": [["f1"], ["f2", "f4"]],
            "item_id": ["f2", "f3"],
            "split": "test",
        }
    )
    table = explainer.explain(samples)
    assert table["sample_id"].tolist() == ["a", "b"] and set(table["system"]) == {"prism"}
    assert table["user_known"].tolist() == [True, False]
    one = explainer.explain(history=["f2", "f4"], item="f3", user_id="zoe")
    assert table["text"].iloc[1] == one.text
    beams = explainer.explain(samples, num_beams=3)
    assert len(beams) == 2


def test_a_history_over_the_budget_loses_its_oldest_titles(explainer):
    long = "Zyx Wvu " * 5
    answer = explainer.explain(history=[long, "f1"], item="f2")
    assert (answer.shown, answer.dropped) == (1, 1)
    assert answer.text == explainer.explain(history=["f1"], item="f2").text


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"history": ["f1"]}, "request 1: 'item' is missing"),
        ({"history": "f1", "item": "f2"}, "request 1: 'history' must be a list"),
        ({"item": "f2", "user": "ann"}, "request 1: unknown key 'user'"),
    ],
)
def test_a_malformed_request_is_named(explainer, request_, says):
    with pytest.raises(InputError, match=says):
        explainer.explain([request_])


def test_folders_that_are_no_student_or_do_not_fit_are_named(folder, tmp_path):
    with pytest.raises(InputError, match="student.json: no such file"):
        Explainer.load(tmp_path)
    for name in ("config.json", "model.safetensors", "student.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    UserTable(["ann", "bob", "carl"]).save(tmp_path)
    with pytest.raises(InputError, match="users.parquet: 3 users, but the weights have 2"):
        Explainer.load(tmp_path)


def test_a_user_listed_twice_is_named():
    with pytest.raises(InputError, match="user 'ann' stands there twice"):
        UserTable(["ann", "bob", "ann"])
