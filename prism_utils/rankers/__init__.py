"""The Ranking Stage: objects with `fit(interactions)` and `recommend(user_ids, k)`, and their test.

Popularity and EASE are computed here, neighbours and factors come from the library `implicit` (the
extra `rankers`), a file of ranks from any other system. Ratings and times are not looked at: an
interaction is a sign of interest. Left out on purpose: tuning, side information and sampled tests.
"""

from __future__ import annotations

import inspect
from typing import Any

from ..errors import InputError, nearest
from .base import Ranker, with_evidence
from .ease import Ease
from .evaluation import evaluate, held_out_scores
from .from_implicit import Als, Bpr, ItemCF
from .popularity import Popularity
from .recorded import Recorded, from_file

__all__ = ["RANKERS", "Ranker", "Recorded", "evaluate", "from_file", "held_out_scores"]
__all__ += ["make_ranker", "with_evidence"]

RANKERS = {kind.name: kind for kind in (Popularity, ItemCF, Ease, Als, Bpr)}


def make_ranker(name: str, **options: Any) -> Any:
    """A ranker by name: popularity, item_cf, ease, als or bpr, with its own options.

    Raises `InputError` for an unknown name or option, with the nearest right one, and where the
    library that it needs is not installed.

    >>> import pandas as pd
    >>> seen = pd.DataFrame({"user_id": list("uuvw"), "item_id": list("abbb")})
    >>> make_ranker("popularity").fit(seen).recommend(["v"])
      user_id item_id  rank  score
    0       v       a     1    1.0
    """
    if not isinstance(name, str) or name not in RANKERS:
        raise InputError(f"ranker {name!r} is unknown: {nearest(str(name), RANKERS)}")
    kind: Any = RANKERS[name]
    own = list(inspect.signature(kind).parameters) if options else []
    for option in options:
        if option not in own:
            hint = nearest(option, own) if own else "it has none"
            raise InputError(f"ranker {name!r} has no option {option!r}: {hint}")
    return kind(**options)
