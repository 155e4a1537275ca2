"""Trusted roots: what their checkpoints may be, and what a checkpoint means outside its window."""

import json
from dataclasses import replace

import pytest

from ledger.errors import LedgerError
from ledger.trust import (
    Checkpoint,
    Pins,
    TrustedRoot,
    TrustError,
    TrustPath,
    check_replaces,
    parse_trusted_root,
    trusted_root_to_json,
    verify_header,
)
from tests.attacks.forge import (
    FIRST_SEAL,
    MIDDLE,
    NOW_MS,
    PINNED,
    SETS,
    TIP,
    Shown,
    certify,
    header_with,
    honest_from_checkpoint,
)
from tests.support.consortium import DAY_MS, START_MS, make_content, make_genesis
from tests.support.forging import with_fields


def root_with(shown: Shown, *heights: int) -> TrustedRoot:
    pins = tuple(shown.chain.checkpoint(height) for height in heights)
    return TrustedRoot(1, shown.chain.genesis, pins)


def test_checkpoints_stand_in_order_of_height_with_epochs_that_never_fall() -> None:
    shown = honest_from_checkpoint()
    root = root_with(shown, FIRST_SEAL, MIDDLE, PINNED, TIP)
    root.check()
    first, second, third, fourth = root.checkpoints
    wrong = [
        (second, first),
        (first, first),
        (first, replace(second, height=first.height)),
        (replace(first, epoch=1, validators=SETS[1]), replace(second, epoch=0, validators=SETS[0])),
        (third, replace(fourth, epoch=1, validators=SETS[1])),
    ]
    for checkpoints in wrong:
        with pytest.raises(TrustError):
            replace(root, checkpoints=checkpoints).check()


def reason_of(root: TrustedRoot) -> TrustError:
    """Return how a root is refused, made by hand and read from its file alike, with all that an error says."""
    with pytest.raises(TrustError) as made:
        root.check()
    with pytest.raises(TrustError) as read:
        parse_trusted_root(json.dumps(trusted_root_to_json(root)).encode())
    assert f"{made.value}" == f"{read.value}"
    error = read.value
    assert error.where and error.expected and error.found and error.cure
    return error


CONTRADICTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "another block at height 0": ("the genesis block", {"height": 0, "epoch": 0, "validators": SETS[0]}),
    "the genesis block at another height": ("each block at one height", {"block_hash": "genesis"}),
    "the block of another checkpoint": ("each block at one height", {"block_hash": "next"}),
    "an epoch that no block can have reached": ("an epoch from 0 to 4", {"epoch": 5, "validators": SETS[2]}),
    "an inverted window": ("ends after it begins", {"valid_from_ms": NOW_MS, "valid_until_ms": NOW_MS - 1}),
    "an empty window": ("ends after it begins", {"valid_from_ms": NOW_MS, "valid_until_ms": NOW_MS}),
    "a window before genesis": ("ends after genesis", {"valid_from_ms": 0, "valid_until_ms": START_MS}),
    "a window in seconds": ("ends after genesis", {"valid_from_ms": 0, "valid_until_ms": NOW_MS // 1_000}),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_pins_that_cannot_all_be_true_make_no_trusted_root(name: str) -> None:
    words, changes = CONTRADICTIONS[name]
    shown = honest_from_checkpoint()
    root = root_with(shown, MIDDLE, PINNED)
    root.check()
    hashes = {"genesis": shown.chain.tips[0].encoded_header.hash, "next": root.checkpoints[1].block_hash}
    if "block_hash" in changes:
        changes = {"block_hash": hashes[str(changes["block_hash"])]}
    changed = with_fields(root.checkpoints[0], **changes)
    error = reason_of(replace(root, checkpoints=(changed, root.checkpoints[1])))
    assert words in error.expected
    assert f"checkpoint 1 at height {changed.height}" in error.where or "checkpoint 2" in error.where


def test_a_checkpoint_that_says_what_genesis_says_is_true() -> None:
    shown = honest_from_checkpoint()
    root_with(shown, 0, PINNED).check()
    first = shown.chain.checkpoint(0)
    assert (
        "an epoch from 0 to 0"
        in reason_of(
            replace(root_with(shown, PINNED), checkpoints=(replace(first, epoch=1, validators=SETS[1]),))
        ).expected
    )


@pytest.mark.parametrize(
    "checkpoints",
    [None, ("a",), (None,), [1], 7],
)
def test_a_root_that_was_made_by_hand_of_other_things_is_none(checkpoints: object) -> None:
    root = honest_from_checkpoint().trust
    for wrong in (with_fields(root, checkpoints=checkpoints), with_fields(root, genesis=checkpoints)):
        with pytest.raises(LedgerError):
            wrong.check()


def check_order(newer: TrustedRoot, older: TrustedRoot, *, words: str) -> None:
    """Check that one root may take the place of another, and not the reverse."""
    check_replaces(newer, older)
    with pytest.raises(TrustError) as refused:
        check_replaces(older, newer)
    assert words in refused.value.expected and refused.value.cure


def test_an_older_root_takes_no_newer_ones_place() -> None:
    shown = honest_from_checkpoint()
    bare, both = root_with(shown), root_with(shown, MIDDLE, PINNED)
    for root in (bare, both, root_with(shown, PINNED)):
        check_replaces(root, root)
    check_order(root_with(shown, PINNED), bare, words="or higher")
    check_order(root_with(shown, PINNED), root_with(shown, MIDDLE), words="or higher")
    check_order(both, root_with(shown, MIDDLE), words="or higher")
    # A pin that is left out without a newer one was taken back; with a newer one it is not needed any more.
    check_order(both, root_with(shown, PINNED), words="the pin of block 4")
    check_order(root_with(shown, TIP), both, words="or higher")


def test_windows_may_change_when_a_root_is_replaced() -> None:
    root = root_with(honest_from_checkpoint(), PINNED)
    (pin,) = root.checkpoints
    for until_ms in (pin.valid_until_ms - 1, pin.valid_until_ms + 1):
        other = replace(root, checkpoints=(replace(pin, valid_until_ms=until_ms),))
        check_replaces(other, root)
        check_replaces(root, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"block_hash": bytes(32)},
        {"validators": SETS[1]},
        {"epoch": 1, "validators": SETS[1]},
        {"height": PINNED + 9, "block_hash": bytes(32), "epoch": 1, "validators": SETS[1]},
        {"height": PINNED + 9},
    ],
)
def test_a_root_that_contradicts_the_one_in_use_is_refused(changes: dict[str, object]) -> None:
    root = root_with(honest_from_checkpoint(), PINNED)
    other = replace(root, checkpoints=(with_fields(root.checkpoints[0], **changes),))
    other.check()
    with pytest.raises(TrustError, match="agree with those in use"):
        check_replaces(other, root)


def test_a_root_of_another_chain_is_refused() -> None:
    root = root_with(honest_from_checkpoint(), PINNED)
    other = TrustedRoot(1, make_genesis(replace(make_content(), network="another")), ())
    for pair in ((root, other), (other, root)):
        with pytest.raises(TrustError, match="one of chain"):
            check_replaces(*pair)


def test_one_epoch_has_one_validator_set() -> None:
    shown = honest_from_checkpoint()
    root = root_with(shown, PINNED, TIP)
    with pytest.raises(TrustError, match="two of 2"):
        replace(
            root, checkpoints=(root.checkpoints[0], replace(root.checkpoints[1], validators=SETS[1]))
        ).check()
    with pytest.raises(TrustError, match="two of 0"):
        replace(root, checkpoints=(replace(root.checkpoints[0], epoch=0),)).check()


def test_paths_start_at_checkpoints_within_their_windows_both_ends_included() -> None:
    pins = Pins(honest_from_checkpoint().trust)
    pin = pins.every[-1]
    for at_ms in (pin.valid_from_ms, pin.valid_until_ms):
        assert pins.at(at_ms) == pins.every
    for at_ms in (pin.valid_from_ms - 1, pin.valid_until_ms + 1):
        assert pins.at(at_ms) == pins.every[:1]


