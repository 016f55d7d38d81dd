"""What a release holds: its models, the files that its runtimes execute, labels and metadata."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgewright_device.errors import EdgewrightError, NotDeployedError

Json = dict[str, Any]
PIECE = 1 << 20  # bytes of a file that are in memory while it is hashed
# what model.json leaves out, because it is as usual: toolchain.models.preprocessing and detection
PREPROCESSING: Json = {"crop": 0.875, "fit": "crop", "pad": 114}
DETECTION: Json = {"background": False}
SPECTROGRAM: Json = {"coefficients": None}


@dataclass(frozen=True)
class Form:
    """A file of a model that a runtime executes.

    Attributes:
        runtime: the runtime's name.
        variant: of the network, such as int8.
        opt_level: of a runtime that has such levels.
        path: the file.
        inputs: the network's names, in the order that the file has them.
        outputs: the same of outputs.
    """

    runtime: str
    variant: str
    opt_level: int | None
    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        level = "" if self.opt_level is None else f" O{self.opt_level}"
        return f"{self.runtime} {self.variant}{level}"


@dataclass(frozen=True)
class Wanted:
    """What a program asks for; None takes the first that there is."""

    runtime: str | None = None
    variant: str | None = None
    opt_level: int | None = None

    def allows(self, form: Form) -> bool:
        """Whether a form is that."""
        return (
            self.runtime in (None, form.runtime)
            and self.variant in (None, form.variant)
            and self.opt_level in (None, form.opt_level)
        )


class Release:
    """A release folder.

    Args:
        folder: of the release; a symlink is followed once, so that a later switch changes nothing.

    Raises:
        EdgewrightError: it is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._manifest = _json(self.folder / "manifest.json")
        self.id = str(self._manifest.get("release", ""))

    @property
    def code(self) -> dict[str, str]:
        """What a process loads of it but networks: wheels and the runner; sha256 by path."""
        runner, wheels = f"{self._manifest.get('runner')}/", self._manifest.get("wheels", ())
        return {
            path: digest
            for path, digest in self._digests().items()
            if path in wheels or path.startswith(runner)
        }

    def check_whole(self, path: Path) -> None:
        """Refuse a file of it that is not what was deployed.

        Raises:
            EdgewrightError: it isn't, or can't be read.
        """
        digest = self._digests().get(path.relative_to(self.folder).as_posix())
        found = hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while piece := stream.read(PIECE):
                    found.update(piece)
        except OSError as error:
            raise EdgewrightError(f"{path} can't be read", "deploy again") from error
        if digest != found.hexdigest():
            raise EdgewrightError(f"{path} is damaged", "deploy again")

    def _digests(self) -> dict[str, str]:
        return {one["path"]: one["sha256"] for one in self._manifest.get("files", ())}

    @property
    def models(self) -> list[str]:
        """The names of its models."""
        return sorted({str(model["model"]) for model in self._manifest["models"]})

    def model(self, name: str, batch: int | None) -> Model:
        """A model at a batch size; at its smallest when none is asked for.

        Raises:
            NotDeployedError: there is none.
            EdgewrightError: what is there can't be read.
        """
        sizes = {int(m["batch"]): m for m in self._manifest["models"] if m["model"] == name}
        if not sizes:
            raise NotDeployedError(
                f"there is no model {name} in this release",
                f"it holds {', '.join(self.models) or 'none'}",
            )
        entry = sizes.get(min(sizes) if batch is None else batch)
        if entry is None:
            held = ", ".join(str(size) for size in sorted(sizes))
            raise NotDeployedError(
                f"{name} is not in this release at batch {batch}", f"it is at batch {held}"
            )
        return Model(self.folder, entry, self.id)


class Model:
    """A model of a release.

    Attributes:
        card: its model.json.
        forms: what can be executed, the usual one first.
        described_by: the files that say what it takes and gives: its model.json, and its labels.
        release: the id of its release.
        threads: what its metadata says, else 1.
    """

    def __init__(self, folder: Path, entry: Json, release: str) -> None:
        self.release = release
        self._folder = folder / entry["folder"]
        self.card = _json(folder / entry["card"])
        self.described_by = [folder / entry["card"]]
        if self.card.get("labels") is not None:
            self.described_by.append(self._folder / self.card["labels"]["file"])
        self.name, self.batch = str(entry["model"]), int(entry["batch"])
        self.forms = [
            Form(
                runtime=one["runtime"],
                variant=one["variant"],
                opt_level=one.get("opt_level"),
                path=folder / one["file"],
                inputs=tuple(one["inputs"]),
                outputs=tuple(one["outputs"]),
            )
            for one in entry.get("executables", ())
        ]
        self.metadata: Json = self.card.get("metadata") or {}
        self.threads = int(self.metadata.get("threads") or 1)

    def form(self, wanted: Wanted) -> Form:
        """The first form that a program's wishes allow.

        Raises:
            NotDeployedError: there is none.
        """
        for form in self.forms:
            if wanted.allows(form):
                return form
        asked = [wanted.runtime, wanted.variant]
        asked += [] if wanted.opt_level is None else [f"O{wanted.opt_level}"]
        raise NotDeployedError(
            f"{self.name} is not in this release as {' '.join(filter(None, asked))}",
            f"it is there as {', '.join(map(str, self.forms)) or 'nothing'}",
        )

    def labels(self) -> tuple[str, ...]:
        """The names of its classes, in the order of its outputs; none where nothing says them.

        Raises:
            EdgewrightError: the list is gone.
        """
        listed = self.card.get("labels")
        if listed is None:
            return ()
        path = self._folder / listed["file"]
        try:
            return tuple(path.read_text("utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise EdgewrightError(f"{path} can't be read", "deploy again") from error

    def described(self, key: str, usual: Json) -> Any:
        """A part of its metadata as an object with attributes; None where there is none."""
        said = self.metadata.get(key)
        return None if said is None else SimpleNamespace(**{**usual, **said})


def _json(path: Path) -> Json:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EdgewrightError(f"{path} can't be read", "deploy again") from error
    if not isinstance(content, dict):
        raise EdgewrightError(f"{path} is no object", "deploy again")
    return content
