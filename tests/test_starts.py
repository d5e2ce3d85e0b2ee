"""What a student may start from: each checkpoint is right, or one sentence before training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_baselines import ASKED, SMALL, TRAIN, fit
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    PretrainedConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from prism_utils import students
from prism_utils.errors import InputError
from prism_utils.students.inputs import UserTable
from prism_utils.students.prism import from_checkpoint
from prism_utils.students.training import Recipe
from prism_utils.students.vocabulary import train_tokenizer

STILL = Recipe(steps=1, batch_size=15, eval_every=1, learning_rate=1e-20)
TOKENIZER = train_tokenizer(TRAIN["text"], vocab_size=300)
END = TOKENIZER.convert_tokens_to_ids("</s>")
WIDE = {
    "vocab_size": len(TOKENIZER), "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16, "max_position_embeddings": 64,
}  # fmt: skip
GPT2 = {"vocab_size": len(TOKENIZER), "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
GPT2 |= {"bos_token_id": END, "eos_token_id": END}
T5 = {"vocab_size": len(TOKENIZER), "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1}
MODELS: dict[str, Callable[[], Any]] = {
    "bart": lambda: BartForConditionalGeneration(BartConfig(**WIDE, init_std=0.2)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2)),
    "t5": lambda: T5ForConditionalGeneration(T5Config(**T5, num_heads=2)),
    "marian": lambda: MarianMTModel(MarianConfig(**WIDE, pad_token_id=1)),
    "mbart": lambda: MBartForConditionalGeneration(MBartConfig(**WIDE)),
}
KINDS = {"bart": "prism", "gpt2": "pepler", "att2seq": "att2seq"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a tiny checkpoint of each architecture, or of a student, made once."""
    folder = tmp_path_factory.mktemp("made")

    def make(name: str) -> Path:
        path = folder / name
        if not path.exists():
            torch.manual_seed(0)
            if name in MODELS:
                MODELS[name]().save_pretrained(path)
                TOKENIZER.save_pretrained(path)
            else:
                heads = {"heads": 2} if name in ("prism", "pepler") else {}
                fit(name, path, **SMALL, **heads)
        return path

    return make


@pytest.fixture
def spoilt(made, tmp_path) -> Callable[..., str]:
    """A copy of such a folder in which something was done to one file."""

    def spoil(name: str, file: str = "", do: Any = None, **keys: Any) -> str:
        folder = shutil.copytree(made(name), tmp_path / f"start-{len(list(tmp_path.iterdir()))}")
        path = folder / (file or "config.json")
        if keys:
            path.write_text(json.dumps(json.loads(path.read_text()) | keys))
        elif do is not None:
            do(path)
        return str(folder)

    return spoil


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pointer(path: Path) -> None:
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")


def pickled(path: Path) -> None:
    torch.save(load_file(path), path.with_name("pytorch_model.bin"))
    path.unlink()


def empty(path: Path) -> None:
    path.write_text("{}")


def untied(path: Path) -> None:
    kept = load_file(path)
    _, table = next(item for item in kept.items() if item[1].shape == (len(TOKENIZER), 16))
    save_file(kept | {"lm_head.weight": table + 1}, path, metadata={"format": "pt"})


def stored(dtype: torch.dtype) -> Callable[[Path], None]:
    def store(path: Path) -> None:
        kept = {name: weight.to(dtype) for name, weight in load_file(path).items()}
        save_file(kept, path, metadata={"format": "pt"})

    return store


def without(part: str) -> Callable[[Path], None]:
    def leave(path: Path) -> None:
        kept = {name: weight for name, weight in load_file(path).items() if part not in name}
        save_file(kept, path, metadata={"format": "pt"})

    return leave


# -- Half precision --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("bart", torch.float16), ("gpt2", torch.bfloat16), ("att2seq", torch.float16)],
)
def test_weights_stored_in_half_precision_are_trained_as_from_float32(
    spoilt, tmp_path, name, dtype
):
    kept: dict[str, Any] = {}

    def round_trip(path: Path) -> None:
        rounded = {n: weight.to(dtype).float() for n, weight in load_file(path).items()}
        save_file(rounded, path, metadata={"format": "pt"})

    for how, do in (("half", stored(dtype)), ("rounded", round_trip)):
        start = spoilt(name, "model.safetensors", do)
        kept[how] = fit(KINDS[name], tmp_path / how, init_from=start)
    for key, weight in kept["rounded"].model.state_dict().items():
        assert weight.dtype == torch.float32
        torch.testing.assert_close(kept["half"].model.state_dict()[key], weight, msg=key)
    again = students.load(tmp_path / "half")
    assert again.model.dtype == torch.float32


