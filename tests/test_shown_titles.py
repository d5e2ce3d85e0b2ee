"""titles="shown": no foreign title in a text, and the texts that hold none stay as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from prism_utils.decoding import Explainer
from prism_utils.decoding.__main__ import main
from prism_utils.decoding.asked import of_requests
from prism_utils.decoding.export import export, from_model
from prism_utils.decoding.price import price
from prism_utils.decoding.titles import ShownTitles
from prism_utils.decoding.torch_backend import TorchBackend
from prism_utils.errors import InputError
from prism_utils.metrics.grounding import Grounding
from prism_utils.metrics.receipts import Auditor
from prism_utils.prompts import PromptWriter
from prism_utils.students.inputs import Reader, StudentSettings, UserTable
from prism_utils.students.prism import PrismConfig, PrismForConditionalGeneration, from_scratch
from prism_utils.students.vocabulary import train_tokenizer

TITLES = ["Alien", "Aliens", "Heat", "Jaws", "Big", "Big Night", "It", "Up", "300", "The Matrix",
          "Amélie", "WALL-E", "Chaplin", "eXistenZ"]  # fmt: skip
ITEMS = pd.DataFrame(
    {
        "item_id": [f"f{n}" for n in range(len(TITLES))],
        "title": TITLES,
        "director": [["Charles Chaplin"] if n % 2 else ["Ann Lee"] for n in range(len(TITLES))],
    }
)
ID = dict(zip(TITLES, ITEMS["item_id"], strict=True))
SETTINGS = StudentSettings("compact", max_history=3, max_input_tokens=64, max_new_tokens=30)


def samples(number: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    drawn = [
        rng.permutation(ITEMS["item_id"])[: rng.integers(1, 6)].tolist() for _ in range(number)
    ]
    return pd.DataFrame(
        {
            "sample_id": [f"s{n}" for n in range(number)],
            "user_id": rng.choice(["ann", "bob", "zoe"], number),
            "history": [ids[1:] for ids in drawn],
            "item_id": [ids[0] for ids in drawn],
            "split": "test",
        }
    )


def foreign(told: pd.DataFrame, asked: pd.DataFrame) -> np.ndarray:
    scores = Grounding(ITEMS).score(told, asked)
    wanted = scores[scores["metric"] == "foreign_title"].set_index("sample_id")["value"]
    return wanted.loc[told["sample_id"]].eq(1).to_numpy()


def written(asked: pd.DataFrame, seed: int) -> list[str]:
    """A careless teacher's texts: every second title that it names is none of the sample's."""
    rng, title = np.random.default_rng(seed), dict(zip(ITEMS["item_id"], TITLES, strict=True))
    texts = []
    for history, item in zip(asked["history"], asked["item_id"], strict=True):
        first, second = (
            rng.choice(TITLES) if rng.random() < 0.5 else title[one]
            for one in (history[-1] if history else item, item)
        )
        texts.append(
            rng.choice(["You saw {}, try {}.", "It is big: after {}, {}."]).format(first, second)
        )
    return texts


@pytest.fixture(scope="module", params=[True, False], ids=["whole", "pieces"])
def folder(request, tmp_path_factory) -> Path:
    """A student of that teacher's, with titles as tokens or in pieces."""
    path = tmp_path_factory.mktemp("student")
    asked = samples(600, seed=1)
    texts = written(asked, seed=2)
    writer = PromptWriter(ITEMS, template="compact")
    prompts = writer.compose(asked["history"], asked["item_id"], max_history=3).texts
    tokenizer = train_tokenizer(
        [*prompts, *texts], vocab_size=300, whole_titles=TITLES if request.param else ()
    )
    users = UserTable(["ann", "bob"])
    model = from_scratch(tokenizer, 2, d_model=32, layers=1, heads=2, max_positions=70)
    reader = Reader.of(tokenizer)
    pad = model.config.pad_token_id
    ids, labels = (
        pad_sequence([torch.tensor(row) for row in reader(texts_)], True, pad)
        for texts_ in (prompts, texts)
    )
    rows, batches = torch.tensor(users.rows(asked["user_id"])), torch.Generator().manual_seed(0)
    adam = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(120):
        batch = torch.randint(len(ids), (32,), generator=batches)
        loss = model(
            input_ids=ids[batch],
            attention_mask=ids[batch].ne(pad).long(),
            user_ids=rows[batch],
            labels=labels[batch].where(labels[batch] != pad, -100),
        ).loss
        adam.zero_grad()
        loss.backward()
        adam.step()
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    users.save(path)
    SETTINGS.save(path)
    ITEMS.to_parquet(path / "items.parquet", index=False)
    return path


