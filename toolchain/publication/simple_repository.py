"""The pages of a package index: the simple repository API, version 1.1, as files.

Each page is written as HTML, which pip reads from any server of files (PEP 503), and as JSON
(PEP 691, PEP 700) under the name that bandersnatch gives it, so that servers set up for its mirrors
send either. A wheel lies below its own sha256: what an address gives never changes. Its METADATA
lies beside it (PEP 658, PEP 714), so that pip resolves without fetching wheels.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from packaging.utils import (
    canonicalize_name,
    is_normalized_name,
    parse_wheel_filename,
)
from packaging.version import Version
from pydantic import BaseModel, ConfigDict, Field

from toolchain.core.errors import UsageError
from toolchain.core.field_types import Sha256

API = "1.1"
SIMPLE, PACKAGES = "simple", "packages"
JSON_NAME, HTML_NAME = "index.v1_json", "index.html"
METADATA_SUFFIX = ".metadata"  # PEP 658's
# of pydantic's and packaging's errors ValueError is the base
UNREADABLE = (ValueError, TypeError, RecursionError)


class _Strict(BaseModel):
    # what others' tools add to a page of theirs makes it a page that isn't ours
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Meta(_Strict):
    version: Literal["1.1"] = Field(alias="api-version")


class _Hashes(_Strict):
    sha256: Sha256


class _File(_Strict):
    filename: str
    url: str
    hashes: _Hashes
    size: Annotated[int, Field(ge=0)]
    python: str | None = Field(default=None, alias="requires-python")
    metadata: _Hashes = Field(alias="core-metadata")


class _Project(_Strict):
    meta: _Meta
    name: str
    versions: list[str]
    files: list[_File]


class _Name(_Strict):
    name: str


class _Root(_Strict):
    meta: _Meta
    projects: list[_Name]


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel, as a page lists it.

    Attributes:
        filename: its name, which says project, version and tags.
        sha256: of its bytes.
        size: bytes.
        python: its Requires-Python; None when it asks for none.
        metadata: sha256 of its METADATA.
    """

    filename: str
    sha256: str
    size: int
    python: str | None
    metadata: str

    @property
    def project(self) -> str:
        """The normalised name of its project."""
        return parse_wheel_filename(self.filename)[0]

    @property
    def version(self) -> Version:
        """Its version."""
        return parse_wheel_filename(self.filename)[1]

    @property
    def path(self) -> str:
        """Where it lies, from the index's top."""
        return f"{PACKAGES}/{self.sha256}/{self.filename}"

    @property
    def address(self) -> str:
        """The same from its project's page."""
        return f"../../{self.path}"


def page_of(project: str) -> str:
    """The folder of a project's page, from the index's top."""
    return f"{SIMPLE}/{canonicalize_name(project)}"


def project_page(project: str, wheels: Iterable[Wheel]) -> dict[str, bytes]:
    """A project's page in both forms, by file name.

    Args:
        project: its name.
        wheels: all that it lists, in any order.
    """
    listed = sorted(wheels, key=lambda wheel: (wheel.version, wheel.filename))
    value = {
        "meta": {"api-version": API},
        "name": canonicalize_name(project),
        "versions": [str(v) for v in dict.fromkeys(wheel.version for wheel in listed)],
        "files": [_listed(wheel) for wheel in listed],
    }
    return _page(value, f"Links for {value['name']}", [_link(wheel) for wheel in listed])


def root_page(projects: Iterable[str]) -> dict[str, bytes]:
    """The page of all projects in both forms, by file name."""
    named = sorted({canonicalize_name(project) for project in projects})
    value = {"meta": {"api-version": API}, "projects": [{"name": name} for name in named]}
    return _page(value, "Projects", [f'<a href="{name}/">{name}</a><br>' for name in named])


def read_project(text: bytes, project: str) -> list[Wheel]:
    """The wheels of a project's page that was written before.

    Args:
        text: the JSON form.
        project: whose page it is.

    Raises:
        UsageError: the page isn't one of ours.
    """
    try:
        page = _Project(**_object(text))
        wheels = [_wheel(file) for file in page.files]
        if {page.name, *(wheel.project for wheel in wheels)} != {project}:
            raise ValueError(f"it lists what is not of {project}")
    except UNREADABLE as error:
        raise _not_ours(page_of(project), error) from error
    return wheels


def read_root(text: bytes) -> list[str]:
    """The projects of a page of all that was written before.

    Raises:
        UsageError: the page isn't one of ours.
    """
    try:
        names = [one.name for one in _Root(**_object(text)).projects]
        if odd := [name for name in names if not is_normalized_name(name)]:
            raise ValueError(f"{odd[0]!r} is no normalised name")
    except UNREADABLE as error:
        raise _not_ours(SIMPLE, error) from error
    return names


def _object(text: bytes) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("it is no JSON object")
    return value


def _not_ours(page: str, error: Exception) -> UsageError:
    return UsageError(
        f"{page}/{JSON_NAME} is no page that this command wrote",
        detail=str(error),
        resolution="publish to another folder, or take that page away",
    )


def _wheel(file: _File) -> Wheel:
    wheel = Wheel(
        filename=file.filename,
        sha256=file.hashes.sha256,
        size=file.size,
        python=file.python,
        metadata=file.metadata.sha256,
    )
    if file.url != wheel.address:
        raise ValueError(f"{file.filename} lies elsewhere: {file.url}")
    return wheel


def _listed(wheel: Wheel) -> dict[str, object]:
    python = {} if wheel.python is None else {"requires-python": wheel.python}
    return {
        "filename": wheel.filename,
        "url": wheel.address,
        "hashes": {"sha256": wheel.sha256},
        "size": wheel.size,
        **python,
        "core-metadata": {"sha256": wheel.metadata},
    }


def _link(wheel: Wheel) -> str:
    attributes = {
        "href": f"{wheel.address}#sha256={wheel.sha256}",
        **({} if wheel.python is None else {"data-requires-python": wheel.python}),
        "data-core-metadata": f"sha256={wheel.metadata}",
    }
    said = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<a {said}>{html.escape(wheel.filename)}</a><br>"


def _page(value: Mapping[str, object], title: str, links: Iterable[str]) -> dict[str, bytes]:
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta name="pypi:repository-version" content="{API}">',
        f"<title>{title}</title>",
        "</head>",
        "<body>",
        *links,
        "</body>",
        "</html>",
    ]
    return {
        JSON_NAME: (json.dumps(value, indent=1) + "\n").encode(),
        HTML_NAME: ("\n".join(lines) + "\n").encode(),
    }
