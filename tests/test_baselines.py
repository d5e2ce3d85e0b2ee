"""Every system is fitted, saved, loaded and asked through one door; floors say what they should."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    TrainerCallback,
)

from prism_utils import students
from prism_utils.errors import InputError
from prism_utils.experiments import baselines
from prism_utils.files import read_json, write_json
from prism_utils.metrics.grounding import Grounding
from prism_utils.prompts import render_prompts
from prism_utils.students import training
from prism_utils.students.att2seq import Att2Seq, Att2SeqConfig
from prism_utils.students.floors import NearestFloor, find_frames
from prism_utils.students.ids import IGNORED, collate
from prism_utils.students.inputs import StudentSettings, UserTable, token_counter
from prism_utils.students.pepler import Pepler, PeplerConfig
from prism_utils.students.prism import from_scratch
from prism_utils.students.training import Recipe, finetune
from prism_utils.students.vocabulary import train_tokenizer
from prism_utils.teachers.huggingface import HuggingFaceTeacher

ITEMS = pd.DataFrame(
    {
        "item_id": ["f1", "f2", "f3", "f4", "f5"],
        "title": ["Alien", "Heat", "Jaws", "The Fly", "Taxi Driver"],
        "genre": [["Horror", "Sci-Fi"], ["Crime"], ["Horror"], ["Horror", "Sci-Fi"], ["Crime"]],
        "director": [["Ridley Scott"], ["Michael Mann"], ["Steven Spielberg"], [], []],
    }
)
TITLES = dict(zip(ITEMS["item_id"], ITEMS["title"], strict=True))
SETTINGS = StudentSettings(
    template="compact", max_history=3, max_input_tokens=40, max_new_tokens=24
)
BRIEF = Recipe(steps=4, batch_size=4, eval_every=2, patience=0)


def make_samples(split="train"):
    """Each user asks about each film; the text names film and rating, by user in two voices."""
    rows = []
    for number, user in enumerate(["ann", "bob", "cyd"]):
        for place, item in enumerate(ITEMS["item_id"]):
            past = [other for other in ITEMS["item_id"] if other != item]
            history = past[place % 3 : place % 3 + 2]
            voice = "Watch" if number % 2 else "You may like"
            text = f"{voice} {TITLES[item]} after {TITLES[history[-1]]}."
            rows.append((f"{user}:{item}", user, history, item, split, text, 1.0 + place % 2 * 4))
    columns = ["sample_id", "user_id", "history", "item_id", "split", "text", "rating"]
    return pd.DataFrame(rows, columns=columns)


TRAIN = make_samples()
ASKED = TRAIN.drop(columns=["text", "rating"])


def fit(kind, out_dir, recipe=BRIEF, train=TRAIN, **options):
    name = options.pop("name", None)
    return students.fit(
        kind,
        train,
        TRAIN.head(5),
        out_dir,
        items=ITEMS,
        settings=SETTINGS,
        recipe=recipe,
        name=name,
        **options,
    )


SMALL = {"vocab_size": 300, "d_model": 32, "layers": 1}
SYSTEMS = {
    "prism": ("prism", {**SMALL, "heads": 2}),
    "prism-no-user": ("prism", {**SMALL, "heads": 2, "placement": "none"}),
    "att2seq": ("att2seq", SMALL),
    "pepler": ("pepler", {**SMALL, "heads": 2}),
    "pepler-mf": ("pepler", {**SMALL, "heads": 2, "head": "mf"}),
    "pepler-mlp": ("pepler", {**SMALL, "heads": 2, "head": "mlp", "frozen_share": 0.5}),
    "nearest": ("nearest", {}),
    "frame": ("frame", {}),
    "facts-template": ("facts-template", {}),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_fitted_saved_loaded_and_not_fitted_twice(tmp_path, name, monkeypatch):
    kind, options = SYSTEMS[name]
    system = fit(kind, tmp_path, **options)
    told = system.explain(ASKED)
    assert system.name == name and set(told["system"]) == {name}
    assert told["sample_id"].tolist() == ASKED["sample_id"].tolist()
    again = students.load(tmp_path)
    assert again.name == name
    pd.testing.assert_frame_equal(again.explain(ASKED), told)
    trained = kind not in students.FLOORS
    assert (system.curve is not None) == (again.curve is not None) == trained
    if trained:
        assert system.curve["step"].tolist() == [2, 4]
        pd.testing.assert_frame_equal(again.curve, system.curve)

    if trained:  # finished work is given back, under another name if asked; other work is done
        monkeypatch.setattr(training, "_Trainer", None)
    seed1 = fit(kind, tmp_path, **options, name=f"{name}@1")
    assert seed1.name == f"{name}@1"
    assert seed1.explain(ASKED)["text"].tolist() == told["text"].tolist()
    if trained:
        with pytest.raises(TypeError):
            fit(kind, tmp_path, Recipe(steps=5, eval_every=2, seed=1), **options)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_prism_trained_with_a_sparse_table_is_loaded_as_any(tmp_path, rank):
    options = {"user_table": "sparse", "user_rank": rank, "user_init": "zero"}
    system = fit("prism", tmp_path, **SMALL, heads=2, **options)
    again = students.load(tmp_path)
    pd.testing.assert_frame_equal(again.explain(ASKED), system.explain(ASKED))
    assert again.explain(ASKED)["user_known"].all()
    vectors = again.model.user_vectors()
    assert torch.equal(vectors, system.model.user_vectors()) and vectors.shape == (4, 32)
    assert vectors[1:].abs().min(dim=1).values.min() > 0  # all three were seen, and have learnt
    assert again.model.model.encoder.user_embeddings.weight.shape == (4, rank or 32)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("att2seq", {"cell": "gru"}), ("att2seq", {"cell": "lstm"}), ("pepler", {"heads": 2})],
)
def test_texts_are_learnt_by_heart_and_batches_do_not_matter(tmp_path, kind, options):
    """Fifteen pairs of user and film: a working decoder repeats each exactly."""
    recipe = Recipe(steps=300, batch_size=15, eval_every=150, patience=0, learning_rate=1e-2)
    train = TRAIN.drop(columns="rating")
    system = fit(kind, tmp_path, recipe, train, **SMALL, **options)
    told = system.explain(ASKED)
    assert told["text"].tolist() == TRAIN["text"].tolist()
    assert told["user_known"].all() and told["item_known"].all()
    counted = [
        len(ids)
        for ids in system.tokenizer(told["text"].tolist(), add_special_tokens=False).input_ids
    ]
    assert told["tokens"].tolist() == counted
    system.batch_size = 2
    backwards = system.explain(ASKED[::-1])
    assert backwards["text"].tolist() == told["text"].tolist()[::-1]
    strange = ASKED.head(2).assign(user_id="zoe", item_id=["f1", "f99"])
    answer = system.explain(strange)
    assert not answer["user_known"].any() and answer["item_known"].tolist() == [True, False]
    assert answer["text"].ne("").all()


class Interrupt(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 15:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["att2seq", "pepler"])
def test_an_interrupted_fit_goes_on_to_the_same_weights(tmp_path, kind, monkeypatch):
    """PEPLER is cut in its first stage, so the second must begin where it would have."""
    recipe = Recipe(steps=40, batch_size=4, eval_every=10, patience=0)
    options = {**SMALL, "frozen_share": 0.6} if kind == "pepler" else SMALL
    whole = fit(kind, tmp_path / "whole", recipe, **options)
    train = training.train

    def cut(*args, callbacks, **kwargs):
        return train(*args, callbacks=[*callbacks, Interrupt()], **kwargs)

    monkeypatch.setattr(training, "train", cut)
    with pytest.raises(KeyboardInterrupt):
        fit(kind, tmp_path / "cut", recipe, **options)
    with pytest.raises(InputError, match="no system is saved here"):
        students.load(tmp_path / "cut")
    monkeypatch.undo()
    steps = []

    class Count(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            steps.append(state.global_step)

    monkeypatch.setattr(
        training,
        "train",
        lambda *args, callbacks, **kwargs: train(*args, callbacks=[*callbacks, Count()], **kwargs),
    )
    resumed = fit(kind, tmp_path / "cut", recipe, **options)
    assert steps[0] == 11
    pd.testing.assert_frame_equal(resumed.curve, whole.curve)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(weight, resumed.model.state_dict()[name], msg=name)


def test_prism_is_the_one_of_chapter_three(tmp_path):
    """The same tokenizer, first weights and recipe as the notebook's own steps: equal weights."""
    train, valid = TRAIN, TRAIN.head(5)
    recipe = Recipe(steps=6, batch_size=4, eval_every=3, patience=0, seed=2)
    system = fit("prism", tmp_path / "fit", recipe, **SMALL, heads=2)

    def prompted(frame, **budget):
        prompts = render_prompts(
            frame, ITEMS, template="compact", noun="film", max_history=3, **budget
        )
        return frame.assign(prompt=prompts["prompt"])

    texts = [*prompted(train)["prompt"], *train["text"]]
    tokenizer = train_tokenizer(
        texts, vocab_size=300, whole_titles=ITEMS["title"], model_max_length=40
    )
    users = UserTable(sorted(train["user_id"].unique()))
    model = from_scratch(
        tokenizer, len(users), d_model=32, layers=1, heads=2, max_positions=42, seed=2
    )
    budget = {"count_tokens": token_counter(tokenizer), "max_tokens": 40}
    finetune(
        model,
        tokenizer,
        prompted(train, **budget),
        prompted(valid, **budget),
        users,
        tmp_path / "own",
        settings=SETTINGS,
        recipe=recipe,
        items=ITEMS,
        progress=False,
    )
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, system.model.state_dict()[name]), name
    from_finetune = students.load(tmp_path / "own")
    assert from_finetune.name == "prism" and len(from_finetune.curve) == 2
    pd.testing.assert_frame_equal(from_finetune.explain(ASKED), system.explain(ASKED))


