"""The from-scratch tokenizer: exact on any text, titles whole, bytes as the fall-back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from prism_utils.errors import InputError
from prism_utils.students.inputs import (
    Reader,
    StudentSettings,
    encode_inputs,
    encode_texts,
    token_counter,
)
from prism_utils.students.prism import PrismConfig
from prism_utils.students.vocabulary import SPECIAL, train_tokenizer

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
BYTES = train_tokenizer(TEXTS, vocab_size=300)


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
    for tokenizer in (WHOLE, BYTES):
        (ids,) = encode_texts(tokenizer, [f"It {text} Heat"])
        assert tokenizer.decode(ids, skip_special_tokens=True) == f"It {text} Heat"


@pytest.mark.parametrize("special", [*SPECIAL, "[UNK]", "<mask>"])
def test_special_tokens_in_a_text_are_text(special):
    for text in (special, f"Good. {special} Then more.", f"It{special}{special}"):
        for tokenizer in (WHOLE, BYTES):
            (ids,) = encode_texts(tokenizer, [text])
            assert ids.index(tokenizer.eos_token_id) == len(ids) - 1  # after the text, once
            assert not set(ids[:-1]) & {*range(len(SPECIAL))}
            assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize(
    "title", [*SPECIAL, "[UNK]", "The </s> Files", "</s>: Part 2", "É", "½", "Ã©", "Ġ", "M"]
)
def test_titles_spelt_like_tokens_are_titles_like_any_other(title, tmp_path):
    """As whole titles they would end texts, vanish from them, or be taken for other letters."""
    texts = [f"You liked {title}, so {title} it is. Été, Ɖ, ½ éclair, Émile."] * 3
    tokenizer = train_tokenizer(texts, vocab_size=300, whole_titles=[title, "Heat"])
    assert tokenizer.convert_tokens_to_ids(SPECIAL) == [*range(len(SPECIAL))]
    (ids,) = encode_texts(tokenizer, texts[:1])
    assert ids[-1] == tokenizer.eos_token_id and not set(ids[:-1]) & {*range(len(SPECIAL))}
    assert tokenizer.decode(ids, skip_special_tokens=True) == texts[0]
    tokenizer.save_pretrained(tmp_path)
    alone = Reader.load(tmp_path / "tokenizer.json")
    assert alone(texts[:1]) == [ids] and alone.batch_decode([ids]) == texts[:1]


def bart() -> PreTrainedTokenizerFast:
    """A tokenizer that puts a token on both sides of a text, as BART's does."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    both = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.backend_tokenizer.post_processor = both
    return tokenizer


@pytest.mark.parametrize("tokenizer", [WHOLE, BYTES, bart()], ids=["titles", "bytes", "bart"])
@pytest.mark.parametrize("placement", ["every_token", "user_token"])
def test_a_reader_reads_as_transformers_does(tokenizer, placement):
    """Where no special token stands in a text: to the token, cut or not."""
    config = PrismConfig(placement=placement, user_token_id=4)
    told = [text[n:] for n, text in enumerate(TEXTS)]
    meant = [f"<user> {text}" for text in told] if placement == "user_token" else told
    whole = tokenizer(meant)["input_ids"]
    assert token_counter(tokenizer, config)(told) == [len(ids) for ids in whole]
    for length in (3, 8, 1000):
        cut = tokenizer(meant, truncation=True, max_length=length)["input_ids"]
        budget = StudentSettings("compact", max_input_tokens=length)
        assert encode_inputs(tokenizer, told, config, budget) == cut
    bare = tokenizer(told, add_special_tokens=False)["input_ids"]
    assert encode_texts(tokenizer, told, special=False) == bare
    assert encode_texts(tokenizer, ["half \ud83d"]) == encode_texts(tokenizer, ["half \ufffd"])


def test_tokenizers_that_cannot_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="tokenizer: reads no letters"):
        Reader(Tokenizer(models.BPE()))
    with pytest.raises(InputError, match="tokenizer: has no tokenizer.json"):
        Reader.of(object())
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(InputError, match="tokenizer.json: not readable as a tokenizer"):
        Reader.load(tmp_path / "tokenizer.json")
