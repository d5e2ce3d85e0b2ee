"""The online stage: a trained student behind one object that explains recommendations.

`Explainer` holds weights, tokenizer, users and catalogue, writes the student's prompt and decodes
in batches of like length. It never raises for an unknown user, title or an empty history: the
paper's section 4.4 asks for graceful degradation, and the answer says what was unknown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm
from transformers import AutoTokenizer

from . import tables
from .errors import InputError
from .prompts import render_prompts
from .students.inputs import StudentSettings, UserTable, encode_inputs, token_counter
from .students.prism import UNKNOWN_USER, PrismForConditionalGeneration


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
        model: PrismForConditionalGeneration,
        tokenizer: Any,
        users: UserTable,
        settings: StudentSettings,
        items: pd.DataFrame,
        *,
        name: str = "prism",
        batch_size: int = 64,
        progress: bool = False,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.users = users
        self.settings = settings
        self.items = items
        self.name = name
        self.batch_size = batch_size
        self.progress = progress
        self._item_ids = frozenset(items["item_id"])

    @classmethod
    def load(cls, path: Path | str, *, device: str | None = None, **options: Any) -> Explainer:
        """Load what `finetuning.finetune` saved at `path`, by default onto a GPU if there is one.

        options: name, batch_size, progress. Raises `InputError` if the folder is not a student, or
        its user table and weights do not belong together.
        """
        folder = Path(path)
        settings = StudentSettings.load(folder)
        model = PrismForConditionalGeneration.from_pretrained(folder)
        users = UserTable.load(folder)
        if model.config.placement != "none" and model.config.num_users != len(users):
            raise InputError(
                f"{folder / 'users.parquet'}: {len(users)} users, but the weights have "
                f"{model.config.num_users}; both must come from the same training"
            )
        items = pd.DataFrame({"item_id": [], "title": []}, dtype="object")
        if (folder / "items.parquet").is_file():
            items = tables.read_table(folder / "items.parquet", "items")
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        tokenizer = AutoTokenizer.from_pretrained(folder, config=model.config)
        model.to(target)  # type: ignore[arg-type]
        return cls(model, tokenizer, users, settings, items, **options)

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

    @torch.inference_mode()
    def _explain(self, samples: pd.DataFrame, generation: Mapping[str, Any]) -> list[Explanation]:
        prompts = render_prompts(
            samples,
            self.items,
            template=self.settings.template,
            noun=self.settings.noun,
            max_history=self.settings.max_history,
            mark_evidence=self.settings.mark_evidence,
            count_tokens=token_counter(self.tokenizer),
            max_tokens=self.settings.max_input_tokens,
        )
        inputs = encode_inputs(
            self.tokenizer, prompts["prompt"].tolist(), self.model.config, self.settings
        )
        user_rows = self.users.rows(samples["user_id"].tolist())
        # Like lengths share a batch: padding is wasted work.
        order = np.argsort([-len(ids) for ids in inputs], kind="stable")
        texts: list[str] = [""] * len(inputs)
        tokens = [0] * len(inputs)
        starts = range(0, len(order), self.batch_size)
        for start in tqdm(starts, disable=not self.progress, desc=self.name, unit="batch"):
            batch = order[start : start + self.batch_size]
            padded = self.tokenizer.pad(
                {"input_ids": [inputs[i] for i in batch]}, return_tensors="pt"
            ).to(self.model.device)
            output = self.model.generate(
                input_ids=padded["input_ids"],
                attention_mask=padded["attention_mask"],
                user_ids=torch.as_tensor(user_rows[batch], device=self.model.device),
                **{
                    "max_new_tokens": self.settings.max_new_tokens,
                    "num_beams": 1,
                    "do_sample": False,
                    **generation,
                },
            )
            decoded = self.tokenizer.batch_decode(output, skip_special_tokens=True)
            lengths = (output != self.tokenizer.pad_token_id).sum(dim=1).tolist()
            for i, text, length in zip(batch, decoded, lengths, strict=True):
                texts[i], tokens[i] = text.strip(), length
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
