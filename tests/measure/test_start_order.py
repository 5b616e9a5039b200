"""Who is started first changes from fork to fork, so that the order of starting favours nobody."""

from __future__ import annotations

from tests.measure.fake_group import run, seat, virtual

from zoobench.measure.channel import Worker
from zoobench.measure.effort import EffortPlan
from zoobench.spec import Case


def test_every_arm_is_started_first_as_often_as_the_others() -> None:
    started: list[str] = []

    def watched(case: Case) -> Worker:
        started.append(case.arm)
        return virtual(case)

    plan = EffortPlan(60, 0.1, 6, 1.0, 20.0, (50,))
    result = run(seat("a"), seat("b"), seat("c"), plan=plan, open_worker=watched)
    assert "".join(started) == "abcbcacab" * 2
    assert [len({slot.fork for slot in one.slots}) for one in result.results] == [6, 6, 6]
