"""Public calls take what they say, and tell whoever wrote another thing what to write instead."""

import array
import asyncio
import contextlib
import gc
import io
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.encoding.arguments import require_duration, require_time
from ledger.errors import LedgerError, LuohuError, WrongCall
from ledger.trees.merkle import CHUNK_SIZE, Content, ContentHasher, content_root
from ledger.verdicts import VerificationError
from ledger.verifier import SuspendedIssuer, Verifier
from node.client.client import Client
from node.client.issuing import Nodes, draft_of_file
from tests.attacks.forge import CONSENT_KEY, DOCUMENT, NOW_MS, honest, honest_of_suspended_issuer
from tests.support.wrongcalls import ODD, Index, calls, is_fitting

PLACES = [(call, name) for call, each in calls().items() for name in each.arguments]


def outcome(call: str, name: str, odd: str) -> type[Exception] | None:
    """Return the class of what a call raises for one odd argument. Anything but ours is a finding."""
    value = ODD[odd]()
    try:
        calls()[call].given(name, value)
    except LuohuError as error:
        assert error.expected and error.found and len(f"{error}") < 2_000
        assert isinstance(error, LedgerError) != isinstance(error, WrongCall)
        assert not isinstance(error, WrongCall) or error.cure
        return type(error)
    except ValueError as error:
        assert (call, name) == ("draft_of_bytes", "reference"), error
        return ValueError
    finally:
        if asyncio.iscoroutine(value):
            value.close()
    return None


@pytest.mark.parametrize("call", calls())
def test_a_good_call_is_no_wrong_one(call: str) -> None:
    each = calls()[call]
    with contextlib.suppress(LedgerError):
        each.function(**each.arguments)


@pytest.mark.parametrize(("call", "name"), PLACES)
def test_an_argument_of_another_kind_is_a_wrong_call_and_never_a_refused_document(
    call: str, name: str
) -> None:
    for odd in ODD:
        raised = outcome(call, name, odd)
        is_wrong = raised is not None and issubclass(raised, WrongCall)
        assert is_wrong or is_fitting(call, name, odd), f"{odd}: {raised}"
    gc.collect()


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_calls_with_every_argument_at_random_let_out_one_family(data: st.DataObject) -> None:
    each = calls()[data.draw(st.sampled_from(sorted(calls())))]
    # Drawn before anything is made: a draw may end the example, and a coroutine would then be left to nobody.
    drawn = {name: data.draw(st.none() | st.sampled_from(sorted(ODD))) for name in each.arguments}
    given_ = {name: each.arguments[name] if odd is None else ODD[odd]() for name, odd in drawn.items()}
    try:
        each.function(**given_)
    except LuohuError:
        pass
    except ValueError:
        assert "reference" in given_
    finally:
        for value in given_.values():
            if asyncio.iscoroutine(value):
                value.close()


@given(st.one_of(st.floats(), st.decimals(), st.booleans(), st.text(), st.binary(), st.none()))
def test_no_number_but_a_whole_one_is_a_time(value: object) -> None:
    for require in (require_time, require_duration):
        with pytest.raises(WrongCall, match="whole number of milliseconds"):
            require("now_ms", value)


@given(st.integers())
def test_a_whole_number_is_a_time_from_0_to_the_last_that_a_record_holds(number: int) -> None:
    for value in (number, Index(number)):
        if 0 <= number < 2**53:
            found = require_time("now_ms", value)
            assert found == number and type(found) is int
        else:
            with pytest.raises(WrongCall):
                require_time("now_ms", value)


@pytest.mark.parametrize("edge", [0, 2**53 - 1])
def test_the_edges_are_times(edge: int) -> None:
    assert require_time("now_ms", edge) == require_duration("max_age_ms", edge) == edge


def test_an_expiry_is_checked_whatever_is_passed_for_a_time() -> None:
    shown = honest()
    for now_ms in (float("nan"), float("inf"), 1.8e12, True, Decimal(NOW_MS), None, "now"):
        with pytest.raises(WrongCall, match=r"now_ms: .*time\.time_ns\(\)"):
            shown.verifier.verify_anchor(DOCUMENT, shown.proof_bytes, now_ms=now_ms)  # type: ignore[arg-type]


