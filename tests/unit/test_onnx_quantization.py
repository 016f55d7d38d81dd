"""Variants of an ONNX graph: what is rounded, on what ranges, and what is said when nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from toolchain.convert.variants import onnx_quantization
from toolchain.core.errors import ModelError
from toolchain.formats.graphs import onnx_graph
from toolchain.formats.signature import Tensor
from toolchain.models.variants import VARIANTS
from toolchain.samples.sets import Sets

ROUNDED = ("dynamic", "int8")
X = Tensor(name="picture", dtype="float32", shape=(1, 3, 8, 8))
RANDOM = np.random.default_rng(5)


def a_model(nodes: list[NodeProto], opset: int = 17, **held: np.ndarray) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in held.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def a_classifier(opset: int = 17) -> onnx.ModelProto:
    """A convolution with a batch norm, a pooling and a matrix product."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "one", "zero", "zero", "one"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["y"]),
    ]
    return a_model(
        nodes, opset, w=RANDOM.normal(size=(16, 3, 3, 3)), one=np.ones(16), zero=np.zeros(16),
        m=RANDOM.normal(size=(16, 10)),
    )  # fmt: skip


def sets(count: int = 8) -> Sets:
    shape = (count, *X.shape)
    return Sets(arrays={"picture": RANDOM.normal(size=shape).astype(np.float32)})


def output(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    (found,) = onnx_graph.run(onnx_graph.session(model), {"x": x}).values()
    return np.asarray(found)


@pytest.mark.parametrize("variant", ROUNDED)
@pytest.mark.parametrize("opset", [11, 17])
def test_a_network_is_rounded_and_stays_near_its_source(variant: str, opset: int) -> None:
    model = a_classifier(opset)
    known = sets() if VARIANTS[variant].calibrated else None
    rounded = onnx_quantization.quantized(model, VARIANTS[variant], [X], known)
    onnx.checker.check_model(rounded)
    assert onnx_graph.rounds(rounded)
    assert [value.name for value in rounded.graph.input] == ["x"]
    assert [value.name for value in rounded.graph.output] == ["y"]
    for one in sets(4):
        expected = output(model, one["picture"])
        off = np.abs(output(rounded, one["picture"]) - expected).max() / np.abs(expected).max()
        assert 0 < off < 0.1


def test_a_file_whose_weights_were_inputs_is_rounded_too(tmp_path: Path) -> None:
    """As exporters wrote them before 2019; the ONNX model zoo is full of them."""
    model = a_classifier(9)
    model.ir_version = 3
    for one in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(one.name, TensorProto.FLOAT, one.dims)
        )
    onnx.save(model, tmp_path / "old.onnx")
    read = onnx_graph.load(tmp_path / "old.onnx")
    rounded = onnx_quantization.quantized(read, VARIANTS["int8"], [X], sets())
    assert onnx_graph.rounds(rounded)
    assert [value.name for value in rounded.graph.input] == ["x"]


def test_int8_has_a_scale_for_each_channel_and_no_batch_norm() -> None:
    rounded = onnx_quantization.quantized(a_classifier(), VARIANTS["int8"], [X], sets())
    held = {one.name: numpy_helper.to_array(one) for one in rounded.graph.initializer}
    weights = [a for a in held.values() if a.dtype == np.int8 and a.shape == (16, 3, 3, 3)]
    assert len(weights) == 1
    assert any(a.shape == (16,) and a.dtype == np.float32 for a in held.values())
    assert "BatchNormalization" not in {node.op_type for node in rounded.graph.node}
    assert "QuantizeLinear" in {node.op_type for node in rounded.graph.node}


def test_ranges_are_those_of_the_calibration_set() -> None:
    """Values far beyond what was seen are cut off."""
    rounded = onnx_quantization.quantized(a_classifier(), VARIANTS["int8"], [X], sets())
    (one,) = sets(1)
    far, farther = (output(rounded, one["picture"] * factor) for factor in (100, 200))
    assert np.allclose(far, farther, rtol=0.2)


@pytest.mark.parametrize("variant", ROUNDED)
def test_what_has_nothing_to_round_is_refused(variant: str) -> None:
    model = a_model([helper.make_node("Sin", ["x"], ["y"])])
    with pytest.raises(ModelError, match=f"nothing of the network can be {variant}"):
        onnx_quantization.quantized(model, VARIANTS[variant], [X], sets())


def test_what_the_tool_says_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator: Frobnicate")

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", failing)
    with pytest.raises(ModelError, match="can't make int8") as caught:
        onnx_quantization.quantized(a_classifier(), VARIANTS["int8"], [X], sets())
    assert "Frobnicate" in caught.value.detail
