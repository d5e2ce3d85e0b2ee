"""The key of a rating study: whatever was edited, cut or broken in it is refused by name."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
from rating_study import make, replace

from prism_utils.errors import InputError
from prism_utils.human_eval import form
from prism_utils.human_eval.key import Study


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"{", "not a key file"),
        (b"[]", "not a key file"),
        (b'{"format": 9}', "key format 9"),
        (b'{"format": 1, "name": "x"}', "not a key file"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b'{"noun": "caf\xe9"}', "not UTF-8"),
        (b'{"noun": "\\ud83d"}', "half a character"),
        (b"1" * 5000, "not a key file"),
    ],
)
def test_a_broken_key_is_refused(tmp_path, content, says):
    path = tmp_path / "key.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says) as refused:
        Study.load(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(InputError, match="a folder"):
        Study.load(tmp_path)


def spoilt_key(path: str, value) -> bytes:
    """The key of a small study as JSON, one part of it replaced."""
    study = make(raters=2, n_samples=3)
    names = ("assignment", "explanations", "samples", "items")
    content = {name: getattr(study, name).to_dict("list") for name in names}
    content |= {"format": 1, "name": study.name, "noun": study.noun, "seed": 0}
    replace(content, path, value)
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("name", "../../x", "study name '../../x'"),
        ("name", "/abs", "study name"),
        ("name", "", "study name ''"),
        ("name", "NUL", "Windows keeps it"),
        ("name", "sept-2", "spreadsheets change it"),
        ("name", "a" * 65, "64 at most"),
        ("name", 3, "study name 3"),
        ("noun", " ", "noun ' '"),
        ("seed", -1, "seed must be at least 0"),
        ("seed", 1e400, "seed must be a whole number"),
        ("assignment/rater_id/0", "../../../x", "rater '../../../x'"),
        ("assignment/rater_id/0", 7, "row 1: 'rater_id' must be text, found 7"),
        ("assignment/rater_id", ["r1"] * 6 + ["R1"] * 6, "differ in more than case"),
        ("assignment/number/1", 1, "duplicate rater_id 'r01', number 1"),
        ("assignment/number/1", 2.5, "'number' must be a whole number, found 2.5"),
        ("assignment/number/1", 99, "do not go from 1 up"),
        ("assignment/code/0", "=cmd()", "row 1: no code, '=cmd()'"),
        ("assignment/code", ["same"] * 12, "duplicate code 'same'"),
        ("assignment/sample_id/0", "s99", "what 'explanations' lacks"),
        ("explanations/text/0", None, "'text' must be text, found None"),
        ("samples/history/0", "i1", "'history' must be a list of text"),
        ("samples/history/0/0", "i99", "no row for item_id 'i99'"),
        ("samples/history", [], "not as long as the other columns"),
        ("items", 3, "items: 'item_id' is missing"),
        ("items/label/0", ["x"], "'label' must be text"),
    ],
)
def test_a_key_that_was_edited_is_refused_where_it_is_read(tmp_path, path, value, says):
    file = tmp_path / "key.json"
    file.write_bytes(spoilt_key(path, value))
    with pytest.raises(InputError, match=re.escape(says)) as refused:
        Study.load(file)
    assert str(refused.value).startswith(f"{file}: ") and len(str(refused.value)) < 400


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_key_saved_again_by_an_editor_is_the_same(tmp_path, encoding):
    study = make()
    path = study.save(tmp_path / "key.json")
    path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
    assert Study.load(path).assignment["code"].tolist() == study.assignment["code"].tolist()


def test_half_a_character_never_reaches_a_file(tmp_path):
    study = make()
    cut = study.explanations.assign(text=pd.Series(["cut \ud83d"] * 8, dtype=object))
    shown = Study(**{**study.__dict__, "explanations": cut, "noun": "film \ud83d"})
    assert "film \ufffd" in shown.save(tmp_path / "key.json").read_text(encoding="utf-8")
    (path, *_) = form.write_forms(shown, tmp_path, send_to="the lab \udcff")
    assert "cut \ufffd" in path.read_text(encoding="utf-8")
    ids = study.items.astype(object)
    ids.loc[0, "item_id"] = "i\ud83d"
    with pytest.raises(InputError, match="items: row 1: 'item_id' holds half a character"):
        Study(**{**study.__dict__, "items": ids})
