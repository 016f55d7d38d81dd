"""What is in a wheel and how it came to be: a CycloneDX bill of materials, an SLSA provenance.

Both follow from the build's inputs alone, so they are the same each time.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import (
    Component,
    ComponentType,
    Diff,
    Patch,
    PatchClassification,
    Pedigree,
)
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from toolchain.lock import Pinned
from toolchain.wheels import patching
from toolchain.wheels.recipe import Recipe

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
# Names the meaning of the parameters below; it is no address.
BUILD_TYPE = "urn:edgewright:wheel:v1"
BUILDER = "urn:edgewright:build-wheels"


def bill(recipe: Recipe, sources: Mapping[str, Pinned], key: str, epoch: int) -> str:
    """The CycloneDX 1.6 document of a wheel, as JSON.

    Args:
        recipe: what the wheel is.
        sources: name in the recipe -> its pin.
        key: the wheel's key in the store; the document's serial number follows from it.
        epoch: the document's time, seconds.
    """
    root = Component(
        type=ComponentType.LIBRARY,
        name=recipe.name,
        version=recipe.version,
        bom_ref=recipe.name,
        purl=PackageURL("pypi", None, recipe.name, recipe.version),
        licenses=[LicenseExpression(recipe.licence)],
    )
    document = Bom(
        components=[
            _component(name, pin, recipe)
            for name, pin in sources.items()
            if name not in recipe.tools
        ],
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, key),
    )
    document.metadata.component = root
    document.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    document.register_dependency(root, document.components)
    return JsonV1Dot6(document).output_as_string(indent=1) + "\n"


def provenance(
    inputs: Mapping[str, object],
    sources: Mapping[str, Pinned],
    *,
    wheel: Path,
    sha256: str,
    image: str,
    parameters: Mapping[str, str],
) -> dict[str, object]:
    """The in-toto statement of a wheel: what it was made from, by which image.

    Args:
        inputs: everything that the wheel's key is the hash of.
        sources: name in the recipe -> its pin.
        wheel: the file.
        sha256: of its bytes.
        image: id of the cross image.
        parameters: the options of `build-wheels` that make it.
    """
    materials = [
        {
            "name": pin.path,
            "digest": {"sha256": pin.sha256},
            "annotations": {"version": pin.version},
        }
        for pin in sources.values()
    ]
    image_digest = {"name": "cross image", "digest": {"sha256": image.removeprefix("sha256:")}}
    return {
        "_type": STATEMENT,
        "subject": [{"name": wheel.name, "digest": {"sha256": sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": dict(parameters),
                "internalParameters": dict(inputs),
                "resolvedDependencies": [*materials, image_digest],
            },
            "runDetails": {"builder": {"id": BUILDER}},
        },
    }


def _component(name: str, pin: Pinned, recipe: Recipe) -> Component:
    series = recipe.patches.get(name)
    patches = [
        Patch(
            type=PatchClassification.UNOFFICIAL, diff=Diff(url=XsUri(f"patches/{series}/{patch}"))
        )
        for patch in (patching.series(series) if series else ())
    ]
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=pin.version,
        bom_ref=f"source:{name}",
        purl=_purl(pin),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=pin.sha256)],
        pedigree=Pedigree(patches=patches) if patches else None,
    )


def _purl(pin: Pinned) -> PackageURL:
    """The package URL: a PyPI project, or a package of Debian, by its source where it is one."""
    if pin.origin == "pypi":
        return PackageURL("pypi", None, pin.project, pin.version)
    if pin.path.endswith(".deb"):
        name, _, rest = pin.file_name.partition("_")
        arch = rest.removesuffix(".deb").rpartition("_")[2]
        return PackageURL("deb", "debian", name, pin.version, {"arch": arch})
    return PackageURL("deb", "debian", pin.file_name.split("_")[0], pin.version, {"arch": "source"})
