"""Chapter 5's texts: a teacher asked again, texts in which truth alone or words alone change.

Left out on purpose: the metrics that compare them (`metrics.pitfall`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..metrics import pitfall
from ..metrics.grounding import Grounding
from ..statistics import bootstrap_means
from ..teachers import make_teacher

COPY, PARAPHRASE, FALSE_PARAPHRASE = "false copy", "paraphrase", "false paraphrase"
OTHER, STUDENT = "other true facts", "the student's words"
OWN, OTHERS, GAIN = "this teacher's goldens", "same facts, second teacher's", "difference"
SECOND = "second teacher"
#: What a question without an answer leaves, under every name that a table of this chapter has.
EMPTY = pd.DataFrame(
    columns=["system", "references", "metric", "error", "value", "low", "high", "reversed", "pairs",
             "unfaithful"]
)  # fmt: skip
GROUPS = {True: "golden text is faithful", False: "golden text holds an error"}


def common_samples(
    explanations: pd.DataFrame, samples: pd.DataFrame, *, most: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """At most `most` samples that all systems explain, drawn by `seed`, and their explanations.

    Further seeds of a system (`name@seed`) are no systems of their own and stay out.
    """
    told = explanations[explanations["sample_id"].isin(samples["sample_id"])]
    told = told[~told["system"].str.contains("@")]
    in_all = told.groupby("sample_id")["system"].nunique() == told["system"].nunique()
    drawn = in_all[in_all].index.to_series().sample(frac=1, random_state=seed).head(most)
    samples = samples[samples["sample_id"].isin(drawn)].reset_index(drop=True)
    return samples, told[told["sample_id"].isin(drawn)]


def takes(
    samples: pd.DataFrame, items: pd.DataFrame, noun: str, options: Mapping[str, Any]
) -> dict[str, pd.DataFrame]:
    """What the run's grammar teacher (its `options`) says when it is asked again, by name.

    "another": a second answer by the same teacher. "true": the same, without errors. "second": a
    second teacher with the same facts and errors in other sentence frames, "second again" another
    answer of it. "habitual" and "model": two answers that hold the same error for an item.
    """

    def take(again: bool = False, **changes: Any) -> pd.DataFrame:
        oracle = make_teacher("grammar", items, noun, **{**options, **changes})
        ids = samples["sample_id"]
        told = oracle.explain(samples.assign(sample_id=ids + " again") if again else samples)
        return told.assign(sample_id=ids.to_numpy())

    frames = "first" if options.get("wording", "first") == "second" else "second"
    habit: dict[str, Any] = {"systematic": True, "error_rate": 0.5}
    return {
        "another": take(again=True),
        "true": take(again=True, error_rate=0.0),
        "second": take(wording=frames),
        "second again": take(again=True, wording=frames),
        "habitual": take(again=True, **habit),
        "model": take(**habit),
    }


def minimal_pairs(
    golden: pd.DataFrame,
    told: pd.DataFrame,
    free: pd.DataFrame,
    takes: Mapping[str, pd.DataFrame],
    samples: pd.DataFrame,
    items: pd.DataFrame,
    grounding: Grounding,
    seed: int,
) -> pd.DataFrame:
    """Explanations whose system is the variant, of the samples that have a false copy.

    golden: the teacher's texts; free: scores of explanations in which grounding sees no error,
    which decides what is faithful where the teacher does not label its errors (no `takes`).
    """

    def swap(texts: pd.DataFrame) -> pd.DataFrame:
        return pitfall.swap_titles(texts, samples, items, grounding, seed=seed)

    owner = golden["system"].iloc[0] if len(golden) else ""
    seen = free.loc[free["system"] == owner, "sample_id"]
    faithful = golden["error"].eq("") if takes else golden["sample_id"].isin(seen)
    variants = {COPY: swap(golden[faithful])}
    if takes:
        second = takes["second"]
        variants |= {PARAPHRASE: second, FALSE_PARAPHRASE: swap(second), OTHER: takes["true"]}
    student = free.loc[free["system"] == "prism", "sample_id"]
    if len(student):
        variants[STUDENT] = told[told["system"].eq("prism") & told["sample_id"].isin(student)]
    rewritten = pd.concat([texts.assign(system=name) for name, texts in variants.items()])
    return rewritten[rewritten["sample_id"].isin(variants[COPY]["sample_id"])]


def examples(golden: pd.DataFrame, rewritten: pd.DataFrame, count: int) -> pd.DataFrame:
    """The texts of `count` samples that have every variant: variants down, samples across."""
    shown = pd.concat([golden.assign(system="golden"), rewritten])
    order = shown["system"].unique()
    wide = shown.pivot(index="sample_id", columns="system", values="text")[order].dropna()
    return wide.head(count).reset_index(drop=True).T.rename_axis("variant")


def comparisons(
    golden: pd.DataFrame,
    rewritten: pd.DataFrame,
    answers: pd.DataFrame,
    takes: Mapping[str, pd.DataFrame],
) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """What is compared with which references, for `metrics.pitfall.reference_scores`.

    "pairs": the minimal pairs; `OWN`: all systems against the golden texts; and, of a teacher that
    can be asked again, "true", "erring", "erring alike" (its texts against references that are
    true, that err, that err alike) and `OTHERS` (all systems against the second teacher's texts).
    """
    found = {"pairs": (rewritten, golden), OWN: (answers, golden)}
    if takes:
        model, habitual = takes["model"], takes["habitual"]
        repeated = model["error"].ne("") & (
            habitual["error"].eq("") | habitual["error"].eq(model["error"])
        )
        found |= {
            "true": (golden, takes["true"]),
            "erring": (golden, takes["another"]),
            "erring alike": (habitual[repeated], model[repeated]),
            OTHERS: (answers, takes["second"]),
        }
    return found


def own_words(
    own: pd.DataFrame, others: pd.DataFrame, samples: pd.DataFrame, **settings: Any
) -> pd.DataFrame:
    """Mean scores against one's own golden texts, against a second teacher's, and their difference.

    own, others: scores tables of the same explanations; settings: as `statistics.bootstrap_means`,
    whose columns come back with `references`, one of `OWN`, `OTHERS` and `GAIN`.
    """
    keys = ["sample_id", "system", "metric"]
    against = {
        name: scores.set_index(keys)["value"] for name, scores in ((OWN, own), (OTHERS, others))
    }
    against[GAIN] = against[OWN] - against[OTHERS]
    means = [
        bootstrap_means(values.reset_index(), samples, **settings).assign(references=name)
        for name, values in against.items()
    ]
    return pd.concat(means, ignore_index=True)


def by_golden(scores: pd.DataFrame, free: pd.DataFrame, teacher: str) -> pd.DataFrame:
    """ROUGE-L of the student's faithful explanations, `system` being one of `GROUPS`.

    scores: a scores table against the teacher's golden texts; free: those texts and explanations
    in which grounding sees no error.
    """
    faithful = {name: free.loc[free["system"] == name, "sample_id"] for name in (teacher, "prism")}
    split = scores[scores["system"].eq("prism") & scores["metric"].eq("rougeL")]
    split = split[split["sample_id"].isin(faithful["prism"])]
    return split.assign(system=split["sample_id"].isin(faithful[teacher]).map(GROUPS))
