"""The tasks of this machine, the lock, images and wheels: parse, call, print.

Modules are imported by the task that needs them, so that listing the tasks is quick.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, task

from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import (
    DEFAULT_TARGET,
    JSON,
    ON,
    OS,
    SHARE,
    TARGET,
    Board,
    Limit,
)
from toolchain.core.errors import UsageError

if TYPE_CHECKING:
    from toolchain.core.store import Store
    from toolchain.lock.resolve import Moved
    from toolchain.verify import Verdict

# what `clean` offers to remove when it is not told how old it shall be
CLEAN_DAYS = 30
# who waits so long for wheels is told what can be done meanwhile
LONG_MINUTES = 5
MEANWHILE = "docs/tutorial/first-board.md, While it builds"


@task(help={"json": JSON})
@guarded
def doctor(_: Context, json: bool = False) -> None:
    """Show what this machine has of what the tasks need; exit 1 when something is missing."""
    from toolchain.workstation import setup as host

    checks = host.checks()
    if json:
        console.show_json([vars(c) for c in checks])
    else:
        rows = [
            ["✓" if c.ok else "✗", c.name, c.found, "" if c.ok else c.resolution] for c in checks
        ]
        console.show_table("this machine", ["", "what", "found", "what to do"], rows)
    if not all(c.ok for c in checks):
        raise SystemExit(1)


@task(
    help={
        "unused": "remove what was built and has not been used for so many days; nothing when left "
        "out",
        "json": JSON,
    }
)
@guarded
def clean(_: Context, unused: float = Limit(0), json: bool = False) -> None:
    """Show what this machine's cache holds, and remove what was not used for long."""
    from toolchain.core.store import Store
    from toolchain.workstation import cache_contents

    store = Store()
    freed = cache_contents.remove(store, unused) if unused else 0
    days = unused or CLEAN_DAYS
    parts = cache_contents.contents(store, days)
    if json:
        console.show_json({"freed": freed, "parts": [vars(part) for part in parts]})
        return
    rows = [
        [part.what, str(part.count), f"{part.size / 1e6:,.1f} MB", f"{part.unused / 1e6:,.1f} MB"]
        for part in parts
    ]
    columns = ["what", "how many", "size", f"unused for {days:g} days"]
    console.show_table(f"{store.root}", columns, rows)
    if unused:
        console.note(f"{freed / 1e6:,.1f} MB are free again")
    elif any(part.unused for part in parts):
        console.note(f"invoke clean --unused {days} removes that; it can be made again")


@task(
    help={
        "tests": "also what the tests alone need",
        "extra": "pytorch (reads .pt2), onnx2tf (.tflite of .onnx), ncnn (its networks of ONNX), "
        "executorch (its programs of .pt2), "
        "s3 (a shared cache on S3) or dask (jobs on a cluster)",
    }
)
@guarded
def setup(_: Context, tests: bool = False, extra: str = "") -> None:
    """Install and start what this machine lacks: Docker engine, emulators (Debian, root)."""
    from toolchain.workstation import extras
    from toolchain.workstation import setup as host

    if extra:
        for name in options.names(extra):
            with console.step(f"extra {name}") as say:
                extras.install(name, say)
        return
    with console.step("set-up of this machine") as say:
        host.install(say, tests=tests)


@task(help=options.help_of(Board) | {"os": OS, "share": SHARE, "json": JSON})
@guarded
@options.given(board=Board)
def build_images(
    _: Context,
    *,
    board: Board,
    os: str = "",
    share: bool = False,
    json: bool = False,
) -> None:
    """Build the images of a target: the cross image and the emulated device's."""
    from toolchain import targets
    from toolchain.core import paths
    from toolchain.images import build as images
    from toolchain.images import specification
    from toolchain.images.engine import Engine
    from toolchain.shared_cache import shared_store

    store = shared_store.opened(console.note, share=share)
    chosen = targets.target(board.name())
    specs = [specification.spec(kind, chosen, os) for kind in images.KINDS]
    with console.step(f"images {', '.join(spec.name for spec in specs)}") as say:
        counter = console.counter(say)
        built = images.build_all(specs, Engine(), store, progress=say, fetched=counter)
        for image, spec in zip(built, specs, strict=True):
            images.publish(image, spec, paths.dist() / "images")
        if isinstance(store, shared_store.SharedStore):
            for spec in specs:  # an image that is there asks for no root
                store.give(images.root_inputs(spec))
    if json:
        console.show_json([vars(image) for image in built])
    else:
        rows = [[i.name, i.tag, i.id, "built" if i.built else "unchanged"] for i in built]
        console.show_table("images", ["image", "tag", "id", ""], rows)


