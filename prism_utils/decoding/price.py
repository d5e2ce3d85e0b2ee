"""What `titles="shown"` costs: the same requests with and without it, taking turns.

Left out: other options' costs, and what a backend costs, which `efficiency` measures.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

import pandas as pd

from ..errors import InputError
from ..students.checks import check_number
from ..students.inputs import whole
from . import TITLES, Explainer


def price(
    explainer: Explainer,
    samples: pd.DataFrame | None = None,
    *,
    batch_size: int = 1,
    seconds: float = 10.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Time `explain` with titles="any" and "shown" on the same requests, in a shuffled order.

    samples: a table to draw requests from; without one, they are drawn from the catalogue, which
    asks for more than users do. seconds: after which it ends, at least three rounds. Returns
    rounds; any_s and shown_s, medians of a batch; price, the median over rounds of shown over any,
    less 1, with its quartiles price_low and price_high; price_unbound, the same median over rounds
    of which no text changed (nan: there are none); price_mean, of the times of all rounds together;
    bound, the share of texts that "shown" changed. Raises `InputError` for fewer items than a
    history needs, and for no samples.
    """
    check_number("seconds", seconds, "[0, 1e6]")
    size, rng = whole("batch_size", batch_size, 1), random.Random(seed)
    shown = max(min(explainer.settings.max_history, 5), 1)
    items = explainer.items["item_id"].tolist()
    if samples is None and len(items) <= shown:
        raise InputError(f"items: {len(items)} are too few to draw a history of {shown} from")
    if samples is not None and samples.empty:
        raise InputError("samples: there are none; give a table with some")

    def requests() -> Any:
        if samples is not None:
            rows = [rng.randrange(len(samples)) for _ in range(size)]
            return samples.iloc[rows].assign(sample_id=[str(n) for n in range(size)])
        drawn = [rng.sample(items, shown + 1) for _ in range(size)]
        return [{"history": history, "item": item} for *history, item in drawn]

    def texts(asked: Any, titles: str) -> list[str]:
        told = explainer.explain(asked, titles=titles)
        return told["text"].tolist() if samples is not None else [one.text for one in told]

    for titles in TITLES:  # what is made once is made here
        texts(requests(), titles)
    times: dict[str, list[float]] = {titles: [] for titles in TITLES}
    changed: list[int] = []  # texts, of each round
    began = time.perf_counter()
    while len(times["any"]) < 3 or time.perf_counter() - began < seconds:
        asked, told = requests(), {}
        for titles in rng.sample(TITLES, len(TITLES)):
            start = time.perf_counter()
            told[titles] = texts(asked, titles)
            times[titles].append(time.perf_counter() - start)
        changed.append(sum(a != b for a, b in zip(told["any"], told["shown"], strict=True)))
    ratios = [b / a - 1 for a, b in zip(times["any"], times["shown"], strict=True)]
    unbound = [ratio for ratio, number in zip(ratios, changed, strict=True) if not number]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "batch_size": size,
        "rounds": len(ratios),
        "any_s": statistics.median(times["any"]),
        "shown_s": statistics.median(times["shown"]),
        "price": statistics.median(ratios),
        "price_low": low,
        "price_high": high,
        "price_unbound": statistics.median(unbound) if unbound else float("nan"),
        "price_mean": sum(times["shown"]) / sum(times["any"]) - 1,
        "bound": sum(changed) / (len(ratios) * size),
    }
