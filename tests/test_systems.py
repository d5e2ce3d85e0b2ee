"""Systems' folders and what is given to fit and explain: what is at fault is named, and where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_baselines import ASKED, SMALL, TRAIN, fit

from prism_utils import students
from prism_utils.decoding import Explainer
from prism_utils.errors import InputError
from prism_utils.files import read_json, write_json
from prism_utils.students import saved
from prism_utils.students.ids import ratings
from prism_utils.students.training import Recipe

BRIEF = Recipe(steps=1, batch_size=15, eval_every=1)
SYSTEMS = {"att2seq": SMALL, "pepler": {**SMALL, "heads": 2}, "nearest": {}, "frame": {},
           "facts-template": {}}  # fmt: skip
SYSTEMS["prism"] = SYSTEMS["pepler"]
NO_PART = ("system.json", "card.json", "README.md")  # of what a system says


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a system of each kind, fitted once."""
    folder = tmp_path_factory.mktemp("systems")

    def make(kind: str) -> Path:
        if not (folder / kind).exists():
            fit(kind, folder / kind, BRIEF, **SYSTEMS[kind])
        return folder / kind

    return make


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_text("{}")


def edited(**keys):
    def edit(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | keys))

    return edit


def deep(path: Path) -> None:
    path.write_text("[" * 100_000)


def nan(path: Path) -> None:
    kept = {name: weight * float("nan") for name, weight in load_file(path).items()}
    save_file(kept, path, metadata={"format": "pt"})


def other_ids(path: Path) -> None:
    pd.DataFrame({"item_id": [1, 2]}).to_parquet(path)


FILES = [
    (["att2seq", "pepler"], "system.json", cut),
    (["frame"], "system.json", edited(kind="nearest")),
    (["nearest"], "system.json", emptied),
    (["prism"], "system.json", deep),
    (["att2seq", "pepler"], "config.json", cut),
    (["att2seq", "pepler"], "config.json", edited(vocab_size=9)),
    (["att2seq", "pepler"], "config.json", edited(eos_token_id=9999)),
    (["att2seq", "pepler"], "config.json", edited(num_items=-1)),
    (["att2seq"], "config.json", edited(mean_rating="x")),
    (["pepler"], "config.json", edited(tie_word_embeddings=False)),
    (["pepler"], "generation_config.json", edited(forced_bos_token_id=9999)),
    (["pepler"], "generation_config.json", cut),
    (["att2seq", "pepler"], "model.safetensors", cut),
    (["att2seq", "pepler"], "model.safetensors", Path.unlink),
    (["att2seq", "pepler"], "model.safetensors", nan),
    (["att2seq", "pepler"], "tokenizer.json", cut),
    (["att2seq", "pepler"], "users.parquet", cut),
    (["att2seq", "pepler"], "known_items.parquet", Path.unlink),
    (["att2seq", "pepler"], "known_items.parquet", other_ids),
    (["pepler"], "student.json", edited(max_new_tokens=5000)),
    (["att2seq", "prism"], "learning_curve.parquet", cut),
    (["nearest"], "nearest.json", cut),
    (["nearest"], "nearest.json", edited(max_history=-1)),
    (["nearest"], "train.parquet", cut),
    (["frame"], "frames.json", cut),
    (["frame"], "frames.json", edited(frames=[["text"]])),
    (["facts-template"], "facts.json", edited(noun=" ")),
    (["frame", "facts-template"], "items.parquet", Path.unlink),
]


def unsealed(folder: Path) -> Path:
    """As a version of the package left it that knew no seals: its files' content is judged."""
    kept = read_json(folder / "system.json")
    write_json(kept | {"files": {}}, folder / "system.json", sealed=True)
    return folder


