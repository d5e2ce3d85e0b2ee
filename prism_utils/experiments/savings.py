"""What saving costs in quality, from records: fewer explanations, cheaper user tables.

Chapter 4c shows it beside what is saved. Left out on purpose: training anything (`mechanism` and
`user_table` do), and times (`efficiency`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .analysis import along, filled, filtering, from_records, over_seeds, slopes

#: A point's setting in `user_table`'s record -> the table's name.
TABLE_NAMES = {
    "base": "dense, full width",
    "user_table=sparse": "sparse, full width",
    "user_table=sparse, user_init=zero": "sparse, from zero",
    "user_table=sparse, user_rank=8": "sparse, rank 8",
    "user_table=sparse, user_rank=32": "sparse, rank 32",
}


def fewer_explanations(record: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, str]]:
    """The student's error rate by number of training explanations, of `mechanism`'s record.

    Rows as `plots.factor_levels` draws them (greedy and full sampling, means and 95% intervals
    over seeds, the teacher's mean), and for each decoding the slope in words.
    """
    at = record["provenance"]["parameters"]["base"]
    table = filtering(filled(from_records(record["tables"]["mechanism"])))
    told = along(table, "n_train", centre=at)
    told = told[told["decoding"].isin(["greedy", "sample@1.0"])]
    means = over_seeds(told, ["n_train", "decoding"], ["student"]).assign(factor="n_train")
    means = means.assign(level=means["n_train"].map("{:,.0f}".format), group=means["decoding"])
    said = {}
    for row in slopes(told, "n_train").itertuples():
        said[str(row.decoding)] = f"{100 * row.value:+.1f} points of errors for every doubling"
        if pd.notna(row.low):
            said[str(row.decoding)] += f" [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
    return means.assign(teacher=told["teacher"].mean()), said


def made(record: Mapping[str, Any]) -> str:
    """Where `user_table`'s record was made and how large it is, in a sentence."""
    of, given = record["provenance"], record["provenance"]["parameters"]
    at = given["base"]
    return (
        f"Recorded on {of['date'][:10]}, commit {of['commit']}, on "
        f"{of['device'].get('gpu') or of['device']['cpu']}, torch {of['versions']['torch']}: "
        f"{given['points']} trainings, {given['seeds']} seeds, {at['users']} simulated users, "
        f"{at['unknown_users']:.0%} of them without training data, {at['n_train']:,} training "
        f"samples, {at['steps']:,} steps."
    )


def scores(
    record: Mapping[str, Any], users: str, vectors: Mapping[str, str], metrics: Sequence[str]
) -> pd.DataFrame:
    """Scores of `user_table`'s record as `plots.score_intervals` draws them, one system a table.

    users: "known" or "unknown" to training. vectors: the record's name of a vector -> the name in
    column `vector`. Columns: system, vector, metric, value, low, high.
    """
    table = pd.DataFrame(record["tables"]["user_table"])
    table = table[(table["users"] == users) & table["metric"].isin(metrics)]
    table = table[table["system"].isin(vectors)]
    return pd.DataFrame(
        {
            "system": table["setting"].map(TABLE_NAMES),
            "vector": table["system"].map(vectors),
            **table[["metric", "value", "low", "high"]],
        }
    )


def differences(
    record: Mapping[str, Any], users: str, pair: str, metrics: Sequence[str]
) -> dict[str, str]:
    """Each table's differences, such as "own - base", in points of a hundred with 95% intervals.

    The last sentence says how many of all the intervals exclude 0.
    """
    table = scores(record, users, {pair: pair}, metrics)
    said = {
        str(name): "; ".join(
            f"{row.metric} {100 * row.value:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
            for row in rows.itertuples()
        )
        for name, rows in table.groupby("system", sort=False)
    }
    clear = int(((table["low"] > 0) | (table["high"] < 0)).sum())
    return said | {
        "Intervals that exclude 0": f"{clear} of these {len(table)}; by chance one in twenty would."
    }
