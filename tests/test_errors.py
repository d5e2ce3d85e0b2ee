"""What a command shows: a sentence and a status, whatever user, machine or pipe do."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prism_utils.errors import INTERRUPTED, nearest, one_line, refusal


def command(code: str, **options) -> subprocess.CompletedProcess[str]:
    """Run a `main` with this body as a command."""
    body = "\n".join(f"    {line}" for line in code.splitlines())
    head = "from prism_utils.errors import InputError, run_cli\nimport os, resource, sys\n"
    script = f"{head}def main():\n{body}\nrun_cli(main)"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([sys.executable, "-c", script], text=True, check=False, **options)


ROOM = "the disk is full: make room and do the same again"


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("print('done')", 0, ""),
        ("return 3", 3, ""),
        ("sys.exit('stopped')", 1, "stopped\n"),
        ("raise InputError('a.csv: line 2:\\n wrong')", 2, "error: a.csv: line 2: wrong\n"),
        ("raise KeyboardInterrupt", 130, INTERRUPTED + "\n"),
        ("raise RuntimeError('Query interrupted')", 130, INTERRUPTED + "\n"),
        ("raise OSError(28, 'No space left on device', 'x')", 2, f"error: x: {ROOM}\n"),
        ("raise RuntimeError('I/O: No space left on device (os error 28)')", 2, f"error: {ROOM}\n"),
        ("open('/dev/null/x/y')", 2, "error: /dev/null/x/y: a part of this path is a file, and a "
         "folder is wanted: give another place\n"),
        ("open(os.sep)", 2, "error: /: it is a folder, and a file is wanted: remove it, or give "
         "another name\n"),
        ("open('nowhere/x.json')", 2, "error: nowhere/x.json: no such file or folder: check the "
         "path\n"),
        ("open('x' * 300, 'w')", 2, "error: " + "x" * 300 + ": the name is too long: give a "
         "shorter one\n"),
        ("raise MemoryError", 2, "error: there is not enough memory: ask for less at once (smaller "
         "batches, shorter texts)\n"),
        ("print('half an emoji: \\ud83d')", 0, ""),
    ],
    ids=range(14),
)  # fmt: skip
def test_status_and_sentence(code: str, status: int, said: str) -> None:
    done = command(code)
    assert (done.returncode, done.stderr) == (status, said)


def test_a_bug_shows_its_traceback() -> None:
    done = command("{}['key']")
    assert done.returncode == 1 and "KeyError: 'key'" in done.stderr.splitlines()[-1]


def test_a_reader_who_stops_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    for flush in ("", ", flush=True"):
        done = command(f"print('a line'{flush})", stdout=write)
        assert (done.returncode, done.stderr) == (141, "")
    os.close(write)


def test_output_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    none = "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nprint('a line')"
    with (tmp_path / "out").open("w") as out:
        done = command(none, stdout=out)
    said = "the file would be larger than is allowed here: raise the limit (ulimit -f)"
    assert (done.returncode, done.stderr) == (2, f"error: {said}\n")


def test_ctrl_c_while_libraries_load_is_one_line(tmp_path: Path) -> None:
    """A library that is loaded tells that it is, and takes long."""
    slow = "import pathlib, time\npathlib.Path('loading').touch()\ntime.sleep(60)\n"
    (tmp_path / "pandas.py").write_text(slow)
    words = [sys.executable, "-m", "prism_utils.distillation", "--help"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}
    with subprocess.Popen(
        words,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background may have handed down that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        while not (tmp_path / "loading").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(2)
        said = process.communicate(timeout=120)[1]
    assert (process.returncode, said) == (130, INTERRUPTED + "\n")


def test_a_file_on_its_way_is_named_as_what_it_is_to_be() -> None:
    full = OSError(errno.ENOSPC, "", "runs/.ab12.partial")
    assert refusal(full, "runs/run.json") == f"runs/run.json: {ROOM}"
    beside = NotADirectoryError(errno.ENOTDIR, "", "runs")
    assert str(refusal(beside, "runs/run.json")).startswith("runs: a part of this path is a file")
    assert refusal(OSError("a library's own words")) is None
    assert refusal(OSError(5555, "odd")) == "odd: see to it and try again"


def test_hints_help() -> None:
    assert nearest("tain", ["test", "train"]) == "did you mean 'train'?"
    assert nearest(1, ["a", 2]) == "choose one of: 2, a"
    assert nearest("train", ["train"]) == nearest("train", []) == "there is no other"
    assert one_line(ValueError("a\n  b")) == "a b" and one_line(KeyError()) == "KeyError"
