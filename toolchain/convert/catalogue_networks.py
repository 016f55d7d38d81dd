"""The catalogue's networks: an architecture, and weights of a file, trained here or drawn.

Runs in the worker: TensorFlow is imported here.
"""

from __future__ import annotations

from pathlib import Path

import keras

from toolchain.convert.requests import Part
from toolchain.convert.training import digits_network, seeded_weights, weights_file
from toolchain.core import store
from toolchain.core.errors import ModelError
from toolchain.core.worker import Progress
from toolchain.formats import keras_file
from toolchain.formats.graphs import tensorflow_graph
from toolchain.formats.graphs.tensorflow_network import TensorFlowNetwork
from toolchain.models.catalogue import CatalogueEntry
from toolchain.models.manifest import Source
from toolchain.models.specification import ModelSpec
from toolchain.samples import public_images


def load(spec: ModelSpec, weights: Part, progress: Progress) -> tuple[TensorFlowNetwork, Source]:
    """A network of the catalogue, and where its weights are from.

    Args:
        spec: which, and the user's weights where there are any.
        weights: where there are none: those that were made for it before, or are made now.
        progress: called with each step.

    Raises:
        ModelError: the user's weights don't fit it.
    """
    assert spec.entry is not None
    tensorflow_graph.settle()
    progress("reading the model")
    model = _architecture(spec.entry)
    return keras_file.network(model), Source(
        kind=keras_file.FORMAT.name, weights=_with_weights(model, spec, weights, progress)
    )


def _with_weights(model: keras.Model, spec: ModelSpec, weights: Part, progress: Progress) -> str:
    """Give a model its weights; what they are, as `Source.weights`."""
    assert spec.entry is not None
    if spec.weights is not None:
        _read_users(model, spec.weights)
        return f"file:{store.digest_file(spec.weights)}"
    if weights.found is not None:
        weights_file.read(model, weights.found)
    else:
        assert weights.wanted is not None
        _make_weights(model, spec.entry, spec.seed, progress)
        weights_file.write(model, weights.wanted)
    if spec.entry.source != "digits":
        return f"seeded:{spec.seed}"
    folder = weights.found or weights.wanted
    assert folder is not None
    return f"trained:{store.digest_file(folder / weights_file.FILE)}"


def _architecture(entry: CatalogueEntry) -> keras.Model:
    if entry.source == "digits":
        return digits_network.architecture(entry.shape, entry.classes)
    assert entry.constructor is not None
    make = getattr(keras.applications, entry.constructor)
    made: keras.Model = make(
        weights=None, input_shape=entry.shape, classes=entry.classes, **entry.arguments
    )
    return made


def _make_weights(model: keras.Model, entry: CatalogueEntry, seed: int, progress: Progress) -> None:
    if entry.source == "digits":
        progress("training on scikit-learn's digits")
        digits_network.train(model, seed)
    else:
        seeded_weights.fill(model, seed, public_images.of_entry(entry, 1).x)


def _read_users(model: keras.Model, path: Path) -> None:
    try:
        if path.suffix == ".keras":
            model.set_weights(keras_file.read(path).get_weights())
        else:
            model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(
            f"{path.name}: these weights don't fit {model.name}",
            detail=str(error),
            resolution="give weights saved from the same keras.applications architecture, "
            "with its top",
        ) from error
