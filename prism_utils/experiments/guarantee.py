"""What explanations say falsely, and what it costs to let none of it out (chapter 10).

Left out on purpose: how a claim is found and judged (`metrics.receipts`), how a text is replaced
(`decoding.audit`), and training (`facts`).
"""

from __future__ import annotations

import time
from typing import Any

import pandas as pd

from ..decoding import Explainer
from ..metrics.overlap import rouge
from ..metrics.receipts import REASONS, Auditor

FALSE = "false"
#: Rates of `claim_scores` in words.
NAMES = {
    FALSE: "any false statement",
    "lacking": "attribute that the item lacks",
    "foreign": "film from nowhere",
    "itself": "the item as its own reason",
    "other": "attribute that another film lacks",
    "unshared": "sharing that is none",
    "relation": "invented relation",
}
#: Ways to explain, as options of `Explainer.explain`.
WAYS: dict[str, dict[str, Any]] = {
    "as written": {},
    "titles shown": {"titles": "shown"},
    "retry": {"unsupported": "retry"},
    "floor": {"unsupported": "floor"},
}


def claim_scores(texts: pd.DataFrame, samples: pd.DataFrame, auditor: Auditor) -> pd.DataFrame:
    """Scores (0 or 1) of explanations by their audit: false, and each reason of `REASONS`.

    false: the text has a claim that nothing supports. A text of an item that the catalogue does
    not hold has only those claims that can be judged without it.
    """
    about = samples.set_index("sample_id").loc[texts["sample_id"]]
    asked = zip(texts["text"], about["history"], about["item_id"], strict=True)
    reasons = [{c.reason for c in audit.unsupported} for audit in auditor.audit_all(asked)]
    found = {FALSE: [float(bool(one)) for one in reasons]}
    found |= {reason: [float(reason in one) for one in reasons] for reason in REASONS}
    keys = texts[["sample_id", "system"]].reset_index(drop=True)
    return keys.assign(**found).melt(list(keys), var_name="metric")


def ways(
    explainer: Explainer, samples: pd.DataFrame, golden: pd.DataFrame, auditor: Auditor
) -> pd.DataFrame:
    """Each of `WAYS` over the same samples: what is false, what was replaced, and the price.

    One row a way: way, false, retried and floored (shares of the texts: with an unsupported claim,
    replaced by the next candidate and by the template), rougeL (mean, against `golden`, one text a
    sample), ms (milliseconds a text; the ways are asked in turns, three times, and the median
    counts), ratio (to the first).
    """
    explainer.explain(samples.head(8), unsupported="floor")  # what is loaded once is no price
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    told: dict[str, pd.DataFrame] = {}
    for _ in range(3):
        for way, options in WAYS.items():
            started = time.perf_counter()
            told[way] = explainer.explain(samples, **options)
            seconds[way].append(time.perf_counter() - started)
    rows = []
    for way, texts in told.items():
        scores = claim_scores(texts, samples, auditor)
        fallback = texts.get("fallback", pd.Series("", index=texts.index))
        overlap = rouge(texts[["sample_id", "system", "text"]], golden)
        rows.append(
            {
                "way": way,
                "false": scores.loc[scores["metric"] == FALSE, "value"].mean(),
                "retried": fallback.eq("retry").mean(),
                "floored": fallback.eq("floor").mean(),
                "rougeL": overlap.loc[overlap["metric"] == "rougeL", "value"].mean(),
                "ms": 1000 * pd.Series(seconds[way]).median() / len(samples),
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(ratio=table["ms"] / table["ms"].iloc[0])
