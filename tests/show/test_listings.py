"""Listings: what is known of a model, each figure with what it measures."""

from __future__ import annotations

from zoobench.catalog import find
from zoobench.show.console import text_lines
from zoobench.show.listings import models_table
from zoobench.spec import ModelSpec


def test_a_published_figure_says_what_it_measures_and_a_licence_is_shown() -> None:
    models = [*find(["resnet18", "yolov8n"]), ModelSpec(name="mine", hf_id="o/n")]
    lines = {line.split()[0]: line for line in text_lines([models_table(models)]) if line.strip()}
    assert "71.50 % top-1" in lines["resnet18"]
    assert "37.3 % mAP" in lines["yolov8n"] and "AGPL-3.0" in lines["yolov8n"]
    assert "%" not in lines["mine"]
