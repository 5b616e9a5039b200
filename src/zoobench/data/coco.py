"""COCO's annotations: one json that names pictures, categories and boxes, and a folder of pictures near it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from zoobench.data import Block, Pick
from zoobench.data.local import (
    LocalFile,
    content_digest,
    local_file,
    picture_bytes,
    state_digest,
    unreadable,
)
from zoobench.data.truth import Objects
from zoobench.errors import PrepareError, UsageError, printable

_FOLDER, _INSTANCES = "annotations", "instances_"
_USUAL_SPLITS = (r"val2017", r"val(idation)?\d*", r"test\d*", r".*")
"""Of these the first that any split is called."""
_LARGEST = 1 << 31
"""Pixels: what is beyond is no size."""


def is_coco(path: Path) -> bool:
    """Whether it is a `.json` file, or a folder with `annotations/instances_<split>.json`."""
    return (path.is_file() and path.suffix.lower() == ".json") or bool(_splits(path))


def open_coco(path: Path, split: str | None) -> CocoSource:
    """The annotations at `path`, or those of a split below it; they are read when something is asked of them.

    Of a folder, the pictures are in `<split>/`, `images/<split>/` or `images/`; beside a file, or one folder up, they may also
    stand at the very place that is named. Where several of these hold pictures, that which holds most is taken.

    Raises:
        UsageError: no such split, or several and none said.
    """
    said = printable(str(path))
    if path.is_file():
        own = path.stem.removeprefix(_INSTANCES)
        if split not in (None, own):
            raise UsageError(f"{said} is one file and has no split {printable(split)!r}: leave --split out")
        above = path.absolute().parent
        roots = (above, above.parent)
        places = [place for root in roots for place in (root, *_places(root, own))]
        return CocoSource(path.absolute(), own, above.name, places)
    splits = _splits(path)
    split = split or _usual(said, sorted(splits))
    if split not in splits:
        raise UsageError(f"{said} has no split {printable(split)!r}: it has {_listed(splits)}")
    root = path.resolve()
    return CocoSource(splits[split], split, root.name, _places(root, split))


def _splits(folder: Path) -> dict[str, Path]:
    try:
        found = sorted((folder / _FOLDER).glob(f"{_INSTANCES}*.json"))
    except OSError as error:
        raise unreadable(folder / _FOLDER, error) from error
    return {file.stem.removeprefix(_INSTANCES): file for file in found if file.is_file()}


def _usual(said: str, splits: Sequence[str]) -> str:
    found = next(filter(None, ([s for s in splits if re.fullmatch(usual, s)] for usual in _USUAL_SPLITS)))
    if len(found) > 1:
        raise UsageError(f"{said} has several splits, {_listed(found)}: say which with --split")
    return found[0]


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return printable(", ".join(sorted(names)))


def _places(root: Path, split: str) -> list[Path]:
    return [root / split, root / "images" / split, root / "images"]


class CocoSource:
    """A `Source`; its classes are the categories in the order of their ids, and its ids `<split>/<file_name>`.

    Every property but `label` and `notes`, and both methods, raise PrepareError for annotations that cannot be used and pictures that
    are not there.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, annotations: Path, split: str, name: str, places: Sequence[Path]) -> None:
        self._file, self._split, self._name, self._places = annotations, split, name, places

    @property
    def label(self) -> str:
        """The folder's name and the split."""
        return printable(f"{self._name} {self._split}")

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Kind, name, split and content: a digest over the annotations, and the pictures' names and sizes."""
        return {
            "kind": "coco",
            "name": printable(self._name),
            "annotations": self._told.sha256,
            "content": content_digest(self._files),
            "split": self._split,
        }

    @cached_property
    def pin(self) -> dict[str, Any]:
        """As the identity, and the times at which the pictures were changed."""
        return {**self.identity, "state": state_digest(self._files)}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the categories."""
        return self._told.classes

    def labels(self) -> list[Block]:
        """One block, with the pictures in the order of their names; those without objects belong to it."""
        ids = [f"{self._split}/{file.name}" for file in self._files]
        return [Block(self._split, ids, np.full(len(ids), -1), self._told.objects)]

    def read(self, picks: Sequence[Pick]) -> Iterator[tuple[str, int, bytes]]:
        """The files' bytes; the label is -1.

        Raises:
            PrepareError: a file cannot be read.
        """
        for _, row in picks:
            file = self._files[row]
            yield f"{self._split}/{file.name}", -1, picture_bytes(file)

    @cached_property
    def _told(self) -> _Annotations:
        return _read(self._file)

    @cached_property
    def _files(self) -> list[LocalFile]:
        """Of the pictures, in the order of the objects."""
        names = self._told.files
        there = {place: [name for name in names if _is_there(place / name)] for place in self._places}
        place = max(there, key=lambda place: len(there[place]))
        found = set(there[place])
        if len(found) < len(names):
            first = next(name for name in names if name not in found)
            looked = ", ".join(map(str, self._places)) if not found else str(place)
            raise PrepareError(
                f"{printable(str(self._file))} names {len(names):,} pictures, and {len(names) - len(found):,} of them are not in"
                f" {printable(looked)} (such as {printable(first)}): put them there; --samples does not help, because which"
                " pictures it takes may not depend on which are there"
            )
        return [local_file(place, place / name) for name in names]


@dataclass(frozen=True)
class _Annotations:
    """What a file says: the pictures' names, sorted, what is on them, and the categories' names."""

    files: list[str]
    objects: Objects
    classes: tuple[str, ...]
    sha256: str


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:
        # Such as a name that is longer than any file's.
        return False


def _read(file: Path) -> _Annotations:
    said = printable(str(file))
    try:
        content = file.read_bytes()
    except OSError as error:
        raise unreadable(file, error) from error
    try:
        # Outlines are most of such a file, and nothing here is about them.
        stored = json.loads(content, object_hook=_without_outline)
    except (ValueError, RecursionError) as error:
        raise PrepareError(
            f"{said} is no json ({printable(str(error))}): it may have been cut short; fetch it again"
        ) from error
    return _Reader(said, stored).annotations(hashlib.sha256(content).hexdigest())


def _without_outline(table: dict[str, Any]) -> dict[str, Any]:
    table.pop("segmentation", None)
    return table


class _Reader:
    """Checks what a json holds. Every refusal begins with the file's name."""

    def __init__(self, said: str, stored: Any) -> None:
        self._said, self._stored = said, stored

    def annotations(self, sha256: str) -> _Annotations:
        """All of it, pictures in the order of their names."""
        images, annotations, categories = map(self._tables, ("images", "annotations", "categories"))
        if not images:
            raise self._refused('has no pictures in its "images"')
        names = [self._file_name(image) for image in images]
        self._each_once("pictures called", names)
        order = sorted(range(len(names)), key=names.__getitem__)
        ids = self._ids("picture", images)
        place = {ids[index]: row for row, index in enumerate(order)}
        numbers = self._ids("category", categories)
        if not all(isinstance(number, int) for number in numbers):
            raise self._refused("has categories whose id is no whole number")
        ordered = sorted(zip(numbers, categories, strict=True), key=lambda pair: pair[0])
        index = {number: position for position, (number, _) in enumerate(ordered)}
        rows = np.array([self._known(a, "image_id", place, "images") for a in annotations], np.int64)
        by_picture = np.argsort(rows, kind="stable")
        classes = np.array(
            [self._known(a, "category_id", index, "categories") for a in annotations], np.int64
        )
        objects = Objects(
            counts=np.bincount(rows, minlength=len(images)),
            sizes=np.array([_size(images[i]) for i in order], np.int64),
            classes=classes[by_picture],
            boxes=self._boxes(annotations)[by_picture],
            areas=np.array([_number(a.get("area")) for a in annotations], np.float64)[by_picture],
            crowds=np.array([a.get("iscrowd") not in (None, 0, "0") for a in annotations], bool)[by_picture],
        )
        return _Annotations(
            [names[i] for i in order], objects, tuple(map(self._name, (c for _, c in ordered))), sha256
        )

    def _refused(self, what: str) -> PrepareError:
        return PrepareError(
            f"{self._said} {what}: give a COCO file of instances, such as instances_val2017.json"
        )

    def _tables(self, key: str) -> list[dict[str, Any]]:
        found = self._stored.get(key) if isinstance(self._stored, dict) else None
        if not isinstance(found, list):
            raise self._refused(f'has no list "{key}", so it is not COCO\'s')
        if not all(isinstance(table, dict) for table in found):
            raise self._refused(f'has something in "{key}" that is no table')
        return found

    def _ids(self, noun: str, tables: Sequence[dict[str, Any]]) -> list[Any]:
        ids = [table.get("id") for table in tables]
        for number in ids:
            if not isinstance(number, (int, str)):
                raise self._refused(f"has a {noun} with the id {printable(repr(number))}")
        self._each_once(f"{noun} ids", ids)
        return ids

    def _each_once(self, what: str, values: Sequence[Any]) -> None:
        if len(set(values)) < len(values):
            value, count = Counter(values).most_common(1)[0]
            raise self._refused(f"has {count} {what} {printable(str(value))}")

    def _known(self, annotation: dict[str, Any], key: str, known: Mapping[Any, int], where: str) -> int:
        number = annotation.get(key)
        if isinstance(number, (int, str)) and number in known:
            return known[number]
        raise self._refused(
            f"has an annotation (id {printable(str(annotation.get('id')))}) whose {key} {printable(repr(number))} is not in its"
            f' "{where}"'
        )

    def _file_name(self, image: dict[str, Any]) -> str:
        name = image.get("file_name")
        if not isinstance(name, str) or not name:
            raise self._refused(f"has a picture (id {printable(str(image.get('id')))}) without a file_name")
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise self._refused(f"has a picture whose file_name {printable(name)!r} leads out of its folder")
        return str(path)

    def _name(self, category: dict[str, Any]) -> str:
        name = category.get("name")
        if not isinstance(name, str) or not name:
            raise self._refused(f"has a category (id {category['id']}) without a name")
        return name

    def _boxes(self, annotations: Sequence[dict[str, Any]]) -> np.ndarray:
        boxes = [annotation.get("bbox") for annotation in annotations]
        with_numbers = _four(boxes) if boxes else np.empty((0, 4))
        if with_numbers is not None:
            return with_numbers
        wrong = next(a for a, box in zip(annotations, boxes, strict=True) if _four([box]) is None)
        box = wrong.get("bbox")
        what = "has no bbox" if box is None else f"has the bbox {printable(repr(box)[:60])}, not four numbers"
        raise self._refused(f"has an annotation (id {printable(str(wrong.get('id')))}) that {what}")


def _four(boxes: Sequence[Any]) -> np.ndarray | None:
    """(n, 4) float64; None where one of them is not four numbers."""
    try:
        found = np.array(boxes, np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.ndim == 2 and found.shape[1] == 4 else None


def _size(image: dict[str, Any]) -> tuple[int, int]:
    """Width and height, or twice 0 where they are not stated."""
    width, height = (value if isinstance(value, int) else 0 for value in map(image.get, ("width", "height")))
    return (width, height) if 0 < min(width, height) <= max(width, height) < _LARGEST else (0, 0)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and abs(value) < _LARGEST**2 else math.nan
