"""What a dataset's class is among a model's outputs, and what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from timm.data import ImageNetInfo

from zoobench.data.labels import class_map, coco_classes, imagenet_classes
from zoobench.errors import UsageError

CRANE_BIRD, CRANE_MACHINE = 134, 517
NAMES = [entry.synonyms for entry in imagenet_classes()]
WNIDS = [entry.wnid for entry in imagenet_classes()]


def test_the_table_is_timms() -> None:
    info = ImageNetInfo("imagenet-1k")
    assert info.label_names() == WNIDS
    assert [info.index_to_description(index) for index in range(1000)] == NAMES


@pytest.mark.parametrize(
    "key", ["n01440764", "n01440764 tench", "n01440764_tench", "tench", "Tinca_tinca", "TINCA tinca, tench"]
)
def test_wnids_and_any_synonym_mean_the_class(key: str) -> None:
    found = class_map([key, "great-white_shark"], 1000, "imagenet-1k")
    assert found.outputs == (0, 2)
    assert found.subset


def test_numbers_are_imagenets_and_not_positions() -> None:
    """A folder's classes are sorted as text, so that "10" stands before "2"."""
    classes = sorted(str(number) for number in range(1000))
    found = class_map(classes, 1000, "imagenet-1k")
    assert found.outputs == tuple(int(name) for name in classes)
    assert not found.subset
    assert class_map(["10", "2"], 1000, "imagenet-1k").occurring == (2, 10)


def test_a_background_class_shifts_all() -> None:
    found = class_map(["n01443537", "n01440764"], 1001, "imagenet-1k+background")
    assert found.outputs == (2, 1)
    assert found.occurring == (1, 2)
    assert found.of(np.array([1, 0, 0])).tolist() == [1, 2, 2]
    assert not class_map(WNIDS, 1001, "imagenet-1k+background").subset


def test_an_ambiguous_name_is_refused_with_both() -> None:
    with pytest.raises(UsageError, match=r"'crane' could be n02012849 \(crane\), n03126707 \(crane\)"):
        class_map(["crane", "tench"], 1000, "imagenet-1k")
    with pytest.raises(UsageError, match=r"n03710637.*n03710721"):
        class_map(["maillot"], 1000, "imagenet-1k")
    assert class_map(["maillot, tank suit"], 1000, "imagenet-1k").outputs == (639,)


def test_in_the_whole_list_ambiguous_names_are_told_apart_by_their_place() -> None:
    spelt = [*NAMES]
    spelt[CRANE_MACHINE] = "crane2"
    assert class_map(spelt, 1000, "imagenet-1k").outputs == tuple(range(1000))
    swapped = [*NAMES]
    swapped[0], swapped[1] = swapped[1], swapped[0]
    with pytest.raises(UsageError, match="could be"):
        class_map(swapped, 1000, "imagenet-1k")


def test_a_model_that_names_imagenets_classes_is_one_of_imagenet() -> None:
    own = [name.split(",")[0] for name in NAMES]
    assert class_map(["n03126707", "tinca tinca"], 1000, own).outputs == (CRANE_MACHINE, 0)
    assert class_map(["n03126707"], 1001, ["background", *own]).outputs == (CRANE_MACHINE + 1,)


def test_names_of_a_models_own() -> None:
    own = ["Siamese cat, Siamese", "golden_retriever", "tench"]
    found = class_map(["golden retriever", "siamese", "n01440764"], 3, own)
    assert found.outputs == (1, 0, 2) and not found.subset
    assert class_map(["tench"], 3, own).subset
    digits = [str(number) for number in range(10)]
    assert class_map(digits[::-1], 10, digits).outputs == tuple(range(9, -1, -1))


def test_numbers_on_a_model_with_other_labels_only_if_the_counts_fit() -> None:
    found = class_map(["0", "1"], 2, ["cat", "dog"])
    assert found.outputs == (0, 1)
    assert "were taken for the places of the model's labels (0 is 'cat')" in found.assumed
    with pytest.raises(UsageError, match="numbers without names"):
        class_map(["0", "1"], 3, ["cat", "dog", "cow"])


def test_unknown_outputs_only_if_the_counts_fit() -> None:
    for labels in (None, ["LABEL_0", "LABEL_1"]):
        assert class_map(["cat", "dog"], 2, labels).outputs == (0, 1)
        assert class_map(["1", "0"], 2, labels).outputs == (1, 0)
        with pytest.raises(UsageError, match="does not say what its 2 outputs mean"):
            class_map(["cat", "dog", "cow"], 2, labels)
        with pytest.raises(UsageError, match="numbers 1 to 2, and the model's outputs 0 to 1"):
            class_map(["1", "2"], 2, labels)


@pytest.mark.parametrize(
    ("classes", "outputs", "labels", "words"),
    [
        (["tench", "a", "b", "c", "d"], 1000, "imagenet-1k", "4 classes .* 'a', 'b', 'c' and 1 more"),
        (["n99999999"], 1000, "imagenet-1k", "1 class of the dataset"),
        (["1000"], 1000, "imagenet-1k", "0 to 999"),
        (["tench", "n01440764"], 1000, "imagenet-1k", "the same one"),
        (["tench"], 1001, "imagenet-1k", r"imagenet-1k\+background"),
        (["tench"], 10, "imagenet-1k", "10 outputs"),
        (["tench"], 1000, "cifar", "no known labels"),
        (["tench"], 3, ["a", "b"], "3 classes and names 2"),
        (["cow"], 2, ["a", "b"], "none of the model's: 'cow'"),
        ([], 2, None, "no classes"),
    ],
)
def test_what_does_not_fit_is_one_line(
    classes: list[str], outputs: int, labels: str | list[str] | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as error:
        class_map(classes, outputs, labels)
    assert "\n" not in str(error.value)


def test_numbers_beside_names_are_in_no_order() -> None:
    with pytest.raises(UsageError, match="some of the dataset's classes are numbers and some names"):
        class_map(["1", "2", "zero"], 3, None)


def test_cocos_classes_are_ultralytics_in_order_and_have_their_ids() -> None:
    yaml = pytest.importorskip("yaml")
    found = importlib.util.find_spec("ultralytics")
    if found is None or found.origin is None:
        pytest.skip("ultralytics is not installed")
    file = Path(found.origin).parent / "cfg/datasets/coco.yaml"
    names = list(yaml.safe_load(file.read_text("utf-8"))["names"].values())
    assert [called.split(", ")[0] for _, called in coco_classes()] == names
    numbers = [number for number, _ in coco_classes()]
    assert (len(numbers), numbers[0], numbers[11], numbers[-1]) == (80, 1, 13, 90)


def test_a_dataset_of_coco_meets_its_models_by_name() -> None:
    assert class_map(["stop sign", "person", "sofa"], 80, "coco-80").outputs == (11, 0, 57)
    assert class_map(["stop sign", "person", "sofa"], 91, "coco-91").outputs == (13, 1, 63)
    # As RT-DETR's files spell them.
    assert class_map(["couch", "tv"], 3, ("tvmonitor", "dog", "sofa")).outputs == (2, 0)
    with pytest.raises(UsageError, match="the model has 3 classes, and coco-80 has 80"):
        class_map(["person"], 3, "coco-80")
    with pytest.raises(UsageError, match="none of the model's: 'spaceship'"):
        class_map(["spaceship"], 80, "coco-80")
