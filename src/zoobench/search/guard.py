"""The guard's loops: measure, judge, and where the judge cannot decide measure again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from zoobench.driver import Observer, Settings, execute
from zoobench.driver.contest import Bout, Contest
from zoobench.executors import Executor
from zoobench.judge import Decision, Finding, NotComparableError
from zoobench.judge.compare import VARYING, Change, Comparison, compare, incomparable
from zoobench.judge.gate import ARMS, BASE, HEAD, Margin, judge_gate
from zoobench.judge.limits import ATTEMPTS as LIMIT_ATTEMPTS
from zoobench.judge.limits import Limit, judge_limit
from zoobench.measure.effort import EffortPlan
from zoobench.outcome import CaseResult, Slot, wrong_answers
from zoobench.plan import Request
from zoobench.results.record import Record
from zoobench.results.select import Selection
from zoobench.results.store import read_samples
from zoobench.spec import Case, ModelSpec
from zoobench.terms import Effort, Status, VerdictValue

GUARD_EFFORT = EffortPlan(
    min_calls=360,
    min_time_s=9.0,
    forks=6,
    target_half_width=float("inf"),
    max_case_time_s=120.0,
    percentiles=(50,),
)
"""Six fresh processes an arm, each with six slots or so: the process is the replicate, so more calls in one would
not make the gate surer. The interval needs no target: a gate that cannot decide doubles the forks."""

UNDER_TEST = frozenset({"versions", "artifact"})
"""What base and head may differ in: their environments and what their code made."""
GATE_ATTEMPTS = 2
"""The forks are doubled once."""


def guard_contest(contest: Contest, margin: Margin, effort: EffortPlan = GUARD_EFFORT) -> Iterator[Finding]:
    """Decide every case of a contest with the arms of `judge.gate.ARMS`, one after another.

    Raises:
        NotComparableError: there is no case that base and head share.
    """
    ready = [bout for bout in contest.bouts if _is_ready(bout)]
    unready = [_unready(bout) for bout in contest.bouts if not _is_ready(bout)]
    strangers = {bout.name: why for bout in ready if (why := _differences(bout))}
    unready += [Finding(name, Decision.NOT_COMPARABLE, why) for name, why in strangers.items()]
    ready = [bout for bout in ready if bout.name not in strangers]
    if not ready and not any(finding.decision is Decision.FAIL for finding in unready):
        told = "; ".join(f"{finding.name}: {finding.message}" for finding in unready[:3])
        raise NotComparableError(f"base and head have no case to compare ({told or 'neither has any'})")
    yield from unready
    for bout in ready:
        yield _decide(contest, bout, margin.shared_by(len(ready)), effort)


def _is_ready(bout: Bout) -> bool:
    return all(arm in bout.seats for arm in ARMS)


def _differences(bout: Bout) -> str | None:
    """What base and head differ in besides their code: then their times are those of two questions."""
    base, head = (bout.seats[arm].artifact.input_shape for arm in (BASE, HEAD))
    if base != head:
        return f"base takes inputs of {base}, head of {head}, so a difference in time would mean nothing"
    varying = UNDER_TEST
    if bout.ready[BASE].model.hf_id is None:
        # A file of the repository's own has its content for a revision, and that is what changed.
        varying |= {"revision"}
    told = incomparable(bout.ready[BASE], bout.ready[HEAD], varying)
    return told and told.replace("they differ", "base and head differ")


def _decide(contest: Contest, bout: Bout, margin: Margin, effort: EffortPlan) -> Finding:
    attempts: list[dict[str, CaseResult]] = []
    why = ""
    while True:
        attempts.append(contest.measure(bout, effort, len(attempts), why))
        finding = judge_gate(bout.name, attempts, margin, last=len(attempts) == GATE_ATTEMPTS)
        if finding.decision is not Decision.MORE:
            return finding
        why = finding.message


def _unready(bout: Bout) -> Finding:
    """A case that not every arm has."""
    broken = {arm: record for arm, record in bout.refusals.items() if record.status is not Status.SKIPPED}
    if BASE in bout.seats and HEAD in bout.refusals:
        message = f"newly failing: base is ready to run, head is not: {_why(bout.refusals[HEAD])}"
        return Finding(bout.name, Decision.FAIL, message)
    if broken:
        # An arm that ought to be there and is not: nothing was judged, which is no pass.
        arm, record = next(iter(broken.items()))
        message = f"{arm} could not be made ready ({record.status.value}: {_why(record)}), so there is nothing to compare"
        return Finding(bout.name, Decision.NOT_COMPARABLE, message)
    if HEAD in bout.seats:
        why = _why(bout.refusals[BASE]) if BASE in bout.refusals else "base does not know it"
        return Finding(bout.name, Decision.SKIPPED, f"new: only head has it ({why}); nothing to compare with")
    if BASE in bout.seats:
        return Finding(bout.name, Decision.NOT_COMPARABLE, "gone: base has it, head does not know it")
    return Finding(
        bout.name, Decision.SKIPPED, f"it cannot run here: {_why(next(iter(bout.refusals.values())))}"
    )


def _why(record: Record) -> str:
    return record.error.message if record.error else record.status.value


@dataclass(frozen=True)
class Bench:
    """Where stored cells are measured again: `settings` says rerun, and requests are made anew for each cell.

    `models`, by name, holds those of every cell: none is looked for when others have been measured.
    """

    models: Mapping[str, ModelSpec]
    settings: Settings
    executor: Executor
    observer: Observer
    effort: Effort = Effort.QUICK

    def measure(self, cells: Sequence[Case]) -> Iterator[tuple[Case, Record, Sequence[Slot]]]:
        """Measure the cells; those that differ in the model alone in one run."""
        for alike in _alike(cells).values():
            first = alike[0]
            request = Request(
                models=[self.models[case.model] for case in alike],
                backends=[first.backend],
                batch_sizes=[first.batch],
                precisions=[first.precision],
                effort=self.effort,
                scenario=first.scenario,
                threads=first.threads,
                options=first.options,
            )
            cases = {case.model: case for case in alike}
            for record in execute(request, self.settings, self.executor, self.observer):
                if record.status is Status.INTERRUPTED:
                    raise KeyboardInterrupt
                yield cases[record.case.model], record, self.slots(record)

    def slots(self, record: Record) -> Sequence[Slot]:
        """The record's slots, from disk."""
        if record.samples_file is None:
            return ()
        return read_samples(self.settings.results_dir / "runs" / record.run_id / record.samples_file)


