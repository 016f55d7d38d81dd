"""The invoke tasks: parse, call, print. No logic; `invoke --list` is the manual.

Modules are imported by the task that needs them, so that listing the tasks is quick.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Collection, Context, task

from toolchain import console
from toolchain.console import guarded

if TYPE_CHECKING:
    from deploy.emulator import Emulated
    from toolchain.card import ModelCard

INVENTORY = "inventory.yml"
DEFAULT_TARGET = "rv64gc"
DEFAULT_PYTHON = "3.13"
QUICKSTART_MODELS = "digits-cnn,mobilenetv3-large"
JSON = "print JSON instead of a table"
TARGET = "name of a target in toolchain/targets.toml"
PYTHON = "version of the device's Python, such as 3.13"
HOST = "name of a device in the inventory"
INVENTORY_HELP = "the inventory file"


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


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


@task(help={"target": TARGET, "json": JSON})
@guarded
def build_images(_: Context, target: str = DEFAULT_TARGET, json: bool = False) -> None:
    """Build the images of a target: the cross image and the emulated device's."""
    from toolchain import images, imagespec, targets
    from toolchain.engine import Engine
    from toolchain.store import Store

    chosen = targets.target(target)
    specs = [imagespec.spec(kind, chosen) for kind in images.KINDS]
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
        "python": PYTHON,
        "only": "wheels to build, separated by commas; all when left out",
        "json": JSON,
    }
)
@guarded
def build_wheels(
    _: Context,
    target: str = DEFAULT_TARGET,
    python: str = DEFAULT_PYTHON,
    only: str = "",
    json: bool = False,
) -> None:
    """Cross-build the wheels of a target into dist/wheels/<target>/."""
    from toolchain import targets
    from toolchain.store import Store
    from toolchain.wheels import build

    chosen = targets.target(target)
    built = []
    for name in _list(only) or build.ALL:
        with console.step(f"wheel {name} for {target}") as say:
            counter = console.counter(say)
            built.append(build.build(chosen, python, name, Store(), progress=say, fetched=counter))
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


@task(help={"images": "names such as cross,device; all when left out", "json": JSON})
@guarded
def lock(_: Context, images: str = "", json: bool = False) -> None:
    """Renew the pins of every image's packages and of the Python requirements; show what moved."""
    from toolchain import images as known
    from toolchain import imagespec, relock, targets
    from toolchain.store import Store

    moved = []
    for kind in _list(images) or known.KINDS:
        specs = {
            s.name: s for t in targets.all_targets().values() if (s := imagespec.spec(kind, t))
        }
        for spec in specs.values():
            with console.step(f"lock of {spec.name}") as say:
                moved += relock.relock_image(spec, Store(), say)
    if not images:
        with console.step("lock of the Python requirements"):
            moved += relock.relock_requirements()
    if json:
        console.show_json([vars(m) for m in moved])
    else:
        rows = [[m.image, m.name, m.old or "-", m.new or "-"] for m in moved]
        console.show_table(f"{len(rows)} moved", ["lock", "package", "old", "new"], rows)


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
    names = [model] if file else _list(model) or [""]
    for name in names:
        spec = catalogue.resolve(
            name or None, model_file=file, weights=Path(weights) if weights else None
        )
        for size in _numbers("batch", batch):
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
        "target": TARGET,
        "name": "name in the inventory; emu-TARGET when left out",
        "cpu": "QEMU_CPU of the device; the target's own when left out",
        "inventory": INVENTORY_HELP,
        "json": JSON,
    }
)
@guarded
def emulator_up(
    _: Context,
    target: str = DEFAULT_TARGET,
    name: str = "",
    cpu: str = "",
    inventory: str = INVENTORY,
    json: bool = False,
) -> None:
    """Start an emulated device with a real sshd and enter it into the inventory."""
    from deploy import emulator
    from toolchain import targets

    chosen = targets.target(target)
    chosen_name = name or emulator.default_name(chosen)
    with console.step(f"emulated device {chosen_name}") as say:
        device = emulator.up(chosen, chosen_name, Path(inventory), cpu=cpu, progress=say)
    _show_emulated([device], json=json)


