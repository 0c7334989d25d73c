"""The drawing of a circuit: where things stand, what is drawn, and what is said of it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression

from cutaway.circuits.circuit import Circuit, CircuitError
from cutaway.evidence import Interval
from cutaway.views import CircuitGraphView
from cutaway.views.circuit_data import THINNEST, WIDEST, effect_digits
from cutaway.views.circuit_drawing import class_lines, path_of
from cutaway.views.layered import Link, crossings, order_rows, place_items, separated, straighten
from html_outline import outline
from sample_circuits import config, random_circuit, small_circuit
from sample_report import HOSTILE

# ---- rows of items ----


@st.composite
def row_drawings(draw: st.DrawFn) -> tuple[list[list[int]], list[Link]]:
    """Rows of items, and links between neighbouring rows."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    starts = np.cumsum([0, *sizes])
    rows = [list(range(a, b)) for a, b in pairwise(starts.tolist())]
    links = []
    for lower, upper in pairwise(rows):
        pairs = st.tuples(st.sampled_from(lower), st.sampled_from(upper))
        links += [Link(a, b) for a, b in draw(st.lists(pairs, max_size=12, unique=True))]
    return rows, links


def crossings_slowly(rows: list[list[int]], links: list[Link]) -> int:
    place = {item: (row, at) for row, items in enumerate(rows) for at, item in enumerate(items)}
    return sum(
        place[a.lower][0] == place[b.lower][0]
        and (place[a.lower][1] - place[b.lower][1]) * (place[a.upper][1] - place[b.upper][1]) < 0
        for a, b in combinations(links, 2)
    )


@given(row_drawings())
def test_crossings_are_counted(drawing) -> None:
    assert crossings(*drawing) == crossings_slowly(*drawing)


@given(row_drawings())
def test_ordering_keeps_every_row_and_never_adds_a_crossing(drawing) -> None:
    rows, links = drawing
    ordered = order_rows(rows, links)
    assert [sorted(row) for row in ordered] == rows
    assert crossings(ordered, links) <= crossings(rows, links)


def test_what_can_be_untangled_is() -> None:
    rows = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    links = [Link(0, 5), Link(1, 4), Link(2, 3), Link(5, 7), Link(4, 6), Link(3, 8)]
    assert crossings(rows, links) == 5
    assert crossings(order_rows(rows, links), links) == 0


finite = st.floats(-100, 100)


@given(st.lists(st.tuples(finite, st.floats(0.1, 10), st.floats(0, 20)), min_size=1, max_size=12))
def test_places_are_least_squares_at_their_distance(items) -> None:
    wishes, weights, gaps = (np.array(column) for column in zip(*items, strict=True))
    found = np.array(separated(wishes.tolist(), weights.tolist(), gaps[:-1].tolist()))
    offsets = np.concatenate([[0], np.cumsum(gaps[:-1])])
    expected = isotonic_regression(wishes - offsets, sample_weight=weights) + offsets
    assert np.allclose(found, expected, atol=1e-6)
    assert (np.diff(found) >= gaps[:-1] - 1e-9).all()


@given(row_drawings(), st.data())
def test_places_keep_their_distance_upright_or_not(drawing, data) -> None:
    rows, links = drawing
    n = sum(map(len, rows))
    widths = data.draw(st.lists(st.floats(0, 50), min_size=n, max_size=n))
    margins = [9.0] * n
    chain = [row[data.draw(st.integers(0, len(row) - 1))] for row in rows]
    places = place_items(rows, links, widths, margins)
    for found in (places, straighten(rows, [(None, chain)], places, widths, margins)):
        for row in rows:
            for a, b in pairwise(row):
                assert found[b] - found[a] >= (widths[a] + widths[b]) / 2 + 9 - 1e-6


def test_a_chain_that_has_room_is_upright() -> None:
    upright = straighten(
        [[0], [1], [2]], [(5.0, [0, 1, 2])], [0.0, 9.0, -3.0], [1.0] * 3, [9.0] * 3
    )
    assert upright == [5.0, 5.0, 5.0]


