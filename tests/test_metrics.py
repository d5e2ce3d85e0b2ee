"""ROUGE in bulk against rouge-score; grounding on small catalogues and on the grammar teacher."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from prism_utils.claims import paper
from prism_utils.corpora import embedded
from prism_utils.errors import InputError
from prism_utils.metrics import speed
from prism_utils.metrics.grounding import (
    LABELLED_NEW,
    LABELS,
    Grounding,
    grounding_scores,
    hand_labelled,
    hand_labelled_quality,
    labelled_quality,
)
from prism_utils.metrics.grounding import METRICS as METRIC_NAMES
from prism_utils.metrics.mentions import Matcher
from prism_utils.metrics.overlap import METRICS, rouge, rouge_pairs
from prism_utils.tables import check
from prism_utils.teachers.grammar import GrammarTeacher

WORDS = [
    "the",
    "film",
    "Films",
    "is",
    "sci-fi",
    "It’s",
    "based",
    "running",
    "runs",
    "1985",
    "—",
    "é",
]
sentences = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join) | st.text(max_size=20)


def explanations(texts, system="prism"):
    ids = [f"s{i}" for i in range(len(texts))]
    return pd.DataFrame({"sample_id": ids, "system": system, "text": texts})


# --- overlap ---------------------------------------------------------------------------------


@given(st.lists(st.tuples(sentences, sentences), max_size=5), st.booleans())
@settings(max_examples=150, deadline=None)
def test_bulk_rouge_equals_rouge_score_to_the_last_bit(pairs, stemmer):
    scorer = RougeScorer(list(METRICS), use_stemmer=stemmer)
    bulk = rouge_pairs([r for r, _ in pairs], [c for _, c in pairs], stemmer=stemmer)
    assert len(bulk) == len(pairs)
    for (reference, candidate), row in zip(pairs, bulk.to_dict("records"), strict=True):
        expected = {k: v.fmeasure for k, v in scorer.score(reference, candidate).items()}
        assert row == expected


@pytest.mark.parametrize(("pair", "measured"), [(("A", "B"), 0.556), (("A", "C"), 0.062)])
def test_table_4_measured(pair, measured):
    reference, candidate = (paper.TABLE_4_SENTENCES[name] for name in pair)
    value = rouge_pairs([reference], [candidate])["rougeL"].iloc[0]
    assert value == pytest.approx(measured, abs=1e-3)


def test_rouge_joins_by_sample_and_fits_the_schema():
    golden = explanations(["a b c", "x y z"], "teacher")
    scores = rouge(explanations(["a b c", "a b c"]).iloc[::-1], golden)
    check(scores, "scores")
    values = scores.set_index(["sample_id", "metric"])["value"]
    assert values["s0", "rougeL"] == 1 and values["s1", "rougeL"] == 0
    assert len(scores) == 2 * len(METRICS)
    assert set(scores["system"]) == {"prism"}


def test_rouge_refuses_missing_and_double_references():
    golden = explanations(["a", "b"], "teacher")
    with pytest.raises(InputError, match="1 of 2 explanations have none, first row 2, sample 's1'"):
        rouge(explanations(["a", "b"]), golden.head(1))
    with pytest.raises(InputError, match="row 3: a second one for sample 's0'; keep one"):
        rouge(explanations(["a"]), pd.concat([golden, golden.assign(system="other")]))
    with pytest.raises(InputError, match="'text' is missing"):
        rouge(explanations(["a"]).drop(columns="text"), golden)


# --- grounding -------------------------------------------------------------------------------

ITEMS = pd.DataFrame(
    [
        ("f", "Back to the Future", 1985, ["Sci-Fi", "Comedy"], ["Robert Zemeckis"]),
        ("w", "The Wizard of Oz", 1939, ["Fantasy"], ["Victor Fleming"]),
        ("a", "Alien", 1979, ["Horror", "Sci-Fi"], ["Ridley Scott"]),
        ("s", "Aliens", 1986, ["Action"], ["James Cameron"]),
        ("t", "The Thing", 1982, ["Horror"], ["John Carpenter"]),
        ("h", "Heat", 1995, ["Crime"], ["Michael Mann"]),
        ("i", "It", 2017, ["Horror"], ["Andy Muschietti"]),
        ("m", "Max", 2015, ["History"], ["Boaz Yakin"]),
        ("p", "Airplane!", 1980, ["Comedy"], ["Max Schreck"]),
    ],
    columns=["item_id", "title", "year", "genre", "director"],
)


def score(text, item="f", history=("a", "t"), items=ITEMS):
    """The scores of one explanation as a dict."""
    samples = pd.DataFrame(
        [("s0", "u", list(history), item, "test")],
        columns=["sample_id", "user_id", "history", "item_id", "split"],
    )
    scores = grounding_scores(explanations([text]), samples, items)
    check(scores, "scores")
    return dict(zip(scores["metric"], scores["value"], strict=True))


def titles(text):
    found = Matcher(ITEMS).mentions([text])
    return found.loc[found["kind"] == "title", "value"].tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You saw Aliens and The Thing.", ["Aliens", "The Thing"]),
        ("You saw the Thing, not the thing.", ["The Thing"]),
        ("No alien, no heat, no max.", []),
        ("Alien-like dread, Alienated people", []),
        ("“Heat”: Max’s best; ALIEN", ["Heat", "Max", "Alien"]),
        ("Back To The Future is fun", ["Back to the Future"]),
        ("directed by Max Schreck", []),  # a title inside a person's name
        ("It is fun. It grips. You saw It!", ["It"]),  # as the start of a sentence: a pronoun
        ('"It" grips', ["It"]),
        ("It's grim. You saw It’s end", []),  # a contraction
        ("Back  to the\nFuture", ["Back to the Future"]),
        ("Airplane! flies; airplane! does not", ["Airplane!"]),
        ("İ saw Alien", ["Alien"]),  # lower case is longer than this letter
    ],
)
def test_titles_are_found_as_whole_words_with_their_capitals(text, expected):
    assert titles(text) == expected


def test_a_long_match_that_fails_does_not_hide_a_short_one():
    items = pd.DataFrame({"item_id": ["1", "2"], "title": ["Bad Boys", "Bad Boys I"]})
    found = Matcher(items).mentions(["I like Bad Boys In Blue"])
    assert found["value"].tolist() == ["Bad Boys"]


def test_mentions_say_which_text_where_and_what():
    found = Matcher(ITEMS).mentions(["", "Heat, by Ridley Scott"])
    assert found.to_dict("split")["data"] == [
        [1, 0, 4, "title", "Heat"],
        [1, 9, 21, "director", "Ridley Scott"],
    ]


def test_an_expected_title_is_read_as_one_even_at_the_start():
    assert score("It is a horror film.", item="i")["names_item"] == 1
    assert score("It is fun. Back to the Future!")["foreign_title"] == 0


@pytest.mark.parametrize(
    ("text", "metric", "value"),
    [
        ("Back to the Future, as you liked Alien", "names_item", 1),
        ("A film for you, as you liked Alien", "names_item", 0),
        ("Back to the Future is like Alien", "cites_history", 1),
        ("Back to the Future is like Heat", "cites_history", 0),
        ("Back to the Future is like Heat", "foreign_title", 1),
        ("Back to the Future is like Alien", "foreign_title", 0),
        ("Like Alien, Back to the Future is science fiction", "wrong_attribute", 0),
        ("Like Alien, Back to the Future is a horror film", "wrong_attribute", 1),
        ("Back to the Future, by Ridley Scott", "wrong_attribute", 1),
        ("Back to the Future, by Robert Zemeckis, from the 80s", "wrong_attribute", 0),
        ("Back to the Future is a 1970s film", "wrong_attribute", 1),
        # said of another title
        ("If you liked Alien, a horror film, try Back to the Future", "wrong_attribute", 0),
        ("After the horror film Alien, try Back to the Future", "wrong_attribute", 0),
        ("Alien is a horror film; Back to the Future is not", "wrong_attribute", 0),
        # said of both, or of the item
        ("Alien shows a taste for horror, as does Back to the Future", "wrong_attribute", 1),
        ("Back to the Future, a horror film, like Alien", "wrong_attribute", 1),
        ("After Alien, a fantasy: Back to the Future, an action film", "wrong_attribute", 1),
        ("Back to the Future suits your viewing history", "wrong_attribute", 0),
        ("Back to the Future is a history film", "wrong_attribute", 1),
        ("Back to the Future is based on Heat", "unsupported_relation", 1),
        ("Back to the Future was strongly influenced by the Thing", "unsupported_relation", 1),
        ("Back to the Future is inspired by “Moby-Dick”", "unsupported_relation", 1),
        ("Based on Alien, we suggest Back to the Future", "unsupported_relation", 0),
        ("Back to the Future is based on teen angst", "unsupported_relation", 0),
        ("Back to the Future and Heat, based on your taste", "unsupported_relation", 0),
    ],
)
def test_grounding_rules(text, metric, value):
    assert score(text)[metric] == value


def test_table_4_is_called_as_the_paper_calls_it():
    """A and B hallucinate, C does not, whatever ROUGE says."""
    flags = {
        name: score(sentence, history=paper.TABLE_4_HISTORY)
        for name, sentence in paper.TABLE_4_SENTENCES.items()
    }
    assert [flags[n]["foreign_title"] for n in "ABC"] == [1, 1, 0]
    assert [flags[n]["unsupported_relation"] for n in "ABC"] == [1, 1, 0]
    assert [flags[n]["names_item"] for n in "ABC"] == [1, 1, 0]


def test_items_and_histories_beyond_the_catalogue():
    outside = score("Dune is a horror film like Solaris", item="Dune", history=["Solaris"])
    assert outside["names_item"] == 1
    assert math.isnan(outside["wrong_attribute"])  # nothing is known, so nothing is judged
    bare = ITEMS[["item_id", "title"]]
    assert score("Back to the Future is a horror film", items=bare)["wrong_attribute"] == 0
    empty = score("", items=bare)
    assert tuple(empty) == METRIC_NAMES and set(empty.values()) == {0}
    assert score("Anything", items=bare.head(0), item="x")["foreign_title"] == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Back to the Future is a good film to start", 0),
        ("Back to the Future has good among its themes", 1),
        ("Back to the Future is a film about good", 1),
        ("Back to the Future, with good as a theme", 1),
        ("Back to the Future, whose themes include good", 1),
        ("Back to the Future, whose themes include time travel", 0),
        ("Back to the Future is full of dark magic", 1),
    ],
)
def test_one_word_tags_count_only_where_the_text_presents_them(text, value):
    tags = {"f": ["time travel"], "a": ["good"], "h": ["dark magic"]}
    items = ITEMS.assign(theme=ITEMS["item_id"].map(lambda i: tags.get(i, [])))
    assert score(text, items=items)["wrong_attribute"] == value


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Back to the Future suits you", 0),
        ("Back to the Future is a comedy", 0),  # no film of the history is
        ("Back to the Future is science fiction", 1),
        ("As science fiction like Alien, Back to the Future suits you", 2),
        ("Alien, The Thing and again Alien lead to Back to the Future", 2),
        ("Heat, a horror film, leads to Back to the Future", 0),
    ],
)
def test_groundings_are_different_titles_and_shared_attributes_of_the_history(text, count):
    scores = score(text)
    assert (scores["groundings"], scores["grounded"]) == (count, float(count > 0))


def test_the_item_is_no_film_of_its_own_history_and_one_name_is_one_grounding():
    assert score("Back to the Future is a comedy", history=["f"])["groundings"] == 0
    items = ITEMS.assign(actor=[["Ridley Scott"]] * len(ITEMS))
    assert score("Aliens, with Ridley Scott", item="s", items=items)["groundings"] == 1
    acts = items.assign(director=[["Ridley Scott"]] * len(ITEMS))
    assert score("Aliens, with Ridley Scott", item="s", items=acts)["groundings"] == 1


def test_workers_share_the_work_and_change_nothing():
    samples = samples_of(60)
    told = GrammarTeacher(ITEMS, error_rate=0.5).explain(samples)
    grounding = Grounding(ITEMS)
    alone, shared = (grounding.score(told, samples, workers=n) for n in (1, 2))
    pd.testing.assert_frame_equal(alone, shared)
    assert len(grounding.score(told.head(0), samples, workers=2)) == 0
    with pytest.raises(InputError, match="workers must be 1 or more, found 0"):
        grounding.score(told, samples, workers=0)


def test_a_large_catalogue_is_recombined_and_read_back():
    films = embedded.read_catalogue(embedded.CATALOGUE)
    items = speed.enlarge(films, 20_000, seed=1)
    check(items, "items")
    assert items["title"].is_unique and len(items) == 20_000
    pd.testing.assert_frame_equal(items, speed.enlarge(films, 20_000, seed=1))
    samples = speed.random_samples(items, 200)
    check(samples, "samples")
    told = GrammarTeacher(items, seed=1).explain(samples)
    quality = labelled_quality(told, grounding_scores(told, samples, items))
    assert (quality[["precision", "recall"]] >= 0.95).all(axis=None)
    with pytest.raises(InputError, match="make 1 titles, not 9"):
        speed.enlarge(pd.DataFrame({"item_id": ["m"], "title": ["M"]}), 9)


def test_namesakes_are_one_title():
    items = pd.concat([ITEMS, ITEMS[ITEMS["item_id"] == "t"].assign(item_id="t2", year=2011)])
    assert score("Back to the Future and The Thing", items=items)["foreign_title"] == 0


def test_explanations_without_samples_are_refused():
    with pytest.raises(InputError, match="1 of 1 explanations have none, first row 1, sample 's0'"):
        grounding_scores(explanations(["x"]), samples_of(1).assign(sample_id="other"), ITEMS)


def samples_of(count, seed=0):
    """Random samples over ITEMS: up to four films of history, then another film."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        drawn = rng.permutation(ITEMS["item_id"].to_numpy())[: rng.integers(1, 6)].tolist()
        rows.append((f"s{i}", f"u{i % 7}", drawn[1:], drawn[0], "test"))
    return pd.DataFrame(rows, columns=["sample_id", "user_id", "history", "item_id", "split"])


