"""Enactment: what each change does once it has passed (docs/formats.md, Effects of operations).

Rule 1: a change takes effect on the record version that it expects, or not at all.
Rule 2: each change of a member adds one to its version; no change that leaves it as it is applies.
Rule 3: no change leaves a side that has governors without an active one.
Rule 4: a suspension is only ever widened, and what was distrusted stays so after reinstatement.
Rule 5: keys that a change registers show that somebody has them, for this network and this member.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, assert_never

from ledger.rules.names import find_shared, find_unseen
from ledger.rules.proposals import (
    GOVERNORS_MAX,
    AddMember,
    AddPurpose,
    AddSchema,
    Change,
    ChangeNames,
    ChangeRoles,
    ChangeValidators,
    Registering,
    ReinstateMember,
    SetIssuers,
    SetMemberKeys,
    SetNode,
    SetNotices,
    SetParameters,
    SuspendMember,
    require_governance,
    shown_keys,
)
from ledger.rules.registration import register_node
from ledger.rules.standing import BlockContext, Refused, require_member, require_role
from ledger.rules.state import (
    GOVERNOR,
    ISSUER,
    ISSUERS_MAX,
    MEMBERS_MAX,
    NOTICES_MAX,
    Changes,
    Member,
    Members,
    Purpose,
    Schema,
    StateView,
    Suspension,
    find,
    member_key,
    purpose_key,
    require_members,
    require_network,
    require_parameters,
    require_validators,
    schema_key,
)
from ledger.rules.succession import change_validators

SUSPENSIONS_MAX: Final = 64


def enact(change: Change, version: int | None, changes: Changes, context: BlockContext) -> None:
    """Do what a change asks, on the record version that it expects. Raises Refused."""
    if isinstance(change, Registering):
        _check_possession(change, changes)
    match change:
        case SuspendMember() | ReinstateMember() | ChangeRoles() | ChangeNames() | SetMemberKeys():
            member = _require_version(change.member, version, changes)
            sides = governing_sides(changes)
            changed = _changed_member(change, member, context, changes)
            changes.put(replace(changed, version=member.version + 1))
            _list_governor(changed, changes)
            check_sides(sides, changes)
        case SetNode():
            member = _require_version(change.member, version, changes)
            changes.put(replace(member, version=member.version + 1))
            register_node(change.member, change.node, changes)
        case AddMember():
            _add_member(change, version, changes)
        case AddSchema():
            _check_new(find(changes, Schema, schema_key(change.code)), f"schema {change.code}", version)
            _check_issuers(change.issuers or (), changes)
            changes.put(Schema(change.code, change.bearer, change.issuers, 0))
        case SetIssuers():
            _set_issuers(change, version, changes)
        case AddPurpose():
            _check_new(find(changes, Purpose, purpose_key(change.code)), f"purpose {change.code}", version)
            changes.put(Purpose(change.code, change.notices, 0))
        case SetNotices():
            _set_notices(change, version, changes)
        case SetParameters():
            _set_parameters(change, version, changes, context)
        case ChangeValidators():
            _check_validators(change, version, changes)
            change_validators(change.members, changes)
        case _:
            assert_never(change)


def _check_possession(change: Registering, state: StateView) -> None:
    """Check that each key shows itself, for this network. The signatures were verified with the transaction."""
    network, shown = require_network(state), change.possession
    if (shown.network, shown.use) != (network.name, network.use):
        raise Refused(
            code="wrong-network",
            where="possession",
            expected=f"{network.name}, {network.use}",
            found=f"{shown.network}, {shown.use}",
        )
    for what, (key, signature) in zip(("key", "validator key"), shown_keys(change), strict=True):
        if (key is None) != (signature is None):
            raise Refused(
                code="possession",
                where=f"{what} of {change.id if isinstance(change, AddMember) else change.member}",
                expected="a signature by the key, exactly where there is one",
                found="none" if signature is None else "one without a key",
            )


def active_governors(state: StateView) -> list[Member]:
    """Return the governors that are not suspended."""
    members = (require_member(state, governor) for governor in require_governance(state).governors)
    return [member for member in members if not member.is_suspended]


def _add_member(change: AddMember, version: int | None, changes: Changes) -> None:
    _check_new(find(changes, Member, member_key(change.id)), f"member {change.id}", version)
    jurisdictions = require_network(changes).jurisdictions
    if change.jurisdiction not in jurisdictions:
        raise Refused(
            code="unknown-jurisdiction",
            where=f"jurisdiction of {change.id}",
            expected=f"one of {', '.join(jurisdictions)}",
            found=change.jurisdiction,
        )
    change.key.check_prime_order()
    member = Member(
        id=change.id,
        name_zh_hans=change.name_zh_hans,
        name_zh_hant=change.name_zh_hant,
        name_en=change.name_en,
        jurisdiction=change.jurisdiction,
        roles=change.roles,
        key=change.key,
        key_sequence=0,
        next_key=change.next_key,
        version=0,
        suspensions=(),
    )
    changes.put(member)
    _list_member(member, changes)
    _check_names(member.id, _names_of(member), changes)
    _list_governor(member, changes)
    if change.node is not None:
        register_node(change.id, change.node, changes)


def _check_names(member: str, names: Sequence[str], state: StateView) -> None:
    """Check the names of a member against all others. Raises Refused."""
    unseen = find_unseen(names)
    if unseen is not None:
        raise Refused(
            code="name-unclear",
            where=f"names of {member}",
            expected="something to read, and single spaces inside",
            found=ascii(unseen),
        )
    for other in require_members(state).ids:
        if other != member:
            shared = find_shared(names, _names_of(require_member(state, other)))
            if shared is not None:
                raise Refused(
                    code="name-taken",
                    where=f"names of {member}",
                    expected="names that look like nobody else's",
                    found=f"that of {other}: {shared}",
                )


def _names_of(member: Member) -> tuple[str, str, str]:
    """Return a member's names: in simplified Chinese, in traditional Chinese, in English."""
    return member.name_zh_hans, member.name_zh_hant, member.name_en


