"""Tables and numbers as chapters show them: escaped, with dashes for what is not there.

Names of systems, titles and texts come from files, so nothing of a cell or a head is ever markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from ..runs import glue

DASH = "–"


def table(
    frame: pd.DataFrame,
    form: str | Callable[[Any], str] | Mapping[Any, Any] | None = None,
    *,
    precision: int = 3,
    index: bool = True,
) -> Styler:
    """A frame as a chapter shows it: HTML escaped everywhere, a dash where a value is missing.

    form: as of `Styler.format`, for all numbers or by column; texts stay as they are. precision:
    decimals of floats that have no form. index: False hides an index that means nothing.
    """
    numbers = [c for c in frame.columns if pd.api.types.is_numeric_dtype(frame[c])]
    forms = dict.fromkeys(numbers, form) if form and not isinstance(form, Mapping) else form
    shown = frame.style.format(
        forms, precision=precision, thousands=",", na_rep=DASH, escape="html"
    )
    for axis in (0, 1):
        shown = shown.format_index(escape="html", axis=axis)
        shown = shown.format_index_names(escape="html", axis=axis)
    return shown if index else shown.hide(axis="index")


def escaped(text: str) -> str:
    r"""A text as words of a paragraph: neither HTML nor Markdown in it means anything.

    >>> escaped("<b>*x*")
    '&lt;b&gt;\\*x\\*'
    """
    words = " ".join(html.escape(str(text), quote=False).split())
    return re.sub(r"([\\`*_{}\[\]#~$|^])", r"\\\1", words)


def listed(said: Mapping[str, str], otherwise: str = "") -> Markdown:
    """A list with a sentence for each name, both escaped; `otherwise` where there is none."""
    lines = [f"- **{escaped(name)}**: {escaped(sentence)}" for name, sentence in said.items()]
    return Markdown("\n".join(lines) or escaped(otherwise))  # type: ignore[no-untyped-call]


def interval(row: Any, form: str = ".2f", scale: float = 1) -> str:
    """`value (low to high)` of a row with these three, each times `scale`; a dash without a value.

    >>> interval({"value": 0.5, "low": 0.25, "high": 0.75}, ".0f", scale=100)
    '50 (25 to 75)'
    """
    if pd.isna(row["value"]):
        return DASH
    value, low, high = (f"{scale * row[name]:{form}}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def where(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows of a frame whose columns have these values."""
    return frame[(frame[list(values)] == pd.Series(values, dtype=object)).all(axis=1)]


def cite(
    name: str, frame: pd.DataFrame, form: str = ".2f", scale: float = 1, **values: Any
) -> None:
    """Glue the first row of `frame` where columns have these values, with its interval."""
    rows = where(frame, **values)
    glue(name, interval(rows.iloc[0], form, scale) if len(rows) else DASH)


def glue_all(**values: float | str) -> None:
    """Glue each value under its own name."""
    for name, value in values.items():
        glue(name, value)
