"""Which input and output of a TFLite file is which of the network's: converters rename and reorder.

By name where a name is kept, else by type and shape; where that leaves several, by the values that
come out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from toolchain.convert.parity import Outputs
from toolchain.core.errors import ModelError
from toolchain.formats.graphs import tflite_graph
from toolchain.formats.signature import Tensor
from toolchain.samples.sets import Sets, stacked

MOST_ORDERS = 120  # orders of inputs that are tried by their values: five alike

Array = npt.NDArray[Any]
Detail = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A TFLite file that was run on the samples.

    Attributes:
        inputs: the network's names in the file's order; None where it is the network's own.
        outputs: the same of the outputs.
        found: (inferences, *shape) by the network's names of its outputs.
    """

    inputs: list[str] | None
    outputs: list[str] | None
    found: dict[str, Array]


def run(content: bytes, inputs: Sequence[Tensor], samples: Sets, reference: Outputs) -> Bound:
    """Find a file's order and run all samples through it.

    Args:
        content: the file, its shapes fixed.
        inputs: the network's.
        samples: what it is given; a state's inputs, what its source gave.
        reference: what the source gives for them.

    Raises:
        ModelError: an input or output of the network is not in the file, or it can't be run.
    """
    interpreter = tflite_graph.interpreter(content)
    sources, sinks = interpreter.get_input_details(), interpreter.get_output_details()
    # where a state begins with zeros, two of its inputs can't be told apart, nor what they make
    known = 0 if samples.state is None else min(samples.state.steps, len(samples)) - 1
    first = list(samples)[known]
    best: tuple[float, list[Tensor], list[Tensor]] | None = None
    for order in itertools.islice(_orders(inputs, sources, "input"), MOST_ORDERS):
        given = _inferred(interpreter, order, first)
        outputs = _nearest(reference, sinks, given, known)
        apart = sum(
            _distance(reference.arrays[t.name][known], array)
            for t, array in zip(outputs, given, strict=True)
        )
        if best is None or apart < best[0]:
            best = apart, order, outputs
    if best is None:
        raise _not_there("input", inputs, sources)
    _, order, outputs = best
    names = [tensor.name for tensor in outputs]

    def infer(one: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(names, _inferred(interpreter, order, one), strict=True))

    found = stacked(samples.run(infer))
    return Bound(
        inputs=_if_other(order, inputs),
        outputs=_if_other(outputs, reference.tensors),
        found={tensor.name: found[tensor.name].astype(tensor.dtype) for tensor in outputs},
    )


def _if_other(order: Sequence[Tensor], own: Sequence[Tensor]) -> list[str] | None:
    names = [tensor.name for tensor in order]
    return None if names == [tensor.name for tensor in own] else names


def _inferred(
    interpreter: tf.lite.Interpreter, order: Sequence[Tensor], given: Mapping[str, Array]
) -> list[Array]:
    """One inference; the outputs in the file's order."""
    kinds = [detail["dtype"] for detail in interpreter.get_input_details()]
    arrays = [given[t.name].astype(kind) for t, kind in zip(order, kinds, strict=True)]
    return tflite_graph.run(interpreter, arrays)


def _orders(
    tensors: Sequence[Tensor], details: Sequence[Detail], what: str
) -> Iterator[list[Tensor]]:
    """The network's tensors in every order that the file's may mean, the likeliest first.

    Raises:
        ModelError: the file has another number of them.
    """
    if len(tensors) != len(details):
        raise _not_there(what, tensors, details)
    named = {tensor.name: tensor for tensor in tensors}
    choices: list[list[Tensor]] = []
    for position, detail in enumerate(details):
        same = named.get(_plain(detail["name"]))
        fitting = [tensor for tensor in tensors if _fits(tensor, detail)]
        if same is not None and same in fitting:
            choices.append([same])
        else:
            own = [tensor for tensor in fitting if tensor is tensors[position]]
            choices.append([*own, *(tensor for tensor in fitting if tensor not in own)])
    for order in itertools.product(*choices):
        if len({tensor.name for tensor in order}) == len(order):
            yield list(order)


def _plain(name: str) -> str:
    """A tensor's name without what TensorFlow puts around it."""
    return name.removeprefix("serving_default_").partition(":")[0]


def _fits(tensor: Tensor, detail: Detail) -> bool:
    """Whether a tensor of the file has the network's shape, and a type of the same sort."""
    kinds = {np.dtype(tensor.dtype).kind, np.dtype(detail["dtype"]).kind}
    alike = len(kinds) == 1 or kinds == {"i", "u"}
    return alike and tuple(int(d) for d in detail["shape"]) == tensor.shape


def _nearest(
    reference: Outputs, details: Sequence[Detail], given: Sequence[Array], number: int
) -> list[Tensor]:
    """The network's outputs in the file's order: each where the values are nearest to its own.

    Args:
        reference: what the source gives.
        details: of the file's outputs.
        given: what the file gives in one inference.
        number: of that inference.

    Raises:
        ModelError: one of them is not in the file.
    """
    if len(reference.tensors) != len(details):
        raise _not_there("output", reference.tensors, details)
    left = dict(enumerate(given))
    found: dict[int, Tensor] = {}
    for tensor in reference.tensors:
        expected = reference.arrays[tensor.name][number]
        fitting = [n for n, array in left.items() if array.shape == expected.shape]
        if not fitting:
            raise _not_there("output", reference.tensors, details)
        nearest = min(fitting, key=lambda n: (_distance(expected, left[n]), n))
        found[nearest] = tensor
        del left[nearest]
    return [found[position] for position in range(len(given))]


def _distance(expected: Array, given: Array) -> float:
    """How far apart two outputs are, over the size of the first."""
    a, b = np.nan_to_num(expected.astype(np.float64)), np.nan_to_num(given.astype(np.float64))
    size = float(np.abs(a).max(initial=0)) or 1.0
    return float(np.abs(a - b).max(initial=0)) / size


def _not_there(what: str, tensors: Sequence[Tensor], details: Sequence[Detail]) -> ModelError:
    has = [f"{d['name']}: {np.dtype(d['dtype']).name} {tuple(d['shape'])}" for d in details]
    return ModelError(
        f"the TFLite form has other {what}s than the model",
        detail="\n".join(
            [f"the model has    {t.name}: {t.dtype} {t.shape}" for t in tensors]
            + [f"the TFLite form has {one}" for one in has]
        ),
        resolution="use TVM for this model, or export it with one name and shape for each",
    )
