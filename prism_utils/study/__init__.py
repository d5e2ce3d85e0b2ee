"""The study as a whole: profiles give notebooks parameters, steps run them, `book` shows them."""

from .profile import (
    Parameter,
    Step,
    checked,
    load_profile,
    notebooks,
    parameters,
    parse_setting,
    plan,
    profiles,
)
from .steps import NEEDS, needs, prepare, run, run_steps
