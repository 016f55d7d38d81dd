"""The tasks that work on one device or on many: parse, call, print.

With one device its own error ends the task and its own result is printed; with several each has a
result, and the task fails with `FleetError` when one of them is not good. Modules are imported by
the task that needs them, so that listing the tasks is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invoke import Context, task

from toolchain.core import console, options
from toolchain.core.console import guarded
from toolchain.core.errors import FleetError
from toolchain.core.options import JSON, Fleet, OrderedFleet

if TYPE_CHECKING:
    from deploy.inventory.reading import Device
    from deploy.release.fleet import HostResult, Limits, Work

FLEET_HELP = options.help_of(Fleet) | {"json": JSON}
ORDERED_HELP = options.help_of(OrderedFleet) | {"json": JSON}


@dataclass(frozen=True, kw_only=True)
class _Said:
    """How a task's result is said.

    Attributes:
        one: shows the value of a single device.
        line: the value in some words, for the table of several.
    """

    one: Callable[[str, Any], None]
    line: Callable[[Any], str]


@task(help=FLEET_HELP)
@guarded
@options.given(fleet=Fleet)
def probe(_: Context, *, fleet: Fleet, json: bool = False) -> None:
    """Show what a device is: architecture, Python, glibc, numpy, CPU extensions, disk."""
    from deploy.inventory import selection
    from deploy.release import rollout

    def show(name: str, found: dict[str, Any]) -> None:
        rows = [[key, _plain(value)] for key, value in found.items()]
        console.show_table(name, ["what", "found"], rows)

    def line(found: dict[str, Any]) -> str:
        return f"{found['machine']}, {found['os']}, Python {found['python']}"

    limits, devices = _limits(fleet), selection.devices(fleet)
    _work("probe", devices, rollout.looked_at, limits, _Said(one=show, line=line), json=json)


@task(
    help=ORDERED_HELP
    | {
        "model": "models to send, separated by commas; all that are compiled when left out",
        "dry-run": "show what would be done and change nothing",
    }
)
@guarded
@options.given(fleet=OrderedFleet)
def deploy(
    _: Context,
    model: str = "",
    *,
    fleet: OrderedFleet,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Send wheels and models to a device, install them there, check, and switch to them."""
    from deploy.inventory import selection
    from deploy.release import rollout
    from toolchain import targets
    from toolchain.bundle import assemble, compiled_models
    from toolchain.core import signing

    limits, devices = _limits(fleet), selection.devices(fleet)
    names = sorted({d.target for d in devices})
    with console.step(f"bundle for {', '.join(names)}"):
        wanted = options.names(model)
        bundles = {
            target.name: assemble.make(target, compiled_models.chosen(target, wanted))
            for target in map(targets.target, names)
        }
        signing.seal_bundles({f: assemble.load(f).release for f in bundles.values()})

    def show(name: str, done: dict[str, Any]) -> None:
        if dry_run:
            rows = [[str(n), line] for n, line in enumerate(done["steps"], start=1)]
            console.show_table(f"plan for {name}", ["", "step"], rows)
            return
        console.out.print(
            f"{name}: {done['status']}, release {done['release'][:16]}, "
            f"{done['sent']} payload bytes sent"
        )

    def line(done: dict[str, Any]) -> str:
        size = f"{done['payload']} bytes to send" if dry_run else f"{done['sent']} bytes sent"
        return f"{done['release'][:16]}, {size}"

    work = rollout.planned(bundles) if dry_run else rollout.deployed(bundles)
    _work("deploy", devices, work, limits, _Said(one=show, line=line), json=json)


@task(help=FLEET_HELP)
@guarded
@options.given(fleet=Fleet)
def releases(_: Context, *, fleet: Fleet, json: bool = False) -> None:
    """List the releases on a device and which of them runs."""
    from deploy.inventory import selection
    from deploy.release import rollout

    def show(name: str, found: list[dict[str, Any]]) -> None:
        rows = [
            [r["folder"], r["at"], ", ".join(r["models"]),
             "runs" if r["running"] else "previous" * r["previous"]]
            for r in found
        ]  # fmt: skip
        console.show_table(f"releases on {name}", ["release", "installed", "models", ""], rows)

    def line(found: list[dict[str, Any]]) -> str:
        return next((f"runs {r['folder']}" for r in found if r["running"]), "runs nothing")

    limits, devices = _limits(fleet), selection.devices(fleet)
    _work("releases", devices, rollout.listed, limits, _Said(one=show, line=line), json=json)


