"""A Hugging Face model as teacher: tiny random models, and folders that are not what they seem."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from prism_utils.distillation import distill
from prism_utils.errors import InputError
from prism_utils.prompts import render_prompts
from prism_utils.teachers.huggingface import HuggingFaceTeacher

NUMBERS = range(60)
FILMS = pd.DataFrame(
    {
        "item_id": [f"i{n}" for n in NUMBERS],
        "title": [f"{'The long and winding road to film number ' * (n % 3)}{n}" for n in NUMBERS],
        "genre": [["Comedy"] if n % 2 else ["Action"] for n in NUMBERS],
    }
)
POSITIONS = 1024
# A vocabulary of bytes: a letter is a token, so prompts are long.
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = {token: n for n, token in enumerate(["<pad>", "</s>", "<unk>", *LETTERS])}


def samples(count: int, longest: int = 6) -> pd.DataFrame:
    rows = [
        (f"s{n}", f"u{n % 9}", [f"i{(7 * n + k) % 60}" for k in range((3 * n) % (longest + 1))],
         f"i{n % 60}", "train")
        for n in range(count)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["sample_id", "user_id", "history", "item_id", "split"])


def tokenizer(**special: str) -> transformers.PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE(TOKENS, [], unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **special)


SPECIAL = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    """Tiny random models with a byte-level tokenizer: t5, llama, gpt2, and chat (a llama's)."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    size = len(TOKENS)
    t5 = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=size, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
            pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, n_positions=8,
        )
    )  # fmt: skip
    llama = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=4096, initializer_range=0.5,
            pad_token_id=0, eos_token_id=1, bos_token_id=1,
        )
    )  # fmt: skip
    gpt2 = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=size, n_embd=16, n_layer=1, n_head=2, n_positions=POSITIONS,
            initializer_range=0.5, bos_token_id=1, eos_token_id=1,
        )
    )  # fmt: skip
    for name, model in {"t5": t5, "llama": llama, "chat": llama, "gpt2": gpt2}.items():
        fast = tokenizer(**SPECIAL)
        if name == "chat":
            fast.chat_template = "{% for m in messages %}[{{ m.content }}]{% endfor %}>"
        model.save_pretrained(folder / name)
        fast.save_pretrained(folder / name)
    return folder


def teacher(folder: Path | str, **options: object) -> HuggingFaceTeacher:
    small = {"dtype": "float32", "max_new_tokens": 5, "template": "compact"}
    return HuggingFaceTeacher(str(folder), items=FILMS, **small | options)


@pytest.mark.parametrize("kind", ["t5", "llama", "gpt2", "chat"])
def test_models_answer_in_order_whatever_the_batch(checkpoints: Path, kind: str) -> None:
    asked = samples(7)
    told = [teacher(checkpoints / kind, batch_size=size).explain(asked) for size in (1, 3)]
    assert told[0]["sample_id"].tolist() == asked["sample_id"].tolist()
    assert told[0]["system"].tolist() == [kind] * 7
    pd.testing.assert_frame_equal(*(one.drop(columns="seconds") for one in told))
    assert (told[0]["tokens"] <= 5).all() and (told[0]["seconds"] > 0).all()
    if kind != "t5":
        assert told[0]["text"].nunique() > 1  # answers differ, so that an order would show
        prompts = render_prompts(asked, FILMS, template="compact")["prompt"]
        assert not any(p[:20] in t for p, t in zip(prompts, told[0]["text"], strict=True))


def test_the_answer_is_the_models_own(checkpoints: Path) -> None:
    """Each text equals what the bare model says to its prompt, one at a time."""
    asked = samples(4)
    told = teacher(checkpoints / "llama", template="faithful", max_input_tokens=4000)
    prompts = render_prompts(asked, FILMS)["prompt"]
    for prompt, text in zip(prompts, told.explain(asked)["text"], strict=True):
        inputs = told.tokenizer(prompt, return_tensors="pt")
        ids = told.model.generate(
            input_ids=inputs["input_ids"], max_new_tokens=5, do_sample=False, pad_token_id=0
        )[0, inputs["input_ids"].shape[1] :]
        assert told.tokenizer.decode(ids, skip_special_tokens=True).strip() == text


