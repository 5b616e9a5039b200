"""Does a language model's file of another runtime say what PyTorch says? It is run and compared when it is made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from zoobench.backends import BACKENDS, open_backend
from zoobench.errors import explained
from zoobench.prepare.build import load_reference, save_reference
from zoobench.prepare.cache import content_of
from zoobench.prepare.versions import versions
from zoobench.spec import Artifact, Case, Validation
from zoobench.tasks import open_task
from zoobench.tasks.comparison import compare
from zoobench.terms import TOLERANCE, Precision

if TYPE_CHECKING:
    from zoobench.backends import TokenSession
    from zoobench.tasks import Parts


def artifact_of(
    folder: Path,
    source: Artifact,
    *,
    file: str,
    precision: Precision,
    backend: str,
    recipe: dict[str, Any],
    packages: Sequence[str],
    notes: tuple[str, ...] | None = None,
) -> Artifact:
    """The artifact of the files in `folder`, not validated yet.

    Args:
        folder: holds all that a maker wrote of a language model.
        source: the torch artifact that it was made of.
        file: what the runtime opens.
        backend: which runs it.
        packages: whose versions made it.
        notes: None: those of `source`.
    """
    sha256, size_bytes = content_of(folder)
    return source.model_copy(
        update={
            "path": folder,
            "format": BACKENDS[backend].format,
            "sha256": sha256,
            "size_bytes": size_bytes,
            "file": file,
            "precision": precision,
            "derived_from": source.sha256,
            "recipe": recipe,
            "made_with": versions(packages),
            "notes": source.notes if notes is None else notes,
        }
    )


def validated(artifact: Artifact, source: Artifact, *, backend: str, maker: str) -> Artifact:
    """The artifact with its validation, and the reference outputs of `source` in its folder.

    Args:
        artifact: of a language model, whose files are written.
        source: the torch artifact that it was made of.
        backend: which runs it.
        maker: what wrote the files, as the user is told where they do not run.

    Raises:
        PrepareError: the runtime does not load or run it.
    """
    reference = load_reference(source.path)
    validation = _compared(artifact, reference, backend, maker)
    save_reference(artifact.path, reference)
    return artifact.model_copy(update={"validation": validation})


def last_logits(artifact: Artifact, backend: str) -> tuple[np.ndarray, str]:
    """Logits of the last position of each check prompt, float32, (prompts, vocabulary), and which runtime gave them."""
    case = Case(
        model=artifact.model,
        backend=backend,
        device=BACKENDS[backend].device,
        precision=artifact.precision,
        threads=len(os.sched_getaffinity(0)),
    )
    prompts = open_task(artifact.task).check_inputs(artifact.input_shape)
    runtime = open_backend(backend)
    runtime.import_runtime(artifact)
    session = cast("TokenSession", runtime.load(artifact, case))
    outputs = np.concatenate([session.logits(prompt[None])[:, -1] for prompt in prompts])
    evidence = session.evidence()
    session.close()
    return outputs, f"{evidence.runtime} {evidence.version}"


def _compared(artifact: Artifact, reference: Parts, backend: str, maker: str) -> Validation:
    with explained(f"{artifact.model}: the file that {maker} made does not run"):
        outputs, runtime = last_logits(artifact, backend)
    found = compare(reference, {"outputs": outputs}, open_task(artifact.task))
    tolerance = TOLERANCE.get(artifact.precision)
    return Validation(
        reference="pytorch eager fp32",
        runtime=runtime,
        passed=not found.broken and (tolerance is None or found.max_rel <= tolerance),
        tolerance=tolerance,
        max_abs=found.max_abs,
        max_rel=found.max_rel,
        cosine=found.cosine,
        top1_agreement=found.agreement,
        batches=(1,),
    )
