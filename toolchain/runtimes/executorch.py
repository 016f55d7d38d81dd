"""ExecuTorch: a program that its compiler makes of a user's .pt2 file; one serves every target.

The operators that XNNPACK has are its, and the rest run by ExecuTorch's own kernels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.core.errors import ModelError
from toolchain.runtimes import Runtime, Wheels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toolchain.core.confinement import Rights
    from toolchain.core.store import Entry
    from toolchain.models.manifest import ModelManifest
    from toolchain.targets import Target

FILE = "fp32.pte"
# The module that makes it, and the one that is started as a program.
MAKE, LOWERING = "toolchain.convert.executorch.job", "toolchain.convert.executorch.lowering"
CHECK = "check.json"


@dataclass(frozen=True, kw_only=True)
class ProgramRequest:
    """A converted model, to be made a program of ExecuTorch.

    Attributes:
        source: the .pt2 file that it was converted from.
        model: its folder.
        folder: takes the file.
    """

    source: Path
    model: Path
    folder: Path

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        from toolchain.core.confinement import Rights

        return Rights(read=(self.source, self.model), write=(self.folder,))


class ExecuTorch(Runtime):
    """One file of the network as it was trained."""

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
        """Have ExecuTorch make the file, or find it, and put it into the folder."""
        from toolchain.core import store
        from toolchain.models.checks import Check
        from toolchain.models.manifest import RuntimeArtifact, record

        if why := self.unread(manifest.source.kind):
            raise ModelError(why)
        assert source is not None  # a file of that kind is no network of the catalogue
        entry = self._made(source, folder, manifest, progress)
        with store.explain_no_space(folder):
            store.write_atomically(folder / FILE, entry.file(FILE).read_bytes())
        check = Check.model_validate_json(entry.file(CHECK).read_bytes())
        artifact = RuntimeArtifact(**record(folder, FILE).model_dump(), check=check)
        return manifest.with_artifact(self.name, artifact)

    def _made(
        self,
        source: Path,
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
            request = ProgramRequest(source=source, model=folder, folder=made)
            check = worker.call(
                Job(f"{MAKE}:make", ProgramRequest, Check),
                request,
                what=f"making {manifest.model} for {self.title}",
                progress=progress,
                rights=request.rights(),
            )
            (made / CHECK).write_text(check.model_dump_json())

        return Store().get_or_build(
            {
                "step": self.name,
                "code": fingerprint.of(MAKE, LOWERING),
                "extra": extras.identity(self.name),
                "source": manifest.source.weights,
                "samples": manifest.samples.sha256,
                "inputs": [asdict(tensor) for tensor in manifest.inputs],
                "outputs": [asdict(tensor) for tensor in manifest.outputs],
            },
            build,
        )

    def unsupported(self, target: Target) -> str:
        """Wherever its project publishes no libraries."""
        from toolchain.wheels import official
        from toolchain.wheels.recipes import executorch

        return official.none_for(self.name, target, executorch.MACHINES)

    def wheels(self, target: Target, manifests: Sequence[ModelManifest]) -> Wheels:
        """Ours, of its project's libraries, which needs no PyTorch."""
        del target, manifests
        return Wheels(built=(self.name,))


RUNTIME = ExecuTorch(
    name="executorch",
    label="ExecuTorch",
    title="ExecuTorch",
    makes_artifacts=True,
    reads="pytorch",
)
