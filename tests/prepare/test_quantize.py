"""Quantized files compute what the fp32 file computes, nearly, and keep its interface."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from tests.prepare.small_nets import DETECTOR_TAIL, MACHINE_PATH, detector, perceptron, pictures, squeezed_net

from zoobench.errors import PrepareError
from zoobench.prepare import quantize
from zoobench.prepare.quantize import Recipe, convert_fp16, quantize_dynamic, quantize_static, saturates
from zoobench.prepare.validate import run_onnxruntime

WHOLE = Recipe(name="whole", extra_op_types=("Mul", "Sigmoid"))
slow = pytest.mark.slow


def run(file: Path, inputs: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(["logits"], {"pixels": inputs})[0]
    return output


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def assert_near_with_any_batch(source: Path, target: Path, least: float = 0.98) -> None:
    for items in (1, 3):
        inputs = pictures(items, seed=9)
        assert cosine(run(source, inputs), run(target, inputs)) > least


def int8_weights(file: Path) -> dict[str, np.ndarray]:
    tensors = onnx.load(file).graph.initializer
    return {t.name: numpy_helper.to_array(t) for t in tensors if t.data_type == onnx.TensorProto.INT8}


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return squeezed_net(tmp_path / "net.onnx")


@slow
@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_it_computes_nearly_the_same(net: Path, tmp_path: Path, method: Any) -> None:
    recipe = WHOLE.model_copy(update={"method": method})
    made = quantize_static(net, tmp_path / "int8.onnx", recipe, [pictures(8)])
    assert (made.quantized_nodes, made.float_nodes) == (16, 0)
    assert_near_with_any_batch(net, tmp_path / "int8.onnx", 0.98 if method != "entropy" else 0.9)
    assert made.size_bytes == (tmp_path / "int8.onnx").stat().st_size


@slow
def test_what_a_recipe_does_not_name_stays_in_fp32(net: Path, tmp_path: Path) -> None:
    plain = quantize_static(net, tmp_path / "plain.onnx", Recipe(name="plain"), [pictures(4)])
    assert plain.notes == ("left in fp32: 4 Mul",)
    without = WHOLE.model_copy(update={"exclude": ("squeeze_excite", "conv2")})
    made = quantize_static(net, tmp_path / "without.onnx", without, [pictures(4)])
    assert set(int8_weights(tmp_path / "without.onnx")) >= {"conv1_w_quantized", "head_w_quantized"}
    assert not {n for n in int8_weights(tmp_path / "without.onnx") if n.startswith(("se_", "conv2"))}
    assert made.float_nodes == 6
    assert_near_with_any_batch(net, tmp_path / "without.onnx")


@slow
def test_interface_stays_and_no_path_is_left(net: Path, tmp_path: Path) -> None:
    quantize_static(net, tmp_path / "int8.onnx", WHOLE, [pictures(4)])
    before, after = (onnx.load(file).graph for file in (net, tmp_path / "int8.onnx"))
    assert (list(after.input), list(after.output)) == (list(before.input), list(before.output))
    text = (tmp_path / "int8.onnx").read_bytes()
    assert not [
        word for word in (MACHINE_PATH, str(tmp_path), "/tmp/", str(Path.cwd())) if word.encode() in text
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["int8.onnx", "net.onnx"]


_AGAIN = """
import sys, pathlib
from tests.prepare.small_nets import pictures
from tests.prepare.test_quantize import WHOLE
from zoobench.prepare.quantize import quantize_static
quantize_static(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), WHOLE, [pictures(4)])
"""


@slow
def test_same_input_same_bytes_in_every_process(net: Path, tmp_path: Path) -> None:
    sums = set()
    for seed in ("1", "2"):
        file = tmp_path / seed / "int8.onnx"
        path = os.pathsep.join(["src", "."])
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        subprocess.run([sys.executable, "-c", _AGAIN, net, file], check=True, env=environment)
        sums.add(hashlib.sha256(file.read_bytes()).hexdigest())
    assert len(sums) == 1


_PEAK = """
import sys, pathlib, resource
from tests.prepare.small_nets import pictures
from zoobench.prepare.quantize import Recipe, calibrate_ranges, make_ready
source, method = pathlib.Path(sys.argv[1]), sys.argv[2]
make_ready(source, source.with_name("ready.onnx"))
def feed(batches):
    for seed in range(batches):
        yield pictures(2, seed, 128)
for batches in (2, 20):
    calibrate_ranges(source.with_name("ready.onnx"), Recipe(name="r", method=method), feed(batches))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@slow
@pytest.mark.parametrize("method", ["percentile"])
def test_memory_of_calibration_does_not_grow_with_the_batches(tmp_path: Path, method: str) -> None:
    net = squeezed_net(tmp_path / "net.onnx", size=128)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])}
    command = [sys.executable, "-c", _PEAK, net, method]
    told = subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout
    few, many = map(int, told.split())
    # An item's activations take 9 MB here: 36 items more, kept, would be 320.
    assert many - few < 60


