"""How long a fresh process takes until an explainer answers, and how much memory it ends up with.

Left out: the speed of what comes after, which `efficiency` measures.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..errors import InputError

_CHILD = """
import json, resource, sys, time
from prism_utils.decoding import Explainer
explainer = Explainer.load(sys.argv[1])
ready = time.time() - float(sys.argv[2])
item = next(iter(explainer.items["item_id"]), "anything")
explainer.explain(history=[item] * explainer.settings.max_history, item=item)
answered = time.time() - float(sys.argv[2])
try:  # not getrusage: on Linux its peak includes that of the parent process
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
heavy = sorted({"torch", "transformers"} & set(sys.modules))
print(json.dumps({"ready_s": ready, "answered_s": answered, "peak_bytes": peak, "imported": heavy}))
"""


def start(folder: Path | str, runs: int = 3) -> dict[str, Any]:
    """Load the explainer in `folder` in fresh processes and explain one item in each.

    Returns medians over `runs`: ready_s (from the start of Python until the explainer is loaded),
    answered_s (until the first explanation), peak_bytes (resident, everything included); imported:
    which of torch and transformers the process had loaded. Raises `InputError` if it failed.
    """
    told = []
    for _ in range(runs):
        command = [sys.executable, "-c", _CHILD, str(folder), repr(time.time())]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise InputError(f"{folder}: cannot be loaded: {done.stderr.splitlines()[-1]}")
        told.append(json.loads(done.stdout.splitlines()[-1]))
    middle = {
        name: sorted(one[name] for one in told)[len(told) // 2]
        for name in ("ready_s", "answered_s", "peak_bytes")
    }
    return middle | {"imported": told[-1]["imported"]}
