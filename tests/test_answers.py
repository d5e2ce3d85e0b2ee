"""What raters send back: unblinded, repaired or refused, whatever was done to the files."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rating_study import COLUMNS, answer_file, edit, make

from prism_utils.errors import InputError
from prism_utils.human_eval import collect as collecting
from prism_utils.human_eval.key import Study

STUDY = make()


def one(study: Study, text: str, **options) -> collecting.Collected:
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


def edit_lines(text: str, change) -> str:
    return "\n".join(change(n, line) for n, line in enumerate(text.splitlines())) + "\n"


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
        (lambda t, s: edit(t, 2, "personalization", "3.5"), "is '3.5', not a whole number"),
        (lambda t, s: edit(t, 2, "personalization", "nan"), "is 'nan', not a whole number"),
        (lambda t, s: edit(t, 2, "seconds", "11,x"), "line 3: 10 cells, the table has 9"),
        (lambda t, s: edit(t, 2, "code", '"bc'), "line 3: too long for an answer, or quotes"),
        (lambda t, s: edit(t, 2, "skipped", "x" * 200_000), "line 3: too long for an answer"),
        (
            lambda t, s: edit_lines(t, lambda n, line: line + (",study" if n == 0 else ",x")),
            "line 1: two columns are called study",
        ),
        (
            lambda t, s: edit_lines(t, lambda n, line: line + ("," if n == 0 else ",x") + ",z"),
            "line 2: a cell stands in a column without a name",
        ),
        (lambda t, s: t.replace("pilot", "p" * 500), "of study 'ppp"),
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
        (lambda t: t + ",,,,,,,,\n" * 3, None),
        (lambda t: edit_lines(t, lambda n, line: line + "\n,,,,,,,," if n == 3 else line), None),
        (lambda t: edit_lines(t, lambda n, line: line + "\n" if n == 3 else line), None),
        (lambda t: edit_lines(t, lambda n, line: line + ",,"), None),
        (lambda t: edit_lines(t, lambda n, line: ",," + line), None),
        (lambda t: edit_lines(t, lambda n, line: line.replace(",", ",,", 1)), None),
        (
            lambda t: edit_lines(t, lambda n, line: line + (",notes" if n == 0 else ",so")),
            "'notes'",
        ),
        (lambda t: edit_lines(t, lambda n, line: f'"{line}"'), "lines quoted once more"),
        (lambda t: edit_lines(t, lambda n, line: f'"{line}";;'), "lines quoted once more"),
        (lambda t: edit_lines(t, lambda n, line: line + ";;"), None),
        (lambda t: t.replace("\n", "\r"), None),
        (lambda t: "sep=;\n" + t.replace(",", ";"), "starts at line 2"),
        (lambda t: "Table 1,,,,,,,,\n" + t, "starts at line 2"),
        (lambda t: t + t.splitlines()[0] + "\n", "the line of columns comes twice"),
        (lambda t: edit(t, 2, "number", "2.0"), None),
        (lambda t: edit(t, 2, "seconds", "-5"), "seconds '-5' is no number of seconds"),
        (lambda t: edit(t, 2, "seconds", "inf"), "seconds 'inf' is no number of seconds"),
        (lambda t: edit(t, 2, "seconds", "nan"), "seconds 'nan' is no number of seconds"),
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


def skipping(study: Study, cell: str) -> str:
    """The answers of r01, the second explanation skipped; `cell` as it stands in the file."""
    text = answer_file(study, "r01")
    for column in ("persuasiveness", "personalization", "faithfulness"):
        text = edit(text, 2, column, "")
    return edit(text, 2, "skipped", cell)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ('"too\nlong"', "too long"),
        ('"too\r\nlong"', "too long"),
        ('"a ""word"", or two"', 'a "word", or two'),
        ("'=SUM(A1)", "=SUM(A1)"),
        ("'-5", "-5"),
        ("''=x", "'=x"),
        ("\"x; '+1, '@y\"", "x; +1, @y"),
        ("'tis", "'tis"),
        ("\u2028 \x85 odd", "odd"),
    ],
)
@pytest.mark.parametrize("quoted_again", [False, True])
def test_a_reason_comes_back_as_it_was_meant(cell, reason, quoted_again):
    study = make()
    text = answer_file(study, "r01")
    lines = skipping(study, "CELL").splitlines()
    lines = [line.replace("CELL", cell) for line in lines]
    if quoted_again:  # as one column: what holds quotes is quoted
        lines = [
            f'"{line.replace(chr(34), chr(34) * 2)}"' if '"' in line else line for line in lines
        ]
    got = one(study, "\n".join(lines))
    assert got.skipped["reason"].tolist() == [reason] and got.refused.empty
    assert len(got.ratings) == (len(text.splitlines()) - 2) * 3


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
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"):
        (tmp_path / "r01.csv").write_bytes(text.encode(encoding))
        assert collecting.collect([tmp_path], study).skipped["reason"].tolist() == ["Größe"]
    with pytest.raises(InputError, match="no such file"):
        collecting.collect([tmp_path / "r02.csv"], study)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no .csv or .txt"):
        collecting.collect([tmp_path / "empty"], study)


def test_one_bad_file_stops_no_other_and_every_one_is_named(tmp_path):
    study = make()
    for name in ("r01.csv", "r02.TXT", "r03.tsv"):
        (tmp_path / name).write_text(answer_file(study, name[:3].lower()))
    bad = {
        "long.csv": (COLUMNS + "\n" + "x" * 200_000).encode(),
        "b.xlsx": b"PK\3\4",
        "b.ods": b"PK\3\4",
        "renamed.csv": b"PK\3\4\0\0\0",
        "mail.eml": b"hello",
        "nothing": b"",
        "noise.csv": bytes(range(256)) * 20,
        "empty.csv": b"",
        "a\x1b[2Jb.csv": b"x",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    for name in ("folder.csv", "b.numbers"):
        (tmp_path / name).mkdir()
    (tmp_path / "gone.csv").symlink_to("nowhere")
    passed_over = (".DS_Store", "~$b.xlsx", "Thumbs.db", "ratings.parquet", "pilot_r01.html")
    for name in passed_over:
        (tmp_path / name).write_bytes(b"\0")
    got = collecting.collect([tmp_path], study)
    assert len(got.ratings) == 3 * 8 * 3 and got.waiting == ["r04"]
    named = {file.removeprefix(f"{tmp_path}/") for file in got.refused["file"]}
    assert named == {*bad, "folder.csv", "b.numbers", "gone.csv"} - {"a\x1b[2Jb.csv"} | {
        "a\ufffd[2Jb.csv"
    }
    assert got.refused["reason"].str.contains("save the table as CSV").sum() >= 5
    alone = collecting.collect([tmp_path / "renamed.csv"], study)
    assert "no text, whatever its name says" in alone.refused["reason"].item()


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_damage_never_raises_and_never_changes_a_rating(data):
    """Characters put in, taken away and exchanged: what is still taken is what was answered."""
    study, text = STUDY, list(answer_file(STUDY, "r01"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        new = data.draw(
            st.sampled_from([*',;\t"\n\r> \0\x85\u2028\ufeff\ud83d=-', "", ",,,", '""'])
        )
        text[at : at + data.draw(st.integers(0, 1))] = [new]
    got = one(study, "".join(text), partial=data.draw(st.booleans()))
    value = {"persuasiveness": 4, "personalization": 2, "faithfulness": 5}
    assert (got.ratings["rating"] == got.ratings["dimension"].map(value)).all()
    assert len(got.report)
