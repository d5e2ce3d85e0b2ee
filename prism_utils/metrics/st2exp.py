"""Statement precision, recall and F1: St2Exp-P, -R and -F1 of arXiv 2512.24366.

There a language model finds statements and judges them by the golden explanation. Here statements
are the claims of `receipts`, each counted once, and precision asks history, item and catalogue, so
that a true statement is not wrong for being another than the golden one. Left out on purpose: the
item's own title, which every explanation names, and praise; neither can be gamed (arXiv 2407.03572)
then. A text that lists every fact it can is not punished: its length is for other metrics.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .inputs import golden_texts, long_scores, samples_of
from .receipts import SUPPORTED, UNSUPPORTED, Audit, Auditor

#: st2exp_p: supported among the claims that can be judged. st2exp_r: of the golden explanation's
#: claims that are not unsupported, those that the text makes too. st2exp_f1: their harmonic mean.
METRICS = ("st2exp_p", "st2exp_r", "st2exp_f1")
COMPARED = METRICS[1:]  # with the golden explanation
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


def score(
    explanations: pd.DataFrame,
    samples: pd.DataFrame,
    references: pd.DataFrame | None = None,
    *,
    auditor: Auditor,
    workers: int = 1,
) -> pd.DataFrame:
    """Scores of `CLAIMS` and st2exp_p, and with `references` of all `METRICS`, for each text.

    st2exp_p is nan where no claim can be judged, st2exp_r where the golden explanation claims
    nothing that can be supported; st2exp_f1 is nan where st2exp_r is, and 0 for a text that claims
    nothing. Raises `InputError` for an explanation without sample or reference.
    """
    about = samples_of(explanations, samples)

    def audits(texts: list[str]) -> list[Audit]:
        asked = zip(texts, about["history"], about["item_id"], strict=True)
        return auditor.audit_all(asked, workers=workers)

    told = audits(explanations["text"].tolist())
    made = [statements(audit) for audit in told]
    judged = [[v for v in claims.values() if v in _ORDER] for claims in made]
    precision = np.array([np.mean([v == SUPPORTED for v in j]) if j else np.nan for j in judged])
    values = {
        "unsupported": [float(not audit.supported) for audit in told],
        "itself": [float(any(c.reason == "itself" for c in audit.claims)) for audit in told],
        "st2exp_p": precision,
    }
    if references is not None:
        golden = [
            {claim for claim, verdict in statements(audit).items() if verdict != UNSUPPORTED}
            for audit in audits(golden_texts(explanations, references))
        ]
        both = zip(golden, made, strict=True)
        recall = np.array([len(g & m.keys()) / len(g) if g else np.nan for g, m in both])
        precision = np.nan_to_num(precision)
        total = precision + recall
        f1 = 2 * precision * recall / np.where(total == 0, 1, total)
        values |= {"st2exp_r": recall, "st2exp_f1": f1}
    return long_scores(explanations, pd.DataFrame(values, dtype=float))
