"""A training that is killed anywhere ends in the weights and the curve of the undisturbed one."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_training import FRAME, SETTINGS, USERS, student, train
from transformers import TrainerCallback
from transformers.trainer_callback import DefaultFlowCallback

from prism_utils.errors import InputError
from prism_utils.students import resuming, saved, training
from prism_utils.students.inputs import UserTable
from prism_utils.students.resuming import finite, newest
from prism_utils.students.training import Recipe

# The loss is lowest at step 10; twice without progress ends it at step 20.
STOPPING = Recipe(steps=400, batch_size=4, eval_every=5, patience=2, learning_rate=0.2)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    model, curve = train(tmp_path_factory.mktemp("whole"), STOPPING)
    assert curve["step"].tolist() == [5, 10, 15, 20] and curve["valid_loss"].idxmin() == 1
    return model, curve


class Interrupt(TrainerCallback):
    """Stop as Ctrl-C would, between the third validation and the one that ends training."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 17:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(KeyboardInterrupt):
        train(folder, STOPPING, [Interrupt()])
    assert [path.name for path in checkpoints(folder)] == ["checkpoint-10", "checkpoint-15"]
    return folder


@pytest.fixture
def cut(tmp_path, interrupted) -> Path:
    """A folder whose training was interrupted: its best checkpoint and its last one."""
    return shutil.copytree(interrupted, tmp_path / "student")


def checkpoints(folder: Path) -> list[Path]:
    found = folder.glob("checkpoints-*/checkpoint-*")
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


class Steps(TrainerCallback):
    """Counts the steps that were trained."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_step_end(self, args, state, control, **kwargs):
        self.seen.append(state.global_step)


def goes_on(folder: Path, undisturbed) -> list[int]:
    """The same training once more: as the undisturbed one. Returns the steps that it took."""
    steps = Steps()
    model, curve = train(folder, STOPPING, [steps])
    pd.testing.assert_frame_equal(curve, undisturbed[1])
    for name, weight in undisturbed[0].state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name
    assert {"student.json", "model.safetensors", "card.json"} <= {p.name for p in folder.iterdir()}
    assert not list(folder.glob("checkpoints-*")) and not (folder / ".partial").exists()
    return steps.seen


def test_early_stopping_goes_on_with_its_patience(cut, undisturbed):
    assert goes_on(cut, undisturbed) == [16, 17, 18, 19, 20]


PARTS = ["model.safetensors", "optimizer.pt", "trainer_state.json", "rng_state.pth", "whole.json"]


@pytest.mark.parametrize("file", PARTS)
@pytest.mark.parametrize("left", [None, 0, 100])
def test_a_checkpoint_that_is_not_whole_is_passed_over(cut, file, left):
    """Files that are missing, empty or cut, as a kill or a full disk leaves them."""
    folder = checkpoints(cut)[-1]
    data = (folder / file).read_bytes()
    (folder / file).unlink()
    if left is not None:
        (folder / file).write_bytes(data[:left])
    found, passed = newest(folder.parent)
    assert found is not None and found.folder.name == "checkpoint-10" and not found.ended
    assert passed == ["checkpoint-15"] and not folder.exists()


def test_without_its_best_checkpoint_the_last_one_is_of_no_use(cut):
    best, last = checkpoints(cut)
    better = shutil.copytree(last, last.with_name("checkpoint-20"))
    log = [{"step": step, "eval_loss": loss} for step, loss in ((10, 2.0), (20, 1.0))]
    resuming.write_json({"log_history": log}, better / "trainer_state.json")
    resuming.seal(better, ended=True)
    resuming.remove(best)
    found, _ = newest(best.parent)
    assert found is not None and found.ended and found.best == found.folder == better
    resuming.remove(better)
    assert newest(best.parent) == (None, []) and last.exists()


def test_what_is_passed_over_is_said_and_the_end_is_the_same(cut, undisturbed, capsys):
    best, last = checkpoints(cut)
    (last / "model.safetensors").write_bytes((last / "model.safetensors").read_bytes()[:1000])
    assert goes_on(shutil.copytree(cut, cut.parent / "other"), undisturbed)[0] == 11
    told = capsys.readouterr().err
    assert "not whole: checkpoint-15; training goes on from checkpoint-10" in told
    (best / "trainer_state.json").write_text("{")
    assert goes_on(cut, undisturbed)[0] == 1
    told = capsys.readouterr().err
    assert "not whole: checkpoint-10, checkpoint-15; training starts anew" in told


@pytest.mark.parametrize("moment", ["before saving", "while saving", "before it is published"])
def test_what_is_killed_at_the_end_trains_no_step_more(tmp_path, undisturbed, monkeypatch, moment):
    def die(*args, **kwargs):
        raise KeyboardInterrupt

    place, name = {
        "before saving": (saved, "save"),
        "while saving": (saved, "write_card"),
        "before it is published": (shutil, "rmtree"),
    }[moment]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        if moment == "before it is published":
            real = Path.replace
            patched.setattr(
                Path, "replace", lambda a, b: die() if a.name == "student.json" else real(a, b)
            )
        else:
            patched.setattr(place, name, die)
        train(tmp_path, STOPPING)
    assert not (tmp_path / "student.json").exists()
    assert goes_on(tmp_path, undisturbed) == []


def test_what_is_killed_while_checkpoints_are_removed_is_trained_alike(
    tmp_path, undisturbed, monkeypatch
):
    def half(folder, **kwargs):
        if Path(folder).name.startswith("checkpoints-"):
            (checkpoints(Path(folder).parent)[-1] / "optimizer.pt").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training.shutil, "rmtree", half)
        train(tmp_path, STOPPING)
    goes_on(tmp_path, undisturbed)


def test_a_process_that_is_killed_while_it_writes_a_checkpoint(tmp_path, undisturbed):
    code = f"""
