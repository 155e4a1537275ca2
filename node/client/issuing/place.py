"""Where a home keeps its issuer's register, and how a register that is lost is missed.

Rule 1: the register lies in `issued/`, a folder of its own: `data/` is what an operator may throw away.
Rule 2: one that lies in `data/`, where older releases kept it, is moved, whole, when it is first looked for. Where
there are two, nobody here chooses between them.
Rule 3: a register is made where evidence shows that this issuer never anchored, or where somebody asks for a new one.
Otherwise a missing or empty one is lost, and nothing is put in its place.
"""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ledger.rules.blocks import Block, transactions_root
from ledger.rules.operations import AnchorBatch
from ledger.rules.state import Anchor, Member, anchor_key, member_key
from node.client.answers import Proven
from node.client.issuing.register import REGISTER, RegisterError, take_lock, write_log_back
from node.client.ledgerclient import LedgerClient
from node.errors import BadAnswer
from node.files.durablefile import POSIX_FILES, PRIVATE_MODE, write_file
from node.files.reading import open_named

FOLDER: Final = "issued"
OLD_FOLDER: Final = "data"
BLOCKS_SEARCHED_MAX: Final = 10_000
"""How long a chain is searched for anchors of an issuer. On a longer one nobody asks whether it is the first time."""
PIECE_SIZE: Final = 1 << 20

LOST_CURE: Final = (
    "Restore issued/ from the newest backup: it alone can renew, list and correct what was issued. "
    "If none is left, or this is the first time, add --new-register."
)


def register_of_home(home: Path, *, wait_ms: int = 0) -> Path:
    """Return where the register of a home is, and move an old one there. Raises RegisterError or OSError.

    While another process has the old one it is waited for, up to `wait_ms`.
    """
    path, old = home / FOLDER / REGISTER, home / OLD_FOLDER / REGISTER
    if old.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        locks = [take_lock(path, wait_ms=wait_ms), take_lock(old, wait_ms=wait_ms)]
        try:
            if old.exists():
                _move(old, path)
        finally:
            for lock in locks:
                lock.release()
    return path


def is_missing(path: Path) -> bool:
    """Say whether nothing is there, or an empty file."""
    return not path.exists() or path.stat().st_size == 0


def missing(path: Path) -> RegisterError | None:
    """Return the error of a register that is not there; None where one is."""
    return _lost(path, "nothing" if not path.exists() else "an empty file") if is_missing(path) else None


async def require_first_time(ledger: LedgerClient, issuer: str, path: Path) -> None:
    """Return where evidence under the root shows that the issuer never anchored (rule 3).

    Raises RegisterError where it did or where the chain is too long to look, ClientError where no node shows it.
    """
    member = await ledger.current(Member, member_key(issuer), what=f"member {issuer}")
    if not isinstance(member, Proven):
        raise _lost(path, "nothing, and no trusted root to ask under")
    if member.height > BLOCKS_SEARCHED_MAX:
        raise _lost(
            path, f"nothing, and a chain of {member.height} blocks, which are too many to look through"
        )
    height, parent = 1, None
    while height <= member.height:
        blocks = await ledger.nodes.ask(lambda client, height=height: client.blocks(height))  # type: ignore[misc]
        for block, _ in blocks[: member.height - height + 1]:
            _check_follows(block, parent)
            parent = block.hash
            for operation in _anchors_of(block, issuer):
                await _require_shown(ledger, issuer, operation.root, path)
        if not blocks:
            raise _bad(f"block {height}", "nothing")
        height += len(blocks)
    if parent is not None and parent != member.block_hash:
        raise _bad(f"block {member.height} with hash {member.block_hash.hex()}", parent.hex())


async def _require_shown(ledger: LedgerClient, issuer: str, root: bytes, path: Path) -> None:
    """Raise RegisterError where evidence shows an anchor of the issuer; ClientError where none does."""
    found = await ledger.lasting(Anchor, anchor_key(issuer, root), lambda _: True, what="its anchor")
    where = f"nothing, while the ledger has an anchor of {issuer} in block {found.value.height}"
    raise _lost(path, where)


def _anchors_of(block: Block, issuer: str) -> Iterator[AnchorBatch]:
    for transaction in block.transactions:
        if transaction.body.sender == issuer:
            for operation in transaction.body.operations:
                if isinstance(operation, AnchorBatch):
                    yield operation


def _check_follows(block: Block, parent: bytes | None) -> None:
    if parent is not None and block.header.parent_hash != parent:
        raise _bad(f"block {block.header.height} on {parent.hex()}", block.header.parent_hash.hex())
    root = transactions_root(tuple(each.id for each in block.transactions))
    if root != block.header.transactions_root:
        raise _bad("the transactions under the header's root", root.hex())


def _move(old: Path, path: Path) -> None:
    if not is_missing(path):
        if _content(path) != _content(old):
            raise RegisterError(
                where=path,
                expected="one register",
                found=f"two: this one and {old}",
                cure="Keep the one that holds what was issued last, here; move the other out of the home.",
            )
        # A move across disks that a crash cut short.
        POSIX_FILES.remove(old)
        return
    # What is still in the log belongs to the file that moves.
    write_log_back(old)
    try:
        POSIX_FILES.rename(old, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        write_file(POSIX_FILES, path, _content(old), mode=PRIVATE_MODE)
        POSIX_FILES.remove(old)
    POSIX_FILES.sync_directory(path.parent)
    POSIX_FILES.sync_directory(old.parent)


def _content(path: Path) -> bytes:
    with open_named(path) as file:
        return b"".join(iter(lambda: file.read(PIECE_SIZE), b""))


def _lost(path: Path, found: str) -> RegisterError:
    return RegisterError(
        code="register-missing",
        where=path,
        expected="the register of what this issuer issued",
        found=found,
        cure=LOST_CURE,
    )


def _bad(expected: str, found: str) -> BadAnswer:
    cure = "Ask another node with --url."
    return BadAnswer(code="bad-answer", where="blocks", expected=expected, found=found, cure=cure)
