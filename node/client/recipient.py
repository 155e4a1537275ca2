"""What a bank does: request, record a verification, close a consent.

Rule 1: a request's nonce is fresh and random; the bank accepts it once.
Rule 2: a verification names the slot that the consent's use count gives, so it is recorded once.
Rule 3: a document that this member recorded with the same outcome under the same consent is not recorded again,
unless the caller says that it was verified again.
"""

import secrets
from typing import Final

from ledger.commitments import document_tag
from ledger.encoding.arguments import require_instance
from ledger.encoding.keys import PrivateKey
from ledger.presentation import ConsentFile, Presentation
from ledger.proofs import Proof
from ledger.rules.operations import CloseConsent, RecordVerification
from node.client.client import Client, Result
from node.client.submission import submit_operations
from node.errors import RefusedByNode

NONCE_SIZE: Final = 16


def fresh_nonce() -> bytes:
    """Return a request's 16-byte nonce."""
    return secrets.token_bytes(NONCE_SIZE)


async def record_verification(
    client: Client,
    proof: Proof,
    *,
    member: str,
    key: PrivateKey,
    outcome: str,
    now_ms: int,
    is_another: bool = False,
) -> Result | None:
    """Record that a presented document was verified; None where that is on record, unless it `is_another` time.

    Raises RefusedByNode where the consent does not allow it.
    """
    presentation = require_instance("proof", proof, Proof, cure="Give Proof.decode(content).").presentation
    if presentation is None:
        cure = "Ask the holder to present the proof first."
        raise RefusedByNode(
            code="not-presented", where="proof", expected="a presentation", found="none", cure=cure
        )
    consent = await client.consent(presentation.consent_key, presentation.consent_id)
    if not is_another and await _is_recorded(client, proof, presentation, consent.used, outcome):
        return None
    operation = RecordVerification(
        consent_key=presentation.consent_key,
        consent_id=presentation.consent_id,
        slot=consent.used,
        document_tag=_tag_of(proof, presentation, consent.used),
        outcome=outcome,
    )
    return await submit_operations(
        client, operation, chain_id=proof.chain_id, member=member, key=key, now_ms=now_ms
    )


async def _is_recorded(
    client: Client, proof: Proof, presentation: Presentation, used: int, outcome: str
) -> bool:
    """Say whether a slot of the consent holds this document with this outcome. Only its recipient fills slots."""
    for slot in reversed(range(used)):
        found = await client.verification(presentation.consent_key, presentation.consent_id, slot)
        if (found.document_tag, found.outcome) == (_tag_of(proof, presentation, slot), outcome):
            return True
    return False


def _tag_of(proof: Proof, presentation: Presentation, slot: int) -> bytes:
    return document_tag(
        salt=proof.opening.salt,
        commitment=proof.opening.commitment(),
        consent_id=presentation.consent_id,
        slot=slot,
    )


async def close_consent(
    client: Client, consent: ConsentFile, *, member: str, key: PrivateKey, now_ms: int
) -> Result | None:
    """End a consent that names this member. None where it was ended before."""
    return await submit_operations(
        client,
        CloseConsent(consent.consent_key, consent.consent_id),
        chain_id=consent.grant.decoded().chain_id,
        member=member,
        key=key,
        now_ms=now_ms,
    )
