import json
import re

import numpy as np
import pandas as pd
import pytest

from prism_utils import corpora
from prism_utils.errors import InputError
from prism_utils.metrics.grounding import Grounding, labelled_quality
from prism_utils.prompts import render_prompts
from prism_utils.teachers import Explainer, make_teacher
from prism_utils.teachers.grammar import ERROR_KINDS, GrammarTeacher
from prism_utils.teachers.recorded import RecordedTeacher, read_samples, read_texts
from prism_utils.wording import attributes, surfaces

BOOKS = pd.DataFrame(
    {
        "item_id": ["b1", "b2", "b3", "b4", "b5", "b6"],
        "title": ["Emma", "Persuasion", "Dracula", "Frankenstein", "The Time Machine", "Ulysses"],
        "author": [
            ["Jane Austen"],
            ["Jane Austen"],
            ["Bram Stoker"],
            ["Mary Shelley"],
            ["H. G. Wells"],
            ["James Joyce"],
        ],
        "genre": [["Romance"], ["Romance"], ["Horror"], ["Horror", "Sci-Fi"], ["Sci-Fi"], []],
        "publisher": [["Murray"], ["Murray"], ["Constable"], [], ["Heinemann"], ["Beach"]],
    }
)


def draw_samples(items, count, *, seed=0, longest=50):
    """Random users, histories of 0 to `longest` items and an item that is not among them."""
    rng = np.random.default_rng(seed)
    ids = items["item_id"].to_numpy()
    rows = []
    for number in range(count):
        chosen = rng.choice(ids, min(int(rng.integers(1, longest + 2)), len(ids)), replace=False)
        history, user = chosen[1:].tolist(), f"u{rng.integers(100)}"
        rows.append((f"s{number}", user, history, str(chosen[0]), "train"))
    return pd.DataFrame(rows, columns=["sample_id", "user_id", "history", "item_id", "split"])


def has_words(text, phrase):
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text) is not None


def cut(text, phrases):
    for phrase in sorted(phrases, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(phrase)}(?!\w)", "#", text)
    return text


def written(items):
    """item_id -> kind -> {value: its surface forms}, and all forms of the catalogue."""
    kinds = attributes(items)
    forms = {
        item: {k: {v: surfaces(k, v) for v in rows[row]} for k, rows in kinds.items()}
        for row, item in enumerate(items["item_id"])
    }
    every = {f for k, rows in kinds.items() for vs in rows for v in vs for f in surfaces(k, v)}
    return forms, every


def verify(items, samples, told):
    """Check every label and every claim of a grammar's texts against the tables, by brute force."""
    title = dict(zip(items["item_id"], items["title"], strict=True))
    catalogue, forms_of, every_form = set(title.values()), *written(items)
    assert told["sample_id"].tolist() == samples["sample_id"].tolist()
    for sample, text in zip(samples.itertuples(), told.itertuples(), strict=True):
        name, history = title[sample.item_id], [title[i] for i in sample.history]
        own_forms = {
            f for vs in forms_of[sample.item_id].values() for fs in vs.values() for f in fs
        }
        assert has_words(text.text, name) or name in text.text, text
        assert set(text.cites) <= set(history) and all(c in text.text for c in text.cites), text
        named = {name, *text.cites}
        if text.error in ("title", "relation"):
            assert text.error_text in catalogue - {name, *history} and text.error_text in text.text
            for known in (name, *history):  # cannot be taken for one that is known
                assert not has_words(known, text.error_text), text
                assert not has_words(text.error_text, known), text
            named.add(text.error_text)
        related = re.search(r"(?:based on|influenced by) (.*)", text.text)
        assert bool(related) == (text.error == "relation"), text
        if related:
            assert related[1].startswith(text.error_text), text
        rest = cut(text.text, named)
        words = cut(rest, {*own_forms, text.error_text} - {""}).split()
        spans = range(len(words))
        grams = {" ".join(words[i:j]).strip(".,:;!?") for i in spans for j in range(i + 1, i + 7)}
        assert not grams & catalogue, text  # no further title, not even by accident
        rest = cut(rest, own_forms)
        strange = {form for form in every_form if form in rest and has_words(rest, form)}
        if text.error == "attribute":
            assert text.error_text in strange and text.error_text not in own_forms, text
            assert not {s for s in strange if s not in text.error_text}, text
        else:
            assert not strange, (text, strange)
        assert bool(text.error) == bool(text.error_text)
        if text.error in ("", "relation"):
            common = {
                (kind, value)
                for past in sample.history
                for kind, values in forms_of[past].items()
                for value in values
                if value in forms_of[sample.item_id][kind]
            }
            claims = re.search(r"\b(also|too|as well|another|one more|both|three|like,)\b", rest)
            assert common or not claims, text
            if common and history:
                assert text.kind in {kind for kind, _ in common}, text
                assert any(  # one value that is written and that all cited films have
                    kind == text.kind
                    and any(has_words(text.text, form) for form in surfaces(kind, value))
                    and all(
                        any(value in forms_of[i][kind] for i in sample.history if title[i] == cited)
                        for cited in text.cites
                    )
                    for kind, value in common
                ), text
            if not history and text.error == "":
                assert "history" not in rest and "watched" not in rest, text


