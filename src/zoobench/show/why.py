"""An explanation in plain words, made from its numbers only: what there is no number for is not said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zoobench.judge.explain import Difference, Explanation, Leftover, Tried, Versus
from zoobench.outcome import Accuracy, Generation, MeanAP, Quality
from zoobench.show.document import LONGEST_TEXT
from zoobench.show.numbers import counted, format_interval, format_number, format_ratio, format_share
from zoobench.terms import Interval

Sentence = tuple[str, str]
"""What it is about, and what is said of it."""

NOTABLE = 0.03
"""Share of fp32's time from which a difference is worth a word."""
_MUCH = 0.1
"""Share of p50 outside of kernels that calls for doing something."""
_NEAR_LIMIT = 0.7
_MOST = 4
_HOW = {
    "turns": "the two took turns; from the quickest call of each",
    "forks": "from several processes each",
    "intervals": "from the two medians' intervals",
}


def sentences(found: Explanation) -> tuple[Sentence, ...]:
    """All that the numbers say, what matters most first."""
    return tuple(
        (term, " ".join(said))
        for term, said in (
            ("Does it pay:", list(_pays(found))),
            ("What it gets right:", list(_right(found))),
            ("Can it be believed:", list(_doubts(found))),
            ("Where the time goes:", list(_where(found))),
            ("Faster than in fp32:", list(_faster(found))),
            ("Slower than in fp32:", list(_slower(found))),
            ("What computes nothing:", list(_overhead(found))),
            ("What stays in floats:", list(_leftovers(found))),
            ("How far from the limit:", list(_limit(found))),
            ("What was tried:", list(_tried(found))),
            ("What to try next:", list(_next(found))),
        )
        if said
    )


def paragraph(found: Explanation) -> str:
    """What decided between fp32 and this precision, as one paragraph that a report has room for."""
    told = dict(sentences(found))
    text = f"{found.name} ({found.verdict}): {told.get('Does it pay:', '')}"
    for term in ("Faster than in fp32:", "Slower than in fp32:"):
        if term in told:
            text += f" {term} {told[term]}"
    for said in (*_right(found), *_overhead(found), *_leftovers(found)):
        # A block of a report is clipped; a whole sentence less is better than half of one.
        if len(text) + 1 + len(said) <= LONGEST_TEXT:
            text += f" {said}"
    return text


def _pays(found: Explanation) -> Iterator[str]:
    versus = found.versus
    if found.precision == "fp32":
        return
    if versus is None:
        yield f"There is no fp32 record of this cell on this machine, so whether {found.precision} pays is not known."
    elif versus.ratio is None or versus.interval is None:
        yield f"{_capital(versus.refusal or 'there is no ratio to fp32')}."
    else:
        verdict = {
            "pays": f"{found.precision} pays",
            "costs": f"{found.precision} does not pay: it is slower than fp32",
            "undecided": "the interval holds 1, so whether it pays is undecided",
        }[versus.pays or "undecided"]
        beside = format_interval(versus.interval, versus.ratio)
        yield (
            f"{_capital(verdict)}. It takes {format_number(versus.ratio)} {beside} of fp32's time, "
            f"{format_ratio(1 / versus.ratio)} its speed ({_HOW.get(versus.kind or '', versus.kind)}"
            f"{'' if versus.same_run else ', in different runs'})."
        )