def test_chat_template_and_budget_are_kept(checkpoints: Path) -> None:
    asked = samples(9, longest=50)
    options = {"template": "faithful", "max_input_tokens": 760, "max_new_tokens": 1}
    chats = teacher(checkpoints / "chat", dtype="bfloat16", **options)
    assert chats.model.dtype == torch.bfloat16
    assert chats.tokenizer.decode(chats._ids(["hello"])[0]) == "[hello]>"
    told = chats.explain(asked)
    assert (told["shown"] + told["dropped"]).tolist() == asked["history"].map(len).tolist()
    assert (told["dropped"] > 0).any()


def test_sampling_is_seeded(checkpoints: Path) -> None:
    told = [
        teacher(checkpoints / "llama", do_sample=True, max_new_tokens=8, seed=seed)
        .explain(samples(4))["text"].tolist()
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert told[0] == told[1] != told[2]


# -- A plan is told by what it reads ---------------------------------------------------------------


def test_a_corrected_catalogue_and_a_retrained_model_are_another_plan(
    checkpoints: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints / "llama", tmp_path / "model")
    first = teacher(folder).description
    assert teacher(folder).description == first
    (folder / "notes.md").write_text("nobody reads this")
    assert teacher(folder).description == first
    told = HuggingFaceTeacher(
        str(folder), items=FILMS.assign(title="The " + FILMS["title"]), dtype="float32",
        max_new_tokens=5, template="compact",
    )  # fmt: skip
    assert {k for k, v in told.description.items() if first[k] != v} == {"prompts"}
    weights = folder / "model.safetensors"
    data, stat = bytearray(weights.read_bytes()), weights.stat()
    data[-2] ^= 1  # of the same size and date, as after a copy that keeps dates
    weights.write_bytes(data)
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = teacher(folder).description
    assert {k for k, v in again.items() if first[k] != v} == {"content"}


# -- What is wrong is said before anything is generated --------------------------------------------


def refused(folder: Path | str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        teacher(folder, **options)
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.fixture
def damaged(checkpoints: Path, tmp_path: Path):
    """A copy of the GPT-2 in which something was done."""

    def make(change) -> Path:
        folder = shutil.copytree(checkpoints / "gpt2", tmp_path / "damaged", dirs_exist_ok=True)
        change(folder)
        return folder

    return make


def edited(name: str, **values: object):
    def edit(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return edit


def written(name: str, text: str):
    return lambda folder: (folder / name).write_text(text)


def cut(name: str):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-40])


def removed(*names: str):
    return lambda folder: [(folder / name).unlink() for name in names]


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (removed("tokenizer.json", "tokenizer_config.json"), "no tokenizer that knows words"),
        (cut("tokenizer.json"), "tokenizer.json is not readable JSON"),
        (written("tokenizer_config.json", "[]"), "tokenizer_config.json must hold a JSON object"),
        (removed("config.json"), "config.json is missing"),
        (written("config.json", POINTER), "config.json is a pointer of Git LFS"),
        (written("config.json", "[" * 100_000), "nested too deep"),
        (written("generation_config.json", "[1]"), "generation_config.json must hold"),
        (edited("config.json", model_type="zork"), "zork"),
        (
            edited("config.json", model_type="zork", auto_map={"AutoConfig": "zork.Config"}),
            "custom code",
        ),
        (edited("config.json", n_layer="two"), "n_layer"),
        (edited("config.json", n_layer=2), "weights are missing, such as transformer.h.1"),
        (edited("config.json", vocab_size=999), "weights are mismatched, such as"),
        (cut("model.safetensors"), "model.safetensors is damaged or cut"),
        (written("model.safetensors", POINTER), "model.safetensors is a pointer of Git LFS"),
        (written("model.safetensors", ""), "model.safetensors is damaged or cut"),
        (removed("model.safetensors"), "model.safetensors is missing"),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "only pytorch_model.bin, a format that can hold code",
        ),
        (
            lambda folder: (
                (folder / "model.safetensors").unlink(),
                (folder / "model.safetensors.index.json").write_text(
                    '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'
                ),
            ),
            "model-00001-of-00002.safetensors: no such file",
        ),
        (edited("tokenizer_config.json", chat_template="{{ raise_exception('system first') }}"),
         "takes no turn of the user alone (system first)"),
        (edited("tokenizer_config.json", chat_template="hello"), "leaves the prompt out"),
    ],
    ids=range(20),
)  # fmt: skip
def test_a_folder_that_is_not_whole_is_named(damaged, change, words: str) -> None:
    assert words in refused(damaged(change))


