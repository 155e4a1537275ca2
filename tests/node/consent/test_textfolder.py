"""A folder of texts: what is packed is what a reader of the folder sees, and one bad file takes nothing else along."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from node.consent.scenarios import SCENARIO_FILE, scenarios_directory
from node.consent.textbundle import PackedTexts
from node.consent.textfolder import (
    BUNDLES_MAX,
    ENTRIES_MAX,
    PARTIES_FILE,
    RECEIPT_TEXTS_FILE,
    HeldTexts,
    bundle_name,
    hold_texts,
    load_texts,
    pack_folder,
    sample_texts,
)
from node.files.configfile import ConfigError
from tests.support.texts import with_party

SAMPLES = sample_texts()
USE = "consumer-credit"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the sample texts."""
    return Path(shutil.copytree(scenarios_directory(), tmp_path / "texts"))


def test_the_same_texts_in_another_order_make_the_same_bundle(folder: Path) -> None:
    path = folder / PARTIES_FILE
    head, *parties = path.read_text(encoding="utf-8").split("[[party]]")
    path.write_text(head + "".join(f"[[party]]{each}\n" for each in reversed(parties)), encoding="utf-8")
    assert pack_folder(folder) == SAMPLES


def test_samples_are_no_texts(folder: Path) -> None:
    shutil.rmtree(folder / USE / "samples")
    path = folder / USE / SCENARIO_FILE
    path.write_text(path.read_text(encoding="utf-8").partition("[[sample]]")[0], encoding="utf-8")
    assert pack_folder(folder) == SAMPLES


STRAYS: dict[str, Callable[[Path], object]] = {
    "a file": lambda folder: (folder / ".DS_Store").write_bytes(b""),
    "a file of a use": lambda folder: (folder / USE / "notes.txt").write_text("to be checked"),
    "a folder": lambda folder: (folder / "drafts").mkdir(),
    "a link to a use": lambda folder: (folder / "linked").symlink_to(folder / USE),
    "a link in place of a file": lambda folder: replace_by_link(folder / RECEIPT_TEXTS_FILE),
    "a link in place of a scenario": lambda folder: replace_by_link(folder / USE / SCENARIO_FILE),
    "a link in place of samples": lambda folder: replace_by_link(folder / USE / "samples"),
    "a pipe": lambda folder: os.mkfifo(folder / "pipe"),
}


def replace_by_link(path: Path) -> None:
    moved = path.parent.parent / "moved"
    path.rename(moved)
    path.symlink_to(moved)


@pytest.mark.parametrize("kind", STRAYS)
def test_links_and_strays_are_refused(folder: Path, kind: str) -> None:
    STRAYS[kind](folder)
    with pytest.raises(ConfigError, match=r"expected nothing but receipt\.toml") as caught:
        pack_folder(folder)
    assert caught.value.cure == "move it out of the folder"
    assert str(folder) in caught.value.where


def test_a_missing_part_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / PARTIES_FILE).unlink()
    with pytest.raises(ConfigError, match=rf"{PARTIES_FILE}: expected a file, found nothing"):
        pack_folder(folder)
    (folder / RECEIPT_TEXTS_FILE).unlink()
    with pytest.raises(ConfigError, match="sources of texts, found none"):
        pack_folder(folder)
    with pytest.raises(ConfigError, match="No such file"):
        pack_folder(tmp_path / "nowhere")


def test_a_wrong_text_is_refused_with_its_file_and_key(folder: Path) -> None:
    path = folder / USE / SCENARIO_FILE
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('en = "Consumer credit"', 'en = "Cafe\u0301"', 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"{USE}/{SCENARIO_FILE}: title"):
        pack_folder(folder)


