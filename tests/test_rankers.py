from __future__ import annotations

import re
import sys

import numpy as np
import pandas as pd
import pytest

from prism_utils import rankers, students
from prism_utils.corpora import embedded
from prism_utils.errors import InputError
from prism_utils.sequences import make_samples
from prism_utils.students.inputs import StudentSettings
from prism_utils.students.training import Recipe


def table(rows: str, **more) -> pd.DataFrame:
    """ "ua ub va" is: u has a and b, v has a."""
    pairs = pd.DataFrame([tuple(row) for row in rows.split()], columns=["user_id", "item_id"])
    return pairs.assign(**more)


@pytest.fixture(scope="module")
def corpus() -> pd.DataFrame:
    return embedded.load(films=40, users=60, interactions_per_user=9).interactions


def matrix(ranker, interactions: pd.DataFrame) -> np.ndarray:
    seen = pd.crosstab(interactions["user_id"], interactions["item_id"]).clip(upper=1)
    return seen.loc[ranker.users, ranker.items].to_numpy(float)


# ---------------------------------------------------------------- what every ranker keeps to


@pytest.mark.parametrize("name", rankers.RANKERS)
def test_a_ranker_recommends_k_unseen_items_best_first_and_always_the_same(name, corpus):
    users = sorted(corpus["user_id"].unique())[::-1]
    told = rankers.make_ranker(name).fit(corpus).recommend(users, 5)
    again = rankers.make_ranker(name).fit(corpus).recommend(users, 5)
    pd.testing.assert_frame_equal(told, again)
    assert list(told.columns) == ["user_id", "item_id", "rank", "score"]
    assert told["user_id"].tolist() == [user for user in users for _ in range(5)]
    assert told["rank"].tolist() == [1, 2, 3, 4, 5] * len(users)
    assert (told.groupby("user_id")["score"].diff().dropna() <= 0).all()
    assert not told.duplicated(["user_id", "item_id"]).any()
    both = told.merge(corpus, on=["user_id", "item_id"])
    assert both.empty
    one = rankers.make_ranker(name).fit(corpus).recommend(users[3:4], 5)
    assert one["item_id"].tolist() == told["item_id"].tolist()[15:20]


@pytest.mark.parametrize("name", rankers.RANKERS)
def test_who_has_seen_nearly_all_gets_what_is_left(name):
    seen = table("ua ub uc va vb wd wa")
    told = rankers.make_ranker(name).fit(seen).recommend(["u", "v"], 9)
    assert told.groupby("user_id")["item_id"].agg(set).to_dict() == {"u": {"d"}, "v": {"c", "d"}}


@pytest.mark.parametrize("name", rankers.RANKERS)
def test_unknown_users_and_empty_tables_are_refused(name):
    ranker = rankers.make_ranker(name)
    with pytest.raises(InputError, match="no rows"):
        ranker.fit(table("ua").head(0))
    ranker.fit(table("ua ub va wb"))
    with pytest.raises(InputError, match="user 'nobody' has no interactions"):
        ranker.recommend(["u", "nobody"])
    with pytest.raises(InputError, match="k must be at least 1, found 0"):
        ranker.recommend(["u"], 0)
    assert ranker.recommend([]).empty


def test_names_and_options_are_checked_with_the_nearest_right_one():
    with pytest.raises(InputError, match="did you mean 'ease'"):
        rankers.make_ranker("eas")
    with pytest.raises(InputError, match="'als' has no option 'factor': did you mean 'factors'"):
        rankers.make_ranker("als", factor=3)
    with pytest.raises(InputError, match="'popularity' has no option 'k': it has none"):
        rankers.make_ranker("popularity", k=3)
    with pytest.raises(InputError, match=r"ranker \['ease'\] is unknown"):
        rankers.make_ranker(["ease"])


