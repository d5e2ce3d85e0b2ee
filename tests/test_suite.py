"""The suite: values are the metrics' own, floors are what they say, and files speak by row."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sacrebleu

from prism_utils.errors import InputError
from prism_utils.metrics import __main__ as cli
from prism_utils.metrics import overlap, st2exp, suite
from prism_utils.metrics.grounding import grounding_scores
from prism_utils.metrics.receipts import Auditor
from prism_utils.metrics.suite import central_text, constant, evaluate, shuffled
from prism_utils.tables import check, read_table

RNG = np.random.default_rng(0)
ITEMS = pd.DataFrame(
    {
        "item_id": [f"i{n}" for n in range(12)],
        "title": [f"The {word} Affair" for word in "Amber Blue Coral Dark Early Final "
                  "Green High Iron Jade Kind Last".split()],
        "year": list(range(1980, 1992)),
        "genre": [["Comedy", "Drama"][n % 2 :] for n in range(12)],
    }
)  # fmt: skip
TITLES = ITEMS.set_index("item_id")["title"]
SAMPLES = pd.DataFrame(
    {
        "sample_id": [f"s{n}" for n in range(48)],
        "user_id": [f"u{n % 7}" for n in range(48)],
        "history": [[f"i{n % 5}", f"i{n % 3 + 6}"] for n in range(48)],
        "item_id": [f"i{n}" for n in RNG.integers(12, size=48)],
        "split": "test",
    }
)


def texts(system, words, samples=SAMPLES):
    rows = zip(samples["item_id"], samples["history"], strict=True)
    said = [f"As you liked {TITLES[past[0]]}, {words[n % len(words)]} {TITLES[item]}."
            for n, (item, past) in enumerate(rows)]  # fmt: skip
    return pd.DataFrame({"sample_id": samples["sample_id"], "system": system, "text": said})


GOLDEN = texts("grammar", ["you may enjoy", "we recommend the comedy", "why not see"])
TOLD = pd.concat(
    [
        texts("prism", ["you may well enjoy", "we recommend", "see the drama"]),
        texts("parrot", ["it is a film:"], SAMPLES.head(30)),
    ],
    ignore_index=True,
)


@pytest.fixture(scope="module")
def result():
    return evaluate(TOLD, SAMPLES, ITEMS, GOLDEN, resamples=300)


def row(result, system, metric):
    table = result.table
    return table[(table["system"] == system) & (table["metric"] == metric)].iloc[0]


def test_the_table_holds_every_metric_of_every_system_in_order(result):
    assert tuple(result.table.columns) == suite.COLUMNS
    assert list(result.table["system"].unique()) == ["prism", "parrot"]
    metrics = [set(part["metric"]) for _, part in result.table.groupby("system")]
    assert metrics[0] == metrics[1]
    assert metrics[0] >= {
        "foreign_title", "grounded", "st2exp_p", "itself", "fmr", "rouge1",
        "rougeL", "set_rougeL", "bleu4",
        "corpus_bleu4", "usr", "distinct2", "div", "fcr", "self_bleu",
    }  # fmt: skip
    assert not result.table.duplicated(["system", "metric"]).any()
    sizes = result.table.groupby("system")["n"].max()
    assert sizes.to_dict() == {"prism": 48, "parrot": 30}


def test_values_are_the_metrics_own(result):
    check(result.scores, "scores")
    means = result.scores.groupby(["system", "metric"])["value"].mean()
    for expected in (
        overlap.rouge(TOLD, GOLDEN),
        overlap.set_rouge(TOLD, GOLDEN),
        overlap.bleu(TOLD, GOLDEN),
        grounding_scores(TOLD, SAMPLES, ITEMS),
        st2exp.score(TOLD, SAMPLES, GOLDEN, auditor=Auditor(ITEMS)),
    ):
        of_metric = expected.groupby(["system", "metric"])["value"].mean()
        assert means[of_metric.index].to_numpy() == pytest.approx(of_metric.to_numpy())
        for (system, metric), value in of_metric.items():
            assert row(result, system, metric)["value"] == pytest.approx(value)


def test_corpus_bleu_is_sacrebleus(result):
    prism = TOLD[TOLD["system"] == "prism"]
    expected = sacrebleu.corpus_bleu(list(prism["text"]), [list(GOLDEN["text"])]).score / 100
    found = row(result, "prism", "corpus_bleu4")
    assert found["value"] == pytest.approx(expected)
    assert found["low"] < expected < found["high"]


def test_intervals_hold_the_value(result):
    table = result.table
    assert (table["low"] <= table["value"] + 1e-9).all()
    assert (table["high"] >= table["value"] - 1e-9).all()
    bounded = table[~table["metric"].isin(["div", "groundings"])]
    assert bounded[["low", "high"]].stack().between(0, 1).all()


def test_floors_stand_beside_metrics_with_references_and_nowhere_else(result):
    with_floor = result.table[result.table["floor_constant"].notna()]
    expected = {*overlap.METRICS, *overlap.SET_METRICS, *overlap.BLEU_METRICS, *suite.CORPUS}
    assert set(with_floor["metric"]) == expected
    larger = with_floor[["floor_shuffled", "floor_constant"]].max(axis=1)
    assert with_floor["lift"].to_numpy() == pytest.approx(with_floor["value"] - larger)
    others = result.table.drop(with_floor.index)
    assert others[["floor_shuffled", "floor_constant", "lift"]].isna().all(axis=None)


def test_the_constant_floor_is_one_sentence_on_the_systems_own_samples(result):
    one = constant(GOLDEN)
    assert one["text"].nunique() == 1 and one["text"].iloc[0] in set(GOLDEN["text"])
    for system, count in {"prism": 48, "parrot": 30}.items():
        means = overlap.rouge(one.head(count), GOLDEN).groupby("metric")["value"].mean()
        assert row(result, system, "rougeL")["floor_constant"] == pytest.approx(means["rougeL"])
    bleu = sacrebleu.corpus_bleu(list(one["text"].head(30)), [list(GOLDEN["text"].head(30))])
    assert row(result, "parrot", "corpus_bleu4")["floor_constant"] == pytest.approx(
        bleu.score / 100
    )


def test_the_shuffled_floor_pairs_every_text_with_another_samples_reference(result):
    moved = shuffled(TOLD)
    assert len(moved) == len(TOLD)
    both = TOLD.assign(place=TOLD["system"] + TOLD["text"]).merge(
        moved, on=["system", "sample_id"], suffixes=("", "_moved")
    )
    assert len(both) == len(TOLD)  # each sample gets one text of each system back
    origin = {
        (s, n): t for s, n, t in TOLD[["system", "sample_id", "text"]].itertuples(index=False)
    }
    marked = TOLD.assign(text=TOLD["sample_id"])
    assert (shuffled(marked)["text"] != shuffled(marked)["sample_id"]).all()
    assert len(origin) == len(TOLD)
    means = overlap.rouge(moved, GOLDEN).groupby(["system", "metric"])["value"].mean()
    assert row(result, "prism", "rouge2")["floor_shuffled"] == pytest.approx(
        means["prism", "rouge2"]
    )


def test_systems_with_the_same_samples_are_shuffled_alike():
    first = texts("a", ["x"]).assign(text=SAMPLES["sample_id"])
    second = first.assign(system="b").sample(frac=1, random_state=1)
    moved = shuffled(pd.concat([first, second])).set_index(["system", "sample_id"])["text"]
    assert moved["a"].to_dict() == moved["b"].to_dict()
    assert shuffled(first.head(1)).empty
    alone = evaluate(TOLD.head(1), SAMPLES, ITEMS, GOLDEN, resamples=5).table
    assert alone["floor_shuffled"].isna().all() and alone["floor_constant"].notna().any()


def test_the_central_text_is_the_one_most_like_the_others():
    assert central_text(["a b c d", "a b x y", "q r c d", "m n", "m n"]) == "a b c d"
    assert central_text(["only"]) == "only"


def test_a_semantic_metric_gets_floors_too():
    class Length:
        name = "length"

        def score(self, explanations, references):
            golden = explanations["sample_id"].map(references.set_index("sample_id")["text"])
            same = (explanations["text"] == golden.to_numpy()).astype(float)
            return explanations[["sample_id", "system"]].assign(metric="same", value=same)

    found = evaluate(GOLDEN, SAMPLES, ITEMS, GOLDEN, semantic=Length(), resamples=5)
    same = row(found, "grammar", "same")
    assert same["value"] == 1 and same["floor_shuffled"] < 0.2
    assert same["floor_constant"] == (GOLDEN["text"] == constant(GOLDEN)["text"].iloc[0]).mean()
    assert same["lift"] == 1 - max(same["floor_shuffled"], same["floor_constant"])


def test_the_answer_depends_neither_on_the_size_of_steps_nor_on_the_order_of_rows(
    result, monkeypatch
):
    monkeypatch.setattr(suite, "_CHUNK", 7)
    mixed = evaluate(TOLD.iloc[::-1], SAMPLES, ITEMS, GOLDEN, resamples=300).table
    keys = ["system", "metric"]
    aligned = mixed.set_index(keys).loc[pd.MultiIndex.from_frame(result.table[keys])]
    pd.testing.assert_frame_equal(aligned.reset_index(), result.table)


def test_without_references_there_is_no_overlap():
    found = evaluate(TOLD, SAMPLES, ITEMS, resamples=5).table
    assert not set(found["metric"]) & {*overlap.METRICS, *suite.CORPUS}
    assert found["lift"].isna().all() and {"grounded", "usr"} <= set(found["metric"])


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="none to score"):
        evaluate(TOLD.head(0), SAMPLES, ITEMS)
    with pytest.raises(InputError, match="sample 's47' has none"):
        evaluate(TOLD, SAMPLES.head(47), ITEMS)
    with pytest.raises(InputError, match="1 of 78 explanations have none, first row 48, sample"):
        evaluate(TOLD, SAMPLES, ITEMS, GOLDEN.head(47))
    with pytest.raises(InputError, match="row 49: a second one for sample 's0'; keep one"):
        evaluate(TOLD, SAMPLES, ITEMS, pd.concat([GOLDEN, TOLD.head(1)]))


def test_xrecs_published_predictions_and_their_floors(shared_data):
    lines = (shared_data / "xrec-yelp" / "predictions.jsonl").read_text().splitlines()
    pairs = pd.DataFrame([json.loads(line) for line in lines])
    ids = [f"s{n}" for n in range(len(pairs))]
    told = pd.DataFrame({"sample_id": ids, "system": "xrec", "text": pairs["xrec_prediction"]})
    golden = told.assign(system="golden", text=pairs["reference"])
    samples = pd.DataFrame({"sample_id": ids, "user_id": ids, "item_id": "x", "split": "test"})
    samples["history"] = [[] for _ in ids]
    items = pd.DataFrame({"item_id": ["x"], "title": ["A place that no text names"]})
    found = evaluate(told, samples, items, golden, noun="business", resamples=200)
    rouge_l = row(found, "xrec", "rougeL")
    assert rouge_l["value"] == pytest.approx(0.2793, abs=5e-5)
    assert rouge_l["floor_shuffled"] == pytest.approx(0.252, abs=2e-3)
    assert rouge_l["lift"] < 0.03
    assert row(found, "xrec", "usr")["value"] == pytest.approx(1, abs=5e-4)


# The command


def as_jsonl(frame, path):
    path.write_text("".join(json.dumps(r) + "\n" for r in frame.to_dict("records")))
    return path


@pytest.fixture
def files(tmp_path):
    """explanations, samples, items and references in four formats, as a user brings them."""
    SAMPLES.to_parquet(tmp_path / "samples.parquet")
    csv = ITEMS.assign(genre=ITEMS["genre"].map("|".join))
    csv.to_csv(tmp_path / "items.csv", index=False)
    own = TOLD[TOLD["system"] == "prism"].drop(columns="system")
    return {
        "explanations": as_jsonl(own, tmp_path / "mine.jsonl"),
        "samples": tmp_path / "samples.parquet",
        "items": tmp_path / "items.csv",
        "references": as_jsonl(GOLDEN, tmp_path / "golden.jsonl"),
    }


def arguments(files, *more):
    return [*(part for name, path in files.items() for part in (f"--{name}", str(path))), *more]


def test_the_command_prints_a_table_and_writes_scores(files, capsys):
    cli.main(arguments(files, "--resamples", "50"))
    printed = capsys.readouterr()
    assert "lift" in printed.out and "*foreign_title" in printed.out
    assert "100%" in printed.err
    scores = read_table(files["explanations"].with_name("mine.scores.parquet"), "scores")
    assert set(scores["system"]) == {"mine"}  # called by the file's name
    expected = overlap.rouge(TOLD.head(48), GOLDEN).query("metric == 'rougeL'")["value"].mean()
    assert scores.query("metric == 'rougeL'")["value"].mean() == pytest.approx(expected)
    assert f"rougeL {expected:.4f}" in " ".join(printed.out.split())


def test_the_command_without_references_says_what_is_left_out(files, capsys, tmp_path):
    as_jsonl(TOLD, files["explanations"])  # two systems
    del files["references"]
    out = tmp_path / "new" / "s.parquet"
    cli.main(arguments(files, "--out", str(out), "--resamples", "5"))
    printed = capsys.readouterr().out
    assert (
        "no references: overlap" in printed
        and "rouge"
        not in printed.replace("_", " ").lower()[: printed.lower().index("no references")]
    )
    assert set(read_table(out, "scores")["system"]) == {"prism", "parrot"}


def test_the_command_adds_bertscore_and_names_its_model(files, capsys):
    cli.main(arguments(files, "--resamples", "5", "--bertscore", "minilm"))
    printed = capsys.readouterr().out
    assert "bertscore_f1" in printed and "BERTScore: " in printed and "MiniLM" in printed


def test_numbers_as_ids_become_text(tmp_path):
    path = tmp_path / "s.jsonl"
    record = {"sample_id": 1, "user_id": 2, "item_id": 3, "history": [4, 5]}
    path.write_text(json.dumps(record) + "\n")
    found = cli.read(path, "samples")
    assert found.to_dict("records") == [
        {"sample_id": "1", "user_id": "2", "item_id": "3", "history": ["4", "5"], "split": "test"}
    ]
    pd.DataFrame([record]).to_parquet(tmp_path / "s.parquet")
    pd.testing.assert_frame_equal(cli.read(tmp_path / "s.parquet", "samples"), found)


def test_attributes_in_csv_are_lists(files):
    found = cli.read(files["items"], "items")
    assert found["genre"].tolist() == ITEMS["genre"].tolist()
    assert found["year"].tolist() == ITEMS["year"].tolist()


GOOD = '{"sample_id": "s0", "text": "A text"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("explanations", GOOD + "not json\n", r"mine.jsonl: row 2: not valid JSON"),
        ("explanations", GOOD + "\n" + GOOD, r"mine.jsonl: row 3: duplicate sample_id 's0'"),
        ("explanations", GOOD + "[1]\n", r"mine.jsonl: row 2: must be a JSON object, found list"),
        ("explanations", GOOD + '{"sample_id": "s1"}\n', r"row 2: 'text' must be text"),
        ("explanations", GOOD + '{"sample_id": "s1", "text": 5}\n', r"row 2: 'text' must be text"),
        ("explanations", GOOD + '{"text": "x"}\n', r"row 2: 'sample_id' must be text"),
        ("explanations", GOOD + GOOD, r"mine.jsonl: row 2: duplicate sample_id 's0'"),
        ("explanations", '{"text": "x"}\n', r"mine.jsonl: column 'sample_id' is missing"),
        ("explanations", "", r"mine.jsonl: holds no rows"),
        (
            "explanations",
            GOOD + '{"sample_id": "z", "text": "x"}\n',
            r"mine.jsonl: row 2: sample 'z' is not in \S*samples.parquet \(1 of 2 rows\)",
        ),
        (
            "explanations",
            GOOD + '\n{"sample_id": "z", "text": "x"}\n',
            r"mine.jsonl: row 3: sample 'z' is not in \S*samples.parquet \(1 of 2 rows\)",
        ),
        ("references", GOOD, r"mine.jsonl: row 2: sample 's1' is not in \S*golden.jsonl"),
        (
            "references",
            "".join(json.dumps({"sample_id": "s0", "text": "x", "system": s}) + "\n" for s in "ab"),
            r"golden.jsonl: row 2: duplicate sample_id 's0'",
        ),
        ("items", "item_id,title\ni1,A,B\n", r"items.csv: line 2: 2 fields expected"),
        ("items", "item_id,title\nzz,A\n", r"samples.parquet: row 1: item 'i\d+' is not in"),
        ("samples", "no table", r"samples.parquet: not a readable Parquet file"),
    ],
)
def test_a_wrong_file_is_named_with_its_row(files, name, content, message):
    files[name].write_text(content)
    with pytest.raises(InputError, match=message):
        cli.main(arguments(files))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "scores.csv"], "name ends in .parquet"),
        (["--out", f"{__file__}/s.parquet", "--samples", "gone.parquet"], "is no folder"),
        (["--resamples", "0"], "--resamples 0: must be at least 1"),
        (["--samples", "gone.parquet"], "gone.parquet: no such file"),
        (["--samples", __file__], "give a file whose name ends in .csv, .jsonl or .parquet"),
    ],
)
def test_wrong_options_are_refused(files, options, message):
    with pytest.raises(InputError, match=message):
        cli.main(arguments(files, *options))


def test_inputs_are_never_overwritten_and_bertscore_needs_references(files):
    with pytest.raises(InputError, match="one of the files to read"):
        cli.main(arguments(files, "--out", str(files["samples"])))
    del files["references"]
    with pytest.raises(InputError, match="give --references as well"):
        cli.main(arguments(files, "--bertscore", "minilm"))


def test_bad_input_ends_with_one_sentence_and_status_2(files):
    files["explanations"].write_text("{\n")
    done = subprocess.run(
        [sys.executable, "-m", "prism_utils.metrics", *arguments(files)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
