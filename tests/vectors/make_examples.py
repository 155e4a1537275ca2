"""Write the worked examples of docs/formats.md: some pinned bytes, item by item, and what they hash to.

    python -m tests.vectors.make_examples

The bytes are those of records.json, so the examples follow every change of format. They stand between two marks. A name
stands at the start of its line; under it each line has hexadecimal first and then what that is.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final

from ledger.commitments import COMMITMENT_TAG, METADATA_TAG, Metadata
from ledger.encoding.codec import Value, decode, encode
from ledger.encoding.digests import tagged, tagged_digest
from ledger.rules.blocks import BLOCK_TAG, Header
from ledger.rules.certificates import FINALIZE, VOTE_TAGS
from ledger.rules.state import anchor_key
from ledger.sets import ENTRY_TAG, select_files
from ledger.shown import SHOWN_TAG
from ledger.trees.merkle import leaf_hash
from ledger.trees.statetree import state_key
from tests.attacks.shownsets import whole
from tests.support.consortium import CHAIN_ID, VALIDATORS, key_of
from tests.vectors.make_records import DOCUMENT, files, votes

PAGE: Final = Path(__file__).parents[2] / "docs" / "formats.md"
BEGIN: Final = "<!-- made by python -m tests.vectors.make_examples -->\n"
END: Final = "<!-- end of what is made -->\n"
HEX_WIDTH: Final = 68
LINE_BYTES: Final = 32


def text() -> str:
    """Return the examples."""
    _, consent, proof, node = files()
    opening, header = proof.opening, node.ledger.tip.encoded_header
    vote = votes()[FINALIZE]
    body, key = vote.subject.body(CHAIN_ID), consent.consent_key
    anchor = proof.evidence.anchor
    depths = _depths(anchor.proof.bitmap, anchor.proof.depth)
    metadata_hash = tagged_digest(METADATA_TAG, opening.metadata)
    committed = encode((opening.media_type, opening.size, opening.content_root, metadata_hash))
    anchor_tuple = encode(("anchor", "hk-bureau", proof.anchor_root))
    consent_tuple = encode(("consent", (key.algorithm, key.data), consent.consent_id))
    entries = whole()
    shown = select_files(entries, ("slice-1.dcm",))
    (entry,) = shown.entries
    described = encode((entry.name, entry.media_type, entry.size, entry.content_root))
    examples = {
        "a commitment": [
            _bytes("document", DOCUMENT, "the whole document, one chunk"),
            _bytes("content root", leaf_hash(DOCUMENT), "SHA-256(00 ‖ document)"),
            _items("metadata", opening.metadata, ["tag", *_names(Metadata)]),
            _bytes("metadata hash", metadata_hash, f'H("{METADATA_TAG}", metadata)'),
            _items("committed", committed, ["media_type", "size", "content_root", "metadata_hash"]),
            _bytes("salt", opening.salt),
            _bytes("tagged committed", tagged(COMMITMENT_TAG, committed)),
            _bytes("commitment", opening.commitment(), "HMAC-SHA-256(salt, tagged committed)"),
        ],
        "a set": [
            _items("described file", described, ["name", "media_type", "size", "content_root"]),
            _bytes("entry salt", entry.salt),
            _bytes("entry digest", entry.digest(), f'HMAC-SHA-256(entry salt, tagged("{ENTRY_TAG}"))'),
            _bytes("manifest", entries.manifest, "LUOHU-SET, 01, three digests"),
            _bytes("digests shown", entry.digest(), "this file alone"),
            _bytes("shown hash", shown.shown_hash, f'H("{SHOWN_TAG}", digests shown)'),
        ],
        "a state key": [
            _items("anchor tuple", anchor_tuple, ["tag", "issuer", "root"]),
            _bytes("anchor key", anchor_key("hk-bureau", proof.anchor_root), "SHA-256(24 ‖ anchor tuple)"),
            _items("consent tuple", consent_tuple, ["tag", "consent_key", "consent_id"]),
            _bytes("consent key", state_key(consent_tuple), "SHA-256(24 ‖ consent tuple)"),
        ],
        "a block hash": [
            _items("header", header.encoded, _names(Header)),
            _bytes("tagged header", tagged(BLOCK_TAG, header.encoded)),
            _bytes("block hash", header.hash, "SHA-256(tagged header)"),
        ],
        "a signed body": [
            _items("vote body", body, ["chain_id", "epoch", "view", "parent_view", "block_hash"]),
            _bytes("signed bytes", tagged(VOTE_TAGS[FINALIZE], body)),
            _bytes("public key", key_of(f"{VALIDATORS[0]} validator").public.data, "Ed25519"),
            _bytes("signature", vote.signature),
        ],
        "a proof of presence": [
            _bytes("anchor value", anchor.value, "under the anchor key"),
            _bytes("bitmap", anchor.proof.bitmap, _explain_bitmap(anchor.proof.bitmap, anchor.proof.depth)),
            *(
                _bytes(f"sibling {number}", sibling, f"at depth {depth}")
                for number, (sibling, depth) in enumerate(zip(anchor.proof.siblings, depths, strict=True))
            ),
            _bytes("state root", header.header.state_root, "that of the header"),
        ],
    }
    return "\n".join(
        f"### Example: {title}\n\n```text\n" + "".join(parts) + "```\n" for title, parts in examples.items()
    )


def page_with(page: str, examples: str) -> str:
    """Return the page with these examples between the marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{examples}\n{END}{after}"


def _names(shape: type) -> list[str]:
    return [field.name for field in fields(shape)]


def _bytes(name: str, data: bytes, meaning: str = "") -> str:
    """Return a name and its bytes, in lines; what they are stands behind the last."""
    pieces = [data[at : at + LINE_BYTES] for at in range(0, len(data), LINE_BYTES)]
    meanings = [""] * (len(pieces) - 1) + [meaning]
    return f"{name}\n" + "".join(map(_line, pieces, meanings))


def _items(name: str, data: bytes, names: Sequence[str]) -> str:
    """Return a name and an encoded array: its head, then an item a line."""
    values = decode(data)
    assert isinstance(values, tuple) and len(values) == len(names)
    items = [encode(value) for value in values]
    head = data[: len(data) - sum(map(len, items))]
    lines = [_line(head, f"array of {len(items)}")]
    lines += [
        _line(item, f"{named} {_show(value)}".rstrip())
        for item, named, value in zip(items, names, values, strict=True)
    ]
    return f"{name}\n" + "".join(lines)


def _line(data: bytes, meaning: str) -> str:
    return f"  {data.hex():<{HEX_WIDTH}}  {meaning}".rstrip() + "\n"


def _show(value: Value) -> str:
    return "" if isinstance(value, bytes | tuple) else "None" if value is None else f"{value}"


def _depths(bitmap: bytes, depth: int) -> list[int]:
    """Return the depths at which a sibling is given, lowest first."""
    bits = "".join(f"{byte:08b}" for byte in bitmap)[:depth]
    return [level + 1 for level in reversed(range(depth)) if bits[level] == "1"]


def _explain_bitmap(bitmap: bytes, depth: int) -> str:
    bits = "".join(f"{byte:08b}" for byte in bitmap)
    return f"depth {depth}: {bits[:depth]}, padding {bits[depth:] or 'none'}"


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text("utf-8"), text()), encoding="utf-8")
