"""What a fresh reader's trials found: the same kinds of input, in other rooms."""

import numpy as np
import pandas as pd
import pytest

from prism_utils import corpora, statistics
from prism_utils.corpora import embedded
from prism_utils.decoding.price import price
from prism_utils.errors import InputError
from prism_utils.metrics import overlap
from prism_utils.metrics.__main__ import main as metrics
from prism_utils.metrics.diversity import diversity
from prism_utils.metrics.grounding import Grounding
from prism_utils.metrics.names import Names
from prism_utils.prompts import PromptWriter
from prism_utils.students.checks import check_name
from prism_utils.students.inputs import StudentSettings
from prism_utils.students.options import options
from prism_utils.tables.columns import values_of
from prism_utils.teachers import recorded

COMPOSED, APART = "un \u00e9clair noir", "un e\u0301clair noir"


def test_an_accent_is_one_character_or_two():
    for pairs in (overlap.rouge_pairs, overlap.set_rouge_pairs):
        assert pairs([COMPOSED], [APART]).iloc[0].eq(1).all()
    assert overlap.words(COMPOSED) == overlap.words(APART)
    texts = pd.DataFrame({"sample_id": ["a", "b"], "system": "x", "text": [COMPOSED, APART]})
    samples = pd.DataFrame(
        {"sample_id": ["a", "b"], "user_id": ["u", "v"], "history": [[], []], "item_id": "i",
         "split": "test"}
    )  # fmt: skip
    items = pd.DataFrame({"item_id": ["i"], "title": ["Heat"]})
    found = diversity(texts, samples, items).set_index("metric")["value"]
    assert found["usr"] == 0.5


@pytest.mark.parametrize(
    ("cell", "values"),
    [
        ("('Drama', 'Crime')", ["Drama", "Crime"]),
        ("{'Drama', 'Crime'}", ["Crime", "Drama"]),
        ("(no genres listed)", ["(no genres listed)"]),
        ("[REC]", ["[REC]"]),
    ],
)
def test_what_python_printed_is_read_back_and_words_in_brackets_stay(cell, values):
    assert values_of(cell) == values


@pytest.mark.parametrize("cell", ["{'a': True}", "array(['Drama', 'Crime'], dtype=object)"])
def test_a_printed_mapping_or_array_is_no_value(cell):
    with pytest.raises(TypeError):
        values_of(cell)


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_a_seed_that_is_none_is_named(seed):
    with pytest.raises(InputError, match="seed must be a whole number"):
        statistics.bootstrap_totals([[1.0]], seed=seed)
    with pytest.raises(InputError, match="seed must be a whole number"):
        statistics.user_groups(["a", "b"], seed=seed)


def test_groups_and_values_are_checked():
    with pytest.raises(InputError, match="groups must be at least 1, found 0"):
        statistics.user_groups(["a", "b"], groups=0)
    table = pd.DataFrame({"system": ["x"], "metric": "m", "value": ["a"]})
    with pytest.raises(InputError, match="row 1: 'value' must be a number, found 'a'"):
        statistics.seed_spread(table)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("a,Copper Rain,0x7cf", "items.csv: line 2: 'year' must be a number"),
        ("a,\u200b,1990", "items.csv: line 2: 'title'"),
        ("a,x,1990\nb,y,199O", "items.csv: line 3: 'year' must be a number"),
    ],
)
def test_cells_that_only_look_right_are_refused(tmp_path, items, message):
    (tmp_path / "items.csv").write_text(f"item_id,title,year\n{items}\n")
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\n")
    with pytest.raises(InputError, match=message):
        corpora.load("custom", tmp_path)


def test_titles_that_a_reader_takes_for_one_are_told_apart(tmp_path):
    rows = "a,Miller's Bell,1990\nb,Miller\u2019s Bell,1991\nc,Moth-Man,1992\nd,Moth\u2011Man,1993"
    (tmp_path / "items.csv").write_text(f"item_id,title,year\n{rows}\n")
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\nu,b\n")
    titles = corpora.load("custom", tmp_path).items["title"].tolist()
    assert titles == ["Miller's Bell", "Miller\u2019s Bell (1991)", "Moth-Man",
                      "Moth\u2011Man (1993)"]  # fmt: skip


