"""An anchor leaf with an item that its shape does not have."""

from dataclasses import replace

import msgpack

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    value = msgpack.unpackb(shown.proof.evidence.anchor.value, raw=False)
    longer = msgpack.packb([*value, None], use_bin_type=True)
    return shown.evidence_with(anchor=replace(shown.proof.evidence.anchor, value=longer))


FORGERY = Forgery(honest, forge, step="anchor", code="anchor-unproven")


def test_anchor_with_an_item_more_is_refused() -> None:
    FORGERY.check()
