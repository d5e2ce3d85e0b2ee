"""The machine under a measurement: its clock, memory, energy, name, peaks and free room.

Needs torch alone, on a CPU or an NVIDIA GPU (`device` is "cpu" or "cuda"). Left out on purpose:
models, and any choice of what to measure; `efficiency` does that.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import transformers

from . import roofline
from .roofline import Peak

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Timer:
    """Seconds that a `with` block took; reading it while the block runs is an error.

    >>> with Timer() as timer:
    ...     pass
    >>> timer.seconds >= 0
    True
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self._device = torch.device(device)
        self._seconds: float | None = None

    def __enter__(self) -> Timer:
        self._seconds = None
        self._wait()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wait()
        self._seconds = time.perf_counter() - self._start

    def _wait(self) -> None:
        """Kernels run behind Python's back: wait for them before looking at the clock."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @property
    def seconds(self) -> float:
        if self._seconds is None:
            raise RuntimeError("the timer has not finished: read it after its with block")
        return self._seconds


def check_device(device: str) -> None:
    """Raise ValueError unless this machine has the device: "cpu", or "cuda" with a number."""
    kind, _, number = device.partition(":")
    there = torch.cuda.device_count() if kind == "cuda" else 1
    plain = kind == "cpu" and not number or kind == "cuda" and (number or "0").isdigit()
    if not plain or int(number or 0) >= there:
        raise ValueError(f"device {device!r} is not here: take cpu, or a GPU that torch sees")


def memory(device: str, *, peak: bool = False) -> int:
    """Bytes in use now or at the peak: of torch's allocator on a GPU, else of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
    status = Path("/proc/self/status")
    if status.is_file():  # not getrusage: on Linux its peak includes that of the parent process
        label = "VmHWM:" if peak else "VmRSS:"
        line = next(x for x in status.read_text().splitlines() if x.startswith(label))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes, never goes down


def reset_peak(device: str) -> None:
    """Let the next `memory(device, peak=True)` count from now, where the system allows it."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: building counts too
        pass


_RAPL = Path("/sys/class/powercap")


def joules(call: Callable[[], Any], device: str = "cpu", seconds: float = 1.5) -> float | None:
    """Energy of one call, of the whole device, idling included; None where nothing reports it.

    The call is repeated for `seconds` at least. GPU: NVML's mean power of the last moments (through
    torch and pynvml, else nvidia-smi) times the time. CPU: RAPL's counters, where readable.
    """
    cuda = device.startswith("cuda")
    before = None if cuda else _microjoules()
    if not cuda and before is None:
        return None
    start, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - start < seconds:
        call()
        calls += 1
    if cuda:
        torch.cuda.synchronize()
        taken = time.perf_counter() - start
        watts = _watts()
        return None if watts is None else watts * taken / calls
    after = _microjoules()
    # A counter that began anew in between says nothing.
    used = after - before if after is not None and before is not None else -1
    return used / 1e6 / calls if used >= 0 else None


def _microjoules() -> int | None:
    """RAPL: what all processor packages have used so far."""
    try:
        files = sorted(_RAPL.glob("intel-rapl:[0-9]*/energy_uj"))
        used = [int(f.read_text()) for f in files if f.parent.name.count(":") == 1]
    except OSError:
        return None
    return sum(used) if used else None


def _watts() -> float | None:
    try:
        return torch.cuda.power_draw() / 1000  # milliwatts
    except Exception:  # no pynvml, an old driver, no permission: each raises an error of its own
        pass
    command = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    command.append(f"--id=GPU-{torch.cuda.get_device_properties(0).uuid}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return float(done.stdout.strip())
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None


def device_name(device: str = "cpu") -> str:
    """The GPU's name, or the processor's with the number of threads in use."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name())
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    found = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")
    name = found or platform.processor() or platform.machine()
    return f"{name} CPU, {torch.get_num_threads()} threads"


def environment(device: str = "cpu") -> dict[str, Any]:
    """Date, commit, device, threads and versions: what a record needs to be believed."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        commit = done.stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        commit = None
    return {
        "date": now(),
        "commit": commit,
        "device": device_name(device),
        "gpu": device.startswith("cuda"),
        "threads": torch.get_num_threads(),
        "wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        },
    }


def now() -> str:
    """This moment in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def probe(device: str = "cpu", dtype: str = "float32") -> Peak:
    """The device's peak: from NVIDIA's data sheet, else the best of five short tries here.

    The tries are a product of two large square matrices and a copy of a large block, which counts
    as read once and written once.
    """
    cuda = device.startswith("cuda")
    known = roofline.data_sheet(device_name(device), dtype) if cuda else None
    if known:
        return known
    n, block = (8192, 2**30) if cuda else (1536, 2**28)
    square = torch.randn(n, n, device=device).to(DTYPES[dtype])
    source = torch.zeros(block, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)

    def best(call: Callable[[], Any]) -> float:
        times = []
        for _ in range(6):
            with Timer(device) as timer:
                call()
            times.append(timer.seconds)
        return min(times[1:])

    return Peak(
        2 * n**3 / best(lambda: square @ square),
        2 * block / best(lambda: target.copy_(source)),
        f"measured here: {n} x {n} matrices multiplied, {block >> 20} MiB copied",
    )


def room(device: str) -> float:
    """Bytes for models and what they need while they run: four fifths of what is free."""
    if device.startswith("cuda"):
        free = float(torch.cuda.mem_get_info()[0])
    elif Path("/proc/meminfo").is_file():
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024.0 * int(next(x for x in lines if x.startswith("MemAvailable")).split()[1])
    else:
        free = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return 0.8 * free
