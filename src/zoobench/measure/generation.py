"""From when each token was there to TTFT, TPOT and ITL. Pure.

With t0 just before a request's ids are submitted and t_i when token i's id is on the host, n tokens, a batch of B and prompts of L:

    TTFT = t_1 − t0                          TPOT = (t_n − t_1) / (n − 1), a request
    ITL = t_(i+1) − t_i, of all requests     prefill = B·L / TTFT, decode = B·(n − 1) / (t_n − t_1), tokens a second

Other tools give the same names to other things: some put the first token into TPOT.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zoobench.measure.stats import interval_count, percentile, quantile_interval, vif
from zoobench.outcome import Generation, Interval, Slot, Spread
from zoobench.spec import Case

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
    new_tokens, prompt_tokens = len(requests[0]), int(case.options["prompt_tokens"])
    per_token = np.array([gap.mean() for gap in gaps]) if new_tokens > 1 else np.empty(0)
    pooled = np.concatenate(gaps)
    median_tpot = float(np.median(per_token)) if len(per_token) else None
    return Generation(
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        requests=len(requests),
        ttft=spread(firsts),
        tpot=spread(per_token),
        itl=spread(pooled),
        prefill_tokens_per_s=case.batch * prompt_tokens / (float(np.median(firsts)) / 1e3),
        decode_tokens_per_s=None if median_tpot is None else case.batch / (median_tpot / 1e3),
        itl_by_position_ms=tuple(np.median(np.stack(gaps), axis=0).tolist()) if new_tokens > 1 else (),
    )


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
