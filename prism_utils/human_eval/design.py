"""Who rates what, in which order, behind which code; and how many raters a difference needs.

A rater who is given a sample rates all systems on it, apart from each other: differences between
systems are then paired within rater and sample, as the paper's tests are (Appendix A.5). Left out
on purpose: recruiting raters, and replacing one who drops out, which no seed can foresee.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ..errors import InputError, nearest
from ..tables import check
from ..wording import attributes
from .checks import check_name, deviations, floats, generator, real, share, short, whole
from .key import COLUMNS, Study

# Consonants only: no code is a word, and no spreadsheet takes one for a number.
_LETTERS = np.array(list("bcdfghjkmnpqrstvwxz"))
_CODE_LENGTH = 8
_ROUNDS = 12  # through all pairs of raters, where no exchange makes a design any better
_TRIES = 60_000  # of an exchange; with more than a hundred raters that is less than the rounds
_MOST_RATERS, _MOST_SAMPLES = 500, 100_000


def make_study(
    explanations: pd.DataFrame,
    samples: pd.DataFrame,
    items: pd.DataFrame,
    *,
    name: str,
    raters: int = 30,
    n_samples: int = 20,
    raters_per_sample: int | None = None,
    systems: Sequence[str] | None = None,
    noun: str = "film",
    max_history: int = 50,
    facts: bool = True,
    seed: int = 0,
) -> Study:
    """Draw samples, give them to raters in balanced incomplete blocks, order and code them.

    Drawn are samples that all `systems` (default: all there are) explained, from as many users as
    possible and no two with the same history. Each is rated by `raters_per_sample` raters
    (default: all), by each rater once a system; a rater's order goes through all of the samples
    before one comes back with another system, and never shows a history twice in a row.
    `max_history` is how many of the latest items of a history are shown: as many as the systems
    saw. `facts` adds the catalogue's attributes, which a claim can be checked with; the paper's
    raters saw history and explanation (Appendix A.1, A.3). Same arguments, same study.

    Raises `InputError` for an impossible size, an unknown system, and too few samples.
    """
    check_name("study name", name)
    max_history, n_samples = whole("max_history", max_history), whole("n_samples", n_samples)
    raters = whole("raters", raters, 1, _MOST_RATERS)
    rng = generator(seed)
    check(explanations, "explanations")
    check(samples, "samples")
    check(items, "items")
    present = sorted(explanations["system"].unique())
    chosen = list(present if systems is None else systems)
    for system in chosen:
        if system not in present:
            hint = nearest(str(system), present)
            raise InputError(f"system {short(system)} explained nothing: {hint}")
    if len(set(chosen)) != len(chosen) or not chosen:
        raise InputError("systems: name each system once, and at least one")
    told = explanations[explanations["system"].isin(chosen)]
    drawn = _draw(told, samples, len(chosen), n_samples, max_history, rng)
    incidence = blocks(raters, n_samples, raters_per_sample, seed=seed)
    per_rater = int(incidence[0].sum())
    if per_rater == 1 and len(chosen) > 1:
        raise InputError(
            "a rater with one sample would see its history twice in a row: "
            "raise raters_per_sample or n_samples"
        )
    rows = []
    digits = max(2, len(str(raters)))
    for number, given in enumerate(incidence, start=1):
        order = _order(np.flatnonzero(given), len(chosen), rng)
        rows += [(f"r{number:0{digits}d}", i + 1, *pair) for i, pair in enumerate(order)]
    assignment = pd.DataFrame(rows, columns=["rater_id", "number", "sample", "system"])
    assignment["sample_id"] = drawn["sample_id"].to_numpy()[assignment.pop("sample")]
    assignment["system"] = np.array(chosen, dtype=object)[assignment["system"]]
    assignment["code"] = _codes(len(assignment), rng)
    keep = told[told["sample_id"].isin(drawn["sample_id"])]
    return Study(
        name,
        noun,
        seed,
        assignment[list(COLUMNS["assignment"])],
        keep[list(COLUMNS["explanations"])].sort_values(["sample_id", "system"], ignore_index=True),
        drawn,
        _labels(drawn, items, facts),
    )


def _draw(
    told: pd.DataFrame,
    samples: pd.DataFrame,
    systems: int,
    n: int,
    max_history: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """`n` samples that all systems explained: distinct histories, users as many as there are."""
    times = told.groupby("sample_id").size()
    fit = samples[samples["sample_id"].isin(times.index[times == systems])]
    fit = fit.assign(history=[list(ids)[-max_history:] for ids in fit["history"]])
    fit = fit.iloc[rng.permutation(len(fit))]
    fit = fit[~fit["history"].map(tuple).duplicated()]
    if len(fit) < n:
        raise InputError(
            f"n_samples {n}: only {len(fit)} samples with a history of their own are explained "
            f"by all {systems} systems; ask for fewer samples or name fewer systems"
        )
    turn = fit.groupby("user_id").cumcount().to_numpy()
    drawn = fit.iloc[np.argsort(turn, kind="stable")[:n]]
    return drawn[list(COLUMNS["samples"])].reset_index(drop=True)


def blocks(
    raters: int, samples: int, raters_per_sample: int | None = None, *, seed: int = 0
) -> npt.NDArray[np.bool_]:
    """Balanced incomplete blocks: which rater (row) is given which sample (column).

    Every sample goes to `raters_per_sample` raters (default: all), every rater gets the same
    number of samples, and exchanges make the overlaps of any two raters as equal as they get. The
    squared overlaps of raters and those of samples differ by a constant once both margins are
    fixed, so that both are evened out together; where a balanced incomplete block design is
    found, the overlaps are all equal. Raises `InputError` where the sizes do not divide.

    >>> blocks(4, 6, 2).astype(int).sum(axis=0), blocks(4, 6, 2).sum(axis=1)
    (array([2, 2, 2, 2, 2, 2]), array([3, 3, 3, 3]))
    """
    raters = whole("raters", raters, 1, _MOST_RATERS)
    samples = whole("n_samples", samples, 1, _MOST_SAMPLES)
    replicas = raters if raters_per_sample is None else raters_per_sample
    replicas = whole("raters_per_sample", replicas, most=raters)
    size, rest = divmod(samples * replicas, raters)
    if rest:
        fits = [r for r in range(1, raters + 1) if samples * r % raters == 0]
        raise InputError(
            f"raters_per_sample {replicas}: {samples} samples x {replicas} is no multiple of "
            f"{raters} raters; choose one of: {', '.join(map(str, fits))}, or another size"
        )
    rng = generator(seed)
    given = np.zeros((raters, samples))  # 0 and 1; floats multiply fastest
    places = np.arange(raters * size)
    given[places // size, places % samples] = 1
    given = given[:, rng.permutation(samples)]
    pairs = np.column_stack(np.triu_indices(raters, 1))
    overlap = given @ given.T
    for a, b in np.concatenate([rng.permutation(pairs) for _ in range(_ROUNDS)])[:_TRIES]:
        if np.ptp(overlap[tuple(pairs.T)]) <= 1:
            break
        mine, theirs = np.flatnonzero(given[a] > given[b]), np.flatnonzero(given[b] > given[a])
        if not len(mine):
            continue
        # Exchanging sample i of a for sample j of b changes a's overlap with a third rater by
        # (has j) - (has i), and b's by the opposite: the change of the sum of their squares.
        third = np.delete(given, [a, b], axis=0)
        pull = np.delete(overlap[a] - overlap[b], [a, b]) @ third
        has_i, has_j = third[:, mine], third[:, theirs]
        change = np.add.outer(has_i.sum(axis=0) - pull[mine], has_j.sum(axis=0) + pull[theirs])
        change -= 2 * has_i.T @ has_j
        if change.min() <= 0:  # moves that change nothing lead out of a dead end
            i, j = rng.choice(np.argwhere(change == change.min()))
            given[np.ix_([a, b], [mine[i], theirs[j]])] = [[0, 1], [1, 0]]
            overlap[[a, b]] = given[[a, b]] @ given.T
            overlap[:, [a, b]] = overlap[[a, b]].T
    return given > 0


def _order(given: npt.NDArray[Any], systems: int, rng: np.random.Generator) -> list[tuple]:
    """(sample, system) in passes: each pass shows every sample once, the systems evenly mixed."""
    first = rng.permutation(np.arange(len(given)) % systems)  # system of each sample in pass 0
    steps = rng.permutation(systems)
    order: list[tuple] = []
    for step in steps:
        pairs = list(zip(given, (first + step) % systems, strict=True))
        shuffled = [pairs[k] for k in rng.permutation(len(pairs))]
        if order and shuffled[0][0] == order[-1][0]:  # the history that was just seen
            shuffled.append(shuffled.pop(0))
        order += shuffled
    return order


def _codes(n: int, rng: np.random.Generator) -> list[str]:
    codes: dict[str, None] = {}
    while len(codes) < n:
        codes["".join(rng.choice(_LETTERS, _CODE_LENGTH))] = None
    return list(codes)


def _labels(drawn: pd.DataFrame, items: pd.DataFrame, facts: bool) -> pd.DataFrame:
    """item_id, label ("Alien (1979)") and facts ("genre: horror; ...") of the items shown."""
    wanted = set(drawn["item_id"]).union(*drawn["history"])
    known = items[items["item_id"].isin(wanted)].reset_index(drop=True)
    lost = sorted(wanted - set(known["item_id"]))
    if lost:
        raise InputError(
            f"items: no row for item_id {lost[0]!r}, which a sample of the study shows"
        )
    years = known["year"] if "year" in known.columns else pd.Series(np.nan, index=known.index)
    years = years.to_numpy(float, na_value=np.nan)
    labels = [
        title
        if not np.isfinite(year) or title.endswith(f"({int(year)})")
        else f"{title} ({int(year)})"
        for title, year in zip(known["title"], years, strict=True)
    ]
    kinds = {kind: values for kind, values in attributes(known).items() if kind != "decade"}
    told = [
        "; ".join(f"{kind}: {', '.join(kinds[kind][row])}" for kind in kinds if kinds[kind][row])
        for row in range(len(known))
    ]
    return pd.DataFrame(
        {"item_id": known["item_id"], "label": labels, "facts": told if facts else ""}
    )


def balance(study: Study) -> pd.Series:
    """How balanced a study is, as counted from its assignment (for a table in a chapter)."""
    rows = study.assignment
    given = pd.crosstab(rows["rater_id"], rows["sample_id"]).to_numpy() > 0
    overlap = given.astype(int) @ given.T
    between = overlap[np.triu_indices(len(overlap), 1)]
    per_system = pd.crosstab(rows["rater_id"], rows["system"])
    per_item = rows.groupby(["sample_id", "system"]).size()
    ordered = rows.sort_values(["rater_id", "number"])
    again = (ordered[["rater_id", "sample_id"]] == ordered[["rater_id", "sample_id"]].shift()).all(
        axis="columns"
    )
    return pd.Series(
        {
            "raters": len(given),
            "samples": given.shape[1],
            "systems": per_system.shape[1],
            "explanations per rater, fewest": int(given.sum(axis=1).min()) * per_system.shape[1],
            "explanations per rater, most": int(given.sum(axis=1).max()) * per_system.shape[1],
            "raters per explanation, fewest": int(per_item.min()),
            "raters per explanation, most": int(per_item.max()),
            "times a rater sees a system, fewest": int(per_system.to_numpy().min()),
            "times a rater sees a system, most": int(per_system.to_numpy().max()),
            "samples two raters share, fewest": int(between.min()) if len(between) else 0,
            "samples two raters share, most": int(between.max()) if len(between) else 0,
            "histories twice in a row": int(again.sum()),
        }
    )


def power(
    difference: npt.ArrayLike,
    *,
    samples: npt.ArrayLike,
    raters: npt.ArrayLike,
    raters_per_sample: npt.ArrayLike | None = None,
    sample_sd: float = 0.5,
    rater_sd: float = 0.3,
    noise_sd: float = 0.7,
    level: float = 0.05,
) -> npt.NDArray[np.float64]:
    """Power of the paired test of two systems, crossed raters and samples; arrays broadcast.

    The difference that rater j sees on sample i is `difference` + s_i + r_j + e_ij, in points of
    the scale: s ~ N(0, `sample_sd`), r ~ N(0, `rater_sd`), and e the difference of two ratings
    with noise N(0, `noise_sd`) each. The variance of the mean is sample_sd^2/samples +
    rater_sd^2/raters + 2 noise_sd^2/(samples x raters per sample); the test is two-sided on t with
    Satterthwaite's degrees of freedom, power by the noncentral t (the crossed designs of Westfall,
    Kenny and Judd 2014). The default deviations are guesses: take a pilot's. Rounding to the scale
    is left out. For k comparisons give `level` / k.

    >>> power(0.5, samples=20, raters=30).round(2).item()
    0.96
    """
    deviations(sample_sd=sample_sd, rater_sd=rater_sd, noise_sd=noise_sd)
    real("level", share("level", level), 1e-12)
    m, n, size = (
        floats("samples", samples),
        floats("raters", raters),
        floats("difference", difference),
    )
    each = n
    if raters_per_sample is not None:
        each = np.minimum(floats("raters_per_sample", raters_per_sample), n)
    if (m < 2).any() or (n < 2).any() or (each < 1).any():
        raise InputError("power needs at least 2 samples, 2 raters and 1 rater per sample")
    parts = [sample_sd**2 / m, rater_sd**2 / n, 2 * noise_sd**2 / (m * each)]
    variance = np.maximum(sum(parts), np.finfo(float).tiny)
    freedom = [m - 1, n - 1, np.maximum(m * each - m - n + 1, 1)]
    shares = sum((part / variance) ** 2 / df for part, df in zip(parts, freedom, strict=True))
    df = 1 / np.maximum(shares, np.finfo(float).tiny)
    shift = np.minimum(np.abs(size) / np.sqrt(variance), 1e3)
    limit = stats.t.ppf(1 - level / 2, df)
    # scipy's nct loses digits far out: where the shift dwarfs the limit, power is 1.
    sure = shift > limit + 12
    tail = stats.nct.sf(limit, df, np.where(sure, 0, shift)) + stats.nct.cdf(
        -limit, df, np.where(sure, 0, shift)
    )
    return np.asarray(np.where(sure, 1.0, np.where(shift == 0, level, tail)))


def required(
    difference: float,
    *,
    raters: Sequence[int] = (5, 10, 20, 30, 40, 60),
    wanted: float = 0.8,
    most_samples: int = 1000,
    raters_per_sample: int | None = None,
    **model: float,
) -> pd.DataFrame:
    """Fewest samples with which each number of raters finds a difference with power `wanted`.

    Columns difference, raters, samples, ratings (of one system on one dimension), power. `samples`
    is <NA> where not even `most_samples` do: raters who differ in what they prefer cannot be
    outnumbered by samples. `model` goes to `power`.

    >>> required(0.3, raters=[3, 30])[["raters", "samples"]].values.tolist()
    [[3, <NA>], [30, 35]]
    """
    real("difference", difference)
    share("wanted", wanted)
    sizes = np.arange(2, whole("most_samples", most_samples, 2, _MOST_SAMPLES) + 1)
    rows = []
    for n in raters:
        whole("raters", n, 2)
        reached = power(
            difference, samples=sizes, raters=n, raters_per_sample=raters_per_sample, **model
        )
        enough = np.flatnonzero(reached >= wanted)
        at = int(enough[0]) if len(enough) else -1
        found = int(sizes[at]) if len(enough) else None
        each = min(raters_per_sample or n, n)
        rows.append((difference, n, found, found and found * each, float(reached[at])))
    frame = pd.DataFrame(rows, columns=["difference", "raters", "samples", "ratings", "power"])
    return frame.astype({"samples": "Int64", "ratings": "Int64"})
