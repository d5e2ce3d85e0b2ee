import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from prism_utils.distillation import _read, distill, main, plan_folder
from prism_utils.errors import InputError
from prism_utils.tables import read_table, write_table
from prism_utils.teachers import make_teacher
from prism_utils.teachers.grammar import GrammarTeacher

ROOT = Path(__file__).resolve().parents[1]
ITEMS = pd.DataFrame(
    {
        "item_id": [f"i{n}" for n in range(30)],
        "title": [f"Film Number {n}" for n in range(30)],
        "genre": [["Comedy"] if n % 2 else ["Action"] for n in range(30)],
    }
)
SAMPLES = pd.DataFrame(
    [
        (
            f"s{n}",
            f"u{n % 9}",
            [f"i{(n + k) % 30}" for k in range(1, 2 + n % 4)],
            f"i{n % 30}",
            "train",
        )
        for n in range(120)
    ],
    columns=["sample_id", "user_id", "history", "item_id", "split"],
)


@pytest.fixture
def whole():
    return GrammarTeacher(ITEMS).explain(SAMPLES)


def finished(folder):
    return sorted(folder.glob("shard-*.parquet"))


def command(*arguments, launcher=("-m",)):
    environment = {k: v for k, v in os.environ.items() if k not in ("WORLD_SIZE", "RANK")}
    environment["PYTHONPATH"] = str(ROOT)
    return {
        "args": [sys.executable, *launcher, *map(str, arguments)],
        "env": environment,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }


class Counting(GrammarTeacher):
    """A grammar that remembers what it was asked."""

    def __init__(self, items, **parameters):
        super().__init__(items, **parameters)
        self.asked = []

    def explain(self, samples):
        self.asked += samples["sample_id"].tolist()
        return super().explain(samples)


def test_shards_hold_each_sample_once_and_are_not_done_twice(tmp_path, whole):
    told = distill(GrammarTeacher(ITEMS), SAMPLES, tmp_path, shard_size=25, progress=False)
    pd.testing.assert_frame_equal(told, whole)
    pd.testing.assert_frame_equal(
        read_table(tmp_path / "explanations.parquet", "explanations"), whole
    )
    assert [len(pd.read_parquet(shard)) for shard in finished(tmp_path)] == [25, 25, 25, 25, 20]
    again = Counting(ITEMS)
    pd.testing.assert_frame_equal(
        distill(again, SAMPLES, tmp_path, shard_size=25, progress=False), whole
    )
    assert again.asked == []
    assert not list(tmp_path.glob("*.partial"))


def test_truncated_missing_and_foreign_shards_are_done_again(tmp_path, whole):
    distill(GrammarTeacher(ITEMS), SAMPLES, tmp_path / "a", shard_size=20, progress=False)
    other = tmp_path / "b"  # the same samples, another teacher
    distill(GrammarTeacher(ITEMS, seed=1), SAMPLES, other, shard_size=20, progress=False)
    shards = finished(tmp_path / "a")
    shards[0].write_bytes(shards[0].read_bytes()[:-40])
    shards[1].unlink()
    shards[2].write_bytes(shards[3].read_bytes())
    shards[4].write_bytes(finished(other)[4].read_bytes())
    teacher = Counting(ITEMS)
    told = distill(teacher, SAMPLES, tmp_path / "a", shard_size=20, progress=False)
    pd.testing.assert_frame_equal(told, whole)
    ids = SAMPLES["sample_id"].tolist()
    assert teacher.asked == ids[:60] + ids[80:100]


SLOW = """
import sys, time
sys.path.insert(0, sys.argv[2])
from test_distillation import ITEMS, SAMPLES, GrammarTeacher, distill

class Slow(GrammarTeacher):
    def explain(self, samples):
        time.sleep(0.1)
        return super().explain(samples)

distill(Slow(ITEMS), SAMPLES, sys.argv[1], shard_size=5)
"""


