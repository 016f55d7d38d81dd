"""State: which outputs are inputs again, and sequences of inferences that it goes through."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright_runner import backends, job
from edgewright_runner.samples import Samples

from tests.support.manifests import a_manifest
from toolchain.core.errors import ModelError, UsageError
from toolchain.formats import state as states
from toolchain.formats.signature import Dims, OpenTensor, Quantization, Signature, Tensor
from toolchain.formats.state import Feed, State
from toolchain.models.manifest import ModelManifest
from toolchain.results.measurement import Parity
from toolchain.samples import drawn_values, named_arrays
from toolchain.samples.sets import Sets

Open = tuple[str, Dims, str]


def signature(inputs: list[Open], outputs: list[Open]) -> Signature:
    made = [
        tuple(OpenTensor(name=name, dims=dims, dtype=dtype) for name, dims, dtype in of)
        for of in (inputs, outputs)
    ]
    return Signature(inputs=made[0], outputs=made[1])


def named(inputs: str, outputs: str) -> Signature:
    """Networks whose tensors are all alike, and differ in their names alone."""
    ends = [[(name, (1, None), "float32") for name in of.split()] for of in (inputs, outputs)]
    return signature(*ends)  # type: ignore[arg-type] # a list of its own type each


def pairs(found: State | None) -> dict[str, str]:
    return dict(found.inputs) if found else {}


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        ("input h c", "output hn cn", {"h": "hn", "c": "cn"}),
        ("input sr state", "output stateN", {"state": "stateN"}),
        ("x hidden_in", "y hidden_out", {"hidden_in": "hidden_out"}),
        ("x h0 c0", "y hn cn", {"h0": "hn", "c0": "cn"}),
        ("x prev_state", "y next_state", {"prev_state": "next_state"}),
        ("x h_in_0 h_in_1", "y h_out_0 h_out_1", {"h_in_0": "h_out_0", "h_in_1": "h_out_1"}),
        ("x cached_len_0", "y new_cached_len_0", {"cached_len_0": "new_cached_len_0"}),
        ("x lstm.stateIn", "y lstm.stateOut", {"lstm.stateIn": "lstm.stateOut"}),
        ("x conv_cache", "y conv_cache_next", {"conv_cache": "conv_cache_next"}),
        ("x serving_default_state:0", "y state_out", {"serving_default_state:0": "state_out"}),
        # images that become images, and what is called by a number alone
        ("input", "output", {}),
        ("image_in noise", "image_out", {}),
        ("input_1 input_2", "output_1 output_2", {}),
        # two that might be meant, and a network with nothing but a state
        ("x h", "y hn h_out", {}),
        ("h c", "hn cn", {}),
    ],
)
def test_a_state_is_found_where_names_say_it(
    inputs: str, outputs: str, expected: dict[str, str]
) -> None:
    assert pairs(states.found(named(inputs, outputs))) == expected


@pytest.mark.parametrize(
    ("dims", "dtype"), [((1, 64, 1), "float32"), ((1, 32), "float32"), ((1, 64), "float16")]
)
def test_what_is_of_another_shape_or_type_is_not_taken_for_a_state(dims: Dims, dtype: str) -> None:
    given: list[Open] = [("x", (1, 3), "float32"), ("h", (1, 64), "float32")]
    assert states.found(signature(given, [("y", (1, 2), "float32"), ("hn", dims, dtype)])) is None


def test_what_turns_out_to_be_of_another_shape_is_left() -> None:
    """As the keys and values of a decoder are, which grow by one."""
    state = State(feeds=(Feed(input="h", output="hn"), Feed(input="cache", output="cache_out")))
    given = [Tensor(name="h", shape=(1, 4)), Tensor(name="cache", shape=(1, 7))]
    made = [Tensor(name="hn", shape=(1, 4)), Tensor(name="cache_out", shape=(1, 8))]
    assert pairs(states.what_fits(state, given, made)) == {"h": "hn"}
    assert states.what_fits(state, given, [made[1], Tensor(name="hn", shape=(2, 4))]) is None


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"hx": "hn"}, r"\[state\] names hx, which is no input of the model"),
        ({"h": "h_n"}, r"\[state\] names h_n, which is no output of the model"),
    ],
)
def test_names_that_are_none_of_the_networks_are_refused(said: dict[str, str], error: str) -> None:
    with pytest.raises(UsageError, match=error) as caught:
        states.said(named("x h", "y hn"), said)
    assert "input  h: float32 (1, ?)" in caught.value.detail


def test_a_state_that_is_said_has_to_fit() -> None:
    scale = Quantization(scale=0.5)
    said = states.said(named("x h", "y hn"), {"h": "hn"})
    assert said is not None
    given = [Tensor(name="h", shape=(1, 4))]
    states.refuse_misfit(said, given, [Tensor(name="hn", shape=(1, 4))])
    for other, what in (
        (Tensor(name="hn", shape=(1, 5)), r"h is float32 \(1, 4\), hn is float32 \(1, 5\)"),
        (Tensor(name="hn", shape=(1, 4), dtype="float64"), r"hn is float64 \(1, 4\)"),
        (Tensor(name="hn", shape=(1, 4), quantization=scale), r"at a scale of 0\.5 from 0"),
    ):
        with pytest.raises(UsageError, match=r"\[state\] h = \"hn\" does not fit.*" + what):
            states.refuse_misfit(said, given, [other])


def test_who_says_no_state_has_none() -> None:
    assert states.said(named("x h", "y hn"), {}) is None


TWICE = State(feeds=(Feed(input="h", output="hn"),), steps=3)


def doubled(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A network that adds its input to twice its state."""
    made = given["x"] + 2 * given["h"]
    return {"y": made, "hn": made}


