"""What is known of a model before it is converted: the metadata that its manifest carries.

A model of the catalogue says it in its entry, a user's own in the TOML file beside it; what that
leaves out may stand in the model file itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain import runtimes
from toolchain.convert.parity import Outputs
from toolchain.core.errors import ModelError
from toolchain.formats.network import Described, Network
from toolchain.formats.signature import Tensor
from toolchain.models import catalogue
from toolchain.models.detection import Detection
from toolchain.models.manifest import File, record
from toolchain.models.metadata import Metadata, Task
from toolchain.models.preprocessing import Preprocessing
from toolchain.models.specification import ModelSpec
from toolchain.models.user_model import OwnEntry

LABELS_FILE = "labels.txt"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A model that was read.

    Attributes:
        spec: the model.
        inputs: its inputs, with all their sizes.
        described: what its file says; None where it says nothing.
        scores: how many a classifier gives; None of any other network.
    """

    spec: ModelSpec
    inputs: tuple[Tensor, ...]
    described: Described | None = None
    scores: int | None = None

    @classmethod
    def of(
        cls, spec: ModelSpec, network: Network, inputs: tuple[Tensor, ...], outputs: Outputs
    ) -> Known:
        """A network that was read, with its inputs' sizes and what it gave."""
        scores = outputs.tensors[0].shape[1] if outputs.is_classification else None
        return cls(spec=spec, inputs=inputs, described=network.described(), scores=scores)


def title(spec: ModelSpec) -> str:
    """What a network is called where people read it."""
    if spec.entry is not None:
        return spec.entry.title
    return spec.own.title if spec.own is not None and spec.own.title else spec.name


def of_model(known: Known) -> Metadata | None:
    """What is known of a model; None where nothing is.

    Raises:
        ModelError: its preprocessing has other channels than its inputs, or its list of labels
            can't be read.
        UsageError: it names a runtime that there isn't.
    """
    spec, names = known.spec, label_names(known)
    if spec.entry is not None:
        entry = spec.entry
        made = Metadata(
            task=entry.task,
            preprocessing=entry.preprocessing,
            spectrogram=entry.spectrogram,
            detection=entry.detection,
            classes=entry.classes,
        )
    else:
        own = spec.own or OwnEntry()
        if own.runtime is not None:
            runtimes.runtime(own.runtime)
        made = Metadata(
            task=own.task or _task(own.detection, names),
            preprocessing=own.preprocessing or _of_file(known.described),
            detection=own.detection,
            classes=len(names) or None,
            runtime=own.runtime,
            threads=own.threads,
        )
    if made.preprocessing is not None:
        _refuse_other_channels(spec.name, made.preprocessing, known.inputs)
    return made if made != Metadata() else None


def label_names(known: Known) -> tuple[str, ...]:
    """The names of a model's classes, in the order of its outputs; none where they are not known.

    Those in the file itself count where there are as many as scores.

    Raises:
        ModelError: its list of labels can't be read.
    """
    spec = known.spec
    if spec.own is not None and spec.own.labels is not None:
        return listed(spec.own.labels)
    if spec.entry is None:
        names = known.described.labels if known.described else ()
        return names if len(names) == known.scores else ()
    if spec.entry.labels is None or spec.entry.classes is None:
        return ()
    if spec.entry.labels == "digits":
        return tuple(str(number) for number in range(spec.entry.classes))
    return tuple(catalogue.label_list(spec.entry.labels).read_text("utf-8").splitlines())


def listed(path: Path) -> tuple[str, ...]:
    """A user's list of labels, a name a line.

    Raises:
        ModelError: it can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path.name} can't be read",
            detail=str(error),
            resolution="give a name a line, in UTF-8",
        ) from error
    return tuple(line.strip() for line in text.strip().splitlines())


def _of_file(described: Described | None) -> Preprocessing | None:
    """How an image is prepared by what a model file says: all of it, resized, then normalised."""
    if described is None or not described.mean:
        return None
    return Preprocessing(scale=1.0, mean=described.mean, std=described.std, fit="stretch")


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


def write_labels(known: Known, folder: Path) -> File | None:
    """Write the names of a model's classes into its folder, a line each, where they are known.

    Raises:
        ModelError: its list of labels can't be read.
    """
    names = label_names(known)
    if not names:
        return None
    (folder / LABELS_FILE).write_text("".join(f"{name}\n" for name in names), "utf-8")
    return record(folder, LABELS_FILE)
