"""From when each token was there to TTFT, TPOT and ITL. Pure.

With t0 just before a request's ids are submitted and t_i when token i's id is on the host, n tokens, a batch of B and prompts of L:

    TTFT = t_1 − t0                          TPOT = (t_n − t_1) / (n − 1), a request
    ITL = t_(i+1) − t_i, of all requests     prefill = B·L / TTFT, decode = B·(n − 1) / (t_n − t_1), tokens a second

Where clients ask at once, what is made a second is counted over the time from the first request's begin to the last one's end,
and goodput counts those requests alone whose TTFT and TPOT hold the limits.

Other tools give the same names to other things: some put the first token into TPOT.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zoobench.measure.stats import interval_count, percentile, quantile_interval, vif
from zoobench.outcome import Generation, Slot, Spread
from zoobench.spec import Case, concurrency_of
from zoobench.terms import Interval

_MS = 1e6
_LEAST_ABOVE = {0.5: 1, 0.95: 21, 0.99: 101}
"""Quantile → samples from which it is more than the maximum by another name."""


def summarise_tokens(case: Case, slots: Sequence[Slot]) -> Generation | None:
    """Fold all requests of a case; None where none was made.

    Args:
        slots: in time order.
    """
    requests = [np.asarray(times, np.float64) / _MS for slot in slots for times in slot.token_ns]
    if not requests:
        return None
    firsts = np.array([times[0] for times in requests])
    gaps = [np.diff(times) for times in requests]
    new_tokens, prompt_tokens = int(case.options["new_tokens"]), int(case.options["prompt_tokens"])
    per_token = np.array([(times[-1] - times[0]) / (new_tokens - 1) for times in requests if new_tokens > 1])
    pooled = np.concatenate(gaps)
    # A server may send several tokens at once, or hold one back that is no whole character.
    whole = all(len(times) == new_tokens for times in requests)
    median_tpot = float(np.median(per_token)) if len(per_token) else None
    return Generation(
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        requests=len(requests),
        ttft=spread(firsts),
        tpot=spread(per_token),
        itl=spread(pooled),
        prefill_tokens_per_s=case.batch * prompt_tokens / (float(np.median(firsts)) / 1e3),
        decode_tokens_per_s=None if not median_tpot else case.batch / (median_tpot / 1e3),
        itl_by_position_ms=tuple(np.median(np.stack(gaps), axis=0).tolist())
        if whole and new_tokens > 1
        else (),
        chunks=None if whole else float(np.mean([len(times) for times in requests])),
        concurrency=concurrency_of(case),
        **_together(case, slots, firsts, per_token),
    )


def _together(
    case: Case, slots: Sequence[Slot], firsts: npt.NDArray[np.float64], per_token: npt.NDArray[np.float64]
) -> dict[str, float | int | None]:
    """What all clients had together, and how much of it held the limits."""
    seconds = busy = 0.0
    for slot in slots:
        begins = np.asarray(slot.begun_ns, np.float64)
        taken = np.asarray(slot.samples_ns, np.float64)
        if len(begins):
            seconds += float((begins + taken).max() - begins.min()) / 1e9
            busy += float(taken.sum()) / 1e9
    if seconds <= 0.0:
        return {}
    count = len(firsts)
    limits = [case.options.get(name) for name in ("ttft_limit_ms", "tpot_limit_ms")]
    found: dict[str, float | int | None] = {
        "requests_per_s": count / seconds,
        "tokens_per_s": count * case.batch * int(case.options["new_tokens"]) / seconds,
        "mean_in_flight": busy / seconds,
        "joules_per_token": _joules(slots, count * case.batch * int(case.options["new_tokens"])),
        "ttft_limit_ms": None if limits[0] is None else float(limits[0]),
        "tpot_limit_ms": None if limits[1] is None else float(limits[1]),
    }
    if limits != [None, None]:
        held = np.ones(count, bool)
        for limit, values in zip(limits, (firsts, per_token), strict=True):
            if limit is not None and len(values):
                held &= values <= float(limit)
        found |= {"good": int(held.sum()), "goodput_per_s": float(held.sum()) / seconds}
    return found


def _joules(slots: Sequence[Slot], tokens: int) -> float | None:
    spent = [slot.noise.energy_j for slot in slots if slot.token_ns]
    known = [joules for joules in spent if joules is not None]
    return sum(known) / tokens if len(known) == len(spent) else None


def spread(values_ms: npt.NDArray[np.float64]) -> Spread:
    """Percentiles with intervals of values in time order, ms."""
    ordered = np.sort(values_ms)
    found: dict[str, float | Interval | None] = {}
    for name, p in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        known = len(ordered) >= _LEAST_ABOVE[p]
        middle = percentile(ordered, p) if known else None
        found[f"{name}_ms"] = middle
        found[f"{name}_interval_ms"] = None
        if middle is not None:
            count = interval_count(len(ordered), vif(values_ms, middle, p), p)
            found[f"{name}_interval_ms"] = quantile_interval(ordered, p, count)
    return Spread(n=len(ordered), mean_ms=float(ordered.mean()) if len(ordered) else 0.0, **found)
