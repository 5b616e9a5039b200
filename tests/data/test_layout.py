"""Which parquet files are which config and split."""

from __future__ import annotations

import pytest

from zoobench.data.layout import card_features, choose, class_names, parts_of
from zoobench.errors import UsageError


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("data/test-00000-of-00003.parquet", ("default", "test")),
        ("data/test-00000-of-00003-0123456789abcdef.parquet", ("default", "test")),
        ("full/validation-00000-of-00001.parquet", ("full", "validation")),
        ("full_size/train/0000.parquet", ("full_size", "train")),
        ("full_size/partial-train/0012.parquet", ("full_size", "train")),
        ("val.parquet", ("default", "validation")),
        ("my_test_pictures.parquet", ("default", "test")),
        ("testament.parquet", ("default", "train")),
        ("small/test/a.parquet", ("small", "test")),
    ],
)
def test_conventions_for_names(name: str, part: tuple[str, str]) -> None:
    assert parts_of([name], {}) == {part: [name]}


def test_what_the_card_states_wins() -> None:
    card = {
        "configs": [
            {
                "config_name": "small",
                "data_files": [
                    {"split": "test", "path": "data/test-*"},
                    {"split": "extra", "path": ["data/train-*"]},
                ],
            },
            {"config_name": "all", "data_files": "*.parquet"},
        ]
    }
    names = ["data/test-0.parquet", "data/train-0.parquet"]
    assert parts_of(names, card) == {
        ("small", "test"): names[:1],
        ("small", "extra"): names[1:],
        ("all", "train"): names,
    }
    assert parts_of(names, {"configs": "damaged"}) == {
        ("default", "test"): names[:1],
        ("default", "train"): names[1:],
    }


def test_one_is_taken_and_of_several_the_asked_one() -> None:
    parts = {("a", "test"): ["x"], ("b", "test"): ["y"], ("b", "train"): ["z"]}
    assert choose("it", {("a", "test"): ["x"]}, None, None) == ("a", "test")
    assert choose("it", parts, "b", "train") == ("b", "train")
    assert choose("it", parts, "a", None) == ("a", "test")
    for config, split, words in (
        (None, None, "several configs, a, b: say which with --dataset-config"),
        ("b", None, "several splits, test, train: say which with --split"),
        ("c", None, "no config 'c': it has a, b"),
        ("a", "train", "no split 'train': it has test"),
    ):
        with pytest.raises(UsageError, match=words):
            choose("it", parts, config, split)


def test_class_names_in_either_form() -> None:
    assert class_names(["a", "b"]) == class_names({"1": "b", "0": "a"}) == ("a", "b")
    assert (
        class_names({"0": "a", "2": "c"})
        is class_names({"x": "a"})
        is class_names([])
        is class_names(None)
        is None
    )


def test_the_card_has_features_for_each_config() -> None:
    tables = [
        {"config_name": name, "features": [{"name": "label", "dtype": name}, "damaged"]}
        for name in ("a", "b")
    ]
    assert card_features({"dataset_info": tables}, "b") == {"label": "b"}
    assert card_features({"dataset_info": tables[0]}, "other") == {"label": "a"}
    assert card_features({"dataset_info": tables}, "other") == card_features({}, "a") == {}