# -- Att2Seq ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_att2seq_attends_as_the_paper_says(cell):
    """The fast form of the attention against the paper's equations, one step after another."""
    torch.manual_seed(0)
    model = Att2Seq(
        Att2SeqConfig(
            vocab_size=11, num_users=3, num_items=4, ratings=[1.0, 5.0], mean_rating=3.0,
            cell=cell, d_attribute=5, d_model=6, layers=2, bos_token_id=0, eos_token_id=2,
        )
    ).eval()  # fmt: skip
    users, items = torch.tensor([1, 3]), torch.tensor([4, 2])
    ratings = torch.tensor([5.0, 1.4])
    labels = torch.tensor([[5, 6, 2], [7, 2, IGNORED]])
    loss = model(users, items, labels, ratings).loss

    vectors = [model.user_embeddings(users), model.item_embeddings(items)]
    vectors.append(model.rating_embeddings(torch.tensor([1, 0])))
    start = torch.tanh(model.encoder(torch.cat(vectors, dim=1))).view(2, -1, 6)
    state = start.transpose(0, 1).contiguous()
    if cell == "lstm":
        state = (state[:2].contiguous(), state[2:].contiguous())
    word, losses = torch.tensor([0, 0]), []
    for place in range(3):
        hidden, state = model.decoder(model.word_embeddings(word).unsqueeze(1), state)
        hidden = hidden.squeeze(1)
        scores = [torch.tanh(model.score(torch.cat([hidden, v], dim=1))) for v in vectors]
        weights = torch.softmax(torch.cat(scores, dim=1), dim=1)
        context = sum(weights[:, n : n + 1] * v for n, v in enumerate(vectors))
        logits = model.output(torch.tanh(model.mix(torch.cat([hidden, context], dim=1))))
        for row in range(2):
            if labels[row, place] != IGNORED:
                losses.append(-torch.log_softmax(logits[row], dim=0)[labels[row, place]])
        word = labels[:, place].clamp(min=0)
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    assert weights.std() > 0


