"""Auditing a running node: its blocks are fetched, and replayed here."""

import asyncio

from cli.nodes import connect
from cli.output import Progress
from ledger.audit import Audit, AuditReport, Finding
from node.client.client import Client


def audit_url(url: str, replay: Audit) -> AuditReport:
    """Replay what a node serves, up to the height at which it stands now. Raises CommandError."""
    return asyncio.run(_audit(url, replay))


async def _audit(url: str, replay: Audit) -> AuditReport:
    async with connect(url) as reader:
        status = await reader.status()
        progress = Progress("replaying", status.height)
        while replay.height < status.height:
            progress.update(replay.height)
            blocks = await reader.blocks(replay.height + 1)
            if not blocks:
                found = Finding(
                    replay.height + 1, "block", f"the blocks up to {status.height}", "none served"
                )
                replay.report.findings.append(found)
                break
            if not all(replay.replay(block, certificate) for block, certificate in blocks):
                break
        progress.finish()
        await _replay_to_certificate(replay, reader)
    return replay.finish()


async def _replay_to_certificate(replay: Audit, reader: Client) -> None:
    """Go on to the next certificate: what is last above may stand by a block that came meanwhile."""
    if replay.report.is_clean and replay.report.final_height < replay.height:
        for block, certificate in await reader.blocks(replay.height + 1):
            if not replay.replay(block, certificate) or certificate is not None:
                break
