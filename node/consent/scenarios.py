"""Scenarios: what documents are used for, as data: codes, trilingual texts, samples.

Rule 1: a scenario is a folder with a `scenario.toml`; a new one needs no code.
Rule 2: unknown, missing and repeated entries are refused, each with its file and key.
Rule 3: the notice version is the hash of everything that the notice tells the holder, in all three
languages, so one changed character makes another notice.
Rule 4: a notice names only schemas and purposes of its own scenario; over all scenarios a code is defined
once, and one direction, purpose and list of schemas has one notice.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.encoding.codec import Value, encode
from ledger.encoding.digests import tagged_digest
from ledger.encoding.records import pack
from ledger.errors import EncodingError
from ledger.genesis import GenesisSchema
from ledger.rules.state import CROSS_BORDER, SENSITIVE, SEPARATE_CONSENT, Purpose
from node.files.configfile import ConfigError, Table, load_table, read_file

SCENARIO_FILE: Final = "scenario.toml"
NOTICE_TAG: Final = "luohu/notice/1"
LANGUAGES: Final = ("zh-Hans", "zh-Hant", "en")
DIRECTIONS: Final = ("CN-CN", "CN-HK", "HK-CN", "HK-HK")
CATEGORY_BIT_MAX: Final = 15
SCHEMAS_PER_NOTICE_MAX: Final = 8
SAMPLE_SIZE_MAX: Final = 1024 * 1024
SCENARIOS_MAX: Final = 256

_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]+", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Texts:
    """One text in simplified Chinese, traditional Chinese and English."""

    zh_hans: str
    zh_hant: str
    en: str

    def in_language(self, language: str) -> str:
        """Return the text in one of LANGUAGES."""
        return {"zh-Hans": self.zh_hans, "zh-Hant": self.zh_hant, "en": self.en}[language]

    def to_value(self) -> Value:
        """Return what is hashed: the UTF-8 bytes in the order of LANGUAGES."""
        return (self.zh_hans.encode(), self.zh_hant.encode(), self.en.encode())


@dataclass(frozen=True, slots=True)
class ScenarioSchema:
    """A kind of document with its title; `fields` are the paths that a JSON report of it has."""

    code: str
    bearer: bool
    title: Texts
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScenarioPurpose:
    """A purpose with its title."""

    code: str
    title: Texts


@dataclass(frozen=True, slots=True)
class Category:
    """A category of data in a document: bit `bit` of a consent's category mask."""

    bit: int
    text: Texts