# -- Another kind, or not whole --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("prism", "t5", "is a t5 model; Prism needs a BART checkpoint"),
        ("prism", "marian", "is a marian model; Prism needs a BART"),
        ("prism", "mbart", "is a mbart model; Prism needs a BART"),
        ("prism", "gpt2", "is a gpt2 model; Prism needs a BART"),
        ("prism", "pepler", "is a pepler model; Prism needs a BART"),
        ("pepler", "bart", "is a bart model; PEPLER needs a GPT-2 checkpoint"),
        ("pepler", "att2seq", "is a att2seq model; PEPLER needs"),
        ("att2seq", "gpt2", "is a gpt2 model; Att2Seq needs another Att2Seq"),
    ],
)
def test_another_architecture_is_refused_by_its_name(made, tmp_path, kind, name, says):
    with pytest.raises(InputError, match=f"init_from: .*{says}"):
        fit(kind, tmp_path / "out", init_from=str(made(name)))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("file", "do", "says"),
    [
        ("model.safetensors", cut, "model.safetensors is damaged or cut"),
        ("model.safetensors", pointer, "model.safetensors is a pointer of Git LFS.* git lfs pull"),
        ("model.safetensors", pickled, "only pytorch_model.bin, a format that can hold code"),
        ("model.safetensors", stored(torch.int8), "is I8; only floating-point weights"),
        ("config.json", cut, "config.json is not readable JSON"),
        ("config.json", Path.unlink, "config.json is missing"),
        ("tokenizer.json", cut, "tokenizer.json is not readable JSON"),
        ("tokenizer.json", Path.unlink, "has no tokenizer: save it there"),
        ("tokenizer.json", empty, r"a tokenizer that cannot be read \(.*\); save it"),
    ],
)
def test_a_folder_that_is_not_whole_names_its_file(spoilt, tmp_path, name, file, do, says):
    start = spoilt(name, file, do)
    with pytest.raises(InputError, match=f"^init_from: .*{says}") as told:
        fit(KINDS[name], tmp_path / "out", init_from=start)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("kind", "name", "part"),
    [
        ("prism", "bart", "model.shared"),
        ("prism", "bart", "decoder.layers.0.fc1"),
        ("pepler", "gpt2", "wte"),
        ("pepler", "gpt2", "h.0.mlp"),
        ("att2seq", "att2seq", "decoder"),
    ],
)
def test_weights_that_are_not_there_are_not_made_up(spoilt, tmp_path, kind, name, part):
    with pytest.raises(InputError, match="init_from: .* no weights that fit its config.json for"):
        fit(kind, tmp_path / "out", init_from=spoilt(name, "model.safetensors", without(part)))


@pytest.mark.parametrize("name", ["bart", "gpt2"])
def test_another_table_for_the_output_is_refused_where_it_would_be_dropped(spoilt, tmp_path, name):
    start = spoilt(name, "model.safetensors", untied)
    with pytest.raises(InputError, match="^init_from: .* other weights for its output.*; tie them"):
        fit(KINDS[name], tmp_path / "out", init_from=start)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"auto_map": {"AutoConfig": "own.Config"}}, "code of its own, which is never run"),
        ({"quantization_config": {"load_in_8bit": True}}, "is quantised"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is false"),
        ({"model_type": None}, "names no model"),
        ({"vocab_size": "300"}, "(config.json that fits no model|could not be loaded)"),
        ({"d_model": 33, "n_embd": 33}, "must be divisible"),
        ({"dropout": 7, "resid_pdrop": 7}, "dropout probability has to be between 0 and 1"),
    ],
)
@pytest.mark.parametrize("name", ["bart", "gpt2"])
def test_settings_that_cannot_be_trained_are_refused(spoilt, tmp_path, name, keys, says):
    start = spoilt(name, **keys)
    with pytest.raises(InputError, match=f"init_from: .*{says}"):
        fit(KINDS[name], tmp_path / "out", init_from=start)