def _right(found: Explanation) -> Iterator[str]:
    accuracy = found.accuracy
    if found.quality is not None:
        yield from _kept(found.quality)
        return
    if accuracy is None:
        if found.generation is not None:
            yield "Not measured: the quality pass failed, or there is none of a server."
        elif found.precision != "fp32":
            yield "Not measured: --dataset tells what it costs in accuracy."
        return
    if accuracy.unclaimed is not None:
        yield f"No accuracy is claimed: {accuracy.unclaimed}."
    elif (found_boxes := accuracy.boxes) is not None:
        yield _precise(found_boxes, accuracy)
    elif accuracy.top1 is not None:
        yield f"Top-1 is {_points(accuracy.top1.value, accuracy.top1.interval)}% of {accuracy.images} pictures of {accuracy.data.label}."
    if (fidelity := accuracy.fidelity) is None:
        return
    if fidelity.agreement is not None and fidelity.cosine_min is not None:
        yield (
            f"It gives fp32's class to {format_share(fidelity.agreement.value)} of them, with a cosine of {fidelity.cosine_min:.4f} at least."
        )
    if (boxes := fidelity.boxes) is not None and boxes.found is not None:
        extra = (
            f", and {format_share(boxes.extra.value)} of its own are not among them" if boxes.extra else ""
        )
        yield f"It finds {format_share(boxes.found.value)} of fp32's {boxes.reference_boxes} boxes again{extra}."
    if (drop := fidelity.drop or fidelity.box_drop) is not None:
        needed = f" (about {drop.images_needed:,} pictures would decide)" if drop.images_needed else ""
        yield (
            f"The drop against fp32 is {_points(drop.value, drop.interval)} points with {100 * drop.max_drop:g} allowed: "
            f"{drop.decision.value}{needed}."
        )


def _precise(boxes: MeanAP, accuracy: Accuracy) -> str:
    """Of a detector's boxes."""
    if boxes.map is None or boxes.interval is None:
        return f"{accuracy.images} pictures of {accuracy.data.label} hold no object to be found."
    return (
        f"mAP is {_points(boxes.map, boxes.interval)}% on {accuracy.images} pictures of {accuracy.data.label} with "
        f"{boxes.objects} objects."
    )


def _kept(quality: Quality) -> Iterator[str]:
    """What a language model still says, beside fp32 of the same runtime."""
    if quality.kl_mean is None or quality.agreement is None:
        if quality.perplexity is not None:
            yield f"Perplexity is {format_number(quality.perplexity)} on {quality.tokens} tokens; ask for fp32 too to see what fewer bits cost."
        return
    verdict = "" if quality.passed is None else f"; {quality.gate}: {'pass' if quality.passed else 'fail'}"
    yield (
        f"Beside fp32 of the same runtime the mean KL divergence is {quality.kl_mean:.2g} and "
        f"{format_share(quality.agreement.value)} of the most likely tokens are the same{verdict}."
    )


def _spoken(generation: Generation) -> Iterator[str]:
    """Reading and writing are different work: the prompt is arithmetic, a token is memory."""
    whole = (generation.ttft.p50_ms or 0.0) + (generation.new_tokens - 1) * (generation.tpot.p50_ms or 0.0)
    if generation.ttft.p50_ms is None or whole <= 0:
        return
    yield (
        f"Of a request of {_ms(1e3 * whole)} reading the prompt takes {format_share(generation.ttft.p50_ms / whole)} (TTFT "
        f"{format_number(generation.ttft.p50_ms)} ms), the other {generation.new_tokens - 1} tokens the rest."
    )


def _points(share: float, interval: Interval) -> str:
    low, high = interval
    return f"{100 * share:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def _doubts(found: Explanation) -> Iterator[str]:
    if found.doubts:
        # What to do about it stands after the semicolon; the report and the table tell it.
        what = "; ".join(doubt.partition("; ")[0] for doubt in found.doubts[:_MOST])
        yield f"p50 is {found.verdict}: {what}."


