"""zoobench's own session worker, with a bare loop over the very call that its slots time, in the same process.

`parity.py` starts it instead of `zoobench.worker`. The two take turns call by call: in the pause that a scenario makes
before each of its calls (`--gap`), outside its timing, the bare loop times one call of its own. Coarser turns would
need an hour: on a virtual machine whose speed wanders within half a second, turns of twenty calls differ by several
percent even when both sides are the same code.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from zoobench.scenarios import SlotBudget
from zoobench.worker import __main__ as worker
from zoobench.worker.roles import ROLES
from zoobench.worker.session import SessionRole


class BareSession(SessionRole):
    """The session role, which adds to every slot's reply `bare_ns`, the calls that the bare loop timed meanwhile."""

    _bare_ns: list[int]

    def slot(self, budget: SlotBudget) -> dict[str, Any]:
        """As always."""
        self._bare_ns = []
        return {**super().slot(budget), "bare_ns": self._bare_ns}

    def pause(self, seconds: float) -> None:
        """One call of the bare loop."""
        call = self._bound()
        begin = time.perf_counter_ns()
        call()
        self._bare_ns.append(time.perf_counter_ns() - begin)


if __name__ == "__main__":
    ROLES["session"] = "bare_session:BareSession"
    sys.exit(worker.main(sys.argv[1:]))
