"""The methods of edgewright.hpp, over a library that only remembers what it was given."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from toolchain.core import process
from toolchain.wheels.recipe import RECIPES

HEADERS = RECIPES / "tflite_files" / "edgewright_library" / "include"
# As libedgewright.so: places are wanted for boxes and classes, also for none; a mask has the
# size of the picture of the last run.
LIBRARY = """
#include <edgewright.hpp>
#include <cstdio>
size_t given = 0, shown = 0;
edgewright_status of(bool right) { return right ? EDGEWRIGHT_OK : EDGEWRIGHT_INPUT_ERROR; }
const char* edgewright_error(void) { return "refused"; }
edgewright_status edgewright_load_for_abi(int, const char*, const edgewright_options*,
                                          edgewright_network** network) {
  *network = reinterpret_cast<edgewright_network*>(&given);
  return EDGEWRIGHT_OK;
}
void edgewright_free(edgewright_network*) {}
edgewright_status edgewright_set_picture(edgewright_network*, const uint8_t*, size_t height,
                                         size_t width, size_t) {
  given = height * width;
  return EDGEWRIGHT_OK;
}
edgewright_status edgewright_run(edgewright_network*) {
  shown = given;
  return EDGEWRIGHT_OK;
}
edgewright_status edgewright_segment(const edgewright_network*, uint8_t*, size_t count) {
  return of(count == shown);
}
edgewright_status edgewright_detect(edgewright_network*, double, edgewright_box* boxes,
                                    size_t* count) {
  return of(boxes != nullptr && *count == 0);
}
edgewright_status edgewright_classify(edgewright_network*, edgewright_class* classes,
                                      size_t* count) {
  return of(classes != nullptr && *count == 0);
}
"""


def said(body: str, folder: Path) -> str:
    """What a program prints that has these statements about `network`."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    source, program = folder / "program.cpp", folder / "program"
    source.write_text(
        f'{LIBRARY}\nint main() {{\n  edgewright::Network network("net");\n{body}\n}}'
    )
    strict = ["-std=c++11", "-Wall", "-Wextra", "-Werror", f"-I{HEADERS}"]
    process.run([compiler, *strict, source, "-o", program])
    return process.run([program])


def test_a_mask_has_the_size_of_the_picture_of_the_last_run(tmp_path: Path) -> None:
    body = """
  const uint8_t pixels[12] = {};
  network.set_picture(pixels, 2, 3, 1);
  network.run();
  network.set_picture(pixels, 3, 4, 1);
  std::printf("%zu ", network.segment().size());
  network.run();
  std::printf("%zu", network.segment().size());"""
    assert said(body, tmp_path) == "6 12"


def test_no_boxes_and_no_classes_can_be_asked_for(tmp_path: Path) -> None:
    body = """
  std::printf("%zu %zu", network.detect(0.5, 0).size(), network.classify(0).size());"""
    assert said(body, tmp_path) == "0 0"
