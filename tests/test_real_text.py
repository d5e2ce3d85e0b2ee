"""Real text: published explanations read and scored, samples held out, the chapter's record."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import papermill
import pytest
from rouge_score.rouge_scorer import RougeScorer

from prism_utils.errors import InputError
from prism_utils.experiments import xrec
from prism_utils.metrics.diversity import diversity
from prism_utils.metrics.overlap import rouge
from prism_utils.metrics.suite import shuffled
from prism_utils.teachers.recorded import hold_out, read_samples, read_texts

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "book" / "records" / "xrec_yelp.json"


def write_lines(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def made_pairs(count: int) -> list[dict]:
    """Records as XRec publishes them: users have one to three pairs, two of three a prediction."""
    kinds = ("tacos", "noodles", "records", "haircuts", "coffee")
    records = []
    for n in range(count):
        kind = kinds[n % 5]
        record = {"user_id": str(n * 2 // 3), "item_id": f"i{n % 11}", "title": f"Place {n % 11}"}
        record |= {
            "user_profile": f"This user likes {kind} number {n}.",
            "item_profile": f"People who like {kind} would enjoy it.",
            "explanation": f"The user would enjoy the business because of its {kind}, visit {n}.",
        }
        if n % 3:
            record["xrec_prediction"] = f"You would enjoy the {kind} of this business, visit {n}."
        records.append(record)
    return records


def made_files(folder: Path, count: int) -> list[dict]:
    """The three files that XRec publishes, of made pairs; every other one is in its graph."""
    folder.mkdir()
    records = made_pairs(count)
    write_lines(folder / "explanations.jsonl", records)
    told = [r for r in records if "xrec_prediction" in r]
    published = [{"reference": r["explanation"]} | r for r in told]
    kept = ("reference", "xrec_prediction")
    write_lines(folder / "predictions.jsonl", [{k: r[k] for k in kept} for r in published])
    edges = "".join(f"{r['user_id']},{r['item_id']}\n" for r in records[::2])
    graph = gzip.compress(f"user,item\n{edges}".encode())
    (folder / "interactions_trn.csv.gz").write_bytes(graph)
    return records


# -- Reading -------------------------------------------------------------------------------------


def test_texts_are_called_as_their_samples(tmp_path):
    path = write_lines(tmp_path / "e.jsonl", made_pairs(9))
    samples, _ = read_samples(path)
    golden, xrec = (
        read_texts(path, "explanation", "golden"),
        read_texts(path, "xrec_prediction", "x"),
    )
    assert golden["sample_id"].tolist() == samples["sample_id"].tolist()
    assert xrec["sample_id"].tolist() == samples["sample_id"].drop([0, 3, 6]).tolist()
    assert set(xrec["system"]) == {"x"} and xrec["text"].iloc[0].endswith("visit 1.")
    pd.DataFrame(made_pairs(9)).to_parquet(tmp_path / "e.parquet")
    pd.testing.assert_frame_equal(read_texts(tmp_path / "e.parquet", "xrec_prediction", "x"), xrec)


def test_records_without_ids_are_numbered(tmp_path):
    path = write_lines(
        tmp_path / "p.jsonl", [{"reference": "a"}, {"other": "b"}, {"reference": "c"}]
    )
    assert read_texts(path, "reference", "r")["sample_id"].tolist() == ["1", "3"]


def test_errors_of_reading_say_what_is_wrong(tmp_path):
    good = {"user_id": "u", "item_id": "i", "text": "fine"}
    for records, column, message in [
        ([good], "tex", "no record has column 'tex'; did you mean 'text'?"),
        ([good, good], "text", "row 2: a second record for u-i"),
        (
            [good, {"user_id": "v", "text": "x"}],
            "text",
            "row 2: 'item_id' must be text or a whole number",
        ),
        ([{**good, "text": 3}], "text", "row 1: 'text' must be text, found 3"),
    ]:
        with pytest.raises(InputError, match=re.escape(message)):
            read_texts(write_lines(tmp_path / "bad.jsonl", records), column, "x")
    with pytest.raises(InputError, match="no such file"):
        read_texts(tmp_path / "nothing.jsonl", "text", "x")


# -- Holding out ---------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Samples of 60 made pairs, and the ids of those with a prediction."""
    path = write_lines(tmp_path / "made.jsonl", made_pairs(60))
    return read_samples(path)[0], read_texts(path, "xrec_prediction", "x")["sample_id"].tolist()


