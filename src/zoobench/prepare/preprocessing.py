"""How a model wants its pictures, and what its outputs stand for: read from its own files, in the words of `Preprocessing`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoobench.spec import Interpolation, Labels, Preprocessing

_IMAGENET = 1000
_PIL_FILTERS: dict[int, Interpolation] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}


def assumed(input_shape: tuple[int, ...]) -> Preprocessing:
    """What most ImageNet classifiers were evaluated with, for a model whose files say nothing."""
    return of_timm({}, input_shape).model_copy(update={"source": "assumed: ImageNet's usual"})


def letterbox(input_shape: tuple[int, ...], source: str = "assumed: YOLO's usual") -> Preprocessing:
    """What ultralytics shows a YOLO: the whole picture in the middle of a grey border, grey levels from 0 to 1."""
    edges = (input_shape[-2], input_shape[-1])
    return Preprocessing(
        resize=edges,
        fit="longest",
        interpolation="linear",
        crop=edges,
        border=(114, 114, 114),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        channels="grey" if input_shape[0] == 1 else "rgb",
        source=source,
    )


def of_timm(cfg: dict[str, Any], input_shape: tuple[int, ...]) -> Preprocessing:
    """What timm's evaluation transform does with this `pretrained_cfg` at this input shape."""
    height, width = input_shape[-2:]
    share = cfg.get("crop_pct") or 0.875
    mode = cfg.get("crop_mode") or "center"
    fit = {"squash": "squash", "border": "longest"}.get(mode, "shortest")
    told = {
        name: tuple(float(value) for value in cfg[name])
        for name in ("mean", "std")
        if cfg.get(name) is not None
    }
    made = Preprocessing(
        resize=(math.floor(height / share), math.floor(width / share)),
        fit=fit,
        interpolation=cfg.get("interpolation") or "bicubic",
        crop=(height, width),
        channels="grey" if input_shape[0] == 1 else "rgb",
        source="timm",
        **told,
    )
    if fit == "longest":
        made = made.model_copy(update={"border": tuple(round(255 * value) for value in made.mean[:3])})
    return made


def of_transformers(
    model_type: str, folder: Path | None, input_shape: tuple[int, ...]
) -> Preprocessing | None:
    """What the model's image processor does; without its file, what the processor of its family does by itself.

    None where the family has no processor, or one that does more than `Preprocessing` has words for.
    """
    processor = _processor(model_type, folder)
    return None if processor is None else _of_processor(processor, input_shape)


def squashed(
    model_type: str, folder: Path | None, input_shape: tuple[int, ...] | None, edge: int
) -> tuple[tuple[int, int], Preprocessing]:
    """A detector's height and width, and how pictures are brought to it: both edges at once, whatever the picture's proportions.

    So do RT-DETR's and D-FINE's own processors. Those of DETR and YOLOS keep the proportions, and pad to the largest of the
    batch with a mask, which no input of a fixed size can have.

    Args:
        model_type: of a family that has an image processor.
        folder: with `preprocessor_config.json`, where there is one.
        input_shape: asked, which comes before the processor's own size.
        edge: of a square input, where neither says one.
    """
    processor = _processor(model_type, folder)
    assert processor is not None, f"{model_type} has no image processor"
    own = _size(processor.size) if getattr(processor, "do_resize", None) else None
    size = tuple(input_shape[-2:]) if input_shape else own or (edge, edge)
    height, width = size
    scale, mean, std = _values(processor)
    name = type(processor).__name__.removesuffix("Pil")
    return (height, width), Preprocessing(
        resize=(height, width),
        fit="squash",
        interpolation=_PIL_FILTERS[int(processor.resample)],
        scale=scale,
        mean=mean,
        std=std,
        source=f"transformers, {name}"
        if own == size
        else f"transformers, {name}'s mean and std; squashed to a fixed size",
    )


def _processor(model_type: str, folder: Path | None) -> Any:
    """The image processor of a model's files, else its family's with what it does by itself; None: it has none."""
    from transformers import AutoImageProcessor
    from transformers.models.auto.image_processing_auto import (
        IMAGE_PROCESSOR_MAPPING_NAMES,
        get_image_processor_class_from_name,
    )

    if folder is not None and (folder / "preprocessor_config.json").is_file():
        return AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, backend="pil", trust_remote_code=False
        )
    names = IMAGE_PROCESSOR_MAPPING_NAMES.get(model_type)
    if not names or not names.get("pil"):
        return None
    return get_image_processor_class_from_name(names["pil"])()


