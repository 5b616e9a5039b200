"""Batches: all pictures, in order, full to the last, and no more of them in memory than asked for."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.pictures import coco_of, encoded, pack_of, picture

from zoobench.data import DataRequest, open_source
from zoobench.data.loader import batches
from zoobench.data.pack import collect
from zoobench.errors import PrepareError, UsageError


def grey(number: int) -> bytes:
    return encoded(Image.new("RGB", (2, 3), (number, number, number)))


def first_pixel(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float64)[:1, :1, 0]


def decoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("zoobench-decode")]


def test_every_picture_once_in_order_in_contiguous_batches(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, [grey(number) for number in range(23)])
    found = list(batches(pack, first_pixel, 5, workers=3))
    assert [len(batch.indices) for batch in found] == [5, 5, 5, 5, 3]
    assert np.concatenate([batch.indices for batch in found]).tolist() == list(range(23))
    for batch in found:
        assert batch.tensors.dtype == np.float32 and batch.tensors.flags.c_contiguous
        assert batch.tensors.shape == (len(batch.indices), 1, 1)
        assert batch.tensors.ravel().tolist() == [
            int(Path(pack.entry(i).id).stem) for i in batch.indices.tolist()
        ]


def test_a_slow_picture_does_not_change_the_order(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, [grey(number) for number in range(8)])
    shown = [int(Path(pack.entry(i).id).stem) for i in range(8)]

    def slow_at_first(image: Image.Image) -> np.ndarray:
        value = first_pixel(image)
        time.sleep(0.05 if value == shown[0] else 0)
        return value

    found = [batch.tensors.item() for batch in batches(pack, slow_at_first, 1, workers=4)]
    assert found == shown


def test_bad_pictures_are_told_and_the_batch_is_filled_up(tmp_path: Path) -> None:
    contents = [grey(number) for number in range(10)]
    contents[2], contents[5] = b"nothing", picture(0, (64, 64), "JPEG")[:1500]
    pack = pack_of(tmp_path, contents)
    bad: list[tuple[int, str]] = []
    found = list(batches(pack, first_pixel, 4, on_bad=lambda *told: bad.append(told)))
    assert [len(batch.indices) for batch in found] == [4, 4]
    assert {pack.entry(index).id: reason for index, reason in bad} == {
        "only/00002.png": "not a picture",
        "only/00005.png": "truncated",
    }
    left = set(range(10)) - {index for index, _ in bad}
    assert np.concatenate([batch.indices for batch in found]).tolist() == sorted(left)


def test_only_bad_pictures_give_no_batch(tmp_path: Path) -> None:
    assert list(batches(pack_of(tmp_path, [b"x", b"y"]), first_pixel, 4)) == []


def test_no_more_than_ahead_are_in_work(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, [grey(number) for number in range(60)])
    begun = 0
    lock = threading.Lock()

    def counting(image: Image.Image) -> np.ndarray:
        nonlocal begun
        with lock:
            begun += 1
        return first_pixel(image)

    found = batches(pack, counting, 2, workers=2, ahead=6)
    for taken in range(1, 6):
        next(found)
        time.sleep(0.02)
        assert begun <= 2 * taken + 6
    found.close()


def test_closing_early_ends_the_threads(tmp_path: Path) -> None:
    found = batches(pack_of(tmp_path, [grey(number) for number in range(50)]), first_pixel, 2, workers=3)
    next(found)
    assert decoders()
    found.close()
    assert not decoders()


def test_what_a_transform_raises_comes_through_and_ends_the_threads(tmp_path: Path) -> None:
    def broken(image: Image.Image) -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(batches(pack_of(tmp_path, [grey(1), grey(2)]), broken, 1))
    assert not decoders()


def test_items_of_two_shapes_are_refused(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, [picture(0, (2, 2)), picture(1, (3, 2))])
    with pytest.raises(PrepareError, match=r"only/0000\d.png became a tensor of shape"):
        list(batches(pack, lambda image: np.asarray(image), 2))


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"batch": 1, "workers": 0}, {"batch": 1, "ahead": 0}])
def test_numbers_below_one_are_refused_at_once(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="is 0: give 1 or more"):
        batches(pack_of(tmp_path, [grey(1)]), first_pixel, **wrong)  # type: ignore[arg-type]


def test_each_picture_comes_with_the_size_it_had(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, [picture(n, (4 + n, 9 - n)) for n in range(5)])
    found = list(batches(pack, first_pixel, 2))
    sizes = {
        pack.entry(i).id: size for b in found for i, size in zip(b.indices, b.sizes.tolist(), strict=True)
    }
    assert sizes == {f"only/{n:05}.png": [9 - n, 4 + n] for n in range(5)}
    assert all(
        batch.sizes.dtype == np.int64 and batch.sizes.shape == (len(batch.indices), 2) for batch in found
    )


def turned(number: int, size: tuple[int, int]) -> bytes:
    """A picture that its EXIF data say to turn by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.new("RGB", size, (number, 0, 0)), exif=exif)


def test_pictures_with_boxes_are_not_turned(tmp_path: Path) -> None:
    root = coco_of(tmp_path / "coco", {"a.png": [[1, 1, 1, 2, 2]]}, size=(8, 6))
    (root / "val2017/a.png").write_bytes(turned(9, (8, 6)))
    with collect(open_source(request := DataRequest(str(root))), request, tmp_path / "cache") as pack:
        (batch,) = batches(pack, first_pixel, 1)
        assert batch.sizes.tolist() == [[6, 8]]
    (upright,) = batches(pack_of(tmp_path, [turned(9, (8, 6))]), first_pixel, 1)
    assert upright.sizes.tolist() == [[8, 6]]


def test_a_picture_of_another_size_than_its_boxes_is_told_and_left_out(tmp_path: Path) -> None:
    root = coco_of(tmp_path / "coco", {f"{name}.png": [[1, 1, 1, 2, 2]] for name in "abc"}, size=(8, 6))
    (root / "val2017/b.png").write_bytes(picture(1, (6, 8)))
    bad: list[tuple[int, str]] = []
    with collect(open_source(request := DataRequest(str(root))), request, tmp_path / "cache") as pack:
        (batch,) = batches(pack, first_pixel, 8, on_bad=lambda *told: bad.append(told))
    assert batch.indices.tolist() == [0, 2] and batch.sizes.tolist() == [[6, 8]] * 2
    assert [index for index, _ in bad] == [1] and "turned by a quarter, and it has 6 × 8" in bad[0][1]
