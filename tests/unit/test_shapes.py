"""From open sizes to fixed ones."""

from __future__ import annotations

import pytest

from toolchain.core.errors import ModelError, UsageError
from toolchain.formats import shapes
from toolchain.formats.signature import Dims, OpenTensor, Signature


def signature(**inputs: Dims) -> Signature:
    return Signature(
        inputs=tuple(OpenTensor(name=name, dims=dims) for name, dims in inputs.items()),
        outputs=(OpenTensor(name="y", dims=()),),
    )


def sizes(of: Signature, batch: int = 1, **asked: tuple[int, ...]) -> list[tuple[int, ...]]:
    inputs, _ = shapes.fixed(of, batch, asked)
    return [tensor.shape for tensor in inputs]


TOKENS = signature(ids=("batch", "length"), mask=("batch", "length"))


def test_an_open_batch_is_what_was_asked_for() -> None:
    assert sizes(signature(x=(None, 8, 8, 3)), 4) == [(4, 8, 8, 3)]
    assert sizes(signature(x=("N", 3, 8, 8), scale=(1,)), 2) == [(2, 3, 8, 8), (1,)]


def test_a_size_that_was_given_once_stands_wherever_its_name_does() -> None:
    assert sizes(TOKENS, ids=(1, 12)) == [(1, 12), (1, 12)]
    assert shapes.fixed(TOKENS, 1, {"ids": (3, 12)})[1] == 3


def test_what_is_left_open_is_one_error_with_the_option_to_type() -> None:
    with pytest.raises(ModelError, match="open sizes") as caught:
        sizes(TOKENS)
    assert "mask: length is open" in caught.value.detail
    assert "--shape ids=1x128,mask=1x128" in caught.value.resolution
    with pytest.raises(ModelError) as caught:
        sizes(signature(images=("batch", 3, "height", None)))
    assert "images: height, dimension 4 are open" in caught.value.detail
    proposed = caught.value.resolution.rpartition("--shape ")[2]
    assert shapes.parsed(proposed) == {"images": (1, 3, 224, 224)}


def test_a_fixed_batch_is_taken_unless_another_was_asked_for() -> None:
    assert shapes.fixed(signature(x=(4, 8)), 1)[1] == 4
    with pytest.raises(ModelError, match="fixed at 4, batch 2") as caught:
        shapes.fixed(signature(x=(4, 8)), 2)
    assert "--batch 4" in caught.value.resolution


def test_inputs_that_begin_with_different_sizes_have_no_batch() -> None:
    assert shapes.fixed(signature(x=(4, 1, 5), h=(1, 1, 6), rate=()), 1)[1] == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"x": (1, 4)}, "names x, which is no input"),
        ({"": (1, 4)}, "says of no input whose it is"),
        ({"ids": (1, 4, 4)}, "is no shape of the model's ids"),
        ({"ids": (1, 4), "mask": (1, 5)}, "gives length two sizes"),
    ],
)
def test_a_shape_that_is_not_the_models_is_refused(
    asked: dict[str, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        shapes.fixed(TOKENS, 1, asked)


def test_shapes_are_read_from_an_option() -> None:
    assert shapes.parsed("images=1x3x640x640, rate=scalar") == {
        "images": (1, 3, 640, 640),
        "rate": (),
    }
    inputs, _ = shapes.fixed(signature(x=(None, None)), 1, shapes.parsed("2x7"))
    assert inputs[0].shape == (2, 7)


@pytest.mark.parametrize("text", ["images=1x", "x=-1x3", "x=axb"])
def test_an_option_that_says_no_shapes_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shape can't be read"):
        shapes.parsed(text)


def test_an_input_that_is_named_again_begins_the_next_shape() -> None:
    text = "ids=1x64,mask=1x64,rate=scalar,ids=1x128,mask=1x128,rate=scalar"
    several = shapes.side_by_side(text)
    assert several == [
        {"ids": (1, 64), "mask": (1, 64), "rate": ()},
        {"ids": (1, 128), "mask": (1, 128), "rate": ()},
    ]
    assert shapes.told_apart(several) == ["1x64", "1x128"]
    assert shapes.told_apart(shapes.side_by_side("1x3x32x32,1x3x64x64")) == [
        "1x3x32x32",
        "1x3x64x64",
    ]
    assert shapes.told_apart(shapes.side_by_side("")) == [""]
    with pytest.raises(UsageError, match="gives ids two sizes"):
        shapes.parsed(text)


def test_one_shape_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="the same sizes twice") as caught:
        shapes.told_apart(shapes.side_by_side("x=1x2,x=1x2"))
    assert caught.value.detail == "x=1x2, x=1x2"


@pytest.mark.parametrize("dtype", ["string", "bfloat16", "a sequence"])
def test_a_tensor_that_no_runtime_takes_is_named(dtype: str) -> None:
    with pytest.raises(ModelError, match=f"input words is {dtype}"):
        Signature(inputs=(OpenTensor(name="words", dims=(), dtype=dtype),), outputs=())


def test_the_batch_is_known_by_its_name_where_it_does_not_come_first() -> None:
    assert sizes(signature(x=("batch", 8), state=(2, "batch", 16)), 3) == [(3, 8), (2, 3, 16)]


@pytest.mark.parametrize("name", ["x\nimport os\n#", "x\x1b[2J", "x\u2028y", "x\x00"])
def test_a_name_that_is_more_than_a_name_is_refused(name: str) -> None:
    good, bad = OpenTensor(name="x", dims=(1,)), OpenTensor(name=name, dims=(1,))
    for inputs, outputs in (((bad,), (good,)), ((good,), (bad,))):
        with pytest.raises(ModelError, match="control character"):
            Signature(inputs=inputs, outputs=outputs)
    with pytest.raises(ValueError, match="no name of a tensor"):
        bad.fixed((1,))