def _of_processor(processor: Any, input_shape: tuple[int, ...]) -> Preprocessing | None:
    name = type(processor).__name__
    if getattr(processor, "do_pad", None):
        return None
    crop = _pair(processor.crop_size) if getattr(processor, "do_center_crop", None) else None
    resize, fit = None, "squash"
    if getattr(processor, "do_resize", None):
        size = processor.size
        edge = size.get("shortest_edge")
        if edge is None:
            resize = _pair(size)
        elif name.startswith("ConvNext") and edge < 384:
            resize, fit, crop = (int(edge / processor.crop_pct),) * 2, "shortest", (edge, edge)
        elif name.startswith("ConvNext"):
            resize = (edge, edge)
        else:
            resize, fit = (edge, edge), "shortest"
    scale, mean, std = _values(processor)
    if getattr(processor, "include_top", None):
        # It divides by the deviation a second time.
        mean, std = (
            mean,
            tuple(value * by for value, by in zip(std, _triple(processor.image_std), strict=True)),
        )
    if (crop or resize) not in (None, tuple(input_shape[-2:])):
        # Another input size than the model's own: the same share of the picture, scaled.
        return None
    return Preprocessing(
        resize=resize,
        fit=fit,
        interpolation=_PIL_FILTERS[int(processor.resample)],
        crop=crop,
        corner="floor",
        scale=scale,
        offset=-1.0 if getattr(processor, "rescale_offset", None) else 0.0,
        mean=mean,
        std=std,
        channels="bgr" if getattr(processor, "do_flip_channel_order", None) else "rgb",
        source=f"transformers, {name}",
    )


def _values(processor: Any) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """What a processor does to a pixel's values: scale, mean, std."""
    scale = float(processor.rescale_factor) if getattr(processor, "do_rescale", None) else 1.0
    if not getattr(processor, "do_normalize", None):
        return scale, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return scale, _triple(processor.image_mean), _triple(processor.image_std)


def _size(size: Any) -> tuple[int, int] | None:
    """A fixed height and width; None where the size depends on the picture."""
    return _pair(size) if size.get("height") and size.get("width") else None


def _pair(size: Any) -> tuple[int, int]:
    return int(size["height"]), int(size["width"])


def _triple(values: Any) -> tuple[float, ...]:
    return tuple(map(float, values)) if isinstance(values, (list, tuple)) else (float(values),) * 3


def imagenet_by_count(outputs: int) -> Labels | None:
    """ImageNet, where so many outputs can hardly be anything else; for a file that says nothing."""
    counts: dict[int, Labels] = {_IMAGENET: "imagenet-1k", _IMAGENET + 1: "imagenet-1k+background"}
    return counts.get(outputs)


def labels_of(config: dict[str, Any], outputs: int) -> Labels | None:
    """What the outputs stand for, from a torch artifact's `config.json`; None where its files do not say.

    ImageNet's classes are only assumed where their number fits and no other names are given.
    """
    if config.get("library") == "timm":
        cfg = config.get("pretrained_cfg") or {}
        names = cfg.get("label_names")
        if names and len(names) == outputs:
            return tuple(map(str, names))
        # timm's own name for a head that was trained on something else ends in it: `.ft_in22k`, `.in12k`.
        return "imagenet-1k" if outputs == _IMAGENET else None
    told = (config.get("config") or {}).get("id2label") or {}
    names = tuple(str(told[key]) for key in sorted(told, key=int))
    if outputs == _IMAGENET + 1 and (_are_default(names) or names[:1] == ("background",)):
        return "imagenet-1k+background"
    if outputs == _IMAGENET and (_are_default(names) or "tench, Tinca tinca" in names[:1]):
        return "imagenet-1k"
    return names if len(names) == outputs and not _are_default(names) else None


def coco_labels(names: Sequence[str]) -> Labels | None:
    """COCO's classes, where names and their number are its own, or the number is and there are no names; else the names."""
    told = tuple(map(str, names))
    ends: dict[int, tuple[int, Labels]] = {80: (0, "coco-80"), 91: (1, "coco-91")}
    first, coco = ends.get(len(told), (0, None))
    if coco and (_are_default(told) or (told[first].lower(), told[-1].lower()) == ("person", "toothbrush")):
        return coco
    return told if told and not _are_default(told) else None


def _are_default(names: tuple[str, ...]) -> bool:
    return not names or all(name == f"LABEL_{i}" for i, name in enumerate(names))
