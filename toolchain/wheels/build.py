"""An image + sources -> wheels: everything around a recipe.

Looks the wheel up by the hash of all that makes it; when it is not there, unpacks and patches the
sources, runs the recipe in its image with no network, audits and packs what it staged, and puts
the wheel into the store and into dist/.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.core import paths, provenance
from toolchain.core.errors import BuildError, UsageError
from toolchain.core.provenance import Claim, Material
from toolchain.core.store import Entry, Store, digest_file, digest_of, digest_tree
from toolchain.images import build as images
from toolchain.images import specification
from toolchain.images.build_container import Mount
from toolchain.lock import pins as lock
from toolchain.lock.pins import Pinned
from toolchain.targets import Target
from toolchain.wheels import audit, metadata, patch_series, source_trees
from toolchain.wheels.recipe import Build, Job, Recipe
from toolchain.wheels.variations import Conditions, in_order_of

FORMAT = 1
if TYPE_CHECKING:
    from toolchain.images.engine import Engine
    from toolchain.lock.fetch import Progress

HERE = Path(__file__).parent
RECIPES = HERE / "recipes"
SHARED = RECIPES / "shared_files"
SHARED_CODE = (
    *("audit.py", "cross_compiler.py", "elf.py", "metadata.py", "pack.py"),
    *("patch_series.py", "recipe.py", "sbom.py"),
)
LIBRARIES = ("abi3info", "auditwheel", "cyclonedx-python-lib")
PROVENANCE = "provenance.json"  # in the store
REMARK = re.compile(r"\s|In file included from |.*: (note|warning): ")
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


def recipes() -> list[str]:
    """The names of all recipes, sorted: the modules of their folder."""
    return sorted(found.name for found in pkgutil.iter_modules([str(RECIPES)]))


def recipe(name: str) -> tuple[Recipe, Build]:
    """The recipe of a wheel and its build function.

    Raises:
        UsageError: there is none of that name.
    """
    known = recipes()
    if name not in known:
        raise UsageError(f"unknown wheel: {name}", resolution=f"known wheels: {', '.join(known)}")
    module = importlib.import_module(f"toolchain.wheels.recipes.{name}")
    return module.RECIPE, module.build


def build(
    target: Target,
    name: str,
    store: Store,
    *,
    progress: Callable[[str], None],
    fetched: Progress | None = None,
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
    started = time.monotonic()

    def make(folder: Path) -> None:
        # the SDK and what fetches take half a second to import, and a wheel is mostly there
        from toolchain.images.engine import Engine
        from toolchain.lock import fetch

        engine = Engine()
        made, _ = recipe(name)
        spec = specification.spec(made.image, target)
        image = images.build(spec, engine, store, progress=progress, fetched=fetched)
        fetch.fetch_all(_pins(made, target).values(), store, fetched)
        wheel = _build(name, target, engine, image.tag, store, folder, progress, Conditions())
        (folder / PROVENANCE).write_text(_statement(name, target, wheel, image.id))

    entry = store.get_or_build(inputs(name, target), make)
    return _built(name, target, entry, time.monotonic() - started if entry.fresh else 0.0)


def _statement(name: str, target: Target, wheel: Path, image_id: str) -> str:
    """The provenance of a wheel."""
    claim = Claim(
        kind="wheel",
        subject=wheel.name,
        sha256=digest_file(wheel),
        parameters={"target": target.name, "only": name},
        inputs=inputs(name, target),
    )
    pins = _pins(recipe(name)[0], target).values()
    materials = [Material(name=p.path, sha256=p.sha256, version=p.version) for p in pins]
    return provenance.statement(claim, [*materials, provenance.image(image_id)])


def again(
    target: Target,
    name: str,
    store: Store,
    conditions: Conditions,
    into: Path,
    *,
    progress: Callable[[str], None],
) -> Path:
    """Build a wheel anew under other conditions, past the store; return its file in the folder.

    Errors are those of `build`.
    """
    from toolchain.images.engine import Engine
    from toolchain.lock import fetch

    engine = Engine()
    made, _ = recipe(name)
    spec = specification.spec(conditions.image or made.image, target)
    image = images.build(spec, engine, store, progress=progress)
    fetch.fetch_all(_pins(made, target).values(), store)
    return _build(name, target, engine, image.tag, store, into, progress, conditions)


def _pins(made: Recipe, target: Target) -> dict[str, Pinned]:
    """Each source of a recipe by its name there."""
    return {name: lock.source(entry) for name, entry in made.locked(target).items()}


def _headers(made: Recipe, target: Target) -> str:
    """The Python whose headers for the target are in the lock of an extension's image."""
    if not made.extension:
        return ""
    spec = specification.spec(made.image, target)
    for package in lock.image(spec.name).packages:
        found = re.fullmatch(r"libpython(3\.\d+)-dev", package.name)
        if found and package.arch == target.debian:
            return found[1]
    raise BuildError(f"the lock of {spec.name} has no Python headers", resolution=lock.RENEW)


