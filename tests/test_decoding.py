"""A trained student explains whatever it is asked, and says what it did not know."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from prism_utils.decoding import Explainer
from prism_utils.errors import InputError
from prism_utils.students.inputs import StudentSettings, UserTable

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
def folder(save_student, tmp_path_factory):
    return save_student(tmp_path_factory.mktemp("student"), ITEMS, SETTINGS)


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


def table(**columns) -> pd.DataFrame:
    """Two samples."""
    base = {"sample_id": ["a", "b"], "user_id": ["ann", "zoe"], "item_id": ["f2", "f3"]}
    return pd.DataFrame(base | {"history": [["f1"], ["f2", "f4"]], "split": "test"} | columns)


LISTS = [
    tuple,
    np.array,
    pd.Series,
    pd.Index,
    pa.array,
    lambda ids: pd.Series(ids, index=[7, 3][: len(ids)]),
    lambda ids: pa.array([ids])[0],
    lambda ids: pd.Series([ids], dtype=pd.ArrowDtype(pa.list_(pa.string()))).iloc[0],
    lambda ids: [np.str_(one) for one in ids],
    lambda ids: [pa.scalar(one) for one in ids],
    iter,
]


@pytest.mark.parametrize("kind", LISTS)
def test_histories_come_as_programs_hold_them(explainer, kind):
    told = explainer.explain(history=["f1", "f4"], item="f3", user_id="ann")
    asked = {"history": kind(["f1", "f4"]), "item": np.str_("f3"), "user_id": np.str_("ann")}
    assert explainer.explain(**asked) == told and told.shown == 2
    many = [{"history": kind(ids), "item": "f3"} for ids in (["f1", "f4"], [])]
    assert [answer.shown for answer in explainer.explain(many)] == [2, 0]


def test_histories_of_a_table_read_from_a_file(explainer, tmp_path):
    table().to_parquet(tmp_path / "samples.parquet")
    for read in ({}, {"dtype_backend": "pyarrow"}):
        read_again = pd.read_parquet(tmp_path / "samples.parquet", **read)
        assert explainer.explain(read_again)["text"].equals(explainer.explain(table())["text"])


def test_what_a_table_leaves_open_counts_as_not_given(explainer):
    told = explainer.explain(item="f3")
    for nothing in (None, float("nan"), np.nan, pd.NA):
        asked = {"item": "f3", "history": nothing, "user_id": nothing, "evidence": nothing}
        assert explainer.explain([asked]) == [told]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"history": ["f1"]}, "request 2: 'item' is missing"),
        ({"item": float("nan")}, "request 2: 'item' is missing"),
        ({"item": " "}, "request 2: 'item' is blank"),
        ({"item": 5}, "request 2: 'item' must be text, .* found 5"),
        ({"history": "f1", "item": "f2"}, "request 2: 'history' must be a list"),
        ({"history": {"f1"}, "item": "f2"}, "request 2: 'history' must be a list .*set"),
        ({"history": 3, "item": "f2"}, "request 2: 'history' must be a list"),
        ({"history": np.array("f1"), "item": "f2"}, "request 2: 'history' must be a list"),
        ({"history": ["f1", 7], "item": "f2"}, "request 2: 'history': entry 2 must be text.* 7"),
        ({"history": [None], "item": "f2"}, "request 2: 'history': entry 1 must be text.* None"),
        ({"history": np.array([1, 2]), "item": "f2"}, "request 2: 'history': entry 1 .* 1"),
        ({"history": [["f1"]], "item": "f2"}, "request 2: 'history': entry 1 must be text"),
        ({"history": ["f1", ""], "item": "f2"}, "request 2: 'history': entry 2 is blank"),
        ({"evidence": "f1", "item": "f2"}, "request 2: 'evidence' must be a list"),
        ({"item": "f2", "user_id": 17}, "request 2: 'user_id' must be text, found 17"),
        ({"item": "f2", "user": "ann"}, "request 2: unknown key 'user': did you mean 'user_id'"),
        ("f2", "request 2: must be a dict, found str"),
        (None, "request 2: must be a dict, found NoneType"),
    ],
)
def test_a_malformed_request_is_named(explainer, request_, says):
    with pytest.raises(InputError, match=says):
        explainer.explain([{"item": "f2"}, request_])


def test_what_is_no_list_of_requests_is_named(explainer):
    for asked in ({"item": "f2"}, "f2", 5):
        with pytest.raises(InputError, match="a list of dicts with 'item', found"):
            explainer.explain(asked)
    with pytest.raises(InputError, match="explain: history stands beside samples"):
        explainer.explain(table(), history=["f1"])
    with pytest.raises(
        InputError, match=r"row 2: 'history' must be a list of ids, each text, found \[4\]"
    ):
        explainer.explain(table(history=[["f1"], [4]]))
    with pytest.raises(InputError, match="row 1: 'item_id' is blank"):
        explainer.explain(table(item_id=[" ", "f3"]))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_return_sequences": 2, "num_beams": 2}, "num_return_sequences changes what comes"),
        ({"return_dict_in_generate": True}, "return_dict_in_generate changes what comes back"),
        ({"output_scores": True}, "output_scores changes what comes back"),
        ({"streamer": print}, "streamer changes what comes back"),
        ({"max_new_token": 5}, "option 'max_new_token' is unknown: did you mean 'max_new_tokens'"),
        ({"max_length": 5}, "option 'max_length' is unknown"),
        ({"input_ids": [1]}, "option 'input_ids' is unknown"),
        ({"max_new_tokens": 0}, "max_new_tokens must be 1 or more, found 0"),
        ({"max_new_tokens": -1}, "max_new_tokens must be 1 or more, found -1"),
        ({"max_new_tokens": "ten"}, "max_new_tokens must be a whole number, found 'ten'"),
        ({"max_new_tokens": float("nan")}, "max_new_tokens must be a whole number, found nan"),
        ({"max_new_tokens": True}, "max_new_tokens must be a whole number, found True"),
        ({"max_new_tokens": 41}, "max_new_tokens of 41 tokens: the student has 40 positions"),
        ({"min_new_tokens": 11}, "min_new_tokens=11 is more than max_new_tokens=10"),
        ({"num_beams": 0}, "num_beams must be 1 or more"),
        ({"do_sample": "yes"}, "do_sample must be True or False, found 'yes'"),
        ({"do_sample": True, "temperature": 0}, "temperature must be a number above 0, found 0"),
        ({"top_p": float("nan")}, "top_p must be a number above 0 and at most 1, found nan"),
        ({"do_sample": True, "temperature": 1e-300}, "temperature: generate cannot"),
        ({"bad_words_ids": 5}, "bad_words_ids: generate cannot"),
        ({"forced_eos_token_id": "end"}, "forced_eos_token_id"),
    ],
)
def test_options_that_cannot_be_are_named(explainer, options, says):
    with pytest.raises(InputError, match=says):
        explainer.explain(item="f2", **options)
    if "beams" not in says:
        with pytest.raises(InputError, match=says):
            explainer.explain(table(), **options)


def test_options_come_as_programs_hold_them(explainer):
    told = explainer.explain(item="f2", max_new_tokens=4)
    assert explainer.explain(item="f2", max_new_tokens=np.int64(4)) == told
    assert explainer.explain(item="f2", bad_words_ids=[[5]], do_sample=np.bool_(False)).text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": -1}, "batch_size must be 1 or more, found -1"),
        ({"batch_size": 2.5}, "batch_size must be a whole number, found 2.5"),
        ({"batchsize": 2}, "option 'batchsize' is unknown: did you mean 'batch_size'"),
        ({"device": "cuda:9"}, "device 'cuda:9' is not here .*; take 'cpu'"),
        ({"device": "abacus"}, "device 'abacus' is not here"),
        ({"device": "meta"}, "device 'meta' is not here"),
        ({"dtype": None}, "dtype None is unknown"),
        ({"backend": None}, "backend None is unknown"),
    ],
)
def test_options_of_loading_that_cannot_be_are_named(folder, options, says):
    with pytest.raises(InputError, match=says):
        Explainer.load(folder, **options)


def test_an_item_is_known_by_its_title_however_it_is_asked_for(explainer):
    items = ["f3", "Jaws", "A film nobody knows"]
    assert [explainer.explain(item=item).item_known for item in items] == [True, True, False]
    answers = explainer.explain([{"item": item} for item in items])
    assert [answer.item_known for answer in answers] == [True, True, False]
    asked = table(item_id=["Jaws", "Nobody's"])
    assert explainer.explain(asked)["item_known"].tolist() == [True, False]
    assert [explainer.explain(item=item).item_known for item in (" JAWS ", "F3")] == [True, False]


def test_a_title_too_long_costs_its_own_request_alone(explainer):
    asked = [{"history": ["f1"], "item": item, "user_id": "ann"} for item in ("f2", "f3", "f4")]
    long = {"history": ["f1", "f2"], "item": "y" * 5000, "user_id": "ann"}
    answers = explainer.explain([asked[0], long, *asked[1:]])
    assert [answers[0], *answers[2:]] == explainer.explain(asked)
    assert [answer.item_cut for answer in answers] == [False, True, False, False]
    assert answers[1].text and (answers[1].shown, answers[1].dropped) == (0, 2)
    assert answers[1].text == explainer.explain(item="y" * 9000, user_id="ann").text
    told = explainer.explain(table(item_id=["y" * 5000, "f3"]))
    assert told["item_cut"].tolist() == [True, False] and told["text"].all()


def test_where_nothing_can_be_cut_the_request_is_named(folder):
    tight = StudentSettings("faithful", max_history=3, max_input_tokens=20, max_new_tokens=5)
    whole = Explainer.load(folder, backend="torch", device="cpu")
    explainer = Explainer(whole.backend, whole.tokenizer, whole.users, tight, ITEMS)
    with pytest.raises(InputError, match="max_tokens=20 is too small: the prompt of request 1 "):
        explainer.explain([{"item": "f1"}])
    with pytest.raises(InputError, match="the prompt of sample 'a' takes"):
        explainer.explain(table())


def test_half_an_emoji_is_read_as_the_replacement_character(explainer):
    half, mark = "Copper \ud83d", "Copper \ufffd"
    for asked in (
        {"history": [half], "item": "f1"},
        {"item": half},
        {"item": "f1", "user_id": half},
    ):
        meant = {k: [mark] if k == "history" else v.replace(half, mark) for k, v in asked.items()}
        assert explainer.explain(**asked).text == explainer.explain(**meant).text
        assert explainer.explain([asked, {"item": "f2"}])[1] == explainer.explain(item="f2")


def test_the_placeholder_of_the_user_counts_as_a_token(save_student, tmp_path):
    """Else the end of a full input is cut off, which is the item."""
    save_student(tmp_path, ITEMS, SETTINGS, placement="user_token")
    explainer = Explainer.load(tmp_path, backend="torch", device="cpu")
    for budget in range(22, 37):
        settings = StudentSettings("compact", max_history=3, max_input_tokens=budget)
        seen = Seen(explainer.model.config)
        kept = Explainer(seen, explainer.tokenizer, explainer.users, settings, ITEMS)
        told = kept.explain(history=["Zyx", "f1", "f2"], item="f3")
        ((placeholder, *ids),) = seen.inputs
        assert placeholder == explainer.model.config.user_token_id and len(ids) < budget
        assert explainer.tokenizer.decode(ids).endswith("; explain: Jaws</s>"), told


class Seen:
    """A backend that keeps its inputs and writes nothing."""

    name = "seen"

    def __init__(self, config) -> None:
        self.config, self.inputs = config, []

    def generate(self, inputs, users, **options):
        self.inputs += inputs
        return [[2] for _ in inputs]


def test_folders_that_are_no_student_or_do_not_fit_are_named(folder, tmp_path):
    with pytest.raises(InputError, match="student.json: no such file"):
        Explainer.load(tmp_path)
    for name in ("config.json", "model.safetensors", "student.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    UserTable(["ann", "bob", "carl"]).save(tmp_path)
    with pytest.raises(InputError, match="items.parquet: no such file; copy or save the whole"):
        Explainer.load(tmp_path)
    (tmp_path / "items.parquet").write_bytes((folder / "items.parquet").read_bytes())
    with pytest.raises(InputError, match="users.parquet: 3 users, but the weights have 2"):
        Explainer.load(tmp_path)


def test_a_user_listed_twice_is_named():
    with pytest.raises(InputError, match="user 'ann' stands there twice"):
        UserTable(["ann", "bob", "ann"])
