"""The tasks that make things on this machine: parse, call, print.

Modules are imported by the task that needs them, so that listing the tasks is quick.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, task

from toolchain import console, options
from toolchain.console import guarded
from toolchain.errors import UsageError
from toolchain.options import (
    DEFAULT_TARGET,
    JSON,
    OS,
    TARGET,
)

if TYPE_CHECKING:
    from toolchain.card import ModelCard
    from toolchain.relock import Moved
    from toolchain.verify import Verdict


@task(help={"json": JSON})
@guarded
def doctor(_: Context, json: bool = False) -> None:
    """Show what this machine has of what the tasks need; exit 1 when something is missing."""
    from toolchain import host

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


@task(help={"tests": "also what the tests alone need"})
@guarded
def setup(_: Context, tests: bool = False) -> None:
    """Install and start what this machine lacks: Docker engine, emulators (Debian, root)."""
    from toolchain import host

    with console.step("set-up of this machine") as say:
        host.install(say, tests=tests)


@task(help={"target": TARGET, "os": OS, "json": JSON})
@guarded
def build_images(
    _: Context, target: str = DEFAULT_TARGET, os: str = "", json: bool = False
) -> None:
    """Build the images of a target: the cross image and the emulated device's."""
    from toolchain import images, imagespec, targets
    from toolchain.engine import Engine
    from toolchain.store import Store

    chosen = targets.target(target)
    specs = [imagespec.spec(kind, chosen, os) for kind in images.KINDS]
    with console.step(f"images {', '.join(spec.name for spec in specs)}") as say:
        counter = console.counter(say)
        built = images.build_all(specs, Engine(), Store(), progress=say, fetched=counter)
    if json:
        console.show_json([vars(image) for image in built])
    else:
        rows = [[i.name, i.tag, i.id, "built" if i.built else "unchanged"] for i in built]
        console.show_table("images", ["image", "tag", "id", ""], rows)


@task(
    help={
        "target": TARGET,
        "only": "wheels to build, separated by commas; all when left out",
        "python": "a Python that they must serve, such as 3.12; refused when they don't",
        "glibc": "highest glibc that they may ask for, such as 2.35; the target's when left out",
        "json": JSON,
    }
)
@guarded
def build_wheels(
    _: Context,
    target: str = DEFAULT_TARGET,
    only: str = "",
    python: str = "",
    glibc: str = "",
    json: bool = False,
) -> None:
    """Cross-build the wheels of a target into dist/wheels/<target>/."""
    from toolchain import targets
    from toolchain.store import Store
    from toolchain.wheels import build, recipe

    chosen = targets.target(target)
    if glibc:
        chosen = chosen.promising(glibc)
    if python:
        recipe.refuse_python(python)
    built = []
    for name in options.names(only) or build.ALL:
        with console.step(f"wheel {name} for {target}") as say:
            counter = console.counter(say)
            built.append(build.build(chosen, name, Store(), progress=say, fetched=counter))
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


@task(
    help={
        "wheels": "verify the wheels",
        "images": "verify the images",
        "models": "verify a model's files and library",
        "provenance": "a wheel's .provenance.json: build that wheel again and compare",
        "target": TARGET,
        "only": "wheels to verify, separated by commas; all when left out",
        "json": JSON,
    }
)
@guarded
def verify(
    _: Context,
    wheels: bool = False,
    images: bool = False,
    models: bool = False,
    provenance: str = "",
    target: str = DEFAULT_TARGET,
    only: str = "",
    json: bool = False,
) -> None:
    """Build everything again, elsewhere and from nothing, and compare; exit 1 when it differs."""
    from toolchain import targets, verify
    from toolchain.store import Store
    from toolchain.wheels import conditions

    kinds = {"images": images, "wheels": wheels or bool(only), "models": models}
    if not provenance and not any(kinds.values()):
        kinds = dict.fromkeys(kinds, True)
    steps = verify.steps(targets.target(target), Store(), kinds, options.names(only))
    if provenance:
        steps.append(verify.from_provenance(Path(provenance), Store()))
    verdicts = []
    for title, step in steps:
        with console.step(f"{title} again") as say:
            verdicts += step(say)
    for lacking in conditions.other()[1]:
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
        "keep": "keep the pins as they are",
        "vendor": "a folder to fill with every file of the lock, for builds without a network",
        "json": JSON,
    }
)
@guarded
def lock(
    _: Context, images: str = "", keep: bool = False, vendor: str = "", json: bool = False
) -> None:
    """Renew the pins of every image's packages and of the Python requirements; show what moved."""
    if keep and not vendor:
        raise UsageError(
            "--keep leaves nothing to do",
            resolution="give it with --vendor FOLDER, or leave it out",
        )
    moved = [] if keep else _renewed(images)
    if vendor:
        _keep_vendor(Path(vendor))
    if json:
        console.show_json([vars(m) for m in moved])
    elif not keep:
        rows = [[m.image, m.name, m.old or "-", m.new or "-"] for m in moved]
        console.show_table(f"{len(rows)} moved", ["lock", "package", "old", "new"], rows)


def _renewed(images: str) -> list[Moved]:
    from toolchain import images as known
    from toolchain import imagespec, relock, targets
    from toolchain.store import Store

    moved = []
    kinds = options.names(images) or known.KINDS
    for spec in imagespec.every(kinds, targets.all_targets().values()):
        with console.step(f"lock of {spec.name}") as say:
            moved += relock.relock_image(spec, Store(), say)
    if not images:
        with console.step("lock of the Python requirements"):
            moved += relock.relock_requirements()
    return moved


