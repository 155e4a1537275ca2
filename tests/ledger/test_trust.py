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
from tests.support.consortium import DAY_MS


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
