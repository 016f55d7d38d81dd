"""Runs on the device: what the device is. Reads only; Python's standard library only, 3.8 or newer.

It says what the kernel says, and judges nothing. What that means, and whether it matters that
something can't be read (it is null or empty then), is decided at home: by the module of the
instruction set, and by `deploy.release.preflight`.
"""

from __future__ import annotations

import ctypes
import glob
import importlib.util
import os
import re
import struct
import sys
import time

from edgewright_runner.emulation import emulation

from deploy.agent.ownership import strangers

AT_HWCAP, AT_HWCAP2 = 16, 26  # <linux/auxvec.h>
# what follows the name in numpy-2.2.4.dist-info and numpy-1.24.2-py3.11.egg-info
INFO = re.compile(r"(\d[\w.+!]*?)(-py3\.\d+)?\.(dist|egg)-info$")


def read(path: str) -> str:
    """A small file's text; empty when it can't be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(1 << 20).strip()
    except OSError:
        return ""


def hwcaps() -> tuple[int, int]:
    """AT_HWCAP and AT_HWCAP2; under qemu-user they are the emulated CPU's."""
    try:
        getauxval = ctypes.CDLL(None).getauxval
        getauxval.restype = ctypes.c_ulong
        getauxval.argtypes = [ctypes.c_ulong]
        return int(getauxval(AT_HWCAP)), int(getauxval(AT_HWCAP2))
    except (OSError, AttributeError):
        return 0, 0


def cpuinfo() -> dict[str, str]:
    """The first processor's keys in /proc/cpuinfo and any key below it."""
    found: dict[str, str] = {}
    for line in read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip():
            found.setdefault(key.strip().lower(), value.strip())
    return found


def libstdcxx() -> str:
    """The highest GLIBCXX version of the device's libstdc++; empty when there is none."""
    try:
        ctypes.CDLL("libstdc++.so.6")
        maps = re.findall(r"/\S*libstdc\+\+\.so\.6\S*", read("/proc/self/maps"))
        with open(maps[0], "rb") as stream:
            found = set(re.findall(rb"GLIBCXX_(3\.4(?:\.\d+)?)\0", stream.read()))
    except (OSError, IndexError):
        return ""
    versions = [bytes(v).decode() for v in found]
    return max(versions, key=lambda v: [int(n) for n in v.split(".")])


def module_version(name: str) -> str | None:
    """The version of a module that can be found; not imported, that is the self-check's."""
    if importlib.util.find_spec(name) is None:
        return None
    for folder in sys.path:
        # importlib.metadata takes longer than all else here, and reads it off the same names
        for path in glob.glob(os.path.join(glob.escape(folder), name + "-*-info")):
            found = INFO.match(os.path.basename(path)[len(name) + 1 :])
            if found:
                return found.group(1)
    from importlib import metadata

    try:
        return str(metadata.version(name))
    except metadata.PackageNotFoundError:
        return "unknown"


def has_pip() -> bool:
    """Whether some pip is there: a module, or the wheel that venv would take it from."""
    if importlib.util.find_spec("pip") is not None:
        return True
    folders = ["/usr/share/python-wheels"]
    spec = importlib.util.find_spec("ensurepip")
    if spec is not None and spec.origin:
        folders.append(os.path.join(os.path.dirname(spec.origin), "_bundled"))
    if _pip_wheel_in(*folders):
        return True
    import sysconfig  # on a small board this takes as long as all else here

    return _pip_wheel_in(sysconfig.get_config_var("WHEEL_PKG_DIR") or "")


def _pip_wheel_in(*folders: str) -> bool:
    return any(glob.glob(os.path.join(glob.escape(f), "pip-*.whl")) for f in folders if f)


def disk(root: str) -> dict[str, object]:
    """What may still be written, and run, where the root is or will be."""
    while not os.path.isdir(root):
        root = os.path.dirname(root)
    free = os.statvfs(root)
    return {
        "disk_free": free.f_bavail * free.f_frsize,
        "files_free": free.f_favail if free.f_files else 1 << 30,
        # access(2) knows of read-only mounts too
        "writable": os.access(root, os.W_OK | os.X_OK),
        "executable": not free.f_flag & os.ST_NOEXEC,
    }


def temperature() -> float | None:
    """The hottest thermal zone, in degrees Celsius."""
    zones = (read(p) for p in glob.glob("/sys/class/thermal/thermal_zone*/temp"))
    return max((int(z) / 1000 for z in zones if z.lstrip("-").isdigit()), default=None)


def os_release() -> dict[str, str]:
    """The distribution's keys."""
    pairs = (line.partition("=") for line in read("/etc/os-release").splitlines())
    return {key: value.strip("\"'") for key, _, value in pairs if key and not key.startswith("#")}


def libc() -> tuple[str, str]:
    """Name and version of the C library; empty for one that is not glibc."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        name = version = ""
    return name, version


def facts(root: str, modules: list[str]) -> dict[str, object]:
    """Everything, as it goes home.

    Args:
        root: our folder, absolute; it need not be there.
        modules: names of Python modules to look for.
    """
    system = os.uname()
    hwcap, hwcap2 = hwcaps()
    libc_name, libc_version = libc()
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "machine": system.machine,
        "bits": struct.calcsize("P") * 8,
        "kernel": system.release,
        "hostname": system.nodename,
        "python": sys.version.split()[0],
        "implementation": sys.implementation.name,
        "abiflags": getattr(sys, "abiflags", ""),
        "multiarch": getattr(sys.implementation, "_multiarch", ""),
        "libc": libc_name,
        "glibc": libc_version,
        "glibcxx": libstdcxx(),
        "modules": {name: module_version(name) for name in modules},
        "venv": importlib.util.find_spec("venv") is not None,
        "pip": has_pip(),
        "root": root,
        "strangers": strangers(root),
        **disk(root),
        "ram": ram,
        "cores": len(os.sched_getaffinity(0)),
        "board": read("/proc/device-tree/model").rstrip("\0"),
        "hwcap": hwcap,
        "hwcap2": hwcap2,
        "cpuinfo": cpuinfo(),
        "emulation": emulation(system.machine),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "temperature": temperature(),
        "os": os_release().get("PRETTY_NAME", ""),
        "time": time.time(),
    }
