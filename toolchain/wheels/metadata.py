"""A wheel's .dist-info: name, tags, METADATA, WHEEL, licences and bill of all that is inside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from packaging.utils import canonicalize_name

from toolchain.core.errors import BuildError
from toolchain.wheels.recipe import PYTHON_SINCE, Recipe


def tag_of(recipe: Recipe, platform: str) -> str:
    """The wheel's tag, such as cp311-abi3-manylinux_2_34_riscv64."""
    if not recipe.extension:
        return f"py3-none-{platform}"
    return f"cp{PYTHON_SINCE.replace('.', '')}-abi3-{platform}"


def write(stage: Path, recipe: Recipe, platform: str, sources: Path, bill: str) -> str:
    """Write the .dist-info into a stage.

    Args:
        stage: the folder that becomes the wheel.
        recipe: what the wheel is.
        platform: platform tag.
        sources: folder of the unpacked sources, for the licences.
        bill: its CycloneDX document.

    Returns:
        the wheel's file name.

    Raises:
        BuildError: a licence file that the recipe names is not in its source.
    """
    escaped = canonicalize_name(recipe.name).replace("-", "_")
    tag = tag_of(recipe, platform)
    info = stage / f"{escaped}-{recipe.version}.dist-info"
    shutil.rmtree(info, ignore_errors=True)
    (info / "licenses").mkdir(parents=True)
    licences: list[str] = []
    for licence in recipe.licences:
        origin = sources / licence.source / licence.path
        if not origin.is_file():
            raise BuildError(f"{recipe.name}: no licence {licence.path} in {licence.source}")
        name = Path(licence.source, licence.of, Path(licence.path).name)
        (info / "licenses" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, info / "licenses" / name)
        licences.append(name.as_posix())
    # where PEP 770 wants it
    (info / "sboms").mkdir()
    (info / "sboms" / f"{escaped}.cdx.json").write_text(bill)
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {recipe.name}",
        f"Version: {recipe.version}",
        f"Summary: {recipe.summary}",
        f"License-Expression: {recipe.licence}",
        *(f"License-File: {name}" for name in licences),
        f"Requires-Python: >={PYTHON_SINCE}",
        *(f"Requires-Dist: {requirement}" for requirement in recipe.requires),
    ]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    pure = "true" if not recipe.extension and platform == "any" else "false"
    (info / "WHEEL").write_text(
        f"Wheel-Version: 1.0\nGenerator: edgewright\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    )
    return f"{escaped}-{recipe.version}-{tag}.whl"


def write_versions(path: Path, versions: dict[str, str]) -> None:
    """Keep the symbol versions that the audit found beside the wheel."""
    path.write_text(json.dumps(versions, sort_keys=True))


def read_versions(path: Path) -> dict[str, str]:
    """The symbol versions that the audit found."""
    found: dict[str, str] = json.loads(path.read_text())
    return found
