"""The published tables are transcribed without slips: their own arithmetic must come out."""

import pytest

from prism_utils.claims import paper


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


def test_claims_are_named_once_and_placed():
    claims = list(paper.CLAIMS.values())
    assert len(claims) == len(paper._CLAIMS)
    assert all(claim.place and claim.text and not claim.text.endswith(".") for claim in claims)
    assert len({claim.text for claim in claims}) == len(claims)
    assert all(claim.resolution >= 0 for claim in claims)
    assert not any(claim.resolution for claim in claims if claim.value is None)
    # Abstract, text, loose ends: each group in one piece, as the front page shows them.
    groups = [(not c.place.startswith("abstract"), c.loose_end) for c in claims]
    assert groups == sorted(groups)


def test_claimed_numbers_are_those_of_the_tables():
    claims, improvement = paper.CLAIMS, paper.TABLE_2_IMPROVEMENT
    assert claims["speedup"].value == improvement["Latency"].value
    assert claims["memory"].value == improvement["Peak GPU"].value
    assert claims["size_ratio"].value == improvement["Params"].value
    for name, model, column in (
        ("student_parameters", "Prism", "Params"),
        ("teacher_parameters", "FLAN-T5-XXL", "Params"),
        ("student_memory", "Prism", "Peak GPU"),
        ("teacher_memory", "FLAN-T5-XXL", "Peak GPU"),
    ):
        assert claims[name].value == paper.TABLE_2[model][column].value
    for data, name in (("MovieLens-1M", "movielens_sequences"), ("Yelp", "yelp_sequences")):
        counts = paper.TABLE_1[data]
        assert claims[name].value == sum(counts[f"{s} sequences"].value for s in ("train", "test"))
    assert claims["movielens_items"].value == paper.TABLE_1["MovieLens-1M"]["items"].value


def test_rows_that_the_text_cites():
    faithfulness = {
        m: row["Faithfulness"].value for m, row in paper.TABLE_3["MovieLens-1M"].items()
    }
    found = {name: faithfulness.get(name) for name in paper.CITED_ROWS}
    assert found == {"PETER": None, "FLAN-T5-XXL": 2.92, "Prism (Full)": 4.12}
    assert paper.CITED_ROWS["PETER"].value == faithfulness["PEPLER"]


@pytest.mark.parametrize("dataset", paper.TABLE_3)
def test_the_orders_that_the_text_reads_from_table_3(dataset):
    rows = {m: {c: v.value for c, v in row.items()} for m, row in paper.TABLE_3[dataset].items()}
    full, teacher = rows["Prism (Full)"], rows["FLAN-T5-XXL"]
    others = [row for model, row in rows.items() if not model.startswith("Prism")]
    for column in (*paper.HUMAN, "GPTScore", "BS-F1"):
        assert full[column] > max(row[column] for row in others)
    assert teacher["ROUGE-L"] == max(row["ROUGE-L"] for row in rows.values())
    for column in paper.AUTOMATIC + paper.HUMAN:
        assert full[column] > rows["Prism (w/o User)"][column]
        assert full[column] > rows["BART-Base"][column]
    drops = {c: full[c] - rows["Prism (w/o User)"][c] for c in paper.HUMAN}
    assert max(drops, key=drops.get) == "Personalization"


def test_the_example_of_tables_4_and_5_is_the_same_film():
    assert paper.TABLE_4_ITEM == paper.TABLE_5[0].item
    assert all(key in paper.TABLE_4_SENTENCES for pair in paper.TABLE_4 for key in pair)
