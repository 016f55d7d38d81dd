"""A wheel's bill of materials and provenance: complete, and the same each time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolchain import lock, targets
from toolchain.wheels import build, patching, sbom

TARGET = targets.target("aarch64")


@pytest.mark.parametrize("name", build.ALL)
def test_the_bill_names_every_source_by_its_hash_and_package(name: str) -> None:
    made, _ = build.recipe(name)
    pins = build._pins(made, TARGET)
    bill = json.loads(sbom.bill(made, pins, "key", 1_700_000_000))
    assert bill["specVersion"] == "1.6"
    assert bill["metadata"]["component"]["name"] == made.name
    assert bill["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    parts = {c["name"]: c for c in bill["components"]}
    assert parts.keys() == set(made.locked(TARGET)) - set(made.tools)
    for part in parts:
        pin = pins[part]
        assert parts[part]["hashes"] == [{"alg": "SHA-256", "content": pin.sha256}]
        assert parts[part]["purl"].startswith(("pkg:deb/debian/", "pkg:pypi/"))
    for source, folder in made.patches.items():
        assert len(parts[source]["pedigree"]["patches"]) == len(patching.series(folder))


def test_the_bill_is_the_same_each_time_and_another_for_another_key() -> None:
    made, _ = build.recipe("tvm_ffi")
    pins = build._pins(made, TARGET)
    first = sbom.bill(made, pins, "key", 1)
    assert first == sbom.bill(made, pins, "key", 1)
    assert first != sbom.bill(made, pins, "other key", 1)


def test_a_prebuilt_package_is_named_with_its_architecture() -> None:
    found = sbom._purl(lock.source("libruy-dev-arm64")).to_string()
    assert found.startswith("pkg:deb/debian/libruy-dev@")
    assert found.endswith("?arch=arm64")


def test_the_provenance_names_wheel_image_and_inputs() -> None:
    made, _ = build.recipe("tflite_runtime")
    pins = build._pins(made, TARGET)
    statement = sbom.provenance(
        {"kind": "wheel"},
        pins,
        wheel=Path("dist/a-1-cp311-abi3-x.whl"),
        sha256="0" * 64,
        image="sha256:" + "1" * 64,
        parameters={"target": "aarch64", "only": "tflite_runtime"},
    )
    assert statement["subject"] == [
        {"name": "a-1-cp311-abi3-x.whl", "digest": {"sha256": "0" * 64}}
    ]
    text = json.dumps(statement)
    assert all(pin.sha256 in text for pin in pins.values())
    assert "1" * 64 in text
    assert "sha256:" not in text
