"""What people write with a unit. A number without one is refused: `50` may be milliseconds, or a mistake."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from zoobench.errors import UsageError

_TO_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3}
"""Unicode has two letters that look like µ: the sign and the Greek letter."""
_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?|\.[0-9]+"
_DURATION = re.compile(rf"({_NUMBER})\s*([a-zµμ]+)?", re.IGNORECASE)
_TO_BYTES = {
    "b": 1.0,
    **{f"{letter}b": 1000.0**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024.0**power for power, letter in enumerate("kmgt", 1)},
}
_SIZE = re.compile(rf"({_NUMBER})\s*([a-z]+)?", re.IGNORECASE | re.ASCII)
_RATE = re.compile(rf"({_NUMBER})\s*(/\s*s)?", re.IGNORECASE | re.ASCII)
_PRICE = re.compile(rf"({_NUMBER})\s*(/\s*(?:h|hour))?", re.IGNORECASE | re.ASCII)
_PRICES = (1e-6, 1e6)
"""What a machine may cost an hour: beyond it is a slip of the hand, and of no currency."""
_PERCENTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]+)?)")
_SHARE = re.compile(rf"({_NUMBER})\s*(%)?", re.IGNORECASE)


def duration_ms(text: object, where: str, *, before: str = "", may_be_zero: bool = False) -> float:
    """Milliseconds of a duration such as `12.5 ms`, `800us`, `1s`.

    Args:
        where: the flag or the key, for the message.
        before: what stands before the duration in the same word, such as `p99:`.

    Raises:
        UsageError: it has no unit, is not a duration, or is not positive.
    """
    text = _written(text)
    said = f"{where} {before + text!r}"
    found = _DURATION.fullmatch(text.strip())
    if found is None or (found[2] and found[2].lower() not in _TO_MS):
        raise UsageError(f"{said}: a duration is needed, such as {before}50ms (ns, us, ms and s are known)")
    if found[2] is None:
        raise UsageError(f"{said}: the unit is missing; write {before}{found[1]}ms")
    value = float(found[1]) * _TO_MS[found[2].lower()]
    if not (0 < value < math.inf or (value == 0 and may_be_zero)):
        raise UsageError(f"{said}: it must be above 0 and finite")
    return value


def percentile_limit(text: str, where: str) -> tuple[float | None, float]:
    """A percentile and its limit in ms: `p99:500ms`; None and the limit where it is `500ms` alone.

    Raises:
        UsageError: it is not written like that.
    """
    percentile, colon, limit = text.rpartition(":")
    if not colon:
        return None, duration_ms(text, where)
    found = _PERCENTILE.fullmatch(percentile)
    if not found or not 0 < float(found[1]) < 100:
        raise UsageError(f"{where} {text!r}: write a percentile and its limit, such as p99:50ms")
    return float(found[1]), duration_ms(limit, where, before=f"{percentile}:")


def share(text: object, where: str) -> float:
    """A share such as `5%` or `0.05`, as 0.05. A bare number of 1 and more is refused: 5 may mean 5% or 500%.

    Raises:
        UsageError: it is none.
    """
    text = _written(text)
    found = _SHARE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{where} {text!r}: a share is needed, such as 5%")
    value = float(found[1]) / (100 if found[2] else 1)
    if not found[2] and value >= 1:
        raise UsageError(f"{where} {text!r}: the unit is missing; write {found[1]}%")
    if not 0 < value < math.inf:
        raise UsageError(f"{where} {text!r}: it must be above 0 and finite")
    return value


def margin_of(said: str) -> float:
    """`--max-drop` as a share.

    Raises:
        UsageError: it has no unit, or cannot be.
    """
    # "0.5" may be meant as half a point, and would be fifty.
    if not said.strip().endswith("%"):
        raise UsageError(f"--max-drop {said!r}: the unit is missing; write {said.strip()}%")
    found = share(said, "--max-drop")
    if not 0 < found < 1:
        raise UsageError(f"--max-drop {said}: more than 0% and less than 100%")
    return found


def size_bytes(text: object, where: str) -> int:
    """Bytes of a size such as `500MB` (10⁶ bytes each) or `1.5 GiB` (2³⁰).

    Raises:
        UsageError: it has no unit, is not a size, or is not positive.
    """
    text = _written(text)
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[2] and found[2].lower() not in _TO_BYTES):
        raise UsageError(
            f"{where} {text!r}: a size is needed, such as 500MB (B, kB, MB, GB, TB, KiB, MiB, GiB and TiB are known)"
        )
    if found[2] is None:
        raise UsageError(f"{where} {text!r}: the unit is missing; write {found[1]}MB")
    value = float(found[1]) * _TO_BYTES[found[2].lower()]
    if not 0.5 < value < math.inf:
        raise UsageError(f"{where} {text!r}: it must be above 0 and finite")
    return round(value)


def rate_per_s(text: object, where: str) -> float:
    """A number a second, `100` or `100/s`. Raises UsageError."""
    text = _written(text)
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{where} {text!r}: a number a second is needed, such as 100")
    return _positive(float(found[1]), text, where)


def price_per_hour(text: object, where: str) -> float:
    """What a machine costs an hour, `0.40/h`, in whatever money. Raises UsageError."""
    text = _written(text)
    found = _PRICE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{where} {text!r}: a price an hour is needed, such as 0.40/h, without a currency")
    if found[2] is None:
        raise UsageError(f"{where} {text!r}: the unit is missing; write {found[1]}/h")
    price = float(found[1])
    least, most = _PRICES
    if not least <= price <= most:
        raise UsageError(f"{where} {text!r}: it must lie from {written(least)}/h to {written(most)}/h")
    return price


def written(value: float | Decimal) -> str:
    """A number as it can be typed again: exactly that one, without an exponent, which no unit follows."""
    text = f"{value if isinstance(value, Decimal) else Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _positive(value: float, text: str, where: str) -> float:
    if not 0 < value < math.inf:
        raise UsageError(f"{where} {text!r}: it must be above 0 and finite")
    return value


def _written(value: object) -> str:
    """As it was written, or nearly; whole numbers beyond Python's limit of digits have no text."""
    try:
        return str(value)
    except ValueError:
        return "a number of thousands of digits"
