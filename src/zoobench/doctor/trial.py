"""One runtime, one node, one GPU: does it really run there? The only part of the doctor to import runtimes.

It is run as a program in a child process, `python -m zoobench.doctor.trial NAME ANSWER`: a CUDA library that
is broken may take the process with it. The answer is a file, since runtimes write to stdout as they please.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field

from zoobench.spec import SECRETS, Frozen

TIMEOUT_S = 120.0
TOLERANCE = 1e-2
"""Largest max |difference| ÷ max |reference| against the CPU; TensorRT may use TF32."""
STDERR_TAIL = 6000


class Answer(Frozen):
    """What a trial found.

    Attributes:
        ran: the node ran on the GPU and its result equals the CPU's.
        error: why not.
        cuda_build: CUDA version that the runtime was built for.
        ran_on: execution providers or devices that ran the node.
        stderr: the end of what the runtime wrote.
    """

    ran: bool = False
    error: str | None = None
    version: str | None = None
    cuda_build: str | None = None
    cudnn: str | None = None
    device: str | None = None
    available: tuple[str, ...] = ()
    ran_on: tuple[str, ...] = ()
    max_rel: float | None = None
    stderr: str = Field(default="", exclude=True)


def run_trial(name: str, timeout_s: float = TIMEOUT_S, python: str = sys.executable) -> Answer:
    """Try `name` (`torch` or an ONNX Runtime execution provider) in a child; its failure is an answer.

    The child gets no HF_TOKEN, and sits in a folder of its own for the profile that it writes.
    """
    package_root = str(Path(__file__).resolve().parents[2])
    environment = {k: v for k, v in os.environ.items() if k not in SECRETS}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package_root, environment.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory(prefix="zoobench-trial-") as folder:
        answer_file = Path(folder) / "answer.json"
        command = [python, "-m", "zoobench.doctor.trial", name, str(answer_file)]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            return Answer(error=f"no answer within {timeout_s:.0f} s", stderr=_tail(expired.stderr))
        stderr = _tail(done.stderr)
        if not answer_file.exists():
            how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
            return Answer(error=f"the child process died ({how})", stderr=stderr)
        return Answer.model_validate_json(answer_file.read_bytes()).model_copy(update={"stderr": stderr})


def _tail(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")[-STDERR_TAIL:]


def try_torch() -> Answer:
    """A convolution (cuDNN) on the first CUDA device, against the CPU."""
    import torch

    known: dict[str, Any] = {"version": str(torch.__version__), "cuda_build": torch.version.cuda}
    if torch.version.cuda is None:
        return Answer(error="this torch is a CPU build", **known)
    try:
        torch.cuda.init()
        known["device"] = torch.cuda.get_device_name(0)
        known["cudnn"] = _cudnn_text(torch.backends.cudnn.version())
        torch.backends.cudnn.allow_tf32 = False
        generator = torch.Generator().manual_seed(0)
        x, w = (torch.rand(shape, generator=generator) for shape in ((1, 3, 16, 16), (8, 3, 3, 3)))
        reference = torch.nn.functional.conv2d(x, w)
        found = torch.nn.functional.conv2d(x.cuda(), w.cuda()).cpu()
    except RuntimeError as error:
        return Answer(error=_one_line(error), **known)
    max_rel = float((found - reference).abs().max() / reference.abs().max())
    return _judged(max_rel, ("cuda",), known)


def try_provider(provider: str) -> Answer:
    """A convolution on one ONNX Runtime execution provider; the profile says where the node ran."""
    import onnxruntime as ort

    available = tuple(ort.get_available_providers())
    known: dict[str, Any] = {
        "version": ort.__version__,
        "cuda_build": getattr(ort, "cuda_version", None) or None,
        "available": available,
    }
    if provider not in available:
        return Answer(error=f"{provider} is not in this build of onnxruntime", **known)
    _load_libraries(provider)
    model, feed = _one_node()
    try:
        reference = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feed)[0]
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path.cwd() / "profile")
        wanted = (provider, {"use_tf32": "0"}) if provider == "CUDAExecutionProvider" else provider
        session = ort.InferenceSession(model, options, providers=[wanted], enable_fallback=0)
        found = session.run(None, feed)[0]
        ran_on = providers_in_profile(Path(session.end_profiling()).read_text())
    except Exception as error:  # noqa: BLE001  (onnxruntime's own exception types are not public)
        return Answer(error=_one_line(error), **known)
    if provider not in ran_on:
        return Answer(
            error=f"the node ran on {', '.join(ran_on) or 'nothing'} instead", ran_on=ran_on, **known
        )
    max_rel = float(abs(found - reference).max() / abs(reference).max())
    return _judged(max_rel, ran_on, known)


def _judged(max_rel: float, ran_on: tuple[str, ...], known: dict[str, Any]) -> Answer:
    right = max_rel <= TOLERANCE  # NaN is not
    return Answer(
        ran=right,
        error=None if right else f"the result differs from the CPU's by {max_rel:.2g}, relative",
        ran_on=ran_on,
        max_rel=max_rel if right else None,
        **known,
    )


def _load_libraries(provider: str) -> None:
    """Libraries from PyPI lie where the loader does not look; both packages offer to load them."""
    import onnxruntime as ort

    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    if provider == "TensorrtExecutionProvider":
        with contextlib.suppress(ImportError):
            import tensorrt  # noqa: F401


def providers_in_profile(profile: str) -> tuple[str, ...]:
    """Execution providers that ran nodes, most nodes first, out of an ONNX Runtime profile (JSON)."""
    counts = Counter(
        event["args"]["provider"]
        for event in json.loads(profile)
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    )
    return tuple(provider for provider, _ in counts.most_common())


def _one_node() -> tuple[bytes, dict[str, Any]]:
    """A model of one convolution (8 filters of 3 × 3 on 3 × 16 × 16), and its input."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.random((8, 3, 3, 3), dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "trial",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 14, 14])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(), {"x": rng.random((1, 3, 16, 16), dtype=np.float32)}


def _cudnn_text(number: int | None) -> str | None:
    """cuDNN's number as people write it: 92600 is 9.26.0, and 8902 was 8.9.2."""
    if number is None:
        return None
    if number >= 10000:
        return f"{number // 10000}.{number % 10000 // 100}.{number % 100}"
    return f"{number // 1000}.{number % 1000 // 100}.{number % 100}"


def _one_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def main(name: str, answer_file: str) -> None:
    """Run one trial and write its answer."""
    try:
        answer = try_torch() if name == "torch" else try_provider(name)
    except ImportError as error:
        answer = Answer(error=f"cannot be imported: {_one_line(error)}")
    Path(answer_file).write_text(answer.model_dump_json())


if __name__ == "__main__":
    main(*sys.argv[1:3])
