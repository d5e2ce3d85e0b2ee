"""Verifiers: how probable is it that what is known of item and history supports a claim?

One interface, (premise, claim) -> probability, and three ways behind it: the catalogue's matcher, a
comparison of tokens by MiniLM that is trained in minutes (`cross_encoder`), and any Hugging Face
classifier or causal model. Each is itself scored on labelled claims (`verifier_quality`). Left out
on purpose: making labelled claims, and which verifier to believe beyond chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
import transformers

from ..errors import InputError
from ..statistics import bootstrap_totals, interval
from ..wording import attributes
from .checkpoints import known_as, load_checkpoint, load_tokenizer, pick_device
from .grounding import Grounding
from .inputs import check_draws, check_least, check_pairs
from .likelihood import LikelihoodScore
from .names import Names

ITEM, PAST = "Recommended: ", "In the history: "
_QUESTION = "Do these facts support this claim? Answer with yes or no."


class Verifier(Protocol):
    """Says how far premises support claims."""

    name: str

    def probabilities(self, premises: Sequence[str], claims: Sequence[str]) -> np.ndarray:
        """Probability (0 to 1) that each premise supports its claim: float array (pairs,)."""


class Premises:
    """Writes what a catalogue knows of an item and a history: a line each, the item's first.

    >>> items = pd.DataFrame({"item_id": ["1", "2"], "title": ["Jaws", "Heat"],
    ...                       "genre": [["Horror"], ["Crime"]]})
    >>> print(Premises(items).write("1", ["2", "Dune"]))
    Recommended: Jaws (genre: Horror)
    In the history: Heat (genre: Crime)
    In the history: Dune
    """

    def __init__(self, items: pd.DataFrame) -> None:
        kinds = attributes(items)
        self._lines: dict[str, str] = {}
        for row, (item, title) in enumerate(zip(items["item_id"], items["title"], strict=True)):
            known = [f"{kind}: {', '.join(kinds[kind][row])}" for kind in kinds if kinds[kind][row]]
            self._lines[item] = f"{title} ({'; '.join(known)})" if known else title

    def write(self, item_id: str, history: Sequence[str]) -> str:
        """The premise of a sample; an id that the catalogue lacks stands for itself, a title."""
        past = [PAST + self._lines.get(other, other) for other in history if other != item_id]
        return "\n".join([ITEM + self._lines.get(item_id, item_id), *past])

    def of(self, samples: pd.DataFrame) -> list[str]:
        """The premise of each sample."""
        pairs = zip(samples["item_id"], samples["history"], strict=True)
        return [self.write(item, history) for item, history in pairs]


class MatcherVerifier:
    """The catalogue's matcher: 0 where it refutes a claim, 1 where it bears it out, else 1/2.

    Premises are those of `Premises` of the same `items`: it reads the titles in them. Refuted: a
    foreign title, a wrong attribute, an unsupported relation or an invented name. Borne out: some
    title of the history or attribute shared with it, or the item's name, and nothing refuted.
    """

    name = "matcher"

    def __init__(self, items: pd.DataFrame, noun: str = "film") -> None:
        self._grounding = Grounding(items, noun)
        self._names = Names(self._grounding)
        premises = Premises(items)
        self._ids = {premises.write(item, []).removeprefix(ITEM): item for item in items["item_id"]}

    def probabilities(self, premises: Sequence[str], claims: Sequence[str]) -> np.ndarray:
        """See `Verifier`. Raises `InputError` for a premise that is not one of `Premises`."""
        check_pairs(premises, claims, "premises")
        rows = []
        for row, premise in enumerate(premises):
            item, *past = premise.split("\n")
            if not item.startswith(ITEM) or not all(line.startswith(PAST) for line in past):
                raise InputError(f"premises: row {row + 1} is not written by Premises; write it so")
            lines = [item.removeprefix(ITEM), *(line.removeprefix(PAST) for line in past)]
            rows.append([self._ids.get(line, line) for line in lines])
        samples = pd.DataFrame(
            {"sample_id": [str(n) for n in range(len(rows))], "user_id": "", "split": "test",
             "item_id": [ids[0] for ids in rows], "history": [ids[1:] for ids in rows]}
        )  # fmt: skip
        if not rows:
            return np.empty(0)
        told = samples[["sample_id"]].assign(system=self.name, text=list(claims))
        scores = self._grounding.score(told, samples)
        wide = scores.pivot(index="sample_id", columns="metric", values="value")
        wide = wide.loc[told["sample_id"]]
        refuted = wide[["foreign_title", "wrong_attribute", "unsupported_relation"]].eq(1)
        invented = self._names.score(told, samples)["value"].to_numpy() == 1
        borne = wide[["grounded", "names_item"]].eq(1).any(axis=1).to_numpy()
        return np.where(refuted.any(axis=1) | invented, 0.0, np.where(borne, 1.0, 0.5))


class HuggingFaceVerifier:
    """Any Hugging Face model: a classifier of entailment, or a causal model that says yes or no.

    A classifier's probability is that of its label of entailment, which is found by its name. A
    causal model is asked, and the probability is that of "Yes" against "No". Premises that are too
    long lose the end of the history.

    model, revision : a local folder or a name on the hub, and its commit. batch_size : pairs at a
    time. device : torch's name of one; None is a GPU if there is one. dtype : of the weights.

    Raises `InputError` for a model that cannot be loaded or is neither kind, and for a classifier
    without one label of entailment.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        batch_size: int = 16,
        device: str | None = None,
        dtype: str = "auto",
    ) -> None:
        check_least(1, batch_size=batch_size)
        self.name = known_as(model)
        options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
        config = load_checkpoint(model, transformers.AutoConfig.from_pretrained, **options)
        self._batch_size = batch_size
        self._causal: LikelihoodScore | None = None
        if not any("SequenceClassification" in a for a in config.architectures or []):
            self._causal = LikelihoodScore(
                model, revision=revision, batch_size=batch_size, device=device, dtype=dtype
            )
            return
        self._label = _entailment(self.name, config.id2label)
        self._tokenizer = load_tokenizer(model, revision=revision)
        load = transformers.AutoModelForSequenceClassification.from_pretrained
        network = load_checkpoint(model, load, dtype=dtype, use_safetensors=True, **options)
        self._model = network.to(pick_device(device)).eval()
        limit = getattr(config, "max_position_embeddings", None) or 512
        # models that count positions from behind the padding (RoBERTa) read two fewer
        self._limit = min(self._tokenizer.model_max_length, limit - 2)

    def probabilities(self, premises: Sequence[str], claims: Sequence[str]) -> np.ndarray:
        """See `Verifier`."""
        check_pairs(premises, claims, "premises")
        if self._causal is not None:
            # the oldest first, so that a prompt that is too long loses them
            facts = ["\n".join(reversed(premise.split("\n"))) for premise in premises]
            asked = [
                f"{known}\nClaim: {claim}\n{_QUESTION}\nAnswer:"
                for known, claim in zip(facts, claims, strict=True)
            ]
            yes, no = (
                self._causal.score_pairs(asked, [answer] * len(asked)) for answer in ("Yes", "No")
            )
            return 1 / (1 + np.exp(np.clip(no - yes, -500, 500)))
        return self._classified(premises, claims)

    @torch.inference_mode()
    def _classified(self, premises: Sequence[str], claims: Sequence[str]) -> np.ndarray:
        values = np.empty(len(claims))
        order = sorted(range(len(claims)), key=lambda n: len(premises[n]) + len(claims[n]))
        for first in range(0, len(order), self._batch_size):
            rows = order[first : first + self._batch_size]
            read = self._tokenizer(
                [premises[n] for n in rows], [claims[n] for n in rows], padding=True,
                truncation="only_first", max_length=self._limit, return_tensors="pt",
            ).to(self._model.device)  # fmt: skip
            logits = self._model(**read).logits.float()
            values[rows] = logits.softmax(dim=1)[:, self._label].cpu().numpy()
        return values