@dataclass(frozen=True, slots=True)
class Notice:
    """What the holder is told before consenting."""

    direction: str
    schemas: tuple[str, ...]
    purpose: str
    is_sensitive: bool
    title: Texts
    use: Texts
    retention: Texts
    withdrawal: Texts
    rights: Texts
    categories: tuple[Category, ...]

    @property
    def version(self) -> bytes:
        """The 32-byte notice version that a request and a consent name."""
        categories = tuple((category.bit, category.text.to_value()) for category in self.categories)
        texts = (self.title, self.use, self.retention, self.withdrawal, self.rights)
        head = (self.direction, self.schemas, self.purpose, int(self.is_sensitive))
        return tagged_digest(NOTICE_TAG, encode((*head, *(text.to_value() for text in texts), categories)))

    @property
    def category_mask(self) -> int:
        """The bits of all categories."""
        return sum(1 << category.bit for category in self.categories)

    @property
    def flags(self) -> int:
        """The flags of a consent to this notice: separate consent always, the others as they apply."""
        crosses = self.direction[:2] != self.direction[-2:]
        return SEPARATE_CONSENT | (SENSITIVE if self.is_sensitive else 0) | (CROSS_BORDER if crosses else 0)


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample document of an invented person."""

    schema: str
    path: Path
    media_type: str

    def read(self) -> bytes:
        """Return the document's bytes. Raises ConfigError."""
        return read_file(self.path, size_max=SAMPLE_SIZE_MAX)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One use of the platform."""

    name: str
    title: Texts
    schemas: tuple[ScenarioSchema, ...]
    purposes: tuple[ScenarioPurpose, ...]
    notices: tuple[Notice, ...]
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Scenarios:
    """All scenarios of a folder, in order of name."""

    scenarios: tuple[Scenario, ...]

    @property
    def schemas(self) -> tuple[GenesisSchema, ...]:
        """The registry's schemas, in order of code."""
        found = [GenesisSchema(s.code, int(s.bearer)) for each in self.scenarios for s in each.schemas]
        return tuple(sorted(found, key=lambda schema: schema.code))

    @property
    def purposes(self) -> tuple[str, ...]:
        """The registry's purposes, in order."""
        return tuple(sorted(purpose.code for each in self.scenarios for purpose in each.purposes))

    def fields_of(self, schema: str) -> tuple[str, ...]:
        """Return the paths that a JSON report of a kind has, where they are known."""
        found = (s.fields for each in self.scenarios for s in each.schemas if s.code == schema)
        return next(found, ())

    def require(self, name: str) -> Scenario:
        """Return the scenario of that name. Raises ConfigError."""
        for scenario in self.scenarios:
            if scenario.name == name:
                return scenario
        known = ", ".join(scenario.name for scenario in self.scenarios)
        raise ConfigError(
            where="scenario", expected=f"one of {known}", found=ascii(name)[:80], cure="choose one of them"
        )

    def find_notice(self, *, schemas: tuple[str, ...], purpose: str, direction: str) -> Notice | None:
        """Return the notice for exactly these, or None."""
        for scenario in self.scenarios:
            for notice in scenario.notices:
                if (notice.schemas, notice.purpose, notice.direction) == (schemas, purpose, direction):
                    return notice
        return None

    def find_notice_by_version(self, version: bytes) -> Notice | None:
        """Return the notice with that version, or None."""
        notices = (notice for scenario in self.scenarios for notice in scenario.notices)
        return next((notice for notice in notices if notice.version == version), None)

    def require_notice(self, *, schemas: tuple[str, ...], purpose: str, direction: str) -> Notice:
        """Return the notice for exactly these. Raises ConfigError."""
        notice = self.find_notice(schemas=schemas, purpose=purpose, direction=direction)
        if notice is None:
            found = f"none for {', '.join(schemas)}, {purpose}, {direction}"
            cure = "name a schema, purpose and direction of scenarios/, or add a notice there"
            raise ConfigError(where="notice", expected="a text to show the holder", found=found, cure=cure)
        return notice


def scenarios_directory() -> Path:
    """Return the scenarios that come with the source."""
    return Path(__file__).resolve().parents[2] / "scenarios"


def load_scenarios(directory: Path) -> Scenarios:
    """Return every scenario of a folder. Raises ConfigError with file and key."""
    if not directory.is_dir():
        raise ConfigError(
            where=f"{directory}",
            expected="a folder of scenarios",
            found="none",
            cure="name the folder scenarios/",
        )
    folders = sorted(path for path in directory.iterdir() if (path / SCENARIO_FILE).exists())
    if not 1 <= len(folders) <= SCENARIOS_MAX:
        expected = f"1 to {SCENARIOS_MAX} folders with a {SCENARIO_FILE}"
        raise ConfigError(
            where=f"{directory}", expected=expected, found=f"{len(folders)}", cure="check the folder"
        )
    scenarios = tuple(load_scenario(folder) for folder in folders)
    _check_once(directory, "schema", (s.code for each in scenarios for s in each.schemas))
    _check_once(directory, "purpose", (p.code for each in scenarios for p in each.purposes))
    return Scenarios(scenarios)


def load_scenario(folder: Path) -> Scenario:
    """Return the scenario of one folder. Raises ConfigError with file and key."""
    table = load_table(folder / SCENARIO_FILE)
    name = table.text("name")
    if name != folder.name or not _NAME.fullmatch(name):
        raise table.refusal("name", f"the folder's, {folder.name}", ascii(name)[:80], "rename one of them")
    title = _texts(table.table("title"))
    schemas = tuple(_schema(each) for each in table.tables("schema"))
    purposes = tuple(_purpose(each) for each in table.tables("purpose"))
    codes = (frozenset(schema.code for schema in schemas), frozenset(purpose.code for purpose in purposes))
    notices = tuple(_notice(each, *codes) for each in table.tables("notice"))
    samples = tuple(_sample(each, folder, codes[0]) for each in table.tables("sample"))
    table.finish()
    where = folder / SCENARIO_FILE
    _check_once(where, "notice", (f"{n.direction} {n.purpose} {' '.join(n.schemas)}" for n in notices))
    return Scenario(name, title, schemas, purposes, notices, samples)


