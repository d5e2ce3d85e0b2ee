"""Models of others that are not whole, or not what is asked for: one sentence each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2TokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from prism_utils.errors import InputError
from prism_utils.metrics.bertscore import BertScore
from prism_utils.metrics.likelihood import LikelihoodScore

SIZES = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    """Folders of tiny models: an encoder, a causal model, and one that reads both ways."""
    folder = tmp_path_factory.mktemp("made")
    vocabulary = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary.train_from_iterator(["A film for you"], vocab_size=280, special_tokens=special)
    vocabulary.save_model(str(folder))
    files = [str(folder / name) for name in ("vocab.json", "merges.txt")]
    tokenizer = GPT2TokenizerFast(*files, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(0)
    models = {
        "roberta": RobertaModel(RobertaConfig(**SIZES, intermediate_size=32)),
        "gpt2": GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=1, n_head=2)),
        "bert": BertLMHeadModel(BertConfig(**SIZES, intermediate_size=32)),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return {name: folder / name for name in models}


def spoilt(source: Path, folder: Path, spoil: str) -> Path:
    shutil.copytree(source, folder)
    weights = folder / "model.safetensors"
    if spoil == "tokenizer":
        for path in folder.iterdir():
            if path.name not in ("config.json", weights.name):
                path.unlink()
    elif spoil == "pickle":
        weights.rename(folder / "pytorch_model.bin")
    elif spoil == "cut":
        weights.write_bytes(weights.read_bytes()[:300])
    elif spoil == "pointer":
        weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    elif spoil == "config":
        (folder / "config.json").write_text("{")
    elif spoil == "code":
        config = json.loads((folder / "config.json").read_text())
        config |= {"model_type": "strange", "auto_map": {"AutoConfig": "own.Own"}}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "own.py").write_text("raise SystemExit('this ran')\n")
    return folder


@pytest.mark.parametrize(("kind", "name"), [(BertScore, "roberta"), (LikelihoodScore, "gpt2")])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("tokenizer", "has no tokenizer: put its files"),
        ("pickle", "has no model.safetensors; save its weights so"),
        ("cut", "needs config, weights and tokenizer, whole"),
        ("pointer", "needs config, weights and tokenizer, whole"),
        ("config", "config.json"),
        ("code", "custom code"),
    ],
)
def test_a_folder_that_is_not_whole_is_one_sentence(made, tmp_path, kind, name, spoil, reason):
    folder = spoilt(made[name], tmp_path / "spoilt", spoil)
    with pytest.raises(InputError, match=reason) as told:
        kind(str(folder), device="cpu")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("kind", "name"), [(BertScore, "roberta"), (LikelihoodScore, "gpt2")])
def test_parameters_that_make_no_sense_are_named(made, kind, name):
    for model in (None, "", 3):
        with pytest.raises(InputError, match="model must be a folder or a name on the hub"):
            kind(model)
    for size in ("8", 1.5, True):
        with pytest.raises(InputError, match="batch_size must be a whole number"):
            kind(str(made[name]), batch_size=size)
    with pytest.raises(InputError, match="device 'cuda:99' is not there"):
        kind(str(made[name]), device="cuda:99")
    with pytest.raises(InputError, match="is a file: give the folder"):
        kind(str(made[name] / "config.json"))
    scorer = kind(made[name], device="cpu")
    for text, reason in ((None, "must be text, found None"), ("a\ud83d", "holds half a character")):
        with pytest.raises(InputError, match=f"candidates: row 1 {reason}"):
            scorer.score_pairs(["a"], [text])


def test_a_model_that_reads_both_ways_has_no_likelihood_of_a_text(made):
    for name in ("bert", "roberta"):
        with pytest.raises(InputError, match="is no causal model"):
            LikelihoodScore(str(made[name]), device="cpu")


def test_tokens_beyond_the_table_of_vectors_are_named(made, tmp_path):
    for kind, name in ((BertScore, "roberta"), (LikelihoodScore, "gpt2")):
        folder = spoilt(made[name], tmp_path / name, "nothing")
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        tokenizer["model"]["vocab"]["x"] = 5000
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        scorer = kind(str(folder), device="cpu")
        assert np.isfinite(scorer.score_pairs(["A film"], ["for you"])).all()
        with pytest.raises(InputError, match="the tokenizer that belongs to the weights"):
            scorer.score_pairs(["A film"], ["x x"])
