"""The tasks that work on one device or on many: parse, call, print.

With one device its own error ends the task and its own result is printed; with several each has a
result, and the task fails with `FleetError` when one of them is not good. Modules are imported by
the task that needs them, so that listing the tasks is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from invoke import Context, task

from toolchain import runtimes
from toolchain.commandline import console, options
from toolchain.commandline.console import guarded
from toolchain.commandline.options import JSON, WHEELS, Fleet, OrderedFleet, Whole
from toolchain.core.errors import FleetError, UsageError

if TYPE_CHECKING:
    from deploy.inventory.reading import Device
    from deploy.release.fleet import HostResult, Limits, Work
    from deploy.release.plan import (
        Installed,
        Outcome,
        Plan,
        Removed,
        RolledBack,
        Trusted,
        Trusting,
    )
    from deploy.release.probed_facts import DeviceFacts

FLEET_HELP = options.help_of(Fleet) | {"json": JSON}
ORDERED_HELP = options.help_of(OrderedFleet) | {"json": JSON}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class _Shown(Generic[T]):
    """How a task's result is shown.

    Attributes:
        one: shows the value of a single device, whose name it gets first.
        line: the value in some words, for the table of several.
    """

    one: Callable[[str, T], None]
    line: Callable[[T], str]


@task(help=FLEET_HELP)
@guarded
@options.given(fleet=Fleet)
def probe(_: Context, *, fleet: Fleet, json: bool = False) -> None:
    """Show what a device is: architecture, Python, glibc, numpy, CPU extensions, disk."""
    from deploy.inventory import selection
    from deploy.release import rollout

    def show(name: str, facts: DeviceFacts) -> None:
        rows = [[key, _plain(value)] for key, value in facts.model_dump(mode="json").items()]
        console.show_table(name, ["what", "found"], rows)

    def line(facts: DeviceFacts) -> str:
        return f"{facts.machine}, {facts.os}, Python {facts.python}"

    limits, devices = _limits(fleet), selection.devices(fleet)
    _work("probe", devices, rollout.probed, limits, _Shown(one=show, line=line), json=json)


@task(
    help=ORDERED_HELP
    | {
        "model": "models to send, separated by commas; all that are compiled when left out",
        "runtime": f"{', '.join(runtimes.names())}, or all (docs/reference/runtimes.md)",
        "variant": "variants such as fp32,int8; all that were made when left out",
        "opt-level": "levels of compiled libraries, separated by commas; all when left out",
        "wheels": WHEELS,
        "samples": "inputs of each model to compare outputs on, there; all when 0",
        "library": "send the library for programs in C and C++ too (build-library makes it)",
        "dry-run": "show what would be done and change nothing",
    }
)
@guarded
@options.given(fleet=OrderedFleet)
def deploy(
    _: Context,
    model: str = "",
    variant: str = "",
    opt_level: str = "",
    *,
    runtime: str = "",
    samples: int = Whole(0),
    wheels: str = "built",
    library: bool = False,
    fleet: OrderedFleet,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Send wheels and models to a device, install them there, check, and switch to them."""
    from deploy.inventory import schema, selection
    from deploy.release import rollout
    from deploy.tasks.chosen_models import chosen
    from toolchain import targets
    from toolchain.bundle import assemble, by_python
    from toolchain.bundle.choice import Choice
    from toolchain.bundle.wheels import Wanted, are_official
    from toolchain.core import signing
    from toolchain.library import library_folder

    levels = options.numbers("opt-level", opt_level)
    wanted = Choice(
        runtimes=options.names(runtime), variants=options.names(variant), opt_levels=levels
    )
    models, as_published = options.names(model), are_official(wheels)
    limits, devices = _limits(fleet), selection.devices(fleet)
    names, bundles, in_c = sorted({d.target for d in devices}), {}, (library_folder.RUNTIME,)

    plans: _Shown[Plan] = _Shown(
        one=_show_plan, line=lambda plan: f"{plan.release[:16]}, {plan.payload} bytes to send"
    )
    outcomes: _Shown[Outcome] = _Shown(
        one=_show_outcome,
        line=lambda done: f"{done.release[:16]}, {done.sent_in_words()} bytes sent",
    )
    with ExitStack() as held:
        with console.step(f"bundle for {', '.join(names)}"):
            for target in map(targets.target, names):
                python = any(
                    d.python != schema.NO_PYTHON for d in devices if d.target == target.name
                )
                of_them = wanted if python or wanted.runtimes else replace(wanted, runtimes=in_c)
                sent = chosen(target, models, of_them, as_published=as_published)
                of_wheels = Wanted(
                    as_published=as_published, python=python, runtimes=wanted.runtimes
                )
                made = assemble.to_send(target, sent, samples, wanted=of_wheels, library=library)
                bundles[target.name] = held.enter_context(made)
            every = [f for of in bundles.values() for f in (of, *by_python.split(of))]
            signing.seal_bundles({folder: assemble.load(folder).release for folder in every})
        if dry_run:
            _work("deploy", devices, rollout.planned(bundles), limits, plans, json=json)
        else:
            _work("deploy", devices, rollout.deployed(bundles), limits, outcomes, json=json)


