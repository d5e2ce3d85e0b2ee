"""One door for tables: the same table in every format, and what becomes of files that are none."""

from __future__ import annotations

import gzip
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prism_utils.corpora import load
from prism_utils.errors import InputError
from prism_utils.metrics.__main__ import main
from prism_utils.tables import read_given, read_table
from prism_utils.tables.reading import read_file

HEADER = "item_id,title,year,genre\n"


def written(folder: Path, text: str | bytes, name: str = "items.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def book(**more: object) -> dict[str, object]:
    return {"item_id": "a", "title": "Copper Rain", **more}


def columns(path: Path, table: str = "items") -> dict[str, list]:
    return read_given(path, table).to_dict("list")


# --- the same table ---------------------------------------------------------------------------

ITEMS = pd.DataFrame(
    {
        "item_id": ["NA", "007", "1e5", "True"],
        "title": ['The "Copper" Rain', "Tin, Lantern", "1984", "Étoiles\ndu Canal"],
        "year": [1815, None, 1965, -750],
        "genre": [["Horror", "Crime"], [], ["Drama"], ["NA"]],
        "pages": [300, None, 12.5, 4],
    }
)
SAMPLES = pd.DataFrame(
    {
        "sample_id": [1, 2],
        "user_id": ["u", "v"],
        "history": [["NA", "007"], []],
        "item_id": ["1e5", "True"],
        "evidence": [["NA"], []],
    }
)


def every_way(frame: pd.DataFrame, folder: Path, stem: str) -> list[Path]:
    """The table as people write it: lists joined, printed, or as such; with an index or none."""
    lists = [c for c in frame if frame[c].map(lambda v: isinstance(v, list)).any()]
    joined = frame.assign(**{c: frame[c].map("|".join) for c in lists})
    paths = [folder / f"{stem}-{n}" for n in range(9)]
    csv, printed, numbered, text, listed, flat, packed, indexed, polars = (
        path.with_suffix(f".{kind}")
        for path, kind in zip(paths, ["csv"] * 3 + ["jsonl"] * 2 + ["parquet"] * 4, strict=True)
    )
    joined.to_csv(csv, index=False, encoding="utf-8-sig", lineterminator="\r\n")
    frame.to_csv(printed, index=False)  # "['Horror', 'Crime']"
    joined.to_csv(numbered)  # pandas' row numbers come first, under no name
    joined.to_json(text, orient="records", lines=True)
    frame.to_json(listed, orient="records", lines=True)
    joined.iloc[::-1].iloc[::-1].to_parquet(flat)
    frame.convert_dtypes().to_parquet(packed, index=False)
    frame.set_index(frame.columns[0]).to_parquet(indexed)
    large = pa.Table.from_pandas(frame, preserve_index=False)
    wide = {pa.string(): pa.large_string(), pa.list_(pa.string()): pa.large_list(pa.large_string())}
    schema = pa.schema([(field.name, wide.get(field.type, field.type)) for field in large.schema])
    pq.write_table(large.cast(schema), polars)
    return [csv, printed, numbered, text, listed, flat, packed, indexed, polars]


@pytest.mark.parametrize(("table", "frame"), [("items", ITEMS), ("samples", SAMPLES)])
def test_the_same_table_in_every_format_is_the_same(tmp_path, table, frame):
    first, *others = (read_given(path, table) for path in every_way(frame, tmp_path, table))
    for other in others:
        pd.testing.assert_frame_equal(other[first.columns], first)
    if table == "items":
        assert first["item_id"].tolist() == ["NA", "007", "1e5", "True"]
        assert first["year"].tolist() == [1815, pd.NA, 1965, -750]
        assert first["genre"].tolist() == [["Horror", "Crime"], [], ["Drama"], ["NA"]]
        assert first["pages"].tolist() == [["300"], [], ["12.5"], ["4"]]
        assert first["title"].tolist() == ITEMS["title"].tolist()
    else:
        assert first["history"].tolist() == [["NA", "007"], []]
        assert first["sample_id"].tolist() == ["1", "2"] and first["split"].tolist() == ["test"] * 2


def test_explanations_are_the_same_in_every_format(tmp_path):
    told = pd.DataFrame({"sample_id": [1, 2], "text": ['A "good"\nbook', ""]})
    told.to_csv(tmp_path / "mine.csv", index=False)
    told.to_json(tmp_path / "mine.jsonl", orient="records", lines=True)
    told.to_parquet(tmp_path / "mine.parquet")
    found = [
        read_given(tmp_path / f"mine.{e}", "explanations") for e in ("csv", "jsonl", "parquet")
    ]
    assert found[0]["text"].tolist() == ['A "good"\nbook', ""]
    assert found[0]["system"].tolist() == ["mine"] * 2
    for other in found[1:]:
        pd.testing.assert_frame_equal(other, found[0])


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_own_data_is_the_same_corpus_in_every_format(tmp_path, ending):
    seen = pd.DataFrame(
        {
            "user_id": ["u", "u", "v"],
            "item_id": ["007", "NA", "007"],
            "rating": [4.5, None, 3],
            "timestamp": [1609459200000000001, 1609459200000000000, 5],
        }
    )
    items = ITEMS.assign(genre=ITEMS["genre"].map("|".join))
    for name, frame in {"interactions": seen, "items": items}.items():
        path = tmp_path / f"{name}.{ending}"
        if ending == "csv":
            frame.to_csv(path, index=False)
        elif ending == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            frame.to_parquet(path)
    corpus = load("custom", tmp_path, noun="book")
    assert corpus.items["pages"].tolist() == [["300"], [], ["12.5"], ["4"]]
    assert corpus.items["genre"].tolist() == ITEMS["genre"].tolist()
    assert corpus.interactions["timestamp"].tolist() == seen["timestamp"].tolist()
    assert corpus.interactions["rating"].fillna(0).tolist() == [4.5, 0, 3]


def test_a_false_attribute_counts_whatever_the_format(tmp_path):
    genres = ["Horror|Crime", "Drama", "Comedy"]
    items = pd.DataFrame({"item_id": list("abc"), "title": ["Copper Rain", "Tin Lantern", "Doors"]})
    samples = pd.DataFrame({"sample_id": [1, 2], "user_id": ["u", "v"], "history": ["a", "b"]})
    samples.assign(item_id=["b", "c"]).to_csv(tmp_path / "samples.csv", index=False)
    texts = ['You will enjoy "Tin Lantern", a drama.', 'You will enjoy "Doors", a horror film.']
    pd.DataFrame({"sample_id": [1, 2], "text": texts}).to_csv(tmp_path / "mine.csv", index=False)
    items.assign(genre=genres).to_csv(tmp_path / "items.csv", index=False)
    items.assign(genre=genres).to_parquet(tmp_path / "items.parquet")
    mixed = items.assign(genre=[genres[0], ["Drama"], [["Comedy"], None]])
    mixed.to_json(tmp_path / "items.jsonl", orient="records", lines=True)
    means = []
    for ending in ("csv", "parquet", "jsonl"):
        files = {"explanations": "mine.csv", "samples": "samples.csv", "items": f"items.{ending}"}
        words = [word for name, f in files.items() for word in (f"--{name}", str(tmp_path / f))]
        main([*words, "--out", str(tmp_path / "s.parquet"), "--resamples", "5"])
        scores = read_table(tmp_path / "s.parquet", "scores")
        means.append(scores.groupby("metric")["value"].mean().to_dict())
    assert means[0]["wrong_attribute"] == 0.5 and means[0] == means[1] == means[2]


# --- cells ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "values"),
    [
        ("x|y", ["x", "y"]),
        (" x | | y |", ["x", "y"]),
        (["x", None, " ", "y"], ["x", "y"]),
        ([["x", "y"], "z", [["w"], None]], ["x", "y", "z", "w"]),
        (None, []),
        ([], []),
        (300.0, ["300"]),
        ([1, 2.0], ["1", "2"]),
        ("[REC]", ["[REC]"]),
        ("[['x', 'y'], ['z']]", ["x", "y", "z"]),
        ('["x", "y"]', ["x", "y"]),
        ("[]", []),
        (True, ["True"]),
    ],
)
def test_values_of_an_attribute(tmp_path, cell, values):
    path = written(tmp_path, lines(book(kind="word|b"), book(item_id="b", kind=cell)), "i.jsonl")
    assert columns(path)["kind"][1] == values


