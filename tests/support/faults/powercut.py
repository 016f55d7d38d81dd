"""A filesystem in a file whose power can be cut. Needs root; never touches another one.

It is mounted a thousand times a test, so the loop device stays and no program is started for it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

# EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one: _IOR('X', 125, __u32), Linux, fs/ext4/ext4.h and
# fs/xfs/libxfs/xfs_fs.h; so are their flags that lose what is not in the journal
SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
LOOP_MAJOR = 7
# include/uapi/linux/loop.h: struct loop_config has its file, then lo_flags at byte 60 of 304
LOOP_CTL_GET_FREE, LOOP_CONFIGURE, AUTOCLEAR = 0x4C82, 0x4C0A, 4
CONFIG = struct.Struct("I56xI240x")
# include/uapi/linux/fs.h: write out what is cached of a block device; empty a range of it, as
# <start, length>, and what is cached of that
BLKFLSBUF, BLKDISCARD, RANGE = 0x1261, 0x1277, struct.Struct("QQ")
PIECE = 1 << 16

C = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A filesystem: how it is made and mounted, and how large it has to be, in MiB."""

    make: tuple[str, ...]
    options: str
    size: int


KINDS = {
    "ext4": Kind(make=("mkfs.ext4", "-q", "-F"), options="noauto_da_alloc", size=24),
    # mkfs.xfs makes none below 300 MiB; the file is sparse
    "xfs": Kind(make=("mkfs.xfs", "-q", "-f"), options="", size=304),
}


class Disk:
    """An image that is mounted, cut off and mounted again, until it is left as a context.

    Args:
        folder: holds the image and the mount point.
        kind: the filesystem, one of KINDS.
        path: where to look for the program that makes it.

    Raises:
        OSError: there is no such program, no loop device, or no right to one.
    """

    def __init__(self, folder: Path, kind: str = "ext4", path: str | None = None) -> None:
        self.name, self.kind = kind, KINDS[kind]
        self.image, self.mount = folder / "disk", folder / "mount"
        self.mount.mkdir()
        self.bytes = self.kind.size << 20
        with self.image.open("wb") as stream:
            stream.truncate(self.bytes)
        make = shutil.which(self.kind.make[0], path=path)
        if make is None:
            raise FileNotFoundError(self.kind.make[0])
        subprocess.run([make, *self.kind.make[1:], self.image], check=True)
        self.loop, self.number = self._attach()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        C.umount2(os.fsencode(self.mount), 0)
        # the device goes when nobody has it any more
        os.close(self.number)

    def _attach(self) -> tuple[str, int]:
        """A loop device that has the image, for as long as it is open."""
        image = os.open(self.image, os.O_RDWR)
        control = os.open("/dev/loop-control", os.O_RDWR)
        try:
            while True:
                loop = f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
                number = os.open(loop, os.O_RDWR)
                # another may have taken it since
                with suppress(BlockingIOError):
                    fcntl.ioctl(number, LOOP_CONFIGURE, CONFIG.pack(image, AUTOCLEAR))
                    return loop, number
                os.close(number)
        finally:
            os.close(control)
            os.close(image)

    def on(self) -> Path:
        """Mount it; returns where the device's folder is."""
        words = (self.loop, os.fspath(self.mount), self.name, 0, self.kind.options)
        if C.mount(*(w if isinstance(w, int) else w.encode() for w in words)) != 0:
            raise OSError(ctypes.get_errno(), f"{self.name} is not mounted")
        return self.mount / "device"

    def off(self) -> None:
        """Unmount it, and wait until nobody has it: a container that starts takes copies of mounts.

        As long as one of these stands, mounting again would give the filesystem that was cut off.
        """
        if C.umount2(os.fsencode(self.mount), 0) != 0:
            raise OSError(ctypes.get_errno(), f"{self.mount} is still in use")
        end = time.monotonic() + 60
        while self._mounted():
            assert time.monotonic() < end, "the loop device is still in use"
            time.sleep(0.01)
        fcntl.ioctl(self.number, BLKFLSBUF)

    def _mounted(self) -> bool:
        try:
            os.close(os.open(self.loop, os.O_RDONLY | os.O_EXCL))
        except OSError:
            return True
        return False

    def content(self) -> list[tuple[int, bytes]]:
        """What is on it, unmounted: offsets and bytes. All else is zeros."""
        pieces = [(n, os.pread(self.number, PIECE, n)) for n in range(0, self.bytes, PIECE)]
        return [(n, piece) for n, piece in pieces if piece.strip(b"\0")]

    def restore(self, content: list[tuple[int, bytes]]) -> None:
        """Bring such content back.

        Through the loop device, and what is cached of it is thrown away: of a filesystem that was
        cut off some may stay there, and would come between the image and the next one.
        """
        fcntl.ioctl(self.number, BLKDISCARD, RANGE.pack(0, self.bytes))
        for start, piece in content:
            os.pwrite(self.number, piece, start)
        os.fsync(self.number)

    def cut(self) -> None:
        """Cut its power: only what has reached the disk stays. It stays mounted, dead."""
        descriptor = os.open(self.mount, os.O_RDONLY)
        try:
            number = os.fstat(descriptor).st_dev
            # This ioctl ends whatever filesystem the descriptor is on.
            assert os.major(number) == LOOP_MAJOR, "not a loop device: refusing to cut its power"
            assert number != Path("/").stat().st_dev, "this is the root filesystem"
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)
