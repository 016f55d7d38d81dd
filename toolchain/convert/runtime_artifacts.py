"""What each runtime makes for itself of a converted model, entered into the model's manifest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from toolchain import runtimes
from toolchain.core.errors import ModelError
from toolchain.models.manifest import ModelManifest, missing_key


def add(
    folder: Path,
    manifest: ModelManifest,
    step: Callable[[str], AbstractContextManager[Callable[[str], None]]],
    source: Path | None = None,
) -> ModelManifest:
    """Have every runtime that makes artifacts make those of a model.

    One that can't take the network leaves why in `missing`, and takes nothing from the others. One
    that reads another kind of file, or can make nothing on this machine, is passed over: what was
    made before stays.

    Args:
        folder: of the converted model.
        manifest: the model's.
        step: shows each runtime's work.
        source: the file that it was converted from; None of a network of the catalogue.

    Returns:
        the manifest as it is now in the folder.
    """
    made = manifest
    for runtime in runtimes.all_runtimes().values():
        if not runtime.makes_artifacts or runtime.unmakeable(made.source.kind):
            continue
        key = missing_key(runtime.name)
        with step(f"make {runtime.label} of {manifest.model}, batch {manifest.batch}") as say:
            try:
                made = runtime.make_of(source, folder, made, say).with_missing(key, "")
            except ModelError as error:
                why = "; ".join(part for part in (error.brief, error.resolution) if part)
                others = {name: of for name, of in made.artifacts.items() if name != runtime.name}
                made = made.model_copy(update={"artifacts": others}).with_missing(key, why)
    if made != manifest:
        made.save(folder)
    return made
