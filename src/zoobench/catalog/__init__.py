"""The catalog: which models can be run, and what is known of them.

`MODEL_REGISTRY` holds the entries, `find` turns what a user typed into models. Neither the entries nor
pydantic are loaded before the first of them is asked for, so that importing this is cheap.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobench.catalog import sources
from zoobench.catalog.sources import shown, validate_hf_id, validate_revision
from zoobench.errors import UsageError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from zoobench.spec import ModelSpec

    Entry = dict[str, Any] | ModelSpec

__all__ = ["ALIASES", "MODEL_REGISTRY", "find", "known_models", "load_registry", "validate_hf_id"]

ALIASES = {"mobilenetv2": "mobilenetv2_100"}
"""What people say for a name in the catalog. Case, '-' and '_' do not matter in either."""

_NAME = re.compile(r"\w[\w.@/+-]*", re.ASCII)


class Registry(MutableMapping[str, "Entry"]):
    """Entries by name, as they were written: a dict in the form of models.toml, or a ModelSpec.

    An entry is checked when it is looked up with `find` or `known_models`, not when it is stored.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        tables = sources.parse_toml(self._path.read_text("utf-8"), self._path)
        return {name: {"name": name, **table} for name, table in tables.items()}

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __setitem__(self, name: str, entry: Entry) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


MODEL_REGISTRY: MutableMapping[str, Entry] = Registry(Path(__file__).with_name("models.toml"))
"""The zoo. Add your own: `MODEL_REGISTRY["mine"] = {"name": "mine", "hf_id": "me/mine", "img_size": 224}`."""


def find(requests: Sequence[str], registry: Mapping[str, Entry] = MODEL_REGISTRY) -> list[ModelSpec]:
    """The models that `requests` mean, in their order, each once.

    A request is a name in the registry, a glob over its names (`resnet*`), a Hub id with or without
    `@revision`, a local folder in the Hub's layout, or a local `.onnx` file. A name comes before a folder, a
    folder before a Hub id (as in transformers).

    Raises:
        UsageError: none requested, one that means nothing, or two different models of one name.
    """
    if isinstance(requests, str):
        requests = [requests]
    found: dict[str, ModelSpec] = {}
    for request in requests:
        for model in _models(request, registry):
            if found.setdefault(model.name, model) != model:
                raise UsageError(
                    f"two different models are called {shown(model.name)}, the second from {shown(request)}; "
                    "rename one or run them apart"
                )
    if not found:
        raise UsageError("no model was requested; name at least one (`zoobench models` lists them)")
    return list(found.values())


def known_models(registry: Mapping[str, Entry] = MODEL_REGISTRY) -> list[ModelSpec]:
    """Every model of the registry, in its order.

    Raises:
        UsageError: an entry is not valid.
    """
    return [_checked(name, entry) for name, entry in registry.items()]


def load_registry(path: Path) -> dict[str, ModelSpec]:
    """The models of a user's own registry: TOML like models.toml, or Python that defines MODEL_REGISTRY.

    Raises:
        UsageError: the file cannot be read or an entry is not valid.
    """
    entries = sources.read_registry_file(path)
    try:
        return {name: _checked(name, entry) for name, entry in entries.items()}
    except UsageError as error:
        raise UsageError(f"{shown(str(path))}, {error}") from error


def _models(request: str, registry: Mapping[str, Entry]) -> Iterable[ModelSpec]:
    if not isinstance(request, str) or not request.strip():
        raise UsageError(f"{shown(request)} names no model; `zoobench models` lists them")
    name = _name_meant(request, registry)
    if name is not None:
        return [_runnable(name, registry[name])]
    if sources.looks_local(request):
        return [sources.from_path(request)]
    if any(c in request for c in "*?["):
        names = [n for n in registry if fnmatch.fnmatchcase(n, request)]
        if not names:
            raise UsageError(f"no model matches {shown(request)}; `zoobench models` lists the names")
        return [_runnable(n, registry[n]) for n in names]
    if "/" in request:
        return [_from_hub(request, registry)]
    raise UsageError(f"unknown model {shown(request)}; {_advice(request, registry)}")


