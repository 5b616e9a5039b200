"""Whose turn it is. The cases of a group are loaded one after another and then measured in turns.

Interleaved slots see the same minutes of the machine, so the ratio of two cases can be trusted even when the
machine drifts. Only one worker runs at a time; the others wait without using a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from zoobench.measure import effort as rules
from zoobench.measure.accuracy import summarise
from zoobench.measure.channel import Worker, WorkerError
from zoobench.measure.effort import EffortPlan
from zoobench.measure.energy import joules_per_item
from zoobench.measure.generation import summarise_tokens
from zoobench.measure.quality import summarise_quality, with_scores
from zoobench.measure.stages import summarise_stages
from zoobench.measure.stats import describe, early_stop_queries, enough, throughput_per_s
from zoobench.measure.verdict import judge
from zoobench.outcome import (
    Accuracy,
    CaseError,
    CaseResult,
    Check,
    Evidence,
    LoadTest,
    Memory,
    Noise,
    Quality,
    Slot,
    Stages,
    WarmUp,
    summarise_load,
)
from zoobench.spec import Artifact, Case, Evaluation, Seat
from zoobench.terms import LOADGEN_SCENARIOS, TOKENS, Status

_STATUS = {"timeout": Status.TIMEOUT, "out_of_memory": Status.OUT_OF_MEMORY}


@dataclass(frozen=True)
class Deadlines:
    """Seconds after which a verb counts as hung.

    Verbs that call the model many times get `per_call` times its first call when that is longer.
    """

    load: float = 900.0
    first_call: float = 300.0
    check: float = 60.0
    warm_up: float = 90.0
    per_call: float = 60.0
    slot: float = 60.0
    slot_factor: float = 50.0
    memory: float = 60.0
    stages: float = 300.0
    evidence: float = 600.0
    accuracy: float = 600.0
    accuracy_picture: float = 5.0
    # Thousands of questions, each read by a large model on a few CPUs.
    lm_eval: float = 24 * 3600.0
    close: float = 30.0


class NoiseSensor(Protocol):
    """Looks at the machine around a slot."""

    def before(self) -> Any:
        """A snapshot taken just before."""
        ...

    def after(self, snapshot: Any, worker_cpu_s: float | None) -> Noise:
        """What happened since; `worker_cpu_s` is the CPU time that the worker itself used."""
        ...

    def gpu_bytes(self) -> int | None:
        """What the worker holds on the GPU now."""
        ...


@dataclass(frozen=True)
class Stage:
    """What the conductor stands on: how workers are made, who listens, the machine's timer and its cores."""

    open_worker: Callable[[Case], Worker]
    open_sensor: Callable[[Case, Worker], NoiseSensor | None]
    on_slot: Callable[[Case, Slot], None] = lambda case, slot: None
    on_progress: Callable[[Case, str], None] = lambda case, stage: None
    timer_ns: float = 50.0
    cores: int | None = None
    deadlines: Deadlines = Deadlines()


@dataclass(frozen=True)
class GroupResult:
    """The results of a group's cases, in the order of its seats."""

    results: tuple[CaseResult, ...]
    interrupted: bool = False


@dataclass
class _Player:
    """One seat while the group runs."""

    seat: Seat
    worker: Worker | None = None
    sensor: NoiseSensor | None = None
    status: Status = Status.OK
    error: CaseError | None = None
    stage: str = "start"
    slots: list[Slot] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    warm_ups: list[WarmUp] = field(default_factory=list)
    unproved: str | None = None
    accuracy: Accuracy | None = None
    quality: Quality | None = None
    stages: Stages | None = None
    untimed: str | None = None
    unassessed: str | None = None
    unscored: str | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    expected_slot_s: float = 0.0
    fork_s: float = 0.0
    measured_s: float = 0.0
    wall_s: float = 0.0
    forks: int = 0

    @property
    def alive(self) -> bool:
        return self.worker is not None


