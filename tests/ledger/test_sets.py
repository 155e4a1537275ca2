"""Sets of files: what a bank learns of those that are shown, what the others give away, every forgery refused."""

import base64
import io
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import EncodingError, LedgerError, WrongCall
from ledger.filenames import find_fault, is_alike
from ledger.presentedsets import (
    SET_REFUSALS,
    SetVerdict,
    verify_set,
    verify_set_anchor,
    verify_set_anchor_as_of,
    verify_set_as_of,
)
from ledger.requests import Request
from ledger.sets import (
    FILES_MAX,
    MANIFEST_MAGIC,
    MANIFEST_SIZE_MAX,
    SET_MEDIA_TYPE,
    SHOWN_FILE_SIZE_MAX,
    SHOWN_MAGIC,
    SetFile,
    ShownSet,
    UnfitSet,
    check_listing,
    check_names,
    decode_manifest,
    issue_set,
    require_media_type,
    select_files,
)
from ledger.shown import shown_hash
from ledger.trees.merkle import Content, content_root
from ledger.trust import parse_trusted_root
from ledger.verdictjson import checked_until, set_to_json
from ledger.verdicts import AnchorVerdict, Verdict, VerificationError
from ledger.verifier import Verifier
from tests.attacks.shownsets import (
    ALL,
    CHOSEN,
    FILES,
    AskedSet,
    anchored,
    asked_sets,
    drawn,
    entry_of,
    file_of,
    issued,
    more_digests,
    named,
    whole,
)
from tests.vectors import make_sets

ASKED = asked_sets()
FORGED = [asked for asked in ASKED if asked.refused is not None]
VECTORS: dict[str, Any] = json.loads(make_sets.PATH.read_bytes())


def ask_now(shown: ShownSet, files: object, **changes: object) -> SetVerdict:
    """Ask about the present, as a bank does."""
    honest = anchored(whole().manifest, signed=shown.shown_hash)
    arguments: dict[str, Any] = {"request": honest.request, "now_ms": honest.at_ms}
    return verify_set(
        honest.verifier, shown.encode(), honest.proof_bytes, cast(Any, files), **{**arguments, **changes}
    )


# -- what is shown ----------------------------------------------------------------------------------------


def test_a_bank_learns_which_files_are_shown_and_how_many_there_are() -> None:
    verdict = ask_now(select_files(whole(), CHOSEN), named(*CHOSEN))
    assert isinstance(verdict.document, Verdict) and verdict.document.integrity.media_type == SET_MEDIA_TYPE
    assert [(file.name, file.media_type, file.found_as) for file in verdict.files] == [
        (name, "application/dicom", (name,)) for name in CHOSEN
    ]
    assert verdict.files_count == len(FILES) and not verdict.is_whole
    assert set_to_json(verdict, at_ms=0)["set"] == {
        "files": [
            {"name": name, "media_type": "application/dicom", "size": len(FILES[name]), "found_as": [name]}
            for name in CHOSEN
        ],
        "shown_count": 2,
        "files_count": 3,
        "is_whole": False,
        "shown_hash": verdict.shown_hash.hex(),
    }
    assert ask_now(whole(), ALL).is_whole


def test_files_are_told_by_their_content_and_named_as_the_issuer_did() -> None:
    swapped = (("slice-2.dcm", FILES["slice-1.dcm"]), ("slice-1.dcm", FILES["slice-2.dcm"]))
    verdict = ask_now(select_files(whole(), ("slice-1.dcm", "slice-2.dcm")), swapped)
    assert [(file.name, file.found_as) for file in verdict.files] == [
        ("slice-1.dcm", ("slice-2.dcm",)),
        ("slice-2.dcm", ("slice-1.dcm",)),
    ]


def test_files_may_come_as_every_document_does_and_one_after_the_other() -> None:
    opened: list[str] = []

    def one_by_one() -> Iterator[tuple[str, io.BytesIO]]:
        for name, content in ALL:
            opened.append(name)
            yield name, io.BytesIO(content)

    assert ask_now(whole(), one_by_one()).is_whole and opened == [name for name, _ in ALL]
    pieces = [(name, [content[:7], content[7:]]) for name, content in ALL]
    contents = [(name, Content(*content_root([content]))) for name, content in ALL]
    assert ask_now(whole(), pieces) == ask_now(whole(), contents) == ask_now(whole(), ALL)


