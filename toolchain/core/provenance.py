"""How an output came to be: an in-toto statement with a SLSA provenance predicate.

A statement follows from the output and its inputs alone, so it is the same each time. `verify`
builds an output again from its statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from toolchain.core.errors import UsageError

SUFFIX = ".provenance.json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILDER = "urn:edgewright"

Kind = Literal["wheel", "image", "library"]


@dataclass(frozen=True, kw_only=True)
class Material:
    """A file or an image that an output was made from.

    Attributes:
        name: its path in the archive, or its file name.
        sha256: of its bytes; an image: its id without the algorithm.
        version: where it has one.
    """

    name: str
    sha256: str
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a statement says.

    Attributes:
        kind: what the output is.
        subject: its name.
        sha256: of its bytes; an image: its id without the algorithm.
        parameters: the options that make it.
        inputs: everything that its key in the store is the hash of.
    """

    kind: Kind
    subject: str
    sha256: str
    parameters: Mapping[str, str]
    inputs: Mapping[str, object]


def image(image_id: str) -> Material:
    """The image in which an output was built."""
    return Material(name="build image", sha256=image_id.removeprefix("sha256:"))


def statement(claim: Claim, materials: Iterable[Material]) -> str:
    """The statement as JSON text.

    Args:
        claim: what it says.
        materials: all that the output was made from.
    """
    value = {
        "_type": STATEMENT,
        "subject": [{"name": claim.subject, "digest": {"sha256": claim.sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": _build_type(claim.kind),
                "externalParameters": dict(claim.parameters),
                "internalParameters": dict(claim.inputs),
                "resolvedDependencies": [_dependency(material) for material in materials],
            },
            "runDetails": {"builder": {"id": BUILDER}},
        },
    }
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def read(path: Path) -> Claim:
    """What a statement of ours says.

    Raises:
        UsageError: the file is none.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text())
        definition = value["predicate"]["buildDefinition"]
        kind = next(k for k in get_args(Kind) if _build_type(k) == definition["buildType"])
        if (value["_type"], value["predicateType"]) != (STATEMENT, PREDICATE):
            raise ValueError("another kind of statement")
        (subject,) = value["subject"]
        return Claim(
            kind=kind,
            subject=subject["name"],
            sha256=subject["digest"]["sha256"],
            parameters={key: str(v) for key, v in definition["externalParameters"].items()},
            inputs=dict(definition["internalParameters"]),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise UsageError(
            f"{path} is no provenance statement of ours",
            detail=str(error),
            resolution=f"take a file in dist/ whose name ends in {SUFFIX}",
        ) from error


def _build_type(kind: Kind) -> str:
    """Names the meaning of a statement's parameters; it is no address."""
    return f"{BUILDER}:{kind}:v1"


def _dependency(material: Material) -> dict[str, object]:
    found: dict[str, object] = {
        "name": material.name,
        "digest": {"sha256": material.sha256},
    }
    return found | ({"annotations": {"version": material.version}} if material.version else {})
