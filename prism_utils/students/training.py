"""Fine-tuning a student on a teacher's explanations, thin over the Hugging Face trainer.

`train` is the one trainer of all students, `finetune` is Prism's (section 4.3, equation 6).
Validation, early stopping, checkpoints, bf16 and several processes are Hugging Face's; here are
the data, the fingerprint that decides what may be resumed, and what is saved beside the weights.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch
from datasets import Dataset
from safetensors import SafetensorError
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    logging,
    set_seed,
)

from ..errors import InputError, refusal
from ..files import check_writable, make_folder
from . import saved
from .checks import check_number
from .folders import in_short
from .inputs import StudentSettings, UserTable, encode_inputs, encode_texts, whole
from .prism import PrismForConditionalGeneration
from .resuming import Keeper, NotFinite, best_step, finite, folder_of, newest, restore
from .user_rows import RowAdamW, UserRows


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train; the paper states AdamW and joint training, all else is our choice.

    steps: optimiser steps at most. eval_every: steps between validations (and checkpoints).
    patience: validations without improvement before stopping; 0 never stops early. warmup: share
    of steps. batch_size: samples a device and step. seed: of data order and dropout.
    Raises `InputError` for a value that makes no sense.
    """

    steps: int = 2000
    learning_rate: float = 1e-3
    batch_size: int = 32
    warmup: float = 0.1
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    eval_every: int = 200
    patience: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "eval_every", "patience", "seed"):
            least = 0 if name in ("patience", "seed") else 1
            object.__setattr__(self, name, whole(name, getattr(self, name), least))
        for name in ("steps", "batch_size", "eval_every", "patience"):
            check_number(name, getattr(self, name), "[0, 2147483647]")
        check_number("seed", self.seed, "[0, 4294967296)")
        check_number("learning_rate", self.learning_rate, "(0, 1e38)")
        check_number("weight_decay", self.weight_decay, "[0, 1e38)")
        check_number("warmup", self.warmup, "[0, 1]")
        check_number("label_smoothing", self.label_smoothing, "[0, 1)")


class Probe(TrainerCallback):
    """Measure something of the student at every validation, against training steps and seconds.

    measure: called with the model in evaluation mode, returns named numbers. `table` then has one
    row a validation: step, seconds (of training alone) and these.
    """

    def __init__(self, measure: Callable[[Any], dict[str, float]]) -> None:
        self.measure = measure
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds += time.perf_counter() - self._start

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        model = kwargs["model"]
        row = {"step": state.global_step, "seconds": self.seconds}
        self.rows.append(row | self.measure(model.eval()))
        model.train()

    @property
    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)


class _Trainer(Trainer):
    """Hugging Face's; a loss that is not finite ends it, and so does a full disk, in a sentence."""

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        finite("training", float(loss), self.state.global_step + 1, self.args.learning_rate)
        return loss

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with _room(self.args.output_dir):
            super()._save_checkpoint(*args, **kwargs)


# How torch, which has no word for a full disk, says that it could not write to the end.
_CUT_SHORT = re.compile("write failed|PytorchStreamWriter|iostream error|I/O error|unexpected pos")


