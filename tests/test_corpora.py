"""Every source, on files of its format; and what each kind of bad input gets."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from prism_utils import corpora
from prism_utils.corpora import movielens, yelp
from prism_utils.errors import InputError
from prism_utils.sequences import make_samples
from prism_utils.tables import attribute_columns, check
from prism_utils.wording import attributes


def write(folder: Path, files: dict[str, str], encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding=encoding)
    return folder


LATEST = {
    "ratings.csv": "userId,movieId,rating,timestamp\n1,10,4.0,100\n1,20,3.5,90\n2,30,0.5,80\n",
    "movies.csv": (
        "movieId,title,genres\n"
        '10,"Matrix, The (1999)",Action|Sci-Fi\n'
        '20,"City of Lost Children, The (Cité des enfants perdus, La) (1995)",Drama|IMAX\n'
        "30,Babylon 5,(no genres listed)\n"
    ),
}
ONE_M = {
    "ratings.dat": "1::10::5::978300760\n1::20::3::978300750\n2::20::4::978300740\n",
    "movies.dat": "10::Misérables, Les (1995)::Drama|Musical\n20::Face/Off: X (1997)::Action\n",
}
HUNDRED_K = {
    "u.data": "196\t10\t3\t881250949\n186\t20\t5\t891717742\n",
    "u.item": (
        "10|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|1|1" + "|0" * 13 + "\n"
        "20|unknown||||1" + "|0" * 18 + "\n"
    ),
}
ENCODINGS = {"latest": "utf-8", "1m": "latin-1", "100k": "latin-1"}
RELEASES = {"latest": LATEST, "1m": ONE_M, "100k": HUNDRED_K}


# --- load -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("movielnes", {}, "unknown corpus 'movielnes': did you mean 'movielens'"),
        ("movielens", {"relase": "ml-1m"}, "no parameter 'relase': did you mean 'release'"),
        ("movielens", {"release": "ml-1mm"}, "unknown release 'ml-1mm': did you mean 'ml-1m'"),
        ("movielens", {"min_tag_users": "2"}, "'min_tag_users' must be int, found '2' \\(str\\)"),
        ("movielens", {"min_tag_users": True}, "'min_tag_users' must be int, found True"),
        ("custom", {"noun": 3}, "'noun' must be str, found 3"),
        ("embedded", {"users": 2.5}, "'users' must be int, found 2.5"),
    ],
)
def test_load_checks_names_and_types(name, parameters, message):
    with pytest.raises(InputError, match=message):
        corpora.load(name, **parameters)


def test_load_passes_parameters_on():
    corpus = corpora.load("embedded", users=3, interactions_per_user=8)  # an int is a float
    assert corpus.name == "embedded" and len(corpus.interactions) == 24


# --- MovieLens --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "title", "year"),
    [
        ("Matrix, The (1999)", "The Matrix", 1999),
        (
            "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
            "The City of Lost Children",
            1995,
        ),
        ("Bug's Life, A (1998) ", "A Bug's Life", 1998),
        ("American Tail, An (1986)", "An American Tail", 1986),
        ("Misérables, Les (1995)", "Les Misérables", 1995),
        ("Avventura, L' (a.k.a. Adventure, The) (1960)", "L'Avventura", 1960),
        ("Mariachi, El (1992)", "El Mariachi", 1992),
        ("Boot, Das (Boat, The) (1981)", "Das Boot", 1981),
        (
            "Lord of the Rings: The Two Towers, The (2002)",
            "The Lord of the Rings: The Two Towers",
            2002,
        ),
        ("Seven (a.k.a. Se7en) (1995)", "Seven", 1995),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009),
        ("Shoot (Loud (Very)) (Bang) (2001)", "Shoot", 2001),
        (
            "Birdman: Or (The Unexpected Virtue of Ignorance) (2014)",
            "Birdman: Or (The Unexpected Virtue of Ignorance)",
            2014,
        ),
        ("Fawlty Towers (1975-1979)", "Fawlty Towers", 1975),
        ("Death Note: Desu nôto (2006–2007)", "Death Note: Desu nôto", 2006),
        ("Big Bang Theory, The (2007-)", "The Big Bang Theory", 2007),
        ("Monsters, Inc. (2001)", "Monsters, Inc.", 2001),
        ("Paris, Texas (1984)", "Paris, Texas", 1984),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("1984 (1956)", "1984", 1956),
        ("Babylon 5", "Babylon 5", None),
        ("(1999)", "(1999)", None),
    ],
)
def test_titles_as_people_write_them(raw, title, year):
    assert movielens.split_title(raw) == (title, year)


def test_a_title_names_one_film():
    titles = ["Emma", "Heat", "Emma", "EMMA", "Emma", "Solo", "Solo"]
    years = [1996, 1995, 1996, 1996, 2020, None, None]
    assert movielens.unique_titles(titles, years) == [
        *("Emma", "Heat", "Emma (1996)", "EMMA (1996) (2)", "Emma (2020)", "Solo", "Solo (2)")
    ]


@pytest.mark.parametrize("release", RELEASES)
def test_movielens_releases_are_told_apart(tmp_path, release):
    corpus = corpora.load("movielens", write(tmp_path, RELEASES[release], ENCODINGS[release]))
    check(corpus.interactions, "interactions")
    check(corpus.items, "items")
    expected = {
        "latest": ("MovieLens latest", ["The Matrix", "The City of Lost Children", "Babylon 5"]),
        "1m": ("MovieLens 1M", ["Les Misérables", "Face/Off: X"]),
        "100k": ("MovieLens 100K", ["Toy Story", "unknown"]),
    }[release]
    assert (corpus.note.split(":")[0], list(corpus.items["title"])) == expected
    assert corpus.noun == "film" and attribute_columns(corpus.items) == ["genre"]
    genres = {
        "latest": [["Action", "Sci-Fi"], ["Drama"], []],
        "1m": [["Drama", "Musical"], ["Action"]],
        "100k": [["Animation", "Children's", "Comedy"], []],
    }[release]
    assert list(corpus.items["genre"]) == genres
    first = corpus.interactions.iloc[0].tolist()
    assert (
        first
        == {
            "latest": ["1", "10", 4.0, 100],
            "1m": ["1", "10", 5.0, 978300760],
            "100k": ["196", "10", 3.0, 881250949],
        }[release]
    )
    assert corpus.items["year"].isna().tolist()[-1] == (release != "1m")


def test_tags_become_themes(tmp_path):
    tags = [
        *((1, 10, "Time Travel"), (2, 10, "time  travel"), (1, 20, "TIME travel")),
        *((1, 10, "robots"), (1, 20, "robots"), (1, 10, "aliens"), (1, 20, "aliens")),
        *((1, 10, "zoo"), (1, 20, "zoo")),  # fourth by count, then alphabet, on both films
        (1, 10, "once"),  # on one film only
        *((1, 10, "boring"), (1, 20, "boring")),  # a verdict
        *((1, 10, "sci-fi"), (1, 20, "sci-fi")),  # a genre already
        *((1, 10, "one two three four"), (1, 20, "one two three four")),
        *((1, 30, ""), (2, 30, "robots")),
    ]
    text = "userId,movieId,tag,timestamp\n" + "".join(f"{u},{m},{t},0\n" for u, m, t in tags)
    folder = write(tmp_path, LATEST | {"tags.csv": text})
    assert list(corpora.load("movielens", folder).items["theme"]) == [
        *(["time travel", "aliens", "robots"], ["aliens", "robots", "time travel"], ["robots"])
    ]
    strict = corpora.load("movielens", folder, min_tag_users=2, min_tag_films=2, tags_per_film=1)
    assert list(strict.items["theme"]) == [["time travel"], ["robots"], ["robots"]]


@pytest.mark.parametrize(
    ("release", "file", "old", "new", "message"),
    [
        ("latest", "ratings.csv", "3.5", "good", "line 3: 'rating' must be a number, found 'good'"),
        ("latest", "ratings.csv", "2,30,", "two,30,", "line 4: 'userId' must be a whole number"),
        ("latest", "ratings.csv", ",0.5", "", "line 4: 4 fields expected .* found 3"),
        ("latest", "ratings.csv", "3.5", "", "line 3: 'rating' is empty"),
        ("latest", "ratings.csv", "rating,", "stars,", "line 1: column 'rating' is missing"),
        ("latest", "ratings.csv", "1,20", "1,99", "line 3: item '99' is not among the items"),
        ("latest", "ratings.csv", "1,20", "\n\n1,99", "line 5: item '99' is not among the items"),
        ("latest", "movies.csv", "30,Bab", "10,Bab", "line 4: duplicate item_id '10'"),
        ("latest", "movies.csv", "30,Bab", "thirty,Bab", "line 4: a film needs a numeric id"),
        ("latest", "movies.csv", "Babylon 5,", "", "line 4: 3 fields expected .* found 2"),
        ("1m", "ratings.dat", "1::20::3", "1::20:3", "line 2: 4 fields expected .* found 3"),
        ("1m", "ratings.dat", "1::20::3", "1:x:20::3", "line 2: 4 fields expected .* found 3"),
        ("1m", "ratings.dat", "::978300750", "::", "line 2: 'timestamp' is empty"),
        ("1m", "movies.dat", "::Action", "", "line 2: 3 fields expected, found 2"),
        ("100k", "u.data", "\t5\t", "\tfive\t", "line 2: 'rating' must be a number, found 'five'"),
        ("100k", "u.item", "20|unknown", "20", "line 2: 24 fields expected, found 23"),
    ],
)
def test_malformed_movielens(tmp_path, release, file, old, new, message):
    files = dict(RELEASES[release])
    assert old in files[file]
    files[file] = files[file].replace(old, new, 1)
    folder = write(tmp_path, files, ENCODINGS[release])
    with pytest.raises(InputError, match=f"{file}: {message}"):
        corpora.load("movielens", folder)


def test_wrong_movielens_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder; give the folder that holds a MovieLens"):
        corpora.load("movielens", tmp_path / "nowhere")
    folder = write(tmp_path / "a", {"notes.txt": ""})
    with pytest.raises(InputError, match=r"expected ratings.csv and movies.csv or .* notes.txt"):
        corpora.load("movielens", folder)
    with pytest.raises(InputError, match="is a file, not a folder"):
        corpora.load("movielens", folder / "notes.txt")
    folder = write(tmp_path / "b", {"ratings.dat": ""})
    with pytest.raises(InputError, match="movies.dat is missing beside ratings.dat"):
        corpora.load("movielens", folder)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252"])
@pytest.mark.parametrize("release", ["1m", "100k"])
def test_films_are_read_in_the_encoding_that_they_have(tmp_path, release, encoding):
    files = {n: t.replace("Toy Story", "Étoiles") for n, t in RELEASES[release].items()}
    corpus = corpora.load("movielens", write(tmp_path, files, encoding))
    assert corpus.items["title"][0] == {"1m": "Les Misérables", "100k": "Étoiles"}[release]


def test_films_in_two_encodings_or_none_are_refused_with_the_line(tmp_path):
    folder = write(tmp_path, ONE_M, "latin-1")
    films = (folder / "movies.dat").read_bytes()
    for more, message in (
        ("30::Amélie::Drama\n".encode(), "line 1: is not UTF-8 text, while line 3 is"),
        (b"30::A\x81::Drama\n", "line 3: is neither UTF-8 nor Latin-1 text"),
        (b"30::A\0::Drama\n", "line 3: holds a zero byte"),
    ):
        (folder / "movies.dat").write_bytes(films + more)
        with pytest.raises(InputError, match=f"movies.dat: {message}"):
            corpora.load("movielens", folder)
    folder = write(tmp_path / "csv", LATEST, "latin-1")
    with pytest.raises(InputError, match="movies.csv: line 3: 'title' is not utf-8 text"):
        corpora.load("movielens", folder)


def test_columns_of_csv_go_by_their_names(tmp_path):
    films = 'genres,imdb,title,movieId\nAction|Sci-Fi,7,"Matrix, The (1999)",10\nDrama,,Up,20\n'
    ratings = "timestamp,rating,movieId,userId\n100,4.0,10,1\n90,3.5,20,1\n"
    corpus = corpora.load(
        "movielens", write(tmp_path, {"movies.csv": films, "ratings.csv": ratings}, "utf-8-sig")
    )
    assert corpus.items["title"].tolist() == ["The Matrix", "Up"]
    assert corpus.items["genre"].tolist() == [["Action", "Sci-Fi"], ["Drama"]]
    assert corpus.interactions.iloc[0].tolist() == ["1", "10", 4.0, 100]
    write(tmp_path, {"movies.csv": films.replace("genres", "kinds")})
    with pytest.raises(InputError, match="movies.csv: line 1: column 'genres' is missing"):
        corpora.load("movielens", tmp_path)


def test_ids_are_what_the_file_has(tmp_path):
    files = {n: t.replace("10::", "0010::") for n, t in ONE_M.items()}
    corpus = corpora.load("movielens", write(tmp_path, files, "latin-1"))
    assert corpus.items["item_id"].tolist() == ["0010", "20"]
    write(tmp_path, {"ratings.dat": "1::007::5::1\n"})
    with pytest.raises(InputError, match="line 1: item '007' is not among the items"):
        corpora.load("movielens", tmp_path)


def test_the_files_of_10m_have_their_own_name(tmp_path):
    tags = {"tags.dat": "1::10::x::1\n", "ratings.dat": "1::10::4.5::1\n"}
    corpus = corpora.load("movielens", write(tmp_path, ONE_M | tags))
    assert corpus.note.startswith("MovieLens 10M: ") and corpus.interactions["rating"][0] == 4.5


@pytest.mark.parametrize(("release", "file"), [("latest", "ratings.csv"), ("1m", "ratings.dat")])
def test_a_release_without_ratings_is_refused(tmp_path, release, file):
    first = RELEASES[release][file].splitlines()[0] + "\n" if release == "latest" else ""
    folder = write(tmp_path, RELEASES[release] | {file: first}, ENCODINGS[release])
    with pytest.raises(InputError, match=f"{file}: holds no ratings"):
        corpora.load("movielens", folder)


def test_not_utf_8(tmp_path):
    folder = write(tmp_path, LATEST)
    (folder / "ratings.csv").write_bytes(LATEST["ratings.csv"].encode() + b"1,\xff,3,4\n")
    with pytest.raises(InputError, match="ratings.csv: line 5: 'movieId' is not utf-8 text"):
        corpora.load("movielens", folder)


def test_real_movielens(shared_data):
    corpus = corpora.load("movielens", shared_data / "ml-latest-small")
    assert len(corpus.interactions) == 100_836
    assert corpus.interactions["user_id"].nunique() == 610
    assert len(corpus.items) == 9_742 == corpus.items["title"].nunique()
    items = corpus.items.set_index("item_id")
    assert items.loc["2571", "title"] == "The Matrix"
    assert items.loc["2571", "genre"] == ["Action", "Sci-Fi", "Thriller"]
    assert not corpus.items["title"].str.contains(r", (?:The|A|An|La|Le|Les)$").any()
    assert corpus.items["year"].isna().sum() == 12
    themes = corpus.items["theme"].explode().dropna()
    assert themes.nunique() > 200 and not {"in netflix queue", "comedy"} & set(themes)


class GroupLens:
    """A server of archives whose first answers may be broken."""

    def __init__(self) -> None:
        self.archives: dict[str, bytes] = {}
        self.broken: list[str] = []  # what befalls the next requests
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                fate = outer.broken.pop(0) if outer.broken else ""
                body = outer.archives.get(self.path.removeprefix("/"))
                if fate == "error" or body is None:
                    self.send_error(503 if fate else 404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if fate == "cut" else body)

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as members:
        for name, text in files.items():
            members.writestr(name, text)
    return buffer.getvalue()


@pytest.fixture
def grouplens(monkeypatch) -> Iterator[GroupLens]:
    site = GroupLens()
    good = archive({f"ml-latest-small/{name}": text for name, text in LATEST.items()})
    site.archives["ml-latest-small.zip"] = good
    monkeypatch.setattr(movielens, "GROUPLENS", site.url)
    monkeypatch.setattr(movielens, "PAUSE", 0.0)
    monkeypatch.setitem(movielens.SHA256, "ml-latest-small", hashlib.sha256(good).hexdigest())
    yield site
    site.server.shutdown()
    site.server.server_close()


def test_download_retries_and_keeps(tmp_path, grouplens, capsys):
    grouplens.broken = ["error", "cut"]
    corpus = corpora.load("movielens", cache_dir=str(tmp_path / "cache"))
    assert len(corpus.items) == 3 and grouplens.requests == 3
    assert "ml-latest-small.zip: 100%" in capsys.readouterr().err
    corpora.load("movielens", cache_dir=str(tmp_path / "cache"))
    assert grouplens.requests == 3
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["ml-latest-small"]


def test_download_in_the_users_cache(tmp_path, grouplens, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    corpora.load("movielens")
    assert (tmp_path / "prism_utils" / "ml-latest-small" / "movies.csv").is_file()


@pytest.mark.parametrize("kind", ["changed", "missing", "escaping", "hollow"])
def test_bad_download_leaves_nothing(tmp_path, grouplens, monkeypatch, kind):
    bodies = {
        "changed": archive({"ml-latest-small/ratings.csv": "changed"}),
        "escaping": archive({"ml-latest-small/a": "", "../../evil.txt": "x"}),
        "hollow": archive({"elsewhere/ratings.csv": ""}),
    }
    if kind == "missing":
        grouplens.archives.clear()
    else:
        grouplens.archives["ml-latest-small.zip"] = bodies[kind]
    if kind in ("escaping", "hollow"):
        monkeypatch.setitem(
            movielens.SHA256, "ml-latest-small", hashlib.sha256(bodies[kind]).hexdigest()
        )
    message = {
        "changed": "in 4 attempts: its SHA-256 is .* unpack it yourself and give its folder",
        "missing": "in 4 attempts: .*404",
        "escaping": "'../../evil.txt' would leave the folder",
        "hollow": "holds no folder ml-latest-small",
    }[kind]
    with pytest.raises(InputError, match=message):
        corpora.load("movielens", cache_dir=str(tmp_path / "cache"))
    assert list(tmp_path.rglob("*")) == [tmp_path / "cache"]


# --- Yelp -------------------------------------------------------------------------------------


def yelp_files(reviews: list[object], businesses: list[object]) -> dict[str, str]:
    def lines(rows: list[object]) -> str:
        return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)

    return {yelp.REVIEWS: lines(reviews), yelp.BUSINESSES: lines(businesses)}


def review(user: str, business: str, date: str = "2018-07-07 22:09:11", stars: float = 4.0) -> dict:
    return {
        "review_id": f"{user}{business}{date}",
        "user_id": user,
        "business_id": business,
        "stars": stars,
        "useful": 0,
        "text": 'Said "great", then\nleft.',
        "date": date,
    }


BUSINESSES: list[object] = [
    {"business_id": "b1", "name": "Café Zoë", "city": "Tucson", "categories": "Cafes,  Bakeries"},
    {
        "business_id": "b2",
        "name": "Café Zoë",
        "city": "",
        "categories": None,
        "attributes": {"a": 1},
    },
]


def test_yelp(tmp_path):
    dates = ["2018-07-07 22:09:11", "1970-01-01 00:01:00", "1970-01-01 00:01:00"]
    reviews = [review("u1", b, d) for b, d in zip(["b1", "b2", "b1"], dates, strict=True)]
    folder = write(tmp_path, yelp_files([*reviews, "", review("u2", "b2", stars=1)], BUSINESSES))
    corpus = corpora.load("yelp", folder)
    check(corpus.interactions, "interactions")
    check(corpus.items, "items")
    assert corpus.noun == "business"
    assert corpus.interactions.to_numpy().tolist() == [
        ["u1", "b1", 4.0, 1531001351],
        ["u1", "b2", 4.0, 60],
        ["u1", "b1", 4.0, 60],
        ["u2", "b2", 1.0, 1531001351],
    ]
    assert list(corpus.items["title"]) == ["Café Zoë", "Café Zoë"]
    assert list(corpus.items["category"]) == [["Cafes", "Bakeries"], []]
    assert list(corpus.items["city"]) == [["Tucson"], []]
    assert list(make_samples(corpus.interactions)["history"]) == [["b2"], ["b2", "b1"]]
    kept = corpora.load("yelp", folder, min_interactions=2).interactions
    assert list(kept["user_id"]) == ["u1"] * 3 and list(kept.index) == [0, 1, 2]


def test_yelp_keeps_the_order_of_a_long_file(tmp_path):
    numbers = range(30_000)
    reviews: list[object] = [review("u", f"b{1 + n % 2}", stars=n) for n in numbers]
    corpus = corpora.load("yelp", write(tmp_path, yelp_files(reviews, BUSINESSES)))
    assert corpus.interactions["rating"].tolist() == list(numbers)


@pytest.mark.parametrize(
    "name",
    ["stars=9", "city=X/user_id=1", "date=2022-01-19", "set[1]", "a*b", "q?", "**", "[!a]", "~",
     "it's, a {set}", '"', "%41", "a;b"],
)  # fmt: skip
def test_a_folder_of_any_name_is_that_folder(tmp_path, name):
    other = yelp_files([review("someone", "b1")], [BUSINESSES[0] | {"name": "Another"}])
    for near in ("set1", "ab", "axb", "q1", "b"):
        write(tmp_path / near, other)
    write(tmp_path / name, yelp_files([review("u1", "b1")], BUSINESSES))
    corpus = corpora.load("yelp", tmp_path / name)
    assert corpus.interactions.to_numpy().tolist() == [["u1", "b1", 4.0, 1531001351]]
    assert corpus.items.iloc[0].tolist() == ["b1", "Café Zoë", ["Cafes", "Bakeries"], ["Tucson"]]


def test_categories_may_be_a_list(tmp_path):
    cells = [["Soups", "Fish, fried", None], [], "Soups, Fish", None, [["Soups"]]]
    shops = [BUSINESSES[0] | {"business_id": f"b{n}", "categories": c} for n, c in enumerate(cells)]
    corpus = corpora.load("yelp", write(tmp_path, yelp_files([review("u1", "b1")], shops)))
    wanted = [["Soups", "Fish, fried"], [], ["Soups", "Fish"], [], ["Soups"]]
    assert corpus.items["category"].tolist() == wanted


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"name": " "}, "line 2: 'title' must be more than blanks"),
        ({"name": None}, "line 2: 'name' is missing"),
        ({"name": ["x"]}, "line 2: 'title' must be text, found .'x'."),
        ({"name": "cut \ud83d"}, "line 2: 'name' holds half a character"),
        ({"categories": {"x": 1}}, "line 2: 'categories' must be text or a list, found {'x': 1}"),
        ({"city": 5}, "line 2: 'city' must be text or a list, found 5"),
    ],
)
def test_malformed_yelp_business(tmp_path, bad, message):
    shops = [BUSINESSES[0], BUSINESSES[1] | bad]
    with pytest.raises(InputError, match=f"business.json: {message}"):
        corpora.load("yelp", write(tmp_path, yelp_files([review("u1", "b1")], shops)))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"user_id": "u1", ', "review.json: line 2: not valid JSON"),
        (review("u1", "b1") | {"text": "cut \ud83d"}, "line 2: 'text' holds half a character"),
        (review(" ", "b1"), "line 2: 'user_id' is blank"),
        (review("u1", "b1") | {"stars": "inf"}, "line 2: 'rating' must be a number, found inf"),
        (review("u1", "b1") | {"stars": float("nan")}, "line 2: 'stars' is missing"),
        ('{"a": ' + "[" * 99_999, "line 2: is nested too deep"),
        ("[1]", "review.json: line 2: must be a JSON object, found list"),
        ({"business_id": "b1", "stars": 1, "date": "x"}, "line 2: 'user_id' is missing"),
        (review("u1", "b1", "yesterday"), "line 2: 'date' must be like .* found 'yesterday'"),
        (review("u1", "b1") | {"stars": "five"}, "line 2: 'stars' must be a number, found 'five'"),
        (review("u1", "b9"), "line 2: item 'b9' is not among the items"),
    ],
)
def test_malformed_yelp_review(tmp_path, bad, message):
    reviews = [review("u1", "b1"), bad, review("u1", "b2")]
    folder = write(tmp_path, yelp_files(reviews, BUSINESSES))
    with pytest.raises(InputError, match=message):
        corpora.load("yelp", folder)


def test_bad_yelp(tmp_path):
    where = "https://business.yelp.com/data/resources/open-dataset/ after accepting its licence"
    with pytest.raises(InputError, match=f"needs a path: .*{where}"):
        corpora.load("yelp")
    files = yelp_files([review("u1", "b1")], [*BUSINESSES, BUSINESSES[0]])
    folder = write(tmp_path, files)
    with pytest.raises(InputError, match="business.json: line 3: duplicate item_id 'b1'"):
        corpora.load("yelp", folder)
    with pytest.raises(InputError, match="min_interactions must be at least 1, found 0"):
        corpora.load("yelp", folder, min_interactions=0)
    for text, message in ((b"\x1f\x8b", "is compressed with gzip"), (b"", "holds no rows")):
        (folder / yelp.REVIEWS).write_bytes(text)
        with pytest.raises(InputError, match=f"review.json: {message}"):
            corpora.load("yelp", folder)
    (folder / yelp.REVIEWS).unlink()
    with pytest.raises(InputError, match=f"review.json is missing; .*{where}"):
        corpora.load("yelp", folder)


# --- custom -----------------------------------------------------------------------------------

SHOP = {
    "interactions.csv": "user_id,item_id,when\nann,007,x\nann,b2,y\nbob,b2,\n",
    "items.csv": (
        "item_id,title,year,author,genre\n"
        '007,"Emma, a ""novel""",1815,Jane Austen,romance|comedy\n'
        "b2,Good Omens,,Terry Pratchett | Neil Gaiman,\n"
    ),
}


