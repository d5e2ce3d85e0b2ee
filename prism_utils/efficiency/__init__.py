"""Latency, throughput, memory and energy of explaining, cell by cell (paper section 5.6, Table 2).

Needs torch and transformers alone, so that it runs on a bare GPU machine. Weights are random: time
and memory of a forced output length do not depend on their values. Left out on purpose:
tokenisation and quality; `training_cost`, which needs the whole package, is imported by name.
"""

import os
import sys

if sys.argv[0] == "-m":  # a program, and torch not loaded yet: waiting threads must not spin
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from .analysis import against_floors, ratios
from .devices import DTYPES
from .distilling import distillation, prompt_lengths, vllm_distillation
from .grids import REFERENCE, Cell, axes, crossed, grid
from .memory import peak_memory, peaks, weight_bytes
from .models import (
    CONFIGURATIONS,
    GIB,
    build,
    make_inputs,
    parameter_count,
    user_table_parameters,
)
from .record import facts, record_path, run_grid
from .timing import BACKENDS, backed, generate, installed, measure
