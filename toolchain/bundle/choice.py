"""Which of what was made of a model a bundle takes: forms, levels, and how many samples."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolchain import runtimes
from toolchain.core.errors import UsageError
from toolchain.core.store import Store, digest_of
from toolchain.models import manifest as model_manifest
from toolchain.models.manifest import Library, ModelManifest
from toolchain.models.samples_file import INPUT, OUTPUT
from toolchain.targets import Target

ALL = "all"  # as a runtime: every one that takes a model


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which forms go along; what is empty takes all there is, but for runtimes.

    Attributes:
        runtimes: their names, or `all`, but for those whose wheel isn't built. When empty those of
            conversion and compilation, and of those that bring large wheels of their own one, where
            none of the others takes a model.
        variants: their names.
        opt_levels: of compiled libraries; a runtime that has no levels is left alone.
    """

    runtimes: Sequence[str] = ()
    variants: Sequence[str] = ()
    opt_levels: Sequence[int] = ()


def _silent(_line: str) -> None:
    """What is said to a caller that wants no lines."""


def narrowed(
    manifests: Sequence[ModelManifest],
    target: Target,
    choice: Choice,
    say: Callable[[str], None] = _silent,
) -> list[ModelManifest]:
    """The manifests without what is not chosen.

    Args:
        manifests: of the models to send.
        target: the devices'.
        choice: of all of them.
        say: takes a line for each runtime that `all` leaves out, with how to have it.

    Raises:
        UsageError: something chosen was not made of any model, or nothing is left of one.
    """
    refuse_unsupported(choice.runtimes, target)
    made = [artifact for m in manifests for _, artifact in runtimes.executed(m, target)]
    _refuse_unknown("variant", choice.variants, {a.variant for a in made})
    levels = {a.opt_level for a in made if a.opt_level is not None}
    _refuse_unknown("opt level", choice.opt_levels, levels)
    without = _unbuilt(manifests, target, choice)
    for name, how in without.items():
        say(f"{name} is left out, as its wheel is not built: {how}")
    kept = [
        _narrowed(
            manifest, target, replace(choice, runtimes=_sent(manifest, target, choice, without))
        )
        for manifest in manifests
    ]
    for before, manifest in zip(manifests, kept, strict=True):
        if not runtimes.executed(manifest, target):
            raise UsageError(
                f"{manifest.model}, batch {manifest.batch}: nothing is left of it by this choice",
                detail="\n".join(_reasons(before, choice.runtimes)),
                resolution="choose a runtime and a variant that it has, or leave it out by --model",
            )
    return kept


def _reasons(manifest: ModelManifest, asked: Sequence[str]) -> list[str]:
    """Why a model lacks forms: those not made, and those that can't be made on this machine."""
    kind = manifest.source.kind
    reasons = {name: runtimes.runtime(name).unmakeable(kind) for name in asked if name != ALL}
    reasons |= manifest.missing
    return [f"{form}: {why}" for form, why in reasons.items() if why]


def refuse_unsupported(names: Sequence[str], target: Target) -> None:
    """Refuse runtimes that were asked for and can't run on a target.

    Raises:
        UsageError: there is none of a name, or it has nothing for the target.
    """
    for name in (one for one in names if one != ALL):
        if why := runtimes.runtime(name).unsupported(target):
            raise UsageError(why, resolution="leave it out of --runtime")


def _unbuilt(manifests: Sequence[ModelManifest], target: Target, choice: Choice) -> dict[str, str]:
    """What `all` leaves out, though a model has a form for it: runtimes whose wheel isn't built.

    Such a wheel is built when it is named; a runtime that is named itself is not left out.

    Returns:
        how to build it, by the runtime's name.
    """
    from toolchain.wheels import build  # it imports what builds

    if ALL not in choice.runtimes:
        return {}
    taking = {one.name: one for m in manifests for one, _ in runtimes.executed(m, target)}
    store, found = Store(), {}
    for name, one in taking.items():
        if not one.makes_artifacts or name in choice.runtimes:
            continue
        recipes = one.wheels(target, []).built
        if lacking := [
            r for r in recipes if store.entry(digest_of(build.inputs(r, target))) is None
        ]:
            named = ",".join(lacking)
            found[name] = f"invoke build-wheels --target {target.name} --only {named}"
    return found


