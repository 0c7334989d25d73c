"""The list of features in a real browser: searched, filtered, sorted, walked along, and shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contrast import least_contrast
from sample_views import EVIL, features

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

CONTRAST = least_contrast(
    """
    for (const word of document.querySelectorAll(".ct-feature-detail .line .fires")) {
      for (let share = 0; share <= 1; share += 0.05) {
        word.style.setProperty("--t", share);
        word.classList.toggle("half", share > 0.54);
        word.classList.toggle("strong", share > 0.695);
        const style = getComputedStyle(word);
        compare(style.color, style.backgroundColor);
      }
    }
    """
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("features") / "features.html"
    path.write_text(features().page_html(), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    """The page, opened; an error, a dialog or a request beyond the file itself fails the test."""
    yield from opened(browser, file)


def opened(browser: Browser, file: Path, width: int = 1200) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": width, "height": 900})
    window = context.new_page()
    faults: list[str] = []
    window.on("pageerror", lambda error: faults.append(f"script: {error}"))
    window.on("dialog", lambda dialog: (faults.append("dialog"), dialog.dismiss()))
    window.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    window.on(
        "request",
        lambda request: None if request.url.startswith("file:") else faults.append(request.url),
    )
    window.goto(file.as_uri())
    window.wait_for_selector(".ct-features[data-ready]")
    yield window
    assert faults == []
    context.close()


def shown(page: Page) -> list[str]:
    rows = page.locator(".ct-feature-list tbody tr:not([hidden]) td:first-child")
    return rows.all_inner_texts()


def test_the_list_is_searched_by_word_rule_and_number(page: Page) -> None:
    assert shown(page) == ["0", "1", "2", "3", "4", "5"]
    page.fill(".search", "alert(1)")  # the strongest token of most, and the rule of one
    assert shown(page) == ["0", "1", "2", "3", "4", "5"]  # all promote it
    page.fill(".search", "on <script>")
    assert shown(page) == ["1"]
    assert page.inner_text(".ct-features .count") == "1 shown"
    page.fill(".search", "3")
    assert "3" in shown(page)
    page.fill(".search", "no such thing")
    assert shown(page) == []


def test_the_list_is_filtered_and_sorted(page: Page) -> None:
    page.select_option(".kind", "described")
    assert shown(page) == ["1"]
    page.select_option(".kind", "dead")
    assert shown(page) == ["5"]
    page.select_option(".kind", "all")
    page.select_option(".order", "4")  # the effect
    assert shown(page) == ["5", "4", "3", "2", "1", "0"]
    page.select_option(".order", "2")  # density
    assert shown(page) == ["0", "1", "2", "3", "4", "5"]


def test_a_feature_shows_its_rule_its_histogram_and_its_examples(page: Page) -> None:
    page.locator("#row-1").click()
    detail = page.locator(".ct-feature-detail")
    text = detail.inner_text()
    assert text.startswith("Feature 1")
    assert f"Fires on {EVIL}. It fires at 90% [60%, 98%] of the places" in text
    assert "density 80%, largest 1.60" in text
    assert detail.locator(".bars span").count() == 5
    first = detail.locator(".line").first
    assert first.locator("span").all_inner_texts() == [" Mary", "When", "<|bos|>"]
    assert first.locator(".here").inner_text() == " Mary"
    assert "Where it is strongest" in text and "Drawn from" in text
    items = detail.locator(".written li").all_inner_texts()
    assert any("·Mary" in one and "1.5" in one for one in items)
    assert any(EVIL in one and "−0.25" in one for one in items)
    assert page.locator("img").count() == 0
    detail.get_by_text("feature 0").click()
    assert detail.inner_text().startswith("Feature 0")


def test_a_dead_feature_has_no_histogram_and_no_examples(page: Page) -> None:
    page.locator("#row-5").click()
    detail = page.locator(".ct-feature-detail")
    assert detail.locator(".bars").count() == 0 and detail.locator(".line").count() == 0


def test_the_address_keeps_the_choice_and_keys_walk(page: Page) -> None:
    page.locator("#row-2").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.url.endswith("#feature-3")
    page.reload()
    page.wait_for_selector(".ct-features[data-ready]")
    assert page.locator(".ct-feature-detail").inner_text().startswith("Feature 3")
    page.fill(".search", "on <script>")
    page.locator("#row-1").focus()
    page.keyboard.press("ArrowDown")  # the rows behind it are hidden
    assert page.evaluate("document.activeElement.id") == "row-1"


def test_it_is_read_in_both_themes_and_on_a_phone(browser: Browser, file: Path) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": 400, "height": 800}, color_scheme=scheme)
        window = context.new_page()
        window.goto(f"{file.as_uri()}#feature-1")
        window.wait_for_selector(".ct-features.chosen")
        assert window.evaluate("document.documentElement.scrollWidth") <= 400
        assert window.evaluate(CONTRAST) >= 4.5
        context.close()


def test_without_scripts_the_list_is_there(browser: Browser, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    window = context.new_page()
    window.goto(file.as_uri())
    assert window.locator(".ct-feature-list tbody tr").count() == 6
    assert not window.locator(".ct-feature-controls").is_visible()
    context.close()


def test_four_thousand_features_can_be_browsed(browser: Browser, tmp_path: Path) -> None:
    view = features(4000)
    path = tmp_path / "many.html"
    path.write_text(view.page_html(), encoding="utf-8")
    assert path.stat().st_size < 8e6
    for window in opened(browser, path):
        window.fill(".search", "3999")
        assert shown(window) == ["3999"]
        window.fill(".search", "")
        window.select_option(".order", "2")
        assert len(shown(window)) == 4000
