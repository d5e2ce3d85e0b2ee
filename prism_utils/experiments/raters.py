"""Chapter 6's simulated raters: what agreement, tests and the printed deviations are worth.

Chances are computed where they can be, else studies are simulated; all of it by the rater model of
`human_eval.simulation`. Left out on purpose: coefficients and tests (`human_eval`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..human_eval import design, simulation
from ..human_eval.agreement import agreement

#: Keys of `simulation.expected_agreement` -> how a figure calls them.
NAMES = {
    "exact_share": "pairs that agree exactly",
    "kappa": "Fleiss' kappa",
    "alpha": "alpha (ordinal)",
}
#: By how much one of two equal systems gains on single samples and with single raters, and noise.
SLOPES = {"sample_slope": 0.2, "rater_slope": 0.1, "noise": 0.5}
ERRORS = ("foreign_title", "wrong_attribute", "unsupported_relation")


def shuffled_steps(raters: int, seed: int) -> pd.DataFrame:
    """Coefficients of one simulated study (`case` "as given") and with its steps renamed."""
    line = pd.DataFrame(
        {
            "sample_id": [f"s{i:02d}" for i in range(60)],
            "system": "any",
            "quality": simulation.normal_quality(3, 1, 60),
        }
    )
    people = simulation.simulate_ratings(
        line, raters=raters, dimensions=["quality"], spread=0, bias=0, noise=0.5, seed=seed
    )
    renamed = people.assign(rating=people["rating"].map({1: 3, 2: 5, 3: 1, 4: 4, 5: 2}))
    cases = []
    for case, table in (("as given", people), ("steps shuffled", renamed)):
        found = agreement(table, resamples=1, seed=seed).table
        cases.append(found[found["coefficient"] != "ICC(2,k)"].assign(case=case))
    return pd.concat(cases, ignore_index=True)


def prevalence(common: Sequence[float], noise: float) -> pd.DataFrame:
    """Agreement where a share of explanations, `common`, has quality 5 and the rest 1 to 4 evenly.

    Columns: common (%), coefficient (of `NAMES`), value.
    """
    rows = []
    for share in common:
        weights = [share] + 4 * [(1 - share) / 4]
        expected = simulation.expected_agreement([5, 4, 3, 2, 1], noise, weights)
        rows += [
            {"common": 100 * share, "coefficient": name, "value": expected[key]}
            for key, name in NAMES.items()
        ]
    return pd.DataFrame(rows)


def noise_sweep(worlds: Mapping[str, Any], noises: Sequence[float]) -> pd.DataFrame:
    """Kappa and alpha of equally lenient raters by the noise of a rating, for each world's quality.

    Columns: world, noise, coefficient (with its world), value.
    """
    return pd.DataFrame(
        {
            "world": world,
            "noise": level,
            "coefficient": f"{NAMES[key]}, {world}",
            "value": value,
        }
        for world, quality in worlds.items()
        for level in noises
        for key, value in simulation.expected_agreement(quality, level).items()
        if key in ("kappa", "alpha")
    )


def with_error_free(scores: pd.DataFrame) -> pd.DataFrame:
    """Grounding scores with error_free: 1 where grounding sees none of the three errors."""
    errors = scores[scores["metric"].isin(ERRORS)]
    clean = 1 - errors.groupby(["sample_id", "system"])["value"].max()
    clean = clean.reset_index().assign(metric="error_free")
    return pd.concat([scores, clean], ignore_index=True)


def null_rates(trials: int, seed: int) -> pd.DataFrame:
    """How often tests at the 5% level find a difference between two equal systems, by setting.

    30 raters with 20 and 100 samples, with the deviations of `SLOPES` and with noise alone.
    """
    kinds = {"slopes": SLOPES, "no slopes": SLOPES | {"sample_slope": 0.0, "rater_slope": 0.0}}
    parts = []
    for raters, samples in ((30, 20), (30, 100)):
        for kind, deviations in kinds.items():
            rates = simulation.null_rejections(
                trials=max(200, trials * 20 // samples), seed=seed, raters=raters,
                samples=samples, **deviations,
            )  # fmt: skip
            parts.append(rates.assign(setting=f"{raters} raters, {samples} samples, {kind}"))
    return pd.concat(parts, ignore_index=True)


def deviations(
    tests: pd.DataFrame, ratings: pd.DataFrame, *, spread: float, taste: float, noise: float
) -> tuple[dict[str, float], bool]:
    """Deviations behind a difference, for `design.power`, and whether the tests gave them.

    The median of the tests' variances; of so few raters or samples that these show nothing, the
    rater model's (spread, taste, noise).
    """
    found = tests[["var_sample", "var_rater", "var_rest"]].median()
    enough = ratings["rater_id"].nunique() > 2 and ratings["sample_id"].nunique() > 2
    if not enough or not found["var_rest"]:
        modelled = {"sample": 2 * spread**2, "rater": 2 * taste**2, "rest": 2 * noise**2}
        found = pd.Series({f"var_{name}": value for name, value in modelled.items()})
    sds = {
        "sample_sd": float(np.sqrt(found["var_sample"])),
        "rater_sd": float(np.sqrt(found["var_rater"])),
        "noise_sd": float(np.sqrt(found["var_rest"] / 2)),  # of one rating; a difference has two
    }
    return sds, enough


def power_curves(difference: float, **deviations: float) -> pd.DataFrame:
    """Power of the crossed test by samples, for 5, 10 and 30 raters: people, samples, value."""
    sizes = np.arange(5, 105, 5)
    return pd.DataFrame(
        {"people": f"{n} raters", "samples": size, "value": value}
        for n in (5, 10, 30)
        for size, value in zip(
            sizes, design.power(difference, samples=sizes, raters=n, **deviations), strict=True
        )
    )


def variance_split(
    printed: Mapping[str, Mapping[str, Any]], dimensions: Sequence[str], threshold: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Kappa against the share of a printed variance that lies between explanations.

    printed: system -> dimension -> mean (`value`) and deviation (`sd`). First table, of
    "Faithfulness": system, share, value (kappa). Second: system, dimension, and the
    share from which kappa passes the threshold.
    """
    shares = np.linspace(0, 1, 21)
    split, needed = [], []
    for system, cells in printed.items():
        for dimension in dimensions:
            centre, sd = simulation.latent_normal(cells[dimension].value, cells[dimension].sd)
            kappa = [
                simulation.expected_agreement(
                    simulation.normal_quality(centre, sd * np.sqrt(share)),
                    sd * np.sqrt(1 - share),
                )["kappa"]
                for share in shares
            ]
            needed.append((system, dimension, float(np.interp(threshold, kappa, shares))))
            if dimension == "Faithfulness":
                split += [(system, s, k) for s, k in zip(shares, kappa, strict=True)]
    columns = ["system", "share", "value"]
    return (
        pd.DataFrame(split, columns=columns),
        pd.DataFrame(needed, columns=["system", "dimension", "share"]),
    )


def in_order(described: pd.DataFrame, systems: Sequence[str]) -> pd.DataFrame:
    """Rows by dimension, then by system: in the order of `systems`, others after them."""
    order = dict.fromkeys([*systems, *described["system"]])
    place = described["system"].map({system: n for n, system in enumerate(order)})
    sorted_ = described.assign(place=place).sort_values(["dimension", "place"])
    return sorted_.drop(columns="place")


def over_and_within(table: pd.DataFrame) -> pd.DataFrame:
    """`likert.agreement_with_scores` as a figure draws it: rho over all, and within systems."""
    keys = ["dimension", "metric"]
    over_all = table[[*keys, "rho", "low", "high"]].assign(over="all explanations")
    inside = table[[*keys, "within", "within_low", "within_high"]].assign(over="within systems")
    both = pd.concat([over_all, inside.set_axis(over_all.columns, axis=1)], ignore_index=True)
    return both.rename(columns={"metric": "system", "dimension": "metric", "rho": "value"})
