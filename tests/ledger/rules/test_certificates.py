"""Votes and quorum certificates: a quorum of distinct validators over one subject, nothing less."""

from dataclasses import replace

import pytest

from ledger.encoding.records import pack, unpack
from ledger.errors import EncodingError, LedgerError, SignatureError
from ledger.rules.certificates import (
    FINALIZE,
    NOTARIZE,
    NULLIFY,
    VALIDATORS_MAX,
    VOTE_TAGS,
    CertificateError,
    QuorumCertificate,
    SignedBy,
    Subject,
    Validator,
    ValidatorSet,
    Vote,
)
from tests.support.consortium import CHAIN_ID, hash_of, key_of

KINDS = (NOTARIZE, NULLIFY, FINALIZE)
BLOCK = hash_of("block")


def make_set(count: int) -> ValidatorSet:
    return ValidatorSet(tuple(Validator(f"m{i:03}", key_of(f"vote {i}").public) for i in range(count)))


SET = make_set(4)


def make_subject(kind: str = FINALIZE, *, epoch: int = 0, view: int = 7) -> Subject:
    named = (None, None) if kind == NULLIFY else (view - 1, BLOCK)
    return Subject(kind, epoch, view, *named)


def make_vote(subject: Subject, signer: int, *, chain_id: bytes = CHAIN_ID) -> Vote:
    signature = key_of(f"vote {signer}").sign(VOTE_TAGS[subject.kind], subject.body(chain_id))
    return Vote(subject, signer, signature)


def make_certificate(signers: tuple[int, ...], subject: Subject | None = None) -> QuorumCertificate:
    subject = subject or make_subject()
    signed = [SignedBy(signer, make_vote(subject, signer).signature) for signer in signers]
    return QuorumCertificate(subject, tuple(signed))


def test_two_quorums_share_an_honest_validator_and_the_honest_make_a_quorum() -> None:
    for count in range(1, VALIDATORS_MAX + 1):
        validators = ValidatorSet(
            tuple(
                Validator(f"m{i:03}", replace(SET.validators[0].key, data=i.to_bytes(32, "big")))
                for i in range(count)
            )
        )
        quorum, faulty = validators.quorum, validators.faulty_max
        assert 3 * faulty < count <= 3 * faulty + 3
        assert 2 * quorum - count > faulty, f"two quorums of {count} might share only faulty validators"
        assert count - faulty >= quorum, f"the honest of {count} are no quorum"


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_of_a_quorum_verifies(kind: str) -> None:
    for signers in ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3), (0, 1, 2, 3)):
        certificate = make_certificate(signers, make_subject(kind))
        certificate.verify(CHAIN_ID, SET)
        assert unpack(QuorumCertificate, pack(certificate)) == certificate


@pytest.mark.parametrize(
    ("signers", "reason"),
    [
        ((), "at least 3 of 4"),
        ((0,), "at least 3 of 4"),
        ((0, 1), "at least 3 of 4"),
        ((0, 1, 1), "strictly increasing"),
        ((0, 1, 2, 2), "strictly increasing"),
        ((0, 2, 1), "strictly increasing"),
        ((0, 1, 4), "indices below 4"),
        ((0, 1, 2, 3, 4), "indices below 4"),
    ],
)
def test_short_repeated_unordered_and_unknown_signers_are_refused(
    signers: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(CertificateError, match=reason):
        make_certificate(signers).verify(CHAIN_ID, SET)


@pytest.mark.parametrize("index", range(4))
def test_one_false_signature_spoils_a_certificate_even_above_a_quorum(index: int) -> None:
    certificate = make_certificate((0, 1, 2, 3))
    signed = list(certificate.signatures)
    signed[index] = SignedBy(index, signed[(index + 1) % 4].signature)
    with pytest.raises(SignatureError):
        replace(certificate, signatures=tuple(signed)).verify(CHAIN_ID, SET)


def test_a_foreign_signer_is_refused() -> None:
    subject = make_subject()
    certificate = make_certificate((0, 1, 2), subject)
    foreign = SignedBy(2, make_vote(subject, 9).signature)
    with pytest.raises(SignatureError):
        replace(certificate, signatures=(*certificate.signatures[:2], foreign)).verify(CHAIN_ID, SET)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_a_vote_of_one_kind_is_not_a_vote_of_another(kind: str, other: str) -> None:
    vote = make_vote(make_subject(kind), 0)
    replayed = replace(vote, subject=make_subject(other))
    if kind == other:
        replayed.verify(CHAIN_ID, SET)
        return
    with pytest.raises(SignatureError):
        replayed.verify(CHAIN_ID, SET)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vote_stands_for_its_chain_epoch_view_and_block_only(kind: str) -> None:
    subject = make_subject(kind)
    vote = make_vote(subject, 0)
    vote.verify(CHAIN_ID, SET)
    with pytest.raises(SignatureError):
        vote.verify(hash_of("another chain"), SET)
    others = [make_subject(kind, epoch=1), make_subject(kind, view=8)]
    if kind != NULLIFY:
        others += [replace(subject, block_hash=hash_of("other")), replace(subject, parent_view=5)]
    for other in others:
        with pytest.raises(SignatureError):
            replace(vote, subject=other).verify(CHAIN_ID, SET)


def test_a_vote_names_a_validator_of_the_set() -> None:
    make_vote(make_subject(), 3).verify(CHAIN_ID, SET)
    with pytest.raises(CertificateError, match="an index below 4"):
        make_vote(make_subject(), 4).verify(CHAIN_ID, SET)
    with pytest.raises(SignatureError):
        replace(make_vote(make_subject(), 2), signer=1).verify(CHAIN_ID, SET)


@pytest.mark.parametrize("kind", KINDS)
def test_a_subject_names_a_block_exactly_where_its_kind_does(kind: str) -> None:
    wrong = [(None, BLOCK), (6, None), (6, BLOCK) if kind == NULLIFY else (None, None)]
    for parent_view, block_hash in wrong:
        with pytest.raises(CertificateError):
            Subject(kind, 0, 7, parent_view, block_hash)


def test_a_set_holds_distinct_members_in_order_each_with_its_own_key() -> None:
    first, second = SET.validators[:2]
    for validators in ((second, first), (first, first), (first, replace(second, key=first.key))):
        with pytest.raises(CertificateError):
            ValidatorSet(validators)
    assert SET.index_of("m002") == 2
    assert SET.index_of("m009") is None


def test_a_set_holds_validators_to_the_limit_and_no_more() -> None:
    largest = make_set(VALIDATORS_MAX)
    assert unpack(ValidatorSet, pack(largest)) == largest
    with pytest.raises(EncodingError, match="1 to 64 items"):
        pack(make_set(VALIDATORS_MAX + 1))
    with pytest.raises(LedgerError):
        pack(ValidatorSet(()))


def test_the_digest_of_a_set_binds_members_keys_and_count() -> None:
    assert SET.digest() == make_set(4).digest()
    renamed = ValidatorSet((*SET.validators[:3], replace(SET.validators[3], member="m004")))
    rekeyed = ValidatorSet((*SET.validators[:3], replace(SET.validators[3], key=key_of("x").public)))
    assert len({SET.digest(), make_set(3).digest(), renamed.digest(), rekeyed.digest()}) == 4
