"""Every claim of `paper.CLAIMS` beside what a run measured, with a verdict from a fixed list.

Each claim has one function that finds its interval in the run's tables, in a record, or in the
printed numbers themselves; `verdicts` says what an interval is worth. Left out on purpose: any
measuring of texts (the chapters do) and any opinion that no computation shows.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from . import paper
from .prompts import TEMPLATES
from .runs import Run, project_root, read_json
from .verdicts import (
    CONTRADICTED,
    DIRECTION,
    INCONSISTENT,
    REPRODUCED,
    Part,
    human,
    human_differences,
    in_setting,
    is_verdict,
    judged,
    ordering,
    untestable,
)

COLUMNS = ("name", "claim", "place", "published", "measured", "on", "verdict", "why", "evidence")


# ---------------------------------------------------------------- what there is to read


@dataclass(frozen=True)
class Finding:
    """What became of a claim; `published` empty: the claim's own printed value."""

    verdict: str
    why: str
    measured: str = ""
    on: str = ""
    published: str = ""

    def __post_init__(self) -> None:
        if not is_verdict(self.verdict):
            raise ValueError(f"{self.verdict!r} is not a verdict of the fixed list")


class Missing(Exception):
    """The run has no such table yet: the chapter that makes it, and what the paper prints."""

    def __init__(self, chapter: str, published: str = "") -> None:
        super().__init__(chapter)
        self.chapter, self.published = chapter, published


class Evidence:
    """A run's tables and facts, and the records of measurements made elsewhere."""

    def __init__(self, run: Run, records: Path) -> None:
        self.run = run
        self.facts = run.facts
        self.folder = records
        folders = (records, run.path / "records")
        # A run's own record replaces the book's of the same name.
        paths = {p.stem: p for folder in folders for p in sorted(folder.glob("*.json"))}
        self.records = {name: read_json(path) for name, path in sorted(paths.items())}
        self._read: dict[str, pd.DataFrame] = {}

    def table(self, name: str, made_by: str, published: str = "") -> pd.DataFrame:
        if name not in self._read:
            if not self.run.table(name).is_file():
                raise Missing(made_by, published)
            self._read[name] = self.run.read(name)
        return self._read[name]

    def larger(self, name: str, by: str) -> dict[str, Any]:
        """Of the run's own record and the book's, the one with more of its parameter `by`."""
        paths = [folder / f"{name}.json" for folder in (self.folder, self.run.path / "records")]
        found = [read_json(path) for path in paths if path.is_file()]
        return max(found, key=lambda r: r["provenance"]["parameters"][by], default={})

    def parameter(self, notebook: str, name: str) -> Any:
        return self.facts.get("parameters", {}).get(notebook, {}).get(name)

    @property
    def teacher(self) -> str:
        return str(self.facts.get("teacher", "grammar"))

    @property
    def corpus(self) -> str:
        release = (self.parameter("01_preprocessing", "corpus_options") or {}).get("release")
        return str(release or self.facts.get("corpus", "no corpus"))

    @property
    def setting(self) -> str:
        """Whose texts these are: the paper's models on the paper's data, others, or simulated."""
        if self.corpus in ("embedded", "no corpus") or self.teacher.startswith("grammar"):
            return "simulated"
        student = str(self.parameter("03_finetuning", "init_from") or "")
        papers = self.teacher == "flan-t5-xxl" and student.endswith("bart-base")
        return "paper" if papers and self.corpus in ("ml-1m", "yelp") else "other"

    @property
    def on(self) -> str:
        device = self.facts.get("device", {})
        machine = device.get("gpu") or device.get("cpu", "unknown machine")
        return f"{self.facts.get('profile', 'a run')}: {self.corpus}, {self.teacher}, {machine}"

    @property
    def caveat(self) -> str:
        """What the run's texts are, for the reason behind a verdict."""
        if self.setting == "simulated":
            voice = self.facts.get("teacher_options", {}).get("voice_strength")
            voices = f" and voices (strength {voice})" if voice is not None else ""
            return f"The teacher is a grammar; its errors{voices} are simulated."
        if self.setting == "other":
            return f"The run's models or data are not the paper's ({self.teacher}, {self.corpus})."
        return "The run has the paper's models and data; what the paper leaves open is our choice."


