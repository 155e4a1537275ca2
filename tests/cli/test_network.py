"""`luohu network up` knows the validators of a folder: those of genesis, and those that governors added since."""

import shutil
from pathlib import Path

import pytest

from cli.exits import FINE
from cli.network import _validators, _validators_since
from cli.program import run
from node.home.home import GENESIS_FILE, load_genesis
from node.home.settings import NODE_FILE


def test_a_home_with_a_validator_key_that_genesis_does_not_know_is_started_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = tmp_path / "network"
    assert run(["network", "new", str(network)]) == FINE
    genesis = load_genesis(network / GENESIS_FILE)
    assert _validators_since(network, genesis) == [], "the auditor observes, and a bank has no node"
    # The auditor's node is to validate, as governors decided.
    key = network / "auditor" / "keys" / "validator.pem"
    shutil.copy(network / "hk-bureau" / "keys" / "validator.pem", key)
    assert _validators_since(network, genesis) == ["auditor"]
    assert "auditor" not in _validators(genesis)
    # A copy of a home under another name is no member's, and neither is a folder without a home.
    shutil.copytree(network / "auditor", network / "copy")
    (network / "notes").mkdir()
    assert _validators_since(network, genesis) == ["auditor"]
    # Without a node there is nothing to start.
    (network / "auditor" / NODE_FILE).write_text('member = "auditor"\n')
    assert _validators_since(network, genesis) == []
