"""The escalation ladder: recipe after recipe, until an INT8 file is both faithful and fast on this CPU.

Quantizing may make a model slower, or wrong. So every rung is run beside the fp32 file and judged by what came out.
First the rungs that change which nodes are quantized, since they decide the speed; then those that win back fidelity,
each on top of the best rung so far.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from zoobench.errors import PrepareError, explained, first_line
from zoobench.prepare import onnx_graph
from zoobench.prepare.detection_tail import HEAD, TAIL
from zoobench.prepare.fidelity import Boxes, Fidelity, Top1
from zoobench.prepare.quantize import Quantized, Recipe, calibrate_ranges, make_ready, write_quantized
from zoobench.prepare.validate import run_in_batches
from zoobench.spec import Frozen
from zoobench.terms import Interval

if TYPE_CHECKING:
    import numpy as np

    from zoobench.tasks import Task

PLAIN = Recipe(name="plain")
PLAIN_DETECTOR = Recipe(name="plain", exclude=(TAIL,))
Rungs = tuple[tuple[str, dict[str, Any]], ...]
RUNGS: Rungs = (
    ("plain", {}),
    # SiLU stays in bytes from convolution to convolution. In fp32 its Sigmoid and Mul cost three conversions, and the
    # Q/DQ pairs keep ONNX Runtime from fusing them into the one node that the fp32 file enjoys.
    ("mul_sigmoid", {"extra_op_types": ("Mul", "Sigmoid")}),
    ("without_squeeze_excite", {"exclude": ("squeeze_excite",)}),
    # Early on pictures are large and channels few: there a convolution gains little on bytes, and what stands between two
    # of them (SiLU above all, two passes where floats take one fused) costs more.
    ("before_stride_8", {"exclude": ("before_stride_8",)}),
    ("before_stride_16", {"exclude": ("before_stride_16",)}),
    ("percentile", {"method": "percentile"}),
    ("u8u8", {"weights": "u8"}),
    ("without_first_last", {"exclude": ("first_last",)}),
    ("without_worst", {}),
    ("conv_gemm", {"op_types": ("Conv", "Gemm"), "extra_op_types": ()}),
)
"""Name and what it changes in the best recipe before it. `exclude` adds to what is left out already."""

DETECTOR_RUNGS: Rungs = (
    # SiLU as in `mul_sigmoid`; and on the way detectors split, join and enlarge maps of several sizes, which is free in bytes.
    ("chain", {"extra_op_types": ("Mul", "Sigmoid", "Concat", "Resize", "Split")}),
    ("plain", {"extra_op_types": ()}),
    ("before_stride_8", {"exclude": ("before_stride_8",)}),
    ("before_stride_16", {"exclude": ("before_stride_16",)}),
    ("without_head", {"exclude": (HEAD,)}),
    # What is found makes rare and large activations: of more percentiles than this a detector loses its surest boxes first.
    ("percentile", {"method": "percentile", "percentile": 99.999}),
    ("u8u8", {"weights": "u8"}),
    ("without_first_last", {"exclude": ("first_last",)}),
    ("without_worst", {}),
    ("conv_gemm", {"op_types": ("Conv", "Gemm"), "extra_op_types": ()}),
)
"""`RUNGS` of detectors, from `PLAIN_DETECTOR` on: none touches what makes boxes and scores, see `zoobench.prepare.detection_tail`."""

_WORST = "without_worst"
_WORST_SHARE = 0.05
_WORST_ITEMS = 2
_ROUNDS, _MOST_ROUNDS = 15, 61
_WARM_UP = 3
_SHORTEST_TURN_S = 0.02


class Rung(Frozen):
    """One recipe that was tried. Figures are None where it failed."""

    recipe: Recipe
    file: str | None = Field(default=None, description="name of its file in the ladder's folder")
    speed: float | None = Field(default=None, description="fp32's time ÷ its time; above 1 it is faster")
    speed_interval: Interval | None = Field(default=None, description="95%, of the median over rounds")
    agreement: float | None = Field(
        default=None,
        description="share of judged items with fp32's top-1 class, every item counted; of a detector the share of fp32's boxes that "
        "are found again, None where fp32 finds none",
    )
    cosine: float | None = Field(
        default=None, description="smallest cosine to fp32's outputs, of all items and parts"
    )
    size_bytes: int | None = None
    quantized_nodes: int | None = None
    float_nodes: int | None = None
    same_as: str | None = Field(
        default=None, description="an earlier rung that made the same file; its figures stand here again"
    )
    notes: tuple[str, ...] = ()
    error: str | None = None
    seconds: float = Field(description="that it took, calibration and measuring included")


class Ladder(Frozen):
    """All rungs that were tried, in order, and the one that was chosen."""

    rungs: tuple[Rung, ...]
    chosen: int | None = Field(description="index into `rungs`; None when every rung failed")
    judged: int | None = Field(default=None, description="items that agreement and cosine are of")
    met: bool = Field(description="whether the chosen rung is as faithful and as fast as was asked")
    left_out: tuple[str, ...] = Field(
        default=(),
        description="names of the nodes that the chosen recipe excludes, in the order in which they run",
    )
    alike: Literal["classes", "boxes"] = Field(default="classes", description="what agreement is a share of")
    words: str = Field(description="what was chosen and why, or what fell short")


def climb(
    source: Path,
    folder: Path,
    calibration: Iterable[np.ndarray],
    judge_inputs: np.ndarray,
    *,
    threads: int,
    batch: int = 1,
    min_agreement: float = 0.99,
    min_cosine: float = -1.0,
    min_speed: float = 1.0,
    budget_s: float = 600.0,
    task: Task | None = None,
    on_rung: Callable[[Rung], None] = lambda _: None,
) -> Ladder:
    """Try rung after rung and stop at the first that meets both bounds.

    If none does, the best is chosen: agreement first (those that reach `min_agreement` count as equal there), then
    speed. Files of all rungs stay in `folder`.

    Args:
        source: an fp32 ONNX model with one input.
        folder: gets one file a rung, `NAME.onnx`; it is made.
        calibration: float32 batches, shape (items, *input_shape); read once for each calibration method, so a
            list and not a generator.
        judge_inputs: float32, shape (items, *input_shape), none of them in `calibration`.
        threads: intra-op threads of both sessions while speed is measured.
        batch: items in a timed call; a model with a fixed batch is timed with that.
        min_agreement: share of `judge_inputs` with fp32's top-1 class that suffices.
        min_cosine: smallest cosine to fp32's outputs that suffices.
        min_speed: fp32's time ÷ int8's time that suffices; the whole interval must reach it.
        budget_s: seconds after which no further rung begins; one that has begun is finished.
        task: of a detector: `DETECTOR_RUNGS` are climbed, and its parts and its agreement judge; None: the first output's top-1.
        on_rung: told of each rung when it is done.

    Raises:
        PrepareError: `source` cannot be read or run. A rung that fails is a rung with its error.
    """
    if iter(calibration) is calibration:
        raise PrepareError("calibration is read once a rung; give a list of batches, not a generator")
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with explained(f"{source.name} does not run on the inputs that judge it"):
        judge = _Judge(source, judge_inputs, threads=threads, batch=batch, min_speed=min_speed, task=task)
    workshop = _Workshop(source, folder, calibration, judge_inputs)
    climbed = _Climb(min_agreement, min_speed, min_cosine, judge.fidelity)
    rungs, start = (RUNGS, PLAIN) if task is None else (DETECTOR_RUNGS, PLAIN_DETECTOR)
    try:
        spent = _go_up(rungs, start, climbed, workshop, judge, started + budget_s, on_rung)
    finally:
        workshop.close()
    untried = (
        f"; the budget of {budget_s:g} s ended before {len(rungs) - len(climbed.rungs)} more" if spent else ""
    )
    return climbed.ladder(climbed.chosen, len(judge_inputs), untried)


def _go_up(
    rungs: Rungs,
    start: Recipe,
    climbed: _Climb,
    workshop: _Workshop,
    judge: _Judge,
    end: float,
    on_rung: Callable[[Rung], None],
) -> bool:
    """Add rungs until one meets both bounds, none is left, or (True) the monotonic clock has passed `end`."""
    for name, change in rungs:
        begun = time.monotonic()
        if climbed.met:
            return False
        if begun >= end:
            return True
        rung = _tried(_recipe(name, change, climbed.base, start), workshop, judge, climbed, begun)
        climbed.rungs.append(rung)
        on_rung(rung)
    return False


@dataclass(frozen=True)
class OpenvinoRung:
    """One way to have NNCF quantize; see `quantize_openvino`."""

    name: str
    leave_out: tuple[str, ...] = ()
    extremes: bool = False


OPENVINO_RUNGS = (
    OpenvinoRung("nncf"),
    # NNCF has been seen to bend depthwise convolutions after a computed padding (a cosine of 0.72 instead of 0.99).
    OpenvinoRung("nncf_without_depthwise", ("GroupConvolution",)),
)
DETECTOR_OPENVINO_RUNGS = (
    OpenvinoRung("nncf", (TAIL,)),
    # The mean over pictures of what each reaches is less than what a picture reaches on which something is found.
    OpenvinoRung("nncf_extremes", (TAIL,), extremes=True),
    OpenvinoRung("nncf_without_head", (HEAD,), extremes=True),
)


def climb_openvino(
    source: Path,
    folder: Path,
    calibration: Iterable[np.ndarray],
    judge_inputs: np.ndarray,
    *,
    threads: int,
    batch: int = 1,
    min_agreement: float = 0.99,
    min_cosine: float = 0.9,
    min_speed: float = 1.0,
    task: Task | None = None,
    on_rung: Callable[[Rung], None] = lambda _: None,
) -> Ladder:
    """`climb` for OpenVINO, whose files NNCF makes: `NAME.xml` and `NAME.bin` in `folder`. All rungs are tried.

    Args:
        min_cosine: smallest cosine to fp32's outputs that suffices. On few pictures the class alone says little.

    Raises:
        PrepareError: as `climb` does; or nncf or openvino is not installed.
    """
    from zoobench.prepare.quantize_openvino import open_for_judging

    folder.mkdir(parents=True, exist_ok=True)
    judge = _Judge(
        source,
        judge_inputs,
        threads=threads,
        batch=batch,
        min_speed=min_speed,
        open_session=open_for_judging,
        task=task,
    )
    climbed = _Climb(min_agreement, min_speed, min_cosine, judge.fidelity)
    for asked in OPENVINO_RUNGS if task is None else DETECTOR_OPENVINO_RUNGS:
        rung = _tried_openvino(asked, source, folder, calibration, judge, climbed)
        climbed.rungs.append(rung)
        on_rung(rung)
    return climbed.ladder(climbed.nearest, len(judge_inputs))


def _tried_openvino(
    asked: OpenvinoRung,
    source: Path,
    folder: Path,
    calibration: Iterable[np.ndarray],
    judge: _Judge,
    climbed: _Climb,
) -> Rung:
    from zoobench.prepare.quantize_openvino import quantize_openvino

    begun = time.monotonic()
    recipe, file = Recipe(name=asked.name, op_types=(), exclude=asked.leave_out), folder / f"{asked.name}.xml"
    try:
        made = quantize_openvino(
            source, file, calibration, leave_out=asked.leave_out, extremes=asked.extremes
        )
        rung = climbed.rung_of(recipe, file, made)
        return rung.model_copy(update={**judge.figures(file), "seconds": time.monotonic() - begun})
    except Exception as error:  # noqa: BLE001 - whatever a library raises, the next rung may do better
        return Rung(recipe=recipe, error=first_line(error), seconds=time.monotonic() - begun)


def _recipe(name: str, change: dict[str, Any], base: Rung | None, start: Recipe = PLAIN) -> Recipe:
    recipe = base.recipe if base else start
    exclude = dict.fromkeys((*recipe.exclude, *change.get("exclude", ())))
    return recipe.model_copy(update={**change, "name": name, "exclude": tuple(exclude)})


def _tried(recipe: Recipe, workshop: _Workshop, judge: _Judge, climbed: _Climb, begun: float) -> Rung:
    try:
        if recipe.name == _WORST:
            recipe = workshop.without_worst(recipe, climbed.base)
        file, made = workshop.make(recipe)
        rung = climbed.rung_of(recipe, file, made)
        figures = climbed.twin(rung) or judge.figures(file)
        return rung.model_copy(update={**figures, "seconds": time.monotonic() - begun})
    except Exception as error:  # noqa: BLE001 - whatever a library raises, the next rung may do better
        return Rung(recipe=recipe, error=first_line(error), seconds=time.monotonic() - begun)


class _Climb:
    """The rungs so far, and which of them is the best."""

    def __init__(
        self,
        min_agreement: float,
        min_speed: float,
        min_cosine: float = -1.0,
        fidelity: Fidelity | None = None,
    ) -> None:
        self.min_agreement, self.min_speed, self.min_cosine = min_agreement, min_speed, min_cosine
        self.fidelity = fidelity or Top1()
        self.rungs: list[Rung] = []
        self.sha256: dict[str, str] = {}
        self.left_out: dict[str | None, tuple[str, ...]] = {}

    def ladder(self, chosen: int | None, judged: int, more: str = "") -> Ladder:
        """All rungs, with the one that was chosen; `more` is added to its words."""
        rung = None if chosen is None else self.rungs[chosen]
        return Ladder(
            rungs=tuple(self.rungs),
            judged=judged,
            chosen=chosen,
            met=rung is not None and self.meets(rung),
            alike=self.fidelity.alike,
            left_out=self.left_out.get(rung.file, ()) if rung else (),
            words=self.words(chosen) + more,
        )

    @property
    def met(self) -> bool:
        return any(map(self.meets, self.rungs))

    def meets(self, rung: Rung) -> bool:
        """As faithful and as fast as was asked."""
        return self._faithful(rung) and self._fast(rung)

    @property
    def base(self) -> Rung | None:
        """What further rungs build on: a fast one before all, because they win back fidelity and not speed."""
        return max(self._alive(), key=lambda r: (self._fast(r), *self._worth(r)), default=None)

    @property
    def chosen(self) -> int | None:
        """Index of the first rung that meets both bounds, else of the best."""
        best = max(
            self._alive(),
            key=lambda r: (self._faithful(r) and self._fast(r), *self._worth(r)),
            default=None,
        )
        return None if best is None else self.rungs.index(best)

    @property
    def nearest(self) -> int | None:
        """Index of the nearest to fp32 of those that are no slower, else of all.

        A few pictures do not show every one that depthwise convolutions bend, so of classifiers the cosine says how near it is.
        """
        best = max(
            self._alive(),
            key=lambda r: (
                (r.speed or 0.0) >= self.min_speed,
                (r.agreement or 0.0) if self.fidelity.decides else 0.0,
                r.cosine or -1.0,
            ),
            default=None,
        )
        return None if best is None else self.rungs.index(best)

    def twin(self, rung: Rung) -> dict[str, Any] | None:
        """The figures of an earlier rung that made the same file; None when there is none."""
        for earlier in self._alive():
            if earlier.file and self.sha256.get(earlier.file) == self.sha256.get(rung.file or ""):
                return {
                    "same_as": earlier.same_as or earlier.recipe.name,
                    "speed": earlier.speed,
                    "speed_interval": earlier.speed_interval,
                    "agreement": earlier.agreement,
                    "cosine": earlier.cosine,
                }
        return None

    def rung_of(self, recipe: Recipe, file: Path, made: Quantized) -> Rung:
        """What is known of a file before it is judged."""
        self.sha256[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
        self.left_out[file.name] = made.left_out
        return Rung(
            recipe=recipe,
            file=file.name,
            size_bytes=made.size_bytes,
            quantized_nodes=made.quantized_nodes,
            float_nodes=made.float_nodes,
            notes=made.notes,
            seconds=0.0,
        )

    def words(self, chosen: int | None) -> str:
        """What is told of the rung that was chosen."""
        if chosen is None:
            first = self.rungs[0].error if self.rungs else "no rung was tried"
            return f"no int8 file could be made: {first}"
        rung = self.rungs[chosen]
        assert rung.speed is not None
        noun = self.fidelity.noun
        agreement = "undecided" if rung.agreement is None else f"{rung.agreement:.1%}"
        figures = (
            f"{rung.recipe.name}: {rung.speed:.2f}{_beside(rung.speed_interval)} × fp32's speed, {noun} {agreement}, "
            f"smallest cosine {rung.cosine:.4f}"
        )
        short = []
        if not self._faithful(rung):
            cosine = (
                f", smallest cosine {self.min_cosine:g}"
                if self.min_cosine > 0 and self._asks_cosine(rung)
                else ""
            )
            short.append(f"fidelity below the {self.min_agreement:.1%} {noun}{cosine} asked for")
        if not self._fast(rung):
            missed = "below" if rung.speed < self.min_speed else "not certainly"
            short.append(f"speed {missed} the {self.min_speed:.2f} × asked for")
        if not short:
            return figures
        return f"no rung met both bounds; the best of {len(self.rungs)} is {figures} ({' and '.join(short)})"

    def _alive(self) -> list[Rung]:
        return [rung for rung in self.rungs if rung.error is None]

    def _faithful(self, rung: Rung) -> bool:
        if rung.cosine is None:
            return False
        if rung.agreement is None:
            return rung.cosine >= self.min_cosine
        return rung.agreement >= self.min_agreement and self._near(rung) >= self.min_cosine

    def _asks_cosine(self, rung: Rung) -> bool:
        return rung.agreement is None or not self.fidelity.decides

    def _near(self, rung: Rung) -> float:
        """Its cosine as far as it is asked for."""
        if not self._asks_cosine(rung):
            return self.min_cosine
        return -1.0 if rung.cosine is None else min(rung.cosine, self.min_cosine)

    def _fast(self, rung: Rung) -> bool:
        # On its interval: of many rungs that are as fast as fp32, one always comes out ahead.
        return rung.speed_interval is not None and rung.speed_interval[0] >= self.min_speed

    def _worth(self, rung: Rung) -> tuple[float, float, float]:
        """Fidelity first, as far as it is asked for, then speed."""
        agreement = self.min_agreement if rung.agreement is None else rung.agreement
        return min(agreement, self.min_agreement), self._near(rung), rung.speed or 0.0


class _Workshop:
    """Makes the files. What rungs share is made once: the model made ready, and the ranges of each method."""

    def __init__(
        self, source: Path, folder: Path, calibration: Iterable[np.ndarray], judge_inputs: np.ndarray
    ) -> None:
        self.source, self.folder = source, folder
        self.calibration, self.items = calibration, judge_inputs[:_WORST_ITEMS]
        self.ready = folder / ".ready.onnx"
        self.ranges: dict[tuple[str, float], Any] = {}
        make_ready(source, self.ready)

    def make(self, recipe: Recipe) -> tuple[Path, Quantized]:
        key = (recipe.method, recipe.percentile)
        if key not in self.ranges:
            self.ranges[key] = calibrate_ranges(self.ready, recipe, self.calibration, what=self.source.name)
        file = self.folder / f"{recipe.name}.onnx"
        return file, write_quantized(self.ready, file, recipe, self.ranges[key], what=self.source.name)

    def without_worst(self, recipe: Recipe, base: Rung | None) -> Recipe:
        """Leave out the nodes around the activations that `base` bends most, a twentieth of them."""
        import onnx

        if base is None or base.file is None:
            raise PrepareError("no rung before this one made a file whose worst nodes could be found")
        model = onnx.load(self.ready, load_external_data=False)
        noise = _noise_by_tensor(self.ready, self.folder / base.file, self.items)
        worst = sorted(noise, key=lambda name: (noise[name], name))[
            : max(1, round(_WORST_SHARE * len(noise)))
        ]
        names = onnx_graph.nodes_around(model, worst)
        return recipe.model_copy(update={"exclude": tuple(dict.fromkeys((*recipe.exclude, *sorted(names))))})

    def close(self) -> None:
        self.ready.unlink(missing_ok=True)


def _noise_by_tensor(ready: Path, quantized: Path, items: np.ndarray) -> dict[str, float]:
    """Activation → signal to noise in decibels that its own Q/DQ pair leaves of it; the smallest is the worst."""
    import onnx
    from onnxruntime.quantization import qdq_loss_debug

    name, _ = onnx_graph.only_input(onnx.load(ready, load_external_data=False), ready.name)
    with tempfile.TemporaryDirectory(prefix="zoobench-worst-") as folder:
        augmented = str(Path(folder) / "augmented.onnx")
        qdq_loss_debug.modify_model_output_intermediate_tensors(quantized, augmented)
        values = qdq_loss_debug.collect_activations(augmented, [{name: items}])
        matched = qdq_loss_debug.create_activation_matching(values)
        ratio = qdq_loss_debug.compute_signal_to_quantization_noice_ratio
        return {tensor: ratio(pair["pre_qdq"], pair["post_qdq"]) for tensor, pair in matched.items()}


class _Judge:
    """Runs files beside the fp32 file: how fast, and how near."""

    def __init__(
        self,
        source: Path,
        inputs: np.ndarray,
        *,
        threads: int,
        batch: int,
        min_speed: float = 1.0,
        open_session: Callable[[Path, int], Any] | None = None,
        task: Task | None = None,
    ) -> None:
        import numpy as np
        import onnx

        self.threads, self.inputs, self.min_speed = threads, inputs, min_speed
        self.open_session = open_session or _session
        self.fidelity: Fidelity = Top1() if task is None else Boxes(task)
        model = onnx.load(source, load_external_data=False)
        name, fixed = onnx_graph.only_input(model, source.name)
        self.name, self.batches = name, (fixed or 1,)
        self.output_names = [output.name for output in model.graph.output]
        rows = np.arange(fixed or batch) % len(inputs)
        self.timed = {name: np.ascontiguousarray(inputs[rows])}
        self.fp32 = self.open_session(source, threads)
        self.expected = self._outputs(self.fp32)

    def figures(self, file: Path) -> dict[str, Any]:
        session = self.open_session(file, self.threads)
        agreement, cosine = self.fidelity.figures(self.expected, self._outputs(session))
        speed, interval = self._speed(session)
        return {"speed": speed, "speed_interval": interval, "agreement": agreement, "cosine": cosine}

    def _outputs(self, session: Any) -> dict[str, np.ndarray]:
        """By name, one row an item."""
        return run_in_batches(
            lambda rows: dict(zip(self.output_names, session.run(None, {self.name: rows}), strict=True)),
            self.inputs,
            self.batches,
        )

    def _speed(self, session: Any) -> tuple[float, Interval]:
        """Median over rounds of fp32's time ÷ its time, with its 95% interval. Both have a turn in a round, and take turns in being first.

        Within a round both saw the same moment of the machine, so what it does between rounds cancels out. While the
        median's interval holds `min_speed`, which decides, there are more rounds.
        """
        sessions = (self.fp32, session)
        calls = [
            max(1, round(_SHORTEST_TURN_S / self._turn_s(each, _WARM_UP) * _WARM_UP)) for each in sessions
        ]
        ratios: list[float] = []
        while len(ratios) < _ROUNDS or (
            len(ratios) < _MOST_ROUNDS and _within(self.min_speed, _interval(ratios))
        ):
            took = [0.0, 0.0]
            for which in (0, 1) if len(ratios) % 2 else (1, 0):
                took[which] = self._turn_s(sessions[which], calls[which]) / calls[which]
            ratios.append(took[0] / took[1])
        return statistics.median(ratios), _interval(ratios)

    def _turn_s(self, session: Any, calls: int) -> float:
        # The other one's data are in the caches, and its threads have just been sent to sleep.
        session.run(None, self.timed)
        start = time.perf_counter()
        for _ in range(calls):
            session.run(None, self.timed)
        return time.perf_counter() - start


def _beside(interval: Interval | None) -> str:
    return f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""


def _interval(ratios: list[float]) -> Interval:
    """95%, of the median: the order statistics of the sign test."""
    ordered, n = sorted(ratios), len(ratios)
    low = max(0, math.floor(n / 2 - 0.98 * math.sqrt(n)))
    return ordered[low], ordered[n - 1 - low]


def _within(value: float, interval: Interval) -> bool:
    return interval[0] <= value <= interval[1]


def _session(file: Path, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The one whose turn it is not must be silent.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
