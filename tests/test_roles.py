"""What a sentence says of an item beyond the catalogue's own words, and what it does not say."""

from __future__ import annotations

import pandas as pd
import pytest

from prism_utils.metrics.grounding import Grounding
from prism_utils.metrics.mentions import Matcher
from prism_utils.metrics.shortened import short_titles, surname, unique_surnames

FILMS = pd.DataFrame(
    [
        ("1", "Tin Moon", 1985, ["Comedy"], ["Ann Lorne"], ["Bo Vance", "Cy Marsh"], ["heists"]),
        ("2", "Owl Man", 1972, ["Horror"], ["Bo Vance"], ["Di Quist"], ["weddings"]),
        ("3", "Grey Harbour: The Last Ferry", 1994, ["Sci-Fi"], ["Ed de Groot"], ["Flo Marsh"],
         ["grief"]),
        ("4", "The Silver Kite", 2004, ["Romance"], ["Ann Lorne"], ["Gil Tarn"], ["vampires"]),
        ("5", "Grey Harbour: First Light", 1999, ["War"], ["Hal Prior"], ["Ida Renko"], []),
        ("6", "Dust", 1991, ["Animation"], ["Hal Prior"], ["Jo Zeller"], ["racism"]),
    ],
    columns=["item_id", "title", "year", "genre", "director", "actor", "theme"],
)  # fmt: skip
GROUNDING = Grounding(FILMS)


def score(text, metric="wrong_attribute", item="1", history=("2",)):
    samples = pd.DataFrame({"sample_id": ["s"], "user_id": ["u"], "history": [list(history)],
                            "item_id": [item], "split": ["test"]})  # fmt: skip
    told = pd.DataFrame({"sample_id": ["s"], "system": ["x"], "text": [text]})
    scores = GROUNDING.score(told, samples)
    return scores.set_index("metric").loc[metric, "value"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Tin Moon was directed by Ann Lorne.", 0),
        ("Tin Moon was directed by Bo Vance.", 1),
        ("Tin Moon stars Ann Lorne.", 1),
        ("Tin Moon stars Bo Vance and Cy Marsh.", 0),
        ("Tin Moon stars Bo Vance and Ann Lorne.", 1),
        ("Bo Vance and Ann Lorne star in Tin Moon.", 1),
        ("Bo Vance directed Tin Moon.", 1),
        ("Bo Vance wrote and directed Tin Moon.", 1),
        ("Behind the camera of Tin Moon stood Cy Marsh.", 1),
        ("Tin Moon has Ann Lorne in the leading role.", 1),
        ("Tin Moon, with Ann Lorne as its director, is fun.", 0),
        ("Tin Moon has Cy Marsh behind the camera.", 1),
        ("The director of Tin Moon is Cy Marsh.", 1),
        ("Cy Marsh, the director of Tin Moon, is back.", 1),
        ("Tin Moon stars Bo Vance, who also directed it.", 1),
        ("Tin Moon was directed by and stars Ann Lorne.", 1),
        ("Tin Moon stars Bo Vance, who also directed Owl Man.", 0),
        ("You liked Di Quist in Owl Man, so try Tin Moon.", 0),
        ("Owl Man, which Bo Vance directed, leads to Tin Moon.", 0),
        ("Bo Vance, the director of Owl Man, stars in Tin Moon.", 0),
        ("Tin Moon is from the director of Owl Man.", 1),
        ("Tin Moon has the same director as The Silver Kite.", 0),
    ],
)
def test_a_person_counts_in_the_role_that_the_text_gives(text, wrong):
    assert score(text, history=("2", "4")) == wrong


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Tin Moon is scary.", 1),
        ("Tin Moon is funny.", 0),
        ("Tin Moon is a rom-com.", 0),  # a comedy it is
        ("Tin Moon is a romantic film.", 1),
        ("Tin Moon is a horror-comedy.", 1),
        ("Tin Moon is a sci-fi tale.", 1),
        ("Tin Moon is an 80s film.", 0),
        ("Tin Moon is from the eighties.", 0),
        ("Tin Moon is a film of the nineties.", 1),
        ("Tin Moon is a mid-90s film.", 1),
        ("Tin Moon came out in 1994.", 1),
        ("Tin Moon came out in 1985.", 0),
        ("Tin Moon dates back to 1972.", 1),
        ("Tin Moon (1991) is a treat.", 1),
        ("Like Owl Man (1972), Tin Moon is a treat.", 0),
        ("Tin Moon is set in the 1970s, in 1972.", 0),
        ("Tin Moon ran from 1991 to 1994.", 0),
        ("Tin Moon is a heist film.", 0),
        ("Tin Moon is a vampire film.", 1),
        ("Tin Moon is a tale of racism and grief.", 1),
        ("Tin Moon is full of vampires.", 1),
        ("Tin Moon is not a horror film.", 0),
        ("Tin Moon isn't scary.", 0),
        ("Tin Moon is not just a horror film.", 1),
        ("If you are tired of war films, try Tin Moon.", 0),
        ("Although you prefer war films, Tin Moon may suit you.", 0),
        ("You often watch war films; Tin Moon is none.", 0),
        ("Tin Moon has scary moments.", 0),
        ("Tin Moon is more fun than horror.", 0),
        ("Tin Moon is a vampire comedy.", 1),
        ("Tin Moon follows a vampire.", 1),
        ("Tin Moon was first shown in 1994.", 1),
        ("Tin Moon brings the fifties to life.", 0),
        ("Owl Man made you scream with horror, and so will Tin Moon.", 0),
        ("From the horror of Owl Man to the fun of Tin Moon.", 0),
    ],
)
def test_other_words_for_a_value_are_claims_of_it_unless_denied(text, wrong):
    assert score(text) == wrong


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Tin Moon is a Lorne film.", 0),
        ("Tin Moon is a Quist film.", 1),
        ("Tin Moon is directed by Prior.", 1),
        ("Tin Moon is better than Prior ones.", 0),  # nothing says that it is a person
        ("Tin Moon is a Marsh film.", 0),  # two people have this name
        ("Tin Moon is directed by Sue Prior.", 0),  # somebody else
    ],
)
def test_a_last_name_alone_counts_where_it_is_one_persons(text, wrong):
    assert score(text) == wrong


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("You saw The Last Ferry.", ["Grey Harbour: The Last Ferry"]),
        ("You saw Silver Kite.", ["The Silver Kite"]),
        ("You saw the silver kite.", []),
        ("You saw Grey Harbour.", []),  # one of two
        ("You see the Dust fall. Dust falls on the Dust remake.", ["Dust", "Dust"]),
    ],
)
def test_shortened_titles_are_read_where_they_are_one_films(text, titles):
    found = Matcher(FILMS).mentions([text])
    assert found.loc[found["kind"] == "title", "value"].tolist() == titles


