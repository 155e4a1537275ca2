"""What members submit: operations, signed as a transaction of theirs, recorded once.

Rule 1: a transaction is short-lived: what was not recorded within a minute is signed anew.
Rule 2: what was recorded before is no failure: whoever repeats a step after a crash is done with it.
"""

from typing import Final

from ledger.encoding.keys import PrivateKey
from ledger.rules.operations import Operation
from ledger.rules.transactions import Transaction, TransactionBody
from node.client.client import Client, Result

VALIDITY_MS: Final = 60_000


def sign_operations(
    *, chain_id: bytes, member: str, key: PrivateKey, now_ms: int, operations: tuple[Operation, ...]
) -> Transaction:
    """Return a transaction of a member that may be recorded for a minute."""
    return Transaction.sign(TransactionBody(chain_id, member, now_ms + VALIDITY_MS, operations), key)


async def submit_once(client: Client, transaction: Transaction) -> Result | None:
    """Have a transaction recorded; None where it was recorded before. Raises RefusedByNode or Unreachable."""
    (result,) = await client.submit([transaction])
    if result.refusal is not None and result.refusal.code == "already-recorded":
        return None
    return result.require_final()


async def submit_operations(
    client: Client,
    *operations: Operation,
    chain_id: bytes,
    member: str,
    key: PrivateKey,
    now_ms: int,
) -> Result | None:
    """Sign operations of a member and have them recorded; None where they were recorded before.

    Raises RefusedByNode or Unreachable.
    """
    signed = sign_operations(chain_id=chain_id, member=member, key=key, now_ms=now_ms, operations=operations)
    return await submit_once(client, signed)
