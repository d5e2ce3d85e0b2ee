"""Tools behind *The Oracle and The Prism, reproduced*: distil, train and serve an explainer."""

__version__ = "0.1.0"
