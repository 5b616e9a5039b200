"""A dataset on a Hub on loopback: what is asked for, what survives a cut, and the words of a refusal."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path

import numpy as np
import pytest
from tests.data.pictures import objects_of, parquet_of, picture
from tests.loopback_hub import LoopbackHub

from zoobench.data import DataRequest, Pick, Source, open_source, remote
from zoobench.data.pack import collect
from zoobench.data.remote import BLOCK_BYTES, HubFile
from zoobench.errors import HubError, HubUnreachableError, UsageError
from zoobench.hub import connection, snapshots

pytest.importorskip("pyarrow")

ID = "org/pictures"
REPOSITORY = f"datasets/{ID}"
NAMES = ["ant", "bee", "cow"]
NOISE = np.random.Generator(np.random.PCG64(1)).bytes
FILE = NOISE(10 * BLOCK_BYTES + 123)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BACK_OFF_S", 0.001)
    monkeypatch.setattr(snapshots, "_PAUSE_S", 0.001)
    monkeypatch.setattr(connection, "_probed", {})


def dataset(count: int = 12, **more: bytes) -> dict[str, bytes]:
    pictures = [picture(seed) for seed in range(count)]
    labels = [seed % 3 for seed in range(count)]
    return {
        "data/test-00000-of-00002.parquet": parquet_of(pictures[:8], labels[:8], names=NAMES),
        "data/test-00001-of-00002.parquet": parquet_of(pictures[8:], labels[8:], names=NAMES),
        ".gitattributes": b"",
        **more,
    }


def opened(said: str = ID, **more: str) -> Source:
    return open_source(DataRequest(said, **more))  # type: ignore[arg-type]


def one_line(error: pytest.ExceptionInfo[Exception], *parts: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for part in (ID, *parts):
        assert part in text
    assert "model" not in text


def received(hub: LoopbackHub) -> list[tuple[int, int]]:
    """First and last byte of each part that the storage was asked for."""
    asked = [
        r.range.removeprefix("bytes=").split("-") for r in hub.requests if r.host == "storage" and r.range
    ]
    return [(int(first), int(last)) for first, last in asked]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# what comes


def test_a_dataset_is_read_at_the_commit_of_its_branch(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPOSITORY, dataset())
    source = opened()
    assert source.pin["commit"] == commit
    assert source.label == f"{ID}@{commit[:7]} test"
    assert source.classes == tuple(NAMES)
    assert source.identity == {
        "kind": "hub",
        "name": ID,
        "commit": commit,
        "config": "default",
        "split": "test",
        "columns": ["image", "label"],
    }
    loopback_hub.add(REPOSITORY, dataset(24))
    assert [block.labels.tolist() for block in source.labels()] == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]]
    assert [content for _, _, content in source.read([Pick(2, 1), Pick(0, 3)])] == [picture(9), picture(3)]
    assert all(commit in r.path for r in loopback_hub.requests if r.host == "storage")


def test_a_commit_a_branch_and_a_short_name(loopback_hub: LoopbackHub) -> None:
    first = loopback_hub.add(REPOSITORY, dataset())
    loopback_hub.add(REPOSITORY, dataset(24))
    assert opened(f"{ID}@{first}").pin["commit"] == opened(revision=first).pin["commit"] == first
    converted = loopback_hub.add(
        "datasets/frgfm/imagenette",
        {"full/validation/0000.parquet": parquet_of([picture(1)], [0], names=NAMES)},
        branch="refs/convert/parquet",
    )
    source = opened("imagenette")
    assert source.label == f"frgfm/imagenette@{converted[:7]} validation"
    assert "training images" in source.notes[0]


def test_boxes_come_from_a_hub_as_from_a_disk(loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    rows = [[{"bbox": [2.0, 2.0, 8.0, 6.0], "category": index % 3}] for index in range(12)]
    pictures = [picture(seed) for seed in range(12)]
    data = objects_of(pictures, rows, names=NAMES, sizes=[(8, 6)] * 12)
    loopback_hub.add(REPOSITORY, {"data/val-00000-of-00001.parquet": data})
    request = DataRequest(ID, samples=5)
    with collect(open_source(request), request, tmp_path) as pack:
        assert pack.boxes and pack.classes == tuple(NAMES) and "right, bottom" in pack.notes[0]
        for index in range(5):
            row, truth = int(pack.entry(index).id.partition("#")[2]), pack.truth(index)
            assert truth is not None and (truth.classes, truth.boxes) == ((row % 3,), ((2, 2, 6, 4),))
            assert pack.read(index) == pictures[row]


def test_class_names_come_from_the_readme_at_the_commit(loopback_hub: LoopbackHub) -> None:
    card = (
        "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n"
    )
    card += "".join(f"          '{index}': {name}\n" for index, name in enumerate(NAMES)) + "---\n"
    loopback_hub.add(REPOSITORY, {"README.md": card.encode(), "test.parquet": parquet_of([picture(0)], [1])})
    assert opened().classes == tuple(NAMES)


def test_the_token_goes_to_the_hub_and_never_to_its_storage(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = dataset() | {"data/test-00000-of-00002.parquet": parquet_of([FILE, FILE], [0, 1], group=1)}
    loopback_hub.add(REPOSITORY, files, token="hf_secret")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    source = opened()
    assert [content for _, _, content in source.read([Pick(0, 0), Pick(1, 0)])] == [FILE, FILE]
    hosts = {(r.host, "authorization" in r.headers) for r in loopback_hub.requests}
    assert hosts == {("hub", True), ("storage", False)}
    assert len(received(loopback_hub)) > len(loopback_hub.asked_for("test-00000-of-00002.parquet"))


def test_few_pictures_take_few_bytes(loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    pictures = [NOISE(40_000) for _ in range(400)]
    data = parquet_of(pictures, [row % 4 for row in range(400)], group=20)
    loopback_hub.add(REPOSITORY, {"test.parquet": data})
    request = DataRequest(ID, samples=8)
    with collect(open_source(request), request, tmp_path / "cache") as pack:
        assert len(pack) == 8
        assert all(pack.read(index) in pictures for index in range(8))
    asked = sum(last - first + 1 for first, last in received(loopback_hub))
    assert asked < 0.2 * len(data)


# a file over the network


@pytest.fixture
def remote_file(loopback_hub: LoopbackHub) -> HubFile:
    commit = loopback_hub.add(REPOSITORY, {"a.parquet": FILE})
    return HubFile(ID, commit, "a.parquet", len(FILE))


def test_any_part_can_be_read(remote_file: HubFile) -> None:
    random = np.random.Generator(np.random.PCG64(2))
    for start, length in random.integers(0, len(FILE), (40, 2)).tolist():
        assert remote_file.seek(start) == remote_file.tell() == start
        assert remote_file.read(length) == FILE[start : start + length]
    assert remote_file.seek(-5, 2) == len(FILE) - 5
    assert remote_file.read() == FILE[-5:] and remote_file.read(1) == b""
    remote_file.seek(0)
    assert remote_file.readall() == FILE
    remote_file.seek(len(FILE) - 3)
    assert remote_file.readinto(buffer := bytearray(8)) == 3 and buffer[:3] == FILE[-3:]


def test_neighbours_are_not_asked_for_twice(loopback_hub: LoopbackHub, remote_file: HubFile) -> None:
    for start in range(0, BLOCK_BYTES, 1000):
        remote_file.seek(start)
        remote_file.read(100)
    assert received(loopback_hub) == [(0, BLOCK_BYTES - 1)]


def test_the_hub_is_asked_once_where_a_file_is_stored(
    loopback_hub: LoopbackHub, remote_file: HubFile
) -> None:
    for block in (0, 4, 8):
        remote_file.seek(block * BLOCK_BYTES)
        remote_file.read(10)
    assert len(loopback_hub.asked_for("a.parquet")) == 1


def test_an_address_of_the_storage_that_has_expired_is_asked_for_again(
    loopback_hub: LoopbackHub, remote_file: HubFile
) -> None:
    remote_file.read(10)
    loopback_hub.fault(REPOSITORY, "status", where="files", status=403, times=1)
    remote_file.seek(5 * BLOCK_BYTES)
    assert remote_file.read(10) == FILE[5 * BLOCK_BYTES :][:10]
    assert len(loopback_hub.asked_for("a.parquet")) == 2


@pytest.mark.parametrize("reset", [False, True])
def test_what_was_cut_goes_on_where_it_stopped(
    loopback_hub: LoopbackHub, remote_file: HubFile, reset: bool
) -> None:
    loopback_hub.fault(REPOSITORY, "cut", after=100_000, times=6, reset=reset)
    assert remote_file.read() == FILE
    starts = [first for first, _ in received(loopback_hub)]
    assert len(starts) == 7
    assert all(0 < later - sooner <= 100_000 for sooner, later in itertools.pairwise(starts))


def test_a_connection_that_brings_nothing_is_given_up(
    loopback_hub: LoopbackHub, remote_file: HubFile
) -> None:
    loopback_hub.fault(REPOSITORY, "cut", after=0)
    with pytest.raises(HubError) as error:
        remote_file.read()
    one_line(error, "cut", "a.parquet", "run again")


def test_trouble_of_the_moment_is_waited_for(loopback_hub: LoopbackHub, remote_file: HubFile) -> None:
    loopback_hub.fault(REPOSITORY, "status", status=503, times=2)
    assert remote_file.read(10) == FILE[:10]


def test_something_that_drops_range_headers_is_told(loopback_hub: LoopbackHub, remote_file: HubFile) -> None:
    loopback_hub.fault(REPOSITORY, "no_range")
    remote_file.seek(3 * BLOCK_BYTES)
    with pytest.raises(HubError) as error:
        remote_file.read(10)
    one_line(error, "no parts of a.parquet", "Range")
    remote_file.seek(0)
    assert remote_file.read() == FILE


def test_another_part_than_was_asked_for_is_told(remote_file: HubFile) -> None:
    with pytest.raises(HubError) as error:
        remote_file._check_range(206, {"content-range": f"bytes 5-9/{len(FILE)}"}, 0)
    one_line(error, "no parts of a.parquet")


def test_a_file_of_another_size_than_listed_is_told(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPOSITORY, {"a.parquet": FILE})
    with pytest.raises(HubError) as error:
        HubFile(ID, commit, "a.parquet", len(FILE) + 9).read(10)
    one_line(error, "does not answer like a Hub")


# the Hub refuses


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, {}, ["HTTP 401", "the dataset is private", "HF_TOKEN"]),
        (404, {}, ["no such dataset", "check the name"]),
        (429, {"Retry-After": "17"}, ["wait 17 s"]),
        (500, {}, ["HTTP 500", "later"]),
    ],
)
@pytest.mark.parametrize("where", ["api", "files"])
def test_a_refusal_is_one_line(
    loopback_hub: LoopbackHub, status: int, headers: dict[str, str], words: list[str], where: str
) -> None:
    loopback_hub.add(REPOSITORY, dataset())
    loopback_hub.fault(REPOSITORY, "status", where=where, status=status, headers=headers)
    with pytest.raises(HubError) as error:
        opened().labels()
    one_line(error, *words)


@pytest.mark.parametrize("where", ["api", "files"])
def test_gated_without_a_token_says_where_to_accept_the_terms(loopback_hub: LoopbackHub, where: str) -> None:
    loopback_hub.add(REPOSITORY, dataset())
    loopback_hub.fault(REPOSITORY, "gated", where=where)
    with pytest.raises(HubError) as error:
        opened().labels()
    one_line(error, "is gated", f"{loopback_hub.url}/{REPOSITORY}", "HF_TOKEN")


def test_a_dataset_that_is_not_there_or_has_no_parquet(loopback_hub: LoopbackHub) -> None:
    with pytest.raises(HubError) as error:
        opened()
    one_line(error, "dataset")
    loopback_hub.add(REPOSITORY, {"pictures.tar": b""})
    with pytest.raises(UsageError) as usage:
        opened().labels()
    one_line(usage, "no parquet files", f"{ID}@refs/convert/parquet")
    with pytest.raises(HubError) as error:
        opened(f"{ID}@v9")
    one_line(error, "no revision 'v9'")


def test_a_login_page_is_no_hub(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(REPOSITORY, dataset())
    loopback_hub.fault(REPOSITORY, "garbage")
    with pytest.raises(HubError) as error:
        opened()
    one_line(error, "does not answer like a Hub")


# no network


def test_without_a_network_a_packed_selection_still_opens(
    loopback_hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback_hub.add(REPOSITORY, dataset())
    request = DataRequest(ID, samples=5)
    with collect(open_source(request), request, tmp_path / "cache") as pack:
        first = pack.ids_sha256
    for name, value in (("HF_HUB_OFFLINE", "1"), ("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")):
        loopback_hub.requests.clear()
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with collect(open_source(request), request, tmp_path / "cache") as pack:
                assert pack.ids_sha256 == first
                assert pack.label.startswith(ID) and pack.classes == tuple(NAMES)
            with pytest.raises(HubUnreachableError) as error:
                collect(open_source(request), DataRequest(ID, samples=6), tmp_path / "cache")
            one_line(error, "HF_HUB_OFFLINE" if name == "HF_HUB_OFFLINE" else "cannot be reached")
        assert loopback_hub.requests == []


def test_without_a_network_a_dataset_that_was_never_asked_about_is_one_line(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubUnreachableError) as error:
        opened()
    one_line(error, "HF_HUB_OFFLINE")


def test_a_pack_that_was_cut_goes_on_with_what_is_missing(loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    loopback_hub.add(REPOSITORY, dataset())
    request = DataRequest(ID)
    source = open_source(request)
    source.labels()
    read = len(loopback_hub.requests)
    progress: list[int] = []

    def cut_after_five(done: int, total: int) -> None:
        progress.append(done)
        if done == 5:
            loopback_hub.fault(REPOSITORY, "status", status=404, where="files")

    with pytest.raises(HubError):
        collect(source, request, tmp_path / "cache", progress=cut_after_five)
    assert 5 <= progress[-1] < 12 and len(loopback_hub.requests) > read
    loopback_hub.heal(REPOSITORY)
    again: list[int] = []
    with collect(
        open_source(request), request, tmp_path / "cache", progress=lambda done, _: again.append(done)
    ) as pack:
        assert again == list(range(progress[-1] + 1, 13))
        assert sorted(pack.read(index) for index in range(12)) == sorted(picture(seed) for seed in range(12))
