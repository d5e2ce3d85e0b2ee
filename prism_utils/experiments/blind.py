"""A check that is not the filter: readers judge texts claim by claim, blind to the system.

    python -m prism_utils.experiments.blind draw runs/quick --out blind
    python -m prism_utils.experiments.blind score blind --answers a.jsonl b.jsonl \\
        --readers "who they were" --out book/records/blind.json

`draw` writes `sheet.jsonl` for readers (what the catalogue knows of item and history, and a text)
and `key.json`, which they must not see: which system wrote what, and what the audit says of it,
settled before anybody reads. A reader's file has one line a text: {"number": 7,
"claims": [{"quote": "a horror film", "false": true, "kind": "attribute"}]}, every claim of the
text and whether it is false by the sheet; kinds are `KINDS`. Left out: who reads.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError, nearest, run_cli
from ..files import (
    check_writable,
    make_folder,
    parse_json,
    read_json,
    refusing,
    write_json,
    write_text,
)
from ..human_eval.coefficients import pair_kappas
from ..metrics.receipts import Auditor
from ..runs import Run, project_root, provenance
from ..sequences import read_samples
from ..statistics import bootstrap_means
from ..students.checks import check_number
from ..students.inputs import whole
from ..wording import attributes
from . import commands
from .guarantee import FALSE, claim_scores

KINDS = ("title", "attribute", "person", "relation", "itself", "other")
SYSTEMS = ("prism", "prism-facts", "facts-template")  # beside the run's teacher


def draw(run_dir: Path | str, out: Path | str, *, samples: int = 75, seed: int = 0) -> Path:
    """Write a sheet of `samples` held-out samples times four systems, mixed, and its key.

    Raises `InputError` where the run lacks a system's texts or has fewer samples.
    """
    whole("samples", samples, 1)
    check_number("seed", seed, "[0, 4294967295]")
    seed = whole("seed", seed, 0)
    run, folder = Run.open(run_dir), make_folder(out)
    items = run.require("items", made_by="01_preprocessing")
    told = run.require("explanations", made_by="02_distillation")
    systems = [run.facts["teacher"], *SYSTEMS]
    for system in systems:
        if system not in set(told["system"]):
            raise InputError(f"{run_dir}: no texts of {system!r}; 03b_baselines makes them")
    own = told.loc[told["system"] == SYSTEMS[0], "sample_id"]
    held_out = read_samples(run.table("samples"), sample_ids=own)
    if len(held_out) < samples:
        raise InputError(f"samples: {samples} are asked for, the run has {len(held_out)}")
    chosen = held_out.sample(samples, random_state=seed)
    texts = told[told["system"].isin(systems) & told["sample_id"].isin(chosen["sample_id"])]
    texts = texts[["sample_id", "system", "text"]].sample(frac=1, random_state=seed)
    shown = _described(items)
    about = chosen.set_index("sample_id")
    limit = run.facts["student_settings"]["max_history"]
    rows, keys = [], []
    for number, (sample_id, system, text) in enumerate(texts.itertuples(index=False), start=1):
        sample = about.loc[sample_id]
        past = [shown.get(i, {"title": i}) for i in list(sample["history"])]
        early = [told["title"] for told in past[: max(len(past) - limit, 0)]]
        item = shown.get(sample["item_id"], {"title": sample["item_id"]})
        row = {"number": number, "text": text, "recommended": item}
        rows.append(row | {"history": past[len(early) :], "earlier": early})
        keys.append({"number": number, "sample_id": sample_id, "system": system})
    sheet = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text(sheet, folder / "sheet.jsonl")
    found = claim_scores(texts, chosen, Auditor(items, run.facts["noun"]))
    of = found[found["metric"] == FALSE].set_index(["sample_id", "system"])["value"]
    for row in keys:
        row["audit"] = bool(of[row["sample_id"], row["system"]])
    key = {"texts": keys, "users": about["user_id"].to_dict(), "teacher": systems[0]}
    key |= {"corpus": run.facts["corpus_note"], "run": run.facts.get("commit")}
    write_json(key | {"drawn": provenance(project_root())}, folder / "key.json", sealed=True)
    return folder / "sheet.jsonl"


def score(folder: Path | str, answers: Mapping[str, Path], readers: str) -> dict[str, Any]:
    """A record of what readers found: rates by system, agreement, and how right the audit is.

    answers: a reader's name -> file. readers: who they were, in words. Tables: rates (reader,
    "both" where every reader calls it false, or "audit"; system; share of texts with a false claim,
    95% interval over users; n), agreement (of each pair: n, agree, kappa), audit (against each
    reader and both: labelled, called, hits, precision, recall), claims (reader, system, kind:
    claims, false ones, and false ones of texts that the audit did not call).
    """
    place = Path(folder) / "key.json"
    key = read_json(place, "draw the sheet again")
    if "texts" not in key:
        raise InputError(f"{place} is no key of a sheet: give the folder that draw wrote")
    if taken := {"both", "audit"} & set(answers):
        raise InputError(f"answers: no reader may be called {min(taken)!r}, as a row of the record")
    texts = pd.DataFrame(key["texts"])
    calls, claims = {}, []
    for reader, path in answers.items():
        read = _answers(path, list(texts["number"]))
        calls[reader] = texts["number"].map(lambda n, r=read: any(c["false"] for c in r[n]))
        for number, system, called in zip(
            texts["number"], texts["system"], texts["audit"], strict=True
        ):
            for claim in read[number]:
                row = {"reader": reader, "system": system, "kind": claim["kind"], "claims": 1}
                false = int(claim["false"])
                claims.append(row | {"false": false, "missed": false * (not called)})
    by = pd.DataFrame(calls).astype(float)
    agreed = pair_kappas(by)
    agreed["agree"] = [
        float(np.mean(by[a] == by[b])) for a, b in zip(agreed["a"], agreed["b"], strict=True)
    ]
    if len(by.columns) > 1:
        by["both"] = by.min(axis=1)
    quality = [
        {
            "reader": reader,
            "labelled": int(by[reader].sum()),
            "called": int(texts["audit"].sum()),
            "hits": int((by[reader] * texts["audit"]).sum()),
        }
        for reader in by
    ]
    by["audit"] = texts["audit"].astype(float)
    means = [
        bootstrap_means(
            texts[["sample_id", "system"]].assign(metric=FALSE, value=by[reader]),
            pd.Series(key["users"]),
        ).assign(reader=reader)
        for reader in by
    ]
    facts = {"readers": readers, "texts": len(texts), "corpus": key["corpus"]}
    facts |= {"teacher": key["teacher"], "commit_of_run": key["run"]}
    facts["commit_of_audit"] = key["drawn"]["commit"]
    found = pd.DataFrame(claims).groupby(["reader", "system", "kind"], sort=False).sum()
    right = pd.DataFrame(quality).assign(
        precision=lambda t: t["hits"] / t["called"].replace(0, np.nan),
        recall=lambda t: t["hits"] / t["labelled"].replace(0, np.nan),
    )
    tables = {"rates": pd.concat(means), "agreement": agreed, "audit": right}
    return commands.record(tables | {"claims": found.reset_index()}, facts)


def _described(items: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What a reader is told of each item: title, year, attributes."""
    known: dict[str, dict[str, Any]] = {
        item: {"title": title} for item, title in zip(items["item_id"], items["title"], strict=True)
    }
    for kind, column in attributes(items).items():
        for told, values in zip(known.values(), column, strict=True):
            told[kind] = list(values)
    return known


