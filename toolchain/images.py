"""docker/NAME + lock -> an image with the same id everywhere.

Three steps: the locked packages become a root (`rootfs`), loaded as an image of one layer; the
engine runs the folder's Dockerfile on it with no network; what the Dockerfile added is put into
a form that holds no time and no order of the engine's (`seal`), so that the image's id is the
hash of its content and the same on every engine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from toolchain import lock, rootfs, seal
from toolchain.engine import Engine
from toolchain.imagespec import ImageSpec
from toolchain.sources import Progress, fetch_all
from toolchain.store import Store, digest_file, digest_of, digest_tree

EPOCH = 1_700_000_000
KINDS = ("cross", "device")
RECORD = "image.json"


@dataclass(frozen=True, kw_only=True)
class Image:
    """A built image.

    Attributes:
        name: such as cross-riscv64.
        tag: how the engine names it.
        id: sha256:… of its configuration.
        built: whether anything was built now.
    """

    name: str
    tag: str
    id: str
    built: bool


def key_of(spec: ImageSpec) -> str:
    """The hash of all that makes the image: packages, Dockerfile's folder, the recipe."""
    return digest_of(_inputs(spec))


def known_id(spec: ImageSpec, store: Store) -> str | None:
    """The id the image has or will have, when it was built once with this cache."""
    entry = store.entry(key_of(spec))
    return None if entry is None else _recorded_id(entry.folder)


def build(
    spec: ImageSpec,
    engine: Engine,
    store: Store,
    *,
    progress: Callable[[str], None],
    fetched: Progress | None = None,
) -> Image:
    """Build an image, or find that it is there.

    Raises:
        LockError: a package's file can't be had or doesn't match.
        BuildError: a step failed.
        EngineError: the engine refused or went away.
    """
    key = key_of(spec)
    tag = f"edgewright/{spec.name}:{key[:12]}"
    with store.locked(f"image-{key}"):
        image_id = known_id(spec, store)
        if image_id is not None and engine.image_id(image_id) == image_id:
            engine.tag(image_id, tag)
            return Image(name=spec.name, tag=tag, id=image_id, built=False)
        root = _root(spec, store, progress, fetched)
        image_id = _image(spec, root, engine, store, tag, progress)
        if known_id(spec, store) is None:
            with store.building(key, _inputs(spec)) as folder:
                (folder / RECORD).write_text(json.dumps({"id": image_id}))
    return Image(name=spec.name, tag=tag, id=image_id, built=True)


def build_all(
    specs: Sequence[ImageSpec],
    engine: Engine,
    store: Store,
    *,
    progress: Callable[[str], None],
    fetched: Progress | None = None,
) -> list[Image]:
    """Build several images at once: installing packages keeps one core busy each.

    Args and errors are as for `build`; `progress` is called with the image's name first. When one
    fails, the others are finished before its error is raised.
    """

    def one(spec: ImageSpec) -> Image:
        def say(line: str) -> None:
            progress(f"{spec.name}: {line}")

        return build(spec, engine, store, progress=say, fetched=fetched)

    with ThreadPoolExecutor(max_workers=max(1, len(specs))) as pool:
        return list(pool.map(one, specs))


def _inputs(spec: ImageSpec) -> dict[str, object]:
    return {
        "kind": "image",
        "root": _root_inputs(spec),
        "context": digest_tree(spec.folder),
        "recipe": seal.FORMAT,
    }


def _root_inputs(spec: ImageSpec) -> dict[str, object]:
    locked = lock.image(spec.name)
    return {
        "kind": "root",
        "arches": locked.arches,
        "include": locked.include,
        "packages": [p.sha256 for p in locked.packages],
        "epoch": EPOCH,
        "recipe": digest_file(Path(rootfs.__file__)),
    }


def _root(
    spec: ImageSpec, store: Store, progress: Callable[[str], None], fetched: Progress | None
) -> Path:
    inputs = _root_inputs(spec)
    key = digest_of(inputs)
    entry = store.entry(key)
    if entry is None:
        locked = lock.image(spec.name)
        fetch_all([p.pinned() for p in locked.packages], store, fetched)
        with store.building(key, inputs) as folder:
            rootfs.build(spec, locked, store, folder / "root.tar", epoch=EPOCH, progress=progress)
        entry = store.entry(key)
        assert entry is not None
    return entry.file("root.tar")


def _image(
    spec: ImageSpec,
    root: Path,
    engine: Engine,
    store: Store,
    tag: str,
    progress: Callable[[str], None],
) -> str:
    base = seal.Layer.of(root)
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    with store.scratch() as scratch:
        progress("loading the packages' root")
        root_tag = f"edgewright/root-{spec.name}:{base.diff_id[:12]}"
        archive = scratch / "root-image.tar"
        seal.write_archive(archive, [base], config, spec.arches[0], EPOCH, root_tag)
        engine.load_image(archive)
        archive.unlink()
        draft = f"edgewright/draft-{spec.name}:{base.diff_id[:12]}"
        try:
            progress("running the Dockerfile")
            engine.build_image(
                spec.folder, tag=draft, arguments={"ROOT": root_tag}, on_line=progress
            )
            inspected = engine.image_config(draft)
            layers = [base]
            if len(inspected["RootFS"]["Layers"]) > 1:
                saved = scratch / "draft.tar"
                engine.save_image(draft, saved)
                layers += seal.added_layers(saved, scratch, EPOCH)
                saved.unlink()
            progress("sealing")
            image_id = seal.write_archive(
                archive, layers, inspected["Config"], spec.arches[0], EPOCH, tag
            )
            engine.load_image(archive)
        finally:
            engine.remove_image(draft)
            engine.remove_image(root_tag)
    return image_id


def _recorded_id(folder: Path) -> str:
    return str(json.loads((folder / RECORD).read_text())["id"])
