"""The pinned bytes, read by a second witness: written from docs/formats.md alone, it shares nothing with ledger/.

It decodes, encodes again, hashes, checks signatures and follows proofs with hashlib, hmac and libsodium. What it
computes must be what the file pins, and what the file pins must be what the code makes today.
"""

import hashlib
import hmac
import json
from typing import Any

import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from tests.support.sources import ROOT

PINNED: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / "records.json").read_text("utf-8"))
CHAIN_ID = bytes.fromhex(PINNED["chain_id"])


def test_the_code_makes_the_pinned_bytes() -> None:
    from tests.vectors.make_records import RECORDS, text

    assert RECORDS.read_text("utf-8") == text()


def test_every_operation_of_the_ledger_is_pinned() -> None:
    from ledger.rules.operations import OPERATION_CLASSES

    assert {each.TAG for each in OPERATION_CLASSES} == set(PINNED["transactions"]) == set(OPERATIONS)


# -- the codec ----------------------------------------------------------------------------------------------


def encode(value: Any) -> bytes:  # noqa: ANN401
    """Encode as docs/formats.md, Codec."""
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        if value < 0x80:
            return bytes([value])
        for code, size in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
            if value < 1 << 8 * size:
                return bytes([code]) + value.to_bytes(size, "big")
    if isinstance(value, bytes):
        head = b"\xc4" if len(value) < 256 else b"\xc5" if len(value) < 65_536 else b"\xc6"
        return head + len(value).to_bytes({0xC4: 1, 0xC5: 2, 0xC6: 4}[head[0]], "big") + value
    if isinstance(value, str):
        data = value.encode()
        if len(data) < 32:
            return bytes([0xA0 + len(data)]) + data
        head = b"\xd9" if len(data) < 256 else b"\xda"
        return head + len(data).to_bytes(1 if head == b"\xd9" else 2, "big") + data
    head = bytes([0x90 + len(value)]) if len(value) < 16 else b"\xdc" + len(value).to_bytes(2, "big")
    return head + b"".join(map(encode, value))


def take(data: bytes, at: int) -> tuple[Any, int]:
    """Return the value that starts at a place, and the place after it."""
    head = data[at]
    at += 1
    if head < 0x80:
        return head, at
    if head == 0xC0:
        return None, at
    if head in (0xCC, 0xCD, 0xCE, 0xCF):
        size = 1 << head - 0xCC
        return int.from_bytes(data[at : at + size], "big"), at + size
    if 0x90 <= head < 0xA0 or head == 0xDC:
        count = head & 15 if head != 0xDC else int.from_bytes(data[at : at + 2], "big")
        at += 2 * (head == 0xDC)
        items = []
        for _ in range(count):
            item, at = take(data, at)
            items.append(item)
        return items, at
    lengths = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
    size = head & 31 if 0xA0 <= head < 0xC0 else int.from_bytes(data[at : at + lengths[head]], "big")
    at += lengths.get(head, 0)
    found = data[at : at + size]
    assert len(found) == size
    return (found if head in (0xC4, 0xC5, 0xC6) else found.decode()), at + size


def decode(data: bytes) -> Any:  # noqa: ANN401
    """Return the one value that bytes encode canonically."""
    value, at = take(data, 0)
    assert at == len(data) and encode(value) == data
    return value


# -- hashes, signatures and trees ---------------------------------------------------------------------------


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def tagged(tag: str, data: bytes) -> bytes:
    return bytes([len(tag)]) + tag.encode() + data


def h(tag: str, data: bytes) -> bytes:
    return sha(tagged(tag, data))


def k(key: bytes, tag: str, data: bytes) -> bytes:
    return hmac.digest(key, tagged(tag, data), "sha256")


