"""What every corpus is once loaded; how each source is read stands in its own file."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Corpus:
    """Interactions and items of one source (schemas in `tables`).

    `noun` is what an item is called in prompts ("film"); `note` is one line for captions: what
    the corpus is and what in it is simulated.
    """

    name: str
    interactions: pd.DataFrame
    items: pd.DataFrame
    noun: str
    note: str
