"""Histories, splits, Table 1 and the audit: against brute force, and on MovieLens-1M's shape."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prism_utils import corpora
from prism_utils.errors import InputError
from prism_utils.sequences import (
    SPLITS,
    dataset_statistics,
    history_lengths,
    history_overlap,
    leakage,
    make_samples,
    read_samples,
    write_samples,
)


def frame(rows: list[tuple[str, str, int]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return table.astype({"user_id": str, "item_id": str})


# Few users, items and times, so that ties and repeated interactions are common.
interaction_rows = st.lists(
    st.tuples(st.sampled_from("xyz"), st.sampled_from("abcde"), st.integers(0, 3)),
    min_size=1,
    max_size=25,
)


def brute_force(rows: list[tuple[str, str, int]], max_history: int) -> list[tuple]:
    """(sample_id, user, history, item, (timestamp, row)) of each sample, by definition."""
    samples = []
    for user in dict.fromkeys(row[0] for row in rows):
        theirs = sorted((r[2], n, r[1]) for n, r in enumerate(rows) if r[0] == user)
        for k in range(1, len(theirs)):
            history = [item for _, _, item in theirs[:k]][-max_history:]
            samples.append((f"{user}:{k}", user, history, theirs[k][2], theirs[k][:2]))
    return samples


@given(interaction_rows, st.integers(1, 4), st.sampled_from(SPLITS))
@settings(max_examples=150, deadline=None)
def test_samples_equal_brute_force(rows, max_history, split):
    expected = brute_force(rows, max_history)
    got = make_samples(frame(rows), max_history=max_history, split=split, test_fraction=0.3)
    columns = ["sample_id", "user_id", "history", "item_id"]
    assert list(got[columns].itertuples(index=False, name=None)) == [s[:4] for s in expected]

    test = set(got.loc[got["split"] == "test", "sample_id"])
    assert set(got["split"]) <= {"train", "test"}
    if split == "leave_last":
        assert test == {sample[0] for sample in {s[1]: s for s in expected}.values()}
        return
    count = math.ceil(3 * len(expected) / 10)
    assert len(test) == count
    if split == "temporal":
        latest = sorted(expected, key=lambda s: s[4])[len(expected) - count :]
        assert test == {sample[0] for sample in latest}


def visible_in_training(samples: pd.DataFrame) -> dict[str, set[str]]:
    train = samples[samples["split"] == "train"]
    return {
        user: {*group["item_id"], *(i for h in group["history"] for i in h)}
        for user, group in train.groupby("user_id")
    }


@given(interaction_rows, st.integers(1, 4), st.data())
@settings(max_examples=150, deadline=None)
def test_leakage_equals_brute_force(rows, max_history, data):
    interactions = frame(rows)
    samples = make_samples(interactions, max_history=max_history)
    labels = st.lists(
        st.sampled_from(["train", "test"]), min_size=len(samples), max_size=len(samples)
    )
    samples["split"] = data.draw(labels)  # any split, not only ours
    samples = samples.sample(frac=0.8, random_state=0)  # in any order, rows may be missing
    test, train = (samples[samples["split"] == s] for s in ("test", "train"))

    def position(sample_ids: pd.Series) -> list[int]:
        return [int(sample_id.rsplit(":", 1)[1]) for sample_id in sample_ids]

    pairs = set(zip(test["user_id"], test["item_id"], strict=True))
    targets = set(zip(train["user_id"], train["item_id"], strict=True))
    seen = visible_in_training(samples)
    in_histories = {
        (user, item)
        for user, history in zip(train["user_id"], train["history"], strict=True)
        for item in history
    }
    # (user, position) of every interaction that training sees
    shown = {
        (user, p)
        for user, k, h in zip(
            train["user_id"], position(train["sample_id"]), train["history"], strict=True
        )
        for p in range(k - len(h), k + 1)
    }
    lengths = interactions["user_id"].value_counts()
    tested = list(zip(test["user_id"], position(test["sample_id"]), strict=True))
    leaking = [(u, k) for u, k in tested if any((u, p) in shown for p in range(k + 1, lengths[u]))]
    first = {u: min(k for v, k in tested if v == u) for u, _ in tested}
    later = [(u, p) for u, k in first.items() for p in range(k + 1, lengths[u])]

    got = leakage(samples, interactions).set_index("question")
    counts = dict(zip(got.index, zip(got["count"], got["total"], strict=True), strict=True))
    assert counts == {
        "test pairs among training targets": (len(pairs & targets), len(pairs)),
        "test pairs in training histories": (len(pairs & in_histories), len(pairs)),
        "test pairs visible in training": (
            sum(item in seen.get(user, ()) for user, item in pairs),
            len(pairs),
        ),
        "test samples with later interactions in training": (len(leaking), len(test)),
        "test users with later interactions in training": (
            len({u for u, _ in leaking}),
            test["user_id"].nunique(),
        ),
        "later interactions of test users in training": (
            sum(row in shown for row in later),
            len(later),
        ),
    }


@pytest.fixture(scope="module")
def simulated() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return frame(
        list(
            zip(
                rng.integers(0, 40, 2000).astype(str),
                rng.integers(0, 300, 2000).astype(str),
                rng.integers(0, 500, 2000),
                strict=True,
            )
        )
    )


def test_only_splits_in_time_keep_the_future_out(simulated):
    future = "later interactions of test users in training"
    shares = {
        split: leakage(make_samples(simulated, split=split), simulated).set_index("question")[
            "count"
        ][future]
        for split in SPLITS
    }
    assert shares["temporal"] == shares["leave_last"] == 0 < shares["random"]


def test_random_split_follows_the_seed(simulated):
    tests = [
        set(make_samples(simulated, seed=seed).query("split == 'test'")["sample_id"])
        for seed in (0, 0, 1)
    ]
    assert tests[0] == tests[1] != tests[2]


def test_order_of_the_file_breaks_ties_and_replaces_missing_times():
    table = frame([("u", item, 5) for item in "dacb"])
    expected = [["d"], ["d", "a"], ["d", "a", "c"]]
    assert list(make_samples(table)["history"]) == expected
    assert list(make_samples(table.drop(columns="timestamp"))["history"]) == expected
    nothing = table.assign(timestamp=pd.array([None] * 4, dtype="Int64"))
    assert list(make_samples(nothing)["history"]) == expected
    reverse = table.assign(timestamp=pd.array([4, 3, 2, 1], dtype="Int64"))
    assert list(make_samples(reverse)["item_id"]) == ["c", "a", "d"]


def test_test_size_is_exact_in_decimals():
    table = frame([("u", str(n), n) for n in range(101)])
    assert (make_samples(table, test_fraction=0.07)["split"] == "test").sum() == 7
    assert (make_samples(table, test_fraction=0)["split"] == "test").sum() == 0


def test_written_samples_read_back(simulated, tmp_path, monkeypatch):
    monkeypatch.setattr("prism_utils.sequences.samples._ROWS_AT_A_TIME", 300)
    expected = make_samples(simulated, max_history=7, split="temporal")
    path = write_samples(simulated, tmp_path / "new" / "s.parquet", max_history=7, split="temporal")
    pd.testing.assert_frame_equal(read_samples(path), expected)
    assert pq.ParquetFile(path).num_row_groups > 3
    assert pq.read_schema(path).field("history").type == pa.list_(pa.field("element", pa.string()))
    assert [p.name for p in path.parent.iterdir()] == ["s.parquet"]

    test = expected[expected["split"] == "test"]
    drawn = read_samples(path, split="test", limit=20, seed=1)
    assert len(drawn) == 20
    pd.testing.assert_frame_equal(
        drawn, test[test["sample_id"].isin(drawn["sample_id"])].reset_index(drop=True)
    )
    assert list(read_samples(path, "test", 20, seed=1)["sample_id"]) == list(drawn["sample_id"])
    assert list(read_samples(path, "test", 20, seed=2)["sample_id"]) != list(drawn["sample_id"])
    assert len(read_samples(path, split="test", limit=10**6)) == len(test)
    audit = leakage(expected, simulated)
    pd.testing.assert_frame_equal(leakage(path, simulated), audit)
    expected.to_parquet(path)  # written by another hand
    pd.testing.assert_frame_equal(leakage(path, simulated), audit)


def test_samples_are_read_by_id_and_histories_counted(simulated, tmp_path):
    path = write_samples(simulated, tmp_path / "samples.parquet", max_history=3)
    everything = read_samples(path)
    assert history_lengths(path).tolist() == everything["history"].map(len).tolist()
    wanted = everything.iloc[[7, 2]]["sample_id"].tolist()
    some = read_samples(path, sample_ids=[*wanted, "nobody:1"])
    assert some.to_dict("records") == everything.iloc[[2, 7]].to_dict("records")
    split = everything["split"].iloc[2]
    of_split = read_samples(path, split, sample_ids=wanted)
    assert set(of_split["split"]) == {split} and len(of_split) >= 1


def test_read_samples_keeps_further_columns(tmp_path):
    table = make_samples(frame([("u", item, 0) for item in "abc"]))
    table["input_text"] = ["likes a", None]
    table["evidence"] = [["a"], []]
    table.to_parquet(tmp_path / "s.parquet")
    got = read_samples(tmp_path / "s.parquet")
    assert list(got["evidence"]) == [["a"], []]
    assert got["input_text"][0] == "likes a" and pd.isna(got["input_text"][1])


def test_user_with_one_interaction_gives_no_sample(tmp_path):
    lonely = frame([("u", "a", 0), ("v", "a", 0)])
    assert make_samples(lonely).empty
    path = write_samples(lonely, tmp_path / "s.parquet", split="leave_last")
    assert list(read_samples(path).columns) == list(make_samples(lonely).columns)
    assert list(leakage(path, lonely)["count"]) == [0] * 6


USERS, RATINGS, FILMS, RATED = 6_040, 1_000_209, 3_883, 3_706


def write_movielens_1m(folder: Path) -> None:
    """ratings.dat and movies.dat of MovieLens-1M's shape: every user at least 20 ratings."""
    rng = np.random.default_rng(0)
    extra = rng.multinomial(RATINGS - 20 * USERS, rng.dirichlet(np.full(USERS, 0.8)))
    user = np.repeat(np.arange(1, USERS + 1), 20 + extra)
    film = rng.integers(1, RATED + 1, RATINGS)
    film[:RATED] = np.arange(1, RATED + 1)  # each at least once
    columns = [
        user,
        film,
        rng.integers(1, 6, RATINGS),
        rng.integers(956703932, 1046454590, RATINGS),
    ]
    empty = pa.nulls(RATINGS, pa.string())
    fields = [field for column in columns for field in (pa.array(column), empty)][:-1]
    table = pa.table(fields, names=[str(n) for n in range(len(fields))])
    options = pa.csv.WriteOptions(include_header=False, delimiter=":")
    pa.csv.write_csv(table, folder / "ratings.dat", options)
    with (folder / "movies.dat").open("w", encoding="latin-1") as file:
        file.writelines(f"{n}::Café {n}, The (1990)::Drama|War\n" for n in range(1, FILMS + 1))


