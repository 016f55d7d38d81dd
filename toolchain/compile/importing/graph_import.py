"""A source graph into Relax, in the worker: from the form that has the network's arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import tvm

from toolchain.compile import onnx_import, onnx_simplify
from toolchain.compile.importing import dynamic_range
from toolchain.compile.importing.source_graph import SourceGraph
from toolchain.compile.operators import refusal
from toolchain.compile.quantized import importer
from toolchain.compile.tir import target_code
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.formats.graphs import onnx_graph
from toolchain.formats.rounding.onnx_float_parts import float_parts
from toolchain.formats.rounding.tflite_network import NotImportedError

PACKED = 3  # the level from which instructions for products of integers are used
IN_INTEGERS = 2  # the level from which products of rounded values are sums of integers
NAMED = 8  # operators in one line
SIMPLIFIED = 1  # the level from which ONNX graphs are simplified


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A network in Relax.

    Attributes:
        module: with one function, `main`, and the weights as its constants; `main`'s parameters and
            outputs in the source's order.
        arithmetic: what its activations are, as `onnx_graph.arithmetic` says.
        in_integers: whether its products have the arithmetic of TensorFlow Lite's reference
            kernels.
    """

    module: tvm.IRModule
    arithmetic: str
    in_integers: bool = False


def imported(
    source: SourceGraph, target: tvm.target.Target, opt_level: int, progress: Progress
) -> Imported:
    """Import a network.

    Args:
        source: of the network.
        target: what it is compiled for, which decides the types that integers are computed in.
        opt_level: 0 to 3.
        progress: called with each step; one says why a TensorFlow Lite form was not taken.

    Raises:
        ModelError: neither form can be imported; the error names the operator, and its node or
            tensor.
    """
    refused = ""
    if source.flatbuffer is not None:
        try:
            module = _in_integers(source, target, opt_level)
        except NotImportedError as error:
            refused = f"not in integers: {error}"
        else:
            if module is not None:
                progress("importing the quantised TFLite form")
                return Imported(module=module, arithmetic=onnx_graph.INTEGERS, in_integers=True)
            refused = "the TFLite form computes in floats, which its ONNX graph is needed for"
    if source.onnx is None:
        raise ModelError(
            "TVM can't import the model",
            detail="\n".join(why for why in (refused, source.unmade) if why),
            resolution=refusal.ELSEWHERE,
        )
    model = onnx.load(source.onnx)
    arithmetic, hybrid = onnx_graph.arithmetic(model), dynamic_range.is_written_out(model)
    if hybrid:
        refused = "its products in integers, as the TFLite form's kernels add them"
    progress(f"importing the ONNX graph ({refused})" if refused else "importing the ONNX graph")
    if opt_level >= SIMPLIFIED:
        model = onnx_simplify.simplify(model)
    if arithmetic == onnx_graph.INTEGERS and opt_level >= IN_INTEGERS:
        _say_floats(model, progress)
    module = onnx_import.from_onnx(model)
    return Imported(module=module, arithmetic=arithmetic, in_integers=hybrid)


def _say_floats(model: onnx.ModelProto, progress: Progress) -> None:
    """Name the operators of a rounded graph that are computed in floating point."""
    nodes = float_parts(model)
    if nodes:
        named = [f"{node.op_type} ({refusal.name(node)})" for node in nodes[:NAMED]]
        rest = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
        progress(f"in float32, not rounded: {', '.join(named)}{rest}")


def _in_integers(
    source: SourceGraph, target: tvm.target.Target, opt_level: int
) -> tvm.IRModule | None:
    """The TensorFlow Lite form in integers; None where it computes nothing in steps."""
    form, packed = source.flatbuffer, opt_level >= PACKED
    assert form is not None
    return importer.from_tflite(
        form.file.read_bytes(),
        source.inputs,
        source.outputs,
        (form.inputs, form.outputs),
        target_code.dot_product(target) if packed else None,
        widens=target_code.widens(target),
        short=target_code.adds_short_products(target) and packed,
    )