def distinct_frames(items, samples, told):
    """Distinct texts once titles and attribute values are masked."""
    title, forms_of = dict(zip(items["item_id"], items["title"], strict=True)), written(items)[0]
    frames = set()
    for item, text in zip(samples["item_id"], told.itertuples(), strict=True):
        values = {f for vs in forms_of[item].values() for forms in vs.values() for f in forms}
        names = {title[item], *text.cites, text.error_text} - {""}
        frames.add(cut(cut(text.text, names), {v for v in values if v in text.text}))
    return len(frames)


@pytest.fixture(scope="module")
def films():
    return corpora.load("embedded", users=10).items


def test_every_label_and_claim_holds_on_the_embedded_films(films):
    samples = draw_samples(films, 2000)
    told = GrammarTeacher(films).explain(samples)
    verify(films, samples, told)
    shares = told["error"].value_counts(normalize=True)
    assert abs(shares[""] - 0.7) < 0.03
    for kind in ERROR_KINDS:
        assert abs(shares[kind] - 0.1) < 0.025
    lengths = told["text"].str.split().str.len()
    assert lengths.quantile(0.01) >= 9 and lengths.quantile(0.99) <= 40
    assert distinct_frames(films, samples[:1000], told[:1000]) >= 300


def test_systematic_errors_are_labelled_as_truly(films):
    samples = draw_samples(films, 500, seed=1)
    verify(films, samples, GrammarTeacher(films, systematic=True, error_rate=1).explain(samples))


def test_a_second_wording_tells_the_same_facts_and_errors(films):
    samples = draw_samples(films, 1000, seed=2)
    first = GrammarTeacher(films).explain(samples)
    second = GrammarTeacher(films, wording="second").explain(samples)
    verify(films, samples, second)
    for column in ("error", "kind", "cites"):
        assert first[column].tolist() == second[column].tolist()
    assert (first["text"] != second["text"]).all()
    wrong = first["error"].isin(["title", "relation"])
    assert first["error_text"][wrong].tolist() == second["error_text"][wrong].tolist()
    quality = labelled_quality(second, Grounding(films).score(second, samples))
    assert (quality[["precision", "recall"]] >= 0.98).all(axis=None)
    few = GrammarTeacher(BOOKS, noun="book", wording="second").explain(
        draw_samples(BOOKS, 300, longest=2)
    )
    assert not few["text"].str.contains("film|watch").any()
    with pytest.raises(InputError, match="wording 'secnd' is unknown: did you mean 'second'?"):
        GrammarTeacher(films, wording="secnd")


def test_it_explains_movielens(shared_data):
    items = corpora.load("movielens", path=shared_data / "ml-latest-small").items
    samples = draw_samples(items, 1000)
    told = GrammarTeacher(items).explain(samples)
    assert set(told["kind"]) >= {"genre", "decade"} and set(told["error"]) == {"", *ERROR_KINDS}
    title = dict(zip(items["item_id"], items["title"], strict=True))
    assert all(title[i] in t for i, t in zip(samples["item_id"], told["text"], strict=True))
    assert distinct_frames(items, samples, told) >= 300


def test_it_explains_a_bookshop():
    samples = draw_samples(BOOKS, 400, longest=2)
    told = GrammarTeacher(BOOKS, noun="book").explain(samples)
    verify(BOOKS, samples, told)
    text = " ".join(told["text"])
    assert "film" not in text and "watch" not in text and "Jane Austen" in text
    assert re.search(r"publisher", text) and re.search(r"science fiction book", text)