Judge = Callable[[Evidence], Finding]
_JUDGES: dict[str, tuple[str, Judge]] = {}

#: Place of claims that are decided by the printed text alone: their own entry in the claims page.
CLAIMS_PAGE = "claims"


def _claim(*names: str, chapter: str = CLAIMS_PAGE, label: str = "") -> Callable[[Judge], Judge]:
    """Register the function that judges a claim, and the cell that its evidence stands in."""

    def register(function: Judge) -> Judge:
        for name in names:
            where = f"evidence-{label}" if label else f"claim-{name}"
            _JUDGES[name] = (f"{chapter}#{where}", function)
        return function

    return register


def judge(run: Run, records: Path | None = None) -> pd.DataFrame:
    """All claims of `paper.CLAIMS` in their order: `COLUMNS`, one row a claim.

    `on` says profile, corpus, teacher and device, or the record; `evidence` is `chapter#label`.
    Works on a partial run: what is missing names its chapter. `records` is the folder of JSON
    records (default: `book/records` of the project).
    """
    evidence = Evidence(run, records or project_root() / "book" / "records")
    rows = []
    for claim in paper.CLAIMS.values():
        where, function = _JUDGES[claim.name]
        try:
            found = function(evidence)
        except Missing as missing:
            found = Finding(
                untestable(f"run chapter {missing.chapter.partition('_')[0].lstrip('0')} first"),
                f"The claim is judged by a table that notebook {missing.chapter} makes.",
                published=missing.published,
            )
        published = found.published or _number(claim.value, claim.unit)
        rows.append(
            (claim.name, claim.text, claim.place, published, found.measured, found.on,
             found.verdict, found.why, where)
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def computation(name: str) -> Judge:
    """The function that judges the claim `name` (the book prints its source)."""
    return _JUDGES[name][1]


def _number(value: float | None, unit: str = "") -> str:
    """A number as a reader writes it.

    >>> _number(140e6), _number(24.2, "times"), _number(None)
    ('140M', '24.2 times', '')
    """
    if value is None:
        return ""
    for size, letter in ((1e9, "B"), (1e6, "M")):
        if value >= size and value % (size / 10) == 0:
            return f"{value / size:,.12g}{letter} {unit}".strip()
    return f"{value:,.12g} {unit}".strip()


def _shown(parts: Sequence[Part], digits: int = 3) -> str:
    return "; ".join(
        f"{p.label} {p.value:+.{digits}f} [{p.low:+.{digits}f}, {p.high:+.{digits}f}]"
        for p in parts
    )


def _least(parts: Sequence[Part], digits: int = 3) -> str:
    """One or two parts as they are; of more, the one that decides."""
    if len(parts) < 3:
        return _shown(parts, digits)
    return f"least of {len(parts)}: {_shown([min(parts, key=lambda p: p.low)], digits)}"


# ---------------------------------------------------------------- sizes, time and memory

_PRINT = "the printed numbers"
_SHAPES = "shapes alone, no weights"


@functools.cache
def _parameters(name: str, tied: bool) -> int:
    from .efficiency import parameter_count

    return parameter_count(name, tied=tied)


@_claim("student_parameters", chapter="04_efficiency", label="parameters")
def _student_parameters(evidence: Evidence) -> Finding:
    claim, count = paper.CLAIMS["student_parameters"], _parameters("bart-base", True)
    verdict = judged(count, count, published=claim.value, resolution=claim.resolution, null=None)
    return Finding(
        verdict, "Counted; the table of users is not in it.", f"{count / 1e6:.1f}M", _SHAPES
    )


@_claim("teacher_parameters", chapter="04_efficiency", label="parameters")
def _teacher_parameters(evidence: Evidence) -> Finding:
    claim = paper.CLAIMS["teacher_parameters"]
    tied, untied = (_parameters("flan-t5-xxl", t) for t in (True, False))
    verdict = judged(tied, untied, published=claim.value, resolution=claim.resolution, null=None)
    return Finding(
        verdict,
        "Counted with the output layer tied to the embedding, and untied as published.",
        f"{tied / 1e9:.3f}B to {untied / 1e9:.3f}B",
        _SHAPES,
    )


@_claim("size_ratio", chapter="04_efficiency", label="parameters")
def _size_ratio(evidence: Evidence) -> Finding:
    claim, student = paper.CLAIMS["size_ratio"], _parameters("bart-base", True)
    low, high = (_parameters("flan-t5-xxl", t) / student for t in (True, False))
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
    from .efficiency import REFERENCE

    rows = [r for r in cells if r["batch_size"] == 1 and r.get("backend", "generate") == "generate"]
    lengths = [(r.get("input_tokens"), r.get("output_tokens")) for r in rows]
    at = REFERENCE[1:] if REFERENCE[1:] in lengths else next(iter(lengths), None)
    rows = [row for row, here in zip(rows, lengths, strict=True) if here == at]
    return [row for row in rows if row.get("dtype") == rows[0].get("dtype")]


def _over_the_grid(record: dict[str, Any]) -> str:
    """In how many settings of a record, and how far apart, the paper's models were timed."""
    from .efficiency import ratios

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


@_claim("speedup", chapter="04_efficiency", label="latency")
def _speedup(evidence: Evidence) -> Finding:
    return _ratio(evidence, "speedup", "median_s", "Interval: 5th to 95th percentile of rounds.")


@_claim("memory", chapter="04_efficiency", label="memory")
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


@_claim("student_latency", chapter="04_efficiency", label="latency")
def _student_latency(evidence: Evidence) -> Finding:
    return _absolute(evidence, "student", "median_s")


@_claim("teacher_latency", chapter="04_efficiency", label="latency")
def _teacher_latency(evidence: Evidence) -> Finding:
    return _absolute(evidence, "teacher", "median_s")


@_claim("student_memory", chapter="04_efficiency", label="memory")
def _student_memory(evidence: Evidence) -> Finding:
    return _absolute(evidence, "student", "peak_bytes")


@_claim("teacher_memory", chapter="04_efficiency", label="printed-memory")
def _teacher_memory(evidence: Evidence) -> Finding:
    printed = paper.TABLE_2["FLAN-T5-XXL"]["Peak GPU"].value
    tied, untied = (2 * _parameters("flan-t5-xxl", t) / 2**30 for t in (True, False))
    fits = printed > untied
    return Finding(
        REPRODUCED if fits else INCONSISTENT,
        f"Weights alone, BF16: the checkpoint as published (untied) takes {untied:.2f} GiB, more "
        f"than the printed peak; only tied and in GiB do they fit, with {printed - tied:.2f} left.",
        f"weights {tied:.2f} (tied), {untied:.2f} GiB (untied)",
        _SHAPES,
    )


@_claim("yelp_student_size", chapter="04_efficiency", label="parameters")
def _yelp_student_size(evidence: Evidence) -> Finding:
    from .efficiency import user_table_parameters

    users = int(paper.TABLE_1["Yelp"]["users"].value)
    table = user_table_parameters(users)
    total = table + _parameters("bart-base", True)
    claim = paper.CLAIMS["yelp_student_size"]
    fits = judged(total, total, published=claim.value, resolution=claim.resolution, null=None)
    return Finding(
        fits if fits == REPRODUCED else INCONSISTENT,
        f"Equation 5 with Table 1's {users:,} users adds a table of {table / 1e9:.3f}B parameters, "
        f"{4 * table / 2**30:.2f} GiB in float32: the printed size and peak leave it out.",
        f"{total / 1e6:,.0f}M",
        _SHAPES,
    )


@_claim("distillation_cost", chapter="04_efficiency", label="gpu-hours")
def _distillation_cost(evidence: Evidence) -> Finding:
    seconds = paper.TABLE_2["FLAN-T5-XXL"]["Latency"].value / 1000
    hours = [
        (rows["train sequences"].value + rows["test sequences"].value) * seconds / 3600
        for rows in (paper.TABLE_1["MovieLens-1M"], paper.TABLE_1["Yelp"])
    ]
    return Finding(
        untestable("how the teacher was run is not stated"),
        "At Table 2's latency, one sample at a time, for MovieLens-1M and Yelp; the paper says "
        "nothing of batches, shards or a part of the data.",
        f"{hours[0]:,.0f} and {hours[1]:,.0f} GPU-hours",
        _PRINT,
    )


# ---------------------------------------------------------------- data

# Facts of the data sets as released; the profiles movielens-1m and yelp count them.
_MOVIELENS_RATINGS, _MOVIELENS_RATED, _YELP_REVIEWS = 1_000_209, 3_706, 6_990_280


@_claim("movielens_sequences", chapter="01_preprocessing", label="table-1")
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


@_claim("movielens_items", chapter="01_preprocessing", label="table-1")
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


@_claim("yelp_sequences", chapter="01_preprocessing", label="table-1")
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


@_claim("split_drawn", chapter="07c_splits", label="splits")
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


@_claim("any_ranker", chapter="09_controls", label="rankers")
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
        return Finding(verdict, why, measured, _PRINT)
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


# ---------------------------------------------------------------- systems compared

_COLUMN_OF = {"rougeL": "ROUGE-L", "gptscore_judge": "GPTScore", "bertscore_f1": "BS-F1"}
_ROW_OF = {
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
            models[_ROW_OF[a]][column].value - models[_ROW_OF[b]][column].value
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
        f"{why} All: {_shown(parts)}. {evidence.caveat}",
        _least(parts),
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


@_claim("semantic_metrics", chapter="05_rouge_pitfall", label="two-orders")
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


@_claim("teacher_highest_rouge", chapter="05_rouge_pitfall", label="two-orders")
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


@_claim("beats_att2seq", chapter="07_evaluation", label="comparisons")
def _beats_att2seq(evidence: Evidence) -> Finding:
    return _compared(evidence, "prism", "att2seq", _REFERENCE_METRICS, "Prism minus Att2Seq.")


@_claim("beats_pepler", chapter="07_evaluation", label="comparisons")
def _beats_pepler(evidence: Evidence) -> Finding:
    return _compared(evidence, "prism", "pepler", _REFERENCE_METRICS, "Prism minus PEPLER.")


@_claim("finetuning_needed", chapter="07_evaluation", label="comparisons")
def _finetuning_needed(evidence: Evidence) -> Finding:
    why = "Prism minus zero-shot BART-Base, which needs pretrained weights."
    return _compared(evidence, "prism", "bart-zero-shot", _REFERENCE_METRICS, why)


@_claim("user_vector_helps", chapter="07_evaluation", label="comparisons")
def _user_vector_helps(evidence: Evidence) -> Finding:
    why = "Prism minus Prism without the user's vector."
    return _compared(evidence, "prism", "prism-no-user", _REFERENCE_METRICS, why)


def _filters(evidence: Evidence, metric: str) -> Finding:
    why = "Teacher's share minus Prism's, as the grounding metric sees them."
    return _compared(evidence, "prism", "teacher", [metric], why, sign=-1)


@_claim("student_filters", chapter="07_evaluation", label="comparisons")
def _student_filters(evidence: Evidence) -> Finding:
    return _filters(evidence, "foreign_title")


@_claim("student_filters_relations", chapter="07_evaluation", label="comparisons")
def _student_filters_relations(evidence: Evidence) -> Finding:
    return _filters(evidence, "unsupported_relation")


@_claim("student_filters_attributes", chapter="07_evaluation", label="comparisons")
def _student_filters_attributes(evidence: Evidence) -> Finding:
    return _filters(evidence, "wrong_attribute")


@_claim("decoupling", chapter="07b_real_text", label="real-text")
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
        _shown(parts),
        f"record xrec_yelp: {record.get('date', '')[:10]}",
    )


# ---------------------------------------------------------------- the ROUGE pitfall


@_claim("rouge_misleads", chapter="05_rouge_pitfall", label="minimal-pairs")
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


@_claim("rouge_rewards_errors", chapter="05_rouge_pitfall", label="auc")
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


@_claim("self_reference", chapter="05_rouge_pitfall", label="self-reference")
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
        _shown([part]),
        evidence.on,
    )