@pytest.mark.parametrize("kind", ["prism", "pepler", "att2seq"])
def test_what_is_neither_a_folder_nor_on_the_hub_is_named(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "file").write_text("")
    for start, says in (
        (str(tmp_path / "nothing"), "nothing: no such folder"),
        (str(tmp_path / "file"), "file is a file|a part of this path is a file"),
        (str(tmp_path), "config.json is missing"),
    ):
        with pytest.raises(InputError, match=f"init_from: .*({says})"):
            fit(kind, tmp_path / "out", init_from=start)

    def offline(*args: Any, **kwargs: Any) -> Any:
        raise OSError("We could not connect to the hub.\nCheck your connection.")

    monkeypatch.setattr(PretrainedConfig, "get_config_dict", offline)
    says = "'some/bart' is no folder here, and could not be loaded from the hub: We could"
    with pytest.raises(InputError, match=says) as told:
        fit(kind, tmp_path / "out", init_from="some/bart")
    assert "\n" not in str(told.value)


# -- Tokens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {"bos_token_id": 50256, "eos_token_id": 50256},
        {"eos_token_id": [2, 1]},
        {"eos_token_id": None, "pad_token_id": None, "decoder_start_token_id": None},
        {"pad_token_id": -1},
        {"decoder_start_token_id": 9999},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["bart", "gpt2"])
def test_special_tokens_outside_the_vocabulary_give_way_to_the_tokenizers(
    spoilt, tmp_path, name, keys
):
    system = fit(KINDS[name], tmp_path / "out", STILL, init_from=spoilt(name, **keys))
    config = system.model.config
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert 0 <= getattr(config, key) < config.vocab_size, key
    assert config.eos_token_id == END
    told = system.explain(ASKED.head(4))
    again = students.load(tmp_path / "out")
    assert again.explain(ASKED.head(4))["text"].tolist() == told["text"].tolist()


@pytest.mark.parametrize("name", ["bart", "gpt2"])
def test_a_tokenizer_may_have_tokens_beyond_the_table(spoilt, tmp_path, name):
    def more(path: Path) -> None:
        larger = train_tokenizer([*TRAIN["text"], *"0123456789 Nothing but words"], vocab_size=400)
        larger.add_tokens([f"word{n}" for n in range(40)])
        larger.save_pretrained(path.parent)

    start = spoilt(name, "tokenizer.json", more)
    system = fit(KINDS[name], tmp_path / "out", STILL, init_from=start)
    assert system.model.get_input_embeddings().num_embeddings == len(system.tokenizer)
    assert len(system.tokenizer) > len(TOKENIZER)


def test_a_tokenizer_that_ends_no_text_is_refused(spoilt, tmp_path):
    def endless(path: Path) -> None:
        said = json.loads(path.read_text())
        path.write_text(json.dumps(said | {"post_processor": None}))

    with pytest.raises(InputError, match="ends no text with the end token"):
        fit("prism", tmp_path, init_from=spoilt("bart", "tokenizer.json", endless))


def test_positions_too_few_are_named_before_training(spoilt, tmp_path, made):
    """SETTINGS of the tests ask for 40 tokens in and 24 out."""
    torch.manual_seed(0)
    short = tmp_path / "short"
    sizes = WIDE | {"max_position_embeddings": 32}
    BartForConditionalGeneration(BartConfig(**sizes)).save_pretrained(short)
    TOKENIZER.save_pretrained(short)
    with pytest.raises(InputError, match="max_input_tokens: 40 are more .* model's 32 positions"):
        fit("prism", tmp_path / "out", init_from=str(short))


def test_weights_in_shards_are_a_start_like_any(made, tmp_path):
    first = students.load(made("att2seq"))
    shards = shutil.copytree(made("att2seq"), tmp_path / "shards")
    (shards / "model.safetensors").unlink()
    first.model.save_pretrained(shards, max_shard_size="20KB")
    assert len(list(shards.glob("*.safetensors"))) > 1
    system = fit("att2seq", tmp_path / "out", STILL, init_from=str(shards))
    for name, weight in first.model.state_dict().items():
        assert torch.equal(weight, system.model.state_dict()[name]), name