def _where(found: Explanation) -> Iterator[str]:
    if found.generation is not None:
        yield from _spoken(found.generation)
    if found.profiled_us is None:
        yield from _without_kernels(found)
        return
    most = ", ".join(f"{o.name} {format_share(o.share)} ({_nodes(o.nodes)})" for o in found.operators[:_MOST])
    yield f"The profile's {_nodes(sum(o.nodes for o in found.operators))} take {_ms(found.profiled_us)} a call: {most}."
    if found.outside_us is None:
        return
    if found.outside_us < 0:
        yield (
            f"That is {_ms(-found.outside_us)} more than the p50 of {format_number(found.p50_ms)} ms: profiling has an "
            "overhead of its own, so believe its shares rather than its sum."
        )
    else:
        yield (
            f"{_ms(found.outside_us)} of the p50 of {format_number(found.p50_ms)} ms "
            f"({format_share(_outside_share(found))}) lie outside of kernels"
            + (
                f", or in what made p50 {found.verdict}: the profile saw another moment."
                if found.doubts
                else "."
            )
        )


def _without_kernels(found: Explanation) -> Iterator[str]:
    version = (found.runtime_version or "").partition("-")[0]
    runtime = f"{found.runtime or found.backend} {version}".rstrip()
    told = [
        counted(found.ran_threads or found.threads, "thread"),
        f"precision {found.ran_precision or found.precision}",
    ]
    if found.compile_mode:
        told.append(f"compile mode {found.compile_mode}")
    yield f"The profile of {runtime} tells no kernels. What is known: {', '.join(told)}."
    if found.layers:
        layers = ", ".join(f"{count} in {name}" for name, count in found.layers.items())
        yield f"Its layers by precision: {layers}."


def _outside_share(found: Explanation) -> float:
    if not found.outside_us or not found.p50_ms:
        return 0.0
    return found.outside_us / (found.p50_ms * 1000)


def _changes(versus: Versus | None, sign: int) -> list[Difference]:
    if versus is None:
        return []
    least = NOTABLE * (versus.profiled_us or 0.0)
    return [d for d in versus.differences if sign * d.delta_us >= least and d.delta_us][:_MOST]


def _change(one: Difference) -> str:
    return f"{one.group} {format_number(one.fp32_us / 1000)} → {_ms(one.us)}"


def _faster(found: Explanation) -> Iterator[str]:
    faster = _changes(found.versus, -1)
    if faster:
        yield f"{', '.join(map(_change, faster))}."


def _slower(found: Explanation) -> Iterator[str]:
    slower = _changes(found.versus, 1)
    if slower:
        yield f"{', '.join(map(_change, slower))}."


def _overhead(found: Explanation) -> Iterator[str]:
    conversion, layout = found.kind("conversion"), found.kind("layout")
    if conversion and conversion.share >= NOTABLE:
        around = [f"{o.name} ({_nodes(o.nodes)})" for o in _computing(found)][:3]
        where = f"; they stand around what runs on floats: {', '.join(around)}" if around else ""
        yield f"{_nodes(conversion.nodes)} only convert, for {format_share(conversion.share)} of the time{where}."
    if layout and layout.share >= NOTABLE:
        yield f"{_nodes(layout.nodes)} only change the layout, for {format_share(layout.share)}."


def _computing(found: Explanation) -> list[Leftover]:
    return [left for left in found.leftovers if left.share >= 0.001]


def _leftovers(found: Explanation) -> Iterator[str]:
    left = _computing(found)
    if not left:
        return
    share = sum(one.share for one in found.leftovers)
    named = ", ".join(f"{o.name} ({_nodes(o.nodes)}, {format_share(o.share)})" for o in left[:_MOST])
    more = f" and {len(left) - _MOST} more" if len(left) > _MOST else ""
    yield f"{format_share(share)} of the time runs on floats: {named}{more}."
    without = [o.name for o in left if not o.has_int8]
    if without:
        yield f"{_and(without)} {'has' if len(without) == 1 else 'have'} no int8 kernel."
    unnamed = [o.name for o in left if o.has_int8 and o.named is False]
    if unnamed:
        yield f"{_and(unnamed)} could run on bytes, but the recipe does not name {'it' if len(unnamed) == 1 else 'them'}."


