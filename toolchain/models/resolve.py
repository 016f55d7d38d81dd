"""From a command's options to the model that they mean.

Nothing here reads a model's graph: that takes the libraries of its kind, and is done in the worker.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from toolchain.core import store
from toolchain.core.errors import ModelError, UsageError
from toolchain.models import catalogue, user_model
from toolchain.models.catalogue import CatalogueEntry
from toolchain.models.specification import Kind, ModelSpec

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
TFLITE_MAGIC = b"TFL3"  # the flatbuffer's file identifier, after the root's offset
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
KINDS = ".onnx, .keras, .h5, .tflite, .pt2, frozen .pb and SavedModel folders"
PICKLED = (".pt", ".pth")


def resolve_model(
    name: str | None = None,
    *,
    model_file: Path | None = None,
    weights: Path | None = None,
    seed: int = 0,
) -> ModelSpec:
    """The model that a command's options mean.

    Args:
        name: a catalogue name; with `model_file`, the name to give that model.
        model_file: a user's own, one of KINDS.
        weights: weights for a catalogue model (.weights.h5, .h5, .keras).
        seed: draws the weights of a catalogue model that has none.

    Raises:
        UsageError: no such model or file, or options that contradict each other.
        ModelError: a file that is visibly not what its name says.
    """
    if model_file is not None:
        if weights is not None:
            raise UsageError(
                "weights can be given for a catalogue model only",
                resolution="save the model with its weights and give that file alone",
            )
        return _own(model_file, name)
    known = catalogue.entries()
    if name is None:
        raise UsageError("no model given", resolution=_known(known))
    if name not in known:
        raise UsageError(f"unknown model: {name}", resolution=_known(known))
    entry = known[name]
    # what others measured is no part of what the model is
    made_from = entry.model_dump(mode="json", exclude={"published_top1", "published_top5"})
    parts: dict[str, object] = {"entry": made_from, "seed": seed}
    if weights is not None:
        weights = _existing(weights)
        if weights.suffix not in (".h5", ".keras"):
            raise UsageError(
                f"{weights.name}: weights are read from .weights.h5, .h5 and .keras files",
                resolution="save them with model.save_weights('NAME.weights.h5')",
            )
        _check_magic(weights)
        parts = {"entry": made_from, "weights": store.digest_file(weights)}
    return ModelSpec(
        name=name,
        kind=entry.source,
        entry=entry,
        weights=weights,
        seed=seed,
        digest=store.digest_of(parts),
    )


def _known(known: dict[str, CatalogueEntry]) -> str:
    return f"known models: {', '.join(sorted(known))}; or give your own with --model-file: {KINDS}"


def _own(path: Path, name: str | None) -> ModelSpec:
    path = _existing(path)
    kind = _kind_of(path)
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
    if kind == "savedmodel":
        digest = store.digest_of(store.digest_tree(path))
    elif kind == "onnx":
        files = [path, *_onnx_weights(path)]
        digest = store.digest_of([store.digest_file(file) for file in files])
    else:
        digest = store.digest_file(path)
    entry = user_model.beside(path)
    if entry is not None:
        digest = store.digest_of([digest, entry.identity()])
    return ModelSpec(name=name, kind=kind, path=path, own=entry, digest=digest)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UsageError(f"no such file: {path}", resolution="check the path")
    return path.resolve()


def _kind_of(path: Path) -> Kind:
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "savedmodel"
        raise ModelError(
            f"{path.name} is a folder without saved_model.pb",
            resolution="give the folder that model.export() or tf.saved_model.save() made",
        )
    kinds: dict[str, Kind] = {
        ".onnx": "onnx",
        ".keras": "keras",
        ".h5": "keras",
        ".tflite": "tflite",
        ".pb": "frozen",
        ".pt2": "pytorch",
    }
    if path.suffix in PICKLED:
        raise UsageError(
            f"{path.name}: PyTorch's pickled files are not read, as that runs code in them",
            resolution="export the network where its code is: torch.export.save("
            "torch.export.export(model, (x,)), 'NAME.pt2'), and give that",
        )
    if path.suffix not in kinds:
        raise UsageError(
            f"{path.name}: unknown kind of model file",
            resolution=f"known kinds: {KINDS}",
        )
    _check_magic(path)
    return kinds[path.suffix]


def _check_magic(path: Path) -> None:
    """Refuse a file that is visibly not what its name says, before TensorFlow is started."""
    try:
        with path.open("rb") as stream:
            head = stream.read(len(HDF5_MAGIC))
    except OSError as error:
        raise UsageError(f"{path}: can't be read", detail=str(error)) from error
    if not head:
        raise ModelError(f"{path.name} is empty", resolution="copy it again")
    wrong = (
        (path.suffix == ".h5" and head != HDF5_MAGIC)
        or (path.suffix in (".keras", ".pt2") and not zipfile.is_zipfile(path))
        or (path.suffix == ".tflite" and head[4:] != TFLITE_MAGIC)
    )
    if wrong:
        raise ModelError(
            f"{path.name} is not a {path.suffix} file, or was cut short",
            detail=f"it begins with the bytes {head.hex(' ')}",
            resolution="copy it again, or save the model again",
        )


def _onnx_weights(path: Path) -> list[Path]:
    """The files that hold an ONNX model's weights beside it, sorted."""
    import onnx
    from onnx.external_data_helper import (
        ExternalDataInfo,
        uses_external_data,
    )

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own, which differs with its implementation
        raise not_onnx(path, str(error)) from error
    names = {
        ExternalDataInfo(tensor).location
        for tensor in model.graph.initializer
        if uses_external_data(tensor)
    }
    files = sorted(path.parent / name for name in names)
    for file in files:
        if not file.is_file():
            raise ModelError(
                f"{path.name}: its weights are in {file.name}, which isn't beside it",
                resolution=f"copy {file.name} into the folder of {path.name}",
            )
    return files


def not_onnx(path: Path, detail: str) -> ModelError:
    """The error for a file that no ONNX model can be read from."""
    return ModelError(
        f"{path.name} is not an ONNX model, or was cut short",
        detail=detail,
        resolution="copy it again, or export the model again; onnx.checker.check_model says more",
    )
