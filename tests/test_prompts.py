import pandas as pd
import pytest

from prism_utils.errors import InputError
from prism_utils.prompts import PromptWriter, render_prompts
from prism_utils.wording import article, attributes, plural, surfaces, verbs

ITEMS = pd.DataFrame(
    {
        "item_id": [str(n) for n in range(1, 7)],
        "title": ["E.T.", "Star Wars", "The Thing", "Back to the Future", "Jaws", "Alien"],
        "genre": [["Sci-Fi"]] * 6,
    }
)


def sample(history, item="4", **more):
    row = {"sample_id": "s1", "user_id": "u1", "history": history, "item_id": item, "split": "test"}
    return pd.DataFrame([row | more])


def words(texts):
    return [len(text.split()) for text in texts]


def test_the_papers_template_word_for_word():
    prompt = render_prompts(sample(["1", "2", "3"]), ITEMS, noun="movie").prompt[0]
    assert prompt == (
        "Generate a short, personalized, and persuasive explanation for the following "
        "recommendation.\nContext:\n- User's movie viewing history: E.T., Star Wars, The Thing\n"
        "- Recommended movie: Back to the Future\n"
        "Task: Explain WHY this is a good recommendation based on the user's history.\n"
        "- Be specific: Link features of the recommended movie (e.g., genre, director, actors, "
        "theme) to patterns in the history.\n- Be natural: Sound like a genuine recommendation "
        "from a friend.\n- Be concise: Ideally one or two sentences.\n"
        "- Start the explanation directly.\nExplanation:"
    )


def test_other_domains_get_their_own_words():
    books = ITEMS.rename(columns={"genre": "author"})
    prompt = render_prompts(sample(["1"]), books, noun="book").prompt[0]
    assert "User's book reading history: E.T." in prompt and "(e.g., author)" in prompt
    assert "movie" not in prompt and "film" not in prompt


def test_compact_prompt_keeps_the_last_items_and_unknown_ids_as_text():
    told = render_prompts(
        sample(["1", "2", "My Own Film"]), ITEMS, template="compact", max_history=2
    )
    assert told.prompt[0] == "history: Star Wars | My Own Film ; explain: Back to the Future"
    assert (told.shown[0], told.dropped[0]) == (2, 0)
    empty = render_prompts(sample([], item="A Title"), ITEMS, template="compact")
    assert empty.prompt[0] == "history:  ; explain: A Title"


@pytest.mark.parametrize("budget", range(7, 20))
def test_oldest_titles_go_first_until_the_budget_holds(budget):
    long = sample(["1", "2", "3", "5", "6"])
    told = render_prompts(
        pd.concat([long, sample(["1"]).assign(sample_id="s2")]),
        ITEMS,
        template="compact",
        count_tokens=words,
        max_tokens=budget,
    )
    assert (told.prompt.str.split().str.len() <= budget).all()
    assert (told.shown + told.dropped).tolist() == [5, 1]
    kept = ["E.T.", "Star Wars", "The Thing", "Jaws", "Alien"][5 - told.shown[0] :]
    assert told.prompt[0] == f"history: {' | '.join(kept)} ; explain: Back to the Future"
    if told.dropped[0]:  # one more title would not have fitted
        more = render_prompts(long, ITEMS, template="compact", max_history=told.shown[0] + 1)
        assert words(more.prompt)[0] > budget


def test_input_text_stands_in_the_place_of_the_history():
    both = pd.concat([sample(["1"], input_text="likes old sharks"), sample(["1"], input_text=None)])
    both["sample_id"] = ["a", "b"]
    told = render_prompts(both, ITEMS, template="compact", count_tokens=words, max_tokens=9)
    assert told.prompt.tolist() == [
        "history: old sharks ; explain: Back to the Future",
        "history: E.T. ; explain: Back to the Future",
    ]
    assert told.dropped.tolist() == [1, 0]


def test_the_rankers_evidence_is_marked_where_asked():
    both = pd.concat([sample(["1", "2", "My Own Film"]), sample(["5"])], ignore_index=True)
    both["sample_id"], both["evidence"] = ["a", "b"], [["My Own Film", "1"], []]
    marked = render_prompts(both, ITEMS, template="compact", mark_evidence=True)
    assert marked.prompt.tolist() == [
        "history: E.T. | Star Wars | My Own Film ; because of: My Own Film | E.T. ; "
        "explain: Back to the Future",
        "history: Jaws ; explain: Back to the Future",
    ]
    cut = render_prompts(both, ITEMS, template="faithful", max_history=2, mark_evidence=True)
    assert (
        "history: Star Wars, My Own Film\n- What in this history led to the recommendation: "
        "My Own Film\n- Recommended film: Back to the Future\n" in cut.prompt[0]
    )
    tight = render_prompts(both, ITEMS, template="compact", mark_evidence=True,
                           count_tokens=words, max_tokens=20)  # fmt: skip
    assert "history: My Own Film ; because of: My Own Film | E.T. ;" in tight.prompt[0]
    unmarked = render_prompts(both, ITEMS, template="compact")
    assert unmarked.equals(render_prompts(both.drop(columns="evidence"), ITEMS, template="compact"))
    with pytest.raises(InputError, match="'evidence' is missing .*with_evidence adds it"):
        render_prompts(sample(["1"]), ITEMS, mark_evidence=True)


