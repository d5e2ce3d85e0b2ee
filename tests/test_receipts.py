"""Receipts: every claim with its place, what supports it and a verdict; and statement scores."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from prism_utils import corpora, sequences
from prism_utils.errors import InputError
from prism_utils.metrics import st2exp
from prism_utils.metrics.grounding import hand_labelled
from prism_utils.metrics.receipts import REASONS, VERDICTS, Auditor
from prism_utils.teachers.grammar import GrammarTeacher
from prism_utils.teachers.grammar_words import WORDINGS

ITEMS = pd.DataFrame(
    {
        "item_id": ["a", "h", "j", "b", "w"],
        "title": ["Alien", "Heat", "Jaws", "Big", "The Wild Bunch"],
        "year": [1979, 1995, 1975, 1988, 1969],
        "genre": [["Horror", "Sci-Fi"], ["Crime"], ["Horror"], ["Comedy"], ["Western"]],
        "director": [["Ridley Scott"], ["Michael Mann"], ["Steven Spielberg"], [], []],
        "actor": [["Sigourney Weaver"], ["Al Pacino"], [], ["Tom Hanks"], []],
    }
)
AUDITOR = Auditor(ITEMS)
HISTORY = ["j", "h"]


def claims(text, history=HISTORY, item="a"):
    """value -> (kind, attribute, item, history, verdict, reason) of each claim of a text."""
    audit = AUDITOR.audit(text, history, item)
    assert all(text[c.start : c.end] == c.text for c in audit.claims)
    return {
        c.value: (c.kind, c.attribute, c.item, c.history, c.verdict, c.reason) for c in audit.claims
    }


def test_every_claim_says_what_it_is_and_what_supports_it():
    text = "You liked “Jaws”, and *Alien* is a horror film too, directed by Ridley Scott."
    assert claims(text) == {
        "Jaws": ("title", "", False, ("j",), "supported", ""),
        "Alien": ("title", "", True, (), "supported", ""),
        "Horror": ("attribute", "genre", True, ("j",), "supported", ""),
        "Ridley Scott": ("person", "director", True, (), "supported", ""),
    }


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("Because you saw Big, you may like Alien.", "Big", "foreign"),
        ("Like Heat, Alien stars Al Pacino.", "Al Pacino", "lacking"),
        ("Alien is a comedy.", "Comedy", "lacking"),
        ("Alien goes well with Heat, a western.", "Western", "other"),
        ("Alien was inspired by Big.", "Big", "relation"),
        ("Alien is loosely based on Jaws.", "Jaws", "relation"),
        ('Alien is based on "a pulp novel", like Jaws.', 'is based on "a pulp novel"', "relation"),
        ("You enjoyed Alien, so this is for you.", "Alien", "itself"),
        ("If you have already watched Heat and Alien, see it again.", "Alien", "itself"),
        ("Like Alien, it will scare you.", "Alien", "itself"),
        ("Alien, which you watched, is a horror film.", "Alien", "itself"),
    ],
)
def test_what_nothing_supports_is_said_with_its_reason(text, value, reason):
    found = claims(text)
    assert found[value][2:] == (False, (), "unsupported", reason)
    others = [verdict for key, (*_, verdict, _) in found.items() if key != value]
    assert set(others) <= {"supported"}
    assert reason in REASONS and not AUDITOR.audit(text, HISTORY, "a").supported


@pytest.mark.parametrize(
    "text",
    [
        "You may like Alien. Watch Alien tonight.",
        "Like Jaws, Alien is a horror film.",
        "We picked Alien for you because you watched Heat and Jaws.",
        "After Heat, Alien would be a change.",
        "Heat is a crime film by Michael Mann; Alien is not.",
    ],
)
def test_what_is_supported_is_not_called_otherwise(text):
    assert AUDITOR.audit(text, HISTORY, "a").supported


# Heat is no horror film and Sigourney Weaver is not in it: what is said to be shared is not.
SHARED_FALSELY = [
    "You have watched Heat, and Alien comes from the same director, Ridley Scott.",
    "Like Jaws and Heat, Alien is a horror film.",
    "Among the films you watched we find Heat, and Alien also stars Sigourney Weaver.",
    "Because you watched Heat, you may enjoy Alien, which stars Sigourney Weaver.",
    "One thing speaks for Alien: it stars Sigourney Weaver, which holds for Heat as much.",
    "Heat is yours already, and so Alien comes to mind: both star Sigourney Weaver.",
    "Both Heat and Alien are horror films.",
    "You watched “Heat”; “Alien” is a horror film too.",
    "Alien is a horror film, just like Heat.",
    "Heat, Jaws and Alien are all horror films.",
    "Alien shares its horror mood with Heat.",
    "Your love of Heat shows a taste for horror, and Alien delivers.",
    "No wonder that, as in Heat, you will see Sigourney Weaver in Alien.",
    "Heat was a horror film, and so is Alien.",
]


@pytest.mark.parametrize("text", SHARED_FALSELY)
def test_what_a_cited_title_is_said_to_share_it_must_have(text):
    audit = AUDITOR.audit(text, HISTORY, "a")
    (claim,) = audit.unsupported
    assert claim.reason == "unshared" and claim.kind in ("attribute", "person") and claim.item
    assert REASONS["unshared"] in claim.told()


def told_in(frame, past):
    """A frame of the grammar teacher about Alien, a horror film, that cites `past`."""
    words = {"i": "Alien", "h": past, "all": "both", "rel": "is well known", "an": "a"}
    words |= {"n": "film", "ns": "films", "past": "watched", "part": "watched", "base": "watch"}
    words |= {"np": "a horror film", "another": "another horror film", "plural": "horror films"}
    words |= {"vp": "is a horror film", "also": "is a horror film too", "both": "are horror films"}
    return frame.format_map(words)


@pytest.mark.parametrize("wording", WORDINGS)
def test_every_frame_that_shares_is_heard_and_none_that_contrasts(wording):
    frames = WORDINGS[wording]
    for frame in (*frames["shared"], *frames["related"]):
        told = AUDITOR.audit(told_in(frame, "Heat"), HISTORY, "a")
        assert [c.reason for c in told.unsupported] == ["unshared"], told.text
        assert AUDITOR.audit(told_in(frame, "Jaws"), HISTORY, "a").supported
    for frame in (*frames["own"], *frames["plain"], *frames["alone"]):
        assert AUDITOR.audit(told_in(frame, "Heat"), HISTORY, "a").supported, frame


@pytest.mark.parametrize(
    "text",
    [
        "Because you watched Jaws, you may well enjoy Alien, another horror film.",
        "After Heat, Alien would make a change: a horror film.",
        "For something different from Heat, you could turn to Alien, a horror film.",
        "You have watched Heat, and Alien takes you somewhere else as a horror film.",
        "Your history includes Heat, and Alien adds a horror film to it.",
        "Having watched Heat, you could go on with Alien, a horror film.",
        "Unlike Heat, Alien is a horror film like Jaws.",
        "Alien is a science fiction film by Ridley Scott in the vein of Heat.",
        "Alien shares its premise of a threat with Heat; it is a horror film.",
        "You liked Heat; like Jaws, Alien is a horror film.",
        "You also watched Heat, and Alien is a horror film.",
        "You watched Heat, and you may also enjoy the horror film Alien.",
        "You watched Heat and you also like horror films, so Alien is for you.",
        "Alien is a horror film and also stars Sigourney Weaver; you watched Heat.",
        "You watched Heat, and Alien is both a horror film and a science fiction film.",
        "You enjoyed Heat, and Alien is a horror film as well as a science fiction film.",
        "Alien is a horror film for viewers who like Heat.",
        "You liked Heat, so a more recent horror film may suit you: Alien.",
        "Because you watched Jaws, you may enjoy Alien, another horror film starring Sigourney "
        "Weaver.",  # of Jaws the catalogue holds no actors
        "You watched Heat. Alien is also a horror film.",  # left out: in another sentence
    ],
)
def test_what_is_not_said_to_be_shared_need_not_be(text):
    assert AUDITOR.audit(text, HISTORY, "a").supported


def test_one_of_namesakes_and_one_role_of_a_person_is_enough():
    items = pd.concat([ITEMS, ITEMS.iloc[[2]].assign(item_id="h2", title="Heat")])
    text = "Like Heat, Alien is a horror film."
    assert Auditor(items).audit(text, ["h", "h2"], "a").supported
    assert Auditor(items).audit(text, ["h"], "a").unsupported
    items["actor"] = [["Ridley Scott"] if item == "h" else [] for item in items["item_id"]]
    assert Auditor(items).audit("Like Heat, Alien has Ridley Scott.", ["h"], "a").supported
    unknown = Auditor(ITEMS).audit("Like Heat Wave, Alien is a horror film.", ["Heat Wave"], "a")
    assert unknown.supported


def test_the_item_named_twice_in_a_sentence_is_its_own_reason_once():
    twice = AUDITOR.audit("Alien sets the mood, and Alien keeps it.", HISTORY, "a")
    assert [(c.verdict, c.reason) for c in twice.claims] == [
        ("unsupported", "itself"),
        ("supported", ""),
    ]
    seen = AUDITOR.audit("You enjoyed Alien, so watch Alien again.", [*HISTORY, "a"], "a")
    assert seen.supported and seen.claims[0].history == ("a",)


def test_ids_and_titles_are_the_same_request():
    text = "Like Jaws, Alien is a comedy."
    by_id, by_title = (AUDITOR.audit(text, [h], i) for h, i in (("j", "a"), ("Jaws", " Alien ")))
    assert by_id == by_title and by_title.claims[0].history == ("j",)


def test_what_the_catalogue_does_not_hold_is_unknown_or_found_as_written():
    text = "As you liked Heat Wave and Jaws, Alien Nation is a horror film."
    assert claims(text, ["Heat Wave", "j"], "Alien Nation") == {
        "Heat Wave": ("title", "", False, ("Heat Wave",), "supported", ""),
        "Jaws": ("title", "", False, ("j",), "supported", ""),
        "Alien Nation": ("title", "", True, (), "supported", ""),
        "Horror": ("attribute", "genre", False, ("j",), "unknown", ""),
    }
    assert AUDITOR.audit(text, ["Heat Wave", "j"], "Alien Nation").supported
    scores = AUDITOR.score(*tables([text], history=["Heat Wave"], item="Alien Nation"))
    of = scores.set_index("metric")["value"]
    assert (of["names_item"], of["cites_history"], of["foreign_title"]) == (1, 1, 1)  # Jaws


def test_a_title_that_is_an_attribute_too_is_the_title_where_it_is_the_items():
    items = ITEMS.copy()
    items["genre"] = [
        ["Big", *genres] if item in "bj" else genres
        for item, genres in zip(items["item_id"], items["genre"], strict=True)
    ]
    auditor = Auditor(items)
    of_item = auditor.audit("Watch Big.", ["j"], "b").claims
    of_other = auditor.audit("Jaws is a Big film.", ["b"], "j").claims[1:]
    assert [(c.kind, c.item) for c in of_item] == [("title", True)]
    assert [(c.kind, c.item) for c in of_other] == [("attribute", True)]
    told, samples = tables(["Watch Big."], history=["j"], item="b")
    scores = auditor.score(told, samples).set_index("metric")["value"]
    assert (scores["names_item"], scores["groundings"]) == (1, 0)


def test_no_claim_overlaps_another():
    text = 'Alien is based on "a tale inspired by "Jaws, a horror film" and inspired by Big.'
    spans = [(c.start, c.end) for c in AUDITOR.audit(text, HISTORY, "a").claims]
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))
    assert len(spans) == 5


def test_an_audit_is_json_and_its_rendering_says_in_words_what_it_shows_in_colour():
    items = ITEMS.assign(title=ITEMS["title"].replace("Big", "Big <b>&"))
    audit = Auditor(items).audit("Big <b>& is a crime film, like Jaws.", ["j"], "b")
    told = json.loads(json.dumps(audit.as_dict()))
    assert [c["verdict"] for c in told["claims"]] == ["supported", "unsupported", "supported"]
    assert told["supported"] is False and told["claims"][2]["history"] == ["j"]
    assert {c["verdict"] for c in told["claims"]} <= set(VERDICTS)
    page = audit._repr_html_()
    assert "<b>" not in page and "&lt;b&gt;&amp;" in page
    for words in (
        "1✓",
        "2✗",
        "genre “Crime”: unsupported",
        REASONS["lacking"],
        "in the history Jaws",
    ):
        assert words in page
    assert "no claims" in AUDITOR.audit("Nothing.", [], "a")._repr_html_()


@pytest.fixture(scope="module")
def embedded():
    data = corpora.load("embedded", films=120, users=60, interactions_per_user=20)
    samples = sequences.make_samples(data.interactions, split="temporal").head(400)
    return data.items, samples


@pytest.mark.parametrize("wording", ["first", "second"])
def test_the_grammars_labels_are_the_verdicts(embedded, wording):
    """Nothing true is called false, and every labelled error is a claim of its kind."""
    items, samples = embedded
    told = GrammarTeacher(items, error_rate=0.5, wording=wording).explain(samples)
    asked = zip(told["text"], samples["history"], samples["item_id"], strict=True)
    audits = Auditor(items).audit_all(asked)
    reason = {"title": "foreign", "attribute": "lacking", "relation": "relation"}
    for error, audit in zip(told["error"], audits, strict=True):
        assert {c.reason for c in audit.unsupported} == ({reason[error]} if error else set())


def test_scores_and_audits_are_one_reading():
    items = corpora.load("embedded").items
    rows, auditor = hand_labelled(), Auditor(items)
    samples = rows[["sample_id", "item_id", "history"]].assign(user_id="r", split="test")
    scores = auditor.score(rows[["sample_id", "text"]].assign(system="hand"), samples)
    wide = scores.pivot(index="sample_id", columns="metric", values="value").loc[rows["sample_id"]]
    asked = list(zip(rows["text"], rows["history"], rows["item_id"], strict=True))
    audits = auditor.audit_all(asked)
    assert audits == auditor.audit_all(asked, workers=2)
    for metric, reasons in (
        ("wrong_attribute", {"lacking"}),
        ("unsupported_relation", {"relation"}),
    ):
        called = [any(c.reason in reasons for c in audit.claims) for audit in audits]
        assert called == wide[metric].eq(1).tolist()
    plain = wide["unsupported_relation"].eq(0).to_numpy()  # a relation's title is part of its claim
    for metric, called in {
        "foreign_title": [any(c.kind == "title" and c.reason == "foreign" for c in a.claims)
                          for a in audits],
        "cites_history": [any(c.kind == "title" and c.history for c in a.claims) for a in audits],
    }.items():  # fmt: skip
        assert (np.array(called) == wide[metric].eq(1))[plain].all()


def test_what_is_no_text_is_named():
    with pytest.raises(InputError, match="row 1 must be text, found 7"):
        AUDITOR.audit(7, [], "a")
    with pytest.raises(InputError, match="workers must be 1 or more, found 0"):
        AUDITOR.audit_all([], workers=0)


# --- statement precision, recall and F1


def tables(texts, history=HISTORY, item="a", system="x"):
    ids = [f"s{n}" for n in range(len(texts))]
    told = pd.DataFrame({"sample_id": ids, "system": system, "text": texts})
    samples = pd.DataFrame({"sample_id": ids, "user_id": "u", "item_id": item, "split": "test"})
    return told, samples.assign(history=[list(history)] * len(ids))


GOLDEN = "Because you watched Jaws, you may enjoy Alien, another horror film."


def statement_scores(*texts, golden=GOLDEN, **asked):
    told, samples = tables(list(texts), **asked)
    references = told.assign(system="golden", text=golden)
    scores = st2exp.score(told, samples, references, auditor=AUDITOR)
    return scores.pivot(index="sample_id", columns="metric", values="value").loc[told["sample_id"]]


def test_statements_are_counted_once_against_support_and_against_the_golden_text():
    half = statement_scores("You liked Jaws, and Alien is a comedy.").iloc[0]
    assert half.to_dict() == {
        "unsupported": 1, "itself": 0, "st2exp_p": 1 / 2, "st2exp_r": 1 / 2, "st2exp_f1": 1 / 2,
    }  # fmt: skip
    other = statement_scores("Alien is science fiction.").iloc[0]
    assert (other["st2exp_p"], other["st2exp_r"]) == (1, 0)  # true, and not what the other says
    assert other["st2exp_f1"] == other["unsupported"] == 0
    assert statement_scores(GOLDEN).iloc[0]["st2exp_f1"] == 1


def test_repetition_and_triviality_do_not_pay():
    honest, wrong = "You liked Jaws, and Alien is a comedy.", "Alien is a comedy."
    found = statement_scores(
        honest,
        honest + 5 * " You liked Jaws.",
        honest + 5 * " Alien is for you. This is a film.",
        5 * "You liked Jaws. " + 5 * (wrong + " "),
        "Alien is for you. It is a film.",
        honest + " You enjoyed Alien.",
    )
    p, f1 = found["st2exp_p"].tolist(), found["st2exp_f1"].tolist()
    assert p[:4] == [0.5] * 4 and f1[:4] == [0.5] * 4
    assert np.isnan(p[4]) and f1[4] == found["st2exp_r"].iloc[4] == 0
    assert p[5] < 0.5 and found["itself"].tolist() == [0, 0, 0, 0, 0, 1]


def test_where_nothing_can_be_judged_there_is_no_score():
    unknown = statement_scores("Dune is a horror film.", item="Dune", golden="Dune it is.").iloc[0]
    assert np.isnan(unknown[["st2exp_p", "st2exp_r", "st2exp_f1"]].astype(float)).all()
    assert unknown["unsupported"] == 0
    false = statement_scores("You saw Big.", golden="You saw Big, so watch Alien.").iloc[0]
    assert false["st2exp_p"] == 0 and np.isnan(false["st2exp_r"])  # no claim to recall
    alone = st2exp.score(*tables(["You saw Jaws."]), auditor=AUDITOR)
    assert set(alone["metric"]) == {*st2exp.CLAIMS, "st2exp_p"}