# ---- the layout ----


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    """Any edges of a decoder with any of the options that shape its graph."""
    n_heads = draw(st.sampled_from([1, 2, 4, 6]))
    cfg = config(
        n_layers=draw(st.integers(1, 4)),
        n_heads=n_heads,
        n_key_value_heads=draw(st.sampled_from([k for k in (1, 2, 6) if n_heads % k == 0])),
        attn_only=draw(st.booleans()),
        parallel_attn_mlp=draw(st.booleans()),
    )
    return random_circuit(cfg, draw(st.integers(1, 60)), draw(st.integers(0, 10**6)))


CLASSES = {"0.0": "duplicate token", "1.1": "a very long name of a class of heads", "mlp1": "x"}


@given(circuits())
@settings(max_examples=25)
def test_boxes_are_on_the_canvas_and_apart(circuit: Circuit) -> None:
    view = CircuitGraphView(circuit, CLASSES)
    layout = view.drawing.layout
    assert set(layout.boxes) == {*circuit.nodes} | {
        "logits" for name in circuit.edges if name.endswith("->logits")
    }
    for box in layout.boxes.values():
        assert box.x >= 0 and box.x + box.width <= layout.width
        assert box.y >= 0 and box.bottom <= layout.height
    for a, b in combinations(layout.boxes.values(), 2):
        beside = a.x + a.width <= b.x or b.x + b.width <= a.x
        above = a.bottom <= b.y or b.bottom <= a.y
        assert beside or above


@given(circuits())
@settings(max_examples=25)
def test_a_line_goes_up_from_its_sender_to_its_input_and_behind_no_box(circuit: Circuit) -> None:
    drawing = CircuitGraphView(circuit, CLASSES).drawing
    layout = drawing.layout
    for edge in drawing.drawn.edges:
        start = layout.boxes[edge.wire.start]
        for (end, port), way in zip(edge.wire.ends, layout.ways[edge.name], strict=True):
            box = layout.boxes[end]
            assert way[0][1] == start.y and way[-1][1] == box.bottom
            assert start.x <= way[0][0] <= start.x + start.width
            assert box.x <= way[-1][0] <= box.x + box.width
            if port:
                expected = box.middle + drawing.shapes[end].port_shift(port)
                assert way[-1][0] == pytest.approx(expected, abs=1)
            for (x, y), (to_x, to_y) in pairwise(way):
                assert to_y <= y  # y is downward
                assert 0 <= x <= layout.width
                if x != to_x:  # a curve stays between two rows
                    assert all(y <= top or to_y >= bottom for top, bottom in layout.rows)
                else:
                    others = [b for name, b in layout.boxes.items() if name != edge.wire.start]
                    assert not any(
                        b.x < x < b.x + b.width and b.y < y and to_y < b.bottom for b in others
                    )


@given(circuits())
@settings(max_examples=10)
def test_the_same_circuit_gives_the_same_drawing(circuit: Circuit) -> None:
    assert CircuitGraphView(circuit).svg() == CircuitGraphView(circuit).svg()


def test_layers_stand_above_each_other_and_the_mlp_above_the_heads_it_reads() -> None:
    boxes = CircuitGraphView(small_circuit()).drawing.layout.boxes
    order = ["embed", "0.1", "1.2", "mlp1", "logits"]
    assert sorted(boxes, key=lambda name: -boxes[name].y) == order


def test_an_mlp_that_reads_beside_the_heads_stands_beside_them() -> None:
    cfg = config(parallel_attn_mlp=True)
    circuit = Circuit(cfg, ("embed->mlp0", "embed->0.1.q", "mlp0->logits"))
    boxes = CircuitGraphView(circuit).drawing.layout.boxes
    assert boxes["mlp0"].bottom == boxes["0.1"].bottom


def test_the_size_of_one_drawing() -> None:
    layout = CircuitGraphView(random_circuit(config(), 40, seed=3)).drawing.layout
    assert (round(layout.width), round(layout.height)) == (453, 655)


