"""Tables and numbers as chapters show them: escaped, with dashes for what is not there.

Names of systems, titles and texts come from files, so nothing of a cell or a head is ever markup.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from .. import records
from ..runs import escaped, glue

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
    # The Styler escapes texts alone; a list of texts would reach the page as it is.
    frame = frame.map(lambda v: str(v) if isinstance(v, list | tuple | set | dict) else v)
    numbers = [c for c in frame.columns if pd.api.types.is_numeric_dtype(frame[c])]
    forms = dict.fromkeys(numbers, form) if form and not isinstance(form, Mapping) else form
    shown = frame.style.format(
        forms, precision=precision, thousands=",", na_rep=DASH, escape="html"
    )
    for axis in (0, 1):
        shown = shown.format_index(escape="html", axis=axis)
        shown = shown.format_index_names(escape="html", axis=axis)
    return shown if index else shown.hide(axis="index")


def listed(said: Mapping[str, str], otherwise: str = "") -> Markdown:
    """A list with a sentence for each name, both escaped; `otherwise` where there is none."""
    lines = [f"- **{escaped(name)}**: {escaped(sentence)}" for name, sentence in said.items()]
    return Markdown("\n".join(lines) or escaped(otherwise))  # type: ignore[no-untyped-call]


def interval(row: Any, form: str = ".2f", scale: float = 1) -> str:
    """`value (low to high)` of a row with these three, each times `scale`; a dash without a value.

    Without an interval (one seed) the value stands alone.

    >>> interval({"value": 0.5, "low": 0.25, "high": 0.75}, ".0f", scale=100)
    '50 (25 to 75)'
    """
    if pd.isna(row["value"]):
        return DASH
    value, low, high = (f"{scale * row[name]:{form}}" for name in ("value", "low", "high"))
    return value if pd.isna(row["low"]) else f"{value} ({low} to {high})"


def difference(row: Any) -> str:
    """A difference with its interval and what it shows: more, less, or no difference shown.

    Shares are in points of a hundred; ROUGE, likeness and nDCG are as they are.

    >>> difference({"metric": "grounded", "value": 0.125, "low": 0.0625, "high": 0.1875})
    '+12.5 [+6.2, +18.8] (more)'
    """
    factor, form = (100, "+.1f") if _is_share(row["metric"]) else (1, "+.3f")
    value, low, high = (f"{factor * row[name]:{form}}" for name in ("value", "low", "high"))
    shown = "more" if row["low"] > 0 else "less" if row["high"] < 0 else "no difference shown"
    return f"{value} [{low}, {high}] ({shown})"


def _is_share(metric: str) -> bool:
    return not metric.startswith(("rouge", "alike", "ndcg"))


def where(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows of a frame whose columns have these values."""
    return frame[(frame[list(values)] == pd.Series(values, dtype=object)).all(axis=1)]


def only(scores: pd.DataFrame, *metrics: str) -> pd.DataFrame:
    """The rows of these metrics."""
    return scores[scores["metric"].isin(metrics)]


def cite(
    name: str, frame: pd.DataFrame, form: str = ".2f", scale: float = 1, **values: Any
) -> None:
    """Glue the first row of `frame` where columns have these values, with its interval."""
    rows = where(frame, **values)
    glue(name, interval(rows.iloc[0], form, scale) if len(rows) else DASH)


def order_table(orders: pd.DataFrame, metrics: list[str]) -> Styler:
    """Systems by metrics, each with its mean and its place, both with intervals.

    orders: as `metrics.pitfall.ranking` gives them (value, low, high, rank, rank_low, rank_high).
    """
    shown = orders[orders["metric"].isin(metrics)]
    ranks = shown[["rank", "rank_low", "rank_high"]].set_axis(["value", "low", "high"], axis=1)
    shown = shown.assign(
        mean=shown.apply(interval, axis=1, form=".3f"),
        place=ranks.apply(interval, axis=1, form=".0f"),
    )
    return table(shown.pivot(index="system", columns="metric", values=["mean", "place"]))


def score_table(
    scores: pd.DataFrame,
    names: Mapping[str, str],
    metrics: Sequence[str] | None = None,
    *,
    form: str = "z.4f",
    by_system: bool = False,
    differences: bool = False,
) -> Styler:
    """Metrics down and systems across (`by_system`: turned), each mean with its interval.

    scores: system, metric, value, low, high. names: what each metric is called; metrics: which are
    shown, in order (all that have a name). With `differences` a cell is what `difference` says,
    and the metric's name has its unit.
    """
    if differences:
        names = {m: f"{name} (points)" if _is_share(m) else name for m, name in names.items()}
    scores = scores[scores["metric"].isin(metrics or names)]
    said = [
        difference(row) if differences else interval(row, form) for row in scores.to_dict("records")
    ]
    cells = scores.assign(cell=said)
    wide = cells.pivot(index="metric", columns="system", values="cell")
    order = [m for m in metrics or names if m in wide.index]
    wide = wide.loc[order, scores["system"].unique()].rename(index=names)
    wide = wide.rename_axis(index=None, columns=None)
    return table(wide.T if by_system else wide)


def made_on(made: Mapping[str, Any]) -> str:
    """`records.made_on`, for Markdown."""
    return escaped(records.made_on(made))


def glue_all(**values: float | str) -> None:
    """Glue each value under its own name."""
    for name, value in values.items():
        glue(name, value)
