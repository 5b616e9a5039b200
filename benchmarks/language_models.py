"""Whether zoobench's tokens are those of a bare loop, and what it costs to time them.

    decode    tokens a second as the scenario reports them ÷ those of a bare loop over the same loaded runtime, by turns in one
              process: within 2% of 1
    ttft      likewise the time to the first token: within 3%
    cost      µs a token that timing and keeping it take, on a runtime that takes none: below 20

usage: python benchmarks/language_models.py [--model FOLDER] [--backends pytorch ort_genai] [--precision fp32]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoobench import api
from zoobench.backends import artifact_key, open_backend
from zoobench.machine import cache_folder, usable_cpu_count
from zoobench.measure.generation import summarise_tokens
from zoobench.outcome import Slot
from zoobench.prepare import ArtifactCache, prepare_model
from zoobench.scenarios.tokens import Tokens
from zoobench.spec import Artifact, Case
from zoobench.tasks.text_generation import prompt_ids
from zoobench.terms import Precision, WeightsPolicy

ROUNDS = 21
DECODE, TTFT, COST_US = 0.02, 0.03, 20.0

Bare = Callable[[], list[float]]
"""One request; when each token was there, seconds."""


def bare_genai(session: Any, ids: np.ndarray, new_tokens: int) -> Bare:
    """As GenAI's own examples decode, on the model that is loaded."""
    import onnxruntime_genai as genai

    def request() -> list[float]:
        times = []
        params = genai.GeneratorParams(session.model)
        length = ids.shape[1] + new_tokens
        begin = time.perf_counter()
        params.set_search_options(max_length=length, min_length=length, batch_size=len(ids), do_sample=False)
        generator = genai.Generator(session.model, params)
        generator.append_tokens(ids.astype(np.int32))
        while not generator.is_done():
            generator.generate_next_token()
            generator.get_next_tokens()
            times.append(time.perf_counter() - begin)
        return times

    return request


def bare_pytorch(session: Any, ids: np.ndarray, new_tokens: int) -> Bare:
    """The usual greedy loop."""
    import torch

    prompt, module = torch.from_numpy(ids), session.module

    def request() -> list[float]:
        times: list[float] = []
        with torch.inference_mode():
            begin = time.perf_counter()
            out = module(input_ids=prompt, use_cache=True, logits_to_keep=1)
            while True:
                token = out.logits[:, -1].argmax(-1)
                token.tolist()
                times.append(time.perf_counter() - begin)
                if len(times) == new_tokens:
                    return times
                out = module(input_ids=token[:, None], past_key_values=out.past_key_values, use_cache=True)

    return request


BARE = {"ort_genai": bare_genai, "pytorch": bare_pytorch}


def one_slot(call: Callable[[], Any]) -> Slot:
    """One request as the scenario drives it."""
    budget: Any = {"min_calls": 1, "min_seconds": 0.0, "max_seconds": 600.0}
    found = Tokens().drive(call, clock=time.perf_counter_ns, budget=budget)
    return Slot(
        fork=0,
        round=0,
        position=0,
        settling_ns=0,
        samples_ns=tuple(found["samples_ns"]),
        token_ns=tuple(map(tuple, found["token_ns"])),
    )


def show_rates(artifact: Artifact, case: Case) -> bool:
    """Both loops by turns."""
    backend = open_backend(case.backend)
    backend.import_runtime(artifact)
    session = backend.load(artifact, case)
    assert artifact.decoder is not None
    ids = prompt_ids(case.batch, int(case.options["prompt_tokens"]), artifact.decoder.vocab_size)
    ours, bare = (
        session.bind({"input_ids": ids}),
        BARE[case.backend](session, ids, int(case.options["new_tokens"])),
    )
    ours()
    bare()
    decode, ttft = [], []
    for number in range(ROUNDS):
        pair: dict[str, Any] = {}
        for who in ("ours", "bare") if number % 2 else ("bare", "ours"):
            pair[who] = one_slot(ours) if who == "ours" else bare()
        found = summarise_tokens(case, [pair["ours"]])
        assert found is not None and found.decode_tokens_per_s and found.ttft.p50_ms
        times = pair["bare"]
        decode.append(found.decode_tokens_per_s / (case.batch * (len(times) - 1) / (times[-1] - times[0])))
        ttft.append(found.ttft.p50_ms / 1e3 / times[0])
    session.close()
    name = f"{artifact.model} · {case.backend} · {case.precision.value}"
    good = show(f"{name}: decode rate ÷ bare loop", decode, DECODE)
    return show(f"{name}: TTFT ÷ bare loop", ttft, TTFT) and good


def show(what: str, ratios: list[float], limit: float) -> bool:
    middle = statistics.median(ratios)
    good = abs(middle - 1) <= limit
    print(
        f"{what:<64}{middle:.4f} ({min(ratios):.3f} to {max(ratios):.3f})  limit ±{limit:.0%} {'ok' if good else 'MISSED'}",
        flush=True,
    )
    return good


def show_cost(new_tokens: int = 4096) -> bool:
    """Everything that is done for a token besides making it, on a runtime that makes it at once."""

    def nothing() -> dict[str, np.ndarray]:
        token_ns, made = np.empty(new_tokens, np.int64), np.empty((1, new_tokens), np.int64)
        begin = time.perf_counter_ns()
        for step in range(new_tokens):
            made[:, step] = 7
            token_ns[step] = time.perf_counter_ns() - begin
        return {"token_ids": made, "token_ns": token_ns}

    one_slot(nothing)
    costs = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        slot = one_slot(nothing)
        costs.append((time.perf_counter() - begin) / new_tokens * 1e6)
        assert len(slot.token_ns[0]) == new_tokens
    middle = statistics.median(costs)
    good = middle < COST_US
    print(
        f"{'µs a token for timing and keeping it':<64}{middle:.2f}  limit {COST_US:g} {'ok' if good else 'MISSED'}"
    )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2_135m")
    parser.add_argument("--backends", nargs="+", choices=list(BARE), default=list(BARE))
    parser.add_argument("--precision", type=Precision, default=Precision.FP32)
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=64)
    asked = parser.parse_args()
    print(f"language models, {api.machine_name()}")
    [spec] = api.request([asked.model], backends=asked.backends).models
    keys = {name: artifact_key(name, asked.precision) for name in asked.backends}
    found = prepare_model(
        spec,
        formats=list(keys.values()),
        weights=WeightsPolicy.AUTO,
        allow_pickle=False,
        cache=ArtifactCache(Path(cache_folder())),
    )
    good = show_cost()
    for name, key in keys.items():
        options = {"prompt_tokens": asked.prompt_tokens, "new_tokens": asked.new_tokens}
        case = Case(
            model=spec.name,
            backend=name,
            precision=asked.precision,
            threads=usable_cpu_count(),
            options=options,
        )
        good &= show_rates(found.artifacts[key], case)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
