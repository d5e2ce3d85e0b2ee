"""Training learns, stops, resumes to the same weights, and saves a folder that explains."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
import torch
from transformers import TrainerCallback, TrainingArguments

from prism_utils.decoding import Explainer
from prism_utils.errors import InputError
from prism_utils.students.inputs import StudentSettings, UserTable
from prism_utils.students.prism import PrismForConditionalGeneration, from_scratch
from prism_utils.students.saved import write_card
from prism_utils.students.training import Probe, Recipe, finetune
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


def student(seed=0, num_users=4, **user_options):
    tokenizer = train_tokenizer([*FRAME["prompt"], *FRAME["text"]], whole_titles=TITLES)
    model = from_scratch(
        tokenizer,
        num_users,
        d_model=32,
        layers=1,
        heads=2,
        max_positions=32,
        seed=seed,
        **user_options,
    )
    return model, tokenizer


def train(out_dir, recipe, callbacks=None, **user_options):
    model, tokenizer = student(**user_options)
    curve = finetune(
        model,
        tokenizer,
        FRAME,
        FRAME,
        UserTable(USERS.index),
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


SPARSE = {"user_table": "sparse"}
LOW_RANK = {"user_table": "sparse", "user_rank": 2, "user_init": "zero"}


@pytest.mark.parametrize("how", [{}, SPARSE, LOW_RANK], ids=["dense", "sparse", "low-rank"])
def test_interrupted_training_resumes_to_the_same_weights(tmp_path, how):
    recipe = Recipe(steps=30, batch_size=4, eval_every=10, patience=0)
    whole, curve = train(tmp_path / "whole", recipe, **how)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", recipe, [Interrupt()], **how)
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    assert list((tmp_path / "cut").glob("checkpoints-*/checkpoint-10"))
    resumed, again = train(tmp_path / "cut", recipe, **how)
    assert curve["step"].tolist() == again["step"].tolist() == [10, 20, 30]
    pd.testing.assert_frame_equal(curve, again)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
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


def test_a_sparse_table_learns_like_a_dense_one(tmp_path):
    """The vectors alone can say which user likes which film: four users, four texts."""
    frame = pd.DataFrame(
        {"prompt": "?", "text": [f"Try {t}." for t in TITLES], "user_id": list(USERS.index)}
    )
    recipe = Recipe(steps=120, batch_size=4, eval_every=60, learning_rate=1e-2, patience=0)
    for name, how in {"dense": {}, "sparse": SPARSE, "low": LOW_RANK}.items():
        model, tokenizer = student(**how)
        out = tmp_path / name
        data = (frame, frame, UserTable(USERS.index), out)
        curve = finetune(
            model, tokenizer, *data, settings=SETTINGS, recipe=recipe, progress=False
        )  # fmt: skip
        assert curve["valid_loss"].iloc[-1] < 0.1, name
        reloaded = PrismForConditionalGeneration.from_pretrained(out)
        assert torch.equal(reloaded.user_vectors(), model.user_vectors())
        assert type(reloaded.model.encoder.user_embeddings) is torch.nn.Embedding


def test_of_a_sparse_table_only_users_seen_remain(tmp_path):
    users = UserTable(["nobody", *reversed(USERS.index), "never"])
    model, tokenizer = student(num_users=6, **SPARSE)
    recipe = Recipe(steps=12, batch_size=4, eval_every=6, patience=0)
    settings = dataclasses.replace(SETTINGS, max_input_tokens=30)
    finetune(
        model, tokenizer, FRAME, FRAME, users, tmp_path,
        settings=settings, recipe=recipe, progress=False,
    )  # fmt: skip
    assert users.index.tolist() == ["u3", "u2", "u1", "u0"]
    assert users.rows(["never", "u3"]).tolist() == [0, 1]
    explainer = Explainer.load(tmp_path)
    assert explainer.users.index.equals(users.index)
    assert explainer.model.config.num_users == model.config.num_users == 4
    assert torch.equal(explainer.model.user_vectors(), model.user_vectors())
    assert model.user_vectors()[1:].abs().min(dim=1).values.min() > 0
    answers = [explainer.explain(item="Heat", user_id=user) for user in ("u0", "never")]
    assert [answer.user_known for answer in answers] == [True, False]


def test_schedule_and_clipping_reach_the_rows(tmp_path):
    """Row by row, as the trainer saw them: with the schedule at its start, rows hardly move."""
    moved = {}
    for warmup in (0.0, 1.0):
        model, _ = student(**SPARSE)
        table = model.model.encoder.user_embeddings
        table(torch.arange(1, 5))
        before = table.settled()[1].weight.detach()
        recipe = Recipe(steps=2, batch_size=12, eval_every=2, patience=0, warmup=warmup)
        tokenizer = train_tokenizer([*FRAME["prompt"], *FRAME["text"]], whole_titles=TITLES)
        data = (FRAME, FRAME, UserTable(USERS.index), tmp_path / str(warmup))
        finetune(model, tokenizer, *data, settings=SETTINGS, recipe=recipe, progress=False)
        after = model.model.encoder.user_embeddings.weight.detach()
        moved[warmup] = float((after - before).abs().max())
    assert 0 < moved[1.0] < 0.6 * moved[0.0]


def test_a_sparse_table_on_several_devices_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    with pytest.raises(InputError, match='"sparse" trains on one device: take "dense"'):
        train(tmp_path, Recipe(steps=1), **SPARSE)


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