def test_a_rating_is_read_and_a_missing_one_is_the_mean(tmp_path):
    """Texts that only the rating explains."""
    said = np.where(TRAIN["rating"] > 3, "You will love it.", "Not for you.")
    recipe = Recipe(steps=60, batch_size=15, eval_every=30, patience=0, learning_rate=1e-2)
    train = TRAIN.assign(text=said, user_id="ann", item_id="f1")
    system = fit("att2seq", tmp_path, recipe, train, **SMALL)
    asked = ASKED.assign(user_id="ann", item_id="f1")
    assert system.explain(asked.assign(rating=TRAIN["rating"]))["text"].tolist() == said.tolist()
    unrated = system.explain(asked)["text"]
    assert unrated.equals(system.explain(asked.assign(rating=float("nan")))["text"])
    mean = TRAIN["rating"].mean()
    assert unrated.equals(system.explain(asked.assign(rating=mean))["text"])
    plain = fit("att2seq", tmp_path / "plain", train=TRAIN.drop(columns="rating"), **SMALL)
    assert plain.model.config.ratings == [] and plain.model.config.mean_rating is None


def test_att2seq_starts_from_its_own_checkpoint(tmp_path):
    first = fit("att2seq", tmp_path / "first", **SMALL)
    fewer = TRAIN[TRAIN["user_id"] != "ann"]
    recipe = Recipe(steps=1, batch_size=4, eval_every=1, patience=0, learning_rate=1e-20)
    second = fit("att2seq", tmp_path / "second", recipe, fewer, init_from=str(tmp_path / "first"))
    old, new = first.model.state_dict(), second.model.state_dict()
    assert len(new["user_embeddings.weight"]) == 3  # nobody, bob, cyd
    assert torch.equal(new["user_embeddings.weight"][1:], old["user_embeddings.weight"][2:])
    assert not new["user_embeddings.weight"][0].any()
    for name in set(old) - {"user_embeddings.weight"}:
        assert torch.equal(old[name], new[name]), name
    with pytest.raises(InputError, match="init_from: .*config.json is missing"):
        fit("att2seq", tmp_path / "third", init_from=str(tmp_path))


