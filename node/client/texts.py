"""Texts from nodes: a bundle is what its hash says, whoever sent it (docs/texts.md).

Rule 1: what a node sends is decoded strictly, and its hash is computed here. Another bundle than was asked for is
refused as that node's lie, and the next one is asked.
Rule 2: a notice's version settles the notice alone. What else such a bundle says, the addresses of institutions
among it, is the nodes' word: all of them are asked, and where two send different bundles none is taken.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from ledger.errors import LedgerError
from node.client.client import Client
from node.client.nodes import Nodes
from node.consent.textbundle import PackedTexts
from node.errors import BadAnswer, ClientError

TEXTS_DIFFER: Final = "texts-differ"


async def fetch_texts(nodes: Nodes, texts_hash: bytes) -> PackedTexts:
    """Return the bundle of a 32-byte hash (rule 1). Raises RefusedByNode, BadAnswer or Unreachable."""

    async def ask(client: Client) -> PackedTexts:
        packed = _decoded(client, await client.texts(texts_hash))
        if packed.hash != texts_hash:
            raise _lie(client, f"the text bundle {texts_hash.hex()}", packed.hash.hex())
        return packed

    return await nodes.ask(ask)


async def fetch_texts_of_notice(nodes: Nodes, version: bytes) -> PackedTexts:
    """Return the one bundle that nodes send for a notice's 32-byte version (rule 2).

    Raises BadAnswer with code `texts-differ` where they send several; RefusedByNode, BadAnswer or Unreachable where
    none sends one.
    """
    clients = nodes.clients
    answers = await asyncio.gather(
        *(_ask_for_notice(each, version) for each in clients), return_exceptions=True
    )
    found: dict[bytes, PackedTexts] = {}
    failures: list[ClientError] = []
    for answer in answers:
        if isinstance(answer, PackedTexts):
            found.setdefault(answer.hash, answer)
        elif isinstance(answer, ClientError):
            failures.append(answer)
        else:
            raise answer
    if not found:
        raise failures[0]
    if len(found) > 1:
        raise _different(version, sorted(found))
    return next(iter(found.values()))


async def _ask_for_notice(client: Client, version: bytes) -> PackedTexts:
    packed = _decoded(client, await client.texts(version))
    if packed.bundle.find_notice_by_version(version) is None:
        raise _lie(client, f"texts with the notice {version.hex()}", f"{packed.hash.hex()}, which lack it")
    return packed


def _decoded(client: Client, encoded: bytes) -> PackedTexts:
    try:
        return PackedTexts.decode(encoded)
    except LedgerError as error:
        raise _lie(client, error.expected, error.found) from error


def _lie(client: Client, expected: str, found: str) -> BadAnswer:
    cure = "Do not believe this node. Ask another one with --url, or name the texts yourself with --texts."
    return BadAnswer(
        code="bad-texts", where=f"texts of {client.url}", expected=expected, found=found, cure=cure
    )


def _different(version: bytes, hashes: Sequence[bytes]) -> BadAnswer:
    cure = "Ask the bank for the hash of its texts, and name it: --texts-hash."
    return BadAnswer(
        code=TEXTS_DIFFER,
        where=f"texts with the notice {version.hex()[:16]}",
        expected="one bundle from all nodes",
        found=" and ".join(each.hex() for each in hashes),
        cure=cure,
    )
