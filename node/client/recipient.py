"""What a bank does: request, record a verification, close a consent.

Rule 1: a request's nonce is fresh and random; the bank accepts it once.
Rule 2: a verification names the slot that the consent's use count gives, so it is recorded once.
Rule 3: a use is one answered request. An answer that this member recorded with the same outcome is not recorded again,
unless the caller says that it was verified again.
Rule 4: what was recorded, or is said to be on record, is shown by the ledger (docs/proven-and-told.md).
"""

import secrets
from typing import Final

from ledger.consents import ConsentFile
from ledger.encoding.arguments import require_instance
from ledger.encoding.keys import PrivateKey
from ledger.presentation import Presentation, use_tag
from ledger.proofs import Proof
from ledger.rules.operations import CloseConsent, RecordVerification
from ledger.rules.state import Consent, Verification, consent_key, verification_key
from node.client.answers import Answer, Recorded
from node.client.ledgerclient import LedgerClient
from node.client.submission import sign_operations, submit_once
from node.errors import RefusedByNode

NONCE_SIZE: Final = 16


def fresh_nonce() -> bytes:
    """Return a request's 16-byte nonce."""
    return secrets.token_bytes(NONCE_SIZE)


async def record_verification(
    ledger: LedgerClient,
    proof: Proof,
    *,
    member: str,
    key: PrivateKey,
    outcome: str,
    now_ms: int,
    is_another: bool = False,
) -> Recorded[Verification]:
    """Record that a presented document was verified, and return the record (rule 4).

    One that is there already is returned, unless it `is_another` time. Raises RefusedByNode where the consent does not
    allow it, and as `LedgerClient.act`.
    """
    presentation = require_instance("proof", proof, Proof, cure="Give Proof.decode(content).").presentation
    if presentation is None:
        cure = "Ask the holder to present the proof first."
        raise RefusedByNode(
            code="not-presented", where="proof", expected="a presentation", found="none", cure=cure
        )
    consent = await _require_consent(ledger, presentation)
    if not is_another:
        found = await _find_recorded(ledger, proof, presentation, consent.used, outcome)
        if found is not None:
            return Recorded(found, frozenset())
    tag = _tag_of(proof, presentation, consent.used)
    operation = RecordVerification(
        consent_key=presentation.consent_key,
        consent_id=presentation.consent_id,
        slot=consent.used,
        use_tag=tag,
        outcome=outcome,
    )
    signed = sign_operations(
        chain_id=proof.chain_id, member=member, key=key, now_ms=now_ms, operations=(operation,)
    )

    def is_ours(record: Verification) -> bool:
        return (record.recipient, record.use_tag, record.outcome) == (member, tag, outcome)

    return await ledger.act(
        lambda client: submit_once(client, signed),
        Verification,
        verification_key(presentation.consent_key, presentation.consent_id, consent.used),
        is_ours,
        what=f"verification {consent.used} under consent {presentation.consent_id.hex()[:16]}",
    )


async def _require_consent(ledger: LedgerClient, presentation: Presentation) -> Consent:
    what = f"consent {presentation.consent_id.hex()[:16]}"
    place = consent_key(presentation.consent_key, presentation.consent_id)
    found = (await ledger.current(Consent, place, what=what)).value
    if found is None:
        cure = "Check the identifiers, and that this is the right network."
        raise RefusedByNode(
            code="unknown", where=what, expected="a record on the ledger", found="none", cure=cure
        )
    return found


async def _find_recorded(
    ledger: LedgerClient, proof: Proof, presentation: Presentation, used: int, outcome: str
) -> Answer[Verification] | None:
    """Return the slot that holds this document with this outcome, if one does. Only the recipient fills slots."""
    for slot in reversed(range(used)):
        place = verification_key(presentation.consent_key, presentation.consent_id, slot)
        # A slot below the used count is filled, for good.
        found = await ledger.lasting(Verification, place, lambda _: True, what=f"verification {slot}")
        if (found.value.use_tag, found.value.outcome) == (_tag_of(proof, presentation, slot), outcome):
            return found
    return None


def _tag_of(proof: Proof, presentation: Presentation, slot: int) -> bytes:
    return use_tag(
        terms_salt=presentation.terms_salt,
        list_root=presentation.list_root(proof.opening.commitment()),
        consent_id=presentation.consent_id,
        slot=slot,
    )


async def close_consent(
    ledger: LedgerClient, consent: ConsentFile, *, member: str, key: PrivateKey, now_ms: int
) -> Recorded[Consent]:
    """End a consent that names this member, and return it as it ended (rule 4). Raises as `LedgerClient.act`."""
    signed = sign_operations(
        chain_id=consent.grant.decoded().chain_id,
        member=member,
        key=key,
        now_ms=now_ms,
        operations=(CloseConsent(consent.consent_key, consent.consent_id),),
    )
    return await ledger.act(
        lambda client: submit_once(client, signed),
        Consent,
        consent_key(consent.consent_key, consent.consent_id),
        lambda found: found.ended is not None,
        what=f"the end of consent {consent.consent_id.hex()[:16]}",
    )
