"""What the paper prints, as data: Tables 1-5 and the headline claims, each with its place.

Read from arXiv v1 as text, where most in-line formulas were lost: a number that is missing here is
missing from that text, not necessarily from the paper. Left out on purpose: anything measured by
this study, and any judgement (that is the business of `claims`). Imports nothing of this package.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    """A printed number: its unit, where it stands, and the standard deviation printed beside it."""

    value: float
    place: str
    unit: str = ""
    sd: float | None = None


@dataclass(frozen=True)
class Claim:
    """A headline claim in our words, with the number it rests on (None: none in our text)."""

    name: str
    text: str
    place: str
    value: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Case:
    """A row of Table 5: one recommendation as explained by three systems, as printed."""

    history: str
    item: str
    teacher: str
    zero_shot: str
    prism: str
    place: str


def _table(
    number: int, columns: tuple[tuple[str, str], ...], rows: dict[str, tuple[float, ...]]
) -> dict[str, dict[str, Value]]:
    return {
        row: {
            name: Value(value, f"Table {number}, row {row}, column {name}", unit)
            for (name, unit), value in zip(columns, values, strict=True)
        }
        for row, values in rows.items()
    }


#: Data set -> statistic. Sequences are samples: a history of at most 50 items and one target.
TABLE_1: dict[str, dict[str, Value]] = {
    dataset: {
        statistic: Value(value, f"Table 1, row # {statistic.title()}, column {dataset}")
        for statistic, value in zip(
            ("users", "items", "train sequences", "test sequences"), values, strict=True
        )
    }
    for dataset, values in {
        "MovieLens-1M": (6_040, 3_883, 894_752, 99_417),
        "Yelp": (1_987_929, 150_346, 1_418_452, 157_606),
    }.items()
}

#: Model -> column. Latency is for one explanation, the teacher in bfloat16 (section 5.6).
TABLE_2: dict[str, dict[str, Value]] = _table(
    2,
    (("Params", ""), ("Latency", "ms"), ("Peak GPU", "GB")),
    {"FLAN-T5-XXL": (11e9, 4612.92, 20.60), "Prism": (140e6, 190.30, 1.91)},
)

#: Column -> the printed ratio of teacher to student.
TABLE_2_IMPROVEMENT: dict[str, Value] = {
    column: Value(value, f"Table 2, row Improvement, column {column}", "times")
    for column, value in {"Params": 78, "Latency": 24.2, "Peak GPU": 10.8}.items()
}

AUTOMATIC = ("ROUGE-L", "GPTScore", "BS-F1")
HUMAN = ("Persuasiveness", "Personalization", "Faithfulness")

_TABLE_3: dict[str, dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "Yelp": {
        "FLAN-T5-XXL": ((0.2761, 68.12, 0.2679, 3.01, 3.07, 2.87), (0.88, 0.92, 1.01)),
        "Att2Seq": ((0.1653, 63.91, 0.2377, 2.98, 2.76, 2.95), (0.85, 0.90, 0.98)),
        "BART-Base": ((0.1607, 62.59, 0.2599, 3.05, 3.13, 3.05), (0.96, 0.81, 0.95)),
        "PEPLER": ((0.2002, 67.24, 0.3032, 3.42, 3.35, 3.11), (0.85, 0.77, 0.91)),
        "Prism (w/o User)": ((0.2183, 69.21, 0.3273, 3.85, 3.62, 3.87), (0.65, 0.80, 0.69)),
        "Prism (Full)": ((0.2259, 71.56, 0.3334, 3.99, 4.02, 4.06), (0.63, 0.67, 0.65)),
    },
    "MovieLens-1M": {
        "FLAN-T5-XXL": ((0.2953, 74.09, 0.2886, 3.31, 3.29, 2.92), (0.82, 0.96, 0.89)),
        "Att2Seq": ((0.1712, 70.97, 0.2591, 3.14, 3.02, 2.91), (0.84, 0.80, 0.95)),
        "BART-Base": ((0.1764, 71.33, 0.2690, 3.03, 3.11, 3.20), (0.75, 0.77, 0.88)),
        "PEPLER": ((0.2130, 73.01, 0.3246, 3.35, 3.40, 3.36), (0.72, 0.74, 0.88)),
        "Prism (w/o User)": ((0.2478, 79.52, 0.3545, 3.90, 3.63, 4.05), (0.68, 0.85, 0.62)),
        "Prism (Full)": ((0.2574, 80.74, 0.3589, 4.03, 4.07, 4.12), (0.61, 0.59, 0.57)),
    },
}

#: Data set -> model -> column; ratings are means on a scale of 1 to 5 with standard deviations.
TABLE_3: dict[str, dict[str, dict[str, Value]]] = {
    dataset: {
        model: {
            column: Value(value, f"Table 3, {dataset}, row {model}, column {column}", sd=sd)
            for column, value, sd in zip(
                AUTOMATIC + HUMAN, means, (None, None, None, *sds), strict=True
            )
        }
        for model, (means, sds) in models.items()
    }
    for dataset, models in _TABLE_3.items()
}

#: The three sentences of Table 4, typographic quotation marks as printed.
TABLE_4_SENTENCES: dict[str, str] = {
    "A": "Back to the Future is based on ”The Wizard of Oz” "
    "and influenced by ”The Phantom Menace”.",
    "B": "Back to the Future is a sci-fi movie influenced by ”The Phantom Menace” "
    "and ”The Wizard of Oz”.",
    "C": "It’s a classic 80s sci-fi adventure, similar to other films in your history.",
}
TABLE_4_ROLES: dict[str, str] = {
    "A": "golden explanation (hallucinated)",
    "B": "FLAN-T5 prediction (hallucinated)",
    "C": "faithful explanation",
}
TABLE_4_HISTORY: tuple[str, ...] = ("E.T.", "Star Wars")
TABLE_4_ITEM = "Back to the Future"
#: (reference, candidate) -> printed ROUGE-L.
TABLE_4: dict[tuple[str, str], Value] = {
    ("A", "B"): Value(0.75, "Table 4, row ROUGE-L (A vs. B)"),
    ("A", "C"): Value(0.15, "Table 4, row ROUGE-L (A vs. C)"),
}

TABLE_5: tuple[Case, ...] = (
    Case(
        "… E.T., Star Wars, The Thing …",
        "Back to the Future",
        "…based on ”The Wizard of Oz’ and influenced by ”The Phantom Menace’.",
        "Back to the Future is a great movie.",
        "Back to the Future is a science fiction film from 1985, "
        "fitting your interest in 80s sci-fi.",
        "Table 5, row 1",
    ),
    Case(
        "… Animal House, Caddyshack …",
        "American Pie",
        "…similar to The Shining and The Adventures of Pinocchio.",
        "This is a comedy that suits you",
        "American Pie is a comedy that is similar to the movies you have already seen.",
        "Table 5, row 2",
    ),
    Case(
        "… Ferris Bueller’s Day Off …",
        "Sixteen Candles",
        "The user has a history of watching comedies, and Sixteen Candles is based on teen angst.",
        "Sixteen Candles is a movie.",
        "The user has a history of watching movies about high school. "
        "Sixteen Candles is based on teen angst.",
        "Table 5, row 3",
    ),
)

_CLAIMS = (
    Claim(
        "speedup", "the student explains 24 times faster than its teacher", "abstract", 24, "times"
    ),
    Claim("memory", "the student needs a tenth of its teacher's memory", "abstract", 10, "times"),
    Claim("student_parameters", "the student has 140M parameters", "abstract", 140e6),
    Claim("teacher_parameters", "the teacher has 11B parameters", "abstract", 11e9),
    Claim(
        "student_beats_teacher",
        "people find the student more faithful and more personal than its teacher",
        "abstract; section 6.1; Table 3",
    ),
    Claim("student_latency", "one explanation takes 190 ms", "section 5.6", 190, "ms"),
    Claim("teacher_latency", "in BF16 the teacher takes over 4.6 s", "section 5.6", 4600, "ms"),
    Claim("teacher_memory", "the teacher's peak GPU memory", "section 5.6", 20.60, "GB"),
    Claim("student_memory", "the student's peak GPU memory", "section 5.6", 1.91, "GB"),
    Claim(
        "semantic_metrics",
        "on GPTScore and BERTScore-F1 the student is above its teacher",
        "section 6.1; Table 3",
    ),
    Claim(
        "teacher_highest_rouge",
        "the teacher, zero-shot, has the highest ROUGE-L of all systems",
        "section 6.1; section 6.2; Table 3",
    ),
    Claim(
        "rouge_misleads",
        "a hallucinated sentence beats a faithful one in ROUGE-L against a hallucinated reference",
        "section 6.2; Table 4",
    ),
    Claim(
        "humans_prefer_student",
        "annotators prefer the student on all three dimensions, by paired t-tests",
        "section 6.2; Table 3",
    ),
    Claim(
        "student_filters",
        "the student drops or corrects hallucinations of its teacher",
        "section 6.3; Table 5",
    ),
    Claim(
        "compression_regularises",
        "small capacity makes the student treat extreme hallucinations as outliers (a hypothesis)",
        "section 6.3; section 6.4",
    ),
    Claim(
        "finetuning_needed",
        "without distillation and fine-tuning BART-Base is far behind",
        "section 6.4.1; Table 3",
    ),
    Claim(
        "user_vector_helps",
        "without the user's vector scores drop, personalization most",
        "section 6.4.2; Table 3",
    ),
    Claim("raters", "30 graduate students rated the explanations", "section 5.5; Appendix A", 30),
    Claim("calibration", "raters trained on ten samples before the study", "Appendix A.2", 10),
    Claim(
        "kappa_threshold",
        "a Fleiss' kappa above 0.6 is named as substantial agreement; no measured kappa is in "
        "our text",
        "Appendix A.4",
        0.6,
    ),
)
#: Name -> headline claim, in the order of the paper.
CLAIMS: dict[str, Claim] = {claim.name: claim for claim in _CLAIMS}


def rows() -> list[dict[str, object]]:
    """Every printed number of Tables 1-4 as records (table, place, value, unit, sd).

    >>> [r["value"] for r in rows() if r["place"] == "Table 2, row Prism, column Latency"]
    [190.3]
    """
    tables: dict[int, list[Value]] = {
        1: [v for column in TABLE_1.values() for v in column.values()],
        2: [v for row in TABLE_2.values() for v in row.values()]
        + list(TABLE_2_IMPROVEMENT.values()),
        3: [v for models in TABLE_3.values() for row in models.values() for v in row.values()],
        4: list(TABLE_4.values()),
    }
    return [
        {"table": n, "place": v.place, "value": v.value, "unit": v.unit, "sd": v.sd}
        for n, values in tables.items()
        for v in values
    ]
