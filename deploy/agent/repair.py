"""Runs on the device: lays a damaged release out again, from what was received for it.

Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import json

from deploy.agent.files import Failure

TYPE_CHECKING = False  # see steps
if TYPE_CHECKING:
    from deploy.agent.steps import Steps


def laid_out_again(steps: Steps, folder: str, seconds: float) -> str:
    """A complete release with the id of a damaged one.

    Args:
        steps: the device, its lock held.
        folder: the damaged release's.
        seconds: how long its installation may take.

    Returns:
        the new release's folder.

    Raises:
        Failure: what it was made of is damaged too.
    """
    try:
        manifest = steps.manifest(folder)
        known = manifest["release"] == steps.id_of(folder) == steps.identity(manifest)
        lacking = not known or steps.prepare(manifest["files"])["missing"]
    except (OSError, ValueError, KeyError, TypeError):
        lacking = True
    if lacking:
        raise Failure(
            "refused",
            f"the earlier release {folder} is damaged",
            "so are the files that it was made of",
            "deploy a release anew: invoke deploy",
        )
    # it was let in when it came, and is the same by its id
    steps.allowed = str(manifest["release"]), 0
    laid_out = steps.assemble(json.dumps(manifest))
    try:
        steps.install(laid_out, seconds)
        steps.finish(laid_out)
    except BaseException:
        steps.abandon()
        raise
    return laid_out
