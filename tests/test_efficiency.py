"""Sizes, forced lengths, grids and records of the benchmark; nothing here asserts a time."""

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BartForConditionalGeneration, T5ForConditionalGeneration

from prism_utils import efficiency
from prism_utils.efficiency import (
    BACKENDS,
    CONFIGURATIONS,
    REFERENCE,
    Cell,
    against_floors,
    axes,
    build,
    crossed,
    devices,
    distillation,
    distilling,
    generate,
    grid,
    make_inputs,
    measure,
    memory,
    models,
    parameter_count,
    peak_memory,
    ratios,
    run_grid,
    user_table_parameters,
)
from prism_utils.efficiency import __main__ as program
from prism_utils.efficiency import (
    record as records,
)
from prism_utils.efficiency.grids import cell_of
from prism_utils.efficiency.roofline import Peak, shape_of, steps
from prism_utils.efficiency.timing import Backed

TINY_BART = models._bart(1, 16, 2, 60, 64)
TINY_T5 = models._t5(1, 16, 2, 24)
TINY_LLAMA = models._llama(1, 16, 2, 1, 24, 60)


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
        ("bart-large", True, 406.291456),
        ("llama-3-8b", False, 8030.261248),
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
    before = devices.memory("cpu", peak=True)
    parameter_count("flan-t5-xxl")
    assert devices.memory("cpu", peak=True) - before < 200 * 2**20


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
        assert generate(model, inputs, 5).shape == (3, 5)


def test_a_decoder_only_model_gives_its_new_tokens_alone(monkeypatch):
    monkeypatch.setitem(CONFIGURATIONS, "tiny-llama", lambda: TINY_LLAMA)
    model = build("tiny-llama")
    inputs = make_inputs({"x": model}, input_tokens=7, batch_size=2)
    new = generate(model, inputs, 3)
    assert new.shape == (2, 3)
    with torch.inference_mode():  # the likeliest next token after the whole prompt, by hand
        assert torch.equal(new[:, 0], model(inputs).logits[:, -1].argmax(-1))


def test_decoding_is_cached_whatever_a_folder_says(tiny):
    """A trained checkpoint says use_cache=False, and would be decoded from the start each time."""
    model = tiny["tiny-bart"]
    model.config.use_cache = model.generation_config.use_cache = False
    read = []
    hook = model.model.decoder.embed_tokens.register_forward_hook(
        lambda module, ids, out: read.append(ids[0].shape[1])
    )
    generate(model, make_inputs(tiny, input_tokens=4), 3)
    hook.remove()
    assert read[-3:] == [1, 1, 1]


def test_padding_changes_no_answer(monkeypatch):
    """Behind an encoder's input, before a decoder-only model's prompt."""
    for name, config in (("tiny-t5", TINY_T5), ("tiny-llama", TINY_LLAMA)):
        monkeypatch.setitem(CONFIGURATIONS, name, lambda config=config: config)
        model = build(name)
        ids = make_inputs({"x": model}, input_tokens=5)
        side = (0, 3) if config.is_encoder_decoder else (3, 0)
        padded = torch.nn.functional.pad(ids, side, value=11)
        mask = torch.nn.functional.pad(torch.ones_like(ids), side)
        assert torch.equal(generate(model, padded, 4, mask=mask), generate(model, ids, 4)), name


def test_measure_times_every_model_in_every_round(tiny):
    records = measure(tiny, input_tokens=4, output_tokens=3, batch_size=2, repeats=3)
    assert [r["model"] for r in records] == list(tiny)
    for record in records:
        assert len(record["seconds"]) == 3
        assert record["p5_s"] <= record["median_s"] <= record["p95_s"]
        assert record["tokens_per_s"] == pytest.approx(3 * record["explanations_per_s"])
        assert 0 < record["first_s"] <= record["p95_s"]
    hurried = measure(tiny, input_tokens=4, output_tokens=3, repeats=50, least=2, max_seconds=0)
    assert [len(r["seconds"]) for r in hurried] == [2, 2]


@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "batch_size", "repeats"])
def test_measure_names_the_wrong_parameter(tiny, name):
    with pytest.raises(ValueError, match=f"{name}: must be at least 1, got 0"):
        measure(tiny, **{name: 0})