def inputs(name: str, target: Target) -> dict[str, object]:
    """All that makes a wheel; its key in the store is the hash of it."""
    made, _ = recipe(name)
    files = RECIPES / made.files if made.files else None
    return {
        "kind": "wheel",
        "format": FORMAT,
        "recipe": [digest_file(RECIPES / f"{module}.py") for module in (name, *made.uses)],
        "files": digest_tree(files) if files else {},
        "shared": [digest_file(HERE / shared) for shared in SHARED_CODE],
        "shared files": digest_tree(SHARED),
        "sources": {name: pin.sha256 for name, pin in _pins(made, target).items()},
        # they write the bill of materials, choose the tag, judge the extensions
        "libraries": {name: version(name) for name in LIBRARIES},
        "patches": {
            folder: digest_tree(patch_series.FOLDER / folder)
            for folders in made.patches.values()
            for folder in folders
        },
        "image": images.key_of(specification.spec(made.image, target)),
        # without its name: targets that differ in nothing else share their wheels
        "target": target.model_dump(exclude={"name", "emulator", "cpu", "llvm", "glibc"}),
        "epoch": images.EPOCH,
    }


def without_remarks(say: Callable[[str], None]) -> Callable[[str], None]:
    """`say` for a build's output: a compiler's remarks would hide the step that it is at."""

    def heard(line: str) -> None:
        if not REMARK.match(line):
            say(line)

    return heard


def _build(
    name: str,
    target: Target,
    engine: Engine,
    image: str,
    store: Store,
    folder: Path,
    say: Callable[[str], None],
    conditions: Conditions,
) -> Path:
    """Build a wheel into a folder of the store; return its file."""
    from toolchain.wheels import sbom

    made, run = recipe(name)
    pins = _pins(made, target)
    job = Job(
        target=target,
        headers=_headers(made, target),
        jobs=conditions.jobs,
        epoch=images.EPOCH,
        root=conditions.root,
        progress=without_remarks(say),
    )
    with store.scratch() as scratch, ExitStack() as stack:
        source_trees.lay_out(made, pins, store, scratch / "src", job, kept=not conditions.cold)
        for part in ("build", "stage", "out", "ccache"):
            (scratch / part).mkdir()
        cache = scratch / "ccache" if conditions.cold else store.root / "ccache"
        cache.mkdir(exist_ok=True)
        if conditions.user:
            _give(scratch, conditions.user)
        start = partial(
            engine.container,
            image,
            env={
                "SOURCE_DATE_EPOCH": str(images.EPOCH),
                "CCACHE_MAXSIZE": CCACHE_LIMIT,
                "TZ": "UTC",
                **conditions.env,
            },
            user=conditions.owner(),
            hostname=conditions.hostname,
            umask=conditions.umask,
        )
        src = scratch / "src"
        with start(mounts=_mounts(made, scratch, src, cache, conditions)) as box:
            for source, folders in made.patches.items():
                for series in folders:
                    patch_series.apply(box, series, job.source(source), f"{job.root}/patches", say)
        # in a box of its own: the patched sources may come in another order from here on
        seen = stack.enter_context(in_order_of(conditions, src))
        mounts = _mounts(made, scratch, seen, cache, conditions)
        box = stack.enter_context(start(mounts=mounts))
        run(box, job)
        stage = scratch / "stage"
        for leftover in [*stage.rglob("__pycache__"), *stage.rglob("*.pyc")]:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        found = audit.stage(stage, target, own=audit.OWN, portable=made.portable)
        bill = sbom.bill(made, pins, digest_of(inputs(name, target)), images.EPOCH)
        tag_of = audit.platform_tag if made.portable else audit.local_tag
        platform = tag_of(found, target)
        wheel = metadata.write(stage, made, platform, scratch / "src", bill)
        if conditions.user:
            _give(stage, conditions.user)
        say(f"packing {wheel}")
        out = f"{job.root}/out/{wheel}"
        box.call(["python3", f"{job.root}/pack.py", job.stage, out, str(images.EPOCH)])
        audit.confirm(scratch / "out" / wheel, target)
        shutil.move(scratch / "out" / wheel, folder / wheel)
        metadata.write_versions(folder / "audit.json", found.versions)
    return folder / wheel


