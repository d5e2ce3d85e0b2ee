"""MovieLens as GroupLens publishes it: latest-small, 100K and 1M.

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
from collections.abc import Sequence
from itertools import chain, count, islice
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from ..errors import InputError, nearest
from .base import Corpus
from .reading import check_references, folder_of, place, read_delimited, text_rows

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
    header: bool
    delimiter: str
    films_delimiter: str
    encoding: str
    films_fields: int


LAYOUTS = (
    _Layout("MovieLens latest", "ratings.csv", "movies.csv", True, ",", ",", "utf-8-sig", 3),
    _Layout("MovieLens 100K", "u.data", "u.item", False, "\t", "|", "latin-1", 24),
    _Layout("MovieLens 1M", "ratings.dat", "movies.dat", False, "::", "::", "latin-1", 3),
)
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
    there are tags, `theme`. Ratings go from 0.5 to 5, timestamps are seconds.
    Raises `InputError` for a folder that is no release, a malformed row, an id that stands twice,
    a rating of an unknown film or a failed download.
    """
    folder = folder_of(path, "a MovieLens release") if path else download(release, cache_dir)
    layout = _layout(folder)
    interactions, items = _ratings(folder, layout), _films(folder, layout)
    check_references(
        interactions,
        items,
        place(folder / layout.ratings, layout.header, layout.delimiter, layout.encoding),
        place(folder / layout.films, layout.header, layout.films_delimiter, layout.encoding),
    )
    tags = folder / "tags.csv"
    if layout.header and tags.is_file():
        items["theme"] = themes(tags, items, min_tag_users, min_tag_films, tags_per_film)
    users = interactions["user_id"].nunique()
    note = (
        f"{layout.name}: {len(interactions):,} real ratings by {users:,} users; "
        f"{len(items):,} films"
    )
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


def _ratings(folder: Path, layout: _Layout) -> pd.DataFrame:
    if layout.header:
        names = ["userId", "movieId", "rating", "timestamp"]
    else:
        names = ["user_id", "item_id", "rating", "timestamp"]
    types = [pa.int64(), pa.int64(), pa.float64(), pa.int64()]
    table = read_delimited(
        folder / layout.ratings,
        dict(zip(names, types, strict=True)),
        header=layout.header,
        delimiter=layout.delimiter,
        encoding=layout.encoding,
    )
    frame = {
        "user_id": table[names[0]].cast(pa.string()),
        "item_id": table[names[1]].cast(pa.string()),
        "rating": table[names[2]],
        "timestamp": table[names[3]],
    }
    return pa.table(frame).to_pandas()


def _films(folder: Path, layout: _Layout) -> pd.DataFrame:
    path = folder / layout.films
    ids, titles, years, genres = [], [], [], []
    rows = text_rows(path, layout.films_delimiter, layout.encoding)
    for line, fields in islice(rows, int(layout.header), None):
        if len(fields) != layout.films_fields:
            raise InputError(
                f"{path}: line {line}: {layout.films_fields} fields expected, found {len(fields)}"
            )
        item_id, raw_title = fields[:2]
        if not item_id.isdecimal() or not raw_title.strip():
            raise InputError(
                f"{path}: line {line}: a film needs a numeric id and a title, "
                f"found {item_id!r} and {raw_title!r}"
            )
        title, year = split_title(raw_title)
        if layout.films_fields == 3:
            genre = fields[2].split("|")
        else:
            flags = zip(GENRES_100K, fields[-len(GENRES_100K) :], strict=True)
            genre = [name for name, flag in flags if flag == "1"]
        ids.append(item_id)
        titles.append(title)
        years.append(year)
        genres.append([name for name in genre if name and name not in NO_GENRES])
    year_column = pd.array(years, dtype="Int64")
    return pd.DataFrame(
        {
            "item_id": ids,
            "title": unique_titles(titles, years),
            "year": year_column,
            "genre": genres,
        }
    )


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


def unique_titles(titles: Sequence[str], years: Sequence[int | None]) -> list[str]:
    """Make each title name one film: a later namesake gets its year, or failing that a number.

    >>> unique_titles(["Sabrina", "Sabrina", "Emma", "Emma"], [1954, 1995, 1996, 1996])
    ['Sabrina', 'Sabrina (1995)', 'Emma', 'Emma (1996)']
    """
    taken: set[str] = set()
    unique = []
    for title, year in zip(titles, years, strict=True):
        dated = title if year is None else f"{title} ({year})"
        numbered = (f"{dated} ({number})" for number in count(2))
        name = next(n for n in chain((title, dated), numbered) if n.casefold() not in taken)
        taken.add(name.casefold())
        unique.append(name)
    return unique


def themes(
    path: Path, items: pd.DataFrame, min_users: int, min_films: int, per_film: int
) -> list[list[str]]:
    """The themes of each item, from the free-text tags in `path` (tags.csv).

    A tag, in lower case, is a theme if at least `min_users` users gave it, to at least
    `min_films` films, if it has at most three words, is none of the genres and does not stand in
    `not_themes.txt` (verdicts such as "boring", notes such as "in netflix queue", people). A film
    gets the `per_film` themes that most users gave it, ties in alphabetical order.
    """
    types = {"userId": pa.int64(), "movieId": pa.int64(), "tag": pa.string()}
    tags = read_delimited(path, types, nullable=["tag"]).to_pandas().dropna()
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
    by_film = {str(film): list(group) for film, group in counts.groupby("movieId")["tag"]}
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