def test_inputs_longer_than_a_model_reads_are_refused(tiny):
    with pytest.raises(ValueError, match="tiny-bart has 64 positions"):
        measure(tiny, input_tokens=65)


def test_checkpoint_folders_give_their_shape(tmp_path, tiny):
    tiny["tiny-bart"].save_pretrained(tmp_path)
    folder = str(tmp_path)
    assert parameter_count(folder) == parameter_count(tiny["tiny-bart"])
    peak = peak_memory(folder, input_tokens=4, output_tokens=3)  # in a process of its own
    assert peak["weight_bytes"] == 4 * parameter_count(folder)
    assert peak["cache_bytes"] == (4 + 3) * 2 * 16 * 4
    parts = ("weight_bytes", "cache_bytes", "activation_bytes")
    assert peak["peak_bytes"] == sum(peak[part] for part in parts)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["Other"]}))
    with pytest.raises(ValueError, match="no class 'Other' in transformers; --import"):
        build(folder)


def test_peaks_are_rows_by_name_and_folders_alone_bring_imports(tmp_path, monkeypatch):
    asked = []

    def peak_memory(spec, **settings):
        asked.append((spec, settings))
        return {"peak_bytes": len(spec)}

    monkeypatch.setattr(memory, "peak_memory", peak_memory)
    found = efficiency.peaks({"a": str(tmp_path), "b": "bart"}, imports=["m"], seed=1)
    assert found == [
        {"model": "a", "peak_bytes": len(str(tmp_path))}, {"model": "b", "peak_bytes": 4},
    ]  # fmt: skip
    assert sorted(asked, key=lambda one: one[0] == "bart") == [
        (str(tmp_path), {"device": "cpu", "imports": ["m"], "seed": 1}),
        ("bart", {"device": "cpu", "imports": (), "seed": 1}),
    ]


def test_the_students_class_comes_from_an_import(tmp_path):
    from prism_utils.students.prism import PrismConfig, PrismForConditionalGeneration

    config = PrismConfig(num_users=3, **_plain(TINY_BART))
    PrismForConditionalGeneration(config).save_pretrained(tmp_path)
    model = build(str(tmp_path), imports=["prism_utils.students.prism"])
    assert isinstance(model, PrismForConditionalGeneration)
    assert parameter_count(model) - parameter_count(build_like(TINY_BART)) == (3 + 1) * 16
    assert generate(model, make_inputs({"p": model}, input_tokens=4), 3).shape == (1, 3)


def _plain(config):
    names = ("vocab_size", "d_model", "max_position_embeddings", "encoder_layers")
    names += ("decoder_layers", "encoder_attention_heads", "decoder_attention_heads")
    names += ("encoder_ffn_dim", "decoder_ffn_dim")
    return {name: getattr(config, name) for name in names}


def build_like(config):
    with torch.device("meta"):
        return BartForConditionalGeneration(config)


# ---------------------------------------------------------------- grids and records


def test_grids_have_the_cells_of_the_plan():
    paper = grid("paper")
    for model, dtype, count in (
        ("flan-t5-xxl", "bfloat16", 36),
        ("bart-base", "bfloat16", 36),
        ("bart-base", "float32", 8),
        ("bart-large", "bfloat16", 8),
        ("llama-3-8b", "bfloat16", 8),
    ):
        assert sum((c.model, c.dtype) == (model, dtype) for c in paper) == count
    assert {c.model for c in paper} == set(CONFIGURATIONS)
    cpu = grid("cpu", ["generate", "onnx-int8"])
    assert sum(c.variant == ("bart-base", "float32", "generate") for c in cpu) == 27
    assert sum(c.variant == ("bart-base", "float32", "onnx-int8") for c in cpu) == 7
    assert sum(c.variant == ("flan-t5-large", "float32", "generate") for c in cpu) == 7
    assert max(c.batch_size for c in cpu) == 32
    for cells in (paper, cpu):
        assert len(set(cells)) == len(cells) and cells[0].setting == REFERENCE
    assert {c.backend for c in grid("cpu", ["onnx-int8"])} == {"onnx-int8"}
    with pytest.raises(ValueError, match="grid 'huge' is unknown"):
        grid("huge")


