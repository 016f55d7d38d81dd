"""What runtimes share of which an extra makes the network's file, one for every target."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.runtimes import Runtime, Wheels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toolchain.core.confinement import Rights
    from toolchain.core.store import Entry
    from toolchain.models.manifest import ModelManifest
    from toolchain.targets import Target

CHECK = "check.json"


@dataclass(frozen=True, kw_only=True)
class FormRequest:
    """A converted model, to be made what a runtime executes.

    Attributes:
        model: its folder.
        folder: takes the file.
        source: the file that it was converted from, where that is read.
    """

    model: Path
    folder: Path
    source: Path | None = None

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        from toolchain.core.confinement import Rights

        read = (self.model,) if self.source is None else (self.model, self.source)
        return Rights(read=read, write=(self.folder,))


@dataclass(frozen=True, kw_only=True)
class MadeByExtra(Runtime):
    """A runtime with one file of the network as it was trained, which an extra of its name makes.

    Its wheel is built here, by a recipe of that name too.

    Attributes:
        file: what the file is called.
        job: the module whose `make` makes it, of a `FormRequest`, and returns the check of it.
        program: the module that this starts as a program of the extra's.
    """

    file: str
    job: str
    program: str

    def refuse(self, manifest: ModelManifest) -> None:
        """Refuse a network of which nothing can be made, before anything is started.

        Raises:
            ModelError: it is one.
        """

    def made_from(self, manifest: ModelManifest) -> dict[str, object]:
        """What of a model decides the file, beside its samples and outputs."""
        raise NotImplementedError

    def unmade(self) -> str:
        """The extra that makes it."""
        from toolchain.workstation import extras

        one = extras.EXTRAS[self.name]
        if extras.present(one):
            return ""
        return f"the extra that {one.what} is not installed: invoke setup --extra {one.name}"

    def make_of(
        self,
        source: Path | None,
        folder: Path,
        manifest: ModelManifest,
        progress: Callable[[str], None],
    ) -> ModelManifest:
        """Have the extra make the file, or find it, and put it into the folder."""
        from toolchain.core import store
        from toolchain.models.checks import Check
        from toolchain.models.manifest import RuntimeArtifact, record

        self.refuse(manifest)
        entry = self._made(source if self.reads else None, folder, manifest, progress)
        with store.explain_no_space(folder):
            store.write_atomically(folder / self.file, entry.file(self.file).read_bytes())
        check = Check.model_validate_json(entry.file(CHECK).read_bytes())
        artifact = RuntimeArtifact(**record(folder, self.file).model_dump(), check=check)
        return manifest.with_artifact(self.name, artifact)

    def _made(
        self,
        source: Path | None,
        folder: Path,
        manifest: ModelManifest,
        progress: Callable[[str], None],
    ) -> Entry:
        """The entry of the store with the file and how far off it is."""
        from toolchain.core import fingerprint, worker
        from toolchain.core.store import Store
        from toolchain.core.worker import Job
        from toolchain.models.checks import Check
        from toolchain.workstation import extras

        def build(made: Path) -> None:
            request = FormRequest(model=folder, folder=made, source=source)
            check = worker.call(
                Job(f"{self.job}:make", FormRequest, Check),
                request,
                what=f"making {manifest.model} for {self.title}",
                progress=progress,
                rights=request.rights(),
            )
            (made / CHECK).write_text(check.model_dump_json())

        return Store().get_or_build(
            {
                "step": self.name,
                "code": fingerprint.of(self.job, self.program),
                "extra": extras.identity(self.name),
                **self.made_from(manifest),
                "samples": manifest.samples.sha256,
                "outputs": [asdict(tensor) for tensor in manifest.outputs],
            },
            build,
        )

    def unsupported(self, target: Target) -> str:
        """Wherever no wheel is built for."""
        from toolchain.wheels import official

        recipe = importlib.import_module(f"toolchain.wheels.recipes.{self.name}")
        return official.none_for(self.name, target, recipe.MACHINES)

    def wheels(self, target: Target, manifests: Sequence[ModelManifest]) -> Wheels:
        """Ours."""
        del target, manifests
        return Wheels(built=(self.name,))
