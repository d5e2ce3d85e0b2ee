"""What the paper prints, as data: Tables 1-5 and the claims of abstract and text, with places.

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
    """A claim in our words, with the number it rests on (None: none in our text).

    resolution: unit of the number's last printed digit (140M: ten million). loose_end: whether the
    print itself leaves the claim open or speaks against it.
    """

    name: str
    text: str
    place: str
    value: float | None = None
    unit: str = ""
    resolution: float = 0.0
    loose_end: bool = False


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

#: What the experiments need and our text does not state.
NOT_STATED: tuple[str, ...] = (
    "learning rate", "schedule", "batch size", "epochs", "validation", "seeds", "input length",
    "output length", "decoding of the teacher", "decoding of the student", "ranker",
    "filtering of the teacher's output", "training of PEPLER and Att2Seq on distilled text",
    "ROUGE package and stemming", "hardware of the latency table", "batch of the latency table",
    "number of rated explanations", "measured kappa", "how the test split was drawn",
)  # fmt: skip

#: Rows that the text cites by name and value (section 6.1).
CITED_ROWS: dict[str, Value] = {
    "PETER": Value(3.36, "section 6.1"),
    "FLAN-T5-XXL": Value(2.92, "section 6.1"),
    "Prism (Full)": Value(4.12, "section 6.1"),
}

#: ROUGE variants that section 5.5 says are reported.
PROMISED_ROUGE: tuple[str, ...] = ("ROUGE-1", "ROUGE-2", "ROUGE-L")

_CLAIMS = (
    # ---- abstract
    Claim(
        "student_beats_teacher",
        "people find the student more faithful and more personal than its teacher",
        "abstract; section 6.1; Table 3",
    ),
    Claim(
        "speedup",
        "the student explains 24 times faster than its teacher",
        "abstract; section 5.6; Table 2",
        24.2,
        "times",
        0.1,
    ),
    Claim(
        "memory",
        "the student needs a tenth of its teacher's memory",
        "abstract; section 5.6; Table 2",
        10.8,
        "times",
        0.1,
    ),
    Claim(
        "student_parameters",
        "the student, BART-Base, has 140M parameters",
        "abstract; section 4.3; Table 2",
        140e6,
        "",
        10e6,
    ),
    Claim(
        "teacher_parameters",
        "the teacher, FLAN-T5-XXL, has 11B parameters",
        "abstract; section 4.2; Table 2",
        11e9,
        "",
        1e9,
    ),
    Claim(
        "decoupling",
        "decoupling removes the conflicts of coupled models",
        "abstract; section 1; section 7",
    ),
    # ---- text
    Claim(
        "first_decoupled",
        "Prism is the first complete decoupling of ranking and explanation",
        "section 1; section 2.3",
    ),
    Claim(
        "any_ranker",
        "Prism explains what any ranker recommends",
        "section 1; section 4.1; section 5.4",
    ),
    Claim(
        "cold_start",
        "an unknown user still gets a relevant, if less personal, explanation",
        "section 4.4",
    ),
    Claim("student_latency", "one explanation takes 190 ms", "section 5.6", 190, "ms", 1),
    Claim(
        "teacher_latency", "in BF16 the teacher takes over 4.6 s", "section 5.6", 4600, "ms", 100
    ),
    Claim("student_memory", "the student's peak GPU memory", "section 5.6", 1.91, "GB", 0.01),
    Claim(
        "size_ratio", "the student is 78 times smaller than its teacher", "Table 2", 78, "times", 1
    ),
    Claim(
        "real_time",
        "a practical test in e-commerce met real-time needs",
        "section 7",
    ),
    Claim(
        "humans_prefer_student",
        "people prefer the student to every baseline, on all three dimensions",
        "section 6.1; section 6.2; Table 3",
    ),
    Claim(
        "semantic_metrics",
        "on GPTScore and BERTScore the student is above its teacher",
        "section 6.1; Table 3",
    ),
    Claim(
        "beats_att2seq",
        "on the automatic metrics Prism is above Att2Seq",
        "section 6.1; section 7; Table 3",
    ),
    Claim(
        "beats_pepler",
        "on the automatic metrics Prism is above PEPLER",
        "section 6.1; Table 3",
    ),
    Claim(
        "teacher_highest_rouge",
        "the teacher, zero-shot, has the highest ROUGE-L of all systems",
        "section 6.1; section 6.2; Table 3",
    ),
    Claim(
        "self_reference",
        "the teacher's ROUGE is inflated by golden texts of its own making",
        "section 6.1; section 6.2",
    ),
    Claim(
        "rouge_misleads",
        "against a golden text a false near-copy beats a faithful text in other words",
        "section 6.2",
    ),
    Claim(
        "rouge_rewards_errors",
        "where the golden text errs, ROUGE-L prefers the text that repeats the error",
        "section 6.2; Table 4",
    ),
    Claim(
        "student_filters",
        "the student drops its teacher's false links to other films",
        "section 1; section 6.3; Table 5",
    ),
    Claim(
        "student_filters_relations",
        "the student drops its teacher's false 'based on' and 'influenced by'",
        "section 6.3; Table 5",
    ),
    Claim(
        "student_filters_attributes",
        "the student drops its teacher's false attributes",
        "section 1; section 6.3",
    ),
    Claim(
        "compression_regularises",
        "small capacity makes the student treat extreme hallucinations as outliers",
        "section 6.3; section 6.4",
    ),
    Claim(
        "finetuning_needed",
        "without distillation and fine-tuning BART-Base is far behind",
        "section 6.4.1; Table 3",
    ),
    Claim(
        "user_vector_helps",
        "without the user's vector the automatic scores drop",
        "section 6.4.2; Table 3",
    ),
    Claim(
        "user_vector_personal",
        "without the user's vector people find the texts less personal",
        "section 6.4.2; Table 3",
    ),
    Claim("raters", "30 graduate students rated the explanations", "section 5.5; Appendix A", 30),
    Claim("calibration", "raters trained on ten samples before the study", "Appendix A.2", 10),
    Claim(
        "kappa_threshold",
        "a Fleiss' kappa above 0.6 is substantial agreement",
        "Appendix A.4",
        0.6,
        "",
        0.1,
    ),
    # ---- loose ends: what the print itself leaves open or contradicts
    Claim(
        "genrec_cited",
        "GenRec, as cited, is a BART with a table of users",
        "section 1; section 2.2; section 4.3",
        loose_end=True,
    ),
    Claim(
        "genrec_adopted",
        "the user mechanism is adopted directly from GenRec",
        "section 4.3, equation 5; section 7",
        loose_end=True,
    ),
    Claim(
        "yelp_student_size",
        "the student evaluated on Yelp has 140M parameters and peaks at 1.91 GB",
        "section 4.3; Table 1; Table 2",
        140e6,
        "",
        10e6,
        loose_end=True,
    ),
    Claim(
        "movielens_sequences",
        "MovieLens-1M gives 894,752 training and 99,417 test sequences",
        "Table 1",
        994_169,
        "samples",
        1,
        loose_end=True,
    ),
    Claim(
        "movielens_items",
        "MovieLens-1M's ratings are of 3,883 films",
        "section 5.2; Table 1",
        3_883,
        "films",
        1,
        loose_end=True,
    ),
    Claim(
        "split_drawn",
        "test sequences are held out of training",
        "section 5.2; Table 1",
        loose_end=True,
    ),
    Claim(
        "yelp_sequences",
        "Yelp, prepared the same way, gives 1,576,058 sequences",
        "section 5.2; Table 1",
        1_576_058,
        "samples",
        1,
        loose_end=True,
    ),
    Claim(
        "gptscore_scale",
        "GPTScore is a mean log-likelihood",
        "section 5.5, equation 9; Table 3",
        loose_end=True,
    ),
    Claim(
        "bertscore_scale",
        "BS-F1 is BERTScore-F1 of RoBERTa-Large as equation 8 has it",
        "section 5.5, equation 8; Table 3",
        loose_end=True,
    ),
    Claim(
        "teacher_memory",
        "in BF16 the teacher's peak GPU memory is 20.60 GB",
        "section 5.6; Table 2",
        20.60,
        "GB",
        0.01,
        loose_end=True,
    ),
    Claim(
        "distillation_cost",
        "the teacher explained the entire data set",
        "section 4.2, equation 4; Table 2",
        loose_end=True,
    ),
    Claim(
        "table_4",
        "ROUGE-L is 0.75 for the false prediction and 0.15 for the faithful one",
        "Table 4",
        loose_end=True,
    ),
    Claim(
        "cited_rows",
        "the strongest baseline in faithfulness is PETER (3.36)",
        "section 6.1; Table 3",
        3.36,
        "",
        0.01,
        loose_end=True,
    ),
    Claim(
        "rouge_1_2",
        "ROUGE-1 and ROUGE-2 are reported",
        "section 5.5; Table 3",
        loose_end=True,
    ),
    Claim(
        "kappa_reported",
        "Fleiss' kappa is reported and differences are tested by paired t-tests",
        "section 5.5; section 6.2; Appendix A",
        loose_end=True,
    ),
    Claim(
        "golden_and_baseline",
        "baseline and golden texts come from one and the same teacher",
        "section 4.2; section 5.3; section 6.2; Table 3",
        loose_end=True,
    ),
    Claim(
        "teacher_upper_bound",
        "the zero-shot teacher is an upper bound for zero-shot models",
        "section 5.3; Table 3",
        loose_end=True,
    ),
    Claim(
        "never_repeats",
        "Prism consistently avoids its teacher's hallucinations",
        "Appendix B; Table 5",
        loose_end=True,
    ),
    Claim(
        "settings_stated",
        "the experiments can be repeated from what is stated",
        "section 5",
        loose_end=True,
    ),
    Claim(
        "prompt_constrains",
        "the prompt bases explanations solely on the history",
        "section 4.2",
        loose_end=True,
    ),
)
#: Name -> claim: those of the abstract, those of the text, the loose ends.
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