def test_order_batches_and_row_order_do_not_matter(films):
    samples = draw_samples(films, 200)
    told = GrammarTeacher(films).explain(samples).set_index("sample_id")
    shuffled = samples.sample(frac=1, random_state=3)
    mixed = GrammarTeacher(films.sample(frac=1, random_state=4))
    again = pd.concat([mixed.explain(shuffled[start : start + 7]) for start in range(0, 200, 7)])
    pd.testing.assert_frame_equal(again.set_index("sample_id").loc[told.index], told)
    other = GrammarTeacher(films, seed=1).explain(samples)
    assert (other["text"].to_numpy() != told["text"].to_numpy()).mean() > 0.9


def test_identity_matters_as_much_as_voice_strength_says(films):
    samples = draw_samples(films, 600)
    swapped = samples.assign(user_id=samples["user_id"].to_numpy()[::-1])
    told = {
        strength: [
            GrammarTeacher(films, voice_strength=strength, error_rate=0.3).explain(rows)["text"]
            for rows in (samples, swapped)
        ]
        for strength in (0.0, 1.0)
    }
    assert told[0.0][0].equals(told[0.0][1])
    assert (told[1.0][0] != told[1.0][1]).mean() > 0.2

    teacher = GrammarTeacher(films, voice_strength=1, error_rate=0)
    kinds = attributes(films)
    values = {
        item: {(k, v) for k in kinds for v in kinds[k][row]}
        for row, item in enumerate(films["item_id"])
    }
    heard = 0
    for sample, kind in zip(samples.itertuples(), teacher.explain(samples)["kind"], strict=True):
        past = set().union(*(values[i] for i in sample.history))
        voice = teacher.voice(sample.user_id)
        if voice in {k for k, _ in past & values[sample.item_id]}:
            heard += 1
            assert kind == voice
    assert heard > 200
    assert {teacher.voice(f"u{n}") for n in range(100)} == set(kinds)


def test_a_systematic_error_is_the_same_for_the_same_item(films):
    ids = films["item_id"].tolist()
    samples = pd.DataFrame(
        [(f"s{n}", f"u{n}", [ids[(n % 3) + 100]], ids[n % 20], "train") for n in range(400)],
        columns=["sample_id", "user_id", "history", "item_id", "split"],
    )
    for kind in ERROR_KINDS:
        spread = {}
        for systematic in (True, False):
            teacher = GrammarTeacher(films, error_rate=1, error_kinds=[kind], systematic=systematic)
            told = teacher.explain(samples)
            assert set(told["error"]) == {kind}
            # A plural ("dramas") is the same wrong value as its singular.
            told["error_text"] = told["error_text"].str.removesuffix("s").str.replace("ie", "y")
            spread[systematic] = told.groupby(samples["item_id"])["error_text"].nunique()
        assert spread[True].max() == 1 and spread[False].min() > 1
        first_errors = GrammarTeacher(
            films, error_rate=1, error_kinds=[kind], systematic=True, seed=5
        ).explain(samples)
        assert first_errors["error_text"].nunique() > 10  # not one error for all items


def test_errors_that_cannot_be_made_give_way():
    bare = pd.DataFrame({"item_id": ["1", "2", "3"], "title": ["A Place", "B Place", "C Place"]})
    samples = draw_samples(bare, 60, longest=1)
    only = GrammarTeacher(bare, noun="place", error_rate=1, error_kinds=["attribute"])
    assert set(only.explain(samples)["error"]) == {""}
    some = GrammarTeacher(bare, noun="place", error_rate=1, error_kinds=["attribute", "title"])
    told = some.explain(samples)
    assert set(told["error"]) == {"title"} and set(told["kind"]) == {""}
    verify(bare, samples, told)
    every = samples.assign(history=[bare["item_id"].tolist()] * len(samples))  # nothing is foreign
    assert set(GrammarTeacher(bare, error_rate=1).explain(every)["error"]) == {""}
    assert only.voice("u1") == ""


def test_a_sequel_never_serves_as_wrong_title():
    titles = ["Star Wars", "Star Wars: Episode V", "Alien", "Aliens", "Wars"]
    items = pd.DataFrame({"item_id": list("12345"), "title": titles, "genre": [["Sci-Fi"]] * 5})
    samples = pd.DataFrame(
        [(f"s{n}", "u", ["2"], "3", "train") for n in range(50)],
        columns=["sample_id", "user_id", "history", "item_id", "split"],
    )
    told = GrammarTeacher(items, error_rate=1, error_kinds=["title", "relation"]).explain(samples)
    assert set(told["error_text"]) == {"Aliens"}