# -- PEPLER ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A tiny GPT-2 with a tokenizer like GPT-2's: one special token, none added to a text."""
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = train_tokenizer(TRAIN["text"], vocab_size=300)
    end = tokenizer.convert_tokens_to_ids("</s>")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64,
        bos_token_id=end, eos_token_id=end,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_stage_one_leaves_all_of_gpt2_alone_and_stage_two_does_not(tmp_path, gpt2):
    before = GPT2LMHeadModel.from_pretrained(gpt2).state_dict()
    recipe = Recipe(steps=10, batch_size=4, eval_every=5, patience=0, learning_rate=1e-2)
    one = fit("pepler", tmp_path / "1", recipe, init_from=str(gpt2), frozen_share=1.0)
    after = one.model.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    drawn = after["user_embeddings.weight"]
    assert drawn.abs().max() > 0.1 and not drawn[0].any()  # trained beyond U(-0.1, 0.1)
    two = fit("pepler", tmp_path / "2", recipe, init_from=str(gpt2), frozen_share=0.5)
    moved = two.model.state_dict()
    assert all(not torch.equal(w, moved[n]) for n, w in before.items() if not n.endswith("k.bias"))
    more = fit("pepler", tmp_path / "3", recipe, init_from=str(tmp_path / "2"))
    assert more.explain(ASKED)["text"].notna().all()


def test_a_plateau_of_stage_one_does_not_end_the_training(tmp_path, gpt2):
    recipe = Recipe(steps=8, batch_size=4, eval_every=1, patience=1, learning_rate=1e-20)
    system = fit("pepler", tmp_path, recipe, init_from=str(gpt2), frozen_share=0.5)
    assert system.curve["step"].max() >= 4
    stopped = fit("pepler", tmp_path, recipe, init_from=str(gpt2), frozen_share=0.0)
    assert stopped.curve["step"].max() == 2


