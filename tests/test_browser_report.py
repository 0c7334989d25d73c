"""The views in a real browser: they draw, answer pointer and keyboard, and fetch nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from contrast import least_contrast
from cutaway.views import AttentionView, HeatmapView, Prose, Share, TableView, ioi_report
from sample_report import HOSTILE, TOKENS, example, report_data

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

PAINTED = """canvas => {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return data.some((value, i) => i % 4 === 3 && value > 0);
}"""


@pytest.fixture(scope="module")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(ioi_report(report_data()).html(), encoding="utf-8")
    return path


@pytest.fixture
def report(page: Page, report_file: Path) -> Iterator[Page]:
    """The sample report, opened; a request beyond its own file fails the test."""
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report_file.as_uri())
    yield page
    assert requests == [report_file.as_uri()]


def tip(page: Page) -> Locator:
    return page.locator(".ct-tip")


def cell(page: Page, row: int, column: int) -> Locator:
    heads = page.locator(".ct-heatmap", has_text="Every head").locator(".ct-map")
    return heads.locator("tbody tr").nth(row).locator("td").nth(column)


def no_overflow(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_page_draws_and_hostile_text_stays_text(report: Page) -> None:
    assert report.locator("h1").inner_text() == "Indirect object identification in sample"
    assert report.locator(".ct-map").count() == 6
    for canvas in report.locator("canvas").all():
        assert canvas.evaluate(PAINTED)
    assert report.evaluate("window.stolen") is None
    report.locator("select").select_option(label=HOSTILE)
    assert report.locator(".ct-line .ct-token .text").first.inner_text() == HOSTILE
    assert report.evaluate("window.stolen") is None


def test_no_map_is_cut_where_there_is_room(report: Page) -> None:
    report.set_viewport_size({"width": 1200, "height": 900})
    cut = "boxes => boxes.filter(b => b.scrollWidth > b.clientWidth).map(b => b.textContent)"
    assert report.locator(".ct-heatmap .ct-scroll").evaluate_all(cut) == []


def test_a_script_that_got_in_would_not_run(report: Page) -> None:
    # The page's own policy is the second wall behind the escaping. What it stops is reported as
    # an error in the console, so this is asked in a page without that check.
    fresh = report.context.browser.new_context(offline=True).new_page()
    text = Path(report.url.removeprefix("file://")).read_text(encoding="utf-8")
    fresh.set_content(text.replace("<main id", f"{HOSTILE}<main id", 1))
    assert fresh.evaluate("window.stolen") is None
    fresh.context.close()


def test_a_cell_tells_its_value_when_pointed_at(report: Page) -> None:
    cell(report, 2, 5).hover()
    lines = tip(report).inner_text().split("\n")
    assert lines[0] == "layer 2, head 5"
    assert "share of the metric restored" in lines[1] and lines[2].startswith("95% interval [")
    report.locator("h1").hover()
    assert tip(report).is_hidden()


def test_arrow_keys_walk_over_a_map(report: Page) -> None:
    cell(report, 0, 0).focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft"):
        report.keyboard.press(key)
    assert tip(report).inner_text().startswith("layer 1, head 1\n")
    report.keyboard.press("End")
    report.keyboard.press("ArrowRight")
    assert tip(report).inner_text().startswith("layer 1, head 7\n")
    report.keyboard.press("Escape")
    assert tip(report).is_hidden()
    # The map is one stop of the Tab key, and remembers where it was left.
    report.keyboard.press("Tab")
    report.keyboard.press("Shift+Tab")
    assert report.evaluate("document.activeElement.dataset.tip").startswith("layer 1, head 7\n")


def test_cells_that_may_be_zero_can_be_shown_in_full(report: Page) -> None:
    unsure = report.locator(".ct-heatmap", has_text="Every head").locator("td.unsure").first
    inset = "element => parseFloat(getComputedStyle(element, '::before').left)"
    assert unsure.evaluate(inset) > 0
    report.locator(".ct-heatmap", has_text="Every head").get_by_role("checkbox").uncheck()
    assert unsure.evaluate(inset) == 0


def test_the_bars_tell_their_numbers(report: Page) -> None:
    report.locator(".ct-bars u[data-tip*='stolen']").first.dispatch_event("pointerover")
    assert HOSTILE in tip(report).inner_text()
    report.locator(".ct-bars tr[data-tip]").first.focus()
    report.keyboard.press("Tab")
    report.keyboard.press("Shift+Tab")
    assert "32 dots: lowest" in tip(report).inner_text()


def test_pointing_at_a_token_shows_where_it_looks(report: Page) -> None:
    weights = report_data().attention[0].patterns  # [head, query, key]
    token = report.locator(".ct-line .ct-token")
    readout = report.locator(".ct-readout")
    assert "·told (END) looks at" in readout.inner_text()
    token.nth(4).hover()
    assert readout.inner_text().startswith("3.0 · ·John (S1) looks at")
    strongest = int(weights[0, 4].argmax())
    shown = token.nth(strongest).locator(".weight").inner_text()
    assert abs(float(shown) - weights[0, 4, strongest]) < 0.01
    report.locator("h1").hover()
    assert "·told (END) looks at" in readout.inner_text()


def test_clicks_keep_a_token_turn_the_view_and_choose_a_head(report: Page) -> None:
    weights = report_data().attention[0].patterns
    token = report.locator(".ct-line .ct-token")
    readout = report.locator(".ct-readout")
    token.nth(2).click()
    report.locator("h1").hover()
    assert "·Mary (IO) looks at" in readout.inner_text()
    report.get_by_role("radio", name="who looks at it").check()
    assert "·Mary (IO) is looked at by" in readout.inner_text()
    report.locator(".ct-heads button").nth(1).click()
    assert readout.inner_text().startswith("3.1 · ")
    shown = token.nth(5).locator(".weight").inner_text() or "0"
    assert abs(float(shown) - weights[1, 5, 2]) < 0.01


def test_keys_walk_along_tokens_and_heads(report: Page) -> None:
    token = report.locator(".ct-line .ct-token")
    token.nth(len(TOKENS) - 1).focus()
    report.keyboard.press("ArrowLeft")
    assert token.nth(len(TOKENS) - 2).get_attribute("aria-selected") == "true"
    report.keyboard.press("Home")
    assert "<|endoftext|> looks at" in report.locator(".ct-readout").inner_text()
    report.locator(".ct-heads button").first.focus()
    report.keyboard.press("ArrowRight")
    assert report.locator(".ct-heads button").nth(1).get_attribute("aria-checked") == "true"


def test_the_enlarged_pattern_points_too_and_the_table_leads_to_a_head(report: Page) -> None:
    matrix = report.locator(".ct-matrix canvas")
    matrix.scroll_into_view_if_needed()
    box = matrix.bounding_box()
    matrix.hover(position={"x": box["width"] / 2, "y": box["height"] - 4})
    assert "·told (END)" in report.locator(".ct-readout").inner_text()
    report.locator("[data-head='3.2']").click()
    assert report.locator(".ct-heads button").nth(2).get_attribute("aria-checked") == "true"


@pytest.mark.parametrize("width", [360, 390, 768, 1400])
def test_nothing_is_wider_than_the_window(report: Page, width: int) -> None:
    report.set_viewport_size({"width": width, "height": 800})
    report.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert no_overflow(report)
    cell(report, 0, 7).hover()  # the panel of a cell at the edge stays inside too
    assert no_overflow(report)
    box = tip(report).bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_a_finger_can_do_it_too(browser: Browser, report_file: Path) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True, offline=True
    )
    phone = context.new_page()
    phone.goto(report_file.as_uri())
    cell(phone, 1, 1).tap()
    assert tip(phone).inner_text().startswith("layer 1, head 1\n")
    phone.locator("h1").tap()
    assert tip(phone).is_hidden()
    phone.locator(".ct-line .ct-token").nth(4).tap()
    assert "·John (S1) looks at" in phone.locator(".ct-readout").inner_text()
    context.close()


def background(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_toggle(report: Page, scheme: str) -> None:
    paper = {"light": "rgb(250, 249, 246)", "dark": "rgb(20, 22, 26)"}
    report.emulate_media(color_scheme=scheme)
    assert background(report) == paper[scheme]
    other = {"light": "dark", "dark": "light"}[scheme]
    report.get_by_role("radio", name=other, exact=True).check()
    assert background(report) == paper[other]
    assert report.locator(".ct-matrix canvas").evaluate(PAINTED)


LEAST_CONTRAST = least_contrast(
    """
  for (const text of document.querySelectorAll(".on-colour")) {
    const cell = text.closest("td[data-tip]");
    const ground = cell ? getComputedStyle(cell, "::before") : getComputedStyle(text);
    compare(getComputedStyle(text).color, ground.backgroundColor);
  }"""
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_on_colour_are_legible(page: Page, scheme: str) -> None:
    steps = np.linspace(-1, 1, 101)[:, None]
    ramp = HeatmapView(steps, tuple(map(str, range(101))), ("x",))
    shares = TableView(("share",), [(Share(abs(float(step))),) for step in steps[:, 0]])
    page.emulate_media(color_scheme=scheme)
    page.set_content(Prose(ramp, shares).page_html())
    assert page.evaluate(LEAST_CONTRAST) >= 4.5


def test_print_opens_what_is_folded(report: Page) -> None:
    report.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert report.locator("details:not([open])").count() == 0
    report.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert report.locator("details[open]").count() == 0


def test_two_views_on_one_page_do_not_share_their_choices(page: Page) -> None:
    view = AttentionView((example(5, 2),), ("0.0", "0.1"))
    page.set_content("<!doctype html>" + view.html() + view.html())
    figures = page.locator(".ct-attention")
    figures.nth(0).get_by_role("radio", name="who looks at it").check()
    assert "looked at by" in figures.nth(0).locator(".ct-readout").inner_text()
    assert " looks at " in figures.nth(1).locator(".ct-readout").inner_text()
    assert figures.nth(1).get_by_role("radio", name="where it looks").is_checked()


def test_a_view_in_a_notebook_gets_the_height_it_needs(page: Page) -> None:
    view = AttentionView((example(9, 3),), ("0.0", "0.1", "0.2"))
    page.set_content(f"<!doctype html><body>{view._repr_html_()}</body>")
    frame = page.frame_locator("iframe")
    frame.locator(".ct-token").nth(3).hover()
    assert "looks at" in frame.locator(".ct-readout").inner_text()
    page.wait_for_function(
        "(() => { const f = document.querySelector('iframe');"
        " return f.clientHeight >= f.contentDocument.body.scrollHeight - 1 })()"
    )
