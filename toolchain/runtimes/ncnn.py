"""ncnn: a network of its own form, which pnnx makes of the ONNX graph; one serves every target.

A file is a zip archive, nothing in it compressed, of network.param (the graph) and network.bin (the
weights). It is of one sample: pnnx takes the axis of the batch away.
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

FILE = "fp32.ncnn.zip"
PARTS = ("network.param", "network.bin")
# The module that makes it, and the one that runs it, which is started as a program.
MAKE, RUN = "toolchain.convert.pnnx.job", "toolchain.convert.pnnx.inference"
CHECK = "check.json"


@dataclass(frozen=True, kw_only=True)
class FormRequest:
    """A converted model, to be made a network of ncnn.

    Attributes:
        model: its folder.
        folder: takes the file.
    """

    model: Path
    folder: Path

    def rights(self) -> Rights:
        """What the job that does it may reach."""
        from toolchain.core.confinement import Rights

        return Rights(read=(self.model,), write=(self.folder,))


class Ncnn(Runtime):
    """One file of the network as it was trained."""

    def unmade(self) -> str:
        """The extra that makes it."""
        from toolchain.workstation import extras

        one = extras.EXTRAS[self.name]
        if extras.present(one):
            return ""
        return f"the extra that {one.what} is not installed: invoke setup --extra {one.name}"

    def make(
        self, folder: Path, manifest: ModelManifest, progress: Callable[[str], None]
    ) -> ModelManifest:
        """Have pnnx make the file, or find it, and put it into the folder."""
        from toolchain.core import store
        from toolchain.models.checks import Check
        from toolchain.models.manifest import RuntimeArtifact, record

        if manifest.onnx is None:
            raise ModelError("it has no ONNX graph")
        if manifest.batch != 1:
            raise ModelError("it is made for one sample at a time: batch 1 alone")
        entry = self._made(folder, manifest, progress)
        with store.explain_no_space(folder):
            store.write_atomically(folder / FILE, entry.file(FILE).read_bytes())
        check = Check.model_validate_json(entry.file(CHECK).read_bytes())
        artifact = RuntimeArtifact(**record(folder, FILE).model_dump(), check=check)
        return manifest.with_artifact(self.name, artifact)

    def _made(
        self, folder: Path, manifest: ModelManifest, progress: Callable[[str], None]
    ) -> Entry:
        """The entry of the store with the file and how far off it is."""
        from toolchain.core import fingerprint, worker
        from toolchain.core.store import Store
        from toolchain.core.worker import Job
        from toolchain.models.checks import Check
        from toolchain.workstation import extras

        assert manifest.onnx is not None

        def build(made: Path) -> None:
            request = FormRequest(model=folder, folder=made)
            check = worker.call(
                Job(f"{MAKE}:make", FormRequest, Check),
                request,
                what=f"making {manifest.model} for {self.title}",
                progress=progress,
                rights=request.rights(),
            )
            (made / CHECK).write_text(check.model_dump_json())

        return Store().get_or_build(
            {
                "step": self.name,
                "code": fingerprint.of(MAKE, RUN),
                "extra": extras.identity(self.name),
                "graph": manifest.onnx.sha256,
                "samples": manifest.samples.sha256,
                "outputs": [asdict(tensor) for tensor in manifest.outputs],
            },
            build,
        )

    def unsupported(self, target: Target) -> str:
        """Wherever no wheel is built for."""
        from toolchain.wheels import official
        from toolchain.wheels.recipes import ncnn

        return official.none_for(self.name, target, ncnn.MACHINES)

    def wheels(self, target: Target, manifests: Sequence[ModelManifest]) -> Wheels:
        """Ours, with kernels for what a CPU may have."""
        del target, manifests
        return Wheels(built=(self.name,))


RUNTIME = Ncnn(name="ncnn", label="ncnn", title="ncnn", makes_artifacts=True)
