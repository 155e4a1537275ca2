"""The page of formats lists what the code holds: every record with its fields in order, every tag, what decodes.

Its worked examples are those that their script makes, and one hashes to the other by hashlib alone.
"""

import dataclasses
import hashlib
import hmac
import importlib
import json
import re
from collections.abc import Callable

import nacl.signing
import pytest

from ledger.encoding.codec import Value, decode, encode
from ledger.encoding.records import Record
from ledger.proofs import PROOF_MAGIC
from ledger.trees.statetree import EMPTY
from ledger.verdicts import Verdict, VerificationError
from tests.attacks.forge import honest
from tests.support.sources import ROOT, module_of
from tests.vectors.make_examples import BEGIN, END, page_with, text
from tests.vectors.pinned import VECTORS

PAGE = (ROOT / "docs" / "formats.md").read_text()
MODULES = (
    "keys",
    "certificates",
    "state",
    "operations",
    "proposals",
    "tlscertificates",
    "blocks",
    "commitments",
    "genesis",
    "statetree",
    "requests",
    "consents",
    "presentation",
    "receipts",
    "trust",
    "proofs",
    "snapshots",
    "sets",
)
# Results and wrappers that are never encoded.
UNWRITTEN = {
    "PrivateKey",
    "SignedMessage",
    "ListToSign",
    "EncodedHeader",
    "Block",
    "TrustedHeader",
    "Pins",
    "Rebuilding",
    "SetFile",
}


def records() -> list[type[Record]]:
    return [
        value
        for path in sorted((ROOT / "ledger").rglob("*.py"))
        if path.stem in MODULES
        for value in vars(importlib.import_module(module_of(path))).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module_of(path)
        if value.__name__ not in UNWRITTEN and not value.__name__.startswith("_")
    ]


@pytest.mark.parametrize("record_class", records(), ids=lambda record_class: record_class.__name__)
def test_every_record_is_on_the_page_with_its_fields_in_order(record_class: type[Record]) -> None:
    tag = getattr(record_class, "TAG", None)
    title = rf"\*\*{record_class.__name__}\*\*" + (f" `{tag}`" if tag else "(?! `)")
    place = re.search(title, PAGE)
    assert place is not None, title
    entry = PAGE[place.end() :].split("\n\n")[0]
    entry = re.split(r"\*\*[A-Z]", entry)[0]
    if "the same, then" in entry:
        return
    at = 0
    for field in dataclasses.fields(record_class):
        named = entry.find(f"`{field.name}`", at)
        assert named >= 0, f"{record_class.__name__}.{field.name} is missing or out of order"
        at = named


def test_every_tag_is_on_the_page() -> None:
    kinds = ("notarize", "nullify", "finalize")
    for path in [*(ROOT / "ledger").rglob("*.py"), *(ROOT / "node").rglob("*.py")]:
        for tag in re.findall(r'"(luohu/[a-z{}/-]+/1)"', path.read_text()):
            for kind in kinds:
                assert f"`{tag.replace('{kind}', kind)}`" in PAGE, tag


def test_the_examples_are_what_their_script_makes() -> None:
    assert page_with(PAGE, text()) == PAGE, "the format changed? python -m tests.vectors.make_examples"
    assert PAGE.count(BEGIN) == PAGE.count(END) == 1
    damaged = PAGE.replace("block hash\n  ", "block hash\n  00")
    assert damaged != PAGE and page_with(damaged, text()) == PAGE


def read_examples() -> dict[str, bytes]:
    """Return the bytes of each name in the worked examples."""
    read: dict[str, bytes] = {}
    for block in re.findall(r"```text\n(.*?)```", PAGE[PAGE.index(BEGIN) :], re.DOTALL):
        name = ""
        for line in block.splitlines():
            if not line.startswith(" "):
                name = line
                assert name not in read, name
            read[name] = read.get(name, b"") + (bytes.fromhex(line.split()[0]) if line[0] == " " else b"")
    return read


def test_the_examples_follow_from_one_another() -> None:
    found = read_examples()

    def sha(head: str, *names: str) -> bytes:
        return hashlib.sha256(bytes.fromhex(head) + b"".join(found[name] for name in names)).digest()

    def tagged(tag: str, name: str) -> bytes:
        return bytes([len(tag)]) + tag.encode() + found[name]

    assert found["content root"] == sha("00", "document")
    assert found["metadata hash"] == hashlib.sha256(tagged("luohu/metadata/1", "metadata")).digest()
    assert found["committed"].endswith(b"\xc4\x20" + found["metadata hash"])
    assert found["tagged committed"] == tagged("luohu/commitment/1", "committed")
    assert found["commitment"] == hmac.digest(found["salt"], found["tagged committed"], "sha256")
    assert found["anchor key"] == sha("24", "anchor tuple")
    assert found["consent key"] == sha("24", "consent tuple")
    assert found["tagged header"] == tagged("luohu/block/1", "header")
    assert found["entry digest"] == hmac.digest(
        found["entry salt"], tagged("luohu/set-entry/1", "described file"), "sha256"
    )
    digests = [found["manifest"][at : at + 32] for at in range(10, len(found["manifest"]), 32)]
    assert digests == sorted(digests) and found["entry digest"] in digests
    assert found["digests shown"] == found["entry digest"]
    assert found["shown hash"] == hashlib.sha256(tagged("luohu/shown/1", "digests shown")).digest()
    assert found["block hash"] == sha("", "tagged header")
    assert found["signed bytes"] == tagged("luohu/vote/finalize/1", "vote body")
    nacl.signing.VerifyKey(found["public key"]).verify(found["signed bytes"], found["signature"])
    assert found["bitmap"] == b"\xe8", "its bits are 11101: no sibling at depth 4"
    value_hash = sha("23", "anchor value")
    node = hashlib.sha256(b"\x21" + found["anchor key"] + value_hash).digest()
    siblings = [found["sibling 0"], sha("20"), *(found[f"sibling {number}"] for number in (1, 2, 3))]
    for depth, sibling in zip((5, 4, 3, 2, 1), siblings, strict=True):
        is_right = found["anchor key"][0] >> (8 - depth) & 1
        node = hashlib.sha256(b"\x22" + (sibling + node if is_right else node + sibling)).digest()
    assert node == found["state root"]
    assert found["state root"] in found["header"]


