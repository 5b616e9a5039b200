"""From a model's files, or from a seed, to a torch module and the torch artifact that the others derive from.

A torch artifact is `model.safetensors` with `config.json`: all that is needed to rebuild the module without
the Hub. The ONNX artifact is exported from it, so all runtimes run the same weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoobench.backends.torch_module import (
    CONFIG_FILE,
    DETECTOR_OUTPUTS,
    DETECTS,
    WEIGHTS_FILE,
    auto_model,
    build_module,
    ready,
)
from zoobench.errors import PrepareError, explained
from zoobench.prepare.calibrate import calibrate, require_alive
from zoobench.prepare.detectors import facts_of, family_of
from zoobench.prepare.eager import reference_outputs
from zoobench.prepare.preprocessing import assumed, coco_labels, of_timm, of_transformers
from zoobench.prepare.random_detectors import liven_queries, spread_scores
from zoobench.spec import Detector, Labels, ModelSpec, Preprocessing
from zoobench.tasks import open_task
from zoobench.terms import DETECTION

if TYPE_CHECKING:
    from zoobench.hub.snapshots import Snapshot

_CALIBRATION_ITEMS = 16
_TIMM_ORIGINS = frozenset(
    {"file", "url", "hf_hub_id", "hf_hub_filename", "source", "state_dict", "custom_load"}
)


@dataclass(frozen=True)
class LoadedModel:
    """A module that is ready to run.

    Attributes:
        module: torch module, evaluation mode, fp32, CPU: (batch, *input_shape) → a tensor or several.
        library: which library's code it is.
        architecture: timm or ultralytics architecture, or transformers class.
        config: what `build_module` rebuilds it from, JSON values only.
        input_shape: one item, (channels, height, width).
        weights: where its numbers come from.
        preprocessing: how it wants its pictures.
        outputs: names of what the module returns, in order.
        detector: how an object detector's outputs are read.
        labels: what the classes are, where the library knows it otherwise than from the configuration.
    """

    module: Any
    library: Literal["timm", "transformers", "ultralytics"]
    architecture: str
    config: dict[str, Any]
    input_shape: tuple[int, ...]
    weights: Literal["pretrained", "random", "local"]
    preprocessing: Preprocessing
    outputs: tuple[str, ...] = ("logits",)
    detector: Detector | None = None
    labels: Labels | None = None


def load_model(spec: ModelSpec, snapshot: Snapshot | None, *, seed: int = 0) -> LoadedModel:
    """Load the weights of `snapshot`, or without one make seeded and calibrated random weights.

    Args:
        spec: the model; `input_shape` None means the shape that its files name.
        snapshot: the model's files, None for random weights.
        seed: of the random weights; the same seed gives the same bytes on the same machine.

    Raises:
        PrepareError: unknown architecture, no model of the task, files that do not fit, or no architecture
            known to make random weights for.
    """
    if snapshot is None:
        return _random(spec, seed)
    if spec.library == "ultralytics":
        return _load_yolo(spec, snapshot)
    files = _read_config(snapshot.folder, spec.name)
    library = spec.library or ("timm" if "pretrained_cfg" in files else "transformers")
    if library == "timm":
        return _load_timm(spec, snapshot, files)
    if library == "transformers":
        return _load_transformers(spec, snapshot)
    raise PrepareError(f"{spec.name}: no PyTorch weights are loaded for library {library!r}")


def architecture_of(spec: ModelSpec) -> str | None:
    """The architecture that random weights can be made for; `timm/<architecture>.<tag>` names its own."""
    if spec.architecture:
        return spec.architecture
    owner, _, name = (spec.hf_id or "").partition("/")
    if owner == "timm" and name and spec.library in (None, "timm"):
        return name
    model_type = (spec.config or {}).get("model_type")
    return str(model_type) if model_type else None


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PrepareError(f"{name}: no config.json in {folder}; a model folder needs one") from None
    except ValueError as error:
        raise PrepareError(f"{name}: config.json is not JSON ({error}); download the model again") from error
    if not isinstance(config, dict):
        raise PrepareError(f"{name}: config.json does not hold an object; download the model again")
    return config


def _origin(spec: ModelSpec) -> Literal["pretrained", "local"]:
    return "local" if spec.path else "pretrained"


def _load_timm(spec: ModelSpec, snapshot: Snapshot, files: dict[str, Any]) -> LoadedModel:
    architecture = str(files.get("architecture", ""))
    cfg = files.get("pretrained_cfg")
    cfg = dict(cfg) if isinstance(cfg, dict) else {}
    cfg["num_classes"] = files.get("num_classes", cfg.get("num_classes", 1000))
    kwargs = {**(files.get("model_args") or {}), **_timm_input(spec, cfg, architecture)}
    config = _timm_config(architecture, cfg, kwargs)
    with explained(f"{spec.name}: the files in {snapshot.folder} are no timm model that can be loaded"):
        module = _load_timm_weights(config, cfg, snapshot)
    return _loaded(spec, module, "timm", architecture, config, _origin(spec))


def _load_timm_weights(config: dict[str, Any], cfg: dict[str, Any], snapshot: Snapshot) -> Any:
    """Through timm's own loader, because it brings old checkpoints into the shape of today's code."""
    import timm

    source = {"source": "file", "file": str(_weights_file(snapshot)), "hf_hub_id": None, "url": None}
    return timm.create_model(
        config["architecture"],
        pretrained=True,
        pretrained_cfg={**_known_to_timm(cfg), **source, "custom_load": False},
        **config["kwargs"],
    )


def _weights_file(snapshot: Snapshot) -> Path:
    """The one file of weights; timm reads a pickle with `weights_only=True`."""
    for name in (WEIGHTS_FILE, "pytorch_model.bin"):
        if name in snapshot.files:
            return snapshot.folder / name
    raise PrepareError(f"its weights must lie in one file, {WEIGHTS_FILE}")


def _known_to_timm(cfg: dict[str, Any]) -> dict[str, Any]:
    """Hub files may carry keys of a newer or an older timm."""
    from dataclasses import fields

    from timm.models import PretrainedCfg

    return {
        f.name: cfg[f.name] for f in fields(PretrainedCfg) if f.name in cfg and f.name not in _TIMM_ORIGINS
    }


def _timm_config(architecture: str, cfg: dict[str, Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    import timm

    name = architecture.partition(".")[0]
    if not timm.is_model(name):
        raise PrepareError(
            f"timm {timm.__version__} knows no architecture {name!r}; upgrade timm, or check the name"
        )
    if cfg.get("num_classes") == 0:
        raise PrepareError(
            f"{architecture} has no classifier (num_classes is 0): it is not an image classifier"
        )
    return {"library": "timm", "architecture": name, "pretrained_cfg": _known_to_timm(cfg), "kwargs": kwargs}


def _timm_input(spec: ModelSpec, cfg: dict[str, Any], architecture: str) -> dict[str, Any]:
    """What `create_model` must be told when the shape asked is not the one that the weights were made for."""
    native = tuple(cfg.get("input_size") or (3, 224, 224))
    asked = spec.input_shape or native
    if len(asked) != 3:
        raise PrepareError(f"{spec.name}: {architecture} takes (channels, height, width), not {asked}")
    told: dict[str, Any] = {}
    if asked[0] != native[0]:
        told["in_chans"] = asked[0]
    if asked[1:] != native[1:] and cfg.get("fixed_input_size"):
        told["img_size"] = list(asked[1:])
    return told


def _load_transformers(spec: ModelSpec, snapshot: Snapshot) -> LoadedModel:
    import torch

    detects = spec.task == DETECTION
    what = "object detector" if detects else "image classifier"
    with explained(f"{spec.name}: the files in {snapshot.folder} are no {what} of transformers"):
        model, report = auto_model(DETECTS if detects else "").from_pretrained(
            snapshot.folder,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            use_safetensors=any(name.endswith(".safetensors") for name in snapshot.files),
            weights_only=True,
            dtype=torch.float32,
        )
    if missing := sorted(report["missing_keys"]):
        raise PrepareError(f"{spec.name}: {len(missing)} weights are missing ({missing[0]}, …): no {what}")
    return _from_transformers(spec, model, _origin(spec), snapshot.folder)


def _from_transformers(
    spec: ModelSpec, model: Any, weights: Literal["pretrained", "random", "local"], folder: Path | None
) -> LoadedModel:
    architecture, config = type(model).__name__, _transformers_config(model)
    if architecture.endswith(DETECTS):
        return _detector(spec, model, config, weights, folder)
    preprocessor = folder / "preprocessor_config.json" if folder else None
    shape = _transformers_shape(
        spec, model.config, preprocessor if preprocessor and preprocessor.is_file() else None
    )
    return _loaded(spec, model, "transformers", architecture, config, weights, shape, folder)


def _detector(
    spec: ModelSpec,
    model: Any,
    config: dict[str, Any],
    weights: Literal["pretrained", "random", "local"],
    folder: Path | None,
) -> LoadedModel:
    with explained(f"{spec.name}: its preprocessor_config.json cannot be read"):
        facts = facts_of(spec, model.config, folder)
    return LoadedModel(
        module=ready(model, "transformers"),
        library="transformers",
        architecture=config["architecture"],
        config={**config, "input_shape": list(facts.input_shape)},
        input_shape=facts.input_shape,
        weights=weights,
        preprocessing=facts.preprocessing,
        outputs=DETECTOR_OUTPUTS,
        detector=spec.detector or facts.detector,
        labels=facts.labels,
    )


def _load_yolo(spec: ModelSpec, snapshot: Snapshot) -> LoadedModel:
    from zoobench.prepare import yolo

    (file,) = snapshot.files
    model, config, names, edge = yolo.load(spec, snapshot.folder / file)
    if spec.input_shape is None:
        spec = spec.model_copy(update={"input_shape": (3, edge, edge)})
    return _settled(_of_yolo(spec, model, config, _origin(spec), names))


def _of_yolo(
    spec: ModelSpec,
    model: Any,
    config: dict[str, Any],
    weights: Literal["pretrained", "random", "local"],
    names: tuple[str, ...],
) -> LoadedModel:
    from zoobench.prepare import yolo

    shape = yolo.shape_of(spec)
    return LoadedModel(
        module=ready(model, "ultralytics"),
        library="ultralytics",
        architecture=config["architecture"],
        config={**config, "input_shape": list(shape)},
        input_shape=shape,
        weights=weights,
        preprocessing=yolo.letterboxed(shape),
        outputs=yolo.OUTPUTS,
        detector=spec.detector or yolo.detector(),
        labels=coco_labels(names),
    )


def _transformers_config(model: Any) -> dict[str, Any]:
    numbers = model.config.to_dict()
    for machine_dependent in ("_name_or_path", "transformers_version"):
        numbers.pop(machine_dependent, None)
    numbers["architectures"] = [type(model).__name__]
    return {"library": "transformers", "architecture": type(model).__name__, "config": numbers}


def _transformers_shape(spec: ModelSpec, config: Any, preprocessor: Path | None) -> tuple[int, ...]:
    """The shape asked, else what the pre-processor produces, else the size in the model's configuration."""
    if spec.input_shape:
        return spec.input_shape
    channels = int(getattr(config, "num_channels", 3))
    size: Any = None
    if preprocessor:
        told = json.loads(preprocessor.read_text(encoding="utf-8"))
        size = (told.get("do_center_crop") and told.get("crop_size")) or told.get("size")
    if isinstance(size, dict):
        edge = size.get("shortest_edge")
        size = (size.get("height", edge), size.get("width", edge))
    size = size or getattr(config, "image_size", None)
    pair = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
    if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        raise PrepareError(f"{spec.name}: its files name no image size; give one (img_size = 224)")
    return (channels, *pair)


