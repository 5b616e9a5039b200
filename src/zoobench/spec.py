"""The nouns that everybody shares: what can be run, what was asked, and what is run.

All of them are frozen pydantic models: they validate on the way in, cannot change on the way through, and
travel between processes as JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, computed_field, model_validator

from zoobench.terms import TASK_ALIASES, TOLERANCE, OptionValue, Precision, asked_label


class Frozen(BaseModel):
    """Base of all nouns: immutable, strict about unknown keys."""

    # Most commands use few of them: each is built when it is first used.
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)


class Published(Frozen):
    """A figure somebody else published, with the conditions under which it holds and where it stands."""

    top1: float | None = Field(
        default=None, ge=0, le=100, description="ImageNet-1k validation top-1, percent"
    )
    coco_map: float | None = Field(
        default=None, ge=0, le=100, description="COCO val2017 mAP at IoU 0.50 to 0.95, percent"
    )
    conditions: str
    source: str

    @model_validator(mode="after")
    def _holds_one_figure(self) -> Published:
        if (self.top1 is None) == (self.coco_map is None):
            raise ValueError("published must hold one figure: top1, or coco_map of a detector")
        return self

    @property
    def figure(self) -> float:
        """The one that it holds, percent."""
        figure = self.top1 if self.coco_map is None else self.coco_map
        assert figure is not None
        return figure


def _task_name(said: Any) -> Any:
    return TASK_ALIASES.get(said, said) if isinstance(said, str) else said


Task = Annotated[
    Literal["image_classification", "object_detection", "text_generation"], BeforeValidator(_task_name)
]


def _label_names(said: Any) -> Any:
    """TOML and JSON have lists only; a name that says nothing is a mistake."""
    if not isinstance(said, list | tuple):
        return said
    if not said or any(isinstance(name, str) and not name.strip() for name in said):
        raise ValueError("labels must hold one name for each output, none of them empty")
    return tuple(said)


Labels = Annotated[
    Literal["imagenet-1k", "imagenet-1k+background", "coco-80", "coco-91"] | tuple[str, ...],
    BeforeValidator(_label_names),
]
"""The classes of a model's outputs: ImageNet's thousand, with a background class before them, COCO's 80 in order, COCO's by
category id (0 to 90, some of them nobody's), or names in order."""
Library = Literal["timm", "transformers", "ultralytics", "onnx", "fake"]


Interpolation = Literal["nearest", "linear", "bilinear", "bicubic", "lanczos", "box", "hamming"]
"""Pillow's filters, which see all the pixels that one is made of; and `linear`, which looks at the four nearest, as OpenCV does."""


def _tuple(said: Any) -> Any:
    """TOML and JSON have lists only."""
    return tuple(said) if isinstance(said, list) else said


Pair = Annotated[tuple[int, int], BeforeValidator(_tuple)]
Floats = Annotated[tuple[float, ...], BeforeValidator(_tuple)]


_LEAST_STEP = 1e-6
"""What one grey level of 255 becomes at least; at most the inverse."""


class Preprocessing(Frozen):
    """How a decoded RGB picture becomes one item of a classifier's input, in this order.

    Resized, the centre cropped (or bordered, where the picture is smaller), multiplied by `scale`, shifted by `offset`,
    less `mean`, divided by `std`, and its channels put in `channels` order.
    """

    resize: Pair | None = Field(default=None, description="height and width; None: left as it is")
    fit: Literal["shortest", "longest", "squash"] = Field(
        default="shortest",
        description="what `resize` holds for: the edge that is the shorter in proportion, the longer one, or both",
    )
    interpolation: Interpolation = "bicubic"
    crop: Pair | None = Field(default=None, description="height and width of the centre; None: all of it")
    corner: Literal["round", "floor"] = Field(
        default="round",
        description="the crop's corner, where half a pixel is over: rounded half to even, or down",
    )
    border: Annotated[tuple[int, int, int], BeforeValidator(_tuple)] = Field(
        default=(0, 0, 0), description="grey levels beside a smaller picture"
    )
    scale: float = 1 / 255
    offset: float = 0.0
    mean: Floats = (0.485, 0.456, 0.406)
    std: Floats = (0.229, 0.224, 0.225)
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    source: str = Field(default="stated", description="where these numbers come from")

    @model_validator(mode="after")
    def _can_be_done(self) -> Preprocessing:
        for name, size in (("resize", self.resize), ("crop", self.crop)):
            if size is not None and not all(1 <= edge <= 8192 for edge in size):
                raise ValueError(f"{name} must hold a height and a width from 1 to 8192, not {list(size)}")
        channels = 1 if self.channels == "grey" else 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) < channels:
                raise ValueError(
                    f"{name} must hold {channels} numbers for {self.channels}, not {len(values)}"
                )
        if not all(math.isfinite(v) for v in (*self.mean, *self.std, self.scale, self.offset)) or not all(
            self.std
        ):
            raise ValueError("mean, std, scale and offset must be finite, and std not 0")
        steps = [abs(self.scale / std) for std in self.std]
        if not all(_LEAST_STEP <= step <= 1 / _LEAST_STEP for step in steps):
            raise ValueError(
                f"scale / std is {min(steps):g} to {max(steps):g}, which leaves nothing of a grey level or bursts it; "
                "usual is 1 / 255 over 0.2"
            )
        return self


