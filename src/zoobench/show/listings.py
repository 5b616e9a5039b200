"""Listings that are not results: the catalog, the cache, a run that was not made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoobench.show.document import Block, Column, Heading, Paragraph, Table
from zoobench.show.numbers import counted, format_bytes, format_share
from zoobench.terms import TEXT

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from zoobench.estimate import Estimate
    from zoobench.prepare.cache import CacheEntry
    from zoobench.spec import ModelSpec, Published


def models_table(models: Iterable[ModelSpec]) -> Table:
    """What `--models` knows by name; `—` where a fact is not known."""
    rows = [
        (
            model.name,
            model.hf_id or str(model.path or "—"),
            _parameters(model.parameters),
            _input(model),
            _published(model.published),
            model.licence or "—",
        )
        for model in models
    ]
    return Table(_columns("Model", "Hub id", "Parameters", "Input", "Published", "Licence"), rows)


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


def cache_blocks(entries: Sequence[CacheEntry]) -> list[Block]:
    """The artifacts on disk, the last used first."""
    if not entries:
        return [Paragraph("the cache is empty")]
    rows = [
        (
            entry.model,
            entry.precision,
            entry.format,
            format_bytes(entry.size_bytes),
            entry.sha256[:12],
            f"{entry.made_at:%Y-%m-%d %H:%M}",
            f"{entry.last_used:%Y-%m-%d %H:%M}",
        )
        for entry in entries
    ]
    return [
        Table(_columns("Model", "Precision", "Format", "Size", "sha256", "Made", "Last used"), rows),
        Paragraph(f"{len(entries)} artifacts, {format_bytes(sum(e.size_bytes for e in entries))}"),
    ]


def ladder_blocks(ladder: Mapping[str, Any]) -> list[Block]:
    """The recipes that were tried for an int8 file; the chosen one is marked."""
    boxes = ladder.get("alike") == "boxes"
    alike = "Same boxes" if boxes else "Same class"
    rows = []
    for place, rung in enumerate(ladder["rungs"]):
        failed = rung["error"]
        same = f"same file as {rung['same_as']}" if rung["same_as"] else ""
        rows.append(
            (
                rung["recipe"]["name"],
                "—" if failed or rung["speed"] is None else f"{rung['speed']:.2f}{_beside(rung)} × fp32",
                "—" if failed or rung["agreement"] is None else format_share(rung["agreement"]),
                "—" if failed or rung["cosine"] is None else f"{rung['cosine']:.4f}",
                format_bytes(rung["size_bytes"]),
                "—" if rung["quantized_nodes"] is None else str(rung["quantized_nodes"]),
                "—" if rung["float_nodes"] is None else str(rung["float_nodes"]),
                failed or ("chosen" if place == ladder["chosen"] else same),
            )
        )
    heads = _columns("Recipe", "Speed", alike, "Cosine", "Size", "Quantized", "Float", "")
    blocks: list[Block] = [Table(heads, rows)]
    if ladder.get("judged"):
        what = "boxes" if boxes else "class"
        blocks.append(
            Paragraph(
                f"{what} and cosine against fp32's, on {ladder['judged']} items that none was calibrated on"
            )
        )
    return blocks


def _beside(rung: Mapping[str, Any]) -> str:
    interval = rung.get("speed_interval")
    return f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""


def arms_blocks(arms: Sequence[tuple[str, Path, int, datetime]]) -> list[Block]:
    """The guard's checkouts on disk: commit, folder, bytes, last use (UTC)."""
    rows = [
        (commit, str(folder), format_bytes(size), f"{used:%Y-%m-%d %H:%M}")
        for commit, folder, size, used in arms
    ]
    whole = format_bytes(sum(size for *_, size, _ in arms))
    return [
        Table(_columns("Arm", "Folder", "Size", "Last used"), rows),
        Paragraph(f"{len(arms)} arms of `zoobench guard --base`, {whole}"),
    ]


def packs_blocks(packs: Sequence[tuple[str, int, int, datetime]]) -> list[Block]:
    """Pictures on disk: where from, how many, bytes, last use (UTC)."""
    rows = [
        (label, str(count), format_bytes(size), f"{used:%Y-%m-%d %H:%M}")
        for label, count, size, used in packs
    ]
    whole = format_bytes(sum(size for *_, size, _ in packs))
    return [
        Table(_columns("Pictures", "Count", "Size", "Last used"), rows),
        Paragraph(f"{len(packs)} selections for accuracy and calibration, {whole}"),
    ]


def estimate_blocks(found: Estimate) -> list[Block]:
    """The cells, the downloads and the time of a run that was not made."""
    asked = ["Asked"] if any(cell["asked"] for cell in found.cells) else []
    heads = ("Model", "Backend", "Precision", "Batch", "Device", "Threads", *asked)
    out: list[Block] = [
        Heading(3, f"{counted(len(found.cells), 'cell')} would be measured"),
        Table(_columns(*heads), [[str(cell[head.lower()]) for head in heads] for cell in found.cells]),
    ]
    if found.skips:
        out.append(Table(_columns("Skipped", "Reason"), list(found.skips)))
    if found.downloads:
        sizes = ("unknown" if each.bytes is None else format_bytes(each.bytes) for each in found.downloads)
        rows = [
            (each.model, each.hf_id, size if each.exact else f"about {size}")
            for each, size in zip(found.downloads, sizes, strict=True)
        ]
        out.append(Table(_columns("Download", "Hub id", "Size"), rows))
        out.append(Paragraph("what lies in the Hub's cache already is not fetched again"))
    low, high = found.seconds
    out.append(
        Paragraph(f"measuring takes {_minutes(low)} to {_minutes(high)}, downloads and exports not counted")
    )
    out += [Paragraph(f"besides: {what}") for what in found.besides]
    return out


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


_NUMBERS = frozenset(
    {
        "Parameters",
        "Size",
        "Batch",
        "Threads",
        "Count",
        "Quantized",
        "Float",
        "Speed",
        "Same boxes",
        "Same class",
        "Cosine",
    }
)


def _columns(*heads: str) -> tuple[Column, ...]:
    return tuple(Column(head, "right" if head in _NUMBERS else "left") for head in heads)
