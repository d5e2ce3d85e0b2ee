"""A Hugging Face model as teacher: encoder-decoder (FLAN-T5, the paper's) or decoder-only.

Samples are batched by length of prompt, so that little is padding. Left out on purpose: quality
filters, retries and quantisation; what the model says is what the table holds.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

import pandas as pd
import torch
import transformers

from ..errors import InputError, nearest
from ..prompts import TEMPLATES, render_prompts

_DTYPES = ("auto", "bfloat16", "float16", "float32")


class HuggingFaceTeacher:
    """Explain samples by prompting a model (section 4.2, equation 3).

    The paper's teacher is `HuggingFaceTeacher("google/flan-t5-xxl", device_map="auto", ...)`.

    Parameters
    ----------
    model : a name on the Hugging Face hub or a local folder. Encoder-decoder and decoder-only
        models both do; a tokenizer's chat template is used where there is one.
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

    Raises InputError for a model that cannot be loaded and for parameters out of range.
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
        if template not in TEMPLATES:
            raise InputError(f"template {template!r} is unknown: {nearest(template, TEMPLATES)}")
        sizes = {"batch_size": batch_size, "max_new_tokens": max_new_tokens, "num_beams": num_beams}
        for label, size in sizes.items():
            if size < 1:
                raise InputError(f"{label} must be 1 or more, found {size}")
        self.name = str(model).rstrip("/").rsplit("/", 1)[-1]
        self.items, self.noun, self.seed = items, noun, seed
        self.batch_size, self.template = batch_size, template
        self.max_history, self.max_input_tokens = max_history, max_input_tokens
        # `dtype` was called `torch_dtype` before transformers 4.56.
        version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
        dtype_name = "dtype" if version >= (4, 56) else "torch_dtype"
        loading: dict[str, Any] = {dtype_name: dtype if dtype == "auto" else getattr(torch, dtype)}
        if device_map is not None:
            loading["device_map"] = device_map
        try:
            config = transformers.AutoConfig.from_pretrained(model, revision=revision)
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(model, revision=revision)
            auto: Any = (
                transformers.AutoModelForSeq2SeqLM
                if config.is_encoder_decoder
                else transformers.AutoModelForCausalLM
            )
            self.model = auto.from_pretrained(model, revision=revision, **loading).eval()
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"model {model!r} could not be loaded, neither as a local folder nor from the "
                f"hub: {reason}"
            ) from error
        if device_map is None and torch.cuda.is_available():
            self.model.to(torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))))
        self.is_encoder_decoder: bool = config.is_encoder_decoder
        if not self.is_encoder_decoder:
            self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.has_chat = getattr(self.tokenizer, "chat_template", None) is not None
        decoding: dict[str, Any] = {
            "max_new_tokens": max_new_tokens,
            "num_beams": num_beams,
            "do_sample": do_sample,
            "pad_token_id": self.tokenizer.pad_token_id,
        }
        if do_sample:
            decoding |= {"temperature": temperature, "top_p": top_p}
        self._decoding = decoding
        self.description: dict[str, Any] = {
            "teacher": "huggingface",
            "model": str(model),
            "revision": revision,
            "dtype": dtype,
            "noun": noun,
            "template": template,
            "max_history": max_history,
            "max_input_tokens": max_input_tokens,
            "batch_size": batch_size,
            "seed": seed,
            **decoding,
        }

    def _encode(self, prompts: list[str], **options: Any) -> Any:
        """Tokenize prompts, as one turn of a chat where the model is a chat model."""
        if self.has_chat:
            prompts = [
                str(
                    self.tokenizer.apply_chat_template(
                        [{"role": "user", "content": prompt}],
                        tokenize=False,
                        add_generation_prompt=True,
                    )
                )
                for prompt in prompts
            ]
        # A chat template writes its special tokens itself. No truncation: the budget is kept by
        # `render_prompts`, which never cuts into the instruction.
        return self.tokenizer(prompts, add_special_tokens=not self.has_chat, **options)

    def _count(self, prompts: list[str]) -> list[int]:
        return [len(ids) for ids in self._encode(prompts)["input_ids"]]

    def explain(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Explanations of samples, in their order.

        Beside sample_id, system and text: seconds (an even share of its batch's wall time), tokens
        (generated, without padding and end), shown and dropped (titles in the prompt, titles that
        the token budget removed).
        """
        prompts = render_prompts(
            samples,
            self.items,
            template=self.template,
            noun=self.noun,
            max_history=self.max_history,
            count_tokens=self._count,
            max_tokens=self.max_input_tokens,
        )
        told = prompts.rename(columns={"prompt": "text"})
        told.insert(1, "system", self.name)
        texts = prompts["prompt"].tolist()
        lengths = self._count(texts) if texts else []
        order = sorted(range(len(texts)), key=lambda row: (-lengths[row], row))
        seconds, tokens = [0.0] * len(texts), [0] * len(texts)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            began = time.perf_counter()
            label = f"{self.seed}\x1f{prompts['sample_id'].iloc[rows[0]]}"
            seed = int(hashlib.blake2b(label.encode(), digest_size=6).hexdigest(), 16)
            answers = self._generate([texts[row] for row in rows], seed)
            share = (time.perf_counter() - began) / len(rows)
            for row, (text, count) in zip(rows, answers, strict=True):
                texts[row], tokens[row], seconds[row] = text, count, share
        return told.assign(text=texts, seconds=seconds, tokens=tokens)

    @torch.inference_mode()
    def _generate(self, prompts: list[str], seed: int) -> list[tuple[str, int]]:
        """Texts of one batch and their lengths in tokens."""
        inputs = self._encode(prompts, return_tensors="pt", padding=True)
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        inputs = {name: values.to(self.model.device) for name, values in inputs.items()}
        if self._decoding["do_sample"]:
            torch.manual_seed(seed)
        ids = self.model.generate(**inputs, **self._decoding)
        if not self.is_encoder_decoder:
            ids = ids[:, inputs["input_ids"].shape[1] :]
        special = set(self.tokenizer.all_special_ids)
        kept = [[token for token in row if token not in special] for row in ids.tolist()]
        texts = self.tokenizer.batch_decode(kept, skip_special_tokens=True)
        return [(text.strip(), len(row)) for text, row in zip(texts, kept, strict=True)]
