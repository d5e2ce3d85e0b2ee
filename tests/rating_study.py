"""A small study of two systems, and the answers of its raters, for the tests that need one."""

from __future__ import annotations

import pandas as pd

from prism_utils.human_eval import design

HOSTILE = (
    '</script><script>document.title="owned"</script><img src=x onerror=alert(1)> & "x" \u2028'
)
SYSTEMS = ("prism", "teacher")
COLUMNS = "study,rater_id,number,code,persuasiveness,personalization,faithfulness,skipped,seconds"


def tables(n: int = 12, history: int = 3) -> dict[str, pd.DataFrame]:
    """Samples of as many users, explained by two systems; one text is hostile."""
    ids = [f"i{k}" for k in range(n + history)]
    items = pd.DataFrame(
        {
            "item_id": ids,
            "title": [f"Film {k} <i>" for k in range(len(ids))],
            "year": [1980.0 + k for k in range(len(ids))],
            "genre": [["Drama", "War"]] * len(ids),
        }
    )
    samples = pd.DataFrame(
        {
            "sample_id": [f"s{k}" for k in range(n)],
            "user_id": [f"u{k // 2}" for k in range(n)],
            "history": [ids[k : k + history] for k in range(n)],
            "item_id": [ids[k + history] for k in range(n)],
            "split": "test",
        }
    )
    explanations = pd.DataFrame(
        [(s, system, f"Text {HOSTILE if k == 1 else k} of a kind {len(system)}")
         for k, s in enumerate(samples["sample_id"]) for system in SYSTEMS],
        columns=["sample_id", "system", "text"],
    )  # fmt: skip
    return {"explanations": explanations, "samples": samples, "items": items}


def make(raters: int = 4, n_samples: int = 4, **options) -> design.Study:
    sizes = {"name": "pilot", "raters": raters, "n_samples": n_samples}
    return design.make_study(**{**tables(options.pop("n", 12)), **sizes, **options})


def answer_file(study: design.Study, rater_id: str, rating: int = 4) -> str:
    lines = [COLUMNS]
    for row in study.of(rater_id).itertuples():
        lines.append(f"{study.name},{rater_id},{row.number},{row.code},{rating},2,5,,11")
    return "\n".join(lines) + "\n"


def edit(text: str, line: int, column: str, value: str) -> str:
    lines = [each.split(",") for each in text.splitlines()]
    lines[line][COLUMNS.split(",").index(column)] = value
    return "\n".join(",".join(each) for each in lines) + "\n"


def replace(part, path: str, value) -> None:
    """Put `value` into nested dictionaries and lists, at names and places between slashes."""
    *parents, last = (int(name) if name.isdigit() else name for name in path.split("/"))
    for name in parents:
        part = part[name]
    part[last] = value