def _list_member(member: Member, changes: Changes) -> None:
    ids = require_members(changes).ids
    if len(ids) == MEMBERS_MAX:
        raise Refused(
            code="too-many-members", where="members", expected=f"at most {MEMBERS_MAX}", found="one more"
        )
    changes.put(Members(tuple(sorted((*ids, member.id)))))


def _changed_member(
    change: SuspendMember | ReinstateMember | ChangeRoles | ChangeNames | SetMemberKeys,
    member: Member,
    context: BlockContext,
    changes: Changes,
) -> Member:
    match change:
        case SuspendMember():
            return replace(member, suspensions=_suspended(change, member, context))
        case ReinstateMember():
            return replace(member, suspensions=_reinstated(member, context))
        case ChangeRoles():
            changed = replace(member, roles=change.roles)
        case ChangeNames():
            changed = replace(
                member,
                name_zh_hans=change.name_zh_hans,
                name_zh_hant=change.name_zh_hant,
                name_en=change.name_en,
            )
            _check_names(member.id, _names_of(changed), changes)
        case SetMemberKeys():
            change.key.check_prime_order()
            return replace(
                member, key=change.key, next_key=change.next_key, key_sequence=member.key_sequence + 1
            )
        case _:
            assert_never(change)
    if changed == member:
        raise _unchanged(f"member {member.id}")
    return changed


def _suspended(change: SuspendMember, member: Member, context: BlockContext) -> tuple[Suspension, ...]:
    if change.distrust_from > context.height:
        expected = f"at most the current height {context.height}"
        raise Refused(
            code="distrust-ahead", where="distrust_from", expected=expected, found=f"{change.distrust_from}"
        )
    if not member.is_suspended:
        return (*member.suspensions, Suspension(change.distrust_from, context.height, None))
    *earlier, last = member.suspensions
    if change.distrust_from >= last.distrust_from:
        expected = f"less than {last.distrust_from}, since a suspension can only be widened"
        raise Refused(
            code="not-wider", where="distrust_from", expected=expected, found=f"{change.distrust_from}"
        )
    return (*earlier, replace(last, distrust_from=change.distrust_from))


def _reinstated(member: Member, context: BlockContext) -> tuple[Suspension, ...]:
    if not member.is_suspended:
        raise Refused(code="not-suspended", where=f"member {member.id}", expected="suspended", found="active")
    if len(member.suspensions) == SUSPENSIONS_MAX:
        # One that could never be suspended again must not become active.
        expected = f"fewer than {SUSPENSIONS_MAX} suspensions"
        raise Refused(
            code="too-many-suspensions",
            where=f"member {member.id}",
            expected=expected,
            found=f"{SUSPENSIONS_MAX}",
        )
    *earlier, last = member.suspensions
    return (*earlier, replace(last, reinstated_at=context.height))


def _list_governor(member: Member, changes: Changes) -> None:
    """Keep the list of governors in step with a member's roles."""
    governance = require_governance(changes)
    others = set(governance.governors) - {member.id}
    governors = tuple(sorted(others | {member.id})) if GOVERNOR in member.roles else tuple(sorted(others))
    if len(governors) > GOVERNORS_MAX:
        raise Refused(
            code="too-many-governors",
            where="governors",
            expected=f"at most {GOVERNORS_MAX}",
            found=f"{len(governors)}",
        )
    if governors != governance.governors:
        changes.put(replace(governance, governors=governors))


def governing_sides(state: StateView) -> frozenset[str]:
    """Return the sides that have an active governor: each of them is asked before anything passes."""
    return frozenset(member.jurisdiction for member in active_governors(state))


def check_sides(before: frozenset[str], state: StateView) -> None:
    """Check that each side that had an active governor before has one still. Raises Refused."""
    lost = before - governing_sides(state)
    if lost:
        raise Refused(
            code="side-without-governor",
            where=f"side {', '.join(sorted(lost))}",
            expected="an active governor",
            found="none left",
        )


