"""The prepare role: download, export, validate; everything that must be done before measuring begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoobench.errors import PrepareError, UsageError
from zoobench.prepare import prepare_model
from zoobench.prepare.cache import ArtifactCache
from zoobench.spec import Artifact, DataInfo, ModelSpec
from zoobench.tasks import open_task
from zoobench.terms import WeightsPolicy
from zoobench.worker.roles import Emit

if TYPE_CHECKING:
    import numpy as np

    from zoobench.prepare.derive import Calibration
    from zoobench.tasks import PictureTask


class PrepareRole:
    """Verbs: `prepare`, with a `progress` event for every step, and `weigh`, which fetches nothing."""

    def handle(self, verb: str, args: dict[str, Any], emit: Emit) -> Any:
        """Answer one verb."""
        if verb == "weigh":
            return _download_bytes(ModelSpec.model_validate(args["model"]))
        if verb == "collect":
            return _collect(args, emit)
        if verb != "prepare":
            raise ValueError(f"the prepare role has no verb {verb!r}")
        prepared = prepare_model(
            ModelSpec.model_validate(args["model"]),
            formats=args["formats"],
            weights=WeightsPolicy(args["weights"]),
            allow_pickle=args["allow_pickle"],
            cache=ArtifactCache(Path(args["cache"])),
            calibration=_calibration(Path(args["calibration"])) if args.get("calibration") else None,
            progress=lambda text: emit("progress", text),
        )
        return prepared.model_dump(mode="json")


def _calibration(folder: Path) -> Calibration:
    """A pack's pictures as inputs of whatever artifact asks for them."""
    import numpy as np

    from zoobench.data.loader import batches
    from zoobench.data.pack import Pack
    from zoobench.prepare.derive import Calibration

    pack = Pack.open(folder)

    def items(artifact: Artifact) -> np.ndarray:
        how, task = artifact.preprocessing, cast("PictureTask", open_task(artifact.task))
        if how is None:
            raise PrepareError(
                f"{artifact.model}: how it wants its pictures is not known, so it cannot be calibrated"
            )
        found = [batch.tensors for batch in batches(pack, lambda picture: task.item(picture, how), 8)]
        if not found:
            raise PrepareError(
                f"{pack.label}: none of its pictures can be decoded, so nothing can be calibrated on them"
            )
        return np.concatenate(found)

    return Calibration(f"{len(pack)} pictures of {pack.label}", pack.content_sha256, items)


def _collect(args: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """A pack of the pictures that were asked for, none of them in the pack `beside`."""
    from zoobench.data import DataRequest, open_source
    from zoobench.data.pack import Pack, collect, overlap

    request = DataRequest(**args["request"])
    beside = Pack.open(Path(args["beside"])) if args["beside"] else None
    source = open_source(request)
    same = beside is not None and beside.identity == source.identity
    exclude = {beside.entry(i).id for i in range(len(beside))} if same and beside is not None else set()
    progress = _every_tenth(lambda done, of: emit("progress", f"{done} of {of} pictures"))
    while True:
        try:
            pack = collect(
                source, request, Path(args["cache"]), exclude=frozenset(exclude), progress=progress
            )
        except UsageError as error:
            if not exclude:
                raise
            raise UsageError(
                f"--calibration {request.said}: no pictures are left beside those that are judged ({error}); give others, "
                "or judge fewer (--samples)"
            ) from error
        common = overlap(pack, beside) if beside is not None else []
        if not common:
            break
        if not same:
            raise UsageError(
                f"--calibration {request.said}: {len(common)} of its pictures are among those that are judged (such as "
                f"{common[0]}), which would flatter int8; give other pictures"
            )
        # One source may hold a picture twice; nobody chose the second, so another takes its place.
        exclude |= set(common)
    info = DataInfo(
        label=pack.label,
        identity=dict(pack.identity),
        samples=len(pack),
        seed=request.seed,
        ids_sha256=pack.ids_sha256,
        content_sha256=pack.content_sha256,
        labels_sha256=pack.labels_sha256,
        boxes=pack.boxes,
        notes=pack.notes,
    )
    return {"folder": str(pack.folder), "info": info.model_dump(mode="json")}


def _every_tenth(tell: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Called for each picture, it tells of each tenth of them."""

    def progress(done: int, of: int) -> None:
        if 10 * done // of > 10 * (done - 1) // of:
            tell(done, of)

    return progress


def _download_bytes(spec: ModelSpec) -> int | None:
    """What the Hub would send, bytes; None for a model that names none there."""
    from zoobench.hub import snapshots

    if spec.hf_id is None:
        return None
    commit = snapshots.resolve(spec.hf_id, spec.revision, only=spec.file)
    return sum(size for _, size in snapshots.plan_download(spec.hf_id, commit, only=spec.file))