@slow
def test_calibration_is_read_once_and_item_by_item(net: Path, tmp_path: Path) -> None:
    def batches() -> Iterator[np.ndarray]:
        yield pictures(3)
        yield pictures(5, seed=1)

    quantize_static(net, tmp_path / "stream.onnx", WHOLE, batches())
    together = [np.concatenate(list(batches()))]
    quantize_static(net, tmp_path / "list.onnx", WHOLE, together)
    assert (tmp_path / "stream.onnx").read_bytes() == (tmp_path / "list.onnx").read_bytes()


@slow
def test_every_item_counts_in_calibration(net: Path, tmp_path: Path) -> None:
    loud = pictures(4)
    loud[0] *= 10
    ready = tmp_path / "ready.onnx"
    quantize.make_ready(net, ready)
    ranges = quantize.calibrate_ranges(ready, WHOLE, [loud[:1], *[loud[1:2]] * 3])
    assert ranges["pixels"].range_value[1] == pytest.approx(loud[0].max())


@slow
def test_a_fixed_batch_is_fed_whole(tmp_path: Path) -> None:
    net = squeezed_net(tmp_path / "net.onnx", batch=2)
    quantize_static(net, tmp_path / "int8.onnx", WHOLE, [pictures(2), pictures(2, seed=1)])
    inputs = pictures(2, seed=9)
    assert cosine(run(net, inputs), run(tmp_path / "int8.onnx", inputs)) > 0.98
    with pytest.raises(PrepareError, match=r"net\.onnx does not run on its calibration data: .*pixels"):
        quantize_static(net, tmp_path / "int8.onnx", WHOLE, [pictures(3)])


@slow
def test_seven_bits_where_the_cpu_would_saturate(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = {}
    for flags in ({"sse2", "avx2"}, {"sse2", "avx512_vnni"}):
        monkeypatch.setattr(quantize, "cpu_flags", lambda flags=flags: frozenset(flags))
        made = quantize_static(net, tmp_path / "int8.onnx", WHOLE, [pictures(2)])
        weights = int8_weights(tmp_path / "int8.onnx")
        peaks[made.reduce_range] = max(
            int(abs(w.astype(int)).max()) for n, w in weights.items() if "_w_" in n
        )
    assert peaks[True] <= 64 < peaks[False] <= 127


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("sse2 avx2", True),
        ("sse2 avx512_vnni", False),
        ("sse2 avx_vnni", False),
        ("sse2 amx_int8", False),
        ("asimd", False),
        ("", False),
    ],
)
def test_saturation_goes_by_the_flags(flags: str, expected: bool) -> None:
    assert saturates(flags.split()) is expected


@slow
@pytest.mark.parametrize(
    ("recipe", "calibration", "message"),
    [
        (WHOLE, [], r"net\.onnx: there is no calibration data"),
        (WHOLE.model_copy(update={"exclude": ("no_such",)}), [pictures(1)], "no node 'no_such' to exclude"),
        (Recipe(name="none", op_types=("MaxPool",)), [pictures(1)], "recipe 'none' quantizes no node"),
        (WHOLE, [pictures(1, size=8)[:, :1]], r"does not run on its calibration data"),
    ],
)
def test_what_fails_says_so_and_leaves_the_target_alone(
    net: Path, tmp_path: Path, recipe: Recipe, calibration: list[np.ndarray], message: str
) -> None:
    target = tmp_path / "int8.onnx"
    target.write_text("before")
    with pytest.raises(PrepareError, match=message) as error:
        quantize_static(net, target, recipe, calibration)
    assert "\n" not in str(error.value)
    assert target.read_text() == "before"


@slow
def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_text("nothing")
    for make in (lambda s, t: quantize_static(s, t, WHOLE, []), quantize_dynamic, convert_fp16):
        with pytest.raises(PrepareError, match=r"no\.onnx cannot be"):
            make(tmp_path / "no.onnx", tmp_path / "out.onnx")


@slow
def test_dynamic_takes_matmul_and_gemm(tmp_path: Path) -> None:
    net = perceptron(tmp_path / "net.onnx")
    made = quantize_dynamic(net, tmp_path / "int8.onnx")
    assert (made.quantized_nodes, made.float_nodes) == (2, 1)
    inputs = np.random.default_rng(5).standard_normal((3, 64)).astype(np.float32)
    assert cosine(run(net, inputs), run(tmp_path / "int8.onnx", inputs)) > 0.99
    assert made.size_bytes < net.stat().st_size / 2


