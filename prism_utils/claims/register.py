"""The register of judges: a claim of `paper.CLAIMS` has one function and the cell it points to."""

from __future__ import annotations

from collections.abc import Callable

from .evidence import Evidence, Finding

Judge = Callable[[Evidence], Finding]
JUDGES: dict[str, tuple[str, Judge]] = {}
#: Place of claims that are decided by the printed text alone: their own entry in the claims page.
CLAIMS_PAGE = "claims"


def claim(*names: str, chapter: str = CLAIMS_PAGE, label: str = "") -> Callable[[Judge], Judge]:
    """Register the function that judges a claim, and the cell that its evidence stands in."""

    def register(function: Judge) -> Judge:
        for name in names:
            where = f"evidence-{label}" if label else f"claim-{name}"
            JUDGES[name] = (f"{chapter}#{where}", function)
        return function

    return register