def _keep_vendor(folder: Path) -> None:
    from toolchain import sources, vendor
    from toolchain.store import Store

    # the files come from the mirrors, whichever vendor folder builds are told to use
    os.environ.pop("EDGEWRIGHT_VENDOR", None)
    store, pins = Store(), vendor.pins()
    with console.step(f"files of the lock into {folder}") as say:
        sources.fetch_all(pins, store, console.counter(say))
        count = vendor.keep(folder, pins, lambda pin: sources.path_of(pin, store), say)
        vendor.keep_requirements(folder, say)
    console.note(f"{count} files; build from them with EDGEWRIGHT_VENDOR={folder}")


@task(help={"json": JSON})
@guarded
def models(_: Context, json: bool = False) -> None:
    """List the models of the catalogue."""
    from toolchain import models as catalogue

    known = catalogue.catalogue()
    if json:
        console.show_json({name: entry.model_dump(mode="json") for name, entry in known.items()})
        return
    rows = [
        [name, "×".join(str(n) for n in entry.shape), str(entry.classes), entry.title]
        for name, entry in known.items()
    ]
    console.show_table("models", ["model", "input", "classes", ""], rows)


MODEL_HELP = {
    "model": "names from the catalogue, separated by commas; a name for --model-file",
    "model-file": "a model of yours: .onnx, .keras, .h5 or a SavedModel folder",
    "weights": "file with the weights of a catalogue model; without it they are drawn",
    "batch": "batch sizes, separated by commas",
    "json": JSON,
}


@task(help=MODEL_HELP)
@guarded
def convert(
    _: Context,
    model: str = "",
    model_file: str = "",
    weights: str = "",
    batch: str = "1",
    json: bool = False,
) -> None:
    """Convert models to TFLite and ONNX and check them against their source."""
    cards = [card for _, card in _converted(model, model_file, weights, batch)]
    if json:
        console.show_json([card.model_dump(mode="json") for card in cards])
    else:
        _show_checks(cards)


@task(help=MODEL_HELP | {"target": TARGET, "opt-level": "0 to 3; what they mean is in docs/"})
@guarded
def compile(  # noqa: A001  # the task's name is the field's word
    _: Context,
    model: str = "",
    model_file: str = "",
    weights: str = "",
    batch: str = "1",
    target: str = DEFAULT_TARGET,
    opt_level: int = 3,
    json: bool = False,
) -> None:
    """Compile models by TVM to a library for a target; converts them first where needed."""
    from toolchain import compile as compiler
    from toolchain import crosslink, targets
    from toolchain.store import Store

    chosen = targets.target(target)
    cards = []
    for folder, card in _converted(model, model_file, weights, batch):
        title = f"compile {card.model}, batch {card.batch}, O{opt_level}, for {target}"
        with console.step(title) as say:
            link = crosslink.linker(chosen, Store(), say)
            cards.append(
                compiler.compile_model(
                    folder,
                    chosen,
                    opt_level,
                    link=link,
                    link_id=crosslink.identity(chosen),
                    progress=say,
                )
            )
    if json:
        console.show_json([card.model_dump(mode="json") for card in cards])
        return
    rows = [
        [card.model, str(card.batch), name, library.file, f"{library.size / 1e6:.1f} MB"]
        for card in cards
        for name, library in card.libraries.get(target, {}).items()
    ]
    console.show_table("libraries", ["model", "batch", "level", "file", "size"], rows)


def _converted(
    model: str, model_file: str, weights: str, batch: str
) -> Iterator[tuple[Path, ModelCard]]:
    from toolchain import convert as converter
    from toolchain import models as catalogue
    from toolchain import paths

    file = Path(model_file) if model_file else None
    names = [model] if file else options.names(model) or [""]
    for name in names:
        spec = catalogue.resolve(
            name or None, model_file=file, weights=Path(weights) if weights else None
        )
        for size in options.numbers("batch", batch):
            with console.step(f"convert {spec.name}, batch {size}") as say:
                card = converter.convert(spec, size, progress=say)
            yield paths.dist() / "models" / spec.name / f"b{size}", card


def _show_checks(cards: Sequence[ModelCard]) -> None:
    rows = [
        [
            card.model,
            str(card.batch),
            check.stage,
            f"{check.max_abs:.1e}",
            f"{check.max_rel:.1e}",
            f"{100 * check.top1_agreement:.1f} %",
            str(check.count),
        ]
        for card in cards
        for check in card.checks
    ]
    console.show_table(
        "checked against the source",
        ["model", "batch", "stage", "largest difference", "relative", "same top-1", "samples"],
        rows,
    )


@task(
    help={
        "host": "devices, separated by commas; all with results when left out",
        "all": "every result rather than each device's latest",
        "json": JSON,
    }
)
@guarded
def report(_: Context, host: str = "", all: bool = False, json: bool = False) -> None:  # noqa: A002
    """Show results as a table and write them as HTML, CSV and JSON to reports/."""
    from toolchain import paths, results
    from toolchain import report as reports

    found = results.load_all(paths.results())
    hosts = options.names(host)
    found = [r for r in found if not hosts or r.host in hosts]
    found = found if all else results.latest(found)
    built = reports.build(found)
    if json:
        console.out.file.write(built.json.read_text())
    else:
        reports.show(found, console.out)
    console.note(f"report: {built.html}")
