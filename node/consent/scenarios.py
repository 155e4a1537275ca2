"""Scenarios: what documents are used for, as data: codes, trilingual texts, samples.

Rule 1: a scenario is a folder with a `scenario.toml`; a new one needs no code.
Rule 2: unknown, missing and repeated entries are refused, each with its file and key.
Rule 3: a notice names only schemas and purposes of its own scenario; over all scenarios a code is defined
once, and one set of sides, purpose and list of schemas has one notice.
Rule 4: no step below the folder is a link: somebody else may have filled it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.encoding.records import pack
from ledger.errors import EncodingError, LedgerError
from ledger.genesis import GenesisPurpose, GenesisSchema
from ledger.receipts import ReceiptCategory, Wording
from ledger.requests import Retention
from ledger.rules.state import NOTICES_MAX, Purpose
from node.consent.textbundle import Notice
from node.files.configfile import ConfigError, Table, load_table_within, read_file

SCENARIO_FILE: Final = "scenario.toml"
CATEGORY_BIT_MAX: Final = 15
SCHEMAS_PER_NOTICE_MAX: Final = 64
SOURCES_MAX: Final = 8
SAMPLE_SIZE_MAX: Final = 1024 * 1024
SCENARIOS_MAX: Final = 256

_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]+", re.ASCII)
_SIDE: Final = re.compile(r"[A-Z]{2}", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ScenarioSchema:
    """A kind of document with its title; `fields` are the paths that a JSON report of it has.

    Only its `issuers` may issue it; any issuer where they are None.
    """

    code: str
    bearer: bool
    title: Wording
    fields: tuple[str, ...] = ()
    issuers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ScenarioPurpose:
    """A purpose with its title."""

    code: str
    title: Wording


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
    title: Wording
    schemas: tuple[ScenarioSchema, ...]
    purposes: tuple[ScenarioPurpose, ...]
    notices: tuple[Notice, ...]
    samples: tuple[Sample, ...]

    def notices_of(self, purpose: str) -> tuple[bytes, ...]:
        """Return the versions of a purpose's notices, in order."""
        return tuple(sorted(notice.version for notice in self.notices if notice.purpose == purpose))


@dataclass(frozen=True, slots=True)
class Scenarios:
    """All scenarios of a folder, in order of name."""

    scenarios: tuple[Scenario, ...]

    @property
    def schemas(self) -> tuple[GenesisSchema, ...]:
        """The registry's schemas, in order of code."""
        found = [
            GenesisSchema(s.code, int(s.bearer), s.issuers) for each in self.scenarios for s in each.schemas
        ]
        return tuple(sorted(found, key=lambda schema: schema.code))

    @property
    def purposes(self) -> tuple[GenesisPurpose, ...]:
        """The registry's purposes with their notices, in order of code."""
        found = (
            GenesisPurpose(p.code, each.notices_of(p.code)) for each in self.scenarios for p in each.purposes
        )
        return tuple(sorted(found, key=lambda purpose: purpose.code))

    def require(self, name: str) -> Scenario:
        """Return the scenario of that name. Raises ConfigError."""
        for scenario in self.scenarios:
            if scenario.name == name:
                return scenario
        known = ", ".join(scenario.name for scenario in self.scenarios)
        raise ConfigError(
            where="scenario", expected=f"one of {known}", found=ascii(name)[:80], cure="choose one of them"
        )


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
    if len(folders) > SCENARIOS_MAX:
        raise _too_many(directory, len(folders))
    return check_scenarios(directory, [load_scenario(folder) for folder in folders])


def check_scenarios(directory: Path, scenarios: Sequence[Scenario]) -> Scenarios:
    """Return the scenarios of a folder, of which no two define the same code. Raises ConfigError."""
    if not 1 <= len(scenarios) <= SCENARIOS_MAX:
        raise _too_many(directory, len(scenarios))
    _check_once(directory, "schema", (s.code for each in scenarios for s in each.schemas))
    _check_once(directory, "purpose", (p.code for each in scenarios for p in each.purposes))
    return Scenarios(tuple(scenarios))


def _too_many(directory: Path, count: int) -> ConfigError:
    expected = f"1 to {SCENARIOS_MAX} folders with a {SCENARIO_FILE}"
    return ConfigError(where=f"{directory}", expected=expected, found=f"{count}", cure="check the folder")


