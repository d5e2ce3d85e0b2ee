"""Every automatic metric of any systems' explanations, with intervals and floors, in one call.

Overlap and semantic metrics stand beside two floors, the same texts against the references of other
samples and one constant sentence; what a system adds is its lift above the larger one. Left out on
purpose: metrics that ask a judge or need a prompt, and any verdict (`claims`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..errors import InputError
from ..statistics import bootstrap_means, bootstrap_totals, interval, jackknife, user_groups
from ..statistics import user_ids as users_of
from ..tables import check
from . import diversity, overlap, st2exp
from .inputs import ReferenceMetric, check_draws, check_texts, golden_texts, long_scores
from .receipts import Auditor

COLUMNS = ("system", "metric", "value", "low", "high", "n", "floor_shuffled", "floor_constant",
           "lift")  # fmt: skip
LOWER_IS_BETTER = frozenset(
    {"foreign_title", "wrong_attribute", "unsupported_relation", "div", "self_bleu", *st2exp.CLAIMS}
)
CORPUS = {"corpus_bleu1": 1, "corpus_bleu4": 4}  # metric of all texts together -> n-gram order
_KEYS = ["sample_id", "system"]
_CENTRAL = 150  # golden texts among which the most central one is looked for
_CHUNK = 5_000  # texts that are compared at a time: the progress bar's step
_GROUPS = 20  # of users, for the jackknife


@dataclass(frozen=True)
class Evaluation:
    """`scores`: one row an explanation and metric. `table`: one row a system and metric."""

    scores: pd.DataFrame
    table: pd.DataFrame


def evaluate(
    explanations: pd.DataFrame,
    samples: pd.DataFrame,
    items: pd.DataFrame,
    references: pd.DataFrame | None = None,
    *,
    noun: str = "film",
    semantic: ReferenceMetric | None = None,
    stemmer: bool = False,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Score explanations of any systems: grounding, statements, overlap, diversity, `semantic`.

    `references` are explanations of one system, one for each explained sample; without them there
    is neither overlap nor `semantic`, and of statements no recall. The table's columns (`COLUMNS`):
    value, a mean over explanations (corpus BLEU and the set metrics of `diversity`: one value of
    all texts); low and high, its 95% interval with users resampled (set metrics: a jackknife over
    20 groups of users, see `statistics.jackknife`); n, explanations with a value; for overlap and
    `semantic` floor_shuffled and floor_constant (`shuffled`, `constant`) and lift, value above
    the larger floor; nan for others.
    Raises `InputError` for explanations without sample or reference.
    """
    check(explanations, "explanations")
    check(samples, "samples")
    check_draws(resamples, seed)
    if not len(explanations):
        raise InputError("explanations: there are none to score")
    explanations = explanations.reset_index(drop=True)
    users = users_of(explanations["sample_id"], samples)
    compared = []  # what is measured against the references: the texts and their floors
    if references is not None:
        golden_texts(explanations, references)  # refuses several for a sample and none for one
        references = references[references["sample_id"].isin(explanations["sample_id"])]
        compared = [explanations, shuffled(explanations, seed), constant(references, seed)]
    texts = sum(map(len, [explanations, *compared, explanations]))
    with tqdm(total=texts, desc="grounding", disable=not progress, unit="text") as bar:
        grounding = Auditor(items, noun)
        scores = [grounding.score(explanations, samples)]
        scores.append(st2exp.score(explanations, samples, references, auditor=grounding))
        features = diversity.find_features(explanations, items, matcher=grounding)
        scores.append(diversity.fmr(explanations, samples, items, features=features))
        bar.update(len(explanations))
        rows = []
        if references is not None:
            bar.set_description("overlap")
            measured = [_compare(told, references, semantic, stemmer, bar) for told in compared]
            scores.append(measured[0][0])
            rows.append(_corpus(measured[0][1], users, resamples, seed))
            floors = _floors(explanations, *measured[1:])
        bar.set_description("diversity")
        sets = diversity.diversity(
            explanations,
            samples,
            items,
            groups=user_groups(users, _GROUPS, seed),
            features=features,
            seed=seed,
        )
        rows.append(_sets(sets, explanations))
        bar.update(len(explanations))
    every = pd.concat(scores, ignore_index=True)
    means = bootstrap_means(every, samples, resamples=resamples, seed=seed)
    table = pd.concat([means, *rows], ignore_index=True)
    if references is not None:
        table = table.merge(floors, on=["system", "metric"], how="left")
        table["lift"] = table["value"] - table[["floor_shuffled", "floor_constant"]].max(axis=1)
    rank = {system: place for place, system in enumerate(pd.unique(explanations["system"]))}
    table = table.sort_values("system", key=lambda names: names.map(rank), kind="stable")
    return Evaluation(every, table.reindex(columns=list(COLUMNS)).reset_index(drop=True))


