"""A wheel's bill of materials and provenance: complete, and the same each time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from toolchain import runtimes, targets
from toolchain.core.errors import UsageError
from toolchain.lock import pins as lock
from toolchain.wheels import build, sbom
from toolchain.wheels.sources import patch_series

TARGET = targets.target("aarch64")
IMAGE = {"packages": ["a", "b"]}


@pytest.mark.parametrize("name", runtimes.wheels_built(TARGET))
def test_the_bill_names_every_source_by_its_hash_and_package(name: str) -> None:
    made = build.recipe(name)[0].inside(TARGET)
    pins = build._pins(made, TARGET)
    bill = json.loads(sbom.bill(made, pins, TARGET, IMAGE, 1_700_000_000))
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


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (name, target)
        for name in build.recipes()
        for target in ("aarch64", "rv64gc", "x86_64")
        if (name, target) != ("executorch", "rv64gc")
    ],
)
def test_each_component_has_its_licence_and_together_they_are_the_wheels(
    name: str, target: str
) -> None:
    made = build.recipe(name)[0].inside(targets.target(target))
    pins = build._pins(made, targets.target(target))
    bill = json.loads(sbom.bill(made, pins, targets.target(target), IMAGE, 1))
    inner = [c for part in bill["components"] for c in part.get("components", ())]
    granted = [
        part["licenses"][0].get("expression") or part["licenses"][0]["license"]["id"]
        for part in (*bill["components"], *inner)
    ]
    found = {one for each in granted for one in each.split(" AND ")}
    assert found == set(made.licence.split(" AND "))
    assert {c["name"] for c in inner} == made.carried.keys()


def test_code_that_a_source_carries_is_in_the_bill() -> None:
    made = build.recipe("tvm_ffi")[0].inside(TARGET)
    bill = json.loads(sbom.bill(made, build._pins(made, TARGET), TARGET, IMAGE, 1))
    (source,) = bill["components"]
    parts = {part["name"]: part for part in source["components"]}
    assert parts["dlpack"]["version"] == "1.3"
    assert "version" not in parts["pytorch"]


def test_what_is_prebuilt_for_other_machines_alone_is_refused_and_they_are_named() -> None:
    made = build.recipe("executorch")[0]
    with pytest.raises(UsageError, match="executorch can't be built for rv64gc") as caught:
        build._pins(made, targets.target("rv64gc"))
    assert {"aarch64", "cortex-a76", "x86_64"} <= set(
        caught.value.resolution.removeprefix("it can be for ").split(", ")
    )
    assert "rv64gc" not in caught.value.resolution


@pytest.mark.parametrize(("target", "there"), [("rv64gc", False), ("x86_64", True)])
def test_what_is_compiled_in_for_one_machine_is_in_the_bill_of_that_one(
    target: str, there: bool
) -> None:
    made = build.recipe("tflite_runtime")[0]
    inside, pins = made.inside(targets.target(target)), build._pins(made, targets.target(target))
    bill = json.loads(sbom.bill(inside, pins, targets.target(target), IMAGE, 1))
    assert ("neon-2-sse" in {c["name"] for c in bill["components"]}) == there
    assert ("neon-2-sse" in {one.source for one in inside.licences}) == there
    assert ("neon-2-sse" in inside.licence) == there
    # it is unpacked wherever: TensorFlow's project asks for the folder
    assert "neon-2-sse" in inside.locked(targets.target(target))


def test_the_bill_is_the_same_for_the_same_content_and_another_for_any_other() -> None:
    made, _ = build.recipe("tvm_ffi")
    pins = build._pins(made, TARGET)
    first = sbom.bill(made, pins, TARGET, IMAGE, 1)
    assert first == sbom.bill(made, pins, TARGET, IMAGE, 1)
    name, pin = next(iter(pins.items()))
    changed = pins | {name: pin.model_copy(update={"sha256": "0" * 64})}
    others = [
        sbom.bill(replace(made, version="2"), pins, TARGET, IMAGE, 1),
        sbom.bill(made, changed, TARGET, IMAGE, 1),
        sbom.bill(replace(made, patches={name: ("tvm-0.25.dev0",)}), pins, TARGET, IMAGE, 1),
        sbom.bill(made, pins, targets.target("x86_64"), IMAGE, 1),
        sbom.bill(made, pins, TARGET, {"packages": ["another"]}, 1),
    ]
    serials = {json.loads(text)["serialNumber"] for text in (first, *others)}
    assert len(serials) == 1 + len(others)


def test_a_prebuilt_package_is_named_with_its_architecture() -> None:
    found = sbom._purl(lock.source("libruy-dev-arm64")).to_string()
    assert found.startswith("pkg:deb/debian/libruy-dev@")
    assert found.endswith("?arch=arm64")
