"""Transactions on their way into a block: admitted from clients, gossiped by peers, spread, refused, dropped.

Rule 1: what a peer sent is looked at a few at a time, so that signature checks never stand between two messages
of consensus. A block that waits for one takes it at once.
Rule 2: what was submitted here is spread again until it is final: gossip is lost with a connection.
Rule 3: what does not apply on an unfinalized parent is kept out of blocks until that parent is final or abandoned,
and only then refused, judged by the final state and time: this node's own clock may be wrong.
Rule 4: where plenty waits already, looking at more takes a quarter of the loop's time at most. The next blocks are full
anyway, and whoever fills them costs consensus no more than that.
"""

from collections.abc import Callable, Set
from typing import Final

from ledger.errors import LedgerError
from ledger.rules.blocks import Header
from ledger.rules.standing import Refused
from ledger.rules.transactions import Transaction, transaction_id
from node.chain.chain import Chain
from node.clock import Clock
from node.errors import MempoolError
from node.measurements import NOT_MEASURED, Measurements
from node.messages import Gossip
from node.replica.gossipqueue import GossipQueue
from node.replica.mempool import Mempool
from node.replica.serving import gossips

GOSSIP_PER_TICK_MAX: Final = 32
PLENTY_COUNT: Final = 1_024
"""What waits for the next blocks, several of them, whatever else comes."""
REST_FACTOR: Final = 3
"""How long a look at more is followed by none, beside what it took."""
SPREAD_AGAIN_MS: Final = 3_000
SPREAD_AGAIN_MAX: Final = 256
PENDING_SET: Final = "pending-set"


