"""Runs on the device: takes requests and answers them, for as long as the link lives.

Requests come as lines of JSON on standard input, answers go as lines of JSON to standard output.
When the input ends early (the link dropped) it ends at once, with all it started, and the lock
with it. Python's standard library only, 3.8 or newer.
"""

from __future__ import annotations

import errno
import json
import os
import queue
import sys
import threading

from deploy.agent.files import Failure
from deploy.agent.service_steps import ServiceSteps
from deploy.agent.steps import Steps

TYPE_CHECKING = False  # see steps
if TYPE_CHECKING:
    from typing import Any


def answer(value: dict[str, Any]) -> None:
    """One line home."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def listen(agent: Steps, requests: queue.Queue[dict[str, Any] | None]) -> None:
    """Read requests. When the input ends before `bye`, end at once with all that was started."""
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        if request["do"] == "bye":
            requests.put(None)
            return
        requests.put(request)
    agent.end_child()
    os._exit(1)


def handle(agent: Steps, request: dict[str, Any]) -> dict[str, Any]:
    """One request's answer."""
    arguments = {key: value for key, value in request.items() if key != "do"}
    try:
        return {"ok": getattr(agent, str(request["do"]))(**arguments)}
    except Failure as failure:
        return {"failed": failure.fields}
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return {
            "failed": {
                "kind": "space" if full else "io",
                "brief": "the device's disk is full" if full else "the device's disk refused",
                "detail": str(error),
                "resolution": "free some space there" if full else "look at the device's disk",
            }
        }


def main() -> None:
    """Serve the root of the first argument until `bye`, the end of the input or silence.

    The second argument is how long a silence may be, in seconds.
    """
    # what is laid out here is run: no one else may write to it, however the login is set up
    os.umask(os.umask(0o022) | 0o022)
    agent = ServiceSteps(sys.argv[1])
    idle = float(sys.argv[2])
    requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=listen, args=(agent, requests), daemon=True).start()
    answer({"ok": {"root": agent.root, "python": sys.version.split()[0]}})
    while True:
        try:
            request = requests.get(timeout=idle)
        except queue.Empty:
            return
        if request is None:
            return
        answer(handle(agent, request))


if __name__ == "__main__":
    main()
