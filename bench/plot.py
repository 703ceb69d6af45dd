"""A plot as SVG: lines over logarithmic axes, drawn by hand, for two small charts are no reason for a library."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Final, NamedTuple

_WIDTH: Final = 420
_HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 36, 44
_COLOURS: Final = ("#1b6ca8", "#c4572e", "#4f7f3a")

Points = Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """Lines over the same axes, both logarithmic: what grows linearly rises by one decade in each.

    Attributes:
        lines: points by name; all above 0.
    """

    title: str
    x_name: str
    y_name: str
    lines: Mapping[str, Points]


def svg(charts: Sequence[Chart]) -> str:
    """Draw charts side by side."""
    width = _WIDTH * len(charts)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}" '
        f'viewBox="0 0 {width} {_HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{_HEIGHT}" fill="white"/>',
    ]
    for index, chart in enumerate(charts):
        parts += [f'<g transform="translate({index * _WIDTH} 0)">', *_drawn(chart), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _drawn(chart: Chart) -> Iterator[str]:
    xs = [x for points in chart.lines.values() for x, _ in points]
    ys = [y for points in chart.lines.values() for _, y in points]
    x_axis, y_axis = _Axis(xs, _LEFT, _WIDTH - _RIGHT), _Axis(ys, _HEIGHT - _BOTTOM, _TOP)
    yield _text(_WIDTH / 2, 18, chart.title, "middle", 'font-size="13"')
    yield _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, chart.x_name, "middle")
    yield _text(-(_TOP + _HEIGHT - _BOTTOM) / 2, 14, chart.y_name, "middle", 'transform="rotate(-90)"')
    for value in x_axis.decades:
        at = x_axis.at(value)
        yield _line((at, _TOP), (at, _HEIGHT - _BOTTOM), "#ddd")
        yield _text(at, _HEIGHT - _BOTTOM + 15, f"{value:,.0f}".replace(",", " "), "middle")
    for value in y_axis.decades:
        at = y_axis.at(value)
        yield _line((_LEFT, at), (_WIDTH - _RIGHT, at), "#ddd")
        yield _text(_LEFT - 6, at + 4, f"{value:g}", "end")
    for number, (name, points) in enumerate(chart.lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(x_axis.at(x), y_axis.at(y)) for x, y in points]
        for start, end in pairwise(places):
            yield _line(start, end, colour, 2)
        for (x, y), (_, value) in zip(places, points, strict=True):
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
            right = x < _WIDTH / 2  # of the point and below it, so that neither axis nor line crosses the number
            yield _text(
                x + (6 if right else -2), y + 15, f"{value:.3g}", "start" if right else "end", f'fill="{colour}"'
            )
        yield _text(_LEFT + 10, _TOP + 14 + 15 * number, name, "start", f'fill="{colour}"')


class _Axis:
    """Whole decades around values, laid over pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low = math.floor(math.log10(min(values)))
        self._high = max(math.ceil(math.log10(max(values))), self._low + 1)
        self._start, self._end = start, end
        self.decades: Final = [10.0**power for power in range(self._low, self._high + 1)]

    def at(self, value: float) -> float:
        """Return where a value lies."""
        part = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + part * (self._end - self._start)


def _line(start: tuple[float, float], end: tuple[float, float], colour: str, width: int = 1) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
