"""Runs on a device: a process that has the library for C by a link, which then leads elsewhere.

    python -m tests.support.c_library_switch LINK FIRST SECOND PROGRAM

LINK is made, to FIRST; both are releases with a network `net` and the library. Prints, as a list,
the releases of the networks that are loaded: before LINK leads to SECOND; after that; and after
that where LINK is named. Then what PROGRAM, which names LINK, says of its network for a line that
it is given, before and after.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

from tests.support.c_library_on_device import ABI, OK, Library, Options

RELEASE = 4  # its place among the texts of edgewright_description


def loaded(library: Library, options: Options | None) -> str:
    """The release of the network that is loaded."""
    network = ctypes.c_void_p()
    given = None if options is None else ctypes.byref(options)
    assert library.load_for_abi(ABI, b"net", given, ctypes.byref(network)) == OK, library.said()
    library.describe.restype = ctypes.POINTER(ctypes.c_char_p)
    release = library.describe(network)[RELEASE]
    library.free(network)
    return str(release.decode())


def lead(link: Path, release: Path) -> None:
    """Have the link lead there."""
    link.unlink(missing_ok=True)
    link.symlink_to(release.resolve())


def told(link: Path, program: str, releases: list[Path]) -> list[str]:
    """What a program says of its network while the link leads to one release after another."""
    said = []
    lead(link, releases[0])
    with subprocess.Popen(
        [program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"LD_LIBRARY_PATH": str(link.absolute() / "library/lib")},
        text=True,
    ) as running:
        assert running.stdin
        assert running.stdout
        for release in releases:
            lead(link, release)
            running.stdin.write(".")
            running.stdin.flush()
            said.append(running.stdout.readline().strip())
    return said


def main() -> None:
    link, first, second = map(Path, sys.argv[1:4])
    lead(link, first)
    library = Library(str(link.absolute() / "library/lib/libedgewright.so"))
    releases = [loaded(library, None)]
    lead(link, second)
    releases += [loaded(library, None), loaded(library, Options(release=bytes(link)))]
    releases += told(link, sys.argv[4], [first, second])
    print(json.dumps(releases))  # noqa: T201


if __name__ == "__main__":
    main()
