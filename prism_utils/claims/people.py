"""Judges of what only people's ratings can show, and of the protocol (Appendix A)."""

from __future__ import annotations

from collections.abc import Sequence

from . import paper
from .evidence import Evidence, Finding, least
from .quality import ROW_OF
from .register import claim
from .verdicts import (
    CONTRADICTED,
    REPRODUCED,
    Part,
    human,
    human_differences,
    untestable,
)


def _people(evidence: Evidence, others: Sequence[str], dimensions: Sequence[str]) -> Finding:
    names = [evidence.teacher if o == "teacher" else o for o in others]
    parts: list[Part] = []
    if evidence.run.table("ratings").is_file():
        parts = human_differences(evidence.run.read("ratings"), "prism", names, dimensions)
    missing = len(others) * len(dimensions) - len(parts)
    verdict = human(parts, evidence.setting)
    if verdict == REPRODUCED and missing:
        verdict = untestable(f"{missing} of the comparisons were not rated")
    printed = [
        models[ROW_OF["prism"]][d].value - models[ROW_OF[other]][d].value
        for models in paper.TABLE_3.values()
        for other in others
        for d in dimensions
    ]
    return Finding(
        verdict,
        "Printed means on a scale of 1 to 5; only people's ratings of this run's texts could test "
        "them. Automatic metrics and simulated ratings do not count.",
        least(parts, 2),
        evidence.on if parts else "",
        f"{min(printed):+.2f} to {max(printed):+.2f} points",
    )


@claim("student_beats_teacher", chapter="06_agreement", label="raters")
def _student_beats_teacher(evidence: Evidence) -> Finding:
    return _people(evidence, ["teacher"], ["Personalization", "Faithfulness"])


@claim("humans_prefer_student", chapter="06_agreement", label="raters")
def _humans_prefer_student(evidence: Evidence) -> Finding:
    return _people(evidence, ["teacher", "att2seq", "bart-zero-shot", "pepler"], paper.HUMAN)


@claim("user_vector_personal", chapter="06_agreement", label="raters")
def _user_vector_personal(evidence: Evidence) -> Finding:
    return _people(evidence, ["prism-no-user"], ["Personalization"])


@claim("raters", "calibration", chapter="06_agreement", label="raters")
def _protocol(evidence: Evidence) -> Finding:
    return Finding(untestable("a fact of the paper's own study"), "Nobody has rated in this run.")


@claim("kappa_threshold", chapter="06_agreement", label="kappa")
def _kappa_threshold(evidence: Evidence) -> Finding:
    from ..human_eval.coefficients import landis_koch

    at, above = landis_koch(0.60), landis_koch(0.61)
    fits = at != "substantial" and above == "substantial"
    return Finding(
        REPRODUCED if fits else CONTRADICTED,
        "By the bands of Landis and Koch, which are the paper's source.",
        f"0.60 {at}, 0.61 {above}",
        "the published bands",
    )


@claim("kappa_reported", chapter="06_agreement", label="kappa")
def _kappa_reported(evidence: Evidence) -> Finding:
    return Finding(
        untestable("our text holds neither"),
        "The text read here (arXiv v1 without its formulas) has no kappa, no p-value and no number "
        "of rated explanations; they may have been lost with the formulas.",
    )
