"""Records are read at one door: a damaged one is named, none is an empty one."""

import json
from pathlib import Path

import pytest

from prism_utils.errors import InputError
from prism_utils.records import read_record, recorded

ROOT = Path(__file__).resolve().parents[1]
MADE = {"date": "2026-01-01", "commit": "abc", "device": {"cpu": "x"}, "parameters": {}}
CELL = {"model": "m", "batch_size": 1, "input_tokens": 1, "output_tokens": 1, "dtype": "float32",
        "backend": "generate", "median_s": 1.0, "p5_s": 1.0, "p95_s": 1.0}  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "book" / "records").glob("*.json")), ids=str)
def test_the_books_own_records_are_whole(path):
    assert read_record(path)


def test_no_record_is_an_empty_one(tmp_path):
    assert read_record(tmp_path / "none.json") == {} == recorded("none")


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ({"provenance": 3}, "'provenance' is no mapping"),
        (
            {"provenance": MADE | {"date": 1}, "tables": {"a": []}},
            "'date' is missing",
        ),
        (
            {"provenance": {**MADE, "parameters": []}, "tables": {"a": []}},
            "'parameters' is",
        ),
        ({"provenance": MADE}, "'tables' is missing"),
        ({"provenance": MADE, "tables": {"a": 3}}, "'a' is no list of rows"),
        ({"provenance": MADE, "tables": {"a": [3]}}, "'a' is no list of rows"),
        (MADE | {"kind": "efficiency", "cells": None}, "'cells' is no list of rows"),
        (MADE | {"kind": "efficiency", "cells": [CELL]}, "'models'"),
        (
            MADE | {"kind": "efficiency", "cells": [CELL, {"model": "m"}]},
            "'cells', row 2: 'batch_size' is missing",
        ),
    ],
)
def test_a_damaged_record_is_named(tmp_path, record, what):
    path = tmp_path / "cost.json"
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=f"cost.json: not a whole record: {what}"):
        read_record(path)
