"""Training learns, stops, resumes to the same weights, and saves a folder that explains."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from transformers import TrainerCallback

from prism_utils.errors import InputError
from prism_utils.finetuning import Probe, Recipe, finetune, write_card
from prism_utils.students.inputs import StudentSettings, UserTable
from prism_utils.students.prism import PrismForConditionalGeneration, from_scratch
from prism_utils.students.vocabulary import train_tokenizer

TITLES = ["Alien", "Heat", "Jaws", "Big"]
FRAME = pd.DataFrame(
    [
        {"prompt": f"{a} | {b}", "text": f"You liked {a}, so try {b}.", "user_id": f"u{i}"}
        for i, a in enumerate(TITLES)
        for b in TITLES
        if a != b
    ]
)
USERS = UserTable([f"u{i}" for i in range(4)])
SETTINGS = StudentSettings(
    template="compact", max_history=3, max_input_tokens=16, max_new_tokens=24
)


def student(seed=0):
    tokenizer = train_tokenizer([*FRAME["prompt"], *FRAME["text"]], whole_titles=TITLES)
    model = from_scratch(
        tokenizer, len(USERS), d_model=32, layers=1, heads=2, max_positions=32, seed=seed
    )
    return model, tokenizer


def train(out_dir, recipe, callbacks=None):
    model, tokenizer = student()
    curve = finetune(
        model,
        tokenizer,
        FRAME,
        FRAME,
        USERS,
        out_dir,
        settings=SETTINGS,
        recipe=recipe,
        card={"data": "twelve sentences"},
        progress=False,
        callbacks=callbacks,
    )
    return model, curve


class Interrupt(TrainerCallback):
    """Stop the process as Ctrl-C would, after the first checkpoint."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 15:
            raise KeyboardInterrupt


def test_interrupted_training_resumes_to_the_same_weights(tmp_path):
    recipe = Recipe(steps=30, batch_size=4, eval_every=10, patience=0)
    whole, curve = train(tmp_path / "whole", recipe)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", recipe, [Interrupt()])
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    assert list((tmp_path / "cut").glob("checkpoints-*/checkpoint-10"))
    resumed, again = train(tmp_path / "cut", recipe)
    assert curve["step"].tolist() == again["step"].tolist() == [10, 20, 30]
    pd.testing.assert_frame_equal(curve, again)
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(weight, resumed.state_dict()[name], msg=name)
    assert not list((tmp_path / "cut").glob("checkpoints-*"))


def test_an_interruption_is_not_resumed_on_other_data_or_from_other_weights(tmp_path):
    recipe = Recipe(steps=30, batch_size=4, eval_every=10, patience=0)
    for frame, seed in ((FRAME, 0), (FRAME.assign(text="Try Heat."), 0), (FRAME, 1)):
        model, tokenizer = student(seed)
        with pytest.raises(KeyboardInterrupt):
            finetune(
                model,
                tokenizer,
                frame,
                FRAME,
                USERS,
                tmp_path,
                settings=SETTINGS,
                recipe=recipe,
                progress=False,
                callbacks=[Interrupt()],
            )
    assert len(list(tmp_path.glob("checkpoints-*/checkpoint-10"))) == 3


def test_the_loss_falls_and_the_folder_is_complete(tmp_path):
    _, curve = train(tmp_path, Recipe(steps=80, batch_size=6, eval_every=20, learning_rate=5e-3))
    assert curve["valid_loss"].iloc[-1] < 0.6 * curve["valid_loss"].iloc[0]
    names = {p.name for p in tmp_path.iterdir()}
    assert names >= {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "users.parquet",
        "student.json",
        "learning_curve.parquet",
        "README.md",
    }
    card = (tmp_path / "README.md").read_text()
    assert "| data | twelve sentences |" in card and "best validation loss" in card
    loss = f"{curve['valid_loss'].min():.4f}".rstrip("0")
    assert f"| {loss}" in card

    write_card(tmp_path, {"ROUGE-L": 0.25, "data": "thirteen"})
    card = (tmp_path / "README.md").read_text()
    assert "| ROUGE-L | 0.25 |" in card and "| data | thirteen |" in card
    assert f"| {loss}" in card and "twelve" not in card


def test_training_stops_early_and_keeps_the_best_weights(tmp_path):
    # At this learning rate the loss soon rises; two validations without progress end it.
    recipe = Recipe(steps=400, batch_size=4, eval_every=5, patience=2, learning_rate=0.5)
    model, curve = train(tmp_path, recipe)
    assert curve["step"].iloc[-1] < 400
    best = curve["valid_loss"].idxmin()
    assert best == len(curve) - 3
    reloaded = PrismForConditionalGeneration.from_pretrained(tmp_path)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, reloaded.state_dict()[name])


def test_a_probe_measures_at_every_validation_and_leaves_training_alone(tmp_path):
    recipe = Recipe(steps=20, batch_size=4, eval_every=10, patience=0)
    modes = []
    probe = Probe(lambda model: modes.append(model.training) or {"norm": len(modes)})
    _, curve = train(tmp_path / "probed", recipe, [probe])
    _, alone = train(tmp_path / "alone", recipe)
    pd.testing.assert_frame_equal(curve, alone)
    assert probe.table["step"].tolist() == [10, 20] and modes == [False, False]
    assert probe.table["norm"].tolist() == [1, 2]
    assert 0 < probe.table["seconds"].iloc[0] < probe.table["seconds"].iloc[1]


def test_a_model_and_a_user_table_of_different_size_are_refused(tmp_path):
    model, tokenizer = student()
    with pytest.raises(InputError, match="the model has 4 users, the user table 1"):
        finetune(
            model,
            tokenizer,
            FRAME,
            FRAME,
            UserTable(["u1"]),
            tmp_path,
            settings=SETTINGS,
            recipe=Recipe(),
        )


def test_missing_columns_and_empty_data_are_named(tmp_path):
    model, tokenizer = student()
    common = dict(settings=SETTINGS, recipe=Recipe(steps=1))
    with pytest.raises(InputError, match="column 'text' is missing"):
        bad = FRAME.drop(columns="text")
        finetune(model, tokenizer, bad, FRAME, USERS, tmp_path, **common)
    with pytest.raises(InputError, match="12 training and 0 validation samples"):
        finetune(model, tokenizer, FRAME, FRAME[:0], USERS, tmp_path, **common)
