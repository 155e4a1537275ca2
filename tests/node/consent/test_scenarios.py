"""Scenarios: data that is read strictly, and notices whose version is the hash of what the holder reads."""

import json
import runpy
import shutil
from pathlib import Path

import pytest

from ledger.receipts import LANGUAGES
from ledger.rules.state import CROSS_BORDER, SENSITIVE, SEPARATE_CONSENT
from node.consent.scenarios import (
    CATEGORY_BIT_MAX,
    SAMPLE_SIZE_MAX,
    SCENARIO_FILE,
    load_scenario,
    load_scenarios,
    scenarios_directory,
)
from node.files.configfile import ConfigError

SERVED = (
    "consumer-credit",
    "corporate-account-opening",
    "medical-records",
    "sme-financing",
    "trade-settlement",
    "wealth-management",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the consumer credit scenario."""
    return Path(shutil.copytree(scenarios_directory() / "consumer-credit", tmp_path / "consumer-credit"))


def edit(folder: Path, old: str, new: str) -> None:
    """Replace the first `old` in the scenario's file."""
    path = folder / SCENARIO_FILE
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_every_scenario_the_platform_serves_is_there_in_both_directions() -> None:
    scenarios = load_scenarios(scenarios_directory())
    assert tuple(scenario.name for scenario in scenarios.scenarios) == SERVED
    for scenario in scenarios.scenarios:
        assert {(notice.sources, notice.destination) for notice in scenario.notices} == {
            (("CN",), "HK"),
            (("HK",), "CN"),
        }


def test_every_text_is_there_in_three_languages() -> None:
    for scenario in load_scenarios(scenarios_directory()).scenarios:
        for notice in scenario.notices:
            texts = [notice.title, notice.use, notice.retention, notice.withdrawal, notice.rights]
            texts += [category.text for category in notice.categories]
            assert all(text.in_language(language) for text in texts for language in LANGUAGES)
            assert all(text.en.isascii() and not text.zh_hans.isascii() for text in texts)


def test_a_scenario_that_nobody_wrote_is_refused_with_a_cure() -> None:
    with pytest.raises(ConfigError, match="expected one of consumer-credit"):
        load_scenarios(scenarios_directory()).require("no-such")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("在六个月内删除报告", "在七个月内删除报告"),
        ("within six months", "within six month"),
        ("bit = 3", "bit = 4"),
        ("kept_days = 1826", "kept_days = 1827"),
        ('destination = "CN"', 'destination = "HK"'),
        ("sensitive = true", "sensitive = false"),
    ],
)
def test_one_changed_character_makes_another_notice(folder: Path, old: str, new: str) -> None:
    before = load_scenario(folder).notices[0].version
    edit(folder, old, new)
    assert load_scenario(folder).notices[0].version != before