class ModelSpec(Frozen):
    """An entry of the zoo. What is not known is None, never invented.

    `img_size` is accepted as a short form of `input_shape=(3, img_size, img_size)`.
    """

    name: str = Field(min_length=1, max_length=200)
    hf_id: str | None = Field(default=None, description="`organisation/name` on the Hugging Face Hub")
    revision: str | None = Field(
        default=None, description="branch, tag or commit; None means the default branch"
    )
    library: Library | None = Field(default=None, description="None: told from the model's own files")
    task: Task = "image_classification"
    input_shape: tuple[int, ...] | None = Field(
        default=None, description="one item without the batch axis, (channels, height, width)"
    )
    input_name: str = "pixel_values"
    opset: int = Field(default=17, ge=7, le=30)
    licence: str | None = None
    parameters: int | None = Field(default=None, gt=0)
    published: Published | None = None
    tolerance: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="max |difference| / max |reference| that fp32 may show; None: 1e-3",
    )
    latency_limits_ms: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    architecture: str | None = Field(
        default=None,
        description="timm architecture, or transformers class, from which random weights can be made",
    )
    config: dict[str, Any] | None = Field(
        default=None, description="transformers config numbers for use offline"
    )
    file: str | None = Field(
        default=None,
        description="the one file that holds the weights, where a repository or a folder holds several models; the rest is left",
    )
    path: Path | None = Field(default=None, description="a local folder in hub layout, or a local .onnx file")
    preprocessing: Preprocessing | None = Field(
        default=None, description="None: told by the model's own files; an .onnx file has none"
    )
    labels: Labels | None = Field(
        default=None, description="what the outputs stand for; None: told by the model's own files"
    )
    detector: Detector | None = Field(
        default=None, description="how a detector's outputs are read; None: told by its family, or inferred"
    )

    @property
    def fp32_tolerance(self) -> float:
        """max |difference| / max |reference| that fp32 may show: this model's own, else everybody's."""
        return self.tolerance or TOLERANCE[Precision.FP32]

    @model_validator(mode="before")
    @classmethod
    def _img_size_is_short_for_input_shape(cls, data: Any) -> Any:
        if isinstance(data, dict) and "img_size" in data:
            data = dict(data)
            size = data.pop("img_size")
            if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 8192:
                raise ValueError(f"img_size must be a whole number from 1 to 8192, not {size!r}")
            data.setdefault("input_shape", (3, size, size))
        return data

    @model_validator(mode="after")
    def _shape_is_possible(self) -> ModelSpec:
        if self.input_shape is not None and (
            not self.input_shape or any(not 1 <= n <= 65536 for n in self.input_shape)
        ):
            raise ValueError(f"input_shape must hold whole numbers from 1 to 65536, not {self.input_shape}")
        return self


