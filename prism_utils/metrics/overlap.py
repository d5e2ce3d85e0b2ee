"""ROUGE of explanations against references, in bulk (paper section 5.5, equation 7; Table 3).

Equal to the rouge-score package to the last bit, at several times its speed: its tokens, counted
here, with the longest common subsequence from rapidfuzz. Left out on purpose: other packages'
ROUGE (over n-gram sets), whose numbers cannot be compared with these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from rapidfuzz.distance import LCSseq
from rouge_score.tokenizers import DefaultTokenizer

from ..errors import InputError
from ..tables import check

METRICS = ("rouge1", "rouge2", "rougeL")


def rouge_pairs(
    references: Sequence[str], candidates: Sequence[str], *, stemmer: bool = False
) -> pd.DataFrame:
    """F1 of each candidate against its reference: columns rouge1, rouge2, rougeL, in 0..1.

    >>> rouge_pairs(["the cat sat"], ["the cat ran"]).round(3).to_dict("records")
    [{'rouge1': 0.667, 'rouge2': 0.5, 'rougeL': 0.667}]
    """
    tokenize = DefaultTokenizer(use_stemmer=stemmer).tokenize
    tokens = {text: tokenize(text) for text in {*references, *candidates}}
    pairs = [(tokens[r], tokens[c]) for r, c in zip(references, candidates, strict=True)]
    sizes = np.array([(len(r), len(c)) for r, c in pairs], dtype=float).reshape(-1, 2)
    scores = {}
    for n in (1, 2):
        grams = {
            text: Counter(zip(*(t[i:] for i in range(n)), strict=False))
            for text, t in tokens.items()
        }
        common = [
            (grams[r] & grams[c]).total() for r, c in zip(references, candidates, strict=True)
        ]
        scores[f"rouge{n}"] = _f1(common, np.maximum(sizes - n + 1, 0))
    scores["rougeL"] = _f1([LCSseq.similarity(r, c) for r, c in pairs], sizes)
    return pd.DataFrame(scores, columns=list(METRICS))


def _f1(common: Sequence[int], sizes: np.ndarray) -> np.ndarray:
    """F1 from the common units and the units of reference and candidate; 0 where nothing meets."""
    recall, precision = (np.asarray(common) / np.maximum(sizes, 1).T).reshape(2, -1)
    total = precision + recall
    product = 2 * precision * recall  # the order of rouge-score's own operations
    return np.divide(product, total, out=np.zeros_like(total), where=total > 0)


def rouge(
    explanations: pd.DataFrame, references: pd.DataFrame, *, stemmer: bool = False
) -> pd.DataFrame:
    """Scores rouge1, rouge2 and rougeL (F1, 0..1) of explanations against references.

    `references` are explanations of one system, such as the teacher's golden ones, joined by
    sample_id. Raises `InputError` when a sample has several references or an explanation none.
    """
    check(explanations, "explanations")
    check(references, "explanations", source="references")
    twice = references["sample_id"].duplicated()
    if twice.any():
        raise InputError(
            f"references: sample {references['sample_id'][twice].iloc[0]!r} stands more than "
            "once; keep one system"
        )
    golden = explanations["sample_id"].map(references.set_index("sample_id")["text"])
    if golden.isna().any():
        lost = explanations["sample_id"][golden.isna()]
        raise InputError(
            f"references: {len(lost)} of {len(explanations)} explanations have none, "
            f"first sample {lost.iloc[0]!r}; drop them or complete the references"
        )
    values = rouge_pairs(list(golden), list(explanations["text"]), stemmer=stemmer)
    wide = explanations[["sample_id", "system"]].reset_index(drop=True).join(values)
    return wide.melt(["sample_id", "system"], var_name="metric", value_name="value")