def _schema(table: Table) -> ScenarioSchema:
    code, bearer, title = table.text("code"), table.flag("bearer"), _texts(table.table("title"))
    fields = table.texts("fields") if "fields" in table.keys() else ()  # noqa: SIM118 - a Table is not a mapping
    table.finish()
    try:
        pack(GenesisSchema(code, int(bearer)))
    except EncodingError as error:
        raise table.refusal("code", error.expected, error.found, "correct it") from error
    return ScenarioSchema(code, bearer, title, fields)


def _purpose(table: Table) -> ScenarioPurpose:
    code, title = table.text("code"), _texts(table.table("title"))
    table.finish()
    try:
        pack(Purpose(code, 0))
    except EncodingError as error:
        raise table.refusal("code", error.expected, error.found, "correct it") from error
    return ScenarioPurpose(code, title)


def _notice(table: Table, schema_codes: frozenset[str], purpose_codes: frozenset[str]) -> Notice:
    direction = _one_of(table, "direction", table.text("direction"), DIRECTIONS)
    schemas = table.texts("schemas")
    if not 1 <= len(schemas) <= SCHEMAS_PER_NOTICE_MAX or list(schemas) != sorted(set(schemas)):
        expected = f"1 to {SCHEMAS_PER_NOTICE_MAX} codes in order, each once"
        raise table.refusal("schemas", expected, ", ".join(schemas)[:80] or "none", "sort them")
    for code in schemas:
        _one_of(table, "schemas", code, sorted(schema_codes))
    notice = Notice(
        direction=direction,
        schemas=schemas,
        purpose=_one_of(table, "purpose", table.text("purpose"), sorted(purpose_codes)),
        is_sensitive=table.flag("sensitive"),
        title=_texts(table.table("title")),
        use=_texts(table.table("use")),
        retention=_texts(table.table("retention")),
        withdrawal=_texts(table.table("withdrawal")),
        rights=_texts(table.table("rights")),
        categories=tuple(_category(each) for each in table.tables("category")),
    )
    table.finish()
    bits = [category.bit for category in notice.categories]
    if not bits or bits != sorted(set(bits)):
        raise table.refusal("category", "bits in order, each once", f"{bits}", "number them upwards")
    return notice


def _category(table: Table) -> Category:
    bit = table.integer("bit", minimum=0, maximum=CATEGORY_BIT_MAX)
    return Category(bit, _texts(table))


def _sample(table: Table, folder: Path, schema_codes: frozenset[str]) -> Sample:
    schema = _one_of(table, "schema", table.text("schema"), sorted(schema_codes))
    name, media_type = table.text("file"), table.text("media_type")
    table.finish()
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise table.refusal("file", "a file in the scenario's folder", ascii(name)[:80], "correct the path")
    if path.stat().st_size > SAMPLE_SIZE_MAX:
        raise table.refusal("file", f"at most {SAMPLE_SIZE_MAX} bytes", "more", "use a smaller sample")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise table.refusal(
            "media_type", "a media type like application/pdf", ascii(media_type)[:80], "fix it"
        )
    return Sample(schema, path, media_type)


def _texts(table: Table) -> Texts:
    texts = Texts(table.text("zh-Hans"), table.text("zh-Hant"), table.text("en"))
    table.finish()
    return texts


def _one_of(table: Table, key: str, found: str, allowed: Iterable[str]) -> str:
    names = tuple(allowed)
    if found not in names:
        raise table.refusal(key, f"one of {', '.join(names)}", ascii(found)[:80], "correct it")
    return found


def _check_once(where: Path, what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(
                where=f"{where}", expected=f"each {what} once", found=f"{name} twice", cure="remove one"
            )
        seen.add(name)
