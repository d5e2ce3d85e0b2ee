"""Clock, energy and peaks of the machine under a measurement; nothing here asserts a time."""

import types

import pytest
import torch

from prism_utils.efficiency import devices
from prism_utils.efficiency.devices import Timer, joules


def test_a_running_timer_cannot_be_read():
    with Timer() as timer, pytest.raises(RuntimeError, match="has not finished"):
        _ = timer.seconds
    assert timer.seconds >= 0


def test_energy_is_read_from_the_processors_counters(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_RAPL", tmp_path)
    assert joules(lambda: None) is None  # and the call is not even made
    for name in ("intel-rapl:0", "intel-rapl:0:0"):  # a package, and a part of it
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text("1000000")
    calls = []

    def work():
        calls.append(1)
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text(str(1_000_000 + 5_000_000))

    assert joules(work, seconds=0) == 5.0 and calls == [1]
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("9000000")
    assert joules(work, seconds=0) is None  # the counter began anew


def test_a_gpus_power_is_asked_of_torch_then_of_nvidia_smi(monkeypatch):
    """No GPU is needed: what would answer is made up."""
    monkeypatch.setattr(torch.cuda, "power_draw", lambda: 250_000)
    assert devices._watts() == 250.0

    def missing():
        raise ModuleNotFoundError("pynvml")

    asked = []

    def smi(command, **options):
        asked.append(command[-1])
        return types.SimpleNamespace(stdout="312.5\n")

    monkeypatch.setattr(torch.cuda, "power_draw", missing)
    card = types.SimpleNamespace(uuid="ab-1")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    monkeypatch.setattr(devices.subprocess, "run", smi)
    assert devices._watts() == 312.5 and asked == ["--id=GPU-ab-1"]
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert joules(lambda: None, "cuda", seconds=0) > 0

    def absent(command, **options):
        raise FileNotFoundError(command[0])

    monkeypatch.setattr(devices.subprocess, "run", absent)
    assert devices._watts() is None and joules(lambda: None, "cuda", seconds=0) is None


def test_a_probe_says_that_it_measured():
    peak = devices.probe("cpu")
    assert peak.operations_per_s > 0 and peak.bytes_per_s > 0
    assert peak.source.startswith("measured here")


@pytest.mark.parametrize("name", ["cuda:99", "cuda:-1", "cpu:0", "cuda:x", "gpu", ""])
def test_a_device_that_is_not_here_is_named(name):
    with pytest.raises(ValueError, match=f"device {name!r} is not here: take cpu"):
        devices.check_device(name)
    devices.check_device("cpu")