def changed(value: Value, place: list[int], change: Callable[[Value], Value]) -> Value:
    """Return a value of the codec with what stands at a place changed."""
    if not place:
        return change(value)
    assert isinstance(value, tuple)
    items = list(value)
    items[place[0]] = changed(items[place[0]], place[1:], change)
    return tuple(items)


EVIDENCE, ANCHOR = 5, [5, 4]
SUBJECT = [EVIDENCE, 2, 0]
SIGNERS = [EVIDENCE, 2, 1]
DECODES = {
    "a subject that names no block": ([*SUBJECT, 4], lambda _: None),
    "padding that is not zero": ([*ANCHOR, 1, 2], lambda bits: bits[:-1] + bytes([bits[-1] | 1])),
    "a sibling too few": ([*ANCHOR, 1, 3], lambda siblings: siblings[1:]),
    "an EMPTY sibling": ([*ANCHOR, 1, 3], lambda siblings: (EMPTY, *siblings[1:])),
    "an item too many": ([], lambda proof: (*proof, None)),
    "an integer out of its range": ([3, 0], lambda _: 1_000_001),
}
LATER = {
    "signers out of order": (SIGNERS, lambda signed: signed[::-1], "untrusted-header"),
    "one signature": (SIGNERS, lambda signed: signed[:1], "untrusted-header"),
    "no certificate and no history": ([EVIDENCE, 2], lambda _: None, "untrusted-header"),
    "a header that is no record": ([EVIDENCE, 1], lambda _: b"\x90", "untrusted-header"),
    "an index beyond the batch": ([3, 1, 0], lambda _: 2**40, "not-in-anchor"),
    "a leaf that is no record": ([*ANCHOR, 0], lambda _: b"\x90", "anchor-unproven"),
}


def refusal_of(place: list[int], change: Callable[[Value], Value]) -> tuple[str, str]:
    """Return step and code with which the honest proof is refused once it is changed at a place."""
    shown = honest()
    body = decode(shown.proof_bytes[len(PROOF_MAGIC) :])
    proof = PROOF_MAGIC + encode(changed(body, place, change))
    with pytest.raises(VerificationError) as refused:
        shown.verifier.verify(shown.document, proof, request=shown.request, now_ms=shown.at_ms)
    return refused.value.step, refused.value.code


@pytest.mark.parametrize("name", DECODES)
def test_what_the_page_counts_to_decoding_makes_a_proof_malformed(name: str) -> None:
    assert refusal_of(*DECODES[name]) == ("files", "proof-malformed")


@pytest.mark.parametrize("name", LATER)
def test_what_the_page_leaves_to_a_step_has_the_code_of_that_step(name: str) -> None:
    place, change, code = LATER[name]
    assert refusal_of(place, change)[1] == code


def test_the_signature_of_a_request_is_not_checked_by_the_verifier() -> None:
    shown = honest()
    unsigned = dataclasses.replace(shown, request=dataclasses.replace(shown.request, signature=bytes(64)))
    assert unsigned.present().verify()


def test_every_key_of_the_vectors_is_on_the_page() -> None:
    section = PAGE[PAGE.index("\n## Vectors\n") : PAGE.index("\n## Worked examples\n")]
    named = set(re.findall(r"`([^`]+)`", section))
    records_json = json.loads((ROOT / "tests" / "vectors" / "records.json").read_text("utf-8"))
    case_keys = {
        key for case in VECTORS["cases"] for key in (*case, *case["proof"], *case.get("refused", {}))
    }
    assert set(records_json) | set(VECTORS) | case_keys <= named
    axes = {axis: set(facts) for case in VECTORS["cases"] for axis, facts in case.get("verdict", {}).items()}
    assert set(axes) == {field.name for field in dataclasses.fields(Verdict)}
    verdicts = section[section.index("A verdict is an object") :]
    for axis, keys in axes.items():
        (row,) = re.findall(rf"^\| `{axis}` \| (.+) \|$", verdicts, re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row)) - {"at_ms"} == keys, axis
