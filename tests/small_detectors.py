"""Detectors of every family that build in a moment: few layers, few queries, for inputs of 64 to 128 pixels."""

from __future__ import annotations

from typing import Any

from zoobench.spec import ModelSpec

QUERIES = 20
_WIDTH = {
    "num_queries": QUERIES,
    "d_model": 32,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
}
_RESNET = {
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
_DETR = {
    **_WIDTH,
    "num_labels": 91,
    "encoder_layers": 2,
    "use_timm_backbone": False,
    "backbone_config": {"model_type": "resnet", **_RESNET, "out_features": ["stage4"]},
}
_RT_DETR = {
    **_WIDTH,
    "num_labels": 80,
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [16, 24, 32],
    "decoder_in_channels": [32, 32, 32],
    "backbone_config": {"model_type": "rt_detr_resnet", **_RESNET, "out_indices": [2, 3, 4]},
}
_HGNET = {
    "model_type": "hgnet_v2",
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "stem_channels": [3, 8, 8],
    "stage_in_channels": [8, 8, 16, 24],
    "stage_mid_channels": [8, 8, 8, 8],
    "stage_out_channels": [8, 16, 24, 32],
    "stage_num_blocks": [1, 1, 1, 1],
    "stage_numb_of_layers": [1, 1, 1, 1],
    "stage_downsample": [False, True, True, True],
    "stage_light_block": [False, False, False, False],
    "stage_kernel_size": [3, 3, 3, 3],
    "out_indices": [2, 3, 4],
}
CONFIGS: dict[str, dict[str, Any]] = {
    "yolos": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "image_size": [96, 96],
        "num_labels": 91,
        "num_detection_tokens": QUERIES,
        "use_mid_position_embeddings": False,
    },
    "detr": _DETR,
    "conditional_detr": _DETR,
    "deformable_detr": {
        **_DETR,
        "backbone_config": {
            "model_type": "resnet",
            **_RESNET,
            "out_features": ["stage2", "stage3", "stage4"],
        },
    },
    "rt_detr": _RT_DETR,
    "rt_detr_v2": _RT_DETR,
    "d_fine": {**_RT_DETR, "backbone_config": _HGNET},
}
"""transformers' `model_type` → its configuration."""


def small(family: str, *, size: int = 128, **more: Any) -> ModelSpec:
    """A model of the family; `yolo` is ultralytics' smallest, whose architecture has no smaller configuration."""
    told: dict[str, Any] = {"name": family, "task": "object_detection", "img_size": size, **more}
    if family == "yolo":
        return ModelSpec(**{"library": "ultralytics", "architecture": "yolov8n", **told})
    config = {"model_type": family, **CONFIGS[family]}
    return ModelSpec(**{"library": "transformers", "config": config, **told})