@contextlib.contextmanager
def _room(folder: object) -> Iterator[None]:
    """What cannot be written below `folder`, to a full disk for instance, is an `InputError`."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        said = refusal(error, folder)
        if said is None and isinstance(error, RuntimeError) and not _CUT_SHORT.search(str(error)):
            raise  # a bug, or a device's error, and no file's
        said = said or f"{folder}: cannot be written ({in_short(error)}): make room there"
        raise InputError(f"{said}; then training goes on from its last whole checkpoint") from error


def encode(
    frame: pd.DataFrame,
    tokenizer: Any,
    users: UserTable,
    model: PrismForConditionalGeneration,
    settings: StudentSettings,
) -> Dataset:
    """Frame with prompt, text, user_id (one row a sample) -> input_ids, labels, user_ids."""
    for column in ("prompt", "text", "user_id"):
        if column not in frame.columns:
            raise InputError(f"training data: column {column!r} is missing")
    for column in ("prompt", "text"):
        is_text = [isinstance(text, str) for text in frame[column]]
        if not all(is_text):
            row = is_text.index(False)
            found = frame[column].iloc[row]
            raise InputError(
                f"training data: row {row + 1}: {column!r} must be text, found {found!r}"
            )
    inputs = encode_inputs(tokenizer, frame["prompt"].tolist(), model.config, settings)
    labels = encode_texts(tokenizer, frame["text"], settings.max_new_tokens)
    return Dataset.from_dict(
        {
            "input_ids": inputs,
            "labels": labels,
            "user_ids": users.rows(frame["user_id"].tolist()),
        }
    )


def need_samples(train: pd.DataFrame, valid: pd.DataFrame) -> None:
    """Raise `InputError` unless there is something to train on and to validate with."""
    if not len(train) or not len(valid):
        raise InputError(f"{len(train)} training and {len(valid)} validation samples: need both")


def train(
    model: PreTrainedModel,
    train_data: Dataset,
    valid_data: Dataset,
    out_dir: Path | str,
    *,
    collator: Callable[[list[dict[str, Any]]], dict[str, Any]],
    recipe: Recipe,
    identity: str = "",
    progress: bool = True,
    callbacks: list[TrainerCallback] | None = None,
    save: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Train any student whose `forward` returns a loss; leaves the best weights in `model`.

    Minimises that loss with AdamW under a cosine schedule with warm-up, and keeps the weights of
    the lowest validation loss. Checkpoints lie in `out_dir` until the end: the same call after an
    interruption continues at the last one. `identity` says what besides data, recipe,
    configuration and first weights determines the result (a schedule in `callbacks`, say).
    `save(curve)` is called at the end on the main process; only after it are checkpoints deleted.
    Returns the learning curve: step, train_loss (mean since the row before), valid_loss.
    """
    # What may be resumed: the same data, recipe, architecture and first weights, nothing else.
    digest = hashlib.sha256()
    for part in (
        json.dumps(dataclasses.asdict(recipe), sort_keys=True),
        model.config.to_json_string(),
        str(train_data._fingerprint) + str(valid_data._fingerprint),
        identity,
    ):
        digest.update(part.encode())
    for weight in model.state_dict().values():
        digest.update(weight.detach().cpu().flatten().view(torch.uint8).numpy())
    checkpoints = Path(out_dir) / f"checkpoints-{digest.hexdigest()[:12]}"

    check_writable(Path(out_dir) / saved.LAST)
    set_seed(recipe.seed)
    on_gpu = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=4 * recipe.batch_size,
        warmup_steps=round(recipe.warmup * recipe.steps),
        weight_decay=recipe.weight_decay,
        label_smoothing_factor=recipe.label_smoothing,
        lr_scheduler_type="cosine",
        eval_strategy="steps",
        eval_steps=recipe.eval_every,
        save_strategy="steps",
        save_steps=recipe.eval_every,
        logging_steps=recipe.eval_every,
        logging_nan_inf_filter=False,  # `_Trainer` looks itself
        prediction_loss_only=True,
        bf16=on_gpu and torch.cuda.is_bf16_supported(),
        dataloader_pin_memory=on_gpu,
        disable_tqdm=not progress,
        report_to="none",
        seed=recipe.seed,
    )
    optimizer = None  # Hugging Face's AdamW
    table = next((part for part in model.modules() if isinstance(part, UserRows)), None)
    if table is not None:
        if arguments.world_size * max(arguments.n_gpu, 1) > 1:
            raise InputError(
                'user_table "sparse" trains on one device: take "dense", or start one process and '
                "let it see one GPU (CUDA_VISIBLE_DEVICES=0)"
            )
        options = Trainer.get_optimizer_cls_and_kwargs(arguments)[1]
        optimizer = (RowAdamW, options | {"table": table})
    make_folder(checkpoints)
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=train_data,
        eval_dataset=valid_data,
        data_collator=collator,
        callbacks=[Keeper(recipe.patience, recipe.learning_rate), *(callbacks or [])],
        optimizer_cls_and_kwargs=optimizer,
    )
    if not progress:
        trainer.remove_callback(PrinterCallback)
        logging.disable_progress_bar()
    saved.withdraw(Path(out_dir))
    last, passed = newest(checkpoints)
    if passed and trainer.is_world_process_zero():
        goes_on = f"goes on from {last.folder.name}" if last else "starts anew"
        print(f"{checkpoints}: not whole: {', '.join(passed)}; training {goes_on}", file=sys.stderr)
    if last is None or not last.ended:
        try:
            trainer.train(resume_from_checkpoint=str(last.folder) if last else None)
        except NotFinite:
            shutil.rmtree(checkpoints, ignore_errors=True)
            raise
    log = last.log if last and last.ended else trainer.state.log_history
    restore(model, folder_of(checkpoints, best_step(log)))
    trainer.accelerator.wait_for_everyone()  # before one of them removes what all have read

    curve = _learning_curve(log)
    if trainer.is_world_process_zero():
        if save is not None:
            with _room(out_dir):
                save(curve)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return curve


