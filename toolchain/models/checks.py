"""How far a conversion's outputs are from those of what it was made from, as manifests say it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from toolchain.models.variants import PLAIN


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OutputCheck(_Part):
    """One output of a conversion against what it was made from.

    Attributes:
        name: the output's.
        max_abs: largest absolute difference; of a rounded output in the numbers it stands for.
        of_range: that over the reference's range, its largest value less its smallest; None where
            all values are the same, or they are whole numbers or truth values.
        sqnr_db: signal-to-quantisation-noise ratio in decibels; None where nothing differs, or
            there is no signal.
        differing: share of the values that differ, of whole numbers and truth values.
    """

    name: str
    max_abs: float
    of_range: float | None = None
    sqnr_db: float | None = None
    differing: float | None = None


class Check(_Part):
    """A conversion against what it was made from, on the samples.

    A variant's TFLite form is compared with the source model, the others with that form; where
    there is none, the ONNX graph with the source, and libraries with it.

    Attributes:
        stage: "tflite", "onnx", "tvm-x86" (compiled for this machine with the same passes), or the
            name of a runtime that made an artifact of its own.
        max_abs: largest absolute difference.
        max_rel: largest difference over the largest magnitude in the same sample's reference.
        top1_agreement: share of samples whose largest output is the same; None where the network
            is no classifier.
        count: samples.
        opt_level: TVM only.
        variant: of the network.
        outputs: each output by itself; empty in manifests of schema 1.
    """

    stage: str
    max_abs: float
    max_rel: float
    top1_agreement: float | None = None
    count: int
    opt_level: int | None = None
    variant: str = PLAIN
    outputs: list[OutputCheck] = Field(default_factory=list, exclude_if=lambda of: not of)
