"""How far a conversion's outputs are from its source's, and what is still called the same.

Each output by itself, with what its arithmetic allows: sums in another order end elsewhere in
float32 by a few of its rounding steps for each term, in float16 by more, and where activations are
rounded to 8 bits a value can fall on the other side of a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toolchain.core.errors import ModelError
from toolchain.formats.graphs import onnx_graph
from toolchain.formats.signature import Tensor
from toolchain.models.checks import Check, OutputCheck
from toolchain.models.variants import PLAIN

TOLERANCE = 1e-3  # float32, over the largest magnitude of a sample's reference
# Of 16-bit floats, 40 of their rounding steps, which are 2^-11 and 2^-8.
HALF_TOLERANCES = {"float16": 2e-2, "bfloat16": 0.16}
# The same of the median sample, where activations are rounded to 8 bits: a few of their steps.
ROUNDED_TOLERANCE = 0.05
ROUNDED_STEPS = 3  # of an output that is itself rounded, of its own scale
# Four rounding steps of float32 at 1, which a sigmoid or softmax is computed through: a detector
# that sees nothing gives 1e-7, of which another order of sums leaves no digit.
ABSOLUTE = 4 * 2**-23
# A sample whose reference is nearly nothing is measured against this share of the largest of all.
FLOOR = 1e-2
# Share of whole numbers that may differ: an index that a comparison of two floats decides, when
# they are closer than their rounding; more of them where values are rounded to 8 bits.
TIES, ROUNDED_TIES = 1e-3, 0.05

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a network gives for the samples, which all that is made of it is compared with.

    Attributes:
        tensors: the outputs, in the network's order.
        arrays: (inferences, *shape) by name.
        batch: samples of an inference.
    """

    tensors: Sequence[Tensor]
    arrays: Arrays
    batch: int

    @property
    def is_classification(self) -> bool:
        """Whether it is one row of scores a sample, and nothing else."""
        first = self.tensors[0]
        real = first.dtype.startswith("float") or first.quantization is not None
        scores = len(first.shape) == 2 and first.shape[0] == self.batch and first.shape[1] > 1
        return len(self.tensors) == 1 and scores and real

    def rows(self, tensor: Tensor, array: Array) -> Array:
        """An output's values, (samples, values), or (inferences, values) without a batch."""
        batched = bool(tensor.shape) and tensor.shape[0] == self.batch
        return array.reshape(len(array) * (self.batch if batched else 1), -1)


@dataclass(frozen=True, kw_only=True)
class _Difference:
    """One output's check, the share by which it is judged, and what is allowed of that."""

    check: OutputCheck
    relative: float
    judged: float
    allowed: float
    said: str


def measure(
    stage: str,
    reference: Outputs,
    found: Arrays,
    *,
    opt_level: int | None = None,
    variant: str = PLAIN,
) -> Check:
    """Measure how far the outputs are from others.

    Args:
        stage: as `Check.stage`.
        reference: what is compared with.
        found: the same inferences through what was made of it, (inferences, *shape) by name.
        opt_level: TVM only.
        variant: of the network.

    Raises:
        ModelError: shapes differ, or a value isn't finite where the reference's is.
    """
    differences = _differences(stage, reference, found, onnx_graph.FLOAT32)
    return _check(stage, reference, found, differences, opt_level=opt_level, variant=variant)


def compare(
    stage: str,
    reference: Outputs,
    found: Arrays,
    *,
    opt_level: int | None = None,
    variant: str = PLAIN,
    arithmetic: str = onnx_graph.FLOAT32,
) -> Check:
    """Measure and judge one conversion.

    Args:
        stage: as `Check.stage`.
        reference: the source model's outputs.
        found: the same inferences through the conversion, (inferences, *shape) by name.
        opt_level: TVM only.
        variant: of the network.
        arithmetic: what activations are, as `onnx_graph.arithmetic` says. Where they are rounded
            to integers, a sum in another order can end a step away, now and then, and what is
            judged is the median sample.

    Raises:
        ModelError: as `measure`, or an output differs by more than its arithmetic allows.
    """
    differences = _differences(stage, reference, found, arithmetic)
    check = _check(stage, reference, found, differences, opt_level=opt_level, variant=variant)
    wrong = [one for one in differences if one.judged > one.allowed]
    if wrong:
        raise _disagreement(check, wrong)
    return check


def _differences(
    stage: str, reference: Outputs, found: Arrays, arithmetic: str
) -> list[_Difference]:
    differences = []
    for tensor in reference.tensors:
        expected, given = reference.arrays[tensor.name], found[tensor.name]
        if expected.shape != given.shape:
            raise ModelError(
                f"{stage}: the converted model's output {tensor.name} has another shape",
                detail=f"source    {expected.shape[1:]}\nconverted {given.shape[1:]}",
            )
        flat, other = reference.rows(tensor, expected), reference.rows(tensor, given)
        of_floats = tensor.quantization is not None or tensor.dtype.startswith("float")
        judge = _of_floats if of_floats else _of_integers
        differences.append(judge(tensor, flat, other, arithmetic))
    return differences


