"""The embedded corpus: its facts are complete and agree with MovieLens, its users have tastes."""

from __future__ import annotations

import difflib
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prism_utils import corpora
from prism_utils.corpora import embedded
from prism_utils.errors import InputError
from prism_utils.tables import attribute_columns, check

GENRES = set(  # MovieLens' vocabulary but IMAX, which is a format
    "Action|Adventure|Animation|Children|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|Horror|"
    "Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western".split("|")
)
HEADER = "item_id,title,year,genre,director,actor,theme\n"
SIX_FILMS = HEADER + "".join(
    f"f{n},Film {n},{1990 + n},{genre},Director {n % 2},Actor {n}|Actor {n % 3},{theme}\n"
    for n, (genre, theme) in enumerate(
        [("Drama", "war"), ("Drama", "war"), ("Comedy", "music")] * 2, start=1
    )
)
# What users=2, interactions_per_user=3, min_interactions=2, seed=7 give on these six, everywhere.
PINNED = [
    ["u0001", "f2", 4.0, 919650445],
    ["u0001", "f4", 3.0, 919885910],
    ["u0001", "f5", 2.0, 919937803],
    ["u0001", "f1", 3.0, 920356513],
    ["u0002", "f5", 3.0, 855763027],
    ["u0002", "f3", 5.0, 855970306],
]


@pytest.fixture(scope="module")
def films() -> pd.DataFrame:
    return embedded.read_catalogue(embedded.CATALOGUE)


# The facts


def test_every_film_has_all_its_facts(films: pd.DataFrame) -> None:
    check(films, "items")
    assert attribute_columns(films) == list(embedded.KINDS)
    assert len(films) >= 420
    assert films["title"].str.casefold().is_unique
    assert films["year"].between(1900, 2018).all()
    assert films["genre"].map(lambda values: values and set(values) <= GENRES).all()
    assert (films["director"].map(len) >= 1).all()
    assert (films["actor"].map(len) == 2).all()
    assert films["theme"].map(len).between(1, 3).all()
    for kind in embedded.KINDS:
        assert films[kind].map(lambda values: len(set(values)) == len(values)).all()
        assert films[kind].map(lambda values: all(v == v.strip() for v in values)).all()


def test_themes_are_a_controlled_vocabulary(films: pd.DataFrame) -> None:
    uses = Counter(films["theme"].explode())
    assert 40 <= len(uses) <= 80
    assert min(uses.values()) >= 5, "a theme is there to be shared"
    assert all(theme == theme.lower() and len(theme.split()) <= 3 for theme in uses)
    twins = [
        pair
        for pair in combinations(sorted(uses), 2)
        if difflib.SequenceMatcher(None, *pair).ratio() > 0.9
    ]
    assert not twins


@pytest.mark.parametrize(
    "title",
    [
        "E.T. the Extra-Terrestrial",
        "Star Wars",
        "Star Wars: Episode I - The Phantom Menace",
        "The Thing",
        "Back to the Future",
        "American Pie",
        "Animal House",
        "Caddyshack",
        "Ferris Bueller's Day Off",
        "Sixteen Candles",
        "The Wizard of Oz",
        "The Shining",
        "The Adventures of Pinocchio",
    ],
)
def test_films_of_the_papers_examples_are_there(films: pd.DataFrame, title: str) -> None:
    assert title in set(films["title"])


def test_every_disagreement_with_movielens_is_explained(
    films: pd.DataFrame, shared_data: Path
) -> None:
    found = embedded.check_against_movielens(films, shared_data / "ml-latest-small/movies.csv")
    disagreements = set(zip(found["title"], found["field"], strict=True))
    assert disagreements == set(embedded.EXPLAINED)
    assert (found["field"] == "title").sum() <= 0.1 * len(films)


