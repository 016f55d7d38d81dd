"""The programs in C and C++ that `example` writes: compilers take them without a warning."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from invoke import Context

from tests.support.manifests import a_manifest
from toolchain.core import process
from toolchain.examples import c_program
from toolchain.formats.signature import Quantization, Tensor
from toolchain.formats.state import Feed, State
from toolchain.models import place
from toolchain.models.detection import Detection
from toolchain.models.manifest import ModelManifest
from toolchain.models.metadata import Metadata
from toolchain.models.preprocessing import Preprocessing, Spectrogram
from toolchain.tasks import example
from toolchain.wheels.recipe import RECIPES

HEADERS = RECIPES / "tflite_files" / "edgewright_library" / "include"
COMPILERS = {
    "c": ("gcc", "-std=c99", "-Wpedantic", "-x", "c"),
    "cpp": ("g++", "-std=c++11", "-x", "c++"),
}
IMAGE = Tensor(name="x", shape=(1, 8, 8, 3))
SCORES = Tensor(name="scores", shape=(1, 3))
# what would be code, or end what it stands in, were it copied as it is
HOSTILE = 'a"*/b\\\n#error ??/ %s /* \u2028é'


def network(inputs: list[Tensor], outputs: list[Tensor], **more: object) -> ModelManifest:
    return a_manifest().model_copy(update={"inputs": inputs, "outputs": outputs, **more})


NETWORKS = {
    "classes": network(
        [IMAGE],
        [SCORES],
        metadata=Metadata(task="classification", preprocessing=Preprocessing()),
    ),
    "pictures": network(
        [IMAGE],
        [Tensor(name="boxes", shape=(1, 4, 9)), SCORES],
        metadata=Metadata(task="detection", preprocessing=Preprocessing()),
    ),
    "boxes": network(
        [IMAGE],
        [Tensor(name="boxes", shape=(1, 6, 9))],
        metadata=Metadata(
            task="detection", preprocessing=Preprocessing(), detection=Detection(head="yolo")
        ),
    ),
    "mask": network(
        [IMAGE],
        [Tensor(name="mask", shape=(1, 8, 8, 2))],
        metadata=Metadata(task="segmentation", preprocessing=Preprocessing()),
    ),
    "sounds": network(
        [Tensor(name="x", shape=(1, 49, 40))],
        [SCORES],
        metadata=Metadata(
            task="classification", spectrogram=Spectrogram(window=480, hop=320, bands=40)
        ),
    ),
    "arrays": network(
        [
            Tensor(name="ids", shape=(4, 6), dtype="int64"),
            Tensor(name="mask", shape=(4, 6), dtype="bool"),
            Tensor(name="half", shape=(4,), dtype="float16"),
            Tensor(name="byte", shape=(), dtype="uint8", quantization=Quantization(scale=0.5)),
        ],
        [Tensor(name="y", shape=(4, 6))],
        batch=4,
    ),
    "state": network(
        [Tensor(name="x", shape=(1, 2)), Tensor(name="h", shape=(1, 1))],
        [Tensor(name="y", shape=(1, 2)), Tensor(name="hn", shape=(1, 1))],
        state=State(feeds=(Feed(input="h", output="hn"),)),
    ),
}


def warnings(program: str, language: str, folder: Path) -> str:
    """What a compiler says of a program."""
    compiler, *flags = COMPILERS[language]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    path = folder / "program"
    path.write_text(program)
    strict = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{HEADERS}"]
    return process.run([compiler, *flags, *strict, str(path)])


@pytest.mark.parametrize("language", COMPILERS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_compiler_takes_the_program_without_a_warning(
    kind: str, language: str, tmp_path: Path
) -> None:
    text, *_ = c_program.programs(NETWORKS[kind], ["red", "green"], language).values()
    assert warnings(text, language, tmp_path) == ""


def test_names_types_shapes_and_labels_are_filled_in() -> None:
    text = c_program.programs(NETWORKS["arrays"], ["red", "green"], "c")["program.c"]
    assert "static int64_t input_0[24];" in text
    assert 'edgewright_set(network, "ids", EDGEWRIGHT_INT64, input_0,' in text
    assert "Input mask: bool (4, 6)." in text
    assert "Classes: red, green." in text
    assert "{NULL, NULL, NULL, 4, 0, NULL}" in text
    assert "edgewright_reset" in c_program.programs(NETWORKS["state"], (), "c")["program.c"]


@pytest.mark.parametrize(
    ("kind", "wanted"), [("boxes", "detect"), ("mask", "segment"), ("sounds", "set_sound")]
)
def test_what_a_network_is_for_is_what_its_program_does(kind: str, wanted: str) -> None:
    network = NETWORKS[kind]
    assert f"edgewright_{wanted}(" in c_program.programs(network, (), "c")["program.c"]
    assert f"network.{wanted}(" in c_program.programs(network, (), "cpp")["program.cpp"]


@pytest.mark.parametrize("language", COMPILERS)
def test_names_and_labels_are_no_lines_of_the_program(language: str, tmp_path: Path) -> None:
    hostile = Tensor(name="x", shape=(1, 2))
    # a Tensor refuses such a name; what is written here doesn't rely on that
    object.__setattr__(hostile, "name", HOSTILE)
    manifest = network([hostile], [hostile], title=HOSTILE)
    text, *_ = c_program.programs(manifest, [HOSTILE], language).values()
    assert warnings(text, language, tmp_path) == ""
    assert re.findall(r"(?m)^\s*#(?!include)", text) == []


def test_the_makefile_finds_the_library_by_pkg_config_and_cmake_by_its_package() -> None:
    files = c_program.programs(NETWORKS["classes"], (), "cpp")
    assert "$(EDGEWRIGHT)/lib/pkgconfig $(PKG_CONFIG)" in files["Makefile"]
    assert "\n\t$(CXX) " in files["Makefile"]
    assert "find_package(edgewright 3.0 REQUIRED)" in files["CMakeLists.txt"]


def test_a_folder_that_is_there_is_not_written_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWRIGHT_DIST", str(tmp_path))
    manifest = a_manifest()
    folder = place.folder_of(manifest.model, manifest.batch)
    folder.mkdir(parents=True)
    manifest.save(folder)
    out = tmp_path / "mine"
    example.example.body(Context(), model=manifest.model, language="c", out=str(out))
    assert {path.name for path in out.iterdir()} == {"program.c", "Makefile", "CMakeLists.txt"}
    (out / "program.c").write_text("mine")
    with pytest.raises(SystemExit):
        example.example.body(Context(), model=manifest.model, language="c", out=str(out))
    assert (out / "program.c").read_text() == "mine"
