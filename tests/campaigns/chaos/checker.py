"""The judge: what clients were told, beside what every node's log holds.

Rule 1: all logs are one log, as far as each goes.
Rule 2: an acknowledged transaction is in the log exactly once, at the height that was named.
Rule 3: a transaction that was refused for good is nowhere.
Rule 4: no transaction is in the log twice, and no record is made twice.
Rule 5: a read stands on a block of the log. Its record is there exactly if the log had made it by then; what
was revoked, ended or used stays so.
Rule 6: a rotation that was reported is in the log exactly once, at the height that was named.
"""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.encoding.records import unpack
from ledger.errors import LedgerError
from ledger.rules.blocks import Block
from ledger.rules.operations import AnchorBatch, RecordVerification, RevokeDocument, RotateTls
from ledger.rules.state import Anchor, Consent
from tests.campaigns.chaos.history import History, Read, Rotated, keys_created


@dataclass(slots=True)
class Judgement:
    """What is wrong, by kind, and what was compared."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    forked: list[str] = field(default_factory=list)
    resurrected: list[str] = field(default_factory=list)
    contradicted: list[str] = field(default_factory=list)
    height: int = 0
    transactions_count: int = 0

    @property
    def violations(self) -> list[str]:
        """Everything that is wrong."""
        return [*self.lost, *self.doubled, *self.forked, *self.resurrected, *self.contradicted]


def judge(history: History, logs: Mapping[str, Sequence[Block]]) -> Judgement:
    """Compare a history with every node's log, which begins at height 1."""
    found = Judgement()
    longest = max(logs.values(), key=len)
    found.height = len(longest)
    _judge_logs(found, logs, longest)
    heights = _heights(found, longest)
    found.transactions_count = len(heights)
    _judge_answers(found, history, heights, logs)
    _judge_reads(found, history.reads, longest)
    _judge_rotations(found, history.rotations, longest)
    found.contradicted += history.bad_answers
    return found


def _judge_logs(found: Judgement, logs: Mapping[str, Sequence[Block]], longest: Sequence[Block]) -> None:
    for member, log in logs.items():
        for block, canonical in zip(log, longest, strict=False):
            if block.hash != canonical.hash:
                height = block.header.height
                found.forked.append(
                    f"{member} has block {block.hash.hex()} at height {height}, others differ"
                )
                break


def _heights(found: Judgement, log: Iterable[Block]) -> dict[bytes, int]:
    heights: dict[bytes, int] = {}
    made: Counter[bytes] = Counter()
    for block in log:
        for transaction in block.transactions:
            if transaction.id in heights:
                found.doubled.append(
                    f"transaction {transaction.id.hex()} at heights {heights[transaction.id]} and "
                    f"{block.header.height}"
                )
            heights[transaction.id] = block.header.height
            for operation, key in zip(transaction.body.operations, keys_created(transaction), strict=True):
                if isinstance(operation, AnchorBatch | RecordVerification | RevokeDocument):
                    made[key] += 1
    found.doubled += [
        f"record {key.hex()} was made {count} times" for key, count in made.items() if count > 1
    ]
    return heights


def _judge_answers(
    found: Judgement, history: History, heights: Mapping[bytes, int], logs: Mapping[str, Sequence[Block]]
) -> None:
    for told in history.acknowledged:
        height = heights.get(told.id)
        if height != told.height:
            found.lost.append(
                f"transaction {told.id.hex()}: {told.member} said final at {told.height}, the log says {height}"
            )
        found.lost += [
            f"transaction {told.id.hex()}: final at {told.height}, {member} ends at {len(log)}"
            for member, log in logs.items()
            if len(log) < told.height
        ]
    for refused in history.refused:
        if refused.id in heights:
            found.resurrected.append(
                f"transaction {refused.id.hex()}: {refused.member} refused it ({refused.code}), the log has it "
                f"at height {heights[refused.id]}"
            )


def _judge_reads(found: Judgement, reads: Iterable[Read], log: Sequence[Block]) -> None:
    made = _first_heights(log)
    by_key: dict[bytes, list[Read]] = {}
    for read in reads:
        where = f"read of {read.key.hex()} from {read.member} at height {read.height}"
        if not 1 <= read.height <= len(log) or log[read.height - 1].hash != read.block_hash:
            found.contradicted.append(f"{where}: block {read.block_hash.hex()} is not in the log")
            continue
        height = made.get(read.key)
        is_made = height is not None and height <= read.height
        if is_made != (read.value is not None):
            found.contradicted.append(f"{where}: {'absent' if is_made else 'present'}, made at {height}")
        by_key.setdefault(read.key, []).append(read)
    for same in by_key.values():
        same.sort(key=lambda read: read.height)
        for before, after in itertools.pairwise(same):
            if before.height == after.height and before.value != after.value:
                found.contradicted.append(f"two values of {before.key.hex()} at height {before.height}")
            if _has_gone_back(before.value, after.value):
                found.contradicted.append(
                    f"{before.key.hex()} went back between heights {before.height} and {after.height}"
                )


def _judge_rotations(found: Judgement, rotations: Iterable[Rotated], log: Iterable[Block]) -> None:
    heights: dict[tuple[str, int], list[int]] = {}
    for block in log:
        for transaction in block.transactions:
            for operation in transaction.body.operations:
                if isinstance(operation, RotateTls):
                    key = (transaction.body.sender, operation.sequence)
                    heights.setdefault(key, []).append(block.header.height)
    for told in rotations:
        found_at = heights.get((told.member, told.sequence), [])
        if len(found_at) != 1 or told.height not in (None, *found_at):
            found.lost.append(
                f"rotation {told.sequence} of {told.member}, final at {told.height}: the log has it at {found_at}"
            )


def _first_heights(log: Iterable[Block]) -> dict[bytes, int]:
    made: dict[bytes, int] = {}
    for block in log:
        for transaction in block.transactions:
            for key in keys_created(transaction):
                made.setdefault(key, block.header.height)
    return made


def _has_gone_back(before: bytes | None, after: bytes | None) -> bool:
    if before is None:
        return False
    if after is None:
        return True
    match _decode(before), _decode(after):
        case Anchor() as old, Anchor() as new:
            return old.height != new.height or (old.revoked is not None and old.revoked != new.revoked)
        case Consent() as old, Consent() as new:
            ended = old.ended is not None and old.ended != new.ended
            return ended or old.used > new.used or (old.granted is not None and old.granted != new.granted)
        case old, new:
            return old != new


def _decode(value: bytes) -> Anchor | Consent | bytes:
    """Return what can change its content with time; other records as they are."""
    with contextlib.suppress(LedgerError):
        return unpack(Anchor, value)
    with contextlib.suppress(LedgerError):
        return unpack(Consent, value)
    return value