def test_neither_call_takes_the_time_of_the_other() -> None:
    shown = honest()
    verifier: Any = shown.verifier
    for call, wrong in ((verifier.verify_anchor, "at_ms"), (verifier.verify_anchor_as_of, "now_ms")):
        with pytest.raises(TypeError, match=wrong):
            call(DOCUMENT, shown.proof_bytes, **{wrong: NOW_MS})
    for call, wrong in ((verifier.verify, "at_ms"), (verifier.verify_as_of, "now_ms")):
        with pytest.raises(TypeError, match=wrong):
            call(DOCUMENT, shown.proof_bytes, request=shown.request, **{wrong: NOW_MS})


def test_the_name_of_a_mode_is_no_mode() -> None:
    shown = honest_of_suspended_issuer()
    for mode in ("refuse", "accept-anchors-before-distrust", True, None):
        with pytest.raises(WrongCall, match="SuspendedIssuer"):
            Verifier(shown.trust, suspended_issuer=mode)  # type: ignore[arg-type]
    assert Verifier(shown.trust, suspended_issuer=SuspendedIssuer("refuse"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: "report.pdf", "open(path, 'rb')"),
        (lambda: Path("report.pdf"), "open(path, 'rb')"),
        (lambda: io.StringIO("text"), "open(path, 'rb')"),
        (lambda: ["text"], "text.encode()"),
        (lambda: memoryview(b"abc")[::2], "tobytes()"),
        (lambda: {b"a", b"b"}, "in their order"),
        (ContentHasher, "finish()"),
        (lambda: None, "open(path, 'rb')"),
        (lambda: 7, "open(path, 'rb')"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_words_to_write_instead_are_told(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(WrongCall) as wrong:
        honest().verifier.verify_anchor(make(), honest().proof_bytes, now_ms=NOW_MS)
    assert wrong.value.cure is not None and words in wrong.value.cure


@pytest.mark.parametrize("proof", ["report.pdf.proof", Path("report.pdf.proof"), None, 7, [b"x"]])
def test_a_proof_is_the_content_of_its_file(proof: object) -> None:
    with pytest.raises(WrongCall, match=r"read_bytes"):
        honest().verifier.verify_anchor(DOCUMENT, proof, now_ms=NOW_MS)  # type: ignore[arg-type]


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    for secret in ("correct horse battery staple", b"correct horse", ["correct horse"]):
        with pytest.raises(WrongCall) as wrong:
            require_time("now_ms", secret)
        assert "horse" not in f"{wrong.value}"


def forms(document: bytes, folder: Path) -> Iterator[Any]:
    """Yield a document in every form in which it may be handed over."""
    yield from (document, bytearray(document), memoryview(document), array.array("B", document))
    yield memoryview(document).cast("B", (2, len(document) // 2))
    if len(document) % 8 == 0:
        yield memoryview(document).cast("Q")
        yield array.array("d", document)
    yield from ([document], [document[:1], bytearray(document[1:5]), b"", memoryview(document[5:])])
    yield (document[place : place + 7] for place in range(0, len(document), 7))
    yield io.BytesIO(document)
    path = folder / "document"
    path.write_bytes(document)
    with path.open("rb") as file:
        yield file
    with path.open("rb", buffering=0) as unbuffered:
        yield unbuffered
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped
    with tempfile.NamedTemporaryFile("w+b") as named:
        named.write(document)
        named.seek(0)
        yield named
    read, write = os.pipe()
    os.write(write, document)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        yield pipe
    hasher = ContentHasher()
    hasher.update(document)
    yield hasher.finish()


def test_a_document_is_the_same_in_every_form(tmp_path: Path) -> None:
    shown = honest()
    document = DOCUMENT
    assert len(document) % 8 == 0
    expected = shown.verify_anchor()
    count = 0
    for form in forms(document, tmp_path):
        assert shown.verifier.verify_anchor(form, shown.proof_bytes, now_ms=shown.at_ms) == expected
        count += 1
    assert count == 17
    for proof in (bytearray(shown.proof_bytes), memoryview(shown.proof_bytes)):
        assert shown.verifier.verify_anchor(document, proof, now_ms=shown.at_ms) == expected  # type: ignore[arg-type]


def test_a_hasher_counts_bytes_and_not_items() -> None:
    document = bytes(range(256)) * 16
    hasher = ContentHasher()
    hasher.update(memoryview(document).cast("Q"))
    assert hasher.size == len(document)
    assert hasher.finish() == Content(*content_root([document]))


@pytest.mark.parametrize("piece", ["text", 7, None, [1], memoryview(b"abc")[::2]])
def test_a_hasher_that_was_given_no_bytes_goes_on_as_if_it_had_not_been_asked(piece: object) -> None:
    hasher = ContentHasher()
    hasher.update(b"abc")
    with pytest.raises(WrongCall):
        hasher.update(piece)  # type: ignore[arg-type]
    hasher.update(b"def")
    assert hasher.finish() == Content(*content_root([b"abcdef"]))


def test_a_file_in_text_mode_is_told_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"\xff\xfe not UTF-8")
    with path.open(encoding="utf-8") as file:
        with pytest.raises(WrongCall, match="text mode"):
            honest().verifier.verify_anchor(file, honest().proof_bytes, now_ms=NOW_MS)  # type: ignore[arg-type]
        assert file.tell() == 0
    path.write_bytes(b"")
    with path.open(encoding="utf-8") as file, pytest.raises(WrongCall, match="text mode"):
        honest().verifier.verify_anchor(file, honest().proof_bytes, now_ms=NOW_MS)  # type: ignore[arg-type]


def test_what_a_file_raises_passes_through(tmp_path: Path) -> None:
    class Failing(io.RawIOBase):
        """A disk that fails after the first piece."""

        pieces = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            self.pieces += size > 0
            if self.pieces > 1:
                raise OSError(5, "Input/output error")
            return b"x" * size

    with pytest.raises(OSError, match="Input/output error"):
        honest().verifier.verify_anchor(Failing(), honest().proof_bytes, now_ms=NOW_MS)


def test_a_file_that_ignores_how_much_is_asked_for_loses_nothing() -> None:
    class Whole:
        """Gives all of it, whatever is asked for, and then nothing."""

        def __init__(self) -> None:
            self.left = [DOCUMENT, b""]

        def read(self, _size: int) -> bytes:
            return self.left.pop(0) if self.left else b""

    shown = honest()
    whole: Any = Whole()
    assert shown.verifier.verify_anchor(whole, shown.proof_bytes, now_ms=shown.at_ms)


def test_arguments_are_looked_at_before_the_document_and_its_proof() -> None:
    shown = honest()

    def untouched() -> Iterator[bytes]:
        raise AssertionError("the document was read")
        yield b""

    for wrong in ({"request": None}, {"now_ms": 1.5}, {"max_age_ms": -1}, {"proof": "x"}):
        good: dict[str, Any] = {"proof": b"noise", "request": shown.request, "now_ms": NOW_MS}
        with pytest.raises(WrongCall):
            shown.verifier.verify(untouched(), **{**good, **wrong})
    with pytest.raises(VerificationError):
        shown.verifier.verify(untouched(), b"noise", request=shown.request, now_ms=NOW_MS)


def test_a_large_document_in_another_format_is_hashed_as_its_bytes() -> None:
    numbers = array.array("I", range(CHUNK_SIZE // 2))
    hasher = ContentHasher()
    hasher.update(numbers)  # type: ignore[arg-type]
    assert hasher.finish() == Content(*content_root([numbers.tobytes()]))


def test_a_client_is_told_too() -> None:
    async def scenario() -> None:
        with pytest.raises(WrongCall, match="urls"):
            async with Nodes.connect("http://127.0.0.1:7201"):
                raise AssertionError("each letter would be a node")
        for url in (None, 7, b"http://127.0.0.1:7201", ["http://127.0.0.1:7201"]):
            with pytest.raises(WrongCall, match="url"):
                async with Client.connect(url):  # type: ignore[arg-type]
                    raise AssertionError("there is no such node")
        async with Client.connect("http://127.0.0.1:1") as client:
            asked: Any = client
            asking: tuple[Callable[[], Any], ...] = (
                lambda: asked.submit([b"transaction"]),
                lambda: asked.submit(b"transaction"),
                lambda: asked.submit([], wait_ms=1.5),
                lambda: asked.relay([None]),
                lambda: asked.relay([], wait_ms=float("nan")),
                lambda: asked.evidence(b"request"),
                lambda: asked.member(b"hk-bureau"),
                lambda: asked.consent("ed25519:00", bytes(32)),
                lambda: asked.consent(CONSENT_KEY.public, "00"),
            )
            for call in asking:
                with pytest.raises(WrongCall):
                    await call()

    asyncio.run(scenario())


def test_a_draft_of_a_file_takes_a_path() -> None:
    for path in ("report.pdf", b"report.pdf", None):
        with pytest.raises(WrongCall, match="Path"):
            draft_of_file(path, schema="hk.credit-report", holder_key=None)  # type: ignore[arg-type]