def test_pepler_reads_two_vectors_then_words():
    """Its loss is GPT-2's own on [user; item; <bos>; words] with the prompt's labels ignored."""
    torch.manual_seed(0)
    config = PeplerConfig(
        vocab_size=12, n_embd=8, n_layer=1, n_head=2, n_positions=12, num_users=2, num_items=3,
        bos_token_id=0, eos_token_id=2, pad_token_id=1,
    )  # fmt: skip
    model = Pepler(config).eval()
    rows = [
        {"user_ids": 1, "item_ids": 3, "labels": [5, 6, 7, 2]},
        {"user_ids": 2, "item_ids": 0, "labels": [8, 2]},
    ]
    batch = collate(rows)
    total = torch.tensor(0.0)
    for row in rows:  # one at a time: padding must not matter
        words = model.transformer.wte(torch.tensor([[0, *row["labels"]]]))
        prompt = model.prompts(torch.tensor([row["user_ids"]]), torch.tensor([row["item_ids"]]))
        labels = torch.tensor([[IGNORED, IGNORED, IGNORED, *row["labels"]]])
        plain = GPT2LMHeadModel.forward(
            model, inputs_embeds=torch.cat([prompt, words], dim=1), labels=labels
        )
        total += plain.loss * len(row["labels"])
    torch.testing.assert_close(model(**batch).loss, total / 6)


@pytest.mark.parametrize("head", ["mf", "mlp"])
def test_the_rating_head_learns_ratings(tmp_path, head):
    recipe = Recipe(steps=200, batch_size=15, eval_every=200, patience=0, learning_rate=1e-2)
    system = fit("pepler", tmp_path, recipe, **SMALL, head=head, rating_weight=1.0)
    rows = {name: torch.tensor(ids) for name, ids in system.known.rows(ASKED).items()}
    with torch.no_grad():
        rated = system.model.rate(system.model.prompts(**rows)).numpy()
    assert np.abs(rated - TRAIN["rating"]).mean() < 0.5 * TRAIN["rating"].std()


def test_pepler_names_bad_input(tmp_path, gpt2):
    with pytest.raises(InputError, match="head 'mf' predicts ratings: train needs a column"):
        fit("pepler", tmp_path, train=TRAIN.drop(columns="rating"), head="mf")
    with pytest.raises(InputError, match="head: 'mlb' is unknown; did you mean 'mlp'"):
        fit("pepler", tmp_path, head="mlb")
    with pytest.raises(InputError, match="frozen_share: 1.5 is not in"):
        fit("pepler", tmp_path, frozen_share=1.5)
    with pytest.raises(InputError, match="nothing: no such folder"):
        fit("pepler", tmp_path, init_from=str(tmp_path / "nothing"))
    BartConfig().save_pretrained(tmp_path / "bart")
    train_tokenizer(TRAIN["text"]).save_pretrained(tmp_path / "bart")
    with pytest.raises(InputError, match="is a bart model; PEPLER needs a GPT-2 checkpoint"):
        fit("pepler", tmp_path, init_from=str(tmp_path / "bart"))
    long = StudentSettings("compact", "film", 3, 40, 62)
    with pytest.raises(InputError, match="max_new_tokens=62 is too many"):
        students.fit(
            "pepler", TRAIN, TRAIN, tmp_path,
            items=ITEMS, settings=long, recipe=BRIEF, init_from=str(gpt2),
        )  # fmt: skip


# -- Floors ----------------------------------------------------------------------------------------


def test_nearest_prefers_the_item_then_the_history_as_brute_force_does():
    rng = np.random.default_rng(0)
    ids = [f"f{n}" for n in range(12)]

    def draw(count, items):
        rows = [
            (f"s{n}", "u", list(rng.choice(ids, rng.integers(0, 5), False)), rng.choice(items))
            for n in range(count)
        ]
        frame = pd.DataFrame(rows, columns=["sample_id", "user_id", "history", "item_id"])
        return frame.assign(split="train", text=[f"text {n}" for n in range(count)])

    train, asked = draw(80, ids[:8]), draw(60, ids)
    told = NearestFloor(train, max_history=3, name="nearest").explain(asked)

    def likeness(one, other):
        a, b = set(one.history[-3:]), set(other.history[-3:])
        shared = len(a & b) / (len(a) * len(b)) ** 0.5 if a and b else 0.0
        return round(shared + (one.item_id == other.item_id), 9)

    for one, answer in zip(asked.itertuples(), told.itertuples(), strict=True):
        likes = [likeness(one, other) for other in train.itertuples()]
        same = [o.item_id == one.item_id for o in train.itertuples()]
        best = max(range(80), key=lambda n: (same[n], likes[n], -n))
        assert (answer.nearest_id, answer.text) == (f"s{best}", f"text {best}")
        assert answer.similarity == pytest.approx(likes[best])


