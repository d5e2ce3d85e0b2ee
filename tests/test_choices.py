"""What chapter 9 asks of a run's own student, and tables of the controls, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from prism_utils.errors import InputError
from prism_utils.experiments import choices, own_student, vectors
from prism_utils.experiments.own_student import OwnStudent
from prism_utils.metrics.grounding import Grounding
from prism_utils.rankers import make_ranker
from prism_utils.students.inputs import UserTable

TITLES = [
    "Jaws", "Alien", "Heat", "Brazil", "Fargo", "Memento", "Rashomon", "Psycho", "Vertigo", "Ran",
]  # fmt: skip
ITEMS = pd.DataFrame(
    {
        "item_id": [f"i{n}" for n in range(10)],
        "title": TITLES,
        "year": [1975 + n for n in range(10)],
        "genre": [["Drama"]] * 10,
        "director": [["Agnès Varda"]] * 10,
    }
)


class Parrot:
    """A student that says the item's title and the row of its user's vector."""

    def __init__(self) -> None:
        self.users = UserTable(["u0", "u1", "u2"])
        self.model = SimpleNamespace(config=SimpleNamespace(placement="every_token"))

    def explain(self, samples: pd.DataFrame) -> pd.DataFrame:
        titles = samples["item_id"].map(ITEMS.set_index("item_id")["title"])
        rows = self.users.rows(list(samples["user_id"]))
        said = [f"{title} is film number {row}." for title, row in zip(titles, rows, strict=True)]
        return pd.DataFrame({"sample_id": samples["sample_id"].to_numpy(), "text": said})


def sample_table(count: int, length: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": [f"s{n}" for n in range(count)],
            "user_id": [f"u{n % 3}" for n in range(count)],
            "history": [TITLES[:length]] * count,
            "item_id": [f"i{n % 10}" for n in range(count)],
            "split": "test",
        }
    )


def own_of(samples: pd.DataFrame, **changes: object) -> OwnStudent:
    student = Parrot()
    golden = student.explain(samples).assign(system="recorded")
    held = {"oracle": None, "resamples": 20, "seed": 0} | changes
    return OwnStudent(ITEMS, golden, samples, student, grounding=Grounding(ITEMS), **held)


def seen() -> pd.DataFrame:
    """Users with six items each, the first of them rated lowest and seen last."""
    rows = [
        {"user_id": f"u{u}", "item_id": f"i{(u + n) % 10}", "rating": float(1 + n), "timestamp": -n}
        for u in range(4)
        for n in range(6)
    ]
    return pd.DataFrame(rows)


def test_a_student_is_asked_with_every_vector_and_keeps_its_own():
    own = own_of(sample_table(9, 3))
    scores = own.with_vectors()
    assert list(scores["system"].unique()) == ["teacher", "own", "shuffled", "zero"]
    assert own.student.users.rows(["u1"]).tolist() == [2]
    means = own.means(scores, own.test).set_index(["system", "metric"])["value"]
    assert means["own", "rougeL"] == 1 > means["zero", "rougeL"]  # the golden texts are its own
    apart = own.exchanged(scores).set_index(["system", "metric"])["value"]
    assert apart["own - zero", "rougeL"] == pytest.approx(1 - means["zero", "rougeL"])
    own.student.model.config.placement = "none"
    scores = own.with_vectors()
    assert set(scores["system"]) == {"teacher", "own"} and not len(own.exchanged(scores))


def test_lengths_of_history_have_a_curve_where_samples_are_enough():
    samples = pd.concat([sample_table(6, 3), sample_table(6, 8), sample_table(4, 0)])
    samples = samples.assign(sample_id=[str(n) for n in range(16)])
    own = own_of(samples.iloc[:12])
    scores = own.with_vectors()
    lengths = own.by_length(scores)
    assert list(lengths["length"].unique()) == ["1-5", "6-10"]
    assert "shuffled" not in set(lengths["system"]) and set(lengths["n"]) == {6}
    said = own_student.short_histories(lengths)
    assert said.startswith("ROUGE-L with histories of 1-5 items is 1.000") and "overlap" in said
    better = lengths.assign(
        low=lengths["low"].where(lengths["length"] == "6-10", 0.1),
        high=lengths["high"].where(lengths["length"] == "6-10", 0.2),
    )
    assert own_student.short_histories(better).endswith("less for the short ones.")
    few = own.by_length(scores, least=7)
    assert not len(few) and "Too few" in own_student.short_histories(few)
    vector = own.means(scores, own.test)
    for curve in (lengths, few):
        table = own_student.cold_start(curve, vector, own.exchanged(scores))
        assert {"own", "own - zero"} < set(table.loc[table["length"] == "all", "system"])
        assert table.columns.tolist()[:3] == ["length", "system", "metric"]


def test_items_are_chosen_in_five_ways_for_the_same_history():
    interactions, known = seen(), choices.sequences(seen())
    assert known["u0"] == ["i5", "i4", "i3", "i2", "i1", "i0"]  # in the order of time
    ranker = make_ranker("popularity").fit(interactions)
    unfit = choices.unfit(ranker, interactions, ITEMS, users=3, seed=1)
    assert unfit["user_id"].nunique() == 3
    for user, rows in unfit.groupby("user_id"):
        item = rows.set_index("split")["item_id"]
        assert list(item.index) == [
            choices.FIRST, choices.SECOND, choices.RANDOM, choices.LAST, choices.LOWEST,
        ]  # fmt: skip
        order = ranker.recommend([user], 10)["item_id"].tolist()
        assert [item[choices.FIRST], item[choices.LAST]] == [order[0], order[-1]]
        assert item[choices.LOWEST] == f"i{user[1:]}"
        assert all(item[choices.LOWEST] not in history for history in rows["history"])
        assert not set(item.drop(choices.LOWEST)) & set(known[user])
    unrated = interactions.drop(columns="rating")
    found = choices.unfit(ranker, unrated, ITEMS, users=0, seed=1)
    assert choices.LOWEST not in set(found["split"]) and found["user_id"].nunique() == 4
    with pytest.raises(InputError, match="no user has five items"):
        choices.unfit(ranker, interactions, ITEMS.head(2), users=0, seed=1)


def test_texts_about_other_items_are_compared_without_their_titles():
    own, interactions = own_of(sample_table(9, 3)), seen()
    ranker = make_ranker("popularity").fit(interactions)
    unfit = choices.unfit(ranker, interactions, ITEMS, users=0, seed=1)
    told = own.both(unfit)
    assert set(told["system"]) == {"student"}  # the teacher cannot be asked again
    plain = choices.without_titles(told, unfit, ITEMS)
    assert set(plain["body"]) == {f"… is film number {row}." for row in range(4)}
    likeness = choices.alike(plain)
    alike = likeness[likeness["metric"] == "alike"]
    assert (alike["value"] == 1).all() and choices.FIRST not in set(alike["choice"])
    assert set(likeness.loc[likeness["metric"] == "words", "value"]) == {5.0}
    assert choices.distinct(plain)["value"].tolist() == [1.0] * 5
    scores = choices.scores(own, unfit, told)
    table = choices.means(own, scores)
    assert set(table["choice"]) == set(unfit["split"])
    assert table.loc[table["metric"] == "names_item", "value"].eq(1).all()
    apart = choices.against_first(own, scores, likeness)
    assert set(apart["system"]) == {choices.RANDOM, choices.LAST, choices.LOWEST}
    assert (apart["value"] == 0).all() and "alike" in set(apart["metric"])
    table = pd.concat([choices.means(own, likeness), choices.distinct(plain)])
    shown = choices.text_table(table)
    assert [choice for _, choice in shown.index] == list(unfit["split"].unique())
    assert shown.columns.tolist() == ["alike (ROUGE-L)", "distinct (share)", "words (mean)"]


def test_rankers_are_those_at_hand_and_their_choices_are_told_apart(capsys):
    made = choices.available(["ease", "nobody's"])
    assert list(made) == ["ease"] and "nobody's" in capsys.readouterr().out
    with pytest.raises(InputError, match="rankers_used: none of these"):
        choices.available(["nobody's"])
    own, interactions = own_of(sample_table(9, 3)), seen()
    made = choices.available(["ease", "popularity"])
    scores, owners = choices.ranking_scores(made, interactions, 3)
    assert len(owners) == 4 and (owners["user_id"] == owners["sample_id"]).all()
    picks = choices.firsts(made, interactions, ["u0", "u1"])
    assert picks["sample_id"].tolist() == ["ease u0", "ease u1", "popularity u0", "popularity u1"]
    assert all(len(history) == 6 for history in picks["history"])
    found = choices.scores(own, picks, own.both(picks))
    table = choices.ranker_table(own.means(scores, owners), choices.means(own, found))
    assert set(table["what"]) == {"ranking", "explained by student"}
    assert set(table["system"]) == set(made) and "choice" not in table
    apart = choices.paired(own, found, "ease", "popularity")
    assert "of what ease and popularity choose no difference" in choices.verdict(apart, 2)
    sure = apart.assign(p_holm=0.01, system_a="<b>").query("metric == 'grounded'")
    assert choices.verdict(sure, 2) == (
        "The explanations of what &lt;b&gt; and popularity choose differ in: grounded explanations "
        "(2 users; Holm's correction over the metrics, 5%)."
    )


def rows_of(setting: str, system: str, **metrics: float) -> list[dict]:
    base = {"setting": setting, "users": "known", "system": system, "low": 0.0, "high": 1.0}
    return [base | {"metric": metric, "value": value} for metric, value in metrics.items()]


def test_points_of_a_grid_stand_along_their_factor():
    table = pd.DataFrame(
        [
            *rows_of("base", "own", voice=0.6),
            *rows_of("base", "zero", voice=0.3),
            *rows_of("base", "own - shuffled", voice=0.2),
            *rows_of("base", "training", valid_loss=1.5),
            *rows_of("voice_strength=0.0", "own", voice=0.1),
            *rows_of("vector=none", "own", voice=0.25),
            *rows_of("vector=none", "training", valid_loss=1.75),
        ]
    )
    found = vectors.by_strength(table, [{"voice_strength": 0.0}, {}])
    assert found[["voice_strength", "vector", "value"]].to_numpy().tolist() == [
        [0.0, "own", 0.1], [1.0, "own", 0.6], [1.0, "trained without", 0.25],
    ]  # fmt: skip
    (row,) = vectors.learnt(table).to_dict("records")
    assert (row["voice_strength"], row["value"], row["with"], row["without"]) == (1, 0.2, 1.5, 1.75)
    kept = vectors.settings_of(table, [{}, {"vector": "none"}])
    assert kept[["system", "vector"]].to_numpy().tolist() == [
        ["base", "own"], ["base", "zero"], ["vector=none", "own"],
    ]  # fmt: skip
    unknown = pd.DataFrame(rows_of("base", "own", voice=0.4)).assign(users="unknown")
    found = vectors.by_dropout(pd.concat([table, unknown]), [{}])
    assert found["users"].tolist() == ["known, own vector", "known, no vector", "never seen"]


def test_what_the_vector_is_worth_by_the_history_shown():
    cut = {"teacher_history": 50}
    changes = [cut | {"student_history": h} for h in (5, 10, 50)]
    changes.append(changes[0] | {"vector": "none"})
    names = [vectors.label(change) for change in changes]
    rows = [row for name in names for row in rows_of(name, "own", rougeL=0.5)]
    rows += [row for name in names[:3] for row in rows_of(name, "own - shuffled", rougeL=0.1)]
    found, worth = vectors.by_history(pd.DataFrame(rows), changes)
    assert found["student_history"].tolist() == [5, 5, 10, 50]
    assert found["vector"].tolist() == ["own", "trained without", "own", "own"]
    assert worth["student_history"].tolist() == [5, 50]