PIECES = pytest.mark.parametrize("folder", [False], indirect=True, ids=["pieces"])


def loaded(folder: Path, backend: str, tmp_path: Path) -> Explainer:
    if backend == "export":
        return Explainer.load(export(folder, tmp_path / "exported", "int8"))
    return Explainer.load(folder, backend=backend, device="cpu")


@pytest.mark.parametrize("backend", ["torch", "onnx", "onnx-mixed", "onnx-int8", "graph", "export"])
def test_no_text_names_a_foreign_title_and_clean_texts_stay(folder, backend, tmp_path):
    explainer, asked = loaded(folder, backend, tmp_path), samples(220)
    free, told = explainer.explain(asked), explainer.explain(asked, titles="shown")
    bound = foreign(free, asked)
    assert bound.sum() >= 20 and (~bound).sum() >= 100
    assert not foreign(told, asked).any()
    assert told[~bound].equals(free[~bound])
    assert not told[bound]["text"].eq(free[bound]["text"]).any()


@PIECES
def test_beams_samples_receipts_and_threads(folder):
    explainer, asked = Explainer.load(folder, device="cpu"), samples(40)
    beams = {"num_beams": 3}
    free, told = (explainer.explain(asked, titles=titles, **beams) for titles in ("any", "shown"))
    bound = foreign(free, asked)
    assert bound.any() and not foreign(told, asked).any() and told[~bound].equals(free[~bound])
    torch.manual_seed(0)
    drawn = explainer.explain(asked, titles="shown", do_sample=True, temperature=1.5)
    assert not foreign(drawn, asked).any() and drawn["text"].ne("").all()
    for unsupported in ("retry", "floor"):
        table = explainer.explain(asked, titles="shown", unsupported=unsupported)
        assert not foreign(table, asked).any()
    fresh = Explainer.load(folder, device="cpu")
    alone = explainer.explain(asked, titles="shown")
    with ThreadPoolExecutor(4) as pool:
        for one in pool.map(lambda _: fresh.explain(asked, titles="shown"), range(4)):
            assert one.equals(alone)


@PIECES
def test_requests_by_title_and_the_whole_history(folder):
    """A title that the budget pushed out of the prompt is still one of the history's."""
    explainer = Explainer.load(folder, device="cpu")
    asked = samples(80)
    for row in asked.itertuples():
        every = [one for one in ITEMS["item_id"] if one != row.item_id] + row.history
        free = explainer.explain(history=every, item=row.item_id)
        assert explainer.explain(history=every, item=row.item_id, titles="shown") == free
    title = dict(zip(ITEMS["item_id"], TITLES, strict=True))
    named = [
        {"history": [title[one] for one in row.history], "item": title[row.item_id]}
        for row in asked.itertuples()
    ]
    by_id = asked[["history"]].assign(item=asked["item_id"]).to_dict("records")
    assert [one.text for one in explainer.explain(named, titles="shown")] == [
        one.text for one in explainer.explain(by_id, titles="shown")
    ]


@PIECES
def test_a_value_that_is_unknown_is_named(folder):
    explainer = Explainer.load(folder, device="cpu")
    for wrong in ("show", None, ["shown"], True):
        with pytest.raises(InputError, match="titles .* is unknown: "):
            explainer.explain(item="f1", titles=wrong)
    with pytest.raises(InputError, match="did you mean 'shown'"):
        explainer.explain(samples(2), titles="show")


