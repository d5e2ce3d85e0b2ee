"""A Hugging Face model as teacher: encoder-decoder (FLAN-T5, the paper's) or decoder-only.

Samples are batched by length of prompt, so that little is padding. What is wrong with a model's
folder or a parameter is said before anything is generated. Left out on purpose: quality filters,
retries and quantisation; what the model says is what the table holds.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import transformers

from ..checkpoints import UNREAD, check_folder, is_local
from ..errors import InputError, nearest, one_line
from ..files import fingerprint
from ..prompts import TEMPLATES, PromptWriter
from ..tables import attribute_columns, check

_DTYPES = ("auto", "bfloat16", "float16", "float32")
_SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")
_ROWS = 1000  # of samples, prompted at a time


class HuggingFaceTeacher:
    """Explain samples by prompting a model (section 4.2, equation 3).

    The paper's teacher is `HuggingFaceTeacher("google/flan-t5-xxl", device_map="auto", ...)`.

    Parameters
    ----------
    model : a name on the Hugging Face hub or a local folder. Encoder-decoder and decoder-only
        models both do; a tokenizer's chat template is used where there is one. Weights are read
        from safetensors alone, and code that comes with a model is not run.
    items, noun : catalogue and what an item is called, for the prompts.
    revision : branch, tag or commit on the hub.
    dtype : "bfloat16", "float16", "float32", or "auto" for the checkpoint's own.
    device_map : as in `from_pretrained`, e.g. "auto" over several GPUs; None puts the model on one
        GPU (under `accelerate launch` each process on its own) or else the CPU.
    batch_size : prompts per call of `generate`.
    max_new_tokens, num_beams, do_sample, temperature, top_p : decoding; the paper does not state
        its own. Sampling is seeded by `seed` for each batch, hence repeatable for equal batches.
    template, max_history, max_input_tokens : the prompt, see `prompts.render_prompts`; the oldest
        titles go until it takes at most `max_input_tokens` tokens.

    Raises InputError for a model that cannot be loaded or run, whose folder is not whole or has no
    tokenizer, whose chat template does not take a turn of the user alone, for a device that is not
    there and for parameters out of range.
    """

    def __init__(
        self,
        model: str,
        *,
        items: pd.DataFrame,
        noun: str = "film",
        revision: str | None = None,
        dtype: str = "bfloat16",
        device_map: str | None = None,
        batch_size: int = 16,
        max_new_tokens: int = 80,
        num_beams: int = 1,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_p: float = 1.0,
        template: str = "faithful",
        max_history: int = 50,
        max_input_tokens: int = 512,
        seed: int = 0,
    ) -> None:
        if dtype not in _DTYPES:
            raise InputError(f"dtype {dtype!r} is unknown: {nearest(dtype, _DTYPES)}")
        for label, size, least in (
            ("batch_size", batch_size, 1),
            ("max_new_tokens", max_new_tokens, 1),
            ("num_beams", num_beams, 1),
            ("max_input_tokens", max_input_tokens, 1),
            ("max_history", max_history, 0),
            ("seed", seed, 0),
        ):
            if isinstance(size, bool) or not isinstance(size, int) or size < least:
                raise InputError(f"{label} must be {least} or more, found {size!r}")
        if not 0 < temperature < math.inf:
            raise InputError(f"temperature must be above 0 and finite, found {temperature}")
        if not 0 < top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1, found {top_p}")
        self._writer = PromptWriter(items, template=template, noun=noun)
        self.batch_size, self.seed = batch_size, seed
        self.max_history, self.max_input_tokens = max_history, max_input_tokens
        self._model = model = str(Path(model).expanduser() if str(model)[:1] == "~" else model)
        local = is_local(model)
        self.name = (Path(model).resolve().name if local else model.rpartition("/")[2]) or "model"
        self._load(model, revision, dtype, _device(device_map), local)
        self.is_encoder_decoder: bool = self.model.config.is_encoder_decoder
        self._words()
        self._room(max_new_tokens)
        self._decoding: dict[str, Any] = {
            "max_new_tokens": max_new_tokens,
            "num_beams": num_beams,
            "do_sample": do_sample,
            "pad_token_id": self._pad,
        }
        if do_sample:
            self._decoding |= {"temperature": temperature, "top_p": top_p}
        self._probe()
        catalogue = [items[column].tolist() for column in ("item_id", "title")]
        prompts = json.dumps([TEMPLATES[template], *catalogue, attribute_columns(items)])
        self.description: dict[str, Any] = {
            "teacher": "huggingface",
            "model": self.name if local else model,  # a folder goes by its content, not its place
            "revision": revision,
            "content": fingerprint(model, UNREAD) if local else self.model.config._commit_hash,
            "dtype": dtype,
            "noun": noun,
            "template": template,
            "prompts": hashlib.sha256(prompts.encode()).hexdigest(),
            "max_history": max_history,
            "max_input_tokens": max_input_tokens,
            "batch_size": batch_size,
            "seed": seed,
            **self._decoding,
        }

    def _load(
        self, model: str, revision: str | None, dtype: str, device_map: str | None, local: bool
    ) -> None:
        """Set `tokenizer` and `model`."""
        if local:
            check_folder(model)
        # `dtype` was called `torch_dtype` before transformers 4.56.
        version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
        dtype_name = "dtype" if version >= (4, 56) else "torch_dtype"
        loading: dict[str, Any] = {dtype_name: dtype if dtype == "auto" else getattr(torch, dtype)}
        if device_map is not None:
            loading["device_map"] = device_map
        source: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
        try:
            config = transformers.AutoConfig.from_pretrained(model, **source)
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(model, **source)
            auto: Any = (
                transformers.AutoModelForSeq2SeqLM
                if config.is_encoder_decoder
                else transformers.AutoModelForCausalLM
            )
            self.model, found = auto.from_pretrained(
                model,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                output_loading_info=True,
                **source,
                **loading,
            )
        except Exception as error:  # the libraries below raise many unrelated types
            reason = one_line(error)[:300]
            raise InputError(
                f"model {model!r} could not be loaded, neither as a local folder nor from the "
                f"hub: {reason}"
            ) from error
        self.model.eval()
        for what in ("missing", "mismatched"):
            keys = sorted(str(key) for key in found[f"{what}_keys"])
            if keys:
                raise InputError(
                    f"model {model!r}: {len(keys)} of its weights are {what}, such as {keys[0]}: "
                    "give a model of a kind that generates text, as it was saved"
                )
        masked = [name for name in config.architectures or [] if "MaskedLM" in name]
        if masked and not config.is_encoder_decoder:
            raise InputError(f"model {model!r} is a {masked[0]}, which generates no text")
        if device_map is None and torch.cuda.is_available():
            self.model.to(torch.device("cuda", _local_rank()))

    def _words(self) -> None:
        """Set what encoding needs, and refuse a tokenizer that knows no words."""
        self._rows: int = self.model.get_input_embeddings().weight.shape[0]
        ends = self.model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends])
        choices = [self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0]
        # Padding is masked: any token of the table does where the model names none.
        self._pad: int = next(n for n in choices if isinstance(n, int) and 0 <= n < self._rows)
        self.has_chat = getattr(self.tokenizer, "chat_template", None) is not None
        try:
            ids = self.tokenizer(["Explain why"], add_special_tokens=False)["input_ids"][0]
            unknown = {*self.tokenizer.all_special_ids, self.tokenizer.unk_token_id}
            read = self.tokenizer.decode([n for n in ids if n not in unknown])
        except Exception as error:
            raise InputError(
                f"model {self._model!r}: its tokenizer fails ({one_line(error)[:300]}): get its "
                "files anew"
            ) from error
        if not any(letter.isalpha() for letter in read):
            raise InputError(
                f"model {self._model!r} has no tokenizer that knows words: put tokenizer.json, or "
                "the files of its kind, into the folder"
            )
        if self.has_chat and "Explain why" not in self._chat("Explain why"):
            raise InputError(
                f"model {self._model!r}: its chat template leaves the prompt out: correct "
                "chat_template, or remove it"
            )

    def _room(self, max_new_tokens: int) -> None:
        """Set how many tokens a prompt may have, if the model's positions limit them."""
        config, two = self.model.config, self.is_encoder_decoder
        decoder = _positions(config, "decoder" if two else "")
        if max_new_tokens > decoder:
            raise InputError(
                f"max_new_tokens={max_new_tokens} is too many: model {self._model!r} has {decoder} "
                "positions"
            )
        self._positions = _positions(config, "encoder") if two else decoder
        # The last token is said and not read.
        self._limit = self._positions - (0 if two else max_new_tokens - 1)

    def _probe(self) -> None:
        """Run the model on a few tokens: its logits must be numbers."""
        inputs = self._padded(self._ids(["Explain why"]))
        if self.is_encoder_decoder:
            start = self.model.generation_config.decoder_start_token_id
            inputs["decoder_input_ids"] = torch.full_like(inputs["input_ids"][:, :1], start or 0)
        try:
            with torch.inference_mode():
                logits = self.model(**inputs).logits
        except Exception as error:
            raise InputError(
                f"model {self._model!r} cannot be run: {one_line(error)[:300]}"
            ) from error
        if not (logits < math.inf).all():  # nan is not; what a model rules out may be -inf
            raise InputError(
                f"model {self._model!r} gives no finite numbers in {logits.dtype}: try "
                'dtype="float32", or get its weights anew'
            )

    def _chat(self, prompt: str) -> str:
        """A prompt as one turn of a chat."""
        turn = [{"role": "user", "content": prompt}]
        try:
            told = self.tokenizer.apply_chat_template(
                turn, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:
            raise InputError(
                f"model {self._model!r}: its chat template takes no turn of the user alone "
                f"({one_line(error)[:200]}): give a model with another chat_template, or with none"
            ) from error
        return str(told)

    def _ids(self, prompts: list[str]) -> list[list[int]]:
        """The tokens of prompts, as one turn of a chat where the model is a chat model."""
        if self.has_chat:
            prompts = [self._chat(prompt) for prompt in prompts]
        # A chat template writes its special tokens itself. No truncation: the budget is kept by
        # `PromptWriter`, which never cuts into the instruction.
        ids: list[list[int]] = self.tokenizer(prompts, add_special_tokens=not self.has_chat)[
            "input_ids"
        ]
        return ids

    def _count(self, prompts: list[str]) -> list[int]:
        return [len(ids) for ids in self._ids(prompts)]

    def _prompts(self, samples: pd.DataFrame) -> tuple[pd.DataFrame, list[list[int]]]:
        """Prompts of samples and their tokens; InputError for what the model has no place for."""
        prompts = self._writer.write(
            samples,
            max_history=self.max_history,
            count_tokens=self._count,
            max_tokens=self.max_input_tokens,
        )
        told = self._ids(prompts["prompt"].tolist()) if len(prompts) else []
        for sample, ids in zip(prompts["sample_id"], told, strict=True):
            if len(ids) > self._limit:
                raise InputError(
                    f"the prompt of sample {sample!r} takes {len(ids)} tokens, and model "
                    f"{self._model!r} has {self._positions} positions, max_new_tokens included: "
                    f"set max_input_tokens={max(self._limit, 1)} or less, or template='compact'"
                )
            if max(ids, default=0) >= self._rows:
                raise InputError(
                    f"the prompt of sample {sample!r} has a token of number {max(ids)}, and model "
                    f"{self._model!r} has {self._rows}: its tokenizer is another model's"
                )
        return prompts, told

    def ready(self, samples: pd.DataFrame) -> None:
        """Raise InputError for a prompt that is longer than the model has positions.

        All prompts are made for that, unless `max_input_tokens` rules it out.
        """
        check(samples, "samples")
        if self.max_input_tokens > self._limit:
            for start in range(0, len(samples), _ROWS):
                self._prompts(samples.iloc[start : start + _ROWS])

    def explain(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Explanations of samples, in their order.

        Beside sample_id, system and text: seconds (an even share of its batch's wall time), tokens
        (generated, without padding and end), shown and dropped (titles in the prompt, titles that
        the token budget removed).
        """
        check(samples, "samples")
        prompts, ids = self._prompts(samples)
        told = prompts.rename(columns={"prompt": "text"})
        told.insert(1, "system", self.name)
        order = sorted(range(len(ids)), key=lambda row: (-len(ids[row]), row))
        texts, seconds, tokens = [""] * len(ids), [0.0] * len(ids), [0] * len(ids)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            began = time.perf_counter()
            label = f"{self.seed}\x1f{prompts['sample_id'].iloc[rows[0]]}"
            seed = int(hashlib.blake2b(label.encode(), digest_size=6).hexdigest(), 16)
            answers = self._generate([ids[row] for row in rows], seed)
            share = (time.perf_counter() - began) / len(rows)
            for row, (text, count) in zip(rows, answers, strict=True):
                texts[row], tokens[row], seconds[row] = text, count, share
        return told.assign(text=texts, seconds=seconds, tokens=tokens)

    def _padded(self, ids: list[list[int]]) -> dict[str, torch.Tensor]:
        """Inputs of a batch on the model's device; decoder-only models are padded on the left."""
        width = max(map(len, ids))
        made: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": []}
        for row in ids:
            pads, ones = [self._pad] * (width - len(row)), [1] * len(row)
            none = [0] * len(pads)
            left = not self.is_encoder_decoder
            made["input_ids"].append(pads + row if left else row + pads)
            made["attention_mask"].append(none + ones if left else ones + none)
        return {name: torch.tensor(rows, device=self.model.device) for name, rows in made.items()}

    @torch.inference_mode()
    def _generate(self, ids: list[list[int]], seed: int) -> list[tuple[str, int]]:
        """Texts of one batch and their lengths in tokens."""
        inputs = self._padded(ids)
        if self._decoding["do_sample"]:
            torch.manual_seed(seed)
        # A checkpoint may ask for more than one answer, or for an object in place of tokens.
        one = {"num_return_sequences": 1, "return_dict_in_generate": False}
        try:
            answers = self.model.generate(**inputs, **self._decoding, **one)
        except Exception as error:  # the model's own code, its settings and its device
            raise InputError(
                f"model {self._model!r} stopped generating ({type(error).__name__}: "
                f"{one_line(error)[:300]}): try a smaller batch_size, dtype='float32' or other "
                "parameters of decoding"
            ) from error
        if not self.is_encoder_decoder:
            answers = answers[:, inputs["input_ids"].shape[1] :]
        special, kept = set(self.tokenizer.all_special_ids), []
        for row in answers.tolist():
            row = row[self.is_encoder_decoder :]  # a decoder begins with a token of its own
            end = next((at for at, token in enumerate(row) if token in self._ends), len(row))
            kept.append([token for token in row[:end] if token not in special])
        texts = self.tokenizer.batch_decode(kept, skip_special_tokens=True)
        return [(text.strip(), len(row)) for text, row in zip(texts, kept, strict=True)]


def _positions(config: Any, side: str) -> float:
    """How many positions one side of a model has; infinite where they are not counted (T5)."""
    for part in (config, getattr(config, side, None) if side else config.get_text_config()):
        for name in (f"max_{side}_position_embeddings", "max_position_embeddings"):
            found = getattr(part, name, None)
            if isinstance(found, int) and found > 0:
                return found
    return math.inf


def _device(device_map: str | None) -> str | None:
    """`device_map`, if it is a way to spread a model or names a device that torch may have."""
    if device_map is None or device_map in _SPREAD:
        return device_map
    try:
        device = torch.device(device_map)
    except (RuntimeError, TypeError) as error:
        known = (*_SPREAD, "cpu", "cuda", "cuda:0", "mps")
        raise InputError(
            f"device_map {device_map!r} is unknown: {nearest(device_map, known)}"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device_map {device_map!r}: torch finds {torch.cuda.device_count()} GPUs here; leave "
            "device_map out, or name one that is there"
        )
    return device_map


def _local_rank() -> int:
    """Which of this machine's GPUs is this process's, as a launcher says."""
    told = os.environ.get("LOCAL_RANK", "0")
    if not told.isdecimal() or int(told) >= torch.cuda.device_count():
        raise InputError(
            f"LOCAL_RANK={told} is set, and this machine has {torch.cuda.device_count()} GPUs: "
            "unset it, or start one process for each GPU"
        )
    return int(told)
