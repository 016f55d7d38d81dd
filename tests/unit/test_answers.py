"""Which configuration the report says to take, and on what grounds."""

from __future__ import annotations

import itertools

import pytest

from tests.support import evaluated, measured
from tests.support.measured import MS
from toolchain.accuracy.counts import Counts, Run, Subject
from toolchain.report import answers, formatting
from toolchain.report.answers import Answer, Limits
from toolchain.results import statistics
from toolchain.results.measurement import Measurement


def steady(ms: float, count: int = 32) -> list[int]:
    """Times that drift by two percent to and fro."""
    return [int(ms * MS * (1 + 0.01 * (n % 3 - 1))) for n in range(count)]


def drifting(ms: float) -> list[int]:
    """Times that become half as long again."""
    return [int(ms * MS * (1 + n / 64)) for n in range(32)]


def only(*measurements: Measurement, limits: Limits = answers.NO_LIMITS) -> Answer:
    (answer,) = answers.answers(measured.result(*measurements), limits=limits)
    return answer


def labelled(correct: int, reference: int) -> dict[str, int]:
    return {
        "total": 100, "available": 100, "correct": correct, "correct_top5": 100,
        "reference_correct": reference,
    }  # fmt: skip


PLAIN = measured.measurement(samples_ns=steady(4), accuracy=labelled(90, 90))
INT8 = measured.measurement(
    samples_ns=steady(2), variant="int8", accuracy=labelled(88, 88), peak_rss_bytes=60 << 20
)


def test_the_fastest_is_taken_with_what_it_gains_and_what_it_loses() -> None:
    said = only(PLAIN, INT8).sentence
    assert said.startswith("take TFLite int8, 1 thread: 2.00 ms, 2.00 times faster (1.9")
    assert said.endswith("than TFLite fp32, 1 thread, for 2.00 points")


def test_a_loss_is_against_the_source_and_not_against_the_form_itself() -> None:
    assert "for 2.00 points" in only(PLAIN, INT8).sentence
    assert INT8.accuracy is not None
    assert INT8.accuracy.correct == INT8.accuracy.reference_correct


def of_images(variant: str, right: int, content: str) -> Run:
    """A run of 64 images of the user's with one form of digits-cnn."""
    counts = Counts(total=64, top1=right, top5=64, reference_top1=right, agree=64)
    form = evaluated.run().subjects[0]
    subject = form.model_copy(update={"variant": variant, "shards": {"shard-0": counts}})
    return evaluated.run(model="digits-cnn", subjects=[subject], content=content)


@pytest.mark.parametrize(("content", "loss"), [("d" * 64, "for 25.0 points"), ("e" * 64, None)])
def test_other_images_say_nothing_of_a_loss(content: str, loss: str | None) -> None:
    runs = [of_images("fp32", 60, "d" * 64), of_images("int8", 44, content)]
    (answer,) = answers.answers(measured.result(PLAIN, INT8), runs)
    assert answer.sentence.endswith(loss) if loss else "points" not in answer.sentence


def test_within_names_the_fastest_that_loses_no_more() -> None:
    assert only(PLAIN, INT8, limits=Limits(within=1)).sentence.startswith("take TFLite fp32")
    assert only(PLAIN, INT8, limits=Limits(within=2)).sentence.startswith("take TFLite int8")


def test_under_leaves_what_takes_longer() -> None:
    found = only(PLAIN, INT8, limits=Limits(under_ms=1.5))
    assert found.sentence == "nothing keeps to 1.50 ms"
    assert only(PLAIN, INT8, limits=Limits(under_ms=3)).sentence.startswith("take TFLite int8")


def test_what_has_no_known_accuracy_keeps_to_none() -> None:
    unknown = measured.measurement(samples_ns=steady(1), runtime="tvm", opt_level=3, accuracy=None)
    said = only(PLAIN, unknown, limits=Limits(within=5)).sentence
    assert said.startswith("take TFLite fp32")


def test_drift_is_not_called_a_difference() -> None:
    other = measured.measurement(runtime="tvm", opt_level=3, samples_ns=drifting(2))
    plain = measured.measurement(samples_ns=drifting(2.2))
    assert "within noise as fast as" in only(plain, other).sentence
    (line,) = formatting.comparisons(measured.result(plain, other))
    assert "the same time within noise" in line


def test_a_ratio_of_few_times_says_so() -> None:
    other = measured.measurement(runtime="tvm", opt_level=3, samples_ns=steady(2, 5))
    assert "too few times" in only(PLAIN, other).sentence


def test_threads_beyond_the_cores_are_never_recommended_and_said_to_be() -> None:
    crowded = measured.measurement(threads=8, samples_ns=steady(1))
    assert only(PLAIN, crowded).sentence.startswith("take TFLite fp32, 1 thread")
    found = measured.result(PLAIN, crowded)
    assert "8 threads on 4 cores wait for each other" in formatting.notes(found, crowded)
    assert formatting.comparisons(measured.result(PLAIN, crowded)) == []


def test_what_differs_from_its_reference_is_not_recommended() -> None:
    assert PLAIN.parity is not None
    parity = PLAIN.parity.model_dump() | {"top1_agree": 0, "max_abs": 0.5}
    wrong = measured.measurement(samples_ns=steady(1), runtime="tvm", opt_level=3, parity=parity)
    wrong = wrong.model_copy(update={"accuracy": None})
    assert only(PLAIN, wrong).sentence.startswith("take TFLite fp32")


def test_the_best_by_each_measure() -> None:
    found = {best.what: best.configuration for best in only(PLAIN, INT8).best}
    assert found["most accurate"] == "TFLite fp32, 1 thread"
    assert {"smallest", "leanest", "most accurate"} == set(found)
    assert only(PLAIN).best == []


def test_accuracy_on_images_of_the_users_counts_before_that_on_samples() -> None:
    counts = {"fp32": 80, "int8": 60}
    run = Run(
        host="board", model="digits-cnn", dataset="own", images=100, unreadable=[],
        emulated=False, release="r", content="c",
        subjects=[
            Subject(
                runtime="tflite", variant=variant, opt_level=None, threads=1, sha256="a" * 64,
                shards={"0": Counts(total=100, top1=n, top5=n, reference_top1=n, agree=n)},
            )
            for variant, n in counts.items()
        ],
    )  # fmt: skip
    found = measured.result(PLAIN, INT8)
    (answer,) = answers.answers(found, [run.model_copy(update={"host": found.host})])
    assert answer.sentence.endswith("for 20.0 points")
    (other,) = answers.answers(found, [run.model_copy(update={"host": "another"})])
    assert other.sentence.endswith("for 2.00 points")


def test_an_emulated_time_answers_nothing() -> None:
    assert answers.answers(measured.result(PLAIN, INT8, emulated=True)) == []


@pytest.mark.parametrize("pair", list(itertools.permutations([steady(2), steady(3)])))
def test_a_factor_lies_within_its_interval(pair: tuple[list[int], list[int]]) -> None:
    factor = statistics.factor(*pair)
    assert factor.low is not None
    assert factor.high is not None
    assert factor.low <= factor.value <= factor.high
    assert factor.beyond_noise