def test_killed_and_started_again_loses_and_doubles_nothing(tmp_path, whole):
    folder = tmp_path / "run"
    process = subprocess.Popen(**command(SLOW, folder, Path(__file__).parent, launcher=("-c",)))
    deadline = time.monotonic() + 60
    while len(finished(folder)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = len(finished(folder))
    assert 3 <= done < 24 and not (folder / "explanations.parquet").exists()
    before = {shard: shard.stat().st_mtime_ns for shard in finished(folder)}
    teacher = Counting(ITEMS)
    told = distill(teacher, SAMPLES, folder, shard_size=5, progress=False)
    pd.testing.assert_frame_equal(told, whole)
    assert teacher.asked == SAMPLES["sample_id"].tolist()[5 * done :]
    assert all(shard.stat().st_mtime_ns == stamp for shard, stamp in before.items())


@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_bit_that_flips_is_seen_and_said(tmp_path, whole, capsys, part):
    distill(GrammarTeacher(ITEMS), SAMPLES, tmp_path, shard_size=30, progress=False)
    before = (tmp_path / "explanations.parquet").read_bytes()
    damaged = [finished(tmp_path)[1], tmp_path / "explanations.parquet"]
    for path in damaged:
        data = bytearray(path.read_bytes())
        data[int(part * len(data))] ^= 16
        path.write_bytes(data)
    no_text = finished(tmp_path)[2]
    pd.read_parquet(no_text).drop(columns="text").to_parquet(no_text)
    teacher = Counting(ITEMS)
    told = distill(teacher, SAMPLES, tmp_path, shard_size=30, progress=False)
    pd.testing.assert_frame_equal(told, whole)
    assert teacher.asked == SAMPLES["sample_id"].tolist()[30:90]
    said = [f"{path} is damaged: done again" for path in (damaged[0], no_text)]
    assert capsys.readouterr().err.splitlines() == said
    assert (tmp_path / "explanations.parquet").read_bytes() == before


def test_a_shard_is_parsed_only_where_its_seal_fits(tmp_path):
    """With another bit in the name of a column it is no UTF-8."""
    distill(GrammarTeacher(ITEMS), SAMPLES, tmp_path, shard_size=30, progress=False)
    shard = finished(tmp_path)[0]
    data = shard.read_bytes()
    for place in range(0, len(data), 5):
        shard.write_bytes(data[:place] + bytes([data[place] ^ 128]) + data[place + 1 :])
        assert _read(shard, "plan") == (None, "damaged"), place


def test_another_plan_in_the_same_folder_is_refused(tmp_path):
    distill(GrammarTeacher(ITEMS), SAMPLES, tmp_path, progress=False)
    for teacher, samples, size, what in [
        (GrammarTeacher(ITEMS, error_rate=0.1), SAMPLES, 1000, "error_rate"),
        (GrammarTeacher(ITEMS[::2]), SAMPLES, 1000, "items"),
        (GrammarTeacher(ITEMS), SAMPLES.assign(user_id="u"), 1000, "samples"),
        (GrammarTeacher(ITEMS), SAMPLES, 10, "shard_size"),
    ]:
        with pytest.raises(InputError, match=f"another plan .different: {what}.; delete"):
            distill(teacher, samples, tmp_path, shard_size=size, progress=False)
    plan = tmp_path / "plan.json"
    for damage in (plan.read_text().replace('"count": 120', '"count": 121'), "{", ""):
        plan.write_text(damage)
        with pytest.raises(InputError, match="plan.json .*it is damaged; delete it"):
            distill(GrammarTeacher(ITEMS), SAMPLES, tmp_path, progress=False)
    plan.unlink()
    teacher = Counting(ITEMS)
    distill(teacher, SAMPLES, tmp_path, progress=False)
    assert teacher.asked == []


def test_all_that_a_teacher_reads_is_part_of_the_plan(tmp_path):
    path, out = tmp_path / "recorded.jsonl", tmp_path / "out"
    folders = set()
    for word in ("wrong", "right"):
        lines = [json.dumps({"sample_id": s, "explanation": word}) for s in SAMPLES["sample_id"]]
        path.write_text("\n".join(lines))
        teacher = make_teacher("recorded", ITEMS, path=str(path), name="../../x")
        folder = plan_folder(out, teacher, SAMPLES)
        assert folder.parent == out and ".." not in folder.parts
        assert set(distill(teacher, SAMPLES, folder, progress=False)["text"]) == {word}
        folders.add(folder)
    assert len(folders) == 2
    with pytest.raises(InputError, match="another plan .different: content.; delete"):
        distill(teacher, SAMPLES, (folders - {folder}).pop(), progress=False)
    marked = [SAMPLES.assign(evidence=[[h[k]] for h in SAMPLES["history"]]) for k in (0, -1)]
    assert len({plan_folder(out, teacher, samples) for samples in (SAMPLES, *marked)}) == 3
    cut = pd.Series(["half an emoji \ud83d"] * len(SAMPLES), dtype=object)
    odd = SAMPLES.assign(input_text=cut, rating=float("nan"))
    assert plan_folder(out, teacher, odd) == plan_folder(out, teacher, odd.copy())


def test_what_cannot_be_written_is_said_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "a" / "explanations.parquet").mkdir(parents=True)
    (tmp_path / "b" / "shard-00002.parquet").mkdir(parents=True)
    teacher = Counting(ITEMS)
    for name, words in {
        "file": "file: it is there already",
        "file/below": "file/below: a part of this path is a file",
        "a": "explanations.parquet: it is a folder",
        "b": "shard-00002.parquet: it is a folder",
    }.items():
        with pytest.raises(InputError, match=words):
            distill(teacher, SAMPLES, tmp_path / name, shard_size=20, progress=False)
    assert teacher.asked == []


