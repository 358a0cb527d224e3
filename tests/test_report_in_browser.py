"""Reports in a browser: they open offline without a complaint, answer pointer and keyboard, and fit a phone.

With PICTURES=FOLDER in the environment the parts of every task's report are written there as PNG files.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from run_by_hand import artefacts, write_run
from smoke_runs import SMOKE_PIPELINES, SmokeRuns
from stand_in_task import StandInTask

import discover.tasks
from discover.report import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium (Debian: apt-get install chromium)"),
]

FLAGS = [
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
PAPER = {"width": 720, "height": 1000}
"""A4 with its margins, at 96 points an inch."""
RESULTS = Path(__file__).resolve().parent.parent / "results"
HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"

PLACES = """
plot => {
  const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
  return plot.data.flatMap(trace => (trace.customdata || []).map((number, i) => ({
    number,
    hover: trace.text[i],
    x: box.left + xaxis._offset + xaxis.d2p(trace.x[i]),
    y: box.top + yaxis._offset + yaxis.d2p(trace.y[i]),
    inside: xaxis.d2p(trace.x[i]) <= xaxis._length && yaxis.d2p(trace.y[i]) >= 0
  })).filter(one => one.inside));
}
"""
"""Where the candidates are on the screen; those that lie outside of the plot are left out."""

HIDDEN = """
sticky => [...document.querySelectorAll('table')].filter(table => {
  const place = (table.closest('.scroll') || document.body).getBoundingClientRect();
  const may = sticky && table.classList.contains('sticky');
  return table.checkVisibility() && !may && table.getBoundingClientRect().right > place.right + 1;
}).map(table => table.closest('section').id + ': ' + table.querySelector('tr').textContent.trim());
"""
"""Tables of which columns are hidden; where the argument is true, without those whose first column stays."""

OVERLAPS = """
() => {
  const boxes = [];
  const add = (element, text, rects) => {
    if (!element.checkVisibility()) { return; }
    const scroll = element.closest('.scroll');
    const clip = scroll && scroll.getBoundingClientRect();
    for (const rect of rects) {
      const right = clip ? Math.min(rect.right, clip.right) : rect.right;
      if (right - rect.left > 1 && rect.height > 1) {
        boxes.push({ element, text, left: rect.left, right, top: rect.top, bottom: rect.bottom });
      }
    }
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest('script, style, math, noscript, svg')) { continue; }
    const range = document.createRange();
    range.selectNodeContents(node);
    add(parent, node.data.trim(), range.getClientRects());
  }
  for (const one of document.querySelectorAll('math, #front-plot text')) {
    if (one.textContent.trim()) { add(one, one.textContent, [one.getBoundingClientRect()]); }
  }
  const found = [];
  boxes.sort((a, b) => a.top - b.top);
  boxes.forEach((a, i) => {
    for (let j = i + 1; j < boxes.length && boxes[j].top < a.bottom; j++) {
      const b = boxes[j];
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && high > 4 && a.element !== b.element) { found.push(a.text + ' | ' + b.text); }
    }
  });
  return found;
}
"""
"""Pairs of texts that lie over each other; formulas and labels of the plot are one text each."""

PAIRING = "pairing-smoke"
"""Its report is a page of another kind, without a front to point at."""

OF_NETWORKS = [name for name in SMOKE_PIPELINES if name != PAIRING]


class OpenPage:
    """A report in a browser without a network, with all that it complained of and asked for."""

    def __init__(self, browser: Any, report: Path, viewport: dict[str, int], **options: Any) -> None:
        self.report = report
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.context = browser.new_context(viewport=viewport, offline=True, **options)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(report.as_uri())
        self.page.locator("#front-plot .scatterlayer .point").first.wait_for()

    def is_quiet(self) -> None:
        """Nothing was complained of, and nothing but the file itself was read."""
        assert self.complaints == []
        outside = [url for url in self.requests if not url.startswith(("data:", "blob:"))]
        assert outside == [self.report.as_uri()]

    def shown(self) -> str:
        """Return the position of the only candidate whose details are shown."""
        panels = self.page.locator("article.panel:visible")
        assert panels.count() == 1
        return str(panels.get_attribute("data-candidate"))

    def fits(self) -> None:
        """The page is no wider than its window, and no text lies over another."""
        width = self.page.evaluate("document.documentElement.scrollWidth")
        assert width <= self.page.viewport_size["width"]
        assert self.page.evaluate("document.body.scrollWidth") <= width
        assert self.page.evaluate(OVERLAPS) == []
        assert self.page.evaluate(HIDDEN, width < DESKTOP["width"]) == []

    def places(self) -> list[dict[str, Any]]:
        """Return the candidates' places on the screen, without those that another point is close to."""
        plot = self.page.locator("#front-plot")
        plot.scroll_into_view_if_needed()
        places: list[dict[str, Any]] = plot.evaluate(PLACES)
        return [
            one
            for one in places
            if all(
                max(abs(one["x"] - other["x"]), abs(one["y"] - other["y"])) > 20
                for other in places
                if other is not one
            )
        ]