@PIECES
def test_an_exported_student_needs_no_torch_for_it(folder, tmp_path):
    out = export(folder, tmp_path / "exported", "float32")
    code = (
        "import json, sys\n"
        "from prism_utils.decoding import Explainer\n"
        f"explainer = Explainer.load({str(out)!r})\n"
        "asked = [{'item': f'f{n}', 'history': ['f3']} for n in range(9)]\n"
        "sys.modules['ahocorasick'] = None\n"
        "try:\n"
        "    explainer.explain(asked, titles='shown')\n"
        "except ValueError as error:\n"
        "    missing = str(error)\n"
        "del sys.modules['ahocorasick']\n"
        "told = [one.text for one in explainer.explain(asked, titles='shown')]\n"
        "print(json.dumps([told, missing, sorted({'torch', 'transformers'} & set(sys.modules))]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    asked = [{"item": f"f{n}", "history": ["f3"]} for n in range(9)]
    told = Explainer.load(folder, backend="torch", device="cpu").explain(asked, titles="shown")
    missing = "receipts and titles='shown' need ahocorasick: pip install pyahocorasick"
    assert json.loads(done.stdout) == [[one.text for one in told], missing, []]


@PIECES
def test_without_a_catalogue_nothing_is_foreign(folder):
    whole = Explainer.load(folder, device="cpu")
    parts = whole.backend, whole.tokenizer, whole.users, SETTINGS
    bare = Explainer(*parts, ITEMS.iloc[:0])
    assert bare.explain(item="Heat", titles="shown") == bare.explain(item="Heat")


READ = [
    ("If you liked Jaws, try Heat.", None),
    ("If you liked Alien, try Heat.", "Alien"),
    ("If you liked Aliens, try Heat.", "Aliens"),
    ("An Alienation like that of Jaws: heat, and an alien.", None),
    ("It is tense. Up to you!", None),
    ("It shares its heat with Jaws.", None),
    ("Jaws is as tense as It.", "It"),
    ("Like the Matrix, Jaws is tense.", "the Matrix"),
    ("Big Night and Jaws", "Big Night"),
    ("More than 300 people saw Jaws in 300 days.", None),
    ("Jaws and 300 are tense.", "300"),
    ("By Charles Chaplin, as Jaws is.", None),
    ("Jaws, Amélie.", "Amélie"),
    ("Jaws, Ame\u0301lie.", "Ame\u0301lie"),
    ("**Jaws** and “WALL‐E”", "WALL‐E"),
    ("Jaws is no eXistenZ.", "eXistenZ"),
    ("", None),
]


@pytest.fixture(scope="module")
def shown() -> ShownTitles:
    return ShownTitles(Auditor(ITEMS), Reader.of(train_tokenizer(TITLES, vocab_size=300)))


@pytest.mark.parametrize(("text", "title"), READ)
def test_which_title_is_foreign(shown, text, title):
    place = shown.place(text, ID["Heat"], [ID["Jaws"]])
    assert place == (None if title is None else text.index(title))


class Stubborn:
    """Writes the texts that it likes best whatever is forbidden, or heeds that only at first."""

    def __init__(self, reader: Reader, texts: list[str]) -> None:
        self.texts, self.asked = reader(texts, special=False), []

    def __call__(self, rows, forbid=None):
        def heeds(row: int, text: list[int]) -> bool:
            return all(t not in forbid(row, text[:n]) for n, t in enumerate(text))

        self.asked.append(list(rows))
        if forbid is None:
            return [self.texts[0] for _ in rows]
        return [
            next((text for text in self.texts if heeds(n, text)), self.texts[0])
            for n in range(len(rows))
        ]


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_tried_before_a_text_is_cut(whole):
    """The best text that names no foreign title; if there is none, what stands before the title."""
    reader = Reader.of(
        train_tokenizer(TITLES * 9, vocab_size=300, whole_titles=TITLES if whole else ())
    )
    shown = ShownTitles(Auditor(ITEMS), reader)
    requests = [{"item": "f2", "history": ["f3"]}, {"item": "f0"}, {"item": "Aliens"}]
    asked = of_requests(requests)

    def told(*texts: str) -> tuple[list[str], list[list[int]]]:
        write = Stubborn(reader, list(texts))
        tokens, found = shown.write(write, reader.batch_decode, [2, 0, 1], asked)
        assert found == reader.batch_decode(tokens)
        return [text.strip() for text in found], write.asked

    best = "Jaws, as Alien, is big.", "Jaws, as Aliens, is big.", "Well, as Big Night is."
    found, times = told(*best, "Well, as well.")
    assert found == ["Well, as well."] * 3 and times[0] == [2, 0, 1] and times[1] == [2, 0, 1]
    assert told("Heat, as Alien is.", "Like Jaws, it is tense.")[0][1] == "Like Jaws, it is tense."
    found, times = told("So tense as Big is. Like Up.")  # whatever is forbidden
    assert found == ["So tense as"] * 3 and len(times) == 17
    assert told(" Chaplin", "Chaplin")[0] == [""] * 3
    found, times = told("Alien is big.")
    assert found[2] == "Alien is big." and times[1:] == [[2, 0]] * 16


def student(words: int, seed: int = 3) -> PrismForConditionalGeneration:
    torch.manual_seed(seed)
    config = PrismConfig(
        vocab_size=words, d_model=32, encoder_layers=1, decoder_layers=2, num_users=3,
        encoder_attention_heads=2, decoder_attention_heads=4, encoder_ffn_dim=32,
        decoder_ffn_dim=32, max_position_embeddings=40, init_std=0.5,
    )  # fmt: skip
    return PrismForConditionalGeneration(config).eval()


@pytest.mark.parametrize("precision", ["float32", "mixed"])
@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.9, 1])
def test_forbidden_tokens_are_those_of_generate(precision, draft, share):
    """Also where none of the candidates that a step returns is left."""
    model, rng = student(words=80), np.random.default_rng(4)
    rows = [[0, *rng.integers(4, 80, 6).tolist(), 2] for _ in range(5)]
    allowed = rng.random((7, 80)) >= share
    allowed[:3, 20:23] = allowed[3:6, 30:33] = True  # after a seventh of texts perhaps nothing
    tokens = [np.flatnonzero(~one) for one in allowed]
    reference, fast = TorchBackend(model), from_model(model, precision, draft=draft, threads=1)
    if precision == "mixed":  # its encoder rounds; with an input of one token nothing else differs
        rows = [row[:1] for row in rows]

    def forbid(row: int, written: list[int]) -> np.ndarray:
        return tokens[(row + sum(written)) % 7]

    for batch in (rows, rows[:1]):
        asked = batch, np.zeros(len(batch), int)
        wanted = reference.generate(*asked, max_new_tokens=12, forbid=forbid)
        assert fast.generate(*asked, max_new_tokens=12, forbid=forbid) == wanted
        for n, text in enumerate(wanted):
            for k, token in enumerate(text[:11]):  # a twelfth is the end, which is forced
                ids = forbid(n, text[:k])
                assert token not in ids or len(ids) == 80
    assert reference.generate(rows, np.zeros(5, int), max_new_tokens=12) != fast.generate(
        rows, np.zeros(5, int), max_new_tokens=12, forbid=forbid
    )


