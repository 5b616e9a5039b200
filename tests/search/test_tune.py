"""The whole search on the fake backend: the known best is found, what is wrong never wins, nothing is lost."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from zoobench import api, searches
from zoobench.backends import BACKENDS
from zoobench.driver import Settings
from zoobench.executors import open_executor
from zoobench.executors.local import LocalExecutor
from zoobench.measure.conductor import GroupResult
from zoobench.outcome import Verdict
from zoobench.results.query import load_records, load_run
from zoobench.search.space import Axis, Configuration, configurations
from zoobench.search.tune import MOST_IN_TURNS, MOST_ON_GPU, tune, workers_at_once
from zoobench.search.tuning import Goal, Tuning
from zoobench.spec import Seat
from zoobench.terms import OnExisting, Reason, Status, VerdictValue

SLOWDOWNS = Axis("fake_slowdown", 1.0, (0.7, 0.9, 1.1, 1.3))
PLACES = Axis("fake_seed", 0, (1, 2))
SHORTCUT = Axis("fake_fault", "", ("shortcut",))


class Counting(LocalExecutor):
    """Counts groups and how many cases lived at once; interrupted at the group `stop`."""

    def __init__(self, folder: Path, stop: int | None = None) -> None:
        super().__init__(cache=folder / "cache")
        self.sizes: list[int] = []
        self.stop = stop

    def run(self, groups: Iterable[Sequence[Seat]], *args: Any, **more: Any) -> Iterator[GroupResult]:
        def counted() -> Iterator[Sequence[Seat]]:
            for seats in groups:
                self.sizes.append(len(seats))
                yield seats

        for result in super().run(counted(), *args, **more):
            if len(self.sizes) == self.stop:
                cut = tuple(one.model_copy(update={"status": Status.INTERRUPTED}) for one in result.results)
                yield GroupResult(cut, interrupted=True)
                return
            yield result


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoobench.machine.usable_cpu_count", lambda: 2)


def search(
    folder: Path,
    *axes: Axis,
    executor: LocalExecutor | None = None,
    goal: Goal = Goal.LATENCY,
    batches: Sequence[int] | None = None,
    options: dict[str, Any] | None = None,
    on_existing: OnExisting = OnExisting.RESUME,
) -> Tuning:
    asked = api.request(
        ["resnet18"], backends=["fake"], batch_sizes=batches or (1,), options=options or {"fake_sigma": 0.01}
    )
    settings = Settings(results_dir=folder / "results", seed=7, on_existing=on_existing)
    [found] = tune(
        asked,
        settings,
        executor or open_executor("local", cache=folder / "cache"),
        api.Quiet(),
        goal=goal,
        batches_given=batches is not None,
        space={"fake": axes},
    )
    return found


def test_it_finds_the_known_best_and_tells_what_it_is_worth_afresh(tmp_path: Path) -> None:
    found = search(tmp_path, SLOWDOWNS, PLACES)
    [cell] = found.cells
    assert dict(cell.best.options)["fake_slowdown"] == 0.7
    assert cell.fresh is not None and cell.fresh.gained and cell.fresh.ratio is not None
    low, high = cell.fresh.ratio.interval
    assert low <= 0.7 <= high and high - low < 0.05
    assert cell.fresh.ratio.kind == "over_forks" and len(cell.fresh.ratio.by_fork) == 5
    assert len(cell.trials) == len(configurations("fake", 2, {"fake": (SLOWDOWNS, PLACES)})) - 1
    assert "measured afresh over 5 processes" in cell.message and "\n" not in cell.message


def test_every_trial_says_in_which_rung_it_left_and_why(tmp_path: Path) -> None:
    [cell] = search(tmp_path, SLOWDOWNS, PLACES).cells
    slow = [t for t in cell.trials if dict(t.configuration.options).get("fake_slowdown", 1.0) > 1.0]
    assert slow and all(t.rung == 1 and t.why and "slower" in t.why for t in slow)
    assert max(t.rung for t in cell.trials) == cell.rungs > 1
    assert [t for t in cell.trials if t.why is None]


def test_fast_but_wrong_never_wins_and_is_said(tmp_path: Path) -> None:
    [cell] = search(tmp_path, SLOWDOWNS, SHORTCUT).cells
    assert dict(cell.best.options) == {"fake_slowdown": 0.7}
    wrong = [t for t in cell.trials if ("fake_fault", "shortcut") in t.configuration.options]
    assert len(wrong) == 10
    assert all(t.rung == 1 and t.estimate is None for t in wrong)
    assert all(t.why and t.why.startswith("its outputs cannot be used: ") for t in wrong)


def test_what_the_user_has_decided_is_held_fast(tmp_path: Path) -> None:
    held = {"fake_slowdown": 0.9, "fake_sigma": 0.01}
    [cell] = search(tmp_path, SLOWDOWNS, PLACES, options=held).cells
    assert {name for t in cell.trials for name, _ in t.configuration.options} == {"fake_seed"}
    stored = load_records(tmp_path / "results").records
    assert {r.case.options["fake_slowdown"] for r in stored} == {0.9}


def test_where_nothing_is_faster_the_defaults_are_written(tmp_path: Path) -> None:
    found = search(tmp_path, Axis("fake_slowdown", 1.0, (1.2, 1.4)))
    [cell] = found.cells
    assert cell.best == cell.defaults == Configuration(2)
    [entry] = searches.tuned_entries([found])
    assert (entry.threads, entry.options) == (2, ())


def test_luck_in_the_search_is_no_gain(tmp_path: Path) -> None:
    """Equal configurations whose processes differ by 3%: the best of them looks faster, and is not."""
    same = Axis("fake_seed", 0, tuple(range(1, 16)))
    looked, gained = [], []
    for trial in range(3):
        options = {"fake_fork_sigma": 0.03, "fake_correlation": 0.1 + trial / 100}
        [cell] = search(tmp_path / str(trial), same, options=options).cells
        if cell.fresh is not None:
            looked.append(cell.fresh.searched)
            gained.append(cell.fresh.gained)
            assert cell.fresh.gained or (cell.best == cell.defaults and "partly luck" in cell.message)
    assert min(looked) < 0.97
    assert not any(gained)


def test_everything_is_a_record_and_a_repeat_measures_nothing(tmp_path: Path) -> None:
    first = Counting(tmp_path)
    found = search(tmp_path, SLOWDOWNS, PLACES, executor=first)
    stored = load_records(tmp_path / "results").records
    assert len(stored) == sum(first.sizes)
    assert {r.case.options.get("fake_slowdown", 1.0) for r in stored} == {1.0, 0.7, 0.9, 1.1, 1.3}
    again = Counting(tmp_path)
    assert search(tmp_path, SLOWDOWNS, PLACES, executor=again) == found
    assert again.sizes == []
    rerun = Counting(tmp_path)
    search(tmp_path, SLOWDOWNS, PLACES, executor=rerun, on_existing=OnExisting.RERUN)
    assert rerun.sizes == first.sizes


@pytest.mark.parametrize("stop", [2, 4])
def test_an_interruption_keeps_what_was_measured_and_the_next_goes_on(tmp_path: Path, stop: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, SLOWDOWNS, PLACES, executor=Counting(tmp_path, stop))
    stored = load_records(tmp_path / "results").records
    assert sum(r.status is Status.INTERRUPTED for r in stored) > 1
    whole, rest = Counting(tmp_path / "whole"), Counting(tmp_path)
    expected = search(tmp_path / "whole", SLOWDOWNS, PLACES, executor=whole)
    found = search(tmp_path, SLOWDOWNS, PLACES, executor=rest)
    assert found.cells[0].best == expected.cells[0].best
    assert rest.sizes == whole.sizes[stop - 1 :]


def test_few_workers_live_at_once_and_each_bracket_has_the_defaults(tmp_path: Path) -> None:
    executor = Counting(tmp_path)
    search(tmp_path, SLOWDOWNS, PLACES, executor=executor)
    assert max(executor.sizes) <= MOST_IN_TURNS
    for run in (tmp_path / "results" / "runs").iterdir():
        records = [r for r in load_records(tmp_path / "results").records if r.run_id == run.name]
        assert any(r.case.threads == 2 and set(r.case.options) == {"fake_sigma"} for r in records)


def test_throughput_doubles_the_batch_until_the_knee_and_tunes_there(tmp_path: Path) -> None:
    # The fake takes batch^0.8: every doubling brings 15% more, so there is no knee below the largest batch.
    found = search(tmp_path, Axis("fake_slowdown", 1.0, (0.8,)), goal=Goal.THROUGHPUT)
    assert found.knee is None
    assert [cell.batch for cell in found.cells] == [max(found.curve)]
    assert sorted(found.curve) == [2**n for n in range(8)]
    given = search(tmp_path, Axis("fake_slowdown", 1.0, (0.8,)), goal=Goal.THROUGHPUT, batches=[1, 4])
    assert sorted(given.curve) == [1, 4] and [cell.batch for cell in given.cells] == [4]


def test_calls_that_become_too_long_end_the_doubling(tmp_path: Path) -> None:
    options = {"fake_p50_ms": 400.0, "fake_sigma": 0.01}
    found = search(tmp_path, Axis("fake_slowdown", 1.0, (0.8,)), goal=Goal.THROUGHPUT, options=options)
    assert sorted(found.curve) == [1, 2, 4] and "batches above 4 were not tried" in found.notes[0]


def test_slow_calls_have_turns_enough(tmp_path: Path) -> None:
    options = {"fake_p50_ms": 700.0, "fake_sigma": 0.01}
    [cell] = search(tmp_path, SLOWDOWNS, options=options).cells
    assert dict(cell.best.options) == {"fake_slowdown": 0.7} and cell.fresh is not None and cell.fresh.gained


def test_a_backend_whose_defaults_fail_is_skipped_with_the_reason(tmp_path: Path) -> None:
    found = search(tmp_path, SLOWDOWNS, options={"fake_fault": "load"})
    assert found.cells == () and found.skipped is not None
    assert "its defaults cannot be measured: failed: " in found.skipped
    wrong = search(tmp_path, SLOWDOWNS, options={"fake_fault": "nan"})
    assert wrong.skipped is not None and "its outputs cannot be used" in wrong.skipped


def test_a_backend_that_cannot_run_here_or_has_no_options_is_skipped(tmp_path: Path) -> None:
    found = search(tmp_path, options=None)
    assert found.skipped is None  # threads alone
    asked = api.request(["resnet18"], backends=["ort_genai"])
    settings = Settings(results_dir=tmp_path / "results")
    [other] = tune(asked, settings, Refusing(tmp_path), api.Quiet())
    assert other.skipped == "there is none here"


class Refusing(Counting):
    """No runtime is installed."""

    def probe(self, backends: Sequence[str]) -> dict[str, str | None]:
        return dict.fromkeys(backends, "there is none here")


def test_what_is_found_is_json(tmp_path: Path) -> None:
    import json

    body = json.loads(json.dumps(search(tmp_path, SLOWDOWNS).as_dict()))
    [cell] = body["cells"]
    assert cell["best"]["options"] == {"fake_slowdown": 0.7} and cell["fresh"]["gained"] is True
    assert cell["fresh"]["ratio"]["interval"][1] < 1


class Contended(Counting):
    """Another process used the CPUs: in all of a group or in its last case, in these groups, counted from 1."""

    value, code = VerdictValue.INVALID, "cpu_contended"

    def __init__(self, folder: Path, which: slice, groups: Container[int] = range(10**9)) -> None:
        super().__init__(folder)
        self.which, self.groups = which, groups

    def run(self, groups: Iterable[Sequence[Seat]], *args: Any, **more: Any) -> Iterator[GroupResult]:
        reason = Reason(code=self.code, message="other processes used up to 84% of the CPUs")
        verdict = Verdict(value=self.value, reasons=(reason,))
        for result in super().run(groups, *args, **more):
            found = list(result.results)
            if len(self.sizes) in self.groups:
                hit = found[self.which]
                found[self.which] = [one.model_copy(update={"verdict": verdict}) for one in hit]
            yield GroupResult(tuple(found), result.interrupted)


def test_a_machine_that_is_busy_all_the_time_ends_it_early_and_decides_nothing(tmp_path: Path) -> None:
    executor = Contended(tmp_path, slice(None))
    found = search(tmp_path, SLOWDOWNS, PLACES, executor=executor)
    [cell] = found.cells
    assert executor.sizes == [1, 1, 7, 7]
    assert not cell.decided and "given up: disturbed twice: other processes used" in cell.message
    assert searches.tuned_entries([found]) == []


def test_what_was_disturbed_once_takes_its_turns_again(tmp_path: Path) -> None:
    executor = Contended(tmp_path, slice(None), groups=(2,))
    [cell] = search(tmp_path, SLOWDOWNS, executor=executor).cells
    assert executor.sizes[1] == executor.sizes[2]
    assert dict(cell.best.options) == {"fake_slowdown": 0.7} and cell.decided


def test_what_is_disturbed_twice_is_out_and_said(tmp_path: Path) -> None:
    executor = Contended(tmp_path, slice(-1, None), groups=range(2, 6))
    [cell] = search(tmp_path, SLOWDOWNS, executor=executor).cells
    out = [t for t in cell.trials if t.why and t.why.startswith("disturbed twice: ")]
    assert len(out) == 2 and all(t.estimate is None and t.rung == 1 for t in out)


class Drifting(Contended):
    """The numbers moved while they were measured."""

    value, code = VerdictValue.UNSTABLE, "drift"


BATCHES: dict[str, Any] = {"goal": Goal.THROUGHPUT, "batches": [1, 4, 8]}


def test_a_batch_is_chosen_by_rates_that_nothing_disturbed(tmp_path: Path) -> None:
    """Larger batches bring more here; the largest was disturbed twice, so it is no point of the curve."""
    axis = Axis("fake_slowdown", 1.0, (0.8,))
    clear = search(tmp_path / "clear", axis, **BATCHES)
    assert clear.cells[0].batch == 8 and clear.notes == ()
    executor = Contended(tmp_path, slice(None), groups=(3, 4))
    found = search(tmp_path, axis, executor=executor, **BATCHES)
    assert sorted(found.curve) == [1, 4] and found.cells[0].batch == 4
    [note] = found.notes
    assert note.startswith("batch 8 is no point of the batch curve: disturbed twice: other processes used")


def test_what_disturbed_a_batch_once_is_measured_again(tmp_path: Path) -> None:
    for number, kind in enumerate((Contended, Drifting)):
        executor = kind(tmp_path / str(number), slice(None), groups=(3,))
        found = search(
            tmp_path / str(number), Axis("fake_slowdown", 1.0, (0.8,)), executor=executor, **BATCHES
        )
        assert sorted(found.curve) == [1, 4, 8] and found.cells[0].batch == 8 and found.notes == ()
        assert executor.sizes[:4] == [1, 1, 1, 1]


def test_a_rate_that_moves_twice_is_told(tmp_path: Path) -> None:
    executor = Drifting(tmp_path, slice(None), groups=(3, 4))
    found = search(tmp_path, Axis("fake_slowdown", 1.0, (0.8,)), executor=executor, **BATCHES)
    assert sorted(found.curve) == [1, 4, 8]
    assert found.notes == ("the rate at batch 8 is unstable, measured twice (drift)",)


def test_where_every_batch_was_disturbed_none_is_chosen(tmp_path: Path) -> None:
    executor = Contended(tmp_path, slice(None))
    found = search(tmp_path, SLOWDOWNS, executor=executor, goal=Goal.THROUGHPUT)
    [cell] = found.cells
    assert executor.sizes == [1, 1] and found.curve == {}
    assert not cell.decided and cell.message.startswith("given up: disturbed twice: ")
    assert "larger batches were not tried" in found.notes[0]


def test_what_memory_took_apart_is_no_pair_and_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver measures one after another what does not fit together: such rounds have the same numbers and are no turns."""
    monkeypatch.setattr("zoobench.driver.apart", lambda groups, *_, **__: [[s] for g in groups for s in g])
    found = search(tmp_path, SLOWDOWNS)
    [cell] = found.cells
    assert all(one.open and one.estimate is None for one in cell.trials)
    assert not cell.decided and cell.fresh is None
    assert "none of 9 other configurations could be compared with the defaults" in cell.message
    assert "it did not fit into memory beside the defaults" in cell.message
    assert searches.tuned_entries([found]) == []


