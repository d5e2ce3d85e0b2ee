"""What the study found, for somebody who has read only the paper's abstract.

Each finding is a question, an answer worded from a run's tables and the records, the cell it rests
on, and what it does not show. Left out on purpose: numbers that no table holds, and verdicts on
the paper's own sentences (`claims`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..runs import Run, project_root
from .evidence import Evidence, Missing
from .judges import judge
from .mechanism import trainings
from .register import CLAIMS_PAGE
from .verdicts import INCONSISTENT


class Finding(NamedTuple):
    """One answer: `label` is the evidence's, in `chapter`; `on` says what was run on what."""

    question: str
    answer: str
    limits: str
    chapter: str
    label: str
    on: str


def _points(row: Any, name: str = "value") -> str:
    """A share's change in points of a hundred, with its interval."""
    return f"{100 * row[name]:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}] points"


def _share(value: float) -> str:
    return f"{100 * value:.1f}%" if value < 0.1 else f"{100 * value:.0f}%"


def _way(row: Any, more: str, less: str, neither: str) -> str:
    """Which way an interval points: above zero, below, or across."""
    return more if row["low"] > 0 else less if row["high"] < 0 else neither


def _one(table: pd.DataFrame, **values: Any) -> pd.Series | None:
    """The one row with these values, None where there is none."""
    for column, value in values.items():
        table = table[table[column] == value]
    return table.iloc[0] if len(table) else None


def _likeness(evidence: Evidence) -> Finding:
    table = evidence.table("evaluation", "07_evaluation")
    student = _one(table, system="prism", metric="rougeL")
    if student is None:
        raise Missing("07_evaluation")
    floor = max(student["floor_shuffled"], student["floor_constant"])
    answer = (
        f"Against its teacher's texts its ROUGE-L is {student['value']:.3f} "
        f"[{student['low']:.3f}, {student['high']:.3f}]. "
    )
    again = _one(table, system="again", metric="rougeL")
    if again is not None:
        answer += f"The teacher, asked a second time, reaches {again['value']:.3f}. "
    answer += f"A text that has nothing to do with the sample reaches {floor:.3f}: "
    answer += _way(
        {"low": student["low"] - floor, "high": student["high"] - floor},
        "the student knows what it is talking about, by that difference.",
        "the student is below it.",
        "no difference is shown.",
    )
    return Finding(
        "Can a small model learn to explain like its teacher?",
        answer,
        "Wording is all that such a metric sees, errors of the teacher included.",
        "07_evaluation",
        "table-3",
        evidence.on,
    )


def _faithfulness(evidence: Evidence) -> Finding:
    table = evidence.table("comparisons", "07_evaluation")
    told = []
    for metric, what in (
        ("foreign_title", "names films that the user never saw"),
        ("unsupported_relation", "invents relations between films"),
        ("wrong_attribute", "gives the film something it lacks"),
    ):
        row = _one(table, system_a="prism", system_b=evidence.teacher, metric=metric)
        if row is not None:
            way = _way(row, "more often", "less often", "no difference shown")
            told.append(f"it {what}: {way} ({_points(row, 'difference')})")
    if not told:
        raise Missing("07_evaluation")
    return Finding(
        "Is the student more faithful than its teacher?",
        f"In the share of explanations, {'; '.join(told)}.",
        "Errors are counted by a metric whose precision and recall chapter 7 gives; the kind that "
        "is hardest to see in free text is the wrong attribute. " + evidence.caveat,
        "07_evaluation",
        "comparisons",
        evidence.on,
    )


_SMALL_WORLD = (
    "One small world: simulated users, a grammar that errs by chance, students from scratch."
)


def _rates(
    found: pd.DataFrame, centre: dict[str, Any], systematic: bool, decoding: str
) -> pd.DataFrame:
    """Student against teacher along the teacher's error rate, title errors."""
    from .. import experiments  # and torch with it, which only these findings need

    erring = ("error_kinds", "systematic", "error_rate")
    found = experiments.along(found, *erring, centre=centre)
    gaps = experiments.against_teacher(found[found["error_kinds"] == "title"])
    chosen = (gaps["systematic"] == systematic) & (gaps["decoding"] == decoding)
    return gaps[chosen & (gaps["error_rate"] > 0)]


