"""What is done on each device of a fleet: work for `deploy.fleet`, its values as plain data.

The steps of a deployment are `deploy.release`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy import probe, release
from deploy.fleet import Attempt, Status, Work
from toolchain import bundle


def looked_at(attempt: Attempt) -> tuple[Status, Any]:
    """What a device is."""
    with attempt.connect() as conn:
        attempt.say("looking at the device")
        return "done", probe.probe(conn).model_dump(mode="json")


def listed(attempt: Attempt) -> tuple[Status, Any]:
    """The releases of a device."""
    with attempt.connect() as conn:
        attempt.say("looking at its releases")
        return "done", [r.model_dump(mode="json") for r in release.releases(conn)]


def rolled_back(attempt: Attempt) -> tuple[Status, Any]:
    """A device back at its previous release."""
    with attempt.connect() as conn:
        attempt.say("switching back")
        return "done", release.rollback(conn).model_dump(mode="json")


def planned(bundles: Mapping[str, Path]) -> Work:
    """Work that plans the deployment of each target's bundle."""

    def work(attempt: Attempt) -> tuple[Status, Any]:
        with attempt.connect() as conn:
            attempt.say("planning")
            plan = release.plan(conn, bundle.load(bundles[attempt.device.target]))
            return "done", {**plan.model_dump(mode="json"), "steps": plan.steps()}

    return work


def deployed(bundles: Mapping[str, Path]) -> Work:
    """Work that deploys each target's bundle."""

    def work(attempt: Attempt) -> tuple[Status, Any]:
        with attempt.connect() as conn:
            folder = bundles[attempt.device.target]
            outcome = release.deploy(conn, folder, say=attempt.say)
            return outcome.status, outcome.model_dump(mode="json")

    return work
