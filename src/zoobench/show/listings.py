"""Listings for the terminal that are not results: the catalog, the cache, a run that was not made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoobench.show.numbers import counted, format_bytes, format_share
from zoobench.terms import TEXT

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from rich.console import RenderableType
    from rich.table import Table

    from zoobench.estimate import Estimate
    from zoobench.prepare.cache import CacheEntry
    from zoobench.spec import ModelSpec, Published


def models_table(models: Iterable[ModelSpec]) -> Table:
    """What `--models` knows by name; `—` where a fact is not known."""
    table = _table("Model", "Hub id", "Parameters", "Input", "Published", "Licence")
    for model in models:
        table.add_row(
            _text(model.name),
            _text(model.hf_id or str(model.path or "—")),
            _parameters(model.parameters),
            _input(model),
            _published(model.published),
            _text(model.licence or "—"),
        )
    return table


def _published(figure: Published | None) -> str:
    if figure is None:
        return "—"
    return f"{figure.coco_map:.1f} % mAP" if figure.top1 is None else f"{figure.top1:.2f} % top-1"


def _parameters(count: int | None) -> str:
    if not count:
        return "—"
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"


def _input(model: ModelSpec) -> str:
    """A picture's shape, or how many tokens a language model's context holds."""
    if model.task == TEXT:
        context = (model.config or {}).get("max_position_embeddings")
        return f"text, {context} tokens" if context else "text"
    return "×".join(map(str, model.input_shape)) if model.input_shape else "—"


def cache_table(entries: Sequence[CacheEntry]) -> RenderableType:
    """The artifacts on disk, the last used first."""
    if not entries:
        return "the cache is empty"
    table = _table("Model", "Format", "Size", "sha256", "Made", "Last used")
    for entry in entries:
        table.add_row(
            _text(entry.model),
            entry.format,
            format_bytes(entry.size_bytes),
            entry.sha256[:12],
            f"{entry.made_at:%Y-%m-%d %H:%M}",
            f"{entry.last_used:%Y-%m-%d %H:%M}",
        )
    table.caption = f"{len(entries)} artifacts, {format_bytes(sum(e.size_bytes for e in entries))}"
    return table


def ladder_table(ladder: Mapping[str, Any]) -> Table:
    """The recipes that were tried for an int8 file; the chosen one is marked."""
    boxes = ladder.get("alike") == "boxes"
    table = _table(
        "Recipe",
        "Speed",
        "Same boxes" if boxes else "Same class",
        "Cosine",
        "Size",
        "Quantized",
        "Float",
        "",
    )
    for place, rung in enumerate(ladder["rungs"]):
        failed = rung["error"]
        table.add_row(
            _text(rung["recipe"]["name"]),
            "—" if failed or rung["speed"] is None else f"{rung['speed']:.2f}{_beside(rung)} × fp32",
            "—" if failed or rung["agreement"] is None else format_share(rung["agreement"]),
            "—" if failed or rung["cosine"] is None else f"{rung['cosine']:.4f}",
            format_bytes(rung["size_bytes"]),
            "—" if rung["quantized_nodes"] is None else str(rung["quantized_nodes"]),
            "—" if rung["float_nodes"] is None else str(rung["float_nodes"]),
            _text(
                failed
                or (
                    "chosen"
                    if place == ladder["chosen"]
                    else f"same file as {rung['same_as']}"
                    if rung["same_as"]
                    else ""
                )
            ),
        )
    if ladder.get("judged"):
        table.caption = f"{'boxes' if boxes else 'class'} and cosine against fp32's, on {ladder['judged']} items that none was calibrated on"
    return table


def _beside(rung: Mapping[str, Any]) -> str:
    interval = rung.get("speed_interval")
    return f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""


def arms_table(arms: Sequence[tuple[str, Path, int, datetime]]) -> RenderableType:
    """The guard's checkouts on disk: commit, folder, bytes, last use (UTC)."""
    table = _table("Arm", "Folder", "Size", "Last used")
    for commit, folder, size, used in arms:
        table.add_row(_text(commit), _text(str(folder)), format_bytes(size), f"{used:%Y-%m-%d %H:%M}")
    table.caption = (
        f"{len(arms)} arms of `zoobench guard --base`, {format_bytes(sum(arm[2] for arm in arms))}"
    )
    return table


def packs_table(packs: Sequence[tuple[str, int, int, datetime]]) -> RenderableType:
    """Pictures on disk: where from, how many, bytes, last use (UTC)."""
    table = _table("Pictures", "Count", "Size", "Last used")
    for label, count, size, used in packs:
        table.add_row(_text(label), str(count), format_bytes(size), f"{used:%Y-%m-%d %H:%M}")
    table.caption = (
        f"{len(packs)} selections for accuracy and calibration, {format_bytes(sum(p[2] for p in packs))}"
    )
    return table


def estimate_tables(found: Estimate) -> list[RenderableType]:
    """The cells, the downloads and the time of a run that was not made."""
    asked = ["Asked"] if any(cell["asked"] for cell in found.cells) else []
    cells = _table("Model", "Backend", "Precision", "Batch", "Device", "Threads", *asked)
    cells.title = f"{counted(len(found.cells), 'cell')} would be measured"
    for cell in found.cells:
        cells.add_row(
            *(
                _text(str(cell[k]))
                for k in (
                    "model",
                    "backend",
                    "precision",
                    "batch",
                    "device",
                    "threads",
                    *map(str.lower, asked),
                )
            )
        )
    out: list[RenderableType] = [cells]
    if found.skips:
        skips = _table("Skipped", "Reason")
        for label, reason in found.skips:
            skips.add_row(_text(label), _text(reason))
        out.append(skips)
    if found.downloads:
        downloads = _table("Download", "Hub id", "Size")
        for each in found.downloads:
            size = "unknown" if each.bytes is None else format_bytes(each.bytes)
            downloads.add_row(_text(each.model), _text(each.hf_id), size if each.exact else f"about {size}")
        downloads.caption = "what lies in the Hub's cache already is not fetched again"
        out.append(downloads)
    low, high = found.seconds
    out.append(f"measuring takes {_minutes(low)} to {_minutes(high)}, downloads and exports not counted")
    out += [_text(f"besides: {what}") for what in found.besides]
    return out


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _table(*heads: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left", pad_edge=False)
    for head in heads:
        table.add_column(
            head, justify="right" if head in ("Parameters", "Size", "Batch", "Threads") else "left"
        )
    return table


def _text(value: str) -> RenderableType:
    """Names come from users and hubs: shown as they are, never read as markup or control characters."""
    from rich.text import Text

    return Text("".join(c if c.isprintable() else "?" for c in value))
