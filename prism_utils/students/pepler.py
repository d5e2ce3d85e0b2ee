"""PEPLER (Li et al. 2023): GPT-2 that reads a user and an item vector before its first word.

Continuous prompts with sequential tuning: the language model is frozen first, its token table too,
then everything is tuned. Heads `mf` and `mlp` are its rating-regularised variants. Left out: the
discrete prompt of feature words, and new tokens; GPT-2's end of text begins and ends a sentence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, TrainerCallback
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions

from ..errors import InputError
from . import ids, starts
from .checks import check_choices, check_counts, check_number, check_sizes
from .ids import IdExplainer, Known
from .inputs import StudentSettings
from .system import Job

HEADS = ("none", "mf", "mlp")
_RATING_WIDTH = 400  # of the MLP head's two hidden layers


class PeplerConfig(GPT2Config):
    """GPT-2's configuration and what concerns the prompts.

    num_users, num_items: known ones; both tables have one row more. head: how a rating is
    predicted from the two vectors while training, "none", "mf" (their dot product) or "mlp".
    rating_weight: factor on its squared error. mean_rating: stands for a missing rating.
    """

    model_type = "pepler"

    def __init__(
        self,
        num_users: int = 0,
        num_items: int = 0,
        head: str = "none",
        rating_weight: float = 0.01,
        mean_rating: float | None = None,
        **kwargs: Any,
    ) -> None:
        check_choices(head=(head, HEADS))
        self.num_users = num_users
        self.num_items = num_items
        self.head = head
        self.rating_weight = rating_weight
        self.mean_rating = mean_rating
        super().__init__(**kwargs)
        check_counts(num_users, num_items, [mean_rating])
        check_number("rating_weight", rating_weight, "[0, inf)")
        if not self.tie_word_embeddings:
            raise InputError("tie_word_embeddings is false; it must be tied to its embeddings")


class Pepler(GPT2LMHeadModel):
    """p(text | user, item); a GPT-2 checkpoint loads with its weights unchanged.

    `forward` and `write` take rows of the tables, `user_ids` and `item_ids` (batch,); without
    them `forward` is GPT-2's.
    """

    config_class = PeplerConfig
    config: PeplerConfig
    _keys_to_ignore_on_save = ["lm_head.weight"]  # tied to the token table
    accepts_loss_kwargs = False  # the loss is a mean over this batch's tokens

    def __init__(self, config: PeplerConfig) -> None:
        super().__init__(config)
        width = config.n_embd
        self.user_embeddings = nn.Embedding(config.num_users + 1, width, padding_idx=0)
        self.item_embeddings = nn.Embedding(config.num_items + 1, width, padding_idx=0)
        if config.head == "mlp":
            self.rating_head = nn.Sequential(
                nn.Linear(2 * width, _RATING_WIDTH),
                nn.Sigmoid(),
                nn.Linear(_RATING_WIDTH, _RATING_WIDTH),
                nn.Sigmoid(),
                nn.Linear(_RATING_WIDTH, 1),
            )
        self.post_init()

    def prompts(self, user_ids: torch.Tensor, item_ids: torch.Tensor) -> torch.Tensor:
        """(batch, 2, n_embd): what stands before the first word."""
        return torch.stack([self.user_embeddings(user_ids), self.item_embeddings(item_ids)], dim=1)

    def rate(self, prompts: torch.Tensor) -> torch.Tensor:
        """Predicted ratings (batch,) of prompts (batch, 2, n_embd)."""
        if self.config.head == "mf":
            return prompts.prod(dim=1).sum(dim=-1)
        return self.rating_head(prompts.flatten(1)).squeeze(-1)

    def forward(  # type: ignore[override]
        self,
        input_ids: torch.Tensor | None = None,
        user_ids: torch.Tensor | None = None,
        item_ids: torch.Tensor | None = None,
        ratings: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithCrossAttentions:
        """labels (batch, length), padded with -100: the words themselves.

        The loss is the text's and, in training, `rating_weight` times the rating's squared error.
        """
        if user_ids is None or item_ids is None or labels is None:
            return super().forward(input_ids=input_ids, labels=labels, **kwargs)
        prompts = self.prompts(user_ids, item_ids)
        words = self.transformer.wte(ids.shifted(labels, self.config.bos_token_id))
        # Padding stands on the right, where a causal model does not see it: no mask is needed.
        hidden = self.transformer(
            inputs_embeds=torch.cat([prompts, words], dim=1), use_cache=False
        ).last_hidden_state
        loss = ids.text_loss(self.lm_head, hidden[:, prompts.shape[1] :], labels)
        if self.training and self.config.head != "none" and ratings is not None:
            error = nn.functional.mse_loss(self.rate(prompts), ratings)
            loss = loss + self.config.rating_weight * error
        return CausalLMOutputWithCrossAttentions(loss=loss)

    def write(
        self,
        user_ids: torch.Tensor,
        item_ids: torch.Tensor,
        ratings: torch.Tensor | None = None,
        **options: Any,
    ) -> torch.Tensor:
        """Token ids (batch, length); options are those of `generate`, by default greedy."""
        begin: Any = self.config.bos_token_id
        start = torch.full_like(user_ids, begin).unsqueeze(1)
        embedded = torch.cat([self.prompts(user_ids, item_ids), self.transformer.wte(start)], dim=1)
        mask = torch.ones(embedded.shape[:2], dtype=torch.long, device=embedded.device)
        greedy = {"do_sample": False, "num_beams": 1, "pad_token_id": self.config.pad_token_id,
                  "num_return_sequences": 1, "return_dict_in_generate": False}  # fmt: skip
        model: Any = self
        return model.generate(inputs_embeds=embedded, attention_mask=mask, **greedy | options)


class FrozenFirst(TrainerCallback):
    """Sequential tuning: the language model stays as it is for the first `steps` steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for weight in kwargs["model"].transformer.parameters():  # the output layer is tied to it
            weight.requires_grad_(state.global_step >= self.steps)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step < self.steps:  # a plateau ends stage 1 at most
            control.should_training_stop = False


