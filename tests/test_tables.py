"""A table is checked once, at the door, and the error names file, column and row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from prism_utils import errors, tables

ITEMS = pd.DataFrame({"item_id": ["1", "2"], "title": ["A", "B"]})
HALF = pd.Series(["A", "B \ud83d"], dtype=object)  # an emoji that was cut in two
SAMPLES = pd.DataFrame(
    {
        "sample_id": ["u1:1", "u1:2"],
        "user_id": ["u1", "u1"],
        "history": [["a"], ["a", "b"]],
        "item_id": ["b", "c"],
        "split": ["train", "test"],
    }
)


@pytest.mark.parametrize(
    ("table", "frame", "says"),
    [
        ("samples", SAMPLES.drop(columns="history"), "t.parquet: column 'history' is missing"),
        ("samples", SAMPLES.assign(item_id=["b", 7]), r"row 2: 'item_id' must be text, found 7"),
        ("samples", SAMPLES.assign(item_id=[None, "c"]), "row 1: 'item_id' must be text"),
        ("samples", SAMPLES.assign(history=["a", ["b"]]), "row 1: 'history' must be a list"),
        ("samples", SAMPLES.assign(sample_id="u1:1"), "row 2: duplicate sample_id 'u1:1'"),
        ("samples", SAMPLES.assign(history=[["a"], [["b"]]]), "row 2: 'history' must be a list of"),
        (
            "samples",
            SAMPLES.assign(history=[["a", None], ["b"]]),
            "row 1: 'history' must be a list of",
        ),
        (
            "samples",
            SAMPLES.assign(history=[["a"], ["b", 7]]),
            "row 2: 'history' must be a list of",
        ),
        ("samples", SAMPLES.assign(history=[["a"], {"b": 1}]), "row 2: 'history' must be a list"),
        ("samples", SAMPLES.assign(evidence=[["a"], None]), "row 2: 'evidence' must be a list"),
        (
            "samples",
            pd.concat([SAMPLES, SAMPLES["split"]], axis=1),
            "column 'split' stands 2 times",
        ),
        ("items", ITEMS.assign(title=["A", " "]), "row 2: 'title' must be more than blanks"),
        ("items", ITEMS.assign(title=["", "B"]), "row 1: 'title' must be more than blanks"),
        ("items", ITEMS.assign(title=HALF), "row 2: 'title' must be text without half a character"),
        ("items", ITEMS.assign(year=[1999, np.inf]), "row 2: 'year' must be a number, found inf"),
        (
            "items",
            ITEMS.assign(year=["1999", "2000"]),
            "row 1: 'year' must be a number, found '1999'",
        ),
        (
            "items",
            ITEMS.assign(year=pd.to_datetime(["2020", "2021"])),
            "row 1: 'year' must be a num",
        ),
        (
            "items",
            pd.DataFrame({"item_id": ["1", "2"], "title": ["A", "B"], "year": [1999, "MM"]}),
            "row 2: 'year' must be a number, found 'MM'",
        ),
    ],
)
def test_check_names_the_place(table, frame, says):
    with pytest.raises(errors.InputError, match=says):
        tables.check(frame, table, source="t.parquet")


def test_check_takes_lists_of_every_make_and_numbers_with_gaps():
    tables.check(SAMPLES.assign(history=[np.array(["a"], dtype=object), ("a", "b")]), "samples")
    tables.check(SAMPLES.assign(history=[np.array(["a", "bc"]), []]), "samples")
    tables.check(ITEMS.assign(year=pd.Series([1999, None], dtype=object)), "items")
    tables.check(ITEMS.assign(year=pd.array([1999, None], dtype="Int64")), "items")
    tables.check(ITEMS.astype("category"), "items")
    scores = pd.DataFrame({"sample_id": ["a"], "system": "x", "metric": "m", "value": [np.inf]})
    tables.check(scores, "scores")  # the one number that need not be finite


def test_text_in_a_frame_is_an_attribute_as_it_is_in_a_file():
    items = ITEMS.assign(genre=["Horror|Crime", "Drama"], mixed=[["x", None], "y|z"], pages=[3, 4])
    assert tables.attribute_columns(items) == ["genre", "mixed"]
    assert tables.attribute_lists(items["mixed"]).tolist() == [["x"], ["y", "z"]]
    with pytest.raises(
        errors.InputError, match="items: row 1: 'facts' must be text, with | between"
    ):
        tables.attribute_lists(pd.Series([{"wifi": "yes"}], name="facts"))


def test_round_trip_keeps_lists_and_extra_columns(tmp_path):
    path = tables.write_table(SAMPLES.assign(note="x"), tmp_path / "s.parquet", "samples")
    again = tables.read_table(path, "samples")
    assert again["history"].tolist() == [["a"], ["a", "b"]]
    assert list(again.columns) == [*SAMPLES.columns, "note"]
    assert [p.name for p in tmp_path.iterdir()] == ["s.parquet"]


def test_half_a_character_is_refused_in_a_column_of_ones_own(tmp_path):
    note = pd.Series(["x", "cut \ud83d"], dtype=object)
    with pytest.raises(errors.InputError, match="s.parquet: a text holds half a character .*cut"):
        tables.write_table(SAMPLES.assign(note=note), tmp_path / "s.parquet", "samples")
    assert not (tmp_path / "s.parquet").exists()


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(errors.InputError, match="nowhere.parquet: no such file"):
        tables.read_table(tmp_path / "nowhere.parquet", "items")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 but not really")
    with pytest.raises(errors.InputError, match="broken.parquet: not a readable Parquet file"):
        tables.read_table(broken, "items")


def test_run_cli_prints_one_sentence_and_no_traceback(capsys):
    def main():
        raise errors.InputError("x.csv: line 3: bad")

    with pytest.raises(SystemExit) as stop:
        errors.run_cli(main)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: x.csv: line 3: bad\n"


def test_what_a_spreadsheet_would_run_is_defused():
    evil = ["=1+1", "+A1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "-x", "+"]
    kept = ["-5", "+3.5", "1e-5", "Jaws", "a=b", "", "'quoted", None]
    frame = pd.DataFrame({"=title": [*evil, *kept], "n": range(-9, 9)}, index=range(5, 23))
    made = tables.defused(frame)
    assert made["'=title"].tolist()[: len(evil)] == ["'" + text for text in evil]
    assert made["'=title"].tolist()[len(evil) : -1] == kept[:-1]
    assert pd.isna(made["'=title"].iloc[-1])
    assert made["n"].equals(frame["n"]) and made.index.equals(frame.index)
    assert frame["=title"].iloc[0] == "=1+1"  # the given frame is as it was
    assert tables.defused(frame.iloc[:0]).empty
