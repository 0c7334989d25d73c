"""The views: escaped, self-contained, small, and true to their numbers."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.evidence import Interval
from cutaway.views import (
    AttentionExample,
    AttentionView,
    Bar,
    BarsView,
    Beside,
    Column,
    Disclosure,
    HeatmapView,
    Items,
    KeyNumber,
    KeyNumbers,
    Note,
    Page,
    Prose,
    Section,
    Share,
    TableView,
    TokenLine,
    TokensView,
    View,
)
from cutaway.views.attention import from_bytes, to_bytes
from cutaway.views.bars import Axis, _swarm
from cutaway.views.document import document
from cutaway.views.markup import Markup, embedded_json, join, tag
from cutaway.views.numbers import number, percent
from html_outline import outline
from sample_report import (
    HOSTILE,
    effects,
    example,
    interval,
    patterns,
)

# ---- markup ----


@given(st.text())
def test_text_is_never_html(text: str) -> None:
    inside = tag("p", text)[3:-4]
    assert "<" not in inside and ">" not in inside
    assert '"' not in re.search(r'title="(.*)">', tag("p", title=text), re.S)[1]


def test_markup_lost_on_the_way_is_escaped_and_not_run() -> None:
    assert tag("p", tag("b", "x") + "y") == "<p>&lt;b&gt;x&lt;/b&gt;y</p>"
    assert join("<", tag("br"), None) == "&lt;<br>"


def test_attributes() -> None:
    assert tag("input", class_="a b", data_tip="1 < 2", checked=True, disabled=False) == (
        '<input class="a b" data-tip="1 &lt; 2" checked>'
    )
    assert tag("meta", name="viewport") == '<meta name="viewport">'


@given(st.text())
def test_embedded_json_cannot_end_its_element_and_reads_back(text: str) -> None:
    element = embedded_json(json.dumps([text]))
    inside = element.removeprefix('<script type="application/json">').removesuffix("</script>")
    assert "<" not in inside
    assert json.loads(inside) == [text]


# ---- numbers ----


def test_numbers_as_text() -> None:
    assert number(-0.431) == "−0.43"
    assert number(-0.0001) == number(0.0) == "0.00"
    assert number(0.5, signed=True) == "+0.50"
    assert number(math.inf) == "∞" and number(-math.inf) == "−∞" and number(math.nan) == "n/a"
    assert percent(1) == "100%" and percent(0.998) == "99.8%" and percent(0) == "0%"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_an_axis_holds_its_numbers_and_has_few_round_ticks(values: list[float]) -> None:
    values = [*values, 0.0]
    if 0 < max(values) - min(values) < 1e-9:
        return
    axis = Axis.around(values)
    slack = 1e-6 * (axis.high - axis.low)
    assert axis.low - slack <= min(values) and max(values) <= axis.high + slack
    assert 2 <= len(axis.ticks) <= 9
    assert any(tick == 0 for tick in axis.ticks)


# ---- every view ----

HOSTILE_MAP = HeatmapView(
    np.array([[0.5, -0.2], [math.nan, 0.0]]),
    (HOSTILE, "1"),
    ("IO", HOSTILE),
    np.array([[0.4, -0.3], [0.0, -0.1]]),
    np.array([[0.6, 0.1], [0.0, 0.1]]),
    title=HOSTILE,
    caption=HOSTILE,
    row_axis=HOSTILE,
    value_label=HOSTILE,
)
VIEWS: list[View] = [
    HOSTILE_MAP,
    BarsView((Bar(HOSTILE, interval(1.0), HOSTILE, [0.1, 0.2], [HOSTILE, "b"]),), title=HOSTILE),
    TableView((HOSTILE, Column("n")), [(HOSTILE, 1), (None, interval(2.0))], caption=HOSTILE),
    KeyNumbers((KeyNumber(HOSTILE, interval(3.5), HOSTILE), KeyNumber("x", 0.5, share=True))),
    TokensView((TokenLine(HOSTILE, (HOSTILE, "\n"), {HOSTILE: 0}, answer=HOSTILE),)),
    AttentionView(
        (AttentionExample(patterns(1, 2), (HOSTILE, "</script>"), {HOSTILE: 1}, HOSTILE),),
        (HOSTILE,),
        (HOSTILE,),
        caption=HOSTILE,
    ),
    Prose(HOSTILE),
    Disclosure(HOSTILE, HOSTILE),
    Note("finding", HOSTILE, title=HOSTILE),
    Beside(Prose(HOSTILE)),
    Section(HOSTILE, HOSTILE),
    Items((HOSTILE,)),
]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: type(view).__name__)
def test_a_view_escapes_nests_and_fetches_nothing(view: View) -> None:
    assert HOSTILE not in view.markup()
    for text in (view.markup(), view.html(), view.page_html()):
        found = outline(text)
        assert found.fetching == [] and found.handlers == []
        assert "http://" not in text and "https://" not in text
        assert "@import" not in text and "url(" not in text


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: type(view).__name__)
def test_a_view_in_a_notebook_is_one_frame(view: View) -> None:
    text = view._repr_html_()
    assert text.startswith("<iframe srcdoc=") and text.count("<") == 2
    assert HOSTILE not in text


def test_a_document_allows_only_its_own_scripts() -> None:
    page = document("t", Markup("<p>x</p>"), ["base", "tip", "base"])
    assert page.count("One panel for the whole page") == 1
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src &#x27;none&#x27;" in policy
    assert policy.count("sha256-") == 1 and "script-src &#x27;unsafe" not in policy
    with pytest.raises(FileNotFoundError, match="no-such"):
        document("t", Markup(""), ["no-such"])


# ---- the single views ----


def test_a_map_says_each_value_and_marks_what_may_be_zero() -> None:
    cells = re.findall(
        r'<td class="([^"]*)" style="--t:([^"]*)" data-tip="([^"]*)"', HOSTILE_MAP.markup()
    )
    assert [kind for kind, _, _ in cells] == [
        "positive half strong",
        "negative unsure",
        "none",
        "positive unsure",
    ]
    assert [share for _, share, _ in cells] == ["1", "0.4", "0", "0"]
    assert "95% interval [−0.300, 0.100]\nThe interval includes 0." in cells[1][2]
    assert cells[2][2].endswith("not measured")


def test_a_map_without_effects_is_not_coloured() -> None:
    view = HeatmapView(np.full((2, 2), 1e-12), ("0", "1"), ("0", "1"))
    assert view.colour_limit() == 1.0
    assert set(re.findall(r"--t:([\d.]+)", view.markup())) == {"0"}
    assert "ct-shrink" not in view.markup()


def test_a_map_of_many_heads_is_small() -> None:
    big = effects(tuple(map(str, range(32))), tuple(map(str, range(32))))
    view = HeatmapView(big.values, big.rows, big.columns, big.low, big.high)
    assert len(view.markup()) < 250_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row_labels": ("0",)}, "values has the shape"),
        ({"low": np.zeros((2, 3)), "high": np.zeros((2, 2))}, "low has the shape"),
        ({"low": np.zeros((2, 2))}, "both its ends"),
        ({"limit": 0.0}, "not positive"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(change: dict, message: str) -> None:
    fields = {"values": np.eye(2), "row_labels": ("0", "1"), "column_labels": ("a", "b")}
    with pytest.raises(ValueError, match=message):
        HeatmapView(**{**fields, **change})


def test_bars_stand_where_their_numbers_are() -> None:
    text = BarsView((Bar("a", Interval(-1.0, -2.0, 0.0, 0.95, 9)), Bar("b", 2.0))).markup()
    assert 'class="negative" style="left:25.00%;width:25.00%"' in text
    assert 'class="whisker" style="left:0.00%;width:50.00%"' in text
    assert 'class="positive" style="left:50.00%;width:50.00%"' in text
    assert "−1.00" in text and "[−2.00, 0.00]" in text and "95% interval" in text


def test_bars_bear_numbers_that_are_not_finite() -> None:
    bars = (Bar("a", Interval(0.5, -math.inf, math.inf, 0.95, 9)), Bar("b", math.nan))
    text = BarsView(bars).markup()
    assert "[−∞, ∞]" in text and "n/a" in text and "nan" not in text


def test_dots_need_as_many_labels() -> None:
    with pytest.raises(ValueError, match="2 dots and 1 labels"):
        Bar("a", 1.0, dots=[1.0, 2.0], dot_labels=["x"])


def test_a_table_sets_numbers_right_and_refuses_short_rows() -> None:
    rows = [("9.9", interval(0.43, 0.03), Share(0.7), 3), ("9.6", None, Share(0.2), 4)]
    text = TableView(("head", "effect", "share", "rank"), rows).markup()
    assert '0.43 <span class="ct-ends">[0.40, 0.46]</span>' in text
    assert '<th scope="col" class="right">effect</th>' in text
    assert "--share:0.700" in text
    with pytest.raises(ValueError, match="1 cells, but there are 2 columns"):
        TableView(("a", "b"), [("x",)])


@pytest.mark.parametrize(
    ("weights", "tokens", "marks", "message"),
    [
        (np.zeros((1, 2, 3)), "ab", {}, "shape"),
        (np.full((1, 2, 2), 1.5), "ab", {}, "outside 0 to 1"),
        (np.full((1, 2, 2), math.nan), "ab", {}, "outside 0 to 1"),
        (np.zeros((1, 2, 2)), "ab", {"END": 2}, "END"),
    ],
)
def test_patterns_that_do_not_fit_are_refused(weights, tokens, marks, message) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionExample(weights, tuple(tokens), marks)


def test_heads_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="2 head labels, but patterns of 1"):
        AttentionView((example(3, 1),), ("0.0", "0.1"))
    with pytest.raises(ValueError, match="no example"):
        AttentionView((), ("0.0",))


def test_weights_survive_as_bytes() -> None:
    weights = patterns(12, 17)
    assert np.abs(from_bytes(to_bytes(weights), weights.shape) - weights).max() <= 0.5 / 255 + 1e-9


def test_the_page_holds_the_weights_that_were_given() -> None:
    view = AttentionView((example(9, 2), example(5, 2, seed=1)), ("0.0", "0.1"))
    data = json.loads(re.search(r'class="ct-data">(.*?)</script>', view.markup())[1])
    for given_, found in zip(view.examples, data["examples"], strict=True):
        shape = given_.patterns.shape
        rows, columns = np.tril_indices(shape[1])  # nothing looks ahead, and no more is stored
        stored = from_bytes(found["patterns"], (shape[0], len(rows)))
        assert found["causal"]
        assert np.allclose(stored, given_.patterns[:, rows, columns], atol=0.002)
        assert found["tokens"] == list(given_.tokens)
        assert found["start"] == shape[1] - 1


def test_twelve_heads_of_64_tokens_stay_under_200_kilobytes() -> None:
    view = AttentionView((example(64, 12),), tuple(f"0.{i}" for i in range(12)))
    assert len(view.page_html().encode()) < 200_000


# ---- pages ----


def test_a_page_lists_its_sections_and_includes_each_asset_once() -> None:
    page = Page("Title <1>", "Sub", facts=(("model", "x"),))
    page.add(Section("One", HOSTILE_MAP, HOSTILE_MAP), "A plain & simple paragraph.")
    text = page.html()
    assert text.count("The colour of a cell is set by --t") == 1
    assert '<a href="#one">One</a>' in text and '<section id="one">' in text
    assert "<title>Title &lt;1&gt;</title>" in text
    assert "<p>A plain &amp; simple paragraph.</p>" in text
    assert page.page_html() == text
    with pytest.raises(ValueError, match="share the anchor one"):
        page.add(Section("One"))


def test_views_import_neither_torch_nor_models() -> None:
    code = (
        "import sys, cutaway.views, cutaway.findings\n"
        "assert not {'torch', 'cutaway.model', 'cutaway.tasks', 'cutaway.patching', 'matplotlib'}"
        " & set(sys.modules), 'imported too much'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- dots ----


@given(st.lists(st.floats(0, 100), min_size=1, max_size=500))
def test_dots_stay_on_their_strip_and_apart_as_long_as_they_fit(places: list[float]) -> None:
    heights = _swarm(places)
    assert len(heights) == len(places)
    assert max(map(abs, heights)) <= 12
    for x, y in zip(places, heights, strict=True):
        beside = [a for a, b in zip(places, heights, strict=True) if b == y and abs(a - x) < 1.8]
        assert len(places) > 11 or beside == [x]


def test_a_single_dot_is_in_the_middle() -> None:
    assert _swarm([40.0]) == [0.0]
    assert sorted(_swarm([40.0, 40.5, 41.0])) == [-5.5, 0.0, 5.5]
