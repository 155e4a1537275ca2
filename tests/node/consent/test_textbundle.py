"""The text bundle: one content has one file and one hash, and nothing else is read as one."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding.digests import digest
from ledger.encoding.records import pack
from ledger.errors import LedgerError, WrongCall
from ledger.receipts import LANGUAGES, Wording
from node.consent.textbundle import (
    NOTICE,
    PARTY,
    PURPOSE,
    RECEIPT,
    SCHEMA,
    TEXTS_MAGIC,
    TEXTS_SIZE_MAX,
    CommonTexts,
    PackedTexts,
    PartyTexts,
    TextBundle,
    TextsError,
)
from node.consent.textfolder import sample_texts

SAMPLES = sample_texts()
BUNDLE = SAMPLES.bundle
# What the samples are on every machine. Another text is another hash: renew it with them.
HASH = "dbaa2ba3ec6d6d576071e844e93d3c1aa57de7f023846ae7a810c01c255a3048"


def test_the_samples_are_one_bundle_everywhere() -> None:
    assert SAMPLES.hash.hex() == HASH
    assert SAMPLES.hash == digest(SAMPLES.encoded), "sha256sum shows it too"


def test_what_was_packed_is_read_back() -> None:
    assert PackedTexts.decode(SAMPLES.encoded) == SAMPLES == PackedTexts.pack(BUNDLE)


def test_every_notice_has_a_version_of_its_own_and_is_found_by_it() -> None:
    assert len({notice.version for notice in BUNDLE.notices}) == len(BUNDLE.notices) > 6
    for notice in BUNDLE.notices:
        assert BUNDLE.find_notice_by_version(notice.version) == notice
        found = BUNDLE.find_notice(
            schemas=notice.schemas,
            purpose=notice.purpose,
            sources=notice.sources,
            destination=notice.destination,
        )
        assert found == notice
        assert SAMPLES.answers(notice.version)
    assert BUNDLE.find_notice_by_version(bytes(32)) is None
    assert SAMPLES.answers(SAMPLES.hash) and not SAMPLES.answers(bytes(32))


def test_one_changed_character_is_another_hash_of_that_text_and_of_the_bundle() -> None:
    (party, *others) = BUNDLE.parties
    changed = replace(BUNDLE, parties=(replace(party, contact=party.contact + "."), *others))
    assert PackedTexts.pack(changed).hash != SAMPLES.hash
    before = {(each.kind, each.name): each.hash for each in BUNDLE.text_hashes()}
    after = {(each.kind, each.name): each.hash for each in changed.text_hashes()}
    assert {name for name in before if before[name] != after[name]} == {(PARTY, party.member)}


def test_each_text_has_a_hash_and_a_notice_its_version() -> None:
    hashes = BUNDLE.text_hashes()
    assert len({each.hash for each in hashes}) == len(hashes)
    names = {
        kind: [each.name for each in hashes if each.kind == kind]
        for kind in (SCHEMA, PURPOSE, PARTY, RECEIPT)
    }
    assert names == {
        SCHEMA: [each.code for each in BUNDLE.schemas],
        PURPOSE: [each.code for each in BUNDLE.purposes],
        PARTY: [each.member for each in BUNDLE.parties],
        RECEIPT: ["method", "necessity", "third_parties", "crossing", "separate_consent", "refusal"],
    }
    versions = [notice.version for notice in BUNDLE.notices]
    assert [each.hash for each in hashes if each.kind == NOTICE] == versions


@pytest.mark.parametrize("kind", ["schemas", "purposes", "notices", "parties"])
def test_texts_in_another_order_or_twice_are_no_bundle(kind: str) -> None:
    texts = getattr(BUNDLE, kind)
    for wrong in ((texts[1], texts[0], *texts[2:]), (texts[0], *texts)):
        with pytest.raises(TextsError, match="each once, in order"):
            replace(BUNDLE, **changed(kind, wrong))
        # Nor is a file that was made without these classes.
        encoded = TEXTS_MAGIC + pack(unchecked(kind, wrong))
        with pytest.raises(LedgerError):
            PackedTexts.decode(encoded)


def changed(kind: str, texts: tuple[Any, ...]) -> dict[str, Any]:
    return {kind: texts}


def unchecked(kind: str, texts: tuple[Any, ...]) -> TextBundle:
    """Return a bundle as somebody would make it who checks nothing."""
    made = object.__new__(TextBundle)
    for name in (each.name for each in fields(TextBundle)):
        object.__setattr__(made, name, texts if name == kind else getattr(BUNDLE, name))
    return made


def test_a_notice_without_a_title_for_what_it_names_is_no_bundle() -> None:
    with pytest.raises(TextsError, match=r"a title .* found none for cn.credit-report"):
        replace(BUNDLE, schemas=tuple(each for each in BUNDLE.schemas if each.code != "cn.credit-report"))
    with pytest.raises(TextsError, match=r"found none for consumer-credit\.loan"):
        replace(
            BUNDLE, purposes=tuple(each for each in BUNDLE.purposes if each.code != "consumer-credit.loan")
        )


def test_what_no_receipt_could_hold_is_no_bundle() -> None:
    longest = Wording("一" * 1_000, "一" * 1_000, "x" * 3_000)
    pack(longest)
    with pytest.raises(TextsError, match="with method"):
        replace(BUNDLE, receipt=replace(BUNDLE.receipt, method=longest))


@pytest.mark.parametrize(
    "text", ["", "e\u0301", "tab\there", "line\nbreak", "\u202eback", "\ufeffmark", "x" * 3_001]
)
def test_a_text_outside_the_closed_list_or_too_long_cannot_be_packed(text: str) -> None:
    (party, *others) = BUNDLE.parties
    with pytest.raises(LedgerError):
        PackedTexts.pack(replace(BUNDLE, parties=(replace(party, contact=text), *others)))


def test_a_bundle_has_at_most_its_largest_size() -> None:
    def with_parties(count: int, size: int) -> TextBundle:
        long = Wording("x" * 1_000, "x" * 1_000, "x" * 1_000)
        parties = tuple(PartyTexts(f"member-{n:03}", "x" * size, long, long, long) for n in range(count))
        return replace(BUNDLE, notices=(), schemas=(), purposes=(), parties=parties)

    size = len(PackedTexts.pack(with_parties(100, 1)).encoded)
    each = (size - len(PackedTexts.pack(with_parties(0, 1)).encoded)) // 100
    count = (TEXTS_SIZE_MAX - size) // each + 100
    assert len(PackedTexts.pack(with_parties(count, 1)).encoded) <= TEXTS_SIZE_MAX
    with pytest.raises(TextsError, match=f"at most {TEXTS_SIZE_MAX} bytes"):
        PackedTexts.pack(with_parties(count + 2, 1))
    with pytest.raises(TextsError, match=f"at most {TEXTS_SIZE_MAX} bytes"):
        PackedTexts.decode(TEXTS_MAGIC + bytes(TEXTS_SIZE_MAX))


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"LUOHU",
        TEXTS_MAGIC,
        TEXTS_MAGIC[:-1] + b"\x02" + SAMPLES.encoded[len(TEXTS_MAGIC) :],
        SAMPLES.encoded[:-1],
        SAMPLES.encoded + b"\x00",
        SAMPLES.encoded.replace(b"text-bundle", b"text-bundel", 1),
        b"LUOHU-REQUEST\x01" + SAMPLES.encoded[len(TEXTS_MAGIC) :],
    ],
)
def test_other_bytes_are_no_bundle(encoded: bytes) -> None:
    with pytest.raises(LedgerError):
        PackedTexts.decode(encoded)


@given(st.binary(max_size=200), st.integers(0, len(SAMPLES.encoded)), st.integers(0, 40))
def test_no_bytes_make_another_error_than_a_refusal(inserted: bytes, place: int, dropped: int) -> None:
    encoded = SAMPLES.encoded[:place] + inserted + SAMPLES.encoded[place + dropped :]
    for content in (encoded, TEXTS_MAGIC + inserted):
        try:
            assert PackedTexts.decode(content).encoded == content
        except LedgerError:
            continue


def test_one_changed_byte_is_another_bundle_or_none() -> None:
    for place in range(0, len(SAMPLES.encoded), 211):
        changed = bytearray(SAMPLES.encoded)
        changed[place] ^= 1
        try:
            packed = PackedTexts.decode(bytes(changed))
        except LedgerError:
            continue
        assert packed.hash != SAMPLES.hash and packed.bundle != BUNDLE
        assert PackedTexts.pack(packed.bundle).encoded == bytes(changed), "one content has one file"


def test_a_path_is_no_content() -> None:
    wrong: Any = "samples.texts"
    with pytest.raises(WrongCall):
        PackedTexts.decode(wrong)


def test_every_text_is_there_in_three_languages() -> None:
    for name in (each.name for each in fields(CommonTexts)):
        wording = getattr(BUNDLE.receipt, name)
        assert all(wording.in_language(language) for language in LANGUAGES)
