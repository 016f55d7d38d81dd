"""Runs on the device: the user's program, which is restarted with each release, and its health.

A program is a systemd unit (the system's or the user's), or a command, which is started in a
session of its own and known by what stands in program.json. It finds the release that runs in
EDGEWRIGHT_RELEASE, and that release's Python first in its PATH.

    {"service": {"unit": U, "manager": "system" | "user"} | {"command": [...]} | null,
     "health": {"command": [...]} | {"url": U}, with "within": seconds, | null}

Python's standard library only, 3.8 or newer. What is heavy is imported where it is used.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress

from deploy.agent.files import Failure, write_durably

TYPE_CHECKING = False  # see steps
if TYPE_CHECKING:
    import subprocess
    from typing import Any

NOTE, LOG = "program.json", "program.log"
LARGEST_LOG = 1 << 20
TAIL = 4096
# seconds that systemd may take to answer and to start a unit, a program to end when it is asked to,
# and a command to show that it does not end at once
ANSWER, START, END, SETTLE = 20.0, 100.0, 5.0, 0.2
SUDO_REFUSES = 1  # no exit status of `systemctl status`
NOT_ENDED = "its command did not end"
SOONEST, LATEST = 0.05, 1.0  # between two looks at the health
# The program is nobody's child, so that no one has to wait for it; its number is printed. What is
# ignored in whoever starts it is not to be ignored by it.
BEGIN = """
import os, signal, sys
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
    signal.signal(number, signal.SIG_DFL)
child = os.fork()
if child:
    os.write(1, str(child).encode())
    os._exit(0)
os.setsid()
os.dup2(2, 1)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def absent(root: str, program: dict[str, Any]) -> str:
    """Why a program, or what looks at its health, can't be run here; empty when it can."""
    import shutil

    service, health = program["service"] or {}, program["health"] or {}
    for what in (service, health):
        command = what.get("command")
        if command and not _found(root, command[0]):
            return f"there is no program {command[0]}"
    if not service.get("unit"):
        return ""
    if shutil.which("systemctl") is None:
        return "it has no systemd, so it can't restart a unit"
    code, said = _run(_systemctl(service, "show", "--property=LoadState", service["unit"]), ANSWER)
    if code != 0:
        return f"systemd does not answer: {_last(said)}"
    state = said.strip().partition("=")[2]
    return "" if state == "loaded" else f"systemd has no unit {service['unit']} ({state})"


def restart(root: str, program: dict[str, Any]) -> None:
    """Have the program run with the release that is `current`; without one, not at all.

    Raises:
        Failure: it does not start.
    """
    service = program["service"]
    release = os.path.join(root, "current")
    if service is None:
        return
    if service.get("unit"):
        if os.path.isdir(release):
            _run(_systemctl(service, "reset-failed", service["unit"]), ANSWER)
        do = "restart" if os.path.isdir(release) else "stop"
        code, said = _run(_systemctl(service, do, service["unit"]), START)
        if code != 0:
            raise Failure("service", f"its unit {service['unit']} did not {do}", _last(said, 10))
        return
    stop(root)
    if os.path.isdir(release):
        _start(root, service["command"])


def stop(root: str) -> None:
    """End the command that was started here, if it still runs, and then what it leaves behind."""
    number = running(root)
    if number is None:
        return
    until = time.monotonic() + END
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(number, how)
        while running(root) is not None and time.monotonic() < until:
            time.sleep(0.01)
        until += END


