"""Serves TVM's RPC to the machine that tunes, on 127.0.0.1 and no longer than that is there.

The first line of standard input is the request; its key is secret, so it is neither an argument nor
a variable of this process: whoever else has a login here can't use the server. After that a line
must come now and then. At the end of the input, or when it has been silent for too long, every
process of this and the folder of what was sent are gone.

The process that watches imports nothing of TVM's. The one that serves is its child, and TVM starts
one more for each session, so that code that crashes takes only its own session with it.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import select
import shutil
import signal
import socket
import tempfile
from typing import Any

# What runs before each call that is timed; `toolchain/tuning/devices.py` asks for it by name.
PREPARATION = "edgewright.as_in_an_inference"
SWEPT = 4 << 20  # bytes: more than the second level of a core's caches, less than a server's third


def main() -> None:
    """Serve until the input ends."""
    # unbuffered: what follows the line is for `watch`
    with open(0, "rb", buffering=0, closefd=False) as stream:
        request = json.loads(stream.readline())
    folder = tempfile.mkdtemp(prefix="edgewright-tune-")
    child = os.fork()
    if child == 0:
        try:
            serve(request, folder)
        finally:
            os._exit(1)
    try:
        watch(child, float(request["idle"]))
    finally:
        os.kill(child, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        # the sessions that the child had, and this process
        os.killpg(0, signal.SIGKILL)


def watch(child: int, idle: float) -> None:
    """Return when the input has ended or was silent for so many seconds, or the child is gone."""
    silent = 0.0
    while silent < idle:
        ready, _, _ = select.select([0], [], [], 1.0)
        if ready and not os.read(0, 4096):
            return
        silent = 0.0 if ready else silent + 1.0
        ended, _ = os.waitpid(child, os.WNOHANG)
        if ended:
            return


def serve(request: dict[str, Any], folder: str) -> None:
    """Answer with the port and TVM's version, then serve one session after another."""
    os.environ["TVM_NUM_THREADS"] = str(request["threads"])
    tempfile.tempdir = folder
    os.chdir(folder)
    # later Pythons start processes in ways that would load all of this again for each session
    multiprocessing.set_start_method("fork")
    try:
        import tvm
        from tvm.rpc import server
    except ImportError as error:
        say({"failed": str(error)})
        return
    server.logger.setLevel(logging.ERROR)
    tvm.register_global_func(PREPARATION, preparation())
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    port = listener.getsockname()[1]
    say({"port": port, "version": tvm.__version__, "machine": os.uname().machine})
    while True:
        try:
            server._listen_loop(listener, port, request["key"], None, None, None)  # noqa: SLF001
        except RuntimeError:
            os.chdir(folder)  # a session crashed; the client knows that by now


def preparation() -> Any:
    """What leaves the caches as an inference leaves them to a function: its first argument there.

    Its weights were used an inference ago, and its output has the memory of something else's: both
    lie behind the caches of a core. TVM's own `cache_flush_cpu_non_first_arg` brings them to the
    memory, from where no third level can give them: tiles of few positions then looked twice as
    fast as they were.
    """
    import numpy as np

    swept = np.ones(SWEPT // 4, np.float32)

    def prepare(first: Any, *_others: Any) -> None:
        swept.sum()
        first.numpy()  # copies it, and so reads it

    return prepare


def say(answer: dict[str, Any]) -> None:
    """One line for the machine that tunes."""
    print(json.dumps(answer), flush=True)  # noqa: T201  (its only way to answer)


main()