def test_fifty_thousand_titles():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdeilmnorstu"), 6)).title() for _ in range(20_000)]
    drawn = [rng.integers(0, len(words), rng.integers(1, 4)) for _ in range(60_000)]
    titles = list({" ".join(words[n] for n in ids) for ids in drawn})[:50_000]
    items = pd.DataFrame({"item_id": [f"f{n}" for n in range(len(titles))], "title": titles})
    began = process_time()
    shown = ShownTitles(Auditor(items), Reader.of(train_tokenizer(titles[:500], vocab_size=300)))
    assert process_time() - began < 6  # a second, on a machine with nothing else to do
    text, began = f"If you liked {titles[0]}, try {titles[1]}, not {titles[2]}.", process_time()
    for _ in range(100):
        assert shown.place(text, "f1", ["f0"]) == text.index(f"not {titles[2]}") + 4
        shown.rules({"f1", "f0"})
    assert (process_time() - began) / 100 < 0.005


@PIECES
def test_its_price(folder, tmp_path, capsys):
    explainer = Explainer.load(folder, device="cpu")
    told = price(explainer, batch_size=4, seconds=0.1)
    assert told["rounds"] >= 3 and 0 <= told["bound"] < 1 and told["any_s"] > 0
    assert told["price_low"] <= told["price"] <= told["price_high"]
    samples(9).to_parquet(tmp_path / "samples.parquet")
    asked = ["--samples", str(tmp_path / "samples.parquet"), "--seconds", "0.1"]
    main(["titles", str(folder), *asked, "--batches", "1", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["onnx, batch 1", "onnx, batch 2"]
    few = Explainer(explainer.backend, explainer.tokenizer, explainer.users, SETTINGS, ITEMS[:2])
    with pytest.raises(InputError, match="items: 2 are too few to draw a history of 3"):
        price(few, seconds=0.1)
    with pytest.raises(InputError, match="samples: there are none"):
        price(explainer, samples(9).head(0))
