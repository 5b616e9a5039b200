"""The artifact cache: found again, built once, rebuilt when damaged, and tidy after failures."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from zoobench.errors import PrepareError
from zoobench.prepare.cache import ArtifactCache, content_of, load_artifact, recipe_key
from zoobench.spec import REFERENCE_FILE, Artifact

KEY = recipe_key({"model": "a"})


def make(folder: Path, content: bytes = b"weights", model: str = "a") -> Artifact:
    (folder / "model.bin").write_bytes(content)
    (folder / REFERENCE_FILE).write_bytes(b"reference")
    sha256, size = content_of(folder)
    return Artifact(
        path=folder, format="torch", sha256=sha256, size_bytes=size, model=model, file="model.bin"
    )


def must_not_build(folder: Path) -> Artifact:
    raise AssertionError("it is in the cache")


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache")


def test_what_was_built_is_found_again(cache: ArtifactCache) -> None:
    assert cache.lookup(KEY) is None
    built = cache.get_or_build(KEY, make)
    assert built.path.name == built.sha256
    assert cache.get_or_build(KEY, must_not_build) == built
    assert cache.lookup(KEY) == built
    assert load_artifact(built.path) == built


def test_content_is_told_by_names_and_bytes_but_not_by_the_reference(tmp_path: Path) -> None:
    make(tmp_path)
    first = content_of(tmp_path)
    (tmp_path / REFERENCE_FILE).write_bytes(b"other")
    assert content_of(tmp_path) == first
    (tmp_path / "model.bin").rename(tmp_path / "renamed.bin")
    assert content_of(tmp_path)[0] != first[0]


@pytest.mark.parametrize("file", ["model.bin", REFERENCE_FILE, "manifest.json"])
def test_a_missing_file_means_building_again(cache: ArtifactCache, file: str) -> None:
    (cache.get_or_build(KEY, make).path / file).unlink()
    assert cache.lookup(KEY) is None
    assert (cache.get_or_build(KEY, make).path / file).is_file()


def test_a_truncated_file_means_building_again(cache: ArtifactCache) -> None:
    built = cache.get_or_build(KEY, make)
    (built.path / "model.bin").write_bytes(b"weig")
    assert cache.lookup(KEY) is None
    assert (cache.get_or_build(KEY, make).path / "model.bin").read_bytes() == b"weights"


def test_changed_bytes_of_the_same_size_mean_building_again(cache: ArtifactCache) -> None:
    built = cache.get_or_build(KEY, make)
    assert cache.verify(built.sha256)
    (built.path / "model.bin").write_bytes(b"wEights")
    assert cache.lookup(KEY) is None, "it would be measured under a sha256 that is not its own"
    assert (cache.get_or_build(KEY, make).path / "model.bin").read_bytes() == b"weights"


def test_a_damaged_index_entry_counts_as_absent(cache: ArtifactCache) -> None:
    cache.get_or_build(KEY, make)
    for index in (cache.root / "artifacts" / "by_recipe").iterdir():
        index.write_text("{")
    assert cache.lookup(KEY) is None
    assert cache.entries() == []
    assert cache.get_or_build(KEY, make) == cache.lookup(KEY)


def test_two_recipes_with_one_content_share_the_folder_and_keep_their_own_manifest(
    cache: ArtifactCache,
) -> None:
    one = cache.get_or_build(KEY, make)
    other_key = recipe_key({"model": "another name"})
    two = cache.get_or_build(other_key, lambda folder: make(folder, model="another name"))
    assert one.path == two.path
    found = [cache.lookup(key) for key in (KEY, other_key)]
    assert [artifact.model for artifact in found if artifact] == ["a", "another name"]
    assert [entry.model for entry in cache.entries()] == ["a, another name"]


def test_a_failed_build_leaves_nothing(cache: ArtifactCache) -> None:
    def fail(folder: Path) -> Artifact:
        (folder / "half").write_bytes(b"x")
        raise PrepareError("no")

    with pytest.raises(PrepareError, match=r"^no$"):
        cache.get_or_build(KEY, fail)
    assert list((cache.root / "artifacts" / "building").iterdir()) == []
    assert cache.get_or_build(KEY, make).model == "a"


def test_what_a_killed_build_left_is_not_used(cache: ArtifactCache) -> None:
    left = cache.root / "artifacts" / "building" / KEY
    left.mkdir(parents=True)
    (left / "stale").write_bytes(b"x")
    assert not (cache.get_or_build(KEY, make).path / "stale").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_with_path_and_bytes(cache: ArtifactCache, code: int) -> None:
    def fail(folder: Path) -> Artifact:
        (folder / "half").write_bytes(b"x")
        try:
            raise OSError(code, os.strerror(code))
        except OSError as error:
            raise PrepareError("cannot export") from error

    with pytest.raises(
        PrepareError, match=r"no room left in the cache .* full after 1 bytes of the artifact; "
    ) as caught:
        cache.get_or_build(KEY, fail)
    assert "\n" not in str(caught.value)
    assert str(cache.root) in str(caught.value)
    assert list((cache.root / "artifacts" / "building").iterdir()) == []


def test_a_root_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PrepareError, match="ZOOBENCH_CACHE"):
        ArtifactCache(tmp_path / "file").get_or_build(KEY, make)


def _build_slowly(root: Path, started: Path) -> None:
    def build(folder: Path) -> Artifact:
        (started / str(os.getpid())).touch()
        time.sleep(0.3)
        return make(folder)

    ArtifactCache(root).get_or_build(KEY, build)


def test_two_processes_at_once_build_once(tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.mkdir()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_build_slowly, args=(tmp_path / "cache", started)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(list(started.iterdir())) == 1


def test_prune_frees_what_is_old_and_keeps_what_it_is_told(cache: ArtifactCache) -> None:
    old = cache.get_or_build(KEY, make)
    kept = cache.get_or_build(recipe_key({"b": 1}), lambda folder: make(folder, b"kept"))
    new = cache.get_or_build(recipe_key({"c": 1}), lambda folder: make(folder, b"new"))
    index = cache.root / "artifacts" / "by_recipe"
    long_ago = time.time() - 10 * 86_400
    for key in (KEY, recipe_key({"b": 1})):
        os.utime(index / f"{key}.json", (long_ago, long_ago))
    assert cache.prune() == 0
    size = sum(entry.size_bytes for entry in cache.entries() if entry.sha256 == old.sha256)
    assert cache.prune(older_than_days=5, keep={kept.sha256}) == size > 0
    assert {entry.sha256 for entry in cache.entries()} == {kept.sha256, new.sha256}
    assert cache.lookup(KEY) is None
    assert cache.prune(everything=True) > 0
    assert cache.entries() == []
    assert list((cache.root / "artifacts" / "by_content").iterdir()) == []


def test_prune_removes_what_dead_builds_left_but_no_build_in_work(cache: ArtifactCache) -> None:
    building = cache.root / "artifacts" / "building"

    def build(folder: Path) -> Artifact:
        (building / "dead").mkdir()
        (building / "dead" / "half").write_bytes(b"12345")
        assert cache.prune() == 5
        assert not (building / "dead").exists()
        return make(folder)

    assert cache.get_or_build(KEY, build).path.is_dir()


def test_a_lookup_counts_as_use(cache: ArtifactCache) -> None:
    cache.get_or_build(KEY, make)
    index = cache.root / "artifacts" / "by_recipe" / f"{KEY}.json"
    os.utime(index, (1, 1))
    assert cache.lookup(KEY) is not None
    assert cache.entries()[0].last_used.timestamp() > 1


def test_an_empty_cache_can_be_listed_and_pruned(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "nothing")
    assert cache.entries() == []
    assert cache.prune(everything=True) == 0
    assert not (tmp_path / "nothing").exists()


def test_a_folder_without_a_manifest_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="holds no artifact"):
        load_artifact(tmp_path)
