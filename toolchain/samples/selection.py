"""Which inputs a model is checked with, measured for its ranges, and trained on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from toolchain.formats.signature import Tensor
from toolchain.formats.state import State
from toolchain.models.specification import ModelSpec
from toolchain.samples import (
    catalogue_inputs,
    drawn_values,
    named_arrays,
    public_images,
    user_arrays,
)
from toolchain.samples.public_images import Inputs
from toolchain.samples.sets import Sets

OWN_SAMPLES = 8  # of a network that nobody gave samples of
SEQUENCES = 2  # the same of one that has a state


def checked(
    spec: ModelSpec,
    inputs: Sequence[Tensor],
    batch: int,
    limits: Mapping[str, int],
    state: State | None = None,
) -> Sets:
    """What conversions are compared on.

    Args:
        spec: the model.
        inputs: its inputs.
        batch: samples of an inference.
        limits: what the values of some integer inputs must be below, by name.
        state: the model's.

    Raises:
        ModelError: the user's own can't be used.
    """
    if spec.entry is not None and spec.entry.images != "drawn":
        said = "digits" if spec.entry.images == "digits" else "the catalogue's"
        return _as_sets(catalogue_inputs.samples(spec.entry, batch), inputs[0], said)
    if spec.own is not None and spec.own.samples is not None:
        return named_arrays.load(spec.own.samples, inputs, batch, limits, state)
    return drawn_values.of_inputs(inputs, _seen(spec, batch, state), limits, state)


def _seen(spec: ModelSpec, batch: int, state: State | None) -> int:
    """Inferences that a network is compared on when nobody gave samples."""
    samples = OWN_SAMPLES if spec.entry is None else spec.entry.samples
    return -(-samples // batch) if state is None else SEQUENCES * state.steps


def _as_sets(given: Inputs, tensor: Tensor, said: str) -> Sets:
    """Samples of an only input as inferences."""
    x = given.x.reshape(-1, *tensor.shape)
    return Sets(arrays={tensor.name: x}, labels=given.labels, origins={tensor.name: said})


def calibration(
    spec: ModelSpec,
    inputs: Sequence[Tensor],
    batch: int,
    limits: Mapping[str, int],
    state: State | None = None,
) -> Sets:
    """What int8's ranges are measured on: others than the samples where there are.

    Args:
        spec: as `checked`.
        inputs: as `checked`.
        batch: as `checked`.
        limits: as `checked`.
        state: as `checked`.

    Raises:
        ModelError: the user's own can't be used.
    """
    if spec.own is not None and spec.own.calibration is not None:
        if len(inputs) > 1:
            return named_arrays.load(spec.own.calibration, inputs, batch, limits, state)
        given = user_arrays.load(spec.own.calibration, inputs[0].shape)
        whole = user_arrays.repeated(given, -(-len(given.x) // batch) * batch)
        return _as_sets(whole, inputs[0], named_arrays.ORIGIN)
    others = catalogue_inputs.CALIBRATION_OTHERS
    own = spec.entry is None and (len(inputs) > 1 or limits or inputs[0].dtype != "float32")
    if own or (spec.entry is not None and spec.entry.images == "drawn"):
        seen = _seen(spec, batch, state)
        drawn = drawn_values.of_inputs(inputs, seen + -(-others // batch), limits, state)
        return replace(drawn, arrays={name: a[seen:] for name, a in drawn.arrays.items()})
    if spec.entry is None:
        x = public_images.of_shape(inputs[0].shape, OWN_SAMPLES + others).x[OWN_SAMPLES:]
    else:
        x = catalogue_inputs.calibration(spec.entry)
    whole = user_arrays.repeated(Inputs(x=x), -(-len(x) // batch) * batch)
    return _as_sets(whole, inputs[0], "others than the samples")


def training(spec: ModelSpec, shape: tuple[int, ...]) -> Inputs:
    """Labelled inputs to train on with; never those that conversions are compared on.

    Raises:
        ModelError: the user's own can't be used.
        UsageError: there are none.
    """
    spec.refuse_unlabelled()
    if spec.entry is not None and spec.entry.images == "digits":
        return catalogue_inputs.training(spec.entry)
    assert spec.own is not None
    assert spec.own.training is not None
    return user_arrays.load(spec.own.training, shape, labelled=True)