@task(
    help=options.help_of(Board)
    | {
        "only": "wheels to build, separated by commas; all when left out",
        "python": "a Python that they must serve, such as 3.12; refused when they don't",
        "glibc": "highest glibc that they may ask for, such as 2.35; the target's when left out",
        "on": ON,
        "share": SHARE,
        "json": JSON,
    }
)
@guarded
@options.given(board=Board)
def build_wheels(
    _: Context,
    *,
    board: Board,
    only: str = "",
    python: str = "",
    glibc: str = "",
    on: str = "",
    share: bool = False,
    json: bool = False,
) -> None:
    """Cross-build the wheels of a target into dist/wheels/<target>/."""
    from toolchain import runtimes, targets
    from toolchain.cluster import place_of_work
    from toolchain.core.store import digest_of
    from toolchain.wheels import build, recipe
    from toolchain.workstation import durations

    target = board.name()
    chosen = targets.target(target)
    if glibc:
        chosen = chosen.promising(glibc)
    if python:
        recipe.refuse_python(python)
    built: list[build.Built] = []
    names = options.names(only) or runtimes.wheels_built(chosen)
    with place_of_work.opened(on, console.step, console.note, share=share) as at:
        store = at.store
        new = [n for n in names if store.entry(digest_of(build.inputs(n, chosen))) is None]
        if new:
            _note_missing(new, store)
        if new and at.executor is not None:
            from toolchain.cluster.works import wheels_elsewhere

            with console.step(f"wheels for {target} on the cluster") as say:
                wheels_elsewhere.build(new, chosen, at.executor, store, say)
        for name in names:
            with console.step(f"wheel {name} for {target}") as say:
                counter = console.counter(say)
                built.append(build.build(chosen, name, store, progress=say, fetched=counter))
            durations.record(name, built[-1].seconds, store)
    if json:
        console.show_json([vars(b) | {"path": str(b.path)} for b in built])
        return
    rows = [
        [
            b.path.name,
            f"{b.size / 1e6:.2f} MB",
            b.versions.get("GLIBC", "-"),
            b.versions.get("GLIBCXX", "-"),
            f"{b.seconds:.0f} s" if b.fresh else "unchanged",
        ]
        for b in built
    ]
    console.show_table(
        f"wheels of {target}", ["wheel", "size", "GLIBC", "GLIBCXX", "built in"], rows
    )


def _note_missing(names: Sequence[str], store: Store) -> None:
    """Say which wheels are to be built, and how long that takes here."""
    from toolchain.workstation import durations

    # what a shared cache has comes sooner
    took = durations.expected(names, store)
    when = f" ({took} here, once images and sources are there)" if took else ""
    console.note(f"to be built: {', '.join(names)}{when}")
    if durations.minutes(names, store) >= LONG_MINUTES:
        console.note(f"numbers of this machine meanwhile, with nothing built: {MEANWHILE}")


