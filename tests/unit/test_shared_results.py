"""Results of many people in one folder: none is lost, none fetched twice, none believed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import evaluated, measured
from toolchain.accuracy import counts
from toolchain.core import paths
from toolchain.core.errors import UsageError
from toolchain.results import measurement, shared_folder
from toolchain.results.folder import newest
from toolchain.results.measurement import Result
from toolchain.shared_cache.folder_place import FolderPlace
from toolchain.shared_cache.place import Wanted

SHARED = shared_folder.VARIABLE


@dataclass
class People:
    """Who share a folder; each with results and a cache of their own."""

    folder: Path
    patch: pytest.MonkeyPatch
    said: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    @property
    def shared(self) -> Path:
        """The folder."""
        return self.folder / "shared"

    def at(self, name: str) -> None:
        """Sit down at somebody's machine."""
        self.patch.setenv("EDGEWRIGHT_DIST", str(self.folder / name))
        self.patch.setenv("EDGEWRIGHT_CACHE", str(self.folder / f"{name}-cache"))

    def measures(self, name: str, result: Result) -> None:
        """Somebody measures, and gives what came of it."""
        self.at(name)
        path = measurement.save(result, paths.results())
        shared_folder.give(path, shared_folder.MEASUREMENTS, self.said.append)

    def sees(self, name: str) -> list[Result]:
        """What somebody's report is of."""
        self.at(name)
        others = shared_folder.files(self.said.append)[shared_folder.MEASUREMENTS]
        return measurement.load_all(paths.results(), self.said.append, others)


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> People:
    made = People(tmp_path, monkeypatch)
    made.shared.mkdir()
    monkeypatch.setenv(SHARED, str(made.shared))
    fetch = FolderPlace.fetch

    def counted(place: FolderPlace, wanted: Sequence[Wanted]) -> None:
        made.fetched += [one.name for one in wanted]
        fetch(place, wanted)

    monkeypatch.setattr(FolderPlace, "fetch", counted)
    return made


def later(minutes: int, **changes: object) -> Result:
    """A result of so many minutes later."""
    result = measured.result()
    moved = {"started": result.started + timedelta(minutes=minutes)}
    return result.model_copy(update={**moved, **changes})


def test_two_people_with_one_board_at_one_second_keep_both_results(people: People) -> None:
    people.measures("anna", later(0))
    people.measures("ben", later(0, release="c" * 64))
    assert len(list(people.shared.glob("*.json"))) == 2
    assert sorted(r.release for r in people.sees("anna")) == sorted([later(0).release, "c" * 64])
    assert people.sees("ben") != []
    assert people.said == []


def test_the_same_result_given_twice_is_one(people: People) -> None:
    people.measures("anna", later(0))
    people.measures("ben", later(0))
    assert len(list(people.shared.glob("*.json"))) == 1
    assert people.sees("ben") == [later(0)]


def test_a_second_look_fetches_only_what_is_new_and_nobody_their_own(people: People) -> None:
    for number in range(3):
        people.measures("anna", later(number))
    assert len(people.sees("ben")) == 3
    assert len(people.fetched) == 3
    people.measures("anna", later(9))
    assert len(people.sees("ben")) == 4
    assert len(people.fetched) == 4
    assert len(people.sees("anna")) == 4
    assert len(people.fetched) == 4


def test_what_was_taken_away_there_is_gone_here(people: People) -> None:
    people.measures("anna", later(0))
    people.measures("anna", later(1))
    assert len(people.sees("ben")) == 2
    max(people.shared.glob("*.json")).unlink()
    assert people.sees("ben") == [later(0)]


def test_a_folder_that_is_away_leaves_what_came_before(people: People) -> None:
    people.measures("anna", later(0))
    assert people.sees("ben") == [later(0)]
    people.shared.rename(people.folder / "away")
    assert people.sees("ben") == [later(0)]
    (line,) = people.said
    assert "there is no such folder" in line
    assert line.endswith("what came before is shown")


def altered(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"digits-cnn", b"digits-cmm"))


def endless(path: Path) -> None:
    with path.open("ab") as stream:
        stream.truncate(1 << 40)


def linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [altered, endless, linked, piped])
def test_a_file_that_is_not_what_its_name_says_is_left_out(
    people: People, damage: Callable[[Path], None]
) -> None:
    people.measures("anna", later(0))
    people.measures("anna", later(1))
    damage(min(people.shared.glob("*.json")))
    assert people.sees("ben") == [later(1)]
    assert all("left out" in line for line in people.said)
    told = len(people.said)
    people.fetched.clear()
    assert people.sees("ben") == [later(1)]
    if damage is altered:
        assert people.fetched == [], "it is fetched at each look"
        assert len(people.said) == told


def test_a_file_that_is_no_result_is_named_and_no_other_is_left_out(people: People) -> None:
    people.at("mallory")
    folder = paths.results()
    folder.mkdir(parents=True)
    for number, text in enumerate(["[" * 100_000, "{}", json.dumps({"schema": 2, "host": 3})]):
        (folder / f"{number}.json").write_text(text)
    assert shared_folder.give_all(people.said.append) == 3
    people.measures("anna", later(0))
    assert people.sees("ben") == [later(0)]
    assert len(people.said) == 3
    assert all(line.startswith("left out: ") for line in people.said)


