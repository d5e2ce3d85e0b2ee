"""How often explanations of businesses state what neither profile says, by a stated matcher.

`python -m prism_utils.experiments.real_text --xrec-yelp FOLDER --out FILE` measures XRec's Yelp
file and checks the matcher (`metrics.statements`) against labels made by hand.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from ..errors import InputError, run_cli
from ..files import write_json
from ..metrics.inputs import check_draws, read_labels
from ..metrics.statements import KINDS, THRESHOLD, Claims, Encode, called
from ..metrics.suite import shuffled
from ..records import as_rows
from ..runs import home, provenance
from ..statistics import bootstrap_means, bootstrap_totals, interval
from ..teachers.recorded import read_samples, read_texts

SYSTEMS = {"golden": "explanation", "xrec": "xrec_prediction"}  # system -> column of XRec's file
LABELS = Path(__file__).with_name("xrec_labels.jsonl")
GRID = tuple(float(value) for value in np.arange(0.20, 0.81, 0.05).round(2))


def labels(path: Path | str = LABELS) -> pd.DataFrame:
    """The hand labels: part, row, sample_id, system, digest, `KINDS` and any (0 or 1).

    100 explanations of part "check" (50 golden, 50 XRec's, of different rows of XRec's file, drawn
    at random with seed 6) and 60 others of part "tuning" (15 and 45, seed 7), on which the word
    lists were tried and the threshold was fixed. `row` counts the file's lines from 1; `digest` is
    that of the text, which is not kept here.

    One reader, a language model, labelled all by reading each against both profiles before the
    matcher was written; no label was changed afterwards, and nobody else has labelled them. The
    reader then wrote the matcher, and had read the 100 by then: the check is not blind. Patterns
    of `_VISIT` and `_TASTE` that only the 100 had suggested were taken out again.
    attribute: a quality, dish, service or feature that neither profile states or plainly implies
    (praise of the food in general and "a night out with friends" do not count, a date or special
    occasion does). entity: a person, place, name, or certain dish or drink that is in neither.
    preference: a taste, need, circumstance or visit of the user's that the user's profile does
    not support.
    """
    table = read_labels(path, ("part", "row", "sample_id", "system", "digest"), KINDS)
    return table.assign(any=table[list(KINDS)].max(axis=1))


def digest(text: str) -> str:
    """The first 12 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def labelled_texts(told: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The explanations of `told` that `known` labels, in its order.

    Raises InputError where one is not there or its text is another than was labelled.
    """
    joined = known[["sample_id", "system", "digest"]].merge(told, how="left", validate="1:1")
    wrong = joined["text"].fillna("").map(digest).ne(joined["digest"]).to_numpy()
    if wrong.any():
        first = joined.iloc[int(wrong.argmax())]
        raise InputError(
            f"labels: the {first['system']} explanation of sample {first['sample_id']!r} is not "
            f"the one that was labelled ({wrong.sum()} of {len(wrong)}): give XRec's file unchanged"
        )
    return joined[["sample_id", "system", "text"]]


def quality(known: pd.DataFrame, calls: pd.DataFrame) -> pd.DataFrame:
    """Calls against labels, for each kind and any, of all systems together and of each.

    Columns: kind, system, precision, recall (also called sensitivity), specificity (nan where
    there is nothing to divide by), labelled, called, hits, n.
    """
    kinds = [*KINDS, "any"]
    joined = known[["sample_id", "system", *kinds]].merge(
        calls, on=["sample_id", "system"], suffixes=("", "_called"), validate="1:1"
    )
    rows = []
    for system in ("all", *SYSTEMS):
        some = joined if system == "all" else joined[joined["system"] == system]
        for kind in kinds:
            true, call = some[kind].eq(1), some[f"{kind}_called"].eq(1)
            hits, quiet = int((true & call).sum()), int((~true & ~call).sum())
            rows.append(
                {
                    "kind": kind,
                    "system": system,
                    "precision": _ratio(hits, call.sum()),
                    "recall": _ratio(hits, true.sum()),
                    "specificity": _ratio(quiet, (~true).sum()),
                    "labelled": int(true.sum()),
                    "called": int(call.sum()),
                    "hits": hits,
                    "n": len(some),
                }
            )
    return pd.DataFrame(rows)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def corrected(
    calls: np.ndarray,
    users: np.ndarray,
    true: np.ndarray,
    called_true: np.ndarray,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """The share that is truly unsupported, given the matcher's errors: (value, low, high).

    (share called + specificity - 1) / (sensitivity + specificity - 1), kept within 0 and 1
    (Rogan and Gladen 1978). `calls` (n,) of explanations of `users` (n,); `true` and `called_true`
    (m,) are labels and calls of labelled explanations. The bootstrap draws users and labelled
    explanations; a draw in which the matcher is no better than chance counts as the whole of 0
    to 1, and so widens the interval. nan where that holds of the labels themselves.
    """
    cells = np.stack([true & called_true, true, ~true & ~called_true, ~true], axis=1)

    def estimate(share: np.ndarray, counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            sensitivity, specificity = (counts[:, k] / counts[:, k + 1] for k in (0, 2))
            better = sensitivity + specificity - 1
            value = np.clip((share + specificity - 1) / better, 0, 1)
        return np.where(better > 0, value, np.nan)

    shares, counts = _draws(calls, users, cells, resamples, seed)
    drawn = estimate(shares, counts)
    bounds = [np.where(np.isnan(drawn), worst, drawn)[:, None] for worst in (0.0, 1.0)]
    value = estimate(np.array([np.mean(calls)]), cells.sum(axis=0, keepdims=True))[0]
    low, high = interval(bounds[0])[0][0], interval(bounds[1])[1][0]
    return float(value), float(low), float(high)


def calibrated(
    calls: np.ndarray,
    users: np.ndarray,
    true: np.ndarray,
    called_true: np.ndarray,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """As `corrected`, from labels that are a random part of the very explanations called.

    Share called times the share of true ones among the called, and likewise of those not called
    (Tenenbein 1970): it asks for no errors that are alike for two systems, and steadies the share
    found by hand with all the calls. Where no labelled explanation (of a draw) was called, or all
    were, what is not known counts as the whole of 0 to 1; the value is nan.
    """
    cells = np.stack([true & called_true, called_true, true & ~called_true, ~called_true], axis=1)

    def estimate(share: np.ndarray, counts: np.ndarray, unknown: float) -> np.ndarray:
        yes, no = (
            np.where(counts[:, k + 1] > 0, counts[:, k] / np.maximum(counts[:, k + 1], 1), unknown)
            for k in (0, 2)
        )
        return share * yes + (1 - share) * no

    shares, counts = _draws(calls, users, cells, resamples, seed)
    whole = np.array([np.mean(calls)]), cells.sum(axis=0, keepdims=True)
    least, most = (float(estimate(*whole, unknown)[0]) for unknown in (0.0, 1.0))
    value = least if least == most else float("nan")
    low = interval(estimate(shares, counts, 0.0)[:, None])[0][0]
    high = interval(estimate(shares, counts, 1.0)[:, None])[1][0]
    return value, float(low), float(high)


def _draws(
    calls: np.ndarray, users: np.ndarray, cells: np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Shares called, users drawn, and totals of the cells, labelled explanations drawn."""
    user, names = pd.factorize(users)
    sums = np.bincount(user, calls, len(names)), np.bincount(user, minlength=len(names))
    totals = bootstrap_totals(np.stack(sums, axis=1), resamples=resamples, seed=seed)
    return totals[:, 0] / totals[:, 1], bootstrap_totals(cells, resamples=resamples, seed=seed + 1)


def tuning(known: pd.DataFrame, claims: pd.DataFrame) -> pd.DataFrame:
    """What each threshold of `GRID` would do on labelled explanations, for the kind any.

    Columns: threshold, recall, specificity, youden (their sum less 1; Youden 1950). `THRESHOLD`
    is the first with the largest on the labels of part "tuning".
    """
    rows = []
    for threshold in GRID:
        table = quality(known, called(claims, threshold)).set_index(["kind", "system"])
        found = table.loc[("any", "all"), ["recall", "specificity"]]
        rows.append({"threshold": threshold, **found, "youden": found.sum() - 1})
    return pd.DataFrame(rows)


def measure(
    folder: Path | str,
    *,
    labels_path: Path | str = LABELS,
    encode: Encode | None = None,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, pd.DataFrame]:
    """The tables of the record, from the folder of XRec's Yelp files.

    rates: system, kind (`KINDS`, any, or words for the share of content words), what (measured;
    shuffled, against the profiles of other samples; corrected, for the matcher's errors on the
    labels of both systems, see `corrected`; calibrated, on those of the system itself; labelled,
    by hand, Wilson's interval), value, low, high (95%; users resampled), n. matcher: `quality` on
    part "check". tuning: see `tuning`.
    Raises InputError for a folder without the file and for texts that are not those labelled.
    """
    check_draws(resamples, seed)
    path = Path(folder) / "explanations.jsonl"
    if not path.is_file():
        raise InputError(f"{folder}: holds no explanations.jsonl; give the folder of XRec's files")
    samples, _ = read_samples(path, input_columns=("title", "item_profile"))
    items = samples.set_index("sample_id")["input_text"]
    by_user, _ = read_samples(path, input_columns=("user_profile",))
    users = by_user.set_index("sample_id")["input_text"]
    told = pd.concat([read_texts(path, c, s) for s, c in SYSTEMS.items()], ignore_index=True)
    known = labels(labels_path)
    check_part, tuning_part = (known[known["part"] == part] for part in ("check", "tuning"))
    labelled_texts(told, known)

    finder = Claims(encode)
    claims = finder.find(told, items, users, progress=progress)
    calls = called(claims)
    others = called(finder.find(shuffled(told, seed), items, users, progress=progress))
    rates = []
    for what, table in {"measured": calls, "shuffled": others}.items():
        long = table.melt(["sample_id", "system"], var_name="metric")
        means = bootstrap_means(long, samples, resamples=resamples, seed=seed)
        rates.append(means.rename(columns={"metric": "kind"}).assign(what=what))
    owner = samples.set_index("sample_id")["user_id"]
    joined = check_part.merge(calls, on=["sample_id", "system"], suffixes=("", "_called"))
    rows = []
    for system, group in calls.groupby("system", sort=False):
        theirs = check_part[check_part["system"] == system]
        for kind in (*KINDS, "any"):
            made, by = group[kind].to_numpy(), owner[group["sample_id"]].to_numpy()
            for what, correct, checked in (
                ("corrected", corrected, joined),
                ("calibrated", calibrated, joined[joined["system"] == system]),
            ):
                true, call = (checked[name].eq(1).to_numpy() for name in (kind, f"{kind}_called"))
                estimate = correct(made, by, true, call, resamples=resamples, seed=seed)
                rows.append((system, kind, what, *estimate, len(group)))
            count, n = int(theirs[kind].sum()), len(theirs)
            wilson = proportion_confint(count, n, method="wilson")
            rows.append((system, kind, "labelled", _ratio(count, n), *wilson, n))
    columns = ["system", "kind", "what", "value", "low", "high", "n"]
    found = pd.DataFrame(rows, columns=columns)
    table = pd.concat([*rates, found], ignore_index=True)[columns]
    return {
        "rates": table,
        "matcher": quality(check_part, calls),
        "tuning": tuning(tuning_part, claims),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see `python -m prism_utils.experiments.real_text --help`."""
    parser = argparse.ArgumentParser(
        prog="python -m prism_utils.experiments.real_text", description=__doc__
    )
    parser.add_argument("--xrec-yelp", required=True, metavar="FOLDER", help="XRec's Yelp files")
    parser.add_argument("--out", required=True, metavar="FILE", help="the record, a .json")
    parser.add_argument("--labels", default=LABELS, metavar="FILE", help="default: the package's")
    parser.add_argument("--resamples", type=int, default=2000, help="of users (default: 2000)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    out = Path(args.out)
    if out.suffix != ".json" or out.is_dir():
        raise InputError(f"--out {out}: give a file whose name ends in .json")
    check_draws(args.resamples, args.seed)
    try:  # said now, and not after minutes of work
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written; give another place") from error
    tables = measure(
        args.xrec_yelp,
        labels_path=args.labels,
        resamples=args.resamples,
        seed=args.seed,
        progress=True,
    )
    parameters = {"threshold": THRESHOLD, "resamples": args.resamples, "seed": args.seed}
    record = {
        "provenance": provenance(home()) | {"parameters": parameters},
        "tables": {name: as_rows(table) for name, table in tables.items()},
    }
    write_json(record, out)
    print(tables["rates"].to_string(index=False, float_format="{:.3f}".format))
    print(tables["matcher"].to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    run_cli(main)