_train = train  # `finetune` has a parameter of this name


def finetune(
    model: PrismForConditionalGeneration,
    tokenizer: Any,
    train: pd.DataFrame,
    valid: pd.DataFrame,
    users: UserTable,
    out_dir: Path | str,
    *,
    settings: StudentSettings,
    recipe: Recipe,
    items: pd.DataFrame | None = None,
    card: dict[str, Any] | None = None,
    progress: bool = True,
    callbacks: list[TrainerCallback] | None = None,
) -> pd.DataFrame:
    """Train `model` by cross-entropy on `train`, keep the weights of the lowest validation loss.

    train, valid: frames with prompt, text and user_id, one row a sample. out_dir receives weights,
    tokenizer, users, settings, items (if given: the catalogue that ids are looked up in), a model
    card with `card`'s facts, and `learning_curve.parquet`. Called again after an interruption with
    the same data and recipe it continues at the last checkpoint. Returns the learning curve:
    step, train_loss (mean since the row before; NaN at step 0), valid_loss (nats a token).

    Of a sparse user table the users that training had seen when the kept weights were made remain,
    in `model`, in `users` and in what is saved; all others are unknown users from then on.
    """
    if model.config.num_users != len(users) and model.config.placement != "none":
        raise InputError(
            f"the model has {model.config.num_users} users, the user table {len(users)}: "
            f"build the model with num_users={len(users)}"
        )
    need_samples(train, valid)
    for name in ("max_input_tokens", "max_new_tokens"):
        if getattr(settings, name) > model.config.max_position_embeddings:
            raise InputError(
                f"{name}: {getattr(settings, name)} are more tokens than the model's "
                f"{model.config.max_position_embeddings} positions hold; ask for fewer"
            )
    for name, kept in (("users", pd.DataFrame({"user_id": users.index})), ("items", items)):
        try:
            pa.Table.from_pandas(kept if kept is not None else pd.DataFrame())
        # Half an emoji, or cells of several types: said now, and not after training.
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise InputError(f"{name}: cannot be saved: {in_short(error)}") from error
    out_dir = Path(out_dir)
    table = getattr(model.model.encoder, "user_embeddings", None)

    def save(curve: pd.DataFrame) -> None:
        if isinstance(table, UserRows):
            seen, model.model.encoder.user_embeddings = table.settled()
            users.index = users.index[seen.cpu().numpy() - 1]
            model.config.num_users = len(users)
        facts = {"training samples": len(train), "validation samples": len(valid)}
        facts |= {"users": len(users), **(card or {})}
        saved.save(out_dir, model, tokenizer, users, settings, curve, recipe, facts, items)

    return _train(
        model,
        encode(train, tokenizer, users, model, settings),
        encode(valid, tokenizer, users, model, settings),
        out_dir,
        collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        recipe=recipe,
        identity=repr(table) if isinstance(table, UserRows) else "",
        progress=progress,
        callbacks=callbacks,
        save=save,
    )


def _learning_curve(log: list[dict[str, float]]) -> pd.DataFrame:
    rows: dict[int, dict[str, float]] = {}
    for entry in log:
        row = rows.setdefault(int(entry["step"]), {})
        if "loss" in entry:
            row["train_loss"] = entry["loss"]
        if "eval_loss" in entry:
            row["valid_loss"] = entry["eval_loss"]
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame = frame.reindex(columns=["train_loss", "valid_loss"]).dropna(subset=["valid_loss"])
    return frame.rename_axis("step").reset_index().sort_values("step", ignore_index=True)
