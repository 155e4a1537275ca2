"""Rotations: how a member replaces its keys without asking anybody (docs/formats.md, Effects of operations).

Rule 1: a rotation is signed twice: by the member's current key, as a transaction, and by a key whose hash was
committed to before. A thief of the current key rotates nothing.
Rule 2: member and validator keys are replaced by the key that was committed to. A TLS certificate, which holds no
key of the ledger's, is replaced on the signature of the member's next key, which stays next.
Rule 3: the key of a validator that votes changes through the pending set.
Rule 4: the latest rotation sent again is already recorded, whichever key it is signed with by then.
"""

from dataclasses import replace

from ledger.encoding.keys import PublicKey
from ledger.rules.operations import MEMBER_KEY, RotateKey, RotateTls, next_key_commitment
from ledger.rules.standing import Refused
from ledger.rules.state import Changes, Member, Node, find, node_key
from ledger.rules.succession import replace_key
from ledger.rules.transactions import TransactionBody


def check_not_recorded(body: TransactionBody, sender: Member) -> None:
    """Refuse a transaction that is the sender's latest rotation of its member key, before its signature fails.

    It was signed with the key that this very rotation replaced. Nothing can come of it either way.
    """
    operation = body.operations[0]
    if len(body.operations) == 1 and isinstance(operation, RotateKey) and operation.role == MEMBER_KEY:
        _check_new(operation, (sender.key_sequence, sender.key, sender.next_key))


def rotate_key(operation: RotateKey, member: Member, changes: Changes) -> None:
    """Replace a member's key, or its validator's. The transaction was verified. Raises Refused."""
    if operation.role == MEMBER_KEY:
        _check_new(operation, (member.key_sequence, member.key, member.next_key))
        _check_revealed(operation.sequence, member.key_sequence, operation.key, member.next_key)
        operation.key.check_prime_order()
        changes.put(
            replace(member, key=operation.key, key_sequence=operation.sequence, next_key=operation.next_key)
        )
        return
    node = _require_node(member, changes)
    if node.validator_key is None or node.next_validator_key is None:
        raise Refused(
            code="no-validator-key",
            where=f"node of {member.id}",
            expected="a registered validator key",
            found="none",
        )
    _check_new(operation, (node.validator_key_sequence, node.validator_key, node.next_validator_key))
    _check_revealed(operation.sequence, node.validator_key_sequence, operation.key, node.next_validator_key)
    operation.key.check_prime_order()
    replace_key(member.id, operation.key, changes)
    changes.put(
        replace(
            node,
            validator_key=operation.key,
            validator_key_sequence=operation.sequence,
            next_validator_key=operation.next_key,
        )
    )


def rotate_tls(operation: RotateTls, member: Member, changes: Changes) -> None:
    """Replace the TLS certificate of a member's node. The transaction was verified. Raises Refused."""
    node = _require_node(member, changes)
    certificate = operation.certificate.der(member.id)
    if (operation.sequence, certificate) == (node.tls_sequence, node.tls_certificate):
        raise _recorded(operation.sequence)
    _check_revealed(operation.sequence, node.tls_sequence, operation.key, member.next_key)
    if certificate == node.tls_certificate:
        raise Refused(
            code="unchanged", where="TLS certificate", expected="another one", found="the one registered"
        )
    changes.put(replace(node, tls_certificate=certificate, tls_sequence=operation.sequence))


def _require_node(member: Member, changes: Changes) -> Node:
    node = find(changes, Node, node_key(member.id))
    if node is None:
        raise Refused(code="no-node", where=f"member {member.id}", expected="a registered node", found="none")
    return node


def _check_new(operation: RotateKey, recorded: tuple[int, PublicKey, bytes]) -> None:
    if (operation.sequence, operation.key, operation.next_key) == recorded:
        raise _recorded(operation.sequence)


def _recorded(sequence: int) -> Refused:
    return Refused(
        code="already-recorded",
        where="rotation",
        expected="a rotation not yet recorded",
        found=f"sequence {sequence}",
    )


def _check_revealed(sequence: int, current: int, key: PublicKey, commitment: bytes) -> None:
    if sequence != current + 1:
        raise Refused(
            code="wrong-sequence", where="rotation", expected=f"sequence {current + 1}", found=f"{sequence}"
        )
    if next_key_commitment(key) != commitment:
        expected = f"the key committed to as {commitment.hex()}"
        raise Refused(code="unexpected-key", where="rotation", expected=expected, found=f"{key}")