def conduct(
    seats: Sequence[Seat], plan: EffortPlan, stage: Stage, *, seed: int, first_fork: int = 0
) -> GroupResult:
    """Measure a group.

    Args:
        seats: the cases that take turns.
        plan: how much evidence to buy.
        seed: of the order of turns; recorded.
        first_fork: the number of the first fork: a judge that needs more evidence has the counting go on.

    Returns:
        One result a seat. A case that fails leaves the others alone; Ctrl-C leaves `interrupted` results that
        hold what was measured.
    """
    if any(seat.case.scenario in LOADGEN_SCENARIOS for seat in seats):
        plan = rules.for_load_tests(plan)
    if any(seat.case.scenario == TOKENS for seat in seats):
        plan = rules.for_tokens(plan)
    players = [_Player(seat) for seat in seats]
    rng = np.random.Generator(np.random.PCG64(seed))
    interrupted = False
    try:
        for started in range(plan.forks):
            fork = first_fork + started
            _raise_curtain(players, stage, fork, first=started == 0)
            _play(players, plan, stage, fork, started + 1, rng)
            if started == 0:
                _look_back(players, stage)
            _lower_curtain(players)
    except KeyboardInterrupt:
        interrupted = True
        for player in players:
            if player.status is Status.OK:
                player.status = Status.INTERRUPTED
                player.error = CaseError(stage=player.stage, message="run again to continue")
    finally:
        _lower_curtain(players)
    return GroupResult(tuple(_result(player, plan, stage, seed) for player in players), interrupted)


def _ask(player: _Player, stage: Stage, verb: str, deadline_s: float, **args: Any) -> Any:
    """One verb; a failure ends this player's part and returns None."""
    if player.worker is None:
        return None
    player.stage = verb
    begin = time.perf_counter()
    try:
        return player.worker.request(verb, args, deadline_s=deadline_s)
    except WorkerError as error:
        _fail(player, error)
        return None
    finally:
        player.wall_s += time.perf_counter() - begin


def _fail(player: _Player, error: WorkerError) -> None:
    player.status = _STATUS.get(error.kind, Status.FAILED)
    player.error = CaseError(
        stage=player.stage, message=str(error), type=error.body.get("type"), stderr_tail=error.stderr_tail
    )
    if player.worker:
        player.worker.close()
    player.worker = None


def _raise_curtain(players: list[_Player], stage: Stage, fork: int, *, first: bool) -> None:
    """Start, load, check and warm every worker, one after another.

    Another one begins in each fork: three equal builds were seen to differ by 0.5 to 1% in the order in which they were
    started, the first being the slowest, however often they took turns afterwards.
    """
    start = fork % len(players)
    for player in [*players[start:], *players[:start]]:
        if player.status is not Status.OK:
            continue
        case, limits = player.seat.case, stage.deadlines
        stage.on_progress(case, "load")
        player.stage, player.fork_s = "start", 0.0
        begin = time.perf_counter()
        try:
            player.worker = stage.open_worker(case)
        except WorkerError as error:
            _fail(player, error)
            continue
        finally:
            player.wall_s += time.perf_counter() - begin
        player.sensor = stage.open_sensor(case, player.worker)
        player.forks += 1
        loaded = _ask(
            player,
            stage,
            "load",
            limits.load,
            case=case.model_dump(mode="json"),
            artifact=_sent(player.seat.artifact),
            inputs=player.seat.inputs,
            fork=fork,
        )
        first_call = _ask(player, stage, "first_call", limits.first_call)
        patience = limits.per_call * first_call["first_call_ms"] / 1e3 if first_call else 0.0
        check = _ask(player, stage, "check", max(limits.check, patience))
        if check is not None:
            player.checks.append(Check.model_validate(check))
        stage.on_progress(case, "warm_up")
        warm = _ask(player, stage, "warm_up", max(limits.warm_up, patience))
        if warm is None:
            continue
        player.warm_ups.append(WarmUp.model_validate(warm))
        player.expected_slot_s = _expected_slot_s(case, warm["window_medians_ms"][-1] / 1e3)
        if first:
            start_s = player.worker.start_s + loaded["import_s"]
            player.facts = {**loaded, **first_call, "worker_start_s": start_s}


def turns(count: int, rng: np.random.Generator) -> list[list[int]]:
    """A random cyclic Latin square: `count` rounds in which everybody holds every position once."""
    order, shifts = rng.permutation(count), rng.permutation(count)
    return [[int(order[(i + shift) % count]) for i in range(count)] for shift in shifts]