def test_names_that_are_none_of_ours_are_not_asked_for(people: People) -> None:
    people.measures("anna", later(0))
    for name in ("notes.json", f"..-{'a' * 64}.json.txt", f"x y-{'a' * 64}.json", "a.csv"):
        (people.shared / name).write_text("{}")
    assert people.sees("ben") == [later(0)]
    assert len(people.fetched) == 1


def test_many_bad_files_are_told_in_few_lines(people: People) -> None:
    for number in range(20):
        (people.shared / f"x-{number:064x}.json").write_text("{}")
    people.measures("anna", later(0))
    assert people.sees("ben") == [later(0)]
    assert people.said[-1].endswith("left out: 17 more")
    assert len(people.said) == 4


def test_what_could_not_be_given_is_given_later(people: People) -> None:
    people.shared.rename(people.folder / "away")
    people.measures("anna", later(0))
    assert "is in results/ alone: there is no such folder" in people.said[0]
    assert people.said[1] == "to give it later: invoke share-results"
    (people.folder / "away").rename(people.shared)
    assert shared_folder.give_all(people.said.append) == 1
    assert shared_folder.give_all(people.said.append) == 0
    assert people.sees("ben") == [later(0)]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "there is no shared folder of results"),
        ("https://results.example/ours", "can't be given results"),
        ("results", "leads nowhere"),
    ],
)
def test_giving_where_nothing_can_be_given_is_refused(
    people: People, monkeypatch: pytest.MonkeyPatch, address: str, says: str
) -> None:
    people.measures("anna", later(0))
    monkeypatch.setenv(SHARED, address)
    with pytest.raises(UsageError, match=says) as caught:
        shared_folder.give_all(people.said.append)
    assert caught.value.resolution


def test_a_wrong_address_costs_no_measurement(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SHARED, "results")
    people.measures("anna", later(0))
    assert "leads nowhere" in people.said[0]
    assert len(list(paths.results().glob("*.json"))) == 1


def test_a_result_that_others_would_not_take_is_not_given(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_folder, "LARGEST", 100)
    people.measures("anna", later(0))
    (line,) = people.said
    assert "is in results/ alone: nobody takes more than" in line
    assert list(people.shared.iterdir()) == []


def test_one_that_others_would_not_take_keeps_no_other_back(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.at("anna")
    first = measurement.save(later(0), paths.results())
    large = first.with_name("0.json")
    large.write_bytes(first.read_bytes() + b" " * 1000)
    monkeypatch.setattr(shared_folder, "LARGEST", first.stat().st_size)
    assert shared_folder.give_all(people.said.append) == 1
    assert len(people.said) == 1
    assert people.sees("ben") == [later(0)]


def test_no_more_is_kept_than_a_disk_is_thought_to_hold(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(5):
        people.measures("anna", later(minute))
    largest = max(path.stat().st_size for path in people.shared.glob("*.json"))
    monkeypatch.setattr(shared_folder, "LARGEST", largest)
    monkeypatch.setattr(shared_folder, "MOST_BYTES", 3 * largest - 1)
    assert people.sees("ben") == [later(3), later(4)], "not the newest alone"
    assert len(people.fetched) == 2, "more were fetched than are kept"
    assert "3 files are left: more than can be kept" in people.said[0]


def test_large_results_are_waited_for_longer(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def noted(work: Callable[[], object], _: Callable[[], int], patience: float) -> object:
        waits.append(patience)
        return work()

    monkeypatch.setattr(shared_folder, "waited", noted)
    people.at("anna")
    folder = paths.results()
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"{number}.json").write_bytes(bytes([number]) * shared_folder.SEND_RATE)
    assert shared_folder.give_all(people.said.append) == 2
    assert shared_folder.SEND_S + 2 in waits


def test_a_run_over_images_that_went_on_is_shown_once(people: People) -> None:
    whole = evaluated.run()
    early = whole.model_copy(update={"subjects": whole.subjects[:1]})
    for run in (early, whole):
        people.at("anna")
        path = paths.results() / "accuracy" / "run.json"
        run.save(path)
        shared_folder.give(path, shared_folder.ACCURACY, people.said.append)
    people.at("ben")
    others = shared_folder.files(people.said.append)[shared_folder.ACCURACY]
    assert len(others) == 2
    assert counts.load_all(paths.results() / "accuracy", people.said.append, others) == [whole]
    elsewhere = whole.model_copy(update={"host": "another"})
    assert newest([whole, elsewhere, early]) == [whole, elsewhere]


def test_one_name_for_two_devices_is_said() -> None:
    first = measured.result()
    other = first.device.model_copy(update={"cpu": "another"})
    assert measurement.ambiguous([first, later(1)]) == []
    (line,) = measurement.ambiguous([first, later(1, device=other)])
    assert line.startswith(f"{first.host} is the name of 2 devices: another")