def test_a_request_names_the_newest_checkpoint_in_its_window() -> None:
    shown = honest_from_checkpoint()
    root = root_with(shown, MIDDLE, PINNED)
    newest, older = root.checkpoints[1], root.checkpoints[0]
    assert root.newest_pin(NOW_MS).height == newest.height == PINNED
    expired = replace(root, checkpoints=(older, replace(newest, valid_until_ms=NOW_MS - 1)))
    assert expired.newest_pin(NOW_MS).height == older.height == MIDDLE
    assert root.newest_pin(NOW_MS + 2 * DAY_MS).height == 0


def test_the_verdict_names_the_pin_that_the_path_starts_at() -> None:
    shown = honest_from_checkpoint()
    both = replace(shown, trust=root_with(shown, PINNED, TIP))
    assert (both.verify().trust.epoch, both.verify().trust.height) == (2, TIP)
    long = both.path_with(from_epoch=0, handovers=shown.chain.handovers(0, 2))
    assert (long.verify().trust.epoch, long.verify().trust.height) == (0, 0)


def test_a_long_path_passes_a_pinned_epoch_with_the_pinned_set() -> None:
    shown = honest_from_checkpoint()
    expired = tuple(replace(pin, valid_until_ms=NOW_MS - 1) for pin in shown.trust.checkpoints)
    without = replace(shown, trust=replace(shown.trust, checkpoints=expired))
    long = without.path_with(from_epoch=0, handovers=shown.chain.handovers(0, 2))
    assert long.verify().trust.height == 0


def test_a_trusted_root_file_is_checked_as_it_is_read() -> None:
    root = honest_from_checkpoint().trust
    unsigned = replace(root, genesis=replace(root.genesis, signatures=()))
    unordered = replace(root, checkpoints=root.checkpoints * 2)
    assert parse_trusted_root(json.dumps(trusted_root_to_json(root)).encode()) == root
    for wrong in (unsigned, unordered):
        with pytest.raises(LedgerError):
            parse_trusted_root(json.dumps(trusted_root_to_json(wrong)).encode())


def test_a_name_in_another_spelling_makes_no_trusted_root() -> None:
    root = honest_from_checkpoint().trust
    text = json.dumps(trusted_root_to_json(root), ensure_ascii=False)
    spelled = text.replace("Test member auditor", "Test membe\u0301r auditor")
    assert spelled != text
    with pytest.raises(LedgerError):
        parse_trusted_root(spelled.encode())


def test_pins_go_on_from_a_block_that_the_caller_holds_as_final() -> None:
    shown = honest_from_checkpoint()
    pins = Pins(shown.trust)
    encoded_header = shown.chain.tips[TIP].encoded_header
    beyond = pins.beyond(encoded_header, 2, SETS[2])
    assert beyond.chain_id == pins.chain_id
    assert beyond.every == (*pins.every, Checkpoint(TIP, encoded_header.hash, 2, SETS[2], 0, 2**53 - 1))
    assert beyond.at(0)[-1] == beyond.at(2**53 - 1)[-1] == beyond.every[-1]
    assert pins.every == Pins(shown.trust).every, "the pins themselves stay as they are"
    assert pins.beyond(shown.chain.tips[0].encoded_header, 0, SETS[0]) is pins
    header, certificate = shown.proof.evidence.header, shown.proof.evidence.certificate
    assert verify_header(beyond, header, certificate, TrustPath(2, (), None), at_ms=NOW_MS).pin.height == TIP
    fork = header_with(encoded_header, state_root=encoded_header.header.parent_hash)
    with pytest.raises(TrustError, match="the pinned block"):
        path = TrustPath(2, (), None)
        verify_header(beyond, fork.encoded, certify(fork, SETS[2]), path, at_ms=NOW_MS)
