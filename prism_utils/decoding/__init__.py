"""The online stage: a trained student behind one object that explains recommendations.

`Explainer` holds a backend (who decodes), tokenizer, users and catalogue, writes the prompt and
decodes in batches of like length. It never raises for an unknown user, title or an empty history:
the paper's section 4.4 asks for graceful degradation, and the answer says what was unknown.
Importing it, or loading an exported student, imports neither torch nor transformers.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..errors import InputError, nearest
from ..prompts import PromptWriter
from ..students.folders import check_vocabulary, load_tokenizer
from ..students.inputs import (
    UNKNOWN_USER,
    Reader,
    StudentSettings,
    UserTable,
    check_parts,
    encode_inputs,
    read_parts,
    token_counter,
    whole,
)
from ..students.options import judged, options
from .asked import Asked, of_requests, of_samples

if TYPE_CHECKING:  # what reads texts is loaded when a receipt is first asked for
    from ..metrics.receipts import Audit, Auditor
    from .audit import Receipts
    from .titles import ShownTitles

BACKENDS = ("auto", "torch", "onnx", "onnx-mixed", "onnx-int8", "graph")
DTYPES = ("float32", "bfloat16", "float16")
TITLES = ("any", "shown")
_OPTIONS = ("name", "batch_size", "progress")


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
        """New tokens of each input (token ids), the end token included; users: (batch,) rows.

        options: of `generate`, and for `titles="shown"` a `forbid` (`shape.Forbid`).
        """


@dataclasses.dataclass(frozen=True)
class Explanation:
    """One explanation, and what is known about it.

    user_known: False if the user's vector is the zero vector (section 4.4). item_known: the item is
    in the catalogue, by its id or its title, in whatever case and composition. shown: history items
    in the prompt. dropped: history items that the token budget pushed out. tokens: length of the
    text in tokens. item_cut: the budget does not hold the item's title, the student saw its
    beginning and no history. facts_dropped: attributes that the budget pushed out after the history
    (`prompts.FACTS`). audit: its claims, where they were asked for. fallback: "retry" or "floor"
    where the text took the place of one with an unsupported claim.
    """

    text: str
    user_known: bool
    item_known: bool
    shown: int
    dropped: int
    tokens: int
    item_cut: bool = False
    facts_dropped: int = 0
    audit: Audit | None = None
    fallback: str = ""


class Explainer:
    """A trained student, ready to explain; has `name` and `explain` as every system has.

    Threads may share one: each request is answered as if it were asked alone.
    """

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
        """model: a `PrismForConditionalGeneration`, or a backend that holds one.

        name: the system's. batch_size: texts written at a time, at most. progress: show a bar.
        """
        if not isinstance(getattr(model, "name", None), str):
            from .torch_backend import TorchBackend

            model = TorchBackend(model)
        self.backend: Backend = model
        self.tokenizer = tokenizer
        self.users = users
        self.settings = settings
        self.items = items
        self.name = name
        self.batch_size = whole("batch_size", batch_size, 1)
        self.progress = progress
        self._reader = Reader.of(tokenizer)
        self._writer = PromptWriter(
            items, template=settings.template, noun=settings.noun, facts=settings.facts
        )

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
        Raises `InputError` if the folder is no student, if one of its files is missing, damaged or
        of another training, for a backend that is unknown or not installed, and for a device that
        is not there.
        """
        for what, given, choices in (("backend", backend, BACKENDS), ("dtype", dtype, DTYPES)):
            if given not in choices:
                raise InputError(f"{what} {given!r} is unknown: {nearest(str(given), choices)}")
        for option in options:
            if option not in _OPTIONS:
                raise InputError(f"option {option!r} is unknown: {nearest(option, _OPTIONS)}")
        folder = Path(path)
        settings, users, items = read_parts(folder)
        parts = folder, settings, users
        held: Backend
        if any((folder / name).exists() for name in ("export.json", "encoder.onnx")):
            from .onnx_backend import OnnxBackend

            exported = OnnxBackend.load(folder)
            if backend not in ("auto", exported.name):
                raise InputError(
                    f"{folder}: exported for backend {exported.name!r}, not {backend!r}"
                )
            if device not in (None, "cpu") or dtype != "float32":
                raise InputError(f"{folder}: exported for the CPU; leave device and dtype out")
            check_parts(*parts, exported.config.placement, exported.known, exported.positions)
            tokenizer: Any = Reader.load(folder / "tokenizer.json")
            check_vocabulary(folder / "tokenizer.json", len(tokenizer), exported.vocabulary)
            held = exported
        else:
            from .torch_backend import TorchBackend

            reference = TorchBackend.load(folder, device, dtype)
            check_parts(*parts, reference.config.placement, reference.known, reference.positions)
            tokenizer = load_tokenizer(folder, reference.config)
            held = _fast(reference, backend)
        return cls(held, tokenizer, users, settings, items, **options)

    @property
    def model(self) -> Any:
        """The student as a torch module; an exported one has none."""
        return self.backend.model  # type: ignore[attr-defined]

    def explain(
        self,
        samples: pd.DataFrame | Iterable[Mapping[str, Any]] | None = None,
        *,
        history: Sequence[str] | None = None,
        item: str | None = None,
        user_id: str | None = None,
        evidence: Sequence[str] | None = None,
        titles: str = "any",
        audit: bool = False,
        unsupported: str = "keep",
        **generation: Any,
    ) -> Any:
        """Explain one recommendation, a list of them, or a samples table.

        - `explain(history=["Heat", "f012"], item="Alien", user_id="u1")` -> `Explanation`;
        - `explain([{"history": …, "item": …, "user_id": …}, …])` -> list of `Explanation`;
        - `explain(samples)` -> explanations table: sample_id, system, text, user_known, item_known,
          item_cut, tokens.

        History and item are ids of the catalogue or, where no such id is there, titles as text;
        user_id may be missing or unknown; evidence, for a student that was trained to see it
        marked, names history items. Lists may be arrays, Series and the like. An item whose title
        does not fit the student's budget is cut, and `item_cut` says so. titles: "shown" lets no
        text name a title of the catalogue but the item's and those of the whole history
        (`decoding.titles`); texts that name none are those of "any". `generation` goes to
        `generate` (`students.options`); the default is greedy.

        audit: give each answer its `Audit`, and a table the columns claims (JSON) and unsupported
        (how many are). unsupported: "keep" a text with an unsupported claim; "retry" with the
        likeliest of the model's other texts (beam search) that names the item and has none; or take
        the "floor", a sentence of what item and history share, which also answers where a retry
        finds none. The answer's `fallback`, a column too, says what was done.

        Raises `InputError`, with the request's number, for what is no request, and for options
        that are unknown, make no sense or change what comes back.
        """
        if not isinstance(titles, str) or titles not in TITLES:
            raise InputError(f"titles {titles!r} is unknown: {nearest(str(titles), TITLES)}")
        alone = {"history": history, "item": item, "user_id": user_id, "evidence": evidence}
        if unsupported != "keep" or audit:
            _ = self._auditor  # what it needs is missing, if so, before anything is written
        if unsupported != "keep":
            from .audit import check_choice

            check_choice(unsupported, self.backend)

        def answer(asked: Asked) -> list[Explanation]:
            return self._explain(asked, generation, titles, audit, unsupported)

        if samples is None:
            return answer(of_requests([alone]))[0]
        if given := [name for name, value in alone.items() if value is not None]:
            raise InputError(f"explain: {given[0]} stands beside samples; give one or the other")
        if not isinstance(samples, pd.DataFrame):
            return answer(of_requests(samples))
        answers = answer(of_samples(samples))
        columns = ["text", "user_known", "item_known", "item_cut", "tokens"]
        columns += ["fallback"] * (unsupported != "keep")
        table = {name: [getattr(answer, name) for answer in answers] for name in columns}
        if audit:
            audits = [answer.audit for answer in answers]
            claims = [[claim.as_dict() for claim in one.claims] for one in audits if one]
            table["claims"] = [json.dumps(one, ensure_ascii=False) for one in claims]
            table["unsupported"] = [len(one.unsupported) for one in audits if one]
        told = pd.DataFrame({"sample_id": samples["sample_id"].reset_index(drop=True), **table})
        told.insert(1, "system", self.name)
        return told

    def audit(self, text: str, *, history: Sequence[str] | None = None, item: str) -> Audit:
        """Every claim of a text and what supports it; history and item as `explain` takes them."""
        auditor = self._auditor
        from .audit import audit

        return audit(text, history, item, items=auditor)

    @cached_property
    def _auditor(self) -> Auditor:
        """Reads the catalogue once, for receipts and for `titles="shown"`."""
        try:
            from ..metrics.receipts import Auditor
        except ImportError as error:
            raise InputError(
                f"receipts and titles='shown' need {error.name}: pip install pyahocorasick"
            ) from error
        return Auditor(self.items, self.settings.noun)

    @cached_property
    def _receipts(self) -> Receipts:
        auditor = self._auditor
        from .audit import Receipts

        return Receipts(auditor, self.items, self.settings.noun)

    @cached_property
    def _shown(self) -> ShownTitles:
        auditor = self._auditor
        from .titles import ShownTitles

        return ShownTitles(auditor, self._reader)

    def _explain(
        self,
        asked: Asked,
        generation: Mapping[str, Any],
        titles: str,
        audit: bool,
        unsupported: str,
    ) -> list[Explanation]:
        settings, config = self.settings, self.backend.config
        given = options(generation, settings.max_new_tokens)
        prompts = self._writer.compose(
            asked.histories,
            asked.items,
            input_texts=asked.input_texts,
            evidence=asked.evidence,
            mark_evidence=settings.mark_evidence,
            max_history=settings.max_history,
            count_tokens=token_counter(self._reader, config),
            max_tokens=settings.max_input_tokens,
            cut_titles=True,
            name=asked.name,
        )
        inputs = encode_inputs(self._reader, prompts.texts, config, settings)
        rows = self.users.rows(asked.users)
        # Like lengths share a batch: padding is wasted work.
        order = sorted(range(len(inputs)), key=lambda i: -len(inputs[i]))
        texts: list[str] = [""] * len(inputs)
        tokens = [0] * len(inputs)

        def write(chosen: Sequence[int], **more: Any) -> list[list[int]]:
            with judged(given):
                return self.backend.generate(
                    [inputs[i] for i in chosen], rows[list(chosen)], **given, **more
                )

        def decode(written: list[list[int]]) -> list[str]:
            return self.tokenizer.batch_decode(written, skip_special_tokens=True)

        starts = range(0, len(order), self.batch_size)
        for start in tqdm(starts, disable=not self.progress, desc=self.name, unit="batch"):
            batch = order[start : start + self.batch_size]
            if titles == "any":
                output = write(batch)
                decoded = decode(output)
            else:
                output, decoded = self._shown.write(write, decode, batch, asked)
            for i, text, written in zip(batch, decoded, output, strict=True):
                texts[i], tokens[i] = text.strip(), len(written)
        known = [self._writer.knows(item) for item in asked.items]
        users = [bool(row != UNKNOWN_USER) for row in rows]
        lost = prompts.dropped, tokens, prompts.cut, prompts.facts_dropped
        of_each = (texts, users, known, prompts.shown, *lost)
        answers = [Explanation(*one) for one in zip(*of_each, strict=True)]
        if not audit and unsupported == "keep":
            return answers
        from .audit import candidates

        held = self.backend, self.tokenizer, self.batch_size
        answers = self._receipts.check(
            answers,
            asked,
            unsupported,
            lambda some: candidates(*held, [inputs[i] for i in some], rows[some], given),
            lambda text: len(self._reader([text], special=False)[0]) + 1,
        )
        return answers if audit else [dataclasses.replace(one, audit=None) for one in answers]


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
