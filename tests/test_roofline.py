"""Operations, bytes and caches against what torch counts and holds; machines by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config

from prism_utils import efficiency
from prism_utils.efficiency import build, generate, make_inputs, models, roofline
from prism_utils.efficiency.roofline import Peak, Step, cache_bytes, fleet, floors, shape_of, steps

TINY = {
    "tiny-bart": models._bart(2, 16, 2, 60, 64),
    "tiny-t5": models._t5(2, 16, 2, 24),
    "tiny-llama": models._llama(2, 32, 4, 2, 48, 60),
}


@pytest.fixture
def tiny(monkeypatch, request):
    """One small model of the asked architecture, its attention in plain products of matrices."""
    config = TINY[request.param]
    config._attn_implementation = "eager"  # torch's counter knows no fused kernel of a CPU
    monkeypatch.setitem(efficiency.CONFIGURATIONS, request.param, lambda: config)
    return build(request.param)


every = pytest.mark.parametrize("tiny", TINY, indirect=True)


@every
@pytest.mark.parametrize(("batch", "inputs", "outputs"), [(1, 7, 1), (3, 11, 5)])
def test_operations_are_those_that_torch_counts(tiny, batch, inputs, outputs):
    ids = make_inputs({"": tiny}, input_tokens=inputs, batch_size=batch)
    with FlopCounterMode(display=False) as counter:
        generate(tiny, ids, outputs)
    work = steps(shape_of(tiny.config), batch, inputs, outputs, 4)
    assert len(work) == outputs
    assert sum(step.operations for step in work) == counter.get_total_flops()


@every
def test_weights_of_the_steps_are_all_matrices(tiny):
    shape = shape_of(tiny.config, tied=efficiency.parameter_count(tiny, tied=True)
                     == efficiency.parameter_count(tiny))  # fmt: skip
    places = ("embed_positions", "relative_attention_bias")
    matrices = sum(
        p.numel()
        for name, p in tiny.named_parameters()
        if p.ndim == 2 and not any(place in name for place in places)
    )
    counted = shape.encoder + shape.cross + shape.decoder + shape.head + shape.embeddings
    assert counted == matrices
    first, second = steps(shape, 1, 5, 2, 4)
    cached = shape.cache_width * 4
    positions = 5 if shape.decoder_only else 6
    assert first.bytes == 4 * (matrices - shape.embeddings) + positions * cached
    assert second.bytes == 4 * (shape.decoder + shape.head) + (positions + 1) * cached


@every
def test_caches_are_those_that_generate_holds(tiny):
    ids = make_inputs({"": tiny}, input_tokens=9, batch_size=3)
    with torch.inference_mode():
        output = tiny.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), min_new_tokens=4, max_new_tokens=4,
            do_sample=False, return_dict_in_generate=True,
        )  # fmt: skip
    held = output.past_key_values
    halves = [held] if not tiny.config.is_encoder_decoder else [
        held.self_attention_cache, held.cross_attention_cache
    ]  # fmt: skip
    tensors = [x for half in halves for layer in half.layers for x in (layer.keys, layer.values)]
    assert sum(x.nbytes for x in tensors) == cache_bytes(shape_of(tiny.config), 3, 9, 4, 4)


def test_the_large_models_are_counted_without_building_them():
    for name in efficiency.CONFIGURATIONS:
        shape = shape_of(efficiency.CONFIGURATIONS[name]())
        matrices = shape.encoder + shape.cross + shape.decoder + shape.head
        spare = efficiency.parameter_count(name, tied=True) - matrices
        assert 0 <= spare < 0.02 * matrices + 2100 * 1024, name  # biases, norms, positions


def test_another_architecture_is_refused():
    with pytest.raises(ValueError, match="'gpt2': only bart, prism, t5 and llama"):
        shape_of(GPT2Config())


def test_floors_take_the_slower_of_the_two():
    peak = Peak(10.0, 2.0, "by hand")
    found = floors([Step(100, 2), Step(10, 8), Step(10, 8)], peak)
    assert found == {
        "first_compute_s": 10, "first_memory_s": 1, "rest_compute_s": 2, "rest_memory_s": 8,
        "floor_s": 18,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("device", "dtype", "rate"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989e12),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA A100-SXM4-40GB", "float32", 19.5e12),
        ("NVIDIA L40", "bfloat16", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16", None),
    ],
)
def test_data_sheets_are_found_by_whole_words(device, dtype, rate):
    peak = roofline.data_sheet(device, dtype)
    assert (peak.operations_per_s if peak else None) == rate


CELLS = [
    {"batch_size": 1, "median_s": 0.1, "p95_s": 0.11},
    {"batch_size": 8, "median_s": 0.2, "p95_s": 0.25},
    {"batch_size": 32, "median_s": 0.5, "p95_s": 0.6},
]
TRAFFIC = {"explanations_per_day": 8_640_000, "latency_limit_ms": 300, "price_per_hour": 2.0}


def test_a_fleet_by_hand():
    """100 explanations a second; the batch of 8 makes 40 a second, at half use 20: 5 machines."""
    found = fleet(CELLS, **TRAFFIC, utilisation=0.5)
    assert found["batch_size"] == 8 and found["latency_ms"] == 250
    assert found["explanations_per_s"] == pytest.approx(40)
    assert found["machines"] == 5
    assert found["money_per_day"] == 5 * 24 * 2.0
    assert found["money_per_million"] == pytest.approx(240 / 8.64)
    assert fleet(CELLS, **TRAFFIC | {"explanations_per_day": 1})["machines"] == 1
    assert set(fleet(CELLS, **TRAFFIC | {"latency_limit_ms": 50}).values()) == {None}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("explanations_per_day", 0),
        ("latency_limit_ms", -1),
        ("price_per_hour", -0.1),
        ("utilisation", 0),
        ("utilisation", 1.5),
    ],
)
def test_a_fleet_names_the_wrong_parameter(name, value):
    with pytest.raises(ValueError, match=f"^{name}: must "):
        fleet(CELLS, **TRAFFIC | {name: value})
