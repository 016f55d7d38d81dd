"""The seam to devices: the only module that talks SSH.

A device is reached by Fabric, the way that ssh would go (`destination`). Its host key must be
known: one that is unknown or changed is refused before anything about the user is said. Commands
are lists of arguments, quoted once, here; each has a time limit that the device itself keeps, so
that nothing goes on running when this machine has vanished.
"""

from __future__ import annotations

import shlex
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
from fabric import Connection as FabricConnection

from deploy.inventory.reading import Device
from deploy.inventory.schema import NO_PYTHON
from deploy.ssh import login, rsync_transfer, stream_transfer
from deploy.ssh.remote_process import BEGINS, RemoteProcess
from deploy.ssh.sftp_transfer import SftpWrites, piece_bytes
from deploy.ssh.stream_transfer import StreamWrites
from toolchain.core.errors import (
    CommandError,
    ConnectionFailed,
    DeviceRefused,
    EdgewrightError,
    ReleaseError,
    UsageError,
)

TRANSFER_STALL = 60.0
LONGEST_TRANSFER = 6 * 3600.0
# An output that is kept: characters, with what Python needs for a line; and lines of an error.
LONGEST_OUTPUT, LINE_OVERHEAD, LAST_LINES = 64 << 20, 64, 20
# RFC 4254, 5.1: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED
FORBIDDEN = 1

# Writes its process id after a word of ours, by which what a login shell prints by itself is told
# from it, then becomes the command. `timeout` ends the whole process group; a device
# without one that knows -k has to rely on our own kill.
LAUNCH = (
    f"echo {BEGINS} $$; if timeout -k 2 1 true 2>/dev/null; "
    'then exec timeout -k 2 "$0" "$@"; else exec "$@"; fi'
)


