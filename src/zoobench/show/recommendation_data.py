"""`zoobench recommend --json`: the answer for programs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from zoobench.judge.measures import accuracy_of, cost_of, latency_of, memory_bytes, throughput_of
from zoobench.judge.payback import Payback
from zoobench.judge.recommend import Recommendation
from zoobench.results.row import RankedRow
from zoobench.shell import command_line
from zoobench.show.recommendation import answer
from zoobench.show.recommendation_tables import commands


def recommendation_data(found: Recommendation, results_dir: Path) -> dict[str, Any]:
    """For programs."""

    def of(row: RankedRow | None) -> dict[str, Any] | None:
        return None if row is None else _row_data(found, row)

    return {
        "answer": answer(found),
        "file_command": None if found.file_words is None else command_line(found.file_words),
        "minimized": found.goal.name,
        "limits": [{"flag": limit.flag, "value": limit.written} for limit in found.limits],
        "machine": found.question.fingerprint,
        "remote": found.question.remote,
        "task": found.question.task,
        "scenario": found.question.scenario,
        "load": dict(found.question.load),
        "asides": list(found.asides),
        "judged": found.judged,
        "best": of(found.best),
        "best_valid": of(found.best_valid),
        "beats_best": of(found.beats_best),
        "leader": of(found.leader),
        "decided_by": found.decided_by,
        "ties": [of(row) for row in found.ties],
        "runners_up": [of(row) for row in found.runners_up],
        "cautions": list(found.cautions),
        "better_if_steady": [of(row) for row in found.better_if_steady],
        "unranked": [of(row) for row in found.unranked],
        "invalid": [
            {**_case_data(row), "reasons": [asdict(reason) for reason in row.reasons]}
            for row in found.invalid
        ],
        "without_number": [{**_case_data(row), "status": row.status.value} for row in found.missing],
        "excluded": [
            {
                "flag": one.limit.flag,
                "value": one.limit.written,
                "excluded": one.excluded,
                "alone": one.alone,
                "unknown": one.unknown,
                "open": [_case_data(row) for row in one.open],
                "nearest": [
                    {
                        **_case_data(row),
                        "needed": one.limit.needed(row),
                        "beyond": one.limit.beyond(row),
                    }
                    for row in one.nearest
                ],
            }
            for one in found.exclusions
        ],
        "relax": [
            {
                "changes": [{"flag": limit.flag, "value": limit.written} for limit in one.changes],
                "would_recommend": of(one.row),
            }
            for one in found.relax
        ],
        "front": {
            "of": list(found.front_aims),
            "unplaced": found.front_unplaced,
            "rows": [of(row) for row in found.front],
        },
        "not_measured": [
            {
                "kind": gap.kind,
                "what": gap.what,
                "cells": gap.cells,
                "commands": list(commands(gap, results_dir)),
            }
            for gap in found.gaps
        ],
    }


def _case_data(row: RankedRow) -> dict[str, Any]:
    names = ("model", "backend", "device", "precision", "batch", "threads")
    return {**{name: getattr(row, name) for name in names}, "options": dict(row.options or {})}


def _row_data(found: Recommendation, row: RankedRow) -> dict[str, Any]:
    task = found.question.task
    price = found.wanted.price_per_hour
    measures = {
        "goal": found.goal,
        **{limit.measure.name: limit.measure for limit in found.limits},
        "p50 latency": latency_of(50),
        "throughput": throughput_of(task),
        accuracy_of(task).name: accuracy_of(task),
        **({"cost": cost_of(task, price)} if price is not None else {}),
    }
    pays = found.paybacks.get(id(row))
    return {
        **_case_data(row),
        "verdict": row.verdict.value if row.verdict else None,
        "figures": {
            name: {"value": figure.value, "interval": figure.interval}
            for name, measure in measures.items()
            for figure in (measure.figure(row),)
        },
        "peak_memory_bytes": memory_bytes(row),
        "size_bytes": row.size_bytes,
        "drop_decision": row.drop_decision.value if row.drop_decision else None,
        "licence": row.licence,
        "breaks_even": None if pays is None else _payback_data(pays, found.wanted.calls),
        "run_id": row.run_id,
        "measurement_key": row.measurement_key,
    }


def _payback_data(pays: Payback, calls: int | None) -> dict[str, Any]:
    return {
        "against": _case_data(pays.base),
        "pays": pays.pays.value,
        "calls": pays.calls,
        "once_s": pays.once_s,
        "made_s": pays.made_s,
        "load_s": pays.load_s,
        "compile_s": pays.compile_s,
        "saving_ms": pays.saving_ms,
        "why": pays.why or None,
        "saved_s": None if calls is None else pays.saved_s(calls),
    }
