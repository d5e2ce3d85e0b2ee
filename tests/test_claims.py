"""Rules that turn intervals into verdicts, and the claims of the paper judged on made-up runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from prism_utils import claims, experiments
from prism_utils.claims import paper
from prism_utils.claims.register import JUDGES
from prism_utils.claims.verdicts import (
    CONTRADICTED,
    DIRECTION,
    INCONCLUSIVE,
    INCONSISTENT,
    REPRODUCED,
    SETTINGS,
    SIMULATION,
    UNTESTABLE,
    Part,
    human,
    human_differences,
    in_setting,
    is_verdict,
    judged,
    ordering,
    untestable,
    weakest,
)
from prism_utils.errors import InputError
from prism_utils.human_eval.likert import compare_systems
from prism_utils.runs import Run, write_json
from prism_utils.study import book

ROOT = Path(__file__).resolve().parents[1]
QUICK = {"profile": "quick", "corpus": "embedded", "teacher": "grammar", "device": {"cpu": "a CPU"}}
PAPERS = {
    "profile": "movielens-1m",
    "corpus": "movielens",
    "teacher": "flan-t5-xxl",
    "device": {"cpu": "a CPU", "gpu": "a GPU"},
    "parameters": {
        "01_preprocessing": {"corpus_options": {"release": "ml-1m"}},
        "03_finetuning": {"init_from": "facebook/bart-base"},
        "04_efficiency": {"device": "cuda"},
    },
}


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("interval", "options", "verdict"),
    [
        ((0.1, 0.2), {}, REPRODUCED),
        ((-0.2, -0.1), {}, CONTRADICTED),
        ((-0.1, 0.2), {}, INCONCLUSIVE),
        ((0.0, 0.2), {}, INCONCLUSIVE),
        ((23, 25), {"published": 24, "resolution": 1, "null": 1}, REPRODUCED),
        ((24.5, 26), {"published": 24, "resolution": 1, "null": 1}, REPRODUCED),  # rounds to 24
        ((24.6, 26), {"published": 24, "resolution": 1, "null": 1}, DIRECTION),
        ((0.2, 0.9), {"published": 24, "resolution": 1, "null": 1}, CONTRADICTED),
        ((0.5, 60), {"published": 24, "resolution": 1, "null": 1}, INCONCLUSIVE),
        ((-0.3, -0.1), {"published": -0.2}, REPRODUCED),
        ((-0.3, -0.25), {"published": -0.2}, DIRECTION),
        ((139.4, 139.4), {"published": 140, "resolution": 10, "null": None}, REPRODUCED),
        ((139.4, 139.4), {"published": 140, "resolution": 1, "null": None}, CONTRADICTED),
        ((0.35, 0.35), {"published": 0.3, "resolution": 0.1}, REPRODUCED),  # despite binary
    ],
)
def test_an_interval_gets_its_verdict(interval, options, verdict) -> None:
    assert judged(*interval, **options) == verdict


def test_an_undefined_interval_cannot_be_tested_and_a_reversed_one_is_an_error() -> None:
    assert judged(float("nan"), 1.0) == untestable("the measured value is undefined")
    with pytest.raises(InputError, match="low 2 is above high 1"):
        judged(2, 1)
    with pytest.raises(InputError, match="needs a value or a direction"):
        judged(1, 2, null=None)
    with pytest.raises(InputError, match="did you mean 'paper'"):
        in_setting(REPRODUCED, "papers")


def test_rules_hold_for_any_interval() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        low, high = np.sort(rng.normal(size=2))
        published = rng.normal()
        verdict = judged(low, high, published=published)
        mirrored = judged(-high, -low, published=-published)
        assert verdict == mirrored
        assert judged(3 * low, 3 * high, published=3 * published) == verdict
        # A direction alone is the weaker claim: what contradicts it contradicts any size in it.
        turn = np.sign(published)
        direction = judged(*sorted((turn * low, turn * high)))
        assert (direction == CONTRADICTED) == (verdict == CONTRADICTED)
        assert (direction == INCONCLUSIVE) == (verdict == INCONCLUSIVE)
        assert in_setting(verdict, "paper") == verdict
        assert not in_setting(verdict, "other").startswith((REPRODUCED, CONTRADICTED))
        simulated = in_setting(verdict, "simulated")
        assert simulated.startswith((SIMULATION, INCONCLUSIVE, UNTESTABLE))
        assert all(is_verdict(in_setting(verdict, setting)) for setting in SETTINGS)


def test_the_fixed_list_is_fixed() -> None:
    assert not is_verdict("mostly reproduced") and not is_verdict(UNTESTABLE)
    with pytest.raises(ValueError, match="not a verdict"):
        claims.Finding("looks fine", "")


def test_all_parts_must_hold() -> None:
    good, better = Part("a", 0.2, 0.1, 0.3), Part("b", 0.9, 0.8, 1.0)
    unclear, bad = Part("c", 0.1, -0.1, 0.3), Part("d", -0.2, -0.3, -0.1)
    assert weakest([good, better]) == (0.1, 0.3)
    assert ordering([good, better], [], "paper") == REPRODUCED
    assert ordering([good, unclear], [], "paper") == INCONCLUSIVE
    assert ordering([good, unclear, bad], [], "paper") == CONTRADICTED
    assert ordering([good], ["GPTScore"], "paper").startswith(UNTESTABLE + "GPTScore")
    assert ordering([bad], ["GPTScore"], "paper") == CONTRADICTED
    assert ordering([good], ["GPTScore"], "simulated") == SIMULATION
    with pytest.raises(InputError, match="at least one"):
        weakest([])


def test_what_holm_leaves_undecided_is_inconclusive() -> None:
    assert ordering([Part("a", 0.2, 0.01, 0.4, p=0.06)], [], "paper") == INCONCLUSIVE
    assert ordering([Part("a", -0.2, -0.4, -0.01, p=0.06)], [], "paper") == INCONCLUSIVE
    assert ordering([Part("a", 0.2, 0.01, 0.4, p=0.04)], [], "paper") == REPRODUCED


# ---------------------------------------------------------------- people


def ratings(study: str, prism: int, teacher: int) -> pd.DataFrame:
    """Eight raters, ten samples; every third pair of ratings differs by one point less."""
    rows = [
        (study, f"r{i}", f"s{j}", system, "faithfulness", value)
        for i in range(8)
        for j in range(10)
        for system, value in (("prism", prism - ((i + j) % 3 == 0)), ("flan-t5-xxl", teacher))
    ]
    columns = ["study", "rater_id", "sample_id", "system", "dimension", "rating"]
    return pd.DataFrame(rows, columns=columns)


def test_human_claims_need_people() -> None:
    for setting in SETTINGS:
        assert human([], setting).startswith(UNTESTABLE)
    for study in ("simulated", "simulated again"):
        assert not human_differences(ratings(study, 4, 3), "prism", ["flan-t5-xxl"], paper.HUMAN)


def test_peoples_ratings_are_compared_with_raters_and_samples_crossed() -> None:
    students = ratings("students", 5, 3)
    table = pd.concat([students, ratings("simulated", 2, 5)])
    (part,) = human_differences(table, "prism", ["flan-t5-xxl", "pepler"], paper.HUMAN)
    asked = compare_systems(students, [("prism", "flan-t5-xxl")]).iloc[0]
    assert part[1:4] == pytest.approx((asked["difference"], asked["low"], asked["high"]))
    assert 1 < part.low < part.value < part.high and part.p < 0.05
    assert human([part], "paper") == REPRODUCED
    assert human([part], "simulated") == SIMULATION


def test_one_rater_has_no_interval_and_is_left_out() -> None:
    alone = ratings("students", 4, 3).query("rater_id == 'r0'")
    assert not human_differences(alone, "prism", ["flan-t5-xxl"], paper.HUMAN)


# ---------------------------------------------------------------- runs


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`make_run(facts, table=rows, …)` writes a run with these tables."""
    monkeypatch.chdir(tmp_path)

    def make(facts: dict, **tables: pd.DataFrame) -> Run:
        run = Run.open("runs/x")
        shutil.rmtree(run.tables, ignore_errors=True)
        write_json(facts, run.path / "run.json")
        for name, frame in tables.items():
            run.write(name, frame)
        return run

    return make


