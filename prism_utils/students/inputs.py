"""What a student needs beside its weights: its users' rows and how its prompt is written.

Saved in the checkpoint's folder (`users.parquet`, `student.json`, `items.parquet`), so that an
explainer loads from one path. Left out: the prompt's wording, which is `prompts`' business, and
torch: who explains with an exported student does not need it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from .. import tables
from ..errors import InputError, nearest
from ..prompts import FACTS, TEMPLATES, well_formed
from .folders import check_seals, read_ids, read_settings, unreadable

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
        """What `save` wrote; `InputError` for a table that is missing, damaged or another."""
        return cls(read_ids(folder / "users.parquet", "user_id"))


def whole(name: str, value: Any, least: int) -> int:
    """`value` if it is a whole number of at least `least`, else `InputError` with its name."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise InputError(f"{name} must be a whole number, found {value!r}")
    if value < least:
        raise InputError(f"{name} must be {least} or more, found {value}")
    return int(value)


@dataclasses.dataclass(frozen=True)
class StudentSettings:
    """How a student's input is written; fixed at training, so saved with the weights.

    template: name in `prompts.TEMPLATES`. noun: what an item is called. max_history: history items
    shown. max_input_tokens, max_new_tokens: budgets of input and explanation, in tokens.
    mark_evidence: whether the input marks the history items in a sample's column `evidence`.
    facts: what the input tells of the catalogue's attributes, one of `prompts.FACTS`.
    Raises `InputError` for a value outside these.
    """

    template: str = "faithful"
    noun: str = "film"
    max_history: int = 50
    max_input_tokens: int = 1024
    max_new_tokens: int = 80
    mark_evidence: bool = False
    facts: str = "none"

    def __post_init__(self) -> None:
        for name, known in (("template", TEMPLATES), ("facts", FACTS)):
            if (given := getattr(self, name)) not in tuple(known):
                raise InputError(f"{name} {given!r} is unknown: {nearest(str(given), known)}")
        if not isinstance(self.noun, str) or not self.noun.strip():
            raise InputError(f"noun must be a word, found {self.noun!r}")
        if not isinstance(self.mark_evidence, bool):
            raise InputError(f"mark_evidence must be True or False, found {self.mark_evidence!r}")
        for name, least in (("max_history", 0), ("max_input_tokens", 1), ("max_new_tokens", 1)):
            object.__setattr__(self, name, whole(name, getattr(self, name), least))

    def save(self, folder: Path) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=1)
        (folder / "student.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> StudentSettings:
        """What `save` wrote; `InputError` names what in the file is unknown or impossible."""
        advice = f"{folder} is not a whole folder that finetune wrote"
        return read_settings(cls, folder / "student.json", advice)


def read_parts(folder: Path) -> tuple[StudentSettings, UserTable, pd.DataFrame]:
    """Settings, users and catalogue (empty if there is none) of a student's folder, checked."""
    check_seals(folder)
    settings, users = StudentSettings.load(folder), UserTable.load(folder)
    path = folder / "items.parquet"
    if path.is_dir():
        raise unreadable(path, "Parquet")
    if not path.exists():
        raise InputError(f"{path}: no such file; copy or save the whole folder again")
    return settings, users, tables.read_table(path, "items")


def check_parts(
    folder: Path,
    settings: StudentSettings,
    users: UserTable,
    placement: str,
    known: int,
    positions: tuple[int, int],
) -> None:
    """Raise `InputError` unless a student's users and settings fit its weights.

    known: users in the weights. positions: tokens that encoder and decoder can take.
    """
    if placement != "none" and known != len(users):
        raise InputError(
            f"{folder / 'users.parquet'}: {len(users)} users, but the weights have {known}; "
            "both must come from the same training"
        )
    for name, most in zip(("max_input_tokens", "max_new_tokens"), positions, strict=True):
        if getattr(settings, name) > most:
            raise InputError(
                f"{folder / 'student.json'}: {name} is {getattr(settings, name)}, but the weights "
                f"have {most} positions; set it to {most} or less"
            )


class Reader:
    """Texts to token ids and back by a tokenizer that nobody else holds, so for many threads.

    transformers' tokenizers switch truncation on and off in place, for all who share one. Here a
    special token spelt out in a text, such as "</s>", is text like any other.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """tokenizer: is changed, and must not be used elsewhere; `Reader.of` takes a copy."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        probe = tokenizer.encode("a")
        body = [i for i, special in enumerate(probe.special_tokens_mask) if not special]
        if not body:
            raise InputError("tokenizer: reads no letters; name one that was trained on texts")
        self._around = probe.ids[: body[0]], probe.ids[body[-1] + 1 :]  # of every text

    @classmethod
    def of(cls, tokenizer: Any) -> Reader:
        """For a tokenizer of transformers, which stays as it is; a `Reader` is returned itself."""
        if isinstance(tokenizer, cls):
            return tokenizer
        own = getattr(tokenizer, "backend_tokenizer", None)
        if own is None:
            raise InputError("tokenizer: has no tokenizer.json; save it with a fast tokenizer")
        return cls(Tokenizer.from_str(own.to_str()))

    @classmethod
    def load(cls, path: Path) -> Reader:
        """From `tokenizer.json`; `InputError` if that is missing or damaged."""
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # tokenizers raises plain Exceptions
            raise unreadable(path, "a tokenizer", error) from error

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def __call__(
        self,
        texts: Iterable[str],
        max_length: int | None = None,
        *,
        special: bool = True,
        placeholder: Sequence[int] = (),
    ) -> list[list[int]]:
        """Token ids of each text, at most max_length, the text's end cut off.

        special: with the tokens that the tokenizer puts around a text, such as its end token;
        `placeholder`: ids that follow those before it.
        """
        before, after = self._around if special else ([], [])
        before = [*before, *placeholder]
        room = None if max_length is None else max(max_length - len(before) - len(after), 0)
        return [[*before, *found.ids[:room], *after] for found in self._encode(texts)]

    def lengths(self, texts: Iterable[str], placeholder: Sequence[int] = ()) -> list[int]:
        """How many tokens each text takes, those around it included."""
        more = sum(map(len, self._around)) + len(placeholder)
        return [len(found) + more for found in self._encode(texts)]

    def _encode(self, texts: Iterable[str]) -> list[Any]:
        texts = list(texts)
        try:
            return self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        except TypeError:  # half an emoji
            texts = [well_formed(text) for text in texts]
            return self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)

    def batch_decode(
        self, rows: Sequence[Sequence[int]], skip_special_tokens: bool = True
    ) -> list[str]:
        """As that of transformers' tokenizers."""
        return self._tokenizer.decode_batch(rows, skip_special_tokens=skip_special_tokens)


