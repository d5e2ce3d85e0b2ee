"""MovieLens as GroupLens publishes it: latest-small, 100K, 1M, and what has the layout of these.

Titles become those that people write, genres and tags become attributes. Left out on purpose:
users' demographics (the study knows users by what they watched) and links to other catalogues.
Harper and Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
import pyarrow.compute as pc
from tqdm import tqdm

from ..errors import InputError, nearest
from ..tables.columns import Column, first
from ..tables.delimited import encoding_of, place, read_delimited, text_rows
from ..tables.reading import File, read_file
from .base import Corpus, check_corpus, folder_of, unique_titles

Release = Literal["ml-latest-small", "ml-100k", "ml-1m"]

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
# SHA-256 of the archives, as TensorFlow Datasets records them (url_checksums/movielens.txt).
SHA256 = {
    "ml-latest-small": "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
    "ml-100k": "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    "ml-1m": "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
}
ATTEMPTS = 4
PAUSE = 2.0  # seconds before the second attempt, doubled each time


class _Layout(NamedTuple):
    """What tells a release by its files, and how these are written."""

    name: str
    ratings: str
    films: str
    delimiter: str  # of ratings; "," comes with a header
    films_delimiter: str
    films_fields: int


LAYOUTS = (
    _Layout("MovieLens latest", "ratings.csv", "movies.csv", ",", ",", 3),
    _Layout("MovieLens 100K", "u.data", "u.item", "\t", "|", 24),
    _Layout("MovieLens 1M", "ratings.dat", "movies.dat", "::", "::", 3),
)
RATINGS = ("userId", "movieId", "rating", "timestamp")
FILMS = ("movieId", "title", "genres")
# The flags of u.item, in order.
GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
NO_GENRES = ("unknown", "(no genres listed)", "IMAX")  # the last is a format

ARTICLES = "The|A|An|La|Le|Les|L'|Il|Lo|I|El|Los|Las|Der|Die|Das|Un|Una|Une|Det|Den|De|En|Da"
_YEAR = re.compile(r"\s*\((\d{4})(?:\s*[-–]\s*(?:\d{4})?)?\)$")
_OTHER_TITLE = re.compile(r"\s+\((?:[^()]|\([^()]*\))*\)$")
_ARTICLE = re.compile(rf"^(.+), ({ARTICLES})$")
NOT_THEMES = Path(__file__).with_name("not_themes.txt")


def load(
    path: str | Path | None = None,
    *,
    release: Release = "ml-latest-small",
    cache_dir: str | None = None,
    min_tag_users: int = 1,
    min_tag_films: int = 2,
    tags_per_film: int = 3,
) -> Corpus:
    """Load the MovieLens release that the folder `path` holds, or download `release`.

    Parameters
    ----------
    path : the unpacked release; which one it is, its files say. None downloads.
    release : what to download when there is no `path`.
    cache_dir : where downloads are kept; default `prism_utils` in the user's cache folder.
    min_tag_users, min_tag_films, tags_per_film : which tags (latest only) become themes; see
        `themes`.

    Items have `title` (`split_title`, made unique by `unique_titles`), `year`, `genre` and, where
    there are tags, `theme`. Ratings go from 0.5 to 5, timestamps are seconds. Of `.csv` files the
    columns go by their names; the other files are UTF-8 or Latin-1, as their bytes say.
    Raises `InputError` for a folder that is no release, a malformed row, an id that stands twice,
    a rating of an unknown film or a failed download.
    """
    folder = folder_of(path, "a MovieLens release") if path else download(release, cache_dir)
    layout = _layout(folder)
    ratings = _ratings(folder / layout.ratings, layout)
    interactions = pd.DataFrame(
        {
            "user_id": _whole_ids(ratings.column("userId")),
            "item_id": _whole_ids(ratings.column("movieId")),
            "rating": _given(ratings.column("rating")).astype(float),
            "timestamp": _given(ratings.column("timestamp")),
        }
    )
    items, items_at = _films(folder / layout.films, layout)
    if not ratings.size:
        raise InputError(f"{folder / layout.ratings}: holds no ratings")
    check_corpus(interactions, items, ratings.at, items_at)
    items["title"] = unique_titles(items["title"].tolist(), items["year"].tolist())
    tags = folder / "tags.csv"
    if layout.delimiter == "," and tags.is_file():
        items["theme"] = themes(tags, items, min_tag_users, min_tag_films, tags_per_film)
    users = interactions["user_id"].nunique()
    name = "MovieLens 10M" if (folder / "tags.dat").is_file() else layout.name
    note = f"{name}: {len(interactions):,} real ratings by {users:,} users; {len(items):,} films"
    return Corpus("movielens", interactions, items, "film", note)


def _layout(folder: Path) -> _Layout:
    here = sorted(file.name for file in folder.iterdir())
    for layout in LAYOUTS:
        pair = (layout.ratings, layout.films)
        present = [file for file in pair if file in here]
        if len(present) == 2:
            return layout
        if present:
            missing = next(file for file in pair if file not in here)
            raise InputError(
                f"{folder}: {missing} is missing beside {present[0]}; both belong to {layout.name}"
            )
    expected = " or ".join(f"{layout.ratings} and {layout.films}" for layout in LAYOUTS)
    found = ", ".join(here[:8]) or "nothing"
    raise InputError(f"{folder}: no MovieLens release here; expected {expected}, found {found}")


def _ratings(path: Path, layout: _Layout) -> File:
    if layout.delimiter == ",":
        return read_file(path)
    table = read_delimited(path, RATINGS, delimiter=layout.delimiter)
    at = place(path, delimiter=layout.delimiter)
    columns = {name: Column(name, table[name].combine_chunks(), at, True) for name in RATINGS}
    return File(str(path), columns, table.num_rows, at)


def _whole_ids(column: Column) -> pd.Series:
    """Ids as the file has them, each a whole number."""
    ids = column.ids()
    row = first(pc.invert(pc.ascii_is_decimal(ids)))
    if row is not None:
        raise column.refusal(row, "a whole number")
    return ids.to_pandas()


def _given(column: Column) -> pd.Series:
    """Numbers, none of them missing."""
    numbers = column.times()
    row = first(numbers.isna())
    if row is not None:
        raise column.refusal(row, "a number")
    return numbers


def _films(path: Path, layout: _Layout) -> tuple[pd.DataFrame, Callable[[int], str]]:
    """The films, titles not yet made unique, and where row n, from 0, stands."""
    if layout.films_delimiter == ",":
        file = read_file(path)
        at = file.at
        columns = [file.column(name).texts().to_pylist() for name in FILMS]
    else:
        encoding = encoding_of(path)
        at = place(path, delimiter=layout.films_delimiter, encoding=encoding)
        rows = list(text_rows(path, layout.films_delimiter, encoding))
        for line, fields in rows:
            if len(fields) != layout.films_fields:
                wanted = f"{layout.films_fields} fields expected, found {len(fields)}"
                raise InputError(f"{path}: line {line}: {wanted}")
        columns = [[fields[n] for _, fields in rows] for n in (0, 1)]
        columns.append([_genres(fields[2:]) for _, fields in rows])
    films = []
    for row, (item_id, raw_title, genres) in enumerate(zip(*columns, strict=True)):
        if not item_id.isdecimal() or not raw_title.strip():
            raise InputError(
                f"{at(row)}: a film needs a numeric id and a title, "
                f"found {item_id!r} and {raw_title!r}"
            )
        kept = [name for name in genres.split("|") if name and name not in NO_GENRES]
        films.append((item_id, *split_title(raw_title), kept))
    items = pd.DataFrame(films, columns=["item_id", "title", "year", "genre"])
    return items.astype({"year": "Int64"}), at


def _genres(fields: list[str]) -> str:
    """The genres in a film's last fields: one field, or the flags of u.item."""
    if len(fields) == 1:
        return fields[0]
    flags = zip(GENRES_100K, fields[-len(GENRES_100K) :], strict=True)
    return "|".join(name for name, flag in flags if flag == "1")