def test_split_by_user_shares_no_user(made):
    samples, eligible = made
    held = hold_out(samples, eligible, 15, by="user", seed=1)
    test, train = (held[held["split"] == split] for split in ("test", "train"))
    assert 15 <= len(test) <= 16  # a user has at most two eligible pairs
    assert set(test["sample_id"]) <= set(eligible)
    assert not set(test["user_id"]) & set(train["user_id"])
    everything_else = ~samples["user_id"].isin(test["user_id"])
    assert train["sample_id"].tolist() == samples.loc[everything_else, "sample_id"].tolist()
    dropped = samples[~samples["sample_id"].isin(held["sample_id"])]
    assert len(dropped) and not set(dropped["sample_id"]) & set(eligible)


def test_split_by_sample_keeps_every_other_sample(made):
    samples, eligible = made
    held = hold_out(samples.set_index(np.zeros(60, int)), eligible, 15, by="sample", seed=1)
    assert held["sample_id"].tolist() == samples["sample_id"].tolist()
    test = held.loc[held["split"] == "test", "sample_id"]
    assert len(test) == 15 and set(test) <= set(eligible)
    users = held.groupby("user_id")["split"].nunique()
    assert (users == 2).any()  # so the user's vector has something to learn from


@pytest.mark.parametrize("by", ["user", "sample"])
def test_split_follows_its_seed_alone(made, by):
    samples, eligible = made
    first, again, other = (
        hold_out(samples, eligible, 15, by=by, seed=seed)["split"].tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_errors_of_holding_out_name_the_parameter(made):
    samples, eligible = made
    with pytest.raises(InputError, match="by: 'users' is unknown; did you mean 'user'"):
        hold_out(samples, eligible, 5, by="users")
    for size in (0, len(eligible) + 1):
        with pytest.raises(InputError, match=f"size must be in 1..{len(eligible)}.*found {size}"):
            hold_out(samples, eligible, size, by="sample")
    with pytest.raises(InputError, match="eligible: 'nobody' is no sample_id"):
        hold_out(samples, ["nobody"], 1, by="user")
    with pytest.raises(InputError, match="leaves no sample to train on"):
        hold_out(samples, samples["sample_id"], 60, by="sample")
    with pytest.raises(InputError, match="seed must be 0 or more, found -1"):
        hold_out(samples, eligible, 5, by="sample", seed=-1)


# -- The comparison ------------------------------------------------------------------------------


def test_files_that_are_missing_or_broken_are_named(tmp_path):
    made_files(tmp_path / "files", 9)
    data = xrec.read(tmp_path / "files")
    assert data.in_graph.tolist() == [True, False] * 4 + [True]
    assert data.facts()["explained by XRec"] == 6
    graph = tmp_path / "files" / "interactions_trn.csv.gz"
    for content in (
        b"user,item\n",
        gzip.compress(b"user,business\n1,2\n"),
        graph.read_bytes()[:20],
    ):
        graph.write_bytes(content)
        with pytest.raises(InputError, match="interactions_trn.csv.gz: no readable CSV file"):
            xrec.read(tmp_path / "files")
    graph.unlink()
    with pytest.raises(InputError, match="interactions_trn.csv.gz: no such file; give the folder"):
        xrec.read(tmp_path / "files")


def test_a_lift_is_what_is_above_the_references_of_others():
    golden = pd.DataFrame({"sample_id": ["a", "b"], "system": "g", "text": ["red tea", "big cup!"]})
    told = golden.assign(system="x", text=["red tea", "big, cup"])
    found = xrec.Scoring(shuffles=2).scores(told, golden)
    value = found.set_index(["sample_id", "metric"])["value"]
    assert value["a", "rougeL"] == value["a", "rougeL_lift"] == value["b", "rougeL"] == 1
    assert value["a", "rougeL_shuffled"] == 0  # two texts without a common word
    assert value["b", "rougeL_whitespace"] == 0  # "cup!" is not "cup", nor is "big," "big"
    same = xrec.Scoring(shuffles=1).scores(told.assign(text="red cup"), golden)
    assert same.loc[same["metric"] == "rougeL_lift", "value"].abs().max() < 1e-9


def test_splits_are_counted_and_floors_come_from_training(tmp_path):
    made_files(tmp_path / "files", 60)
    data = xrec.read(tmp_path / "files")
    divided = xrec.divide(data, 12, 8, seed=1)
    by_user, at_random = xrec.split_rows(divided)
    assert by_user["held-out pairs of users in training"] == 0 and by_user["user vector"] == "none"
    assert at_random["held-out pairs"] == 12 and at_random["validation pairs"] == 8
    assert at_random["held-out pairs of users in training"] > 0
    test, cut = divided["at random"]
    train = cut[cut["split"] == "train"].reset_index(drop=True)
    told = xrec.floors(data.xrec[data.xrec["sample_id"].isin(test["sample_id"])], test, train, 0)
    assert set(told["text"]) <= set(train["text"])
    texts = told.groupby("system")["text"].nunique()
    assert texts["one sentence"] == 1 < texts["nearest"]
    kinds = told.merge(test, on="sample_id").query("system == 'nearest'")
    assert all(
        text.split()[9][:-1] in asked
        for text, asked in zip(kinds["text"], kinds["input_text"], strict=True)
    )


# -- XRec's files --------------------------------------------------------------------------------


def test_published_predictions_score_as_computed_elsewhere(shared_data):
    path = shared_data / "xrec-yelp" / "predictions.jsonl"
    golden, told = read_texts(path, "reference", "g"), read_texts(path, "xrec_prediction", "xrec")
    assert len(told) == 3000

    def rouge_l(texts, **options):
        scores = rouge(texts, golden, **options)
        return scores.loc[scores["metric"] == "rougeL", "value"].mean()

    assert rouge_l(told) == pytest.approx(0.2793, abs=5e-5)  # rouge-score without stemming
    assert rouge_l(told, stemmer=True) == pytest.approx(0.2850, abs=5e-5)
    others = [rouge_l(shuffled(told, seed)) for seed in range(3)]
    assert np.mean(others) == pytest.approx(0.252, abs=1e-3)
    assert rouge_l(told.assign(text=told["text"].iloc[0])) == pytest.approx(0.230, abs=5e-4)

    class Whitespace:
        tokenize = staticmethod(lambda text: text.lower().split())

    scorer = RougeScorer(["rougeL"], tokenizer=Whitespace())
    pairs = zip(golden["text"], told["text"], strict=True)
    third = [scorer.score(*pair)["rougeL"].fmeasure for pair in pairs]
    assert np.mean(third) == pytest.approx(0.2698, abs=5e-5)

    samples = told[["sample_id"]].assign(user_id="u", item_id="i", split="test")
    samples["history"] = [[] for _ in range(len(samples))]
    items = pd.DataFrame({"item_id": ["i"], "title": ["a business"]})
    no_features = pd.DataFrame({"row": [], "feature": []})
    found = diversity(told, samples, items, features=no_features, self_bleu_sample=0)
    found = found.set_index("metric")["value"]
    assert found["usr"] == 1
    assert found["distinct2"] < 0.5  # USR is saturated, distinct-2 is not


def test_real_pairs_are_held_out_without_a_shared_user(shared_data):
    path = shared_data / "xrec-yelp" / "explanations.jsonl"
    samples, _ = read_samples(path)
    golden, xrec = read_texts(path, "explanation", "g"), read_texts(path, "xrec_prediction", "x")
    assert (len(golden), len(xrec), samples["user_id"].nunique()) == (3000, 1438, 2228)
    published = path.with_name("predictions.jsonl")
    both = pd.concat(
        [read_texts(published, c, "")["text"] for c in ("reference", "xrec_prediction")], axis=1
    )
    joined = xrec.merge(golden, on="sample_id")[["text_y", "text_x"]]
    assert set(joined.itertuples(index=False, name=None)) <= set(
        both.itertuples(index=False, name=None)
    )
    held = hold_out(samples, xrec["sample_id"], 500, by="user")
    users = held.groupby("user_id")["split"].nunique()
    assert users.max() == 1 and 500 <= (held["split"] == "test").sum() < 510


def test_the_record_holds_numbers_and_no_text_of_the_data(shared_data):
    text = RECORD.read_text(encoding="utf-8")
    known = read_texts(shared_data / "xrec-yelp" / "predictions.jsonl", "xrec_prediction", "x")
    assert not [t for t in known["text"] if t[:40] in text]
    assert not re.search(r"/(?:home|root|tmp|work|Users)\b", text)
    record = json.loads(text)
    found = {(r["system"], r["metric"]): r["value"] for r in record["published"]}
    assert found["xrec", "rougeL"] == pytest.approx(0.2793, abs=5e-5)
    assert found["xrec", "rougeL_whitespace"] == pytest.approx(0.2698, abs=5e-5)
    assert {row["split"] for row in record["scores"]} == {"by user", "at random"}
    assert record["device"]["cpu"] and record["versions"]["torch"] and record["date"]


# -- The chapter ---------------------------------------------------------------------------------


def run_chapter(folder: Path, monkeypatch: pytest.MonkeyPatch, **values: object) -> Path:
    """The chapter run in a folder of its own; returns the run's folder."""
    monkeypatch.chdir(folder)
    (folder / "profiles").mkdir()
    source = ROOT / "notebooks" / "07b_real_text.ipynb"
    parameters = {"run_dir": "runs/x"} | values
    papermill.execute_notebook(
        source, folder / "out.ipynb", parameters, kernel_name="python3", progress_bar=False
    )
    return folder / "runs" / "x"


def test_the_chapter_measures_what_the_record_holds(tmp_path, monkeypatch):
    records = made_files(tmp_path / "files", 60)
    sizes = {"held_out": 12, "valid_samples": 8, "trials": [[16, 0.01]], "layers": 1, "steps": 4}
    sizes |= {"vocab_size": 300, "eval_every": 2, "student_seeds": 2, "max_new_tokens": 8}
    run = run_chapter(
        tmp_path, monkeypatch, xrec_yelp="files", bertscore="", shuffles=1, resamples=20, **sizes
    )
    made = json.loads((run / "records" / "xrec_yelp.json").read_text(encoding="utf-8"))
    assert made["data"]["pairs"] == 60 and made["data"]["explained by XRec"] == 40
    assert made["data"]["pairs in the training graph"] == 30
    assert made["splits"][0]["held-out pairs of users in training"] == 0
    assert made["parameters"]["steps"] == 4
    systems = {(row["split"], row["system"]) for row in made["scores"]}
    expected = {"xrec", "prism", "prism@1", "nearest", "one sentence"}
    assert systems == {(split, s) for split in ("by user", "at random") for s in expected} | {
        ("at random", "prism, user hidden")
    }
    assert not [r for r in records if r["explanation"] in json.dumps(made)]
    shipped = json.loads(RECORD.read_text(encoding="utf-8"))
    assert set(made) == set(shipped), "chapter and record have come apart: make the record again"
    assert set(made["parameters"]) == set(shipped["parameters"])
