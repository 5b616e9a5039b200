"""Blocks on a page. Names from strangers pass one gate: they are escaped here, and never go through Streamlit's Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from zoobench.show.charts.bars import Chart
from zoobench.show.document import Block, Paragraph, Picture
from zoobench.show.page import fragment


def show_blocks(blocks: Sequence[Block]) -> None:
    """Headings, text, lists and tables, as a report has them."""
    if blocks:
        st.html(f'<div class="zb">{fragment(blocks)}</div>')


def show_text(text: str) -> None:
    """A line of text."""
    show_blocks([Paragraph(text)])


def show_notice(text: str, kind: str = "info") -> None:
    """A line that stands out.

    Args:
        kind: `info` or `warning`.
    """
    st.html(f'<div class="zb zb-{kind}" role="status">{fragment([Paragraph(text)])}</div>')


def show_chart(chart: Chart | None, otherwise: str) -> None:
    """The chart with its caption; the line `otherwise` where there is none."""
    if chart is None:
        show_text(otherwise)
    else:
        show_blocks([Picture(f"{chart.name}.svg", chart.svg, chart.caption)])


def show_style() -> None:
    """Once a page."""
    st.html(f"<style>{_STYLE}</style>")


_STYLE = """
[data-testid="stMainBlockContainer"] { padding: 4rem 2rem; }
.zb { font-size: .92rem; line-height: 1.5; overflow-wrap: anywhere; }
.zb h2 { font-size: 1.35rem; padding: .3rem 0; }
.zb h3 { font-size: 1.1rem; padding: .8rem 0 .3rem; }
.zb p { margin: 0; }
.zb p + p { margin-top: .4rem; }
.zb ul { margin: 0 0 .6rem; padding-left: 1.2rem; }
.zb .wide { overflow-x: auto; margin: .3rem 0 .8rem; }
.zb table { border-collapse: collapse; font-size: .85rem; min-width: 60%; }
.zb th, .zb td { padding: .3rem .55rem; text-align: left; vertical-align: top; max-width: 34rem; overflow-wrap: break-word;
  border-bottom: 1px solid color-mix(in srgb, currentColor 18%, transparent); }
.zb th { font-weight: 600; opacity: .75; }
.zb tbody th { opacity: 1; }
.zb .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.zb thead .n { white-space: normal; max-width: 6.5rem; }
.zb pre { overflow-x: auto; padding: .7rem .9rem; border-radius: .4rem; font-size: .83rem; white-space: pre-wrap;
  background: color-mix(in srgb, currentColor 7%, transparent); }
.zb .light { font-style: normal; }
.zb .light.green { color: #009e73; } .zb .light.yellow { color: #e69f00; } .zb .light.red { color: #d55e00; }
.zb figure { margin: .4rem 0 1rem; }
.zb img { max-width: 100%; background: #fff; border-radius: .4rem; border: 1px solid color-mix(in srgb, currentColor 18%, transparent); }
.zb figcaption { font-size: .83rem; opacity: .75; margin-top: .3rem; }
.zb .strong { font-weight: 600; }
.zb-info p, .zb-warning p { margin: 0; }
.zb-info, .zb-warning { border-left: 4px solid #0072b2; padding: .5rem .8rem; border-radius: .2rem;
  background: color-mix(in srgb, #0072b2 12%, transparent); }
.zb-warning { border-left-color: #b35900; background: color-mix(in srgb, #e69f00 16%, transparent); }
@media (max-width: 640px) { [data-testid="stMainBlockContainer"] { padding: 4rem 1rem; }
  .zb img { max-width: none; }
  .zb .n { white-space: normal; }
  .zb td { min-width: 6.4rem; overflow-wrap: anywhere; }
  .zb .cards thead { display: none; }
  .zb .cards table, .zb .cards tbody, .zb .cards tr { display: block; }
  .zb .cards tr { border-bottom: 1px solid color-mix(in srgb, currentColor 18%, transparent); padding: .4rem 0; }
  .zb .cards tbody tr > * { display: flex; justify-content: flex-end; gap: .5rem; border: 0; padding: .1rem 0; max-width: none; min-width: 0; text-align: right; }
  .zb .cards tbody tr > *::before { content: attr(data-label); opacity: .7; flex: none; max-width: 50%; margin-right: auto; text-align: left; }
  .zb .cards tbody tr > th { justify-content: flex-start; text-align: left; }
  .zb .cards tbody tr > th::before { content: none; } }
"""