def test_an_axis_varies_one_thing():
    cells = axes(["m"], (1, 8), (128, 256), (20, 40))
    assert [c.setting for c in cells] == [(1, 128, 40), (1, 256, 20), (1, 256, 40), (8, 256, 40)]


@pytest.fixture
def quick(monkeypatch, tiny):
    """No probe of the device and no second process: both have their own tests."""
    fake = {"peak_bytes": 6, "weight_bytes": 1, "cache_bytes": 2, "activation_bytes": 3}
    monkeypatch.setattr(records, "peak_memory", lambda *a, **k: fake)
    monkeypatch.setattr(devices, "probe", lambda *a: Peak(1e12, 1e10, "made up"))
    return crossed(["tiny-bart", "tiny-t5"], (1, 2), (4,), (3,))


def test_a_record_says_what_was_measured_where(quick, tmp_path):
    out = tmp_path / "records" / "cpu.json"
    run_grid(quick, out=out, repeats=4, seconds=0)
    record = json.loads(out.read_text())
    assert set(record) == {
        "kind", "date", "commit", "device", "gpu", "threads", "wait_policy", "versions", "settings",
        "peaks", "models", "cells", "left_out", "distillation",
    }  # fmt: skip
    assert [cell_of(row) for row in record["cells"]] == quick
    assert [row["rounds"] for row in record["cells"]] == [3] * 4  # at least three
    assert record["cells"][0]["beside"] == ["tiny-t5 float32 generate"]
    assert record["settings"]["weights"] == "random"
    t5 = record["models"][1]
    assert t5["configuration"]["vocab_size"] == 32128 and t5["configuration"]["d_model"] == 16
    assert t5["parameters"] in (t5["parameters_tied"], t5["parameters_untied"])
    assert [p.name for p in out.parent.iterdir()] == ["cpu.json"]  # nothing partial is left


def test_a_second_run_measures_only_what_is_missing(quick, tmp_path, monkeypatch):
    out = tmp_path / "cpu.json"
    first = run_grid(quick[:2], out=out, repeats=3)
    asked = []
    real = records.measure
    monkeypatch.setattr(
        records, "measure", lambda m, **k: asked.append(k["batch_size"]) or real(m, **k)
    )
    second = run_grid(quick, out=out, repeats=3)
    assert asked == [2]
    assert second["cells"][:2] == first["cells"] and len(second["cells"]) == 4
    run_grid(quick, out=out, repeats=3)
    assert asked == [2]