def test_no_file_is_read_before_the_document_is_verified() -> None:
    def unread() -> Iterator[tuple[str, bytes]]:
        raise AssertionError("a file was read")
        yield "", b""

    honest = anchored(whole().manifest)
    for shown, changes in (
        (b"", {}),
        (whole().encode(), {"now_ms": honest.at_ms + 26 * 3_600_000}),
        (replace(whole(), manifest=whole().manifest + bytes(32)).encode(), {}),
    ):
        arguments: dict[str, Any] = {"request": honest.request, "now_ms": honest.at_ms}
        with pytest.raises(VerificationError):
            verify_set(honest.verifier, shown, honest.proof_bytes, unread(), **{**arguments, **changes})


def test_a_set_is_asked_about_now_as_of_a_past_time_or_without_consent() -> None:
    honest, shown = anchored(whole().manifest, signed=whole().shown_hash), whole().encode()
    assert verify_set_as_of(
        honest.verifier, shown, honest.proof_bytes, ALL, request=honest.request, at_ms=honest.at_ms
    ) == ask_now(whole(), ALL)
    alone = verify_set_anchor(honest.verifier, shown, honest.proof_bytes, ALL, now_ms=honest.at_ms)
    assert isinstance(alone.document, AnchorVerdict) and alone.is_whole


# -- what is not shown ------------------------------------------------------------------------------------


def test_what_is_not_shown_stands_nowhere_in_what_is() -> None:
    shown = select_files(whole(), ("slice-1.dcm",)).encode()
    for entry in whole().entries:
        is_shown = entry.name == b"slice-1.dcm"
        for secret in (entry.name, entry.content_root, entry.salt):
            assert (secret in shown) is is_shown
    assert b"slice-1" not in whole().manifest


def test_manifests_of_files_of_every_name_and_size_look_alike() -> None:
    small = issue_set([file_of("a", b"")], drawn())
    large = issue_set([file_of("a" * 255, bytes(3_000_000))], drawn())
    assert len(small.manifest) == len(large.manifest) == len(MANIFEST_MAGIC) + 32
    digests = [*decode_manifest(whole().manifest)]
    assert digests == sorted(digests), "their order says nothing"


def test_no_guess_at_a_file_can_be_tested_without_its_salt() -> None:
    first, second = (issue_set([file_of(*item) for item in FILES.items()], drawn(seed)) for seed in (1, 2))
    assert not {*decode_manifest(first.manifest)} & {*decode_manifest(second.manifest)}
    salts = [entry.salt for entry in (*first.entries, *second.entries)]
    assert len({*salts}) == len(salts), "each file has a salt of its own"
    guess = {replace(entry, salt=other.salt).digest() for entry in first.entries for other in first.entries}
    assert len(guess) == len(FILES) ** 2, "nothing of one file's salt opens another"


# -- one hash for what is shown ---------------------------------------------------------------------------


def test_one_choice_has_one_hash_and_another_choice_another() -> None:
    digests = [entry.digest() for entry in whole().entries]
    assert whole().shown_hash == shown_hash(digests) == shown_hash(digests[::-1])
    assert select_files(whole(), CHOSEN).shown_hash == select_files(whole(), CHOSEN[::-1]).shown_hash
    choices = [(), *((name,) for name in FILES), CHOSEN, tuple(FILES)]
    assert len({select_files(whole(), choice).shown_hash for choice in choices}) == len(choices)
    assert ask_now(whole(), ALL).shown_hash == whole().shown_hash


def test_one_choice_has_one_file() -> None:
    assert select_files(whole(), CHOSEN).encode() == select_files(whole(), CHOSEN[::-1]).encode()
    assert select_files(select_files(whole(), CHOSEN), CHOSEN[:1]) == select_files(whole(), CHOSEN[:1])
    assert ShownSet.decode(whole().encode()) == whole()


def test_what_a_set_does_not_show_cannot_be_chosen_from_it() -> None:
    with pytest.raises(UnfitSet) as refused:
        select_files(select_files(whole(), CHOSEN), ("slice-2.dcm",))
    assert refused.value.code == "set-no-such-file" and "slice-2.dcm" in refused.value.found


# -- forgeries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.name)
def test_a_set_is_answered_as_it_must_be(asked: AskedSet) -> None:
    if asked.refused is None:
        assert make_sets.ask(asked).files_count >= len(asked.files) - 1
        return
    with pytest.raises(VerificationError) as refused:
        make_sets.ask(asked)
    assert (refused.value.step, refused.value.code) == asked.refused
    assert refused.value.expected and refused.value.found and refused.value.where


