"""Tools behind *The Oracle and The Prism, reproduced*: distil, train and serve an explainer."""

import sys

from .errors import loading

__version__ = "0.1.0"

if sys.argv[:1] == ["-m"]:  # python -m prism_utils.…: the command's own module is loaded next
    loading()
