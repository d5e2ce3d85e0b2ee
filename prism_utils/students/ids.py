"""What students that read ids alone have in common: encoding, batches, training and explaining.

Att2Seq and PEPLER see who the user is and which item it is (and a rating), never the history: what
they say about it they know by heart or invent. Row 0 of their tables is whatever training never
saw and stays zero. Left out: the models, which are one file each.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import nn
from tqdm import tqdm
from transformers import TrainerCallback

from ..errors import InputError
from . import saved, training
from .checks import check_number
from .folders import load_tokenizer, read_ids
from .inputs import StudentSettings, UserTable, encode_texts
from .options import judged, options
from .starts import tensor
from .system import BaseSystem, Job
from .vocabulary import student_tokenizer

IGNORED = -100  # label of padding, PyTorch's own
ITEMS_FILE = "known_items.parquet"


@dataclasses.dataclass(frozen=True)
class Known:
    """The users and items of training; rows of the model's tables.

    >>> samples = pd.DataFrame({"user_id": ["ann"], "item_id": ["f9"]})
    >>> Known(UserTable(["ann"]), UserTable(["f1", "f2"])).rows(samples)["item_ids"].tolist()
    [0]
    """

    users: UserTable
    items: UserTable

    @classmethod
    def of(cls, train: pd.DataFrame) -> Known:
        """In sorted order, so that the order of rows does not matter."""
        columns = (train["user_id"], train["item_id"])
        return cls(*(UserTable(sorted(column.unique())) for column in columns))

    def rows(self, samples: pd.DataFrame) -> dict[str, np.ndarray]:
        return {
            "user_ids": self.users.rows(samples["user_id"].tolist()),
            "item_ids": self.items.rows(samples["item_id"].tolist()),
        }

    @property
    def counts(self) -> dict[str, Any]:
        return {"num_users": len(self.users), "num_items": len(self.items)}

    def save(self, folder: Path) -> None:
        self.users.save(folder)
        pd.DataFrame({"item_id": self.items.index}).to_parquet(folder / ITEMS_FILE, index=False)

    @classmethod
    def load(cls, folder: Path) -> Known:
        return cls(UserTable.load(folder), UserTable(read_ids(folder / ITEMS_FILE, "item_id")))


def ratings(frame: pd.DataFrame, source: str) -> np.ndarray:
    """The column `rating` as float64 (rows,), NaN for none; `InputError` for what is no number."""
    if "rating" not in frame.columns:
        return np.full(len(frame), np.nan)
    given = frame["rating"]
    found = pd.to_numeric(given, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    wrong = np.isnan(found) & given.notna().to_numpy()
    wrong |= np.abs(found) > np.finfo(np.float32).max
    if not pd.api.types.is_numeric_dtype(given):
        wrong |= given.map(lambda value: isinstance(value, str | bool)).to_numpy(dtype=bool)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{source}: row {row + 1}: 'rating' must be a finite number, found {given.iloc[row]!r}"
        )
    return found


def mean(rated: np.ndarray) -> float | None:
    """The mean of ratings, None where there are none."""
    return None if np.isnan(rated).all() else float(pd.Series(rated).mean())


def new_words(job: Job, vocabulary: str, vocab_size: int) -> tuple[Any, dict[str, Any]]:
    """The tokenizer of a student from scratch, and what its configuration says of it."""
    tokenizer = student_tokenizer(
        job.train, job.items, job.settings, vocabulary=vocabulary, vocab_size=vocab_size
    )
    ids = ("bos_token_id", "eos_token_id", "pad_token_id")
    said = {"vocab_size": len(tokenizer), **{name: getattr(tokenizer, name) for name in ids}}
    return tokenizer, said


def draw_tables(model: Any, spread: float, folder: Path | None, known: Known) -> None:
    """Vectors of users and items from U(-spread, spread), row 0 zero.

    Ids that a student saved in `folder` knew keep the vectors that they have there.
    """
    for name, index in (("user_embeddings", known.users), ("item_embeddings", known.items)):
        with torch.no_grad():
            weight = getattr(model, name).weight
            nn.init.uniform_(weight, -spread, spread)[0] = 0.0
            if folder is not None:
                before = Known.load(folder)
                old = before.users if name == "user_embeddings" else before.items
                rows = old.rows(index.index.tolist())
                vectors = tensor(folder, name + ".weight")
                if vectors is None or len(vectors) != len(old) + 1:
                    raise InputError(f"init_from: {folder}: its {name} are not of its known ids")
                weight[1:][rows > 0] = vectors[rows[rows > 0]]


def shifted(labels: torch.Tensor, start: Any) -> torch.Tensor:
    """Decoder inputs (batch, length) of labels: begin with `start`, never see their own label."""
    first = labels.new_full((len(labels), 1), start)
    return torch.cat([first, labels[:, :-1]], dim=1).masked_fill(labels == IGNORED, start)


def text_loss(output: nn.Module, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the batch's tokens, in nats (equation 6).

    output: from states to logits; hidden: states (batch, length, width), one a label. Padding does
    not pass through the output layer, which is most of a small model's work.
    """
    told = labels != IGNORED
    return nn.functional.cross_entropy(output(hidden[told]).float(), labels[told])


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Stack ids and ratings; pad labels on the right."""
    batch = {n: torch.tensor([row[n] for row in rows]) for n in rows[0] if n != "labels"}
    labels = [torch.tensor(row["labels"]) for row in rows]
    padded = nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED)
    return {**batch, "labels": padded}


def positions(config: Any) -> str:
    """How many tokens a model can write, as an interval: PEPLER's prompts take some positions."""
    return f"[1, {getattr(config, 'n_positions', math.inf) - 3}]"