def test_ties_of_nearest_are_broken_by_the_seed(tmp_path):
    same = pd.concat([TRAIN.head(1).assign(sample_id=f"s{n}", text=f"t{n}") for n in range(20)])
    told = [
        fit("nearest", tmp_path / str(n), Recipe(seed=seed), same).explain(ASKED.head(3))
        for n, seed in enumerate((0, 0, 1))
    ]
    assert told[0].equals(told[1]) and not told[0]["text"].equals(told[2]["text"])
    assert told[0]["text"].nunique() == 1


def frames_of(*texts):
    """Explanations of Alien (f1) to somebody who watched Heat (f2), then The Fly (f4)."""
    count = len(texts)
    train = pd.DataFrame(
        {
            "sample_id": [f"s{n}" for n in range(count)],
            "user_id": "u",
            "history": [["f2", "f4"]] * count,
            "item_id": "f1",
            "split": "train",
            "text": texts,
        }
    )
    return train, find_frames(train, ITEMS, noun="film", max_history=3)


def test_a_frame_is_filled_with_what_is_true(tmp_path):
    often = "Since you saw The Fly, a horror film, try Alien: an award winner."
    train, frames = frames_of(often, "Try Alien by Ridley Scott.", often)
    assert [frame.uses for frame in frames] == [2, 1]
    assert frames[0].needs == {("genre", 0): frozenset({0, "item"})}
    with_errors = frames_of(*[often] * 3, often.replace("horror", "crime"))[1]
    assert [(frame.uses, frame.needs) for frame in with_errors] == [(4, frames[0].needs)]
    floor = fit("frame", tmp_path, train=train)
    asked = pd.DataFrame(
        {
            "sample_id": ["a", "b", "c", "d"],
            "user_id": "u",
            "history": [["f4", "f2"], ["f1", "f3"], [], []],
            "item_id": ["f5", "f4", "f3", "f5"],
            "split": "test",
        }
    )
    told = floor.explain(asked)
    assert told["text"].tolist() == [
        "Since you saw Heat, a crime film, try Taxi Driver: an award winner.",
        "Since you saw Jaws, a horror film, try The Fly: an award winner.",
        "Try Jaws by Steven Spielberg.",  # no history: the next frame
        "Taxi Driver",  # no director either
    ]
    assert told["frame"].tolist() == [0, 0, 1, -1]
    scores = Grounding(ITEMS).score(told, asked)
    wide = scores.pivot(index="sample_id", columns="metric", values="value")
    assert wide["names_item"].eq(1).all() and not wide["foreign_title"].any()
    assert not wide["wrong_attribute"].any()


def test_frames_keep_articles_capitals_and_forms_and_drop_what_is_untrue(tmp_path):
    train, frames = frames_of("A horror film, and an Alien at that.")
    told = fit("frame", tmp_path, train=train).explain(
        ASKED[ASKED["item_id"] == "f2"].head(1).assign(history=[["f5"]])
    )
    assert told["text"].tolist() == ["A crime film, and an Heat at that."]
    assert not frames_of("Like Jaws, Alien scares.")[1]  # never watched
    assert not frames_of("Alien is by Steven Spielberg.")[1]  # nobody's there


# -- BART that was never trained to explain --------------------------------------------------------


