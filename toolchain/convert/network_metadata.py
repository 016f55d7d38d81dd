"""What is known of a model before it is converted: the metadata that its manifest carries."""

from __future__ import annotations

from pathlib import Path

from toolchain import runtimes
from toolchain.core.errors import ModelError
from toolchain.formats.signature import Tensor
from toolchain.models import catalogue
from toolchain.models.detection import Detection
from toolchain.models.manifest import File, record
from toolchain.models.metadata import Metadata, Task
from toolchain.models.preprocessing import Preprocessing
from toolchain.models.specification import ModelSpec

LABELS_FILE = "labels.txt"


def of_model(spec: ModelSpec, inputs: tuple[Tensor, ...]) -> Metadata | None:
    """What is known of a model; None where nothing is.

    Args:
        spec: the model.
        inputs: its inputs, with all their sizes.

    Raises:
        ModelError: its preprocessing has other channels than its inputs.
        UsageError: it names a runtime that there isn't.
    """
    names = label_names(spec)
    if spec.entry is not None:
        entry = spec.entry
        known = Metadata(
            task=entry.task,
            preprocessing=entry.preprocessing,
            spectrogram=entry.spectrogram,
            detection=entry.detection,
            classes=entry.classes,
        )
    elif spec.own is not None:
        own = spec.own
        if own.runtime is not None:
            runtimes.runtime(own.runtime)
        known = Metadata(
            task=own.task or _task(own.detection, names),
            preprocessing=own.preprocessing,
            detection=own.detection,
            classes=len(names) or None,
            runtime=own.runtime,
            threads=own.threads,
        )
    else:
        return None
    if known.preprocessing is not None:
        _refuse_other_channels(spec.name, known.preprocessing, inputs)
    return known if known != Metadata() else None


def label_names(spec: ModelSpec) -> tuple[str, ...]:
    """The names of a model's classes, in the order of its outputs; none where they are not known.

    Raises:
        ModelError: its list of labels can't be read.
    """
    if spec.own is not None and spec.own.labels is not None:
        try:
            text = spec.own.labels.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(
                f"{spec.own.labels.name} can't be read",
                detail=str(error),
                resolution="give a name a line, in UTF-8",
            ) from error
        return tuple(line.strip() for line in text.strip().splitlines())
    if spec.entry is None or spec.entry.labels is None or spec.entry.classes is None:
        return ()
    if spec.entry.labels == "digits":
        return tuple(str(number) for number in range(spec.entry.classes))
    return tuple(catalogue.label_list(spec.entry.labels).read_text("utf-8").splitlines())


def _task(detection: Detection | None, names: tuple[str, ...]) -> Task | None:
    """What a user's network does, as far as its TOML tells."""
    if detection is not None:
        return "detection"
    return "classification" if names else None


def _refuse_other_channels(name: str, how: Preprocessing, inputs: tuple[Tensor, ...]) -> None:
    channels = {
        size for one in inputs if len(one.shape) == 4 for size in one.shape[1:] if size in (1, 3)
    }
    for what, numbers in (("mean", how.mean), ("std", how.std)):
        if channels and len(numbers) not in {1, *channels}:
            raise ModelError(
                f"{name}: [preprocessing] has {len(numbers)} numbers in {what}",
                detail="\n".join(f"{one.name}: {one.dtype} {one.shape}" for one in inputs),
                resolution=f"give {what} one number, or one for each channel of the input",
            )


def write_labels(spec: ModelSpec, folder: Path) -> File | None:
    """Write the names of a model's classes into its folder, a line each, where they are known.

    Raises:
        ModelError: its list of labels can't be read.
    """
    names = label_names(spec)
    if not names:
        return None
    (folder / LABELS_FILE).write_text("".join(f"{name}\n" for name in names), "utf-8")
    return record(folder, LABELS_FILE)
