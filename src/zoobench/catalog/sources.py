"""Where models come from besides the catalog: the Hub, local folders and files, a user's own registry."""

from __future__ import annotations

import json
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobench.errors import UsageError

if TYPE_CHECKING:
    from zoobench.spec import ModelSpec, Task

# The Hub's own rule for each part: letters, digits, '-', '_', '.', no '-' or '.' at either end, 1 to 96.
_ID_PART = re.compile(r"\w(?:[\w.-]{0,94}\w)?", re.ASCII)
# A subset of git's own rule for references, enough for branches, tags, commits and refs/pr/1.
_REVISION = re.compile(r"\w[\w./+-]{0,99}", re.ASCII)
_NAME_LIMIT = 200  # ModelSpec.name's own
_WEIGHTS = (".safetensors", ".bin")
YOLO_FILE = ".pt"
"""What ultralytics saves: a pickle of the whole module."""
FILES = (".onnx", YOLO_FILE)
"""How files end that hold a whole model."""


def validate_hf_id(text: str) -> str:
    """Return `text` when it can be the id of a repository on the Hugging Face Hub.

    Raises:
        UsageError: it cannot; the line says which of the Hub's rules it breaks.
    """
    parts = text.split("/")
    if len(parts) > 2:
        problem = "at most one '/' is allowed"
    elif ".." in text or "--" in text:
        problem = "'..' and '--' are not allowed"
    elif text.endswith(".git"):
        problem = "it may not end with '.git'"
    elif not all(_ID_PART.fullmatch(part) for part in parts):
        problem = "each part takes 1 to 96 letters, digits, '-', '_' or '.', with no '-' or '.' at either end"
    else:
        return text
    raise UsageError(f"{shown(text)} is not a Hugging Face Hub id: {problem}; write organisation/name")


def shown(text: object) -> str:
    """`text` quoted for a one-line message: control characters escaped, long ones cut."""
    quoted = repr(text)
    return quoted if len(quoted) <= 120 else f"{quoted[:110]}…{quoted[-1]}"


def validate_revision(text: str) -> str:
    """Return `text` when it can be a branch, a tag or a commit.

    Raises:
        UsageError: it cannot.
    """
    if _REVISION.fullmatch(text) and ".." not in text:
        return text
    raise UsageError(f"{shown(text)} is not a revision; give a branch, a tag or a commit")


def split_revision(text: str) -> tuple[str, str | None]:
    """Split `organisation/name@revision`; without '@' the revision is None.

    Raises:
        UsageError: the id or the revision is not one.
    """
    if len(text) > _NAME_LIMIT:
        raise UsageError(f"{shown(text)} is too long; a name has at most {_NAME_LIMIT} characters")
    hf_id, at, revision = text.partition("@")
    return validate_hf_id(hf_id), validate_revision(revision) if at else None


def from_hub(text: str) -> ModelSpec:
    """The model of a Hub id that the catalog does not know; its shape is found out at preparation.

    The architecture is known for `timm/<architecture>.<tag>` alone, which is how timm names its repositories.
    """
    from zoobench.spec import ModelSpec

    hf_id, revision = split_revision(text)
    organisation, _, repository = hf_id.partition("/")
    architecture, dot, _ = repository.partition(".")
    if organisation == "timm" and dot:
        return ModelSpec(name=text, hf_id=hf_id, revision=revision, library="timm", architecture=architecture)
    return ModelSpec(name=text, hf_id=hf_id, revision=revision)


def looks_local(text: str) -> bool:
    """Whether `text` means a path: it says so, ends in `.onnx`, has three parts or more, or is a folder."""
    return (
        text.startswith((".", "/", "~"))
        or text.endswith(FILES)
        or text.partition("@")[0].count("/") > 1
        or _kind(Path(text)) == "folder"
    )


def from_path(text: str) -> ModelSpec:
    """The model in a local `.onnx` file, in a `.pt` file that ultralytics saved, or in a folder with config.json and weights.

    Its name is the file's name, or the folder's with a slash behind it, so that it is never mistaken for the
    catalog's model of that name. Unusual characters are replaced by '_'.

    Raises:
        UsageError: nothing is there, or not a model.
    """
    from zoobench.spec import ModelSpec

    path = _expanded(text)
    check_local(path, text)
    is_file = _kind(path) == "file"
    # Links stay as they are: the Hub's cache is links to files whose names are hashes, without a suffix.
    label = path.name if is_file else path.name.strip(".") or path.resolve().name
    name = (re.sub(r"[^\w.+-]+", "_", label, flags=re.ASCII)[-_NAME_LIMIT:] or "model") + (
        "" if is_file else "/"
    )
    if not is_file and (task := _task_of(path)):
        return ModelSpec(name=name, path=path.absolute(), library="transformers", task=task)
    return ModelSpec(name=name, path=path.absolute(), **(of_file(path) if is_file else {}))