def test_odd_titles_read_well():
    titles = [
        "Airplane!",
        "What's Up, Doc?",
        "...And Justice for All",
        "$",
        "S.W.A.T.",
        "Go {fast}",
    ]
    items = pd.DataFrame(
        {
            "item_id": list("123456"),
            "title": titles,
            "genre": [["Comedy", "Film-Noir"]] * 6,
            "actor": [["Robert Downey Jr."]] * 6,
        }
    )
    samples = draw_samples(items, 500, longest=3)
    told = GrammarTeacher(items).explain(samples)
    for text in told["text"]:
        assert not re.search(r"[!?]\.|(?<!\.)\.\.(?!\.)|\s[.,;:](?!\.)|  ", text), text
        assert text[-1] in ".!?" and not re.search(r"\b(a|A) [aeiou]|noir film", text), text
    title = dict(zip(items["item_id"], titles, strict=True))
    assert all(title[i] in t for i, t in zip(samples["item_id"], told["text"], strict=True))


def test_history_ids_outside_the_catalogue_are_titles(films):
    sample = draw_samples(films, 1).assign(history=[["My Own Film"]])
    told = GrammarTeacher(films, error_rate=0).explain(sample)
    assert told["cites"][0] == ["My Own Film"] and "My Own Film" in told["text"][0]


def test_grammar_names_bad_input(films):
    for parameters, message in [
        ({"error_rate": 1.5}, "error_rate must lie between 0 and 1, found 1.5"),
        ({"voice_strength": -1}, "voice_strength must lie between"),
        ({"error_kinds": ["titel"]}, "error kind 'titel' is unknown: did you mean 'title'"),
        ({"error_kinds": []}, "error_kinds must be a list"),
        ({"error_kinds": "title"}, "error_kinds must be a list"),
        ({"max_history": -1}, "max_history must be 0 or more"),
        ({"seed": -1}, "seed must be 0 or more, found -1"),
    ]:
        with pytest.raises(InputError, match=re.escape(message)):
            GrammarTeacher(films, **parameters)
    sample = draw_samples(films, 2)
    sample.loc[1, "item_id"] = "nowhere"
    with pytest.raises(InputError, match="row 2: item_id 'nowhere' is not in the items table"):
        GrammarTeacher(films).explain(sample)


def test_make_teacher_checks_names_and_types(films):
    assert isinstance(make_teacher("grammar", films, "film", error_rate=0), Explainer)
    for kind, parameters, message in [
        ("gramar", {}, "teacher 'gramar' is unknown: did you mean 'grammar'"),
        ("grammar", {"eror_rate": 0.1}, "no parameter 'eror_rate': did you mean 'error_rate'"),
        ("grammar", {"error_rate": "high"}, "error_rate must be of type float, found 'high'"),
        ("grammar", {"systematic": 1}, "systematic must be of type bool, found 1"),
        ("recorded", {}, "teacher 'recorded' needs the parameter 'path'"),
    ]:
        with pytest.raises(InputError, match=re.escape(message)):
            make_teacher(kind, films, "film", **parameters)


# -- Recorded explanations -----------------------------------------------------------------------


def write_lines(path, *records):
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records))
    return path


def test_recorded_explanations_come_back_by_either_key(tmp_path, films):
    samples = draw_samples(films, 5)
    by_id = samples[["sample_id"]].assign(explanation=[f"text {n}" for n in range(5)])
    by_pair = samples[["user_id", "item_id"]].assign(golden=by_id["explanation"])
    by_id.sample(frac=1, random_state=0).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    by_pair.to_parquet(tmp_path / "b.parquet")
    first = RecordedTeacher(tmp_path / "a.jsonl").explain(samples)
    second = RecordedTeacher(tmp_path / "b.parquet", text_column="golden").explain(samples)
    assert first["text"].tolist() == [f"text {n}" for n in range(5)]
    pd.testing.assert_frame_equal(first, second)
    made = make_teacher("recorded", films, path=str(tmp_path / "a.jsonl"), name="golden")
    assert set(made.explain(samples)["system"]) == {"golden"}