def _compare(
    explanations: pd.DataFrame,
    references: pd.DataFrame,
    semantic: ReferenceMetric | None,
    stemmer: bool,
    bar: tqdm,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All scores against references, and the n-gram counts that corpus BLEU is made of."""
    place = pd.Index(references["sample_id"])
    scores, counts = [], []
    for start in range(0, len(explanations), _CHUNK):
        chunk = explanations.iloc[start : start + _CHUNK]
        golden = references.iloc[np.unique(place.get_indexer(chunk["sample_id"]))]
        scores.append(overlap.rouge(chunk, golden, stemmer=stemmer))
        scores.append(overlap.set_rouge(chunk, golden))
        counts.append(overlap.bleu_statistics(chunk, golden))
        scores.append(_sentence_bleu(counts[-1]))
        bar.update(len(chunk))
    if semantic is not None and len(explanations):
        scores.append(semantic.score(explanations, references))
    if not scores:
        return pd.DataFrame(), pd.DataFrame()
    return pd.concat(scores, ignore_index=True), pd.concat(counts, ignore_index=True)


def _sentence_bleu(counts: pd.DataFrame) -> pd.DataFrame:
    """As `overlap.bleu`, from n-gram counts that are there already."""
    rows = counts[list(overlap.BLEU_STATISTICS)].to_numpy()
    values = {f"bleu{n}": overlap.corpus_bleu(rows, n, effective_order=True) for n in (1, 4)}
    return long_scores(counts, pd.DataFrame(values))


def _corpus_bleu(totals: np.ndarray) -> np.ndarray:
    """Corpus BLEU of each row of n-gram totals, one column for each of `CORPUS`."""
    return np.stack([overlap.corpus_bleu(totals, order) for order in CORPUS.values()], axis=-1)


def _corpus(counts: pd.DataFrame, users: np.ndarray, resamples: int, seed: int) -> pd.DataFrame:
    """Corpus BLEU of every system, users resampled."""
    parts = []
    for system, rows in counts.groupby("system", sort=False).indices.items():
        per_text = counts.drop(columns=_KEYS).iloc[rows]
        sums = per_text.groupby(users[rows]).sum().to_numpy(dtype=float)
        replicates = bootstrap_totals(sums, resamples=resamples, seed=seed)
        low, high = interval(_corpus_bleu(replicates))
        value = _corpus_bleu(sums.sum(axis=0))
        part = {"system": system, "metric": list(CORPUS), "value": value, "low": low, "high": high}
        parts.append(pd.DataFrame({**part, "n": len(rows)}))
    return pd.concat(parts)


def shuffled(explanations: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Each system's explanations under the ids of other samples: its texts, others' references.

    Every text moves to another sample of the same system (one random cycle through all of them,
    the same for systems with the same samples), so no text meets its own reference. A system with
    one explanation has no other sample and is left out.
    """
    check_draws(seed=seed)
    parts = []
    for _, group in explanations.groupby("system", sort=False):
        if len(group) > 1:
            group = group.sort_values("sample_id")
            cycle = np.random.default_rng(seed).permutation(len(group))
            ids = group["sample_id"].to_numpy(dtype=object).copy()
            ids[cycle] = ids[np.roll(cycle, 1)]
            parts.append(group.assign(sample_id=ids))
    return pd.concat(parts, ignore_index=True) if parts else explanations.head(0)


def central_text(texts: Sequence[str], seed: int = 0) -> str:
    """The text of a seeded sample of at most 150 whose mean ROUGE-L with the others is highest.

    It has seen the references, so as a floor it asks for more than a sentence made up blindly.
    """
    check_draws(seed=seed)
    check_texts(texts)
    if not len(texts):
        raise InputError("texts: there are none")
    distinct = np.unique(np.asarray(texts, dtype=object))
    drawn = np.random.default_rng(seed).permutation(len(distinct))[:_CENTRAL]
    some = list(distinct[np.sort(drawn)])
    first, second = np.triu_indices(len(some), 1)
    pairs = [some[i] for i in first], [some[i] for i in second]
    alike = np.zeros((len(some), len(some)))
    alike[first, second] = overlap.rouge_pairs(*pairs)["rougeL"]
    return str(some[int((alike + alike.T).sum(axis=1).argmax())])


def constant(references: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The most central reference as the explanation of every sample; system "constant"."""
    check(references, "explanations", source="references")
    text = central_text(list(references["text"]), seed)
    return pd.DataFrame(
        {"sample_id": references["sample_id"].to_numpy(), "system": "constant", "text": text}
    )


def _floors(
    explanations: pd.DataFrame,
    of_shuffled: tuple[pd.DataFrame, pd.DataFrame],
    of_constant: tuple[pd.DataFrame, pd.DataFrame],
) -> pd.DataFrame:
    """system, metric, floor_shuffled, floor_constant, from scores and n-gram counts of each."""
    # the constant sentence counts for the samples that each system explained
    shared = [
        explanations[_KEYS].merge(frame.drop(columns="system"), on="sample_id")
        for frame in of_constant
    ]
    floors = {"floor_constant": _means(*shared)}
    if len(of_shuffled[0]):
        floors["floor_shuffled"] = _means(*of_shuffled)
    table = pd.DataFrame(floors).rename_axis(["system", "metric"]).reset_index()
    return table.reindex(columns=["system", "metric", "floor_shuffled", "floor_constant"])


def _means(scores: pd.DataFrame, counts: pd.DataFrame) -> pd.Series:
    """Each system's mean scores and corpus BLEU, indexed by system and metric."""
    totals = counts.drop(columns="sample_id").groupby("system").sum()
    corpus = pd.DataFrame(_corpus_bleu(totals.to_numpy(dtype=float)), totals.index, list(CORPUS))
    means = scores.groupby(["system", "metric"])["value"].mean()
    return pd.concat([means, corpus.T.unstack()])


def _sets(found: pd.DataFrame, explanations: pd.DataFrame) -> pd.DataFrame:
    """The answer of `diversity.diversity` with jackknife intervals, cut to what values there are.

    None is below 0, and none but div, a mean number of features, above 1.
    """
    pairs = zip(found["value"], found["left_out"], strict=True)
    low, high = np.hstack([jackknife([value], [left_out]) for value, left_out in pairs])
    most = np.where(found["metric"] == "div", np.inf, 1)
    return found[["system", "metric", "value"]].assign(
        low=np.maximum(low, 0),
        high=np.minimum(high, most),
        n=found["system"].map(explanations["system"].value_counts()),
    )
