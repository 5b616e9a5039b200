"""The distributions that intervals and tests need. SciPy is imported when one is first asked for.

Most commands only read what was computed before, and the import is a fifth of a second. `scipy.stats` holds the same
distributions, but takes most of a second.
"""

from __future__ import annotations

from typing import Any


def binomial_cdf(k: Any, n: int, p: float) -> Any:
    """Probability of at most `k` successes in `n` trials of probability `p`; of an array of `k` an array."""
    from scipy.special import bdtr

    return bdtr(k, n, p)


def normal_quantile(p: float) -> float:
    """The standard normal's value that a share `p` lies below."""
    from scipy.special import ndtri

    return float(ndtri(p))


def student_quantile(freedom: float, p: float) -> float:
    """The value of Student's t with `freedom` degrees of freedom that a share `p` lies below."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, p))
