"""What chapters show of records: the right cells, units in heads, and sentences that are true."""

from __future__ import annotations

import json
from dataclasses import asdict

import pandas as pd
import pytest

from prism_utils.efficiency import REFERENCE, models, summary
from prism_utils.efficiency.roofline import Peak, fleet, floors, shape_of, steps

SHAPE = shape_of(models._bart(1, 16, 2, 60, 64))
PEAK = Peak(1e9, 1e9, "made up")


def cell(model, median, batch=1, backend="generate", lengths=REFERENCE[1:], **more):
    inputs, outputs = lengths
    return {
        "model": model, "batch_size": batch, "input_tokens": inputs, "output_tokens": outputs,
        "dtype": "float32", "backend": backend, "median_s": median, "p5_s": 0.8 * median,
        "p95_s": 1.25 * median, "first_s": median / 4, "joules": None, **more,
    }  # fmt: skip


def record(cells, sizes, gpu=False):
    return {
        "device": "a device", "gpu": gpu, "wait_policy": None, "versions": {"torch": "9"},
        "commit": "abc", "date": "2030-01-02T03:04:05", "cells": cells, "distillation": [],
        "models": [{"model": m, "parameters": n, "work": asdict(SHAPE)} for m, n in sizes.items()],
        "left_out": [{"reason": "too slow"}, {"reason": "too large"}, {"reason": "too slow"}],
        "peaks": {"float32": asdict(PEAK)},
    }  # fmt: skip


SIZES = {"bart-base": 140, "quick-student": 1, "flan-t5-large": 800}
CPU = record(
    [
        cell("bart-base", 1.0, peak_bytes=4 * 2**20, weight_bytes=2 * 2**20, cache_bytes=2**20,
             activation_bytes=2**20),
        cell("bart-base", 0.25, backend="onnx"),
        cell("flan-t5-large", 4.0),
        cell("flan-t5-large", 5.0, batch=8),
        cell("bart-base", 2.0, batch=8),
        cell("bart-base", 9.0, lengths=(128, 20)),
    ],
    SIZES,
)  # fmt: skip


def test_records_are_named_by_what_their_pattern_leaves_open(tmp_path):
    for name in ("grid-b", "grid-a", "other-c"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"is": name}))
    assert list(summary.load(tmp_path, "grid-*.json").items()) == [
        ("a", {"is": "grid-a"}),
        ("b", {"is": "grid-b"}),
    ]


def test_a_record_says_what_it_was_made_on_and_whether_there_is_a_gpu():
    said = summary.described({"cpu": CPU})
    assert said["cpu"] == (
        "a device; wait policy not set; torch 9; commit abc, 2030-01-02; 6 cells of bart-base, "
        "quick-student, flan-t5-large. 2 left out: too slow; 1 left out: too large"
    )
    assert "no record" in said["A GPU"]
    assert list(summary.described({"gpu": CPU | {"gpu": True}})) == ["gpu"]


def test_the_reference_is_shown_if_it_was_timed_else_the_first():
    timed = pd.DataFrame([cell("m", 1.0, lengths=(8, 4)), cell("m", 1.0)])
    assert tuple(summary.shown_lengths(timed).values()) == REFERENCE[1:]
    shown = summary.shown_lengths(timed.head(1))
    assert shown == {"input_tokens": 8, "output_tokens": 4}
    assert [type(n) for n in shown.values()] == [int, int]  # prose cites them as they are
    assert summary.at_lengths(timed, shown).index.tolist() == [0]
    heads = summary.grid_table(timed.assign(explanations_per_s=1.0, rounds=3)).columns
    assert "median (s)" in heads and not [head for head in heads if "_" in head]


@pytest.mark.parametrize(
    ("drawn", "says"),
    [([1.0, 1.2, 0.9], "no difference is shown"), ([2.0, 2.2, 1.9], "differ by more")],
)
def test_random_weights_are_held_against_trained_ones(drawn, says):
    said = summary.same_time([1.0, 1.0, 1.0, 9.0], drawn)
    assert "3 rounds" in said and f"median {sorted(drawn)[1]:.3f}" in said and says in said


def test_the_papers_models_are_compared_where_they_were_measured():
    assert summary.duel(CPU) == ("flan-t5-large", "bart-base")
    assert summary.duel(CPU, papers=False) == ("flan-t5-large", "quick-student")
    both = record([], SIZES | {"flan-t5-xxl": 11, "giant": 9999})
    assert summary.duel(both) == ("flan-t5-xxl", "bart-base")


def test_speed_ratios_say_where_the_printed_one_lies():
    alone = record([cell("m", 1.0)], {"m": 1})
    across, said = summary.speed_ratios({"this run": alone, "cpu": CPU}, 4.5)
    assert list(said) == ["cpu"]  # one model has no ratio
    assert across["source"].tolist() == ["cpu", "cpu"]
    assert across["value"].tolist() == [4.0, 2.5]
    assert said["cpu"] == (
        "flan-t5-large over bart-base, 2.5 (batch 8, 256 in, 40 out) to 4.0 (batch 1, 256 in, 40 "
        "out) over 2 settings. 4.5 lies between low and high in 1 of them: batch 1, 256 in, 40 "
        "out, float32."
    )


