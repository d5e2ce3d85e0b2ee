"""The rating study: its design and power, the form in a real browser, and what comes back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prism_utils.errors import InputError
from prism_utils.human_eval import collect as collecting
from prism_utils.human_eval import design, form, widget
from prism_utils.human_eval.__main__ import main
from prism_utils.human_eval.simulation import DIMENSIONS
from prism_utils.tables import read_table

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = (
    '</script><script>document.title="owned"</script><img src=x onerror=alert(1)> & "x" \u2028'
)
SYSTEMS = ("prism", "teacher")
COLUMNS = "study,rater_id,number,code,persuasiveness,personalization,faithfulness,skipped,seconds"


def tables(n: int = 12, history: int = 3) -> dict[str, pd.DataFrame]:
    """Samples of as many users, explained by two systems; one text is hostile."""
    ids = [f"i{k}" for k in range(n + history)]
    items = pd.DataFrame(
        {
            "item_id": ids,
            "title": [f"Film {k} <i>" for k in range(len(ids))],
            "year": [1980.0 + k for k in range(len(ids))],
            "genre": [["Drama", "War"]] * len(ids),
        }
    )
    samples = pd.DataFrame(
        {
            "sample_id": [f"s{k}" for k in range(n)],
            "user_id": [f"u{k // 2}" for k in range(n)],
            "history": [ids[k : k + history] for k in range(n)],
            "item_id": [ids[k + history] for k in range(n)],
            "split": "test",
        }
    )
    explanations = pd.DataFrame(
        [(s, system, f"Text {HOSTILE if k == 1 else k} of a kind {len(system)}")
         for k, s in enumerate(samples["sample_id"]) for system in SYSTEMS],
        columns=["sample_id", "system", "text"],
    )  # fmt: skip
    return {"explanations": explanations, "samples": samples, "items": items}


def make(raters: int = 4, n_samples: int = 4, **options) -> design.Study:
    sizes = {"name": "pilot", "raters": raters, "n_samples": n_samples}
    return design.make_study(**{**tables(options.pop("n", 12)), **sizes, **options})


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
    worse = design.Study(**{**study.__dict__, "assignment": one})
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
    again = design.Study.load(study.save(tmp_path / "deep" / "key.json"))
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


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no such file"), ("{", "not a key file"), ("[]", "not a key file"),
     ('{"format": 9}', "key format 9"), ('{"format": 1, "name": "x"}', "not a key file")],
)  # fmt: skip
def test_a_broken_key_is_refused(tmp_path, content, says):
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=says):
        design.Study.load(path)


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
    *parents, last = path.split("/")
    part = guide
    for name in parents:
        part = part[int(name) if name.isdigit() else name]
    part[last] = value
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
    with pytest.raises(InputError, match="not a readable guide"):
        form.load_guide(tmp_path / "none.json")
    with pytest.raises(InputError, match="marks simulated ratings"):
        form.render(make(name="simulated-2"), "r01")


def test_the_widget_shows_the_form_and_takes_its_text():
    study = make()
    shown = widget.show(study, height=500).data
    assert 'height="500"' in shown and shown.count("<iframe") == 1 and "<script" not in shown
    got = widget.answers(study, answer_file(study, "r01").partition("\n")[0] + "\n")
    assert got.refused["reason"].tolist() == ["the table has no answers"]
    assert len(widget.answers(study, answer_file(study, "r01")).ratings) == 8 * 3


# --- collect ------------------------------------------------------------------------------------


def answer_file(study: design.Study, rater_id: str, rating: int = 4) -> str:
    lines = [COLUMNS]
    for row in study.of(rater_id).itertuples():
        lines.append(f"{study.name},{rater_id},{row.number},{row.code},{rating},2,5,,11")
    return "\n".join(lines) + "\n"


def edit(text: str, line: int, column: str, value: str) -> str:
    lines = [each.split(",") for each in text.splitlines()]
    lines[line][COLUMNS.split(",").index(column)] = value
    return "\n".join(",".join(each) for each in lines) + "\n"


def one(study: design.Study, text: str, **options) -> collecting.Collected:
    return collecting.collect_texts({"r01.csv": text}, study, **options)


def test_collected_ratings_are_unblinded_with_the_key():
    study = make()
    got = collecting.collect_texts({f"{r}.csv": answer_file(study, r) for r in study.raters}, study)
    assert len(got.ratings) == len(study.assignment) * 3
    assert got.refused.empty and got.skipped.empty and got.waiting == []
    value = {"persuasiveness": 4, "personalization": 2, "faithfulness": 5}
    assert (got.ratings["rating"] == got.ratings["dimension"].map(value)).all()
    keys = ["rater_id", "sample_id", "system", "number"]
    back = got.ratings[keys].drop_duplicates().sort_values(keys, ignore_index=True)
    wanted = study.assignment[keys].sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(back, wanted, check_dtype=False)


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (lambda t, s: edit(t, 2, "personalization", "6"), "line 3: personalization is '6'"),
        (lambda t, s: edit(t, 2, "personalization", "2.5"), "personalization is '2.5'"),
        (lambda t, s: edit(t, 2, "personalization", ""), "no rating of personalization"),
        (lambda t, s: edit(t, 2, "skipped", "no idea"), "both rated and skipped"),
        (lambda t, s: edit(t, 3, "code", "xxxxxxxx"), "line 4: code 'xxxxxxxx' is none of this"),
        (lambda t, s: edit(t, 3, "code", s.of("r02")["code"][0]), "another rater's: it was edited"),
        (lambda t, s: edit(t, 3, "code", s.of("r01")["code"][5]), "belongs to number 6"),
        (lambda t, s: edit(t, 3, "study", "other"), "of study 'other', 'pilot', not of"),
        (lambda t, s: t.replace("pilot", "other"), "of study 'other', not of 'pilot'"),
        (lambda t, s: edit(t, 3, "rater_id", "r02"), "several raters (r01, r02)"),
        (lambda t, s: t.replace("r01", "r77"), "rater 'r77' is none of study"),
        (lambda t, s: t.rsplit("\n", 3)[0] + "\n", "2 of 8 explanations are missing (number 7, 8"),
        (lambda t, s: t + t.splitlines()[1].replace(",4,", ",3,"), "a second, different answer"),
        (lambda t, s: t.replace(",seconds", ""), "no line with the columns"),
        (lambda t, s: "hello", "no line with the columns"),
        (lambda t, s: t.splitlines()[0], "the table has no answers"),
        (lambda t, s: t + "pilot,r01\n", "line 10: 2 cells, the table has 9"),
    ],
)
def test_what_was_edited_or_is_missing_is_refused_with_its_reason(spoilt, says):
    study = make()
    got = one(study, spoilt(answer_file(study, "r01"), study))
    assert len(got.refused) == 1 and says in got.refused["reason"][0]
    assert got.ratings.empty and "r01" in got.waiting


@pytest.mark.parametrize(
    ("repairable", "says"),
    [
        (lambda t: t.replace(",", ";"), "another separator"),
        (lambda t: t.replace(",", "\t"), "another separator"),
        (lambda t: "Dear all,\nhere it is\n" + t + "\nBest\n", "starts at line 3"),
        (lambda t: "".join("> " + line + "\n" for line in t.splitlines()), None),
        (lambda t: "\ufeff" + t.replace("\n", "\r\n"), None),
        (lambda t: edit(t, 2, "faithfulness", "5.0"), "read as 5"),
        (lambda t: edit(t, 2, "seconds", "long"), "seconds 'long' is no number"),
        (lambda t: t + t.splitlines()[1] + "\n", "counted once"),
    ],
)
def test_what_mail_and_spreadsheets_do_is_repaired_and_named(repairable, says):
    study = make()
    text = answer_file(study, "r01")
    plain, got = one(study, text), one(study, repairable(text))
    columns = ["rater_id", "sample_id", "system", "dimension", "rating"]
    pd.testing.assert_frame_equal(got.ratings[columns], plain.ratings[columns])
    assert set(got.report["outcome"]) == ({"repaired"} if says else {"taken"})
    assert says is None or got.report["reason"].str.contains(says, regex=False).any()


def test_skips_are_kept_apart_with_their_reason():
    study = make()
    text = answer_file(study, "r01")
    for column in ("persuasiveness", "personalization", "faithfulness"):
        text = edit(text, 2, column, "")
    got = one(study, edit(text, 2, "skipped", '"Another reason: a; b"'))
    assert len(got.ratings) == 7 * 3
    where = study.of("r01").iloc[1]
    expected = ["r01", where["sample_id"], where["system"], "Another reason: a; b"]
    assert got.skipped.to_numpy().tolist() == [expected]


def test_an_unfinished_file_counts_where_that_is_wanted():
    study = make()
    text = answer_file(study, "r01").rsplit("\n", 3)[0]
    got = one(study, text, partial=True)
    assert len(got.ratings) == 6 * 3 and "2 of 8 explanations" in got.report["reason"][0]


@pytest.mark.parametrize("order", [1, -1])
def test_two_files_of_one_rater(order):
    study = make()
    text = answer_file(study, "r01")

    def together(second: str) -> collecting.Collected:
        pair = [("a.csv", text), ("b.csv", second)][::order]
        return collecting.collect_texts(dict(pair), study, partial=True)

    for second in (text, text.rsplit("\n", 3)[0]):  # a copy; an earlier, unfinished state
        got = together(second)
        assert len(got.ratings) == 8 * 3 and got.refused.empty
        assert got.report["reason"].str.contains("second file of rater r01").sum() == 1
    got = together(edit(text, 2, "faithfulness", "1"))
    assert set(got.refused["file"]) == {"a.csv", "b.csv"} and got.ratings.empty
    assert "1 answers differ between two files of rater r01" in got.refused["reason"][0]


def test_files_and_folders_in_the_encodings_of_spreadsheets(tmp_path):
    study = make()
    text = answer_file(study, "r01")
    for column in ("persuasiveness", "personalization", "faithfulness"):
        text = edit(text, 2, column, "")
    text = edit(text, 2, "skipped", "Größe")
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / "r01.csv").write_bytes(text.encode(encoding))
        assert collecting.collect([tmp_path], study).skipped["reason"].tolist() == ["Größe"]
    with pytest.raises(InputError, match="no such file"):
        collecting.collect([tmp_path / "r02.csv"], study)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no .csv or .txt"):
        collecting.collect([tmp_path / "empty"], study)


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
    study, back = design.Study.load(key), tmp_path / "back"
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


def test_the_power_command_of_the_module_as_a_program():
    command = [sys.executable, "-m", "prism_utils.human_eval", "power", "--difference"]
    done = subprocess.run([*command, "0.3"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "not reached" in done.stdout
    done = subprocess.run([*command, "0.3", "--wanted", "80"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: wanted: a power lies between")


# --- in a real browser --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-background-networking"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=options)
        yield running
        running.close()


@pytest.fixture(params=[(375, 740), (1366, 768)], ids=["phone", "laptop"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh page at two widths; the test fails if it speaks to the network or of an error."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(15_000)
    opened = context.new_page()
    trouble: list[str] = []
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("console", lambda said: trouble.append(said.text))
    opened.on(
        "request", lambda asked: trouble.append(asked.url) if asked.url[:4] == "http" else None
    )
    yield opened
    context.close()
    assert trouble == []


def rate(page: Page, ratings: str) -> None:
    for key in ratings:
        page.keyboard.press(key)
    page.keyboard.press("Enter")


def practise(page: Page) -> None:
    page.get_by_role("button", name="Start with practice").press("Enter")
    for _ in range(10):
        rate(page, "345")
        page.keyboard.press("Enter")


def test_a_whole_study_by_keyboard_with_a_reload_in_the_middle(page, tmp_path):
    study = make(n=12, n_samples=12, raters=2)
    path, _ = form.write_forms(study, tmp_path, send_to="the lab <lab@example.org>")
    page.goto(path.as_uri())
    practise(page)
    page.get_by_role("button", name="Begin").press("Enter")
    mine, given = study.of("r01"), {}
    texts = study.explanations.set_index(["sample_id", "system"])["text"]
    for row in mine.itertuples():
        if row.number == 5:
            for pause in (1500, 5000):  # a busy browser takes its time to hand on what is kept
                page.wait_for_timeout(pause)
                page.reload()
                if not page.get_by_role("heading", name="How to rate").count():
                    break
        assert page.locator("h2").inner_text() == f"Explanation {row.number} of {len(mine)}"
        shown = page.locator("p.text").evaluate("node => node.textContent")
        assert shown == texts[row.sample_id, row.system]  # as text, hostile or not
        given[row.code] = f"{row.number % 5 + 1}{(row.number + 2) % 5 + 1}{row.number % 3 + 1}"
        rate(page, given[row.code])
        # nothing wider than the screen
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.title() == "Rating study pilot"
    assert page.locator("h2").inner_text() == "Thank you, all is done"
    with page.expect_download() as download:
        page.locator("#download").press("Enter")
    saved = tmp_path / "back" / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name == "pilot_r01.csv"
    assert page.locator("#answers").input_value() == saved.read_text(encoding="utf-8")

    got = collecting.collect([saved], study)
    assert got.report["outcome"].tolist() == ["taken"] and got.waiting == ["r02"]
    rated = got.ratings.merge(mine, on=["sample_id", "system"]).pivot(
        index="code", columns="dimension", values="rating"
    )
    order = ["persuasiveness", "personalization", "faithfulness"]
    assert {code: "".join(map(str, row[order])) for code, row in rated.iterrows()} == given


def test_feedback_skip_going_back_and_what_is_left_open(page, tmp_path):
    study = make(raters=2)
    page.goto(form.write_forms(study, tmp_path)[0].as_uri())
    page.get_by_role("button", name="Start with practice").click()
    assert page.get_by_role("button", name="Compare").is_disabled()
    rate(page, "412")
    feedback = page.locator(".feedback").inner_text()
    inside = (
        "n => n.getBoundingClientRect().right <= n.closest('.card').getBoundingClientRect().right"
    )
    assert page.locator(".feedback table").evaluate(inside)
    card = page.locator(".feedback").bounding_box()
    assert card["x"] + card["width"] <= page.viewport_size["width"] - 16  # the page's own margin
    assert "same" in feedback and "4 apart" in feedback and "3 apart" in feedback
    assert page.get_by_role("button", name="Next").evaluate("n => n === document.activeElement")
    page.keyboard.press("Enter")
    for _ in range(9):
        rate(page, "345")
        page.keyboard.press("Enter")
    page.get_by_role("button", name="Begin").click()

    page.get_by_text("I cannot rate this one").click()
    skip = page.get_by_role("button", name="Skip this explanation")
    assert skip.is_disabled()
    page.get_by_label("Why?").select_option("I do not understand the text")
    page.get_by_label("In your words").fill('=1+1 "5", really')
    skip.click()
    for _ in range(6):
        rate(page, "333")
    assert page.locator("h2").inner_text() == "Explanation 8 of 8"
    page.get_by_role("button", name="Back").click()
    chosen = page.get_by_role("group", name="personalization").get_by_role("radio", checked=True)
    assert chosen.get_attribute("value") == "3"
    page.get_by_role("group", name="personalization").get_by_label("1, generic").check()
    page.keyboard.press("5")  # the question with the focus
    page.get_by_role("button", name="Next").click()
    rate(page, "222")
    answers = page.locator("#answers").input_value()
    got = collecting.collect_texts({"pasted": answers}, study)
    assert got.skipped["reason"].tolist() == ['I do not understand the text: 1+1 "5", really']
    seventh = got.ratings[got.ratings["number"] == 7].set_index("dimension")["rating"]
    assert seventh.to_dict() == {"persuasiveness": 3, "personalization": 5, "faithfulness": 3}

    page.evaluate("state.answers[data.rows[2].code].ratings = {}; go(end)")
    assert page.locator("h2").inner_text() == "Almost done"
    page.get_by_role("button", name="Explanation 3").click()
    rate(page, "444")
    assert page.locator("h2").inner_text() == "Thank you, all is done"


def test_every_control_has_a_name_and_every_text_enough_contrast(page, tmp_path):
    """WCAG 2: names for controls, 4.5 to 1 for text, 44 pixels for what is tapped."""
    study = make(raters=2)
    page.goto(form.write_forms(study, tmp_path)[0].as_uri())
    audit = """() => {
      const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map((v) => v / 255).map((v) =>
        v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b; };
      const ground = (n) => { for (; n; n = n.parentElement) {
        const c = getComputedStyle(n).backgroundColor; if (!/, 0\\)$/.test(c)) return c; }
        return "rgb(255, 255, 255)"; };
      const found = [];
      for (const n of document.querySelectorAll("body *")) {
        if (!n.checkVisibility() || n.closest(":disabled")) continue;
        if ([...n.childNodes].some((c) => c.nodeType === 3 && c.data.trim())) {
          const a = light(getComputedStyle(n).color), b = light(ground(n));
          if ((Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5) found.push(n.outerHTML);
        }
        if (n.matches("button, .scale label") && n.getBoundingClientRect().height < 44)
          found.push(n.outerHTML);
      }
      return found; }"""
    pages = {0: 0, 1: 15, 12: 15}  # how many radios each has
    for number, radios in pages.items():
        page.evaluate(f"go({number})")
        assert page.evaluate(audit) == []
        tree = page.locator("body").aria_snapshot()
        assert len(re.findall(r"- radio \"\d", tree)) == radios
        assert not re.search(r"- (radio|button|textbox|combobox|group)( \[\w+\])*:?$", tree, re.M)
        assert page.evaluate("document.activeElement.tagName") == "H2"
    page.evaluate("go(end)")
    assert page.evaluate(audit) == []
    assert page.get_by_label("Your answers as text").count() == 1


def test_the_form_runs_in_a_frame_as_notebooks_show_it(page, tmp_path):
    study = make(raters=2)
    shell = tmp_path / "notebook.html"
    shell.write_text(f"<!doctype html><title>x</title>{widget.show(study).data}", encoding="utf-8")
    page.goto(shell.as_uri())
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="Start with practice").click()
    for key in "345":
        page.keyboard.press(key)
    frame.get_by_role("button", name="Compare").click()
    assert "guide" in frame.locator(".feedback").inner_text()


def test_without_storage_the_form_says_so_and_still_works(page, tmp_path):
    page.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); };")
    page.goto(form.write_forms(make(raters=2), tmp_path)[0].as_uri())
    practise(page)
    assert "does not keep your work" in page.locator("#notice").inner_text()
