"""Fuzz targets: one for each decoder of bytes that strangers, peers or a damaged disk can choose, and one for what
callers pass to public calls.

Rule 1: a target returns for bytes that are accepted or refused with the declared family of errors; everything
else that escapes it is a finding.
Rule 2: what is accepted has one encoding: it encodes to the bytes that it was decoded from.
"""

import asyncio
import contextlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ledger.archives import RATIO_MAX, RATIO_SLACK
from ledger.bundles import open_bundle
from ledger.chain.snapshots import decode_chunk
from ledger.consents import ConsentFile
from ledger.encoding.codec import decode, encode
from ledger.encoding.records import from_json, pack, parse_json, to_json, unpack
from ledger.errors import LedgerError, LuohuError
from ledger.filenames import find_fault
from ledger.genesis import genesis_to_json, parse_genesis
from ledger.proofs import PROOF_MAGIC, Evidence, Proof
from ledger.receipts import ReceiptFile, parse_receipt
from ledger.requests import Request
from ledger.rules.blocks import EncodedHeader
from ledger.rules.certificates import QuorumCertificate, Validator, ValidatorSet
from ledger.rules.state import Anchor, Consent, Member
from ledger.rules.transactions import Transaction
from ledger.sdjwt import decode as decode_sd_jwt
from ledger.sdjwt import open_fields
from ledger.sets import MANIFEST_MAGIC, ShownSet, decode_manifest
from ledger.trust import parse_trusted_root, trusted_root_to_json
from ledger.verdicts import VerificationError
from node.consensus.config import Config
from node.consensus.core import Simplex
from node.consensus.image import CoreImage, make_core, take_image
from node.consensus.journal import decode_record, encode_record
from node.consensus.messages import decode_message, encode_message
from node.consensus.rounds import FinalizedTip
from node.messages import decode_peer_message, encode_peer_message
from node.network.hello import HelloRefused, decode_hello, encode_hello
from node.recipient.multipart import FormError, FormReader
from node.replica.corelog import CoreLogError, code_digest
from node.replica.corenotes import Opening, decode_event, decode_note, encode_event, encode_note
from node.replica.explain import replay_frames
from node.storage.voteframes import HEADER_SIZE, PAGE_SIZE, FrameError, decode_header, scan_groups
from tests.attacks.forge import (
    Shown,
    honest,
    honest_after_handovers,
    honest_bearer,
    honest_from_checkpoint,
    honest_under_history,
)
from tests.support.consortium import CHAIN_ID, key_of
from tests.support.wrongcalls import ODD, calls

Target = Callable[[bytes], None]


def _canonical(read: Callable[[bytes], bytes]) -> Target:
    """Return the target for a decoder: `read` decodes and encodes again."""

    def target(data: bytes) -> None:
        try:
            again = read(data)
        except LedgerError:
            return
        assert again == data, "accepted bytes have one encoding"

    return target


def _json(data: bytes) -> None:
    try:
        parse_json(data)
    except LedgerError:
        return


def _genesis(data: bytes) -> None:
    try:
        genesis = parse_genesis(data)
    except LedgerError:
        return
    assert genesis_to_json(genesis)["content"]


def _trust(data: bytes) -> None:
    try:
        root = parse_trusted_root(data)
    except LedgerError:
        return
    assert trusted_root_to_json(root)["genesis"]


def _chunk(data: bytes) -> None:
    try:
        leaves = decode_chunk(data)
    except LedgerError:
        return
    assert [key for key, _ in leaves] == sorted({key for key, _ in leaves})


def _receipt(data: bytes) -> None:
    try:
        file = parse_receipt(data)
    except LedgerError:
        return
    assert from_json(ReceiptFile, to_json(file)) == file


def _sd_jwt(data: bytes) -> None:
    """A report as it is shown: what opens has one text, and no field twice."""
    try:
        report = decode_sd_jwt(data)
        opened = open_fields(report)
    except LedgerError:
        return
    assert (report.bound_text + report.binding).encode() == data
    assert opened.closed_count >= 0