@pytest.mark.parametrize(
    "cell", [{"wifi": "yes"}, [{"wifi": "yes"}], "['x' 'y']", "[1 2 3]", [["x", {"y": 1}]]]
)
def test_what_is_no_list_of_values_is_refused(tmp_path, cell):
    path = written(tmp_path, lines(book(), book(item_id="b", kind=cell)), "i.jsonl")
    with pytest.raises(InputError, match="i.jsonl: row 2: 'kind' must be text, with | between"):
        read_given(path, "items")


@pytest.mark.parametrize(
    ("year", "kept"),
    [
        ("1815", 1815),
        (1815.0, 1815),
        (None, pd.NA),
        ("", pd.NA),
        (" 1815 ", 1815),
        (0, 0),
        (-750, -750),
    ],
)
def test_years_as_files_have_them(tmp_path, year, kept):
    path = written(tmp_path, lines(book(year=year), book(item_id="b", year=None)), "i.jsonl")
    found = read_given(path, "items")["year"]
    assert found.dtype == "Int64" and found.tolist() == [kept, pd.NA]


@pytest.mark.parametrize(
    "year",
    ["MM", "inf", float("inf"), 1e999, "1_999", "1999-01-01", 20200101, 1999.5, True, [1999]],
)
def test_years_that_are_none_are_refused(tmp_path, year):
    path = written(tmp_path, lines(book(item_id="b"), book(year=year)), "i.jsonl")
    with pytest.raises(InputError, match="i.jsonl: row 2: 'year' must be a"):
        read_given(path, "items")


