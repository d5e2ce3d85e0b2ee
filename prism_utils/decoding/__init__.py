"""The online stage: a trained student behind one object that explains recommendations.

`Explainer` holds a backend (who decodes), tokenizer, users and catalogue, writes the prompt and
decodes in batches of like length. It never raises for an unknown user, title or an empty history:
the paper's section 4.4 asks for graceful degradation, and the answer says what was unknown.
Importing it, or loading an exported student, imports neither torch nor transformers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from tqdm import tqdm

from .. import tables
from ..errors import InputError, nearest
from ..prompts import PromptWriter
from ..students.inputs import (
    UNKNOWN_USER,
    StudentSettings,
    UserTable,
    encode_inputs,
    token_counter,
)

BACKENDS = ("auto", "torch", "onnx", "onnx-mixed", "onnx-int8", "graph")
DTYPES = ("float32", "bfloat16", "float16")


class Backend(Protocol):
    """Who decodes: `torch_backend.TorchBackend` is the reference, the others write the same."""

    name: str
    config: Any  # has `placement`

    def generate(
        self,
        inputs: Sequence[Sequence[int]],
        users: np.ndarray,
        *,
        max_new_tokens: int,
        min_new_tokens: int = 0,
        **options: Any,
    ) -> list[list[int]]:
        """New tokens of each input (token ids), the end token included; users: (batch,) rows."""


@dataclasses.dataclass(frozen=True)
class Explanation:
    """One explanation, and what is known about it.

    user_known: False if the user's vector is the zero vector (section 4.4). item_known: the item is
    in the catalogue. shown: history items in the prompt. dropped: history items that the token
    budget pushed out. tokens: length of the text in tokens.
    """

    text: str
    user_known: bool
    item_known: bool
    shown: int
    dropped: int
    tokens: int


class Explainer:
    """A trained student, ready to explain; has `name` and `explain` as every system has."""

    curve: pd.DataFrame | None = None  # how it was trained, where `students` made or loaded it

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        users: UserTable,
        settings: StudentSettings,
        items: pd.DataFrame,
        *,
        name: str = "prism",
        batch_size: int = 64,
        progress: bool = False,
    ) -> None:
        """model: a `PrismForConditionalGeneration`, or a backend that holds one."""
        if not isinstance(getattr(model, "name", None), str):
            from .torch_backend import TorchBackend

            model = TorchBackend(model)
        self.backend: Backend = model
        self.tokenizer = tokenizer
        self.users = users
        self.settings = settings
        self.items = items
        self.name = name
        self.batch_size = batch_size
        self.progress = progress
        self._writer = PromptWriter(items, template=settings.template, noun=settings.noun)
        self._item_ids = frozenset(items["item_id"])

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        backend: str = "auto",
        device: str | None = None,
        dtype: str = "float32",
        **options: Any,
    ) -> Explainer:
        """Load what `training.finetune` saved or `python -m prism_utils.decoding export` wrote.

        backend, of a saved student: "torch" is transformers' `generate`, by default on a GPU if
        there is one. On a CPU, "onnx" (ONNX Runtime, float32) writes the same tokens faster,
        "onnx-mixed" (encoder in 8 bits) nearly the same faster still; "onnx-int8" is the smallest.
        "graph" is for a GPU: a loop of its own, replayed as CUDA graphs, in the weights' precision.
        "auto" takes "onnx" on a CPU where onnx and onnxruntime are installed, "torch" elsewhere,
        and "torch" again for what "onnx" cannot do (beams, sampling). An exported student has the
        backend that it was exported for.
        device: of "torch" and "graph". dtype: of their weights, "float32", "bfloat16" or "float16";
        another than "float32" makes "auto" take "torch". options: name, batch_size, progress.
        Raises `InputError` if the folder is no student, if its user table and weights do not
        belong together, or for a backend that is unknown or not installed.
        """
        folder = Path(path)
        settings = StudentSettings.load(folder)
        users = UserTable.load(folder)
        items = pd.DataFrame({"item_id": [], "title": []}, dtype="object")
        if (folder / "items.parquet").is_file():
            items = tables.read_table(folder / "items.parquet", "items")
        if backend not in BACKENDS:
            raise InputError(f"backend {backend!r} is unknown: {nearest(backend, BACKENDS)}")
        if dtype not in DTYPES:
            raise InputError(f"dtype {dtype!r} is unknown: {nearest(dtype, DTYPES)}")
        if (folder / "export.json").is_file():
            from .onnx_backend import OnnxBackend, RuntimeTokenizer

            exported = OnnxBackend.load(folder)
            if backend not in ("auto", exported.name):
                raise InputError(
                    f"{folder}: exported for backend {exported.name!r}, not {backend!r}"
                )
            _same_users(folder, users, len(exported.vectors) - 1, exported.config.placement)
            tokenizer: Any = RuntimeTokenizer(folder / "tokenizer.json")
            return cls(exported, tokenizer, users, settings, items, **options)
        from transformers import AutoTokenizer

        from .torch_backend import TorchBackend

        reference = TorchBackend.load(folder, device, dtype)
        config = reference.config
        _same_users(folder, users, config.num_users, config.placement)
        tokenizer = AutoTokenizer.from_pretrained(folder, config=config)
        held = _fast(reference, backend)
        return cls(held, tokenizer, users, settings, items, **options)

    @property
    def model(self) -> Any:
        """The student as a torch module; an exported one has none."""
        return self.backend.model  # type: ignore[attr-defined]

    def explain(
        self,
        samples: pd.DataFrame | Sequence[Mapping[str, Any]] | None = None,
        *,
        history: Sequence[str] | None = None,
        item: str | None = None,
        user_id: str | None = None,
        evidence: Sequence[str] | None = None,
        **generation: Any,
    ) -> Any:
        """Explain one recommendation, a list of them, or a samples table.

        - `explain(history=["Heat", "f012"], item="Alien", user_id="u1")` -> `Explanation`;
        - `explain([{"history": …, "item": …, "user_id": …}, …])` -> list of `Explanation`;
        - `explain(samples)` -> explanations table: sample_id, system, text, user_known, tokens.

        History and item are ids of the catalogue or, where no such id is there, titles as text;
        user_id may be missing or unknown; evidence, for a student that was trained to see it
        marked, names history items. `generation` goes to `generate`; the default is greedy.
        """
        if samples is None:
            request = {"history": history or [], "item": item, "user_id": user_id}
            request["evidence"] = evidence or []
            return self._requests([request], generation)[0]
        if not isinstance(samples, pd.DataFrame):
            return self._requests(samples, generation)
        tables.check(samples, "samples")
        answers = self._explain(samples, generation)
        return pd.DataFrame(
            {
                "sample_id": samples["sample_id"].to_numpy(),
                "system": self.name,
                "text": [a.text for a in answers],
                "user_known": [a.user_known for a in answers],
                "tokens": [a.tokens for a in answers],
            }
        )

    def _requests(
        self, requests: Sequence[Mapping[str, Any]], generation: Mapping[str, Any]
    ) -> list[Explanation]:
        rows = []
        for number, request in enumerate(requests, start=1):
            unknown = set(request) - {"history", "item", "user_id", "evidence"}
            if unknown:
                raise InputError(f"request {number}: unknown key {sorted(unknown)[0]!r}")
            if not request.get("item"):
                raise InputError(f"request {number}: 'item' is missing: an id or a title")
            if isinstance(request.get("history"), str):
                raise InputError(f"request {number}: 'history' must be a list of ids or titles")
            rows.append(
                {
                    "sample_id": str(number),
                    "user_id": "" if request.get("user_id") is None else str(request["user_id"]),
                    "history": [str(h) for h in request.get("history") or []],
                    "evidence": [str(e) for e in request.get("evidence") or []],
                    "item_id": str(request["item"]),
                    "split": "request",
                }
            )
        return self._explain(pd.DataFrame(rows), generation) if rows else []

    def _explain(self, samples: pd.DataFrame, generation: Mapping[str, Any]) -> list[Explanation]:
        prompts = self._writer.write(
            samples,
            max_history=self.settings.max_history,
            mark_evidence=self.settings.mark_evidence,
            count_tokens=token_counter(self.tokenizer),
            max_tokens=self.settings.max_input_tokens,
        )
        inputs = encode_inputs(
            self.tokenizer, prompts["prompt"].tolist(), self.backend.config, self.settings
        )
        user_rows = self.users.rows(samples["user_id"].tolist())
        # Like lengths share a batch: padding is wasted work.
        order = np.argsort([-len(ids) for ids in inputs], kind="stable")
        texts: list[str] = [""] * len(inputs)
        tokens = [0] * len(inputs)
        starts = range(0, len(order), self.batch_size)
        for start in tqdm(starts, disable=not self.progress, desc=self.name, unit="batch"):
            batch = order[start : start + self.batch_size]
            output = self.backend.generate(
                [inputs[i] for i in batch],
                user_rows[batch],
                **{"max_new_tokens": self.settings.max_new_tokens, **generation},
            )
            decoded = self.tokenizer.batch_decode(output, skip_special_tokens=True)
            for i, text, written in zip(batch, decoded, output, strict=True):
                texts[i], tokens[i] = text.strip(), len(written)
        return [
            Explanation(text, row != UNKNOWN_USER, item in self._item_ids, shown, dropped, length)
            for text, row, item, shown, dropped, length in zip(
                texts,
                user_rows.tolist(),
                samples["item_id"],
                prompts["shown"].tolist(),
                prompts["dropped"].tolist(),
                tokens,
                strict=True,
            )
        ]


def _same_users(folder: Path, users: UserTable, known: int, placement: str) -> None:
    if placement != "none" and known != len(users):
        raise InputError(
            f"{folder / 'users.parquet'}: {len(users)} users, but the weights have {known}; "
            "both must come from the same training"
        )


def _fast(reference: Any, backend: str) -> Backend:
    """What `backend` means for a student that is at hand as a torch module."""
    if backend == "torch":
        return reference
    if backend == "graph":
        from .graph_backend import GraphBackend

        return GraphBackend(reference.model)
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    plain = str(reference.model.dtype) == "torch.float32" and reference.model.device.type == "cpu"
    if backend == "auto" and (missing or not plain):
        return reference
    if missing:
        raise InputError(f"backend {backend!r} needs {' and '.join(missing)}: pip install it")
    from .export import from_model

    precision = backend.removeprefix("onnx-") if backend.startswith("onnx-") else "float32"
    try:
        return from_model(reference.model, precision, reference=reference)
    except InputError:
        if backend == "auto":  # a generation_config that only the reference knows
            return reference
        raise
