"""Which metric tells a true explanation from a false one? Tools for section 6.2's question.

Areas under the curve, minimal pairs and orders of systems, from scores of texts whose truth is
known. Left out on purpose: metrics of a whole set of texts (USR, distinct, DIV), which have no
value for one explanation, and whoever says what is true: labels come in from outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ..errors import InputError, nearest
from ..statistics import bootstrap_totals, interval, user_ids
from ..tables import check
from .grounding import Grounding
from .inputs import ReferenceMetric, check_draws, samples_of
from .mentions import normalise
from .overlap import bleu, rouge, set_rouge

ERRORS = ("foreign_title", "wrong_attribute", "unsupported_relation")
_CELLS_AT_A_TIME = 4_000_000  # of a matrix resamples x texts: 32 MB


def reference_scores(
    comparisons: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    *,
    stemmer: bool = False,
    semantic: ReferenceMetric | None = None,
) -> dict[str, pd.DataFrame]:
    """Every metric against a reference: ROUGE, set ROUGE, BLEU and `semantic`, as scores tables.

    `comparisons`: name -> (explanations, references). All are scored in one go, because a neural
    metric then reads a text once that stands in several. rougeLsum is left out: on texts of one
    line it is rougeL. Errors as `overlap.rouge`.
    """
    if not any(len(told) for told, _ in comparisons.values()):
        raise InputError("comparisons: there are no explanations to score")
    for name, pair in comparisons.items():
        for side, table in zip(("explanations", "references"), pair, strict=True):
            check(table, "explanations", source=f"{side} of {name!r}")
    columns = ["sample_id", "system", "text"]
    told, golden = (
        pd.concat(
            [
                pair[side][columns].assign(sample_id=f"{number}:" + pair[side]["sample_id"])
                for number, pair in enumerate(comparisons.values())
            ],
            ignore_index=True,
        )
        for side in (0, 1)
    )
    parts = [rouge(told, golden, stemmer=stemmer), set_rouge(told, golden), bleu(told, golden)]
    if semantic is not None:
        parts.append(semantic.score(told, golden))
    scores = pd.concat(parts, ignore_index=True).query("metric != 'rougeLsum'")
    split = scores["sample_id"].str.partition(":")
    scores = scores.assign(sample_id=split[2])
    return {
        name: scores[split[0] == str(number)].reset_index(drop=True)
        for number, name in enumerate(comparisons)
    }


def truth_scores(
    explanations: pd.DataFrame, samples: pd.DataFrame, grounding: Grounding
) -> pd.DataFrame:
    """The grounding metrics turned so that more is better, as a scores table.

    An error becomes its absence ("no_foreign_title"); error_free is 1 where none of the three is
    seen. What is already good (names_item, cites_history, ...) keeps its name.
    """
    keys = ["sample_id", "system"]
    if not len(explanations):
        raise InputError("explanations: there are none to score")
    scores = grounding.score(explanations, samples)
    wide = scores.pivot(index=keys, columns="metric", values="value").reset_index()
    wide["error_free"] = 1 - wide[list(ERRORS)].max(axis=1)
    for error in ERRORS:
        wide[f"no_{error}"] = 1 - wide.pop(error)
    return wide.melt(keys, var_name="metric", value_name="value")


def auc(
    scores: pd.DataFrame,
    errors: pd.Series,
    users: pd.DataFrame | pd.Series,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Area under the ROC curve of each metric for telling faithful from unfaithful explanations.

    The chance that a faithful explanation scores higher than an unfaithful one, ties counting half
    (Hanley and McNeil 1982; equal to scikit-learn's roc_auc_score): 1 is perfect, 0.5 blind,
    below 0.5 the unfaithful are preferred. `errors` (sample_id -> kind of error, "" for a faithful
    text) labels the one text a sample and system; `users` as in `statistics.bootstrap_means`, and
    users are resampled. Columns: system, metric, error (a kind, against all faithful texts, or
    "any"), value, low, high (percentile bootstrap; nan where one side is empty), n, unfaithful,
    users. Missing values are left out. Raises `InputError` for a sample without a label.

    >>> scores = pd.DataFrame({"sample_id": list("abc"), "system": "x", "metric": "m",
    ...                        "value": [0.9, 0.2, 0.5]})
    >>> errors = pd.Series(["", "title", "title"], index=list("abc"))
    >>> auc(scores, errors, pd.Series(list("uvw"), index=list("abc")))["value"].tolist()
    [1.0, 1.0]
    """
    check(scores, "scores")
    check_draws(resamples, seed)
    errors = errors.dropna()
    if not errors.index.is_unique:
        twice = errors.index[errors.index.duplicated()][0]
        raise InputError(f"errors: sample {twice!r} has two labels; give one")
    unlabelled = ~scores["sample_id"].isin(errors.index)
    if unlabelled.any():
        lost = scores["sample_id"][unlabelled].iloc[0]
        raise InputError(f"errors: sample {lost!r} has no label; label every text that is scored")
    scores = scores.dropna(subset=["value"])
    owners, names = pd.factorize(user_ids(scores["sample_id"], users), sort=True)
    weights = bootstrap_totals(np.eye(len(names)), resamples=resamples, seed=seed)
    labels = scores["sample_id"].map(errors).to_numpy(dtype=object)
    values = scores["value"].to_numpy(dtype=float)
    kinds = ["any", *sorted(set(labels) - {""})]
    rows = []
    for (system, metric), places in scores.groupby(
        ["system", "metric"], sort=False
    ).indices.items():
        for kind in kinds:
            kept = places if kind == "any" else places[np.isin(labels[places], ["", kind])]
            faithful = labels[kept] == ""
            whole = _auc(values[kept], faithful, owners[kept], np.ones((1, len(names))))
            low, high = interval(
                _auc(values[kept], faithful, owners[kept], weights)[:, None], level
            )
            unfaithful, known = int((~faithful).sum()), len(np.unique(owners[kept]))
            rows.append(
                (system, metric, kind, whole[0], low[0], high[0], len(kept), unfaithful, known)
            )
    columns = ["system", "metric", "error", "value", "low", "high", "n", "unfaithful", "users"]
    return pd.DataFrame(rows, columns=columns)


