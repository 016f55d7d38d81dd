"""Each quantised operator in integers, against TensorFlow Lite's reference kernels.

The bound is that of the product: one step of the output's scale on 99 of 100 values, two on the
others. What is computed by the reference's own integers is the same to the bit.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tvm import tirx

from tests.support import tflite_models
from tests.support.quantized_operators import (
    RELU,
    SAME,
    VALID,
    binary,
    check,
    imported,
    steps,
    unary,
    unit,
    wide,
)  # fmt: skip
from tests.support.tflite_models import Operator, Tensor, constant
from toolchain.compile import compilation_job, pipeline
from toolchain.compile.quantized import elementwise, lookup, movement, pooling
from toolchain.formats.rounding import tflite_network


def pool(name: str, padding: int, size: int, stride: int, out: int, kind: str = "int8") -> bytes:
    zero = 0 if kind == "int16" else 5
    return unary(
        name,
        steps(1, 9, 9, 6, kind=kind, zero=zero),
        steps(1, out, out, 6, kind=kind, zero=zero),
        "Pool2DOptions",
        {
            "padding": padding,
            "strideW": stride,
            "strideH": stride,
            "filterWidth": size,
            "filterHeight": size,
        },
    )


def compared(name: str) -> bytes:
    """Steps of two scales that are so near that numbers of both are the same."""
    return tflite_models.model(
        {
            "a": steps(30, 40, zero=-1),
            "b": steps(30, 40, scale=0.0501, zero=-1),
            "y": Tensor(shape=(30, 40), kind="bool"),
        },
        [
            Operator(
                name=name,
                inputs=["a", "b"],
                outputs=["y"],
                options=f"{name.title().replace('_', '')}Options",
                settings={},
            )
        ],
        inputs=["a", "b"],
    )


AXIS = constant(np.array(-1, np.int32))
A, B = steps(1, 5, 6, 7), steps(1, 5, 6, 7, scale=0.031, zero=-20)
OTHERS = {
    "ADD": binary("ADD", A, B, steps(1, 5, 6, 7, scale=0.07, zero=9)),
    "ADD, relu": binary(
        "ADD", A, B, steps(1, 5, 6, 7, scale=0.07, zero=-9), fusedActivationFunction=RELU
    ),
    "ADD, broadcast": binary("ADD", A, steps(7, scale=0.2), steps(1, 5, 6, 7, scale=0.2)),
    "ADD, uint8": binary(
        "ADD",
        steps(4, 9, kind="uint8", zero=120),
        steps(4, 9, kind="uint8", zero=100, scale=0.01),
        steps(4, 9, kind="uint8", zero=128, scale=0.06),
    ),
    "ADD, int16": binary(
        "ADD",
        wide(4, 9, scale=0.0003),
        wide(4, 9, scale=0.0002),
        wide(4, 9, scale=0.0004),
        potScaleInt16=False,
    ),
    "SUB": binary("SUB", A, B, steps(1, 5, 6, 7, scale=0.07, zero=9)),
    "MUL": binary("MUL", A, B, steps(1, 5, 6, 7, scale=0.2, zero=9)),
    "MUL, broadcast": binary(
        "MUL", A, steps(1, 1, 1, 7, scale=0.01), steps(1, 5, 6, 7, scale=0.04)
    ),
    "MUL, int16": binary(
        "MUL",
        wide(4, 9, scale=0.0003),
        wide(4, 9, scale=0.0002),
        wide(4, 9, scale=0.001),
    ),
    "MAXIMUM": binary("MAXIMUM", A, A, A),
    "MINIMUM": binary("MINIMUM", A, A, A),
    "AVERAGE_POOL_2D, same": pool("AVERAGE_POOL_2D", SAME, 3, 2, 5),
    "AVERAGE_POOL_2D, valid": pool("AVERAGE_POOL_2D", VALID, 4, 1, 6),
    "AVERAGE_POOL_2D, uint8": pool("AVERAGE_POOL_2D", SAME, 3, 1, 9, "uint8"),
    "AVERAGE_POOL_2D, int16": pool("AVERAGE_POOL_2D", SAME, 3, 2, 5, "int16"),
    "MAX_POOL_2D, same": pool("MAX_POOL_2D", SAME, 3, 2, 5),
    "MAX_POOL_2D, valid": pool("MAX_POOL_2D", VALID, 2, 2, 4),
    "MEAN": unary(
        "MEAN", A, steps(1, 7, scale=0.02, zero=-4), "ReducerOptions", {"keepDims": False},
        axes=np.array([1, 2], np.int32),
    ),
    "MEAN, axes kept": unary(
        "MEAN", A, steps(1, 1, 1, 7, scale=0.02, zero=-4), "ReducerOptions", {"keepDims": True},
        axes=np.array([1, 2], np.int32),
    ),
    "PRELU": tflite_models.model(
        {
            "x": A,
            "slope": Tensor(
                shape=(1, 1, 7), scale=[0.004], zero=[-9],
                value=np.array([[[-120, -40, -9, 0, 30, 90, 127]]], np.int8),
            ),
            "y": steps(1, 5, 6, 7, scale=0.04, zero=11),
        },
        [
            Operator(
                name="PRELU", inputs=["x", "slope"], outputs=["y"],
            )
        ],
    ),
    "QUANTIZE": unary("QUANTIZE", Tensor(shape=(6, 50), kind="float32"), steps(6, 50)),
    "QUANTIZE, uint8": unary(
        "QUANTIZE", Tensor(shape=(6, 50), kind="float32"), steps(6, 50, kind="uint8", zero=100)
    ),
    "QUANTIZE, int16": unary(
        "QUANTIZE", Tensor(shape=(6, 50), kind="float32"), wide(6, 50, scale=0.0002)
    ),
    "QUANTIZE, from steps": unary("QUANTIZE", steps(6, 50), steps(6, 50, scale=0.08, zero=-3)),
    "DEQUANTIZE": unary("DEQUANTIZE", steps(6, 50), Tensor(shape=(6, 50), kind="float32")),
    "RELU": unary("RELU", steps(6, 50), steps(6, 50, scale=0.03, zero=-128)),
    "RELU6": unary("RELU6", steps(6, 50), steps(6, 50, scale=0.03, zero=-128)),
    "RELU_N1_TO_1": unary("RELU_N1_TO_1", steps(6, 50, scale=0.01), steps(6, 50, scale=0.008)),
    "PADV2": tflite_models.model(
        {
            "x": A,
            "widths": constant(np.array([[0, 0], [1, 0], [0, 2], [0, 0]], np.int32)),
            "value": Tensor(
                shape=(1,), scale=[0.05], zero=[3], value=np.array([77], np.int8)
            ),
            "y": steps(1, 6, 8, 7),
        },
        [
            Operator(
                name="PADV2", inputs=["x", "widths", "value"], outputs=["y"],
                options="PadV2Options", settings={},
            )
        ],
    ),
    "LEAKY_RELU": unary(
        "LEAKY_RELU", steps(6, 50), steps(6, 50, scale=0.04, zero=-30), "LeakyReluOptions",
        {"alpha": 0.1},
    ),
    "RELU, int16": unary("RELU", wide(6, 50, scale=0.0003), wide(6, 50, scale=0.0002)),
    "RELU6, int16": unary("RELU6", wide(6, 50, scale=0.0003), wide(6, 50, scale=0.0002)),
    "LEAKY_RELU, int16": unary(
        "LEAKY_RELU", wide(6, 50, scale=0.0003), wide(6, 50, scale=0.0002), "LeakyReluOptions",
        {"alpha": 0.1},
    ),
    "LEAKY_RELU, int16, falling": unary(
        "LEAKY_RELU", wide(6, 50, scale=0.0003), wide(6, 50, scale=0.0004), "LeakyReluOptions",
        {"alpha": -0.3},
    ),
    **{
        f"{name}, int16, {scale}": unary(
            name, wide(40, 50, scale=scale), wide(40, 50, scale=1 / 32768)
        )
        for name in ("LOGISTIC", "TANH")
        for scale in (0.00021, 0.0007, 0.00000003, 1 / 4096, 1 / 2048, 0.003)
    },
    **{
        f"SOFTMAX, int16, {columns}": unary(
            "SOFTMAX", wide(30, columns, scale=scale), wide(30, columns, scale=1 / 32768),
            "SoftmaxOptions", {"beta": 1.0},
        )
        for columns, scale in ((2, 0.00003), (10, 0.0002), (100, 0.0003), (700, 0.00005))
    },
    "RESHAPE": unary(
        "RESHAPE", A, steps(5, 42), "ReshapeOptions", {"newShape": [5, 42]},
        shape=np.array([5, 42], np.int32),
    ),
    "SQUEEZE": unary("SQUEEZE", A, steps(5, 6, 7), "SqueezeOptions", {"squeezeDims": [0]}),
    "EXPAND_DIMS": unary(
        "EXPAND_DIMS", steps(4, 5), steps(4, 1, 5), "ExpandDimsOptions", {},
        axis=np.array(1, np.int32),
    ),
    "PAD": unary(
        "PAD", A, steps(1, 7, 9, 7), "PadOptions", {},
        widths=np.array([[0, 0], [1, 1], [1, 2], [0, 0]], np.int32),
    ),
    "TRANSPOSE": unary(
        "TRANSPOSE", A, steps(1, 7, 5, 6), "TransposeOptions", {},
        order=np.array([0, 3, 1, 2], np.int32),
    ),
    "CONCATENATION": tflite_models.model(
        {"a": A, "b": A, "y": steps(1, 5, 6, 14)},
        [
            Operator(
                name="CONCATENATION", inputs=["a", "b"], outputs=["y"],
                options="ConcatenationOptions", settings={"axis": -1},
            )
        ],
        inputs=["a", "b"],
    ),
    "ARG_MAX": tflite_models.model(
        {"x": steps(9, 20), "axis": AXIS, "y": Tensor(shape=(9,), kind="int64")},
        [
            Operator(
                name="ARG_MAX", inputs=["x", "axis"], outputs=["y"],
                options="ArgMaxOptions", settings={"outputType": 4},
            )
        ],
    ),
    "ARG_MIN": tflite_models.model(
        {"x": steps(9, 20), "axis": AXIS, "y": Tensor(shape=(9,), kind="int32")},
        [
            Operator(
                name="ARG_MIN", inputs=["x", "axis"], outputs=["y"],
                options="ArgMinOptions", settings={"outputType": 2},
            )
        ],
    ),
    "REDUCE_MAX": unary(
        "REDUCE_MAX", A, steps(1, 7), "ReducerOptions", {"keepDims": False},
        axes=np.array([1, 2], np.int32),
    ),
    "REDUCE_MIN": unary(
        "REDUCE_MIN", A, steps(1, 5, 6, 1), "ReducerOptions", {"keepDims": True},
        axes=np.array([-1], np.int32),
    ),
    "MATRIX_DIAG": unary("MATRIX_DIAG", steps(3, 8), steps(3, 8, 8), "MatrixDiagOptions", {}),
    "MATRIX_SET_DIAG": tflite_models.model(
        {"x": steps(2, 5, 3), "d": steps(2, 3, scale=0.07, zero=-4), "y": steps(2, 5, 3)},
        [
            Operator(
                name="MATRIX_SET_DIAG", inputs=["x", "d"], outputs=["y"],
                options="MatrixSetDiagOptions", settings={},
            )
        ],
        inputs=["x", "d"],
    ),
    "ONE_HOT": tflite_models.model(
        {
            "x": steps(3, 4),
            "axis": AXIS,
            "i": Tensor(shape=(3,), kind="int64"),
            "depth": constant(np.array(4, np.int32)),
            "on": Tensor(shape=(), scale=[1 / 255], zero=[-128], value=np.array(127, np.int8)),
            "off": Tensor(shape=(), scale=[4e-9], zero=[0], value=np.array(0, np.int8)),
            "y": steps(4, 3, scale=1 / 255, zero=-128),
        },
        [
            Operator(
                name="ARG_MAX", inputs=["x", "axis"], outputs=["i"],
                options="ArgMaxOptions", settings={"outputType": 4},
            ),
            Operator(
                name="ONE_HOT", inputs=["i", "depth", "on", "off"], outputs=["y"],
                options="OneHotOptions", settings={"axis": 0},
            ),
        ],
    ),
    "SPARSE_TO_DENSE": tflite_models.model(
        {
            "places": constant(np.array([[0, 1], [2, 3], [1, 0], [2, 0]], np.int32)),
            "shape": constant(np.array([3, 4], np.int32)),
            "x": steps(4),
            "rest": Tensor(shape=(), scale=[4e-9], zero=[0], value=np.array(7, np.int8)),
            "y": steps(3, 4),
        },
        [
            Operator(
                name="SPARSE_TO_DENSE", inputs=["places", "shape", "x", "rest"], outputs=["y"],
                options="SparseToDenseOptions", settings={"validateIndices": False},
            )
        ],
    ),
    **{name: compared(name) for name in elementwise.COMPARISONS},
    "LESS, uint8, broadcast": tflite_models.model(
        {
            "a": steps(1, 6, kind="uint8", zero=120),
            "b": steps(9, 6, kind="uint8", scale=0.04, zero=99),
            "y": Tensor(shape=(9, 6), kind="bool"),
        },
        [
            Operator(
                name="LESS", inputs=["a", "b"], outputs=["y"], options="LessOptions", settings={}
            )
        ],
        inputs=["a", "b"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_other_operators_are_the_references_to_the_bit(case: str) -> None:
    check(OTHERS[case], case)


ROUNDED = {
    "SOFTMAX": unary(
        "SOFTMAX", steps(20, 10, scale=0.1), unit(20, 10), "SoftmaxOptions", {"beta": 1.0}
    ),
    "SOFTMAX, uint8": unary(
        "SOFTMAX", steps(20, 10, kind="uint8", scale=0.05, zero=90),
        steps(20, 10, kind="uint8", scale=1 / 256, zero=0), "SoftmaxOptions", {"beta": 1.0},
    ),
    "LOGISTIC": unary("LOGISTIC", steps(6, 50), unit(6, 50)),
    "TANH": unary("TANH", steps(6, 50, scale=0.02), steps(6, 50, scale=1 / 128, zero=0)),
    "EXP": unary("EXP", steps(6, 50, scale=0.03), steps(6, 50, scale=0.2, zero=-128)),
    "EXP, int16": unary(
        "EXP", wide(40, 50, scale=0.0001), wide(40, 50, scale=0.0008)
    ),
    # numbers above 0, as a LOG has them in networks
    "LOG, int16": tflite_models.model(
        {
            "x": wide(40, 50, scale=0.0001),
            "e": wide(40, 50, scale=0.0008),
            "y": wide(40, 50, scale=0.0001),
        },
        [
            Operator(name="EXP", inputs=["x"], outputs=["e"]),
            Operator(name="LOG", inputs=["e"], outputs=["y"]),
        ],
    ),
    "EXP, beyond any float32": unary("EXP", steps(40, 50, scale=2), steps(40, 50)),
    "LOG": unary("LOG", steps(6, 50, scale=0.03, zero=-128), steps(6, 50, scale=0.05, zero=60)),
    "GELU": unary(
        "GELU", steps(6, 50, scale=0.03), steps(6, 50, scale=0.03, zero=-100), "GeluOptions",
        {"approximate": False},
    ),
    "GELU, approximate": unary(
        "GELU", steps(6, 50, scale=0.03), steps(6, 50, scale=0.03, zero=-100), "GeluOptions",
        {"approximate": True},
    ),
    "HARD_SWISH": unary("HARD_SWISH", steps(6, 50), steps(6, 50, scale=0.04, zero=-110)),
}  # fmt: skip


@pytest.mark.parametrize("case", ROUNDED)
def test_functions_of_real_numbers_are_within_the_bound(case: str) -> None:
    """The reference computes these in fixed point, by series of its own."""
    check(ROUNDED[case], case, exact=False)


def chain(length: int) -> bytes:
    """Sums of a number and itself, one after the other, each of which reads eight copies."""
    names = [f"x{n}" for n in range(length + 1)]
    return tflite_models.model(
        {name: steps(1, 36, 4, scale=0.05, zero=3) for name in names},
        [
            Operator(
                name="ADD", inputs=[one, one], outputs=[other], options="AddOptions", settings={}
            )
            for one, other in itertools.pairwise(names)
        ],
        inputs=["x0"],
        outputs=[names[-1]],
    )


def test_scalings_in_a_row_are_not_written_into_each_other_without_end() -> None:
    """TVM and LLVM work such functions out in time that doubles with each."""
    here = compilation_job.host_target()
    lowered = pipeline.lower(imported(chain(8)), here, 3)
    functions = [f for f in lowered.functions.values() if isinstance(f, tirx.PrimFunc)]
    products = [str(function).count("T.int64(31)") for function in functions]
    assert max(products) < 100
    assert len(functions) > 1


def test_every_operator_of_these_families_has_a_case() -> None:
    tried = {
        operator.name
        for case in (*OTHERS.values(), *ROUNDED.values())
        for operator in tflite_network.read(case).operators
    }
    families = (elementwise, lookup, movement, pooling)
    assert tried == {name for family in families for name in family.RULES}
