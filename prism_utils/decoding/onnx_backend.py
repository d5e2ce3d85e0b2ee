"""The fast CPU backend: ONNX Runtime, a lean greedy loop, and neither torch nor transformers.

The loop does what `generate` does when it decodes greedily: end tokens, a minimum length, forced
first and last tokens, no repeated n-grams. Left out: beams and sampling, which a `reference`
answers if there is one. Embeddings and user vectors are rows of mapped files.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ..errors import InputError
from ..runs import cores
from ..students.folders import read_settings, unreadable
from .shape import Forbid, Shape, check_lengths

#: What an exported student keeps of the folder that it came from.
FILES = ("tokenizer.json", "student.json", "users.parquet", "items.parquet", "card.json")
#: float32: the tokens of `generate`. mixed: encoder in 8 bits, decoder in float32. int8: all in 8.
PRECISIONS = ("float32", "mixed", "int8")
#: Arrays of numbers that lie beside the graphs, each in a file of its own.
ARRAYS = ("embeddings", "encoder_positions", "decoder_positions", "output_bias", "users")
CANDIDATES = 16  # likeliest tokens that a step returns; more are looked up if all are forbidden
DRAFT_TOKENS = 16  # drafted before they are checked
_AGAIN = "export the student again"
_Limits = tuple[int, int, Forbid | None]  # most and fewest tokens, and what may not come next


class OnnxBackend:
    """Greedy decoding of an exported student; float32 gives the tokens that `generate` gives."""

    def __init__(
        self,
        shape: Shape,
        arrays: dict[str, np.ndarray],
        graphs: dict[str, Path] | dict[str, bytes],
        *,
        threads: int | None = None,
        reference: Any = None,
    ) -> None:
        """arrays: embeddings (vocabulary, d), encoder_positions, decoder_positions, output_bias,
        users (num_users + 1, d; row 0 zero). graphs: encoder, decoder and perhaps draft, a
        smaller decoder. threads: by default a core each."""
        self.config = shape
        self.name = "onnx" if shape.precision == "float32" else f"onnx-{shape.precision}"
        self.vectors = arrays["users"]
        self.reference = reference
        self.drafted = {"tokens": 0, "checks": 0}  # written so far from drafts, and checks of them
        self._counting = threading.Lock()
        self._embeddings = arrays["embeddings"]
        self._positions = arrays["encoder_positions"], arrays["decoder_positions"]
        self._bias = arrays["output_bias"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        # Threads that spin while they wait starve each other beside any other work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3

        def session(graph: Path | bytes) -> Any:
            source = graph if isinstance(graph, bytes) else str(graph)
            try:
                return onnxruntime.InferenceSession(
                    source, options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # onnxruntime's own, of several unrelated types
                if isinstance(graph, bytes):
                    raise
                raise unreadable(graph, "an ONNX graph", error, _AGAIN) from error

        self._sessions = {name: session(graph) for name, graph in graphs.items()}
        self._caches = [f"{k}{n}" for n in range(shape.decoder_layers) for k in "kv"]

    @classmethod
    def load(cls, folder: Path | str, threads: int | None = None) -> OnnxBackend:
        """What `export.export_graphs` wrote; `InputError` for a file that is missing or damaged."""
        folder = Path(folder)
        shape = read_settings(Shape, folder / "export.json", _AGAIN)
        if shape.precision not in PRECISIONS:
            raise InputError(f"{folder / 'export.json'}: precision {shape.precision!r} is unknown")
        arrays = {name: _array(folder / f"{name}.npy", shape.width) for name in ARRAYS}
        vocabulary = len(arrays["embeddings"])
        if arrays["output_bias"].shape != (vocabulary,):
            path = folder / "output_bias.npy"
            raise InputError(f"{path}: is not of {vocabulary} tokens; {_AGAIN}")
        try:
            shape.check_vocabulary(vocabulary)
        except InputError as error:
            raise InputError(f"{folder / 'export.json'}: {error}") from None
        graphs = {name: folder / f"{name}.onnx" for name in ("encoder", "decoder")}
        if (folder / "draft.onnx").exists():
            graphs["draft"] = folder / "draft.onnx"
        for path in graphs.values():
            if not path.is_file():
                raise unreadable(path, "an ONNX graph", advice=_AGAIN)
        backend = cls(shape, arrays, graphs, threads=threads)
        backend._check_graphs(graphs)
        return backend

    def _check_graphs(self, paths: dict[str, Path]) -> None:
        """Raise `InputError` for a graph that is another's, by its inputs and their sizes."""
        shape = self.config
        heads, width = shape.decoder_heads, shape.width // shape.decoder_heads
        for name, path in paths.items():
            wanted: dict[str, list[int]] = {"embeds": [shape.width], "mask": []}
            if name != "encoder":
                caches = [f"{kind}_{n}" for n in self._caches for kind in ("self", "cross")]
                wanted |= {"last": [], "total": [1]} | dict.fromkeys(caches, [heads, width])
            found = {
                value.name: [size for size in value.shape if isinstance(size, int)]
                for value in self._sessions[name].get_inputs()
            }
            if found != wanted:
                raise InputError(f"{path}: is no {name} of this student; {_AGAIN}")

    @property
    def vocabulary(self) -> int:
        """How many tokens there are embeddings of."""
        return len(self._embeddings)

    @property
    def known(self) -> int:
        """How many users there are vectors of."""
        return len(self.vectors) - 1

    @property
    def positions(self) -> tuple[int, int]:
        """Tokens that encoder and decoder can take."""
        return len(self._positions[0]), len(self._positions[1])

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
        forbid: Forbid | None = None,
        **options: Any,
    ) -> list[list[int]]:
        """New tokens of each input, the end token included and the start token not.

        inputs: token ids, one list a sample. users: (batch,) rows of the user table. forbid: what
        may not come next, unless nothing else can. options: of `generate`, for the reference;
        without one, `InputError` for anything but greedy decoding.
        """
        greedy: dict[str, Any] = {"num_beams": 1, "do_sample": False}
        if any(name not in greedy or value != greedy[name] for name, value in options.items()):
            if self.reference is None:
                raise InputError(
                    f"backend {self.name!r} decodes greedily and does not know "
                    f"{', '.join(sorted(options))}; use Explainer.load(student, backend='torch')"
                )
            lengths = {"max_new_tokens": max_new_tokens, "min_new_tokens": min_new_tokens}
            return self.reference.generate(inputs, users, forbid=forbid, **lengths, **options)
        longest = max(map(len, inputs))
        check_lengths(longest, max_new_tokens, *self.positions)
        cross, mask = self._encode(inputs, users, longest)
        limits = max_new_tokens, min_new_tokens, forbid
        if "draft" in self._sessions and len(inputs) == 1:
            return [self._draft(cross, mask, limits)]
        return self._decode(cross, mask, limits)

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
        return self._sessions["encoder"].run(names, {"embeds": embeds, "mask": mask}), mask

    def _embed(self, ids: np.ndarray) -> np.ndarray:
        return self._embeddings[ids].astype(np.float32) * np.float32(self.config.embed_scale)

    def _decode(
        self, cross: list[np.ndarray], mask: np.ndarray, limits: _Limits
    ) -> list[list[int]]:
        """All texts of a batch, a token each at a time."""
        batch, longest = len(mask), limits[0]
        state = self._state("decoder", cross, mask, longest)
        tokens = np.full((batch, longest + 1), self.config.start)
        lengths = np.full(batch, longest)
        rows = np.arange(batch)  # of the texts in hand
        for step in range(longest):
            hidden, candidates = self._step(state, tokens[rows, step : step + 1], step)
            at = hidden[:, 0], candidates[:, 0], tokens[rows, : step + 1], rows
            chosen = self._choose(*at, *limits)
            tokens[rows, step + 1] = chosen
            ended = rows[np.isin(chosen, self.config.ends)]
            lengths[ended] = np.minimum(lengths[ended], step + 1)
            writing = lengths[rows] > step + 1
            if not writing.any():
                break
            if 2 * writing.sum() <= len(rows):  # put away what is finished once it is half the work
                rows = rows[writing]
                state.keep(writing)
        return [tokens[row, 1 : lengths[row] + 1].tolist() for row in range(batch)]

    def _draft(self, cross: list[np.ndarray], mask: np.ndarray, limits: _Limits) -> list[int]:
        """One text: the draft's tokens as far as the decoder, asked for all at once, agrees.

        What is written is the decoder's choice alone (Leviathan et al. 2023, for greedy text).
        """
        longest, alone = limits[0], np.zeros(1, np.int64)
        room = longest + DRAFT_TOKENS
        draft, decoder = (self._state(name, cross, mask, room) for name in ("draft", "decoder"))
        tokens, checks = [self.config.start], 0
        drafted_to = 0  # the draft's cache holds so many tokens
        while True:
            guess = list(tokens)
            for _ in range(min(DRAFT_TOKENS, longest - len(tokens))):
                hidden, candidates = self._step(draft, np.array([guess[drafted_to:]]), drafted_to)
                drafted_to = len(guess)
                at = hidden[:, -1], candidates[:, -1], np.array([guess]), alone
                guess.append(int(self._choose(*at, *limits)[0]))
                if guess[-1] in self.config.ends:
                    break
            known = len(tokens) - 1
            hidden, candidates = self._step(decoder, np.array([guess[known:]]), known)
            checks += 1
            for place in range(len(guess) - known):
                at = hidden[:, place], candidates[:, place], np.array([tokens]), alone
                tokens.append(int(self._choose(*at, *limits)[0]))
                if tokens[-1] in self.config.ends or len(tokens) > longest:
                    with self._counting:
                        self.drafted["tokens"] += len(tokens) - 1
                        self.drafted["checks"] += checks
                    return tokens[1:]
                if tokens != guess[: len(tokens)]:
                    break
            drafted_to = min(drafted_to, len(tokens) - 1)

    def _step(self, state: _State, ids: np.ndarray, past: int) -> tuple[np.ndarray, np.ndarray]:
        """As `_State.step`; candidates that rough scores named are put in their exact order."""
        embeds = self._embed(ids) + self._positions[1][past : past + ids.shape[1]]
        hidden, candidates = state.step(embeds, past)
        if state.rough:
            exact = self._embeddings[candidates].astype(np.float32)
            scores = np.einsum("bnkd,bnd->bnk", exact, hidden) + self._bias[candidates]
            order = np.argsort(-scores, axis=2, kind="stable")
            candidates = np.take_along_axis(candidates, order, axis=2)
        return hidden, candidates

    def _state(self, name: str, cross: list[np.ndarray], mask: np.ndarray, capacity: int) -> _State:
        rough = name == "draft" or self.config.precision != "float32"
        return _State(self._sessions[name], rough, self._caches, cross, mask, capacity)

    def _choose(
        self,
        hidden: np.ndarray,
        candidates: np.ndarray,
        written: np.ndarray,
        rows: np.ndarray,
        longest: int,
        shortest: int,
        forbid: Forbid | None,
    ) -> np.ndarray:
        """The next token of each text: the likeliest that is not forbidden.

        hidden (texts, d); candidates (texts, CANDIDATES) with the likeliest first; written
        (texts, step + 1), the start token included; rows (texts,): their numbers in the batch.
        """
        shape, step = self.config, written.shape[1] - 1
        if step == longest - 1 and shape.forced_last is not None:
            return np.full(len(hidden), shape.forced_last)
        if step == 0 and shape.forced_first is not None:
            return np.full(len(hidden), shape.forced_first)
        ends = shape.ends if step < shortest else []
        if not ends and not shape.no_repeat_ngram and forbid is None:
            return candidates[:, 0]
        chosen = np.empty(len(hidden), np.int64)
        for row, text in enumerate(written.tolist()):
            forbidden = np.array([*ends, *_repeating(text, shape.no_repeat_ngram)], np.int64)
            few = 0
            if forbid is not None:
                forbidden = np.concatenate([forbidden, forbid(rows[row], text[1:])])
                few = candidates.shape[1] // 2  # the best of the others may be no candidate
            allowed = candidates[row][~np.isin(candidates[row], forbidden)]
            if len(allowed) > few:
                chosen[row] = allowed[0]
            else:
                scores = self._embeddings @ hidden[row] + self._bias
                scores[forbidden] = -np.inf
                best = scores.argmax()
                chosen[row] = best if np.isfinite(scores[best]) else candidates[row, 0]
        return chosen