def test_an_interrupted_run_keeps_its_finished_cells(quick, tmp_path, monkeypatch):
    out = tmp_path / "cpu.json"
    real = records.measure

    def stops(models, **given):
        if given["batch_size"] == 2:
            raise KeyboardInterrupt
        return real(models, **given)

    monkeypatch.setattr(records, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        run_grid(quick, out=out, repeats=3)
    kept = json.loads(out.read_text())["cells"]
    assert [row["batch_size"] for row in kept] == [1, 1]


@pytest.mark.parametrize("key", ["device", "versions", "threads", "settings", "kind"])
def test_a_record_of_elsewhere_is_refused(quick, tmp_path, key):
    out = tmp_path / "cpu.json"
    record = run_grid(quick[:1], out=out, repeats=3)
    out.write_text(json.dumps(record | {key: "another"}))
    with pytest.raises(ValueError, match=f"cpu.json: its {key} is 'another'.*another --out"):
        run_grid(quick, out=out, repeats=3)
    out.write_text("{")
    with pytest.raises(ValueError, match="not readable JSON"):
        run_grid(quick, out=out, repeats=3)


def test_models_that_do_not_fit_together_follow_each_other(quick, tmp_path, monkeypatch):
    sizes = list(records._needs(quick, {}, ()).values())[2:]
    weights = [4 * parameter_count(name) for name in ("tiny-bart", "tiny-t5")]
    assert all(size > weight for size, weight in zip(sizes, weights, strict=True))  # and caches
    monkeypatch.setattr(devices, "room", lambda device: max(sizes))
    record = run_grid(quick, repeats=3)
    assert [row["model"] for row in record["cells"]] == ["tiny-t5"] * 2 + ["tiny-bart"] * 2
    assert all(row["beside"] == [] for row in record["cells"])
    monkeypatch.setattr(devices, "room", lambda device: min(sizes))
    record = run_grid(quick, repeats=3)
    assert {row["model"] for row in record["cells"]} == {"tiny-bart"}
    assert {row["model"] for row in record["left_out"]} == {"tiny-t5"}
    assert "there is room for 0.0" in record["left_out"][0]["reason"]


def test_the_pair_of_the_whole_grid_shares_a_group():
    """Of an 80 GiB card; all together would need more for their largest caches."""
    needs = records._needs(grid("paper"), {}, ())
    together = next(
        {cell.model for cell in group}
        for group in records._groups(needs, 63 * efficiency.GIB)
        if "flan-t5-xxl" in {cell.model for cell in group}
    )
    assert "bart-base" in together and "llama-3-8b" not in together
    assert max(needs.values()) > 2 * parameter_count("flan-t5-xxl")  # with its caches


def test_cells_without_memory_or_time_are_left_out_by_name(quick, tmp_path, monkeypatch):
    real = records.measure

    def crowded(models, **given):
        if any(name.startswith("tiny-t5") for name in models):
            raise torch.cuda.OutOfMemoryError("made up")
        return real(models, **given)

    monkeypatch.setattr(records, "measure", crowded)
    record = run_grid(quick, repeats=3)
    assert [row["model"] for row in record["cells"]] == ["tiny-bart", "tiny-bart"]
    assert {(row["model"], row["reason"]) for row in record["left_out"]} == {
        ("tiny-t5", "out of memory")
    }


def reference(model="tiny-bart", dtype="float32", seconds=10.0):
    return {"model": model, "batch_size": 1, "input_tokens": 256, "output_tokens": 40,
            "dtype": dtype, "backend": "generate", "median_s": seconds}  # fmt: skip


def test_slow_cells_are_foreseen(tiny):
    peaks = {d: {"operations_per_s": 1e12, "bytes_per_s": 1e10, "source": "x"}
             for d in ("float32", "bfloat16")}  # fmt: skip
    record = {
        "cells": [reference()],
        "models": [efficiency.facts("tiny-bart", tiny["tiny-bart"])],
        "peaks": peaks,
        "settings": {"longest": 15.0},
    }
    long = Cell("tiny-bart", 1, 256, 80)
    reason = records._reason(long, record, "cpu")
    assert reason.startswith("one generation would take about ") and "more than 15 s" in reason
    assert records._reason(Cell("tiny-bart", 1, 128, 40), record, "cpu") is None
    assert records._reason(Cell("tiny-t5", 1, 256, 80), record, "cpu") is None  # not known
    # The slowest cell measured so far is the measure: here it shows that batches are cheap.
    batch = Cell("tiny-bart", 32, 256, 40)
    assert "would take about" in records._reason(batch, record, "cpu")
    record["cells"].append(reference(seconds=11.0) | {"batch_size": 8})
    assert "would take about" in records._reason(batch, record, "cpu")
    record["cells"][-1] |= {"batch_size": 31}
    assert records._reason(batch, record, "cpu") is None

    half = Cell("tiny-bart", 1, 256, 20, "bfloat16")
    record["cells"].append(reference(dtype="bfloat16", seconds=20.0))
    assert "takes 2.00 times as long as float32" in records._reason(half, record, "cpu")
    assert records._reason(half, record, "cuda") is None
    record["cells"][-1]["median_s"] = 5.0
    assert records._reason(half, record, "cpu") is None


class Echo:
    """A backend that answers with the first tokens of its input."""

    def __init__(self, model, keep=None):
        self.keep = keep

    def generate(self, inputs, users, *, max_new_tokens, min_new_tokens):
        assert users.dtype == np.int64 and users.tolist() == [0] * len(inputs)
        assert max_new_tokens == min_new_tokens
        return [row[: self.keep or max_new_tokens] for row in inputs]


def test_another_backend_is_a_column(quick, monkeypatch):
    monkeypatch.setitem(BACKENDS, "echo", Echo)
    cells = crossed(["tiny-bart"], (2,), (4,), (3,), backend="echo") + quick[2:]
    record = run_grid(cells, repeats=3)
    assert [(r["model"], r["backend"]) for r in record["cells"]] == [
        ("tiny-bart", "echo"), ("tiny-bart", "generate"), ("tiny-t5", "generate"),
    ]  # fmt: skip
    assert record["cells"][0]["first_s"] is None
    backed = Backed(TINY_BART, "cpu", Echo(None, keep=2))
    with pytest.raises(RuntimeError, match="asked for 3 tokens, got 2"):
        generate(backed, torch.ones(1, 4, dtype=torch.long), 3)
    with pytest.raises(ValueError, match="backend 'fast' is none of: generate, onnx"):
        run_grid([Cell("tiny-bart", 1, 4, 3, backend="fast")])
    with pytest.raises(ValueError, match="dtype 'int4' is none of"):
        run_grid([Cell("tiny-bart", 1, 4, 3, dtype="int4")])


def test_the_fast_backends_take_their_turns_beside_generate(tiny):
    model = tiny["tiny-bart"]
    names = [*efficiency.installed("cpu"), "graph"]
    assert names == ["generate", "onnx", "onnx-mixed", "onnx-int8", "graph"]
    ways = {name: efficiency.backed(model, name) for name in names}
    inputs = make_inputs(ways, input_tokens=9, batch_size=3)
    wanted = generate(model, inputs, 6).tolist()
    assert all(generate(ways[n], inputs, 6).tolist() == wanted for n in ("onnx", "graph"))
    rows = measure(ways, input_tokens=9, output_tokens=6, batch_size=3, repeats=2)
    assert [row["model"] for row in rows] == names and all(row["median_s"] > 0 for row in rows)


def test_a_backend_that_is_not_installed_is_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "prism_utils.decoding.export", None)
    with pytest.raises(ValueError, match="prism_utils.decoding.export cannot be imported"):
        BACKENDS["onnx-int8"](None)


