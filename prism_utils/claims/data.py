"""Judges of the data sets' numbers (Table 1) and of how they are split."""

from __future__ import annotations

import pandas as pd

from . import paper
from .evidence import PRINT, Evidence, Finding
from .register import claim
from .verdicts import (
    CONTRADICTED,
    INCONSISTENT,
    REPRODUCED,
    judged,
    untestable,
)

# Facts of the data sets as released; the profiles movielens-1m and yelp count them.
_MOVIELENS_RATINGS, _MOVIELENS_RATED, _YELP_REVIEWS = 1_000_209, 3_706, 6_990_280


@claim("movielens_sequences", chapter="01_preprocessing", label="table-1")
def _movielens_sequences(evidence: Evidence) -> Finding:
    printed = {name: int(cell.value) for name, cell in paper.TABLE_1["MovieLens-1M"].items()}
    samples, on = _MOVIELENS_RATINGS - printed["users"], "the released number of ratings"
    test = -(-samples // 10)
    if evidence.corpus == "ml-1m" and evidence.run.table("samples").is_file():
        split = pd.read_parquet(evidence.run.table("samples"), columns=["split"])["split"]
        samples, test, on = len(split), int((split == "test").sum()), evidence.on
    same = (samples - test, test) == (printed["train sequences"], printed["test sequences"])
    return Finding(
        REPRODUCED if same else CONTRADICTED,
        "One sample for every rating but each user's first, a tenth of them, rounded up, for test.",
        f"{samples - test:,} and {test:,}",
        on,
        f"{printed['train sequences']:,} and {printed['test sequences']:,}",
    )


@claim("movielens_items", chapter="01_preprocessing", label="table-1")
def _movielens_items(evidence: Evidence) -> Finding:
    rated, on = _MOVIELENS_RATED, "the released ratings"
    if evidence.corpus == "ml-1m" and evidence.run.table("interactions").is_file():
        rated, on = evidence.run.read("interactions")["item_id"].nunique(), evidence.on
    claim = paper.CLAIMS["movielens_items"]
    return Finding(
        judged(rated, rated, published=claim.value, resolution=claim.resolution, null=None),
        "The printed number is the size of the catalogue; not every film in it is rated.",
        f"{rated:,} films",
        on,
    )


@claim("yelp_sequences", chapter="01_preprocessing", label="table-1")
def _yelp_sequences(evidence: Evidence) -> Finding:
    printed = {name: int(cell.value) for name, cell in paper.TABLE_1["Yelp"].items()}
    samples = printed["train sequences"] + printed["test sequences"]
    rule = _YELP_REVIEWS - printed["users"]
    return Finding(
        REPRODUCED if rule == samples else INCONSISTENT,
        "Section 5.2 prepares both data sets alike, and the rule that gives MovieLens-1M's counts "
        "gives another number for Yelp: there is a filter that is not stated.",
        f"{rule:,} samples",
        "the released number of reviews",
    )


@claim("split_drawn", chapter="07c_splits", label="splits")
def _split_drawn(evidence: Evidence) -> Finding:
    why = "The paper does not say whether its split is random or in time."
    table = evidence.table("splits", "07c_splits")
    rows = table[
        (table["system"] == "prism") & (table["metric"] == "rougeL") & (table["group"] == "all")
    ].set_index("split")
    shown = "; ".join(
        f"{split} {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        for split, row in rows.iterrows()
    )
    return Finding(
        untestable("how the split was drawn is not stated"),
        f"{why} Prism's ROUGE-L under each split here. {evidence.caveat}",
        shown and f"ROUGE-L: {shown}",
        evidence.on,
    )


@claim("any_ranker", chapter="09_controls", label="rankers")
def _any_ranker(evidence: Evidence) -> Finding:
    printed = {name: int(cell.value) for name, cell in paper.TABLE_1["MovieLens-1M"].items()}
    samples = printed["train sequences"] + printed["test sequences"]
    every = samples == _MOVIELENS_RATINGS - printed["users"]
    verdict = untestable("no ranker took part" if every else "no ranker is named")
    why = (
        "Table 1's samples are all ratings but the users' first: what the paper explains is the "
        "item that was rated next, not what a ranker chose."
    )
    if not evidence.run.table("rankers").is_file():
        measured = f"{samples:,} samples, as many as next ratings" if every else ""
        return Finding(verdict, why, measured, PRINT)
    table = evidence.table("rankers", "09_controls")
    rows = table[(table["what"] == "explained by student") & (table["metric"] == "names_item")]
    shown = "; ".join(
        "{system} {value:.0%} [{low:.0%}, {high:.0%}]".format(**row)
        for row in rows.to_dict("records")
    )
    return Finding(
        verdict,
        f"{why} Here the student explains the first choice of several rankers: the share of "
        f"explanations that name it. {evidence.caveat}",
        shown,
        evidence.on,
    )
