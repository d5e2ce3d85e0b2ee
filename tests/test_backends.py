"""Fast must mean same: what the backends write is held against transformers' `generate`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from prism_utils.decoding import Explainer, onnx_backend
from prism_utils.decoding.__main__ import main
from prism_utils.decoding.export import export, export_graphs, from_model
from prism_utils.decoding.graph_backend import GraphBackend
from prism_utils.decoding.onnx_backend import OnnxBackend
from prism_utils.decoding.start import start
from prism_utils.decoding.torch_backend import TorchBackend
from prism_utils.errors import InputError
from prism_utils.students.inputs import StudentSettings, UserTable
from prism_utils.students.prism import PrismConfig, PrismForConditionalGeneration

USER_TOKEN_ID = 4
ITEMS = pd.DataFrame(
    {"item_id": ["f1", "f2", "f3", "f4"], "title": ["Alien", "Heat", "Jaws", "Big"]}
)


def student(seed: int = 0, words: int = 60, **options) -> PrismForConditionalGeneration:
    """Weights large enough that texts differ between samples and end at different lengths."""
    torch.manual_seed(seed)
    config = PrismConfig(
        vocab_size=words, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=4, encoder_ffn_dim=32,
        decoder_ffn_dim=32, max_position_embeddings=40, init_std=0.5, num_users=3,
        user_token_id=USER_TOKEN_ID, **options,
    )  # fmt: skip
    model = PrismForConditionalGeneration(config).eval()
    with torch.no_grad():  # biases and LayerNorms are otherwise zeros and ones, and every token
        model.final_logits_bias.normal_(0, 0.5)  # is followed by itself
        model.final_logits_bias[0, config.eos_token_id] = 5
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(0, 0.1)
            elif "norm" in name:
                weight.normal_()
            elif "encoder_attn" in name:
                weight.mul_(3)
    return model


def requests(seed: int, batch: int, longest: int = 30) -> tuple[list[list[int]], np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, batch)
    inputs = [[0, *rng.integers(4, 60, n).tolist(), 2] for n in lengths]
    return inputs, rng.integers(0, 4, batch)  # row 0 is an unknown user


def graph_backend(model, **ignored) -> GraphBackend:
    """Without a GPU nothing is recorded, but the same functions run on the same buffers."""
    return GraphBackend(model)


FAST = pytest.mark.parametrize("make", [from_model, graph_backend])


@FAST
@pytest.mark.parametrize("batch", [1, 2, 7, 33])
def test_float32_writes_the_tokens_that_generate_writes(batch, make):
    model = student(seed=batch)
    reference, fast = TorchBackend(model), make(model, threads=1)
    for longest in (1, 2, 12, 36):
        inputs, users = requests(batch + longest, batch)
        wanted = reference.generate(inputs, users, max_new_tokens=longest)
        assert fast.generate(inputs, users, max_new_tokens=longest) == wanted
        forced = {"max_new_tokens": longest, "min_new_tokens": longest}
        wanted = reference.generate(inputs, users, **forced)
        assert fast.generate(inputs, users, **forced) == wanted
        assert {len(tokens) for tokens in wanted} == {longest}


@pytest.mark.parametrize("asked", [{}, {"no_repeat_ngram_size": 2}, {"forced_eos_token_id": 2}])
def test_drafts_change_nothing_but_the_time(asked):
    model = student(1)
    model.generation_config.update(**asked)
    plain = [from_model(model, precision, threads=1) for precision in ("float32", "mixed")]
    drafted = [from_model(model, p, draft=True, threads=1) for p in ("float32", "mixed")]
    inputs, users = requests(8, 12)
    for one, user in zip(inputs, users, strict=True):
        for lengths in ((1, 0), (36, 0), (40, 20)):
            said = dict(zip(("max_new_tokens", "min_new_tokens"), lengths, strict=True))
            told = [b.generate([one], [user], **said) for b in (*plain, *drafted)]
            assert told[2] == told[0] == TorchBackend(model).generate([one], [user], **said)
            assert told[3] == told[1]


def test_drafts_are_checked_many_at_a_time():
    """Else they would cost time: the large decoder runs far less often than it writes tokens."""
    backend = from_model(student(1), draft=True, threads=1)
    (text,) = backend.generate([[0, 7, 8, 2]], [1], max_new_tokens=36, min_new_tokens=36)
    assert backend.drafted["tokens"] == len(text) == 36
    assert 36 / (onnx_backend.DRAFT_TOKENS + 1) < backend.drafted["checks"] < 36 / 3


@FAST
def test_texts_of_a_batch_end_at_different_lengths(make):
    """What is finished is put away while the others are written: only then is that tested."""
    inputs, users = requests(45, 33)
    texts = make(student(1), threads=1).generate(inputs, users, max_new_tokens=36)
    assert texts == TorchBackend(student(1)).generate(inputs, users, max_new_tokens=36)
    lengths = set(map(len, texts))
    assert len(lengths) > 8 and {1, 36} <= lengths


@FAST
@pytest.mark.parametrize("placement", ["every_token", "user_token", "none"])
@pytest.mark.parametrize("scale", ["1", "1/sqrt(d)"])
def test_every_placement_of_the_user(placement, scale, make):
    model = student(3, placement=placement, scale=scale, scale_embedding=scale == "1")
    inputs, users = requests(5, 6)
    for tokens in inputs[::2]:
        tokens[1] = USER_TOKEN_ID
    fast = make(model, threads=1).generate(inputs, users, max_new_tokens=15)
    assert fast == TorchBackend(model).generate(inputs, users, max_new_tokens=15)
    others = make(model, threads=1).generate(inputs, (users + 1) % 4, max_new_tokens=15)
    assert (others == fast) == (placement == "none")


@FAST
@pytest.mark.parametrize(
    "asked",
    [
        {"forced_bos_token_id": 7, "forced_eos_token_id": 2},
        {"no_repeat_ngram_size": 2},
        {"no_repeat_ngram_size": 1},  # soon forbids all candidates that a step returns
        {"eos_token_id": [2, 9, 11, 30]},
        {"decoder_start_token_id": 5, "forced_eos_token_id": [8]},
    ],
)
def test_what_the_generation_config_asks_of_greedy_text(asked, make):
    model = student(11)
    model.generation_config.update(**asked)
    inputs, users = requests(2, 9)
    for shortest in (0, 14):
        lengths = {"max_new_tokens": 20, "min_new_tokens": shortest}
        wanted = TorchBackend(model).generate(inputs, users, **lengths)
        assert make(model, threads=1).generate(inputs, users, **lengths) == wanted


def test_int8_is_close_and_small(tmp_path):
    model = student(1, words=500)
    inputs, users = requests(0, 40)
    folders = {p: export_graphs(model, tmp_path / p, p) for p in ("float32", "int8")}
    told = {
        p: OnnxBackend.load(folder, threads=1).generate(inputs, users, max_new_tokens=3)
        for p, folder in folders.items()
    }
    same = [a[0] == b[0] for a, b in zip(told["float32"], told["int8"], strict=True)]
    assert np.mean(same) > 0.6  # of 500 words; weights this wild magnify every rounding
    weights = {p: (folder / "decoder.onnx").stat().st_size for p, folder in folders.items()}
    assert weights["int8"] < 0.6 * weights["float32"]


def test_what_greedy_decoding_cannot_do_goes_to_the_reference_or_is_refused(tmp_path):
    model = student(2)
    inputs, users = requests(3, 4)
    beams = {"max_new_tokens": 8, "num_beams": 3}
    fast = from_model(model, reference=TorchBackend(model))
    assert fast.generate(inputs, users, **beams) == TorchBackend(model).generate(
        inputs, users, **beams
    )
    assert fast.model is model
    alone = OnnxBackend.load(export_graphs(model, tmp_path / "x", "float32"))
    with pytest.raises(InputError, match="'onnx' decodes greedily and does not know num_beams"):
        alone.generate(inputs, users, **beams)
    with pytest.raises(InputError, match="an exported student has no torch module"):
        _ = alone.model
    with pytest.raises(InputError, match="max_new_tokens of 41 tokens: the student has 40"):
        alone.generate(inputs, users, max_new_tokens=41)
    with pytest.raises(InputError, match="an input of 43 tokens: the student has 40"):
        alone.generate([[5] * 43], users[:1], max_new_tokens=4)


@pytest.fixture(scope="module")
def folder(save_student, tmp_path_factory) -> Path:
    settings = StudentSettings("compact", "film", 3, 36, 10)
    return save_student(tmp_path_factory.mktemp("student"), ITEMS, settings)


ASKED = [
    {"history": ["f1", "Heat"], "item": "f3", "user_id": "ann"},
    {"history": [], "item": "A film nobody knows", "user_id": "zoe"},
    {"history": ["f4"], "item": "f2", "user_id": "bob"},
]


def test_backends_of_a_saved_student(folder):
    told = Explainer.load(folder, backend="torch", device="cpu").explain(ASKED)
    auto = Explainer.load(folder, device="cpu")
    assert auto.backend.name == "onnx" and auto.explain(ASKED) == told
    assert len(auto.explain(ASKED, num_beams=2)) == 3 and auto.model is not None
    for name in ("onnx-mixed", "onnx-int8"):
        assert Explainer.load(folder, backend=name).backend.name == name
    graph = Explainer.load(folder, backend="graph", device="cpu")
    assert graph.explain(ASKED) == told and len(graph.explain(ASKED, num_beams=2)) == 3
    half = Explainer.load(folder, device="cpu", dtype="bfloat16")
    assert half.backend.name == "torch" and half.model.dtype == torch.bfloat16
    assert len(half.explain(ASKED)) == 3
    with pytest.raises(InputError, match="dtype 'int8' is unknown"):
        Explainer.load(folder, dtype="int8")
    with pytest.raises(InputError, match="backend 'onx' is unknown: did you mean 'onnx'"):
        Explainer.load(folder, backend="onx")


def test_a_generation_config_that_only_generate_knows(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    stated = json.loads((tmp_path / "generation_config.json").read_text())
    (tmp_path / "generation_config.json").write_text(json.dumps(stated | {"repetition_penalty": 2}))
    assert Explainer.load(tmp_path, device="cpu").backend.name == "torch"
    with pytest.raises(InputError, match="repetition_penalty=2.* is not known to the fast"):
        Explainer.load(tmp_path, backend="onnx")


def test_a_backend_that_is_not_installed(folder, monkeypatch):
    monkeypatch.setattr("prism_utils.decoding.find_spec", lambda name: None)
    assert Explainer.load(folder, device="cpu").backend.name == "torch"
    with pytest.raises(InputError, match="'onnx' needs onnx and onnxruntime: pip install"):
        Explainer.load(folder, backend="onnx")


def test_an_exported_student_explains_without_torch(folder, tmp_path, capsys):
    out = tmp_path / "exported"
    main(["export", str(folder), str(out), "--precision", "float32"])
    assert "float32; load it with Explainer.load" in capsys.readouterr().out
    code = (
        "import json, sys\n"
        "from prism_utils.decoding import Explainer\n"
        f"explainer = Explainer.load({str(out)!r})\n"
        f"told = [e.text for e in explainer.explain({ASKED!r})]\n"
        "print(json.dumps([told, sorted({'torch', 'transformers'} & set(sys.modules))]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = [e.text for e in Explainer.load(folder, backend="torch").explain(ASKED)]
    assert json.loads(done.stdout) == [wanted, []]
    main(["start", str(out)])
    assert "imported: neither torch nor transformers" in capsys.readouterr().out
    with pytest.raises(InputError, match="exported for backend 'onnx', not 'torch'"):
        Explainer.load(out, backend="torch")
    UserTable(["ann", "bob", "carl"]).save(out)
    with pytest.raises(InputError, match="3 users, but the weights have 2"):
        Explainer.load(out)
    with pytest.raises(InputError, match="cannot be loaded: .*3 users, but the weights"):
        start(out)


def test_a_saved_student_says_that_it_takes_torch_along(folder):
    told = start(folder, runs=1)
    assert told["imported"] == ["torch", "transformers"]
    assert 0 < told["ready_s"] < told["answered_s"] and told["peak_bytes"] > 2**25


def test_a_process_that_ends_without_a_word_is_told_of(folder, tmp_path, monkeypatch):
    for code, says in (
        ("import os; os.kill(os.getpid(), 9)", "its process was killed .SIGKILL., perhaps for"),
        ("import os; os._exit(3)", "its process ended without a word .status 3."),
        ("import os; os._exit(0)", "its process ended without a word .status 0."),
        ("import sys; sys.exit('no room')", "cannot be loaded: .*no room"),
    ):
        # What Python runs before anything else; in the child alone.
        first = f"import sys\nif '-c' in sys.orig_argv: {code}\n"
        (tmp_path / "sitecustomize.py").write_text(first)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        with pytest.raises(InputError, match=says):
            main(["start", str(folder)])
    with pytest.raises(InputError, match="runs must be 1 or more, found 0"):
        start(folder, runs=0)


def test_places_that_an_export_cannot_be_written_to(folder, tmp_path, monkeypatch):
    """They are named before the work begins, and a disk that fills leaves nothing behind."""
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(TorchBackend, "load", lambda *a: pytest.fail("the work began"))
    for out in (tmp_path / "file", tmp_path / "file" / "x", folder, Path("/dev/null/x")):
        with pytest.raises(InputError, match="is not empty; name a new|cannot be written"):
            main(["export", str(folder), str(out)])
    monkeypatch.undo()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    with monkeypatch.context() as disk:
        disk.setattr("onnx.save", full)
        with pytest.raises(InputError, match="out: cannot be written .No space left.*; make room"):
            main(["export", str(folder), str(out)])
    assert not out.exists()
    out.mkdir()
    (out / "unfinished").touch()  # as a killed export leaves it
    (out / "encoder.onnx").write_bytes(b"half")
    main(["export", str(folder), str(out), "--precision", "float32"])
    assert not (out / "unfinished").exists()
    assert Explainer.load(out).explain(ASKED) == Explainer.load(folder).explain(ASKED)


def test_exports_that_cannot_be_are_named(folder, tmp_path):
    with pytest.raises(InputError, match="student.json: no such file"):
        export(tmp_path, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="full: is not empty"):
        export(folder, tmp_path / "full")
    with pytest.raises(InputError, match="precision 'int4' is unknown"):
        export(folder, tmp_path / "out", "int4")
    broken = export(folder, tmp_path / "broken", "int8")
    (broken / "decoder.onnx").unlink()
    with pytest.raises(InputError, match="decoder.onnx: no such file"):
        Explainer.load(broken)
    with pytest.raises(InputError, match="activation_function 'relu' is not gelu"):
        from_model(student(activation_function="relu"))
    narrow = PrismForConditionalGeneration(
        PrismConfig(vocab_size=60, d_model=16, decoder_attention_heads=4)
    )
    with pytest.raises(InputError, match="decoder heads of width 4; .* a multiple of 8"):
        from_model(narrow)
