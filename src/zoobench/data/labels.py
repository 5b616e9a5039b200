"""From a dataset's labels to a model's outputs: by WordNet id, by number or by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from zoobench.errors import UsageError, printable

IMAGENET = "imagenet-1k"
IMAGENET_BACKGROUND = "imagenet-1k+background"
COCO, COCO_BY_ID = "coco-80", "coco-91"
Labels = Literal["imagenet-1k", "imagenet-1k+background", "coco-80", "coco-91"] | Sequence[str] | None
"""What a model's outputs mean: ImageNet's classes in order, the same behind a background class, COCO's in order or by their ids,
these names, unknown."""

_WNID = re.compile(r"(n\d{8})(?:[\s_-].*)?", re.DOTALL)
_PLACEHOLDER = re.compile(r"LABEL_\d+")
_NAMED_ALIKE = 0.95
"""Share of names that must stand at their place for a list to be ImageNet's: other sources spell some differently."""


@dataclass(frozen=True)
class ImageNetClass:
    """A class of ImageNet-1k; `synonyms` as WordNet has them, such as "tench, Tinca tinca"."""

    wnid: str
    synonyms: str


@dataclass(frozen=True)
class ClassMap:
    """Which output a picture's label means.

    Attributes:
        outputs: output index by label index of the dataset.
        subset: whether the model has classes that the dataset has not; a background class does not count.
        assumed: what was taken for granted, in words; None: the names told.
    """

    outputs: tuple[int, ...]
    subset: bool
    assumed: str | None = None

    @cached_property
    def occurring(self) -> tuple[int, ...]:
        """The outputs that a label of the dataset can mean, sorted: for an argmax over only these."""
        return tuple(sorted(self.outputs))

    def of(self, labels: np.ndarray) -> np.ndarray:
        """Output indices of an array of label indices, int64."""
        return np.take(np.asarray(self.outputs, np.int64), labels)


@lru_cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """The 1000 classes in the order of the usual models' outputs."""
    lines = Path(__file__).with_name("imagenet_classes.tsv").read_text("utf-8").splitlines()
    return tuple(ImageNetClass(*line.split("\t")) for line in lines)


@lru_cache
def coco_classes() -> tuple[tuple[int, str], ...]:
    """COCO's 80 classes in order: category id, and the names that go for it, between commas, COCO's own first."""
    lines = Path(__file__).with_name("coco_classes.tsv").read_text("utf-8").splitlines()
    pairs = (line.split("\t") for line in lines)
    return tuple((int(number), names) for number, names in pairs)


def coco_names(labels: str) -> tuple[str, ...]:
    """What the outputs of a model with the labels `coco-80` or `coco-91` stand for; ids that are nobody's are empty."""
    if labels == COCO:
        return tuple(names for _, names in coco_classes())
    by_id = dict(coco_classes())
    return tuple(by_id.get(number, "") for number in range(max(by_id) + 1))


def class_map(classes: Sequence[str], outputs: int, labels: Labels) -> ClassMap:
    """What each class of a dataset is among a model's outputs.

    Args:
        classes: the dataset's, by label index: WordNet ids (also "n01440764 tench"), numbers, or names, of which any
            of several synonyms between commas counts, in upper or lower case, with `_` and `-` as spaces.
        outputs: how many the model has.
        labels: the model's own.

    Raises:
        UsageError: counts that do not fit, classes that the model has not, or names that could be two of its.
    """
    if not classes:
        raise UsageError("the dataset has no classes")
    if labels is not None and not isinstance(labels, str) and all(map(_PLACEHOLDER.fullmatch, labels)):
        labels = None
    if labels is None:
        return _by_position(classes, outputs)
    if labels in (COCO, COCO_BY_ID):
        names = coco_names(str(labels))
        if outputs != len(names):
            raise UsageError(f"the model has {outputs} classes, and {labels} has {len(names)}")
        return _to_names(classes, names)
    if isinstance(labels, str):
        first = {IMAGENET: 0, IMAGENET_BACKGROUND: 1}.get(labels)
        if first is None:
            raise UsageError(
                f"{printable(labels)!r} are no known labels: give {IMAGENET}, {IMAGENET_BACKGROUND}, {COCO}, {COCO_BY_ID} or the "
                "names"
            )
        if outputs != len(imagenet_classes()) + first:
            other = f"; with a background class first it is {IMAGENET_BACKGROUND}" if outputs == 1001 else ""
            raise UsageError(
                f"the model has {outputs} outputs, and {labels} has {len(imagenet_classes()) + first}{other}"
            )
        return _to_imagenet(classes, first)
    if len(labels) != outputs:
        raise UsageError(
            f"the model has {outputs} classes and names {len(labels)} labels: they must be as many"
        )
    for first in (0, 1):
        if outputs == len(imagenet_classes()) + first and _are_imagenet(labels[first:]):
            return _to_imagenet(classes, first)
    return _to_names(classes, labels)


