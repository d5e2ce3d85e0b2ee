"""Files that are whole or not there, sealed, claimed, and told by their content."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from prism_utils import files
from prism_utils.errors import InputError

FRAME = pd.DataFrame({"sample_id": ["a", "b"], "text": ["One.", "Two."], "n": [1.5, 2.0]})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "below" / "facts.json"
    files.write_json({"a": 1}, path)
    with pytest.raises(ZeroDivisionError), files.whole(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert json.loads(path.read_text()) == {"a": 1} and names(path.parent) == ["facts.json"]


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "the disk is full: make room"), (errno.EROFS, "read-only"),
     (errno.EDQUOT, "quota"), (errno.EIO, "cannot be read or written")],
    ids=range(4),
)  # fmt: skip
def test_what_the_machine_refuses_names_the_file_and_leaves_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    path = tmp_path / "facts.json"
    files.write_json({"a": 1}, path)

    def refuse(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(InputError, match=f"facts.json: .*{words}"):
            files.write_json({"a": 2}, path)
    assert files.read_json(path) == {"a": 1} and names(tmp_path) == ["facts.json"]
    files.write_json({"a": 2}, path)  # the same again, once there is room
    assert files.read_json(path) == {"a": 2}


def test_places_that_are_no_places(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, words in (
        (tmp_path / "file" / "x.json", "file: it is there already, and is no folder"),
        (tmp_path / "file" / "x" / "y.json", "file.*a part of this path is a file"),
        (tmp_path / "folder", "folder: it is a folder, and a file is wanted"),
    ):
        with pytest.raises(InputError, match=words):
            files.write_json({}, path)
        with pytest.raises(InputError, match=words):
            files.write_parquet(FRAME, path)
        with pytest.raises(InputError, match=words):
            files.check_writable(path)
    with pytest.raises(InputError, match="is a device, and a file is wanted"):
        files.write_json({}, os.devnull)
    files.check_writable(tmp_path / "new" / "x.json")
    assert names(tmp_path / "new") == []
    with pytest.raises(InputError, match="a folder, and a file is wanted"):
        files.read_json(tmp_path / "folder")


def test_writers_at_once_do_not_meet(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: files.write_json({"n": n}, tmp_path / "a.json"), range(64)))
    assert files.read_json(tmp_path / "a.json")["n"] in range(64) and names(tmp_path) == ["a.json"]


def test_every_bit_of_a_sealed_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "point.json"
    facts = {"rows": [{"x": 1.5, "text": "Zoë \ud83d"}], "note": "prism"}
    files.write_json(facts, path, sealed=True)
    assert files.read_json(path) == facts
    data = path.read_bytes()
    for place in range(len(data)):
        for bit in (1, 8, 64):
            flipped = bytearray(data)
            flipped[place] ^= bit
            path.write_bytes(flipped)
            try:
                assert files.read_json(path) == facts, (place, bit)
            except InputError as error:
                assert str(error).startswith(f"{path}") and str(error).endswith("delete it")


def test_every_bit_of_a_sealed_table_counts(tmp_path: Path) -> None:
    path = files.write_parquet(FRAME, tmp_path / "t.parquet", {"plan": "p"})
    pd.testing.assert_frame_equal(pd.read_parquet(path), FRAME)
    data = path.read_bytes()
    assert files.seal_fits(data) is True
    for place in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[place] ^= 4
        assert files.seal_fits(bytes(flipped)) is not True, place
    path.write_bytes(data[:-9])
    with pytest.raises(InputError, match="t.parquet was changed or damaged .*: make it anew"):
        files.check_parquet(path, "make it anew")
    FRAME.to_parquet(path)  # somebody's own table, which nobody sealed
    files.check_parquet(path, "make it anew")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not readable JSON"),
        (b"", "not readable JSON"),
        (b'{"a": "\xe9"}', "not readable JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b"[1]", "must hold a JSON object"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
    ],
    ids=range(7),
)
def test_json_that_is_none_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"a.json.*{words}"):
        files.read_json(path)


def test_half_a_character_in_a_table_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": pd.Series(["fine", "cut \ud83d"], dtype=object)})
    with pytest.raises(InputError, match="t.parquet: a text, .*half a character"):
        files.write_parquet(frame, tmp_path / "t.parquet")


def test_fingerprints_go_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BLOCK", 5)
    folder = tmp_path / "model"
    (folder / "below").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"0123456789abc")
    (folder / "below" / "b.txt").write_bytes(b"")
    first = files.fingerprint(folder)
    (folder / ".cache").write_text("hidden")
    (folder / "notes.md").write_text("ignored")
    assert files.fingerprint(folder, (".md",)) == first != files.fingerprint(folder)
    moved = (folder / "notes.md").rename(tmp_path / "notes.md")
    stat = (folder / "a.txt").stat()
    (folder / "a.txt").write_bytes(b"0123456789abd")
    os.utime(folder / "a.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    changed = files.fingerprint(folder)
    (folder / "a.txt").rename(folder / "c.txt")
    assert len({first, changed, files.fingerprint(folder), files.fingerprint(moved)}) == 4
    with pytest.raises(InputError, match="nowhere: no such file"):
        files.fingerprint(tmp_path / "nowhere")


def test_names_from_data_stay_in_their_folder() -> None:
    hard = ["../../x", "..", ".", "", "/etc/x", "a/b", "a\\b", "a\0b", "a" * 300, "Ünïcode", "~",
            "con\n", "\ud83d", "x-9cdf6a50 ", "A", "a "]  # fmt: skip
    made = [files.file_name(name) for name in hard]
    assert len(set(made)) == len(hard) == len({name.lower() for name in made})
    for name in made:
        assert Path("folder", name).parent == Path("folder") and name not in (".", "..")
        assert len(name.encode()) < 100 and name.isascii() and name.isprintable()
    plain = ["a", "prism", "flan-t5-xxl", "prism_2.0", "7"]
    assert [files.file_name(name) for name in plain] == plain


HOLDER = """
import sys, time
from prism_utils.files import claimed
with claimed(sys.argv[1]) as ours, claimed(sys.argv[1], 2):
    print(ours, flush=True)
    time.sleep(60)
"""


def test_a_claim_ends_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / ".claims"
    words = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "True\n"
        with files.claimed(path, 1) as beside, files.claimed(path, 2) as second:
            assert (beside, second) == (True, False)
        holder.kill()
    with files.claimed(path, 2, wait=True) as ours:
        assert ours
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(InputError, match="folder: it is a folder"),
        files.claimed(tmp_path / "folder"),
    ):
        pass


def test_where_no_claims_are_known_everybody_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "lockf", unknown)
    with files.claimed(tmp_path / ".claims") as ours:
        assert ours
