"""Where ssh would go: compared with OpenSSH's own client on generated configurations."""

from __future__ import annotations

import getpass
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.inventory.reading import Device
from deploy.ssh import destination
from deploy.ssh.destination import Destination
from tests.support import openssh
from toolchain.core import process
from toolchain.core.errors import CommandError, ConnectionFailed

ROUNDS = 300
HOSTS = ("desk", "shelf", "gate", "board-7", "192.0.2.7", "2001:DB8:0:0:0:0:0:7", "fe80::7%lo")

Config = Callable[[str], Path]


def device(host: str, **more: object) -> Device:
    return Device(name="board", host=host, target="rv64gc", **more)  # type: ignore[arg-type]  # any


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    path = tmp_path / "config"
    openssh.configured(monkeypatch, tmp_path, path)

    def write(text: str) -> Path:
        path.write_text(text)
        return path

    return write


def jumps(found: Destination) -> list[str]:
    """The hosts on the way, the nearest to this machine first."""
    return [*jumps(found.through), found.through.name] if found.through else []


def generated(rng: random.Random, folder: Path) -> str:
    """A configuration: blocks of patterns and matches, some in a file that is included."""
    included = folder / "more config"
    included.write_text("\n".join(block(rng, rng.choice(HOSTS)) for _ in range(2)))
    lines = [block(rng, rng.choice(HOSTS)) for _ in range(rng.randint(1, 6))]
    lines.insert(rng.randint(0, len(lines)), f'Include "{included}"')
    if rng.random() < 0.3:
        lines.append(f'Match exec "test %h = {rng.choice(HOSTS)}"\n  Include "{included}"')
    return "\n".join([*lines, "Match all", f"  Port {rng.randint(1, 65535)}", ""])


def block(rng: random.Random, host: str) -> str:
    head = rng.choice(
        [
            f"Host {host}", f"host={host}", "Host *", f"Host * !{rng.choice(HOSTS)}",
            f"Host {host[:2]}* {rng.choice(HOSTS)}", f"Match host {host}", f"Match host={host}",
            f"Match originalhost {host} user {getpass.getuser()}", f"Match host *,!{host}",
            f'Match exec "test %n = {host}"', f"Match final host {host}",
        ]
    )  # fmt: skip
    values = [
        f"HostName {rng.choice(['%h.example', '10.0.0.8', 'UPPER.Example', '::1', 'a%%b', '%h'])}",
        f"Port {rng.randint(1, 65535)}", f'User "{rng.choice(["ann", "debian", "r.oot"])}"',
        f"IdentityFile {rng.choice(['~/.ssh/%r_%h', '%d/k', '/keys/%n-%p', 'none', '/%L.%%%C'])}",
        'IdentityFile "/keys/with a blank"', "IdentityFile=${EDGEWRIGHT_KEYS}/one",
        f"ProxyJump {rng.choice(['none', 'j1', 'ann@j1:2200', 'j1,j2:22,bob@j3', '[::9]:9,j2'])}",
        f"ProxyCommand {rng.choice(['none', 'nc %h %p', 'nc -X %% %r'])}",
        f"HostKeyAlias {rng.choice(['Alias', 'other.example'])}",
        f"AddressFamily {rng.choice(['any', 'inet', 'inet6'])}",
        f"UserKnownHostsFile {rng.choice(['~/.ssh/%h', '/known/1 /known/2', 'none'])}",
        "ForwardAgent yes  # what does not concern us", "\tCompression=yes",
    ]  # fmt: skip
    return "\n".join([head, *(f"  {line}" for line in rng.sample(values, rng.randint(1, 5)))])


def answer(asked: list[str]) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for line in process.run(["ssh", "-T", "-G", *asked]).splitlines():
        said.setdefault(line.split(" ")[0], []).append(line.partition(" ")[2])
    return said


