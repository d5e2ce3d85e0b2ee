"""Judges of what the texts are worth: Table 3's automatic metrics, ROUGE's pitfall, Table 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from . import paper
from .evidence import Evidence, Finding, least, shown
from .register import claim
from .verdicts import (
    DIRECTION,
    REPRODUCED,
    Part,
    judged,
    ordering,
    untestable,
)

_COLUMN_OF = {"rougeL": "ROUGE-L", "gptscore_judge": "GPTScore", "bertscore_f1": "BS-F1"}
ROW_OF = {
    "prism": "Prism (Full)", "prism-no-user": "Prism (w/o User)", "att2seq": "Att2Seq",
    "pepler": "PEPLER", "bart-zero-shot": "BART-Base", "teacher": "FLAN-T5-XXL",
}  # fmt: skip
_REFERENCE_METRICS = ("rougeL", "bertscore_f1", "gptscore_judge")


def _difference(table: pd.DataFrame, a: str, b: str, metric: str, sign: int = 1) -> Part | None:
    """a minus b (sign 1) or b minus a (-1) from a table of paired comparisons, in either order."""
    for first, second, turn in ((a, b, sign), (b, a, -sign)):
        rows = table[(table["system_a"] == first) & (table["system_b"] == second)]
        rows = rows[rows["metric"] == metric]
        if len(rows):
            row = rows.iloc[0]
            low, high = sorted((turn * row["low"], turn * row["high"]))
            return Part(metric, turn * row["difference"], low, high, row["p_holm"])
    return None


def _printed_differences(a: str, b: str, metrics: Sequence[str]) -> str:
    """a minus b in Table 3: Yelp, then MovieLens-1M."""
    told = []
    for metric in metrics:
        column, digits = _COLUMN_OF[metric], 2 if metric == "gptscore_judge" else 3
        values = [
            models[ROW_OF[a]][column].value - models[ROW_OF[b]][column].value
            for models in paper.TABLE_3.values()
        ]
        told.append(f"{column} " + "/".join(f"{v:+.{digits}f}" for v in values))
    return "; ".join(told)


def _compared(
    evidence: Evidence, a: str, b: str, metrics: Sequence[str], why: str, sign: int = 1
) -> Finding:
    """a minus b in all `metrics`, from the run's paired comparisons."""
    published = _printed_differences(a, b, metrics) if set(metrics) <= set(_COLUMN_OF) else ""
    table = evidence.table("comparisons", "07_evaluation", published)
    first, second = (evidence.teacher if name == "teacher" else name for name in (a, b))
    found = {metric: _difference(table, first, second, metric, sign) for metric in metrics}
    return _ordered(evidence, found, f"{why} Users resampled, Holm's correction.", published)


def _ordered(
    evidence: Evidence, found: dict[str, Part | None], why: str, published: str
) -> Finding:
    """The finding of "all these differences are positive"; None was not measured."""
    parts = [part for part in found.values() if part is not None]
    missing = [name for name, part in found.items() if part is None]
    if not parts:
        verdict = untestable("this run has not both systems")
        return Finding(verdict, f"{why} {evidence.caveat}", "", evidence.on, published)
    if missing:
        why += f" Not measured: {', '.join(missing)}."
    return Finding(
        ordering(parts, missing, evidence.setting),
        f"{why} All: {shown(parts)}. {evidence.caveat}",
        least(parts),
        evidence.on,
        published,
    )


def _another_take(evidence: Evidence, metric: str, published: str) -> pd.DataFrame | None:
    """Every system's mean of `metric`, the teacher's by another text than its golden one.

    A teacher that gives the same text twice scores 1 against itself by construction; chapter 5
    lets the grammar speak again. None: this teacher has nothing but its golden texts.
    """
    table = evidence.table("pitfall_ranking", "05_rouge_pitfall", published)
    rows = table[table["metric"] == metric].set_index("system")
    return rows if evidence.teacher in rows.index and len(rows) > 1 else None


_ITSELF = Finding(
    untestable("this teacher is its own reference"),
    "A teacher that writes the same text twice scores 1 against itself, by construction.",
)


@claim("semantic_metrics", chapter="05_rouge_pitfall", label="two-orders")
def _semantic_metrics(evidence: Evidence) -> Finding:
    found: dict[str, Part | None] = {"bertscore_f1": None, "gptscore_judge": None}
    published = _printed_differences("prism", "teacher", tuple(found))
    for metric in found:
        rows = _another_take(evidence, metric, published)
        if rows is not None and "prism" in rows.index:
            student, teacher = rows.loc["prism"], rows.loc[evidence.teacher]
            found[metric] = Part(  # the widest interval that the two leave
                metric,
                student["value"] - teacher["value"],
                student["low"] - teacher["high"],
                student["high"] - teacher["low"],
            )
    if not any(found.values()):
        return replace(_ITSELF, on=evidence.on, published=published)
    why = "Prism minus another take of the teacher; interval from both systems' own."
    return _ordered(evidence, found, why, published)


