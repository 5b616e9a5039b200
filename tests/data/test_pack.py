"""A selection on disk: what it holds, what it survives, and what is refused in one line."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.data.pictures import folder_of, picture

from zoobench.data import DataRequest, Pick, open_source
from zoobench.data import pack as pack_module
from zoobench.data.folder import FolderSource
from zoobench.data.pack import (
    IMAGES_FILE,
    INDEX_FILE,
    PACK_FILE,
    Entry,
    Pack,
    collect,
    kept_packs,
    overlap,
    prune_packs,
)
from zoobench.errors import PrepareError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "pets", {"cat": 4, "dog": 4})


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def packed(folder: Path, cache: Path, samples: int | None = None, **more: Any) -> Pack:
    request = DataRequest(str(folder), samples=samples, seed=more.pop("seed", 0))
    return collect(open_source(request), request, cache, **more)


def contents(pack: Pack) -> dict[str, bytes]:
    return {pack.entry(index).id: pack.read(index) for index in range(len(pack))}


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def test_a_pack_holds_the_pictures_and_says_what_they_are(folder: Path, cache: Path) -> None:
    told: list[tuple[int, int]] = []
    with packed(folder, cache, 6, progress=lambda *step: told.append(step)) as pack:
        assert len(pack) == 6 and told == [(done, 6) for done in range(1, 7)]
        assert contents(pack).items() <= everything(folder).items()
        entries = [pack.entry(index) for index in range(6)]
        assert all(pack.classes[entry.label] == entry.id.split("/")[0] for entry in entries)
        assert [entry.sha256 for entry in entries] == [
            hashlib.sha256(pack.read(index)).hexdigest() for index in range(6)
        ]
        assert pack.label == "pets" and pack.request["samples"] == 6
        assert pack.identity["kind"] == "folder"
    assert sorted(path.name for path in pack.folder.iterdir()) == [IMAGES_FILE, INDEX_FILE, PACK_FILE]


def test_a_finished_pack_asks_the_source_nothing(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = packed(folder, cache, 4)
    monkeypatch.setattr(FolderSource, "labels", None)
    monkeypatch.setattr(FolderSource, "read", None)
    again = packed(folder, cache, 4)
    assert again.folder == first.folder and contents(again) == contents(first)
    with pytest.raises(TypeError):
        packed(folder, cache, 5)


def test_another_seed_sample_exclusion_or_state_is_another_pack(folder: Path, cache: Path) -> None:
    packs = [packed(folder, cache, 4), packed(folder, cache, 4, seed=1), packed(folder, cache, 5)]
    packs.append(packed(folder, cache, 4, exclude=frozenset(contents(packs[0]))))
    os.utime(folder / "cat/0.png", (1, 1))
    packs.append(packed(folder, cache, 4))
    assert len({pack.folder for pack in packs}) == 5
    assert not contents(packs[0]).keys() & contents(packs[3]).keys()
    assert packs[4].ids_sha256 == packs[0].ids_sha256 != packs[1].ids_sha256
    assert packs[4].content_sha256 == packs[0].content_sha256 != packs[1].content_sha256


def test_pictures_that_two_packs_share_are_found_by_their_bytes(tmp_path: Path, cache: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for root, seeds in ((one, (0, 1, 2)), (two, (2, 3, 0))):
        (root / "c").mkdir(parents=True)
        for place, seed in enumerate(seeds):
            (root / f"c/{place}.png").write_bytes(picture(seed))
    a, b = packed(one, cache), packed(two, cache)
    assert overlap(a, b) == ["c/0.png", "c/2.png"]
    assert overlap(b, a) == ["c/0.png", "c/2.png"]
    assert overlap(a, a) == [a.entry(index).id for index in range(3)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: os.truncate(f / IMAGES_FILE, (f / IMAGES_FILE).stat().st_size - 1),
        lambda f: os.truncate(f / INDEX_FILE, (f / INDEX_FILE).stat().st_size - 1),
        lambda f: os.truncate(f / INDEX_FILE, (f / INDEX_FILE).stat().st_size - 40),
        lambda f: os.truncate(f / IMAGES_FILE, 0),
        lambda f: (f / INDEX_FILE).unlink(),
        lambda f: (f / INDEX_FILE).write_text("nonsense\n"),
        lambda f: (f / IMAGES_FILE).open("ab").write(b"more"),
        lambda f: (f / IMAGES_FILE).write_bytes(bytes((f / IMAGES_FILE).stat().st_size)),
        lambda f: (f / PACK_FILE).write_text("{}"),
        lambda f: (f / INDEX_FILE).write_text((f / INDEX_FILE).read_text().replace("cat/1", "cat/9")),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_whatever_is_left_of_a_pack_is_mended(folder: Path, cache: Path, damage: Any, finished: bool) -> None:
    place = packed(folder, cache).folder
    if not finished:
        (place / PACK_FILE).unlink()
    damage(place)
    assert contents(packed(folder, cache)) == everything(folder)


@pytest.mark.parametrize("finished", [True, False])
def test_a_label_that_was_changed_is_mended(folder: Path, cache: Path, finished: bool) -> None:
    pack = packed(folder, cache)
    index = pack.folder / INDEX_FILE
    index.write_text(index.read_text().replace('"label": 1', '"label": 0', 1))
    if not finished:
        (pack.folder / PACK_FILE).unlink()
    assert packed(folder, cache).labels_sha256 == pack.labels_sha256


def test_pictures_with_classes_have_no_boxes(folder: Path, cache: Path) -> None:
    with packed(folder, cache) as pack:
        assert not pack.boxes and pack.truth(0) is None
        line = json.loads((pack.folder / INDEX_FILE).read_bytes().splitlines()[0])
        assert list(line) == ["id", "label", "offset", "length", "sha256"]


def test_what_was_there_is_not_read_again(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = packed(folder, cache).folder
    (place / PACK_FILE).unlink()
    lines = (place / INDEX_FILE).read_bytes().splitlines(keepends=True)
    (place / INDEX_FILE).write_bytes(b"".join(lines[:5]) + lines[5][:20])
    asked: list[Sequence[Pick]] = []
    read = FolderSource.read

    def watched(self: FolderSource, picks: Sequence[Pick]) -> Iterator[tuple[str, int, bytes]]:
        asked.append(picks)
        return read(self, picks)

    monkeypatch.setattr(FolderSource, "read", watched)
    assert contents(packed(folder, cache)) == everything(folder)
    assert [len(picks) for picks in asked] == [3]


def test_a_process_that_was_killed_is_gone_on_from(folder: Path, cache: Path) -> None:
    code = f"""