def verdicts(run: Run, records: Path | None = None) -> pd.Series:
    return claims.judge(run, records).set_index("name")["verdict"]


def compared(a: str, b: str, metrics, difference: float, p: float = 0.001) -> pd.DataFrame:
    low, high = difference - 0.01, difference + 0.01
    rows = [(metric, a, b, difference, low, high, p, p, 100) for metric in metrics]
    columns = ["metric", "system_a", "system_b", "difference", "low", "high", "p", "p_holm", "n"]
    return pd.DataFrame(rows, columns=columns)


ALL = ("rougeL", "bertscore_f1", "gptscore_judge")


def test_every_claim_is_judged_even_without_a_run(make_run) -> None:
    found = claims.judge(make_run({}))
    assert tuple(found.columns) == claims.COLUMNS
    assert list(found["name"]) == list(paper.CLAIMS)
    assert set(JUDGES) == set(paper.CLAIMS)
    assert found["verdict"].map(is_verdict).all() and found["why"].str.len().gt(0).all()
    waiting = found[found["verdict"].str.contains("run chapter")]
    asked = waiting["verdict"].str.extract(r"run chapter (\w+) first")[0]
    assert set(asked) == {"4", "5", "7", "7c", "8", "9"}
    for chapter, why, evidence in zip(asked, waiting["why"], waiting["evidence"], strict=True):
        notebook = evidence.partition("#")[0]
        assert notebook in why and notebook.lstrip("0").startswith(f"{chapter}_")


