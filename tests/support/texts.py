"""Text bundles made of others."""

from dataclasses import replace

from node.consent.textbundle import PackedTexts


def with_party(packed: PackedTexts, member: str, *, contact: str = "somebody else") -> PackedTexts:
    """Return texts that say something of one more institution, or something else of one that they have."""
    bundle = packed.bundle
    known = bundle.find_party(member) or bundle.parties[0]
    others = [each for each in bundle.parties if each.member != member]
    parties = sorted([*others, replace(known, member=member, contact=contact)], key=lambda each: each.member)
    return PackedTexts.pack(replace(bundle, parties=tuple(parties)))