def assert_is_shop(corpus: corpora.Corpus) -> None:
    check(corpus.interactions, "interactions")
    check(corpus.items, "items")
    assert corpus.noun == "book"
    assert list(corpus.interactions["item_id"]) == ["007", "b2", "b2"]
    assert list(corpus.items["title"]) == ['Emma, a "novel"', "Good Omens"]
    assert corpus.items["year"].tolist() == [1815, pd.NA]
    assert attribute_columns(corpus.items) == ["author", "genre"]
    assert list(corpus.items["author"]) == [["Jane Austen"], ["Terry Pratchett", "Neil Gaiman"]]
    assert list(corpus.items["genre"]) == [["romance", "comedy"], []]


def test_bookshop_as_csv(tmp_path):
    corpus = corpora.load("custom", write(tmp_path, SHOP), noun="book")
    assert_is_shop(corpus)
    assert list(corpus.interactions.columns) == ["user_id", "item_id"]


def test_bookshop_from_a_spreadsheet(tmp_path):
    """A byte-order mark, carriage returns, and a line break within a title."""
    files = {name: text.replace("\n", "\r\n") for name, text in SHOP.items()}
    assert_is_shop(corpora.load("custom", write(tmp_path, files, "utf-8-sig"), noun="book"))
    files["items.csv"] = files["items.csv"].replace("Emma, a", "Emma,\r\na") + "b2,Twice,1,,\r\n"
    with pytest.raises(InputError, match="items.csv: line 5: duplicate item_id 'b2'"):
        corpora.load("custom", write(tmp_path, files), noun="book")