def flip(path: Path, place: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("kind", "file", "do"), [(kind, file, do) for kinds, file, do in FILES for kind in kinds]
)
def test_a_file_that_is_cut_edited_or_gone_is_named_where_it_is_loaded(
    made, tmp_path, kind, file, do
):
    folder = unsealed(shutil.copytree(made(kind), tmp_path / "system"))
    do(folder / file)
    # Of what lies beside the weights the folder is named at least, and of a model its file.
    with pytest.raises(InputError, match=r"system/\w+\.\w+") as told:
        students.load(folder)
    assert file in str(told.value) or file == "config.json", told.value
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_bit_that_flipped_in_any_file_is_seen(made, tmp_path, kind):
    folder = shutil.copytree(made(kind), tmp_path / "system")
    students.load(folder)
    sealed = sorted(read_json(folder / "system.json")["files"])
    assert sealed == sorted(p.name for p in folder.iterdir() if p.name not in NO_PART)
    for file in sealed:
        data = (folder / file).read_bytes()
        flip(folder / file, 0.9)
        for load in [students.load, *([Explainer.load] if kind == "prism" else [])]:
            with pytest.raises(InputError, match=f"system/{file}: changed or damaged .*fit again"):
                load(folder)
        (folder / file).write_bytes(data)
    students.load(folder)


def test_what_is_no_part_of_a_system_may_change(tmp_path):
    (tmp_path / "notes.json").write_text("{}")
    fit("nearest", tmp_path, BRIEF)
    (tmp_path / "notes.json").write_text("[]")
    saved.write_card(tmp_path, {"kind": "prism", "ROUGE-L": 0.1})
    assert students.load(tmp_path).name == "nearest"


@pytest.mark.parametrize("file", ["system.json", "model.safetensors", "users.parquet"])
def test_what_cannot_be_loaded_is_fitted_again_and_said(made, tmp_path, capsys, file):
    folder = shutil.copytree(made("att2seq"), tmp_path / "system")
    flip(folder / file)
    again = fit("att2seq", folder, BRIEF, **SMALL)
    assert f"{file}" in (told := capsys.readouterr().err) and "here it is fitted again" in told
    loaded = students.load(folder).explain(ASKED)
    assert loaded["text"].equals(again.explain(ASKED)["text"])


def test_a_folder_whose_fit_did_not_end_is_no_system(made, tmp_path):
    for kind in ("att2seq", "pepler"):
        folder = shutil.copytree(made(kind), tmp_path / kind)
        (folder / "system.json").unlink()
        with pytest.raises(InputError, match="no system is saved here; students.fit makes one"):
            students.load(folder)
    folder = shutil.copytree(made("prism"), tmp_path / "prism")
    (folder / "system.json").unlink()
    assert students.load(folder).name == "prism"  # as training.finetune leaves one


def test_a_card_that_is_cut_is_named(made, tmp_path):
    folder = shutil.copytree(made("pepler"), tmp_path / "system")
    cut(folder / "card.json")
    with pytest.raises(InputError, match="card.json is not readable JSON .*: delete it"):
        saved.write_card(folder, {"ROUGE-L": 0.1})
    edited(kind="other")(shutil.copy(made("pepler") / "card.json", folder / "card.json"))
    with pytest.raises(InputError, match="card.json: kind: 'other' is unknown"):
        saved.write_card(folder, {"ROUGE-L": 0.1})


# -- Names, places, sizes --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "  ", "a\\b", "a\nb", "/etc", 3])
@pytest.mark.parametrize("kind", ["nearest", "att2seq"])
def test_a_name_that_is_a_path_is_refused_before_a_folder_is_made(tmp_path, kind, name):
    with pytest.raises(InputError, match="name: .* cannot name a system and its folder"):
        students.fit(
            kind, TRAIN, TRAIN, tmp_path / "out", items=None, settings=None, recipe=BRIEF, name=name
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["nearest", "att2seq"])
def test_a_place_that_cannot_be_written_is_named_before_work_begins(tmp_path, kind):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="file"):
            fit(kind, place, BRIEF, **SYSTEMS[kind])


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("prism", {"d_model": 33}, "d_model: 33 cannot be divided by heads=4"),
        ("pepler", {"d_model": 30}, "d_model: 30 cannot be divided by heads=4"),
        ("prism", {"layers": 0}, "layers must be 1 or more, found 0"),
        ("att2seq", {"layers": -1}, "layers must be 1 or more"),
        ("pepler", {"heads": 0}, "heads must be 1 or more"),
        ("att2seq", {"d_attribute": 0}, "d_attribute must be 1 or more"),
        ("att2seq", {"vocab_size": 0}, "vocab_size must be 1 or more"),
        ("prism", {"vocab_size": -5}, "vocab_size must be 1 or more"),
        ("prism", {"dropout": 1.0}, r"dropout: 1.0 is not in \[0, 1\)"),
        ("pepler", {"dropout": float("nan")}, "dropout: nan is not in"),
        ("pepler", {"rating_weight": -1.0}, "rating_weight: -1.0 is not in"),
        ("prism", {"user_dropout": 1.5}, "user_dropout: 1.5 is not in"),
        ("prism", {"user_rank": -2}, "user_rank must be 0 or more"),
    ],
)
def test_sizes_that_no_model_can_have_are_named(tmp_path, kind, options, says):
    with pytest.raises(InputError, match=says):
        fit(kind, tmp_path, **options)


