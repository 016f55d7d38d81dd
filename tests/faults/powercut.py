"""A loop-mounted filesystem whose power can be cut. Needs root; never touches another one."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one: _IOR('X', 125, __u32), Linux, fs/ext4/ext4.h and
# fs/xfs/libxfs/xfs_fs.h; so are their flags that lose what is not in the journal
SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
LOOP_MAJOR = 7


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A filesystem: how it is made and mounted, and how large it has to be, in MiB."""

    make: tuple[str, ...]
    options: str
    size: int


KINDS = {
    "ext4": Kind(make=("mkfs.ext4", "-q", "-F"), options="loop,noauto_da_alloc", size=24),
    # mkfs.xfs makes none below 300 MiB; the file is sparse
    "xfs": Kind(make=("mkfs.xfs", "-q", "-f"), options="loop", size=304),
}


class Disk:
    """An image that is mounted, cut off and mounted again.

    Args:
        folder: holds the image and the mount point.
        kind: the filesystem, one of KINDS.
        path: where to look for the program that makes it.
    """

    def __init__(self, folder: Path, kind: str = "ext4", path: str | None = None) -> None:
        self.kind = KINDS[kind]
        self.image, self.kept, self.mount = (folder / n for n in ("disk", "kept", "mount"))
        self.mount.mkdir()
        with self.image.open("wb") as stream:
            stream.truncate(self.kind.size << 20)
        make = shutil.which(self.kind.make[0], path=path)
        if make is None:
            raise FileNotFoundError(self.kind.make[0])
        subprocess.run([make, *self.kind.make[1:], self.image], check=True)

    def on(self) -> Path:
        """Mount it; returns where the device's folder is."""
        subprocess.run(["mount", "-o", self.kind.options, self.image, self.mount], check=True)
        return self.mount / "device"

    def off(self) -> None:
        """Unmount it, and wait until nobody has it: a container that starts takes copies of mounts.

        As long as one of these stands, mounting again would give the filesystem that was cut off.
        """
        subprocess.run(["umount", self.mount], check=True)
        end = time.monotonic() + 60
        while self._attached():
            assert time.monotonic() < end, "the loop device is still in use"
            time.sleep(0.01)

    def _attached(self) -> bool:
        for path in Path("/sys/block").glob("loop*/loop/backing_file"):
            with suppress(OSError):
                if path.read_text().strip() == str(self.image):
                    return True
        return False

    def keep(self) -> None:
        """Remember its content, unmounted, for `restore`."""
        subprocess.run(["cp", "--sparse=always", self.image, self.kept], check=True)

    def restore(self) -> None:
        """Bring the kept content back."""
        subprocess.run(["cp", "--sparse=always", self.kept, self.image], check=True)

    def cut(self) -> None:
        """Cut its power: only what has reached the disk stays."""
        descriptor = os.open(self.mount, os.O_RDONLY)
        try:
            number = os.fstat(descriptor).st_dev
            # This ioctl ends whatever filesystem the descriptor is on.
            assert os.major(number) == LOOP_MAJOR, "not a loop device: refusing to cut its power"
            assert number != Path("/").stat().st_dev, "this is the root filesystem"
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)
        self.off()
