"""Sizes, forced lengths and records of the benchmark; nothing here asserts a time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import BartForConditionalGeneration, T5ForConditionalGeneration

from prism_utils import efficiency
from prism_utils.efficiency import (
    CONFIGURATIONS,
    Timer,
    benchmark,
    build,
    generate,
    main,
    make_inputs,
    measure,
    parameter_count,
    peak_memory,
    user_table_parameters,
)

TINY_BART = efficiency._bart(1, 16, 2, 60, 64)
TINY_T5 = efficiency._t5(1, 16, 2, 24)


@pytest.fixture
def tiny(monkeypatch):
    """Two tiny shapes under names of their own."""
    monkeypatch.setitem(CONFIGURATIONS, "tiny-bart", lambda: TINY_BART)
    monkeypatch.setitem(CONFIGURATIONS, "tiny-t5", lambda: TINY_T5)
    return {name: build(name) for name in ("tiny-bart", "tiny-t5")}


@pytest.mark.parametrize(
    ("name", "tied", "millions"),
    [
        ("bart-base", True, 139.420416),
        ("flan-t5-small", False, 76.961152),  # untied: as published
        ("flan-t5-base", False, 247.577856),
        ("flan-t5-large", False, 783.150080),
        ("flan-t5-xl", False, 2849.757184),
        ("flan-t5-xxl", False, 11135.332352),
        ("flan-t5-xxl", True, 11003.736064),
    ],
)
def test_public_sizes(name, tied, millions):
    assert parameter_count(name, tied=tied) == round(millions * 1e6)


def test_counting_allocates_nothing():
    """11 billion parameters would take 41 GiB; the peak of this process must not notice."""
    before = efficiency._memory("cpu", peak=True)
    parameter_count("flan-t5-xxl")
    assert efficiency._memory("cpu", peak=True) - before < 200 * 2**20


def test_bfloat16_weights_of_the_teacher_are_the_published_gibibytes():
    sizes = [2 * parameter_count("flan-t5-xxl", tied=t) / efficiency.GIB for t in (True, False)]
    assert [round(size, 2) for size in sizes] == [20.50, 20.74]


def test_tied_and_untied_differ_by_one_matrix(tiny):
    bart, t5 = tiny.values()
    for model, config in ((bart, TINY_BART), (t5, TINY_T5)):
        untied, tied = (parameter_count(model, tied=t) for t in (False, True))
        assert untied - tied == config.vocab_size * config.d_model
        assert parameter_count(model) in (tied, untied)


def test_user_tables_have_the_sizes_of_the_papers_data_sets():
    assert user_table_parameters(6_040) == 6_041 * 768
    assert user_table_parameters(1_987_929) / 1e9 == pytest.approx(1.527, abs=1e-3)


def test_models_are_built_in_the_asked_precision_and_repeat(tiny):
    half = build("tiny-t5", dtype="bfloat16")
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32
    assert isinstance(half, T5ForConditionalGeneration) and not half.training
    assert isinstance(tiny["tiny-bart"], BartForConditionalGeneration)
    again = build("tiny-bart").state_dict()
    assert all(torch.equal(v, again[k]) for k, v in tiny["tiny-bart"].state_dict().items())


def test_inputs_are_shared_and_outputs_have_the_forced_length(tiny):
    inputs = make_inputs(tiny, input_tokens=7, batch_size=3, seed=1)
    assert inputs.shape == (3, 7)
    assert 10 <= inputs.min() and inputs.max() < 60  # the smaller vocabulary's ids
    for model in tiny.values():
        assert generate(model, inputs, 5).shape == (3, 6)


def test_measure_times_every_model_in_every_round(tiny):
    records = measure(tiny, input_tokens=4, output_tokens=3, batch_size=2, repeats=3)
    assert [r["model"] for r in records] == list(tiny)
    for record in records:
        assert len(record["seconds"]) == 3
        assert record["p5_s"] <= record["median_s"] <= record["p95_s"]
        assert record["tokens_per_s"] == pytest.approx(3 * record["explanations_per_s"])
    hurried = measure(tiny, input_tokens=4, output_tokens=3, repeats=50, max_seconds=0)
    assert [len(r["seconds"]) for r in hurried] == [1, 1]


@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "batch_size", "repeats"])
def test_measure_names_the_wrong_parameter(tiny, name):
    with pytest.raises(ValueError, match=f"{name}: must be at least 1, got 0"):
        measure(tiny, **{name: 0})


def test_a_running_timer_cannot_be_read():
    with Timer() as timer, pytest.raises(RuntimeError, match="has not finished"):
        _ = timer.seconds
    assert timer.seconds >= 0


def test_checkpoint_folders_give_their_shape(tmp_path, tiny):
    tiny["tiny-bart"].save_pretrained(tmp_path)
    folder = str(tmp_path)
    assert parameter_count(folder) == parameter_count(tiny["tiny-bart"])
    peak = peak_memory(folder, input_tokens=4, output_tokens=3)  # in a process of its own
    assert peak["weight_bytes"] == 4 * parameter_count(folder)
    assert peak["peak_bytes"] >= peak["weight_bytes"]
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["Other"]}))
    with pytest.raises(ValueError, match="no class 'Other' in transformers; --import"):
        build(folder)


def test_the_students_class_comes_from_an_import(tmp_path):
    from prism_utils.students.prism import PrismConfig, PrismForConditionalGeneration

    config = PrismConfig(num_users=3, **_plain(TINY_BART))
    PrismForConditionalGeneration(config).save_pretrained(tmp_path)
    model = build(str(tmp_path), imports=["prism_utils.students.prism"])
    assert isinstance(model, PrismForConditionalGeneration)
    assert parameter_count(model) - parameter_count(build_like(TINY_BART)) == (3 + 1) * 16
    assert generate(model, make_inputs({"p": model}, input_tokens=4), 3).shape == (1, 4)


def _plain(config):
    names = ("vocab_size", "d_model", "max_position_embeddings", "encoder_layers")
    names += ("decoder_layers", "encoder_attention_heads", "decoder_attention_heads")
    names += ("encoder_ffn_dim", "decoder_ffn_dim")
    return {name: getattr(config, name) for name in names}


def build_like(config):
    with torch.device("meta"):
        return BartForConditionalGeneration(config)


def test_a_record_says_what_was_measured_where(tiny, monkeypatch, tmp_path):
    fake = {"peak_bytes": 2, "weight_bytes": 1}
    monkeypatch.setattr(efficiency, "peak_memory", lambda *a, **k: fake)
    out = tmp_path / "records" / "cpu.json"
    sizes = ["--input-tokens", "4", "--output-tokens", "3", "--repeats", "2", "--device", "cpu"]
    assert main(["--models", "tiny-bart", "tiny-t5", *sizes, "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert set(record) == {
        "kind", "date", "commit", "device", "threads", "versions", "settings", "models", "timings",
    }  # fmt: skip
    assert [(t["model"], t["batch_size"]) for t in record["timings"]] == [
        ("tiny-bart", 1), ("tiny-t5", 1), ("tiny-bart", 8), ("tiny-t5", 8),
    ]  # fmt: skip
    assert record["models"][1]["shape"] == {"vocab_size": 32128, "d_model": 16, "num_layers": 1}
    assert record["settings"]["weights"] == "random"


def test_an_unknown_model_is_one_sentence(capsys):
    assert main(["--models", "flan-t5-huge", "--device", "cpu"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: model 'flan-t5-huge' is neither") and "flan-t5-xxl" in printed
    with pytest.raises(ValueError, match="neither"):
        benchmark(["nothing"])


def test_it_needs_torch_and_transformers_alone():
    """On a bare GPU machine there is no pandas: importing it must not be tried."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pandas', 'pyarrow', 'statsmodels']))\n"
        "from prism_utils import efficiency; print(efficiency.parameter_count('bart-base'))"
    )
    root = str(Path(efficiency.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.stdout.strip() == "139420416", done.stderr