def letters(texts):
    return [len(text) for text in texts]


@pytest.mark.parametrize("budget", range(25, 60))
def test_a_title_is_cut_where_it_alone_is_over_the_budget(budget):
    writer = PromptWriter(ITEMS, template="compact")
    asked = ([["1", "2"], ["1"]], ["A title of thirty letters, no less", "5"])
    told = writer.compose(*asked, count_tokens=letters, max_tokens=budget, cut_titles=True)
    assert max(letters(told.texts)) <= budget
    assert told.texts[1].endswith("explain: Jaws") and not told.cut[1]
    frame = len("history:  ; explain: ")
    assert told.cut[0] == (frame + len(asked[1][0]) > budget)
    if told.cut[0]:
        assert told.texts[0] == f"history:  ; explain: {asked[1][0][: budget - frame]}"
        assert (told.shown[0], told.dropped[0]) == (0, 2)


def test_what_is_marked_goes_before_the_title_is_cut():
    writer = PromptWriter(ITEMS, template="compact")
    history = ["A very long title of what was seen before"]
    (text,) = writer.compose(
        [history], ["5"], evidence=[history], mark_evidence=True,
        count_tokens=letters, max_tokens=30, cut_titles=True,
    ).texts  # fmt: skip
    assert text == "history:  ; explain: Jaws"
    with pytest.raises(
        InputError, match="max_tokens=21 is too small: the prompt of sample 0 takes"
    ):
        writer.compose([[]], ["5"], count_tokens=letters, max_tokens=21, cut_titles=True)


FACTS = pd.DataFrame(
    {
        "item_id": ["1", "2", "3", "4"],
        "title": ["Heat", "Alien", "Ronin", "Blank"],
        "year": [1995, 1979, 1998, None],
        "genre": [["Crime", "Action"], ["Sci-Fi", "Horror"], ["Action", "Crime"], []],
        "actor": [["Robert De Niro"], ["John Hurt"], ["Robert De Niro"], []],
    }
)
HEAT = "Heat (genre crime, action; actor Robert De Niro; decade 1990s)"
RONIN = "Ronin (genre action, crime; actor Robert De Niro; decade 1990s)"


@pytest.mark.parametrize(
    ("facts", "history", "item"),
    [
        ("none", "Heat | Alien | Nobody's", "Ronin"),
        ("shared", f"{HEAT} | Alien | Nobody's", "Ronin"),
        ("item", "Heat | Alien | Nobody's", RONIN),
        ("all", f"{HEAT} | Alien | Nobody's", RONIN),
    ],
)
@pytest.mark.parametrize("as_title", [False, True])
def test_facts_stand_beside_the_titles(facts, history, item, as_title):
    asked = (["Heat", "Alien", "Nobody's"], "Ronin") if as_title else (["1", "2", "Nobody's"], "3")
    (told,) = render_prompts(sample(*asked), FACTS, template="compact", facts=facts).prompt
    assert told == f"history: {history} ; explain: {item}"
    (told,) = render_prompts(sample(*asked), FACTS, facts=facts).prompt
    assert f"history: {history.replace(' | ', ', ')}\n- Recommended film: {item}\n" in told


@pytest.mark.parametrize("facts", ["none", "shared", "item", "all"])
def test_an_item_without_facts_reads_as_without(facts):
    for item in ("4", "A film of mine"):
        (told,) = render_prompts(sample(["1"], item), FACTS, template="compact", facts=facts).prompt
        title = "Blank" if item == "4" else item
        assert told == f"history: Heat ; explain: {title}"
    bare = FACTS[["item_id", "title"]]
    (told,) = render_prompts(sample(["1"], "3"), bare, template="compact", facts=facts).prompt
    assert told == "history: Heat ; explain: Ronin"


def test_the_item_shares_nothing_with_itself_and_namesakes_have_no_facts_by_title():
    (told,) = render_prompts(sample(["3"], "3"), FACTS, template="compact", facts="shared").prompt
    assert told == "history: Ronin ; explain: Ronin"
    twins = pd.concat([FACTS, FACTS.iloc[[2]].assign(item_id="5")])
    (told,) = render_prompts(sample(["1"], "Ronin"), twins, template="compact", facts="all").prompt
    assert told == "history: Heat ; explain: Ronin"
    (told,) = render_prompts(sample(["1"], "5"), twins, template="compact", facts="item").prompt
    assert told == f"history: Heat ; explain: {RONIN}"


