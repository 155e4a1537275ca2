"""Where a command takes the texts from that people are shown (docs/texts.md).

Rule 1: texts that the user names, by folder, bundle or hash, are the only ones that are used. Else a home has its own.
Else nodes are asked for the notice that the request names.
Rule 2: the samples that come with the source stand in where there are no others, and on no production chain.
Rule 3: the holder is shown where texts came from, and what of them rests on a node's word.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.exits import wrong_usage
from cli.files import FILE
from ledger.encoding.records import Json
from ledger.genesis import DEVELOPMENT
from ledger.receipts import LANGUAGES
from ledger.requests import Request
from ledger.trust import TrustedRoot
from node.consent.textbundle import PackedTexts
from node.consent.textfolder import HeldTexts, load_texts, sample_texts
from node.errors import ClientError, RefusedByNode
from node.home.home import Home

if TYPE_CHECKING:
    from node.client.ledgerclient import LedgerClient
    from node.client.nodes import Nodes

HASH_DIGITS: Final = 64

TEXTS: Final = click.option(
    "--texts",
    "texts_path",
    type=FILE,
    metavar="DIR",
    help="The texts that people are shown: a folder, or a packed bundle.",
)
TEXTS_HASH: Final = click.option(
    "--texts-hash", metavar="HASH", help="Take these texts and no others: the hash of a packed bundle."
)


class Origin(Enum):
    """Where texts came from."""

    NAMED = "named"
    BY_HASH = "hash"
    BY_REQUEST = "request"
    NODES = "nodes"
    SAMPLES = "samples"


# In the order of LANGUAGES.
_LABEL: Final = ("告知文本", "告知文本", "texts")
_TOLD: Final[dict[Origin, tuple[str, str, str]]] = {
    Origin.NAMED: (
        "您指定的文本，哈希值 {hash}",
        "您指定的文本，雜湊值 {hash}",
        "those that you named, hash {hash}",
    ),
    Origin.BY_HASH: (
        "您指定哈希值的文本 {hash}",
        "您指定雜湊值的文本 {hash}",
        "those of the hash that you named, {hash}",
    ),
    Origin.BY_REQUEST: (
        "银行签署的请求所指明的文本，哈希值 {hash}",
        "銀行簽署的請求所指明的文本，雜湊值 {hash}",
        "those that the bank's signed request names, hash {hash}",
    ),
    Origin.NODES: (
        "告知内容与银行签署的请求一致；机构的地址、联系方式等其余文字只是节点的说法。哈希值 {hash}",
        "告知內容與銀行簽署的請求一致；機構的地址、聯絡方式等其餘文字只是節點的說法。雜湊值 {hash}",
        "the notice is the one that the bank's request names; the rest, like addresses and contacts, "
        "is as this node says. Hash {hash}",
    ),
    Origin.SAMPLES: (
        "随软件附带的样本文本，机构均为虚构。哈希值 {hash}",
        "隨軟件附帶的樣本文本，機構均為虛構。雜湊值 {hash}",
        "samples that come with the software, of invented institutions. Hash {hash}",
    ),
}


@dataclass(frozen=True, slots=True)
class SourcedTexts:
    """Texts, and where they came from."""

    packed: PackedTexts
    origin: Origin

    @property
    def json(self) -> dict[str, Json]:
        """Return the hash of the texts and where they came from, as keys of a JSON answer."""
        return {"texts_hash": self.packed.hash.hex(), "texts_from": self.origin.value}

    def row(self, language: str) -> tuple[str, str]:
        """Return where they came from, in one of LANGUAGES, as label and text (rule 3)."""
        place = LANGUAGES.index(language)
        return _LABEL[place], _TOLD[self.origin][place].format(hash=self.packed.hash.hex())


def parse_hash(text: str, where: str) -> bytes:
    """Return the hash of a bundle. Raises CommandError."""
    if len(text) != HASH_DIGITS or not set(text) <= set("0123456789abcdef"):
        raise wrong_usage(
            where,
            expected=f"the {HASH_DIGITS} hexadecimal digits of a bundle's hash",
            found=ascii(text)[:80],
            cure="`luohu texts show DIR` shows it; whoever wrote the texts publishes it.",
        )
    return bytes.fromhex(text)


def texts_of_home(home: Home, texts_path: Path | None) -> HeldTexts:
    """Return the texts that a member signs requests for: those named, else its home's. Raises ConfigError."""
    path = texts_path or home.texts
    if path is not None:
        return load_texts(path)
    if not home.is_development:
        raise wrong_usage(
            "--texts",
            expected="the texts that holders are shown",
            found="none: neither named nor in node.toml",
            cure=f'Name them with --texts DIR, or write texts = "DIR" into {home.path / "node.toml"}.',
            code="no-texts",
        )
    return HeldTexts([sample_texts()])


