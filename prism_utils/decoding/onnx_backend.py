"""The fast CPU backend: ONNX Runtime, a lean greedy loop, and neither torch nor transformers.

The loop does what `generate` does when it decodes greedily: end tokens, a minimum length, forced
first and last tokens, no repeated n-grams. Left out: beams and sampling, which a `reference`
answers if there is one. Embeddings and user vectors are rows of mapped files.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from ..errors import InputError

#: What an exported student keeps of the folder that it came from.
FILES = ("tokenizer.json", "student.json", "users.parquet", "items.parquet", "card.json")
CANDIDATES = 8  # likeliest tokens that a step returns; more are looked up if all are forbidden


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a student, its special tokens, and what its `generation_config` asks of greedy text.

    forced_first, forced_last: tokens that an explanation begins with, or ends with at its full
    length; no_repeat_ngram: n-grams of this length stand in a text only once (0: any number).
    """

    precision: str
    width: int
    encoder_layers: int
    encoder_heads: int
    decoder_layers: int
    decoder_heads: int
    embed_scale: float
    placement: str
    user_token_id: int | None
    pad: int
    start: int
    ends: list[int]
    forced_first: int | None = None
    forced_last: int | None = None
    no_repeat_ngram: int = 0


class RuntimeTokenizer:
    """What `Explainer` asks of a tokenizer, from `tokenizer.json` alone."""

    def __init__(self, path: Path | str) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()

    def __call__(
        self, texts: list[str], truncation: bool = False, max_length: int | None = None
    ) -> dict[str, list[list[int]]]:
        """Token ids of each text, special tokens included."""
        if truncation and max_length:
            self._tokenizer.enable_truncation(max_length)
        else:
            self._tokenizer.no_truncation()
        return {"input_ids": [found.ids for found in self._tokenizer.encode_batch(texts)]}

    def batch_decode(
        self, rows: Sequence[Sequence[int]], skip_special_tokens: bool = True
    ) -> list[str]:
        return self._tokenizer.decode_batch(rows, skip_special_tokens=skip_special_tokens)


