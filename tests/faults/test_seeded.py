"""The tests tested: faults put into a copy of the product on this machine's side and in the agent.

Each has to make the test fail that is named beside it, and that passes without it. Those of the
agent's steps under kills and power cuts are in test_seeded_agent. EDGEWRIGHT_FAULTS=long seeds all,
otherwise one in four.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.release.agent_session import AGENT
from tests.support.faults.bench import LONG
from tests.support.faults.mutants import MUTANTS
from toolchain.core import paths

PASSED, FAILED = 0, 1  # pytest's: tests ran, and some failed
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis")
WRITTEN = {"dist", "results", "reports"}  # below the root; toolchain/results is code


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A fault: what stands in a file once, what stands there instead, the test to catch it."""

    file: str
    good: str
    bad: str
    test: str
    only: str = ""


KNOWN_HOSTS, CERTIFICATE = "tests/unit/test_known_hosts.py", "tests/unit/test_host_certificate.py"
ROGUE, LINK = "tests/faults/test_rogue.py", "tests/faults/test_link.py"
SIGNING, FLEET = "tests/unit/test_signing.py", "tests/unit/test_fleet.py"
CONFIRMED, WHEELS = (
    "tests/integration/test_commit_confirmed.py",
    "tests/faults/test_wrong_wheels.py",
)
LEFTOVERS = "tests/unit/test_leftovers.py"
HOSTILE, PLAN = "tests/faults/test_hostile.py", "tests/unit/test_release_plan.py"

