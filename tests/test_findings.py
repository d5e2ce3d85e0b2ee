"""Findings: answers follow the numbers, what is missing is left out, evidence is there."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from prism_utils import experiments
from prism_utils.claims.findings import findings
from prism_utils.runs import Run, write_json
from prism_utils.study import book

ROOT = Path(__file__).resolve().parents[1]
FACTS = {"profile": "quick", "corpus": "embedded", "teacher": "grammar", "device": {"cpu": "a CPU"}}


def trained(greedy: float, drawn: float, repeated: float, larger: float) -> pd.DataFrame:
    """Rows as of `experiments.measure`: three seeds of a base point, a systematic one, a larger."""
    rows = []
    for seed in range(3):
        noise = 0.002 * seed
        for changes, rates in (
            ({}, {"teacher": 0.3, "greedy": greedy, "sample@1.0": drawn}),
            ({"systematic": True}, {"teacher": 0.3, "greedy": repeated, "sample@1.0": 0.3}),
            ({"size": "2M"}, {"teacher": 0.3, "greedy": larger, "sample@1.0": drawn}),
        ):
            for decoding, value in rates.items():
                at = {**changes, "seed": seed, "decoding": decoding}
                rows.append({**at, "metric": "foreign_title", "value": value + noise, "n": 100})
                if decoding != "teacher":
                    rows.append({**at, "metric": "predicted_foreign_title", "value": 0.0, "n": 9})
    return pd.DataFrame(rows)


def save(folder: Path, table: pd.DataFrame, points: int) -> None:
    given = {"grid": "full", "points": points, "base": experiments.BASE}
    made = {"parameters": given, "date": "2026-01-01", "device": {"cpu": "a CPU"}}
    tables = {"mechanism": experiments.records(table)}
    write_json({"provenance": made, "tables": tables}, folder / "mechanism.json")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    run = Run.open("runs/x")
    write_json(FACTS, run.path / "run.json")
    (tmp_path / "records").mkdir()
    return run


def answers(run: Run) -> dict[str, str]:
    return {f.label: f.answer for f in findings(run, Path("records")) if f.label != "filter"}


def filters(run: Run) -> list[str]:
    return [f.answer for f in findings(run, Path("records")) if f.label == "filter"]


def test_without_tables_only_the_print_speaks(run: Run) -> None:
    (only,) = findings(run, Path("records"))
    assert only.question.startswith("Do the paper's own numbers")
    assert int(only.answer.split()[0]) > 0


@pytest.mark.parametrize(
    ("difference", "says"),
    [(-0.1, "less often"), (0.1, "more often"), (0.005, "no difference shown")],
)
def test_faithfulness_is_worded_by_the_interval(run: Run, difference: float, says: str) -> None:
    interval = {"low": difference - 0.01, "high": difference + 0.01, "p": 0.5, "p_holm": 0.5}
    names = {"system_a": "prism", "system_b": "grammar", "metric": "foreign_title"}
    run.write("comparisons", pd.DataFrame([{**names, "difference": difference, **interval}]))
    told = answers(run)["comparisons"]
    assert f"never saw: {says}" in told and f"({100 * difference:+.1f} [" in told
    assert "invents" not in told  # was not measured


def test_likeness_stands_beside_its_floor(run: Run) -> None:
    values = {"system": "prism", "metric": "rougeL", "low": 0.28, "high": 0.3, "value": 0.29}
    run.write(
        "evaluation", pd.DataFrame([{**values, "floor_shuffled": 0.2, "floor_constant": 0.25}])
    )
    told = answers(run)["table-3"]
    assert "0.290 [0.280, 0.300]" in told and "reaches 0.250" in told and "by that" in told
    run.write(
        "evaluation", pd.DataFrame([{**values, "floor_shuffled": 0.2, "floor_constant": 0.29}])
    )
    assert "no difference is shown" in answers(run)["table-3"]


def test_the_filter_is_found_in_decoding_or_is_not(run: Run) -> None:
    save(Path("records"), trained(0.02, 0.3, 0.6, 0.02), points=9)
    decoding, systematic = filters(run)
    assert "taking the likeliest word leaves them out" in decoding
    assert "filters at 1" in decoding and "amplifies at 1" in systematic
    save(Path("records"), trained(0.28, 0.3, 0.6, 0.02), points=9)
    assert "decoding alone does not explain it" in filters(run)[0]


@pytest.mark.parametrize(("larger", "says"), [(0.1, "more errors"), (0.0, "fewer errors")])
def test_compression_is_worded_by_the_slope(run: Run, larger: float, says: str) -> None:
    save(Path("records"), trained(0.05, 0.3, 0.6, larger), points=9)
    told = answers(run)["capacity"]
    assert "(0.5M to 2M parameters)" in told
    assert re.search(rf"greedy [^;]*: {says}", told) and "no slope shown" in told


def test_few_examples_let_errors_through(run: Run) -> None:
    table = trained(0.02, 0.3, 0.6, 0.02)
    few = table[table["systematic"].isna() & table["size"].isna()].assign(n_train=1500)
    few.loc[few["decoding"] == "greedy", "value"] += 0.2
    save(Path("records"), table, points=9)
    assert "memorisation" not in answers(run)  # one number of examples has no slope
    save(Path("records"), pd.concat([table, few]), points=12)
    told = answers(run)["memorisation"]
    assert "(1,500 to 6,000) -10.0" in told and told.endswith("fewer errors.")


def test_the_larger_of_two_records_speaks(run: Run) -> None:
    save(Path("records"), trained(0.02, 0.3, 0.6, 0.02), points=9)
    save(run.path / "records", trained(0.28, 0.3, 0.6, 0.02), points=5)
    assert "leaves them out" in filters(run)[0]
    save(run.path / "records", trained(0.28, 0.3, 0.6, 0.02), points=90)
    assert "alone does not explain" in filters(run)[0]


def test_a_page_links_only_to_evidence_that_is_there(run: Run) -> None:
    save(Path("records"), trained(0.02, 0.3, 0.6, 0.02), points=9)
    found = findings(run, Path("records"))
    text = book.findings_list(found, {"evidence-capacity"})
    assert text.count("## ") == len(found)
    assert re.findall(r"{ref}`(.*?)`", text) == ["08_mechanism <evidence-capacity>"]


def test_chapters_hold_the_cells_that_findings_name(run: Run) -> None:
    source = (ROOT / "prism_utils" / "claims" / "findings.py").read_text(encoding="utf-8")
    named = re.findall(r'"(0[\w]+)",\n\s+"([\w-]+)",\n\s+(?:on|evidence|f?"|\))', source)
    assert len(named) > 8
    for chapter, label in named:
        notebook = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
        assert f"evidence-{label}" in book.labels(notebook), (chapter, label)


def test_what_the_facts_are_worth_needs_both_students(run: Run) -> None:
    claims = pd.DataFrame(
        [("prism", 0.321, 0.3, 0.34), ("prism-facts", 0.0213, 0.01, 0.03)],
        columns=["system", "value", "low", "high"],
    ).assign(metric="false")
    price = pd.DataFrame({"way": ["as written", "retry"], "false": [0.02, 0.0], "ratio": [1, 1.25]})
    run.write("claims_of_texts", claims.head(1))
    run.write("guarantee", price)
    assert "facts" not in answers(run)
    run.write("claims_of_texts", claims)
    assert answers(run)["facts"] == (
        "Told titles alone it says something that nothing supports in 32% [30%, 34%] of its "
        "explanations, told also what item and history share in 2.1% [1.0%, 3.0%]. Where such "
        "texts are replaced, 0.0% are left, for 1.25 of the time."
    )