def test_a_title_in_another_spelling_is_known_and_has_its_facts():
    items = FACTS.assign(title=["Amélie", "Heat", "HEAT", "Straße"])
    writer = PromptWriter(items, template="compact", facts="item")
    for name, item in (
        ("Ame\u0301lie", "1"), (" AMÉLIE\n", "1"), ("Heat", "2"), ("HEAT", "3"), ("STRASSE", "4"),
    ):  # fmt: skip
        by_id, by_name = (writer.write(sample([], asked)).prompt[0] for asked in (item, name))
        assert by_name == by_id.replace(items.title[int(item) - 1], name) and writer.knows(name)
    assert writer.knows("heat") and not writer.knows("Heat 2")
    assert writer.write(sample([], "heat")).prompt[0].endswith("explain: heat")  # one of two


def test_the_item_by_title_shares_nothing_with_itself_by_id():
    (told,) = render_prompts(sample(["3"], "ronin"), FACTS, template="compact", facts="all").prompt
    assert told == f"history: Ronin ; explain: r{RONIN[1:]}"


def test_the_rankers_items_come_with_what_they_share():
    marked = sample(["1", "2"], "3", evidence=["2", "1"])
    (told,) = render_prompts(
        marked, FACTS, template="compact", facts="shared", mark_evidence=True
    ).prompt
    assert told == f"history: {HEAT} | Alien ; because of: Alien | {HEAT} ; explain: Ronin"


@pytest.mark.parametrize("budget", range(6, 60))
def test_facts_go_after_the_last_title_of_the_history(budget):
    marked = sample(["2", "1"], "3", evidence=["1"])
    given = {"template": "compact", "facts": "all", "mark_evidence": True}
    told = PromptWriter(FACTS, template="compact", facts="all").compose(
        marked["history"], marked["item_id"], evidence=marked["evidence"], mark_evidence=True,
        count_tokens=words, max_tokens=budget, cut_titles=True,
    )  # fmt: skip
    (text,), (facts,), (kept,) = told.texts, told.facts_dropped, told.shown
    assert len(text.split()) <= budget
    assert text == render_prompts(marked, FACTS, **given).prompt[0] or told.dropped[0]
    assert not facts or kept == 0
    assert kept + told.dropped[0] == 2
    if 0 < facts < 8:
        assert "explain: Ronin" in text and text.count("(") <= 2
    if facts == 8:
        assert "(" not in text


def test_half_an_emoji_becomes_the_replacement_character():
    asked = [["Copper \ud83d", "\ud83d\ude00"]], ["\ude00"]
    (text,) = PromptWriter(ITEMS, template="compact").compose(*asked).texts
    assert text == "history: Copper \ufffd | \U0001f600 ; explain: \ufffd"


def test_bad_input_is_named():
    with pytest.raises(InputError, match="facts 'share' is unknown: did you mean 'shared'"):
        render_prompts(sample([]), ITEMS, facts="share")
    with pytest.raises(InputError, match="template 'compct' is unknown: did you mean 'compact'"):
        render_prompts(sample([]), ITEMS, template="compct")
    with pytest.raises(InputError, match="max_tokens=3 is too small: the prompt of sample 's1'"):
        render_prompts(sample(["1"]), ITEMS, template="compact", count_tokens=words, max_tokens=3)
    with pytest.raises(InputError, match="go together"):
        render_prompts(sample([]), ITEMS, max_tokens=3)
    with pytest.raises(InputError, match="max_history must be 0 or more"):
        render_prompts(sample([]), ITEMS, max_history=-1)
    with pytest.raises(InputError, match="'history' is missing"):
        render_prompts(sample([]).drop(columns="history"), ITEMS)


def test_english_of_single_words():
    right = {
        "a": "comedy university European one-off uniform NASA US",
        "an": "action hour umbrella",
    }
    for wanted, phrases in right.items():
        for phrase in phrases.split():
            assert article(phrase) == wanted, phrase
    assert article("unidentified object") == "an" and article("FBI story") == "an"
    assert plural("business") == "businesses" and plural("story") == "stories"
    assert verbs("business")[0] == "visited" and verbs("gadget")[1] == "chosen"
    assert surfaces("genre", "Sci-Fi") == ("science fiction",)
    assert surfaces("genre", "Drama") == ("drama", "dramas")
    assert surfaces("genre", "Solarpunk") == ("Solarpunk",) and surfaces("theme", "War") == ("War",)


def test_attributes_of_a_table_include_the_decade_and_skip_placeholders():
    items = pd.DataFrame(
        {
            "item_id": ["1", "2"],
            "title": ["A", "B"],
            "year": [1985.0, None],
            "genre": [["Drama", "(no genres listed)"], None],
        }
    )
    assert attributes(items) == {"genre": [["Drama"], []], "decade": [["1980s"], []]}
