"""Folders of students that are damaged, foreign or half copied: each is refused with its file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models

from prism_utils.decoding import Explainer
from prism_utils.decoding.export import export
from prism_utils.errors import InputError
from prism_utils.students.folders import in_short, read_ids
from prism_utils.students.inputs import StudentSettings
from prism_utils.students.prism import PrismForConditionalGeneration
from prism_utils.students.vocabulary import train_tokenizer

ITEMS = pd.DataFrame({"item_id": ["f1", "f2"], "title": ["Alien", "Heat"]})
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


@pytest.fixture(scope="module")
def saved(save_student, tmp_path_factory) -> Path:
    settings = StudentSettings("compact", "film", 3, 36, 10)
    return save_student(tmp_path_factory.mktemp("student"), ITEMS, settings)


@pytest.fixture(scope="module")
def exported(saved, tmp_path_factory) -> Path:
    return export(saved, tmp_path_factory.mktemp("exported") / "out", "float32")


def refuse(source: Path, folder: Path, damage: Callable[[Path], object], says: str) -> None:
    """A copy of a student, damaged, is refused in one line, and not exported either."""
    shutil.copytree(source, folder)
    damage(folder)
    with pytest.raises(InputError, match=says) as caught:
        Explainer.load(folder, device="cpu")
    assert len(str(caught.value).splitlines()) == 1
    if not (source / "export.json").exists():
        with pytest.raises(InputError, match=says):
            export(folder, folder.with_name("out"))
        assert not folder.with_name("out").exists()


FILES = ["config.json", "model.safetensors", "student.json", "tokenizer.json", "users.parquet"]
EXPORTED = ["export.json", "encoder.onnx", "decoder.onnx", "embeddings.npy", "users.npy",
            "output_bias.npy", "student.json", "tokenizer.json", "users.parquet"]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_of_a_student_that_are_not_what_they_should_be(saved, tmp_path, name):
    try_all(saved, tmp_path, name)


@pytest.mark.parametrize("name", EXPORTED)
def test_files_of_an_exported_student_that_are_not_what_they_should_be(exported, tmp_path, name):
    try_all(exported, tmp_path, name)


def try_all(source: Path, tmp_path: Path, name: str) -> None:
    whole = (source / name).read_bytes()
    for number, (content, says) in enumerate(
        (
            (None, f"{name}: no such file"),
            (b"", name),
            (POINTER, f"{name}: a Git LFS pointer, not the file; run git lfs pull"),
            (whole[: len(whole) // 3], name),
            (b"<html>not found</html>", name),
            (b"[" * 100_000, name),
        )
    ):

        def damage(folder: Path, content: bytes | None = content) -> None:
            (folder / name).unlink()
            if content is not None:
                (folder / name).write_bytes(content)

        refuse(source, tmp_path / str(number), damage, says)
    refuse(source, tmp_path / "folder", lambda f: ((f / name).unlink(), (f / name).mkdir()), name)


def key(file: str, name: str, value: object) -> Callable[[Path], object]:
    """Change a key of a JSON file."""

    def damage(folder: Path) -> None:
        stated = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(stated | {name: value}))

    return damage


KEYS = [
    ("student.json", "a_new_option", 1, "unknown key 'a_new_option'; update prism-utils"),
    ("student.json", "max_history", -1, "max_history must be 0 or more, found -1"),
    ("student.json", "max_history", "3", "max_history must be a whole number, found 3"),
    ("student.json", "max_history", True, "max_history must be a whole number, found True"),
    ("student.json", "max_new_tokens", 0, "max_new_tokens must be 1 or more, found 0"),
    ("student.json", "max_new_tokens", 41, "max_new_tokens is 41, but .* 40 positions; set it"),
    ("student.json", "max_input_tokens", 10**9, "max_input_tokens is 1000000000, but the weights"),
    ("student.json", "template", "compct", "template 'compct' is unknown: did you mean 'compact'"),
    ("student.json", "noun", "", "noun must be a word"),
    ("student.json", "mark_evidence", 1, "mark_evidence must be true or false"),
    ("config.json", "placement", "nowhere", "placement: 'nowhere' is unknown"),
    ("config.json", "placement", 5, "placement: 5 is unknown"),
    ("config.json", "d_model", 33, "describes no student"),
    ("config.json", "d_model", "wide", "describes no student"),
    ("config.json", "encoder_layers", 10**9, "encoder_layers=1000000000 is more than the weights"),
    ("config.json", "encoder_attention_heads", -2, "encoder_attention_heads must be 1 or more"),
    ("config.json", "num_users", 3, "user_embeddings.weight has the shape .*, by config.json"),
    ("config.json", "decoder_layers", 2, "has no model.decoder.layers.1"),
    ("config.json", "pad_token_id", 10**6, "describes no student"),
    ("config.json", "decoder_start_token_id", -1, "decoder_start_token_id must be the number of"),
    ("config.json", "model_type", "bart", "model_type is 'bart', not 'prism'"),
    ("config.json", "auto_map", {"AutoModel": "x.Y"}, "auto_map.*trust_remote_code=False"),
    ("config.json", "quantization_config", {"load_in_8bit": True}, "the student is quantised"),
    ("tokenizer_config.json", "auto_map", {"AutoTokenizer": "x.Y"}, "trust_remote_code=False"),
    ("config.json", "user_token_id", [4], "user_token_id must be the number of one of the"),
    ("tokenizer_config.json", "model_max_length", "long", "not readable as a tokenizer's"),
    ("generation_config.json", "eos_token_id", None, "eos_token_id must be the number of one"),
    ("generation_config.json", "eos_token_id", [2, -1], "eos_token_id must be the number of one"),
]


@pytest.mark.parametrize(("file", "name", "value", "says"), KEYS)
def test_settings_that_no_student_has(saved, tmp_path, file, name, value, says):
    refuse(saved, tmp_path / "x", key(file, name, value), rf"(?s)\w\.(json|safetensors).*{says}")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("precision", "int4", "precision 'int4' is unknown"),
        ("width", 64, "embeddings.npy: not readable as numbers of width 64"),
        ("width", "32", "width must be a whole number"),
        ("decoder_heads", 1, "decoder.onnx: is no decoder of this student"),
        ("decoder_heads", 0, "decoder_heads must be 1 or more"),
        ("encoder_heads", 5, "encoder_heads=5 does not divide width=32"),
        ("decoder_layers", 2, "decoder.onnx: is no decoder of this student"),
        ("ends", [], "ends must name a token"),
        ("ends", [10**6], "special token 1000000 is none of the"),
        ("placement", "user_token ", "placement 'user_token ' is unknown"),
        ("embed_scale", None, "embed_scale must be a number, found None"),
        ("new", 1, "unknown key 'new'"),
    ],
)
def test_shapes_that_no_exported_student_has(exported, tmp_path, name, value, says):
    refuse(exported, tmp_path / "x", key("export.json", name, value), says)


def users(values: object, column: str = "user_id") -> Callable[[Path], object]:
    return lambda f: pd.DataFrame({column: values}).to_parquet(f / "users.parquet")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (users(["ann"]), "users.parquet: 1 users, but the weights have 2"),
        (users(["ann", "bob"], "id"), "users.parquet: column 'user_id' is missing .columns: id"),
        (users(["ann", "ann"]), "users.parquet: row 2: user_id 'ann' stands there twice"),
        (users(["ann", None]), "users.parquet: row 2: user_id must be text"),
        (users([1, 2]), "users.parquet: row 1: user_id must be text, found 1"),
        (users([["ann"], ["bob"]]), "users.parquet: row 1: user_id must be text"),
        (lambda f: (f / "items.parquet").write_bytes(b"PAR1junk"), "items.parquet: not"),
        (lambda f: ((f / "items.parquet").unlink(), (f / "items.parquet").mkdir()), "items.parq"),
        (lambda f: ITEMS[["item_id"]].to_parquet(f / "items.parquet"), "column 'title' is missing"),
    ],
)  # fmt: skip
def test_tables_of_other_students(saved, exported, tmp_path, damage, says):
    refuse(saved, tmp_path / "saved", damage, says)
    refuse(exported, tmp_path / "exported", damage, says)


def test_users_in_the_index_are_read_all_the_same(tmp_path):
    pd.DataFrame({"user_id": ["ann", "bob"]}).set_index("user_id").to_parquet(tmp_path / "x")
    assert read_ids(tmp_path / "x", "user_id").tolist() == ["ann", "bob"]


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        held = load_file(folder / "model.safetensors")
        change(held)
        save_file(held, folder / "model.safetensors")

    return damage


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


FIRST = "model.encoder.layers.0.fc1.bias"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (weights(lambda w: w.pop(FIRST)), f"safetensors: has no {FIRST}"),
        (weights(lambda w: w.update({FIRST: torch.zeros(3)})), f"{FIRST} has the shape .3,."),
        (weights(lambda w: w.update(more=torch.zeros(3))), "safetensors: has more, which"),
        (weights(lambda w: w.update({FIRST: w[FIRST].int()})), f"{FIRST} is I32; only floating"),
        (weights(lambda w: w[FIRST].fill_(torch.nan)), f"{FIRST} is not finite"),
        (pickled, "pytorch_model.bin: pickled weights are not loaded"),
    ],
)
def test_weights_of_other_students(saved, tmp_path, damage, says):
    refuse(saved, tmp_path / "x", damage, says)


def test_weights_in_shards(saved, tmp_path):
    folder = Path(shutil.copytree(saved, tmp_path / "sharded"))
    model = PrismForConditionalGeneration.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="30KB")
    index, shards = folder / "model.safetensors.index.json", sorted(folder.glob("model-*"))
    asked = {"history": ["f1"], "item": "f2", "user_id": "ann"}
    assert Explainer.load(folder).explain(**asked) == Explainer.load(saved).explain(**asked)
    for number, (damage, says) in enumerate(
        (
            (lambda f: (f / shards[1].name).unlink(), f"{shards[1].name}: no such file"),
            (lambda f: (f / shards[1].name).write_bytes(POINTER), f"{shards[1].name}: a Git LFS"),
            (lambda f: (f / index.name).write_text("{}"), "weight_map must name files"),
            (key(index.name, "weight_map", {"x": "../x"}), "weight_map must name files of this"),
        )
    ):
        refuse(folder, tmp_path / str(number), damage, says)


def test_tokenizers_of_other_students(saved, exported, tmp_path):
    def larger(folder: Path) -> None:
        texts = [f"Part {n} of the same" for n in range(300)]
        train_tokenizer(texts, vocab_size=900).save_pretrained(folder)

    def empty(folder: Path) -> None:
        Tokenizer(models.BPE()).save(str(folder / "tokenizer.json"))

    for number, source in enumerate((saved, exported)):
        says = r"tokenizer.json: \d+ tokens, but the weights have"
        refuse(source, tmp_path / f"larger{number}", larger, says)
        refuse(
            source, tmp_path / f"empty{number}", empty, "tokenizer.json: not readable .* letters"
        )


def test_arrays_and_graphs_of_other_students(exported, tmp_path):
    bias = np.zeros(3, np.float32)
    for number, (damage, says) in enumerate(
        (
            (lambda f: shutil.copy(f / "encoder.onnx", f / "decoder.onnx"), "is no decoder of"),
            (lambda f: shutil.copy(f / "decoder.onnx", f / "encoder.onnx"), "is no encoder of"),
            (lambda f: np.save(f / "output_bias.npy", bias), r"output_bias.npy: is not of \d+ tok"),
            (lambda f: np.save(f / "users.npy", np.array([{}])), "users.npy: not readable"),
            (lambda f: np.save(f / "users.npy", np.zeros((9, 32), np.float32)), "weights have 8"),
        )
    ):
        refuse(exported, tmp_path / str(number), damage, says)


def test_an_exported_student_has_one_place_to_run(exported):
    for options in ({"device": "cuda"}, {"dtype": "bfloat16"}):
        with pytest.raises(InputError, match="exported for the CPU; leave device and dtype out"):
            Explainer.load(exported, **options)


def test_what_libraries_say_stays_one_short_line():
    assert in_short("Validation\n  failed:   no") == "Validation failed: no"
    assert len(in_short("x" * 5000)) == 160
