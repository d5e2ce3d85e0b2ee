"""Receipts of an explainer: what it writes is audited, and replaced where that is asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from prism_utils.decoding import Explainer
from prism_utils.decoding.__main__ import main
from prism_utils.decoding.audit import CANDIDATES, audit
from prism_utils.decoding.export import export
from prism_utils.decoding.titles import ShownTitles
from prism_utils.errors import InputError
from prism_utils.metrics.receipts import Auditor
from prism_utils.prompts import PromptWriter
from prism_utils.students.inputs import Reader, StudentSettings
from prism_utils.students.vocabulary import train_tokenizer

ITEMS = pd.DataFrame(
    {
        "item_id": ["f1", "f2", "f3", "f4"],
        "title": ["Alien", "Heat", "Jaws", "Big"],
        "genre": [["Horror"], ["Crime"], ["Horror"], ["Comedy"]],
    }
)
SETTINGS = StudentSettings(
    template="compact", max_history=3, max_input_tokens=36, max_new_tokens=10
)
ASKED = [
    {"history": ["f1", "f2"], "item": "f3", "user_id": "ann"},
    {"history": ["Heat"], "item": "Alien"},
    {"history": np.array(["f3"]), "item": "f1", "user_id": "bob"},
]
TRUE, FALSE = "Like Alien, Jaws is a horror film.", "Like Big, Jaws is a horror film."
SILENT = "A film for you."


@pytest.fixture(scope="module")
def folder(save_student, tmp_path_factory):
    return save_student(tmp_path_factory.mktemp("student"), ITEMS, SETTINGS, whole_titles=True)


@pytest.fixture
def explainer(folder):
    return Explainer.load(folder, backend="torch", device="cpu")


def writes(explainer, monkeypatch, first, others):
    """Let the model write `first` greedily, and `others` where it is asked for candidates."""
    asked = []

    def generate(inputs, users, *, returned=1, **options):
        asked.append((len(inputs), returned, options.get("num_beams")))
        return [[n] for n in range(len(inputs) * returned)]

    texts = {1: lambda n: [first] * n, CANDIDATES: lambda n: others * (n // CANDIDATES)}
    monkeypatch.setattr(explainer.backend, "generate", generate)
    monkeypatch.setattr(
        explainer.tokenizer,
        "batch_decode",
        lambda rows, **_: texts[asked[-1][1]](len(rows)),
    )
    return asked


def test_audits_come_where_they_are_asked_for_and_change_no_text(explainer):
    plain = explainer.explain(ASKED)
    told = explainer.explain(ASKED, audit=True)
    assert [one.text for one in told] == [one.text for one in plain]
    assert [one.audit for one in plain] == [None] * 3
    for one, request in zip(told, ASKED, strict=True):
        history = list(request["history"])
        assert one.audit == explainer.audit(one.text, history=history, item=request["item"])
        assert one.audit.text == one.text and one.fallback == ""


def test_ids_titles_and_arrays_are_the_same_history(explainer):
    for history in (["f1"], ["Alien"], np.array(["f1"]), pd.Series(["Alien"])):
        found = explainer.audit(TRUE, history=history, item="Jaws")
        assert found == audit(TRUE, history, "f3", items=ITEMS)
        assert found == audit(TRUE, history, "f3", items=Auditor(ITEMS))
        assert [claim.history for claim in found.claims] == [("f1",), (), ("f1",)]
    with pytest.raises(InputError, match="'item' is missing"):
        explainer.audit(TRUE, item=None)
    with pytest.raises(InputError, match="row 1 must be text, found None"):
        explainer.audit(None, item="f3")


@pytest.mark.parametrize(
    ("how", "others", "text", "fallback"),
    [
        ("keep", [], FALSE, ""),
        ("floor", [], "Like Alien, which you watched, Jaws is a horror film.", "floor"),
        ("retry", [FALSE, SILENT, TRUE, "Try Jaws."], TRUE, "retry"),
        ("retry", [FALSE, SILENT, "", FALSE],
         "Like Alien, which you watched, Jaws is a horror film.", "floor"),
    ],
)  # fmt: skip
def test_what_is_unsupported_is_kept_or_replaced_and_the_answer_says_how(
    explainer, monkeypatch, how, others, text, fallback
):
    asked = writes(explainer, monkeypatch, FALSE, others)
    told = explainer.explain(history=["f1", "f2"], item="f3", unsupported=how, audit=True)
    assert (told.text, told.fallback) == (text, fallback)
    assert told.audit == explainer.audit(text, history=["f1", "f2"], item="f3")
    assert told.audit.supported == (how != "keep")
    assert asked[1:] == ([(1, CANDIDATES, CANDIDATES)] if how == "retry" else [])
    assert told.tokens > (1 if fallback == "floor" else 0)
    silent = explainer.explain(history=["f1", "f2"], item="f3", unsupported=how)
    assert silent.text == text and silent.audit is None and silent.fallback == fallback


def test_only_what_is_unsupported_is_written_again(explainer, monkeypatch):
    asked = writes(explainer, monkeypatch, TRUE, [])
    requests = [{"history": ["f1"], "item": "f3"}] * 3
    told = explainer.explain(requests, unsupported="retry")
    assert [one.fallback for one in told] == [""] * 3 and len(asked) == 1


def test_a_table_has_columns_of_receipts(explainer, monkeypatch):
    samples = pd.DataFrame(
        {
            "sample_id": ["s1", "s2"],
            "user_id": ["ann", "u"],
            "history": [["f1"], ["f4"]],
            "item_id": ["f3", "f3"],
            "split": "test",
        }
    )
    assert not {"claims", "unsupported", "fallback"} & set(explainer.explain(samples).columns)
    writes(explainer, monkeypatch, TRUE, [])
    kept = explainer.explain(samples, audit=True)
    assert kept["unsupported"].tolist() == [0, 1] and "fallback" not in kept
    claims = json.loads(kept["claims"][1])
    assert [(c["value"], c["verdict"]) for c in claims][0] == ("Alien", "unsupported")
    floored = explainer.explain(samples, unsupported="floor")
    assert floored["fallback"].tolist() == ["", "floor"] and "claims" not in floored
    assert floored["text"][1] == "We suggest Jaws: it is a horror film."


@pytest.mark.parametrize("backend", ["onnx", "graph", "torch"])
def test_candidates_are_the_models_own_on_every_backend_that_has_a_reference(folder, backend):
    """Untrained, a model names hardly an item, so nearly all answers are floors: all are true."""
    explainer = Explainer.load(folder, backend=backend, device="cpu")
    for titles in ("any", "shown"):
        told = explainer.explain(ASKED, unsupported="retry", audit=True, titles=titles)
        assert all(one.audit.supported for one in told)
    inputs, users = [[0, 5, 6, 2], [0, 7, 2]], np.array([0, 1])
    beams = {"num_beams": 4, "max_new_tokens": 6}
    several = explainer.backend.generate(inputs, users, returned=4, **beams)
    assert len(several) == 8 and several[::4] == explainer.backend.generate(inputs, users, **beams)
    assert len({tuple(tokens) for tokens in several[:4]}) == 4


def test_an_exported_student_has_receipts_without_torch_and_no_candidates(folder, tmp_path):
    out = export(folder, tmp_path / "exported", "float32")
    code = (
        "import json, sys\n"
        "from prism_utils.decoding import Explainer\n"
        f"explainer = Explainer.load({str(out)!r})\n"
        "early = 'prism_utils.metrics.receipts' in sys.modules\n"
        "told = explainer.explain(history=['f1'], item='f3', audit=True, unsupported='floor')\n"
        f"found = explainer.audit({FALSE!r}, history=['f1'], item='f3').as_dict()\n"
        "heavy = sorted({'torch', 'transformers'} & set(sys.modules))\n"
        "print(json.dumps([early, told.audit.supported, found, heavy]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = audit(FALSE, ["f1"], "f3", items=ITEMS).as_dict()
    assert json.loads(done.stdout) == [False, True, wanted, []]
    with pytest.raises(InputError, match="exported backend 'onnx' writes one; take 'floor'"):
        Explainer.load(out).explain(item="f3", unsupported="retry")


def test_a_choice_that_is_none_is_named(explainer):
    with pytest.raises(InputError, match="unsupported 'retri' is unknown: did you mean 'retry'"):
        explainer.explain(item="f3", unsupported="retri")
    with pytest.raises(InputError, match="unsupported None is unknown"):
        explainer.explain(item="f3", unsupported=None)


def test_the_speed_of_receipts_is_printed(folder, capsys):
    main(["audit-speed", str(folder), "--texts", "300", "--workers", "1"])
    assert "texts a second, " in (told := capsys.readouterr().out) and "workers: 1" in told
    with pytest.raises(InputError, match="texts must be 1 or more, found 0"):
        main(["audit-speed", str(folder), "--texts", "0"])


def test_names_in_another_case_are_the_catalogues_for_prompt_audit_and_titles():
    """One lookup for all three; a title of several items is none of them."""
    items = pd.DataFrame(
        {
            "item_id": ["1", "2", "3", "4"],
            "title": ["Amélie", "Jaws", "Twins", "Twins"],
            "genre": [["Comedy"], ["Horror"], ["Comedy"], ["Drama"]],
        }
    )
    auditor, text = Auditor(items), "You watched Amélie, and Twins is also a comedy."
    spelt = " AME\u0301LIE"
    for past in ("1", "Amélie", spelt):
        told = auditor.audit(text, [past], "3")
        assert told.supported and told.claims[0].history == ("1",)
    (_, _, genre) = auditor.audit(text, ["1"], "Twins").claims
    assert genre.verdict == "unknown" and PromptWriter(items).knows("Twins")
    reader = Reader.of(train_tokenizer(["Amélie, Jaws"], vocab_size=300))
    shown = ShownTitles(auditor, reader)
    assert shown.place(text, "3", [spelt]) is None
    assert shown.place(text, "3", ["Jaws"]) == len("You watched ")
