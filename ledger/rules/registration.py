"""Registration: a member's node as governors set it (docs/governance.md, Validators).

Rule 1: validators have a validator key and the commitment to the next one, observers neither.
Rule 2: a validator key that votes changes through the pending set, within the limits of every succession.
Rule 3: a registration is replaced, never removed; a node that validates cannot be made an observer.
"""

from ledger.rules.proposals import NodeRegistration
from ledger.rules.standing import Refused, require_active
from ledger.rules.state import OBSERVER, Changes, Node, find, node_key, require_validators
from ledger.rules.succession import replace_key


def register_node(member: str, registration: NodeRegistration, changes: Changes) -> None:
    """Write a member's node, and the pending set where its key votes. Raises Refused."""
    _check_kind(member, registration)
    before = find(changes, Node, node_key(member))
    certificate = registration.certificate.der(member)
    has_new_key = before is not None and before.validator_key != registration.validator_key
    has_new_certificate = before is not None and before.tls_certificate != certificate
    node = Node(
        member=member,
        kind=registration.kind,
        validator_key=registration.validator_key,
        validator_key_sequence=0 if before is None else before.validator_key_sequence + has_new_key,
        next_validator_key=registration.next_validator_key,
        tls_certificate=certificate,
        tls_sequence=0 if before is None else before.tls_sequence + has_new_certificate,
    )
    if node == before:
        raise Refused(
            code="unchanged", where=f"node of {member}", expected="a change", found="what stands already"
        )
    if has_new_key:
        _change_voting_key(node, changes)
    changes.put(node)


def _check_kind(member: str, registration: NodeRegistration) -> None:
    named = (registration.validator_key is not None, registration.next_validator_key is not None)
    if named != ((False, False) if registration.kind == OBSERVER else (True, True)):
        expected = "validator key and next one for validators, neither for observers"
        raise Refused(
            code="node-kind",
            where=f"node of {member}",
            expected=expected,
            found=f"{registration.kind} {named}",
        )
    if registration.validator_key is not None:
        registration.validator_key.check_prime_order()


def _change_voting_key(node: Node, changes: Changes) -> None:
    is_voting = require_validators(changes).current.index_of(node.member) is not None
    if is_voting:
        require_active(changes, node.member, None)
    if node.validator_key is not None:
        replace_key(node.member, node.validator_key, changes)
    elif is_voting or require_validators(changes).pending is not None:
        expected = "a validator, since it validates or a set is pending"
        raise Refused(
            code="validating", where=f"node of {node.member}", expected=expected, found="an observer"
        )
