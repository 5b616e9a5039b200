"""The session role: one model on one runtime, driven verb by verb while other workers wait their turn.

Order of verbs: load, first_call, check, warm_up, slot (many), memory, stages, evidence, accuracy, or quality and lm_eval. Pictures, profiling
and texts come last, because they would spoil the memory figure.
"""

from __future__ import annotations

import contextlib
import gc
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from zoobench.backends import FLAGS, open_backend
from zoobench.errors import UsageError
from zoobench.inputs import read_inputs
from zoobench.machine.cpus import free_memory_bytes
from zoobench.outcome import Check, Memory
from zoobench.scenarios import Scenario, SlotBudget, open_scenario
from zoobench.scenarios.closed_loop import Clock, warm_up
from zoobench.spec import REFERENCE_FILE, Artifact, Case, TextTask, cache_bytes, weights_bytes
from zoobench.tasks import Task, open_task
from zoobench.tasks.comparison import are_comparable, compare
from zoobench.tasks.text_generation import prompt_ids
from zoobench.terms import TEXT, TOLERANCE, Precision
from zoobench.worker.roles import Emit

if TYPE_CHECKING:
    from zoobench.backends import Session, Tensors, TokenSession
    from zoobench.tasks import Parts

_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


class SessionRole:
    """Holds one session. `clock` is nanoseconds, monotonic; the fake backend runs on a virtual one."""

    def __init__(self, clock: Clock = time.perf_counter_ns) -> None:
        self.clock = clock
        self._session: Session | None = None
        self._call: Callable[[], Tensors] | None = None
        self._case: Case | None = None
        self._artifact: Artifact | None = None
        self._scenario: Scenario | None = None

    def handle(self, verb: str, args: dict[str, Any], emit: Emit) -> Any:
        """Answer one verb."""
        verbs: dict[str, Callable[..., Any]] = {
            "load": self.load,
            "first_call": self.first_call,
            "check": self.check,
            "warm_up": self.warm_up,
            "slot": self.slot,
            "memory": self.memory,
            "stages": self.stages,
            "evidence": self.evidence,
            "close": self.close,
        }
        if verb == "accuracy":
            return self.accuracy(emit, **args)
        if verb == "quality":
            return self.quality(**args)
        if verb == "lm_eval":
            return self.lm_eval(emit, **args)
        if verb not in verbs:
            raise ValueError(f"the session role has no verb {verb!r}")
        return verbs[verb](**args)

    def load(
        self, case: dict[str, Any], artifact: dict[str, Any], inputs: str | None = None, fork: int = 0
    ) -> dict[str, Any]:
        """Import the runtime, load the artifact and bind the inputs that will be timed.

        Only the fake backend looks at `fork`, the number of this fresh process: real ones differ by themselves.
        """
        self._case = Case.model_validate(case)
        self._artifact = Artifact.model_validate(artifact)
        self._check_fits()
        largest = max(self._case.batch, int(self._case.options.get("max_batch", 1)))
        if self._artifact.fixed_batch is not None and {self._case.batch, largest} != {
            self._artifact.fixed_batch
        }:
            raise UsageError(
                f"{self._case.model}: the graph's batch axis is fixed at {self._artifact.fixed_batch}, so batch "
                f"{largest} cannot run; export it with a dynamic batch axis"
            )
        for name in FLAGS:
            if not isinstance(self._case.options.get(name, False), bool):
                raise UsageError(f"{name}={self._case.options[name]}: true or false is needed")
        begin = self.clock()
        backend = open_backend(self._case.backend)
        if hasattr(backend, "clock"):
            backend.clock = self.clock
        if hasattr(backend, "fork"):
            backend.fork = fork
        reason = backend.unavailable()
        if reason is not None:
            raise UsageError(f"{self._case.backend}: {reason}")
        backend.import_runtime(self._artifact)
        import_s, after_import = (self.clock() - begin) / 1e9, _resident_bytes()
        begin = self.clock()
        self._session = backend.load(self._artifact, self._case)
        load_s = (self.clock() - begin) / 1e9
        after_load = _resident_bytes()
        self._call = self._session.bind(self._timed_inputs(inputs))
        return {
            "import_s": import_s,
            "load_s": load_s,
            "compile_s": getattr(self._session, "compile_s", None),
            "after_import_bytes": after_import,
            "after_load_bytes": after_load,
        }

    def _check_fits(self) -> None:
        """Refuse a language model's case that its context or the memory cannot hold, before anything is loaded."""
        assert self._case and self._artifact
        decoder, asked = self._artifact.decoder, self._case.options
        if decoder is None:
            return
        length = int(asked["prompt_tokens"]) + int(asked["new_tokens"])
        if length > decoder.context_length:
            raise UsageError(
                f"{self._case.model}: {asked['prompt_tokens']} prompt and {asked['new_tokens']} new tokens are {length}, its "
                f"context holds {decoder.context_length}"
            )
        weights = weights_bytes(self._artifact, self._case.precision)
        kept = cache_bytes(self._artifact, self._case)
        free = free_memory_bytes()
        if free is not None and weights + kept > free:
            raise UsageError(
                f"{self._case.model}: its weights take about {weights / 1e9:.1f} GB and its keys and values {kept / 1e9:.1f} GB, and "
                f"{free / 1e9:.1f} GB of memory are free; take fewer bits, a smaller batch or shorter prompts"
            )

    def first_call(self) -> dict[str, Any]:
        """Time the very first call, which pays for lazy initialisation."""
        call = self._bound()
        begin = self.clock()
        call()
        return {"first_call_ms": (self.clock() - begin) / 1e6}

    def check(self) -> dict[str, Any] | None:
        """Run the task's check items through the session and compare with the artifact's reference; None: it tells none."""
        assert self._case and self._artifact and self._session
        if self._artifact.format == "endpoint":
            return None
        reference_file = self._artifact.path / REFERENCE_FILE
        task = open_task(self._artifact.task, self._artifact.detector)
        items = task.check_inputs(self._artifact.input_shape)
        if self._artifact.decoder is not None:
            # One by one: all positions' logits of all prompts would be what memory is measured by.
            outputs = {
                "outputs": np.concatenate([self._token_session().logits(item[None])[:, -1] for item in items])
            }
        else:
            outputs = self._run_items(items)
        # A session with its own inputs bound must be bound to the timed ones again.
        self._call = self._session.bind(self._timed_inputs(self._inputs_file))
        reference = None
        if reference_file.is_file():
            with np.load(reference_file) as arrays:
                reference = {name: arrays[name] for name in arrays.files}
        # The catalog may know better of a model's fp32, in either direction; less precision never allows less.
        lowest = {**TOLERANCE, Precision.FP32: 0.0}.get(self._case.precision)
        tolerance = None if lowest is None else max(lowest, self._artifact.tolerance)
        result = compare_outputs(task.parts(outputs), reference, task, tolerance=tolerance)
        return result.model_dump(mode="json")

    def warm_up(self) -> dict[str, Any]:
        """Call until the latency is steady; see `scenarios.closed_loop.warm_up`.

        What the scenario needs beside the case's own call is made and warmed before. A scenario may know better how.
        """
        warm = getattr(self._opened_scenario(), "warm_up", warm_up)
        return warm(self._bound(), self.clock).model_dump(mode="json")

    def slot(self, budget: SlotBudget) -> dict[str, Any]:
        """One turn of the scenario."""
        assert self._case
        scenario = self._opened_scenario()
        gap_ms = float(self._case.options.get("gap_ms", 0.0))
        # A virtual clock lets time pass by itself, and nothing on it can be disturbed.
        pause = getattr(self.clock, "pause", None)
        with contextlib.nullcontext() if pause else _no_garbage_collection():
            cpu_before = _cpu_seconds()
            samples = scenario.drive(
                self._bound(), clock=self.clock, budget=budget, gap_ms=gap_ms, pause=pause or self.pause
            )
            cpu_s = _cpu_seconds() - cpu_before
        return {**samples, "cpu_s": cpu_s}

    def pause(self, seconds: float) -> None:
        """What happens between two calls of a slot that is spaced out (`gap_ms`), outside the timing."""
        time.sleep(seconds)

    def _token_session(self) -> TokenSession:
        return cast("TokenSession", self._session)

    def memory(self) -> dict[str, Any]:
        """Peak resident set and the proportional set split into anonymous and file-backed pages."""
        pss = _proc_kib("/proc/self/smaps_rollup", "Pss_Anon", "Pss_File", "Pss_Shmem")
        peak = _proc_kib("/proc/self/status", "VmHWM").get("VmHWM")
        kv = self._token_session().kv_bytes() if self._artifact and self._artifact.decoder else (None, None)
        return Memory(
            peak_bytes=peak,
            pss_anonymous_bytes=pss.get("Pss_Anon"),
            pss_file_bytes=pss.get("Pss_File"),
            kv_used_bytes=kv[0],
            kv_reserved_bytes=kv[1],
        ).model_dump(mode="json")

    def stages(self, pack: str | None) -> dict[str, Any]:
        """A detector's pictures from pixels to boxes, each stage timed apart."""
        from zoobench.worker.stages import time_stages

        assert self._case and self._artifact and self._session
        with _no_garbage_collection():
            return time_stages(
                self._session,
                self._artifact,
                self._case,
                pack=Path(pack) if pack else None,
                clock=self.clock,
            )

    def evidence(self) -> dict[str, Any]:
        """What really ran, from the runtime's own profile."""
        assert self._session
        return self._session.evidence().model_dump(mode="json")

    def accuracy(
        self,
        emit: Emit,
        pack: str,
        outputs: str,
        reference: dict[str, Any] | None,
        origin: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Run labelled pictures; the session that was measured is given up for one of the pass's own batch."""
        # Only a pass needs what decodes pictures.
        from zoobench.worker.accuracy import assess

        assert self._case and self._artifact
        self.close()
        backend = open_backend(self._case.backend)
        return assess(
            self._case,
            self._artifact,
            pack=Path(pack),
            outputs=Path(outputs),
            reference=None if reference is None else Artifact.model_validate(reference),
            origin=None
            if origin is None
            else (Case.model_validate(origin[0]), Artifact.model_validate(origin[1])),
            open_session=backend.load,
            progress=lambda text: emit("progress", text),
            workers=self._case.threads,
        )

    def quality(self, reference: dict[str, Any] | None) -> dict[str, Any]:
        """Teacher-forced on a fixed text, beside fp32 of the same runtime."""
        from zoobench.worker.quality import assess_text

        assert self._case and self._artifact
        other = None
        if reference is not None:
            plain = self._case.model_copy(update={"precision": Precision.FP32})
            backend = open_backend(self._case.backend)
            other = cast("TokenSession", backend.load(Artifact.model_validate(reference), plain))
        try:
            return assess_text(self._token_session(), other, self._artifact)
        finally:
            if other is not None:
                other.close()

    def lm_eval(self, emit: Emit, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Tasks of lm-evaluation-harness, on the session that was measured."""
        # It imports much, torch among it.
        from zoobench.worker.harness import run_tasks

        assert self._artifact
        asked = [TextTask.model_validate(task) for task in tasks]
        return run_tasks(self._token_session(), self._artifact, asked, lambda text: emit("progress", text))

    def close(self) -> dict[str, Any]:
        """Free the session."""
        if self._session:
            self._session.close()
        self._session = self._call = None
        return {}

    def _bound(self) -> Callable[[], Tensors]:
        if self._call is None:
            raise RuntimeError("no session is loaded")
        return self._call

    _inputs_file: str | None = None

    def _timed_inputs(self, inputs: str | None, batch: int | None = None) -> Tensors:
        """The user's own tensors when given, else the task's check items, repeated to fill the batch."""
        assert self._case and self._artifact
        self._inputs_file = inputs
        if self._artifact.task == TEXT:
            length = int(self._case.options["prompt_tokens"])
            prompts = prompt_ids(batch or self._case.batch, length, self._artifact.input_shape[1])
            return {self._artifact.input_name: prompts}
        if inputs is None:
            items = open_task(self._artifact.task).check_inputs(self._artifact.input_shape)
        else:
            items = read_inputs(Path(inputs), self._artifact.input_name, self._artifact.input_shape)
        return {self._artifact.input_name: fill_batch(items, batch or self._case.batch)}

    def _opened_scenario(self) -> Scenario:
        if self._scenario is None:
            assert self._case and self._artifact
            name = self._case.scenario
            spoken = name == "server" and self._artifact.task == TEXT
            self._scenario = open_scenario("token_server" if spoken else name)
            self._scenario.prepare(self._case, self._bind_batch, self.clock)
        return self._scenario

    def _bind_batch(self, batch: int) -> Callable[[], Tensors]:
        """A call for another number of the timed items."""
        assert self._session
        return self._session.bind(self._timed_inputs(self._inputs_file, batch))

    def _run_items(self, items: np.ndarray) -> dict[str, np.ndarray]:
        """All items through the session, in batches of the case's size; of every output one row an item."""
        assert self._case and self._artifact and self._session
        found: dict[str, list[np.ndarray]] = {}
        for start in range(0, len(items), self._case.batch):
            picked = fill_batch(np.roll(items, -start, axis=0), self._case.batch)
            outputs = self._session.bind({self._artifact.input_name: picked})()
            for name, output in outputs.items():
                # A copy: a runtime may write the next call's outputs into the same memory.
                found.setdefault(name, []).append(np.array(output)[: len(items) - start])
        return {name: np.concatenate(rows) for name, rows in found.items()}


def fill_batch(items: np.ndarray, batch: int) -> np.ndarray:
    """`batch` items, taken in order and repeated from the start when there are fewer."""
    return np.ascontiguousarray(np.take(items, range(batch), axis=0, mode="wrap"))


def compare_outputs(outputs: Parts, reference: Parts | None, task: Task, *, tolerance: float | None) -> Check:
    """Are the outputs alive, and are they the reference's?

    Args:
        outputs: parts of the outputs, name → (items, …).
        reference: the same shapes, or None when there is nothing to compare with.
        task: says in which order parts are compared, and what is decided alike.
        tolerance: largest allowed max |difference| / max |reference|; None: the difference does not judge.
    """
    # float64: outputs that went wild must be judged, not overflow on the way.
    wide = {name: part.astype(np.float64) for name, part in outputs.items()}
    finite = all(bool(np.isfinite(part).all()) for part in wide.values())
    # Indices may well be the same everywhere: a detector may know one class.
    measured = [wide[name] for name, part in outputs.items() if part.dtype.kind == "f"]
    alive = {
        "finite": finite,
        "constant": finite and any(map(_is_constant, measured)),
        "denormal": finite and any(float(np.abs(p).max(initial=0.0)) < _SMALLEST_NORMAL for p in measured),
    }
    if reference is None or not finite:
        return Check(**alive, compared=False)
    if not are_comparable(reference, outputs):
        return Check(**alive, compared=True, passed=False, tolerance=tolerance)
    found = compare(reference, outputs, task)
    return Check(
        **alive,
        compared=True,
        max_abs=found.max_abs,
        max_rel=found.max_rel,
        cosine=found.cosine,
        top1_agreement=found.agreement,
        tolerance=tolerance,
        passed=None if tolerance is None else found.max_rel <= tolerance,
        surest=found.surest,
        reference_surest=found.reference_surest,
        finds_nothing=found.finds_nothing,
    )


def _is_constant(part: np.ndarray) -> bool:
    """The same for every item."""
    largest = float(np.abs(part).max(initial=0.0))
    return len(part) > 1 and float(np.ptp(part, axis=0).max()) <= 1e-6 * largest


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _proc_kib(file: str, *names: str) -> dict[str, int]:
    """Values of a /proc file that counts in kB, in bytes; empty where there is no such file."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name: int(value.split()[0]) * 1024 for name, value in pairs if name in names}


def _resident_bytes() -> int | None:
    return _proc_kib("/proc/self/status", "VmRSS").get("VmRSS")