def _of_integers(tensor: Tensor, flat: Array, other: Array, arithmetic: str) -> _Difference:
    """Whole numbers and truth values are the same or not."""
    differing = float((flat != other).mean()) if flat.size else 0.0
    largest = np.abs(flat.astype(np.float64) - other.astype(np.float64)).max(initial=0)
    allowed = ROUNDED_TIES if arithmetic == onnx_graph.INTEGERS else TIES
    check = OutputCheck(name=tensor.name, max_abs=_digits(largest), differing=_digits(differing))
    said = f"{differing:.3g} of the values differ, allowed {allowed:g}"
    return _Difference(check=check, relative=0.0, judged=differing, allowed=allowed, said=said)


def _of_floats(tensor: Tensor, flat: Array, other: Array, arithmetic: str) -> _Difference:
    step = tensor.quantization.scale if tensor.quantization is not None else 0.0
    real, converted = (_real(tensor, values) for values in (flat, other))
    same = (real == converted) | (np.isnan(real) & np.isnan(converted))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(real - converted))
    differences = apart.max(axis=1, initial=0)
    sizes = np.abs(np.where(np.isfinite(real), real, 0)).max(axis=1, initial=0)
    tiny = float(np.finfo(np.float32).tiny)
    relative = differences / np.maximum(np.maximum(sizes, FLOOR * sizes.max(initial=0)), tiny)
    relative[differences <= ABSOLUTE] = 0
    judged, allowed = relative.max(initial=0), TOLERANCE
    for narrow in {tensor.dtype, arithmetic} & HALF_TOLERANCES.keys():
        allowed = max(allowed, HALF_TOLERANCES[narrow])
    rounded = bool(step) or arithmetic == onnx_graph.INTEGERS
    if rounded:
        judged, allowed = np.median(relative), ROUNDED_TOLERANCE
        if np.median(differences) <= ROUNDED_STEPS * step:
            judged = np.float64(0)
    if not np.isfinite(relative).all():
        judged = np.float64(np.inf)
    check = OutputCheck(
        name=tensor.name,
        max_abs=_digits(differences.max(initial=0)),
        of_range=_of_range(real, float(differences.max(initial=0))),
        sqnr_db=_sqnr(real, converted),
    )
    how = ", the median sample" if rounded else ""
    said = f"relative {relative.max(initial=0):.3g}, allowed {allowed:g}{how}"
    if step:
        said += f" or {ROUNDED_STEPS} steps of {step:.3g}"
    return _Difference(
        check=check,
        relative=float(relative.max(initial=0)),
        judged=float(judged),
        allowed=allowed,
        said=said,
    )


def _real(tensor: Tensor, values: Array) -> npt.NDArray[np.float64]:
    """The numbers that an output stands for."""
    real = values.astype(np.float64)
    if tensor.quantization is None:
        return real
    scaled: npt.NDArray[np.float64] = (real - tensor.quantization.zero) * tensor.quantization.scale
    return scaled


def _of_range(real: npt.NDArray[np.float64], largest: float) -> float | None:
    known = real[np.isfinite(real)]
    span = float(np.ptp(known)) if known.size else 0.0
    return _digits(largest / span) if span and np.isfinite(largest) else None


def _sqnr(real: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> float | None:
    """Signal-to-quantisation-noise ratio in decibels.

    10 log10 of the reference's mean square over that of the difference: Oppenheim and Schafer,
    Discrete-Time Signal Processing, 3rd edition, section 4.8.3.
    """
    known = np.isfinite(real) & np.isfinite(found)
    signal = float(np.square(real[known]).sum())
    noise = float(np.square(real[known] - found[known]).sum())
    return round(10 * float(np.log10(signal / noise)), 1) if signal and noise else None


def _check(
    stage: str,
    reference: Outputs,
    found: Arrays,
    differences: Sequence[_Difference],
    *,
    opt_level: int | None,
    variant: str,
) -> Check:
    """The check of all outputs.

    Raises:
        ModelError: a value isn't finite where the reference's is.
    """
    first = reference.tensors[0]
    rows = reference.rows(first, reference.arrays[first.name])
    agreement = None
    if reference.is_classification:
        other = reference.rows(first, found[first.name])
        agreement = float((rows.argmax(axis=1) == other.argmax(axis=1)).mean())
    check = Check(
        stage=stage,
        max_abs=max(one.check.max_abs for one in differences),
        max_rel=_digits(max(one.relative for one in differences)),
        top1_agreement=agreement,
        count=len(rows),
        opt_level=opt_level,
        variant=variant,
        outputs=[one.check for one in differences],
    )
    odd = [one for one in differences if not np.isfinite(one.check.max_abs)]
    if odd:
        raise _disagreement(check, odd)
    return check


def _disagreement(check: Check, wrong: Sequence[_Difference]) -> ModelError:
    lines = [
        f"{one.check.name}: largest difference {one.check.max_abs:.3g}, {one.said}"
        if np.isfinite(one.check.max_abs)
        else f"{one.check.name}: not finite where the source is"
        for one in wrong
    ]
    if check.top1_agreement is not None:
        lines.append(f"same first class in {check.top1_agreement:.0%} of {check.count} samples")
    return ModelError(
        f"{check.stage}: the converted model disagrees with its source",
        detail="\n".join(lines),
        resolution="the library that converted it has a fault with this model; try another "
        "export of it (--model-file)",
    )


def _digits(value: float | np.floating[Any]) -> float:
    """Three significant digits: no more mean anything."""
    return float(f"{float(value):.3g}")
