"""`zoobench recommend`: what to ship, from stored results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoobench.advice import recommend_from
from zoobench.commands.flags import AsJson, Flag, Names, Strays, refuse
from zoobench.commands.printing import print_blocks, print_json, to_whoever_listens
from zoobench.errors import UsageError, printable
from zoobench.judge.scope import Scope
from zoobench.judge.typed import wanted_of
from zoobench.judge.wanted import Goal, Unstable
from zoobench.results.query import load_ranked_rows
from zoobench.terms import OptionValue

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
        What becomes of unstable numbers. twice: one comes before valid ones only if it would still win at twice its measured time;
        last: after every valid one; never: left out.
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
    wanted = wanted_of(
        minimize=minimize,
        max_latency=max_latency or (),
        max_ttft=max_ttft or (),
        max_tpot=max_tpot or (),
        max_memory=max_memory,
        max_size=max_size,
        max_drop=max_drop,
        min_accuracy=min_accuracy,
        min_throughput=min_throughput,
        price=price,
        calls=calls,
        unstable=unstable,
    )
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
