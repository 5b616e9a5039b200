"""The table of backends names extras that exist and bring what the row needs."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from zoobench.backends import BACKENDS

EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


@pytest.mark.parametrize("name", [name for name, row in BACKENDS.items() if row.extra])
def test_an_extra_brings_the_packages_of_its_row(name: str) -> None:
    row = BACKENDS[name]
    brought = {requirement.partition(">=")[0] for requirement in EXTRAS[str(row.extra)]}
    assert set(row.packages) <= brought