@pytest.mark.parametrize("part", range(6))
def test_ssh_and_we_go_the_same_way(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """Host, port, user, number of keys and jumps; what ssh refuses is refused."""
    monkeypatch.setenv("EDGEWRIGHT_KEYS", "/more")
    rng = random.Random(f"configurations {part}")  # noqa: S311 (a seed for tests)
    refused = jumped = 0
    for _ in range(ROUNDS // 6):
        config(generated(rng, tmp_path))
        host, user = rng.choice(HOSTS), rng.choice([None, "carol"])
        port = rng.choice([None, 2222])
        asked = [*(["-p", "2222"] if port else []), *(["-l", user] if user else []), host]
        try:
            said = answer(asked)
        except CommandError:
            refused += 1
            with pytest.raises(ConnectionFailed, match="does not know how to reach"):
                destination.resolve(device(host, user=user, port=port))
            continue
        spec = said.get("proxyjump", ["none"])[0]
        try:
            found = destination.resolve(device(host, user=user, port=port))
        except ConnectionFailed:
            if spec == "none":
                raise
            refused += 1  # for a host on the way, which ssh would ask about only when it goes there
            continue
        assert found.host == said["hostname"][0]
        assert [str(found.port)] == said["port"]
        assert [found.user] == said["user"]
        assert [found.alias] == said.get("hostkeyalias", [""])
        keys = [key for key in said["identityfile"] if key != "none"]
        assert len(found.key_files) == len(keys)
        if spec != "none":
            jumped += 1
            names = [re.sub(r".*@|:\d+$|[\[\]]", "", hop) for hop in spec.split(",")]
            assert jumps(found)[-len(names) :] == names
            assert not found.command
        else:
            assert bool(found.command) == (said.get("proxycommand", ["none"]) != ["none"])
    assert refused < ROUNDS // 12
    assert jumped > 0


def test_files_of_keys_are_those_that_ssh_opens(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ssh -G` leaves tokens in them; `ssh -v` says what became of them."""
    monkeypatch.setenv("EDGEWRIGHT_KEYS", "/more")
    rng = random.Random("keys")  # noqa: S311 (a seed for tests)
    compared = 0
    for _ in range(30):
        path = config(generated(rng, tmp_path))
        host = rng.choice(HOSTS)
        carried = path.with_name("carried")
        # its first value holds: nothing is connected to
        carried.write_text("ProxyCommand=false\n" + re.sub(r"ProxyJump.*", "", path.read_text()))
        config(carried.read_text())
        lines: list[str] = []
        with pytest.raises(CommandError):
            process.run(["ssh", "-v", "-o", "BatchMode=yes", host, "true"], on_line=lines.append)
        opened = re.findall(r"identity file (.*) type", "\n".join(lines))
        found = destination.resolve(device(host))
        assert [str(p) for p in found.key_files] == [o for o in opened if not o.endswith("-cert")]
        compared += len(opened)
    assert compared > 30


def test_an_error_of_the_configuration_names_file_and_line(config: Config) -> None:
    path = config("Host desk\n  Prot 22\n")
    with pytest.raises(ConnectionFailed, match="does not know how to reach desk") as caught:
        destination.resolve(device("desk"))
    assert f"{path}: line 2: Bad configuration option: prot" in caught.value.detail


def test_what_the_entry_says_wins_and_its_key_stands_before_those_that_are_configured(
    config: Config, tmp_path: Path
) -> None:
    config("Host desk\n  Port 1\n  User ann\n  IdentityFile /keys/2\nHost *\n  ProxyJump none\n")
    key = tmp_path / "k"
    found = destination.resolve(device("desk", port=2, user="bob", key_file=key))
    assert (found.port, found.user) == (2, "bob")
    assert found.key_files == (key, Path("/keys/2"))
    assert destination.resolve(device("shelf", key_file=key)).key_files == (key,)
    assert Path.home() / ".ssh" / "id_ed25519" in destination.resolve(device("shelf")).key_files


def test_jumps_have_their_own_way_their_own_keys_and_the_entrys_host_keys(config: Config) -> None:
    config(
        "Host desk\n  ProxyJump ann@j1:2200,j2\n  IdentityFile /keys/desk\n"
        "Host j2\n  HostName 10.0.0.2\n  IdentityFile /keys/j2\n"
        "Host j1\n  ProxyCommand nc %h %p %%\n"
    )
    found = destination.resolve(device("desk", known_hosts=Path("/known")))
    assert jumps(found) == ["j1", "j2"]
    assert found.through is not None
    assert (found.through.host, found.through.key_files) == ("10.0.0.2", (Path("/keys/j2"),))
    first = found.through.through
    assert first is not None
    assert (first.user, first.port, first.command) == ("ann", 2200, "nc j1 2200 %")
    assert {found.known_hosts, first.known_hosts} == {(Path("/known"),)}
    assert found.through.asked == ("-J", "ann@j1:2200", "j2")


def test_files_of_host_keys_are_sshs_and_new_keys_go_where_ssh_puts_them(config: Config) -> None:
    config('UserKnownHostsFile /known/%h "/known/a b"\nGlobalKnownHostsFile /known/c\n')
    found = destination.resolve(device("desk"))
    assert list(map(str, found.known_hosts)) == ["/known/desk", "/known/a b", "/known/c"]
    assert found.new_keys == Path("/known/desk")
    for nowhere in ("none", "/dev/null"):
        config(f"UserKnownHostsFile {nowhere}\n")
        found = destination.resolve(device("desk"))
        assert found.new_keys is None
        assert Path("/etc/ssh/ssh_known_hosts") in found.known_hosts


def test_jumps_that_go_in_a_circle_are_said(config: Config) -> None:
    config("Host desk\n  ProxyJump gate\nHost gate\n  ProxyJump tor\nHost tor\n  ProxyJump gate\n")
    with pytest.raises(ConnectionFailed, match="too many hosts") as caught:
        destination.resolve(device("desk"))
    assert "desk <- gate <- tor <- gate" in caught.value.detail


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"), ("FE80:0:0:0:0:0:0:1%lo", "fe80::1%lo"),
        ("::1", "::1"), ("127.1", "127.0.0.1"), ("Board.Local", "board.local"),
    ],
)  # fmt: skip
def test_addresses_are_written_as_ssh_writes_them(config: Config, given: str, host: str) -> None:
    config("")
    found = destination.resolve(device(given))
    assert found.host == host
    assert str(found) == (f"[{host}]:22" if ":" in host else f"{host}:22")


def test_without_openssh_the_plain_part_of_the_configuration_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssh.none(monkeypatch, tmp_path)
    path = tmp_path / "config"
    monkeypatch.setattr(destination, "USER_CONFIG", str(path))
    path.write_text(
        "Host desk\n  HostName 10.0.0.1\n  Port 7\n  User ann\n  ProxyJump bob@gate:8\n"
        "  IdentityFile /keys/%h\nHost gate\n  HostName fe80::1%lo\n"
    )
    assert not destination.has_ssh()
    found = destination.resolve(device("desk", user="carol"))
    assert (found.host, found.port, found.user) == ("10.0.0.1", 7, "carol")
    assert found.key_files == (Path("/keys/10.0.0.1"),)
    assert found.through is not None
    assert (found.through.port, found.through.user) == (8, "bob")
    assert destination.resolve(device("FE80::1%lo")).host == "fe80::1%lo"
    assert found.known_hosts[0] == Path.home() / ".ssh" / "known_hosts"
    path.write_text("Match wrong\n")
    with pytest.raises(ConnectionFailed, match=str(path)):
        destination.resolve(device("desk"))