@slow
def test_dynamic_leaves_convolutions_alone(net: Path, tmp_path: Path) -> None:
    quantize_dynamic(net, tmp_path / "int8.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert "Conv" in kinds
    assert "ConvInteger" not in kinds
    model = onnx.load(net)
    del model.graph.node[-1]
    model.graph.output[0].name = model.graph.node[-1].output[0]
    onnx.save(model, tmp_path / "convs.onnx")
    with pytest.raises(PrepareError, match=r"convs\.onnx has no MatMul or Gemm with a constant weight"):
        quantize_dynamic(tmp_path / "convs.onnx", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


@slow
def test_fp16_keeps_float32_at_its_ends(net: Path, tmp_path: Path) -> None:
    made = convert_fp16(net, tmp_path / "fp16.onnx")
    model = onnx.load(tmp_path / "fp16.onnx")
    floating = {t.data_type for t in model.graph.initializer} - {onnx.TensorProto.INT64}
    assert floating == {onnx.TensorProto.FLOAT16}
    ends = [v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)]
    assert ends == [onnx.TensorProto.FLOAT] * 2
    assert (made.quantized_nodes, made.float_nodes, made.notes) == (15, 0, ())
    assert_near_with_any_batch(net, tmp_path / "fp16.onnx", 0.9999)
    assert MACHINE_PATH.encode() not in (tmp_path / "fp16.onnx").read_bytes()


def test_a_tensor_that_the_converter_casts_twice_is_cast_once(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime.transformers import float16

    convert = float16.convert_float_to_float16

    def as_before_1_32(*args: Any, **options: Any) -> Any:
        model = convert(*args, **options)
        cast = next(node for node in model.graph.node if node.op_type == "Cast")
        model.graph.node.add().CopyFrom(cast)
        return model

    monkeypatch.setattr(float16, "convert_float_to_float16", as_before_1_32)
    convert_fp16(net, tmp_path / "fp16.onnx")
    names = [node.name for node in onnx.load(tmp_path / "fp16.onnx").graph.node]
    assert len(names) == len(set(names))
    assert_near_with_any_batch(net, tmp_path / "fp16.onnx", 0.9999)


def test_weights_that_all_stay_in_fp32_are_no_int8_file(net: Path, tmp_path: Path) -> None:
    weighted = tuple(n.name for n in onnx.load(net).graph.node if n.op_type in ("Conv", "Gemm", "MatMul"))
    recipe = WHOLE.model_copy(update={"exclude": weighted})
    with pytest.raises(PrepareError, match="leaves every weight in fp32"):
        quantize_static(net, tmp_path / "out.onnx", recipe, [pictures(4)])
    assert not (tmp_path / "out.onnx").exists()


EVERYTHING = ("Concat", "Div", "Mul", "Reshape", "Sigmoid", "Softmax", "Split", "Sub", "Transpose")


def detected(file: Path) -> np.ndarray:
    """What a detector gives for two pictures, (2, 4 + classes, candidates)."""
    found: np.ndarray = run_onnxruntime(file)(pictures(2, seed=9))["output0"]
    return found


@slow
def test_boxes_and_scores_that_share_a_scale_leave_no_scores(tmp_path: Path) -> None:
    net, file = detector(tmp_path / "net.onnx"), tmp_path / "int8.onnx"
    before = detected(net)
    assert before[:, :4].max() > 300 and 0.3 < before[:, 4:].max() <= 1.0
    whole = Recipe(name="whole", extra_op_types=EVERYTHING)
    assert not quantize_static(net, file, whole, [pictures(8)]).left_out
    # One step of the scale is several pixels, and no score reaches the first.
    assert not detected(file)[:, 4:].any()
    apart = whole.model_copy(update={"exclude": ("detection_tail",)})
    made = quantize_static(net, file, apart, [pictures(8)])
    after = detected(file)
    assert np.abs(after[:, 4:] - before[:, 4:]).max() < 0.2
    assert np.abs(after[:, :4] - before[:, :4]).max() < 0.1 * before[:, :4].max()
    assert set(made.left_out) == DETECTOR_TAIL
    assert "16 nodes of the detection tail left in fp32 (box_view … output)" in made.notes
    reads = {name for n in onnx.load(file).graph.node if n.name in DETECTOR_TAIL for name in n.input}
    assert {name for name in reads if "DequantizeLinear" in name} == {
        "d_DequantizeLinear_Output",
        "e_DequantizeLinear_Output",
    }


@slow
def test_a_real_detector_keeps_its_scores_only_without_its_tail(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("nudenet")
    if spec is None or spec.origin is None:
        pytest.skip("nudenet is not installed")
    data = pytest.importorskip("skimage.data")
    net, file = Path(spec.origin).parent / "320n.onnx", tmp_path / "int8.onnx"
    picture = data.astronaut()[0:320, 64:384].astype(np.float32) / 255
    inputs = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
    scores = run_onnxruntime(net)(inputs)["output0"][:, 4:]
    assert scores.max() > 0.25
    for exclude, holds in (((), False), (("detection_tail",), True)):
        recipe = Recipe(name="r", extra_op_types=EVERYTHING, exclude=exclude)
        quantize_static(net, file, recipe, [inputs])
        after = run_onnxruntime(file)(inputs)["output0"][:, 4:]
        assert (bool(np.abs(after - scores).max() < 0.2)) is holds
