"""How varied explanations are: USR, distinct-n, DIV, FCR, self-BLEU; and FMR, text by text.

All but FMR and self-BLEU are exact counts over a system's whole set of texts, so a value with a
group left out follows from the counts too. Left out on purpose: comparing sets of different sizes
(every set metric here falls as texts are added), and features that no items table holds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from sacrebleu import BLEU

from ..errors import InputError
from ..tables import check
from ..wording import attributes
from .inputs import check_draws, check_least, samples_of
from .mentions import Matcher
from .overlap import Tokens, composed, words

METRICS = ("usr", "distinct1", "distinct2", "div", "fcr", "self_bleu")


def find_features(
    explanations: pd.DataFrame, items: pd.DataFrame, *, matcher: Matcher | None = None
) -> pd.DataFrame:
    """Which features each explanation mentions: columns row (its position), feature; no doubles.

    Features are the items' attribute values in lower case, whatever their kind, as
    `mentions.Matcher.mentions` finds them; titles are none. `diversity` and `fmr` take the frame,
    so that texts are searched once. `matcher`: one made of `items` already.
    """
    check(explanations, "explanations")
    found = (matcher or Matcher(items)).mentions(explanations["text"])
    found = found[found["kind"] != "title"]
    features = pd.DataFrame({"row": found["text"], "feature": found["value"].str.lower()})
    return features.drop_duplicates(ignore_index=True)


def _features_of_items(items: pd.DataFrame) -> pd.Series:
    """item_id -> set of features."""
    check(items, "items")
    kinds = attributes(items).values()
    rows = [{v.lower() for values in row for v in values} for row in zip(*kinds, strict=True)]
    return pd.Series(rows or [set()] * len(items), index=items["item_id"], dtype=object)


def fmr(
    explanations: pd.DataFrame,
    samples: pd.DataFrame,
    items: pd.DataFrame,
    *,
    features: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Scores "fmr": 1 if a text mentions at least one feature of its item, else 0.

    After the feature matching ratio of Li et al. 2020 (NETE), which asks for the one feature that
    the reference was annotated with; here any attribute value of the item will do. nan where the
    catalogue knows no feature of the item. `features`: what `find_features` gave for these texts.
    """
    about = samples_of(explanations, samples)["item_id"]
    if features is None:
        features = find_features(explanations, items)
    own = about.map(_features_of_items(items))
    known = own.map(lambda values: isinstance(values, set) and len(values) > 0).to_numpy(bool)
    pairs = zip(features["row"], features["feature"], strict=True)
    hits = [row for row, feature in pairs if known[row] and feature in own[row]]
    values = np.where(known, 0.0, np.nan)
    values[hits] = 1.0
    return explanations[["sample_id", "system"]].assign(metric="fmr", value=values)


