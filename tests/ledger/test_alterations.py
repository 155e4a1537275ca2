"""Why a document is not the one of its proof: told where it is certain, and nowhere else."""

import pytest

from ledger import alterations
from ledger.alterations import with_cause
from ledger.commitments import Opening
from ledger.requests import Request
from ledger.trees.merkle import CHUNK_SIZE, content_root
from ledger.trust import parse_trusted_root
from ledger.verdictjson import refusal_to_json
from ledger.verdicts import CAUSES, LINE_ENDS, LONGER, OLDER_EPOCH, REFUSALS, VerificationError
from ledger.verifier import Verifier
from tests.campaigns.witness.questions import pinned

TEXT = "Name,Amount\n王小明,5\n".encode() * 3
MIXED = b"a\r\nb\nc\r\n"


def opening_of(document: bytes) -> Opening:
    size, root = content_root((document,))
    return Opening("text/csv", size, root, bytes(32), b"")


def told(anchored: bytes, shown: bytes, piece_size: int = 7) -> VerificationError:
    """Return what is said of a document that was refused, read in small pieces."""
    error = VerificationError(code="document-altered", where="document", expected="a", found="b")
    pieces = (shown[place : place + piece_size] for place in range(0, len(shown), piece_size))
    return with_cause(error, pieces, opening_of(anchored))


@pytest.mark.parametrize("anchored", [b"", b"x", TEXT, b"a" * CHUNK_SIZE, b"b" * (2 * CHUNK_SIZE + 5)])
@pytest.mark.parametrize("added", [b"!", b"\n", b"%%EOF appended" * 20_000])
@pytest.mark.parametrize("piece_size", [7_777, CHUNK_SIZE, 10_000_000])
def test_a_document_with_something_behind_it_is_told(anchored: bytes, added: bytes, piece_size: int) -> None:
    error = told(anchored, anchored + added, piece_size)
    assert (error.code, error.cause, error.refusal) == ("document-altered", LONGER, CAUSES[LONGER])
    assert f"the first {len(anchored)} are the document of the proof" in error.found


@pytest.mark.parametrize("name", ["LF as CRLF", "CRLF as LF", "mixed as LF", "mixed as CRLF"])
def test_a_text_of_which_the_line_ends_alone_differ_is_told(name: str) -> None:
    windows, unix = TEXT.replace(b"\n", b"\r\n"), MIXED.replace(b"\r\n", b"\n")
    anchored, shown = {
        "LF as CRLF": (TEXT, windows),
        "CRLF as LF": (windows, TEXT),
        "mixed as LF": (unix, MIXED),
        "mixed as CRLF": (unix.replace(b"\n", b"\r\n"), MIXED),
    }[name]
    error = told(anchored, shown)
    assert (error.code, error.cause, error.step) == ("document-altered", LINE_ENDS, "document")


@pytest.mark.parametrize(
    ("anchored", "shown"),
    [
        (TEXT, TEXT[:-1]),
        (TEXT, b"X" + TEXT[1:] + b"!"),
        (TEXT, TEXT.replace(b"\n", b"\r\n").replace(b"5", b"6")),
        (TEXT, TEXT.replace(b"\n", b"\r\n", 1)[:-1]),
        (MIXED, MIXED.replace(b"\r\n", b"\n")),
        (TEXT, b"\xef\xbb\xbf" + TEXT),
        (TEXT, b""),
    ],
)
def test_nothing_more_is_said_of_another_change(anchored: bytes, shown: bytes) -> None:
    error = told(anchored, shown)
    assert (error.cause, error.refusal, error.found) == ("", REFUSALS["document-altered"], "b")


def test_the_causes_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = TEXT.replace(b"\n", b"\r\n")
    for size_max, cause in ((len(windows), LINE_ENDS), (len(windows) - 1, "")):
        monkeypatch.setattr(alterations, "TEXT_SIZE_MAX", size_max)
        assert told(TEXT, windows).cause == cause
    for size_max, cause in ((len(TEXT), LONGER), (len(TEXT) - 1, "")):
        monkeypatch.setattr(alterations, "CAUSE_SIZE_MAX", size_max)
        assert told(TEXT, TEXT + b"!").cause == cause


def test_another_refusal_has_no_such_cause() -> None:
    error = VerificationError(code="revoked", where="anchor", expected="a", found="b")
    assert with_cause(error, (TEXT + b"!",), opening_of(TEXT)) is error


@pytest.mark.parametrize("name", ["older_pin_below_a_newer_one", "path_start_moved"])
def test_a_proof_of_an_earlier_epoch_than_the_root_is_to_be_refreshed(name: str) -> None:
    question = pinned()[name]
    assert question.request is not None
    with pytest.raises(VerificationError) as caught:
        Verifier(parse_trusted_root(question.trust)).verify_as_of(
            question.document,
            question.proof,
            request=Request.decode(question.request),
            at_ms=question.time_ms,
        )
    error = caught.value
    assert (error.code, error.cause, error.step) == ("untrusted-header", OLDER_EPOCH, "trust")
    assert error.refusal.next_step == REFUSALS["proof-malformed"].next_step
    assert "operator" not in error.refusal.next_step.en


def test_a_proof_under_another_root_is_a_matter_for_the_operator() -> None:
    question = pinned()["another_trusted_root"]
    with pytest.raises(VerificationError) as caught:
        Verifier(parse_trusted_root(question.trust)).verify_anchor_as_of(
            question.document, question.proof, at_ms=question.time_ms
        )
    assert (caught.value.cause, caught.value.refusal) == ("", REFUSALS["untrusted-header"])


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_a_cause_is_told_in_three_languages_and_keeps_its_step(cause: str) -> None:
    refusal = CAUSES[cause]
    code = "untrusted-header" if cause == OLDER_EPOCH else "document-altered"
    assert refusal.step == REFUSALS[code].step
    for sentence in (refusal.meaning, refusal.next_step):
        assert len({sentence.en, sentence.zh_hans, sentence.zh_hant}) == 3


STEPS = ["trust", "document", "anchor", "issuer", "status", "consent", "presentation", "age"]


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_a_refusal_lists_the_steps_that_were_taken_and_no_later_one(code: str) -> None:
    error = VerificationError(code=code, where="a", expected="b", found="c")
    checked = refusal_to_json(error, is_anchor_only=False)["checked"]
    expected = STEPS[: STEPS.index(error.step) + 1] if error.step in STEPS else []
    assert checked == expected
    alone = refusal_to_json(error, is_anchor_only=True)["checked"]
    if error.step not in ("consent", "presentation"):
        assert alone == [each for each in expected if each not in ("consent", "presentation")]
