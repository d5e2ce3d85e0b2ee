"""Table 2 checked by arithmetic: sizes, memory, the bill of distillation; and a run beside it.

Left out on purpose: verdicts (`efficiency` has them), and whatever has to be timed.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import pandas as pd

from . import paper

TEACHER, STUDENT = "FLAN-T5-XXL", "Prism"  # as Table 2 calls them
_XXL, _BART = "flan-t5-xxl", "bart-base"
#: Data set -> users, and samples (training and test), as Table 1 has them.
USERS = {data: int(rows["users"].value) for data, rows in paper.TABLE_1.items()}
SAMPLES = {
    data: int(rows["train sequences"].value + rows["test sequences"].value)
    for data, rows in paper.TABLE_1.items()
}


@functools.cache
def count(name: str, tied: bool) -> int:
    """Parameters of a known shape, its output layer and input embedding one matrix or two."""
    from ..efficiency import parameter_count

    return parameter_count(name, tied=tied)


def parameters() -> pd.DataFrame:
    """Numbers of parameters, a row a model: printed, tied, untied (nan for the student)."""
    return pd.DataFrame(
        {
            "printed": [cells["Params"].value for cells in paper.TABLE_2.values()],
            "tied": [count(_XXL, True), count(_BART, True)],
            "untied": [count(_XXL, False), None],
        },
        index=[f"{TEACHER}, the teacher", "BART-Base, the student"],
    )


def user_tables() -> dict[str, int]:
    """Data set -> parameters of equation 5's table for its users."""
    from ..efficiency import user_table_parameters

    return {data: user_table_parameters(users) for data, users in USERS.items()}


def memory() -> pd.DataFrame:
    """Bytes of weights in GB and in GiB, the printed peak, and what either reading leaves over.

    Rows: teacher tied, teacher untied, student, and the student's user table for Yelp.
    """
    weights = pd.Series(
        {
            "teacher, tied, bfloat16": 2 * count(_XXL, True),
            "teacher, untied, bfloat16": 2 * count(_XXL, False),
            "student, float32": 4 * count(_BART, True),
            "student's user table, Yelp, float32": 4 * user_tables()["Yelp"],
        }
    )
    teacher, student = (cells["Peak GPU"].value for cells in paper.TABLE_2.values())
    printed = pd.Series([teacher, teacher, student, student], weights.index)
    sizes = {"GB": weights / 1e9, "GiB": weights / 2**30}
    return pd.DataFrame(
        {f"weights ({unit})": size for unit, size in sizes.items()}
        | {"printed peak (GB or GiB)": printed}
        | {f"left over (if {unit})": printed - size for unit, size in sizes.items()}
    )


def cache_tokens(gib: float) -> int:
    """Tokens, input and output together, whose keys and values the teacher holds in so many GiB."""
    from ..efficiency import CONFIGURATIONS, roofline

    width = roofline.shape_of(CONFIGURATIONS[_XXL]()).cache_width
    return int(gib * 2**30 / (2 * width))  # bfloat16: two bytes


def weight_ratios() -> pd.DataFrame:
    """Bytes of the teacher's weights in bfloat16 over those of the student with its user table.

    A row for each number of users, a column for each precision of the student and way of counting
    the teacher.
    """
    tables = {f"{data}, {USERS[data]:,} users": n for data, n in user_tables().items()}
    return pd.DataFrame(
        {
            f"student in {kind}, teacher {'tied' if tied else 'untied'}": {
                name: 2 * count(_XXL, tied) / (size * (count(_BART, True) + n))
                for name, n in ({"without users": 0} | tables).items()
            }
            for kind, size in (("float32", 4), ("bfloat16", 2))
            for tied in (True, False)
        }
    )


def bill(speeds: pd.DataFrame, prices: Mapping[str, float]) -> pd.DataFrame:
    """What it takes to explain all samples of Table 1: hours of one machine, and money.

    speeds: columns source, model, way, explanations_per_s. prices: of a machine's hour, by source.
    The first row is Table 2's teacher at its printed latency.
    """
    printed = {
        "source": "Table 2",
        "model": TEACHER,
        "way": "one by one, at the printed latency",
        "explanations_per_s": 1000 / paper.TABLE_2[TEACHER]["Latency"].value,
    }
    table = pd.concat([pd.DataFrame([printed]), speeds], ignore_index=True)[[*printed]]
    price, rate = table["source"].map(prices), table.pop("explanations_per_s")
    table["explanations a second"] = rate
    for data, samples in SAMPLES.items():
        table[f"{data} (hours)"] = samples / rate / 3600
        table[f"{data} (money)"] = table[f"{data} (hours)"] * price
    return table


def beside(sizes: pd.DataFrame, latency_ms: Mapping[str, float]) -> pd.DataFrame:
    """Table 2 and a run's models, a row each, in the same units.

    sizes: columns model, parameters, peak_bytes. latency_ms: of one explanation, by model.
    """
    heads = ("parameters (millions)", "latency (ms)", "peak memory (GiB)")
    rows = [
        ("paper", model, cells["Params"].value / 1e6, cells["Latency"].value,
         cells["Peak GPU"].value)
        for model, cells in paper.TABLE_2.items()
    ] + [
        ("this run", row.model, row.parameters / 1e6, latency_ms[row.model],
         row.peak_bytes / 2**30)
        for row in sizes.itertuples()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["source", "model", *heads])