class IdExplainer(BaseSystem):
    """A trained Att2Seq or PEPLER; `explain` takes options of its model's `write`."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        known: Known,
        settings: StudentSettings,
        *,
        name: str,
        curve: pd.DataFrame | None = None,
        batch_size: int = 128,
        progress: bool = False,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.known = known
        self.settings = settings
        self.name = name
        self.curve = curve
        self.batch_size = batch_size
        self.progress = progress

    @classmethod
    def load(cls, folder: Path, model_class: Any, *, name: str) -> IdExplainer:
        """What `fit_ids` saved, onto a GPU if there is one.

        Raises `InputError` for a file that is missing, damaged, or of another training.
        """
        settings, known = StudentSettings.load(folder), Known.load(folder)
        model = saved.load_model(folder, model_class)
        have = (model.config.num_users, model.config.num_items)
        if have != (len(known.users), len(known.items)):
            raise InputError(
                f"{folder}: tables of {len(known.users)} users and {len(known.items)} items, but "
                f"the weights have {have[0]} and {have[1]}; both must come from the same training"
            )
        most = positions(model.config)
        check_number(f"{folder / 'student.json'}: max_new_tokens", settings.max_new_tokens, most)
        tokenizer = load_tokenizer(folder, model.config)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        return cls(model, tokenizer, known, settings, name=name)

    @torch.inference_mode()
    def _tell(self, samples: pd.DataFrame, **generation: Any) -> dict[str, Any]:
        """Texts, greedy unless `generation` says otherwise; user_known, item_known, tokens.

        Known is what the model has a vector for; for all else it takes zero.
        """
        given = options(generation, self.settings.max_new_tokens)
        check_number("max_new_tokens", given["max_new_tokens"], positions(self.model.config))
        inputs, device = encode_ids(samples, self.known, self.model.config), self.model.device
        texts: list[str] = []
        tokens: list[int] = []
        starts = range(0, len(samples), self.batch_size)
        for start in tqdm(starts, disable=not self.progress, desc=self.name, unit="batch"):
            batch = {
                name: torch.as_tensor(values[start : start + self.batch_size], device=device)
                for name, values in inputs.items()
            }
            with judged(generation):
                output = self.model.write(**batch, **given)
            for ids in output.tolist():
                end = self.model.config.eos_token_id
                ids = ids[: ids.index(end)] if end in ids else ids
                texts.append(self.tokenizer.decode(ids, skip_special_tokens=True).strip())
                tokens.append(len(ids))
        return {
            "text": texts,
            "user_known": inputs["user_ids"] > 0,
            "item_known": inputs["item_ids"] > 0,
            "tokens": tokens,
        }


def encode_ids(
    samples: pd.DataFrame, known: Known, config: Any, source: str = "samples"
) -> dict[str, np.ndarray]:
    """Rows of user and item; and ratings if the model takes any, a missing one the mean."""
    inputs = known.rows(samples)
    if config.mean_rating is not None:
        rated = ratings(samples, source)
        inputs["ratings"] = np.where(np.isnan(rated), config.mean_rating, rated).astype(np.float32)
    return inputs


def fit_ids(
    kind: str,
    model: Any,
    tokenizer: Any,
    known: Known,
    job: Job,
    *,
    identity: str = "",
    callbacks: Sequence[TrainerCallback] = (),
) -> IdExplainer:
    """Train `model` on train's texts, save what `IdExplainer.load` needs, return the system."""
    settings, recipe = job.settings, job.recipe
    training.need_samples(job.train, job.valid)
    if recipe.label_smoothing:
        raise InputError(f"label_smoothing: {kind!r} has none; set it to 0")

    def encode(frame: pd.DataFrame, source: str) -> Dataset:
        inputs = encode_ids(frame, known, model.config, source)
        ids = encode_texts(tokenizer, frame["text"], special=False)
        labels = [row[: settings.max_new_tokens - 1] + [model.config.eos_token_id] for row in ids]
        return Dataset.from_dict({**inputs, "labels": labels})

    def save(curve: pd.DataFrame) -> None:
        facts = {"kind": kind, "training samples": len(job.train)}
        facts["validation samples"] = len(job.valid)
        saved.save(job.folder, model, tokenizer, known, settings, curve, recipe, facts)

    curve = training.train(
        model,
        encode(job.train, "train"),
        encode(job.valid, "valid"),
        job.folder,
        collator=collate,
        recipe=recipe,
        identity=identity,
        progress=job.progress,
        callbacks=list(callbacks),
        save=save,
    )
    return IdExplainer(
        model, tokenizer, known, settings, name=job.name, curve=curve, progress=job.progress
    )
