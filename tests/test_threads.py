"""Threads that share an explainer: every answer is the one that it gives when asked alone."""

from __future__ import annotations

import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from prism_utils.decoding import Explainer
from prism_utils.decoding.export import export
from prism_utils.runs import cores
from prism_utils.students.inputs import Reader, StudentSettings

TITLES = ["Alien", "Heat", "Jaws", "Big", "Léon", "The Sting", "Up"]
ITEMS = pd.DataFrame({"item_id": [f"f{n}" for n in range(len(TITLES))], "title": TITLES})
REQUESTS = 500  # of each thread


@pytest.fixture(scope="module")
def folder(save_student, tmp_path_factory) -> Path:
    """A student of 16 numbers a token: what is tried here is what lies around the model."""
    settings = StudentSettings("compact", max_history=6, max_input_tokens=32, max_new_tokens=3)
    path = tmp_path_factory.mktemp("student")
    return save_student(path, ITEMS, settings, whole_titles=True, d_model=16)


def calls(seed: int) -> list[list[dict]]:
    """500 requests, a few at a time or one by one: short, too long, by id and by title."""
    rng, made = random.Random(seed), []
    asked = [
        {
            "history": rng.choices([*ITEMS["item_id"], "An unknown title, and a long one"], k=k),
            "item": rng.choice([*TITLES, "f1", "No such film", "Z" * 200]),
            "user_id": rng.choice(["ann", "bob", "zoe"]),
        }
        for k in (rng.randrange(7) for _ in range(REQUESTS))
    ]
    while asked:
        size = rng.choice([1, 5, 40, 90])
        made.append(asked[:size])
        asked = asked[size:]
    return made


@pytest.mark.parametrize("backend", ["torch", "onnx", "onnx-mixed", "onnx-int8", "graph", "export"])
def test_eight_threads_are_answered_as_one(folder, tmp_path, backend):
    if backend == "export":
        explainer = Explainer.load(export(folder, tmp_path / "exported", "float32"))
    else:
        explainer = Explainer.load(folder, backend=backend, device="cpu")
    work = [calls(seed) for seed in range(2)]
    alone = [[explainer.explain(call) for call in one] for one in work]
    assert len({answer.text for call in alone[0] for answer in call}) > 3
    assert any(answer.item_cut for call in alone[0] for answer in call)

    def ask(thread: int) -> list:
        return [explainer.explain(call) for call in work[thread % 2]]

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads meet at every line
    try:
        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(ask, range(8)))
    finally:
        sys.setswitchinterval(before)
    for thread, answers in enumerate(told):
        assert answers == alone[thread % 2], f"thread {thread}"


def test_a_tokenizer_keeps_the_state_that_it_was_given(folder):
    """transformers' truncation is a state of the tokenizer: explaining neither sets nor heeds it"""
    explainer = Explainer.load(folder, backend="torch", device="cpu")
    tokenizer = explainer.tokenizer.backend_tokenizer
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=50)
    state = tokenizer.to_str()
    told = explainer.explain(history=["f1", "f2"], item="f3")
    assert tokenizer.to_str() == state
    assert told == Explainer.load(folder, backend="torch", device="cpu").explain(
        history=["f1", "f2"], item="f3"
    )
    assert Reader.of(explainer.tokenizer).lengths(["Alien " * 9]) != [2]


def test_without_what_only_linux_can_say(folder, tmp_path, monkeypatch):
    """macOS has no `os.sched_getaffinity`; a student loads there, saved or exported."""
    exported = export(folder, tmp_path / "exported", "int8")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores() == os.cpu_count()
    for path, backend in ((folder, "onnx"), (folder, "auto"), (exported, "auto")):
        assert Explainer.load(path, backend=backend, device="cpu").explain(item="f1").text
