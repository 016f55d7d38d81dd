"""What is in a wheel: a CycloneDX bill of materials, made from what is inside alone.

No code of ours is inside, so none counts: the same content has the same bill.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

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

from toolchain.core.store import digest_of, digest_tree
from toolchain.lock.pins import Pinned
from toolchain.targets import Target
from toolchain.wheels.recipe import Recipe, together
from toolchain.wheels.sources import patch_series


def bill(
    recipe: Recipe, sources: Mapping[str, Pinned], target: Target, image: object, epoch: int
) -> str:
    """The CycloneDX 1.6 document of a wheel, as JSON.

    Args:
        recipe: what the wheel is, as `Recipe.inside` says it of the target.
        sources: name in the recipe -> its pin.
        target: what the wheel is for.
        image: what the image that it is built in is made of, as JSON.
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
        serial_number=_serial(recipe, sources, target, image),
    )
    document.metadata.component = root
    document.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    document.register_dependency(root, document.components)
    return JsonV1Dot6(document).output_as_string(indent=1) + "\n"


def _serial(
    recipe: Recipe, sources: Mapping[str, Pinned], target: Target, image: object
) -> uuid.UUID:
    """The document's serial number: another one as soon as something else is inside."""
    patches = sorted({folder for folders in recipe.patches.values() for folder in folders})
    inside = {
        "name": recipe.name,
        "version": recipe.version,
        "sources": {name: pin.sha256 for name, pin in sources.items()},
        "patches": {folder: digest_tree(patch_series.FOLDER / folder) for folder in patches},
        "target": [target.triple, list(target.cflags)],
        "image": image,
    }
    return uuid.uuid5(uuid.NAMESPACE_OID, digest_of(inside))


def _component(name: str, pin: Pinned, recipe: Recipe) -> Component:
    patches = [
        Patch(
            type=PatchClassification.UNOFFICIAL, diff=Diff(url=XsUri(f"patches/{folder}/{patch}"))
        )
        for folder in recipe.patches.get(name, ())
        for patch in patch_series.series(folder)
    ]
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=pin.version,
        bom_ref=f"source:{name}",
        purl=_purl(pin),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=pin.sha256)],
        licenses=_licences(recipe, name, ""),
        pedigree=Pedigree(patches=patches) if patches else None,
        components=[
            Component(
                type=ComponentType.LIBRARY,
                name=carried,
                version=recipe.carried[carried] or None,
                bom_ref=f"source:{name}:{carried}",
                purl=PackageURL("generic", None, carried, recipe.carried[carried] or None),
                licenses=_licences(recipe, name, carried),
            )
            for carried in sorted({one.of for one in recipe.licences if one.source == name} - {""})
        ],
    )


def _licences(recipe: Recipe, source: str, of: str) -> list[LicenseExpression]:
    """What is granted for a source itself, or for a project that it carries."""
    expression = together(one for one in recipe.licences if (one.source, one.of) == (source, of))
    return [LicenseExpression(expression)] if expression else []


def _purl(pin: Pinned) -> PackageURL:
    """The package URL: a PyPI project, or a package of Debian, by its source where it is one."""
    if pin.origin == "pypi":
        return PackageURL("pypi", None, pin.project, pin.version)
    if pin.path.endswith(".deb"):
        name, _, rest = pin.file_name.partition("_")
        arch = rest.removesuffix(".deb").rpartition("_")[2]
        return PackageURL("deb", "debian", name, pin.version, {"arch": arch})
    return PackageURL("deb", "debian", pin.file_name.split("_")[0], pin.version, {"arch": "source"})
