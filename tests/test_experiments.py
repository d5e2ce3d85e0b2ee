"""One controlled training at the smallest size, and the theory it is held against."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from prism_utils import experiments
from prism_utils.errors import InputError
from prism_utils.experiments import along, filtering, mechanism, over_seeds, predicted

SMALL = mechanism.tiny_grid(1)[0] | {"test_samples": 20, "steps": 4, "decodings": ["greedy"]}


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return experiments.measure(SMALL | {"decodings": ["greedy", "sample@1.0"]})


def value(rows: list[dict], decoding: str, metric: str) -> float:
    (row,) = (r for r in rows if (r["decoding"], r["metric"]) == (decoding, metric))
    return row["value"]


def test_a_measurement_is_the_same_twice(rows):
    again = experiments.measure(SMALL | {"decodings": ["greedy", "sample@1.0"]})
    pd.testing.assert_frame_equal(pd.DataFrame(rows), pd.DataFrame(again))
    other = experiments.measure(SMALL | {"seed": 1})
    assert value(other, "training", "valid_loss") != value(rows, "training", "valid_loss")
    assert {"size": "0.1M", "seed": 0}.items() <= rows[0].items()
    assert "error_rate" not in rows[0] and "answers" not in rows[0]  # as in the base; measuring


def test_what_is_measured(rows):
    # The teacher errs by naming foreign titles and in no other way, at about its rate.
    assert value(rows, "teacher", "wrong_attribute") == 0
    assert value(rows, "teacher", "any_error") == value(rows, "teacher", "foreign_title") > 0
    assert value(rows, "teacher", "names_item") == 1 and value(rows, "teacher", "rougeL") == 1
    mass = [value(rows, "forced", f"mass_{part}") for part in ("item", "history", "foreign")]
    assert min(mass) > 0 and sum(mass) < 1
    assert 0 < value(rows, "forced", "golden_foreign") < 1
    # A student of four steps knows nothing: about one over the vocabulary on any title.
    assert value(rows, "forced", "mass_error_train") < 0.05
    assert 0 <= value(rows, "greedy", "repeats_error_train") <= 1
    assert value(rows, "sample@1.0", "predicted_foreign_title") == pytest.approx(0.3, abs=0.1)
    sizes = {}
    for name, (width, layers, *_) in experiments.SIZES.items():
        sizes[name] = 28 * layers * width**2  # attention twice and once more, two feed-forward
    assert value(rows, "training", "parameters") > sizes["0.1M"]
    assert sizes["10M"] / sizes["0.1M"] > 100


def test_theory_of_scattered_errors():
    # Four right films of equal chance, forty wrong ones that share an error rate of 0.4.
    answers = [[1, 10 + i % 4, 0] for i in range(600)] + [[1, 20 + i % 40, 0] for i in range(400)]
    wrong = [False] * 600 + [True] * 400
    assert predicted(answers, wrong, 0) == 0
    assert predicted(answers, wrong, 1) == pytest.approx(0.4)
    for t in (0.5, 0.7, 1.3):
        bad, good = 40 * (0.4 / 40) ** (1 / t), 4 * (0.6 / 4) ** (1 / t)
        assert predicted(answers, wrong, t) == pytest.approx(bad / (bad + good), abs=0.02)


def test_theory_of_repeated_errors():
    # The same wrong film always: likelier than each of four right ones at a rate of 0.4, not 0.1.
    for rate, greedy in ((0.4, 1), (0.1, 0)):
        right = [[1, 10 + i % 4, 0] for i in range(round(1000 * (1 - rate)))]
        answers = right + [[1, 99, 0]] * round(1000 * rate)
        wrong = [False] * len(right) + [True] * (1000 - len(right))
        assert predicted(answers, wrong, 0) == greedy
        assert predicted(answers, wrong, 1) == pytest.approx(rate)
    # Cooler sampling lies between.
    assert rate < predicted(answers[:-1] + [[1, 99, 0]] * 400, wrong[:-1] + [True] * 400, 0.5) < 1


def test_rare_tokens_do_not_weigh_too_much():
    # Each wrong film once: squared, a thousand of them weigh nothing beside one certain film.
    answers = [[1, 0]] * 500 + [[10 + i, 0] for i in range(500)]
    assert predicted(answers, [False] * 500 + [True] * 500, 0.5) == 0
    # Where nothing was drawn twice there is nothing to estimate from, and counts are taken.
    assert predicted([[1], [2]], [False, True], 0.5) == 0.5


def test_vectors_are_what_they_say():
    trials = {v: experiments.build(SMALL | {"vector": v}) for v in experiments.VECTORS}
    tables = {
        name: getattr(trial.explainer.model.model.encoder, "user_embeddings", None)
        for name, trial in trials.items()
    }
    start = experiments.build(SMALL | {"vector": "frozen", "steps": 1})
    first = start.explainer.model.model.encoder.user_embeddings.weight
    assert (tables["frozen"].weight == first).all()  # whatever the number of steps
    assert not (tables["full"].weight == first).all()
    assert (tables["full"].weight == tables["shuffled"].weight).all()
    full, moved = (trials[name].explainer.users.index for name in ("full", "shuffled"))
    assert sorted(full) == sorted(moved) and list(full) != list(moved)
    assert tables["shared"].weight.shape[0] == 2 and tables["none"] is None
    told = trials["shared"].explain(trials["shared"].test)
    assert told["user_known"].all()
    assert told["sample_id"].tolist() == trials["full"].test["sample_id"].tolist()


def test_unknown_users_are_never_trained_on():
    point = SMALL | {"users": 60, "unknown_users": 0.2}
    trial = experiments.build(point)
    known = trial.test["user_id"].isin(set(trial.train["user_id"]))
    assert len(known) == 40 and known.any() and (~known).sum() >= 20
    strangers = set(trial.test["user_id"]) - set(trial.pool["user_id"])
    assert strangers and not strangers & set(trial.train["user_id"])
    assert not trial.explain(trial.test[~known])["user_known"].any()
    metrics = {row["metric"] for row in experiments.measure(point)}
    assert {"any_error", "any_error known", "any_error unknown"} <= metrics


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"error_rat": 0.1}, "did you mean 'error_rate'"),
        ({"size": "3M"}, "size: '3M' is unknown"),
        ({"vector": "ful"}, "did you mean 'full'"),
        ({"decodings": ["sample@2"]}, "decodings: 'sample@2' is unknown"),
        ({"steps": 1.5}, "steps must be of type int, found 1.5"),
        ({"unknown_users": 1.0}, r"unknown_users must lie in \[0, 1\)"),
        ({"n_train": 10**6}, "n_train: 1000000 samples are asked for and"),
    ],
)
def test_bad_points(point, message):
    with pytest.raises(InputError, match=message):
        experiments.measure(point)


def test_grids():
    for name in experiments.GRIDS:
        points = experiments.grid(name)
        whole = [experiments.complete(point) for point in points]
        assert all(whole.count(point) == 1 for point in whole)
        seeds = {point["seed"] for point in points}
        assert len(points) % len(seeds) == 0 and (name == "tiny" or len(seeds) == 3)
    assert len(experiments.grid("full")) <= 150
    with pytest.raises(InputError, match="did you mean 'quick'"):
        experiments.grid("qick")


def long(points: list[tuple[dict, int, float, float]]) -> pd.DataFrame:
    """Rows as `measure` returns them, from (changes, seed, teacher's rate, greedy rate)."""
    rows = []
    for change, seed, teacher, greedy in points:
        about = change | {"seed": seed, "n": 1}
        metric = experiments.RATE[change.get("error_kinds", "title")]
        rows += [
            about | {"decoding": "teacher", "metric": metric, "value": teacher},
            about | {"decoding": "greedy", "metric": metric, "value": greedy},
            about | {"decoding": "greedy", "metric": f"predicted_{metric}", "value": 0.5},
        ]
    return pd.DataFrame(rows)


def test_the_clean_teacher_stands_for_every_way_of_erring():
    table = long(
        [
            ({}, 0, 0.3, 0.1),
            ({"systematic": True}, 0, 0.3, 0.6),
            ({"error_rate": 0.0}, 0, 0.0, 0.02),
        ]
    )
    found = filtering(table)
    assert len(found) == 4
    clean = found[found["error_rate"] == 0]
    assert sorted(clean["systematic"]) == [False, True]
    assert (clean["student"] == 0.02).all() and (clean["predicted"] == 0).all()
    assert found.set_index(["systematic", "error_rate"]).loc[(True, 0.3), "student"] == 0.6


def test_readings_and_crossings():
    rates = [(0.2, 0.1), (0.4, 0.3), (0.6, 0.8)]
    table = long(
        [
            ({"error_rate": t}, seed, t, s + 0.01 * seed)
            for t, s in [*rates, (0.0, 0.0)]
            for seed in range(3)
        ]
    )
    gaps = experiments.against_teacher(filtering(table)).sort_values("error_rate")
    assert gaps["reading"].tolist() == ["", "filters", "filters", "amplifies"]
    assert gaps["difference"].round(2).tolist() == [0.01, -0.09, -0.09, 0.21]
    crossed = experiments.crossings(gaps)
    assert crossed["crosses"].tolist() == ["46%"]
    one = experiments.against_teacher(filtering(table[table["seed"] == 0]))
    assert set(one["reading"]) == {"", "neither"}  # one seed decides nothing


def test_slopes_are_per_doubling():
    sizes = {"0.5M": 0.2, "2M": 0.3}
    table = long([({"size": s}, seed, 0.3, r) for s, r in sizes.items() for seed in range(3)])
    found = filtering(pd.concat([table, long([({"dropout": 0.3}, 0, 0.3, 0.0)])]))
    rows = along(found, "size")
    assert len(rows) == 6
    (slope,) = experiments.slopes(rows, "size").to_dict("records")
    assert slope["value"] == pytest.approx(0.05) and slope["seeds"] == 3
    assert slope["low"] == pytest.approx(slope["high"])
    assert experiments.slopes(rows, "dropout").empty
    assert along(found, centre={"dropout": 0.3, "seed": 5})["student"].tolist() == [0.0]


def test_intervals_over_seeds():
    table = pd.DataFrame({"at": ["a"] * 3 + ["b"], "x": [1.0, 2.0, 3.0, 5.0]})
    found = over_seeds(table, ["at"], ["x"]).set_index("at")
    # t of 2 degrees of freedom, 4.303, times 1 / sqrt(3)
    assert found.loc["a", "high"] - 2 == pytest.approx(4.3027 / np.sqrt(3), abs=1e-4)
    assert np.isnan(found.loc["b", "low"]) and found.loc["b", "value"] == 5


def test_a_record_gives_the_same_tables(rows):
    table = pd.concat([pd.DataFrame(rows), long([({"systematic": True}, 1, 0.3, 0.5)])])
    kept = experiments.records(table)
    assert len(kept) == 2 and kept[1]["greedy foreign_title"] == 0.5
    assert "error_rate" not in kept[1] and kept[1]["systematic"] is True
    again = filtering(experiments.from_records(json.loads(json.dumps(kept))))
    pd.testing.assert_frame_equal(again.round(4), filtering(table).round(4))