@_claim("table_4", chapter="05_rouge_pitfall", label="table-4")
def _table_4(evidence: Evidence) -> Finding:
    from .metrics.overlap import rouge_pairs

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


# ---------------------------------------------------------------- people


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
        models[_ROW_OF["prism"]][d].value - models[_ROW_OF[other]][d].value
        for models in paper.TABLE_3.values()
        for other in others
        for d in dimensions
    ]
    return Finding(
        verdict,
        "Printed means on a scale of 1 to 5; only people's ratings of this run's texts could test "
        "them. Automatic metrics and simulated ratings do not count.",
        _least(parts, 2),
        evidence.on if parts else "",
        f"{min(printed):+.2f} to {max(printed):+.2f} points",
    )


@_claim("student_beats_teacher", chapter="06_agreement", label="raters")
def _student_beats_teacher(evidence: Evidence) -> Finding:
    return _people(evidence, ["teacher"], ["Personalization", "Faithfulness"])


@_claim("humans_prefer_student", chapter="06_agreement", label="raters")
def _humans_prefer_student(evidence: Evidence) -> Finding:
    return _people(evidence, ["teacher", "att2seq", "bart-zero-shot", "pepler"], paper.HUMAN)


@_claim("user_vector_personal", chapter="06_agreement", label="raters")
def _user_vector_personal(evidence: Evidence) -> Finding:
    return _people(evidence, ["prism-no-user"], ["Personalization"])