import os, signal, sys, torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_resuming import STOPPING, train
real, saved = torch.save, []
def save(value, path, **options):
    saved.append(path)
    if "checkpoint-15" in str(path) and str(path).endswith("scheduler.pt"):
        open(path, "wb").write(b"PK")
        os.kill(os.getpid(), signal.SIGKILL)
    return real(value, path, **options)
torch.save = save
train({str(tmp_path)!r}, STOPPING)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert checkpoints(tmp_path)[-1].name == "checkpoint-15"
    assert goes_on(tmp_path, undisturbed)[0] == 11


def test_a_student_that_is_made_anew_is_none_until_it_is_whole(tmp_path):
    brief = Recipe(steps=2, batch_size=4, eval_every=2, patience=0)
    train(tmp_path, brief)
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"")  # of an older one
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, STOPPING, [Interrupt()])
    assert not (tmp_path / "student.json").exists()
    train(tmp_path, brief)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == ["model.safetensors"]


# -- Losses that are not finite, the last validation, and what no recipe can be --------------------


@pytest.mark.parametrize("how", [{}, {"user_table": "sparse"}], ids=["dense", "sparse"])
def test_a_loss_that_is_not_finite_ends_training_and_saves_nothing(tmp_path, how):
    train(tmp_path, Recipe(steps=2, batch_size=4, eval_every=2), **how)  # an older student
    recipe = Recipe(steps=60, batch_size=4, eval_every=30, learning_rate=1e9, patience=0)
    says = r"the training loss is (nan|inf) at step \d+, learning_rate 1e\+09: .* lower learning"
    with pytest.raises(InputError, match=says):
        train(tmp_path, recipe, **how)
    left = {path.name for path in tmp_path.iterdir()}
    assert "student.json" not in left and not any(name.startswith("check") for name in left)