def test_what_the_print_alone_decides(make_run) -> None:
    found = claims.judge(make_run({})).set_index("name")
    expected = {
        "student_parameters": (REPRODUCED, "139.4M"),
        "teacher_parameters": (REPRODUCED, "11.004B to 11.135B"),
        "size_ratio": (DIRECTION, "78.9 to 79.9 times"),
        "yelp_student_size": (INCONSISTENT, "1,666M"),
        "teacher_memory": (INCONSISTENT, "20.50 (tied), 20.74 GiB (untied)"),
        "movielens_sequences": (REPRODUCED, "894,752 and 99,417"),
        "movielens_items": (CONTRADICTED, "3,706"),
        "yelp_sequences": (INCONSISTENT, "5,002,351"),
        "gptscore_scale": (INCONSISTENT, "at most 0"),
        "bertscore_scale": (INCONSISTENT, "0.83"),
        "distillation_cost": (
            untestable("how the teacher was run is not stated"),
            "1,274 and 2,020",
        ),
        "table_4": (DIRECTION, "0.556 and 0.062"),
        "cited_rows": (INCONSISTENT, "PEPLER 3.36"),
        "rouge_1_2": (INCONSISTENT, "ROUGE-1, ROUGE-2"),
        "golden_and_baseline": (untestable("the teacher's decoding is not stated"), "1.000"),
        "teacher_upper_bound": (INCONSISTENT, "4 cells"),
        "never_repeats": (INCONSISTENT, "1 of 3"),
        "prompt_constrains": (INCONSISTENT, "0 words"),
        "genrec_cited": (INCONSISTENT, "decoder alone"),
        "genrec_adopted": (CONTRADICTED, "0.036"),
        "kappa_threshold": (REPRODUCED, "0.61 substantial"),
    }
    for name, (verdict, measured) in expected.items():
        assert found.loc[name, "verdict"] == verdict, name
        assert measured in found.loc[name, "measured"], name


def test_the_setting_bounds_the_verdict(make_run) -> None:
    above = compared("prism", "att2seq", ALL, 0.1)
    assert verdicts(make_run(PAPERS, comparisons=above))["beats_att2seq"] == REPRODUCED
    assert verdicts(make_run(QUICK, comparisons=above))["beats_att2seq"] == SIMULATION
    other = PAPERS | {"teacher": "flan-t5-base"}
    assert verdicts(make_run(other, comparisons=above))["beats_att2seq"] == DIRECTION

    below = compared("prism", "att2seq", ALL, -0.1)
    assert verdicts(make_run(PAPERS, comparisons=below))["beats_att2seq"] == CONTRADICTED
    opposite = verdicts(make_run(QUICK, comparisons=below))["beats_att2seq"]
    assert opposite == untestable("a simulation shows the opposite")


def test_a_comparison_may_stand_in_either_order(make_run) -> None:
    turned = compared("att2seq", "prism", ALL, -0.1)
    found = claims.judge(make_run(PAPERS, comparisons=turned)).set_index("name")
    assert found.loc["beats_att2seq", "verdict"] == REPRODUCED
    assert "+0.100 [+0.090, +0.110]" in found.loc["beats_att2seq", "measured"]