def _answers(path: Path, numbers: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """A reader's claims by the text's number; `InputError` names the line that is wrong."""
    found: dict[int, list[dict[str, Any]]] = {}
    said = 'write {"number": 1, "claims": [{"quote": "…", "false": true, "kind": "title"}]}'
    with refusing(path):
        data = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    # Not `str.splitlines`: a quote may hold what Unicode calls the end of a line.
    for place, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {place}"
        row = parse_json(line, where, said)
        try:
            number, claims = row["number"], row["claims"]
            if not isinstance(claims, list):
                raise TypeError
            told = [(claim["quote"], claim["false"], claim["kind"]) for claim in claims]
        except (KeyError, TypeError) as error:
            raise InputError(f"{where}: is no answer; {said}") from error
        if type(number) is not int or number not in numbers or number in found:
            raise InputError(f"{where}: text {number!r} is not on the sheet, or stands here twice")
        for quote, false, kind in told:
            if not isinstance(quote, str) or not isinstance(false, bool):
                raise InputError(f"{where}: a claim needs a quote and false: true or false")
            if kind not in KINDS:
                raise InputError(f"{where}: kind {kind!r} is unknown: {nearest(str(kind), KINDS)}")
        found[number] = claims
    missing = [n for n in numbers if n not in found]
    if missing:
        raise InputError(f"{path}: text {missing[0]} and {len(missing) - 1} more have no answer")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = commands.parser("blind", __doc__)
    asked = parser.add_subparsers(required=True, dest="command")
    drawing = asked.add_parser("draw", help="a sheet for readers, and its key")
    drawing.add_argument("run", type=Path, help="folder of a run")
    drawing.add_argument("--out", type=Path, required=True)
    drawing.add_argument("--samples", type=int, default=75, help="each with four texts")
    drawing.add_argument("--seed", type=int, default=0)
    scoring = asked.add_parser("score", help="a record of what the readers found")
    scoring.add_argument("folder", type=Path, help="where the sheet was drawn")
    scoring.add_argument("--answers", type=Path, nargs="+", required=True)
    scoring.add_argument("--readers", required=True, help="who they were")
    scoring.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    if given.command == "draw":
        print(draw(given.run, given.out, samples=given.samples, seed=given.seed))
        return
    check_writable(given.out)
    names = {f"reader {n}": path for n, path in enumerate(given.answers, start=1)}
    record = score(given.folder, names, given.readers)
    write_json(record, given.out)
    print(json.dumps(record["tables"]))


if __name__ == "__main__":
    run_cli(main)
