"""Takes from this process the rights that reading an untrusted file doesn't need, for ever.

What is left: to read the system's programs and libraries, this Python, our code and the paths that
`Rights` names; to write in the folders that it names; to compute. Gone are every other file (keys,
`~/.ssh`), the network, other processes, and what root may do beyond that. Processes that this one
starts are bound by the same.

By Landlock (Linux 5.13; on in the kernels of Debian 12 and 13) for files, and by a seccomp filter
for what Landlock leaves: sockets, of which it knows only TCP, and only since 6.7, and system calls
that change a file without opening it. Neither needs root, a program, or a package that apt doesn't
depend on.
"""

from __future__ import annotations

import ctypes
import errno
import os
import site
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from toolchain.core import paths, plugins

# folders and files that every process may read where they are there; of /etc what says no secret
SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/nix/store", "/gnu/store"),
    *("/proc", "/sys", "/dev/urandom", "/dev/random", "/dev/zero"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/magic", "/etc/nsswitch.conf"),
    *("/etc/passwd", "/etc/group", "/etc/ssl/openssl.cnf", "/etc/python3", "/etc/os-release"),
)
SINK = "/dev/null"
READABLE = "EDGEWRIGHT_READABLE"  # names more, separated as in PATH
REFUSED_CALLS = (
    # the network, and sockets of this machine's services; pairs of one process's own are left
    *("socket", "connect", "bind", "listen", "accept", "accept4", "io_uring_setup"),
    # changes of a file that is not opened for writing
    *("truncate", "truncate64", "chmod", "fchmod", "fchmodat", "fchmodat2"),
    *("chown", "chown32", "fchown", "fchown32", "lchown", "lchown32", "fchownat"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
    # other processes, keys that are kept in the kernel, and the kernel itself
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "perf_event_open"),
    *("add_key", "request_key", "keyctl", "bpf", "userfaultfd", "unshare", "setns", "mount"),
    *("umount2", "pivot_root", "chroot", "open_by_handle_at", "init_module", "finit_module"),
    *("delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "syslog"),
    *("sethostname", "setdomainname", "settimeofday", "clock_settime", "adjtimex", "acct"),
)

# uapi/linux/landlock.h; the numbers of its system calls are the same on every architecture
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION, BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << n for n in range(6))
MAKE_DIR, MAKE_REG, REFER, TRUNCATE, IOCTL_DEV = (1 << n for n in (7, 8, 13, 14, 15))
FIRST = 1 << 13  # the first version's rights are the bits below
SINCE = {2: REFER, 3: TRUNCATE, 5: IOCTL_DEV}
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READING = EXECUTE | READ_FILE | READ_DIR
# not links and no devices: what comes out is read by others, who have more rights
WRITING = READING | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
TCP = 0b11
SIGNALS_AND_SOCKETS = 0b11
# of the manuals of prctl, capabilities and seccomp
PR_SET_NO_NEW_PRIVS = 38
CAPABILITIES_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1 << 1  # root reads users' files by it, as far as Landlock allows
SECCOMP_ALLOW, SECCOMP_ERRNO = 0x7FFF0000, 0x00050000


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What a confined process may reach besides the system, Python and our code.

    Attributes:
        read: files, and folders with all that is in them.
        write: folders, to read and to write in.
    """

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


def lacking() -> str:
    """What this machine lacks for `confine`, in words; empty when it lacks nothing."""
    if _landlock_version() < 1:
        return "its kernel has no Landlock, or it is switched off"
    try:
        _seccomp_library()
    except OSError:
        return "libseccomp.so.2 is not installed"
    return ""


def confine(rights: Rights, *, version: int | None = None) -> None:
    """Take from this process, which has one thread, all but `rights` and what Python needs.

    Args:
        rights: what is left.
        version: of Landlock to do with; the kernel's when not given.

    Raises:
        OSError: the kernel refused; how much was taken is not known.
    """
    _check(_libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _drop_capabilities()
    _restrict_files(rights, version or _landlock_version())
    _refuse_calls()


def _restrict_files(rights: Rights, version: int) -> None:
    handled = FIRST - 1
    for since, right in SINCE.items():
        handled |= right if version >= since else 0
    attributes = _Ruleset(
        fs=handled,
        net=TCP if version >= 4 else 0,
        scoped=SIGNALS_AND_SOCKETS if version >= 6 else 0,
    )
    size = 8 * (1 + (version >= 4) + (version >= 6))
    ruleset = _call(CREATE_RULESET, ctypes.byref(attributes), size, 0)
    try:
        for path in (*_always_readable(), *rights.read):
            _allow(ruleset, path, READING & handled)
        for path in rights.write:
            _allow(ruleset, path, WRITING & handled)
        _allow(ruleset, Path(SINK), (READ_FILE | WRITE_FILE | TRUNCATE) & handled)
        _call(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _always_readable() -> Iterator[Path]:
    """What Python and our code are read from, and what a user adds."""
    yield from (Path(name) for name in SYSTEM)
    yield from Path("/etc").glob("python3.*")
    yield from (Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix))
    installed = [Path(entry) for entry in (*sys.path, site.getusersitepackages()) if entry]
    yield from (entry for entry in installed if entry != paths.ROOT)
    # of the checkout the packages and the pins of extras, not what a user keeps beside them
    yield from (path.parent for path in paths.ROOT.glob("*/__init__.py"))
    yield from paths.ROOT.glob("requirements*.txt")
    yield paths.cache() / "extras"
    for variable in (READABLE, plugins.VARIABLE, "LD_LIBRARY_PATH"):
        yield from (Path(p) for p in os.environ.get(variable, "").split(os.pathsep) if p)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine, or not for this user
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= OF_FILES
        rule = _Beneath(allowed=rights, parent=opened)
        _call(ADD_RULE, ruleset, BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(opened)


def _drop_capabilities() -> None:
    """Keep of root's rights none but that to open users' files; others have none to drop."""
    header = _CapabilityHeader(version=CAPABILITIES_VERSION_3)
    sets = (_CapabilitySets * 2)()
    _check(_libc().capget(ctypes.byref(header), sets))
    kept = sets[0].permitted & CAP_DAC_OVERRIDE
    sets[0] = _CapabilitySets(effective=kept, permitted=kept)
    sets[1] = _CapabilitySets()
    _check(_libc().capset(ctypes.byref(header), sets))


def _refuse_calls() -> None:
    library = _seccomp_library()
    context = library.seccomp_init(SECCOMP_ALLOW)
    if not context:
        raise OSError(errno.ENOMEM, "seccomp_init")
    try:
        for number in _numbers(library, REFUSED_CALLS):
            _check_seccomp(
                library.seccomp_rule_add_array(
                    context, SECCOMP_ERRNO | errno.EPERM, number, 0, None
                )
            )
        _check_seccomp(library.seccomp_load(context))
    finally:
        library.seccomp_release(context)


def _numbers(library: ctypes.CDLL, names: Iterable[str]) -> Iterator[int]:
    """The numbers of those system calls that this architecture has; others are negative."""
    resolved = (library.seccomp_syscall_resolve_name(name.encode()) for name in names)
    return (number for number in resolved if number >= 0)


def _seccomp_library() -> ctypes.CDLL:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)
    ]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    return library


def _landlock_version() -> int:
    """The version of Landlock that the kernel has; below 1 for none."""
    return int(_libc().syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION)))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *args: object) -> int:
    return _check(_libc().syscall(ctypes.c_long(number), *args))


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"this process can't be confined: {os.strerror(code)}")
    return result


def _check_seccomp(result: int) -> None:
    if result != 0:
        raise OSError(-result, f"this process can't be confined: {os.strerror(-result)}")
