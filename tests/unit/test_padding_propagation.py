"""Padding is computed by what computes the image; see test_schedules.py for values."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tvm
from onnx import helper
from tvm import tirx

from tests.support.compiled import ALLOCATION, PC, assembly, scheduled
from tests.support.networks import model, random
from toolchain.compile import onnx_import, pipeline, tvm_versions
from toolchain.compile.tir import padding_propagation

PADS = [1, 2, 0, 3]  # above, left, below, right


def chain(*, pads: list[int], again: bool = False) -> onnx.ModelProto:
    """A convolution of 1x1, then one over each channel; `again`: its image is used twice."""
    nodes = [
        helper.make_node("Conv", ["x", "v", "b"], ["i"]),
        helper.make_node("Relu", ["i"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["c"], group=32, pads=pads),
    ]
    nodes += [helper.make_node("Add", ["c", "r"], ["y"])] if again else []
    nodes[-1].output[0] = "y"
    weights: dict[str, Any] = {"v": random(32, 8, 1, 1), "b": random(32), "w": random(32, 1, 3, 3)}
    return model(nodes, (1, 8, 12, 10), weights)


def lowered(graph: onnx.ModelProto) -> tvm.IRModule:
    return pipeline.lower(onnx_import.from_onnx(graph), PC, 3)


def functions(module: tvm.IRModule) -> dict[str, Any]:
    return {v.name_hint: f for v, f in module.functions_items() if isinstance(f, tirx.PrimFunc)}


def padding(module: tvm.IRModule) -> list[str]:
    """The functions that pad something."""
    return [name for name, function in functions(module).items() if "PadInput" in str(function)]


def test_what_computes_the_image_writes_it_where_the_padded_one_has_it() -> None:
    module = lowered(chain(pads=PADS))
    (name,) = padding(module)
    function = functions(module)[name]
    inner, border = padding_propagation.separate_border(function)
    assert border is not None
    assert border.inside == [(0, 1), (1, 13), (2, 12), (0, 32)]
    assert float(border.value) == 0
    (output,) = tvm_versions.argument_shapes(function)[-1:]
    assert output == (1, 13, 15, 32)
    assert "if_then_else" not in str(inner)


def test_neither_function_has_a_pass_over_memory_for_it() -> None:
    module = scheduled(chain(pads=[1, 1, 1, 1]), PC)
    assert padding(module)
    assert all("if_then_else" not in str(function) for function in functions(module).values())
    assert ALLOCATION not in assembly(module, PC)


def test_the_border_is_zero_whatever_was_there_and_all_else_is_computed() -> None:
    (function,) = (f for n, f in functions(lowered(chain(pads=PADS))).items() if "pad" in n)
    inner, border = padding_propagation.separate_border(function)
    assert border is not None
    whole = tvm.IRModule({"main": border.filled(inner).with_attr("global_symbol", "main")})
    *given, out = (
        np.random.default_rng(n).random(shape, np.float32)
        for n, shape in enumerate(tvm_versions.argument_shapes(function))
    )
    found = tvm.runtime.tensor(np.full_like(out, np.nan))
    tvm.compile(whole, "llvm")["main"](*map(tvm.runtime.tensor, given), found)
    image, weights, bias = given
    computed = np.maximum(image @ weights[0, 0] + bias, 0)
    wanted = np.pad(computed, ((0, 0), (1, 0), (2, 3), (0, 0)))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5)


@pytest.mark.parametrize("level", [0, 1])
def test_below_o2_it_is_left_to_the_convolution(level: int) -> None:
    module = pipeline.lower(onnx_import.from_onnx(chain(pads=PADS)), PC, level)
    assert not padding(module)


def test_an_image_that_is_used_without_its_border_too_is_padded_by_a_function_of_its_own() -> None:
    module = lowered(chain(pads=[1, 1, 1, 1], again=True))
    (name,) = padding(module)
    assert padding_propagation.separate_border(functions(module)[name])[1] is None


def test_a_convolution_without_padding_is_left_alone() -> None:
    assert not padding(lowered(chain(pads=[0, 0, 0, 0])))
