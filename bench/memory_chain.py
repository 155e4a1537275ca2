"""A chain in memory with the published development keys: what benchmarks of the rules start from."""

import random
from dataclasses import replace
from typing import Final

from ledger.chain.execution import build_block
from ledger.chain.overlays import Executed, Overlay, Tip
from ledger.encoding.records import pack
from ledger.genesis import genesis_block
from ledger.rules.blocks import Block, EncodedHeader
from ledger.rules.certificates import FINALIZE, VOTE_TAGS, QuorumCertificate, SignedBy, Subject
from ledger.rules.leaders import leader_index
from ledger.rules.operations import AnchorBatch, Operation
from ledger.rules.state import Anchor
from ledger.rules.transactions import Transaction, TransactionBody, VerifiedTransactions
from ledger.trees.statepages import update
from ledger.trees.statetree import value_hash
from node.consent.scenarios import load_scenarios, scenarios_directory
from node.home.consortium import development_genesis
from node.home.development import development_key

ISSUER: Final = "hk-bureau"
SCHEMA: Final = "hk.credit-report"
RECORDS_PER_BLOCK: Final = 1_000


class MemoryChain:
    """The state of the newest block; every block is certified by a quorum of the development keys."""

    def __init__(self) -> None:
        self.genesis = development_genesis(load_scenarios(scenarios_directory()))
        self.validators = self.genesis.content.validators
        self.now_ms = self.genesis.content.time_ms
        self._keys = [development_key(each.member, "validator") for each in self.validators.validators]
        self._values: dict[bytes, bytes] = {}
        self._pages: dict[bytes, bytes] = {}
        self._take(genesis_block(self.genesis.content))

    def find_value(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def load_page(self, path: bytes) -> bytes | None:
        return self._pages.get(path)

    def extend(self, sender: str, *operations: Operation) -> None:
        """Make the next block of one transaction."""
        self.now_ms += 1_000
        body = TransactionBody(self.genesis.content.chain_id, sender, self.now_ms + 60_000, tuple(operations))
        transaction = Transaction.sign(body, development_key(sender, "member"))
        view = self.tip.header.view + 1
        leader = leader_index(epoch=0, view=view, validators_count=len(self.validators))
        executed, refused = build_block(
            self.tip,
            [transaction],
            view=view,
            proposer=self.validators.validators[leader].member,
            now_ms=self.now_ms,
            verified=VerifiedTransactions(),
        )
        if refused:
            raise refused[0][1]
        self._take(executed)

    def fill(self, records_count: int) -> None:
        """Put that many anchors into the state."""
        source = random.Random("records")
        for start in range(0, records_count, RECORDS_PER_BLOCK):
            count = min(RECORDS_PER_BLOCK, records_count - start)
            self.extend(ISSUER, *(AnchorBatch(source.randbytes(32), 1, SCHEMA, None) for _ in range(count)))

    def hold(self, records_count: int) -> None:
        """Put that many anchors into the state at once, by one block that no transactions explain.

        The tree is the one that as many anchor operations make. Only audits would ask for those.
        """
        source, header = random.Random("records"), self.tip.header
        self.now_ms += 1_000
        values: dict[bytes, bytes] = {}
        for _ in range(records_count):
            leaf = Anchor(
                issuer=ISSUER,
                root=source.randbytes(32),
                leaf_count=1,
                schema=SCHEMA,
                bearer=0,
                schema_version=0,
                listed=0,
                expires_ms=None,
                height=header.height + 1,
                time_ms=self.now_ms,
                issuer_version=1,
                key_sequence=0,
                revoked=None,
            )
            values[leaf.state_key()] = pack(leaf)
        changes = [(key, value_hash(values[key])) for key in sorted(values)]
        tree = update(self, header.state_root, changes)
        encoded_header = EncodedHeader.encode(
            replace(
                header,
                height=header.height + 1,
                view=header.view + 1,
                time_ms=self.now_ms,
                parent_hash=self.tip.encoded_header.hash,
                state_root=tree.root,
                history_root=self.tip.history.root(),
            )
        )
        history, _ = self.tip.history.append(encoded_header.hash)
        self._take(Executed(Block(encoded_header, ()), Overlay(values, tree.pages, self), history))

    def certificate(self) -> QuorumCertificate:
        """Certify the newest block with a quorum."""
        header = self.tip.header
        subject = Subject(FINALIZE, 0, header.view, header.view - 1, self.tip.encoded_header.hash)
        body = subject.body(self.genesis.content.chain_id)
        signers = self._keys[: self.validators.quorum]
        return QuorumCertificate(
            subject,
            tuple(SignedBy(index, key.sign(VOTE_TAGS[FINALIZE], body)) for index, key in enumerate(signers)),
        )

    def _take(self, executed: Executed) -> None:
        self._values.update(executed.overlay.values)
        for path, page in executed.overlay.pages.items():
            if page is None:
                del self._pages[path]
            else:
                self._pages[path] = page
        self.block = executed.block
        self.tip = Tip(executed.block.encoded_header, self, executed.history)