def test_a_disk_that_was_full_is_no_loss(tmp_path, whole, monkeypatch):
    written, really = [], pq.write_table

    def write(table, path):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(table, written.append(path) or path)

    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", write)
        with pytest.raises(InputError, match="shard-00002.parquet: the disk is full: make room"):
            distill(GrammarTeacher(ITEMS), SAMPLES, tmp_path, shard_size=20, progress=False)
    teacher = Counting(ITEMS)
    told = distill(teacher, SAMPLES, tmp_path, shard_size=20, progress=False)
    pd.testing.assert_frame_equal(told, whole)
    assert teacher.asked == SAMPLES["sample_id"].tolist()[40:]


def test_the_same_started_twice_at_once_is_shared(tmp_path, whole):
    """Both give the whole; no shard is done twice, and each does some."""
    code = SLOW.replace("time.sleep(0.1)", "time.sleep(0.1); print(samples['sample_id'].iloc[0])")
    words = [command(code, tmp_path / "run", Path(__file__).parent, launcher=("-c",))] * 2
    processes = [subprocess.Popen(**each) for each in words]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    done = [out.split() for out, _ in said]
    assert sorted(sum(done, [])) == sorted(SAMPLES["sample_id"][::5]) and all(done)
    told = read_table(tmp_path / "run" / "explanations.parquet", "explanations")
    pd.testing.assert_frame_equal(told, whole)


@pytest.mark.parametrize(
    "left",
    [
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "elsewhere"},
        {"WORLD_SIZE": "many", "RANK": "-1"},
        {"WORLD_SIZE": "2", "RANK": "7", "MASTER_PORT": "0", "SLURM_NTASKS": "2"},
    ],
    ids=range(4),
)
def test_what_a_launcher_left_in_the_environment_does_no_harm(tmp_path, whole, monkeypatch, left):
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    distill(GrammarTeacher(ITEMS), SAMPLES, tmp_path, shard_size=20, progress=False)
    told = read_table(tmp_path / "explanations.parquet", "explanations")
    pd.testing.assert_frame_equal(told, whole)


