"""Models from the Hub: a commit for a name, the files worth fetching, a verified copy of them in the cache.

huggingface_hub asks, signs and knows the addresses; what is wanted, trusted and refused is decided here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from zoobench.errors import HubError, HubUnreachableError, PrepareError, UsageError
from zoobench.hub.cache import COMMIT, ModelCache
from zoobench.hub.connection import (
    ANSWER_TIMEOUT_S,
    Kind,
    TransientHubError,
    describe_reachability,
    endpoint,
    garbage,
    hub_errors,
    require_reachable,
)
from zoobench.hub.transfer import Progress, RemoteFile, fetch

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

__all__ = ["Snapshot", "describe_reachability", "download", "local_snapshot", "plan_download", "resolve"]

_Answer = TypeVar("_Answer")

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
)
"""Of language models: small beside their weights, and without them ids are no text."""
MAX_BYTES = 20_000_000_000
_ATTEMPTS = 2
_PAUSE_S = 0.5
_REVISION = re.compile(r"(?!.*(\.\.|//|@\{))[\w][\w./+@-]{0,199}(?<![./])", re.ASCII)

_branches: dict[tuple[Path, str], set[str]] = {}
"""(model's folder in the cache, commit) → names that `resolve` found to stand there, until it is complete."""


@dataclass(frozen=True)
class Snapshot:
    """A model's files at one commit, on disk.

    Attributes:
        folder: holds the files under the names in `files`.
        hf_id: `organisation/name`, or the folder's name for a local model.
        commit: 40 hexadecimal digits; derived from the content for a local model.
        files: relative names, the configuration first.
        total_bytes: sum of their sizes.
    """

    folder: Path
    hf_id: str
    commit: str
    files: tuple[str, ...]
    total_bytes: int


def resolve(hf_id: str, revision: str | None, *, only: str | None = None) -> str:
    """The full commit that `revision` (None: the default branch) stands at.

    Args:
        only: see `download`.

    A commit whose files are cached needs no network, and neither does a branch in offline mode; without a
    network the cache answers too, when it holds the files.

    Raises:
        UsageError: `hf_id` or `revision` cannot be one.
        HubUnreachableError: no answer, and nothing cached.
        HubError: the Hub refused.
    """
    check_names(hf_id, revision)
    cache = ModelCache.of(hf_id)
    name = revision or "main"
    cached = cache.commit_of(name)
    if cached is not None and _held(cache, hf_id, cached, allow_pickle=True, only=only) is None:
        cached = None
    if cached is not None and cached == revision:
        return cached
    try:
        commit = _ask(hf_id, revision).sha
    except HubUnreachableError:
        if cached is None:
            raise
        return cached
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise garbage(hf_id, f"it names no commit but {commit!r}")
    _branches.setdefault((cache.folder, commit), set()).add(name)
    if cached == commit:
        _remember_branches(cache, hf_id, commit)
    return commit


def plan_download(
    hf_id: str,
    commit: str,
    *,
    allow_pickle: bool = False,
    max_bytes: int = MAX_BYTES,
    only: str | None = None,
) -> list[tuple[str, int]]:
    """Names and sizes in bytes of the files that are wanted of `commit`; asks the Hub.

    Raises:
        HubError: refused, unreachable, or a listing with names that leave the folder.
        PrepareError: no configuration, no weights, only pickled ones, or more than `max_bytes`.
    """
    check_names(hf_id, commit)
    return [(file.name, file.size) for file in _plan(hf_id, commit, allow_pickle, max_bytes, only)]


def download(
    hf_id: str,
    commit: str,
    *,
    allow_pickle: bool = False,
    max_bytes: int = MAX_BYTES,
    progress: Progress | None = None,
    only: str | None = None,
) -> Snapshot:
    """Bring the wanted files of `commit` into the cache, each verified against the checksum the Hub lists.

    Files that are there already are not asked for again; a commit that is complete needs no network.

    Args:
        only: the one file that holds the weights, where a repository holds several models; nothing else is wanted then.

    Raises:
        HubUnreachableError: no answer, and the cache does not hold enough.
        HubError: refused, cut too often, or other content than listed.
        PrepareError: nothing usable or too much in it, or no room on disk.
    """
    check_names(hf_id, commit)
    cache = ModelCache.of(hf_id)
    held = _held(cache, hf_id, commit, allow_pickle=allow_pickle, only=only)
    if held is None or not (only or _complete(cache, held)):
        try:
            files = _plan(hf_id, commit, allow_pickle, max_bytes, only)
        except HubUnreachableError:
            if held is None:
                raise
            return held
        held = _fetch_all(cache, hf_id, commit, files, progress)
    _remember_branches(cache, hf_id, commit)
    return held


def local_snapshot(path: Path, *, allow_pickle: bool = False, only: str | None = None) -> Snapshot:
    """A folder in the Hub's layout as a snapshot; its commit is made from the wanted files' names and bytes.

    Args:
        only: see `download`.

    Raises:
        PrepareError: no folder, no configuration or weights in it, only pickled ones, or links that leave it.
    """
    folder = path.expanduser().resolve()
    if not folder.is_dir():
        raise PrepareError(f"{path} is no folder: give one that holds {CONFIG} and model.safetensors")
    names = _wanted(
        str(path), {f.name for f in folder.iterdir() if f.is_file() or f.is_symlink()}, allow_pickle, only
    )
    digest, total = hashlib.sha256(), 0
    for name in names:
        file = (folder / name).resolve()
        if folder not in file.parents or not file.is_file():
            raise PrepareError(
                f"{path}: {name} is a link to nowhere or out of the folder: put the file itself there"
            )
        with file.open("rb") as content:
            digest.update(f"{name}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
        total += file.stat().st_size
    _check_index(str(path), folder, names)
    return Snapshot(folder, folder.name, digest.hexdigest()[:40], names, total)


def check_names(hf_id: str, revision: str | None, kind: Kind = "model") -> None:
    """Refuse what cannot be a repository's name or a revision, before it becomes part of an address or a path.

    Raises:
        UsageError: one of them cannot be.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(hf_id)
    except HFValidationError as error:
        raise UsageError(f"{hf_id!r} is no {kind} id: the Hub's look like organisation/name") from error
    if revision is not None and not _REVISION.fullmatch(revision):
        raise UsageError(f"'{hf_id}': {revision!r} cannot be a revision: give a branch, a tag or a commit")


def _ask(hf_id: str, revision: str | None, *, with_files: bool = False) -> ModelInfo:
    return ask(
        hf_id,
        revision,
        lambda api: api.model_info(
            hf_id, revision=revision, files_metadata=with_files, timeout=ANSWER_TIMEOUT_S
        ),
    )


def ask(
    hf_id: str, revision: str | None, question: Callable[[HfApi], _Answer], *, kind: Kind = "model"
) -> _Answer:
    """What the Hub says about `hf_id`; its trouble of the moment is given one more chance.

    Raises:
        HubUnreachableError: offline mode, or no answer.
        HubError: it refused.
    """
    from huggingface_hub import HfApi

    require_reachable(hf_id)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with hub_errors(hf_id, revision, kind=kind):
                return question(HfApi(endpoint=endpoint()))
        except TransientHubError:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_S)
    raise AssertionError("the last attempt returns or raises")


def _plan(hf_id: str, commit: str, allow_pickle: bool, max_bytes: int, only: str | None) -> list[RemoteFile]:
    """The wanted files of `commit` as the Hub lists them, whole listing checked."""
    info = _ask(hf_id, commit, with_files=True)
    if info.sha != commit:
        raise garbage(hf_id, f"asked for commit {commit} it speaks of {info.sha!r}")
    listed = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    for name in listed:
        if not stays_inside(name):
            raise HubError(
                f"'{hf_id}' lists a file that would leave its folder ({name!r}): do not use this model"
            )
    files = [_remote_file(hf_id, listed[name]) for name in _wanted(f"'{hf_id}'", listed, allow_pickle, only)]
    total = sum(file.size for file in files)
    if total > max_bytes:
        raise PrepareError(
            f"'{hf_id}' would bring {total / 1e9:.3g} GB, the limit is {max_bytes / 1e9:.3g} GB"
        )
    return files


def _remote_file(hf_id: str, sibling: RepoSibling) -> RemoteFile:
    """The listing's entry, its identifiers checked: they become file names in the cache."""
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    size = sibling.lfs.size if sibling.lfs else sibling.size
    git_id = sibling.blob_id
    sound = (
        (isinstance(size, int) and size >= 0)
        and (isinstance(git_id, str) and COMMIT.fullmatch(git_id))
        and (sha256 is None or re.fullmatch("[0-9a-f]{64}", str(sha256)))
    )
    if not sound or size is None or git_id is None:
        raise garbage(hf_id, f"no size or checksum for {sibling.rfilename}")
    return RemoteFile(sibling.rfilename, size, sha256, git_id)


def stays_inside(name: object) -> bool:
    """Whether a name that the Hub lists stays within the repository's folder."""
    if not isinstance(name, str) or not name or "\\" in name or not name.isprintable():
        return False
    return not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _wanted(
    what: str, names: Collection[str], allow_pickle: bool, only: str | None = None
) -> tuple[str, ...]:
    """Which of `names` are needed to load the model: configurations, and safetensors before pickles; or `only` that one."""
    if only is not None:
        if only not in names:
            raise PrepareError(f"{what} has no file {only}")
        if not allow_pickle and not only.endswith(".safetensors"):
            raise _pickled(what, only)
        return (only,)
    if CONFIG not in names:
        raise PrepareError(f"{what} has no {CONFIG}: only models of timm and transformers can be loaded")
    weights = _weights(what, names, "model", "safetensors")
    if not weights:
        weights = _weights(what, names, "pytorch_model", "bin")
        if not weights:
            raise PrepareError(f"{what} has no weights that can be loaded: no model.safetensors in it")
        if not allow_pickle:
            raise _pickled(what, weights[0])
    return (CONFIG, *(name for name in (PREPROCESSOR, *TOKENIZER) if name in names), *weights)


def _pickled(what: str, file: str) -> PrepareError:
    return PrepareError(
        f"{what} has only pickled weights ({file}), and a pickle can run its author's code when it is loaded: pass "
        "--allow-pickle if you trust them"
    )


def _weights(what: str, names: Collection[str], stem: str, suffix: str) -> tuple[str, ...]:
    """`stem.suffix`, else its index and all of its shards, else nothing."""
    single, index = f"{stem}.{suffix}", f"{stem}.{suffix}.index.json"
    if single in names:
        return (single,)
    if index not in names:
        return ()
    pattern = re.compile(rf"{stem}-\d{{5}}-of-(\d{{5}})\.{suffix}")
    shards = sorted(name for name in names if pattern.fullmatch(name))
    stated = {int(match[1]) for name in shards if (match := pattern.fullmatch(name))}
    if stated != {len(shards)}:
        raise PrepareError(
            f"{what} has {index} but not all of the shards: {len(shards)} of {max(stated, default=0)}"
        )
    return (index, *shards)


def _check_index(what: str, folder: Path, names: tuple[str, ...]) -> None:
    """A loader opens whatever the index names: that must be the files that were checked."""
    for index in (name for name in names if name.endswith(".index.json")):
        try:
            shards = set(json.loads((folder / index).read_bytes())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PrepareError(f"{what}: {index} is not an index of shards") from error
        if not shards <= set(names):
            raise PrepareError(
                f"{what}: {index} names files that are not the model's: {min(shards - set(names))!r}"
            )


def _held(
    cache: ModelCache, hf_id: str, commit: str, *, allow_pickle: bool, only: str | None
) -> Snapshot | None:
    """What the cache holds of `commit`, if it is enough to load the model."""
    try:
        return _snapshot(cache, hf_id, commit, _wanted(hf_id, cache.files(commit), allow_pickle, only))
    except PrepareError:
        return None


def _complete(cache: ModelCache, held: Snapshot) -> bool:
    """Whether the Hub could not have more to offer: other tools leave out files that are wanted here."""
    knows_preprocessor = PREPROCESSOR in held.files or cache.known_absent(held.commit, PREPROCESSOR)
    return knows_preprocessor and any(name.endswith(".safetensors") for name in held.files)


def _fetch_all(
    cache: ModelCache, hf_id: str, commit: str, files: list[RemoteFile], progress: Progress | None
) -> Snapshot:
    with _disk_errors(cache, hf_id):
        _check_room(cache, hf_id, commit, files)
        for file in files:
            fetch(cache, hf_id, commit, file, progress)
        if CONFIG in (names := {file.name for file in files}) and PREPROCESSOR not in names:
            cache.remember_absent(commit, PREPROCESSOR)
    return _snapshot(cache, hf_id, commit, tuple(file.name for file in files))


@contextmanager
def _disk_errors(cache: ModelCache, hf_id: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PrepareError(
            f"'{hf_id}' cannot be written to the cache {cache.root} ({error.strerror or error}): make room or"
            " rights there, or set HF_HOME to another disk"
        ) from error


def _check_room(cache: ModelCache, hf_id: str, commit: str, files: list[RemoteFile]) -> None:
    cache.root.mkdir(parents=True, exist_ok=True)
    here = cache.files(commit)
    missing = sum(file.size for file in files if file.name not in here)
    free = shutil.disk_usage(cache.root).free
    if missing > free:
        raise PrepareError(
            f"'{hf_id}' needs {missing / 1e9:.3g} GB in the cache {cache.root}, {free / 1e9:.3g} GB are free:"
            " make room or set HF_HOME to another disk"
        )


def _snapshot(cache: ModelCache, hf_id: str, commit: str, names: tuple[str, ...]) -> Snapshot:
    folder = cache.snapshot(commit)
    _check_index(f"'{hf_id}'", folder, names)
    return Snapshot(folder, hf_id, commit, names, sum((folder / name).stat().st_size for name in names))


def _remember_branches(cache: ModelCache, hf_id: str, commit: str) -> None:
    """Record what `resolve` found; a cache that others filled and that may only be read stays as it is."""
    if not os.access(cache.folder, os.W_OK):
        return
    with _disk_errors(cache, hf_id):
        for name in _branches.pop((cache.folder, commit), ()):
            cache.remember_ref(name, commit)
