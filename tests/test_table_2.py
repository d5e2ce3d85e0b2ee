"""Table 2 by arithmetic: what its sizes and its memory come to, and what distillation costs."""

from __future__ import annotations

import pandas as pd
import pytest

from prism_utils.claims import table_2


def test_the_printed_sizes_and_the_table_that_they_leave_out():
    counts = table_2.parameters()
    assert (counts / 1e6).round(1).to_numpy().tolist()[0] == [11000.0, 11003.7, 11135.3]
    assert counts["tied"].iloc[1] == 139_420_416 and pd.isna(counts["untied"].iloc[1])
    assert table_2.user_tables() == {"MovieLens-1M": 4_639_488, "Yelp": 1_526_730_240}


def test_the_printed_peak_fits_tied_weights_in_gib_and_no_other_reading():
    memory = table_2.memory()
    left = memory[["left over (if GB)", "left over (if GiB)"]].to_numpy()
    assert (left[:2] > 0).tolist() == [[False, True], [False, False]]  # tied, untied
    assert left[0, 1] == pytest.approx(20.60 - 2 * 11_003_736_064 / 2**30)
    assert memory["printed peak (GB or GiB)"].tolist() == [20.60, 20.60, 1.91, 1.91]
    # Keys and values of 24 layers of width 4096, two bytes each.
    assert table_2.cache_tokens(left[0, 1]) == int(left[0, 1] * 2**30 / (2 * 24 * 2 * 4096))


def test_users_take_the_ratio_of_weights_away():
    ratios = table_2.weight_ratios()
    assert ratios.index.tolist()[2] == "Yelp, 1,987,929 users"
    assert ratios.loc["without users", "student in float32, teacher tied"] == pytest.approx(
        11_003_736_064 / (2 * 139_420_416)
    )
    assert ratios.iloc[-1].max() < 7 < 38 < ratios.iloc[0].min()


def test_the_bill_counts_every_sample_at_each_price():
    speeds = pd.DataFrame(
        [{"source": "here", "model": "m", "way": "one by one", "explanations_per_s": 2.0}]
    )
    bill = table_2.bill(speeds, {"Table 2": 3, "here": 0.5})
    assert bill["MovieLens-1M (hours)"].tolist() == pytest.approx(
        [994_169 * 4.61292 / 3600, 994_169 / 7200]
    )
    assert bill["Yelp (money)"].tolist() == pytest.approx(
        [3 * 1_576_058 * 4.61292 / 3600, 0.5 * 1_576_058 / 7200]
    )
    assert bill["source"].tolist() == ["Table 2", "here"]


def test_a_run_stands_beside_the_paper_in_the_same_units():
    sizes = pd.DataFrame({"model": ["a"], "parameters": [2e6], "peak_bytes": [2**30]})
    table = table_2.beside(sizes, {"a": 5.0})
    assert table.to_numpy().tolist() == [
        ["paper", "FLAN-T5-XXL", 11_000, 4612.92, 20.6],
        ["paper", "Prism", 140, 190.3, 1.91],
        ["this run", "a", 2, 5, 1],
    ]
