"""The issuer's register as commands use it: found in its home, missed where it is lost, lent to one at a time.

Rule 1: a register in use is waited for, up to `--wait`. Whoever writes many proofs lends it out again after
CHUNK of them, so that one clerk's document does not wait for another's batch.
Rule 2: a missing or empty register is made only for a first time that evidence shows, or with `--new-register`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import click

from cli import times
from cli.homes import SigningMember
from cli.output import Progress, warn
from cli.times import to_duration
from ledger.encoding.records import Json
from ledger.trust import TrustedRoot
from node.client.issuing.outbox import Outbox, Settled
from node.client.issuing.place import is_missing, register_of_home, require_first_time
from node.client.issuing.register import Issued, Register
from node.client.ledgerclient import LedgerClient
from node.client.nodes import Nodes
from node.clock import Clock

CHUNK: Final = 512
"""How many proofs are written before the register is lent to others."""
LEND_S: Final = 0.05

WAIT: Final = click.option(
    "--wait",
    "wait_ms",
    type=to_duration,
    default="1m",
    show_default=True,
    metavar="DURATION",
    help="How long to wait while another process has the register.",
)
NEW_REGISTER: Final = click.option(
    "--new-register", is_flag=True, help="Begin a new register where there is none, or an empty one."
)


@dataclass(frozen=True, slots=True)
class Counter:
    """What an issuer's command works with: its member, its root, its nodes, and how it comes to its register."""

    member: SigningMember
    root: TrustedRoot
    nodes: Nodes
    clock: Clock
    wait_ms: int
    is_new: bool = False

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Outbox]:
        """Lend the register, with the outbox that serves it. Raises RegisterError, ClientError or OSError."""
        path = register_of_home(self.member.home.path, wait_ms=self.wait_ms)
        if is_missing(path) and not self.is_new:
            await self._require_first_time()
        with Register.open(
            path, chain_id=self.member.chain_id, issuer=self.member.id, wait_ms=self.wait_ms
        ) as register:
            if not register.counts() and not self.is_new:
                await self._require_first_time()
            yield Outbox(register, self.nodes, key=self.member.key, trust=self.root, clock=self.clock)

    async def _require_first_time(self) -> None:
        path = register_of_home(self.member.home.path)
        await require_first_time(LedgerClient(self.nodes, self.root, times.now_ms), self.member.id, path)

    async def deliver(self, ids: Collection[int]) -> Settled:
        """Write the proofs of documents, CHUNK at a time, and show how far it is. Raises as `lend`, and Unreachable."""
        progress = Progress("writing proofs", len(ids))
        settled, failed = Settled((), (), ()), set[int]()
        try:
            while True:
                async with self.lend() as outbox:
                    left = outbox.register.undelivered_ids(only=ids)
                    chunk = [each for each in left if each not in failed][:CHUNK]
                    if not chunk:
                        return settled
                    done = await outbox.deliver_all(chunk, progress=_shifted(progress, len(ids) - len(left)))
                failed |= {each.id for each, _ in done.unwritten}
                settled += done
                await _pause(LEND_S)
        finally:
            progress.finish()


async def _pause(seconds: float) -> None:
    """Leave the register to whoever waits for it."""
    await asyncio.sleep(seconds)


def _shifted(progress: Progress, before_count: int) -> Callable[[int], None]:
    return lambda count: progress.update(before_count + count)


def left_behind(settled: Settled) -> list[dict[str, Json]]:
    """Return what a pass left behind, as keys of a JSON answer: each document with the reason."""
    refused: list[dict[str, Json]] = [
        {
            "number": each.id,
            "file": None if each.proof_path is None else f"{each.proof_path}",
            "state": f"{each.state}",
            "code": "refused" if each.refusal is None else each.refusal.code,
            "found": "" if each.refusal is None else each.refusal.found,
        }
        for each in settled.refused
    ]
    unwritten: list[dict[str, Json]] = [
        {
            "number": each.id,
            "file": f"{each.proof_path}",
            "state": f"{each.state}",
            "code": "path",
            "found": error.strerror or type(error).__name__,
        }
        for each, error in settled.unwritten
    ]
    return refused + unwritten


def left_rows(settled: Settled) -> list[tuple[str, str]]:
    """Return the lines that name what a pass left behind."""
    return [
        (
            "refused" if each["state"] == "refused" else "not written",
            f"{each['number']}: {each['file'] or 'no file'} [{each['code']}] {each['found']}",
        )
        for each in left_behind(settled)
    ]


def tell_waiting(count: int) -> None:
    """Say that other documents wait, which this command leaves to whoever asks for them."""
    if count:
        warn(f"{count} documents of earlier calls wait in the register: `luohu issued retry` finishes them")


def name_of(issued: Issued) -> str:
    """Return what a document is called where one speaks of it."""
    return (
        f"document {issued.id}" if issued.reference is None else f"document {issued.id} ({issued.reference})"
    )
