"""A large catalogue to time metrics on: real titles and facts, cut up and put together anew.

Titles keep the lengths and words of real ones, so short and everyday titles are as common as they
are. Left out on purpose: a clock, and any tie between a title and its facts; nothing but speed and
false alarms can be read from such films.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import InputError
from ..tables import attribute_columns, attribute_lists, check
from .inputs import check_draws, check_least


def enlarge(items: pd.DataFrame, titles: int = 150_000, seed: int = 0) -> pd.DataFrame:
    """An items table of `titles` films with distinct titles, recombined from those of `items`.

    A title takes its length from one film; its words come from all, or are halves of two words.
    Kinds with many values (people) get new ones, a first and a last name of different ones;
    genres and themes stay. Raises `InputError` where `items` has too few words.
    """
    check(items, "items")
    check_least(1, titles=titles)
    check_draws(seed=seed)
    rng = np.random.default_rng(seed)
    split = [title.split() for title in items["title"]]
    words = sorted({word for title in split for word in title})
    pool = np.array(words + _recombined(words, 40 * len(words), rng, ""), dtype=object)
    lengths = rng.choice([len(title) for title in split], 2 * titles)
    drawn = np.split(rng.choice(pool, lengths.sum()), np.cumsum(lengths)[:-1])
    made = (" ".join(title) for title in drawn)
    names = list(dict.fromkeys(name[0].upper() + name[1:] for name in made))[:titles]
    if len(names) < titles:
        raise InputError(f"items: its titles' words make {len(names)} titles, not {titles}")
    facts: dict[str, object] = {}
    if "year" in items.columns:
        facts["year"] = rng.choice(items["year"], titles)
    for kind in attribute_columns(items):
        facts[kind] = _facts(attribute_lists(items[kind]), titles, rng)
    ids = [f"x{n}" for n in range(titles)]
    return pd.DataFrame({"item_id": ids, "title": names, **facts})


def _recombined(values: list[str], count: int, rng: np.random.Generator, at: str) -> list[str]:
    """`count` draws of a first part of one value and a last part of another; cut at `at`."""
    cut = [v.split(at, 1) if at else (v[: len(v) // 2], v[len(v) // 2 :]) for v in values]
    parts = [pair for pair in cut if len(pair) == 2 and all(pair)]
    if not parts:
        return []
    first, last = np.array(parts, dtype=object).T
    pairs = zip(rng.choice(first, count), rng.choice(last, count), strict=True)
    return list(dict.fromkeys(f"{a}{at}{b}" for a, b in pairs))


def _facts(column: pd.Series, count: int, rng: np.random.Generator) -> list[list[str]]:
    """As many values as a film of `column` has; kinds with many values grow with the films."""
    values = sorted({value for row in column for value in row})
    if len(values) > len(column) / 4:  # people; genres and themes stay the few they are
        values += _recombined(values, count // 3, rng, " ")
    sizes = rng.choice([len(row) for row in column], count)
    drawn = np.split(rng.choice(np.array(values, dtype=object), sizes.sum()), np.cumsum(sizes)[:-1])
    return [list(dict.fromkeys(row)) for row in drawn]


def random_samples(
    items: pd.DataFrame, samples: int, history: int = 50, seed: int = 0
) -> pd.DataFrame:
    """A samples table: `history` films and another one, drawn evenly, for one user each."""
    check_least(1, items=len(items), samples=samples)
    check_least(0, history=history)
    check_draws(seed=seed)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(items["item_id"].to_numpy(dtype=object), (samples, history + 1))
    return pd.DataFrame(
        {
            "sample_id": [f"s{n}" for n in range(samples)],
            "user_id": [f"u{n}" for n in range(samples)],
            "history": [row[1:].tolist() for row in drawn],
            "item_id": drawn[:, 0],
            "split": "test",
        }
    )