def test_check_against_movielens_lists_each_kind_of_disagreement(tmp_path: Path) -> None:
    movies = tmp_path / "movies.csv"
    movies.write_text(
        "movieId,title,genres\n"
        '1,"Boot, Das (Boat, The) (1981)",Action|War\n'
        "2,Seven (a.k.a. Se7en) (1995),Mystery|Thriller\n"
        '3,"Lock, Stock & Two Smoking Barrels (1998)",Comedy|Crime\n'
        "4,Sabrina (1954),Comedy\n"
        "5,Sabrina (1995),Comedy\n"
        "6,Amélie (2001),Comedy\n"
        "7,A film without a year,Comedy\n",
        encoding="utf-8",
    )
    items = pd.DataFrame(
        [
            ("a", "Das Boot", 1981, ["Action", "War"]),
            ("b", "Se7en", 1996, ["Mystery"]),
            ("c", "Lock, Stock and Two Smoking Barrels", 1998, ["Comedy", "Drama"]),
            ("d", "Sabrina", 1995, ["Comedy"]),
            ("e", "Amelie", 2001, ["Comedy"]),
            ("f", "Heat", 1995, ["Crime"]),
        ],
        columns=["item_id", "title", "year", "genre"],
    )
    found = embedded.check_against_movielens(items, movies)
    assert found.to_dict("split")["data"] == [
        ["b", "Se7en", "year", "1996", "1995"],
        ["c", "Lock, Stock and Two Smoking Barrels", "genre", "Comedy|Drama", "Comedy|Crime"],
        ["f", "Heat", "title", "Heat", ""],
    ]
    with pytest.raises(InputError, match=r"nowhere\.csv: no such file"):
        embedded.check_against_movielens(items, tmp_path / "nowhere.csv")
    movies.write_text("id,name\n")
    with pytest.raises(InputError, match=r"movies\.csv: line 1: column 'title' is missing"):
        embedded.check_against_movielens(items, movies)


# The users


def test_sizes_are_as_asked() -> None:
    corpus = corpora.load("embedded", films=100, users=50, interactions_per_user=12.34)
    interactions = check(corpus.interactions, "interactions")
    lengths = interactions.groupby("user_id").size()
    assert len(interactions) == 617
    assert len(lengths) == 50
    assert lengths.min() >= 5
    assert lengths.max() > 2 * lengths.median(), "a few users saw far more than most"
    assert len(corpus.items) == 100
    assert set(interactions["item_id"]) <= set(corpus.items["item_id"])
    assert (corpus.name, corpus.noun) == ("embedded", "film")
    assert "simulated" in corpus.note


@pytest.mark.parametrize("mean", [4, 4.5, 20, 57.5, 60])
def test_total_is_exact_up_to_the_limits(mean: float) -> None:
    corpus = embedded.load(
        films=60, users=30, interactions_per_user=mean, min_interactions=4, seed=3
    )
    lengths = corpus.interactions.groupby("user_id").size()
    assert lengths.sum() == round(30 * mean)
    assert lengths.between(4, 60).all()


def test_interactions_are_unique_and_ordered_in_time() -> None:
    interactions = embedded.load().interactions
    assert not interactions.duplicated(["user_id", "item_id"]).any()
    assert (interactions.groupby("user_id")["timestamp"].diff().dropna() > 0).all()
    assert interactions["timestamp"].min() >= pd.Timestamp("2019-01-01").timestamp()
    assert set(interactions["rating"]) == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_seed_decides() -> None:
    first, again, other = (embedded.load(users=20, seed=seed).interactions for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first["item_id"].equals(other["item_id"])


def test_result_does_not_depend_on_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "six.csv"
    path.write_text(SIX_FILMS)
    corpus = embedded.load(path, users=2, interactions_per_user=3, min_interactions=2, seed=7)
    assert corpus.interactions.to_dict("split")["data"] == PINNED


def _shared(interactions: pd.DataFrame, items: pd.DataFrame, kind: str) -> float:
    """Share of pairs of films of one user that have an attribute in common."""
    has = pd.get_dummies(items.set_index("item_id")[kind].explode()).groupby(level=0).max()
    alike = (has.to_numpy(float) @ has.to_numpy(float).T) > 0
    at = {item: row for row, item in enumerate(has.index)}
    pairs = [
        alike[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)]
        for rows in interactions["item_id"].map(at).groupby(interactions["user_id"]).agg(list)
    ]
    return float(np.concatenate(pairs).mean())


@pytest.mark.parametrize("kind", embedded.KINDS)
def test_tastes_show_in_what_users_saw(kind: str) -> None:
    tasteful, tasteless = (
        embedded.load(users=150, taste_concentration=strength) for strength in (2.0, 0.0)
    )
    by_taste = _shared(tasteful.interactions, tasteful.items, kind)
    by_chance = _shared(tasteless.interactions, tasteless.items, kind)
    assert by_taste > 1.2 * by_chance


