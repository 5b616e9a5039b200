"""YOLO by ultralytics: its library imported without a word, and its modules built without weights.

ultralytics is licensed under AGPL-3.0 and an extra: nothing here is imported before a model asks for it.
"""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any

from zoobench.errors import PrepareError, install_extra

_NAME = re.compile(r"(yolov?\d+)([a-z])")


def import_ultralytics() -> Any:
    """Import `ultralytics.nn.tasks`: offline, silent, and with a settings folder that is gone when it is there.

    Left alone it writes settings into the home folder, asks the network whether it is there, and installs what it misses;
    with `ULTRALYTICS_SAFE_LOAD` it never evaluates what a model's description says. What it puts in the place of Pillow's and
    torch's own functions is put back: with its `Image.open` a file that is no picture is a missing package.

    Raises:
        PrepareError: it is not installed.
    """
    import torch
    from PIL import Image

    own = [(Image, "open", Image.open), (torch, "save", torch.save)]
    # Workers may end without a word, so nothing is left to be tidied up at the end.
    with tempfile.TemporaryDirectory(prefix="zoobench-yolo-") as folder:
        os.environ.update(_SILENT, YOLO_CONFIG_DIR=folder)
        try:
            from ultralytics.nn import tasks
        except ImportError as error:
            raise PrepareError(
                f"ultralytics cannot be imported ({error}); {install_extra('ultralytics')} (AGPL-3.0)"
            ) from error
        finally:
            for module, name, function in own:
                setattr(module, name, function)
    return tasks


_SILENT = {
    "YOLO_OFFLINE": "true",
    "YOLO_VERBOSE": "false",
    "YOLO_AUTOINSTALL": "false",
    "ULTRALYTICS_SAFE_LOAD": "true",
}


def description_of(architecture: str) -> dict[str, Any]:
    """The layers of an architecture such as `yolov8n`, as the library itself describes them, JSON values only.

    Raises:
        PrepareError: it knows no such architecture.
    """
    import_ultralytics()
    from ultralytics.utils import ROOT, YAML

    read: Any = YAML.load
    named = _NAME.fullmatch(architecture)
    family, size = named.groups() if named else ("", "")
    files = sorted((ROOT / "cfg" / "models").glob(f"*/{family}.yaml")) if named else []
    described: dict[str, Any] = read(files[0]) if files else {}
    if size not in described.get("scales", {}):
        raise PrepareError(f"ultralytics knows no architecture {architecture!r}; one is called yolov8n")
    return {**described, "scale": size}


def build_yolo(yaml: dict[str, Any], classes: int) -> Any:
    """The module that a description tells of, randomly initialised, in export mode: (batch, 3, height, width) → one tensor,
    (batch, 4 + classes, candidates).

    Raises:
        PrepareError: its head does not give that.
    """
    tasks = import_ultralytics()
    from ultralytics.nn.modules import Detect

    model = tasks.DetectionModel(dict(yaml), ch=3, nc=classes, verbose=False).eval()
    head = model.model[-1]
    if type(head) is not Detect or getattr(head, "one2one_cv2", None) is not None:
        raise PrepareError(f"its head {type(head).__name__} suppresses boxes itself, which is not known here")
    # One tensor, and not what training wants beside it.
    head.export = True
    return model


def settled(model: Any, input_shape: tuple[int, ...]) -> Any:
    """What runs: every BatchNorm folded into its convolution, as ultralytics does before it predicts and before it exports,
    and the anchors of the one input shape as constants, which its head makes anew for every other batch.

    Args:
        model: see `build_yolo`; changed in place.
        input_shape: (channels, height, width).
    """
    import torch

    model = model.eval().fuse(verbose=False)
    with torch.no_grad():
        model(torch.zeros(1, *input_shape))
    model.model[-1].shape = _AnyBatch()
    return model


class _AnyBatch:
    """Equals every shape: the input's is fixed, and its anchors do not depend on the batch."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]
