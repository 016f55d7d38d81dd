"""Compiler and runtime of TVM: a bundle holds one version of both."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.bundles import make_bundle
from tests.support.manifests import a_check, a_library, a_manifest
from toolchain import targets
from toolchain.bundle import assemble
from toolchain.compile import source_compiler
from toolchain.compile.compilation import release as the_release
from toolchain.core import paths, process
from toolchain.core.errors import BuildError, UsageError
from toolchain.core.store import Store
from toolchain.images import specification
from toolchain.models.checks import Check
from toolchain.models.manifest import ModelManifest
from toolchain.runtimes import runtime, tvm
from toolchain.wheels import audit, build

RELEASE, SOURCE = "0.27.0.post1", "0.25.dev0"
RV64GC, X86_64 = targets.target("rv64gc"), targets.target("x86_64")
TVM = runtime("tvm")
MODEL_FILE = "models/net/b1/model.json"
MODEL = {"model": "net", "batch": 1, "folder": "models/net/b1", "card": MODEL_FILE}


def compiled(*versions: str) -> ModelManifest:
    made = a_manifest()
    for level, version in enumerate(versions):
        made = made.with_library("rv64gc", a_library(level, tvm=version), a_check(level))
    return made


def a_bundle(folder: Path, *versions: str, runtime: str) -> Path:
    return make_bundle(
        folder,
        extra={
            f"wheels/{runtime}-py3-none-any.whl": b"",
            MODEL_FILE: compiled(*versions).dump().encode(),
        },
        also_wheels=[f"wheels/{runtime}-py3-none-any.whl"],
        models=[MODEL],
    )


@pytest.mark.parametrize(
    ("version", "runtime"),
    [(RELEASE, "edgewright_tvm_runtime"), (SOURCE, "edgewright_tvm_runtime_source")],
)
def test_a_bundle_with_the_compilers_own_runtime_is_good(
    version: str, runtime: str, tmp_path: Path
) -> None:
    folder = a_bundle(tmp_path, version, runtime=f"{runtime}-{version}")
    assert assemble.load(folder).models[0].model == "net"


@pytest.mark.parametrize("versions", [(SOURCE,), (RELEASE, SOURCE), ("unknown",)])
def test_a_bundle_with_another_runtime_is_refused(
    versions: tuple[str, ...], tmp_path: Path
) -> None:
    folder = a_bundle(tmp_path, *versions, runtime=f"edgewright_tvm_runtime-{RELEASE}")
    with pytest.raises(BuildError) as caught:
        assemble.load(folder)
    assert versions[-1] in caught.value.brief
    assert f"its runtime is {RELEASE}" in caught.value.brief
    assert "--compiler" in caught.value.resolution


def test_a_bundle_takes_the_runtime_of_its_libraries() -> None:
    release, source = compiled(RELEASE), compiled(SOURCE)
    assert TVM.wheels(RV64GC, []).built == ("tvm_ffi", "tvm_runtime")
    assert TVM.wheels(RV64GC, [release]).built == ("tvm_ffi", "tvm_runtime")
    assert TVM.wheels(RV64GC, [source]).built == ("tvm_ffi", "tvm_runtime_source")
    # what is compiled for other targets does not count
    assert TVM.wheels(X86_64, [source]).built == ("tvm_ffi", "tvm_runtime")


def test_compiling_for_another_target_changes_no_release(tmp_path: Path) -> None:
    made = compiled(RELEASE)
    other = Check(stage="tvm-x86", max_abs=1, max_rel=1, top1_agreement=0, count=8, opt_level=0)
    also = made.with_library(X86_64.name, a_library(0), other)
    assert made.for_device(RV64GC.name) == also.for_device(RV64GC.name)
    assert also.for_device(RV64GC.name).libraries.keys() == {RV64GC.name}


def test_libraries_of_two_tvms_make_no_bundle() -> None:
    models = [compiled(RELEASE), compiled(SOURCE).model_copy(update={"batch": 2})]
    with pytest.raises(UsageError, match=r"not of 0\.25\.dev0, 0\.27\.0\.post1") as caught:
        TVM.wheels(RV64GC, models)
    assert "net, batch 2: 0.25.dev0" in caught.value.detail


def test_each_compiler_has_a_runtime_of_its_version(tmp_path: Path) -> None:
    source = source_compiler.from_source(Store(tmp_path), lambda _: None)
    release = the_release()
    versions = {build.recipe(name)[0].version for name in (tvm.RELEASE, tvm.SOURCE)}
    assert {source.version, release.version} == versions
    assert source.identity != release.identity


def test_the_compiler_is_for_the_image_that_built_it() -> None:
    made, _ = build.recipe("tvm_compiler")
    assert not made.portable
    assert audit.local_tag(audit.Audit(), X86_64) == "linux_x86_64"
    audit.refuse_above(Path("a-1-py3-none-linux_x86_64.whl"), {"GLIBC": "2.41"}, X86_64)
    with pytest.raises(UsageError, match="no image tvm-compiler for rv64gc"):
        specification.spec(made.image, RV64GC)


def with_what_they_need(distributions: Iterable[str]) -> set[str]:
    """Installed distributions, and those that they require themselves."""
    found, wanted = set[str](), list(distributions)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            required = map(Requirement, metadata.requires(name) or [])
            wanted += [
                canonicalize_name(one.name)
                for one in required
                if one.marker is None or one.marker.evaluate({"extra": ""})
            ]
    return found


def test_a_compilation_needs_no_more_than_the_image_of_the_source_compiler_has() -> None:
    spec = specification.spec("tvm-compiler", X86_64)
    inside = {name.removeprefix("python3-") for name in spec.include if "python3-" in name}
    code = (
        "import sys, toolchain.compile.compilation_job, toolchain.compile.pipeline, "
        "toolchain.compile.onnx_import, toolchain.compile.onnx_simplify; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = process.run([sys.executable, "-c", code], cwd=paths.ROOT).split()
    owners = metadata.packages_distributions()
    used = {canonicalize_name(owners[name][0]) for name in loaded if name in owners}
    tvm = {"apache-tvm", "apache-tvm-ffi"}  # of its own in the image
    assert tvm < used
    others = with_what_they_need(inside & used) | {"edgewright", "setuptools", "pip"}
    assert used - tvm - others == set()
