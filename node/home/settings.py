"""`node.toml`: who this home belongs to, and where its node listens and dials.

Rule 1: a member without a node has a file with its member id alone.
Rule 2: a node listens on an IP address, never on a name, so that what is loopback is decided here.
Rule 3: texts lie in a folder of their own, whose path begins at the home.
Rule 4: the API is offered on loopback only: it has no TLS and no client authentication yet.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from ledger.errors import LedgerError
from node.consensus.config import Config
from node.files.configfile import ConfigError, Table, parse_table

NODE_FILE: Final = "node.toml"
PEERS_MAX: Final = 256
PORT_MAX: Final = 65_535
TUNING_MS_MAX: Final = 3_600_000
HOST_SIZE_MAX: Final = 253

_MEMBER: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)
_MEMBER_SIZE_MAX: Final = 32
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """A host and port. The text form is host:port, with an IPv6 host in brackets."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if not 1 <= self.port <= PORT_MAX:
            raise ConfigError(
                where="port",
                expected=f"a port from 1 to {PORT_MAX}",
                found=f"{self.port}",
                cure="choose another",
            )
        is_name = len(self.host) <= HOST_SIZE_MAX and _HOST.fullmatch(self.host) is not None
        if not is_name and _ip(self.host) is None:
            raise ConfigError(
                where="host",
                expected="an IP address or host name",
                found=ascii(self.host)[:80],
                cure="correct it",
            )

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_ip(self) -> bool:
        """Say whether the host is an IP address."""
        return _ip(self.host) is not None

    @property
    def is_loopback(self) -> bool:
        """Say whether the host is a loopback IP address. No name is: a resolver decides where it leads."""
        address = _ip(self.host)
        return address is not None and address.is_loopback

    @classmethod
    def from_text(cls, text: str) -> "Address":
        """Parse host:port or [host]:port. Raises ConfigError."""
        host, separator, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            separator = ""
        if not separator or not re.fullmatch(r"[1-9][0-9]{0,4}", port, re.ASCII):
            raise ConfigError(
                where="address",
                expected="host:port",
                found=ascii(text)[:80],
                cure="write it like 192.0.2.1:7000",
            )
        return cls(host, int(port))


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Where a node listens for peers and for clients, where its peers are, and its timing."""

    listen: Address
    api: Address
    peers: Mapping[str, Address]
    tuning: Config

    def __post_init__(self) -> None:
        for name, address in (("listen", self.listen), ("api", self.api)):
            if not address.is_ip:
                cure = "write the address of the interface to listen on"
                raise ConfigError(
                    where=f"{name}.host", expected="an IP address", found=ascii(address.host)[:80], cure=cure
                )
        if not self.api.is_loopback:
            cure = (
                "use 127.0.0.1 and reach it through a tunnel or proxy that authenticates its clients; "
                "TLS with client authentication is not offered yet"
            )
            raise ConfigError(where="api.host", expected="a loopback address", found=self.api.host, cure=cure)
        if self.listen == self.api:
            raise ConfigError(
                where="api.port",
                expected="another port than [listen]",
                found=str(self.api),
                cure="choose another",
            )
        if len(self.peers) > PEERS_MAX:
            raise ConfigError(
                where="peers", expected=f"at most {PEERS_MAX}", found=f"{len(self.peers)}", cure="remove some"
            )

    @property
    def addresses(self) -> tuple[tuple[str, Address], ...]:
        """Every address with the place that names it."""
        peers = ((f"peers.{member}", address) for member, address in self.peers.items())
        return (("listen", self.listen), ("api", self.api), *peers)


@dataclass(frozen=True, slots=True)
class HomeSettings:
    """The content of node.toml: the member, and its node where it runs one."""

    member: str
    node: NodeSettings | None
    texts: str | None = None
    """The folder of texts, from the home on; None where the home has none."""

    def __post_init__(self) -> None:
        _check_member("member", self.member)
        if self.node is not None and self.member in self.node.peers:
            raise ConfigError(
                where="peers", expected="other members", found=f"{self.member} itself", cure="remove it"
            )


def parse_settings(content: bytes, where: str = NODE_FILE) -> HomeSettings:
    """Return the settings that a node.toml holds. Raises ConfigError with file and key."""
    top = parse_table(content, where)
    member = top.text("member")
    texts = top.find_text("texts")
    listen, api = top.find_table("listen"), top.find_table("api")
    peers, tuning = top.find_table("peers"), top.find_table("tuning")
    top.finish()
    try:
        if listen is None and api is None and peers is None and tuning is None:
            return HomeSettings(member, None, texts)
        if listen is None or api is None or peers is None:
            missing = "[listen]" if listen is None else "[api]" if api is None else "[peers]"
            expected = "[listen], [api] and [peers], or none of them"
            raise ConfigError(
                where="tables", expected=expected, found=f"no {missing}", cure="add it, or remove the others"
            )
        node = NodeSettings(_address(listen), _address(api), _peers(peers), _tuning(tuning))
        return HomeSettings(member, node, texts)
    except ConfigError as error:
        if error.where.startswith(where):
            raise
        raise ConfigError(
            where=f"{where}: {error.where}", expected=error.expected, found=error.found, cure=error.cure
        ) from None


def format_settings(settings: HomeSettings) -> bytes:
    """Return the node.toml that parses to `settings`."""
    lines = [f"member = {json.dumps(settings.member)}"]
    if settings.texts is not None:
        lines += ["", "# The folder of texts that people are shown.", f"texts = {json.dumps(settings.texts)}"]
    node = settings.node
    if node is None:
        return _text(lines)
    for comment, name, address in (
        ("# Where other members' nodes connect.", "listen", node.listen),
        ("# The HTTP API: loopback only.", "api", node.api),
    ):
        lines += ["", comment, f"[{name}]", f"host = {json.dumps(address.host)}", f"port = {address.port}"]
    lines += ["", "# Where other members' nodes listen.", "[peers]"]
    lines += [
        f"{json.dumps(member)} = {json.dumps(str(node.peers[member]))}" for member in sorted(node.peers)
    ]
    default = Config()
    changed = [
        field.name
        for field in fields(Config)
        if _tuned(node.tuning, field.name) != _tuned(default, field.name)
    ]
    if changed:
        lines += ["", "[tuning]", *(f"{name} = {_tuned(node.tuning, name)}" for name in changed)]
    return _text(lines)


def _tuned(tuning: Config, name: str) -> int:
    value: int = getattr(tuning, name)
    return value


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def _address(table: Table) -> Address:
    host = table.text("host")
    port = table.integer("port", minimum=1, maximum=PORT_MAX)
    table.finish()
    return Address(host, port)


def _peers(table: Table) -> dict[str, Address]:
    found: dict[str, Address] = {}
    for member in table.keys():  # noqa: SIM118 - a Table is not a mapping
        _check_member(table.where, member)
        text = table.text(member)
        try:
            found[member] = Address.from_text(text)
        except ConfigError as error:
            raise table.refusal(member, error.expected, error.found, error.cure) from None
    return found


def _tuning(table: Table | None) -> Config:
    if table is None:
        return Config()
    allowed = {field.name for field in fields(Config)}
    named = [name for name in table.keys() if name in allowed]  # noqa: SIM118
    values = {name: table.integer(name, minimum=1, maximum=TUNING_MS_MAX) for name in named}
    if table.keys():
        found = ascii(table.keys()[0])[:80]
        raise ConfigError(
            where=table.where,
            expected=f"only the keys {', '.join(sorted(allowed))}",
            found=found,
            cure="remove it",
        )
    try:
        return Config(**values)
    except LedgerError as error:
        where = f"{table.where}.{error.where}"
        raise ConfigError(
            where=where, expected=error.expected, found=error.found, cure="restore the order of the timers"
        ) from error


def _check_member(where: str, member: str) -> None:
    if len(member) > _MEMBER_SIZE_MAX or not _MEMBER.fullmatch(member):
        found = ascii(member)[:80]
        raise ConfigError(
            where=where,
            expected="a member id of 1 to 32 characters",
            found=found,
            cure="write the id from genesis.json",
        )


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
