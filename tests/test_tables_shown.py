"""Tables and numbers in chapters: escaped, with dashes, and glued with their intervals."""

import re

import pandas as pd
import pytest

from prism_utils import plots
from prism_utils.plots import tables

ROWS = pd.DataFrame(
    {"system": ["a", "b"], "value": [0.5, None], "low": [0.25, None], "high": [0.75, None]}
)


@pytest.mark.parametrize("index", [True, False])
def test_nothing_of_a_table_is_markup(index):
    hostile = "<img src=x onerror=alert(1)>"
    frame = pd.DataFrame(
        {hostile: [hostile, "plain"]}, index=pd.Index([hostile, "x"], name=hostile)
    )
    frame.columns.name = hostile
    shown = plots.table(frame, index=index).to_html()
    assert "<img" not in shown and shown.count("&lt;img") == (5 if index else 2)


def test_nothing_of_a_sentence_is_markup():
    hostile = "<img src=x> [a](b) *c* `d` $e$ {ref}`f`\n\n# g"
    text = plots.listed({hostile: hostile, "plain": "1.5 (batch 2)"}).data
    first, second = text.splitlines()
    assert second == "- **plain**: 1.5 (batch 2)"
    assert "<img" not in first and re.findall(r"(?<!\\)[\[\]`$#{}]", first) == []
    assert first.count("\\*c\\*") == 2
    assert plots.listed({}, otherwise="*none*").data == "\\*none\\*"


def test_numbers_have_a_form_texts_stay_and_what_is_missing_is_a_dash():
    frame = pd.DataFrame({"system": ["a", "b"], "share": [0.123, None], "n": [1234567, 2]})
    shown = plots.table(frame, "{:.0%}", index=False).to_html()
    assert ">12%<" in shown and ">–<" in shown and ">a<" in shown and "row_heading" not in shown
    assert ">1,234,567<" in plots.table(frame, {"share": "{:.0%}"}).to_html()


def test_a_number_is_cited_with_its_interval(monkeypatch):
    glued = {}
    monkeypatch.setattr(tables, "glue", lambda name, value: glued.update({name: value}))
    plots.cite("a", ROWS, ".0f", scale=100, system="a")
    plots.cite("b", ROWS, system="b")
    plots.cite("c", ROWS, system="c")
    assert glued == {"a": "50 (25 to 75)", "b": "–", "c": "–"}
    plots.glue_all(x=1, y="two")
    assert (glued["x"], glued["y"]) == (1, "two")
    assert plots.where(ROWS, system="b").index.tolist() == [1]
