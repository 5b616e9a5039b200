"""What `--dry-run` adds up."""

import pytest

from zoobench import api
from zoobench.backends import BACKENDS
from zoobench.estimate import estimate
from zoobench.measure.effort import EFFORTS, with_max_case_time
from zoobench.plan import Inventory, Request
from zoobench.spec import ModelSpec
from zoobench.terms import Effort

INVENTORY = Inventory(cpus=2, unavailable={"onnx_cpu": None})


def least_s(plan, **asked):
    request = api.request(["resnet18"], backends=["onnx_cpu"], **asked)
    return estimate(request, INVENTORY, plan, lambda model: None).seconds[0]


def test_loadgen_tests_have_a_length_of_their_own():
    plan = EFFORTS[Effort.STANDARD]
    more = plan.tests * plan.test_s - plan.min_time_s
    assert least_s(plan, scenario="offline") - least_s(plan) == pytest.approx(more)


def test_loadgen_tests_share_the_time_of_a_case():
    plan = with_max_case_time(EFFORTS[Effort.STANDARD], 6)
    assert least_s(plan, scenario="offline") - least_s(plan) == pytest.approx(6 - plan.min_time_s)


def test_what_pictures_and_recipes_add_is_said():
    data = api.pictures("pets", samples=500)
    asked = api.request(["resnet18"], backends=["onnx_cpu"], precisions=["fp32", "int8"], data=data)
    found = estimate(asked, INVENTORY, EFFORTS[Effort.QUICK], lambda model: None)
    assert found.besides[0] == "accuracy on 500 pictures of pets: 2 passes, a picture's latency each"
    assert found.besides[1].startswith("the search for a recipe of 1 int8 file, up to")


def test_language_models_have_an_estimate_and_say_what_is_asked():
    chat = ModelSpec(name="chat", hf_id="org/chat", task="text_generation")
    names = [name for name, row in BACKENDS.items() if "text_generation" in row.tasks]
    asked = Request(
        models=[chat],
        backends=names,
        concurrency=[1, 2],
        options={"endpoint": "http://127.0.0.1:1/v1", "new_tokens": 8},
    )
    found = estimate(asked, Inventory(2, {}), EFFORTS[Effort.QUICK], lambda model: None)
    assert {cell["backend"] for cell in found.cells} == set(names)
    assert {"128 + 8 tokens", "128 + 8 tokens · 2 clients"} == {cell["asked"] for cell in found.cells}
    assert 0 < found.seconds[0] < found.seconds[1] and found.besides == ()
