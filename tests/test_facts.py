"""Students told facts: noise in the catalogue, what is counted as false, what a guarantee costs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from prism_utils import corpora
from prism_utils.errors import InputError
from prism_utils.experiments import facts, guarantee
from prism_utils.metrics.receipts import Auditor
from prism_utils.prompts import FACTS

ITEMS = pd.DataFrame(
    {
        "item_id": ["1", "2", "3"],
        "title": ["Alien", "Heat", "Jaws"],
        "genre": [["Horror"], ["Crime"], ["Horror"]],
    }
)


def test_noise_exchanges_its_share_of_values_for_others_of_their_kind() -> None:
    items = corpora.load("embedded", None, films=400, users=5, interactions_per_user=5).items
    told = facts.noisy(items, 0.25, seed=0)
    assert facts.noisy(items, 0.0, seed=0).equals(items)
    for kind in ("genre", "director", "actor", "theme"):
        pairs = [
            (a, b)
            for old, new in zip(items[kind], told[kind], strict=True)
            for a, b in zip(old, new, strict=True)
        ]
        known = {value for values in items[kind] for value in values}
        assert {b for _, b in pairs} <= known
        changed = sum(a != b for a, b in pairs) / len(pairs)
        assert 0.25 * (1 - 1 / len(known)) == pytest.approx(changed, abs=0.07)


def test_what_is_false_is_counted_by_reason() -> None:
    samples = pd.DataFrame(
        {"sample_id": ["a", "b"], "user_id": "u", "history": [["1"], ["1"]], "item_id": "3"}
    )
    texts = pd.DataFrame(
        {
            "sample_id": ["a", "b", "a"],
            "system": ["x", "x", "y"],
            "text": [
                "Like Alien, Jaws is a horror film.",
                "Like Heat, Jaws is a crime film.",
                "You watched Jaws, and Jaws is a horror film too.",
            ],
        }
    )
    scores = guarantee.claim_scores(texts, samples, Auditor(ITEMS))
    wide = scores.pivot(index=["system", "sample_id"], columns="metric", values="value")
    assert wide["false"].to_dict() == {("x", "a"): 0, ("x", "b"): 1, ("y", "a"): 1}
    told = {key: set(row.index[row.eq(1)]) - {"false"} for key, row in wide.iterrows()}
    assert told == {("x", "a"): set(), ("x", "b"): {"foreign", "lacking"}, ("y", "a"): {"itself"}}
    assert set(guarantee.NAMES) == set(wide.columns)


def test_every_kind_of_facts_is_a_point_and_what_is_unknown_is_named() -> None:
    labels = [facts.label(point | {"start": "x"}) for point in facts.POINTS]
    assert labels == [*FACTS, "all, noise=0.1", "all, filtered"]
    with pytest.raises(InputError, match="factor 'fact' is unknown: did you mean 'facts'"):
        facts.measure({"fact": "all"})
    with pytest.raises(InputError, match="grid 'ful' is unknown: did you mean 'full'"):
        facts.measure_all("nowhere", grid="ful")
    with pytest.raises(InputError, match="point 'al' is unknown: did you mean 'all'"):
        facts.measure_all("nowhere", points=["al"])


def test_a_point_is_measured_beside_its_teacher_and_the_floor() -> None:
    point = facts.SIZES["tiny"] | {"facts": "all", "steps": 2}
    rows = pd.DataFrame(facts.measure(point))
    assert set(rows["setting"]) == {"all"} and set(rows["users"]) == {"known"}
    values = rows.set_index(["system", "metric"])["value"]
    assert values["facts-template", "false"] == 0 < values["teacher", "false"] < 1
    assert 0 < values["facts-template", "rougeL"] < 1
    assert values["training", "input_tokens"] > 40 and values["training", "dropped"] == 0


def test_a_guarantee_is_kept_and_priced(tmp_path) -> None:
    from test_baselines import ASKED, SETTINGS, TRAIN, fit
    from test_baselines import ITEMS as FIVE

    student = fit("prism", tmp_path, vocab_size=300, d_model=32, layers=1)
    golden = TRAIN[["sample_id", "text"]].assign(system="teacher")
    table = guarantee.ways(student, ASKED, golden, Auditor(FIVE, SETTINGS.noun)).set_index("way")
    assert list(table.index) == list(guarantee.WAYS)
    assert table.loc["floor", "false"] == table.loc["retry", "false"] == 0
    assert table.loc["floor", "floored"] == table.loc["as written", "false"]
    assert table.loc["as written", "ratio"] == 1 and (table["ms"] > 0).all()


def test_a_record_that_cannot_be_written_is_said_first(tmp_path, monkeypatch):
    monkeypatch.setattr(facts, "measure_all", None)
    for out, says in ((tmp_path, "it is a folder"), (Path(__file__) / "x.json", "is no folder")):
        with pytest.raises(InputError, match=says):
            facts.main(["--out", str(out)])