class OnnxBackend:
    """Greedy decoding of an exported student; float32 gives the tokens that `generate` gives."""

    def __init__(
        self,
        shape: Shape,
        arrays: dict[str, np.ndarray],
        encoder: Path | bytes,
        decoder: Path | bytes,
        *,
        threads: int | None = None,
        reference: Any = None,
    ) -> None:
        """arrays: embeddings (vocabulary, d), encoder_positions, decoder_positions, output_bias,
        users (num_users + 1, d; row 0 zero). threads: by default a core each."""
        self.config = shape
        self.name = "onnx" if shape.precision == "float32" else f"onnx-{shape.precision}"
        self.vectors = arrays["users"]
        self.reference = reference
        self._embeddings = arrays["embeddings"]
        self._positions = arrays["encoder_positions"], arrays["decoder_positions"]
        self._bias = arrays["output_bias"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        # Threads that spin while they wait starve each other beside any other work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3

        def session(graph: Path | bytes) -> Any:
            source = graph if isinstance(graph, bytes) else str(graph)
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

        self._encoder, self._decoder = session(encoder), session(decoder)
        self._caches = [f"{k}{n}" for n in range(shape.decoder_layers) for k in "kv"]

    @classmethod
    def load(cls, folder: Path | str, threads: int | None = None) -> OnnxBackend:
        """What `export.export_graphs` wrote; `InputError` if a file is missing."""
        folder = Path(folder)
        names = ("embeddings", "encoder_positions", "decoder_positions", "output_bias", "users")
        graphs = folder / "encoder.onnx", folder / "decoder.onnx"
        for path in (*graphs, folder / "export.json", *(folder / f"{n}.npy" for n in names)):
            if not path.is_file():
                raise InputError(f"{path}: no such file; export the student again")
        shape = Shape(**json.loads((folder / "export.json").read_text(encoding="utf-8")))
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
        return cls(shape, arrays, *graphs, threads=threads)

    @property
    def model(self) -> Any:
        """The student as a torch module, where the backend was made from one."""
        if self.reference is None:
            raise InputError("an exported student has no torch module; load the student's folder")
        return self.reference.model

    def generate(
        self,
        inputs: Sequence[Sequence[int]],
        users: np.ndarray,
        *,
        max_new_tokens: int,
        min_new_tokens: int = 0,
        **options: Any,
    ) -> list[list[int]]:
        """New tokens of each input, the end token included and the start token not.

        inputs: token ids, one list a sample. users: (batch,) rows of the user table. options: of
        `generate`, for the reference; without one, `InputError` for anything but greedy decoding.
        """
        greedy: dict[str, Any] = {"num_beams": 1, "do_sample": False}
        if any(name not in greedy or value != greedy[name] for name, value in options.items()):
            if self.reference is None:
                raise InputError(
                    f"backend {self.name!r} decodes greedily and does not know "
                    f"{', '.join(sorted(options))}; use Explainer.load(student, backend='torch')"
                )
            lengths = {"max_new_tokens": max_new_tokens, "min_new_tokens": min_new_tokens}
            return self.reference.generate(inputs, users, **lengths, **options)
        longest = max(map(len, inputs))
        for what, wanted, table in (
            ("an input", longest, self._positions[0]),
            ("max_new_tokens", max_new_tokens, self._positions[1]),
        ):
            if wanted > len(table):
                raise InputError(
                    f"{what} of {wanted} tokens: the student has {len(table)} positions"
                )
        cross, mask = self._encode(inputs, users, longest)
        return self._decode(cross, mask, max_new_tokens, min_new_tokens)

    def _encode(
        self, inputs: Sequence[Sequence[int]], users: np.ndarray, longest: int
    ) -> tuple[list[np.ndarray], np.ndarray]:
        ids = np.full((len(inputs), longest), self.config.pad)
        for row, tokens in enumerate(inputs):
            ids[row, : len(tokens)] = tokens
        mask = np.arange(longest) < np.array([[len(tokens)] for tokens in inputs])
        embeds = self._embed(ids)
        if self.config.placement != "none":  # equation 5
            vectors = self.vectors[users][:, None]
            if self.config.placement == "user_token":
                vectors = vectors * (ids == self.config.user_token_id)[..., None]
            embeds = embeds + vectors
        embeds = embeds + self._positions[0][:longest]
        mask = mask.astype(np.int32)
        names = [f"cross_{cache}" for cache in self._caches]
        return self._encoder.run(names, {"embeds": embeds, "mask": mask}), mask

    def _embed(self, ids: np.ndarray) -> np.ndarray:
        return self._embeddings[ids].astype(np.float32) * np.float32(self.config.embed_scale)

    def _decode(
        self, cross: list[np.ndarray], mask: np.ndarray, longest: int, shortest: int
    ) -> list[list[int]]:
        shape, batch = self.config, len(mask)
        size = (batch, shape.decoder_heads, longest, shape.width // shape.decoder_heads)
        own = [onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(size, np.float32)) for _ in cross]
        binding = self._bind(own, cross, mask)
        tokens = np.full((batch, longest + 1), shape.start)
        lengths = np.full(batch, longest)
        rows = np.arange(batch)  # of the texts in hand
        for step in range(longest):
            last = self._embed(tokens[rows, step])
            binding.bind_cpu_input("embeds", (last + self._positions[1][step])[:, None])
            binding.bind_cpu_input("past", np.full(len(rows), step, np.int32))
            binding.bind_cpu_input("total", np.array([step + 1], np.int32))
            self._decoder.run_with_iobinding(binding)
            hidden, candidates = (value.numpy()[:, 0] for value in binding.get_outputs()[-2:])
            written = tokens[rows, : step + 1]
            chosen = self._choose(hidden, candidates, written, longest, shortest)
            tokens[rows, step + 1] = chosen
            ended = np.isin(chosen, shape.ends)
            lengths[rows[ended]] = np.minimum(lengths[rows[ended]], step + 1)
            writing = lengths[rows] > step + 1
            if not writing.any():
                break
            if 2 * writing.sum() <= len(rows):  # put away what is finished once it is half the work
                rows, mask = rows[writing], mask[writing]
                own = [
                    onnxruntime.OrtValue.ortvalue_from_numpy(held.numpy()[writing]) for held in own
                ]
                cross = [held[writing] for held in cross]
                binding = self._bind(own, cross, mask)
        return [tokens[row, 1 : lengths[row] + 1].tolist() for row in range(batch)]

    def _bind(self, own: list[Any], cross: list[np.ndarray], mask: np.ndarray) -> Any:
        """Caches as inputs, and those of self-attention as outputs in the same memory."""
        binding = self._decoder.io_binding()
        binding.bind_cpu_input("mask", mask)
        for name, held, seen in zip(self._caches, own, cross, strict=True):
            binding.bind_cpu_input(f"cross_{name}", seen)
            binding.bind_ortvalue_input(f"self_{name}", held)
            binding.bind_ortvalue_output(f"new_{name}", held)
        for name in ("hidden", "candidates"):  # the last two outputs
            binding.bind_output(name)
        return binding

    def _choose(
        self,
        hidden: np.ndarray,
        candidates: np.ndarray,
        written: np.ndarray,
        longest: int,
        shortest: int,
    ) -> np.ndarray:
        """The next token of each text: the likeliest that is not forbidden.

        hidden (texts, d); candidates (texts, CANDIDATES) with the likeliest first; written
        (texts, step + 1), the start token included.
        """
        shape, step = self.config, written.shape[1] - 1
        if step == longest - 1 and shape.forced_last is not None:
            return np.full(len(hidden), shape.forced_last)
        if step == 0 and shape.forced_first is not None:
            return np.full(len(hidden), shape.forced_first)
        if shape.precision != "float32":  # 8 bits named the candidates, their exact rows decide
            exact = self._embeddings[candidates].astype(np.float32)
            scores = np.einsum("bkd,bd->bk", exact, hidden)
            order = np.argsort(-(scores + self._bias[candidates]), axis=1, kind="stable")
            candidates = np.take_along_axis(candidates, order, axis=1)
        ends = shape.ends if step < shortest else []
        if not ends and not shape.no_repeat_ngram:
            return candidates[:, 0]
        chosen = np.empty(len(hidden), np.int64)
        for row, texts in enumerate(written):
            forbidden = [*ends, *_repeating(texts.tolist(), shape.no_repeat_ngram)]
            allowed = candidates[row][~np.isin(candidates[row], forbidden)]
            if len(allowed):
                chosen[row] = allowed[0]
            else:
                scores = self._embeddings @ hidden[row] + self._bias
                scores[forbidden] = -np.inf
                chosen[row] = scores.argmax()
        return chosen


def _repeating(tokens: list[int], n: int) -> set[int]:
    """Tokens that would complete an n-gram that `tokens` already hold; n = 0 asks for none.

    >>> _repeating([7, 8, 9, 7, 8], 3)
    {9}
    """
    if not n:
        return set()
    start = tuple(tokens[len(tokens) - n + 1 :])
    grams = zip(*(tokens[i:] for i in range(n)), strict=False)
    return {gram[-1] for gram in grams if gram[:-1] == start}
