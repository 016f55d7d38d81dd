"""Provenance statements: what they say, and that they are read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolchain import targets
from toolchain.core import provenance
from toolchain.core.errors import UsageError
from toolchain.core.provenance import Claim, Material
from toolchain.images import build as images
from toolchain.images import specification
from toolchain.images.build import Image
from toolchain.lock import pins as lock
from toolchain.wheels import build

TARGET = targets.target("rv64gc")
CLAIM = Claim(
    kind="library",
    subject="net/b1/rv64gc/O3.so",
    sha256="0" * 64,
    parameters={"target": "rv64gc"},
    inputs={"step": "link"},
)


def written(folder: Path, **changes: Any) -> Path:
    value = json.loads(provenance.statement(CLAIM, [Material(name="model.onnx", sha256="1" * 64)]))
    path = folder / f"a{provenance.SUFFIX}"
    path.write_text(json.dumps(value | changes))
    return path


def test_what_is_stated_is_read_back(tmp_path: Path) -> None:
    assert provenance.read(written(tmp_path)) == CLAIM


@pytest.mark.parametrize(
    "changes",
    [{"predicateType": "other"}, {"_type": "other"}, {"subject": []}, {"predicate": {}}],
)
def test_another_kind_of_statement_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no provenance statement") as caught:
        provenance.read(written(tmp_path, **changes))
    assert provenance.SUFFIX in caught.value.resolution


def test_a_statement_of_another_product_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace("urn:edgewright:library", "urn:other:library"))
    with pytest.raises(UsageError, match="no provenance statement"):
        provenance.read(path)


def test_a_wheels_statement_names_sources_and_image(tmp_path: Path) -> None:
    wheel = tmp_path / "a-1-cp311-abi3-x.whl"
    wheel.write_bytes(b"wheel")
    text = build._statement("tflite_runtime", TARGET, wheel, "sha256:" + "1" * 64)
    value = json.loads(text)
    assert value["subject"][0]["name"] == wheel.name
    pins = build._pins(build.recipe("tflite_runtime")[0], TARGET)
    stated = {d["digest"]["sha256"] for d in _dependencies(value)}
    assert stated == {"1" * 64, *(pin.sha256 for pin in pins.values())}


def test_an_images_statement_names_its_packages(tmp_path: Path) -> None:
    spec = specification.spec("device", TARGET)
    image = Image(name=spec.name, tag="t", id="sha256:" + "2" * 64, built=True)
    path = images.publish(image, spec, tmp_path)
    assert provenance.read(path).sha256 == "2" * 64
    stated = {d["digest"]["sha256"] for d in _dependencies(json.loads(path.read_text()))}
    assert stated == {p.sha256 for p in lock.image(spec.name).packages}


def _dependencies(value: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = value["predicate"]["buildDefinition"]["resolvedDependencies"]
    return found
