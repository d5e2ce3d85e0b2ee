"""A trained student's folder: weights, tokenizer, settings, learning curve and its model card.

Left out: how each kind reads its folder again, which is its `load`.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from .inputs import StudentSettings

CURVE = "learning_curve.parquet"


def save(
    folder: Path,
    model: Any,
    tokenizer: Any,
    users: Any,
    settings: StudentSettings,
    curve: pd.DataFrame,
    recipe: Any,
    facts: dict[str, Any],
) -> None:
    """Save a trained student of any kind and begin its model card anew.

    users: a `UserTable`, or another table that has `save`. curve: its learning curve. facts: for
    the card, beside parameters, loss, settings and recipe.
    """
    for part in (model, tokenizer):
        part.save_pretrained(folder)
    for part in (users, settings):
        part.save(folder)
    curve.to_parquet(folder / CURVE, index=False)
    (folder / "card.json").unlink(missing_ok=True)
    known = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "best validation loss, nats a token": round(float(curve["valid_loss"].min()), 4),
        **dataclasses.asdict(settings),
        **dataclasses.asdict(recipe),
    }
    write_card(folder, {**facts, **known})


_ABOUT = {
    "prism": "BART with a vector of the user added to its encoder's input embeddings "
    "(arXiv 2511.16543)",
    "att2seq": "a recurrent decoder that starts from, and attends over, vectors of user and item "
    "(Dong et al. 2017)",
    "pepler": "GPT-2 prompted by a vector of the user and one of the item (Li et al. 2023)",
}


def write_card(folder: Path | str, facts: dict[str, Any]) -> None:
    """Add facts (name -> value), scores for instance, to the model card beside the weights.

    `card.json` keeps them, `README.md` shows them; a fact given again is replaced. The fact "kind"
    says which student it is; without it the card is Prism's.
    """
    path = Path(folder) / "card.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    facts = {**known, **facts}
    path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    kind = facts.get("kind", "prism")
    if kind == "prism":
        usage = (
            "from prism_utils.decoding import Explainer\n\n"
            'explainer = Explainer.load("path/to/this/folder")\n'
            'print(explainer.explain(history=["…"], item="…", user_id="…").text)\n'
        )
    else:
        usage = (
            "from prism_utils import students\n\n"
            'system = students.load("path/to/this/folder")\n'
            "print(system.explain(samples))\n"
        )
    (path.parent / "README.md").write_text(
        "---\nlibrary_name: transformers\nlicense: apache-2.0\ntags: [explainable-recommendation]\n"
        f"---\n\n# {kind.capitalize()} student\n\nExplains a recommendation; {_ABOUT[kind]}. "
        "It was trained on a teacher's explanations and repeats their limits: check what it says "
        f"about items before people read it.\n\n```python\n{usage}```\n\n"
        f"| fact | value |\n|---|---|\n{rows}\n",
        encoding="utf-8",
    )
