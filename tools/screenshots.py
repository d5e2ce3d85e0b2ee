"""Photograph the rating form as a laptop and a phone show it, for chapter 6.

    python tools/screenshots.py runs/quick

Needs a Chromium or Chrome on the PATH and playwright; writes book/_static/rating_form.png.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from prism_utils.human_eval import design, form
from prism_utils.runs import Run
from prism_utils.sequences import read_samples

OUT = Path(__file__).resolve().parents[1] / "book" / "_static" / "rating_form.png"
SCREENS = {"laptop": (1180, 720), "phone": (390, 720)}


def photograph(browser: Browser, address: str, width: int, height: int) -> Image.Image:
    """The first explanation of the study, two of its three questions answered."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(address)
    page.get_by_role("button", name="Start with practice").click()
    for answers in 10 * ["345"]:
        for key in answers:
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
    page.get_by_role("button", name="Begin").click()
    page.keyboard.press("4")
    page.keyboard.press("2")
    page.evaluate("scrollTo(0, 0)")
    return Image.open(io.BytesIO(page.screenshot()))


def main(run_dir: str) -> int:
    run = Run.open(run_dir)
    told = run.require("explanations", made_by="02_distillation")
    path = run.require_path("samples", made_by="01_preprocessing")
    samples = read_samples(path, sample_ids=told["sample_id"])
    items = run.require("items", made_by="01_preprocessing")
    study = design.make_study(
        told, samples[samples["split"] == "test"], items, name="example", raters=1, n_samples=2,
        systems=["prism", run.facts["teacher"]], noun=run.facts["noun"], max_history=12,
    )  # fmt: skip
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("error: no chromium or google-chrome on the PATH", file=sys.stderr)
        return 2
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        address = form.write_forms(study, folder)[0].as_uri()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shots = [photograph(browser, address, *size) for size in SCREENS.values()]
        browser.close()
    gap = 24
    sheet = Image.new("RGB", (sum(s.width for s in shots) + gap, shots[0].height), "white")
    at = 0
    for shot in shots:
        sheet.paste(shot, (at, 0))
        at += shot.width + gap
    sheet.quantize(64).save(OUT, optimize=True)
    print(f"{OUT.name}: {OUT.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
