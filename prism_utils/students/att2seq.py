"""Att2Seq (Dong et al. 2017): attributes in, text out, by a recurrent decoder with attention.

Attribute encoder, decoder and attention follow sections 3.1 to 3.3 of "Learning to Generate
Product Reviews from Attributes"; the cell is a GRU, as our paper's section 5.3 says, or that
paper's LSTM. Left out: the history, which the method does not see, and beam search.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from . import ids, starts
from .checks import check_choices, check_counts, check_sizes
from .ids import IdExplainer, Known
from .system import Job

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


class Att2SeqConfig(PretrainedConfig):
    """Sizes of an Att2Seq.

    num_users, num_items: known ones; both tables have one row more. ratings: the levels of the
    rating input, empty for none; mean_rating stands for a missing one. d_attribute: width of an
    attribute's vector, d_model: of the decoder's state. cell: "gru" or "lstm".
    """

    model_type = "att2seq"

    def __init__(
        self,
        vocab_size: int = 1,
        num_users: int = 0,
        num_items: int = 0,
        ratings: list[float] | None = None,
        mean_rating: float | None = None,
        cell: str = "gru",
        d_attribute: int = 64,
        d_model: int = 128,
        layers: int = 2,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        check_choices(cell=(cell, CELLS))
        check_sizes(d_model, layers=layers, dropout=dropout, d_attribute=d_attribute)
        check_counts(num_users, num_items, [*(ratings or []), mean_rating])
        self.vocab_size = vocab_size
        self.num_users = num_users
        self.num_items = num_items
        self.ratings = ratings or []
        self.mean_rating = mean_rating
        self.cell = cell
        self.d_attribute = d_attribute
        self.d_model = d_model
        self.layers = layers
        self.dropout = dropout
        super().__init__(**kwargs)


class Att2Seq(PreTrainedModel):
    """p(text | user, item, rating); `forward` gives the loss, `write` greedy text."""

    config_class = Att2SeqConfig
    config: Att2SeqConfig
    accepts_loss_kwargs = False  # the loss is a mean over this batch's tokens

    def __init__(self, config: Att2SeqConfig) -> None:
        super().__init__(config)
        width, attribute = config.d_model, config.d_attribute
        self.user_embeddings = nn.Embedding(config.num_users + 1, attribute, padding_idx=0)
        self.item_embeddings = nn.Embedding(config.num_items + 1, attribute, padding_idx=0)
        kinds = 2
        if config.ratings:
            self.rating_embeddings = nn.Embedding(len(config.ratings), attribute)
            kinds = 3
        states = 2 if config.cell == "lstm" else 1
        self.encoder = nn.Linear(kinds * attribute, states * config.layers * width)
        self.word_embeddings = nn.Embedding(config.vocab_size, width)
        self.decoder = CELLS[config.cell](
            width,
            width,
            config.layers,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.score = nn.Linear(width + attribute, 1, bias=False)  # W_s, equation 6
        self.mix = nn.Linear(width + attribute, width, bias=False)  # W_1 and W_2, equation 8
        self.drop = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, config.vocab_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: layers have PyTorch's own initial weights, not N(0, 0.02)."""

    def encode(
        self, user_ids: torch.Tensor, item_ids: torch.Tensor, ratings: torch.Tensor | None
    ) -> tuple[torch.Tensor, Any]:
        """Attribute vectors (batch, kinds, d_attribute) and the decoder's first state."""
        vectors = [self.user_embeddings(user_ids), self.item_embeddings(item_ids)]
        if self.config.ratings:
            if ratings is None:
                raise ValueError("this Att2Seq was trained with ratings and needs some")
            levels = torch.tensor(self.config.ratings, device=ratings.device)
            vectors.append(self.rating_embeddings((ratings[:, None] - levels).abs().argmin(1)))
        attributes = torch.stack(vectors, dim=1)
        state = torch.tanh(self.encoder(attributes.flatten(1)))
        layered = state.view(len(state), -1, self.config.d_model).transpose(0, 1).contiguous()
        if self.config.cell == "lstm":
            hidden, memory = layered.chunk(2)
            return attributes, (hidden.contiguous(), memory.contiguous())
        return attributes, layered

    def decode(
        self, words: torch.Tensor, attributes: torch.Tensor, state: Any
    ) -> tuple[torch.Tensor, Any]:
        """States (batch, length, d_model) that the output layer reads, and the decoder's last."""
        hidden, state = self.decoder(self.drop(self.word_embeddings(words)), state)
        # score([h; a]) taken apart, so that nothing of size length x attributes x width is built
        of_state, of_attribute = self.score.weight.split(
            [hidden.shape[-1], attributes.shape[-1]], 1
        )
        scores = hidden @ of_state.T + (attributes @ of_attribute.T).transpose(1, 2)
        context = torch.softmax(torch.tanh(scores), dim=-1) @ attributes
        attended = torch.tanh(self.mix(torch.cat([hidden, context], dim=-1)))
        return self.drop(attended), state

    def forward(
        self,
        user_ids: torch.Tensor,
        item_ids: torch.Tensor,
        labels: torch.Tensor,
        ratings: torch.Tensor | None = None,
    ) -> CausalLMOutput:
        """user_ids, item_ids, ratings (batch,); labels (batch, length), padded with -100."""
        attributes, state = self.encode(user_ids, item_ids, ratings)
        words = ids.shifted(labels, self.config.bos_token_id)
        hidden, _ = self.decode(words, attributes, state)
        return CausalLMOutput(loss=ids.text_loss(self.output, hidden, labels))

    @torch.no_grad()
    def write(
        self,
        user_ids: torch.Tensor,
        item_ids: torch.Tensor,
        ratings: torch.Tensor | None = None,
        *,
        max_new_tokens: int,
    ) -> torch.Tensor:
        """Greedy token ids (batch, length); what stands after the end token means nothing."""
        attributes, state = self.encode(user_ids, item_ids, ratings)
        word = torch.full_like(user_ids, self.config.bos_token_id).unsqueeze(1)
        written: list[torch.Tensor] = []
        ended = torch.zeros_like(word, dtype=torch.bool)
        while len(written) < max_new_tokens and not ended.all():
            hidden, state = self.decode(word, attributes, state)
            word = self.output(hidden).argmax(-1)
            written.append(word)
            ended |= word == self.config.eos_token_id
        return torch.cat(written, dim=1)


