"""What every number in a report means. The report prints these; documentation points here."""

from __future__ import annotations

from zoobench.show.numbers import GREEN_BELOW_MS, RED_ABOVE_MS

FORMULAS: tuple[tuple[str, str], ...] = (
    (
        "Latency (ms)",
        "p50 of the timed calls, from inputs on the host to outputs on the host. Each turn starts with a settling "
        "call, which is not counted. No call is removed as an outlier.",
    ),
    ("p50, p95, p99", "the order statistic x[⌊n·p⌋] of the n sorted samples, without interpolation."),
    (
        "Interval",
        "95%, two-sided, in brackets: the order statistics at the binomial quantiles of the rank, for the effective "
        "count n_eff = n / VIF, where VIF, the variance inflation from correlated calls, is estimated from blocks "
        "of 50; of fewer than 500 calls from ten blocks for p50, while for p95 and p99 it is taken for 1, so that correlated "
        "calls make theirs too narrow. With three forks or more it runs over forks, else within one process, where it says "
        "nothing of a fresh one.",
    ),
    ("—", "not known, or not supported by the number of samples; never the maximum in a percentile's place."),
    (
        "Light",
        f"🟢 p50 below {GREEN_BELOW_MS:g} ms, 🟡 from {GREEN_BELOW_MS:g} to {RED_ABOVE_MS:g} ms, "
        f"🔴 above {RED_ABOVE_MS:g} ms; none where the number is invalid.",
    ),
    ("Throughput (items/s)", "batch size / mean latency of one stream of calls."),
    ("Knee", "the smallest batch size that no larger one beats by a tenth or more in throughput."),
    (
        "Top-1 (%)",
        "share of the pictures whose most probable class is theirs, over all classes of the model, in the very artifact and "
        "runtime that were timed, with Wilson's 95% interval. A dash: not measured, or not claimed.",
    ),
    (
        "Drop",
        "top-1, or mAP, of fp32 less that of this precision on the same pictures. Of a classifier only those count on which the two disagree: its "
        "95% interval is Agresti and Min's, its p-value the exact McNemar test's. Pass: the interval ends below the "
        "margin (--max-drop); fail: it begins above; else inconclusive.",
    ),
    (
        "mAP (%)",
        "COCO's, the mean over classes and over IoU thresholds from 0.5 to 0.95 of the precision over recall, by pycocotools, of "
        "the boxes that the very artifact and runtime give; its 95% interval is a bootstrap's over the pictures, as is that of "
        "a drop of mAP, which draws the same pictures for both.",
    ),
    (
        "End to end (ms)",
        "p50 from decoded pictures to boxes in their pixels: pre-processing, the model and post-processing, in rounds of their "
        "own after the turns.",
    ),
    ("Size (MB)", "all files of the artifact that was run, 1 MB = 10⁶ bytes."),
    (
        "Peak memory (MB)",
        "highest resident set of the measuring process, the runtime and its libraries included.",
    ),
    (
        "GPU memory (MB)",
        "what the measuring process holds on the GPU after its turns, by the driver: the CUDA context, weights, workspaces, and "
        "what the runtime's allocator keeps. A dash: not on a GPU, or the driver does not tell (in some containers).",
    ),
    (
        "Speed-up",
        "time of PyTorch / time of the other backend, same model, weights, batch, precision, threads and machine. Of two that "
        "took turns it is what zoobench compare says: the smallest calls of two slots of one round against each other, the median "
        "over the rounds of a process, the geometric mean over processes; its interval is Student's t over the processes, of fewer than "
        "three over the rounds. Of two that took none, or whose samples were not read, it is p50 / p50, from low / high to "
        "high / low of the two intervals: what the machine did between the two is not in it. Over many pairs: the geometric mean.",
    ),
    (
        "Share of the limit",
        "the larger of FLOPs / peak FLOP/s and bytes / peak bytes/s (weights and one batch's input and output), "
        "divided by p50. The peaks were measured on this machine, the best over the runtimes present. 100% is the "
        "hardware's limit; the bound says which of the two is larger.",
    ),
    ("First call", "the first call after loading, which includes what the runtime puts off until then."),
    (
        "Verdict",
        "valid: nothing speaks against the number. Unstable: it may move when measured again. Invalid: it must not "
        "be ranked or compared, and is left out of charts and speed-ups.",
    ),
)
