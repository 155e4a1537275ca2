"""Checkpoints: a block fetched from a node, verified under genesis, and then pinned.

Rule 1: the block stands by the certificate of a block at or above it, and by the parent hashes between them.
Rule 2: trust comes from the root alone, whatever node handed the blocks over.
"""

import asyncio
from itertools import pairwise
from typing import Final

from cli.exits import NO, CommandError
from cli.nodes import connect
from cli.times import now_ms
from ledger.errors import LedgerError
from ledger.rules.blocks import EncodedHeader
from ledger.rules.certificates import QuorumCertificate
from ledger.trust import Checkpoint, Pins, TrustedRoot, TrustPath, verify_header

VALID_UNTIL_MS: Final = 2**53 - 1
BLOCKS_ABOVE_MAX: Final = 1_024


def fetch_checkpoint(root: TrustedRoot, height: int, url: str) -> Checkpoint:
    """Return the block at a height as a checkpoint, verified under the root. Raises CommandError."""
    return asyncio.run(_fetch(root, height, url))


async def _fetch(root: TrustedRoot, height: int, url: str) -> Checkpoint:
    headers: list[EncodedHeader] = []
    async with connect(url) as reader:
        path = await reader.trust_path()
        while len(headers) < BLOCKS_ABOVE_MAX:
            blocks = await reader.blocks(height + len(headers))
            if not blocks:
                break
            for block, certificate in blocks:
                headers.append(block.encoded_header)
                if certificate is not None:
                    return _verified(root, height, headers, certificate, path)
    raise CommandError(
        exit_code=NO,
        where=f"block {height}",
        expected="a final block with a certificate at or above it",
        found="no such block at this node"
        if not headers
        else f"none up to block {height + len(headers) - 1}",
        cure="Name a lower height: `luohu node status --url URL` shows how far the node is.",
        code="unknown",
    )


def _verified(
    root: TrustedRoot,
    height: int,
    headers: list[EncodedHeader],
    certificate: QuorumCertificate,
    served: TrustPath,
) -> Checkpoint:
    pinned, certified = headers[0], headers[-1]
    epoch = certified.header.epoch
    path = TrustPath(0, served.handovers[:epoch], None)
    try:
        if pinned.header.height != height:
            raise LedgerError(where="block", expected=f"height {height}", found=f"{pinned.header.height}")
        verify_header(Pins(root), certified.encoded, certificate, path, at_ms=now_ms())
        for below, above in pairwise(headers):
            if above.header.parent_hash != below.hash:
                raise LedgerError(
                    where=f"block {below.header.height}",
                    expected=above.header.parent_hash.hex(),
                    found=below.hash.hex(),
                )
    except LedgerError as error:
        raise CommandError(
            exit_code=NO,
            where=error.where,
            expected=error.expected,
            found=error.found,
            cure="Do not pin what this node serves; ask another node, and tell the operator.",
            code=error.code,
        ) from error
    # A seal has a certificate of its own, so the walk up to the first one stayed in an epoch.
    assert pinned.header.epoch == epoch, "a seal is finalized directly"
    sets = (root.genesis.content.validators, *(handover.next_validators for handover in path.handovers))
    return Checkpoint(
        height=pinned.header.height,
        block_hash=pinned.hash,
        epoch=epoch,
        validators=sets[epoch],
        valid_from_ms=0,
        valid_until_ms=VALID_UNTIL_MS,
    )
