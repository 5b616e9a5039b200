"""The one place that speaks to MLPerf LoadGen: its settings, one test, and the word that queries are done."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from zoobench.errors import UsageError, install_extra
from zoobench.scenarios.load import MISSING
from zoobench.scenarios.loadgen_log import Log, read_log

Issue = Callable[[Sequence[int], Sequence[int]], None]
"""Is given the ids of a query's samples, and which inputs they are of."""

_SAMPLES = 64


def library() -> ModuleType:
    """LoadGen's module.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import mlperf_loadgen
    except ImportError as error:
        raise UsageError(MISSING + install_extra("loadgen")) from error
    found: ModuleType = mlperf_loadgen
    return found


def settings_of(scenario: str, seconds: float, queries: int, seed: float) -> Any:
    """LoadGen's settings of a performance test that lasts so long and holds so many queries, at least."""
    loadgen = library()
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = max(1, round(seconds * 1e3))
    settings.min_query_count = max(1, queries)
    settings.qsl_rng_seed = settings.sample_index_rng_seed = settings.schedule_rng_seed = int(seed)
    return settings


def run_test(settings: Any, issue: Issue, *, trace: bool = True) -> Log:
    """One LoadGen test; its files lie in a folder that is gone afterwards.

    Args:
        issue: is given the ids of a query's samples, on the calling thread.
        trace: keep every query's times; without it only LoadGen's results.
    """
    loadgen = library()
    with tempfile.TemporaryDirectory(prefix="zoobench-loadgen-") as name:
        logging = loadgen.LogSettings()
        logging.log_output.outdir = name
        logging.enable_trace = trace
        logging.log_mode = loadgen.LoggingMode.EndOfTestOnly
        sut = loadgen.ConstructFastSUT(issue, _nothing)
        qsl = loadgen.ConstructQSL(_SAMPLES, _SAMPLES, _nothing, _nothing)
        try:
            # Without a name of its own LoadGen takes an audit.config from the user's current folder.
            loadgen.StartTestWithLogSettings(sut, qsl, settings, logging, f"{name}/no-audit.config")
        finally:
            loadgen.DestroyQSL(qsl)
            loadgen.DestroyFastSUT(sut)
        return read_log(Path(name))


def complete(ids: Sequence[int], tokens: int = 0) -> None:
    """Tell LoadGen that these samples are done, and of how many tokens each is."""
    loadgen = library()
    loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(number, 0, 0, tokens) for number in ids])


def first_token(number: int) -> None:
    """Tell LoadGen that a sample's first token is there."""
    loadgen = library()
    loadgen.FirstTokenComplete([loadgen.QuerySampleResponse(number, 0, 0)])


def _nothing(*_: Any) -> None:
    """The inputs are bound before, so there is nothing to load, and every answer is complete when it is given."""
