"""The members of a simulated chain: n validators with fixed keys, and one genesis for each n."""

import random
from dataclasses import dataclass, field
from functools import lru_cache

from ledger.genesis import (
    DEVELOPMENT,
    Genesis,
    GenesisContent,
    GenesisMember,
    GenesisNode,
    GenesisSchema,
    sign_genesis,
)
from ledger.keys import PrivateKey, PublicKey
from ledger.operations import next_key_commitment
from ledger.state import Parameters

START_MS = 1_800_000_000_000
MEMBERS = tuple(f"member-{letter}" for letter in "abcdefghijkl")
GENERATIONS_MAX = 8
PARAMETERS = Parameters(2**21, 10_000, 4_000, 3_600_000, 366 * 86_400_000)


@lru_cache(256)
def private_key(name: str) -> PrivateKey:
    """Return the key of a name: the same in every run."""
    return PrivateKey.from_seed(random.Random(name).randbytes(32))


@dataclass(frozen=True, slots=True)
class Consortium:
    """A genesis and the keys of everybody in it."""

    genesis: Genesis
    members: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, count: int) -> "Consortium":
        """Return the consortium of `count` validators."""
        members = MEMBERS[:count]
        content = GenesisContent(
            1,
            1,
            "simulation",
            DEVELOPMENT,
            START_MS - 1_000,
            PARAMETERS,
            tuple(_genesis_member(member, place) for place, member in enumerate(members)),
            (GenesisSchema("hk.credit-report", 0),),
            ("consumer-credit.loan",),
        )
        keys = {member: private_key(f"{member} member") for member in members}
        return cls(sign_genesis(content, keys), members)

    @property
    def chain_id(self) -> bytes:
        """The chain's id."""
        return self.genesis.content.chain_id

    @staticmethod
    def find_validator_key(member: str, key: PublicKey) -> PrivateKey | None:
        """Return the private half of a key that a member's validator votes with, now or after rotations."""
        for generation in range(GENERATIONS_MAX):
            private = private_key(f"{member} validator {generation}")
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
            private_key(f"{member} validator 0").public,
            next_key_commitment(private_key(f"{member} validator 1").public),
            b"certificate of " + member.encode(),
        ),
    )
