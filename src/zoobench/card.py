"""What a file that zoobench wrote says of itself, so that nobody has to explain it again: one entry of the model's metadata.

A graph holds operators and names. That its pictures are letterboxed, its boxes corners in pixels and its classes COCO's
stands nowhere in it, nor under which licence its weights are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from zoobench.spec import Artifact, Detector, Frozen, Labels, Preprocessing, Task

KEY = "zoobench"
"""Of the entry in `metadata_props`; its value is a card as JSON."""
_METADATA_PROPS = 14
"""Number of that field in onnx.proto's ModelProto."""
_LONGEST = 1 << 20
_LONGEST_EDGE = 1 << 13


class Card(Frozen):
    """What a file says of itself; what nobody knew is None."""

    task: Task
    licence: str | None = None
    preprocessing: Preprocessing | None = None
    labels: Labels | None = None
    detector: Detector | None = None


def card_of(artifact: Artifact, licence: str | None) -> Card:
    """The card of what an artifact runs."""
    return Card(
        task=artifact.task,
        licence=licence,
        preprocessing=artifact.preprocessing,
        labels=artifact.labels,
        detector=artifact.detector,
    )


def append_card(file: Path, card: Card) -> None:
    """Add the card to an .onnx file's metadata, without reading the file.

    A protocol buffer that is appended to another is merged into it, and entries of a repeated field are added ("Encoding",
    protobuf.dev): a model of gigabytes is not parsed for it, and ONNX is not imported.
    """
    value = card.model_dump_json(exclude_none=True)
    entry = _field(1, KEY.encode()) + _field(2, value.encode())
    with file.open("ab") as out:
        out.write(_field(_METADATA_PROPS, entry))


def read_card(metadata: Mapping[str, str]) -> Card | None:
    """The card among a model's metadata; None where there is none that can be read."""
    text = metadata.get(KEY, "")
    if not text or len(text) > _LONGEST:
        return None
    try:
        card = Card.model_validate_json(text)
    except ValidationError:
        return None
    return card if _is_modest(card.preprocessing) else None


def _is_modest(wanted: Preprocessing | None) -> bool:
    """Whether its pictures are of a size that a file of a stranger's may ask for."""
    edges = (*(wanted.resize or ()), *(wanted.crop or ())) if wanted else ()
    return all(0 < edge <= _LONGEST_EDGE for edge in edges)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
