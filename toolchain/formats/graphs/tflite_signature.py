"""A TFLite file's inputs and outputs: the names its signature gives them, else its tensors' own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from toolchain.core.errors import ModelError
from toolchain.formats.graphs.tensorflow_graph import INPUT, OUTPUT
from toolchain.formats.signature import OpenTensor, Quantization, Signature


def read(content: bytes) -> Signature:
    """The signature of a TFLite file's main graph, in the file's own order.

    A single input is called `input`, a single output `output`, as in all that is made of
    TensorFlow's networks.

    Raises:
        ModelError: it can't be read.
    """
    try:
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
    except ValueError as error:
        raise ModelError(
            "the file can't be read as a TFLite model, or was cut short",
            detail=str(error),
            resolution="copy it again, or convert the model again",
        ) from error
    given, inside = _names(interpreter)
    return Signature(
        inputs=_described(interpreter.get_input_details(), given, INPUT),
        outputs=_described(interpreter.get_output_details(), inside, OUTPUT),
    )


def _names(interpreter: tf.lite.Interpreter) -> tuple[dict[int, str], dict[int, str]]:
    """The names of inputs and of outputs by the tensors' indices, where a signature says them."""
    inputs = {detail["index"] for detail in interpreter.get_input_details()}
    # the public list has the names and not which tensors they are of
    for signature in interpreter._get_full_signature_list().values():  # noqa: SLF001
        given = {index: name for name, index in signature["inputs"].items()}
        if given.keys() == inputs:
            return given, {index: name for name, index in signature["outputs"].items()}
    return {}, {}


def _described(
    details: Sequence[dict[str, Any]], names: dict[int, str], alone: str
) -> tuple[OpenTensor, ...]:
    return tuple(
        OpenTensor(
            name=alone if len(details) == 1 else names.get(detail["index"], detail["name"]),
            dims=tuple(None if d < 0 else int(d) for d in detail["shape_signature"]),
            dtype=_dtype(detail["dtype"]),
            quantization=_quantization(detail),
        )
        for detail in details
    )


def _dtype(kind: Any) -> str:
    name = np.dtype(kind).name
    return "string" if name.startswith(("bytes", "str", "object")) else name


def _quantization(detail: dict[str, Any]) -> Quantization | None:
    scale, zero = detail["quantization"]
    return Quantization(scale=float(scale), zero=int(zero)) if scale else None