def running(root: str) -> int | None:
    """The process that was started here, when it still is that one."""
    try:
        with open(os.path.join(root, NOTE), encoding="utf-8") as stream:
            noted = json.load(stream)
        number = int(noted["process"])
        return number if _began(number) == noted["began"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def runs(root: str, program: dict[str, Any]) -> bool:
    """Whether the program runs, as far as can be told; one that is no service of ours does."""
    service = program["service"]
    if service is None:
        return True
    if not service.get("unit"):
        return running(root) is not None
    return _run(_systemctl(service, "is-active", "--quiet", service["unit"]), ANSWER)[0] == 0


def await_health(root: str, program: dict[str, Any]) -> None:
    """Return as soon as the program is well.

    Raises:
        Failure: it ended, or was not well in time.
    """
    health, settled = program["health"], time.monotonic() + SETTLE
    if health is None:
        _stays(root, program, settled)
        return
    until = time.monotonic() + health["within"]
    pause, why = SOONEST, ""
    while time.monotonic() < until:
        found = _unwell(root, health, until - time.monotonic())
        if not found:
            # what the one before left may have told it so
            _stays(root, program, settled)
            return
        # the last try, which had little time, says less than one before it
        if found != NOT_ENDED or not why:
            why = found
        _stays(root, program, 0)
        time.sleep(max(0.0, min(pause, until - time.monotonic())))
        pause = min(2 * pause, LATEST)
    brief = f"its health check did not succeed within {health['within']:g} s"
    raise Failure("service", brief, "\n".join(filter(None, [why, _log(root, program)])))


def _stays(root: str, program: dict[str, Any], settled: float) -> None:
    """Wait until then, and see whether the program runs.

    Raises:
        Failure: it does not.
    """
    time.sleep(max(0.0, settled - time.monotonic()))
    if not runs(root, program):
        raise Failure("service", "its program ended", _log(root, program))


def _unwell(root: str, health: dict[str, Any], seconds: float) -> str:
    """What one look at the health found; empty when all is well."""
    if health.get("command"):
        code, said = _run(health["command"], seconds, environment(root))
        if code is None:
            return NOT_ENDED
        return "" if code == 0 else f"exit status {code}: {_last(said)}"
    answers = ["no answer"]
    # a server may send one byte at a time, without end
    asking = threading.Thread(target=_ask, args=(health["url"], seconds, answers), daemon=True)
    asking.start()
    asking.join(seconds)
    return answers[-1]


def _ask(url: str, seconds: float, answers: list[str]) -> None:
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    try:
        link = HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
        link.request("GET", (parts.path or "/") + ("?" + parts.query if parts.query else ""))
        status = link.getresponse().status
        link.close()
        answers.append("" if 200 <= status < 400 else f"{url} answers {status}")
    except (OSError, HTTPException, ValueError) as error:
        answers.append(f"{url}: {error}")


def environment(root: str) -> dict[str, str]:
    """What a program of the user's finds in its environment."""
    release = os.path.realpath(os.path.join(root, "current"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    paths = [os.path.join(release, "venv", "bin"), kept.get("PATH", os.defpath)]
    return {**kept, "EDGEWRIGHT_RELEASE": release, "PATH": os.pathsep.join(paths)}


def _start(root: str, command: list[str]) -> None:
    import subprocess

    log = os.path.join(root, LOG)
    if os.path.exists(log) and os.path.getsize(log) > LARGEST_LOG:
        os.replace(log, log + ".1")
    with open(log, "ab") as stream:
        begun = subprocess.run(
            [sys.executable, "-I", "-S", "-c", BEGIN, *map(os.path.expanduser, command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            env=environment(root),
            cwd=os.path.expanduser("~"),
            check=False,
        )
    # one that ended at once is found out when its health is looked at
    with suppress(OSError, ValueError):
        number = int(begun.stdout)
        note = {"process": number, "began": _began(number), "command": command}
        write_durably(os.path.join(root, NOTE), json.dumps(note))


def _began(number: int) -> str:
    """When a process began, in clock ticks since the boot; ValueError when it has ended."""
    with open(f"/proc/{number}/stat", encoding="utf-8", errors="replace") as stream:
        fields = stream.read().rpartition(")")[2].split()
    if fields[0] in "ZX":  # dead, and not waited for
        raise ValueError(number)
    return fields[19]


def _found(root: str, name: str) -> bool:
    """Whether a command's program is there; each release brings a Python."""
    import shutil

    if "/" in name:
        path = os.path.expanduser(name)
        return os.path.isfile(path) and os.access(path, os.X_OK)
    kept = environment(root)["PATH"]
    return name in ("python", "python3") or shutil.which(name, path=kept) is not None


def _systemctl(service: dict[str, Any], *arguments: str) -> list[str]:
    """A command for the unit's manager; to change the system's, or see its lines, may need sudo."""
    import shutil

    if service["manager"] == "user":
        runtime = f"/run/user/{os.getuid()}"
        os.environ.setdefault("XDG_RUNTIME_DIR", runtime)
        return ["systemctl", "--user", "--no-ask-password", *arguments]
    needs = arguments[0] in ("restart", "stop", "reset-failed", "status")
    sudo = ["sudo", "-n"] if needs and os.geteuid() != 0 and shutil.which("sudo") else []
    return [*sudo, "systemctl", "--no-ask-password", *arguments]


def _log(root: str, program: dict[str, Any]) -> str:
    """The last lines that the program wrote."""
    service = program["service"] or {}
    if service.get("unit"):
        status = _systemctl(service, "status", "--no-pager", "--lines=10", service["unit"])
        code, said = _run(status, ANSWER)
        if code == SUDO_REFUSES and status[0] == "sudo":
            _, said = _run(status[2:], ANSWER)
        return _last(said, 12)
    try:
        with open(os.path.join(root, LOG), "rb") as stream:
            stream.seek(max(0, os.path.getsize(stream.name) - TAIL))
            return _last(stream.read().decode("utf-8", "replace"), 10)
    except OSError:
        return ""


def _last(said: str, lines: int = 1) -> str:
    return "\n".join(said.strip().splitlines()[-lines:])


def _run(
    command: list[str], seconds: float, env: dict[str, str] | None = None
) -> tuple[int | None, str]:
    """Run a command that may print without end, and may never end: None for its exit status."""
    import select
    import shutil
    import subprocess

    timeout = shutil.which("timeout")
    # it ends by itself when this process is gone
    prefix = [timeout, "-k", "1", str(int(seconds) + 2)] if timeout else []
    try:
        child = subprocess.Popen(
            prefix + [os.path.expanduser(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=os.path.expanduser("~"),
            start_new_session=True,
        )
    except OSError as error:
        return 127, str(error)
    assert child.stdout is not None
    until, tail = time.monotonic() + seconds, b""
    while child.poll() is None and time.monotonic() < until:
        if select.select([child.stdout], [], [], min(0.02, seconds))[0]:
            piece = os.read(child.stdout.fileno(), TAIL)
            tail = (tail + piece)[-TAIL:]
            if not piece:
                time.sleep(0.005)  # it has closed its output, and may run on
    code = child.poll()
    return code, (tail + _rest(child, code)).decode("utf-8", "replace")


def _rest(child: subprocess.Popen[bytes], code: int | None) -> bytes:
    """End what still runs of a command; what it wrote last."""
    import select

    assert child.stdout is not None
    rest = b""
    if code is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    elif select.select([child.stdout], [], [], 0)[0]:
        rest = os.read(child.stdout.fileno(), TAIL)
    child.stdout.close()
    return rest
