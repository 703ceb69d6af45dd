from itertools import pairwise
from xml.etree import ElementTree

import pytest

from bench.plot import Chart, svg

_SVG = "{http://www.w3.org/2000/svg}"


def _circles(drawn: str) -> list[tuple[float, float]]:
    root = ElementTree.fromstring(drawn)
    return [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in root.iter(f"{_SVG}circle")]


def test_what_grows_linearly_is_a_straight_line() -> None:
    points = [(count, count / 7) for count in (10_000, 100_000, 1_000_000)]
    (x1, y1), (x2, y2), (x3, y3) = _circles(svg([Chart("title", "x", "y", {"a": points})]))
    assert (x2 - x1, y2 - y1) == pytest.approx((x3 - x2, y3 - y2), abs=0.2)
    assert x1 < x2
    assert y1 > y2


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.02, 3000.0], [10.0, 100.0], [7.0, 8.0]])
def test_every_point_is_within_the_drawing(values: list[float]) -> None:
    charts = [Chart("one", "x", "y", {"a": [(1, value) for value in values]})] * 2
    drawn = svg(charts)
    size = ElementTree.fromstring(drawn).attrib
    for x, y in _circles(drawn):
        assert 0 < x < float(size["width"]) / 2
        assert 0 < y < float(size["height"])


def test_names_are_text_whatever_is_in_them() -> None:
    root = ElementTree.fromstring(svg([Chart("<a> & b", "x", "y", {"c<d": [(1, 2), (3, 4)]})]))
    texts = [each.text for each in root.iter(f"{_SVG}text")]
    assert {"<a> & b", "c<d"} <= set(texts)


def test_decades_are_labelled_in_order() -> None:
    root = ElementTree.fromstring(svg([Chart("t", "x", "y", {"a": [(10_000, 1), (1_000_000, 50)]})]))
    texts = [each.text or "" for each in root.iter(f"{_SVG}text")]
    counts = [int(text.replace(" ", "")) for text in texts if text.replace(" ", "").isdigit() and len(text) > 4]
    assert counts == [10_000, 100_000, 1_000_000]
    assert all(low < high for low, high in pairwise(counts))
