"""What a crashed run had measured becomes records."""

from __future__ import annotations

from pathlib import Path

from zoobench.driver.settings import Observer
from zoobench.outcome import CaseError, summarise_load
from zoobench.results.record import Record, summarise_noise
from zoobench.results.store import now, unfinished


def recover(results_dir: Path, observer: Observer) -> list[Record]:
    """Make records of what a crashed run had measured.

    Returns:
        The `interrupted` records that were written, each holding the slots that had arrived.
    """
    written: list[Record] = []
    for writer, cases in unfinished(results_dir):
        from zoobench.measure.stats import describe, throughput_per_s

        for case in cases:
            latency = describe(case.slots) if case.slots else None
            load = summarise_load([slot.load for slot in case.slots if slot.load])
            batch = case.skeleton.case.batch
            throughput = load.completed_qps if load else throughput_per_s(batch, latency) if latency else None
            record = case.skeleton.model_copy(
                update={
                    "recorded_at": now(),
                    "latency": latency,
                    "throughput_per_s": throughput,
                    "load": load,
                    "noise": summarise_noise([slot.noise for slot in case.slots]),
                    "error": CaseError(
                        stage="slot", message="the run ended before this case was done; run again"
                    ),
                }
            )
            written.append(writer.write(record, case.slots))
        kept = (
            f"{len(cases)} unfinished cells were kept as interrupted"
            if cases
            else "nothing could be saved of it"
        )
        observer.note(f"run {writer.run_id} had ended early: {kept}")
    return written