@_claim("raters", "calibration", chapter="06_agreement", label="raters")
def _protocol(evidence: Evidence) -> Finding:
    return Finding(untestable("a fact of the paper's own study"), "Nobody has rated in this run.")


@_claim("kappa_threshold", chapter="06_agreement", label="kappa")
def _kappa_threshold(evidence: Evidence) -> Finding:
    from .human_eval.coefficients import landis_koch

    at, above = landis_koch(0.60), landis_koch(0.61)
    fits = at != "substantial" and above == "substantial"
    return Finding(
        REPRODUCED if fits else CONTRADICTED,
        "By the bands of Landis and Koch, which are the paper's source.",
        f"0.60 {at}, 0.61 {above}",
        "the published bands",
    )


@_claim("kappa_reported", chapter="06_agreement", label="kappa")
def _kappa_reported(evidence: Evidence) -> Finding:
    return Finding(
        untestable("our text holds neither"),
        "The text read here (arXiv v1 without its formulas) has no kappa, no p-value and no number "
        "of rated explanations; they may have been lost with the formulas.",
    )


# ---------------------------------------------------------------- the print against itself


@_claim("genrec_cited")
def _genrec_cited(evidence: Evidence) -> Finding:
    from transformers import BartConfig, LlamaConfig

    # Ji et al. (2024), the cited GenRec, tunes LLaMA; Cao and Lio (2024), another GenRec, BART.
    cited, described = LlamaConfig().is_encoder_decoder, BartConfig().is_encoder_decoder
    return Finding(
        REPRODUCED if cited == described else INCONSISTENT,
        "The cited GenRec (Ji et al. 2024) tunes LLaMA-7B with LoRA: no encoder for equation 5 to "
        "enter, and no table of users. A BART with users is another GenRec (Cao and Lio 2024).",
        "a decoder alone" if not cited else "an encoder-decoder",
        "LLaMA's and BART's configurations",
    )