def test_table_1_on_movielens_1m_shape(tmp_path):
    write_movielens_1m(tmp_path)
    corpus = corpora.load("movielens", tmp_path)
    path = write_samples(corpus.interactions, tmp_path / "samples.parquet")
    table = dataset_statistics(corpus.interactions, corpus.items, path)
    values = dict(zip(table["statistic"], table["value"], strict=True))
    assert values["users"] == USERS
    assert values["items"] == FILMS
    assert values["train sequences"] == 894_752
    assert values["test sequences"] == 99_417
    assert values["interactions"] == RATINGS
    assert values["items with interactions"] == RATED
    assert values["fewest interactions of a user"] >= 20
    # one user by hand, through every stage from the file to the samples
    with (tmp_path / "ratings.dat").open() as file:
        rows = [line.split("::") for line in file if line.startswith("2::")]
    theirs = sorted(rows, key=lambda row: int(row[3]))
    assert len(theirs) >= 20
    with pq.ParquetFile(path) as file:
        start = file.read_row_group(0).to_pandas()
    got = start[start["user_id"] == "2"]
    assert list(got["item_id"]) == [r[1] for r in theirs[1:]]
    for k, history in enumerate(got["history"], start=1):
        assert list(history) == [r[1] for r in theirs[max(0, k - 50) : k]]


