"""The interactive views in a real browser: alone, and in the frame that a notebook puts them in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from contrast import least_contrast
from cutaway.views import ColouredTokensView, Prose
from sample_views import (
    EVIL,
    LABELS,
    all_views,
    dose_response,
    lens_grid,
    map_with_details,
    per_prompt,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Locator, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same views as a page of their own and as a notebook shows them."""
    folder = tmp_path_factory.mktemp("views")
    views = all_views()
    alone, framed = folder / "alone.html", folder / "framed.html"
    alone.write_text(views.page_html(), encoding="utf-8")
    text = f"<!doctype html><meta charset=utf-8><body>{views._repr_html_()}"
    framed.write_text(text, encoding="utf-8")
    return {"alone": alone, "framed": framed}


@pytest.fixture(scope="module")
def _window(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """One window for all tests, and what went wrong in it."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    window = context.new_page()
    faults: list[str] = []
    window.on("pageerror", lambda error: faults.append(f"script: {error}"))
    window.on("dialog", lambda dialog: (faults.append("dialog"), dialog.dismiss()))
    window.on(
        "console",
        lambda said: faults.append(f"console: {said.text}") if said.type == "error" else None,
    )

    def refuse(route, request) -> None:
        if request.url.startswith("file:") and request.is_navigation_request():
            route.continue_()
        else:
            faults.append(f"request: {request.url}")
            route.abort()

    context.route("**/*", refuse)
    yield window, faults
    context.close()


in_a_notebook_too = pytest.mark.parametrize("views", ["alone", "framed"], indirect=True)


@pytest.fixture
def views(request, _window, files) -> Iterator[Frame]:
    """The views, opened: an error, a dialog, or a request beyond the file itself fails the test."""
    window, faults = _window
    faults.clear()
    where = getattr(request, "param", "alone")
    window.goto(files[where].as_uri())
    frame = window.main_frame if where == "alone" else window.frames[1]
    frame.wait_for_selector(".ct-dose[data-ready]", state="attached")
    yield frame
    assert faults == []


@pytest.fixture
def alone(_window, files) -> Iterator[Page]:
    window, faults = _window
    faults.clear()
    window.goto(files["alone"].as_uri())
    yield window
    assert faults == []


def press(view: Frame, *keys: str) -> None:
    for key in keys:
        view.page.keyboard.press(key)


def cell(view: Frame, row: int, column: int) -> Locator:
    grid = view.locator(".ct-lens-grid").first
    return grid.locator("tbody tr").nth(row).locator("td").nth(column)


@in_a_notebook_too
def test_a_script_in_a_prompt_is_shown_as_text(views: Frame) -> None:
    assert cell(views, 0, 2).locator(".token").inner_text() == EVIL
    cell(views, 0, 2).hover()
    assert EVIL in views.locator(".ct-lens-readout").first.inner_text()
    assert views.locator(".ct-dose-lines button").nth(1).inner_text() == f"layer 2 {EVIL}"
    assert views.locator(".ct-coloured .text").nth(3).inner_text() == EVIL
    shown = views.locator(".ct-attention .ct-line .ct-token .text").nth(3)
    assert shown.text_content() == EVIL
    assert views.locator("img").count() == 0


@in_a_notebook_too
def test_a_cell_of_the_grid_lists_its_likeliest_tokens(views: Frame) -> None:
    readout = views.locator(".ct-lens-readout").first
    cell(views, 1, 1).hover()
    lines = readout.inner_text().split("\n")
    assert lines[0] == "layer 0 · after When"
    assert "the" in lines and "·Mary" in lines
    assert "rank 1 (0 is the top), probability 0.250" in readout.inner_text()
    assert readout.locator("li.target").count() == 1
    width = "bar => parseFloat(getComputedStyle(bar).getPropertyValue('--t'))"
    p = lens_grid().top_probabilities
    assert abs(readout.locator(".bar").first.evaluate(width) - p[1, 1, 0]) < 1e-3
    cell(views, 0, 0).click()
    views.locator(".ct-coloured").hover()
    assert "layer 1 · after <|bos|>" in readout.inner_text()  # a click keeps it
    cell(views, 0, 0).click()
    views.locator(".ct-coloured").hover()
    assert readout.inner_text().startswith("Point at a cell")


def test_keys_walk_over_the_grid_and_keep_a_cell(views: Frame) -> None:
    readout = views.locator(".ct-lens-readout").first
    cell(views, 0, 0).focus()
    press(views, "ArrowDown", "ArrowRight", "Enter")
    assert cell(views, 1, 1).get_attribute("aria-selected") == "true"
    assert readout.inner_text().startswith("layer 0 · after When")
    press(views, "Escape", "End")
    assert "target" not in readout.locator("p").last.inner_text()  # the last column has none
    assert views.locator(".ct-lens-grid").first.locator("td[tabindex='0']").count() == 1


def test_the_switch_of_one_grid_colours_that_grid_alone(views: Frame) -> None:
    ground = "td => getComputedStyle(td).backgroundColor"
    other = views.locator(".ct-lens-grid").nth(1).locator("tbody td").nth(4)
    before = cell(views, 1, 0).evaluate(ground), other.evaluate(ground)
    views.locator(".ct-lens").first.get_by_role("radio", name="target's rank").check()
    assert cell(views, 1, 0).evaluate(ground) != before[0]
    assert other.evaluate(ground) == before[1]
    scales = views.locator(".ct-lens").first.locator(".lens-scale:visible")
    assert scales.count() == 1 and "0, the top" in scales.inner_text()


def test_a_click_on_a_cell_opens_its_details(views: Frame) -> None:
    figure = views.locator(".ct-heatmap").first
    details = figure.locator(".ct-map-details > details")
    assert figure.locator(".ct-map-details > details:visible").count() == 0
    opener = figure.locator("td[data-opens='0-1']")
    opener.click()
    assert opener.get_attribute("aria-expanded") == "true"
    assert details.nth(0).locator(".ct-line .ct-token").first.is_visible()
    figure.locator("td[data-opens='1-2']").click()
    assert details.nth(0).is_hidden() and EVIL in details.nth(1).inner_text()
    press(views, "Escape")
    assert details.nth(1).is_hidden()


@in_a_notebook_too
def test_keys_open_and_close_details(views: Frame) -> None:
    figure = views.locator(".ct-heatmap").first
    figure.locator("td[tabindex='0']").first.focus()
    press(views, "ArrowRight", "Enter")
    inside = figure.locator(".ct-map-details .ct-line .ct-token")
    inside.first.click()
    assert figure.locator(".ct-matrix canvas").first.evaluate(PAINTED)
    press(views, "Escape")
    assert inside.first.is_hidden()
    assert views.evaluate("document.activeElement.dataset.opens") == "0-1"


PAINTED = """canvas => {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return data.some((value, i) => i % 4 === 3 && value > 0);
}"""


def test_a_line_shows_its_prompts_and_marks_those_that_move_against_it(views: Frame) -> None:
    figure = views.locator(".ct-dose")
    assert figure.locator(".ct-dose-still").is_hidden()
    assert figure.locator(".ct-dose-live .series:not(.back) .line").count() == 2
    assert figure.get_by_role("checkbox").is_disabled()
    figure.get_by_role("radio").nth(1).click()
    figure.get_by_role("checkbox").check()
    assert figure.locator(".prompt").count() == 5 and figure.locator(".prompt.wrong").count() == 1
    assert (
        "1 of 5 prompts slope against the mean" in figure.locator(".ct-dose-readout").inner_text()
    )
    figure.get_by_role("radio").nth(2).click()
    assert figure.locator(".prompt").count() == 0


@in_a_notebook_too
def test_pointing_at_a_prompt_tells_its_values(views: Frame) -> None:
    figure = views.locator(".ct-dose")
    figure.get_by_role("radio").nth(1).click()
    figure.get_by_role("checkbox").check()
    end = "(path) => { const p = path.getPointAtLength(path.getTotalLength()); return [p.x, p.y]; }"
    x, y = figure.locator(".prompt.wrong").evaluate(end)
    drawing = figure.locator(".ct-dose-live svg")
    drawing.hover(position={"x": x - 2, "y": y})
    said = figure.locator(".ct-dose-readout").inner_text()
    assert said.startswith(f"{LABELS[2]} (against the mean): 0.2 at −4, ") and "−0.4 at 8" in said
    assert figure.locator(".prompt.at").count() == 1
    drawing.hover(position={"x": 60, "y": 14})  # far from every line
    assert figure.locator(".prompt.at").count() == 0


@in_a_notebook_too
def test_keys_walk_between_prompts_and_lines(views: Frame) -> None:
    figure = views.locator(".ct-dose")
    figure.get_by_role("radio").first.focus()
    press(views, "ArrowRight")
    assert figure.get_by_role("radio").nth(1).get_attribute("aria-checked") == "true"
    figure.get_by_role("checkbox").check()
    figure.locator(".ct-dose-live svg").focus()
    press(views, "ArrowDown")
    highest = int(np.argsort(per_prompt()[:, -1])[-1])
    readout = figure.locator(".ct-dose-readout")
    press(views, "ArrowUp")
    assert readout.inner_text().startswith(LABELS[highest])
    press(views, "ArrowLeft")
    assert figure.locator(".at-mark").is_visible()
    press(views, "Escape")
    assert "against the mean" in readout.inner_text() and figure.locator(".prompt.at").count() == 0


def test_a_point_of_the_mean_has_its_tip(views: Frame) -> None:
    views.locator(".ct-dose-live .series.s0 .point").nth(2).hover()
    said = views.locator(".ct-tip").inner_text()
    assert "coefficient (residual norms) 4" in said and "95% interval [" in said


def test_a_coloured_token_tells_its_value(views: Frame) -> None:
    tokens = views.locator(".ct-coloured .ct-token")
    tokens.nth(1).hover()
    assert views.locator(".ct-tip").inner_text().split("\n") == ["When", "2.000 nats", "a"]
    tokens.nth(0).focus()
    press(views, "End", "ArrowLeft")
    assert "0.500 nats" in views.locator(".ct-tip").inner_text()


def test_many_heads_can_be_filtered_put_in_order_and_walked(views: Frame) -> None:
    figure = views.locator(".ct-attention").last
    buttons = figure.locator(".ct-heads button")
    assert buttons.count() == 30 and figure.locator(".ct-heads .layer").count() == 3
    buttons.first.focus()
    press(views, "ArrowDown", "ArrowRight")
    assert figure.locator(".ct-heads [aria-checked='true']").inner_text().startswith("1.1")
    figure.locator("select.layer").select_option("2")
    assert buttons.count() == 6 and figure.locator(".ct-readout").inner_text().startswith("2.0")
    figure.locator("select.layer").select_option("")
    figure.locator("select.order").select_option(label=EVIL)
    assert buttons.first.inner_text().split() == ["2.5", "1.00"]
    figure.locator("select.order").select_option("")
    assert buttons.first.inner_text().split() == ["0.0"]
    figure.locator(".ct-line .ct-token").nth(1).hover()
    assert "When looks at" in figure.locator(".ct-readout").inner_text()


def test_the_policy_names_every_script_and_allows_no_connection(alone: Page) -> None:
    policy = alone.locator("meta[http-equiv]").get_attribute("content")
    assert "default-src 'none'" in policy and "connect-src" not in policy
    n_scripts = alone.locator("script:not([type])").count()
    assert policy.count("sha256-") == n_scripts and "'unsafe-inline'; script-src 'sha" in policy


@pytest.mark.parametrize("width", [360, 768, 1400])
def test_nothing_is_wider_than_the_window(alone: Page, width: int) -> None:
    alone.set_viewport_size({"width": width, "height": 800})
    alone.locator("td[data-opens='0-1']").click()
    assert alone.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    alone.set_viewport_size({"width": 1200, "height": 900})


def test_row_labels_stay_while_a_wide_grid_scrolls(_window) -> None:
    window, faults = _window
    n = 60
    wide = lens_grid(
        tokens=[" a"] * n,
        top_tokens=[[[" b"]] * n] * 3,
        top_probabilities=np.full((3, n, 1), 0.5),
        **dict.fromkeys(("targets", "target_probability", "target_rank", "entropy")),
    )
    window.goto("about:blank")  # a page keeps the policy of the one that it replaces
    faults.clear()
    window.set_content(wide.page_html())
    box = window.locator(".ct-lens .ct-scroll")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    window.locator(".ct-lens-grid tbody td").first.focus()
    window.keyboard.press("End")
    assert box.evaluate("box => box.scrollLeft") > 500
    label = window.locator(".ct-lens-grid th[scope='row']").first.bounding_box()
    assert 0 <= label["x"] < 40 and faults == []


def test_without_scripts_the_numbers_are_there(browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    still = context.new_page()
    still.set_content(Prose(lens_grid(), map_with_details(), dose_response()).page_html())
    assert still.locator(".ct-dose-still .point").count() == 8
    assert still.locator(".ct-dose-still svg").first.is_visible()
    assert still.locator(".ct-dose-lines").is_hidden()
    assert still.locator(".ct-map-details > details:visible").count() == 2
    assert still.locator(".ct-lens-grid .hit").count() == 4
    context.close()


LEAST_CONTRAST = least_contrast(
    """
  for (const cell of document.querySelectorAll(".ct-lens-grid tbody td, .ct-coloured .text")) {
    const style = getComputedStyle(cell);
    compare(style.color, style.backgroundColor);
  }"""
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_tokens_on_colour_are_legible(_window, scheme: str) -> None:
    window, faults = _window
    n = 101
    ramp = np.linspace(0, 1, n)
    grid = lens_grid(
        tokens=["a"] * n,
        row_labels=("0",),
        top_tokens=[[["b"]] * n],
        top_probabilities=ramp[None, :, None],
        targets=None,
        target_probability=ramp[None],
        target_rank=np.arange(n)[None],
        entropy=ramp[None],
    )
    text = ColouredTokensView(["a"] * n, ramp)
    signed = ColouredTokensView(["a"] * n, 2 * ramp - 1, scale="diverging")
    window.goto("about:blank")
    faults.clear()
    window.emulate_media(color_scheme=scheme)
    window.set_content(Prose(grid, text, signed).page_html())
    for measure in ("probability of the top token", "target's rank", "entropy"):
        window.get_by_role("radio", name=measure).check()
        assert window.evaluate(LEAST_CONTRAST) >= 4.5, measure
    window.emulate_media(color_scheme=None)
    assert faults == []