@_claim("genrec_adopted")
def _genrec_adopted(evidence: Evidence) -> Finding:
    factor = 768**-0.5
    return Finding(
        CONTRADICTED,
        "By their equations: GenRec (Cao and Lio 2024) adds (user + item) / sqrt(d) at the pieces "
        "of the user's own token only; equation 5 adds the whole vector at every token.",
        f"factor {factor:.3f} at one token against 1 at all",
        "the two papers' equations, d = 768",
    )


@_claim("gptscore_scale")
def _gptscore_scale(evidence: Evidence) -> Finding:
    printed = [
        row["GPTScore"].value for models in paper.TABLE_3.values() for row in models.values()
    ]
    highest = math.log(1.0)  # of a mean log-probability
    return Finding(
        INCONSISTENT if min(printed) > highest else REPRODUCED,
        "A mean log-likelihood is never above zero. The printed values look like marks out of 100, "
        "as a language model gives when asked.",
        f"at most {highest:.0f}",
        "equation 9",
        f"{min(printed)} to {max(printed)}",
    )


@_claim("bertscore_scale")
def _bertscore_scale(evidence: Evidence) -> Finding:
    printed = [row["BS-F1"].value for models in paper.TABLE_3.values() for row in models.values()]
    published = f"{min(printed):.2f} to {max(printed):.2f}"
    found = importlib.util.find_spec("bert_score")
    if found is None or found.origin is None:
        return Finding(untestable("bert-score is not installed"), "", "", "", published)
    table = Path(found.origin).parent / "rescale_baseline" / "en" / "roberta-large.tsv"
    baseline = pd.read_csv(table, sep=",").set_index("LAYER").loc[17, "F"]
    return Finding(
        INCONSISTENT if max(printed) < baseline else REPRODUCED,
        "Equation 8 has no rescaling, and without it unrelated English sentences score "
        f"{baseline:.2f} (layer 17, bert-score's own baseline). The printed values fit rescaled "
        "scores, which the text does not mention.",
        f"{baseline:.2f} for unrelated sentences",
        "bert-score's baseline",
        published,
    )


