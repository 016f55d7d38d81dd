"""Whatever cuts a deployment off, the device runs the old or the new release, whole.

EDGEWRIGHT_FAULTS=long runs the long form. See docs/reliability.md.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.agent.state import State
from tests import tools
from tests.bundles import make_bundle
from tests.faults import device
from tests.faults.device import Agent, Ended, Point, Work
from tests.faults.powercut import KINDS, Disk
from toolchain import bundle
from toolchain.errors import DeviceRefused, EdgewrightError, ReleaseError

LONG = os.environ.get("EDGEWRIGHT_FAULTS") == "long"
DOUBLE = 500 if LONG else 60
CUTS = int(os.environ.get("EDGEWRIGHT_CUTS", "10000" if LONG else "30"))
ROUNDS = 500 if LONG else 4
SEED = 6

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed: apt-get install strace"
)


class Bench:
    """Bundles one to four, a device that ran the first and runs the second, and what is tried.

    Attributes:
        agent: the one under test; `good` always is the product's.
    """

    def __init__(self, folder: Path, agent: Agent) -> None:
        self.folder, self.agent, self.good = folder, agent, Agent()
        self.bundles = [
            make_bundle(folder / str(n), version=f"{n}.0", extra={"models/m": bytes([n]) * 70_000})
            for n in (1, 2, 3, 4)
        ]
        self.template, self.root = folder / "template", folder / "device"
        for made in self.bundles[:2]:
            device.deploy(self.good, self.template, made, keep=3)

    def work(self, name: str, root: Path) -> tuple[Work, list[Path | None], Path]:
        """What is cut off, the releases that may run then, the one that runs after it is done."""
        agent, one, two, three = self.agent, *self.bundles[:3]
        if name == "rollback":
            return lambda h: device.rollback(agent, root, h), [one, two], one
        target = one if name == "switch back" else three
        old = None if name == "first deploy" else two
        return lambda h: device.deploy(agent, root, target, h), [old, target], target

    def reset(self, name: str) -> None:
        device.copy(self.folder / "none" if name == "first deploy" else self.template, self.root)

    def points(self, name: str) -> list[Point]:
        self.reset(name)
        ended = device.run(self.work(name, self.root)[0], scratch=self.folder)
        assert not ended.error, ended
        assert not ended.crash, ended
        assert ended.points
        return ended.points

    def check(
        self, root: Path, ended: Ended, allowed: list[Path | None], new: Path, what: object
    ) -> None:
        """Old or new, whole, and new when that was reported."""
        assert not ended.crash, f"{what}: {ended.crash}"
        reported = {"confirm", "rollback"} & set(ended.done)
        wrong = device.problems(root, self.bundles, [new] if reported else allowed)
        assert not wrong, f"{what}: {wrong}"

    def recover(self, root: Path, turn: int, what: object) -> None:
        """The next deployment, whichever it is, succeeds and leaves nothing behind."""
        if pending := State(str(root)).pending():
            device.take_lock(self.agent, root)
            now = {"back": State(str(root)).linked("current"),
                   "previous": State(str(root)).linked("previous")}  # fmt: skip
            assert now == pending, f"{what}: not as before: {now}"
        target = self.bundles[turn % 4]
        try:
            done = device.deploy(self.agent, root, target)
        except (EdgewrightError, OSError, ValueError) as error:
            detail = getattr(error, "detail", "")
            raise AssertionError(f"{what}: the next deploy: {error}: {detail}") from error
        wrong = device.problems(root, self.bundles, [target])
        wrong += device.debris(root) if done.status == "done" else []
        previous = State(str(root)).linked("previous")
        if previous is not None and not (root / "releases" / previous).is_dir():
            wrong.append("the previous release is gone")
        assert not wrong, f"{what}: after the next deploy: {wrong}"


OPERATIONS = ("deploy", "first deploy", "switch back", "rollback")


def kills(bench: Bench) -> int:
    count = 0
    for name in OPERATIONS:
        for point in bench.points(name):
            bench.reset(name)
            work, allowed, new = bench.work(name, bench.root)
            ended = device.run(work, device.kill_at(point), scratch=bench.folder)
            assert ended.killed, f"{name}: {point} was not reached"
            bench.check(bench.root, ended, allowed, new, f"{name} killed at {point}")
            bench.recover(bench.root, count, f"{name} killed at {point}")
            count += 1
    return count


def double_kills(bench: Bench, wanted: int) -> int:
    chance, count = random.Random(SEED), 0  # noqa: S311 (a seed is the point)
    points = {name: bench.points(name) for name in OPERATIONS}
    for _ in range(wanted * 4):
        name = chance.choice(OPERATIONS)
        first, second = chance.choice(points[name]), chance.choice(points["deploy"])
        what = f"{name} killed at {first}, then a deploy at {second}"
        bench.reset(name)
        work, allowed, _new = bench.work(name, bench.root)
        device.run(work, device.kill_at(first), scratch=bench.folder)
        again = lambda h: device.deploy(bench.agent, bench.root, bench.bundles[3], h)  # noqa: E731
        ended = device.run(again, device.kill_at(second), scratch=bench.folder)
        bench.check(bench.root, ended, [*allowed, bench.bundles[3]], bench.bundles[3], what)
        bench.recover(bench.root, count, what)
        count += ended.killed
        if count == wanted:
            break
    return count


FAILING = {
    "EIO": ("write", "pwrite64", "fsync", "rename", "sendfile", "copy_file_range", "link"),
    "ENOSPC": ("openat", "write", "pwrite64", "rename", "mkdir", "link", "symlink"),
    "EROFS": ("openat", "rename", "mkdir", "link", "symlink", "unlink", "unlinkat", "chmod"),
}


def confirmed_before(bench: Bench, point: Point) -> bool:
    """Whether the switch was confirmed when a deployment comes to that call."""
    bench.reset("deploy")
    work, _, _ = bench.work("deploy", bench.root)
    return "confirm" in device.run(work, device.kill_at(point), scratch=bench.folder).done


def errors(bench: Bench, step: int, lasting: str = "") -> int:
    """Each call that can fail does, once, or with `+` from then on."""
    count = 0
    points = bench.points("deploy")
    for name, calls in FAILING.items():
        for point in [p for p in points if p.call in calls][::step]:
            what = f"{name} at {point}{lasting}"
            must_tell = point.call == "fsync" and not confirmed_before(bench, point)
            bench.reset("deploy")
            work, allowed, new = bench.work("deploy", bench.root)
            ended = device.run(work, device.fail_at(point, name) + lasting, scratch=bench.folder)
            assert ended.hit, f"{what} was not reached"
            bench.check(bench.root, ended, allowed, new, what)
            # Once the switch is confirmed the deployment is done; before that each fault is told.
            assert ended.error or "confirm" in ended.done, f"{what}: nobody was told"
            assert ended.error or not must_tell, f"{what}: kept quiet"
            assert not ended.error or "disk" in ended.error or "written" in ended.error, ended.error
            bench.recover(bench.root, count, what)
            count += 1
    return count


def flipped_bits(bench: Bench) -> int:
    """Bits that change on the way, among what is kept, and in a release that is complete."""
    count = 0
    flip: Callable[[bytes], bytes] = lambda b: bytes([b[0] ^ 1]) + b[1:]  # noqa: E731
    for number in (1, 2, 3):
        bench.reset("deploy")
        turn = iter(range(100))
        device.deploy(
            bench.agent, bench.root, bench.bundles[2],
            flip=lambda b, n=number, t=turn: flip(b) if next(t) == n - 1 else b,  # type: ignore[misc]
        )  # fmt: skip
        assert not device.problems(bench.root, bench.bundles, [bench.bundles[2]])
        count += 1
    bench.reset("deploy")
    with pytest.raises(ReleaseError, match="damaged"):
        device.deploy(bench.agent, bench.root, bench.bundles[2], flip=flip)
    bench.recover(bench.root, 2, "each try flipped")
    for file in bundle.load(bench.bundles[0]).files:
        bench.reset("deploy")
        # A blob and the releases' file are one file: both go bad.
        blob = bench.root / "blobs" / file.sha256
        content = blob.read_bytes()
        blob.chmod(0o644)
        blob.write_bytes(flip(content))
        with pytest.raises(ReleaseError, match="damaged"):
            device.rollback(bench.agent, bench.root)
        device.deploy(bench.agent, bench.root, bench.bundles[0])
        state = State(str(bench.root))
        runs = state.linked("current")
        assert runs is not None
        assert state.whole(runs), f"a bad {file.path} runs"
        count += 1
    return count + 1


def cut_points(bench: Bench, wanted: int) -> Iterator[tuple[str, Point | None]]:
    """Where the power goes: right after all is done, then from the last call to the first.

    The last ones first: there a lost fsync shows. Again from the start when more are wanted.
    """
    every: list[tuple[str, Point | None]] = [("rollback", None), ("deploy", None)]
    for name in ("rollback", "deploy"):
        points = bench.points(name)
        every += [(name, point) for point in points[::-1][:: max(1, len(points) // wanted)]]
    yield from itertools.islice(itertools.cycle(every), wanted)


def power_cuts(bench: Bench, disk: Disk, wanted: int) -> int:
    root = disk.on()
    shutil.copytree(bench.template, root, symlinks=True)
    disk.off()
    disk.keep()
    done = 0
    for name, point in cut_points(bench, wanted):
        what = f"power cut in {name} at {point or 'its end'}"
        disk.restore()
        root = disk.on()
        try:
            work, allowed, new = bench.work(name, root)
            injected = device.kill_at(point) if point else ""
            ended = device.run(work, injected, scratch=bench.folder)
        finally:
            disk.cut()
        root = disk.on()
        try:
            bench.check(root, ended, allowed, new, what)
            bench.recover(root, done, what)
        finally:
            disk.off()
        done += 1
    return done


def rounds(bench: Bench, wanted: int) -> int:
    """Deployers at once, some killed: no two hold the lock, the last one's release runs."""
    chance = random.Random(SEED)  # noqa: S311 (a seed is the point)
    for turn in range(wanted):
        bench.reset("deploy")
        log = bench.folder / "events"
        log.write_bytes(b"")
        children = [_deployer(bench, log, n % 3 + 1) for n in range(2 + turn % 7)]
        time.sleep(chance.uniform(0.005, 0.08))
        os.kill(chance.choice(children), signal.SIGKILL)
        codes = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children}
        assert set(codes.values()) <= {0, -signal.SIGKILL}, (
            f"round {turn}: {codes}\n{log.read_text()}"
        )
        holder, last = 0, -1
        may: list[Path | None] = [bench.bundles[1]]
        for line in log.read_text().splitlines():
            pid, event, number = (int(w) if w.isdigit() else w for w in line.split()[:3])
            assert isinstance(pid, int)
            if event == "lock":
                assert holder == 0 or codes[holder] != 0, f"round {turn}: two hold the lock"
                holder = pid
                may = [*may[-1:], bench.bundles[int(number)]] if codes[pid] else may
            elif event == "switch":
                last = int(number)
                may = [bench.bundles[last]]
            elif event == "end":
                holder = 0
        wrong = device.problems(bench.root, bench.bundles, may)
        assert not wrong, f"round {turn}: {wrong}"
        bench.recover(bench.root, turn, f"round {turn}")
    return wanted


