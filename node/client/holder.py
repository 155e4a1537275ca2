"""What a resident's wallet does: grant, refresh, present, withdraw.

Rule 1: refreshing sends identifiers, commitment and consent only: no document, no opening, no content hash.
Rule 2: a fresh consent key for every consent; the keys never leave the wallet.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ledger.commitments import day_of
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.errors import LedgerError
from ledger.presentation import (
    PRESENTATION_TAG,
    ConsentFile,
    Presentation,
    Request,
    RequestBody,
    grant_consent,
    presentation_body,
)
from ledger.proofs import EvidenceRequest, Proof
from ledger.receipts import ConsentReceipt, ReceiptFile
from ledger.rules.operations import check_chain
from ledger.rules.state import RECIPIENT, Member
from node.client.client import Client, Result
from node.client.wallet import Wallet
from node.consent.receipts import Consenting, ReceiptTexts, compose_receipt

SUBMIT_WITHIN_MS: Final = 600_000


class PresentationRefused(LedgerError):
    """A proof that cannot be presented for a request."""

    code = "presentation"


class RequestRefused(LedgerError):
    """A request that no consent can answer. The code is the one that the ledger would refuse the grant with."""

    def __init__(self, *, code: str, where: str, expected: str, found: str) -> None:
        super().__init__(code=code, where=where, expected=expected, found=found)


async def make_consent(client: Client, request: Request, wallet: Wallet, *, now_ms: int) -> ConsentFile:
    """Answer a request whose signature the registry confirms. Nothing is sent: see `grant`.

    The consent starts at the beginning of the day, so that the chain does not tell when it was signed. A request
    that the ledger would refuse is refused here, before a key is made for it: RequestRefused or LedgerError.
    Nothing is on record of what the holder was told: see `make_consent_with_receipt`.
    """
    await _require_recipient(client, request, now_ms)
    public, nonce = wallet.new_consent_key(), secrets.token_bytes(16)
    return _sign_consent(request, wallet, public, nonce=nonce, now_ms=now_ms, receipt_hash=None)


async def make_consent_with_receipt(
    client: Client,
    request: Request,
    wallet: Wallet,
    texts: ReceiptTexts,
    *,
    language: str,
    now_ms: int,
    ask: Callable[[ConsentReceipt], None],
) -> tuple[ConsentFile, ReceiptFile]:
    """Answer a request as `make_consent` does, and commit to the receipt of what the holder is told.

    `ask` shows the holder what will be agreed to, and raises where the holder does not agree. Raises ConfigError
    too, where no text describes what is asked for. In both cases no key is made.
    """
    recipient = await _require_recipient(client, request, now_ms)
    issuer = await client.member(request.decoded().issuer)
    nonce = secrets.token_bytes(16)

    def receipt_for(principal: PublicKey) -> ConsentReceipt:
        consenting = Consenting(principal, nonce, language, now_ms, day_of(now_ms))
        return compose_receipt(request, texts, issuer=issuer, recipient=recipient, consenting=consenting)

    ask(receipt_for(recipient.key))
    public = wallet.new_consent_key()
    receipt = receipt_for(public)
    consent = _sign_consent(
        request, wallet, public, nonce=nonce, now_ms=now_ms, receipt_hash=receipt.digest()
    )
    return consent, ReceiptFile(receipt, consent.terms_salt, consent.consent_id)


async def _require_recipient(client: Client, request: Request, now_ms: int) -> Member:
    body = request.decoded()
    check_chain(bytes.fromhex((await client.status()).chain_id), body.chain_id, "request")
    recipient = await client.member(body.recipient)
    request.verify(recipient.key)
    _check_answerable(body, recipient, now_ms)
    return recipient


def _sign_consent(
    request: Request,
    wallet: Wallet,
    public: PublicKey,
    *,
    nonce: bytes,
    now_ms: int,
    receipt_hash: bytes | None,
) -> ConsentFile:
    consent = grant_consent(
        request,
        wallet.signer_for(public),
        nonce=nonce,
        terms_salt=secrets.token_bytes(32),
        from_ms=day_of(now_ms),
        submit_by_ms=now_ms + SUBMIT_WITHIN_MS,
        receipt_hash=receipt_hash,
    )
    wallet.attach_consent(public, consent.consent_id)
    return consent


def _check_answerable(body: RequestBody, recipient: Member, now_ms: int) -> None:
    where = f"recipient {recipient.id}"
    if RECIPIENT not in recipient.roles:
        raise RequestRefused(
            code="forbidden-role",
            where=where,
            expected=f"the role {RECIPIENT}",
            found=", ".join(recipient.roles),
        )
    if recipient.is_suspended:
        raise RequestRefused(code="suspended", where=where, expected="active", found="suspended")
    if body.until_ms <= now_ms:
        raise RequestRefused(
            code="consent-period",
            where="request until_ms",
            expected=f"after {now_ms}",
            found=f"{body.until_ms}",
        )


async def grant(client: Client, consent: ConsentFile) -> Result:
    """Have the grant recorded; granting again changes nothing."""
    return (await client.relay([consent.grant])).require_final()


async def withdraw(client: Client, consent: ConsentFile) -> Result:
    """Have the withdrawal recorded that was prepared with the grant. Needs no wallet."""
    return (await client.relay([consent.withdrawal])).require_final()


async def refresh(client: Client, proof: Proof, consent: ConsentFile | None) -> Proof:
    """Return the proof with evidence of now; a presentation for the same consent is kept."""
    presentation = proof.presentation
    key = consent_id = None
    # The bank's newest pin, which its request names, makes the shortest path; every bank pins genesis.
    from_epoch = 0
    if consent is not None:
        key, consent_id = consent.consent_key, consent.consent_id
        from_epoch = consent.request.decoded().pin.epoch
    elif presentation is not None:
        key, consent_id = presentation.consent_key, presentation.consent_id
        from_epoch = proof.evidence.trust_path.from_epoch
    request = EvidenceRequest(
        issuer=proof.opening.decoded_metadata().issuer,
        root=proof.anchor_root,
        commitment=proof.opening.commitment(),
        consent_key=key,
        consent_id=consent_id,
        from_epoch=from_epoch,
    )
    evidence = await client.evidence(request)
    keeps = presentation is not None and presentation.consent_id == consent_id
    return replace(proof, evidence=evidence, presentation=presentation if keeps else None)


def present(proof: Proof, request: Request, consent: ConsentFile, wallet: Wallet) -> Proof:
    """Return the proof presented for a request. Raises PresentationRefused or WalletError."""
    if consent.request.decoded().recipient != request.decoded().recipient:
        raise PresentationRefused(
            where="request recipient",
            expected=consent.request.decoded().recipient,
            found=request.decoded().recipient,
        )
    if proof.evidence.consent is None:
        raise PresentationRefused(
            where="proof", expected="evidence of the consent (refresh it first)", found="none"
        )
    holder_key = proof.opening.decoded_metadata().holder_key
    holder = None if holder_key is None else wallet.signer_for(holder_key)
    return sign_presentation(proof, request, consent, holder, wallet.signer_for(consent.consent_key))


def sign_presentation(
    proof: Proof, request: Request, consent: ConsentFile, holder: PrivateKey | None, consent_key: PrivateKey
) -> Proof:
    """Return the proof with a presentation by these keys."""
    body = request.decoded()
    message = presentation_body(
        chain_id=proof.chain_id,
        commitment=proof.opening.commitment(),
        recipient=body.recipient,
        key=consent_key.public,
        consent_id=consent.consent_id,
        nonce=body.nonce,
    )
    presentation = Presentation(
        consent_key.public,
        consent.consent_id,
        body.nonce,
        None if holder is None else holder.sign(PRESENTATION_TAG, message),
        consent_key.sign(PRESENTATION_TAG, message),
    )
    return replace(proof, presentation=presentation)