class Connection:
    """An open connection to a device. Its methods may be called from several threads."""

    def __init__(self, device: Device, fabric: FabricConnection) -> None:
        self.device = device
        self._fabric = fabric
        self._sftp: paramiko.SFTPClient | None = None
        self._sftp_piece = 0
        self._without_sftp = False
        # found out by who first starts one there
        self.without_python = device.python == NO_PYTHON
        self._without_rsync = rsync_transfer.here() is None

    def run(
        self,
        args: Sequence[str],
        *,
        timeout: float = 60.0,
        silence: float | None = None,
        input_text: str | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> str:
        """Run a command to its end and return its standard output.

        Args:
            args: the command and its arguments; each arrives as it is.
            timeout: seconds after which the device ends it, with all it started.
            silence: seconds without a line of output after which it is given up; for a command that
                always says something, so that a link that only seems to live is found out.
            input_text: what it reads; without it, nothing.
            on_line: called with each line of standard output as it comes; what is returned is then
                the end of it alone.

        Raises:
            CommandError: it returned non-zero; the error has the tail of both streams.
            ConnectionFailed: the link dropped, the time was up, or it was silent for too long.
        """
        with self.start(args, limit=timeout) as process:
            if input_text is not None:
                process.write(input_text.encode())
            process.close_input()
            lines: deque[str] = deque(maxlen=None if on_line is None else LAST_LINES)
            size = 0
            for line in process.lines(silence=silence):
                lines.append(line)
                size += len(line) + LINE_OVERHEAD
                if on_line is not None:
                    on_line(line)
                elif size > LONGEST_OUTPUT:
                    raise ConnectionFailed(f"{self.device.name}: {args[0]} prints without end")
            code = process.wait()
            if code != 0:
                tail = "\n".join([*list(lines)[-LAST_LINES:], process.errors()]).strip()
                raise CommandError(list(args), code, tail)
        return "".join(f"{line}\n" for line in lines)

    def start(
        self,
        args: Sequence[str],
        *,
        limit: float,
        on_errors: Callable[[bytes], None] = lambda _: None,
    ) -> RemoteProcess:
        """Start a command and leave its streams to the caller.

        Args:
            args: as for `run`.
            limit: seconds it may live.
            on_errors: called with each piece of its standard error, from another thread.

        Raises:
            ConnectionFailed: the link dropped.
            UsageError: an argument that no command can be given.
        """
        seconds = str(max(1, round(limit)))
        command = _quoted(["sh", "-c", LAUNCH, seconds, *args])
        with self._explained():
            channel = self._open_session()
            channel.exec_command(command)
        return RemoteProcess(
            channel=channel,
            name=self.device.name,
            what=args[0],
            limit=limit,
            kill=self._kill,
            on_errors=on_errors,
        )

    def tunnel(self, port: int) -> paramiko.Channel:
        """A stream to a port of the device's own 127.0.0.1, through this connection.

        Raises:
            ConnectionFailed: the link dropped, or nothing listens there.
            DeviceRefused: its sshd forwards nothing.
        """
        with self._explained():
            transport = self._fabric.client.get_transport()
            if transport is None or not transport.is_active():
                raise EOFError
            loopback = "127.0.0.1"
            try:
                channel: paramiko.Channel = transport.open_channel(
                    "direct-tcpip", (loopback, port), (loopback, 0), timeout=login.ANSWER_LIMIT
                )
            except paramiko.ChannelException as error:
                if error.code == FORBIDDEN:
                    raise DeviceRefused(
                        f"{self.device.name}: its ssh server forwards no connection",
                        detail=str(error),
                        resolution="there, in sshd_config: AllowTcpForwarding local, and not "
                        "DisableForwarding; then restart sshd",
                    ) from error
                raise
            return channel

    def push(
        self,
        local: Path,
        remote: str,
        *,
        resume: bool = False,
        basis: str | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> int:
        """Send a file; it appears under its name only when it is whole. Returns bytes sent.

        Over SFTP, or as a plain stream where there is no sftp-server; a large file of which the
        device has an earlier one by rsync, where both ends have that.

        Args:
            local: the file.
            remote: an absolute path, or one below the user's home.
            resume: go on where an earlier try left `remote`.part; its bytes are not read again,
                so the caller has to check the whole.
            basis: a file there, perhaps, of which much may stand in this one too.
            on_bytes: called with the size of each piece sent.

        Raises:
            ConnectionFailed: the link dropped.
            ReleaseError: the device could not write it.
        """
        part = f"{remote}.part"
        report = on_bytes or (lambda _: None)
        if (
            basis is not None
            and not self._without_rsync
            and not self.without_python
            and local.stat().st_size >= rsync_transfer.FROM
        ):
            sent = self._push_rsync(local, part, basis, resume=resume, report=report)
            if sent is not None:
                self.run(rsync_transfer.finish(part, remote))
                return sent
        sftp = self._open_sftp()
        if sftp is None:
            return self._push_stream(local, remote, part, resume, report)
        with self._explained(f"{local.name} could not be written"):
            size = local.stat().st_size
            offset = _part_size(sftp, part) if resume else 0
            offset = offset if offset <= size else 0
            with local.open("rb") as source, sftp.open(part, "r+" if offset else "w") as sink:
                source.seek(offset)
                writes = SftpWrites(sftp, sink, offset)
                while piece := source.read(self._sftp_piece):
                    writes.write(piece)
                    report(len(piece))
                writes.finish()
            sftp.posix_rename(part, remote)
        return size - offset

    def close(self) -> None:
        """End the connection. Safe to call twice."""
        # over a dead link closing fails too, and there is nothing left to close
        with suppress(OSError, EOFError):
            if self._sftp is not None:
                self._sftp.close()
        self._sftp = None
        login.close(self._fabric)

    def abort(self) -> None:
        """Cut the link at once and without a word; what waits on it fails. From any thread."""
        hop: object = self._fabric
        while isinstance(hop, FabricConnection):
            transport = hop.client.get_transport()
            with suppress(OSError, EOFError):
                if transport is not None and isinstance(transport.sock, socket.socket):
                    transport.sock.shutdown(socket.SHUT_RDWR)
            hop = hop.gateway

    def _push_rsync(
        self,
        local: Path,
        part: str,
        basis: str,
        *,
        resume: bool,
        report: Callable[[int], None],
    ) -> int | None:
        """Bring a part there by rsync; None when that can't be done."""
        try:
            self.run(rsync_transfer.ready(part, basis, resume=resume))
        except CommandError as error:
            self._without_rsync = error.returncode != rsync_transfer.NO_BASIS
            return None
        sent = rsync_transfer.push(
            local,
            part,
            version=self.device.python,
            start=lambda args, heard: self.start(args, limit=LONGEST_TRANSFER, on_errors=heard),
            report=report,
            stall=TRANSFER_STALL,
        )
        self._without_rsync = sent is None
        return sent

    def _push_stream(
        self, local: Path, remote: str, part: str, resume: bool, report: Callable[[int], None]
    ) -> int:
        """`push` for a device that has no sftp-server."""
        if self.without_python:
            brief = f"{self.device.name}: {local.name} could not be written"
            return stream_transfer.push_by_shell(
                local,
                remote,
                resume=resume,
                start=lambda args: self.start(args, limit=TRANSFER_STALL),
                report=report,
                brief=brief,
            )
        size = local.stat().st_size
        brief = f"{self.device.name}: {local.name} could not be written"
        command = stream_transfer.command(self.device.python, part, remote, size, resume=resume)
        with local.open("rb") as source, self.start(command, limit=LONGEST_TRANSFER) as process:
            writes = StreamWrites(process, brief, TRANSFER_STALL)
            source.seek(writes.offset)
            while piece := source.read(stream_transfer.PIECE):
                writes.write(piece)
                report(len(piece))
            writes.finish()
        return size - writes.offset

    def _open_session(self) -> paramiko.Channel:
        transport = self._fabric.client.get_transport()
        if transport is None or not transport.is_active():
            raise EOFError
        channel: paramiko.Channel = transport.open_session(timeout=login.ANSWER_LIMIT)
        return channel

    def _open_sftp(self) -> paramiko.SFTPClient | None:
        if self._sftp is None and not self._without_sftp:
            with self._explained():
                channel = self._open_session()
                channel.settimeout(TRANSFER_STALL)
                try:
                    channel.invoke_subsystem("sftp")
                    sftp = paramiko.SFTPClient(channel)
                    self._sftp, self._sftp_piece = sftp, piece_bytes(sftp)
                # OSError: its server began and ended at once, as one that is not there does
                except (paramiko.SSHException, EOFError, OSError):
                    transport = channel.get_transport()
                    if not transport.is_active():
                        raise
                    # now: later, its number may be another channel's there
                    channel.close()
                    self._without_sftp = True
        return self._sftp

    def _kill(self, process_id: int) -> None:
        """End a process of ours and its group. A device that can't be reached ends it itself."""
        # without "--": dash takes it for a process
        script = 'kill -KILL "-$0" 2>/dev/null || kill -KILL "$0" 2>/dev/null'
        try:
            channel = self._open_session()
            channel.settimeout(10)
            channel.exec_command(_quoted(["sh", "-c", script, str(process_id)]))
            channel.status_event.wait(10)
            channel.close()
        except (paramiko.SSHException, OSError, EOFError):
            return

    def _answers(self) -> bool:
        """Whether the file transfer's channel still stands: an error came from its other end."""
        transport = self._fabric.client.get_transport()
        channel = self._sftp.get_channel() if self._sftp is not None else None
        return bool(
            transport is not None and transport.is_active() and channel and not channel.closed
        )

    @contextmanager
    def _explained(self, brief: str = "") -> Iterator[None]:
        """Our errors for paramiko's: a link that broke, or else a device that said no."""
        try:
            yield
        except EdgewrightError:
            raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            if brief and self._answers() and not isinstance(error, TimeoutError | EOFError):
                raise ReleaseError(
                    f"{self.device.name}: {brief}",
                    detail=str(error) or type(error).__name__,
                    resolution="look at the device's free space and at who owns the folder",
                ) from error
            raise _dropped(self.device.name, error) from error


@contextmanager
def connect(device: Device) -> Iterator[Connection]:
    """Open a connection, and close it at the end.

    Raises:
        HostKeyError: the host key is unknown or changed.
        ConnectionFailed: no answer, no authentication, or no algorithm in common.
    """
    connection = Connection(device, login.open_fabric(device))
    try:
        yield connection
    finally:
        connection.close()


def _quoted(args: Sequence[str]) -> bytes:
    """The one place where arguments become a shell's string."""
    try:
        command = shlex.join(args).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UsageError("an argument for the device is not text", detail=str(error)) from error
    if b"\0" in command:
        raise UsageError("an argument for the device has a NUL byte in it")
    return command


def _part_size(sftp: paramiko.SFTPClient, part: str) -> int:
    try:
        return sftp.stat(part).st_size or 0
    except FileNotFoundError:
        return 0


def _dropped(name: str, error: BaseException) -> ConnectionFailed:
    return ConnectionFailed(
        f"{name}: the connection was lost",
        detail=str(error) or type(error).__name__,
        resolution="run the same command again; the device still runs what it ran before",
    )
