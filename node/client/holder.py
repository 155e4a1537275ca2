"""What a resident's wallet does: grant, refresh, present, withdraw (docs/proven-and-told.md).

Rule 1: refreshing sends identifiers, commitment and consent only: no document, no opening, no content hash.
Rule 2: a fresh consent key for every consent; the keys never leave the wallet.
Rule 3: who asks is the member that the request names, as the ledger holds it now; the request bears its signature. Both
are known before anything is signed. What the ledger would refuse as too long or over is refused then, too.
Rule 4: a consent is given when it is shown to stand, withdrawn when it is shown to have ended.
Rule 5: evidence takes the place of older evidence alone.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ledger.commitments import day_of
from ledger.consents import ConsentFile, grant_consent
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.errors import LedgerError, SignatureError
from ledger.presentation import ListToSign, Place, Presentation, list_tree
from ledger.proofs import EvidenceRequest, Proof
from ledger.receipts import ConsentReceipt, ReceiptFile
from ledger.requests import Asked, Request, RequestBody
from ledger.rules.operations import check_chain
from ledger.rules.state import ISSUER, RECIPIENT, Consent, Member, consent_key
from node.client.answers import Answer, Proven, Recorded, Told
from node.client.client import Client, Result
from node.client.ledgerclient import LedgerClient
from node.client.wallet import Wallet
from node.consent.receipts import Consenting, compose_receipt
from node.consent.textbundle import TextBundle
from node.localtime import show_time

SUBMIT_WITHIN_MS: Final = 600_000


class PresentationRefused(LedgerError):
    """A proof that cannot be presented for a request."""

    code = "presentation"


class RequestRefused(LedgerError):
    """A request that no consent can answer. The code is the one that the ledger would refuse the grant with."""

    def __init__(self, *, code: str, where: str, expected: str, found: str, cure: str | None = None) -> None:
        super().__init__(code=code, where=where, expected=expected, found=found, cure=cure)


@dataclass(frozen=True, slots=True)
class WhoAsks:
    """Whose request it is, and whose documents it asks for: as the ledger holds them now, or as a node tells it.

    The request is signed by the recipient's key in this record.
    """

    recipient: Answer[Member]
    issuers: tuple[Answer[Member], ...]


Ask = Callable[[ConsentReceipt, WhoAsks], None]
"""Shows the holder what will be agreed to, and with whom; raises where the holder does not agree."""


async def make_consent(ledger: LedgerClient, request: Request, wallet: Wallet, *, now_ms: int) -> ConsentFile:
    """Answer a request whose signature the registry confirms. Nothing is sent: see `grant`.

    The consent starts at the beginning of the day, so that the chain does not tell when it was signed. A request
    that the ledger would refuse is refused here, before a key is made for it: RequestRefused or LedgerError.
    Nothing is on record of what the holder was told: see `make_consent_with_receipt`.
    """
    await who_asks(ledger, request, now_ms=now_ms)
    public, nonce = wallet.new_consent_key(), secrets.token_bytes(16)
    return _sign_consent(request, wallet, public, nonce=nonce, now_ms=now_ms, receipt_hash=None)


async def make_consent_with_receipt(
    ledger: LedgerClient,
    request: Request,
    wallet: Wallet,
    texts: TextBundle,
    *,
    language: str,
    now_ms: int,
    ask: Ask,
    who: WhoAsks | None = None,
) -> tuple[ConsentFile, ReceiptFile]:
    """Answer a request as `make_consent` does, and commit to the receipt of what the holder is told.

    `who` is what `who_asks` showed of this request a moment ago; None: it is asked here.

    Raises ConfigError too, where no text describes what is asked for, and what `ask` raises. Then no key is made.
    """
    if who is None:
        who = await who_asks(ledger, request, now_ms=now_ms)
    issuers, recipient = tuple(each.value for each in who.issuers), who.recipient.value
    nonce = secrets.token_bytes(16)

    def receipt_for(principal: PublicKey) -> ConsentReceipt:
        consenting = Consenting(principal, nonce, language, now_ms, day_of(now_ms))
        return compose_receipt(request, texts, issuers=issuers, recipient=recipient, consenting=consenting)

    ask(receipt_for(recipient.key), who)
    public = wallet.new_consent_key()
    receipt = receipt_for(public)
    consent = _sign_consent(
        request, wallet, public, nonce=nonce, now_ms=now_ms, receipt_hash=receipt.digest()
    )
    return consent, ReceiptFile(receipt, consent.terms_salt, consent.consent_id)


async def who_asks(ledger: LedgerClient, request: Request, *, now_ms: int) -> WhoAsks:
    """Return whose request it is, which may be answered now (rule 3).

    Raises RequestRefused or LedgerError where it may not, and ClientError where no node shows who it is.
    """
    body = request.decoded()
    asked = body.decoded_asked()
    check_chain(await ledger.chain_id(), body.chain_id, "request")
    recipient = await ledger.member(asked.recipient)
    try:
        request.verify(recipient.value.key)
    except SignatureError as error:
        raise RequestRefused(
            code=error.code,
            where="request signature",
            expected=f"one by the key {recipient.value.key} of {asked.recipient}",
            found="none by this key: the request is forged, or older than this key",
            cure="Agree to nothing. Ask the bank, by a way that you know, for a new request.",
        ) from error
    limits = (await ledger.parameters()).value
    _check_answerable(body, recipient.value, now_ms, limits.consent_duration_max_ms)
    issuers = tuple([await ledger.member(issuer) for issuer in asked.issuers])
    for issuer in issuers:
        _check_active(issuer.value, ISSUER)
    _check_sources(asked, issuers)
    for code in asked.schemas:
        if (await ledger.schema(code)).value is None:
            raise _unknown("unknown-schema", "request schemas", "registered schemas", code)
    if (await ledger.purpose(asked.purpose)).value is None:
        raise _unknown("unknown-purpose", "request purpose", "a registered purpose", asked.purpose)
    return WhoAsks(recipient, issuers)


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


def _unknown(code: str, where: str, expected: str, found: str) -> RequestRefused:
    cure = "Nothing was signed. Ask the bank for a new request: the ledger does not know what it asks for."
    return RequestRefused(code=code, where=where, expected=expected, found=found, cure=cure)


def _check_active(member: Member, role: str) -> None:
    where = f"{role} {member.id}"
    if role not in member.roles:
        raise RequestRefused(
            code="forbidden-role", where=where, expected=f"the role {role}", found=", ".join(member.roles)
        )
    if member.is_suspended:
        raise RequestRefused(code="suspended", where=where, expected="active", found="suspended")


def _check_answerable(body: RequestBody, recipient: Member, now_ms: int, duration_max_ms: int) -> None:
    _check_active(recipient, RECIPIENT)
    asked = body.decoded_asked()
    if body.answer_by_ms < now_ms:
        raise RequestRefused(
            code="answer-late",
            where="request answer_by_ms",
            expected=f"a time after now, {show_time(now_ms)}",
            found=f"{show_time(body.answer_by_ms)}, which is over",
            cure="Ask the bank for a new request; where that time is still to come, set this device's clock.",
        )
    if asked.until_ms <= now_ms:
        raise RequestRefused(
            code="consent-period",
            where="request until_ms",
            expected=f"a time after now, {show_time(now_ms)}",
            found=f"{show_time(asked.until_ms)}, which is over",
            cure="Ask the bank for a new request; where that time is still to come, set this device's clock.",
        )
    latest_ms = now_ms + duration_max_ms
    if asked.until_ms > latest_ms:
        raise RequestRefused(
            code="consent-period",
            where="request until_ms",
            expected=f"at the latest {show_time(latest_ms)}: this network allows no longer consent",
            found=show_time(asked.until_ms),
            cure="Nothing was signed. Ask the bank for a new request with an earlier end.",
        )


def _check_sources(asked: Asked, issuers: tuple[Answer[Member], ...]) -> None:
    for each in issuers:
        if each.value.jurisdiction not in asked.sources:
            raise RequestRefused(
                code="direction",
                where=f"issuer {each.value.id}",
                expected=f"one of {', '.join(asked.sources)}, as the request says",
                found=each.value.jurisdiction,
                cure="Agree to nothing. Ask the bank for a new request.",
            )


async def grant(ledger: LedgerClient, consent: ConsentFile) -> Recorded[Consent]:
    """Have the grant recorded, and return the consent as it stands now (rule 4); granting again changes nothing.

    Raises RequestRefused where it has ended, and as `LedgerClient.act`.
    """
    key, what = consent_key(consent.consent_key, consent.consent_id), _named(consent)
    check_chain(await ledger.chain_id(), consent.grant.decoded().chain_id, what)

    async def send(client: Client) -> Result:
        return await client.relay([consent.grant])

    recorded = await ledger.act(send, Consent, key, _is_granted, what=what)
    shown = recorded.shown
    if shown.value.ended is None and ledger.staleness(shown) is not None:
        # It was granted: that lasts. That it still stands takes evidence of now.
        shown = await ledger.passing(Consent, key, _is_granted, what=what)
    _check_standing(shown.value, what)
    return Recorded(shown, recorded.heights)


async def withdraw(ledger: LedgerClient, consent: ConsentFile) -> Recorded[Consent]:
    """Have the withdrawal recorded that was prepared with the grant, and return the ended consent (rule 4).

    Needs no wallet. Withdrawing what has ended changes nothing. Raises as `LedgerClient.act`.
    """
    key, what = consent_key(consent.consent_key, consent.consent_id), _named(consent)
    check_chain(await ledger.chain_id(), consent.grant.decoded().chain_id, what)

    async def send(client: Client) -> Result:
        return await client.relay([consent.withdrawal])

    return await ledger.act(send, Consent, key, _has_ended, what=f"the end of {what}")


async def find_consent(ledger: LedgerClient, consent: ConsentFile) -> Answer[Consent | None]:
    """Return the consent as it stands now, or as it ended; None where nothing is recorded. Raises as `find`."""
    key, what = consent_key(consent.consent_key, consent.consent_id), _named(consent)
    check_chain(await ledger.chain_id(), consent.grant.decoded().chain_id, what)

    def lacks(answer: Answer[Consent | None]) -> str | None:
        has_ended = answer.value is not None and answer.value.ended is not None
        return None if has_ended else ledger.staleness(answer)

    return await ledger.newest(Consent, key, lacks, what=what)


def why_over(consent: ConsentFile, shown: Proven[Consent | None]) -> str | None:
    """Say why a consent can never stand again, in words; None where it may. All of these last, whatever their age."""
    body = consent.grant.decoded()
    if shown.key != consent_key(consent.consent_key, consent.consent_id):
        return None
    if shown.value is not None and shown.value.ended is not None:
        return f"ended by the {shown.value.ended.by} in block {shown.value.ended.height}"
    if shown.time_ms > body.terms.until_ms:
        return f"past its end at block {shown.height}"
    if shown.value is None and shown.time_ms > body.submit_by_ms:
        return f"never recorded up to block {shown.height}, and too late since"
    return None


def _is_granted(found: Consent) -> bool:
    return found.granted is not None


def _has_ended(found: Consent) -> bool:
    return found.ended is not None


def _check_standing(found: Consent, what: str) -> None:
    if found.ended is not None:
        raise RequestRefused(
            code="consent-ended",
            where=what,
            expected="one that stands",
            found=f"ended by the {found.ended.by} in block {found.ended.height}",
            cure="It cannot stand again. Ask the bank for a new request.",
        )


def _named(consent: ConsentFile) -> str:
    return f"consent {consent.consent_id.hex()[:16]}"


async def refresh(ledger: LedgerClient, proof: Proof, consent: ConsentFile | None) -> Answer[Proof]:
    """Return the proof with evidence of now; a presentation for the same consent is kept.

    Under a root the evidence is verified and fresh, and never older than what the proof had (rule 5). What it says of
    the document is not judged: that is the verifier's. Raises ClientError where no node has such evidence.
    """
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
    check_chain(await ledger.chain_id(), proof.chain_id, "proof")
    request = EvidenceRequest(
        issuer=proof.opening.decoded_metadata().issuer,
        root=proof.anchor_root,
        commitment=proof.opening.commitment(),
        consent_key=key,
        consent_id=consent_id,
        from_epoch=from_epoch,
    )
    keeps = presentation is not None and presentation.consent_id == consent_id
    shown = await ledger.evidence(request, instead_of=proof.evidence)
    refreshed = replace(proof, evidence=shown.value, presentation=presentation if keeps else None)
    if isinstance(shown, Proven):
        return Proven(refreshed, shown.key, shown.height, shown.time_ms, shown.block_hash)
    return Told(refreshed, shown.key, shown.url)


def present(
    proof: Proof,
    request: Request,
    consent: ConsentFile,
    wallet: Wallet,
    *,
    item: int | None = None,
    shown: bytes | None = None,
) -> Proof:
    """Return the proof presented alone for an item of a request, counted from 0: the one that it answers.

    `shown` is the 32-byte hash of what is shown of the document; None: it is shown whole.

    Raises PresentationRefused or WalletError.
    """
    check_answers(request, consent)
    answered = _item_for(proof, request.decoded().decoded_asked(), item)
    if proof.evidence.consent is None:
        raise PresentationRefused(
            where="proof", expected="evidence of the consent (refresh it first)", found="none"
        )
    holder_key = proof.opening.decoded_metadata().holder_key
    holder = None if holder_key is None else wallet.signer_for(holder_key)
    return sign_presentation(
        proof, request, consent, holder, wallet.signer_for(consent.consent_key), item=answered, shown=shown
    )


def _item_for(proof: Proof, asked: Asked, item: int | None) -> int:
    metadata = proof.opening.decoded_metadata()
    fitting = asked.items_for(issuer=metadata.issuer, schema=metadata.schema)
    if item is None and len(fitting) == 1:
        return fitting[0]
    if item in fitting:
        return item
    expected = ", ".join(f"{number}" for number in fitting) or "a request that asks for this document"
    raise PresentationRefused(
        where="item",
        expected=f"one of {expected}" if fitting else expected,
        found=f"{metadata.schema} by {metadata.issuer}" if item is None else f"item {item}",
    )


def check_answers(request: Request, consent: ConsentFile) -> None:
    """Check that a consent was given to what a request asks, byte for byte. Raises PresentationRefused."""
    asked, agreed = request.decoded(), consent.request.decoded()
    if (asked.chain_id, asked.asked) == (agreed.chain_id, agreed.asked):
        return
    wanted, given = asked.decoded_asked(), agreed.decoded_asked()
    if wanted.recipient != given.recipient:
        raise PresentationRefused(where="request recipient", expected=given.recipient, found=wanted.recipient)
    raise PresentationRefused(
        where="request",
        expected="one that asks for what the consent was given to",
        found="other items, terms or another network",
    )


def sign_presentation(
    proof: Proof,
    request: Request,
    consent: ConsentFile,
    holder: PrivateKey | None,
    consent_key: PrivateKey,
    *,
    item: int,
    shown: bytes | None = None,
) -> Proof:
    """Return the proof with a presentation by these keys, as a list of one."""
    body = request.decoded()
    tree = list_tree([Place(item, proof.opening.commitment(), shown)])
    signed = ListToSign(
        chain_id=proof.chain_id,
        root=tree.root(),
        size=tree.size,
        recipient=body.decoded_asked().recipient,
        consent_key=consent_key.public,
        consent_id=consent.consent_id,
        request_id=request.id,
    )
    presentation = Presentation(
        item=item,
        shown=shown,
        list_size=tree.size,
        path=tree.path(0),
        consent_key=consent_key.public,
        consent_id=consent.consent_id,
        nonce=body.nonce,
        terms_salt=consent.terms_salt,
        receipt_hash=consent.receipt_hash,
        holder_signature=None if holder is None else signed.sign(holder),
        consent_signature=signed.sign(consent_key),
    )
    return replace(proof, presentation=presentation)