# -- An earlier Prism and its users ----------------------------------------------------------------


def vectors(model: Any, users: UserTable) -> dict[str, torch.Tensor]:
    """Each user's vector as the encoder adds it; rows of a sparse table are made first."""
    rows = torch.arange(1, len(users) + 1)
    if type(model.model.encoder.user_embeddings) is not torch.nn.Embedding:
        model.train().model.encoder.user_embeddings(rows)
        model.eval()
    return dict(zip(users.index, model.user_vectors()[1:].detach(), strict=True))


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> dict[str, tuple[str, dict[str, torch.Tensor]]]:
    """Prisms of ann, bob and cyd, and the vectors that they have there."""
    found, folder = {}, tmp_path_factory.mktemp("earlier")
    made = {"full": {}, "scaled": {"scale": "1/sqrt(d)"}, "low": {"user_rank": 3}}
    for name, how in made.items():
        system = fit("prism", folder / name, STILL, **SMALL, heads=2, **how)
        found[name] = str(folder / name), vectors(system.model, system.users)
    return found


@pytest.mark.parametrize("users", ["dan eve fay", "zoe", "eve cyd dan ann"])
@pytest.mark.parametrize("table", ["dense", "sparse"])
@pytest.mark.parametrize(
    ("start", "how", "kept"),
    [
        ("full", {}, True),
        ("full", {"scale": "1/sqrt(d)"}, True),
        ("full", {"user_rank": 4}, False),
        ("scaled", {}, True),
        ("low", {"user_rank": 3}, True),
        ("low", {}, True),
        ("low", {"user_rank": 2}, False),
    ],
)
def test_vectors_of_an_earlier_prism_go_to_the_same_users(earlier, users, table, start, how, kept):
    folder, before = earlier[start]
    asked = UserTable(users.split())
    model, _ = from_checkpoint(
        folder, len(asked), users=asked, user_table=table, seed=3, **({"scale": "1"} | how)
    )
    assert model.config.num_users == len(asked)
    for user, vector in vectors(model, asked).items():
        same = [name for name, old in before.items() if torch.allclose(old, vector, atol=1e-5)]
        assert same == ([user] if kept and user in before else []), user
        assert vector.abs().max() > 0


def test_without_the_users_nobody_has_a_vector_of_before(earlier):
    folder, before = earlier["full"]
    model, _ = from_checkpoint(folder, 3)
    for vector in model.user_vectors()[1:]:
        assert not any(torch.allclose(old, vector, atol=1e-4) for old in before.values())
    none, _ = from_checkpoint(folder, 3, users=UserTable(["ann", "b", "c"]), placement="none")
    assert not hasattr(none.model.encoder, "user_embeddings")
    zero, _ = from_checkpoint(
        folder, 2, users=UserTable(["ann", "new"]), user_init="zero", scale="1"
    )
    ann, new = zero.user_vectors()[1:]
    assert torch.allclose(ann, before["ann"], atol=1e-6) and not new.any()


def test_users_that_are_not_those_of_the_weights_are_named(earlier, tmp_path):
    folder = shutil.copytree(earlier["full"][0], tmp_path / "other")
    UserTable(["ann"]).save(folder)
    with pytest.raises(InputError, match="has 3 users, but 1 in its users.parquet"):
        fit("prism", tmp_path / "out", init_from=str(folder))
    (folder / "users.parquet").unlink()
    with pytest.raises(InputError, match="users.parquet: no such file"):
        fit("prism", tmp_path / "out", init_from=str(folder))


def test_a_start_that_is_replaced_at_its_place_is_another_one(made, tmp_path):
    start = shutil.copytree(made("gpt2"), tmp_path / "start")
    first = fit("pepler", tmp_path / "out", STILL, init_from=str(start))
    torch.manual_seed(1)
    GPT2LMHeadModel(GPT2Config(**GPT2)).save_pretrained(start)
    second = fit("pepler", tmp_path / "out", STILL, init_from=str(start))
    first, second = (system.model.transformer.wte.weight for system in (first, second))
    assert not torch.equal(first, second)
