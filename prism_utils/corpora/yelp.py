"""The Yelp Open Dataset (2022, JSON lines): reviews as interactions, businesses as items.

DuckDB streams the files; the gigabytes of review text are never held. Left out on purpose: tips,
check-ins, friends and the text of reviews, which the study does not show to any model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import duckdb
import pandas as pd

from ..errors import InputError
from ..tables.columns import is_nothing, shown, values_of
from ..tables.delimited import refuse_foreign
from ..tables.reading import json_record
from .base import Corpus, check_corpus, folder_of

REVIEWS = "yelp_academic_dataset_review.json"
BUSINESSES = "yelp_academic_dataset_business.json"
WHERE = (
    "download the JSON archive from https://business.yelp.com/data/resources/open-dataset/ after "
    f"accepting its licence, unpack it and give the folder that holds {REVIEWS} and {BUSINESSES}"
)
DATE = "%Y-%m-%d %H:%M:%S"


def load(path: str | Path | None = None, *, min_interactions: int = 1) -> Corpus:
    """Load reviews and businesses from the folder `path`, where the user has unpacked them.

    Interactions keep the order of the file; `rating` is the stars, `timestamp` the review's date
    in seconds. Items have `title` (a chain's branches share their name, as people write it),
    `category` and `city`. Only users with at least `min_interactions` reviews are kept (one pass;
    the paper's Table 1 implies a filter that it does not state).
    Raises `InputError` for a missing file, a malformed line, an id that stands twice or a review
    of an unknown business.
    """
    if path is None:
        raise InputError(f"corpus 'yelp' needs a path: {WHERE}")
    if min_interactions < 1:
        raise InputError(f"min_interactions must be at least 1, found {min_interactions}")
    folder = folder_of(path, f"{REVIEWS} and {BUSINESSES}")
    for name in (REVIEWS, BUSINESSES):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: {name} is missing; {WHERE}")
    interactions = _read(
        folder / REVIEWS,
        {"user_id": "VARCHAR", "business_id": "VARCHAR", "stars": "DOUBLE", "date": "VARCHAR"},
        "user_id, business_id AS item_id, stars AS rating, "
        f"CAST(epoch(try_strptime(date, '{DATE}')) AS BIGINT) AS timestamp",
    )
    items = _read(
        folder / BUSINESSES,
        {"business_id": "VARCHAR", "name": "JSON", "city": "JSON", "categories": "JSON"},
        "business_id AS item_id, name AS title, coalesce(categories, 'null') AS category, "
        "coalesce(city, 'null') AS city",
    )
    at = _place(folder / BUSINESSES)
    items["title"] = pd.Series([json.loads(cell) for cell in items["title"]], dtype=object)
    for column in ("category", "city"):
        items[column] = [_values(cell, column, row, at) for row, cell in enumerate(items[column])]
    check_corpus(interactions, items, _place(folder / REVIEWS), at)
    if min_interactions > 1:
        reviews = interactions["user_id"].map(interactions["user_id"].value_counts())
        interactions = interactions[reviews >= min_interactions].reset_index(drop=True)
    users = interactions["user_id"].nunique()
    note = (
        f"Yelp Open Dataset: {len(interactions):,} real reviews by {users:,} users; "
        f"{len(items):,} businesses"
    )
    return Corpus("yelp", interactions, items, "business", note)


def _values(cell: str, column: str, row: int, at: Callable[[int], str]) -> list[str]:
    """A field of a business as values: a JSON list's, or a text's, categories by commas."""
    value = json.loads(cell)
    if isinstance(value, str):
        value = value.split(",") if column == "category" else [value]
    if not isinstance(value, list | None):
        name = "categories" if column == "category" else column
        raise InputError(f"{at(row)}: '{name}' must be text or a list, found {shown(value)}")
    return values_of(value)


def _read(path: Path, columns: dict[str, str], select: str) -> pd.DataFrame:
    """`select` over the JSON lines of `path`, in the order of the file; no value may be null."""
    refuse_foreign(path)
    with duckdb.connect(config={"preserve_insertion_order": "true"}) as database:
        try:
            # a path is a pattern to DuckDB, and "key=value" in it a column, unless told otherwise
            query = (
                f"SELECT {select} FROM read_json(?, format='newline_delimited', columns=?, "
                "hive_partitioning=false)"
            )
            plain = re.sub(r"[*?[]", r"[\g<0>]", str(path.absolute()))
            rows = database.sql(query, params=[plain, columns])
            frame: pd.DataFrame = rows.to_arrow_table().to_pandas()
        except duckdb.Error as error:
            said = f"{path}: not readable as JSON lines ({str(error).splitlines()[0]})"
            raise InputError(_first_problem(path, columns) or said) from error
    if frame.isna().any(axis=None):
        raise InputError(_first_problem(path, columns) or f"{path}: a value is missing")
    if not len(frame):
        raise InputError(f"{path}: holds no rows")
    return frame


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        yield from ((n, line) for n, line in enumerate(file, start=1) if line.strip())


def _place(path: Path) -> Callable[[int], str]:
    """Row n of the file as "file: line m"; see `check_references`."""
    return lambda row: f"{path}: line {next(islice(_lines(path), row, None))[0]}"


def _first_problem(path: Path, columns: dict[str, str]) -> str | None:
    """What is wrong with the first malformed line: a slow pass, once reading has failed."""
    for number, line in _lines(path):
        where = f"{path}: line {number}"
        if line.startswith(b"\xef\xbb\xbf"):
            return f"{where}: begins with a byte-order mark; save the file as UTF-8 without one"
        row = json_record(where, line)
        for name in columns:
            value = row.get(name)
            if name in ("categories", "city"):
                continue
            if is_nothing(value):
                return f"{where}: '{name}' is missing"
            if name == "stars" and not isinstance(value, int | float):
                return f"{where}: 'stars' must be a number, found {value!r}"
            if name == "date":
                try:
                    datetime.strptime(str(value), DATE)
                except ValueError:
                    wanted = "must be like 2018-07-07 22:09:11"
                    return f"{where}: 'date' {wanted}, found {value!r}"
    return None