def test_recorded_errors_name_the_line(tmp_path, films):
    good = {"sample_id": "s0", "explanation": "fine"}
    for bad, message in [
        ("{oops", "row 2: not valid JSON"),
        ("[1]", "row 2: must be a JSON object, found list"),
        ({"sample_id": "s1"}, "row 2: 'explanation' must be text, found None"),
        ({"sample_id": "s1", "explanation": 3}, "row 2: 'explanation' must be text, found 3"),
        (
            {"sample_id": None, "explanation": "x"},
            "row 2: 'sample_id' must be text or a whole number, found None",
        ),
        (good, "row 2: a second explanation for s0"),
        ({"user_id": "u", "explanation": "x"}, "row 2: 'sample_id' must be text or a whole number"),
    ]:
        with pytest.raises(InputError, match=re.escape(message)):
            RecordedTeacher(write_lines(tmp_path / "r.jsonl", good, bad))
    teacher = RecordedTeacher(write_lines(tmp_path / "r.jsonl", good))
    with pytest.raises(InputError, match=r"no explanation for 2 of 3 samples.*sample_id s1"):
        teacher.explain(draw_samples(films, 3))
    with pytest.raises(InputError, match="no such file"):
        RecordedTeacher(tmp_path / "nothing.jsonl")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        RecordedTeacher(tmp_path / "broken.parquet")


def test_recorded_explanations_are_the_same_in_every_format(tmp_path):
    told = pd.DataFrame({"user_id": ["007", "NA"], "item_id": [1, 2], "golden": ["It rains.", ""]})
    told.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    told.to_csv(tmp_path / "a.csv", index=False)
    told.set_index("user_id").to_parquet(tmp_path / "a.parquet")
    samples = told.assign(
        sample_id=["s", "t"], history=[[], []], split="test", item_id=["1", "2"], golden=None
    )
    kinds = [RecordedTeacher(tmp_path / f"a.{e}", text_column="golden")
             for e in ("jsonl", "csv", "parquet")]  # fmt: skip
    assert [t.explain(samples)["text"].tolist() for t in kinds] == [["It rains.", ""]] * 3
    assert len({t.description["content"] for t in kinds}) == 1
    told.assign(golden="Corrected.").to_csv(tmp_path / "a.csv", index=False)
    corrected = RecordedTeacher(tmp_path / "a.csv", text_column="golden")
    assert corrected.description["content"] != kinds[0].description["content"]


def test_two_pairs_of_ids_are_two_samples_or_refused(tmp_path):
    record = {"user_profile": "p", "item_profile": "q", "explanation": "x"}
    pairs = [{"user_id": "a-b", "item_id": "c"}, {"user_id": "a", "item_id": "b-c"}]
    path = write_lines(tmp_path / "x.jsonl", *(pair | record for pair in pairs))
    for read in (read_samples, lambda path: read_texts(path, "explanation", "x")):
        with pytest.raises(InputError, match="row 2: user_id 'a' and item_id 'b-c' would be call"):
            read(path)
    ids = write_lines(path, *(p | record | {"sample_id": n} for n, p in enumerate(pairs)))
    assert read_samples(ids)[0]["sample_id"].tolist() == ["0", "1"]
    cut = write_lines(path, pairs[0] | record | {"explanation": "cut \ud83d"})
    with pytest.raises(InputError, match="row 1: 'explanation' holds half a character"):
        RecordedTeacher(cut)
    with pytest.raises(InputError, match="row 1: 'title' must be more than blanks"):
        read_samples(write_lines(path, pairs[0] | record | {"title": " "}))


def test_profiles_become_samples(tmp_path):
    record = {
        "user_profile": "Likes tacos.",
        "item_profile": "Sells tacos.",
        "title": "Taco Riendo",
    }
    record |= {"user_id": 1, "item_id": "2", "explanation": "Tacos."}
    path = write_lines(tmp_path / "x.jsonl", record)
    samples, items = read_samples(path)
    assert samples["input_text"].tolist() == ["Likes tacos. Sells tacos."]
    assert items["title"].tolist() == ["Taco Riendo"] and samples["sample_id"].tolist() == ["1-2"]
    assert RecordedTeacher(path).explain(samples)["text"].tolist() == ["Tacos."]
    prompt = render_prompts(samples, items, template="compact", noun="business")["prompt"][0]
    assert prompt == "history: Likes tacos. Sells tacos. ; explain: Taco Riendo"
    with pytest.raises(InputError, match="row 2: a second record for 1-2"):
        read_samples(write_lines(path, record, record))
    with pytest.raises(InputError, match="holds no records"):
        read_samples(write_lines(path))


def test_published_yelp_explanations_are_read(shared_data):
    path = shared_data / "xrec-yelp" / "explanations.jsonl"
    samples, items = read_samples(path)
    told = RecordedTeacher(path, name="gpt-3.5").explain(samples)
    assert len(told) == 3000 and told["text"].str.len().min() > 0
    assert set(samples["item_id"]) == set(items["item_id"])
