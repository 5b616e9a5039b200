"""Reads charts back: what is written in them, and in which colours."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from zoobench.show.charts.bars import Chart

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<img src=x onerror=alert(1)>|**x**"


def texts(chart: Chart | None) -> list[str]:
    """What is written, in the order of drawing."""
    assert chart is not None
    return [e.text or "" for e in ElementTree.fromstring(chart.svg).iter(f"{SVG}text")]


def attributes(chart: Chart | None, shape: str) -> list[dict[str, str]]:
    """Of every shape of one kind."""
    assert chart is not None
    return [dict(e.attrib) for e in ElementTree.fromstring(chart.svg).iter(f"{SVG}{shape}")]


def fills(chart: Chart | None, shape: str) -> list[str]:
    """Colours of one kind of shape."""
    return [found["fill"] for found in attributes(chart, shape)]


def is_harmless(chart: Chart | None, name: str = HOSTILE) -> bool:
    """A hostile name is there, as text alone, and in the title and the description."""
    assert chart is not None
    tags = {e.tag.removeprefix(SVG) for e in ElementTree.fromstring(chart.svg).iter()}
    inside = any(name[:8] in text for text in texts(chart))
    return inside and tags <= {"svg", "title", "rect", "line", "polyline", "path", "circle", "text"}
