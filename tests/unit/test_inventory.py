"""inventory.yml: what is read from it, and what is said of one that is wrong."""

from __future__ import annotations

import string
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.inventory import reading, selection, strict_yaml
from deploy.inventory.schema import InventoryFile, validate
from tests.support import openssh
from toolchain.commandline.options import Devices
from toolchain.core import paths
from toolchain.core.errors import InventoryError, UsageError

BOARD = """\
# my boards
all:
  vars:
    ansible_user: debian
    edgewright: {target: rv64gc, root: /opt/ours}
  hosts:
    desk:             # the one on the desk
      ansible_host: 192.0.2.10
      ansible_port: 2222
      edgewright: {python: "3.12"}
  children:
    shelf:
      vars:
        edgewright: {root: ~/shelf}
      hosts:
        one: {}
        two: {ansible_user: 'root'}
      children:
        top: {hosts: {one: {edgewright: {emulated: true}}}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "inventory.yml"
    path.write_text(text)
    return path


@pytest.fixture
def boards(tmp_path: Path) -> reading.Inventory:
    return reading.load(write(tmp_path, BOARD))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))


def test_the_starter_inventory_is_good_and_empty() -> None:
    assert isinstance(reading.load(paths.ROOT / "inventory.yml").names(), list)


def test_a_host_has_its_own_variables_over_its_groups(boards: reading.Inventory) -> None:
    desk = boards.host("desk")
    assert (desk.host, desk.port, desk.user) == ("192.0.2.10", 2222, "debian")
    assert (desk.target, desk.python, desk.root) == ("rv64gc", "3.12", "/opt/ours")


def test_inner_groups_win_over_outer_ones(boards: reading.Inventory) -> None:
    one, two = boards.host("one"), boards.host("two")
    assert one.root == two.root == "~/shelf"
    assert one.emulated
    assert not two.emulated
    assert (one.user, two.user) == ("debian", "root")
    assert one.groups == ("all", "shelf", "top")


def test_a_group_has_the_hosts_of_those_below_it(boards: reading.Inventory) -> None:
    assert boards.group("shelf") == ["one", "two"]
    assert boards.group("top") == ["one"]
    assert boards.group("all") == ["desk", "one", "two"]


def test_an_unknown_host_or_group_is_a_usage_error(boards: reading.Inventory) -> None:
    with pytest.raises(UsageError, match="unknown host: dekk") as caught:
        boards.host("dekk")
    assert "did you mean desk" in caught.value.resolution
    with pytest.raises(UsageError, match="unknown group"):
        boards.group("nothing")


@pytest.mark.parametrize(
    ("entry", "line", "words"),
    [
        ("ansible_hsot: x", 4, "ansible_hsot: unknown key; did you mean ansible_host"),
        ("edgwright: {}", 4, "edgwright: unknown key; did you mean edgewright"),
        ("edgewright: {pyton: '3.13'}", 4, "edgewright.pyton: unknown key; did you mean python"),
        ("edgewright: {python: 3.13}", 4, "python: must be a string, not a number, write it in"),
        ("edgewright: {python: '2.7'}", 4, "can't be '2.7'; for example: \"3.13\", or none"),
        ("edgewright: {health: {url: web}}", 4, "for example: http://127.0.0.1:8080/health"),
        ("edgewright: {target: pdp11}", 4, "edgewright.target: unknown target"),
        ("edgewright: {emulated: 1}", 4, "must be true or false"),
        ("edgewright: [a]", 4, "edgewright: must be a mapping, not a list"),
        ("edgewright: {root: /a/../b}", 4, "edgewright.root"),
        ('edgewright: {root: "/a\\u202e"}', 4, "edgewright.root"),
        ("ansible_port: '22'", 4, "ansible_port: must be a whole number, not a string"),
        ("ansible_port: 70000", 4, "ansible_port"),
        ("ansible_host:", 4, "ansible_host: has no value"),
        ("ansible_host: -oProxyCommand=x", 4, "ansible_host"),
        ("ansible_user: 'a b'", 4, "ansible_user"),
        ("ansible_password: x", 4, "a secret does not belong in a file"),
        ("ansible_user: a\n      ansible_user: b", 5, "ansible_user: this key stands here twice"),
        ("ansible_user: !vault x", 4, "tag"),
        ("ansible_port: 0x", 4, "ansible_port"),
    ],
)
def test_a_wrong_entry_is_named_by_file_line_and_key(
    tmp_path: Path, entry: str, line: int, words: str
) -> None:
    path = write(tmp_path, f"all:\n  hosts:\n    desk:\n      {entry}\n")
    with pytest.raises(InventoryError) as caught:
        reading.load(path)
    assert caught.value.brief.startswith(f"{path}, line {line}: ")
    assert words in caught.value.brief


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a mapping"),
        ("all: {host: {}}", "did you mean hosts"),
        ("boards: {}", "line 1: unknown key boards; known here: all"),
        ("all: {}\nboards: {}", "line 2: unknown key boards"),
        ("all: {}\nall: {}", "line 2: all: this key stands here twice"),
        ("- all", "must be a mapping, not a list"),
        ("? [all]\n: x", "unknown key a collection"),
        ("all:\n\thosts: {}", "line 2: not valid YAML"),
        ("all: {hosts: {'a b': {}}}", "a b"),
        ("all: {hosts: {1: {}}}", "a key must be a string"),
        ("all: {children: {a: {children: {a: {}}}}}", "contains itself"),
        ("all: {hosts: {a: {}}, children: {a: {}}}", "name of a group as well"),
        ("all: {}\n---\nall: {}", "not valid YAML"),
        ("all: \0", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_said_to_be_one(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InventoryError) as caught:
        reading.load(write(tmp_path, text))
    assert words in caught.value.brief


def bomb(levels: int, width: int) -> str:
    names = string.ascii_lowercase
    rows = ["all:", " a: &a [x]"]
    rows += [
        f" {names[i]}: &{names[i]} [{', '.join([f'*{names[i - 1]}'] * width)}]"
        for i in range(1, levels)
    ]
    return "\n".join(rows)


@pytest.mark.parametrize(
    "text",
    [bomb(10, 10), bomb(8, 4), "all: &x\n  <<: *x\n", "all: &a [*a]", "all: " + "[" * 100_000,
     "all: " + "{" * 1900, "all:\n " + "- " * 50_000, "a" * 300_000, "all: " + "9" * 100_000,
     "[" + "a," * 19_000 + "]", "a: {}\n" * 5000, "%a\n" * 9000,
     "all: " + "a " * 60_000],
    ids=["laughs", "few laughs", "merges itself", "holds itself", "deep", "deep flow",
         "deep list", "large", "huge number", "a list", "other keys", "directives", "long line"],
)  # fmt: skip
def test_a_hostile_file_is_refused_quickly(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    start = time.process_time()
    with pytest.raises(InventoryError):
        reading.load(path)
    assert time.process_time() - start < 1


def test_a_few_anchors_are_fine(tmp_path: Path) -> None:
    text = "all:\n  hosts:\n    a: &a {edgewright: {target: rv64gc}}\n    b:\n      <<: *a\n"
    assert reading.load(write(tmp_path, text)).host("b").target == "rv64gc"


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("all:hosts \n-&*[]{}'\"#!<>|%@`?,0\t\u202eé"), max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        document = strict_yaml.parse(text, Path("inventory.yml"), "all")
        InventoryFile.model_validate(document.value)
    except (InventoryError, ValueError):
        return


@given(st.text(max_size=40))
def test_a_host_name_that_is_read_is_harmless(name: str) -> None:
    document = strict_yaml.Document(path=Path("i.yml"), value={"all": {"hosts": {name: {}}}})
    try:
        (found,) = reading.Inventory(document, validate(document)).names()
    except InventoryError:
        return
    assert found == name
    assert set(name) <= set(string.ascii_letters + string.digits + "_.-")
    assert name[0] not in "-."


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    text = (
        "all:\n  hosts:\n    a:\n      ansible_ssh_private_key_file: nokey\n"
        "      edgewright: {target: rv64gc}\n    b:\n      edgewright: {target: rv64gc}\n"
    )
    read = reading.load(write(tmp_path, text))
    with pytest.raises(InventoryError, match=r"line 4: .*ansible_ssh_private_key_file") as caught:
        read.host("a")
    assert "nokey" in caught.value.brief
    assert read.host("b").key_file is None


def test_a_host_without_a_target_is_refused_when_asked_for(tmp_path: Path) -> None:
    read = reading.load(write(tmp_path, "all:\n  hosts:\n    a: {}\n"))
    with pytest.raises(InventoryError, match=r"line 3: .*target is missing"):
        read.host("a")


def test_no_file_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="can't be read"):
        reading.load(tmp_path / "none.yml")


def test_a_host_comes_and_goes_and_the_rest_stays(tmp_path: Path) -> None:
    path = write(tmp_path, BOARD)
    entry = {"ansible_host": "127.0.0.1", "edgewright": {"target": "rv64gc", "emulated": True}}
    reading.add_host(path, "emu", entry)
    assert reading.load(path).host("emu").emulated
    assert "# the one on the desk" in path.read_text()
    assert reading.remove_host(path, "emu")
    assert not reading.remove_host(path, "emu")
    assert reading.load(path).names() == ["desk", "one", "two"]
    for line in ("# my boards", "    desk:             # the one on the desk"):
        assert line in path.read_text().splitlines()


def test_a_host_is_added_to_a_file_that_has_none(tmp_path: Path) -> None:
    path = tmp_path / "new" / "inventory.yml"
    reading.add_host(path, "emu", {"edgewright": {"target": "rv64gc"}})
    reading.add_host(path, "emu2", {"edgewright": {"target": "rv64gc"}})
    assert reading.load(path).names() == ["emu", "emu2"]
    assert [p.name for p in path.parent.iterdir()] == ["inventory.yml"]


def test_an_entry_that_is_no_good_leaves_the_file_alone(tmp_path: Path) -> None:
    path = write(tmp_path, BOARD)
    with pytest.raises(InventoryError, match="nonsense"):
        reading.add_host(path, "emu", {"edgewright": {"nonsense": 1}})
    assert path.read_text() == BOARD


def test_the_schema_names_every_key_of_ours() -> None:
    block = reading.json_schema()["$defs"]["Block"]
    assert {"target", "python", "root", "emulated"} <= set(block["properties"])
    assert block["additionalProperties"] is False


def test_an_ipv6_address_may_stand_in_brackets(tmp_path: Path) -> None:
    for written in ('"[2001:db8::7]"', '"2001:db8::7"'):
        text = f"all: {{hosts: {{b: {{ansible_host: {written}, edgewright: {{target: rv64gc}}}}}}}}"
        assert reading.load(write(tmp_path, text)).host("b").host == "2001:db8::7"


def test_a_machine_without_openssh_is_said_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "all: {hosts: {a: {edgewright: {target: rv64gc}}, "
                           "b: {edgewright: {target: rv64gc}}}}")  # fmt: skip
    asked = Devices(inventory=str(path), host="a,b")
    selection.devices(asked)
    assert "OpenSSH" not in capsys.readouterr().err
    openssh.none(monkeypatch, tmp_path)
    selection.devices(asked)
    assert capsys.readouterr().err.count("OpenSSH's client is not installed here") == 1


def test_devices_of_one_target_say_what_to_make_for_them(tmp_path: Path) -> None:
    path = write(tmp_path, "all: {hosts: {a: {edgewright: {target: rv64gc}}, "
                           "b: {edgewright: {target: rv64gc}}, "
                           "c: {edgewright: {target: aarch64}}}}")  # fmt: skip
    assert selection.target_of(Devices(inventory=str(path), host="a,b")) == "rv64gc"
    with pytest.raises(UsageError, match="devices of several targets: a rv64gc, c aarch64"):
        selection.target_of(Devices(inventory=str(path), host="a,c"))


def test_from_a_folder_below_the_checkout_its_own_inventory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    below = tmp_path / "docs" / "how-to"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert selection.file_of("inventory.yml") == tmp_path / "inventory.yml"
    assert selection.file_of("other.yml") == Path("other.yml")
    (below / "inventory.yml").touch()
    assert selection.file_of("inventory.yml") == Path("inventory.yml")
    monkeypatch.chdir(tmp_path.parent)
    assert selection.file_of("inventory.yml") == Path("inventory.yml")
