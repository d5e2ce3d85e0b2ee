"""The rating form in a real browser, at the widths of a phone and of a laptop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from rating_study import HOSTILE, make, tables

from prism_utils.human_eval import collect as collecting
from prism_utils.human_eval import form, widget
from prism_utils.human_eval.key import Study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-background-networking"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=options)
        yield running
        running.close()


@pytest.fixture(params=[(375, 740), (1366, 768)], ids=["phone", "laptop"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh page at two widths; the test fails if it speaks to the network or of an error."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(15_000)
    opened = context.new_page()
    trouble: list[str] = []
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("console", lambda said: trouble.append(said.text))
    opened.on(
        "request", lambda asked: trouble.append(asked.url) if asked.url[:4] == "http" else None
    )
    yield opened
    context.close()
    assert trouble == []


def rate(page: Page, ratings: str) -> None:
    for key in ratings:
        page.keyboard.press(key)
    page.keyboard.press("Enter")


def practise(page: Page) -> None:
    page.get_by_role("button", name="Start with practice").press("Enter")
    for _ in range(10):
        rate(page, "345")
        page.keyboard.press("Enter")


def test_a_whole_study_by_keyboard_with_a_reload_in_the_middle(page, tmp_path):
    study = make(n=12, n_samples=12, raters=2)
    path, _ = form.write_forms(study, tmp_path, send_to="the lab <lab@example.org>")
    page.goto(path.as_uri())
    practise(page)
    page.get_by_role("button", name="Begin").press("Enter")
    mine, given = study.of("r01"), {}
    texts = study.explanations.set_index(["sample_id", "system"])["text"]
    for row in mine.itertuples():
        if row.number == 5:
            for pause in (1500, 5000):  # a busy browser takes its time to hand on what is kept
                page.wait_for_timeout(pause)
                page.reload()
                if not page.get_by_role("heading", name="How to rate").count():
                    break
        assert page.locator("h2").inner_text() == f"Explanation {row.number} of {len(mine)}"
        shown = page.locator("p.text").evaluate("node => node.textContent")
        assert shown == texts[row.sample_id, row.system]  # as text, hostile or not
        given[row.code] = f"{row.number % 5 + 1}{(row.number + 2) % 5 + 1}{row.number % 3 + 1}"
        rate(page, given[row.code])
        # nothing wider than the screen
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.title() == "Rating study pilot"
    assert page.locator("h2").inner_text() == "Thank you, all is done"
    with page.expect_download() as download:
        page.locator("#download").press("Enter")
    saved = tmp_path / "back" / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name == "pilot_r01.csv"
    assert page.locator("#answers").input_value() == saved.read_text(encoding="utf-8")

    got = collecting.collect([saved], study)
    assert got.report["outcome"].tolist() == ["taken"] and got.waiting == ["r02"]
    rated = got.ratings.merge(mine, on=["sample_id", "system"]).pivot(
        index="code", columns="dimension", values="rating"
    )
    order = ["persuasiveness", "personalization", "faithfulness"]
    assert {code: "".join(map(str, row[order])) for code, row in rated.iterrows()} == given


def test_feedback_skip_going_back_and_what_is_left_open(page, tmp_path):
    study = make(raters=2)
    page.goto(form.write_forms(study, tmp_path)[0].as_uri())
    page.get_by_role("button", name="Start with practice").click()
    assert page.get_by_role("button", name="Compare").is_disabled()
    rate(page, "412")
    feedback = page.locator(".feedback").inner_text()
    inside = (
        "n => n.getBoundingClientRect().right <= n.closest('.card').getBoundingClientRect().right"
    )
    assert page.locator(".feedback table").evaluate(inside)
    card = page.locator(".feedback").bounding_box()
    assert card["x"] + card["width"] <= page.viewport_size["width"] - 16  # the page's own margin
    assert "same" in feedback and "4 apart" in feedback and "3 apart" in feedback
    assert page.get_by_role("button", name="Next").evaluate("n => n === document.activeElement")
    page.keyboard.press("Enter")
    for _ in range(9):
        rate(page, "345")
        page.keyboard.press("Enter")
    page.get_by_role("button", name="Begin").click()

    page.get_by_text("I cannot rate this one").click()
    skip = page.get_by_role("button", name="Skip this explanation")
    assert skip.is_disabled()
    page.get_by_label("Why?").select_option("I do not understand the text")
    page.get_by_label("In your words").fill('=1+1 "5", really')
    skip.click()
    for _ in range(6):
        rate(page, "333")
    assert page.locator("h2").inner_text() == "Explanation 8 of 8"
    page.get_by_role("button", name="Back").click()
    chosen = page.get_by_role("group", name="personalization").get_by_role("radio", checked=True)
    assert chosen.get_attribute("value") == "3"
    page.get_by_role("group", name="personalization").get_by_label("1, generic").check()
    page.keyboard.press("5")  # the question with the focus
    page.get_by_role("button", name="Next").click()
    rate(page, "222")
    answers = page.locator("#answers").input_value()
    got = collecting.collect_texts({"pasted": answers}, study)
    assert got.skipped["reason"].tolist() == ['I do not understand the text: =1+1 "5", really']
    seventh = got.ratings[got.ratings["number"] == 7].set_index("dimension")["rating"]
    assert seventh.to_dict() == {"persuasiveness": 3, "personalization": 5, "faithfulness": 3}

    page.evaluate("state.answers[data.rows[2].code].ratings = {}; go(end)")
    assert page.locator("h2").inner_text() == "Almost done"
    page.get_by_role("button", name="Explanation 3").click()
    rate(page, "444")
    assert page.locator("h2").inner_text() == "Thank you, all is done"


def test_every_control_has_a_name_and_every_text_enough_contrast(page, tmp_path):
    """WCAG 2: names for controls, 4.5 to 1 for text, 44 pixels for what is tapped."""
    study = make(raters=2)
    page.goto(form.write_forms(study, tmp_path)[0].as_uri())
    audit = """() => {
      const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map((v) => v / 255).map((v) =>
        v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b; };
      const ground = (n) => { for (; n; n = n.parentElement) {
        const c = getComputedStyle(n).backgroundColor; if (!/, 0\\)$/.test(c)) return c; }
        return "rgb(255, 255, 255)"; };
      const found = [];
      for (const n of document.querySelectorAll("body *")) {
        if (!n.checkVisibility() || n.closest(":disabled")) continue;
        if ([...n.childNodes].some((c) => c.nodeType === 3 && c.data.trim())) {
          const a = light(getComputedStyle(n).color), b = light(ground(n));
          if ((Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5) found.push(n.outerHTML);
        }
        if (n.matches("button, .scale label") && n.getBoundingClientRect().height < 44)
          found.push(n.outerHTML);
      }
      return found; }"""
    pages = {0: 0, 1: 15, 12: 15}  # how many radios each has
    for number, radios in pages.items():
        page.evaluate(f"go({number})")
        assert page.evaluate(audit) == []
        tree = page.locator("body").aria_snapshot()
        assert len(re.findall(r"- radio \"\d", tree)) == radios
        assert not re.search(r"- (radio|button|textbox|combobox|group)( \[\w+\])*:?$", tree, re.M)
        assert page.evaluate("document.activeElement.tagName") == "H2"
    page.evaluate("go(end)")
    assert page.evaluate(audit) == []
    assert page.get_by_label("Your answers as text").count() == 1


def test_the_form_runs_in_a_frame_as_notebooks_show_it(page, tmp_path):
    study = make(raters=2)
    shell = tmp_path / "notebook.html"
    shell.write_text(f"<!doctype html><title>x</title>{widget.show(study).data}", encoding="utf-8")
    page.goto(shell.as_uri())
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="Start with practice").click()
    for key in "345":
        page.keyboard.press(key)
    frame.get_by_role("button", name="Compare").click()
    assert "guide" in frame.locator(".feedback").inner_text()


def test_without_storage_the_form_says_so_and_still_works(page, tmp_path):
    page.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); };")
    page.goto(form.write_forms(make(raters=2), tmp_path)[0].as_uri())
    practise(page)
    assert "does not keep your work" in page.locator("#notice").inner_text()


def test_markup_in_names_titles_and_the_guide_stays_text(page, tmp_path):
    data = tables(2)
    data["items"]["title"] = HOSTILE
    data["items"]["genre"] = [[HOSTILE]] * len(data["items"])
    data["explanations"]["system"] = data["explanations"]["system"] + HOSTILE
    guide = form.load_guide()
    guide["advice"], guide["setting"]["item"] = [HOSTILE], HOSTILE
    study = make(raters=2, n_samples=2, noun=HOSTILE, **data)
    study = Study.load(study.save(tmp_path / "key.json"))
    (path, _) = form.write_forms(study, tmp_path, guide=guide, send_to=HOSTILE)
    assert "teacher" not in path.read_text(encoding="utf-8")
    page.goto(path.as_uri())
    for number in (0, 1, 11, 12, 13):
        page.evaluate(f"go({number})")
        assert page.locator("img, script[src], a").count() == 0
        assert page.locator("script").count() == 2 and page.title() == "Rating study pilot"
    assert page.locator("p.item").evaluate("node => node.textContent").startswith(HOSTILE[:60])


def test_what_a_spreadsheet_would_run_is_defused_and_comes_back(page, tmp_path):
    study = make(raters=2, n_samples=3)
    page.goto(form.write_forms(study, tmp_path)[0].as_uri())
    words = ["=1+1", "x; =HYPERLINK(A1)", "y,@SUM(A1)", "-5, '=z", "a=b", "\uff1d1"]
    for code, said in zip(study.of("r01")["code"], words, strict=True):
        answer = {"ratings": {}, "skipped": said, "seconds": 1}
        page.evaluate("([code, answer]) => { state.answers[code] = answer; }", [code, answer])
    page.evaluate("go(end)")
    answers = page.locator("#answers").input_value()
    assert not re.search(r'(^|[,;\t"]\s*)[=+\-@\uff1d]', answers, re.M)
    got = collecting.collect_texts({"pasted": answers}, study)
    assert sorted(got.skipped["reason"]) == sorted(words)