def of_file(path: Path) -> dict[str, Any]:
    """What a file's ending says of the model in it."""
    if path.suffix == YOLO_FILE:
        # Its makers' licence is on what is trained with it too.
        return {"library": "ultralytics", "task": "object_detection", "licence": "AGPL-3.0"}
    return {"library": "onnx"} if path.suffix == ".onnx" else {}


_TASKS: tuple[tuple[tuple[str, ...], Task], ...] = (
    (("ForCausalLM", "LMHeadModel"), "text_generation"),
    (("ForObjectDetection",), "object_detection"),
)
"""How the names of transformers' architectures end, and what those are for."""


def _task_of(folder: Path) -> Task | None:
    """As its config.json says; one that cannot be read is refused where it is loaded."""
    try:
        made = json.loads((folder / "config.json").read_bytes()).get("architectures") or ()
        return next((task for ends, task in _TASKS if any(str(name).endswith(ends) for name in made)), None)
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def check_local(path: Path, text: str, only: str | None = None) -> None:
    """Raise UsageError about `text` unless `path` is an `.onnx` or `.pt` file, or a folder in the Hub's layout or with `only` that file."""
    kind = _kind(path)
    if kind is None:
        raise UsageError(f"there is no file or folder {shown(text)}; check the path")
    if kind == "file":
        if path.suffix not in FILES:
            raise UsageError(
                f"{shown(text)} is not an .onnx file; give one, a .pt file of ultralytics, or a folder with config.json and weights"
            )
        return
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise UsageError(f"cannot read folder {shown(text)}: {error.strerror}") from error
    if only is not None:
        if only not in names:
            raise UsageError(f"folder {shown(text)} holds no file {shown(only)}")
        return
    if "config.json" not in names:
        raise UsageError(
            f"folder {shown(text)} holds no config.json; a model folder has the layout of a Hub repository"
        )
    if not any(name.endswith(_WEIGHTS) for name in names):
        raise UsageError(
            f"folder {shown(text)} holds no weights (*.safetensors or *.bin) beside its config.json"
        )


def read_registry_file(path: Path) -> Mapping[Any, Any]:
    """The raw entries in a user's registry: a TOML file, or a Python file that defines MODEL_REGISTRY.

    A Python file is executed: the user named it. What it imports is looked for beside it first. A relative `path` in an
    entry is relative to that file.

    Raises:
        UsageError: it cannot be read, or breaks while it is.
    """
    if path.suffix not in (".toml", ".py"):
        raise UsageError(f"registry {shown(str(path))} must be a .toml or a .py file")
    # Opening a pipe would wait for ever.
    if path.exists() and _kind(path) is None:
        raise UsageError(f"registry {shown(str(path))} is not a regular file; give a .toml or a .py file")
    try:
        source = path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read registry {shown(str(path))}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"registry {shown(str(path))} is not UTF-8 text: {error.reason}") from error
    return _run_python(path) if path.suffix == ".py" else parse_toml(source, path)


def parse_toml(source: str, path: Path) -> dict[str, Any]:
    """The tables of a registry in TOML.

    Raises:
        UsageError: a syntax error; the line says where.
    """
    import tomllib

    try:
        entries = tomllib.loads(source)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"registry {shown(str(path))} is not valid TOML: {error}") from error
    return _beside(path, entries)


def _beside(path: Path, entries: dict[str, Any]) -> dict[str, Any]:
    """The entries of a registry; a relative `path` in them is relative to the registry."""
    return {
        name: {**entry, "path": str(path.parent / _expanded(entry["path"]))}
        if isinstance(entry, dict) and isinstance(entry.get("path"), str)
        else entry
        for name, entry in entries.items()
    }


def _run_python(path: Path) -> Mapping[Any, Any]:
    import runpy

    beside, before = str(path.parent.absolute()), set(sys.modules)
    sys.path.insert(0, beside)
    try:
        defined = runpy.run_path(str(path))
        registry = defined.get("MODEL_REGISTRY")
        if isinstance(registry, Mapping):
            return _beside(path, dict(registry))
    except KeyboardInterrupt:
        raise
    except UsageError:
        raise
    except BaseException as error:
        raise UsageError(
            f"registry {shown(str(path))} failed{_line_in(path, error)}: {type(error).__name__}: {_said(error)}"
        ) from error
    finally:
        sys.path.remove(beside)
        # Another revision's registry has modules of the same names.
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(beside):
                del sys.modules[name]
    raise UsageError(f"registry {shown(str(path))} defines no dict called MODEL_REGISTRY")


def _said(error: BaseException) -> str:
    """An error's text in one short line; the registry's own errors may not even have one."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001
        return "its text cannot be read"
    return text if len(text) <= 300 else text[:300] + "…"


def _line_in(path: Path, error: BaseException) -> str:
    """` at line N`, the innermost line of `path` that the error passed through; empty when there is none."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == str(path):
            line = frame.tb_lineno
        frame = frame.tb_next
    return f" at line {line}" if line else ""


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"cannot tell whose home {shown(text)} means; write the whole path") from error


def _kind(path: Path) -> str | None:
    """`file`, `folder`, or None for what cannot be looked at: absent, forbidden, not even a possible name."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else None
