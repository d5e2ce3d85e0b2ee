"""A tokenizer for students trained from scratch: byte-level BPE, titles kept whole if asked.

Bytes are the fall-back, so any text can be written and read back exactly. A whole title is one
token: a student copies it in one step, but only where the title stood in its training texts.
Pretrained students bring their own tokenizer and need none of this.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ..errors import InputError, nearest
from ..prompts import render_prompts
from ..wording import attributes, surfaces
from .inputs import StudentSettings
from .prism import USER_TOKEN

VOCABULARIES = ("whole_titles", "bytes")
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", USER_TOKEN]  # BART's first four ids, in BART's order


def train_tokenizer(
    texts: Iterable[str],
    *,
    vocab_size: int = 1000,
    whole_titles: Iterable[str] = (),
    model_max_length: int = 1024,
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on `texts`; each of `whole_titles` that occurs there is one token.

    vocab_size counts BPE tokens and bytes, not titles. Decoding gives the text back exactly.
    Inputs end in `</s>`; `<user>` is the placeholder that `placement="user_token"` looks for.
    Titles spelt like these, or like bytes, are no tokens; `inputs.Reader` reads them as text.

    >>> tokenizer = train_tokenizer(["I liked Heat."], whole_titles=["Heat", "Jaws"])
    >>> tokenizer.tokenize("I liked Heat.")[-2:], "Jaws" in tokenizer.get_vocab()
    (['Heat', '.'], False)
    """
    # single_word: a one-word title such as "It" must not cut a longer word in two.
    titles = [
        AddedToken(title, single_word=True, normalized=False)
        for title in sorted({t for t in whole_titles if t and t not in SPECIAL})
    ]
    # A model without a vocabulary finds nothing but the titles; merges are learnt between them.
    finder = Tokenizer(models.BPE())
    finder.add_tokens(titles)
    found: set[str] = set()
    segments: list[str] = []
    texts = list(texts)
    for text, encoding in zip(texts, finder.encode_batch(texts), strict=True):
        end = 0
        for token, (start, stop) in zip(encoding.tokens, encoding.offsets, strict=True):
            found.add(token)
            segments.append(text[end:start])
            end = stop
        segments.append(text[end:])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(segments, trainer)
    # The byte decoder takes a whole title such as "Amélie" for bytes, unless it is spelt in them.
    # Titles that are bytes themselves ("É" is one, "Ã©" are the two of "é") are no tokens.
    decode = decoders.ByteLevel().decode
    misread = {title: read for title in sorted(found) if (read := decode([title])) != title}
    known = tokenizer.get_vocab()
    spelt = {t for t, read in misread.items() if t in known or "\ufffd" not in read}
    tokenizer.add_tokens([title for title in titles if title.content in found - spelt])
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    respelt = [decoders.Replace(t, spell(t)[0][0]) for t in misread if t not in spelt]
    tokenizer.decoder = decoders.Sequence([*respelt, decoders.ByteLevel()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", SPECIAL.index("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[USER_TOKEN],
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
    )


def whole_words(items: pd.DataFrame, facts: str = "none") -> list[str]:
    """What "whole_titles" keeps whole: titles and, told as facts, values of several words.

    >>> items = pd.DataFrame({"item_id": ["1"], "title": ["Heat"], "genre": [["Crime"]],
    ...                       "director": [["Michael Mann"]]})
    >>> whole_words(items), whole_words(items, "item")
    (['Heat'], ['Heat', 'Michael Mann'])
    """
    told = attributes(items) if facts != "none" else {}
    values = {
        surfaces(kind, value)[0]
        for kind, column in told.items()
        for of_item in column
        for value in of_item
    }
    return [*items["title"], *sorted(value for value in values if " " in value)]


def student_tokenizer(
    train: pd.DataFrame,
    items: pd.DataFrame,
    settings: StudentSettings,
    *,
    vocabulary: str = "whole_titles",
    vocab_size: int = 1000,
) -> PreTrainedTokenizerFast:
    """The tokenizer of any student from scratch: trained on train's prompts and texts.

    train: samples with `text`. vocabulary: "whole_titles" (`whole_words` of items) or "bytes".
    Students of the same train and settings have the same tokenizer, so that tokens and losses
    compare.
    """
    if vocabulary not in VOCABULARIES:
        raise InputError(
            f"vocabulary: {vocabulary!r} is unknown; {nearest(vocabulary, VOCABULARIES)}"
        )
    prompts = render_prompts(
        train,
        items,
        template=settings.template,
        noun=settings.noun,
        max_history=settings.max_history,
        mark_evidence=settings.mark_evidence,
        facts=settings.facts,
    )
    return train_tokenizer(
        [*prompts["prompt"], *train["text"]],
        vocab_size=vocab_size,
        whole_titles=whole_words(items, settings.facts) if vocabulary == "whole_titles" else (),
        model_max_length=settings.max_input_tokens,
    )
