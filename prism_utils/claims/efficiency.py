"""Judges of sizes, time and memory, and of what distillation costs (paper section 5.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from . import paper
from .evidence import PRINT, Evidence, Finding, Missing
from .register import claim
from .table_2 import SAMPLES, USERS, count, user_tables
from .verdicts import (
    INCONSISTENT,
    REPRODUCED,
    in_setting,
    judged,
    untestable,
)

_SHAPES = "shapes alone, no weights"


@claim("student_parameters", chapter="04_efficiency", label="parameters")
def _student_parameters(evidence: Evidence) -> Finding:
    claim, found = paper.CLAIMS["student_parameters"], count("bart-base", True)
    verdict = judged(found, found, published=claim.value, resolution=claim.resolution, null=None)
    return Finding(
        verdict, "Counted; the table of users is not in it.", f"{found / 1e6:.1f}M", _SHAPES
    )


@claim("teacher_parameters", chapter="04_efficiency", label="parameters")
def _teacher_parameters(evidence: Evidence) -> Finding:
    claim = paper.CLAIMS["teacher_parameters"]
    tied, untied = (count("flan-t5-xxl", t) for t in (True, False))
    verdict = judged(tied, untied, published=claim.value, resolution=claim.resolution, null=None)
    return Finding(
        verdict,
        "Counted with the output layer tied to the embedding, and untied as published.",
        f"{tied / 1e9:.3f}B to {untied / 1e9:.3f}B",
        _SHAPES,
    )


@claim("size_ratio", chapter="04_efficiency", label="parameters")
def _size_ratio(evidence: Evidence) -> Finding:
    claim, student = paper.CLAIMS["size_ratio"], count("bart-base", True)
    low, high = (count("flan-t5-xxl", t) / student for t in (True, False))
    verdict = judged(low, high, published=claim.value, resolution=claim.resolution, null=1)
    printed = paper.TABLE_2["FLAN-T5-XXL"]["Params"].value / paper.TABLE_2["Prism"]["Params"].value
    return Finding(
        verdict,
        f"The printed 11B / 140M is {printed:.1f}, cut to 78; exact counts give a little more.",
        f"{low:.1f} to {high:.1f} times",
        _SHAPES,
    )


class _Duel(NamedTuple):
    """Teacher over student, of one measurement."""

    low: float
    value: float
    high: float
    teacher: float
    student: float
    on: str
    papers: bool  # the paper's own two models
    setting: str
    note: str = ""


def _one_at_a_time(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells of batch 1 at one pair of lengths in one precision: the benchmark's reference if there.

    Else those of the first; by transformers' `generate` alone.
    """
    from ..efficiency import REFERENCE

    rows = [r for r in cells if r["batch_size"] == 1 and r.get("backend", "generate") == "generate"]
    lengths = [(r.get("input_tokens"), r.get("output_tokens")) for r in rows]
    at = REFERENCE[1:] if REFERENCE[1:] in lengths else next(iter(lengths), None)
    rows = [row for row, here in zip(rows, lengths, strict=True) if here == at]
    return [row for row in rows if row.get("dtype") == rows[0].get("dtype")]


def _over_the_grid(record: dict[str, Any]) -> str:
    """In how many settings of a record, and how far apart, the paper's models were timed."""
    from ..efficiency import ratios

    found = [row["value"] for row in ratios(record["cells"], "flan-t5-xxl", "bart-base")]
    if len(found) < 2:
        return ""
    return (
        f" Shown: batch 1; over the record's {len(found)} settings the ratio is {min(found):.1f} "
        f"to {max(found):.1f}."
    )


def _duels(evidence: Evidence, quantity: str) -> list[_Duel]:
    """Ratios of "median_s" (one explanation at a time) or "peak_bytes": records, then the run."""
    sources = []
    for name, record in evidence.records.items():
        if record.get("kind") == "efficiency":
            on = f"record {name}: {record.get('device', 'unknown device')}"
            rows = [row for row in record["cells"] if row.get(quantity)]
            note = _over_the_grid(record) if quantity == "median_s" else ""
            sources.append((on, "other", _one_at_a_time(rows), note))
    table = "timings" if quantity == "median_s" else "sizes"
    if evidence.run.table(table).is_file():
        rows = evidence.table(table, "04_efficiency").to_dict("records")
        rows = _one_at_a_time(rows) if quantity == "median_s" else rows
        gpu = evidence.parameter("04_efficiency", "device") == "cuda"
        setting = "paper" if gpu and evidence.setting == "paper" else "other"
        sources.append((evidence.on, setting, rows, ""))
    found = []
    for on, setting, rows, note in sources:
        by_model = {str(row["model"]): row for row in rows}
        names = list(by_model)
        papers = "flan-t5-xxl" in by_model and "bart-base" in by_model
        if papers and "student" in by_model and setting == "paper":
            teacher, student = "flan-t5-xxl", "student"
        elif papers:
            teacher, student = "flan-t5-xxl", "bart-base"
        elif len(names) > 1:
            teacher, student = names[-1], names[0]
        else:
            continue
        t, s = by_model[teacher], by_model[student]
        low, high = (
            (t["p5_s"] / s["p95_s"], t["p95_s"] / s["p5_s"])
            if quantity == "median_s"
            else (t[quantity] / s[quantity],) * 2
        )
        pair = f"{teacher} / {student}, {on}"
        found.append(
            _Duel(low, t[quantity] / s[quantity], high, t[quantity], s[quantity], pair, papers,
                  setting, note)
        )  # fmt: skip
    if not found:
        raise Missing("04_efficiency")
    return sorted(found, key=lambda d: (not d.papers, d.setting != "paper"))