def _limit(found: Explanation) -> Iterator[str]:
    if found.roofline_fraction is not None:
        yield (
            f"The hardware's {found.roofline_bound} limit alone would take {format_share(found.roofline_fraction)} of "
            "the p50."
        )
    elif found.versus and found.versus.roofline_fraction is not None:
        yield (
            f"Not known: no ceiling was measured for {found.precision}. In fp32 the hardware's "
            f"{found.versus.roofline_bound} limit alone would take {format_share(found.versus.roofline_fraction)} of the p50."
        )


def _tried(found: Explanation) -> Iterator[str]:
    ladder = found.ladder
    if ladder is None or not ladder.rungs:
        return
    yield "; ".join(_rung(rung, ladder.alike) for rung in ladder.rungs[:_MOST]) + (
        f"; and {len(ladder.rungs) - _MOST} more." if len(ladder.rungs) > _MOST else "."
    )
    chosen = ladder.chosen
    if chosen is not None:
        fell_short = "" if ladder.met else ", though no recipe met what was asked"
        judged = f", judged on {ladder.judged} items" if ladder.judged else ""
        yield f"{chosen.name} was chosen{judged}{fell_short}."
    if ladder.on_noise:
        yield "It was calibrated on noise, so the agreement says little."


def _rung(rung: Tried, alike: str) -> str:
    if rung.error:
        return f"{rung.name} failed ({rung.error[:60]})"
    if rung.same_as:
        return f"{rung.name} made the same file as {rung.same_as}"
    speed = "" if rung.speed is None else f" {format_ratio(rung.speed)} fp32's speed"
    agreement = "" if rung.agreement is None else f", {format_share(rung.agreement)} of its {alike}"
    agreement += "" if rung.cosine is None else f", cosine {rung.cosine:.4f}"
    return f"{rung.name}{speed}{agreement}"


def _next(found: Explanation) -> Iterator[str]:
    """Only what a number above calls for."""
    versus, conversion = found.versus, found.kind("conversion")
    if versus and versus.pays == "undecided":
        yield "Measure again with --effort standard: a narrower interval may decide."
    if versus and versus.pays == "costs":
        yield "As it is, fp32 is the faster one on this backend."
    ladder = found.ladder
    tried = {op for rung in ladder.rungs for op in rung.op_types} if ladder else set()
    fixable = [o for o in _computing(found) if o.has_int8 and o.named is False and o.share >= NOTABLE / 3]
    if conversion and conversion.share >= NOTABLE and fixable:
        untried = dict.fromkeys(op for o in fixable for op in o.operators if op not in tried)
        if untried:
            yield f"A recipe that also quantizes {_and(untried)} would save conversions."
    chosen = ladder.chosen if ladder else None
    if ladder and chosen and chosen.speed:
        quicker = [r for r in ladder.rungs if r.speed and r.speed > chosen.speed * (1 + NOTABLE)]
        best = max(quicker, key=lambda r: r.speed or 0.0, default=None)
        if best is not None:
            told = (
                f" by its cosine ({best.cosine:.4f} against {chosen.cosine:.4f})"
                if best.cosine is not None and chosen.cosine is not None and best.cosine < chosen.cosine
                else ""
            )
            yield (
                f"{best.name} was faster ({format_ratio(best.speed or 0.0)}) and less faithful{told}: pictures for --calibration "
                "may win it back."
            )
    if ladder and ladder.on_noise:
        yield "Calibrate on pictures (--calibration)."
    if _outside_share(found) >= _MUCH and not found.doubts:
        yield "A larger batch shares the time outside of kernels among more items."
    if (found.roofline_fraction or 0.0) >= _NEAR_LIMIT:
        yield "It is near the limit: only less arithmetic (a smaller model, fewer bits) makes it much faster."


def _nodes(count: int) -> str:
    return counted(count, "node")


def _ms(us: float) -> str:
    return f"{format_number(us / 1000)} ms"


def _and(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _capital(text: str) -> str:
    # A precision's name (`int8`) is written as it is typed.
    return text if text.startswith(("int8", "fp", "bf", "tf")) else text[:1].upper() + text[1:]