@task(
    help={
        "wheels": "verify the wheels",
        "images": "verify the images",
        "models": "verify a model's files and library",
        "provenance": "a .provenance.json of dist/: build what it is of again and compare",
        "target": TARGET,
        "only": "wheels to verify, separated by commas; all when left out",
        "on": f"{ON}; images alone are made here",
        "json": JSON,
    }
)
@guarded
def verify(
    _: Context,
    *,
    wheels: bool = False,
    images: bool = False,
    models: bool = False,
    provenance: str = "",
    target: str = DEFAULT_TARGET,
    only: str = "",
    on: str = "",
    json: bool = False,
) -> None:
    """Build everything again, elsewhere and from nothing, and compare; exit 1 when it differs."""
    from toolchain import targets, verify
    from toolchain.cluster import place_of_work
    from toolchain.core.store import Store
    from toolchain.wheels import variations

    kinds = {"images": images, "wheels": wheels or bool(only), "models": models}
    if not provenance and not any(kinds.values()):
        kinds = dict.fromkeys(kinds, True)
    verdicts = []
    with place_of_work.opened(on, console.step, console.note, share=False) as at:
        chosen = targets.target(options.target_named(target))
        steps = verify.steps(chosen, Store(), kinds, options.names(only), at)
        if provenance:
            steps.append(verify.from_provenance(Path(provenance), Store()))
        for title, step in steps:
            with console.step(f"{title} again") as say:
                verdicts += step(say)
    for lacking in variations.other()[1]:
        console.note(f"not varied: {lacking}")
    if json:
        console.show_json([vars(v) | {"same": v.same} for v in verdicts])
    else:
        _show_verdicts(verdicts)
    if not all(v.same for v in verdicts):
        raise SystemExit(1)


def _show_verdicts(verdicts: Sequence[Verdict]) -> None:
    rows = [
        [v.what, "the same" if v.same else "differs", v.first[:19], v.second[:19]] for v in verdicts
    ]
    console.show_table("built twice", ["what", "", "first", "second"], rows)
    for verdict in verdicts:
        if verdict.account:
            console.note(f"{verdict.what}:\n{verdict.account}")


@task(
    help={
        "images": "names such as cross,device; all when left out",
        "requirements": "names such as requirements-pytorch; with this, no images' unless named",
        "keep": "keep the pins as they are; with --requirements only what is new is pinned",
        "vendor": "a folder to fill with every file of the lock, for builds without a network",
        "json": JSON,
    }
)
@guarded
def lock(
    _: Context,
    images: str = "",
    requirements: str = "",
    keep: bool = False,
    vendor: str = "",
    json: bool = False,
) -> None:
    """Renew the pins of every image's packages and of the Python requirements; show what moved."""
    if keep and not vendor and not requirements:
        raise UsageError(
            "--keep leaves nothing to do",
            resolution="give it with --vendor FOLDER or --requirements NAME, or leave it out",
        )
    moved = [] if keep and not requirements else _renewed(images, requirements, keep=keep)
    if vendor:
        _keep_vendor(Path(vendor))
    if json:
        console.show_json([vars(m) for m in moved])
    elif not keep or requirements:
        rows = [[m.image, m.name, m.old or "-", m.new or "-"] for m in moved]
        console.show_table(f"{len(rows)} moved", ["lock", "package", "old", "new"], rows)


def _renewed(images: str, requirements: str, *, keep: bool) -> list[Moved]:
    from toolchain import targets
    from toolchain.core.store import Store
    from toolchain.images import specification
    from toolchain.lock import resolve

    moved = []
    everything = not images and not requirements
    kinds = specification.kinds() if everything else options.names(images)
    for spec in specification.every(kinds, targets.all_targets().values()):
        with console.step(f"lock of {spec.name}") as say:
            moved += resolve.relock_image(spec, Store(), say)
    if everything or requirements:
        with console.step("lock of the Python requirements"):
            names = options.names(requirements) or resolve.REQUIREMENTS
            moved += resolve.relock_requirements(names, keep=keep)
    return moved


def _keep_vendor(folder: Path) -> None:
    from toolchain.core import paths
    from toolchain.core.store import Store
    from toolchain.lock import fetch, vendor
    from toolchain.workstation import extras

    # the files come from the mirrors, whichever vendor folder builds are told to use
    os.environ.pop("EDGEWRIGHT_VENDOR", None)
    store, pins = Store(), vendor.pins()
    with console.step(f"files of the lock into {folder}") as say:
        fetch.fetch_all(pins, store, console.counter(say))
        count = vendor.keep(folder, pins, lambda pin: fetch.path_of(pin, store), say)
        vendor.keep_requirements(folder, paths.ROOT / "requirements.txt", say)
        extras.keep(folder, say)
    console.note(f"{count} files; build from them with EDGEWRIGHT_VENDOR={folder}")