def load_scenario(folder: Path) -> Scenario:
    """Return the scenario of one folder. Raises ConfigError with file and key."""
    table = load_table_within(folder.parent, f"{folder.name}/{SCENARIO_FILE}")
    name = table.text("name")
    if name != folder.name or not _NAME.fullmatch(name):
        raise table.refusal("name", f"the folder's, {folder.name}", ascii(name)[:80], "rename one of them")
    title = wording(table.table("title"))
    schemas = tuple(_schema(each) for each in table.tables("schema"))
    purposes = tuple(_purpose(each) for each in table.tables("purpose"))
    codes = (frozenset(schema.code for schema in schemas), frozenset(purpose.code for purpose in purposes))
    notices = tuple(_notice(each, *codes) for each in table.tables("notice"))
    samples = tuple(_sample(each, folder, codes[0]) for each in table.tables("sample"))
    table.finish()
    where = folder / SCENARIO_FILE
    _check_once(where, "notice", (notice.name for notice in notices))
    scenario = Scenario(name, title, schemas, purposes, notices, samples)
    for purpose in purposes:
        count = len(scenario.notices_of(purpose.code))
        if count > NOTICES_MAX:
            raise ConfigError(
                where=f"{where}",
                expected=f"at most {NOTICES_MAX} notices of {purpose.code}",
                found=f"{count}",
                cure="retire some, or divide the purpose",
            )
    return scenario


def _schema(table: Table) -> ScenarioSchema:
    code, bearer, title = table.text("code"), table.flag("bearer"), wording(table.table("title"))
    fields = table.texts("fields") if "fields" in table.keys() else ()  # noqa: SIM118 - a Table is not a mapping
    issuers = tuple(sorted(table.texts("issuers"))) if "issuers" in table.keys() else None  # noqa: SIM118 - the same
    table.finish()
    try:
        pack(GenesisSchema(code, int(bearer), issuers))
    except EncodingError as error:
        key = "issuers" if "issuers" in error.where else "code"
        raise table.refusal(key, error.expected, error.found, "correct it") from error
    return ScenarioSchema(code, bearer, title, fields, issuers)


def _purpose(table: Table) -> ScenarioPurpose:
    code, title = table.text("code"), wording(table.table("title"))
    table.finish()
    try:
        pack(Purpose(code, (), 0))
    except EncodingError as error:
        raise table.refusal("code", error.expected, error.found, "correct it") from error
    return ScenarioPurpose(code, title)


def _notice(table: Table, schema_codes: frozenset[str], purpose_codes: frozenset[str]) -> Notice:
    sources = _in_order(table, "sources", SOURCES_MAX)
    destination = table.text("destination")
    for key, side in (*(("sources", source) for source in sources), ("destination", destination)):
        if not _SIDE.fullmatch(side):
            raise table.refusal(key, "two capital letters, as CN or HK", ascii(side)[:80], "correct it")
    schemas = _in_order(table, "schemas", SCHEMAS_PER_NOTICE_MAX)
    for code in schemas:
        _one_of(table, "schemas", code, sorted(schema_codes))
    categories = tuple(_category(each) for each in table.tables("category"))
    bits = [category.bit for category in categories]
    if not bits or bits != sorted(set(bits)):
        raise table.refusal("category", "bits in order, each once", f"{bits}", "number them upwards")
    notice = Notice(
        sources=sources,
        destination=destination,
        kept=_kept(table),
        schemas=schemas,
        purpose=_one_of(table, "purpose", table.text("purpose"), sorted(purpose_codes)),
        is_sensitive=int(table.flag("sensitive")),
        title=wording(table.table("title")),
        use=wording(table.table("use")),
        retention=wording(table.table("retention")),
        withdrawal=wording(table.table("withdrawal")),
        rights=wording(table.table("rights")),
        categories=categories,
    )
    table.finish()
    return notice


def _in_order(table: Table, key: str, count_max: int) -> tuple[str, ...]:
    codes = table.texts(key)
    if not 1 <= len(codes) <= count_max or list(codes) != sorted(set(codes)):
        expected = f"1 to {count_max} codes in order, each once"
        raise table.refusal(key, expected, ", ".join(codes)[:80] or "none", "sort them")
    return codes


def _kept(table: Table) -> Retention:
    kept = Retention(table.text("kept_from"), table.integer("kept_days", minimum=0, maximum=36_600))
    try:
        pack(kept)
    except EncodingError as error:
        raise table.refusal("kept_from", error.expected, error.found, "correct it") from error
    return kept


def _category(table: Table) -> ReceiptCategory:
    bit = table.integer("bit", minimum=0, maximum=CATEGORY_BIT_MAX)
    return ReceiptCategory(bit, wording(table))


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


def wording(table: Table) -> Wording:
    """Return the text in three languages that a table holds, and nothing else. Raises ConfigError."""
    found = Wording(table.text("zh-Hans"), table.text("zh-Hant"), table.text("en"))
    table.finish()
    try:
        pack(found)
    except LedgerError as error:
        raise ConfigError(
            where=table.where, expected=error.expected, found=error.found, cure="shorten or correct the text"
        ) from error
    return found


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