def split_title(raw: str) -> tuple[str, int | None]:
    """A MovieLens title as people write it, and the year (a series' first; None if not given).

    An article goes back to the front; alternative and original titles in parentheses go.

    >>> split_title("City of Lost Children, The (Cité des enfants perdus, La) (1995)")
    ('The City of Lost Children', 1995)
    >>> split_title("Avventura, L' (a.k.a. Adventure, The) (1960) ")
    ("L'Avventura", 1960)
    >>> split_title("Babylon 5")
    ('Babylon 5', None)
    """
    title, year = raw.strip(), None
    dated = _YEAR.search(title)
    if dated and dated.start():
        title, year = title[: dated.start()], int(dated[1])
    # "Birdman: Or (The Unexpected Virtue of Ignorance)" is one title
    while (other := _OTHER_TITLE.search(title)) and not title[: other.start()].endswith(" Or"):
        title = title[: other.start()]
    if moved := _ARTICLE.match(title):
        title = moved[2] + ("" if moved[2].endswith("'") else " ") + moved[1]
    return title, year


def themes(
    path: Path, items: pd.DataFrame, min_users: int, min_films: int, per_film: int
) -> list[list[str]]:
    """The themes of each item, from the free-text tags in `path` (tags.csv).

    A tag, in lower case, is a theme if at least `min_users` users gave it, to at least
    `min_films` films, if it has at most three words, is none of the genres and does not stand in
    `not_themes.txt` (verdicts such as "boring", notes such as "in netflix queue", people). A film
    gets the `per_film` themes that most users gave it, ties in alphabetical order.
    """
    file = read_file(path)
    ids = {name: _whole_ids(file.column(name)) for name in ("userId", "movieId")}
    tags = pd.DataFrame(ids | {"tag": file.column("tag").texts().to_pandas()})
    tags["tag"] = tags["tag"].str.lower().str.split().str.join(" ")
    lines = NOT_THEMES.read_text(encoding="utf-8").splitlines()
    no_theme = {genre.lower() for genres in items["genre"] for genre in genres} | set(lines) | {""}
    tags = tags[~tags["tag"].isin(no_theme) & (tags["tag"].str.count(" ") < 3)]
    spread = tags.groupby("tag").agg({"userId": "nunique", "movieId": "nunique"})
    common = spread[(spread["userId"] >= min_users) & (spread["movieId"] >= min_films)].index
    counts = (
        tags[tags["tag"].isin(common)]
        .groupby(["movieId", "tag"])["userId"]
        .nunique()
        .reset_index()
        .sort_values(["movieId", "userId", "tag"], ascending=[True, False, True])
        .groupby("movieId")
        .head(per_film)
    )
    by_film = {film: list(group) for film, group in counts.groupby("movieId")["tag"]}
    return [by_film.get(item, []) for item in items["item_id"]]