def test_users_rate_what_they_like_higher() -> None:
    interactions = embedded.load(users=300, interactions_per_user=100).interactions
    rank = interactions.groupby("user_id").cumcount()
    early, late = interactions["rating"][rank < 5], interactions["rating"][rank > 100]
    assert early.mean() > late.mean() + 0.3


def test_scales_to_the_size_of_movielens_1m() -> None:
    corpus = embedded.load(users=6040, interactions_per_user=1_000_209 / 6040, min_interactions=20)
    assert len(corpus.interactions) == 1_000_209
    assert corpus.interactions["user_id"].nunique() == 6040
    assert not corpus.interactions.duplicated(["user_id", "item_id"]).any()


# Bad input


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"users": 0}, "users must be at least 1, found 0"),
        ({"films": 1}, "films must lie between 2 and"),
        ({"films": 10**6}, "films must lie between 2 and"),
        ({"min_interactions": 0}, "min_interactions must lie between 1 and"),
        ({"films": 10, "min_interactions": 11}, "min_interactions must lie .* the 10 films"),
        ({"interactions_per_user": 3.0}, "interactions_per_user must lie between"),
        ({"films": 10}, "interactions_per_user must lie .* the 10 films, found 30.0"),
        ({"interactions_per_user": float("nan")}, "interactions_per_user must lie between"),
        ({"taste_concentration": -1.0}, "taste_concentration must be 0 or more, found -1.0"),
        ({"taste_concentration": float("nan")}, "taste_concentration must be 0 or more"),
        ({"seed": -1}, "seed must be 0 or more, found -1"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        corpora.load("embedded", **parameters)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,title\n", "line 1: the columns must be item_id,title,year"),
        (HEADER, "at least two films to choose from are needed, found 0"),
        (HEADER + "f1,Big,1988\n", "line 2: 7 fields expected, found 3"),
        (SIX_FILMS + "f7,Big,1988,Drama,P,A|,war\n", "line 8: 'actor' is empty"),
        (SIX_FILMS + "f7,Big,88,Drama,P,A,war\n", "line 8: 'year' must have four digits"),
        (SIX_FILMS + "f7,Big,0000,Drama,P,A,war\n", "line 8: 'year' must have four digits"),
        (SIX_FILMS + "f7, ,1988,Drama,P,A,war\n", "line 8: 'title' is empty"),
        (SIX_FILMS + 'f7,"Big,1988,Drama,P,A,war\n', "line 8: a quote that neither opens a cell"),
        (HEADER + "f1,Big\0,1988,Drama,P,A,war\n", "line 2: holds a zero byte"),
        (SIX_FILMS + "f1,Big,1988,Drama,P,A,war\n", "line 8: item_id 'f1' .* already in line 2"),
        (SIX_FILMS + "f7,Film 3,1988,Drama,P,A,war\n", "line 8: title .* already in line 4"),
    ],
)
def test_malformed_catalogue_names_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.csv: " + message):
        embedded.load(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x0b"])
def test_a_line_break_inside_a_title_stays(tmp_path: Path, end: str) -> None:
    path = tmp_path / "mine.csv"
    broken = SIX_FILMS + f'f7,"Copper{end}Rain",1988,Drama,P,A,war\nf8,Big,88,Drama,P,A,war\n'
    path.write_bytes(broken.replace(",88,", ",1988,").encode())
    assert embedded.read_catalogue(path)["title"][6] == f"Copper{end}Rain"
    path.write_bytes(broken.encode())
    line = 8 + len(f"Copper{end}Rain".splitlines() if end in "\r\n" else [0])
    with pytest.raises(InputError, match=rf"line {line}: 'year' must have four digits"):
        embedded.read_catalogue(path)


def test_catalogue_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(HEADER.encode() + b"f1,Am\xe9lie,2001,Comedy,J,A|M,love\n")
    with pytest.raises(InputError, match=r"mine\.csv: line 2: 'title' is not utf-8 text"):
        embedded.load(path)


def test_missing_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv: no such file"):
        embedded.load(tmp_path / "gone.csv")