def test_a_bart_checkpoint_answers_zero_shot(tmp_path):
    """As its generation settings on the hub are (beams, forced tokens); the answer is its own."""
    tokenizer = train_tokenizer(TRAIN["text"])
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, init_std=0.5,
    )  # fmt: skip
    model = BartForConditionalGeneration(config)
    model.generation_config.update(
        num_beams=4, early_stopping=True, no_repeat_ngram_size=3, forced_bos_token_id=0
    )
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    told = [
        HuggingFaceTeacher(
            str(tmp_path), items=ITEMS, dtype="float32", batch_size=size, max_new_tokens=8
        ).explain(ASKED.head(5))
        for size in (1, 3)
    ]
    assert told[0]["text"].tolist() == told[1]["text"].tolist()
    assert told[0]["text"].nunique() > 1 and told[0]["tokens"].between(1, 8).all()
    prompts = render_prompts(ASKED.head(5), ITEMS)["prompt"]
    for prompt, text in zip(prompts, told[0]["text"], strict=True):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        own = model.eval().generate(ids, max_new_tokens=8, num_beams=1, do_sample=False)[0]
        assert tokenizer.decode(own, skip_special_tokens=True).strip() == text


# -- What is asked wrongly -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("pepper", {}, "student 'pepper' is unknown: did you mean 'pepler'"),
        ("pepler", {"layer": 1}, "student 'pepler' has no option 'layer': did you mean 'layers'"),
        ("nearest", {"layers": 1}, "student 'nearest' has no option 'layers': it has none"),
        ("att2seq", {"layers": "2"}, "layers must be of type int, found '2'"),
        ("att2seq", {"cell": "gur"}, "cell: 'gur' is unknown; did you mean 'gru'"),
        ("att2seq", {"vocabulary": "byte"}, "vocabulary: 'byte' is unknown; did you mean 'bytes'"),
        ("prism", {"placement": "token"}, "placement: 'token' is unknown"),
    ],
)
def test_unknown_kinds_and_options_are_named(tmp_path, kind, options, says):
    with pytest.raises(InputError, match=says):
        fit(kind, tmp_path, **options)


def test_frames_that_cannot_be_fitted_are_named(tmp_path):
    with pytest.raises(InputError, match="train: column 'text' is missing"):
        fit("att2seq", tmp_path, train=ASKED)
    with pytest.raises(InputError, match="train: row 2: 'user_id' must be text, found 7"):
        users = TRAIN["user_id"].astype(object)
        users[1] = 7
        fit("att2seq", tmp_path, train=TRAIN.assign(user_id=users))
    for kind in ("att2seq", "nearest"):
        with pytest.raises(InputError, match="samples"):
            fit(kind, tmp_path, train=TRAIN[:0])
    with pytest.raises(InputError, match="label_smoothing: 'pepler' has none"):
        fit("pepler", tmp_path, Recipe(steps=2, label_smoothing=0.1))
    with pytest.raises(InputError, match="no system is saved here"):
        students.load(tmp_path)


def test_a_folder_of_two_trainings_is_named(tmp_path):
    fit("att2seq", tmp_path, **SMALL)
    UserTable(["ann"]).save(tmp_path)
    with pytest.raises(InputError, match="users.parquet: changed or damaged since"):
        students.load(tmp_path)
    unsealed = read_json(tmp_path / "system.json") | {"files": {}}
    write_json(unsealed, tmp_path / "system.json", sealed=True)
    with pytest.raises(InputError, match="tables of 1 users and 5 items, but the weights have 3"):
        students.load(tmp_path)


def test_a_student_that_is_told_facts_reads_them_when_it_is_loaded(tmp_path):
    """From the catalogue that it was saved with, by id or title; the reference is the prompt."""
    settings = dataclasses.replace(SETTINGS, facts="all", max_input_tokens=120)
    given = {"items": ITEMS, "settings": settings, "recipe": BRIEF, **SMALL}
    made = students.fit("prism", TRAIN, TRAIN.head(5), tmp_path, **given)
    seen = []

    class Spy:
        def __getattr__(self, name):
            return getattr(made.backend, name)

        def generate(self, inputs, users, **options):
            seen.extend(made.tokenizer.batch_decode(inputs, skip_special_tokens=True))
            return made.backend.generate(inputs, users, **options)

    loaded = students.load(tmp_path)
    assert loaded.settings == settings
    loaded.backend = Spy()
    by_id = loaded.explain(history=["f1", "f3"], item="f4")
    by_title = loaded.explain(history=["Alien", "Jaws"], item="The Fly")
    assert by_id == by_title and not by_id.facts_dropped
    assert seen == 2 * [
        "history: Alien (genre horror, science fiction) | Jaws (genre horror) ; "
        "explain: The Fly (genre horror, science fiction)"
    ]