def test_a_model_that_is_not_there_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert refused(tmp_path / "nowhere").endswith("nowhere: no such folder: check the path")
    (tmp_path / "model.gguf").touch()
    assert "model.gguf is a file: give the folder" in refused(tmp_path / "model.gguf")
    assert "'nobody/nothing' could not be loaded" in refused("nobody/nothing")


def test_weights_that_are_no_numbers_are_refused(damaged) -> None:
    def spoil(folder: Path) -> None:
        model = transformers.GPT2LMHeadModel.from_pretrained(folder)
        model.transformer.ln_f.weight.data[3] = float("nan")
        model.save_pretrained(folder)

    assert "gives no finite numbers" in refused(damaged(spoil))


def test_a_model_that_fills_gaps_is_no_teacher(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=len(TOKENS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    tokenizer(**SPECIAL).save_pretrained(tmp_path)
    assert "BertForMaskedLM, which generates no text" in refused(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "bf16"}, "dtype 'bf16' is unknown: did you mean 'bfloat16'"),
        ({"template": "papr"}, "template 'papr' is unknown"),
        ({"batch_size": 0}, "batch_size must be 1 or more, found 0"),
        ({"batch_size": 2.5}, "batch_size must be 1 or more, found 2.5"),
        ({"max_new_tokens": -1}, "max_new_tokens must be 1 or more"),
        ({"num_beams": True}, "num_beams must be 1 or more, found True"),
        ({"max_history": -1}, "max_history must be 0 or more"),
        ({"seed": -1}, "seed must be 0 or more, found -1"),
        ({"max_input_tokens": 0}, "max_input_tokens must be 1 or more"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"temperature": float("inf")}, "temperature must be above 0 and finite"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1"),
        ({"device_map": "cuda:99"}, "device_map 'cuda:99': torch finds"),
        ({"device_map": "gpu"}, "device_map 'gpu' is unknown"),
        ({"max_new_tokens": POSITIONS + 1}, f"has {POSITIONS} positions"),
    ],
    ids=range(16),
)
def test_parameters_out_of_range_are_refused(checkpoints: Path, options, words: str) -> None:
    assert words in refused(checkpoints / "gpt2", **options)


def test_a_prompt_beyond_the_positions_is_refused_before_the_first_shard(
    checkpoints: Path, tmp_path: Path
) -> None:
    asked = samples(12, longest=50)
    long = teacher(checkpoints / "gpt2", max_input_tokens=4000)
    with pytest.raises(InputError, match=f"prompt of sample 's\\d+' .* {POSITIONS} positions"):
        distill(long, asked, tmp_path, shard_size=1, progress=False)
    assert not list(tmp_path.glob("shard-*"))
    fits = teacher(checkpoints / "gpt2", max_input_tokens=POSITIONS - 4)
    assert len(distill(fits, asked, tmp_path / "fits", progress=False)) == 12
    # Relative positions have no end, whatever `n_positions` a T5 wrote down.
    assert len(teacher(checkpoints / "t5", max_input_tokens=4000).explain(asked)) == 12


def test_a_tokenizer_without_special_tokens_does(damaged) -> None:
    def plain(folder: Path) -> None:
        tokenizer().save_pretrained(folder)
        answers = {"do_sample": True, "num_return_sequences": 2, "eos_token_id": None}
        edited("generation_config.json", **answers)(folder)

    folder = damaged(plain)
    told = [teacher(folder, batch_size=n, do_sample=n > 1).explain(samples(3)) for n in (1, 3)]
    assert [len(one) for one in told] == [3, 3] and (told[0]["tokens"] == 5).all()


def test_a_token_outside_the_table_is_refused_where_a_prompt_has_it(damaged) -> None:
    def more(folder: Path) -> None:
        words = tokenizer(**SPECIAL)
        words.add_tokens(["number 41"])
        words.save_pretrained(folder)

    told = teacher(damaged(more))
    with pytest.raises(InputError, match="its tokenizer is another model's"):
        told.explain(samples(60))


def test_a_rank_that_was_left_over_is_named(checkpoints: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for rank in ("3", "first"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert f"LOCAL_RANK={rank} is set" in refused(checkpoints / "gpt2")
