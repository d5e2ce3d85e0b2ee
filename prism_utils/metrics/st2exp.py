"""Statement precision, recall and F1: St2Exp-P, -R and -F1 of arXiv 2512.24366.

There a language model finds statements and judges them by the golden explanation. Here statements
are the claims of `receipts`, each counted once, and precision asks history, item and catalogue, so
that a true statement is not wrong for being another than the golden one. Left out on purpose: the
item's own title, which every explanation names, and praise; neither can be gamed (arXiv 2407.03572)
then. A text that lists every fact it can is not punished: its length is for other metrics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from .inputs import golden_texts, long_scores, samples_of
from .receipts import SUPPORTED, UNSUPPORTED, Audit, Auditor

#: st2exp_p: supported among the claims that can be judged. st2exp_r: of the golden explanation's
#: claims that are not unsupported, those that the text makes too. st2exp_f1: their harmonic mean.
METRICS = ("st2exp_p", "st2exp_r", "st2exp_f1")
#: unsupported: 1 for a text with an unsupported claim of whatever kind. itself: 1 for a text that
#: gives the item as a reason for itself.
CLAIMS = ("unsupported", "itself")
_ORDER = {UNSUPPORTED: 0, SUPPORTED: 2}  # of one claim made twice the worst verdict counts


def statements(audit: Audit) -> dict[tuple[str, str, str], str]:
    """Each distinct claim of a text, as (kind, attribute, value) -> its verdict.

    Made twice, a claim counts once, and as unsupported if it is so once. The item's own title is
    one only where it is given as a reason for itself.
    """
    found: dict[tuple[str, str, str], str] = {}
    for claim in audit.claims:
        if claim.kind == "title" and claim.item:
            continue
        key = (claim.kind, claim.attribute, claim.value)
        verdicts = found.get(key, claim.verdict), claim.verdict
        found[key] = min(verdicts, key=lambda verdict: _ORDER.get(verdict, 1))
    return found


class _Told(NamedTuple):
    """What one text claims, and whether anything in it is unsupported or its own reason."""

    claims: dict[tuple[str, str, str], str]
    unsupported: bool
    itself: bool


def score(
    explanations: pd.DataFrame,
    samples: pd.DataFrame,
    references: pd.DataFrame | None = None,
    *,
    auditor: Auditor,
) -> pd.DataFrame:
    """Scores of `CLAIMS` and st2exp_p, and with `references` of all `METRICS`, for each text.

    st2exp_p is nan where no claim can be judged, st2exp_r where the golden explanation claims
    nothing that can be supported; st2exp_f1 is nan where st2exp_r is, and 0 for a text that claims
    nothing. Raises `InputError` for an explanation without sample or reference.
    """
    about = samples_of(explanations, samples)
    told = _read(explanations["text"], about, auditor)
    judged = [[v for v in one.claims.values() if v in _ORDER] for one in told]
    precision = np.array([v.count(SUPPORTED) / len(v) if v else np.nan for v in judged])
    values = {
        "unsupported": np.array([one.unsupported for one in told]),
        "itself": np.array([one.itself for one in told]),
        "st2exp_p": precision,
    }
    if references is not None:
        golden = _read(golden_texts(explanations, references), about, auditor)
        values["st2exp_r"] = recall = np.array([*map(_recall, told, golden)])
        precision = np.nan_to_num(precision)
        total = precision + recall
        values["st2exp_f1"] = 2 * precision * recall / np.where(total == 0, 1, total)
    return long_scores(explanations, pd.DataFrame(values, dtype=float))


def _read(texts: Iterable[str], about: pd.DataFrame, auditor: Auditor) -> list[_Told]:
    """What each text claims; several of one sample that are alike are read once."""
    keys = list(zip(about["sample_id"], texts, strict=True))
    asked = zip(keys, about["history"], about["item_id"], strict=True)
    new = {key: (key[1], past, item) for key, past, item in asked}
    read = {}
    for key, audit in zip(new, auditor.audit_all(new.values()), strict=True):
        itself = any(claim.reason == "itself" for claim in audit.claims)
        read[key] = _Told(statements(audit), not audit.supported, itself)
    return [read[key] for key in keys]


def _recall(told: _Told, golden: _Told) -> float:
    wanted = {claim for claim, verdict in golden.claims.items() if verdict != UNSUPPORTED}
    return len(wanted & told.claims.keys()) / len(wanted) if wanted else float("nan")
