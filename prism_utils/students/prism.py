"""Prism, the student: BART whose encoder adds a vector of the user to its input embeddings.

A small subclass of transformers' BART (paper, section 4.3): all that BART can do (`generate`, beam
search, `save_pretrained`, `from_pretrained`) works, with one more input, `user_ids`. Left out:
which user id has which row, tokenisation and prompts; `decoding.Explainer` keeps those together.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BartConfig, BartForConditionalGeneration
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.bart.modeling_bart import BartEncoder

from ..errors import InputError
from . import starts
from .checks import check_choices, check_number, check_sizes
from .inputs import UNKNOWN_USER, USER_TOKEN, UserTable, whole
from .user_rows import UserRows

PLACEMENTS = ("every_token", "user_token", "none")
SCALES = ("1", "1/sqrt(d)")
USER_TABLES = ("dense", "sparse")
USER_INITS = ("normal", "zero")


class PrismConfig(BartConfig):
    """BART's configuration and what concerns the user's vector.

    num_users: known users; the table has one row more, row 0, for all unknown ones.
    placement: `every_token` adds the vector to each input embedding (equation 5), `user_token` only
        where the input holds `user_token_id` (Cao and Lio 2024), `none` never (the paper's
        ablation "w/o User"; the model then has no user table).
    scale: factor on the vector, `1` (equation 5) or `1/sqrt(d)` (Cao and Lio 2024).
    user_dropout: share of training samples whose user is replaced by the unknown one (paper: 0).
    user_token_id: id of the placeholder token that `user_token` placement looks for.
    user_rank: width of the table's rows, which one matrix, shared by all users, then projects to
        d_model; 0 is the full width without that matrix (equation 5).

    Raises `InputError` for a value outside these.
    """

    model_type = "prism"

    def __init__(
        self,
        num_users: int = 0,
        placement: str = "every_token",
        scale: str = "1",
        user_dropout: float = 0.0,
        user_token_id: int | None = None,
        user_rank: int = 0,
        **kwargs: Any,
    ) -> None:
        check_choices(placement=(placement, PLACEMENTS), scale=(scale, SCALES))
        check_number("user_dropout", user_dropout, "[0, 1)")
        whole("num_users", num_users, 0)
        whole("user_rank", user_rank, 0)
        if placement == "user_token" and user_token_id is None:
            raise InputError("placement 'user_token' needs user_token_id")
        super().__init__(**kwargs)
        if not self.tie_word_embeddings:
            raise InputError("tie_word_embeddings is false; it must be tied to its embeddings")
        self.num_users = num_users
        self.placement = placement
        self.scale = scale
        self.user_dropout = user_dropout
        self.user_token_id = user_token_id
        self.user_rank = user_rank


class PrismEncoder(BartEncoder):
    """BART's encoder; equation 5 happens in its `forward`, before positions and LayerNorm."""

    config: PrismConfig

    def __init__(self, config: PrismConfig) -> None:
        super().__init__(config)
        width = self.embed_tokens.embedding_dim
        if config.placement != "none":
            # padding_idx: row 0 is initialised to zero and receives no gradient.
            self.user_embeddings: nn.Embedding | UserRows = nn.Embedding(
                config.num_users + 1, config.user_rank or width, padding_idx=UNKNOWN_USER
            )
            if config.user_rank:
                self.user_projection = nn.Linear(config.user_rank, width, bias=False)
        self.user_scale = width**-0.5 if config.scale == "1/sqrt(d)" else 1.0
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is getattr(self, "user_projection", None):
            # So that projected vectors start with the spread of full-width ones.
            init.normal_(module.weight, std=self.config.user_rank**-0.5)

    def user_vectors(self, user_ids: torch.Tensor) -> torch.Tensor:
        """What is added for these rows of the user table: (batch,) -> (batch, d_model)."""
        vectors = self.user_embeddings(user_ids)
        if self.config.user_rank:
            vectors = self.user_projection(vectors)
        return self.user_scale * vectors

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        user_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """As BART's; `user_ids` (batch,) are rows of the user table, None means all unknown."""
        if user_ids is not None and self.config.placement != "none":
            if inputs_embeds is None:
                inputs_embeds = self.embed_tokens(input_ids)
            if self.training and self.config.user_dropout > 0:
                dropped = torch.rand(user_ids.shape, device=user_ids.device)
                user_ids = user_ids.masked_fill(dropped < self.config.user_dropout, UNKNOWN_USER)
            vectors = self.user_vectors(user_ids).unsqueeze(1)  # (batch, 1, d)
            if self.config.placement == "user_token":
                if input_ids is None:
                    raise ValueError("placement 'user_token' needs input_ids, not inputs_embeds")
                marked = torch.eq(input_ids, self.config.user_token_id or 0)  # (batch, source)
                vectors = vectors * marked.unsqueeze(-1)
            inputs_embeds = inputs_embeds + vectors
        if inputs_embeds is not None:
            input_ids = None
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )


