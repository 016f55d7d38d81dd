"""How far a conversion's output is from its source's, and what is still called the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolchain.card import Check
from toolchain.errors import ModelError

TOLERANCE = 1e-3  # float32, over the largest magnitude of a sample's reference


def compare(
    stage: str,
    reference: npt.NDArray[np.float32],
    found: npt.NDArray[np.float32],
    opt_level: int | None = None,
) -> Check:
    """Measure and judge one conversion.

    Args:
        stage: as `Check.stage`.
        reference: (samples, ...) the source model's output.
        found: the same samples through the conversion.
        opt_level: TVM only.

    Raises:
        ModelError: shapes differ, a value isn't finite where the reference's is, or the largest
            relative difference is above TOLERANCE.
    """
    if reference.shape != found.shape:
        raise ModelError(
            f"{stage}: the converted model's output has another shape",
            detail=f"source    {reference.shape}\nconverted {found.shape}",
        )
    flat = reference.reshape(len(reference), -1).astype(np.float64)
    other = found.reshape(len(found), -1).astype(np.float64)
    difference = np.abs(flat - other)
    largest = np.maximum(np.abs(flat).max(axis=1), np.finfo(np.float32).tiny)
    check = Check(
        stage=stage,
        max_abs=_rounded(difference.max()),
        max_rel=_rounded((difference.max(axis=1) / largest).max()),
        top1_agreement=float((flat.argmax(axis=1) == other.argmax(axis=1)).mean()),
        count=len(flat),
        opt_level=opt_level,
    )
    if not check.max_rel <= TOLERANCE:  # NaN included
        raise ModelError(
            f"{stage}: the converted model disagrees with its source",
            detail=f"largest difference {check.max_abs:.3g}, relative {check.max_rel:.3g} "
            f"(allowed {TOLERANCE:g}), same first class in {check.top1_agreement:.0%} of "
            f"{check.count} samples",
            resolution="the library that converted it has a fault with this model; try another "
            "export of it (--model-file)",
        )
    return check


def _rounded(value: np.floating) -> float:
    """Three significant digits: no more mean anything."""
    return float(f"{value:.3g}")
