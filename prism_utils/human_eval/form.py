"""One self-contained HTML file per rater, as the paper's raters were guided (Appendix A.1 to A.3).

`form.html` is the page, `guide.json` its words: an example for each level of each dimension, and
ten samples for practice with feedback. Left out on purpose: a server, accounts and any library;
the file allows no script but its own, loads nothing, and holds one rater's explanations with
their codes, in the order of showing, and no name of a system.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..wording import plural, verbs
from .agreement import LIKERT
from .checks import check_output, plain, read_json, write_whole
from .key import Study
from .simulation import DIMENSIONS


def load_guide(path: str | Path | None = None) -> dict[str, Any]:
    """The guidelines: the package's own about films, or a JSON file of the same shape.

    `advice` (lines), `setting` (history and item of the examples), `dimensions` (for each:
    question, definition, low, high, and `levels`, five pairs of an example and why), and
    `calibration` (history, item, text, ratings, why). In questions, definitions and advice `{noun}`
    and `{do}` become the study's words. Raises `InputError` naming the part that does not fit.
    """
    source = Path(path) if path else Path(__file__).with_name("guide.json")
    guide = read_json(source, "a readable guide, as the package's guide.json")

    def need(holds: bool, what: str) -> None:
        if not holds:
            raise InputError(f"{source}: {what}; take the shape from the package's guide.json")

    def texts(value: Any, count: int | None = None) -> bool:
        right = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return right and count in (None, len(value))

    parts = {"advice": list, "setting": dict, "dimensions": dict, "calibration": list}
    for part, kind in parts.items():
        need(isinstance(guide.get(part), kind), f"'{part}' is missing or of another kind")
    need(texts(guide["setting"].get("history")), "'setting' needs a history, a list of titles")
    need(isinstance(guide["setting"].get("item"), str), "'setting' needs an item")
    need(texts(guide["advice"]), "'advice' must be a list of lines")
    need(
        set(guide["dimensions"]) == set(DIMENSIONS), f"'dimensions' must be {', '.join(DIMENSIONS)}"
    )
    for name, about in guide["dimensions"].items():
        need(isinstance(about, dict), f"dimension '{name}' must be a JSON object")
        for part in ("question", "definition", "low", "high"):
            need(isinstance(about.get(part), str), f"dimension '{name}' needs '{part}', a text")
        pairs = about.get("levels")
        need(
            isinstance(pairs, list) and len(pairs) == 5 and all(texts(pair, 2) for pair in pairs),
            f"dimension '{name}' needs five 'levels', each an example and why",
        )
    need(bool(guide["calibration"]), "'calibration' needs a sample for practice")
    for number, sample in enumerate(guide["calibration"], start=1):
        need(isinstance(sample, dict), f"calibration {number} must be a JSON object")
        for part in ("item", "text", "why"):
            need(isinstance(sample.get(part), str), f"calibration {number} needs '{part}', a text")
        need(texts(sample.get("history")), f"calibration {number} needs a history")
        ratings = sample.get("ratings")
        need(
            isinstance(ratings, dict)
            and set(ratings) == set(DIMENSIONS)
            and all(type(rating) is int and rating in LIKERT for rating in ratings.values()),
            f"calibration {number} needs a rating from 1 to 5 for each dimension",
        )
    return guide


def render(
    study: Study, rater_id: str, *, guide: dict[str, Any] | None = None, send_to: str = ""
) -> str:
    """The form of one rater as HTML text. `send_to` says where the finished file goes.

    Raises `InputError` for an unknown rater and for a study whose name says "simulated": what
    people answer would be taken for simulated.
    """
    if study.name.startswith("simulated"):
        raise InputError(
            f"study '{study.name}': this name marks simulated ratings; people's need another name"
        )
    past, participle, verb, _ = verbs(study.noun)
    rows = study.of(rater_id).merge(study.samples, on="sample_id", how="left")
    rows = rows.merge(study.explanations, on=["sample_id", "system"], how="left")
    places: dict[str, int] = {}  # of the items that this rater sees, in the order of showing

    def place(item_id: str) -> int:
        return places.setdefault(item_id, len(places))

    shown = [
        {"code": code, "history": [place(i) for i in history], "item": place(item), "text": text}
        for code, history, item, text in zip(
            rows["code"], rows["history"], rows["item_id"], rows["text"], strict=True
        )
    ]
    known = study.items.set_index("item_id").loc[list(places)]
    data: dict[str, Any] = {
        "study": study.name,
        "rater": rater_id,
        "noun": study.noun,
        "nouns": plural(study.noun),
        "past": past,
        "participle": participle,
        "verb": verb,
        "send_to": send_to,
        "guide": guide or load_guide(),
        "items": list(map(list, zip(known["label"], known["facts"], strict=True))),
        "rows": shown,
    }
    # Answers kept in a browser belong to this very form, not to another of the same name.
    data["digest"] = hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:12]
    # As JSON in a data block: with these escaped, no text can end the block or start another.
    text = plain(json.dumps(data, ensure_ascii=False))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    template = (resources.files(__package__) / "form.html").read_text(encoding="utf-8")
    # A file on disk has no charset header and no other line ends than these: the hashes hold.
    hashes = {
        tag: base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        for tag, block in re.findall(r"<(script|style)>(.*?)</\1>", template, re.DOTALL)
    }
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; "
        f"style-src 'sha256-{hashes['style']}'; base-uri 'none'; form-action 'none'"
    )
    return template.replace("__POLICY__", policy).replace("__DATA__", text)


def write_forms(
    study: Study,
    folder: str | Path,
    *,
    guide: dict[str, Any] | None = None,
    send_to: str = "",
) -> list[Path]:
    """Write the form of every rater as <study>_<rater>.html into `folder`; their paths.

    Raises `InputError` where `folder` is a file, or cannot be written.
    """
    folder = check_output("folder", Path(folder), folder=True)
    return [
        write_whole(
            folder / f"{study.name}_{rater_id}.html",
            render(study, rater_id, guide=guide, send_to=send_to),
        )
        for rater_id in study.raters
    ]