def test_every_code_has_a_forgery_and_a_sentence_in_three_languages() -> None:
    told = {asked.refused[1] for asked in FORGED if asked.refused is not None}
    assert told == {*SET_REFUSALS, "document-altered"}
    for refusal in SET_REFUSALS.values():
        for sentence in (refusal.meaning, refusal.next_step):
            assert sentence.en.isascii() and not sentence.zh_hans.isascii() and not sentence.zh_hant.isascii()
        assert bool(checked_until(refusal.step, is_anchor_only=False)) is (refusal.step == "set")


def test_a_document_of_another_type_is_no_set_whatever_it_holds() -> None:
    """Nobody gets a file anchored that is a set by what it holds."""
    as_pdf = anchored(whole().manifest, "application/pdf")
    assert as_pdf.verify().integrity.media_type == "application/pdf"
    with pytest.raises(VerificationError) as refused:
        verify_set(
            as_pdf.verifier,
            whole().encode(),
            as_pdf.proof_bytes,
            ALL,
            request=as_pdf.request,
            now_ms=as_pdf.at_ms,
        )
    assert refused.value.code == "not-a-set"


def test_every_bit_of_what_is_shown_counts() -> None:
    honest = anchored(whole().manifest)
    shown = select_files(whole(), CHOSEN).encode()
    for at in range(0, 8 * len(shown), 7):
        forged = bytearray(shown)
        forged[at // 8] ^= 1 << at % 8
        with pytest.raises(VerificationError):
            verify_set(
                honest.verifier,
                bytes(forged),
                honest.proof_bytes,
                named(*CHOSEN),
                request=honest.request,
                now_ms=honest.at_ms,
            )


@pytest.mark.parametrize(
    "files", [None, 7, "slice-1.dcm", b"x", {"a": b"x"}, [b"x"], [("a",)], [(1, b"x")], [("a", "text")]]
)
def test_what_are_no_files_is_a_wrong_call(files: object) -> None:
    with pytest.raises(WrongCall) as wrong:
        ask_now(whole(), files)
    assert wrong.value.cure


# -- bounds -----------------------------------------------------------------------------------------------


def test_a_set_has_1_to_16384_files() -> None:
    names = [f"{number:05}" for number in range(FILES_MAX + 1)]
    check_listing(names[:FILES_MAX])
    for listed, code in (([], "set-empty"), (names, "set-too-many")):
        with pytest.raises(UnfitSet) as refused:
            check_listing(listed)
        assert refused.value.code == code and refused.value.cure
    assert len(decode_manifest(MANIFEST_MAGIC + more_digests(FILES_MAX))) == FILES_MAX
    assert len(MANIFEST_MAGIC) + 32 * FILES_MAX < MANIFEST_SIZE_MAX


@pytest.mark.slow
def test_the_largest_set_is_issued_shown_and_read() -> None:
    content = Content(2**36, bytes(32))
    files = [SetFile(f"{at:0255}", "application/" + "x" * 115, content) for at in range(FILES_MAX)]
    made = issue_set(files, drawn())
    encoded = made.encode()
    assert len(encoded) <= SHOWN_FILE_SIZE_MAX
    again = ShownSet.decode(encoded)
    assert again == made and again.check() == FILES_MAX
    with pytest.raises(UnfitSet, match="set"):
        issue_set([*files, SetFile("one more", "text/plain", content)], drawn())


@pytest.mark.parametrize("size", [SHOWN_FILE_SIZE_MAX + 1, 2 * SHOWN_FILE_SIZE_MAX])
def test_a_file_that_is_too_long_is_refused_for_its_size(size: int) -> None:
    with pytest.raises(EncodingError) as refused:
        ShownSet.decode(SHOWN_MAGIC + bytes(size - len(SHOWN_MAGIC)))
    assert "bytes" in refused.value.expected


def test_an_array_that_claims_more_than_there_is_costs_nothing() -> None:
    with pytest.raises(EncodingError):
        ShownSet.decode(SHOWN_MAGIC + b"\x92\xc4\x01x\xdc\x40\x00")


# -- names ------------------------------------------------------------------------------------------------

PAIRS = [
    ("a.dcm", "a.dcm", "set-names-equal"),
    ("a.dcm", "A.dcm", "set-names-alike"),
    ("caf\u00e9", "cafe\u0301", "set-names-alike"),
    ("ill", "111", "set-names-alike"),
    ("\u9ed1.pdf", "\u9ed2.pdf", "set-names-alike"),
    ("a-b", "a_b", "set-names-alike"),
    ("a.dcm", "b.dcm", None),
    ("\u62a5\u544a.pdf", "\u5831\u544a.pdf", None),
]


@pytest.mark.parametrize(("first", "second", "code"), PAIRS)
def test_names_that_a_reader_takes_for_one_are_refused(first: str, second: str, code: str | None) -> None:
    for names in ([first, "other", second], [second, first]):
        if code is None:
            check_names([name.encode() for name in names])
            continue
        with pytest.raises(UnfitSet) as refused:
            check_names([name.encode() for name in names])
        assert refused.value.code == code


NAME_TEXTS = st.text(st.sampled_from("aAbB1lIi0oO.-_ \uff21\u00e9\u9ed1\u9ed2"), min_size=1, max_size=3)


@settings(max_examples=300, deadline=None)
@given(st.lists(NAME_TEXTS, min_size=1, max_size=4))
def test_names_are_held_to_what_the_rules_of_file_names_say(names: list[str]) -> None:
    """The naive version: every pair is compared."""
    pairs = [(a, b) for at, a in enumerate(names) for b in names[at + 1 :]]
    expected = (
        "set-names-equal"
        if any(a == b for a, b in pairs)
        else "set-names-alike"
        if any(is_alike(a, b) for a, b in pairs)
        else "set-name"
        if any(find_fault(name) for name in names)
        else None
    )
    try:
        check_names([name.encode() for name in names])
    except UnfitSet as refused:
        assert refused.code == expected
    else:
        assert expected is None


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text("abcdefgh", min_size=1, max_size=8), st.binary(max_size=40), min_size=1, max_size=6
    ),
    st.randoms(use_true_random=False),
)
def test_whatever_is_chosen_opens_and_nothing_else(files: dict[str, bytes], dice: random.Random) -> None:
    try:
        made = issue_set([file_of(*item) for item in files.items()], dice.randbytes)
    except UnfitSet as refused:
        assert refused.code in ("set-names-alike", "set-name")
        return
    chosen = [name for name in files if dice.random() < 0.5]
    shown = ShownSet.decode(select_files(made, chosen).encode())
    assert shown.check() == len(files)
    assert sorted(entry.name.decode() for entry in shown.entries) == sorted(chosen)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_let_out_only_the_declared_family(data: bytes) -> None:
    for read in (decode_manifest, ShownSet.decode):
        for start in (b"", MANIFEST_MAGIC, SHOWN_MAGIC):
            try:
                read(start + data)
            except LedgerError as error:
                assert error.expected and error.found