def download(release: str, cache_dir: str | None = None) -> Path:
    """The folder of `release`, downloaded from GroupLens unless it is there already.

    The archive is fetched with retries and a progress bar, checked against its SHA-256, unpacked
    beside the cache and moved into place whole: what is interrupted or damaged leaves nothing.
    """
    if release not in SHA256:
        raise InputError(f"unknown MovieLens release {release!r}: {nearest(release, SHA256)}")
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "prism_utils"
    cache = Path(cache_dir) if cache_dir else default
    folder = cache / release
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f"{release}-") as work:
        archive = Path(work) / f"{release}.zip"
        _fetch(f"{GROUPLENS}/{release}.zip", archive, SHA256[release])
        unpacked = Path(work) / "unpacked"
        with zipfile.ZipFile(archive) as members:
            for name in members.namelist():
                if not (unpacked / name).resolve().is_relative_to(unpacked.resolve()):
                    raise InputError(f"{release}.zip: member {name!r} would leave the folder")
            members.extractall(unpacked)
        if not (unpacked / release).is_dir():
            raise InputError(f"{release}.zip: holds no folder {release}")
        (unpacked / release).rename(folder)
    return folder


def _fetch(url: str, target: Path, sha256: str) -> None:
    """Download `url` to `target`; tries again after a failed connection or a wrong checksum."""
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE * 2 ** (attempt - 1) if attempt else 0)
        try:
            digest = hashlib.sha256()
            with urllib.request.urlopen(url, timeout=30) as response, target.open("wb") as file:
                size = response.headers["Content-Length"]
                bar = tqdm(total=int(size) if size else None, unit="B", unit_scale=True)
                with bar:
                    bar.set_description(target.name)
                    while block := response.read(1 << 16):
                        file.write(block)
                        digest.update(block)
                        bar.update(len(block))
            if digest.hexdigest() == sha256:
                return
            problem = f"its SHA-256 is {digest.hexdigest()}, not {sha256}"
        except (OSError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
        target.unlink(missing_ok=True)
    raise InputError(
        f"could not download {url} in {ATTEMPTS} attempts: {problem}; "
        "unpack it yourself and give its folder as path"
    )