@_claim("cited_rows")
def _cited_rows(evidence: Evidence) -> Finding:
    models = paper.TABLE_3["MovieLens-1M"]
    absent = [name for name in paper.CITED_ROWS if name not in models]
    cited = [paper.CITED_ROWS[name].value for name in absent]
    rows = [name for name, row in models.items() if row["Faithfulness"].value in cited]
    return Finding(
        INCONSISTENT if absent else REPRODUCED,
        f"Table 3 has no row {', '.join(absent)}; the value stands in the row {', '.join(rows)}.",
        f"{', '.join(rows)} {', '.join(map(str, cited))}",
        _PRINT,
    )


@_claim("rouge_1_2")
def _rouge_1_2(evidence: Evidence) -> Finding:
    absent = [name for name in paper.PROMISED_ROUGE if name not in paper.AUTOMATIC]
    return Finding(
        INCONSISTENT if absent else REPRODUCED,
        "Section 5.5 announces three variants; Table 3 has the columns "
        f"{', '.join(paper.AUTOMATIC)}.",
        f"no {', '.join(absent)}",
        _PRINT,
    )


@_claim("golden_and_baseline")
def _golden_and_baseline(evidence: Evidence) -> Finding:
    from .metrics.overlap import rouge_pairs

    text = [paper.TABLE_4_SENTENCES["A"]]
    repeated = float(rouge_pairs(text, text)["rougeL"].iloc[0])
    printed = [models["FLAN-T5-XXL"]["ROUGE-L"].value for models in paper.TABLE_3.values()]
    return Finding(
        untestable("the teacher's decoding is not stated"),
        "The same model, prompt and deterministic decoding repeat a text word for word. Printed is "
        "far less, so golden texts and baseline differ in prompt or sampling.",
        f"{repeated:.3f} for a repeated text",
        "ROUGE-L of a text with itself",
        " and ".join(f"{value:.3f}" for value in printed),
    )


