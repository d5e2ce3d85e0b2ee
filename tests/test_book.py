"""The book's pages made from what a run left: escaped, and what is damaged is named."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from prism_utils import claims
from prism_utils.errors import InputError
from prism_utils.files import write_json
from prism_utils.runs import Run, escaped
from prism_utils.study import book

CHAPTER = "06_agreement"
STEP = {"key": "k", "date": "2026-01-01", "seconds": 3.2, "files": []}
HOSTILE = "<img src=x> `a` | *b* {include} $c$ ](d)"


@pytest.fixture
def clone(tmp_path, monkeypatch, make_notebook, book_sources) -> Path:
    """A clone with a run of one chapter."""
    monkeypatch.chdir(tmp_path)
    book_sources(tmp_path)
    make_notebook(tmp_path / "runs" / "toy" / "notebooks" / f"{CHAPTER}.ipynb", "1")
    write_json({CHAPTER: STEP}, tmp_path / "runs" / "toy" / "steps.json", sealed=True)
    monkeypatch.setattr(claims, "judge", lambda *_: pd.DataFrame(columns=list(claims.COLUMNS)))
    monkeypatch.setattr(claims.findings, "findings", lambda *_: [])
    return tmp_path


def contents(clone: Path) -> dict[str, bytes]:
    return book.contents(Run.open("runs/toy"), clone)


@pytest.mark.parametrize("steps", [[], [3], {CHAPTER: []}, {CHAPTER: STEP | {"seconds": "x"}},
                                   {CHAPTER: STEP | {"seconds": -5}}, {CHAPTER: {"key": "k"}},
                                   {CHAPTER: STEP | {"seconds": float("nan")}}])  # fmt: skip
def test_a_ledger_that_was_edited_is_named(clone, steps) -> None:
    write_json(steps, clone / "runs" / "toy" / "steps.json")
    with pytest.raises(InputError, match=r"runs/toy/steps.json.*: delete it"):
        contents(clone)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"cells": 3}', None])
def test_a_copy_that_is_damaged_is_named(clone, content) -> None:
    copy = clone / "runs" / "toy" / "notebooks" / f"{CHAPTER}.ipynb"
    if content is None:  # other outputs than the step left
        steps = {CHAPTER: STEP | {"page": "0" * 64}}
        write_json(steps, clone / "runs" / "toy" / "steps.json", sealed=True)
    else:
        copy.write_bytes(content)
    with pytest.raises(InputError, match=f"{CHAPTER}.ipynb is missing or damaged: delete it"):
        contents(clone)


@pytest.mark.parametrize("name", ["_toc.yml", "_config.yml"])
@pytest.mark.parametrize(
    "content", [b"a: [", b"\xff", b"", b"- a", b"3", b"a: !!python/object:os.system x", b"\0"]
)
def test_settings_of_the_book_that_are_broken_are_named(clone, name, content) -> None:
    (clone / name).write_bytes(content)
    with pytest.raises(InputError, match=f"^{name}"):
        contents(clone)


def test_a_table_of_contents_may_hold_anything(clone) -> None:
    (clone / "_toc.yml").write_text("root: book/intro\nchapters: [3, {file: 5}, {file: [a]}, []]")
    assert contents(clone)["_toc.yml"] == b"root: book/intro\nchapters:\n- 3\n- []\n"


def test_a_chapter_without_prose_goes_by_its_name(clone) -> None:
    copy = clone / "runs" / "toy" / "notebooks" / f"{CHAPTER}.ipynb"
    for cells in ([nbformat.v4.new_code_cell("1")], [nbformat.v4.new_markdown_cell("  ")]):
        nbformat.write(nbformat.v4.new_notebook(cells=cells), copy)
        listed = contents(clone)["book/_generated/chapters.md"].decode()
        assert listed == f"- [{CHAPTER}](../notebooks/{CHAPTER}.ipynb). \n"


def test_a_stamp_that_is_no_text_builds_the_book(clone, monkeypatch) -> None:
    folder = clone / "runs" / "toy" / "book"
    (folder / "_build" / "html").mkdir(parents=True)
    (folder / "_build" / "html" / "index.html").touch()
    (folder / "built.txt").write_bytes(b"\xff")
    built = []
    monkeypatch.setattr(book, "render", built.append)
    for _ in range(2):
        book.build(Run.open("runs/toy"))
    assert len(built) == 1


# -- Text stays text -------------------------------------------------------------------------------


def test_facts_of_a_run_are_text_on_the_front_page() -> None:
    facts = dict.fromkeys(("profile", "description", "date", "commit"), HOSTILE)
    facts |= {"device": {"cpu": HOSTILE, "gpu": HOSTILE}, "seeds": {"a": HOSTILE}}
    table = book.run_table(facts | {"versions": {HOSTILE: HOSTILE}}, {})
    for line in table.splitlines():
        assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert "<img" not in table and not re.search(r"(?<!\\)[`*{$\]]", table)
    assert table.count("&lt;img") == 9


def test_names_from_data_are_text_in_claims_and_findings() -> None:
    row = dict.fromkeys(claims.COLUMNS, HOSTILE)
    row |= {"name": "any_ranker", "evidence": "09_controls#evidence-rankers"}
    judged = pd.DataFrame([row])
    finding = claims.findings.Finding(*[HOSTILE] * 3, "09_controls", "rankers", HOSTILE)
    for known in (set(), {"evidence-rankers", "claim-any_ranker"}):
        table = book.claims_table(judged, known)
        assert len(re.findall(r"(?<!\\)\|", table.splitlines()[-3])) == 5
        entries = book.claim_entries(judged, known)
        told = "".join([table, entries, book.findings_list([finding], known)])
        link = r"{ref}`[^`<>|]+ <[\w-]+>`"
        assert len(re.findall(link, told)) == (3 if known else 0)
        plain = re.sub(link, "", told)
        assert "<img" not in plain and not re.search(r"(?<!\\)({include|\]\(d|`a)", plain)


@pytest.mark.parametrize(
    "text",
    ["% c", "(x)=", "1. a", "12) a", ":::{note}", "+++", "---", "===", "- a", "+ a", "# h",
     "> q", ": d", "...", "-", "1."],
)  # fmt: skip
def test_a_line_s_start_means_nothing(text) -> None:
    markdown = MarkdownIt()
    for before in ("", "Text.\n"):
        said = markdown.render(before + escaped(text)).replace("&gt;", ">")
        assert said == f"<p>{before}{text}</p>\n"
    assert not re.match(r"[%(:+=-]", escaped(text))  # of MyST: comment, label, fence, break


def test_numbers_stay_as_they_are_written() -> None:
    for number in ("-0.3", "+0.010 [0.1]", "0.45", "1,000.5"):
        assert escaped(number).replace("\\", "") == number