@task(help={"name": "name in the inventory", "inventory": INVENTORY_HELP})
@guarded
def emulator_down(
    _: Context, name: str = f"emu-{DEFAULT_TARGET}", inventory: str = INVENTORY
) -> None:
    """Take an emulated device away: container, keys and inventory entry."""
    from deploy import emulator

    with console.step(f"emulated device {name}"):
        there = emulator.down(name, Path(inventory))
    console.note(f"{name} is gone" if there else f"there was no {name}")


@task(help={"json": JSON})
@guarded
def emulator_status(_: Context, json: bool = False) -> None:
    """List the emulated devices of this machine."""
    from deploy import emulator
    from toolchain.engine import Engine

    _show_emulated(list(emulator.status(Engine()).values()), json=json)


def _show_emulated(devices: Sequence[Emulated], *, json: bool) -> None:
    if json:
        console.show_json([vars(d) for d in devices])
        return
    rows = [[d.name, d.target, f"127.0.0.1:{d.port}", d.state] for d in devices]
    console.show_table("emulated devices", ["name", "target", "sshd", "state"], rows)


HOST_HELP = {"host": HOST, "inventory": INVENTORY_HELP, "json": JSON}


@task(help=HOST_HELP)
@guarded
def probe(_: Context, host: str, inventory: str = INVENTORY, json: bool = False) -> None:
    """Show what a device is: architecture, Python, glibc, numpy, CPU extensions, disk."""
    from deploy import connection
    from deploy import inventory as inventories
    from deploy import probe as prober

    device = inventories.load(Path(inventory)).host(host)
    with console.step(f"probe of {host}"), connection.connect(device) as conn:
        facts = prober.probe(conn)
    found = facts.model_dump(mode="json")
    if json:
        console.show_json(found)
    else:
        rows = [[key, _plain(value)] for key, value in found.items()]
        console.show_table(host, ["what", "found"], rows)


