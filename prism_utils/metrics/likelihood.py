"""GPTScore as the paper's equation 9 has it: how likely a language model finds an explanation.

It shares its name with a judgement from 0 to 100 (`judge`) and nothing else. Left out on purpose:
any model of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import transformers

from ..errors import InputError, nearest
from .checkpoints import known_as, load_checkpoint, load_tokenizer, pick_device
from .inputs import check_least, check_pairs, long_scores, of_each

_DTYPES = ("auto", "bfloat16", "float16", "float32")


class LikelihoodScore:
    """GPTScore as equation 9 has it (Fu et al. 2023): how likely a causal model finds the text.

    The mean log-likelihood (natural) of the explanation's tokens given the prompt that it answers;
    0 would be certainty. Depends on the model, so a caption names `name`; says nothing of truth.

    model, revision : a causal language model: a local folder or a name on the hub, and its commit.
    batch_size : texts at a time. dtype : "auto", "float32", "bfloat16", "float16".
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        batch_size: int = 8,
        device: str | None = None,
        dtype: str = "auto",
    ) -> None:
        check_least(1, batch_size=batch_size)
        if dtype not in _DTYPES:
            raise InputError(f"dtype {dtype!r} is unknown: {nearest(str(dtype), _DTYPES)}")
        self.name = f"mean log-likelihood under {known_as(model)}"
        options = {"revision": revision, "trust_remote_code": False}
        self._tokenizer = load_tokenizer(model, revision=revision)
        network, found = load_checkpoint(
            model, transformers.AutoModelForCausalLM.from_pretrained, dtype=dtype,
            use_safetensors=True, output_loading_info=True, **options,
        )  # fmt: skip
        self._model = network.to(pick_device(device)).eval()
        if found["missing_keys"] or self._looks_ahead():
            raise InputError(
                f"model {str(model)!r} is no causal model, or not whole: give one that was trained "
                "to go on with a text"
            )
        limit = getattr(self._model.config, "max_position_embeddings", None)
        self._limit = limit or self._tokenizer.model_max_length
        self._batch_size = batch_size

    @torch.inference_mode()
    def _looks_ahead(self) -> bool:
        """Whether a text's last token changes what the model expects before it."""
        texts = torch.tensor([[0, 1, 2], [0, 1, 3]], device=self._model.device)
        first, second = self._model(input_ids=texts).logits[:, :2].float()
        return bool((first - second).abs().max() > 0.005 * first.std())

    @torch.inference_mode()
    def score_pairs(self, prompts: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """Mean log-likelihood of each text after its prompt: float array (pairs,), at most 0.

        The text is joined by a space. A prompt that is too long for the model loses its beginning;
        a text that is too long by itself is an `InputError`. An empty text has no likelihood: nan.
        So has a text after nothing, for a model without a token that begins texts.
        """
        check_pairs(prompts, texts, "prompts")

        def ids(texts: list[str]) -> list[list[int]]:
            return self._tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

        start = self._tokenizer.bos_token_id
        opening = [] if start is None else [start]
        heads, tails = ids(list(prompts)), ids([f" {text.strip()}" for text in texts])
        pairs = []
        for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
            room = self._limit - len(tail) - len(opening)
            if room < 1:
                raise InputError(
                    f"text {row + 1} takes {len(tail)} tokens; the model reads {self._limit}"
                )
            pairs.append((opening + head[max(len(head) - room, 0) :], tail))
        known = self._model.get_input_embeddings().num_embeddings
        if any(token >= known for pair in pairs for ids_ in pair for token in ids_):
            raise InputError(
                f"{self.name}: its tokenizer has more tokens than its table of vectors ({known}); "
                "give the tokenizer that belongs to the weights"
            )
        values = np.full(len(texts), np.nan)
        rows = [row for row, text in enumerate(texts) if text.strip() and pairs[row][0]]
        rows.sort(key=lambda row: sum(map(len, pairs[row])))
        for first in range(0, len(rows), self._batch_size):
            batch = rows[first : first + self._batch_size]
            values[batch] = self._mean_log_likelihoods([pairs[row] for row in batch])
        return values

    def _mean_log_likelihoods(self, pairs: list[tuple[list[int], list[int]]]) -> np.ndarray:
        width = max(len(head) + len(tail) for head, tail in pairs)
        ids = torch.zeros((len(pairs), width), dtype=torch.long)
        labels = torch.full((len(pairs), width), -100)
        mask = torch.zeros((len(pairs), width), dtype=torch.long)
        for row, (head, tail) in enumerate(pairs):
            end = len(head) + len(tail)
            ids[row, :end] = torch.tensor(head + tail)
            labels[row, len(head) : end] = ids[row, len(head) : end]
            mask[row, :end] = 1
        keep = width - min(len(head) for head, _ in pairs) + 1  # from the last token of a prompt
        device = self._model.device
        logits = self._model(
            input_ids=ids.to(device), attention_mask=mask.to(device), logits_to_keep=keep
        ).logits[:, -keep:]
        wanted = labels[:, -keep + 1 :].to(device)
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().transpose(1, 2), wanted, reduction="none"
        )  # 0 where the label is -100
        return (-losses.sum(dim=1) / (wanted != -100).sum(dim=1)).cpu().numpy()

    def score(self, explanations: pd.DataFrame, prompts: pd.DataFrame) -> pd.DataFrame:
        """Scores "gptscore_loglik"; `prompts` has sample_id and prompt (`prompts.render_prompts`).

        Raises `InputError` when an explanation has no prompt.
        """
        advice = "render the prompts of all samples"
        given = of_each(explanations, prompts, "prompts", advice)["prompt"].tolist()
        values = self.score_pairs(given, explanations["text"].tolist())
        return long_scores(explanations, pd.DataFrame({"gptscore_loglik": values}))
