"""What is done on each device of a fleet: work for `fleet`, and the values that it returns.

The steps of a deployment are `deploy.release.deployment`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.release import deployment, preflight, removal
from deploy.release.fleet import Attempt, Done, Work
from deploy.release.plan import Installed, Outcome, Plan, Removed, RolledBack, Trusted, Trusting
from deploy.release.probed_facts import DeviceFacts
from toolchain.bundle import assemble, by_python
from toolchain.core.errors import ConnectionFailed, DeviceRefused, OutcomeUnknown, ReleaseError


def probed(attempt: Attempt) -> Done[DeviceFacts]:
    """What a device is."""
    with attempt.connect() as conn:
        attempt.say("looking at the device")
        return Done(preflight.probe(conn))


def listed(attempt: Attempt) -> Done[list[Installed]]:
    """The releases of a device, oldest first."""
    with attempt.connect() as conn:
        attempt.say("looking at its releases")
        return Done(deployment.releases(conn))


def rolled_back(to: str = "") -> Work[RolledBack]:
    """Work that takes each device back to its previous release, or to the one that is named."""

    def work(attempt: Attempt) -> Done[RolledBack]:
        with attempt.connect() as conn:
            attempt.say("switching back")
            return Done(deployment.rollback(conn, to))

    return work


def trusting(key: str) -> Work[Trusting]:
    """Work that gives each device a public key."""

    def work(attempt: Attempt) -> Done[Trusting]:
        with attempt.connect() as conn:
            attempt.say("giving it the key")
            is_new = deployment.trust(conn, key)
            return Done(Trusting(key=key), "done" if is_new else "unchanged")

    return work


def removed(named: str, *, previous: bool) -> Work[Removed]:
    """Work that removes a release from each device."""

    def work(attempt: Attempt) -> Done[Removed]:
        with attempt.connect() as conn:
            attempt.say("removing it")
            return Done(removal.remove_release(conn, named, previous=previous))

    return work


def trusted(attempt: Attempt) -> Done[Trusted]:
    """The keys whose releases a device takes."""
    with attempt.connect() as conn:
        attempt.say("asking which keys it trusts")
        return Done(removal.trusted(conn))


def distrusting(named: str, own: str) -> Work[Trusted]:
    """Work that has each device trust a key no longer."""

    def work(attempt: Attempt) -> Done[Trusted]:
        with attempt.connect() as conn:
            attempt.say("removing the key")
            return Done(removal.remove_key(conn, named, own))

    return work


def planned(bundles: Mapping[str, Path]) -> Work[Plan]:
    """Work that plans the deployment of each target's bundle."""

    def work(attempt: Attempt) -> Done[Plan]:
        with attempt.connect() as conn:
            attempt.say("planning")
            return Done(deployment.plan(conn, bundles[attempt.device.target]))

    return work


def deployed(bundles: Mapping[str, Path]) -> Work[Outcome]:
    """Work that deploys each target's bundle."""

    def work(attempt: Attempt) -> Done[Outcome]:
        folder = bundles[attempt.device.target]
        try:
            with attempt.connect() as conn:
                outcome = deployment.deploy(conn, folder, say=attempt.say)
                return Done(outcome, outcome.status)
        except OutcomeUnknown as lost:
            return Done(_asked_again(attempt, folder, lost))

    return work


def _asked_again(attempt: Attempt, bundle: Path, lost: OutcomeUnknown) -> Outcome:
    """The outcome on a device that was lost while it switched, and runs the release after all.

    Raises:
        ReleaseError: it went back.
        OutcomeUnknown: it can't be asked.
    """
    name = attempt.device.name
    try:
        with attempt.connect() as conn:
            attempt.say("asking what it runs")
            own = by_python.fitting(bundle, preflight.probe(conn).python)
            wanted = assemble.load(own).release
            longest = deployment.confirm_within(attempt.device.program)
            folder = deployment.running_in(conn, wanted, wait=2 * longest)
    except (ConnectionFailed, DeviceRefused, ReleaseError) as error:
        raise lost from error
    if folder is None:
        raise ReleaseError(
            f"{name}: the connection was lost while it switched, so it went back by itself",
            detail=lost.detail,
            resolution="run the same command again",
        ) from lost
    return Outcome(
        host=name, status="done", release=wanted, folder=folder, replaced=None, sent=None,
        removed=None, imported=None, models_loaded=None, seconds=None,
    )  # fmt: skip
