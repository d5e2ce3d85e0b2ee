"""The fast GPU backend: a lean greedy loop over raw weights, replayed as CUDA graphs.

Everything a step needs lies in buffers of fixed size on the device, the step's number included, so
one recorded graph serves every step and the host only looks now and then whether all texts have
ended. Without a GPU the same functions run unrecorded, which is how they are tested. Left out:
n-gram rules, forbidden tokens, beams and sampling, which the reference answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .shape import check_lengths, shape_of
from .torch_backend import TorchBackend, cut

_LOOK_EVERY = 8  # steps between two looks at whether all texts have ended: each waits for the GPU
_SOURCE_STEP = 64  # inputs are padded to a multiple of this, so that few graphs serve all lengths
_GRAPHS_KEPT = 16


class GraphBackend:
    """Greedy decoding in the model's own precision; in float32 the tokens of `generate`."""

    name = "graph"

    def __init__(self, model: Any) -> None:
        self.reference = TorchBackend(model)
        self.model, self.config = model, model.config
        self.shape = shape_of(model, str(model.dtype).removeprefix("torch."))
        self._weights = {name: w.detach() for name, w in model.state_dict().items()}
        for side, number in (
            ("encoder", self.shape.encoder_layers),
            ("decoder", self.shape.decoder_layers),
        ):
            for layer in range(number):
                self._pack(f"model.{side}.layers.{layer}.self_attn", "qkv")
                if side == "decoder":
                    self._pack(f"model.decoder.layers.{layer}.encoder_attn", "kv")
        self._users = model.user_vectors().detach() if self.shape.placement != "none" else None
        self._kept: dict[tuple[int, int, int], _Buffers] = {}
        # Threads take turns: they share the buffers, and nothing else may run on the device while
        # a graph is recorded. The device does one thing at a time anyway.
        self._turn = threading.Lock()

    def _pack(self, attention: str, parts: str) -> None:
        """One matrix in the place of several that read the same input."""
        for what in ("weight", "bias"):
            together = [self._weights[f"{attention}.{k}_proj.{what}"] for k in parts]
            self._weights[f"{attention}.{parts}.{what}"] = torch.cat(together)

    @torch.inference_mode()
    def generate(
        self,
        inputs: Sequence[Sequence[int]],
        users: np.ndarray,
        *,
        max_new_tokens: int,
        min_new_tokens: int = 0,
        **options: Any,
    ) -> list[list[int]]:
        """New tokens of each input, the end token included; `generate` does all but greedy text."""
        greedy: dict[str, Any] = {"num_beams": 1, "do_sample": False}
        other = any(name not in greedy or value != greedy[name] for name, value in options.items())
        with self._turn:
            if other or self.shape.no_repeat_ngram:
                lengths = {"max_new_tokens": max_new_tokens, "min_new_tokens": min_new_tokens}
                return self.reference.generate(inputs, users, **lengths | options)
            return self._greedy(inputs, users, max_new_tokens, min_new_tokens)

    def _greedy(
        self,
        inputs: Sequence[Sequence[int]],
        users: np.ndarray,
        max_new_tokens: int,
        min_new_tokens: int,
    ) -> list[list[int]]:
        longest = max(map(len, inputs))
        positions, _ = self.reference.positions
        check_lengths(longest, max_new_tokens, *self.reference.positions)
        batch = 1 << (len(inputs) - 1).bit_length()
        source = min(-(-longest // _SOURCE_STEP) * _SOURCE_STEP, positions)
        held = self._buffers(batch, source, max_new_tokens)
        held.fill(inputs, users, min_new_tokens)
        held.encode()
        for step in range(max_new_tokens):
            held.step()
            if step % _LOOK_EVERY == _LOOK_EVERY - 1 and bool(held.ended.all()):
                break
        written = held.tokens[: len(inputs), 1:].tolist()
        return [cut(row, set(self.shape.ends)) for row in written]

    def _buffers(self, batch: int, source: int, capacity: int) -> _Buffers:
        size = (batch, source, capacity)
        if size not in self._kept:
            if len(self._kept) >= _GRAPHS_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[size] = _Buffers(self, *size)
        return self._kept[size]

    # The network, as functions of raw weights: x is (batch, tokens, d).

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight = self._weights[f"{name}.weight"]
        return F.layer_norm(x, weight.shape, weight, self._weights[f"{name}.bias"])

    def _attend(
        self, x: torch.Tensor, name: str, parts: Sequence[torch.Tensor], mask: torch.Tensor
    ) -> torch.Tensor:
        """Residual and norm included; parts: query, key, value (batch, heads, tokens, width)."""
        query, key, value = parts
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        seen = self._linear(seen.transpose(1, 2).flatten(2), f"{name}.out_proj")
        return self._norm(x + seen, f"{name}_layer_norm")

    def _feed_forward(self, x: torch.Tensor, layer: str) -> torch.Tensor:
        inner = F.gelu(self._linear(x, f"{layer}.fc1"))
        return self._norm(x + self._linear(inner, f"{layer}.fc2"), f"{layer}.final_layer_norm")

    def _heads(self, packed: torch.Tensor, heads: int, parts: int) -> Sequence[torch.Tensor]:
        """(batch, tokens, parts * d) -> parts times (batch, heads, tokens, width)."""
        return packed.unflatten(2, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        return F.embedding(ids, self._weights["model.shared.weight"]) * self.shape.embed_scale


class _Buffers:
    """What lies on the device for one size of batch, and the two functions that work on it."""

    def __init__(self, backend: GraphBackend, batch: int, source: int, capacity: int) -> None:
        self._of, shape = backend, backend.shape
        device, dtype = backend.model.device, backend.model.dtype
        whole = {"dtype": torch.long, "device": device}
        self.ids = torch.full((batch, source), shape.pad, **whole)
        self.mask = torch.ones((batch, 1, 1, source), dtype=torch.bool, device=device)
        self.users = torch.zeros(batch, **whole)
        self.tokens = torch.full((batch, capacity + 1), shape.pad, **whole)
        self.ended = torch.zeros(batch, dtype=torch.bool, device=device)
        self.at = torch.zeros(1, **whole)  # the step's number
        self.shortest = torch.zeros(1, **whole)
        self._places = torch.arange(capacity, device=device)
        self._ends = torch.tensor(shape.ends, device=device)
        heads, width = shape.decoder_heads, shape.width // shape.decoder_heads
        kinds = {"dtype": dtype, "device": device}
        layers = range(shape.decoder_layers)
        self._own = [torch.zeros((2, batch, heads, capacity, width), **kinds) for _ in layers]
        self._cross = [torch.zeros((2, batch, heads, source, width), **kinds) for _ in layers]
        self.encode = self._recorded(self._encode)
        self.step = self._recorded(self._step)

    def _recorded(self, function: Callable[[], None]) -> Callable[[], None]:
        if self.ids.device.type != "cuda":
            return function
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries set themselves up outside the recording
            for _ in range(3):
                self.at.zero_()
                function()
        torch.cuda.current_stream().wait_stream(side)
        self.at.zero_()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            function()
        return graph.replay

    def fill(self, inputs: Sequence[Sequence[int]], users: np.ndarray, shortest: int) -> None:
        """Put a request in; rows beyond it hold a repetition of its first sample."""
        batch, source = self.ids.shape
        ids = np.full((batch, source), self._of.shape.pad)
        lengths = np.full((batch, 1), len(inputs[0]))
        for row in range(batch):
            tokens = inputs[row] if row < len(inputs) else inputs[0]
            ids[row, : len(tokens)] = tokens
            lengths[row] = len(tokens)
        self.ids.copy_(torch.from_numpy(ids))
        mask = np.arange(source) < lengths
        self.mask.copy_(torch.from_numpy(mask)[:, None, None])
        rows = np.resize(np.asarray(users, dtype=np.int64), batch)
        rows[len(inputs) :] = rows[0]
        self.users.copy_(torch.from_numpy(rows))
        self.tokens.fill_(self._of.shape.pad)
        self.tokens[:, 0] = self._of.shape.start
        self.ended.zero_()
        self.at.zero_()
        self.shortest.fill_(shortest)

    def _encode(self) -> None:
        of, shape = self._of, self._of.shape
        x = of._embed(self.ids)
        if of._users is not None:  # equation 5
            vectors = F.embedding(self.users, of._users)[:, None]
            if shape.placement == "user_token":
                marked = torch.eq(self.ids, shape.user_token_id or 0)
                vectors = vectors * marked[..., None]
            x = x + vectors
        positions = of._weights["model.encoder.embed_positions.weight"][2 : 2 + self.ids.shape[1]]
        x = of._norm(x + positions, "model.encoder.layernorm_embedding")
        for number in range(shape.encoder_layers):
            layer = f"model.encoder.layers.{number}"
            packed = of._linear(x, f"{layer}.self_attn.qkv")
            parts = of._heads(packed, shape.encoder_heads, 3)
            x = of._attend(x, f"{layer}.self_attn", parts, self.mask)
            x = of._feed_forward(x, layer)
        for number, cross in enumerate(self._cross):
            packed = of._linear(x, f"model.decoder.layers.{number}.encoder_attn.kv")
            for held, part in zip(cross, of._heads(packed, shape.decoder_heads, 2), strict=True):
                held.copy_(part)

    def _step(self) -> None:
        of, shape = self._of, self._of.shape
        last = self.tokens.index_select(1, self.at)
        positions = of._weights["model.decoder.embed_positions.weight"]
        x = of._embed(last) + positions.index_select(0, self.at + 2)
        x = of._norm(x, "model.decoder.layernorm_embedding")
        past = torch.le(self._places, self.at)[None, None, None]
        for number, (own, cross) in enumerate(zip(self._own, self._cross, strict=True)):
            layer = f"model.decoder.layers.{number}"
            packed = of._linear(x, f"{layer}.self_attn.qkv")
            query, *new = of._heads(packed, shape.decoder_heads, 3)
            for held, part in zip(own, new, strict=True):
                held.index_copy_(2, self.at, part)
            x = of._attend(x, f"{layer}.self_attn", (query, *own.unbind(0)), past)
            asked = of._linear(x, f"{layer}.encoder_attn.q_proj")
            (query,) = of._heads(asked, shape.decoder_heads, 1)
            x = of._attend(x, f"{layer}.encoder_attn", (query, *cross.unbind(0)), self.mask)
            x = of._feed_forward(x, layer)
        scores = F.linear(x[:, 0], of._weights["lm_head.weight"]) + of._weights["final_logits_bias"]
        early = (self.at < self.shortest).to(scores.dtype)
        # An end token before the shortest length: out of reach, yet finite, so that 0 times is 0.
        scores.index_add_(1, self._ends, -1e4 * early.expand(len(scores), len(self._ends)))
        chosen = scores.argmax(dim=1)
        if shape.forced_first is not None:
            chosen = torch.where(self.at == 0, shape.forced_first, chosen)
        if shape.forced_last is not None:
            chosen = torch.where(self.at == len(self._places) - 1, shape.forced_last, chosen)
        chosen = torch.where(self.ended, shape.pad, chosen)
        self.tokens.index_copy_(1, self.at + 1, chosen[:, None])
        self.ended.logical_or_(torch.eq(chosen[:, None], self._ends).any(dim=1))
        self.at.add_(1)