@claim("teacher_highest_rouge", chapter="05_rouge_pitfall", label="two-orders")
def _teacher_highest_rouge(evidence: Evidence) -> Finding:
    printed = [models["FLAN-T5-XXL"]["ROUGE-L"].value for models in paper.TABLE_3.values()]
    published = "ROUGE-L " + "/".join(f"{value:.3f}" for value in printed)
    rows = _another_take(evidence, "rougeL", published)
    if rows is None:
        return replace(_ITSELF, on=evidence.on, published=published)
    rank = rows.loc[evidence.teacher]
    first = Part("rank 1", 1.5 - rank["rank"], 1.5 - rank["rank_high"], 1.5 - rank["rank_low"])
    return Finding(
        ordering([first], [], evidence.setting),
        "Rank of another take of the teacher by ROUGE-L against its golden texts; users resampled. "
        f"{evidence.caveat}",
        f"rank {rank['rank']:.3g} [{rank['rank_low']:.3g}, {rank['rank_high']:.3g}] of {len(rows)}",
        evidence.on,
        published,
    )


@claim("beats_att2seq", chapter="07_evaluation", label="comparisons")
def _beats_att2seq(evidence: Evidence) -> Finding:
    return _compared(evidence, "prism", "att2seq", _REFERENCE_METRICS, "Prism minus Att2Seq.")


@claim("beats_pepler", chapter="07_evaluation", label="comparisons")
def _beats_pepler(evidence: Evidence) -> Finding:
    return _compared(evidence, "prism", "pepler", _REFERENCE_METRICS, "Prism minus PEPLER.")


@claim("finetuning_needed", chapter="07_evaluation", label="comparisons")
def _finetuning_needed(evidence: Evidence) -> Finding:
    why = "Prism minus zero-shot BART-Base, which needs pretrained weights."
    return _compared(evidence, "prism", "bart-zero-shot", _REFERENCE_METRICS, why)


@claim("user_vector_helps", chapter="07_evaluation", label="comparisons")
def _user_vector_helps(evidence: Evidence) -> Finding:
    why = "Prism minus Prism without the user's vector."
    return _compared(evidence, "prism", "prism-no-user", _REFERENCE_METRICS, why)


def _filters(evidence: Evidence, metric: str) -> Finding:
    why = "Teacher's share minus Prism's, as the grounding metric sees them."
    return _compared(evidence, "prism", "teacher", [metric], why, sign=-1)


@claim("student_filters", chapter="07_evaluation", label="comparisons")
def _student_filters(evidence: Evidence) -> Finding:
    return _filters(evidence, "foreign_title")


@claim("student_filters_relations", chapter="07_evaluation", label="comparisons")
def _student_filters_relations(evidence: Evidence) -> Finding:
    return _filters(evidence, "unsupported_relation")


@claim("student_filters_attributes", chapter="07_evaluation", label="comparisons")
def _student_filters_attributes(evidence: Evidence) -> Finding:
    return _filters(evidence, "wrong_attribute")


@claim("decoupling", chapter="07b_real_text", label="real-text")
def _decoupling(evidence: Evidence) -> Finding:
    verdict = untestable("the paper compares no coupled system")
    why = "Section 5.4 sets coupled systems aside, so the paper shows nothing for this claim."
    record = evidence.records.get("xrec_yelp", {})
    table = pd.DataFrame(record.get("comparisons", []))
    parts = []
    for split, rows in table.groupby("split") if len(table) else ():
        for metric, name in (("rougeL", "ROUGE-L"), ("rougeL_lift", "its lift")):
            part = _difference(rows, "prism", "xrec", metric)
            if part is not None:
                parts.append(part._replace(label=f"{split}: {name}"))
    if not parts:
        return Finding(verdict, why)
    return Finding(
        verdict,
        f"{why} On real text: ROUGE-L of a small Prism minus that of XRec, a coupled system, on "
        "the same pairs, and the same of what each adds to its texts against other pairs' "
        "references (lift). It compares two implementations and not two paradigms.",
        shown(parts),
        f"record xrec_yelp: {record.get('date', '')[:10]}",
    )


