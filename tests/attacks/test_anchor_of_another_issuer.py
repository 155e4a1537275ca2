"""The same root, anchored by another issuer, who copied it from the chain."""

from dataclasses import replace

from ledger.rules.state import anchor_key
from tests.attacks.forge import PLAIN, Forgery, Shown, decode_anchor, honest, make_scene, show


def forge(shown: Shown) -> Shown:
    copied = replace(decode_anchor(shown), issuer="mainland-bureau")
    copying = show(make_scene(others=(copied,)))
    other = copying.chain.prove(PLAIN, anchor_key("mainland-bureau", copied.root))
    return copying.evidence_with(anchor=other)


FORGERY = Forgery(honest, forge, step="anchor", code="anchor-unproven")


def test_anchor_of_another_issuer_is_refused() -> None:
    FORGERY.check()
