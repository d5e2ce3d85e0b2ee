"""The key of a blind rating study: who sees which explanation behind which code, in one file.

Forms are made from it and answers read with it, so that whatever it holds is checked here, once.
Left out on purpose: drawing and assigning (`design`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from json import dumps
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError, nearest
from .checks import check_name, plain, read_json, short, whole, write_whole

KEY_FORMAT = 1

#: The key's tables and what their columns hold.
COLUMNS: dict[str, dict[str, type]] = {
    "assignment": {"rater_id": str, "number": int, "code": str, "sample_id": str, "system": str},
    "explanations": {"sample_id": str, "system": str, "text": str},
    "samples": {"sample_id": str, "history": list, "item_id": str},
    "items": {"item_id": str, "label": str, "facts": str},
}
# What may stand in a table only once.
_KEYS = {
    "assignment": (["code"], ["rater_id", "number"], ["rater_id", "sample_id", "system"]),
    "explanations": (["sample_id", "system"],),
    "samples": (["sample_id"],),
    "items": (["item_id"],),
}
_KINDS = {str: "text", int: "a whole number", list: "a list of text"}
_SHOWN = ("text", "label", "facts")  # where half a character may become U+FFFD; ids may not change


@dataclass(frozen=True)
class Study:
    """A blind rating study: everything that forms are made from and that answers are read with.

    `assignment`: one row for every explanation that a rater sees (rater_id, number from 1 in the
    rater's own order, code, sample_id, system). `explanations`: sample_id, system, text.
    `samples`: sample_id, history (item_ids, oldest first), item_id. `items`: item_id, label (title
    and year), facts (text). `save` writes the key file: whoever has it can unblind the study.
    Raises `InputError` where the tables do not fit each other, and for names of the study or of
    raters that cannot name files.
    """

    name: str
    noun: str
    seed: int
    assignment: pd.DataFrame
    explanations: pd.DataFrame
    samples: pd.DataFrame
    items: pd.DataFrame

    def __post_init__(self) -> None:
        check_name("study name", self.name)
        if not isinstance(self.noun, str) or not self.noun.strip():
            raise InputError(f"noun {short(self.noun)}: give the word for an item, such as film")
        whole("seed", self.seed, 0)
        for table, columns in COLUMNS.items():
            self._check_table(table, columns)
        strange = ~self.assignment["code"].str.fullmatch("[a-z]{4,32}").to_numpy(dtype=bool)
        if strange.any():
            found = short(self.assignment["code"].iloc[int(strange.argmax())])
            raise InputError(f"assignment: row {int(strange.argmax()) + 1}: no code, {found}")
        shown, ids = self.samples, ["sample_id", "system"]
        asked = pd.MultiIndex.from_frame(self.assignment[ids])
        if not asked.isin(pd.MultiIndex.from_frame(self.explanations[ids])).all():
            raise InputError("assignment: a rater is given what 'explanations' lacks")
        if not self.assignment["sample_id"].isin(shown["sample_id"]).all():
            raise InputError("assignment: a rater is given what 'samples' lacks")
        if lost := {*shown["item_id"]}.union(*shown["history"]) - {*self.items["item_id"]}:
            raise InputError(
                f"items: no row for item_id {short(min(lost))}, which a sample of the study shows"
            )
        for rater_id, mine in self.assignment.groupby("rater_id")["number"]:
            check_name("rater", rater_id)
            if sorted(mine) != list(range(1, len(mine) + 1)):
                raise InputError(f"assignment: the numbers of rater {rater_id} do not go from 1 up")
        if not self.raters or len({name.casefold() for name in self.raters}) < len(self.raters):
            raise InputError("assignment: need raters whose ids differ in more than case")

    def _check_table(self, table: str, columns: dict[str, type]) -> None:
        frame = getattr(self, table)
        for column, kind in columns.items():
            for row, value in enumerate(frame[column], start=1):
                parts = value if kind is list else [value]
                wanted = str if kind is list else kind
                if not isinstance(parts, list) or not all(
                    isinstance(each, wanted) and not isinstance(each, bool) for each in parts
                ):
                    raise InputError(
                        f"{table}: row {row}: '{column}' must be {_KINDS[kind]}, "
                        f"found {short(value)}"
                    )
                if kind is not int and column not in _SHOWN and list(map(plain, parts)) != parts:
                    raise InputError(
                        f"{table}: row {row}: '{column}' holds half a character, {short(value)}"
                    )
        for key in _KEYS[table]:
            if (twice := frame.duplicated(key).to_numpy()).any():
                row = int(twice.argmax())
                found = ", ".join(f"{name} {short(frame[name].iloc[row])}" for name in key)
                raise InputError(f"{table}: row {row + 1}: duplicate {found}")

    @property
    def raters(self) -> list[str]:
        """The raters' ids, in order."""
        return sorted(self.assignment["rater_id"].unique())

    def of(self, rater_id: str) -> pd.DataFrame:
        """The rows of one rater in the order in which they are shown."""
        if rater_id not in self.raters:
            hint = nearest(str(rater_id), self.raters)
            raise InputError(f"study '{self.name}' has no rater {short(rater_id)}: {hint}")
        rows = self.assignment[self.assignment["rater_id"] == rater_id]
        return rows.sort_values("number").reset_index(drop=True)

    def save(self, path: str | Path) -> Path:
        """Write the key file (JSON), whole or not at all."""
        content = {"format": KEY_FORMAT, "name": self.name, "noun": self.noun}
        tables = {name: getattr(self, name).to_dict("list") for name in COLUMNS}
        content["seed"] = int(self.seed)
        return write_whole(Path(path), dumps(content | tables, ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read a key file; `InputError` where it is none, or was damaged."""
        path = Path(path)
        what = "a key file of a study, as `design` writes it"
        content = read_json(path, what)
        if content.setdefault("format", KEY_FORMAT) != KEY_FORMAT:
            raise InputError(
                f"{path}: key format {short(content['format'])}, this version reads {KEY_FORMAT}; "
                "use the version that made the study"
            )
        try:
            whose = {field: content.get(field) for field in ("name", "noun", "seed")}
            tables = {name: _frame(content.get(name), name) for name in COLUMNS}
            study = cls(**whose, **tables)  # type: ignore[arg-type]  # looked at when it is made
            return replace(study, **{name: tables[name].infer_objects() for name in COLUMNS})
        except InputError as error:
            raise InputError(f"{path}: not {what} ({error})") from error


def _frame(columns: Any, table: str) -> pd.DataFrame:
    """A table of the key from its lists; `InputError` where a column is missing or shorter."""
    lists: dict[str, list] = {}
    for name in COLUMNS[table]:
        values = columns.get(name) if isinstance(columns, dict) else None
        if not isinstance(values, list) or any(len(values) != len(each) for each in lists.values()):
            raise InputError(f"{table}: '{name}' is missing or not as long as the other columns")
        lists[name] = values
    return pd.DataFrame(lists, dtype=object)