def _sent(
    manifest: ModelManifest, target: Target, choice: Choice, without: Container[str]
) -> list[str]:
    """The names of the runtimes that a model is sent for."""
    taking = dict.fromkeys(runtime for runtime, _ in runtimes.executed(manifest, target))
    if choice.runtimes:
        wanted = [one.name for one in taking if {one.name, ALL} & {*choice.runtimes}]
        return [name for name in wanted if name not in without]
    bare = runtimes.Wheels()
    large = [r.name for r in taking if r.makes_artifacts and r.wheels(target, []) != bare]
    return [one.name for one in taking if one.name not in large] or large[:1]


def _refuse_unknown(what: str, wanted: Sequence[object], known: set[Any]) -> None:
    there = ", ".join(map(str, sorted(known)))
    if unknown := [one for one in wanted if one not in known]:
        raise UsageError(
            f"no model has {what} {unknown[0]} here",
            resolution=f"there is: {there or 'none'}; `invoke compile` makes more",
        )


def _narrowed(manifest: ModelManifest, target: Target, choice: Choice) -> ModelManifest:
    def wanted(runtime: str, variant: str, level: int | None = None) -> bool:
        return (
            runtime in choice.runtimes
            and (not choice.variants or variant in choice.variants)
            and (not choice.opt_levels or level is None or level in choice.opt_levels)
        )

    # a user's runtime may execute these files as they are
    known = runtimes.all_runtimes()
    as_converted = [n for n in choice.runtimes if n != "tvm" and not known[n].makes_artifacts]
    variants = choice.variants
    libraries = {
        name: one
        for name, one in manifest.libraries.get(target.name, {}).items()
        if wanted("tvm", one.variant, one.opt_level)
    }
    artifacts = {
        runtime: [one for one in of if wanted(runtime, one.variant, one.opt_level)]
        for runtime, of in manifest.artifacts.items()
    }
    tflite = manifest.tflite.items() if as_converted else ()
    references = manifest.references.items()
    return manifest.model_copy(
        update={
            "tflite": {v: one for v, one in tflite if not variants or v in variants},
            "references": {v: one for v, one in references if not variants or v in variants},
            "libraries": {target.name: libraries} if libraries else {},
            "artifacts": {runtime: of for runtime, of in artifacts.items() if of},
        }
    )


def with_fewer_samples(manifest: ModelManifest, folder: Path, inferences: int) -> ModelManifest:
    """Shorten a bundled model's samples and references, in their folder.

    Args:
        manifest: the model's; its files are in the folder.
        folder: the model's in the bundle.
        inferences: how many are kept, and those that their last sequence lacks; 0 keeps all.

    Returns:
        the manifest with the files as they are then.
    """
    steps = manifest.state.steps if manifest.state else 1
    kept = -(-inferences // steps) * steps
    samples = manifest.samples
    if not kept or kept * manifest.batch >= samples.count:
        return manifest
    own = [one.kernels for of in manifest.libraries.values() for one in of.values() if one.kernels]
    for name in {file.file for file in (samples, *manifest.references.values(), *own)}:
        _shorten(folder / name, kept, manifest.batch)
    record = model_manifest.record

    def shortened(library: Library) -> Library:
        if library.kernels is None:
            return library
        return library.model_copy(update={"kernels": record(folder, library.kernels.file)})

    libraries = {
        target: {name: shortened(one) for name, one in of.items()}
        for target, of in manifest.libraries.items()
    }
    fewer = {**record(folder, samples.file).model_dump(), "count": kept * manifest.batch}
    references = {name: record(folder, f.file) for name, f in manifest.references.items()}
    return manifest.model_copy(
        update={
            "samples": samples.model_copy(update=fewer),
            "references": references,
            "libraries": libraries,
        }
    )


def _shorten(path: Path, inferences: int, batch: int) -> None:
    """Keep an array's first inferences; those of schema 1, and labels, are counted by samples."""
    if path.suffix == ".npy":
        np.save(path, np.load(path, allow_pickle=False)[: inferences * batch], allow_pickle=False)
        return
    with np.load(path, allow_pickle=False) as arrays:
        kept = {
            key: arrays[key][: inferences * (1 if key.startswith((INPUT, OUTPUT)) else batch)]
            for key in arrays
        }
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **kept)
