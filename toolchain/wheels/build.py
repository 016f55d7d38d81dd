"""An image + sources -> wheels: everything around a recipe.

Looks the wheel up by the hash of all that makes it; when it is not there, unpacks and patches the
sources, runs the recipe in the cross image with no network, audits and packs what it staged, and
puts the wheel into the store and into dist/.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from toolchain import images, imagespec, lock, paths, sources
from toolchain.engine import Engine, Mount
from toolchain.errors import BuildError, UsageError
from toolchain.store import Entry, Store, digest_file, digest_of, digest_tree
from toolchain.targets import Target
from toolchain.wheels import audit, metadata, patching
from toolchain.wheels.recipe import FILES_IN_BOX, SHARED_IN_BOX, SOURCES_IN_BOX, Build, Job, Recipe

FORMAT = 1
HERE = Path(__file__).parent
SHARED = HERE / "shared_files"
SHARED_CODE = ("cross.py", "metadata.py", "pack.py", "recipe.py")
ALL = ("tflite_runtime", "tvm_ffi", "tvm_runtime")
CCACHE_LIMIT = "5G"


@dataclass(frozen=True, kw_only=True)
class Built:
    """A wheel in dist/.

    Attributes:
        recipe: the recipe module's name.
        path: the file.
        sha256: of its bytes.
        size: bytes.
        versions: highest symbol version asked for, by family.
        seconds: time it took; 0 when it was there.
        fresh: whether it was built now.
    """

    recipe: str
    path: Path
    sha256: str
    size: int
    versions: dict[str, str]
    seconds: float
    fresh: bool


def recipe(name: str) -> tuple[Recipe, Build]:
    """The recipe of a wheel and its build function.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in ALL:
        raise UsageError(f"unknown wheel: {name}", resolution=f"known wheels: {', '.join(ALL)}")
    module = importlib.import_module(f"toolchain.wheels.{name}")
    return module.RECIPE, module.build


def build(
    target: Target,
    name: str,
    store: Store,
    *,
    progress: Callable[[str], None],
    fetched: sources.Progress | None = None,
) -> Built:
    """Build a wheel for a target, or find it, and put it into dist/wheels/<target>/.

    Args:
        target: what it is for.
        name: its recipe.
        store: the cache; an engine is asked for only when the wheel is not there.
        progress: called with each step.
        fetched: called with (done, all, file name) as sources arrive.

    Raises:
        EdgewrightError: see the classes; nothing half-made is left.
    """
    inputs = _inputs(name, target)
    key = digest_of(inputs)
    started = time.monotonic()
    with store.locked(f"wheel-{key}"):
        entry = store.entry(key)
        if entry is not None:
            return _built(name, target, entry, 0.0)
        engine = Engine()
        spec = imagespec.spec("cross", target)
        image = images.build(spec, engine, store, progress=progress, fetched=fetched)
        made, _ = recipe(name)
        sources.fetch_all([lock.source(s) for s in made.locked(target).values()], store, fetched)
        with store.building(key, inputs) as folder:
            _build(name, target, engine, image.tag, store, folder, progress)
        entry = store.entry(key)
    assert entry is not None
    return _built(name, target, entry, time.monotonic() - started)


def _headers(target: Target) -> str:
    """The Python whose headers for the target are in the cross image's lock."""
    spec = imagespec.spec("cross", target)
    for package in lock.image(spec.name).packages:
        found = re.fullmatch(r"libpython(3\.\d+)-dev", package.name)
        if found and package.arch == target.debian:
            return found[1]
    raise BuildError(f"the lock of {spec.name} has no Python headers", resolution=lock.RENEW)


def _inputs(name: str, target: Target) -> dict[str, object]:
    made, _ = recipe(name)
    files = HERE / made.files if made.files else None
    return {
        "kind": "wheel",
        "format": FORMAT,
        "recipe": digest_file(HERE / f"{name}.py"),
        "files": digest_tree(files) if files else {},
        "shared": [digest_file(HERE / shared) for shared in SHARED_CODE],
        "shared files": digest_tree(SHARED),
        "sources": {s: lock.source(s).sha256 for s in made.locked(target).values()},
        "patches": {p: digest_tree(patching.FOLDER / p) for p in made.patches.values()},
        "image": images.key_of(imagespec.spec("cross", target)),
        # without its name: targets that differ in nothing else share their wheels
        "target": target.model_dump(exclude={"name", "emulator", "cpu", "llvm"}),
        "epoch": images.EPOCH,
    }