@pytest.mark.parametrize(
    ("history", "ids"), [(["x", 1], ["x", "1"]), ([1.0], ["1"]), ("x|y", ["x", "y"]), ([], [])]
)
def test_histories_as_files_have_them(tmp_path, history, ids):
    record = {"sample_id": 1, "user_id": 2, "item_id": 3, "history": history}
    assert columns(written(tmp_path, lines(record), "s.jsonl"), "samples")["history"] == [ids]


@pytest.mark.parametrize("history", [[["a"]], ["a", None], [""], [1.5], None, {"a": 1}, [True], 5])
def test_histories_that_hold_no_ids_are_refused_with_their_row(tmp_path, history):
    good = {"sample_id": 1, "user_id": 2, "item_id": 3, "history": ["a"]}
    path = written(tmp_path, lines(good, good | {"sample_id": 2, "history": history}), "s.jsonl")
    with pytest.raises(InputError, match="s.jsonl: row 2: 'history' must be a list of ids"):
        read_given(path, "samples")


@pytest.mark.parametrize("item", [None, True, 1.5, "", " ", ["a"], {}])
def test_ids_that_name_nothing_are_refused(tmp_path, item):
    path = written(tmp_path, lines(book(), book(item_id=item)), "i.jsonl")
    with pytest.raises(InputError, match="i.jsonl: row 2: 'item_id' must be"):
        read_given(path, "items")


@pytest.mark.parametrize("name", ["title", "item_id", "genre", "\ud83d", "about"])
def test_half_an_emoji_is_refused_with_its_row(tmp_path, name):
    half = book() | {name: "cut \ud83d"}
    path = written(tmp_path, lines(book(item_id="b", title="\U0001f600"), half), "i.jsonl")
    with pytest.raises(InputError, match="i.jsonl: row 2: .* holds half a character"):
        read_given(path, "items")