def _by_position(classes: Sequence[str], outputs: int) -> ClassMap:
    """Where nothing says what the outputs mean, only as many classes in their order can be meant."""
    if len(classes) != outputs:
        raise UsageError(
            f"the model does not say what its {outputs} outputs mean, and the dataset has {len(classes)} classes: say"
            f" what they are, such as {IMAGENET}"
        )
    numbers = _numbers(classes)
    if numbers is None and any(_numbers([name]) for name in classes):
        raise UsageError(
            "the model does not say what its outputs mean, and some of the dataset's classes are numbers and some names: name "
            "them alike"
        )
    if numbers is None:
        return ClassMap(
            tuple(range(outputs)),
            subset=False,
            assumed="the model does not say what its outputs mean, so the dataset's classes were taken in their order "
            f"({printable(classes[0])!r} is output 0)",
        )
    if sorted(numbers) != list(range(outputs)):
        raise UsageError(
            f"the dataset's classes are the numbers {min(numbers)} to {max(numbers)}, and the model's outputs 0 to"
            f" {outputs - 1}: name them alike"
        )
    return ClassMap(tuple(numbers), subset=False)


def _to_imagenet(classes: Sequence[str], first: int) -> ClassMap:
    known = imagenet_classes()
    numbers = _numbers(classes)
    if numbers is not None:
        wrong = [name for name, number in zip(classes, numbers, strict=True) if number >= len(known)]
        if wrong:
            raise _unknown(wrong, "ImageNet's, which are 0 to 999")
        found: Sequence[int] = numbers
    elif len(classes) == len(known) and _are_imagenet(classes):
        # Names that two classes share, such as crane, are told apart by where they stand.
        found = range(len(known))
    else:
        by_wnid = {entry.wnid: index for index, entry in enumerate(known)}
        found = _resolve(
            classes,
            {name: (by_wnid[wnid],) for name in classes if (wnid := _wnid(name)) in by_wnid},
            [entry.synonyms for entry in known],
            [entry.wnid for entry in known],
            "ImageNet's",
        )
    _check_apart(classes, found)
    subset = len(classes) < len(known)
    by_number = (
        "the dataset's classes are numbers, and were taken for ImageNet's"
        if numbers is not None and subset
        else None
    )
    return ClassMap(tuple(index + first for index in found), subset=subset, assumed=by_number)


def _to_names(classes: Sequence[str], labels: Sequence[str]) -> ClassMap:
    """To a model with names of its own; a WordNet id may stand for any of its synonyms."""
    places = _places(labels)
    numbers = _numbers(classes)
    if numbers is not None and not all(_spelt(name) in places for name in classes):
        if sorted(numbers) != list(range(len(labels))):
            raise UsageError(
                f"the dataset's {len(classes)} classes are numbers without names, and the model has {len(labels)}"
                " outputs with other labels: only as many numbers as outputs could be matched"
            )
        return ClassMap(
            tuple(numbers),
            subset=False,
            assumed="the dataset's classes are numbers, and were taken for the places of the model's labels "
            f"(0 is {printable(labels[0])!r})",
        )
    synonyms = {entry.wnid: entry.synonyms for entry in imagenet_classes()}
    direct = {}
    for name in classes:
        wnid = _wnid(name)
        if _spelt(name) in places:
            direct[name] = tuple(sorted(places[_spelt(name)]))
        elif wnid is not None and wnid in places:
            direct[name] = tuple(sorted(places[wnid]))
        elif (wnid in synonyms and (meant := _candidates(synonyms[wnid], places))) or (
            meant := _candidates(_coco_synonyms(name), places)
        ):
            direct[name] = meant
    found = _resolve(classes, direct, labels, [str(index) for index in range(len(labels))], "the model's")
    _check_apart(classes, found)
    return ClassMap(tuple(found), subset=len(classes) < len(labels))


