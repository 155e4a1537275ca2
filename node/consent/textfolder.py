"""A folder of texts: sources that people write, packed into a bundle, and bundles that were packed (docs/texts.md).

Rule 1: sources are `receipt.toml`, `parties.toml`, and a folder with a `scenario.toml` for each use. Beside it such a
folder may have `samples`, which are no texts. Nothing else lies there, and nothing is a link: what is packed is what a
reader of the folder sees.
Rule 2: a file that ends with `.texts` is a bundle, of whatever origin: it is checked like one that came from a node.
Rule 3: a notice that several bundles contain is answered by the sources, else by the newest file.
Rule 4: what is held is bounded: BUNDLES_MAX bundles of HELD_SIZE_MAX bytes together.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from ledger.encoding.records import pack
from ledger.errors import LedgerError
from node.consent.scenarios import SCENARIO_FILE, check_scenarios, load_scenario, scenarios_directory, wording
from node.consent.textbundle import (
    TEXTS_SIZE_MAX,
    CommonTexts,
    PackedTexts,
    PartyTexts,
    PurposeTexts,
    SchemaTexts,
    TextBundle,
)
from node.files.configfile import ConfigError, load_table_within, read_file, read_file_within

RECEIPT_TEXTS_FILE: Final = "receipt.toml"
PARTIES_FILE: Final = "parties.toml"
SAMPLES: Final = "samples"
BUNDLE_SUFFIX: Final = ".texts"
ENTRIES_MAX: Final = 1_024
BUNDLES_MAX: Final = 64
HELD_SIZE_MAX: Final = 16 * 1024 * 1024

_SOURCES_CURE: Final = (
    "name a folder with receipt.toml, parties.toml and a folder for each use, or a packed bundle"
)


class HeldTexts:
    """Bundles in the order in which they are asked (rule 3)."""

    def __init__(self, bundles: Iterable[PackedTexts] = ()) -> None:
        self.bundles = tuple(bundles)
        self._found: dict[bytes, PackedTexts] = {}
        for packed in reversed(self.bundles):
            self._found |= dict.fromkeys((notice.version for notice in packed.bundle.notices), packed)
        # A hash of a bundle is never taken for a notice's.
        self._found |= {packed.hash: packed for packed in self.bundles}

    def find(self, wanted: bytes) -> PackedTexts | None:
        """Return the bundle of that hash, or the first one with a notice of that version, or None."""
        return self._found.get(wanted)


NO_TEXTS: Final = HeldTexts()


def bundle_name(packed: PackedTexts) -> str:
    """Return the name of a bundle's file: its hash, so that another content has another name."""
    return packed.hash.hex() + BUNDLE_SUFFIX


def pack_folder(folder: Path) -> PackedTexts:
    """Return the bundle that a folder's sources make, the same bytes everywhere. Raises ConfigError."""
    scenarios = check_scenarios(folder, [load_scenario(path) for path in _uses_of(folder)])
    schemas = [SchemaTexts(s.code, s.title, s.fields) for each in scenarios.scenarios for s in each.schemas]
    purposes = [PurposeTexts(p.code, p.title) for each in scenarios.scenarios for p in each.purposes]
    notices = [notice for each in scenarios.scenarios for notice in each.notices]
    parties, receipt = _load_parties(folder), _load_receipt_texts(folder)
    try:
        bundle = TextBundle(
            version=1,
            schemas=tuple(sorted(schemas, key=lambda each: each.code)),
            purposes=tuple(sorted(purposes, key=lambda each: each.code)),
            notices=tuple(sorted(notices, key=lambda each: each.name)),
            parties=tuple(sorted(parties, key=lambda each: each.member)),
            receipt=receipt,
        )
        return PackedTexts.pack(bundle)
    except LedgerError as error:
        raise ConfigError(
            where=f"{folder}: {error.where}",
            expected=error.expected,
            found=error.found,
            cure="correct the texts",
        ) from error


def sample_texts() -> PackedTexts:
    """Return the texts that come with the source: samples, of invented institutions. Raises ConfigError."""
    return pack_folder(scenarios_directory())


def load_texts(path: Path) -> HeldTexts:
    """Return the texts that a folder has, or the one bundle in a file. Raises ConfigError."""
    if not path.is_dir():
        return HeldTexts([_decode(path, read_file(path, size_max=TEXTS_SIZE_MAX))])
    held, wrong = hold_texts(path)
    for error in wrong:
        raise error
    if not held.bundles:
        raise ConfigError(where=f"{path}", expected="texts", found="none", cure=_SOURCES_CURE)
    return held


def hold_texts(folder: Path) -> tuple[HeldTexts, list[ConfigError]]:
    """Return what of a folder can be used, and what is wrong with the rest."""
    held: list[PackedTexts] = []
    wrong: list[ConfigError] = []
    size = 0
    for each in _bundles_of(folder):
        if isinstance(each, ConfigError):
            wrong.append(each)
            continue
        size += len(each.encoded)
        if len(held) == BUNDLES_MAX or size > HELD_SIZE_MAX:
            expected = f"at most {BUNDLES_MAX} bundles of {HELD_SIZE_MAX} bytes together"
            cure = "move the oldest bundles away"
            wrong.append(ConfigError(where=f"{folder}", expected=expected, found="more", cure=cure))
            break
        held.append(each)
    return HeldTexts(held), wrong


