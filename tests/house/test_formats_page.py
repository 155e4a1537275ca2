"""The page of formats lists what the code holds: every record with its fields in order, and every tag."""

import dataclasses
import importlib
import re

import pytest

from ledger.encoding.records import Record
from tests.support.sources import ROOT, module_of

PAGE = (ROOT / "docs" / "formats.md").read_text()
MODULES = (
    "keys",
    "certificates",
    "state",
    "operations",
    "proposals",
    "tlscertificates",
    "blocks",
    "commitments",
    "genesis",
    "statetree",
    "presentation",
    "receipts",
    "trust",
    "proofs",
    "snapshots",
)
# Results and wrappers that are never encoded.
UNWRITTEN = {
    "PrivateKey",
    "SignedMessage",
    "EncodedHeader",
    "Block",
    "TrustedHeader",
    "Pins",
    "Rebuilding",
}


def records() -> list[type[Record]]:
    return [
        value
        for path in sorted((ROOT / "ledger").rglob("*.py"))
        if path.stem in MODULES
        for value in vars(importlib.import_module(module_of(path))).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module_of(path)
        if value.__name__ not in UNWRITTEN and not value.__name__.startswith("_")
    ]


@pytest.mark.parametrize("record_class", records(), ids=lambda record_class: record_class.__name__)
def test_every_record_is_on_the_page_with_its_fields_in_order(record_class: type[Record]) -> None:
    tag = getattr(record_class, "TAG", None)
    title = rf"\*\*{record_class.__name__}\*\*" + (f" `{tag}`" if tag else "(?! `)")
    place = re.search(title, PAGE)
    assert place is not None, title
    entry = PAGE[place.end() :].split("\n\n")[0]
    entry = re.split(r"\*\*[A-Z]", entry)[0]
    if "the same, then" in entry:
        return
    at = 0
    for field in dataclasses.fields(record_class):
        named = entry.find(f"`{field.name}`", at)
        assert named >= 0, f"{record_class.__name__}.{field.name} is missing or out of order"
        at = named


def test_every_tag_is_on_the_page() -> None:
    kinds = ("notarize", "nullify", "finalize")
    for path in [*(ROOT / "ledger").rglob("*.py"), *(ROOT / "node").rglob("*.py")]:
        for tag in re.findall(r'"(luohu/[a-z{}/-]+/1)"', path.read_text()):
            for kind in kinds:
                assert f"`{tag.replace('{kind}', kind)}`" in PAGE, tag


def test_every_heading_that_the_code_cites_is_on_the_page() -> None:
    headings = set(re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE))
    for folder in ("ledger", "node", "cli"):
        for path in (ROOT / folder).rglob("*.py"):
            for cited in re.findall(r"docs/formats\.md, ([A-Z][a-z]+(?: [a-z]+)*)", path.read_text()):
                assert cited in headings, f"{path.name} cites {cited}"
