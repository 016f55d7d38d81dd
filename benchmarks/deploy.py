"""Deployment to five devices beside Ansible and pyinfra, which do the same copy and install.

    python -m benchmarks.deploy
    python -m benchmarks.deploy --file 1024        # the file alone, of so many MiB

The devices are sshds of this machine on 127.0.0.1, with a folder each. The others are told to do
what a deployment does, and no more: copy the bundle, make the same venv with the same pip, install
the wheel, import it, set the link. They get the settings that make them fast (pipelining, a
connection that stays open, no gathering of facts) and neither check hashes on the device nor bring
anything to its disk. Whole processes are timed, in turn; a ratio is of one round. One large file
goes by the product and by rsync over ssh, each with its connection. Nothing is asserted.

Needs openssh-server. Ansible and pyinfra come into a virtual environment of the benchmark's own,
rsync into a folder, all pinned by hash.
"""

from __future__ import annotations

import argparse
import ensurepip
import getpass
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.ssh import connection
from tests.support import tools
from tests.support.bundles import make_bundle, noise
from tests.support.sshd import Sshd
from toolchain.bundle import assemble
from toolchain.commandline import console
from toolchain.core import paths, process
from toolchain.lock import mirrors

HOSTS, MANY = 5, 50
ROUNDS = 5
LARGE = 256  # MiB
REQUIREMENTS = Path(__file__).with_name("deploy_requirements.txt")
(PIP,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
INSTALL = (
    '{python} -m venv --system-site-packages --without-pip "$1/venv" && '
    '"$1/venv/bin/python" {pip}/pip --isolated install --quiet --no-index --require-hashes '
    '--no-deps --no-compile --no-cache-dir --find-links "$1/wheels" -r "$1/requirements.txt" && '
    '"$1/venv/bin/python" -c "import tiny"'
)
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.file: {path: "{{ base }}/ansible/releases", state: directory}
    - ansible.builtin.copy: {src: "@bundle@/", dest: "{{ base }}/ansible/releases/@release@/"}
      register: sent
    - ansible.builtin.command:
        argv: [sh, -c, @install@, sh, "{{ base }}/ansible/releases/@release@"]
      when: sent.changed
    - ansible.builtin.file:
        src: "{{ base }}/ansible/releases/@release@"
        dest: "{{ base }}/ansible/current"
        state: link
"""
PYINFRA = """
from pyinfra import host
from pyinfra.operations import files, server
root = host.data.base + "/pyinfra"
release = root + "/releases/@release@"
sent = files.sync(src="@bundle@", dest=release)
server.shell(commands=["set -- " + release + "; " + @install@], _if=sent.did_change)
files.link(path=root + "/current", target=release)
"""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One way to deploy.

    Attributes:
        name: as the table has it.
        folder: what it makes on a device; removed before a cold run.
        run: does it on the devices of a shelf.
    """

    name: str
    folder: str
    run: Callable[[Shelf], str]


class Shelf:
    """Devices, and the files that tell each tool of them.

    Args:
        folder: to keep all in.
        count: of devices.
        stack: ends them.
    """

    def __init__(self, folder: Path, count: int, stack: ExitStack) -> None:
        self.folder, self.known = folder, folder / "known_hosts"
        self.servers = [Sshd(folder / f"device{n}") for n in range(count)]
        for server in self.servers:
            server.start()
            stack.callback(server.stop)
        self.known.write_text("".join((s.folder / "known_hosts").read_text() for s in self.servers))
        hosts = {f"device{n}": self.entry(server) for n, server in enumerate(self.servers)}
        self.inventory = folder / "inventory.yml"
        # JSON is YAML
        self.inventory.write_text(json.dumps({"all": {"hosts": hosts}}, indent=1))
        rows = [(f"device{n}", self.pyinfra(server)) for n, server in enumerate(self.servers)]
        (folder / "shelf.py").write_text(f"shelf = {rows!r}\n")

    def entry(self, server: Sshd) -> dict[str, object]:
        """A device as the product and Ansible know it."""
        device = server.device
        return {
            "ansible_host": device.host,
            "ansible_port": device.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(device.key_file),
            "ansible_python_interpreter": str(server.folder / "bin" / "python3"),
            "base": str(server.folder),
            "edgewright": {
                "target": device.target,
                "python": device.python,
                "root": device.root,
                "known_hosts": str(self.known),
            },
        }

    def pyinfra(self, server: Sshd) -> dict[str, object]:
        """A device as pyinfra knows it."""
        return {
            "ssh_hostname": server.device.host,
            "ssh_port": server.device.port,
            "ssh_user": getpass.getuser(),
            "ssh_key": str(server.device.key_file),
            "ssh_known_hosts_file": str(self.known),
            "ssh_strict_host_key_checking": "yes",
            "base": str(server.folder),
        }

    def empty(self, name: str) -> None:
        """As if nothing had ever been deployed there."""
        for server in self.servers:
            shutil.rmtree(server.folder / name, ignore_errors=True)


def ours(folder: Path) -> Tool:
    """The product."""
    command = [sys.executable, "-m", "benchmarks.deploy_ours"]

    def run(shelf: Shelf) -> str:
        text = process.run([*command, shelf.inventory, folder], cwd=paths.ROOT)
        results = json.loads(text.splitlines()[-1])["results"]
        assert all(r["status"] in ("done", "unchanged") for r in results), results
        return f"{sum(r['value']['sent'] for r in results)} payload bytes"

    return Tool(name="edgewright", folder="root", run=run)


def others(folder: Path, scratch: Path) -> list[Tool]:
    """Ansible and pyinfra, in an environment of their own."""
    process.run([sys.executable, "-m", "venv", scratch / "venv"])
    programs = scratch / "venv" / "bin"
    process.run(
        [programs / "pip", "install", "--quiet", "--require-hashes", "-r", REQUIREMENTS],
        env={"PIP_INDEX_URL": mirrors.pypi()},
    )
    install = INSTALL.format(python="python3", pip=PIP)
    words = {"bundle": str(folder), "release": assemble.load(folder).release[:16]}
    words["install"] = json.dumps(install)
    for name, template in (("playbook.yml", PLAYBOOK), ("steps.py", PYINFRA)):
        text = re.sub(r"@(\w+)@", lambda found: words[found[1]], template)
        (scratch / name).write_text(text)

    def ansible(shelf: Shelf) -> str:
        stays = "-o ControlMaster=auto -o ControlPersist=60s -o StrictHostKeyChecking=yes"
        environment = {
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_FORKS": "10",
            "ANSIBLE_SSH_ARGS": f"{stays} -o UserKnownHostsFile={shelf.known}",
            "ANSIBLE_HOME": str(scratch / "ansible"),
            "LC_ALL": "C.UTF-8",
        }
        process.run(
            [programs / "ansible-playbook", "-i", shelf.inventory, scratch / "playbook.yml"],
            env=environment,
        )
        return ""

    def pyinfra(shelf: Shelf) -> str:
        process.run(
            [programs / "pyinfra", "-y", shelf.folder / "shelf.py", scratch / "steps.py"],
            cwd=scratch,
        )
        return ""

    return [
        Tool(name="Ansible", folder="ansible", run=ansible),
        Tool(name="pyinfra", folder="pyinfra", run=pyinfra),
    ]


def timed(tool: Tool, shelf: Shelf) -> tuple[float, str]:
    """Seconds that it takes, from outside, and what it says."""
    started = time.monotonic()
    said = tool.run(shelf)
    return time.monotonic() - started, said


def copies(shelf: Shelf, rsync: Path, rounds: int, large: int) -> list[list[str]]:
    """One file of so many MiB: bytes a second by the product, and by rsync over ssh."""
    server = shelf.servers[0]
    source, target = shelf.folder / "large", server.folder / "large"
    with source.open("wb") as stream:
        for _ in range(large):
            stream.write(os.urandom(1 << 20))
    shell = (
        f"ssh -F none -p {server.port} -i {server.device.key_file} -c aes128-gcm@openssh.com "
        f"-o UserKnownHostsFile={shelf.known} -o StrictHostKeyChecking=yes"
    )
    command = [str(rsync), "--whole-file", "--rsync-path", str(rsync), "-e", shell, str(source)]

    def by_us() -> None:
        with connection.connect(server.device) as conn:
            conn.push(source, str(target))

    def by_rsync(*options: str) -> None:
        process.run([*command, *options, f"127.0.0.1:{target}"])

    ways: dict[str, Callable[[], None]] = {
        "edgewright": by_us,
        "rsync over ssh": by_rsync,
        "rsync over ssh, and to the disk as ours": partial(by_rsync, "--fsync"),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, copy in ways.items():
            target.unlink(missing_ok=True)
            os.sync()  # what the one before left to the disk
            started, before = time.monotonic(), processor_seconds(server)
            copy()
            rates[name].append((large << 20) / (time.monotonic() - started))
            processor[name].append(processor_seconds(server) - before)
    mine = rates["edgewright"]
    rows: list[list[str]] = []
    for name, theirs in rates.items():
        of = [ratio(mine, theirs), "0.95"] if name != "edgewright" else ["", ""]
        seconds = f"{min(processor[name]):.2f} s of processor at both ends"
        row = [f"{statistics.median(theirs) / 1e6:.0f} MB/s, {seconds}", *of]
        rows.append(["" if rows else f"one file of {large} MiB", name, *row])
    return rows


def processor_seconds(server: Sshd) -> float:
    """Seconds of processor so far: this process, a device's sshd, and theirs that ended."""
    assert server.process is not None
    of = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    while of.read_text().strip():
        time.sleep(0.02)  # a connection that was closed is ended there a moment later
    used = os.times()
    said = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    there = sum(int(ticks) for ticks in said[11:15]) / os.sysconf("SC_CLK_TCK")
    return used.user + used.system + used.children_user + used.children_system + there


def large_file(shelf: Shelf, scratch: Path, rounds: int, large: int) -> list[list[str]]:
    """The rows of `copies`, with an rsync of the benchmark's own."""
    programs = tools.unpack("rsync", "usr/bin/rsync", scratch / "rsync")
    return copies(shelf, programs / "rsync", rounds, large)


def ratio(first: Sequence[float], second: Sequence[float]) -> str:
    """The median and the range of the rounds' own ratios."""
    found = sorted(a / b for a, b in zip(first, second, strict=True))
    return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"


def show(rows: list[list[str]]) -> None:
    """Print what was measured so far; all of it takes a quarter of an hour."""
    console.show_table("deployment", ["what", "by", "median", "ratio of a round", "goal"], rows)


def a_bundle(scratch: Path) -> Path:
    """A bundle of 5.3 MB in a new folder, which is this process's home from here on."""
    os.environ["HOME"] = str(scratch)
    os.environ.pop("SSH_AUTH_SOCK", None)
    files = {f"runner/part{n}.py": noise(3000) for n in range(8)}
    files |= {"models/m/weights": noise(4 << 20), "models/m/samples.npz": noise(1 << 20)}
    return make_bundle(scratch / "bundle", extra=files)


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--file", type=int, default=0, metavar="MIB")
    asked = parser.parse_args()
    rounds = asked.rounds
    with tempfile.TemporaryDirectory(prefix="edgewright-") as name, ExitStack() as stack:
        scratch = Path(name)
        folder = a_bundle(scratch)
        if asked.file:
            one = Shelf(scratch / "one", 1, stack)
            show(large_file(one, scratch, rounds, asked.file))
            return
        tried = [ours(folder), *others(folder, scratch)]
        with console.step(f"{HOSTS} devices, {rounds} rounds") as say:
            shelf = Shelf(scratch / "few", HOSTS, stack)
            times: dict[tuple[str, str], list[float]] = {}
            sent = set()
            for number in range(rounds):
                for tool in tried:
                    say(f"round {number + 1}: {tool.name}")
                    shelf.empty(tool.folder)
                    for kind in ("cold", "unchanged"):
                        seconds, said = timed(tool, shelf)
                        times.setdefault((kind, tool.name), []).append(seconds)
                        sent |= {said} if kind == "unchanged" and said else set()
        rows: list[list[str]] = []
        for kind, goal in (("cold", "3"), ("unchanged", "5")):
            mine = times[kind, tried[0].name]
            for tool in tried:
                taken = times[kind, tool.name]
                other = tool is not tried[0]
                note = kind + (f", {', '.join(sent)}" if kind == "unchanged" and not other else "")
                rows.append(
                    ["" if other else note, tool.name, f"{statistics.median(taken):.2f} s"]
                    + [ratio(taken, mine) if other else "", goal if tool.name == "Ansible" else ""]
                )
        show(rows)
        with console.step(f"{MANY} devices, unchanged"):
            large = Shelf(scratch / "many", MANY, stack)
            timed(tried[0], large)
            several = [timed(tried[0], large)[0] for _ in range(rounds)]
        few = times["unchanged", tried[0].name]
        row = [f"{MANY} devices, unchanged", tried[0].name, f"{statistics.median(several):.2f} s"]
        show([[*row, f"{ratio(several, few)} of {HOSTS}", "4"]])
        with console.step("one large file"):
            found = large_file(shelf, scratch, rounds, LARGE)
        show(found)


if __name__ == "__main__":
    main()