def _set_issuers(change: SetIssuers, version: int | None, changes: Changes) -> None:
    schema = find(changes, Schema, schema_key(change.code))
    if schema is None:
        raise Refused(
            code="unknown-schema", where="issuers", expected="a registered schema", found=change.code
        )
    _check_version(f"schema {schema.code}", schema.version, version)
    before = schema.issuers or ()
    misplaced = sorted(({*before} & {*change.added}) | ({*change.removed} - {*before}))
    _check_listing(f"issuers of {schema.code}", change, misplaced)
    _check_issuers(change.added, changes)
    issuers = tuple(sorted({*before, *change.added} - {*change.removed}))
    if len(issuers) > ISSUERS_MAX:
        raise Refused(
            code="too-many-issuers",
            where=f"issuers of {schema.code}",
            expected=f"at most {ISSUERS_MAX}",
            found=f"{len(issuers)}",
        )
    changes.put(replace(schema, issuers=issuers, version=schema.version + 1))


def _set_notices(change: SetNotices, version: int | None, changes: Changes) -> None:
    purpose = find(changes, Purpose, purpose_key(change.code))
    if purpose is None:
        raise Refused(
            code="unknown-purpose", where="notices", expected="a registered purpose", found=change.code
        )
    _check_version(f"purpose {purpose.code}", purpose.version, version)
    before = purpose.notices
    misplaced = sorted(({*before} & {*change.added}) | ({*change.removed} - {*before}))
    _check_listing(f"notices of {purpose.code}", change, [notice.hex() for notice in misplaced])
    notices = tuple(sorted({*before, *change.added} - {*change.removed}))
    if len(notices) > NOTICES_MAX:
        raise Refused(
            code="too-many-notices",
            where=f"notices of {purpose.code}",
            expected=f"at most {NOTICES_MAX}",
            found=f"{len(notices)}",
        )
    changes.put(replace(purpose, notices=notices, version=purpose.version + 1))


def _check_listing(where: str, change: SetIssuers | SetNotices, misplaced: Sequence[str]) -> None:
    """Check that a change adds what is not listed, takes off what is, and does either. Raises Refused."""
    if misplaced or not (change.added or change.removed):
        raise Refused(
            code="unchanged",
            where=where,
            expected="added what is not listed yet, removed what is",
            found=", ".join(misplaced) or "neither",
        )


def _check_issuers(issuers: Sequence[str], state: StateView) -> None:
    """Check that members to be listed have the role. A suspended one may be listed: it issues once it is reinstated."""
    for issuer in issuers:
        require_role(require_member(state, issuer), ISSUER)


def _set_parameters(
    change: SetParameters, version: int | None, changes: Changes, context: BlockContext
) -> None:
    if version is not None or require_parameters(changes) != change.current:
        raise Refused(
            code="stale-version",
            where="parameters",
            expected="the current parameters, and no version",
            found="others",
        )
    if change.parameters == change.current:
        raise _unchanged("parameters")
    _check_protocol(change, context)
    changes.put(change.parameters)


def _check_protocol(change: SetParameters, context: BlockContext) -> None:
    """Check that rules which are announced come later, and never go back. Raises Refused."""
    before, after = change.current, change.parameters
    if (before.protocol, before.protocol_height) == (after.protocol, after.protocol_height):
        return
    if after.protocol < before.protocol:
        raise Refused(
            code="protocol-falls",
            where="parameters protocol",
            expected=f"at least {before.protocol}",
            found=f"{after.protocol}",
        )
    is_in_force = context.height >= before.protocol_height
    if after.protocol == before.protocol and is_in_force:
        raise Refused(
            code="protocol-in-force",
            where="parameters protocol_height",
            expected=f"{before.protocol_height}, since these rules are in force",
            found=f"{after.protocol_height}",
        )
    if after.protocol_height <= context.height:
        raise Refused(
            code="protocol-too-soon",
            where="parameters protocol_height",
            expected=f"a height to come, above {context.height}",
            found=f"{after.protocol_height}",
        )


def _check_validators(change: ChangeValidators, version: int | None, state: StateView) -> None:
    # Not the epoch: a validator could end one after the other by rotating its key, and make each change stale.
    members = tuple(validator.member for validator in require_validators(state).current.validators)
    if version is not None or members != change.current:
        raise Refused(
            code="stale-version",
            where="validators",
            expected=f"the current {members}, and no version",
            found="others",
        )


def _check_new(found: object, what: str, version: int | None) -> None:
    if found is not None:
        raise Refused(
            code="already-registered", where=what, expected="a new one", found="one that is registered"
        )
    if version is not None:
        raise Refused(
            code="stale-version",
            where=what,
            expected="no version, there being no record",
            found=f"version {version}",
        )


def _require_version(member_id: str, version: int | None, state: StateView) -> Member:
    member = require_member(state, member_id)
    _check_version(f"member {member.id}", member.version, version)
    return member


def _check_version(what: str, version: int, expected_version: int | None) -> None:
    if version != expected_version:
        raise Refused(
            code="stale-version",
            where=what,
            expected=f"version {version}",
            found=f"version {expected_version}",
        )


def _unchanged(what: str) -> Refused:
    return Refused(code="unchanged", where=what, expected="a change", found="what stands already")
