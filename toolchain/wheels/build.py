"""An image + sources -> wheels: what finds, keeps and publishes what `build_steps` makes.

Looks the wheel up by the hash of all that makes it; when it is not there, has its image and sources
brought, its steps run, and puts the wheel into the store and into dist/.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain import targets
from toolchain.core import fingerprint, paths, provenance
from toolchain.core.errors import BuildError, UsageError
from toolchain.core.provenance import Claim, Material
from toolchain.core.store import Entry, Store, digest_file, digest_of, digest_tree
from toolchain.images import build as images
from toolchain.images import specification
from toolchain.lock import pins as lock
from toolchain.lock.pins import Pinned
from toolchain.targets import Target
from toolchain.wheels import audit, metadata
from toolchain.wheels.recipe import RECIPES, SHARED, Build, Recipe
from toolchain.wheels.sources import patch_series
from toolchain.wheels.variations import Conditions

if TYPE_CHECKING:
    from toolchain.images.engine import Engine
    from toolchain.lock.fetch import Progress

PACKAGE = "toolchain.wheels.recipes"
# imported when a wheel is built: it takes long
STEPS = "toolchain.wheels.build_steps"
LIBRARIES = ("abi3info", "auditwheel", "cyclonedx-python-lib")
PROVENANCE = "provenance.json"  # in the store
CCACHE = "/edgewright/ccache"  # in the container
CCACHE_VOLUME = "edgewright-ccache"  # of another machine's engine
# Keys of a target that decide nothing of a wheel.
NOT_OF_WHEELS = {"name", "emulator", "cpu", "llvm", "glibc", "caches"}


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
    module = importlib.import_module(f"{PACKAGE}.{name}")
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
    found = entry(target, name, store, progress=progress, fetched=fetched)
    return _built(name, target, found, time.monotonic() - started if found.fresh else 0.0)


def entry(
    target: Target,
    name: str,
    store: Store,
    *,
    progress: Callable[[str], None],
    fetched: Progress | None = None,
) -> Entry:
    """Have a wheel in the store; arguments and errors are those of `build`."""

    def make(folder: Path) -> None:
        # the SDK and what fetches take half a second to import, and a wheel is mostly there
        from toolchain.images.engine import Engine
        from toolchain.lock import fetch

        engine = Engine()
        made, _ = recipe(name)
        spec = specification.spec(made.image, target)
        image = images.build(spec, engine, store, progress=progress, fetched=fetched)
        fetch.fetch_all(_pins(made, target).values(), store, fetched)
        wheel = _in_image(
            engine, image.tag, name, target, folder,
            store=store, conditions=Conditions(), progress=progress,
        )  # fmt: skip
        (folder / PROVENANCE).write_text(_statement(name, target, wheel, image.id))

    return store.get_or_build(inputs(name, target), make)


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
    return _in_image(
        engine, image.tag, name, target, into,
        store=store, conditions=conditions, progress=progress,
    )  # fmt: skip


def _in_image(
    engine: Engine,
    image: str,
    name: str,
    target: Target,
    into: Path,
    *,
    store: Store,
    conditions: Conditions,
    progress: Callable[[str], None],
) -> Path:
    """Run a wheel's steps in an image; return its file in the folder."""
    from toolchain.lock import fetch
    from toolchain.wheels import build_steps

    made, run = recipe(name)
    work = build_steps.Work(
        recipe=made,
        run=run,
        target=target,
        headers=_headers(made, target),
        pins=_pins(made, target),
        image=images.content(specification.spec(made.image, target)),
        epoch=images.EPOCH,
        archive=lambda pin: fetch.path_of(pin, store),
        container=partial(engine.container, image, kept=_kept(conditions)),
        store=store,
        conditions=conditions,
        progress=progress,
    )
    return build_steps.build(work, into)


def _kept(conditions: Conditions) -> dict[str, str]:
    """What stays at another machine's engine: the tree that is built, and the compiler's cache."""
    cache = "" if conditions.cold else CCACHE_VOLUME
    return {f"{conditions.root}/build": "", CCACHE: cache}


def _pins(made: Recipe, target: Target) -> dict[str, Pinned]:
    """Each source of a recipe by its name there.

    Raises:
        UsageError: what is prebuilt isn't there for the target's machine.
    """

    def served(one: Target) -> bool:
        entries = made.locked(one)
        return all(entries[name] in lock.sources() for name in made.binaries)

    if not served(target):
        others = [one.name for one in targets.all_targets().values() if served(one)]
        raise UsageError(
            f"{made.name} can't be built for {target.name}: its project publishes nothing for it",
            resolution=f"it can be for {', '.join(others)}",
        )
    return {name: lock.source(entry) for name, entry in made.locked(target).items()}


def _headers(made: Recipe, target: Target) -> str:
    """The Python whose headers for the target are in the lock of a recipe's image.

    Raises:
        BuildError: none is, and the wheel has an extension.
    """
    spec = specification.spec(made.image, target)
    for package in lock.image(spec.name).packages:
        found = re.fullmatch(r"libpython(3\.\d+)-dev", package.name)
        if found and package.arch == target.debian:
            return found[1]
    if not made.extension:
        return ""
    raise BuildError(f"the lock of {spec.name} has no Python headers", resolution=lock.RENEW)


def inputs(name: str, target: Target) -> dict[str, object]:
    """All that makes a wheel; its key in the store is the hash of it."""
    made, _ = recipe(name)
    return {
        "kind": "wheel",
        "code": fingerprint.of(STEPS, f"{PACKAGE}.{name}"),
        "files": _files(name, made),
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
        "target": target.model_dump(exclude=NOT_OF_WHEELS),
        "elf": asdict(target.elf()),
        "epoch": images.EPOCH,
    }


def _files(name: str, made: Recipe) -> dict[str, str]:
    """What counts of a recipe's folder: all but the subfolders of other recipes that share it."""
    found = digest_tree(RECIPES / made.files) if made.files else {}
    others = {*recipes()} - {name}
    return {path: sha256 for path, sha256 in found.items() if path.split("/")[0] not in others}


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
