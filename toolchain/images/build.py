"""docker/NAME + lock -> an image with the same id everywhere.

Three steps: the locked packages become a root (`rootfs`), loaded as an image of one layer; the
engine runs the folder's Dockerfile on it with no network (`assembly`); what that added is put into
a form that holds no time and no order of the engine's (`seal`), so that the image's id is the
hash of its content and the same on every engine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.core import fingerprint, provenance, worker
from toolchain.core.errors import LockError
from toolchain.core.provenance import SUFFIX, Claim, Material
from toolchain.core.store import Entry, Store, digest_of, digest_tree, write_atomically
from toolchain.images import assembly
from toolchain.images.assembly import Sealed
from toolchain.images.specification import ImageSpec
from toolchain.lock import pins
from toolchain.lock.pins import ImageLock

EPOCH = 1_700_000_000
if TYPE_CHECKING:
    from toolchain.images.engine import Engine
    from toolchain.lock.fetch import Progress

KINDS = ("cross", "device")
# imported when a root is made: it takes long
ROOT_RECIPE = "toolchain.images.rootfs"
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
    return digest_of(inputs(spec))


def known_id(spec: ImageSpec, store: Store) -> str | None:
    """The id the image has or will have, when it was built once with this cache."""
    entry = store.entry(key_of(spec))
    return _sealed(entry).id if entry else None


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
    made_from = inputs(spec)
    key = digest_of(made_from)
    tag = f"edgewright/{spec.name}:{key[:12]}"

    def make() -> Sealed:
        root = _root(spec, store, progress, fetched)
        with store.scratch() as scratch:
            return assembly.assemble(
                spec, root, engine, scratch, tag=tag, epoch=EPOCH, progress=progress
            )

    def record(folder: Path) -> None:
        (folder / RECORD).write_text(json.dumps(asdict(make())))

    # what an image is stands in the store, itself it is in the engine, which may have lost it since
    with store.locked(f"engine-{key}"):
        entry = store.get_or_build(made_from, record)
        sealed = _sealed(entry)
        lost = not entry.fresh and not _is_there(sealed, engine, tag)
        if lost and (made := make()) != sealed:
            sealed = made
            with store.building(key, made_from) as folder:
                (folder / RECORD).write_text(json.dumps(asdict(made)))
    return Image(name=spec.name, tag=tag, id=sealed.id, built=entry.fresh or lost)


def _sealed(entry: Entry) -> Sealed:
    """What a build with this cache came to."""
    record = json.loads(entry.file(RECORD).read_text())
    return Sealed(id=record["id"], layers=tuple(record.get("layers", ())))


def _is_there(image: Sealed, engine: Engine, tag: str) -> bool:
    """Whether the engine has an image, under its tag.

    An engine that keeps images in containerd's store knows them by another id, of how they are
    packed there: then what is under the tag must have the same layers.
    """
    if engine.image_id(image.id) == image.id:
        engine.tag(image.id, tag)
        return True
    if engine.image_id(tag) is None:
        return False
    return image.layers == assembly.layers_of(engine.image_config(tag))


def publish(image: Image, spec: ImageSpec, into: Path) -> Path:
    """Write an image's provenance statement to a folder, under its name."""
    claim = Claim(
        kind="image",
        subject=image.name,
        sha256=image.id.removeprefix("sha256:"),
        parameters={"image": image.name},
        inputs=inputs(spec),
    )
    materials = [
        Material(name=p.path, sha256=p.sha256, version=p.version)
        for p in pins.image(spec.name).packages
    ]
    path = into / f"{image.name}{SUFFIX}"
    write_atomically(path, provenance.statement(claim, materials).encode())
    return path


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


def inputs(spec: ImageSpec) -> dict[str, object]:
    """All that makes an image; its key in the store is the hash of it."""
    return {
        "kind": "image",
        "root": root_inputs(spec),
        "context": digest_tree(spec.context),
        "recipe": fingerprint.of(assembly.__name__),
    }


def content(spec: ImageSpec) -> dict[str, object]:
    """What an image is made of, whatever code makes it: packages and the Dockerfile's folder."""
    packages = [p.sha256 for p in _locked(spec).packages]
    return {"packages": packages, "context": digest_tree(spec.context)}


def _locked(spec: ImageSpec) -> ImageLock:
    """An image's lock.

    Raises:
        LockError: it can't be used, or is of another image.toml than this one.
    """
    locked = pins.image(spec.name)
    wanted = (spec.suite, list(spec.arches), list(spec.include))
    if wanted != (locked.suite, locked.arches, locked.include):
        moved = sorted({*spec.include} ^ {*locked.include})
        raise LockError(
            f"docker/{spec.folder.name}/image.toml has changed since {spec.name} was locked",
            detail="it differs in: " + (", ".join(moved) or "suite, architectures or order"),
            resolution=pins.RENEW,
        )
    return locked


def root_inputs(spec: ImageSpec) -> dict[str, object]:
    """All that makes an image's root file system; its key in the store is the hash of it."""
    locked = _locked(spec)
    return {
        "kind": "root",
        "arches": locked.arches,
        "include": locked.include,
        "packages": [p.sha256 for p in locked.packages],
        "epoch": EPOCH,
        "recipe": fingerprint.of(ROOT_RECIPE),
    }


def _root(
    spec: ImageSpec, store: Store, progress: Callable[[str], None], fetched: Progress | None
) -> Path:
    # what reads archives and indices takes half a second to import, and few runs need it
    from toolchain.images.unprivileged import root_job
    from toolchain.lock import fetch

    locked = _locked(spec)

    def build_root(folder: Path) -> None:
        pinned = [p.pinned() for p in locked.packages]
        fetch.fetch_all(pinned, store, fetched)
        with store.scratch() as scratch:
            request = root_job.RootRequest(
                name=spec.name,
                locked=locked,
                files={pin.sha256: fetch.path_of(pin, store) for pin in pinned},
                tar=folder / "root.tar",
                scratch=scratch,
                epoch=EPOCH,
            )
            if root_job.needed():
                what = f"the root of {spec.name}"
                run = root_job.in_namespace
                worker.call(root_job.BUILD_ROOT, request, what=what, progress=progress, run=run)
            else:
                root_job.build(request, progress)

    return store.get_or_build(root_inputs(spec), build_root).file("root.tar")
