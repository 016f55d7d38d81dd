"""Where bytes come from on this machine: apt's own mirror, pip's own index.

Each has one setting that overrides it: EDGEWRIGHT_DEBIAN_MIRROR and EDGEWRIGHT_PYPI_INDEX. With
EDGEWRIGHT_VENDOR, a folder that `lock --vendor` made, neither is asked.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from toolchain.core import process
from toolchain.core.errors import CommandError, LockError

APT_FOLDER = Path("/etc/apt")
MMDEBSTRAP = Path("/usr/bin/mmdebstrap")


def debian() -> str:
    """Base address of a Debian archive, without a slash at the end.

    The first of: EDGEWRIGHT_DEBIAN_MIRROR; the first entry of apt's sources whose path is
    /debian; mmdebstrap's built-in default.

    Raises:
        LockError: none of these names one.
    """
    override = os.environ.get("EDGEWRIGHT_DEBIAN_MIRROR")
    if override:
        return override.rstrip("/")
    for address in _apt_addresses():
        if re.match(r"^https?://[^/]+/debian/?$", address):
            return address.rstrip("/")
    if MMDEBSTRAP.is_file():
        match = re.search(r'"(https?://[\w.-]+/debian)/?"', MMDEBSTRAP.read_text(errors="replace"))
        if match:
            return match.group(1)
    raise LockError(
        "no Debian mirror is configured on this machine",
        resolution="set EDGEWRIGHT_DEBIAN_MIRROR to the address of one",
    )


def vendor() -> Path | None:
    """The vendor folder to take files from instead of the network; None when there is none."""
    folder = os.environ.get("EDGEWRIGHT_VENDOR")
    return Path(folder) if folder else None


def pypi() -> str:
    """Base address of the package index that pip uses, without a slash at the end.

    Raises:
        LockError: pip can't be asked.
    """
    override = os.environ.get("EDGEWRIGHT_PYPI_INDEX") or os.environ.get("PIP_INDEX_URL")
    if override:
        return override.rstrip("/")
    try:
        return process.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"])[
            :-1
        ].rstrip("/")
    except CommandError:
        ask = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    try:
        return process.run([sys.executable, "-c", ask]).strip().rstrip("/")
    except CommandError as error:
        raise LockError(
            "pip does not say which index it uses",
            detail=error.output,
            resolution="set EDGEWRIGHT_PYPI_INDEX to the index's address",
        ) from error


def besides_pypi() -> str:
    """Folders or pages of wheels where pip looks too, separated by commas; empty when nowhere.

    PyTorch's CPU build is on no index but its own.
    """
    override = os.environ.get("PIP_FIND_LINKS")
    if override is None:
        command = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
        try:
            override = process.run(command)
        except CommandError:
            return ""  # it isn't set
    return ",".join(override.split())


def _apt_addresses() -> Iterator[str]:
    # not in the image in which the source compiler compiles, and only needed here
    from debian.deb822 import Deb822

    folder = APT_FOLDER / "sources.list.d"
    for path in sorted(folder.glob("*.sources")):
        for paragraph in Deb822.iter_paragraphs(path.read_text().splitlines()):
            yield from paragraph.get("URIs", "").split()
    for path in [APT_FOLDER / "sources.list", *sorted(folder.glob("*.list"))]:
        if path.is_file():
            for line in path.read_text().splitlines():
                match = re.match(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)", line.strip())
                if match:
                    yield match.group(1)