import os, pathlib
from zoobench.data import DataRequest, open_source
from zoobench.data.pack import collect
request = DataRequest({str(folder)!r})
collect(open_source(request), request, pathlib.Path({str(cache)!r}), progress=lambda done, _: done == 3 and os._exit(9))
"""
    source = str(Path(pack_module.__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": source}, check=False
    )
    assert ended.returncode == 9
    assert contents(packed(folder, cache)) == everything(folder)


def test_two_at_once_pack_it_once(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    write = pack_module._write
    monkeypatch.setattr(pack_module, "_write", lambda *rest: (calls.append(1), time.sleep(0.1), write(*rest)))
    with ThreadPoolExecutor(4) as pool:
        packs = list(pool.map(lambda _: packed(folder, cache), range(4)))
    assert len(calls) == 1
    assert all(contents(pack) == everything(folder) for pack in packs)


def test_threads_may_share_a_pack(folder: Path, cache: Path) -> None:
    pack = packed(folder, cache)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(pack.read, [index % 8 for index in range(400)]))
    assert read == [pack.read(index % 8) for index in range(400)]


# refused


def test_a_full_disk_is_one_line_and_what_arrived_is_kept(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = pack_module._append

    def full(images: Any, index: Any, entry: Entry, content: bytes) -> None:
        if entry.offset and images.tell() > 500:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(images, index, entry, content)

    with monkeypatch.context() as patch:
        patch.setattr(pack_module, "_append", full)
        with pytest.raises(PrepareError, match=r"no room left .* ZOOBENCH_CACHE") as error:
            packed(folder, cache)
    assert "\n" not in str(error.value)
    told: list[int] = []
    packed(folder, cache, progress=lambda done, _: told.append(done))
    assert 1 < told[0] <= 8


def test_a_disk_that_is_full_when_the_rest_is_flushed_does_not_give_a_pack(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffered bytes are only refused when the file is closed."""
    (cache / "data").mkdir(parents=True)
    opened = Path.open

    def to_a_full_disk(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        return opened(
            Path("/dev/full") if self.name == IMAGES_FILE and mode == "ab" else self, mode, *rest, **more
        )

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", to_a_full_disk)
        with pytest.raises(PrepareError, match="no room left"):
            packed(folder, cache)
    assert contents(packed(folder, cache)) == everything(folder)


def test_a_cache_that_cannot_be_written_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        PrepareError, match=r"file/cache cannot be used \(Not a directory\); set ZOOBENCH_CACHE"
    ):
        packed(folder, tmp_path / "file/cache")


