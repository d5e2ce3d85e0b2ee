"""How long a fresh process takes until an explainer answers, and how much memory it ends up with.

Left out: the speed of what comes after, which `efficiency` measures.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..students.inputs import whole

_CHILD = """
import json, sys, time
from prism_utils.decoding import Explainer
from prism_utils.errors import run_cli
def main():
    explainer = Explainer.load(sys.argv[1])
    ready = time.time() - float(sys.argv[2])
    item = next(iter(explainer.items["item_id"]), "anything")
    explainer.explain(history=[item] * explainer.settings.max_history, item=item)
    answered = time.time() - float(sys.argv[2])
    try:  # not getrusage: on Linux its peak includes that of the parent process
        lines = open("/proc/self/status").read().splitlines()
        peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):  # macOS counts bytes, others 1,024 of them
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else 1024
    heavy = sorted({"torch", "transformers"} & set(sys.modules))
    told = {"ready_s": ready, "answered_s": answered, "peak_bytes": peak, "imported": heavy}
    print(json.dumps(told))
run_cli(main)
"""


def start(folder: Path | str, runs: int = 3) -> dict[str, Any]:
    """Load the explainer in `folder` in fresh processes and explain one item in each.

    Returns medians over `runs`: ready_s (from the start of Python until the explainer is loaded),
    answered_s (until the first explanation), peak_bytes (resident, everything included); imported:
    which of torch and transformers the process had loaded. Raises `InputError` if it failed.
    """
    told = []
    for _ in range(whole("runs", runs, 1)):
        command = [sys.executable, "-c", _CHILD, str(folder), repr(time.time())]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not done.stdout.strip():
            raise InputError(f"{folder}: cannot be loaded: {_last_words(done)}")
        told.append(json.loads(done.stdout.splitlines()[-1]))
    middle = {
        name: sorted(one[name] for one in told)[len(told) // 2]
        for name in ("ready_s", "answered_s", "peak_bytes")
    }
    return middle | {"imported": told[-1]["imported"]}


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Why a process ended, in one line."""
    if done.returncode < 0:
        try:
            name = signal.Signals(-done.returncode).name
        except ValueError:
            name = f"signal {-done.returncode}"
        return f"its process was killed ({name}), perhaps for want of memory"
    lines = done.stderr.strip().splitlines()
    if not lines:
        return f"its process ended without a word (status {done.returncode})"
    return lines[-1].removeprefix("error: ")
