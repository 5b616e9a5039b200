"""What to ship, from a results folder: the results, what could be run beside them, and the judge.

Apart from `api`, because a recommendation measures nothing: what a run needs would take longer to import than the answer.
"""

from __future__ import annotations

from pathlib import Path

from zoobench.backends import BACKENDS
from zoobench.errors import UsageError
from zoobench.judge.asks import Carried
from zoobench.judge.holes import Offer
from zoobench.judge.recommend import Recommendation
from zoobench.judge.recommend import recommend as judged
from zoobench.judge.scope import Scope
from zoobench.judge.wanted import Wanted
from zoobench.results.query import Loaded, collector_paused, load_ranked_rows
from zoobench.results.row import RankedRow


def recommend(
    results_dir: Path | str = "results", wanted: Wanted | None = None, scope: Scope | None = None
) -> Recommendation:
    """What to ship, from stored results: `recommend(wanted=Wanted(latency=(LatencyLimit(99, 20.0),)))`.

    Args:
        wanted: what must hold and what is minimized; None: the lowest median latency.
        scope: of which results; None: all that go together.

    Raises:
        UsageError: there is no such folder, nothing in it goes together, or the wish cannot be meant.
    """
    return recommend_from(load_ranked_rows(Path(results_dir)), wanted or Wanted(), scope)


def recommend_from(loaded: Loaded[RankedRow], wanted: Wanted, scope: Scope | None = None) -> Recommendation:
    """`recommend` for results that were loaded already."""
    _check_readable(loaded)
    offers = {
        name: Offer(row.device, row.precisions, row.tasks) for name, row in BACKENDS.items() if row.ranked
    }
    with collector_paused():
        return judged(
            loaded.records,
            wanted,
            scope,
            offers=offers,
            carried={run.run_id: Carried.of(run.argv) for run in loaded.runs},
        )


def _check_readable(loaded: Loaded[RankedRow]) -> None:
    """Results that nobody can read are no reason to measure."""
    if loaded.records or not loaded.problems:
        return
    if loaded.newer:
        raise UsageError(
            f"no record can be read: {loaded.newer:,} {'is' if loaded.newer == 1 else 'are'} of a newer zoobench; upgrade this one"
        )
    more = f" (and {len(loaded.problems) - 1} more)" if len(loaded.problems) > 1 else ""
    raise UsageError(f"no record can be read: {loaded.problems[0]}{more}")