def test_nothing_to_pack_and_no_pack_are_one_line(folder: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the dataset has 8"):
        packed(folder, cache, 9)
    assert list((cache / "data").glob("?" * 64)) == []
    (cache / "empty").mkdir()
    for place in (tmp_path / "nowhere", cache / "empty"):
        with pytest.raises(PrepareError, match="holds no finished pack") as error:
            Pack.open(place)
        assert "\n" not in str(error.value)


def test_bytes_that_changed_on_disk_are_not_given_out(folder: Path, cache: Path) -> None:
    pack = packed(folder, cache)
    entry = pack.entry(3)
    with (pack.folder / IMAGES_FILE).open("r+b") as images:
        images.seek(entry.offset + 30)
        images.write(b"\xff\x00\xff")
    with pytest.raises(PrepareError, match=f"damaged at picture {entry.id}"):
        pack.read(3)
    assert pack.read(2)


def test_a_pack_of_another_version_is_made_anew(folder: Path, cache: Path) -> None:
    place = packed(folder, cache).folder
    manifest = json.loads((place / PACK_FILE).read_text())
    (place / PACK_FILE).write_text(json.dumps({**manifest, "version": 0}))
    assert contents(packed(folder, cache)) == everything(folder)


def test_the_cache_knows_its_packs_and_frees_them(tmp_path: Path) -> None:
    source = tmp_path / "pictures"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (len(name), 0, 0)).save(source / name / "0.png")
    cache = tmp_path / "cache"
    asked = DataRequest(str(source))
    pack = collect(open_source(asked), asked, cache)
    with pytest.raises(UsageError):
        few = DataRequest(str(source), samples=3)
        collect(open_source(few), few, cache)
    outputs = cache / "outputs" / "key"
    outputs.mkdir(parents=True)
    (outputs / "rows.f32").write_bytes(b"12345678")
    [kept] = kept_packs(cache)
    assert (kept.folder, kept.label, kept.pictures) == (pack.folder, pack.label, 2)
    assert prune_packs(cache, older_than_days=1.0) == 0
    assert prune_packs(cache) == kept.size_bytes + 8
    assert kept_packs(cache) == [] and not outputs.exists()


def test_other_labels_of_the_same_pictures_are_another_question(tmp_path: Path) -> None:
    found = []
    for names in (("a", "b"), ("b", "c"), ("a", "b")):
        source = tmp_path / "-".join(names) / str(len(found))
        for number, name in enumerate(names):
            (source / name).mkdir(parents=True)
            Image.new("RGB", (4, 4), (number, 0, 0)).save(source / name / "0.png")
        asked = DataRequest(str(source))
        found.append(collect(open_source(asked), asked, tmp_path / f"cache{len(found)}"))
    assert len({pack.content_sha256 for pack in found}) == 1
    assert found[0].labels_sha256 == found[2].labels_sha256 != found[1].labels_sha256


@pytest.mark.parametrize("change", [('"label": 0', '"label": 1'), ('"label": 1', '"label": 77')])
def test_labels_that_changed_on_disk_are_noticed_and_mended(
    folder: Path, cache: Path, change: tuple[str, str]
) -> None:
    place = packed(folder, cache).folder
    index = place / INDEX_FILE
    index.write_text(index.read_text().replace(*change))
    with pytest.raises(PrepareError, match="labels are not those that were packed"):
        Pack.open(place)


def test_a_pipe_is_no_dataset(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.parquet")
    with pytest.raises(UsageError, match=r"neither a folder nor a \.parquet or \.json file"):
        open_source(DataRequest(str(tmp_path / "pipe.parquet")))


def test_a_bit_that_falls_while_pictures_are_read_is_seen(folder: Path, cache: Path) -> None:
    pack = packed(folder, cache)
    with (pack.folder / IMAGES_FILE).open("r+b") as file:
        file.seek(5)
        file.write(b"\xff")
    with pytest.raises(PrepareError, match="is damaged at picture"):
        contents(pack)
