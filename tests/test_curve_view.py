"""Lines over one axis: where the points stand, what is said of them, what is refused."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.views import CurveSeries, CurveView
from cutaway.views.curve_axis import CurveAxis
from html_outline import outline
from sample_report import HOSTILE

SERIES = CurveSeries("EAP-IG", (0.01, 0.1, 1.0), (0.2, 0.8, 1.0), (0.1, 0.7, 0.9), (0.3, 0.9, 1.1))
CONTROL = CurveSeries("random", (0.01, 1.0), (0.0, 0.9), (-0.1, 0.8), (0.1, 1.0))


# ---- the axis ----


@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=20), st.booleans())
def test_an_axis_holds_its_numbers_in_their_order(values: list[float], is_log: bool) -> None:
    axis = CurveAxis.around(values, 10.0, 90.0, is_log)
    places = [axis.place(value) for value in sorted(values)]
    assert all(10 - 1e-6 <= place <= 90 + 1e-6 for place in places)
    assert all(a <= b + 1e-9 for a, b in pairwise(places))


@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=20), st.booleans())
def test_ticks_are_few_within_the_axis_and_read_as_what_they_are(values, is_log: bool) -> None:
    axis = CurveAxis.around(values, 0.0, 100.0, is_log, slack=0.05)
    assert 1 <= len(axis.ticks) <= 10
    for value, text in axis.ticks:
        assert axis.low * (1 - 1e-9) <= value <= axis.high * (1 + 1e-9) or math.isclose(
            value, 0, abs_tol=1e-9
        )
        if len(axis.ticks) > 2 or not is_log:
            assert float(text.replace(",", "").replace("−", "-")) == pytest.approx(value, rel=0.01)


def test_equal_ratios_are_equally_far_apart() -> None:
    axis = CurveAxis(0.01, 100.0, 0.0, 80.0, is_log=True)
    assert [axis.place(x) for x in (0.1, 1.0, 10.0)] == pytest.approx([20, 40, 60])
    assert [text for _, text in axis.ticks] == ["0.01", "0.1", "1", "10", "100"]


# ---- the lines ----


def test_points_stand_where_their_numbers_are() -> None:
    view = CurveView((SERIES,), log_x=True, x_label="share of edges")
    across, up = view.axes
    centres = re.findall(r'class="hit" cx="([\d.]+)" cy="([\d.]+)"', view.markup())
    for (cx, cy), x, y in zip(centres, SERIES.x, SERIES.y, strict=True):
        assert float(cx) == pytest.approx(across.place(x), abs=0.06)
        assert float(cy) == pytest.approx(up.place(y), abs=0.06)
    assert up.place(1.0) < up.place(0.0)  # y is downward in SVG


def test_a_point_tells_its_numbers_and_each_line_is_one_stop_of_the_tab_key() -> None:
    text = CurveView((SERIES,), CONTROL, x_label="share of edges").markup()
    assert (
        'data-tip="EAP-IG\nshare of edges 0.1\nfaithfulness 0.800\n95% interval [0.700, 0.900]"'
    ) in text
    assert text.count('tabindex="0"') == 2 and text.count('tabindex="-1"') == 3
    assert text.count('class="series control"') >= 2  # the line, and its sample in the legend
    assert "shaded: 95% interval" in text


def test_the_lines_at_0_and_1_are_within_the_drawing_whatever_the_values() -> None:
    view = CurveView((CurveSeries("a", (1.0, 2.0), (0.4, 0.5)),))
    assert view.markup().count('class="reference"') == 2
    assert view.axes[1].low < 0 and view.axes[1].high > 1
    assert "shaded" not in view.markup()


def test_a_missing_point_leaves_a_gap_and_an_endless_interval_is_not_shaded() -> None:
    series = CurveSeries(
        "a", (1, 2, 3, 4), (0.1, math.nan, 0.3, 0.4), (0, 0, -math.inf, 0.3), (1, 1, math.inf, 0.5)
    )
    text = CurveView((series,)).markup()
    line = re.search(r'<path class="line" d="(M[^"]*L[^"]*)"', text)[1]
    assert line.count("M") == 2 and line.count("L") == 1
    shade = re.search(r'<path class="shade" d="([^"]*)"', text)[1]
    assert shade.count("z") == 2
    assert text.count('class="point"') == 3 and "nan" not in text and "inf" not in text


HOSTILE_VIEW = CurveView(
    (CurveSeries(HOSTILE, (1.0, 2.0), (0.0, 1.0)), SERIES),
    CONTROL,
    title=HOSTILE,
    caption=HOSTILE,
    x_label=HOSTILE,
    y_label=HOSTILE,
    references=((0.5, HOSTILE),),
    interval_name=HOSTILE,
)


def test_hostile_text_stays_text_and_nothing_is_fetched() -> None:
    for text in (HOSTILE_VIEW.markup(), HOSTILE_VIEW.html(), HOSTILE_VIEW.page_html()):
        assert HOSTILE not in text
        found = outline(text)
        assert found.fetching == [] and found.handlers == []


def test_the_file_is_whole_xml_without_scripts() -> None:
    root = ElementTree.fromstring(HOSTILE_VIEW.svg())
    tags = {element.tag.partition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "style", "g", "rect", "path", "text"}
    assert "tabindex" not in HOSTILE_VIEW.svg() and "var(" not in HOSTILE_VIEW.svg()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x": (), "y": ()}, "no points"),
        ({"y": (1.0,)}, "3 x and 1 y"),
        ({"high": None}, "give both"),
        ({"x": (1.0, 1.0, 2.0)}, "do not grow"),
        ({"x": (1.0, math.nan, 2.0)}, "do not grow"),
    ],
)
def test_a_series_that_does_not_fit_is_refused(fields: dict, message: str) -> None:
    whole = {"x": SERIES.x, "y": SERIES.y, "low": SERIES.low, "high": SERIES.high}
    with pytest.raises(ValueError, match=message):
        CurveSeries("a", **{**whole, **fields})


def test_a_view_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="no series"):
        CurveView(())
    with pytest.raises(ValueError, match=r"x=0.0, which a logarithmic axis"):
        CurveView((CurveSeries("a", (0.0, 1.0), (0.0, 1.0)),), log_x=True)
