"""How far a conversion's output is from its source's, and what is still called the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolchain.core.errors import ModelError
from toolchain.models.manifest import Check
from toolchain.models.variants import PLAIN

TOLERANCE = 1e-3  # float32, over the largest magnitude of a sample's reference
# The same of the median sample, where activations are rounded to 8 bits: a few of their steps.
ROUNDED_TOLERANCE = 0.05


def measure(
    stage: str,
    reference: npt.NDArray[np.float32],
    found: npt.NDArray[np.float32],
    *,
    opt_level: int | None = None,
    variant: str = PLAIN,
) -> Check:
    """Measure how far one output is from another.

    Args:
        stage: as `Check.stage`.
        reference: (samples, ...) what is compared with.
        found: the same samples through what was made of it.
        opt_level: TVM only.
        variant: of the network.

    Raises:
        ModelError: shapes differ, or a value isn't finite where the reference's is.
    """
    if reference.shape != found.shape:
        raise ModelError(
            f"{stage}: the converted model's output has another shape",
            detail=f"source    {reference.shape}\nconverted {found.shape}",
        )
    flat, other = _flat(reference), _flat(found)
    check = Check(
        stage=stage,
        max_abs=_rounded(np.abs(flat - other).max()),
        max_rel=_rounded(_relative(flat, other).max()),
        top1_agreement=float((flat.argmax(axis=1) == other.argmax(axis=1)).mean()),
        count=len(flat),
        opt_level=opt_level,
        variant=variant,
    )
    if not np.isfinite(check.max_rel):
        raise _disagreement(check, "not finite")
    return check


def compare(
    stage: str,
    reference: npt.NDArray[np.float32],
    found: npt.NDArray[np.float32],
    opt_level: int | None = None,
    *,
    variant: str = PLAIN,
    rounded: bool = False,
) -> Check:
    """Measure and judge one conversion.

    Args:
        stage: as `Check.stage`.
        reference: (samples, ...) the source model's output.
        found: the same samples through the conversion.
        opt_level: TVM only.
        variant: of the network.
        rounded: whether activations are rounded to integers. Then a sum in another order can end a
            step away, now and then, and what is judged is the median sample.

    Raises:
        ModelError: as `measure`, or they differ by more than TOLERANCE or ROUNDED_TOLERANCE.
    """
    check = measure(stage, reference, found, opt_level=opt_level, variant=variant)
    differences = _relative(_flat(reference), _flat(found))
    judged, allowed = differences.max(), TOLERANCE
    if rounded:
        judged, allowed = np.median(differences), ROUNDED_TOLERANCE
    if judged > allowed:
        raise _disagreement(check, f"allowed {allowed:g}{', the median' if rounded else ''}")
    return check


def _flat(output: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return output.reshape(len(output), -1).astype(np.float64)


def _relative(
    flat: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """For each sample the largest difference over the largest magnitude of its reference."""
    largest = np.maximum(np.abs(flat).max(axis=1), np.finfo(np.float32).tiny)
    relative: npt.NDArray[np.float64] = np.abs(flat - other).max(axis=1) / largest
    return relative


def _disagreement(check: Check, allowed: str) -> ModelError:
    return ModelError(
        f"{check.stage}: the converted model disagrees with its source",
        detail=f"largest difference {check.max_abs:.3g}, relative {check.max_rel:.3g} "
        f"({allowed}), same first class in {check.top1_agreement:.0%} of {check.count} samples",
        resolution="the library that converted it has a fault with this model; try another "
        "export of it (--model-file)",
    )


def _rounded(value: np.floating) -> float:
    """Three significant digits: no more mean anything."""
    return float(f"{value:.3g}")
