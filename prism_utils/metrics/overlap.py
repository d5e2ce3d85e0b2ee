"""ROUGE and BLEU of explanations against references, in bulk (paper section 5.5, equation 7).

Equal to rouge-score and sacrebleu, at several times their speed: their tokens, counted here as
sparse matrices, with the longest common subsequence from rapidfuzz. Left out on purpose: several
references for a sample, and splitting sentences (rougeLsum takes lines, as rouge-score does).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain

import numpy as np
import pandas as pd
from rapidfuzz.distance import LCSseq
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from scipy import sparse

from ..errors import InputError
from .inputs import check_pairs, golden_texts, long_scores

Tokenize = Callable[[list[str]], list[list[str]]]

METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
SET_METRICS = ("set_rouge1", "set_rouge2", "set_rougeL")
BLEU_METRICS = ("bleu1", "bleu4")
# Additive over texts: lengths of explanation and reference, n-grams that match, n-grams there are.
BLEU_STATISTICS = (
    "sys_len", "ref_len", *(f"{part}{n}" for part in ("correct", "total") for n in range(1, 5))
)  # fmt: skip


class Tokens:
    """Texts as numbered words: `flat` is all of them in a row, `lengths` (texts,) cuts it."""

    def __init__(self, tokens: list[list[str]]) -> None:
        self.lengths = np.array([len(t) for t in tokens], dtype=int)
        words = np.fromiter(chain.from_iterable(tokens), dtype=object, count=self.lengths.sum())
        self.flat, vocabulary = pd.factorize(words)
        self.words = len(vocabulary)

    def grams(self, order: int) -> list[sparse.csr_matrix]:
        """For n = 1 … order: how often each text (row) has each n-gram (column)."""
        text = np.repeat(np.arange(len(self.lengths)), self.lengths)
        matrices, gram = [], self.flat.astype(np.int64)
        for n in range(1, order + 1):
            if n > 1:  # the (n-1)-gram at a place, and the word that follows it in the same text
                inside = text[: max(len(text) - n + 1, 0)] == text[n - 1 :]
                inside &= gram[: len(inside)] >= 0
                following = gram[: len(inside)] * self.words + self.flat[n - 1 :]
                gram = np.where(inside, following, -1)
            whole = gram >= 0
            codes, unique = pd.factorize(gram[whole])
            matrix = sparse.csr_matrix(
                (np.ones(len(codes)), (text[: len(gram)][whole], codes)),
                shape=(len(self.lengths), max(len(unique), 1)),
            )
            matrix.sum_duplicates()
            matrices.append(matrix)
            gram[whole] = codes
        return matrices


class _Pairs:
    """References and candidates, each text tokenized once, and what the two have in common."""

    def __init__(
        self, references: Sequence[str], candidates: Sequence[str], tokenize: Tokenize
    ) -> None:
        check_pairs(references, candidates)
        references, candidates = composed(references), composed(candidates)
        codes, unique = pd.factorize(np.array([*references, *candidates], dtype=object))
        self.reference, self.candidate = codes[: len(references)], codes[len(references) :]
        self.tokens = Tokens(tokenize(list(unique)))

    def sizes(self, n: int = 1) -> np.ndarray:
        """How many n-grams reference and candidate have: float array (pairs, 2)."""
        counts = np.maximum(self.tokens.lengths - n + 1, 0).astype(float)
        return np.stack([counts[self.reference], counts[self.candidate]], axis=1)

    def common(self, matrix: sparse.csr_matrix) -> np.ndarray:
        """How many n-grams reference and candidate share, each as often as in both."""
        smaller = matrix[self.reference].minimum(matrix[self.candidate])
        return np.asarray(smaller.sum(axis=1)).ravel()

    def subsequence(self) -> np.ndarray:
        """Length of the longest common subsequence, in tokens."""
        flat = self.tokens.flat.tolist()
        # rapidfuzz is fastest on strings: a character for each word of the vocabulary.
        few = self.tokens.words <= sys.maxunicode
        letters = "".join(map(chr, flat)) if few else flat
        ends = np.cumsum(self.tokens.lengths)
        texts = [letters[e - n : e] for e, n in zip(ends, self.tokens.lengths, strict=True)]
        return np.array(
            [
                LCSseq.similarity(texts[r], texts[c])
                for r, c in zip(self.reference, self.candidate, strict=True)
            ],
            dtype=float,
        )


def words(text: str) -> list[str]:
    """The tokens of rouge-score, unstemmed: runs of a-z and 0-9 in the text's lower case.

    >>> words("It’s Sci-Fi (1985)")
    ['it', 's', 'sci', 'fi', '1985']
    """
    return re.findall(r"[a-z0-9]+", unicodedata.normalize("NFC", text).lower())


def composed(texts: Sequence[str]) -> list[str]:
    """Texts with each accent and its letter as one character: alike to the eye is alike here."""
    return [unicodedata.normalize("NFC", text) for text in texts]


def _f1(common: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """F1 from the common units and the units of reference and candidate; 0 where nothing meets."""
    recall, precision = (common[:, None] / np.maximum(sizes, 1)).T
    total = precision + recall
    product = 2 * precision * recall  # the order of rouge-score's own operations
    return np.divide(product, total, out=np.zeros_like(total), where=total > 0)


def rouge_pairs(
    references: Sequence[str], candidates: Sequence[str], *, stemmer: bool = False
) -> pd.DataFrame:
    """F1 of each candidate against its reference: rouge1, rouge2, rougeL, rougeLsum, in 0..1.

    Equal to rouge-score 0.1.2 (Lin 2004; lower case, letters and digits; `stemmer`: Porter's, for
    words over three letters). rougeLsum is rougeL unless a text has several lines.

    >>> rouge_pairs(["the cat sat"], ["the cat ran"]).round(3).to_dict("records")
    [{'rouge1': 0.667, 'rouge2': 0.5, 'rougeL': 0.667, 'rougeLsum': 0.667}]
    """

    def tokenize(texts: list[str]) -> list[list[str]]:
        tokens = [words(text) for text in texts]
        if not stemmer:
            return tokens
        stem = DefaultTokenizer(use_stemmer=True).tokenize  # once for each word: it is slow
        stems = {word: stem(word) for word in set(chain.from_iterable(tokens))}
        return [list(chain.from_iterable(stems[word] for word in t)) for t in tokens]

    pairs = _Pairs(references, candidates, tokenize)
    scores = {
        f"rouge{n}": _f1(pairs.common(matrix), pairs.sizes(n))
        for n, matrix in enumerate(pairs.tokens.grams(2), start=1)
    }
    scores["rougeL"] = _f1(pairs.subsequence(), pairs.sizes())
    scores["rougeLsum"] = scores["rougeL"].copy()
    scorer = RougeScorer(["rougeLsum"], use_stemmer=stemmer)
    for row, (reference, candidate) in enumerate(zip(references, candidates, strict=True)):
        if "\n" in reference or "\n" in candidate:
            scores["rougeLsum"][row] = scorer.score(reference, candidate)["rougeLsum"].fmeasure
    return pd.DataFrame(scores, columns=list(METRICS))


def rouge(
    explanations: pd.DataFrame, references: pd.DataFrame, *, stemmer: bool = False
) -> pd.DataFrame:
    """Scores of `rouge_pairs` for explanations against references.

    `references` are explanations of one system, such as the teacher's golden ones, joined by
    sample_id. Raises `InputError` when a sample has several references or an explanation none.
    """
    golden = golden_texts(explanations, references)
    values = rouge_pairs(golden, list(explanations["text"]), stemmer=stemmer)
    return long_scores(explanations, values)


def set_rouge_pairs(references: Sequence[str], candidates: Sequence[str]) -> pd.DataFrame:
    """The other ROUGE of this field: set_rouge1, set_rouge2, set_rougeL, in 0..1.

    What PETER, PEPLER and their kin report (after google/seq2seq): n-grams count once however
    often they stand in a text, words are what white space separates, in lower case with their
    punctuation, and the F of the longest common subsequence has beta = P / R, so that it is
    (P² + R²) P R / (P³ + R³): near the smaller of P and R, not F1.

    These must not be compared with `rouge_pairs`: repetition costs nothing here, punctuation
    splits matches, and set_rougeL is at most F1, so neither bounds the other.

    >>> set_rouge_pairs(["the cat and the dog"], ["the the cat"]).round(3).to_dict("records")
    [{'set_rouge1': 0.667, 'set_rouge2': 0.333, 'set_rougeL': 0.447}]
    """
    pairs = _Pairs(references, candidates, lambda texts: [text.lower().split() for text in texts])
    scores = {}
    for n, matrix in enumerate(pairs.tokens.grams(2), start=1):
        matrix.data[:] = 1
        size = np.asarray(matrix.sum(axis=1)).ravel()
        sizes = np.stack([size[pairs.reference], size[pairs.candidate]], axis=1)
        scores[f"set_rouge{n}"] = _f1(pairs.common(matrix), sizes)
    recall, precision = (pairs.subsequence()[:, None] / np.maximum(pairs.sizes(), 1)).T
    cubes = precision**3 + recall**3
    scores["set_rougeL"] = np.divide(
        (precision**2 + recall**2) * precision * recall,
        cubes,
        out=np.zeros_like(cubes),
        where=cubes > 0,
    )
    return pd.DataFrame(scores, columns=list(SET_METRICS))


def set_rouge(explanations: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """Scores of `set_rouge_pairs` (not comparable with `rouge`); references as in `rouge`."""
    golden = golden_texts(explanations, references)
    return long_scores(explanations, set_rouge_pairs(golden, list(explanations["text"])))


def bleu_pairs(references: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
    """Statistics of each candidate against its reference: array (pairs, 10), `BLEU_STATISTICS`.

    sacrebleu's own for one reference, 13a tokens with their case (Papineni et al. 2002).
    """
    # The tokenizer takes one line's words one by one, so each word of the vocabulary goes once.
    tokenizer = Tokenizer13a()
    split = cache(lambda word: tokenizer(word).split())

    def tokenize(texts: list[str]) -> list[list[str]]:
        return [
            list(chain.from_iterable(map(split, text.split())))
            if "\n" not in text
            else tokenizer(text.rstrip()).split()
            for text in texts
        ]

    pairs = _Pairs(references, candidates, tokenize)
    sizes = [pairs.sizes(n) for n in range(1, 5)]
    columns = [sizes[0][:, 1], sizes[0][:, 0], *map(pairs.common, pairs.tokens.grams(4))]
    return np.stack([*columns, *(size[:, 1] for size in sizes)], axis=1)


def corpus_bleu(
    statistics: np.ndarray, order: int = 4, *, effective_order: bool = False
) -> np.ndarray:
    """BLEU in 0..1 from sums of `BLEU_STATISTICS`: array (..., 10) -> array (...).

    Equal to sacrebleu's corpus BLEU over n-grams up to `order` (1 to 4) with its default,
    exponential smoothing; with `effective_order` (orders that a short text cannot have are left
    out) to its sentence BLEU. Statistics add up: a bootstrap sums them over whatever it draws.

    >>> round(float(corpus_bleu(bleu_pairs(["the cat sat"], ["the cat ran"]).sum(axis=0), 1)), 3)
    0.667
    """
    if order not in (1, 2, 3, 4):
        raise InputError(f"order must be 1, 2, 3 or 4, found {order}")
    statistics = np.asarray(statistics, dtype=float)
    if statistics.shape[-1:] != (len(BLEU_STATISTICS),):
        raise InputError(
            f"statistics must have {len(BLEU_STATISTICS)} columns (see BLEU_STATISTICS), found "
            f"shape {statistics.shape}"
        )
    ours, reference = statistics[..., 0], statistics[..., 1]
    correct, total = statistics[..., 2 : 2 + order], statistics[..., 6 : 6 + order]
    some = np.maximum(total, 1e-300)
    none_right = (correct == 0) & (total > 0)
    halvings = np.cumsum(none_right, axis=-1)
    logs = np.log(np.where(none_right, 0.5**halvings, np.maximum(correct, 1e-300)) / some)
    there = total > 0
    orders = there.sum(axis=-1) if effective_order else order
    mean = np.where(there, logs, 0).sum(axis=-1) / np.maximum(orders, 1)
    brevity = np.minimum(1 - reference / np.maximum(ours, 1e-300), 0)
    defined = correct.any(axis=-1) & (effective_order | there.all(axis=-1))
    return np.where(defined, np.exp(np.where(defined, mean + brevity, 0)), 0.0)


def bleu_statistics(explanations: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """sample_id, system and `BLEU_STATISTICS` of each explanation, for `corpus_bleu`."""
    golden = golden_texts(explanations, references)
    values = bleu_pairs(golden, list(explanations["text"]))
    wide = explanations[["sample_id", "system"]].reset_index(drop=True)
    return wide.join(pd.DataFrame(values, columns=list(BLEU_STATISTICS)))


def bleu(explanations: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """Scores bleu1 and bleu4 in 0..1: sacrebleu's sentence BLEU (effective order) of each text.

    Their mean is not corpus BLEU, the one usually printed: see `corpus_bleu`.
    """
    statistics = bleu_pairs(golden_texts(explanations, references), list(explanations["text"]))
    values = {f"bleu{n}": corpus_bleu(statistics, n, effective_order=True) for n in (1, 4)}
    return long_scores(explanations, pd.DataFrame(values))
