"""The floor of shared facts: it cites whom it should, is grammatical, and is never refuted."""

from __future__ import annotations

import pandas as pd
import pytest

from prism_utils import corpora, sequences
from prism_utils.metrics.receipts import Auditor
from prism_utils.students.facts_floor import FactsFloor, FactsTemplate

ITEMS = pd.DataFrame(
    {
        "item_id": ["a", "s", "j", "e", "n"],
        "title": ["Alien", "Aliens", "Jaws", "E.T.", "Nothing Known"],
        "genre": [["Horror", "Sci-Fi"], ["Action", "Sci-Fi"], ["Horror"], ["Comedy"], []],
        "director": [["Ridley Scott"], [], [], [], []],
        "actor": [["Sigourney Weaver"], ["Sigourney Weaver"], [], ["Sammy Davis Jr."], []],
        "theme": [["space", "fear"], ["space"], ["fear"], [], []],
    }
)
TEMPLATE = FactsTemplate(Auditor(ITEMS), ITEMS)


@pytest.mark.parametrize(
    ("history", "item", "text", "cites"),
    [
        (["s", "j"], "a", "Like Aliens, which you watched, Alien is a science fiction film, stars "
         "Sigourney Weaver and has space among its themes.", "s"),
        (["j", "e"], "Alien", "Like Jaws, which you watched, Alien is a horror film and has fear "
         "among its themes.", "j"),
        (["a", "e"], "a", "We suggest Alien: it is a horror and science fiction film, was directed "
         "by Ridley Scott and stars Sigourney Weaver.", ""),
        (["j"], "e", "We suggest E.T.: it is a comedy and stars Sammy Davis Jr.", ""),
        (["j"], "n", "We suggest Nothing Known.", ""),
        ([], "A Film Nobody Knows", "We suggest A Film Nobody Knows.", ""),
    ],
)  # fmt: skip
def test_it_cites_who_shares_most_and_names_what_is_shared(history, item, text, cites):
    told = TEMPLATE.tell(history, item)
    assert (told.text, told.cites) == (text, cites)


def test_of_equals_the_latest_is_cited():
    items = pd.concat([ITEMS, ITEMS.iloc[[2]].assign(item_id="k", title="Orca")])
    template = FactsTemplate(Auditor(items), items)
    assert template.tell(["j", "k"], "a").cites == "k"
    assert template.tell(["k", "j"], "a").cites == "j"


def test_a_sentence_that_its_audit_refuses_is_not_written():
    """Where words of it are another film's title the sentence says less."""
    items = ITEMS.assign(title=ITEMS["title"].replace("Jaws", "among its themes"))
    told = FactsTemplate(Auditor(items), items).tell(["s"], "a")
    words = "Like Aliens, which you watched, Alien is a science fiction film"
    assert told.text == f"{words} and stars Sigourney Weaver."
    items = ITEMS.assign(title=ITEMS["title"].replace("Jaws", "suggest"))
    assert FactsTemplate(Auditor(items), items).tell([], "n").text == "Nothing Known"


@pytest.mark.parametrize("noun", ["film", "book"])
def test_no_claim_of_it_is_unsupported_over_the_embedded_corpus(noun):
    data = corpora.load("embedded", users=300, interactions_per_user=20)
    samples = sequences.make_samples(data.interactions, split="temporal").head(2000)
    items = data.items
    if noun == "book":
        items = items.rename(columns={"director": "author", "theme": "category", "actor": "hero"})
    told = FactsFloor(items, noun=noun, max_history=5, name="floor").explain(samples)
    assert told["shared"].gt(0).mean() > 0.9 and told["text"].str.len().min() > 20
    audits = Auditor(items, noun).audit_all(
        zip(told["text"], samples["history"], samples["item_id"], strict=True)
    )
    assert all(audit.supported for audit in audits)
    named = [any(c.kind == "title" and c.item for c in audit.claims) for audit in audits]
    assert all(named)
    cited = zip(told["cites"], audits, strict=True)
    assert all(not past or past in {h for c in a.claims for h in c.history} for past, a in cited)