def texts_of_reports(texts_path: Path | None) -> HeldTexts:
    """Return the texts that say which fields reports have: those named, else the samples. Raises ConfigError."""
    return HeldTexts([sample_texts()]) if texts_path is None else load_texts(texts_path)


def fields_in(texts: HeldTexts, schema: str) -> tuple[str, ...]:
    """Return the paths that a JSON report of a kind has, where texts say it."""
    found = (packed.bundle.fields_of(schema) for packed in texts.bundles)
    return next((fields for fields in found if fields), ())


async def texts_of_request(
    ledger: "LedgerClient", request: Request, texts_path: Path | None, texts_hash: str | None
) -> SourcedTexts:
    """Return the texts that a holder is to be shown for a request (rule 1).

    Raises CommandError, ConfigError, or ClientError where no node sends them.
    """
    body = request.decoded()
    wanted = None if texts_hash is None else parse_hash(texts_hash, "--texts-hash")
    version = body.decoded_asked().notice_version
    if texts_path is not None:
        named = wanted or body.texts or version
        return SourcedTexts(_find_named(load_texts(texts_path), texts_path, named), Origin.NAMED)
    if wanted is not None:
        from node.client.texts import fetch_texts

        return SourcedTexts(await fetch_texts(ledger.nodes, wanted), Origin.BY_HASH)
    if body.texts is not None:
        return await _texts_of_request(ledger.nodes, ledger.root, body.texts)
    return await _texts_of_notice(ledger.nodes, ledger.root, version)


async def _texts_of_request(nodes: "Nodes", root: TrustedRoot | None, named: bytes) -> SourcedTexts:
    """Return the texts that the bank's signed request names. Raises ClientError where no node sends them."""
    from node.client.texts import fetch_texts

    try:
        return SourcedTexts(await fetch_texts(nodes, named), Origin.BY_REQUEST)
    except ClientError:
        # Rule 2.
        if (root is None or root.genesis.content.use == DEVELOPMENT) and sample_texts().hash == named:
            return SourcedTexts(sample_texts(), Origin.SAMPLES)
        raise


def _find_named(texts: HeldTexts, path: Path, wanted: bytes) -> PackedTexts:
    found = texts.find(wanted)
    if found is None:
        raise wrong_usage(
            f"{path}",
            expected=f"texts of the hash, or with the notice, {wanted.hex()}",
            found="others: " + ", ".join(each.hash.hex()[:16] for each in texts.bundles),
            cure="Ask the bank for the texts that its request means.",
            code="unknown-texts",
        )
    return found


async def _texts_of_notice(nodes: "Nodes", root: TrustedRoot | None, version: bytes) -> SourcedTexts:
    from node.client.texts import TEXTS_DIFFER, fetch_texts_of_notice

    try:
        return SourcedTexts(await fetch_texts_of_notice(nodes, version), Origin.NODES)
    except ClientError as error:
        if error.code == TEXTS_DIFFER:
            raise
        # Rule 2.
        samples = sample_texts() if root is None or root.genesis.content.use == DEVELOPMENT else None
        if samples is not None and samples.answers(version):
            return SourcedTexts(samples, Origin.SAMPLES)
        if not isinstance(error, RefusedByNode):
            raise
        raise wrong_usage(
            "texts",
            expected=f"texts with the notice {version.hex()}, which the request names",
            found="none at the nodes that were asked",
            cure="Ask a node of the bank with --url, or have the bank hand you its texts, and name them with --texts.",
            code="unknown-texts",
        ) from error
