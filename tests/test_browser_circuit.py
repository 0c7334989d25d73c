"""Drawn circuits and curves in a real browser: pointer, keys, clicks; no request, no error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contrast import least_contrast
from cutaway.views import CircuitGraphView, CurveSeries, CurveView, Prose
from sample_circuits import config, random_circuit, small_circuit
from sample_report import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def drawing_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    circuit = small_circuit(positions={"1.2": ("END",)})
    graph = CircuitGraphView(circuit, {"1.2": HOSTILE, "0.1": "duplicate token"}, title="Drawn")
    line = CurveSeries("found", (0.01, 0.1, 1.0), (0.2, 0.8, 1.0), (0.1, 0.7, 0.9), (0.3, 0.9, 1.1))
    chance = CurveSeries("random", (0.01, 1.0), (0.0, 0.9))
    curve = CurveView((line,), chance, x_label="share of edges", log_x=True)
    path = tmp_path_factory.mktemp("circuit") / "circuit.html"
    path.write_text(Prose(graph, curve).page_html(), encoding="utf-8")
    return path


@pytest.fixture
def drawn(page: Page, drawing_file: Path) -> Iterator[Page]:
    """A circuit and a curve, opened; a request beyond their own file fails the test."""
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.set_viewport_size({"width": 1200, "height": 900})
    page.goto(drawing_file.as_uri())
    yield page
    assert requests == [drawing_file.as_uri()]


def node(page: Page, name: str) -> Locator:
    return page.locator(f".node[data-node='{name}']")


def edge(page: Page, start: str, end: str) -> Locator:
    return page.locator(f".edge[data-from='{start}'][data-to='{end}']").first


def lit(page: Page) -> set[str]:
    """The nodes that do not step back."""
    return set(page.locator(".node.on").evaluate_all("all => all.map(one => one.dataset.node)"))


def readout(page: Page) -> str:
    return page.locator(".ct-circuit-readout").inner_text()


def test_it_draws_and_hostile_text_stays_text(drawn: Page) -> None:
    assert (
        drawn.locator(".ct-circuit-drawing .edge").count() == 6
        and drawn.locator(".node").count() == 5
    )
    for box in drawn.locator(".node").all():
        assert box.bounding_box()["width"] > 20
    assert drawn.evaluate("window.stolen") is None
    assert readout(drawn).startswith("6 edges, 2 heads, 1 MLP")


def test_pointing_at_a_node_shows_its_edges_alone_and_lists_them(drawn: Page) -> None:
    node(drawn, "1.2").hover()
    assert drawn.locator(".edge.on").count() == 4
    assert lit(drawn) == {"0.1", "1.2", "mlp1", "logits"}
    shown = drawn.evaluate("getComputedStyle(document.querySelector('.edge:not(.on)')).opacity")
    assert float(shown) < 0.3
    assert HOSTILE in readout(drawn) and "at END" in readout(drawn)
    assert "in (2)" in readout(drawn) and "out (2)" in readout(drawn)
    assert "0.1 → 1.2.v" in readout(drawn) and "−0.100" in readout(drawn)
    drawn.mouse.move(2, 2)
    assert drawn.locator(".lit").count() == 0
    assert readout(drawn).startswith("6 edges")


def test_pointing_at_an_edge_tells_its_effect_near_the_pointer(drawn: Page) -> None:
    line = edge(drawn, "1.2", "logits").locator(".line")
    x, y = line.evaluate(
        """path => {
          const at = path.getPointAtLength(path.getTotalLength() * 0.6);
          const { x, y } = at.matrixTransform(path.getScreenCTM());
          return [x, y];
        }"""
    )
    drawn.mouse.move(x, y - 1)
    drawn.mouse.move(x, y)
    panel = drawn.locator(".ct-tip")
    assert panel.inner_text().startswith("1.2 → logits\n+0.800 share")
    box = panel.bounding_box()
    assert abs(box["x"] + box["width"] / 2 - x) < 200
    assert abs(box["y"] - y) < 120
    assert lit(drawn) == {"1.2", "logits"}


def test_a_click_keeps_a_node_until_the_next(drawn: Page) -> None:
    node(drawn, "mlp1").click()
    drawn.mouse.move(2, 2)
    assert lit(drawn) == {"1.2", "mlp1", "logits"}
    assert node(drawn, "mlp1").get_attribute("aria-pressed") == "true"
    node(drawn, "0.1").click()
    assert node(drawn, "mlp1").get_attribute("aria-pressed") == "false"
    node(drawn, "0.1").click()
    drawn.mouse.move(2, 2)
    assert node(drawn, "0.1").get_attribute("aria-pressed") == "false"


def test_keys_walk_over_nodes_and_edges_and_keep_them(drawn: Page) -> None:
    node(drawn, "embed").focus()
    for name in ("0.1", "1.2", "mlp1", "logits"):
        drawn.keyboard.press("ArrowUp")
        assert drawn.evaluate("document.activeElement.dataset.node") == name
    drawn.keyboard.press("ArrowDown")
    drawn.keyboard.press("Enter")
    assert node(drawn, "mlp1").get_attribute("aria-pressed") == "true"
    drawn.keyboard.press("Escape")
    assert node(drawn, "mlp1").get_attribute("aria-pressed") == "false"
    drawn.locator(".edge[tabindex='0']").focus()
    assert readout(drawn).startswith("1.2 → logits")
    drawn.keyboard.press("ArrowRight")
    assert readout(drawn).startswith("embed → 0.1.v")
    assert drawn.locator(".ct-tip").inner_text().startswith("embed → 0.1.v")
    drawn.keyboard.press("End")
    assert readout(drawn).startswith("1.2 → mlp1")
    # Nodes and edges are one stop of the Tab key each.
    assert drawn.locator(".edge[tabindex='0']").count() == 1
    assert drawn.locator(".node[tabindex='0']").count() == 1


def test_a_point_of_a_curve_tells_its_numbers(drawn: Page) -> None:
    point = drawn.locator(".series.s0 .point")
    point.nth(1).hover()
    panel = drawn.locator(".ct-tip")
    assert panel.inner_text().startswith("found\nshare of edges 0.1\nfaithfulness 0.800")
    point.nth(0).focus()
    drawn.keyboard.press("ArrowRight")
    assert "share of edges 0.1" in panel.inner_text()
    drawn.keyboard.press("ArrowUp")
    assert panel.inner_text().startswith("random\n")


@pytest.mark.parametrize("width", [360, 768, 1400])
@pytest.mark.parametrize("n_edges", [6, 300])
def test_nothing_is_wider_than_the_window(page: Page, width: int, n_edges: int) -> None:
    circuit = random_circuit(config(n_layers=6, n_heads=8), n_edges)
    page.set_viewport_size({"width": width, "height": 800})
    page.set_content(CircuitGraphView(circuit).page_html())
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.locator(".node").first.focus()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_boxes(page: Page, scheme: str) -> None:
    kinds = [f"kind {n}" for n in range(8)]
    nodes = [f"{layer}.{head}" for layer in range(2) for head in range(4)]
    circuit = small_circuit(tuple(f"{name}->logits" for name in nodes), effects={})
    page.emulate_media(color_scheme=scheme)
    page.set_content(CircuitGraphView(circuit, dict(zip(nodes, kinds, strict=True))).page_html())
    assert page.evaluate(LEAST_CONTRAST) >= 4.5


LEAST_CONTRAST = least_contrast(
    """
  for (const node of document.querySelectorAll(".node")) {
    const ground = getComputedStyle(node.querySelector(".body")).fill;
    for (const text of node.querySelectorAll(".name, .class")) {
      compare(getComputedStyle(text).fill, ground);
    }
  }"""
)


def test_the_file_is_drawn_too(page: Page) -> None:
    view = CircuitGraphView(random_circuit(config(), 40))
    page.set_content(f"<!doctype html>{view.svg().partition('?>')[2]}")
    edges = page.locator("svg .edge:has(title)")  # those of the legend have none
    assert edges.count() == 40 and edges.first.text_content()