def _pair(data: bytes) -> None:
    try:
        bundle = open_bundle(io.BytesIO(data))
        size = sum(len(piece) for piece in bundle.document())
    except LedgerError:
        return
    assert size == bundle.size <= RATIO_MAX * len(data) + RATIO_SLACK
    assert find_fault(bundle.name) is None


def _shown_set(data: bytes) -> None:
    """A set as it is shown: what fits together has one form, and names that nobody takes for another's."""
    try:
        shown = ShownSet.decode(data)
        count = shown.check()
    except LedgerError:
        return
    assert shown.encode() == data and len(shown.entries) <= count
    names = [entry.name.decode() for entry in shown.entries]
    assert not any(find_fault(name) for name in names) and len({*names}) == len(names)


class _Bytes:
    """The bytes of a form, as they come over a connection."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, n: int = -1, /) -> bytes:
        piece, self._data = self._data[:7], self._data[7:]
        return piece


def _form(data: bytes) -> None:
    async def read() -> int:
        reader = FormReader(_Bytes(data), "multipart/form-data; boundary=b", stall_s=60)
        size = 0
        while await reader.next_part() is not None:
            async for piece in reader.pieces():
                size += len(piece)
        return size

    with contextlib.suppress(FormError):
        assert asyncio.run(read()) <= len(data)


def _hello(data: bytes) -> None:
    try:
        hello = decode_hello(data)
    except HelloRefused:
        return
    assert encode_hello(hello) == data


def _vote_log(data: bytes) -> None:
    try:
        found = decode_header(data[:HEADER_SIZE])
    except FrameError:
        return
    if found is not None:
        scan_groups(found[0].file_id, data)


def _vote_log_groups(data: bytes) -> None:
    scan = scan_groups(bytes(32), bytes(HEADER_SIZE) + data)
    assert scan.end % PAGE_SIZE == 0


def _core_image(data: bytes) -> None:
    """The state of a core: what is accepted makes a core with the same image, or one that never was and says so."""
    try:
        image = decode_note(CoreImage, data)
        core = make_core(replace(image, rounds_count=0), (), sign=lambda _: bytes(64), verify=lambda _: False)
    except LedgerError:
        return
    assert encode_note(image) == data
    take_image(core)


def _event_again(data: bytes) -> bytes:
    now_ms, event = decode_event(data)
    return encode_event(event, now_ms)


def _core_log(data: bytes) -> None:
    """What follows the opening of a segment: frames with a length of two bytes each."""
    frames, place = [_OPENING], 0
    while place + 2 <= len(data):
        end = place + 2 + int.from_bytes(data[place : place + 2], "big")
        # Length 0 stands for an honest state, which chance would not find.
        frames.append(data[place + 2 : end] or _IMAGE)
        place = end
    try:
        for decision in replay_frames("fuzzed", iter(frames)):
            assert decision.members
    except CoreLogError:
        return


_VALIDATORS: Final = ValidatorSet(
    tuple(Validator(member, key_of(member).public) for member in ("a", "b", "c", "d"))
)


def make_core_of_nobody() -> Simplex:
    """Return the core of one of four validators before it was told anything."""
    tip = FinalizedTip(0, bytes(32), None)
    return Simplex(Config(), _VALIDATORS, 1, 0, (), tip, lambda _: bytes(64), lambda _: True)


_OPENING: Final = encode_note(Opening(code_digest(), CHAIN_ID, "b", 0, 0, 0))
_IMAGE: Final = encode_note(take_image(make_core_of_nobody())[0])

_SHOWN: Final = (honest(), honest_after_handovers(), honest_under_history())
_HONEST: Final = {shown.proof_bytes for shown in (*_SHOWN, honest_from_checkpoint(), honest_bearer())}


def _verified(shown: Shown, proof: bytes) -> None:
    """Show a proof to the bank: only an honest one may pass."""
    try:
        shown.verifier.verify(shown.document, proof, request=shown.request, now_ms=shown.at_ms)
    except VerificationError as refused:
        assert refused.step and refused.expected and refused.found
        return
    assert proof in _HONEST, "a forged proof verifies"


def _verifier(data: bytes) -> None:
    """The whole proof file is the fuzzer's."""
    for shown in _SHOWN:
        _verified(shown, data)