def test_statistics_of_a_frame(simulated):
    items = pd.DataFrame({"item_id": ["a", "b"], "title": ["A", "B"]})
    table = dataset_statistics(simulated, items, make_samples(simulated))
    assert list(table["statistic"][:4]) == ["users", "items", "train sequences", "test sequences"]
    assert list(table["value"][:5]) == [40, 2, 1764, 196, 2000]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"split": "randon"}, "unknown split 'randon': did you mean 'random'"),
        ({"max_history": 0}, "max_history must be an integer of at least 1, found 0"),
        ({"max_history": 2.5}, "max_history must be an integer of at least 1, found 2.5"),
        ({"test_fraction": 1}, "test_fraction must be at least 0 and below 1, found 1"),
        ({"test_fraction": "0.1"}, "test_fraction must be at least 0 and below 1, found '0.1'"),
        ({"seed": -1}, "seed must be an integer of at least 0, found -1"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(InputError, match=message):
        make_samples(frame([("u", "a", 0), ("u", "b", 1)]), **parameters)


def test_bad_tables(tmp_path, simulated):
    gap = frame([("u", "a", 0), ("u", "b", 1)]).assign(timestamp=[0.0, float("nan")])
    with pytest.raises(InputError, match="row 2: 'timestamp' is missing while other rows have one"):
        make_samples(gap)
    with pytest.raises(InputError, match="has no rows"):
        make_samples(gap[:0])
    with pytest.raises(InputError, match="column 'item_id' is missing"):
        make_samples(gap.drop(columns="item_id"))
    with pytest.raises(InputError, match="no such file"):
        read_samples(tmp_path / "s.parquet")
    (tmp_path / "s.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_samples(tmp_path / "s.parquet")
    gap.to_parquet(tmp_path / "s.parquet")
    with pytest.raises(InputError, match="column 'history' is missing"):
        read_samples(tmp_path / "s.parquet")
    path = write_samples(simulated, tmp_path / "s.parquet")
    with pytest.raises(InputError, match="no split 'tset': did you mean 'test'"):
        read_samples(path, split="tset")
    with pytest.raises(InputError, match="limit must be an integer of at least 1"):
        read_samples(path, limit=0)


def test_a_file_of_another_hand_gives_the_same_samples(simulated, tmp_path):
    expected = make_samples(simulated, max_history=4, split="temporal")
    table = pa.Table.from_pandas(expected.sample(frac=1, random_state=0))  # with an index
    large = pa.large_list(pa.large_string())
    kinds = [large if f.name == "history" else pa.large_string() for f in table.schema]
    kinds[-1] = pa.int64()  # the index
    fields = zip(table.column_names, kinds, strict=True)
    pq.write_table(table.cast(pa.schema(list(fields))), tmp_path / "s.parquet")
    got = read_samples(tmp_path / "s.parquet", "test")
    wanted = expected[expected["split"] == "test"].set_index("sample_id")
    pd.testing.assert_frame_equal(got.set_index("sample_id").loc[wanted.index], wanted)
    assert leakage(tmp_path / "s.parquet", simulated).equals(leakage(expected, simulated))
    assert history_lengths(tmp_path / "s.parquet").sum() == expected["history"].map(len).sum()


@pytest.mark.parametrize("history", [["y", None], ["y", ""], None])
def test_histories_without_ids_are_refused_with_their_row(tmp_path, history):
    ids = {name: ["a", "b"] for name in ("sample_id", "user_id", "item_id", "split")}
    pq.write_table(pa.table(ids | {"history": [["x"], history]}), tmp_path / "s.parquet")
    with pytest.raises(InputError, match="s.parquet: row 2: 'history' must be a list of ids"):
        read_samples(tmp_path / "s.parquet")
    pq.write_table(pa.table(ids | {"history": [[["x"]], []]}), tmp_path / "s.parquet")
    for read in (read_samples, history_lengths, history_overlap):
        with pytest.raises(InputError, match="s.parquet: row 1: 'history' must be a list of ids"):
            read(tmp_path / "s.parquet")


def test_a_damaged_samples_file_is_one_sentence(simulated, tmp_path):
    path = write_samples(simulated, tmp_path / "s.parquet", max_history=3)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        flipped = bytearray(whole)
        for place in rng.integers(len(whole), size=8):
            flipped[place] = rng.integers(256)
        path.write_bytes(flipped)
        for read in (read_samples, history_lengths, history_overlap):
            with contextlib.suppress(InputError):
                read(path)


def test_users_with_one_interaction_have_no_split(tmp_path):
    path = write_samples(frame([("u", "a", 0), ("v", "a", 0)]), tmp_path / "s.parquet")
    with pytest.raises(InputError, match="s.parquet: holds no samples: no user has two interact"):
        read_samples(path, split="train")


def test_what_orders_no_interactions_is_refused():
    table = frame([("u", "a", 0), ("u", "b", 1)])
    half = pd.Series(["a", "\ud83d"], dtype=object)
    for column, values, message in (
        ("item_id", half, "row 2: 'item_id' must be text without half a character"),
        ("user_id", ["u", None], "row 2: 'user_id' must be text"),
        ("timestamp", [1.0, np.inf], "row 2: 'timestamp' must be a number, found inf"),
        ("timestamp", [1.6e18, 1.0], "row 1: 'timestamp' is too large to be exact"),
        ("timestamp", ["1", "2"], "row 1: 'timestamp' must be a number, found '1'"),
    ):
        with pytest.raises(InputError, match=message):
            make_samples(table.assign(**{column: values}))


def test_leakage_refuses_foreign_samples():
    interactions = frame([("u", item, n) for n, item in enumerate("abcd")])
    samples = make_samples(interactions)
    row_2 = "row 2: sample .* was not made from these interactions"
    foreign = {
        "sample_id": ["u:1", "u:9", "u:3"],
        "item_id": ["b", "a", "d"],
        "user_id": ["u", "v", "u"],
        "history": [["a"], ["b", "b"], ["a", "b", "c"]],
    }
    for column, values in foreign.items():
        with pytest.raises(InputError, match=row_2):
            leakage(samples.assign(**{column: values}), interactions)
    with pytest.raises(InputError, match="row 1: split must be 'train' or 'test', found 'valid'"):
        leakage(samples.assign(split=["valid", "train", "test"]), interactions)


def test_history_overlap_equals_brute_force(simulated, tmp_path):
    rng = np.random.default_rng(0)
    for split, length in (("random", 50), ("temporal", 4), ("leave_last", 50)):
        samples = make_samples(simulated, max_history=length, split=split)
        samples = samples.sample(700, random_state=1)  # any order, rows may be missing
        if length == 4:
            samples["user_id"] = rng.permutation(samples["user_id"])  # own histories do not help
        test, train = (samples[samples["split"] == s] for s in ("test", "train"))
        held = [set(history) for history in train["history"]]
        expected = [
            max(len(set(history) & other) for other in held) / len(set(history))
            for history in test["history"]
        ]
        got = history_overlap(samples)
        assert list(got["sample_id"]) == list(test["sample_id"])
        assert np.allclose(got["overlap"], expected) and 0 < got["overlap"].mean() < 1
        samples.to_parquet(tmp_path / "samples.parquet")
        pd.testing.assert_frame_equal(history_overlap(tmp_path / "samples.parquet"), got)


def test_history_overlap_from_the_writers_file(simulated, tmp_path, monkeypatch):
    monkeypatch.setattr("prism_utils.sequences.samples._ROWS_AT_A_TIME", 300)
    expected = history_overlap(make_samples(simulated, split="temporal"))
    path = write_samples(simulated, tmp_path / "samples.parquet", split="temporal")
    pd.testing.assert_frame_equal(history_overlap(path), expected)


def test_history_overlap_at_the_edges():
    samples = pd.DataFrame(
        {
            "sample_id": ["u:0", "v:2", "v:3", "w:4"],
            "user_id": ["u", "v", "v", "w"],
            "history": [[], ["a", "a", "b"], ["b", "c", "c"], ["x", "y"]],
            "item_id": ["a", "c", "d", "z"],
            "split": ["test", "train", "test", "test"],
        }
    )
    assert list(history_overlap(samples)["overlap"]) == [0, 0.5, 0]  # items count once
    assert list(history_overlap(samples.assign(split="test"))["overlap"]) == [0] * 4
    assert history_overlap(samples.assign(split="train")).empty
    with pytest.raises(InputError, match="row 2: split must be 'train' or 'test', found 'valid'"):
        history_overlap(samples.assign(split=["train", "valid", "test", "test"]))