def test_bookshop_as_parquet(tmp_path):
    interactions = pd.DataFrame({"user_id": ["ann", "ann", "bob"], "item_id": ["007", "b2", "b2"]})
    interactions.to_parquet(tmp_path / "interactions.parquet")
    items = pd.DataFrame(
        {
            "item_id": ["007", "b2"],
            "title": ['Emma, a "novel"', "Good Omens"],
            "year": pd.array([1815, None], dtype="Int64"),
            "author": ["Jane Austen", "Terry Pratchett|Neil Gaiman"],
            "genre": [["romance", "comedy"], None],
        }
    )
    items.to_parquet(tmp_path / "items.parquet")
    assert_is_shop(corpora.load("custom", tmp_path, noun="book"))
    interactions.iloc[[0, 1, 1, 2], [0, 1]].assign(item_id=["007", "b2", "b3", "b2"]).to_parquet(
        tmp_path / "interactions.parquet"
    )
    with pytest.raises(InputError, match="interactions.parquet: row 3: item 'b3' is not among"):
        corpora.load("custom", tmp_path, noun="book")
    interactions.assign(item_id=[1, 2, 3]).to_parquet(tmp_path / "interactions.parquet")
    items.assign(item_id=["1", "2"]).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(InputError, match="row 3: item '3' is not among"):  # numbers become text
        corpora.load("custom", tmp_path, noun="book")
    interactions.assign(rating=["a", "b", "c"]).to_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(InputError, match="parquet: row 1: 'rating' must be a number, found 'a'"):
        corpora.load("custom", tmp_path, noun="book")
    days = pd.to_datetime(["2020-01-01"] * 3)
    interactions.assign(timestamp=days).to_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(InputError, match="parquet: row 1: 'timestamp' must be a number, found dat"):
        corpora.load("custom", tmp_path, noun="book")
    interactions.drop(columns="user_id").to_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(InputError, match="interactions.parquet: column 'user_id' is missing"):
        corpora.load("custom", tmp_path, noun="book")
    (tmp_path / "interactions.parquet").write_text("user_id")
    with pytest.raises(InputError, match="interactions.parquet: not a readable Parquet file"):
        corpora.load("custom", tmp_path, noun="book")


