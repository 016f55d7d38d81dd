"""A batch is computed one sample after another where that is the same, and pays."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tvm
from onnx import TensorProto, helper
from tvm import relax

from tests.support.networks import CASES, convolution, expected, model, random
from toolchain.compile import compilation_job, onnx_import, onnx_simplify, pipeline
from toolchain.compile.relax import batch_splitting
from toolchain.formats import onnx_reference
from toolchain.targets.instruction_sets import KEPT

SIZE = 3
ROWS = (SIZE, 4)
IMAGES = (SIZE, 6, 8, 8)
node = helper.make_node


def ints(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def branch() -> onnx.ModelProto:
    """A mean or a maximum of all samples, by a condition, added to each."""
    ways = [
        helper.make_graph(
            [node(kind, ["x"], ["m"], keepdims=1)],
            kind,
            [],
            [helper.make_tensor_value_info("m", TensorProto.FLOAT, (1, 1))],
        )
        for kind in ("ReduceMean", "ReduceMax")
    ]
    return model(
        [
            node("If", ["c"], ["m"], then_branch=ways[0], else_branch=ways[1]),
            node("Add", ["x", "m"], ["y"]),
        ],
        ROWS,
        {"c": np.array(True)},
    )


APART = {
    "convolution": convolution(IMAGES, 16, 3, strides=[2, 2], pads=[0, 0, 1, 1]),
    "depthwise": convolution(IMAGES, 6, 5, pads=[2, 2, 2, 2], group=6),
    "odd channels": CASES["1x1, odd channels, batch 3"],
    "residual": model(
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("Add", ["c", "x"], ["s"]),
            node("Relu", ["s"], ["y"]),
        ],
        IMAGES,
        {"w": random(6, 6, 3, 3)},
    ),
    "pooling and dense": model(
        [
            node("MaxPool", ["x"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
            node("GlobalAveragePool", ["m"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("Gemm", ["f", "w", "b"], ["s"]),
            node("Softmax", ["s"], ["y"], axis=1),
        ],
        IMAGES,
        {"w": random(6, 10), "b": random(10)},
    ),
    "squeeze and excite": model(
        [
            node("ReduceMean", ["x"], ["g"], axes=[2, 3], keepdims=1),
            node("Conv", ["g", "w"], ["c"]),
            node("Sigmoid", ["c"], ["s"]),
            node("Mul", ["x", "s"], ["y"]),
        ],
        IMAGES,
        {"w": random(6, 6, 1, 1)},
    ),
    "concatenated, scaled": model(
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Concat", ["x", "c"], ["k"], axis=1),
            node("Mul", ["k", "scale"], ["y"]),
        ],
        IMAGES,
        {"w": random(3, 6, 1, 1), "scale": random(9, 1, 1)},
    ),
    "int8 and back": model(
        [
            node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
            node("Conv", ["d", "w"], ["c"]),
            node("QuantizeLinear", ["c", "scale", "zero"], ["r"]),
            node("DequantizeLinear", ["r", "scale", "zero"], ["y"]),
        ],
        IMAGES,
        {
            "scale": np.array(0.05, np.float32),
            "zero": np.array(3, np.int8),
            "w": np.eye(6, dtype=np.float32)[:, :, None, None],
        },
    ),
    "attention": model(
        [
            node("Reshape", ["x", "rows"], ["r"]),
            node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
            node("MatMul", ["r", "t"], ["p"]),
            node("Softmax", ["p"], ["s"], axis=-1),
            node("MatMul", ["s", "r"], ["y"]),
        ],
        IMAGES,
        {"rows": ints(SIZE, 6, 64)},
    ),
    "hard swish": model([node("HardSwish", ["x"], ["y"])], IMAGES),
    "a slope and a norm": model(
        [
            node("PRelu", ["x", "slope"], ["p"]),
            node("LayerNormalization", ["p", "scale", "bias"], ["y"]),
        ],
        ROWS,
        {"slope": random(4), "scale": random(4), "bias": random(4)},
    ),
    "rows": model([node("MatMul", ["x", "w"], ["y"])], ROWS, {"w": random(4, 5)}),
    "an axis more and one less": model(
        [
            node("Unsqueeze", ["x", "axis"], ["u"]),
            node("Tanh", ["u"], ["t"]),
            node("Squeeze", ["t", "axis"], ["y"]),
        ],
        ROWS,
        {"axis": ints(2)},
    ),
}

WHOLE = {
    "a mean of samples": model([node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=1)], ROWS),
    "a mean of everything": model([node("ReduceMean", ["x"], ["y"], keepdims=1)], ROWS),
    "softmax over samples": model([node("Softmax", ["x"], ["y"], axis=0)], ROWS),
    "samples turned to columns": model([node("Transpose", ["x"], ["y"], perm=[1, 0])], ROWS),
    "samples by samples": model(
        [node("Transpose", ["x"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"], ["y"])], ROWS
    ),
    "a matrix for each sample": model(
        [node("MatMul", ["x", "w"], ["y"])], (SIZE, 2, 4), {"w": random(SIZE, 4, 5)}
    ),
    "rows of several samples": model(
        [node("Reshape", ["x", "rows"], ["y"])], ROWS, {"rows": ints(2, 6)}
    ),
    "samples after samples": model([node("Concat", ["x", "x"], ["y"], axis=0)], ROWS),
    "a bias for each sample": model([node("Add", ["x", "b"], ["y"])], ROWS, {"b": random(SIZE, 1)}),
    "samples as channels": model(
        [node("Unsqueeze", ["x", "axis"], ["u"]), node("Mul", ["u", "x"], ["y"])],
        (SIZE, SIZE),
        {"axis": ints(1)},
    ),
    "a branch": branch(),
    "a norm of samples": model(
        [node("LayerNormalization", ["x", "s"], ["y"], axis=0)], ROWS, {"s": random(*ROWS)}
    ),
    "an operator that is not known": model(
        [node("CumSum", ["x", "a"], ["y"])], ROWS, {"a": ints(1)}
    ),
}


def lowered(case: onnx.ModelProto, level: int = 3) -> tvm.IRModule:
    graph = onnx_simplify.simplify(case)
    return pipeline.lower(onnx_import.from_onnx(graph), compilation_job.host_target(), level)


def computed(module: tvm.IRModule, x: np.ndarray) -> object:
    target = compilation_job.host_target()
    scheduled, _ = pipeline.schedule(module, target, 3)
    machine = relax.VirtualMachine(pipeline.build(scheduled, target), tvm.cpu())
    return machine["main"](tvm.runtime.tensor(x))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever can be taken apart is."""
    monkeypatch.setattr(batch_splitting, "_worth", lambda *_: True)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", APART)