def _told(gaps: pd.DataFrame) -> str:
    """Means over the teacher's rates, and at how many of them the student filters or amplifies."""
    mean = gaps[["teacher", "student"]].mean()
    counts = gaps["reading"].value_counts()
    parts = [f"{name} at {counts[name]}" for name in ("filters", "amplifies") if name in counts]
    said = f" (it {' and '.join(parts)} of {len(gaps)} teacher rates)" if parts else ""
    return f"{_share(mean['student'])}{said} where its teacher errs in {_share(mean['teacher'])}"


def _filter(evidence: Evidence) -> Finding:
    found, centre, on = trainings(evidence)
    greedy, drawn = (_rates(found, centre, False, d) for d in ("greedy", "sample@1.0"))
    if greedy.empty or drawn.empty:
        raise Missing("08_mechanism")
    ratio = [g["student"].mean() / g["teacher"].mean() for g in (greedy, drawn)]
    reading = (
        "The errors are in the model; taking the likeliest word leaves them out."
        if ratio[0] < 0.5 < ratio[1]
        else "So decoding alone does not explain it."
    )
    return Finding(
        "Why would a student leave its teacher's errors out?",
        "The student names a wrong film, where any will do for the teacher, in this share of "
        f"explanations: decoded greedily {_told(greedy)}; sampled {_told(drawn)}. {reading}",
        _SMALL_WORLD,
        "08_mechanism",
        "filter",
        on,
    )


def _systematic(evidence: Evidence) -> Finding:
    found, centre, on = trainings(evidence)
    greedy = _rates(found, centre, True, "greedy")
    if greedy.empty:
        raise Missing("08_mechanism")
    off = (greedy["student"] - greedy["predicted"]).abs().mean()
    return Finding(
        "Can one rely on it?",
        "Where the teacher names the same wrong film whenever it errs about an item, the greedy "
        f"student names it in {_told(greedy)}. What theory says from the teacher's answers alone "
        f"is off by {100 * off:.0f} points on average.",
        _SMALL_WORLD + " How systematic a real teacher's errors are is not measured here.",
        "08_mechanism",
        "filter",
        on,
    )


def _compression(evidence: Evidence) -> Finding:
    from .. import experiments

    found, centre, on = trainings(evidence)
    chosen = experiments.along(found, "size", centre=centre)
    slopes = experiments.slopes(chosen, "size")
    slopes = slopes[slopes["decoding"].isin(["greedy", "sample@1.0"])]
    if slopes.empty:
        raise Missing("08_mechanism")
    told = [
        f"{row['decoding']} {_points(row)}: "
        + _way(row, "more errors", "fewer errors", "no slope shown")
        for _, row in slopes.iterrows()
    ]
    sizes = sorted(chosen["size"].unique(), key=experiments.amount)
    return Finding(
        "Is it compression?",
        "If it were, larger students would repeat more errors. For every doubling of the student "
        f"({sizes[0]} to {sizes[-1]} parameters) its error rate changes by: {'; '.join(told)}.",
        _SMALL_WORLD + " Intervals are over seeds. All were trained for as many steps, and a small "
        "one that has learnt less names wrong films for that reason too.",
        "08_mechanism",
        "capacity",
        on,
    )


def _memory(evidence: Evidence) -> Finding:
    from .. import experiments

    found, centre, on = trainings(evidence)
    told = []
    for factor, what in (("n_train", "training examples"), ("steps", "training steps")):
        chosen = experiments.along(found, factor, centre=centre)
        row = _one(experiments.slopes(chosen, factor), decoding="greedy")
        if row is not None:
            ends = sorted(chosen[factor].unique())
            way = _way(row, "more errors", "fewer errors", "no slope shown")
            told.append(f"{what} ({ends[0]:,} to {ends[-1]:,}) {_points(row)}: {way}")
    if not told:
        raise Missing("08_mechanism")
    return Finding(
        "When do single errors get through?",
        "A student that has few examples, or sees them often, can learn its teacher's errors by "
        "heart. For every doubling, the share of held-out explanations with such an error, "
        f"decoded greedily, changes by: {'; '.join(told)}.",
        _SMALL_WORLD + " Under-training and learning by heart pull in opposite directions, so a "
        "straight line over steps says little; chapter 8 shows the points.",
        "08_mechanism",
        "memorisation",
        on,
    )


