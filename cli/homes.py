"""Members as commands see them: a home, and the key that signs for its member."""

from dataclasses import dataclass
from pathlib import Path

from cli.passphrases import protection_for
from ledger.encoding.keys import PrivateKey
from node.home.home import Home


@dataclass(frozen=True, slots=True)
class SigningMember:
    """A member with its key: what signs the commands of issuers and recipients."""

    home: Home
    key: PrivateKey

    @property
    def id(self) -> str:
        """The member's id."""
        return self.home.member

    @property
    def chain_id(self) -> bytes:
        """The chain of the home."""
        return self.home.genesis.content.chain_id


def open_member(path: Path, passphrase_file: Path | None) -> SigningMember:
    """Open a home and its member key. Raises ConfigError or KeyFileError."""
    home = Home.open(path)
    protection = protection_for(
        f"the member key of {home.member}", passphrase_file, is_development=home.is_development
    )
    return SigningMember(home, home.load_member_key(protection))
