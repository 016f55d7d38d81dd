"""A root of packages + a Dockerfile -> an image: the steps that decide an image's bytes.

When they are run, and where the image is kept, is decided in `build`. What the engine runs is the
Dockerfile; that it runs it faithfully is taken for granted, so its module is named here for types
alone, and a change of it makes no other image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.images import normalise

if TYPE_CHECKING:
    from toolchain.images.engine import Engine
    from toolchain.images.specification import ImageSpec


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """What an image is, wherever it is built.

    Attributes:
        id: sha256:… of its configuration.
        layers: sha256:… of each layer's tar.
    """

    id: str
    layers: tuple[str, ...]


def assemble(
    spec: ImageSpec,
    root: Path,
    engine: Engine,
    scratch: Path,
    *,
    tag: str,
    epoch: int,
    progress: Callable[[str], None],
) -> Sealed:
    """Run an image's Dockerfile on the root of its packages, and seal what comes out.

    Args:
        spec: the image.
        root: a tar of the packages' root.
        engine: runs the Dockerfile; it has the image afterwards.
        scratch: an empty folder for archives of the image.
        tag: how the engine names it.
        epoch: SOURCE_DATE_EPOCH, seconds; no file is younger.
        progress: called with each step.

    Raises:
        BuildError: a step failed.
        EngineError: the engine refused or went away.
    """
    base = normalise.Layer.of(root)
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    progress("loading the packages' root")
    root_tag = f"edgewright/root-{spec.name}:{base.diff_id[:12]}"
    archive = scratch / "root-image.tar"
    normalise.write_archive(archive, [base], config, spec.arches[0], epoch, root_tag)
    engine.load_image(archive)
    archive.unlink()
    draft = f"edgewright/draft-{spec.name}:{base.diff_id[:12]}"
    try:
        progress("running the Dockerfile")
        engine.build_image(spec.context, tag=draft, arguments={"ROOT": root_tag}, on_line=progress)
        inspected = engine.image_config(draft)
        layers = [base]
        if len(layers_of(inspected)) > 1:
            saved = scratch / "draft.tar"
            engine.save_image(draft, saved)
            layers += normalise.added_layers(saved, scratch, epoch)
            saved.unlink()
        progress("sealing")
        image_id = normalise.write_archive(
            archive, layers, inspected["Config"], spec.arches[0], epoch, tag
        )
        engine.load_image(archive)
    finally:
        engine.remove_image(draft)
        engine.remove_image(root_tag)
    return Sealed(id=image_id, layers=tuple(f"sha256:{x.diff_id}" for x in layers))


def layers_of(inspected: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers of an image as the engine describes it: sha256:… of each."""
    return tuple(inspected["RootFS"]["Layers"])
