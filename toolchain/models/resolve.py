"""From a command's options to the model that they mean.

Nothing here reads a model's graph: that takes the libraries of its kind, and is done in the worker.
"""

from __future__ import annotations

import re
from pathlib import Path

from toolchain import formats
from toolchain.core import store
from toolchain.core.errors import UsageError
from toolchain.formats import keras_file
from toolchain.formats.shapes import Shapes
from toolchain.models import catalogue, user_model
from toolchain.models.catalogue import CatalogueEntry
from toolchain.models.specification import ModelSpec

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def resolve_model(
    name: str | None = None,
    *,
    model_file: Path | None = None,
    weights: Path | None = None,
    seed: int = 0,
    shapes: Shapes | None = None,
    signature: str = "",
) -> ModelSpec:
    """The model that a command's options mean.

    Args:
        name: a catalogue name, or a path as `model_file`; with that, the name to give it.
        model_file: a user's own, of a kind of `formats`.
        weights: weights for a catalogue model (.weights.h5, .h5, .hdf5, .keras).
        seed: draws the weights of a catalogue model that has none.
        shapes: of inputs of `model_file`, by name, in the place of what stands beside it.
        signature: which of the functions of `model_file`; its usual one when empty.

    Raises:
        UsageError: no such model or file, or options that contradict each other.
        ModelError: a file that is visibly not what its name says.
    """
    known = catalogue.entries()
    if model_file is None and name and name not in known and _is_path(name):
        return resolve_model(
            model_file=Path(name), weights=weights, shapes=shapes, signature=signature
        )
    if model_file is not None:
        if weights is not None:
            raise UsageError(
                "weights can be given for a catalogue model only",
                resolution="save the model with its weights and give that file alone",
            )
        return _own(model_file, name, shapes or {}, signature)
    if shapes or signature:
        raise UsageError(
            "shapes and signatures can be given for a model file only",
            resolution="leave --shape and --signature out for a catalogue model",
        )
    if name is None or name not in known:
        what = "no model given" if name is None else f"unknown model: {name}"
        raise UsageError(what, resolution=_known(known))
    entry = known[name]
    # what others measured is no part of what the model is
    made_from = entry.model_dump(mode="json", exclude={"published_top1", "published_top5"})
    parts: dict[str, object] = {"entry": made_from, "seed": seed}
    if weights is not None:
        weights = _of_weights(weights)
        parts = {"entry": made_from, "weights": store.digest_file(weights)}
    return ModelSpec(
        name=name,
        kind=entry.source,
        entry=entry,
        weights=weights,
        seed=seed,
        digest=store.digest_of(parts),
    )


def _of_weights(path: Path) -> Path:
    path = _existing(path)
    if path.suffix not in keras_file.FORMAT.suffixes:
        raise UsageError(
            f"{path.name}: weights are read from .weights.h5, .h5, .hdf5 and .keras files",
            resolution="save them with model.save_weights('NAME.weights.h5')",
        )
    keras_file.FORMAT.refuse_other(path)
    return path


def _is_path(text: str) -> bool:
    path = Path(text)
    suffixes = {suffix for kind in formats.all_formats().values() for suffix in kind.suffixes}
    return len(path.parts) > 1 or path.suffix in suffixes or path.exists()


def _known(known: dict[str, CatalogueEntry]) -> str:
    names = ", ".join(sorted(known))
    return f"known models: {names}; or give a file of yours with --model-file: {formats.titles()}"


def _own(path: Path, name: str | None, shapes: Shapes, signature: str) -> ModelSpec:
    path = _existing(path)
    kind = formats.format_of(path)
    kind.refuse_other(path)
    name = name or re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{path.name}: no model name can be made of this file's name",
            resolution="give one with --model NAME (letters, digits, '.', '_', '-')",
        )
    if name in catalogue.entries():
        raise UsageError(
            f"{path.name}: {name} is the name of a catalogue model",
            resolution="give another with --model NAME",
        )
    digest = kind.digest(path)
    entry = user_model.beside(path)
    if entry is not None:
        digest = store.digest_of([digest, entry.identity()])
        shapes = {**entry.shape, **shapes}
    if shapes or signature:
        sizes = {one: list(shape) for one, shape in shapes.items()}
        digest = store.digest_of([digest, sizes, signature])
    return ModelSpec(
        name=name,
        kind=kind.name,
        path=path,
        own=entry,
        shapes=shapes,
        signature=signature,
        digest=digest,
    )


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UsageError(f"no such file: {path}", resolution="check the path")
    return path.resolve()