def _ratio(evidence: Evidence, name: str, quantity: str, caveat: str) -> Finding:
    claim, duel = paper.CLAIMS[name], _duels(evidence, quantity)[0]
    measured = f"{duel.value:.1f} [{duel.low:.1f}, {duel.high:.1f}] times"
    if duel.low == duel.high:
        measured = f"{duel.value:.1f} times"
    if not duel.papers:
        return Finding(
            untestable("not the paper's models"),
            f"Measured on a smaller pair, which says nothing about the paper's. {caveat}",
            measured,
            duel.on,
        )
    verdict = judged(
        duel.low, duel.high, published=claim.value, resolution=claim.resolution, null=1
    )
    return Finding(
        in_setting(verdict, duel.setting),
        "The paper's two models; the paper does not name its GPU, batch or lengths. "
        f"{caveat}{duel.note}",
        measured,
        duel.on,
    )


@claim("speedup", chapter="04_efficiency", label="latency")
def _speedup(evidence: Evidence) -> Finding:
    return _ratio(evidence, "speedup", "median_s", "Interval: 5th to 95th percentile of rounds.")


@claim("memory", chapter="04_efficiency", label="memory")
def _memory(evidence: Evidence) -> Finding:
    return _ratio(evidence, "memory", "peak_bytes", "A peak is one number and has no interval.")


def _absolute(evidence: Evidence, role: str, quantity: str) -> Finding:
    duel = next((d for d in _duels(evidence, quantity) if d.papers), None)
    why = "Latency and peak belong to a GPU, a batch and lengths; the paper names none of them."
    verdict = untestable("GPU, batch and lengths are not stated")
    if duel is None:
        return Finding(verdict, why)
    value = duel.teacher if role == "teacher" else duel.student
    shown = f"{1000 * value:,.0f} ms" if quantity == "median_s" else f"{value / 2**30:.2f} GiB"
    return Finding(verdict, why, shown, duel.on)


@claim("student_latency", chapter="04_efficiency", label="latency")
def _student_latency(evidence: Evidence) -> Finding:
    return _absolute(evidence, "student", "median_s")


@claim("teacher_latency", chapter="04_efficiency", label="latency")
def _teacher_latency(evidence: Evidence) -> Finding:
    return _absolute(evidence, "teacher", "median_s")


@claim("student_memory", chapter="04_efficiency", label="memory")
def _student_memory(evidence: Evidence) -> Finding:
    return _absolute(evidence, "student", "peak_bytes")


@claim("teacher_memory", chapter="04_efficiency", label="printed-memory")
def _teacher_memory(evidence: Evidence) -> Finding:
    printed = paper.TABLE_2["FLAN-T5-XXL"]["Peak GPU"].value
    tied, untied = (2 * count("flan-t5-xxl", t) / 2**30 for t in (True, False))
    fits = printed > untied
    return Finding(
        REPRODUCED if fits else INCONSISTENT,
        f"Weights alone, BF16: the checkpoint as published (untied) takes {untied:.2f} GiB, more "
        f"than the printed peak; only tied and in GiB do they fit, with {printed - tied:.2f} left.",
        f"weights {tied:.2f} (tied), {untied:.2f} GiB (untied)",
        _SHAPES,
    )


@claim("yelp_student_size", chapter="04_efficiency", label="parameters")
def _yelp_student_size(evidence: Evidence) -> Finding:
    users, table = USERS["Yelp"], user_tables()["Yelp"]
    total = table + count("bart-base", True)
    claim = paper.CLAIMS["yelp_student_size"]
    fits = judged(total, total, published=claim.value, resolution=claim.resolution, null=None)
    return Finding(
        fits if fits == REPRODUCED else INCONSISTENT,
        f"Equation 5 with Table 1's {users:,} users adds a table of {table / 1e9:.3f}B parameters, "
        f"{4 * table / 2**30:.2f} GiB in float32: the printed size and peak leave it out.",
        f"{total / 1e6:,.0f}M",
        _SHAPES,
    )


@claim("distillation_cost", chapter="04c_training_cost", label="gpu-hours")
def _distillation_cost(evidence: Evidence) -> Finding:
    seconds = paper.TABLE_2["FLAN-T5-XXL"]["Latency"].value / 1000
    hours = [SAMPLES[data] * seconds / 3600 for data in ("MovieLens-1M", "Yelp")]
    return Finding(
        untestable("how the teacher was run is not stated"),
        "At Table 2's latency, one sample at a time, for MovieLens-1M and Yelp; the paper says "
        "nothing of batches, shards or a part of the data.",
        f"{hours[0]:,.0f} and {hours[1]:,.0f} GPU-hours",
        PRINT,
    )