def _array(path: Path, width: int) -> np.ndarray:
    """A mapped file of numbers, (any, width), or (any,) for the output's bias."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        fits = values.dtype in (np.float32, np.float16) and len(values) > 0
        if not fits or values.shape[1:] != ((width,) if path.stem != "output_bias" else ()):
            raise ValueError(f"{values.dtype} of shape {values.shape}")
    except Exception as error:  # ValueError, EOFError and others, by what is wrong
        raise unreadable(path, f"numbers of width {width}", error, _AGAIN) from error
    return values


class _State:
    """A decoder in the middle of texts: its caches, one entry a token, bound to its session."""

    def __init__(
        self,
        session: Any,
        rough: bool,
        names: list[str],
        cross: list[np.ndarray],
        mask: np.ndarray,
        capacity: int,
    ) -> None:
        self._session, self._names, self._cross, self._mask = session, names, cross, mask
        self.rough = rough  # whether the graph scores tokens only roughly
        batch, heads, _, width = cross[0].shape
        empty = np.zeros((batch, heads, capacity, width), np.float32)
        self._own = [onnxruntime.OrtValue.ortvalue_from_numpy(empty.copy()) for _ in names]
        self._bind()

    def _bind(self) -> None:
        """Caches as inputs, and those of self-attention as outputs in the same memory."""
        self._binding = self._session.io_binding()
        self._binding.bind_cpu_input("mask", self._mask)
        for name, held, seen in zip(self._names, self._own, self._cross, strict=True):
            self._binding.bind_cpu_input(f"cross_{name}", seen)
            self._binding.bind_ortvalue_input(f"self_{name}", held)
            self._binding.bind_ortvalue_output(f"new_{name}", held)

    def step(self, embeds: np.ndarray, past: int) -> tuple[np.ndarray, np.ndarray]:
        """hidden (batch, new, d) and candidates (batch, new, CANDIDATES), the likeliest first.

        embeds: (batch, new, d). past: tokens whose entries stand; later ones are overwritten.
        """
        total = past + embeds.shape[1]
        last, whole = np.full(len(embeds), total - 1, np.int32), np.array([total], np.int32)
        # Named, not passed as they are made: a binding does not keep what it points to alive.
        for name, values in (("embeds", embeds), ("last", last), ("total", whole)):
            self._binding.bind_cpu_input(name, values)
        for name in ("hidden", "candidates"):  # the last two outputs; their size follows `new`
            self._binding.bind_output(name)
        self._session.run_with_iobinding(self._binding)
        hidden, candidates = (value.numpy() for value in self._binding.get_outputs()[-2:])
        return hidden, candidates

    def keep(self, rows: np.ndarray) -> None:
        """Go on with these texts only; rows: (batch,) truth values."""
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        self._own = [value(held.numpy()[rows]) for held in self._own]
        self._cross, self._mask = [held[rows] for held in self._cross], self._mask[rows]
        self._bind()


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
