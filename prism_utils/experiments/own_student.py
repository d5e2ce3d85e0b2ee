"""What chapter 9 asks of a run's own student: whose vector, and how long a history.

Left out on purpose: students trained for a question (`controls`), and the items that a ranker
chooses (`choices`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..decoding import Explainer
from ..metrics.grounding import Grounding
from ..runs import Run, escaped
from ..sequences import read_samples
from ..statistics import bootstrap_means, compare
from ..students.inputs import UserTable
from ..teachers import make_teacher
from .controls import length_bins, other_vectors, scores

NAMES = {
    "names_item": "explanations that name the item",
    "voice": "explanations with the user's own kind of attribute",
    "rougeL": "ROUGE-L",
    "cites_history": "explanations that name a history title",
    "foreign_title": "explanations with a foreign title",
    "wrong_attribute": "explanations with a wrong attribute",
    "grounded": "grounded explanations",
    "alike": "likeness (ROUGE-L)",
}


@dataclass(frozen=True)
class OwnStudent:
    """A run's student with held-out samples, their golden texts, and how they are scored.

    oracle: the teacher, where it can be asked again and knows the voice of a user (the grammar
    teacher), else None. resamples, seed: of users, for every interval.
    """

    items: pd.DataFrame
    golden: pd.DataFrame
    test: pd.DataFrame
    student: Explainer
    oracle: Any
    grounding: Grounding
    resamples: int
    seed: int

    @classmethod
    def open(
        cls, run: Run, *, max_test: int = 0, resamples: int = 2000, seed: int = 0
    ) -> OwnStudent:
        """The student of a run and at most `max_test` (0: all) of its held-out samples."""
        items = run.require("items", made_by="01_preprocessing")
        golden = run.require("explanations", made_by="02_distillation")
        teacher, noun = run.facts["teacher"], run.facts["noun"]
        golden = golden[golden["system"] == teacher]
        test = read_samples(run.table("samples"), split="test", sample_ids=golden["sample_id"])
        count = min(max_test or len(test), len(test))
        test = test.sample(count, random_state=seed).sort_index()
        golden = golden[golden["sample_id"].isin(test["sample_id"])]
        options = run.facts.get("teacher_options", {})
        oracle = make_teacher("grammar", items, noun, **options) if teacher == "grammar" else None
        student, grounding = Explainer.load(run.path / "student"), Grounding(items, noun)
        return cls(items, golden, test, student, oracle, grounding, resamples, seed)

    def explain(
        self, samples: pd.DataFrame, system: str, users: UserTable | None = None
    ) -> pd.DataFrame:
        """The student's explanations as those of `system`, with `users` as its user table."""
        own = self.student.users
        self.student.users = own if users is None else users
        told = self.student.explain(samples)[["sample_id", "text"]].assign(system=system)
        self.student.users = own
        return told

    def both(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Explanations by "student" and, where it can be asked again, "teacher"."""
        told = [self.explain(samples, "student")]
        if self.oracle:
            answers = self.oracle.explain(samples)[["sample_id", "text"]]
            told.append(answers.assign(system="teacher"))
        return pd.concat(told, ignore_index=True)

    def means(self, scores: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
        """Means with intervals, as `statistics.bootstrap_means`."""
        return bootstrap_means(scores, samples, resamples=self.resamples, seed=self.seed)

    def apart(
        self, scores: pd.DataFrame, samples: pd.DataFrame, pairs: Sequence[tuple[str, str]]
    ) -> pd.DataFrame:
        """Paired differences, as `statistics.compare`, in `value`; system is "a - b"."""
        found = compare(scores, samples, pairs, resamples=self.resamples, seed=self.seed)
        found = found.rename(columns={"difference": "value"})
        return found.assign(system=found["system_a"] + " - " + found["system_b"])

    def with_vectors(self) -> pd.DataFrame:
        """Scores (`controls.METRICS`) of the held-out samples, explained with several vectors.

        Systems: teacher; the student with every user's own vector ("own") and, where it has one,
        with another user's ("shuffled") and with none ("zero").
        """
        known = self.student.users
        told = [self.golden[["sample_id", "text"]].assign(system="teacher")]
        told.append(self.explain(self.test, "own"))
        if len(known) > 1 and self.student.model.config.placement != "none":
            told += [
                self.explain(self.test, name, users)
                for name, users in other_vectors(known, self.seed).items()
            ]
        voice = self.oracle.voice if self.oracle else None
        return scores(pd.concat(told, ignore_index=True), self.test, self.grounding, voice)

    def exchanged(self, scores: pd.DataFrame) -> pd.DataFrame:
        """`apart` of `with_vectors`: own less shuffled and own less zero; empty without vector."""
        pairs = [("own", b) for b in ("shuffled", "zero") if b in set(scores["system"])]
        return self.apart(scores, self.test, pairs)

    def by_length(self, scores: pd.DataFrame, least: int = 5) -> pd.DataFrame:
        """Means of `with_vectors` by `length` of history (`controls.length_bins`).

        The column length comes last; bins of fewer samples than `least` are left out, and with
        them all rows where there is no other. Without another user's vector.
        """
        scores = scores[scores["system"] != "shuffled"]
        length = length_bins(self.test["history"].str.len().clip(upper=50))
        parts = [
            self.means(scores[scores["sample_id"].isin(of_bin)], self.test).assign(length=name)
            for name, of_bin in self.test.groupby(length, observed=True)["sample_id"]
            if len(of_bin) >= least
        ]
        columns = ["system", "metric", "value", "low", "high", "n", "users", "length"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def cold_start(
    by_length: pd.DataFrame, vector: pd.DataFrame, exchanged: pd.DataFrame
) -> pd.DataFrame:
    """The table of this name: `by_length`, and means and differences over all lengths ("all")."""
    overall = pd.concat([part for part in (vector, exchanged) if len(part)], ignore_index=True)
    parts = [part for part in (by_length, overall.assign(length="all")) if len(part)]
    columns = ["length", "system", "metric", "value", "low", "high", "n", "users"]
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)


def short_histories(by_length: pd.DataFrame) -> str:
    """ROUGE-L of the student's own vector with the shortest and the longest histories, in words."""
    ends = by_length[by_length["metric"].eq("rougeL") & by_length["system"].eq("own")]
    if not len(ends):
        return "Too few samples are held out for a curve over lengths of history."
    first, last = ends.iloc[0], ends.iloc[-1]
    judged = "the intervals overlap, so a decline with short histories is not shown"
    if first["high"] < last["low"]:
        judged = "less for the short ones"
    elif first["low"] > last["high"]:
        judged = "more for the short ones"
    short, long = (
        f"{end['value']:.3f} [{end['low']:.3f}, {end['high']:.3f}]" for end in (first, last)
    )
    return (
        f"ROUGE-L with histories of {first['length']} items is {short}, "
        f"with {last['length']} items {long}: {judged}."
    )


def recorded_student(cold: pd.DataFrame, given: Mapping[str, Any]) -> str:
    """Of a record's table `cold_start` and its parameters: whose curve it is, in words."""
    cites = cold[(cold["length"] == "all") & (cold["metric"] == "cites_history")]
    own, teacher = (cites.set_index("system")["value"][name] for name in ("own", "teacher"))
    weak = (
        " It has not learnt to copy from so long a list in its steps of training: its curve is "
        "that of a weak student, and says little about a good one."
    )
    return (
        f"The student of the recorded run is shown the last {given['student_history']} items; "
        f"{escaped(given['corpus'])}; teacher {escaped(given['teacher'])}. It names a title of the "
        f"history in {own:.0%} of its explanations, its teacher in {teacher:.0%}."
        + (weak if own < teacher / 2 else "")
    )