def test_a_winner_that_did_not_fit_beside_the_defaults_afresh_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tight(groups: list[list[Seat]], *_: Any, **__: Any) -> list[list[Seat]]:
        return [[s] for g in groups for s in g] if len(groups[0]) == 2 else groups

    monkeypatch.setattr("zoobench.driver.apart", lambda groups, *_, **__: tight(groups) if groups else groups)
    [cell] = search(tmp_path, SLOWDOWNS).cells
    assert cell.fresh is not None and not cell.fresh.gained and not cell.decided
    assert "decides nothing (it did not fit into memory beside the defaults" in cell.message


def test_each_run_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many searches the folder holds: reading them all for each group was quadratic."""
    read: list[Path] = []

    def reading(folder: Path) -> Any:
        read.append(folder)
        return load_run(folder)

    search(tmp_path, SLOWDOWNS, PLACES)
    monkeypatch.setattr("zoobench.driver.earlier.load_run", reading)
    search(tmp_path, SLOWDOWNS, PLACES)
    assert sorted(read) == sorted((tmp_path / "results" / "runs").iterdir())


def test_no_more_workers_live_at_once_than_fit_into_memory() -> None:
    gb = 10**9
    assert workers_at_once(BACKENDS["pytorch"], 1 * gb, 100 * gb) == MOST_IN_TURNS
    assert workers_at_once(BACKENDS["pytorch"], 1 * gb, 5 * gb) == 4
    assert workers_at_once(BACKENDS["pytorch"], 4 * gb, 5 * gb) == 1
    assert workers_at_once(BACKENDS["pytorch"], None, 5 * gb) == MOST_IN_TURNS
    assert workers_at_once(BACKENDS["onnx_cuda"], 1 * gb, 100 * gb) == MOST_ON_GPU


def test_where_not_even_two_fit_nothing_is_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoobench.search.tune.workers_at_once", lambda *_: 1)
    found = search(tmp_path, SLOWDOWNS)
    assert "not memory enough for two" in found.cells[0].message
    assert searches.tuned_entries([found]) == []


def test_a_long_last_rung_is_not_taken_for_the_fresh_measurement(tmp_path: Path) -> None:
    """Of many that are hardly told apart the last two are measured for long in one process each, longer than afresh."""
    alike = tuple(1.0 - 0.0001 * n for n in range(18))
    found = search(
        tmp_path, Axis("fake_slowdown", 1.0, alike[1:]), options={"fake_p50_ms": 30.0, "fake_sigma": 0.2}
    )
    [cell] = found.cells
    assert cell.rungs >= 4 and cell.fresh is not None and cell.fresh.ratio is not None
    assert len(cell.fresh.ratio.by_fork) == 5
