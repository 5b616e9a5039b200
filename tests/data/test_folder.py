"""Folders of pictures: what counts as a class, which split is taken, and which names mean what."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from tests.data.pictures import folder_of, picture

from zoobench.data import DataRequest, Pick, Source, check_local, open_source
from zoobench.errors import PrepareError, UsageError


def opened(said: Path | str, **more: str) -> Source:
    return open_source(DataRequest(str(said), **more))  # type: ignore[arg-type]


def ids(source: Source) -> list[str]:
    return [picture for block in source.labels() for picture in block.ids]


def test_one_sub_folder_is_a_class(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pets", {"dog": 2, "cat": 3})
    source = opened(folder)
    assert source.classes == ("cat", "dog")
    assert source.label == "pets"
    assert Counter(label for block in source.labels() for label in block.labels.tolist()) == {0: 3, 1: 2}
    assert list(source.read([Pick(1, 1), Pick(0, 0)])) == [
        ("dog/1.png", 1, picture(1)),
        ("cat/0.png", 0, picture(2)),
    ]


def test_folders_below_a_class_count_and_what_is_hidden_or_no_picture_does_not(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"cat/indoors": 1, "cat/.cache": 1, ".hidden": 1, "empty": 0})
    for name in ("cat/._0.png", "cat/notes.txt", "loose.png", "cat/UPPER.JPEG"):
        (folder / name).write_bytes(picture(9))
    (folder / "cat/linked").symlink_to(folder / "cat")
    source = opened(folder)
    assert ids(source) == ["cat/UPPER.JPEG", "cat/indoors/0.png"]
    assert source.classes == ("cat",)


def test_a_folder_that_is_a_link_counts(tmp_path: Path) -> None:
    folder_of(tmp_path / "elsewhere", {"tabby": 2})
    (tmp_path / "set").mkdir()
    (tmp_path / "set/cat").symlink_to(tmp_path / "elsewhere/tabby")
    assert ids(opened(tmp_path / "set")) == ["cat/0.png", "cat/1.png"]


@pytest.mark.parametrize(
    ("splits", "taken"),
    [
        (["train", "val", "test"], "test"),
        (["train", "validation", "val"], "val"),
        (["validation"], "validation"),
    ],
)
def test_the_usual_split_is_taken_and_another_on_request(
    tmp_path: Path, splits: list[str], taken: str
) -> None:
    for number, split in enumerate(splits):
        folder_of(tmp_path / split, {"cat": number + 1})
    source = opened(tmp_path)
    assert source.label == f"{tmp_path.name} {taken}"
    assert source.identity["split"] == taken
    assert len(ids(source)) == splits.index(taken) + 1
    assert len(ids(opened(tmp_path, split=splits[0]))) == 1


def test_the_identity_is_of_names_and_sizes_and_the_pin_sees_a_file_exchanged(tmp_path: Path) -> None:
    one, two = folder_of(tmp_path / "a/set", {"cat": 2}), folder_of(tmp_path / "b/set", {"cat": 2})
    first = opened(one)
    assert first.identity == opened(two).identity
    status = (one / "cat/0.png").stat()
    os.utime(one / "cat/0.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    assert opened(one).identity == first.identity
    assert opened(one).pin != first.pin
    (one / "cat/2.png").write_bytes(picture(5))
    assert opened(one).identity != first.identity


def test_names_that_are_no_text_are_ids_too(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"cat": 1})
    (folder / "cat/0.png").rename(os.fsdecode(os.fsencode(folder) + b"/cat/\xff.png"))
    source = opened(folder)
    assert source.pin and len(ids(source)) == 1


def test_a_local_path_wins_over_the_hub_and_over_a_short_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of(Path("timm/mini-imagenet"), {"cat": 1})
    folder_of(Path("imagenette"), {"cat": 1})
    assert opened("timm/mini-imagenet").identity["kind"] == "folder"
    assert opened("imagenette").identity["kind"] == "folder"


@pytest.mark.parametrize(
    ("said", "more", "words"),
    [
        ("imagenete", {}, "did you mean imagenette?"),
        ("zzz", {}, "give a folder, a parquet file, a COCO .json, a Hub id .* mini-imagenet"),
        (" ", {}, "no dataset is named"),
        ("./nothing", {}, "no such file or folder"),
        ("/" + "x" * 5000, {}, "no such file or folder"),
        ("~nobody-of-that-name/set", {}, "no such file or folder"),
        ("a\0b", {}, "no dataset is called 'a\\?b'"),
        ("nothing.parquet", {}, "no such file or folder"),
        ("org/x@one", {"revision": "two"}, "one revision, and two is another"),
        ("a/b/c", {}, "no dataset id"),
        ("FOLDER", {"revision": "main"}, "has no revisions"),
        ("FOLDER", {"config": "x"}, "neither configs nor columns"),
        ("FOLDER", {"split": "test"}, "no sub-folder 'test' for the split, and no splits at all"),
        ("FOLDER/cat", {}, "no pictures in sub-folders"),
        ("FOLDER/cat/0.png", {}, "neither a folder nor a .parquet or .json file"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    tmp_path: Path, said: str, more: dict[str, str], words: str
) -> None:
    folder = folder_of(tmp_path / "pets", {"cat": 1})
    with pytest.raises(UsageError, match=words) as error:
        opened(said.replace("FOLDER", str(folder)), **more)
    assert "\n" not in str(error.value)


def test_only_training_pictures_are_not_taken_unasked(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"cat": 1})
    with pytest.raises(UsageError, match="only train: pass --split train"):
        opened(tmp_path)
    assert ids(opened(tmp_path, split="train")) == ["train/cat/0.png"]


def test_a_picture_that_went_away_is_one_line(tmp_path: Path) -> None:
    source = opened(folder_of(tmp_path, {"cat": 1}))
    (tmp_path / "cat/0.png").unlink()
    with pytest.raises(PrepareError, match=r"cat/0.png cannot be read \(No such file"):
        list(source.read([Pick(0, 0)]))


def test_what_no_picture_can_be_is_said_with_its_name(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pets", {"cat": 1})
    with (folder / "cat/sparse.png").open("wb") as file:
        file.truncate(1 << 40)
    source = opened(folder)
    with pytest.raises(PrepareError, match=r"sparse\.png has 1,099,511,627,776 bytes and is no picture"):
        list(source.read([Pick(0, 0), Pick(0, 1)]))


def test_a_link_to_itself_is_one_clear_line(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pets", {"cat": 1})
    (folder / "cat/loop.png").symlink_to(folder / "cat/loop.png")
    with pytest.raises(PrepareError, match=r"loop\.png cannot be read"):
        opened(folder).labels()


def test_a_folder_that_is_called_as_a_split_is_named_with_the_one_above(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pets/test", {"cat": 1})
    assert opened(folder).label == "pets/test"
    assert opened(folder).identity["name"] == "test", "what is above differs between machines"


@pytest.mark.parametrize(
    "said", ["", "nope", "./nope", "a/b/c", "http://x/y", "/dev/null", "empty", "pets@main"]
)
def test_a_plan_refuses_what_can_be_seen_not_to_be(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    folder_of(tmp_path / "pets", {"cat": 1})
    with pytest.raises(UsageError):
        check_local(DataRequest(said))
    check_local(DataRequest("pets"))
    check_local(DataRequest("owner/name"))
    check_local(DataRequest("mini-imagenet"))
