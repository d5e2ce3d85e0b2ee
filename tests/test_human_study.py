"""The rating study: its design and power, key and form as files, and the commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rating_study import HOSTILE, SYSTEMS, answer_file, make, replace, tables

from prism_utils.errors import InputError
from prism_utils.human_eval import design, form, widget
from prism_utils.human_eval.__main__ import main
from prism_utils.human_eval.key import Study
from prism_utils.human_eval.simulation import DIMENSIONS
from prism_utils.tables import read_table

# --- design -------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 9), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_blocks_have_equal_margins_or_say_why_not(raters, samples, replicas, seed):
    if replicas > raters or samples * replicas % raters:
        with pytest.raises(InputError, match="raters_per_sample"):
            design.blocks(raters, samples, replicas, seed=seed)
        return
    given_to = design.blocks(raters, samples, replicas, seed=seed)
    assert given_to.shape == (raters, samples)
    assert (given_to.sum(axis=0) == replicas).all()
    assert (given_to.sum(axis=1) == samples * replicas // raters).all()


@pytest.mark.parametrize(("raters", "samples", "replicas"), [(7, 7, 3), (13, 13, 4), (6, 10, 3)])
def test_a_balanced_incomplete_block_design_is_found_where_there_is_one(raters, samples, replicas):
    given_to = design.blocks(raters, samples, replicas).astype(int)
    between = (given_to @ given_to.T)[np.triu_indices(raters, 1)]
    assert len(set(between)) == 1


@pytest.mark.parametrize("replicas", [2, 3, 6])
def test_a_study_is_balanced_blind_and_never_shows_a_history_twice_in_a_row(replicas):
    study = make(raters=6, n_samples=6, raters_per_sample=replicas, seed=3)
    facts = design.balance(study)
    assert facts["raters per explanation, fewest"] == facts["raters per explanation, most"]
    assert facts["raters per explanation, most"] == replicas
    assert facts["times a rater sees a system, fewest"] == replicas
    assert facts["times a rater sees a system, most"] == replicas
    assert facts["histories twice in a row"] == 0
    rows = study.assignment
    assert rows["code"].is_unique and rows["code"].str.fullmatch(r"[b-z]{8}").all()
    for rater_id in study.raters:
        mine = study.of(rater_id)
        assert mine["number"].tolist() == list(range(1, len(mine) + 1))
        assert (mine.groupby("sample_id")["system"].nunique() == len(SYSTEMS)).all()
        # all samples once before any comes back, the systems mixed in every pass
        assert mine["sample_id"].head(replicas).is_unique
        in_first_pass = mine["system"].head(replicas).value_counts().reindex(SYSTEMS, fill_value=0)
        assert in_first_pass.max() - in_first_pass.min() <= 1


def test_the_count_of_histories_in_a_row_can_fail():
    study = make()
    one = study.assignment.sort_values(["rater_id", "sample_id"])
    one["number"] = one.groupby("rater_id").cumcount() + 1
    worse = Study(**{**study.__dict__, "assignment": one})
    assert design.balance(worse)["histories twice in a row"] == 4 * 4


def test_orders_differ_between_raters_and_come_back_with_the_seed():
    study = make(seed=5)
    pd.testing.assert_frame_equal(study.assignment, make(seed=5).assignment)
    assert not study.assignment.equals(make(seed=6).assignment)
    orders = {tuple(study.of(rater)["sample_id"]) for rater in study.raters}
    assert len(orders) == len(study.raters)


def test_samples_come_from_as_many_users_as_there_are():
    data = tables()
    study = make(n_samples=6)
    users = data["samples"].set_index("sample_id")["user_id"]
    assert users[study.samples["sample_id"]].is_unique
    assert make(n_samples=12).samples["sample_id"].nunique() == 12


def test_only_as_much_of_a_history_is_shown_as_the_systems_saw_and_titles_are_labelled():
    study = make(max_history=2)
    assert (study.samples["history"].map(len) == 2).all()
    assert study.items["label"].str.fullmatch(r"Film \d+ <i> \(\d{4}\)").all()
    assert set(study.items["facts"]) == {"genre: Drama, War"}
    assert set(make(facts=False).items["facts"]) == {""}


def test_the_key_file_gives_the_study_back(tmp_path):
    study = make()
    again = Study.load(study.save(tmp_path / "deep" / "key.json"))
    for name in ("assignment", "explanations", "samples", "items"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(study, name), check_dtype=False)
    assert (again.name, again.noun, again.seed) == (study.name, study.noun, study.seed)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "my study"}, "study name 'my study'"),
        ({"systems": ["prism", "techer"]}, "did you mean 'teacher'"),
        ({"systems": ["prism", "prism"]}, "name each system once"),
        ({"n_samples": 13}, "only 12 samples"),
        ({"n_samples": 0}, "n_samples must be at least 1"),
        ({"raters": 0}, "raters must be at least 1"),
        ({"raters": 2.5}, "raters must be a whole number, found 2.5"),
        ({"raters": 10**9}, "raters must be between 1 and 500"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"noun": ""}, "noun ''"),
        ({"name": "2024-01"}, "spreadsheets change it"),
        ({"raters_per_sample": 5}, "between 1 and 4"),
        ({"n_samples": 6, "raters_per_sample": 1}, "choose one of: 2, 4"),
        ({"raters_per_sample": 1}, "twice in a row"),
        ({"max_history": 0}, "max_history"),
        ({"items": tables()["items"].head(3)}, "no row for item_id"),
    ],
)
def test_an_impossible_study_is_refused_in_a_sentence(options, says):
    with pytest.raises(InputError, match=re.escape(says)):
        make(**options)


def test_a_year_that_is_none_is_not_shown():
    data = tables()
    years = data["items"].assign(year=pd.array([None, None] + [1990] * 13, dtype="Int64"))
    labels = make(n_samples=12, items=years).items.set_index("item_id")["label"]
    assert labels[["i0", "i1"]].tolist() == ["Film 0 <i>", "Film 1 <i>"]


# --- power --------------------------------------------------------------------------------------


def test_power_is_the_level_without_a_difference_and_grows_with_everything():
    assert design.power(0, samples=20, raters=30) == pytest.approx(0.05)
    by_size = design.power([0.1, 0.3, 0.5, 5.0], samples=20, raters=30)
    assert (np.diff(by_size) > 0).all() and by_size[-1] == 1
    assert (np.diff(design.power(0.3, samples=[5, 20, 80], raters=30)) > 0).all()
    assert (np.diff(design.power(0.3, samples=20, raters=[3, 10, 30])) > 0).all()
    fewer = design.power(0.3, samples=20, raters=30, raters_per_sample=3)
    assert fewer < design.power(0.3, samples=20, raters=30)


def test_power_equals_the_paired_t_test_where_only_samples_differ():
    """Without differences between raters and without noise: a one-sample t-test on samples."""
    from statsmodels.stats.power import TTestPower

    ours = design.power(0.3, samples=25, raters=10, sample_sd=0.5, rater_sd=0, noise_sd=0)
    theirs = TTestPower().power(effect_size=0.6, nobs=25, alpha=0.05)
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_power_agrees_with_simulated_studies():
    """The quasi-F test of a complete crossed design, on ratings drawn from the stated model."""
    from scipy import stats

    rng, m, n, trials = np.random.default_rng(0), 15, 12, 4000
    d = (
        0.35
        + 0.5 * rng.standard_normal((trials, m, 1))
        + 0.3 * rng.standard_normal((trials, 1, n))
        + np.sqrt(2) * 0.7 * rng.standard_normal((trials, m, n))
    )
    by_sample, by_rater, mean = d.mean(axis=2), d.mean(axis=1), d.mean(axis=(1, 2))
    ms_s = n * by_sample.var(axis=1, ddof=1)
    ms_r = m * by_rater.var(axis=1, ddof=1)
    rest = d - by_sample[:, :, None] - by_rater[:, None, :] + mean[:, None, None]
    ms_e = (rest**2).sum(axis=(1, 2)) / ((m - 1) * (n - 1))
    total = np.maximum(ms_s + ms_r - ms_e, ms_e)
    df = total**2 / (ms_s**2 / (m - 1) + ms_r**2 / (n - 1) + ms_e**2 / ((m - 1) * (n - 1)))
    rejected = np.abs(mean) / np.sqrt(total / (m * n)) > stats.t.ppf(0.975, df)
    expected = design.power(0.35, samples=m, raters=n)
    assert rejected.mean() == pytest.approx(float(expected), abs=0.04)


def test_required_is_the_smallest_that_suffices():
    table = design.required(0.3, raters=[3, 15, 30])
    assert table["samples"].isna().tolist() == [True, False, False]
    for row in table.dropna().itertuples():
        assert row.power >= 0.8
        assert design.power(0.3, samples=row.samples - 1, raters=row.raters) < 0.8
        assert row.ratings == row.samples * row.raters


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: design.power(0.3, samples=1, raters=9), "at least 2 samples"),
        (lambda: design.power(0.3, samples=9, raters=9, noise_sd=-1), "noise_sd"),
        (lambda: design.power(0.3, samples=9, raters=9, level=5), "level"),
        (lambda: design.required(0.3, wanted=80), "wanted"),
        (lambda: design.required(float("nan")), "difference must be a number"),
        (lambda: design.required(0.3, raters=[30.5]), "raters must be a whole number"),
        (lambda: design.required(0.3, most_samples=1), "most_samples must be at least 2"),
        (lambda: design.power(0.3, samples=np.nan, raters=9), "samples must be finite"),
        (lambda: design.power(0.3, samples=9, raters=9, sample_sd=np.inf), "sample_sd"),
        (lambda: design.power(0.3, samples=9, raters=9, level=1e-20), "level"),
    ],
)
def test_power_refuses_impossible_numbers(call, says):
    with pytest.raises(InputError, match=says):
        call()


# --- form ---------------------------------------------------------------------------------------


def test_a_form_is_one_file_that_loads_nothing_and_names_no_system():
    study = make()
    html = form.render(study, "r02", send_to="the lab")
    mine = study.of("r02")
    assert all(code in html for code in mine["code"])
    others = study.assignment[study.assignment["rater_id"] != "r02"]
    assert not any(code in html for code in others["code"])
    assert not any(system in html for system in SYSTEMS)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|src=[\"'h/]", html)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", html)
    assert html.count("<script") == 2 and "default-src 'none'" in html


def test_the_text_of_an_explanation_cannot_leave_its_block():
    html = form.render(make(n_samples=12), "r01")
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert not set("<>&\u2028") & set(block[1])
    shown = [row["text"] for row in json.loads(block[1])["rows"]]
    assert any(HOSTILE in text for text in shown)


def test_the_guide_has_an_example_for_every_level_and_ten_samples_for_practice():
    guide = form.load_guide()
    assert set(guide["dimensions"]) == set(DIMENSIONS) and len(guide["calibration"]) == 10
    for name in DIMENSIONS:
        assert len(guide["dimensions"][name]["levels"]) == 5
        assert {s["ratings"][name] for s in guide["calibration"]} == {1, 2, 3, 4, 5}


def spoil(path: str, value) -> dict:
    guide = form.load_guide()
    replace(guide, path, value)
    return guide


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("advice", "be good", "'advice'"),
        ("advice", [1], "'advice'"),
        ("setting/item", 3, "'setting' needs an item"),
        ("setting/history", "Alien", "'setting' needs a history"),
        ("dimensions/charm", {}, "'dimensions' must be"),
        ("dimensions/faithfulness/levels", [["a", "b"]], "five 'levels'"),
        ("dimensions/faithfulness/low", None, "needs 'low'"),
        ("calibration/3/ratings", {"faithfulness": 6}, "calibration 4 needs a rating"),
        ("calibration/0/why", None, "calibration 1 needs 'why'"),
        ("calibration/0/history", [3], "calibration 1 needs a history"),
        ("calibration/0", "text", "calibration 1 must be a JSON object"),
        ("calibration/0/ratings/faithfulness", 4.0, "calibration 1 needs a rating"),
        ("calibration", [], "needs a sample for practice"),
        ("dimensions/faithfulness", 3, "'faithfulness' must be a JSON object"),
        ("advice", ["\ud83d"], "half a character"),
    ],
)
def test_a_guide_that_does_not_fit_is_refused(tmp_path, path, value, says):
    file = tmp_path / "guide.json"
    file.write_text(json.dumps(spoil(path, value)))
    with pytest.raises(InputError, match=re.escape(says)):
        form.load_guide(file)


def test_forms_for_unknown_raters_broken_guides_and_simulated_studies_are_refused(tmp_path):
    with pytest.raises(InputError, match="did you mean 'r04'"):
        form.render(make(), "r44")
    with pytest.raises(InputError, match="none.json: no such file"):
        form.load_guide(tmp_path / "none.json")
    with pytest.raises(InputError, match="a folder; give a readable guide"):
        form.load_guide(tmp_path)
    with pytest.raises(InputError, match="marks simulated ratings"):
        form.render(make(name="simulated-2"), "r01")


def test_the_widget_shows_the_form_and_takes_its_text():
    study = make()
    shown = widget.show(study, height=500).data
    assert 'height="500"' in shown and shown.count("<iframe") == 1 and "<script" not in shown
    got = widget.answers(study, answer_file(study, "r01").partition("\n")[0] + "\n")
    assert got.refused["reason"].tolist() == ["the table has no answers"]
    assert len(widget.answers(study, answer_file(study, "r01")).ratings) == 8 * 3


# --- command line -------------------------------------------------------------------------------


def on_disk(folder: Path) -> list[str]:
    data = tables()
    arguments = []
    for name, frame in data.items():
        frame.to_parquet(folder / f"{name}.parquet")
        arguments += [f"--{name}", str(folder / f"{name}.parquet")]
    return arguments


def test_the_commands_from_explanations_to_ratings(tmp_path, capsys):
    key, out = tmp_path / "key.json", tmp_path / "ratings.parquet"
    sizes = ["--study", "pilot", "--raters", "4", "--n-samples", "4", "--out", str(key)]
    designed = ["design", *on_disk(tmp_path), *sizes]
    assert main(designed) == 0
    assert main(["form", "--key", str(key), "--out", str(tmp_path / "forms")]) == 0
    forms = sorted(path.name for path in (tmp_path / "forms").iterdir())
    assert forms == [f"pilot_r0{k}.html" for k in (1, 2, 3, 4)]
    study, back = Study.load(key), tmp_path / "back"
    back.mkdir()
    (back / "1.csv").write_text(answer_file(study, "r01"))
    (back / "2.csv").write_text(answer_file(study, "r02", rating=6))
    capsys.readouterr()
    assert main(["collect", str(back), "--key", str(key), "--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert "refused" in said and "'6', not a whole number" in said
    assert "still waiting for: r02, r03, r04" in said
    assert len(read_table(out, "ratings")) == 8 * 3
    with pytest.raises(InputError, match="there is a key already"):
        main(designed)
    with pytest.raises(InputError, match="no rating could be taken"):
        main(["collect", str(back / "2.csv"), "--key", str(key), "--out", str(out)])
    with pytest.raises(InputError, match="ends in .parquet"):
        main(["collect", str(back), "--key", str(key), "--out", "ratings.csv"])
    with pytest.raises(InputError, match="ends in .json"):
        main([*designed[:-1], "key"])


def test_what_cannot_be_done_is_said_before_the_work(tmp_path, monkeypatch):
    inputs, study = on_disk(tmp_path), ["--study", "pilot", "--raters", "4", "--n-samples", "4"]
    key = make().save(tmp_path / "key.json")
    (tmp_path / "file").write_text("")
    for folder in ("d.json", "d.parquet"):
        (tmp_path / folder).mkdir()
    answers = tmp_path / "r01.csv"
    answers.write_text(answer_file(make(), "r01"))

    def says(sentence: str, *words: object) -> None:
        with pytest.raises(InputError, match=re.escape(sentence)):
            main([str(word) for word in words])

    def never(*_, **__):
        raise AssertionError("the work began")

    formed, collected = ["form", "--key", key], ["collect", answers, "--key", key]
    with monkeypatch.context() as patched:
        patched.setattr("prism_utils.human_eval.__main__.read", never)
        patched.setattr("prism_utils.human_eval.__main__.collect", never)
        patched.setattr("prism_utils.human_eval.form.render", never)
        says("is a folder", "design", *inputs, *study, "--out", tmp_path / "d.json")
        says("is no folder", "design", *inputs, *study, "--out", tmp_path / "file" / "key.json")
        long = tmp_path / ("a" * 300 + ".json")
        says("too long", "design", *inputs, *study, "--out", long)
        new = ["--out", tmp_path / "new.json"]
        says("--study '../x'", "design", *inputs, *study, *new, "--study", "../x")
        says("--raters must be at least 1", "design", *inputs, *study, *new, "--raters", "0")
        says("--seed must be at least 0", "design", *inputs, *study, *new, "--seed", "-3")
        says("is a file; give a folder", *formed, "--out", tmp_path / "file")
        says("is no folder", *formed, "--out", tmp_path / "file" / "forms")
        says("is a folder", *collected, "--out", tmp_path / "d.parquet")
        patched.setattr(os, "access", lambda *_: False)
        says("may not be written", *formed, "--out", tmp_path / "forms")
    assert not (tmp_path / "new.json").exists()
    says("difference must be a number", "power", "--difference", "nan")


def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(tmp_path, monkeypatch):
    inputs, study = on_disk(tmp_path), ["--study", "pilot", "--raters", "4", "--n-samples", "4"]
    designed = ["design", *inputs, *study, "--out", str(tmp_path / "new" / "key.json")]

    def full(path: Path, text: str, **_) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(InputError, match="cannot be written.*No space left.*make room"):
            main(designed)
        with pytest.raises(InputError, match=r"pilot_r01.html: cannot be written"):
            form.write_forms(make(), tmp_path / "forms")
    assert not any((tmp_path / "new").iterdir()) and not any((tmp_path / "forms").iterdir())
    assert main(designed) == 0  # the same command, once there is room


def test_the_power_command_of_the_module_as_a_program():
    command = [sys.executable, "-m", "prism_utils.human_eval", "power", "--difference"]
    done = subprocess.run([*command, "0.3"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "not reached" in done.stdout
    done = subprocess.run([*command, "0.3", "--wanted", "80"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: wanted must lie between 0 and 1")