def _random(spec: ModelSpec, seed: int) -> LoadedModel:
    import torch

    architecture = architecture_of(spec)
    if architecture is None:
        raise PrepareError(
            f"{spec.hf_id or spec.name!r} has no known architecture to build random weights for; "
            f"name one (architecture = …), or use the Hub or a local folder"
        )
    task = open_task(spec.task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _made(spec, architecture)
        inputs = task.check_inputs(model.input_shape)
        with explained(f"{spec.name}: {model.architecture} does not run on {model.input_shape}"):
            if model.detector is None:
                calibrate(model.module, task.check_inputs(model.input_shape, _CALIBRATION_ITEMS))
            else:
                calibrate(model.module, inputs)
                liven_queries(model.module)
                spread_scores(model.module, inputs, model.detector, model.outputs)
            if model.library == "ultralytics":
                model = _settled(model)
            outputs = reference_outputs(model.module, inputs, model.outputs)
    for output in outputs.values():
        require_alive(output, spec.name)
    return model


def _made(spec: ModelSpec, architecture: str) -> LoadedModel:
    """As its library initialises it."""
    if spec.library == "ultralytics":
        from zoobench.prepare import yolo

        blank, config = yolo.blank(spec)
        return _of_yolo(spec, blank, config, "random", yolo.unnamed(config["classes"]))
    if spec.library == "transformers" or "model_type" in (spec.config or {}):
        return _random_transformers(spec, architecture)
    return _random_timm(spec, architecture)


def _settled(model: LoadedModel) -> LoadedModel:
    """YOLO as it runs; random weights need its BatchNorm until they are calibrated."""
    from zoobench.backends.torch_yolo import settled

    return replace(model, module=ready(settled(model.module, model.input_shape), "ultralytics"))


def _random_timm(spec: ModelSpec, architecture: str) -> LoadedModel:
    import timm

    bare, _, tag = architecture.partition(".")
    # A tag that timm does not list still names its architecture.
    known = tag and architecture in timm.list_pretrained(f"{bare}.*")
    found = timm.get_pretrained_cfg(architecture if known else bare)
    cfg = found.to_dict() if found else {}
    config = _timm_config(architecture, cfg, _timm_input(spec, cfg, architecture))
    with explained(f"{spec.name}: timm cannot build {architecture}"):
        module = build_module(config)
    return _loaded(spec, module, "timm", config["architecture"], config, "random")


def _random_transformers(spec: ModelSpec, architecture: str) -> LoadedModel:
    import torch
    import transformers

    numbers = dict(spec.config or {})
    model_type = numbers.pop("model_type", None)
    with explained(f"{spec.name}: transformers cannot build {architecture} from its configuration"):
        if model_type is None:
            model_type = getattr(transformers, architecture).config_class.model_type
        config = transformers.AutoConfig.for_model(model_type, **numbers)
        if spec.task == DETECTION:
            family_of(spec, config.model_type)
        made = auto_model(DETECTS if spec.task == DETECTION else "")
        model = made.from_config(config, dtype=torch.float32)
    return _from_transformers(spec, model, "random", None)


def _loaded(
    spec: ModelSpec,
    model: Any,
    library: Literal["timm", "transformers"],
    architecture: str,
    config: dict[str, Any],
    weights: Literal["pretrained", "random", "local"],
    input_shape: tuple[int, ...] | None = None,
    folder: Path | None = None,
) -> LoadedModel:
    if input_shape is None:
        input_shape = spec.input_shape or tuple(config["pretrained_cfg"].get("input_size") or (3, 224, 224))
    found: Preprocessing | None
    if library == "timm":
        found = of_timm(config["pretrained_cfg"], input_shape)
    else:
        with explained(f"{spec.name}: its preprocessor_config.json cannot be read"):
            found = of_transformers(str(config["config"].get("model_type")), folder, input_shape)
    return LoadedModel(
        module=ready(model, library),
        library=library,
        architecture=architecture,
        config={**config, "input_shape": list(input_shape)},
        input_shape=input_shape,
        weights=weights,
        preprocessing=found or assumed(input_shape),
    )


def save_torch_artifact(model: LoadedModel, folder: Path) -> None:
    """Write `model.safetensors` and `config.json` into `folder`."""
    from safetensors.torch import save_file

    bare = model.module.model if model.library == "transformers" else model.module
    # Copies: safetensors refuses tensors that share memory, and views would store their whole storage.
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in bare.state_dict().items()}
    save_file(tensors, folder / WEIGHTS_FILE)
    text = json.dumps(model.config, indent=1, sort_keys=True, allow_nan=False)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