def test_a_name_of_a_file_is_shown_without_what_a_terminal_would_obey() -> None:
    with pytest.raises(UnfitSet) as refused:
        issued(entry_of(b"a\x1b[2Jb")).check()
    assert "\x1b" not in f"{refused.value}" and refused.value.code == "set-name"


def test_media_types_have_one_form() -> None:
    require_media_type("application/dicom")
    for text in ("", "dicom", "Application/dicom", "application/dicom ", "a/" + "b" * 126, "a/\u0431"):
        with pytest.raises(EncodingError):
            require_media_type(text)


# -- vectors ----------------------------------------------------------------------------------------------


def test_the_vectors_are_what_their_script_makes() -> None:
    assert make_sets.PATH.read_text("utf-8") == make_sets.make(), "python -m tests.vectors.make_sets"


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_the_library_answers_each_vector_as_pinned(case: dict[str, Any]) -> None:
    verifier = Verifier(parse_trusted_root(json.dumps(VECTORS["trust"]).encode()))
    shown = case["shown"]
    arguments: tuple[Any, ...] = (
        verifier,
        base64.b64decode(shown["start"]) + more_digests(shown["more"]) + base64.b64decode(shown["end"]),
        base64.b64decode(VECTORS["proofs"][case["proof"]]),
        [(file["name"], base64.b64decode(file["content"])) for file in case["files"]],
    )
    asked = {"at_ms": VECTORS["at_ms"], "max_age_ms": VECTORS["max_age_ms"]}
    request = Request.decode(base64.b64decode(VECTORS["request"]))

    def answer() -> SetVerdict:
        if case["is_anchor_only"]:
            return verify_set_anchor_as_of(*arguments, **asked)
        return verify_set_as_of(*arguments, request=request, **asked)

    if "set" in case:
        assert set_to_json(answer(), at_ms=0)["set"] == case["set"]
        return
    with pytest.raises(VerificationError) as refused:
        answer()
    assert {"step": refused.value.step, "code": refused.value.code} == case["refused"]


def test_an_entry_opens_one_digest() -> None:
    entry = entry_of(b"a")
    changed = [
        replace(entry, name=b"b"),
        replace(entry, media_type="a/b"),
        replace(entry, size=entry.size + 1),
        replace(entry, content_root=bytes(32)),
        replace(entry, salt=b"\1" * 32),
    ]
    assert len({each.digest() for each in (entry, *changed)}) == 6
