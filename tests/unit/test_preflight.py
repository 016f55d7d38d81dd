"""What the probe says of a device, and which devices are refused for which reasons."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sysconfig
from pathlib import Path

import pytest

from deploy.agent import facts as facts_program
from deploy.release import preflight, probed_facts
from tests.support.probed import ANSWER, DEVICE, device_facts, riscv
from toolchain.bundle.assemble import Manifest
from toolchain.core.errors import DeviceRefused


def manifest(**requires: object) -> Manifest:
    return Manifest(
        release="0" * 64,
        target="rv64gc",
        requires={  # type: ignore[arg-type]  # pydantic takes the mapping
            "machine": "riscv64", "python": "3.11", "glibc": "2.36", "glibcxx": "3.4.30",
            "cpu": ["i", "m", "a", "f", "d", "c"], "modules": ["numpy"], **requires,
        },
        files=[{"path": "wheels/a.whl", "sha256": "0" * 64, "size": 10**6}],  # type: ignore[list-item]  # as above
        wheels=["wheels/a.whl"],
        requirements="requirements.txt",
        models=[],
        runner="runner",
    )  # fmt: skip


def test_a_fitting_device_is_not_refused() -> None:
    preflight.check(device_facts(), manifest())


@pytest.mark.parametrize(
    ("changes", "what", "remedy"),
    [
        (
            {"machine": "aarch64", "hwcap": 3},
            "the device is aarch64",
            "edgewright.target in the inventory to one that fits it (aarch64, ",
        ),
        ({"python": "3.9.2"}, "its Python is 3.9.2, the wheels need 3.11", "edgewright.python"),
        ({"implementation": "pypy"}, "pypy", "CPython"),
        ({"abiflags": "t"}, "another ABI", "python3"),
        ({"bits": 32}, "32-bit one on a riscv64 kernel", "install"),
        ({"libc": "", "glibc": ""}, "C library is not glibc", "glibc"),
        ({"glibc": "2.35"}, "glibc is 2.35, the wheels need 2.36", "newer release"),
        ({"glibc": "2.9"}, "glibc is 2.9", "newer release"),
        ({"glibcxx": "3.4.29"}, "libstdc++ has 3.4.29", "newer release"),
        ({"glibcxx": ""}, "no libstdc++", "libstdc++6"),
        ({"modules": {"numpy": None}}, "no numpy", "apt-get install python3-numpy"),
        ({"modules": {}}, "no numpy", "apt-get install python3-numpy"),
        ({"venv": False}, "no venv", "python3-venv"),
        ({"pip": False}, "no pip", "python3-pip"),
        ({"hwcap": riscv("imafd")}, "its CPU lacks c", "without c"),
        ({"hwcap": 0}, "its CPU lacks", "compile for"),
        ({"disk_free": 10**6}, "MB are free", "edgewright.root"),
        ({"files_free": 10}, "files may be made", "edgewright.root"),
        ({"strangers": ["photos"]}, "has other things in it: photos", "edgewright.root"),
        ({"writable": False}, "nothing can be written", "edgewright.root"),
        ({"executable": False}, "noexec", "edgewright.root"),
        ({"time": 0.0 - 10**6}, "clock is", "timedatectl"),
    ],
)
def test_a_device_that_cannot_run_it_is_refused_with_what_to_do(
    changes: dict[str, object], what: str, remedy: str
) -> None:
    with pytest.raises(DeviceRefused) as caught:
        preflight.check(device_facts(**changes), manifest())
    assert what in caught.value.brief + caught.value.detail
    assert remedy in caught.value.resolution


def test_a_module_that_does_not_import_is_refused_with_why() -> None:
    why = {"numpy": "ended by SIGILL (an instruction that this CPU does not have)"}
    with pytest.raises(DeviceRefused, match="its numpy can't be imported: ended by SIGILL"):
        preflight.check(device_facts(), manifest(), broken=why)


def test_a_target_that_fits_is_named() -> None:
    with pytest.raises(DeviceRefused) as caught:
        preflight.check(device_facts(), manifest(cpu=["i", "v"]))
    assert "(rv64gc)" in caught.value.resolution
    with pytest.raises(DeviceRefused) as caught:
        preflight.check(device_facts(machine="s390x"), manifest())
    assert "no target fits" in caught.value.resolution


@pytest.mark.parametrize("kernel", ["aarch64", "armv8l", "armv7l"])
def test_a_32_bit_system_on_a_64_bit_kernel_is_what_its_programs_are(kernel: str) -> None:
    facts = device_facts(
        machine=kernel, bits=32, multiarch="arm-linux-gnueabihf", hwcap=1 << 12 | 1 << 13,
        cpuinfo={"features": "fp asimd"},
    )  # fmt: skip
    assert facts.machine == "armv7l"
    assert {"neon", "vfpv3"} <= set(facts.isa)
    preflight.check(facts, manifest(machine="armv7l", cpu=["neon"]))
    assert device_facts(machine="aarch64").machine == "aarch64"


def test_every_reason_is_given_at_once() -> None:
    facts = device_facts(python="3.9.1", glibc="2.31", modules={})
    with pytest.raises(DeviceRefused) as caught:
        preflight.check(facts, manifest())
    assert "glibc" in caught.value.detail
    assert "numpy" in caught.value.detail


def test_rvv_0_7_is_not_taken_for_v() -> None:
    facts = device_facts(hwcap=riscv("imafdcv"), kernel="5.10.4", cpuinfo={"mvendorid": "0x5b7"})
    assert "v" not in facts.isa
    with pytest.raises(DeviceRefused, match=r"lacks v .*RVV 0\.7"):
        preflight.check(facts, manifest(cpu=["i", "v"]))


def test_a_32_bit_arm_with_the_soft_float_abi_is_refused() -> None:
    facts = device_facts(machine="armv7l", bits=32, multiarch="arm-linux-gnueabi")
    with pytest.raises(DeviceRefused, match="float ABI"):
        preflight.check(facts, manifest(machine="armv7l", cpu=[]))


def test_a_pip_in_the_bundle_will_do() -> None:
    own = manifest().model_copy(update={"wheels": ["wheels/pip-25.0-py3-none-any.whl"]})
    preflight.check(device_facts(pip=False), own, needed=0)


def test_the_clock_is_judged_by_the_time_the_answer_took() -> None:
    assert device_facts().clock_offset == 0
    assert device_facts(time=98.0).clock_offset == -1
    assert device_facts(time=111.5).clock_offset == 10.5


def test_an_answer_that_is_none_is_refused() -> None:
    for answer in (None, "", "hello", {}, [], [1], {"time": "x"}, {**ANSWER, "more": 1}):
        with pytest.raises(DeviceRefused, match="can't be read"):
            probed_facts.read_facts(DEVICE, answer, before=0, after=1)


def test_the_facts_of_this_machine(tmp_path: Path) -> None:
    root = tmp_path / "not" / "there"
    found = facts_program.facts(str(root), ["json", "no_such_module"])
    # as it comes over the link
    facts = probed_facts.read_facts(DEVICE, json.loads(json.dumps(found)), before=0, after=10**10)
    assert facts.python == platform.python_version()
    assert facts.machine == platform.machine()
    assert facts.multiarch == (sysconfig.get_config_var("MULTIARCH") or "")
    assert facts.modules["no_such_module"] is None
    assert facts.disk_free > 0
    assert not root.parent.exists()


def test_riscv_extensions_come_from_the_hardware_capabilities() -> None:
    assert device_facts(hwcap=riscv("imafdcv")).isa == sorted("imafdcv")
    more = {"isa": "rv64imafdcv_zicsr_zvl128b"}
    assert {"v", "zicsr", "zvl128b"} <= set(device_facts(cpuinfo=more, hwcap=riscv("iv")).isa)


def test_the_vector_unit_of_an_old_vendor_kernel_is_named_apart() -> None:
    old = device_facts(hwcap=riscv("imafdcv"), kernel="5.10.4", cpuinfo={"mvendorid": "0x5b7"})
    assert {"v", "xtheadvector"} & set(old.isa) == {"xtheadvector"}
    new = device_facts(hwcap=riscv("imafdcv"), kernel="6.6.1", cpuinfo={"mvendorid": "0x5b7"})
    assert {"v", "xtheadvector"} & set(new.isa) == {"v"}


@pytest.mark.parametrize(
    ("machine", "hwcap", "hwcap2", "cpuinfo", "names"),
    [
        ("aarch64", 1 << 1 | 1 << 20, 1 << 1, {}, ["asimd", "asimddp", "sve2"]),
        ("armv7l", 1 << 12, 1 << 4, {"features": "neon vfpv4"}, ["crc32", "neon", "vfpv4"]),
        ("x86_64", 1, 0, {"vendor_id": "AuthenticAMD", "flags": "avx2 fma"}, ["avx2", "fma"]),
        ("ppc64le", 1, 0, {"features": "vsx"}, ["vsx"]),
    ],
)
def test_extensions_are_named_by_bits_and_by_proc_cpuinfo(
    machine: str, hwcap: int, hwcap2: int, cpuinfo: dict[str, str], names: list[str]
) -> None:
    facts = device_facts(machine=machine, hwcap=hwcap, hwcap2=hwcap2, cpuinfo=cpuinfo)
    assert facts.isa == names
    assert not facts.emulated


def test_the_hosts_cpuinfo_is_not_an_emulated_devices() -> None:
    host = {"vendor_id": "GenuineIntel", "flags": "sse avx2", "model name": "a PC"}
    facts = device_facts(cpuinfo=host)
    assert facts.cpu == ""
    assert facts.isa == sorted("imafdc")
    assert device_facts(machine="x86_64", cpuinfo={"isa": "rv64imafdc"}).cpu == ""
    for machine in ("x86_64", "i686"):
        assert device_facts(machine=machine, cpuinfo=host).cpu == "a PC"


def test_a_device_that_says_it_is_emulated_is() -> None:
    assert device_facts(emulation="QEMU_CPU=rv64").emulated
    assert not device_facts().emulated


@pytest.mark.parametrize(
    ("folder", "version"),
    [
        ("odd_thing-2.2.4.dist-info", "2.2.4"),
        ("odd_thing-1.24.2-py3.11.egg-info", "1.24.2"),
        ("odd_thing-2!1.0rc1+local.egg-info", "2!1.0rc1+local"),
        ("other-1.0.dist-info", "unknown"),
    ],
)
def test_a_modules_version_is_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, version: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "odd_thing.py").write_text("")
    (tmp_path / folder).mkdir()
    assert facts_program.module_version("odd_thing") == version


def test_the_version_of_what_is_installed_here_is_the_installers() -> None:
    assert facts_program.module_version("numpy") == importlib.metadata.version("numpy")
    assert facts_program.module_version("no_such_module") is None
