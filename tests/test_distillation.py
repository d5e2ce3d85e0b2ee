import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from prism_utils.distillation import distill, main
from prism_utils.errors import InputError
from prism_utils.tables import read_table, write_table
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
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InputError, match="plan.json .*it is damaged; delete it"):
        distill(GrammarTeacher(ITEMS), SAMPLES, tmp_path, progress=False)


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
        (["--samples", "nowhere.parquet"], "nowhere.parquet: no such file"),
        (["--teacher", "gramar"], "did you mean 'grammar'"),
        (["--shard-size", "0"], "shard_size must be 1 or more"),
    ]:
        with pytest.raises(InputError, match=message):
            main(list(map(str, cli(files, files / "y", *more)[1:])))
    with pytest.raises(InputError, match="the table is empty"):
        distill(GrammarTeacher(ITEMS), SAMPLES[:0], files / "z", progress=False)