def diversity(
    explanations: pd.DataFrame,
    samples: pd.DataFrame,
    items: pd.DataFrame,
    *,
    groups: np.ndarray | None = None,
    self_bleu_sample: int = 100,
    seed: int = 0,
    features: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One value for each system and metric of `METRICS`: columns system, metric, value.

    - usr: distinct texts over texts (Li et al. 2020); white space does not tell texts apart.
    - distinct1, distinct2: distinct words and pairs of neighbouring words over all of them (Li et
      al. 2016), words as ROUGE takes them. nan without any.
    - div: features shared by two texts, mean over all pairs of texts (NETE; lower is better).
      Exact: a feature that n of N texts mention adds n(n-1) / N(N-1). nan for less than two texts.
    - fcr: share of the features of all items explained here that at least one text mentions
      (NETE). nan where these items have none.
    - self_bleu: mean BLEU-4 in 0..1 (sacrebleu, effective order) of a text against all others
      (Zhu et al. 2018; lower is better), over `self_bleu_sample` texts of each system, drawn with
      `seed`; all systems with the same samples lose or keep the same ones. 0 leaves it out.

    `groups`, an integer (a user, say) for each row of `explanations`, adds a column left_out: the
    array of values with one group left out, for the groups of the system in ascending order, for a
    jackknife. In self_bleu only the scored texts of the group are left out: the rest of the sample
    is compared with what it was compared with. `features`: see `find_features`.

    >>> told = pd.DataFrame({"sample_id": ["1", "2"], "system": "s", "text": ["So fun", "So dull"]})
    >>> shown = pd.DataFrame({"sample_id": ["1", "2"], "user_id": "u", "history": [[], []],
    ...                       "item_id": "i", "split": "test"})
    >>> catalogue = pd.DataFrame({"item_id": ["i"], "title": ["Jaws"]})
    >>> diversity(told, shown, catalogue)[["metric", "value"]].head(3).values.tolist()
    [['usr', 1.0], ['distinct1', 0.75], ['distinct2', 1.0]]
    """
    about = samples_of(explanations, samples)["item_id"]
    check_draws(seed=seed)
    check_least(0, self_bleu_sample=self_bleu_sample)
    if self_bleu_sample == 1:
        raise InputError(f"self_bleu_sample must be 0, or 2 or more, found {self_bleu_sample}")
    if groups is not None and len(groups) != len(explanations):
        raise InputError(
            f"groups: {len(groups)} for {len(explanations)} explanations; give one for each row"
        )
    if groups is not None and not np.issubdtype(np.asarray(groups).dtype, np.integer):
        raise InputError("groups must be whole numbers, one for each row")
    if features is None:
        features = find_features(explanations, items)
    vocabulary = set().union(*about.drop_duplicates().map(_features_of_items(items)).dropna())
    names, codes = np.unique(features["feature"].to_numpy(str), return_inverse=True)
    listed = np.array([name in vocabulary for name in names], dtype=bool)
    mentioned = features["row"].to_numpy(int)

    frames = []
    for system, rows in explanations.groupby("system", sort=False).indices.items():
        whole = np.zeros(len(rows), int) if groups is None else np.asarray(groups)[rows]
        labels, group = np.unique(whole, return_inverse=True)
        place = np.full(len(explanations), -1)
        place[rows] = np.arange(len(rows))
        here = place[mentioned] >= 0
        texts = [" ".join(text.split()) for text in explanations["text"].iloc[rows]]
        results = [
            *_texts_and_words(texts, group, len(labels)),
            *_features(place[mentioned[here]], codes[here], listed, group, len(vocabulary)),
        ]
        if self_bleu_sample:
            ids = explanations["sample_id"].iloc[rows].to_numpy(str)
            drawn = np.argsort(ids)[_draw(len(ids), self_bleu_sample, seed)]
            results.append(("self_bleu", *_self_bleu(texts, drawn, group, len(labels))))
        frame = pd.DataFrame(results, columns=["metric", "value", "left_out"])
        frames.append(frame.assign(system=system))
    columns = ["system", "metric", "value", *([] if groups is None else ["left_out"])]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    return table[columns]


Result = tuple[str, float, np.ndarray]


def _ratio(above: float | np.ndarray, below: float | np.ndarray) -> np.ndarray:
    """above / below, nan where there is nothing to divide by."""
    below = np.asarray(below, dtype=float)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def _distinct(keys: np.ndarray, group: np.ndarray, groups: int) -> tuple[int, np.ndarray]:
    """How many keys there are, and how many would go with each group: array (groups,)."""
    pairs = np.unique(keys.astype(np.int64) * groups + group)
    unique, first, counts = np.unique(pairs // groups, return_index=True, return_counts=True)
    lost = np.bincount(pairs[first[counts == 1]] % groups, minlength=groups)
    return len(unique), lost


def _texts_and_words(texts: list[str], group: np.ndarray, groups: int) -> Iterator[Result]:
    """usr, distinct1 and distinct2."""
    codes, unique = pd.factorize(np.array(composed(texts), dtype=object))
    count, lost = _distinct(codes, group, groups)
    sizes = np.bincount(group, minlength=groups)
    yield "usr", float(_ratio(count, len(texts))), _ratio(count - lost, len(texts) - sizes)
    for n, matrix in enumerate(Tokens([words(text) for text in unique]).grams(2), start=1):
        all_texts = matrix[codes].tocoo()
        count, lost = _distinct(all_texts.col, group[all_texts.row], groups)
        sizes = np.bincount(group[all_texts.row], weights=all_texts.data, minlength=groups)
        total = sizes.sum()
        yield f"distinct{n}", float(_ratio(count, total)), _ratio(count - lost, total - sizes)


def _features(
    row: np.ndarray, code: np.ndarray, listed: np.ndarray, group: np.ndarray, vocabulary: int
) -> Iterator[Result]:
    """div and fcr, of features `code` that texts `row` mention (each once)."""

    def pairs_of(count: np.ndarray) -> np.ndarray:
        return count * (count - 1) / 2

    sizes = np.bincount(group)
    groups, count = len(sizes), len(group)
    texts = np.bincount(code, minlength=len(listed)).astype(float)  # that mention each feature
    both, members = np.unique(code.astype(np.int64) * groups + group[row], return_counts=True)
    feature, owner = both // groups, both % groups
    change = pairs_of(texts[feature]) - pairs_of(texts[feature] - members)
    shared = pairs_of(texts).sum()
    left = shared - np.bincount(owner, weights=change, minlength=groups)
    every = pairs_of(np.asarray(float(count)))
    yield "div", float(_ratio(shared, every)), _ratio(left, pairs_of(count - sizes))
    known = listed[code]
    found, lost = _distinct(code[known], group[row[known]], groups)
    whole = np.full(groups, vocabulary)
    yield "fcr", float(_ratio(found, vocabulary)), _ratio(found - lost, whole)


def _draw(count: int, size: int, seed: int) -> np.ndarray:
    """At most `size` of `count` positions, in order."""
    drawn = np.random.default_rng(seed).choice(count, min(size, count), replace=False)
    return np.sort(drawn)


def _self_bleu(
    texts: list[str], drawn: np.ndarray, group: np.ndarray, groups: int
) -> tuple[float, np.ndarray]:
    """Mean BLEU-4 of each drawn text against the other drawn ones."""
    if len(drawn) < 2:
        return float("nan"), np.full(groups, np.nan)
    sample = [texts[place] for place in drawn]
    bleu = BLEU(effective_order=True)
    scores = np.array(
        [
            bleu.sentence_score(text, sample[:n] + sample[n + 1 :]).score / 100
            for n, text in enumerate(sample)
        ]
    )
    sums = np.bincount(group[drawn], weights=scores, minlength=groups)
    sizes = np.bincount(group[drawn], minlength=groups)
    return float(scores.mean()), _ratio(scores.sum() - sums, len(scores) - sizes)
