"""What random weights need beside `calibrate`, so that a detector has something to detect.

An untrained transformer sees nothing: its queries start alike, attention averages all tokens, and every candidate says the
same. And no class score comes near a threshold, so post-processing would be timed on nothing. Both are mended here with
fixed factors and one pass over the check pictures; the same seed gives the same weights.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from zoobench.backends.torch_module import tensors
from zoobench.prepare.calibrate import one_thread

if TYPE_CHECKING:
    import numpy as np

    from zoobench.spec import Detector

_QUERIES = re.compile(r"(detection_tokens|query_position_embeddings\.weight)$")
_ASKING = re.compile(r"(q_proj|q_content_proj|q_pos_proj|q_pos_sine_proj|\.query)$")
_MIXING = re.compile(r"(self_attn\.o_proj|attention\.output\.dense)$")
_CLASS_HEADS = re.compile(
    r"(class_labels_classifier(\.layers\.2)?|class_embed(\.\d+)?|enc_score_head|\.cv3\.\d+\.2)$"
)
_SHARPER = 8.0
"""By what attention's logits are multiplied: then it picks tokens instead of averaging all of them."""
_MIXED = 0.25
"""Share of self-attention in what it is added to: more of it, layer after layer, and all tokens become one."""
_SPREAD = 4.0
"""Standard deviation of a class's logits over candidates and pictures, for softmax: one class must stand out among ninety."""
_RISE = 4.0
"""How far the logits of what is kept lie above those of half the candidates, for sigmoids. Farther away runtimes give scores
of nothing, each in its way."""
THRESHOLD = 0.25
"""The score above which boxes are usually kept."""
_MOST_KEPT, _KEPT = 0.1, 84
"""How many candidates a picture lie above it: so many, but at most that share. Of DETR's 100 a tenth, of YOLO's 8400 a
hundredth."""


def liven_queries(module: Any) -> None:
    """Make a transformer with learned queries look at its picture, each query at other places; others stay as they are.

    Args:
        module: a torch module in evaluation mode; changed in place.
    """
    import torch

    queries = [parameter for name, parameter in module.named_parameters() if _QUERIES.search(name)]
    if not queries:
        return
    with torch.no_grad():
        for parameter in queries:
            parameter.div_(parameter.std())
        for name, layer in module.named_modules():
            if not isinstance(layer, torch.nn.Linear):
                continue
            keeps_variance = layer.in_features**-0.5
            if layer.weight.std() < keeps_variance / 2:
                layer.weight.mul_(keeps_variance / layer.weight.std())
            if _ASKING.search(name):
                layer.weight.mul_(_SHARPER)
            if _MIXING.search(name):
                layer.weight.mul_(_MIXED)


def spread_scores(module: Any, inputs: np.ndarray, detector: Detector, names: tuple[str, ...]) -> None:
    """Scale and shift the class heads so that the classes differ, and that a few candidates lie above `THRESHOLD`.

    Args:
        module: a torch module in evaluation mode; changed in place.
        inputs: float32, shape (items, *input_shape): the pictures on which that many do.
        detector: how its outputs are read.
        names: of its outputs, in order.
    """
    import torch

    pictures = torch.from_numpy(inputs)
    with torch.no_grad(), one_thread():
        heads, logits, outputs = _scaled_heads(module, pictures)
        if detector.activation == "none":
            # Probabilities have lost what is far from a half, and each of the candidates comes from one head.
            scores = torch.cat([found.flatten(2).transpose(1, 2) for found in logits], dim=1)
        else:
            scores = outputs[names.index(detector.scores)]
        if detector.activation == "softmax":
            for head in heads:
                head.bias[-1] += _shift_of_none(scores)
            return
        scale, shift = _fitted(scores)
        for head in heads:
            head.weight.mul_(scale)
            head.bias.mul_(scale).add_(shift)


def _scaled_heads(module: Any, pictures: Any) -> tuple[list[Any], list[Any], tuple[Any, ...]]:
    """The layers that give class logits, what they gave, and the outputs, after each class of those that ran was centred, or
    one would be the best of every candidate, and all were scaled to `_SPREAD`."""
    import torch

    heads: list[Any] = []
    given: list[Any] = []

    def scale(head: Any, _: Any, logits: Any) -> Any:
        if any(head.weight is one.weight for one in heads):
            # Weights that several layers share.
            return logits
        axes = [axis for axis in range(logits.ndim) if axis != _class_axis(head)]
        by = _SPREAD / logits.std(axes).mean()
        mean = logits.mean(axes, keepdim=True)
        # What comes after sees what it will see.
        scaled = (logits - mean) * by
        head.bias.sub_(mean.flatten()).mul_(by)
        head.weight.mul_(by)
        heads.append(head)
        given.append(scaled)
        return scaled

    layers = (torch.nn.Linear, torch.nn.Conv2d)
    hooks = [
        layer.register_forward_hook(scale)
        for name, layer in module.named_modules()
        if isinstance(layer, layers) and _CLASS_HEADS.search(name)
    ]
    try:
        outputs = tensors(module(pictures))
    finally:
        for hook in hooks:
            hook.remove()
    return heads, given, outputs


def _class_axis(head: Any) -> int:
    import torch

    return 1 if isinstance(head, torch.nn.Conv2d) else 2


def _fitted(logits: Any) -> tuple[float, float]:
    """By what to multiply every class's logit and what to add then, so that the share asked of all candidates lies above."""
    best = logits.max(-1).values
    reached = _reached(best)
    scale = _RISE / (reached - float(best.median()))
    return scale, math.log(THRESHOLD / (1 - THRESHOLD)) - scale * reached


def _shift_of_none(logits: Any) -> float:
    """What to add to the logit of no object, which comes last, for the same.

    p > t of the best class m, where the classes' exponentials sum to s and no object's logit is o + shift:
    exp(m) / (s + exp(o + shift)) > t, so shift < log(exp(m) / t - s) - o.
    """
    import torch

    classes, nothing = logits[..., :-1], logits[..., -1]
    best, total = classes.max(-1).values.exp(), classes.exp().sum(-1)
    room = (best / THRESHOLD - total).clamp_min(torch.finfo(logits.dtype).tiny).log() - nothing
    return _reached(room)


def _reached(values: Any) -> float:
    """What the share of all candidates that is to be kept reaches; shape (items, candidates)."""
    kept = min(_MOST_KEPT, _KEPT / values.shape[1])
    ranked = values.flatten().sort().values
    return float(ranked[round((1 - kept) * (len(ranked) - 1))])
