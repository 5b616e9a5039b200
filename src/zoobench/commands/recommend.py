"""`zoobench recommend`: what to ship, from stored results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoobench.advice import recommend_from
from zoobench.commands.flags import AsJson, Flag, Names, Strays, refuse
from zoobench.commands.printing import print_blocks, print_json, to_whoever_listens
from zoobench.errors import UsageError, printable
from zoobench.judge.measures import Timed
from zoobench.judge.scope import Scope
from zoobench.judge.wanted import FLAGS, Goal, LatencyLimit, Unstable, Wanted
from zoobench.results.query import load_ranked_rows
from zoobench.scenarios.load import parse_token_limit
from zoobench.terms import OptionValue
from zoobench.units import margin_of, price_per_hour, rate_per_s, share, size_bytes

if TYPE_CHECKING:
    from zoobench.show.document import Block


def recommend(
    *strays: Strays,
    results_dir: Path = Path("results"),
    models: Names = None,
    machine: str | None = None,
    task: str | None = None,
    scenario: str | None = None,
    prompt_tokens: int | None = None,
    new_tokens: int | None = None,
    io_binding: Flag = False,
    minimize: Goal = Goal.LATENCY,
    max_latency: Names = None,
    max_ttft: Names = None,
    max_tpot: Names = None,
    max_memory: str | None = None,
    max_size: str | None = None,
    max_drop: str | None = None,
    min_accuracy: str | None = None,
    min_throughput: str | None = None,
    price: str | None = None,
    calls: int | None = None,
    unstable: Unstable = Unstable.TWICE,
    output: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Say what to ship, under limits on latency, memory, accuracy and cost. It goes by stored results and measures nothing.

    Exit codes: 0 something is recommended, 1 nothing holds every limit, 2 bad usage, 70 it broke.

    Parameters
    ----------
    results_dir
        Where the results are.
    models
        Only these: names or globs.
    machine
        The beginning of its fingerprint, or remote for servers; default: what was measured last. Two are never ranked together.
    task
        Which task to answer for, where results hold several: image_classification, object_detection, text_generation.
    scenario
        Which scenario to answer for, where results hold several; default: one call after another.
    prompt_tokens
        Length of a language model's prompts; default: as measured last.
    new_tokens
        Tokens that a language model makes of each prompt; default: as measured last.
    io_binding
        Rank what was measured with `run --io-binding`, without the copies to and from the device; it never ranks beside the rest.
    minimize
        What is to be as small as can be: latency (at the percentile of --max-latency, else the median), memory, size, energy, cost.
    max_latency
        A percentile and its limit, p99:20ms, or several; without a percentile the median. The upper end of its interval counts.
    max_ttft
        Limit on the time to a language model's first token, written like --max-latency.
    max_tpot
        Limit on the time of each further token, likewise.
    max_memory
        Peak memory of the process, 500MB; on a GPU the larger of that and what was held on the device.
    max_size
        Size of the file, 100MB.
    max_drop
        How much of top-1, or of mAP, may be lost against fp32: 1%. What was not measured is not known, and does not pass.
    min_accuracy
        Top-1, or mAP of a detector: 75%.
    min_throughput
        Items, or a language model's tokens, a second: 100.
    price
        What the machine costs an hour, 0.40/h: gives the cost of a million items.
    calls
        How many calls will be made: says whether making the file pays by then.
    unstable
        twice: an unstable cell comes before valid ones only where it would at twice its time; last: never before one; never: it is
        left out.
    output
        Also write it to this file (.md or .html).
    as_json
        Print JSON.
    """
    refuse(strays)
    from zoobench.show.recommendation import recommendation_blocks
    from zoobench.show.recommendation_data import recommendation_data

    if output is not None and output.suffix.lower() not in _ENDINGS:
        raise UsageError(f"--output {output}: the ending names no format; use .md or .html")
    wanted = Wanted(
        minimize=minimize,
        latency=(
            *_limits("call", max_latency),
            *_limits("ttft", max_ttft),
            *_limits("tpot", max_tpot),
        ),
        max_memory_bytes=None if max_memory is None else size_bytes(max_memory, "--max-memory"),
        max_size_bytes=None if max_size is None else size_bytes(max_size, "--max-size"),
        max_drop=None if max_drop is None else margin_of(max_drop),
        min_accuracy=None if min_accuracy is None else _accuracy(min_accuracy),
        min_throughput=None if min_throughput is None else rate_per_s(min_throughput, "--min-throughput"),
        price_per_hour=None if price is None else price_per_hour(price, "--price"),
        calls=calls,
        unstable=unstable,
    )
    wanted.check()
    tokens = {"prompt_tokens": prompt_tokens, "new_tokens": new_tokens}
    load: dict[str, OptionValue] = {name: count for name, count in tokens.items() if count is not None}
    if io_binding:
        load["io_binding"] = True
    loaded = load_ranked_rows(results_dir)
    for problem in loaded.problems:
        print(f"zoobench: {printable(problem)}", file=sys.stderr)
    found = recommend_from(loaded, wanted, Scope(tuple(models or ()), machine, task, scenario, load))
    blocks = recommendation_blocks(found, results_dir)
    if output is not None:
        _write(output, blocks)
    with to_whoever_listens():
        if as_json:
            print_json(recommendation_data(found, results_dir))
        else:
            print_blocks(blocks)
    return 0 if found.best else 1


_ENDINGS = (".md", ".markdown", ".html")


def _write(output: Path, blocks: list[Block]) -> None:
    from zoobench.show.document import to_markdown
    from zoobench.show.page import to_html
    from zoobench.show.report import write_text

    is_html = output.suffix.lower() == ".html"
    write_text(output, to_html("What to ship", blocks) if is_html else to_markdown(blocks))
    print(f"wrote {output}", file=sys.stderr)


def _limits(of: Timed, said: list[str] | None) -> list[LatencyLimit]:
    """`p99:20ms`, or `20ms` of the median."""
    found = []
    for text in said or ():
        limit = parse_token_limit(text, FLAGS[of])
        percentile = limit.get("latency_percentile", 50.0)
        if percentile != int(percentile):
            raise UsageError(f"{FLAGS[of]} {text!r}: results hold p50, p95 and p99")
        found.append(LatencyLimit(int(percentile), limit["limit_ms"], of))
    return found


def _accuracy(said: str) -> float:
    found = share(said, "--min-accuracy")
    if not found < 1:
        raise UsageError(f"--min-accuracy {said}: less than 100% is needed")
    return found