def test_a_short_title_that_several_films_have_is_the_expected_one():
    assert score("Like Grey Harbour, Tin Moon fits.", "cites_history", history=["5"]) == 1
    assert score("Like Grey Harbour, Tin Moon fits.", "foreign_title", history=["5"]) == 0
    assert score("Grey Harbour fits.", "names_item", item="3") == 1
    assert score("Like The Last Ferry, Tin Moon fits.", "foreign_title", history=["5"]) == 1
    assert score("Like Grey Harbour, Tin Moon fits.", "foreign_title", history=["2"]) == 1


def test_a_series_of_which_another_film_is_expected_is_no_foreign_title():
    films = pd.DataFrame({"item_id": ["a", "b"], "title": ["Owl Man", "Owl Man II"],
                          "year": 2001})  # fmt: skip
    samples = pd.DataFrame({"sample_id": ["s"], "user_id": ["u"], "history": [[]],
                            "item_id": ["b"], "split": ["test"]})  # fmt: skip
    told = pd.DataFrame({"sample_id": ["s"], "system": ["x"],
                         "text": ["The Owl Man saga goes on in Owl Man 2."]})  # fmt: skip
    scores = Grounding(films).score(told, samples).set_index("metric")["value"]
    assert (scores["names_item"], scores["foreign_title"]) == (1, 0)


def test_the_role_is_the_kind_of_the_mention():
    found = Matcher(FILMS).mentions(["It was directed by Cy Marsh, not by Di Quist."])
    assert found[["kind", "value"]].to_numpy().tolist() == [["director", "Cy Marsh"]]


def test_numerals_marks_and_accents_of_a_title_may_differ():
    assert "Owl Man 2" in short_titles("Owl Man II") and "Owl Man II" in short_titles("Owl Man 2")
    assert short_titles("Étoile, Inc.") == {"Etoile, Inc.", "Etoile Inc", "Étoile Inc"}
    assert short_titles("It") == set()
    assert "Part Two" not in short_titles("Owl Man: Part Two")  # of which series?


def test_surnames_keep_their_particles_and_must_be_one_persons():
    assert surname("Ed de Groot") == "de Groot" and surname("Bo Vance Jr.") == "Vance"
    assert unique_surnames(["Cy Marsh", "Flo Marsh", "Bo Vance"]) == {"Vance": "Bo Vance"}
