"""Schedules against numpy, over shapes that nobody chose: odd sizes, strides, dilations, batches.

Tiles of every kind of target are compiled for this machine and run on it: what a tile computes does
not depend on whether its vectors are the machine's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tvm import relax, tirx

from toolchain.compile import compilation_job, onnx_import, onnx_simplify, pipeline
from toolchain.compile.tir import (
    default_schedule,
    register_blocking,
    search_space,
    weight_prepacking,
)
from toolchain.targets.instruction_sets import Registers

Array = npt.NDArray[np.float32]
REGISTERS = {
    "avx2": Registers(lanes=8, count=16),
    "neon": Registers(lanes=4, count=32, indexed=True),
    "rvv": Registers(lanes=4, count=32, group=4, inputs=0, resized=2, steps=2),
    "rvv, 256 bits": Registers(lanes=8, count=32, group=4, inputs=0, resized=2, steps=2),
    "scalar": Registers(lanes=1, count=32, steps=2),
}
RELATIVE = 1e-4  # of the largest value: what the reference's own rounding leaves open


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One 2-D convolution, as ONNX describes it; another of 1x1 may compute its image."""

    batch: int
    height: int
    width: int
    channels: int
    outputs: int
    groups: int
    window: int
    stride: int
    dilation: int
    padding: tuple[int, int, int, int]
    behind_another: bool

    def graph(self) -> onnx.ModelProto:
        """With a bias and a ReLU after it, so that an epilogue is fused."""
        image = "r" if self.behind_another else "x"
        nodes = [
            helper.make_node("Conv", ["x", "v"], ["i"]),
            helper.make_node("Relu", ["i"], ["r"]),
        ] * self.behind_another + [
            helper.make_node(
                "Conv",
                [image, "w", "b"],
                ["c"],
                group=self.groups,
                strides=[self.stride] * 2,
                dilations=[self.dilation] * 2,
                pads=self.padding,
            ),
            helper.make_node("Relu", ["c"], ["y"]),
        ]
        shape = (self.batch, self.channels, self.height, self.width)
        weights, bias = self.weights()
        graph = helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [
                numpy_helper.from_array(weights, "w"),
                numpy_helper.from_array(bias, "b"),
                numpy_helper.from_array(self.mixing(), "v"),
            ],
        )
        return onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        )

    def weights(self) -> tuple[Array, Array]:
        """Weights and bias, drawn."""
        draw = np.random.default_rng(1)
        shape = (self.outputs, self.channels // self.groups, self.window, self.window)
        return (
            draw.standard_normal(shape).astype(np.float32),
            draw.standard_normal(self.outputs).astype(np.float32),
        )

    def mixing(self) -> Array:
        """Weights of the convolution before it, drawn."""
        drawn = np.random.default_rng(2).standard_normal((self.channels, self.channels, 1, 1))
        scaled: Array = (drawn / np.sqrt(self.channels)).astype(np.float32)
        return scaled

    def reference(self, x: Array) -> npt.NDArray[np.float64]:
        """By numpy, one tap of the window after the other, in float64."""
        weights, bias = (part.astype(np.float64) for part in self.weights())
        top, left, bottom, right = self.padding
        image = x.astype(np.float64)
        if self.behind_another:
            image = np.maximum(np.einsum("nchw,oc->nohw", image, self.mixing()[..., 0, 0]), 0)
        padded = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)))
        reach = self.dilation * (self.window - 1) + 1
        rows = (padded.shape[2] - reach) // self.stride + 1
        columns = (padded.shape[3] - reach) // self.stride + 1
        inside, outside = self.channels // self.groups, self.outputs // self.groups
        found = np.zeros((self.batch, self.outputs, rows, columns))
        for group in range(self.groups):
            source = padded[:, group * inside : (group + 1) * inside]
            sink = slice(group * outside, (group + 1) * outside)
            for i in range(self.window):
                for j in range(self.window):
                    tap = source[:, :, i * self.dilation :, j * self.dilation :]
                    tap = tap[:, :, :: self.stride, :: self.stride][:, :, :rows, :columns]
                    found[:, sink] += np.einsum("nchw,oc->nohw", tap, weights[sink, :, i, j])
        return np.maximum(found + bias[:, None, None], 0)


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    """Ordinary, grouped and depthwise ones of which each computes something."""
    kind = draw(st.sampled_from(["ordinary", "grouped", "depthwise"]))
    groups = 1 if kind == "ordinary" else draw(st.integers(2, 24))
    each = 1 if kind == "depthwise" else draw(st.integers(1, 13))
    outputs = groups * (1 if kind == "depthwise" else draw(st.integers(1, 24)))
    window, dilation = draw(st.sampled_from([1, 2, 3, 5])), draw(st.integers(1, 2))
    reach = dilation * (window - 1) + 1
    pad = st.integers(0, window - 1)
    return Convolution(
        batch=draw(st.integers(1, 3)),
        height=draw(st.integers(reach, reach + 9)),
        width=draw(st.integers(reach, reach + 9)),
        channels=groups * each,
        outputs=outputs,
        groups=groups,
        window=window,
        stride=draw(st.integers(1, 3)),
        dilation=dilation,
        padding=(draw(pad), draw(pad), draw(pad), draw(pad)),
        behind_another=draw(st.booleans()),
    )


def scheduled(
    graph: onnx.ModelProto,
    registers: Registers,
    choose: search_space.Choose = register_blocking.by_instructions,
) -> tvm.IRModule:
    """The graph's functions with the tiles of these registers; all of them must have some."""
    target = compilation_job.host_target()
    module = pipeline.lower(onnx_import.from_onnx(onnx_simplify.simplify(graph)), target, 3)
    constant, packs = weight_prepacking.constant_arguments(module), {}
    for variable, function in list(module.functions_items()):
        if isinstance(function, tirx.PrimFunc):
            name = variable.name_hint
            rule = default_schedule.ScheduleRule(
                registers=registers, tiled=True, choose=choose, constant=constant[name]
            )
            better = rule.apply(function)
            assert better is not None, name
            packs[name] = weight_prepacking.packing_of(function, better)
            module.update_func(variable, better)
    return weight_prepacking.prepack_weights(packs)(module)


@pytest.mark.parametrize("kind", REGISTERS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(case=convolutions())
def test_convolutions_of_any_shape_are_what_numpy_says(kind: str, case: Convolution) -> None:
    assert_right(case, scheduled(case.graph(), REGISTERS[kind]))


@pytest.mark.parametrize("kind", REGISTERS)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(case=convolutions(), draw=st.data())
def test_convolutions_with_any_tile_of_the_space_are_what_numpy_says(
    kind: str, case: Convolution, draw: st.DataObject
) -> None:
    def choose(registers: Registers, of: register_blocking.Extents) -> register_blocking.Tile:
        return draw.draw(st.sampled_from(search_space.tiles(of, registers)))

    assert_right(case, scheduled(case.graph(), REGISTERS[kind], choose))


def assert_right(case: Convolution, module: tvm.IRModule) -> None:
    """The module computes the convolution."""
    executable = pipeline.build(module, compilation_job.host_target())
    shape = (case.batch, case.channels, case.height, case.width)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = relax.VirtualMachine(executable, tvm.cpu())["main"](tvm.runtime.tensor(x)).numpy()
    reference = case.reference(x)
    assert found.shape == reference.shape
    assert np.abs(found - reference).max() <= RELATIVE * max(1.0, np.abs(reference).max())