class PrismForConditionalGeneration(BartForConditionalGeneration):
    """The student: p(explanation | history, item, user), equation 6.

    `forward` and `generate` take what BART's take and `user_ids` (batch,), int64 rows of the user
    table; without them every user is unknown and the outputs are BART's. A BART checkpoint loads
    with its weights unchanged: `from_pretrained("facebook/bart-base", num_users=6040)`.
    """

    config_class = PrismConfig
    config: PrismConfig
    accepts_loss_kwargs = False  # the loss is a mean over this batch's tokens, as BART's is
    # All three are `model.shared.weight`; so said, the trainer does not warn that they are missing.
    _keys_to_ignore_on_save = [
        "model.encoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight",
        "lm_head.weight",
    ]

    def __init__(self, config: PrismConfig) -> None:
        super().__init__(config)
        encoder = PrismEncoder(config)
        encoder.embed_tokens = self.model.shared
        self.model.encoder = encoder
        self.post_init()

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> PrismForConditionalGeneration:
        """As transformers'; `InputError` if a student's user table is not `num_users` long."""
        saved = Path(path) / "config.json"
        if "num_users" in kwargs and saved.is_file():
            settings = json.loads(saved.read_text(encoding="utf-8"))
            have = settings.get("num_users", 0) if settings.get("model_type") == "prism" else None
            if have is not None and have != kwargs["num_users"]:
                raise InputError(
                    f"{path}: its user table has {have} users and does not fit "
                    f"num_users={kwargs['num_users']}; leave num_users out to load it as it is"
                )
        return super().from_pretrained(path, *args, **kwargs)

    @torch.no_grad()
    def user_vectors(self) -> torch.Tensor:
        """Every user's vector as it is added, (num_users + 1, d_model); row 0 is zero."""
        users = torch.arange(self.config.num_users + 1, device=self.device)
        if self.config.placement == "none":
            return torch.zeros(len(users), self.model.shared.embedding_dim, device=self.device)
        return self.model.encoder.user_vectors(users)

    def forward(  # type: ignore[override]
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        encoder_outputs: Any = None,
        user_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """As BART's: input_ids, attention_mask (batch, source); labels (batch, target)."""
        if encoder_outputs is None:
            encoder_outputs = self.model.encoder(
                input_ids=input_ids,
                attention_mask=attention_mask,
                inputs_embeds=inputs_embeds,
                user_ids=user_ids,
                **{
                    k: kwargs[k]
                    for k in ("output_attentions", "output_hidden_states")
                    if k in kwargs
                },
            )
        return super().forward(
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            encoder_outputs=encoder_outputs,
            labels=labels,
            **kwargs,
        )


def from_scratch(
    tokenizer: Any,
    num_users: int,
    *,
    d_model: int = 128,
    layers: int = 2,
    heads: int = 4,
    max_positions: int = 256,
    dropout: float = 0.0,
    seed: int = 0,
    user_table: str = "dense",
    user_init: str = "normal",
    **user_options: Any,
) -> PrismForConditionalGeneration:
    """A small student with random weights; user_options: placement, scale, user_dropout, user_rank.

    Its initialisation is not BART's N(0, 0.02), which suits d_model 768: at standard deviation
    1/sqrt(d_model), embeddings times sqrt(d_model), the scale follows the width. `user_table` and
    `user_init` are as for `from_checkpoint`.
    """
    check_choices(user_table=(user_table, USER_TABLES), user_init=(user_init, USER_INITS))
    check_sizes(d_model, layers=layers, heads=heads, dropout=dropout, max_positions=max_positions)
    torch.manual_seed(seed)
    model = PrismForConditionalGeneration(
        PrismConfig(
            vocab_size=len(tokenizer),
            d_model=d_model,
            encoder_layers=layers,
            decoder_layers=layers,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=4 * d_model,
            decoder_ffn_dim=4 * d_model,
            max_position_embeddings=max_positions,
            dropout=dropout,
            init_std=d_model**-0.5,
            scale_embedding=True,
            num_users=num_users if user_table == "dense" else 0,
            user_token_id=tokenizer.convert_tokens_to_ids(USER_TOKEN),
            **user_options,
        )
    )
    give_users(model, num_users, user_table=user_table, user_init=user_init, seed=seed)
    return model


def from_checkpoint(
    path: str,
    num_users: int,
    *,
    users: UserTable | None = None,
    seed: int = 0,
    user_table: str = "dense",
    user_init: str = "normal",
    **user_options: Any,
) -> tuple[PrismForConditionalGeneration, Any]:
    """A student that starts from a BART checkpoint (a folder or a hub name), and its tokenizer.

    The checkpoint's weights are kept unchanged, in float32; the user table is drawn from
    N(0, init_std) (section 4.3: "randomly initialized"), or all zero with `user_init` "zero".
    `user_table` is "dense", or "sparse" for rows that are made when training first sees their user
    (`UserRows`). `user_token` placement adds one token for its placeholder. user_options:
    placement, scale, user_dropout, user_rank.

    The checkpoint may be another Prism, in a folder. Of its users, those in `users` (whose rows the
    table has) keep their vectors, unless user_rank is another one and not 0; all others, and all
    without `users`, have new ones.
    Raises `InputError` for whatever is no checkpoint of these.
    """
    check_choices(user_table=(user_table, USER_TABLES), user_init=(user_init, USER_INITS))
    torch.manual_seed(seed)
    ids = (*starts.IDS, "decoder_start_token_id")
    start = starts.look(path, PrismConfig, "bart", "Prism needs a BART checkpoint", ids)
    tokenizer = start.tokenizer
    if user_options.get("placement") == "user_token":
        tokenizer.add_special_tokens({"additional_special_tokens": [USER_TOKEN]})
        user_options["user_token_id"] = tokenizer.convert_tokens_to_ids(USER_TOKEN)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(start.special["pad_token_id"])
    if tokenizer("a")["input_ids"][-1] != start.special["eos_token_id"]:
        raise start.wrong("has a tokenizer that ends no text with the end token of config.json")
    model = starts.load(
        PrismForConditionalGeneration,
        start,
        ("user_embeddings", "user_projection"),
        ("input_ids", "labels"),
        num_users=num_users if user_table == "dense" else 0,
        **user_options,
    )
    table = getattr(model.model.encoder, "user_embeddings", None)
    if start.kind == "prism" and table is not None:
        with torch.no_grad():  # its rows are other users'
            table.weight.normal_(0, model.config.init_std)[UNKNOWN_USER] = 0
    give_users(model, num_users, user_table=user_table, user_init=user_init, seed=seed)
    if start.kind == "prism" and users is not None:
        _keep_vectors(model, start, users)
    return model, tokenizer


@torch.no_grad()
def _keep_vectors(
    model: PrismForConditionalGeneration, start: starts.Start, users: UserTable
) -> None:
    """Give the users that the Prism of `start` knew the vectors that they had there."""
    encoder, rank, folder = model.model.encoder, model.config.user_rank, Path(start.path)
    table = starts.tensor(folder, "model.encoder.user_embeddings.weight")
    if table is None or model.config.placement == "none":
        return
    known = UserTable.load(folder)
    if len(table) != len(known) + 1:
        raise start.wrong(f"has {len(table) - 1} users, but {len(known)} in its users.parquet")
    projection = starts.tensor(folder, "model.encoder.user_projection.weight")
    if projection is not None and not rank:
        table, projection = table @ projection.T, None
    width = encoder.embed_tokens.embedding_dim
    if (projection is None) != (not rank) or table.shape[1] != (rank or width):
        return
    scale = start.config.get("scale", "1")
    if scale != model.config.scale:
        table *= (1.0 if scale == "1" else width**-0.5) / encoder.user_scale
    rows = torch.from_numpy(known.rows(users.index.tolist()))
    kept = rows.nonzero().squeeze(1)
    if isinstance(encoder.user_embeddings, UserRows):
        encoder.user_embeddings.put(kept + 1, table[rows[kept]])
    else:
        encoder.user_embeddings.weight[kept + 1] = table[rows[kept]]


def give_users(
    model: PrismForConditionalGeneration,
    num_users: int,
    *,
    user_table: str,
    user_init: str = "normal",
    seed: int = 0,
) -> None:
    """Put a sparse user table into a model, or set a dense one, which it has, to zero if asked."""
    model.config.num_users = num_users
    encoder = model.model.encoder
    if model.config.placement != "none" and user_table == "sparse":
        std = model.config.init_std if user_init == "normal" else None
        width = encoder.user_embeddings.embedding_dim
        encoder.user_embeddings = UserRows(num_users, width, std=std or 0.0, seed=seed)
    elif model.config.placement != "none" and user_init == "zero":
        nn.init.zeros_(encoder.user_embeddings.weight)
