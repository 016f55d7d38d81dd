"""Which model a command means: what is converted, and the hash of all that it is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolchain import formats
from toolchain.core.errors import UsageError
from toolchain.models.catalogue import CatalogueEntry
from toolchain.models.user_model import OwnEntry


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model that a command means.

    Attributes:
        name: its folder's name below dist/models.
        kind: of its file, as `formats` names it; of a catalogue model, its entry's source.
        entry: its catalogue entry; None for a user's own file.
        path: the user's model file or SavedModel folder; None for a catalogue model.
        own: what the user says of it.
        weights: a file of weights for a catalogue model.
        seed: what its weights are drawn from when there is no file.
        shapes: of inputs, by name, where the user says them; of an only input under an empty one.
        signature: which of the file's functions; empty for its usual one.
        digest: the sha256 of what it is made from.
    """

    name: str
    kind: str
    entry: CatalogueEntry | None = None
    path: Path | None = None
    own: OwnEntry | None = None
    weights: Path | None = None
    seed: int = 0
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    signature: str = ""
    digest: str

    def refuse_unlabelled(self) -> None:
        """Refuse to train a model on that there are no labelled inputs of.

        Raises:
            UsageError: there are none; the error says how to give some.
        """
        if self.entry is not None and self.entry.images == "digits":
            return
        if self.own is not None and self.own.training is not None:
            return
        told = (
            "give a network of yours, with labelled inputs beside it"
            if self.path is None
            else "name labelled inputs (training = 'FILE.npz') in a .toml file beside the model"
        )
        raise UsageError(
            f"{self.name}: there are no labelled inputs to train it on with",
            resolution=f"{told}; docs/how-to/your-model.md says how",
        )

    def files(self) -> list[Path]:
        """All that is read of a user's: the model's own files, and those named beside it."""
        given = [] if self.path is None else formats.all_formats()[self.kind].files(self.path)
        weights = [] if self.weights is None else [self.weights]
        return [*given, *weights, *([] if self.own is None else self.own.files().values())]