def test_flags_and_categories_follow_from_the_notice() -> None:
    scenarios = load_scenarios(scenarios_directory())
    credit = scenarios.require("consumer-credit").notices[0]
    assert credit.flags == SEPARATE_CONSENT | SENSITIVE | CROSS_BORDER
    assert credit.category_mask == 0b1111
    assert scenarios.require("trade-settlement").notices[0].flags == SEPARATE_CONSENT | CROSS_BORDER


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "consumer-credit"', 'name = "other"', "scenario.toml: name: expected the folder's"),
        ('name = "consumer-credit"', "name = 3", "scenario.toml: name: expected a text"),
        ('name = "consumer-credit"', 'name = "consumer-credit"\ncolour = 1', "unknown 'colour'; correct"),
        (
            'code = "hk.credit-report"',
            'code = "HK report"',
            r"schema\[1\].code: expected a schema identifier",
        ),
        (
            'code = "cn.credit-report"',
            'code = "hk.credit-report"',
            "schemas: expected one of hk.credit-report",
        ),
        ("bearer = false", 'bearer = "no"', r"schema\[1\].bearer: expected true or false, found 'no'"),
        ('zh-Hans = "香港个人信贷报告"\n', "", r"schema\[1\].title.zh-Hans: expected a text, found nothing"),
        (
            'destination = "CN"',
            'destination = "cn"',
            r"notice\[1\].destination: expected two capital letters",
        ),
        (
            'sources = ["HK"]',
            'sources = ["HK", "CN"]',
            r"notice\[1\].sources: expected 1 to 8 codes in order",
        ),
        ('kept_from = "close"', 'kept_from = "never"', r"notice\[1\].kept_from: expected one of end"),
        ("kept_days = 1826", "kept_days = 99999", r"kept_days: expected an integer from 0 to 36600"),
        ('schemas = ["hk.credit-report"]', "schemas = []", r"notice\[1\].schemas: expected 1 to 64 codes"),
        ('schemas = ["hk.credit-report"]', 'schemas = ["no.such"]', "found 'no.such'"),
        ("bit = 1", "bit = 0", r"category: expected bits in order, each once, found \[0, 0, 2, 3\]"),
        ("bit = 3", f"bit = {CATEGORY_BIT_MAX + 1}", "bit: expected an integer from 0 to 15, found 16"),
        ("[notice.retention]", "[notice.storage]", "retention: expected a table, found nothing"),
        (
            '"samples/hk-credit-report.pdf"',
            '"../../secret"',
            "file: expected a file in the scenario's folder",
        ),
        ('"application/pdf"', '"pdf"', "media_type: expected a media type"),
        ("[title]", "[title", "expected a TOML file in UTF-8"),
    ],
)
def test_a_wrong_entry_is_refused_with_file_and_key(folder: Path, old: str, new: str, message: str) -> None:
    edit(folder, old, new)
    with pytest.raises(ConfigError, match=message) as caught:
        load_scenario(folder)
    assert str(folder / SCENARIO_FILE) in str(caught.value)


def test_the_highest_category_bit_is_accepted(folder: Path) -> None:
    edit(folder, "bit = 3", f"bit = {CATEGORY_BIT_MAX}")
    assert load_scenario(folder).notices[0].category_mask == 0b111 | 1 << CATEGORY_BIT_MAX


def test_a_code_is_defined_once_over_all_scenarios(folder: Path) -> None:
    copy = Path(shutil.copytree(folder, folder.parent / "second"))
    edit(copy, 'name = "consumer-credit"', 'name = "second"')
    with pytest.raises(ConfigError, match=r"each schema once, found hk.credit-report twice"):
        load_scenarios(folder.parent)


def test_a_folder_without_scenarios_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 to 256 folders"):
        load_scenarios(tmp_path)
    with pytest.raises(ConfigError, match="a folder of scenarios, found none"):
        load_scenarios(tmp_path / "nothing")


def test_samples_are_marked_as_samples_and_read_whole() -> None:
    pdf, report = load_scenarios(scenarios_directory()).require("consumer-credit").samples
    assert pdf.media_type == "application/pdf"
    assert pdf.read().startswith(b"%PDF-1.4") and pdf.read().endswith(b"%%EOF\n")
    assert b"SAMPLE - NOT A REAL CREDIT REPORT" in pdf.read()
    assert "SAMPLE" in json.loads(report.read())["sample"]


def test_a_sample_may_have_the_largest_size_and_not_one_byte_more(folder: Path) -> None:
    sample = folder / "samples" / "cn-credit-report.json"
    sample.write_bytes(bytes(SAMPLE_SIZE_MAX))
    assert len(load_scenario(folder).samples[1].read()) == SAMPLE_SIZE_MAX
    sample.write_bytes(bytes(SAMPLE_SIZE_MAX + 1))
    with pytest.raises(ConfigError, match=f"file: expected at most {SAMPLE_SIZE_MAX} bytes, found more"):
        load_scenario(folder)


def test_the_sample_pdf_is_what_its_script_writes_and_its_cross_references_are_right() -> None:
    samples = scenarios_directory() / "consumer-credit" / "samples"
    written: bytes = runpy.run_path(str(samples / "make_pdf.py"))["pdf"]()
    assert (samples / "hk-credit-report.pdf").read_bytes() == written
    table = int(written.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert written[table:].startswith(b"xref\n")
    entries = written[table:].split(b"\n")[3:10]
    for number, entry in enumerate(entries, start=1):
        assert written[int(entry[:10]) :].startswith(b"%d 0 obj\n" % number)