def _vector(evidence: Evidence) -> Finding:
    table = evidence.table("comparisons", "07_evaluation")
    row = _one(table, system_a="prism", system_b="prism-no-user", metric="rougeL")
    if row is None:
        raise Missing("03b_baselines")
    answer = (
        "In ROUGE-L, with it less without it: "
        f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] ("
        + _way(row, "it helps", "it hurts", "no difference shown")
        + "). "
    )
    on, record = evidence.on, evidence.larger("controls", by="seeds")
    if record:
        from ..experiments import controls

        told = pd.DataFrame(record["tables"]["controls"])
        made = record["provenance"]
        given, device = made["parameters"], made["device"]
        on += f"; controls, {given['seeds']} seed(s): {device.get('gpu') or device['cpu']}"
        parts = []
        for strength in (0.0, 1.0):
            effect = _one(
                told,
                setting=controls.label({"voice_strength": strength}),
                system="own - shuffled",
                users="known",
                metric="voice",
            )
            if effect is not None:
                parts.append(f"{_points(effect)} where the share is {strength:g}")
        if parts:
            answer += (
                "A vector can hold only what the teacher's texts betray of a user beyond history "
                "and item. In texts of which a set share leans on the user, the user's own "
                f"vector, less another's, makes them do so by {' and '.join(parts)}."
            )
            if given["seeds"] == 1:
                answer += " Each from one training, whose luck these intervals do not hold."
    return Finding(
        "What does the user's vector add?",
        answer,
        "How much a user's identity shows in a real teacher's texts is not known; one that sees "
        "history and item alone, as the paper's does, gives the vector nothing of its own.",
        "09_controls",
        "user-vector-controls",
        on,
    )


def _rouge(evidence: Evidence) -> Finding:
    table = evidence.table("pitfall_auc", "05_rouge_pitfall")
    rows = table[(table["metric"] == "rougeL") & (table["error"] == "any")]
    told = [
        f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] against {what}"
        for name, what in (
            ("true", "true references"),
            ("erring alike", "references with the same error"),
        )
        for row in [_one(rows, references=name)]
        if row is not None
    ]
    if not told:
        raise Missing("05_rouge_pitfall")
    return Finding(
        "Can ROUGE tell a true explanation from a false one?",
        f"The chance that ROUGE-L ranks a true one above a false one (0.5 is blind): "
        f"{'; '.join(told)}.",
        "Errors are those of a grammar, one false claim a text. " + evidence.caveat,
        "05_rouge_pitfall",
        "auc",
        evidence.on,
    )


def _people(evidence: Evidence) -> Finding:
    table = evidence.table("rating_null", "06_agreement")
    first = table[table["setting"] == table["setting"].iloc[0]].set_index("analysis")["rejected"]
    pooled, crossed = (
        first.get(name) for name in ("paired t-test, pooled", "crossed effects on differences")
    )
    raters, samples = (int(table[name].iloc[0]) for name in ("raters", "samples"))
    return Finding(
        "What would people's ratings prove?",
        f"With {raters} raters of {samples} samples and two systems that are equally good, the "
        f"paired t-test over all ratings finds a difference in {_share(pooled)} of simulated "
        f"studies at the 5% level, a model with crossed raters and samples in {_share(crossed)}.",
        "Nobody has rated for this book; the instrument to do so is in chapter 6. The paper does "
        "not say how its test treats raters and samples.",
        "06_agreement",
        "raters",
        "simulated studies",
    )


