"""What every system of this room is: a name and `explain`, fitted in one call of `students.fit`.

`Job` is what they are all fitted on, `BaseSystem` the table that they all answer with. Left out:
anything that one kind alone needs.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from ..tables import check
from .inputs import StudentSettings

if TYPE_CHECKING:
    from .training import Recipe


class System(Protocol):
    """A fitted system: an explainer with the curve of its training, None where nothing trains."""

    name: str
    curve: pd.DataFrame | None

    def explain(self, samples: pd.DataFrame) -> pd.DataFrame: ...


@dataclasses.dataclass(frozen=True)
class Job:
    """What a system of any kind is fitted on, and the folder that it is saved in."""

    train: pd.DataFrame
    valid: pd.DataFrame
    folder: Path
    items: pd.DataFrame
    settings: StudentSettings
    recipe: Recipe
    name: str
    progress: bool = False


class BaseSystem:
    """A system whose `_tell` knows the texts, and columns of its own beside them."""

    name: str
    curve: pd.DataFrame | None = None

    def explain(self, samples: pd.DataFrame, **generation: Any) -> pd.DataFrame:
        """Explanations of samples, in their order: sample_id, system, text and what is known."""
        check(samples, "samples")
        columns = {"sample_id": samples["sample_id"].to_numpy(), "system": self.name}
        return pd.DataFrame(columns | self._tell(samples, **generation))

    def _tell(self, samples: pd.DataFrame) -> dict[str, Any]:
        """Columns of the table, `text` first; samples are a samples table."""
        raise TypeError(f"{type(self).__name__} tells nothing")
