"""What is done on each device of a fleet: work for `fleet`, its values as plain data.

The steps of a deployment are `deploy.release.deployment`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.release import deployment, preflight
from deploy.release.fleet import Attempt, Status, Work
from deploy.release.plan import Outcome
from toolchain.bundle import assemble
from toolchain.core.errors import ConnectionFailed, DeviceRefused, OutcomeUnknown, ReleaseError


def looked_at(attempt: Attempt) -> tuple[Status, Any]:
    """What a device is."""
    with attempt.connect() as conn:
        attempt.say("looking at the device")
        return "done", preflight.probe(conn).model_dump(mode="json")


def listed(attempt: Attempt) -> tuple[Status, Any]:
    """The releases of a device."""
    with attempt.connect() as conn:
        attempt.say("looking at its releases")
        return "done", [r.model_dump(mode="json") for r in deployment.releases(conn)]


def rolled_back(attempt: Attempt) -> tuple[Status, Any]:
    """A device back at its previous release."""
    with attempt.connect() as conn:
        attempt.say("switching back")
        return "done", deployment.rollback(conn).model_dump(mode="json")


def trusting(key: str) -> Work:
    """Work that gives each device a public key."""

    def work(attempt: Attempt) -> tuple[Status, Any]:
        with attempt.connect() as conn:
            attempt.say("giving it the key")
            status: Status = "done" if deployment.trust(conn, key) else "unchanged"
            return status, {"key": key}

    return work


def planned(bundles: Mapping[str, Path]) -> Work:
    """Work that plans the deployment of each target's bundle."""

    def work(attempt: Attempt) -> tuple[Status, Any]:
        with attempt.connect() as conn:
            attempt.say("planning")
            plan = deployment.plan(conn, assemble.load(bundles[attempt.device.target]))
            return "done", {**plan.model_dump(mode="json"), "steps": plan.steps()}

    return work


def deployed(bundles: Mapping[str, Path]) -> Work:
    """Work that deploys each target's bundle."""

    def work(attempt: Attempt) -> tuple[Status, Any]:
        folder = bundles[attempt.device.target]
        try:
            with attempt.connect() as conn:
                outcome = deployment.deploy(conn, folder, say=attempt.say)
                return outcome.status, outcome.model_dump(mode="json")
        except OutcomeUnknown as lost:
            wanted = assemble.load(folder).release
            return "done", _asked_again(attempt, wanted, lost).model_dump(mode="json")

    return work


def _asked_again(attempt: Attempt, wanted: str, lost: OutcomeUnknown) -> Outcome:
    """The outcome on a device that was lost while it switched, and runs the release after all.

    Raises:
        ReleaseError: it went back.
        OutcomeUnknown: it can't be asked.
    """
    name = attempt.device.name
    try:
        with attempt.connect() as conn:
            attempt.say("asking what it runs")
            there = deployment.running_in(conn, wanted, wait=2 * deployment.CONFIRM_WITHIN)
    except (ConnectionFailed, DeviceRefused, ReleaseError) as error:
        raise lost from error
    if there is None:
        raise ReleaseError(
            f"{name}: the connection was lost while it switched, so it went back by itself",
            detail=lost.detail,
            resolution="run the same command again",
        ) from lost
    return Outcome(
        host=name, status="done", release=wanted, folder=there, replaced=None, sent=0, removed=[],
        imported=[], models_loaded=0, seconds=0.0,
    )  # fmt: skip