class Case(Frozen):
    """One cell that was asked for. `id` is a stable hash of every field."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    model: str
    backend: str
    device: str = "cpu"
    precision: Precision = Precision.FP32
    batch: int = Field(default=1, ge=1)
    shape: tuple[int, ...] | None = Field(default=None, description="one item; None: the model's own")
    threads: int = Field(ge=1, description="intra-op threads of the runtime")
    scenario: str = "single_stream"
    options: dict[str, OptionValue] = Field(default_factory=dict)
    arm: str = "base"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def id(self) -> str:
        """First 16 hexadecimal digits of the sha256 of the canonical JSON of all the other fields."""
        return stable_hash(self.model_dump(mode="json", exclude={"id"}))[:16]

    @property
    def label(self) -> str:
        """How a person names the cell in a progress line."""
        named = f"{self.model} · {self.backend} · {self.precision.value} · batch {self.batch}"
        return named + asked_label(self.options)


def concurrency_of(case: Case) -> int:
    """How many clients ask at once."""
    return int(case.options.get("concurrency", 1))


class Group(Frozen):
    """Cases that answer one question (same model, batch, shape, scenario) and therefore take turns."""

    cases: tuple[Case, ...] = Field(min_length=1)

    @property
    def label(self) -> str:
        """How a person names the group."""
        return f"{self.cases[0].model} · batch {self.cases[0].batch}"


ArtifactFormat = Literal[
    "torch", "onnx", "openvino", "genai", "genai_cuda", "gguf", "openvino_text", "endpoint", "fake"
]


class Detector(Frozen):
    """How a detector's outputs are read as boxes: which output holds what, and what its numbers mean.

    One output may hold all: the box first, then objectness where there is one, then the scores (or one score and a class
    index, where `classes` names the same output too).
    """

    boxes: str = Field(description="output that holds the boxes, four numbers each")
    scores: str = Field(description="output that holds a score for each class, or one a box; may be `boxes`")
    classes: str | None = Field(
        default=None, description="output with each box's class index; None: there is a score for each class"
    )
    axes: Literal["rows", "columns"] = Field(
        default="rows",
        description="(batch, candidates, numbers), or (batch, numbers, candidates) as YOLOv8 has it",
    )
    box_format: Literal["cxcywh", "xyxy", "xywh"] = "cxcywh"
    box_unit: Literal["pixels", "share"] = Field(
        default="share", description="pixels of the input, or shares of its width and height"
    )
    activation: Literal["none", "sigmoid", "softmax"] = Field(
        default="sigmoid", description="what makes probabilities of the scores"
    )
    no_object: Literal["first", "last"] | None = Field(
        default=None,
        description="the class that means that there is no object; None: with softmax the last one, else none",
    )
    objectness: bool = Field(
        default=False, description="a probability between box and scores, by which they are multiplied"
    )
    suppress: bool = Field(
        default=False, description="whether boxes that overlap must be suppressed (NMS), class by class"
    )
    ordered: bool = Field(
        default=True,
        description="whether candidate i means the same on every runtime; false where the graph itself chooses the best ones",
    )
    source: str = Field(default="stated", description="where this comes from")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that it reads, each once."""
        return tuple(dict.fromkeys(name for name in (self.boxes, self.scores, self.classes) if name))

    @property
    def nothing(self) -> Literal["first", "last"] | None:
        """Where the class stands that means that there is no object; None: there is no such class."""
        return self.no_object or ("last" if self.activation == "softmax" else None)


class Decoder(Frozen):
    """What a decoder-only language model is made of, as far as speed and memory depend on it."""

    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    context_length: int

    def kv_bytes(self, tokens: int, *, value_bytes: int, batch: int = 1) -> int:
        """Of the keys and values of so many tokens a sequence: 2 · layers · kv heads · head dim · bytes, each."""
        return 2 * self.layers * self.kv_heads * self.head_dim * value_bytes * tokens * batch