def test_a_teacher_may_reorder_but_not_lose(tmp_path, whole):
    class Backwards(GrammarTeacher):
        def explain(self, samples):
            return super().explain(samples[::-1])

    class Losing(GrammarTeacher):
        def explain(self, samples):
            return super().explain(samples)[1:]

    told = distill(Backwards(ITEMS), SAMPLES, tmp_path / "a", shard_size=50, progress=False)
    pd.testing.assert_frame_equal(told, whole)
    with pytest.raises(ValueError, match="did not answer each sample exactly once"):
        distill(Losing(ITEMS), SAMPLES, tmp_path / "b", progress=False)


def test_progress_shows_rate_and_time_left(tmp_path, capsys):
    distill(GrammarTeacher(ITEMS), SAMPLES, tmp_path, shard_size=10)
    bar = capsys.readouterr().err
    assert "grammar: explaining: 100%" in bar and "120/120" in bar and "samples/s" in bar


@pytest.fixture
def files(tmp_path):
    write_table(SAMPLES, tmp_path / "samples.parquet", "samples")
    write_table(ITEMS, tmp_path / "items.parquet", "items")
    return tmp_path


def cli(folder, out, *more):
    tables = ["--samples", folder / "samples.parquet", "--items", folder / "items.parquet"]
    return ["prism_utils.distillation", *tables, "--teacher", "grammar", "--out", out, *more]


def test_two_processes_equal_one(files, whole):
    pytest.importorskip("accelerate")
    # `--cpu` alone would start one process (more need MPI); without a GPU this falls back to gloo.
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launcher += ["--main_process_port", "0", "-m"]
    out = files / "two"
    done = subprocess.run(**command(*cli(files, out, "--shard-size", 7), launcher=launcher))
    assert done.returncode == 0, done.stderr
    assert "1 of 2 processes" in done.stderr
    assert done.stdout.count("120 explanations in") == 1
    pd.testing.assert_frame_equal(read_table(out / "explanations.parquet", "explanations"), whole)
    assert len(finished(out)) == 18


def test_command_takes_parameters_and_prints_one_sentence_for_bad_input(files):
    main(list(map(str, cli(files, files / "out", "--set", "error_rate=0")[1:])))
    assert set(read_table(files / "out" / "explanations.parquet", "explanations")["error"]) == {""}
    plan = json.loads((files / "out" / "plan.json").read_text())
    assert plan["error_rate"] == 0 and plan["count"] == 120

    bad = subprocess.run(**command(*cli(files, files / "x", "--set", "eror_rate=0")))
    assert bad.returncode == 2
    assert bad.stderr == (
        "error: teacher 'grammar' has no parameter 'eror_rate': did you mean 'error_rate'?\n"
    )
    for more, message in [
        (["--set", "error_rate"], "must have the form key=value"),
        (["--set", "seed=1", "--set", "seed=2"], "--set seed: it is given twice"),
        (["--set", "seed=" + "(" * 999], "seed must be of type int"),
        (["--set", "seed=" + "-" * 99999 + "1"], "seed"),
        (["--set", "seed=-1"], "seed must be 0 or more, found -1"),
        (["--set", "noun=book"], "no parameter 'noun'"),
        (["--set", "error_rate=nan"], "error_rate must be of type float"),
        (["--set", "error_rate=1e999"], "error_rate must lie between 0 and 1"),
        (["--set", "error_kinds=[1]"], "error kind 1 is unknown: choose one of"),
        (["--teacher", "recorded", "--set", "path=5"], "path must be text"),
        (["--noun", " "], "noun must be a word"),
        (["--out", ""], "--out is empty"),
        (["--samples", "nowhere.parquet"], "nowhere.parquet: no such file"),
        (["--teacher", "gramar"], "did you mean 'grammar'"),
        (["--shard-size", "0"], "shard_size must be 1 or more"),
    ]:
        with pytest.raises(InputError, match=message):
            main(list(map(str, cli(files, files / "y", *more)[1:])))
    with pytest.raises(InputError, match="the table is empty"):
        distill(GrammarTeacher(ITEMS), SAMPLES[:0], files / "z", progress=False)