def test_what_was_not_measured_is_named(make_run) -> None:
    part = compared("prism", "att2seq", ["rougeL"], 0.1)
    found = claims.judge(make_run(PAPERS, comparisons=part)).set_index("name")
    assert "bertscore_f1, gptscore_judge not measured" in found.loc["beats_att2seq", "verdict"]
    assert found.loc["beats_pepler", "verdict"] == untestable("this run has not both systems")


def test_fewer_errors_are_better(make_run) -> None:
    fewer = compared("flan-t5-xxl", "prism", ["foreign_title"], 0.2)
    more = compared("flan-t5-xxl", "prism", ["wrong_attribute"], -0.2)
    found = verdicts(make_run(PAPERS, comparisons=pd.concat([fewer, more])))
    assert found["student_filters"] == REPRODUCED
    assert found["student_filters_attributes"] == CONTRADICTED


def test_no_score_makes_a_human_claim_hold(make_run) -> None:
    systems = ("att2seq", "pepler", "bart-zero-shot", "prism-no-user", "flan-t5-xxl")
    table = pd.concat([compared("prism", s, [*ALL, "foreign_title"], 0.5) for s in systems])
    people = ["student_beats_teacher", "humans_prefer_student", "user_vector_personal"]
    simulated = ratings("simulated", 5, 1)
    found = verdicts(make_run(PAPERS, comparisons=table, ratings=simulated))
    assert found[people].str.startswith(UNTESTABLE).all()
    # One of two dimensions rated by people: still not the whole claim.
    found = verdicts(make_run(PAPERS, comparisons=table, ratings=ratings("students", 4, 3)))
    assert found["student_beats_teacher"] == untestable("1 of the comparisons were not rated")