@pytest.mark.parametrize(
    ("name", "option", "value", "said"),
    [
        ("ease", "l2", 0, "l2 must be above 0 and finite, found 0"),
        ("ease", "l2", float("inf"), "l2 must be above 0 and finite, found inf"),
        ("ease", "l2", "100", "l2 must be a number, found '100'"),
        ("item_cf", "neighbours", -1, "neighbours must be at least 1, found -1"),
        ("item_cf", "neighbours", 10**9, "neighbours must be at most 1000000, found 1000000000"),
        ("als", "factors", 1.5, "factors must be a whole number, found 1.5"),
        ("als", "alpha", float("nan"), "alpha must be above 0 and finite, found nan"),
        ("als", "regularization", -1, "regularization must be 0 or more and finite, found -1"),
        ("bpr", "iterations", True, "iterations must be a whole number, found True"),
        ("bpr", "learning_rate", 0.0, "learning_rate must be above 0 and finite, found 0.0"),
        ("bpr", "seed", -1, "seed must be at least 0, found -1"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(name, option, value, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        rankers.make_ranker(name, **{option: value})


@pytest.mark.parametrize("name", ["item_cf", "als", "bpr"])
def test_without_the_library_one_sentence_says_what_to_install(name, monkeypatch):
    for module in ("nearest_neighbours", "cpu.als", "cpu.bpr"):
        monkeypatch.setitem(sys.modules, f"implicit.{module}", None)
    with pytest.raises(InputError, match=r"pip install 'prism-utils\[rankers\]'"):
        rankers.make_ranker(name)
    assert rankers.make_ranker("ease").name == "ease"


def made(name: str, path):
    """The ranker of that name, or one that was recorded."""
    if name != "recorded":
        return rankers.make_ranker(name)
    return rankers.from_file(write(ranks(), path / "ranks.csv"))


@pytest.mark.parametrize("name", [*rankers.RANKERS, "recorded"])
def test_a_user_asked_for_twice_gets_all_rows_twice(name, tmp_path):
    ranker = made(name, tmp_path).fit(table("ua vb va wc wd w7"))
    one = ranker.recommend(["u"], 2)
    assert len(one) == 2
    for asked in (["u", "v", "u"], pd.Series(["u", "v", "u"], index=[4, 4, 9])):
        told = ranker.recommend(asked, 2)
        assert told["user_id"].tolist() == ["u"] * 2 + ["v"] * (len(told) - 4) + ["u"] * 2
        pd.testing.assert_frame_equal(told.head(2), one)  # to rounding: it goes with the batch
        pd.testing.assert_frame_equal(told.tail(2).reset_index(drop=True), one)


@pytest.mark.parametrize("name", [*rankers.RANKERS, "recorded"])
def test_what_makes_no_sense_to_ask_for_is_refused(name, tmp_path):
    ranker = made(name, tmp_path).fit(table("ua ub va"))
    assert ranker.recommend([], 3).empty and ranker.recommend((), 3).empty
    for k, said in ((-1, "at least 1, found -1"), (1.5, "whole number, found 1.5")):
        with pytest.raises(InputError, match=f"^k must be (a )?{re.escape(said)}$"):
            ranker.recommend(["u"], k)
        with pytest.raises(InputError, match="^k must be"):
            rankers.evaluate(ranker, table("ua ub va"), k)
    for k in (True, None, "3", float("nan")):
        with pytest.raises(InputError, match="^k must be a whole number"):
            ranker.recommend(["u"], k)
    for users, said in (
        ("u", "a list of ids, found 'u'"),
        (None, "a list of ids, found None"),
        ([None], "found None (NoneType)"),
        (["u", 5], "found 5 (int)"),
        ([["u"]], "found ['u'] (list)"),
        (["\ud83d"], r"found '\ud83d' (str)"),
    ):
        with pytest.raises(InputError, match=f"^user_ids must .*{re.escape(said)}"):
            ranker.recommend(users, 1)


@pytest.mark.parametrize("name", rankers.RANKERS)
def test_a_ranker_that_was_not_fitted_knows_nobody(name):
    ranker = rankers.make_ranker(name)
    with pytest.raises(InputError, match=f"user 'u' has no interactions that {name} was fitted on"):
        ranker.recommend(["u"])
    with pytest.raises(InputError, match="item 'a' has no interactions"):
        ranker.evidence("u", "a")


@pytest.mark.parametrize("name", rankers.RANKERS)
@pytest.mark.parametrize("rows", ["ua", "ua ub uc", "ua va wa"])
def test_one_user_or_one_item_leaves_nothing_to_recommend(name, rows):
    assert rankers.make_ranker(name).fit(table(rows)).recommend(["u"], 3).empty
    found = rankers.evaluate(rankers.make_ranker(name), table(rows), 3)
    assert (found["value"] == 0).all() and len(found) == (2 if "b" in rows else 0)


# ---------------------------------------------------------------- each against its definition


def test_popularity_counts_users_not_repetitions():
    seen = table("ua ua ua vb wb xc yc zc")
    assert rankers.make_ranker("popularity").fit(seen).recommend(["v"])["item_id"].tolist() == [
        "c", "a",
    ]  # fmt: skip


@pytest.mark.parametrize("users", [60, 25])  # more than the items, and fewer
def test_ease_is_the_ridge_regression_of_each_item_on_the_others(users, corpus):
    corpus = corpus[corpus["user_id"].isin(corpus["user_id"].unique()[:users])]
    assert (corpus["user_id"].nunique() > corpus["item_id"].nunique()) == (users == 60)
    ranker = rankers.make_ranker("ease", l2=3.0).fit(corpus)
    x = matrix(ranker, corpus)
    for item in range(x.shape[1]):
        others = np.delete(np.arange(x.shape[1]), item)
        a = x[:, others]
        by_hand = np.linalg.solve(a.T @ a + 3.0 * np.eye(len(others)), a.T @ x[:, item])
        np.testing.assert_allclose(ranker.weights[others, item], by_hand, atol=1e-9)
    assert (np.diag(ranker.weights) == 0).all()
    told = ranker.recommend([ranker.users[0]], 3)
    np.testing.assert_allclose(
        told["score"], (x[0] @ ranker.weights)[ranker.items.get_indexer(told["item_id"])]
    )


def test_ease_refuses_more_items_than_fit_into_memory(monkeypatch):
    monkeypatch.setattr(rankers.ease, "_MOST_ITEMS", 2)
    with pytest.raises(InputError, match="3 are too many"):
        rankers.make_ranker("ease").fit(table("ua ub uc"))


def test_item_cf_is_cosine_similarity(corpus):
    ranker = rankers.make_ranker("item_cf", neighbours=100).fit(corpus)
    x = matrix(ranker, corpus)
    length = np.sqrt((x**2).sum(axis=0))
    cosine = x.T @ x / np.outer(length, length)
    user = 4
    told = ranker.recommend([ranker.users[user]], 6)
    scores = np.where(x[user] > 0, -np.inf, x[user] @ cosine)
    np.testing.assert_allclose(told["score"], np.sort(scores)[::-1][:6], rtol=1e-5)
    target = ranker.items.get_loc(told["item_id"][0])
    moved = ranker.evidence(ranker.users[user], told["item_id"][0], 100)
    own = np.flatnonzero(x[user])
    by_hand = pd.Series(cosine[own, target], ranker.items[own])
    expected = by_hand[by_hand > 0].sort_values(ascending=False)
    np.testing.assert_allclose(moved["weight"], expected, rtol=1e-5)
    assert set(moved["item_id"]) == set(expected.index)


def test_als_finds_the_two_camps_and_its_evidence_adds_up_to_the_score():
    seen = table("ua ub uc va vb wb wc xx xy xz yx yy zy zz ta tc")
    ranker = rankers.make_ranker("als", factors=2, alpha=1.0).fit(seen)
    assert ranker.recommend(["v", "z"], 1)["item_id"].tolist() == ["c", "x"]
    moved = ranker.evidence("v", "c", 9)
    assert set(moved["item_id"]) == {"a", "b"}
    row = ranker.users.get_loc("v")
    score = ranker.model.user_factors[row] @ ranker.model.item_factors[ranker.items.get_loc("c")]
    assert moved["weight"].sum() == pytest.approx(score, abs=0.05)


def test_bpr_finds_the_two_camps():
    seen = table("ua ub uc va vb wb wc xx xy xz yx yy zy zz ta tc")
    told = rankers.make_ranker("bpr", factors=4, iterations=300).fit(seen).recommend(["v", "z"], 1)
    assert told["item_id"].tolist() == ["c", "x"]


# ---------------------------------------------------------------- evidence


def test_evidence_of_ease_is_its_weights_and_looks_at_the_given_history():
    seen = table("ua ub vb vc va wa wb wc xc xd yd ya")
    ranker = rankers.make_ranker("ease", l2=1.0).fit(seen)
    place = {item: ranker.items.get_loc(item) for item in "abcd"}
    weight = {item: ranker.weights[place[item], place["c"]] for item in "abd"}
    helpful = sorted((i for i in weight if weight[i] > 0), key=lambda i: -weight[i])
    moved = ranker.evidence("u", "c", history=["a", "b", "c", "d", "unheard of"])
    assert moved["item_id"].tolist() == helpful
    assert moved["weight"].tolist() == pytest.approx([weight[i] for i in helpful])
    assert ranker.evidence("u", "c", 1, history=["a", "b", "d"])["item_id"].tolist() == helpful[:1]
    assert ranker.evidence("u", "c", history=[]).empty


def test_evidence_defaults_to_all_that_the_user_has(corpus):
    ranker = rankers.make_ranker("ease").fit(corpus)
    user = ranker.users[7]
    item = ranker.recommend([user], 1)["item_id"][0]
    own = corpus.loc[corpus["user_id"] == user, "item_id"].tolist()
    moved = ranker.evidence(user, item)
    assert 0 < len(moved) <= 3 and set(moved["item_id"]) <= set(own)
    pd.testing.assert_frame_equal(moved, ranker.evidence("anybody", item, history=own))


def test_rankers_that_cannot_tell_say_so():
    for name in ("popularity", "bpr"):
        ranker = rankers.make_ranker(name).fit(table("ua ub va wb"))
        with pytest.raises(InputError, match=f"'{name}' cannot tell"):
            ranker.evidence("u", "b", history=["a"])
    ranker = rankers.make_ranker("ease").fit(table("ua ub va wb"))
    with pytest.raises(InputError, match="item 'q' has no interactions"):
        ranker.evidence("u", "q")
    with pytest.raises(InputError, match="user 'q' has no interactions"):
        ranker.evidence("q", "a")
    for asked, said in (
        ({"k": 0}, "k must be at least 1"),
        ({"history": "ab"}, "history must be a list of ids, found 'ab'"),
        ({"history": ["a", None]}, "history must hold ids.*None"),
    ):
        with pytest.raises(InputError, match=said):
            ranker.evidence("u", "b", **asked)


def test_a_file_of_ranks_has_no_evidence(corpus, tmp_path):
    samples = make_samples(corpus, max_history=6).tail(3)
    with pytest.raises(InputError, match="'recorded' cannot tell which history items"):
        rankers.with_evidence(made("recorded", tmp_path).fit(corpus), samples)


def test_samples_carry_their_evidence(corpus):
    samples = make_samples(corpus, max_history=6).tail(30)
    ranker = rankers.make_ranker("item_cf").fit(corpus)
    told = rankers.with_evidence(ranker, samples, 2)
    assert told.drop(columns="evidence").equals(samples)
    for row in told.itertuples():
        moved = ranker.evidence(row.user_id, row.item_id, 2, history=row.history)
        assert row.evidence == moved["item_id"].tolist() and set(row.evidence) <= set(row.history)


def test_a_student_that_was_trained_with_marks_asks_for_them(tmp_path):
    corpus = embedded.load(films=30, users=12, interactions_per_user=8)
    ranker = rankers.make_ranker("ease", l2=5.0).fit(corpus.interactions)
    samples = rankers.with_evidence(ranker, make_samples(corpus.interactions, max_history=4))
    settings = StudentSettings("compact", "film", 4, 64, 16, mark_evidence=True)
    options = {"items": corpus.items, "settings": settings, "vocab_size": 300, "d_model": 16}
    options |= {"recipe": Recipe(steps=2, eval_every=2), "layers": 1, "heads": 2}
    train = samples.assign(text="You may like this.")
    with pytest.raises(InputError, match="'evidence' is missing"):
        plain = train.drop(columns="evidence")
        students.fit("prism", plain, plain.head(5), tmp_path, **options)
    made = students.fit("prism", train, train.head(5), tmp_path, **options)
    student = students.load(tmp_path)
    assert student.settings.mark_evidence
    told = student.explain(samples.head(3))
    pd.testing.assert_frame_equal(told, made.explain(samples.head(3)))
    with pytest.raises(InputError, match="'evidence' is missing"):
        student.explain(samples.head(3).drop(columns="evidence"))
    first = samples.iloc[0]
    asked = {"history": first["history"], "item": first["item_id"], "user_id": first["user_id"]}
    assert student.explain(**asked, evidence=first["evidence"]).text == told["text"][0]
    assert student.explain([asked])[0].shown == len(first["history"])  # nothing is marked


# ---------------------------------------------------------------- files of other systems


def ranks() -> pd.DataFrame:
    rows = [("u", "c", 2), ("u", "a", 1), ("u", "d", 4), ("v", "7", 1), ("v", "a", 2)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rank"])


def write(frame: pd.DataFrame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    return path


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_file_of_ranks_is_a_ranker(ending, tmp_path):
    path = write(ranks(), tmp_path / f"ranks.{ending}")
    ranker = rankers.from_file(path).fit(table("ua vb"))
    told = ranker.recommend(["v", "u", "nobody"], 2)
    assert told.values.tolist() == [
        ["v", "7", 1, 1.0],
        ["v", "a", 2, 0.5],
        ["u", "c", 1, 0.5],  # a, seen, gives way
        ["u", "d", 2, 0.25],
    ]
    scored = write(ranks().assign(score=[9.0, 8, 7, 6, 5]), tmp_path / f"scored.{ending}")
    assert rankers.from_file(scored).fit(table("ua")).recommend(["u"], 1)["score"].tolist() == [9.0]
    with pytest.raises(InputError, match="k must be"):
        ranker.recommend(["u"], 0)


def test_a_bad_file_is_refused_with_its_row(tmp_path):
    good = ranks()
    bad = {
        "column 'item_id' is missing": good.drop(columns="item_id"),
        "column 'rank' is missing": good.drop(columns="rank"),
        r"line 3: 'item_id' is empty": good.assign(item_id=["a", None, "b", "c", "d"]),
        r"line 4: rank must be a whole number from 1 on, found user_id 'u'": good.assign(
            rank=[2, 1, 0, 1, 2]
        ),
        r"line 2: 'rank' must be a number, found 'best'": good.assign(rank=["best", 1, 2, 3, 4]),
        r"line 5: rank must be a whole number.*1\.5": good.assign(rank=[2, 1, 4, 1.5, 2]),
        r"line 3: this user has this item twice": good.assign(item_id=["c", "c", "d", "7", "a"]),
        r"line 4: this user has this rank twice": good.assign(rank=[2, 1, 2, 1, 2]),
        r"line 6: score must be a number": good.assign(score=[1, 2, 3, 4, None]),
    }
    for said, frame in bad.items():
        path = write(frame, tmp_path / "ranks.csv")
        with pytest.raises(InputError, match=r"ranks\.csv: .*" + said):
            rankers.from_file(path)
    with pytest.raises(InputError, match="no such file"):
        rankers.from_file(tmp_path / "none.csv")
    with pytest.raises(InputError, match="ends in .csv, .jsonl or .parquet"):
        rankers.from_file(tmp_path / "ranks.xlsx")
    (tmp_path / "broken.parquet").write_text("no table")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        rankers.from_file(tmp_path / "broken.parquet")


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_ids_of_a_file_are_the_text_that_stands_there(ending, tmp_path):
    ids = ["NA", "null", "nan", "None", "007", "1e5", "True", "2020-01-01", "é😀"]
    frame = pd.DataFrame({"user_id": ids, "item_id": ids[::-1], "rank": 1})
    told = rankers.from_file(write(frame, tmp_path / f"ranks.{ending}")).recommend(ids, 1)
    assert told["user_id"].tolist() == ids and told["item_id"].tolist() == ids[::-1]
    whole = pd.DataFrame({"user_id": [7, 12345678901234567], "item_id": [8, 9], "rank": [1, 1]})
    read = rankers.from_file(write(whole, tmp_path / f"whole.{ending}")).ranks
    assert read["user_id"].tolist() == ["7", "12345678901234567"]
    assert read["item_id"].tolist() == ["8", "9"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "user_id,item_id,rank\n", "holds no ranks"),
        ("a.csv", "", "a.csv: "),
        ("a.csv", "user_id,item_id,rank\nu,a,1,9\nu,b,2,9\n", "a.csv: "),  # shifted, if taken
        ("a.csv", "user_id,item_id,rank\nu,a,1\n  ,b,2\n", "line 3: 'user_id'"),
        (
            "a.csv",
            "user_id,item_id,rank\nu,a,1\nu,b,1.0\n",
            "line 3: this user has this rank twice",
        ),
        ("a.csv", "user_id,item_id,rank\nu,a,\n", "line 2: rank must be a whole number"),
        ("a.csv", "user_id,item_id,rank\nu,a,-1\n", "line 2: rank must be a whole number"),
        ("a.csv", "user_id,item_id,rank\nu,a,1e300\n", "line 2: rank must be a whole number"),
        ("a.csv", "user_id,item_id,rank\nu,a,True\n", "line 2: "),
        ("a.csv", "user_id,item_id,rank,score\nu,a,1,inf\n", "line 2: "),
        ("a.jsonl", '{"user_id": "u", "item_id": "\\ud83d", "rank": 1}', "row 1: "),
        ("a.jsonl", '{"user_id": "u", "item_id": "a", "rank": true}', "row 1: "),
        ("a.jsonl", '{"user_id": "u", "item_id": "a", "rank": [1]}', "row 1: "),
        ("a.jsonl", '{"user_id": null, "item_id": "a", "rank": 1}', "row 1: 'user_id' must be"),
        ("a.jsonl", '{"user_id": 7.5, "item_id": "a", "rank": 1}', "row 1: 'user_id' must be"),
        ("a.jsonl", '{"user_id": "u", "item_id": "a", "rank": 1}\n{"user_id"', "row 2: "),
        ("a.jsonl", "[" * 20_000, "row 1: "),
        ("a.parquet", "PAR1 cut", "a.parquet: not "),
    ],
)
def test_a_damaged_file_is_refused_and_never_half_read(name, text, said, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"{re.escape(name)}: .*") as refusal:
        rankers.from_file(tmp_path / name)
    assert said in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_folder_is_no_file_of_ranks(tmp_path):
    (tmp_path / "ranks.csv").mkdir()
    with pytest.raises(InputError, match=r"ranks\.csv: is a folder"):
        rankers.from_file(tmp_path / "ranks.csv")


# ---------------------------------------------------------------- evaluation


def test_evaluation_computed_by_hand(tmp_path):
    # v's last is b at time 9 although c stands below it; u's two times are equal: c is the later.
    seen = table("ua uc vb va vc wa", timestamp=[5, 5, 9, 1, 2, 3])
    told = "user_id,item_id,rank\nu,x,1\nu,y,2\nu,c,3\nv,b,1\nw,a,1\n"
    (tmp_path / "ranks.csv").write_text(told)
    ranker = rankers.from_file(tmp_path / "ranks.csv")
    scores = rankers.held_out_scores(ranker, seen, 10)
    found = scores.pivot(index="sample_id", columns="metric", values="value")
    assert found.loc["u"].to_dict() == {"ndcg@10": 0.5, "recall@10": 1.0}  # 1 / log2(4)
    assert found.loc["v"].to_dict() == {"ndcg@10": 1.0, "recall@10": 1.0}
    assert "w" not in found.index  # one interaction: nothing is left to learn from
    means = rankers.evaluate(ranker, seen, 2, resamples=50).set_index("metric")
    assert means.loc["ndcg@2", "value"] == 0.5 and means.loc["recall@2", "value"] == 0.5
    assert means.loc["recall@2", ["low", "high", "n"]].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["popularity", "ease", "item_cf"])
def test_evaluation_against_brute_force(name, corpus):
    corpus = corpus.sample(frac=1, random_state=1, ignore_index=True)
    corpus["timestamp"] //= 10**6  # many ties
    last = make_samples(corpus, max_history=1, split="leave_last").query("split == 'test'")
    held = dict(zip(last["user_id"], last["item_id"], strict=True))
    rest = corpus[corpus["item_id"] != corpus["user_id"].map(held)]
    ranker = rankers.make_ranker(name).fit(rest)
    gains, hits = [], []
    for user, item in held.items():
        top = ranker.recommend([user], 7)["item_id"].tolist()
        hits.append(float(item in top))
        gains.append(1 / np.log2(2 + top.index(item)) if item in top else 0.0)
    means = rankers.evaluate(rankers.make_ranker(name), corpus, 7).set_index("metric")
    assert means.loc["ndcg@7", "value"] == pytest.approx(np.mean(gains))
    assert means.loc["recall@7", "value"] == pytest.approx(np.mean(hits)) and sum(hits) > 0
    assert (means["low"] <= means["value"]).all() and (means["value"] <= means["high"]).all()
    assert set(means["n"]) == {len(held)} and set(means["system"]) == {name}


def test_learnt_rankers_beat_popularity_where_tastes_are_strong():
    corpus = embedded.load(films=150, users=300, interactions_per_user=20, taste_concentration=3)
    scores = {
        name: rankers.evaluate(rankers.make_ranker(name), corpus.interactions)["value"][0]
        for name in ("popularity", "ease", "als")
    }
    assert scores["ease"] > 1.3 * scores["popularity"] < scores["als"]
