"""`luohu texts`: pack the texts that people are shown, look at them, and check that the ledger knows what they name.

Rule 1: the same sources make the same bytes, and so the same hash, everywhere.
Rule 2: what is shown or checked under a hash is what that hash names, wherever it came from.
Rule 3: what the ledger lacks is proven under a trusted root, or said to be a node's word (cli/roots.py).
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.exits import FINE, NO, wrong_usage
from cli.files import FILE, refuse_existing, write_file
from cli.output import fields, json_option, print_answer
from cli.roots import TRUST, headline, named_root, shown_json, shown_rows
from cli.textsource import TEXTS_HASH, parse_hash
from ledger.encoding.records import Json, to_json
from ledger.receipts import LANGUAGES, Wording
from ledger.trust import TrustedRoot
from node.consent.textbundle import Notice, PackedTexts
from node.consent.textfolder import load_texts, pack_folder

if TYPE_CHECKING:
    from node.client.answers import Answer

# In the order of LANGUAGES.
_LABELS = {
    "notice": ("告知书", "告知書", "Notice"),
    "version": ("版本", "版本", "Version"),
    "documents": ("文件种类", "文件種類", "Documents"),
    "purpose": ("处理目的", "處理目的", "Purpose"),
    "use": ("处理方式", "處理方式", "How it is handled"),
    "categories": ("资料种类", "資料種類", "Kinds of data"),
    "retention": ("保存期限", "保存期限", "How long it is kept"),
    "withdrawal": ("撤回方式", "撤回方式", "How to withdraw"),
    "rights": ("您的权利", "您的權利", "Your rights"),
    "party": ("机构", "機構", "Institution"),
    "address": ("地址", "地址", "Address"),
    "contact": ("联系方式", "聯絡方式", "Contact"),
    "storage": ("保存地点", "保存地點", "Where it is kept"),
    "common": ("每份同意记录均载明", "每份同意記錄均載明", "What every receipt says"),
}

TEXTS_ARGUMENT = click.argument("texts_path", metavar="[TEXTS]", type=FILE, required=False)
NODES = click.option(
    "--url", "urls", multiple=True, help="A node's API, like http://127.0.0.1:7201; may be repeated."
)


@click.group("texts")
def texts() -> None:
    """The texts that people are shown before they consent: pack, show and check them."""


@texts.command("pack")
@click.argument("directory", metavar="DIR", type=FILE)
@click.option("--out", type=FILE, required=True, help="Where to write the bundle, like 2026-12.texts.")
@json_option
def pack(directory: Path, out: Path, as_json: bool) -> None:
    """Make one bundle of a folder of texts, and say its hash: what a request and a reader know it by.

    DIR has receipt.toml, parties.toml and a folder for each use. A node serves each file that ends with .texts in
    the folder that its node.toml names.

    \b
    Example:
      luohu texts pack our-texts --out network/mainland-bank/texts/2026-12.texts
    """
    packed = pack_folder(directory)
    refuse_existing(out)
    write_file(out, packed.encoded)
    print_answer(
        as_json=as_json,
        value={"path": f"{out}", **_summary_json(packed)},
        lines=[f"wrote {out}", *fields(_summary_rows(packed))],
    )


@texts.command("show")
@TEXTS_ARGUMENT
@TEXTS_HASH
@NODES
@click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    default="zh-Hans",
    show_default=True,
    metavar="LANGUAGE",
    help="zh-Hans, zh-Hant or en.",
)
@json_option
def show(
    texts_path: Path | None, texts_hash: str | None, urls: tuple[str, ...], language: str, as_json: bool
) -> None:
    """Show texts as people read them, with the hash of the bundle and of each text.

    TEXTS is a folder or a packed bundle; without it, a node is asked for the bundle of --texts-hash.

    \b
    Example:
      luohu texts show our-texts --language en
      luohu texts show --texts-hash 5e0c...91 --url http://127.0.0.1:7201
    """
    found = _find(texts_path, texts_hash, urls)
    bundles: list[Json] = [_bundle_json(packed) for packed in found]
    lines = [line for packed in found for line in _bundle_lines(packed, language)]
    print_answer(as_json=as_json, value={"bundles": bundles}, lines=lines)


@texts.command("check")
@TEXTS_ARGUMENT
@TEXTS_HASH
@TRUST
@NODES
@json_option
def check(
    texts_path: Path | None,
    texts_hash: str | None,
    trust_path: Path | None,
    urls: tuple[str, ...],
    as_json: bool,
) -> int:
    """Check that texts are whole; with --url, that the ledger knows each kind, purpose and institution they name.

    Exit code 1 where it does not know one: nobody could consent to a notice that names it.

    \b
    Example:
      luohu texts check our-texts
      luohu texts check 2026-12.texts --trust trust.json --url http://127.0.0.1:7201
    """
    found = _find(texts_path, texts_hash, urls)
    if trust_path is not None and not urls:
        raise wrong_usage(
            "--trust",
            expected="--url beside it",
            found="none",
            cure="Name a node, which is asked under this root.",
        )
    root = named_root(trust_path, None)
    shown, missing = asyncio.run(_compare(found, urls, root)) if urls else (None, [])
    said = (
        "the texts are whole" if not missing else f"the ledger does not know {len(missing)} of what they name"
    )
    if urls and not missing:
        said += ", and the ledger knows all that they name"
    bundles: list[Json] = [_summary_json(packed) for packed in found]
    value: dict[str, Json] = {
        "bundles": bundles,
        "is_compared": bool(urls),
        "unregistered": [{"kind": kind, "name": name} for kind, name in missing],
        **({} if shown is None else shown_json(shown)),
    }
    rows = [row for packed in found for row in _summary_rows(packed)]
    rows += [("not on the ledger", f"{kind} {name}") for kind, name in missing]
    rows += [] if shown is None else shown_rows(shown)
    print_answer(
        as_json=as_json,
        value=value,
        lines=[said if shown is None else headline(shown, said), *fields(rows)],
    )
    return NO if missing else FINE


def _find(texts_path: Path | None, texts_hash: str | None, urls: tuple[str, ...]) -> tuple[PackedTexts, ...]:
    """Return the bundles that are named (rule 2). Raises CommandError, ConfigError or ClientError."""
    wanted = None if texts_hash is None else parse_hash(texts_hash, "--texts-hash")
    if texts_path is None:
        if wanted is None or not urls:
            raise wrong_usage(
                "luohu texts",
                expected="TEXTS, a folder or a bundle; or --texts-hash HASH with --url URL",
                found="neither",
                cure="Name the texts, or their hash and a node that has them.",
            )
        return (asyncio.run(_fetch(wanted, urls)),)
    held = load_texts(texts_path)
    if wanted is None:
        return held.bundles
    found = held.find(wanted)
    if found is None or found.hash != wanted:
        raise wrong_usage(
            f"{texts_path}",
            expected=f"the bundle {wanted.hex()}",
            found=", ".join(each.hash.hex() for each in held.bundles),
            cure="Name the right texts; one changed character makes another hash.",
            code="unknown-texts",
        )
    return (found,)


async def _fetch(wanted: bytes, urls: tuple[str, ...]) -> PackedTexts:
    from cli.nodes import connect_all
    from node.client.texts import fetch_texts

    async with connect_all(urls) as nodes:
        return await fetch_texts(nodes, wanted)


async def _compare(
    found: Sequence[PackedTexts], urls: tuple[str, ...], root: TrustedRoot | None
) -> "tuple[Answer[object], list[tuple[str, str]]]":
    """Return what of the texts is not registered, as kinds and names, with an answer that shows so."""
    from cli.nodes import connect_ledger
    from ledger.rules.state import Member, member_key

    schemas = sorted({each.code for packed in found for each in packed.bundle.schemas})
    purposes = sorted({each.code for packed in found for each in packed.bundle.purposes})
    members = sorted({each.member for packed in found for each in packed.bundle.parties})
    async with connect_ledger(urls, root) as ledger:
        asked: list[tuple[str, str, Answer[object]]] = [
            *[("schema", code, await ledger.schema(code)) for code in schemas],
            *[("purpose", code, await ledger.purpose(code)) for code in purposes],
            *[
                ("party", member, await ledger.current(Member, member_key(member), what=f"member {member}"))
                for member in members
            ],
        ]
        # The limits are always there: texts that name nothing are compared all the same.
        shown: Answer[object] = asked[-1][2] if asked else await ledger.parameters()
    return shown, [(kind, name) for kind, name, answer in asked if answer.value is None]


def _summary_rows(packed: PackedTexts) -> list[tuple[str, str]]:
    bundle = packed.bundle
    return [
        ("hash", packed.hash.hex()),
        (
            "holds",
            f"{len(bundle.notices)} notices, {len(bundle.schemas)} kinds of documents, "
            f"{len(bundle.purposes)} purposes, {len(bundle.parties)} institutions, {len(packed.encoded)} bytes",
        ),
    ]


def _summary_json(packed: PackedTexts) -> dict[str, Json]:
    texts: list[Json] = [
        {"kind": each.kind, "name": each.name, "hash": each.hash.hex()}
        for each in packed.bundle.text_hashes()
    ]
    return {"hash": packed.hash.hex(), "size": len(packed.encoded), "texts": texts}


def _bundle_json(packed: PackedTexts) -> dict[str, Json]:
    return {**_summary_json(packed), "bundle": to_json(packed.bundle)}


def _bundle_lines(packed: PackedTexts, language: str) -> list[str]:
    def label(name: str) -> str:
        return _LABELS[name][LANGUAGES.index(language)]

    def told(wording: Wording) -> str:
        return wording.in_language(language)

    bundle = packed.bundle
    lines = [f"texts {packed.hash.hex()}", *fields(_summary_rows(packed)[1:])]
    for notice in bundle.notices:
        lines += [
            "",
            f"{label('notice')}: {told(notice.title)}",
            *fields(_notice_rows(packed, notice, language)),
        ]
    for party in bundle.parties:
        rows = [
            (label("address"), told(party.address)),
            (label("contact"), party.contact),
            (label("storage"), told(party.storage)),
            (label("rights"), told(party.rights)),
        ]
        lines += ["", f"{label('party')}: {party.member}", *fields(rows)]
    common = [(name, told(getattr(bundle.receipt, name))) for name in bundle.receipt.__dataclass_fields__]
    return [*lines, "", label("common"), *fields(common)]


def _notice_rows(packed: PackedTexts, notice: Notice, language: str) -> list[tuple[str, str]]:
    def label(name: str) -> str:
        return _LABELS[name][LANGUAGES.index(language)]

    schemas = {each.code: each.title for each in packed.bundle.schemas}
    purposes = {each.code: each.title for each in packed.bundle.purposes}
    return [
        (label("version"), notice.version.hex()),
        (
            label("documents"),
            "; ".join(f"{schemas[code].in_language(language)} ({code})" for code in notice.schemas),
        ),
        (
            label("purpose"),
            f"{purposes[notice.purpose].in_language(language)} ({notice.purpose}, {notice.direction})",
        ),
        (label("use"), notice.use.in_language(language)),
        (label("categories"), "; ".join(each.text.in_language(language) for each in notice.categories)),
        (label("retention"), notice.retention.in_language(language)),
        (label("withdrawal"), notice.withdrawal.in_language(language)),
        (label("rights"), notice.rights.in_language(language)),
    ]