class Validation(Frozen):
    """How an artifact compared with its reference when it was run on the check inputs.

    `max_rel` is max |difference| / max |reference|: relative to the output's scale, not element by element.
    """

    reference: str = Field(description="what produced the reference outputs, such as 'pytorch eager fp32'")
    runtime: str = Field(description="what ran the artifact, with its version")
    passed: bool
    tolerance: float | None = Field(description="None: of integers only that they are finite")
    max_abs: float
    max_rel: float
    cosine: float = Field(description="the smallest cosine similarity over the check items")
    top1_agreement: float | None = Field(
        default=None,
        description="share of items with equal argmax, among those whose reference margin allows it",
    )
    batches: tuple[int, ...]


class Artifact(Frozen):
    """What is run: a folder whose content sha256 is its identity. `manifest.json` in it is this object."""

    path: Path = Field(exclude=True, description="the folder; where it lies is not part of what it is")
    format: ArtifactFormat
    sha256: str = Field(
        description="over the names and bytes of the content files, manifest and reference left out"
    )
    size_bytes: int = Field(ge=0, description="sum over the content files")
    file: str | None = Field(default=None, description="the file to open, relative to the folder")
    model: str
    hf_id: str | None = None
    commit: str | None = Field(
        default=None,
        description="of the Hub's repository; of local files the start of their content's sha256",
    )
    weights: Literal["pretrained", "random", "local", "served"] = "pretrained"
    library: Library | None = None
    architecture: str | None = None
    task: Task = "image_classification"
    input_name: str = "pixel_values"
    input_shape: tuple[int, ...] = (3, 224, 224)
    outputs: tuple[str, ...] = Field(default=("logits",), description="names, in the graph's order")
    detector: Detector | None = Field(default=None, description="of an object detector; None: it is none")
    decoder: Decoder | None = Field(default=None, description="of a language model; None: it is none")
    dynamic_batch: bool = True
    fixed_batch: int | None = None
    opset_asked: int | None = None
    opset: int | None = None
    export_rung: str | None = Field(default=None, description="which step of the export ladder made it")
    validation: Validation | None = None
    parameters: int | None = None
    flops: int | None = Field(default=None, description="per item, multiply and add counted as two")
    bytes_moved: int | None = Field(
        default=None, description="weights + one item's input and output, in bytes"
    )
    tolerance: float = TOLERANCE[Precision.FP32]
    precision: Precision = Field(
        default=Precision.FP32, description="of what is stored; a runtime may convert it when it loads"
    )
    preprocessing: Preprocessing | None = None
    labels: Labels | None = None
    calibration: str | None = Field(
        default=None, description="the pictures, or the noise, that set int8's ranges"
    )
    calibrated_on_noise: bool = False
    ladder: dict[str, Any] | None = Field(
        default=None, description="every recipe that was tried for it, see `zoobench.prepare.ladder.Ladder`"
    )
    derived_from: str | None = Field(
        default=None, description="sha256 of the fp32 artifact that it was made of"
    )
    recipe: dict[str, Any] = Field(default_factory=dict)
    made_with: dict[str, str] = Field(default_factory=dict)
    made_s: float | None = Field(
        default=None,
        description="seconds that exporting or building it, and validating it, took; with what it was made of, and the download, "
        "where they were not there",
    )
    notes: tuple[str, ...] = ()

    @property
    def meaning_sha256(self) -> str:
        """Over what is no part of the content and yet decides what it gets right: pre-processing and labels."""
        how = self.preprocessing.model_dump(mode="json") if self.preprocessing else None
        return stable_hash([how, list(self.labels) if isinstance(self.labels, tuple) else self.labels])


