"""What the recommendation says in words."""

from __future__ import annotations

import pytest
from tests.judge.rows import cell

from zoobench.judge.payback import Payback, Pays
from zoobench.show.recommendation import _payback


@pytest.mark.parametrize(
    ("made_s", "load_s", "said"),
    [(5.94, -0.01, "5.93 s once (file), and"), (4.0, 2.0, "6.00 s once (file 4.00, load 2.00), and")],
)
def test_the_parts_of_a_payback_add_up(made_s: float, load_s: float, said: str) -> None:
    one = cell()
    pays = Payback(one, Pays.AFTER, made_s=made_s, load_s=load_s, saving_ms=13.6, calls=435)
    assert said in _payback(pays, one, None)
