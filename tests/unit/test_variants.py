"""The forms of a network by name, and how a manifest takes one more."""

from __future__ import annotations

import pytest

from tests.support.manifests import SHA, a_manifest
from toolchain.compile import compilation
from toolchain.core.errors import UsageError
from toolchain.models import variants
from toolchain.models.checks import Check
from toolchain.models.manifest import File, Library, ModelManifest, Tflite, VariantPart


def a_file(name: str, sha: str = SHA) -> File:
    return File(file=name, sha256=sha, size=1)


def a_part(sha: str = SHA, graph: bool = True, tflite: str = SHA) -> VariantPart:
    return VariantPart(
        tflite=Tflite(**a_file("int8.tflite", tflite).model_dump(), compressed=1),
        reference=a_file("reference-int8.npy"),
        graph=a_file("int8.onnx", sha) if graph else None,
        checks=[a_check("tflite")],
        missing={} if graph else {"onnx int8": "no operator"},
    )


def a_check(stage: str, level: int | None = None) -> Check:
    return Check(
        stage=stage,
        max_abs=0,
        max_rel=0,
        top1_agreement=1,
        count=8,
        opt_level=level,
        variant="int8",
    )


def a_library(variant: str) -> Library:
    name = variants.library(variant, 3)
    return Library(file=f"x86_64/{name}.so", sha256=SHA, size=1, opt_level=3, variant=variant)


def with_libraries(manifest: ModelManifest) -> ModelManifest:
    plain = Check(stage="tvm-x86", max_abs=0, max_rel=0, top1_agreement=1, count=8, opt_level=3)
    made = manifest.with_library("x86_64", a_library("fp32"), plain)
    return made.with_library("x86_64", a_library("int8"), a_check("tvm-x86", 3))


def test_all_are_eight_in_the_order_of_the_table() -> None:
    assert len(variants.chosen(["all"])) == 8
    assert variants.chosen(["int8", "fp32"]) == ["fp32", "int8"]


def test_a_library_goes_with_the_file_that_its_integers_are_read_from() -> None:
    made = with_libraries(a_manifest().with_variant("int8", a_part()))
    again = made.with_variant("int8", a_part(tflite="1" * 64))
    assert list(again.libraries["x86_64"]) == ["O3"]


def test_all_that_a_compilation_reads_is_checked_and_copied_where_it_is_done_again() -> None:
    made = a_manifest().with_variant("int8", a_part())
    names = {file.file for file in compilation.needed(made, "int8")}
    assert names == {"int8.onnx", "int8.tflite", "reference-int8.npy", "samples.npz"}
    assert {file.file for file in compilation.needed(made, "fp32")} == {"model.onnx", "samples.npz"}


def test_an_unknown_variant_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="int4") as caught:
        variants.chosen(["int8", "int4"])
    assert "int16x8" in caught.value.resolution


def test_a_plain_library_is_named_by_its_level() -> None:
    assert variants.library("fp32", 2) == "O2"
    assert variants.library("int8", 2) == "int8-O2"


def test_a_card_takes_a_variant_and_forgets_it_again() -> None:
    made = with_libraries(a_manifest().with_variant("int8", a_part()))
    assert list(made.libraries["x86_64"]) == ["O3", "int8-O3"]
    assert made.graph("int8").file == "int8.onnx"
    assert {"int8.tflite", "int8.onnx", "reference-int8.npy"} <= set(made.files())
    assert made.plain() == a_manifest()


def test_the_same_variant_again_keeps_its_libraries() -> None:
    made = with_libraries(a_manifest().with_variant("int8", a_part()))
    assert made.with_variant("int8", a_part()) == made


def test_another_graph_takes_the_libraries_of_its_variant_away() -> None:
    made = with_libraries(a_manifest().with_variant("int8", a_part()))
    again = made.with_variant("int8", a_part("1" * 64))
    assert list(again.libraries["x86_64"]) == ["O3"]


def test_a_variant_without_a_graph_says_why() -> None:
    made = a_manifest().with_variant("int8", a_part(graph=False))
    with pytest.raises(UsageError, match="no ONNX graph of variant int8") as caught:
        made.graph("int8")
    assert caught.value.detail == "no operator"
    assert "onnx int8" not in made.with_variant("int8", a_part()).missing


def test_a_network_without_a_graph_says_why_and_where_it_runs() -> None:
    made = a_manifest().model_copy(update={"onnx": None, "missing": {"onnx": "no operator"}})
    with pytest.raises(UsageError, match="no ONNX graph of variant fp32") as caught:
        made.graph("fp32")
    assert caught.value.detail == "no operator"
    assert "other forms" in caught.value.resolution