def _show_plan(name: str, plan: Plan) -> None:
    rows = [[str(n), step] for n, step in enumerate(plan.steps, start=1)]
    console.show_table(f"plan for {name}", ["", "step"], rows)


def _show_outcome(name: str, outcome: Outcome) -> None:
    console.out.print(
        f"{name}: {outcome.status}, release {outcome.release[:16]}, "
        f"{outcome.sent_in_words()} payload bytes sent"
    )


@task(
    help=FLEET_HELP
    | {
        "remove": "remove that release, by its name in this list or how its id begins",
        "force": "also when it is the one that a rollback goes back to",
    }
)
@guarded
@options.given(fleet=Fleet)
def releases(
    _: Context, *, fleet: Fleet, remove: str = "", force: bool = False, json: bool = False
) -> None:
    """List the releases on a device and which of them runs, or remove one."""
    from deploy.inventory import selection
    from deploy.release import rollout

    limits, devices = _limits(fleet), selection.devices(fleet)
    if remove:
        gone: _Shown[Removed] = _Shown(
            one=lambda name, it: console.out.print(f"{name}: {it.folder} is gone"),
            line=lambda it: f"{it.folder} is gone",
        )
        work = rollout.removed(remove, previous=force)
        _work("releases", devices, work, limits, gone, json=json)
        return

    def show(name: str, installed: list[Installed]) -> None:
        rows = [
            [r.folder, r.at, ", ".join(r.models), "runs" if r.running else "previous" * r.previous]
            for r in installed
        ]
        if not rows:
            console.note(f"nothing is deployed on {name} yet: invoke deploy --host {name}")
            return
        console.show_table(f"releases on {name}", ["release", "installed", "models", ""], rows)

    def line(installed: list[Installed]) -> str:
        return next((f"runs {r.folder}" for r in installed if r.running), "runs nothing")

    _work("releases", devices, rollout.listed, limits, _Shown(one=show, line=line), json=json)


@task(
    help=ORDERED_HELP
    | {"to": "release to switch to, as `releases` lists it; the one before when left out"}
)
@guarded
@options.given(fleet=OrderedFleet)
def rollback(_: Context, *, fleet: OrderedFleet, to: str = "", json: bool = False) -> None:
    """Switch a device back to the release that it ran before."""
    from deploy.inventory import selection
    from deploy.release import rollout

    def show(name: str, switched: RolledBack) -> None:
        console.out.print(f"{name} runs {switched.folder} again, in place of {switched.replaced}")

    def line(switched: RolledBack) -> str:
        return f"runs {switched.folder} again"

    limits, devices = _limits(fleet), selection.devices(fleet)
    _work(
        "rollback", devices, rollout.rolled_back(to), limits, _Shown(one=show, line=line), json=json
    )


