"""The tasks of emulated devices and of measurements: parse, call, print.

Those that take several devices are in deploy/tasks/fleet.py. Modules are imported by the task that
needs them, so that listing the tasks is quick.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, task

from deploy.tasks import boards
from toolchain import runtimes
from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import (
    DEFAULT_TARGET,
    HOST_HELP,
    INVENTORY,
    INVENTORY_HELP,
    JSON,
    OS,
    TARGET,
    Amount,
    Devices,
    Limit,
    Whole,
    option,
)

if TYPE_CHECKING:
    from deploy.emulator.devices import Emulated
    from deploy.inventory.reading import Device
    from deploy.measure.jobs import Selection
    from deploy.ssh.connection import Connection
    from toolchain.commandline.console import Say

QUIET_DEVICE = "wait until nobody else works on the device, and until it has little else to do"


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """Which of what is deployed, but for models, batches and threads."""

    runtime: str = option(
        "",
        f"{', '.join(runtimes.names())}, or all, which says why others don't run; all that are "
        "deployed when left out",
    )
    variant: str = option("", "variants such as fp32,int8; all that are deployed when left out")
    opt_level: str = option(
        "", "levels of compiled libraries, separated by commas; all when left out"
    )

    def selection(
        self, *, models: Sequence[str], batches: Sequence[int], threads: Sequence[int]
    ) -> Selection:
        """With these, what is to be measured.

        Raises:
            UsageError: a level is no number.
        """
        from deploy.measure.jobs import Selection

        return Selection(
            models=models,
            runtimes=options.names(self.runtime),
            variants=options.names(self.variant),
            batches=batches,
            opt_levels=options.numbers("opt-level", self.opt_level),
            threads=threads,
        )


@dataclass(frozen=True, kw_only=True)
class Jobs(Deployed):
    """What of it is run, and on how many threads."""

    model: str = option("", "models, separated by commas; all that are deployed when left out")
    batch: str = option("", "batch sizes, separated by commas; all that are deployed when left out")
    threads: str = option("1", "thread counts, separated by commas")

    def chosen(self) -> Selection:
        """What is to be run.

        Raises:
            UsageError: a batch size, a level or a number of threads is no number.
        """
        return self.selection(
            models=options.names(self.model),
            batches=options.numbers("batch", self.batch),
            threads=options.numbers("threads", self.threads),
        )


@task(
    help={
        "target": TARGET,
        "name": "name in the inventory; emu-TARGET or emu-TARGET-OS when left out",
        "cpu": "QEMU_CPU of the device; the target's own when left out",
        "os": OS,
        "inventory": INVENTORY_HELP,
        "json": JSON,
    }
)
@guarded
def emulator_up(
    _: Context,
    *,
    target: str = DEFAULT_TARGET,
    name: str = "",
    cpu: str = "",
    os: str = "",
    inventory: str = INVENTORY,
    json: bool = False,
) -> None:
    """Start an emulated device with a real sshd and enter it into the inventory."""
    from deploy.emulator import devices as emulator
    from deploy.inventory import selection
    from toolchain import targets
    from toolchain.shared_cache import shared_store

    chosen, store = targets.target(boards.target_named(target)), shared_store.opened(console.note)
    chosen_name = name or emulator.default_name(chosen, os)
    with console.step(f"emulated device {chosen_name}") as say:
        device = emulator.up(
            chosen,
            chosen_name,
            selection.file_of(inventory),
            cpu=cpu,
            system=os,
            store=store,
            progress=say,
        )
    _show_emulated([device], json=json)


@task(help={"name": "name in the inventory", "inventory": INVENTORY_HELP})
@guarded
def emulator_down(
    _: Context, name: str = f"emu-{DEFAULT_TARGET}", inventory: str = INVENTORY
) -> None:
    """Take an emulated device away: container, keys and inventory entry."""
    from deploy.emulator import devices as emulator
    from deploy.inventory import selection

    with console.step(f"emulated device {name}"):
        existed = emulator.down(name, selection.file_of(inventory))
    console.note(f"{name} is gone" if existed else f"there was no {name}")


@task(help={"name": "name in the inventory"})
@guarded
def emulator_stop(_: Context, name: str = f"emu-{DEFAULT_TARGET}") -> None:
    """Switch an emulated device off: its keys, files and inventory entry stay."""
    from deploy.emulator import devices as emulator

    with console.step(f"emulated device {name}"):
        emulator.stop(name)
    console.note(f"{name} is off; on again: invoke emulator.start --name {name}")


@task(help={"name": "name in the inventory", "inventory": INVENTORY_HELP, "json": JSON})
@guarded
def emulator_start(
    _: Context,
    name: str = f"emu-{DEFAULT_TARGET}",
    inventory: str = INVENTORY,
    json: bool = False,
) -> None:
    """Switch an emulated device on again, with the port, keys and releases that it had."""
    from deploy.emulator import devices as emulator
    from deploy.inventory import selection

    with console.step(f"emulated device {name}") as say:
        device = emulator.start(name, selection.file_of(inventory), say)
    _show_emulated([device], json=json)


@task(help={"json": JSON})
@guarded
def emulator_status(_: Context, json: bool = False) -> None:
    """List the emulated devices of this machine."""
    from deploy.emulator import devices as emulator
    from toolchain.images.engine import Engine

    _show_emulated(list(emulator.status(Engine()).values()), json=json)


def _show_emulated(devices: Sequence[Emulated], *, json: bool) -> None:
    if json:
        console.show_json([vars(d) for d in devices])
        return
    rows = [[d.name, d.target, f"127.0.0.1:{d.port}", d.state] for d in devices]
    console.show_table("emulated devices", ["name", "target", "sshd", "state"], rows)


@task(
    help=HOST_HELP
    | options.help_of(Jobs)
    | {
        "budget": "seconds to measure each model under each runtime; at least three samples; what "
        "is checked beside it has bounds of its own",
        "parity-samples": "inputs whose outputs are compared with the reference",
        "count-instructions": "count guest instructions an inference instead (emulated devices)",
        "anew": "measure all again, also when the last run was cut short",
        "quiet-device": QUIET_DEVICE,
        "quiet": "no table",
    }
)
@guarded
@options.given(asked=Jobs)
def bench(
    _: Context,
    *,
    host: str = "",
    budget: float = Amount(10),
    asked: Jobs,
    parity_samples: int = Whole(8),
    count_instructions: bool = False,
    anew: bool = False,
    quiet_device: bool = False,
    inventory: str = INVENTORY,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Measure the deployed models on a device and bring the samples home to results/."""
    from deploy.emulator import devices as emulator
    from deploy.measure import bench as benchmark
    from deploy.measure import jobs as deployed
    from deploy.measure import matrix_order
    from toolchain.core import paths
    from toolchain.report import reports
    from toolchain.results import measurement, shared_folder
    from toolchain.shared_cache import shared_store

    selection = asked.chosen()
    store = shared_store.opened(console.note) if count_instructions else None
    with alone_on(host, inventory, "bench", quiet=quiet_device) as (device, conn, say):
        current = f"{device.root}/current"
        release = deployed.deployed(conn, current)
        settings = measurement.Settings(budget_s=budget, parity_samples=parity_samples)
        before = matrix_order.unfinished(
            [] if anew else measurement.load_all(paths.results(), console.note),
            host=host,
            release=release.release,
            settings=settings,
            counted=count_instructions,
        )
        result, path = benchmark.run(
            conn,
            host=host,
            release=current,
            emulated=device.emulated,
            settings=settings,
            jobs=deployed.plan(release, selection),
            before=before,
            counter=emulator.counter(host, store, say) if store is not None else None,
            progress=lambda p: say(f"{p.job + 1}/{p.of} {p.label}: {p.stage}"),
        )
    shared_folder.give(path, shared_folder.MEASUREMENTS, console.note)
    if json:
        console.show_json(result.model_dump(mode="json", by_alias=True))
    elif not quiet:
        reports.show([result], console.out)
    skipped = deployed.left_out(release, selection)
    for line in filter(None, [*skipped, benchmark.crowded(result), f"samples: {path}"]):
        console.note(line)


