"""The limits of what a proof file and a trusted root hold: a test at each maximum and one past it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ledger.encoding.keys import ED25519, PublicKey
from ledger.encoding.records import pack, unpack
from ledger.errors import EncodingError, LedgerError
from ledger.proofs import EVIDENCE_SIZE_MAX, PROOF_MAGIC, PROOF_SIZE_MAX, Proof
from ledger.rules.blocks import HEADER_SIZE_MAX
from ledger.rules.certificates import SignedBy, Validator, ValidatorSet
from ledger.rules.state import LEAF_SIZE_MAX
from ledger.trees.merkle import TreePath
from ledger.trees.statetree import AbsenceProof, InclusionProof
from ledger.trust import (
    HANDOVERS_MAX,
    TRUST_FILE_SIZE_MAX,
    TRUST_VERSION,
    parse_trusted_root,
    trusted_root_to_json,
)
from tests.attacks.forge import honest, honest_after_handovers, honest_from_checkpoint
from tests.support.consortium import hash_of

PROOF = honest().proof
EVIDENCE = PROOF.evidence
PATH = honest_after_handovers().proof.evidence.trust_path


def siblings(count: int) -> tuple[bytes, ...]:
    return (hash_of("sibling"),) * count


def set_of(count: int) -> ValidatorSet:
    return ValidatorSet(
        tuple(
            Validator(f"member-{index:03}", PublicKey(ED25519, bytes([index]) * 32)) for index in range(count)
        )
    )


def certificate_of(count: int) -> Any:  # noqa: ANN401
    assert EVIDENCE.certificate is not None
    first = EVIDENCE.certificate.signatures[0]
    return replace(EVIDENCE.certificate, signatures=(first,) * count)


def signed(count: int) -> Any:  # noqa: ANN401
    return certificate_of(count).signatures


ROOT = honest_from_checkpoint().trust

# A record with a field at its limits, and the same with values just past them.
LIMITS: Sequence[tuple[Any, str, Sequence[Any], Sequence[Any]]] = (
    (SignedBy(0, bytes(64)), "signer", (0, 63), (-1, 64)),
    (SignedBy(0, bytes(64)), "signature", (bytes(64),), (bytes(63), bytes(65))),
    (certificate_of(1), "signatures", (signed(1), signed(64)), ((), signed(65))),
    (set_of(1), "validators", (set_of(1).validators, set_of(64).validators), ()),
    (EVIDENCE, "header", (b"h", bytes(HEADER_SIZE_MAX)), (b"", bytes(HEADER_SIZE_MAX + 1))),
    (EVIDENCE.anchor, "value", (b"v", bytes(LEAF_SIZE_MAX)), (b"", bytes(LEAF_SIZE_MAX + 1))),
    (PATH.handovers[0].seal, "header", (b"h", bytes(HEADER_SIZE_MAX)), (b"", bytes(HEADER_SIZE_MAX + 1))),
    (PATH, "handovers", ((), PATH.handovers[:1] * 1_024), (PATH.handovers[:1] * 1_025,)),
    (PROOF.batch, "leaf_count", (1, 1_000_000), (0, 1_000_001)),
    (TreePath(0, ()), "siblings", (siblings(0), siblings(64)), ()),
    (InclusionProof(256, b"\xff" * 32, siblings(256)), "depth", (256,), ()),
    (AbsenceProof(256, b"\xff" * 32, siblings(256), None), "depth", (256,), ()),
    (ROOT, "checkpoints", ((), ROOT.checkpoints * 64), (ROOT.checkpoints * 65,)),
    (ROOT, "version", (1,), (0, 2)),
)  # fmt: skip


@pytest.mark.parametrize(("record", "field", "within", "beyond"), LIMITS)
def test_a_field_holds_what_its_limits_allow_and_no_more(
    record: Any,  # noqa: ANN401
    field: str,
    within: Sequence[Any],
    beyond: Sequence[Any],
) -> None:
    for value in within:
        fits = replace(record, **{field: value})
        assert unpack(type(record), pack(fits)) == fits
    for value in beyond:
        with pytest.raises(EncodingError):
            pack(replace(record, **{field: value}))


def test_a_set_has_at_most_sixty_four_validators() -> None:
    with pytest.raises(LedgerError):
        pack(set_of(65))
    with pytest.raises(LedgerError):
        set_of(0).digest()


def test_the_limits_are_those_of_the_formats_page() -> None:
    assert (PROOF_SIZE_MAX, EVIDENCE_SIZE_MAX, HANDOVERS_MAX) == (2**20, 2**20, 1_024)
    assert (TRUST_VERSION, TRUST_FILE_SIZE_MAX) == (1, 2 * 2**20)
    assert PROOF_MAGIC == b"LUOHU-PROOF\x02"


def test_a_proof_file_is_as_large_as_the_limit_and_no_larger() -> None:
    with pytest.raises(LedgerError, match="at most 1048576 bytes"):
        Proof.decode(PROOF_MAGIC + bytes(2**20 + 1))
    with pytest.raises(LedgerError) as refused:
        Proof.decode(PROOF_MAGIC + bytes(2**20))
    assert "at most" not in refused.value.expected


def test_another_file_and_another_version_are_told_apart() -> None:
    with pytest.raises(LedgerError) as another:
        Proof.decode(b"LUOHU-REQUEST\x01")
    assert another.value.expected == "a file that starts with LUOHU-PROOF"
    assert another.value.found == r"b'LUOHU-REQUEST\x01'"
    with pytest.raises(LedgerError, match="a file that starts with LUOHU-PROOF"):
        Proof.decode(b"LUOHU-PROOX\x01" + bytes(8))
    with pytest.raises(LedgerError) as later:
        Proof.decode(b"LUOHU-PROOF\x03" + bytes(8))
    assert (later.value.expected, later.value.found) == ("version 2", r"version b'\x03'")
    with pytest.raises(LedgerError, match="version b''"):
        Proof.decode(b"LUOHU-PROOF")


def test_a_trusted_root_file_is_as_large_as_the_limit_and_no_larger() -> None:
    text = json.dumps(trusted_root_to_json(ROOT)).encode()
    padded = text.ljust(2 * 2**20)
    assert parse_trusted_root(padded) == ROOT
    with pytest.raises(EncodingError, match="at most"):
        parse_trusted_root(padded + b" ")