def _play(
    players: list[_Player],
    plan: EffortPlan,
    stage: Stage,
    fork: int,
    started: int,
    rng: np.random.Generator,
) -> None:
    """Rounds of slots, until everybody has enough or has used up its time."""
    round_number = 0
    while True:
        for order in turns(len(players), rng):
            for position, index in enumerate(order):
                player = players[index]
                if player.alive and not _out_of_time(player, plan) and not _is_tested(player, plan, fork):
                    _take_turn(player, plan, stage, fork, round_number, position)
            round_number += 1
            if all(_may_rest(player, plan, fork, started) for player in players):
                return


def _may_rest(player: _Player, plan: EffortPlan, fork: int, started: int) -> bool:
    # A fork that used little of its time must not make a later one wait for it: each has a share of its own.
    return (
        not player.alive
        or _out_of_time(player, plan)
        or _is_tested(player, plan, fork)
        or enough(player.slots, plan, player.measured_s, started)
    )


def _out_of_time(player: _Player, plan: EffortPlan) -> bool:
    return player.fork_s >= plan.max_case_time_s / plan.forks


def _tests_left(player: _Player, plan: EffortPlan, fork: int) -> int:
    done = sum(slot.fork == fork for slot in player.slots)
    return max(1, plan.tests // plan.forks) - done


def _is_tested(player: _Player, plan: EffortPlan, fork: int) -> bool:
    """LoadGen's tests are long and judged one by one: their number is fixed, and more would add little."""
    return player.seat.case.scenario in LOADGEN_SCENARIOS and _tests_left(player, plan, fork) <= 0


def _take_turn(
    player: _Player, plan: EffortPlan, stage: Stage, fork: int, round_number: int, position: int
) -> None:
    case = player.seat.case
    stage.on_progress(case, "slot")
    snapshot = player.sensor.before() if player.sensor else None
    deadline = max(stage.deadlines.slot, stage.deadlines.slot_factor * player.expected_slot_s)
    budget = _budget(player, plan, stage)
    if case.scenario in LOADGEN_SCENARIOS:
        budget |= _test_budget(player, plan, fork, round_number)
        deadline += 2 * budget["max_seconds"]
    reply = _ask(player, stage, "slot", deadline, budget=budget)
    if reply is None:
        return
    slot = Slot(
        fork=fork,
        round=round_number,
        position=position,
        inner_loops=reply["inner_loops"],
        settling_ns=reply["settling_ns"],
        samples_ns=tuple(reply["samples_ns"]),
        noise=player.sensor.after(snapshot, reply["cpu_s"]) if player.sensor else Noise(),
        load=LoadTest.model_validate(reply["load"]) if "load" in reply else None,
        begun_ns=tuple(reply.get("begun_ns", ())),
        token_ns=tuple(map(tuple, reply.get("token_ns", ()))),
    )
    player.slots.append(slot)
    player.fork_s += reply["elapsed_ns"] / 1e9
    player.measured_s += reply["elapsed_ns"] / 1e9
    stage.on_slot(case, slot)
    if reply.get("trouble"):
        # What was made before it stands in the slot.
        _fail(player, WorkerError("error", reply["trouble"]))


def _expected_slot_s(case: Case, call_s: float) -> float:
    """A settling call, then as many as a slot must hold, each after the case's gap."""
    calls = 1 + max(rules.SLOT_MIN_CALLS, rules.SLOT_MIN_S / max(call_s, 1e-9))
    return calls * (call_s + float(case.options.get("gap_ms", 0.0)) / 1e3)


def _budget(player: _Player, plan: EffortPlan, stage: Stage) -> dict[str, float]:
    """What one slot of this player may and must hold."""
    return {
        # A request is long, and holds many tokens: turns are better than more of them in one.
        "min_calls": 1 if player.seat.case.scenario == TOKENS else rules.SLOT_MIN_CALLS,
        "slow_min_calls": rules.SLOT_SLOW_MIN_CALLS,
        "min_seconds": rules.SLOT_MIN_S,
        "slow_call_s": rules.SLOW_CALL_S,
        "max_seconds": plan.max_case_time_s / plan.forks - player.fork_s,
        "min_sample_ns": rules.MIN_TIMER_STEPS * stage.timer_ns,
    }


def _test_budget(player: _Player, plan: EffortPlan, fork: int, round_number: int) -> dict[str, float]:
    """What a LoadGen test needs beside: every test that is still to come has its share of the time."""
    percent = float(player.seat.case.options.get("latency_percentile", max(plan.percentiles)))
    # Where LoadGen estimates a percentile instead of judging by a limit, it always lays one query aside.
    over = max(plan.tests_forgive, 0 if player.seat.case.scenario == "server" else 1)
    left_s = plan.max_case_time_s / plan.forks - player.fork_s
    return {
        "max_seconds": left_s / _tests_left(player, plan, fork),
        "test_seconds": plan.test_s,
        "test_queries": early_stop_queries(percent / 100, over),
        "test_percentile": percent,
        # The same for all who take turns, another in every round: nobody has an easier schedule.
        "seed": 1000 * fork + round_number + 1,
    }


def _look_back(players: list[_Player], stage: Stage) -> None:
    """Memory first, then the profile: profiling opens a second session and would spoil the memory figure.

    A profile that fails does not take back what was measured; the verdict says what is unproved.
    """
    for player in players:
        stage.on_progress(player.seat.case, "evidence")
        player.memory = _ask(player, stage, "memory", stage.deadlines.memory) or {}
        if player.worker is not None and player.sensor is not None:
            # By the driver, so that it means the same of every runtime: each counts its own arena otherwise.
            player.memory["gpu_bytes"] = player.sensor.gpu_bytes()
        if player.worker is not None and _has_stages(player.seat):
            _time_stages(player, stage)
        if player.worker is None:
            continue
        begin = time.perf_counter()
        try:
            player.facts["evidence"] = player.worker.request(
                "evidence", {}, deadline_s=stage.deadlines.evidence
            )
        except WorkerError as error:
            player.unproved = str(error)
        player.wall_s += time.perf_counter() - begin
    # The reference first: its outputs are kept, so that the others need not make them anew.
    for player in sorted(players, key=_is_held_against):
        if player.worker and player.seat.evaluation:
            _evaluate(player, player.seat.evaluation, stage)
    for player in players:
        if player.worker and player.seat.artifact.decoder is not None:
            _assess_quality(player, stage)
        if player.worker and player.seat.tasks:
            _run_tasks(player, stage)


def _is_held_against(player: _Player) -> bool:
    """Its pass needs the outputs of another one."""
    due = player.seat.evaluation
    return due is not None and (due.reference is not None or due.origin is not None)


def _sent(artifact: Artifact) -> dict[str, Any]:
    """As a worker is told of it: its path is no part of what it is, and where its files are."""
    return {**artifact.model_dump(mode="json"), "path": str(artifact.path)}


def _has_stages(seat: Seat) -> bool:
    """A detector whose pictures can be prepared; under LoadGen queries queue, and stages say nothing of them."""
    known = seat.artifact.detector is not None and seat.artifact.preprocessing is not None
    return known and seat.case.scenario not in LOADGEN_SCENARIOS


def _time_stages(player: _Player, stage: Stage) -> None:
    """What fails here takes nothing back of what was measured."""
    assert player.worker is not None
    stage.on_progress(player.seat.case, "stages")
    player.stage = "stages"
    begin = time.perf_counter()
    try:
        raw = player.worker.request("stages", {"pack": player.seat.pack}, deadline_s=stage.deadlines.stages)
        player.stages = summarise_stages(raw)
    except WorkerError as error:
        player.untimed = str(error)
    player.wall_s += time.perf_counter() - begin


def _evaluate(player: _Player, evaluation: Evaluation, stage: Stage) -> None:
    """A pass that fails takes nothing back either: the record keeps its latency and says why there is no accuracy."""
    assert player.worker is not None
    case = player.seat.case
    stage.on_progress(case, "accuracy")
    # Where an interruption will say that it happened.
    player.stage = "accuracy"
    begin = time.perf_counter()
    origin = evaluation.origin
    try:
        raw = player.worker.request(
            "accuracy",
            {
                "pack": evaluation.pack,
                "outputs": evaluation.outputs,
                "reference": evaluation.reference and _sent(evaluation.reference),
                "origin": origin and [origin[0].model_dump(mode="json"), _sent(origin[1])],
            },
            deadline_s=stage.deadlines.accuracy + stage.deadlines.accuracy_picture * evaluation.data.samples,
            on_event=lambda _, text: stage.on_progress(case, text),
        )
        player.accuracy = summarise(raw, evaluation, player.seat.artifact)
    except WorkerError as error:
        player.unassessed = str(error)
    player.wall_s += time.perf_counter() - begin


def _assess_quality(player: _Player, stage: Stage) -> None:
    """As `_evaluate`, for language models."""
    assert player.worker is not None
    case, reference = player.seat.case, player.seat.reference
    stage.on_progress(case, "quality")
    player.stage = "quality"
    begin = time.perf_counter()
    try:
        raw = player.worker.request(
            "quality",
            {"reference": reference and _sent(reference)},
            deadline_s=stage.deadlines.accuracy,
        )
        player.quality = summarise_quality(raw, case.precision, reference)
    except WorkerError as error:
        player.unassessed = str(error)
    player.wall_s += time.perf_counter() - begin


def _run_tasks(player: _Player, stage: Stage) -> None:
    """As `_assess_quality`, by lm-evaluation-harness."""
    if player.quality is None:
        player.unscored = "the quality pass did before it"
        return
    assert player.worker is not None
    case = player.seat.case
    player.stage = "lm_eval"
    stage.on_progress(case, player.stage)
    begin = time.perf_counter()
    try:
        raw = player.worker.request(
            "lm_eval",
            {"tasks": [task.model_dump(mode="json") for task in player.seat.tasks]},
            deadline_s=stage.deadlines.lm_eval,
            on_event=lambda _, text: stage.on_progress(case, text),
        )
        player.quality = with_scores(player.quality, raw)
    except WorkerError as error:
        player.unscored = str(error)
    player.wall_s += time.perf_counter() - begin


def _lower_curtain(players: list[_Player]) -> None:
    for player in players:
        if player.worker:
            player.worker.close()
        player.worker = None


def _gravity(check: Check) -> tuple[bool, bool, bool, float]:
    """How bad a fork's outputs look: of several forks the worst counts."""
    difference = math.inf if check.max_rel is None and check.compared else check.max_rel or 0.0
    return not check.finite, check.constant, check.denormal, difference


def _result(player: _Player, plan: EffortPlan, stage: Stage, seed: int) -> CaseResult:
    facts, case = player.facts, player.seat.case
    latency = describe(player.slots) if player.slots else None
    check = max(player.checks, key=_gravity, default=None)
    warm_up = min(player.warm_ups, key=lambda w: w.steady, default=None)
    evidence = Evidence.model_validate(facts["evidence"]) if facts.get("evidence") else None
    memory = Memory.model_validate(
        {**player.memory, **{k: facts.get(k) for k in ("after_import_bytes", "after_load_bytes")}}
    )
    load = summarise_load([slot.load for slot in player.slots if slot.load])
    generation = summarise_tokens(case, player.slots)
    throughput = load.completed_qps if load else throughput_per_s(case.batch, latency) if latency else None
    if generation is not None and generation.requests_per_s is not None and load is None:
        # Requests of several clients overlap, so their latencies do not add up to the time.
        throughput = case.batch * generation.requests_per_s
    verdict = None
    if player.status is Status.OK and latency is not None:
        verdict = judge(
            case=case,
            check=check,
            latency=latency,
            warm_up=warm_up,
            noises=[slot.noise for slot in player.slots],
            evidence=evidence,
            plan=plan,
            validation=player.seat.artifact.validation,
            provider=player.seat.provider,
            timer_ns=stage.timer_ns,
            inner_loops=max(slot.inner_loops for slot in player.slots),
            hyperthreads=stage.cores is not None and case.threads > stage.cores,
            unproved=player.unproved,
            untimed=player.untimed,
            load=load,
            accuracy=player.accuracy,
            quality=player.quality,
            unassessed=player.unassessed,
            unscored=player.unscored,
        )
    return CaseResult(
        case_id=case.id,
        status=player.status,
        error=player.error,
        worker_start_s=facts.get("worker_start_s"),
        load_s=facts.get("load_s"),
        compile_s=facts.get("compile_s"),
        first_call_ms=facts.get("first_call_ms"),
        warm_up=warm_up,
        slots=tuple(player.slots),
        latency=latency,
        throughput_per_s=throughput,
        joules_per_item=joules_per_item(case.batch, player.slots),
        load=load,
        generation=generation,
        stages=player.stages,
        # What a client needs says nothing of the server.
        memory=memory if facts and case.device != "remote" else None,
        check=check,
        evidence=evidence,
        accuracy=player.accuracy,
        quality=player.quality,
        verdict=verdict,
        forks=player.forks,
        wall_s=player.wall_s,
        seed=seed,
    )
