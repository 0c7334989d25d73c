"""Figures show what they are given, and leave matplotlib's global state alone."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba

from cutaway import plotting

NAMES = [str(number) for number in range(100)]


def axes_of(figure):
    return figure.axes[0]


def cell_texts(figure) -> list[str]:
    return [text.get_text() for text in axes_of(figure).texts]


def png(figure) -> bytes:
    data = BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def test_a_heatmap_holds_the_values_and_the_labels() -> None:
    values = np.array([[0.0, 0.5, -0.2], [1.0, 0.25, 0.0]])
    figure = plotting.heatmap(
        values, ["0", "1"], ["S1", "S2", "END"], "Heads", row_axis="layer", value_label="effect"
    )
    axes = axes_of(figure)
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array(), values)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["S1", "S2", "END"]
    assert axes.get_title(loc="left") == "Heads"
    assert axes.get_ylabel() == "layer"
    assert axes.yaxis_inverted()  # imshow's own order: the first row is on top
    assert figure.axes[1].get_ylabel() == "effect"
    assert png(figure).startswith(b"\x89PNG")


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12),
    limit=st.none() | st.floats(1e-3, 1e3),
)
def test_zero_is_white_and_the_colours_are_symmetric(values: list[float], limit) -> None:
    figure = plotting.heatmap([values], ["0"], NAMES[: len(values)], limit=limit)
    (image,) = axes_of(figure).images
    low, high = image.get_clim()
    assert low == -high
    largest = max(map(abs, values))
    assert high == (limit or (largest if largest > 1e-9 else 1.0))
    assert image.cmap(image.norm(0.0))[:3] == pytest.approx((1, 1, 1), abs=0.02)


def test_equal_sizes_look_equally_strong() -> None:
    colours = plotting._colours()
    for size in (0.1, 0.25, 0.5):
        up, down = (np.dot(colours(0.5 + sign * size)[:3], [0.3, 0.59, 0.11]) for sign in (1, -1))
        assert up == pytest.approx(down, abs=0.13)


def test_colours_differ_without_red_and_green() -> None:
    # The commonest colour blindness mixes red with green; what is left is blue against the rest.
    colours = plotting._colours()
    for place in (0.0, 0.1, 0.25):
        red, green, blue, _ = colours(place)
        other_red, other_green, other_blue, _ = colours(1 - place)
        assert blue - (red + green) / 2 < -0.1
        assert other_blue - (other_red + other_green) / 2 > 0.1


def test_numbers_are_written_where_they_can_be_read() -> None:
    few = plotting.heatmap([[0.5, -0.25, 0.001, 1234.5]], ["0"], NAMES[:4])
    assert cell_texts(few) == ["0.50", "\N{MINUS SIGN}0.25", "0", "1234"]
    assert cell_texts(plotting.heatmap([[0.5]], ["0"], ["a"], cell_labels=False)) == []
    many = np.ones((20, 20))
    assert cell_texts(plotting.heatmap(many, NAMES[:20], NAMES[:20])) == []
    assert len(cell_texts(plotting.heatmap(many, NAMES[:20], NAMES[:20], cell_labels=True))) == 400


def test_a_number_stands_out_from_its_cell() -> None:
    texts = axes_of(plotting.heatmap([[1.0, 0.0, -1.0]], ["0"], NAMES[:3])).texts
    assert [text.get_color() for text in texts] == ["white", plotting.INK, "white"]


def test_no_value_is_grey_and_without_a_number() -> None:
    figure = plotting.heatmap([[np.nan, 2.0]], ["0"], NAMES[:2])
    (image,) = axes_of(figure).images
    assert cell_texts(figure) == ["2.00"]
    assert image.get_clim() == (-2.0, 2.0)
    assert tuple(image.cmap.get_bad()) == pytest.approx(to_rgba(plotting.NO_VALUE))
    png(plotting.heatmap([[np.nan]], ["0"], ["a"]))


def test_many_labels_are_thinned_and_keep_their_places() -> None:
    axes = axes_of(plotting.heatmap(np.ones((100, 2)), NAMES, ["a", "b"]))
    shown = {
        int(place): label.get_text()
        for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    }
    assert 20 <= len(shown) <= 50
    assert all(NAMES[place] == text for place, text in shown.items())


def test_tokens_are_no_formulas() -> None:
    figure = plotting.heatmap([[1.0, 1.0, 1.0]], ["0"], ["$x", "a$", "\n"])
    png(figure)
    assert axes_of(figure).get_xticklabels()[2].get_text() == "↵"


@pytest.mark.parametrize(
    ("values", "rows", "columns", "message"),
    [
        ([[1.0, 2.0]], ["0"], ["a"], "1 row labels and 1 column labels"),
        ([1.0, 2.0], ["0"], ["a", "b"], r"shape \(2,\)"),
    ],
)
def test_labels_that_do_not_fit_are_an_error(values, rows, columns, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plotting.heatmap(values, rows, columns)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_is_positive(limit: float) -> None:
    with pytest.raises(ValueError, match="is not positive"):
        plotting.heatmap([[1.0]], ["0"], ["a"], limit=limit)


def test_bars_hold_the_values_the_intervals_and_the_labels() -> None:
    figure = plotting.bars(
        ["9.6", "10.7", "random"],
        [0.6, -0.4, 0.1],
        "Top heads",
        low=[0.5, -0.5, 0.0],
        high=[0.7, -0.3, 0.2],
        value_label="effect",
        reference=0.05,
        reference_label="mean of 100 random heads",
        muted=[False, False, True],
    )
    axes = axes_of(figure)
    assert [bar.get_width() for bar in axes.patches] == [0.6, -0.4, 0.1]
    colours = [plotting.POSITIVE, plotting.NEGATIVE, plotting.PALE]
    assert [bar.get_facecolor() for bar in axes.patches] == [to_rgba(name) for name in colours]
    segments = axes.collections[0].get_segments()
    assert [segment[:, 0].tolist() for segment in segments] == [
        [0.5, 0.7],
        [-0.5, -0.3],
        [0.0, 0.2],
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["9.6", "10.7", "random"]
    assert axes.yaxis_inverted()  # the first is on top
    assert axes.texts[0].get_text() == "mean of 100 random heads"
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"values": [1.0]}, "there are 2 labels"),
        ({"low": [0.0, 0.0]}, "give low and high, or neither"),
        ({"low": [0.0, 0.0], "high": [1.0]}, r"high has the shape \(1,\)"),
        ({"muted": [True]}, "muted has 1 entries"),
    ],
)
def test_lengths_that_differ_are_an_error(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plotting.bars(["a", "b"], **{"values": [1.0, 2.0], **settings})


def test_bars_of_nothing_are_a_figure() -> None:
    png(plotting.bars([], []))


def test_a_figure_shows_itself_in_a_notebook() -> None:
    assert plotting.bars(["a"], [1.0])._repr_png_().startswith(b"\x89PNG")


def test_pyplot_and_the_global_settings_are_left_alone() -> None:
    code = """
import sys
import cutaway.plotting
assert not any(name.startswith("matplotlib") for name in sys.modules)
import matplotlib
before = matplotlib.rcParams.copy()
cutaway.plotting.heatmap([[1.0]], ["0"], ["a"], "title").savefig("/dev/null", format="png")
cutaway.plotting.bars(["a"], [1.0], low=[0.5], high=[1.5]).savefig("/dev/null", format="png")
assert "matplotlib.pyplot" not in sys.modules
keys = set(before) - {"backend"}  # looking at this one chooses it
assert [key for key in keys if before[key] != matplotlib.rcParams[key]] == []
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
