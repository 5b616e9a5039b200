"""A decoder of transformers as a graph of OpenVINO's that keeps keys and values between calls.

What LLMPipeline demands: inputs `input_ids`, `attention_mask`, `position_ids` and `beam_idx`, output `logits`, and a state for
every layer's keys and values. optimum-intel makes the same, but holds transformers below 5.6.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

import zoobench.backends.openvino  # noqa: F401 - it keeps openvino from calling home
from zoobench.spec import Decoder

_BATCH, _PAST, _NEW = 2, 3, 4
"""Of the example that is traced. All three differ and none is 1, which would be taken for a constant."""


def stateful(model: Any, decoder: Decoder) -> Any:
    """The graph of a language model in fp32, whose weights it shares. Every axis of tokens and batch is dynamic.

    Raises:
        Exception: whatever torch or OpenVINO raise for a model that cannot be traced.
    """
    import openvino
    from openvino._offline_transformations import apply_make_stateful_transformation

    places = [f"{layer}.{kind}" for layer in range(decoder.layers) for kind in ("key", "value")]
    past, present = ([f"{name}.{place}" for place in places] for name in ("past_key_values", "present"))
    integers = (openvino.PartialShape([-1, -1]), openvino.Type.i64)
    kept = (openvino.PartialShape([-1, decoder.kv_heads, -1, decoder.head_dim]), openvino.Type.f32)
    with warnings.catch_warnings():
        # The tracer warns of every shape that it sees in Python.
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(
            _Step(model),
            example_input=_example(decoder),
            input=[*[integers] * 3, *[kept] * len(past)],
        )
    for ports, names in (
        (graph.inputs, ["input_ids", "attention_mask", "position_ids", *past]),
        (graph.outputs, ["logits", *present]),
    ):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    _reorder(graph, past)
    apply_make_stateful_transformation(graph, dict(zip(past, present, strict=True)))
    _begin_empty(graph, decoder)
    graph.validate_nodes_and_infer_types()
    return graph


class _Step(torch.nn.Module):  # type: ignore[misc]
    """One call with what came before as plain tensors: keys and values of a layer after another."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any, attention_mask: Any, position_ids: Any, *past: Any) -> tuple[Any, ...]:
        cache = DynamicCache()
        for keys, values in zip(past[::2], past[1::2], strict=True):
            layer = DynamicLayer()
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            cache.layers.append(layer)
        at = torch.arange(attention_mask.shape[1])
        causal = at <= at[attention_mask.shape[1] - input_ids.shape[1] :, None]
        # A mask with four axes is taken as it is: none of transformers' own ways of making one is traced.
        mask = causal[None, None] & (attention_mask > 0)[:, None, None]
        out = self.model(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        )
        return (out.logits, *(kept for layer in cache.layers for kept in (layer.keys, layer.values)))


def _example(decoder: Decoder) -> tuple[Any, ...]:
    kept = (_BATCH, decoder.kv_heads, _PAST, decoder.head_dim)
    return (
        torch.ones(_BATCH, _NEW, dtype=torch.long),
        torch.ones(_BATCH, _PAST + _NEW, dtype=torch.long),
        torch.arange(_PAST, _PAST + _NEW).repeat(_BATCH, 1),
        *(torch.zeros(kept) for _ in range(2 * decoder.layers)),
    )


def _reorder(graph: Any, past: list[str]) -> None:
    """Let `beam_idx` choose, for each sequence, whose keys and values it goes on from."""
    import openvino
    from openvino import opset13

    chosen = opset13.parameter(openvino.PartialShape([-1]), openvino.Type.i32, name="beam_idx")
    chosen.output(0).get_tensor().set_names({"beam_idx"})
    graph.add_parameters([chosen])
    for name in past:
        port = graph.input(name)
        readers = port.get_target_inputs()
        gathered = opset13.gather(port, chosen, opset13.constant(0))
        for reader in readers:
            reader.replace_source_output(gathered.output(0))
    graph.validate_nodes_and_infer_types()


def _begin_empty(graph: Any, decoder: Decoder) -> None:
    """Before the first call every state holds no tokens, of as many sequences as are asked."""
    from openvino import opset13

    ids = opset13.shape_of(graph.input("input_ids"), output_type="i64")
    batch = opset13.gather(ids, opset13.constant([0]), opset13.constant(0))
    shape = opset13.concat([batch, opset13.constant(np.array([decoder.kv_heads, 0, decoder.head_dim]))], 0)
    for node in graph.get_ops():
        if node.get_type_name() == "ReadValue":
            node.set_arguments([opset13.broadcast(opset13.constant(0.0, dtype=np.float32), shape)])
