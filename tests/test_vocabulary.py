"""The from-scratch tokenizer: exact on any text, titles whole, bytes as the fall-back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from prism_utils.students.vocabulary import train_tokenizer

TEXTS = [
    "You liked Star Wars, so Star Wars: Episode V - The Empire Strikes Back should suit you.",
    "Since you enjoyed Heat and It, Alien is a good choice, and so is Amélie.",
] * 5
TITLES = [
    "Star Wars",
    "Star Wars: Episode V - The Empire Strikes Back",
    "It",
    "Heat",
    "Jaws",
    "Amélie",
]
WHOLE = train_tokenizer(TEXTS, vocab_size=320, whole_titles=TITLES)


def test_known_titles_are_one_token_the_longest_first():
    tokens = WHOLE.tokenize("Star Wars: Episode V - The Empire Strikes Back beats Star Wars")
    assert [t for t in tokens if t in TITLES] == [TITLES[1], TITLES[0]]


def test_a_title_never_seen_in_training_text_falls_back_to_pieces():
    assert "Jaws" not in WHOLE.get_vocab()
    assert WHOLE.decode(WHOLE("Jaws")["input_ids"], skip_special_tokens=True) == "Jaws"


def test_a_one_word_title_does_not_cut_a_longer_word():
    assert "It" not in WHOLE.tokenize("Italian Heater")
    assert "Heat" not in WHOLE.tokenize("Italian Heater")


def test_saving_and_loading_keep_the_ids(tmp_path):
    WHOLE.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(TEXTS)["input_ids"] == WHOLE(TEXTS)["input_ids"]
    assert again.pad_token_id == WHOLE.pad_token_id == 1  # BART's own ids
    assert (again.bos_token_id, again.eos_token_id) == (0, 2)


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_comes_back(text):
    text += "Amélie, Léon: The Professional"
    for special in ("<s>", "<pad>", "</s>", "<unk>", "<user>"):
        text = text.replace(special, "")
    for tokenizer in (WHOLE, train_tokenizer(TEXTS, vocab_size=300)):
        ids = tokenizer(f"It {text} Heat")["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == f"It {text} Heat"