@task(
    help=FLEET_HELP
    | {
        "host": "devices to give the public key to; none when left out and no group is given",
        "show": "show which keys they trust, and change nothing",
        "remove": "have them trust that key no longer: its fingerprint, or the key",
        "force": "also when it is this machine's own",
    }
)
@guarded
@options.given(fleet=Fleet)
def keys(
    _: Context,
    *,
    fleet: Fleet,
    show: bool = False,
    remove: str = "",
    force: bool = False,
    json: bool = False,
) -> None:
    """Make the key that signs releases, and have devices take nothing that it did not sign."""
    from deploy.inventory import selection
    from deploy.release import rollout
    from toolchain.core import signing

    if show and remove:
        raise UsageError("--show changes nothing, --remove does", resolution="give one of them")
    if show or remove:
        own = signing.public_key() if signing.key_path().exists() and not force else ""
        limits, devices = _limits(fleet), selection.devices(fleet)
        of = rollout.distrusting(remove, own) if remove else rollout.trusted
        _work("keys", devices, of, limits, _SHOWN_KEYS, json=json)
        return
    path, is_new = signing.make_key()
    console.note(f"{path}: {'made; keep a copy of it' if is_new else 'is there already'}")
    key = signing.public_key()
    if not fleet.host and not fleet.group:
        if json:
            console.show_json({"key": key, "path": str(path), "made": is_new})
        else:
            console.out.print(key, soft_wrap=True)
        return

    def given(name: str, _: Trusting) -> None:
        console.out.print(f"{name} takes only what this key signed")

    limits, devices = _limits(fleet), selection.devices(fleet)
    shown: _Shown[Trusting] = _Shown(one=given, line=lambda _: "takes only what this key signed")
    _work("keys", devices, rollout.trusting(key), limits, shown, json=json)


def _show_keys(name: str, trusted: Trusted) -> None:
    if not trusted.keys:
        console.out.print(f"{name} trusts no key, and takes any release")
        return
    rows = [[mark, " ".join(line.split()[2:])] for mark, line in trusted.keys.items()]
    console.show_table(f"keys that {name} trusts", ["fingerprint", "remark"], rows)


_SHOWN_KEYS: _Shown[Trusted] = _Shown(
    one=_show_keys, line=lambda trusted: ", ".join(trusted.keys) or "any release"
)


def _limits(fleet: Fleet) -> Limits:
    from deploy.release.fleet import Limits

    canary, failures = (
        (fleet.canary, fleet.max_failures) if isinstance(fleet, OrderedFleet) else (0, 0)
    )
    return Limits(parallel=fleet.parallel, step=fleet.step_limit, canary=canary, failures=failures)


def _work(
    what: str,
    devices: Sequence[Device],
    work: Work[T],
    limits: Limits,
    shown: _Shown[T],
    *,
    json: bool,
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
            console.show_json(result.plain()["value"])
        elif result.value is not None:
            shown.one(name, result.value)
        return
    names = [d.name for d in devices]
    with console.board(f"{what}: {len(names)} devices", names) as show:
        results = fleet.run(devices, work, limits=limits, show=show)
    if json:
        console.show_json([r.plain() for r in results])
    else:
        rows = [
            [
                r.host,
                r.status,
                shown.line(r.value) if r.value is not None else _brief(r),
                f"{r.seconds:.1f}",
            ]
            for r in results
        ]
        console.show_table(what, ["host", "result", "", "s"], rows)
    _raise_for(results)


def _raise_for(results: Sequence[HostResult[Any]]) -> None:
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


def _brief(result: HostResult[Any]) -> str:
    return result.error.brief.removeprefix(f"{result.host}: ") if result.error else ""


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return "-" if value is None else str(value)
