"""Detectors of transformers: which families can be read, and what of one is known beside its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoobench.backends.torch_module import DETECTOR_OUTPUTS
from zoobench.errors import PrepareError
from zoobench.prepare.preprocessing import coco_labels, squashed
from zoobench.spec import Detector

if TYPE_CHECKING:
    from pathlib import Path

    from zoobench.spec import Labels, ModelSpec, Preprocessing


@dataclass(frozen=True)
class Family:
    """How the detectors of one `model_type` differ, as their image processors' `post_process_object_detection` reads them.

    Attributes:
        softmax: whether the scores are shared among the classes and a last one for no object; else each is a sigmoid.
        ordered: whether candidate i means the same on every runtime; not where the graph chooses the best ones by top-k.
        edge: of the square input that its models are run at unless their files say another, pixels.
        processor: whose image processor its models come with; None: its own.
    """

    softmax: bool = False
    ordered: bool = True
    edge: int = 640
    processor: str | None = None


FAMILIES = {
    "yolos": Family(softmax=True),
    "detr": Family(softmax=True, edge=800),
    "table-transformer": Family(softmax=True, edge=800),
    "conditional_detr": Family(edge=800),
    "deformable_detr": Family(edge=800),
    "rt_detr": Family(ordered=False),
    "rt_detr_v2": Family(ordered=False, processor="rt_detr"),
    "d_fine": Family(ordered=False, processor="rt_detr"),
}
"""By transformers' `model_type`."""


def family_of(spec: ModelSpec, model_type: str) -> Family:
    """The family of that name.

    Raises:
        PrepareError: nobody knows how its detectors are read.
    """
    if model_type not in FAMILIES:
        raise PrepareError(
            f"{spec.name}: how detectors of the family {model_type!r} are read is not known; known: {', '.join(FAMILIES)}"
        )
    return FAMILIES[model_type]


@dataclass(frozen=True)
class Facts:
    """What is known of a detector: see `LoadedModel`."""

    input_shape: tuple[int, ...]
    preprocessing: Preprocessing
    detector: Detector
    labels: Labels | None


def facts_of(spec: ModelSpec, config: Any, folder: Path | None) -> Facts:
    """What a detector's configuration and files say.

    Args:
        spec: may ask for another shape than its own.
        config: transformers' configuration object.
        folder: with `preprocessor_config.json`, where there is one.

    Raises:
        PrepareError: a family that cannot be read, or an input that is no picture.
    """
    model_type = str(config.model_type)
    family = family_of(spec, model_type)
    if spec.input_shape is not None and len(spec.input_shape) != 3:
        raise PrepareError(f"{spec.name}: it takes (channels, height, width), not {spec.input_shape}")
    size, preprocessing = squashed(family.processor or model_type, folder, spec.input_shape, family.edge)
    ordered = family.ordered and not getattr(config, "two_stage", False)
    logits, boxes = DETECTOR_OUTPUTS
    return Facts(
        input_shape=(int(getattr(config, "num_channels", 3)), *size),
        preprocessing=preprocessing,
        detector=Detector(
            boxes=boxes,
            scores=logits,
            box_format="cxcywh",
            box_unit="share",
            activation="softmax" if family.softmax else "sigmoid",
            ordered=ordered,
            source=f"transformers, {model_type}",
        ),
        labels=coco_labels([config.id2label[i] for i in sorted(config.id2label)]),
    )
