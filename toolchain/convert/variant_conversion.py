"""One more variant of a converted model: the plan and the cache; `variant_job` does the work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolchain.convert import conversion
from toolchain.convert.requests import MAKE_VARIANT, Part, VariantRequest
from toolchain.core import store, worker
from toolchain.core.errors import UsageError
from toolchain.core.worker import Progress
from toolchain.models.manifest import VARIANT_FILE, ModelManifest, VariantPart
from toolchain.models.specification import ModelSpec
from toolchain.models.variants import OF_GRAPHS, PLAIN, VARIANTS


def add(
    spec: ModelSpec,
    batch: int,
    variant: str,
    folder: Path,
    *,
    progress: Progress = worker.silent,
    cache: store.Store | None = None,
) -> ModelManifest:
    """Make a variant of a model and put it into its folder beside the plain form.

    Does nothing but check hashes when it was done before with the same input and tools.

    Args:
        spec: the model, as it was given to `convert`.
        batch: the batch of the folder.
        variant: one of `variants.VARIANTS`.
        folder: what `convert` filled.
        progress: called with each step.
        cache: the store; this machine's when not given.

    Raises:
        UsageError: this model has no such variant.
        ModelError: it can't be made; nothing is written.
    """
    present = ModelManifest.load(folder)
    if variant == PLAIN:
        return present
    refuse_unmakeable(spec, variant)
    where = store.Store() if cache is None else cache
    inputs = identity(spec, batch, variant, present)

    def build(made: Path) -> None:
        with conversion.weights(where, spec) as part, _tuned(where, spec, batch, variant) as tuned:
            request = VariantRequest(
                spec=spec,
                batch=batch,
                variant=variant,
                samples=folder / present.samples.file,
                outputs=tuple(present.outputs),
                state=present.state,
                weights=part,
                tuned=tuned,
                folder=made,
            )
            what, rights = f"converting {spec.name} to {variant}", request.rights()
            worker.call(MAKE_VARIANT, request, what=what, progress=progress, rights=rights)

    return _publish(where, where.get_or_build(inputs, build), variant, folder)


def refuse_unmakeable(spec: ModelSpec, variant: str) -> None:
    """Refuse a variant that a model can't have, whatever is in it.

    Raises:
        UsageError: its kind of file has no such variant, or there is nothing to train it on with.
    """
    if variant == PLAIN:
        return
    kind = conversion.format_of(spec)
    if not kind.has_variants and not (kind.rounded_as_onnx and variant in OF_GRAPHS):
        named = (
            f"variants other than {', '.join(OF_GRAPHS)}" if kind.rounded_as_onnx else "variants"
        )
        raise UsageError(
            f"{spec.name}: {named} are made of TensorFlow's models, not of a {kind.title} file",
            resolution="give the model as a .keras file or SavedModel folder",
        )
    if not VARIANTS[variant].tuned:
        return
    if not kind.has_layers:
        raise UsageError(
            f"{spec.name}: a network can't be trained on from {kind.title}",
            resolution="give the model as a .keras file",
        )
    spec.refuse_unlabelled()


def makeable(spec: ModelSpec, forms: Sequence[str], left_out: list[str]) -> list[str]:
    """Those of some variants that a model can have.

    Args:
        spec: the model.
        forms: the variants.
        left_out: takes a line for each reason why it can't have others.
    """
    reasons: dict[str, str] = {}
    for form in forms:
        try:
            refuse_unmakeable(spec, form)
        except UsageError as error:
            reasons[form] = error.brief
    for why in dict.fromkeys(reasons.values()):
        those = ", ".join(form for form, of in reasons.items() if of == why)
        left_out.append(f"{those} left out: {why}")
    return [form for form in forms if form not in reasons]


def identity(
    spec: ModelSpec, batch: int, variant: str, present: ModelManifest
) -> dict[str, object]:
    """All that decides a variant of a converted model; its key in the store is the hash of it."""
    return {
        **conversion.identity(spec, batch, MAKE_VARIANT.module),
        "step": "variant",
        "variant": variant,
        "samples": present.samples.sha256,
    }


@contextlib.contextmanager
def _tuned(where: store.Store, spec: ModelSpec, batch: int, variant: str) -> Iterator[Part]:
    """Where the weights of a variant that is trained on are, or are put within the block."""
    if not VARIANTS[variant].tuned:
        yield Part()
        return
    made_from = {
        **conversion.identity(spec, batch, MAKE_VARIANT.module),
        "step": f"tuned {variant}",
        "batch": None,
    }
    with conversion.made_once(where, made_from) as part:
        yield part


def _publish(where: store.Store, entry: store.Entry, variant: str, folder: Path) -> ModelManifest:
    """Copy the files beside the model, then name them in the manifest."""
    part = VariantPart.model_validate_json(entry.file(VARIANT_FILE).read_bytes())
    with where.locked(store.digest_of(["manifest", str(folder.resolve())])):
        conversion.copy_files(entry, folder, but=VARIANT_FILE)
        present = ModelManifest.load(folder)
        updated = present.with_variant(variant, part)
        if updated != present:
            updated.save(folder)
            conversion.remove_stale(folder, updated)
    return updated
