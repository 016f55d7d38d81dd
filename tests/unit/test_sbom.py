"""A wheel's bill of materials and provenance: complete, and the same each time."""

from __future__ import annotations

import json

import pytest

from toolchain import runtimes, targets
from toolchain.lock import pins as lock
from toolchain.wheels import build, patch_series, sbom

TARGET = targets.target("aarch64")


@pytest.mark.parametrize("name", runtimes.wheels_built(TARGET))
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
    for source, folders in made.patches.items():
        count = sum(len(patch_series.series(folder)) for folder in folders)
        assert len(parts[source]["pedigree"]["patches"]) == count


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
