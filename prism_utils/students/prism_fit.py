"""Prism fitted from samples and a teacher's texts, in one call: what chapter 3 does step by step.

Left out: the model (`prism`), its training (`training`), and explaining (`decoding.Explainer`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from ..prompts import render_prompts
from .checks import check_sizes
from .inputs import UserTable, token_counter
from .prism import PrismForConditionalGeneration, from_checkpoint, from_scratch
from .system import Job
from .training import finetune
from .vocabulary import student_tokenizer


class Trained(NamedTuple):
    """A trained Prism, for whoever explains with it."""

    model: PrismForConditionalGeneration
    tokenizer: Any
    users: UserTable
    curve: pd.DataFrame


def fit(
    job: Job,
    *,
    init_from: str = "",
    vocabulary: str = "whole_titles",
    vocab_size: int = 1000,
    d_model: int = 128,
    layers: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
    placement: str = "every_token",
    scale: str = "1",
    user_dropout: float = 0.0,
    user_rank: int = 0,
    user_table: str = "dense",
    user_init: str = "normal",
) -> Trained:
    """Train a Prism, as chapter 3 does: the same arguments give the same weights."""
    check_sizes(d_model, layers=layers, heads=heads, dropout=dropout, vocab_size=vocab_size)
    settings, recipe = job.settings, job.recipe
    users = UserTable(sorted(job.train["user_id"].unique()))
    user_options: dict[str, Any] = {"placement": placement, "scale": scale}
    user_options |= {"user_dropout": user_dropout, "user_rank": user_rank}
    user_options |= {"user_table": user_table, "user_init": user_init}
    if init_from:
        model, tokenizer = from_checkpoint(
            init_from, len(users), users=users, seed=recipe.seed, **user_options
        )
    else:
        tokenizer = student_tokenizer(
            job.train, job.items, settings, vocabulary=vocabulary, vocab_size=vocab_size
        )
        model = from_scratch(
            tokenizer,
            len(users),
            d_model=d_model,
            layers=layers,
            heads=heads,
            max_positions=max(settings.max_input_tokens, settings.max_new_tokens) + 2,
            dropout=dropout,
            seed=recipe.seed,
            **user_options,
        )

    def prompted(frame: pd.DataFrame) -> pd.DataFrame:
        prompts = render_prompts(
            frame,
            job.items,
            template=settings.template,
            noun=settings.noun,
            max_history=settings.max_history,
            mark_evidence=settings.mark_evidence,
            facts=settings.facts,
            count_tokens=token_counter(tokenizer, model.config),
            max_tokens=settings.max_input_tokens,
        )
        return frame.assign(prompt=prompts["prompt"].to_numpy())

    curve = finetune(
        model,
        tokenizer,
        prompted(job.train),
        prompted(job.valid),
        users,
        job.folder,
        settings=settings,
        recipe=recipe,
        items=job.items,
        progress=job.progress,
    )
    return Trained(model, tokenizer, users, curve)
