"""Decoder-only language models: from a model's files, or from numbers and a seed, to a folder in the Hub's layout.

That folder is the torch artifact, and what other runtimes' builders read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobench.errors import PrepareError, explained
from zoobench.prepare.build import save_reference
from zoobench.prepare.cache import content_of
from zoobench.prepare.versions import TORCH_PACKAGES, versions
from zoobench.spec import NO_TOKENIZER, Artifact, Decoder, ModelSpec
from zoobench.tasks import open_task
from zoobench.tasks.text_generation import CHECK_TOKENS

if TYPE_CHECKING:
    from zoobench.hub.snapshots import Snapshot

WEIGHTS_FILE = "model.safetensors"


def build_text(
    folder: Path, spec: ModelSpec, snapshot: Snapshot | None, *, seed: int, recipe: dict[str, Any]
) -> Artifact:
    """The torch artifact: weights in the precision in which they are published, configuration, tokenizer, and the logits
    in fp32 that every runtime is held to.

    Raises:
        PrepareError: no decoder-only language model, or files that do not fit.
    """
    import torch

    model = _published(spec, snapshot) if snapshot else _random(spec, seed)
    decoder = decoder_of(model.config, spec.name)
    with explained(f"{spec.name}: the model cannot be written"):
        # One file: what other tools' builders and the manifest know by name.
        model.save_pretrained(folder, max_shard_size="100GB")
        notes = _tokenizer(folder, snapshot, decoder.vocab_size)
    shape = (CHECK_TOKENS, decoder.vocab_size)
    with explained(f"{spec.name}: {type(model).__name__} does not run"), torch.inference_mode():
        model = model.float().eval()
        prompts = torch.from_numpy(open_task(spec.task).check_inputs(shape))
        outputs = torch.cat([model(input_ids=p[None], logits_to_keep=1).logits[:, -1] for p in prompts])
    parameters = sum(p.numel() for p in model.parameters())
    sha256, size_bytes = content_of(folder)
    save_reference(folder, {"outputs": outputs.numpy()})
    return Artifact(
        path=folder,
        format="torch",
        sha256=sha256,
        size_bytes=size_bytes,
        file=WEIGHTS_FILE,
        model=spec.name,
        hf_id=spec.hf_id,
        commit=snapshot.commit if snapshot is not None else None,
        weights="random" if snapshot is None else "local" if spec.path else "pretrained",
        library="transformers",
        architecture=type(model).__name__,
        task=spec.task,
        input_name="input_ids",
        input_shape=shape,
        decoder=decoder,
        parameters=parameters,
        tolerance=spec.fp32_tolerance,
        recipe=recipe,
        made_with=versions(TORCH_PACKAGES),
        notes=notes,
    )


def decoder_of(config: Any, name: str) -> Decoder:
    """Its numbers; every family calls some of them otherwise, and transformers maps the usual names.

    Raises:
        PrepareError: a number is not to be found: it is no decoder of the usual kind.
    """
    try:
        heads = int(config.num_attention_heads)
        return Decoder(
            layers=int(config.num_hidden_layers),
            hidden_size=int(config.hidden_size),
            heads=heads,
            kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
            head_dim=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
            vocab_size=int(config.vocab_size),
            context_length=int(config.max_position_embeddings),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise PrepareError(
            f"{name}: its configuration is none of a decoder-only language model ({error})"
        ) from error


def _published(spec: ModelSpec, snapshot: Snapshot) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    with explained(f"{spec.name}: the files in {snapshot.folder} are no language model of transformers"):
        config = AutoConfig.from_pretrained(snapshot.folder, local_files_only=True, trust_remote_code=False)
    made = config.architectures or []
    if config.is_encoder_decoder or not any(n.endswith(("ForCausalLM", "LMHeadModel")) for n in made):
        raise PrepareError(
            f"{spec.name} is {', '.join(made) or config.model_type}, no decoder-only language model; text generation needs a "
            "…ForCausalLM"
        )
    with explained(f"{spec.name}: the files in {snapshot.folder} are no language model of transformers"):
        model, report = AutoModelForCausalLM.from_pretrained(
            snapshot.folder,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            use_safetensors=any(name.endswith(".safetensors") for name in snapshot.files),
            weights_only=True,
            dtype="auto",
        )
    if missing := sorted(report["missing_keys"]):
        raise PrepareError(f"{spec.name}: {len(missing)} weights are missing ({missing[0]}, …)")
    return model


def _random(spec: ModelSpec, seed: int) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    numbers = dict(spec.config or {})
    model_type = numbers.pop("model_type", None)
    if model_type is None:
        raise PrepareError(
            f"{spec.name}: the numbers of its configuration are not known, so no random weights can be made; state them in a "
            "registry (config = { model_type = …, hidden_size = … }), or use the Hub or a local folder"
        )
    dtype = getattr(torch, numbers.pop("dtype", "float32"))
    with explained(f"{spec.name}: transformers cannot build {model_type}"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = AutoConfig.for_model(model_type, **numbers)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.config.architectures = [type(model).__name__]
    return model


def open_tokenizer(folder: Path) -> Any:
    """The tokenizer of an artifact's folder, as transformers reads it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _tokenizer(folder: Path, snapshot: Snapshot | None, vocab_size: int) -> tuple[str, ...]:
    """Copy what the snapshot has; else write one that only numbers, because builders refuse a folder without."""
    import shutil

    from zoobench.hub.snapshots import TOKENIZER

    found = [name for name in TOKENIZER if snapshot and (snapshot.folder / name).is_file()]
    for name in found:
        assert snapshot is not None
        shutil.copyfile(snapshot.folder / name, folder / name)
    if any(name.startswith(("tokenizer", "vocab")) for name in found):
        return ()
    vocabulary = {f"<{number}>": number for number in range(vocab_size)}
    body: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<0>"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(body), encoding="utf-8")
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<0>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    return (NO_TOKENIZER,)
