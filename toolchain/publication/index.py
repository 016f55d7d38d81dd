"""Wheels into an index that is there or begins: files first, then the pages that name them.

A page that is there keeps all it lists. So an index grows by targets and versions, from several
machines one after another, and who installs meanwhile sees it as it was before or as it is after.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.metadata import parse_email

from toolchain.core.errors import BuildError, UsageError
from toolchain.core.provenance import SUFFIX as PROVENANCE_SUFFIX
from toolchain.core.store import Store, digest_of
from toolchain.publication import signature
from toolchain.publication.folder import Files
from toolchain.publication.simple_repository import (
    HTML_NAME,
    JSON_NAME,
    METADATA_SUFFIX,
    SIMPLE,
    Wheel,
    page_of,
    project_page,
    read_project,
    read_root,
    root_page,
)

State = Literal["added", "replaced", "unchanged"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A wheel in an index.

    Attributes:
        project: its normalised name.
        version: its own.
        path: the file, from the index's top.
        sha256: of its bytes.
        state: what this call did to the index's page.
        signed: whether signatures lie beside it.
    """

    project: str
    version: str
    path: str
    sha256: str
    state: State
    signed: bool


def publish(
    files: Iterable[Path], into: Files, store: Store, *, replace: bool, say: Callable[[str], None]
) -> list[Published]:
    """Put wheels into an index, with the provenance that lies beside them, and sign both.

    Without a key nothing is signed.

    Args:
        files: the wheels; one may come up more than once.
        into: the index.
        store: for scratch, and so that one process at a time writes to the index.
        replace: whether a wheel may take the place of another of its name with other bytes.
        say: called with each step.

    Raises:
        UsageError: two wheels have one name; the index has another of that name; it is no index of
            ours, or can't be written.
        BuildError: a file is no wheel.
    """
    wheels = _distinct(files)
    with store.locked(digest_of({"index": into.name})):
        listed = {
            project: {wheel.filename: wheel for wheel in _listed(into, project)}
            for project in sorted({wheel.project for wheel in wheels})
        }
        projects = _projects(into)
        if not replace:
            _refuse_others(wheels, listed)
        states: dict[str, State] = {}
        for wheel, path in wheels.items():
            say(wheel.filename)
            _put(into, wheel, path, store)
            before = listed[wheel.project].get(wheel.filename)
            states[wheel.filename] = (
                "added" if before is None else "unchanged" if before == wheel else "replaced"
            )
            listed[wheel.project][wheel.filename] = wheel
        say("pages")
        for project, entries in listed.items():
            _write_page(into, page_of(project), project_page(project, entries.values()))
        _write_page(into, SIMPLE, root_page([*projects, *listed]))
        into.finish()
    return [
        Published(
            project=wheel.project,
            version=str(wheel.version),
            path=wheel.path,
            sha256=wheel.sha256,
            state=states[wheel.filename],
            signed=into.read(f"{wheel.path}{signature.SUFFIX}") is not None,
        )
        for wheel in wheels
    ]


def _distinct(files: Iterable[Path]) -> dict[Wheel, Path]:
    """Each wheel once: targets share those that are the same.

    Raises:
        UsageError: two have one name and not the same bytes.
    """
    named: dict[str, list[tuple[Wheel, Path]]] = defaultdict(list)
    for path in dict.fromkeys(files):
        named[path.name].append((_read(path), path))
    for name, found in named.items():
        if len({wheel for wheel, _ in found}) > 1:
            raise UsageError(
                f"two wheels are called {name}, and are not the same",
                detail="\n".join(f"{wheel.sha256}  {path}" for wheel, path in found),
                resolution="pip can't tell them apart: publish each target to an index of its own",
            )
    return dict(found[0] for found in named.values())


def _read(path: Path) -> Wheel:
    content = path.read_bytes()
    metadata = _metadata(path)
    python = parse_email(metadata)[0].get("requires_python")
    return Wheel(
        filename=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        python=python,
        metadata=hashlib.sha256(metadata).hexdigest(),
    )


def _metadata(path: Path) -> bytes:
    """A wheel's METADATA.

    Raises:
        BuildError: it has none, or is no wheel.
    """
    folder = "-".join(path.name.split("-")[:2]) + ".dist-info"
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(f"{folder}/METADATA")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise BuildError(f"{path} is no wheel", detail=str(error)) from error


def _put(folder: Files, wheel: Wheel, path: Path, store: Store) -> None:
    """Write a wheel and what lies beside it."""
    content = path.read_bytes()
    beside = {wheel.path: content, f"{wheel.path}{METADATA_SUFFIX}": _metadata(path)}
    signed = {wheel.path: content}
    statement = path.with_name(f"{path.name}{PROVENANCE_SUFFIX}")
    if statement.is_file():
        signed[f"{wheel.path}{PROVENANCE_SUFFIX}"] = statement.read_bytes()
    beside |= signed
    if signature.has_key():
        with store.scratch() as scratch:
            for name, said in signed.items():
                beside[f"{name}{signature.SUFFIX}"] = signature.sign(said, scratch)
    for name, said in beside.items():
        folder.write(name, said)


def _write_page(folder: Files, page: str, forms: dict[str, bytes]) -> None:
    for name, content in forms.items():
        folder.write(f"{page}/{name}", content)


def _page(folder: Files, page: str) -> bytes | None:
    """A page's JSON form; None when there is no page.

    Raises:
        UsageError: there is one in HTML alone, so not one of ours.
    """
    text = folder.read(f"{page}/{JSON_NAME}")
    if text is None and folder.read(f"{page}/{HTML_NAME}") is not None:
        raise UsageError(
            f"{folder.name}/{page} has an {HTML_NAME} that this command did not write",
            resolution="publish to a folder that is empty or was published to before",
        )
    return text


def _listed(folder: Files, project: str) -> Sequence[Wheel]:
    text = _page(folder, page_of(project))
    return [] if text is None else read_project(text, project)


def _projects(folder: Files) -> Sequence[str]:
    text = _page(folder, SIMPLE)
    return [] if text is None else read_root(text)


def _refuse_others(wheels: Iterable[Wheel], listed: dict[str, dict[str, Wheel]]) -> None:
    """Refuse before anything is written.

    Raises:
        UsageError: the index has another wheel under a name.
    """
    for wheel in wheels:
        there = listed[wheel.project].get(wheel.filename)
        if there is not None and there != wheel:
            raise UsageError(
                f"the index has another {wheel.filename}",
                detail=f"there {there.sha256}\nhere  {wheel.sha256}",
                resolution="who pinned its hash can't install the new one; to replace it all the "
                "same: --replace",
            )