def _bundles_of(folder: Path) -> Iterator[PackedTexts | ConfigError]:
    """Yield each bundle of a folder, sources first, then the newest file; or what is wrong with it."""
    try:
        entries = _listed(folder)
        packed = sorted(
            (path for path in entries if path.suffix == BUNDLE_SUFFIX),
            key=lambda path: (-path.lstat().st_mtime_ns, path.name),
        )
    except OSError as error:
        yield _unreadable(folder, error)
        return
    except ConfigError as error:
        yield error
        return
    if any(path.name == RECEIPT_TEXTS_FILE for path in entries):
        try:
            yield pack_folder(folder)
        except ConfigError as error:
            yield error
    for path in packed:
        try:
            yield _decode(path, read_file_within(folder, path.name, size_max=TEXTS_SIZE_MAX))
        except ConfigError as error:
            yield error


def _decode(path: Path, encoded: bytes) -> PackedTexts:
    try:
        return PackedTexts.decode(encoded)
    except LedgerError as error:
        cure = "fetch the bundle again, or pack the texts anew: luohu texts pack"
        raise ConfigError(
            where=f"{path}: {error.where}", expected=error.expected, found=error.found, cure=cure
        ) from error


def _uses_of(folder: Path) -> list[Path]:
    """Return the folders of uses among a folder's sources. Raises ConfigError where anything else lies there."""
    try:
        entries = _listed(folder)
        _check_sources(folder, entries)
        uses = [path for path in entries if path.is_dir()]
        for use in uses:
            _check_use(use)
    except OSError as error:
        raise _unreadable(folder, error) from error
    return uses


def _check_sources(folder: Path, entries: Sequence[Path]) -> None:
    for path in entries:
        if path.is_symlink():
            raise _stray(path, "a link")
        is_use = path.is_dir() and (path / SCENARIO_FILE).is_file()
        if (
            not is_use
            and path.name not in (RECEIPT_TEXTS_FILE, PARTIES_FILE)
            and path.suffix != BUNDLE_SUFFIX
        ):
            raise _stray(path, "something else")
    if not any(path.name == RECEIPT_TEXTS_FILE for path in entries):
        raise ConfigError(where=f"{folder}", expected="sources of texts", found="none", cure=_SOURCES_CURE)


def _check_use(use: Path) -> None:
    for path in _listed(use):
        if path.is_symlink():
            raise _stray(path, "a link")
        is_samples = path.name == SAMPLES and path.is_dir()
        if path.name != SCENARIO_FILE and not is_samples:
            raise _stray(path, "something else")


def _stray(path: Path, found: str) -> ConfigError:
    expected = (
        f"nothing but {RECEIPT_TEXTS_FILE}, {PARTIES_FILE}, packed bundles and a folder for each use "
        f"with {SCENARIO_FILE} and {SAMPLES}"
    )
    return ConfigError(where=f"{path}", expected=expected, found=found, cure="move it out of the folder")


def _listed(folder: Path) -> list[Path]:
    """Return what lies in a folder, in order of name. Raises ConfigError or OSError."""
    found = sorted(islice(folder.iterdir(), ENTRIES_MAX + 1))
    if len(found) > ENTRIES_MAX:
        cure = "name a folder that holds texts alone"
        raise ConfigError(
            where=f"{folder}", expected=f"at most {ENTRIES_MAX} entries", found="more", cure=cure
        )
    return found


def _unreadable(folder: Path, error: OSError) -> ConfigError:
    found = error.strerror or type(error).__name__
    return ConfigError(
        where=f"{folder}",
        expected="a folder of texts that can be read",
        found=found,
        cure="check the path and its owner",
    )


def _load_receipt_texts(folder: Path) -> CommonTexts:
    table = load_table_within(folder, RECEIPT_TEXTS_FILE)
    texts = CommonTexts(
        method=wording(table.table("method")),
        necessity=wording(table.table("necessity")),
        third_parties=wording(table.table("third_parties")),
        crossing=wording(table.table("crossing")),
        separate_consent=wording(table.table("separate_consent")),
        refusal=wording(table.table("refusal")),
    )
    table.finish()
    return texts


def _load_parties(folder: Path) -> list[PartyTexts]:
    table = load_table_within(folder, PARTIES_FILE)
    parties: dict[str, PartyTexts] = {}
    for each in table.tables("party"):
        member = each.text("member")
        if member in parties:
            raise each.refusal("member", "each institution once", f"{ascii(member)[:80]} twice", "remove one")
        party = PartyTexts(
            member,
            each.text("contact"),
            wording(each.table("address")),
            wording(each.table("storage")),
            wording(each.table("rights")),
        )
        each.finish()
        try:
            pack(party)
        except LedgerError as error:
            raise each.refusal("member", error.expected, error.found, "correct it") from error
        parties[member] = party
    table.finish()
    return list(parties.values())