def _name_meant(request: str, registry: Mapping[str, Entry]) -> str | None:
    """The entry's name that `request` spells exactly, or else spells alone but for case, '-' and '_'."""
    if request in registry:
        return request
    plain = _plain(request)
    plain = _plain(ALIASES.get(plain, plain))
    names = [name for name in registry if isinstance(name, str) and _plain(name) == plain]
    return names[0] if len(names) == 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[-_]", "", name.casefold())


def _advice(request: str, registry: Mapping[str, Entry]) -> str:
    near = difflib.get_close_matches(request.casefold(), [n for n in registry if isinstance(n, str)], n=2)
    if not near:
        return "`zoobench models` lists the names, and a Hub id has the form organisation/name"
    return f"did you mean {', '.join(map(repr, near))}?"


def _from_hub(request: str, registry: Mapping[str, Entry]) -> ModelSpec:
    hf_id, revision = sources.split_revision(request)
    known = {name: entry for name, entry in registry.items() if _said(entry, "hf_id") == hf_id}
    if len({_said(entry, "file") for entry in known.values()}) > 1:
        raise UsageError(f"{shown(hf_id)} holds several models; say which: {', '.join(map(str, known))}")
    for name, entry in known.items():
        model = _runnable(name, entry)
        if revision in (None, model.revision):
            return model
        # Another revision may hold other weights: what was published for the entry need not hold for it.
        return model.model_copy(update={"name": request, "revision": revision, "published": None})
    return sources.from_hub(request)


def _said(entry: Entry, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else getattr(entry, key, None)


def _runnable(name: str, entry: Entry) -> ModelSpec:
    """The valid entry, whose local files, if it names some, are there."""
    model = _checked(name, entry)
    if model.path is not None:
        try:
            sources.check_local(model.path, str(model.path), model.file)
        except UsageError as error:
            raise UsageError(f"registry entry {shown(name)}: {error}") from error
    return model


def _checked(name: str, entry: Entry) -> ModelSpec:
    """`entry` as a ModelSpec; a UsageError names the entry, the key, and what is wrong with it."""
    from pydantic import ValidationError

    from zoobench.spec import ModelSpec

    where = f"registry entry {shown(name)}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"{where}: a name takes letters, digits and _ . - + @ / and begins with none of the signs"
        )
    if not isinstance(entry, dict | ModelSpec):
        raise UsageError(f"{where} must be a table (in Python a dict), not {shown(entry)}")
    try:
        model = entry if isinstance(entry, ModelSpec) else _from_table(name, entry)
        if model.hf_id is not None:
            validate_hf_id(model.hf_id)
        if model.revision is not None:
            validate_revision(model.revision)
    except ValidationError as error:
        raise UsageError(f"{where}: {_in_words(error)}") from error
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if model.name != name:
        raise UsageError(
            f"{where}: key 'name' says {shown(model.name)}; make it {shown(name)} or leave it out"
        )
    if model.library != "fake" and not (model.hf_id or model.path or model.architecture):
        raise UsageError(
            f"{where} says nothing about where the model comes from; add hf_id, path or architecture"
        )
    return model


def _from_table(name: str, table: dict[str, Any]) -> ModelSpec:
    from zoobench.spec import ModelSpec

    keys = (*ModelSpec.model_fields, "img_size")
    for key in table:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(keys)}"
            raise UsageError(f"unknown key {shown(key)}; {advice}")
    values: dict[str, Any] = {"name": name, **table}
    # TOML knows neither tuples nor paths; all else must have its type already: opset = "17" is a mistake.
    if isinstance(values.get("input_shape"), list):
        values["input_shape"] = tuple(values["input_shape"])
    if isinstance(values.get("path"), str):
        path = Path(values["path"]).absolute()
        values["path"] = path
        values = {**sources.of_file(path), **values}
    return ModelSpec.model_validate(values, strict=True)


def _in_words(error: ValidationError) -> str:
    return "; ".join(map(_problem, error.errors(include_url=False)))


def _problem(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not detail["loc"]:
        return message
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] == "missing":
        return f"key {key!r} is missing"
    return f"key {key!r} {message}, not {shown(detail['input'])}"