def test_a_disk_that_is_full_is_told_and_the_same_call_goes_on(tmp_path, undisturbed, monkeypatch):
    real = torch.save

    def full(value, path, **options):
        if "checkpoint-15" in str(path):
            Path(path).write_bytes(b"PK")
            raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
        return real(value, path, **options)

    def no_room(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(InputError, match="cannot be written .*file write failed"):
            train(tmp_path, STOPPING)
    with monkeypatch.context() as patched:
        patched.setattr(saved, "write_card", no_room)
        with pytest.raises(InputError, match=": the disk is full: make room and do the same"):
            train(tmp_path, STOPPING)
    assert goes_on(tmp_path, undisturbed) == []


def test_a_mistake_while_a_student_is_saved_is_no_full_disk(tmp_path, monkeypatch):
    def wrong(*args, **kwargs):
        raise RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")

    monkeypatch.setattr(saved, "write_card", wrong)
    with pytest.raises(RuntimeError, match="The size of tensor a") as told:
        train(tmp_path, Recipe(steps=1, batch_size=4, eval_every=1))
    assert not isinstance(told.value, InputError)


@pytest.mark.parametrize("left", ["file", "link", "folder of the mark's name"])
def test_what_lies_in_a_checkpoint_s_place_goes(cut, undisturbed, left):
    folder = checkpoints(cut)[-1].with_name("checkpoint-16")
    if left == "file":
        folder.write_text("x")
    elif left == "link":
        folder.symlink_to(cut / "nowhere")
    else:
        (folder / "whole.json").mkdir(parents=True)
    folder.with_name("checkpoint-²").mkdir()  # a digit, and no number
    assert newest(folder.parent)[1] == ["checkpoint-16"] and not folder.is_symlink()
    assert not folder.exists()


def test_a_file_in_the_place_of_all_checkpoints_is_named(cut):
    place = checkpoints(cut)[0].parent
    shutil.rmtree(place)
    place.write_text("x")
    with pytest.raises(InputError, match=f"{place.name}: it is there already, and is no folder"):
        train(cut, STOPPING)


def test_what_could_not_be_saved_is_said_before_training(tmp_path):
    model, tokenizer = student()
    how = {"settings": SETTINGS, "recipe": STOPPING}
    halved = UserTable(["u0", "u1", "u2", "\ud83d"])
    with pytest.raises(InputError, match="users: cannot be saved"):
        training.finetune(model, tokenizer, FRAME, FRAME, halved, tmp_path, **how)
    items = pd.DataFrame({"item_id": ["a", 3]})
    with pytest.raises(InputError, match="items: cannot be saved"):
        training.finetune(model, tokenizer, FRAME, FRAME, USERS, tmp_path, items=items, **how)
    missing = FRAME.assign(text=[*FRAME["text"][:-1], None])
    with pytest.raises(InputError, match="training data: row 12: 'text' must be text, found"):
        training.finetune(model, tokenizer, missing, FRAME, USERS, tmp_path, **how)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_validation_loss_that_is_not_finite_is_told_alike(loss):
    with pytest.raises(InputError, match="the validation loss is -?(nan|inf) at step 3"):
        finite("validation", loss, 3, 1e-3)
    finite("validation", 1e30, 3, 1e-3)


def test_the_last_step_is_validated_whatever_the_library_does(tmp_path, monkeypatch):
    """As transformers 5.0, which validates every `eval_every` steps and no more."""
    real = DefaultFlowCallback.on_step_end

    def older(self, args, state, control, **kwargs):
        control = real(self, args, state, control, **kwargs)
        control.should_evaluate = state.global_step % state.eval_steps == 0
        control.should_save = state.global_step % state.save_steps == 0
        return control

    newer = train(tmp_path / "newer", Recipe(steps=7, batch_size=4, eval_every=3))[1]
    monkeypatch.setattr(DefaultFlowCallback, "on_step_end", older)
    model, curve = train(tmp_path / "older", Recipe(steps=7, batch_size=4, eval_every=3))
    assert curve["step"].tolist() == [3, 6, 7]
    pd.testing.assert_frame_equal(curve, newer)
    assert len(train(tmp_path / "few", Recipe(steps=2, batch_size=4, eval_every=9))[1]) == 1


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("steps", 0, "steps must be 1 or more, found 0"),
        ("steps", 2.5, "steps must be a whole number, found 2.5"),
        ("eval_every", 0, "eval_every must be 1 or more"),
        ("batch_size", True, "batch_size must be a whole number"),
        ("patience", -1, "patience must be 0 or more"),
        ("seed", -1, "seed must be 0 or more"),
        ("seed", 2**32, r"seed: 4294967296 is not in \[0, 4294967296\)"),
        ("learning_rate", 0.0, r"learning_rate: 0.0 is not in \(0, 1e38\)"),
        ("learning_rate", float("nan"), "learning_rate: nan is not in"),
        ("learning_rate", float("inf"), "learning_rate: inf is not in"),
        ("learning_rate", "1e-3", "learning_rate: '1e-3' is no number"),
        ("warmup", 2.0, r"warmup: 2.0 is not in \[0, 1\]"),
        ("weight_decay", -0.1, "weight_decay: -0.1 is not in"),
        ("label_smoothing", 1.0, r"label_smoothing: 1.0 is not in \[0, 1\)"),
    ],
)
def test_values_that_make_no_recipe_are_named(name, value, says):
    with pytest.raises(InputError, match=says):
        Recipe(**{name: value})


def test_a_recipe_takes_numbers_of_numpy_and_says_plain_ones():
    recipe = Recipe(steps=np.int64(3), learning_rate=np.float64(0.1), warmup=1, patience=0)
    assert type(recipe.steps) is int and recipe == Recipe(3, 0.1, warmup=1.0, patience=0)


def test_lengths_beyond_the_models_positions_are_refused(tmp_path):
    model, tokenizer = student()
    for name in ("max_input_tokens", "max_new_tokens"):
        settings = dataclasses.replace(SETTINGS, **{name: 33})
        with pytest.raises(InputError, match=f"{name}: 33 are more tokens than .* 32 positions"):
            training.finetune(
                model, tokenizer, FRAME, FRAME, USERS, tmp_path, settings=settings, recipe=STOPPING
            )