def _verifier_edits(data: bytes) -> None:
    """Edits of an honest proof: which one, then places (two bytes) and what stands there (one byte)."""
    shown = _SHOWN[data[0] % len(_SHOWN)] if data else _SHOWN[0]
    proof = bytearray(shown.proof_bytes)
    for start in range(1, len(data) - 2, 3):
        place = int.from_bytes(data[start : start + 2], "big") % len(proof)
        proof[place] = data[start + 2]
    _verified(shown, bytes(proof))


def _verifier_values(data: bytes) -> None:
    """A value in the place of the evidence or the presentation: deep into the shapes."""
    try:
        value = decode(data)
    except LedgerError:
        return
    for shown in _SHOWN[:1]:
        whole = decode(shown.proof_bytes[len(PROOF_MAGIC) :])
        assert isinstance(whole, tuple)
        for place in (2, 3, 5, 6):
            edited = (*whole[:place], value, *whole[place + 1 :])
            try:
                encoded = PROOF_MAGIC + encode(edited)
            except LedgerError:
                return
            _verified(shown, encoded)


def _arguments(data: bytes) -> None:
    """A public call with arguments of any kind: which call, then for each argument whether it is odd, and how."""
    call, *odd = data or b"\0"
    names, kinds = sorted(calls()), sorted(ODD)
    each = calls()[names[call % len(names)]]
    given = dict(each.arguments)
    for name, kind in zip(given, odd, strict=False):
        if kind:
            given[name] = ODD[kinds[(kind - 1) % len(kinds)]]()
    try:
        each.function(**given)
    except LuohuError as error:
        assert error.expected and error.found
        assert not isinstance(error, VerificationError) or error.step
    except ValueError:
        assert "reference" in given, "a bureau's reference has a size"
    finally:
        for value in given.values():
            if asyncio.iscoroutine(value):
                value.close()


TARGETS: Final[dict[str, Target]] = {
    "codec": _canonical(lambda data: encode(decode(data))),
    "transaction": _canonical(lambda data: Transaction.decode(data).encoded),
    "header": _canonical(lambda data: pack(EncodedHeader.decode(data).header)),
    "certificate": _canonical(lambda data: pack(unpack(QuorumCertificate, data))),
    "validators": _canonical(lambda data: pack(unpack(ValidatorSet, data))),
    "member": _canonical(lambda data: pack(unpack(Member, data))),
    "anchor": _canonical(lambda data: pack(unpack(Anchor, data))),
    "consent": _canonical(lambda data: pack(unpack(Consent, data))),
    "proof": _canonical(lambda data: Proof.decode(data).encode()),
    "evidence": _canonical(lambda data: pack(unpack(Evidence, data))),
    "request": _canonical(lambda data: Request.decode(data).encode()),
    "consent-file": _canonical(lambda data: ConsentFile.decode(data).encode()),
    "json": _json,
    "genesis-json": _genesis,
    "trust-json": _trust,
    "peer-message": _canonical(lambda data: encode_peer_message(decode_peer_message(data))),
    "consensus-message": _canonical(lambda data: encode_message(decode_message(data))),
    "journal-record": _canonical(lambda data: encode_record(decode_record(data))),
    "receipt-json": _receipt,
    "sd-jwt": _sd_jwt,
    "shown-set": _shown_set,
    "manifest-of-a-set": _canonical(lambda data: MANIFEST_MAGIC + b"".join(decode_manifest(data))),
    "bundle": _pair,
    "form": _form,
    "snapshot-chunk": _chunk,
    "hello": _hello,
    "vote-log": _vote_log,
    "vote-log-groups": _vote_log_groups,
    "core-image": _core_image,
    "core-event": _canonical(_event_again),
    "core-log": _core_log,
    "verifier": _verifier,
    "verifier-edits": _verifier_edits,
    "verifier-values": _verifier_values,
    "arguments": _arguments,
}
