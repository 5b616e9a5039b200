"""How numbers are written: three significant digits, never an exponent, `—` for what is not known."""

from __future__ import annotations

import math

from zoobench.terms import Interval

DASH = "—"
DIGITS = 3
_MOST_DECIMALS = 15
"""So that what is next to nothing does not fill a line."""
GREEN_BELOW_MS = 10.0
RED_ABOVE_MS = 50.0


class Keyed(str):
    """Text that is sorted and chosen by something else than itself: a number by itself before it was rounded, a verdict
    without its notes."""

    __slots__ = ("key",)
    key: float | str

    def __new__(cls, text: str, key: float | str) -> Keyed:
        """`text` as it is shown, `key` as it is sorted."""
        made = super().__new__(cls, text)
        made.key = key
        return made


def counted(number: int, noun: str) -> str:
    """`1 thread`, `2 threads`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def decimals_for(value: float) -> int:
    """Decimal places that leave `value` three significant digits; never negative."""
    if 0.9995 <= value < 1e9:  # most numbers, without logarithms
        return 2 if value < 9.995 else 1 if value < 99.95 else 0
    if value == 0 or abs(value) >= 1e9 or not math.isfinite(value):
        return 0
    places = DIGITS - 1 - math.floor(math.log10(abs(value)))
    gains_a_digit = round(abs(value), places) >= 10.0 ** (DIGITS - places)
    return min(max(0, places - gains_a_digit), _MOST_DECIMALS)


def format_number(value: float | None) -> str:
    """`9.528` → `9.53`, `1234.5` → `1234`; `—` for None, NaN and infinities."""
    if value is None or not math.isfinite(value):
        return DASH
    return Keyed(f"{value:.{decimals_for(value)}f}", value)


def format_ms(value: float | None) -> str:
    """Milliseconds, without the unit: it stands in the column's head."""
    return format_number(value)


def format_interval(interval: Interval | None, beside: float | None = None) -> str:
    """`[9.41, 9.70]`, with as many decimals as the number it stands beside; empty for None."""
    if interval is None or not all(map(math.isfinite, interval)):
        return ""
    places = decimals_for(interval[0] if beside is None else beside)
    return f"[{interval[0]:.{places}f}, {interval[1]:.{places}f}]"


def with_interval(value: float | None, interval: Interval | None) -> str:
    """`9.53 [9.41, 9.70]`, or the number alone where there is no interval."""
    beside = format_interval(interval, value)
    if not beside or value is None:
        return format_number(value)
    return Keyed(f"{format_number(value)} {beside}", value)


def format_bytes(value: float | None) -> str:
    """Decimal units: `46.8 MB`."""
    if value is None or not math.isfinite(value):
        return DASH
    whole = value
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return Keyed(f"{format_number(value)} {unit}", whole)
        value /= 1000
    return Keyed(f"{format_number(value)} TB", whole)


def format_megabytes(value: float | None) -> str:
    """Bytes as MB (10⁶ bytes), without the unit."""
    return format_number(None if value is None else value / 1e6)


def format_share(value: float | None) -> str:
    """0.4213 → `42.1%`."""
    if value is None or not math.isfinite(value):
        return DASH
    return Keyed(f"{format_number(value * 100)}%", value)


def format_ratio(value: float) -> str:
    """1.858 → `1.86×`."""
    return Keyed(f"{format_number(value)}×", value)


def traffic_light(p50_ms: float) -> str:
    """Green below 10 ms, yellow from 10 to 50 ms, red above."""
    if p50_ms < GREEN_BELOW_MS:
        return "🟢"
    return "🟡" if p50_ms <= RED_ABOVE_MS else "🔴"
