"""The Hub's client against a real server on loopback: what comes down, what is refused, in which words."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.loopback_hub import LoopbackHub, tiny_timm_repo, tiny_transformers_repo

from zoobench.errors import HubError, HubUnreachableError, PrepareError, UsageError
from zoobench.hub import connection, snapshots, transfer

ID = "org/tiny"
WEIGHTS = bytes(range(256)) * 4000
FILES = {
    "config.json": b'{"architecture": "tiny"}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickle",
    "model.onnx": b"onnx",
    "README.md": b"# tiny",
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "BACK_OFF_S", 0.001)
    monkeypatch.setattr(snapshots, "_PAUSE_S", 0.001)
    monkeypatch.setattr(connection, "_probed", {})


def _fetch(hf_id: str = ID, **options: object) -> snapshots.Snapshot:
    return snapshots.download(hf_id, snapshots.resolve(hf_id, None), **options)  # type: ignore[arg-type]


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _blobs(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.rglob("blobs/*")}


def _one_line(error: pytest.ExceptionInfo[Exception], *parts: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for part in (ID, *parts):
        assert part in text


# what comes down


def test_a_branch_a_tag_and_the_default_resolve_to_their_commits(loopback_hub: LoopbackHub) -> None:
    newest = loopback_hub.add(ID, FILES)
    tagged = loopback_hub.add(ID, {**FILES, "config.json": b"{}"}, branch="v1")
    assert (
        snapshots.resolve(ID, None)
        == snapshots.resolve(ID, "main")
        == snapshots.resolve(ID, newest)
        == newest
    )
    assert snapshots.resolve(ID, "v1") == tagged != newest


def test_the_plan_takes_configuration_and_safetensors_only(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(ID, {**FILES, "preprocessor_config.json": b"{}"})
    assert snapshots.plan_download(ID, commit) == [
        ("config.json", 24),
        ("preprocessor_config.json", 2),
        ("model.safetensors", len(WEIGHTS)),
    ]


def test_a_language_model_comes_with_its_tokenizer(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(
        ID, {**FILES, "tokenizer.json": b"{}", "tokenizer_config.json": b"[]", "notes.txt": b"x"}
    )
    planned = [name for name, _ in snapshots.plan_download(ID, commit)]
    assert planned == ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
    folder = snapshots.download(ID, commit).folder
    assert (folder / "tokenizer.json").read_bytes() == b"{}" and not (folder / "notes.txt").exists()


def test_a_download_is_whole_and_reports_progress(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(ID, {**FILES, "model.safetensors": WEIGHTS * 3})
    seen: list[tuple[str, int, int]] = []
    snapshot = _fetch(progress=lambda *step: seen.append(step))
    assert (snapshot.hf_id, snapshot.commit) == (ID, commit)
    assert snapshot.files == ("config.json", "model.safetensors")
    assert (snapshot.folder / "model.safetensors").read_bytes() == WEIGHTS * 3
    assert snapshot.total_bytes == 24 + 3 * len(WEIGHTS)
    assert {p.name for p in snapshot.folder.iterdir()} == set(snapshot.files)
    steps = [done for name, done, total in seen if name == "model.safetensors" and total == 3 * len(WEIGHTS)]
    assert steps == sorted(steps)
    assert len(steps) == 3 and steps[-1] == 3 * len(WEIGHTS)


def test_shards_come_down_with_their_index(loopback_hub: LoopbackHub) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    files = {
        "config.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-00001-of-00002.safetensors": b"one",
        "model-00002-of-00002.safetensors": b"two",
    }
    loopback_hub.add(ID, files)
    assert set(_fetch().files) == set(files)
    del files["model-00002-of-00002.safetensors"]
    with pytest.raises(PrepareError) as error:
        snapshots.plan_download(ID, loopback_hub.add(ID, files))
    _one_line(error, "1 of 2")


def test_an_index_that_names_other_files_is_refused(loopback_hub: LoopbackHub) -> None:
    index = {"weight_map": {"a": "../../secret.safetensors"}}
    loopback_hub.add(
        ID,
        {
            "config.json": b"{}",
            "model.safetensors.index.json": json.dumps(index).encode(),
            "model-00001-of-00001.safetensors": b"one",
        },
    )
    with pytest.raises(PrepareError) as error:
        _fetch()
    _one_line(error, "../../secret.safetensors")


def test_huggingface_hub_finds_what_was_downloaded(loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download, scan_cache_dir

    loopback_hub.add(ID, FILES)
    snapshot = _fetch()
    cache = tmp_path / "hf" / "hub"
    found = hf_hub_download(ID, "model.safetensors", cache_dir=cache, local_files_only=True)
    assert Path(found) == snapshot.folder / "model.safetensors"
    scan = scan_cache_dir(cache)
    assert not scan.warnings
    assert [(r.repo_id, r.nb_files) for r in scan.repos] == [(ID, 2)]


def test_what_huggingface_hub_downloaded_is_not_fetched_again(
    loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    from huggingface_hub import hf_hub_download

    loopback_hub.add(ID, FILES)
    hf_hub_download(ID, "model.safetensors", cache_dir=tmp_path / "hf" / "hub", endpoint=loopback_hub.url)
    loopback_hub.requests.clear()
    _fetch()
    assert loopback_hub.asked_for("config.json") and not loopback_hub.asked_for("model.safetensors")


def test_a_second_download_asks_nothing(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(ID, FILES)
    first = _fetch()
    loopback_hub.requests.clear()
    assert snapshots.resolve(ID, commit) == commit
    assert snapshots.download(ID, commit) == first
    assert not loopback_hub.requests


def test_what_other_tools_left_out_or_cut_short_is_fetched(loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download

    files = {**FILES, "preprocessor_config.json": b'{"size": 8}'}
    commit = loopback_hub.add(ID, files)
    for name in ("config.json", "model.safetensors"):
        cut = Path(hf_hub_download(ID, name, cache_dir=tmp_path / "hf" / "hub", endpoint=loopback_hub.url))
    cut.resolve().write_bytes(WEIGHTS[:1000])
    snapshot = snapshots.download(ID, commit)
    assert {name: (snapshot.folder / name).read_bytes() for name in snapshot.files} == {
        name: files[name] for name in ("config.json", "preprocessor_config.json", "model.safetensors")
    }


def test_two_at_once_fetch_a_file_once(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "slow", file="model.safetensors", seconds=0.1)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(_fetch, [ID, ID])
    assert first == second
    assert len(loopback_hub.asked_for("model.safetensors")) == 1


@pytest.mark.slow
def test_real_repositories_load_from_their_snapshots(loopback_hub: LoopbackHub) -> None:
    import timm
    from transformers import AutoModelForImageClassification

    loopback_hub.add("timm/test_resnet.r160_in1k", tiny_timm_repo())
    folder = _fetch("timm/test_resnet.r160_in1k").folder
    assert timm.create_model(f"local-dir:{folder}", pretrained=True).num_classes == 1000
    loopback_hub.add("org/resnet", tiny_transformers_repo())
    folder = _fetch("org/resnet").folder
    assert AutoModelForImageClassification.from_pretrained(folder).config.num_labels == 10


# the connection is cut


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_download_goes_on_where_it_stopped(loopback_hub: LoopbackHub, reset: bool) -> None:
    loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "cut", file="model.safetensors", after=300_000, times=2, reset=reset)
    snapshot = _fetch()
    assert (snapshot.folder / "model.safetensors").read_bytes() == WEIGHTS
    starts = [request.range for request in loopback_hub.asked_for("model.safetensors")]
    assert starts == [None, "bytes=300000-", "bytes=600000-"]


def test_the_next_run_goes_on_where_the_last_one_gave_up(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "cut", file="model.safetensors", after=300_000, times=1)
    loopback_hub.fault(ID, "cut", file="model.safetensors", after=0)
    with pytest.raises(HubError) as error:
        _fetch()
    _one_line(error, "cut after 300000 of 1024000 bytes of model.safetensors", "run again")
    assert len(loopback_hub.asked_for("model.safetensors")) == 1 + transfer.MAX_STALLED
    loopback_hub.heal(ID)
    loopback_hub.requests.clear()
    assert (_fetch().folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [request.range for request in loopback_hub.asked_for("model.safetensors")] == ["bytes=300000-"]


def test_a_server_that_always_starts_over_and_cuts_is_given_up(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "cut", file="model.safetensors", after=300_000)
    loopback_hub.fault(ID, "no_range")
    with pytest.raises(HubError, match="was cut"):
        _fetch()
    assert len(loopback_hub.asked_for("model.safetensors")) == 1 + transfer.MAX_STALLED


def test_a_server_without_ranges_still_delivers(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "cut", file="model.safetensors", after=300_000, times=1)
    loopback_hub.fault(ID, "no_range")
    assert (_fetch().folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_cut_while_asking_gets_a_second_chance(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "cut", where="api", after=10, times=1)
    assert snapshots.resolve(ID, None) == commit
    loopback_hub.fault(ID, "cut", where="api", after=10)
    with pytest.raises(HubError) as error:
        snapshots.resolve(ID, None)
    _one_line(error, "cut the connection")
    assert not isinstance(error.value, HubUnreachableError)


# the content is wrong


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_wrong_content_is_deleted_and_reported(loopback_hub: LoopbackHub, tmp_path: Path, file: str) -> None:
    loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "corrupt", file=file)
    with pytest.raises(HubError) as error:
        _fetch()
    _one_line(error, file, "checksum", "deleted")
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    assert _blobs(tmp_path) == (set() if file == "config.json" else _blobs(tmp_path) - {digest})
    assert not any(name.endswith(".incomplete") for name in _blobs(tmp_path))
    loopback_hub.heal(ID)
    assert (_fetch().folder / file).read_bytes() == FILES[file]


def test_a_longer_answer_than_listed_is_refused(loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "garbage", where="files", file="config.json")
    with pytest.raises(HubError, match="another checksum"):
        _fetch()
    assert not _blobs(tmp_path)


def test_an_endless_answer_is_not_written_down(tmp_path: Path) -> None:
    file = transfer.RemoteFile("model.safetensors", 5000, "0" * 64, "0" * 40)
    transfer._write(itertools.repeat(bytes(1000)), 0, file, tmp_path / "partial", None)
    assert (tmp_path / "partial").stat().st_size == 6000


@pytest.mark.parametrize(
    "entry",
    [
        {"blobId": "../../x"},
        {"blobId": None},
        {"size": None},
        {"size": -1},
        {"size": "many"},
        {"lfs": {"sha256": "../../x", "size": 8, "pointerSize": 1}},
    ],
)
def test_a_listing_without_sound_checksums_is_refused(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, entry: dict[str, object]
) -> None:
    loopback_hub.add(ID, FILES)
    monkeypatch.setattr(
        "tests.loopback_hub._File.listed",
        lambda _, name: {"rfilename": name, "size": 8, "blobId": "0" * 40} | entry,
    )
    with pytest.raises(HubError) as error:
        _fetch()
    _one_line(error, "no size or checksum for config.json")
    assert not _blobs(tmp_path)


def test_an_answer_about_another_commit_is_refused(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = loopback_hub.add(ID, FILES)
    body = json.dumps({"id": ID, "sha": "0" * 40, "siblings": []}).encode()
    monkeypatch.setattr("tests.loopback_hub._Handler._send_info", lambda h, *_: h._send(200, body))
    with pytest.raises(HubError) as error:
        snapshots.download(ID, commit)
    _one_line(error, commit, "0" * 40)


@pytest.mark.parametrize("name", ["../evil.safetensors", "/etc/passwd", "a/../../b", "..\\evil", "a\nb", ""])
def test_names_that_leave_the_folder_are_refused(
    loopback_hub: LoopbackHub, tmp_path: Path, name: str
) -> None:
    loopback_hub.add(ID, {**FILES, name: b"evil"})
    with pytest.raises(HubError) as error:
        _fetch()
    _one_line(error, repr(name))
    assert not _blobs(tmp_path)


def test_a_pickle_needs_permission(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(ID, {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    with pytest.raises(PrepareError) as error:
        snapshots.download(ID, commit)
    _one_line(error, "pytorch_model.bin", "--allow-pickle")
    assert not loopback_hub.asked_for("pytorch_model.bin")
    assert "pytorch_model.bin" in snapshots.download(ID, commit, allow_pickle=True).files
    with pytest.raises(PrepareError, match="--allow-pickle"):
        snapshots.download(ID, commit)


def test_of_several_models_only_the_file_that_is_meant_comes_down(loopback_hub: LoopbackHub) -> None:
    files = {"yolo_n.pt": b"small", "yolo_m.pt": b"large", "README.md": b"two of them"}
    commit = loopback_hub.add(ID, files)
    with pytest.raises(PrepareError, match=r"only pickled weights .yolo_n\.pt.*--allow-pickle"):
        snapshots.plan_download(ID, commit, only="yolo_n.pt")
    with pytest.raises(PrepareError, match=r"has no file yolo_x\.pt"):
        snapshots.plan_download(ID, commit, allow_pickle=True, only="yolo_x.pt")
    found = snapshots.download(ID, commit, allow_pickle=True, only="yolo_n.pt")
    assert (found.files, (found.folder / "yolo_n.pt").read_bytes()) == (("yolo_n.pt",), b"small")
    loopback_hub.requests.clear()
    assert snapshots.download(ID, commit, allow_pickle=True, only="yolo_n.pt") == found
    assert loopback_hub.requests == []
    assert snapshots.download(ID, commit, allow_pickle=True, only="yolo_m.pt").files == ("yolo_m.pt",)


@pytest.mark.parametrize(
    "missing, words", [("config.json", "no config.json"), ("model.safetensors", "no weights")]
)
def test_a_repository_without_a_model_says_what_it_lacks(
    loopback_hub: LoopbackHub, missing: str, words: str
) -> None:
    files = {
        name: FILES[name] for name in ("config.json", "model.safetensors", "model.onnx") if name != missing
    }
    with pytest.raises(PrepareError) as error:
        snapshots.plan_download(ID, loopback_hub.add(ID, files))
    _one_line(error, words)


def test_too_much_is_refused_before_a_byte_comes(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(ID, FILES)
    with pytest.raises(PrepareError) as error:
        _fetch(max_bytes=1000_000)
    _one_line(error, "0.00102 GB", "0.001 GB")
    assert not loopback_hub.asked_for("config.json")


def test_a_full_disk_is_noticed_before_and_while(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback_hub.add(ID, FILES)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(PrepareError) as error:
        patch.setattr(snapshots, "fetch", full)
        _fetch()
    _one_line(error, "No space left on device", "HF_HOME")
    with monkeypatch.context() as patch, pytest.raises(PrepareError) as error:
        patch.setattr(snapshots.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
        _fetch()
    _one_line(error, "are free", "HF_HOME")
    _fetch()
    with monkeypatch.context() as patch, pytest.raises(PrepareError) as error:
        patch.setattr(snapshots.ModelCache, "remember_ref", full)
        snapshots.resolve(ID, None)
    _one_line(error, "No space left on device", "HF_HOME")


# the Hub refuses


@pytest.mark.parametrize(
    "status, headers, words",
    [
        (401, {}, ["HTTP 401", "HF_TOKEN"]),
        (403, {}, ["HTTP 403", "accept its terms", "HF_TOKEN"]),
        (404, {}, ["no such model", "check the name"]),
        (418, {}, ["HTTP 418"]),
        (429, {"Retry-After": "17"}, ["wait 17 s", "HF_TOKEN"]),
        (429, {"RateLimit": '"api";r=0;t=55'}, ["wait 55 s"]),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, ["wait until Wed, 21 Oct"]),
        (429, {}, ["wait a few minutes"]),
        (500, {}, ["HTTP 500", "later"]),
        (503, {}, ["HTTP 503", "later"]),
    ],
)
@pytest.mark.parametrize("where", ["api", "files"])
def test_a_refusal_is_one_line_that_says_what_to_do(
    loopback_hub: LoopbackHub, status: int, headers: dict[str, str], words: list[str], where: str
) -> None:
    loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "status", where=where, status=status, headers=headers)
    with pytest.raises(HubError) as error:
        _fetch()
    _one_line(error, loopback_hub.url, *words)
    assert not isinstance(error.value, HubUnreachableError)


def test_a_gated_model_tells_where_to_accept_the_terms(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "gated")
    with pytest.raises(HubError) as error:
        snapshots.resolve(ID, None)
    _one_line(error, "gated", f"{loopback_hub.url}/{ID}", "HF_TOKEN")


def test_a_listed_file_that_is_not_delivered_is_named(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "status", where="files", status=404, headers={"X-Error-Code": "EntryNotFound"})
    with pytest.raises(HubError) as error:
        _fetch()
    _one_line(error, "does not deliver")


def test_an_unknown_model_and_an_unknown_revision_differ(loopback_hub: LoopbackHub) -> None:
    with pytest.raises(HubError) as error:
        snapshots.resolve(ID, None)
    _one_line(error, "does not exist")
    loopback_hub.add(ID, FILES)
    with pytest.raises(HubError) as error:
        snapshots.resolve(ID, "v9")
    _one_line(error, "no revision 'v9'")


def test_trouble_of_the_moment_is_survived(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(ID, FILES)
    loopback_hub.fault(ID, "status", status=503, where="api", times=1)
    loopback_hub.fault(ID, "status", status=502, where="files", times=2)
    assert (_fetch().folder / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"[]", b"{}", b'{"id": "x", "sha": "../../x"}'])
def test_garbage_is_told_from_a_hub(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    loopback_hub.add(ID, FILES)
    monkeypatch.setattr(
        "tests.loopback_hub._Handler._send_info", lambda handler, *_: handler._send(200, body)
    )
    with pytest.raises(HubError) as error:
        snapshots.resolve(ID, None)
    _one_line(error, "does not answer like a Hub", "HF_ENDPOINT")


def test_the_token_reaches_the_hub_but_not_its_storage(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback_hub.add(ID, FILES, token="hf_secret")
    with pytest.raises(HubError) as error:
        snapshots.resolve(ID, None)
    _one_line(error, "HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    _fetch()
    told = {request.host for request in loopback_hub.requests if "hf_secret" in str(request.headers)}
    assert told == {"hub"}


@pytest.mark.parametrize("hf_id", ["../evil", "a/b/c", "a b/c", "", "a/..", "-a/b"])
def test_impossible_ids_are_refused_without_asking(loopback_hub: LoopbackHub, hf_id: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(hf_id))):
        snapshots.resolve(hf_id, None)
    assert not loopback_hub.requests


@pytest.mark.parametrize("revision", ["../../x", "/etc", "a..b", "-x", "a b", "", "x/"])
def test_impossible_revisions_are_refused_without_asking(loopback_hub: LoopbackHub, revision: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(revision))):
        snapshots.resolve(ID, revision)
    assert not loopback_hub.requests


# no Hub


def test_offline_the_cache_answers(loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = loopback_hub.add(ID, FILES)
    online = _fetch()
    loopback_hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert snapshots.resolve(ID, None) == snapshots.resolve(ID, commit) == commit
    assert _fetch() == online
    for revision in ("v1", "0" * 40):
        with pytest.raises(HubUnreachableError) as error:
            snapshots.resolve(ID, revision)
        _one_line(error, "HF_HUB_OFFLINE")
    with pytest.raises(HubUnreachableError, match="org/other"):
        snapshots.resolve("org/other", None)
    assert not loopback_hub.requests


def test_an_unfinished_download_does_not_count_as_cached(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = loopback_hub.add(ID, FILES)
    _fetch()
    loopback_hub.add(ID, {**FILES, "model.safetensors": WEIGHTS[::-1]})
    loopback_hub.fault(ID, "cut", file="model.safetensors", after=0)
    with pytest.raises(HubError):
        _fetch()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert snapshots.resolve(ID, None) == old


def test_without_a_network_the_cache_answers_too(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = loopback_hub.add(ID, FILES)
    online = _fetch()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{_closed_port()}")
    assert snapshots.resolve(ID, None) == commit
    assert snapshots.download(ID, commit) == online


def test_a_refused_connection_fails_at_once_and_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{_closed_port()}")
    tried: list[object] = []
    connect = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: (tried.append(a), connect(*a, **k))[1])
    monkeypatch.setattr(snapshots.time, "sleep", lambda _: pytest.fail("it waits"))
    for _ in range(3):
        with pytest.raises(HubUnreachableError) as error:
            snapshots.resolve(ID, None)
        _one_line(error, "cannot be reached", "refused", "HF_ENDPOINT")
    assert len(tried) == 1


def test_a_redirect_to_nowhere_is_one_models_trouble(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx2

    loopback_hub.add(ID, FILES)
    with (
        pytest.raises(connection.TransientHubError, match="does not answer"),
        connection.hub_errors(ID),
    ):
        raise httpx2.ConnectError("refused")
    assert snapshots.resolve(ID, None), "the Hub itself is there for the next model"


def test_silence_is_waited_for_once_and_not_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 0.05)
    monkeypatch.setattr(snapshots, "ANSWER_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        for _ in range(2):
            with pytest.raises(HubUnreachableError) as error:
                snapshots.resolve(ID, None)
            _one_line(error, "cannot be reached", "timed out")
        silent.settimeout(0.2)
        taken = []
        with pytest.raises(TimeoutError):
            while True:
                taken.append(silent.accept()[0])
        for client in taken:
            client.close()
    assert len(taken) == 2, "the probe and one request; the second model must not ask again"


def test_a_name_server_that_never_answers_does_not_hold_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://snapshots.invalid")
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 0.05)
    never = threading.Event()

    def wait(*_: object, **__: object) -> None:
        never.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", wait)
    with pytest.raises(HubUnreachableError, match=r"no answer within 0\.05 s"):
        snapshots.resolve(ID, None)
    never.set()


def test_the_proxy_is_what_must_be_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert connection._first_hop("https://huggingface.co") == ("proxy.example", 3128)
    assert connection._first_hop("https://127.0.0.1:8080") == ("127.0.0.1", 8080)


@pytest.mark.parametrize("where", ["huggingface.co", "ftp://x", "http://", "http://x:99999"])
def test_an_endpoint_that_is_no_address_is_named(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", where)
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        snapshots.describe_reachability()


def test_the_doctor_hears_how_the_hub_is(loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    well, line = snapshots.describe_reachability()
    assert well and line.startswith(f"{loopback_hub.url} answers in")
    monkeypatch.setattr("tests.loopback_hub._Handler._answer", lambda handler: handler.send_error(503))
    assert snapshots.describe_reachability()[0] is False
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{_closed_port()}")
    well, line = snapshots.describe_reachability()
    assert not well and "cannot be reached" in line
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    well, line = snapshots.describe_reachability()
    assert not well and "HF_HUB_OFFLINE" in line


# local folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_local_folder_is_identified_by_its_content(folder: Path) -> None:
    first = snapshots.local_snapshot(folder)
    assert (first.hf_id, first.files) == ("mine", ("config.json", "model.safetensors"))
    assert re.fullmatch("[0-9a-f]{40}", first.commit)
    (folder / "README.md").write_text("other words")
    assert snapshots.local_snapshot(folder) == first
    (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
    assert snapshots.local_snapshot(folder).commit != first.commit


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_local_folder_must_hold_a_model(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(PrepareError, match=re.escape(str(folder))):
        snapshots.local_snapshot(folder)
    with pytest.raises(PrepareError, match="is no folder"):
        snapshots.local_snapshot(folder / missing)


def test_links_may_not_leave_a_local_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"{}")
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(PrepareError, match=r"config\.json .* out of the folder"):
        snapshots.local_snapshot(folder)
    (folder / "real.json").write_bytes(b"{}")
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("real.json")
    assert snapshots.local_snapshot(folder).total_bytes == 2 + len(WEIGHTS)


def test_a_file_system_without_links_gets_copies(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    loopback_hub.add(ID, FILES)
    monkeypatch.setattr(Path, "symlink_to", no_links)
    copied = _fetch().folder / "model.safetensors"
    assert not copied.is_symlink() and copied.read_bytes() == WEIGHTS
