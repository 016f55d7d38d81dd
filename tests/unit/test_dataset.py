"""A user's labelled images: found, read, prepared in shards, or refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from edgewright_runner import samples

from toolchain.accuracy import classes, dataset, evaluation
from toolchain.accuracy.classes import Classes
from toolchain.accuracy.sharding import shards, shards_job
from toolchain.accuracy.sharding.shards_request import ShardsRequest
from toolchain.core.errors import ModelError, UsageError
from toolchain.core.store import Store
from toolchain.models import catalogue
from toolchain.models.preprocessing import Preprocessing
from toolchain.models.resolve import resolve_model
from toolchain.models.specification import ModelSpec
from toolchain.models.user_model import OwnEntry
from toolchain.samples import public_images

PLAIN = Preprocessing(
    channels="RGB", resize="bilinear", scale=1 / 255, mean=(0, 0, 0), std=(1, 1, 1), crop=1
)


def an_image(path: Path, width: int = 8, height: int = 8, colour: tuple[int, ...] = ()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (width, height), colour or (200, 100, 50)).save(path)
    return path


def a_folder(root: Path, *labels: int) -> tuple[Path, Path]:
    """Images i0.png, i1.png, ... with these classes, and the list."""
    lines = []
    for number, label in enumerate(labels):
        an_image(root / "images" / f"i{number}.png", colour=(number, number, number))
        lines.append(f"i{number}.png {label}\n")
    (root / "val.txt").write_text("".join(lines))
    return root / "images", root / "val.txt"


def test_a_list_gives_each_image_its_class(tmp_path: Path) -> None:
    folder, labels = a_folder(tmp_path, 2, 0, 1)
    read = dataset.read(folder, labels, Classes(count=3))
    found = {i.path.name: i.label for i in read.images}
    assert read.matching == "by number"
    assert found == {"i0.png": 2, "i1.png": 0, "i2.png": 1}


def folders(root: Path, *names: str) -> Path:
    """A folder of images a class."""
    for name in names:
        an_image(root / name / "one.jpeg")
    return root


def read_folders(root: Path, classes: Classes) -> tuple[dict[str, int], str]:
    read = dataset.read(root, None, classes)
    return {i.path.parent.name: i.label for i in read.images}, read.matching


def test_folders_are_matched_with_the_models_classes_by_name(tmp_path: Path) -> None:
    root = folders(tmp_path, "cat", "Black_cat", "dog", ".thumbnails")
    found, matching = read_folders(root, Classes(count=4, names=("dog", "cat", "ant", "black cat")))
    assert found == {"dog": 0, "cat": 1, "Black_cat": 3}
    assert matching == "by name"


@pytest.mark.parametrize("names", [("dog", "cat"), ("cat", "cat", "bird")])
def test_folders_that_are_not_one_class_each_are_refused(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    root = folders(tmp_path, "bird", "cat")
    with pytest.raises(UsageError, match="1 of 2 folders") as caught:
        dataset.read(root, None, Classes(count=len(names), names=names))
    assert caught.value.resolution


def test_folders_of_numbers_are_those_classes(tmp_path: Path) -> None:
    root = folders(tmp_path, "10", "9", "2")
    assert read_folders(root, Classes(count=11)) == ({"10": 10, "9": 9, "2": 2}, "by number")
    named = Classes(count=11, names=tuple("abcdefghijk"))
    assert read_folders(root, named) == ({"10": 10, "9": 9, "2": 2}, "by number")
    digits = classes.of_model(resolve_model("digits-cnn"), 11)
    assert read_folders(root, digits) == ({"10": 10, "9": 9, "2": 2}, "by name")


def test_without_names_as_many_folders_as_classes_are_taken_in_order_which_is_said(
    tmp_path: Path,
) -> None:
    root = folders(tmp_path, "b", "a")
    found, matching = read_folders(root, Classes(count=2))
    assert found == {"a": 0, "b": 1}
    assert "order of their names" in matching
    with pytest.raises(UsageError, match="which of the model's 3 classes"):
        dataset.read(root, None, Classes(count=3))


def test_imagenets_folders_are_in_the_order_of_their_ids_and_only_when_all_are_there(
    tmp_path: Path,
) -> None:
    root = folders(tmp_path, "n02119789", "n01440764")
    imagenet = classes.of_model(resolve_model("resnet50"), 2)
    assert read_folders(root, imagenet) == ({"n01440764": 0, "n02119789": 1}, "by WordNet id")
    with pytest.raises(UsageError, match="which of the model's 1000 classes"):
        dataset.read(root, None, Classes(count=1000, imagenet=True))


def test_a_list_may_have_names_and_both_may_have_spaces(tmp_path: Path) -> None:
    folder, labels = a_folder(tmp_path, 0, 1)
    an_image(folder / "my black.png")
    labels.write_text("\ufeffi0.png black cat\r\ni1.png\tcat\r\nmy black.png cat\r\n")
    read = dataset.read(folder, labels, Classes(count=2, names=("cat", "black cat")))
    assert {i.path.name: i.label for i in read.images} == {
        "i0.png": 1,
        "i1.png": 0,
        "my black.png": 0,
    }
    assert read.matching == "by name"


def test_names_win_over_numbers_and_a_mixture_is_refused(tmp_path: Path) -> None:
    folder, labels = a_folder(tmp_path, 3, 1)
    names = Classes(count=2, names=("3", "1"))
    assert sorted(i.label for i in dataset.read(folder, labels, names).images) == [0, 1]
    labels.write_text("i0.png cat\ni1.png 1\n")
    with pytest.raises(UsageError, match="does not end in a class"):
        dataset.read(folder, labels, Classes(count=2, names=("cat", "dog")))


def test_a_models_list_of_another_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    own = OwnEntry(labels=tmp_path / "classes.txt")
    spec = ModelSpec(name="mine", kind="onnx", own=own, digest="")
    assert classes.of_model(spec, 2).names == ("cat", "dog")
    with pytest.raises(UsageError, match="don't match the model"):
        classes.of_model(spec, 3)


def test_a_limit_mixes_classes_the_same_way_every_time(tmp_path: Path) -> None:
    folder, labels = a_folder(tmp_path, *[n // 10 for n in range(40)])
    found = dataset.read(folder, labels, Classes(count=4), limit=12).images
    assert len(found) == 12
    assert len({i.label for i in found}) == 4
    assert dataset.read(folder, labels, Classes(count=4), limit=12).images == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("i0.png 7\n", "classes 0 to 2"),
        ("i0.png -1\n", "classes 0 to 2"),
        ("i0.png cat\n", "does not end in a class"),
        ("gone.png 1\ni0.png 0\n", "1 of 2 images"),
        ("", "no labelled images"),
    ],
)
def test_labels_that_do_not_match_are_refused(tmp_path: Path, text: str, said: str) -> None:
    folder, labels = a_folder(tmp_path, 0)
    labels.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        dataset.read(folder, labels, Classes(count=3))
    assert caught.value.resolution


def request(folder: Path, images: Sequence[tuple[Path, int]], how: Preprocessing) -> ShardsRequest:
    folder.mkdir()
    return ShardsRequest(
        images=tuple(images),
        preprocessing=how,
        shape=(4, 4, 3),
        channels_first=False,
        size=2,
        skip=False,
        folder=folder,
    )


def prepare(asked: ShardsRequest) -> list[Path]:
    shards_job.prepare(asked, lambda _: None)
    return sorted(asked.folder.glob("shard-*.npz"))


def test_shards_hold_every_image_once_and_the_device_makes_the_same_inputs(tmp_path: Path) -> None:
    folder, labels = a_folder(tmp_path, 2, 0, 1)
    images = dataset.read(folder, labels, Classes(count=3)).images
    how = catalogue.entries()["resnet50"].image_preprocessing()  # channels reversed, a mean each
    found = prepare(request(tmp_path / "made", [(i.path, i.label) for i in images], how))
    assert len(found) == 2
    seen = []
    for path in found:
        here = shards_job.inputs(path)
        with np.load(path) as arrays:
            assert samples.inputs(dict(arrays)).tobytes() == here.tobytes()
            assert here.tobytes() == public_images.prepared(arrays["pixels"], how).tobytes()
            seen += arrays["labels"].tolist()
    assert seen == [i.label for i in images]


def test_a_network_that_takes_channels_first_gets_them_so(tmp_path: Path) -> None:
    image = an_image(tmp_path / "one.png")
    given = replace(request(tmp_path / "last", [(image, 0)], PLAIN), shape=(4, 6, 3))
    (last,) = prepare(given)
    (tmp_path / "first").mkdir()
    (first,) = prepare(replace(given, channels_first=True, folder=tmp_path / "first"))
    found = shards_job.inputs(first)
    assert found.shape == (1, 3, 4, 6)
    assert np.array_equal(found.transpose(0, 2, 3, 1), shards_job.inputs(last))
    with np.load(first) as arrays:
        assert samples.inputs(dict(arrays)).tobytes() == found.tobytes()


def test_images_are_told_by_their_channels_on_either_side() -> None:
    assert evaluation.image_shape("net", (1, 224, 160, 3)) == ((224, 160, 3), False)
    assert evaluation.image_shape("net", (1, 3, 224, 160)) == ((224, 160, 3), True)
    with pytest.raises(UsageError, match="takes no images"):
        evaluation.image_shape("net", (1, 128))


def test_the_middle_of_an_image_is_taken(tmp_path: Path) -> None:
    whole = PLAIN.model_copy(update={"resize": "nearest"})
    image = PIL.Image.new("RGB", (30, 10))
    image.paste((255, 255, 255), (10, 0, 20, 10))
    image.save(tmp_path / "wide.png")
    assert shards_job.read(tmp_path / "wide.png", whole, 5, 5, 3).min() == 255
    half = whole.model_copy(update={"crop": 0.5})
    image.paste((0, 0, 0), (10, 0, 12, 10))
    image.save(tmp_path / "wide.png")
    assert shards_job.read(tmp_path / "wide.png", whole, 5, 5, 3).min() == 0
    assert shards_job.read(tmp_path / "wide.png", half, 5, 5, 3).min() == 255


def test_an_image_that_nothing_resizes_must_have_the_size(tmp_path: Path) -> None:
    fixed = PLAIN.model_copy(update={"resize": "none"})
    with pytest.raises(ValueError, match="8 x 8"):
        shards_job.read(an_image(tmp_path / "one.png"), fixed, 5, 5, 3)


def test_unreadable_images_are_named_and_left_out_only_when_asked(tmp_path: Path) -> None:
    folder, labels = a_folder(tmp_path, 2, 0, 1)
    (folder / "i1.png").write_bytes(b"\x89PNG but no more")
    images = dataset.read(folder, labels, Classes(count=3)).images
    cache = Store(tmp_path / "cache")
    with pytest.raises(ModelError, match="1 of 3 images") as caught:
        shards.prepare(images, PLAIN, (4, 4, 3), skip_unreadable=False, cache=cache)
    assert caught.value.detail == "i1.png"
    assert "--skip-unreadable" in caught.value.resolution
    made = shards.prepare(images, PLAIN, (4, 4, 3), skip_unreadable=True, cache=cache)
    assert (made.total, made.unreadable, made.files) == (2, ["i1.png"], ["shard-0000.npz"])
    told: list[str] = []
    again = shards.prepare(
        images, PLAIN, (4, 4, 3), skip_unreadable=True, cache=cache, progress=told.append
    )
    assert again == made
    assert told == ["reading the images"]


def test_an_image_is_resized_as_the_published_accuracy_was_measured(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "noise.png")
    # the shorter side to 16 (14 of 16 is 0.875), then the middle
    how = PLAIN.model_copy(update={"resize": "bicubic", "crop": 0.875})
    whole = cv2.resize(pixels, (21, 16), interpolation=cv2.INTER_CUBIC)
    found = shards_job.read(tmp_path / "noise.png", how, 14, 14, 3)
    assert np.array_equal(found, whole[1:15, 3:17])


def test_area_means_over_every_pixel(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    pixels[::2] = 100
    PIL.Image.fromarray(pixels).save(tmp_path / "lines.png")
    how = PLAIN.model_copy(update={"resize": "area"})
    assert np.unique(shards_job.read(tmp_path / "lines.png", how, 2, 2, 1)).tolist() == [50]


def test_a_picture_that_was_held_upright_is_seen_upright(tmp_path: Path) -> None:
    image = PIL.Image.new("RGB", (4, 4))
    image.paste((255, 255, 255), (0, 0, 4, 2))
    turned = PIL.Image.Exif()
    turned[0x0112] = 3  # half a turn
    image.save(tmp_path / "turned.png", exif=turned)
    found = shards_job.read(tmp_path / "turned.png", PLAIN, 4, 4, 3)
    assert (found[:2].max(), found[2:].min()) == (0, 255)


def test_half_of_a_photograph_is_unreadable(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = tmp_path / "whole.jpg"
    PIL.Image.fromarray(pixels).save(whole)
    half = tmp_path / "half.jpg"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(OSError, match="truncated"):
        shards_job.read(half, PLAIN, 8, 8, 3)