def test_namesakes_are_told_apart_and_the_note_says_so(tmp_path):
    items = (
        "item_id,title,year\n007,Emma,1815\nb2,Emma,1996\nb3,EMMA,\nb4,E\u0301tude,\nb5,Étude,\n"
    )
    corpus = corpora.load("custom", write(tmp_path, SHOP | {"items.csv": items}))
    titles = ["Emma", "Emma (1996)", "EMMA (2)", "E\u0301tude", "Étude (2)"]
    assert corpus.items["title"].tolist() == titles
    assert corpus.note.endswith("titles that several items have: 3 got a year or a number")


def test_nanoseconds_are_exact(tmp_path):
    rows = "user_id,item_id,timestamp\nann,007,1609459200000000002\nann,b2,1609459200000000001\n"
    folder = write(tmp_path, SHOP | {"interactions.csv": rows})
    samples = make_samples(corpora.load("custom", folder).interactions)
    assert samples.iloc[-1]["item_id"] == "007"
    write(folder, {"interactions.csv": rows + "bob,b2,1.5\n"})
    with pytest.raises(InputError, match="row 1: 'timestamp' is too large to be exact"):
        make_samples(corpora.load("custom", folder).interactions)


def test_own_words_for_decades_are_kept(tmp_path):
    items = "item_id,title,year,decade\n007,Emma,1815,Regency\nb2,Omens,1990,Nineties\n"
    folder = write(tmp_path, SHOP | {"items.csv": items})
    assert attributes(corpora.load("custom", folder).items)["decade"] == [["Regency"], ["Nineties"]]
    write(folder, {"items.csv": items.replace(",decade", ",era").replace("1815", "-750")})
    made = attributes(corpora.load("custom", folder).items)
    assert made["decade"] == [[], ["1990s"]] and made["era"] == [["Regency"], ["Nineties"]]


