"""Films and people that nobody knows, and the capitals that name neither."""

from __future__ import annotations

import pandas as pd
import pytest

from prism_utils.corpora import embedded
from prism_utils.errors import InputError
from prism_utils.metrics import speed
from prism_utils.metrics.grounding import Grounding, hand_labelled
from prism_utils.metrics.names import METRIC, Names
from prism_utils.tables import check
from prism_utils.teachers.grammar import GrammarTeacher

FILMS = pd.DataFrame(
    [
        ("1", "Tin Moon", ["Comedy"], ["Ann Lorne"], ["Bo Vance", "Cy Marsh"]),
        ("2", "Owl Man: The Return", ["Horror"], ["Bo Vance"], ["Di Quist"]),
    ],
    columns=["item_id", "title", "genre", "director", "actor"],
)
NAMES = Names(Grounding(FILMS))


def found(text, known=("1", "2")):
    return [(text[n.start : n.end], n.kind) for n in NAMES.find(text, known)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Tin Moon is like “The Sweener”.", [("The Sweener", "title")]),
        ("Tin Moon is like _The Sweener_, a gem.", [("The Sweener", "title")]),
        ("Tin Moon was directed by John Marlow.", [("John Marlow", "director")]),
        ("Tin Moon stars Bo Vance and Kay Hollow.", [("Kay Hollow", "actor")]),
        ("Tin Moon stars Kay Hollow and Lou Pine.", [("Kay Hollow", "actor"),
                                                     ("Lou Pine", "actor")]),
        ("You watched Zorblax, so try Tin Moon.", [("Zorblax", "title")]),
        ("You saw Tin Moon and The Last Gondola.", [("The Last Gondola", "title")]),
        ("Because you liked Deep Water Rising, try Tin Moon.", [("Deep Water Rising", "title")]),
        ("Velvet Hour is a comedy, as is Tin Moon.", [("Velvet Hour", "title")]),
        ("Kay Hollow directed Tin Moon.", [("Kay Hollow", "director")]),
    ],
)  # fmt: skip
def test_a_name_that_nobody_knows_is_found_with_its_place(text, names):
    assert found(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "Tin Moon, directed by Ann Lorne, stars Cy Marsh.",
        "You watched Owl Man, and The Return suits you, Lorne or not.",
        "Because you enjoyed The Return, a Vance film, we suggest it. Give It A Try!",
        "Tin Moon is a French film set in New York, filmed in May. I like Hollywood.",
        "It stars Bo Vance as Captain Redgrave of the Northern Fleet.",
        "You liked Comedy and Horror, and American films of World War II.",
        "Tin Moon is by Ann Lorne. Well Worth Your Time.",
        "BECAUSE YOU WATCHED OWL MAN, TRY TIN MOON!",
        "Tinmoon is as good as Tin-Moon.",
        'She says "why not?" and "It is a gem that nobody should ever miss", as in Tin Moon.',
        "",
    ],
)
def test_ordinary_capitals_and_known_names_are_left_alone(text):
    assert found(text) == []


def test_a_title_of_the_input_is_known_though_the_catalogue_lacks_it():
    text = "You watched Grey Ferry, so try Tin Moon."
    assert found(text) == [("Grey Ferry", "title")]
    assert found(text, known=["1", "Grey Ferry"]) == []
    assert found("You watched Gray Ferry, so try Tin Moon.", known=["1", "Grey Ferry"]) == []


def test_people_of_a_kind_that_the_catalogue_lacks_are_not_judged():
    bare = Names(Grounding(FILMS[["item_id", "title", "director"]]))
    assert bare.find("Tin Moon stars Kay Hollow.", ["1"]) == []
    assert len(bare.find("Tin Moon was directed by Kay Hollow.", ["1"])) == 1


@pytest.mark.parametrize("wording", ["first", "second"])
def test_no_false_alarm_on_the_grammar_teachers_texts(wording):
    """Its errors name known films and people: nothing in its texts is invented."""
    items = embedded.read_catalogue(embedded.CATALOGUE)
    samples = speed.random_samples(items, 400, history=10)
    told = GrammarTeacher(items, error_rate=0.5, wording=wording).explain(samples)
    scores = Names(Grounding(items)).score(told, samples)
    check(scores, "scores")
    assert scores["metric"].eq(METRIC).all() and scores["value"].eq(0).all()
    swapped = told.assign(text=[text + " It stars Kay Hollowby." for text in told["text"]])
    assert Names(Grounding(items)).score(swapped, samples)["value"].eq(1).all()


def test_on_the_labelled_sentences_only_films_beyond_the_catalogue_are_called():
    names = Names(Grounding(embedded.read_catalogue(embedded.CATALOGUE)))
    called = {
        row.text[name.start : name.end]
        for row in hand_labelled().itertuples()
        for name in names.find(row.text, [row.item_id, *row.history])
    }
    assert called == {"Treasure Island", "Spartacus", "A Simple Plan"}


def test_an_explanation_without_a_sample_is_refused():
    told = pd.DataFrame({"sample_id": ["x"], "system": "s", "text": ["Tin Moon"]})
    samples = pd.DataFrame({"sample_id": ["y"], "user_id": "u", "history": [[]], "item_id": ["1"],
                            "split": ["test"]})  # fmt: skip
    with pytest.raises(InputError, match="1 of 1 explanations have none"):
        NAMES.score(told, samples)