def _placed(texts: Sequence[str], config: Any) -> tuple[Sequence[str], list[int]]:
    """Prompts as they follow the placeholder of `user_token` placement, and its id, if any."""
    if getattr(config, "placement", "none") != "user_token":
        return texts, []
    return [f" {text}" for text in texts], [config.user_token_id]


def encode_inputs(
    tokenizer: Any, prompts: Sequence[str], config: Any, settings: StudentSettings
) -> list[list[int]]:
    """Token ids of each prompt, cut to the budget; `user_token` placement gets its placeholder.

    tokenizer: of transformers, or a `Reader`. config: has `placement` and `user_token_id`.
    """
    texts, placeholder = _placed(prompts, config)
    return Reader.of(tokenizer)(texts, settings.max_input_tokens, placeholder=placeholder)


def encode_texts(
    tokenizer: Any, texts: Iterable[str], max_length: int | None = None, *, special: bool = True
) -> list[list[int]]:
    """Token ids of what a student shall write; a special token spelt out in it is plain text."""
    return Reader.of(tokenizer)(texts, max_length, special=special)


def token_counter(tokenizer: Any, config: Any = None) -> Callable[[list[str]], list[int]]:
    """A `count_tokens` for `prompts.render_prompts`: what `encode_inputs` makes of each, in tokens.

    config: the student's; without it the placeholder of `user_token` placement is not counted.
    """
    reader = Reader.of(tokenizer)
    return lambda texts: reader.lengths(*_placed(texts, config))