@_claim("teacher_upper_bound")
def _teacher_upper_bound(evidence: Evidence) -> Finding:
    above = [
        f"{column} ({data})"
        for data, models in paper.TABLE_3.items()
        for column in paper.AUTOMATIC + paper.HUMAN
        if models["BART-Base"][column].value > models["FLAN-T5-XXL"][column].value
    ]
    return Finding(
        INCONSISTENT if above else REPRODUCED,
        f"Zero-shot BART-Base is above the teacher in {', '.join(above)}.",
        f"above it in {len(above)} cells",
        _PRINT,
    )


@_claim("never_repeats")
def _never_repeats(evidence: Evidence) -> Finding:
    repeated = [
        (case.place, relation)
        for case in paper.TABLE_5
        for relation in re.findall(r"(?:based on|influenced by) [^.]+", case.teacher)
        if relation in case.prism
    ]
    return Finding(
        INCONSISTENT if repeated else REPRODUCED,
        "Prism says word for word what its teacher says: "
        + "; ".join(f"“{text}” ({place})" for place, text in repeated)
        + ". Which words the paper marks red is lost in our text.",
        f"{len(repeated)} of {len(paper.TABLE_5)} cases repeated",
        "Table 5 as printed",
    )


@_claim("settings_stated")
def _settings_stated(evidence: Evidence) -> Finding:
    return Finding(
        untestable(f"{len(paper.NOT_STATED)} settings are not stated"),
        f"Not in our text: {', '.join(paper.NOT_STATED)}. What a run uses instead stands in its "
        "profile.",
    )


@_claim("prompt_constrains", chapter="02_distillation", label="prompt")
def _prompt_constrains(evidence: Evidence) -> Finding:
    template = TEMPLATES["faithful"]
    forbids = re.findall(r"\b(?:only|solely|not|never|avoid|don't)\b", template, re.I)
    given = [name for name in re.findall(r"{(\w+)}", template) if name in ("history", "item")]
    return Finding(
        INCONSISTENT if not forbids else REPRODUCED,
        "The printed template forbids nothing, and asks for genre, director, actors and theme, of "
        f"which its input ({' and '.join(given)}: titles) holds none.",
        f"{len(forbids)} words that forbid",
        "the printed template",
    )


# ---------------------------------------------------------------- nothing here decides


@_claim("first_decoupled")
def _first_decoupled(evidence: Evidence) -> Finding:
    return Finding(untestable("a claim of priority"), "No measurement decides who was first.")


@_claim("real_time")
def _real_time(evidence: Evidence) -> Finding:
    return Finding(
        untestable("the test is not described"),
        "Its latency is lost with the formulas of our text, and nothing else is said of the test.",
    )


@_claim("cold_start", chapter="09_controls", label="cold-start")
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


@_claim("compression_regularises", chapter="08_mechanism", label="capacity")
def _compression_regularises(evidence: Evidence) -> Finding:
    from . import experiments

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
        _shown([part], 4),
        on,
    )


def trainings(evidence: Evidence) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """Chapter 8's trainings, of the run's own record or the book's.

    One row a training and decoding, as `experiments.filtering` gives them; the point that they
    vary around; what they were made on.
    """
    from . import experiments

    record = evidence.larger("mechanism", by="points")
    if not record:
        raise Missing("08_mechanism")
    made = record["provenance"]
    given, device = made["parameters"], made["device"]
    table = experiments.filled(experiments.from_records(record["tables"]["mechanism"]))
    on = f"{given['points']} trainings (grid {given['grid']}), {device.get('gpu') or device['cpu']}"
    return experiments.filtering(table), given["base"], on
