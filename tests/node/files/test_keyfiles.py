"""Key files: encrypted, private, never overwritten; every refusal names its cure."""

import base64
import os
import subprocess
from itertools import product
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from ledger.encoding.keys import PrivateKey
from node.files import pkcs8
from node.files.keyfiles import (
    KEY_FILE_SIZE_MAX,
    PASSPHRASE_SIZE_MAX,
    PASSPHRASE_VARIABLE,
    DevelopmentKey,
    KeyFileError,
    Passphrase,
    create_key_file,
    load_key_file,
    resolve_passphrase,
)
from tests.support.crashing_disk import CrashingDisk, Loss, PowerCut

KEY = PrivateKey.from_seed(bytes(range(32)))
OTHER = PrivateKey.from_seed(bytes(32))
PASSPHRASE = Passphrase(b"correct horse")
ROUNDS = pkcs8.KDF_ROUNDS
"""As the product has it: while tests run, it is less (tests/conftest.py, rule 5)."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "validator.key"


@pytest.fixture
def key_file(path: Path) -> Path:
    create_key_file(path, KEY, PASSPHRASE)
    return path


def write_private(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_key_comes_back_with_its_passphrase(key_file: Path) -> None:
    assert load_key_file(key_file, PASSPHRASE, expected=KEY.public) == KEY


def test_a_key_file_is_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        create_key_file(path, KEY, PASSPHRASE)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_encrypted_file_shows_nothing_of_the_key(key_file: Path) -> None:
    content = key_file.read_bytes()
    assert content.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert KEY.seed not in content
    assert KEY.public.data.hex().encode() not in content


def test_guessing_a_passphrase_costs_many_rounds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkcs8, "KDF_ROUNDS", ROUNDS)
    create_key_file(path, KEY, PASSPHRASE)
    der = base64.b64decode(b"".join(path.read_bytes().splitlines()[1:-1]))
    assert ROUNDS >= 600_000
    assert b"\x02\x03" + ROUNDS.to_bytes(3, "big") in der, "PBKDF2's count, as an INTEGER"
    assert bytes.fromhex("2a864886f70d0209") in der, "HMAC-SHA-256"
    assert load_key_file(path, PASSPHRASE, expected=KEY.public) == KEY


def test_no_two_files_of_one_key_are_alike(path: Path, tmp_path: Path) -> None:
    create_key_file(path, KEY, PASSPHRASE)
    create_key_file(tmp_path / "again", KEY, PASSPHRASE)
    assert path.read_bytes() != (tmp_path / "again").read_bytes()


def test_openssl_reads_a_key_file(key_file: Path) -> None:
    command = ["openssl", "pkey", "-in", str(key_file), "-passin", "pass:correct horse", "-noout", "-text"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except FileNotFoundError:
        pytest.skip("there is no openssl on this machine")
    assert "ED25519" in shown.stdout.upper(), shown.stderr


def test_a_key_file_is_never_overwritten(key_file: Path) -> None:
    before = key_file.read_bytes()
    with pytest.raises(KeyFileError, match=r"expected no file, found one that exists; choose another name"):
        create_key_file(key_file, OTHER, PASSPHRASE)
    assert key_file.read_bytes() == before
    assert [entry.name for entry in key_file.parent.iterdir()] == [key_file.name]


def test_a_key_file_is_not_written_through_a_dangling_link(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="expected no file"):
        create_key_file(path, KEY, PASSPHRASE)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("loss", Loss)
def test_a_power_cut_leaves_a_whole_key_file_or_none(tmp_path: Path, loss: Loss) -> None:
    for step in range(1, 20):
        path = tmp_path / f"key{step}"
        try:
            create_key_file(path, KEY, PASSPHRASE, files=CrashingDisk(tmp_path, crash_at=step, loss=loss))
        except PowerCut:
            if path.exists():
                assert load_key_file(path, PASSPHRASE, expected=KEY.public) == KEY
        else:
            assert load_key_file(path, PASSPHRASE, expected=KEY.public) == KEY
            return
    pytest.fail("expected creation to end within 20 steps")


def test_a_key_file_that_was_written_survives_a_power_cut(path: Path, tmp_path: Path) -> None:
    disk = CrashingDisk(tmp_path, loss=Loss.DATA_AND_NAMES)
    create_key_file(path, KEY, PASSPHRASE, files=disk)
    disk.cut_power()
    assert load_key_file(path, PASSPHRASE, expected=KEY.public) == KEY


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"expected a writable place, found No such file"):
        create_key_file(tmp_path / "missing" / "key", KEY, PASSPHRASE)


def test_a_wrong_passphrase_is_refused(key_file: Path) -> None:
    with pytest.raises(KeyFileError, match="found a wrong passphrase or a damaged file"):
        load_key_file(key_file, Passphrase(b"wrong horse"), expected=None)


def test_another_key_than_the_one_expected_is_refused(key_file: Path) -> None:
    with pytest.raises(KeyFileError, match=rf"expected the key {OTHER.public}, found {KEY.public}"):
        load_key_file(key_file, PASSPHRASE, expected=OTHER.public)


def test_no_damaged_byte_gives_another_key(key_file: Path) -> None:
    content = key_file.read_bytes()
    for position, bit in product(range(len(content)), (1, 2)):
        damaged = bytearray(content)
        damaged[position] ^= bit
        write_private(key_file, bytes(damaged))
        try:
            assert load_key_file(key_file, PASSPHRASE, expected=KEY.public) == KEY
        except KeyFileError:
            continue


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644, 0o601, 0o610])
def test_a_file_that_others_can_use_is_refused_with_the_cure(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(KeyFileError, match=rf"found mode 0{mode:o}; chmod 600 {key_file}"):
        load_key_file(key_file, PASSPHRASE, expected=None)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_that_only_its_owner_can_use_is_read(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    load_key_file(key_file, PASSPHRASE, expected=None)


@pytest.mark.parametrize("content", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\n", b"\xff" * 100])
def test_a_file_that_is_no_key_is_refused(path: Path, content: bytes) -> None:
    write_private(path, content)
    for protection in (PASSPHRASE, DevelopmentKey()):
        with pytest.raises(KeyFileError, match=r"expected a PKCS#8 private key in PEM"):
            load_key_file(path, protection, expected=None)


@pytest.mark.parametrize("label", [b"ENCRYPTED PRIVATE KEY", b"PRIVATE KEY"])
def test_a_key_of_junk_is_refused(path: Path, label: bytes) -> None:
    write_private(path, b"-----BEGIN " + label + b"-----\nAAAA\n-----END " + label + b"-----\n")
    protection = PASSPHRASE if b"ENC" in label else DevelopmentKey()
    with pytest.raises(KeyFileError):
        load_key_file(path, protection, expected=None)


@pytest.mark.parametrize(
    ("key", "found"),
    [(ec.generate_private_key(ec.SECP256R1()), "E"), (x25519.X25519PrivateKey.generate(), "X25519")],
)
def test_a_key_of_another_algorithm_is_refused(
    path: Path, key: ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey, found: str
) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(PASSPHRASE.secret),
    )
    write_private(path, pem)
    with pytest.raises(KeyFileError, match=rf"expected an Ed25519 private key, found {found}"):
        load_key_file(path, PASSPHRASE, expected=None)


def test_a_key_in_the_clear_is_read_only_by_its_name(path: Path) -> None:
    create_key_file(path, KEY, DevelopmentKey())
    assert load_key_file(path, DevelopmentKey(), expected=KEY.public) == KEY
    with pytest.raises(
        KeyFileError, match=r"expected an encrypted key, found a key in the clear; encrypt it"
    ):
        load_key_file(path, PASSPHRASE, expected=None)


def test_an_encrypted_key_is_not_a_development_key(key_file: Path) -> None:
    with pytest.raises(KeyFileError, match="give its passphrase"):
        load_key_file(key_file, DevelopmentKey(), expected=None)


def test_a_key_in_the_clear_must_be_private_too(path: Path) -> None:
    create_key_file(path, KEY, DevelopmentKey())
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_key_file(path, DevelopmentKey(), expected=None)


def test_a_missing_file_a_directory_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for wrong in (tmp_path / "missing", tmp_path, pipe):
        with pytest.raises(KeyFileError, match="expected a re"):
            load_key_file(wrong, PASSPHRASE, expected=None)


def test_a_key_file_has_a_largest_size(key_file: Path) -> None:
    content = key_file.read_bytes()
    write_private(key_file, content + b"\n" * (KEY_FILE_SIZE_MAX - len(content)))
    assert load_key_file(key_file, PASSPHRASE, expected=None) == KEY
    write_private(key_file, content + b"\n" * (KEY_FILE_SIZE_MAX - len(content) + 1))
    with pytest.raises(KeyFileError, match=f"at most {KEY_FILE_SIZE_MAX} bytes"):
        load_key_file(key_file, PASSPHRASE, expected=None)


# -- passphrases ----------------------------------------------------------------------------------------


def resolve(
    file: Path | None = None, environment: dict[str, str] | None = None, typed: str | None = None
) -> Passphrase:
    return resolve_passphrase(
        purpose="validator.key",
        passphrase_file=file,
        environment=environment or {},
        prompt=None if typed is None else lambda question: typed,
    )


def test_a_named_file_comes_before_the_environment_and_that_before_the_prompt(tmp_path: Path) -> None:
    file = write_private(tmp_path / "passphrase", b"from the file\n")
    environment = {PASSPHRASE_VARIABLE: "from the environment"}
    assert resolve(file, environment, "typed").secret == b"from the file"
    assert resolve(None, environment, "typed").secret == b"from the environment"
    assert resolve(None, {}, "typed").secret == b"typed"


def test_the_prompt_says_what_the_passphrase_is_for() -> None:
    questions: list[str] = []

    def prompt(question: str) -> str:
        questions.append(question)
        return "typed"

    resolve_passphrase(purpose="bank.key", passphrase_file=None, environment={}, prompt=prompt)
    assert questions == ["Passphrase for bank.key"]


def test_where_nobody_can_be_asked_the_error_names_the_ways() -> None:
    with pytest.raises(KeyFileError, match=r"give --passphrase-file FILE or set LUOHU_PASSPHRASE"):
        resolve()


def test_a_source_that_is_there_but_wrong_is_an_error_not_a_reason_to_try_the_next(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError):
        resolve(tmp_path / "missing", {PASSPHRASE_VARIABLE: "x"}, "y")
    with pytest.raises(KeyFileError, match="1 to 1023 bytes"):
        resolve(None, {PASSPHRASE_VARIABLE: ""}, "y")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_passphrase(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_bytes("correct horse battery\n".encode(encoding))
    with pytest.raises(KeyFileError, match="save the file") as caught:
        resolve_passphrase(purpose="bank.key", passphrase_file=file, environment={}, prompt=None)
    assert caught.value.where == f"{file}" or f"{file}" in f"{caught.value}"
    file.write_bytes(b"correct horse battery\n")
    assert resolve_passphrase(purpose="bank.key", passphrase_file=file, environment={}, prompt=None)


def test_a_passphrase_file_must_be_private(tmp_path: Path) -> None:
    file = write_private(tmp_path / "passphrase", b"secret\n", 0o644)
    with pytest.raises(KeyFileError, match=f"chmod 600 {file}"):
        resolve(file)


@pytest.mark.parametrize("content", [b"word", b"word\n", b"word\r\n"])
def test_the_end_of_the_line_is_not_part_of_the_passphrase(tmp_path: Path, content: bytes) -> None:
    assert resolve(write_private(tmp_path / "p", content)).secret == b"word"


def test_spaces_are_part_of_the_passphrase(tmp_path: Path) -> None:
    assert resolve(write_private(tmp_path / "p", b" two words \n")).secret == b" two words "


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"zero\0byte", b"\xff\xfe", b"word\n\n"])
def test_a_file_that_is_not_one_line_of_text_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(KeyFileError, match=r"expected"):
        resolve(write_private(tmp_path / "p", content))


def test_the_same_characters_typed_on_another_machine_open_the_same_file() -> None:
    assert resolve(typed="caf\u00e9") == resolve(typed="cafe\u0301")
    assert resolve(typed="罗湖桥").secret == "罗湖桥".encode()


def test_undecodable_text_of_the_environment_is_refused() -> None:
    with pytest.raises(KeyFileError, match="UTF-8"):
        resolve(None, {PASSPHRASE_VARIABLE: "\udcff"})


def test_a_passphrase_has_a_largest_size(tmp_path: Path, path: Path) -> None:
    longest = b"x" * PASSPHRASE_SIZE_MAX
    passphrase = resolve(write_private(tmp_path / "p", longest + b"\r\n"))
    create_key_file(path, KEY, passphrase)
    assert load_key_file(path, passphrase, expected=None) == KEY
    with pytest.raises(KeyFileError, match="1023 bytes"):
        resolve(write_private(tmp_path / "p", longest + b"x"))


def test_neither_passphrase_nor_key_shows_itself() -> None:
    assert "horse" not in repr(PASSPHRASE)
    assert KEY.seed.hex() not in repr(KEY)
