"""Variants of a network that is an ONNX graph: rounded by ONNX Runtime's own quantisation tool.

Convolutions are folded with their batch norms first. Weights are int8 with one scale a channel,
symmetric; activations int8 with one scale a tensor, whose range is that of the calibration set.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import version_converter

from toolchain.core.errors import ModelError
from toolchain.formats.graphs import onnx_graph
from toolchain.formats.signature import Tensor
from toolchain.models.variants import Variant
from toolchain.samples.sets import Sets

OPSET = 13  # the first in which a scale can be one of each channel
IR_VERSION = (
    4  # the first in which weights need not be inputs too, as `onnx_graph.load` leaves them
)
# Sums over many places in which a rounded weight counts, and lookups of rounded rows.
ROUNDED_AS_THEY_COME = ("MatMul", "Gemm", "Attention", "LSTM", "Gather", "EmbedLayerNormalization")


def quantized(
    model: onnx.ModelProto,
    variant: Variant,
    inputs: Sequence[Tensor],
    known: Sets | None,
) -> onnx.ModelProto:
    """The graph with integers where the variant has them, its inputs and outputs as they were.

    Args:
        model: its sizes fixed.
        variant: one of `variants.OF_GRAPHS` that rounds activations.
        inputs: the network's, in the order of the graph's.
        known: what ranges are measured on, for a variant that is calibrated.

    Raises:
        ModelError: the tool can't take the graph, or finds nothing in it to round.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as place:
        given, folded, made = (Path(place) / name for name in ("given", "folded", "made"))
        try:
            onnx.save(_of_newer(model), given)
            quant_pre_process(given, folded, skip_symbolic_shape=True)
            if variant.calibrated:
                assert known is not None
                quantize_static(
                    folded, made, _Reader(model, inputs, known),
                    quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
                )  # fmt: skip
            else:
                quantize_dynamic(
                    folded, made, op_types_to_quantize=list(ROUNDED_AS_THEY_COME),
                    per_channel=True, weight_type=QuantType.QInt8,
                )  # fmt: skip
        except Exception as error:  # whatever the tool raises is its answer to this graph
            raise ModelError(
                f"ONNX Runtime's quantisation can't make {variant.name} of it",
                detail=f"{type(error).__name__}: {error}",
                resolution="leave this variant out, or quantise the file yourself: a graph with "
                "QuantizeLinear is taken as it is",
            ) from error
        rounded = onnx.load(made)
    if not onnx_graph.rounds(rounded):
        raise ModelError(
            f"nothing of the network can be {variant.name}",
            detail="ONNX Runtime's quantisation left every operator in floating point",
            resolution="leave this variant out",
        )
    return rounded


def _of_newer(model: onnx.ModelProto) -> onnx.ModelProto:
    own = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), OPSET)
    if own >= OPSET:
        return model
    older = onnx.ModelProto()
    older.CopyFrom(model)
    older.ir_version = max(IR_VERSION, model.ir_version)
    return version_converter.convert_version(older, OPSET)


class _Reader:
    """Calibration sets as the tool asks for them."""

    def __init__(self, model: onnx.ModelProto, inputs: Sequence[Tensor], known: Sets) -> None:
        names = [value.name for value in model.graph.input]
        pairs = list(zip(names, (tensor.name for tensor in inputs), strict=True))
        self._sets: Iterator[dict[str, Any]] = (
            {to: one[name] for to, name in pairs} for one in known
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next inference's inputs; None after the last."""
        return next(self._sets, None)
