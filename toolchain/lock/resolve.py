"""Renew the lock: ask the machine's mirrors what is current, and write the pins down.

The only module that resolves anything. Package closures are apt's own answer, given a root with
nothing installed; requirements are pip's. Nothing is fetched but indices.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from debian.deb822 import Packages

from toolchain.core import paths, process
from toolchain.core.errors import CommandError, LockError, UsageError
from toolchain.core.store import Store
from toolchain.images.specification import ImageSpec
from toolchain.lock import mirrors
from toolchain.lock import pins as lock
from toolchain.lock.pins import Package

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Files of Python requirements, and whose pins each keeps because it is installed beside them.
REQUIREMENTS = {
    "requirements": "",
    "requirements-pytorch": "requirements",
    "requirements-onnx2tf": "",
    "requirements-s3": "requirements",
    "requirements-dask": "requirements",
    "requirements-ncnn": "",
    "requirements-executorch": "",
    "requirements-tfjs": "",
}
# Those that name all that is wanted: what their projects ask for besides stays out.
BARE = frozenset({"requirements-ncnn", "requirements-executorch", "requirements-tfjs"})
NATIVE = "?and(?essential,?architecture({arch}))"
_INSTALLED = re.compile(
    r"^Inst (?P<name>[^\s:]+)(?::\w+)? \((?P<version>\S+) .*\[(?P<arch>\w+)\]\)"
)


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A package whose version the renewal changed; empty for absent."""

    image: str
    name: str
    old: str
    new: str


def relock_image(spec: ImageSpec, store: Store, progress: Callable[[str], None]) -> list[Moved]:
    """Resolve an image's packages and write its lock.

    Returns:
        what moved against the lock that was there.

    Raises:
        LockError: apt can't resolve them, or the mirror doesn't answer.
    """
    progress(f"{spec.name}: reading the indices of {spec.suite}")
    with store.scratch() as root:
        config = _apt_root(root, spec)
        _apt(["apt-get", "update", "-qq"], config)
        progress(f"{spec.name}: resolving {len(spec.include)} packages")
        plan = _apt(
            ["apt-get", "install", "--simulate", "--yes", "apt"]
            + [NATIVE.format(arch=spec.arches[0]), *spec.include],
            config,
        )
        chosen = [m.groupdict() for line in plan.splitlines() if (m := _INSTALLED.match(line))]
        for one in chosen:
            one["arch"] = spec.arches[0] if one["arch"] == "all" else one["arch"]
        wanted = [f"{one['name']}:{one['arch']}={one['version']}" for one in chosen]
        shown = _apt(["apt-cache", "show", *wanted], config)
    packages = _packages(shown, {(o["name"], o["version"]) for o in chosen})
    if len(packages) < len(chosen):
        raise LockError(
            f"{spec.name}: apt chose {len(chosen)} packages but describes {len(packages)}"
        )
    head: dict[str, object] = {
        "image": spec.name,
        "suite": spec.suite,
        "arches": list(spec.arches),
        "include": list(spec.include),
    }
    path = lock.image_path(spec.name)
    old = _packages_of(path)
    _write(path, head, packages)
    return moved(spec.name, old, packages)


def relock_requirements(names: Iterable[str] = REQUIREMENTS, *, keep: bool = False) -> list[Moved]:
    """Resolve NAME.in anew, by the index that pip uses, and write NAME.txt with hashes.

    Args:
        names: of REQUIREMENTS.
        keep: move no pin that fits; only what is new is pinned.

    Raises:
        UsageError: no such requirements.
        LockError: a requirement can't be met.
    """
    return [moved for name in names for moved in _relock(name, keep=keep)]


