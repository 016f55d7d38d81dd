"""The forms a network is converted to: what each keeps of it, and what making it takes.

Names and rules alone; how each is made stands in `convert.variant_job`, what more training takes in
`convert.training`.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.core.errors import UsageError

PLAIN = "fp32"
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One form of a network.

    Attributes:
        name: as in a manifest, a file's name and the option --variant.
        title: what is done.
        calibrated: the ranges of its activations are measured on a calibration set.
        tuned: it is trained on, so it needs a Keras model and labelled samples.
        rounded: activations are rounded to integers while it runs, so two runtimes that round a
            tie or sum in another order differ by a step.
    """

    name: str
    title: str
    calibrated: bool = False
    tuned: bool = False
    rounded: bool = False


VARIANTS = {
    v.name: v
    for v in (
        Variant(name=PLAIN, title="as it was trained"),
        Variant(name="float16", title="weights kept as float16"),
        Variant(
            name="dynamic",
            title="weights int8, activations rounded to int8 as they come",
            rounded=True,
        ),
        Variant(
            name="int8", title="weights and activations int8", calibrated=True, rounded=True
        ),
        Variant(
            name="int16x8", title="weights int8, activations int16", calibrated=True, rounded=True
        ),
        Variant(name="qat", title="int8, trained on with its rounding", tuned=True, rounded=True),
        Variant(name="pruned", title="half of the weights zero, trained on", tuned=True),
        Variant(name="clustered", title="16 values a layer's weights, trained on", tuned=True),
    )
}  # fmt: skip


# What is made of an ONNX graph, where there is none of TensorFlow's.
OF_GRAPHS = ("float16", "dynamic", "int8")


def chosen(names: list[str]) -> list[str]:
    """The variants that a list of names means, in the order of the table; `all` means all.

    Of a model that can't have one of these, all means the others.

    Raises:
        UsageError: a name is unknown.
    """
    unknown = [name for name in names if name not in VARIANTS and name != ALL]
    if unknown:
        raise UsageError(
            f"unknown variant: {unknown[0]}",
            resolution=f"known: {', '.join(VARIANTS)}, or {ALL}",
        )
    return [name for name in VARIANTS if ALL in names or name in names]


def library(variant: str, opt_level: int) -> str:
    """The name of a TVM library in a manifest: the plain form's is its level alone."""
    return f"O{opt_level}" if variant == PLAIN else f"{variant}-O{opt_level}"