def fit(
    job: Job,
    *,
    init_from: str = "",
    frozen_share: float | None = None,
    head: str = "none",
    rating_weight: float = 0.01,
    d_model: int = 128,
    layers: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
    vocabulary: str = "whole_titles",
    vocab_size: int = 1000,
) -> IdExplainer:
    """Train a PEPLER; see `students.fit`.

    `init_from` is a GPT-2 checkpoint, on the hub or on disk, or another PEPLER (which also gives
    the vectors of the users and items that it knows); otherwise weights are random and the sizes
    are d_model, layers, heads, dropout. `frozen_share` of the recipe's steps is stage 1: by
    default a fifth after `init_from`, none from scratch, where there is no language to keep.
    Prompts are drawn from U(-0.1, 0.1). Heads "mf" and "mlp" need a column `rating` in train.
    """
    if frozen_share is None:
        frozen_share = 0.2 if init_from else 0.0
    check_number("frozen_share", frozen_share, "[0, 1]")
    check_sizes(d_model, layers=layers, heads=heads, dropout=dropout, vocab_size=vocab_size)
    check_choices(head=(head, HEADS))
    mean = None if head == "none" else ids.mean(ids.ratings(job.train, "train"))
    if head != "none" and mean is None:
        raise InputError(f"head {head!r} predicts ratings: train needs a column 'rating'")
    torch.manual_seed(job.recipe.seed)
    known = Known.of(job.train)
    prompting: dict[str, Any] = {
        **known.counts,
        "head": head,
        "rating_weight": rating_weight,
        "mean_rating": mean,
    }
    if init_from:
        model, tokenizer, own = _from_checkpoint(init_from, job.settings, prompting)
    else:
        tokenizer, words = ids.new_words(job, vocabulary, vocab_size)
        model = Pepler(
            PeplerConfig(
                n_embd=d_model,
                n_layer=layers,
                n_head=heads,
                n_positions=job.settings.max_new_tokens + 3,
                resid_pdrop=dropout,
                embd_pdrop=dropout,
                attn_pdrop=dropout,
                **words,
                **prompting,
            )
        )
        own = False
    ids.draw_tables(model, 0.1, Path(init_from) if own else None, known)
    stage1 = round(frozen_share * job.recipe.steps)
    return ids.fit_ids(
        "pepler", model, tokenizer, known, job,
        identity=f"frozen for {stage1} steps", callbacks=[FrozenFirst(stage1)],
    )  # fmt: skip


def load(folder: Path, *, name: str) -> IdExplainer:
    """The PEPLER that `fit` saved in `folder`."""
    return IdExplainer.load(folder, Pepler, name=name)


def _from_checkpoint(
    path: str, settings: StudentSettings, prompting: dict[str, Any]
) -> tuple[Pepler, Any, bool]:
    """GPT-2's (or another PEPLER's) language model and tokenizer, with tables of our size; whether
    it is another PEPLER.
    """
    start = starts.look(path, PeplerConfig, "gpt2", "PEPLER needs a GPT-2 checkpoint")
    new = ("user_embeddings", "item_embeddings", "rating_head")
    model = starts.load(Pepler, start, new, ("input_ids", "labels"), **prompting)
    if model.config.n_positions < settings.max_new_tokens + 3:
        raise InputError(
            f"max_new_tokens={settings.max_new_tokens} is too many for {path!r}, which has "
            f"{model.config.n_positions} positions"
        )
    return model, start.tokenizer, start.kind == "pepler"