SEEDS = {
    "AutoAdd put back": Seed(
        file="deploy/ssh/login.py", good="policy(Policy(device, who, destination, known))",
        bad="policy(paramiko.AutoAddPolicy())", test=ROGUE, only="unknown_server",
    ),
    "known_hosts not loaded": Seed(
        file="deploy/ssh/known_hosts.py", good="for path in files:",
        bad="for path in files[:0]:", test=ROGUE, only="accept_new or another_key",
    ),
    "a revoked host key taken": Seed(
        file="deploy/ssh/known_hosts.py", good="if key in marked[Marker.REVOKED]:",
        bad="if not key:", test=KNOWN_HOSTS, only="revoked",
    ),
    "a pattern of hosts not seen": Seed(
        file="deploy/ssh/known_hosts.py", good="if _matches(host.lower(), wanted):",
        bad="if host.lower() == wanted:", test=KNOWN_HOSTS, only="pattern",
    ),
    "another type of host key taken for a new host": Seed(
        file="deploy/ssh/known_hosts.py", good="return Verdict.CHANGED if marked[Marker.NONE] else",
        bad="return", test=KNOWN_HOSTS, only="another_is_a_change",
    ),
    "a new host key glued to a line without an end": Seed(
        file="deploy/ssh/known_hosts.py", good='"" if ends_with_newline(path) else "\\n"', bad='""',
        test=KNOWN_HOSTS, only="begins_one",
    ),
    "a host's certificate for another host": Seed(
        file="deploy/ssh/host_certificate.py", good="if named and host not in named:",
        bad="if named and not host:", test=CERTIFICATE, only="vouches",
    ),
    "a host's certificate whose signature is unchecked": Seed(
        file="deploy/ssh/host_certificate.py",
        good="return bool(key.verify_ssh_sig(certificate.signed, signature))",
        bad="return bool(key)", test=CERTIFICATE, only="signature",
    ),
    "strict key exchange not asked for": Seed(
        file="deploy/ssh/login.py",
        good="if self.must_be_strict and not self.agreed_on_strict_kex:",
        bad="if not self.must_be_strict and not self.agreed_on_strict_kex:",
        test=ROGUE, only="without_strict",
    ),
    "a MAC with SHA-1": Seed(
        file="deploy/ssh/login.py", good='if "sha2" in m)', bad='if "md5" not in m)',
        test=ROGUE, only="old_algorithms",
    ),
    "a signature unchecked": Seed(
        file="deploy/agent/trust.py",
        good="any(verify(key, message, signature) for key in trusted)",
        bad="trusted", test=SIGNING, only="each_kind",
    ),
    "an expiry unchecked": Seed(
        file="deploy/agent/trust.py", good="if expires < max(time.time(), counter):",
        bad="if expires < 0:", test=SIGNING, only="each_kind",
    ),
    "a counter unchecked": Seed(
        file="deploy/agent/trust.py", good="if counter < newest:", bad="if counter < 0:",
        test=SIGNING, only="each_kind",
    ),
    "a second encoding of a signature": Seed(
        file="deploy/agent/ed25519.py", good=" or s >= ORDER:", bad=":", test=SIGNING,
        only="vectors",
    ),
    "a release not let in": Seed(
        file="deploy/agent/steps.py", good="if self.allowed[0] != release:", bad="if not release:",
        test=SIGNING, only="authorization",
    ),
    "a manifest's id unchecked": Seed(
        file="deploy/agent/steps.py", good="if self.identity(content) != release or not",
        bad="if not", test=PLAN, only="not_its_hash",
    ),
    "a path that leaves the release": Seed(
        file="deploy/agent/files.py", good='in ("", ".", "..", "venv", MARKER)',
        bad='in ("", ".", "venv", MARKER)', test=PLAN, only="leaves_the_release",
    ),
    "a lying tag unchecked": Seed(
        file="deploy/release/wheel_compatibility.py",
        good='return "" if inside == tags else', bad='return "" or',
        test=WHEELS, only="every_wrong or right_wheel",
    ),
    "a float ABI unchecked": Seed(
        file="toolchain/targets/instruction_sets/riscv.py",
        good="flags & FLOAT_ABI == FLOAT_ABI_DOUBLE and", bad="",
        test=WHEELS, only="every_wrong",
    ),
    "a glibc unchecked": Seed(
        file="deploy/release/wheel_compatibility.py",
        good='if asked and _above(asked, has or "0"):',
        bad="if asked and not has:", test=WHEELS, only="symbols",
    ),
    "arguments not quoted": Seed(
        file="deploy/ssh/connection.py",
        good="shlex.join(args).encode(", bad='" ".join(args).encode(',
        test=HOSTILE, only="argument",
    ),
    "a file under its name before it is whole": Seed(
        file="deploy/ssh/connection.py", good='        part = f"{remote}.part"\n        report',
        bad="        part = remote\n        report", test=LINK, only="anywhere and cut",
    ),
    "no bound on what is under way": Seed(
        file="deploy/ssh/sftp_transfer.py", good="self._wait(UNDER_WAY - len(piece))",
        bad="self._wait(1 << 40)", test=LINK, only="anywhere and cut",
    ),
    "no bound on what a plain stream has under way": Seed(
        file="deploy/ssh/stream_transfer.py", good="self._sent - self._written > UNDER_WAY",
        bad="self._sent - self._written > 1 << 40", test="tests/unit/test_stream_transfer.py",
        only="bound",
    ),
    "no bound on what rsync has under way": Seed(
        file="deploy/ssh/rsync_transfer.py", good="self.sent - self.handed > UNDER_WAY",
        bad="self.sent - self.handed > 1 << 40", test="tests/unit/test_rsync_transfer.py",
        only="bound",
    ),
    "a stream's file under its name before it is whole": Seed(
        file="deploy/agent/programs/receive.py", good="not piece:\n                return 1\n",
        bad="not piece:\n                break\n",
        test="tests/unit/test_stream_transfer.py", only="early",
    ),
    "a canary that nobody waits for": Seed(
        file="deploy/release/fleet.py", good="if all(r.good for r in crew.results.values()):",
        bad="if True:", test=FLEET, only="canary",
    ),
    "a device given up that goes on": Seed(
        file="deploy/release/fleet.py",
        good="        if self.given_up:\n            raise ConnectionFailed(f",
        bad="        if not self.device:\n            raise ConnectionFailed(f",
        test=FLEET, only="no_further_step",
    ),
    "failures not counted": Seed(
        file="deploy/release/fleet.py",
        good="return 0 < self.limits.failures <= bad", bad="return False",
        test=FLEET, only="so_many_failures",
    ),
    "a switch that outlives its agent": Seed(
        file="deploy/agent/commit_confirmed.py",
        good="    if heard and os.read(ear, 1) == CONFIRMED:", bad="    if heard:",
        test=CONFIRMED, only="killed_undoes",
    ),
    "a venv compared by names and sizes": Seed(
        file="deploy/agent/state.py",
        good='return (shape, content) == (marker["venv"], marker["content"])',
        bad='return bool(shape == marker["venv"])', test=PLAN, only="one_byte",
    ),
    "an earlier version's venv compared by names and sizes": Seed(
        file="deploy/agent/state.py", good=" and as_recorded(venv)", bad="", test=PLAN,
        only="one_byte",
    ),
    "a device's text obeyed by the terminal": Seed(
        file="toolchain/commandline/terminal.py",
        good="yield Segment(visible(segment.text), segment.style)", bad="yield segment",
        test="tests/unit/test_console.py", only="not_obeyed",
    ),
    "a job's last answer thrown away": Seed(
        file="deploy/measure/bench.py", good="    except BaseException as error:  #",
        bad="    except EdgewrightError as error:  #", test="tests/unit/test_bench.py",
        only="whatever_ends",
    ),
    "a folder with other things in it taken": Seed(
        file="deploy/agent/ownership.py", good="    if found:\n        raise",
        bad="    if found == root:\n        raise",
        test="tests/unit/test_ownership.py", only="refused",
    ),
    "a home's json.py imported by the agent": Seed(
        file="deploy/release/shell/sessions.py", good='python(device.python, "-E", "-u"',
        bad='python(device.python, "-u"', test="tests/unit/test_agent_session.py", only="home",
    ),
    "a home's json.py imported by the self-check": Seed(
        file="deploy/agent/steps.py", good="            cwd=self.root,\n", bad="", test=PLAN,
        only="a_home",
    ),
    "a disturbed run compared like any other": Seed(
        file="toolchain/report/comparison.py", good='if verdict in ("faster", "slower") and (',
        bad='if verdict == "missing" and (', test="tests/unit/test_comparison.py",
        only="disturbed",
    ),
    "an emptied list of keys taken for none": Seed(
        file="deploy/agent/trust.py", good="        if os.path.lexists(os.path.join(root, KEYS)):",
        bad="        if root is None:", test=SIGNING, only="emptied",
    ),
    "a key without an owner taken": Seed(
        file="deploy/agent/ed25519.py", good="    if _of_small_order(owner):",
        bad="    if owner is None:", test=SIGNING, only="without_an_owner",
    ),
    "a lost switch called done": Seed(
        file="deploy/release/rollout.py", good="    if folder is None:\n",
        bad='    folder = folder or ""\n    if folder is None:\n',
        test=CONFIRMED, only="lost_at_its_switch and before",
    ),
    "a living process's scratch cleared away": Seed(
        file="toolchain/core/process.py", good="return _started(int(found[2])) != int(found[3])",
        bad="return True", test=LEFTOVERS, only="living",
    ),
    "an id that is used again taken for its owner": Seed(
        file="toolchain/core/process.py", good="return _started(int(found[2])) != int(found[3])",
        bad="return _started(int(found[2])) is None", test=LEFTOVERS, only="same_id",
    ),
    "a manifest that names files anywhere": Seed(
        file="toolchain/models/manifest.py",
        good="raise ValueError(\"the path of a file leads out of the model's folder\")",
        bad="return path", test="tests/unit/test_model_manifest.py", only="elsewhere",
    ),
    "operators sent that the interpreter has not": Seed(
        file="toolchain/runtimes/tflite.py", good="if version > newest:",
        bad="if version > newest + 99:", test="tests/unit/test_operator_versions.py",
        only="said_by",
    ),
    "an entry's links and modes not compared": Seed(
        file="toolchain/core/store.py",
        good="(shape is not None and _without_manifest(outline(folder)) != shape)", bad="False",
        test="tests/unit/test_store.py", only="a_link",
    ),
    "the user's variables given to a reader": Seed(
        file="toolchain/core/worker.py", good="run = functools.partial(here, passed=PASSED)",
        bad="run = functools.partial(here)", test="tests/unit/test_confinement.py",
        only="secrets",
    ),
    "a packed file of outputs unpacked": Seed(
        file="toolchain/accuracy/metric_job.py", good="> path.stat().st_size:",
        bad="< 0:", test="tests/unit/test_metric_outputs.py", only="made_up",
    ),
    "what a login's shell prints taken for the command's": Seed(
        file="deploy/ssh/remote_process.py", good='if first != f"{BEGINS} {self._id}":',
        bad="if self._id is None:", test="tests/integration/test_login_shells.py",
        only="prints_is_named",
    ),
    "a tuning server that a stranger's words end": Seed(
        file="deploy/agent/programs/rpc_server.py",
        good="except (OSError, ValueError):  # bytes", bad="except OSError:  # bytes",
        test="tests/unit/test_tuning_search.py", only="something_else",
    ),
    "a home among the modules of what starts a program": Seed(
        file="deploy/agent/service.py", good='[sys.executable, "-I", "-S", "-c", BEGIN,',
        bad='[sys.executable, "-S", "-E", "-c", BEGIN,', test="tests/unit/test_program.py",
        only="a_file_in_the_home",
    ),
    "a link in an index followed": Seed(
        file="toolchain/publication/folder.py", good="if folder.is_symlink():",
        bad="if not folder.name:", test="tests/unit/test_publication.py", only="a_link_in_an_index",
    ),
    "outputs as large as a device says": Seed(
        file="deploy/run/device_run.py", good="if size > MOST_BYTES:", bad="if size < 0:",
        test="tests/unit/test_run_damage.py", only="endless",
    ),
    "boxes that are nowhere": Seed(
        file="toolchain/accuracy/box_decoding.py", good=" & somewhere & np.isfinite(scores)",
        bad="", test="tests/unit/test_metrics.py", only="nowhere",
    ),
    "a tensor's name written into a program": Seed(
        file="toolchain/examples/python_program.py",
        good='printable(" and ".join(fed)) or "none"', bad='" and ".join(fed) or "none"',
        test="tests/unit/test_example.py", only="no_lines",
    ),
    "a tensor's name with a line break taken": Seed(
        file="toolchain/formats/signature.py", good="        if not _is_a_line(tensor.name):",
        bad="        if tensor is None:", test="tests/unit/test_shapes.py",
        only="more_than_a_name",
    ),
    "figures that no report can be made of": Seed(
        file="toolchain/results/field_types.py",
        good="Count = Annotated[int, Field(ge=0, le=MOST)]",
        bad="Count = Annotated[int, Field(ge=0)]", test="tests/unit/test_results.py",
        only="no_report",
    ),
    "an operator's name of any length read": Seed(
        file="toolchain/runtimes/tflite.py", good="if length > LONGEST_NAME:",
        bad="if length < 0:", test="tests/unit/test_operator_versions.py", only="no_time",
    ),
    "arrays written over an input": Seed(
        file="deploy/run/written.py", good="    _refuse_input(path, ran)\n    stacked",
        bad="    stacked", test="tests/unit/test_run_damage.py", only="no_inputs_place",
    ),
}  # fmt: skip