def test_a_path_is_upright_at_both_ends_and_leaves_room_for_its_head() -> None:
    way = ((10.0, 90.0), (10.0, 60.0), (30.0, 20.0))
    assert path_of(way, 4.0) == "M10 90V60C10 42 30 42 30 24"


# ---- what is drawn ----


def edges_of(text: str) -> dict[str, str]:
    """The class of each edge by its name."""
    found = re.findall(r'<g class="edge ([^"]*)"[^>]*?data-tip="([^"\n]*)', text)
    return {name.replace(" → ", "->").replace(" -&gt; ", "->"): kind for kind, name in found}


def test_every_edge_is_drawn_by_its_sign_and_size() -> None:
    circuit = small_circuit()
    view = CircuitGraphView(circuit)
    kinds = edges_of(view.markup())
    assert kinds == {
        name: "positive" if effect > 0 else "negative" for name, effect in circuit.effects.items()
    }
    widths = {edge.name: edge.width for edge in view.drawn.edges}
    assert widths["1.2->logits"] == pytest.approx(WIDEST)
    assert widths["0.1->1.2.q"] == pytest.approx(WIDEST / 4)
    assert widths["1.2->mlp1"] == THINNEST > WIDEST * 0.05 / 0.8
    assert "|effect| 0.800" in view.markup()


def test_edges_without_effects_are_alike_and_say_so() -> None:
    view = CircuitGraphView(small_circuit(effects={}))
    assert set(edges_of(view.markup()).values()) == {"unknown"}
    assert "effect not known" in view.markup() and "|effect|" not in view.markup()


def test_a_node_tells_its_class_its_positions_and_its_edges() -> None:
    circuit = small_circuit(positions={"1.2": ("END", "S2")})
    view = CircuitGraphView(circuit, {"1.2": "name mover", "2.0": "not there"})
    text = view.markup()
    assert 'data-tip="1.2: name mover\nat END, S2\n2 in, 2 out"' in text
    assert 'aria-label="Node MLP 1, 1 in, 1 out"' in text
    assert "not there" not in text
    assert text.count("tint0") == 1
    used = re.findall(r'class="port( used)?"', text)
    assert used == ["", "", " used", " used", "", " used"]  # 0.1: v; 1.2: q and v


def test_an_interval_that_includes_0_is_dashed() -> None:
    intervals = {
        "0.1->1.2.v": Interval(-0.1, -0.3, 0.1, 0.95, 32),
        "1.2->logits": Interval(0.8, 0.7, 0.9, 0.95, 32),
    }
    view = CircuitGraphView(small_circuit(), intervals=intervals)
    kinds = edges_of(view.markup())
    assert [name for name, kind in kinds.items() if "unsure" in kind] == ["0.1->1.2.v"]
    assert "−0.100 share\n95% interval [−0.300, 0.100]\nThe interval includes 0." in view.markup()
    assert 'data-said="+0.800 [0.700, 0.900]"' in view.markup()
    assert "unsure" not in CircuitGraphView(small_circuit()).markup()


def test_the_strongest_edges_are_drawn_and_the_caption_says_so() -> None:
    circuit = small_circuit()
    view = CircuitGraphView(circuit, most=2)
    assert [edge.name for edge in view.drawn.edges] == ["1.2->logits", "embed->0.1.v"]
    assert view.drawn.nodes_left_out == ("mlp1",)
    assert "Drawn are the strongest 2 of 6 edges, and not MLP 1." in view.markup()
    assert "Drawn are" not in CircuitGraphView(circuit).markup()
    big = random_circuit(config(n_layers=6, n_heads=8), 400)
    assert len(CircuitGraphView(big).drawn.edges) == 300
    kept = {edge.name for edge in CircuitGraphView(big).drawn.edges}
    weakest = min(abs(big.effects[name]) for name in kept)
    assert all(abs(e) <= weakest for name, e in big.effects.items() if name not in kept)


def test_a_shared_key_is_drawn_to_each_head_that_reads_it() -> None:
    cfg = config(n_key_value_heads=2)
    circuit = Circuit(cfg, ("embed->1.1.k", "1.2->logits"), effects={"embed->1.1.k": 0.1})
    view = CircuitGraphView(circuit)
    by_name = {edge.name: edge.wire.ends for edge in view.drawn.edges}
    assert by_name["embed->1.1.k"] == (("1.2", "k"), ("1.3", "k"))
    assert "read by heads 1.2, 1.3" in view.markup()
    assert "drawn to each of them" in view.markup()


