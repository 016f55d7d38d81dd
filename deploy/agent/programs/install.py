"""Install an exported bundle where it lies: `python3 install.py`, on the device, without a network.

Standard library alone, for Python 3.10 and later. Nothing outside of its own folder is written.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# loads every form of every network once
CHECK = """
import json, sys
from pathlib import Path
from edgewright_device import load
for model in json.loads(Path(sys.argv[1]).read_text())["models"]:
    for form in model["executables"]:
        load(model["model"], runtime=form["runtime"], variant=form["variant"],
             opt_level=form.get("opt_level"), batch=model["batch"])
"""


def main() -> int:
    """Check the device and the files, install, and load every network; 1 when one can't be."""
    manifest = json.loads((HERE / "manifest.json").read_text())
    wrong = [*lacking(manifest["requires"]), *damaged(manifest["files"])]
    if wrong:
        return told("this bundle can't be installed here", wrong)
    python = HERE / "venv" / "bin" / "python"
    shutil.rmtree(HERE / "venv", ignore_errors=True)
    venv.EnvBuilder(system_site_packages=True, symlinks=True).create(HERE / "venv")
    pip = [
        str(python),
        "-E",
        "-m",
        "pip",
        "--isolated",
        "--disable-pip-version-check",
        "--no-input",
    ]
    offline = ["--no-cache-dir", "--no-index", "--require-hashes", "--no-deps"]
    wheels = ["--find-links", str(HERE / "wheels"), "-r", str(HERE / manifest["requirements"])]
    done = ran([*pip, "install", "--quiet", *offline, *wheels])
    if done.returncode:
        return told("the wheels can't be installed", [done.stdout])
    for packages in (HERE / "venv" / "lib").glob("python*/site-packages"):
        # site joins each line of a .pth file to the folder that it stands in
        line = os.path.relpath(HERE / manifest["runner"], packages)
        (packages / "edgewright.pth").write_text(line + "\n")
    done = ran([str(python), "-I", "-c", CHECK, str(HERE / "manifest.json")])
    if done.returncode:
        killed = f"ended by signal {-done.returncode}" if done.returncode < 0 else ""
        return told("a network can't be loaded here", [done.stdout.strip(), killed])
    networks = sorted({model["model"] for model in manifest["models"]})
    print(f"installed: {', '.join(networks) or 'the runtimes'}")
    print(f"a program of yours runs by: {python}")
    if networks:
        print(f"    from edgewright_device import load; net = load({networks[0]!r})")
    return 0


def lacking(requires: dict[str, Any]) -> list[str]:
    """What the device has not of what the bundle asks for, in words."""
    found = []
    machine = platform.machine()
    # of a system of 32 bits on a kernel of 64 the kernel's is said: there pip decides by the wheels
    if machine != requires["machine"] and sys.maxsize > 1 << 32:
        found.append(f"it is for {requires['machine']}, this is {machine}")
    if sys.version_info[:2] < numbers(requires["python"]):
        found.append(f"Python {requires['python']} is needed, this is {platform.python_version()}")
    name, version = platform.libc_ver()
    if name != "glibc" or numbers(version) < numbers(requires["glibc"]):
        found.append(f"glibc {requires['glibc']} is needed, this is {name or 'another'} {version}")
    return found + [
        f"Python's {module} is missing: apt-get install python3-{module}"
        for module in [*requires["modules"], "pip"]
        if importlib.util.find_spec(module) is None
    ]


def numbers(version: str) -> tuple[int, ...]:
    """A version such as 2.34 to compare with another."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def damaged(files: list[dict[str, Any]]) -> list[str]:
    """The files that are not what the manifest says, in words."""
    found = []
    for file in files:
        path = HERE / file["path"]
        if not path.is_file():
            found.append(f"{file['path']} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
            found.append(f"{file['path']} is damaged")
    return found


def ran(command: list[str]) -> subprocess.CompletedProcess[str]:
    """A command's end with all that it said; what lies where it was called is no module of it."""
    return subprocess.run(
        command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def told(what: str, details: list[str]) -> int:
    """Say what went wrong; the exit code."""
    print(f"error: {what}", *(f"  {line}" for line in details if line), sep="\n", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