def weights_bytes(artifact: Artifact, precision: Precision) -> int:
    """In memory: PyTorch converts what is stored to the case's precision, others keep the file as it is."""
    if artifact.format != "torch" or artifact.parameters is None:
        return artifact.size_bytes
    return artifact.parameters * _VALUE_BYTES.get(precision, 4)


def cache_bytes(artifact: Artifact, case: Case) -> int:
    """Keys and values of the longest request of every client, as wide as the precision's arithmetic; 0: no language model."""
    if artifact.decoder is None:
        return 0
    length = int(case.options["prompt_tokens"]) + int(case.options["new_tokens"])
    width = _VALUE_BYTES.get(case.precision, 4)
    return artifact.decoder.kv_bytes(length, value_bytes=width, batch=case.batch * concurrency_of(case))


_VALUE_BYTES = {Precision.BF16: 2, Precision.FP16: 2}


class DataInfo(Frozen):
    """Which pictures an accuracy was measured on."""

    label: str
    identity: dict[str, Any]
    samples: int
    seed: int
    ids_sha256: str
    content_sha256: str
    labels_sha256: str = Field(description="over the class names, and which picture is of which")
    boxes: bool = Field(
        default=False, description="whether the pictures have boxes, for detectors, and no class"
    )
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """An accuracy pass that is due.

    Attributes:
        pack: folder of the pictures, see `zoobench.data.pack`.
        data: what the pack holds.
        outputs: folder in which the raw outputs of reference passes are kept.
        reference: the fp32 artifact whose outputs are the reference; None: this case is the reference.
        origin: of a detector's reference on another runtime than PyTorch: PyTorch's fp32, which it is held against.
        max_drop: how much of top-1 may be lost against the reference, a share.
        published: percent, of the catalog: top-1, or COCO's mAP of a detector.
    """

    pack: str
    data: DataInfo
    outputs: str
    reference: Artifact | None = None
    origin: tuple[Case, Artifact] | None = None
    max_drop: float = 0.01
    published: float | None = None


class TextTask(Frozen):
    """A task of lm-evaluation-harness that was asked for."""

    name: str = Field(description="as the harness knows it, or the path of a YAML file")
    limit: int | None = Field(default=None, description="questions; None: all")
    sha256: str | None = Field(
        default=None, description="of the file and those that it names; None: the harness's own task"
    )

    @property
    def identity(self) -> tuple[str, int | None]:
        """Equal where the same is asked, wherever its file lies."""
        return self.sha256 or self.name, self.limit


@dataclass(frozen=True)
class Seat:
    """A case with what it needs to run.

    Attributes:
        provider: under which name the evidence must show the graph; None: any on the case's device.
        inputs: an .npz file with the tensors to time, None for the task's own.
        evaluation: the accuracy pass that follows, None for none.
        reference: fp32 of the same runtime, which a language model's answers are held against; None: it is that itself.
        tasks: of lm-evaluation-harness, which follow.
        pack: folder of pictures on which a detector's stages are timed; None: some are made.
    """

    case: Case
    artifact: Artifact
    provider: str | None = None
    inputs: str | None = None
    evaluation: Evaluation | None = None
    reference: Artifact | None = None
    tasks: tuple[TextTask, ...] = ()
    pack: str | None = None


HUB_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN")
ENDPOINT_SECRET = "OPENAI_API_KEY"  # noqa: S105
"""Environment variable with the token of a server, sent as a bearer token."""
SECRETS = (*HUB_SECRETS, ENDPOINT_SECRET)
"""Environment variables that no process gets which measures or tries a runtime, but for what it must send itself."""

NO_TOKENIZER = "its tokenizer is not here: ids are numbers and no text"
"""A note of a language model's artifact."""

REFERENCE_FILE = "reference.npz"
"""In every artifact's folder: the parts of the outputs that are compared, one row for each of the task's check inputs, float32."""

MANIFEST_FILE = "manifest.json"


def stable_hash(value: Any) -> str:
    """sha256 of the canonical JSON of `value`: sorted keys, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
