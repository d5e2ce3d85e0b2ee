"""What a student needs beside its weights: its users' rows and how its prompt is written.

Saved in the checkpoint's folder (`users.parquet`, `student.json`, `items.parquet`), so that an
explainer loads from one path. Left out: the prompt's wording, which is `prompts`' business, and
torch: who explains with an exported student does not need it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import InputError

if TYPE_CHECKING:
    from .prism import PrismConfig

USER_TOKEN = "<user>"  # stands in the input where `user_token` placement adds the vector
UNKNOWN_USER = 0  # this row of the user table is zero and stays zero


class UserTable:
    """Row of the user table for each user id; row 0 is every user that training never saw.

    >>> UserTable(["ann", "bob"]).rows(["bob", "carl"]).tolist()
    [2, 0]
    """

    def __init__(self, user_ids: Iterable[str]) -> None:
        self.index = pd.Index(list(user_ids), dtype="object")
        if not self.index.is_unique:
            twice = self.index[self.index.duplicated()][0]
            raise InputError(f"user table: user {twice!r} stands there twice")

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, user_ids: Sequence[str]) -> np.ndarray:
        """int64 array (len(user_ids),): 1 … len(self) for known users, 0 for unknown ones."""
        return self.index.get_indexer(pd.Index(user_ids, dtype="object")) + 1

    def save(self, folder: Path) -> None:
        pd.DataFrame({"user_id": self.index}).to_parquet(folder / "users.parquet", index=False)

    @classmethod
    def load(cls, folder: Path) -> UserTable:
        return cls(pd.read_parquet(folder / "users.parquet")["user_id"])


@dataclasses.dataclass(frozen=True)
class StudentSettings:
    """How a student's input is written; fixed at training, so saved with the weights.

    template: name in `prompts.TEMPLATES`. noun: what an item is called. max_history: history items
    shown. max_input_tokens, max_new_tokens: budgets of input and explanation, in tokens.
    mark_evidence: whether the input marks the history items in a sample's column `evidence`.
    """

    template: str = "faithful"
    noun: str = "film"
    max_history: int = 50
    max_input_tokens: int = 1024
    max_new_tokens: int = 80
    mark_evidence: bool = False

    def save(self, folder: Path) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=1)
        (folder / "student.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> StudentSettings:
        path = folder / "student.json"
        if not path.is_file():
            raise InputError(f"{path}: no such file; {folder} is not a folder that finetune wrote")
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def encode_inputs(
    tokenizer: Any, prompts: Sequence[str], config: PrismConfig, settings: StudentSettings
) -> list[list[int]]:
    """Token ids of each prompt, cut to the budget; `user_token` placement gets its placeholder."""
    if config.placement == "user_token":
        prompts = [f"{USER_TOKEN} {prompt}" for prompt in prompts]
    return tokenizer(list(prompts), truncation=True, max_length=settings.max_input_tokens)[
        "input_ids"
    ]


def token_counter(tokenizer: Any) -> Any:
    """A `count_tokens` for `prompts.render_prompts`: lengths in tokens, end token included."""
    return lambda texts: [len(ids) for ids in tokenizer(texts, truncation=False)["input_ids"]]