def duel(teacher: str, student: str, ratio: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    timings = pd.DataFrame(
        [(student, 1, 0.1, 0.099, 0.101), (teacher, 1, 0.1 * ratio, 0.099 * ratio, 0.101 * ratio)],
        columns=["model", "batch_size", "median_s", "p5_s", "p95_s"],
    )
    sizes = pd.DataFrame({"model": [student, teacher], "peak_bytes": [2.0**30, ratio * 2.0**30]})
    return timings, sizes


def test_ratios_of_other_models_say_nothing_of_the_papers(make_run) -> None:
    timings, sizes = duel("flan-t5-base", "student", 24.2)
    found = verdicts(make_run(QUICK, timings=timings, sizes=sizes))
    assert found["speedup"] == found["memory"] == untestable("not the paper's models")


def test_ratios_of_the_papers_models(make_run, tmp_path) -> None:
    timings, sizes = duel("flan-t5-xxl", "bart-base", 24.2)
    found = claims.judge(make_run(PAPERS, timings=timings, sizes=sizes)).set_index("name")
    assert found.loc["speedup", "verdict"] == REPRODUCED
    assert found.loc["memory", "verdict"] == DIRECTION  # 24.2 where 10.8 is printed
    assert found.loc["teacher_latency", "measured"] == "2,420 ms"
    assert found.loc["student_memory", "measured"] == "1.00 GiB"
    assert found.loc["student_memory", "verdict"].startswith(UNTESTABLE)

    records = tmp_path / "records"
    records.mkdir()
    record = {
        "kind": "efficiency",
        "date": "2026-01-01",
        "commit": None,
        "device": "some GPU",
        "models": [],
        "left_out": [],
        "distillation": [],
        "cells": [
            {**time, "peak_bytes": size["peak_bytes"], "input_tokens": length,
             "output_tokens": 40, "dtype": dtype, "backend": "generate",
             **{k: time[k] * slower for k in ("median_s", "p5_s", "p95_s")}}
            for length, dtype, scale in ((128, "bfloat16", 2), (256, "bfloat16", 1),
                                         (256, "float32", 9))
            for time, size in zip(
                timings.to_dict("records"), sizes.to_dict("records"), strict=True
            )
            for slower in [scale if time["model"] == "flan-t5-xxl" else 1]
        ],
    }  # fmt: skip
    (records / "efficiency.json").write_text(json.dumps(record))
    found = claims.judge(make_run(QUICK), records).set_index("name")
    assert found.loc["speedup", "verdict"] == DIRECTION  # another machine than the paper's
    assert "record efficiency: some GPU" in found.loc["speedup", "on"]
    assert found.loc["speedup", "measured"].startswith("24.2 ")  # the reference, not the others
    assert "over the record's 3 settings the ratio is 24.2 to 217.8" in found.loc["speedup", "why"]


def test_a_run_s_own_record_replaces_the_book_s(make_run, tmp_path) -> None:
    kept, own = tmp_path / "records", tmp_path / "runs" / "x" / "records"
    for folder, difference in ((kept, 0.1), (own, 0.3)):
        folder.mkdir(parents=True)
        rows = compared("prism", "xrec", ["rougeL"], difference).assign(split="by user")
        made = {"date": "2026-01-01", "commit": None, "device": {}}
        text = json.dumps(made | {"comparisons": rows.to_dict("records")})
        (folder / "xrec_yelp.json").write_text(text)
    found = claims.judge(make_run(QUICK), kept).set_index("name").loc["decoupling"]
    assert (
        found["verdict"].startswith(UNTESTABLE) and "by user: ROUGE-L +0.300" in found["measured"]
    )


def ranking(ranks: dict[str, float]) -> pd.DataFrame:
    rows = [
        (system, metric, 1 / rank, 1 / rank - 0.01, 1 / rank + 0.01, rank, rank, rank)
        for system, rank in ranks.items()
        for metric in ("rougeL", "bertscore_f1")
    ]
    columns = ["system", "metric", "value", "low", "high", "rank", "rank_low", "rank_high"]
    return pd.DataFrame(rows, columns=columns)


def test_a_teacher_is_not_compared_with_itself(make_run) -> None:
    alone = ranking({"prism": 1, "pepler": 2})  # the teacher had no other text to show
    found = verdicts(make_run(QUICK, pitfall_ranking=alone))
    own = untestable("this teacher is its own reference")
    assert found["teacher_highest_rouge"] == found["semantic_metrics"] == own
    first = verdicts(make_run(QUICK, pitfall_ranking=ranking({"grammar": 1, "prism": 2})))
    assert first["teacher_highest_rouge"] == SIMULATION
    assert first["semantic_metrics"] == untestable("a simulation shows the opposite")
    second = verdicts(make_run(QUICK, pitfall_ranking=ranking({"prism": 1, "grammar": 2})))
    assert second["teacher_highest_rouge"] == untestable("a simulation shows the opposite")
    assert second["semantic_metrics"] == SIMULATION


def test_the_pitfall_in_simulation(make_run) -> None:
    value = {"metric": "rougeL", "value": 0.2, "low": 0.1, "high": 0.3}
    tables = {
        "pitfall_pairs": pd.DataFrame([value | {"variant": "paraphrase over false copy"}]),
        "pitfall_auc": pd.DataFrame([value | {"references": "erring alike", "error": "any"}]),
        "pitfall_self_reference": pd.DataFrame(
            [value | {"references": "difference", "system": "grammar"}]
        ),
    }
    found = claims.judge(make_run(QUICK, **tables)).set_index("name")
    names = ["rouge_misleads", "rouge_rewards_errors", "self_reference"]
    assert (found.loc[names, "verdict"] == SIMULATION).all()
    assert found.loc["rouge_misleads", "measured"] == "false copy wins 80% [70, 90]"
    blind = pd.DataFrame([value | {"references": "erring alike", "error": "any", "high": 0.6}])
    assert verdicts(make_run(QUICK, pitfall_auc=blind))["rouge_rewards_errors"] == INCONCLUSIVE


def test_counts_of_movielens_1m_are_the_run_s_own_where_it_has_them(make_run) -> None:
    samples = pd.DataFrame({
        "sample_id": ["a", "b"], "user_id": "u", "history": [["1"], ["1", "2"]],
        "item_id": ["2", "3"], "split": ["train", "test"],
    })  # fmt: skip
    interactions = pd.DataFrame({"user_id": "u", "item_id": ["1", "2", "3"]})
    found = claims.judge(make_run(PAPERS, samples=samples, interactions=interactions))
    found = found.set_index("name")
    assert found.loc["movielens_sequences", "measured"] == "1 and 1"
    assert found.loc["movielens_sequences", "verdict"] == CONTRADICTED
    assert found.loc["movielens_items", "measured"] == "3 films"


# ---------------------------------------------------------------- the book


def test_front_page_links_only_to_what_is_there(make_run) -> None:
    judged_claims = claims.judge(make_run(QUICK))
    table = book.claims_table(judged_claims, {"evidence-parameters", "claim-rouge_1_2"})
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if "|" in line}
    assert len(rows) == len(paper.CLAIMS) + 5  # header, rule and three groups
    count = rows[paper.CLAIMS["student_parameters"].text]
    assert "{ref}`reproduced <evidence-parameters>`" in count and "139.4M" in count
    assert "{ref}`internally inconsistent <claim-rouge_1_2>`" in table
    assert table.count("{ref}") == 1 + 4  # four claims stand on the cell of the counts
    assert table.startswith(f"{len(paper.CLAIMS)} claims: reproduced ")
    assert all(row.count("|") == 5 for row in rows.values())