# -- Ratings, losses, options of explain -----------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "row"),
    [
        (["4"] * 15, 1),
        ([1.0, 2.0, float("inf"), *[3.0] * 12], 3),
        ([1.0, None, "five", *[3.0] * 12], 3),
        ([1.0, 1e39, *[3.0] * 13], 2),
        ([True, *[3.0] * 14], 1),
        ([[4.0], *[3.0] * 14], 1),
    ],
)
def test_a_rating_that_is_no_number_is_named_by_its_row(made, tmp_path, given, row):
    rated = TRAIN.assign(rating=given)
    for kind, options in (("att2seq", SMALL), ("pepler", {**SYSTEMS["pepler"], "head": "mf"})):
        with pytest.raises(InputError, match=f"train: row {row}: 'rating' must be a finite"):
            fit(kind, tmp_path / kind, BRIEF, train=rated, **options)
    with pytest.raises(InputError, match=f"samples: row {row}: 'rating'"):
        students.load(made("att2seq")).explain(rated)


def test_ratings_may_be_missing_and_of_any_numbers():
    for given in ([5, None, 1], [5.0, float("nan"), 1.0], pd.array([5, None, 1], "Int64")):
        found = ratings(pd.DataFrame({"rating": given}), "train")
        np.testing.assert_array_equal(found, [5.0, np.nan, 1.0])
    assert np.isnan(ratings(pd.DataFrame({"x": [1, 2]}), "train")).all()


@pytest.mark.parametrize("kind", ["att2seq", "pepler"])
def test_no_student_is_left_of_a_loss_that_is_not_finite(tmp_path, kind):
    recipe = Recipe(steps=40, batch_size=15, eval_every=40, learning_rate=1e30)
    with pytest.raises(InputError, match=r"loss is (nan|inf) at step \d+, learning_rate 1e\+30"):
        fit(kind, tmp_path, recipe, **SYSTEMS[kind])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("pepler", {"max_new_tokens": 500}, r"max_new_tokens: 500 is not in \[1, 24\]"),
        ("att2seq", {"max_new_tokens": 0}, "max_new_tokens must be 1 or more"),
        ("pepler", {"num_return_sequences": 2}, "num_return_sequences changes what comes back"),
        ("pepler", {"beams": 2}, "option 'beams' is unknown"),
        ("att2seq", {"num_beams": 2}, "num_beams"),
    ],
)
def test_options_that_do_not_fit_are_named(made, kind, options, says):
    system = students.load(made(kind))
    with pytest.raises(InputError, match=says):
        system.explain(ASKED.head(2), **options)
    assert len(system.explain(ASKED.head(2), max_new_tokens=1)) == 2


def test_a_spelt_end_token_is_text_to_every_student(made, tmp_path):
    """A text that holds "</s>" is learnt to its end."""
    said = "Good. </s> And <pad> more."
    recipe = Recipe(steps=80, batch_size=15, eval_every=40, patience=0, learning_rate=2e-2)
    for kind in ("att2seq", "prism"):
        system = fit(kind, tmp_path / kind, recipe, TRAIN.assign(text=said), **SYSTEMS[kind])
        with torch.no_grad():
            ids = students.inputs.encode_texts(system.tokenizer, [said], special=False)[0]
        assert system.tokenizer.decode(ids) == said
        assert len(system.explain(ASKED.head(1))["text"].iloc[0]) > len("Good. ")