def test_a_sequence_gives_each_step_what_the_one_before_made() -> None:
    x = np.ones((5, 1), np.float32)
    start = np.array([[0], [9], [9], [10], [9]], np.float32)
    sets = Sets(arrays={"x": x, "h": start}, state=TWICE)
    made = [float(one["y"][0]) for one in sets.run(doubled)]
    assert made == [1, 3, 7, 21, 43]
    fed = sets.fed({"hn": np.array(made, np.float32)[:, None]})
    assert fed.arrays["h"][:, 0].tolist() == [0, 1, 3, 10, 21]
    # each inference by itself gives the same then
    assert [float(doubled(one)["y"][0]) for one in fed] == made


def test_without_a_state_each_inference_is_by_itself() -> None:
    sets = Sets(arrays={"x": np.ones((2, 1)), "h": np.array([[1.0], [5.0]])})
    assert [float(one["y"][0]) for one in sets.run(doubled)] == [3, 11]
    assert sets.fed({}) is sets


INPUTS = [Tensor(name="x", shape=(1, 4)), Tensor(name="h", shape=(1, 2))]


def test_a_state_that_nobody_gave_begins_with_zeros() -> None:
    drawn = drawn_values.of_inputs(INPUTS, 6, {}, TWICE)
    assert not drawn.arrays["h"].any()
    assert drawn.arrays["x"].all()
    assert drawn.origins["h"] == "zeros, then what hn was: sequences of 3 steps"
    assert drawn.state == TWICE


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type] # numpy's stub takes a flag by keyword
    return path


X = np.ones((5, 1, 4), np.float32)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [0, 0, 0, 0, 0]),
        ({"h": np.full((1, 2), 7, np.float32)}, [7] * 5),
        ({"h": np.arange(5, dtype=np.float32).repeat(2).reshape(5, 1, 2)}, [0, 1, 2, 3, 4]),
    ],
)
def test_a_users_samples_may_say_how_a_state_begins(
    tmp_path: Path, given: dict[str, np.ndarray], expected: list[int]
) -> None:
    found = named_arrays.load(saved(tmp_path / "s.npz", x=X, **given), INPUTS, 1, {}, TWICE)
    assert found.arrays["h"][:, 0, 0].tolist() == expected
    assert found.state == TWICE


def test_a_users_state_of_another_number_of_inferences_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "s.npz", x=X, h=np.ones((2, 1, 2), np.float32))
    with pytest.raises(ModelError, match="different numbers of inferences"):
        named_arrays.load(path, INPUTS, 1, {}, TWICE)
    with pytest.raises(ModelError, match="has no array for input h"):
        named_arrays.load(saved(tmp_path / "t.npz", x=X), INPUTS, 1, {})


def test_a_manifest_says_its_state_and_one_of_before_has_none() -> None:
    plain = a_manifest()
    assert '"state"' not in plain.dump()
    made = plain.model_copy(update={"state": TWICE})
    assert ModelManifest.model_validate_json(made.dump()) == made
    assert made.for_device("rv64gc").state == TWICE
    with pytest.raises(ValueError, match="a state has an input and a step"):
        State(feeds=(), steps=8)


JOB_STATE = {"feeds": [{"input": "h", "output": "hn"}], "steps": 3}


def sequences(path: Path) -> Path:
    """Two of three steps, of which each doubles the state; what is not fed would be given 99."""
    given = np.full((6, 1), 99, np.float32)
    given[[0, 3], 0] = 1, 10
    arrays: dict[str, Any] = {
        "in:h": given,
        "out:hn": np.array([2, 4, 8, 20, 40, 80], np.float32)[:, np.newaxis],
    }
    np.savez(path, allow_pickle=False, **arrays)
    return path


def test_the_runner_compares_whole_sequences(tmp_path: Path) -> None:
    samples = Samples(sequences(tmp_path / "s.npz"), 1, state=JOB_STATE)
    assert [samples.whole(count) for count in (1, 3, 4, 9)] == [3, 3, 6, 6]
    assert Samples(tmp_path / "s.npz", 1).whole(1) == 1


class Doubling:
    """A runtime whose networks give twice what they are given."""

    def load(self, path: str) -> None:
        """Nothing to load."""

    def bind(self, signature: dict[str, Any]) -> None:
        """There is one of each."""

    def set_inputs(self, arrays: dict[str, np.ndarray]) -> None:
        self.given = arrays["h"]

    def run(self) -> None:
        """All is computed as it is asked for."""

    def outputs(self) -> dict[str, np.ndarray]:
        return {"hn": 2 * self.given}

    def delegated(self) -> None:
        """It has no delegates."""


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"min_samples": 20, "max_samples": 20}, 6),
        ({"min_samples": 1, "max_samples": 1, "parity_samples": 2}, 3),
    ],
)
def test_the_runner_feeds_a_state_within_a_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int], count: int
) -> None:
    monkeypatch.setattr(backends, "open_runtime", lambda _name, _threads: Doubling())
    monkeypatch.setattr(backends, "versions", lambda _name: {})
    (tmp_path / "net").touch()
    asked = {
        "release": str(tmp_path),
        "file": "net",
        "runtime": "",
        "batch": 1,
        "samples": sequences(tmp_path / "s.npz").name,
        "state": JOB_STATE,
    }
    said = io.StringIO()
    job.measure({**job.DEFAULTS, **asked, **settings}, job.Reporter(said))
    parts = [json.loads(line).get("part", {}) for line in said.getvalue().splitlines()]
    parity = next(Parity.model_validate(part["parity"]) for part in parts if "parity" in part)
    assert (parity.steps, parity.count, parity.max_abs) == (3, count, 0)
