"""Runs on the device: whether the root is ours, so that nobody's files are removed from it.

A root of ours has a mark. One that an earlier version made has none, and is known by its lock and
by what else is in it. Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import os

from deploy.agent.files import FOLDER, MARKER, Failure, write_durably

MARK = "edgewright-root"
WORDS = "This folder is edgewright's: whatever stands in it may be removed.\n"
# what the root of an earlier version may have in it; see `state`, and `deploy.measure.accuracy`
OURS = {
    *("lock", "blobs", "incoming", "releases", "current", "previous", "trusted_keys", "accepted"),
    *("pending", "returning", "accuracy"),
}
# what may be there before anything else: a deployment that was cut off, or keys that were put there
ALONE = {"lock", "trusted_keys", "accepted"}
# a disk's own
PASSED_OVER = {"lost+found"}


def strangers(root: str) -> list[str]:
    """Names in a folder that show that it is not ours; none in one that is, or is free to take.

    Args:
        root: absolute; it need not be there.
    """
    try:
        names = set(os.listdir(root)) - PASSED_OVER
    except (FileNotFoundError, PermissionError):
        return []  # what can't be read can't be written either, and that is said
    except NotADirectoryError:
        return [os.path.basename(root)]
    if not names or MARK in names or _of_earlier_version(root, names):
        return []
    return sorted(names - OURS) or sorted(names)


def claim(root: str) -> None:
    """Make a folder ours, for good.

    Raises:
        Failure: it is someone else's; nothing was written.
    """
    refuse_strangers(root)
    if not os.path.lexists(os.path.join(root, MARK)):
        write_durably(os.path.join(root, MARK), WORDS)


def refuse_strangers(root: str) -> None:
    """Refuse a folder that is someone else's.

    Raises:
        Failure: it is.
    """
    found = strangers(root)
    if found:
        raise Failure(
            "refused",
            f"{root} has other things in it",
            ", ".join(found[:10]),
            "set edgewright.root in the inventory to a folder that is empty, or not there yet",
        )


def _of_earlier_version(root: str, names: set[str]) -> bool:
    if names & ALONE and all(name in OURS or name.endswith(".new") for name in names):
        return True
    if "lock" not in names:
        return False
    try:
        folders = [n for n in os.listdir(os.path.join(root, "releases")) if FOLDER.fullmatch(n)]
    except OSError:
        return False
    return any(os.path.isfile(os.path.join(root, "releases", n, MARKER)) for n in folders)