# --- Parquet ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pa.array(["x|y", None]).dictionary_encode(), [["x", "y"], []]),
        (pa.array([["x"], None], pa.large_list(pa.large_string())), [["x"], []]),
        (pa.array([["x"], ["y"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))), [["x"], ["y"]]),
        (pa.array([["x", "y"], ["z", "w"]], pa.list_(pa.string(), 2)), [["x", "y"], ["z", "w"]]),
        (pa.array([b"x|y", b"z"]), [["x", "y"], ["z"]]),
        (pa.array([date(2020, 1, 2), None]), [["2020-01-02"], []]),
        (pa.array([Decimal("4.50"), Decimal("5.00")]), [["4.50"], ["5"]]),
        (pa.array([300, None], pa.int64()), [["300"], []]),
        (pa.array([300.0, None]), [["300"], []]),
        (pa.nulls(2), [[], []]),
    ],
)
def test_attributes_of_every_type(tmp_path, column, values):
    table = pa.table({"item_id": ["a", "b"], "title": ["A", "B"], "kind": column})
    pq.write_table(table, tmp_path / "i.parquet")
    assert columns(tmp_path / "i.parquet")["kind"] == values


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"year": [date(2020, 1, 1), None]}, "row 1: 'year' must be a number, found datetime.date"),
        ({"year": [1.0, float("inf")]}, "row 2: 'year' must be a number, found inf"),
        ({"title": pa.array([b"ok", b"\xed\xa0\xbd"])}, "row 2: 'title' is not UTF-8 text"),
        ({"title": ["A", ""]}, "row 2: 'title' must be more than blanks"),
        ({"title": pa.nulls(2)}, "row 1: 'title' must be text"),
        ({"item_id": [1, None]}, "row 2: 'item_id' must be text or a whole number, found None"),
        ({"item_id": ["a", "a"]}, "row 2: duplicate item_id 'a'"),
        (
            {"facts": [{"wifi": 1}, {"wifi": 0}]},
            "row 1: 'facts' must be text, with | between values",
        ),
        ({" title ": ["A", "B"]}, "every column needs a name of its own, 'title' stands twice"),
    ],
)
def test_parquet_that_does_not_fit_is_refused_with_its_row(tmp_path, more, says):
    table = pa.table({"item_id": ["a", "b"], "title": ["A", "B"]} | more)
    pq.write_table(table, tmp_path / "i.parquet")
    with pytest.raises(InputError, match=r"i\.parquet: " + says):
        read_given(tmp_path / "i.parquet", "items")


def test_damaged_parquet_is_one_sentence_and_never_another_table(tmp_path):
    path = tmp_path / "i.parquet"
    ITEMS.to_parquet(path)
    whole, right = path.read_bytes(), columns(path)
    rng = np.random.default_rng(0)
    for _ in range(60):
        flipped = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            flipped[place] = rng.integers(256)
        path.write_bytes(flipped[: rng.integers(1, 2 * len(whole))])
        try:
            assert list(columns(path)) == list(right)
        except InputError as error:
            assert "i.parquet" in str(error) and "\n" not in str(error)


# --- CSV --------------------------------------------------------------------------------------


def test_csv_as_spreadsheets_and_pandas_leave_it(tmp_path):
    for text in (
        "\ufeff item_id , title ,year, genre\r\na,Copper Rain,1815,x\r\n",
        "\n\nitem_id,title,year,genre\n\na,Copper Rain,1815,x\n\n",
        "item_id,title,year,genre\ra,Copper Rain,1815,x",
        ",item_id,title,year,genre,\n0,a,Copper Rain,1815,x,\n",
        '"item_id","title","year","genre"\n"a","Copper Rain","1815","x"\n',
    ):
        (row,) = read_given(written(tmp_path, text), "items").to_dict("records")
        assert row == book(year=1815, genre=["x"])


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ('a,"The \\"Copper\\" Rain",1815,x\n', "line 2: a quote that neither opens a cell"),
        ('a,The \\"Copper\\" Rain,1815,x\n', "line 2: a quote that neither"),
        ('a,A,1,x\nb,"B,2,x\nc,C,3,x\n', "line 3: a quote that neither"),
        ('a,A,1,x\nb,"B,2,x\nc,C,3,x\nd,"D,4,x\n', "line 3: a quote that neither"),
        ('a,A,1,x\nb, "B, B",2,x\n', "line 3: a quote that neither"),
        ('a,"A" B,1,x\n', "line 2: a quote that neither"),
        ('a,"A\nB",1,x\nc,"C\nD",z,x\n', "line 4: 'year' must be a number, found 'z'"),
        ("a,A\n", r"line 2: 4 fields expected \(item_id, title, year, genre\), found 2"),
        ("a,A,1,x,y\n", "line 2: 4 fields expected .* found 5"),
        ("a,\xa0,1,x\n", "line 2: 'title' must be more than blanks"),
        (",A,1,x\n", "line 2: 'item_id' is empty"),
        ("a,A,1_000,x\n", "line 2: 'year' must be a number, found '1_000'"),
        ("a,A\0,1,x\n", "line 2: holds a zero byte"),
        ("a,A,1,x\na,B,1,x\n", "line 3: duplicate item_id 'a'"),
        ("", "holds no rows"),
    ],
)
def test_csv_that_does_not_fit_is_refused_with_its_line(tmp_path, rows, says):
    with pytest.raises(InputError, match=r"items\.csv: " + says):
        read_given(written(tmp_path, HEADER + rows), "items")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("item_id;title;year", "line 1: its columns are not separated by commas"),
        ("item_id,title, title", "line 1: every column needs a name of its own, 'title' stands tw"),
        ("item_id,name,year", "line 1: column 'title' is missing .columns: item_id, name, year"),
        ("item_id,title,", "line 1: column 3 has values but no name"),
    ],
)
def test_headers_that_do_not_fit_are_refused(tmp_path, header, says):
    with pytest.raises(InputError, match=r"items\.csv: " + says):
        read_given(written(tmp_path, f"{header}\na,A,1999\n"), "items")


