"""Texts as people, models and web pages write them: found where they stand, numbers kept apart."""

from __future__ import annotations

import unicodedata

import pandas as pd
import pytest

from prism_utils.metrics.grounding import Grounding
from prism_utils.metrics.mentions import Matcher
from prism_utils.metrics.spelling import spell
from prism_utils.metrics.statements import phrases


def items(*titles: str) -> pd.DataFrame:
    return pd.DataFrame({"item_id": [f"i{n}" for n in range(len(titles))], "title": titles})


def score(text: str, *titles: str) -> dict[str, float]:
    """Scores of a text about the first title for a user who has seen the second."""
    sample = {"sample_id": ["s"], "user_id": ["u"], "history": [["i1"]], "item_id": ["i0"]}
    told = pd.DataFrame({"sample_id": ["s"], "system": ["x"], "text": [text]})
    scores = Grounding(items(*titles)).score(told, pd.DataFrame(sample | {"split": ["test"]}))
    return dict(zip(scores["metric"], scores["value"], strict=True))


# Title of the catalogue, and how a text may write it.
WRITTEN = [
    ("Café Lumen", "Cafe\u0301 Lumen"),
    ("Cafe\u0301 Lumen", "Café Lumen"),
    ("Café Lumen", "Caf&eacute;&nbsp;Lumen"),
    ("Café Lumen", "Café\u00a0Lumen"),
    ("Café Lumen", "Ca\u00adfé\u200b Lu\u2060men"),
    ("Café Lumen", "\ufeffCafé\u2009Lumen"),
    ("Café Lumen", "Ｃａｆé　Ｌｕｍｅｎ"),
    ("Café Lumen", "**Café** Lumen"),
    ("Café Lumen", "<em>Café Lumen</em>"),
    ("Café Lumen", "\\_Café Lumen\\_"),
    *(("Owl-Man", f"Owl{hyphen}Man") for hyphen in "‐‑‒–—―−－"),
    ("Owl-Man", "Owl&#8209;Man"),
    ("Owl – Man", "Owl -- Man"),
    ("Wait, Wait... Go!", "Wait, Wait… Go!"),
    ("Wait, Wait… Go!", "Wait, Wait . . . Go！"),
    *(("Tinker's Row", f"Tinker{mark}s Row") for mark in [*"’‘ʼ´`", "&#39;", "&rsquo;"]),
    ('The "Last" Bell', "The “Last” Bell"),
    ('The "Last" Bell', "The &quot;Last&quot; Bell"),
    ("Salt & Rope", "Salt &amp;amp; Rope"),
    ("Salt &amp; Rope", "Salt & Rope"),
    ("R*O*O*K", "R\\*O\\*O\\*K"),
    ("R*O*O*K", "*R*O*O*K*"),
    ("Owl Man II", "Owl Man Ⅱ"),
    ("Owl Man 3", "Owl Man³"),
    ("Owl Man 7½", "Owl Man 7 1/2"),
    ("한밤", unicodedata.normalize("NFD", "한밤")),
]  # fmt: skip


@pytest.mark.parametrize(("title", "written"), WRITTEN)
def test_a_title_is_found_however_it_is_spelt(title, written):
    text = f"As you liked Copper Rain, {written} fits."
    assert score(text, title, "Copper Rain")["names_item"] == 1
    found = Matcher(items(title)).mentions([text])
    assert found["value"].tolist() == [title]
    stands = text[found["start"].iloc[0] : found["end"].iloc[0]]
    assert stands and stands in written


@pytest.mark.parametrize("mark", ["_", "*", "**", "***", "`", "__", "**_"])
def test_emphasis_is_not_part_of_a_title_and_hides_nothing_around_it(mark):
    def marked(title):
        return f"{mark}{title}{mark[::-1]}"

    text = f"{marked('Owl Man')} is based on {marked('Tin Moon')}. {marked('It')} grips."
    found = Matcher(items("Owl Man", "Tin Moon", "It")).mentions([text])
    assert found["value"].tolist() == ["Owl Man", "Tin Moon", "It"]
    spans = zip(found["start"], found["end"], strict=True)
    assert [text[a:b] for a, b in spans] == ["Owl Man", "Tin Moon", "It"]
    assert score(text, "Owl Man", "Copper Rain", "Tin Moon")["unsupported_relation"] == 1


def test_marks_that_are_no_emphasis_stay():
    for text in ("2 * 3 * 4", "* one\n* two", "snake_case", "Alien*"):
        assert spell(text).text == text.replace("_", "‿")
    assert Matcher(items("Alien")).mentions(["my_Alien_file", "Alien‑like"]).empty
    assert len(Matcher(items("Alien")).mentions(["Alien—a film", "Alien -- a film"])) == 2