def chosen() -> list[str]:
    """All in the long form. The quick ones of the others."""
    return list(SEEDS) if LONG else [n for n, s in SEEDS.items() if s.test in (SIGNING, FLEET)][::2]


def test_each_seeded_fault_is_caught_by_its_test(tmp_path: Path) -> None:
    copy = tmp_path / "product"
    shutil.copytree(paths.ROOT, copy, ignore=_left_out, symlinks=True)
    missed = []
    good: dict[tuple[str, str], int] = {}
    for name in chosen():
        seed = SEEDS[name]
        path = copy / seed.file
        text = path.read_text()
        assert text.count(seed.good) == 1, f"{name}: {seed.good!r} is not in {seed.file} once"
        path.write_text(text.replace(seed.good, seed.bad))
        code = _tried(copy, seed)
        path.write_text(text)
        if (seed.test, seed.only) not in good:
            good[seed.test, seed.only] = _tried(copy, seed)
        found = code, good[seed.test, seed.only]
        caught = found == (FAILED, PASSED)
        said = "caught" if caught else "MISSED (with it {}, without it {})".format(*found)
        print(f"{name}: {said}")  # noqa: T201
        missed += [] if caught else [name]
    print(f"seeded faults caught: {len(chosen()) - len(missed)} of {len(chosen())}")  # noqa: T201
    assert not missed


def _left_out(folder: str, names: list[str]) -> set[str]:
    """What of a folder is not copied: what was written there, and what others keep."""
    written = WRITTEN & set(names) if Path(folder) == paths.ROOT else set()
    return written | LEFT_OUT(folder, names)


def _tried(copy: Path, seed: Seed) -> int:
    """What pytest says of the test in the copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", seed.test]
    command += ["-k", seed.only] if seed.only else []
    environment = {**os.environ, "EDGEWRIGHT_FAULTS": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, check=False, timeout=600
    ).returncode


@pytest.mark.parametrize("name", SEEDS)
def test_each_seed_still_has_its_place(name: str) -> None:
    seed = SEEDS[name]
    assert (paths.ROOT / seed.file).read_text().count(seed.good) == 1
    assert (paths.ROOT / seed.test).exists()


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_of_the_agent_still_has_its_place(name: str) -> None:
    module, good, bad = MUTANTS[name]
    text = (AGENT / f"{module}.py").read_text()
    assert text.count(good) == 1
    compile(text.replace(good, bad), module, "exec")