def test_the_hand_labelled_sentences_are_whole():
    rows = hand_labelled()
    known = set(embedded.read_catalogue(embedded.CATALOGUE)["item_id"])
    assert len(rows) == 300
    assert rows["sample_id"].is_unique and rows["text"].is_unique
    assert rows["item_id"].isin(known).all()
    assert rows["history"].map(lambda ids: bool(ids) and known.issuperset(ids)).all()
    assert not rows.isna().any(axis=None)
    assert rows[list(LABELS)].isin([0, 1]).all(axis=None)
    assert rows[list(LABELS)].nunique().eq(2).all()
    assert not (rows["cites_history"].eq(1) & rows["grounded"].eq(0)).any()
    assert rows["category"].nunique() >= 8


def test_the_new_labelled_sentences_are_whole_and_new():
    rows, old = hand_labelled(LABELLED_NEW), hand_labelled()
    catalogue = embedded.read_catalogue(embedded.CATALOGUE)
    known, labels = set(catalogue["item_id"]), [*LABELS, "invented_name"]
    assert len(rows) == 300 and not rows.isna().any(axis=None)
    for column in ("sample_id", "text"):
        assert rows[column].is_unique and not rows[column].isin(old[column]).any()
    assert rows["item_id"].isin(known).all()
    history = rows["history"]
    assert history.map(lambda ids: len(set(ids)) == len(ids) and known.issuperset(ids)).all()
    assert history.map(len).between(3, 6).all()
    assert not any(item in ids for item, ids in zip(rows["item_id"], history, strict=True))
    assert rows[labels].isin([0, 1]).all(axis=None)
    assert rows[labels].apply(pd.Series.value_counts).ge(15).all(axis=None)
    assert not (rows["cites_history"].eq(1) & rows["grounded"].eq(0)).any()
    assert set(rows["category"]) == {"plain", "friendly", "model-like", "hard"}
    assert rows["category"].eq("hard").sum() <= 60


