"""The families of errors that a node, its clients and its commands share.

Rule 1: any room may import this module: nothing of the node, and no library, stands behind it.
Rule 2: what a user meets carries its cure.
"""

from pathlib import Path

from ledger.errors import LuohuError


class NodeError(LuohuError):
    """Something that a user meets at a node, at its files or at its client. It says what to do about it."""

    cure: str

    def __init__(self, *, where: str, expected: str, found: str, cure: str, code: str | None = None) -> None:
        super().__init__(where=where, expected=expected, found=found, code=code, cure=cure)


class SetupError(NodeError):
    """The user's own set-up is wrong: a home, a key, a file, a configuration, a disk."""

    code = "configuration"

    def __init__(
        self, *, where: Path | str, expected: str, found: str, cure: str, code: str | None = None
    ) -> None:
        super().__init__(where=f"{where}", expected=expected, found=found, cure=cure, code=code)


class RulesUnknown(SetupError):
    """The network follows rules that this release does not know: the node stops before their first block."""

    code = "unknown-protocol"


class StoreError(SetupError):
    """The stored chain cannot be used."""

    def __init__(self, *, expected: str, found: str, cure: str) -> None:
        super().__init__(where="stored chain", expected=expected, found=found, cure=cure)


class StoreRefused(StoreError):
    """The disk or the system refuses the stored chain: full, read-only, not ours, or failing. No damage is meant."""


class VoteLogError(SetupError, OSError):
    """The vote log cannot be used; the node does not vote."""


class MempoolError(NodeError):
    """A transaction that is not taken now."""

    def __init__(self, *, code: str, expected: str, found: str, cure: str) -> None:
        super().__init__(code=code, where="mempool", expected=expected, found=found, cure=cure)


class NotReady(NodeError):
    """The node cannot answer yet. `found` says what it waits for."""

    code = "not-ready"

    def __init__(self, *, found: str) -> None:
        cure = "Wait a moment; GET /v1/ready says when."
        super().__init__(where="node", expected="a node that is ready", found=found, cure=cure)


class ClientError(NodeError):
    """What a client may meet at a node."""

    def __init__(self, *, code: str, where: str, expected: str, found: str, cure: str) -> None:
        super().__init__(code=code, where=where, expected=expected, found=found, cure=cure)


class Unreachable(ClientError):
    """The node does not answer, or is not ready."""


class RefusedByNode(ClientError):
    """The node's answer is no."""


class BadAnswer(ClientError):
    """What came is not an answer of this API."""


class Unproven(BadAnswer):
    """What a node says, without evidence under the caller's trusted root, or with too old a one."""

    code = "unproven"


class NodeStopped(Exception):
    """The node met its own broken invariant and stopped. The message says what to do."""
