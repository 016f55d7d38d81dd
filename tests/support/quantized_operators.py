"""Quantised operators in integers, compiled for this machine and held against the reference."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from tests.support import tflite_models
from tests.support.tflite_models import Operator, Tensor, constant
from toolchain.compile import compilation_job, pipeline
from toolchain.compile.quantized import importer
from toolchain.formats import signature
from toolchain.formats.rounding import tflite_network
from toolchain.targets.instruction_sets import DotProduct

SAME, VALID = 0, 1
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
Array = npt.NDArray[Any]


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def drawn(tensor: tflite_network.Tensor, name: str) -> Array:
    """Values over the whole of a tensor's range."""
    if tensor.kind == "float32":
        return generator(name).normal(0, 3, tensor.shape).astype(np.float32)
    limits = np.iinfo(tensor.kind)
    found: Array = generator(name).integers(limits.min, limits.max + 1, tensor.shape)
    return found.astype(tensor.kind)


def imported(
    content: bytes, dot: DotProduct | None = None, *, widens: bool = True, short: bool = False
) -> tvm.IRModule:
    read = tflite_network.read(content)

    def described(numbers: tuple[int, ...], what: str) -> list[signature.Tensor]:
        return [
            signature.Tensor(
                name=f"{what}{place}",
                shape=read.tensors[number].shape,
                dtype=cast("signature.Dtype", read.tensors[number].kind),
            )
            for place, number in enumerate(numbers)
        ]

    inputs, outputs = described(read.inputs, "in"), described(read.outputs, "out")
    orders = [t.name for t in inputs], [t.name for t in outputs]
    module = importer.from_tflite(content, inputs, outputs, orders, dot, widens=widens, short=short)
    assert module is not None
    return module


def compiled(
    content: bytes,
    given: list[Array],
    level: int = 3,
    dot: DotProduct | None = None,
    *,
    widens: bool = True,
    short: bool = False,
) -> list[Array]:
    """What our form gives, compiled for this machine."""
    here = compilation_job.host_target()
    scheduled, _ = pipeline.schedule(
        pipeline.lower(imported(content, dot, widens=widens, short=short), here, level),
        here,
        level,
    )
    main = relax.VirtualMachine(pipeline.build(scheduled, here), tvm.cpu())["main"]
    result = main(*map(tvm.runtime.tensor, given))
    return [t.numpy() for t in ([result] if hasattr(result, "numpy") else result)]


def check(
    content: bytes,
    name: str,
    *,
    exact: bool = True,
    level: int = 3,
    dot: DotProduct | None = None,
    widens: bool = True,
    short: bool = False,
) -> None:
    read = tflite_network.read(content)
    given = [drawn(read.tensors[number], name) for number in read.inputs]
    expected = tflite_models.reference(content, given)
    found = compiled(content, given, level, dot, widens=widens, short=short)
    for number, one, other in zip(read.outputs, expected, found, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        if one.dtype.kind == "f":
            np.testing.assert_array_equal(one, other)
            continue
        apart = np.abs(one.astype(np.int64) - other.astype(np.int64))
        assert apart.max(initial=0) <= (0 if exact else 2), read.tensors[number].name
        assert (apart > 1).mean() <= 0.01
        # a case whose values are all alike says nothing
        least = 1 if one.dtype == bool else 3
        assert one.size < 16 or len(np.unique(one)) > least


def steps(*shape: int, kind: str = "int8", scale: float = 0.05, zero: int = 3) -> Tensor:
    return Tensor(shape=shape, kind=kind, scale=[scale], zero=[zero])


def wide(*shape: int, scale: float) -> Tensor:
    """A tensor of int16."""
    return steps(*shape, kind="int16", scale=scale, zero=0)


def unit(*shape: int) -> Tensor:
    """A tensor of what lies between 0 and 1."""
    return steps(*shape, scale=1 / 256, zero=-128)


def unary(
    name: str,
    x: Tensor,
    y: Tensor,
    options: str = "",
    settings: Mapping[str, Any] | None = None,
    **constants: Array,
) -> bytes:
    return tflite_models.model(
        {"x": x, "y": y, **{key: constant(value) for key, value in constants.items()}},
        [
            Operator(
                name=name, inputs=["x", *constants], outputs=["y"], options=options,
                settings=settings,
            )
        ],
    )  # fmt: skip


def binary(name: str, a: Tensor, b: Tensor, y: Tensor, **settings: Any) -> bytes:
    options = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}
    return tflite_models.model(
        {"a": a, "b": b, "y": y},
        [
            Operator(
                name=name, inputs=["a", "b"], outputs=["y"],
                options=options.get(name, "MaximumMinimumOptions"), settings=settings,
            )
        ],
        inputs=["a", "b"],
    )  # fmt: skip