def test_hand_labelled_quality_counts_by_category(tmp_path):
    """Three sentences, one a described film that exact matching cannot see."""
    rows = hand_labelled().head(3).assign(
        category=["a", "a", "b"],
        text=["Alien, as you liked Jaws", "Alien, as you liked Heat", "You liked the shark film"],
        item_id="f132",
        history=[["f109"]] * 3,
    )  # fmt: skip
    rows[list(LABELS)] = 0
    rows["foreign_title"], rows["cites_history"] = [0, 1, 0], [1, 0, 1]
    rows["names_item"], rows["grounded"] = [1, 1, 0], [1, 0, 1]
    path = tmp_path / "labelled.jsonl"
    rows.to_json(path, orient="records", lines=True)
    table = hand_labelled_quality(embedded.read_catalogue(embedded.CATALOGUE), path).set_index(
        ["category", "metric"]
    )
    assert table.loc[("all", "cites_history"), ["n", "labelled", "called"]].tolist() == [3, 2, 1]
    assert table.loc[("all", "cites_history"), ["precision", "recall"]].tolist() == [1, 0.5]
    assert table.loc[("a", "foreign_title"), "hits"] == 1
    assert math.isnan(table.loc[("b", "foreign_title"), "precision"])
    assert len(table) == 3 * len(LABELS)