def _alike(cells: Sequence[Case]) -> dict[object, list[Case]]:
    found: dict[object, list[Case]] = {}
    for case in cells:
        options = tuple(sorted(case.options.items()))
        key = (case.backend, case.precision, case.batch, case.scenario, case.threads, options)
        if case.model not in [known.model for known in found.setdefault(key, [])]:
            found[key].append(case)
    return found


def guard_limits(limits: Sequence[Limit], bench: Bench, machine: str, threads: int) -> Iterator[Finding]:
    """Decide absolute limits, each on up to three measurements of its cell; a finding comes as soon as it stands.

    Args:
        threads: intra-op threads of the cells whose limit does not say.
        machine: this machine's fingerprint; limits of another machine are skipped, and say so.
    """
    elsewhere = [limit for limit in limits if limit.machine not in (None, machine)]
    judged = set(elsewhere)
    for limit in elsewhere:
        yield Finding(
            limit.name,
            Decision.SKIPPED,
            f"the limit ({limit.where}) holds on machine {limit.machine}, this is {machine}; write this machine's with "
            "--set-limits",
            {"limit_ms": limit.limit_ms},
        )
    attempts: dict[Limit, list[Sequence[Slot]]] = {}
    for attempt in range(LIMIT_ATTEMPTS):
        last = attempt == LIMIT_ATTEMPTS - 1
        asked = [limit for limit in limits if limit not in judged]
        cells = {case.id: case for limit in asked for case in (cell_of(limit, threads),)}
        for case, record, slots in bench.measure(list(cells.values())):
            for limit in (one for one in asked if cell_of(one, threads) == case):
                problem = _problem(limit, record, last=last)
                if problem is None:
                    attempts.setdefault(limit, []).append(slots)
                    problem = judge_limit(limit, attempts[limit], last=last)
                if problem.decision is not Decision.MORE:
                    judged.add(limit)
                    yield problem