def test_a_system_of_a_table_has_settings_of_its_own(tmp_path):
    told = {"kind": "prism", "settings": {"facts": "item", "max_input_tokens": 99}}
    baselines.fit_all(
        {"prism-facts": told}, TRAIN, TRAIN.head(5), ASKED.head(3), tmp_path, seeds=[0],
        items=ITEMS, settings=SETTINGS, recipe=dataclasses.asdict(BRIEF), ratings=False,
        student_options=SMALL, student=tmp_path / "student",
    )  # fmt: skip
    settings = students.load(tmp_path / "prism-facts").settings
    assert settings == dataclasses.replace(SETTINGS, facts="item", max_input_tokens=99)
    told["settings"] = {"fact": "item"}
    with pytest.raises(InputError, match="prism-facts: setting 'fact' is unknown: did you mean 'f"):
        baselines.fit_all(
            {"prism-facts": told}, TRAIN, TRAIN.head(5), ASKED.head(3), tmp_path, seeds=[0],
            items=ITEMS, settings=SETTINGS, recipe=dataclasses.asdict(BRIEF), ratings=False,
            student_options=SMALL, student=tmp_path / "student",
        )  # fmt: skip


def test_training_may_go_on_from_the_papers_student(tmp_path):
    """Of its own seed; with one step of next to no rate the weights are nearly the student's."""
    student = fit("prism", tmp_path / "student", **SMALL)
    told = {"kind": "prism", "from_student": True, "settings": {"facts": "all"},
            "recipe": {"steps": 1, "eval_every": 1, "learning_rate": 1e-12}}  # fmt: skip
    baselines.fit_all(
        {"prism-facts": told}, TRAIN, TRAIN.head(5), ASKED.head(3), tmp_path, seeds=[0, 1],
        items=ITEMS, settings=SETTINGS, recipe=dataclasses.asdict(BRIEF), ratings=False,
        student_options=SMALL, student=tmp_path / "student",
    )  # fmt: skip

    def weights(name):
        return students.load(tmp_path / name).model.model.shared.weight

    torch.testing.assert_close(weights("prism-facts"), student.model.model.shared.weight)
    torch.testing.assert_close(weights("prism-facts@1"), weights("prism@1"))
    assert not torch.equal(weights("prism-facts"), weights("prism-facts@1"))


def test_long_trainings_run_beside_each_other_and_give_the_same_systems(tmp_path, monkeypatch):
    given = {"items": ITEMS, "settings": SETTINGS, "recipe": dataclasses.asdict(BRIEF)}
    given |= {"ratings": False, "student_options": SMALL, "seeds": [0]}
    systems = {
        "prism-no-user": {"kind": "prism", "placement": "none"},
        "prism-facts": {"kind": "prism", "from_student": True, "settings": {"facts": "item"}},
        "on": {"kind": "prism", "init_from": str(tmp_path / "ahead" / "prism-no-user")},
        "nearest": {"kind": "nearest"},
    }
    student = fit("prism", tmp_path / "student", **SMALL)
    assert student.curve is not None
    monkeypatch.setattr(baselines, "cores", lambda: 2)
    told = {}
    for name, least in (("alone", 10**6), ("ahead", 1)):
        monkeypatch.setattr(baselines, "_LONG", least)
        some = systems if name == "ahead" else {k: v for k, v in systems.items() if k != "on"}
        made, curves, told[name] = baselines.fit_all(
            some, TRAIN, TRAIN.head(5), ASKED, tmp_path / name,
            student=tmp_path / "student", **given,
        )  # fmt: skip
        assert made["system"].tolist() == list(some) and set(curves["system"]) <= set(some)
        assert (made["training (s)"][made["kind"] == "prism"] > 0.2).all()
    both = told["alone"].merge(told["ahead"], on=["sample_id", "system"])
    assert len(both) == 3 * len(ASKED) and both["text_x"].equals(both["text_y"])