@claim("rouge_misleads", chapter="05_rouge_pitfall", label="minimal-pairs")
def _rouge_misleads(evidence: Evidence) -> Finding:
    table = evidence.table("pitfall_pairs", "05_rouge_pitfall")
    rows = table[table["metric"] == "rougeL"].set_index("variant")
    told = ("paraphrase", "the student's words")  # the second where the teacher cannot reword
    words = next((t for t in told if f"{t} over false copy" in rows.index), None)
    if words is None:
        return Finding(untestable("this run has no faithful rewordings"), evidence.caveat)
    row = rows.loc[f"{words} over false copy"]
    part = Part("", 0.5 - row["value"], 0.5 - row["high"], 0.5 - row["low"])
    why = f"Golden text with one title swapped against a faithful text ({words}); 50% is a coin."
    alike = "paraphrase over false paraphrase"  # the control: true and false in the same words
    if alike in rows.index:
        right = rows.loc[alike, "value"]
        why += f" Where both use the same words ROUGE-L picks the true one in {100 * right:.0f}%."
    return Finding(
        ordering([part], [], evidence.setting),
        f"{why} The copies were made to be near. {evidence.caveat}",
        f"false copy wins {100 * (1 - row['value']):.0f}% "
        f"[{100 * (1 - row['high']):.0f}, {100 * (1 - row['low']):.0f}]",
        evidence.on,
    )


@claim("rouge_rewards_errors", chapter="05_rouge_pitfall", label="auc")
def _rouge_rewards_errors(evidence: Evidence) -> Finding:
    table = evidence.table("pitfall_auc", "05_rouge_pitfall")
    rows = table[(table["metric"] == "rougeL") & (table["error"] == "any")]
    rows = rows.set_index("references")
    if "erring alike" not in rows.index:
        return Finding(untestable("this teacher's errors are not labelled"), evidence.caveat)
    row = rows.loc["erring alike"]
    part = Part("", 0.5 - row["value"], 0.5 - row["high"], 0.5 - row["low"])
    others = "; ".join(
        f"{name} references: {rows.loc[name, 'value']:.2f}"
        for name in ("true", "erring")
        if name in rows.index
    )
    return Finding(
        ordering([part], [], evidence.setting),
        "Area under the curve for telling true texts from false ones that repeat the golden text's "
        f"error; 0.5 is blind. Other references ({others}) say how special that case is. "
        f"{evidence.caveat}",
        f"AUC {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
        evidence.on,
    )


@claim("self_reference", chapter="05_rouge_pitfall", label="self-reference")
def _self_reference(evidence: Evidence) -> Finding:
    table = evidence.table("pitfall_self_reference", "05_rouge_pitfall")
    rows = table[
        (table["metric"] == "rougeL")
        & (table["references"] == "difference")
        & (table["system"] == evidence.teacher)
    ]
    if not len(rows):
        return Finding(untestable("this teacher has no second wording"), evidence.caveat)
    row = rows.iloc[0]
    part = Part("ROUGE-L", row["value"], row["low"], row["high"])
    return Finding(
        ordering([part], [], evidence.setting),
        "Another take of the teacher, against its own golden texts minus against a second "
        f"teacher's with the same facts and errors. {evidence.caveat}",
        shown([part]),
        evidence.on,
    )


@claim("table_4", chapter="05_rouge_pitfall", label="table-4")
def _table_4(evidence: Evidence) -> Finding:
    from ..metrics.overlap import rouge_pairs

    sentences, pairs = paper.TABLE_4_SENTENCES, list(paper.TABLE_4)
    texts = [[sentences[pair[side]] for pair in pairs] for side in (0, 1)]
    plain, stemmed = (
        list(rouge_pairs(*texts, stemmer=stemmer)["rougeL"]) for stemmer in (False, True)
    )
    printed = [cell.value for cell in paper.TABLE_4.values()]
    each = [judged(m, m, published=p, resolution=0.01) for m, p in zip(plain, printed, strict=True)]
    gap = plain[0] - plain[1]
    verdict = judged(gap, gap, published=printed[0] - printed[1], resolution=0.02)
    if verdict == REPRODUCED and set(each) != {REPRODUCED}:
        verdict = DIRECTION
    return Finding(
        verdict,
        "ROUGE-L (rouge-score, F1) of the sentences as printed, exact; with stemming "
        f"{stemmed[0]:.3f} and {stemmed[1]:.3f}.",
        f"{plain[0]:.3f} and {plain[1]:.3f}",
        "the printed sentences",
        " and ".join(f"{p:.2f}" for p in printed),
    )