def fit(
    job: Job,
    *,
    init_from: str = "",
    vocabulary: str = "whole_titles",
    vocab_size: int = 1000,
    cell: str = "gru",
    d_attribute: int = 64,
    d_model: int = 128,
    layers: int = 2,
    dropout: float = 0.0,
) -> IdExplainer:
    """Train an Att2Seq; see `students.fit`.

    `init_from` is the folder of another Att2Seq: its sizes, tokenizer and weights are kept, and
    the vectors of the users and items that it knows. Otherwise weights are drawn as PyTorch does,
    tables of user and item from U(-1, 1). Dong et al. take 64 and 512 for d_attribute and d_model,
    and two layers.
    """
    sizes = {"layers": layers, "d_attribute": d_attribute, "vocab_size": vocab_size}
    check_sizes(d_model, dropout=dropout, **sizes)
    torch.manual_seed(job.recipe.seed)
    known, rated = Known.of(job.train), ids.ratings(job.train, "train")
    if init_from:
        start = starts.look(init_from, Att2SeqConfig, "", "Att2Seq needs another Att2Seq")
        tables, tokenizer = ("user_embeddings", "item_embeddings"), start.tokenizer
        model = starts.load(Att2Seq, start, tables, **known.counts)
        ids.draw_tables(model, 1.0, Path(init_from), known)
    else:
        tokenizer, words = ids.new_words(job, vocabulary, vocab_size)
        model = Att2Seq(
            Att2SeqConfig(
                ratings=np.unique(rated[~np.isnan(rated)]).tolist(),
                mean_rating=ids.mean(rated),
                cell=cell,
                d_attribute=d_attribute,
                d_model=d_model,
                layers=layers,
                dropout=dropout,
                **words,
                **known.counts,
            )
        )
        ids.draw_tables(model, 1.0, None, known)
    return ids.fit_ids("att2seq", model, tokenizer, known, job)


def load(folder: Path, *, name: str) -> IdExplainer:
    """The Att2Seq that `fit` saved in `folder`."""
    return IdExplainer.load(folder, Att2Seq, name=name)