def test_what_is_said_of_another_title_is_so_between_quotes_and_emphasis_too():
    films = items("Owl Man", "Tin Moon").assign(genre=[["Comedy"], ["Horror"]])
    sample = pd.DataFrame({"sample_id": ["s"], "user_id": ["u"], "history": [["i1"]],
                           "item_id": ["i0"], "split": ["test"]})  # fmt: skip
    for text in (
        "Owl Man, as you liked “Tin Moon,” a horror film.",
        "After the horror _Tin Moon_, Owl Man fits.",
        "Like **Tin Moon**, a horror film, Owl Man fits.",
    ):
        told = pd.DataFrame({"sample_id": ["s"], "system": ["x"], "text": [text]})
        scores = Grounding(films).score(told, sample).set_index("metric")["value"]
        assert (scores["wrong_attribute"], scores["cites_history"]) == (0, 1)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1984", "Owl Man (1984) fits"),
        ("1984", "Owl Man, from 1984"),
        ("1984", "Owl Man is set in 1984."),
        ("1984", "A 1984 classic: Owl Man"),
        ("1984", "Owl Man ran from 1980 to 1984, 1984–1986 and until May 1984"),
        ("10", "Owl Man is in our top 10"),
        ("10", "No. 10, Owl Man, has 10% more, 10,000 fans, 9.10, 10/10 and 10:30"),
        ("10", "Owl Man has 10 stars, a score of 10 and is for ages 10 and up"),
        ("10", "You watched 10 thrillers and gave Owl Man a 10."),
        ("42", "Owl Man is 42 minutes long, a 42-minute joy"),
        ("300", "Owl Man has 300 pages and over 300 reviews"),
    ],
)
def test_a_number_is_no_title_where_it_counts_or_dates(number, text):
    assert score(text, "Owl Man", "Copper Rain", number)["foreign_title"] == 0


@pytest.mark.parametrize(
    "text",
    [
        'Owl Man is like "300"',
        "Owl Man beats _300_",
        "Owl Man, as the film 300",
        "Owl Man is based on 300.",
        "Owl Man, as you enjoyed 300 and more",
        "Copper Rain and 300 are like Owl Man",
        "300 (2006) is like Owl Man",
    ],
)
def test_a_number_is_a_title_where_it_is_meant(text):
    assert score(text, "Owl Man", "Copper Rain", "300")["foreign_title"] == 1


def test_a_number_that_is_recommended_or_in_the_history_counts_but_as_a_date():
    assert score("After Copper Rain, 1917 fits.", "1917", "Copper Rain")["names_item"] == 1
    assert score("After Copper Rain, 300 stars Ann Lee.", "300", "Copper Rain")["names_item"] == 1
    assert score("Like 1917, Owl Man fits.", "Owl Man", "1917")["cites_history"] == 1
    assert score("Owl Man (1917) fits.", "Owl Man", "1917")["cites_history"] == 0


def test_a_number_among_tags_counts_only_where_the_text_presents_it():
    tagged = items("Owl Man", "Tin Moon").assign(pages=[["300"], ["42"]])
    found = Matcher(tagged).mentions(["42 minutes", "whose pages are 42", "with 300 as its pages"])
    assert found["value"].tolist() == ["42", "300"]


def test_only_a_decade_of_digits_is_written_short():
    dated = items("Owl Man", "Tin Moon").assign(decade=[["1980s"], ["Prelude"]])
    found = Matcher(dated).mentions(["From the 80s, no elude; a Prelude of the ’80s"])
    assert found["value"].tolist() == ["1980s", "Prelude", "1980s"]


def test_an_item_beyond_the_catalogue_is_named_by_whole_words():
    for text, named in (("It is fun with Tin Moon", 1), ("Within", 0), ("_tin moon_", 1)):
        sample = {"sample_id": ["s"], "user_id": ["u"], "history": [[]], "split": ["test"]}
        sample["item_id"] = ["It" if text == "Within" else "Tin Moon"]
        told = pd.DataFrame({"sample_id": ["s"], "system": ["x"], "text": [text]})
        scores = Grounding(items("Owl Man")).score(told, pd.DataFrame(sample))
        assert scores.set_index("metric")["value"]["names_item"] == named


def test_phrases_are_the_same_in_every_spelling():
    plain = "the wood-fired crème brûlée, the chef's salsa"
    for text in (
        unicodedata.normalize("NFD", plain),
        plain.replace("-", "‑").replace("'", "’"),
        "the **wood-fired** _crème brûlée_, the chef&#39;s sal\u00adsa",
    ):
        assert [words for _, words in phrases(text)] == [words for _, words in phrases(plain)]
        start, _ = phrases(text)[-1]
        assert text[start:].startswith("chef")