def _coco_synonyms(name: str) -> str:
    """All that COCO's class of this name is called; detectors name some as PASCAL VOC did."""
    return next((names for _, names in coco_classes() if _spelt(name) in _synonyms(names)), "")


def _resolve(
    classes: Sequence[str],
    direct: dict[str, tuple[int, ...]],
    labels: Sequence[str],
    called: Sequence[str],
    whose: str,
) -> list[int]:
    """The one place of each class; `called` names the places where a name could mean two."""
    places = _places(labels)
    candidates = {name: direct.get(name) or _candidates(name, places) for name in classes}
    unknown = [name for name in classes if not candidates[name]]
    if unknown:
        raise _unknown(unknown, whose)
    for name, meant in candidates.items():
        if len(meant) > 1:
            which = ", ".join(f"{called[index]} ({labels[index]})" for index in meant)
            raise UsageError(
                f"the class {printable(name)!r} could be {printable(which)}: name it by its WordNet id or number"
            )
    return [candidates[name][0] for name in classes]


def _candidates(name: str, places: dict[str, set[int]]) -> tuple[int, ...]:
    """The places that share a synonym with `name`; where one shares all the known ones, only those."""
    shared = [places[part] for part in _synonyms(name) if part in places]
    if not shared:
        return ()
    return tuple(sorted(set.intersection(*shared) or set.union(*shared)))


def _places(labels: Sequence[str]) -> dict[str, set[int]]:
    places: dict[str, set[int]] = {}
    for index, label in enumerate(labels):
        for part in {*_synonyms(label), _spelt(label)}:
            places.setdefault(part, set()).add(index)
    return places


def _are_imagenet(names: Sequence[str]) -> bool:
    """Whether these 1000 names, or WordNet ids, stand in ImageNet's order: most at their place, none at another's."""
    known = imagenet_classes()
    places = _places([entry.synonyms for entry in known])
    alike = 0
    for index, (name, entry) in enumerate(zip(names, known, strict=True)):
        meant = {part: places[part] for part in _synonyms(name) if part in places}
        if _wnid(name) == entry.wnid or any(index in those for those in meant.values()):
            alike += 1
        elif meant or _wnid(name) is not None:
            return False
    return alike >= _NAMED_ALIKE * len(names)


def _check_apart(classes: Sequence[str], found: Sequence[int]) -> None:
    seen: dict[int, str] = {}
    for name, index in zip(classes, found, strict=True):
        if index in seen:
            raise UsageError(
                f"the classes {printable(seen[index])!r} and {printable(name)!r} of the dataset are the same one of the"
                " model: merge them"
            )
        seen[index] = name


def _unknown(names: Sequence[str], whose: str) -> UsageError:
    shown = ", ".join(repr(printable(name)) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    count = "1 class" if len(names) == 1 else f"{len(names)} classes"
    return UsageError(f"{count} of the dataset are none of {whose}: {shown}{more}")


def _numbers(classes: Sequence[str]) -> list[int] | None:
    return (
        [int(name) for name in classes] if all(re.fullmatch("[0-9]{1,9}", name) for name in classes) else None
    )


def _wnid(name: str) -> str | None:
    found = _WNID.fullmatch(name)
    return found[1] if found else None


def _synonyms(name: str) -> set[str]:
    return {spelt for part in name.split(",") if (spelt := _spelt(part))}


def _spelt(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
