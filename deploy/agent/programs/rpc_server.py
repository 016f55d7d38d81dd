"""Serves TVM's RPC to the machine that tunes, on 127.0.0.1 and no longer than that is there.

The first line of standard input is the request; its key is secret, so it is neither an argument nor
a variable of this process: whoever else has a login here can't use the server, nor keep
others from it by connecting and being silent, or by saying what is no key. After that a line must
come now and then. At the end of the input, or when it has been silent for too long, every process
of this and the folder of what was sent are gone; also when this process is killed, with all of its
group.

Four kinds of process. This one watches, and imports nothing of TVM's. One that is in no group of
ours cleans up when this one has ended, however that came. One serves, and TVM starts one more for
each session, so that code that crashes takes only its own session with it.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import logging
import multiprocessing
import os
import select
import shutil
import signal
import socket
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

# What runs before each call that is timed; `toolchain/tuning/devices.py` asks for it by name.
PREPARATION = "edgewright.as_in_an_inference"
SWEPT = 4 << 20  # bytes: more than the second level of a core's caches, less than a server's third
FOLDER = "edgewright-tune-"
# seconds: in which a connection says its key, and that a folder may be without its lock
GREETING_S, FRESH_S = 10.0, 60.0
LONGEST_KEY, MOST_WAITING = 256, 32


def main() -> None:
    """Serve until the input ends."""
    # unbuffered: what follows the line is for `watch`
    with open(0, "rb", buffering=0, closefd=False) as stream:
        request = json.loads(stream.readline())
    clear_left()
    folder = tempfile.mkdtemp(prefix=FOLDER)
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)  # as long as any of us has it open
    begins, begun = os.pipe()
    server = os.fork()
    if server == 0:
        os.close(begun)
        os.setpgid(0, 0)
        try:
            # only when the one that cleans up is there
            if os.read(begins, 1):
                serve(request, folder)
        finally:
            os._exit(1)
    os.close(begins)
    ends, held = os.pipe()
    cleaner = os.fork()
    if cleaner == 0:
        os.close(held)
        os.close(begun)
        try:
            clean_up(ends, server, folder)
        finally:
            os._exit(0)
    os.close(ends)
    os.write(begun, b"!")
    watch(server, float(request["idle"]))
    os.close(held)
    # the server too, which would look alive as long as nobody asked how it ended
    while os.waitpid(-1, 0)[0] != cleaner:
        pass


def clear_left() -> None:
    """Remove the folders of servers that were ended with the one that cleans up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        try:
            about = folder.lstat()
            # one that is being made has no lock yet
            if about.st_uid != os.getuid() or time.time() - about.st_mtime < FRESH_S:
                continue
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # a server that runs has it
        finally:
            os.close(opened)


def clean_up(ends: int, server: int, folder: str) -> None:
    """Wait until the process that watches is gone; end the server and its sessions; tidy up."""
    # out of its group, which is killed as one, and without its streams, which would stay open
    os.setsid()
    for number in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.read(ends, 1)
    deadline = time.monotonic() + 10
    try:
        while time.monotonic() < deadline:
            os.killpg(server, signal.SIGKILL)
            time.sleep(0.02)
    except (ProcessLookupError, PermissionError):
        pass  # none is left
    shutil.rmtree(folder, ignore_errors=True)


def watch(server: int, idle: float) -> None:
    """Return when the input has ended or was silent for so many seconds, or the server is gone."""
    silent = 0.0
    while silent < idle:
        ready, _, _ = select.select([0], [], [], 1.0)
        if ready and not os.read(0, 4096):
            return
        silent = 0.0 if ready else silent + 1.0
        ended, _ = os.waitpid(server, os.WNOHANG)
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
        from tvm.rpc import base, server
    except ImportError as error:
        say({"failed": str(error)})
        return
    server.logger.setLevel(logging.ERROR)
    tvm.register_global_func(PREPARATION, preparation())
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    door = Door(listener, request["key"], base)
    say({
        "port": listener.getsockname()[1],
        "version": tvm.__version__,
        "machine": os.uname().machine,
    })  # fmt: skip
    while True:
        connection, options = door.next()
        try:
            # TVM's own loop ends for an empty key and waits for a connection that is silent
            server._serving(connection, "", server._parse_server_opt(options), None)  # noqa: SLF001
        except (RuntimeError, OSError):
            os.chdir(folder)  # a session crashed; the client knows that by now
        finally:
            connection.close()


class Door:
    """Lets in who says the key: TVM's greeting, read from all that connect at once.

    Args:
        listener: where they come.
        key: that they must know.
        base: `tvm.rpc.base`, which has the numbers of the greeting.
    """

    def __init__(self, listener: socket.socket, key: str, base: Any) -> None:
        self._listener, self._key, self._base = listener, key, base
        self._waiting: dict[socket.socket, tuple[float, bytearray]] = {}

    def next(self) -> tuple[socket.socket, list[str]]:
        """The next connection that said the key, greeted, and what it asks for."""
        while True:
            ready, _, _ = select.select([self._listener, *self._waiting], [], [], 1.0)
            for one in ready:
                if one is self._listener:
                    self._take()
                elif (options := self._heard(one)) is not None:
                    return one, options
            self._forget()

    def _take(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._waiting[connection] = (time.monotonic(), bytearray())
        if len(self._waiting) > MOST_WAITING:
            self._refuse(next(iter(self._waiting)))

    def _forget(self) -> None:
        """Let go who has said nothing for too long."""
        now = time.monotonic()
        for one in [one for one, (came, _) in self._waiting.items() if now - came > GREETING_S]:
            self._refuse(one)

    def _refuse(self, one: socket.socket) -> None:
        self._waiting.pop(one, None)
        one.close()

    def _heard(self, one: socket.socket) -> list[str] | None:
        """What a connection asks for that has now said the key; None for all others."""
        if one not in self._waiting:
            return None  # it was let go in this round
        said = self._waiting[one][1]
        try:
            # no byte more than the greeting has: what follows is the session's
            missing = self._length(said) - len(said)
            piece = one.recv(missing)
            said += piece
            if not piece:
                raise ValueError("it has gone")
            length = self._length(said)
            if len(said) < 8 or len(said) < length:
                return None
            name, *options = bytes(said[8:]).decode().split()
        except BlockingIOError:
            return None
        except (OSError, ValueError):  # bytes that are no text are of the second kind
            self._refuse(one)
            return None
        return options if self._let_in(one, name) else None

    def _length(self, said: bytearray) -> int:
        """How many bytes a greeting has, as far as is known; raises ValueError for what is none."""
        if len(said) < 8:
            return 8
        magic, length = struct.unpack("<ii", said[:8])
        if magic != self._base.RPC_MAGIC or not 0 < length <= LONGEST_KEY:
            raise ValueError("it speaks something else")
        return 8 + int(length)

    def _let_in(self, one: socket.socket, name: str) -> bool:
        right = hmac.compare_digest(name.encode(), f"client:{self._key}".encode())
        own = f"server:{self._key}".encode()
        answer = struct.pack("<ii", self._base.RPC_CODE_SUCCESS, len(own)) + own
        try:
            one.setblocking(True)  # it is short: the socket's buffer takes it
            one.sendall(answer if right else struct.pack("<i", self._base.RPC_CODE_MISMATCH))
        except OSError:
            right = False
        if right:
            del self._waiting[one]
        else:
            self._refuse(one)
        return right


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
