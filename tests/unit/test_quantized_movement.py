"""Quantised slices, resizes and transposed convolutions, against the reference kernels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import tflite_models
from tests.support.quantized_operators import SAME, VALID, check, generator, steps, unary
from tests.support.tflite_models import Operator, Tensor, constant
from toolchain.compile.quantized import importer, resizing, slicing
from toolchain.formats.rounding import tflite_network

A = steps(1, 5, 6, 7)
INT32 = 2  # TensorType of schema.fbs


def places(*values: int) -> Tensor:
    return constant(np.array(values, np.int32))


def strided(
    begin: list[int], end: list[int], stride: list[int], shape: tuple[int, ...], **masks: int
) -> bytes:
    return unary(
        "STRIDED_SLICE",
        A,
        steps(*shape),
        "StridedSliceOptions",
        masks,
        begin=np.array(begin, np.int32),
        end=np.array(end, np.int32),
        strides=np.array(stride, np.int32),
    )


def resize(
    name: str, size: tuple[int, int], *, corners: bool, centres: bool, kind: str = "int8"
) -> bytes:
    return unary(
        name,
        steps(1, 5, 6, 7, kind=kind),
        steps(1, *size, 7, kind=kind),
        f"Resize{'Bilinear' if name == 'RESIZE_BILINEAR' else 'NearestNeighbor'}Options",
        {"alignCorners": corners, "halfPixelCenters": centres},
        size=np.array(size, np.int32),
    )


def transposed(padding: int, stride: int, taps: int, out: tuple[int, int], *, bias: bool) -> bytes:
    draw = generator(f"{padding}{stride}{taps}")
    scales = (draw.random(6) * 0.02 + 0.002).astype(np.float32)
    tensors = {
        "shape": places(1, *out, 6),
        "w": constant(
            draw.integers(-127, 128, (6, taps, taps, 5)).astype(np.int8), scales.tolist()
        ),
        "x": steps(1, 4, 5, 5, scale=0.04, zero=-11),
        "b": constant(
            draw.integers(-900, 900, 6).astype(np.int32), (scales * np.float32(0.04)).tolist()
        ),
        "y": steps(1, *out, 6, scale=0.3),
    }
    if not bias:
        del tensors["b"]
    return tflite_models.model(
        tensors,
        [
            Operator(
                name="TRANSPOSE_CONV",
                inputs=["shape", "w", "x", *(["b"] if bias else [])],
                outputs=["y"],
                options="TransposeConvOptions",
                settings={"padding": padding, "strideH": stride, "strideW": stride},
            )
        ],
    )


def several(
    name: str, inputs: list[str], tensors: dict[str, Tensor], options: str, **settings: int
) -> bytes:
    outputs = [key for key in tensors if key.startswith("y")]
    return tflite_models.model(
        tensors,
        [Operator(name=name, inputs=inputs, outputs=outputs, options=options, settings=settings)],
        inputs=[key for key in tensors if key.startswith("x")],
        outputs=outputs,
    )


THIRD = steps(1, 5, 2, 7)


def flattened() -> bytes:
    """What Keras's Flatten is converted to with an open batch: the shape is computed."""
    return tflite_models.model(
        {
            "x": A,
            "shape": Tensor(shape=(4,), kind="int32"),
            "begin": places(0),
            "end": places(1),
            "strides": places(1),
            "batch": Tensor(shape=(), kind="int32"),
            "rest": constant(np.array(210, np.int32)),
            "flat": Tensor(shape=(2,), kind="int32"),
            "y": steps(1, 210),
        },
        [
            Operator(name="SHAPE", inputs=["x"], outputs=["shape"], options="ShapeOptions",
                     settings={"outType": INT32}),
            Operator(name="STRIDED_SLICE", inputs=["shape", "begin", "end", "strides"],
                     outputs=["batch"], options="StridedSliceOptions",
                     settings={"shrinkAxisMask": 1}),
            Operator(name="PACK", inputs=["batch", "rest"], outputs=["flat"],
                     options="PackOptions", settings={"valuesCount": 2, "axis": 0}),
            Operator(name="RESHAPE", inputs=["x", "flat"], outputs=["y"]),
        ],
    )  # fmt: skip