def _build(
    name: str,
    target: Target,
    engine: Engine,
    image: str,
    store: Store,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    made, run = recipe(name)

    cache = store.root / "ccache"
    cache.mkdir(exist_ok=True)
    with store.scratch() as scratch:
        for source, entry in made.locked(target).items():
            say(f"unpacking {source}")
            sources.unpack(lock.source(entry), store, scratch / "src" / source)
        for part in ("build", "stage", "out"):
            (scratch / part).mkdir()
        mounts = [
            Mount(source=scratch / "src", target=SOURCES_IN_BOX),
            Mount(source=scratch / "build", target="/edgewright/build"),
            Mount(source=scratch / "stage", target="/edgewright/stage"),
            Mount(source=scratch / "out", target="/edgewright/out"),
            Mount(source=cache, target="/edgewright/ccache"),
            Mount(source=HERE / "pack.py", target="/edgewright/pack.py", read_only=True),
            Mount(source=patching.FOLDER, target=patching.IN_BOX, read_only=True),
            Mount(source=SHARED, target=SHARED_IN_BOX, read_only=True),
        ]
        if made.files:
            mounts.append(Mount(source=HERE / made.files, target=FILES_IN_BOX, read_only=True))
        env = {"SOURCE_DATE_EPOCH": str(images.EPOCH), "CCACHE_MAXSIZE": CCACHE_LIMIT, "TZ": "UTC"}
        user = f"{os.getuid()}:{os.getgid()}"
        job = Job(
            target=target,
            headers=_headers(target),
            jobs=os.cpu_count() or 1,
            epoch=images.EPOCH,
            progress=say,
        )
        with engine.container(image, mounts=mounts, env=env, user=user) as box:
            for source, series in made.patches.items():
                patching.apply(box, series, job.source(source), say)
            run(box, job)
            stage = scratch / "stage"
            for leftover in [*stage.rglob("__pycache__"), *stage.rglob("*.pyc")]:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            found = audit.stage(stage, target, own=audit.OWN)
            wheel = metadata.write(stage, made, audit.platform_tag(found, target), scratch / "src")
            say(f"packing {wheel}")
            box.call(
                ["python3", "/edgewright/pack.py", "/edgewright/stage", f"/edgewright/out/{wheel}"]
                + [str(images.EPOCH)]
            )
        audit.confirm(scratch / "out" / wheel, target)
        shutil.move(scratch / "out" / wheel, folder / wheel)
        metadata.write_versions(folder / "audit.json", found.versions)


def _publish(wheel: Path, into: Path) -> Path:
    """Put a wheel of the store into dist/, taking away older builds of the same distribution."""
    into.mkdir(parents=True, exist_ok=True)
    final = into / wheel.name
    if final.is_file() and digest_file(final) == digest_file(wheel):
        return final
    for old in into.glob(f"{wheel.name.split('-')[0]}-*.whl"):
        old.unlink()
    temporary = into / f".{wheel.name}.tmp"
    shutil.copyfile(wheel, temporary)
    temporary.rename(final)
    return final


def published(target: Target, names: Iterable[str] = ALL) -> list[Built]:
    """The built wheels of a target, without building any.

    Raises:
        BuildError: one is not built as the lock and the recipes now say.
    """
    store = Store()
    found: list[Built] = []
    for name in names:
        entry = store.entry(digest_of(_inputs(name, target)))
        if entry is None:
            raise BuildError(
                f"{recipe(name)[0].name} is not built for {target.name}",
                resolution=f"run: invoke build-wheels --target {target.name}",
            )
        found.append(_built(name, target, entry, 0.0))
    return found


def _built(name: str, target: Target, entry: Entry, seconds: float) -> Built:
    wheel = next(entry.file(f) for f in entry.files if f.endswith(".whl"))
    return Built(
        recipe=name,
        path=_publish(wheel, paths.dist() / "wheels" / target.name),
        sha256=entry.files[wheel.name],
        size=wheel.stat().st_size,
        versions=metadata.read_versions(entry.file("audit.json")),
        seconds=seconds,
        fresh=seconds > 0,
    )
