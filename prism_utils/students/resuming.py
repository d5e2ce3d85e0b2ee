"""Checkpoints of a training that may be killed at any moment, and the one that it goes on from.

Hugging Face's trainer writes a checkpoint file by file and takes the newest folder for whole. Here
one counts once `whole.json` stands in it, written last: the sizes and checksums of its files, and
whether training had ended there. Left out: what a checkpoint may be resumed for, see `training`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn
from transformers import TrainerCallback

from ..errors import InputError
from ..files import write_json

MARK = "whole.json"


def losses(log: list[dict[str, Any]]) -> dict[int, float]:
    """Validation loss by step, of a trainer's log."""
    return {int(entry["step"]): entry["eval_loss"] for entry in log if "eval_loss" in entry}


def best_step(log: list[dict[str, Any]]) -> int:
    """The step of the lowest validation loss, of equals the first."""
    found = losses(log)
    return min(found, key=lambda step: (found[step], step))


class Keeper(TrainerCallback):
    """Ends a training that makes no progress, keeps its last and its best checkpoint, seals them.

    patience: validations without a lower loss before training ends, 0 for no end. It is counted in
    the trainer's log, which a checkpoint holds, so that it goes on where training was interrupted.
    rate: the learning rate, to be named where the validation loss is not finite.
    """

    def __init__(self, patience: int, rate: float) -> None:
        self.patience, self.rate = patience, rate

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:  # not every version of transformers does so
            control.should_evaluate = control.should_save = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        found = losses(state.log_history)
        finite("validation", found[state.global_step], state.global_step, self.rate)
        since = list(found).index(best_step(state.log_history)) + 1
        if self.patience and len(found) - since >= self.patience:
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        args.distributed_state.wait_for_everyone()  # each process has written its part
        if not state.is_world_process_zero:
            return
        last = folder_of(args.output_dir, state.global_step)
        seal(last, ended=control.should_training_stop)
        best = folder_of(args.output_dir, best_step(state.log_history))
        for folder in Path(args.output_dir).glob("checkpoint-*"):
            if folder not in (last, best):
                remove(folder)


class NotFinite(InputError):
    """A loss is nan or infinite: what was trained so far is of no use."""


def finite(what: str, loss: float, step: int, rate: float) -> None:
    """Raise `NotFinite` for a loss (of training or validation) that is nan or infinite."""
    if not abs(loss) < float("inf"):
        raise NotFinite(
            f"the {what} loss is {loss} at step {step}, learning_rate {rate:g}: training cannot go "
            "on and nothing is saved; lower learning_rate or raise warmup, and look for what is "
            "not finite in the checkpoint that it started from"
        )


def folder_of(checkpoints: Path | str, step: int) -> Path:
    return Path(checkpoints) / f"checkpoint-{step}"


def seal(folder: Path, ended: bool) -> None:
    """Say that `folder` is whole as it is now, and whether training had ended there."""
    write_json({"ended": ended, "files": _files(folder)}, folder / MARK)


def _files(folder: Path) -> dict[str, list[int]]:
    """Size and CRC-32 of each file."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name != MARK:
            crc, size = 0, 0
            with path.open("rb") as file:
                while block := file.read(2**24):
                    crc, size = zlib.crc32(block, crc), size + len(block)
            found[path.name] = [size, crc]
    return found


def remove(folder: Path) -> None:
    """Remove a checkpoint, or what lies in its place; what a kill leaves of it is not whole."""
    if folder.is_dir() and not folder.is_symlink():
        with contextlib.suppress(OSError):  # a folder of the mark's name goes with the rest
            (folder / MARK).unlink()
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)


class Checkpoint:
    """A whole checkpoint, and what its training had logged."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError, ValueError, KeyError or TypeError unless `folder` is one."""
        mark = json.loads((folder / MARK).read_bytes())
        if mark["files"] != _files(folder):
            raise ValueError("its files are not those that were sealed")
        state = json.loads((folder / "trainer_state.json").read_bytes())
        self.folder, self.ended = folder, bool(mark["ended"])
        self.log: list[dict[str, Any]] = state["log_history"]
        self.best = folder_of(folder.parent, best_step(self.log))


def newest(checkpoints: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint whose best one is whole too; names of those passed over.

    What is passed over is removed: the training that goes on writes there again.
    """
    passed: list[str] = []
    whole: dict[Path, Checkpoint] = {}
    folders = [f for f in checkpoints.glob("checkpoint-*") if f.name[11:].isdecimal()]
    for folder in sorted(folders, key=lambda f: int(f.name[11:])):
        try:
            whole[folder] = Checkpoint(folder)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            passed.append(folder.name)
            remove(folder)
    fit = [found for found in whole.values() if found.best in whole]
    return (fit[-1] if fit else None), passed


def restore(model: nn.Module, folder: Path) -> None:
    """Give `model` the weights of a whole checkpoint."""
    weights: dict[str, Any] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        weights |= load_file(path)
    model.load_state_dict(weights, strict=False)  # tied weights stand there once