def test_times_and_ratings_are_optional_numbers(tmp_path):
    rows = "user_id,item_id,rating,timestamp\nann,007,,2.5\nann,b2,4,1\n"
    folder = write(tmp_path, SHOP | {"interactions.csv": rows})
    interactions = corpora.load("custom", folder).interactions
    assert interactions["rating"].isna().tolist() == [True, False]
    assert list(make_samples(interactions)["item_id"]) == ["007"]
    write(folder, {"interactions.csv": rows.replace("2.5", "May 5th")})
    with pytest.raises(InputError, match="line 2: 'timestamp' must be a number, found 'May 5th'"):
        corpora.load("custom", folder)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("interactions.csv", "bob,b2", "bob,b3", "line 4: item 'b3' is not among the items"),
        ("interactions.csv", "bob,b2", ",b2", "line 4: 'user_id' is empty"),
        ("interactions.csv", "bob,b2,", "bob,b2", "line 4: 3 fields expected .* found 2"),
        (
            "interactions.csv",
            "user_id",
            "user",
            "line 1: column 'user_id' is missing .columns: user",
        ),
        ("items.csv", "b2,Good", "007,Good", "line 3: duplicate item_id '007'"),
        ("items.csv", "Good Omens", "", "line 3: 'title' is empty"),
        ("items.csv", "Good Omens", " ", "line 3: 'title' must be more than blanks"),
        ("items.csv", "1815", "inf", "line 2: 'year' must be a number, found 'inf'"),
        ("interactions.csv", "\nann,007,x\nann,b2,y\nbob,b2,", "", "holds no rows"),
        ("items.csv", "1815", "old", "line 2: 'year' must be a number, found 'old'"),
        ("items.csv", "author,genre", "author,author", "line 1: every column needs a name of its"),
    ],
)
def test_malformed_bookshop(tmp_path, file, old, new, message):
    assert old in SHOP[file]
    folder = write(tmp_path, SHOP | {file: SHOP[file].replace(old, new, 1)})
    with pytest.raises(InputError, match=f"{file}: {message}"):
        corpora.load("custom", folder)


def test_wrong_bookshop_folder(tmp_path):
    with pytest.raises(InputError, match="needs a path: the folder that holds interactions.csv"):
        corpora.load("custom")
    folder = write(tmp_path, {"items.csv": SHOP["items.csv"]})
    with pytest.raises(InputError, match=r"no interactions.csv; expected interactions.csv \(or"):
        corpora.load("custom", folder)
    write(folder, SHOP | {"items.parquet": ""})
    with pytest.raises(InputError, match="both items.csv and items.parquet are here"):
        corpora.load("custom", folder)
    with pytest.raises(InputError, match="noun is empty"):
        corpora.load("custom", folder, noun=" ")
    (folder / "items.parquet").unlink()
    (folder / "interactions.csv").unlink()
    (folder / "interactions.parquet").mkdir()
    with pytest.raises(InputError, match="interactions.parquet: is a folder; give a file"):
        corpora.load("custom", folder)
    (folder / "interactions.parquet").rmdir()
    write(folder, {"interactions.csv": ""})
    with pytest.raises(InputError, match=r"line 1: column 'user_id' is missing .columns: none"):
        corpora.load("custom", folder)