def test_a_catalogue_with_blanks_or_namesakes(tmp_path):
    head = ",".join(embedded.COLUMNS)
    film = dict.fromkeys(embedded.COLUMNS, "x") | {"year": "1990"}
    films = [
        film | {"item_id": "f1", "title": " Copper Rain ", embedded.KINDS[0]: "Drama | Crime"},
        film | {"item_id": "f2", "title": "\u00c9toile"},
        film | {"item_id": "f3", "title": "E\u0301toile"},
    ]
    lines = [",".join(one.values()) for one in films]
    path = tmp_path / "catalogue.csv"
    path.write_text("\n".join([head, *lines[:2], ""]), encoding="utf-8")
    first = embedded.read_catalogue(path).iloc[0]
    assert first["title"] == "Copper Rain" and first[embedded.KINDS[0]] == ["Drama", "Crime"]
    path.write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    with pytest.raises(InputError, match="line 4: title .* stands already in line 3"):
        embedded.read_catalogue(path)


def test_one_item_has_one_title_in_a_recording(tmp_path):
    path = tmp_path / "told.jsonl"
    said = '{"user_id": "%s", "item_id": "c", "title": "%s", "told": "x"}'
    path.write_text("\n".join([said % ("u", "One"), said % ("v", "Two")]) + "\n")
    with pytest.raises(
        InputError, match="told.jsonl.* 2: item 'c' is 'Two' here and not so before"
    ):
        recorded.read_samples(path, input_columns=["told"])


@pytest.mark.parametrize(
    ("name", "value"),
    [("logits_processor", [1]), ("stopping_criteria", 1), ("prefix_allowed_tokens_fn", [len])],
)
def test_what_is_called_must_be_callable(name, value):
    with pytest.raises(InputError, match=f"explain: {name} must be a"):
        options({name: value}, 8)


ITEMS = pd.DataFrame({"item_id": ["1", "2"], "title": ["Heat", "Alien"]})


@pytest.mark.parametrize("noun", ["{item}", "{history} {noun}", "{activity}"])
def test_a_noun_that_looks_like_a_place_of_the_template_is_a_noun(noun):
    text = PromptWriter(ITEMS, noun=noun).compose([["1"]], ["2"]).texts[0]
    assert f"Recommended {noun}: Alien\n" in text and f"User's {noun} " in text
    assert " history: Heat\n" in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"template": ["compact"]}, "template .* is unknown"),
        ({"facts": {}}, "facts {} is unknown"),
        ({"mark_evidence": "no"}, "mark_evidence must be True or False, found 'no'"),
    ],
)
def test_settings_that_could_not_be_loaded_again_are_not_made(given, message):
    with pytest.raises(InputError, match=message):
        StudentSettings(**given)


def test_numpys_numbers_are_saved_as_numbers(tmp_path):
    StudentSettings(max_history=np.int64(3)).save(tmp_path)
    assert StudentSettings.load(tmp_path).max_history == 3


@pytest.mark.parametrize("name", ["", " ", "half \ud83d"])
def test_a_name_that_no_table_can_hold_is_refused(tmp_path, name):
    (tmp_path / "told.jsonl").write_text('{"sample_id": "s", "explanation": "x"}\n')
    with pytest.raises(InputError, match="cannot name a system"):
        recorded.RecordedTeacher(tmp_path / "told.jsonl", name=name)
    with pytest.raises(InputError, match="cannot name a system"):
        check_name(name)


def test_what_is_no_table_no_text_and_no_file_is_said(tmp_path):
    with pytest.raises(InputError, match="table 'items' must be a DataFrame, found NoneType"):
        Grounding(None)
    with pytest.raises(InputError, match="texts: row 1 must be text, found None"):
        Names(Grounding(ITEMS)).find(None, [])
    with pytest.raises(InputError, match="--explanations .: is a folder"):
        metrics(["--explanations", ".", "--samples", "x", "--items", "y"])


@pytest.mark.parametrize("seconds", [np.inf, np.nan, -1])
def test_what_would_be_timed_for_ever_is_refused(seconds):
    with pytest.raises(InputError, match="seconds: .* is not in"):
        price(None, seconds=seconds)