def _deployer(bench: Bench, log: Path, number: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        sink = os.open(log, os.O_WRONLY | os.O_APPEND)

        def heard(do: str, answer: dict[str, object]) -> None:
            event = {"lock": "lock", "confirm": "switch", "clean": "end"}.get(do)
            if event and "ok" in answer:
                os.write(sink, f"{os.getpid()} {event} {number}\n".encode())

        for _ in range(1000):
            try:
                device.deploy(bench.agent, bench.root, bench.bundles[number], heard)
                code = 0
                break
            except (DeviceRefused, ReleaseError) as error:
                if "another deployment" not in error.brief:
                    os.write(sink, f"{os.getpid()} error {number} {error.detail}\n".encode())
                    break
                time.sleep(0.01)
    except BaseException as error:
        os.write(sink, f"{os.getpid()} error {number} {error!r}\n".encode())
        raise
    finally:
        os._exit(code)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that can be: a kill loses no page, so the disk's speed adds nothing."""
    shm = Path("/dev/shm")  # noqa: S108 (not a file of a known name)
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as made:
        yield Path(made)


@pytest.fixture
def bench(folder: Path) -> Bench:
    return Bench(folder, Agent())


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Disk:
    kind = str(request.param)
    if kind == "xfs":
        return _disk(folder, kind, str(tools.install("xfsprogs", "sbin/mkfs.xfs", tmp_path / "x")))
    return _disk(folder)


def _disk(folder: Path, kind: str = "ext4", path: str | None = None) -> Disk:
    try:
        made = Disk(folder, kind, path)
        made.on()
        made.off()
    except (OSError, EdgewrightError, Exception) as error:  # noqa: BLE001 (no root, no loop)
        pytest.skip(f"no loop mount of {kind} here: {error}")
    return made


def say(what: str, count: int) -> None:
    print(f"{what}: {count}")  # noqa: T201 (the counts are the result)
    assert count > 0


def test_a_kill_at_every_call_leaves_the_old_or_the_new_release(bench: Bench) -> None:
    say("kill points", kills(bench))


def test_a_second_kill_during_recovery_does_no_more_harm(bench: Bench) -> None:
    count = double_kills(bench, DOUBLE)
    say("double kills", count)
    assert count == DOUBLE


def test_a_disk_that_refuses_once_is_told_and_harms_nothing(bench: Bench) -> None:
    say("disk errors", errors(bench, 1))


def test_a_disk_that_refuses_for_good_is_told_and_harms_nothing(bench: Bench) -> None:
    say("disk errors for good", errors(bench, 1 if LONG else 6, "+"))


def test_a_flipped_bit_never_runs(bench: Bench) -> None:
    say("flipped bits", flipped_bits(bench))


def test_deployers_at_once_are_as_one_after_the_other(bench: Bench) -> None:
    say("rounds of 2 to 8 deployers", rounds(bench, ROUNDS))


def test_a_power_cut_leaves_what_was_reported(bench: Bench, disk: Disk) -> None:
    say(f"power cuts of {disk.kind.make[0]}", power_cuts(bench, disk, CUTS))


MUTANTS = {
    "a file's fsync dropped": ("files", "        os.fsync(stream.fileno())\n", ""),
    "a release not brought to the disk": ("steps", "        fsync_tree(base)\n", ""),
    "the switch not brought to the disk": (
        "files", "    os.replace(temporary, link)\n    fsync_path(root)\n",
        "    os.replace(temporary, link)\n",
    ),
    "the switch in two calls": (
        "files", "    os.replace(temporary, link)\n",
        ("    os.unlink(link) if os.path.lexists(link) else None\n"
        "    os.replace(temporary, link)\n"),
    ),
    "a switch that nothing can undo": ("steps", "        note_return(self)\n", ""),
    "a switch that is not undone": ("steps", "        go_back(self)\n", ""),
    "the confirmation not brought to the disk": (
        "deadman", "        return False\n    fsync_path(state.root)\n", "        return False\n",
    ),
    "a switch undone without what came before": (
        "deadman", ', ("previous", noted["previous"])', ",",
    ),
    "the lock not taken": (
        "steps", "            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
    ),
    "a received hash unchecked": ("steps", "        if digest(received) != sha256:\n",
                                  "        if False:\n"),
    "a kept hash unchecked": ("steps", " and digest(blob) == name:", ":"),
    "a rollback to what is damaged": ("steps", "        if not self.whole(back):\n",
                                      "        if False:\n"),
    "a release removed piece by piece": (
        "steps",
        '        for folder in gone:\n            self.discard(self.path("releases", folder))\n',
        ('        for folder in gone:\n'
         '            for name in sorted(os.listdir(self.release(folder)), reverse=True):\n'
         '                remove(self.path("releases", folder, name))\n'
         '            remove(self.release(folder))\n'),
    ),
    "what was cut off not cleared": (
        "steps", "        if self.marker(folder) is None and folder not in running:\n",
        "        if False:\n",
    ),
    "a disk's error kept quiet": ("files", "        os.fsync(descriptor)\n",
                                  ("        try:\n            os.fsync(descriptor)\n"
                                  "        except OSError:\n            pass\n")),
    "the previous release removed": (
        "steps", '        needed = {self.linked("current"), self.linked("previous")}\n',
        '        needed = {self.linked("current")}\n',
    ),
}  # fmt: skip


# the trial to begin with, where another would only take longer to let the fault through
SHOWN_BY = {
    "a file's fsync dropped": "power cuts",
    "a release not brought to the disk": "power cuts",
    "the switch not brought to the disk": "power cuts",
    "the confirmation not brought to the disk": "power cuts",
    "a disk's error kept quiet": "errors",
}


@pytest.mark.skipif(not LONG, reason="the long form alone: EDGEWRIGHT_FAULTS=long")
@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_seeded_in_the_agent_is_caught(folder: Path, name: str) -> None:
    caught = _caught(folder, MUTANTS[name], SHOWN_BY.get(name, "bits"))
    print(f"{name}: {caught or 'MISSED'}")  # noqa: T201 (the result)
    assert caught


def _caught(folder: Path, mutation: tuple[str, str, str], first: str) -> str | None:
    bench = Bench(folder, Agent(mutation))
    trials: dict[str, Callable[[], int]] = {
        "bits": lambda: flipped_bits(bench),
        "deployers": lambda: rounds(bench, 8),
        "kills": lambda: kills(bench),
        "errors": lambda: errors(bench, 1),
        "power cuts": lambda: power_cuts(bench, _disk(folder), 150),
    }
    for name in sorted(trials, key=lambda trial: trial != first):
        try:
            trials[name]()
        except (AssertionError, pytest.fail.Exception, EdgewrightError) as error:
            return f"{name}: {str(error).splitlines()[0][:110]}"
    return None