class Intake:
    """The mempool, what waits before it, and what was promised to clients about it."""

    def __init__(
        self,
        *,
        chain: Chain,
        mempool: Mempool,
        clock: Clock,
        broadcast: Callable[[Gossip], None],
        note_offence: Callable[[str, LedgerError], None],
        on_refused: Callable[[Transaction, LedgerError], None],
        measurements: Measurements = NOT_MEASURED,
    ) -> None:
        self._chain = chain
        self.mempool = mempool
        self._clock = clock
        self._broadcast = broadcast
        self._note_offence = note_offence
        self._on_refused = on_refused
        self._measurements = measurements
        self.gossip_queue = GossipQueue()
        self._rests_until_ms = 0
        # When what waits was first admitted here from a client. All of it is in the mempool, which bounds it.
        self._admitted_ms: dict[bytes, int] = {}
        # What was submitted here and waits, in order.
        self._spread: dict[bytes, None] = {}
        self._spread_again_at_ms = 0
        # By what height the parent on which it did not apply is final, or abandoned.
        self._refused_above: dict[bytes, int] = {}

    # -- what comes in ----------------------------------------------------------------------------------

    def admit(self, transaction: Transaction) -> bool:
        """Take a client's transaction into the mempool; say whether it is new.

        Raises LedgerError or MempoolError.
        """
        is_new = self._take(transaction)
        is_waiting = is_new or self.mempool.find(transaction.id) is not None
        if is_waiting:
            self._admitted_ms.setdefault(transaction.id, self._clock.monotonic_ms())
        if is_waiting and not is_new:
            # It came by gossip from a node that may have lost it since; the client asks for it here.
            self._spread[transaction.id] = None
        return is_new

    def receive(self, peer: str, gossip: Gossip) -> bool:
        """Let a peer's transactions wait; say whether a block waited for one of them. Raises LedgerError."""
        is_wanted = False
        for encoded in gossip.transactions:
            identity = transaction_id(encoded)
            if self.mempool.find(identity) is not None:
                continue
            if self._chain.is_wanted(identity):
                is_wanted = self._chain.take_transaction(Transaction.decode(encoded)) or is_wanted
            self.gossip_queue.put(peer, identity, encoded)
        return is_wanted

    @property
    def rest_factor(self) -> int:
        """How long to rest after looking at transactions, beside what that took (rule 4)."""
        return REST_FACTOR if self.mempool.count >= PLENTY_COUNT else 0

    @property
    def next_look_ms(self) -> int | None:
        """When to look at what peers sent; None where there is nothing."""
        return self._rests_until_ms if self.gossip_queue else None

    def look_at_gossip(self) -> bool:
        """Look at some of the transactions that peers sent; say whether it was time to."""
        began_ms = self._clock.monotonic_ms()
        if not self.gossip_queue or began_ms < self._rests_until_ms:
            return False
        self._look_at_some()
        ended_ms = self._clock.monotonic_ms()
        self._measurements.peer_signatures((ended_ms - began_ms) / 1000)
        self._rests_until_ms = ended_ms + self.rest_factor * (ended_ms - began_ms)
        return True

    def _look_at_some(self) -> None:
        for peer, encoded in self.gossip_queue.take(GOSSIP_PER_TICK_MAX):
            try:
                transaction = Transaction.decode(encoded)
            except LedgerError as error:
                self.gossip_queue.forget(peer)
                self._note_offence(peer, error)
                continue
            try:
                self._take(transaction)
            except (LedgerError, MempoolError):
                # Lawful: the sender may be ahead of us, or our pool full. Proposals fetch what they need.
                continue

    def _take(self, transaction: Transaction) -> bool:
        if self.mempool.find(transaction.id) is not None:
            return False
        if self._chain.store.find_transaction(transaction.id) is not None:
            return False
        # The cheap question first: who has had his share makes nobody check a signature.
        self.mempool.check_room(transaction)
        self._chain.check_transaction(transaction, self._clock.wall_ms())
        self.mempool.add(transaction)
        return True

    # -- spreading --------------------------------------------------------------------------------------

    def spread(self, transactions: list[Transaction]) -> None:
        """Send transactions that were admitted here to every peer, and again until they are final."""
        for gossip in gossips(transactions):
            self._broadcast(gossip)
        if not self._spread:
            self._spread_again_at_ms = self._clock.monotonic_ms() + SPREAD_AGAIN_MS
        self._spread.update((transaction.id, None) for transaction in transactions)

    def spread_again(self) -> None:
        """Spread anew what was submitted here and waits still, where it is time.

        A validator would record it in its own turn; one that only follows has none.
        """
        now_ms = self._clock.monotonic_ms()
        if not self._spread or now_ms < self._spread_again_at_ms:
            return
        self._spread_again_at_ms = now_ms + SPREAD_AGAIN_MS
        waiting = [found for each in self._spread if (found := self.mempool.find(each)) is not None]
        self._spread = dict.fromkeys(transaction.id for transaction in waiting)
        for gossip in gossips(waiting[:SPREAD_AGAIN_MAX]):
            self._broadcast(gossip)

    # -- what blocks are made of ------------------------------------------------------------------------

    def find(self, identity: bytes) -> Transaction | None:
        """Return a transaction that a block needs, from wherever it waits here. Raises LedgerError."""
        found = self.mempool.find(identity) or self._chain.find_body(identity)
        if found is not None:
            return found
        encoded = self.gossip_queue.pop(identity)
        return None if encoded is None else Transaction.decode(encoded)

    def pick(self, count_max: int, above: Set[bytes]) -> list[Transaction]:
        """Return what to try for a block that stands on blocks with the ids `above`."""
        return self.mempool.pick(count_max=count_max, excluded=above | self._refused_above.keys())

    def wants_block(self, above: Set[bytes]) -> bool:
        """Say whether something waits that is not among the ids `above` and may apply there."""
        return any(
            identity not in above and identity not in self._refused_above for identity in self.mempool.ids()
        )

    def note_refused(self, transaction: Transaction, parent_height: int) -> None:
        """Keep what did not apply on a parent out of blocks until that parent is final or abandoned."""
        self._refused_above[transaction.id] = parent_height

    # -- finality ---------------------------------------------------------------------------------------

    def became_final(self, final_ids: list[bytes], tip: Header) -> None:
        """Drop what is final; refuse what can be recorded no longer, and what does not apply on the tip."""
        self.mempool.remove(final_ids)
        self._measure_finality(final_ids)
        for transaction in self.mempool.expire(tip.time_ms):
            self._admitted_ms.pop(transaction.id, None)
            expected, found = (
                f"a block until {transaction.body.valid_until_ms}",
                f"a final one of {tip.time_ms}",
            )
            self._on_refused(
                transaction, Refused(code="expired", where="valid_until_ms", expected=expected, found=found)
            )
        for identity, height in list(self._refused_above.items()):
            if height <= tip.height:
                del self._refused_above[identity]
                self._judge(identity, tip)

    def _measure_finality(self, final_ids: list[bytes]) -> None:
        now_ms = self._clock.monotonic_ms()
        for identity in final_ids:
            admitted_ms = self._admitted_ms.pop(identity, None)
            if admitted_ms is not None:
                self._measurements.finality((now_ms - admitted_ms) / 1000)

    def _judge(self, identity: bytes, tip: Header) -> None:
        """Refuse what did not apply above the tip and does not on it: the block above may have been abandoned."""
        waiting = self.mempool.find(identity)
        if waiting is None:
            return
        try:
            self._chain.check_transaction(waiting, tip.time_ms)
        except LedgerError as error:
            if error.code == PENDING_SET:
                # The next block is the seal, after which it may apply: others keep it as well.
                return
            self.mempool.remove([identity])
            self._admitted_ms.pop(identity, None)
            self._on_refused(waiting, error)

    def clear(self) -> None:
        """Drop everything that waits for blocks: a snapshot was installed.

        Whether the blocks that were passed over hold any of these cannot be seen here: nothing is said of them.
        """
        self._refused_above.clear()
        self._admitted_ms.clear()
        self.mempool.clear()
