"""The published tables are transcribed without slips: their own arithmetic must come out."""

import pytest

from prism_utils import paper


def test_table_1_counts_fit_the_sampling_rule():
    movielens = {name: v.value for name, v in paper.TABLE_1["MovieLens-1M"].items()}
    samples = movielens["train sequences"] + movielens["test sequences"]
    assert samples == 1_000_209 - movielens["users"]  # every rating but each user's first
    assert movielens["test sequences"] == -(-samples // 10)
    yelp = {name: v.value for name, v in paper.TABLE_1["Yelp"].items()}
    samples = yelp["train sequences"] + yelp["test sequences"]
    assert yelp["test sequences"] == -(-samples // 10)


@pytest.mark.parametrize(("column", "tolerance"), [("Latency", 0.05), ("Peak GPU", 0.05)])
def test_table_2_ratios_follow_from_its_rows(column, tolerance):
    teacher, student = (paper.TABLE_2[m][column].value for m in ("FLAN-T5-XXL", "Prism"))
    assert teacher / student == pytest.approx(
        paper.TABLE_2_IMPROVEMENT[column].value, abs=tolerance
    )


def test_table_2_params_ratio_is_cut_not_rounded():
    teacher, student = (paper.TABLE_2[m]["Params"].value for m in ("FLAN-T5-XXL", "Prism"))
    assert int(teacher / student) == paper.TABLE_2_IMPROVEMENT["Params"].value


def test_table_3_has_every_cell_and_its_place():
    for dataset, models in paper.TABLE_3.items():
        assert len(models) == 6
        for model, cells in models.items():
            assert tuple(cells) == paper.AUTOMATIC + paper.HUMAN
            for column, cell in cells.items():
                assert (cell.sd is not None) == (column in paper.HUMAN)
                assert cell.place == f"Table 3, {dataset}, row {model}, column {column}"
    best = max(paper.TABLE_3["Yelp"].items(), key=lambda row: row[1]["ROUGE-L"].value)[0]
    assert best == "FLAN-T5-XXL"  # the claim of section 6.2
    assert paper.TABLE_3["MovieLens-1M"]["Prism (Full)"]["Faithfulness"].value == 4.12


def test_every_number_and_claim_says_where_it_stands():
    rows = paper.rows()
    assert len(rows) == 8 + 6 + 3 + 2 * 6 * 6 + 2
    assert len({row["place"] for row in rows}) == len(rows)
    assert all(row["place"].startswith(f"Table {row['table']},") for row in rows)
    assert all(claim.place and claim.text for claim in paper.CLAIMS.values())
    assert list(paper.CLAIMS)[0] == "speedup"


def test_the_example_of_tables_4_and_5_is_the_same_film():
    assert paper.TABLE_4_ITEM == paper.TABLE_5[0].item
    assert all(key in paper.TABLE_4_SENTENCES for pair in paper.TABLE_4 for key in pair)
