"""The little of SVG that the charts need: shapes, text, and axes with round numbers.

Charts are written by hand rather than through a plotting library: rendering three of them that way took longer
than reading 20,000 records, and these files stay small enough to be kept beside a report in a repository.
"""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Sequence

from zoobench.show.document import plain

INK, DIM, GRID = "#1c2126", "#5b6570", "#e3e7eb"
TEXT_SIZE = 12
_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
_MEAN_WIDTH, _WIDE = 0.56, 1.0
"""Widths of a letter in units of the type size: the mean of a sans-serif face, and of East Asian letters."""


def text_width(text: str, size: float = TEXT_SIZE) -> float:
    """Estimated width in pixels; the reader's own font decides in the end."""
    return size * sum(_WIDE if unicodedata.east_asian_width(c) in "WF" else _MEAN_WIDTH for c in text)


def fit(text: str, width: float, size: float = TEXT_SIZE) -> str:
    """`text`, cut with an ellipsis where it would be wider than `width` pixels."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def round_ticks(highest: float, about: int = 4) -> list[float]:
    """Round numbers from 0 to at least `highest`, some `about` steps apart: multiples of 1, 2 or 5 × 10ⁿ."""
    if not (math.isfinite(highest) and highest > 0):
        highest = 1.0
    raw = highest / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    return [step * i for i in range(math.ceil(highest / step * 0.999) + 1)]


class Drawing:
    """Collects shapes; `finish` gives the file. Coordinates are pixels from the top left corner."""

    def __init__(self) -> None:
        self._shapes: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, fill: str, opacity: float = 1) -> None:
        """A filled rectangle."""
        pale = f' opacity="{opacity:g}"' if opacity < 1 else ""
        self._shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" fill="{fill}"{pale}/>'
        )

    def line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        colour: str,
        width: float = 1,
        dash: str = "",
    ) -> None:
        """A straight line."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._shapes.append(
            f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
            f'stroke="{colour}" stroke-width="{width:g}"{dashed}/>'
        )

    def path(
        self, points: Sequence[tuple[float, float]], colour: str, width: float = 2, dash: str = ""
    ) -> None:
        """A line through points."""
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._shapes.append(
            f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashed}/>'
        )

    def dot(self, x: float, y: float, colour: str, opacity: float = 1, radius: float = 3.6) -> None:
        """A filled circle."""
        pale = f' opacity="{opacity:g}"' if opacity < 1 else ""
        self._shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"{pale}/>')

    def dots(
        self, points: Sequence[tuple[float, float]], colour: str, opacity: float = 1, radius: float = 1.2
    ) -> None:
        """Many small circles as one shape: round ends of lines without a length."""
        if not points:
            return
        pale = f' opacity="{opacity:g}"' if opacity < 1 else ""
        joined = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
        self._shapes.append(
            f'<path d="{joined}" fill="none" stroke="{colour}" stroke-width="{2 * radius:g}" stroke-linecap="round"{pale}/>'
        )

    def ring(self, x: float, y: float, colour: str, radius: float = 3.6) -> None:
        """A circle that is white inside."""
        self._shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="white" stroke="{colour}" stroke-width="1.5"/>'
        )

    def hoop(self, x: float, y: float, colour: str, radius: float) -> None:
        """A circle around something that stays visible."""
        self._shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        size: float = TEXT_SIZE,
        colour: str = INK,
        bold: bool = False,
        turned: bool = False,
        over: bool = False,
    ) -> None:
        """One line of text; `y` is its middle. `turned`: read from below; `over`: readable on top of lines."""
        weight = ' font-weight="bold"' if bold else ""
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        halo = ' stroke="white" stroke-width="3" paint-order="stroke"' if over else ""
        self._shapes.append(
            f'<text x="{x:.1f}" y="{y + size * 0.35:.1f}" font-size="{size:g}" fill="{colour}" '
            f'text-anchor="{anchor}"{weight}{turn}{halo}>{html.escape(plain(text))}</text>'
        )

    def finish(self, width: float, height: float, description: str) -> str:
        """The SVG file, on white so that it can be read on any page."""
        body = "\n".join(self._shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="{_FONT}">\n'
            f"<title>{html.escape(plain(description))}</title>\n"
            f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
        )