@task(
    help=HOST_HELP
    | {
        "model": "models to send, separated by commas; all that are compiled when left out",
        "dry-run": "show what would be done and change nothing",
    }
)
@guarded
def deploy(
    _: Context,
    host: str,
    model: str = "",
    inventory: str = INVENTORY,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Send wheels and models to a device, install them there, check, and switch to them."""
    from deploy import connection, release
    from deploy import inventory as inventories
    from toolchain import bundle, targets

    device = inventories.load(Path(inventory)).host(host)
    with console.step(f"bundle for {host}"):
        target = targets.target(device.target)
        folder = bundle.make(target, device.python, _list(model), [])
    with console.step(f"deploy to {host}") as say, connection.connect(device) as conn:
        if dry_run:
            planned = release.plan(conn, bundle.load(folder))
        else:
            outcome = release.deploy(conn, folder, say=say)
    if json:
        console.show_json((planned if dry_run else outcome).model_dump(mode="json"))
    elif dry_run:
        rows = [[str(n), line] for n, line in enumerate(planned.steps(), start=1)]
        console.show_table(f"plan for {host}", ["", "step"], rows)
    else:
        console.out.print(
            f"{host}: {outcome.status}, release {outcome.release[:16]}, "
            f"{outcome.sent} payload bytes sent"
        )


@task(help=HOST_HELP)
@guarded
def releases(_: Context, host: str, inventory: str = INVENTORY, json: bool = False) -> None:
    """List the releases on a device and which of them runs."""
    from deploy import connection, release
    from deploy import inventory as inventories

    device = inventories.load(Path(inventory)).host(host)
    with console.step(f"releases on {host}"), connection.connect(device) as conn:
        found = release.releases(conn)
    if json:
        console.show_json([r.model_dump(mode="json") for r in found])
        return
    rows = [
        [r.folder, r.at, ", ".join(r.models), "runs" if r.running else "previous" * r.previous]
        for r in found
    ]
    console.show_table(f"releases on {host}", ["release", "installed", "models", ""], rows)


@task(help=HOST_HELP)
@guarded
def rollback(_: Context, host: str, inventory: str = INVENTORY, json: bool = False) -> None:
    """Switch a device back to the release that it ran before."""
    from deploy import connection, release
    from deploy import inventory as inventories

    device = inventories.load(Path(inventory)).host(host)
    with console.step(f"rollback of {host}"), connection.connect(device) as conn:
        done = release.rollback(conn)
    if json:
        console.show_json(done.model_dump(mode="json"))
    else:
        console.out.print(f"{host} runs {done.folder} again, in place of {done.replaced}")


@task(
    help=HOST_HELP
    | {
        "budget": "seconds to measure each model under each runtime; at least three samples",
        "model": "models, separated by commas; all that are deployed when left out",
        "runtime": "tflite, tvm; both when left out",
        "batch": "batch sizes, separated by commas; all that are deployed when left out",
        "threads": "thread counts, separated by commas",
        "parity-samples": "inputs whose outputs are compared with the reference",
        "quiet": "no table",
    }
)
@guarded
def bench(
    _: Context,
    host: str,
    budget: float = 10.0,
    model: str = "",
    runtime: str = "",
    batch: str = "",
    threads: str = "1",
    parity_samples: int = 8,
    inventory: str = INVENTORY,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Measure the deployed models on a device and bring the samples home to results/."""
    from deploy import bench as benchmark
    from deploy import connection
    from deploy import inventory as inventories
    from toolchain import report as reports
    from toolchain import results

    device = inventories.load(Path(inventory)).host(host)
    with console.step(f"bench on {host}") as say, connection.connect(device) as conn:
        current = f"{device.root}/current"
        jobs = benchmark.plan(
            benchmark.deployed(conn, current),
            models=_list(model),
            runtimes=_list(runtime),
            batches=_numbers("batch", batch),
            threads=_numbers("threads", threads),
        )
        result, path = benchmark.run(
            conn,
            host=host,
            release=current,
            emulated=device.emulated,
            settings=results.Settings(budget_s=budget, parity_samples=parity_samples),
            jobs=jobs,
            progress=lambda p: say(f"{p.job + 1}/{p.of} {p.label}: {p.stage}"),
        )
    if json:
        console.show_json(result.model_dump(mode="json"))
    elif not quiet:
        reports.show([result], console.out)
    console.note(f"samples: {path}")


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
    hosts = _list(host)
    found = [r for r in found if not hosts or r.host in hosts]
    found = found if all else results.latest(found)
    built = reports.build(found)
    if json:
        console.out.file.write(built.json.read_text())
    else:
        reports.show(found, console.out)
    console.note(f"report: {built.html}")


@task(help={"budget": "seconds to measure each model under each runtime"})
@guarded
def quickstart(context: Context, budget: float = 2.0) -> None:
    """Go from nothing to two models measured on an emulated RISC-V device: all tasks in order."""
    host = f"emu-{DEFAULT_TARGET}"
    build_images.body(context)
    build_wheels.body(context)
    convert.body(context, model=QUICKSTART_MODELS)
    compile.body(context, model=QUICKSTART_MODELS)
    emulator_up.body(context)
    deploy.body(context, host=host, model=QUICKSTART_MODELS)
    # the report shows the table
    bench.body(context, host=host, budget=budget, parity_samples=4, quiet=True)
    report.body(context, host=host)


@task
@guarded
def schemas(_: Context) -> None:
    """Write the JSON Schemas of inventory, manifest, model and result to docs/schemas/."""
    from deploy import schemas as generated

    for path in generated.write():
        console.note(str(path))


def _numbers(what: str, text: str) -> list[int]:
    from toolchain.errors import UsageError

    try:
        return [int(part) for part in _list(text)]
    except ValueError as error:
        raise UsageError(
            f"--{what} takes whole numbers separated by commas, not {text!r}"
        ) from error


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return "-" if value is None else str(value)


ns = Collection(
    doctor, setup, build_images, build_wheels, lock, models, convert, compile, probe, deploy,
    releases, rollback, bench, report, quickstart, schemas,
)  # fmt: skip
_emulator = Collection("emulator")
for _task, _name in ((emulator_up, "up"), (emulator_down, "down"), (emulator_status, "status")):
    _emulator.add_task(_task, name=_name)
ns.add_collection(_emulator)