def _relock(name: str, *, keep: bool) -> list[Moved]:
    if name not in REQUIREMENTS:
        raise UsageError(
            f"unknown requirements: {name}", resolution=f"known: {', '.join(REQUIREMENTS)}"
        )
    before = pins(name)
    file = f"{name}.txt"
    command = ["uv", "pip", "compile", str(paths.ROOT / f"{name}.in"), "--generate-hashes"]
    command += ["--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
    command += [
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--output-file",
        str(paths.ROOT / file),
    ]
    command += [] if keep else ["--upgrade"]
    command += ["--no-deps"] if name in BARE else []
    beside = REQUIREMENTS[name]
    command += ["--constraint", str(paths.ROOT / f"{beside}.txt")] if beside else []
    # through the environment: an index's address may hold a password
    env = {"UV_DEFAULT_INDEX": mirrors.pypi(), "UV_FIND_LINKS": mirrors.besides_pypi()}
    try:
        process.run([sys.executable, "-m", *command], env=env)
    except CommandError as error:
        raise LockError(f"{name}.in can't be resolved", detail=error.output) from error
    after = pins(name)
    return [
        Moved(image=file, name=one, old=before.get(one, ""), new=after.get(one, ""))
        for one in sorted(before.keys() | after.keys())
        if before.get(one) != after.get(one)
    ]


def pins(name: str) -> dict[str, str]:
    """The versions that a file of requirements pins, by project; empty when it isn't there."""
    path = paths.ROOT / f"{name}.txt"
    text = path.read_text() if path.is_file() else ""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def moved(image: str, old: Iterable[Package], new: Iterable[Package]) -> list[Moved]:
    """The packages that differ between two locks of an image, by name."""
    before = {f"{p.name}:{p.arch}": p.version for p in old}
    after = {f"{p.name}:{p.arch}": p.version for p in new}
    return [
        Moved(image=image, name=name, old=before.get(name, ""), new=after.get(name, ""))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _packages(shown: str, chosen: set[tuple[str, str]]) -> list[Package]:
    found = {
        (p["Package"], p["Architecture"]): Package(
            name=p["Package"],
            arch=p["Architecture"],
            version=p["Version"],
            path=p["Filename"],
            sha256=p["SHA256"],
            size=int(p["Size"]),
        )
        for p in Packages.iter_paragraphs(shown.splitlines(), use_apt_pkg=False)
        if (p["Package"], p["Version"]) in chosen
    }
    return [found[key] for key in sorted(found)]


def _packages_of(path: Path) -> list[Package]:
    """The packages of the lock that is there; none when it can't be used."""
    try:
        return lock.image(path.stem).packages
    except LockError:
        return []


def _write(path: Path, head: dict[str, object], packages: list[Package]) -> None:
    lines = [json.dumps(p.model_dump(), sort_keys=True) for p in packages]
    digest = lock.digest_of({**head, "packages": [p.model_dump() for p in packages]})
    text = json.dumps({"digest": digest, **head}, indent=1)[:-2] + ',\n "packages": [\n  '
    text += ",\n  ".join(lines) + "\n ]\n}\n"
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.rename(path)


def _apt_root(root: Path, spec: ImageSpec) -> Path:
    for folder in ("etc/apt/apt.conf.d", "var/lib/apt/lists/partial", "var/lib/dpkg"):
        (root / folder).mkdir(parents=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    (root / "etc/apt/sources.list").write_text(
        f"deb [signed-by={KEYRING}] {mirrors.debian()} {spec.suite} main\n"
    )
    arches = " ".join(f'"{a}";' for a in spec.arches)
    config = root / "apt.conf"
    config.write_text(
        f'Dir "{root}";\nDir::State::status "{root}/var/lib/dpkg/status";\n'
        f'APT::Architecture "{spec.arches[0]}";\nAPT::Architectures {{ {arches} }};\n'
        'APT::Install-Recommends "false";\nAcquire::Languages "none";\n'
        'APT::Sandbox::User "root";\n'
    )
    return config


def _apt(args: list[str], config: Path) -> str:
    try:
        return process.run(args, env={"APT_CONFIG": str(config), "LC_ALL": "C"})
    except CommandError as error:
        raise LockError(
            "apt can't answer for the lock",
            detail=error.output,
            resolution="check the mirror's address and that every package name exists",
        ) from error
