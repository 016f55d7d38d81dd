"""A wheel's .dist-info: name, tags, METADATA, WHEEL and the licences of all that is inside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from packaging.utils import canonicalize_name

from toolchain.errors import BuildError
from toolchain.wheels.recipe import Recipe


def tag_of(recipe: Recipe, python: str, platform: str) -> str:
    """The wheel's tag, such as cp313-cp313-manylinux_2_34_riscv64."""
    if recipe.abi == "none":
        return f"py3-none-{platform}"
    if recipe.abi == "abi3":
        return f"cp{recipe.abi3_since.replace('.', '')}-abi3-{platform}"
    tag = f"cp{python.replace('.', '')}"
    return f"{tag}-{tag}-{platform}"


def write(stage: Path, recipe: Recipe, python: str, platform: str, sources: Path) -> str:
    """Write the .dist-info into a stage.

    Args:
        stage: the folder that becomes the wheel.
        recipe: what the wheel is.
        python: version of the device's Python.
        platform: platform tag.
        sources: folder of the unpacked sources, for the licences.

    Returns:
        the wheel's file name.

    Raises:
        BuildError: a licence file that the recipe names is not in its source.
    """
    escaped = canonicalize_name(recipe.name).replace("-", "_")
    tag = tag_of(recipe, python, platform)
    info = stage / f"{escaped}-{recipe.version}.dist-info"
    shutil.rmtree(info, ignore_errors=True)
    (info / "licenses").mkdir(parents=True)
    licences: list[str] = []
    for licence in recipe.licences:
        origin = sources / licence.source / licence.path
        if not origin.is_file():
            raise BuildError(f"{recipe.name}: no licence {licence.path} in {licence.source}")
        name = f"{licence.source}/{Path(licence.path).name}"
        (info / "licenses" / licence.source).mkdir(exist_ok=True)
        shutil.copyfile(origin, info / "licenses" / name)
        licences.append(name)
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {recipe.name}",
        f"Version: {recipe.version}",
        f"Summary: {recipe.summary}",
        f"License-Expression: {recipe.licence}",
        *(f"License-File: {name}" for name in licences),
        f"Requires-Python: {_requires_python(recipe, python)}",
        *(f"Requires-Dist: {requirement}" for requirement in recipe.requires),
    ]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    pure = "true" if recipe.abi == "none" and platform == "any" else "false"
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


def _requires_python(recipe: Recipe, python: str) -> str:
    if recipe.abi == "cp":
        return f"=={python}.*"
    return f">={recipe.abi3_since or recipe.python_since}"
