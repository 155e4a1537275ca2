"""An extension type, which decoders may turn into anything."""

from typing import Any

import msgpack

from tests.attacks.forge import Forgery, Shown, honest


def forge(shown: Shown) -> Shown:
    def edit(proof: list[Any]) -> None:
        proof[6] = msgpack.ExtType(1, b"presentation")

    return shown.value_with(edit)


FORGERY = Forgery(honest, forge, step="files", code="proof-malformed")


def test_extension_type_is_refused() -> None:
    FORGERY.check()