@task(
    help=options.help_of(Devices)
    | {
        "model": "the model; the catalogue's first when left out",
        "model-file": "the model's file, when it is not from the catalogue",
        "batch": "its batch size",
        "variant": "its variant, such as fp32 or int8",
        "trials": "so many candidates, those of earlier searches included",
        "minutes": "so many minutes; with --trials, whichever ends first",
        "turn": "leave the boards to whoever waits for them every so many minutes, and wait for a "
        "board that is busy; 0 keeps them to the end",
        "quiet-device": QUIET_DEVICE,
        "json": JSON,
    }
)
@guarded
@options.given(asked=Devices)
def tune(
    _: Context,
    *,
    model: str = "",
    model_file: str = "",
    batch: int = Whole(1),
    variant: str = "fp32",
    trials: int = Whole(0),
    minutes: float = Limit(0),
    turn: float = Limit(0),
    quiet_device: bool = False,
    json: bool = False,
    asked: Devices,
) -> None:
    """Search on devices for better tiles, which `compile` then uses."""
    from deploy.inventory import selection
    from deploy.measure import tuning_devices as tuning
    from toolchain import matrix
    from toolchain.core import paths
    from toolchain.models import variants
    from toolchain.models.resolve import resolve_model
    from toolchain.tuning import run
    from toolchain.tuning.budget import Budget

    devices = selection.devices(asked)
    target = tuning.only_target(devices)
    budget = Budget(trials=trials or None, minutes=minutes or None)
    spec = resolve_model(model or None, model_file=Path(model_file) if model_file else None)
    (form,) = variants.chosen([variant])
    made = matrix.converted([spec], [batch], [form], console.step)
    made.refuse()
    ((folder, manifest),) = made.manifests.items()
    names = ", ".join(device.name for device in devices)
    with console.step(f"tune {manifest.model} on {names}") as say:
        tuned = tuning.tune(
            devices, folder, form, budget, say, quiet=quiet_device, turn_s=60 * turn
        )
        path = run.save(tuned, paths.results() / "tuning")
    if json:
        console.show_json(tuned.plain())
    else:
        title = f"better tiles for {target.name}"
        console.show_table(title, run.COLUMNS, run.rows(tuned.found))
        for line in run.told(tuned.found):
            console.note(line)
    console.note(f"what came of it: {path}")
    console.note(f"to use it: invoke compile --model {manifest.model} --target {target.name}")


@task
@guarded
def schemas(_: Context) -> None:
    """Write the JSON Schemas of the files others rely on to docs/reference/schemas/."""
    from deploy import schemas as generated

    for path in generated.write():
        console.note(str(path))


@contextmanager
def alone_on(
    host: str, inventory: str, what: str, *, quiet: bool
) -> Iterator[tuple[Device, Connection, Say]]:
    """A step on a device of the inventory, which nobody else changes or measures meanwhile.

    Yields:
        the device, the open connection, what takes a line.
    """
    from deploy.inventory import selection
    from deploy.measure.exclusive_use import exclusive
    from deploy.ssh import connection

    device = selection.only(Devices(host=host, inventory=inventory))
    with (
        console.step(f"{what} on {host}") as say,
        connection.connect(device) as conn,
        exclusive(conn, what, say, quiet=quiet),
    ):
        yield device, conn, say