def _auc(
    values: np.ndarray, faithful: np.ndarray, owners: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """AUC under each row of users' weights (resamples, users); nan where one side is empty."""
    order = np.argsort(values, kind="stable")
    ranked, faithful, owners = values[order], faithful[order], owners[order]
    if not len(ranked):
        return np.full(len(weights), np.nan)
    levels = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    parts = []
    for block in np.array_split(weights, 1 + weights.shape[0] * len(ranked) // _CELLS_AT_A_TIME):
        weight = block[:, owners]
        true = np.add.reduceat(weight * faithful, levels, axis=1)
        false = np.add.reduceat(weight * ~faithful, levels, axis=1)
        won = (true * (np.cumsum(false, axis=1) - false / 2)).sum(axis=1)
        pairs = true.sum(axis=1) * false.sum(axis=1)
        parts.append(np.divide(won, pairs, out=np.full(len(block), np.nan), where=pairs > 0))
    return np.concatenate(parts)


def swap_titles(
    explanations: pd.DataFrame,
    samples: pd.DataFrame,
    items: pd.DataFrame,
    grounding: Grounding,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Explanations made false by one title: the first history title named becomes a foreign one.

    The foreign title is drawn from the catalogue; it neither contains nor is contained in a title
    of the item or its history. Texts that name no history title are left out, and those for which
    twenty draws find no such title. Columns: sample_id, system, text.
    """
    check_draws(seed=seed)
    about = samples_of(explanations, samples)
    check(items, "items")
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    catalogue = items["title"].to_numpy(dtype=object)
    rng = np.random.default_rng(seed)
    named = grounding.mentions(explanations["text"]).query("kind == 'title'")
    rows = []
    for number, mentions in named.groupby("text"):
        told = explanations.iloc[int(str(number))]
        sample = about.iloc[int(str(number))]
        item = titles.get(sample["item_id"], sample["item_id"])
        history = {titles.get(past, past) for past in sample["history"]} - {item}
        taken = [normalise(title) for title in (item, *history)]
        draws = rng.choice(catalogue, 20)
        foreign = next((t for t in draws if not _overlaps(normalise(t), taken)), None)
        cited = mentions[mentions["value"].isin(history)]
        if foreign is not None and len(cited):
            first, text = cited.iloc[0], told["text"]
            swapped = text[: first["start"]] + foreign + text[first["end"] :]
            rows.append((told["sample_id"], told["system"], swapped))
    return pd.DataFrame(rows, columns=["sample_id", "system", "text"])


def _overlaps(title: str, taken: list[str]) -> bool:
    return any(title in other or other in title for other in taken)


def preferences(scores: pd.DataFrame, true: str, false: str) -> pd.DataFrame:
    """Whether each metric prefers the system `true` to the system `false`, sample by sample.

    A scores table of system "`true` over `false`": 1 where the first scores higher, 0 where lower,
    0.5 where they are level; its mean is the chance to pick the true one of a pair. Samples that
    only one of the two explains are left out. Raises `InputError` for an unknown system.
    """
    check(scores, "scores")
    known = scores["system"].unique()
    for name in (true, false):
        if name not in known:
            raise InputError(f"scores: system {name!r} has none: {nearest(str(name), known)}")
    if true == false:
        raise InputError(f"scores: {true!r} is compared with itself; name two systems")
    keys = ["sample_id", "metric"]
    wide = scores.pivot(index=keys, columns="system", values="value")[[true, false]].dropna()
    value = (1 + np.sign(wide[true] - wide[false])) / 2
    answer = value.rename("value").reset_index().assign(system=f"{true} over {false}")
    return answer[["sample_id", "system", "metric", "value"]]


def ranking(
    scores: pd.DataFrame,
    users: pd.DataFrame | pd.Series,
    truth: str,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Order of the systems by each metric's mean, and how far it is the order by metric `truth`.

    All systems must be scored on the same samples by the same metrics. First table: system,
    metric, value (mean), low, high, rank (1 is best, ties share their mean), rank_low, rank_high,
    n. Second: metric, value (Kendall's tau-a with the order by `truth`: 1 the same, -1 reversed),
    low, high, pairs (of systems), reversed (pairs that the two metrics order oppositely in the
    middle `level` of all resamples). Users are resampled. Raises `InputError` for fewer than two
    systems, an unknown `truth`, or a system that lacks a sample.
    """
    check(scores, "scores")
    check_draws(resamples, seed)
    metrics, systems = list(scores["metric"].unique()), list(scores["system"].unique())
    if truth not in metrics:
        raise InputError(f"truth: metric {truth!r} has no scores: {nearest(str(truth), metrics)}")
    if len(systems) < 2:
        raise InputError(f"scores: two systems make an order, found {', '.join(systems)}")
    wide = scores.pivot(index="sample_id", columns=["system", "metric"], values="value")
    wide = wide.reindex(columns=pd.MultiIndex.from_product([systems, metrics]))
    short = wide.isna().any()
    if short.any():
        system, metric = short.idxmax()
        raise InputError(f"scores: {system!r} lacks {metric!r} of some sample; score common ones")
    owners, names = pd.factorize(user_ids(wide.index, users), sort=True)
    sums = np.zeros((len(names), wide.shape[1] + 1))
    np.add.at(sums, owners, np.c_[wide.to_numpy(dtype=float), np.ones(len(wide))])
    totals = np.r_[sums.sum(axis=0)[None], bootstrap_totals(sums, resamples=resamples, seed=seed)]
    means = (totals[:, :-1] / totals[:, -1:]).reshape(-1, len(systems), len(metrics))
    ranks = rankdata(-means.round(12), axis=1)
    table = wide.columns.to_frame(index=False, name=["system", "metric"])
    for name, drawn in (("", means), ("rank_", ranks)):
        flat = drawn.reshape(len(drawn), -1)
        table[name.strip("_") or "value"] = flat[0]
        table[f"{name}low"], table[f"{name}high"] = interval(flat[1:], level)
    table["n"] = len(wide)

    pairs = list(combinations(range(len(systems)), 2))
    first, second = np.array(pairs).T
    signs = np.sign((means[:, first] - means[:, second]).round(12))  # resamples, pairs, metrics
    agreed = signs * signs[:, :, [metrics.index(truth)]]
    tau = agreed.mean(axis=1)
    low, high = interval(tau[1:], level)
    surely = (agreed[1:] < 0).mean(axis=0) >= (1 + level) / 2
    order = {"metric": metrics, "value": tau[0], "low": low, "high": high}
    order |= {"pairs": len(pairs), "reversed": surely.sum(axis=0)}
    return table, pd.DataFrame(order)


def side(low: float, high: float, chance: float = 0.5) -> str:
    """On which side of `chance` an interval lies: "above", "below" or "unclear".

    >>> side(0.6, 0.8), side(0.3, 0.6), side(0.1, 0.2)
    ('above', 'unclear', 'below')
    """
    return "above" if low > chance else "below" if high < chance else "unclear"


def trusted_for(told: Mapping[str, str], preferred: str) -> str:
    """What a metric's scores say, from the sides of its intervals (`side`).

    `told`: of its AUC for each kind of error, against 0.5; `preferred`: of how often it prefers a
    true paraphrase to a false copy, against 0.5. A metric that prefers the false copy is no
    measure of truth however well it does elsewhere.

    >>> trusted_for({"title": "above", "relation": "above"}, "below")
    "closeness to the reference's words"
    >>> trusted_for({"title": "above", "relation": "unclear"}, "above")
    'errors of kind title'
    """
    seen = [kind for kind, where in told.items() if where == "above"]
    if preferred == "below":
        return "closeness to the reference's words"
    if seen and len(seen) == len(told):
        return "truth"
    return f"errors of kind {', '.join(seen)}" if seen else "nothing that was asked here"


def trusted(metrics: Sequence[str], areas: pd.DataFrame, duels: pd.DataFrame) -> list[str]:
    """`trusted_for` of each metric, a dash for one that no duel asked.

    areas: what `auc` returns, of the comparisons that count; duels: one row a metric with low and
    high of how often it prefers a true paraphrase to a false copy.
    """
    told = {
        metric: {row.error: side(row.low, row.high) for row in rows.itertuples()}
        for metric, rows in areas[areas["error"] != "any"].groupby("metric")
    }
    liked = {row.metric: side(row.low, row.high) for row in duels.itertuples()}
    return [
        trusted_for(told.get(name, {}), liked[name]) if name in liked else "–" for name in metrics
    ]