CASES = {
    "STRIDED_SLICE": strided([0, 1, 0, 2], [1, 5, 6, 6], [1, 2, 3, 1], (1, 2, 2, 4)),
    "STRIDED_SLICE, masks": strided(
        [0, -3, 5, 2],
        [0, 0, 0, 0],
        [1, 1, 1, 1],
        (1, 3, 7),
        beginMask=9,
        endMask=11,
        shrinkAxisMask=4,
    ),
    "STRIDED_SLICE, backwards": strided([0, 4, 0, 0], [1, -6, 6, 7], [1, -1, 1, 1], (1, 5, 6, 7)),
    "SLICE": unary(
        "SLICE",
        A,
        steps(1, 3, 2, 7),
        "SliceOptions",
        {},
        begin=np.array([0, 1, 4, 0], np.int32),
        size=np.array([1, 3, -1, 7], np.int32),
    ),
    "SPLIT": several(
        "SPLIT",
        ["axis", "x"],
        {"x": A, "axis": constant(np.array(2, np.int32)), "y0": THIRD, "y1": THIRD, "y2": THIRD},
        "SplitOptions",
        numSplits=3,
    ),
    "SPLIT_V": several(
        "SPLIT_V",
        ["x", "sizes", "axis"],
        {
            "x": A,
            "sizes": places(4, 2),
            "axis": constant(np.array(2, np.int32)),
            "y0": steps(1, 5, 4, 7),
            "y1": THIRD,
        },
        "SplitVOptions",
        numSplits=2,
    ),
    "PACK": several(
        "PACK",
        ["x0", "x1"],
        {"x0": THIRD, "x1": THIRD, "y": steps(1, 2, 5, 2, 7)},
        "PackOptions",
        valuesCount=2,
        axis=1,
    ),
    "UNPACK": several(
        "UNPACK",
        ["x"],
        {"x": THIRD, "y0": steps(1, 5, 7), "y1": steps(1, 5, 7)},
        "UnpackOptions",
        num=2,
        axis=2,
    ),
    "SHAPE": flattened(),
    "RESIZE_NEAREST_NEIGHBOR": resize(
        "RESIZE_NEAREST_NEIGHBOR", (10, 9), corners=False, centres=False
    ),
    "RESIZE_NEAREST_NEIGHBOR, centres": resize(
        "RESIZE_NEAREST_NEIGHBOR", (3, 13), corners=False, centres=True
    ),
    "RESIZE_NEAREST_NEIGHBOR, corners": resize(
        "RESIZE_NEAREST_NEIGHBOR", (9, 4), corners=True, centres=False
    ),
    "RESIZE_BILINEAR": resize("RESIZE_BILINEAR", (10, 9), corners=False, centres=False),
    "RESIZE_BILINEAR, centres": resize("RESIZE_BILINEAR", (10, 13), corners=False, centres=True),
    "RESIZE_BILINEAR, corners, uint8": resize(
        "RESIZE_BILINEAR", (3, 11), corners=True, centres=False, kind="uint8"
    ),
    "TRANSPOSE_CONV, same": transposed(SAME, 2, 3, (8, 10), bias=True),
    "TRANSPOSE_CONV, valid": transposed(VALID, 2, 3, (9, 11), bias=False),
    "TRANSPOSE_CONV, stride 1": transposed(SAME, 1, 4, (4, 5), bias=True),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_reference_to_the_bit(case: str) -> None:
    check(CASES[case], case)


def test_each_of_these_operators_has_a_case() -> None:
    tried = {one.name for case in CASES.values() for one in tflite_network.read(case).operators}
    assert {*resizing.RULES, *slicing.RULES, "RESHAPE"} == tried
    assert tried <= importer.RULES.keys()