def _mounts(
    made: Recipe, scratch: Path, seen: Path, cache: Path, conditions: Conditions
) -> list[Mount]:
    """What the box sees: the build's own folders, and ours to read."""
    root = conditions.root
    mounts = [
        Mount(source=seen, target=f"{root}/src"),
        *(Mount(source=scratch / p, target=f"{root}/{p}") for p in ("build", "stage", "out")),
        Mount(source=cache, target="/edgewright/ccache"),
        Mount(source=HERE / "pack.py", target=f"{root}/pack.py", read_only=True),
        Mount(source=patch_series.FOLDER, target=f"{root}/patches", read_only=True),
        Mount(source=SHARED, target=f"{root}/shared", read_only=True),
    ]
    if made.files:
        mounts.append(Mount(source=RECIPES / made.files, target=f"{root}/recipe", read_only=True))
    if conditions.clock is not None:
        mounts.append(Mount(source=conditions.clock, target="/faketime.so", read_only=True))
    return mounts


def _give(folder: Path, owner: str) -> None:
    """Let a folder and all in it belong to "uid:gid"."""
    uid, gid = (int(part) for part in owner.split(":"))
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


def _publish(wheel: Path, statement: Path, into: Path) -> Path:
    """Put a wheel of the store into dist/, taking away older builds of the same distribution.

    Its provenance goes beside it, under the wheel's name.
    """
    into.mkdir(parents=True, exist_ok=True)
    wanted = {into / f"{wheel.name}{provenance.SUFFIX}": statement, into / wheel.name: wheel}
    for final, source in wanted.items():
        if not final.is_file() or digest_file(final) != digest_file(source):
            temporary = final.with_name(f".{final.name}.tmp")
            shutil.copyfile(source, temporary)
            temporary.rename(final)
    for old in set(into.glob(f"{wheel.name.split('-')[0]}-*")) - wanted.keys():
        old.unlink()
    return into / wheel.name


def published(target: Target, names: Iterable[str]) -> list[Built]:
    """The built wheels of a target, without building any.

    Raises:
        BuildError: one is not built as the lock and the recipes now say.
    """
    store = Store()
    entries = {name: store.entry(digest_of(inputs(name, target))) for name in names}
    missing = [name for name, entry in entries.items() if entry is None]
    if missing:
        raise BuildError(
            f"{recipe(missing[0])[0].name} is not built for {target.name}",
            resolution=f"run: invoke build-wheels --target {target.name} "
            f"--only {','.join(missing)}",
        )
    return [
        _built(name, target, entry, 0.0) for name, entry in entries.items() if entry is not None
    ]


def _built(name: str, target: Target, entry: Entry, seconds: float) -> Built:
    wheel = next(entry.file(f) for f in entry.files if f.endswith(".whl"))
    versions = metadata.read_versions(entry.file("audit.json"))
    audit.refuse_above(wheel, versions, target)
    return Built(
        recipe=name,
        path=_publish(wheel, entry.file(PROVENANCE), paths.dist() / "wheels" / target.name),
        sha256=entry.files[wheel.name],
        size=wheel.stat().st_size,
        versions=versions,
        seconds=seconds,
        fresh=seconds > 0,
    )