def test_a_quote_that_never_closes_is_named_where_it_opens_however_long_the_file(tmp_path):
    rows = "".join(f"c{n},Title {n},1,x\n" for n in range(20_000))
    with pytest.raises(InputError, match="line 2: a quote"):
        read_given(written(tmp_path, HEADER + 'a,"A,1,x\n' + rows), "items")


def test_a_cell_of_two_million_characters_loads(tmp_path):
    path = written(tmp_path, f'{HEADER}a,"{"word, " * 350_000}",1,x\nb,B,2,x\n')
    assert columns(path)["item_id"] == ["a", "b"]


# --- files that are no tables -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("i.csv", gzip.compress(b"item_id,title\n", mtime=0), "is compressed with gzip; unpack it"),
        ("i.csv", b"PK\x03\x04 and so on", "is a zip archive, as .xlsx is"),
        ("i.jsonl", b"PAR1 and so on", "is a Parquet file; name it .parquet"),
        ("i.csv", (HEADER + "a,A,1,x\n").encode("utf-16"), "is text in UTF-16; save it as UTF-8"),
        ("i.csv", (HEADER + "a,A,1,x\n").encode("utf-16-le"), "line 1: holds a zero byte"),
        ("i.csv", (HEADER + "a,É,1,x\n").encode("latin-1"), "line 2: 'title' is not utf-8 text"),
        ("i.csv", "item_id,title,é\n".encode("latin-1"), "line 1: 'column 3' is not utf-8 text"),
        ("i.csv", HEADER.encode() + b"a,A\xed\xa0\xbd,1,x\n", "line 2: 'title' is not utf-8 text"),
        ("i.jsonl", '{"item_id": "É"}'.encode("latin-1"), "row 1: is not UTF-8 text"),
        ("i.parquet", b"", "not a readable Parquet file .Parquet file size is 0 bytes.; write it"),
        ("i.parquet", HEADER.encode(), "not a readable Parquet file"),
        ("i.xlsx", b"", "give a file whose name ends in .csv, .jsonl or .parquet"),
        ("i.csv", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("i.jsonl", b'{"a": ' + b"[" * 99_999, "row 1: is nested too deep"),
        (
            "i.jsonl",
            b'{"a": 1}\n\n{"a": 1, "a": 2}',
            "row 3: not valid JSON .the name 'a' stands tw",
        ),
        ("i.jsonl", b'{"a": 1}\n{"a": "cut', "row 2: not valid JSON"),
        (
            "i.jsonl",
            b'[{"item_id": "a"}]',
            "row 1: must be a JSON object, found list; give one obj",
        ),
        ("i.jsonl", b'{"": 1}', "every column needs a name of its own, one has none"),
        ("i.jsonl", b'{"n": ' + b"1" * 5000 + b"}", "row 1: not valid JSON"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, name, content, says):
    with pytest.raises(InputError, match=rf"{name}: {says}") as refused:
        read_given(written(tmp_path, content, name), "items")
    assert "\n" not in str(refused.value)


def test_folders_and_missing_files_are_named(tmp_path):
    for ending in ("csv", "jsonl", "parquet"):
        (tmp_path / f"folder.{ending}").mkdir()
        with pytest.raises(InputError, match=rf"folder\.{ending}: is a folder; give a file"):
            read_file(tmp_path / f"folder.{ending}")
        with pytest.raises(InputError, match=rf"gone\.{ending}: no such file"):
            read_file(tmp_path / f"gone.{ending}")


def test_a_path_is_no_pattern(tmp_path):
    """Arrow, too, takes a folder called key=value for a column where it is asked for a table."""
    folder = tmp_path / "title=[x]" / "year=1999"
    folder.mkdir(parents=True)
    ITEMS.drop(columns="year").to_parquet(folder / "i.parquet")
    assert "year" not in columns(folder / "i.parquet")