def _leakage(evidence: Evidence) -> Finding:
    record = evidence.larger("splits", by="steps")
    if not record:
        raise Missing("07c_splits")
    overlap, apart = (
        pd.DataFrame(record["tables"][name]) for name in ("split_overlap", "split_differences")
    )
    kept = overlap[overlap["history"] == "as kept"].set_index("split")["share_90"]
    prism = apart[(apart["system"] == "prism") & (apart["metric"] == "rougeL")]
    prism = prism[prism["what"] == "difference"]
    told = [
        f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] over {row['split']}"
        for _, row in prism.iterrows()
    ]
    first = overlap["split"].iloc[0]
    made = record["provenance"]
    return Finding(
        "Does a random split flatter the student?",
        f"Under the {first} split one training history holds nine tenths of "
        f"{_share(kept[first])} of the test histories, under the {kept.idxmin()} one of "
        f"{_share(kept.min())}. What Prism gains by it in ROUGE-L: {'; '.join(told)}.".replace(
            "leave_last", "leave-last"
        ),
        "One training of each system under each split; the paper does not say how it split.",
        "07c_splits",
        "splits",
        f"{made['parameters']['corpus']}; {made['device']['cpu']}",
    )


def _unfit(evidence: Evidence) -> Finding:
    table = evidence.table("unfit_items", "09_controls")
    rows = table[(table["system"] == "student") & (table["metric"] == "names_item")]
    told = [f"{_share(row['value'])} ({row['choice']})" for _, row in rows.iterrows()]
    if not told:
        raise Missing("09_controls")
    return Finding(
        "Does it explain whatever it is given?",
        f"Asked about items of the same users, the student names the item as its recommendation "
        f"in {', '.join(told)}. It has no way to decline.",
        "Whether an item is unfit is a ranker's opinion, or a simulated rating.",
        "09_controls",
        "unfit-items",
        evidence.on,
    )


def _facts(evidence: Evidence) -> Finding:
    table = evidence.table("claims_of_texts", "10_true")
    false = table[table["metric"] == "false"].set_index("system")
    if not {"prism", "prism-facts"} <= set(false.index):
        raise Missing("10_true")
    said = {
        name: f"{_share(row['value'])} [{_share(row['low'])}, {_share(row['high'])}]"
        for name, row in false.iterrows()
    }
    price = evidence.table("guarantee", "10_true").set_index("way").loc["retry"]
    return Finding(
        "What if the student is told the facts?",
        f"Told titles alone it says something that nothing supports in {said['prism']} of its "
        f"explanations, told also what item and history share in {said['prism-facts']}. Where "
        f"such texts are replaced, {_share(price['false'])} are left, for {price['ratio']:.2f} "
        "of the time.",
        "False is what the audit finds; what blind readers find is in chapter 10's record. One "
        "training of each student.",
        "10_true",
        "facts",
        evidence.on,
    )


def _print(evidence: Evidence) -> Finding:
    judged = judge(evidence.run, evidence.folder)
    loose = judged["verdict"].eq(INCONSISTENT)
    return Finding(
        "Do the paper's own numbers agree with each other?",
        f"{int(loose.sum())} of the {len(judged)} claims and loose ends that we list do not: "
        f"each has its computation on the page of claims.",
        "Read in arXiv version 1, from which the formulas of our text are lost.",
        CLAIMS_PAGE,
        "claim-" + (judged.loc[loose, "name"].iloc[0] if loose.any() else judged["name"].iloc[0]),
        "the printed text",
    )


_FINDERS: tuple[Callable[[Evidence], Finding], ...] = (
    _likeness,
    _faithfulness,
    _filter,
    _systematic,
    _compression,
    _memory,
    _vector,
    _rouge,
    _people,
    _leakage,
    _unfit,
    _facts,
    _print,
)


def findings(run: Run, records: Path | None = None) -> list[Finding]:
    """The findings that a run's tables and the records allow; what is missing is left out.

    `records` is the folder of JSON records (default: `book/records` of the project).
    """
    evidence = Evidence(run, records or project_root() / "book" / "records")
    found = []
    for finder in _FINDERS:
        try:
            found.append(finder(evidence))
        except Missing:
            continue
    return found
