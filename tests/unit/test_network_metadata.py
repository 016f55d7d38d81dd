"""What is known of a network before it is converted travels in its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.manifests import SHA, a_manifest
from toolchain.convert import network_metadata
from toolchain.convert.network_metadata import Known
from toolchain.core.errors import ModelError, UsageError
from toolchain.formats.network import Described
from toolchain.formats.signature import Tensor
from toolchain.models import catalogue, user_model
from toolchain.models.manifest import File, ModelManifest
from toolchain.models.metadata import Metadata
from toolchain.models.preprocessing import Preprocessing
from toolchain.models.resolve import resolve_model
from toolchain.models.specification import ModelSpec

IMAGE = (Tensor(name="x", shape=(1, 3, 8, 8)),)


def described(folder: Path, text: str) -> ModelSpec:
    """A user's model with such a TOML file beside it."""
    (folder / "net.onnx").touch()
    (folder / "net.toml").write_text(text)
    own = user_model.beside(folder / "net.onnx")
    return ModelSpec(name="net", kind="onnx", path=folder / "net.onnx", own=own, digest=SHA)


def of(spec: ModelSpec, inputs: tuple[Tensor, ...] = IMAGE, **more: Any) -> Metadata | None:
    return network_metadata.of_model(Known(spec=spec, inputs=inputs, **more))


def named(name: str) -> tuple[str, ...]:
    """The names of the classes of a network of the catalogue."""
    return network_metadata.label_names(Known(spec=resolve_model(name), inputs=IMAGE))


def test_what_the_file_says_is_taken_where_the_user_says_nothing(tmp_path: Path) -> None:
    said = Described(labels=("cat", "dog"), mean=(127.5,), std=(128.0,))
    spec = ModelSpec(name="net", kind="onnx", path=tmp_path / "net.onnx", digest=SHA)
    found = of(spec, described=said, scores=2)
    assert found is not None
    assert (found.task, found.classes) == ("classification", 2)
    assert found.preprocessing == Preprocessing(
        scale=1.0, mean=(127.5,), std=(128.0,), fit="stretch"
    )
    segmenter = of(spec, described=said)
    assert segmenter is not None
    assert (segmenter.task, segmenter.classes) == (None, None)
    own = of(described(tmp_path, "[preprocessing]\nscale = 1.0\n"), described=said, scores=3)
    assert own == Metadata(preprocessing=Preprocessing(scale=1.0))


def test_every_key_of_preprocessing_may_be_left_out(tmp_path: Path) -> None:
    spec = described(tmp_path, "[preprocessing]\n")
    found = of(spec)
    assert found is not None
    assert found.preprocessing == Preprocessing(
        channels="RGB", resize="bilinear", scale=1 / 255, mean=(0.0,), std=(1.0,)
    )


def test_labels_are_written_beside_the_model_and_make_it_a_classifier(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("\ufeffcat\n dog \nowl\n", "utf-8")
    spec = described(tmp_path, 'labels = "classes.txt"\nruntime = "tvm"\nthreads = 2\n')
    found = of(spec)
    assert found == Metadata(task="classification", classes=3, runtime="tvm", threads=2)
    file = network_metadata.write_labels(Known(spec=spec, inputs=IMAGE), tmp_path)
    assert file is not None
    assert (tmp_path / file.file).read_text() == "cat\ndog\nowl\n"


def test_a_network_of_which_nothing_is_said_has_no_metadata(tmp_path: Path) -> None:
    assert of(described(tmp_path, 'title = "Net"\n')) is None
    known = Known(spec=described(tmp_path, ""), inputs=IMAGE)
    assert network_metadata.write_labels(known, tmp_path) is None


@pytest.mark.parametrize("text", ["mean = [0.5, 0.5]", "std = [1.0, 1.0, 1.0, 1.0]"])
def test_numbers_for_other_channels_than_the_inputs_are_refused(tmp_path: Path, text: str) -> None:
    spec = described(tmp_path, f"[preprocessing]\n{text}\n")
    with pytest.raises(ModelError, match="numbers in") as caught:
        of(spec)
    assert "for each channel" in caught.value.resolution


def test_a_divisor_of_zero_and_a_runtime_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="can't be used") as caught:
        described(tmp_path, "[preprocessing]\nstd = [0.0]\n")
    assert "preprocessing.std: Value error, nothing can be divided by 0" in caught.value.detail
    with pytest.raises(UsageError, match="unknown runtime: tensorrt"):
        of(described(tmp_path, 'runtime = "tensorrt"\n'))


def test_every_network_of_the_catalogue_says_its_task() -> None:
    for name, entry in catalogue.entries().items():
        inputs = (Tensor(name="x", shape=(1, *entry.shape)),)
        found = of(resolve_model(name), inputs)
        assert found is not None
        assert found.task == entry.task
        names = named(name)
        assert len(names) == (entry.classes if entry.labels else 0)


def test_the_classes_of_imagenet_have_the_names_that_its_networks_index() -> None:
    names = named("efficientnet-lite0")
    assert (names[0], names[281], names[985], names[999]) == (
        *("tench", "tabby", "daisy", "toilet tissue"),
    )


def test_a_manifest_carries_it_and_one_of_before_is_still_read(tmp_path: Path) -> None:
    plain = a_manifest()
    assert '"metadata"' not in plain.dump()
    labels = File(file="labels.txt", sha256=SHA, size=1)
    made = plain.model_copy(update={"metadata": Metadata(task="regression"), "labels": labels})
    made.save(tmp_path)
    assert ModelManifest.load(tmp_path) == made
    assert made.files()["labels.txt"] == SHA
    plain.save(tmp_path)
    assert ModelManifest.load(tmp_path) == plain


def test_a_file_of_labels_that_is_missing_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"labels names gone\.txt, which isn't there") as caught:
        described(tmp_path, 'labels = "gone.txt"\n')
    assert "leave labels out of net.toml" in caught.value.resolution
    with pytest.raises(ModelError, match="can't be read as TOML") as unread:
        described(tmp_path, "labels = classes.txt\n")
    assert 'labels = "classes.txt"' in unread.value.resolution