def check_signature(key: list[Any], tag: str, body: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature by a PublicKey: its algorithm, its 32 bytes."""
    algorithm, data = key
    assert algorithm == 1
    VerifyKey(data).verify(tagged(tag, body), signature)


def merkle_root(leaf: bytes, index: int, size: int, siblings: list[bytes]) -> bytes:
    """Return the RFC 9162 root that a path leads to, by section 2.1.3.2."""
    node, fn, sn = sha(b"\0", leaf), index, size - 1
    for sibling in siblings:
        assert sn > 0
        if fn & 1 or fn == sn:
            node = sha(b"\1", sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = sha(b"\1", node, sibling)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return node


def state_key(*identifiers: Any) -> bytes:  # noqa: ANN401
    return sha(b"\x24", encode(list(identifiers)))


def state_root(key: bytes, node: bytes, depth: int, bitmap: bytes, siblings: list[bytes]) -> bytes:
    """Return the state root over a node that stands at a depth on the way to a key."""
    assert len(bitmap) == (depth + 7) // 8
    left = list(siblings)
    for level in reversed(range(depth)):
        has_sibling = bitmap[level // 8] >> (7 - level % 8) & 1
        sibling = left.pop(0) if has_sibling else sha(b"\x20")
        is_right = key[level // 8] >> (7 - level % 8) & 1
        node = sha(b"\x22", sibling, node) if is_right else sha(b"\x22", node, sibling)
    assert not left
    return node


def check_leaf(root: bytes, key: bytes, proven: list[Any]) -> Any:  # noqa: ANN401
    """Check a ProvenLeaf and return what it holds."""
    value, (tag, depth, bitmap, siblings) = proven
    assert tag == "inclusion"
    leaf = sha(b"\x21", key, sha(b"\x23", value))
    assert state_root(key, leaf, depth, bitmap, siblings) == root
    return decode(value)


def check_absence(root: bytes, key: bytes, proof: list[Any]) -> None:
    tag, depth, bitmap, siblings, other = proof
    assert tag == "absence"
    node = sha(b"\x20") if other is None else sha(b"\x21", *other)
    if other is not None:
        assert other[0] != key
        bits = [int.from_bytes(each, "big") >> 256 - depth for each in (other[0], key)]
        assert bits[0] == bits[1]
    assert state_root(key, node, depth, bitmap, siblings) == root


# -- genesis ------------------------------------------------------------------------------------------------

GENESIS = PINNED["genesis.json"]


def key_of_json(value: dict[str, Any]) -> list[Any]:
    return [value["algorithm"], bytes.fromhex(value["data"])]


def content_array(content: dict[str, Any]) -> list[Any]:
    """Return the array of a GenesisContent from its JSON form."""
    members = [
        [
            *(
                member[name]
                for name in ("id", "name_zh_hans", "name_zh_hant", "name_en", "jurisdiction", "roles")
            ),
            key_of_json(member["key"]),
            bytes.fromhex(member["next_key"]),
            node_array(member["node"]),
        ]
        for member in content["members"]
    ]
    limits = (
        "block_size_max",
        "block_operations_max",
        "block_signatures_max",
        "transaction_horizon_ms",
        "consent_duration_max_ms",
        "protocol",
        "protocol_height",
    )
    return [
        "luohu-genesis",
        *(content[name] for name in ("version", "suite", "network", "use", "jurisdictions", "time_ms")),
        ["parameters", *(content["parameters"][name] for name in limits)],
        members,
        [[schema["code"], schema["bearer"], schema["issuers"]] for schema in content["schemas"]],
        [[each["code"], [*map(bytes.fromhex, each["notices"])]] for each in content["purposes"]],
    ]


def node_array(node: dict[str, Any] | None) -> list[Any] | None:
    if node is None:
        return None
    key, following = node["validator_key"], node["next_validator_key"]
    return [
        node["kind"],
        None if key is None else key_of_json(key),
        None if following is None else bytes.fromhex(following),
        bytes.fromhex(node["tls_certificate"]),
    ]


MEMBER_KEYS = {member["id"]: key_of_json(member["key"]) for member in GENESIS["content"]["members"]}
VALIDATORS = [
    [member["id"], key_of_json(member["node"]["validator_key"])]
    for member in GENESIS["content"]["members"]
    if member["node"] is not None and member["node"]["kind"] == "validator"
]


def test_the_chain_id_is_the_hash_of_the_content_and_every_member_signed_it() -> None:
    assert sha(encode(content_array(GENESIS["content"]))) == CHAIN_ID
    members = [member["id"] for member in GENESIS["content"]["members"]]
    assert [signature["member"] for signature in GENESIS["signatures"]] == members
    for signature in GENESIS["signatures"]:
        check_signature(
            MEMBER_KEYS[signature["member"]],
            "luohu/genesis/1",
            CHAIN_ID,
            bytes.fromhex(signature["signature"]),
        )


def test_the_trusted_root_holds_this_genesis() -> None:
    trust = PINNED["trust.json"]
    assert trust == {"type": "luohu-trust", "version": 1, "genesis": GENESIS, "checkpoints": []}


# -- transactions -------------------------------------------------------------------------------------------

HASH, SIGNATURE, NONCE, KEY = "hash", "signature", "nonce", "key"
NUMBER, TEXT, BODY, PARTS = "number", "text", "body", "parts"
OPERATIONS: dict[str, list[str]] = {
    "anchor": [HASH, NUMBER, TEXT, NUMBER],
    "revoke": [HASH, TEXT],
    "revoke_anchor": [HASH, TEXT],
    "grant": [BODY, SIGNATURE],
    "withdraw": [BODY, SIGNATURE],
    "close_consent": [KEY, HASH],
    "record_verification": [KEY, HASH, NUMBER, HASH, TEXT],
    "rotate_key": [TEXT, NUMBER, KEY, HASH, SIGNATURE],
    "rotate_tls": [NUMBER, PARTS, KEY, SIGNATURE],
    "suspend_self": [NUMBER, NUMBER],
    "propose": [PARTS, "absent", NUMBER],
    "vote": [HASH, TEXT],
    "report_misbehaviour": [KEY, PARTS, PARTS],
}
TERMS = [TEXT, TEXT, "texts", NUMBER, HASH, HASH, NUMBER, NUMBER, NUMBER]
ITEM = ["texts", "texts", NUMBER, NUMBER, NUMBER, "absent"]
ASKED = [TEXT, PARTS, "texts", TEXT, NUMBER, PARTS, NUMBER, HASH, NUMBER, NUMBER]
SIZES = {HASH: 32, SIGNATURE: 64, NONCE: 16}


def check_shape(items: list[Any], shape: list[str]) -> None:
    """Check that items are of these kinds."""
    assert len(items) == len(shape)
    for item, kind in zip(items, shape, strict=True):
        if kind in SIZES:
            assert type(item) is bytes and len(item) == SIZES[kind]
        elif kind == KEY:
            assert item[0] == 1 and len(item) == 2 and len(item[1]) == 32
        elif kind == NUMBER:
            assert type(item) is int
        elif kind == "absent":
            assert item is None
        elif kind == PARTS:
            assert type(item) is list
        elif kind == "texts":
            assert item == sorted(item) and all(type(each) is str for each in item)
        else:
            assert type(item) is (bytes if kind == BODY else str)


@pytest.mark.parametrize("tag", OPERATIONS)
def test_a_transaction_of_each_operation(tag: str) -> None:
    pinned = PINNED["transactions"][tag]
    encoded = bytes.fromhex(pinned["bytes"])
    body, signature = decode(encoded)
    assert h("luohu/transaction-id/1", encoded).hex() == pinned["id"]
    chain_id, sender, valid_until_ms, operations = decode(body)
    assert chain_id == CHAIN_ID and valid_until_ms > 0
    check_signature(MEMBER_KEYS[sender], "luohu/transaction/1", body, signature)
    ((found, *items),) = operations
    assert found == tag
    check_shape(items, OPERATIONS[tag])
    check_operation(tag, items, sender)


def check_operation(tag: str, items: list[Any], sender: str) -> None:
    """Check the signatures that an operation carries of its own."""
    if tag == "grant":
        chain_id, nonce, submit_by_ms, key, terms = decode(items[0])
        check_shape([chain_id, nonce, submit_by_ms, key], [HASH, NONCE, NUMBER, KEY])
        check_shape(terms, TERMS)
        check_signature(key, "luohu/grant/1", *items)
    elif tag == "withdraw":
        chain_id, key, consent_id = decode(items[0])
        assert chain_id == CHAIN_ID and consent_id == consent_id_of_grant()
        check_signature(key, "luohu/withdrawal/1", *items)
    elif tag in ("close_consent", "record_verification"):
        assert items[1] == consent_id_of_grant()
    elif tag == "rotate_key":
        role, sequence, key, next_key, signature = items
        body = encode([CHAIN_ID, sender, role, sequence, key, next_key])
        check_signature(key, "luohu/rotation/1", body, signature)
        member = next(each for each in GENESIS["content"]["members"] if each["id"] == sender)
        assert h("luohu/next-key/1", encode(key)).hex() == member["next_key"]

    elif tag == "rotate_tls":
        sequence, certificate, key, signature = items
        check_shape(certificate, [BODY, NONCE, SIGNATURE, SIGNATURE])
        stands_for = h("luohu/tls-certificate/1", encode(certificate))
        body = encode([CHAIN_ID, sender, "tls", sequence, key, stands_for])
        check_signature(key, "luohu/rotation/1", body, signature)
    elif tag == "propose":
        assert items[0] == ["add_schema", "hk.tax-statement", 0, None]
    elif tag == "report_misbehaviour":
        key, *votes = items
        assert key == VALIDATORS[0][1] and votes[0][0][:4] == votes[1][0][:4] and votes[0][0] != votes[1][0]
        for subject, _, signature in votes:
            check_signature(key, f"luohu/vote/{subject[0]}/1", vote_body(subject), signature)


def consent_id_of_grant() -> bytes:
    body, _ = decode(bytes.fromhex(PINNED["transactions"]["grant"]["bytes"]))
    ((_, grant_body, _),) = decode(body)[3]
    return h("luohu/consent/1", grant_body)


# -- blocks and votes ---------------------------------------------------------------------------------------


def test_headers() -> None:
    block = bytes.fromhex(PINNED["headers"]["block"]["bytes"])
    assert h("luohu/block/1", block).hex() == PINNED["headers"]["block"]["hash"]
    shape = [NUMBER, NUMBER, HASH, NUMBER, NUMBER, NUMBER, NUMBER, HASH, HASH, HASH, HASH, HASH]
    *fields, next_validators, proposer = decode(block)
    check_shape(fields, shape)
    assert next_validators is None and fields[2] == CHAIN_ID
    assert fields[11] == h("luohu/validators/1", encode([VALIDATORS]))
    view, epoch = fields[4], fields[3]
    assert proposer == VALIDATORS[(view + epoch) % len(VALIDATORS)][0]
    seal = decode(bytes.fromhex(PINNED["headers"]["seal"]["bytes"]))
    check_shape(seal, [*shape, HASH, TEXT])


def vote_body(subject: list[Any]) -> bytes:
    kind, epoch, view, parent_view, block_hash = subject
    return encode(
        [CHAIN_ID, epoch, view] if kind == "nullify" else [CHAIN_ID, epoch, view, parent_view, block_hash]
    )


@pytest.mark.parametrize("kind", ["notarize", "nullify", "finalize"])
def test_a_vote_of_each_kind(kind: str) -> None:
    subject, signer, signature = decode(bytes.fromhex(PINNED["votes"][kind]))
    assert subject[0] == kind
    check_signature(VALIDATORS[signer][1], f"luohu/vote/{kind}/1", vote_body(subject), signature)
    with pytest.raises(BadSignatureError):
        check_signature(VALIDATORS[signer][1], "luohu/vote/other/1", vote_body(subject), signature)


def check_certificate(certificate: list[Any], header: bytes) -> None:
    """Check that a quorum finalized a header."""
    subject, signatures = certificate
    assert (
        subject[0] == "finalize"
        and subject[4] == h("luohu/block/1", header)
        and subject[2] == decode(header)[4]
    )
    signers = [signer for signer, _ in signatures]
    assert signers == sorted(set(signers)) and len(signers) >= len(VALIDATORS) - (len(VALIDATORS) - 1) // 3
    for signer, signature in signatures:
        check_signature(VALIDATORS[signer][1], "luohu/vote/finalize/1", vote_body(subject), signature)


def test_a_quorum_certificate() -> None:
    check_certificate(
        decode(bytes.fromhex(PINNED["certificate"])), bytes.fromhex(PINNED["headers"]["block"]["bytes"])
    )


# -- files --------------------------------------------------------------------------------------------------


def content_of(encoded: bytes, magic: bytes) -> Any:  # noqa: ANN401
    assert encoded.startswith(magic + b"\x02")
    return decode(encoded[len(magic) + 1 :])


def request_body() -> tuple[list[Any], list[Any]]:
    """Return the decoded body of the request, and what it asks."""
    tag, body, signature = content_of(bytes.fromhex(PINNED["request"]), b"LUOHU-REQUEST")
    assert tag == "request"
    decoded = decode(body)
    asked = decode(decoded[0])
    check_signature(MEMBER_KEYS[asked[0]], "luohu/request/2", body, signature)
    return decoded, asked


def request_id() -> bytes:
    return h("luohu/request-id/1", bytes.fromhex(PINNED["request"])[len(b"LUOHU-REQUEST") + 1 :])


def test_a_consent_request() -> None:
    body, asked = request_body()
    check_shape(body, [BODY, HASH, NONCE, NUMBER, PARTS, "absent"])
    check_shape(body[4], [NUMBER, NUMBER, HASH])
    check_shape(asked, ASKED)
    for item in asked[1]:
        check_shape(item, ITEM)
    code, reference, assessment, capacity, (starts, days) = asked[5]
    assert (code, reference, assessment, capacity) == ("holder-carried", None, None, "self")
    assert starts in ("end", "record", "close") and days > 0
    assert body[1] == CHAIN_ID and len(bytes.fromhex(PINNED["request"])) <= 2_300


def test_a_consent_file() -> None:
    body, asked = request_body()
    consent = content_of(bytes.fromhex(PINNED["consent"]["bytes"]), b"LUOHU-CONSENT")
    tag, its_request, grant, withdrawal, salt, receipt_hash = consent
    (_, grant_body, grant_signature), (_, withdrawal_body, withdrawal_signature) = grant, withdrawal
    assert tag == "consent-file" and decode(its_request[1]) == body
    _, _, _, key, terms = decode(grant_body)
    check_signature(key, "luohu/grant/1", grant_body, grant_signature)
    check_signature(key, "luohu/withdrawal/1", withdrawal_body, withdrawal_signature)
    consent_id = h("luohu/consent/1", grant_body)
    assert consent_id.hex() == PINNED["consent"]["consent_id"]
    assert decode(withdrawal_body) == [CHAIN_ID, key, consent_id]
    assert terms[5] == k(salt, "luohu/terms/2", encode([body[0], receipt_hash]))
    recipient, _, sources, purpose, _, _, flags, notice, until_ms, uses = asked
    assert [*terms[:5], *terms[7:]] == [recipient, purpose, sources, flags, notice, until_ms, uses]


def test_a_proof_leads_from_the_document_to_the_validators_of_genesis() -> None:
    document = bytes.fromhex(PINNED["document"])
    proof = content_of(bytes.fromhex(PINNED["proof"]["bytes"]), b"LUOHU-PROOF")
    tag, chain_id, opening, (leaf_count, (index, siblings)), anchor_root, evidence, presentation = proof
    assert tag == "proof" and chain_id == CHAIN_ID
    media_type, size, content_root, salt, metadata = opening
    assert size == len(document) and content_root == sha(b"\0", document)
    committed = encode([media_type, size, content_root, h("luohu/metadata/1", metadata)])
    commitment = k(salt, "luohu/commitment/1", committed)
    assert commitment.hex() == PINNED["proof"]["commitment"]
    assert merkle_root(commitment, index, leaf_count, siblings) == anchor_root
    _, issuer, schema, holder_key, _, _ = decode(metadata)
    header, root = check_evidence(evidence, issuer, anchor_root, commitment)
    anchor = check_leaf(root, state_key("anchor", issuer, anchor_root), evidence[4])
    assert anchor[:5] == ["anchor", issuer, anchor_root, leaf_count, schema] and anchor[-1] is None
    assert header[2] == CHAIN_ID
    check_presentation(presentation, evidence[7], root, commitment, holder_key)


def check_evidence(
    evidence: list[Any], issuer: str, anchor_root: bytes, commitment: bytes
) -> tuple[list[Any], bytes]:
    """Check header, quorum certificate, issuer and revocation; return the header and its state root."""
    tag, header, certificate, trust_path, _, issuer_leaf, unrevoked, _ = evidence
    assert tag == "evidence" and trust_path == [0, [], None]
    check_certificate(certificate, header)
    decoded = decode(header)
    root = decoded[9]
    member = check_leaf(root, state_key("member", issuer), issuer_leaf)
    assert member[:2] == ["member", issuer] and member[7] == MEMBER_KEYS[issuer]
    check_absence(root, state_key("revocation", issuer, commitment), unrevoked)
    return decoded, root


def check_presentation(
    presentation: list[Any], evidence: list[Any], root: bytes, commitment: bytes, holder_key: list[Any]
) -> None:
    """Check consent and recipient under the state root, and both signatures of the presentation."""
    item, shown, size, path, consent_key, consent_id, nonce, salt, receipt_hash, *signatures = presentation
    holder_signature, consent_signature = signatures
    recipient_leaf, consent_leaf = evidence
    consent = check_leaf(root, state_key("consent", consent_key, consent_id), consent_leaf)
    tag, key, identity, (terms, _, _), ended, used = consent
    assert (tag, key, identity, ended, used) == ("consent", consent_key, consent_id, None, 0)
    request, asked = request_body()
    assert nonce == request[2] and terms[0] == asked[0]
    assert terms[5] == k(salt, "luohu/terms/2", encode([request[0], receipt_hash]))
    check_leaf(root, state_key("member", terms[0]), recipient_leaf)
    index, siblings = path
    listed = merkle_root(encode([item, commitment, shown]), index, size, siblings)
    body = encode([CHAIN_ID, listed, size, terms[0], consent_key, consent_id, request_id()])
    check_signature(holder_key, "luohu/presentation/2", body, holder_signature)
    check_signature(consent_key, "luohu/presentation/2", body, consent_signature)