def letters(markup: str) -> str:
    """Return text without markup and without any space."""
    return "".join(unescape(re.sub(r"<[^>]+>", "", markup)).split())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run made by hand, some of whose texts try to run."""
    content = artefacts()
    content["front"]["reason"] = content["front"]["candidates"][0]["provenance"] = HOSTILE
    content["validation"]["candidates"]["c02"]["folds"][0]["title"] = HOSTILE
    content["manifest"]["versions"] = {HOSTILE: HOSTILE}
    folder = write_run(tmp_path_factory.mktemp("browser") / "run", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discover.tasks, "get_task", lambda name: StandInTask())
        return write_report(folder)


@pytest.mark.parametrize("pipeline", OF_NETWORKS)
def test_the_report_of_every_task(browser: Any, smoke_runs: SmokeRuns, pipeline: str) -> None:
    """It opens offline; pointing at a candidate shows its formula, selecting it its details; it fits."""
    report = smoke_runs.folder(pipeline) / "report.html"
    opened = OpenPage(browser, report, DESKTOP)
    chosen = opened.page.locator("#front-plot").get_attribute("data-chosen")
    assert opened.shown() == chosen
    places = opened.places()
    assert places
    for place in places[:3]:
        opened.page.mouse.move(place["x"], place["y"])
        label = opened.page.locator("#front-plot .hovertext")
        sync_api.expect(label).to_contain_text(place["hover"].split("<br>")[-2])  # the last label goes late
        assert letters(label.inner_html()) == letters(place["hover"])
        opened.page.mouse.click(place["x"], place["y"])
        panel = opened.page.locator(f"article.panel[data-candidate='{place['number']}']")
        sync_api.expect(panel).to_be_visible()
        assert opened.shown() == str(place["number"])
        assert panel.locator("math").count() >= 1
        opened.page.wait_for_timeout(400)  # or the next click would be the second of a double click
    for section in ("run", "front", "path", "portrait", "curves", "folds", "known"):
        assert opened.page.locator(f"section#{section}").is_visible(), section
    loaded = "images => images.every(image => image.complete && image.naturalWidth > 100)"
    assert opened.page.locator("figure img").evaluate_all(loaded)
    opened.page.mouse.move(0, 0)  # for a label lies over what it is of
    sync_api.expect(opened.page.locator("#front-plot .hovertext")).to_have_count(0)
    opened.fits()
    opened.is_quiet()
    opened.context.close()

    phone = OpenPage(browser, report, PHONE, has_touch=True, is_mobile=True)
    phone.fits()
    phone.is_quiet()
    phone.context.close()

    paper = OpenPage(browser, report, PAPER)
    paper.page.emulate_media(media="print")
    assert paper.page.evaluate(HIDDEN, True) == []
    paper.context.close()


def test_dark_pages_have_dark_plots_and_light_pictures(browser: Any, by_hand: Path) -> None:
    opened = OpenPage(browser, by_hand, DESKTOP, color_scheme="dark")
    page = "getComputedStyle(document.body).backgroundColor"
    plot = "getComputedStyle(document.querySelector('#front-plot .main-svg')).backgroundColor"
    picture = "getComputedStyle(document.querySelector('figure img')).backgroundColor"
    assert opened.page.evaluate(page) == opened.page.evaluate(plot) == "rgb(21, 24, 28)"
    assert opened.page.evaluate(picture) == "rgb(255, 255, 255)"
    opened.is_quiet()
    opened.context.close()


def test_buttons_copy_the_rule(browser: Any, by_hand: Path) -> None:
    opened = OpenPage(browser, by_hand, DESKTOP)
    header = opened.page.locator("header")
    header.locator("summary").click()
    text = header.locator(".copied pre").first.inner_text()
    header.locator("button.copy").first.click()
    assert opened.page.evaluate("window.getSelection().toString()").strip() == text.strip()
    assert header.locator("button.copy").first.inner_text() in ("Copied", "Press Ctrl-C")
    opened.is_quiet()
    opened.context.close()


def test_the_report_of_pairing_experiments(browser: Any, smoke_runs: SmokeRuns) -> None:
    """It has pictures and tables and no script; it opens offline, whole, and without a complaint."""
    report = smoke_runs.folder(PAIRING) / "report.html"
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report.as_uri())
    loaded = (
        "images => images.length > 2 && images.every(image => image.complete && image.naturalWidth > 100)"
    )
    assert page.locator("img").evaluate_all(loaded)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert complaints == []
    context.close()


def test_no_text_of_a_run_becomes_script(browser: Any, by_hand: Path) -> None:
    opened = OpenPage(browser, by_hand, DESKTOP)
    assert opened.page.locator("body").inner_text().count(HOSTILE) >= 4
    assert opened.page.locator("img[src='x']").count() == 0
    opened.is_quiet()
    opened.context.close()


def test_the_keyboard_reaches_everything(browser: Any, by_hand: Path) -> None:
    """Tab reaches the plot, the candidates' buttons and wide tables, visibly; arrows step along the front."""
    opened = OpenPage(browser, by_hand, DESKTOP)
    page = opened.page
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
              const one = document.activeElement;
              return [one.id || one.className || one.tagName, getComputedStyle(one).outlineStyle];
            }"""
        )
        if name == "BODY":
            break
        assert outline != "none", name
        reached.append(name)
    assert {"front-plot", "pick", "scroll", "SUMMARY", "A"} <= set(reached)

    plot = page.locator("#front-plot")
    plot.focus()
    page.keyboard.press("Home")
    order = [opened.shown()]
    for _ in range(4):
        page.keyboard.press("ArrowRight")
        order.append(opened.shown())
    assert sorted(order) == ["0", "1", "2", "3", "4"]
    page.keyboard.press("ArrowRight")
    assert opened.shown() == order[-1]
    page.keyboard.press("ArrowLeft")
    assert opened.shown() == order[-2]

    button = page.locator("button.pick").first
    button.focus()
    page.keyboard.press("Enter")
    assert opened.shown() == button.get_attribute("data-candidate")
    opened.is_quiet()
    opened.context.close()


def test_a_finger_selects_a_candidate(browser: Any, by_hand: Path) -> None:
    opened = OpenPage(browser, by_hand, PHONE, has_touch=True, is_mobile=True)
    place = next(one for one in opened.places() if str(one["number"]) != opened.shown())
    opened.page.touchscreen.tap(place["x"], place["y"])
    panel = opened.page.locator(f"article.panel[data-candidate='{place['number']}']")
    sync_api.expect(panel).to_be_visible()
    opened.is_quiet()
    opened.context.close()


def test_without_scripts_all_candidates_are_listed(browser: Any, by_hand: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(by_hand.as_uri())
    assert page.locator("article.panel:visible").count() == 5
    assert page.locator("noscript img").is_visible()
    context.close()


@pytest.mark.skipif(not os.environ.get("PICTURES"), reason="PICTURES names no folder for pictures")
@pytest.mark.parametrize("pipeline", OF_NETWORKS)
def test_pictures_are_written(browser: Any, smoke_runs: SmokeRuns, pipeline: str) -> None:
    """Every part of the task's report, from results/ where the task has been run in full."""
    folder = Path(os.environ["PICTURES"])
    folder.mkdir(parents=True, exist_ok=True)
    task = pipeline.removesuffix("-smoke")
    report = RESULTS / task / "report.html"
    if not report.exists():
        report = smoke_runs.folder(pipeline) / "report.html"
    opened = OpenPage(browser, report, {"width": 860, "height": 1400})
    for section in opened.page.locator("main > section").all():
        save(section.screenshot(), folder / f"{task}-{section.get_attribute('id')}.png")
    chosen = [one for one in opened.places() if str(one["number"]) == opened.shown()]
    for place in chosen:
        opened.page.mouse.move(place["x"], place["y"])
        opened.page.locator("#front-plot .hovertext").wait_for()
    plot, details = (opened.page.locator(name).bounding_box() for name in ("#front-plot", "#details"))
    clip = {**plot, "height": details["y"] + details["height"] - plot["y"]}
    save(opened.page.screenshot(clip=clip), folder / f"{task}-pointed-at.png")
    opened.context.close()


def save(data: bytes, path: Path) -> None:
    """Write a picture with few colours, small enough for the documentation."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.convert("RGB").quantize(96).save(path, optimize=True)
    assert path.stat().st_size > 1000
