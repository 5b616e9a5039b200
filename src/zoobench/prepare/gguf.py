"""Files for llama.cpp: fp32 is written from the torch artifact's weights, llama.cpp itself makes fewer bits of it.

No vocabulary is written, because we measure on ids. Names and numbers are those of llama.cpp's convert_hf_to_gguf.py.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobench.backends.llama_cpp import CONFIG_FILE, GGUF_FILE, complaint, library
from zoobench.errors import PrepareError, explained
from zoobench.prepare.text import WEIGHTS_FILE
from zoobench.prepare.text_validation import artifact_of, validated
from zoobench.prepare.versions import versions
from zoobench.spec import Artifact, Decoder
from zoobench.terms import Precision

if TYPE_CHECKING:
    import torch

GGUF_PACKAGES = ("llama-cpp-python", "gguf", "transformers", "torch")
_BESIDE = (CONFIG_FILE, "tokenizer.json")
"""Copied: which ids end a text, and what reads the passage of the quality pass."""


@dataclass(frozen=True)
class _Family:
    """A model_type of transformers as llama.cpp knows it.

    Attributes:
        arch: name in gguf's MODEL_ARCH.
        activation: the only one that llama.cpp computes for it.
        permuted: whether its rotary embedding pairs neighbours, where transformers pairs the halves of a head.
    """

    arch: str
    activation: str = "silu"
    permuted: bool = False


_FAMILIES = {
    "llama": _Family("LLAMA", permuted=True),
    "qwen2": _Family("QWEN2"),
    "qwen3": _Family("QWEN3"),
    "phi": _Family("PHI2", activation="gelu_new"),
}


def derived_recipe(key: str, source: Artifact, calibration: object = None) -> dict[str, Any]:
    """All that decides what the artifact holds; JSON."""
    return {
        "recipe": 1,
        "key": key,
        "from": source.sha256,
        "weights": source.weights,
        "versions": versions(GGUF_PACKAGES),
    }


def build_derived(
    folder: Path,
    key: str,
    source: Artifact,
    calibration: object = None,
    *,
    recipe: dict[str, Any],
    progress: Callable[[str], None],
) -> Artifact:
    """Make the artifact `gguf:PRECISION` of a language model's torch artifact in the empty `folder`.

    Raises:
        PrepareError: llama.cpp, or this module, does not know the architecture; a file cannot be written or run.
    """
    precision = Precision(key.partition(":")[2])
    progress(f"writing {precision.value} for llama.cpp")
    with explained(f"{source.model}: llama.cpp's {precision.value} file cannot be made"):
        if precision is Precision.FP32:
            write_gguf(source, folder / GGUF_FILE)
        else:
            # Beside the file that is wanted: it is as large as the model, and a folder for scratch may be in memory.
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                write_gguf(source, Path(scratch) / GGUF_FILE)
                quantize(Path(scratch) / GGUF_FILE, folder / GGUF_FILE, precision)
        for name in _BESIDE:
            if (source.path / name).is_file():
                shutil.copyfile(source.path / name, folder / name)
        notes = (*source.notes, f"{GGUF_FILE} holds {tensor_types(folder / GGUF_FILE)}")
    artifact = artifact_of(
        folder,
        source,
        file=GGUF_FILE,
        precision=precision,
        backend="llama_cpp",
        recipe=recipe,
        packages=GGUF_PACKAGES,
        notes=notes,
    )
    _check_survives(artifact)
    return validated(artifact, source, backend="llama_cpp", maker="zoobench")


_RUN = """
import json, pathlib, sys
from zoobench.prepare.text_validation import last_logits
from zoobench.spec import Artifact
last_logits(Artifact(path=pathlib.Path(sys.argv[1]), **json.load(sys.stdin)), "llama_cpp")
"""


def _check_survives(artifact: Artifact) -> None:
    """Run the file in a process of its own first, because a crash here would take the model's other files along.

    GCC 12 compiles llama.cpp for CPUs with AMX so that it dies on 8-bit and 4-bit prompts: its `_tile_loadconfig` names 8 of
    the 64 bytes that the instruction reads, so what was written to the others is optimised away.

    Raises:
        PrepareError: a signal ended it.
    """
    ran = subprocess.run(
        [sys.executable, "-c", _RUN, str(artifact.path)],
        input=artifact.model_dump_json(),
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if ran.returncode >= 0:
        # Anything else is told by the run that follows.
        return
    amx = "AMX_INT8 = 1" in library().llama_print_system_info().decode()
    raise PrepareError(
        f"{artifact.model}: {signal.Signals(-ran.returncode).name} ends llama.cpp on its {artifact.precision.value} file"
        + (
            f"; GCC 12 builds it so for this CPU; {_REBUILD}"
            if amx
            else "; install another version of llama-cpp-python"
        )
    )


_REBUILD = 'CXXFLAGS="-fno-tree-dse -fno-dse" pip install --force-reinstall --no-cache-dir --no-deps llama-cpp-python'


def write_gguf(source: Artifact, file: Path) -> None:
    """Write the weights of a torch artifact in fp32, tensor after tensor, so that one at a time is in memory.

    Raises:
        PrepareError: the architecture, or something that its configuration asks for, is not known here.
    """
    import gguf
    from safetensors import safe_open
    from transformers import AutoConfig

    assert source.decoder is not None
    config = AutoConfig.from_pretrained(source.path, local_files_only=True, trust_remote_code=False)
    family = _family_of(config, source)
    arch = gguf.MODEL_ARCH[family.arch]
    known = gguf.get_tensor_name_map(arch, source.decoder.layers)
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[arch])
    _add_numbers(writer, config, source.decoder)
    factors = _rope_factors(config, source)
    with safe_open(source.path / WEIGHTS_FILE, framework="pt") as weights:
        names = sorted(weights.keys())
        for name in names:
            told = known.get_name(name, try_suffixes=(".weight", ".bias"))
            if told is None:
                raise PrepareError(f"{source.model}: llama.cpp's {family.arch} has no tensor for {name}")
            shape = weights.get_slice(name).get_shape()
            writer.add_tensor_info(told, shape, np.dtype(np.float32), 4 * math.prod(shape))
        if factors is not None:
            writer.add_tensor_info(_ROPE_FACTORS, factors.shape, factors.dtype, factors.nbytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name in names:
            weight = weights.get_tensor(name).float()
            if family.permuted:
                weight = _permuted(name, weight, source.decoder)
            writer.write_tensor_data(weight.contiguous().numpy())
        if factors is not None:
            writer.write_tensor_data(factors)
    writer.close()


_ROPE_FACTORS = "rope_freqs.weight"


def quantize(source: Path, target: Path, precision: Precision) -> None:
    """Have llama.cpp make a GGUF file of fewer bits of one in fp32.

    Raises:
        PrepareError: it does not.
    """
    lib = library()
    kinds = {
        Precision.FP16: lib.LLAMA_FTYPE_MOSTLY_F16,
        Precision.INT8: lib.LLAMA_FTYPE_MOSTLY_Q8_0,
        # What llama.cpp's users take for four bits.
        Precision.INT4: lib.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    }
    params = lib.llama_model_quantize_default_params()
    params.ftype = kinds[precision]
    params.nthread = len(os.sched_getaffinity(0))
    if lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), params):
        raise PrepareError(f"llama.cpp does not make {precision.value} of {source.name}: {complaint()}")


def tensor_types(file: Path) -> str:
    """Shares of a GGUF file's weights by how they are stored, the largest first: `75% Q5_0, 20% Q6_K, 5% F32`.

    llama.cpp chooses them tensor by tensor: rows that 256 does not divide get more bits than were asked for.
    """
    import gguf

    found: Counter[str] = Counter()
    for tensor in gguf.GGUFReader(file).tensors:
        found[tensor.tensor_type.name] += int(tensor.n_elements)
    total = found.total()
    return ", ".join(f"{count / total:.1%} {name}" for name, count in found.most_common())


def _family_of(config: Any, source: Artifact) -> _Family:
    """The family, where llama.cpp computes all that the configuration asks for."""
    family = _FAMILIES.get(config.model_type)
    if family is None:
        raise PrepareError(
            f"{source.model}: files for llama.cpp are made of {', '.join(_FAMILIES)}, and this is {config.model_type}"
        )
    asked = [
        (config.hidden_act != family.activation, f"the activation {config.hidden_act}"),
        ("sliding_attention" in (getattr(config, "layer_types", None) or ()), "a sliding window"),
        (getattr(config, "qk_layernorm", False), "normalised queries and keys"),
        (config.rope_parameters["rope_type"] not in ("default", "llama3"),
         f"the rotary embedding {config.rope_parameters['rope_type']}"),
    ]  # fmt: skip
    if refused := [what for wrong, what in asked if wrong]:
        raise PrepareError(
            f"{source.model}: files for llama.cpp are not made of {config.model_type} with {', '.join(refused)}"
        )
    return family


def _add_numbers(writer: Any, config: Any, decoder: Decoder) -> None:
    """What llama.cpp must know beside the weights."""
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(decoder.vocab_size)
    writer.add_context_length(decoder.context_length)
    writer.add_embedding_length(decoder.hidden_size)
    writer.add_block_count(decoder.layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(decoder.heads)
    writer.add_head_count_kv(decoder.kv_heads)
    writer.add_key_length(decoder.head_dim)
    writer.add_value_length(decoder.head_dim)
    rotated = config.rope_parameters.get("partial_rotary_factor", 1.0)
    writer.add_rope_dimension_count(int(decoder.head_dim * rotated))
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if hasattr(config, "rms_norm_eps"):
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    else:
        writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_file_type(0)


def _rope_factors(config: Any, source: Artifact) -> np.ndarray | None:
    """What Llama 3.1 divides its frequencies by, float32, (rotated dimensions / 2); None: by nothing.

    transformers' own frequencies are asked, with and without.
    """
    rope = config.rope_parameters
    if rope["rope_type"] == "default":
        return None
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    assert source.decoder is not None
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    exponents = np.arange(0, source.decoder.head_dim, 2) / source.decoder.head_dim
    plain = 1.0 / rope["rope_theta"] ** exponents
    factors: np.ndarray = (plain / scaled.double().numpy()).astype(np.float32)
    return factors


def _permuted(name: str, weight: torch.Tensor, decoder: Decoder) -> torch.Tensor:
    """Rows of queries and keys with both halves of every head interleaved; the others as they are."""
    heads = {"q_proj": decoder.heads, "k_proj": decoder.kv_heads}.get(name.split(".")[-2])
    if heads is None:
        return weight
    halves = weight.reshape(heads, 2, decoder.head_dim // 2, -1)
    return halves.transpose(1, 2).reshape(weight.shape)
