"""The embedded corpus: real films as facts, and simulated users who choose and rate them.

Films stand in `catalogue.csv`; users, ratings and times are drawn here, all users at once. Left
out on purpose: social influence, drift of taste and film quality, because the study only needs
histories that show a taste. A user's *voice* is no business of the corpus: the grammar teacher
owns it, so that nothing in the interactions can betray it.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..tables.delimited import check_text, refuse_undecoded, text_rows
from ..tables.reading import read_file
from .base import Corpus

CATALOGUE = Path(__file__).with_name("catalogue.csv")
KINDS = ("genre", "director", "actor", "theme")
COLUMNS = ("item_id", "title", "year", *KINDS)

# kind -> (how many attributes a user likes, weight of a like). Only what at least two films share
# can be a taste; a director or actor has few films, so a like must weigh more to be seen in them.
TASTES = {
    "genre": (3, 1.0),
    "director": (3, 4.0),
    "actor": (4, 4.0),
    "theme": (4, 1.2),
    "decade": (1, 0.7),
}
POPULARITY_SPREAD = 0.8  # standard deviation of a film's log popularity
LENGTH_SPREAD = 0.8  # the same of a user's log number of interactions
GAP_SPREAD, GAP_MEDIAN = 1.5, 86_400.0  # log-normal pauses between two films, seconds
START_SPAN = 3 * 365 * 86_400  # users arrive within three years, seconds

# Disagreements with MovieLens latest-small that are right as they stand: (title, field) -> why.
EXPLAINED: dict[tuple[str, str], str] = {
    ("Star Wars", "title"): "released under this title; 'Episode IV - A New Hope' came later",
    ("The Empire Strikes Back", "title"): "commonly so called; there with 'Star Wars: Episode V'",
    ("Return of the Jedi", "title"): "commonly so called; there with 'Star Wars: Episode VI'",
    ("Romeo + Juliet", "title"): 'commonly so called; there with "William Shakespeare\'s"',
    ("Birdman", "title"): "commonly so called; there with its subtitle",
    ("V for Vendetta", "year"): "first shown in December 2005, in general release in 2006",
    ("300", "year"): "first shown in December 2006, in general release in 2007",
    ("Black Panther", "year"): "shown and released in 2018; 2017 there is a slip",
}


def load(
    path: str | Path | None = None,
    *,
    films: int | None = None,
    users: int = 400,
    interactions_per_user: float = 30.0,
    min_interactions: int = 5,
    taste_concentration: float = 2.0,
    seed: int = 0,
) -> Corpus:
    """Load the films and simulate the users; the same arguments always give the same corpus.

    Parameters
    ----------
    path : another catalogue with the columns of `catalogue.csv`, `|` between values of a list.
    films : number of films, a seeded choice from the catalogue; None takes all.
    users : number of users.
    interactions_per_user : mean number of films per user; the total is exactly
        `round(users * interactions_per_user)`, spread log-normally over the users.
    min_interactions : fewest films of a user.
    taste_concentration : how sharply choices follow tastes: the standard deviation, in log-odds,
        of a user's taste over the films. 0 leaves popularity alone.
    seed : of `numpy.random.default_rng`.

    Each user likes a few genres, directors, actors, themes and a decade, and chooses each next
    film among those not yet seen with probability softmax(taste + popularity). Ratings, 1 to 5,
    come from the same utility plus a user's leniency and noise; timestamps are seconds.
    Raises `InputError` for a parameter out of range or a malformed catalogue.

    >>> corpus = load(users=3, interactions_per_user=8)
    >>> len(corpus.interactions), corpus.noun
    (24, 'film')
    """
    items = read_catalogue(path or CATALOGUE)
    if films is not None and not 2 <= films <= len(items):
        raise InputError(f"films must lie between 2 and the {len(items)} there are, found {films}")
    if users < 1:
        raise InputError(f"users must be at least 1, found {users}")
    most = films or len(items)
    if not 1 <= min_interactions <= most:
        raise InputError(
            f"min_interactions must lie between 1 and the {most} films, found {min_interactions}"
        )
    if not min_interactions <= interactions_per_user <= most:
        raise InputError(
            f"interactions_per_user must lie between min_interactions ({min_interactions}) "
            f"and the {most} films, found {interactions_per_user}"
        )
    if not 0 <= taste_concentration < np.inf:
        raise InputError(f"taste_concentration must be 0 or more, found {taste_concentration}")
    if seed < 0:
        raise InputError(f"seed must be 0 or more, found {seed}")

    rng = np.random.default_rng(seed)
    if films is not None:
        kept = np.sort(rng.choice(len(items), films, replace=False))
        items = items.iloc[kept].reset_index(drop=True)
    utility = _utility(items, users, taste_concentration, rng)
    lengths = _lengths(users, interactions_per_user, min_interactions, len(items), rng)

    # Sorting by utility plus Gumbel noise is drawing one film after the other, without
    # replacement, by softmax: the order of the draws is the order in time.
    order = np.argsort(-(utility + rng.gumbel(size=utility.shape)), axis=1, kind="stable")
    chosen = np.arange(len(items)) < lengths[:, None]
    user, film = np.nonzero(chosen)[0], order[chosen]

    liking = (utility - utility.mean(1, keepdims=True)) / utility.std(1, keepdims=True)
    leniency = rng.normal(0, 0.4, users)
    noise = rng.normal(0, 0.6, len(user))
    rating = np.clip(np.rint(3.0 + 0.6 * liking[user, film] + leniency[user] + noise), 1, 5)

    width = max(4, len(str(users)))
    user_ids = np.array([f"u{n:0{width}d}" for n in range(1, users + 1)], dtype=object)
    interactions = pd.DataFrame(
        {
            "user_id": user_ids[user],
            "item_id": items["item_id"].to_numpy(dtype=object)[film],
            "rating": rating,
            "timestamp": _timestamps(user, lengths, int(items["year"].max()), rng),
        }
    )
    note = (
        f"{len(items)} real films; {users:,} simulated users with simulated tastes, "
        "choices, ratings and times"
    )
    return Corpus("embedded", interactions, items, "film", note)


def read_catalogue(path: str | Path) -> pd.DataFrame:
    """Read a catalogue into an items table; `InputError` names the file and the line."""
    path = Path(path)
    check_text(path)
    lines = text_rows(path)
    if tuple(next(lines, (1, []))[1]) != COLUMNS:
        raise InputError(f"{path}: line 1: the columns must be {','.join(COLUMNS)}")
    seen: dict[tuple[str, str], int] = {}
    rows: list[dict[str, Any]] = []
    for line, fields in lines:
        where = f"{path}: line {line}"
        if len(fields) != len(COLUMNS):
            raise InputError(f"{where}: {len(COLUMNS)} fields expected, found {len(fields)}")
        row: dict[str, Any] = {n: v.strip() for n, v in zip(COLUMNS, fields, strict=True)}
        refuse_undecoded(where, row.items(), "utf-8")
        for column in COLUMNS:
            if not all(value.strip() for value in row[column].split("|")):
                raise InputError(f"{where}: '{column}' is empty; every fact must be given")
        for column in ("item_id", "title"):
            alike = row[column]
            if column == "title":  # to the eye, whatever the code points
                alike = unicodedata.normalize("NFKC", alike).casefold()
            earlier = seen.setdefault((column, alike), line)
            if earlier != line:
                raise InputError(
                    f"{where}: {column} {row[column]!r} stands already in line {earlier}"
                )
        if not re.fullmatch(r"[1-9][0-9]{3}", row["year"]):
            raise InputError(f"{where}: 'year' must have four digits, found {row['year']!r}")
        row["year"] = int(row["year"])
        rows.append(row | {kind: [v.strip() for v in row[kind].split("|")] for kind in KINDS})
    if len(rows) < 2:
        raise InputError(f"{path}: at least two films to choose from are needed, found {len(rows)}")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def check_against_movielens(items: pd.DataFrame, movies_csv: str | Path) -> pd.DataFrame:
    """List where the catalogue disagrees with MovieLens' `movies.csv`.

    The rule: a film is found by its title (without case, accents and punctuation; MovieLens'
    alternative titles count; among namesakes the nearest year), its year is equal, and its genres
    are a subset of MovieLens'. Returns rows of item_id, title, field ("title", "year" or
    "genre"), ours, theirs; a title that is not found has an empty `theirs`.
    """
    file = read_file(movies_csv)
    known: dict[str, list[tuple[int, set[str]]]] = {}
    columns = (file.column(name).texts().to_pylist() for name in ("title", "genres"))
    for title, genres in zip(*columns, strict=True):
        dated = re.fullmatch(r"(.*) \((\d{4})\)\s*", title)
        if dated:
            for name in _names(dated[1]):
                known.setdefault(name, []).append((int(dated[2]), set(genres.split("|"))))
    found = []
    for film in items.itertuples(index=False):
        namesakes = known.get(_plain(film.title))
        if namesakes is None:
            found.append((film.item_id, film.title, "title", film.title, ""))
            continue
        year, genres = min(namesakes, key=lambda other: abs(other[0] - film.year))
        if year != film.year:
            found.append((film.item_id, film.title, "year", str(film.year), str(year)))
        if not genres.issuperset(film.genre):
            ours, theirs = "|".join(film.genre), "|".join(sorted(genres))
            found.append((film.item_id, film.title, "genre", ours, theirs))
    return pd.DataFrame(found, columns=["item_id", "title", "field", "ours", "theirs"])


def _plain(title: str) -> str:
    """A title without case, accents, spaces and punctuation ("&" read as "and")."""
    bare = unicodedata.normalize("NFKD", title.casefold().replace("&", "and"))
    return "".join(c for c in bare if c.isalnum())


def _names(title: str) -> set[str]:
    """All plain names in a MovieLens title: "Boot, Das (Boat, The)" gives dasboot, theboat."""
    parts = re.split(r"\s*\((?:a\.k\.a\. )?|\)", title)
    moved = [re.sub(r"^(.*), (The|A|An|Das|Der|Die|El|Il|La|Le|Les)$", r"\2 \1", p) for p in parts]
    return {_plain(name) for name in moved} - {""}


def _utility(
    items: pd.DataFrame, users: int, concentration: float, rng: np.random.Generator
) -> np.ndarray:
    """Log-odds of each film for each user, users x films: sparse taste plus popularity."""
    taste = np.zeros((users, len(items)))
    decades = items["year"].map(lambda year: [year // 10])
    for kind, (likes, weight) in TASTES.items():
        values = decades if kind == "decade" else items[kind]
        has = pd.get_dummies(values.explode()).groupby(level=0).max().to_numpy(dtype=float)
        has = has[:, has.sum(axis=0) > 1]
        # Smallest exponential keys: a draw without replacement, by number of films.
        keys = rng.exponential(size=(users, has.shape[1])) / has.sum(axis=0)
        liked = keys.argsort(axis=1).argsort(axis=1) < likes
        taste += (liked * rng.gamma(2.0, weight / 2, keys.shape)) @ has.T
    spread = taste.std(axis=1, keepdims=True)
    taste = (
        concentration * (taste - taste.mean(axis=1, keepdims=True)) / np.where(spread, spread, 1)
    )
    utility: np.ndarray = taste + rng.normal(0, POPULARITY_SPREAD, len(items))
    return utility


def _lengths(
    users: int, mean: float, fewest: int, most: int, rng: np.random.Generator
) -> np.ndarray:
    """Films per user: log-normal, clipped to [fewest, most], with the exact total."""
    total = round(users * mean)
    shape = np.exp(rng.normal(0, LENGTH_SPREAD, users))
    low, high = 0.0, most / shape.min()
    for _ in range(60):  # bisection: the clipped sum grows with the scale
        scale = (low + high) / 2
        if np.clip(scale * shape, fewest, most).sum() > total:
            high = scale
        else:
            low = scale
    exact = np.clip(low * shape, fewest, most)
    lengths = np.floor(exact).astype(np.int64)
    room = np.argsort(lengths - exact, kind="stable")[: total - lengths.sum()]
    lengths[room] += 1
    return lengths


def _timestamps(
    user: np.ndarray, lengths: np.ndarray, last_year: int, rng: np.random.Generator
) -> np.ndarray:
    """Seconds since 1970, increasing for each user, all after the last film came out."""
    opening = int(np.datetime64(f"{last_year + 1}-01-01", "s").astype(np.int64))
    start = rng.integers(0, START_SPAN, len(lengths))
    gap = np.ceil(GAP_MEDIAN * np.exp(rng.normal(0, GAP_SPREAD, len(user)))).astype(np.int64)
    elapsed = gap.cumsum()
    before = elapsed[lengths.cumsum() - lengths] - gap[lengths.cumsum() - lengths]
    seconds: np.ndarray = opening + start[user] + elapsed - before[user]
    return seconds