@pytest.mark.parametrize("systematic", [False, True])
def test_the_metric_agrees_with_the_grammar_teachers_labels(systematic):
    samples = samples_of(400)
    told = GrammarTeacher(ITEMS, error_rate=0.5, systematic=systematic, seed=2).explain(samples)
    scores = grounding_scores(told, samples, ITEMS)
    quality = labelled_quality(told, scores).set_index("error")
    assert (quality["labelled"] >= 30).all()
    assert (quality[["precision", "recall"]] >= 0.98).all(axis=None)
    named = scores[scores["metric"] == "names_item"]["value"]
    assert named.mean() == 1


def test_quality_counts_hits_and_false_alarms():
    told = explanations(["a", "b", "c"], "grammar").assign(error=["title", "", "attribute"])
    flags = {"foreign_title": [1, 1, 0], "wrong_attribute": [0, 0, 0], "unsupported_relation": 0}
    wide = told[["sample_id", "system"]].assign(**flags)
    scores = wide.melt(["sample_id", "system"], var_name="metric", value_name="value")
    quality = labelled_quality(told, scores).set_index("error")
    assert quality.loc["title", ["precision", "recall"]].tolist() == [0.5, 1]
    assert quality.loc["attribute", "recall"] == 0
    assert math.isnan(quality.loc["relation", "precision"])
    assert quality.loc["any", ["labelled", "called", "hits"]].tolist() == [2, 2, 1]
    with pytest.raises(InputError, match="'error' is missing"):
        labelled_quality(told.drop(columns="error"), scores)
    with pytest.raises(InputError, match="not scored"):
        labelled_quality(told, scores[scores["sample_id"] == "s0"])
