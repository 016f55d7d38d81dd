"""Which inputs a model is checked with, measured for its ranges, and trained on with."""

from __future__ import annotations

from toolchain.core.errors import UsageError
from toolchain.models.specification import ModelSpec
from toolchain.samples import catalogue_inputs, public_images, user_arrays
from toolchain.samples.public_images import Inputs

OWN_SAMPLES = 8  # of a network that nobody gave samples of


def checked(spec: ModelSpec, shape: tuple[int, ...]) -> Inputs:
    """The samples that conversions are compared on; as many as fill whole batches.

    Args:
        spec: the model.
        shape: its input, batch first.

    Raises:
        ModelError: the user's own can't be used.
    """
    batch = shape[0]
    if spec.entry is not None:
        return catalogue_inputs.samples(spec.entry, batch)
    if spec.own is not None and spec.own.samples is not None:
        given = user_arrays.load(spec.own.samples, shape)
        count = public_images.count_for(len(given.x), batch, len(given.x))
        return user_arrays.repeated(given, count)
    return public_images.of_shape(shape, public_images.count_for(OWN_SAMPLES, batch, None))


def calibration(spec: ModelSpec, shape: tuple[int, ...]) -> Inputs:
    """The inputs that int8's ranges are measured on: others than the samples where there are.

    Raises:
        ModelError: the user's own can't be used.
    """
    batch = shape[0]
    if spec.own is not None and spec.own.calibration is not None:
        given = user_arrays.load(spec.own.calibration, shape)
        return user_arrays.repeated(given, -(-len(given.x) // batch) * batch)
    if spec.entry is not None:
        x = catalogue_inputs.calibration(spec.entry)
    else:
        x = public_images.of_shape(shape, OWN_SAMPLES + catalogue_inputs.CALIBRATION_OTHERS).x[
            OWN_SAMPLES:
        ]
    return user_arrays.repeated(Inputs(x=x), -(-len(x) // batch) * batch)


def training(spec: ModelSpec, shape: tuple[int, ...]) -> Inputs:
    """Labelled inputs to train on with; never those that conversions are compared on.

    Raises:
        ModelError: the user's own can't be used.
        UsageError: there are none.
    """
    if spec.entry is not None and spec.entry.images == "digits":
        return catalogue_inputs.training(spec.entry)
    if spec.own is not None and spec.own.training is not None:
        return user_arrays.load(spec.own.training, shape, labelled=True)
    raise UsageError(
        f"{spec.name}: there is nothing to train on with",
        resolution="name labelled inputs (training = 'FILE.npz') in a .toml file beside the model; "
        "docs/how-to/your-model.md says how",
    )
