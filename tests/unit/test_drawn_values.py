"""What networks are given that nobody gave samples of."""

from __future__ import annotations

import numpy as np

from toolchain.formats.signature import Dtype, Quantization, Tensor
from toolchain.samples import drawn_values
from toolchain.samples.sets import Array


def drawn(*inputs: Tensor, **limits: int) -> tuple[dict[str, Array], dict[str, str]]:
    found = drawn_values.of_inputs(inputs, 3, limits)
    assert all(found.arrays[t.name].shape == (3, *t.shape) for t in inputs)
    assert all(found.arrays[t.name].dtype == t.dtype for t in inputs)
    return dict(found.arrays), dict(found.origins)


def tensor(name: str, *shape: int, dtype: Dtype = "int64") -> Tensor:
    return Tensor(name=name, shape=shape, dtype=dtype)


def test_indices_are_below_their_tables_rows_and_a_mask_is_ones_then_zeros() -> None:
    arrays, said = drawn(tensor("ids", 1, 12), tensor("attention_mask", 1, 12), ids=50)
    assert 0 <= arrays["ids"].min() < arrays["ids"].max() < 50
    assert arrays["attention_mask"][1].tolist() == [[1] * 9 + [0] * 3]
    assert said == {"ids": "indices below 50", "attention_mask": "a mask: ones, then zeros"}


def test_lengths_and_rates_are_known_by_their_names() -> None:
    sound = tensor("x", 1, 160, dtype="float32")
    arrays, said = drawn(sound, tensor("x_lengths", 1), tensor("sr"))
    assert arrays["x_lengths"].tolist() == [[160]] * 3
    assert arrays["sr"].tolist() == [16_000] * 3
    assert said["x"] == "numbers of a seed"


def test_bytes_of_images_are_photographs() -> None:
    arrays, said = drawn(
        tensor("image", 1, 16, 16, 3, dtype="uint8"), tensor("other", 1, 3, 16, 16, dtype="int8")
    )
    assert arrays["image"].max() > 127 > arrays["image"].min()
    assert arrays["other"].min() < 0
    assert set(said.values()) == {"photographs"}


def test_numbers_that_stand_for_others_fill_their_range() -> None:
    quantised = Tensor(
        name="x", shape=(1, 4000), dtype="int8", quantization=Quantization(scale=0.1)
    )
    arrays, _ = drawn(quantised)
    assert (arrays["x"].min(), arrays["x"].max()) == (-128, 127)


def test_two_inputs_alike_get_other_numbers_and_the_same_every_time() -> None:
    pair = tensor("a", 1, 8, dtype="float32"), tensor("b", 1, 8, dtype="float32")
    first, _ = drawn(*pair)
    assert not np.array_equal(first["a"], first["b"])
    assert drawn(*pair)[0]["b"].tobytes() == first["b"].tobytes()