def _entailment(name: str, labels: dict[int, str]) -> int:
    """The number of the label that says that a premise supports a claim."""
    found = [
        int(number)
        for number, label in labels.items()
        if str(label).lower().replace("-", "_") in ("entailment", "entails", "entail", "supported",
                                                    "supports")
    ]  # fmt: skip
    if len(found) != 1:
        raise InputError(
            f"model {name!r} has the labels {', '.join(map(str, labels.values()))}: a verifier "
            "needs one that is called 'entailment' or 'supports'"
        )
    return found[0]


def verifier_quality(
    verifiers: Iterable[Verifier],
    pairs: pd.DataFrame,
    *,
    threshold: float = 0.5,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """How well each verifier tells supported from unsupported claims, with intervals.

    pairs: premise, claim and supported (0 or 1). Columns: verifier, n, unsupported (labelled),
    called (probability below `threshold`), then auc, precision and recall, each with _low and _high
    (percentile bootstrap over pairs), and used. auc: the chance that a supported claim gets a
    higher probability than an unsupported one. precision and recall are those of the unsupported
    claims, as elsewhere for errors. used is False where the interval of the AUC includes 1/2, or
    lies below it: such a verifier is shown and believed by nobody.

    Raises `InputError` where a column is missing and where the labels are all alike.
    """
    check_draws(resamples, seed)
    for column in ("premise", "claim", "supported"):
        if column not in pairs.columns:
            raise InputError(f"pairs: column {column!r} is missing; give it for each claim")
    true = pairs["supported"].to_numpy(dtype=float)
    if set(true.tolist()) != {0.0, 1.0}:
        raise InputError("pairs: 'supported' must be 0 or 1, and both must be there")
    rows = []
    for verifier in verifiers:
        found = verifier.probabilities(pairs["premise"].tolist(), pairs["claim"].tolist())
        row: dict[str, Any] = {"verifier": verifier.name, "n": len(true)}
        row |= {"unsupported": int((true == 0).sum()), "called": int((found < threshold).sum())}
        exact, drawn = _rates(found, true, threshold, resamples, seed)
        low, high = interval(drawn)
        for n, metric in enumerate(("auc", "precision", "recall")):
            row |= {metric: exact[n], f"{metric}_low": low[n], f"{metric}_high": high[n]}
        rows.append(row | {"used": bool(low[0] > 0.5)})
    return pd.DataFrame(rows)


def _rates(
    found: np.ndarray, true: np.ndarray, threshold: float, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """AUC, precision and recall of all pairs (3,) and of each resample (resamples, 3)."""
    levels, place = np.unique(found, return_inverse=True)
    counts = np.zeros((len(found), 2 * len(levels)))  # of each level: unsupported, supported
    counts[np.arange(len(found)), place + len(levels) * true.astype(int)] = 1
    drawn = bootstrap_totals(counts, resamples=resamples, seed=seed)
    totals = np.vstack([counts.sum(axis=0), drawn])
    no, yes = totals[:, : len(levels)], totals[:, len(levels) :]
    below = levels < threshold
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample of one kind alone
        beaten = np.cumsum(no, axis=1) - no / 2
        auc = (yes * beaten).sum(axis=1) / (yes.sum(axis=1) * no.sum(axis=1))
        hits = no[:, below].sum(axis=1)
        precision = hits / (hits + yes[:, below].sum(axis=1))
        recall = hits / no.sum(axis=1)
    rates = np.column_stack([auc, precision, recall])
    return rates[0], rates[1:]
