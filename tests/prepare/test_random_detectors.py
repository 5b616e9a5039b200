"""A head with random weights is made to tell classes apart, and to find as much as was meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from zoobench.prepare.calibrate import calibrate
from zoobench.prepare.random_detectors import THRESHOLD, liven_queries, spread_scores
from zoobench.spec import Detector

CLASSES, CANDIDATES = 20, 50


class Head(torch.nn.Module):  # type: ignore[misc]
    """Features of a large mean, as activations have them, and two layers that share their weights."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.class_embed = torch.nn.ModuleList([torch.nn.Linear(16, outputs) for _ in range(2)])
        self.class_embed[1].weight, self.class_embed[1].bias = (
            self.class_embed[0].weight,
            self.class_embed[0].bias,
        )

    def forward(self, x: Any) -> Any:
        return self.class_embed[0](x + 5), self.class_embed[1](x + 5)


def features() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((8, CANDIDATES, 16)).astype(np.float32)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_tenth_lies_above_the_threshold_and_classes_differ(activation: str) -> None:
    module = Head(CLASSES + (activation == "softmax")).requires_grad_(False)
    detector = Detector(boxes="boxes", scores="scores", activation=activation)  # type: ignore[arg-type]
    spread_scores(module, features(), detector, ("first", "scores"))
    logits = module(torch.from_numpy(features()))[1]
    scores = logits.softmax(-1)[..., :-1] if activation == "softmax" else logits.sigmoid()
    best = scores.max(-1)
    assert (best.values > THRESHOLD).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert len(set(best.indices.flatten().tolist())) > CLASSES / 2


def test_a_frozen_batchnorm_is_fitted_to_its_inputs() -> None:
    from transformers.models.rt_detr.modeling_rt_detr import RTDetrFrozenBatchNorm2d

    module = torch.nn.Sequential(
        RTDetrFrozenBatchNorm2d(3), torch.nn.Conv2d(3, 4, 1), RTDetrFrozenBatchNorm2d(4)
    )
    inputs = features()[:, :48].reshape(8, 3, 16, 16) * 100 + 7
    calibrate(module.requires_grad_(False), inputs)
    for outputs in (module[0](torch.from_numpy(inputs)), module(torch.from_numpy(inputs))):
        assert outputs.mean((0, 2, 3)).abs().max() < 1e-2
        assert (outputs.std((0, 2, 3)) - 1).abs().max() < 1e-2


def test_what_has_no_queries_stays_as_it_is() -> None:
    module = Head(CLASSES)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    liven_queries(module)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
