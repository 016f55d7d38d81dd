"""Which converted models a bundle for a target can take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolchain import runtimes
from toolchain.bundle.choice import ALL, refuse_unsupported
from toolchain.core.errors import ModelError, UsageError
from toolchain.models import place
from toolchain.models.manifest import FILE, GRAPH, LIBRARY, ModelManifest, missing_key
from toolchain.targets import Target


def chosen(
    target: Target, names: Sequence[str], executed_by: Sequence[str] = ()
) -> list[ModelManifest]:
    """The manifests of the project's models for which something was made for a target.

    Args:
        target: the devices'.
        names: of models, each at all its batches; every model when empty.
        executed_by: names of runtimes; a model that one of these takes as it was converted need not
            be compiled.

    Raises:
        UsageError: nothing was made for the target of a model that is named, or a runtime can't run
            there.
        ModelError: a manifest can't be used.
    """
    refuse_unsupported(executed_by, target)
    manifests = [
        _loaded(folder)
        for folder in place.all_folders()
        if not names or folder.parent.name in names
    ]
    made = [m for m in manifests if _is_made_for(target, m) or _is_taken(target, m, executed_by)]
    missing = set(names) - {manifest.model for manifest in made}
    if missing:
        name = min(missing)
        _refuse_untaken(name, [m for m in manifests if m.model == name], executed_by)
        raise UsageError(
            f"model {name} is not compiled for {target.name}",
            resolution=f"run: invoke compile --model {name} --target {target.name}",
        )
    return made


def _loaded(folder: Path) -> ModelManifest:
    """A folder's manifest, which is that of this model: its files are looked for by its name."""
    manifest = ModelManifest.load(folder)
    if place.folder_of(manifest.model, manifest.batch, folder.parents[1]) != folder:
        raise ModelError(
            f"{folder / FILE} says that it is of {manifest.model}, batch {manifest.batch}",
            resolution=f"remove {folder} and run `invoke convert` again",
        )
    return manifest


def _is_made_for(target: Target, manifest: ModelManifest) -> bool:
    """Whether something was made for a target, or nothing can be and others take the network.

    What runs by wheels of its own doesn't count: it is sent when its runtime is named.
    """
    executed = runtimes.executed(manifest, target)
    converted = [*manifest.onnx_graphs.values(), *manifest.tflite.values()]
    by_conversion = {file.file for file in converted}
    if any(
        artifact.target == target.name
        or (
            runtime.makes_artifacts
            and artifact.file.file not in by_conversion
            and runtime.wheels(target, []) == runtimes.Wheels()
        )
        for runtime, artifact in executed
    ):
        return True
    return bool(executed) and bool({GRAPH, LIBRARY} & manifest.missing.keys())


def _refuse_untaken(
    name: str, manifests: Sequence[ModelManifest], executed_by: Sequence[str]
) -> None:
    """Refuse a converted model that none of the runtimes asked for takes, whatever is compiled."""
    if not manifests or not executed_by or ALL in executed_by:
        return
    asked = [runtimes.runtime(by) for by in executed_by]
    keys = {LIBRARY if one.has_opt_levels else one.name: one for one in asked}
    reasons = {
        f"{key}: {why}"
        for manifest in manifests
        for key, one in sorted(keys.items())
        if (why := manifest.missing.get(missing_key(key)) or one.unmakeable(manifest.source.kind))
    }
    if len(reasons) >= len(keys):
        raise UsageError(
            f"model {name} has no form that runs under {', '.join(executed_by)}",
            detail="\n".join(sorted(reasons)),
            resolution="name another runtime: --runtime all sends what there is",
        )


def _is_taken(target: Target, manifest: ModelManifest, by: Sequence[str]) -> bool:
    """Whether one of these runtimes executes a model as conversion left it."""
    return any(
        runtime.name in by or ALL in by for runtime, _ in runtimes.executed(manifest, target)
    )