def test_entries_give_reason_and_computation(make_run) -> None:
    judged_claims = claims.judge(make_run(QUICK))
    text = book.claim_entries(judged_claims, {"evidence-parameters"})
    assert all(f"(claim-{name})=" in text for name in paper.CLAIMS)
    assert "def _gptscore_scale(" in text and "def _speedup(" not in text
    assert "{ref}`04_efficiency <evidence-parameters>`" in text


def test_labels_are_read_from_prose() -> None:
    cells = nbformat.v4
    notebook = cells.new_notebook(
        cells=[
            cells.new_markdown_cell("Text.\n\n(evidence-a)=\n## A\nnot (evidence-b)= here"),
            cells.new_code_cell("(c)="),
        ]
    )
    assert book.labels(notebook) == {"evidence-a"}


def test_every_chapter_holds_the_cells_that_verdicts_link_to(make_run) -> None:
    wanted = claims.judge(make_run({}))["evidence"].str.partition("#")
    missing = []
    for chapter, label in sorted(set(zip(wanted[0], wanted[2], strict=True))):
        if chapter == claims.CLAIMS_PAGE:
            assert label.removeprefix("claim-") in paper.CLAIMS
            continue
        path = ROOT / "notebooks" / f"{chapter}.ipynb"
        if not path.is_file() or label not in book.labels(nbformat.read(path, as_version=4)):
            missing.append(f"{path.name}: ({label})=")
    assert not missing


def test_what_capacity_does_is_judged_by_the_slope_over_sizes(make_run, tmp_path) -> None:
    run = make_run(QUICK)
    rows = []
    for seed in range(3):
        for size, rate in (("0.5M", 0.05), ("2M", 0.15 + 0.001 * seed)):
            at = {"size": size, "seed": seed, "metric": "foreign_title"}
            rows += [
                {**at, "decoding": d, "value": v} for d, v in (("teacher", 0.3), ("greedy", rate))
            ]
    given = {"grid": "full", "points": 6, "base": experiments.BASE}
    made = {"parameters": given, "date": "2026-01-01", "device": {"cpu": "a CPU"}}
    tables = {"mechanism": experiments.records(pd.DataFrame(rows))}
    write_json({"provenance": made, "tables": tables}, tmp_path / "mechanism.json")
    found = claims.judge(run, tmp_path).set_index("name").loc["compression_regularises"]
    assert found["verdict"] == SIMULATION  # two doublings and ten points: a larger one copies more
    assert found["measured"].startswith("greedy +0.05") and "6 trainings" in found["on"]
    one = [row for row in tables["mechanism"] if row["seed"] == 0]
    write_json({"provenance": made, "tables": {"mechanism": one}}, tmp_path / "mechanism.json")
    found = claims.judge(run, tmp_path).set_index("name").loc["compression_regularises"]
    assert found["verdict"].startswith(UNTESTABLE.partition(":")[0])


def test_rankers_and_strangers_stand_beside_their_claims(make_run) -> None:
    span = {"low": 0.9, "high": 1.0, "metric": "names_item", "value": 0.95}
    rankers = pd.DataFrame([{**span, "system": "ease", "what": "explained by student"}])
    span |= {"metric": "grounded", "setting": "base", "system": "own"}
    controls = pd.DataFrame([{**span, "users": users} for users in ("known", "unknown")])
    run = make_run(QUICK, rankers=rankers, controls=controls)
    found = claims.judge(run).set_index("name")["measured"]
    assert found["any_ranker"] == "ease 95% [90%, 100%]"
    assert "(unknown to training)" in found["cold_start"]