def test_memory_stands_in_its_parts_where_it_was_measured():
    table = summary.memory_parts({"cpu": CPU})
    assert table.iloc[0].drop("energy of an explanation (J)").to_dict() == {
        "record": "cpu", "model": "bart-base", "dtype": "float32", "batch": 1, "weight (MiB)": 2,
        "cache (MiB)": 1, "activation (MiB)": 1, "peak (MiB)": 4,
    }  # fmt: skip
    assert len(table) == 1 and summary.memory_parts({}).empty


def test_floors_of_all_sources_and_what_lies_below_them():
    found, roofs = summary.floors({"this run": CPU, "cpu": CPU})
    assert len(found) == 10 and "onnx" not in set(found["backend"])
    assert roofs["peak_bytes_per_s"].tolist() == [1e9, 1e9]
    table = summary.floor_table(found, {"input_tokens": 128, "output_tokens": 20})
    assert table["source"].value_counts().to_dict() == {"this run": 5, "cpu": 5}
    one = floors(steps(SHAPE, 1, *REFERENCE[1:], 4), PEAK)
    first = table[table["batch"] == 1].iloc[0]
    assert first["first token, floor (ms)"] == pytest.approx(
        1000 * max(one["first_compute_s"], one["first_memory_s"])
    )
    assert first["first token (ms)"] == 250 and first["rest (ms)"] == 750
    assert not summary.below_floor(found)
    found.loc[:1, "times_floor"] = 0.5
    said = summary.below_floor(found)
    assert list(said) == ["this run"]
    assert said["this run"].startswith("in 2 cells (bart-base, flan-t5-large) less time")


def test_backends_stand_beside_generate_of_their_own_machine_and_batch():
    rows = [cell("generate", 2.0), cell("onnx", 1.0)]
    rows = [{k: v for k, v in row.items() if k not in ("backend", "dtype")} for row in rows]
    lengths = dict(zip(summary.LENGTHS, REFERENCE[1:], strict=True))
    speeds = summary.backend_speeds(rows, {"cpu": CPU}, "bart-base", lengths)
    here, there = (speeds[speeds["source"] == name] for name in ("this run", "cpu"))
    assert here["value"].tolist() == [1, 2] and here["low"].iloc[1] == pytest.approx(2 / 1.25 * 0.8)
    assert there["backend"].tolist() == ["generate", "onnx", "generate"]
    assert there["value"].tolist() == [1, 4, 1]
    table = summary.backend_table(speeds)
    assert table["median (ms)"].tolist()[:2] == [2000, 1000] and "times as fast" in table
    gpu = {"gpu": CPU | {"gpu": True}}  # there the paper's precision counts, which was not timed
    assert set(summary.backend_speeds(rows, gpu, "bart-base", lengths)["source"]) == {"this run"}


def test_a_backend_passes_by_likeness_and_errors():
    same = pd.DataFrame(
        {
            "backend": ["torch", "a", "b", "c"],
            "same text": 1.0,
            "ROUGE-L": [1.0, 0.99, 0.97, 0.99],
            "foreign_title": [0.1, 0.105, 0.1, 0.15],
            "wrong_attribute": 0.1,
        }
    )
    said = summary.passed(same)
    assert said["Passed"] == "a"
    assert said["Not passed"] == (
        "b (ROUGE-L 0.970, errors +0.0 points); c (ROUGE-L 0.990, errors +5.0 points)"
    )
    assert "Not passed" not in summary.passed(same.head(2))
    assert summary.passed(same.head(1))["Passed"] == "none"


def test_starts_and_distillation_are_rows():
    begun = {"one": {"ready_s": 1, "answered_s": 2, "peak_bytes": 2**20, "imported": []}}
    begun["two"] = begun["one"] | {"imported": ["torch", "transformers"]}
    table = summary.starts_table(begun)
    assert table["imported"].tolist() == ["neither", "torch, transformers"]
    assert summary.headed(table).columns.tolist() == [
        "explainer", "loaded after (s)", "first explanation after (s)", "imported", "peak (MiB)",
    ]  # fmt: skip
    told = summary.distillation_speeds([{"way": "x"}], {"a": CPU, "b": {"distillation": [{}]}})
    assert told["source"].tolist() == ["this run", "b"]


def test_fleets_of_every_model_at_the_prices_of_their_machine():
    asked = {"latency_limit_ms": 2000, "utilisation": 0.5}
    here = {"cells": [cell("student", 0.5, batch=4, lengths=(8, 4))], "gpu": True}
    found = summary.fleets(
        {"this run": here, "cpu": CPU}, {"input_tokens": 8, "output_tokens": 4},
        explanations_per_day=1e6, price_per_hour=1, gpu_price_per_hour=10, **asked,
    )  # fmt: skip
    at = summary.at_traffic(found, 1e6).set_index(["source", "model", "backend"])
    wanted = fleet(here["cells"], explanations_per_day=1e6, price_per_hour=10, **asked)
    assert at.loc["this run", "student", "generate"]["money_per_day"] == wanted["money_per_day"]
    cheap = fleet(CPU["cells"][1:2], explanations_per_day=1e6, price_per_hour=1, **asked)
    assert at.loc["cpu", "bart-base", "onnx"]["machines"] == cheap["machines"]
    assert pd.isna(at.loc["cpu", "flan-t5-large", "generate"]["machines"])  # not fast enough
    assert found.groupby(["source", "model", "backend"]).size().eq(9).all()
    lines = summary.fleet_lines(found, ["student", "bart-base"])
    assert set(lines["model"]) == {"student, float32, this run", "bart-base, float32, cpu"}
    assert lines["money_per_day"].dtype == float
