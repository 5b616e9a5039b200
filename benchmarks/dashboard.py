"""How long the dashboard's pages take over 20,000 records, in multiples of `python -c pass` on the same machine.

Streamlit runs a page's script for each visit and each change; its own AppTest runs the same script without a browser, which is
what is timed. The first page includes reading the records; a server has imported its pages before it listens. What a browser takes
to draw is no part of it.

usage: python benchmarks/dashboard.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processes import NOTHING, ZOOBENCH, seconds, show

RECORDS, REPEATS = 20_000, 5
FIRST_LIMIT, FILTER_LIMIT = 100, 30
BACKENDS = ("pytorch", "onnx_cpu", "openvino", "torch_compile")
PRECISIONS = ("fp32", "bf16", "int8")


def pass_s() -> float:
    """The yardstick, seconds."""
    return statistics.median(seconds(NOTHING) for _ in range(20))


def make_results(folder: Path) -> Path:
    """Records as a run writes them, over 500 models, four backends, three precisions and batches up to 32."""
    words = ["run", "--models", "resnet18", "--backends", "fake", "--results-dir", str(folder / "one")]
    seconds([*ZOOBENCH, *words])
    source = next((folder / "one/runs").iterdir())
    record = json.loads((source / "records.jsonl").read_text().splitlines()[0])
    run = folder / "many/runs" / source.name
    run.mkdir(parents=True)
    (run / "manifest.json").write_text((source / "manifest.json").read_text())
    p50, low, high = record["latency"]["p50_ms"], *record["latency"]["p50_interval_ms"]
    with (run / "records.jsonl").open("w") as out:
        for number in range(RECORDS):
            model, rest = number % 500, number // 500
            scale = 0.2 + model / 100 + rest / 50
            record["case"] |= {
                "model": f"model_{model:03d}",
                "backend": BACKENDS[rest % 4],
                "precision": PRECISIONS[rest // 4 % 3],
                "batch": 2 ** (rest // 12 % 6),
                "threads": 2 + rest // 20,
            }
            record["model"] |= {"name": f"model_{model:03d}", "weights": "random"}
            record["latency"] |= {"p50_ms": p50 * scale, "p50_interval_ms": [low * scale, high * scale]}
            record["artifact"] = {
                "sha256": f"{model:064x}",
                "size_bytes": 10**5 * (1 + model),
                "format": "onnx",
            }
            record["measurement_key"] = f"{number:032x}"
            out.write(json.dumps(record) + "\n")
    return folder / "many"


def timed(act: Callable[[], Any]) -> float:
    """Seconds."""
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def first_page(results: Path) -> None:
    """In a process of its own: prints what the first page and each filter took, in units of the yardstick just then, as JSON."""
    from streamlit.testing.v1 import AppTest
    from streamlit.util import calc_hash

    from zoobench.show.dashboard import app

    # The first script that a Streamlit runs starts parts of itself.
    AppTest.from_string("import streamlit as st; st.dataframe({'a': [1]})").run()
    sys.argv = ["script.py", str(results)]
    test = AppTest.from_file(Path(app.__file__).with_name("script.py"), default_timeout=120)
    unit = pass_s()
    found = {"first": [timed(test.run) / unit]}
    assert not test.exception, test.exception
    assert test.dataframe, "the page has no table"

    def change(kind: str, name: str, value: Any) -> None:
        widget = getattr(test, kind)(key=f"choose:{name}")
        widget.set_value(value)
        found.setdefault(f"filter {name} = {value}", []).append(timed(test.run) / unit)
        assert not test.exception, test.exception

    for _ in range(REPEATS):
        change("multiselect", "backend", ["onnx_cpu"])
        change("multiselect", "backend", [])
        change("selectbox", "batch", "all")
        change("selectbox", "sort", "throughput")
        change("text_input", "model", "_1")
        change("text_input", "model", "")
        change("multiselect", "precision", ["int8"])
        change("multiselect", "precision", [])
        change("selectbox", "sort", "latency")
        change("number_input", "size", 20.0)
        change("number_input", "size", None)
        change("selectbox", "batch", "1")
    # As the menu does; AppTest.switch_page knows no page that is a function.
    test._page_hash = calc_hash("ship")
    test.run()
    for _ in range(REPEATS):
        change("text_input", "max_latency", "p50:5ms")
        change("selectbox", "minimize", "memory")
        change("text_input", "max_latency", "")
        change("selectbox", "minimize", "latency")
    print(json.dumps(found))


def main() -> int:
    print(f"python -c pass: {pass_s() * 1000:.1f} ms", flush=True)
    with tempfile.TemporaryDirectory() as name:
        results = make_results(Path(name))
        runs = []
        for _ in range(REPEATS):
            done = subprocess.run(
                [sys.executable, __file__, str(results)], check=True, capture_output=True, text=True
            )
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    first = statistics.median(r["first"][0] for r in runs)
    held = [show(f"first page over {RECORDS:,} records", first, FIRST_LIMIT, width=52)]
    for what in runs[0]:
        if what != "first":
            ratio = statistics.median(s for r in runs for s in r[what])
            held += [show(what, ratio, FILTER_LIMIT, width=52)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        first_page(Path(sys.argv[1]))
    else:
        sys.exit(main())
