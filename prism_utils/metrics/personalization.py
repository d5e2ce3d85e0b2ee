"""Personalization without raters: what of an explanation is there because of its user?

Two questions to texts: do they change when the user, the history or the item is exchanged, and can
a simple classifier tell a user's voice from them? Left out on purpose: whether a change is for the
better; a text may change with the user and persuade nobody.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from ..errors import InputError, nearest
from ..statistics import bootstrap_means
from ..tables import check
from .inputs import check_draws, check_least, check_texts
from .overlap import rouge_pairs

SWAPS = {"user": "user_id", "history": "history", "item": "item_id"}
_DRAWS = 1000  # for a sample whose partner does not fit; then there is none


def swap(samples: pd.DataFrame, what: str, seed: int = 0) -> pd.DataFrame:
    """The same samples with one thing taken from another sample, drawn at random for each.

    what: "user" (another user's id, history and item kept), "history" (another user's, without
    the item) or "item" (another item, not in the history). Sample ids stay, so that texts before
    and after can be paired. Raises `InputError` for another `what`, and where no other sample fits.
    """
    check(samples, "samples")
    check_draws(seed=seed)
    if what not in SWAPS:
        raise InputError(f"swap: unknown {what!r}: {nearest(str(what), SWAPS)}")
    rng = np.random.default_rng(seed)
    users = pd.factorize(samples["user_id"])[0]
    items, histories = (samples[c].to_numpy(dtype=object) for c in ("item_id", "history"))
    partner = np.arange(len(samples))
    wrong = partner.copy()  # rows whose partner does not fit; at first every row is its own
    for _ in range(_DRAWS):
        partner[wrong] = rng.integers(len(samples), size=len(wrong))
        if what == "item":
            new = zip(items[partner[wrong]], wrong, strict=True)
            unfit = np.array([i == items[row] or i in histories[row] for i, row in new], dtype=bool)
        else:
            unfit = users[partner[wrong]] == users[wrong]
        if what == "history":
            pairs = zip(wrong, partner[wrong], strict=True)
            unfit |= np.array([items[row] in histories[other] for row, other in pairs], dtype=bool)
        wrong = wrong[unfit]
        if not len(wrong):
            break
    if len(wrong):
        raise InputError(
            f"samples: no other {what} that fits was found for sample "
            f"{samples['sample_id'].iloc[wrong[0]]!r}; give samples of more users and items"
        )
    column = SWAPS[what]
    return samples.assign(**{column: samples[column].to_numpy(dtype=object)[partner]})


def text_change(
    before: pd.DataFrame,
    after: pd.DataFrame,
    users: pd.DataFrame | pd.Series,
    *,
    stemmer: bool = False,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """How much explanations differ from those of the same sample and system after a swap.

    Metrics: changed (share of texts that are not the same) and change (mean of 1 - ROUGE-L F1),
    both 0..1; columns as `statistics.bootstrap_means` gives them, users resampled. `users`: the
    samples before the swap, or a series sample_id -> user_id. Raises `InputError` for an
    explanation without a counterpart.
    """
    keys = ["sample_id", "system"]
    check(before, "explanations", source="before")
    check(after, "explanations", source="after")
    check_draws(resamples, seed)
    both = before[[*keys, "text"]].merge(after[[*keys, "text"]], on=keys, how="outer",
                                         suffixes=("_before", "_after"))  # fmt: skip
    lost = both[both.isna().any(axis=1)]
    if len(lost):
        side = "after" if pd.isna(lost["text_after"].iloc[0]) else "before"
        raise InputError(
            f"{side}: no explanation of sample {lost['sample_id'].iloc[0]!r} by "
            f"{lost['system'].iloc[0]!r}; explain the same samples before and after"
        )
    texts = list(both["text_before"]), list(both["text_after"])
    both["changed"] = (both["text_before"] != both["text_after"]).astype(float)
    both["change"] = 1 - rouge_pairs(*texts, stemmer=stemmer)["rougeL"].to_numpy()
    # two empty texts share no word, and yet nothing changed
    both.loc[both["changed"] == 0, "change"] = 0.0
    scores = both.melt(keys, ["changed", "change"], var_name="metric", value_name="value")
    return bootstrap_means(scores, users, resamples=resamples, seed=seed)


def voice_probe(
    texts: Sequence[str],
    voices: Sequence[str],
    users: Sequence[str],
    *,
    folds: int = 5,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Can a user's voice be told from the text alone, for users never seen?

    A logistic regression on TF-IDF of words and pairs of words, cross-validated with all texts of
    a user in one fold. One row: accuracy with low and high (users resampled), chance (one over the
    voices), majority (always the most frequent voice), n (texts), users, voices. No better than
    majority: the texts do not show the voice, or hide it from so simple a reader. Raises
    `InputError` where there are fewer than two voices, or a voice has fewer than two users.
    """
    check_draws(resamples, seed)
    check_least(2, folds=folds)
    if not len(texts) == len(voices) == len(users):
        raise InputError(
            f"texts: {len(texts)} texts, but {len(voices)} voices and {len(users)} users; give one "
            "for each"
        )
    for name, column in (("texts", texts), ("voices", voices), ("users", users)):
        check_texts(column, name)
    table = pd.DataFrame({"voice": list(voices), "user": list(users)})
    of_voice = table.groupby("voice")["user"].nunique()
    if len(of_voice) < 2:
        raise InputError(f"voices: {len(of_voice)} voice(s); there is nothing to tell apart")
    if of_voice.min() < 2:
        raise InputError(
            f"voices: {of_voice.idxmin()!r} has one user; every voice needs at least two, one to "
            "learn from and one to test"
        )
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
        LogisticRegression(max_iter=1000),
    )
    split = StratifiedGroupKFold(
        min(folds, int(of_voice.min())), shuffle=True, random_state=seed % 2**32
    )
    spoken = [f"{text} _" for text in texts]  # one word that all share: a text may have none
    told = cross_val_predict(model, spoken, table["voice"], groups=table["user"], cv=split)
    rows = table.index.astype(str)
    scores = pd.DataFrame(
        {
            "sample_id": rows,
            "system": "",
            "metric": "accuracy",
            "value": (told == table["voice"].to_numpy()).astype(float),
        }
    )
    owner = pd.Series(table["user"].to_numpy(), index=rows)
    found = bootstrap_means(scores, owner, resamples=resamples, seed=seed)
    found = found.rename(columns={"value": "accuracy"})[["accuracy", "low", "high", "n", "users"]]
    majority = table["voice"].value_counts(normalize=True).iloc[0]
    return found.assign(chance=1 / len(of_voice), majority=majority, voices=len(of_voice))