def cell_of(limit: Limit, threads: int) -> Case:
    """The cell that a limit is about."""
    return Case(
        model=limit.model,
        backend=limit.backend,
        precision=limit.precision,
        batch=limit.batch,
        threads=threads if limit.threads is None else limit.threads,
        options=dict(limit.options),
    )


def _problem(limit: Limit, record: Record, *, last: bool) -> Finding | None:
    """What keeps the record's calls from being judged; None when nothing does."""
    figures: Mapping[str, float | int | str | None] = {"limit_ms": limit.limit_ms}
    if record.status is not Status.OK:
        decision = Decision.SKIPPED if record.status is Status.SKIPPED else Decision.INVALID
        why = record.error.message if record.error else record.status.value
        return Finding(limit.name, decision, f"{record.status.value}: {why}", figures)
    if record.verdict and record.verdict.value is VerdictValue.INVALID:
        noisy = not wrong_answers(record.verdict)
        why = "; ".join(reason.message for reason in record.verdict.reasons)
        return Finding(limit.name, Decision.MORE if noisy and not last else Decision.INVALID, why, figures)
    return None


_DECISIONS = {
    Change.FASTER: Decision.PASS,
    Change.SAME: Decision.PASS,
    Change.FIXED: Decision.PASS,
    Change.SLOWER: Decision.FAIL,
    Change.NEWLY_FAILING: Decision.FAIL,
    Change.INCONCLUSIVE: Decision.INCONCLUSIVE,
    Change.NOT_COMPARABLE: Decision.NOT_COMPARABLE,
    Change.FAILING: Decision.SKIPPED,
}


def guard_baseline(
    baseline: Selection, bench: Bench, machine: str, short: str, delta: float
) -> Iterator[Finding]:
    """Measure a stored run's cells again and compare, one finding after another; the machine must be the same.

    Args:
        machine, short: this machine's fingerprint, and how a table names it.

    Raises:
        NotComparableError: no record of the baseline is of this machine.
    """
    here = [record for record in baseline.records if record.machine.fingerprint == machine]
    if not here:
        other = baseline.records[0].machine
        raise NotComparableError(
            f"--baseline {baseline.name} was measured on another machine: {other.fingerprint} ({other.cpu_model}, "
            f"{other.cpus_usable} CPUs), this is {machine} ({short}); measure a baseline here, or use --base and --head"
        )
    for record in baseline.records:
        if record.machine.fingerprint != machine:
            why = f"it was measured on another machine ({record.machine.fingerprint})"
            yield Finding(record.case.label, Decision.SKIPPED, why)
        elif "inputs_sha256" in record.case.options:
            why = "it was measured on tensors of your own (--inputs), which the guard is not given"
            yield Finding(record.case.label, Decision.NOT_COMPARABLE, why)
    stored = {record.case.id: record for record in here if "inputs_sha256" not in record.case.options}
    for case, record, slots in bench.measure([record.case for record in stored.values()]):
        before = stored[case.id]
        found = compare(
            case.label, (before, baseline.slots(before)), (record, slots), delta=delta, varying=VARYING["run"]
        )
        yield _finding(found)


def _finding(found: Comparison) -> Finding:
    low, high = found.interval or (None, None)
    figures = {
        "ratio": found.ratio,
        "ratio_low": low,
        "ratio_high": high,
        "base_ms": found.a_ms,
        "head_ms": found.b_ms,
    }
    message = found.message.replace("B takes", "now takes").replace("A's time", "the baseline's time")
    return Finding(found.name, _DECISIONS[found.change], message, figures, found.differences)
