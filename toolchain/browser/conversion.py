"""A network of TensorFlow.js, made once, in dist/models/<model>/tfjs/b<batch>/<form>-<weights>."""

from __future__ import annotations

from pathlib import Path

from toolchain.convert import conversion
from toolchain.convert.requests import ConversionRequest
from toolchain.convert.tfjs import job, request
from toolchain.convert.tfjs.request import MAKE, TfjsRequest
from toolchain.core import fingerprint, worker
from toolchain.core.errors import UsageError
from toolchain.core.store import Entry, Store
from toolchain.core.worker import Progress
from toolchain.models import place
from toolchain.models.specification import ModelSpec
from toolchain.workstation import extras


def make(
    spec: ModelSpec, batch: int, form: str, weights: str, progress: Progress = worker.silent
) -> tuple[Path, Path]:
    """Convert a model to TensorFlow.js; converts it for devices first, whose samples are used.

    Args:
        spec: the model.
        batch: that it is fixed at.
        form: one of `request.FORMS`.
        weights: one of `request.WEIGHTS`.
        progress: called with each step.

    Returns:
        its folder, and that of the converted model.

    Raises:
        UsageError: no such form, no such weights or no such batch.
        ModelError: it can't be converted.
    """
    for option, given, known in (
        ("form", form, request.FORMS),
        ("quantize", weights, request.WEIGHTS),
    ):
        if given not in known:
            raise UsageError(
                f"--{option} {given} can't be used", resolution=f"give one of: {', '.join(known)}"
            )
    extras.python(job.EXTRA)  # refuses before the work where it isn't installed
    manifest = conversion.convert(spec, batch, progress=progress)
    converted = place.folder_of(spec.name, manifest.batch)
    entry = _made(spec, batch, form, weights, converted, progress)
    folder = place.root_folder() / spec.name / "tfjs" / f"b{manifest.batch}" / f"{form}-{weights}"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in entry.files:
            path.unlink()
    conversion.copy_files(entry, folder, but="")
    return folder, converted


def _made(
    spec: ModelSpec, batch: int, form: str, weights: str, converted: Path, progress: Progress
) -> Entry:
    """The entry of the store with the network."""
    where = Store()
    made_from = {
        **conversion.identity(spec, batch),
        "step": "tfjs",
        "code": fingerprint.of(MAKE.module, "toolchain.convert.tfjs.writing"),
        "extra": extras.identity(job.EXTRA),
        "form": form,
        "weights": weights,
    }

    def build(made: Path) -> None:
        with conversion.weights(where, spec) as part:
            asked = TfjsRequest(
                network=ConversionRequest(spec=spec, batch=batch, weights=part, folder=converted),
                form=form,
                weights=weights,
                folder=made,
            )
            worker.call(
                MAKE,
                asked,
                what=f"making {spec.name} for TensorFlow.js",
                progress=progress,
                rights=asked.rights(),
            )

    return where.get_or_build(made_from, build)