def test_one_sample_after_another_computes_the_same(name: str) -> None:
    case = APART[name]
    x = random(*(d.dim_value for d in case.graph.input[0].type.tensor_type.shape.dim))
    module = lowered(case)
    assert batch_splitting.samples_per_inference(module) == SIZE
    found = computed(module, x).numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(found, expected(case, x), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", WHOLE)
def test_what_may_look_at_several_samples_stays_whole(name: str) -> None:
    assert batch_splitting.samples_per_inference(lowered(WHOLE[name])) == 1


@pytest.mark.usefixtures("always")
def test_several_outputs_are_put_together_each() -> None:
    case = model(
        [node("Conv", ["x", "w"], ["z"]), node("Relu", ["z"], ["y"])],
        IMAGES,
        {"w": random(2, 6, 1, 1)},
    )
    case.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    case = onnx.shape_inference.infer_shapes(case)
    module, x = lowered(case), random(*IMAGES)
    assert batch_splitting.samples_per_inference(module) == SIZE
    found = list(computed(module, x))  # type: ignore[call-overload]
    for one, wanted in zip(found, onnx_reference.run(case, {"x": x}), strict=True):
        np.testing.assert_allclose(one.numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_values_that_stay_in_the_cache_are_computed_for_all_samples_at_once() -> None:
    assert batch_splitting.samples_per_inference(lowered(convolution((8, 16, 14, 14), 16, 3))) == 1
    assert batch_splitting.samples_per_inference(lowered(convolution((8, 16, 56, 56), 16, 3))) == 8


def test_weights_that_few_positions_use_are_read_once_for_all_samples() -> None:
    dense = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Flatten", ["c"], ["f"]),
        node("Gemm", ["f", "m"], ["y"]),
    ]
    constants: dict[str, np.ndarray] = {"w": random(16, 16, 3, 3), "m": random(16 * 28 * 28, 64)}
    assert (
        batch_splitting.samples_per_inference(lowered(model(dense, (8, 16, 28, 28), constants)))
        == 1
    )
    constants["m"] = constants["m"][:, :1]
    assert (
        batch_splitting.samples_per_inference(lowered(model(dense, (8, 16, 28, 28), constants)))
        == 8
    )


@pytest.mark.parametrize("right", [(5,), (5, 0)], ids=["a number", "nothing"])
def test_a_product_without_channels_is_no_reason_to_fail(right: tuple[int, ...]) -> None:
    case = model(
        [
            node("MatMul", ["u", "v"], ["p"]),
            node("ReduceSum", ["p"], ["s"], keepdims=0),
            node("Conv", ["x", "w"], ["c"]),
            node("Mul", ["c", "s"], ["y"]),
        ],
        (8, 4, 64, 64),
        {"u": random(5), "v": random(*right), "w": random(4, 4, 1, 1)},
    )
    assert (
        batch_splitting.samples_per_inference(
            batch_splitting.split_batch(KEPT)(onnx_import.from_onnx(case))
        )
        == 1
    )


def test_more_samples_than_are_worth_joining_stay_whole() -> None:
    assert batch_splitting.samples_per_inference(lowered(convolution((9, 16, 56, 56), 16, 3))) == 1


def test_a_graph_as_imported_keeps_its_batch() -> None:
    assert (
        batch_splitting.samples_per_inference(lowered(convolution((8, 16, 56, 56), 16, 3), 1)) == 1
    )