def test_prebuilt_models_keep_their_weights_and_name(quick, tiny):
    record = run_grid([Cell("student", 1, 4, 3)], ready={"student": tiny["tiny-bart"]}, repeats=3)
    assert record["cells"][0]["model"] == record["models"][0]["model"] == "student"
    assert "peak_bytes" not in record["cells"][0]  # another process could not build it


def test_the_program_writes_into_a_folder(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "grid", lambda name, backends: quick)
    sizes = ["--grid", "small", "--repeats", "3", "--device", "cpu"]
    assert program.main([*sizes, "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    assert path == efficiency.record_path(tmp_path) and path.name.startswith("efficiency-")
    assert "4 cells measured, 0 left out" in capsys.readouterr().out
    assert program.main([*sizes, "--models", "tiny-t5", "--out", str(tmp_path / "one.json")]) == 0
    record = json.loads((tmp_path / "one.json").read_text())
    assert {row["model"] for row in record["cells"]} == {"tiny-t5"}


def test_an_unknown_model_is_one_sentence(capsys, tmp_path):
    out = ["--out", str(tmp_path)]
    assert program.main(["--models", "flan-t5-huge", "--device", "cpu", *out]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: model 'flan-t5-huge' is neither") and "flan-t5-xxl" in printed


def test_cells_stand_against_their_floors(quick, tiny):
    record = run_grid(quick, repeats=3)
    rows = against_floors(record)
    assert len(rows) == 4
    for row, cell in zip(rows, record["cells"], strict=True):
        assert row["times_floor"] == pytest.approx(cell["median_s"] / row["floor_s"])
        assert row["first_s"] + row["rest_s"] == pytest.approx(cell["median_s"])
    shape = shape_of(TINY_BART)
    work = steps(shape, 2, 4, 3, 4)
    assert rows[2]["operations"] == sum(step.operations for step in work)
    record["cells"][0]["backend"] = "onnx-int8"
    assert len(against_floors(record)) == 3


def test_ratios_pair_equal_settings():
    def cell(model, batch, median, backend="generate"):
        return {"model": model, "batch_size": batch, "input_tokens": 4, "output_tokens": 3,
                "dtype": "float32", "backend": backend, "median_s": median,
                "p5_s": median / 2, "p95_s": 2 * median}  # fmt: skip

    rows = [cell("big", 1, 6.0), cell("big", 8, 6.0), cell("small", 1, 2.0)]
    rows.append(cell("small", 1, 0.1, backend="other"))
    (found,) = ratios(rows, "big", "small")
    assert (found["batch_size"], found["value"], found["low"], found["high"]) == (1, 3, 0.75, 12)


def test_distillation_counts_padding_and_every_prompt(tiny):
    lengths = [2, 8, 2, 8, 2, 8]
    rows = distillation("t", tiny["tiny-t5"], lengths, output_tokens=2, batch_size=2, one_by_one=4)
    assert [(r["explanations"], r["batch_size"]) for r in rows] == [(4, 1), (6, 2), (6, 2)]
    assert [r["padding"] for r in rows] == pytest.approx([0, 1 - 30 / 48, 1 - 30 / 36])
    for row in rows:
        assert row["explanations_per_s"] == pytest.approx(row["explanations"] / row["seconds"])
    with pytest.raises(ValueError, match="no prompt"):
        distillation("t", tiny["tiny-t5"], [])
    lengths = efficiency.prompt_lengths(500)
    assert lengths == efficiency.prompt_lengths(500) and 64 <= min(lengths) < max(lengths) <= 512


def test_a_grid_times_distillation_once(tmp_path, monkeypatch, tiny):
    monkeypatch.setattr(program, "_TEACHERS", {"cpu": (("tiny-t5",), 3)})
    monkeypatch.setattr(program, "prompt_lengths", lambda samples: [3] * samples)
    record = {"distillation": []}
    for _ in range(2):
        program._time_distillation(record, "cpu", "cpu", tmp_path / "r.json", lambda line: None)
    assert [row["way"].split()[0] for row in record["distillation"]] == ["one", "batches,"] + [
        "batches,"
    ]
    assert json.loads((tmp_path / "r.json").read_text()) == record


def test_vllm_is_used_where_it_is(monkeypatch):
    monkeypatch.setitem(CONFIGURATIONS, "tiny-llama", lambda: TINY_LLAMA)
    monkeypatch.setattr(distilling.importlib.util, "find_spec", lambda name: None)
    assert efficiency.vllm_distillation("tiny-llama", [4, 6]) == []

    class LLM:
        def __init__(self, model, **options):
            assert options["load_format"] == "dummy" and options["max_model_len"] == 6 + 3
            config = json.loads((Path(model) / "config.json").read_text())
            assert config["architectures"] == ["LlamaForCausalLM"]

        def generate(self, prompts, sampling):
            assert sampling["min_tokens"] == sampling["max_tokens"] == 3
            assert all(10 <= i < 60 for p in prompts for i in p["prompt_token_ids"])

    fake = types.SimpleNamespace(LLM=LLM, SamplingParams=dict, __version__="9")
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setattr(distilling.importlib.util, "find_spec", lambda name: object())
    (row,) = efficiency.vllm_distillation("tiny-llama", [4, 6], output_tokens=3)
    assert row["way"] == "vLLM 9" and row["explanations"] == 2


def test_the_program_sets_the_wait_policy_before_torch():
    """Read when torch is loaded: a record made by the program says what it ran with."""
    code = (
        "import os, sys; sys.argv[0] = '-m'  # as Python has it while it looks a module up\n"
        "import prism_utils.efficiency; print(os.environ['OMP_WAIT_POLICY'])"
    )
    kept = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=kept)
    assert done.stdout.splitlines()[-1] == "PASSIVE", done.stderr


def test_it_needs_torch_and_transformers_alone():
    """On a bare GPU machine there is no pandas: importing it must not be tried."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pandas', 'pyarrow', 'statsmodels']))\n"
        "from prism_utils import efficiency; print(efficiency.parameter_count('bart-base'))"
    )
    root = str(Path(efficiency.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.stdout.strip() == "139420416", done.stderr


def test_a_record_that_cannot_be_written_is_said_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "run_grid", None)
    (tmp_path / "x.json").mkdir()
    for out, says in (
        (tmp_path / "x.json", "it is a folder"),
        (Path(__file__) / "x.json", "is no folder"),
    ):
        assert program.main(["--grid", "small", "--device", "cpu", "--out", str(out)]) == 2
        assert says in capsys.readouterr().err
