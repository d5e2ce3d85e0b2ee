"""The blind check: nothing on the sheet tells the system, and readers' files are counted."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pandas as pd
import pytest

from prism_utils.errors import InputError
from prism_utils.experiments import blind
from prism_utils.runs import Run, write_json

ITEMS = pd.DataFrame(
    {
        "item_id": ["1", "2", "3"],
        "title": ["Alien", "Heat", "Jaws"],
        "year": [1979, 1995, 1975],
        "genre": [["Horror"], ["Crime"], ["Horror"]],
    }
)
TRUE, FALSE = "Like Alien, Jaws is a horror film.", "Like Alien, Jaws is a crime film."
TEXTS = {"grammar": FALSE, "prism": FALSE, "prism-facts": TRUE, "facts-template": TRUE}


@pytest.fixture
def sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    monkeypatch.chdir(tmp_path)
    run = Run.open("runs/x")
    facts = {"teacher": "grammar", "noun": "film", "corpus_note": "three films"}
    facts["commit"] = "abc1234"
    write_json(facts | {"student_settings": {"max_history": 1}}, run.path / "run.json")
    run.write("items", ITEMS)
    samples = pd.DataFrame(
        {
            "sample_id": [f"s{n}" for n in range(6)],
            "user_id": [f"u{n}" for n in range(6)],
            "history": [["2", "1"]] * 6,
            "item_id": "3",
            "split": "test",
        }
    )
    run.write("samples", samples)
    told = [(s, system, text) for s in samples["sample_id"] for system, text in TEXTS.items()]
    run.write("explanations", pd.DataFrame(told, columns=["sample_id", "system", "text"]))
    path = blind.draw("runs/x", "blind", samples=4)
    return [json.loads(line) for line in path.read_text().splitlines()]


def answer(sheet: list[dict], name: str, wrong: set[int]) -> Path:
    """A reader who calls the crime films false, and errs on the numbers in `wrong`."""
    path = Path(name)
    lines = [
        {
            "number": row["number"],
            "claims": [
                {"quote": "Alien", "false": False, "kind": "title"},
                {
                    "quote": "film",
                    "false": ("crime" in row["text"]) != (row["number"] in wrong),
                    "kind": "attribute",
                },
            ],
        }
        for row in sheet
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_a_sheet_is_mixed_and_blind(sheet: list[dict]) -> None:
    assert [row["number"] for row in sheet] == list(range(1, 17))
    assert sorted(row["text"] for row in sheet) == [FALSE] * 8 + [TRUE] * 8
    said = json.dumps(sheet)
    assert not any(system in said for system in TEXTS) and '"s1"' not in said
    alien = {"title": "Alien", "genre": ["Horror"], "decade": ["1970s"]}
    assert sheet[0]["history"] == [alien] and sheet[0]["earlier"] == ["Heat"]
    order = [row["text"] == TRUE for row in sheet]
    assert order != sorted(order)


def test_rates_agreement_and_the_audit_against_the_readers(sheet: list[dict]) -> None:
    honest = [row["number"] for row in sheet if row["text"] == TRUE]
    files = {"a": answer(sheet, "a.jsonl", set()), "b": answer(sheet, "b.jsonl", {honest[0]})}
    record = blind.score("blind", files, "two readers")
    tables = {name: pd.DataFrame(rows) for name, rows in record["tables"].items()}
    rates = tables["rates"].set_index(["reader", "system"])["value"]
    for who in ("a", "both", "audit"):
        assert rates[who].to_dict() == dict(zip(TEXTS, (1, 1, 0, 0), strict=True))
    assert sorted(rates["b"]) == [0, 0.25, 1, 1]
    assert tables["agreement"][["n", "agree"]].values.tolist() == [[16, 15 / 16]]
    audit = tables["audit"].set_index("reader")
    assert audit.loc["b", ["labelled", "called", "hits", "precision"]].tolist() == [9, 8, 8, 1]
    assert audit.loc["b", "recall"] == pytest.approx(8 / 9, abs=1e-5)
    claims = tables["claims"].groupby("reader")[["claims", "false", "missed"]].sum()
    assert claims.loc["a"].tolist() == [32, 8, 0] and claims.loc["b"].tolist() == [32, 9, 1]
    given = record["provenance"]["parameters"]
    assert (given["readers"], given["commit_of_run"]) == ("two readers", "abc1234")


def test_what_the_audit_says_is_settled_before_anybody_reads(sheet: list[dict]) -> None:
    key = json.loads(Path("blind/key.json").read_text())
    said = {row["number"]: row["audit"] for row in key["texts"]}
    assert said == {row["number"]: row["text"] == FALSE for row in sheet}
    assert not any("audit" in row for row in sheet)


def test_bad_answers_are_named(sheet: list[dict]) -> None:
    path = answer(sheet, "a.jsonl", set())
    lines = path.read_text().splitlines()
    for wrong, said in (
        (lines[:-1], "a.jsonl: text 16 and 0 more have no answer"),
        ([*lines, lines[0]], "a.jsonl, line 17: text 1 is not on the sheet, or stands here twice"),
        (["[]", *lines[1:]], "a.jsonl, line 1: is no answer"),
        ([lines[0].replace("title", "titel")], "line 1: kind 'titel' is unknown: did you mean"),
        ([lines[0].replace('"false"', '"no"', 1)], "line 1: is no answer"),
        ([lines[0].replace('"false"', "false", 1)], "line 1 is not readable JSON"),
        (["[" * 100_000], "a.jsonl, line 1: JSON that is nested too deep"),
        (['{"number": true, "claims": []}'], "line 1: text True is not on the sheet"),
        (['{"number": 1, "claims": {}}'], "line 1: is no answer"),
        ([lines[0].replace(": false", ": 0")], "a claim needs a quote and false: true or false"),
    ):
        path.write_text("\n".join(wrong))
        with pytest.raises(InputError, match=said):
            blind.score("blind", {"a": path}, "one reader")
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match="no reader may be called 'both'"):
        blind.score("blind", {"both": path}, "one reader")
    with pytest.raises(InputError, match="nowhere/key.json is no key of a sheet"):
        blind.score("nowhere", {"a": path}, "one reader")
    key = Path("blind/key.json")
    key.write_text(key.read_text().replace('"user_id"', '"user"').replace("u1", "u2"))
    with pytest.raises(InputError, match="key.json was changed or damaged since it was written"):
        blind.score("blind", {"a": path}, "one reader")


def test_lines_end_where_json_says(sheet: list[dict]) -> None:
    path = answer(sheet, "a.jsonl", set())
    strange = path.read_text().replace("Alien", "A\u2028\u0085n")
    path.write_bytes(codecs.BOM_UTF8 + strange.encode())
    found = blind.score("blind", {"a": path}, "one reader")["tables"]["claims"]
    assert sum(row["claims"] for row in found) == 32


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"samples": 9}, "samples: 9 are asked for, the run has 6"),
        ({"samples": -1}, "samples must be 1 or more, found -1"),
        ({"samples": 2.5}, "samples must be a whole number, found 2.5"),
        ({"samples": 1, "seed": -1}, "seed: -1 is not in"),
        ({"samples": 1, "seed": 2**32}, "seed: 4294967296 is not in"),
    ],
)
def test_a_draw_that_cannot_be_is_named(sheet: list[dict], asked: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        blind.draw("runs/x", "more", **asked)
    assert not Path("more/sheet.jsonl").exists()


def test_a_record_that_cannot_be_written_is_said_first(tmp_path, monkeypatch):
    monkeypatch.setattr(blind, "score", None)
    asked = ["score", "nowhere", "--answers", "a.jsonl", "--readers", "two"]
    for out, says in ((tmp_path, "it is a folder"), (Path(__file__) / "x.json", "is no folder")):
        with pytest.raises(InputError, match=says):
            blind.main([*asked, "--out", str(out)])
