"""The members of a simulated chain: n validators with fixed keys, and one genesis for each n."""

import random
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.genesis import (
    DEVELOPMENT,
    GENESIS_VERSION,
    Genesis,
    GenesisContent,
    GenesisMember,
    GenesisNode,
    GenesisPurpose,
    GenesisSchema,
    sign_genesis,
)
from ledger.rules.operations import next_key_commitment
from ledger.rules.state import Parameters
from ledger.trust import TRUST_VERSION, Pins, TrustedRoot

START_MS = 1_800_000_000_000
MEMBERS = tuple(f"member-{letter}" for letter in "abcdefghijkl")
SPARE = "spare"
PURPOSE = "consumer-credit.loan"
LISTED_SCHEMA = "hk.land-record"
"""A kind of document that nobody anchors: its list changes."""
GENERATIONS_MAX = 16
PARAMETERS = Parameters(2**21, 10_000, 4_000, 3_600_000, 366 * 86_400_000, 1, 0)


@lru_cache(256)
def private_key(name: str) -> PrivateKey:
    """Return the key of a name: the same in every run."""
    return PrivateKey.from_seed(random.Random(name).randbytes(32))


def validator_key(member: str, generation: int) -> PrivateKey:
    """Return the key that a member's validator votes with after so many rotations."""
    return private_key(f"{member} validator {generation}")


@dataclass(frozen=True)
class Consortium:
    """A genesis and the keys of everybody in it: the first validators, and a spare that may become one."""

    genesis: Genesis
    members: tuple[str, ...] = field(default=())

    @cached_property
    def pins(self) -> Pins:
        """What every node trusts: genesis."""
        return Pins(TrustedRoot(TRUST_VERSION, self.genesis, ()))

    @property
    def everybody(self) -> tuple[str, ...]:
        """All members that run a node."""
        return (*self.members, SPARE)

    @classmethod
    def of(cls, count: int) -> "Consortium":
        """Return the consortium of `count` validators."""
        members = MEMBERS[:count]
        content = GenesisContent(
            GENESIS_VERSION,
            1,
            "simulation",
            DEVELOPMENT,
            ("CN", "HK"),
            START_MS - 1_000,
            PARAMETERS,
            (*(_genesis_member(member, place) for place, member in enumerate(members)), _genesis_spare()),
            (GenesisSchema("hk.credit-report", 0, None), GenesisSchema(LISTED_SCHEMA, 0, ())),
            (GenesisPurpose(PURPOSE, (bytes(32),)),),
        )
        keys = {member: private_key(f"{member} member") for member in (*members, SPARE)}
        return cls(sign_genesis(content, keys), members)

    @cached_property
    def chain_id(self) -> bytes:
        """The chain's id."""
        return self.genesis.content.chain_id

    @staticmethod
    def find_validator_key(member: str, key: PublicKey) -> PrivateKey | None:
        """Return the private half of a key that a member's validator votes with, now or after rotations."""
        for generation in range(GENERATIONS_MAX):
            private = validator_key(member, generation)
            if private.public == key:
                return private
        return None

    @staticmethod
    def member_key(member: str) -> PrivateKey:
        """Return the key that a member signs its transactions with."""
        return private_key(f"{member} member")


def _genesis_member(member: str, place: int) -> GenesisMember:
    return GenesisMember(
        id=member,
        name_zh_hans=member,
        name_zh_hant=member,
        name_en=member,
        jurisdiction=("HK", "CN")[place % 2],
        roles=("governor", "issuer", "recipient"),
        key=private_key(f"{member} member").public,
        next_key=next_key_commitment(private_key(f"{member} next").public),
        node=GenesisNode(
            "validator",
            validator_key(member, 0).public,
            next_key_commitment(validator_key(member, 1).public),
            b"certificate of " + member.encode(),
        ),
    )


def _genesis_spare() -> GenesisMember:
    return GenesisMember(
        id=SPARE,
        name_zh_hans=SPARE,
        name_zh_hant=SPARE,
        name_en=SPARE,
        jurisdiction="HK",
        roles=("recipient",),
        key=private_key(f"{SPARE} member").public,
        next_key=next_key_commitment(private_key(f"{SPARE} next").public),
        node=GenesisNode("observer", None, None, b"certificate of " + SPARE.encode()),
    )
