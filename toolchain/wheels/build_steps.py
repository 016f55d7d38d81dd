"""The steps that decide a wheel's bytes: unpack, patch, run the recipe, audit, describe, pack.

Their code counts in a wheel's key with all that they import, so what belongs to the work stands
here, and what only finds, keeps or shows a wheel stands in `build`: a change there builds no wheel
again. The engine is handed in as something that gives a container, the store's files as something
that gives an archive. That an engine runs what it is told, and that fetched bytes are those of the
lock, is theirs to see to, and checked there; a change of their code makes no other wheel.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from toolchain.core.store import Store
from toolchain.images.build_container import Executor, Mount
from toolchain.lock.pins import Pinned
from toolchain.targets import Target
from toolchain.wheels import audit, metadata, pack, sbom
from toolchain.wheels.recipe import RECIPES, SHARED, Build, Job, Recipe
from toolchain.wheels.sources import patch_series, source_trees
from toolchain.wheels.variations import Conditions, in_order_of

REMARK = re.compile(r"\s|In file included from |.*: (note|warning): ")
CCACHE_LIMIT = "5G"


class Container(Protocol):
    """Starts a container of the image that a wheel is built in; without network."""

    def __call__(
        self,
        *,
        mounts: list[Mount],
        env: Mapping[str, str],
        user: str,
        hostname: str,
        umask: str,
    ) -> AbstractContextManager[Executor]:
        """The container, removed at the end of the block."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One wheel to build.

    Attributes:
        recipe: what it is.
        run: builds and stages it.
        target: what it is for.
        headers: version of the Python whose headers the image has; empty for none.
        pins: the pin of each source by its name.
        image: what the image is made of, as JSON.
        epoch: SOURCE_DATE_EPOCH, seconds.
        archive: gives the file of a pin, its bytes checked.
        container: starts a container.
        store: keeps unpacked sources and the compiler's cache.
        conditions: what the bytes must not depend on.
        progress: called with each step.
    """

    recipe: Recipe
    run: Build
    target: Target
    headers: str
    pins: Mapping[str, Pinned]
    image: object
    epoch: int
    archive: Callable[[Pinned], Path]
    container: Container
    store: Store
    conditions: Conditions
    progress: Callable[[str], None]


def build(work: Work, into: Path) -> Path:
    """Build a wheel into a folder of the store; return its file.

    Raises:
        EdgewrightError: a source can't be unpacked or patched, a step of the recipe failed, or what
            came out is not fit for the target's devices.
    """
    made, conditions = work.recipe, work.conditions
    job = Job(
        target=work.target,
        headers=work.headers,
        jobs=conditions.jobs,
        epoch=work.epoch,
        root=conditions.root,
        progress=without_remarks(work.progress),
    )
    with work.store.scratch() as scratch, ExitStack() as stack:
        src = scratch / "src"
        kept = not conditions.cold
        source_trees.lay_out(made, work.pins, work.archive, work.store, src, job, kept=kept)
        for part in ("build", "stage", "out", "ccache"):
            (scratch / part).mkdir()
        cache = scratch / "ccache" if conditions.cold else work.store.root / "ccache"
        cache.mkdir(exist_ok=True)
        if conditions.user:
            _give(scratch, conditions.user)
        start = _start(work)
        with start(mounts=_mounts(made, scratch, src, cache, conditions)) as executor:
            _patch(executor, made, job, work.progress)
        # in a container of its own: the patched sources may come in another order from here on
        seen = stack.enter_context(in_order_of(conditions, src))
        mounts = _mounts(made, scratch, seen, cache, conditions)
        executor = stack.enter_context(start(mounts=mounts))
        work.run(executor, job)
        return _packed(work, job, executor, scratch, into)


def _start(work: Work) -> Callable[..., AbstractContextManager[Executor]]:
    """Starts a container under the conditions, given its mounts."""
    conditions = work.conditions
    return partial(
        work.container,
        env={
            "SOURCE_DATE_EPOCH": str(work.epoch),
            "CCACHE_MAXSIZE": CCACHE_LIMIT,
            "TZ": "UTC",
            **conditions.env,
        },
        user=conditions.owner(),
        hostname=conditions.hostname,
        umask=conditions.umask,
    )


def _patch(executor: Executor, made: Recipe, job: Job, say: Callable[[str], None]) -> None:
    for source, folders in made.patches.items():
        for series in folders:
            patch_series.apply(executor, series, job.source(source), f"{job.root}/patches", say)


def _packed(work: Work, job: Job, executor: Executor, scratch: Path, into: Path) -> Path:
    """Audit what was staged, describe and pack it; return the wheel."""
    made, target, stage = work.recipe.inside(work.target), work.target, scratch / "stage"
    for leftover in [*stage.rglob("__pycache__"), *stage.rglob("*.pyc")]:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    found = audit.stage(stage, target, own=audit.OWN, portable=made.portable)
    bill = sbom.bill(made, work.pins, target, work.image, work.epoch)
    platform = (audit.platform_tag if made.portable else audit.local_tag)(found, target)
    wheel = metadata.write(stage, made, platform, scratch / "src", bill)
    if work.conditions.user:
        _give(stage, work.conditions.user)
    work.progress(f"packing {wheel}")
    out = f"{job.root}/out/{wheel}"
    executor.call(["python3", f"{job.root}/pack.py", job.stage, out, str(work.epoch)])
    audit.confirm(scratch / "out" / wheel, target)
    shutil.move(scratch / "out" / wheel, into / wheel)
    metadata.write_versions(into / "audit.json", found.versions)
    return into / wheel


def without_remarks(say: Callable[[str], None]) -> Callable[[str], None]:
    """`say` for a build's output: a compiler's remarks would hide the step that it is at."""

    def heard(line: str) -> None:
        if not REMARK.match(line):
            say(line)

    return heard


def _mounts(
    made: Recipe, scratch: Path, seen: Path, cache: Path, conditions: Conditions
) -> list[Mount]:
    """What the container sees: the build's own folders, and ours to read."""
    root = conditions.root
    mounts = [
        Mount(source=seen, target=f"{root}/src"),
        *(Mount(source=scratch / p, target=f"{root}/{p}") for p in ("build", "stage", "out")),
        Mount(source=cache, target="/edgewright/ccache"),
        Mount(source=Path(pack.__file__), target=f"{root}/pack.py", read_only=True),
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
