"""The distributions, against tables that anybody can look up, and that nothing is imported for them in advance."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from zoobench.measure.distributions import binomial_cdf, normal_quantile, student_quantile


def test_known_values() -> None:
    assert normal_quantile(0.975) == pytest.approx(1.959963984540054)
    # Student's own table: 10 degrees of freedom, two-sided 95%.
    assert student_quantile(10, 0.975) == pytest.approx(2.2281388519649385)
    # Of three tosses none, at most one, at most two.
    np.testing.assert_allclose(binomial_cdf(np.arange(3.0), 3, 0.5), [1 / 8, 4 / 8, 7 / 8])


def test_scipy_comes_with_the_first_question() -> None:
    code = (
        "import sys, zoobench.api, zoobench.commands.run, zoobench.commands.report; print('scipy' in sys.modules); "
        "from zoobench.measure.distributions import normal_quantile; normal_quantile(0.5); print('scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"]