@task(help=ORDERED_HELP)
@guarded
@options.given(fleet=OrderedFleet)
def rollback(_: Context, *, fleet: OrderedFleet, json: bool = False) -> None:
    """Switch a device back to the release that it ran before."""
    from deploy.inventory import selection
    from deploy.release import rollout

    def show(name: str, done: dict[str, Any]) -> None:
        console.out.print(f"{name} runs {done['folder']} again, in place of {done['replaced']}")

    def line(done: dict[str, Any]) -> str:
        return f"runs {done['folder']} again"

    limits, devices = _limits(fleet), selection.devices(fleet)
    _work("rollback", devices, rollout.rolled_back, limits, _Said(one=show, line=line), json=json)


@task(
    help=FLEET_HELP
    | {"host": "devices to give the public key to; none when left out and no group is given"}
)
@guarded
@options.given(fleet=Fleet)
def keys(_: Context, *, fleet: Fleet, json: bool = False) -> None:
    """Make the key that signs releases, and have devices take nothing that it did not sign."""
    from deploy.inventory import selection
    from deploy.release import rollout
    from toolchain.core import signing

    path, made = signing.make_key()
    console.note(f"{path}: {'made; keep a copy of it' if made else 'is there already'}")
    key = signing.public_key()
    if not fleet.host and not fleet.group:
        if json:
            console.show_json({"key": key, "path": str(path), "made": made})
        else:
            console.out.print(key, highlight=False, soft_wrap=True)
        return

    def show(name: str, _done: dict[str, Any]) -> None:
        console.out.print(f"{name} takes only what this key signed")

    limits, devices = _limits(fleet), selection.devices(fleet)
    said = _Said(one=show, line=lambda _: "takes only what this key signed")
    _work("keys", devices, rollout.trusting(key), limits, said, json=json)


def _limits(fleet: Fleet) -> Limits:
    from deploy.release.fleet import Limits

    canary, failures = (
        (fleet.canary, fleet.max_failures) if isinstance(fleet, OrderedFleet) else (0, 0)
    )
    return Limits(parallel=fleet.parallel, step=fleet.step_limit, canary=canary, failures=failures)


def _work(
    what: str, devices: Sequence[Device], work: Work, limits: Limits, said: _Said, *, json: bool
) -> None:
    """Do it on every device and show what came of it.

    Raises:
        EdgewrightError: the error of the only device.
        FleetError: of several devices one is not good.
    """
    from deploy.release import fleet

    if len(devices) == 1:
        name = devices[0].name
        with console.step(f"{what}: {name}") as say:
            (result,) = fleet.run(devices, work, limits=limits, show=lambda _n, _s, line: say(line))
            if result.error is not None:
                raise result.error
        if json:
            console.show_json(result.value)
        else:
            said.one(name, result.value)
        return
    names = [d.name for d in devices]
    with console.board(f"{what}: {len(names)} devices", names) as show:
        results = fleet.run(devices, work, limits=limits, show=show)
    if json:
        console.show_json([r.plain() for r in results])
    else:
        rows = [
            [r.host, r.status, said.line(r.value) if r.good else _brief(r), f"{r.seconds:.1f}"]
            for r in results
        ]
        console.show_table(what, ["host", "result", "", "s"], rows)
    _raise_for(results)


def _raise_for(results: Sequence[HostResult]) -> None:
    bad = [r for r in results if not r.good]
    if bad:
        raise FleetError(
            f"{len(bad)} of {len(results)} devices are not as asked: "
            + ", ".join(f"{r.host} {r.status}" for r in bad),
            detail="\n".join(
                f"{r.host}: {r.error.detail}" for r in bad if r.error and r.error.detail
            ),
            resolution="\n".join(
                dict.fromkeys(r.error.resolution for r in bad if r.error and r.error.resolution)
            ),
        )


def _brief(result: HostResult) -> str:
    return result.error.brief.removeprefix(f"{result.host}: ") if result.error else ""


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return "-" if value is None else str(value)
