"""`luohu key`: new keys beside those of a home, and TLS certificates for governors to register."""

import json
from pathlib import Path

import pytest

from cli.exits import FINE, USAGE
from cli.program import run
from ledger.rules.operations import next_key_commitment
from node.files.keyfiles import DevelopmentKey, KeyFileError, Passphrase, load_key_file
from node.home.tlsfiles import load_tls_files
from node.network.tls import decode_certificate_pem, registrable
from tests.support.running_network import make_network

SECRET = "correct horse battery staple"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


def test_a_key_for_a_home_is_protected_as_that_homes_are(
    tmp_path: Path, secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = make_network(tmp_path / "network").homes["hk-bureau"]
    out = home.path / "keys" / "validator-9.pem"
    assert run(["key", "new", "--home", str(home.path), "--out", str(out), "--json"]) == FINE
    told = json.loads(capsys.readouterr().out)
    key = load_key_file(out, DevelopmentKey(), expected=None)
    assert told == {
        "public_key": str(key.public),
        "next_key_commitment": next_key_commitment(key.public).hex(),
    }
    assert home.find_validator_key(DevelopmentKey(), key.public) == key
    assert out.stat().st_mode & 0o777 == 0o600
    encrypted = tmp_path / "encrypted.pem"
    named = ("--home", str(home.path), "--out", str(encrypted), "--passphrase-file", str(secret))
    assert run(["key", "new", *named]) == FINE
    assert "encrypted" in capsys.readouterr().out
    with pytest.raises(KeyFileError):
        load_key_file(encrypted, DevelopmentKey(), expected=None)


def test_a_tls_key_comes_with_the_certificate_that_governors_register(
    tmp_path: Path, secret: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, certificate = tmp_path / "tls.pem", tmp_path / "tls.crt"
    arguments = ["key", "tls", "--member", "hk-bank", "--out", str(out), "--passphrase-file", str(secret)]
    assert run([*arguments, "--json"]) == FINE
    told = json.loads(capsys.readouterr().out)
    assert (told["key"], told["certificate"]) == (str(out), str(certificate))
    identity = load_tls_files(key=out, certificate=certificate, protection=Passphrase.from_text(SECRET))
    shown = decode_certificate_pem(certificate.read_bytes())
    assert shown == identity.certificate and registrable(shown, "hk-bank")
    before = out.read_bytes(), certificate.read_bytes()
    assert run(arguments) == USAGE
    out.unlink()
    assert run(arguments) == USAGE, "the certificate is not written over either"
    assert certificate.read_bytes() == before[1] and not out.exists()


def test_a_tls_key_does_not_take_the_name_of_its_certificate(tmp_path: Path, secret: Path) -> None:
    out = tmp_path / "tls.crt"
    arguments = ["key", "tls", "--member", "hk-bank", "--out", str(out), "--passphrase-file", str(secret)]
    assert run(arguments) == USAGE
    assert not out.exists()


@pytest.mark.parametrize("member", ["", "HK Bank", "a" * 65, "hk-bank\n"])
def test_a_tls_key_is_made_for_a_member_id_alone(tmp_path: Path, secret: Path, member: str) -> None:
    out = tmp_path / "tls.pem"
    arguments = ["key", "tls", "--member", member, "--out", str(out), "--passphrase-file", str(secret)]
    assert run(arguments) == USAGE
    assert not out.exists()