def test_too_many_entries_are_not_walked(tmp_path: Path) -> None:
    for number in range(ENTRIES_MAX + 1):
        (tmp_path / f"{number}.texts").touch()
    with pytest.raises(ConfigError, match=f"at most {ENTRIES_MAX} entries"):
        pack_folder(tmp_path)
    _, (wrong,) = hold_texts(tmp_path)
    assert f"at most {ENTRIES_MAX} entries" in str(wrong)


# -- bundles --------------------------------------------------------------------------------------------


def put(folder: Path, packed: PackedTexts, *, age_s: int = 0) -> Path:
    path = folder / bundle_name(packed)
    path.write_bytes(packed.encoded)
    os.utime(path, (1_000_000 - age_s, 1_000_000 - age_s))
    return path


def test_a_bundle_is_found_by_its_hash_and_by_a_notice_in_the_newest(tmp_path: Path) -> None:
    version = SAMPLES.bundle.notices[0].version
    newer = with_party(SAMPLES, "hk-clinic")
    put(tmp_path, SAMPLES, age_s=60), put(tmp_path, newer)
    held = load_texts(tmp_path)
    assert held.find(SAMPLES.hash) == SAMPLES and held.find(newer.hash) == newer
    assert held.find(version) == newer and held.find(bytes(32)) is None
    put(tmp_path, newer, age_s=120)
    assert load_texts(tmp_path).find(version) == SAMPLES
    assert HeldTexts().find(version) is None


def test_sources_have_the_word_before_bundles(folder: Path) -> None:
    other = with_party(SAMPLES, "hk-clinic")
    put(folder, other)
    held = load_texts(folder)
    assert held.bundles == (SAMPLES, other)
    assert held.find(SAMPLES.bundle.notices[0].version) == SAMPLES


def test_one_bundle_may_be_named_by_a_link_or_a_path(tmp_path: Path) -> None:
    path = put(tmp_path, SAMPLES)
    (tmp_path / "present").symlink_to(path)
    assert load_texts(path).bundles == load_texts(tmp_path / "present").bundles == (SAMPLES,)


def test_a_damaged_bundle_is_named_and_takes_no_other_along(tmp_path: Path) -> None:
    put(tmp_path, SAMPLES)
    (tmp_path / "damaged.texts").write_bytes(SAMPLES.encoded[:-1])
    (tmp_path / "linked.texts").symlink_to(tmp_path / bundle_name(SAMPLES))
    (tmp_path / "readme.txt").write_text("no bundle")
    held, wrong = hold_texts(tmp_path)
    assert held.bundles == (SAMPLES,)
    assert sorted(error.where.partition(":")[0] for error in wrong) == [
        f"{tmp_path / name}" for name in ("damaged.texts", "linked.texts")
    ]
    with pytest.raises(ConfigError):
        load_texts(tmp_path)


def test_a_folder_without_texts_or_none_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected texts, found none"):
        load_texts(tmp_path)
    with pytest.raises(ConfigError, match="a file, found nothing"):
        load_texts(tmp_path / "nowhere")
    held, (wrong,) = hold_texts(tmp_path / "nowhere")
    assert held.bundles == () and "No such file" in wrong.found


def test_no_more_bundles_are_held_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(BUNDLES_MAX):
        (tmp_path / f"{number}.texts").write_bytes(SAMPLES.encoded)
    assert hold_texts(tmp_path)[1] == [] and len(hold_texts(tmp_path)[0].bundles) == BUNDLES_MAX
    monkeypatch.setattr("node.consent.textfolder.HELD_SIZE_MAX", BUNDLES_MAX * len(SAMPLES.encoded) - 1)
    held, (wrong,) = hold_texts(tmp_path)
    assert len(held.bundles) == BUNDLES_MAX - 1 and "at most" in wrong.expected
    monkeypatch.undo()
    (tmp_path / "more.texts").write_bytes(SAMPLES.encoded)
    held, (wrong,) = hold_texts(tmp_path)
    assert len(held.bundles) == BUNDLES_MAX and f"at most {BUNDLES_MAX} bundles" in wrong.expected