def test_two_circuits_are_drawn_by_which_has_an_edge() -> None:
    first = small_circuit(("embed->0.1.v", "0.1->1.2.q", "1.2->logits"))
    second = small_circuit(("embed->0.1.v", "0.1->logits"), settings={"unit": "other"})
    view = CircuitGraphView(first, other=second, names=("A", HOSTILE))
    assert edges_of(view.markup()) == {
        "embed->0.1.v": "both",
        "0.1->1.2.q": "first",
        "1.2->logits": "first",
        "0.1->logits": "second",
    }
    assert HOSTILE not in view.markup() and HOSTILE not in view.svg()
    assert "Jaccard index of the two is 0.25" in view.markup()
    assert "only in A (2)" in view.markup() and "only in A (2)" in view.svg()
    assert view.drawing.membership["1.2"] == "first" and view.drawing.membership["0.1"] == "both"


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"most": 0}, ValueError, "most=0"),
        ({"intervals": {"embed->logits": Interval(0, 0, 0, 0.95, 9)}}, ValueError, "not an edge"),
    ],
)
def test_what_cannot_be_drawn_is_refused(fields: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        CircuitGraphView(small_circuit(), **fields)


def test_circuits_of_two_shapes_are_refused() -> None:
    other = random_circuit(config(n_layers=2), 3)
    with pytest.raises(CircuitError, match="different shapes"):
        CircuitGraphView(small_circuit(), other=other).markup()


def test_an_empty_circuit_is_said_to_be_empty() -> None:
    view = CircuitGraphView(Circuit(config(), ()))
    assert "The circuit has no edges." in view.page_html()
    assert "The circuit has no edges." in view.svg()


# ---- text ----

HOSTILE_VIEW = CircuitGraphView(
    Circuit(
        config(model_name=HOSTILE),
        ("embed->0.1.v", "0.1->logits"),
        effects={"0.1->logits": 0.5},
        positions={"0.1": (HOSTILE,)},
        task=HOSTILE,
        method=HOSTILE,
        settings={"unit": HOSTILE},
    ),
    {"0.1": HOSTILE},
    title=HOSTILE,
    caption=HOSTILE,
)


def test_hostile_text_stays_text_and_nothing_is_fetched() -> None:
    for text in (HOSTILE_VIEW.markup(), HOSTILE_VIEW.html(), HOSTILE_VIEW.page_html()):
        assert HOSTILE not in text
        found = outline(text)
        assert found.fetching == [] and found.handlers == []
        assert "http://" not in text and "url(" not in text


def test_the_file_is_whole_xml_without_scripts() -> None:
    view = CircuitGraphView(small_circuit(task="\x00 & <"), {"0.1": HOSTILE, "1.2": "\x1b"})
    root = ElementTree.fromstring(view.svg())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    tags = {element.tag.partition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "style", "g", "rect", "path", "text"}
    assert "tabindex" not in view.svg() and "var(" not in view.svg()


@pytest.mark.parametrize("label", ["", "name mover", "backup name mover", "W" * 40, "an " * 40])
def test_a_class_is_two_lines_at_most_and_fits(label: str) -> None:
    lines = class_lines(label)
    assert len(lines) <= 2 and all(0 < len(line) <= 24 for line in lines)
    if len(label) < 20:
        assert " ".join(lines) == label


def test_small_effects_keep_their_figures() -> None:
    assert [effect_digits(v) for v in (1.0, 0.05, 0.0042, 0.00042, 1e-9, 0.0)] == [3, 3, 4, 5, 7, 3]


def test_300_edges_of_a_model_like_gpt2_stay_under_half_a_megabyte() -> None:
    circuit = random_circuit(config(n_layers=12, n_heads=12), 300)
    assert len(CircuitGraphView(circuit).page_html().encode()) < 500_000
