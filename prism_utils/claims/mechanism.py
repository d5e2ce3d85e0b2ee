"""Judges of why the student should be better than its teacher, by chapter 8's and 9's trainings."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .evidence import Evidence, Finding, Missing, shown
from .register import claim
from .verdicts import (
    Part,
    ordering,
    untestable,
)


@claim("cold_start", chapter="09_controls", label="cold-start")
def _cold_start(evidence: Evidence) -> Finding:
    table = evidence.table("controls", "09_controls")
    rows = table[(table["setting"] == "base") & (table["system"] == "own")]
    shown = [
        f"{name} {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}] ({users} to training)"
        for metric, name in (("grounded", "grounded"), ("rougeL", "ROUGE-L"))
        for _, row in rows[rows["metric"] == metric].iterrows()
        for users in [row["users"]]
    ]
    return Finding(
        untestable("relevant and less personal are not defined"),
        "Users whom training saw and users whom it never saw, who get the zero vector, explained "
        f"by small students made for it. {evidence.caveat}",
        "; ".join(shown),
        evidence.on,
    )


@claim("compression_regularises", chapter="08_mechanism", label="capacity")
def _compression_regularises(evidence: Evidence) -> Finding:
    from .. import experiments

    found, centre, on = trainings(evidence)
    found = experiments.along(found, "size", centre=centre)
    slopes = experiments.slopes(found[found["decoding"] == "greedy"], "size")
    if slopes.empty or slopes["seeds"].iloc[0] < 2:
        return Finding(untestable("needs students of several sizes and seeds"), "", "", on)
    row = slopes.iloc[0]
    part = Part("greedy", row["value"], row["low"], row["high"])
    return Finding(
        ordering([part], [], "simulated"),
        "If small capacity were the filter, the share of the teacher's errors that a student "
        "repeats would grow with its size; other things being equal, per doubling of the student. "
        f"Students of {', '.join(sorted(found['size'].unique(), key=experiments.amount))} "
        "parameters, trained from scratch on a grammar whose errors are simulated.",
        shown([part], 4),
        on,
    )


def trainings(evidence: Evidence) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """Chapter 8's trainings, of the run's own record or the book's.

    One row a training and decoding, as `experiments.filtering` gives them; the point that they
    vary around; what they were made on.
    """
    from .. import experiments

    record = evidence.larger("mechanism", by="points")
    if not record:
        raise Missing("08_mechanism")
    made = record["provenance"]
    given, device = made["parameters"], made["device"]
    table = experiments.filled(experiments.from_records(record["tables"]["mechanism"]))
    on = f"{given['points']} trainings (grid {given['grid']}), {device.get('gpu') or device['cpu']}"
    return experiments.filtering(table), given["base"], on
