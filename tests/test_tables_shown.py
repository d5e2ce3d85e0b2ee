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


def test_scores_stand_beside_their_intervals_and_systems_are_text():
    rows = [
        {"system": s, "metric": m, "value": v, "low": v - 1, "high": v + 1}
        for s, m, v in (("<b>", "y", 1.0), ("<b>", "x", -0.00001), ("two", "x", 3.0))
    ]
    scores, names = pd.DataFrame(rows), {"x": "X (share)", "y": "Y", "z": "Z"}
    shown = plots.score_table(scores, names, form="z.2f")
    assert shown.data.index.tolist() == ["X (share)", "Y"]
    assert shown.data.columns.tolist() == ["<b>", "two"]
    assert shown.data.loc["X (share)"].tolist() == ["0.00 (-1.00 to 1.00)", "3.00 (2.00 to 4.00)"]
    assert "&lt;b&gt;" in shown.to_html() and f">{tables.DASH}<" in shown.to_html()
    turned = plots.score_table(scores, names, ["y"], by_system=True)
    assert turned.data.shape == (1, 1) and turned.data.columns.tolist() == ["Y"]


def test_a_record_says_what_it_was_made_on():
    made = {"date": "2026-01-02T03:04:05", "commit": "a_b", "device": {"cpu": "C", "gpu": "G"}}
    said = plots.made_on(made | {"versions": {"torch": "2", "transformers": "5"}})
    assert said == r"2026-01-02, commit a\_b, on G, torch 2, transformers 5"


def test_a_difference_says_what_it_shows_and_shares_are_in_points():
    row = {"metric": "grounded", "value": -0.25, "low": -0.5, "high": -0.125, "system": "a - b"}
    rouge = row | {"metric": "rougeL", "value": 0.0, "low": -0.1, "high": 0.1}
    assert plots.difference(row) == "-25.0 [-50.0, -12.5] (less)"
    assert plots.difference(rouge) == "+0.000 [-0.100, +0.100] (no difference shown)"
    shown = plots.score_table(
        pd.DataFrame([row, rouge]), {"grounded": "grounded", "rougeL": "R"}, differences=True
    )
    assert shown.data.index.tolist() == ["grounded (points)", "R"]
    assert shown.data["a - b"].tolist() == [plots.difference(row), plots.difference(rouge)]
