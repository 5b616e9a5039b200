"""Whose cases take turns: those that fit into memory together."""

from __future__ import annotations

import pytest
from tests.test_driver import fake_artifact

from zoobench.driver.seating import apart, footprint_bytes
from zoobench.spec import Case, Decoder, ModelSpec, Seat

GB = 10**9


class Listening:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def seat(backend: str, size_gb: float, device: str = "cpu") -> Seat:
    artifact = fake_artifact(ModelSpec(name="m", hf_id="o/m")).model_copy(
        update={"format": "genai", "size_bytes": round(size_gb * GB)}
    )
    return Seat(Case(model="m", backend=backend, device=device, threads=1), artifact)


@pytest.fixture
def observer() -> Listening:
    return Listening()


def test_cases_that_fit_together_take_turns(observer: Listening) -> None:
    seats = [seat("ort_genai", 3.0), seat("ort_genai", 1.0)]
    assert apart([seats], 5 * GB, observer, always=False) == [seats]  # type: ignore[arg-type]
    assert apart([seats], None, observer, always=False) == [seats]  # type: ignore[arg-type]
    assert observer.notes == []


def test_cases_that_do_not_fit_are_measured_apart_and_it_is_said(observer: Listening) -> None:
    big, small = [seat("ort_genai", 3.0), seat("ort_genai", 1.0)], [seat("ort_genai", 0.1)] * 2
    found = apart([big, small], 4 * GB, observer, always=False)  # type: ignore[arg-type]
    assert found == [[big[0]], [big[1]], small]
    assert observer.notes == [
        "m: its 2 cells need about 4.2 GB together and 4.0 GB are free: they are measured one after another, so their ratios "
        "are of other minutes"
    ]


def test_who_asks_for_it_gets_it_without_a_word(observer: Listening) -> None:
    seats = [seat("ort_genai", 0.1)] * 2
    assert apart([seats], None, observer, always=True) == [[seats[0]], [seats[1]]]  # type: ignore[arg-type]
    assert observer.notes == []


def test_what_runs_elsewhere_needs_nothing_here(observer: Listening) -> None:
    seats = [seat("endpoint", 9.0, device="remote"), seat("fake", 9.0), seat("onnx_cuda", 9.0, device="cuda")]
    assert apart([seats], GB, observer, always=False) == [seats]  # type: ignore[arg-type]


def test_a_footprint_is_weights_and_the_keys_and_values_of_every_client() -> None:
    decoder = Decoder(
        layers=2, hidden_size=64, heads=4, kv_heads=2, head_dim=16, vocab_size=100, context_length=1000
    )
    plain = seat("ort_genai", 1.0)
    options = {"prompt_tokens": 90, "new_tokens": 10, "concurrency": 3}
    talking = Seat(
        plain.case.model_copy(update={"options": options, "batch": 2}),
        plain.artifact.model_copy(update={"decoder": decoder}),
    )
    assert footprint_bytes(talking) - footprint_bytes(plain) == 2 * 2 * 2 * 16 * 4 * 100 * 2 * 3
